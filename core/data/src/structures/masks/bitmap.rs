//! One object's bitmap: OpenCV's and numpy's arithmetic as mmdet 3.3's `BitmapMasks` uses it.

use smalti_shaders::reference::augment::warp::{Positions, Weighed};

use super::{Bitmap, Direction};
use crate::structures::Xyxy;

/// Which source row and column each target row and column shows (`cv2.resize`, nearest).
pub(super) struct Lookup {
    columns: Vec<usize>,
    /// Offset of each row in the source.
    rows: Vec<usize>,
}

impl Lookup {
    pub(super) fn of(from: [usize; 2], to: [usize; 2]) -> Self {
        let axis = |from: usize, to: usize| -> Vec<usize> {
            let step = 1.0 / (to as f64 / from as f64);
            let last = from.saturating_sub(1);
            (0..to)
                .map(|i| ((i as f64 * step).floor() as usize).min(last))
                .collect()
        };
        Self {
            columns: axis(from[0], to[0]),
            rows: axis(from[1], to[1]).iter().map(|y| y * from[0]).collect(),
        }
    }

    pub(super) fn resize(&self, bitmap: &Bitmap) -> Bitmap {
        let width = self.columns.len();
        let mut out = vec![0; width * self.rows.len()];
        if bitmap.is_empty() || out.is_empty() {
            return out.into();
        }
        let mut last = None;
        for (y, start) in self.rows.iter().enumerate() {
            let at = y * width;
            if last == Some(start) {
                out.copy_within(at - width..at, at);
            } else {
                let row = &bitmap[*start..];
                for (to, x) in out[at..at + width].iter_mut().zip(&self.columns) {
                    *to = row[*x];
                }
            }
            last = Some(start);
        }
        out.into()
    }
}

/// Mirrored.
pub(super) fn flip(bitmap: &Bitmap, [width, _]: [usize; 2], direction: Direction) -> Bitmap {
    let mut out = bitmap.to_vec();
    match direction {
        // both ways is all pixels in the opposite order
        Direction::Diagonal => out.reverse(),
        _ if width == 0 => {}
        Direction::Horizontal => out.chunks_exact_mut(width).for_each(<[u8]>::reverse),
        Direction::Vertical => {
            let rows = bitmap.chunks_exact(width).rev();
            out.chunks_exact_mut(width)
                .zip(rows)
                .for_each(|(to, from)| to.copy_from_slice(from));
        }
    }
    out.into()
}

/// A canvas of `size` on which the source's pixel (0, 0) lies at `at`; the rest is `value`.
pub(super) fn window(
    bitmap: &Bitmap,
    from: [usize; 2],
    size: [usize; 2],
    at: [i64; 2],
    value: u8,
) -> Bitmap {
    if from == size && at == [0, 0] {
        return bitmap.clone();
    }
    let mut out = vec![value; size[0] * size[1]];
    // per axis: first pixel on the canvas, first pixel of the source, how many
    let overlap = |axis: usize| {
        let start = at[axis].clamp(0, size[axis] as i64);
        let end = at[axis].saturating_add(from[axis] as i64);
        let end = end.clamp(start, size[axis] as i64);
        let skipped = start.saturating_sub(at[axis]).max(0);
        (start as usize, skipped as usize, (end - start) as usize)
    };
    let ((x, sx, w), (y, sy, h)) = (overlap(0), overlap(1));
    if w > 0 {
        for row in 0..h {
            let to = (y + row) * size[0] + x;
            let source = (sy + row) * from[0] + sx;
            out[to..to + w].copy_from_slice(&bitmap[source..source + w]);
        }
    }
    out.into()
}

/// `cv2.warpAffine` of bitmaps of one `size`; positions are those that pictures have.
pub(super) struct Warp {
    /// `None`: the matrix is not finite, and nothing of the source is seen.
    positions: Option<Positions>,
    matrix: [[f64; 3]; 3],
    size: [usize; 2],
    linear: bool,
}

impl Warp {
    /// `matrix` is source to target.
    pub(super) fn new(matrix: &[[f64; 3]; 2], size: [usize; 2], linear: bool) -> Self {
        Self {
            positions: Positions::affine(matrix, size, linear),
            matrix: [matrix[0], matrix[1], [0.0, 0.0, 1.0]],
            size,
            linear,
        }
    }

    /// What lies outside is `fill`.
    pub(super) fn apply(&self, bitmap: &Bitmap, fill: f64) -> Bitmap {
        let fill = fill.round_ties_even() as u8;
        let [width, height] = self.size;
        let mut out = vec![fill; bitmap.len()];
        let Some(positions) = &self.positions else {
            return out.into();
        };
        let whole = [0, 0, width, height];
        let [x1, y1, x2, y2] = match fill {
            0 => reach(bbox(bitmap, self.size), &self.matrix, self.size),
            _ => whole,
        };
        let (w, h) = (width as i32, height as i32);
        let pixel = |x: i32, y: i32| {
            if (0..w).contains(&x) && (0..h).contains(&y) {
                bitmap[y as usize * width + x as usize]
            } else {
                fill
            }
        };
        let mut row = vec![[0; 2]; width];
        for y in y1..y2 {
            positions.row(y, &mut row);
            let out = &mut out[y * width..][x1..x2];
            for (to, &[x, y]) in out.iter_mut().zip(&row[x1..x2]) {
                *to = if self.linear {
                    let ([sx, fx], [sy, fy]) = ([x >> 5, x & 31], [y >> 5, y & 31]);
                    let (ex, ey) = (sx.saturating_add(1), sy.saturating_add(1));
                    let corners = [pixel(sx, sy), pixel(ex, sy), pixel(sx, ey), pixel(ex, ey)];
                    u8::weighed(corners, fx, fy)
                } else {
                    pixel(x, y)
                };
            }
        }
        out.into()
    }
}

/// The part `[x1, y1, x2, y2]` of a canvas to which a matrix can bring a box, with two pixels to spare: most masks cover little of
/// their picture.
fn reach(bbox: Xyxy, matrix: &[[f64; 3]; 3], size: [usize; 2]) -> [usize; 4] {
    let [x1, y1, x2, y2] = bbox.map(f64::from);
    let mut bounds = [
        f64::INFINITY,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
    ];
    for (x, y) in [(x1, y1), (x2, y1), (x1, y2), (x2, y2)] {
        let [x, y, w] = matrix.map(|[a, b, c]| a * x + b * y + c);
        let (x, y) = (x / w, y / w);
        if w.is_nan() || w <= 0.0 || !x.is_finite() || !y.is_finite() {
            // seen from behind: anywhere
            return [0, 0, size[0], size[1]];
        }
        bounds = [
            bounds[0].min(x),
            bounds[1].min(y),
            bounds[2].max(x),
            bounds[3].max(y),
        ];
    }
    // `as` saturates
    let [x1, y1] = [0, 1].map(|i| ((bounds[i] - 2.0).floor() as usize).min(size[i]));
    let [x2, y2] = [0, 1].map(|i| ((bounds[i + 2] + 3.0).ceil() as usize).min(size[i]));
    [x1, y1, x2.max(x1), y2.max(y1)]
}

/// Through a 3x3 matrix (source to target) and its inverse, by nearest pixel; outside is 0.
pub(super) fn warp(
    bitmap: &Bitmap,
    from: [usize; 2],
    [matrix, inverse]: [&[[f64; 3]; 3]; 2],
    size: [usize; 2],
) -> Bitmap {
    let [w, h] = from.map(|v| v as f64);
    let mut out = vec![0; size[0] * size[1]];
    let [x1, y1, x2, y2] = reach(bbox(bitmap, from), matrix, size);
    for y in y1..y2 {
        for x in x1..x2 {
            let [sx, sy, sw] = inverse.map(|[a, b, c]| a * x as f64 + b * y as f64 + c);
            // a half is added before rounding down; NaN and infinite fail the test
            let (sx, sy) = ((sx / sw + 0.5).floor(), (sy / sw + 0.5).floor());
            if sx >= 0.0 && sy >= 0.0 && sx < w && sy < h {
                out[y * size[0] + x] = bitmap[sy as usize * from[0] + sx as usize];
            }
        }
    }
    out.into()
}

/// Sum of the values.
pub(super) fn area(bitmap: &[u8]) -> f64 {
    bitmap.iter().map(|v| u64::from(*v)).sum::<u64>() as f64
}

/// Around what is set; 0 if nothing is.
pub(super) fn bbox(bitmap: &Bitmap, [width, _]: [usize; 2]) -> Xyxy {
    if width == 0 {
        return [0.0; 4];
    }
    let (mut x1, mut x2, mut y1, mut y2) = (width, 0, usize::MAX, 0);
    for (y, row) in bitmap.chunks_exact(width).enumerate() {
        let Some(first) = row.iter().position(|v| *v != 0) else {
            continue;
        };
        let last = row.iter().rposition(|v| *v != 0).unwrap_or(first);
        (x1, x2) = (x1.min(first), x2.max(last + 1));
        (y1, y2) = (y1.min(y), y + 1);
    }
    if x2 == 0 {
        return [0.0; 4];
    }
    [x1, y1, x2, y2].map(|v| v as f32)
}
