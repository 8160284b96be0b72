//! Curves of runs: losses, figures of validations, learning rates, side by side over the same iterations. A cursor marks an epoch in all.
//! [`plot`] is one of the plots.

mod plot;

use std::collections::{BTreeMap, BTreeSet};

use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Rect, RichText, Role, ScrollArea, Sense, Shape, Slider,
    Stroke, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};
use egui_plot::{Line, LineStyle, PlotPoints, Points};

use super::short;
use crate::window::tokens::{SMALL, Tokens};
use crate::window::training::curve::{self, Smooth};
use crate::window::training::log::{self, RunLog};
use crate::window::widgets::{self, middle};
pub use plot::{Frame, plot};
use plot::{plot_with, visible};

/// A run whose curves are drawn.
pub struct Drawn<'a> {
    /// Its place in the list.
    pub run: usize,
    /// Its name.
    pub name: String,
    /// Its figures.
    pub log: &'a RunLog,
    /// Its colour and dash.
    pub look: Look,
    /// Its last iteration, to come or done.
    pub last: u64,
    /// Whether it is shown.
    pub shown: bool,
}

/// Colour and dash of a line.
pub type Look = (Color32, LineStyle);

/// What is shown of the curves.
pub struct Curves {
    smoothing: f64,
    log: bool,
    /// Figures that are not shown, where there is one run.
    hidden: BTreeSet<String>,
    /// The figure that is shown of each kind, where there are several.
    only: BTreeMap<&'static str, String>,
    smooth: BTreeMap<(String, String), Smooth>,
}

impl Default for Curves {
    fn default() -> Self {
        Self {
            smoothing: 0.6,
            log: false,
            hidden: BTreeSet::new(),
            only: BTreeMap::new(),
            smooth: BTreeMap::new(),
        }
    }
}

/// What one plot is of.
struct Kind {
    title: &'static str,
    is_one: fn(&str) -> bool,
    /// Whether its figures are those of iterations; else those of validations.
    of_training: bool,
    smooth: bool,
}

/// The plots.
const KINDS: [Kind; 3] = [
    Kind {
        title: "Loss",
        is_one: |name| name.contains("loss"),
        of_training: true,
        smooth: true,
    },
    Kind {
        title: "AP",
        is_one: |name| !TIMES.contains(&name),
        of_training: false,
        smooth: false,
    },
    Kind {
        title: "Learning rate",
        is_one: |name| name == "lr",
        of_training: true,
        smooth: false,
    },
];
/// Figures of validations that say how long they took.
const TIMES: [&str; 2] = ["time", "data_time"];
/// Figures that are shown first, of one run and kind.
const FIRST: usize = 5;
/// Height of a figure's name.
const CHIP: f32 = 22.0;
/// Height of the names of figures: two rows.
const NAMES: f32 = 2.0 * CHIP + 2.0;
/// Below this width plots stand one under another.
const NARROW: f32 = 640.0;
const GAP: f32 = 8.0;
/// What is larger has no place on a plot.
const LARGEST: f64 = 1e100;

/// Colour and dash of the line of this place.
pub fn look(tokens: &Tokens, i: usize) -> Look {
    let colors = [0, 2, 1, 3, 4].map(|i| tokens.code[i]);
    let style = match i % 3 {
        0 => LineStyle::Solid,
        1 => LineStyle::dashed_loose(),
        _ => LineStyle::dotted_dense(),
    };
    (colors[i % colors.len()], style)
}

/// A short piece of a line, or room for one.
pub fn swatch(ui: &mut Ui, look: Option<Look>) {
    let (rect, _) = ui.allocate_exact_size(vec2(20.0, 16.0), Sense::hover());
    let Some((color, style)) = look else { return };
    let stroke = Stroke::new(2.0, color);
    let (left, right) = (rect.left_center(), rect.right_center());
    match style {
        LineStyle::Solid => {
            ui.painter().line_segment([left, right], stroke);
        }
        LineStyle::Dashed { length } => {
            let dashes = Shape::dashed_line(&[left, right], stroke, length * 0.6, 3.0);
            ui.painter().extend(dashes);
        }
        LineStyle::Dotted { .. } => {
            let dots = Shape::dotted_line(&[left, right], color, 5.0, 1.5);
            ui.painter().extend(dots);
        }
    }
}

impl Curves {
    /// All plots in this height. A click moves the cursor.
    pub fn show(&mut self, ui: &mut Ui, runs: &[Drawn], cursor: &mut Option<u64>, height: f32) {
        self.head(ui);
        let names = runs.iter().map(|run| run.name.as_str());
        let known: BTreeSet<&str> = names.collect();
        self.smooth
            .retain(|(run, _), _| known.contains(run.as_str()));
        let width = ui.available_width();
        let last = runs.iter().map(|run| run.last).max().unwrap_or(0).max(1) as f64;
        if width < NARROW {
            ScrollArea::vertical()
                .id_salt("curves")
                .max_height(height)
                .show(ui, |ui| {
                    for kind in &KINDS {
                        self.kind(ui, kind, runs, cursor, [width, 240.0], last);
                    }
                });
            return;
        }
        let each = (width - GAP * (KINDS.len() - 1) as f32) / KINDS.len() as f32;
        let (all, _) = ui.allocate_exact_size(vec2(width, height), Sense::hover());
        for (i, kind) in KINDS.iter().enumerate() {
            let left = all.left() + i as f32 * (each + GAP);
            let rect = Rect::from_min_size(pos2(left, all.top()), vec2(each, height));
            let mut child = ui.new_child(UiBuilder::new().max_rect(rect).id_salt(kind.title));
            self.kind(&mut child, kind, runs, cursor, [each, height], last);
        }
    }

    fn head(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui);
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new("Smoothing").color(tokens.soft));
            let slider = Slider::new(&mut self.smoothing, 0.0..=0.99).fixed_decimals(2);
            let slider = ui.add(slider);
            widgets::name(&slider, "Smoothing");
            ui.checkbox(&mut self.log, "Logarithmic");
        });
    }

    fn kind(
        &mut self,
        ui: &mut Ui,
        kind: &Kind,
        runs: &[Drawn],
        cursor: &mut Option<u64>,
        [width, height]: [f32; 2],
        last: f64,
    ) {
        let tokens = Tokens::of(ui);
        ui.spacing_mut().item_spacing.y = 4.0;
        let top = ui.cursor().top();
        ui.label(RichText::new(kind.title).color(tokens.soft));
        let names = kind.names(runs);
        let common = common(&names);
        let chosen = self.chips(ui, kind, (&names, common), runs, *cursor);
        let used = ui.cursor().top() - top;
        let frame = Frame {
            name: &format!("{} by iteration", kind.title),
            size: [width, (height - used).max(80.0)],
            last,
            log: self.log && kind.of_training,
            from_zero: !kind.of_training,
            group: "runs",
        };
        let range = visible(ui, &frame);
        let (lines, dots) = self.lines(tokens, kind, (&frame, range), runs, (&names, &chosen));
        let none = lines.is_empty();
        let left_top = ui.cursor().left_top();
        if let Some(x) = plot_with(ui, &frame, *cursor, lines, dots) {
            *cursor = nearest_epoch(runs, x);
        }
        if none {
            let text = match kind.of_training {
                true => "Nothing is logged yet.",
                false => "No validation yet.",
            };
            let rect = Rect::from_min_size(left_top, frame.size.into());
            let font = FontId::proportional(SMALL);
            let painter = ui.painter();
            painter.text(
                rect.center(),
                Align2::CENTER_CENTER,
                text,
                font,
                tokens.weak,
            );
        }
    }

    /// Lines of the figures that are shown, and dots of those with few values.
    fn lines<'l>(
        &mut self,
        tokens: &Tokens,
        kind: &Kind,
        (frame, (from, to)): (&Frame, (f64, f64)),
        runs: &[Drawn],
        (names, chosen): (&[String], &[String]),
    ) -> (Vec<Line<'l>>, Vec<Points<'l>>) {
        let columns = (frame.size[0] as usize).max(1);
        let scaled = |points: log::Points| -> PlotPoints<'l> {
            let drawable = |y: f64| y.abs() < LARGEST && (!frame.log || y > 0.0);
            let shown = points.into_iter().filter(|p| drawable(p[1]));
            let scale = |y: f64| if frame.log { y.log10() } else { y };
            shown.map(|[x, y]| [x, scale(y)]).collect()
        };
        let several = runs.len() > 1;
        let (mut lines, mut dots) = (Vec::new(), Vec::new());
        let shown = names.iter().enumerate().filter(|(_, n)| chosen.contains(n));
        for (i, name) in shown {
            for run in runs {
                let Some(points) = kind.figures(run.log).get(name) else {
                    continue;
                };
                let (color, style) = if several { run.look } else { look(tokens, i) };
                let label = match several {
                    true => format!("{} of {}", plain(name), run.name),
                    false => plain(name).to_owned(),
                };
                let id = (run.run, name);
                let raw = || scaled(curve::thinned(points, from, to, columns));
                let line = |points: PlotPoints<'l>| {
                    let line = Line::new(label.clone(), points).color(color).style(style);
                    line.width(1.5).id(("line", &id))
                };
                if !kind.smooth {
                    if !kind.of_training {
                        let dot = Points::new("", raw()).radius(2.5).color(color);
                        dots.push(dot.allow_hover(false).id(("dots", &id)));
                    }
                    lines.push(line(raw()));
                    continue;
                }
                let faint = Line::new("", raw()).id(("raw", &id)).allow_hover(false);
                lines.push(faint.color(color.gamma_multiply(0.3)).width(1.0));
                let key = (run.name.clone(), name.clone());
                let smooth = self.smooth.entry(key).or_default();
                smooth.follow(points, self.smoothing);
                lines.push(line(scaled(curve::thinned(
                    &smooth.points,
                    from,
                    to,
                    columns,
                ))));
            }
        }
        (lines, dots)
    }

    /// Names of figures with their values where the cursor is; gives those that are shown.
    fn chips(
        &mut self,
        ui: &mut Ui,
        kind: &Kind,
        (names, common): (&[String], usize),
        runs: &[Drawn],
        cursor: Option<u64>,
    ) -> Vec<String> {
        let tokens = Tokens::of(ui);
        let several = runs.len() > 1;
        let main = names.iter().find(|name| name.ends_with("mAP"));
        let only = self.only.entry(kind.title).or_default();
        if !names.contains(only) {
            *only = main.or(names.first()).cloned().unwrap_or_default();
        }
        let hidden = &mut self.hidden;
        let width = ui.available_width();
        let mut chosen = Vec::new();
        let mut row = |ui: &mut Ui| {
            ui.spacing_mut().item_spacing = vec2(4.0, 2.0);
            for (i, name) in names.iter().enumerate() {
                // what is not among the first is shown when it is asked for
                let beyond = i >= FIRST || (!kind.of_training && name != only);
                let shown = match several {
                    true => name == only,
                    false => hidden.contains(name) == beyond,
                };
                if shown {
                    chosen.push(name.clone());
                }
                let value = runs.first().and_then(|run| {
                    let x = cursor.map_or(f64::INFINITY, |x| x as f64);
                    curve::at(kind.figures(run.log).get(name)?, x)
                });
                let color = match several {
                    true => tokens.weak,
                    false => look(tokens, i).0,
                };
                let value = value.map(|v| match kind.of_training {
                    true => short(v),
                    false => format!("{v:.3}"),
                });
                let pressed = chip(ui, &name[common..], value, shown, color);
                if pressed && several {
                    only.clone_from(name);
                } else if pressed && !hidden.remove(name) {
                    hidden.insert(name.clone());
                }
            }
        };
        ScrollArea::vertical()
            .id_salt("names")
            .max_height(NAMES)
            .auto_shrink(false)
            .show(ui, |ui| {
                ui.set_max_width(width - 12.0);
                ui.horizontal_wrapped(|ui| row(ui));
            });
        chosen
    }
}

impl Kind {
    fn figures<'l>(&self, log: &'l RunLog) -> &'l BTreeMap<String, log::Points> {
        match self.of_training {
            true => &log.train,
            false => &log.val,
        }
    }

    /// All its figures of these runs. COCO's figures of what is not there are -1.
    fn names(&self, runs: &[Drawn]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for run in runs {
            for (name, points) in self.figures(run.log) {
                let is_there = points.iter().any(|p| p[1] >= 0.0);
                if (self.is_one)(name) && is_there && !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

/// A figure's name with its colour and value; whether it was pressed.
fn chip(ui: &mut Ui, name: &str, value: Option<String>, shown: bool, color: Color32) -> bool {
    let tokens = Tokens::of(ui);
    let value = value.unwrap_or_default();
    let text = format!("{} {value}", middle(name, 20));
    let font = FontId::proportional(SMALL);
    let ink = if shown { tokens.text } else { tokens.weak };
    let galley = ui.painter().layout_no_wrap(text, font, ink);
    let size = vec2(galley.size().x + 24.0, CHIP);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response
        .widget_info(|| WidgetInfo::selected(Role::Button, true, shown, format!("{name} {value}")));
    let painter = ui.painter();
    let fill = match (shown, response.hovered()) {
        (_, true) => tokens.hover,
        (true, false) => tokens.raised,
        (false, false) => Color32::TRANSPARENT,
    };
    painter.rect_filled(rect, CornerRadius::same(4), fill);
    let dot = pos2(rect.left() + 10.0, rect.center().y);
    if shown {
        painter.circle_filled(dot, 4.0, color);
    } else {
        painter.circle_stroke(dot, 3.5, Stroke::new(1.0, tokens.weak));
    }
    let at = pos2(rect.left() + 18.0, rect.center().y - galley.size().y / 2.0);
    painter.galley(at, galley, ink);
    widgets::focus_ring(ui, &response);
    response.on_hover_text("Show or hide").clicked()
}

/// A figure's name without its metric's.
fn plain(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// How much of the names is the same in all: whole words, so that what is left says what differs. Of a lone name, its metric.
fn common(names: &[String]) -> usize {
    let Some(first) = names.first() else { return 0 };
    let metric = first.len() - plain(first).len();
    let mut ends = first.match_indices(['/', '_']).map(|(i, _)| i + 1);
    let is_common = |end: &usize| names.iter().all(|name| name.starts_with(&first[..*end]));
    let common = ends.rfind(is_common).unwrap_or(0);
    match names.len() {
        1 => metric,
        _ => common,
    }
}

/// The end of the epoch that is nearest; the iteration itself in a run by iterations.
fn nearest_epoch(runs: &[Drawn], x: f64) -> Option<u64> {
    let run = runs.first()?;
    let length = run.log.epoch_length.unwrap_or(1).max(1) as f64;
    let epoch = (x / length)
        .round()
        .clamp(1.0, (run.last as f64 / length).max(1.0));
    let last = run.log.last_iter();
    Some(((epoch * length) as u64).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_differs() {
        let all = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let figures = all(&["coco/bbox_mAP", "coco/bbox_mAP_50"]);
        assert_eq!(common(&figures), "coco/bbox_".len());
        assert_eq!(
            common(&all(&["coco/bbox_mAP", "coco/segm_mAP"])),
            "coco/".len()
        );
        assert_eq!(common(&all(&["loss", "loss_cls"])), 0);
        assert_eq!(common(&all(&["pascal_voc/mAP"])), "pascal_voc/".len());
        assert_eq!(common(&[]), 0);
    }
}
