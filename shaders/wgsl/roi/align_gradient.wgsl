// The gradient of a pyramid from that of what regions were read from it. Each place adds up what regions had of it, in their order, so that a
// run gives the same numbers again.
// Twin: src/reference/roi_align.rs, within 1e-5 of the largest.
//
// binding 0  record   RoiRecord: R regions, C channels, N pictures, P places of all levels, rows x columns of bins
// binding 1  levels   RoiLevel of each level: its first place, rows, columns, places per pixel
// binding 2  regions  f32 [R, 5]: which picture, then xyxy px
// binding 3  pyramid  f32 [N, C, P], any strides; read where a bin is its largest sample
// binding 4  gradient f32 [R, rows, columns, C], C filled up to a multiple of four
// binding 5  out      f32 [N, P, C], C filled up likewise, 0 there
//
// dispatch: ceil(filled / 64), any number of workgroups, which take every so manyth place; an invocation is one channel of a place.

struct RoiRecord {
    strides: vec4<u32>,
    bins: vec2<u32>,
    ratio: u32,
    aligned: u32,
    kind: u32,
    by_size: u32,
    level: u32,
    levels: u32,
    finest: f32,
    channels: u32,
    regions: u32,
    pictures: u32,
    places: u32,
    filled: u32,
    epsilon: f32,
    unused: u32,
}

struct RoiLevel {
    first: u32,
    height: u32,
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read_write> record: RoiRecord;
@group(0) @binding(1) var<storage, read_write> levels: array<RoiLevel>;
@group(0) @binding(2) var<storage, read_write> regions: array<f32>;
@group(0) @binding(3) var<storage, read_write> pyramid: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Where the samples along an axis of a region lie (`Axis` of the twin).
struct Axis {
    start: f32,
    bin: f32,
    samples: u32,
    size: u32,
}

// A place before a sample, the next one, and the sample's distance to the first; `there` is false where it counts 0.
struct Sample {
    low: u32,
    high: u32,
    t: f32,
    there: bool,
}

const MEAN = 0u;
const LARGEST = 1u;
const MOST_SAMPLES = 16384.0;

fn axis_of(low: f32, high: f32, size: u32, scale: f32, bins: u32) -> Axis {
    let offset = select(0.0, 0.5, record.aligned != 0u);
    let start = low * scale - offset;
    var length = high * scale - offset - start;
    if (record.aligned == 0u) {
        length = max(length, 1.0);
    }
    var samples = record.ratio;
    if (samples == 0u) {
        samples = u32(clamp(ceil(length / f32(bins)), 0.0, MOST_SAMPLES));
    }
    return Axis(start, length / f32(bins), samples, size);
}

fn sample_of(axis: Axis, bin: u32, i: u32) -> Sample {
    let within = (f32(i) + 0.5) * axis.bin / f32(axis.samples);
    let found = axis.start + f32(bin) * axis.bin + within;
    if (!(found >= -1.0 && found <= f32(axis.size))) {
        return Sample(0u, 0u, 0.0, false);
    }
    let at = max(found, 0.0);
    let low = u32(at);
    if (low + 1u >= axis.size) {
        return Sample(axis.size - 1u, axis.size - 1u, 0.0, true);
    }
    return Sample(low, low + 1u, at - f32(low), true);
}

// Whole places of a bin (RoIPool): the first, and one past the last.
fn places_of(low: f32, high: f32, bin: u32, bins: u32, size: u32, scale: f32) -> vec2<u32> {
    let first = low * scale;
    let last = (high + 1.0) * scale;
    if (!(last > first)) {
        return vec2<u32>(0u, 0u);
    }
    let each = (last - first) / f32(bins);
    let ends = vec2<f32>(floor(f32(bin) * each + first), ceil(f32(bin + 1u) * each + first));
    return vec2<u32>(clamp(ends, vec2<f32>(0.0), vec2<f32>(f32(size))));
}

fn corner_of(region: u32, i: u32) -> f32 {
    return regions[region * 5u + 1u + i];
}

// The level that a region is read from.
fn level_of(region: u32) -> u32 {
    if (record.by_size == 0u) {
        return min(record.level, record.levels - 1u);
    }
    let area = (corner_of(region, 2u) - corner_of(region, 0u)) * (corner_of(region, 3u) - corner_of(region, 1u));
    // What has no size, and what is no number, is of the finest.
    if (!(area > 0.0)) {
        return 0u;
    }
    // The exponent: a logarithm may be off at the very powers of two.
    let size = sqrt(area) / record.finest + record.epsilon;
    let level = i32(bitcast<u32>(size) >> 23u) - 127;
    return u32(clamp(level, 0, i32(record.levels) - 1));
}

fn picture_of(region: u32) -> u32 {
    return min(u32(max(regions[region * 5u], 0.0)), record.pictures - 1u);
}

fn value_of(picture: u32, channel: u32, place: u32) -> f32 {
    let at = picture * record.strides.x + channel * record.strides.y + place * record.strides.z;
    return pyramid[min(at, arrayLength(&pyramid) - 1u)];
}

// What a sample has of a place along one axis.
fn share_of(s: Sample, place: u32) -> f32 {
    return select(0.0, 1.0 - s.t, s.there && s.low == place) + select(0.0, s.t, s.there && s.high == place);
}

// What the mean of a bin has of a place along one axis.
fn mean_share_of(axis: Axis, bin: u32, place: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < axis.samples; i++) {
        sum += share_of(sample_of(axis, bin, i), place);
    }
    return sum / max(f32(axis.samples), 1.0);
}

// The bins that can have something of a place: the first, and one past the last.
fn bins_near(axis: Axis, bins: u32, place: u32) -> vec2<u32> {
    if (!(axis.bin > 0.0)) {
        return vec2<u32>(0u, bins);
    }
    // Places at the ends have samples from beyond them.
    let low = select(f32(place) - 1.0, -1.0, place == 0u);
    let high = select(f32(place) + 1.0, f32(axis.size), place + 1u >= axis.size);
    let ends = (vec2<f32>(low, high) - axis.start) / axis.bin;
    let first = clamp(floor(ends.x) - 1.0, 0.0, f32(bins));
    let last = clamp(ceil(ends.y) + 1.0, 0.0, f32(bins));
    return vec2<u32>(u32(first), u32(last));
}

// What the largest sample of a bin has of a place.
fn largest_share_of(picture: u32, channel: u32, level: RoiLevel, down: Axis, across: Axis, bin: vec2<u32>, place: vec2<u32>) -> f32 {
    var best = 0.0;
    var share = 0.0;
    for (var i = 0u; i < down.samples; i++) {
        let y = sample_of(down, bin.x, i);
        for (var j = 0u; j < across.samples; j++) {
            let x = sample_of(across, bin.y, j);
            var value = 0.0;
            var of_place = 0.0;
            if (y.there && x.there) {
                let above = level.first + y.low * level.width;
                let below = level.first + y.high * level.width;
                let upper = value_of(picture, channel, above + x.low) * (1.0 - x.t) + value_of(picture, channel, above + x.high) * x.t;
                let lower = value_of(picture, channel, below + x.low) * (1.0 - x.t) + value_of(picture, channel, below + x.high) * x.t;
                value = upper * (1.0 - y.t) + lower * y.t;
                of_place = share_of(y, place.x) * share_of(x, place.y);
            }
            if ((i == 0u && j == 0u) || value > best) {
                best = value;
                share = of_place;
            }
        }
    }
    return share;
}

// Whether the largest place of a bin is this one: 1, else 0.
fn largest_place_share_of(picture: u32, channel: u32, level: RoiLevel, rows: vec2<u32>, columns: vec2<u32>, place: vec2<u32>) -> f32 {
    var best = 0.0;
    var share = 0.0;
    for (var y = rows.x; y < rows.y; y++) {
        for (var x = columns.x; x < columns.y; x++) {
            let value = value_of(picture, channel, level.first + y * level.width + x);
            if ((y == rows.x && x == columns.x) || value > best) {
                best = value;
                share = select(0.0, 1.0, y == place.x && x == place.y);
            }
        }
    }
    return share;
}

// What one region has of a place, times its gradient.
fn of_region(region: u32, picture: u32, channel: u32, level: RoiLevel, place: vec2<u32>) -> f32 {
    let x1 = corner_of(region, 0u);
    let y1 = corner_of(region, 1u);
    let x2 = corner_of(region, 2u);
    let y2 = corner_of(region, 3u);
    let down = axis_of(y1, y2, level.height, level.scale, record.bins.x);
    let across = axis_of(x1, x2, level.width, level.scale, record.bins.y);
    var rows = vec2<u32>(0u, record.bins.x);
    var columns = vec2<u32>(0u, record.bins.y);
    if (record.kind == MEAN || record.kind == LARGEST) {
        rows = bins_near(down, record.bins.x, place.x);
        columns = bins_near(across, record.bins.y, place.y);
    }
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row++) {
        var of_row = 1.0;
        if (record.kind == MEAN) {
            of_row = mean_share_of(down, row, place.x);
            if (of_row == 0.0) {
                continue;
            }
        }
        for (var column = columns.x; column < columns.y; column++) {
            var share = 0.0;
            if (record.kind == MEAN) {
                share = of_row * mean_share_of(across, column, place.y);
            } else if (record.kind == LARGEST) {
                share = largest_share_of(picture, channel, level, down, across, vec2<u32>(row, column), place);
            } else {
                let whole_rows = places_of(y1, y2, row, record.bins.x, level.height, level.scale);
                let whole_columns = places_of(x1, x2, column, record.bins.y, level.width, level.scale);
                share = largest_place_share_of(picture, channel, level, whole_rows, whole_columns, place);
            }
            if (share != 0.0) {
                let at = ((region * record.bins.x + row) * record.bins.y + column) * record.filled + channel;
                sum += share * gradient[min(at, arrayLength(&gradient) - 1u)];
            }
        }
    }
    return sum;
}

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let channel = id.x;
    if (channel >= record.filled) {
        return;
    }
    for (var i = id.y; i < record.pictures * record.places; i += groups.y) {
        let picture = i / record.places;
        let at = i % record.places;
        var number = 0u;
        while (number + 1u < record.levels && at >= levels[number + 1u].first) {
            number++;
        }
        let level = levels[number];
        let place = vec2<u32>((at - level.first) / level.width, (at - level.first) % level.width);
        var sum = 0.0;
        if (channel < record.channels) {
            for (var region = 0u; region < record.regions; region++) {
                if (picture_of(region) == picture && level_of(region) == number) {
                    sum += of_region(region, picture, channel, level, place);
                }
            }
        }
        let to = i * record.filled + channel;
        if (to < arrayLength(&out)) {
            out[to] = sum;
        }
    }
}
