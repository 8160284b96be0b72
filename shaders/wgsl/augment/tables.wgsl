// Tables of 256 results from histograms, so that nothing is read back: equalize, auto contrast, contrast.
// Twin: src/reference/augment/lookup.rs (`equalize`, `auto_contrast`, `mean` with `mix::enhanced`), equal to the bit.
//
// binding 0  plan    u32: 0 equalize, 1 auto contrast, 2 contrast by the mean of the first histogram; channels
// binding 1  counts  u32 [channels or 1, 256], histograms of at most 2^25 pixels
// binding 2  extra   auto contrast: a bit per low, high and value (word (low * 256 + high) * 8 + value / 32) where the
//                    result is one less than the whole part of 255 * (value - low) / (high - low), as f64 rounds;
//                    contrast: u8, four a word: the result for value v and mean m at 256 * v + m
// binding 3  table   u32 [channels, 256], written
//
// dispatch: 1, channels, 1; one invocation is one value.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
@group(0) @binding(2) var<storage, read_write> extra: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<u32>;

const EQUALIZE = 0u;
const AUTO_CONTRAST = 1u;

fn count(channel: u32, value: u32) -> u32 {
    let at = channel * 256u + value;
    if at >= arrayLength(&counts) {
        return 0u;
    }
    return counts[at];
}

fn equalized(channel: u32, value: u32) -> u32 {
    var total = 0u;
    var last = 0u;
    var below = 0u;
    for (var v = 0u; v < 256u; v += 1u) {
        let n = count(channel, v);
        below += select(0u, n, v < value);
        total += n;
        last = select(last, n, n > 0u);
    }
    let step = (total - last) / 255u;
    if step == 0u {
        return value;
    }
    if below == 0u {
        return 0u;
    }
    return min((below + step / 2u) / step, 255u);
}

fn contrasted(channel: u32, value: u32) -> u32 {
    var low = 256u;
    var high = 0u;
    for (var v = 0u; v < 256u; v += 1u) {
        if count(channel, v) > 0u {
            low = min(low, v);
            high = v;
        }
    }
    if low >= high {
        return value;
    }
    if value <= low {
        return 0u;
    }
    if value > high {
        return 255u;
    }
    let at = (low * 256u + high) * 8u + value / 32u;
    var less = 0u;
    if at < arrayLength(&extra) {
        less = (extra[at] >> (value % 32u)) & 1u;
    }
    return 255u * (value - low) / (high - low) - less;
}

// Integers of 64 bits: low word, high word.
fn product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let mid = a1 * b0 + ((a0 * b0) >> 16u);
    let mid2 = a0 * b1 + (mid & 0xffffu);
    return vec2<u32>(a * b, a1 * b1 + (mid >> 16u) + (mid2 >> 16u));
}

fn sum(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

// -1, 0 or 1.
fn compared(a: vec2<u32>, b: vec2<u32>) -> i32 {
    if a.y != b.y {
        return select(-1, 1, a.y > b.y);
    }
    return select(select(-1, 1, a.x > b.x), 0, a.x == b.x);
}

// The mean to the nearest, ties to even: the first m with a mean of at most m + 1/2, or below it if m is odd.
fn mean() -> u32 {
    var total = vec2<u32>(0u);
    var number = 0u;
    for (var v = 0u; v < 256u; v += 1u) {
        let n = count(0u, v);
        total = sum(total, product(n, 2u * v));
        number += n;
    }
    for (var m = 0u; m < 255u; m += 1u) {
        let order = compared(total, product(number, 2u * m + 1u));
        if order < 0 || (order == 0 && m % 2u == 0u) {
            return m;
        }
    }
    return 255u;
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let value = id.x;
    let channel = id.y;
    let to = channel * 256u + value;
    if value >= 256u || channel >= plan[1] || to >= arrayLength(&table) {
        return;
    }
    var result = 0u;
    if plan[0] == EQUALIZE {
        result = equalized(channel, value);
    } else if plan[0] == AUTO_CONTRAST {
        result = contrasted(channel, value);
    } else {
        let at = value * 256u + mean();
        if at / 4u < arrayLength(&extra) {
            result = (extra[at / 4u] >> ((at % 4u) * 8u)) & 255u;
        }
    }
    table[to] = result;
}
