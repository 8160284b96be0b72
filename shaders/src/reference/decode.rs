//! Anchors and deltas to boxes: the twin of `nms/decode.wgsl`.
//!
//! The coder of Faster R-CNN (2015, arXiv:1506.01497, section 3.1.2) with the options of MMDetection's
//! `DeltaXYWHBBoxCoder`; widths without +1.

/// Box, x1 y1 x2 y2 in pixels.
pub type Xyxy = [f32; 4];

/// `DeltaXYWHBBoxCoder`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct DeltaCoder {
    /// Added to the deltas dx, dy, dw, dh after `stds`.
    pub means: [f32; 4],
    /// Factors of the deltas.
    pub stds: [f32; 4],
    /// Clip boxes to the picture.
    pub clip_border: bool,
    /// Bounds the change of width and height: |dw|, |dh| <= |ln(wh_ratio_clip)|.
    pub wh_ratio_clip: f64,
    /// Bound the shift of the centre by `ctr_clamp`, and dw, dh only from above (YOLOF).
    pub add_ctr_clamp: bool,
    /// Largest shift of the centre, px.
    pub ctr_clamp: f32,
    /// As MMDetection 1.x: a prior is a px wider and higher than its ends say, and a picture ends a px earlier.
    pub legacy: bool,
}

impl Default for DeltaCoder {
    fn default() -> Self {
        DeltaCoder {
            means: [0.0; 4],
            stds: [1.0; 4],
            clip_border: true,
            wh_ratio_clip: 16.0 / 1000.0,
            add_ctr_clamp: false,
            ctr_clamp: 32.0,
            legacy: false,
        }
    }
}

impl DeltaCoder {
    /// Largest |dw| and |dh|.
    pub fn max_ratio(&self) -> f32 {
        self.wh_ratio_clip.ln().abs() as f32
    }

    /// What is added to the size of a prior, and taken from that of a picture, px.
    pub fn extra(&self) -> f32 {
        if self.legacy { 1.0 } else { 0.0 }
    }

    /// The box that `deltas` make of `anchor`, clipped to a picture of height and width `img_shape` px.
    pub fn decode(&self, anchor: Xyxy, deltas: [f32; 4], img_shape: [f32; 2]) -> Xyxy {
        let max_ratio = self.max_ratio();
        let mut out = [0.0; 4];
        for axis in 0..2 {
            let (low, high) = (anchor[axis], anchor[axis + 2]);
            let (centre, size) = ((low + high) * 0.5, high - low + self.extra());
            let mut shift = size * (deltas[axis] * self.stds[axis] + self.means[axis]);
            let mut ratio = deltas[axis + 2] * self.stds[axis + 2] + self.means[axis + 2];
            // written so that NaN stays NaN, and an infinite delta does too: it means nothing
            if !shift.is_finite() || !ratio.is_finite() {
                return [f32::NAN; 4];
            }
            if self.add_ctr_clamp {
                shift = shift.max(-self.ctr_clamp).min(self.ctr_clamp);
                ratio = ratio.min(max_ratio);
            } else {
                ratio = ratio.max(-max_ratio).min(max_ratio);
            }
            let middle = centre + shift;
            let half = size * ratio.exp() * 0.5;
            out[axis] = middle - half;
            out[axis + 2] = middle + half;
            if self.clip_border {
                let limit = img_shape[1 - axis] - self.extra();
                out[axis] = out[axis].max(0.0).min(limit);
                out[axis + 2] = out[axis + 2].max(0.0).min(limit);
            }
        }
        out
    }
}

/// The anchor at row `y`, column `x`: a base anchor shifted by whole strides (x, y).
pub fn anchor(base: Xyxy, stride: [f32; 2], y: usize, x: usize) -> Xyxy {
    let (dx, dy) = (x as f32 * stride[0], y as f32 * stride[1]);
    [base[0] + dx, base[1] + dy, base[2] + dx, base[3] + dy]
}

/// A box that is one already, clipped to a picture of height and width `img_shape` px; NaN stays NaN.
pub fn clipped(b: Xyxy, img_shape: [f32; 2]) -> Xyxy {
    std::array::from_fn(|i| {
        if b[i].is_nan() {
            b[i]
        } else {
            b[i].max(0.0).min(img_shape[1 - i % 2])
        }
    })
}

/// A score and what is multiplied into it; `None` if that is no number between 0 and infinity.
pub fn product(score: f32, factor: f32) -> Option<f32> {
    let product = score * factor;
    (product >= 0.0 && product.is_finite()).then_some(product.abs())
}

/// Whether a box counts: finite, and wider and higher than `min_size` px unless that is negative.
pub fn is_valid(b: &Xyxy, min_size: f32) -> bool {
    b.iter().all(|v| v.is_finite())
        && (min_size < 0.0 || (b[2] - b[0] > min_size && b[3] - b[1] > min_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Xyxy, b: Xyxy) {
        for i in 0..4 {
            assert!((a[i] - b[i]).abs() < 1e-4, "{a:?} {b:?}");
        }
    }

    /// The table of Detectron's and MMDetection's documentation.
    #[test]
    fn known_table() {
        let coder = DeltaCoder::default();
        let unit = [0.0, 0.0, 1.0, 1.0];
        let on = |anchor, deltas| coder.decode(anchor, deltas, [32.0, 32.0]);
        close(on(unit, [0.0; 4]), unit);
        close(on(unit, [1.0; 4]), [0.1409, 0.1409, 2.8591, 2.8591]);
        close(
            on(unit, [0.0, 0.0, 2.0, -1.0]),
            [0.0, 0.3161, 4.1945, 0.6839],
        );
        close(on([5.0; 4], [0.7, -1.9, -0.5, 0.3]), [5.0; 4]);
    }

    #[test]
    fn options() {
        let mut coder = DeltaCoder {
            clip_border: false,
            ..DeltaCoder::default()
        };
        let anchor = [10.0, 10.0, 20.0, 20.0];
        // x by 10 widths: 100 px; ln(1000 / 16) = 4.135: 62.5 times as wide
        close(
            coder.decode(anchor, [10.0, 0.0, 99.0, 0.0], [50.0, 50.0]),
            [115.0 - 312.5, 10.0, 115.0 + 312.5, 20.0],
        );
        coder.add_ctr_clamp = true;
        close(
            coder.decode(anchor, [10.0, 0.0, 0.0, -99.0], [50.0, 50.0]),
            [42.0, 15.0, 52.0, 15.0],
        );
        coder.stds = [0.1, 0.1, 0.2, 0.2];
        coder.means = [0.5, 0.0, 0.0, 0.0];
        close(
            coder.decode(anchor, [10.0, 5.0, 0.0, 0.0], [50.0, 50.0]),
            [25.0, 15.0, 35.0, 25.0],
        );
        assert!(!is_valid(
            &coder.decode(anchor, [f32::NAN, 0.0, 0.0, 0.0], [50.0, 50.0]),
            -1.0
        ));
        assert!(!is_valid(&[5.0, 5.0, 5.0, 9.0], 0.0));
        assert!(is_valid(&[5.0, 5.0, 5.0, 9.0], -1.0));
    }

    #[test]
    fn what_is_no_number_is_no_box() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        // a distance of infinity reaches the border, as in MMDetection
        assert_eq!(
            clipped([-inf, 2.0, inf, 40.0], [30.0, 50.0]),
            [0.0, 2.0, 50.0, 30.0]
        );
        assert!(!is_valid(&clipped([nan, 2.0, 3.0, 4.0], [9.0; 2]), -1.0));
        assert_eq!(product(0.5, 0.5), Some(0.25));
        assert_eq!(product(0.0, -1.0).map(f32::to_bits), Some(0));
        assert_eq!(product(0.5, -0.1), None);
        assert_eq!(product(0.5, nan), None);
        assert_eq!(product(0.5, inf), None);
    }

    #[test]
    fn anchors_shift_by_strides() {
        assert_eq!(
            anchor([-2.0, -1.0, 2.0, 1.0], [8.0, 16.0], 3, 2),
            [14.0, 47.0, 18.0, 49.0]
        );
    }
}
