//! [`Depthwise`]: convolution of filters that see a single channel each.
//!
//! Lines of the input are copied with their padding, apart by the pixel's place within a stride, so that whatever the stride a tap of
//! neighbouring outputs is neighbouring floats. Sums of four lines stay in registers over all taps.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::gather::every_second;
use crate::product::{Buffer, Rows};
use crate::{Finish, Instructions, Picture, Shape};

/// Output lines at once.
const LINES: usize = 4;

/// Lines of the output whose input is copied at once: a copy stays in the nearest caches.
const BAND: usize = 4 * LINES;

/// Weights of a convolution.
#[derive(Debug)]
pub(crate) struct Depthwise {
    /// `[K, KH, KW]`.
    weights: Vec<f32>,
    shape: Shape,
    instructions: Instructions,
}

impl Depthwise {
    /// `weight` is `[K, 1, KH, KW]`.
    pub fn new(weight: &[f32], shape: Shape, instructions: Instructions) -> Self {
        Self {
            weights: weight.to_vec(),
            shape,
            instructions,
        }
    }

    /// Convolves a picture into the planes of `y`, all of which it writes.
    pub fn run(&self, x: Picture, finish: Finish, y: Rows) {
        let Some([height, width]) = self.shape.size_out(x.size, x.padding) else {
            return;
        };
        let plane = height * width;
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        let planes = x.size[0] * x.size[1];
        // Outputs that whole vectors have, and what a tap of the last needs beyond.
        let across = self.shape.stride[1];
        let reach = [0, 1].map(|i| self.shape.dilation[i] * (self.shape.kernel[i] - 1));
        let lanes = self.instructions.tile().lanes;
        let each = width.next_multiple_of(lanes) + reach[1] / across;
        let line = each * across;
        let places = (0..taps).map(|tap| {
            let right = tap % self.shape.kernel[1] * self.shape.dilation[1];
            let row = tap / self.shape.kernel[1] * self.shape.dilation[0];
            row * line + right % across * each + right / across
        });
        let places: Vec<_> = places.collect();
        let phases =
            (0..across).map(|place| Phase::new(place, x.size[1], x.padding[1].0, across, each));
        let phases: Vec<_> = phases.collect();
        let outputs = (0..self.shape.channels_out).into_par_iter();
        outputs.for_each_init(Buffer::default, |copy, k| {
            let c = k / self.shape.filters();
            self.instructions.0.dispatch(Channel {
                stride: self.shape.stride,
                reach: reach[0],
                each,
                places: &places,
                phases: &phases,
                taps: &self.weights[k * taps..][..taps],
                x: &x.values[c * planes..][..planes],
                picture: &x,
                height,
                width,
                bias: finish.bias.map_or(0.0, |bias| bias[k]),
                finish,
                at: k * plane,
                y: y.part(k, 1),
                copy,
            });
        });
    }
}

/// One channel of the output.
struct Channel<'a> {
    stride: [usize; 2],
    /// Lines of the input below an output's first.
    reach: usize,
    /// Floats of a copied line for each place within a stride.
    each: usize,
    /// Of each tap in the copy, from that of the first on.
    places: &'a [usize],
    /// Of a line of the input.
    phases: &'a [Phase],
    taps: &'a [f32],
    x: &'a [f32],
    picture: &'a Picture<'a>,
    /// Of the output.
    height: usize,
    width: usize,
    bias: f32,
    finish: Finish<'a>,
    /// Of the channel in y.
    at: usize,
    /// Its plane.
    y: Rows,
    copy: &'a mut Buffer,
}

impl WithSimd for Channel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { width, each, .. } = self;
        let [stride, across] = self.stride;
        let line = each * across;
        let lines = (BAND - 1) * stride + self.reach + 1;
        let copy = self.copy.get(lines * line);
        let furthest = self.places.iter().copied().max().unwrap_or_default();
        let height = self.height;
        for band in (0..height).step_by(BAND) {
            let pixels = band * width..height.min(band + BAND) * width;
            // SAFETY: y is borrowed by `Filters::write`, this plane for this channel alone.
            let y = unsafe { self.y.zeros(0, pixels.clone()) };
            let count = pixels.len() / width;
            let first = band * stride;
            let used = (count - 1) * stride + self.reach + 1;
            for (i, to) in copy.chunks_exact_mut(line).take(used).enumerate() {
                let row = (first + i).checked_sub(self.picture.padding[0].0);
                let row = row.filter(|row| *row < self.picture.size[0]);
                let Some(row) = row else {
                    to.fill(0.0);
                    continue;
                };
                let wide = self.picture.size[1];
                let from = &self.x[row * wide..][..wide];
                apart(simd, from, self.phases, each, to);
            }
            for top in (0..count).step_by(LINES) {
                let rows = LINES.min(count - top);
                let mut left = 0;
                while left < width {
                    let mut sums = [simd.splat_f32s(self.bias); LINES];
                    // Lines that the band does not have are summed again, and not written.
                    let mut starts = [0; LINES];
                    for (i, start) in starts.iter_mut().enumerate() {
                        *start = (top + i.min(rows - 1)) * stride * line + left;
                    }
                    let end = furthest + starts[LINES - 1] + S::F32_LANES;
                    assert!(end <= copy.len(), "a vector lies within the copy");
                    for (place, weight) in self.places.iter().zip(self.taps) {
                        let weight = simd.splat_f32s(*weight);
                        for (sum, start) in sums.iter_mut().zip(&starts) {
                            // SAFETY: `place` and `start` are at most those of `end`, up to which the copy was just seen to reach.
                            let pixels = unsafe {
                                let at = copy.as_ptr().add(place + start);
                                at.cast::<S::f32s>().read_unaligned()
                            };
                            *sum = simd.mul_add_e_f32s(weight, pixels, *sum);
                        }
                    }
                    let count = S::F32_LANES.min(width - left);
                    for (i, sum) in sums.iter().enumerate().take(rows) {
                        let to = &mut y[(top + i) * width + left..][..count];
                        simd.partial_store_f32s(to, *sum);
                    }
                    left += count;
                }
            }
            self.finish.row(y, self.at + pixels.start);
        }
    }
}

/// The pixels of a line that lie at one place within a stride.
#[derive(Clone, Copy)]
struct Phase {
    /// Zeros before them in the copy.
    skip: usize,
    /// The first of them in the line.
    first: usize,
    count: usize,
}

impl Phase {
    /// Those at `place` of a line of `width` pixels after `before` zeros, of which a copy holds `each`.
    fn new(place: usize, width: usize, before: usize, stride: usize, each: usize) -> Self {
        let skip = before.saturating_sub(place).div_ceil(stride).min(each);
        let first = (place + skip * stride).saturating_sub(before);
        let count = width.saturating_sub(first).div_ceil(stride);
        Self {
            skip,
            first,
            count: count.min(each - skip),
        }
    }
}

/// A line with its padding, apart by the pixels' place within a stride: `each` floats of `to` for each. `to` held such a line or zeros, so
/// that what is beyond the line is 0 already.
#[inline(always)]
fn apart<S: Simd>(simd: S, from: &[f32], phases: &[Phase], each: usize, to: &mut [f32]) {
    let stride = phases.len();
    for (phase, to) in phases.iter().zip(to.chunks_exact_mut(each)) {
        let to = &mut to[phase.skip..][..phase.count];
        let Some(from) = from.get(phase.first..) else {
            continue;
        };
        match stride {
            1 => copied(simd, &from[..phase.count], to),
            2 => every_second(from, to),
            _ => {
                for (to, from) in to.iter_mut().zip(from.iter().step_by(stride)) {
                    *to = *from;
                }
            }
        }
    }
}

/// A copy without a call, which takes longer than a short line's numbers do.
#[inline(always)]
fn copied<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    for (from, to) in from.chunks(S::F32_LANES).zip(to.chunks_mut(S::F32_LANES)) {
        simd.partial_store_f32s(to, simd.partial_load_f32s(from));
    }
}
