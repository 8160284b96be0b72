//! The config: its text, the resolved tree beside it, what is wrong below. The text is the truth: widgets and fixes edit it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{
    self, Button, CentralPanel, CornerRadius, Frame, Margin, Panel, RichText, Stroke, Ui, vec2,
};

use super::View;
use super::panes::{Layout, Pane, Panes};
use crate::window::actions::Command;
use crate::window::analysis::Analysis;
use crate::window::document::{DocumentId, floor};
use crate::window::frame::{is_narrow, plural};
use crate::window::icons;
use crate::window::jobs::{Job, Jobs};
use crate::window::messages::Level;
use crate::window::session::{Place, Session};
use crate::window::tokens::{BUTTON, Tokens};
use crate::window::widgets::{self, ago, middle};

pub(super) mod apply;
mod chain;
mod compare;
mod complete;
mod docs;
mod editor;
mod find;
mod inspect;
mod marks;
mod problems;
mod syntax;
mod tree;
mod turns;
pub(super) mod write;

use marks::Mark;

/// The view.
#[derive(Default)]
pub struct ConfigView {
    editors: HashMap<DocumentId, editor::Editor>,
    find: find::Find,
    tree: tree::Tree,
    inspect: inspect::Inspect,
    compare: compare::Compare,
    shown: Option<Shown>,
    typed: Option<(DocumentId, u64, Duration)>,
    caret: Option<(DocumentId, usize)>,
    child: Option<Job<Result<(DocumentId, String), String>>>,
    panes: Panes<Part>,
    /// In a narrow window: the tree is shown, not the text.
    tree_in_front: bool,
    /// The line at this caret is to be mended as soon as its text is read.
    fix_when_read: Option<(DocumentId, usize)>,
}

/// What stands side by side.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Text,
    Tree,
}

impl Pane for Part {
    const VIEW: &'static str = "Config";
    const ALL: &'static [Self] = &[Self::Text, Self::Tree];

    fn name(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Tree => "Tree",
        }
    }

    fn first() -> Layout {
        Layout::Row(vec![(0.55, Self::Text.alone()), (0.45, Self::Tree.alone())])
    }
}

/// Findings as they are shown: those of an analysis, a while after the last key.
struct Shown {
    analysis: Arc<Analysis>,
    marks: Vec<Mark>,
}

/// Marks appear so long after the last key.
const QUIET: Duration = Duration::from_millis(150);
const PROBLEMS: f32 = 160.0;

impl ConfigView {
    /// In a narrow window: text or tree.
    fn one_pane(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        (id, analysis, marks): (DocumentId, Option<&Arc<Analysis>>, &[Mark]),
    ) {
        let tokens = Tokens::of(ui);
        ui.horizontal(|ui| {
            ui.selectable_value(&mut self.tree_in_front, false, "Text");
            ui.selectable_value(&mut self.tree_in_front, true, "Tree");
        });
        let fill = match self.tree_in_front {
            true => tokens.panel,
            false => tokens.field,
        };
        CentralPanel::default()
            .frame(Frame::new().fill(fill))
            .show(ui, |ui| match (self.tree_in_front, analysis) {
                (false, _) => self.text(ui, session, jobs, id, marks),
                (true, Some(analysis)) => self.tree.show(ui, session, jobs, analysis, marks),
                (true, None) => skeleton(ui),
            });
    }
}

impl View for ConfigView {
    fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let Some(id) = session.documents.active().map(|d| d.id) else {
            if widgets::empty(ui, "No config open.", "New from recipe") {
                session.commands.push_back(Command::New);
            }
            return;
        };
        self.editors
            .retain(|id, _| session.documents.get(*id).is_some());
        self.take_analysis(ui, session);
        match self.fix_when_read {
            Some((document, caret)) if document == id => self.fix_here(session, jobs, id, caret),
            _ => self.fix_when_read = None,
        }
        self.take_child(session);
        tabs(ui, session);
        self.bars(ui, session, id);
        let tokens = Tokens::of(ui);
        let panel = |fill, margin| Frame::new().fill(fill).inner_margin(margin);
        let marks = self
            .shown
            .as_ref()
            .map(|s| s.marks.clone())
            .unwrap_or_default();
        let analysis = self.shown.as_ref().map(|s| s.analysis.clone());
        self.problems(ui, session, jobs, analysis.as_ref(), &marks);
        if is_narrow(ui) {
            self.one_pane(ui, session, jobs, (id, analysis.as_ref(), &marks));
            self.compare.show(ui, session, jobs);
            self.follow_caret(session, id);
            return;
        }
        let mut panes = std::mem::take(&mut self.panes);
        panes.begin(&session.settings);
        panes.show(ui, |ui, part| {
            let (fill, margin) = match part {
                Part::Text => (tokens.field, Margin::ZERO),
                Part::Tree => (tokens.panel, Margin::same(4)),
            };
            CentralPanel::default()
                .frame(panel(fill, margin))
                .show(ui, |ui| match (part, &analysis) {
                    (Part::Text, _) => self.text(ui, session, jobs, id, &marks),
                    (Part::Tree, Some(analysis)) => {
                        self.tree.show(ui, session, jobs, analysis, &marks);
                    }
                    (Part::Tree, None) => skeleton(ui),
                });
        });
        panes.end(ui, &mut session.settings);
        self.panes = panes;
        self.compare.show(ui, session, jobs);
        self.follow_caret(session, id);
    }

    fn inspects(&self, session: &Session) -> bool {
        session.documents.active().is_some() && self.tree.selected.is_some() && self.shown.is_some()
    }

    fn inspect(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        let Some(path) = self.tree.selected.clone() else {
            return;
        };
        // of the text as it is now, so that an edit goes to the right place
        let Some(analysis) = session
            .current()
            .cloned()
            .or_else(|| self.shown.as_ref().map(|s| s.analysis.clone()))
        else {
            return;
        };
        self.inspect.show(ui, session, jobs, &analysis, &path);
    }

    fn command(&mut self, command: Command, session: &mut Session, jobs: &mut Jobs) -> bool {
        let Some(document) = session.documents.active() else {
            return false;
        };
        let (id, caret) = (document.id, document.caret);
        match command {
            Command::Find | Command::Replace => self.find.open(command == Command::Replace, None),
            Command::Complete => {
                let text = document.text().to_owned();
                self.editors
                    .entry(id)
                    .or_default()
                    .complete
                    .force(&text, floor(&text, caret));
            }
            Command::NextProblem | Command::PreviousProblem => {
                self.walk_problems(session, jobs, command == Command::NextProblem)
            }
            Command::Fix => self.fix_here(session, jobs, id, caret),
            Command::Origin => self.go_to_origin(session, jobs),
            Command::Compare => self.compare.ask(session, jobs),
            Command::SaveChild => self.save_child(session, jobs),
            _ => return false,
        }
        true
    }
}

impl ConfigView {
    /// Takes the newest findings, unless somebody is typing right now.
    fn take_analysis(&mut self, ui: &Ui, session: &Session) {
        let Some(document) = session.documents.active() else {
            return;
        };
        let now = session.now();
        match &mut self.typed {
            Some((id, version, at)) if *id == document.id => {
                if *version != document.version {
                    (*version, *at) = (document.version, now);
                }
            }
            other => *other = Some((document.id, document.version, Duration::ZERO)),
        }
        let Some(analysis) = &session.analysis else {
            self.shown = None;
            return;
        };
        if self
            .shown
            .as_ref()
            .is_some_and(|s| Arc::ptr_eq(&s.analysis, analysis))
        {
            return;
        }
        let quiet = self
            .typed
            .map_or(QUIET, |(_, _, at)| now.saturating_sub(at));
        let other = self
            .shown
            .as_ref()
            .is_none_or(|s| s.analysis.document != analysis.document);
        if quiet < QUIET && !other {
            ui.ctx().request_repaint_after(QUIET - quiet);
            return;
        }
        self.shown = Some(Shown {
            analysis: analysis.clone(),
            marks: marks::of(analysis),
        });
    }

    fn text(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        id: DocumentId,
        marks: &[Mark],
    ) {
        self.find.show(ui, session, id);
        let Some(document) = session.documents.get(id) else {
            return;
        };
        let read = self
            .shown
            .as_ref()
            .filter(|s| s.analysis.document == id)
            .map(|s| s.analysis.text.as_str());
        let marks = marks::within(marks, document, read.unwrap_or(document.text()));
        let found = self.find.matches(document.text());
        let tinted = self
            .tree
            .hovered
            .as_ref()
            .filter(|p| p.path == document.path)
            .map(|p| p.range.start);
        let editor = self.editors.entry(id).or_default();
        editor.show(
            ui,
            session,
            jobs,
            id,
            &editor::Beside {
                marks: &marks,
                found: &found,
                tinted,
            },
        );
    }

    fn problems(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        analysis: Option<&Arc<Analysis>>,
        marks: &[Mark],
    ) {
        let Some(analysis) = analysis else { return };
        let (tokens, open) = (
            Tokens::of(ui),
            session.settings.problems && !analysis.found.is_empty(),
        );
        let frame = Frame::new()
            .fill(tokens.panel)
            .inner_margin(Margin::symmetric(8, 2));
        let panel = Panel::bottom("problems").frame(frame).resizable(open);
        let panel = if open {
            panel.default_size(PROBLEMS).size_range(80.0..=400.0)
        } else {
            panel.exact_size(ui.spacing().interact_size.y + 4.0)
        };
        panel.show(ui, |ui| {
            ui.horizontal(|ui| {
                let sign = if open { "▼" } else { "▶" };
                let title =
                    Button::new(format!("{sign} Problems {}", analysis.found.len())).frame(false);
                if ui.add(title).clicked() {
                    session.commands.push_back(Command::Problems);
                }
                counts(ui, analysis);
            });
            if open {
                problems::show(ui, session, jobs, analysis, marks);
            }
        });
    }

    /// The tree shows what the caret is in.
    fn follow_caret(&mut self, session: &Session, id: DocumentId) {
        let (Some(document), Some(analysis)) = (session.documents.get(id), session.current())
        else {
            return;
        };
        let here = (id, document.caret);
        if self.caret.replace(here) == Some(here) {
            return;
        }
        if let Some(config) = &analysis.config {
            self.tree.reveal(config, &document.key(), document.caret);
        }
    }

    fn walk_problems(&mut self, session: &mut Session, jobs: &mut Jobs, forward: bool) {
        let Some(shown) = &self.shown else { return };
        let Some(document) = session.documents.active() else {
            return;
        };
        let (key, caret) = (document.key(), document.caret);
        let mut all = shown.marks.clone();
        all.sort_by_key(|m| (m.file != key, m.file.clone(), m.range.start));
        let place = |m: &Mark| Place {
            path: marks::path(m),
            range: m.range.clone(),
        };
        let next = if forward {
            all.iter()
                .find(|m| m.file == key && m.range.start > caret)
                .or(all.iter().find(|m| m.file != key))
                .or(all.first())
        } else {
            all.iter()
                .rfind(|m| m.file == key && m.range.start < caret)
                .or(all.last())
        };
        match next {
            Some(mark) => session.go(jobs, &place(mark)),
            None => session.tell(Level::Note, "nothing is wrong in this config"),
        }
    }

    /// Mends what is wrong in the caret's line of the text as it is now, so it waits until that is read: the marks may be of an older text.
    fn fix_here(&mut self, session: &mut Session, jobs: &mut Jobs, id: DocumentId, caret: usize) {
        let (Some(document), Some(analysis)) = (session.documents.get(id), session.current())
        else {
            self.fix_when_read = Some((id, caret));
            return;
        };
        self.fix_when_read = None;
        let (key, line) = (document.key(), document.line_of(caret));
        let fix = marks::of(analysis)
            .into_iter()
            .filter(|m| m.file == key && m.line == line)
            .find_map(|m| m.fixes.first().cloned());
        match fix {
            Some(fix) => session.fix(jobs, vec![fix]),
            None => session.tell(Level::Note, "there is no fix for this line"),
        }
    }

    fn go_to_origin(&self, session: &mut Session, jobs: &mut Jobs) {
        let config = self.shown.as_ref().and_then(|s| s.analysis.config.as_ref());
        let node = config
            .zip(self.tree.selected.as_ref())
            .and_then(|(c, path)| c.at(path));
        if let Some(place) = node.and_then(tree::place) {
            session.go(jobs, &place);
        }
    }

    /// What differs from the text on disk, as a new config that has it as its base.
    fn save_child(&mut self, session: &mut Session, jobs: &mut Jobs) {
        let Some(document) = session.documents.active() else {
            return;
        };
        let (placed, saved, id) = (document.placed, document.saved.clone(), document.id);
        let Some(new) = session
            .current()
            .and_then(|a| a.config.clone())
            .filter(|_| placed && document.key().ends_with(".py"))
        else {
            session.tell(Level::Warning, "a child needs a Python config that is on disk and can be read: save it first, or mend its errors");
            return;
        };
        let (path, host) = (document.path.clone(), session.host.clone());
        self.child = Some(jobs.start("writing a child", move |_| {
            let old = smalti::config::Config::parse(&saved, &new.path, &*host.configs())
                .map_err(|e| e.to_string())?;
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            Ok((id, write::child(&format!("./{name}"), &old, &new)))
        }));
    }

    fn take_child(&mut self, session: &mut Session) {
        let Some(made) = self.child.as_ref().and_then(Job::poll) else {
            return;
        };
        self.child = None;
        match made.and_then(|m| m) {
            Ok((id, text)) => {
                let Some(path) = session.documents.get(id).map(|d| d.path.clone()) else {
                    return;
                };
                let stem = path
                    .file_stem()
                    .map(|s| s.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let name = path.with_file_name(format!("{stem}_child.py"));
                session.create(&name.to_string_lossy(), &text);
                session.tell(
                    Level::Note,
                    "the child is a new config: save it beside its base",
                );
            }
            Err(why) => session.tell(Level::Error, format!("no child could be written: {why}")),
        }
    }

    /// Bars above the text: what was restored, what changed on disk.
    fn bars(&mut self, ui: &mut Ui, session: &mut Session, id: DocumentId) {
        let tokens = Tokens::of(ui);
        if session
            .restored
            .iter()
            .any(|u| session.documents.get(id).is_some_and(|d| d.path == u.path))
        {
            widgets::bar(ui, tokens.raised, |ui| restored_bar(ui, session));
        }
        let Some(document) = session.documents.get(id) else {
            return;
        };
        if document.elsewhere.is_none() {
            return;
        }
        let (name, path) = (document.name(), document.path.clone());
        widgets::bar(ui, tokens.raised, |ui| {
            widgets::icon(ui, icons::WARNING, tokens.warning);
            ui.label(format!("{name} was changed on disk, and you have edits."));
            if widgets::button(ui, "Load").clicked() {
                session.settle(id, true);
            }
            if widgets::button(ui, "Keep mine").clicked() {
                session.settle(id, false);
            }
            if widgets::button(ui, "Compare").clicked() {
                session.compare_on_disk(&path);
            }
        });
    }
}

/// What a window that was killed left: it is open again, and can be thrown away.
pub fn restored_bar(ui: &mut Ui, session: &mut Session) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        widgets::icon(ui, icons::WARNING, tokens.warning);
        let now = session.now().as_secs();
        let when = session.restored.iter().map(|u| u.at).max().unwrap_or(now);
        let count = plural(session.restored.len(), "config");
        ui.label(format!(
            "Unsaved edits of {count} restored, last changed {}.",
            ago(now.saturating_sub(when))
        ));
        if widgets::button(ui, "Keep").clicked() {
            session.restored.clear();
        }
        if widgets::button(ui, "Discard").clicked() {
            session.discard_restored();
        }
    });
}

fn counts(ui: &mut Ui, analysis: &Analysis) {
    let tokens = Tokens::of(ui);
    for severity in [
        smalti::config::Severity::Error,
        smalti::config::Severity::Warning,
        smalti::config::Severity::Note,
    ] {
        let n = analysis.count(severity);
        if n > 0 {
            let (icon, color, word) = problems::look(severity, tokens);
            widgets::icon(ui, icon, color);
            ui.label(RichText::new(plural(n, word)).color(color));
        }
    }
}

/// Rows where values will be.
fn skeleton(ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    for i in 0..12 {
        let width = ui.available_width() * (0.4 + 0.05 * f32::from(i % 4_u8));
        let (rect, _) = ui.allocate_exact_size(vec2(width, 16.0), egui::Sense::hover());
        ui.painter()
            .rect_filled(rect.shrink2(vec2(8.0, 2.0)), 4.0, tokens.raised);
    }
}

/// A tab for each open config.
fn tabs(ui: &mut Ui, session: &mut Session) {
    let tokens = Tokens::of(ui);
    let all: Vec<(DocumentId, String, String, bool)> = session
        .documents
        .iter()
        .map(|d| (d.id, d.name(), d.key(), d.is_modified()))
        .collect();
    let active = session.documents.active().map(|d| d.id);
    Frame::new().fill(tokens.canvas).show(ui, |ui| {
        ui.spacing_mut().item_spacing = vec2(1.0, 0.0);
        ui.horizontal_wrapped(|ui| {
            ui.set_min_width(ui.available_width());
            for (id, name, path, modified) in all {
                let (front, mark) = (active == Some(id), if modified { " *" } else { "" });
                let text = RichText::new(format!("{}{mark}", middle(&name, 40))).color(if front {
                    tokens.text
                } else {
                    tokens.soft
                });
                let fill = if front { tokens.field } else { tokens.panel };
                let tab = Button::new(text)
                    .fill(fill)
                    .stroke(Stroke::NONE)
                    .corner_radius(CornerRadius::ZERO)
                    .min_size(vec2(0.0, BUTTON));
                let tab = ui.add(tab).on_hover_text(path);
                if front {
                    let line = egui::Rect::from_min_size(tab.rect.min, vec2(tab.rect.width(), 2.0));
                    ui.painter().rect_filled(line, 0.0, tokens.accent);
                }
                if tab.clicked() {
                    session.documents.activate(id);
                }
                if tab.middle_clicked()
                    || widgets::icon_button(ui, icons::CLOSE, &format!("Close {name}")).clicked()
                {
                    session.close_document(id);
                }
                ui.add_space(8.0);
            }
        });
    });
}
