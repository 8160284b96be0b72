// mmdet's PhotoMetricDistortion on BGR, through OpenCV's f32 HSV; the result is f32.
// Twin: src/reference/augment/photometric.rs; within 1e-2 of 255 (divisions and fused sums round as the device likes).
//
// binding 0  plan    u32: pixels, pixels of a row of invocations, source is f32 (otherwise u8), bits of f32: brightness,
//                    contrast before, saturation, hue in degrees, contrast after; then the source of each channel
// binding 1  source  picture of 3 channels (see place.wgsl)
// binding 2  picture f32, written
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

const EPSILON = 0x1p-23;

fn value_of(i: u32) -> f32 {
    return bitcast<f32>(plan[3u + i]);
}

fn hsv_from_bgr(bgr: vec3<f32>) -> vec3<f32> {
    let value = max(max(bgr.x, bgr.y), bgr.z);
    let range = value - min(min(bgr.x, bgr.y), bgr.z);
    let saturation = range / (abs(value) + EPSILON);
    let share = 60.0 / (range + EPSILON);
    var hue = (bgr.z - bgr.y) * share + 240.0;
    if value == bgr.z {
        hue = (bgr.y - bgr.x) * share;
    } else if value == bgr.y {
        hue = (bgr.x - bgr.z) * share + 120.0;
    }
    return vec3<f32>(hue + select(0.0, 360.0, hue < 0.0), saturation, value);
}

fn bgr_from_hsv(hsv: vec3<f32>) -> vec3<f32> {
    let turn = clamp(hsv.x * (6.0 / 360.0), -1e9, 1e9);
    let whole = trunc(turn);
    let rest = i32(whole) % 6;
    let sector = rest + select(0, 6, rest < 0);
    var part = turn - whole;
    if (sector & 1) == 0 {
        part = 1.0 - part;
    }
    let low = hsv.z * (1.0 - hsv.y);
    let middle = hsv.z * (1.0 - hsv.y * part);
    switch sector {
        case 0: { return vec3<f32>(low, middle, hsv.z); }
        case 1: { return vec3<f32>(low, hsv.z, middle); }
        case 2: { return vec3<f32>(middle, hsv.z, low); }
        case 3: { return vec3<f32>(hsv.z, middle, low); }
        case 4: { return vec3<f32>(hsv.z, low, middle); }
        default: { return vec3<f32>(middle, low, hsv.z); }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.y * plan[1] + id.x;
    if pixel >= plan[0] || id.x >= plan[1] {
        return;
    }
    var bgr: vec3<f32>;
    if plan[2] == 1u {
        let at = pixel * 3u;
        if at + 2u >= arrayLength(&source) {
            return;
        }
        bgr = bitcast<vec3<f32>>(vec3<u32>(source[at], source[at + 1u], source[at + 2u]));
    } else {
        if pixel >= arrayLength(&source) {
            return;
        }
        bgr = vec3<f32>((vec3<u32>(source[pixel]) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u));
    }
    var hsv = hsv_from_bgr((bgr + value_of(0u)) * value_of(1u));
    hsv.y *= value_of(2u);
    if value_of(2u) > 1.0 {
        hsv.y = clamp(hsv.y, 0.0, 1.0);
    }
    hsv.x += value_of(3u);
    hsv.x -= select(0.0, 360.0, hsv.x > 360.0);
    hsv.x += select(0.0, 360.0, hsv.x < 0.0);
    let out = bgr_from_hsv(hsv) * value_of(4u);
    for (var c = 0u; c < 3u; c += 1u) {
        let to = pixel * 3u + c;
        if to < arrayLength(&picture) {
            picture[to] = bitcast<u32>(out[min(plan[8u + c], 2u)]);
        }
    }
}
