//! Twins of the kernels of `deform/`: what the filters of a deformable convolution see, and the gradients behind it. They are the plain way,
//! with sums in f64, and judge the kernels; what runs on the CPU is `smalti-cpu`'s.
//!
//! Dai et al. 2017, arXiv 1703.06211 (offsets); Zhu et al. 2019, arXiv 1811.11168 (mask). Borders are mmcv's: a place that lies a pixel or more
//! outside of x sees nothing, nearer ones see the pixels that are there.
//!
//! Shapes: x `[N, H, W, C]` with channels filled up to a multiple of four, columns `[pixels, taps, C]`; offsets and mask lie as the record says.

use crate::records::DeformRecord;

/// One tap of a pixel of y in one set of channels.
struct Sample {
    /// Pixel of the block and tap.
    row: usize,
    set: usize,
    picture: usize,
    /// Its place in x, which is within a pixel of it.
    at: [f64; 2],
    weight: f64,
    /// Where its offset and its weight are in tensors `[N * H' * W', sets * taps]`.
    channel: usize,
}

/// A pixel of x beside a sample: its share, and how that changes down and right.
struct Corner {
    pixel: usize,
    share: f64,
    change: [f64; 2],
}

fn taps(record: &DeformRecord) -> usize {
    (record.kernel[0] * record.kernel[1]) as usize
}

/// The samples of the block in their order; with all, what they are. Those that see nothing of x are left out.
fn samples<'a>(
    record: &'a DeformRecord,
    offset: &'a [f32],
    mask: &'a [f32],
) -> impl Iterator<Item = (usize, Sample)> + 'a {
    let (taps, sets) = (taps(record), record.sets as usize);
    let count = record.pixels as usize * taps * sets;
    (0..count).filter_map(move |sample| {
        let (row, set) = (sample / sets, sample % sets);
        let (pixel, tap) = (record.first as usize + row / taps, row % taps);
        let [rows, columns] = record.size_out.map(|n| n as usize);
        let out = [pixel / columns % rows, pixel % columns];
        let picture = pixel / (rows * columns);
        let across = record.kernel[1] as usize;
        let step = [tap / across, tap % across];
        let element = |strides: [u32; 4], channel: usize| {
            let place = [picture, channel, out[0], out[1]];
            (0..4)
                .map(|i| place[i] * strides[i] as usize)
                .sum::<usize>()
        };
        let channel = set * taps + tap;
        let at = [0, 1].map(|i| {
            let moved = offset[element(record.offset_strides, channel * 2 + i)];
            let from = out[i] * record.stride[i] as usize + step[i] * record.dilation[i] as usize;
            // as the kernels have it, so that a place that is nearly a pixel is on the same side of it
            (from as f32 - record.padding[i] as f32) + moved
        });
        let inside = |i: usize| at[i] > -1.0 && at[i] < record.size[i] as f32;
        (inside(0) && inside(1)).then(|| {
            let weight = mask.get(element(record.mask_strides, channel));
            let made = Sample {
                row,
                set,
                picture,
                at: at.map(f64::from),
                weight: weight.copied().unwrap_or_default().into(),
                channel: pixel * sets * taps + channel,
            };
            (sample, made)
        })
    })
}

/// The pixels of x beside a sample.
fn corners(record: &DeformRecord, sample: &Sample) -> Vec<Corner> {
    let [rows, columns] = record.size.map(i64::from);
    let low = sample.at.map(f64::floor);
    let part = [0, 1].map(|i| sample.at[i] - low[i]);
    let corner = |step: [i64; 2]| {
        let [row, column] = [0, 1].map(|i| low[i] as i64 + step[i]);
        let share = [0, 1].map(|i| if step[i] == 1 { part[i] } else { 1.0 - part[i] });
        let sign = step.map(|step| (2 * step - 1) as f64);
        let there = (0..rows).contains(&row) && (0..columns).contains(&column);
        there.then(|| Corner {
            pixel: sample.picture * (rows * columns) as usize + (row * columns + column) as usize,
            share: share[0] * share[1],
            change: [sign[0] * share[1], sign[1] * share[0]],
        })
    };
    let steps = [[0, 0], [0, 1], [1, 0], [1, 1]];
    steps.into_iter().filter_map(corner).collect()
}

/// The channels of a set, the last one with what it is filled up with.
fn channels(record: &DeformRecord, set: usize) -> std::ops::Range<usize> {
    let each = record.each as usize;
    let end = if set + 1 == record.sets as usize {
        record.channels as usize * 4
    } else {
        (set + 1) * each
    };
    set * each..end
}

/// What the filters see, `[pixels, taps, C]`.
pub fn columns(record: &DeformRecord, x: &[f32], offset: &[f32], mask: &[f32]) -> Vec<f32> {
    let filled = record.channels as usize * 4;
    let mut made = vec![0.0f64; record.pixels as usize * taps(record) * filled];
    for (_, sample) in samples(record, offset, mask) {
        for corner in corners(record, &sample) {
            for channel in channels(record, sample.set) {
                let value = f64::from(x[corner.pixel * filled + channel]);
                made[sample.row * filled + channel] += value * corner.share * sample.weight;
            }
        }
    }
    made.into_iter().map(|v| v as f32).collect()
}

/// The gradients of the block's offsets `[N * H' * W', sets * taps * 2]` and mask `[N * H' * W', sets * taps]` from that of what the filters
/// saw; of other pixels 0. `outputs` is how many pixels y has.
pub fn points(
    record: &DeformRecord,
    outputs: usize,
    [x, offset, mask, slope]: [&[f32]; 4],
) -> [Vec<f32>; 2] {
    let filled = record.channels as usize * 4;
    let count = outputs * record.sets as usize * taps(record);
    let mut made = [vec![0.0f32; count * 2], vec![0.0f32; count]];
    for (_, sample) in samples(record, offset, mask) {
        let mut sums = [0.0f64; 3];
        for corner in corners(record, &sample) {
            for channel in channels(record, sample.set) {
                let by = f64::from(slope[sample.row * filled + channel]);
                let value = f64::from(x[corner.pixel * filled + channel]) * by;
                sums[0] += value * corner.change[0] * sample.weight;
                sums[1] += value * corner.change[1] * sample.weight;
                sums[2] += value * corner.share;
            }
        }
        made[0][sample.channel * 2] = sums[0] as f32;
        made[0][sample.channel * 2 + 1] = sums[1] as f32;
        made[1][sample.channel] = sums[2] as f32;
    }
    made
}

/// Where the samples of each cell end, and the samples of one cell after the other, in order: `cells`, `starts` and `order` together.
pub fn lists(record: &DeformRecord, offset: &[f32]) -> [Vec<u32>; 2] {
    let [rows, columns] = record.size.map(|n| n as usize + 1);
    let planes = (record.pictures * record.sets) as usize;
    let mut cells = vec![Vec::new(); planes * rows * columns];
    for (number, sample) in samples(record, offset, &[]) {
        let picture = sample.picture - record.picture as usize;
        let plane = picture * record.sets as usize + sample.set;
        let [row, column] = sample.at.map(|v| (v.floor() + 1.0) as usize);
        cells[(plane * rows + row) * columns + column].push(number as u32);
    }
    let ends = cells.iter().scan(0, |end, cell| {
        *end += cell.len() as u32;
        Some(*end)
    });
    [ends.collect(), cells.concat()]
}

/// The gradient of x, with what was there before the block.
pub fn gather(
    record: &DeformRecord,
    [offset, mask, slope]: [&[f32]; 3],
    before: &[f32],
) -> Vec<f32> {
    let filled = record.channels as usize * 4;
    let mut made: Vec<f64> = before.iter().copied().map(f64::from).collect();
    for (_, sample) in samples(record, offset, mask) {
        for corner in corners(record, &sample) {
            for channel in channels(record, sample.set) {
                let by = f64::from(slope[sample.row * filled + channel]);
                made[corner.pixel * filled + channel] += by * corner.share * sample.weight;
            }
        }
    }
    made.into_iter().map(|v| v as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture 1 2 / 3 4 in one channel, filled up to four; one tap, one output that lies on the 1 if it does not move.
    fn record() -> DeformRecord {
        DeformRecord {
            offset_strides: [2, 1, 2, 2],
            mask_strides: [1; 4],
            size: [2; 2],
            size_out: [1; 2],
            kernel: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            first: 0,
            pixels: 1,
            picture: 0,
            pictures: 1,
            channels: 1,
            sets: 1,
            each: 1,
            place: 0,
        }
    }

    fn four(values: &[f32]) -> Vec<f32> {
        let filled = |v: &f32| [*v, 0.0, 0.0, 0.0];
        values.iter().flat_map(filled).collect()
    }

    #[test]
    fn by_hand() {
        let x = four(&[1.0, 2.0, 3.0, 4.0]);
        let seen = |offset: [f32; 2], mask| columns(&record(), &x, &offset, &[mask])[0];
        assert_eq!(seen([0.0, 0.0], 1.0), 1.0);
        assert_eq!(seen([0.5, 0.5], 1.0), 2.5);
        assert_eq!(seen([0.5, 0.5], 0.5), 1.25);
        // half a pixel above the 1: half of it is there, and of the rest nothing
        assert_eq!(seen([-0.5, 0.0], 1.0), 0.5);
        assert_eq!(seen([1.75, 1.5], 1.0), 0.25 * 0.5 * 4.0);
        assert_eq!(seen([-1.0, 0.0], 1.0), 0.0);
        assert_eq!(seen([0.0, 2.0], 1.0), 0.0);
        assert_eq!(seen([f32::NAN, 0.0], 1.0), 0.0);
    }

    #[test]
    fn gradients_by_hand() {
        let x = four(&[1.0, 2.0, 3.0, 4.0]);
        let slope = four(&[10.0]);
        // a quarter down, half right: rows differ by 2, columns by 1
        let offset = [0.25, 0.5];
        let [of_offset, of_mask] = points(&record(), 1, [&x, &offset, &[0.5], &slope]);
        assert_eq!(of_offset, [10.0, 5.0]);
        assert_eq!(of_mask, [20.0]);
        let of_x = gather(&record(), [&offset, &[0.5], &slope], &four(&[1.0; 4]));
        let first = |v: &[f32]| v.iter().step_by(4).copied().collect::<Vec<_>>();
        assert_eq!(first(&of_x), [2.875, 2.875, 1.625, 1.625]);
        // of nine cells the one in the middle
        let [ends, list] = lists(&record(), &offset);
        assert_eq!((ends, list), (vec![0, 0, 0, 0, 1, 1, 1, 1, 1], vec![0]));
        let [ends, list] = lists(&record(), &[-1.5, 0.0]);
        assert_eq!((ends, list), (vec![0; 9], vec![]));
    }
}
