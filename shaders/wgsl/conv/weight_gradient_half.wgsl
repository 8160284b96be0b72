// The gradient of a convolution's weights in f16: a product of matrices, a row for each tap and channel, a column for each filter, the sum over pixels.
// Twin: src/reference/conv/direct.rs on operands in f16, within 2e-5 of the largest value. Numbers are f32 in memory, and f16 where a workgroup
// keeps them; what is beyond 65504 is infinite. They are multiplied and added up in f32: products of small gradients would vanish in f16.
//
// Channels lie last, four to a vec4; what is beyond the last channel or filter is 0. 64 x 64 results a workgroup, 8 x 8 an invocation.
//
// binding 0  record     ConvRecord; `part` pixels are summed by a z, `y_batch` vec4s are between the sums of two
// binding 1  x          f32 [N, H, W, C], strides as the record says
// binding 2  gradient   f32 [N, H', W', K] dense: that of y
// binding 3  gradients  f32 [z, KH, KW, C, K] dense, written
//
// dispatch: ceil(depth / 16), ceil(filters / 16), ceil(pixels / part)

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
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradients: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: ConvRecord;

// 16 of the sum's terms for every row and every column of the tile.
var<workgroup> rows: array<vec4<f16>, 256>;
var<workgroup> columns: array<vec4<f16>, 256>;
// The workgroup's pixels, in a form that a compiler sees to be the same for all: barriers may be in no other loop.
var<workgroup> range: vec2<u32>;

// Picture, row and column of a pixel of y.
fn place(pixel: u32) -> vec3<u32> {
    let plane = told.size_out.x * told.size_out.y;
    return vec3<u32>(pixel / plane, pixel % plane / told.size_out.y, pixel % plane % told.size_out.y);
}

// The one 16 pixels on.
fn next(place: vec3<u32>) -> vec3<u32> {
    var to = place + vec3<u32>(0u, 0u, 16u);
    while to.z >= told.size_out.y {
        to = vec3<u32>(to.x, to.y + 1u, to.z - told.size_out.y);
        if to.y == told.size_out.x {
            to = vec3<u32>(to.x + 1u, 0u, to.z);
        }
    }
    return to;
}

// Four channels of x that a tap meets at a pixel of y.
fn gather(place: vec3<u32>, tap: vec2<u32>, channel: u32, live: bool) -> vec4<f32> {
    // Beyond the left and the top these are huge.
    let at = place.yz * told.stride + tap * told.dilation - told.padding;
    if live && all(at < told.size) {
        return x[place.x * told.strides.y + at.x * told.strides.z + at.y * told.strides.w + channel];
    }
    return vec4<f32>(0.0);
}

fn above(pixel: u32, end: u32, output: u32) -> vec4<f32> {
    if pixel < end && output < told.filters {
        return gradient[pixel * told.filters + output];
    }
    return vec4<f32>(0.0);
}

fn put(term: u32, output: u32, batch: u32, sum: vec4<f32>) {
    if term < told.depth * 4u && output < told.filters {
        gradients[batch * told.y_batch + term * told.filters + output] = sum;
    }
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    told = record;
    let first = group.z * told.part;
    let end = min(told.pixels, first + told.part);

    // What is loaded: for four pixels, four channels below one tap, and the gradients of four filters.
    let term4 = group.x * 16u + lane % 16u;
    let channel = term4 % told.channels;
    let tap = vec2<u32>(term4 / told.channels / told.kernel.y, term4 / told.channels % told.kernel.y);
    let inside = term4 < told.depth;
    let output = group.y * 16u + lane % 16u;
    var pixel = first + lane / 16u;
    var p0 = place(pixel);
    var p1 = place(pixel + 4u);
    var p2 = place(pixel + 8u);
    var p3 = place(pixel + 12u);

    // What is computed.
    let across = lane % 8u;
    let down = lane / 8u;
    var s00 = vec4<f32>(0.0);
    var s01 = vec4<f32>(0.0);
    var s10 = vec4<f32>(0.0);
    var s11 = vec4<f32>(0.0);
    var s20 = vec4<f32>(0.0);
    var s21 = vec4<f32>(0.0);
    var s30 = vec4<f32>(0.0);
    var s31 = vec4<f32>(0.0);
    var s40 = vec4<f32>(0.0);
    var s41 = vec4<f32>(0.0);
    var s50 = vec4<f32>(0.0);
    var s51 = vec4<f32>(0.0);
    var s60 = vec4<f32>(0.0);
    var s61 = vec4<f32>(0.0);
    var s70 = vec4<f32>(0.0);
    var s71 = vec4<f32>(0.0);

    if lane == 0u {
        range = vec2<u32>(first, end);
    }
    let pixels = workgroupUniformLoad(&range);
    for (var origin = pixels.x; origin < pixels.y; origin += 16u) {
        let x0 = gather(p0, tap, channel, inside && pixel < end);
        let x1 = gather(p1, tap, channel, inside && pixel + 4u < end);
        let x2 = gather(p2, tap, channel, inside && pixel + 8u < end);
        let x3 = gather(p3, tap, channel, inside && pixel + 12u < end);
        let g0 = above(pixel, end, output);
        let g1 = above(pixel + 4u, end, output);
        let g2 = above(pixel + 8u, end, output);
        let g3 = above(pixel + 12u, end, output);
        p0 = next(p0);
        p1 = next(p1);
        p2 = next(p2);
        p3 = next(p3);
        pixel += 16u;
        workgroupBarrier();
        rows[lane] = vec4<f16>(x0);
        rows[lane + 64u] = vec4<f16>(x1);
        rows[lane + 128u] = vec4<f16>(x2);
        rows[lane + 192u] = vec4<f16>(x3);
        columns[lane] = vec4<f16>(g0);
        columns[lane + 64u] = vec4<f16>(g1);
        columns[lane + 128u] = vec4<f16>(g2);
        columns[lane + 192u] = vec4<f16>(g3);
        workgroupBarrier();

        for (var k = 0u; k < 256u; k += 16u) {
            let a0 = vec4<f32>(rows[k + down]);
            let a1 = vec4<f32>(rows[k + down + 8u]);
            let b0 = vec4<f32>(columns[k + across]);
            let b1 = vec4<f32>(columns[k + across + 8u]);
            s00 = fma(a0.xxxx, b0, s00);
            s01 = fma(a0.xxxx, b1, s01);
            s10 = fma(a0.yyyy, b0, s10);
            s11 = fma(a0.yyyy, b1, s11);
            s20 = fma(a0.zzzz, b0, s20);
            s21 = fma(a0.zzzz, b1, s21);
            s30 = fma(a0.wwww, b0, s30);
            s31 = fma(a0.wwww, b1, s31);
            s40 = fma(a1.xxxx, b0, s40);
            s41 = fma(a1.xxxx, b1, s41);
            s50 = fma(a1.yyyy, b0, s50);
            s51 = fma(a1.yyyy, b1, s51);
            s60 = fma(a1.zzzz, b0, s60);
            s61 = fma(a1.zzzz, b1, s61);
            s70 = fma(a1.wwww, b0, s70);
            s71 = fma(a1.wwww, b1, s71);
        }
    }

    let term = group.x * 64u + down * 4u;
    let column = group.y * 16u + across;
    put(term, column, group.z, s00);
    put(term, column + 8u, group.z, s01);
    put(term + 1u, column, group.z, s10);
    put(term + 1u, column + 8u, group.z, s11);
    put(term + 2u, column, group.z, s20);
    put(term + 2u, column + 8u, group.z, s21);
    put(term + 3u, column, group.z, s30);
    put(term + 3u, column + 8u, group.z, s31);
    put(term + 32u, column, group.z, s40);
    put(term + 32u, column + 8u, group.z, s41);
    put(term + 33u, column, group.z, s50);
    put(term + 33u, column + 8u, group.z, s51);
    put(term + 34u, column, group.z, s60);
    put(term + 34u, column + 8u, group.z, s61);
    put(term + 35u, column, group.z, s70);
    put(term + 35u, column + 8u, group.z, s71);
}
