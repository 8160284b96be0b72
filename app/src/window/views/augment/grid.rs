//! Sixteen samples side by side, as they leave the pipeline: one is made after another, and shown as it comes.

use eframe::egui::{
    Align2, Color32, Context, CornerRadius, FontId, Rect, Role, Sense, Shape, Stroke, StrokeKind,
    TextureHandle, Ui, WidgetInfo, pos2, vec2,
};

use smalti::data::pixels::Pixels;

use super::sample::{self, Failed, Question, Shot};
use super::stage;
use crate::window::frame::plural;
use crate::window::jobs::{Jobs, Newest};
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// Tiles of the grid.
pub const COUNT: usize = 16;
const COLUMNS: usize = 4;
/// Longest side of a tile's picture, px.
const SIDE: usize = 320;

/// A sample in small.
struct Small {
    shot: Option<Shot>,
    size: [usize; 2],
    boxes: Vec<([f32; 4], Color32)>,
    error: Option<String>,
}

/// The grid.
pub struct Grid {
    work: Newest<(Question, u64), (u64, Small)>,
    /// What is to be shown.
    wanted: Option<Question>,
    number: u64,
    tiles: Vec<(Small, Option<TextureHandle>)>,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            work: Newest::new("samples of the grid", |(question, number), _| {
                (number, small(&question))
            }),
            wanted: None,
            number: 0,
            tiles: Vec::new(),
        }
    }
}

fn small(question: &Question) -> Small {
    let mut made = Small {
        shot: None,
        size: [1, 1],
        boxes: Vec::new(),
        error: None,
    };
    let pixels = Pixels::cpu();
    let done = question.opened.with(&question.node, |dataset, files| {
        if question.index >= dataset.len() {
            return Err(Failed::Index);
        }
        let (index, seed) = (question.index, question.seed);
        let trace = sample::traced(dataset, files, &pixels, index, seed, question.pins.clone());
        if let Some(step) = trace.steps.last() {
            let sample = step.samples()[0];
            made.size = sample.image.size();
            made.shot = sample::small(&sample.image, &pixels, SIDE);
            let meta = &question.opened.meta;
            let colors = sample
                .gt
                .labels
                .iter()
                .map(|label| sample::color(meta, *label));
            made.boxes = sample.gt.boxes.iter().copied().zip(colors).collect();
        }
        made.error = trace.error.as_ref().map(ToString::to_string);
        Ok(())
    });
    if let Err(found) = done {
        made.error = found.first().map(|d| d.message.clone());
    }
    made
}

impl Grid {
    /// From here on other samples are to be shown.
    pub fn ask(&mut self, question: Question) {
        self.number += 1;
        self.tiles.clear();
        self.wanted = Some(question);
    }

    /// Takes what was made, asks for what is next.
    pub fn tick(&mut self, ctx: &Context, jobs: &mut Jobs) {
        if let Some(Ok((number, small))) = self.work.poll(jobs)
            && number == self.number
        {
            let name = format!("tile {}", self.tiles.len());
            let texture = small.shot.as_ref().map(|s| stage::upload(ctx, &name, s));
            self.tiles.push((small, texture));
        }
        let Some(question) = &self.wanted else { return };
        let next = question.index + self.tiles.len();
        if self.tiles.len() < COUNT && next < question.opened.len && !self.work.is_busy() {
            let next = Question {
                index: next,
                ..question.clone()
            };
            self.work.ask(jobs, (next, self.number));
        }
    }

    /// Shows it; gives the sample that was clicked.
    pub fn show(&self, ui: &mut Ui) -> Option<usize> {
        let room = ui.available_rect_before_wrap();
        ui.advance_cursor_after_rect(room);
        let first = self.wanted.as_ref().map_or(0, |q| q.index);
        let most = self
            .wanted
            .as_ref()
            .map_or(0, |q| q.opened.len - first.min(q.opened.len));
        let count = COUNT.min(most);
        let rows = count.div_ceil(COLUMNS).max(1);
        let size = vec2(room.width() / COLUMNS as f32, room.height() / rows as f32);
        let mut clicked = None;
        for i in 0..count {
            let at = room.min + vec2((i % COLUMNS) as f32 * size.x, (i / COLUMNS) as f32 * size.y);
            let rect = Rect::from_min_size(at, size).shrink(2.0);
            if tile(ui, rect, first + i, self.tiles.get(i)) {
                clicked = Some(first + i);
            }
        }
        clicked
    }
}

fn tile(ui: &Ui, rect: Rect, index: usize, made: Option<&(Small, Option<TextureHandle>)>) -> bool {
    let tokens = Tokens::of(ui);
    let response = ui.interact(rect, ui.scope_id().with(("tile", index)), Sense::click());
    let count = made.map(|(small, _)| plural(small.boxes.len(), "object"));
    let name = match &count {
        Some(count) => format!("Sample {index}, {count}"),
        None => format!("Sample {index}, being made"),
    };
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, CornerRadius::same(4), tokens.panel);
    if let Some((small, texture)) = made {
        if let Some(texture) = texture {
            let size = texture.size_vec2();
            let scale = (rect.width() / size.x).min(rect.height() / size.y);
            let place = Rect::from_center_size(rect.center(), size * scale);
            let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            painter.image(texture.id(), place, whole, Color32::WHITE);
            let scale = place.width() / small.size[0].max(1) as f32;
            for (bbox, color) in &small.boxes {
                let [x1, y1, x2, y2] = bbox.map(|v| v * scale);
                let bbox = Rect::from_min_max(place.min + vec2(x1, y1), place.min + vec2(x2, y2));
                for (width, color) in [(3.0, Color32::from_black_alpha(191)), (1.5, *color)] {
                    let stroke = Stroke::new(width, color);
                    painter.add(Shape::rect_stroke(
                        bbox,
                        CornerRadius::ZERO,
                        stroke,
                        StrokeKind::Middle,
                    ));
                }
            }
        }
        if let Some(error) = &small.error {
            let font = FontId::proportional(SMALL);
            let text = painter.layout(error.clone(), font, tokens.error, rect.width() - 16.0);
            let back =
                Rect::from_min_size(rect.min + vec2(4.0, 28.0), text.size() + vec2(8.0, 4.0));
            painter.rect_filled(back, CornerRadius::same(4), tokens.popup);
            painter.galley(back.min + vec2(4.0, 2.0), text, tokens.error);
        }
    }
    let text = match &count {
        Some(count) => format!("{index}  {count}"),
        None => index.to_string(),
    };
    let font = FontId::proportional(SMALL);
    let text = painter.layout_no_wrap(text, font, tokens.text);
    let back =
        Align2::LEFT_TOP.align_size_within_rect(text.size() + vec2(8.0, 4.0), rect.shrink(4.0));
    painter.rect_filled(back, CornerRadius::same(4), tokens.popup);
    painter.galley(back.min + vec2(4.0, 2.0), text, tokens.text);
    if response.hovered() {
        let stroke = Stroke::new(2.0, tokens.accent);
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    }
    widgets::focus_ring(ui, &response);
    response.clicked()
}
