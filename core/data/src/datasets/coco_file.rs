//! [`CocoFile`]: a COCO annotation file as it is, without any rule of a data set. One pass, no tree; values of a wrong type are noted where
//! they are and lose nothing else.

use std::collections::HashMap;
use std::io::Read;

pub(crate) use super::coco_masks::Form;
use super::coco_masks::{Scratch, segmentation};
use super::json::{Json, Next, Number, Result};
use super::segments::{NONE, Segments};
use super::table::{Id, Ids};
use super::tally::{Found, Tally};
use crate::coco;
use smalti_config::Origin;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct CocoFile {
    pub images: Vec<Image>,
    pub annotations: Vec<Annotation>,
    pub categories: Vec<Category>,
    /// The file has this key at its top.
    pub has_images: bool,
    /// The file has this key at its top.
    pub has_categories: bool,
    pub ids: Ids,
    pub segments: Segments,
    /// Values of another kind than they should be.
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
pub(crate) struct Image {
    pub id: Option<Id>,
    /// None of a wrong type.
    pub file_name: Option<Box<str>>,
    /// LVIS: where the picture is on the web. Kept only if asked for.
    pub coco_url: Option<Box<str>>,
    /// px; 0 if there is none, or none that is a number.
    pub size: [f64; 2],
    /// LVIS: categories that are known not to be in the picture. Kept only if asked for.
    pub negative: Vec<Id>,
    /// LVIS: categories of which the picture may have more objects than are annotated. Kept only if asked for.
    pub not_exhaustive: Vec<Id>,
}

/// What is read beside what every data set needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// `coco_url` of pictures.
    pub urls: bool,
    /// What evaluation alone asks of pictures and categories.
    pub evaluation: bool,
}

#[derive(Debug)]
pub(crate) struct Annotation {
    pub id: Option<Id>,
    pub image: Option<Id>,
    pub category: Option<Id>,
    /// x, y, width, height.
    pub bbox: Option<[f64; 4]>,
    pub area: Option<f64>,
    pub crowd: bool,
    pub ignore: bool,
    pub segmentation: u64,
    pub form: Form,
}

#[derive(Clone, Debug)]
pub(crate) struct Category {
    pub id: Id,
    pub name: String,
    /// LVIS: `r`, `c` or `f`. Kept only if asked for.
    pub frequency: Option<char>,
    /// Kept only if asked for.
    pub supercategory: Option<Box<str>>,
}

impl CocoFile {
    /// Reads a whole file.
    pub fn read(input: impl Read, keep: Keep) -> Result<Self> {
        let mut json = Json::new(input)?;
        let mut file = Self::default();
        match json.next()? {
            Next::Object => json.enter_object()?,
            other => {
                return json.fail(format!(
                    "no COCO annotation file: it is {other}, an object was expected"
                ));
            }
        }
        const KEYS: [&str; 3] = ["images", "annotations", "categories"];
        while let Some(key) = json.key(&KEYS)? {
            match (key, json.next()?) {
                (0, Next::Array) => file.images(&mut json, keep)?,
                (1, Next::Array) => file.annotations(&mut json)?,
                (2, Next::Array) => file.categories(&mut json, keep)?,
                (0..=2, other) => {
                    let example = ["\"file_name\": \"1.jpg\"", "...", "\"name\": \"cat\""][key];
                    let key = KEYS[key];
                    return json.fail(format!(
                        "no COCO annotation file: `{key}` is {other}, a list was expected, such as [{{\"id\": 1, {example}}}],"
                    ));
                }
                _ => json.skip()?,
            }
            file.has_images |= key == 0;
            file.has_categories |= key == 2;
        }
        json.finish()?;
        file.segments.shrink();
        Ok(file)
    }

    fn images<R: Read>(&mut self, json: &mut Json<R>, keep: Keep) -> Result<()> {
        const KEYS: [&str; 7] = [
            "id",
            "file_name",
            "width",
            "height",
            "coco_url",
            "neg_category_ids",
            "not_exhaustive_category_ids",
        ];
        json.enter_array()?;
        let mut text = String::new();
        while json.item()? {
            let mut image = Image::default();
            let mut as_text = false;
            if json.next()? != Next::Object {
                json.skip()?;
                self.images.push(image);
                continue;
            }
            json.enter_object()?;
            while let Some(key) = json.key(&KEYS)? {
                match key {
                    0 => image.id = self.id(json)?,
                    1 if json.text(&mut text)? => image.file_name = Some(text.as_str().into()),
                    2 | 3 => {
                        image.size[key - 2] = number(json, &mut text, &mut as_text)?.unwrap_or(0.0);
                    }
                    4 if keep.urls && json.text(&mut text)? => {
                        image.coco_url = Some(text.as_str().into());
                    }
                    5 if keep.evaluation => image.negative = self.list_of_ids(json)?,
                    6 if keep.evaluation => image.not_exhaustive = self.list_of_ids(json)?,
                    1 => {}
                    4 if keep.urls => {}
                    _ => json.skip()?,
                }
            }
            if as_text {
                let place = self.images.len();
                self.tally
                    .add(Found::TextSize, || named(&self.ids, image.id, place));
            }
            self.images.push(image);
        }
        Ok(())
    }

    fn categories<R: Read>(&mut self, json: &mut Json<R>, keep: Keep) -> Result<()> {
        json.enter_array()?;
        let mut place = 0;
        let mut first_of: HashMap<Id, usize> = HashMap::new();
        while json.item()? {
            let (mut id, mut name, mut as_text) = (None, None, true);
            let (mut frequency, mut supercategory, mut text) = (None, None, String::new());
            let mut found = [None; 2];
            if json.next()? == Next::Object {
                json.enter_object()?;
                while let Some(key) = json.key(&["id", "name", "frequency", "supercategory"])? {
                    if key < 2 {
                        found[key] = Some(json.next()?);
                    }
                    match key {
                        0 => id = self.id(json)?,
                        1 => (name, as_text) = class_name(json)?,
                        2 if keep.evaluation => {
                            json.text(&mut text)?;
                            frequency = text.chars().next();
                        }
                        3 if keep.evaluation && json.text(&mut text)? => {
                            supercategory = Some(text.as_str().into());
                        }
                        3 if keep.evaluation => {}
                        _ => json.skip()?,
                    }
                }
            } else {
                json.skip()?;
            }
            let known = named(&self.ids, id, place);
            place += 1;
            match (id, name) {
                (Some(id), Some(name)) => {
                    if !as_text {
                        self.tally
                            .add(Found::NameNotText, || format!("{known}: {name}"));
                    }
                    if name.trim().is_empty() {
                        self.tally.add(Found::NamelessCategory, || known.clone());
                    }
                    let first = *first_of.entry(id).or_insert(self.categories.len());
                    let first = self.categories.get(first).map(|c| c.name.as_str());
                    if let Some(first) = first {
                        self.tally.add(Found::SameCategory, || {
                            format!("{known}: `{first:.40}`, then `{name:.40}`")
                        });
                    }
                    if first != Some(&name) {
                        self.categories.push(Category {
                            id,
                            name,
                            frequency,
                            supercategory,
                        });
                    }
                }
                (id, _) => self.tally.add(Found::BrokenCategory, || {
                    let at = usize::from(id.is_some());
                    match (["id", "name"][at], found[at]) {
                        (key, None) => format!("{known}: no `{key}`"),
                        (key, Some(other)) => format!("{known}: `{key}` is {other}"),
                    }
                }),
            }
        }
        Ok(())
    }

    fn annotations<R: Read>(&mut self, json: &mut Json<R>) -> Result<()> {
        const KEYS: [&str; 8] = [
            "segmentation",
            "area",
            "iscrowd",
            "image_id",
            "bbox",
            "category_id",
            "id",
            "ignore",
        ];
        json.enter_array()?;
        let mut scratch = Scratch::default();
        while json.item()? {
            let mut found = Annotation {
                id: None,
                image: None,
                category: None,
                bbox: None,
                area: None,
                crowd: false,
                ignore: false,
                segmentation: NONE,
                form: Form::Good,
            };
            if json.next()? != Next::Object {
                json.skip()?;
                self.annotations.push(found);
                continue;
            }
            json.enter_object()?;
            let (mut as_text, mut odd) = (false, None);
            while let Some(key) = json.key(&KEYS)? {
                match key {
                    0 => {
                        (found.segmentation, found.form) =
                            segmentation(json, &mut self.segments, &mut scratch)?;
                    }
                    1 => found.area = number(json, &mut scratch.text, &mut as_text)?,
                    2 => found.crowd = flag(json, &mut scratch.text, &mut odd)?,
                    3 => found.image = self.id(json)?,
                    4 => found.bbox = corners(json, &mut scratch, &mut as_text)?,
                    5 => found.category = self.id(json)?,
                    6 => found.id = self.id(json)?,
                    7 => found.ignore = flag(json, &mut scratch.text, &mut odd)?,
                    _ => json.skip()?,
                }
            }
            let place = self.annotations.len();
            for odd in odd.into_iter().chain(as_text.then_some(Found::TextNumber)) {
                self.tally.add(odd, || named(&self.ids, found.id, place));
            }
            self.annotations.push(found);
        }
        Ok(())
    }

    /// A list of ids; whatever else is empty.
    fn list_of_ids<R: Read>(&mut self, json: &mut Json<R>) -> Result<Vec<Id>> {
        let mut ids = Vec::new();
        if json.next()? != Next::Array {
            json.skip()?;
            return Ok(ids);
        }
        json.enter_array()?;
        while json.item()? {
            ids.extend(self.id(json)?);
        }
        Ok(ids)
    }

    fn id<R: Read>(&mut self, json: &mut Json<R>) -> Result<Option<Id>> {
        Ok(id(json)?.map(|id| self.ids.of(id)))
    }

    /// How many annotations have a category, by the value of its id.
    pub fn uses(&self) -> HashMap<Id, usize> {
        let mut uses = HashMap::new();
        for category in self.annotations.iter().filter_map(|a| a.category) {
            *uses.entry(self.ids.value(category)).or_default() += 1;
        }
        uses
    }
}

/// Pictures, categories and warnings of an annotation file.
type Listed = (Vec<coco::Image>, Vec<coco::Category>, Vec<String>);

/// What an annotation file lists; `path` names it in messages.
///
/// # Errors
/// As for a data set: it is no JSON, or no annotation file.
pub(crate) fn listed(path: &str, input: impl Read) -> std::result::Result<Listed, String> {
    let file = CocoFile::read(input, Keep::default()).map_err(|e| format!("`{path}`: {e}"))?;
    if !file.has_images {
        return Err(format!(
            "`{path}`: no COCO annotation file: it has no `images`"
        ));
    }
    let uses = file.uses();
    let CocoFile {
        images: pictures,
        categories,
        ids,
        mut tally,
        ..
    } = file;
    let mut images: Vec<coco::Image> = Vec::with_capacity(pictures.len());
    let mut place_of: HashMap<Id, usize> = HashMap::with_capacity(pictures.len());
    for (i, image) in pictures.into_iter().enumerate() {
        let (Some(id), Some(file_name)) = (image.id, image.file_name) else {
            tally.add(Found::KeylessPicture, || named(&ids, image.id, i));
            continue;
        };
        let image = coco::Image {
            id: ids.get(id),
            file_name: file_name.into(),
        };
        match place_of.get(&id) {
            Some(first) => {
                tally.add(Found::SamePicture, || {
                    let [first, later] = [&images[*first].file_name, &image.file_name];
                    format!("{}: {first}, then {later}", image.id)
                });
                images[*first] = image;
            }
            None => {
                place_of.insert(id, images.len());
                images.push(image);
            }
        }
    }
    let categories = categories.into_iter().map(|c| coco::Category {
        id: ids.get(c.id),
        name: c.name,
        annotations: uses.get(&ids.value(c.id)).copied().unwrap_or(0),
    });
    let report = tally.report(path, &Origin::made("ann"), None);
    let warnings = report.into_iter().map(|d| d.message).collect();
    Ok((images, categories.collect(), warnings))
}

/// An id. As in Python 1.0 and `true` are 1. What is no number and no text is none.
pub(crate) fn id<R: Read>(json: &mut Json<R>) -> Result<Option<coco::Id>> {
    Ok(match json.next()? {
        Next::Number => match json.number()? {
            Some(Number::Int(i)) => Some(coco::Id::Number(i)),
            Some(Number::Big(_)) => Some(coco::Id::of_digits(json.digits())),
            Some(Number::Float(x)) => coco::Id::of_float(x),
            None => None,
        },
        Next::Text => {
            let mut text = String::new();
            json.text(&mut text)?;
            Some(coco::Id::Name(text))
        }
        next => {
            json.skip()?;
            matches!(next, Next::True | Next::False)
                .then(|| coco::Id::Number(i64::from(next == Next::True)))
        }
    })
}

/// The id, or the place where there is none.
pub(crate) fn named(ids: &Ids, id: Option<Id>, place: usize) -> String {
    match id {
        Some(id) => ids.get(id).to_string(),
        None => format!("number {}", place + 1),
    }
}

/// A number, perhaps written as text, which is noted.
pub(crate) fn number<R: Read>(
    json: &mut Json<R>,
    text: &mut String,
    as_text: &mut bool,
) -> Result<Option<f64>> {
    if json.next()? != Next::Text {
        return Ok(json.number()?.map(Number::float));
    }
    json.text(text)?;
    let number = spelled(text);
    *as_text |= number.is_some();
    Ok(number)
}

/// A finite number.
fn spelled(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|v: &f64| v.is_finite())
}

/// A `bbox`: four numbers, or four texts that spell numbers.
pub(crate) fn corners<R: Read>(
    json: &mut Json<R>,
    scratch: &mut Scratch,
    as_text: &mut bool,
) -> Result<Option<[f64; 4]>> {
    scratch.numbers.clear();
    if json.next()? != Next::Array {
        json.skip()?;
        return Ok(None);
    }
    json.enter_array()?;
    if !json.item()? {
        return Ok(None);
    }
    let mut good = true;
    if json.next()? == Next::Text {
        loop {
            let number = if json.text(&mut scratch.text)? {
                spelled(&scratch.text)
            } else {
                None
            };
            good &= number.is_some();
            scratch.numbers.extend(number);
            if !json.item()? {
                break;
            }
        }
        *as_text |= good;
    } else {
        let first = json.number()?.map(Number::float);
        good = first.is_some();
        scratch.numbers.extend(first);
        good &= json.rest_of_numbers(&mut scratch.numbers)?;
    }
    let corners = scratch.numbers.as_slice().try_into().ok();
    Ok(corners.filter(|_| good))
}

/// `iscrowd` or `ignore`. As in Python, but that `"0"` and `"false"` are false; what is neither 0 nor 1 is noted.
fn flag<R: Read>(json: &mut Json<R>, text: &mut String, odd: &mut Option<Found>) -> Result<bool> {
    match json.next()? {
        Next::Text => {
            json.text(text)?;
            let word = text.trim().to_lowercase();
            let value = match word.as_str() {
                "" | "false" | "f" | "no" | "n" | "off" | "none" | "null" | "nan" => Some(false),
                "true" | "t" | "yes" | "y" | "on" => Some(true),
                number => spelled(number).map(|v| v != 0.0),
            };
            let found = value.map_or(Found::OddFlag, |_| Found::TextFlag);
            *odd = (*odd).max(Some(found));
            Ok(value.unwrap_or(true))
        }
        Next::Object | Next::Array => {
            *odd = Some(Found::OddFlag);
            json.truth()
        }
        _ => json.truth(),
    }
}

/// The name of a category, and whether it is a text; numbers and truths are taken as they are written.
fn class_name<R: Read>(json: &mut Json<R>) -> Result<(Option<String>, bool)> {
    let mut text = String::new();
    let name = match json.next()? {
        Next::Text => {
            json.text(&mut text)?;
            return Ok((Some(text), true));
        }
        Next::Number => match json.number()? {
            Some(Number::Int(i)) => Some(i.to_string()),
            Some(Number::Big(_)) => Some(json.digits().to_owned()),
            // 1.0 is `1.0`, as Python prints it.
            Some(Number::Float(x)) if x.is_finite() => Some(format!("{x:?}")),
            _ => None,
        },
        next => {
            json.skip()?;
            matches!(next, Next::True | Next::False).then(|| next.to_string())
        }
    };
    Ok((name, false))
}
