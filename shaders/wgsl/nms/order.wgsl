// The boxes of all levels in descending order of score; equal scores keep the order of the levels,
// and within a level that of the priors. Invalid boxes are kept in their places, and marked.
//
// Each level's boxes are in order already. So an invocation takes one box and finds its place by one
// binary search in each level.
//
// Twin: smalti_shaders::reference::nms::score_order. Dispatch: x * 256 >= slots, y = picture.

// N x slots x 8, see decode.wgsl
@group(0) @binding(0) var<storage, read_write> slots: array<u32>;
// the record of the whole batch, see core/src/ops/detections_gpu.rs
@group(0) @binding(1) var<storage, read_write> batch: array<u32>;
// 12 words a level and picture, see select.wgsl
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
// N x (8 + slots x 8): header (number of boxes, overflow, 6 unused), then rows as in `slots`
@group(0) @binding(3) var<storage, read_write> ordered: array<u32>;

// How many of the `filled` boxes from row `first` on come before the score `key`; `ties`: those of equal score too.
fn places_before(first: u32, filled: u32, key: u32, ties: bool) -> u32 {
    var low = 0u;
    var high = filled;
    while (low < high) {
        let middle = (low + high) / 2u;
        let other = slots[min((first + middle) * 8u + 4u, arrayLength(&slots) - 1u)];
        if (other > key || (ties && other == key)) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pictures = batch[0];
    let levels = batch[1];
    let slots_each = batch[2];
    let picture = id.y;
    let me = id.x;
    if (picture >= pictures || me >= slots_each) {
        return;
    }
    let rows = picture * slots_each;
    let out = picture * (8u + slots_each * 8u);

    var my_level = levels;
    var my_rank = 0u;
    var total = 0u;
    var overflow = 0u;
    for (var l = 0u; l < levels; l++) {
        let state_at = (l * pictures + picture) * 12u;
        let filled = state[state_at + 7u];
        let first = batch[16u + l];
        if (me >= first && me < first + filled) {
            my_level = l;
            my_rank = me - first;
        }
        total += filled;
        overflow |= state[state_at + 9u];
    }
    if (me == 0u) {
        ordered[out] = min(total, slots_each);
        ordered[out + 1u] = overflow;
    }
    if (my_level == levels) {
        return; // an empty slot
    }
    let key = slots[(rows + me) * 8u + 4u];
    var place = my_rank;
    for (var l = 0u; l < levels; l++) {
        if (l != my_level) {
            let filled = state[(l * pictures + picture) * 12u + 7u];
            place += places_before(rows + batch[16u + l], filled, key, l < my_level);
        }
    }
    if (place < slots_each) {
        for (var i = 0u; i < 6u; i++) {
            ordered[out + 8u + place * 8u + i] = slots[(rows + me) * 8u + i];
        }
    }
}
