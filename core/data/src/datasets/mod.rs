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
pub(crate) mod coco_file;
pub(crate) mod coco_masks;
mod concat;
mod deep_fashion;
#[cfg(test)]
pub(super) mod flat;
pub(crate) mod json;
pub mod legacy;
mod lvis;
mod multi_image_mix;
mod objects365;
mod others;
pub(crate) mod paths;
mod pictures;
mod repeat;
pub(crate) mod segments;
pub(crate) mod table;
mod tally;
mod voc;
mod wider_face;
mod wrap;
mod xml;
mod xml_style;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::coco::Ids;
use super::lookup::Lookup;
use super::picture::Fault;
use super::sample::{DataInfo, Sample};
use super::transforms::{self, Context, Files, Transform};
use smalti_config::registry::{Family, Row};
use smalti_config::{Config, Diagnostic, Diagnostics, Kind, Node, Severity, error_at, stray_comma};

pub use super::sample::SampleError;
pub use base::BaseDetDataset;
pub use check::{check, check_with};
pub use class_balanced::ClassBalancedDataset;
use coco_file::listed;
pub use concat::ConcatDataset;
pub use multi_image_mix::MultiImageMixDataset;
pub use others::OtherPictures;
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

    /// Gives it another pipeline; a wrapper that has none lets it go.
    fn set_pipeline(&mut self, steps: Vec<Box<dyn Transform>>) {
        let _ = steps;
    }

    /// Data sets inside it.
    fn children(&self) -> Vec<&dyn Dataset> {
        Vec::new()
    }

    /// The same, to give them other pipelines.
    fn children_mut(&mut self) -> Vec<&mut dyn Dataset> {
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
pub type Built = Result<Option<Box<dyn Dataset>>, Diagnostics>;

/// What a data set is built from.
pub struct Source<'a> {
    node: &'a Node,
    kind: &'static str,
    /// `None`: nothing is read, only the config is checked.
    files: Option<&'a dyn Files>,
    /// Where files of class names are, also if only the config is checked.
    names: Option<&'a dyn Files>,
    /// Where data sets and transforms inside it are looked up.
    look: Lookup<'a>,
    /// What its keys were mapped to.
    notes: Vec<Diagnostic>,
    /// All of those so far.
    log: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> Source<'a> {
    /// Its config.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// Where its files are. `None`: nothing is read, only the config is checked.
    pub fn files(&self) -> Option<&'a dyn Files> {
        self.files
    }

    /// Where names are looked up.
    pub fn look(&self) -> Lookup<'a> {
        self.look
    }

    /// Builds a data set inside it.
    ///
    /// # Errors
    /// As [`build`].
    pub fn nested(&self, node: &Node) -> Built {
        make(
            node,
            self.look,
            self.files,
            self.names,
            Vec::new(),
            self.log,
        )
    }

    /// Its pipeline, in which a transform that mixes pictures is an error.
    ///
    /// # Errors
    /// Everything wrong in it.
    pub fn pipeline(&self) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
        pipeline(self)
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.kind)
    }
}

/// The kind `data set` of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Datasets;

impl Family for Datasets {
    const KIND: &'static str = "data set";
    type Build = fn(&Source<'_>) -> Built;
    const SAME_SCOPES: &'static [(&'static str, &'static str)] = &[("mmengine", "mmdet")];
    const NOT_YET: &'static [(&'static str, &'static str)] = NOT_YET;
    const COMPLETE: bool = true;
}

const fn row(name: &'static str, build: fn(&Source<'_>) -> Built) -> Row<Datasets> {
    Row::new("mmdet", name, build)
}

/// The table.
pub const ROWS: &[Row<Datasets>] = &[
    row("CityscapesDataset", cityscapes::build),
    row("ClassBalancedDataset", class_balanced::build),
    row("CocoDataset", coco::build),
    row("ConcatDataset", concat::build),
    row("DeepFashionDataset", deep_fashion::build),
    row("LVISDataset", lvis::build_v05),
    row("LVISV05Dataset", lvis::build_v05),
    row("LVISV1Dataset", lvis::build_v1),
    row("MultiImageMixDataset", multi_image_mix::build),
    row("Objects365V1Dataset", objects365::build_v1),
    row("Objects365V2Dataset", objects365::build_v2),
    row("RepeatDataset", repeat::build),
    row("VOCDataset", voc::build),
    row("WIDERFaceDataset", wider_face::build),
    row("XMLDataset", xml_style::build),
];

/// What to do about those of mmdet 3.3 that are not read.
const CONVERT: &str = "convert it to COCO's form";

/// Those of mmdet 3.3 that are not read: a config that names one may be right.
const NOT_YET: &[(&str, &str)] = &[
    ("ADE20KInstanceDataset", CONVERT),
    ("ADE20KPanopticDataset", CONVERT),
    ("ADE20KSegDataset", CONVERT),
    ("BaseDetDataset", CONVERT),
    ("BaseSegDataset", CONVERT),
    ("BaseVideoDataset", CONVERT),
    ("CocoCaptionDataset", CONVERT),
    ("CocoPanopticDataset", CONVERT),
    ("CocoSegDataset", CONVERT),
    ("CrowdHumanDataset", CONVERT),
    ("DODDataset", CONVERT),
    ("DSDLDetDataset", CONVERT),
    ("Flickr30kDataset", CONVERT),
    ("MDETRStyleRefCocoDataset", CONVERT),
    ("MOTChallengeDataset", CONVERT),
    ("ODVGDataset", CONVERT),
    ("OpenImagesChallengeDataset", CONVERT),
    ("OpenImagesDataset", CONVERT),
    ("ReIDDataset", CONVERT),
    ("RefCocoDataset", CONVERT),
    ("V3DetDataset", CONVERT),
    ("YouTubeVISDataset", CONVERT),
    ("iSAIDDataset", CONVERT),
];

/// The ids of a COCO annotation file, read as a data set reads it; `path` names it in messages.
///
/// # Errors
/// What is wrong with it and where: no JSON, or no `images` with `id` and `file_name`.
pub fn read_ids(path: &str, input: impl std::io::Read) -> Result<Ids, String> {
    let (images, categories, warnings) = listed(path, input)?;
    Ok(Ids::new(path, images, categories, warnings))
}

/// Reads a `dict(type=...)` and the annotation files that it names. Keys of MMDetection 2.x are mapped, with notes
/// ([`Dataset::notes`], [`all_notes`]). Names are those of this crate.
///
/// # Errors
/// Whatever is wrong with the config, with its place, all at once; a file that cannot be read; a data set without pictures.
pub fn build(node: &Node, files: &dyn Files) -> Result<Box<dyn Dataset>, Diagnostics> {
    build_with(node, files, Lookup::own())
}

/// As [`build`], with names of other crates too.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    node: &Node,
    files: &dyn Files,
    look: Lookup<'_>,
) -> Result<Box<dyn Dataset>, Diagnostics> {
    read(node, files, look, Vec::new())
}

fn read(
    node: &Node,
    files: &dyn Files,
    look: Lookup<'_>,
    notes: Vec<Diagnostic>,
) -> Result<Box<dyn Dataset>, Diagnostics> {
    let log = RefCell::default();
    let built = make(node, look, Some(files), Some(files), notes, &log);
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

/// Reads the data set of `train`, `val` or `test`: `{split}_dataloader.dataset`, or `data.{split}` of MMDetection 2.x. Names are those
/// of this crate.
///
/// # Errors
/// As [`build`]; and if there is none.
pub fn from_config(
    config: &Config,
    split: &str,
    files: &dyn Files,
) -> Result<Box<dyn Dataset>, Diagnostics> {
    from_config_with(config, split, files, Lookup::own())
}

/// As [`from_config`], with names of other crates too.
///
/// # Errors
/// As [`from_config`].
pub fn from_config_with(
    config: &Config,
    split: &str,
    files: &dyn Files,
    look: Lookup<'_>,
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
    read(dataset, files, look, notes)
}

/// Gives a data set, and those inside it, the pipelines that its config has now. All else stays as it was read: for who changes a pipeline,
/// and does not want the annotation file to be read again.
///
/// # Errors
/// Everything wrong with the pipelines; then some may be new and others old.
pub fn set_pipelines(
    dataset: &mut dyn Dataset,
    node: &Node,
    look: Lookup<'_>,
) -> Result<(), Diagnostics> {
    let (node, _) = legacy::dataset(node);
    let row = look.find::<Datasets>(&node)?;
    let log = RefCell::default();
    let steps = pipeline(&Source {
        node: &node,
        kind: row.name,
        files: None,
        names: None,
        look,
        notes: Vec::new(),
        log: &log,
    })?;
    dataset.set_pipeline(steps);
    let several = node.get("datasets").and_then(Node::as_items);
    let inner = node.get("dataset").into_iter();
    let nodes = inner.chain(several.into_iter().flatten());
    for (child, node) in dataset.children_mut().into_iter().zip(nodes) {
        set_pipelines(child, node, look)?;
    }
    Ok(())
}

/// The error of `train_dataloader = dict(...),`.
fn stray_loader(loader: Option<&Node>, split: &str) -> Option<Diagnostic> {
    stray_comma(&format!("`{split}_dataloader`"), loader?)
}

fn make(
    node: &Node,
    look: Lookup<'_>,
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
    let row = look.find::<Datasets>(&node)?;
    (row.build)(&Source {
        node: &node,
        kind: row.name,
        files,
        names,
        look,
        notes,
        log,
    })
}

/// The pipeline of a data set. Transforms that mix pictures belong to a `MultiImageMixDataset`, and there not into another transform.
fn pipeline(source: &Source<'_>) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
    let (node, kind) = (source.node, source.kind);
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
        return source.look.transforms(Some(list));
    };
    if let Some(error) = transforms::list_in_a_tuple(list) {
        return Err(vec![error]);
    }
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    for item in items {
        let step = match source.look.transform(item) {
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
            let error = Diagnostic::error(message).at(at, "");
            let error = match wrap::into_multi_image_mix(node) {
                Some(text) => error.fix(&node.origin, text, "Wrap in MultiImageMixDataset"),
                None => error,
            };
            problems.push(error.help(format!(
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
