//! Drawing on a picture: boxes, and captions that stay legible and inside.
//!
//! Here is what detections need; [`objects`] draws ground truth with its masks, [`sheet`] puts pictures under titles and side by side, [`batch`] shows
//! what is learned from, [`beside`] what was found, [`chart`] draws curves and matrices.

pub mod analysis;
pub mod batch;
pub mod beside;
pub mod chart;
pub mod class_colours;
pub mod objects;
pub mod sample;
pub mod sheet;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

pub use class_colours::{class_colour, colour};

use crate::structures::Bitmap;

/// Of captions: every class's colour is light enough for it.
const INK: [u8; 3] = [0; 3];

/// An RGB picture to draw on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// One box to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// Corners, px.
    pub xyxy: [f32; 4],
    /// Chooses the colour.
    pub label: usize,
    /// For example `dog 0.87`; none draws a box only.
    pub caption: String,
    /// 0 or 1 for each pixel of the picture; none draws a box only.
    pub mask: Option<Bitmap>,
}

/// A rectangle of whole pixels; right and bottom exclusive, maybe outside of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x1: i64,
    y1: i64,
    x2: i64,
    y2: i64,
}

impl Area {
    fn overlap(self, other: Area) -> i64 {
        let w = self.x2.min(other.x2) - self.x1.max(other.x1);
        let h = self.y2.min(other.y2) - self.y1.max(other.y1);
        w.max(0) * h.max(0)
    }
}

/// Caption of a detection: class name and score.
pub fn caption(class: &str, score: f32) -> String {
    format!("{class} {score:.2}")
}

impl Canvas {
    /// Wraps RGB samples. `None` if their number is not `width * height * 3`, or 0.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Option<Self> {
        let samples = width.checked_mul(height)?.checked_mul(3)?;
        (samples > 0 && samples == rgb.len()).then_some(Self { width, height, rgb })
    }

    /// The samples.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The samples.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// The picture as a PNG file's content.
    ///
    /// # Errors
    /// A picture too large for the format.
    pub fn png(&self) -> Result<Vec<u8>, image::ImageError> {
        let mut bytes = Vec::new();
        let (width, height) = (self.width as u32, self.height as u32);
        PngEncoder::new(&mut bytes).write_image(
            &self.rgb,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        Ok(bytes)
    }

    /// Draws masks, and over them boxes, the most important first: it is drawn last, and its caption is placed first.
    /// Lines and letters grow with the picture.
    pub fn draw(&mut self, marked: &[Marked]) {
        let side = (self.width + self.height) as f32 / 2.0;
        let line = (side * 0.003 + 1.0).round() as i64;
        let text = Text::new(side * 0.016 + 8.0);
        let size = [self.width, self.height];
        for one in marked.iter().rev() {
            if let Some(mask) = one.mask.as_ref().filter(|m| m.len() == size[0] * size[1]) {
                self.mask(mask, size, self.area(one.xyxy), line, colour(one.label));
            }
        }
        for one in marked.iter().rev() {
            if let Some(area) = self.area(one.xyxy) {
                self.frame(area, line, colour(one.label));
            }
        }
        let captions = marked
            .iter()
            .filter_map(|m| Some((self.area(m.xyxy)?, colour(m.label), m.caption.as_str())));
        self.captions(&captions.collect::<Vec<_>>(), line, &text);
    }

    /// Writes captions at areas, the first placed first and on top; empty ones are left out.
    fn captions(&mut self, captions: &[(Area, [u8; 3], &str)], line: i64, text: &Text) {
        let mut taken: Vec<Area> = Vec::new();
        let mut places = Vec::new();
        for (area, back, caption) in captions.iter().filter(|(_, _, c)| !c.is_empty()) {
            let place = self.place(*area, text.size(caption, line), line, &taken);
            taken.push(place);
            places.push((place, *back, *caption));
        }
        for (place, back, caption) in places.into_iter().rev() {
            self.fill(place, back, 1.0);
            text.write(self, caption, place, line, INK);
        }
    }

    /// Whole pixels of a box, cut to the picture. `None` if it is outside, or not a number.
    fn area(&self, xyxy: [f32; 4]) -> Option<Area> {
        if xyxy.iter().any(|v| v.is_nan()) {
            return None;
        }
        let [x1, y1, x2, y2] = xyxy.map(|v| v.round() as i64);
        let (w, h) = (self.width as i64, self.height as i64);
        let area = Area {
            x1: x1.max(0),
            y1: y1.max(0),
            x2: x2.max(x1.saturating_add(1)).min(w),
            y2: y2.max(y1.saturating_add(1)).min(h),
        };
        (area.x1 < area.x2 && area.y1 < area.y2).then_some(area)
    }

    /// Where a caption of this size goes: above its box, below, beside or within it, wherever it
    /// covers least of the captions that are there.
    fn place(&self, area: Area, (w, h): (i64, i64), line: i64, taken: &[Area]) -> Area {
        let (most_x, most_y) = (self.width as i64 - w, self.height as i64 - h);
        let Area { x1, y1, x2, y2 } = area;
        let candidates = [
            (x1, y1 - h),
            (x1, y2),
            (x2 - w, y1 - h),
            (x2 - w, y2),
            (x2, y1),
            (x1 - w, y1),
            (x2, y2 - h),
            (x1 - w, y2 - h),
            (x1, y1 + line),
            (x2 - w, y2 - line - h),
        ];
        let at = |x: i64, y: i64| Area {
            x1: x,
            y1: y,
            x2: x + w,
            y2: y + h,
        };
        let inside = |(x, y): &(i64, i64)| (0..=most_x).contains(x) && (0..=most_y).contains(y);
        candidates
            .into_iter()
            .filter(inside)
            .map(|(x, y)| at(x, y))
            .min_by_key(|place| taken.iter().map(|t| t.overlap(*place)).sum::<i64>())
            .unwrap_or_else(|| at(x1.min(most_x).max(0), y1.min(most_y).max(0)))
    }

    fn frame(&mut self, area: Area, line: i64, colour: [u8; 3]) {
        let Area { x1, y1, x2, y2 } = area;
        let t = line.min((x2 - x1 + 1) / 2).min((y2 - y1 + 1) / 2).max(1);
        for part in [
            Area { y2: y1 + t, ..area },
            Area { y1: y2 - t, ..area },
            Area { x2: x1 + t, ..area },
            Area { x1: x2 - t, ..area },
        ] {
            self.fill(part, colour, 1.0);
        }
    }

    fn fill(&mut self, area: Area, colour: [u8; 3], alpha: f32) {
        for y in area.y1.max(0)..area.y2.min(self.height as i64) {
            for x in area.x1.max(0)..area.x2.min(self.width as i64) {
                self.blend(x, y, colour, alpha);
            }
        }
    }

    fn blend(&mut self, x: i64, y: i64, colour: [u8; 3], alpha: f32) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        for (value, ink) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            let old = f32::from(*value);
            *value = (old + (f32::from(ink) - old) * alpha).round() as u8;
        }
    }
}

/// Writing in one size.
struct Text {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Text {
    fn new(pixels: f32) -> Self {
        let font = FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR);
        Self {
            font: font.expect("the font that is built in is a font"),
            scale: PxScale::from(pixels),
        }
    }

    /// Width and height of a caption with its margin.
    fn size(&self, caption: &str, margin: i64) -> (i64, i64) {
        let font = self.font.as_scaled(self.scale);
        let advance = |c: char| font.h_advance(font.glyph_id(c));
        let width: f32 = caption.chars().map(advance).sum();
        let height = font.ascent() - font.descent();
        (width.ceil() as i64 + 2 * margin, height.ceil() as i64)
    }

    fn write(&self, canvas: &mut Canvas, caption: &str, place: Area, margin: i64, ink: [u8; 3]) {
        let font = self.font.as_scaled(self.scale);
        let mut x = (place.x1 + margin) as f32;
        let baseline = place.y1 as f32 + font.ascent();
        for c in caption.chars() {
            let id = font.glyph_id(c);
            let glyph = id.with_scale_and_position(self.scale, point(x, baseline));
            if let Some(outline) = self.font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|dx, dy, cover| {
                    let (x, y) = (
                        corner.x as i64 + i64::from(dx),
                        corner.y as i64 + i64::from(dy),
                    );
                    canvas.blend(x, y, ink, cover.min(1.0));
                });
            }
            x += font.h_advance(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(xyxy: [f32; 4], caption: &str) -> Marked {
        Marked {
            xyxy,
            label: 0,
            caption: caption.into(),
            mask: None,
        }
    }

    fn canvas(width: usize, height: usize) -> Canvas {
        Canvas::new(width, height, vec![0; width * height * 3]).unwrap()
    }

    #[test]
    fn a_frame_and_nothing_else() {
        let mut canvas = canvas(64, 64);
        canvas.draw(&[marked([10.2, 20.0, 30.0, 39.6], "")]);
        let at = |x: usize, y: usize| {
            let i = (y * 64 + x) * 3;
            [canvas.rgb[i], canvas.rgb[i + 1], canvas.rgb[i + 2]]
        };
        for (x, y) in [(10, 20), (29, 20), (10, 39), (29, 39), (20, 20), (10, 30)] {
            assert_eq!(at(x, y), colour(0), "{x} {y}");
        }
        for (x, y) in [(9, 20), (30, 20), (10, 40), (10, 19), (20, 30)] {
            assert_eq!(at(x, y), [0; 3], "{x} {y}");
        }
    }

    #[test]
    fn captions_stay_inside_and_apart() {
        let canvas = canvas(200, 120);
        let size = (60, 16);
        let mut taken = Vec::new();
        for xyxy in [
            [0.0, 0.0, 30.0, 30.0],
            [0.0, 2.0, 30.0, 30.0],
            [180.0, 0.0, 200.0, 120.0],
            [180.0, 100.0, 200.0, 120.0],
            [-50.0, -50.0, 300.0, 300.0],
        ] {
            let area = canvas.area(xyxy).unwrap();
            let place = canvas.place(area, size, 2, &taken);
            assert!(place.x1 >= 0 && place.y1 >= 0 && place.x2 <= 200 && place.y2 <= 120);
            assert!(
                taken.iter().all(|t: &Area| t.overlap(place) == 0),
                "{xyxy:?}"
            );
            taken.push(place);
        }
    }

    #[test]
    fn strange_boxes() {
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        for (w, h) in [(1, 1), (3, 200), (40, 30)] {
            let mut canvas = canvas(w, h);
            canvas.draw(&[
                marked([nan, 0.0, 1.0, 1.0], "nan 0.50"),
                marked([-inf, -inf, inf, inf], "all 1.00"),
                marked([5.0, 5.0, 1.0, 1.0], "reversed 0.10"),
                marked([900.0, 900.0, 901.0, 901.0], "outside"),
                marked(
                    [0.0, 0.0, 0.0, 0.0],
                    "a caption much wider than the picture \u{4e2d}",
                ),
            ]);
        }
    }
}
