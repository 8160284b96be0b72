//! Strokes: lines at sub-pixel positions, of no more points than can be seen, and the areas below them.

use super::super::{Area, Canvas};
use super::paper::tint;

/// Points of a line without a gap, px from the corner of the frame.
pub(super) type Stroke = Vec<[f64; 2]>;

/// Points of each stroke, px from the corner of the frame; at most four a column of pixels.
pub(super) fn thinned(points: impl Iterator<Item = Option<[f64; 2]>>) -> Vec<Stroke> {
    /// The first, the extremes and the last of a column, in their order.
    fn end(column: &mut Vec<[f64; 2]>, stroke: &mut Vec<[f64; 2]>) {
        if column.len() <= 4 {
            stroke.append(column);
            return;
        }
        let by = |i: &usize, j: &usize| column[*i][1].total_cmp(&column[*j][1]);
        let all = 0..column.len();
        let low = all.clone().min_by(by).unwrap_or(0);
        let high = all.max_by(by).unwrap_or(0);
        let mut kept = [0, low, high, column.len() - 1];
        kept.sort_unstable();
        stroke.extend(kept.map(|i| column[i]));
        column.clear();
    }
    let (mut strokes, mut stroke, mut column) = (Vec::new(), Vec::new(), Vec::<[f64; 2]>::new());
    for point in points {
        let Some(point) = point else {
            end(&mut column, &mut stroke);
            strokes.push(std::mem::take(&mut stroke));
            continue;
        };
        if column
            .first()
            .is_some_and(|p| p[0].floor() != point[0].floor())
        {
            end(&mut column, &mut stroke);
        }
        column.push(point);
    }
    end(&mut column, &mut stroke);
    strokes.push(stroke);
    strokes.retain(|s| !s.is_empty());
    strokes
}

/// Draws strokes two pixels wide within the frame.
pub(super) fn stroke(canvas: &mut Canvas, frame: Area, strokes: &[Stroke], ink: [u8; 3]) {
    const RADIUS: f64 = 1.0;
    // Cover first, then ink: where pieces of a line meet it is as dark as elsewhere.
    let [w, h] = [frame.x2 - frame.x1, frame.y2 - frame.y1].map(|v| v as usize + 1);
    let mut cover = vec![0_f32; w * h];
    let mut piece = |a: [f64; 2], b: [f64; 2]| {
        let Some([a, b]) = within(a, b, [w as f64 + 8.0, h as f64 + 8.0]) else {
            return;
        };
        let reach = RADIUS + 1.0;
        let range = |axis: usize, most: usize| {
            let low = (a[axis].min(b[axis]) - reach).floor().max(0.0) as usize;
            let high = (a[axis].max(b[axis]) + reach).ceil().max(0.0) as usize;
            low.min(most)..high.min(most)
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        for y in range(1, h) {
            for x in range(0, w) {
                let from = [x as f64 - a[0], y as f64 - a[1]];
                let t = if length > 0.0 {
                    ((from[0] * along[0] + from[1] * along[1]) / length).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let off = [from[0] - t * along[0], from[1] - t * along[1]];
                let distance = off[0].hypot(off[1]);
                let value = (RADIUS + 0.5 - distance).clamp(0.0, 1.0) as f32;
                let there = &mut cover[y * w + x];
                *there = there.max(value);
            }
        }
    };
    for points in strokes {
        if let [one] = points[..] {
            piece(one, one);
        }
        points.windows(2).for_each(|pair| piece(pair[0], pair[1]));
    }
    for (i, alpha) in cover.into_iter().enumerate().filter(|(_, a)| *a > 0.0) {
        let (x, y) = ((i % w) as i64, (i / w) as i64);
        canvas.blend(frame.x1 + x, frame.y1 + y, ink, alpha);
    }
}

/// The part of a piece of line that lies between -8 and `most`; `None` if there is none.
fn within(a: [f64; 2], b: [f64; 2], most: [f64; 2]) -> Option<[[f64; 2]; 2]> {
    let (mut from, mut to) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let along = b[axis] - a[axis];
        for (limit, sign) in [(-8.0, 1.0), (most[axis], -1.0)] {
            let (start, slope) = (sign * (a[axis] - limit), sign * along);
            if slope == 0.0 {
                if start < 0.0 {
                    return None;
                }
            } else if slope > 0.0 {
                from = from.max(-start / slope);
            } else {
                to = to.min(-start / slope);
            }
        }
    }
    let at = |t: f64| [0, 1].map(|k| a[k] + t * (b[k] - a[k]));
    (from <= to).then(|| [at(from), at(to)])
}

/// Fills what lies below strokes.
pub(super) fn fill_below(canvas: &mut Canvas, frame: Area, strokes: &[Stroke], ink: [u8; 3]) {
    for points in strokes {
        for x in 0..=frame.x2 - frame.x1 {
            let at = x as f64;
            let over = points.windows(2).find(|p| p[0][0] <= at && at <= p[1][0]);
            let Some([a, b]) = over.map(|p| [p[0], p[1]]) else {
                continue;
            };
            let t = if b[0] > a[0] {
                (at - a[0]) / (b[0] - a[0])
            } else {
                0.0
            };
            let y = (a[1] + t * (b[1] - a[1])).round().clamp(-1e9, 1e9) as i64;
            let column = Area {
                x1: frame.x1 + x,
                x2: frame.x1 + x + 1,
                y1: (frame.y1 + y).max(frame.y1),
                y2: frame.y2 + 1,
            };
            canvas.fill(column, tint(ink), 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_are_few() {
        let points = (0..1_000_000).map(|i| Some([f64::from(i) / 1e4, f64::from(i % 7)]));
        let strokes = thinned(points);
        assert!(strokes[0].len() <= 400, "{}", strokes[0].len());
    }
}
