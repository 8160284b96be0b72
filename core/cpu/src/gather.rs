//! [`Gather`]: pixels under a filter's taps as rows of a matrix (im2col), a part of it at a time, so that it never exists as a whole.
//!
//! Shapes: the matrix is `[C / groups * KH * KW, H' * W']`.

use std::ops::Range;

use crate::{Picture, Shape};

/// The matrix of one group of channels.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    /// `[C / groups, H, W]`.
    values: &'a [f32],
    size: [usize; 2],
    before: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    out: [usize; 2],
}

/// Pixels of the output next to each other in a row.
pub(crate) struct Run {
    row: usize,
    first: usize,
    len: usize,
    /// Its place among the columns.
    at: usize,
}

impl<'a> Gather<'a> {
    /// `None` if nothing comes out.
    pub fn new(x: &Picture<'a>, shape: &Shape, group: usize) -> Option<Self> {
        let out = shape.size_out(x.size, x.padding)?;
        let each = shape.seen() * x.size[0] * x.size[1];
        let mut gather = Self {
            values: &x.values[group * each..][..each],
            size: x.size,
            before: [x.padding[0].0, x.padding[1].0],
            kernel: shape.kernel,
            stride: shape.stride,
            dilation: shape.dilation,
            out,
        };
        if shape.pointwise() && out == x.size {
            // One long row: no run is cut by the picture's edge.
            gather.size = [1, x.size[0] * x.size[1]];
            gather.out = gather.size;
        }
        Some(gather)
    }

    /// Whether the pixels of a channel are columns as they lie.
    #[inline(always)]
    fn one_row(&self) -> bool {
        self.size[0] == 1 && self.out == self.size && self.kernel == [1; 2]
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// The columns as runs, none of them in two panels of `width` columns.
    pub fn runs(&self, columns: Range<usize>, width: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let mut at = 0;
        while at < columns.len() {
            let place = columns.start + at;
            let (row, first) = (place / self.out[1], place % self.out[1]);
            let run = Run {
                row,
                first,
                len: (self.out[1] - first)
                    .min(columns.len() - at)
                    .min(width - at % width),
                at,
            };
            at += run.len;
            runs.push(run);
        }
    }

    /// Writes some rows of the matrix' columns in `runs`: column `i` of row `j` goes to `to(i, j)`, and those of its run after it.
    ///
    /// A row's columns are read together, however many panels they go to: they are neighbours in memory, rows are far apart.
    #[inline(always)]
    pub fn fill(
        &self,
        rows: Range<usize>,
        runs: &[Run],
        to: &mut [f32],
        width: usize,
        place: impl Fn(usize, usize) -> usize,
    ) {
        let [height, wide] = self.size;
        let ahead = runs.last().map_or(0, |run| run.at + run.len);
        let taps = self.kernel[0] * self.kernel[1];
        let (mut channel, tap) = (rows.start / taps, rows.start % taps);
        let (mut down, mut right) = (tap / self.kernel[1], tap % self.kernel[1]);
        for row in 0..rows.len() {
            for run in runs {
                let to = &mut to[place(run.at, row)..][..run.len];
                let y = run.row * self.stride[0] + down * self.dilation[0];
                let y = y.checked_sub(self.before[0]).filter(|y| *y < height);
                if let Some(y) = y {
                    let line = &self.values[(channel * height + y) * wide..][..wide];
                    if self.one_row() {
                        fetch(line, run.first + ahead, run.len);
                    }
                    self.fill_line(line, right * self.dilation[1], run.first, to, width);
                } else {
                    to.fill(0.0);
                }
            }
            right += 1;
            if right == self.kernel[1] {
                (right, down) = (0, down + 1);
                if down == self.kernel[0] {
                    (down, channel) = (0, channel + 1);
                }
            }
        }
    }

    /// Pixels of a line at a tap `right` of the filter's left edge, for outputs from `first` on.
    #[inline(always)]
    fn fill_line(&self, line: &[f32], right: usize, first: usize, to: &mut [f32], width: usize) {
        let (stride, before) = (self.stride[1], self.before[1]);
        let begin = first * stride + right;
        // Outputs whose pixel is left of the picture, and those before its right edge.
        let (skip, end) = if stride == 1 {
            (
                before.saturating_sub(begin),
                (line.len() + before).saturating_sub(begin),
            )
        } else {
            (
                before.saturating_sub(begin).div_ceil(stride),
                (line.len() + before).saturating_sub(begin).div_ceil(stride),
            )
        };
        let end = end.min(to.len());
        let skip = skip.min(end);
        to[..skip].fill(0.0);
        to[end..].fill(0.0);
        if skip == end {
            return;
        }
        let from = &line[begin + skip * stride - before..];
        let to = &mut to[skip..end];
        match stride {
            // Of a number that the compiler knows, which saves a call.
            1 if to.len() == width => to[..width].copy_from_slice(&from[..width]),
            1 => to.copy_from_slice(&from[..to.len()]),
            2 => every_second(from, to),
            _ => {
                for (to, from) in to.iter_mut().zip(from.iter().step_by(stride)) {
                    *to = *from;
                }
            }
        }
    }
}

/// Asks for numbers that are wanted soon, a channel's next columns: channels are too far apart in memory for the processor to guess them.
#[inline(always)]
fn fetch(values: &[f32], first: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(values) = values.get(first..) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for line in values[..len.min(values.len())].chunks(16) {
            // SAFETY: nothing is read; SSE is there on every x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, first, len);
}

/// Every second number of `from`, as many as `to` holds.
#[inline(always)]
pub(crate) fn every_second(from: &[f32], to: &mut [f32]) {
    const AT_ONCE: usize = 16;
    let (to, rest) = to.as_chunks_mut::<AT_ONCE>();
    let done = 2 * AT_ONCE * to.len();
    let from_rest = from.get(done..).unwrap_or_default().iter().step_by(2);
    for (i, to) in to.iter_mut().enumerate() {
        let from = &from[2 * AT_ONCE * i..];
        // The last pair may have no second number.
        if let Some(from) = from.first_chunk::<{ 2 * AT_ONCE }>() {
            // A copy of its own, so that the compiler may keep it in registers.
            let from = *from;
            for t in 0..AT_ONCE {
                to[t] = from[2 * t];
            }
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(2)) {
                *to = *from;
            }
        }
    }
    for (to, from) in rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}
