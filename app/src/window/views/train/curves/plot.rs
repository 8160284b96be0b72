//! One plot of lines: its grid, what is read at the pointer, and the cursor.

use eframe::egui::{FontId, Id, Rangef, Ui, Vec2b, vec2};
use egui_plot::{
    AxisHints, GridInput, GridMark, HoverPosition, Line, Plot, PlotBounds, PlotItem, PlotMemory,
    Points, VLine,
};

use super::super::{short, thousands, trimmed};
use crate::window::tokens::{SMALL, Tokens};
use crate::window::widgets;

/// Least distance of lines of the grid.
const SPACING: f32 = 28.0;

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

fn id_of(frame: &Frame) -> Id {
    Id::unique(("plot", frame.group, frame.name))
}

/// The iterations that the plot shows now.
pub(super) fn visible(ui: &Ui, frame: &Frame) -> (f64, f64) {
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

pub(super) fn plot_with(
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
}
