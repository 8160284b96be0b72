//! Ground truth: the objects that an annotation file knows of a picture, and which of them a detector found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use smalti::config::{Config, MapLoader};
use smalti::data::coco::Ids;
use smalti::data::datasets::{self, read_ids};
use smalti::data::evaluate::Truth;
use smalti::data::files::Files;
use smalti::structures::Xyxy;
use smalti::structures::boxes::{Overlap, overlap};

use super::found::Found;
use super::item::Item;
use crate::window::host::Host;

/// A detection finds an object of its class that it overlaps as much as this.
const OVERLAP: f32 = 0.5;

/// An annotation file that is open.
pub enum Annotations {
    /// COCO's form: all pictures in one file.
    Coco {
        /// Its objects.
        truth: Box<Truth>,
        /// Its pictures by their files.
        ids: Box<Ids>,
    },
    /// Pascal VOC's form: a folder of files, one for each picture.
    Voc(PathBuf),
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// xyxy px.
    pub bbox: Xyxy,
    /// Class index of the detector; `None` for a class that it does not know.
    pub label: Option<usize>,
    /// The class.
    pub class: String,
    /// Whether finding it or not is no matter: a crowd, or difficult.
    pub ignored: bool,
}

impl Annotations {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(host: &dyn Host, path: &Path) -> Result<Self, String> {
        let xml = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("xml"));
        if host.is_folder(path) {
            return Ok(Self::Voc(path.to_owned()));
        }
        if xml {
            return Ok(Self::Voc(path.parent().unwrap_or(path).to_owned()));
        }
        let (name, bytes) = (path.display().to_string(), host.read(path)?);
        Ok(Self::Coco {
            truth: Box::new(Truth::read(&name, &bytes[..])?),
            ids: Box::new(read_ids(&name, &bytes[..])?),
        })
    }

    /// What it knows of a picture; `None` if it does not list it.
    ///
    /// # Errors
    /// Why that cannot be read.
    pub fn of(
        &self,
        host: &Arc<dyn Host>,
        item: &Item,
        classes: &[String],
    ) -> Result<Option<Vec<Object>>, String> {
        let label = |class: &str| classes.iter().position(|c| c == class);
        match self {
            Self::Coco { truth, ids } => {
                let row = ids.image(&item.path()).and_then(|id| truth.image(id));
                let Some(row) = row else { return Ok(None) };
                let object = |o: &smalti::data::evaluate::Object| {
                    let class = truth.categories().get(o.category)?.name.clone();
                    let [x, y, w, h] = o.bbox?.map(|v| v as f32);
                    Some(Object {
                        bbox: [x, y, x + w, y + h],
                        label: label(&class),
                        class,
                        ignored: o.crowd || o.ignore,
                    })
                };
                Ok(Some(truth.objects(row).iter().filter_map(object).collect()))
            }
            Self::Voc(folder) => {
                let Item::File(path) = item else {
                    return Ok(None);
                };
                let Some(stem) = path.file_stem().map(|s| s.to_string_lossy().into_owned()) else {
                    return Ok(None);
                };
                let file = folder.join(format!("{stem}.xml"));
                if host.head(&file, 1).is_none() {
                    return Ok(None);
                }
                of_voc(host, folder, &stem, classes).map(Some)
            }
        }
    }
}

/// A list of one picture, and its file: what a data set of that form reads.
struct One<'a> {
    host: &'a dyn Host,
    stem: &'a str,
}

const LIST: &str = "the picture.txt";

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            LIST => Ok(self.stem.as_bytes().to_vec()),
            path => self.host.read(Path::new(path)),
        }
    }
}

fn of_voc(
    host: &Arc<dyn Host>,
    folder: &Path,
    stem: &str,
    classes: &[String],
) -> Result<Vec<Object>, String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let names: Vec<String> = classes.iter().map(|c| quoted(c)).collect();
    let text = format!(
        "dataset = dict(type='XMLDataset', ann_file={}, ann_subdir={}, img_subdir={}, metainfo=dict(classes=[{}]), test_mode=True, pipeline=[])",
        quoted(LIST),
        quoted(&folder.display().to_string()),
        quoted(&folder.display().to_string()),
        names.join(", ")
    );
    let config =
        Config::parse(&text, "annotations.py", &MapLoader::default()).map_err(|e| e.to_string())?;
    let node = config.get("dataset").ok_or("it has no data set")?;
    let files = One {
        host: &**host,
        stem,
    };
    let said = |problems: Vec<smalti::config::Diagnostic>| {
        let first = problems.into_iter().next();
        first.map_or_else(String::new, |d| d.message)
    };
    let dataset = datasets::build(node, &files).map_err(said)?;
    if dataset.is_empty() {
        return Ok(Vec::new());
    }
    let info = dataset.info(0);
    let object = |one: &smalti::data::sample::Instance| {
        let label = usize::try_from(one.label).ok();
        Object {
            bbox: one.bbox,
            class: label
                .and_then(|l| classes.get(l))
                .cloned()
                .unwrap_or_default(),
            label,
            ignored: one.ignore,
        }
    };
    Ok(info.instances.iter().map(object).collect())
}

/// What becomes of a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It finds this object.
    Finds(usize),
    /// It finds none.
    False,
    /// It finds one that is no matter.
    Ignored,
}

/// Detections held against objects. Those of lower scores change nothing for those above, so that a threshold only cuts off.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// One for each detection.
    pub fates: Vec<Fate>,
    /// The detection that finds each object.
    pub found_by: Vec<Option<usize>>,
}

/// Each detection, best first, takes the object of its class that it overlaps most, of those that are left.
pub fn judge(found: &Found, objects: &[Object]) -> Judged {
    let mut found_by = vec![None; objects.len()];
    let fates = (0..found.len())
        .map(|i| {
            let (bbox, label) = (&found.boxes[i], Some(found.labels[i]));
            let of_class = |j: &usize| objects[*j].label == label;
            let overlaps = |mode| move |j: usize| (overlap(bbox, &objects[j].bbox, mode), j);
            let best = (0..objects.len())
                .filter(of_class)
                .filter(|j| !objects[*j].ignored && found_by[*j].is_none())
                .map(overlaps(Overlap::Iou))
                .filter(|(share, _)| *share >= OVERLAP)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, j)) = best {
                found_by[j] = Some(i);
                return Fate::Finds(j);
            }
            let ignored = (0..objects.len())
                .filter(of_class)
                .filter(|j| objects[*j].ignored)
                .map(overlaps(Overlap::Iof))
                .any(|(share, _)| share >= OVERLAP);
            if ignored { Fate::Ignored } else { Fate::False }
        })
        .collect();
    Judged { fates, found_by }
}

impl Judged {
    /// Whether an object is found by a detection of at least this score.
    pub fn finds(&self, object: usize, found: &Found, threshold: f32) -> bool {
        let by = self.found_by.get(object).copied().flatten();
        by.is_some_and(|i| found.scores[i] >= threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bbox: Xyxy, label: usize) -> Object {
        Object {
            bbox,
            label: Some(label),
            class: label.to_string(),
            ignored: false,
        }
    }

    #[test]
    fn each_object_is_found_once_and_by_its_class() {
        let found = Found {
            boxes: vec![
                [0.0, 0.0, 10.0, 10.0],
                [1.0, 0.0, 10.0, 10.0],
                [20.0, 0.0, 30.0, 10.0],
                [40.0, 0.0, 44.0, 10.0],
                [60.0, 0.0, 70.0, 10.0],
            ],
            scores: vec![0.9, 0.8, 0.7, 0.6, 0.5],
            labels: vec![0, 0, 1, 0, 0],
            ..Found::default()
        };
        let mut crowd = object([55.0, 0.0, 100.0, 10.0], 0);
        crowd.ignored = true;
        let objects = [
            object([0.0, 0.0, 10.0, 10.0], 0),
            object([20.0, 0.0, 30.0, 10.0], 0),
            object([40.0, 0.0, 50.0, 10.0], 0),
            crowd,
        ];
        let judged = judge(&found, &objects);
        let none = Fate::False;
        assert_eq!(
            judged.fates,
            [Fate::Finds(0), none, none, none, Fate::Ignored],
            "twice; another class; an overlap of 0.4; within a crowd"
        );
        assert_eq!(judged.found_by, [Some(0), None, None, None]);
        assert!(judged.finds(0, &found, 0.9) && !judged.finds(0, &found, 0.95));
    }
}
