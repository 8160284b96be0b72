// Small masks of boxes at the size of a picture, four pixels to a word.
// Twin: src/reference/mask_paste.rs, within a pixel in ten thousand, where a value is next to the threshold.
//
// binding 0  record  PasteRecord: M masks of h x w, on a picture of height x width px
// binding 1  masks   f32 [M, h, w]
// binding 2  boxes   f32 [M, 4], xyxy px of that picture
// binding 3  out     u32 [M, height, ceil(width / 4)], pixels from the lowest bits on
//
// dispatch: ceil(ceil(width / 4) / 64), any number of workgroups, which take every so manyth row; an invocation is a word.

struct PasteRecord {
    masks: u32,
    mask_height: u32,
    mask_width: u32,
    height: u32,
    width: u32,
    words: u32,
    grey: u32,
    threshold: f32,
}

@group(0) @binding(0) var<storage, read_write> record: PasteRecord;
@group(0) @binding(1) var<storage, read_write> masks: array<f32>;
@group(0) @binding(2) var<storage, read_write> boxes: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_infinite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u;
}

struct Tap {
    first: u32,
    left: f32,
    right: f32,
    // The twin writes the pixels around a box only: beyond them it leaves 0.
    near: bool,
}

fn tap(pixel: u32, low: f32, high: f32, entries: u32) -> Tap {
    let near = f32(pixel) >= floor(low) - 1.0 && f32(pixel) < ceil(high) + 1.0;
    let away = f32(pixel) + 0.5 - low;
    let length = high - low;
    var at = away / length * 2.0 - 1.0;
    // By the operands, since WGSL promises nothing of a division by 0.
    if (length == 0.0) {
        at = 0.0;
        if (away == 0.0) {
            return Tap(0u, 0.0, 0.0, near);
        }
    }
    at = ((at + 1.0) * f32(entries) - 1.0) / 2.0;
    if (is_nan(low) || is_nan(high) || is_infinite(low) || is_infinite(high) || !(at > -1.0 && at < f32(entries))) {
        return Tap(0u, 0.0, 0.0, near);
    }
    let before = floor(at);
    let t = at - before;
    if (before < 0.0) {
        return Tap(0u, t, 0.0, near);
    }
    if (u32(before) + 1u >= entries) {
        return Tap(entries - 1u, 1.0 - t, 0.0, near);
    }
    return Tap(u32(before), 1.0 - t, t, near);
}

fn entry(mask: u32, y: u32, x: u32) -> f32 {
    let at = (mask * record.mask_height + min(y, record.mask_height - 1u)) * record.mask_width + min(x, record.mask_width - 1u);
    return masks[min(at, arrayLength(&masks) - 1u)];
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    if (id.x >= record.words) {
        return;
    }
    for (var line = id.y; line < record.masks * record.height; line += groups.y) {
        let mask = line / record.height;
        let box = mask * 4u;
        let down = tap(line % record.height, boxes[box + 1u], boxes[box + 3u], record.mask_height);
        var word = 0u;
        for (var i = 0u; i < 4u; i++) {
            let pixel = id.x * 4u + i;
            let across = tap(pixel, boxes[box], boxes[box + 2u], record.mask_width);
            if (pixel >= record.width || !down.near || !across.near) {
                continue;
            }
            let left = entry(mask, down.first, across.first) * down.left + entry(mask, down.first + 1u, across.first) * down.right;
            let right = entry(mask, down.first, across.first + 1u) * down.left + entry(mask, down.first + 1u, across.first + 1u) * down.right;
            let value = left * across.left + right * across.right;
            var level = select(0u, 1u, value >= record.threshold);
            if (record.grey != 0u) {
                level = u32(clamp(value * 255.0, 0.0, 255.0));
            }
            word |= level << (i * 8u);
        }
        let at = line * record.words + id.x;
        if (at < arrayLength(&out)) {
            out[at] = word;
        }
    }
}
