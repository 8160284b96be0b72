// The best k scores of one feature level without a sort: radix select over (score, index).
//
// Launched alternately with digit.wgsl, seven times each, always with the same arguments; `state`
// says what a launch has to do:
//   0 count    histogram of one digit of the key, over the scores that share the digits chosen so far
//   1 collect  append every (score, index) not below the chosen key to `candidates`
//   2 finished nothing
// The key is the score's bits (scores are >= 0, so the bits order as the scores do), then the
// bits of the index, inverted: equal scores are taken in ascending order of index. So the set of
// collected candidates is the same on every run, although their order in memory is not.
// Digits, from the top: 11 + 11 + 8 bits of score, 10 + 11 + 11 bits of index.
//
// Twin: smalti_shaders::reference::topk. Dispatch: x = any number of workgroups, y = picture.
//
// Shapes: N pictures, A priors a cell, C channels a prior, H x W cells.
// index = ((y * W + x) * A + prior) * classes + class

// N x (A*C) x H x W, any strides
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
// one level record, see core/src/ops/detections_gpu.rs
@group(0) @binding(1) var<storage, read_write> level: array<u32>;
// 12 words a level and picture: mode, pass, key, inverted index, rank wanted among those that share
// the digits, number above them, number that passed the threshold, k, collected, overflow
@group(0) @binding(2) var<storage, read_write> state: array<atomic<u32>>;
// N x 2048
@group(0) @binding(3) var<storage, read_write> histogram: array<atomic<u32>>;
// pairs (score bits, index)
@group(0) @binding(4) var<storage, read_write> candidates: array<u32>;

const BINS = 2048u;
const EIGHT = 8u;

var<workgroup> w_mode: u32;
var<workgroup> w_chosen: array<u32, 3>; // pass, key, inverted index
var<workgroup> w_bins: array<atomic<u32>, 2048>;

// this workgroup's copy of the state, and where this picture's parts begin
var<private> mode: u32;
var<private> pass_no: u32;
var<private> chosen_key: u32;
var<private> chosen_index: u32;
var<private> state_at: u32;
var<private> first_candidate: u32;

fn count_digit(digit: u32) {
    atomicAdd(&w_bins[min(digit, BINS - 1u)], 1u);
}

// Whether a score can still matter, whatever its index; and its digit, if that is one of the score's.
fn count_score(key: u32) {
    switch (pass_no) {
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
    switch (pass_no) {
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
        let at = atomicAdd(&state[state_at + 8u], 1u);
        let slot = (first_candidate + at) * 2u;
        if (at < level[14] && slot + 1u < arrayLength(&candidates)) {
            candidates[slot] = key;
            candidates[slot + 1u] = index;
        }
    }
}

// Counts by score alone; true if the index is needed, for `accept_index`.
fn accept_score(key: u32) -> bool {
    if (mode == 0u && pass_no < 3u) {
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

// x: the logit of a channel and a cell.
fn visit(x: f32, cell: u32, channel: u32) {
    let score = 1.0 / (1.0 + exp(min(-x, 88.0)));
    if (magnitude_bits(x) <= 0x7f800000u && score > bitcast<f32>(level[9])) {
        if (accept_score(bitcast<u32>(score))) {
            accept_index(bitcast<u32>(score), cell * level[2] * level[3] + channel);
        }
    }
}

// Eight elements of a dense (A*C) x H x W in the order of memory, 256 apart. Mostly none of them
// passes, and a loop of no rounds costs nothing even where an `if` is computed both ways, as
// software adapters do; so the divisions that tell channel and cell are in the loop.
fn visit_eight(first: u32, items: u32, picture: u32, bound: f32) {
    let start = picture * level[5];
    let last = arrayLength(&logits) - 1u;
    var top = -3.4e38;
    for (var i = 0u; i < EIGHT; i++) {
        let x = logits[min(start + min(first + i * 256u, items - 1u), last)];
        top = select(top, x, x > top); // unlike max(), never NaN
    }
    let channels = level[2] * level[3];
    let cells = level[0] * level[1];
    let channels_last = level[40] == 2u;
    let rounds = select(0u, EIGHT, top >= bound);
    for (var i = 0u; i < rounds; i++) {
        let e = first + i * 256u;
        let x = logits[min(start + e, last)];
        if (e < items && x >= bound) {
            let width = select(cells, channels, channels_last);
            let slow = e / width;
            let fast = e - slow * width;
            visit(x, select(fast, slow, channels_last), select(slow, fast, channels_last));
        }
    }
}

fn visit_strided(e: u32, picture: u32, bound: f32) {
    let cells = level[0] * level[1];
    let channel = e / cells;
    let cell = e % cells;
    let at = picture * level[5] + channel * level[6] + cell / level[1] * level[7] + cell % level[1] * level[8];
    if (at < arrayLength(&logits) && logits[at] >= bound) {
        visit(logits[at], cell, channel);
    }
}

// A logit below which no score can matter any more. The host gives the one that belongs to the
// threshold; once digits are chosen, the chosen key is a better one. A little lower than exact.
fn logit_bound() -> f32 {
    let given = bitcast<f32>(level[10]);
    let t = bitcast<f32>(chosen_key) * 0.99999;
    if (chosen_key == 0u || !(t > 1.0e-30)) {
        return given;
    }
    let x = log(t / (1.0 - t));
    return max(given, x - 1.0e-3 - 1.0e-4 * abs(x));
}

fn visit_softmax(prior: u32, picture: u32) {
    let channels = level[3];
    let cell = prior / level[2];
    let first = picture * level[5] + (prior % level[2]) * channels * level[6] + (cell / level[1]) * level[7] + (cell % level[1]) * level[8];
    let step = level[6];
    if (first + (channels - 1u) * step >= arrayLength(&logits)) {
        return;
    }
    var top = logits[first];
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
    var sum = 0.0;
    for (var c = 0u; c < channels; c++) {
        sum += exp(logits[first + c * step] - top);
    }
    // the last channel is the background
    for (var c = 0u; c + 1u < channels; c++) {
        let score = exp(logits[first + c * step] - top) / sum;
        if (score > bitcast<f32>(level[9]) && accept_score(bitcast<u32>(score))) {
            accept_index(bitcast<u32>(score), prior * (channels - 1u) + c);
        }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let picture = group.y;
    state_at = level[11] + picture * 12u;
    first_candidate = level[13] + picture * level[14];
    if (local == 0u) {
        w_mode = 2u;
        if (picture < level[39]) {
            w_mode = atomicLoad(&state[state_at]);
        }
        for (var i = 0u; i < 3u; i++) {
            w_chosen[i] = atomicLoad(&state[state_at + 1u + i]);
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
    pass_no = w_chosen[0];
    chosen_key = w_chosen[1];
    chosen_index = w_chosen[2];

    let softmax = level[4] != 0u;
    let dense = level[40] != 0u;
    let priors = level[0] * level[1] * level[2];
    let scores = priors * level[3];
    let bound = logit_bound();
    let start = group.x * 256u + local;
    let step = groups.x * 256u;
    for (var e = start; softmax && e < priors; e += step) {
        visit_softmax(e, picture);
    }
    for (var e = start; !softmax && !dense && e < scores; e += step) {
        visit_strided(e, picture, bound);
    }
    let start_eight = group.x * 256u * EIGHT + local;
    for (var e = start_eight; !softmax && dense && e < scores; e += step * EIGHT) {
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
