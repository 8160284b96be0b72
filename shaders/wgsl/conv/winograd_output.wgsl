// The products of F(4x4, 3x3) back to 4x4 pixels a tile (Lavin and Gray 2016, arXiv 1509.09308): A' m A, and what finishes a convolution.
// Twin: src/reference/conv/winograd.rs, within 1e-5 of the largest value, as a device may fuse.
//
// Filters lie last, four to a vec4.
//
// binding 0  record    WinogradRecord; `channels` are the filters
// binding 1  products  f32 [36, count, K]
// binding 2  bias      f32 [K], if the record says so
// binding 3  add       f32 [N, H', W', K] dense, if the record says so
// binding 4  y         f32 [N, H', W', K] dense, the tiles' pixels written
//
// dispatch: ceil(channels / 8), ceil(count / 8), 1; one invocation is four filters of a tile.

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
@group(0) @binding(1) var<storage, read_write> products: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> add: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: WinogradRecord;

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

struct Six {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// A' of six numbers.
fn transformed(v: Six) -> Four {
    let near = v.b + v.c;
    let across = v.b - v.c;
    let far = v.d + v.e;
    let wide = v.d - v.e;
    return Four(v.a + near + far, across + 2.0 * wide, near + 4.0 * far, across + 8.0 * wide + v.f);
}

fn column(i: u32, at: u32) -> Four {
    let step = told.count * told.channels;
    let origin = i * step + at;
    return transformed(Six(
        products[origin],
        products[origin + 6u * step],
        products[origin + 12u * step],
        products[origin + 18u * step],
        products[origin + 24u * step],
        products[origin + 30u * step],
    ));
}

fn put(corner: vec3<u32>, row: u32, column: u32, output: u32, sum: vec4<f32>) {
    let at = corner.xy + vec2<u32>(row, column);
    if any(at >= told.size_out) {
        return;
    }
    let to = (corner.z + at.x * told.size_out.y + at.y) * told.channels + output;
    var v = sum;
    if told.has_bias != 0u {
        v += bias[output];
    }
    if told.has_add != 0u {
        v += add[to];
    }
    y[to] = activated(v, told.act, told.act_by);
}

fn line(corner: vec3<u32>, row: u32, output: u32, v: Six) {
    let made = transformed(v);
    put(corner, row, 0u, output, made.a);
    put(corner, row, 1u, output, made.b);
    put(corner, row, 2u, output, made.c);
    put(corner, row, 3u, output, made.d);
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    told = record;
    if id.x >= told.channels || id.y >= told.count {
        return;
    }
    let at = id.y * told.channels + id.x;
    let c0 = column(0u, at);
    let c1 = column(1u, at);
    let c2 = column(2u, at);
    let c3 = column(3u, at);
    let c4 = column(4u, at);
    let c5 = column(5u, at);
    let tile = told.first + id.y;
    let plane = told.tiles.x * told.tiles.y;
    let corner = vec3<u32>(
        tile % plane / told.tiles.y * 4u,
        tile % plane % told.tiles.y * 4u,
        tile / plane * told.size_out.x * told.size_out.y,
    );
    line(corner, 0u, id.x, Six(c0.a, c1.a, c2.a, c3.a, c4.a, c5.a));
    line(corner, 1u, id.x, Six(c0.b, c1.b, c2.b, c3.b, c4.b, c5.b));
    line(corner, 2u, id.x, Six(c0.c, c1.c, c2.c, c3.c, c4.c, c5.c));
    line(corner, 3u, id.x, Six(c0.d, c1.d, c2.d, c3.d, c4.d, c5.d));
}
