// The k best of one level's candidates in order, as boxes.
//
// An invocation takes one candidate, counts the better ones (their number is its place), and if
// the place is below k makes its box: a copy of what is there, or anchor from the base anchors and the
// stride, deltas as DeltaXYWHBBoxCoder does; then clip to the picture, scale to the wanted picture.
// A factor is multiplied into the score, after which the places are no longer in the order of scores.
// A box that is not finite or not larger than min_bbox_size is marked invalid.
//
// Twin: smalti_shaders::reference::decode. Dispatch: x * 256 >= max(capacity, slots of the level), y = picture.

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

struct Row {
    corners: vec4<f32>,
    score: u32,
    label: u32,
    group: u32,
    source: u32,
}

// N x (A*4) x H x W, any strides: deltas, or x1, y1, x2, y2 in px; boxes_each times as many channels
@group(0) @binding(0) var<storage, read_write> boxes: array<f32>;
@group(0) @binding(1) var<storage, read_write> level: LevelRecord;
// N x 4: height and width to clip to, factors for x and y; then base anchors, A x 4 a level, px
@group(0) @binding(2) var<storage, read_write> numbers: array<f32>;
// levels x N
@group(0) @binding(3) var<storage, read_write> state: array<State>;
// levels x N x capacity, in no order: score bits, index
@group(0) @binding(4) var<storage, read_write> candidates: array<vec2<u32>>;
// N x slots
@group(0) @binding(5) var<storage, read_write> slots: array<Row>;
// N x A x H x W, any strides; one number that is not read without has_factor
@group(0) @binding(6) var<storage, read_write> factors: array<f32>;

const TILE = 256u;
const INVALID = 0xffffffffu;
const SOFTMAX = 1u;

var<workgroup> w_count: u32;
var<workgroup> w_tile: array<vec2<u32>, 256>;

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}

fn all_finite(v: vec4<f32>) -> bool {
    return is_finite(v.x) && is_finite(v.y) && is_finite(v.z) && is_finite(v.w);
}

// NaN by its bits, and infinities as numbers: WGSL lets an implementation assume that there are none
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn bounded(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return select(select(3.0e38, -3.0e38, (bits >> 31u) != 0u), x, (bits & 0x7fffffffu) < 0x7f800000u);
}

fn at_strides(strides: vec4<u32>, picture: u32, channel: u32, cell: u32) -> u32 {
    return picture * strides.x + channel * strides.y + cell / level.width * strides.z + cell % level.width * strides.w;
}

struct Made {
    corners: vec4<f32>,
    valid: bool,
}

fn clipped(b: vec4<f32>, picture: u32) -> vec4<f32> {
    let limit = vec2<f32>(numbers[picture * 4u + 1u], numbers[picture * 4u]) - level.extra;
    return clamp(b, vec4<f32>(0.0), vec4<f32>(limit, limit));
}

// Boxes that are ones.
fn copy_box(b: vec4<f32>, picture: u32) -> Made {
    if (level.clip == 0u) {
        return Made(b, all_finite(b));
    }
    let valid = !(is_nan(b.x) || is_nan(b.y) || is_nan(b.z) || is_nan(b.w));
    return Made(clipped(vec4<f32>(bounded(b.x), bounded(b.y), bounded(b.z), bounded(b.w)), picture), valid);
}

// Boxes from deltas of the anchor `a` of a cell.
fn decode_box(deltas: vec4<f32>, a: u32, cell: u32, picture: u32) -> Made {
    let base = level.anchors + a * 4u;
    let shift = vec2<f32>(f32(cell % level.width), f32(cell / level.width)) * level.stride;
    let low = vec2<f32>(numbers[base], numbers[base + 1u]) + shift;
    let high = vec2<f32>(numbers[base + 2u], numbers[base + 3u]) + shift;
    let centre = (low + high) * 0.5;
    let size = high - low + level.extra;

    let d = deltas * level.stds + level.means;
    var move_by = size * d.xy;
    var log_scale = d.zw;
    let max_ratio = vec2<f32>(level.max_ratio);
    if (level.add_ctr_clamp != 0u) {
        move_by = clamp(move_by, vec2<f32>(-level.ctr_clamp), vec2<f32>(level.ctr_clamp));
        log_scale = min(log_scale, max_ratio);
    } else {
        log_scale = clamp(log_scale, -max_ratio, max_ratio);
    }
    let middle = centre + move_by;
    let half_size = size * exp(log_scale) * 0.5;
    var b = vec4<f32>(middle - half_size, middle + half_size);
    if (level.clip != 0u) {
        b = clipped(b, picture);
    }
    return Made(b, all_finite(d));
}

fn write_box(slot: u32, key: u32, index: u32, picture: u32) {
    let classes = level.channels - select(0u, 1u, level.activation == SOFTMAX);
    let prior = index / classes;
    let label = index % classes;
    let a = prior % level.priors;
    let cell = prior / level.priors;
    let of_prior = a * level.boxes_each + select(0u, label, level.boxes_each > 1u);
    let first = at_strides(level.box_strides, picture, of_prior * 4u, cell);
    let step = level.box_strides.y;
    if (first + 3u * step >= arrayLength(&boxes) || slot >= arrayLength(&slots)) {
        return;
    }
    let four = vec4<f32>(boxes[first], boxes[first + step], boxes[first + 2u * step], boxes[first + 3u * step]);
    var made: Made;
    if (level.decoded != 0u) {
        made = copy_box(four, picture);
    } else {
        made = decode_box(four, a, cell, picture);
    }
    let scale = vec2<f32>(numbers[picture * 4u + 2u], numbers[picture * 4u + 3u]);
    let b = made.corners * vec4<f32>(scale, scale);
    var valid = made.valid && all_finite(b);
    if (level.min_bbox_size >= 0.0) {
        valid = valid && b.z - b.x > level.min_bbox_size && b.w - b.y > level.min_bbox_size;
    }

    var score = key;
    if (level.has_factor != 0u) {
        let factor = factors[min(at_strides(level.factor_strides, picture, a, cell), arrayLength(&factors) - 1u)];
        let product = bitcast<f32>(key) * factor;
        let counts = is_finite(factor) && product >= 0.0 && is_finite(product);
        valid = valid && counts;
        score = select(0u, bitcast<u32>(product) & 0x7fffffffu, counts);
    }
    let group = select(label, level.level, level.by_level != 0u);
    slots[slot] = Row(b, score, select(INVALID, label, valid), group, level.first_source + prior);
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = min(group.y, level.pictures - 1u);
    let inside = group.y < level.pictures;
    let state_at = level.first_state + picture;
    let capacity = level.capacity;
    let first = level.first_candidate + picture * capacity;
    if (local == 0u) {
        w_count = min(state[state_at].collected, capacity);
    }
    let count = workgroupUniformLoad(&w_count);
    let k = state[state_at].wanted;
    let me = group.x * 256u + local;

    var mine = vec2<u32>(0u, 0u);
    if (me < count) {
        mine = candidates[first + me];
    }
    var place = 0u;
    for (var from_ = 0u; from_ < count; from_ += TILE) {
        workgroupBarrier();
        let other = from_ + local;
        var pair = vec2<u32>(0u, 0u);
        if (other < count) {
            pair = candidates[first + other];
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
    let first_slot = picture * level.all_slots + level.first_slot;
    if (me < count && place < k) {
        write_box(first_slot + place, mine.x, mine.y, picture);
    }
    // slots that stay empty
    if (me >= k && me < level.slots && first_slot + me < arrayLength(&slots)) {
        slots[first_slot + me] = Row(vec4<f32>(0.0), 0u, INVALID, 0u, INVALID);
    }
}
