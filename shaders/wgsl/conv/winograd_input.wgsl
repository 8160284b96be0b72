// Tiles of 6x6 pixels, 4 apart, as F(4x4, 3x3) multiplies them (Lavin and Gray 2016, arXiv 1509.09308): B' d B.
// Twin: src/reference/conv/winograd.rs, within 1e-6 of the largest value, as a device may fuse.
//
// Channels lie last, four to a vec4.
//
// binding 0  record  WinogradRecord
// binding 1  x       f32 [N, H, W, C], strides as the record says
// binding 2  tiles   f32 [36, count, C], written
//
// dispatch: ceil(channels / 8), ceil(count / 8), 1; one invocation is four channels of a tile.

struct WinogradRecord {
    strides: vec4<u32>,
    act_by: vec4<f32>,
    size: vec2<u32>,
    size_out: vec2<u32>,
    padding: vec2<u32>,
    tiles: vec2<u32>,
    first: u32,
    count: u32,
    channels: u32,
    has_bias: u32,
    has_add: u32,
    act: u32,
}

@group(0) @binding(0) var<storage, read_write> record: WinogradRecord;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> tiles: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: WinogradRecord;

struct Six {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

// B' of six numbers.
fn transformed(v: Six) -> Six {
    let even = v.e - 4.0 * v.c;
    let odd = v.d - 4.0 * v.b;
    let narrow = v.e - v.c;
    let wide = 2.0 * (v.d - v.b);
    return Six(
        4.0 * v.a - 5.0 * v.c + v.e,
        even + odd,
        even - odd,
        narrow + wide,
        narrow - wide,
        4.0 * v.b - 5.0 * v.d + v.f,
    );
}

fn pixel(corner: vec3<u32>, row: u32, column: u32, channel: u32) -> vec4<f32> {
    // Beyond the left and the top these are huge.
    let at = corner.xy + vec2<u32>(row, column) - told.padding;
    if all(at < told.size) {
        return x[corner.z + at.x * told.strides.z + at.y * told.strides.w + channel];
    }
    return vec4<f32>(0.0);
}

fn column(corner: vec3<u32>, i: u32, channel: u32) -> Six {
    return transformed(Six(
        pixel(corner, 0u, i, channel),
        pixel(corner, 1u, i, channel),
        pixel(corner, 2u, i, channel),
        pixel(corner, 3u, i, channel),
        pixel(corner, 4u, i, channel),
        pixel(corner, 5u, i, channel),
    ));
}

fn put(row: u32, at: u32, v: Six) {
    let step = told.count * told.channels;
    let to = row * 6u * step + at;
    let made = transformed(v);
    tiles[to] = made.a;
    tiles[to + step] = made.b;
    tiles[to + 2u * step] = made.c;
    tiles[to + 3u * step] = made.d;
    tiles[to + 4u * step] = made.e;
    tiles[to + 5u * step] = made.f;
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    told = record;
    if id.x >= told.channels || id.y >= told.count {
        return;
    }
    let tile = told.first + id.y;
    let plane = told.tiles.x * told.tiles.y;
    let corner = vec3<u32>(
        tile % plane / told.tiles.y * 4u,
        tile % plane % told.tiles.y * 4u,
        tile / plane * told.strides.y,
    );
    let c0 = column(corner, 0u, id.x);
    let c1 = column(corner, 1u, id.x);
    let c2 = column(corner, 2u, id.x);
    let c3 = column(corner, 3u, id.x);
    let c4 = column(corner, 4u, id.x);
    let c5 = column(corner, 5u, id.x);
    let at = id.y * told.channels + id.x;
    put(0u, at, Six(c0.a, c1.a, c2.a, c3.a, c4.a, c5.a));
    put(1u, at, Six(c0.b, c1.b, c2.b, c3.b, c4.b, c5.b));
    put(2u, at, Six(c0.c, c1.c, c2.c, c3.c, c4.c, c5.c));
    put(3u, at, Six(c0.d, c1.d, c2.d, c3.d, c4.d, c5.d));
    put(4u, at, Six(c0.e, c1.e, c2.e, c3.e, c4.e, c5.e));
    put(5u, at, Six(c0.f, c1.f, c2.f, c3.f, c4.f, c5.f));
}
