//! [`Table`]: pictures and objects of an annotation file, as small as is handy; one picture's [`DataInfo`] is made when it is asked for.

use std::collections::HashMap;

use super::paths::join;
use super::segments::{NONE, Segments};
use crate::data::coco::ImageId;
use crate::data::sample::{DataInfo, Instance};
use crate::structures::Xyxy;

/// An id of a picture, an annotation or a category: a number, or a text that [`Ids`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(i64);

/// Ids that are texts. They take the lowest numbers, which no file uses.
#[derive(Debug, Default)]
pub(super) struct Ids {
    texts: Vec<Box<str>>,
    by_text: HashMap<Box<str>, i64>,
}

/// Numbers below this stand for texts.
const TEXTS: i64 = i64::MIN + u32::MAX as i64;

impl Ids {
    pub fn number(&mut self, number: i64) -> Id {
        if number < TEXTS {
            return self.text(&number.to_string());
        }
        Id(number)
    }

    pub fn text(&mut self, text: &str) -> Id {
        if let Some(id) = self.by_text.get(text) {
            return Id(*id);
        }
        let id = i64::MIN + self.texts.len() as i64;
        self.texts.push(text.into());
        self.by_text.insert(text.into(), id);
        Id(id)
    }

    pub fn get(&self, id: Id) -> ImageId {
        let text = id.0 < TEXTS;
        let text = text.then(|| self.texts.get(id.0.wrapping_sub(i64::MIN) as usize));
        match text.flatten() {
            Some(text) => ImageId::Name(text.to_string()),
            None => ImageId::Number(id.0),
        }
    }
}

/// A picture.
#[derive(Debug)]
pub(super) struct Row {
    pub id: Id,
    /// Below the folder of pictures.
    pub file_name: Box<str>,
    /// px; 0 if the file has none.
    pub width: u32,
    /// px; 0 if the file has none.
    pub height: u32,
    /// Its objects end here; they begin where those of the row before end.
    pub end: u32,
}

/// An object of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub bbox: Xyxy,
    pub label: u32,
    pub ignore: bool,
    /// In [`Segments`].
    pub segmentation: u64,
}

/// Pictures in the file's order.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub rows: Vec<Row>,
    pub objects: Vec<Object>,
    pub segments: Segments,
    pub ids: Ids,
    /// The folder of pictures.
    pub folder: String,
    /// Pictures that the file lists, those that cannot be used included.
    pub listed: usize,
}

impl Table {
    /// The objects of a row.
    pub fn objects(&self, row: usize) -> &[Object] {
        let start = row.checked_sub(1).map_or(0, |before| self.rows[before].end);
        &self.objects[start as usize..self.rows[row].end as usize]
    }

    /// What is known of a row, as the data set's picture `index`.
    pub fn info(&self, row: usize, index: usize) -> DataInfo {
        let picture = &self.rows[row];
        let instances = self.objects(row).iter().map(|object| Instance {
            bbox: object.bbox,
            label: i64::from(object.label),
            ignore: object.ignore,
            mask: self.segments.get(object.segmentation),
        });
        DataInfo {
            img_path: join(&self.folder, &picture.file_name),
            img_id: Some(self.ids.get(picture.id)),
            index,
            width: picture.width as usize,
            height: picture.height as usize,
            instances: instances.collect(),
        }
    }

    /// What it takes, without what the allocator adds.
    pub fn size_bytes(&self) -> usize {
        let names: usize = self.rows.iter().map(|r| r.file_name.len()).sum();
        self.rows.capacity() * size_of::<Row>()
            + names
            + self.objects.capacity() * size_of::<Object>()
            + self.segments.size_bytes()
    }
}

impl Object {
    /// Without a mask.
    pub fn boxed(bbox: Xyxy, label: u32, ignore: bool) -> Self {
        Self {
            bbox,
            label,
            ignore,
            segmentation: NONE,
        }
    }
}
