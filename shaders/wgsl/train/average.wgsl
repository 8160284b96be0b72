// Moves the running average of one tensor towards its value.
// Twin: src/reference/train.rs, to the last bits (a GPU may fuse a product and a sum).
//
// binding 0  weight   f32 [1]: of the value; 1 copies it
// binding 1  average  f32 [n], read and written
// binding 2  value    f32 [n]
//
// dispatch: ceil(n / 256) workgroups in rows; one invocation is one number.

@group(0) @binding(0) var<storage, read_write> weight: array<f32>;
@group(0) @binding(1) var<storage, read_write> average: array<f32>;
@group(0) @binding(2) var<storage, read_write> value: array<f32>;

// Between two numbers, with the exact one at either end.
fn between(a: f32, b: f32, weight: f32) -> f32 {
    return select(b - (b - a) * (1.0 - weight), a + weight * (b - a), weight < 0.5);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 256u + id.x;
    if i >= arrayLength(&average) || i >= arrayLength(&value) {
        return;
    }
    average[i] = between(average[i], value[i], weight[0]);
}
