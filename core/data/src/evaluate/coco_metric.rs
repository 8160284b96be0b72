//! `CocoMetric` of mmdet 3.3 (evaluation/metrics/coco_metric.py).
//!
//! Where we differ: the class table names its rows by their categories where the file's are not in the order of their ids (MMDetection's rows are
//! then another's); `mAP_50` and `mAP_75` are there where `iou_thrs` is a list that has 0.5 and 0.75 (MMDetection's are -1 with any list); one
//! number as `iou_thrs` is a list of one. Without `ann_file` boxes are the data set's, in f32.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::coco_eval::{
    AREA_NAMES, Evaluated, Judged, MOST_THRESHOLDS, Protocol, evaluate, standard_thresholds,
};
use super::summary::Of;
use super::table::{ascii, python, thousandths, three_digits};
use super::truth::Truth;
use super::{
    BuiltMetric, Detection, EvaluateError, Given, Metric, Report, Seen, detections, recall,
    results_file,
};
use crate::coco::Id;
use crate::sample::DataInfo;
use crate::structures::{Instances, Xyxy};
use smalti_config::{Diagnostic, Diagnostics, Kind, Node, error_at, nearest};

/// What is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Boxes.
    Bbox,
    /// Masks.
    Segm,
    /// Boxes as proposals: no classes, pycocotools' recall.
    Proposal,
    /// Boxes as proposals: mmdet's own recall.
    ProposalFast,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Bbox => "bbox",
            What::Segm => "segm",
            What::Proposal => "proposal",
            What::ProposalFast => "proposal_fast",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a metric or a list of metrics")]
enum OneOrMore {
    One(What),
    More(Vec<What>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a list of numbers")]
enum Numbers {
    One(f64),
    More(Vec<f64>),
}

/// Keys that `CocoMetric` and `LVISMetric` share.
#[derive(Deserialize)]
struct Config {
    ann_file: Option<String>,
    metric: Option<OneOrMore>,
    classwise: Option<bool>,
    proposal_nums: Option<Vec<usize>>,
    iou_thrs: Option<Numbers>,
    metric_items: Option<Vec<String>>,
    format_only: Option<bool>,
    outfile_prefix: Option<String>,
    file_client_args: Option<IgnoredAny>,
    /// Files are read from disk.
    #[serde(rename = "backend_args")]
    _backend_args: Option<IgnoredAny>,
    /// There is one process.
    #[serde(rename = "collect_device")]
    _collect_device: Option<String>,
    prefix: Option<String>,
    sort_categories: Option<bool>,
    use_mp_eval: Option<bool>,
}

/// Options.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub metrics: Vec<What>,
    pub classwise: bool,
    pub proposal_nums: Vec<usize>,
    pub iou_thrs: Vec<f64>,
    pub metric_items: Option<Vec<String>>,
    pub format_only: bool,
    pub outfile_prefix: Option<String>,
    pub prefix: String,
    /// `use_mp_eval`: all cores are used in any case, but the summary is another.
    pub each_num: bool,
}

/// `stats` of pycocotools by MMDetection's names.
const ITEMS: [&str; 12] = [
    "mAP",
    "mAP_50",
    "mAP_75",
    "mAP_s",
    "mAP_m",
    "mAP_l",
    "AR@100",
    "AR@300",
    "AR@1000",
    "AR_s@1000",
    "AR_m@1000",
    "AR_l@1000",
];

/// AP and AR of boxes, masks and proposals, as COCO counts.
#[derive(Debug)]
pub struct CocoMetric {
    pub(super) options: Options,
    pub(super) classes: Vec<String>,
    /// `None`: the samples' own annotations count.
    pub(super) truth: Option<Truth>,
    pub(super) seen: Vec<Seen>,
    pub(super) found: Vec<Vec<Detection>>,
    /// What was noticed while it was read.
    pub(super) notes: Vec<String>,
}

pub(super) fn build(node: &Node, given: Given<'_>) -> BuiltMetric {
    let metric = read(node, given, "coco", false)?;
    if let Some(items) = &metric.options.metric_items {
        check_items(node, items, &ITEMS)?;
    }
    let counted = |what: &What| *what != What::ProposalFast;
    let least = match metric.options.each_num {
        true => 1,
        false if metric.options.metrics.iter().any(counted) => 3,
        false => 0,
    };
    if metric.options.proposal_nums.len() < least {
        let message = "`proposal_nums` needs three numbers";
        let help = "for example (100, 300, 1000); with use_mp_eval=True one will do";
        return Err(error_at(node, "proposal_nums", message, help));
    }
    Ok(given.files.map(|_| Box::new(metric) as Box<dyn Metric>))
}

/// Of `metric_items`.
pub(super) fn check_items(
    node: &Node,
    items: &[String],
    known: &[&str],
) -> Result<(), Diagnostics> {
    let Some(wrong) = items.iter().find(|item| !known.contains(&item.as_str())) else {
        return Ok(());
    };
    let message = format!("`metric_items`: '{wrong}' is not known");
    let help = match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(error_at(node, "metric_items", message, &help))
}

/// Reads options and annotation file.
pub(super) fn read(
    node: &Node,
    given: Given<'_>,
    prefix: &str,
    federated: bool,
) -> Result<CocoMetric, Diagnostics> {
    let config: Config = node.read()?;
    let mut problems = Vec::new();
    if config.file_client_args.is_some()
        && node.get("file_client_args").is_some_and(|n| !n.is_none())
    {
        let message = "`file_client_args` is no key any more";
        problems.extend(error_at(
            node,
            "file_client_args",
            message,
            "write backend_args=None",
        ));
    }
    if federated {
        let given = [
            (config.sort_categories.is_some(), "sort_categories"),
            (config.use_mp_eval.is_some(), "use_mp_eval"),
        ];
        for (_, key) in given.into_iter().filter(|(there, _)| *there) {
            let message = format!("`LVISMetric` has no key `{key}`");
            problems.extend(error_at(node, key, message, "leave it out"));
        }
    }
    let format_only = config.format_only.unwrap_or(false);
    if format_only && config.outfile_prefix.is_none() {
        let message = "`format_only` needs an `outfile_prefix`";
        let help = "for example outfile_prefix='work_dirs/results'";
        problems.extend(error_at(node, "format_only", message, help));
    }
    let iou_thrs = match config.iou_thrs {
        None => standard_thresholds(),
        Some(Numbers::One(one)) => vec![one],
        Some(Numbers::More(all)) => all,
    };
    let sound = iou_thrs.iter().all(|t| (0.0..=1.0).contains(t));
    if !sound || !(1..=MOST_THRESHOLDS).contains(&iou_thrs.len()) {
        let message = format!("`iou_thrs` must be 1 to {MOST_THRESHOLDS} numbers from 0 to 1");
        problems.extend(error_at(node, "iou_thrs", message, ""));
    }
    let metrics = match config.metric {
        None => vec![What::Bbox],
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(all)) => all,
    };
    let mut truth = None;
    if let (Some(path), Some(files), true) = (&config.ann_file, given.files, problems.is_empty()) {
        let read = files.open(path).map_err(|e| format!("`{path}`: {e}"));
        match read.and_then(|input| Truth::read(path, input)) {
            Ok(read) => truth = Some(read),
            Err(what) => {
                let at = node.get("ann_file").unwrap_or(node);
                let error = Diagnostic::error(what).kind(Kind::File);
                problems.push(error.at(&at.origin, ""));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if config.sort_categories == Some(true) {
        truth.iter_mut().for_each(Truth::sort_categories);
    }
    let notes = truth.iter().flat_map(|t| t.notes().to_vec()).collect();
    let given_prefix = config.prefix.filter(|p| !p.is_empty());
    Ok(CocoMetric {
        options: Options {
            metrics,
            classwise: config.classwise.unwrap_or(false),
            proposal_nums: config.proposal_nums.unwrap_or(vec![100, 300, 1000]),
            iou_thrs,
            metric_items: config.metric_items,
            format_only,
            outfile_prefix: config.outfile_prefix,
            prefix: given_prefix.unwrap_or_else(|| prefix.to_owned()),
            each_num: config.use_mp_eval == Some(true),
        },
        classes: given.meta.classes.clone(),
        truth,
        seen: Vec::new(),
        found: Vec::new(),
        notes,
    })
}

impl CocoMetric {
    /// Adds a picture.
    pub(super) fn keep(&mut self, info: &DataInfo, ori_shape: [usize; 2], found: &Instances) {
        let objects = match self.truth {
            Some(_) => Vec::new(),
            None => info.instances.clone(),
        };
        let id = info.img_id.clone();
        self.seen.push(Seen {
            // MMDetection counts pictures that have no id
            id: id.or(Some(Id::Number(self.seen.len() as i64))),
            size: [ori_shape[1], ori_shape[0]],
            objects,
        });
        self.found.push(detections(found));
    }

    /// Takes what was added; the annotations to compare it with, and the categories of the labels.
    pub(super) fn begin(&mut self, every: bool) -> Result<Begun<'_>, EvaluateError> {
        let (seen, found) = (
            std::mem::take(&mut self.seen),
            std::mem::take(&mut self.found),
        );
        if seen.is_empty() {
            return Err(EvaluateError::Nothing);
        }
        let truth = match &self.truth {
            Some(truth) => Compared::File(truth),
            None => Compared::Samples(Box::new(Truth::of_samples(&self.classes, &seen))),
        };
        let all = every || self.truth.is_none() || self.classes.is_empty();
        let labels = match all {
            true => (0..truth.categories().len()).collect(),
            false => truth.labelled(&self.classes),
        };
        if labels.is_empty() {
            return Err(EvaluateError::NoCategory {
                classes: self.classes.clone(),
                categories: truth.categories().iter().map(|c| c.name.clone()).collect(),
            });
        }
        let mut places = Vec::with_capacity(seen.len());
        for (picture, detections) in seen.iter().zip(&found) {
            let place = picture.id.as_ref().and_then(|id| truth.image(id));
            if place.is_none() && !detections.is_empty() {
                let id = picture.id.as_ref();
                let which = id.map_or("a picture without id".into(), |id| {
                    format!("the picture with the id {}", id.json())
                });
                return Err(EvaluateError::UnknownPicture(which));
            }
            places.push(place);
            let wrong = detections.iter().find(|d| d.label >= labels.len());
            if let Some(wrong) = wrong {
                return Err(EvaluateError::Broken(format!(
                    "a detection has the label {}, but only {} classes are known",
                    wrong.label,
                    labels.len()
                )));
            }
        }
        Ok(Begun {
            truth,
            labels,
            seen,
            places,
            found,
        })
    }
}

/// Annotations to compare with.
pub(super) enum Compared<'a> {
    /// The evaluator's file.
    File(&'a Truth),
    /// What the samples know.
    Samples(Box<Truth>),
}

impl std::ops::Deref for Compared<'_> {
    type Target = Truth;

    fn deref(&self) -> &Truth {
        match self {
            Compared::File(truth) => truth,
            Compared::Samples(truth) => truth,
        }
    }
}

/// What is counted.
pub(super) struct Begun<'a> {
    pub truth: Compared<'a>,
    /// The category of each label.
    pub labels: Vec<usize>,
    pub seen: Vec<Seen>,
    /// Each picture's index in the annotations.
    pub places: Vec<Option<usize>>,
    pub found: Vec<Vec<Detection>>,
}

impl Begun<'_> {
    /// Detections by picture.
    pub fn pictures(&self) -> Vec<Judged<'_>> {
        let pictures = self.places.iter().zip(&self.found);
        pictures
            .filter_map(|(place, found)| Some(((*place)?, &found[..])))
            .collect()
    }

    pub fn nothing_found(&self) -> bool {
        self.found.iter().all(Vec::is_empty)
    }

    pub fn has_masks(&self) -> bool {
        let first = self.found.iter().flatten().next();
        first.is_none_or(|d| d.mask.is_some())
    }

    /// The files of `outfile_prefix`.
    pub fn files(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let rows = || self.seen.iter().zip(&self.found);
        let id = |label: usize| &self.truth.categories()[self.labels[label]].id;
        let mut files = Vec::new();
        if let Compared::Samples(_) = self.truth {
            let gt = results_file::truth(&self.truth, &self.seen);
            files.push((format!("{prefix}.gt.json"), gt));
        }
        let boxes = results_file::boxes(rows(), id);
        files.push((format!("{prefix}.bbox.json"), boxes));
        if self.has_masks() && !self.nothing_found() {
            files.push((
                format!("{prefix}.segm.json"),
                results_file::masks(rows(), id),
            ));
        }
        files
    }

    /// What all of COCO's kin do before objects are counted for `what`.
    ///
    /// # Errors
    /// Masks are to be counted, and the model gives none.
    pub fn before_counting(
        &self,
        what: What,
        options: &Options,
        ignored_count: bool,
        report: &mut Report,
    ) -> Result<Counting, EvaluateError> {
        if what == What::ProposalFast {
            let figures = self.fast_recall(options, ignored_count);
            report.texts.push(recall_text(&figures));
            figures
                .into_iter()
                .for_each(|(name, value)| report.set(name, value));
            return Ok(Counting::Done);
        }
        if self.nothing_found() {
            let note = "nothing was found in any picture, so there are no figures";
            report.notes.push(note.into());
            return Ok(Counting::Nothing);
        }
        if what == What::Segm && !self.has_masks() {
            return Err(EvaluateError::NoMasks);
        }
        Ok(Counting::Due)
    }

    /// `AR@100` and so on by mmdet's own recall.
    fn fast_recall(&self, options: &Options, ignored_count: bool) -> Vec<(String, f64)> {
        let mut found: Vec<&[Detection]> = vec![&[]; self.truth.images().len()];
        for (image, detections) in self.pictures() {
            found[image] = detections;
        }
        let corners = |[x, y, w, h]: [f64; 4]| [x, y, x + w, y + h].map(|v| v as f32);
        let picture = |(image, found): (usize, &&[Detection])| {
            let objects = self.truth.objects(image).iter();
            let objects = objects.filter(|o| ignored_count || !(o.crowd || o.ignore));
            let objects: Vec<Xyxy> = objects.filter_map(|o| o.bbox.map(corners)).collect();
            (objects, found.iter().map(|d| corners(d.bbox)).collect())
        };
        let pictures: Vec<_> = found.iter().enumerate().map(picture).collect();
        let nums = &options.proposal_nums;
        let recalls = recall::recalls(&pictures, nums, &options.iou_thrs, 0.0);
        let mean = |row: &Vec<f64>| row.iter().sum::<f64>() / row.len() as f64;
        let named = nums.iter().zip(&recalls);
        named
            .map(|(num, row)| (format!("AR@{num}"), mean(row)))
            .collect()
    }
}

/// Whether a metric's objects are to be counted.
pub(super) enum Counting {
    /// They are.
    Due,
    /// Its figures are there: they are counted otherwise.
    Done,
    /// There is nothing to count for any metric.
    Nothing,
}

/// Text of [`Begun::fast_recall`].
fn recall_text(figures: &[(String, f64)]) -> String {
    let lines = figures
        .iter()
        .map(|(name, value)| format!("{name}\t{value:.4}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Metric for CocoMetric {
    fn add(&mut self, info: &DataInfo, ori_shape: [usize; 2], found: &Instances) {
        self.keep(info, ori_shape, found);
    }

    fn forget(&mut self) {
        self.seen.clear();
        self.found.clear();
    }

    fn categories(&self) -> Option<Vec<Id>> {
        let truth = self.truth.as_ref()?;
        let labelled = truth.labelled(&self.classes).into_iter();
        Some(labelled.map(|c| truth.categories()[c].id.clone()).collect())
    }

    fn compute(&mut self) -> Result<Report, EvaluateError> {
        let options = self.options.clone();
        let mut report = Report {
            notes: std::mem::take(&mut self.notes),
            ..Report::default()
        };
        let begun = self.begin(false)?;
        if let Some(prefix) = &options.outfile_prefix {
            report.files = begun.files(prefix);
        }
        if options.format_only {
            return Ok(report);
        }
        for what in &options.metrics {
            match begun.before_counting(*what, &options, false, &mut report)? {
                Counting::Due => {}
                Counting::Done => continue,
                Counting::Nothing => break,
            }
            let mut max_dets = options.proposal_nums.clone();
            max_dets.sort_unstable();
            let protocol = Protocol {
                thresholds: options.iou_thrs.clone(),
                max_dets,
                by_category: *what != What::Proposal,
                masks: *what == What::Segm,
                ..Protocol::coco(begun.labels.clone())
            };
            let evaluated = evaluate(&begun.truth, &begun.pictures(), &begun.labels, protocol);
            let evaluated = evaluated.map_err(EvaluateError::Broken)?;
            figures(&options, &begun, *what, &evaluated, &mut report);
        }
        Ok(report.prefixed(&options.prefix))
    }
}

fn figures(
    options: &Options,
    begun: &Begun<'_>,
    what: What,
    evaluated: &Evaluated,
    report: &mut Report,
) {
    let summary = match options.each_num {
        true => evaluated.summary_of_each(),
        false => evaluated.summary(),
    };
    let lines: Vec<String> = summary.iter().map(ToString::to_string).collect();
    let name = what.name();
    report.texts.push(format!("{name}\n{}", lines.join("\n")));
    let stat = |item: &str| {
        let at = ITEMS.iter().position(|known| *known == item);
        // with fewer numbers there are fewer recalls
        let at = at.and_then(|at| match at {
            9.. => Some(summary.len() + at - ITEMS.len()),
            6.. if at >= summary.len() - 3 => None,
            at => Some(at),
        });
        at.map_or(-1.0, |at| summary[at].value)
    };
    let chosen = |default: &[&str]| match &options.metric_items {
        Some(items) => items.clone(),
        None => default.iter().map(|item| (*item).to_owned()).collect(),
    };
    if what == What::Proposal {
        for item in chosen(&ITEMS[6..]) {
            let value = three_digits(stat(&item));
            report.set(item, value);
        }
        return;
    }
    if options.classwise {
        let (rows, precisions) = class_table(begun, evaluated);
        report.texts.push(ascii(&rows, false));
        precisions
            .into_iter()
            .for_each(|(name, value)| report.set(name, value));
    }
    for item in chosen(&ITEMS[..6]) {
        report.set(format!("{name}_{item}"), thousandths(stat(&item)));
    }
    let copy = ITEMS[..6].iter().map(|item| format!("{:.3}", stat(item)));
    let copy = copy.collect::<Vec<_>>().join(" ");
    report.texts.push(format!("{name}_mAP_copypaste: {copy}"));
}

/// Rows of the class table, and `{class}_precision`.
fn class_table(begun: &Begun<'_>, evaluated: &Evaluated) -> (Vec<Vec<String>>, Vec<(String, f64)>) {
    let heading = [
        "category", "mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    let mut precisions = Vec::new();
    let places = evaluated.places();
    let last = evaluated.protocol.max_dets.len().checked_sub(1);
    for category in &begun.labels {
        let name = &begun.truth.categories()[*category].name;
        let group = places.get(category).copied();
        let mean = |threshold, area| {
            let mean = evaluated.mean(Of::Precision, threshold, area, last, group);
            if mean < 0.0 {
                f64::NAN
            } else {
                thousandths(mean)
            }
        };
        let values = [
            mean(None, 0),
            mean(Some(0.5), 0),
            mean(Some(0.75), 0),
            mean(None, 1),
            mean(None, 2),
            mean(None, AREA_NAMES.len() - 1),
        ];
        precisions.push((format!("{name}_precision"), values[0]));
        let cells = values.map(python);
        rows.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    (rows, precisions)
}
