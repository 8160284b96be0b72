//! [`CocoFile`]: a COCO annotation file as it is, without any rule of a data set. One pass, no tree; values of a wrong type are noted where
//! they are and lose nothing else.

use std::io::Read;

use super::json::{Json, Next, Number, Result};
use super::segments::{NONE, Segments};
use super::table::{Id, Ids};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct CocoFile {
    pub images: Vec<Image>,
    pub annotations: Vec<Annotation>,
    pub categories: Vec<Category>,
    /// The file has this key at its top.
    pub has_images: bool,
    /// The file has this key at its top.
    pub has_categories: bool,
    /// Categories without an `id` or a `name`.
    pub broken_categories: usize,
    pub ids: Ids,
    pub segments: Segments,
}

#[derive(Debug, Default)]
pub(super) struct Image {
    pub id: Option<Id>,
    /// None of a wrong type.
    pub file_name: Option<Box<str>>,
    /// LVIS: where the picture is on the web. Kept only if asked for.
    pub coco_url: Option<Box<str>>,
    /// px; 0 if there is none, or none that is a number.
    pub size: [f64; 2],
}

#[derive(Debug)]
pub(super) struct Annotation {
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

/// How a segmentation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it should be, or there is none.
    Good,
    /// One list of numbers where a list of lists belongs.
    Flat,
    /// Cannot be read; [`Annotation::segmentation`] has no polygon.
    Broken,
}

#[derive(Clone, Debug)]
pub(super) struct Category {
    pub id: Id,
    pub name: String,
}

impl CocoFile {
    /// Reads a whole file; `urls` says whether `coco_url` is kept.
    pub fn read(input: impl Read, urls: bool) -> Result<Self> {
        let mut json = Json::new(input)?;
        let mut file = Self::default();
        if json.next()? != Next::Object {
            return json.fail("no COCO annotation file: it is no object, but starts otherwise");
        }
        json.enter_object()?;
        while let Some(key) = json.key(&["images", "annotations", "categories"])? {
            let list = json.next()? == Next::Array;
            match key {
                0 if list => file.images(&mut json, urls)?,
                1 if list => file.annotations(&mut json)?,
                2 if list => file.categories(&mut json)?,
                0..=2 => return json.fail("no COCO annotation file: a list was expected"),
                _ => json.skip()?,
            }
            file.has_images |= key == 0;
            file.has_categories |= key == 2;
        }
        json.finish()?;
        file.segments.shrink();
        Ok(file)
    }

    fn images<R: Read>(&mut self, json: &mut Json<R>, urls: bool) -> Result<()> {
        json.enter_array()?;
        let mut text = String::new();
        while json.item()? {
            let mut image = Image::default();
            if json.next()? != Next::Object {
                json.skip()?;
                self.images.push(image);
                continue;
            }
            json.enter_object()?;
            while let Some(key) = json.key(&["id", "file_name", "width", "height", "coco_url"])? {
                match key {
                    0 => image.id = self.id(json)?,
                    1 if json.text(&mut text)? => image.file_name = Some(text.as_str().into()),
                    2 | 3 => image.size[key - 2] = json.number()?.map_or(0.0, Number::float),
                    4 if urls && json.text(&mut text)? => {
                        image.coco_url = Some(text.as_str().into());
                    }
                    1 => {}
                    4 if urls => {}
                    _ => json.skip()?,
                }
            }
            self.images.push(image);
        }
        Ok(())
    }

    fn categories<R: Read>(&mut self, json: &mut Json<R>) -> Result<()> {
        json.enter_array()?;
        while json.item()? {
            let (mut id, mut name, mut text) = (None, None, String::new());
            if json.next()? == Next::Object {
                json.enter_object()?;
                while let Some(key) = json.key(&["id", "name"])? {
                    match key {
                        0 => id = self.id(json)?,
                        1 => name = json.text(&mut text)?.then(|| text.clone()),
                        _ => json.skip()?,
                    }
                }
            } else {
                json.skip()?;
            }
            match (id, name) {
                (Some(id), Some(name)) => self.categories.push(Category { id, name }),
                _ => self.broken_categories += 1,
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
            while let Some(key) = json.key(&KEYS)? {
                match key {
                    0 => {
                        (found.segmentation, found.form) =
                            segmentation(json, &mut self.segments, &mut scratch)?;
                    }
                    1 => found.area = json.number()?.map(Number::float),
                    2 => found.crowd = json.truth()?,
                    3 => found.image = self.id(json)?,
                    4 => {
                        let good = json.numbers(&mut scratch.numbers)?;
                        found.bbox = scratch.numbers.as_slice().try_into().ok();
                        found.bbox = found.bbox.filter(|_| good);
                    }
                    5 => found.category = self.id(json)?,
                    6 => found.id = self.id(json)?,
                    7 => found.ignore = json.truth()?,
                    _ => json.skip()?,
                }
            }
            self.annotations.push(found);
        }
        Ok(())
    }

    /// An id. As in Python 1.0 and `true` are 1.
    fn id<R: Read>(&mut self, json: &mut Json<R>) -> Result<Option<Id>> {
        Ok(match json.next()? {
            Next::Number => match json.number()? {
                Some(Number::Int(i)) => Some(self.ids.number(i)),
                Some(Number::Float(x)) if x.fract() == 0.0 && x.abs() < 9e18 => {
                    Some(self.ids.number(x as i64))
                }
                Some(Number::Float(x)) => Some(self.ids.text(&x.to_string())),
                None => None,
            },
            Next::Text => {
                let mut text = String::new();
                json.text(&mut text)?;
                Some(self.ids.text(&text))
            }
            next @ (Next::True | Next::False) => {
                json.skip()?;
                Some(self.ids.number(i64::from(next == Next::True)))
            }
            _ => {
                json.skip()?;
                None
            }
        })
    }
}

/// Memory that is used again for every segmentation.
#[derive(Default)]
struct Scratch {
    numbers: Vec<f64>,
    counts: Vec<u32>,
    text: String,
}

fn segmentation<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    match json.next()? {
        Next::Array => polygons(json, segments, scratch),
        Next::Object => run_lengths(json, segments, scratch),
        _ if json.truth()? => Ok((broken(segments), Form::Broken)),
        _ => Ok((NONE, Form::Good)),
    }
}

/// A segmentation that is there but has no polygon: `LoadAnnotations` ignores such an object, as it does in MMDetection.
fn broken(segments: &mut Segments) -> u64 {
    let at = segments.polygons();
    segments.end();
    at
}

fn polygons<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    json.enter_array()?;
    if !json.item()? {
        return Ok((NONE, Form::Good));
    }
    let at = segments.polygons();
    if json.next()? == Next::Number {
        scratch.numbers.clear();
        let first = json.number()?.map(Number::float);
        scratch.numbers.extend(first);
        if !json.rest_of_numbers(&mut scratch.numbers)? {
            segments.end();
            return Ok((at, Form::Broken));
        }
        segments.polygon(&scratch.numbers);
        segments.end();
        return Ok((at, Form::Flat));
    }
    let mut form = Form::Good;
    loop {
        if json.numbers(&mut scratch.numbers)? {
            segments.polygon(&scratch.numbers);
        } else {
            form = Form::Broken;
        }
        if !json.item()? {
            break;
        }
    }
    segments.end();
    Ok((at, form))
}

fn run_lengths<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    /// Which form `counts` has.
    enum Counts {
        None,
        Plain,
        Text,
    }
    json.enter_object()?;
    let (mut counts, mut size, mut empty) = (Counts::None, None, true);
    while let Some(key) = json.key(&["counts", "size"])? {
        empty = false;
        match (key, json.next()?) {
            (0, Next::Text) => {
                json.text(&mut scratch.text)?;
                counts = Counts::Text;
            }
            (0, Next::Array) => {
                let good = json.numbers(&mut scratch.numbers)?;
                let whole = |v: &f64| v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(v);
                let good = good && scratch.numbers.iter().all(whole);
                scratch.counts.clear();
                let counted = scratch.numbers.iter().map(|v| *v as u32);
                scratch.counts.extend(counted);
                counts = if good { Counts::Plain } else { Counts::None };
            }
            (1, Next::Array) => {
                let good = json.numbers(&mut scratch.numbers)?;
                let sides: Option<[f64; 2]> = scratch.numbers.as_slice().try_into().ok();
                let whole = |v: &f64| v.fract() == 0.0 && (0.0..=1e9).contains(v);
                size = sides.filter(|s| good && s.iter().all(whole));
            }
            _ => json.skip()?,
        }
    }
    Ok(match (counts, size.map(|s| s.map(|v| v as usize))) {
        (Counts::Plain, Some([h, w])) => (segments.plain(&scratch.counts, w, h), Form::Good),
        (Counts::Text, Some([h, w])) => (segments.text(&scratch.text, w, h), Form::Good),
        _ if empty => (NONE, Form::Good),
        _ => (broken(segments), Form::Broken),
    })
}
