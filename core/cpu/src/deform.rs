//! [`Deform`]: what the filters of a deformable convolution see, and the gradients behind it (Dai et al. 2017, arXiv 1703.06211; with a mask Zhu et
//! al. 2019, arXiv 1811.11168). The product with the filters is that of a convolution of 1x1 ([`crate::Filters`]) over `[C * taps, pixels]`.
//!
//! Borders are mmcv's: a place that lies a pixel or more outside of x sees nothing, nearer ones see the pixels that are there.
//!
//! Shapes: x `[C, H, W]`; offsets `[sets * taps * 2, H', W']`, down, then right, and the mask `[sets * taps, H', W']`; columns
//! `[C * taps, pixels]`, where the pixels are a part of H' * W'.

use std::ops::Range;

use rayon::prelude::*;

/// How a deformable convolution's filters move over one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deform {
    /// C.
    pub channels: usize,
    /// H and W.
    pub size: [usize; 2],
    /// H' and W'.
    pub size_out: [usize; 2],
    /// Taps down and across.
    pub kernel: [usize; 2],
    /// Steps between outputs, in pixels.
    pub stride: [usize; 2],
    /// Zeros around x.
    pub padding: [usize; 2],
    /// Steps between taps, in pixels.
    pub dilation: [usize; 2],
    /// Sets of channels that move together.
    pub sets: usize,
}

/// The four pixels of x beside a sample: above left, above right, below left, below right.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// Where they are in a channel; for those outside of x, anywhere in it.
    at: [u32; 4],
    /// 1, or 0 for those outside.
    there: [f32; 4],
    /// How far the sample is from the first, down and right.
    part: [f32; 2],
}

impl Spot {
    fn shares(&self) -> [f32; 4] {
        let [down, right] = self.part;
        let shares = [
            (1.0 - down) * (1.0 - right),
            (1.0 - down) * right,
            down * (1.0 - right),
            down * right,
        ];
        std::array::from_fn(|i| shares[i] * self.there[i])
    }

    fn values(&self, x: &[f32]) -> [f32; 4] {
        std::array::from_fn(|i| x[self.at[i] as usize] * self.there[i])
    }
}

/// The samples of some of y's pixels.
pub struct Samples<'a> {
    of: Deform,
    pixels: Range<usize>,
    mask: &'a [f32],
    /// `[sets * taps, pixels]`.
    spots: Vec<Spot>,
}

impl Deform {
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of y.
    fn outputs(&self) -> usize {
        self.size_out[0] * self.size_out[1]
    }

    /// Finds the samples of y's `pixels`.
    ///
    /// # Panics
    /// If a slice has another length than its shape, the sets do not divide the channels, or x has no pixels or 2^32 and more.
    pub fn samples<'a>(
        &self,
        offset: &[f32],
        mask: &'a [f32],
        pixels: Range<usize>,
    ) -> Samples<'a> {
        let (rows, plane) = (self.sets * self.taps(), self.outputs());
        assert_eq!(
            offset.len(),
            2 * rows * plane,
            "offsets are [sets * taps * 2, H', W']"
        );
        assert_eq!(
            mask.len(),
            rows * plane,
            "the mask is [sets * taps, H', W']"
        );
        assert!(
            self.channels.is_multiple_of(self.sets),
            "sets divide the channels"
        );
        let cells = self.size[0] * self.size[1];
        assert!(
            (1..=u32::MAX as usize).contains(&cells) && pixels.end <= plane,
            "pixels can be counted"
        );
        let mut spots = vec![Spot::default(); rows * pixels.len()];
        let each = spots.par_chunks_exact_mut(pixels.len().max(1)).enumerate();
        each.for_each(|(row, spots)| {
            let [down, right] = [0, 1].map(|i| &offset[(2 * row + i) * plane..][..plane]);
            for (pixel, spot) in pixels.clone().zip(spots) {
                *spot = self.spot(pixel, row % self.taps(), [down[pixel], right[pixel]]);
            }
        });
        Samples {
            of: *self,
            pixels,
            mask,
            spots,
        }
    }

    fn spot(&self, pixel: usize, tap: usize, moved: [f32; 2]) -> Spot {
        let out = [pixel / self.size_out[1], pixel % self.size_out[1]];
        let step = [tap / self.kernel[1], tap % self.kernel[1]];
        let at = [0, 1].map(|i| {
            let from = out[i] * self.stride[i] + step[i] * self.dilation[i];
            (from as f32 - self.padding[i] as f32) + moved[i]
        });
        let [height, width] = self.size.map(|n| n as i64);
        let inside = |at: f32, size: i64| at > -1.0 && at < size as f32;
        if !(inside(at[0], height) && inside(at[1], width)) {
            return Spot::default();
        }
        let low = at.map(f32::floor);
        let mut spot = Spot {
            part: [at[0] - low[0], at[1] - low[1]],
            ..Spot::default()
        };
        for (i, step) in [[0, 0], [0, 1], [1, 0], [1, 1]].into_iter().enumerate() {
            let [row, column] = [low[0] as i64 + step[0], low[1] as i64 + step[1]];
            if (0..height).contains(&row) && (0..width).contains(&column) {
                spot.at[i] = (row * width + column) as u32;
                spot.there[i] = 1.0;
            }
        }
        spot
    }
}

impl Samples<'_> {
    /// The spots of a tap in the set of a channel, and its weights.
    fn seen_by(&self, channel: usize, tap: usize) -> (&[Spot], &[f32]) {
        let each = self.of.channels / self.of.sets;
        self.row(channel / each * self.of.taps() + tap)
    }

    fn row(&self, row: usize) -> (&[Spot], &[f32]) {
        let count = self.pixels.len();
        let mask = &self.mask[row * self.of.outputs()..][self.pixels.clone()];
        (&self.spots[row * count..][..count], mask)
    }

    /// Writes what the filters see of x, `[C * taps, pixels]`.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn columns(&self, x: &[f32], columns: &mut [f32]) {
        let (count, taps) = (self.pixels.len(), self.of.taps());
        let plane = self.of.size[0] * self.of.size[1];
        assert_eq!(x.len(), self.of.channels * plane, "x is [C, H, W]");
        assert_eq!(
            columns.len(),
            self.of.channels * taps * count,
            "columns are [C * taps, pixels]"
        );
        let rows = columns.par_chunks_exact_mut(count.max(1)).enumerate();
        rows.for_each(|(row, columns)| {
            let (channel, tap) = (row / taps, row % taps);
            let x = &x[channel * plane..][..plane];
            let (spots, mask) = self.seen_by(channel, tap);
            for ((to, spot), weight) in columns.iter_mut().zip(spots).zip(mask) {
                let (shares, values) = (spot.shares(), spot.values(x));
                let sum: f32 = (0..4).map(|i| shares[i] * values[i]).sum();
                *to = sum * weight;
            }
        });
    }

    /// Adds to the gradient of x what that of the columns gives.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn input_gradient(&self, slopes: &[f32], of_x: &mut [f32]) {
        let (count, taps) = (self.pixels.len(), self.of.taps());
        let plane = self.of.size[0] * self.of.size[1];
        assert_eq!(of_x.len(), self.of.channels * plane, "x is [C, H, W]");
        let planes = of_x.par_chunks_exact_mut(plane).enumerate();
        planes.for_each(|(channel, of_x)| {
            for tap in 0..taps {
                let slopes = &slopes[(channel * taps + tap) * count..][..count];
                let (spots, mask) = self.seen_by(channel, tap);
                for ((slope, spot), weight) in slopes.iter().zip(spots).zip(mask) {
                    let by = slope * weight;
                    let shares = spot.shares();
                    for i in 0..4 {
                        of_x[spot.at[i] as usize] += by * shares[i];
                    }
                }
            }
        });
    }

    /// Writes the gradients of these pixels' offsets and mask from that of the columns.
    ///
    /// # Panics
    /// If a slice has another length than its shape.
    pub fn point_gradients(
        &self,
        x: &[f32],
        slopes: &[f32],
        of_offset: &mut [f32],
        of_mask: &mut [f32],
    ) {
        let (count, taps, outputs) = (self.pixels.len(), self.of.taps(), self.of.outputs());
        let plane = self.of.size[0] * self.of.size[1];
        let each = self.of.channels / self.of.sets;
        let of_offset = of_offset.par_chunks_exact_mut(2 * outputs.max(1));
        let rows = of_offset.zip(of_mask.par_chunks_exact_mut(outputs.max(1)));
        rows.enumerate().for_each(|(row, (of_offset, of_mask))| {
            let (spots, mask) = self.row(row);
            let mut sums = vec![[0.0f32; 3]; count];
            for channel in row / taps * each..(row / taps + 1) * each {
                let x = &x[channel * plane..][..plane];
                let slopes = &slopes[(channel * taps + row % taps) * count..][..count];
                for ((sum, slope), spot) in sums.iter_mut().zip(slopes).zip(spots) {
                    let [a, b, c, d] = spot.values(x);
                    let [down, right] = spot.part;
                    let (left_change, right_change) = (c - a, d - b);
                    let (above, below) = (b - a, d - c);
                    let top = a + right * above;
                    sum[0] += slope * (left_change + right * (right_change - left_change));
                    sum[1] += slope * (above + down * (below - above));
                    sum[2] += slope * (top + down * (c + right * below - top));
                }
            }
            let (of_down, of_right) = of_offset.split_at_mut(outputs);
            let pixels = self.pixels.clone().zip(sums).zip(mask);
            for ((pixel, [down, right, sum]), weight) in pixels {
                of_down[pixel] = down * weight;
                of_right[pixel] = right * weight;
                of_mask[pixel] = sum;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture 1 2 / 3 4, one tap, one output that lies on the 1 if it does not move.
    const ONE: Deform = Deform {
        channels: 1,
        size: [2; 2],
        size_out: [1; 2],
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 2],
        dilation: [1; 2],
        sets: 1,
    };
    const X: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

    #[test]
    fn by_hand() {
        let seen = |offset: [f32; 2], mask| {
            let mut made = [9.0];
            ONE.samples(&offset, &[mask], 0..1).columns(&X, &mut made);
            made[0]
        };
        assert_eq!(seen([0.0, 0.0], 1.0), 1.0);
        assert_eq!(seen([0.5, 0.5], 0.5), 1.25);
        assert_eq!(seen([-0.5, 0.0], 1.0), 0.5);
        assert_eq!(seen([1.75, 1.5], 1.0), 0.5);
        assert_eq!(seen([-1.0, 0.0], 1.0), 0.0);
        assert_eq!(seen([0.0, f32::INFINITY], 1.0), 0.0);
        assert_eq!(seen([f32::NAN, 0.0], 1.0), 0.0);
    }

    #[test]
    fn gradients_by_hand() {
        let samples = ONE.samples(&[0.25, 0.5], &[0.5], 0..1);
        let (mut of_offset, mut of_mask, mut of_x) = ([0.0; 2], [0.0], [1.0; 4]);
        samples.point_gradients(&X, &[10.0], &mut of_offset, &mut of_mask);
        assert_eq!((of_offset, of_mask), ([10.0, 5.0], [20.0]));
        samples.input_gradient(&[10.0], &mut of_x);
        assert_eq!(of_x, [2.875, 2.875, 1.625, 1.625]);
    }
}
