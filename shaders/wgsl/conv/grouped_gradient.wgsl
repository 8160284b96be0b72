// The gradient of a convolution's weights where channels are in groups.
// Twin: src/reference/conv/direct.rs, within 1e-5 of the largest value, as sums are in another order.
//
// binding 0  record     ConvRecord as of grouped.wgsl, but `depth` filters of which a group has `step`; `part` pixels are summed by a z,
//                       `y_batch` vec4s are between the sums of two
// binding 1  x          f32 [N, H, W, C], strides as the record says, in elements
// binding 2  gradient   f32 [N, H', W', K] dense, four to a vec4: that of y
// binding 3  gradients  f32 [z, KH, KW, C / groups, K] dense, written
//
// dispatch: ceil(filters / 8), ceil(taps * channels / 8), ceil(pixels / part); one invocation is four filters of a tap and a channel.

struct ConvRecord {
    strides: vec4<u32>,
    act_by: vec4<f32>,
    size: vec2<u32>,
    size_out: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
    spread: vec2<u32>,
    pixels: u32,
    channels: u32,
    filters: u32,
    depth: u32,
    part: u32,
    step: u32,
    x_batch: u32,
    w_batch: u32,
    y_batch: u32,
    has_bias: u32,
    has_add: u32,
    act: u32,
}

@group(0) @binding(0) var<storage, read_write> record: ConvRecord;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradients: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: ConvRecord;

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    told = record;
    let rows = told.kernel.x * told.kernel.y * told.channels;
    if id.x >= told.filters || id.y >= rows {
        return;
    }
    let channel = id.y % told.channels;
    let taps = id.y / told.channels;
    let tap = vec2<u32>(taps / told.kernel.y, taps % told.kernel.y) * told.dilation;
    // The channel that each of the four filters sees.
    let outputs = min(vec4<u32>(id.x * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(told.depth - 1u));
    let seen = outputs / told.step * told.channels + channel;
    let together = all(seen == seen.xxxx);
    let plane = told.size_out.x * told.size_out.y;
    let first = id.z * told.part;
    var sum = vec4<f32>(0.0);
    for (var pixel = first; pixel < min(told.pixels, first + told.part); pixel += 1u) {
        let place = vec2<u32>(pixel % plane / told.size_out.y, pixel % plane % told.size_out.y);
        // Beyond the left and the top these are huge.
        let at = place * told.stride + tap - told.padding;
        if any(at >= told.size) {
            continue;
        }
        let start = vec4<u32>(pixel / plane * told.strides.y + at.x * told.strides.z + at.y * told.strides.w) + seen;
        var value = vec4<f32>(x[start.x]);
        if !together {
            value = vec4<f32>(value.x, x[start.y], x[start.z], x[start.w]);
        }
        sum = fma(value, gradient[pixel * told.filters + id.x], sum);
    }
    gradients[id.z * told.y_batch + id.y * told.filters + id.x] = sum;
}
