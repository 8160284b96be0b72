// Another picture where a mask is set (CopyPaste).
// Twin: src/reference/augment/paste.rs, equal to the bit.
//
// binding 0  plan    u32: words a pixel (1 to 4), pixels, pixels of a row of invocations
// binding 1  mask    u8, four a word: a byte a pixel, not 0 where set
// binding 2  source  picture (see place.wgsl)
// binding 3  other   picture of the same size and kind
// binding 4  picture written
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> other: array<u32>;
@group(0) @binding(4) var<storage, read_write> picture: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let words = min(plan[0], 4u);
    let pixel = id.y * plan[2] + id.x;
    if pixel >= plan[1] || id.x >= plan[2] || pixel / 4u >= arrayLength(&mask) {
        return;
    }
    let other_wins = ((mask[pixel / 4u] >> ((pixel % 4u) * 8u)) & 255u) != 0u;
    let end = pixel * words + words;
    if end > arrayLength(&picture) || end > arrayLength(&source) || end > arrayLength(&other) {
        return;
    }
    for (var at = pixel * words; at < end; at += 1u) {
        if other_wins {
            picture[at] = other[at];
        } else {
            picture[at] = source[at];
        }
    }
}
