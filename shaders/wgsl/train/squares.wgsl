// The squares of a tensor's numbers, added up by parts.
// Twin: src/reference/train.rs, within 1e-6 of the sum (f32, in another order).
//
// binding 0  plan      u32: n numbers, the place of the first part
// binding 1  gradient  f32 [n]
// binding 2  sums      f32, a part of which is written: a sum for each workgroup
//
// dispatch: any number of workgroups along x; each invocation takes every so manyth number.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let count = plan[0];
    var sum = 0.0;
    for (var i = id.x; i < count; i += groups.x * 256u) {
        sum += gradient[i] * gradient[i];
    }
    parts[lane] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            parts[lane] += parts[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        sums[plan[1] + group.x] = parts[0];
    }
}
