// The gradients of a deformable convolution's offsets and mask from that of what its filters saw.
// Twin: src/reference/deform.rs, within 1e-5 of the largest value, as sums of f32 are rounded at other places.
//
// Where an offset is a whole number the gradient is that towards the next pixel down or right.
//
// binding 0  record     DeformRecord; y's pixels first..first + pixels, of all pictures
// binding 1  x          f32 [N, H, W, C] dense
// binding 2  offset     f32 [N, sets * taps * 2, H', W'], strides as the record says: down, then right, px
// binding 3  mask       f32 [N, sets * taps, H', W'], strides as the record says
// binding 4  slope      f32 [pixels, taps, C] dense, the gradient of what the filters saw
// binding 5  of_offset  f32 [N * H' * W', sets * taps * 2] dense, written
// binding 6  of_mask    f32 [N * H' * W', sets * taps] dense, written
//
// dispatch: ceil(pixels * taps * sets / 8) as x and y; one line of 32 invocations is a tap of one set.

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
@group(0) @binding(4) var<storage, read_write> slope: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> of_offset: array<f32>;
@group(0) @binding(6) var<storage, read_write> of_mask: array<f32>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: DeformRecord;

// Sums of a line's invocations: down, right, mask.
var<workgroup> sums: array<vec3<f32>, 256>;

// What the channels first, first + 32 and so on of a set come to.
fn summed(pixel: u32, tap: u32, which: u32, row: u32, first: u32) -> vec3<f32> {
    let channel = which * told.kernel.x * told.kernel.y + tap;
    let down = offset[element(told, told.offset_strides, pixel, channel * 2u)];
    let right = offset[element(told, told.offset_strides, pixel, channel * 2u + 1u)];
    let at = lattice(told, pixel, tap) + vec2<f32>(down, right);
    var sum = vec3<f32>(0.0);
    if !inside(told, at) {
        return sum;
    }
    let picture = pixel / (told.size_out.x * told.size_out.y) * told.size.x * told.size.y;
    let low = floor(at);
    let part = at - low;
    let begin = which * told.each;
    let end = begin + told.each;
    for (var fours = begin / 4u + first; fours * 4u < end; fours += 32u) {
        let channels = vec4<u32>(fours * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        let mine = (channels >= vec4<u32>(begin)) & (channels < vec4<u32>(end));
        let by = select(vec4<f32>(0.0), slope[row * told.channels + fours], mine);
        for (var corner = 0u; corner < 4u; corner += 1u) {
            let step = vec2<i32>(vec2<u32>(corner / 2u, corner % 2u));
            let source = vec2<i32>(low) + step;
            if all(source >= vec2<i32>(0)) && all(source < vec2<i32>(told.size)) {
                let share = select(1.0 - part, part, step == vec2<i32>(1));
                let sign = select(vec2<f32>(-1.0), vec2<f32>(1.0), step == vec2<i32>(1));
                let beside = (picture + u32(source.x) * told.size.y + u32(source.y)) * told.channels + fours;
                let value = dot(x[beside], by);
                sum += value * vec3<f32>(sign.x * share.y, sign.y * share.x, share.x * share.y);
            }
        }
    }
    let weight = mask[element(told, told.mask_strides, pixel, channel)];
    return sum * vec3<f32>(weight, weight, 1.0);
}

@compute @workgroup_size(32, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    told = record;
    let taps = told.kernel.x * told.kernel.y;
    let sample = (group.y * groups.x + group.x) * 8u + local.y;
    let row = sample / told.sets;
    let which = sample % told.sets;
    let pixel = told.first + row / taps;
    let tap = row % taps;
    let real = row < told.pixels * taps;
    let at = local.y * 32u + local.x;
    var sum = vec3<f32>(0.0);
    if real {
        sum = summed(pixel, tap, which, row, local.x);
    }
    sums[at] = sum;
    for (var half = 16u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local.x < half {
            sums[at] += sums[at + half];
        }
    }
    if real && local.x == 0u {
        let to = (pixel * told.sets + which) * taps + tap;
        of_offset[to * 2u] = sums[at].x;
        of_offset[to * 2u + 1u] = sums[at].y;
        of_mask[to] = sums[at].z;
    }
}
