//! Data sets: what a config's `dataset=dict(type=...)` describes, down to one sample.
//!
//! A data set knows its pictures and objects ([`Dataset::info`]) and runs its pipeline on one of them ([`Dataset::get`]). Wrappers hold other
//! data sets. One type, one file, a row in the table.

mod base;
mod check;
mod cityscapes;
mod class_balanced;
mod class_names;
mod coco;
mod coco_file;
mod coco_masks;
mod concat;
mod deep_fashion;
#[cfg(test)]
pub(super) mod flat;
mod json;
pub mod legacy;
mod lvis;
mod multi_image_mix;
mod objects365;
mod others;
mod paths;
mod pictures;
mod repeat;
mod segments;
mod table;
mod tally;
mod voc;
mod wider_face;
mod xml;
mod xml_style;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::picture::Fault;
use super::sample::{DataInfo, Sample};
use super::transforms::{self, Context, Files, Transform};
use smalti_config::{
    Config, Diagnostic, Diagnostics, Kind, Node, Severity, error_at, nearest, stray_comma,
    unsupported,
};

pub use base::BaseDetDataset;
pub use check::check;
pub use class_balanced::ClassBalancedDataset;
pub(super) use coco_file::listed;
pub use concat::ConcatDataset;
pub use multi_image_mix::MultiImageMixDataset;
pub use others::Others;
pub use repeat::RepeatDataset;
pub use tally::OnBroken;

/// `metainfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaInfo {
    /// Class names; labels are indices into it.
    pub classes: Vec<String>,
    /// RGB per class; may be shorter or empty.
    pub palette: Vec<[u8; 3]>,
    /// `VOC2007` or `VOC2012`, where that matters to the metric.
    pub dataset_type: Option<String>,
}

/// A sample that could not be made: which picture, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleError {
    /// The picture's file.
    pub path: String,
    /// Its id, where the annotation file has one.
    pub id: Option<super::coco::ImageId>,
    /// Why.
    pub problem: Fault,
}

impl SampleError {
    /// Of the picture that `info` tells of, unless the problem is another picture's.
    pub fn new(info: &DataInfo, problem: Fault) -> Self {
        match problem {
            Fault::Other(error) => *error,
            problem => Self {
                path: info.img_path.clone(),
                id: info.img_id.clone(),
                problem,
            },
        }
    }
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} (id {id}): {}", self.path, self.problem),
            None => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}

impl std::error::Error for SampleError {}

/// Pictures that could not be used and were replaced by others (`on_broken='skip'`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How often.
    pub count: usize,
    /// The first of them.
    pub first: Vec<SampleError>,
}

impl Skipped {
    /// How many are kept.
    const NAMED: usize = 20;

    fn add(&mut self, error: SampleError) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(error);
        }
    }

    fn append(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.truncate(Self::NAMED);
    }
}

/// A data set of a config.
pub trait Dataset: Send + Sync + fmt::Debug {
    /// Number of samples (of a wrapper: after repetition and so on).
    fn len(&self) -> usize;

    /// No samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Classes.
    fn meta(&self) -> &MetaInfo;

    /// `get_data_info`: what is known of the picture at `index`.
    ///
    /// # Panics
    /// If there is no such index.
    fn info(&self, index: usize) -> Arc<DataInfo>;

    /// `get_cat_ids`: labels of the objects at `index`.
    fn labels(&self, index: usize) -> Vec<i64> {
        self.info(index).instances.iter().map(|i| i.label).collect()
    }

    /// `dataset[index]`: loaded and through the pipeline. Where the pipeline drops it, other indices are drawn, as MMDetection does
    /// (`max_refetch`); `None` only where the original would give None (`test_mode` aside, after an empty pipeline).
    ///
    /// # Errors
    /// Names the picture.
    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError>;

    /// Its own pipeline.
    fn pipeline(&self) -> &[Box<dyn Transform>];

    /// Data sets inside it.
    fn children(&self) -> Vec<&dyn Dataset> {
        Vec::new()
    }

    /// `cumulative_sizes` of a `ConcatDataset`: where each of its data sets ends.
    fn ends(&self) -> Option<&[usize]> {
        None
    }

    /// `update_skip_type_keys`, for YOLOXModeSwitchHook: a `MultiImageMixDataset` leaves out these steps from now on; others pass
    /// it on to the data sets inside them.
    fn skip_types(&self, keys: &[String]) {
        for child in self.children() {
            child.skip_types(keys);
        }
    }

    /// What was noticed while it was read: objects left out and why, keys that were mapped.
    fn notes(&self) -> &[Diagnostic] {
        &[]
    }

    /// What was noticed since then, while pictures were loaded; of a wrapper, in the data sets inside it.
    fn noticed(&self) -> Vec<Diagnostic> {
        let children = self.children().into_iter();
        children.flat_map(|child| child.noticed()).collect()
    }

    /// Pictures that were replaced by others so far; of a wrapper, those of the data sets inside it.
    fn skipped(&self) -> Skipped {
        let mut all = Skipped::default();
        for child in self.children() {
            all.append(child.skipped());
        }
        all
    }
}

/// Notes of a data set and of those inside it.
pub fn all_notes(dataset: &dyn Dataset) -> Vec<&Diagnostic> {
    let mut notes: Vec<&Diagnostic> = dataset.notes().iter().collect();
    for child in dataset.children() {
        notes.extend(all_notes(child));
    }
    notes
}

/// Makes a sample of the picture at `index`; a panic is an error of that picture.
pub(super) fn caught<T>(
    dataset: &dyn Dataset,
    index: usize,
    make: impl FnOnce() -> Result<T, SampleError>,
) -> Result<T, SampleError> {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = format!("panicked: {}", text.unwrap_or_default());
        Err(SampleError::new(
            &dataset.info(index),
            Fault::Transform(text),
        ))
    })
}

/// What was noticed while a data set was read. It is also kept where the reading ends with an error, which it may explain.
#[derive(Debug)]
pub(super) struct Noticed<'a> {
    own: Vec<Diagnostic>,
    log: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> Noticed<'a> {
    /// Begins with what its keys were mapped to, which is in the log already.
    fn new(source: &Source<'a>) -> Self {
        Self {
            own: source.notes.clone(),
            log: source.log,
        }
    }

    fn push(&mut self, finding: Diagnostic) {
        if finding.severity != Severity::Note {
            self.log.borrow_mut().push(finding.clone());
        }
        self.own.push(finding);
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

/// `None` where only the config is checked.
type Built = Result<Option<Box<dyn Dataset>>, Diagnostics>;

/// What a data set is built from.
struct Source<'a> {
    node: &'a Node,
    kind: &'static str,
    /// `None`: nothing is read, only the config is checked.
    files: Option<&'a dyn Files>,
    /// Where files of class names are, also if only the config is checked.
    names: Option<&'a dyn Files>,
    /// What its keys were mapped to.
    notes: Vec<Diagnostic>,
    /// All of those so far.
    log: &'a RefCell<Vec<Diagnostic>>,
}

type Build = fn(&Source<'_>) -> Built;

/// `type` and builder, by name.
const TABLE: &[(&str, Build)] = &[
    ("CityscapesDataset", cityscapes::build),
    ("ClassBalancedDataset", class_balanced::build),
    ("CocoDataset", coco::build),
    ("ConcatDataset", concat::build),
    ("DeepFashionDataset", deep_fashion::build),
    ("LVISDataset", lvis::build_v05),
    ("LVISV05Dataset", lvis::build_v05),
    ("LVISV1Dataset", lvis::build_v1),
    ("MultiImageMixDataset", multi_image_mix::build),
    ("Objects365V1Dataset", objects365::build_v1),
    ("Objects365V2Dataset", objects365::build_v2),
    ("RepeatDataset", repeat::build),
    ("VOCDataset", voc::build),
    ("WIDERFaceDataset", wider_face::build),
    ("XMLDataset", xml_style::build),
];

/// Those of mmdet 3.3 that are not read: a config that names one may be right.
const NOT_YET: &[&str] = &[
    "ADE20KInstanceDataset",
    "ADE20KPanopticDataset",
    "ADE20KSegDataset",
    "BaseDetDataset",
    "BaseSegDataset",
    "BaseVideoDataset",
    "CocoCaptionDataset",
    "CocoPanopticDataset",
    "CocoSegDataset",
    "CrowdHumanDataset",
    "DODDataset",
    "DSDLDetDataset",
    "Flickr30kDataset",
    "MDETRStyleRefCocoDataset",
    "MOTChallengeDataset",
    "ODVGDataset",
    "OpenImagesChallengeDataset",
    "OpenImagesDataset",
    "ReIDDataset",
    "RefCocoDataset",
    "V3DetDataset",
    "YouTubeVISDataset",
    "iSAIDDataset",
];

/// Reads a `dict(type=...)` and the annotation files that it names. Keys of MMDetection 2.x are mapped, with notes
/// ([`Dataset::notes`], [`all_notes`]).
///
/// # Errors
/// Whatever is wrong with the config, with its place, all at once; a file that cannot be read; a data set without pictures.
pub fn build(node: &Node, files: &dyn Files) -> Result<Box<dyn Dataset>, Diagnostics> {
    read(node, files, Vec::new())
}

fn read(
    node: &Node,
    files: &dyn Files,
    notes: Vec<Diagnostic>,
) -> Result<Box<dyn Dataset>, Diagnostics> {
    let log = RefCell::default();
    let built = make(node, Some(files), Some(files), notes, &log);
    let missing = || error_at(node, "type", "no data set was built", "");
    built
        .and_then(|built| built.ok_or_else(missing))
        .map_err(|mut problems| {
            // What was noticed before may be the reason.
            let known: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
            let warnings = log.into_inner().into_iter();
            let warnings = warnings.filter(|d| d.severity == Severity::Warning);
            problems.extend(warnings.filter(|d| !known.contains(&d.to_string())));
            problems
        })
}

/// Reads the data set of `train`, `val` or `test`: `{split}_dataloader.dataset`, or `data.{split}` of MMDetection 2.x.
///
/// # Errors
/// As [`build`]; and if there is none.
pub fn from_config(
    config: &Config,
    split: &str,
    files: &dyn Files,
) -> Result<Box<dyn Dataset>, Diagnostics> {
    let (loader, notes) = legacy::dataloader(config, split);
    if let Some(error) = stray_loader(loader.as_ref(), split) {
        return Err(vec![error]);
    }
    let Some(dataset) = loader.as_ref().and_then(|l| l.get("dataset")) else {
        let message = format!("the config has no data set for `{split}`: no `{split}_dataloader`");
        return Err(error_at(
            &config.root,
            "",
            message,
            "name train, val or test",
        ));
    };
    read(dataset, files, notes)
}

/// The error of `train_dataloader = dict(...),`.
fn stray_loader(loader: Option<&Node>, split: &str) -> Option<Diagnostic> {
    stray_comma(&format!("`{split}_dataloader`"), loader?)
}

/// A data set inside another one.
fn nested(node: &Node, outer: &Source<'_>) -> Built {
    make(node, outer.files, outer.names, Vec::new(), outer.log)
}

fn make(
    node: &Node,
    files: Option<&dyn Files>,
    names: Option<&dyn Files>,
    mut notes: Vec<Diagnostic>,
    log: &RefCell<Vec<Diagnostic>>,
) -> Built {
    if let Some(error) = stray_comma("this data set", node) {
        return Err(vec![error]);
    }
    let (node, mapped) = legacy::dataset(node);
    notes.extend(mapped);
    log.borrow_mut().extend(notes.iter().cloned());
    let Some(kind) = node.get("type").and_then(Node::as_type) else {
        let found = format!(
            "a data set is a dict with a `type`, found {}",
            node.type_name()
        );
        return Err(error_at(
            &node,
            "",
            found,
            "for example dict(type='CocoDataset', ...)",
        ));
    };
    let (scope, name) = kind.rsplit_once('.').unwrap_or(("mmdet", &kind));
    let ours = matches!(scope.split('.').next(), Some("mmdet" | "mmengine"));
    if let Some((kind, build)) = TABLE.iter().find(|(known, _)| ours && *known == name) {
        let source = Source {
            node: &node,
            kind,
            files,
            names,
            notes,
            log,
        };
        return build(&source);
    }
    if ours && NOT_YET.contains(&name) {
        let message = format!("the data set `{kind}` is not supported yet");
        return Err(unsupported(
            &node,
            "type",
            message,
            "convert it to COCO's form",
        ));
    }
    let names = || TABLE.iter().map(|(name, _)| *name);
    let list: Vec<&str> = names().collect();
    let known = format!("known are: {}", list.join(", "));
    let help = match nearest(name, names()) {
        Some(near) if ours => format!("did you mean `{near}`? {known}"),
        _ => known,
    };
    let mut problems = error_at(&node, "type", format!("no data set `{kind}`"), &help);
    problems.iter_mut().for_each(|p| p.kind = Kind::Unknown);
    Err(problems)
}

/// The pipeline of a data set. Transforms that mix pictures belong to a `MultiImageMixDataset`, and there not into another transform.
fn pipeline(node: &Node, kind: &str) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
    fn mixing(step: &dyn Transform) -> Option<&'static str> {
        if step.needs_mix() {
            return Some(step.name());
        }
        step.children().into_iter().find_map(mixing)
    }
    let Some(list) = node.get("pipeline").filter(|n| !n.is_none()) else {
        return Ok(Vec::new());
    };
    let Some(items) = list.as_items() else {
        return transforms::build_all(Some(list));
    };
    if let Some(error) = transforms::list_in_a_tuple(list) {
        return Err(vec![error]);
    }
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    for item in items {
        let step = match transforms::build(item) {
            Ok(step) => step,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let inner = step.children().into_iter().find_map(mixing);
        let outer = step.needs_mix() && kind != "MultiImageMixDataset";
        let at = &item.get("type").unwrap_or(item).origin;
        let name = step.name();
        if outer {
            let message =
                format!("`{name}` mixes several pictures, which `{kind}` does not give it");
            problems.push(Diagnostic::error(message).at(at, "").help(format!(
                "move it into a MultiImageMixDataset: dataset=dict(type='MultiImageMixDataset', dataset=dict(type='{kind}', ..., \
                 pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]), \
                 pipeline=[dict(type='{name}', ...), ...])"
            )));
        } else if let Some(inner) = inner {
            let message =
                format!("`{inner}` mixes several pictures, which `{name}` cannot give it");
            let help = "put it into the pipeline of the MultiImageMixDataset itself; its `prob` says how often";
            problems.push(Diagnostic::error(message).at(at, "").help(help));
        }
        steps.push(step);
    }
    if problems.is_empty() {
        Ok(steps)
    } else {
        Err(problems)
    }
}

/// The error of a pipeline of which a step needs the picture before one has loaded it.
fn unloaded(node: &Node, steps: &[Box<dyn Transform>]) -> Option<Diagnostic> {
    fn loads(step: &dyn Transform) -> bool {
        step.name() == "LoadImageFromFile" || step.children().into_iter().any(loads)
    }
    // Those read what the data set knows of the picture.
    let needs =
        |step: &dyn Transform| !matches!(step.name(), "LoadAnnotations" | "LoadEmptyAnnotations");
    let at = steps
        .iter()
        .position(|step| needs(&**step) || loads(&**step))?;
    if loads(&*steps[at]) {
        return None;
    }
    let list = node.get("pipeline")?;
    let later = steps[at..].iter().any(|step| loads(&**step));
    let (message, place, label, help) = match later {
        true => (
            format!(
                "`{}` comes before `LoadImageFromFile`: there is no picture yet",
                steps[at].name()
            ),
            list.as_items()?.get(at)?,
            "",
            "move `LoadImageFromFile` to the front",
        ),
        false => (
            "no step of this pipeline loads the picture: `LoadImageFromFile` is missing".to_owned(),
            list.as_items()?.first()?,
            "the first step",
            "begin the pipeline with dict(type='LoadImageFromFile')",
        ),
    };
    let error = Diagnostic::error(message).kind(Kind::Missing);
    Some(error.at(&place.origin, label).help(help))
}
