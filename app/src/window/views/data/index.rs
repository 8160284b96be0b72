//! [`Index`]: what a data set holds, small enough to be kept of 118,287 pictures with 860,001 objects: paths, boxes, classes, faults; and the pictures
//! that a [`Filter`] leaves.

use std::collections::BTreeSet;

use smalti::config::Severity;
use smalti::data::datasets::{self, Dataset};
use smalti::data::summary::{FaultKind, Summary};

/// A data set, without masks.
#[derive(Debug)]
pub struct Index {
    pictures: Vec<Picture>,
    objects: Vec<Object>,
    /// Counts by class and size, and faults.
    pub summary: Summary,
    /// What was left out or mended while it was read: a sentence each, and how bad it is.
    pub notes: Vec<(Severity, String)>,
}

/// A picture of it.
#[derive(Debug)]
pub struct Picture {
    /// Its file.
    pub path: Box<str>,
    /// Width and height as the annotations say, px; 0 where they do not.
    pub size: [u32; 2],
    /// Its objects end here.
    end: u32,
    faults: u8,
}

/// An object of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Corners, px.
    pub bbox: [f32; 4],
    /// Its class.
    pub label: i32,
    /// Its place in [`Summary::sizes`]; none of a box that has no size.
    pub bin: Option<u8>,
    /// A crowd, or difficult: not learned.
    pub ignore: bool,
    /// What is wrong with its box.
    pub fault: Option<FaultKind>,
}

/// What is wrong, in a few words, of one picture or of many.
pub fn words(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::MissingFile => "file not there",
        FaultKind::UnknownSize => "size not said",
        FaultKind::Outside => "box outside",
        FaultKind::OverTheBorder => "box over the border",
        FaultKind::Degenerate => "box without a side",
        FaultKind::NotFinite => "box of no numbers",
        FaultKind::UnknownClass => "no such class",
    }
}

/// The same of a file that could not be read when it was looked at.
pub const UNREADABLE: &str = "file cannot be read";

/// Which pictures are wanted: those with an object of one of the classes and of one of the sizes, and with one of the faults. Nothing said: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Labels.
    pub classes: BTreeSet<usize>,
    /// Places in [`Summary::sizes`].
    pub sizes: BTreeSet<usize>,
    /// Places in [`FaultKind::ALL`].
    pub faults: BTreeSet<usize>,
    /// Those whose files could not be read when they were looked at.
    pub unreadable: bool,
}

impl Filter {
    /// Whether all are wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an object is what is looked for.
    pub fn means(&self, object: &Object) -> bool {
        let class = usize::try_from(object.label).is_ok_and(|l| self.classes.contains(&l));
        let size = object.bin.is_some_and(|b| self.sizes.contains(&b.into()));
        (self.classes.is_empty() || class) && (self.sizes.is_empty() || size)
    }
}

impl Index {
    /// Looks at every picture's annotations. `exists` is asked once a file, `told` how many pictures were looked at: false ends it.
    ///
    /// # Errors
    /// It was ended.
    pub fn of(
        dataset: &dyn Dataset,
        exists: &dyn Fn(&str) -> bool,
        told: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Self, String> {
        let count = dataset.len();
        let mut index = Self {
            pictures: Vec::with_capacity(count),
            objects: Vec::new(),
            summary: Summary::new(dataset.meta()),
            notes: Vec::new(),
        };
        for i in 0..count {
            if i % 256 == 0 && !told(i, count) {
                return Err("ended before all was read".into());
            }
            let info = dataset.info(i);
            let found = index.summary.add(&info, exists);
            let faults = FaultKind::ALL.iter().enumerate();
            let faults = faults.filter(|(_, kind)| found.contains(kind));
            for instance in &info.instances {
                let [x1, y1, x2, y2] = instance.bbox.map(f64::from);
                let area = (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
                let fault = FaultKind::of_box(instance, &info);
                let measured = area.is_finite() && area > 0.0;
                let bin = measured.then(|| index.summary.sizes.bin(area.sqrt()) as u8);
                index.objects.push(Object {
                    bbox: instance.bbox,
                    label: i32::try_from(instance.label).unwrap_or(-1),
                    bin,
                    ignore: instance.ignore,
                    fault,
                });
            }
            index.pictures.push(Picture {
                path: info.img_path.as_str().into(),
                size: [info.width as u32, info.height as u32],
                end: index.objects.len() as u32,
                faults: faults.fold(0, |bits, (i, _)| bits | 1 << i),
            });
        }
        let notes = datasets::all_notes(dataset).into_iter();
        let notes = notes.filter(|note| note.severity != Severity::Note);
        index.notes = notes
            .map(|note| (note.severity, note.message.clone()))
            .collect();
        Ok(index)
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// A picture.
    pub fn picture(&self, i: usize) -> &Picture {
        &self.pictures[i]
    }

    /// The objects of a picture.
    pub fn objects(&self, i: usize) -> &[Object] {
        let start = i.checked_sub(1).map_or(0, |i| self.pictures[i].end);
        &self.objects[start as usize..self.pictures[i].end as usize]
    }

    /// What is wrong with a picture.
    pub fn faults(&self, i: usize) -> impl Iterator<Item = FaultKind> {
        let bits = self.pictures[i].faults;
        let all = FaultKind::ALL.into_iter().enumerate();
        all.filter(move |(kind, _)| bits & 1 << kind != 0)
            .map(|(_, kind)| kind)
    }

    /// The name of a class.
    pub fn class(&self, label: i32) -> &str {
        let class = usize::try_from(label).ok();
        let class = class.and_then(|label| self.summary.classes.get(label));
        class.map_or("no class", |class| class.name.as_str())
    }

    /// How much is wrong: faults of pictures and boxes, and what was noticed while it was read.
    pub fn fault_count(&self) -> usize {
        let faults = self.summary.faults.list().map(|(fault, _)| fault.count);
        faults.iter().sum::<usize>() + self.notes.len()
    }

    /// The pictures that a filter leaves, in their order. `unreadable`: those whose files could not be read, in theirs.
    pub fn chosen(&self, filter: &Filter, unreadable: &BTreeSet<u32>) -> Vec<u32> {
        let bits = filter
            .faults
            .iter()
            .fold(0, |bits, kind| bits | 1u8 << kind);
        let faulty = |i: usize| {
            (bits == 0 && !filter.unreadable)
                || self.pictures[i].faults & bits != 0
                || filter.unreadable && unreadable.contains(&(i as u32))
        };
        let objects = !filter.classes.is_empty() || !filter.sizes.is_empty();
        let has = |i: usize| !objects || self.objects(i).iter().any(|o| filter.means(o));
        let all = 0..self.pictures.len();
        all.filter(|i| faulty(*i) && has(*i))
            .map(|i| i as u32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use smalti::config::parse_value;
    use smalti::data::transforms::Files;

    use super::*;

    struct One(&'static str);

    impl Files for One {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.into())
        }
    }

    const FILE: &str = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}, {"id": 2, "file_name": "b.png", "width": 100, "height": 100},
        {"id": 3, "file_name": "c.png", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 80, 80], "area": 6400, "iscrowd": 0},
        {"id": 3, "image_id": 3, "category_id": 1, "bbox": [50, 50, 70, 70], "area": 4900, "iscrowd": 0}]}"#;

    #[test]
    fn a_filter_asks_for_objects_that_are_all_of_it() {
        let node = "dict(type='CocoDataset', ann_file='a.json', metainfo=dict(classes=()), test_mode=True)";
        let dataset = datasets::build(&parse_value(node).unwrap(), &One(FILE)).unwrap();
        let index = Index::of(&*dataset, &|path| path != "b.png", &|_, _| true).unwrap();
        let bin = |i: usize, o: usize| usize::from(index.objects(i)[o].bin.unwrap());
        let (small, large) = (bin(0, 0), bin(0, 1));
        assert!(small < large && bin(2, 0) == large);
        let none = BTreeSet::new();
        let chosen = |classes: &[usize], sizes: &[usize], faults: &[usize]| {
            let filter = Filter {
                classes: classes.iter().copied().collect(),
                sizes: sizes.iter().copied().collect(),
                faults: faults.iter().copied().collect(),
                unreadable: false,
            };
            index.chosen(&filter, &none)
        };
        assert_eq!(chosen(&[], &[], &[]), [0, 1, 2]);
        assert_eq!(chosen(&[0], &[], &[]), [0, 2]);
        assert_eq!(chosen(&[0], &[large], &[]), [2], "a large dog is no cat");
        assert_eq!(chosen(&[], &[], &[0]), [1], "its file is not there");
        assert_eq!(chosen(&[], &[], &[3]), [2], "over the border");
        assert_eq!(
            index.faults(2).collect::<Vec<_>>(),
            [FaultKind::OverTheBorder]
        );
        let filter = Filter {
            unreadable: true,
            ..Filter::default()
        };
        assert_eq!(index.chosen(&filter, &[1].into()), [1]);
        assert_eq!(
            (index.len(), index.fault_count(), index.class(1)),
            (3, 2, "dog")
        );
        let ended = Index::of(&*dataset, &|_| true, &|_, _| false);
        assert!(ended.is_err());
    }
}
