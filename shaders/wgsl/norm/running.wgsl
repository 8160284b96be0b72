// Takes a batch's statistics into the running ones.
// Twin: src/reference/norm.rs, within 1e-6 of the largest (f32).
//
// binding 0  shares    f32 [3]: of what there is, of the new mean, of the new variance
// binding 1  new_mean  f32 [C]
// binding 2  new_var   f32 [C]
// binding 3  mean      f32 [C], read and written
// binding 4  var_of    f32 [C], read and written
//
// dispatch: ceil(C / 64); one invocation is one channel.

@group(0) @binding(0) var<storage, read_write> shares: array<f32, 3>;
@group(0) @binding(1) var<storage, read_write> new_mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> new_var: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> var_of: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let inside = i < arrayLength(&new_mean) && i < arrayLength(&new_var);
    if !inside || i >= arrayLength(&mean) || i >= arrayLength(&var_of) {
        return;
    }
    mean[i] = mean[i] * shares[0] + new_mean[i] * shares[1];
    var_of[i] = var_of[i] * shares[0] + new_var[i] * shares[2];
}
