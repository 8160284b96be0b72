//! One object's polygons: the arithmetic of mmdet 3.3's `PolygonMasks`, in f64.

use super::{Direction, Polygon};
use crate::structures::Xyxy;

/// Every point through a function.
fn points(polygon: &Polygon, f: impl Fn([f64; 2]) -> [f64; 2]) -> Polygon {
    let ring = |ring: &Vec<f64>| {
        let mut out = ring.clone();
        for point in out.chunks_exact_mut(2) {
            point.copy_from_slice(&f([point[0], point[1]]));
        }
        out
    };
    polygon.iter().map(ring).collect()
}

/// As `np.clip(v, 0, most)`: NaN stays.
fn clip(v: f64, most: usize) -> f64 {
    v.clamp(0.0, most as f64)
}

/// `resize`.
pub(super) struct Scale([f64; 2]);

impl Scale {
    pub(super) fn of(from: [usize; 2], to: [usize; 2]) -> Self {
        Self([0, 1].map(|i| to[i] as f64 / from[i] as f64))
    }

    pub(super) fn apply(&self, polygon: &Polygon) -> Polygon {
        points(polygon, |[x, y]| [x * self.0[0], y * self.0[1]])
    }
}

/// `flip`.
pub(super) fn flip(
    polygon: &Polygon,
    [width, height]: [usize; 2],
    direction: Direction,
) -> Polygon {
    let (w, h) = (width as f64, height as f64);
    points(polygon, |[x, y]| match direction {
        Direction::Horizontal => [w - x, y],
        Direction::Vertical => [x, h - y],
        Direction::Diagonal => [w - x, h - y],
    })
}

/// Moved.
pub(super) fn offset(polygon: &Polygon, [dx, dy]: [f64; 2]) -> Polygon {
    points(polygon, |[x, y]| [x + dx, y + dy])
}

/// `translate`: moved along one axis, points end at the border there.
pub(super) fn translate(
    polygon: &Polygon,
    size: [usize; 2],
    offset: f64,
    horizontal: bool,
) -> Polygon {
    points(polygon, |[x, y]| {
        if horizontal {
            [clip(x + offset, size[0]), y]
        } else {
            [x, clip(y + offset, size[1])]
        }
    })
}

/// `shear` and `rotate`: points through a matrix, ending at the border.
pub(super) fn affine(polygon: &Polygon, matrix: &[[f64; 3]; 2], size: [usize; 2]) -> Polygon {
    points(polygon, |[x, y]| {
        let [x, y] = matrix.map(|[a, b, c]| a * x + b * y + c);
        [clip(x, size[0]), clip(y, size[1])]
    })
}

/// Through a 3x3 matrix, with the perspective divide.
pub(super) fn project(polygon: &Polygon, matrix: &[[f64; 3]; 3]) -> Polygon {
    points(polygon, |[x, y]| {
        let [x, y, w] = matrix.map(|[a, b, c]| a * x + b * y + c);
        [x / w, y / w]
    })
}

/// Twice the area, positive if counter-clockwise with y up.
pub(super) fn twice_signed_area(ring: &[f64]) -> f64 {
    let points = ring.chunks_exact(2);
    let next = ring.chunks_exact(2).cycle().skip(1);
    points
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum()
}

/// `areas`: the rings' areas added up.
pub(super) fn area(polygon: &Polygon) -> f64 {
    polygon
        .iter()
        .map(|ring| 0.5 * twice_signed_area(ring).abs())
        .sum()
}

/// `HorizontalBoxes.from_instance_masks`: around the points, from 0 and twice the canvas at most.
pub(super) fn bbox(polygon: &Polygon, [width, height]: [usize; 2]) -> Xyxy {
    let mut out = [(width * 2) as f32, (height * 2) as f32, 0.0, 0.0];
    // numpy's minimum and maximum, unlike Rust's, keep a NaN
    let keep = |old: f32, new: f32, better: bool| {
        if old.is_nan() || !(better || new.is_nan()) {
            old
        } else {
            new
        }
    };
    for point in polygon.iter().flat_map(|ring| ring.chunks_exact(2)) {
        for axis in 0..2 {
            let v = point[axis] as f32;
            out[axis] = keep(out[axis], v, v < out[axis]);
            out[axis + 2] = keep(out[axis + 2], v, v > out[axis + 2]);
        }
    }
    out
}
