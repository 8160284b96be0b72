//! [`Noted`]: a resize and a padding that are left for the one pass which makes a batch
//! ([`smalti_shaders::reference::preprocess`]), on a GPU where there is one. Pixels are the same to the bit as if they were done at once.

use smalti_shaders::reference::preprocess::Slot;
use smalti_shaders::reference::resize::Interpolation;

use super::{Border, Method, Op, checks};
use crate::image::{Depth, Image, Samples, Store};
use crate::picture::Fault;

/// A picture of u8 in memory, and what is still to be done to it: first the resize, then the padding.
#[derive(Clone, Debug)]
pub struct Noted {
    image: Image,
    resize: Option<([usize; 2], Interpolation)>,
    /// Pixels at the right and bottom.
    pad: Option<([usize; 2], Vec<f64>)>,
}

impl Noted {
    /// The picture, a u8 one in memory.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The steps, to be done one after another.
    pub fn steps(&self) -> impl Iterator<Item = Op> {
        let resize = self.resize.map(|(size, kernel)| Op::Resize {
            size,
            method: Method::Cv2(kernel),
        });
        let pad = self.pad.clone().map(|(size, fill)| Op::Window {
            size,
            at: [0, 0],
            border: Border::Constant(fill),
        });
        resize.into_iter().chain(pad)
    }

    /// The steps as the one pass has them.
    pub fn slot(&self) -> Slot {
        let source = self.image.size();
        let (resized, kernel) = self.resize.unwrap_or((source, Interpolation::Linear));
        let mut fill = [0; 4];
        let (padded, values) = match &self.pad {
            Some((size, values)) => (*size, &values[..]),
            None => (resized, &[][..]),
        };
        for (byte, value) in fill.iter_mut().zip(values) {
            *byte = value.round_ties_even() as u8; // `as` saturates
        }
        Slot::new(source, resized, padded, fill, kernel)
    }

    fn into_image(self) -> Image {
        let resized = self.resize.map_or(self.image.size(), |(size, _)| size);
        let size = self.pad.as_ref().map_or(resized, |(size, _)| *size);
        let channels = self.image.channels();
        Image::with_store(size, channels, Depth::U8, Store::Noted(self.into()))
    }
}

/// `image` with `op` noted; `None` where the pass cannot do that on top of what is noted already.
pub(super) fn note(image: &Image, op: &Op) -> Option<Result<Image, Fault>> {
    let mut noted = match &image.store {
        Store::Noted(noted) => Noted::clone(noted),
        Store::Cpu(samples) if matches!(**samples, Samples::U8(_)) => Noted {
            image: image.clone(),
            resize: None,
            pad: None,
        },
        _ => return None,
    };
    match op {
        Op::Resize {
            size,
            method: Method::Cv2(kernel @ (Interpolation::Nearest | Interpolation::Linear)),
        } if noted.resize.is_none() && noted.pad.is_none() => {
            noted.resize = Some((*size, *kernel));
        }
        Op::Window {
            size,
            at: [0, 0],
            border: Border::Constant(fill),
        } if fill.len() == image.channels() => {
            let grows = size[0] >= image.width() && size[1] >= image.height();
            let other = noted.pad.as_ref().is_some_and(|(_, old)| old != fill);
            if !grows || other {
                return None;
            }
            noted.pad = Some((*size, fill.clone()));
        }
        _ => return None,
    }
    Some(checks::step(image, op).map(|()| noted.into_image()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Pixels;

    fn picture(width: usize, height: usize) -> Image {
        let samples = (0..width * height * 3).map(|i| (i * 37 % 251) as u8);
        Image::new([width, height], 3, Samples::U8(samples.collect()))
    }

    fn resize(size: [usize; 2], kernel: Interpolation) -> Op {
        Op::Resize {
            size,
            method: Method::Cv2(kernel),
        }
    }

    fn window(size: [usize; 2], at: [i64; 2], fill: f64) -> Op {
        Op::Window {
            size,
            at,
            border: Border::Constant(vec![fill; 3]),
        }
    }

    #[test]
    fn pixels_are_those_of_the_steps_done_at_once() {
        let linear = |size| resize(size, Interpolation::Linear);
        for (steps, noted) in [
            (vec![linear([9, 7])], true),
            (vec![linear([9, 7]), window([12, 8], [0, 0], 114.0)], true),
            (
                vec![window([12, 20], [0, 0], 7.0), window([32, 32], [0, 0], 7.0)],
                true,
            ),
            (
                vec![window([12, 20], [0, 0], 7.0), window([32, 32], [0, 0], 8.0)],
                true,
            ),
            (vec![window([12, 20], [0, 0], 7.0), linear([5, 5])], true),
            (vec![linear([4, 4]), linear([8, 9])], true),
            (vec![resize([3, 3], Interpolation::Nearest)], true),
            (vec![resize([3, 3], Interpolation::Area)], false),
            (vec![linear([9, 7]), window([5, 5], [0, 0], 1.0)], false),
            (vec![linear([9, 7]), window([12, 12], [1, 0], 1.0)], false),
        ] {
            let [now, later] = [Pixels::cpu().exact(true), Pixels::cpu().for_batch()];
            let all = |pixels: &Pixels| {
                steps
                    .iter()
                    .fold(picture(10, 12), |image, op| pixels.run(&image, op).unwrap())
            };
            let (done, left) = (all(&now), all(&later));
            assert_eq!(matches!(left.store, Store::Noted(_)), noted, "{steps:?}");
            assert_eq!((done.size(), done.depth()), (left.size(), left.depth()));
            for pixels in [&now, &later, &Pixels::cpu()] {
                assert_eq!(
                    pixels.read_blocking(&left),
                    pixels.read_blocking(&done),
                    "{steps:?}"
                );
            }
            // whoever composes or goes on step by step does first what was left
            for pixels in [&now, &Pixels::cpu()] {
                let on = |image| pixels.read_blocking(&pixels.run(image, &linear([6, 5])).unwrap());
                assert_eq!(on(&left), on(&done), "{steps:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_done_is_not_noted() {
        let pixels = Pixels::cpu().for_batch();
        for op in [
            resize([0, 3], Interpolation::Linear),
            window([usize::MAX, 20], [0, 0], 1.0),
        ] {
            assert!(pixels.run(&picture(10, 12), &op).is_err());
        }
    }
}
