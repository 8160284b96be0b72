//! Colours of a config's text, and its layout: each line is laid out once and kept, so that a key costs one line.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eframe::egui::text::{LayoutJob, LayoutSection, TextFormat};
use eframe::egui::{Color32, FontId, Galley, Ui};

use crate::window::tokens::{BODY, Tokens};

/// What a part of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Anything else: brackets, operators, names.
    Plain,
    /// A name before `=`, or a key before `:`.
    Key,
    /// A string.
    String,
    /// A number, `True`, `False` or `None`.
    Number,
    /// `dict`, `import` and their like.
    Keyword,
    /// The name of a component: the string behind `type=`.
    Type,
    /// A comment.
    Comment,
}

/// Within what a line begins: a string of three quotes, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Within {
    /// Code.
    #[default]
    Code,
    /// A string that ends with three of this quote.
    Text(u8),
}

const KEYWORDS: [&str; 22] = [
    "and",
    "as",
    "del",
    "dict",
    "elif",
    "else",
    "for",
    "from",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "list",
    "not",
    "or",
    "print",
    "range",
    "set",
    "tuple",
    "with",
    "read_base",
];
const CONSTANTS: [&str; 6] = ["True", "False", "None", "true", "false", "null"];

/// The parts of a line, and within what the next one begins. Parts follow each other without a gap.
pub fn parts(line: &str, within: Within) -> (Vec<(usize, Part)>, Within) {
    let bytes = line.as_bytes();
    let mut parts: Vec<(usize, Part)> = Vec::new();
    let mut push = |from: usize, to: usize, part: Part| {
        let same = parts.last().is_some_and(|(_, last)| *last == part);
        if same {
            parts.pop();
        }
        if to > from {
            parts.push((to, part));
        }
    };
    let (mut at, mut behind_type) = (0, false);
    if let Within::Text(quote) = within {
        let Some(end) = closing(bytes, 0, quote, true) else {
            push(0, bytes.len(), Part::String);
            return (parts, within);
        };
        push(0, end, Part::String);
        at = end;
    }
    while at < bytes.len() {
        let begin = at;
        let c = bytes[at];
        if c == b'#' {
            push(begin, bytes.len(), Part::Comment);
            break;
        }
        if c == b'\'' || c == b'"' {
            let three = bytes[at..].starts_with(&[c, c, c]);
            let from = at + if three { 3 } else { 1 };
            match closing(bytes, from, c, three) {
                Some(end) => {
                    at = end;
                    let key = next(bytes, at) == Some(b':');
                    let part = if behind_type {
                        Part::Type
                    } else if key {
                        Part::Key
                    } else {
                        Part::String
                    };
                    push(begin, at, part);
                }
                None => {
                    push(begin, bytes.len(), Part::String);
                    return (parts, if three { Within::Text(c) } else { Within::Code });
                }
            }
            behind_type = false;
        } else if c.is_ascii_alphabetic() || c == b'_' || c >= 0x80 {
            while at < bytes.len()
                && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || bytes[at] >= 0x80)
            {
                at += 1;
            }
            let word = &line[begin..at];
            let set = next(bytes, at) == Some(b'=') && !bytes[skip(bytes, at)..].starts_with(b"==");
            let key = set || (begin == skip(bytes, 0) && next(bytes, at) == Some(b':'));
            let part = match word {
                _ if CONSTANTS.contains(&word) => Part::Number,
                _ if key => Part::Key,
                _ if KEYWORDS.contains(&word) => Part::Keyword,
                _ if behind_type => Part::Type,
                _ => Part::Plain,
            };
            // the value behind `type=` or `type:`
            behind_type = key && word == "type";
            push(begin, at, part);
        } else if c.is_ascii_digit() {
            while at < bytes.len()
                && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.' || exponent(bytes, at))
            {
                at += 1;
            }
            push(begin, at, Part::Number);
            behind_type = false;
        } else {
            at += 1;
            if !(c == b'=' || c == b':' || c.is_ascii_whitespace()) {
                behind_type = false;
            }
            push(begin, at, Part::Plain);
        }
    }
    // `'type': 'X'` of JSON and of dict literals
    (json_types(line, parts), Within::Code)
}

/// The string behind a string `type` and a colon is a component's name too.
fn json_types(line: &str, mut parts: Vec<(usize, Part)>) -> Vec<(usize, Part)> {
    let mut from = 0;
    let mut behind = false;
    for (to, part) in &mut parts {
        let text = &line[from..*to];
        match part {
            Part::Key => behind = text.trim_matches(['\'', '"']) == "type",
            Part::String if behind => {
                *part = Part::Type;
                behind = false;
            }
            Part::Plain if text.chars().all(|c| matches!(c, ' ' | '=' | ':')) => {}
            _ => behind = false,
        }
        from = *to;
    }
    parts
}

fn skip(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|b| *b == b' ' || *b == b'\t') {
        at += 1;
    }
    at
}

fn next(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(skip(bytes, at)).copied()
}

fn exponent(bytes: &[u8], at: usize) -> bool {
    matches!(bytes[at], b'+' | b'-')
        && at > 0
        && matches!(bytes[at - 1], b'e' | b'E')
        && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
}

/// Behind the quote that ends a string.
fn closing(bytes: &[u8], mut at: usize, quote: u8, three: bool) -> Option<usize> {
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
            continue;
        }
        if bytes[at] == quote && (!three || bytes[at..].starts_with(&[quote, quote, quote])) {
            return Some(at + if three { 3 } else { 1 });
        }
        at += 1;
    }
    None
}

fn color(part: Part, tokens: &Tokens) -> Color32 {
    let [key, string, number, keyword, kind] = tokens.code;
    match part {
        Part::Plain => tokens.text,
        Part::Key => key,
        Part::String => string,
        Part::Number => number,
        Part::Keyword => keyword,
        Part::Type => kind,
        Part::Comment => tokens.weak,
    }
}

/// Lines that are laid out, and the whole text of the last frame.
#[derive(Default)]
pub struct Layouter {
    lines: HashMap<u64, (Arc<Galley>, Within)>,
    whole: Option<(String, Arc<Galley>)>,
    /// What lines were laid out for: theme, pixels a point, and how full the atlas of glyphs was.
    of: (bool, f32, f32),
    /// Lines laid out so far.
    laid_out: usize,
}

impl Layouter {
    /// The text, coloured.
    pub fn layout(&mut self, ui: &Ui, text: &str) -> Arc<Galley> {
        let (dark, scale) = (ui.visuals().dark_mode, ui.ctx().pixels_per_point());
        let full = ui.fonts(|f| f.font_atlas_fill_ratio());
        // an atlas that is less full is a new one: glyphs are elsewhere
        if (dark, scale) != (self.of.0, self.of.1) || full < self.of.2 {
            self.lines.clear();
            self.whole = None;
        }
        self.of = (dark, scale, full);
        if let Some((same, galley)) = &self.whole
            && same == text
        {
            return galley.clone();
        }
        let tokens = Tokens::of(ui);
        let font = FontId::monospace(BODY);
        let mut within = Within::Code;
        let mut galleys = Vec::new();
        let mut kept = HashMap::with_capacity(self.lines.len());
        for line in text.split('\n') {
            let mut hasher = DefaultHasher::new();
            (line, within).hash(&mut hasher);
            let key = hasher.finish();
            let found = kept.get(&key).or_else(|| self.lines.get(&key)).cloned();
            let (galley, end) = found.unwrap_or_else(|| {
                self.laid_out += 1;
                let (parts, end) = parts(line, within);
                (
                    ui.fonts_mut(|f| f.layout_job(job(line, &parts, tokens, &font))),
                    end,
                )
            });
            kept.insert(key, (galley.clone(), end));
            galleys.push(galley);
            within = end;
        }
        self.lines = kept;
        // colours are in the lines; a job without a section would be taken to be empty
        let whole = LayoutJob::simple(text.to_owned(), font, tokens.text, f32::INFINITY);
        let galley = Arc::new(Galley::concat(Arc::new(whole), &galleys, scale));
        self.whole = Some((text.to_owned(), galley.clone()));
        galley
    }
}

/// A line with its colours.
pub fn job(line: &str, parts: &[(usize, Part)], tokens: &Tokens, font: &FontId) -> LayoutJob {
    let mut job = LayoutJob {
        text: line.to_owned(),
        break_on_newline: false,
        keep_trailing_whitespace: true,
        ..Default::default()
    };
    job.wrap.max_width = f32::INFINITY;
    let mut from = 0;
    let mut section = |to: usize, part: Part| {
        let format = TextFormat::simple(font.clone(), color(part, tokens));
        job.sections.push(LayoutSection {
            leading_space: 0.0,
            byte_range: from.into()..to.into(),
            format,
        });
        from = to;
    };
    for (to, part) in parts {
        section(*to, *part);
    }
    if parts.is_empty() {
        section(line.len(), Part::Plain);
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str, within: Within) -> (Vec<(String, Part)>, Within) {
        let (parts, end) = parts(line, within);
        let mut from = 0;
        let text = parts.into_iter().map(|(to, part)| {
            let text = line[from..to].to_owned();
            from = to;
            (text, part)
        });
        (text.collect(), end)
    }

    #[test]
    fn parts_are_what_python_says() {
        let (parts, _) = named("neck=dict(type='FPN', n=[1, 2e-3]),  # é", Within::Code);
        let expected = [
            ("neck", Part::Key),
            ("=", Part::Plain),
            ("dict", Part::Keyword),
            ("(", Part::Plain),
            ("type", Part::Key),
            ("=", Part::Plain),
            ("'FPN'", Part::Type),
            (", ", Part::Plain),
            ("n", Part::Key),
            ("=[", Part::Plain),
            ("1", Part::Number),
            (", ", Part::Plain),
            ("2e-3", Part::Number),
            ("]),  ", Part::Plain),
            ("# é", Part::Comment),
        ];
        let expected: Vec<(String, Part)> = expected
            .iter()
            .map(|(t, p)| ((*t).to_owned(), *p))
            .collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_key_costs_one_line() {
        let text: String = (0..500).map(|i| format!("a_{i} = [{i}, 'x']\n")).collect();
        let show = |ui: &mut Ui, (layouter, text): &mut (Layouter, String)| {
            assert_eq!(layouter.layout(ui, text).rows.len(), 501);
        };
        let mut harness = egui_kittest::Harness::new_ui_state(show, (Layouter::default(), text));
        harness.run();
        let before = harness.state().0.laid_out;
        harness.state_mut().1.insert(5000, '7');
        harness.run();
        assert_eq!((before, harness.state().0.laid_out), (501, 502));
    }

    #[test]
    fn strings_of_three_quotes_go_over_lines() {
        let (_, within) = named("x = '''a", Within::Code);
        assert_eq!(within, Within::Text(b'\''));
        let (parts, within) = named("b''' + 'c'", within);
        assert_eq!(
            (parts[0].clone(), within),
            (("b'''".to_owned(), Part::String), Within::Code)
        );
        assert_eq!(named("'open", Within::Code).1, Within::Code);
        assert_eq!(named(r"'a\'b'", Within::Code).0.len(), 1);
    }

    #[test]
    fn types_of_json_and_comparisons() {
        let (parts, _) = named("\"type\": \"FPN\", 'a' == b", Within::Code);
        assert_eq!(parts[0], ("\"type\"".into(), Part::Key));
        assert_eq!(parts[2], ("\"FPN\"".into(), Part::Type));
        assert!(
            parts
                .iter()
                .all(|(text, part)| text != "'a'" || *part == Part::String)
        );
        for line in ["", "é", "'", "\\", "'\\", "\"\"\"", "0x", "1e+", "type="] {
            let (parts, _) = super::parts(line, Within::Code);
            assert_eq!(parts.last().map_or(0, |p| p.0), line.len(), "{line}");
        }
    }
}
