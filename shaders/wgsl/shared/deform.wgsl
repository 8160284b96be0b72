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
