// The best k scores of one feature level without a sort: radix select over (score, index).
//
// Launched alternately with digit.wgsl, seven times each, always with the same arguments; `state`
// says what a launch has to do:
//   0 count    histogram of one digit of the key, over the scores that share the digits chosen so far
//   1 collect  append every (score, index) not below the chosen key to `candidates`
//   2 finished nothing
// The key is the score's bits (scores are >= 0, so the bits order as the scores do), or the place of a logit in the
// order of all (its own bits in ascending order, less the last two, which fit as well), then the
// bits of the index, inverted: equal scores are taken in ascending order of index. So the set of
// collected candidates is the same on every run, although their order in memory is not.
// Digits, from the top: 11 + 11 + 8 bits of score (which is at most 1), 10 + 11 + 11 bits of index.
//
// Where each channel has a score of its own, it goes over the elements; with softmax, and where only the best class
// of a prior counts, over the priors. A prior's best class is the first of those with its highest score.
//
// Twin: smalti_shaders::reference::topk. Dispatch: x = any number of workgroups, y = picture.
//
// Shapes: N pictures, A priors a cell, C channels a prior, H x W cells.
// index = ((y * W + x) * A + prior) * classes + class

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
    collected: atomic<u32>,
    overflow: u32,
}

// N x (A*C) x H x W, any strides
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> level: LevelRecord;
// levels x N
@group(0) @binding(2) var<storage, read_write> state: array<State>;
// N x 2048
@group(0) @binding(3) var<storage, read_write> histogram: array<atomic<u32>>;
// levels x N x capacity: score bits, index
@group(0) @binding(4) var<storage, read_write> candidates: array<vec2<u32>>;

const BINS = 2048u;
const EIGHT = 8u;
const SOFTMAX = 1u;
const SCORES = 2u;
const ORDER = 3u;
const LOWEST = -3.4e38; // below all that counts, also for a comparison with -infinity

var<workgroup> w_mode: u32;
var<workgroup> w_chosen: array<u32, 3>; // round, key, inverted index
var<workgroup> w_bins: array<atomic<u32>, 2048>;

// this workgroup's copy of the state, and where this picture's parts begin
var<private> mode: u32;
var<private> round_no: u32;
var<private> chosen_key: u32;
var<private> chosen_index: u32;
var<private> state_at: u32;
var<private> first_candidate: u32;

fn count_digit(digit: u32) {
    atomicAdd(&w_bins[min(digit, BINS - 1u)], 1u);
}

// Whether a score can still matter, whatever its index; and its digit, if that is one of the score's.
fn count_score(key: u32) {
    switch (round_no) {
        case 0u: { count_digit(key >> 19u); }
        case 1u: {
            if ((key & 0xfff80000u) == chosen_key) {
                count_digit((key >> 8u) & 2047u);
            }
        }
        default: {
            if ((key & 0xffffff00u) == chosen_key) {
                count_digit(key & 255u);
            }
        }
    }
}

// The digits of the index, among scores that equal the k-th best.
fn count_index(index: u32) {
    let inverted = ~index;
    switch (round_no) {
        case 3u: { count_digit(inverted >> 22u); }
        case 4u: {
            if ((inverted & 0xffc00000u) == chosen_index) {
                count_digit((inverted >> 11u) & 2047u);
            }
        }
        default: {
            if ((inverted & 0xfffff800u) == chosen_index) {
                count_digit(inverted & 2047u);
            }
        }
    }
}

fn collect(key: u32, index: u32) {
    if (key > chosen_key || ~index >= chosen_index) {
        let at = atomicAdd(&state[state_at].collected, 1u);
        if (at < level.capacity && first_candidate + at < arrayLength(&candidates)) {
            candidates[first_candidate + at] = vec2<u32>(key, index);
        }
    }
}

// Counts by score alone; true if the index is needed, for `accept_index`.
fn accept_score(key: u32) -> bool {
    if (mode == 0u && round_no < 3u) {
        count_score(key);
        return false;
    }
    return select(key == chosen_key, key >= chosen_key, mode == 1u);
}

fn accept_index(key: u32, index: u32) {
    if (mode == 1u) {
        collect(key, index);
    } else {
        count_index(index);
    }
}

// NaN and infinities by their bits: WGSL lets an implementation assume that there are none
fn magnitude_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

// The score of a logit that does not need its neighbours; not of NaN.
fn score_of(x: f32) -> f32 {
    if (level.activation == SCORES) {
        return clamp(x, 0.0, 1.0);
    }
    if (level.activation == ORDER) {
        let bits = bitcast<u32>(x);
        return bitcast<f32>(select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u) >> 2u);
    }
    return select(1.0 / (1.0 + exp(min(-x, 88.0))), 0.0, x < -88.7); // where the twin's exp overflows
}

fn passes(score: f32) -> bool {
    return score > level.score_thr || (level.at_least != 0u && score == level.score_thr);
}

fn accept(score: f32, index: u32) {
    let key = magnitude_bits(score); // never -0
    if (accept_score(key)) {
        accept_index(key, index);
    }
}

// x: the logit of a channel and a cell.
fn visit(x: f32, cell: u32, channel: u32) {
    let score = score_of(x);
    if (magnitude_bits(x) <= 0x7f800000u && passes(score)) {
        accept(score, cell * level.priors * level.channels + channel);
    }
}

// Eight elements of a dense (A*C) x H x W in the order of memory, 256 apart. Mostly none of them
// passes, and a loop of no rounds costs nothing even where an `if` is computed both ways, as
// software adapters do; so the divisions that tell channel and cell are in the loop.
fn visit_eight(first: u32, items: u32, picture: u32, bound: f32) {
    let start = picture * level.score_strides.x;
    let last = arrayLength(&logits) - 1u;
    var top = LOWEST;
    for (var i = 0u; i < EIGHT; i++) {
        let x = logits[min(start + min(first + i * 256u, items - 1u), last)];
        top = select(top, x, x > top); // unlike max(), never NaN
    }
    let channels = level.priors * level.channels;
    let cells = level.height * level.width;
    let channels_last = level.dense == 2u;
    let rounds = select(0u, EIGHT, top >= bound);
    for (var i = 0u; i < rounds; i++) {
        let e = first + i * 256u;
        let x = logits[min(start + e, last)];
        if (e < items && max(x, LOWEST) >= bound) {
            let width = select(cells, channels, channels_last);
            let slow = e / width;
            let fast = e - slow * width;
            visit(x, select(fast, slow, channels_last), select(slow, fast, channels_last));
        }
    }
}

fn visit_strided(e: u32, picture: u32, bound: f32) {
    let cells = level.height * level.width;
    let channel = e / cells;
    let cell = e % cells;
    let at = at_strides(level.score_strides, picture, channel, cell);
    if (at < arrayLength(&logits) && max(logits[at], LOWEST) >= bound) {
        visit(logits[at], cell, channel);
    }
}

fn at_strides(strides: vec4<u32>, picture: u32, channel: u32, cell: u32) -> u32 {
    return picture * strides.x + channel * strides.y + cell / level.width * strides.z + cell % level.width * strides.w;
}

// A logit below which no score can matter any more. The host gives the one that belongs to the
// threshold; once digits are chosen, the chosen key is a better one. A little lower than exact.
fn logit_bound() -> f32 {
    let given = level.bound;
    if (level.activation == ORDER && chosen_key != 0u) {
        let ordered = chosen_key << 2u;
        return max(given, bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, (ordered >> 31u) == 1u)));
    }
    let t = bitcast<f32>(chosen_key) * 0.99999;
    if (chosen_key == 0u || !(t > 1.0e-30)) {
        return given;
    }
    if (level.activation == SCORES) {
        return max(given, t);
    }
    let x = log(t / (1.0 - t));
    return max(given, x - 1.0e-3 - 1.0e-4 * abs(x));
}

// All channels of a prior: softmax needs them all, and so does the search for the best class.
fn visit_prior(prior: u32, picture: u32) {
    let softmax = level.activation == SOFTMAX;
    let channels = level.channels;
    let first = at_strides(level.score_strides, picture, (prior % level.priors) * channels, prior / level.priors);
    let step = level.score_strides.y;
    if (first + (channels - 1u) * step >= arrayLength(&logits)) {
        return;
    }
    var top = logits[first];
    var sum = 0.0;
    if (softmax) {
        for (var c = 0u; c < channels; c++) {
            let x = logits[first + c * step];
            if (magnitude_bits(x) > 0x7f800000u || bitcast<u32>(x) == 0x7f800000u) {
                return; // NaN or +infinity: every score of this prior is NaN
            }
            top = max(top, x);
        }
        if (magnitude_bits(top) == 0x7f800000u) {
            return;
        }
        for (var c = 0u; c < channels; c++) {
            sum += exp(logits[first + c * step] - top);
        }
    }
    let classes = channels - select(0u, 1u, softmax); // the last channel is the background
    var best = -1.0;
    var best_class = 0u;
    for (var c = 0u; c < classes; c++) {
        let x = logits[first + c * step];
        var score = 0.0;
        if (softmax) {
            score = exp(x - top) / sum;
        } else {
            score = score_of(x);
        }
        if (magnitude_bits(x) > 0x7f800000u || !passes(score)) {
            continue;
        }
        if (level.best_class == 0u) {
            accept(score, prior * classes + c);
        } else if (score > best) {
            best = score;
            best_class = c;
        }
    }
    if (best >= 0.0) {
        accept(best, prior * classes + best_class);
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = group.y;
    state_at = level.first_state + picture;
    first_candidate = level.first_candidate + picture * level.capacity;
    if (local == 0u) {
        w_mode = 2u;
        if (picture < level.pictures) {
            w_mode = state[state_at].mode;
            w_chosen = array<u32, 3>(state[state_at].round, state[state_at].key, state[state_at].inverted);
        }
    }
    let now = workgroupUniformLoad(&w_mode);
    if (now == 2u) {
        return;
    }
    if (now == 0u) {
        for (var b = local; b < BINS; b += 256u) {
            atomicStore(&w_bins[b], 0u);
        }
    }
    workgroupBarrier();
    mode = now;
    round_no = w_chosen[0];
    chosen_key = w_chosen[1];
    chosen_index = w_chosen[2];

    let by_prior = level.activation == SOFTMAX || level.best_class != 0u;
    let dense = level.dense != 0u;
    let priors = level.height * level.width * level.priors;
    let scores = priors * level.channels;
    let bound = logit_bound();
    let start = group.x * 256u + local;
    let step = groups.x * 256u;
    for (var e = start; by_prior && e < priors; e += step) {
        visit_prior(e, picture);
    }
    for (var e = start; !by_prior && !dense && e < scores; e += step) {
        visit_strided(e, picture, bound);
    }
    let start_eight = group.x * 256u * EIGHT + local;
    for (var e = start_eight; !by_prior && dense && e < scores; e += step * EIGHT) {
        visit_eight(e, scores, picture, bound);
    }

    workgroupBarrier();
    if (mode == 0u) {
        for (var b = local; b < BINS; b += 256u) {
            let n = atomicLoad(&w_bins[b]);
            if (n > 0u) {
                atomicAdd(&histogram[picture * BINS + b], n);
            }
        }
    }
}
