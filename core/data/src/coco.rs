//! Ids as annotation files have them, and what results need of a COCO annotation file: ids of pictures and categories.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// An id of a picture or a category: COCO's are numbers, some data sets have texts. A number keeps its digits, however many.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(untagged, expecting = "an integer or a string")]
pub enum Id {
    /// An integer of 64 bits.
    Number(i64),
    /// Any other number, as JSON writes it.
    #[serde(skip_deserializing)]
    Digits(Box<str>),
    /// A text; also the file name of a picture where there is no annotation file.
    Name(String),
}

/// [`Id`] of a picture.
pub type ImageId = Id;

impl Id {
    /// A finite number; 5.0 is 5, as in Python.
    pub(super) fn of_float(x: f64) -> Option<Self> {
        match (x.is_finite(), x.fract() == 0.0) {
            (false, _) => None,
            (true, true) => Some(Self::of_digits(&format!("{x:.0}"))),
            (true, false) => Some(Self::Digits(x.to_string().into())),
        }
    }

    /// Decimal digits, perhaps with `-` before them.
    pub(super) fn of_digits(text: &str) -> Self {
        if let Ok(number) = text.parse() {
            return Self::Number(number);
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        Self::Digits(format!("{sign}{}", digits.trim_start_matches('0')).into())
    }

    /// The number that a text spells, if it spells one.
    pub(crate) fn spelled(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Self::of_digits(text));
        }
        text.parse().ok().and_then(Self::of_float)
    }

    /// As JSON has it: a text in quotes, a number with all its digits.
    pub fn json(&self) -> String {
        match self {
            Id::Name(name) => serde_json::Value::from(name.as_str()).to_string(),
            number => number.to_string(),
        }
    }

    fn float(&self) -> f64 {
        match self {
            Id::Number(number) => *number as f64,
            Id::Digits(digits) => digits.parse().unwrap_or(f64::NAN),
            Id::Name(_) => f64::NAN,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Digits(digits) => digits.fmt(f),
            Id::Name(name) => name.fmt(f),
        }
    }
}

/// Numbers by their value, then texts.
impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Id::Number(a), Id::Number(b)) => a.cmp(b),
            (Id::Name(a), Id::Name(b)) => a.cmp(b),
            (Id::Name(_), _) => Ordering::Greater,
            (_, Id::Name(_)) => Ordering::Less,
            // Beyond 2^53 many integers are one f64; their digits tell them apart.
            _ => self.float().total_cmp(&other.float()).then_with(|| {
                let [a, b] = [self, other].map(ToString::to_string);
                let order = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
                if a.starts_with('-') {
                    order.reverse()
                } else {
                    order
                }
            }),
        }
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A number as a number, where the format has such large ones.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let digits = match self {
            Id::Number(number) => return to.serialize_i64(*number),
            Id::Name(name) => return to.serialize_str(name),
            Id::Digits(digits) => digits,
        };
        if let Ok(number) = digits.parse() {
            to.serialize_u128(number)
        } else if let Ok(number) = digits.parse() {
            to.serialize_i128(number)
        } else if let (true, Ok(number)) = (digits.contains('.'), digits.parse()) {
            to.serialize_f64(number)
        } else {
            to.serialize_str(digits)
        }
    }
}

/// A picture of an annotation file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: Id,
    /// Its file, below the folder of pictures.
    pub file_name: String,
}

/// A category of an annotation file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id: any number, not an index.
    pub id: Id,
    /// The class name.
    pub name: String,
    /// How many annotations have it.
    pub annotations: usize,
}

/// Ids of an annotation file.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    images: Vec<Image>,
    categories: Vec<Category>,
    by_path: HashMap<String, usize>,
    /// `None` where two pictures share a last component.
    by_name: HashMap<String, Option<usize>>,
    warnings: Vec<String>,
}

impl Ids {
    /// Of what the annotation file `path` lists; see [`read_ids`](super::datasets::read_ids).
    pub(crate) fn new(
        path: &str,
        images: Vec<Image>,
        categories: Vec<Category>,
        mut warnings: Vec<String>,
    ) -> Self {
        let mut ids = Ids::default();
        let mut again = HashSet::new();
        for (i, image) in images.iter().enumerate() {
            let path = slashes(&image.file_name);
            let name = last(&path).to_owned();
            ids.by_name
                .entry(name)
                .and_modify(|at| *at = None)
                .or_insert(Some(i));
            if *ids.by_path.entry(path).or_insert(i) != i {
                again.insert(&image.file_name);
            }
        }
        if let Some(example) = again.iter().min() {
            let files = again.len();
            warnings.push(format!(
                "`{path}`: {files} of the `file_name`s belong to several pictures: the first one's id counts ({example})"
            ));
        }
        if categories.is_empty() {
            warnings.push(format!(
                "`{path}`: no `categories` that could be used: the `category_id` of results is the label, counted from 0"
            ));
        }
        ids.images = images;
        ids.categories = categories;
        ids.warnings = warnings;
        ids
    }

    /// Pictures, in the file's order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Categories, in the file's order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// What was left out or mended.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The id of the picture at `path`: its `file_name` is the end of the path, the longest such;
    /// or it is the only one whose last component is the same.
    pub fn image(&self, path: &str) -> Option<&Id> {
        let path = slashes(path);
        let starts = path.match_indices('/').map(|(i, _)| i + 1);
        let found = std::iter::once(0)
            .chain(starts)
            .find_map(|i| self.by_path.get(&path[i..]))
            .copied()
            .or_else(|| *self.by_name.get(last(&path))?);
        found.map(|i| &self.images[i].id)
    }

    /// The id of the category named `name`; where several are, of the one that annotations use.
    ///
    /// # Errors
    /// If several categories of that name are used, or none of them.
    pub fn category(&self, name: &str) -> Result<Option<&Id>, String> {
        let named: Vec<&Category> = self.categories.iter().filter(|c| c.name == name).collect();
        let used: Vec<&Category> = named
            .iter()
            .copied()
            .filter(|c| c.annotations > 0)
            .collect();
        match (named.as_slice(), used.as_slice()) {
            ([], _) => Ok(None),
            ([one], _) | (_, [one]) => Ok(Some(&one.id)),
            _ => Err(format!(
                "{} categories of the annotation file are named `{name}` ({}): remove or rename all but one of them",
                named.len(),
                described(named.iter().map(|c| (c.id.json(), c.annotations)))
            )),
        }
    }
}

/// `id 0 has no annotations, id 1 has 35`.
pub(super) fn described(categories: impl Iterator<Item = (String, usize)>) -> String {
    let one = |(id, annotations)| match annotations {
        0 => format!("id {id} without annotations"),
        1 => format!("id {id} with 1 annotation"),
        n => format!("id {id} with {} annotations", super::summary::thousands(n)),
    };
    let mut all: Vec<String> = categories.take(6).map(one).collect();
    if all.len() == 6 {
        all[5] = "...".into();
    }
    all.join(", ")
}

fn slashes(path: &str) -> String {
    let path = path.replace('\\', "/");
    path.strip_prefix("./").map_or(path.clone(), str::to_owned)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Ids, String> {
        crate::datasets::read_ids("a.json", json.as_bytes())
    }

    #[test]
    fn finds_pictures_by_the_end_of_their_path() {
        let json = r#"{"images": [{"id": 7, "file_name": "a/1.jpg", "width": 3},
            {"id": "x", "file_name": "b/1.jpg"}, {"id": 9, "file_name": "2.jpg"}],
            "annotations": [{"id": 1}], "categories": [{"id": 18, "name": "dog"}]}"#;
        let ids = read(json).unwrap();
        assert_eq!(ids.image("/data/a/1.jpg"), Some(&Id::Number(7)));
        assert_eq!(ids.image("b\\1.jpg"), Some(&Id::Name("x".into())));
        assert_eq!(ids.image("elsewhere/1.jpg"), None, "two have that name");
        assert_eq!(ids.image("./val/2.jpg"), Some(&Id::Number(9)));
        assert_eq!(ids.image("22.jpg"), None);
        assert_eq!(ids.category("dog"), Ok(Some(&Id::Number(18))));
        assert_eq!(ids.category("cat"), Ok(None));
    }

    #[test]
    fn reads_what_data_sets_read() {
        let json = "\u{feff}{\"images\": [{\"id\": 20210315103045000001, \"file_name\": \"1.jpg\", \"width\": NaN}, null, 3,
            {\"id\": 1.5, \"file_name\": \"2.jpg\"}, {\"id\": 5.0, \"file_name\": \"3.jpg\"}, {\"file_name\": \"4.jpg\"},
            {\"id\": 5, \"file_name\": \"5.jpg\"}, {\"id\": 6, \"file_name\": \"2.jpg\"}],
            \"annotations\": null_, \"categories\": [{\"id\": 18446744073709551617, \"name\": 7}, {\"id\": 1, \"name\": null}]}"
            .replace("null_", "[{\"category_id\": \"18446744073709551617\"}, null]");
        let ids = read(&json).unwrap();
        let shown = |path: &str| ids.image(path).map(ToString::to_string);
        assert_eq!(shown("1.jpg").as_deref(), Some("20210315103045000001"));
        assert_eq!(shown("2.jpg").as_deref(), Some("1.5"));
        assert_eq!(shown("3.jpg"), None, "the later one of an id counts");
        assert_eq!(ids.image("5.jpg"), Some(&Id::Number(5)));
        let category = &ids.categories()[0];
        assert_eq!(category.id.json(), "18446744073709551617");
        assert_eq!((category.name.as_str(), category.annotations), ("7", 1));
        let warnings = ids.warnings().join("\n");
        for expected in [
            "`a.json`: 3 pictures left out: without an `id` or a `file_name` (number 2, number 3, number 6)",
            "1 picture with the `id` of an earlier picture: the later entry counts (5: 3.jpg, then 5.jpg)",
            "1 category left out: without an `id` or a `name` (1: `name` is null)",
            "1 of the `file_name`s belong to several pictures: the first one's id counts (2.jpg)",
        ] {
            assert!(warnings.contains(expected), "{expected}\n{warnings}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let fails = |json: &str, expected: &str| {
            let error = read(json).unwrap_err();
            assert!(error.starts_with("`a.json`: "), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        fails("[1, 2]", "no COCO annotation file: it is a list");
        fails("{}", "no COCO annotation file: it has no `images`");
        fails(
            "{\"images\": {\"1\": \"a.jpg\"}}",
            "`images` is an object, a list was expected",
        );
        let nameless = r#"{"images": [], "categories": [{"id": 1, "name": null}]}"#;
        let warnings = read(nameless).unwrap().warnings().join("\n");
        assert!(
            warnings.contains("(1: `name` is null)") && warnings.contains("counted from 0"),
            "{warnings}"
        );
        let twice = r#"{"images": [], "annotations": [{"category_id": 4}], "categories":
            [{"id": 0, "name": "a"}, {"id": 4, "name": "a"}, {"id": 5, "name": "b"}, {"id": 6, "name": "b"}]}"#;
        let ids = read(twice).unwrap();
        assert_eq!(ids.category("a"), Ok(Some(&Id::Number(4))));
        let error = ids.category("b").unwrap_err();
        assert!(
            error.contains("2 categories of the annotation file are named `b` (id 5 without annotations, id 6 without"),
            "{error}"
        );
    }

    #[test]
    fn numbers_keep_their_digits_and_their_order() {
        let long = "123456789012345678901234567890123456789012345678901234567890";
        let id = |text: &str| Id::spelled(text).unwrap();
        let sorted = [
            &format!("-{long}"),
            "-18446744073709551618",
            "-18446744073709551617",
            "-9223372036854775808",
            "-5",
            "4",
            "4.5",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551617",
            "18446744073709551618",
            "99999999999999999999",
            "100000000000000000000",
            long,
        ];
        for pair in sorted.windows(2) {
            assert!(id(pair[0]) < id(pair[1]), "{pair:?}");
            assert_eq!(id(pair[1]).json(), pair[1]);
        }
        assert!(id(long) < Id::Name("1".into()));
        assert_eq!(id(" 005 "), Id::Number(5));
        assert_eq!(id("5.0"), Id::Number(5));
        assert_eq!(id("1e20").json(), "100000000000000000000");
        assert_eq!(Id::spelled("five").or(Id::spelled("nan")), None);
        assert_eq!(Id::spelled("-").or(Id::spelled("")), None);
        let json = |text: &str| serde_json::to_string(&id(text)).unwrap();
        assert_eq!(json("18446744073709551617"), "18446744073709551617");
        assert_eq!(json("-9223372036854775809"), "-9223372036854775809");
        assert_eq!((json("7"), json("1.5")), ("7".into(), "1.5".into()));
        assert_eq!(Id::Name("a\"".into()).json(), "\"a\\\"\"");
    }
}
