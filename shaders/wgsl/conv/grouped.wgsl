// Convolution in groups of channels that do not see each other.
// Twin: src/reference/conv/direct.rs, within 2e-6 of the largest value, as the sums of f32 are rounded at other places.
//
// binding 0  record   ConvRecord; `channels` and `part` are channels and filters of one group, not vec4s, and so are the strides of x
// binding 1  x        f32 [N, H, W, C], strides as the record says
// binding 2  weights  f32 [KH, KW, C / groups, K], K dense, four to a vec4
// binding 3  bias     f32 [K], if the record says so
// binding 4  add      f32 [N, H', W', K] dense, if the record says so
// binding 5  y        f32 [N, H', W', K] dense, written
//
// dispatch: ceil(filters / 8), ceil(pixels / 8), 1, where a row of pixels goes on with z; one invocation is four filters at a pixel.

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
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> add: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: ConvRecord;

// What follows a convolution's sums, by its number (`Act` in records.rs).
fn activated(v: vec4<f32>, act: u32, by: vec4<f32>) -> vec4<f32> {
    switch act {
        // ReLU, which keeps what is no number.
        case 1u: { return select(v, vec4<f32>(0.0), v < vec4<f32>(0.0)); }
        // Between two bounds.
        case 2u: { return clamp(v, vec4<f32>(by.x), vec4<f32>(by.y)); }
        // A slope below 0.
        case 3u: { return select(v, v * by.x, v < vec4<f32>(0.0)); }
        // Sigmoid.
        case 4u: { return 1.0 / (1.0 + exp(-v)); }
        // SiLU.
        case 5u: { return v / (1.0 + exp(-v)); }
        // Hard swish.
        case 6u: { return v * clamp(v + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) / 6.0; }
        // Hard sigmoid.
        case 7u: { return clamp((v + by.x) / by.y, vec4<f32>(by.z), vec4<f32>(by.w)); }
        default: { return v; }
    }
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    told = record;
    let pixel = id.z * groups.y * 8u + id.y;
    if pixel >= told.pixels || id.x >= told.filters {
        return;
    }
    let plane = told.size_out.x * told.size_out.y;
    let place = vec2<u32>(pixel % plane / told.size_out.y, pixel % plane % told.size_out.y);
    let corner = vec2<i32>(place * told.stride) - vec2<i32>(told.padding);
    let picture = pixel / plane * told.strides.y;
    let spread = vec2<i32>(told.spread);
    // The first channel that each of the four filters sees. Filters beyond the last one see those of the last group, with weights of 0.
    let filters = min(vec4<u32>(id.x * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(told.depth - 1u));
    let first = filters / told.part * told.channels;
    let together = all(first == first.xxxx);
    var sum = vec4<f32>(0.0);
    for (var row = 0u; row < told.kernel.x; row += 1u) {
        for (var column = 0u; column < told.kernel.y; column += 1u) {
            let at = corner + vec2<i32>(vec2<u32>(row, column) * told.dilation);
            let origin = vec2<u32>(at / spread);
            if any(at < vec2<i32>(0)) || any(at % spread != vec2<i32>(0)) || any(origin >= told.size) {
                continue;
            }
            let start = vec4<u32>(picture + origin.x * told.strides.z + origin.y * told.strides.w) + first;
            let weight = (row * told.kernel.y + column) * told.channels * told.filters + id.x;
            for (var channel = 0u; channel < told.channels; channel += 1u) {
                let place = start + channel;
                var value = vec4<f32>(x[place.x]);
                if !together {
                    value = vec4<f32>(value.x, x[place.y], x[place.z], x[place.w]);
                }
                sum = fma(value, weights[weight + channel * told.filters], sum);
            }
        }
    }
    let to = pixel * told.filters + id.x;
    if told.has_bias != 0u {
        sum += bias[id.x];
    }
    if told.has_add != 0u {
        sum += add[to];
    }
    y[to] = activated(sum, told.act, told.act_by);
}
