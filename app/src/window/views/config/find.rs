//! Find and replace in the text in front.

use std::ops::Range;

use eframe::egui::{Key, Modifiers, RichText, TextEdit, Ui};

use crate::window::document::{DocumentId, Kind};
use crate::window::icons;
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// The bar.
#[derive(Default)]
pub struct Find {
    open: bool,
    replaces: bool,
    fresh: bool,
    wanted: String,
    put: String,
    exact: bool,
}

impl Find {
    /// Shows it, with the field in focus.
    pub fn open(&mut self, replaces: bool, selected: Option<&str>) {
        self.open = true;
        self.replaces |= replaces;
        self.fresh = true;
        if let Some(selected) = selected.filter(|s| !s.is_empty() && !s.contains('\n')) {
            self.wanted = selected.to_owned();
        }
    }

    /// What is looked for, while it is.
    pub fn matches(&self, text: &str) -> Vec<Range<usize>> {
        if self.open {
            all(text, &self.wanted, self.exact)
        } else {
            Vec::new()
        }
    }

    /// Shows it above the text.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, id: DocumentId) {
        if !self.open {
            return;
        }
        let Some(document) = session.documents.get(id) else {
            return;
        };
        let (found, caret) = (self.matches(document.text()), document.caret);
        let tokens = Tokens::of(ui);
        let mut go: Option<isize> = None;
        let (mut one, mut every) = (false, false);
        widgets::bar(ui, tokens.panel, |ui| {
            let field = ui.add(
                TextEdit::singleline(&mut self.wanted)
                    .hint_text("Find")
                    .desired_width(220.0),
            );
            widgets::name(&field, "Find");
            if std::mem::take(&mut self.fresh) {
                field.request_focus();
            }
            let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
            if enter {
                let back = ui.input(|i| i.modifiers.shift);
                go = Some(if back { -1 } else { 1 });
                self.fresh = true;
            }
            let at = found
                .iter()
                .position(|r| r.end > caret.saturating_sub(1))
                .map_or(0, |i| i + 1);
            let count = if self.wanted.is_empty() {
                String::new()
            } else {
                format!("{at} of {}", found.len())
            };
            ui.label(RichText::new(count).color(if found.is_empty() {
                tokens.error
            } else {
                tokens.soft
            }));
            if widgets::button(ui, "Previous").clicked() {
                go = Some(-1);
            }
            if widgets::button(ui, "Next").clicked() {
                go = Some(1);
            }
            ui.checkbox(&mut self.exact, "Aa")
                .on_hover_text("Upper and lower case count");
            if self.replaces {
                let field = ui.add(
                    TextEdit::singleline(&mut self.put)
                        .hint_text("Replace with")
                        .desired_width(160.0),
                );
                widgets::name(&field, "Replace with");
                one = widgets::button(ui, "Replace").clicked();
                every = widgets::button(ui, "Replace all").clicked();
            }
            let escape = ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
            if widgets::icon_button(ui, icons::CLOSE, "Close find").clicked() || escape {
                self.open = false;
                self.replaces = false;
            }
        });
        if every {
            let text = document.text();
            let mut new = String::with_capacity(text.len());
            let mut from = 0;
            for range in &found {
                new.push_str(&text[from..range.start]);
                new.push_str(&self.put);
                from = range.end;
            }
            new.push_str(&text[from..]);
            let now = session.now();
            session.documents.replace(id, &new, Kind::Step, now);
        } else if one && let Some(range) = found.iter().find(|r| r.end >= caret).or(found.first()) {
            session.edit(id, range.clone(), &self.put, Kind::Step);
            go = Some(1);
        }
        if let Some(by) = go {
            let to = if by > 0 {
                found.iter().find(|r| r.start >= caret).or(found.first())
            } else {
                found.iter().rfind(|r| r.end < caret).or(found.last())
            };
            if let (Some(range), Some(document)) = (to, session.documents.get_mut(id)) {
                document.reveal = Some(range.clone());
            }
        }
    }
}

/// Places of a text in another, none over another.
pub fn all(text: &str, wanted: &str, exact: bool) -> Vec<Range<usize>> {
    if wanted.is_empty() {
        return Vec::new();
    }
    if exact {
        return text
            .match_indices(wanted)
            .map(|(at, found)| at..at + found.len())
            .collect();
    }
    // letters of another case have as many bytes in ASCII alone, and only those are taken to be the same
    let (low, wanted) = (text.to_ascii_lowercase(), wanted.to_ascii_lowercase());
    low.match_indices(&wanted)
        .map(|(at, found)| at..at + found.len())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn case_counts_only_where_asked() {
        assert_eq!(all("é FPN fpn", "fpn", false), [3..6, 7..10]);
        assert_eq!(all("é FPN fpn", "fpn", true), vec![7..10]);
        assert!(all("x", "", true).is_empty());
        assert_eq!(all("aaaa", "aa", false).len(), 2);
    }
}
