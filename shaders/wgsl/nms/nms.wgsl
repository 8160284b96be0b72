// Greedy non-maximum suppression of one picture's boxes, which come in descending order of score.
//
// One workgroup a picture. Round after round it keeps the best box left and removes those of the
// same group that overlap it by more than the threshold. It stops when enough boxes are kept, so
// a picture costs (boxes kept) x (boxes) overlaps and no memory for a matrix of them.
//
// Groups (classes, or an RPN's levels) are kept apart twice. Boxes are moved by group x (largest coordinate + 1),
// because that is how MMCV's batched_nms does it and its rounding decides the closest cases; and groups are
// compared, because moving alone lets boxes with negative coordinates reach into the group before.
//
// Twin: smalti_shaders::reference::nms. Dispatch: x = picture.

// The structs are those of smalti_shaders::records, which has the members' meaning.
struct BatchRecord {
    pictures: u32,
    levels: u32,
    slots: u32,
    most: u32,
    sorted: u32,
    suppress: u32,
    iou_threshold: f32,
    offset: f32,
    score_threshold: f32,
    class_agnostic: u32,
    split_thr: u32,
    max_per_img: i32,
    overflows_at: u32,
    boxes_at: u32,
    scores_at: u32,
    labels_at: u32,
    sources_at: u32,
    first_slots: array<u32, 40>,
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

struct Row {
    corners: vec4<f32>,
    score: u32,
    label: u32,
    group: u32,
    source: u32,
}

// N x slots, see order.wgsl
@group(0) @binding(0) var<storage, read_write> ordered: array<Row>;
@group(0) @binding(1) var<storage, read_write> batch: BatchRecord;
// levels x N
@group(0) @binding(2) var<storage, read_write> state: array<State>;
// at places that the record names: counts (N), overflows (N), boxes (N x most x 4, px), scores, labels, sources (N x most each);
// where there is no box, box, score and source are 0, and the label is -1
@group(0) @binding(3) var<storage, read_write> kept: array<u32>;

const INVALID = 0xffffffffu;
const WORDS = 1024u; // 32 boxes each; the host sees to it that there are no more boxes

var<workgroup> w_removed: array<atomic<u32>, 1024>;
var<workgroup> w_top: array<f32, 256>;
var<workgroup> w_count: u32;
var<workgroup> w_next: u32;
var<workgroup> w_valid: atomic<u32>;
var<workgroup> w_suppress: u32;
var<workgroup> w_left: array<u32, 256>;

fn moved_box(row: u32, step: f32) -> vec4<f32> {
    return ordered[row].corners + vec4<f32>(f32(ordered[row].group) * step);
}

// The form without a division: a GPU's division need not round correctly, and a box that overlaps
// by exactly the threshold must stay.
fn overlaps(a: vec4<f32>, b: vec4<f32>, threshold: f32, offset: f32) -> bool {
    let area_a = (a.z - a.x + offset) * (a.w - a.y + offset);
    let area_b = (b.z - b.x + offset) * (b.w - b.y + offset);
    let w = max(0.0, min(a.z, b.z) - max(a.x, b.x) + offset);
    let h = max(0.0, min(a.w, b.w) - max(a.y, b.y) + offset);
    let both = w * h;
    return both > threshold * (area_a + area_b - both);
}

// First box from `start` on that is not removed; `count` if there is none.
fn next_left(start: u32, count: u32) -> u32 {
    var i = start;
    while (i < count) {
        let left = ~atomicLoad(&w_removed[i / 32u]) & (0xffffffffu << (i % 32u));
        if (left != 0u) {
            return min(i / 32u * 32u + firstTrailingBit(left), count);
        }
        i = (i / 32u + 1u) * 32u;
    }
    return count;
}

// Boxes of word `w` that are left.
fn left_in(w: u32, count: u32) -> u32 {
    let first = w * 32u;
    if (first >= count) {
        return 0u;
    }
    let mask = select((1u << ((count - first) % 32u)) - 1u, 0xffffffffu, count - first >= 32u);
    return ~atomicLoad(&w_removed[w]) & mask;
}

// The `place`-th box of a picture.
fn keep(picture: u32, place: u32, row: Row) {
    let at = picture * batch.most + place;
    for (var i = 0u; i < 4u; i++) {
        kept[batch.boxes_at + at * 4u + i] = bitcast<u32>(row.corners[i]);
    }
    kept[batch.scores_at + at] = row.score;
    kept[batch.labels_at + at] = row.label;
    kept[batch.sources_at + at] = row.source;
}

// All that are left, without suppression: each invocation takes four words. How many they are, at most `most`.
fn keep_all(picture: u32, local: u32, count: u32) -> u32 {
    var mine = 0u;
    for (var w = local * 4u; w < local * 4u + 4u; w++) {
        mine += countOneBits(left_in(w, count));
    }
    w_left[local] = mine;
    workgroupBarrier();
    var place = 0u;
    var total = 0u;
    for (var t = 0u; t < 256u; t++) {
        place += select(0u, w_left[t], t < local);
        total += w_left[t];
    }
    for (var w = local * 4u; w < local * 4u + 4u; w++) {
        var left = left_in(w, count);
        while (left != 0u && place < batch.most) {
            keep(picture, place, ordered[picture * batch.slots + w * 32u + firstTrailingBit(left)]);
            left &= left - 1u;
            place += 1u;
        }
    }
    return min(total, batch.most);
}

// How many of `n` stay: max_per_img as a Python slice end, so a negative one drops from the end.
fn wanted(n: u32) -> u32 {
    if (batch.max_per_img >= 0) {
        return min(u32(batch.max_per_img), n);
    }
    let dropped = u32(-(batch.max_per_img + 1)) + 1u;
    return n - min(dropped, n);
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let agnostic = batch.class_agnostic != 0u;
    let picture = min(group.x, batch.pictures - 1u); // those beyond repeat the last one, and write what it writes
    let rows = picture * batch.slots;
    if (local == 0u) {
        var filled = 0u;
        var overflow = 0u;
        for (var l = 0u; l < batch.levels; l++) {
            filled += state[l * batch.pictures + picture].wanted;
            overflow |= state[l * batch.pictures + picture].overflow;
        }
        kept[batch.overflows_at + picture] = overflow;
        atomicStore(&w_valid, 0u);
        w_suppress = batch.suppress;
        w_count = min(min(filled, batch.slots), WORDS * 32u);
    }
    for (var i = local; i < WORDS; i += 256u) {
        atomicStore(&w_removed[i], 0u);
    }
    let count = workgroupUniformLoad(&w_count);
    let suppress = workgroupUniformLoad(&w_suppress);

    // the largest coordinate; boxes that are invalid go first
    var top = -3.0e38;
    var valid = 0u;
    for (var i = local; i < count; i += 256u) {
        if (ordered[rows + i].label == INVALID) {
            atomicOr(&w_removed[i / 32u], 1u << (i % 32u));
        } else {
            let b = ordered[rows + i].corners;
            top = max(top, max(max(b.x, b.y), max(b.z, b.w)));
            valid += 1u;
        }
    }
    w_top[local] = top;
    atomicAdd(&w_valid, valid);
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (local < half) {
            w_top[local] = max(w_top[local], w_top[local + half]);
        }
        workgroupBarrier();
    }
    let step = select(w_top[0] + 1.0, 0.0, agnostic);
    // MMCV goes group by group above split_thr, even where it was told to be class agnostic
    let compare_groups = !agnostic || atomicLoad(&w_valid) >= batch.split_thr;

    var start = 0u;
    var n_kept = 0u;
    if (suppress == 0u) {
        n_kept = keep_all(picture, local, count);
        start = count;
    }
    loop {
        if (local == 0u) {
            var next = next_left(start, count);
            if (next < count && batch.score_threshold > 0.0 && !(bitcast<f32>(ordered[rows + next].score) > batch.score_threshold)) {
                next = count;
            }
            if (n_kept >= batch.most) {
                next = count;
            }
            w_next = next;
        }
        let best = workgroupUniformLoad(&w_next);
        if (best >= count) {
            break;
        }
        if (local == 0u) {
            keep(picture, n_kept, ordered[rows + best]);
        }
        let best_group = ordered[rows + best].group;
        let a = moved_box(rows + best, step);
        for (var j = best + 1u + local; j < count; j += 256u) {
            if (!compare_groups || ordered[rows + j].group == best_group) {
                if (overlaps(a, moved_box(rows + j, step), batch.iou_threshold, batch.offset)) {
                    atomicOr(&w_removed[j / 32u], 1u << (j % 32u));
                }
            }
        }
        n_kept += 1u;
        start = best + 1u;
        workgroupBarrier();
    }

    let counted = wanted(n_kept);
    if (local == 0u) {
        kept[picture] = counted;
    }
    storageBarrier(); // some of the rows that follow were kept
    workgroupBarrier();
    for (var i = counted + local; i < batch.most; i += 256u) {
        keep(picture, i, Row(vec4<f32>(0.0), 0u, INVALID, 0u, 0u));
    }
}
