//! Findings as marks in a text: which bytes of which document, how bad, what to say and what would mend it.

use std::ops::Range;
use std::path::PathBuf;

use smalti::config::{Diagnostic, Fix, Severity, SourceKind};

use crate::window::analysis::Analysis;
use crate::window::document::Document;

/// A finding with a place.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Its place among the findings.
    pub index: usize,
    /// How bad it is.
    pub severity: Severity,
    /// The file, as configs name it.
    pub file: String,
    /// Bytes of its text.
    pub range: Range<usize>,
    /// The line, counted from 1.
    pub line: usize,
    /// What was found.
    pub message: String,
    /// What would mend it.
    pub fixes: Vec<Fix>,
}

/// All findings that are about a text.
pub fn of(analysis: &Analysis) -> Vec<Mark> {
    analysis
        .found
        .iter()
        .enumerate()
        .filter_map(|(i, d)| mark(i, d))
        .collect()
}

fn mark(index: usize, found: &Diagnostic) -> Option<Mark> {
    let (origin, _) = found.labels.first()?;
    if origin.source().kind() != SourceKind::File {
        return None;
    }
    Some(Mark {
        index,
        severity: found.severity,
        file: origin.file().to_owned(),
        range: origin.range(),
        line: origin.line(),
        message: found.message.clone(),
        fixes: found.fixes().to_vec(),
    })
}

/// Those in this document, in the order of their places. Of a text that has been edited since, the marks that still stand where they stood:
/// what is before the edit, and what is behind it moved along.
pub fn within(marks: &[Mark], document: &Document, read: &str) -> Vec<Mark> {
    let key = document.key();
    let (old, new) = crate::window::document::difference(read, document.text());
    let moved = |mark: &Mark| {
        let mut mark = mark.clone();
        if mark.range.start >= old.end && read.len() != old.start {
            mark.range = mark.range.start - old.end + new.end..mark.range.end - old.end + new.end;
        } else if mark.range.end > old.start {
            return None;
        }
        mark.line = document.line_of(mark.range.start);
        Some(mark)
    };
    let mut found: Vec<Mark> = match read == document.text() {
        true => marks.iter().filter(|m| m.file == key).cloned().collect(),
        false => marks
            .iter()
            .filter(|m| m.file == key)
            .filter_map(moved)
            .collect(),
    };
    found.sort_by_key(|m| (m.range.start, m.index));
    found
}

/// The file of a mark.
pub fn path(mark: &Mark) -> PathBuf {
    PathBuf::from(&mark.file)
}
