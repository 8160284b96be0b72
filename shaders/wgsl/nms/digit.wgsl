// The histogram bin that holds the k-th best score: one step of the radix select in select.wgsl.
//
// Reads the histogram that select.wgsl made, adds one digit to the chosen key, and empties the
// histogram. The search ends as soon as all that is not below the chosen key fits in `candidates`.
//
// Twin: smalti_shaders::reference::topk. Dispatch: x = picture.

// The structs are those of smalti_shaders::records, which has the members' meaning.
struct LevelRecord {
    score_strides: vec4<u32>,
    box_strides: vec4<u32>,
    factor_strides: vec4<u32>,
    means: vec4<f32>,
    stds: vec4<f32>,
    stride: vec2<f32>,
    height: u32,
    width: u32,
    priors: u32,
    channels: u32,
    activation: u32,
    dense: u32,
    score_thr: f32,
    bound: f32,
    at_least: u32,
    best_class: u32,
    pictures: u32,
    first_state: u32,
    nms_pre: i32,
    capacity: u32,
    first_candidate: u32,
    slots: u32,
    first_slot: u32,
    all_slots: u32,
    level: u32,
    by_level: u32,
    first_source: u32,
    anchors: u32,
    decoded: u32,
    clip: u32,
    has_factor: u32,
    add_ctr_clamp: u32,
    ctr_clamp: f32,
    max_ratio: f32,
    min_bbox_size: f32,
    boxes_each: u32,
    extra: f32,
}

struct State {
    mode: u32,
    round: u32,
    key: u32,
    inverted: u32,
    rank: u32,
    above: u32,
    passed: u32,
    wanted: u32,
    collected: u32,
    overflow: u32,
}

@group(0) @binding(0) var<storage, read_write> level: LevelRecord;
// levels x N
@group(0) @binding(1) var<storage, read_write> state: array<State>;
// N x 2048
@group(0) @binding(2) var<storage, read_write> histogram: array<u32>;

const BINS = 2048u;
const PER_THREAD = 8u;
const LAST_ROUND = 5u;

var<workgroup> w_sums: array<u32, 256>;

fn shift_of(round: u32) -> u32 {
    switch (round) {
        case 0u: { return 19u; }
        case 1u: { return 8u; }
        case 3u: { return 22u; }
        case 4u: { return 11u; }
        default: { return 0u; }
    }
}

// How many are wanted: `nms_pre` as a Python slice end, so a negative one drops from the end.
fn wanted(passed: u32) -> u32 {
    let nms_pre = level.nms_pre;
    if (nms_pre >= 0) {
        return min(u32(nms_pre), passed);
    }
    let dropped = u32(-(nms_pre + 1)) + 1u;
    return passed - min(dropped, passed);
}

fn advance(at: u32, bins_at: u32) {
    if (state[at].mode != 0u) {
        state[at].mode = 2u;
        return;
    }
    let round = state[at].round;
    if (round == 0u) {
        var passed = 0u;
        for (var t = 0u; t < 256u; t++) {
            passed += w_sums[t];
        }
        var k = wanted(passed);
        if (k > level.slots) {
            state[at].overflow = 1u; // more than there is room for: the CPU does this batch
            k = 0u;
        }
        state[at].passed = passed;
        state[at].wanted = k;
        state[at].rank = k;
        if (k == 0u) {
            state[at].mode = 2u;
            return;
        }
    }
    // down from the top until the wanted rank is reached: first 8 bins at a time, then one
    let rank = state[at].rank;
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
    let digit = bin << shift_of(round);
    if (round < 3u) {
        state[at].key |= digit;
    } else {
        state[at].inverted |= digit;
    }
    state[at].rank = rank - above;
    state[at].above += above;
    state[at].round = round + 1u;
    if (state[at].above + histogram[bins_at + bin] <= level.capacity || round == LAST_ROUND) {
        state[at].mode = 1u;
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = group.x;
    let inside = picture < level.pictures;
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
        advance(level.first_state + picture, bins_at);
    }
    storageBarrier();
    workgroupBarrier();
    if (inside) {
        for (var i = 0u; i < PER_THREAD; i++) {
            histogram[bins_at + local * PER_THREAD + i] = 0u;
        }
    }
}
