//! Find anything: commands, views, open and recent files, by some letters of their names.

use std::path::PathBuf;

use eframe::egui::{
    self, Align2, Area, Button, Frame, Id, Key, Margin, Modifiers, Order, RichText, ScrollArea,
    Stroke, TextEdit, Ui, vec2,
};

use crate::window::actions::{ACTIONS, Command, VIEW_KEYS};
use crate::window::document::DocumentId;
use crate::window::files::short;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{ROW, Tokens};
use crate::window::views::VIEWS;
use crate::window::widgets;

/// The palette.
#[derive(Default)]
pub struct Palette {
    open: bool,
    fresh: bool,
    query: String,
    selected: usize,
}

/// What a row does.
#[derive(Clone)]
enum Goal {
    Command(Command),
    Document(DocumentId),
    File(PathBuf),
}

const WIDTH: f32 = 560.0;

impl Palette {
    /// Opens it, empty; closes it if it is open.
    pub fn open(&mut self) {
        *self = Self {
            open: !self.open,
            fresh: true,
            ..Self::default()
        };
    }

    /// Shows it above everything, if it is open.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        if !self.open {
            return;
        }
        let ctx = ui.ctx().clone();
        let rows = rows(&ctx, session, &self.query);
        let keys = |key| ctx.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        if keys(Key::Escape) {
            self.open = false;
        }
        if keys(Key::ArrowDown) {
            self.selected += 1;
        }
        if keys(Key::ArrowUp) {
            self.selected = self.selected.saturating_sub(1);
        }
        self.selected = self.selected.min(rows.len().saturating_sub(1));
        let mut goal = if keys(Key::Enter) {
            rows.get(self.selected).map(|r| r.goal.clone())
        } else {
            None
        };
        let tokens = Tokens::of(ui);
        let area = Area::new(Id::unique("palette"))
            .order(Order::Foreground)
            .anchor(Align2::CENTER_TOP, vec2(0.0, 48.0));
        let shown = area.show(&ctx, |ui| {
            let frame = Frame::new()
                .fill(tokens.popup)
                .stroke(Stroke::new(1.0, tokens.edge))
                .corner_radius(6)
                .inner_margin(Margin::same(8));
            frame.show(ui, |ui| {
                ui.set_width(WIDTH.min(ctx.content_rect().width() - 32.0));
                let field = TextEdit::singleline(&mut self.query)
                    .hint_text("Commands, views, files")
                    .desired_width(f32::INFINITY);
                let field = ui.add(field);
                widgets::name(&field, "Find anything");
                if self.fresh {
                    field.request_focus();
                    self.fresh = false;
                }
                if field.changed() {
                    self.selected = 0;
                }
                ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
                    for (i, row) in rows.iter().enumerate() {
                        let text = Button::selectable(i == self.selected, row.name.as_str())
                            .right_text(RichText::new(&row.beside).color(tokens.weak));
                        let response = ui.add(text.min_size(vec2(ui.available_width(), ROW)));
                        if i == self.selected
                            && ctx.input(|i| {
                                i.key_pressed(Key::ArrowDown) || i.key_pressed(Key::ArrowUp)
                            })
                        {
                            response.scroll_to_me(None);
                        }
                        if response.clicked() {
                            goal = Some(row.goal.clone());
                        }
                    }
                    if rows.is_empty() {
                        ui.label(RichText::new("Nothing has that name.").color(tokens.weak));
                    }
                });
            });
        });
        let elsewhere = ctx.input(|i| {
            i.pointer.any_pressed()
                && i.pointer
                    .interact_pos()
                    .is_some_and(|p| !shown.response.rect.contains(p))
        });
        if elsewhere {
            self.open = false;
        }
        if let Some(goal) = goal {
            self.open = false;
            match goal {
                Goal::Command(command) => session.commands.push_back(command),
                Goal::Document(id) => session.documents.activate(id),
                Goal::File(path) => session.open(jobs, &path),
            }
        }
    }
}

struct Row {
    name: String,
    beside: String,
    goal: Goal,
}

fn rows(ctx: &egui::Context, session: &Session, query: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for document in session.documents.iter() {
        rows.push(Row {
            name: document.name(),
            beside: "open".into(),
            goal: Goal::Document(document.id),
        });
    }
    for (i, view) in VIEWS.iter().enumerate() {
        let beside = VIEW_KEYS
            .get(i)
            .map(|k| ctx.format_shortcut(k))
            .unwrap_or_default();
        rows.push(Row {
            name: view.name.into(),
            beside,
            goal: Goal::Command(Command::View(i)),
        });
    }
    for action in ACTIONS.iter().filter(|a| a.command != Command::Palette) {
        let beside = action
            .keys
            .first()
            .map(|k| ctx.format_shortcut(k))
            .unwrap_or_default();
        rows.push(Row {
            name: action.name.into(),
            beside,
            goal: Goal::Command(action.command),
        });
    }
    for path in session
        .settings
        .recent
        .iter()
        .filter(|p| session.documents.at(p).is_none())
    {
        rows.push(Row {
            name: short(path),
            beside: "recent".into(),
            goal: Goal::File(path.clone()),
        });
    }
    let mut found: Vec<(usize, Row)> = rows
        .into_iter()
        .filter_map(|row| Some((fits(query, &row.name)?, row)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    let path = query.trim();
    // what looks like a path is one: there may be no dialog
    let typed = path.contains(['/', '\\']).then(|| Row {
        name: format!("Open {path}"),
        beside: String::new(),
        goal: Goal::File(PathBuf::from(path)),
    });
    typed
        .into_iter()
        .chain(found.into_iter().map(|(_, row)| row))
        .collect()
}

/// How well a name fits, 0 best; its letters have to be there in their order.
fn fits(query: &str, name: &str) -> Option<usize> {
    let (query, name) = (query.trim().to_lowercase(), name.to_lowercase());
    if let Some(at) = name.find(&query) {
        let begins = at == 0 || !name[..at].ends_with(char::is_alphanumeric);
        return Some(if begins { 0 } else { 1 });
    }
    let mut letters = name.chars();
    query
        .chars()
        .filter(|c| !c.is_whitespace())
        .all(|c| letters.any(|l| l == c))
        .then_some(2)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn names_are_found_by_their_letters() {
        assert_eq!(fits("", "Save"), Some(0));
        assert_eq!(fits("as", "Save as"), Some(0));
        assert_eq!(fits("ave", "Save as"), Some(1));
        assert_eq!(fits("sva", "Save as"), Some(2));
        assert_eq!(fits("xs", "Save as"), None);
    }
}
