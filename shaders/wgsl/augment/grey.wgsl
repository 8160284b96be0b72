// cv2.cvtColor(COLOR_BGR2GRAY).
// Twin: src/reference/augment/grey.rs, u8 equal to the bit, f32 within 1e-4 of 255 (sums may be fused).
//
// binding 0  plan    u32: pixels, pixels of a row of invocations, f32
// binding 1  source  picture of 3 channels (see place.wgsl)
// binding 2  picture of 1 channel, written
//
// dispatch: row of invocations / 256, ceil(pixels / row), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.y * plan[1] + id.x;
    if pixel >= plan[0] || id.x >= plan[1] {
        return;
    }
    if plan[2] == 1u {
        let at = pixel * 3u;
        if at + 2u < arrayLength(&source) && pixel < arrayLength(&picture) {
            let bgr = bitcast<vec3<f32>>(vec3<u32>(source[at], source[at + 1u], source[at + 2u]));
            picture[pixel] = bitcast<u32>(bgr.x * 0.114 + bgr.y * 0.587 + bgr.z * 0.299);
        }
        return;
    }
    if pixel >= arrayLength(&source) || pixel >= arrayLength(&picture) {
        return;
    }
    let bgr = (vec3<u32>(source[pixel]) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u);
    picture[pixel] = (bgr.x * 3735u + bgr.y * 19235u + bgr.z * 9798u + (1u << 14u)) >> 15u;
}
