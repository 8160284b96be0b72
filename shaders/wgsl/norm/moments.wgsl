// The mean of each slice of rows, and the squares of what is off it, for each channel.
// Twin: src/reference/norm.rs, within 1e-5 of the largest (sums in f32, in another order).
//
// binding 0  record  NormRecord: M rows, C channels, S slices
// binding 1  x       f32 [M, C], C filled up to a multiple of four, four to a vec4
// binding 2  sums    f32 [S, C / 4, 2, 4], written: means, and sums of squares
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
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;

// The record, read once: where buffers are written a compiler must read again.
var<private> told: NormRecord;

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
    let each = (told.rows + told.slices - 1u) / told.slices;
    let start = min(group.y * each, told.rows);
    let end = min(start + each, told.rows);
    var sum = vec4<f32>(0.0);
    if there {
        for (var row = start + local.y; row < end; row += 64u) {
            sum += x[row * columns + column];
        }
    }
    let mean = total(sum, lane) / f32(max(end - start, 1u));
    var off = vec4<f32>(0.0);
    if there {
        for (var row = start + local.y; row < end; row += 64u) {
            let away = x[row * columns + column] - mean;
            off += away * away;
        }
    }
    let squares = total(off, lane);
    if there && local.y == 0u {
        let at = (group.y * columns + column) * 2u;
        sums[at] = mean;
        sums[at + 1u] = squares;
    }
}
