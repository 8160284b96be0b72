//! Completion at the caret. What fits is asked of the config's own readers: a name that nobody can know is put at the caret, the config is
//! checked, and who complains of it says which names there are. So it knows every component, also those added by other crates. What a line can
//! say of them, and their defaults, are in [`docs`].

mod ask;

use eframe::egui::{
    Area, Button, Frame, Id, Key, Margin, Modifiers, Order, Pos2, RichText, ScrollArea, Stroke, Ui,
    vec2,
};

use super::docs::{self, KeyDoc};
use crate::window::analysis::Question;
use crate::window::document::{DocumentId, Kind};
use crate::window::jobs::{Jobs, Newest};
use crate::window::session::Session;
use crate::window::tokens::{ROW, Tokens};
use ask::find;

/// A name that nothing has.
const PROBE: &str = "zz_smalti_probe";
/// Where brackets are closed.
const END: &str = "\u{1}";
const WIDTH: f32 = 400.0;

/// What stands at the caret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The beginning of a line: a name of the file's top level.
    Top,
    /// The name of an option: `dict(in_ch|`.
    Key,
    /// Within a string that is an option's value: `type='FP|`.
    Value,
}

/// Something to put at the caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The name.
    pub name: String,
    /// What is put: `name=` for an option.
    pub text: String,
    /// Its type, or what kind of component it is.
    pub what: String,
    /// Its value if nobody gives one.
    pub default: Option<String>,
    /// A line about it.
    pub about: &'static str,
}

impl Offer {
    fn of_key(name: &str, text: String, what: String, doc: Option<KeyDoc>) -> Self {
        Self {
            name: name.to_owned(),
            text,
            what,
            default: doc.and_then(|doc| doc.default).map(str::to_owned),
            about: doc.map_or("", |doc| doc.about),
        }
    }

    /// What stands beside its name.
    fn beside(&self) -> String {
        match (&self.default, self.what.is_empty()) {
            (Some(default), true) => format!("= {default}"),
            (Some(default), false) => format!("{} = {default}", self.what),
            (None, _) => self.what.clone(),
        }
    }
}

/// Names of the top level of a config.
fn of_config() -> Vec<Offer> {
    let keys = docs::of_config();
    keys.map(|(name, doc)| Offer::of_key(name, format!("{name} = "), String::new(), Some(doc)))
        .collect()
}

type Found = (DocumentId, usize, Vec<Offer>);

/// The names at the caret.
pub struct Complete {
    open: bool,
    asked: Option<(DocumentId, usize)>,
    at: Option<usize>,
    offers: Vec<Offer>,
    selected: usize,
    position: Pos2,
    ask: Newest<(Question, usize, Place), Found>,
}

impl Default for Complete {
    fn default() -> Self {
        Self {
            open: false,
            asked: None,
            at: None,
            offers: Vec::new(),
            selected: 0,
            position: Pos2::ZERO,
            ask: Newest::new("completing", |(question, at, place), _| {
                find(question, at, place)
            }),
        }
    }
}

/// Where the word that ends at the caret begins, and what it is.
pub fn place(text: &str, caret: usize) -> Option<(usize, Place)> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let start = text[..caret]
        .char_indices()
        .rev()
        .take_while(|(_, c)| word(*c))
        .last()
        .map_or(caret, |(i, _)| i);
    let line = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let (_, quote) = text[line..start].chars().fold(
        (None, None),
        |(_, open): (Option<char>, Option<char>), c| match open {
            None if c == '\'' || c == '"' => (None, Some(c)),
            Some(q) if q == c => (None, None),
            open => (None, open),
        },
    );
    if quote.is_some() {
        let before = text[line..start].trim_end_matches(['\'', '"']).trim_end();
        return (before.ends_with('=') || before.ends_with(':')).then_some((start, Place::Value));
    }
    let comment = text[line..start].contains('#');
    let before = text[..start].trim_end();
    let within = ['(', ',', '[', '{', '=', ':', '\\'];
    if line == start && !before.ends_with(within) {
        return (start < caret).then_some((start, Place::Top));
    }
    (!comment && before.ends_with(['(', ','])).then_some((start, Place::Key))
}

impl Complete {
    /// Something was typed: names are offered if it was a letter or a quote.
    pub fn typed(&mut self, text: &str, caret: usize) {
        let last = text[..caret].chars().next_back();
        let begins = last.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '\'' | '"'));
        let place = place(text, caret).filter(|_| begins);
        self.open = place.is_some();
        let at = place.map(|(at, _)| at);
        if at != self.at {
            self.offers.clear();
            self.asked = None;
        }
        self.at = at;
        self.selected = 0;
    }

    /// The caret was moved.
    pub fn moved(&mut self) {
        self.open = false;
    }

    /// Asked for by key.
    pub fn force(&mut self, text: &str, caret: usize) {
        let place = place(text, caret);
        self.at = place.map(|(at, _)| at);
        self.open = place.is_some();
        self.asked = None;
        self.selected = 0;
    }

    /// Below the caret.
    pub fn place(&mut self, position: Pos2) {
        self.position = position;
    }

    fn fitting(&self, text: &str, caret: usize) -> Vec<Offer> {
        let Some(word) = self.at.and_then(|at| text.get(at..caret)) else {
            return Vec::new();
        };
        let word = word.to_lowercase();
        let rank = |offer: &&Offer| {
            let name = offer.name.to_lowercase();
            match name.find(&word) {
                Some(0) => 0,
                Some(_) => 1,
                None => 2,
            }
        };
        let mut found: Vec<&Offer> = self
            .offers
            .iter()
            .filter(|o| rank(o) < 2 && o.name.to_lowercase() != word)
            .collect();
        found.sort_by_key(rank);
        found.into_iter().take(50).cloned().collect()
    }

    /// Keys that are for the names while they are shown.
    pub fn keys(&mut self, ui: &mut Ui, session: &mut Session, id: DocumentId, widget: Id) {
        let Some(document) = session.documents.get(id).filter(|_| self.open) else {
            return;
        };
        let fitting = self.fitting(document.text(), document.caret);
        if fitting.is_empty() {
            return;
        }
        let keys = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        if keys(Key::ArrowDown) {
            self.selected = (self.selected + 1) % fitting.len();
        }
        if keys(Key::ArrowUp) {
            self.selected = (self.selected + fitting.len() - 1) % fitting.len();
        }
        if keys(Key::Escape) {
            self.open = false;
        }
        if keys(Key::Enter) || keys(Key::Tab) {
            let offer = fitting[self.selected.min(fitting.len() - 1)].clone();
            self.take(ui, session, id, widget, &offer);
        }
    }

    fn take(&mut self, ui: &Ui, session: &mut Session, id: DocumentId, widget: Id, offer: &Offer) {
        let Some((at, caret)) = self.at.zip(session.documents.get(id).map(|d| d.caret)) else {
            return;
        };
        self.open = false;
        if session.edit(id, at..caret, &offer.text, Kind::Step)
            && let Some(document) = session.documents.get_mut(id)
        {
            let end = at + offer.text.len();
            document.caret = end;
            document.reveal = Some(end..end);
        }
        ui.memory_mut(|m| m.request_focus(widget));
    }

    /// Shows the names below the caret, and asks for them.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        id: DocumentId,
        widget: Id,
    ) {
        if let Some(Ok((document, at, offers))) = self.ask.poll(jobs)
            && document == id
            && Some(at) == self.at
        {
            self.offers = offers;
        }
        let Some((at, document)) = self.at.filter(|_| self.open).zip(session.documents.get(id))
        else {
            return;
        };
        let caret = document.caret;
        if self.asked != Some((id, at)) {
            let Some((_, place)) = place(document.text(), caret) else {
                return;
            };
            self.asked = Some((id, at));
            if place == Place::Top {
                let python = document.path.extension().is_some_and(|e| e == "py");
                self.offers = if python { of_config() } else { Vec::new() };
                ui.ctx().request_repaint();
                return;
            }
            let mut text = document.text().to_owned();
            let end = caret
                + text[caret..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .map(char::len_utf8)
                    .sum::<usize>();
            text.replace_range(
                at..end,
                &match place {
                    Place::Key | Place::Top => format!("{PROBE}=None,{END}"),
                    Place::Value => format!("{}{END}", closed(&text, end)),
                },
            );
            let question = Question {
                document: id,
                version: 0,
                path: document.path.clone(),
                text,
                open: session
                    .documents
                    .iter()
                    .map(|d| (d.key(), d.text().to_owned()))
                    .collect(),
                host: session.host.clone(),
            };
            self.ask.ask(jobs, (question, at, place));
        }
        let fitting = self.fitting(document.text(), caret);
        if fitting.is_empty() || !ui.memory(|m| m.has_focus(widget)) {
            return;
        }
        let tokens = Tokens::of(ui);
        let mut taken = None;
        let area = Area::new(Id::unique("completion"))
            .order(Order::Foreground)
            .fixed_pos(self.position + vec2(-8.0, 4.0))
            .constrain(true);
        area.show(ui.ctx(), |ui| {
            let frame = Frame::new()
                .fill(tokens.popup)
                .stroke(Stroke::new(1.0, tokens.edge))
                .corner_radius(6)
                .inner_margin(Margin::same(4));
            frame.show(ui, |ui| {
                ui.set_width(WIDTH.min(ui.ctx().content_rect().width() - 32.0));
                ScrollArea::vertical()
                    .max_height(8.0 * (ROW + 4.0))
                    .show(ui, |ui| {
                        for (i, offer) in fitting.iter().enumerate() {
                            let name = RichText::new(&offer.name).monospace();
                            let what = RichText::new(offer.beside()).color(tokens.weak);
                            let row = Button::selectable(i == self.selected, name)
                                .right_text(what)
                                .min_size(vec2(ui.available_width(), ROW));
                            let row = ui.add(row);
                            if i == self.selected {
                                row.scroll_to_me(None);
                            }
                            if row.clicked() {
                                taken = Some(offer.clone());
                            }
                        }
                    });
                let about = fitting.get(self.selected).map_or("", |offer| offer.about);
                if !about.is_empty() {
                    ui.separator();
                    ui.label(RichText::new(about).color(tokens.soft));
                }
            });
        });
        if let Some(offer) = taken {
            self.take(ui, session, id, widget, &offer);
        }
    }
}

/// A name that nothing has, and the end of the string if it has none yet.
fn closed(text: &str, end: usize) -> String {
    let line = text[..end].rfind('\n').map_or(0, |i| i + 1);
    let quote = text[line..end]
        .chars()
        .rev()
        .find(|c| matches!(c, '\'' | '"'))
        .unwrap_or('\'');
    let rest = text[end..].lines().next().unwrap_or("");
    if rest.contains(quote) {
        PROBE.to_owned()
    } else {
        format!("{PROBE}{quote}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_says_what_fits() {
        for (text, expected) in [
            ("neck=dict(in_ch", Some((10, Place::Key))),
            ("neck=dict(type='FPN', ", Some((22, Place::Key))),
            ("neck=dict(type='FP", Some((16, Place::Value))),
            ("\"type\": \"FP", Some((9, Place::Value))),
            ("model = dict()\ntrain_d", Some((15, Place::Top))),
            ("a = dict(\nb", Some((10, Place::Key))),
            ("a = [\nb", None),
            ("", None),
            ("x = 1", None),
            ("a=['FP", None),
            ("# dict(in", None),
        ] {
            assert_eq!(place(text, text.len()), expected, "{text}");
        }
        assert_eq!(closed("type='FP", 8), format!("{PROBE}'"));
        assert_eq!(closed("type='FP')", 8), PROBE);
    }
}
