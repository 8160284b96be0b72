//! [`CocoFile`]: a COCO annotation file as it is, without any rule of a data set. One pass, no tree; values of a wrong type are noted where
//! they are and lose nothing else.

use std::io::Read;

pub(super) use super::coco_masks::Form;
use super::coco_masks::{Scratch, segmentation};
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
