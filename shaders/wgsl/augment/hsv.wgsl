// YOLOX's colour step on u8 BGR: to OpenCV's 8-bit HSV, gains, and back with the rounding of its AVX2 code.
// Twin: src/reference/augment/hsv.rs, equal to the bit (it makes binding 1).
//
// binding 0  plan    u32: 0, width, height, columns whose results are truncated (the others are rounded),
//                    gains as i32: hue (0 to 179), saturation, value
// binding 1  tables  i32 [256] shares of saturation per value, i32 [256] shares of hue per range,
//                    f32 [180, 256] factors of the middle channel per hue and saturation
// binding 2  source  u8 picture of 3 channels (see place.wgsl)
// binding 3  picture u8, written
//
// dispatch: ceil(width / 64), ceil(height / 4), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> tables: array<u32>;
@group(0) @binding(2) var<storage, read_write> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> picture: array<u32>;

const FACTORS = 512u;
const LEVEL: f32 = 1.0 / 255.0;

fn entry(at: u32) -> u32 {
    if at >= arrayLength(&tables) {
        return 0u;
    }
    return tables[at];
}

// The value rounded as it is: plan[0] is 0, but the compiler cannot know and fuses nothing across.
fn kept(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ plan[0]);
}

fn level(v: f32, truncated: bool) -> u32 {
    let scaled = kept(kept(v) * 255.0);
    return u32(clamp(select(round(scaled), floor(scaled), truncated), 0.0, 255.0));
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.y * plan[1] + id.x;
    if id.x >= plan[1] || id.y >= plan[2] {
        return;
    }
    if pixel >= arrayLength(&source) || pixel >= arrayLength(&picture) {
        return;
    }
    let bgr = vec3<i32>((vec3<u32>(source[pixel]) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u));

    // forth, in twelve fractional bits
    let most = max(max(bgr.x, bgr.y), bgr.z);
    let range = most - min(min(bgr.x, bgr.y), bgr.z);
    var ahead = bgr.z - bgr.y + 4 * range;
    if most == bgr.z {
        ahead = bgr.y - bgr.x;
    } else if most == bgr.y {
        ahead = bgr.x - bgr.z + 2 * range;
    }
    var hue = (ahead * bitcast<i32>(entry(256u + u32(range))) + 2048) >> 12u;
    hue += select(0, 180, hue < 0);
    var saturation = (range * bitcast<i32>(entry(u32(most))) + 2048) >> 12u;

    hue += bitcast<i32>(plan[4]);
    hue = clamp(hue - select(0, 180, hue >= 180), 0, 179);
    saturation = clamp(saturation + bitcast<i32>(plan[5]), 0, 255);
    let value = kept(f32(clamp(most + bitcast<i32>(plan[6]), 0, 255)) * LEVEL);

    // and back
    let truncated = id.x < plan[3];
    let sector = u32(f32(hue) * (6.0 / 180.0));
    let factor = bitcast<f32>(entry(FACTORS + u32(hue) * 256u + u32(saturation)));
    let low = level(value * kept(1.0 - kept(f32(saturation) * LEVEL)), truncated);
    let high = level(value, truncated);
    let middle = level(value * factor, truncated);
    var out = vec3<u32>(middle, low, high);
    switch sector {
        case 0u: { out = vec3<u32>(low, middle, high); }
        case 1u: { out = vec3<u32>(low, high, middle); }
        case 2u: { out = vec3<u32>(middle, high, low); }
        case 3u: { out = vec3<u32>(high, middle, low); }
        case 4u: { out = vec3<u32>(high, low, middle); }
        default: {}
    }
    picture[pixel] = out.x | (out.y << 8u) | (out.z << 16u);
}
