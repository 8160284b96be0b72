//! [`Tally`]: what was left out or mended while an annotation file was read: how many of each kind, and the first few by their ids.

use std::collections::BTreeMap;

use serde::Deserialize;

use smalti_config::{Diagnostic, Kind, Origin, Severity};

/// `on_broken`, a key of ours: what broken annotations and pictures mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBroken {
    /// They are left out or mended, counted and named. A picture that cannot be loaded is replaced by another, drawn as for one that the
    /// pipeline drops.
    Skip,
    /// The data set, or the sample, is an error.
    Error,
}

/// One kind of finding, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    // By the rules of the data set.
    Ignored,
    OtherCategory,
    Thin,
    Outside,
    NoArea,
    KnownMissing,
    // Broken.
    UnknownCategory,
    MissingPicture,
    Keyless,
    NotFinite,
    TextImageId,
    NumberImageId,
    TextCategoryId,
    NumberCategoryId,
    TextNumber,
    TextFlag,
    OddFlag,
    MissingArea,
    SameId,
    FlatPolygon,
    NestedPolygon,
    PartOfMask,
    BrokenMask,
    OtherMaskSize,
    RunLengths,
    KeylessPicture,
    SamePicture,
    SizelessPicture,
    TextSize,
    OtherSize,
    UnreadPicture,
    NamelessObject,
    BoxlessObject,
    BrokenBox,
    OddDifficult,
    BrokenCategory,
    NameNotText,
    NamelessCategory,
    SameCategory,
}

impl Found {
    fn is_broken(self) -> bool {
        self >= Found::UnknownCategory
    }

    /// Whether an annotation is lost by a mistake in the file.
    fn is_loss(self) -> bool {
        (Found::UnknownCategory..=Found::NotFinite).contains(&self)
    }

    /// What is counted, one and several, and what became of it.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        let annotation = |what| ("annotation", "annotations", what);
        let picture = |what| ("picture", "pictures", what);
        let object = |what| ("object", "objects", what);
        match self {
            Found::Ignored => annotation("left out: marked `ignore`"),
            Found::OtherCategory => {
                annotation("left out: of a category that the config does not want")
            }
            Found::Thin => annotation("left out: the box is less than 1 px wide or high"),
            Found::Outside => annotation("left out: the box lies outside of the picture"),
            Found::NoArea => annotation("left out: `area` is 0 or less"),
            Found::KnownMissing => {
                picture("left out: Objects365 v2 lists it but does not have the file")
            }
            Found::UnknownCategory => {
                annotation("left out: the file has no category of this `category_id`")
            }
            Found::MissingPicture => {
                annotation("left out: the file has no picture of this `image_id`")
            }
            Found::Keyless => annotation(
                "left out: without an `image_id`, a `category_id` or a `bbox` of four numbers",
            ),
            Found::NotFinite => annotation("left out: the box has a value that is no number"),
            Found::TextImageId => annotation(
                "whose `image_id` is a text where the picture's `id` is a number: taken as the same",
            ),
            Found::NumberImageId => annotation(
                "whose `image_id` is a number where the picture's `id` is a text: taken as the same",
            ),
            Found::TextCategoryId => annotation(
                "whose `category_id` is a text where the category's `id` is a number: taken as the same",
            ),
            Found::NumberCategoryId => annotation(
                "whose `category_id` is a number where the category's `id` is a text: taken as the same",
            ),
            Found::TextNumber => annotation(
                "with a `bbox` or an `area` that is text: taken as the numbers it spells",
            ),
            Found::TextFlag => annotation(
                "with an `iscrowd` or `ignore` that is text: \"0\" is taken as 0, \"1\" as 1",
            ),
            Found::OddFlag => annotation(
                "with an `iscrowd` or `ignore` that is neither 0 nor 1: taken as Python does, so that whatever is not empty counts as 1",
            ),
            Found::MissingArea => {
                annotation("without `area`: width times height of the box is taken")
            }
            Found::SameId => annotation("with the `id` of an earlier annotation: both are kept"),
            Found::FlatPolygon => annotation(
                "with a `segmentation` that is one list of numbers, not a list of lists: taken as one polygon",
            ),
            Found::NestedPolygon => annotation(
                "with a `segmentation` of [x, y] points or of lists in lists, not a list of lists of numbers: taken as the polygons that it shows",
            ),
            Found::PartOfMask => annotation(
                "with a polygon that cannot be read: where masks are loaded, the others count",
            ),
            Found::OtherMaskSize => annotation(
                "with run lengths of another size than the picture: where masks are loaded, the object is ignored",
            ),
            Found::RunLengths => annotation(
                "with run lengths where the pipeline wants polygons (`poly2mask=False`): the object is ignored, as in MMDetection",
            ),
            Found::BrokenMask => annotation(
                "with a `segmentation` that cannot be read: where masks are loaded, the object is ignored",
            ),
            Found::KeylessPicture => picture("left out: without an `id` or a `file_name`"),
            Found::SamePicture => {
                picture("with the `id` of an earlier picture: the later entry counts")
            }
            Found::SizelessPicture => picture(
                "without `width` and `height`: their boxes are not compared with the border",
            ),
            Found::TextSize => {
                picture("with a `width` or a `height` that is text: taken as the number it spells")
            }
            Found::UnreadPicture => picture("left out: their annotations cannot be read"),
            Found::OtherSize => {
                picture("of another size than the annotations say: the picture's own counts")
            }
            Found::NamelessObject => object("left out: without a `name`"),
            Found::BoxlessObject => {
                object("left out: without a `bndbox` of `xmin`, `ymin`, `xmax` and `ymax`")
            }
            Found::BrokenBox => {
                object("left out: their `bndbox` lacks a side or has one that is no number")
            }
            Found::OddDifficult => {
                object("with a `difficult` that says neither yes nor no: taken as 0")
            }
            Found::BrokenCategory => (
                "category",
                "categories",
                "left out: without an `id` or a `name`",
            ),
            Found::NameNotText => (
                "category",
                "categories",
                "with a `name` that is no text: taken as text",
            ),
            Found::NamelessCategory => ("category", "categories", "with an empty `name`"),
            Found::SameCategory => (
                "category",
                "categories",
                "with the `id` of an earlier category: annotations of that `id` are of the later one",
            ),
        }
    }
}

/// Of each kind: how many, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    found: BTreeMap<Found, (usize, Vec<String>)>,
}

/// How many are named.
const NAMED: usize = 5;
/// Where names are this long, no more follow.
const LONG: usize = 300;

impl Tally {
    /// Counts one; `name` is asked for the first few only.
    pub fn add(&mut self, found: Found, name: impl FnOnce() -> String) {
        let (count, names) = self.found.entry(found).or_default();
        *count += 1;
        if names.len() < NAMED {
            names.push(name());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether annotations are lost by mistakes in the file.
    pub fn has_losses(&self) -> bool {
        self.found.keys().any(|found| found.is_loss())
    }

    /// In words what there is of some kinds, with the first of each.
    pub fn told(&self, kinds: &[Found]) -> Vec<String> {
        let found = |kind| Some((kind, self.found.get(&kind)?));
        let found = kinds.iter().copied().filter_map(found);
        found
            .map(|(kind, (count, names))| told(kind, *count, &names[..names.len().min(1)]))
            .collect()
    }

    /// As diagnostics: notes by the rules; warnings, or errors, for what is broken.
    /// `path` is that of the annotation file.
    pub fn report(&self, path: &str, at: &Origin, on_broken: Option<OnBroken>) -> Vec<Diagnostic> {
        let one = |(found, (count, names)): (&Found, &(usize, Vec<String>))| {
            let text = format!("`{path}`: {}", told(*found, *count, names));
            match (found.is_broken(), on_broken) {
                (true, Some(OnBroken::Error)) => Diagnostic::error(text)
                    .kind(Kind::File)
                    .at(at, "")
                    .help("on_broken='skip' takes the rest"),
                (true, _) => Diagnostic::warning(text).kind(Kind::File).at(at, ""),
                (false, _) => note(text, at),
            }
        };
        self.found.iter().map(one).collect()
    }
}

/// How many of a kind, what became of them, and the first of them.
fn told(found: Found, count: usize, names: &[String]) -> String {
    let (single, several, what) = found.words();
    let unit = if count == 1 { single } else { several };
    let comma = if names.iter().any(|n| n.contains(", ")) {
        "; "
    } else {
        ", "
    };
    let mut list = String::new();
    let mut told = 0;
    for name in names {
        if list.len() > LONG {
            break;
        }
        list.push_str(if told > 0 { comma } else { "" });
        list.push_str(name);
        told += 1;
    }
    if count > told {
        list.push_str(comma);
        list.push_str("...");
    }
    format!("{} {unit} {what} ({list})", thousands(count))
}

/// Something worth knowing.
pub(super) fn note(text: impl Into<String>, at: &Origin) -> Diagnostic {
    let mut note = Diagnostic::warning(text).at(at, "");
    note.severity = Severity::Note;
    note
}

/// 860001 as `860,001`.
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Names in braces; long lists are cut.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(12);
    let mut shown: Vec<String> = names.take(12).map(|n| format!("{n:.40}")).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_names_the_first() {
        let mut tally = Tally::default();
        for i in 0..1234 {
            tally.add(Found::Outside, || i.to_string());
        }
        tally.add(Found::SameId, || "7".into());
        let at = Origin::made("test");
        let text = |on| -> Vec<String> {
            let report = tally.report("a", &at, on);
            report
                .iter()
                .map(|d| d.to_string().lines().next().unwrap_or("").into())
                .collect()
        };
        assert_eq!(
            text(None),
            [
                "note: `a`: 1,234 annotations left out: the box lies outside of the picture (0, 1, 2, 3, 4, ...)",
                "warning: `a`: 1 annotation with the `id` of an earlier annotation: both are kept (7)"
            ]
        );
        assert!(text(Some(OnBroken::Error))[1].starts_with("error: `a`: 1 annotation"));
        assert_eq!(listed(["a", "b"].into_iter()), "{a, b}");
    }
}
