//! Products of matrices, a tile at a time: [`Packed`] weights times a panel of columns, sums kept in registers (Goto and van de Geijn
//! 2008, "Anatomy of high-performance matrix multiplication"; BLIS' names in parentheses).
//!
//! Our own, because a crate that takes whole matrices (`gemm`) packs the same weights again at each call, copies panels that were just
//! made, cannot finish sums while they are in registers, and chooses its instructions by itself.
//!
//! Shapes: a panel is `[depth][vectors * lanes]`, packed weights `[group of rows][depth][rows]`.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::Instructions;

/// Steps of depth between writes of sums: a panel of so many stays in the nearest cache (kc).
pub(crate) const DEPTH: usize = 256;

/// Floats of a cache line: where buffers begin.
const LINE: usize = 16;

/// What the kernel of an instruction set sums at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub lanes: usize,
    /// Vectors of columns.
    pub vectors: usize,
    pub rows: usize,
}

impl Tile {
    /// As large as the registers allow: 24 sums of 32 registers, 12 of 16. Without vectors, as the compiler makes the best of.
    #[inline(always)]
    pub fn of<S: Simd>() -> Self {
        let (vectors, rows) = match S::REGISTER_COUNT {
            _ if S::F32_LANES == 1 => (8, 4),
            32.. => (3, 8),
            _ => (3, 4),
        };
        Self {
            lanes: S::F32_LANES,
            vectors,
            rows,
        }
    }

    /// Columns of a full panel (mr).
    #[inline(always)]
    pub fn width(&self) -> usize {
        self.lanes * self.vectors
    }

    /// Vectors that hold `columns`.
    #[inline(always)]
    pub fn vectors_of(&self, columns: usize) -> usize {
        if self.lanes == 1 {
            self.vectors
        } else {
            columns.div_ceil(self.lanes)
        }
    }
}

impl Instructions {
    pub(crate) fn tile(self) -> Tile {
        struct Of;
        impl WithSimd for Of {
            type Output = Tile;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> Tile {
                Tile::of::<S>()
            }
        }
        self.0.dispatch(Of)
    }
}

/// Floats that begin at a cache line: vectors that straddle two lines cost twice.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` floats of any value.
    #[inline]
    pub fn get(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len + LINE {
            self.0 = vec![0.0; len + LINE];
        }
        let skip = self.0.as_ptr().align_offset(4 * LINE).min(LINE);
        &mut self.0[skip..][..len]
    }

    /// The same floats again.
    #[inline]
    pub fn read(&self, len: usize) -> &[f32] {
        let skip = self.0.as_ptr().align_offset(4 * LINE).min(LINE);
        &self.0[skip..][..len]
    }
}

/// A matrix `[rows, depth]` in the order in which the kernel reads it.
#[derive(Debug)]
pub(crate) struct Packed {
    values: Buffer,
    pub rows: usize,
    pub depth: usize,
    group: usize,
}

impl Packed {
    /// `at` gives the value at a row and a depth.
    pub fn new(
        tile: Tile,
        rows: usize,
        depth: usize,
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        let group = tile.rows;
        let mut values = Buffer::default();
        let each = group * depth;
        let packed = values.get(rows.div_ceil(group) * each);
        let groups = packed.par_chunks_exact_mut(each.max(1)).enumerate();
        groups.for_each(|(g, to)| {
            for n in 0..group.min(rows - g * group) {
                for d in 0..depth {
                    to[d * group + n] = at(g * group + n, d);
                }
            }
        });
        Self {
            values,
            rows,
            depth,
            group,
        }
    }

    /// Groups of rows.
    #[inline]
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(self.group)
    }

    /// The rows of a group.
    #[inline]
    pub fn rows_of(&self, group: usize) -> std::ops::Range<usize> {
        group * self.group..((group + 1) * self.group).min(self.rows)
    }

    /// A group's weights for some steps of depth.
    #[inline]
    pub fn part(&self, group: usize, depth: &std::ops::Range<usize>) -> &[f32] {
        let all = self.values.read(self.groups() * self.depth * self.group);
        let at = group * self.depth + depth.start;
        &all[at * self.group..][..depth.len() * self.group]
    }
}

/// Steps of depth in parts of at most about [`DEPTH`], all of about one size.
pub(crate) fn parts(depth: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let each = depth
        .div_ceil(depth.div_ceil(DEPTH + DEPTH / 2).max(1))
        .max(1);
    (0..depth)
        .step_by(each)
        .map(move |from| from..(from + each).min(depth))
}

/// Rows of a matrix that several tasks write to, each its own rows or columns. Its memory may be new: what is read was written before.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    start: *mut MaybeUninit<f32>,
    stride: usize,
    len: usize,
}

// SAFETY: a pointer to floats that outlive the tasks; `Rows::row`'s callers keep apart what they write.
unsafe impl Send for Rows {}
// SAFETY: as above.
unsafe impl Sync for Rows {}

impl Rows {
    /// The rows of `values`, which begin every `stride` floats. They must outlive it, and nothing else may use them meanwhile.
    pub fn new(values: &mut [f32], stride: usize) -> Self {
        Self {
            start: values.as_mut_ptr().cast(),
            stride,
            len: values.len(),
        }
    }

    /// As [`Rows::new`], in memory that holds no numbers yet.
    pub fn unwritten(values: &mut [MaybeUninit<f32>], stride: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            stride,
            len: values.len(),
        }
    }

    /// `rows` rows from `first` on.
    pub fn part(&self, first: usize, rows: usize) -> Self {
        let (at, len) = (first * self.stride, rows * self.stride);
        assert!(at + len <= self.len, "rows lie within their matrix");
        Self {
            start: self.start.wrapping_add(at),
            len,
            ..*self
        }
    }

    /// Columns of a row, to be written; only numbers may be put there.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed for it alone, and no other reference to these floats lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn place(
        &self,
        row: usize,
        columns: std::ops::Range<usize>,
    ) -> &mut [MaybeUninit<f32>] {
        let at = row * self.stride + columns.start;
        assert!(
            at + columns.len() <= self.len,
            "a row lies within its matrix"
        );
        // SAFETY: within the slice by the assertion; the caller keeps references apart.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), columns.len()) }
    }

    /// Columns of a row, all of them zero now.
    ///
    /// # Safety
    /// As [`Rows::place`].
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn zeros(&self, row: usize, columns: std::ops::Range<usize>) -> &mut [f32] {
        // SAFETY: the caller's promise.
        let place = unsafe { self.place(row, columns) };
        for value in &mut *place {
            value.write(0.0);
        }
        // SAFETY: just written.
        unsafe { place.assume_init_mut() }
    }

    /// Columns of a row that were written.
    ///
    /// # Safety
    /// As [`Rows::place`], and all of them hold numbers.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row(&self, row: usize, columns: std::ops::Range<usize>) -> &mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.place(row, columns).assume_init_mut() }
    }
}

/// What a sum begins with.
#[derive(Clone, Copy)]
pub(crate) enum Begin<'a> {
    Zero,
    /// By row.
    Bias(&'a [f32]),
    /// What is written there.
    Sums,
}

/// Multiplies a panel with a group of packed rows, and writes `rows` and `columns` of it.
///
/// # Safety
/// As [`Rows::place`], for these rows and columns; as [`Rows::row`] where they begin with [`Begin::Sums`].
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(
    simd: S,
    panel: &[f32],
    weights: &[f32],
    begin: Begin,
    to: Rows,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) {
    let tile = Tile::of::<S>();
    let work = (panel, weights, begin, to, rows, columns.clone());
    // SAFETY: the caller's promise.
    unsafe {
        match (tile.vectors_of(columns.len()), tile.rows) {
            (8, _) => sum::<S, 8, 4>(simd, work),
            (1, 8) => sum::<S, 1, 8>(simd, work),
            (2, 8) => sum::<S, 2, 8>(simd, work),
            (_, 8) => sum::<S, 3, 8>(simd, work),
            (1, _) => sum::<S, 1, 4>(simd, work),
            (2, _) => sum::<S, 2, 4>(simd, work),
            _ => sum::<S, 3, 4>(simd, work),
        }
    }
}

type Work<'a> = (
    &'a [f32],
    &'a [f32],
    Begin<'a>,
    Rows,
    std::ops::Range<usize>,
    std::ops::Range<usize>,
);

/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn sum<S: Simd, const V: usize, const N: usize>(
    simd: S,
    (panel, weights, begin, to, rows, columns): Work,
) {
    let whole = columns.len() == V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; N];
    match begin {
        Begin::Zero => {}
        Begin::Bias(bias) => {
            for (sums, bias) in sums.iter_mut().zip(&bias[rows.clone()]) {
                *sums = [simd.splat_f32s(*bias); V];
            }
        }
        Begin::Sums => {
            for (n, sums) in sums.iter_mut().enumerate() {
                if n < rows.len() {
                    // SAFETY: the caller's promise.
                    let from = unsafe { to.row(rows.start + n, columns.clone()) };
                    if whole {
                        for (sum, from) in sums.iter_mut().zip(S::as_simd_f32s(from).0) {
                            *sum = *from;
                        }
                    } else {
                        let mut held = [simd.splat_f32s(0.0); V];
                        flat::<S, V>(&mut held)[..from.len()].copy_from_slice(from);
                        *sums = held;
                    }
                }
            }
        }
    }
    let steps = S::as_simd_f32s(panel).0.chunks_exact(V);
    for (pixels, weights) in steps.zip(weights.chunks_exact(N)) {
        for n in 0..N {
            let weight = simd.splat_f32s(weights[n]);
            for v in 0..V {
                sums[n][v] = simd.mul_add_e_f32s(weight, pixels[v], sums[n][v]);
            }
        }
    }
    for (n, sums) in sums.into_iter().enumerate() {
        if n < rows.len() {
            // SAFETY: the caller's promise.
            let to = unsafe { to.place(rows.start + n, columns.clone()) };
            let mut held = sums;
            let held = flat::<S, V>(&mut held);
            if whole {
                // Of a number that the compiler knows, which saves a call.
                to[..V * S::F32_LANES].write_copy_of_slice(&held[..V * S::F32_LANES]);
            } else {
                to.write_copy_of_slice(&held[..to.len()]);
            }
        }
    }
}

/// Vectors as floats.
#[inline(always)]
fn flat<S: Simd, const V: usize>(vectors: &mut [S::f32s; V]) -> &mut [f32] {
    pulp::bytemuck::cast_slice_mut(vectors)
}
