// Every u8 sample through its channel's table: brightness, solarize, posterize, invert, to float; and equalize,
// auto contrast and contrast by the tables that tables.wgsl leaves.
// Twin: src/reference/augment/lookup.rs, equal to the bit.
//
// binding 0  plan    u32: channels, pixels, f32 (the result is samples of f32, otherwise u8), pixels of a row of
//                    invocations
// binding 1  table   u32 [channels, 256]: the u8, or bits of the f32
// binding 2  source  u8 picture (see place.wgsl)
// binding 3  picture u8 or f32, written
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> picture: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channels = min(plan[0], 4u);
    let pixel = id.y * plan[3] + id.x;
    if pixel >= plan[1] || id.x >= plan[3] || pixel >= arrayLength(&source) {
        return;
    }
    var packed = 0u;
    for (var c = 0u; c < channels; c += 1u) {
        let entry = c * 256u + ((source[pixel] >> (c * 8u)) & 255u);
        if entry >= arrayLength(&table) {
            return;
        }
        let value = table[entry];
        if plan[2] == 1u {
            let at = pixel * channels + c;
            if at < arrayLength(&picture) {
                picture[at] = value;
            }
        } else {
            packed |= (value & 255u) << (c * 8u);
        }
    }
    if plan[2] == 0u && pixel < arrayLength(&picture) {
        picture[pixel] = packed;
    }
}
