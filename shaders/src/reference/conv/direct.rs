//! Twin of `conv/tiles128.wgsl`, `tiles32.wgsl`, `sum.wgsl`, `depthwise.wgsl`, `grouped.wgsl`,
//! `weight_gradient.wgsl`, `grouped_gradient.wgsl` and `pack.wgsl`; given operands in f16 ([`rounded`](crate::reference::half::rounded)), of
//! `tiles128_half.wgsl`, `tiles32_half.wgsl` and `weight_gradient_half.wgsl`.

use super::{Added, activated};
use crate::records::ConvRecord;

/// The pixel of x below a tap: its row and column, if it is one.
fn below(record: &ConvRecord, out: [u32; 2], tap: [u32; 2]) -> Option<[u32; 2]> {
    let axis = |i: usize| {
        let at = out[i] * record.stride[i] + tap[i] * record.dilation[i];
        let at = at.checked_sub(record.padding[i])?;
        let between = at % record.spread[i] != 0;
        let at = at / record.spread[i];
        (!between && at < record.size[i]).then_some(at)
    };
    Some([axis(0)?, axis(1)?])
}

/// For each pixel of y and each tap that meets x: the pixel, the tap's number, the element of x.
fn each(record: &ConvRecord, mut visit: impl FnMut(usize, usize, usize)) {
    let [rows, columns] = record.size_out;
    for pixel in 0..record.pixels {
        let (picture, place) = (pixel / (rows * columns), pixel % (rows * columns));
        let out = [place / columns, place % columns];
        for tap in 0..record.kernel[0] * record.kernel[1] {
            let of_two = [tap / record.kernel[1], tap % record.kernel[1]];
            if let Some([row, column]) = below(record, out, of_two) {
                let [_, by_picture, by_row, by_pixel] = record.strides;
                let at = picture * by_picture + row * by_row + column * by_pixel;
                visit(pixel as usize, tap as usize, at as usize);
            }
        }
    }
}

/// The product of one z, weights `[KH, KW, C, K]`.
pub fn product(record: &ConvRecord, z: u32, x: &[f32], weights: &[f32], added: Added) -> Vec<f32> {
    let filters = record.filters as usize * 4;
    let mut sums = vec![0.0f64; record.pixels as usize * filters];
    let begin = z * record.step;
    let end = (begin + record.part).min(record.depth);
    let terms = begin as usize..end as usize;
    let x = &x[(z * record.x_batch) as usize * 4..];
    let weights = &weights[(z * record.w_batch) as usize * 4..];
    let channels = record.channels as usize;
    each(record, |pixel, tap, at| {
        for channel in (0..channels).filter(|c| terms.contains(&(tap * channels + c))) {
            for i in 0..4 {
                let value = f64::from(x[(at + channel) * 4 + i]);
                let row = &weights[((tap * channels + channel) * 4 + i) * filters..][..filters];
                for (sum, weight) in sums[pixel * filters..].iter_mut().zip(row) {
                    *sum += value * f64::from(*weight);
                }
            }
        }
    });
    finished(record, &sums, added)
}

/// Channels in groups, weights `[KH, KW, C / groups, K]`; `depthwise.wgsl` where a group is one channel and one filter.
pub fn grouped(record: &ConvRecord, x: &[f32], weights: &[f32], added: Added) -> Vec<f32> {
    let filters = record.filters as usize * 4;
    let mut sums = vec![0.0f64; record.pixels as usize * filters];
    let channels = record.channels as usize;
    each(record, |pixel, tap, at| {
        for filter in 0..filters {
            let group = filter.min(record.depth as usize - 1) / record.part as usize;
            for channel in 0..channels {
                let value = f64::from(x[at + group * channels + channel]);
                let weight = weights[(tap * channels + channel) * filters + filter];
                sums[pixel * filters + filter] += value * f64::from(weight);
            }
        }
    });
    finished(record, &sums, added)
}

/// The sum of parts `[parts, pixels, K]`.
pub fn sum(record: &ConvRecord, parts: &[f32], added: Added) -> Vec<f32> {
    let mut sums = vec![0.0f64; (record.pixels * record.filters * 4) as usize];
    for part in parts.chunks(record.y_batch as usize * 4) {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += f64::from(*value);
        }
    }
    finished(record, &sums, added)
}

/// The gradient of weights `[KH, KW, C, K]` from that of y, summed by a z.
pub fn weight_gradient(record: &ConvRecord, z: u32, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let filters = record.filters as usize * 4;
    let channels = record.channels as usize * 4;
    let mut sums = vec![0.0f64; record.depth as usize * 4 * filters];
    each(record, |pixel, tap, at| {
        if pixel / record.part as usize != z as usize {
            return;
        }
        for channel in 0..channels {
            let value = f64::from(x[at * 4 + channel]);
            let row = &mut sums[(tap * channels + channel) * filters..][..filters];
            for (sum, gradient) in row.iter_mut().zip(&gradient[pixel * filters..]) {
                *sum += value * f64::from(*gradient);
            }
        }
    });
    sums.iter().map(|sum| *sum as f32).collect()
}

/// The same of weights `[KH, KW, C / groups, K]`, with `step` filters a group.
pub fn grouped_gradient(record: &ConvRecord, z: u32, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let filters = record.filters as usize * 4;
    let channels = record.channels as usize;
    let taps = (record.kernel[0] * record.kernel[1]) as usize;
    let mut sums = vec![0.0f64; taps * channels * filters];
    each(record, |pixel, tap, at| {
        if pixel / record.part as usize != z as usize {
            return;
        }
        for filter in 0..filters {
            let group = filter.min(record.depth as usize - 1) / record.step as usize;
            let by = f64::from(gradient[pixel * filters + filter]);
            for channel in 0..channels {
                let value = f64::from(x[at + group * channels + channel]);
                sums[(tap * channels + channel) * filters + filter] += value * by;
            }
        }
    });
    sums.iter().map(|sum| *sum as f32).collect()
}

fn finished(record: &ConvRecord, sums: &[f64], added: Added) -> Vec<f32> {
    let filters = record.filters as usize * 4;
    let finish = |(at, sum): (usize, &f64)| {
        let v = sum + added.of(at % filters, at);
        activated(v, record.act, record.act_by) as f32
    };
    sums.iter().enumerate().map(finish).collect()
}

/// A tensor `[N, C, H, W]` of any strides with its channels last, filled up to a multiple of four.
pub fn pack(source: &[f32], [n, c, h, w]: [usize; 4], strides: [usize; 4]) -> Vec<f32> {
    let filled = c.next_multiple_of(4);
    let mut packed = vec![0.0; n * h * w * filled];
    for (at, to) in packed.iter_mut().enumerate() {
        let (pixel, channel) = (at / filled, at % filled);
        let place = [pixel / (h * w), channel, pixel / w % h, pixel % w];
        if channel < c {
            *to = source[(0..4).map(|i| place[i] * strides[i]).sum::<usize>()];
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel, one filter; each filled up to four.
    fn record(size: [u32; 2], size_out: [u32; 2], kernel: [u32; 2]) -> ConvRecord {
        ConvRecord {
            strides: [0, size[0] * size[1], size[1], 1],
            size,
            size_out,
            kernel,
            stride: [1; 2],
            dilation: [1; 2],
            spread: [1; 2],
            pixels: size_out[0] * size_out[1],
            channels: 1,
            filters: 1,
            depth: kernel[0] * kernel[1],
            part: kernel[0] * kernel[1],
            ..bytemuck::Zeroable::zeroed()
        }
    }

    fn first_of_four(values: &[f32]) -> Vec<f32> {
        values.iter().step_by(4).copied().collect()
    }

    fn filled(values: &[f32], each: usize) -> Vec<f32> {
        let four = |v: &f32| [vec![*v], vec![0.0; each - 1]].concat();
        values.iter().flat_map(four).collect()
    }

    #[test]
    fn by_hand() {
        // 1 2 3 under the filter 1 10, a zero before: 10, 21, 32.
        let x = filled(&[1.0, 2.0, 3.0], 4);
        let weights = filled(&[1.0, 10.0], 16);
        let mut row = record([1, 3], [1, 3], [1, 2]);
        row.padding = [0, 1];
        let added = Added::default();
        assert_eq!(
            first_of_four(&product(&row, 0, &x, &weights, added)),
            [10.0, 21.0, 32.0]
        );
        // A filter of one tap in every second pixel.
        row.dilation = [1, 2];
        row.size_out = [1, 2];
        row.pixels = 2;
        assert_eq!(
            first_of_four(&product(&row, 0, &x, &weights, added)),
            [20.0, 31.0]
        );
        // Zeros between the pixels: 1 0 2 0 3.
        let mut row = record([1, 3], [1, 4], [1, 2]);
        row.spread = [1, 2];
        let spread = product(&row, 0, &x, &weights, added);
        assert_eq!(first_of_four(&spread), [1.0, 20.0, 2.0, 30.0]);
        // In two parts, which add up.
        row.part = 1;
        row.step = 1;
        row.y_batch = 4;
        let parts: Vec<f32> = (0..2)
            .flat_map(|z| product(&row, z, &x, &weights, added))
            .collect();
        row.part = 2;
        assert_eq!(sum(&row, &parts, added), spread);
        let bias = [0.5; 4];
        row.act = 1;
        let added = Added {
            bias: Some(&bias),
            add: Some(&[-2.0; 16]),
        };
        assert_eq!(
            first_of_four(&sum(&row, &parts, added)),
            [0.0, 18.5, 0.5, 28.5]
        );
    }

    #[test]
    fn groups_see_their_channels() {
        // Two groups of one channel and two filters.
        let mut row = record([1, 1], [1, 1], [1, 1]);
        row.part = 2;
        row.depth = 4;
        let y = grouped(&row, &[3.0, 5.0], &[1.0, 2.0, 10.0, 20.0], Added::default());
        assert_eq!(y, [3.0, 6.0, 50.0, 100.0]);
    }

    #[test]
    fn gradients_by_hand() {
        // x is 1 2 3 after a zero, the gradients 1 10 100: under the first tap 0 1 2, under the second 1 2 3.
        let mut row = record([1, 3], [1, 3], [1, 2]);
        row.padding = [0, 1];
        row.part = 2;
        let x = filled(&[1.0, 2.0, 3.0], 4);
        let gradient = filled(&[1.0, 10.0, 100.0], 4);
        let taps = |z| {
            weight_gradient(&row, z, &x, &gradient)
                .into_iter()
                .step_by(16)
                .collect::<Vec<_>>()
        };
        assert_eq!((taps(0), taps(1)), (vec![10.0, 21.0], vec![200.0, 300.0]));
        let mut row = record([1, 1], [1, 1], [1, 1]);
        (row.part, row.step, row.depth) = (1, 2, 4);
        let made = grouped_gradient(&row, 0, &[3.0, 5.0], &[1.0, 2.0, 10.0, 20.0]);
        assert_eq!(made, [3.0, 6.0, 50.0, 100.0]);
    }

    #[test]
    fn packed_by_hand() {
        // Two channels of 1x2, of a tensor whose columns lie first.
        let packed = pack(&[1.0, 2.0, 3.0, 4.0], [1, 2, 1, 2], [4, 1, 2, 2]);
        assert_eq!(packed, [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
    }
}
