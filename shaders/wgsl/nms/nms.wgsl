// Greedy non-maximum suppression of one picture's boxes, which come in descending order of score.
//
// One workgroup a picture. Round after round it keeps the best box left and removes those of the
// same class that overlap it by more than the threshold. It stops when enough boxes are kept, so
// a picture costs (boxes kept) x (boxes) overlaps and no memory for a matrix of them.
//
// Classes are kept apart twice. Boxes are moved by class x (largest coordinate + 1), because that is
// how MMCV's batched_nms does it and its rounding decides the closest cases; and labels are compared,
// because moving alone lets boxes with negative coordinates reach into the class before.
//
// Twin: smalti_shaders::reference::nms. Dispatch: x = picture.

// N x (8 + slots x 8), see order.wgsl
@group(0) @binding(0) var<storage, read_write> ordered: array<u32>;
// the record of the whole batch, see core/src/ops/detections_gpu.rs
@group(0) @binding(1) var<storage, read_write> batch: array<u32>;
// N x (8 + most x 8): header (boxes kept, overflow, 6 unused), then rows x1, y1, x2, y2 (px), score, label, 2 unused
@group(0) @binding(2) var<storage, read_write> kept: array<u32>;

const INVALID = 0xffffffffu;
const WORDS = 1024u; // 32 boxes each; the host sees to it that there are no more boxes

var<workgroup> w_removed: array<atomic<u32>, 1024>;
var<workgroup> w_top: array<f32, 256>;
var<workgroup> w_count: u32;
var<workgroup> w_next: u32;
var<workgroup> w_valid: atomic<u32>;

fn corner(row: u32, i: u32) -> f32 {
    return bitcast<f32>(ordered[row + i]);
}

fn box_at(row: u32, move_by: f32) -> vec4<f32> {
    return vec4<f32>(corner(row, 0u), corner(row, 1u), corner(row, 2u), corner(row, 3u)) + vec4<f32>(move_by);
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

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pictures = batch[0];
    let slots_each = batch[2];
    let most = batch[3];
    let threshold = bitcast<f32>(batch[4]);
    let offset = bitcast<f32>(batch[5]);
    let least_score = bitcast<f32>(batch[6]);
    let agnostic = batch[7] != 0u;
    let picture = min(group.x, pictures - 1u);
    let in_at = picture * (8u + slots_each * 8u);
    let rows = in_at + 8u;
    let out_at = picture * (8u + most * 8u);
    if (local == 0u) {
        atomicStore(&w_valid, 0u);
        w_count = min(min(ordered[in_at], slots_each), WORDS * 32u);
    }
    for (var i = local; i < WORDS; i += 256u) {
        atomicStore(&w_removed[i], 0u);
    }
    let count = workgroupUniformLoad(&w_count);

    // the largest coordinate; boxes that are invalid go first
    var top = -3.0e38;
    var valid = 0u;
    for (var i = local; i < count; i += 256u) {
        if (ordered[rows + i * 8u + 5u] == INVALID) {
            atomicOr(&w_removed[i / 32u], 1u << (i % 32u));
        } else {
            let b = box_at(rows + i * 8u, 0.0);
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
    let class_step = select(w_top[0] + 1.0, 0.0, agnostic);
    // MMCV goes class by class above split_thr, even where it was told to be class agnostic
    let compare_labels = !agnostic || atomicLoad(&w_valid) >= batch[8];

    var start = 0u;
    var n_kept = 0u;
    loop {
        if (local == 0u) {
            var next = next_left(start, count);
            if (next < count && least_score > 0.0 && !(corner(rows + next * 8u, 4u) > least_score)) {
                next = count;
            }
            if (n_kept >= most) {
                next = count;
            }
            w_next = next;
        }
        let best = workgroupUniformLoad(&w_next);
        if (best >= count) {
            break;
        }
        let row = rows + best * 8u;
        let label = ordered[row + 5u];
        if (group.x < pictures && local < 6u) {
            kept[out_at + 8u + n_kept * 8u + local] = ordered[row + local];
        }
        let a = box_at(row, f32(label) * class_step);
        for (var j = best + 1u + local; j < count; j += 256u) {
            let other = rows + j * 8u;
            let other_label = ordered[other + 5u];
            if (!compare_labels || other_label == label) {
                if (overlaps(a, box_at(other, f32(other_label) * class_step), threshold, offset)) {
                    atomicOr(&w_removed[j / 32u], 1u << (j % 32u));
                }
            }
        }
        n_kept += 1u;
        start = best + 1u;
        workgroupBarrier();
    }
    if (group.x < pictures && local == 0u) {
        kept[out_at] = n_kept;
        kept[out_at + 1u] = ordered[in_at + 1u];
    }
}
