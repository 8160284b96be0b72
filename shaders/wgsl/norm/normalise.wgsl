// A factor and a summand for each channel, from weight, bias and statistics, and the activation after them.
// Twin: src/reference/norm.rs, within 1e-5 of the largest.
//
// binding 0  record  NormRecord: M rows, C channels, S slices
// binding 1  x       f32 [M, C], C filled up to a multiple of four, four to a vec4
// binding 2  weight  f32 [C]
// binding 3  bias    f32 [C]
// binding 4  sums    f32 [S, C / 4, 2, 4] of `moments`, if the statistics are x's own
// binding 5  mean    f32 [C], read; written if they are x's own
// binding 6  spread_of  f32 [C], as the mean: of all values, not an estimate
// binding 7  y       f32 [M, C], written, 0 where channels are filled up
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
@group(0) @binding(2) var<storage, read_write> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> spread_of: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: NormRecord;

// What follows a convolution's sums, by its number (`Act` in records.rs).
fn activated(v: vec4<f32>, act: u32, by: vec4<f32>) -> vec4<f32> {
    switch act {
        // ReLU, which keeps what is no number.
        case 1u: { return select(v, vec4<f32>(0.0), v < vec4<f32>(0.0)); }
        // Between two bounds.
        case 2u: { return clamp(v, vec4<f32>(by.x), vec4<f32>(by.y)); }
        // A slope below 0.
        case 3u: { return select(v, v * by.x, v < vec4<f32>(0.0)); }
        // Sigmoid.
        case 4u: { return 1.0 / (1.0 + exp(-v)); }
        // SiLU.
        case 5u: { return v / (1.0 + exp(-v)); }
        // Hard swish.
        case 6u: { return v * clamp(v + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) / 6.0; }
        // Hard sigmoid.
        case 7u: { return clamp((v + by.x) / by.y, vec4<f32>(by.z), vec4<f32>(by.w)); }
        default: { return v; }
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
    let each = (told.rows + told.slices - 1u) / max(told.slices, 1u);
    var sum = vec4<f32>(0.0);
    if there && told.own != 0u {
        for (var slice = local.y; slice < told.slices; slice += 64u) {
            let count = min(each, told.rows - min(slice * each, told.rows));
            sum += f32(count) * sums[(slice * columns + column) * 2u];
        }
    }
    var middle = total(sum, lane) / f32(told.rows);
    sum = vec4<f32>(0.0);
    if there && told.own != 0u {
        for (var slice = local.y; slice < told.slices; slice += 64u) {
            let count = min(each, told.rows - min(slice * each, told.rows));
            let at = (slice * columns + column) * 2u;
            let off = sums[at] - middle;
            sum += sums[at + 1u] + f32(count) * off * off;
        }
    }
    var spread = total(sum, lane) / f32(told.rows);
    if !there {
        return;
    }
    let channel = column * 4u;
    if told.own == 0u {
        middle = mean_at(channel);
        spread = spread_at(channel);
    } else if group.y == 0u && local.y == 0u {
        for (var i = 0u; i < 4u; i += 1u) {
            if channel + i < told.channels {
                mean[channel + i] = middle[i];
                spread_of[channel + i] = spread[i];
            }
        }
    }
    let scale = weight_at(channel) / sqrt(spread + told.eps);
    let shift = bias_at(channel) - middle * scale;
    let filled = vec4<u32>(channel) + vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(told.channels);
    for (var row = id.y; row < told.rows; row += groups.y * 64u) {
        let at = row * columns + column;
        let v = activated(x[at] * scale + shift, told.act, told.act_by);
        y[at] = select(v, vec4<f32>(0.0), filled);
    }
}
