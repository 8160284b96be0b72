// Samples of f32 by a formula: towards a level, solarize, more light, invert; and to u8.
// Twin: src/reference/augment/mix.rs (`enhanced_f32`; the others are single operations); within 1e-4 of 255 (its f64 is f32 here), what is copied or compared to the bit.
//
// binding 0  plan     u32: step (0 weight * v + level clipped to 0 to 255; 1 255 - v from a threshold on; 2 v + level, at
//                     most 255, below 128; 3 255 - v; 4 to u8, truncated and clipped), channels, pixels, pixels of a row
//                     of invocations, bits of f32: weight, level or threshold
// binding 1  source   f32 picture (see place.wgsl)
// binding 2  picture  f32, or u8 (step 4), written
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

fn stepped(v: f32) -> f32 {
    let weight = bitcast<f32>(plan[4]);
    let level = bitcast<f32>(plan[5]);
    switch plan[0] {
        case 0u: { return clamp(weight * v + level, 0.0, 255.0); }
        case 1u: { return select(255.0 - v, v, v < level); }
        case 2u: { return select(v, min(v + level, 255.0), v < 128.0); }
        default: { return 255.0 - v; }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channels = min(plan[1], 4u);
    let pixel = id.y * plan[3] + id.x;
    if pixel >= plan[2] || id.x >= plan[3] {
        return;
    }
    var packed = 0u;
    for (var c = 0u; c < channels; c += 1u) {
        let at = pixel * channels + c;
        if at >= arrayLength(&source) {
            return;
        }
        let v = bitcast<f32>(source[at]);
        if plan[0] == 4u {
            packed |= u32(clamp(v, 0.0, 255.0)) << (c * 8u);
        } else if at < arrayLength(&picture) {
            picture[at] = bitcast<u32>(stepped(v));
        }
    }
    if plan[0] == 4u && pixel < arrayLength(&picture) {
        picture[pixel] = packed;
    }
}
