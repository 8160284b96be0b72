// Convolution as a product of matrices of f16: a row for each pixel of the result, a column for each filter, the sum over taps and channels.
// The rows are gathered from x as they are needed; 32 x 32 results a workgroup, 4 x 4 an invocation: for few pixels or filters.
// Twin: src/reference/conv/direct.rs on operands in f16, within 1e-3 of the largest value. Numbers are f32 in memory, and f16 from where a
// workgroup keeps them on; what is beyond 65504 is infinite. Each four products are added up in f16, their sums in f32.
//
// Channels lie last, four to a vec4; what is beyond the last channel or filter is 0.
//
// binding 0  record   ConvRecord
// binding 1  x        f32 [N, H, W, C], strides as the record says
// binding 2  weights  f32 [KH, KW, C, K], K dense
// binding 3  bias     f32 [K], if the record says so
// binding 4  add      f32 [N, H', W', K] dense, if the record says so
// binding 5  y        f32 [N, H', W', K] dense, written; for each z
//
// dispatch: ceil(pixels / 32), ceil(filters / 8), z: parts of the sum (`step`, without finish) or products of their own (`*_batch`).

enable f16;

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

// 16 of the sum's terms for every pixel and every filter of the tile.
var<workgroup> rows: array<vec4<f16>, 128>;
var<workgroup> columns: array<vec4<f16>, 128>;
// The workgroup's terms, in a form that a compiler sees to be the same for all: barriers may be in no other loop.
var<workgroup> range: vec2<u32>;

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

// Where the filter's first tap lies for a pixel: row and column of x, and the start of its picture.
fn corner(pixel: u32) -> vec3<i32> {
    let plane = told.size_out.x * told.size_out.y;
    if pixel >= told.pixels {
        return vec3<i32>(-0x40000000, 0, 0);
    }
    let at = pixel % plane;
    let row = i32((at / told.size_out.y) * told.stride.x) - i32(told.padding.x);
    let column = i32((at % told.size_out.y) * told.stride.y) - i32(told.padding.y);
    return vec3<i32>(row, column, i32((pixel / plane) * told.strides.y));
}

// Four channels of x below a tap.
fn gather(corner: vec3<i32>, tap: vec2<u32>, channel: u32, live: bool) -> vec4<f32> {
    var at = corner.xy + vec2<i32>(tap * told.dilation);
    if any(told.spread != vec2<u32>(1u)) {
        let spread = vec2<i32>(told.spread);
        if any(at < vec2<i32>(0)) || any(at % spread != vec2<i32>(0)) {
            return vec4<f32>(0.0);
        }
        at /= spread;
    }
    let place = vec2<u32>(at);
    if live && all(place < told.size) {
        return x[u32(corner.z) + place.x * told.strides.z + place.y * told.strides.w + channel];
    }
    return vec4<f32>(0.0);
}

fn weight(row: u32, end: u32, output: u32, first: u32) -> vec4<f32> {
    if row < end && output < told.filters {
        return weights[first + row * told.filters + output];
    }
    return vec4<f32>(0.0);
}

// Four filters' sums with four more terms.
fn onto(sum: vec4<f32>, a: vec4<f16>, b: mat4x4<f16>) -> vec4<f32> {
    return sum + vec4<f32>(fma(a.wwww, b[3], fma(a.zzzz, b[2], fma(a.yyyy, b[1], a.xxxx * b[0]))));
}

fn put(pixel: u32, output: u32, batch: u32, sum: vec4<f32>) {
    if pixel >= told.pixels || output >= told.filters {
        return;
    }
    let at = pixel * told.filters + output;
    var v = sum;
    if told.has_bias != 0u {
        v += bias[output];
    }
    if told.has_add != 0u {
        v += add[at];
    }
    y[batch * told.y_batch + at] = activated(v, told.act, told.act_by);
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    told = record;
    // What is loaded: four channels of two pixels of x, four filters of two rows of the weights.
    let pixel = group.x * 32u + lane / 4u;
    let c0 = corner(pixel);
    let c1 = corner(pixel + 16u);
    let output = group.y * 8u + lane % 8u;
    let first = group.z * told.w_batch;
    let begin = group.z * told.step;
    let end = min(told.depth, begin + told.part);
    let x_first = group.z * told.x_batch;

    // Which term of the sum: tap and channel.
    var term = begin + lane % 4u;
    var channel = term % told.channels;
    var tap = vec2<u32>(term / told.channels / told.kernel.y, term / told.channels % told.kernel.y);

    // What is computed.
    let across = lane % 8u;
    let down = lane / 8u;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);

    if lane == 0u {
        range = vec2<u32>(begin, end);
    }
    let terms = workgroupUniformLoad(&range);
    for (var origin = terms.x; origin < terms.y; origin += 4u) {
        // Loaded before the barrier, while others still multiply.
        let x0 = gather(c0, tap, x_first + channel, term < end);
        let x1 = gather(c1, tap, x_first + channel, term < end);
        let row = origin * 4u + lane / 8u;
        let w0 = weight(row, end * 4u, output, first);
        let w1 = weight(row + 8u, end * 4u, output, first);
        workgroupBarrier();
        rows[lane] = vec4<f16>(x0);
        rows[lane + 64u] = vec4<f16>(x1);
        columns[lane] = vec4<f16>(w0);
        columns[lane + 64u] = vec4<f16>(w1);
        workgroupBarrier();
        term += 4u;
        channel += 4u;
        while channel >= told.channels {
            channel -= told.channels;
            tap.y += 1u;
            if tap.y == told.kernel.y {
                tap = vec2<u32>(tap.x + 1u, 0u);
            }
        }

        for (var k = 0u; k < 4u; k += 1u) {
            let column = k * 32u + across;
            let b = mat4x4<f16>(columns[column], columns[column + 8u], columns[column + 16u], columns[column + 24u]);
            let at = down * 4u + k;
            s0 = onto(s0, rows[at], b);
            s1 = onto(s1, rows[at + 32u], b);
            s2 = onto(s2, rows[at + 64u], b);
            s3 = onto(s3, rows[at + 96u], b);
        }
    }

    let to = group.x * 32u + down;
    let column = group.y * 8u + across;
    put(to, column, group.z, s0);
    put(to + 8u, column, group.z, s1);
    put(to + 16u, column, group.z, s2);
    put(to + 24u, column, group.z, s3);
}
