//! A picture that is looked at: zoom and pan, boxes with chips and masks over it, and which of them the pointer is on.
//!
//! Coordinates of marks are picture pixels, xyxy. Lines keep their width on screen at any zoom; each has a dark halo, so that one of
//! its edges is seen on any ground.

mod marks;

use eframe::egui::{
    Align2, Color32, ColorImage, Context, CornerRadius, Event, FontId, Key, MouseWheelUnit,
    Painter, Pos2, Rect, Response, Role, Sense, Stroke, TextureHandle, TextureOptions, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::tokens::{SMALL, Tokens};
pub use marks::paint_marks;
use marks::under;

/// How a box is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// What was found, or is there.
    #[default]
    Solid,
    /// Ground truth beside detections, what is ignored, what was dropped.
    Dashed,
}

/// A box over a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Corners in pixels of the picture.
    pub xyxy: [f32; 4],
    /// Its class's colour, or a state's.
    pub color: Color32,
    /// On its chip; none has no chip.
    pub caption: String,
    /// How it is drawn.
    pub line: Line,
}

/// Where one looks: shared by two panes, it links them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// Points a pixel; none fits the picture into its place.
    pub zoom: Option<f32>,
    /// The pixel in the middle, as a share of width and height; only where there is a zoom.
    pub middle: [f32; 2],
}

impl Sight {
    /// The whole picture.
    pub fn fit(&mut self) {
        self.zoom = None;
    }
}

/// Where picture pixels are on screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// Where pixel 0, 0 begins.
    pub origin: Pos2,
    /// Points a pixel.
    pub scale: f32,
}

impl Placed {
    /// On screen.
    pub fn at(&self, [x, y]: [f32; 2]) -> Pos2 {
        self.origin + vec2(x, y) * self.scale
    }

    /// A box on screen.
    pub fn rect(&self, [x1, y1, x2, y2]: [f32; 4]) -> Rect {
        Rect::from_min_max(self.at([x1, y1]), self.at([x2, y2]))
    }

    /// In pixels of the picture.
    pub fn pixel(&self, at: Pos2) -> [f32; 2] {
        let v = (at - self.origin) / self.scale;
        [v.x, v.y]
    }
}

/// What somebody did with a picture.
pub struct Seen {
    /// Of the whole place.
    pub response: Response,
    /// Where it was drawn.
    pub placed: Placed,
    /// The mark under the pointer: of several the smallest.
    pub hovered: Option<usize>,
    /// The mark that was clicked.
    pub clicked: Option<usize>,
}

/// A picture on the screen's device.
pub struct Picture {
    name: String,
    size: [usize; 2],
    rgb: Vec<u8>,
    tiles: Vec<(TextureHandle, [usize; 2])>,
    masks: Vec<(TextureHandle, [usize; 2])>,
    near: bool,
}

/// The colour of a class, the same as in pictures that the command line draws.
pub fn class_color(label: usize) -> Color32 {
    let [r, g, b] = smalti::draw::colour(label);
    Color32::from_rgb(r, g, b)
}

/// A wheel's notch.
const NOTCH: f32 = 1.25;
/// From this zoom on, pixels are squares.
const SQUARES: f32 = 3.0;
/// From this zoom on, pixels have a grid.
const GRID: f32 = 8.0;
/// From this zoom on, three numbers fit into a pixel.
const VALUES: f32 = 48.0;
/// The largest zoom, points a pixel.
const CLOSEST: f32 = 96.0;
/// How much of a mask's colour there is over the picture.
const COVER: f32 = 0.4;

impl Picture {
    /// A picture of `[width, height]` pixels.
    ///
    /// # Panics
    /// If there are not `width * height * 3` samples.
    pub fn new(ctx: &Context, name: &str, size: [usize; 2], rgb: Vec<u8>) -> Self {
        assert_eq!(rgb.len(), size[0] * size[1] * 3, "three samples a pixel");
        let mut picture = Self {
            name: name.to_owned(),
            size,
            rgb,
            tiles: Vec::new(),
            masks: Vec::new(),
            near: false,
        };
        picture.tiles = picture.upload(ctx, "picture", |pixels| {
            let rgb = pixels.map(|i| &picture.rgb[i * 3..i * 3 + 3]);
            rgb.map(|p| Color32::from_rgb(p[0], p[1], p[2])).collect()
        });
        picture
    }

    /// Width and height, px.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Its samples, RGB.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Lays masks over it, 0 or not for each pixel, in place of those there were. A mask of another size is left out.
    pub fn masks(&mut self, ctx: &Context, masks: &[(&[u8], Color32)]) {
        self.lay(ctx, layer(self.size, masks).as_deref());
    }

    /// Lays a [`layer`] over it, in place of the one there was. One of another size is left out.
    pub fn lay(&mut self, ctx: &Context, layer: Option<&[Color32]>) {
        let whole = self.size[0] * self.size[1];
        self.masks = match layer.filter(|layer| layer.len() == whole) {
            Some(over) => self.upload(ctx, "masks", |pixels| pixels.map(|i| over[i]).collect()),
            None => Vec::new(),
        };
    }

    /// Cuts it into textures that the device takes.
    fn upload(
        &self,
        ctx: &Context,
        kind: &str,
        pixels: impl Fn(&mut dyn Iterator<Item = usize>) -> Vec<Color32>,
    ) -> Vec<(TextureHandle, [usize; 2])> {
        let most = ctx.input(|i| i.max_texture_side).clamp(256, 8192);
        let [width, height] = self.size;
        let mut tiles = Vec::new();
        for y in (0..height).step_by(most) {
            for x in (0..width).step_by(most) {
                let size = [most.min(width - x), most.min(height - y)];
                let mut places =
                    (y..y + size[1]).flat_map(|row| row * width + x..row * width + x + size[0]);
                let image = ColorImage::new(size, pixels(&mut places));
                let name = format!("{kind} {} {x} {y}", self.name);
                tiles.push((ctx.load_texture(name, image, options(self.near)), [x, y]));
            }
        }
        tiles
    }

    /// Shows it in all the room there is, with marks over it; `lit` is one that is hovered elsewhere.
    /// Wheel and pinch zoom to the pointer, a drag or a trackpad moves it, 0 fits it, 1 shows it in its size.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        sight: &mut Sight,
        marks: &[Mark],
        lit: Option<usize>,
    ) -> Seen {
        let (place, response) =
            ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        let name = format!("{}, {} objects", self.name, marks.len());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
        self.steer(ui, &response, place, sight);
        let placed = self.placed(place, sight);
        if (placed.scale >= SQUARES) != self.near {
            self.near = !self.near;
            self.sharpen(ui.ctx());
        }
        let painter = ui.painter().with_clip_rect(place.intersect(ui.clip_rect()));
        painter.rect_filled(place, CornerRadius::ZERO, Tokens::of(ui).canvas);
        self.paint(&painter, placed);
        let hovered = response.hover_pos().and_then(|at| under(marks, placed, at));
        paint_marks(&painter, marks, placed, hovered.or(lit));
        let clicked = hovered.filter(|_| response.clicked());
        super::widgets::focus_ring(ui, &response);
        Seen {
            response,
            placed,
            hovered,
            clicked,
        }
    }

    /// Where it is, for a sight.
    fn placed(&self, place: Rect, sight: &Sight) -> Placed {
        let size = vec2(self.size[0] as f32, self.size[1] as f32);
        let fit = (place.width() / size.x).min(place.height() / size.y);
        // small pictures are shown large, but not so that they are nothing but squares
        let scale = sight.zoom.unwrap_or(fit.clamp(0.001, GRID));
        let middle = match sight.zoom {
            Some(_) => vec2(sight.middle[0] * size.x, sight.middle[1] * size.y),
            None => size / 2.0,
        };
        Placed {
            origin: place.center() - middle * scale,
            scale,
        }
    }

    fn steer(&self, ui: &Ui, response: &Response, place: Rect, sight: &mut Sight) {
        let size = vec2(self.size[0] as f32, self.size[1] as f32);
        let placed = self.placed(place, sight);
        let (mut moved, mut factor) = (response.drag_delta(), 1.0);
        if response.hovered() {
            ui.input_mut(|input| {
                factor *= input.zoom_delta();
                for event in &input.events {
                    if let Event::MouseWheel {
                        unit,
                        delta,
                        modifiers,
                        ..
                    } = event
                    {
                        match unit {
                            _ if modifiers.command || modifiers.ctrl => {}
                            MouseWheelUnit::Point => moved += *delta,
                            _ => factor *= NOTCH.powf(delta.y),
                        }
                    }
                }
                input.smooth_scroll_delta = Vec2::ZERO;
            });
        }
        let typing = ui.ctx().egui_wants_keyboard_input() && !response.has_focus();
        if (response.hovered() || response.has_focus()) && !typing {
            let key = |key| ui.input(|i| i.modifiers.is_none() && i.key_pressed(key));
            if key(Key::Num0) {
                sight.fit();
                return;
            }
            if key(Key::Num1) {
                let now = self.placed(place, sight).pixel(place.center());
                *sight = Sight {
                    zoom: Some(1.0),
                    middle: [now[0] / size.x, now[1] / size.y],
                };
                return;
            }
        }
        if moved == Vec2::ZERO && factor == 1.0 {
            return;
        }
        let scale = (placed.scale * factor).clamp(0.01, CLOSEST);
        let at = response.hover_pos().unwrap_or(place.center());
        // the pixel under the pointer stays there
        let [x, y] = placed.pixel(at);
        let origin = at - vec2(x, y) * scale + moved;
        let middle = (place.center() - origin) / scale;
        *sight = Sight {
            zoom: Some(scale),
            middle: [
                (middle.x / size.x).clamp(0.0, 1.0),
                (middle.y / size.y).clamp(0.0, 1.0),
            ],
        };
    }

    /// Looks at a box closely.
    pub fn zoom_to(&self, sight: &mut Sight, [x1, y1, x2, y2]: [f32; 4], room: Vec2) {
        let (w, h) = ((x2 - x1).max(1.0), (y2 - y1).max(1.0));
        let zoom = (room.x / w).min(room.y / h) * 0.6;
        *sight = Sight {
            zoom: Some(zoom.clamp(0.01, CLOSEST)),
            middle: [
                (x1 + x2) / 2.0 / self.size[0] as f32,
                (y1 + y2) / 2.0 / self.size[1] as f32,
            ],
        };
    }

    /// Takes the textures' filter for the zoom.
    fn sharpen(&mut self, ctx: &Context) {
        let tiles = self.upload(ctx, "picture", |pixels| {
            let rgb = pixels.map(|i| &self.rgb[i * 3..i * 3 + 3]);
            rgb.map(|p| Color32::from_rgb(p[0], p[1], p[2])).collect()
        });
        self.tiles = tiles;
    }

    fn paint(&self, painter: &Painter, placed: Placed) {
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        for (texture, [x, y]) in self.tiles.iter().chain(&self.masks) {
            let [w, h] = texture.size();
            let [x, y] = [*x as f32, *y as f32];
            let rect = placed.rect([x, y, x + w as f32, y + h as f32]);
            painter.image(texture.id(), rect, whole, Color32::WHITE);
        }
        if placed.scale >= GRID {
            self.paint_pixels(painter, placed);
        }
    }

    /// The grid, and the values where there is room.
    fn paint_pixels(&self, painter: &Painter, placed: Placed) {
        let seen = painter.clip_rect();
        let ([x1, y1], [x2, y2]) = (placed.pixel(seen.min), placed.pixel(seen.max));
        let range = |from: f32, to: f32, most: usize| {
            (from.max(0.0) as usize)..(to.ceil().max(0.0) as usize).min(most)
        };
        let (xs, ys) = (range(x1, x2, self.size[0]), range(y1, y2, self.size[1]));
        let stroke = Stroke::new(1.0, Color32::from_black_alpha(60));
        let (left, right) = (
            placed.at([xs.start as f32, 0.0]).x,
            placed.at([xs.end as f32, 0.0]).x,
        );
        let (top, low) = (
            placed.at([0.0, ys.start as f32]).y,
            placed.at([0.0, ys.end as f32]).y,
        );
        for x in xs.clone() {
            let x = placed.at([x as f32, 0.0]).x;
            painter.vline(x, top..=low, stroke);
        }
        for y in ys.clone() {
            let y = placed.at([0.0, y as f32]).y;
            painter.hline(left..=right, y, stroke);
        }
        if placed.scale < VALUES {
            return;
        }
        for y in ys {
            for x in xs.clone() {
                let at = (y * self.size[0] + x) * 3;
                let rgb = &self.rgb[at..at + 3];
                let light = rgb.iter().map(|v| u32::from(*v)).sum::<u32>() > 384;
                let ink = if light {
                    Color32::BLACK
                } else {
                    Color32::WHITE
                };
                let text = format!("{}\n{}\n{}", rgb[0], rgb[1], rgb[2]);
                let center = placed.at([x as f32 + 0.5, y as f32 + 0.5]);
                painter.text(
                    center,
                    Align2::CENTER_CENTER,
                    text,
                    FontId::monospace(SMALL),
                    ink,
                );
            }
        }
    }
}

/// Masks as one layer for a picture of `[width, height]` pixels, to be made away from the window's thread. None if there are none of that size.
pub fn layer([width, height]: [usize; 2], masks: &[(&[u8], Color32)]) -> Option<Vec<Color32>> {
    let whole = width * height;
    let masks: Vec<_> = masks.iter().filter(|(m, _)| m.len() == whole).collect();
    if masks.is_empty() {
        return None;
    }
    let mut over = vec![Color32::TRANSPARENT; whole];
    for (mask, color) in masks {
        let color = color.gamma_multiply(COVER);
        for (to, _) in over.iter_mut().zip(*mask).filter(|(_, m)| **m != 0) {
            *to = color;
        }
    }
    Some(over)
}

fn options(near: bool) -> TextureOptions {
    match near {
        true => TextureOptions::NEAREST,
        false => TextureOptions::LINEAR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(xyxy: [f32; 4]) -> Mark {
        Mark {
            xyxy,
            color: Color32::GREEN,
            caption: "dog 0.97".into(),
            line: Line::Solid,
        }
    }

    #[test]
    fn the_smallest_box_is_under_the_pointer() {
        let placed = Placed {
            origin: pos2(100.0, 50.0),
            scale: 2.0,
        };
        assert_eq!(placed.pixel(placed.at([3.0, 4.0])), [3.0, 4.0]);
        let marks = [
            mark([0.0, 0.0, 100.0, 100.0]),
            mark([10.0, 10.0, 20.0, 20.0]),
        ];
        assert_eq!(under(&marks, placed, placed.at([15.0, 15.0])), Some(1));
        assert_eq!(under(&marks, placed, placed.at([50.0, 50.0])), Some(0));
        assert_eq!(under(&marks, placed, placed.at([120.0, 50.0])), None);
    }
}
