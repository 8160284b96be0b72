// A part of a picture from rows and columns of another: window, flip, nearest resize, every border, fill.
// Twin: src/reference/augment/place.rs, equal to the bit (it knows the borders; the tables come from the CPU).
//
// Pictures of the augment kernels: u8 as one word a pixel, channel c in byte c; f32 as one word a sample,
// interleaved. Here a pixel is just `words` words.
//
// binding 0  plan    u32: words a pixel (1 to 4), source width, source height, target width, target height,
//                    left, top, width and height of the part in the target, 4 words of fill;
//                    then per column of the part its source column, per row its source row,
//                    0xffffffff for fill
// binding 1  source  words of the source (any word if nothing comes from it)
// binding 2  picture words of the target, written in the part only
//
// dispatch: ceil(width / 64), ceil(height / 4), 1; one invocation is one pixel of the part.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

const HEAD = 13u;

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let words = plan[0];
    let size = vec2<u32>(plan[1], plan[2]);
    let part = vec2<u32>(plan[7], plan[8]);
    let to = vec2<u32>(plan[5], plan[6]) + id.xy;
    if id.x >= part.x || id.y >= part.y || to.x >= plan[3] || to.y >= plan[4] {
        return;
    }
    let origin = vec2<u32>(plan[HEAD + id.x], plan[HEAD + part.x + id.y]);
    let inside = origin.x < size.x && origin.y < size.y;
    let first = (origin.y * size.x + origin.x) * words;
    let at = (to.y * plan[3] + to.x) * words;
    for (var i = 0u; i < min(words, 4u); i += 1u) {
        var value = plan[9u + i];
        if inside && first + i < arrayLength(&source) {
            value = source[first + i];
        }
        if at + i < arrayLength(&picture) {
            picture[at + i] = value;
        }
    }
}
