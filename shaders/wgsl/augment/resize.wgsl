// Resizing by taps, OpenCV's and Pillow's arithmetic: each pixel of the target adds up its source pixels, along
// their rows first. u8 equal to the bit, f32 to the last bits (a product may be fused with its sum).
// Twin: src/reference/resize.rs and src/reference/pillow.rs (their `pack` makes binding 0).
//
// binding 0  plan    u32: 0, sum (0 linear u8, 1 cubic u8, 2 whole u8, 3 float, 4 mean, 5 Pillow), f32, channels,
//                    source width, source height, target width, target height, word of the column taps,
//                    word of the row taps, share of a mean (f32 bits), round half up;
//                    taps: two words a position (first entry, number), counted from the first entry's word,
//                    then entries of two words (source position, weight as i32 or f32 bits)
// binding 1  source  picture (see place.wgsl)
// binding 2  picture picture, written
//
// dispatch: ceil(target width / 64), ceil(target height / 4), 1; one invocation is one pixel.

@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> picture: array<u32>;

const LINEAR = 0u;
const CUBIC = 1u;
const WHOLE = 2u;
const FLOAT = 3u;
const MEAN = 4u;
const PILLOW = 5u;

fn word(at: u32) -> u32 {
    if at >= arrayLength(&source) {
        return 0u;
    }
    return source[at];
}

fn bytes(x: u32, y: u32) -> vec4<i32> {
    let v = word(y * plan[4] + x);
    return vec4<i32>((vec4<u32>(v) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}

fn floats(x: u32, y: u32) -> vec4<f32> {
    if plan[2] == 0u {
        return vec4<f32>(bytes(x, y));
    }
    let channels = plan[3];
    let at = (y * plan[4] + x) * channels;
    var v = vec4<f32>(0.0);
    for (var c = 0u; c < min(channels, 4u); c += 1u) {
        v[c] = bitcast<f32>(word(at + c));
    }
    return v;
}

// The value rounded as it is: plan[0] is 0, but the compiler cannot know and fuses nothing across.
fn kept(v: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ vec4<u32>(plan[0]));
}

fn write(pixel: u32, v: vec4<u32>) {
    if pixel < arrayLength(&picture) {
        picture[pixel] = v.x | (v.y << 8u) | (v.z << 16u) | (v.w << 24u);
    }
}

fn rounded(v: vec4<f32>) -> vec4<u32> {
    return vec4<u32>(clamp(round(v), vec4<f32>(0.0), vec4<f32>(255.0)));
}

@compute @workgroup_size(64, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let sum = plan[1];
    let width = plan[6];
    let height = plan[7];
    if id.x >= width || id.y >= height {
        return;
    }
    let pixel = id.y * width + id.x;
    let columns = plan[8] + width * 2u;
    let first_column = columns + plan[plan[8] + id.x * 2u] * 2u;
    let end_column = first_column + plan[plan[8] + id.x * 2u + 1u] * 2u;
    let rows = plan[9] + height * 2u;
    let first_row = rows + plan[plan[9] + id.y * 2u] * 2u;
    let end_row = first_row + plan[plan[9] + id.y * 2u + 1u] * 2u;

    if sum == FLOAT || sum == MEAN {
        var total = vec4<f32>(0.0);
        for (var r = first_row; r < end_row; r += 2u) {
            let y = plan[r];
            if sum == MEAN {
                for (var k = first_column; k < end_column; k += 2u) {
                    total += floats(plan[k], y);
                }
                continue;
            }
            var line = vec4<f32>(0.0);
            for (var k = first_column; k < end_column; k += 2u) {
                line += kept(floats(plan[k], y) * bitcast<f32>(plan[k + 1u]));
            }
            total += kept(line * bitcast<f32>(plan[r + 1u]));
        }
        if sum == MEAN {
            total = kept(total * bitcast<f32>(plan[10]));
        }
        if plan[2] == 0u {
            write(pixel, rounded(select(total, floor(total + 0.5), plan[11] == 1u)));
            return;
        }
        let channels = plan[3];
        for (var c = 0u; c < min(channels, 4u); c += 1u) {
            if pixel * channels + c < arrayLength(&picture) {
                picture[pixel * channels + c] = bitcast<u32>(total[c]);
            }
        }
        return;
    }

    var total = vec4<i32>(0);
    var cubic = vec4<f32>(0.0);
    for (var r = first_row; r < end_row; r += 2u) {
        let y = plan[r];
        var line = vec4<i32>(0);
        for (var k = first_column; k < end_column; k += 2u) {
            line += bytes(plan[k], y) * bitcast<i32>(plan[k + 1u]);
        }
        let weight = bitcast<i32>(plan[r + 1u]);
        if sum == LINEAR {
            total += (weight * (line >> vec4<u32>(4u))) >> vec4<u32>(16u);
        } else if sum == CUBIC {
            // OpenCV's vector code sums in floating point; 2^-22 is a power of two, so the weight is exact.
            cubic += kept(vec4<f32>(line) * (f32(weight) * 0x1p-22));
        } else if sum == PILLOW {
            let level = clamp((line + (1 << 21u)) >> vec4<u32>(22u), vec4<i32>(0), vec4<i32>(255));
            total += level * weight;
        } else {
            total += line * weight;
        }
    }
    if sum == CUBIC {
        write(pixel, rounded(cubic));
        return;
    }
    if sum == LINEAR {
        total = (total + 2) >> vec4<u32>(2u);
    } else {
        total = (total + (1 << 21u)) >> vec4<u32>(22u);
    }
    write(pixel, vec4<u32>(clamp(total, vec4<i32>(0), vec4<i32>(255))));
}
