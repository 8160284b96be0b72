//! What the steps take, on the CPU and on a device: pictures, sizes and numbers may come from a stranger's file, and what
//! cannot be done is a [`Fault`] that says why.

use smalti_shaders::reference::augment::photometric;

use super::{Canvas, Colour, Method, Op, Part, Photometric};
use crate::image::{Depth, Image};
use crate::picture::Fault;
use crate::size_limits;

/// Whether `op` can be done to `image`.
pub fn step(image: &Image, op: &Op) -> Result<(), Fault> {
    source(image)?;
    let float = image.depth() == Depth::F32;
    match op {
        Op::Resize { size, method } => {
            target(*size)?;
            match method {
                Method::Pillow(_) if float => Err(fault(
                    "the pillow backend resizes u8 only: load without `to_float32`, or use backend='cv2'",
                )),
                _ => Ok(()),
            }
        }
        Op::Window { size, .. }
        | Op::WarpAffine { size, .. }
        | Op::WarpTaps { size, .. }
        | Op::WarpPerspective { size, .. } => target(*size),
        Op::Blend { other, .. } => of_one_size(image, other),
        Op::Paste { other, mask } => {
            of_one_size(image, other)?;
            if mask.len() != image.width() * image.height() {
                return Err(fault("a mask of another size than the picture"));
            }
            Ok(())
        }
        Op::Hsv { .. } => bgr(image, "YOLOXHSVRandomAug"),
        Op::Photometric(drawn) => {
            bgr(image, "PhotoMetricDistortion")?;
            match drawn.swap {
                Some(swap) if swap.iter().any(|c| *c > 2) => Err(fault(format!(
                    "channels {swap:?} of PhotoMetricDistortion are not an order of 0, 1, 2"
                ))),
                _ => Ok(()),
            }
        }
        Op::Colour(colour) => coloured(image, *colour),
        Op::Flip(_) | Op::Fill { .. } | Op::ToFloat | Op::ToBytes => Ok(()),
    }
}

/// Whether `parts` can be laid on a canvas.
pub fn canvas(canvas: &Canvas<'_>) -> Result<(), Fault> {
    let (size, channels, parts) = (canvas.size, canvas.channels, canvas.parts);
    target(size)?;
    if channels == 0 || channels > 4 {
        return Err(fault(format!("a canvas of {channels} channels")));
    }
    parts.iter().try_for_each(|part| lies(part, size, channels))
}

/// Whether a part lies on the canvas and within its picture.
fn lies(part: &Part, size: [usize; 2], channels: usize) -> Result<(), Fault> {
    source(&part.image)?;
    target(part.resized)?;
    let [x1, y1, x2, y2] = part.place;
    let on_canvas = x1 <= x2 && y1 <= y2 && x2 <= size[0] && y2 <= size[1];
    let fits = |k: usize, length: usize| {
        part.crop[k]
            .checked_add(length)
            .is_some_and(|end| end <= part.resized[k])
    };
    if !on_canvas || !fits(0, x2 - x1) || !fits(1, y2 - y1) {
        return Err(fault(format!(
            "a part of {:?} from {:?} on does not fit {:?} on a canvas of {size:?}",
            part.resized, part.crop, part.place
        )));
    }
    if part.image.channels() != channels {
        return Err(fault(format!(
            "a picture of {} channels on a canvas of {channels}",
            part.image.channels()
        )));
    }
    Ok(())
}

/// What was drawn, for the kernel's twin; what was not changes nothing.
pub fn photometric(drawn: &Photometric) -> photometric::Photometric {
    let contrast = drawn.contrast.unwrap_or(1.0);
    photometric::Photometric {
        brightness: drawn.brightness.unwrap_or(0.0),
        contrast_before: if drawn.contrast_first { contrast } else { 1.0 },
        saturation: drawn.saturation.unwrap_or(1.0),
        hue: drawn.hue.unwrap_or(0.0),
        contrast_after: if drawn.contrast_first { 1.0 } else { contrast },
        swap: drawn.swap.unwrap_or([0, 1, 2]),
    }
}

pub fn fault(what: impl Into<String>) -> Fault {
    Fault::Transform(what.into())
}

fn source(image: &Image) -> Result<(), Fault> {
    if image.width() == 0 || image.height() == 0 || image.channels() == 0 {
        return Err(fault("the picture has no pixels"));
    }
    Ok(())
}

/// Whether a picture of `size` can be made.
fn target([width, height]: [usize; 2]) -> Result<(), Fault> {
    if width == 0 || height == 0 {
        let what = format!("a step would leave {width}x{height} pixels");
        return Err(fault(what));
    }
    size_limits::check([width, height])?;
    Ok(())
}

fn of_one_size(image: &Image, other: &Image) -> Result<(), Fault> {
    source(other)?;
    let shape = |image: &Image| (image.size(), image.channels());
    if shape(image) != shape(other) {
        return Err(fault(format!(
            "two pictures of {:?} and {:?} pixels, {} and {} channels: they must have the same",
            image.size(),
            other.size(),
            image.channels(),
            other.channels()
        )));
    }
    Ok(())
}

fn bgr(image: &Image, step: &str) -> Result<(), Fault> {
    match image.channels() {
        3 => Ok(()),
        channels => Err(fault(format!(
            "{step} takes BGR, but the picture has {channels} channels: load it with color_type='color'"
        ))),
    }
}

fn coloured(image: &Image, colour: Colour) -> Result<(), Fault> {
    if let Colour::Color(_) | Colour::Contrast(_) | Colour::Equalize | Colour::AutoContrast = colour
    {
        bgr(image, "this colour transform")?;
    }
    match colour {
        Colour::Posterize(_) | Colour::Equalize | Colour::AutoContrast
            if image.depth() == Depth::F32 =>
        {
            Err(fault(
                "Posterize, Equalize and AutoContrast take u8: load without `to_float32`, and use them before \
                 PhotoMetricDistortion",
            ))
        }
        _ => Ok(()),
    }
}
