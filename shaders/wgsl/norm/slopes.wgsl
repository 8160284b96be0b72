// What the gradients of weight and bias are in each slice of rows; and what each channel is multiplied by and so on, for `gradient`.
// Twin: src/reference/norm.rs, within 1e-5 of the largest (sums in f32, in another order).
//
// binding 0  record     NormRecord: M rows, C channels, S slices
// binding 1  x          f32 [M, C], C filled up to a multiple of four, four to a vec4
// binding 2  slope      f32 [M, C], that of y
// binding 3  weight     f32 [C]
// binding 4  bias       f32 [C]
// binding 5  mean       f32 [C]
// binding 6  spread_of  f32 [C], the variance
// binding 7  sums       f32 [S, C / 4, 2, 4], written: of the bias, of the weight; then [C / 4, 4, 4], written: scale, shift, mean, 1 / deviation
//
// dispatch: ceil(C / 16), S; a workgroup is 16 channels of a slice, an invocation four channels of every 64th row.

struct NormRecord {
    act_by: vec4<f32>,
    act: u32,
    rows: u32,
    channels: u32,
    slices: u32,
    own: u32,
    eps: f32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<storage, read_write> record: NormRecord;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> slope: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> spread_of: array<f32>;
@group(0) @binding(7) var<storage, read_write> sums: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: NormRecord;

// The slope of what `activated` does, PyTorch's at corners too; that of 2 outside of its open range is `by.z` at a corner.
fn slope_of(v: vec4<f32>, act: u32, by: vec4<f32>) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    switch act {
        case 1u: { return select(one, none, v <= none); }
        case 2u: {
            let corner = (v == vec4<f32>(by.x)) | (v == vec4<f32>(by.y));
            let beyond = (v < vec4<f32>(by.x)) | (v > vec4<f32>(by.y));
            return select(select(one, vec4<f32>(by.z), corner), none, beyond);
        }
        case 3u: { return select(vec4<f32>(by.x), one, v > none); }
        case 4u: {
            let share = 1.0 / (1.0 + exp(-v));
            return share * (1.0 - share);
        }
        case 5u: {
            let share = 1.0 / (1.0 + exp(-v));
            return share * (1.0 + v * (1.0 - share));
        }
        case 6u: {
            let bend = select(v / 3.0 + 0.5, none, v < vec4<f32>(-3.0));
            return select(bend, one, v > vec4<f32>(3.0));
        }
        case 7u: {
            let y = (v + by.x) / by.y;
            let beyond = (y < vec4<f32>(by.z)) | (y > vec4<f32>(by.w));
            return select(vec4<f32>(1.0 / by.y), none, beyond);
        }
        default: { return one; }
    }
}

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

// Four channels of what has one number each; here, and so on below.
fn weight_at(at: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
        if at + i < told.channels {
            v[i] = weight[at + i];
        }
    }
    return v;
}

fn bias_at(at: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
        if at + i < told.channels {
            v[i] = bias[at + i];
        }
    }
    return v;
}

fn mean_at(at: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
        if at + i < told.channels {
            v[i] = mean[at + i];
        }
    }
    return v;
}

fn spread_at(at: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
        if at + i < told.channels {
            v[i] = spread_of[at + i];
        }
    }
    return v;
}

@compute @workgroup_size(4, 64, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    told = record;
    let columns = (told.channels + 3u) / 4u;
    let column = id.x;
    let there = column < columns;
    let channel = column * 4u;
    let middle = mean_at(channel);
    let inverse = 1.0 / sqrt(spread_at(channel) + told.eps);
    let scale = weight_at(channel) * inverse;
    let shift = bias_at(channel) - middle * scale;
    let each = (told.rows + told.slices - 1u) / told.slices;
    let start = min(group.y * each, told.rows);
    let end = min(start + each, told.rows);
    var of_bias = vec4<f32>(0.0);
    var of_weight = vec4<f32>(0.0);
    if there {
        for (var row = start + local.y; row < end; row += 64u) {
            let at = row * columns + column;
            let v = x[at];
            let g = slope[at] * slope_of(v * scale + shift, told.act, told.act_by);
            of_bias += g;
            of_weight += g * (v - middle) * inverse;
        }
    }
    of_bias = total(of_bias, lane);
    of_weight = total(of_weight, lane);
    if there && local.y == 0u {
        let at = (group.y * columns + column) * 2u;
        sums[at] = of_bias;
        sums[at + 1u] = of_weight;
        if group.y == 0u {
            let line = told.slices * columns * 2u + column * 4u;
            sums[line] = scale;
            sums[line + 1u] = shift;
            sums[line + 2u] = middle;
            sums[line + 3u] = inverse;
        }
    }
}
