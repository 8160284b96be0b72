// The boxes of all levels in descending order of score; equal scores keep the order of the levels,
// and within a level that of the slots. Invalid boxes are kept in their places, and marked.
//
// An invocation takes one box and finds its place. Where each level's boxes are in order already, by one
// binary search in each level; where factors have mixed them, by counting those that come before it.
//
// Twin: smalti_shaders::reference::nms::score_order. Dispatch: x * 256 >= slots, y = picture.

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

// N x slots
@group(0) @binding(0) var<storage, read_write> slots: array<Row>;
@group(0) @binding(1) var<storage, read_write> batch: BatchRecord;
// levels x N
@group(0) @binding(2) var<storage, read_write> state: array<State>;
// N x slots: as many rows as all levels have boxes
@group(0) @binding(3) var<storage, read_write> ordered: array<Row>;

const TILE = 256u;
const INVALID = 0xffffffffu;

var<workgroup> w_ranked: u32;
var<workgroup> w_tile: array<u32, 256>;

// Orders as scores do; 0 is an empty slot.
fn key_of(row: u32) -> u32 {
    let at = min(row, arrayLength(&slots) - 1u);
    return select(slots[at].score + 1u, 0u, slots[at].source == INVALID);
}

// How many of the `filled` boxes from row `first` on come before the score `key`; `ties`: those of equal score too.
fn places_before(first: u32, filled: u32, key: u32, ties: bool) -> u32 {
    var low = 0u;
    var high = filled;
    while (low < high) {
        let middle = (low + high) / 2u;
        let other = key_of(first + middle);
        if (other > key || (ties && other == key)) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

// The place of slot `me`, all levels being in order.
fn place_by_search(me: u32, key: u32, picture: u32) -> u32 {
    let rows = picture * batch.slots;
    var place = 0u;
    for (var l = 0u; l < batch.levels; l++) {
        let filled = state[l * batch.pictures + picture].wanted;
        let first = batch.first_slots[l];
        if (me >= first && me < first + filled) {
            place += me - first;
        } else {
            place += places_before(rows + first, filled, key, first < me);
        }
    }
    return place;
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = group.y;
    let me = group.x * TILE + local;
    let rows = picture * batch.slots;
    let inside = picture < batch.pictures && me < batch.slots;
    if (local == 0u) {
        w_ranked = select(batch.slots, 0u, batch.sorted != 0u);
    }
    let ranked = workgroupUniformLoad(&w_ranked);
    var key = 0u;
    if (inside) {
        key = key_of(rows + me);
    }
    var place = 0u;
    for (var from_ = 0u; from_ < ranked; from_ += TILE) {
        workgroupBarrier();
        w_tile[local] = 0u;
        if (from_ + local < ranked) {
            w_tile[local] = key_of(rows + from_ + local);
        }
        workgroupBarrier();
        for (var j = 0u; j < TILE; j++) {
            let other = w_tile[j];
            place += select(0u, 1u, other > key || (other == key && from_ + j < me));
        }
    }
    if (key == 0u) {
        return; // an empty slot, or none
    }
    if (ranked == 0u) {
        place = place_by_search(me, key, picture);
    }
    if (place < batch.slots) {
        ordered[rows + place] = slots[rows + me];
    }
}
