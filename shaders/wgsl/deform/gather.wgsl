// Adds to the gradient of a deformable convolution's input what the samples around each pixel give.
// Twin: src/reference/deform.rs, within 1e-5 of the largest value, as sums of f32 are rounded at other places.
//
// Channels lie last, four to a vec4. Sums are over each cell's samples in their order, so that they are the same each time.
//
// binding 0  record  DeformRecord; y's pixels first..first + pixels, which are of the pictures picture..picture + pictures
// binding 1  offset  f32 [N, sets * taps * 2, H', W'], strides as the record says: down, then right, px
// binding 2  mask    f32 [N, sets * taps, H', W'], strides as the record says
// binding 3  cells   u32 [pictures, sets, H + 1, W + 1]: where each cell's samples end, which is where the next one's begin
// binding 4  list    u32: samples of one cell after the other
// binding 5  slope   f32 [pixels, taps, C] dense, the gradient of what the filters saw
// binding 6  of_x    f32 [N, H, W, C] dense, added to
//
// dispatch: ceil(channels / 8), ceil(pictures * H * W / 8), 1, where a row goes on with z; one invocation is four channels of a pixel.

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
@group(0) @binding(1) var<storage, read_write> offset: array<f32>;
@group(0) @binding(2) var<storage, read_write> mask: array<f32>;
@group(0) @binding(3) var<storage, read_write> cells: array<u32>;
@group(0) @binding(4) var<storage, read_write> list: array<u32>;
@group(0) @binding(5) var<storage, read_write> slope: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> of_x: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: DeformRecord;

// What the samples of one cell give to a pixel beside it.
fn given(cell: u32, to: vec2<f32>, fours: u32) -> vec4<f32> {
    let taps = told.kernel.x * told.kernel.y;
    var begin = 0u;
    if cell > 0u {
        begin = cells[cell - 1u];
    }
    let end = cells[cell];
    var sum = vec4<f32>(0.0);
    for (var i = begin; i < end; i += 1u) {
        let row = list[i] / told.sets;
        let pixel = told.first + row / taps;
        let channel = list[i] % told.sets * taps + row % taps;
        let down = offset[element(told, told.offset_strides, pixel, channel * 2u)];
        let right = offset[element(told, told.offset_strides, pixel, channel * 2u + 1u)];
        let at = lattice(told, pixel, row % taps) + vec2<f32>(down, right);
        let share = 1.0 - abs(at - to);
        let weight = share.x * share.y * mask[element(told, told.mask_strides, pixel, channel)];
        sum = fma(slope[row * told.channels + fours], vec4<f32>(weight), sum);
    }
    return sum;
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    told = record;
    let row = id.z * groups.y * 8u + id.y;
    let plane = told.size.x * told.size.y;
    if row >= told.pictures * plane || id.x >= told.channels {
        return;
    }
    let at = vec2<u32>(row % plane / told.size.y, row % plane % told.size.y);
    var value = vec4<f32>(0.0);
    var lane = 0u;
    while lane < 4u {
        let which = min((id.x * 4u + lane) / told.each, told.sets - 1u);
        var found = vec4<f32>(0.0);
        for (var side = 0u; side < 4u; side += 1u) {
            let cell = at + vec2<u32>(side / 2u, side % 2u);
            let line = (row / plane * told.sets + which) * (told.size.x + 1u) + cell.x;
            found += given(line * (told.size.y + 1u) + cell.y, vec2<f32>(at), id.x);
        }
        value = select(value, found, vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(lane));
        lane = select((which + 1u) * told.each - id.x * 4u, 4u, which + 1u == told.sets);
    }
    of_x[(told.picture * plane + row) * told.channels + id.x] += value;
}
