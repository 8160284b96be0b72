//! [`max_pool`]: the largest number of each window.
//!
//! Shapes: x `[C, H, W]`, y `[C, H', W']`, `H' = (H + padding - kernel) / stride + 1`. What lies beyond the picture does not count. A window
//! with a NaN gives NaN, as PyTorch's.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{Instructions, Picture, Shape};

/// Writes the largest number of each `kernel` x `kernel` window of `stride` steps.
///
/// # Panics
/// If a slice has another length than its shape, a number is 0, or a window can lie wholly beyond the picture.
pub fn max_pool(x: Picture, kernel: usize, stride: usize, y: &mut [f32]) {
    max_pool_with(x, kernel, stride, y, Instructions::widest());
}

/// As [`max_pool`], computed with these instructions.
///
/// # Panics
/// As [`max_pool`].
pub fn max_pool_with(
    x: Picture,
    kernel: usize,
    stride: usize,
    y: &mut [f32],
    instructions: Instructions,
) {
    let shape = Shape {
        channels_out: 1,
        channels_in: 1,
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        groups: 1,
    };
    shape.check();
    let beyond = |(before, after): (usize, usize)| before.max(after) >= kernel;
    assert!(
        !x.padding.into_iter().any(beyond),
        "a window meets the picture"
    );
    let Some([height, width]) = shape.size_out(x.size, x.padding) else {
        return;
    };
    let (plane, each) = (x.size[0] * x.size[1], height * width);
    assert_eq!(x.values.len() * each, y.len() * plane, "y is [C, H', W']");
    let planes = x.values.par_chunks_exact(plane);
    let pooled = y.par_chunks_exact_mut(each);
    planes
        .zip(pooled)
        .for_each_init(Vec::new, |room, (plane, y)| {
            instructions.0.dispatch(Plane {
                plane,
                picture: &x,
                kernel,
                stride,
                width,
                room,
                y,
            });
        });
}

/// One channel.
struct Plane<'a> {
    plane: &'a [f32],
    picture: &'a Picture<'a>,
    kernel: usize,
    stride: usize,
    /// Of y.
    width: usize,
    room: &'a mut Vec<f32>,
    y: &'a mut [f32],
}

impl WithSimd for Plane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [height, wide] = self.picture.size;
        let [(top, _), (left, _)] = self.picture.padding;
        // A line with its padding: first the largest of the window's rows, then, in the other half, of its columns too.
        let padded = (self.width - 1) * self.stride + self.kernel;
        self.room.clear();
        self.room.resize(2 * padded, f32::NEG_INFINITY);
        let (line, pooled) = self.room.split_at_mut(padded);
        let kept = wide.min(padded - left);
        let reach = padded - (self.kernel - 1);
        for (row, y) in self.y.chunks_exact_mut(self.width).enumerate() {
            let first = row * self.stride;
            let rows = first.saturating_sub(top)
                ..(first + self.kernel - top.min(first + self.kernel)).min(height);
            let inside = &mut line[left..][..kept];
            inside.fill(f32::NEG_INFINITY);
            for row in rows {
                larger(inside, &self.plane[row * wide..][..kept]);
            }
            let pooled = &mut pooled[..reach];
            pooled.copy_from_slice(&line[..reach]);
            for tap in 1..self.kernel {
                larger(pooled, &line[tap..][..reach]);
            }
            for (to, from) in y.iter_mut().zip(pooled.iter().step_by(self.stride)) {
                *to = *from;
            }
        }
    }
}

/// The larger of each pair.
#[inline(always)]
fn larger(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a = if *b > *a || b.is_nan() { *b } else { *a };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let x = Picture {
            values: &[1.0, 5.0, 2.0, 4.0, 3.0, f32::NAN],
            size: [2, 3],
            padding: [(1, 1), (1, 0)],
        };
        let mut y = [0.0; 1];
        max_pool(x, 3, 2, &mut y);
        assert_eq!(y[0], 5.0);
        let picture = Picture {
            padding: [(0, 0); 2],
            ..x
        };
        let mut y = [0.0; 2];
        max_pool(picture, 2, 1, &mut y);
        assert_eq!(y[0], 5.0);
        assert!(y[1].is_nan());
    }

    #[test]
    fn as_the_plain_way() {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for case in 0..200 {
            let size = [0, 1].map(|_| 1 + draw() as usize % 40);
            let kernel = [1, 2, 3, 5, 9, 13][case % 6];
            let stride = 1 + draw() as usize % 3;
            let padding = [0, 1].map(|_| [0, 1].map(|_| draw() as usize % (kernel / 2 + 1)));
            let padding = padding.map(|[before, after]| (before, after));
            let values: Vec<f32> = (0..3 * size[0] * size[1])
                .map(|_| draw() as f32 - 8e6)
                .collect();
            let side = |i: usize| {
                Some((size[i] + padding[i].0 + padding[i].1).checked_sub(kernel)? / stride + 1)
            };
            let (Some(height), Some(width)) = (side(0), side(1)) else {
                continue;
            };
            let mut expected = Vec::new();
            for at in 0..3 * height * width {
                let (channel, row, column) = (at / width / height, at / width % height, at % width);
                let window = |start: usize, before: usize, size: usize| {
                    (start * stride).saturating_sub(before)
                        ..(start * stride + kernel).saturating_sub(before).min(size)
                };
                let mut most = f32::NEG_INFINITY;
                for y in window(row, padding[0].0, size[0]) {
                    for x in window(column, padding[1].0, size[1]) {
                        most = most.max(values[(channel * size[0] + y) * size[1] + x]);
                    }
                }
                expected.push(most);
            }
            for instructions in Instructions::all() {
                let x = Picture {
                    values: &values,
                    size,
                    padding,
                };
                let mut y = vec![0.0; expected.len()];
                max_pool_with(x, kernel, stride, &mut y, instructions);
                assert_eq!(y, expected, "{size:?} {kernel} {stride} {padding:?}");
            }
        }
    }
}
