// The gradients of x, weight and bias.
// Twin: src/reference/norm.rs, within 1e-5 of the largest.
//
// binding 0  record     NormRecord: M rows, C channels, S slices
// binding 1  x          f32 [M, C], C filled up to a multiple of four, four to a vec4
// binding 2  slope      f32 [M, C], that of y
// binding 3  sums       f32 of `slopes`
// binding 4  of_x       f32 [M, C], written, 0 where channels are filled up
// binding 5  of_weight  f32 [C], written
// binding 6  of_bias    f32 [C], written
//
// dispatch: ceil(C / 16), any number of workgroups, which take every so manyth 64 rows; an invocation is four channels of a row.

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
@group(0) @binding(3) var<storage, read_write> sums: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> of_x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> of_weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> of_bias: array<f32>;

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
    var by_bias = vec4<f32>(0.0);
    var by_weight = vec4<f32>(0.0);
    if there {
        for (var slice = local.y; slice < told.slices; slice += 64u) {
            let at = (slice * columns + column) * 2u;
            by_bias += sums[at];
            by_weight += sums[at + 1u];
        }
    }
    by_bias = total(by_bias, lane);
    by_weight = total(by_weight, lane);
    if !there {
        return;
    }
    let channel = column * 4u;
    if group.y == 0u && local.y == 0u {
        for (var i = 0u; i < 4u; i += 1u) {
            if channel + i < told.channels {
                of_bias[channel + i] = by_bias[i];
                of_weight[channel + i] = by_weight[i];
            }
        }
    }
    let line = told.slices * columns * 2u + column * 4u;
    let scale = sums[line];
    let shift = sums[line + 1u];
    let middle = sums[line + 2u];
    let inverse = sums[line + 3u];
    // What moves the statistics too, if they are x's own.
    let part = f32(told.own) / f32(told.rows);
    let filled = vec4<u32>(channel) + vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(told.channels);
    for (var row = id.y; row < told.rows; row += groups.y * 64u) {
        let at = row * columns + column;
        let v = x[at];
        let g = slope[at] * slope_of(v * scale + shift, told.act, told.act_by);
        let made = scale * (g - part * (by_bias + (v - middle) * inverse * by_weight));
        of_x[at] = select(made, vec4<f32>(0.0), filled);
    }
}
