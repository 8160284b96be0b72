//! What is around every view: top bar, rail, inspector, status bar; and what lies above: toasts, palette, settings. One part, one file.

mod closing;
mod device;
pub mod drops;
mod palette;
mod rail;
mod settings;
mod sheet;
mod status;
mod toasts;
mod top;

pub use top::plural;

use eframe::egui::{
    self, Context, Id, Margin, Panel, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
};

use super::jobs::Jobs;
use super::session::Session;
use super::settings::{Settings, Theme};
use super::tokens::{self, ROW, TOUCH, Tokens};
use super::views::View;

/// The parts that keep something.
pub struct Frame {
    /// Find anything.
    pub palette: palette::Palette,
    /// Adapter, theme, size.
    pub settings: settings::SettingsPanel,
    /// Messages.
    pub toasts: toasts::Toasts,
    closing: closing::Closing,
    sheet: sheet::Sheet,
    styled: Option<Settings>,
    /// Whether the inspector is there.
    inspected: bool,
    /// Which had the keyboard from [`Frame::next_region`].
    region: Option<&'static str>,
}

/// Widths and heights of the parts.
const TOP: f32 = 36.0;
const RAIL: f32 = 72.0;
const STATUS: f32 = 24.0;
const INSPECTOR: f32 = 320.0;
/// A window that is not as wide is a phone's: the rail is a bar below, one pane is shown at a time, the inspector is a sheet.
const NARROW: f32 = 700.0;
const NARROW_TOP: f32 = 44.0;
const NARROW_RAIL: f32 = 56.0;

/// Whether the window is a phone's.
pub fn is_narrow(ui: &Ui) -> bool {
    ui.ctx().content_rect().width() < NARROW
}

/// Where the keyboard goes from region to region, as they lie; Tab goes on from there.
const REGIONS: [&str; 5] = ["top bar", "status bar", "rail", "inspector", "view"];

impl Frame {
    /// The parts of a new window.
    pub fn new(ctx: &Context, settings: &Settings) -> Self {
        let mut frame = Self {
            palette: palette::Palette::default(),
            settings: settings::SettingsPanel::default(),
            toasts: toasts::Toasts::default(),
            closing: closing::Closing::default(),
            sheet: sheet::Sheet::default(),
            styled: None,
            inspected: false,
            region: None,
        };
        frame.set_style(ctx, settings);
        frame
    }

    /// Theme, size and motion, when they change.
    pub fn set_style(&mut self, ctx: &Context, settings: &Settings) {
        let same = |s: &Settings| {
            (s.theme, s.size, s.reduce_motion)
                == (settings.theme, settings.size, settings.reduce_motion)
        };
        if self.styled.as_ref().is_some_and(same) {
            return;
        }
        self.styled = Some(settings.clone());
        ctx.set_theme(match settings.theme {
            Theme::System => egui::ThemePreference::System,
            Theme::Dark => egui::ThemePreference::Dark,
            Theme::Light => egui::ThemePreference::Light,
        });
        ctx.set_zoom_factor(settings.size);
        tokens::set_styles(ctx, settings.reduce_motion);
    }

    /// Shows everything; `front` is the view's place in the rail.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        view: &mut dyn View,
        front: usize,
    ) {
        let tokens = Tokens::of(ui);
        let panel = |margin: Margin| egui::Frame::new().fill(tokens.panel).inner_margin(margin);
        let (bar, narrow) = (Margin::symmetric(8, 4), is_narrow(ui));
        if narrow {
            // what a finger finds
            ui.spacing_mut().interact_size.y = TOUCH;
        }
        let [top, rail] = match narrow {
            true => [NARROW_TOP, NARROW_RAIL],
            false => [TOP, RAIL],
        };
        Panel::top("top bar")
            .exact_size(top)
            .frame(panel(bar))
            .resizable(false)
            .show(ui, |ui| {
                region(ui, "top bar");
                top::show(ui, session);
            });
        let own = panel(Margin::symmetric(0, 4));
        if narrow {
            Panel::bottom("rail below")
                .exact_size(rail)
                .frame(panel(Margin::ZERO))
                .resizable(false)
                .show(ui, |ui| {
                    region(ui, "rail");
                    rail::bar(ui, session, front);
                });
        }
        Panel::bottom("status bar")
            .exact_size(STATUS)
            .frame(panel(Margin::symmetric(8, 0)))
            .resizable(false)
            .show(ui, |ui| {
                region(ui, "status bar");
                ui.spacing_mut().interact_size.y = ROW;
                status::show(ui, session, jobs);
            });
        if !narrow {
            Panel::left("rail")
                .exact_size(rail)
                .frame(own)
                .resizable(false)
                .show(ui, |ui| {
                    region(ui, "rail");
                    rail::show(ui, session, front);
                });
        }
        self.inspected = session.settings.inspector && view.inspects(session);
        if self.inspected && narrow {
            self.sheet.show(ui, |ui| {
                region(ui, "inspector");
                view.inspect(ui, session, jobs);
            });
        } else if self.inspected {
            let size = INSPECTOR.min(ui.available_width() * 0.4);
            Panel::right("inspector")
                .default_size(size)
                .size_range(200.0..=560.0)
                .frame(panel(Margin::same(12)))
                .show(ui, |ui| {
                    region(ui, "inspector");
                    view.inspect(ui, session, jobs);
                });
        }
        egui::CentralPanel::default()
            .frame(egui::Frame::new().fill(tokens.canvas))
            .show(ui, |ui| {
                region(ui, "view");
                device::bar(ui, session, jobs);
                view.show(ui, session, jobs);
            });
        self.settings.show(ui, session, jobs);
        self.toasts.show(ui, session);
        self.palette.show(ui, session, jobs);
        self.closing.show(ui.ctx(), session);
        drops::show(ui, tokens, view);
    }

    /// Gives the keyboard to the region after the one that last had it, or by a negative number before.
    pub fn next_region(&mut self, ctx: &Context, by: isize) {
        let there = |name: &&str| *name != "inspector" || self.inspected;
        let regions: Vec<_> = REGIONS.into_iter().filter(there).collect();
        let last = regions.iter().position(|name| Some(*name) == self.region);
        let count = regions.len() as isize;
        let next = match last {
            Some(last) => (last as isize + by).rem_euclid(count),
            None if by > 0 => 0,
            None => count - 1,
        };
        let name = regions[next as usize];
        self.region = Some(name);
        ctx.memory_mut(|memory| memory.request_focus(region_id(name)));
    }
}

fn region_id(name: &str) -> Id {
    Id::unique(("region", name))
}

/// What has the keyboard when a region gets it: nothing to see but a ring around the region, before its first widget.
fn region(ui: &Ui, name: &'static str) {
    let around = ui.max_rect();
    let start = egui::Rect::from_min_size(around.min, egui::Vec2::ZERO);
    let response = ui.interact(start, region_id(name), Sense::focusable_noninteractive());
    response.widget_info(|| WidgetInfo::labeled(Role::Group, true, name));
    if response.has_focus() {
        let stroke = Stroke::new(2.0, Tokens::of(ui).accent);
        ui.painter()
            .rect_stroke(around, 0.0, stroke, StrokeKind::Inside);
    }
}
