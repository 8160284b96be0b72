// The mean of 3x3 pixels with five times the middle one; mirrored at the border without the last pixel.
// Twin: src/reference/augment/smooth.rs, u8 equal to the bit, f32 within 1e-4 of 255 (sums in another order).
//
// binding 0  plan    u32: width, height, channels, f32
// binding 1  source  picture (see place.wgsl)
// binding 2  picture written
//
// dispatch: ceil(width / 64), ceil(height / 4), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

// The position before or after, mirrored; a single one is its own neighbour.
fn mirrored(v: i32, length: i32) -> i32 {
    let inner = abs(v);
    return clamp(select(inner, 2 * length - 2 - inner, inner >= length), 0, length - 1);
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = vec2<i32>(i32(plan[0]), i32(plan[1]));
    if id.x >= plan[0] || id.y >= plan[1] {
        return;
    }
    let to = id.y * plan[0] + id.x;
    let channels = min(plan[2], 4u);
    var sum = vec4<u32>(0u);
    var total = vec4<f32>(0.0);
    for (var y = -1; y <= 1; y += 1) {
        for (var x = -1; x <= 1; x += 1) {
            let at = vec2<i32>(mirrored(i32(id.x) + x, size.x), mirrored(i32(id.y) + y, size.y));
            let pixel = u32(at.y * size.x + at.x);
            let times = select(1u, 5u, x == 0 && y == 0);
            if plan[3] == 1u {
                for (var c = 0u; c < channels; c += 1u) {
                    if pixel * channels + c < arrayLength(&source) {
                        total[c] += bitcast<f32>(source[pixel * channels + c]) * f32(times);
                    }
                }
            } else if pixel < arrayLength(&source) {
                let v = (vec4<u32>(source[pixel]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
                sum += v * times;
            }
        }
    }
    if plan[3] == 1u {
        for (var c = 0u; c < channels; c += 1u) {
            if to * channels + c < arrayLength(&picture) {
                picture[to * channels + c] = bitcast<u32>(total[c] / 13.0);
            }
        }
        return;
    }
    // to the nearest; a thirteenth is never a tie
    let mean = (sum * 2u + 13u) / 26u;
    if to < arrayLength(&picture) {
        picture[to] = mean.x | (mean.y << 8u) | (mean.z << 16u) | (mean.w << 24u);
    }
}
