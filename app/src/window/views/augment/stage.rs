//! The picture of the chosen step: boxes, masks and ghosts, the one before beside it, and over a Mosaic its sources and its centre.

use eframe::egui::{
    Align2, Color32, Context, CornerRadius, CursorIcon, FontId, Key, Painter, Rect, Role, Sense,
    Shape, Stroke, TextureHandle, TextureOptions, Ui, UiBuilder, WidgetInfo, vec2,
};

use smalti::data::datasets::MetaInfo;
use smalti::data::draws_file::class_name;
use smalti::data::trace::reason;

use super::mosaic::Sources;
use super::sample::{self, Pane, Seen, Shot};
use crate::window::picture::{self, Line, Mark, Picture, Placed, Sight};
use crate::window::tokens::{self, BODY, SMALL, Tokens};
use crate::window::widgets;

/// A sample on the screen's device.
pub struct Shown {
    /// What was made.
    pub seen: Seen,
    /// The strip's pictures.
    pub thumbs: Vec<Option<TextureHandle>>,
    after: Option<View>,
    before: Option<View>,
}

/// A picture and its boxes: kept objects first, then what the step left out.
struct View {
    picture: Picture,
    marks: Vec<Mark>,
    kept: usize,
    /// Pixels of the picture for one of the sample.
    scale: f32,
}

/// What somebody did with the picture.
#[derive(Default)]
pub struct Did {
    /// The ghost under the pointer, by its place among what was dropped.
    pub hovered: Option<usize>,
    /// Where the Mosaic's centre is dragged to, px; with Shift it is the range that is moved.
    pub center: Option<([f64; 2], bool)>,
}

impl Shown {
    /// Of a sample that was made; its small pictures are those of the one before until they come.
    pub fn new(ctx: &Context, mut seen: Seen, meta: &MetaInfo, old: Option<Shown>) -> Self {
        let thumbs = old.map(|old| old.thumbs).unwrap_or_default();
        let name = seen.chosen.map_or("", |row| seen.rows[row].name.as_str());
        let file = seen
            .chosen
            .and_then(|row| seen.rows[row].step)
            .map(|step| seen.trace.steps[step].sample.info.img_path.clone())
            .unwrap_or_default();
        let file = file
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let (after, before) = (
            format!("{file} after {name}"),
            format!("{file} before {name}"),
        );
        Self {
            after: seen.pane.take().map(|p| View::new(ctx, &after, p, meta)),
            before: seen.before.take().map(|p| View::new(ctx, &before, p, meta)),
            seen,
            thumbs,
        }
    }

    /// Takes the small pictures of the strip.
    pub fn set_thumbs(&mut self, ctx: &Context, shots: Vec<Option<Shot>>) {
        let texture = |(i, shot): (usize, Option<Shot>)| {
            shot.map(|shot| upload(ctx, &format!("step {i}"), &shot))
        };
        self.thumbs = shots.into_iter().enumerate().map(texture).collect();
    }

    /// The size of the sample that is shown, px.
    pub fn size(&self) -> Option<[usize; 2]> {
        let view = self.after.as_ref()?;
        let full = |side: usize| (side as f32 / view.scale).round() as usize;
        Some(view.picture.size().map(full))
    }

    /// Shows it in all the room there is. `lit` is a ghost that is hovered elsewhere.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        sight: &mut Sight,
        beside: bool,
        lit: Option<usize>,
        range: Option<[f64; 4]>,
    ) -> Did {
        let mut did = Did::default();
        let all = ui.available_rect_before_wrap();
        let before = self.before.as_mut().filter(|_| beside);
        let right = match before {
            Some(view) => {
                let (left, right) = all.split_left_right_at_fraction(0.5);
                within(ui, left.with_max_x(left.right() - 2.0), "before", |ui| {
                    view.show(ui, sight, None);
                    title(ui, "before");
                });
                right.with_min_x(right.left() + 2.0)
            }
            None => all,
        };
        let Some(view) = &mut self.after else {
            ui.label("There is no picture yet at this step.");
            return did;
        };
        let sources = self.seen.sources.as_ref();
        within(ui, right, "after", |ui| {
            let kept = view.kept;
            let (placed, hovered) = view.show(ui, sight, lit.map(|ghost| kept + ghost));
            did.hovered = hovered.and_then(|mark| mark.checked_sub(kept));
            if let Some(sources) = sources {
                did.center = overlay(ui, right, placed, sources, range);
            }
            if beside {
                title(ui, "after");
            }
        });
        did
    }
}

fn within(ui: &mut Ui, rect: Rect, id: &str, show: impl FnOnce(&mut Ui)) {
    ui.scope_builder(UiBuilder::new().max_rect(rect).id_salt(id), |ui| {
        ui.set_clip_rect(rect.intersect(ui.clip_rect()));
        show(ui);
    });
}

/// A word in the corner of a pane.
fn title(ui: &Ui, text: &str) {
    chip(
        ui,
        ui.max_rect(),
        Align2::LEFT_TOP,
        text,
        Tokens::of(ui).text,
    );
}

/// A word over the picture.
pub fn chip(ui: &Ui, room: Rect, at: Align2, text: &str, color: Color32) {
    let painter = ui.painter();
    let room = room.shrink(8.0);
    let font = FontId::proportional(SMALL);
    let galley = painter.layout_no_wrap(text.to_owned(), font, color);
    let rect = at.align_size_within_rect(galley.size() + vec2(12.0, 6.0), room);
    painter.rect_filled(rect, CornerRadius::same(4), Tokens::of(ui).popup);
    painter.galley(rect.min + vec2(6.0, 3.0), galley, color);
}

/// A small picture on the screen's device.
pub fn upload(ctx: &Context, name: &str, shot: &Shot) -> TextureHandle {
    let image = eframe::egui::ColorImage::from_rgb(shot.size, &shot.rgb);
    ctx.load_texture(name, image, TextureOptions::LINEAR)
}

impl View {
    fn new(ctx: &Context, name: &str, pane: Pane, meta: &MetaInfo) -> Self {
        let scale = pane.shot.size[0] as f32 / pane.full[0].max(1) as f32;
        let scaled = |bbox: [f32; 4]| bbox.map(|v| v * scale);
        let mut marks: Vec<Mark> = (0..pane.boxes.len())
            .map(|i| {
                let class = class_name(&meta.classes, pane.labels[i]);
                let ignored = pane.ignore.get(i).copied().unwrap_or(false);
                let color = sample::color(meta, pane.labels[i]);
                Mark {
                    xyxy: scaled(pane.boxes[i]),
                    color: if ignored { tokens::IGNORED } else { color },
                    caption: if ignored {
                        format!("{class} (ignored)")
                    } else {
                        class
                    },
                    line: if ignored { Line::Dashed } else { Line::Solid },
                }
            })
            .collect();
        let kept = marks.len();
        marks.extend(pane.dropped.iter().map(|d| Mark {
            xyxy: scaled(d.bbox),
            color: tokens::DROPPED,
            caption: format!(
                "{}: {}",
                class_name(&meta.classes, d.label),
                reason(d.reason)
            ),
            line: Line::Dashed,
        }));
        let mut picture = Picture::new(ctx, name, pane.shot.size, pane.shot.rgb);
        picture.lay(ctx, pane.layer.as_deref());
        Self {
            picture,
            marks,
            kept,
            scale,
        }
    }

    /// Where the sample's pixels are on screen, and the mark under the pointer.
    fn show(
        &mut self,
        ui: &mut Ui,
        sight: &mut Sight,
        lit: Option<usize>,
    ) -> (Placed, Option<usize>) {
        // at half size a pixel stands for four: seen from twice as near
        let scale = self.scale;
        let mut own = Sight {
            zoom: sight.zoom.map(|zoom| zoom / scale),
            ..*sight
        };
        let asked = own;
        let did = self.picture.show(ui, &mut own, &self.marks, lit);
        if own != asked {
            *sight = Sight {
                zoom: own.zoom.map(|zoom| zoom * scale),
                ..own
            };
        }
        let placed = Placed {
            origin: did.placed.origin,
            scale: did.placed.scale * scale,
        };
        (placed, did.hovered)
    }
}

/// Names and outlines of a Mosaic's sources, the range of its centre, and the centre itself. Gives where that is dragged to.
fn overlay(
    ui: &mut Ui,
    room: Rect,
    placed: Placed,
    sources: &Sources,
    range: Option<[f64; 4]>,
) -> Option<([f64; 2], bool)> {
    let painter = ui.painter().with_clip_rect(room);
    let f32s = |xyxy: [f64; 4]| xyxy.map(|v| v as f32);
    let marks: Vec<Mark> = sources
        .parts
        .iter()
        .map(|part| Mark {
            xyxy: f32s(part.xyxy),
            color: tokens::DARK.accent,
            caption: widgets::middle(&part.name, 24),
            line: Line::Solid,
        })
        .collect();
    outlines(&painter, &marks, placed);
    if let Some(range) = range {
        let rect = placed.rect(f32s(range));
        let stroke = Stroke::new(1.0, tokens::DARK.accent);
        let corners = [
            rect.left_top(),
            rect.right_top(),
            rect.right_bottom(),
            rect.left_bottom(),
            rect.left_top(),
        ];
        painter.extend(Shape::dashed_line(&corners, stroke, 2.0, 4.0));
    }
    let center = placed.at(sources.center.map(|v| v as f32));
    let id = ui.scope_id().with("mosaic centre");
    let handle = Rect::from_center_size(center, vec2(28.0, 28.0));
    let response = ui
        .interact(handle, id, Sense::click_and_drag())
        .on_hover_cursor(CursorIcon::Move)
        .on_hover_text("Drag pins the centre of this draw; with Shift it moves the config's range");
    let name = format!(
        "Mosaic centre, {:.0}, {:.0}",
        sources.center[0], sources.center[1]
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Slider, true, &name));
    let active = response.hovered() || response.dragged() || response.has_focus();
    handle_of(&painter, center, active);
    widgets::focus_ring(ui, &response);
    let clamp = |at: [f64; 2]| [0, 1].map(|i| at[i].round().clamp(0.0, sources.canvas[i]));
    let shift = ui.input(|i| i.modifiers.shift);
    if response.dragged()
        && let Some(at) = response.interact_pointer_pos()
    {
        let to = clamp(placed.pixel(at).map(f64::from));
        // the range moves with the hand alone: where the centre is drawn in it is another matter
        let moved = match shift {
            true => response.drag_delta() != eframe::egui::Vec2::ZERO,
            false => to != sources.center,
        };
        return moved.then_some((to, shift));
    }
    if response.has_focus() {
        let step = |key| ui.input(|i| i.num_presses(key)) as f64 * if shift { 10.0 } else { 1.0 };
        let x = step(Key::ArrowRight) - step(Key::ArrowLeft);
        let y = step(Key::ArrowDown) - step(Key::ArrowUp);
        ui.memory_mut(|m| {
            let filter = eframe::egui::EventFilter {
                horizontal_arrows: true,
                vertical_arrows: true,
                ..Default::default()
            };
            m.set_focus_lock_filter(id, filter);
        });
        let to = clamp([sources.center[0] + x, sources.center[1] + y]);
        return (to != sources.center).then_some((to, false));
    }
    None
}

fn handle_of(painter: &Painter, at: eframe::egui::Pos2, active: bool) {
    let radius = if active { 10.0 } else { 8.0 };
    let halo = Stroke::new(4.0, Color32::from_black_alpha(191));
    painter.circle_stroke(at, radius, halo);
    painter.circle(
        at,
        radius,
        tokens::DARK.accent.gamma_multiply(0.5),
        Stroke::new(2.0, Color32::WHITE),
    );
}

/// Outlines with their names inside the upper left corner.
fn outlines(painter: &Painter, marks: &[Mark], placed: Placed) {
    let bare: Vec<Mark> = marks
        .iter()
        .map(|mark| Mark {
            caption: String::new(),
            ..mark.clone()
        })
        .collect();
    picture::paint_marks(painter, &bare, placed, None);
    for mark in marks {
        let rect = placed.rect(mark.xyxy);
        if mark.caption.is_empty() || rect.width() < 48.0 || rect.height() < 24.0 {
            continue;
        }
        let font = FontId::proportional(BODY);
        let text = painter.layout_no_wrap(mark.caption.clone(), font, tokens::DARK.text);
        let back = Rect::from_min_size(rect.min + vec2(4.0, 4.0), text.size() + vec2(8.0, 2.0));
        let dark = Color32::from_black_alpha(191);
        painter.rect_filled(back, CornerRadius::same(2), dark);
        painter.galley(back.min + vec2(4.0, 1.0), text, tokens::DARK.text);
    }
}
