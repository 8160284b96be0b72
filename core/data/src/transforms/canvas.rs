//! What transforms that put pixels on a canvas share: values as numpy assigns them, and the limit on sizes.

use crate::image::{Depth, Image};
use crate::picture::Fault;
use crate::size_limits;

/// Values for the channels of an image, as numpy stores them on assignment: one stands for all; a u8 truncates and wraps.
pub(super) fn stored(values: &[f64], image: &Image) -> Result<Vec<f64>, Fault> {
    let channels = image.channels();
    if values.len() != 1 && values.len() != channels {
        return Err(Fault::Transform(format!(
            "{} values to fill with, but the picture has {channels} channels",
            values.len()
        )));
    }
    let value = |v: f64| match image.depth() {
        Depth::U8 => f64::from(v as i64 as u8),
        Depth::F32 => f64::from(v as f32),
    };
    let all = values.iter().cycle().take(channels);
    Ok(all.map(|v| value(*v)).collect())
}

/// Width and height that a picture may have.
pub(super) fn checked([width, height]: [usize; 2]) -> Result<[usize; 2], Fault> {
    if width == 0 || height == 0 {
        let message = format!("a picture of {width}x{height} pixels was asked for");
        return Err(Fault::Transform(message));
    }
    size_limits::check([width, height])?;
    Ok([width, height])
}

/// A rectangle `[x1, y1, x2, y2]` cut at the border of a picture of `[width, height]`; `None` where nothing is left.
pub(super) fn cut(rect: [i64; 4], [width, height]: [usize; 2]) -> Option<[usize; 4]> {
    let inside = |v: i64, side: usize| v.clamp(0, side as i64) as usize;
    let [x1, y1, x2, y2] = rect;
    let (x1, x2) = (inside(x1, width), inside(x2, width));
    let (y1, y2) = (inside(y1, height), inside(y2, height));
    (x1 < x2 && y1 < y2).then_some([x1, y1, x2, y2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Samples;

    #[test]
    fn stores_as_numpy() {
        let image = Image::new([1, 1], 3, Samples::U8(vec![0; 3]));
        // np.uint8 arrays: a[...] = 123.675 is 123, 300 wraps to 44, -1 to 255
        assert_eq!(
            stored(&[123.675, 300.0, -1.0], &image),
            Ok(vec![123.0, 44.0, 255.0])
        );
        assert_eq!(stored(&[7.0], &image), Ok(vec![7.0; 3]));
        assert!(stored(&[1.0, 2.0], &image).is_err());
    }

    #[test]
    fn cuts() {
        assert_eq!(cut([-5, 2, 3, 99], [10, 8]), Some([0, 2, 3, 8]));
        assert_eq!(cut([10, 0, 20, 8], [10, 8]), None);
        assert_eq!(
            cut([i64::MIN, 0, i64::MAX, 1], [10, 8]),
            Some([0, 0, 10, 1])
        );
    }
}
