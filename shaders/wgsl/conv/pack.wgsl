// A tensor in any order to one with its channels last, four to a vec4, the last filled with 0.
// Twin: src/reference/conv/direct.rs, equal to the bit.
//
// binding 0  plan    u32: pictures N, channels C, height H, width W; strides of the four in elements
// binding 1  source  f32 [N, C, H, W], strides as the plan says
// binding 2  packed  f32 [N, H, W, C], written
//
// dispatch: ceil(W / 16), ceil(C / 16), at most H * N; one invocation is four channels of a pixel, in every so many rows.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4<f32>>;

@compute @workgroup_size(16, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let channels = plan[1];
    let height = plan[2];
    let width = plan[3];
    let fours = (channels + 3u) / 4u;
    if id.x >= width || id.y >= fours {
        return;
    }
    let left = channels - id.y * 4u;
    for (var row = id.z; row < plan[0] * height; row += groups.z) {
        let at = row / height * plan[4] + id.y * 4u * plan[5] + row % height * plan[6] + id.x * plan[7];
        var v = vec4<f32>(source[at], 0.0, 0.0, 0.0);
        if left > 1u {
            v.y = source[at + plan[5]];
        }
        if left > 2u {
            v.z = source[at + 2u * plan[5]];
        }
        if left > 3u {
            v.w = source[at + 3u * plan[5]];
        }
        packed[(row * width + id.x) * fours + id.y] = v;
    }
}
