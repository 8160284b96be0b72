//! Settings: what to run on, theme, size, motion; and all keys.

use eframe::egui::{self, Align2, Grid, RichText, ScrollArea, Slider, Ui, Window, vec2};

use crate::window::actions::{ACTIONS, VIEW_KEYS};
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::settings::{SIZES, Theme};
use crate::window::tokens::Tokens;
use crate::window::views::VIEWS;
use crate::window::widgets;

/// The settings, and whether they are shown.
#[derive(Default)]
pub struct SettingsPanel {
    open: bool,
    size: Option<f32>,
}

impl SettingsPanel {
    /// Shows or hides them.
    pub fn toggle(&mut self) {
        self.open = !self.open;
    }

    /// Shows them, if they are open.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let mut open = self.open;
        let window = Window::new("Settings")
            .open(&mut open)
            .collapsible(false)
            .resizable(false)
            .anchor(Align2::CENTER_CENTER, vec2(0.0, 0.0));
        window.default_width(480.0).show(ui.ctx(), |ui| {
            ScrollArea::vertical()
                .max_height(ui.ctx().content_rect().height() - 160.0)
                .show(ui, |ui| {
                    ui.set_width(480.0);
                    device(ui, session, jobs);
                    ui.add_space(12.0);
                    self.looks(ui, session);
                    ui.add_space(12.0);
                    keys(ui);
                });
        });
        self.open = open;
    }

    fn looks(&mut self, ui: &mut Ui, session: &mut Session) {
        ui.heading("Looks");
        ui.horizontal(|ui| {
            for (theme, name) in [
                (Theme::System, "As the desktop"),
                (Theme::Dark, "Dark"),
                (Theme::Light, "Light"),
            ] {
                ui.radio_value(&mut session.settings.theme, theme, name);
            }
        });
        // taken when let go: else the slider would move away from under the pointer
        let mut size = self.size.unwrap_or(session.settings.size);
        let slider = ui.add(Slider::new(&mut size, SIZES).step_by(0.05).text("size"));
        self.size = slider.dragged().then_some(size);
        if !slider.dragged() && slider.changed() || slider.drag_stopped() {
            session.settings.size = size;
        }
        ui.checkbox(&mut session.settings.reduce_motion, "Reduce motion");
    }
}

#[cfg(not(target_arch = "wasm32"))]
const HEADING: &str = "Device for detectors and training";
#[cfg(target_arch = "wasm32")]
const HEADING: &str = "Device for detectors";

fn device(ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
    let tokens = Tokens::of(ui);
    ui.heading(HEADING);
    let mut choice = session.settings.device.clone();
    ui.radio_value(&mut choice, "auto".into(), "The best GPU, else the CPU");
    ui.radio_value(&mut choice, "cpu".into(), "CPU");
    for adapter in &session.engine.adapters {
        let text = format!("{}, {}", adapter.title(), adapter.kind);
        ui.radio_value(&mut choice, adapter.index.to_string(), text);
    }
    if cfg!(target_arch = "wasm32") && session.engine.adapters.is_empty() {
        let text = "This browser gives no WebGPU here: Chrome and Edge 113, Safari 26, Firefox 141 on Windows, and later ones have it.";
        ui.label(RichText::new(text).color(tokens.soft));
    }
    if choice != session.settings.device {
        session.settings.device.clone_from(&choice);
        session.engine.choose(jobs, &choice);
    }
    let (name, warning) = session.engine.title();
    ui.label(RichText::new(format!("In use: {name}")).color(tokens.soft));
    if let Some(why) = warning {
        ui.horizontal_wrapped(|ui| {
            widgets::icon(ui, icons::WARNING, tokens.warning);
            ui.label(RichText::new(why).color(tokens.warning));
        });
    }
}

fn keys(ui: &mut Ui) {
    ui.heading("Keys");
    let tokens = Tokens::of(ui);
    Grid::new("keys")
        .num_columns(2)
        .striped(true)
        .min_col_width(220.0)
        .show(ui, |ui| {
            let mut row = |name: &str, keys: &[egui::KeyboardShortcut]| {
                ui.label(name);
                let keys: Vec<String> = keys.iter().map(|k| ui.ctx().format_shortcut(k)).collect();
                ui.label(RichText::new(keys.join(", ")).color(tokens.soft));
                ui.end_row();
            };
            for (view, keys) in VIEWS.iter().zip(&VIEW_KEYS) {
                row(view.name, std::slice::from_ref(keys));
            }
            for action in ACTIONS.iter().filter(|a| !a.keys.is_empty()) {
                row(action.name, action.keys);
            }
        });
}
