//! Small masks of boxes at the size of a picture: the twin of `roi/mask_paste.wgsl`.
//!
//! What `torch.nn.functional.grid_sample` (bilinear, zeros beyond, corners not aligned) gives at the middle of each pixel, as MMDetection 3.3.0
//! and Detectron2 paste masks (He et al. 2017, arXiv 1703.06870, section 3.1).

use super::decode::Xyxy;

/// What a pixel becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// 1 where the value is at least this, else 0.
    Threshold(f32),
    /// 255 times the value, cut to a whole number.
    Grey,
}

/// Where the pixels along an axis are read, from `first` on: the entry before, and the shares of it and the next one.
struct Axis {
    first: usize,
    taps: Vec<(usize, f32, f32)>,
}

impl Axis {
    /// `low` to `high` on `pixels` px; `entries` of the mask.
    fn new(low: f32, high: f32, pixels: usize, entries: usize) -> Self {
        let first = (low.floor() - 1.0).clamp(0.0, pixels as f32) as usize;
        let end = (high.ceil() + 1.0).clamp(0.0, pixels as f32) as usize;
        let tap = |pixel: usize| {
            let mut at = (pixel as f32 + 0.5 - low) / (high - low) * 2.0 - 1.0;
            if at.is_infinite() {
                at = 0.0;
            }
            let at = ((at + 1.0) * entries as f32 - 1.0) / 2.0;
            // Beyond the mask there are zeros; not a number is nowhere.
            if !(at > -1.0 && at < entries as f32) {
                return (0, 0.0, 0.0);
            }
            let (before, t) = (at.floor(), at - at.floor());
            match before {
                before if before < 0.0 => (0, t, 0.0),
                before if before as usize + 1 >= entries => (entries - 1, 1.0 - t, 0.0),
                before => (before as usize, 1.0 - t, t),
            }
        };
        Self {
            first,
            taps: (first..end).map(tap).collect(),
        }
    }
}

/// Writes the mask of `size` (height and width) over `bbox`, px, to a picture of `width` px a row.
///
/// # Panics
/// If the mask has another length than its size.
pub fn paste(
    mask: &[f32],
    [mask_height, mask_width]: [usize; 2],
    bbox: Xyxy,
    picture: &mut [u8],
    width: usize,
    level: Level,
) {
    assert_eq!(mask.len(), mask_height * mask_width, "numbers of a mask");
    let height = picture.len() / width.max(1);
    let down = Axis::new(bbox[1], bbox[3], height, mask_height);
    let across = Axis::new(bbox[0], bbox[2], width, mask_width);
    let mut line = vec![0.0; mask_width + 1];
    for (y, (row, above, below)) in down.taps.iter().enumerate() {
        let rows = &mask[row * mask_width..];
        let (first, second) = rows.split_at(mask_width);
        for (i, out) in line[..mask_width].iter_mut().enumerate() {
            *out = first[i] * above + second.get(i).map_or(0.0, |v| v * below);
        }
        let pixels = &mut picture[(down.first + y) * width + across.first..];
        for (pixel, (i, left, right)) in pixels.iter_mut().zip(&across.taps) {
            let value = line[*i] * left + line[i + 1] * right;
            *pixel = match level {
                Level::Threshold(threshold) => u8::from(value >= threshold),
                Level::Grey => (value * 255.0) as u8,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pasted(mask: &[f32], size: [usize; 2], bbox: Xyxy, level: Level) -> Vec<u8> {
        let mut picture = vec![0; 4 * 6];
        paste(mask, size, bbox, &mut picture, 6, level);
        picture
    }

    #[test]
    fn by_hand() {
        // One entry over two pixels each way: its middle is at (2, 2), and half a mask away there is nothing.
        let one = pasted(&[1.0], [1, 1], [1.0, 1.0, 3.0, 3.0], Level::Grey);
        let q = (0.75f32 * 0.75 * 255.0) as u8;
        let edge = (0.75f32 * 0.25 * 255.0) as u8;
        let corner = (0.25f32 * 0.25 * 255.0) as u8;
        #[rustfmt::skip]
        let expected = [
            corner, edge, edge, corner, 0, 0,
            edge, q, q, edge, 0, 0,
            edge, q, q, edge, 0, 0,
            corner, edge, edge, corner, 0, 0,
        ];
        assert_eq!(one, expected);
        // A pixel for each entry: themselves.
        let mask = [0.2, 0.6, 0.5, 0.4];
        let same = pasted(&mask, [2, 2], [2.0, 1.0, 4.0, 3.0], Level::Threshold(0.5));
        let set: Vec<usize> = (0..24).filter(|i| same[*i] == 1).collect();
        assert_eq!(set, [9, 14]);
    }

    #[test]
    fn boxes_beyond_the_picture_and_without_size() {
        let all = [1.0; 4];
        let half = Level::Threshold(0.5);
        let outside = pasted(&all, [2, 2], [-9.0, -9.0, -5.0, -5.0], half);
        assert_eq!(outside, [0; 24]);
        let around = pasted(&all, [2, 2], [-9.0, -9.0, 20.0, 20.0], half);
        assert_eq!(around, [1; 24]);
        // Where a box has no width every pixel near it is read at its middle.
        let flat = pasted(&all, [2, 2], [2.0, 0.0, 2.0, 4.0], half);
        assert_eq!(flat.iter().filter(|v| **v == 1).count(), 8, "{flat:?}");
        assert!(
            pasted(&all, [2, 2], [f32::NAN; 4], half)
                .iter()
                .all(|v| *v <= 1)
        );
    }
}
