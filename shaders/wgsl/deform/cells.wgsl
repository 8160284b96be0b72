// Which samples of a deformable convolution lie between which pixels: their number in each cell, or the samples themselves.
// Twin: src/reference/deform.rs, equal to the bit once `order` has put each cell's samples in order.
//
// A cell is what lies between four pixels of x, or between those and the border: there is one row and one column more of cells than of pixels.
// Samples are numbered by y's pixel in the block, tap and set. Those that see nothing of x are in no cell.
//
// binding 0  record  DeformRecord; y's pixels first..first + pixels, which are of the pictures picture..picture + pictures
// binding 1  offset  f32 [N, sets * taps * 2, H', W'], strides as the record says: down, then right, px
// binding 2  cells   u32 [pictures, sets, H + 1, W + 1]: how many samples there are; with `place`, from where each begins to where it ends
// binding 3  list    u32 [pixels * taps * sets], with `place`: the samples of one cell after the other
//
// dispatch: ceil(pixels * taps * sets / 256) as x and y; one invocation is a sample.

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
@group(0) @binding(2) var<storage, read_write> cells: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> list: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let told = record;
    let taps = told.kernel.x * told.kernel.y;
    let sample = (group.y * groups.x + group.x) * 256u + local.x;
    if sample >= told.pixels * taps * told.sets {
        return;
    }
    let which = sample % told.sets;
    let tap = sample / told.sets % taps;
    let pixel = told.first + sample / told.sets / taps;
    let channel = (which * taps + tap) * 2u;
    let down = offset[element(told, told.offset_strides, pixel, channel)];
    let right = offset[element(told, told.offset_strides, pixel, channel + 1u)];
    let at = lattice(told, pixel, tap) + vec2<f32>(down, right);
    if !inside(told, at) {
        return;
    }
    let low = vec2<u32>(vec2<i32>(floor(at)) + vec2<i32>(1));
    let picture = pixel / (told.size_out.x * told.size_out.y) - told.picture;
    let plane = (picture * told.sets + which) * (told.size.x + 1u);
    let cell = (plane + min(low.x, told.size.x)) * (told.size.y + 1u) + min(low.y, told.size.y);
    let slot = atomicAdd(&cells[cell], 1u);
    if told.place != 0u {
        list[slot] = sample;
    }
}
