//! Evaluation: detections of a data set's pictures against its annotations, to the figures that MMDetection prints.
//!
//! A [`Metric`] is what a `val_evaluator` or `test_evaluator` names: `CocoMetric`, `LVISMetric`, `VOCMetric`, `DumpProposals` of mmdet 3.3 with
//! all of their keys. It is told of one picture after the other ([`Metric::add`]) and then asked ([`Metric::compute`]). An [`Evaluator`] is one of them or a list.
//! The counting itself is in [`coco_eval`] (COCO and LVIS; [`summary`] has the means), [`mean_ap`] (PASCAL VOC) and `recall`; [`Truth`] reads annotation files,
//! [`results_file`] files of results, and [`analysis`] looks for what went wrong.
//!
//! Figures are MMDetection's, rounded as it rounds them; [`Evaluated`](coco_eval::Evaluated) has them in full.

mod accumulate;
pub mod analysis;
pub mod coco_eval;
mod coco_metric;
mod dump_proposals;
mod evaluator;
mod lvis_metric;
mod matching;
pub mod mean_ap;
mod parallel;
mod recall;
pub mod results_file;
pub mod summary;
mod table;
mod truth;
mod voc_metric;

#[cfg(test)]
mod tests;

use std::fmt;

use indexmap::IndexMap;

pub use coco_metric::CocoMetric;
pub use dump_proposals::DumpProposals;
pub use evaluator::Evaluator;
pub use lvis_metric::LVISMetric;
pub use matching::AREAS;
pub use truth::{Category, Object, Truth, TruthImage};
pub use voc_metric::VOCMetric;

use crate::coco::Id;
use crate::datasets::MetaInfo;
use crate::files::Files;
use crate::sample::{DataInfo, Instance};
use crate::structures::Instances;
use crate::structures::masks::Runs;
use smalti_config::registry::{Family, Row};
use smalti_config::{Diagnostics, Node};

/// One detection, as result files have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Index of its class.
    pub label: usize,
    /// Left, top, width, height, px.
    pub bbox: [f64; 4],
    /// 0 to 1.
    pub score: f64,
    /// Where the model gives masks.
    pub mask: Option<Box<Runs>>,
}

/// A picture whose detections are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `img_id`.
    pub id: Option<Id>,
    /// Width and height as loaded, px.
    pub size: [usize; 2],
    /// What its annotations say; empty where a metric has a file of its own.
    pub objects: Vec<Instance>,
}

/// Detections of one picture, from what a detector gave.
pub fn detections(found: &Instances) -> Vec<Detection> {
    let rows = found.boxes.iter().zip(&found.scores).zip(&found.labels);
    let rows = rows.enumerate().map(|(i, ((bbox, score), label))| {
        let [x1, y1, x2, y2] = bbox.map(f64::from);
        let mask = found.masks.as_ref().and_then(|masks| Runs::of(masks, i));
        Detection {
            label: *label,
            bbox: [x1, y1, x2 - x1, y2 - y1],
            score: f64::from(*score),
            mask: mask.map(Box::new),
        }
    });
    rows.collect()
}

/// What is counted, and how.
pub trait Metric: Send + fmt::Debug {
    /// Adds a picture: what its data set knows of it, its height and width as loaded (`ori_shape`), and what was found in it.
    fn add(&mut self, info: &DataInfo, ori_shape: [usize; 2], found: &Instances);

    /// Forgets what was added.
    fn forget(&mut self);

    /// The ids that results have for the labels, where the annotations have some.
    fn categories(&self) -> Option<Vec<Id>> {
        None
    }

    /// Counts what was added, and forgets it.
    ///
    /// # Errors
    /// See [`EvaluateError`].
    fn compute(&mut self) -> Result<Report, EvaluateError>;
}

/// What a metric gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Names as MMEngine logs them, such as `coco/bbox_mAP`, in MMDetection's order.
    pub figures: IndexMap<String, f64>,
    /// Texts to print: summaries and tables.
    pub texts: Vec<String>,
    /// What may surprise.
    pub notes: Vec<String>,
    /// Files to write (`outfile_prefix`): path and content.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Report {
    /// The figure of this name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Sets a figure, where it was or at the end.
    fn set(&mut self, name: String, value: f64) {
        self.figures.insert(name, value);
    }

    /// Names of figures begin with `prefix` and a slash from now on.
    fn prefixed(mut self, prefix: &str) -> Self {
        let figures = std::mem::take(&mut self.figures).into_iter();
        self.figures = figures
            .map(|(name, value)| (format!("{prefix}/{name}"), value))
            .collect();
        self
    }
}

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvaluateError {
    /// No picture was added.
    Nothing,
    /// A picture has no id, or one that the annotation file does not have.
    UnknownPicture(String),
    /// None of the classes is a category of the annotation file.
    NoCategory {
        /// The model's.
        classes: Vec<String>,
        /// The file's.
        categories: Vec<String>,
    },
    /// `metric` asks for masks, and the detections have none.
    NoMasks,
    /// Something in detections or annotations cannot be compared.
    Broken(String),
    /// Two metrics give a figure of one name.
    SameName(String),
}

impl fmt::Display for EvaluateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing to evaluate: there is no picture"),
            Self::UnknownPicture(which) => write!(
                f,
                "{which} is not in the evaluator's annotation file: data set and evaluator need the same `ann_file`"
            ),
            Self::NoCategory {
                classes,
                categories,
            } => {
                let few = |names: &[String]| names[..names.len().min(5)].join(", ");
                write!(
                    f,
                    "none of the classes ({}, ...) is a category of the evaluator's annotation file ({}, ...)",
                    few(classes),
                    few(categories)
                )
            }
            Self::NoMasks => write!(
                f,
                "the metric 'segm' needs masks, and this model gives none: write metric='bbox'"
            ),
            Self::Broken(what) => write!(f, "{what}"),
            Self::SameName(name) => write!(
                f,
                "two metrics give the figure `{name}`: give one of them a `prefix`"
            ),
        }
    }
}

impl std::error::Error for EvaluateError {}

/// What a metric is built from, beside its config.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Where annotation files are. `None`: only the config is checked.
    pub files: Option<&'a dyn Files>,
    /// Classes of the data set.
    pub meta: &'a MetaInfo,
}

/// `None` where only the config is checked.
pub type BuiltMetric = Result<Option<Box<dyn Metric>>, Diagnostics>;

/// A metric's own reading.
pub type Builder = fn(&Node, Given<'_>) -> BuiltMetric;

/// The kind `metric` of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Metrics;

impl Family for Metrics {
    const KIND: &'static str = "metric";
    type Build = Builder;
    const NOT_YET: &'static [(&'static str, &'static str)] = NOT_YET;
    const COMPLETE: bool = true;
}

/// The table.
pub const ROWS: &[Row<Metrics>] = &[
    Row::new("mmdet", "CocoMetric", coco_metric::build as Builder),
    Row::new("mmdet", "DumpProposals", dump_proposals::build as Builder),
    Row::new("mmdet", "LVISMetric", lvis_metric::build as Builder),
    Row::new("mmdet", "VOCMetric", voc_metric::build as Builder),
];

const COCO: &str = "its annotations are often to be had in COCO's form: use CocoMetric";

/// Those of mmdet 3.3 and mmengine 0.10 that are not built.
const NOT_YET: &[(&str, &str)] = &[
    ("COCOCaptionMetric", "only objects are evaluated"),
    ("CityScapesMetric", COCO),
    ("CocoOccludedSeparatedMetric", "use CocoMetric"),
    ("CocoPanopticMetric", "only objects are evaluated"),
    ("CocoVideoMetric", "only pictures are read, no videos"),
    ("CrowdHumanMetric", COCO),
    ("DODCocoMetric", "use CocoMetric"),
    ("DumpDetResults", "write outfile_prefix='...' of CocoMetric"),
    (
        "DumpODVGResults",
        "write outfile_prefix='...' of CocoMetric",
    ),
    ("DumpResults", "write outfile_prefix='...' of CocoMetric"),
    ("Flickr30kMetric", "only objects are evaluated"),
    ("LVISFixedAPMetric", "use LVISMetric"),
    ("MOTChallengeMetric", "only pictures are read, no videos"),
    ("OpenImagesMetric", COCO),
    ("OVCocoMetric", "use CocoMetric"),
    ("ReIDMetrics", "only objects are evaluated"),
    ("RefExpMetric", "only objects are evaluated"),
    ("RefSegMetric", "only objects are evaluated"),
    ("SemSegMetric", "only objects are evaluated"),
    ("YouTubeVISMetric", "only pictures are read, no videos"),
    ("gRefCOCOMetric", "only objects are evaluated"),
];
