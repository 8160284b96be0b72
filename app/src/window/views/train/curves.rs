//! Curves of runs: losses, figures of validations, learning rates, side by side over the same iterations. A cursor marks an epoch in all.

use std::collections::{BTreeMap, BTreeSet};

use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Id, Rangef, Rect, RichText, Role, ScrollArea, Sense,
    Shape, Slider, Stroke, Ui, UiBuilder, Vec2b, WidgetInfo, pos2, vec2,
};
use egui_plot::{
    AxisHints, GridInput, GridMark, HoverPosition, Line, LineStyle, Plot, PlotBounds, PlotItem,
    PlotMemory, PlotPoints, Points, VLine,
};

use super::{short, thousands, trimmed};
use crate::window::tokens::{SMALL, Tokens};
use crate::window::training::curve::{self, Smooth};
use crate::window::training::log::{self, RunLog};
use crate::window::widgets::{self, middle};

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

/// How a plot is framed.
pub struct Frame<'a> {
    /// What assistive technology calls it.
    pub name: &'a str,
    /// px.
    pub size: [f32; 2],
    /// The last iteration.
    pub last: f64,
    /// Whether values are logarithms.
    pub log: bool,
    /// Whether 0 is always seen.
    pub from_zero: bool,
    /// Plots of one group share iterations and crosshair.
    pub group: &'a str,
}

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
/// Least distance of lines of the grid.
const SPACING: f32 = 28.0;
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

fn id_of(frame: &Frame) -> Id {
    Id::unique(("plot", frame.group, frame.name))
}

/// The iterations that the plot shows now.
fn visible(ui: &Ui, frame: &Frame) -> (f64, f64) {
    let memory = PlotMemory::load(ui.ctx(), id_of(frame));
    match memory.filter(|memory| !memory.auto_bounds.x) {
        Some(memory) => (memory.bounds().min()[0], memory.bounds().max()[0]),
        None => (0.0, frame.last),
    }
}

/// A plot of lines. Gives the iteration that was clicked.
pub fn plot(ui: &mut Ui, frame: &Frame, cursor: Option<u64>, lines: Vec<Line<'_>>) -> Option<f64> {
    plot_with(ui, frame, cursor, lines, Vec::new())
}

fn plot_with(
    ui: &mut Ui,
    frame: &Frame,
    cursor: Option<u64>,
    lines: Vec<Line<'_>>,
    dots: Vec<Points<'_>>,
) -> Option<f64> {
    let tokens = Tokens::of(ui);
    let log = frame.log;
    let font = FontId::proportional(SMALL);
    let x_axis = AxisHints::new_x()
        .tick_label_color(tokens.weak)
        .tick_label_font(font.clone())
        .label_spacing(Rangef::new(24.0, 32.0))
        .formatter(|mark: GridMark, _: &_| {
            let whole = mark.value >= 0.0 && mark.value.fract() == 0.0;
            if whole {
                thousands(mark.value as u64)
            } else {
                String::new()
            }
        });
    let y_axis = AxisHints::new_y()
        .tick_label_color(tokens.weak)
        .tick_label_font(font)
        .label_spacing(Rangef::new(16.0, 24.0))
        .min_thickness(36.0)
        .formatter(move |mark: GridMark, _: &_| tick(mark, log));
    let value = move |y: f64| short(if log { 10f64.powf(y) } else { y });
    let along = Vec2b::new(true, false);
    let group = Id::unique(("plots", frame.group));
    let mut bounds = PlotBounds::NOTHING;
    lines.iter().for_each(|line| bounds.merge(&line.bounds()));
    let mut plot = Plot::new(frame.name);
    // one height for all: it has a place in the middle, however large it is
    let middle = bounds.center().y;
    if bounds.is_finite_y() && bounds.height() <= middle.abs() * 1e-6 {
        let room = (middle.abs() * 0.1).max(1e-12);
        plot = plot.include_y(middle - room).include_y(middle + room);
    }
    if frame.from_zero || lines.is_empty() {
        plot = plot.include_y(0.0);
    }
    if lines.is_empty() {
        plot = plot.include_y(1.0);
    }
    let shown = plot
        .id(id_of(frame))
        .width(frame.size[0])
        .height(frame.size[1])
        .custom_x_axes(vec![x_axis])
        .custom_y_axes(vec![y_axis])
        .include_x(0.0)
        .include_x(frame.last)
        .set_margin_fraction(vec2(0.02, 0.06))
        .allow_scroll(false)
        .allow_drag(along)
        .allow_zoom(along)
        .allow_axis_zoom_drag(false)
        .allow_boxed_zoom(false)
        .grid_spacing(Rangef::new(SPACING, SPACING * 4.0))
        .x_grid_spacer(|grid| marks(&grid, 2.5))
        .y_grid_spacer(move |grid| match log {
            true => log_marks(&grid),
            false => marks(&grid, 1.0),
        })
        .grid_color(tokens.separator)
        .cursor_color(tokens.weak)
        .link_axis(group, along)
        .link_cursor(group, along)
        .label_formatter(move |at: &HoverPosition<'_>| {
            let (name, at) = match at {
                HoverPosition::NearDataPoint {
                    plot_name,
                    position,
                    ..
                } => (*plot_name, *position),
                HoverPosition::Elsewhere { position } => ("", *position),
            };
            let iter = thousands(at.x.round().max(0.0) as u64);
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("{name}\n")
            };
            Some(format!("{name}{}\niteration {iter}", value(at.y)))
        })
        .show(ui, |plot| {
            if let Some(x) = cursor {
                let line = VLine::new("", x as f64).color(tokens.accent).width(1.0);
                plot.vline(line.allow_hover(false));
            }
            lines.into_iter().for_each(|line| plot.line(line));
            dots.into_iter().for_each(|dots| plot.points(dots));
        });
    widgets::name(&shown.response, frame.name);
    let clicked = shown
        .response
        .clicked()
        .then(|| shown.response.interact_pointer_pos());
    let position = clicked.flatten()?;
    Some(shown.transform.value_from_position(position).x)
}

/// Lines of the grid at round numbers, so many times their least distance apart.
fn marks(grid: &GridInput, times: f64) -> Vec<GridMark> {
    let least = grid.base_step_size * times;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    let step_size = step
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least);
    let (from, to) = grid.bounds;
    let (first, last) = ((from / step_size).ceil(), (to / step_size).floor());
    if !(step_size > 0.0 && last - first < 1000.0) {
        return Vec::new();
    }
    let values = (first as i64..=last as i64).map(|n| n as f64 * step_size);
    values.map(|value| GridMark { value, step_size }).collect()
}

/// The same of logarithms: at 1, 2 and 5 of each power of ten where there is room, else at powers of ten.
fn log_marks(grid: &GridInput) -> Vec<GridMark> {
    let (from, to) = grid.bounds;
    // 1, 2, 5: the least of their distances is 0.3
    if grid.base_step_size > 0.3 || to - from > 100.0 {
        let mut powers = marks(grid, 1.0);
        powers.retain(|mark| mark.value.fract() == 0.0);
        return powers;
    }
    let powers = from.floor() as i64..=to.ceil() as i64;
    let values = powers.flat_map(|n| [1.0, 2.0, 5.0].map(|m: f64| n as f64 + m.log10()));
    let mark = |value| GridMark {
        value,
        step_size: 1.0,
    };
    values.map(mark).collect()
}

/// What stands at a line of the grid.
fn tick(mark: GridMark, log: bool) -> String {
    if log {
        let value = 10f64.powf(mark.value);
        return match (1e-3..1e5).contains(&value) {
            true => trimmed(value),
            false => format!("{value:.0e}"),
        };
    }
    let digits = (-mark.step_size.log10().floor()).clamp(0.0, 12.0) as usize;
    let large = mark.value.abs() >= 1e5;
    if (digits > 4 || large) && mark.value != 0.0 {
        return format!("{:.1e}", mark.value);
    }
    format!("{:.digits$}", mark.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_grid_are_at_round_numbers() {
        let at = |bounds, base_step_size| {
            let grid = GridInput {
                bounds,
                base_step_size,
            };
            let marks = marks(&grid, 1.0);
            marks.iter().map(|mark| mark.value).collect::<Vec<_>>()
        };
        assert_eq!(at((-1.0, 9.0), 1.5), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(at((0.0, 600.0), 130.0), [0.0, 200.0, 400.0, 600.0]);
        let ticks = |bounds, base_step_size| {
            let grid = GridInput {
                bounds,
                base_step_size,
            };
            let marks = log_marks(&grid).into_iter();
            marks.map(|mark| tick(mark, true)).collect::<Vec<_>>()
        };
        assert_eq!(ticks((-0.5, 0.5), 0.1)[3..6], ["1", "2", "5"]);
        assert_eq!(
            ticks((-9.0, 1.0), 2.0),
            ["1e-8", "1e-6", "1e-4", "0.01", "1"]
        );
        assert!(at((0.0, 1.0), 0.0).is_empty() && at((0.0, f64::NAN), 1.0).is_empty());
    }

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
