// The k best of one level's candidates in order, as boxes.
//
// An invocation takes one candidate, counts the better ones (their number is its place), and if
// the place is below k decodes the box: anchor from the base anchors and the stride, deltas as
// DeltaXYWHBBoxCoder does, clip to the picture, scale to the original picture. A box that is not
// finite or not larger than min_bbox_size is marked invalid.
//
// Twin: smalti_shaders::reference::decode. Dispatch: x * 256 >= max(capacity, slots of the level), y = picture.

// N x (A*4) x H x W, any strides
@group(0) @binding(0) var<storage, read_write> deltas: array<f32>;
// one level record, see core/src/ops/detections_gpu.rs
@group(0) @binding(1) var<storage, read_write> level: array<u32>;
// N x 4: height and width to clip to, factors for x and y; then base anchors, A x 4 a level, px
@group(0) @binding(2) var<storage, read_write> numbers: array<f32>;
// 12 words a level and picture, see select.wgsl
@group(0) @binding(3) var<storage, read_write> state: array<u32>;
// pairs (score bits, index), in no order
@group(0) @binding(4) var<storage, read_write> candidates: array<u32>;
// N x slots x 8: x1, y1, x2, y2 (px), score as f32 bits; label or INVALID; 2 unused
@group(0) @binding(5) var<storage, read_write> slots: array<u32>;

const TILE = 256u;
const INVALID = 0xffffffffu;

var<workgroup> w_count: u32;
var<workgroup> w_tile: array<vec2<u32>, 256>;

fn param(i: u32) -> f32 {
    return bitcast<f32>(level[i]);
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}

fn write_box(slot: u32, score_bits: u32, index: u32, picture: u32) {
    let classes = level[3] - level[4]; // with softmax the last channel is the background
    let prior = index / classes;
    let a = prior % level[2];
    let cell = prior / level[2];
    let y = cell / level[1];
    let x = cell % level[1];
    let first = picture * level[19] + a * 4u * level[20] + y * level[21] + x * level[22];
    let out = slot * 8u;
    if (first + 3u * level[20] >= arrayLength(&deltas) || out + 7u >= arrayLength(&slots)) {
        return;
    }
    let base = level[23] + a * 4u;
    let shift = vec2<f32>(f32(x) * param(24u), f32(y) * param(25u));
    let low = vec2<f32>(numbers[base], numbers[base + 1u]) + shift;
    let high = vec2<f32>(numbers[base + 2u], numbers[base + 3u]) + shift;
    let centre = (low + high) * 0.5;
    let size = high - low;

    var d: array<f32, 4>;
    for (var i = 0u; i < 4u; i++) {
        d[i] = deltas[first + i * level[20]] * param(30u + i) + param(26u + i);
    }
    let finite_deltas = is_finite(d[0]) && is_finite(d[1]) && is_finite(d[2]) && is_finite(d[3]);
    var move_by = size * vec2<f32>(d[0], d[1]);
    var log_scale = vec2<f32>(d[2], d[3]);
    let max_ratio = param(34u);
    if (level[36] != 0u) {
        move_by = clamp(move_by, vec2<f32>(-param(37u)), vec2<f32>(param(37u)));
        log_scale = min(log_scale, vec2<f32>(max_ratio));
    } else {
        log_scale = clamp(log_scale, vec2<f32>(-max_ratio), vec2<f32>(max_ratio));
    }
    let middle = centre + move_by;
    let half_size = size * exp(log_scale) * 0.5;
    var p = middle - half_size;
    var q = middle + half_size;
    let picture_at = picture * 4u;
    if (level[35] != 0u) {
        let limit = vec2<f32>(numbers[picture_at + 1u], numbers[picture_at]);
        p = clamp(p, vec2<f32>(0.0), limit);
        q = clamp(q, vec2<f32>(0.0), limit);
    }
    let factor = vec2<f32>(numbers[picture_at + 2u], numbers[picture_at + 3u]);
    p *= factor;
    q *= factor;

    let extent = q - p;
    let least = param(38u);
    var valid = finite_deltas && is_finite(p.x) && is_finite(p.y) && is_finite(q.x) && is_finite(q.y);
    if (least >= 0.0) {
        valid = valid && extent.x > least && extent.y > least;
    }
    slots[out] = bitcast<u32>(p.x);
    slots[out + 1u] = bitcast<u32>(p.y);
    slots[out + 2u] = bitcast<u32>(q.x);
    slots[out + 3u] = bitcast<u32>(q.y);
    slots[out + 4u] = score_bits;
    slots[out + 5u] = select(INVALID, index % classes, valid);
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = min(group.y, level[39] - 1u);
    let inside = group.y < level[39];
    let state_at = level[11] + picture * 12u;
    let capacity = level[14];
    let first = level[13] + picture * capacity;
    if (local == 0u) {
        w_count = min(state[state_at + 8u], capacity);
    }
    let count = workgroupUniformLoad(&w_count);
    let k = state[state_at + 7u];
    let me = group.x * 256u + local;

    var mine = vec2<u32>(0u, 0u);
    if (me < count) {
        mine = vec2<u32>(candidates[(first + me) * 2u], candidates[(first + me) * 2u + 1u]);
    }
    var place = 0u;
    for (var from_ = 0u; from_ < count; from_ += TILE) {
        workgroupBarrier();
        let other = from_ + local;
        var pair = vec2<u32>(0u, 0u);
        if (other < count) {
            pair = vec2<u32>(candidates[(first + other) * 2u], candidates[(first + other) * 2u + 1u]);
        }
        w_tile[local] = pair;
        workgroupBarrier();
        let n = min(TILE, count - from_);
        if (me < count) {
            for (var j = 0u; j < n; j++) {
                let better = w_tile[j].x > mine.x || (w_tile[j].x == mine.x && w_tile[j].y < mine.y);
                place += select(0u, 1u, better);
            }
        }
    }
    if (!inside) {
        return;
    }
    let first_slot = picture * level[18] + level[17];
    if (me < count && place < k) {
        write_box(first_slot + place, mine.x, mine.y, picture);
    }
    // slots that stay empty
    if (me >= k && me < level[16] && (first_slot + me) * 8u + 5u < arrayLength(&slots)) {
        slots[(first_slot + me) * 8u + 4u] = 0u;
        slots[(first_slot + me) * 8u + 5u] = INVALID;
    }
}
