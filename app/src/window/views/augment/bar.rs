//! The bar below the picture: which sample, which seed, what beside it.

use eframe::egui::scroll_area::ScrollBarVisibility;
use eframe::egui::{ComboBox, DragValue, RichText, ScrollArea, Ui};

use super::Augment;
use crate::window::files::short;
use crate::window::icons;
use crate::window::messages::Level;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// Its height.
pub const HEIGHT: f32 = 36.0;

impl Augment {
    /// Shows it.
    pub(super) fn bar(&mut self, ui: &mut Ui, session: &mut Session) {
        let tokens = Tokens::of(ui);
        let Some(Ok(opened)) = self.data.opened.clone() else {
            return;
        };
        let all = ScrollArea::horizontal().scroll_bar_visibility(ScrollBarVisibility::AlwaysHidden);
        all.show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                if widgets::icon_button(ui, icons::LEFT, "Sample before (Left)").clicked() {
                    self.step(-1);
                }
                let last = opened.len.saturating_sub(1);
                let mut index = self.index.min(last);
                let field = ui.add(DragValue::new(&mut index).range(0..=last).speed(0.1));
                widgets::name(&field, "Sample");
                if index != self.index {
                    self.index = index;
                }
                let of = smalti::data::summary::thousands(opened.len);
                ui.label(RichText::new(format!("of {of}")).color(tokens.weak));
                if widgets::icon_button(ui, icons::RIGHT, "Next sample (Right)").clicked() {
                    self.step(1);
                }
                ui.separator();
                ui.label(RichText::new("seed").color(tokens.weak));
                let mut seed = self.seed;
                let field = ui.add_enabled(!self.is_locked, DragValue::new(&mut seed).speed(0.1));
                widgets::name(&field, "Seed");
                self.seed = seed;
                widgets::toggle(ui, &mut self.is_locked, "Lock", "Keep the seed");
                let reroll = widgets::icon_button(ui, icons::DICE, "Draw anew (R)");
                if reroll.clicked() {
                    self.reroll(session);
                }
                if !self.pins.all().is_empty() {
                    let count = self.pins.all().len();
                    let text = format!("Unpin {count}");
                    if widgets::link(ui, &text)
                        .on_hover_text("Let all pinned draws go")
                        .clicked()
                    {
                        self.pins.clear();
                    }
                }
                ui.separator();
                let hint = "The picture before the step beside it (B)";
                widgets::toggle(ui, &mut self.beside, "Before", hint);
                let mut grid = self.grid.is_some();
                if widgets::toggle(ui, &mut grid, "Grid", "Sixteen samples (G)") {
                    self.toggle_grid();
                }
                let hint = "How large boxes are, as annotated and after the pipeline";
                widgets::toggle(ui, &mut self.sizes.is_open, "Box sizes", hint);
                self.which(ui, session);
                ui.separator();
                let copy = ui.button("Copy as config");
                if copy.on_hover_text("The pipeline as Python").clicked()
                    && let Some(text) = self.data.source.as_ref().and_then(|s| s.to_py())
                {
                    ui.ctx().copy_text(text);
                    session.tell(Level::Note, "the pipeline is on the clipboard");
                }
            })
        });
    }

    /// The config's data, or what was dropped.
    fn which(&mut self, ui: &mut Ui, session: &Session) {
        let Some(name) = session.annotations.as_deref().map(short) else {
            return;
        };
        ui.separator();
        let own = "the config's data";
        let now = if self.data.is_dropped {
            name.as_str()
        } else {
            own
        };
        let combo = ComboBox::from_id_salt("which data")
            .selected_text(widgets::middle(now, 24))
            .show_ui(ui, |ui| {
                ui.selectable_value(&mut self.data.is_dropped, false, own);
                ui.selectable_value(&mut self.data.is_dropped, true, &name);
            });
        widgets::name(&combo.response, "Data");
    }
}
