//! [`Table`]: pictures and objects of an annotation file, as small as is handy; one picture's [`DataInfo`] is made when it is asked for.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::paths::join;
use super::segments::{NONE, Segments};
use crate::coco::ImageId;
use crate::sample::{DataInfo, Instance};
use crate::structures::Xyxy;

/// An id of a picture, an annotation or a category: an i64, or a place in [`Ids`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(i64);

/// Ids that are no i64: texts and longer numbers. They take the lowest numbers, which no file uses.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// Each with the number that it is or, as a text, spells; with itself where it is none.
    others: IndexMap<ImageId, Id>,
}

/// Numbers below this stand for [`Ids::others`].
const OTHERS: i64 = i64::MIN + u32::MAX as i64;

impl Ids {
    pub fn number(&mut self, number: i64) -> Id {
        if number < OTHERS {
            return self.other(ImageId::Digits(number.to_string().into()));
        }
        Id(number)
    }

    pub fn text(&mut self, text: impl Into<String>) -> Id {
        self.other(ImageId::Name(text.into()))
    }

    pub fn of(&mut self, id: ImageId) -> Id {
        match id {
            ImageId::Number(number) => self.number(number),
            other => self.other(other),
        }
    }

    fn other(&mut self, id: ImageId) -> Id {
        if let Some(at) = self.others.get_index_of(&id) {
            return Id(i64::MIN + at as i64);
        }
        let spelled = match &id {
            ImageId::Name(text) => ImageId::spelled(text),
            _ => None,
        };
        let value = spelled.map(|number| self.of(number));
        let new = Id(i64::MIN + self.others.len() as i64);
        self.others.insert(id, value.unwrap_or(new));
        new
    }

    fn entry(&self, id: Id) -> Option<(&ImageId, &Id)> {
        let at = (id.0 < OTHERS).then(|| id.0.wrapping_sub(i64::MIN) as usize);
        self.others.get_index(at?)
    }

    pub fn get(&self, id: Id) -> ImageId {
        match self.entry(id) {
            Some((other, _)) => other.clone(),
            None => ImageId::Number(id.0),
        }
    }

    pub fn is_text(&self, id: Id) -> bool {
        matches!(self.entry(id), Some((ImageId::Name(_), _)))
    }

    /// The same id for `5` and `"5"`.
    pub fn value(&self, id: Id) -> Id {
        self.entry(id).map_or(id, |(_, value)| *value)
    }
}

/// Things by id. Where there is no `"5"`, it is taken for 5, and the other way round.
#[derive(Debug)]
pub(crate) struct ById<T> {
    exact: HashMap<Id, T>,
    /// Filled only if there are texts. `None`: several.
    by_value: HashMap<Id, Option<Id>>,
}

impl<T: Copy> ById<T> {
    pub fn new(exact: HashMap<Id, T>, ids: &Ids) -> Self {
        let mut by_value = HashMap::new();
        for id in exact.keys().filter(|_| !ids.others.is_empty()) {
            by_value
                .entry(ids.value(*id))
                .and_modify(|same| *same = None)
                .or_insert(Some(*id));
        }
        Self { exact, by_value }
    }

    pub fn any(&self, is: impl Fn(T) -> bool) -> bool {
        self.exact.values().any(|thing| is(*thing))
    }

    /// What has this id, and the id by which it was found.
    pub fn find(&self, id: Id, ids: &Ids) -> Option<(T, Id)> {
        if let Some(found) = self.exact.get(&id) {
            return Some((*found, id));
        }
        let other = (*self.by_value.get(&ids.value(id))?)?;
        let mixed = ids.is_text(other) != ids.is_text(id);
        mixed.then(|| (self.exact[&other], other))
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
            proposals: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_find_each_other() {
        let mut ids = Ids::default();
        let big = "18446744073709551617";
        let numbers = [5, i64::MIN, -7].map(|n| ids.number(n));
        let long = ids.of(ImageId::of_digits(big));
        let [text, name, odd] = ["8", "eight", "1.50"].map(|t| ids.text(t));
        let half = ids.of(ImageId::of_float(1.5).unwrap());
        assert_eq!(ids.get(numbers[1]).to_string(), i64::MIN.to_string());
        assert_eq!(ids.get(long).to_string(), big);
        let all = [numbers[0], numbers[1], numbers[2], long, text, name, odd];
        let by_id = ById::new(all.into_iter().zip(0..).collect(), &ids);
        for (i, id) in all.into_iter().enumerate() {
            assert_eq!(by_id.find(id, &ids), Some((i, id)));
        }
        let mut found = |text: &str| {
            let id = ids.text(text);
            by_id.find(id, &ids).map(|(i, _)| i)
        };
        assert_eq!(found("5"), Some(0));
        assert_eq!(found("-9223372036854775808"), Some(1));
        assert_eq!(found("-7.0"), Some(2));
        assert_eq!(found(big), Some(3));
        assert_eq!(found("08"), None, "both are texts");
        assert_eq!(found("18446744073709551618"), None);
        let eight = ids.number(8);
        assert_eq!(by_id.find(eight, &ids), Some((4, text)));
        assert_eq!(by_id.find(half, &ids), Some((6, odd)));
        let both = HashMap::from([(eight, 0), (text, 1)]);
        let by_id = ById::new(both, &ids);
        assert_eq!(by_id.find(eight, &ids), Some((0, eight)));
        let other = ids.text("8.0");
        assert_eq!(by_id.find(other, &ids), None, "8 or \"8\"?");
    }
}
