// Convolution of each channel with a filter of its own.
// Twin: src/reference/conv/direct.rs, within 2e-6 of the largest value, as the sums of f32 are rounded at other places.
//
// Channels lie last, four to a vec4; what is beyond the last channel is any number.
//
// binding 0  record   ConvRecord; as many filters as channels
// binding 1  x        f32 [N, H, W, C], strides as the record says
// binding 2  weights  f32 [KH, KW, C] dense
// binding 3  bias     f32 [C], if the record says so
// binding 4  add      f32 [N, H', W', C] dense, if the record says so
// binding 5  y        f32 [N, H', W', C] dense, written
//
// dispatch: ceil(filters / 8), ceil(pixels / 8), 1, where a row of pixels goes on with z; one invocation is four channels of a pixel.

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
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
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
    var sum = vec4<f32>(0.0);
    for (var row = 0u; row < told.kernel.x; row += 1u) {
        for (var column = 0u; column < told.kernel.y; column += 1u) {
            let at = corner + vec2<i32>(vec2<u32>(row, column) * told.dilation);
            let origin = vec2<u32>(at / spread);
            if all(at >= vec2<i32>(0)) && all(at % spread == vec2<i32>(0)) && all(origin < told.size) {
                let value = x[picture + origin.x * told.strides.z + origin.y * told.strides.w + id.x];
                sum = fma(value, weights[(row * told.kernel.y + column) * told.filters + id.x], sum);
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
