//! Pictures to the network's input in one pass: resize, pad, reverse the channels, normalise, pad
//! to the batch. u8 interleaved in, f32 NCHW out. Twin of `wgsl/image/preprocess.wgsl`.
//!
//! Two things make kernel and twin equal to the bit, and to OpenCV followed by PyTorch:
//! - *taps*: where OpenCV's bilinear looks and its 11-bit weights are tables of the two axes,
//!   computed once in f64 as OpenCV does; the rest is whole numbers (see `resize.rs`);
//! - *values*: a u8 has 256 values, so `(v - mean) / std` is a table per channel.
//!
//! ```text
//! +-----------------+-----+---------+
//! | resized         |     |         |   resized: the picture
//! |                 |fill |         |   padded:  what the `Pad` transform makes of it, with `fill`
//! +-----------------+     |  pad    |            (a pixel value: it is normalised like a pixel)
//! | fill                  |  value  |   size:    the batch's, with `pad_value` (not normalised)
//! +-----------------------+         |
//! | pad value                       |
//! +---------------------------------+
//! ```

use super::resize::{Interpolation, ONE, linear_position, nearest_position, scale};

/// One position of a resized axis: two source positions and their weights, which sum to 2048.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tap {
    first: u32,
    second: u32,
    weights: [u16; 2],
}

/// Taps of an axis. OpenCV clamps columns by moving the tap, rows by repeating the edge.
fn taps(source: usize, target: usize, interpolation: Interpolation, column: bool) -> Vec<Tap> {
    let scale = scale(source, target);
    let last = source as i64 - 1;
    let tap = |x: usize| {
        if source == target || interpolation == Interpolation::Nearest {
            let at = nearest_position(x, scale, source) as u32;
            return Tap {
                first: at,
                second: at,
                weights: [ONE as u16, 0],
            };
        }
        let (mut at, mut fraction) = linear_position(x, scale);
        if column && (at < 0 || at >= last) {
            (at, fraction) = (at.clamp(0, last), 0.0);
        }
        Tap {
            first: at.clamp(0, last) as u32,
            second: (at + 1).clamp(0, last) as u32,
            weights: [1.0 - fraction, fraction].map(|w| (w * ONE).round_ties_even() as u16),
        }
    };
    (0..target).map(tap).collect()
}

/// How one picture lies in the batch.
#[derive(Clone, Debug)]
pub struct Slot {
    source: [usize; 2],
    padded: [usize; 2],
    fill: [u8; 4],
    columns: Vec<Tap>,
    rows: Vec<Tap>,
}

impl Slot {
    /// All sizes are (width, height) in pixels: of the source, resized, and padded at the right
    /// and bottom with the pixel `fill` (source channel order; unused channels are ignored).
    ///
    /// # Panics
    /// If the source is empty while `resized` is not, if `padded` is smaller than `resized`, or if
    /// `interpolation` is neither `Nearest` nor `Linear`.
    pub fn new(
        source: [usize; 2],
        resized: [usize; 2],
        padded: [usize; 2],
        fill: [u8; 4],
        interpolation: Interpolation,
    ) -> Self {
        assert!(
            matches!(
                interpolation,
                Interpolation::Nearest | Interpolation::Linear
            ),
            "one pass does nearest and linear only"
        );
        assert!(
            source.iter().all(|s| *s > 0) || resized.contains(&0),
            "pixels to resize"
        );
        assert!(
            padded[0] >= resized[0] && padded[1] >= resized[1],
            "padding only adds"
        );
        Self {
            source,
            padded,
            fill,
            columns: taps(source[0], resized[0], interpolation, true),
            rows: taps(source[1], resized[1], interpolation, false),
        }
    }

    /// Width and height with the fill, in pixels.
    pub fn padded(&self) -> [usize; 2] {
        self.padded
    }
}

/// What becomes of pixel values: 256 per output channel, and the value outside of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    source_channels: usize,
    channels: usize,
    reversed: bool,
    /// `channels * 256`, then the pad value.
    table: Vec<f32>,
}

impl Values {
    /// For pictures of `source_channels` (1 to 4). `reversed` swaps BGR and RGB, and keeps three
    /// channels. `mean_std` has one pair per output channel, or one for all; without it values
    /// stay 0..=255.
    ///
    /// # Panics
    /// If the numbers of channels or pairs are not as said.
    pub fn new(
        source_channels: usize,
        reversed: bool,
        mean_std: &[(f32, f32)],
        pad_value: f32,
    ) -> Self {
        assert!((1..=4).contains(&source_channels), "1 to 4 channels");
        assert!(!reversed || source_channels >= 3, "three channels to swap");
        let channels = if reversed { 3 } else { source_channels };
        assert!(
            mean_std.len() <= 1 || mean_std.len() == channels,
            "a mean per channel"
        );
        let mut table = Vec::with_capacity(channels * 256 + 1);
        for c in 0..channels {
            let pair = mean_std.get(c).or(mean_std.first());
            table.extend((0..=255u8).map(|v| {
                let v = f32::from(v);
                pair.map_or(v, |(mean, std)| (v - mean) / std)
            }));
        }
        table.push(pad_value);
        Self {
            source_channels,
            channels,
            reversed,
            table,
        }
    }

    /// Channels of the output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples of a source pixel.
    pub fn source_channels(&self) -> usize {
        self.source_channels
    }

    /// Binding 2 of the kernel: 256 values per output channel, then the pad value.
    pub fn table(&self) -> &[f32] {
        &self.table
    }

    fn channel(&self, c: usize) -> (usize, &[f32; 256]) {
        let source = if self.reversed { 2 - c } else { c };
        let values = self.table[c * 256..][..256].try_into();
        (source, values.expect("256 values a channel"))
    }

    fn pad_value(&self) -> f32 {
        self.table[self.channels * 256]
    }
}

/// Writes rows of one picture of a batch, from row `first_row` on.
///
/// `pixels`: the source. `width`: of the batch. `planes`: one per output channel, each with the
/// same whole number of rows; threads may take any disjoint rows.
///
/// # Panics
/// If a slice has another length than its sizes say.
pub fn preprocess(
    pixels: &[u8],
    slot: &Slot,
    values: &Values,
    width: usize,
    first_row: usize,
    planes: &mut [&mut [f32]],
) {
    let stride = slot.source[0] * values.source_channels;
    assert_eq!(pixels.len(), stride * slot.source[1], "the source's pixels");
    assert_eq!(planes.len(), values.channels, "a plane per channel");
    assert!(width >= slot.padded[0], "the batch holds the picture");
    if width == 0 {
        return;
    }
    let resized = slot.columns.len();
    let rows = planes[0].len() / width;
    let still = (resized, slot.rows.len()) == (slot.source[0], slot.source[1]);
    let mut lines: [(usize, Vec<i32>); 2] =
        std::array::from_fn(|_| (usize::MAX, vec![0; resized * values.channels]));
    for y in 0..rows {
        let row = first_row + y;
        let tap = slot.rows.get(row);
        if let Some(tap) = tap
            && !still
        {
            // Keep the row that is wanted again, if any, in its place.
            let wanted = [tap.first as usize, tap.second as usize];
            if lines[0].0 != wanted[0] && lines[1].0 == wanted[0] {
                lines.swap(0, 1);
            }
            for (line, at) in lines.iter_mut().zip(wanted) {
                if line.0 != at {
                    horizontal(&pixels[at * stride..][..stride], slot, values, &mut line.1);
                    line.0 = at;
                }
            }
        }
        for (c, plane) in planes.iter_mut().enumerate() {
            let (source, table) = values.channel(c);
            let target = &mut plane[y * width..][..width];
            let mut filled = 0;
            if let Some(tap) = tap {
                if still {
                    let from = pixels[row * stride..][..stride].iter().skip(source);
                    for (value, v) in target.iter_mut().zip(from.step_by(values.source_channels)) {
                        *value = table[usize::from(*v)];
                    }
                } else {
                    let [wa, wb] = tap.weights.map(i32::from);
                    let part = c * resized..(c + 1) * resized;
                    let (a, b) = (&lines[0].1[part.clone()], &lines[1].1[part]);
                    for ((value, a), b) in target.iter_mut().zip(a).zip(b) {
                        let sum = ((wa * a) >> 16) + ((wb * b) >> 16);
                        *value = table[usize::from(((sum + 2) >> 2) as u8)];
                    }
                }
                filled = resized;
            }
            let padded = if row < slot.padded[1] {
                slot.padded[0]
            } else {
                0
            };
            target[filled..padded.max(filled)].fill(table[usize::from(slot.fill[source])]);
            target[padded.max(filled)..].fill(values.pad_value());
        }
    }
}

/// One source row resampled, planar, already shifted by the 4 bits that the vertical pass drops.
fn horizontal(row: &[u8], slot: &Slot, values: &Values, line: &mut [i32]) {
    let n = values.source_channels;
    for (c, part) in line.chunks_exact_mut(slot.columns.len().max(1)).enumerate() {
        let (source, _) = values.channel(c);
        for (value, tap) in part.iter_mut().zip(&slot.columns) {
            let a = i32::from(row[tap.first as usize * n + source]);
            let b = i32::from(row[tap.second as usize * n + source]);
            let [wa, wb] = tap.weights.map(i32::from);
            *value = (a * wa + b * wb) >> 4;
        }
    }
}

/// Bindings 0 and 1 of the kernel, for a whole batch.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Sizes, one header per picture, tables of taps: see the kernel's header.
    pub plan: Vec<u32>,
    /// The pixels of all pictures, each from a whole word on, four bytes a word (little endian).
    pub source: Vec<u8>,
    /// What to dispatch, in invocations: batch width, batch height, pictures.
    pub invocations: [u32; 3],
}

/// Words at the start of `plan`, and words of a picture's header.
const HEAD: usize = 6;
const PICTURE: usize = 9;

/// Lays a batch out for the kernel. `size`: width and height of the batch. `None` if it is too big
/// for 32-bit offsets.
///
/// # Panics
/// If pixels have another number than their slot says.
pub fn pack(batch: &[(&[u8], &Slot)], values: &Values, size: [usize; 2]) -> Option<Packed> {
    let bytes: usize = batch.iter().map(|(p, _)| p.len().next_multiple_of(4)).sum();
    u32::try_from(bytes).ok()?;
    let samples = batch.len().checked_mul(values.channels)?;
    u32::try_from(samples.checked_mul(size[0])?.checked_mul(size[1])?).ok()?;

    let mut source = Vec::with_capacity(bytes);
    let mut slots = Vec::with_capacity(batch.len());
    for (pixels, slot) in batch {
        let count = slot.source[0] * slot.source[1] * values.source_channels;
        assert_eq!(pixels.len(), count, "the source's pixels");
        slots.push((source.len(), *slot));
        source.extend_from_slice(pixels);
        source.resize(source.len().next_multiple_of(4), 0);
    }
    let plan = plan(&slots, values.source_channels, values, size)?;
    let invocations = [plan[3], plan[2], plan[0]];
    Some(Packed {
        plan,
        source,
        invocations,
    })
}

/// Binding 0 of the kernel, for pictures whose pixels begin at a byte of binding 1 and are `samples` bytes apart: 4 where a pixel is a
/// word. `None` if a size is too big for 32 bits.
pub fn plan(
    batch: &[(usize, &Slot)],
    samples: usize,
    values: &Values,
    size: [usize; 2],
) -> Option<Vec<u32>> {
    let word = |n: usize| u32::try_from(n).ok();
    let mut plan = vec![
        word(batch.len())?,
        word(values.channels)?,
        word(size[1])?,
        word(size[0])?,
        word(samples)?,
        u32::from(values.reversed),
    ];
    let mut tables = Vec::new();
    let tables_at = HEAD + batch.len() * PICTURE;
    for (first, slot) in batch {
        plan.extend([
            word(*first)?,
            word(slot.source[0])?,
            word(slot.columns.len())?,
            word(slot.rows.len())?,
            word(slot.padded[0])?,
            word(slot.padded[1])?,
            word(tables_at + tables.len())?,
            word(tables_at + tables.len() + slot.columns.len() * 3)?,
            u32::from_le_bytes(slot.fill),
        ]);
        for tap in slot.columns.iter().chain(&slot.rows) {
            let weights = u32::from(tap.weights[0]) | u32::from(tap.weights[1]) << 16;
            tables.extend([tap.first, tap.second, weights]);
        }
    }
    plan.append(&mut tables);
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::super::resize::{View, resize};
    use super::*;

    /// The same by single steps: resize, pad, swap, normalise, pad.
    fn by_steps(pixels: &[u8], slot: &Slot, values: &Values, size: [usize; 2]) -> Vec<f32> {
        let n = values.source_channels;
        let (w, h) = (slot.columns.len(), slot.rows.len());
        let view = View::new(pixels, slot.source[0], slot.source[1], n);
        let small = resize(view, w, h, Interpolation::Linear);
        let mut out = Vec::new();
        for c in 0..values.channels {
            let (from, table) = values.channel(c);
            for y in 0..size[1] {
                for x in 0..size[0] {
                    out.push(if x < w && y < h {
                        table[usize::from(small[(y * w + x) * n + from])]
                    } else if x < slot.padded[0] && y < slot.padded[1] {
                        table[usize::from(slot.fill[from])]
                    } else {
                        values.pad_value()
                    });
                }
            }
        }
        out
    }

    fn noise(n: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn equals_the_single_steps() {
        let mean_std = [(123.675, 58.395), (116.28, 57.12), (103.53, 57.375)];
        for (source, resized, padded, size) in [
            ([7, 5], [11, 8], [11, 8], [32, 32]),
            ([64, 63], [32, 65], [40, 65], [41, 66]),
            ([65, 64], [63, 32], [64, 64], [64, 64]),
            ([1, 9], [3, 3], [5, 3], [5, 7]),
            ([20, 30], [20, 30], [20, 31], [32, 32]),
            ([9, 1], [1, 1], [1, 1], [1, 1]),
        ] {
            for (n, reversed) in [(3, true), (3, false), (1, false), (4, true)] {
                let pairs = &mean_std[..if n == 3 || reversed { 3 } else { 1 }];
                let values = Values::new(n, reversed, pairs, -0.5);
                let fill = [114, 113, 112, 111];
                let slot = Slot::new(source, resized, padded, fill, Interpolation::Linear);
                let pixels = noise(source[0] * source[1] * n);
                let expected = by_steps(&pixels, &slot, &values, size);
                // in two parts, as two threads would
                let half = size[1] / 2;
                let mut out = vec![f32::NAN; expected.len()];
                for (first, rows) in [(0, half), (half, size[1] - half)] {
                    let mut planes: Vec<&mut [f32]> = out
                        .chunks_exact_mut(size[0] * size[1])
                        .map(|p| &mut p[first * size[0]..][..rows * size[0]])
                        .collect();
                    preprocess(&pixels, &slot, &values, size[0], first, &mut planes);
                }
                assert_eq!(
                    out, expected,
                    "{source:?} {resized:?} {padded:?} {size:?} {n}"
                );
            }
        }
    }

    #[test]
    fn by_hand() {
        // 2x1 BGR, not resized, filled to 3x1, batch 4x1: (v - 1) / 2 in RGB.
        let slot = Slot::new(
            [2, 1],
            [2, 1],
            [3, 1],
            [9, 11, 13, 0],
            Interpolation::Linear,
        );
        let values = Values::new(3, true, &[(1.0, 2.0)], 7.0);
        let mut out = [0.0; 12];
        let mut planes: Vec<&mut [f32]> = out.chunks_exact_mut(4).collect();
        preprocess(&[1, 3, 5, 2, 4, 6], &slot, &values, 4, 0, &mut planes);
        assert_eq!(
            out,
            [2.0, 2.5, 6.0, 7.0, 1.0, 1.5, 5.0, 7.0, 0.0, 0.5, 4.0, 7.0]
        );
    }

    #[test]
    fn packing() {
        let slot = Slot::new([1, 1], [1, 1], [1, 1], [1, 2, 3, 4], Interpolation::Linear);
        let values = Values::new(3, false, &[], 0.0);
        let pixels = [7, 8, 9];
        let packed = pack(&[(&pixels, &slot), (&pixels, &slot)], &values, [2, 3]).unwrap();
        assert_eq!(packed.source, [7, 8, 9, 0, 7, 8, 9, 0]);
        assert_eq!(packed.invocations, [2, 3, 2]);
        assert_eq!(packed.plan[..HEAD], [2, 3, 3, 2, 3, 0]);
        assert_eq!(
            packed.plan[HEAD + PICTURE..][..PICTURE],
            [4, 1, 1, 1, 1, 1, 30, 33, 0x0403_0201]
        );
        assert_eq!(packed.plan[30..], [0, 0, 2048, 0, 0, 2048]);
    }
}
