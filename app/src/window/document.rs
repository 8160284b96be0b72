//! One open text and the history of all edits: typing, fixes, widgets and undo go through [`Documents::edit`] alike.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names a document while it is open; never used twice.
pub type DocumentId = u64;

/// A text that is open.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name while it is open.
    pub id: DocumentId,
    /// Where it is, or is to be saved; relative names are new ones.
    pub path: PathBuf,
    /// Whether it has a place on disk.
    pub placed: bool,
    text: String,
    /// The text on disk as last seen.
    pub saved: String,
    /// Counts changes of the text.
    pub version: u64,
    /// What the editor is to select and show next, in bytes.
    pub reveal: Option<Range<usize>>,
    /// Where the caret was last, in bytes.
    pub caret: usize,
    /// The text on disk where it is another and edits would be lost.
    pub elsewhere: Option<String>,
}

impl Document {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there are edits that are not on disk.
    pub fn is_modified(&self) -> bool {
        !self.placed || self.text != self.saved
    }

    /// The name on its tab.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| "unnamed".into(), |n| n.to_string_lossy().into_owned())
    }

    /// Its path as configs and messages have it.
    pub fn key(&self) -> String {
        key(&self.path)
    }

    /// The line of a byte, counted from 1.
    pub fn line_of(&self, byte: usize) -> usize {
        let end = floor(&self.text, byte);
        self.text.as_bytes()[..end]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    }
}

/// A path as configs have it: `/` between the parts.
pub fn key(path: &Path) -> String {
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' {
        text.into_owned()
    } else {
        text.replace('\\', "/")
    }
}

/// The last boundary of a character at or before a byte.
pub fn floor(text: &str, byte: usize) -> usize {
    text.floor_char_boundary(byte.min(text.len()))
}

/// One step back: what stood where, and what stands there now.
#[derive(Clone, Debug)]
struct Step {
    document: DocumentId,
    at: usize,
    before: String,
    after: String,
    time: Duration,
    /// More typing may join it.
    typing: bool,
    /// More of the same drag may join it.
    drag: bool,
}

/// What an edit is to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys: joined to words.
    Typing,
    /// A step of its own.
    Step,
    /// A widget that is dragged: joined while nothing else is edited.
    Drag,
}

/// Texts that are open, and what was done to them.
#[derive(Debug, Default)]
pub struct Documents {
    all: Vec<Document>,
    active: Option<DocumentId>,
    done: Vec<Step>,
    undone: Vec<Step>,
    next: DocumentId,
}

/// Steps that are kept.
const STEPS: usize = 10_000;
/// Pause after which typing is a new step.
const PAUSE: Duration = Duration::from_secs(1);

impl Documents {
    /// All, in the order of their tabs.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Document> {
        self.all.iter()
    }

    /// All, to note what is known of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Document> {
        self.all.iter_mut()
    }

    /// The one in front.
    pub fn active(&self) -> Option<&Document> {
        self.get(self.active?)
    }

    /// The one in front.
    pub fn active_mut(&mut self) -> Option<&mut Document> {
        self.get_mut(self.active?)
    }

    /// One of them.
    pub fn get(&self, id: DocumentId) -> Option<&Document> {
        self.all.iter().find(|d| d.id == id)
    }

    /// One of them.
    pub fn get_mut(&mut self, id: DocumentId) -> Option<&mut Document> {
        self.all.iter_mut().find(|d| d.id == id)
    }

    /// The one at a path.
    pub fn at(&self, path: &Path) -> Option<&Document> {
        self.all.iter().find(|d| d.path == path)
    }

    /// Brings one to the front.
    pub fn activate(&mut self, id: DocumentId) {
        if self.get(id).is_some() {
            self.active = Some(id);
        }
    }

    /// Opens a text, or brings the one that is open at this path to the front.
    pub fn open(&mut self, path: PathBuf, text: String, placed: bool) -> DocumentId {
        if let Some(open) = self.at(&path) {
            let id = open.id;
            self.active = Some(id);
            return id;
        }
        self.next += 1;
        let id = self.next;
        let saved = if placed { text.clone() } else { String::new() };
        self.all.push(Document {
            id,
            path,
            placed,
            text,
            saved,
            version: 0,
            reveal: None,
            caret: 0,
            elsewhere: None,
        });
        self.active = Some(id);
        id
    }

    /// Closes one, and forgets its steps.
    pub fn close(&mut self, id: DocumentId) {
        let Some(i) = self.all.iter().position(|d| d.id == id) else {
            return;
        };
        self.all.remove(i);
        self.done.retain(|step| step.document != id);
        self.undone.retain(|step| step.document != id);
        if self.active == Some(id) {
            self.active = self
                .all
                .get(i.min(self.all.len().saturating_sub(1)))
                .map(|d| d.id);
        }
    }

    /// Puts `new` in the place of a range of bytes. A range that is none of this text is an edit of another text: nothing happens.
    pub fn edit(
        &mut self,
        id: DocumentId,
        range: Range<usize>,
        new: &str,
        kind: Kind,
        time: Duration,
    ) -> bool {
        let Some(document) = self.get_mut(id) else {
            return false;
        };
        let Some(before) = document.text.get(range.clone()).map(str::to_owned) else {
            return false;
        };
        if before == new {
            return false;
        }
        document.text.replace_range(range.clone(), new);
        document.version += 1;
        self.undone.clear();
        let step = Step {
            document: id,
            at: range.start,
            before,
            after: new.to_owned(),
            time,
            typing: kind == Kind::Typing,
            drag: kind == Kind::Drag,
        };
        let joined = self
            .done
            .last_mut()
            .is_some_and(|last| last.join(&step, kind));
        if !joined {
            self.done.push(step);
            let surplus = self.done.len().saturating_sub(STEPS);
            self.done.drain(..surplus);
        }
        true
    }

    /// Makes the text another one, as one edit of what differs.
    pub fn replace(&mut self, id: DocumentId, new: &str, kind: Kind, time: Duration) -> bool {
        let Some(document) = self.get(id) else {
            return false;
        };
        let (range, part) = difference(&document.text, new);
        self.edit(id, range, &new[part], kind, time)
    }

    /// Takes the last step back. The document that it is about comes to the front.
    pub fn undo(&mut self) -> bool {
        let Some(step) = self.done.pop() else {
            return false;
        };
        let at = step.at..step.at + step.after.len();
        self.put(step.document, at, &step.before);
        self.undone.push(step);
        true
    }

    /// Does again what was taken back last.
    pub fn redo(&mut self) -> bool {
        let Some(mut step) = self.undone.pop() else {
            return false;
        };
        let at = step.at..step.at + step.before.len();
        self.put(step.document, at, &step.after);
        (step.typing, step.drag) = (false, false);
        self.done.push(step);
        true
    }

    /// Whether there is something to take back, and something to do again.
    pub fn can(&self) -> (bool, bool) {
        (!self.done.is_empty(), !self.undone.is_empty())
    }

    /// What comes after this is a step of its own.
    pub fn end_step(&mut self) {
        if let Some(last) = self.done.last_mut() {
            (last.typing, last.drag) = (false, false);
        }
    }

    /// Another drag after this is a step of its own.
    pub fn end_drag(&mut self) {
        if let Some(last) = self.done.last_mut() {
            last.drag = false;
        }
    }

    fn put(&mut self, id: DocumentId, range: Range<usize>, text: &str) {
        self.activate(id);
        if let Some(document) = self.get_mut(id) {
            document.text.replace_range(range.clone(), text);
            document.version += 1;
            document.reveal = Some(range.start + text.len()..range.start + text.len());
        }
    }
}

impl Step {
    /// Takes what came after it into itself, where both are one thing to whoever did them.
    fn join(&mut self, next: &Step, kind: Kind) -> bool {
        if self.document != next.document {
            return false;
        }
        match kind {
            Kind::Step => false,
            Kind::Drag => {
                // what is put into what was put there before: the value, or at first the override that holds it
                let (start, end) = (next.at, next.at + next.before.len());
                let same = self.drag
                    && start >= self.at
                    && end <= self.at + self.after.len()
                    && next.time.saturating_sub(self.time) < PAUSE;
                if same {
                    let part = start - self.at..end - self.at;
                    self.after.replace_range(part, &next.after);
                    self.time = next.time;
                }
                same
            }
            Kind::Typing => {
                let pause = next.time.saturating_sub(self.time) >= PAUSE;
                let new_word = self.after.ends_with(|c: char| c.is_whitespace())
                    && !next.after.starts_with(|c: char| c.is_whitespace());
                if !self.typing || pause {
                    return false;
                }
                let end = self.at + self.after.len();
                if next.before.is_empty() && next.at == end && !new_word {
                    self.after.push_str(&next.after);
                } else if next.after.is_empty()
                    && next.at + next.before.len() == end
                    && next.at >= self.at
                {
                    // what was typed just now is rubbed out
                    self.after.truncate(next.at - self.at);
                } else if next.after.is_empty()
                    && self.after.is_empty()
                    && next.at + next.before.len() == self.at
                {
                    self.before.insert_str(0, &next.before);
                    self.at = next.at;
                } else {
                    return false;
                }
                self.time = next.time;
                true
            }
        }
    }
}

/// The one range in which two texts differ, in the old and in the new.
pub fn difference(old: &str, new: &str) -> (Range<usize>, Range<usize>) {
    let (a, b) = (old.as_bytes(), new.as_bytes());
    let shorter = a.len().min(b.len());
    let start = (0..shorter).find(|i| a[*i] != b[*i]).unwrap_or(shorter);
    let start = old
        .floor_char_boundary(start)
        .min(new.floor_char_boundary(start));
    let most = shorter - start;
    let same = (0..most)
        .find(|i| a[a.len() - 1 - i] != b[b.len() - 1 - i])
        .unwrap_or(most);
    let mut same = same;
    while !(old.is_char_boundary(a.len() - same) && new.is_char_boundary(b.len() - same)) {
        same -= 1;
    }
    (start..a.len() - same, start..b.len() - same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_difference_of_two_texts_is_one_range_of_whole_characters() {
        for (old, new, want) in [
            ("abc", "abXc", (2..2, 2..3)),
            ("aaa", "aa", (2..3, 2..2)),
            ("", "x", (0..0, 0..1)),
            ("é", "è", (0..2, 0..2)),
            ("same", "same", (4..4, 4..4)),
        ] {
            assert_eq!(difference(old, new), want, "{old} {new}");
        }
    }

    #[test]
    fn typing_is_undone_by_words_and_a_drag_as_one() {
        let mut all = Documents::default();
        let id = all.open("a.py".into(), "x = 1".into(), true);
        let text = |all: &Documents| all.get(id).unwrap().text().to_owned();
        for (i, c) in " # one two".char_indices() {
            all.edit(id, 5 + i..5 + i, &c.to_string(), Kind::Typing, at(1));
        }
        assert_eq!(text(&all), "x = 1 # one two");
        all.undo();
        assert_eq!(text(&all), "x = 1 # one ");
        all.undo();
        all.undo();
        all.undo();
        assert_eq!(text(&all), "x = 1");
        for value in ["2", "3", "4"] {
            all.edit(id, 4..5, value, Kind::Drag, at(9));
        }
        all.undo();
        assert_eq!(text(&all), "x = 1");
        all.redo();
        assert_eq!(text(&all), "x = 4");
        assert!(all.get(id).unwrap().is_modified());
        // an override is put there first, then the value within it is dragged on; another drag is another step
        all.edit(id, 5..5, "\ny = dict(z=1)", Kind::Drag, at(20));
        all.edit(id, 17..18, "25", Kind::Drag, at(20));
        assert_eq!(text(&all), "x = 4\ny = dict(z=25)");
        all.end_step();
        all.edit(id, 17..19, "3", Kind::Drag, at(20));
        all.undo();
        assert_eq!(text(&all), "x = 4\ny = dict(z=25)");
        all.undo();
        assert_eq!(text(&all), "x = 4");
    }

    #[test]
    fn undo_goes_to_the_document_that_was_edited() {
        let mut all = Documents::default();
        let (a, b) = (
            all.open("a.py".into(), "a".into(), true),
            all.open("b.py".into(), "b".into(), true),
        );
        all.edit(a, 0..1, "A", Kind::Step, at(0));
        all.edit(b, 0..1, "B", Kind::Step, at(0));
        all.undo();
        assert_eq!(all.active().unwrap().id, b);
        all.undo();
        assert_eq!(all.active().unwrap().id, a);
        assert_eq!(all.get(a).unwrap().text(), "a");
        assert!(!all.undo() && all.redo() && all.redo() && !all.redo());
        all.close(a);
        assert_eq!(all.active().unwrap().id, b);
        assert!(all.can().0, "b's step is kept");
    }

    #[test]
    fn an_edit_of_what_is_not_there_is_refused() {
        let mut all = Documents::default();
        let id = all.open("a.py".into(), "é".into(), true);
        assert!(!all.edit(id, 1..2, "x", Kind::Step, at(0)));
        assert!(!all.edit(id, 0..9, "x", Kind::Step, at(0)));
        assert!(!all.edit(99, 0..0, "x", Kind::Step, at(0)));
    }
}
