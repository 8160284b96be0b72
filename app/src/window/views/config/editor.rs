//! The text: colours, line numbers, marks, the message behind the caret's line, indentation, completion at the caret.

use std::ops::Range;

use eframe::egui::text::{CCursor, CCursorRange};
use eframe::egui::{
    self, Align, Align2, Color32, EventFilter, FontId, Frame, Galley, Id, Key, Margin, Modifiers,
    Pos2, Rect, ScrollArea, Shape, Stroke, TextEdit, Ui, pos2, vec2,
};

use smalti::config::Severity;

use super::complete::Complete;
use super::marks::Mark;
use super::syntax::Layouter;
use super::turns::Turns;
use crate::window::document::{Document, DocumentId, Kind};
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::Session;
use crate::window::tokens::{BODY, SMALL, Tokens};
use crate::window::widgets;

/// The editor of one document.
#[derive(Default)]
pub struct Editor {
    layouter: Layouter,
    /// Names that fit at the caret.
    pub complete: Complete,
    turns: Turns,
    focus: bool,
}

/// Left of the text: icon and number.
const GUTTER: f32 = 64.0;

/// What the editor is to show beside the text.
pub struct Beside<'m> {
    /// Findings in this text, in its order.
    pub marks: &'m [Mark],
    /// What is being looked for.
    pub found: &'m [Range<usize>],
    /// A place that the tree points at.
    pub tinted: Option<usize>,
}

/// Where bytes are in a text and on the screen.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    galley: &'t Galley,
    corner: Pos2,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, galley: &'t Galley, corner: Pos2) -> Self {
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
            galley,
            corner,
        }
    }

    fn of(&self, byte: usize) -> usize {
        self.starts.partition_point(|s| *s <= byte).max(1) - 1
    }

    /// A line's rows on the screen: texts are not wrapped, so it is one.
    fn rect(&self, line: usize) -> Rect {
        let row = self.galley.rows.get(line).or(self.galley.rows.last());
        row.map_or(Rect::NOTHING, |row| {
            row.rect().translate(self.corner.to_vec2())
        })
    }

    fn x(&self, line: usize, byte: usize) -> f32 {
        let Some(row) = self.galley.rows.get(line) else {
            return self.corner.x;
        };
        let start = self.starts[line].min(self.text.len());
        let column = self
            .text
            .get(start..byte.min(self.text.len()))
            .map_or(0, |t| t.chars().count());
        self.corner.x + row.row.x_offset(column.into())
    }
}

/// The widget of a document's text.
pub fn widget(id: DocumentId) -> Id {
    Id::unique(("editor", id))
}

impl Editor {
    /// Shows and edits a document.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        id: DocumentId,
        beside: &Beside<'_>,
    ) {
        let tokens = Tokens::of(ui);
        let rect = ui.available_rect_before_wrap();
        ui.painter().rect_filled(rect, 0.0, tokens.field);
        let widget = widget(id);
        let reveal = session.documents.get_mut(id).and_then(|d| d.reveal.take());
        if let (Some(range), Some(document)) = (&reveal, session.documents.get(id)) {
            select(ui, widget, document.text(), range);
            self.focus = true;
        }
        if ui.memory(|m| m.has_focus(widget)) {
            self.turns.take(ui);
            self.complete.keys(ui, session, id, widget);
            keys(ui, session, id, widget);
        } else {
            self.turns.clear();
        }
        let area = ScrollArea::both().id_salt(("text", id)).auto_shrink(false);
        let area = area.show_viewport(ui, |ui, _| {
            self.text(ui, session, id, widget, beside, reveal.as_ref())
        });
        let _ = area;
        self.complete.show(ui, session, jobs, id, widget);
        if std::mem::take(&mut self.focus) {
            ui.memory_mut(|m| m.request_focus(widget));
        }
    }

    fn text(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        id: DocumentId,
        widget: Id,
        beside: &Beside<'_>,
        reveal: Option<&Range<usize>>,
    ) {
        let Some(document) = session.documents.get(id) else {
            return;
        };
        let (version, mut text, name) = (
            document.version,
            document.text().to_owned(),
            document.name(),
        );
        let layouter = &mut self.layouter;
        let mut layout =
            |ui: &Ui, text: &dyn egui::TextBuffer, _: f32| layouter.layout(ui, text.as_str());
        let (tokens, clip) = (Tokens::of(ui), ui.clip_rect());
        let behind = ui.painter().add(Shape::Noop);
        let output = TextEdit::multiline(&mut text)
            .id(widget)
            .code_editor()
            .layouter(&mut layout)
            .frame(Frame::new().inner_margin(Margin {
                left: GUTTER as i8,
                right: 24,
                top: 4,
                bottom: 64,
            }))
            .background_color(Color32::TRANSPARENT)
            .desired_width(f32::INFINITY)
            .min_size(ui.available_size())
            .event_filter(EventFilter {
                tab: true,
                horizontal_arrows: true,
                vertical_arrows: true,
                escape: false,
            })
            .cursor_at_end(false)
            .show(ui);
        widgets::name(&output.response.response, &format!("Text of {name}"));
        let caret = output
            .cursor_range
            .map(|r| byte_of(&text, r.primary.index.0));
        let changed = session.documents.get(id).is_some_and(|d| d.text() != text);
        if changed {
            let now = session.now();
            let single = text
                .len()
                .abs_diff(session.documents.get(id).map_or(0, |d| d.text().len()))
                <= 4;
            session.documents.replace(
                id,
                &text,
                if single { Kind::Typing } else { Kind::Step },
                now,
            );
        }
        if let (Some(caret), Some(document)) = (caret, session.documents.get_mut(id)) {
            let moved = document.caret != caret;
            document.caret = caret;
            if changed {
                self.complete.typed(&text, caret);
            } else if moved {
                self.complete.moved();
            }
        }
        if changed
            || session
                .documents
                .get(id)
                .is_some_and(|d| d.version != version)
        {
            ui.ctx().request_repaint();
        }
        let lines = Lines::new(&text, &output.galley, output.galley_pos);
        let has_focus = output.response.response.has_focus();
        let caret = session.documents.get(id).map_or(0, |d| d.caret);
        let mut below = Vec::new();
        tints(&lines, beside, caret, has_focus, clip, tokens, &mut below);
        ui.painter().set(behind, Shape::Vec(below));
        marks(ui, &lines, beside, clip, tokens);
        gutter(ui, &lines, beside, caret, clip, tokens);
        if has_focus {
            message(ui, &lines, beside, caret, clip, tokens);
        }
        self.complete.place(caret_at(&lines, caret));
        if let Some(range) = reveal {
            let line = lines.of(range.start);
            let rect = lines.rect(line);
            let x = lines.x(line, range.start);
            ui.scroll_to_rect(
                Rect::from_min_max(pos2(x - GUTTER, rect.top()), pos2(x + 120.0, rect.bottom())),
                Some(Align::Center),
            );
        }
    }
}

fn caret_at(lines: &Lines<'_>, caret: usize) -> Pos2 {
    let line = lines.of(caret);
    pos2(lines.x(line, caret), lines.rect(line).bottom())
}

/// Selects bytes of a text in its widget.
fn select(ui: &Ui, widget: Id, text: &str, range: &Range<usize>) {
    let chars = |byte: usize| {
        text[..crate::window::document::floor(text, byte)]
            .chars()
            .count()
    };
    let mut state = TextEdit::load_state(ui.ctx(), widget).unwrap_or_default();
    state.cursor.set_char_range(Some(CCursorRange::two(
        CCursor::new(chars(range.start)),
        CCursor::new(chars(range.end)),
    )));
    TextEdit::store_state(ui.ctx(), widget, state);
}

/// The byte at which a character begins.
fn byte_of(text: &str, char: usize) -> usize {
    text.char_indices()
        .nth(char)
        .map_or(text.len(), |(at, _)| at)
}

/// What is selected in a document's widget, in bytes.
pub fn selected(ui: &Ui, document: &Document) -> Range<usize> {
    let state = TextEdit::load_state(ui.ctx(), widget(document.id));
    let range = state
        .and_then(|s| s.cursor.char_range())
        .unwrap_or_default();
    let [from, to] = range.sorted_cursors();
    byte_of(document.text(), from.index.0)..byte_of(document.text(), to.index.0)
}

/// Keys that indent: Enter, Tab, Shift+Tab; Ctrl+/ makes comments.
fn keys(ui: &mut Ui, session: &mut Session, id: DocumentId, widget: Id) {
    let Some(document) = session.documents.get(id) else {
        return;
    };
    let range = selected(ui, document);
    let take = |ui: &mut Ui, modifiers, key| ui.input_mut(|i| i.consume_key(modifiers, key));
    let text = document.text().to_owned();
    let edit = if take(ui, Modifiers::COMMAND, Key::Slash) {
        Some(lines_changed(&text, &range, comment))
    } else if take(ui, Modifiers::SHIFT, Key::Tab) {
        Some(lines_changed(&text, &range, |lines| {
            lines
                .iter()
                .map(|l| l.strip_prefix("    ").unwrap_or(l.trim_start()).to_owned())
                .collect()
        }))
    } else if take(ui, Modifiers::NONE, Key::Tab) {
        if range.is_empty() {
            Some((range, "    ".to_owned(), None))
        } else {
            Some(lines_changed(&text, &range, indent))
        }
    } else if take(ui, Modifiers::NONE, Key::Enter) {
        let end = format!("\n{}", indentation(&text, range.start));
        Some((range, end, None))
    } else {
        None
    };
    let Some((range, new, keep)) = edit else {
        return;
    };
    let at = range.start;
    if session.edit(id, range, &new, Kind::Typing) {
        let to = keep.unwrap_or(at + new.len()..at + new.len());
        if let Some(document) = session.documents.get_mut(id) {
            document.caret = to.end;
            select(ui, widget, document.text(), &to);
        }
    }
}

type Change = (Range<usize>, String, Option<Range<usize>>);

/// Whole lines of a selection, made others, and selected again.
fn lines_changed(
    text: &str,
    range: &Range<usize>,
    change: impl Fn(&[&str]) -> Vec<String>,
) -> Change {
    let start = text[..range.start].rfind('\n').map_or(0, |i| i + 1);
    let end = text[range.end..]
        .find('\n')
        .map_or(text.len(), |i| range.end + i);
    let lines: Vec<&str> = text[start..end].split('\n').collect();
    let new = change(&lines).join("\n");
    let kept = if range.is_empty() {
        let shift = new.len() as isize - (end - start) as isize;
        let at = range.start.saturating_add_signed(shift).max(start);
        at..at
    } else {
        start..start + new.len()
    };
    (start..end, new, Some(kept))
}

fn indent(lines: &[&str]) -> Vec<String> {
    lines
        .iter()
        .map(|l| {
            if l.is_empty() {
                String::new()
            } else {
                format!("    {l}")
            }
        })
        .collect()
}

/// Comments of lines, or their text again if all are comments.
fn comment(lines: &[&str]) -> Vec<String> {
    let said = || lines.iter().filter(|l| !l.trim().is_empty());
    let all = said().all(|l| l.trim_start().starts_with('#'));
    let column = said()
        .map(|l| l.len() - l.trim_start().len())
        .min()
        .unwrap_or(0);
    let one = |line: &&str| -> String {
        if line.trim().is_empty() {
            return (*line).to_owned();
        }
        if all {
            let (white, rest) = line.split_at(line.len() - line.trim_start().len());
            let rest = rest.trim_start_matches('#');
            format!("{white}{}", rest.strip_prefix(' ').unwrap_or(rest))
        } else {
            format!("{}# {}", &line[..column], &line[column..])
        }
    };
    lines.iter().map(one).collect()
}

/// The white space with which the line after this place begins: that of its line, and four more behind an opening bracket.
fn indentation(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line = &text[start..at];
    let white: String = line
        .chars()
        .take_while(|c| *c == ' ' || *c == '\t')
        .collect();
    if line.trim_end().ends_with(['(', '[', '{', ':']) {
        white + "    "
    } else {
        white
    }
}

fn color(severity: Severity, tokens: &Tokens) -> Color32 {
    match severity {
        Severity::Error => tokens.error,
        Severity::Warning => tokens.warning,
        Severity::Note => tokens.note,
    }
}

/// Behind the text: the caret's line, lines with errors, what is looked for, what the tree points at.
fn tints(
    lines: &Lines<'_>,
    beside: &Beside<'_>,
    caret: usize,
    focus: bool,
    clip: Rect,
    tokens: &Tokens,
    out: &mut Vec<Shape>,
) {
    let across = |line: usize| {
        let rect = lines.rect(line);
        Rect::from_x_y_ranges(clip.x_range(), rect.y_range())
    };
    if focus {
        out.push(Shape::rect_filled(
            across(lines.of(caret)),
            0.0,
            tokens.raised.gamma_multiply(0.6),
        ));
    }
    for mark in beside
        .marks
        .iter()
        .filter(|m| m.severity == Severity::Error)
    {
        let rect = across(lines.of(mark.range.start));
        if rect.intersects(clip) {
            out.push(Shape::rect_filled(
                rect,
                0.0,
                tokens.error.gamma_multiply(0.12),
            ));
        }
    }
    if let Some(byte) = beside.tinted {
        out.push(Shape::rect_filled(
            across(lines.of(byte)),
            0.0,
            tokens.selection,
        ));
    }
    for range in beside.found {
        let line = lines.of(range.start);
        let rect = lines.rect(line);
        if rect.intersects(clip) {
            let x = lines.x(line, range.start)..=lines.x(line, range.end);
            let rect = Rect::from_x_y_ranges(x, rect.y_range());
            out.push(Shape::rect_filled(rect, 2.0, tokens.selection));
            out.push(Shape::rect_stroke(
                rect,
                2.0,
                Stroke::new(1.0, tokens.accent),
                egui::StrokeKind::Inside,
            ));
        }
    }
}

/// Wavy lines below what is wrong.
fn marks(ui: &Ui, lines: &Lines<'_>, beside: &Beside<'_>, clip: Rect, tokens: &Tokens) {
    for mark in beside.marks {
        let line = lines.of(mark.range.start);
        let rect = lines.rect(line);
        if !rect.expand(4.0).intersects(clip) {
            continue;
        }
        let end = lines
            .starts
            .get(line + 1)
            .map_or(lines.text.len(), |s| s - 1);
        let (from, to) = (
            lines.x(line, mark.range.start),
            lines.x(line, mark.range.end.min(end)),
        );
        let (from, to) = (
            from.max(clip.left() + GUTTER),
            to.max(from + 8.0).min(clip.right()),
        );
        let steps = ((to - from) / 3.0).max(1.0) as usize;
        let wave = |i: usize| {
            pos2(
                from + 3.0 * i as f32,
                rect.bottom() - if i.is_multiple_of(2) { 0.0 } else { 2.5 },
            )
        };
        ui.painter().add(Shape::line(
            (0..=steps).map(wave).collect(),
            Stroke::new(1.5, color(mark.severity, tokens)),
        ));
    }
}

/// Line numbers, and an icon where something was found; they stay in sight when the text is moved sideways.
fn gutter(
    ui: &Ui,
    lines: &Lines<'_>,
    beside: &Beside<'_>,
    caret: usize,
    clip: Rect,
    tokens: &Tokens,
) {
    let left = clip.left();
    let column = Rect::from_min_max(
        pos2(left, clip.top()),
        pos2(left + GUTTER - 8.0, clip.bottom()),
    );
    let painter = ui.painter();
    painter.rect_filled(column, 0.0, tokens.field);
    painter.vline(
        column.right(),
        clip.y_range(),
        Stroke::new(1.0, tokens.separator),
    );
    let height = lines.rect(0).height().max(1.0);
    let top = lines.rect(0).top();
    let first = ((clip.top() - top) / height).floor().max(0.0) as usize;
    let last = ((clip.bottom() - top) / height).ceil().max(0.0) as usize;
    let here = lines.of(caret);
    for line in first..=last.min(lines.starts.len() - 1) {
        let rect = lines.rect(line);
        let color = if line == here {
            tokens.text
        } else {
            tokens.weak
        };
        let at = pos2(column.right() - 8.0, rect.center().y);
        painter.text(
            at,
            Align2::RIGHT_CENTER,
            (line + 1).to_string(),
            FontId::monospace(SMALL),
            color,
        );
    }
    for mark in beside.marks {
        let rect = lines.rect(lines.of(mark.range.start));
        if rect.intersects(clip) {
            let icon = match mark.severity {
                Severity::Error => icons::ERROR,
                Severity::Warning => icons::WARNING,
                Severity::Note => icons::NOTE,
            };
            let square =
                Rect::from_center_size(pos2(left + 11.0, rect.center().y), vec2(14.0, 14.0));
            icons::paint(painter, icon, square, color(mark.severity, tokens));
        }
    }
}

/// The message of what is wrong in the caret's line, behind it.
fn message(
    ui: &Ui,
    lines: &Lines<'_>,
    beside: &Beside<'_>,
    caret: usize,
    clip: Rect,
    tokens: &Tokens,
) {
    let line = lines.of(caret);
    let Some(mark) = beside
        .marks
        .iter()
        .find(|m| lines.of(m.range.start) == line)
    else {
        return;
    };
    let rect = lines.rect(line);
    let end = lines
        .starts
        .get(line + 1)
        .map_or(lines.text.len(), |s| s - 1);
    let x = lines.x(line, end).max(clip.left() + GUTTER) + 24.0;
    let text = mark.message.lines().next().unwrap_or("");
    ui.painter().text(
        pos2(x, rect.center().y),
        Align2::LEFT_CENTER,
        text,
        FontId::proportional(BODY),
        color(mark.severity, tokens),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_line_is_indented_as_the_one_before() {
        let text = "model = dict(\n    a=1,\n";
        assert_eq!(indentation(text, 13), "    ");
        assert_eq!(indentation(text, 22), "    ");
        assert_eq!(indentation(text, text.len()), "");
    }

    #[test]
    fn comments_come_and_go() {
        let text = "a = 1\n  b = é\n\nc";
        let (range, new, _) = lines_changed(text, &(0..8), comment);
        assert_eq!((range, new.as_str()), (0..14, "# a = 1\n#   b = é"));
        let (_, back, _) = lines_changed(&new, &(0..new.len()), comment);
        assert_eq!(back, "a = 1\n  b = é");
        let (range, new, kept) = lines_changed("  x", &(3..3), indent);
        assert_eq!((range, new.as_str(), kept), (0..3, "      x", Some(7..7)));
    }
}
