// The sum of what 64 rows of invocations give, for each of the workgroup's four columns; every invocation has to come by.
var<workgroup> sums_of: array<vec4<f32>, 256>;

fn total(v: vec4<f32>, lane: u32) -> vec4<f32> {
    workgroupBarrier();
    sums_of[lane] = v;
    workgroupBarrier();
    for (var half = 128u; half >= 4u; half /= 2u) {
        if lane < half {
            sums_of[lane] += sums_of[lane + half];
        }
        workgroupBarrier();
    }
    return sums_of[lane % 4u];
}
