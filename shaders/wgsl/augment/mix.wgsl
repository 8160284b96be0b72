// Samples of two pictures together: u8 by a table of every pair, f32 by weights (MixUp, adjust_color, sharpness).
// Equal to the bit; clipped f32 within 1e-4 of 255, as the twin adds in f64.
// Twin: src/reference/augment/mix.rs (it makes the table).
//
// binding 0  plan    u32: 0, channels, pixels, kind (0 u8, 1 f32, 2 f32 clipped to 0 to 255), one sample of `other` for
//                    all channels (1) or one each (0),
//                    weight and weight of `other` (bits of f32; f32 only), pixels of a row of invocations
// binding 1  table   u8, four a word: 65,536 results, that of a and b at 256 * a + b (any word for f32)
// binding 2  source  picture (see place.wgsl)
// binding 3  other   picture of the same size, of 1 or as many channels
// binding 4  picture written, of the source's kind
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> other: array<u32>;
@group(0) @binding(4) var<storage, read_write> picture: array<u32>;

// The value rounded as it is: plan[0] is 0, but the compiler cannot know and fuses nothing across.
fn kept(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ plan[0]);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channels = min(plan[1], 4u);
    let pixel = id.y * plan[7] + id.x;
    if pixel >= plan[2] || id.x >= plan[7] {
        return;
    }
    let single = plan[4] == 1u;
    if plan[3] != 0u {
        let weight = bitcast<f32>(plan[5]);
        let rest = bitcast<f32>(plan[6]);
        for (var c = 0u; c < channels; c += 1u) {
            let at = pixel * channels + c;
            let at_other = select(at, pixel, single);
            if at < arrayLength(&source) && at_other < arrayLength(&other) && at < arrayLength(&picture) {
                let a = kept(bitcast<f32>(source[at]) * weight);
                let b = kept(bitcast<f32>(other[at_other]) * rest);
                let sum = select(a + b, clamp(a + b, 0.0, 255.0), plan[3] == 2u);
                picture[at] = bitcast<u32>(sum);
            }
        }
        return;
    }
    if pixel >= arrayLength(&source) || pixel >= arrayLength(&other) || pixel >= arrayLength(&picture) {
        return;
    }
    var mixed = 0u;
    for (var c = 0u; c < channels; c += 1u) {
        let a = (source[pixel] >> (c * 8u)) & 255u;
        let b = (other[pixel] >> select(c * 8u, 0u, single)) & 255u;
        let at = a * 256u + b;
        if at / 4u < arrayLength(&table) {
            mixed |= ((table[at / 4u] >> ((at % 4u) * 8u)) & 255u) << (c * 8u);
        }
    }
    picture[pixel] = mixed;
}
