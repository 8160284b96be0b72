// The histogram bin that holds the k-th best score: one step of the radix select in select.wgsl.
//
// Reads the histogram that select.wgsl made, adds one digit to the chosen key, and empties the
// histogram. The search ends as soon as all that is not below the chosen key fits in `candidates`.
//
// Twin: smalti_shaders::reference::topk. Dispatch: x = picture.

// one level record, see core/src/ops/detections_gpu.rs
@group(0) @binding(0) var<storage, read_write> level: array<u32>;
// 12 words a level and picture, see select.wgsl
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
// N x 2048
@group(0) @binding(2) var<storage, read_write> histogram: array<u32>;

const BINS = 2048u;
const PER_THREAD = 8u;
const LAST_PASS = 5u;

var<workgroup> w_sums: array<u32, 256>;

fn shift_of(pass_no: u32) -> u32 {
    switch (pass_no) {
        case 0u: { return 19u; }
        case 1u: { return 8u; }
        case 3u: { return 22u; }
        case 4u: { return 11u; }
        default: { return 0u; }
    }
}

// How many are wanted: `nms_pre` as a Python slice end, so a negative one drops from the end.
fn wanted(passed: u32) -> u32 {
    let nms_pre = bitcast<i32>(level[15]);
    if (nms_pre >= 0) {
        return min(u32(nms_pre), passed);
    }
    let dropped = u32(-(nms_pre + 1)) + 1u;
    return passed - min(dropped, passed);
}

fn advance(at: u32, bins_at: u32) {
    if (state[at] != 0u) {
        state[at] = 2u;
        return;
    }
    let pass_no = state[at + 1u];
    if (pass_no == 0u) {
        var passed = 0u;
        for (var t = 0u; t < 256u; t++) {
            passed += w_sums[t];
        }
        var k = wanted(passed);
        if (k > level[16]) {
            state[at + 9u] = 1u; // more than there is room for: the CPU does this batch
            k = 0u;
        }
        state[at + 6u] = passed;
        state[at + 7u] = k;
        state[at + 4u] = k;
        if (k == 0u) {
            state[at] = 2u;
            return;
        }
    }
    // down from the top until the wanted rank is reached: first 8 bins at a time, then one
    let rank = state[at + 4u];
    var above = 0u;
    var t = 255u;
    while (t > 0u && above + w_sums[t] < rank) {
        above += w_sums[t];
        t -= 1u;
    }
    var bin = t * PER_THREAD + PER_THREAD - 1u;
    while (bin > t * PER_THREAD && above + histogram[bins_at + bin] < rank) {
        above += histogram[bins_at + bin];
        bin -= 1u;
    }
    let digit = bin << shift_of(pass_no);
    if (pass_no < 3u) {
        state[at + 2u] |= digit;
    } else {
        state[at + 3u] |= digit;
    }
    state[at + 4u] = rank - above;
    state[at + 5u] += above;
    state[at + 1u] = pass_no + 1u;
    if (state[at + 5u] + histogram[bins_at + bin] <= level[14] || pass_no == LAST_PASS) {
        state[at] = 1u;
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = group.x;
    let inside = picture < level[39];
    let bins_at = picture * BINS;
    var sum = 0u;
    if (inside) {
        for (var i = 0u; i < PER_THREAD; i++) {
            sum += histogram[bins_at + local * PER_THREAD + i];
        }
    }
    w_sums[local] = sum;
    workgroupBarrier();
    if (inside && local == 0u) {
        advance(level[11] + picture * 12u, bins_at);
    }
    storageBarrier();
    workgroupBarrier();
    if (inside) {
        for (var i = 0u; i < PER_THREAD; i++) {
            histogram[bins_at + local * PER_THREAD + i] = 0u;
        }
    }
}
