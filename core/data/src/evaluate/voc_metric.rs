//! `VOCMetric` of mmdet 3.3 (evaluation/metrics/voc_metric.py). Ground truth is the data set's own: objects that it ignores (`difficult`)
//! neither count nor spoil anything.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::mean_ap::{ClassResult, EvalMode, Picture, mean, of_classes};
use super::table::{ascii, python, three_digits};
use super::{BuiltMetric, EvaluateError, Given, Metric, Report, recall};
use crate::sample::DataInfo;
use crate::structures::Instances;
use smalti_config::{Node, error_at, unsupported};

/// What is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum What {
    #[serde(rename = "mAP")]
    MeanAp,
    #[serde(rename = "recall")]
    Recall,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a metric or a list of one")]
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

#[derive(Deserialize)]
struct Config {
    iou_thrs: Option<Numbers>,
    scale_ranges: Option<IgnoredAny>,
    metric: Option<OneOrMore>,
    proposal_nums: Option<Vec<usize>>,
    eval_mode: Option<EvalMode>,
    /// There is one process.
    #[serde(rename = "collect_device")]
    _collect_device: Option<String>,
    prefix: Option<String>,
}

/// mAP or recall as PASCAL VOC counts.
#[derive(Debug)]
pub struct VOCMetric {
    what: What,
    thresholds: Vec<f64>,
    nums: Vec<usize>,
    mode: EvalMode,
    prefix: String,
    classes: Vec<String>,
    notes: Vec<String>,
    pictures: Vec<Picture>,
}

pub(super) fn build(node: &Node, given: Given<'_>) -> BuiltMetric {
    let config: Config = node.read()?;
    if config.scale_ranges.is_some() && node.get("scale_ranges").is_some_and(|n| !n.is_none()) {
        let message = "`scale_ranges` is not supported: MMDetection 3.3 fails with it";
        return Err(unsupported(node, "scale_ranges", message, "leave it out"));
    }
    let thresholds = match config.iou_thrs {
        None => vec![0.5],
        Some(Numbers::One(one)) => vec![one],
        Some(Numbers::More(all)) => all,
    };
    if thresholds.is_empty() || !thresholds.iter().all(|t| (0.0..=1.0).contains(t)) {
        let message = "`iou_thrs` must be numbers from 0 to 1";
        return Err(error_at(node, "iou_thrs", message, ""));
    }
    let what = match config.metric {
        None => What::MeanAp,
        Some(OneOrMore::One(what)) => what,
        Some(OneOrMore::More(list)) => match list[..] {
            [what] => what,
            _ => {
                let message = "`metric` must be one of 'mAP' and 'recall'";
                return Err(error_at(
                    node,
                    "metric",
                    message,
                    "write two metrics in the evaluator's list",
                ));
            }
        },
    };
    let mode = config.eval_mode.unwrap_or(EvalMode::ElevenPoints);
    let mut notes = Vec::new();
    for (year, own, name) in [
        ("VOC2007", EvalMode::ElevenPoints, "11points"),
        ("VOC2012", EvalMode::Area, "area"),
    ] {
        if given.meta.dataset_type.as_deref() == Some(year) && mode != own && what == What::MeanAp {
            notes.push(format!(
                "{year} is usually evaluated with eval_mode='{name}'"
            ));
        }
    }
    let metric = VOCMetric {
        what,
        thresholds,
        nums: config.proposal_nums.unwrap_or(vec![100, 300, 1000]),
        mode,
        prefix: config
            .prefix
            .filter(|p| !p.is_empty())
            .unwrap_or("pascal_voc".into()),
        classes: given.meta.classes.clone(),
        notes,
        pictures: Vec::new(),
    };
    Ok(given.files.map(|_| Box::new(metric) as Box<dyn Metric>))
}

impl Metric for VOCMetric {
    fn add(&mut self, info: &DataInfo, _: [usize; 2], found: &Instances) {
        let objects = info.instances.iter().filter_map(|object| {
            let label = usize::try_from(object.label).ok()?;
            Some((object.bbox, label, object.ignore))
        });
        let rows = found.boxes.iter().zip(&found.labels).zip(&found.scores);
        self.pictures.push(Picture {
            objects: objects.collect(),
            found: rows.map(|((b, l), s)| (*b, *l, *s)).collect(),
        });
    }

    fn forget(&mut self) {
        self.pictures.clear();
    }

    fn compute(&mut self) -> Result<Report, EvaluateError> {
        let pictures = std::mem::take(&mut self.pictures);
        if pictures.is_empty() {
            return Err(EvaluateError::Nothing);
        }
        let mut report = Report {
            notes: std::mem::take(&mut self.notes),
            ..Report::default()
        };
        match self.what {
            What::MeanAp => self.mean_ap(&pictures, &mut report),
            What::Recall => self.recall(&pictures, &mut report),
        }
        Ok(report.prefixed(&self.prefix))
    }
}

impl VOCMetric {
    fn mean_ap(&self, pictures: &[Picture], report: &mut Report) {
        let mut means = Vec::new();
        report.set("mAP".into(), 0.0);
        for threshold in &self.thresholds {
            let results = of_classes(pictures, self.classes.len(), *threshold, self.mode);
            let mean = mean(&results);
            let dashes = "-".repeat(15);
            report.texts.push(format!(
                "{dashes}iou_thr: {}{dashes}\n{}",
                python(*threshold),
                self.table(&results, mean)
            ));
            means.push(mean);
            // Python's `int` cuts: 0.58 * 100 is a little less than 58
            let name = format!("AP{:02}", (threshold * 100.0) as i64);
            report.set(name, three_digits(mean));
        }
        let sum: f64 = means.iter().sum();
        report.set("mAP".into(), sum / means.len() as f64);
    }

    fn table(&self, results: &[ClassResult], mean: f64) -> String {
        let heading = ["class", "gts", "dets", "recall", "ap"].map(String::from);
        let mut rows = vec![heading.to_vec()];
        for (name, result) in self.classes.iter().zip(results) {
            rows.push(vec![
                name.clone(),
                result.objects.to_string(),
                result.found.to_string(),
                format!("{:.3}", result.recall),
                format!("{:.3}", result.ap),
            ]);
        }
        let blank = String::new;
        rows.push(vec![
            "mAP".into(),
            blank(),
            blank(),
            blank(),
            format!("{mean:.3}"),
        ]);
        ascii(&rows, true)
    }

    fn recall(&self, pictures: &[Picture], report: &mut Report) {
        let all: Vec<recall::Picture> = pictures
            .iter()
            .map(|picture| {
                let objects = picture.objects.iter().filter(|o| !o.2).map(|o| o.0);
                // MMDetection takes those of the first class, best first, of equal ones the last
                let mut found: Vec<_> = picture.found.iter().filter(|d| d.1 == 0).collect();
                found.reverse();
                found.sort_by(|a, b| {
                    b.2.partial_cmp(&a.2)
                        .unwrap_or(a.2.is_nan().cmp(&b.2.is_nan()))
                });
                (objects.collect(), found.iter().map(|d| d.0).collect())
            })
            .collect();
        let recalls = recall::recalls(&all, &self.nums, &self.thresholds, 1.0);
        let mut rows = vec![
            std::iter::once(String::new())
                .chain(self.thresholds.iter().map(|t| python(*t)))
                .collect::<Vec<_>>(),
        ];
        for (num, row) in self.nums.iter().zip(&recalls) {
            let cells = row.iter().map(|v| format!("{v:.3}"));
            rows.push(std::iter::once(num.to_string()).chain(cells).collect());
            for (threshold, value) in self.thresholds.iter().zip(row) {
                report.set(format!("recall@{num}@{}", python(*threshold)), *value);
            }
        }
        report.texts.push(ascii(&rows, false));
        if self.thresholds.len() > 1 {
            for (num, row) in self.nums.iter().zip(&recalls) {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                report.set(format!("AR@{num}"), mean);
            }
        }
    }
}
