//! Boxes: `[x1, y1, x2, y2]` in pixels, x2 and y2 exclusive. Arithmetic in f32 as torch does it.

use super::masks::Direction;

/// One box.
pub type Xyxy = [f32; 4];

/// Times a factor in x and y.
pub fn rescale(boxes: &mut [Xyxy], factor: [f32; 2]) {
    for b in boxes {
        *b = [
            b[0] * factor[0],
            b[1] * factor[1],
            b[2] * factor[0],
            b[3] * factor[1],
        ];
    }
}

/// Moved by a distance in x and y, px.
pub fn translate(boxes: &mut [Xyxy], by: [f32; 2]) {
    for b in boxes {
        *b = [b[0] + by[0], b[1] + by[1], b[2] + by[0], b[3] + by[1]];
    }
}

/// Cut at the border of a picture of `[width, height]`, px. NaN stays.
pub fn clip(boxes: &mut [Xyxy], size: [usize; 2]) {
    let [w, h] = size.map(|v| v as f32);
    for b in boxes {
        // `clamp` panics only on a limit that is no number
        *b = [
            b[0].clamp(0.0, w),
            b[1].clamp(0.0, h),
            b[2].clamp(0.0, w),
            b[3].clamp(0.0, h),
        ];
    }
}

/// Which boxes overlap a picture of `[width, height]` (mmdet's `is_inside(all_inside=False)`).
pub fn inside(boxes: &[Xyxy], size: [usize; 2]) -> Vec<bool> {
    let [w, h] = size.map(|v| v as f32);
    boxes
        .iter()
        .map(|b| b[0] < w && b[1] < h && b[2] > 0.0 && b[3] > 0.0)
        .collect()
}

/// Boxes around the four corners after a 3x3 matrix (rows; perspective divide included), as mmdet's `project_`: all in f32.
pub fn project(boxes: &mut [Xyxy], matrix: &[[f64; 3]; 3]) {
    let matrix = matrix.map(|row| row.map(|v| v as f32));
    // torch's min and max keep a NaN
    let least = |a: f32, b: f32| if a.is_nan() || a < b { a } else { b };
    let most = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
    for b in boxes {
        let [x1, y1, x2, y2] = *b;
        let corners = [[x1, y1], [x2, y1], [x1, y2], [x2, y2]].map(|[x, y]| {
            let [x, y, w] = matrix.map(|[a, b, c]| a * x + b * y + c);
            [x / w, y / w]
        });
        let fold = |axis: usize, f: &dyn Fn(f32, f32) -> f32| {
            corners[1..]
                .iter()
                .fold(corners[0][axis], |a, c| f(a, c[axis]))
        };
        *b = [
            fold(0, &least),
            fold(1, &least),
            fold(0, &most),
            fold(1, &most),
        ];
    }
}

/// Mirrored with a picture of `[width, height]`, px.
pub fn flip(boxes: &mut [Xyxy], size: [usize; 2], direction: Direction) {
    let [w, h] = size.map(|v| v as f32);
    for b in boxes {
        if direction != Direction::Vertical {
            (b[0], b[2]) = (w - b[2], w - b[0]);
        }
        if direction != Direction::Horizontal {
            (b[1], b[3]) = (h - b[3], h - b[1]);
        }
    }
}

/// Width times height; negative if exactly one of them is.
pub fn area(b: &Xyxy) -> f32 {
    (b[2] - b[0]) * (b[3] - b[1])
}

/// What the overlap of two boxes is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The area of their union.
    Iou,
    /// The area of the first ("foreground").
    Iof,
}

/// Overlaps of each of `first` with each of `second`, row after row (mmdet's `bbox_overlaps`, `eps` 1e-6).
pub fn overlaps(first: &[Xyxy], second: &[Xyxy], mode: Overlap) -> Vec<f32> {
    let mut out = Vec::with_capacity(first.len() * second.len());
    for a in first {
        for b in second {
            out.push(overlap(a, b, mode));
        }
    }
    out
}

/// Overlap of two boxes; see [`overlaps`].
pub fn overlap(a: &Xyxy, b: &Xyxy, mode: Overlap) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let both = width * height;
    let whole = match mode {
        Overlap::Iou => area(a) + area(b) - both,
        Overlap::Iof => area(a),
    };
    both / whole.max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projected() {
        let mut boxes = [[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, f32::NAN, 2.0]];
        // a quarter turn and 5 px to the right
        project(
            &mut boxes,
            &[[0.0, -1.0, 5.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
        );
        assert_eq!(boxes[0], [4.0, 0.0, 5.0, 2.0]);
        assert!(
            boxes[1][0].is_nan() && boxes[1][1].is_nan(),
            "as torch's min"
        );
        let mut boxes = [[0.0, 0.0, 2.0, 1.0]];
        project(
            &mut boxes,
            &[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]],
        );
        assert_eq!(boxes, [[0.0, 0.0, 1.0, 1.0]], "divided by 1 and 2");
    }

    #[test]
    fn clipped_and_inside() {
        let mut boxes = [[-1.0, f32::NAN, 9.0, f32::INFINITY]];
        clip(&mut boxes, [4, 3]);
        assert_eq!([boxes[0][0], boxes[0][2], boxes[0][3]], [0.0, 4.0, 3.0]);
        assert!(boxes[0][1].is_nan());
        let boxes = [[-2.0, 0.0, 0.0, 1.0], [3.5, 2.5, 9.0, 9.0], [f32::NAN; 4]];
        assert_eq!(inside(&boxes, [4, 3]), [false, true, false]);
    }

    #[test]
    fn mirrored() {
        let mut boxes = [[1.0, 2.0, 3.0, 5.0]];
        flip(&mut boxes, [10, 20], Direction::Horizontal);
        assert_eq!(boxes, [[7.0, 2.0, 9.0, 5.0]]);
        flip(&mut boxes, [10, 20], Direction::Diagonal);
        assert_eq!(boxes, [[1.0, 15.0, 3.0, 18.0]]);
    }

    #[test]
    fn overlapping() {
        let boxes = [[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [3.0; 4]];
        let iou = overlaps(&boxes[..1], &boxes, Overlap::Iou);
        assert_eq!(iou, [1.0, 50.0 / 150.0, 0.0]);
        assert_eq!(overlap(&boxes[0], &boxes[1], Overlap::Iof), 0.5);
        assert_eq!(overlap(&boxes[2], &boxes[2], Overlap::Iou), 0.0, "no area");
    }
}
