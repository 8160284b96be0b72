// One layer of a composed geometric step: a source seen through an affine map, or one value, painted on spans of the
// target's rows. Bilinear in integers; u8 and f32 equal to the bit.
// Twin: src/reference/augment/gather.rs.
//
// binding 0  plan    u32: 0, f32, channels, source width, source height, target width, target height, paint (1 the
//                    source, 0 the value), the map's 6 terms (2 words each, low first: 2^-32 px), 4 words of the
//                    value (u8: the first is the pixel), left, top, width, height of what holds all spans;
//                    then per row of that part first column and end column of its span
// binding 1  source  picture (see place.wgsl; any word for a value)
// binding 2  picture written where the spans are
//
// dispatch: ceil(width / 64), ceil(height / 4), 1; one invocation is one pixel of the part.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

const TERMS = 8u;
const VALUE = 20u;
const PART = 24u;
const HEAD = 28u;

// Integers of 64 bits that wrap: low word, high word.
fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn times(a: vec2<u32>, b: u32) -> vec2<u32> {
    let a0 = a.x & 0xffffu;
    let a1 = a.x >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let mid = a1 * b0 + ((a0 * b0) >> 16u);
    let mid2 = a0 * b1 + (mid & 0xffffu);
    return vec2<u32>(a.x * b, a1 * b1 + (mid >> 16u) + (mid2 >> 16u) + a.y * b);
}

fn term(i: u32) -> vec2<u32> {
    return vec2<u32>(plan[TERMS + i * 2u], plan[TERMS + i * 2u + 1u]);
}

// First index, next index, weight of the next of 64.
fn tap(v: vec2<u32>, length: u32) -> vec3<u32> {
    let at = bitcast<i32>(v.y);
    if at < 0 {
        return vec3<u32>(0u);
    }
    if u32(at) + 1u >= length {
        return vec3<u32>(length - 1u, length - 1u, 0u);
    }
    return vec3<u32>(u32(at), u32(at) + 1u, v.x >> 26u);
}

fn word(at: u32) -> u32 {
    if at >= arrayLength(&source) {
        return 0u;
    }
    return source[at];
}

fn bytes(pixel: u32) -> vec4<u32> {
    return (vec4<u32>(word(pixel)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

// The value rounded as it is: plan[0] is 0, but the compiler cannot know and fuses nothing across.
fn kept(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ plan[0]);
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = plan[PART] + id.x;
    let y = plan[PART + 1u] + id.y;
    if id.x >= plan[PART + 2u] || id.y >= plan[PART + 3u] || x >= plan[5] || y >= plan[6] {
        return;
    }
    if x < plan[HEAD + id.y * 2u] || x >= plan[HEAD + id.y * 2u + 1u] {
        return;
    }
    let floats = plan[1] == 1u;
    let channels = min(plan[2], 4u);
    let words = select(1u, channels, floats);
    let to = (y * plan[5] + x) * words;
    if to + words > arrayLength(&picture) {
        return;
    }
    if plan[7] == 0u {
        for (var i = 0u; i < words; i += 1u) {
            picture[to + i] = plan[VALUE + i];
        }
        return;
    }
    let width = plan[3];
    let height = plan[4];
    if width == 0u || height == 0u {
        return;
    }
    let column = tap(add(add(times(term(0u), x), times(term(1u), y)), term(2u)), width);
    let row = tap(add(add(times(term(3u), x), times(term(4u), y)), term(5u)), height);
    let at = vec4<u32>(row.x, row.x, row.y, row.y) * width + column.xyxy;
    let weight = vec4<u32>(
        (64u - column.z) * (64u - row.z),
        column.z * (64u - row.z),
        (64u - column.z) * row.z,
        column.z * row.z,
    );
    if floats {
        let share = vec4<f32>(weight) * 0x1p-12;
        for (var c = 0u; c < channels; c += 1u) {
            var p: vec4<f32>;
            for (var i = 0u; i < 4u; i += 1u) {
                p[i] = kept(bitcast<f32>(word(at[i] * channels + c)) * share[i]);
            }
            picture[to + c] = bitcast<u32>(kept(p.x + p.y) + kept(p.z + p.w));
        }
        return;
    }
    var sum = vec4<u32>(2048u);
    for (var i = 0u; i < 4u; i += 1u) {
        sum += bytes(at[i]) * weight[i];
    }
    sum = sum >> vec4<u32>(12u);
    picture[to] = sum.x | (sum.y << 8u) | (sum.z << 16u) | (sum.w << 24u);
}
