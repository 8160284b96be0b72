// Adds the parts of a product of matrices that was summed in parts, and finishes it.
// Twin: src/reference/conv/direct.rs, to the bit but for the activation's exponential (2e-6).
//
// binding 0  record  ConvRecord; `part` parts, `y_batch` vec4s from one to the next
// binding 1  parts   f32 [parts, pixels, K], K dense, four to a vec4
// binding 2  bias    f32 [K], if the record says so
// binding 3  add     f32 [pixels, K], if the record says so
// binding 4  y       f32 [pixels, K], written
//
// dispatch: ceil(filters / 8), ceil(pixels / 8), 1, where a row of pixels goes on with z.

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
@group(0) @binding(1) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> add: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

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
    let at = pixel * told.filters + id.x;
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < told.part; i += 1u) {
        sum += parts[i * told.y_batch + at];
    }
    if told.has_bias != 0u {
        sum += bias[id.x];
    }
    if told.has_add != 0u {
        sum += add[at];
    }
    y[at] = activated(sum, told.act, told.act_by);
}
