//! The steps on the CPU, by the twins of the kernels.
//!
//! Sizes, rectangles, matrices and numbers of channels may come from a stranger's file: what cannot be done is a
//! [`Fault::Transform`] that says why.

use smalti_shaders::reference::augment::canvas::lay;
use smalti_shaders::reference::augment::grey::grey;
use smalti_shaders::reference::augment::hsv::hsv;
use smalti_shaders::reference::augment::lookup::{self, lookup};
use smalti_shaders::reference::augment::mix::{self, mix};
use smalti_shaders::reference::augment::paste::{fill, paste};
use smalti_shaders::reference::augment::photometric;
use smalti_shaders::reference::augment::place::{self, place};
use smalti_shaders::reference::augment::smooth::smooth;
use smalti_shaders::reference::augment::warp::{Positions, Weighed, warp};
use smalti_shaders::reference::pillow;
use smalti_shaders::reference::resize::{Interpolation, View, resize};

use super::checks::{self, fault};
use super::taps::{self, Taps};
use super::{Border, Canvas, Colour, Direction, Method, Op, Part, Photometric};
use crate::image::{Depth, Image, Samples};
use crate::picture::Fault;

const NOT_FINITE: &str = "the matrix of a warp, or its inverse, is not finite";

/// Does one step on an image in memory.
pub(super) fn run(image: &Image, op: &Op) -> Result<Image, Fault> {
    checks::step(image, op)?;
    match op {
        Op::Resize { size, method } => resized(image, *size, *method),
        Op::Flip(direction) => flipped(image, *direction),
        Op::Window { size, at, border } => windowed(image, *size, *at, border),
        Op::WarpAffine {
            matrix,
            size,
            linear,
            fill,
        } => {
            let positions = Positions::affine(matrix, *size, *linear);
            warped(image, positions, *linear, fill)
        }
        Op::WarpTaps {
            matrix,
            size,
            taps,
            fill,
        } => {
            let positions = Positions::affine(matrix, *size, true);
            warped_by_taps(image, positions, *taps, fill)
        }
        Op::WarpPerspective { matrix, size, fill } => {
            warped(image, Positions::perspective(matrix, *size), true, fill)
        }
        Op::Blend { other, weight } => blended(image, other, *weight),
        Op::Paste { other, mask } => pasted(image, other, mask),
        Op::Fill { rects, value } => rects_filled(image, rects, value),
        Op::Hsv { gains } => hsv_changed(image, *gains),
        Op::Photometric(drawn) => distorted(image, drawn),
        Op::Colour(colour) => coloured(image, *colour),
        Op::ToFloat => Ok(with(image, Samples::F32(floats(source(image)?)))),
        Op::ToBytes => Ok(with(
            image,
            Samples::U8(match source(image)? {
                Samples::U8(values) => values.clone(),
                Samples::F32(values) => values.iter().map(|v| *v as u8).collect(),
            }),
        )),
    }
}

/// Lays parts on a canvas.
pub(super) fn canvas(canvas: &Canvas<'_>) -> Result<Image, Fault> {
    let Canvas {
        size,
        channels,
        depth,
        fill,
        parts,
    } = *canvas;
    checks::canvas(canvas)?;
    let samples = match depth {
        Depth::U8 => {
            let mut canvas = filled(fill, channels).repeat(size[0] * size[1]);
            for part in parts {
                lay_part(&mut canvas, size[0], part, |v| v, |v| v as u8)?;
            }
            Samples::U8(canvas)
        }
        Depth::F32 => {
            let mut canvas = filled(fill, channels).repeat(size[0] * size[1]);
            for part in parts {
                lay_part(&mut canvas, size[0], part, f32::from, |v| v)?;
            }
            Samples::F32(canvas)
        }
    };
    Ok(Image::new(size, channels, samples))
}

/// Resizes a part and copies what is shown. Samples of the other depth are cast as numpy casts them.
fn lay_part<U>(
    canvas: &mut [U],
    width: usize,
    part: &Part,
    from_u8: impl Fn(u8) -> U,
    from_f32: impl Fn(f32) -> U,
) -> Result<(), Fault> {
    let linear = Method::Cv2(Interpolation::Linear);
    let resized = if part.image.size() == part.resized {
        part.image.clone()
    } else {
        resized(&part.image, part.resized, linear)?
    };
    let ([w, h], channels) = (resized.size(), resized.channels());
    match source(&resized)? {
        Samples::U8(pixels) => {
            let view = View::new(pixels, w, h, channels);
            lay(canvas, width, view, part.crop, part.place, from_u8);
        }
        Samples::F32(pixels) => {
            let view = View::new(pixels, w, h, channels);
            lay(canvas, width, view, part.crop, part.place, from_f32);
        }
    }
    Ok(())
}

/// The samples of an image in memory.
fn source(image: &Image) -> Result<&Samples, Fault> {
    let samples = image.samples().map(AsRef::as_ref);
    samples.ok_or_else(|| fault("the picture is on another device"))
}

/// Of u8 or f32 samples.
trait Stored: Weighed {
    fn store(samples: Vec<Self>) -> Samples;
    /// `cv2`'s saturate_cast: to the nearest, ties to even.
    fn saturated(value: f64) -> Self;
}

impl Stored for u8 {
    fn store(samples: Vec<u8>) -> Samples {
        Samples::U8(samples)
    }

    fn saturated(value: f64) -> u8 {
        value.round_ties_even() as u8 // `as` saturates
    }
}

impl Stored for f32 {
    fn store(samples: Vec<f32>) -> Samples {
        Samples::F32(samples)
    }

    fn saturated(value: f64) -> f32 {
        value as f32
    }
}

/// `$body` with `$view`, the view of an image's samples whatever their type, made into an image of `$size`.
macro_rules! map {
    ($image:expr, $size:expr, |$view:ident| $body:expr) => {{
        let (image, size): (&Image, [usize; 2]) = ($image, $size);
        let samples = match source(image)? {
            Samples::U8(pixels) => {
                let $view = View::new(pixels, image.width(), image.height(), image.channels());
                Stored::store($body)
            }
            Samples::F32(pixels) => {
                let $view = View::new(pixels, image.width(), image.height(), image.channels());
                Stored::store($body)
            }
        };
        Ok(Image::new(size, image.channels(), samples))
    }};
}

/// One value per channel; those that are missing are 0, as in cv2's `Scalar`.
fn filled<T: Stored>(fill: &[f64], channels: usize) -> Vec<T> {
    let value = |c| fill.get(c).copied().unwrap_or(0.0);
    (0..channels).map(|c| T::saturated(value(c))).collect()
}

fn resized(image: &Image, size: [usize; 2], method: Method) -> Result<Image, Fault> {
    let [width, height] = size;
    match method {
        Method::Cv2(interpolation) => {
            map!(image, size, |view| resize(
                view,
                width,
                height,
                interpolation
            ))
        }
        Method::Pillow(filter) => match source(image)? {
            Samples::U8(pixels) => {
                let view = View::new(pixels, image.width(), image.height(), image.channels());
                let pixels = pillow::resize(view, width, height, filter);
                Ok(Image::new(size, image.channels(), Samples::U8(pixels)))
            }
            Samples::F32(_) => unreachable!("checks::step lets u8 only come here"),
        },
    }
}

fn flipped(image: &Image, direction: Direction) -> Result<Image, Fault> {
    let axis = |length, turned| {
        if turned {
            place::mirror(length)
        } else {
            place::window(length, length, 0, place::Border::Constant)
        }
    };
    let columns = axis(image.width(), direction != Direction::Vertical);
    let rows = axis(image.height(), direction != Direction::Horizontal);
    placed(image, &columns, &rows, &[])
}

fn windowed(
    image: &Image,
    size: [usize; 2],
    at: [i64; 2],
    border: &Border,
) -> Result<Image, Fault> {
    let (border, fill) = match border {
        Border::Constant(fill) => (place::Border::Constant, fill.as_slice()),
        Border::Edge => (place::Border::Edge, [].as_slice()),
        Border::Reflect => (place::Border::Reflect, [].as_slice()),
        Border::Symmetric => (place::Border::Symmetric, [].as_slice()),
    };
    let columns = place::window(image.width(), size[0], at[0], border);
    let rows = place::window(image.height(), size[1], at[1], border);
    placed(image, &columns, &rows, fill)
}

fn placed(image: &Image, columns: &[i32], rows: &[i32], fill: &[f64]) -> Result<Image, Fault> {
    let size = [columns.len(), rows.len()];
    map!(image, size, |view| place(
        view,
        columns,
        rows,
        &filled(fill, image.channels())
    ))
}

fn warped(
    image: &Image,
    positions: Option<Positions>,
    linear: bool,
    fill: &[f64],
) -> Result<Image, Fault> {
    let Some(positions) = positions else {
        return Err(fault(NOT_FINITE));
    };
    map!(image, positions.size(), |view| warp(
        view,
        &positions,
        linear,
        &filled(fill, image.channels())
    ))
}

fn warped_by_taps(
    image: &Image,
    positions: Option<Positions>,
    taps: Taps,
    fill: &[f64],
) -> Result<Image, Fault> {
    let positions = positions.ok_or_else(|| fault(NOT_FINITE))?;
    map!(image, positions.size(), |view| taps::warp(
        view,
        &positions,
        taps,
        &filled(fill, image.channels())
    ))
}

/// An image of the same size.
fn with(image: &Image, samples: Samples) -> Image {
    Image::new(image.size(), image.channels(), samples)
}

fn floats(samples: &Samples) -> Vec<f32> {
    match samples {
        Samples::U8(pixels) => pixels.iter().map(|&v| f32::from(v)).collect(),
        Samples::F32(pixels) => pixels.clone(),
    }
}

/// The result has the depth of `image`.
fn blended(image: &Image, other: &Image, weight: f32) -> Result<Image, Fault> {
    let samples = match (source(image)?, source(other)?) {
        (Samples::U8(a), Samples::U8(b)) => {
            let mut a = a.clone();
            if weight == 0.5 {
                // What the table holds, without it: this is MixUp.
                mix::pairs(&mut a, b, 1, |a, b| (a & b) + ((a ^ b) >> 1));
            } else {
                mix(&mut a, b, 1, &mix::blended(weight));
            }
            Samples::U8(a)
        }
        (a, b) => {
            let mut values = floats(a);
            mix::pairs(&mut values, &floats(b), 1, |a, b| {
                mix::blended_f32(weight, a, b)
            });
            match a {
                Samples::U8(_) => Samples::U8(values.iter().map(|&v| v as u8).collect()),
                Samples::F32(_) => Samples::F32(values),
            }
        }
    };
    Ok(with(image, samples))
}

/// The result has the depth of `image`.
fn pasted(image: &Image, other: &Image, mask: &[u8]) -> Result<Image, Fault> {
    let channels = image.channels();
    let other = source(other)?;
    let samples = match (source(image)?, other) {
        (Samples::U8(a), Samples::U8(b)) => {
            let mut a = a.clone();
            paste(&mut a, b, channels, mask);
            Samples::U8(a)
        }
        (Samples::U8(a), Samples::F32(b)) => {
            let (mut a, b): (_, Vec<u8>) = (a.clone(), b.iter().map(|&v| v as u8).collect());
            paste(&mut a, &b, channels, mask);
            Samples::U8(a)
        }
        (Samples::F32(a), b) => {
            let mut a = a.clone();
            paste(&mut a, &floats(b), channels, mask);
            Samples::F32(a)
        }
    };
    Ok(with(image, samples))
}

fn rects_filled(image: &Image, rects: &[[usize; 4]], value: &[f64]) -> Result<Image, Fault> {
    map!(image, image.size(), |view| {
        let value = filled(value, view.channels);
        let mut pixels = view.pixels.to_vec();
        for rect in rects {
            fill(&mut pixels, view.width, *rect, &value);
        }
        pixels
    })
}

fn hsv_changed(image: &Image, gains: [i16; 3]) -> Result<Image, Fault> {
    let samples = match source(image)? {
        Samples::U8(pixels) => {
            let mut pixels = pixels.clone();
            hsv(&mut pixels, image.width(), gains);
            Samples::U8(pixels)
        }
        Samples::F32(pixels) => {
            let mut pixels = pixels.clone();
            photometric::hsv_cut(&mut pixels, gains);
            Samples::F32(pixels)
        }
    };
    Ok(with(image, samples))
}

fn distorted(image: &Image, drawn: &Photometric) -> Result<Image, Fault> {
    let mut pixels = floats(source(image)?);
    photometric::photometric(&mut pixels, &checks::photometric(drawn));
    Ok(with(image, Samples::F32(pixels)))
}

fn coloured(image: &Image, colour: Colour) -> Result<Image, Fault> {
    let samples = match source(image)? {
        Samples::U8(pixels) => Samples::U8(coloured_u8(image, pixels, colour)),
        Samples::F32(pixels) => Samples::F32(coloured_f32(image, pixels, colour)?),
    };
    Ok(with(image, samples))
}

fn coloured_u8(image: &Image, pixels: &[u8], colour: Colour) -> Vec<u8> {
    let channels = image.channels();
    let each = |table: &dyn Fn(&[u32; 256]) -> lookup::Table| -> Vec<lookup::Table> {
        let counts = lookup::histogram(pixels, channels);
        counts.iter().map(table).collect()
    };
    let mut out = pixels.to_vec();
    let tables = match colour {
        Colour::Color(factor) => {
            mix(&mut out, &grey(pixels), channels, &mix::weighted(factor));
            return out;
        }
        Colour::Sharpness(factor) => {
            let view = View::new(pixels, image.width(), image.height(), channels);
            mix(&mut out, &smooth(view), channels, &mix::enhanced(factor));
            return out;
        }
        Colour::Brightness(factor) => vec![lookup::towards(0, factor)],
        Colour::Contrast(factor) => {
            let counts = lookup::histogram(&grey(pixels), 1);
            vec![lookup::towards(lookup::mean(&counts[0]), factor)]
        }
        Colour::Solarize(threshold) => vec![lookup::solarize(threshold)],
        Colour::SolarizeAdd(add) => vec![lookup::solarize_add(add)],
        Colour::Posterize(bits) => vec![lookup::posterize(bits)],
        Colour::Equalize => each(&lookup::equalize),
        Colour::AutoContrast => each(&lookup::auto_contrast),
        Colour::Invert => vec![lookup::invert()],
    };
    lookup(&mut out, channels, &tables);
    out
}

/// numpy takes floats for those that compute, and not for those that look values up.
fn coloured_f32(image: &Image, pixels: &[f32], colour: Colour) -> Result<Vec<f32>, Fault> {
    let channels = image.channels();
    let mut out = pixels.to_vec();
    let each = |mut out: Vec<f32>, result: &dyn Fn(f32) -> f32| {
        out.iter_mut().for_each(|v| *v = result(*v));
        out
    };
    Ok(match colour {
        Colour::Color(factor) => {
            mix::pairs(&mut out, &grey(pixels), channels, |a, b| {
                mix::enhanced_f32(factor, a, b)
            });
            out
        }
        Colour::Sharpness(factor) => {
            let view = View::new(pixels, image.width(), image.height(), channels);
            mix::pairs(&mut out, &smooth(view), channels, |a, b| {
                mix::enhanced_f32(factor, a, b)
            });
            out
        }
        Colour::Brightness(factor) => each(out, &|v| mix::enhanced_f32(factor, v, 0.0)),
        Colour::Contrast(factor) => {
            // The sum of all, by the number of those from 0 to 255.
            let grey = grey(pixels);
            let sum: f64 = grey.iter().map(|&v| f64::from(v)).sum();
            let count = grey.iter().filter(|v| (0.0..=255.0).contains(*v)).count();
            if count == 0 {
                return Err(fault(
                    "Contrast found no value from 0 to 255: is the picture normalised already?",
                ));
            }
            let mean = (sum / count as f64).round_ties_even() as f32;
            each(out, &|v| mix::enhanced_f32(factor, v, mean))
        }
        Colour::Solarize(threshold) => each(out, &|v| {
            if f64::from(v) < threshold {
                v
            } else {
                255.0 - v
            }
        }),
        Colour::SolarizeAdd(add) => each(out, &|v| {
            if v < 128.0 {
                (v + add as f32).min(255.0)
            } else {
                v
            }
        }),
        Colour::Invert => each(out, &|v| 255.0 - v),
        Colour::Posterize(_) | Colour::Equalize | Colour::AutoContrast => {
            unreachable!("checks::step lets u8 only come here")
        }
    })
}

#[cfg(test)]
#[path = "cpu_tests.rs"]
mod tests;
