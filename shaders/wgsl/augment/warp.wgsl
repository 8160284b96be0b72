// cv2.warpAffine and cv2.warpPerspective with a constant border: positions to 1/32 px, four corners in whole weights;
// or the nearest pixel. u8 and f32 equal to the bit.
// Twin: src/reference/augment/warp.rs (it makes binding 1).
//
// binding 0  plan    u32: 0, f32, channels, source width, source height, target width, target height, linear,
//                    positions (0 sums rounded down, 1 sums rounded to even, 2 one a pixel),
//                    4 words of fill (u8: the first is the pixel)
// binding 1  places  sums: per target column, then per row, two i64 (low word first) of x and y, whose sum has
//                    32 fractional bits; or per target pixel i32 x and y. In 1/32 px if linear, else px.
// binding 2  source  picture (see place.wgsl)
// binding 3  picture written
//
// dispatch: ceil(target width / 64), ceil(target height / 4), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> picture: array<u32>;

const FILL = 9u;

fn place(at: u32) -> u32 {
    if at >= arrayLength(&places) {
        return 0u;
    }
    return places[at];
}

// Of the sum of two i64, the upper word, rounded as the plan says.
fn upper(a: u32, b: u32) -> i32 {
    let low = place(a) + place(b);
    let carry = select(0u, 1u, low < place(a));
    let high = bitcast<i32>(place(a + 1u) + place(b + 1u) + carry);
    if plan[8] == 0u {
        return high;
    }
    // half up, and ties back to even
    let up = select(0, 1, low > 0x80000000u || (low == 0x80000000u && (high & 1) == 1));
    return high + up;
}

// First word of a source pixel; beyond the source 0xffffffff.
fn corner(at: vec2<i32>) -> u32 {
    let width = plan[3];
    if at.x < 0 || at.y < 0 || u32(at.x) >= width || u32(at.y) >= plan[4] {
        return 0xffffffffu;
    }
    return (u32(at.y) * width + u32(at.x)) * select(1u, plan[2], plan[1] == 1u);
}

fn word(at: u32, i: u32) -> u32 {
    if at >= arrayLength(&source) || i >= arrayLength(&source) - at {
        return plan[FILL + i];
    }
    return source[at + i];
}

fn bytes(at: u32) -> vec4<u32> {
    return (vec4<u32>(word(at, 0u)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

// The value rounded as it is: plan[0] is 0, but the compiler cannot know and fuses nothing across.
fn kept(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ plan[0]);
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = plan[5];
    if id.x >= width || id.y >= plan[6] {
        return;
    }
    let floats = plan[1] == 1u;
    let words = select(1u, min(plan[2], 4u), floats);
    let to = (id.y * width + id.x) * words;
    if to + words > arrayLength(&picture) {
        return;
    }
    var at: vec2<i32>;
    if plan[8] == 2u {
        let entry = (id.y * width + id.x) * 2u;
        at = bitcast<vec2<i32>>(vec2<u32>(place(entry), place(entry + 1u)));
    } else {
        let column = id.x * 4u;
        let row = (width + id.y) * 4u;
        at = vec2<i32>(upper(column, row), upper(column + 2u, row + 2u));
    }
    if plan[7] == 0u {
        let first = corner(at);
        for (var i = 0u; i < words; i += 1u) {
            picture[to + i] = word(first, i);
        }
        return;
    }
    let whole = at >> vec2<u32>(5u);
    let f = vec2<u32>(at & vec2<i32>(31));
    let corners = vec4<u32>(
        corner(whole),
        corner(whole + vec2<i32>(1, 0)),
        corner(whole + vec2<i32>(0, 1)),
        corner(whole + vec2<i32>(1, 1)),
    );
    if all(corners == vec4<u32>(0xffffffffu)) {
        for (var i = 0u; i < words; i += 1u) {
            picture[to + i] = plan[FILL + i];
        }
        return;
    }
    let weights = vec4<u32>(
        (32u - f.x) * (32u - f.y),
        f.x * (32u - f.y),
        (32u - f.x) * f.y,
        f.x * f.y,
    );
    if floats {
        let shares = vec4<f32>(weights) * 0x1p-10;
        for (var c = 0u; c < words; c += 1u) {
            var sum = kept(bitcast<f32>(word(corners.x, c)) * shares.x);
            for (var i = 1u; i < 4u; i += 1u) {
                sum += kept(bitcast<f32>(word(corners[i], c)) * shares[i]);
            }
            picture[to + c] = bitcast<u32>(sum);
        }
        return;
    }
    var sum = vec4<u32>(512u);
    for (var i = 0u; i < 4u; i += 1u) {
        sum += bytes(corners[i]) * weights[i];
    }
    sum = sum >> vec4<u32>(10u);
    picture[to] = sum.x | (sum.y << 8u) | (sum.z << 16u) | (sum.w << 24u);
}
