//! The pictures of a folder, small and side by side: only those in sight are read.

use std::collections::HashMap;

use eframe::egui::{
    self, Color32, ColorImage, CornerRadius, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextureHandle, TextureOptions, Ui, WidgetInfo, pos2, vec2,
};

use super::item::Item;
use crate::window::icons;
use crate::window::jobs::{Job, Jobs};
use crate::window::session::Session;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// How high the strip is.
pub const HEIGHT: f32 = 80.0;
const CELL: [f32; 2] = [96.0, 64.0];
const GAP: f32 = 4.0;
/// Jobs at once, and pictures of each: small, so that what is scrolled to comes soon.
const LANES: usize = 2;
const BATCH: usize = 4;
/// Most that are kept.
const KEPT: usize = 512;

/// Pictures that are being read: which, and the small ones of those that can be.
type Lane = (Vec<usize>, Job<Vec<(usize, Option<ColorImage>)>>);

/// The strip.
#[derive(Default)]
pub struct Filmstrip {
    thumbs: HashMap<usize, Option<TextureHandle>>,
    lanes: Vec<Lane>,
    /// The picture that was shown last, to bring another one into sight.
    shown: Option<usize>,
}

/// What is known of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badge {
    /// So many objects were found.
    Found(usize),
    /// It cannot be used.
    Failed,
}

impl Filmstrip {
    /// Other pictures: what was known is forgotten.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Shows it; gives the picture that was clicked.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        items: &[Item],
        at: usize,
        badge: &dyn Fn(usize) -> Option<Badge>,
        session: &Session,
        jobs: &mut Jobs,
    ) -> Option<usize> {
        self.take(ui);
        let step = CELL[0] + GAP;
        let mut area = ScrollArea::horizontal()
            .id_salt("filmstrip")
            .auto_shrink(false);
        if self.shown.replace(at) != Some(at) {
            let middle = at as f32 * step - (ui.available_width() - step) / 2.0;
            area = area.horizontal_scroll_offset(middle.max(0.0));
        }
        let mut clicked = None;
        area.show_viewport(ui, |ui, sight| {
            ui.set_min_size(vec2(items.len() as f32 * step, CELL[1]));
            let first = (sight.min.x / step).max(0.0) as usize;
            let last = ((sight.max.x / step).ceil().max(0.0) as usize).min(items.len());
            let corner = ui.min_rect().min;
            for (i, item) in items.iter().enumerate().take(last).skip(first) {
                let min = pos2(corner.x + i as f32 * step, corner.y);
                let rect = Rect::from_min_size(min, CELL.into());
                if self.cell(ui, rect, i, item, i == at, badge(i)) {
                    clicked = Some(i);
                }
            }
            self.read(first..last, items, session, jobs);
        });
        clicked
    }

    fn cell(
        &self,
        ui: &mut Ui,
        rect: Rect,
        i: usize,
        item: &Item,
        shown: bool,
        badge: Option<Badge>,
    ) -> bool {
        let tokens = Tokens::of(ui);
        let response = ui.interact(rect, ui.scope_id().with(("picture", i)), Sense::click());
        let name = format!("Picture {}, {}", i + 1, item.name());
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, shown, &name));
        let painter = ui.painter_at(rect.expand(2.0));
        painter.rect_filled(rect, CornerRadius::same(4), tokens.raised);
        match self.thumbs.get(&i) {
            Some(Some(texture)) => {
                let place = Rect::from_center_size(rect.center(), texture.size_vec2());
                let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                painter.image(texture.id(), place, whole, Color32::WHITE);
            }
            Some(None) => {
                let square = Rect::from_center_size(rect.center(), vec2(20.0, 20.0));
                icons::paint(&painter, icons::ERROR, square, tokens.error);
            }
            None => {}
        }
        if let Some(badge) = badge {
            let (text, color) = match badge {
                Badge::Found(n) => (n.to_string(), tokens.text),
                Badge::Failed => ("!".into(), tokens.error),
            };
            let font = egui::FontId::proportional(SMALL);
            let text = painter.layout_no_wrap(text, font, color);
            let corner = rect.max - text.size() - vec2(7.0, 3.0);
            let back = Rect::from_min_max(corner - vec2(3.0, 0.0), rect.max - vec2(3.0, 3.0));
            painter.rect_filled(back, CornerRadius::same(4), tokens.popup);
            painter.galley(corner, text, color);
        }
        let edge = |width, color| Stroke::new(width, color);
        let stroke = match (shown, response.hovered()) {
            (true, _) => edge(2.0, tokens.accent),
            (false, true) => edge(1.0, tokens.edge),
            _ => Stroke::NONE,
        };
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
        widgets::focus_ring(ui, &response);
        response.on_hover_text(item.path()).clicked()
    }

    /// Takes what was read.
    fn take(&mut self, ui: &Ui) {
        let Self { thumbs, lanes, .. } = self;
        lanes.retain(|(wanted, job)| {
            let Some(read) = job.poll() else { return true };
            // those that a panic took along are broken ones
            let read = read.unwrap_or_else(|_| wanted.iter().map(|i| (*i, None)).collect());
            for (i, image) in read {
                let texture = image.map(|image| {
                    ui.ctx()
                        .load_texture(format!("thumb {i}"), image, TextureOptions::LINEAR)
                });
                thumbs.insert(i, texture);
            }
            false
        });
    }

    /// Reads what is in sight and not there yet; what is out of sight is not read on.
    fn read(
        &mut self,
        sight: std::ops::Range<usize>,
        items: &[Item],
        session: &Session,
        jobs: &mut Jobs,
    ) {
        self.lanes
            .retain(|(wanted, _)| wanted.iter().any(|i| sight.contains(i)));
        while self.lanes.len() < LANES {
            let busy = |i: &usize| self.lanes.iter().any(|(wanted, _)| wanted.contains(i));
            let wanted: Vec<usize> = sight
                .clone()
                .filter(|i| !self.thumbs.contains_key(i) && !busy(i))
                .take(BATCH)
                .collect();
            if wanted.is_empty() {
                break;
            }
            let host = session.host.clone();
            let asked: Vec<(usize, Item)> =
                wanted.iter().map(|i| (*i, items[*i].clone())).collect();
            let job = jobs.quietly("reading small pictures", move |progress| {
                let mut read = Vec::new();
                for (i, item) in asked {
                    if progress.cancelled() {
                        break;
                    }
                    let image = item.read(&*host).and_then(|c| c.decode(&item.name()));
                    read.push((i, image.ok().map(|image| small(&image))));
                }
                read
            });
            self.lanes.push((wanted, job));
        }
        if self.thumbs.len() > KEPT {
            let middle = (sight.start + sight.end) / 2;
            self.thumbs.retain(|i, _| i.abs_diff(middle) < KEPT / 4);
        }
    }
}

/// A picture in the size of a cell: each pixel is the mean of those that it covers.
fn small(picture: &smalti::data::Picture) -> ColorImage {
    let (w, h, rgb) = (picture.width(), picture.height(), picture.to_rgb());
    let scale = (CELL[0] / w as f32).min(CELL[1] / h as f32).min(1.0);
    let side = |n: usize| ((n as f32 * scale).round() as usize).max(1);
    let (width, height) = (side(w), side(h));
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let rows = y * h / height..((y + 1) * h / height).max(y * h / height + 1);
        for x in 0..width {
            let columns = x * w / width..((x + 1) * w / width).max(x * w / width + 1);
            let mut sums = [0_usize; 3];
            for row in rows.clone() {
                for column in columns.clone() {
                    let at = (row * w + column) * 3;
                    (0..3).for_each(|c| sums[c] += usize::from(rgb[at + c]));
                }
            }
            let count = rows.len() * columns.len();
            out.extend(sums.map(|sum| (sum / count) as u8));
        }
    }
    ColorImage::from_rgb([width, height], &out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_keep_their_shape_and_their_mean() {
        let rgb: Vec<u8> = (0..400 * 100)
            .flat_map(|i| [(i % 2) as u8 * 200, 10, 20])
            .collect();
        let picture = smalti::data::Picture::from_rgb(400, 100, rgb).unwrap();
        let image = small(&picture);
        assert_eq!(image.size, [96, 24]);
        assert!(
            image
                .pixels
                .iter()
                .all(|p| (80..=120).contains(&p.r()) && p.g() == 10)
        );
        let narrow = smalti::data::Picture::from_rgb(1, 3000, vec![7; 9000]).unwrap();
        assert_eq!(small(&narrow).size, [1, 64]);
    }
}
