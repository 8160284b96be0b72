//! The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308), for a row of tiles at a time: 6x6 pixels of the input,
//! 4x4 of the output, which overlap by two pixels in the input.
//!
//! Vectors are of neighbouring tiles. Pixels lie otherwise, tile after tile: they are put apart on their way in and together again on their
//! way out, [`TILES`] at a time. No closure touches a vector, `array::from_fn`'s neither: one that is not inlined is compiled without the
//! instructions that its caller runs with.

use pulp::Simd;

use crate::product::Buffer;

/// Pixels of a tile's side in the input.
pub const IN: usize = 6;
/// And in the output.
pub const OUT: usize = 4;
/// Products of a tile, for each pair of channels.
pub const PRODUCTS: usize = IN * IN;

/// Tiles whose pixels are put apart at a time: those of the widest vectors.
pub const TILES: usize = 16;

/// `factor * x + y`
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y)
}

/// `B^T d`: from 6 pixels.
#[inline(always)]
fn input<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; IN]) -> [S::f32s; IN] {
    let (e_c, d_b) = (simd.sub_f32s(e, c), simd.sub_f32s(d, b));
    [
        times(simd, 4.0, a, times(simd, -5.0, c, e)),
        times(simd, -4.0, simd.add_f32s(b, c), simd.add_f32s(d, e)),
        times(simd, 4.0, simd.sub_f32s(b, c), simd.sub_f32s(e, d)),
        times(simd, 2.0, d_b, e_c),
        times(simd, -2.0, d_b, e_c),
        times(simd, 4.0, b, times(simd, -5.0, d, f)),
    ]
}

/// `A^T m`: to 4 pixels.
#[inline(always)]
fn output<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; IN]) -> [S::f32s; OUT] {
    let (sum, difference) = (simd.add_f32s(b, c), simd.sub_f32s(b, c));
    let (far, far_difference) = (simd.add_f32s(d, e), simd.sub_f32s(d, e));
    [
        simd.add_f32s(simd.add_f32s(a, sum), far),
        times(simd, 2.0, far_difference, difference),
        times(simd, 4.0, far, sum),
        times(simd, 8.0, far_difference, simd.add_f32s(difference, f)),
    ]
}

/// Value `i` of `G g G^T` for many filters of 3x3, which lie as `[9][filter]`. In f64: the products of small and large factors lose most.
#[inline(always)]
pub fn filter(i: usize, taps: &[f32], to: &mut [f32]) {
    const G: [[f64; 3]; IN] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let (down, across) = (G[i / IN], G[i % IN]);
    let count = to.len();
    let tap: [&[f32]; 9] = std::array::from_fn(|t| &taps[t * count..][..count]);
    for (f, to) in to.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (t, tap) in tap.iter().enumerate() {
            sum += down[t / 3] * across[t % 3] * f64::from(tap[f]);
        }
        *to = sum as f32;
    }
}

/// Room for a row of tiles while it is transformed.
#[derive(Default)]
pub struct Scratch {
    rows: Buffer,
    streams: Buffer,
}

/// The vector at a place.
#[inline(always)]
fn at<S: Simd>(values: &[f32], place: usize) -> S::f32s {
    S::as_simd_f32s(&values[place..][..S::F32_LANES]).0[0]
}

/// Writes a vector, or as much of it as there is room for.
#[inline(always)]
fn put<S: Simd>(simd: S, to: &mut [f32], place: usize, vector: S::f32s) {
    let to = &mut to[place..];
    if to.len() >= S::F32_LANES {
        S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = vector;
    } else {
        simd.partial_store_f32s(to, vector);
    }
}

/// Floats of a line of pixels for so many tiles: whole [`TILES`], and the two pixels after them.
#[inline(always)]
pub fn line_len(tiles: usize) -> usize {
    OUT * tiles.next_multiple_of(TILES) + 16
}

/// Transforms a row of `tiles` tiles. `lines` are the six lines of pixels that they lie in, of [`line_len`] each; value `i` of tile `t` goes
/// to `to(i)[t]`.
#[inline(always)]
pub fn input_row<'a, S: Simd>(
    simd: S,
    lines: &[f32],
    tiles: usize,
    to: impl Fn(usize) -> &'a mut [f32],
    scratch: &mut Scratch,
) {
    let width = line_len(tiles);
    let each = tiles.next_multiple_of(TILES);
    // A stream has one tile more, and room for a vector that begins there.
    let stream = each + TILES;
    let rows = scratch.rows.get(IN * width);
    // Down, for all columns at once.
    for x in (0..width).step_by(S::F32_LANES) {
        let mut column = [simd.splat_f32s(0.0); IN];
        for (i, column) in column.iter_mut().enumerate() {
            *column = at::<S>(lines, i * width + x);
        }
        let made = input(simd, column);
        for (i, made) in made.into_iter().enumerate() {
            put(simd, rows, i * width + x, made);
        }
    }
    let streams = scratch.streams.get(OUT * stream);
    for i in 0..IN {
        let row = &rows[i * width..][..width];
        for first in (0..each).step_by(TILES) {
            // A copy of its own, so that the compiler may keep it in registers.
            let pixels: [f32; OUT * TILES] = *row[OUT * first..]
                .first_chunk()
                .expect("a line has whole tiles");
            for j in 0..OUT {
                let to: &mut [f32; TILES] = streams[j * stream + first..]
                    .first_chunk_mut()
                    .expect("a stream has whole tiles");
                for t in 0..TILES {
                    to[t] = pixels[OUT * t + j];
                }
            }
        }
        for j in 0..IN - OUT {
            streams[j * stream + each] = row[OUT * each + j];
        }
        // Across.
        let made: [&mut [f32]; IN] = std::array::from_fn(|j| to(i * IN + j));
        for t in (0..tiles).step_by(S::F32_LANES) {
            let mut columns = [simd.splat_f32s(0.0); IN];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = at::<S>(streams, j % OUT * stream + j / OUT + t);
            }
            let out = input(simd, columns);
            for j in 0..IN {
                put(simd, made[j], t, out[j]);
            }
        }
    }
}

/// Transforms the products of a row of `tiles` tiles to four lines of `4 * tiles` pixels, [`line_len`] apart. Product `i` of tile `t` is at
/// `from[i * step + t]`, with room for a vector more after the last.
#[inline(always)]
pub fn output_row<S: Simd>(
    simd: S,
    from: &[f32],
    step: usize,
    tiles: usize,
    lines: &mut [f32],
    scratch: &mut Scratch,
) {
    let width = line_len(tiles);
    let each = tiles.next_multiple_of(TILES);
    let streams = scratch.streams.get(OUT * OUT * each);
    for t in (0..tiles).step_by(S::F32_LANES) {
        let mut down = [[simd.splat_f32s(0.0); IN]; OUT];
        for j in 0..IN {
            let mut column = [simd.splat_f32s(0.0); IN];
            for (i, column) in column.iter_mut().enumerate() {
                *column = at::<S>(from, (i * IN + j) * step + t);
            }
            for (down, made) in down.iter_mut().zip(output(simd, column)) {
                down[j] = made;
            }
        }
        for (i, down) in down.into_iter().enumerate() {
            for (j, made) in output(simd, down).into_iter().enumerate() {
                put(simd, streams, (i * OUT + j) * each + t, made);
            }
        }
    }
    for i in 0..OUT {
        for first in (0..each).step_by(TILES) {
            let mut column = [[0.0; TILES]; OUT];
            for j in 0..OUT {
                column[j] = *streams[(i * OUT + j) * each + first..]
                    .first_chunk()
                    .expect("a stream has whole tiles");
            }
            let to: &mut [f32; OUT * TILES] = lines[i * width + OUT * first..]
                .first_chunk_mut()
                .expect("a line has whole tiles");
            let (to, _) = to.as_chunks_mut::<OUT>();
            for t in 0..TILES {
                to[t] = [column[0][t], column[1][t], column[2][t], column[3][t]];
            }
        }
    }
}
