//! What the table lists and the picture marks: detections above the threshold, and objects that were missed.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use eframe::egui::Color32;

use smalti::structures::Xyxy;

use super::found::Found;
use super::truth::{Fate, Judged, Object};
use crate::window::icons::{self, Icon};
use crate::window::tokens::Tokens;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// A detection, by its place.
    Found(usize),
    /// An object that no detection finds, by its place.
    Missed(usize),
}

/// How a detection and the ground truth agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No detection finds the object.
    Miss,
    /// The detection finds no object.
    FalseAlarm,
    /// The detection finds an object.
    Hit,
    /// It is no matter.
    Ignored,
}

impl Verdict {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::FalseAlarm => "false",
            Self::Hit => "hit",
            Self::Ignored => "ignored",
        }
    }

    /// In an icon and a colour.
    pub fn look(self, tokens: &Tokens) -> (Icon, Color32) {
        match self {
            Self::Miss => (icons::MISS, tokens.warning),
            Self::FalseAlarm => (icons::CLOSE, tokens.error),
            Self::Hit => (icons::OK, tokens.ok),
            Self::Ignored => (icons::NOTE, tokens.weak),
        }
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is about.
    pub which: Which,
    /// Class index; `None` for a class that the detector does not know.
    pub label: Option<usize>,
    /// The class.
    pub class: String,
    /// xyxy px.
    pub bbox: Xyxy,
    /// 0 to 1; none of what was missed.
    pub score: Option<f32>,
    /// Where there is ground truth.
    pub verdict: Option<Verdict>,
}

impl Row {
    /// Width and height, px.
    pub fn size(&self) -> [f32; 2] {
        let [x1, y1, x2, y2] = self.bbox;
        [x2 - x1, y2 - y1]
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The order in which they were found.
    Number,
    /// The class.
    Class,
    /// The score.
    Score,
    /// The area.
    Size,
    /// What is wrong first.
    Truth,
}

/// What is left out, and in which order the rest comes.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Lowest score.
    pub threshold: f32,
    /// These classes alone, if there are any.
    pub only: BTreeSet<String>,
    /// The order.
    pub key: Key,
    /// The other way round.
    pub reversed: bool,
}

/// All rows, and their sums.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// In order.
    pub rows: Vec<Row>,
    /// Classes and how often they are there, most frequent first; also those that the filter leaves out.
    pub classes: Vec<(String, Option<usize>, usize)>,
    /// Hits, misses and false alarms, where there is ground truth.
    pub sums: Option<[usize; 3]>,
    /// The detection that finds each object.
    pub found_by: Vec<Option<usize>>,
}

impl Rows {
    /// Of what was found, and what is known.
    pub fn of(
        found: &Found,
        classes: &[String],
        truth: Option<(&[Object], &Judged)>,
        filter: &Filter,
    ) -> Self {
        let mut all: Vec<Row> = (0..found.above(filter.threshold))
            .map(|i| Row {
                which: Which::Found(i),
                label: Some(found.labels[i]),
                class: name(classes, found.labels[i]),
                bbox: found.boxes[i],
                score: Some(found.scores[i]),
                verdict: truth.map(|(_, judged)| match judged.fates.get(i) {
                    Some(Fate::Finds(_)) => Verdict::Hit,
                    Some(Fate::Ignored) => Verdict::Ignored,
                    _ => Verdict::FalseAlarm,
                }),
            })
            .collect();
        if let Some((objects, judged)) = truth {
            let missed = objects.iter().enumerate().filter(|(j, o)| {
                !o.ignored && o.label.is_some() && !judged.finds(*j, found, filter.threshold)
            });
            all.extend(missed.map(|(j, object)| Row {
                which: Which::Missed(j),
                label: object.label,
                class: object.class.clone(),
                bbox: object.bbox,
                score: None,
                verdict: Some(Verdict::Miss),
            }));
        }
        let count = |verdict| all.iter().filter(|r| r.verdict == Some(verdict)).count();
        let sums = truth.map(|_| [Verdict::Hit, Verdict::Miss, Verdict::FalseAlarm].map(count));
        let classes = counted(&all);
        if !filter.only.is_empty() {
            all.retain(|row| filter.only.contains(&row.class));
        }
        all.sort_by(|a, b| {
            let order = compare(a, b, filter.key);
            if filter.reversed {
                order.reverse()
            } else {
                order
            }
        });
        Self {
            rows: all,
            classes,
            sums,
            found_by: truth
                .map(|(_, judged)| judged.found_by.clone())
                .unwrap_or_default(),
        }
    }

    /// The detections among them, best first.
    pub fn found(&self) -> Vec<usize> {
        let found = self.rows.iter().filter_map(|row| match row.which {
            Which::Found(i) => Some(i),
            Which::Missed(_) => None,
        });
        let mut found: Vec<usize> = found.collect();
        found.sort_unstable();
        found
    }

    /// The place of a row.
    pub fn place(&self, which: Which) -> Option<usize> {
        self.rows.iter().position(|row| row.which == which)
    }
}

/// A class's name, or its number where it has none.
pub fn name(classes: &[String], label: usize) -> String {
    classes
        .get(label)
        .cloned()
        .unwrap_or_else(|| label.to_string())
}

fn counted(rows: &[Row]) -> Vec<(String, Option<usize>, usize)> {
    let mut counts: Vec<(String, Option<usize>, usize)> = Vec::new();
    for row in rows {
        match counts.iter_mut().find(|(class, ..)| *class == row.class) {
            Some((_, _, n)) => *n += 1,
            None => counts.push((row.class.clone(), row.label, 1)),
        }
    }
    counts.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)));
    counts
}

fn compare(a: &Row, b: &Row, key: Key) -> Ordering {
    let score = |row: &Row| row.score.unwrap_or(-1.0);
    let area = |row: &Row| row.size()[0] * row.size()[1];
    let by_score = || score(b).total_cmp(&score(a));
    let order = match key {
        Key::Number => Ordering::Equal,
        Key::Class => a.label.cmp(&b.label).then_with(by_score),
        Key::Score => by_score(),
        Key::Size => area(b).total_cmp(&area(a)),
        Key::Truth => a.verdict.cmp(&b.verdict).then_with(by_score),
    };
    order.then_with(|| a.which.cmp(&b.which))
}

#[cfg(test)]
mod tests {
    use super::super::truth::judge;
    use super::*;

    fn filter(threshold: f32, key: Key) -> Filter {
        Filter {
            threshold,
            only: BTreeSet::new(),
            key,
            reversed: false,
        }
    }

    #[test]
    fn what_is_wrong_comes_first_and_a_threshold_makes_misses_of_hits() {
        let found = Found {
            boxes: vec![[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]],
            scores: vec![0.9, 0.6],
            labels: vec![1, 0],
            ..Found::default()
        };
        let object = |bbox, label| Object {
            bbox,
            label: Some(label),
            class: ["cat", "dog"][label].into(),
            ignored: false,
        };
        let objects = [
            object([0.0, 0.0, 10.0, 10.0], 1),
            object([90.0, 0.0, 99.0, 9.0], 0),
        ];
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let judged = judge(&found, &objects);
        let rows = |threshold| {
            let truth = Some((&objects[..], &judged));
            Rows::of(&found, &classes, truth, &filter(threshold, Key::Truth))
        };
        let some = rows(0.5);
        let which: Vec<Which> = some.rows.iter().map(|r| r.which).collect();
        assert_eq!(which, [Which::Missed(1), Which::Found(1), Which::Found(0)]);
        assert_eq!(some.sums, Some([1, 1, 1]));
        assert_eq!(some.classes[0], ("cat".into(), Some(0), 2));
        assert_eq!(rows(0.95).sums, Some([0, 2, 0]));
        let bare = Rows::of(&found, &classes, None, &filter(0.7, Key::Score));
        assert_eq!((bare.rows.len(), bare.sums), (1, None));
        let mut only = filter(0.0, Key::Score);
        only.only.insert("cat".into());
        let cats = Rows::of(&found, &classes, None, &only);
        assert_eq!((cats.rows.len(), cats.classes.len()), (1, 2));
    }
}
