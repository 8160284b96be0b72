//! Curves as they are drawn: smoothed, and thinned to the least and the greatest value of each column of pixels, so that no spike is lost.

use super::log::Points;

/// Thins values that come in order.
#[derive(Clone, Debug)]
pub struct Columns {
    from: f64,
    width: f64,
    column: Option<(i64, [f64; 2], [f64; 2])>,
    thinned: Points,
}

impl Columns {
    /// Columns of this width, the first from `from` on.
    pub fn new(from: f64, width: f64) -> Self {
        Self {
            from,
            width: if width > 0.0 { width } else { 1.0 },
            column: None,
            thinned: Points::new(),
        }
    }

    /// Adds a value; what is no number leaves a gap that is not seen.
    pub fn push(&mut self, point: [f64; 2]) {
        let [x, y] = point;
        if !y.is_finite() {
            return;
        }
        let at = ((x - self.from) / self.width).floor() as i64;
        match &mut self.column {
            Some((column, least, most)) if *column == at => {
                if y < least[1] {
                    *least = point;
                }
                if y > most[1] {
                    *most = point;
                }
            }
            _ => {
                self.close();
                self.column = Some((at, point, point));
            }
        }
    }

    fn close(&mut self) {
        let Some((_, least, most)) = self.column.take() else {
            return;
        };
        let (first, last) = if least[0] <= most[0] {
            (least, most)
        } else {
            (most, least)
        };
        self.thinned.push(first);
        if last != first {
            self.thinned.push(last);
        }
    }

    /// The values that are left, in order.
    pub fn points(mut self) -> Points {
        self.close();
        self.thinned
    }
}

/// The values in a range, and one on each side of it, thinned to so many columns.
pub fn thinned(points: &[[f64; 2]], from: f64, to: f64, columns: usize) -> Points {
    let begin = points.partition_point(|[x, _]| *x < from).saturating_sub(1);
    let end = (points.partition_point(|[x, _]| *x <= to) + 1).min(points.len());
    let mut thin = Columns::new(from, (to - from) / columns.max(1) as f64);
    points[begin.min(end)..end]
        .iter()
        .for_each(|p| thin.push(*p));
    thin.points()
}

/// A curve's moving average, kept up as values come: each counts `weight` times as much as the one after it.
#[derive(Clone, Debug, Default)]
pub struct Smooth {
    weight: f64,
    sum: f64,
    mass: f64,
    /// The last value that is in them.
    last: Option<[f64; 2]>,
    /// The averages.
    pub points: Points,
}

impl Smooth {
    /// Follows a curve that may have grown since, or is another one.
    pub fn follow(&mut self, points: &[[f64; 2]], weight: f64) {
        let bits = |point: Option<[f64; 2]>| point.map(|p| p.map(f64::to_bits));
        let known = self.points.len().checked_sub(1);
        let there = known.and_then(|i| points.get(i)).copied();
        let same = self.weight == weight && bits(there) == bits(self.last);
        if !same {
            *self = Self {
                weight,
                ..Self::default()
            };
        }
        self.last = points.last().copied();
        for [x, y] in &points[self.points.len()..] {
            if y.is_finite() {
                self.sum = self.sum * weight + y;
                self.mass = self.mass * weight + 1.0;
            }
            let y = if self.mass > 0.0 {
                self.sum / self.mass
            } else {
                f64::NAN
            };
            self.points.push([*x, y]);
        }
    }
}

/// The value at this place: of the last point that is not beyond it.
pub fn at(points: &[[f64; 2]], x: f64) -> Option<f64> {
    let behind = points.partition_point(|p| p[0] <= x);
    points[..behind].last().map(|p| p[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_stay() {
        let mut points: Points = (0..100_000).map(|i| [f64::from(i), 1.0]).collect();
        (points[12_345][1], points[50_000][1]) = (9.0, -3.0);
        points[7][1] = f64::NAN;
        let thin = thinned(&points, 0.0, 100_000.0, 200);
        assert!(thin.len() <= 404, "{}", thin.len());
        assert!(thin.contains(&[12_345.0, 9.0]) && thin.contains(&[50_000.0, -3.0]));
        assert!(thin.is_sorted_by(|a, b| a[0] <= b[0]));
        // a part of it, with what comes before and after
        let few = thinned(&points, 10.0, 12.0, 200);
        assert_eq!(
            few.iter().map(|p| p[0]).collect::<Vec<_>>(),
            [9.0, 10.0, 11.0, 12.0, 13.0]
        );
        assert!(thinned(&[], 0.0, 1.0, 9).is_empty());
    }

    #[test]
    fn an_average_follows_its_curve() {
        let mut smooth = Smooth::default();
        let mut points = vec![[1.0, 4.0], [2.0, 1.0]];
        smooth.follow(&points, 0.5);
        assert_eq!(smooth.points, [[1.0, 4.0], [2.0, 2.0]]);
        points.push([3.0, f64::NAN]);
        smooth.follow(&points, 0.5);
        assert_eq!(smooth.points[2], [3.0, 2.0]);
        smooth.follow(&points, 0.0);
        assert_eq!(smooth.points[1], [2.0, 1.0]);
        // another curve
        smooth.follow(&[[1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [4.0, 7.0]], 0.0);
        assert_eq!(smooth.points[0], [1.0, 7.0]);
        assert_eq!((at(&points, 2.5), at(&points, 0.0)), (Some(1.0), None));
    }
}
