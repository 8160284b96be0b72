//! The resolved config as a tree: each value with the place where it was said.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{
    Align2, CornerRadius, FontId, Key, Modifiers, RichText, Role, ScrollArea, Sense, TextEdit, Ui,
    WidgetInfo, pos2, vec2,
};

use smalti::config::{Config, Node, Severity, Value, value_to_py};

use super::super::panes;
use super::marks::Mark;
use crate::window::analysis::Analysis;
use crate::window::icons;
use crate::window::jobs::Jobs;
use crate::window::session::{Place, Session};
use crate::window::tokens::{BODY, ROW, Tokens};
use crate::window::widgets::{self, middle};

/// A row of the tree.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its path, as `--cfg-options` has it.
    pub path: String,
    /// How deep it lies.
    pub depth: usize,
    /// Its key, or its number in a list.
    pub key: String,
    /// Its value, or what is in it.
    pub value: String,
    /// Whether others are in it.
    pub is_branch: bool,
    /// Where it was said.
    pub place: Option<Place>,
    /// The line there.
    pub line: usize,
}

/// The tree, as it is shown.
#[derive(Default)]
pub struct Tree {
    /// Branches that were opened or closed by hand.
    opened: HashMap<String, bool>,
    search: String,
    /// The path of the selected row.
    pub selected: Option<String>,
    /// The place of the row under the pointer.
    pub hovered: Option<Place>,
    rows: Arc<Vec<Row>>,
    of: Option<(usize, u64)>,
    changes: u64,
    reveal: bool,
}

/// Branches at this depth and below begin closed.
const CLOSED: usize = 2;
/// Longest value that is shown, in characters.
const LONGEST: usize = 80;
/// Room that a value has at least.
const VALUE: f32 = 56.0;
const INDENT: f32 = 14.0;

impl Tree {
    /// Shows it.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: &Arc<Analysis>,
        marks: &[Mark],
    ) {
        let tokens = Tokens::of(ui);
        self.hovered = None;
        let Some(config) = &analysis.config else {
            ui.add_space(12.0);
            widgets::card(ui, tokens.error, |ui| {
                ui.label(RichText::new("The config cannot be read.").color(tokens.error));
                ui.label("Its values are here again as soon as the errors below are mended.");
            });
            return;
        };
        let field = ui.add(
            TextEdit::singleline(&mut self.search)
                .hint_text("Find a key or value")
                .desired_width((ui.available_width() - panes::CORNER - 8.0).max(40.0)),
        );
        widgets::name(&field, "Find in the resolved config");
        if field.changed() {
            self.changes += 1;
        }
        let of = (Arc::as_ptr(analysis) as usize, self.changes);
        if self.of != Some(of) {
            self.rows = Arc::new(rows(config, &self.opened, &self.search));
            self.of = Some(of);
        }
        let rows = self.rows.clone();
        self.keys(ui, &rows);
        let wrong: HashSet<(PathBuf, Range<usize>)> = marks
            .iter()
            .filter(|m| m.severity == Severity::Error)
            .map(|m| (super::marks::path(m), m.range.clone()))
            .collect();
        let mut area = ScrollArea::vertical().auto_shrink(false);
        if std::mem::take(&mut self.reveal)
            && let Some(i) = rows
                .iter()
                .position(|r| Some(&r.path) == self.selected.as_ref())
        {
            area = area
                .vertical_scroll_offset((i as f32 * ROW - ui.available_height() / 2.0).max(0.0));
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        let front = session.documents.active().map(|d| d.path.clone());
        let mut goal = None;
        area.show_rows(ui, ROW, rows.len(), |ui, range| {
            for row in &rows[range] {
                self.row(ui, row, front.as_deref(), &wrong, &mut goal);
            }
        });
        if rows.is_empty() {
            ui.label(RichText::new("Nothing has that name or value.").color(tokens.weak));
        }
        if let Some(place) = goal {
            session.go(jobs, &place);
        }
    }

    fn row(
        &mut self,
        ui: &mut Ui,
        row: &Row,
        front: Option<&Path>,
        wrong: &HashSet<(PathBuf, Range<usize>)>,
        goal: &mut Option<Place>,
    ) {
        let tokens = Tokens::of(ui);
        let (rect, response) =
            ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let selected = self.selected.as_ref() == Some(&row.path);
        response.widget_info(|| {
            WidgetInfo::selected(
                Role::Button,
                true,
                selected,
                format!("{} = {}", row.path, row.value),
            )
        });
        let painter = ui.painter_at(rect);
        if selected {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.selection);
        } else if response.hovered() {
            painter.rect_filled(rect, CornerRadius::ZERO, tokens.hover);
        }
        let mut x = rect.left() + 4.0 + row.depth as f32 * INDENT;
        if row.is_branch {
            let open = self.is_open(&row.path, row.depth);
            let sign = if open { "▼" } else { "▶" };
            painter.text(
                pos2(x, rect.center().y),
                Align2::LEFT_CENTER,
                sign,
                FontId::proportional(BODY),
                tokens.weak,
            );
        }
        x += INDENT;
        let bad = row
            .place
            .as_ref()
            .is_some_and(|p| wrong.contains(&(p.path.clone(), p.range.clone())));
        if bad {
            let square = eframe::egui::Rect::from_center_size(
                pos2(x + 7.0, rect.center().y),
                vec2(14.0, 14.0),
            );
            icons::paint(&painter, icons::ERROR, square, tokens.error);
            x += 18.0;
        }
        let key = painter.text(
            pos2(x, rect.center().y),
            Align2::LEFT_CENTER,
            &row.key,
            FontId::monospace(BODY),
            tokens.code[0],
        );
        // the value has its room first, and the origin what is left beside a part of it
        let room = rect.right() - key.right() - VALUE;
        let small = FontId::proportional(11.0);
        let origin = origins(row, front)
            .map(|text| painter.layout_no_wrap(text, small.clone(), tokens.weak))
            .find(|text| text.size().x < room);
        let mut right = rect.right() - 4.0;
        if let Some(text) = origin {
            right -= text.size().x;
            let at = pos2(right, rect.center().y - text.size().y / 2.0);
            painter.galley(at, text, tokens.weak);
        }
        let value = painter.with_clip_rect(rect.with_max_x(right - 8.0));
        let color = if row.is_branch {
            tokens.weak
        } else {
            tokens.text
        };
        value.text(
            pos2(key.right() + 8.0, rect.center().y),
            Align2::LEFT_CENTER,
            &row.value,
            FontId::monospace(BODY),
            color,
        );
        if response.hovered() {
            self.hovered.clone_from(&row.place);
        }
        widgets::focus_ring(ui, &response);
        if response.clicked() {
            let triangle = response.interact_pointer_pos().is_some_and(|p| p.x < x);
            if row.is_branch && (triangle || selected) {
                self.toggle(&row.path, row.depth);
            }
            if !triangle {
                self.selected = Some(row.path.clone());
                goal.clone_from(&row.place);
            }
        }
    }

    /// Arrows walk the rows, left and right close and open.
    fn keys(&mut self, ui: &Ui, rows: &[Row]) {
        if ui.ctx().text_edit_focused()
            || self.selected.is_none()
            || ui.memory(|m| m.focused().is_some())
        {
            return;
        }
        let at = rows
            .iter()
            .position(|r| Some(&r.path) == self.selected.as_ref());
        let keys = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        let mut to = None;
        if keys(Key::ArrowDown) {
            to = at.and_then(|i| rows.get(i + 1));
        }
        if keys(Key::ArrowUp) {
            to = at.and_then(|i| rows.get(i.checked_sub(1)?));
        }
        if let Some(row) = to {
            self.selected = Some(row.path.clone());
            self.reveal = true;
        }
        let Some(row) = at.and_then(|i| rows.get(i)).filter(|r| r.is_branch) else {
            return;
        };
        let open = self.is_open(&row.path, row.depth);
        if (keys(Key::ArrowRight) && !open) || (keys(Key::ArrowLeft) && open) {
            self.toggle(&row.path.clone(), row.depth);
        }
    }

    fn is_open(&self, path: &str, depth: usize) -> bool {
        !self.search.is_empty() || self.opened.get(path).copied().unwrap_or(depth < CLOSED - 1)
    }

    fn toggle(&mut self, path: &str, depth: usize) {
        let open = self.is_open(path, depth);
        self.opened.insert(path.to_owned(), !open);
        self.changes += 1;
    }

    /// Shows and selects the row whose value is said at a place of the text: the innermost.
    pub fn reveal(&mut self, config: &Config, file: &str, byte: usize) {
        let Some(path) = path_at(config, file, byte) else {
            return;
        };
        if self.selected.as_ref() == Some(&path) {
            return;
        }
        let mut at = 0;
        while let Some(dot) = path[at..].find('.') {
            let above = &path[..at + dot];
            if !self.opened.get(above).copied().unwrap_or(false) {
                self.opened.insert(above.to_owned(), true);
                self.changes += 1;
            }
            at += dot + 1;
        }
        self.selected = Some(path);
        self.reveal = true;
    }
}

/// Where a row's value was said, as it is shown beside it: the longest first, for there may be little room.
fn origins(row: &Row, front: Option<&Path>) -> impl Iterator<Item = String> {
    let line = row.line;
    let file = match &row.place {
        Some(place) if Some(place.path.as_path()) != front => {
            Some(crate::window::files::short(&place.path))
        }
        _ => None,
    };
    let elsewhere = if file.is_some() { "…" } else { "" };
    let named = [28, 20, 14, 9].into_iter().filter_map(move |most| {
        file.as_ref()
            .map(|file| format!("{}:{line}", middle(file, most)))
    });
    let last = row.place.is_some().then(|| format!("{elsewhere}:{line}"));
    named.chain(last)
}

/// The place of a node.
pub fn place(node: &Node) -> Option<Place> {
    Place::of(node)
}

fn rows(config: &Config, opened: &HashMap<String, bool>, search: &str) -> Vec<Row> {
    let mut walk = Walk {
        opened,
        search: search.trim().to_lowercase(),
        rows: Vec::new(),
    };
    for (key, entry) in config.dict().iter() {
        walk.visit(&entry.node, key.to_string(), &key.to_string(), 0);
    }
    walk.rows
}

struct Walk<'a> {
    opened: &'a HashMap<String, bool>,
    search: String,
    rows: Vec<Row>,
}

impl Walk<'_> {
    /// True if something in it is what is looked for.
    fn visit(&mut self, node: &Node, path: String, key: &str, depth: usize) -> bool {
        let branch = is_branch(node);
        let value = if branch {
            summary(node)
        } else {
            middle(&value_to_py(node), LONGEST)
        };
        let mut fits = self.search.is_empty()
            || key.to_lowercase().contains(&self.search)
            || (!branch && value.to_lowercase().contains(&self.search));
        let line = node.origin.line();
        let at = self.rows.len();
        self.rows.push(Row {
            path: path.clone(),
            depth,
            key: key.to_owned(),
            value,
            is_branch: branch,
            place: place(node),
            line,
        });
        let open = !self.search.is_empty()
            || self
                .opened
                .get(&path)
                .copied()
                .unwrap_or(depth < CLOSED - 1);
        if branch && open {
            match &node.value {
                Value::Dict(dict) => {
                    for (key, entry) in dict.iter() {
                        fits |= self.visit(
                            &entry.node,
                            format!("{path}.{key}"),
                            &key.to_string(),
                            depth + 1,
                        );
                    }
                }
                Value::List(items) | Value::Tuple(items) => {
                    for (i, item) in items.iter().enumerate() {
                        fits |= self.visit(item, format!("{path}.{i}"), &i.to_string(), depth + 1);
                    }
                }
                _ => {}
            }
        }
        if !fits {
            self.rows.truncate(at);
        }
        fits
    }
}

fn is_branch(node: &Node) -> bool {
    match &node.value {
        Value::Dict(dict) => !dict.is_empty(),
        Value::List(items) | Value::Tuple(items) => items.iter().any(|n| n.as_dict().is_some()),
        _ => false,
    }
}

/// What is said of a branch: its type, or how much is in it.
fn summary(node: &Node) -> String {
    if let Some(kind) = node.get("type").and_then(Node::as_type) {
        return kind;
    }
    match &node.value {
        Value::Dict(dict) => format!("{{{}}}", dict.len()),
        Value::List(items) | Value::Tuple(items) => format!("[{}]", items.len()),
        _ => String::new(),
    }
}

/// A caret behind the last character is still there.
fn around(range: &Range<usize>, byte: usize) -> bool {
    range.start <= byte && byte <= range.end
}

/// The path of the innermost value that is said around a byte of a file.
pub fn path_at(config: &Config, file: &str, byte: usize) -> Option<String> {
    fn walk(node: &Node, path: &str, file: &str, byte: usize, best: &mut Option<(usize, String)>) {
        let range = node.origin.range();
        if node.origin.file() == file && around(&range, byte) {
            let length = range.len();
            if best.as_ref().is_none_or(|(b, _)| length <= *b) {
                *best = Some((length, path.to_owned()));
            }
        }
        match &node.value {
            Value::Dict(dict) => dict.iter().for_each(|(k, e)| {
                let at = e.key.range();
                if e.key.file() == file && around(&at, byte) {
                    *best = Some((0, format!("{path}.{k}")));
                }
                walk(&e.node, &format!("{path}.{k}"), file, byte, best);
            }),
            Value::List(items) | Value::Tuple(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, n)| walk(n, &format!("{path}.{i}"), file, byte, best));
            }
            _ => {}
        }
    }
    let mut best = None;
    for (key, entry) in config.dict().iter() {
        if entry.key.file() == file && around(&entry.key.range(), byte) {
            return Some(key.to_string());
        }
        walk(&entry.node, &key.to_string(), file, byte, &mut best);
    }
    best.map(|(_, path)| path)
}
