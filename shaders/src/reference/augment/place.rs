//! Twin of `augment/place.wgsl`: every target column and row is a source column and row, or outside. Crops, pads,
//! shifts and mirrors.
//!
//! The borders are those of `cv2.copyMakeBorder`, also where they are wider than the source.

use crate::reference::resize::View;

/// In a list of source positions: the source has no such column or row.
pub const OUTSIDE: i32 = -1;

/// What lies outside of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The fill.
    Constant,
    /// The last pixel (`BORDER_REPLICATE`).
    Edge,
    /// Mirrored without the last pixel (`BORDER_REFLECT_101`).
    Reflect,
    /// Mirrored with the last pixel (`BORDER_REFLECT`).
    Symmetric,
}

/// Source positions along an axis of `target` pixels on which the `source` pixels begin at `at`.
///
/// # Panics
/// If there are no source pixels, or more than an `i32` counts.
pub fn window(source: usize, target: usize, at: i64, border: Border) -> Vec<i32> {
    let last = i32::try_from(source).expect("a length that fits an i32") - 1;
    assert!(last >= 0, "a source with pixels");
    let last = i64::from(last);
    let position = |x: i64| match border {
        Border::Constant => (0..=last).contains(&x).then_some(x),
        Border::Edge => Some(x.clamp(0, last)),
        Border::Reflect => {
            let turn = x.rem_euclid((2 * last).max(1));
            Some(turn.min(2 * last - turn))
        }
        Border::Symmetric => {
            let turn = x.rem_euclid(2 * last + 2);
            Some(turn.min(2 * last + 1 - turn))
        }
    };
    (0..target as i64)
        .map(|x| position(x.saturating_sub(at)).map_or(OUTSIDE, |x| x as i32))
        .collect()
}

/// Source positions of a mirrored axis.
pub fn mirror(source: usize) -> Vec<i32> {
    (0..source as i32).rev().collect()
}

/// Neighbouring target columns that are copied in one go.
enum Run {
    Fill { length: usize },
    Forward { from: usize, length: usize },
    Backward { from: usize, length: usize },
}

fn runs(columns: &[i32]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = columns;
    while let Some(&first) = rest.first() {
        let count = |step: i32| {
            let wanted = |k: usize| first + step * k as i32;
            (1..rest.len())
                .take_while(|&k| rest[k] == wanted(k))
                .count()
                + 1
        };
        let (length, run) = if first == OUTSIDE {
            let length = count(0);
            (length, Run::Fill { length })
        } else {
            let from = first as usize;
            match (count(1), count(-1).min(from + 1)) {
                (forward, backward) if forward >= backward => (
                    forward,
                    Run::Forward {
                        from,
                        length: forward,
                    },
                ),
                (_, length) => (length, Run::Backward { from, length }),
            }
        };
        runs.push(run);
        rest = &rest[length..];
    }
    runs
}

/// The target of `columns.len()` x `rows.len()` pixels; `fill` is one value per channel.
///
/// # Panics
/// If a position is beyond the source, or `fill` has another length than a pixel.
pub fn place<T: Copy>(source: View<'_, T>, columns: &[i32], rows: &[i32], fill: &[T]) -> Vec<T> {
    let channels = source.channels;
    assert_eq!(fill.len(), channels, "a value per channel");
    let stride = source.width * channels;
    let outside = fill.repeat(columns.len());
    let runs = runs(columns);
    let mut out = Vec::with_capacity(columns.len() * rows.len() * channels);
    for &y in rows {
        if y == OUTSIDE {
            out.extend_from_slice(&outside);
            continue;
        }
        let row = &source.pixels[y as usize * stride..][..stride];
        for run in &runs {
            match *run {
                Run::Fill { length } => out.extend_from_slice(&outside[..length * channels]),
                Run::Forward { from, length } => {
                    out.extend_from_slice(&row[from * channels..][..length * channels]);
                }
                Run::Backward { from, length } => {
                    let pixels = &row[(from + 1 - length) * channels..][..length * channels];
                    reversed(pixels, channels, &mut out);
                }
            }
        }
    }
    out
}

/// Appends pixels from the last to the first.
fn reversed<T: Copy>(pixels: &[T], channels: usize, out: &mut Vec<T>) {
    match channels {
        1 => out.extend(pixels.iter().rev()),
        3 => out.extend(pixels.as_chunks::<3>().0.iter().rev().flatten()),
        _ => out.extend(pixels.chunks_exact(channels).rev().flatten()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders() {
        // Source 0 1 2 3 with two pixels more on both sides, as in mmcv's words for `impad`.
        let axis = |border| window(4, 8, 2, border);
        assert_eq!(axis(Border::Constant), [-1, -1, 0, 1, 2, 3, -1, -1]);
        assert_eq!(axis(Border::Edge), [0, 0, 0, 1, 2, 3, 3, 3]);
        assert_eq!(axis(Border::Reflect), [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(axis(Border::Symmetric), [1, 0, 0, 1, 2, 3, 3, 2]);
        // Wider than the source, and a source of one pixel.
        assert_eq!(window(2, 7, 3, Border::Reflect), [1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(window(2, 7, 3, Border::Symmetric), [1, 1, 0, 0, 1, 1, 0]);
        for border in [Border::Edge, Border::Reflect, Border::Symmetric] {
            assert_eq!(window(1, 3, 1, border), [0; 3]);
        }
        // A crop, and far outside.
        assert_eq!(window(4, 2, -1, Border::Constant), [1, 2]);
        assert_eq!(window(4, 2, i64::MIN, Border::Constant), [-1, -1]);
        assert_eq!(window(4, 2, i64::MAX, Border::Edge), [0, 0]);
    }

    #[test]
    fn moved_and_mirrored() {
        // 1 2 3
        // 4 5 6
        let pixels = [1u8, 2, 3, 4, 5, 6];
        let source = View::new(&pixels, 3, 2, 1);
        let (ahead, back) = (window(3, 3, 0, Border::Constant), mirror(3));
        assert_eq!(place(source, &back, &[0, 1], &[0]), [3, 2, 1, 6, 5, 4]);
        assert_eq!(place(source, &ahead, &mirror(2), &[0]), [4, 5, 6, 1, 2, 3]);
        let (columns, rows) = (
            window(3, 4, 2, Border::Constant),
            window(2, 2, -1, Border::Constant),
        );
        assert_eq!(
            place(source, &columns, &rows, &[9]),
            [9, 9, 4, 5, 9, 9, 9, 9]
        );
    }

    #[test]
    fn as_pixel_by_pixel() {
        let mut random = crate::reference::random::Random::new(1);
        for (width, height) in [(1, 1), (1, 64), (63, 2), (64, 1), (65, 3)] {
            for channels in [1, 3, 4] {
                let pixels: Vec<u8> = (0..width * height * channels)
                    .map(|_| random.bits() as u8)
                    .collect();
                let source = View::new(&pixels, width, height, channels);
                let fill = [1, 2, 3, 4];
                // Any positions at all, in any order.
                let columns: Vec<i32> = (0..65)
                    .map(|_| (random.bits() % (width as u32 + 1)) as i32 - 1)
                    .collect();
                for columns in [
                    columns,
                    mirror(width),
                    window(width, 70, 3, Border::Symmetric),
                ] {
                    let rows = window(height, 5, 1, Border::Constant);
                    let out = place(source, &columns, &rows, &fill[..channels]);
                    for (i, &value) in out.iter().enumerate() {
                        let (at, c) = (i / channels, i % channels);
                        let (x, y) = (columns[at % columns.len()], rows[at / columns.len()]);
                        let wanted = if x < 0 || y < 0 {
                            fill[c]
                        } else {
                            pixels[(y as usize * width + x as usize) * channels + c]
                        };
                        assert_eq!(value, wanted);
                    }
                }
            }
        }
    }
}
