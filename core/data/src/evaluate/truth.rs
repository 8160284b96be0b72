//! [`Truth`]: what evaluation has to know of an annotation file, as pycocotools' `COCO` and lvis-api's `LVIS` hold it; or of a data set's
//! own samples, as MMDetection's `gt_to_coco_json` writes them.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::Seen;
use crate::coco::Id;
use crate::datasets::coco_file::{CocoFile, Keep};
use crate::datasets::segments::{NONE, Segments};
use crate::datasets::table::ById;
use crate::sample::Segmentation;
use crate::structures::masks::{RleCounts, Runs};

/// Pictures, categories and objects to compare detections with.
#[derive(Debug, Default)]
pub struct Truth {
    images: Vec<TruthImage>,
    categories: Vec<Category>,
    /// By picture, and there in the file's order.
    objects: Vec<Object>,
    /// Where each picture's objects end.
    ends: Vec<usize>,
    segments: Segments,
    by_id: HashMap<Id, usize>,
    /// By the number that a text spells: where there is no `"5"`, it is 5, and the other way round. `None`: several.
    by_value: HashMap<Id, Option<usize>>,
    notes: Vec<String>,
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TruthImage {
    /// Its id.
    pub id: Option<Id>,
    /// As the file has it; empty if it does not.
    pub file_name: String,
    /// Width and height, px; 0 if the file has none.
    pub size: [usize; 2],
    /// LVIS' `neg_category_ids`: categories, by index, that are known not to be there.
    pub negative: Vec<usize>,
    /// LVIS' `not_exhaustive_category_ids`: categories, by index, of which there may be more than the file says.
    pub not_exhaustive: Vec<usize>,
}

/// A category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// LVIS' `frequency`: `r`are, `c`ommon or `f`requent.
    pub frequency: Option<char>,
    /// Its `supercategory`.
    pub supercategory: Option<Box<str>>,
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Index of its category.
    pub category: usize,
    /// x, y, width, height, px; `None`: the file has none that is of finite numbers.
    pub bbox: Option<[f64; 4]>,
    /// As the file says, px².
    pub area: f64,
    /// `iscrowd`.
    pub crowd: bool,
    /// `ignore`.
    pub ignore: bool,
    /// Its `id` is 0, which pycocotools and lvis-api take for none: a detection that finds it counts as one that finds nothing.
    pub zero: bool,
    /// In the segments.
    segmentation: u64,
}

impl Truth {
    /// Reads a COCO or LVIS annotation file; `name` is for messages.
    ///
    /// # Errors
    /// It is none, or has no pictures or categories.
    pub fn read(name: &str, input: impl Read) -> Result<Self, String> {
        let keep = Keep {
            urls: false,
            evaluation: true,
        };
        let file = CocoFile::read(input, keep).map_err(|e| format!("`{name}`: {e}"))?;
        for (there, key) in [
            (file.has_images, "images"),
            (file.has_categories, "categories"),
        ] {
            if !there {
                return Err(format!(
                    "`{name}`: no COCO annotation file: it has no `{key}`"
                ));
            }
        }
        Ok(Self::of_file(file))
    }

    fn of_file(file: CocoFile) -> Self {
        let CocoFile {
            images,
            annotations,
            categories,
            ids,
            segments,
            ..
        } = file;
        let mut places = HashMap::new();
        for (i, category) in categories.iter().enumerate() {
            places.entry(category.id).or_insert(i);
        }
        let category_of = ById::new(places, &ids);
        let category = |id| category_of.find(id, &ids).map(|(i, _)| i);
        let mut truth = Self {
            segments,
            ..Self::default()
        };
        truth.categories = categories
            .iter()
            .map(|c| Category {
                id: ids.get(c.id),
                name: c.name.clone(),
                frequency: c.frequency,
                supercategory: c.supercategory.clone(),
            })
            .collect();
        let mut rows = HashMap::new();
        for image in images {
            let Some(id) = image.id else { continue };
            let listed = |ids: Vec<_>| ids.into_iter().filter_map(category).collect();
            let new = TruthImage {
                id: Some(ids.get(id)),
                file_name: image.file_name.unwrap_or_default().into(),
                // `as` saturates and makes 0 of NaN
                size: image.size.map(|v| v as usize),
                negative: listed(image.negative),
                not_exhaustive: listed(image.not_exhaustive),
            };
            // a dict by id: a later entry takes the place of an earlier one
            match rows.get(&id) {
                Some(row) => truth.images[*row] = new,
                None => {
                    rows.insert(id, truth.images.len());
                    truth.images.push(new);
                }
            }
        }
        let row_of = ById::new(rows, &ids);
        let mut placed = Vec::with_capacity(annotations.len());
        let (mut lost, mut boxless) = (0, 0);
        for annotation in annotations {
            let row = annotation.image.and_then(|id| row_of.find(id, &ids));
            let category = annotation.category.and_then(category);
            let (Some((row, _)), Some(category)) = (row, category) else {
                lost += 1;
                continue;
            };
            let bbox = annotation.bbox.filter(|b| b.iter().all(|v| v.is_finite()));
            boxless += usize::from(bbox.is_none());
            let zero = annotation.id.map(|id| ids.get(id)) == Some(Id::Number(0));
            let area = annotation.area.or(bbox.map(|b| b[2] * b[3]));
            placed.push((
                row,
                Object {
                    category,
                    bbox,
                    area: area.unwrap_or(0.0),
                    crowd: annotation.crowd,
                    ignore: annotation.ignore,
                    zero,
                    segmentation: annotation.segmentation,
                },
            ));
        }
        if lost > 0 {
            truth.notes.push(format!(
                "{lost} annotations of no picture or no category of the file do not count"
            ));
        }
        if boxless > 0 {
            truth.notes.push(format!(
                "{boxless} annotations without a `bbox` of four numbers count for masks only"
            ));
        }
        truth.place(placed);
        truth
    }

    /// Of the objects that the pictures' samples know: where an evaluator has no annotation file. An object's area is its box's.
    pub fn of_samples<'a>(
        classes: &[String],
        pictures: impl IntoIterator<Item = &'a Seen>,
    ) -> Self {
        let mut truth = Self {
            categories: classes.iter().enumerate().map(of_class).collect(),
            ..Self::default()
        };
        let mut placed = Vec::new();
        for (row, picture) in pictures.into_iter().enumerate() {
            truth.images.push(TruthImage {
                id: picture.id.clone(),
                size: picture.size,
                ..TruthImage::default()
            });
            for instance in picture.objects.iter() {
                let [x1, y1, x2, y2] = instance.bbox.map(f64::from);
                let bbox = [x1, y1, x2 - x1, y2 - y1];
                let Ok(category) = usize::try_from(instance.label) else {
                    continue;
                };
                let object = Object {
                    category,
                    bbox: Some(bbox),
                    area: bbox[2] * bbox[3],
                    crowd: instance.ignore,
                    ignore: false,
                    zero: false,
                    segmentation: truth.keep(&instance.mask),
                };
                if category < classes.len() {
                    placed.push((row, object));
                }
            }
        }
        truth.place(placed);
        truth
    }

    fn keep(&mut self, mask: &Segmentation) -> u64 {
        match mask {
            Segmentation::None => NONE,
            Segmentation::Polygons(rings) => {
                let at = self.segments.polygons();
                rings.iter().for_each(|ring| self.segments.polygon(ring));
                self.segments.end();
                at
            }
            Segmentation::Rle {
                counts,
                width,
                height,
            } => match counts {
                RleCounts::Plain(counts) => self.segments.plain(counts, *width, *height),
                RleCounts::Text(text) => self.segments.text(text, *width, *height),
            },
        }
    }

    fn place(&mut self, placed: Vec<(usize, Object)>) {
        let mut ends = vec![0; self.images.len()];
        placed.iter().for_each(|(row, _)| ends[*row] += 1);
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut order: Vec<usize> = (0..placed.len()).collect();
        order.sort_by_key(|i| placed[*i].0);
        self.objects = order.into_iter().map(|i| placed[i].1).collect();
        self.ends = ends;
        for (row, image) in self.images.iter().enumerate() {
            if let Some(id) = &image.id {
                self.by_id.entry(id.clone()).or_insert(row);
                self.by_value
                    .entry(value(id))
                    .and_modify(|same| *same = None)
                    .or_insert(Some(row));
            }
        }
        let zeros = self.objects.iter().filter(|o| o.zero).count();
        if zeros > 0 {
            self.notes.push(
                "an annotation has the `id` 0: as in pycocotools, a detection that finds it counts as false; count ids from 1".into(),
            );
        }
    }

    /// Pictures, in the file's order.
    pub fn images(&self) -> &[TruthImage] {
        &self.images
    }

    /// Categories, in the file's order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// What was left out or may surprise.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The picture with this id.
    pub fn image(&self, id: &Id) -> Option<usize> {
        if let Some(row) = self.by_id.get(id) {
            return Some(*row);
        }
        let row = (*self.by_value.get(&value(id))?)?;
        let text = |id: &Id| matches!(id, Id::Name(_));
        let mixed = self.images[row].id.as_ref().map(text) != Some(text(id));
        mixed.then_some(row)
    }

    /// The objects of a picture.
    ///
    /// # Panics
    /// If there is no such picture.
    pub fn objects(&self, image: usize) -> &[Object] {
        let start = image.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.objects[start..self.ends[image]]
    }

    /// An object's mask: polygons and plain run lengths on the picture's canvas, others on their own.
    ///
    /// # Errors
    /// It has none, or one that cannot be read.
    pub fn runs(&self, image: usize, object: &Object) -> Result<Runs, String> {
        let canvas = self.images[image].size;
        match self.segments.get(object.segmentation) {
            Segmentation::None => Err("it has no `segmentation`".into()),
            Segmentation::Polygons(rings) => Runs::of_polygon(&rings, canvas),
            Segmentation::Rle {
                counts,
                width,
                height,
            } => Runs::of_counts(&counts, [width, height]),
        }
    }

    /// Sorts the categories by their id (`sort_categories`).
    pub fn sort_categories(&mut self) {
        let mut order: Vec<usize> = (0..self.categories.len()).collect();
        order.sort_by(|a, b| self.categories[*a].id.cmp(&self.categories[*b].id));
        let mut new = vec![0; order.len()];
        order
            .iter()
            .enumerate()
            .for_each(|(to, from)| new[*from] = to);
        self.categories = order.iter().map(|i| self.categories[*i].clone()).collect();
        for object in &mut self.objects {
            object.category = new[object.category];
        }
        for image in &mut self.images {
            let lists = [&mut image.negative, &mut image.not_exhaustive];
            lists.into_iter().flatten().for_each(|c| *c = new[*c]);
        }
    }

    /// Categories of which no earlier one has the id.
    pub fn distinct(&self) -> Vec<usize> {
        let mut ids = HashSet::new();
        let all = self.categories.iter().enumerate();
        all.filter(|(_, c)| ids.insert(&c.id))
            .map(|(i, _)| i)
            .collect()
    }

    /// The categories that a model's labels count: those whose names are among `classes`, in the file's order (`getCatIds`). Categories that
    /// share an id are the first of them.
    pub fn labelled(&self, classes: &[String]) -> Vec<usize> {
        let mut first = HashMap::new();
        for (i, category) in self.categories.iter().enumerate() {
            first.entry(&category.id).or_insert(i);
        }
        let named = self.categories.iter().filter(|c| classes.contains(&c.name));
        named.map(|c| first[&c.id]).collect()
    }
}

/// The same for `5` and `"5"`.
fn value(id: &Id) -> Id {
    let spelled = match id {
        Id::Name(text) => Id::spelled(text),
        _ => None,
    };
    spelled.unwrap_or_else(|| id.clone())
}

fn of_class((label, name): (usize, &String)) -> Category {
    Category {
        id: Id::Number(label as i64),
        name: name.clone(),
        frequency: None,
        supercategory: None,
    }
}
