// Pictures to the network's input in one pass: bilinear resize as OpenCV's fixed point, fill,
// channel order, normalise, pad to the batch; u8 interleaved to f32 NCHW.
// Twin: src/reference/preprocess.rs, equal to the bit (it also packs bindings 0 to 2).
//
// binding 0  plan    u32: pictures N, channels C, height H, width W, source channels S, reversed;
//                    then 9 words a picture: first byte of its pixels, source width, resized width,
//                    resized height, width and height with the fill, word in `plan` of its column
//                    taps, of its row taps, fill (a byte per source channel);
//                    then taps, 3 words each: two source positions, two 16-bit weights (sum 2048)
// binding 1  source  u8, four a word: pixels of all pictures, rows of S interleaved samples
// binding 2  values  f32: 256 per channel, in output order; then the value outside of a picture
// binding 3  batch   f32 [N, C, H, W], written
//
// dispatch: ceil(W / 64), ceil(H / 4), N workgroups; one invocation is one pixel of the batch.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> batch: array<f32>;

const HEAD = 6u;
const PICTURE = 9u;

// The sample at a byte of `source`; 0 outside.
fn sample(at: u32) -> u32 {
    let word = at / 4u;
    if word >= arrayLength(&source) {
        return 0u;
    }
    return (source[word] >> ((at % 4u) * 8u)) & 255u;
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channels = plan[1];
    let height = plan[2];
    let width = plan[3];
    if id.x >= width || id.y >= height || id.z >= plan[0] {
        return;
    }
    let samples = plan[4];
    let picture = HEAD + id.z * PICTURE;
    let inside = id.x < plan[picture + 2u] && id.y < plan[picture + 3u];
    let filled = id.x < plan[picture + 4u] && id.y < plan[picture + 5u];

    // Four pixels and their weights; only read where the resized picture is.
    var corner = vec4<u32>(0u);
    var across = vec2<u32>(0u);
    var down = vec2<u32>(0u);
    if inside {
        let column = plan[picture + 6u] + id.x * 3u;
        let row = plan[picture + 7u] + id.y * 3u;
        let stride = plan[picture + 1u] * samples;
        let first = plan[picture];
        let x = vec2<u32>(plan[column], plan[column + 1u]) * samples;
        let y = first + vec2<u32>(plan[row], plan[row + 1u]) * stride;
        corner = vec4<u32>(y.x + x.x, y.x + x.y, y.y + x.x, y.y + x.y);
        across = vec2<u32>(plan[column + 2u] & 0xffffu, plan[column + 2u] >> 16u);
        down = vec2<u32>(plan[row + 2u] & 0xffffu, plan[row + 2u] >> 16u);
    }

    for (var c = 0u; c < channels; c += 1u) {
        let channel = select(c, 2u - c, plan[5] == 1u);
        var entry = channels * 256u;
        if inside {
            let top = sample(corner.x + channel) * across.x + sample(corner.y + channel) * across.y;
            let bottom = sample(corner.z + channel) * across.x + sample(corner.w + channel) * across.y;
            let sum = (((top >> 4u) * down.x) >> 16u) + (((bottom >> 4u) * down.y) >> 16u);
            entry = c * 256u + min((sum + 2u) >> 2u, 255u);
        } else if filled {
            entry = c * 256u + ((plan[picture + 8u] >> (channel * 8u)) & 255u);
        }
        let at = ((id.z * channels + c) * height + id.y) * width + id.x;
        if at < arrayLength(&batch) {
            batch[at] = values[entry];
        }
    }
}
