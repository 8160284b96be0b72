//! Ground truth drawn on a picture: masks as translucent fills with outlines, boxes, what is to be ignored in dashed grey.

use super::{Area, Canvas, Text};

/// Of objects that are not to be learned.
pub const IGNORED: [u8; 3] = [184, 184, 184];
/// Of objects that a transform left out.
pub const DROPPED: [u8; 3] = [255, 107, 94];
/// How much of a mask's colour covers the picture.
const COVER: f32 = 0.4;
/// More captions than this hide the picture; the boxes are still drawn.
const MOST_CAPTIONS: usize = 120;

/// One object to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<'a> {
    /// Corners in the picture's own pixels. `None` draws the mask only.
    pub xyxy: Option<[f32; 4]>,
    /// RGB.
    pub colour: [u8; 3],
    /// For example `dog`; none draws no caption.
    pub caption: String,
    /// How it is drawn.
    pub look: Look,
    /// 0 or 1 per pixel of the picture's own size.
    pub mask: Option<&'a [u8]>,
}

/// What an object is, and so how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// In its colour, with a whole frame.
    Kept,
    /// In grey, dashed: a crowd, or difficult.
    Ignored,
    /// In red, dashed and thin: a transform left it out.
    Dropped,
}

impl Object<'_> {
    fn colour(&self) -> [u8; 3] {
        match self.look {
            Look::Kept => self.colour,
            Look::Ignored => IGNORED,
            Look::Dropped => DROPPED,
        }
    }
}

impl Canvas {
    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Draws objects of a picture of `[width, height]` pixels, of which this canvas shows all in its own size. Small objects are drawn over
    /// large ones; lines and letters grow with the canvas.
    pub fn draw_objects(&mut self, objects: &[Object<'_>], [width, height]: [usize; 2]) {
        let scale = [
            self.width as f32 / width.max(1) as f32,
            self.height as f32 / height.max(1) as f32,
        ];
        let side = (self.width + self.height) as f32 / 2.0;
        let line = (side * 0.003 + 0.8).round() as i64;
        let text = Text::new(side * 0.012 + 9.0);
        let mut order: Vec<(f32, Option<Area>, &Object<'_>)> = objects
            .iter()
            .map(|one| {
                let scaled = one
                    .xyxy
                    .map(|b| std::array::from_fn(|i| b[i] * scale[i % 2]));
                let area = scaled.and_then(|b| self.area(b));
                let pixels = area.map_or(0, |a| (a.x2 - a.x1) * (a.y2 - a.y1));
                (pixels as f32, area, one)
            })
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, area, one) in &order {
            if let Some(mask) = one
                .mask
                .filter(|m| !m.is_empty() && m.len() == width * height)
            {
                self.mask(mask, [width, height], *area, line, one.colour());
            }
        }
        for (_, area, one) in &order {
            match (area, one.look) {
                (Some(area), Look::Kept) => self.frame(*area, line, one.colour()),
                (Some(area), Look::Ignored) => self.dashes(*area, line, one.colour()),
                (Some(area), Look::Dropped) => self.dashes(*area, 1, one.colour()),
                (None, _) => {}
            }
        }
        let captions: Vec<_> = order
            .iter()
            .rev()
            .filter_map(|(_, area, one)| Some(((*area)?, one.colour(), one.caption.as_str())))
            .take(MOST_CAPTIONS)
            .collect();
        self.captions(&captions, line, &text);
    }

    /// Tints the mask's pixels and draws its outline; looks at the whole canvas, for a mask may be larger than its box.
    pub(super) fn mask(
        &mut self,
        mask: &[u8],
        [width, height]: [usize; 2],
        area: Option<Area>,
        line: i64,
        colour: [u8; 3],
    ) {
        let (w, h) = (self.width, self.height);
        let rows = mask.chunks_exact(width).enumerate();
        let filled: Vec<usize> = rows
            .filter(|(_, row)| row.iter().any(|v| *v != 0))
            .map(|(y, _)| y)
            .collect();
        let (Some(first), Some(last)) = (filled.first(), filled.last()) else {
            return;
        };
        // one more than needed on either side: rows of the canvas need not begin where the mask's do
        let top = (first * h / height).saturating_sub(1);
        let bottom = (((last + 1) * h).div_ceil(height) + 1).min(h);
        let columns: Vec<usize> = (0..w).map(|x| x * width / w).collect();
        let set = |x: i64, y: i64| {
            x >= 0
                && y >= 0
                && (x as usize) < w
                && (y as usize) < h
                && mask[(y as usize * height / h) * width + columns[x as usize]] != 0
        };
        // Outlines as thick as frames would hide small objects.
        let small = area.is_some_and(|a| (a.x2 - a.x1).min(a.y2 - a.y1) < 24);
        let t = if small { 1 } else { line };
        for y in top as i64..bottom as i64 {
            for x in 0..w as i64 {
                if set(x, y) {
                    let near = [(-t, 0), (t, 0), (0, -t), (0, t)];
                    let edge = near.iter().any(|(dx, dy)| !set(x + dx, y + dy));
                    self.blend(x, y, colour, if edge { 0.95 } else { COVER });
                }
            }
        }
    }

    /// A frame in dashes.
    fn dashes(&mut self, area: Area, line: i64, colour: [u8; 3]) {
        let Area { x1, y1, x2, y2 } = area;
        let dash = 3 * line + 2;
        let t = line.min((x2 - x1 + 1) / 2).min((y2 - y1 + 1) / 2).max(1);
        for x in (x1..x2).filter(|x| (x - x1) / dash % 2 == 0) {
            let x2 = x + 1;
            for (y1, y2) in [(y1, y1 + t), (y2 - t, y2)] {
                self.fill(Area { x1: x, y1, x2, y2 }, colour, 1.0);
            }
        }
        for y in (y1..y2).filter(|y| (y - y1) / dash % 2 == 0) {
            let y2 = y + 1;
            for (x1, x2) in [(x1, x1 + t), (x2 - t, x2)] {
                self.fill(Area { x1, y1: y, x2, y2 }, colour, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(xyxy: [f32; 4], look: Look) -> Object<'static> {
        Object {
            xyxy: Some(xyxy),
            colour: [0, 200, 0],
            caption: String::new(),
            look,
            mask: None,
        }
    }

    fn at(canvas: &Canvas, x: usize, y: usize) -> [u8; 3] {
        let i = (y * canvas.width + x) * 3;
        [canvas.rgb[i], canvas.rgb[i + 1], canvas.rgb[i + 2]]
    }

    #[test]
    fn masks_are_tinted_within_and_full_at_the_edge() {
        let mut canvas = Canvas::new(40, 40, vec![100; 4800]).unwrap();
        let mut mask = vec![0; 1600];
        for y in 10..20 {
            mask[y * 40 + 10..y * 40 + 20].fill(1);
        }
        let mut one = object([10.0, 10.0, 20.0, 20.0], Look::Kept);
        (one.xyxy, one.mask) = (None, Some(&mask[..]));
        canvas.draw_objects(&[one], [40, 40]);
        assert_eq!(at(&canvas, 15, 15), [60, 140, 60], "0.4 of the colour");
        assert_eq!(at(&canvas, 10, 15), [5, 195, 5], "0.95 at the outline");
        assert_eq!(at(&canvas, 9, 15), [100; 3]);
        assert_eq!(at(&canvas, 20, 15), [100; 3]);
    }

    #[test]
    fn ignored_ones_are_dashed_and_grey() {
        let mut canvas = Canvas::new(40, 40, vec![0; 4800]).unwrap();
        canvas.draw_objects(&[object([4.0, 4.0, 36.0, 36.0], Look::Ignored)], [40, 40]);
        let row: Vec<bool> = (4..36).map(|x| at(&canvas, x, 4) == IGNORED).collect();
        assert!(row[..5].iter().all(|v| *v) && !row[5..10].iter().any(|v| *v));
        assert!(row[10..15].iter().all(|v| *v));
    }

    #[test]
    fn boxes_grow_with_the_canvas() {
        let mut canvas = Canvas::new(80, 80, vec![0; 19200]).unwrap();
        canvas.draw_objects(&[object([10.0, 10.0, 20.0, 20.0], Look::Kept)], [40, 40]);
        assert_eq!(at(&canvas, 20, 30), [0, 200, 0]);
        assert_eq!(at(&canvas, 39, 30), [0, 200, 0]);
        assert_eq!(at(&canvas, 40, 30), [0; 3]);
    }

    #[test]
    fn strange_objects() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let mask = [1, 0, 1];
        for look in [Look::Kept, Look::Ignored, Look::Dropped] {
            for size in [1, 40] {
                let mut canvas = Canvas::new(size, 3, vec![0; size * 9]).unwrap();
                let mut objects: Vec<_> = [
                    [nan, 0.0, 1.0, 1.0],
                    [-inf, -inf, inf, inf],
                    [5.0, 5.0, 1.0, 1.0],
                    [-3e38, 2.0, 3e38, 1e30],
                ]
                .map(|b| object(b, look))
                .into();
                objects[0].mask = Some(&mask[..]);
                objects[1].mask = Some(&mask[..2]);
                objects[1].caption = "\u{4e2d} far too long for it".into();
                canvas.draw_objects(&objects, [3, 1]);
                canvas.draw_objects(&objects, [0, 0]);
            }
        }
    }
}
