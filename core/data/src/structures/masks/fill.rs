//! Filling polygons exactly as pycocotools does (`rleFrPoly` of its maskApi, then `merge`).
//!
//! There a ring's corners are rounded to a fifth of a pixel, its edges walked in steps of that size, and wherever the walk
//! passes the middle of a pixel's column, the column is toggled from that height on. We compute the same toggles directly, column by column,
//! so that a huge ring costs no more than the canvas is wide.

use super::{Bitmap, Polygon};

/// Steps in a pixel.
const SCALE: f64 = 5.0;

/// One object's rings, united. Rings of fewer than three points or with an odd number of values are empty.
pub fn polygon_to_bitmap(polygon: &Polygon, width: usize, height: usize) -> Bitmap {
    let mut out = vec![0; width * height];
    if out.is_empty() {
        return out.into();
    }
    let mut rings = polygon
        .iter()
        .filter(|r| r.len() >= 6 && r.len().is_multiple_of(2));
    if let Some(ring) = rings.next() {
        fill(ring, [width, height], &mut out);
    }
    let mut one = Vec::new();
    for ring in rings {
        one.clear();
        one.resize(out.len(), 0);
        fill(ring, [width, height], &mut one);
        out.iter_mut().zip(&one).for_each(|(all, v)| *all |= v);
    }
    out.into()
}

/// Fills one ring into zeros.
fn fill(ring: &[f64], size: [usize; 2], out: &mut [u8]) {
    let [width, height] = size;
    let mut first = height;
    toggles(ring, size, |x, y| {
        if y < height {
            out[y * width + x] ^= 1;
            first = first.min(y);
        }
    });
    // a pixel is set if an odd number of toggles lies at or above it
    for y in first + 1..height {
        let (above, row) = out[(y - 1) * width..].split_at_mut(width);
        row[..width]
            .iter_mut()
            .zip(above)
            .for_each(|(v, a)| *v ^= *a);
    }
}

/// Tells of every column and height from which on a ring toggles pixels; the height may be the canvas', for none.
pub(super) fn toggles(
    ring: &[f64],
    [width, height]: [usize; 2],
    mut toggle: impl FnMut(usize, usize),
) {
    // C's cast truncates; beyond its range it is undefined, here it saturates
    let corners: Vec<[i64; 2]> = ring
        .chunks_exact(2)
        .map(|p| [p[0], p[1]].map(|v| i64::from((SCALE * v + 0.5) as i32)))
        .collect();
    let mut at_step = |x: usize, step: i64| {
        let y = ((step as f64 + 0.5) / SCALE - 0.5).clamp(0.0, height as f64);
        toggle(x, y.ceil() as usize);
    };
    for (i, from) in corners.iter().enumerate() {
        let to = corners[(i + 1) % corners.len()];
        edge(*from, to, width, &mut at_step);
    }
}

/// Tells of every column whose middle an edge passes, with the height there, in steps.
fn edge(from: [i64; 2], to: [i64; 2], width: usize, toggle: &mut impl FnMut(usize, i64)) {
    let [dx, dy] = [(from[0] - to[0]).abs(), (from[1] - to[1]).abs()];
    if dx == 0 {
        return;
    }
    let flat = dx >= dy;
    let flip = if flat {
        from[0] > to[0]
    } else {
        from[1] > to[1]
    };
    let ([xs, ys], [xe, ye]) = if flip { (to, from) } else { (from, to) };
    let slope = if flat {
        (ye - ys) as f64 / dx as f64
    } else {
        (xe - xs) as f64 / dy as f64
    };
    // where the walk is after t steps
    let round = |start: i64, t: i64| (start as f64 + slope * t as f64 + 0.5) as i64;
    let at = |t: i64| {
        if flat {
            [xs + t, round(ys, t)]
        } else {
            [round(xs, t), ys + t]
        }
    };
    let steps = dx.max(dy);
    let (left, right) = (xs.min(xe), xs.max(xe));
    // the middle of column c lies between 5c + 2 and 5c + 3
    let first = (left - 2 + 4).div_euclid(5).max(0);
    let last = (right - 3).div_euclid(5).min(width as i64 - 1);
    for column in first..=last {
        let (before, after) = (column * 5 + 2, column * 5 + 3);
        // the last step on the one side: exact if flat, else an estimate that is corrected by looking
        let mut t = if flat {
            before - xs
        } else if slope > 0.0 {
            ((after as f64 - 0.5 - xs as f64) / slope).floor() as i64
        } else {
            ((before as f64 + 0.5 - xs as f64) / slope).floor() as i64
        };
        let passed = |t: i64| {
            if slope > 0.0 || flat {
                at(t)[0] >= after
            } else {
                at(t)[0] <= before
            }
        };
        t = t.clamp(0, steps - 1);
        while t > 0 && passed(t) {
            t -= 1;
        }
        while t < steps - 1 && !passed(t + 1) {
            t += 1;
        }
        if passed(t + 1) && !passed(t) {
            toggle(column as usize, at(t)[1].min(at(t + 1)[1]));
        }
    }
}
