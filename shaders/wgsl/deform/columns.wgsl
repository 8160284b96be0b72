// What the filters of a deformable convolution see: x between its pixels, where the offsets say, weighed by the mask.
// Twin: src/reference/deform.rs, within 2e-6 of the largest value, as sums of f32 are rounded at other places.
//
// Channels lie last, four to a vec4, the last filled with 0. A place that lies a pixel or more outside of x gives 0, nearer ones what the pixels
// within give. A tap has offsets of its own, and a weight, in each set of channels.
//
// binding 0  record   DeformRecord; y's pixels first..first + pixels, of all pictures
// binding 1  x        f32 [N, H, W, C] dense
// binding 2  offset   f32 [N, sets * taps * 2, H', W'], strides as the record says: down, then right, px
// binding 3  mask     f32 [N, sets * taps, H', W'], strides as the record says
// binding 4  columns  f32 [pixels, taps, C] dense, written
//
// dispatch: ceil(channels / 8), ceil(pixels * taps / 8), 1, where a row goes on with z; one invocation is four channels of a tap.

struct DeformRecord {
    offset_strides: vec4<u32>,
    mask_strides: vec4<u32>,
    size: vec2<u32>,
    size_out: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
    first: u32,
    pixels: u32,
    picture: u32,
    pictures: u32,
    channels: u32,
    sets: u32,
    each: u32,
    place: u32,
}

// Where a tap of a pixel of y lies in x before it is moved: row, column.
fn lattice(told: DeformRecord, pixel: u32, tap: u32) -> vec2<f32> {
    let to = vec2<u32>(pixel / told.size_out.y, pixel) % told.size_out;
    let step = vec2<u32>(tap / told.kernel.y, tap % told.kernel.y);
    return vec2<f32>(vec2<i32>(to * told.stride + step * told.dilation) - vec2<i32>(told.padding));
}

// The element of a pixel of y in one of the channels of a tensor [N, channels, H', W'].
fn element(told: DeformRecord, strides: vec4<u32>, pixel: u32, channel: u32) -> u32 {
    let to = vec2<u32>(pixel / told.size_out.y, pixel) % told.size_out;
    let picture = pixel / (told.size_out.x * told.size_out.y);
    return picture * strides.x + channel * strides.y + to.x * strides.z + to.y * strides.w;
}

// Whether any of the four pixels around a place is one of x.
fn inside(told: DeformRecord, at: vec2<f32>) -> bool {
    return all(at > vec2<f32>(-1.0)) && all(at < vec2<f32>(told.size));
}

@group(0) @binding(0) var<storage, read_write> record: DeformRecord;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> offset: array<f32>;
@group(0) @binding(3) var<storage, read_write> mask: array<f32>;
@group(0) @binding(4) var<storage, read_write> columns: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: DeformRecord;

// Four channels, moved as one set.
fn sampled(pixel: u32, tap: u32, which: u32, fours: u32) -> vec4<f32> {
    let channel = which * told.kernel.x * told.kernel.y + tap;
    let down = offset[element(told, told.offset_strides, pixel, channel * 2u)];
    let right = offset[element(told, told.offset_strides, pixel, channel * 2u + 1u)];
    let at = lattice(told, pixel, tap) + vec2<f32>(down, right);
    if !inside(told, at) {
        return vec4<f32>(0.0);
    }
    let picture = pixel / (told.size_out.x * told.size_out.y) * told.size.x * told.size.y;
    let low = floor(at);
    let part = at - low;
    var sum = vec4<f32>(0.0);
    for (var corner = 0u; corner < 4u; corner += 1u) {
        let step = vec2<i32>(vec2<u32>(corner / 2u, corner % 2u));
        let source = vec2<i32>(low) + step;
        if all(source >= vec2<i32>(0)) && all(source < vec2<i32>(told.size)) {
            let share = select(1.0 - part, part, step == vec2<i32>(1));
            let beside = (picture + u32(source.x) * told.size.y + u32(source.y)) * told.channels + fours;
            sum = fma(x[beside], vec4<f32>(share.x * share.y), sum);
        }
    }
    return sum * mask[element(told, told.mask_strides, pixel, channel)];
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    told = record;
    let taps = told.kernel.x * told.kernel.y;
    let row = id.z * groups.y * 8u + id.y;
    if row >= told.pixels * taps || id.x >= told.channels {
        return;
    }
    let pixel = told.first + row / taps;
    var value = vec4<f32>(0.0);
    var lane = 0u;
    while lane < 4u {
        let which = min((id.x * 4u + lane) / told.each, told.sets - 1u);
        let found = sampled(pixel, row % taps, which, id.x);
        value = select(value, found, vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(lane));
        lane = select((which + 1u) * told.each - id.x * 4u, 4u, which + 1u == told.sets);
    }
    columns[row * told.channels + id.x] = value;
}
