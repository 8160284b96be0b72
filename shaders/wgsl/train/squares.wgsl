// The squares of up to six tensors' numbers, added up by parts, and how many numbers are not finite.
// Twin: src/reference/train.rs, within 1e-6 of the sum (f32, in another order).
//
// binding 0      plan  u32 [8]: how many numbers each tensor has, the place of the first part, how many parts there are
// binding 1..=6  a..f  f32 [n], one tensor each
// binding 7      sums  f32 [2, parts], a part of which is written: the squares of each workgroup, then the counts
//
// dispatch: any number of workgroups along x, one y a tensor; each invocation takes every so manyth number.

@group(0) @binding(0) var<storage, read_write> plan: array<u32, 8>;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<f32>;
@group(0) @binding(5) var<storage, read_write> e: array<f32>;
@group(0) @binding(6) var<storage, read_write> f: array<f32>;
@group(0) @binding(7) var<storage, read_write> sums: array<f32>;

var<workgroup> parts: array<vec2<f32>, 256>;

fn number(which: u32, i: u32) -> f32 {
    switch which {
        case 0u: { return a[i]; }
        case 1u: { return b[i]; }
        case 2u: { return c[i]; }
        case 3u: { return d[i]; }
        case 4u: { return e[i]; }
        default: { return f[i]; }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let count = plan[min(group.y, 5u)];
    var sum = vec2<f32>(0.0);
    for (var i = id.x; i < count; i += groups.x * 256u) {
        let v = number(group.y, i);
        // By its bits: a compiler may take all numbers for finite.
        let finite = (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
        sum += vec2<f32>(v * v, select(1.0, 0.0, finite));
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
        let at = plan[6] + group.y * groups.x + group.x;
        sums[at] = parts[0].x;
        sums[plan[7] + at] = parts[0].y;
    }
}
