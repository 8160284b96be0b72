//! `LVISMetric` of mmdet 3.3 (evaluation/metrics/lvis_metric.py), which counts with lvis-api 0.5: at most 300 detections of a picture, whatever
//! `proposal_nums` says, and COCO's ten overlaps, whatever `iou_thrs` says (both are for `proposal_fast`).
//!
//! `proposal` tells categories apart, as MMDetection's does: it sets an option that lvis-api does not read.

use super::coco_eval::{AREA_NAMES, Evaluated, Judged, Protocol, evaluate};
use super::coco_metric::{Begun, CocoMetric, Counting, What, check_items, read};
use super::summary::Of;
use super::table::{ascii, thousandths, three_digits};
use super::{BuiltMetric, Detection, EvaluateError, Given, Metric, Report};
use crate::coco::Id;
use crate::sample::DataInfo;
use crate::structures::Instances;
use smalti_config::{Node, error_at};

/// Detections of a picture that count.
const MAX_DETS: usize = 300;

/// Names of lvis-api's results.
const ITEMS: [&str; 13] = [
    "AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300", "ARs@300", "ARm@300",
    "ARl@300",
];

/// AP as LVIS counts: of a picture only the categories that are known to be there or not.
#[derive(Debug)]
pub struct LVISMetric(CocoMetric);

pub(super) fn build(node: &Node, given: Given<'_>) -> BuiltMetric {
    let metric = read(node, given, "lvis", true)?;
    if node.get("ann_file").is_none_or(Node::is_none) {
        let message = "`LVISMetric` needs an `ann_file`: samples do not say which categories a picture was searched for";
        return Err(error_at(
            node,
            "type",
            message,
            "name the annotation file of the data set",
        ));
    }
    if let Some(items) = &metric.options.metric_items {
        check_items(node, items, &ITEMS)?;
    }
    Ok(given
        .files
        .map(|_| Box::new(LVISMetric(metric)) as Box<dyn Metric>))
}

impl Metric for LVISMetric {
    fn add(&mut self, info: &DataInfo, ori_shape: [usize; 2], found: &Instances) {
        self.0.keep(info, ori_shape, found);
    }

    fn forget(&mut self) {
        self.0.forget();
    }

    fn categories(&self) -> Option<Vec<Id>> {
        let categories = self.0.truth.as_ref()?.categories();
        Some(categories.iter().map(|c| c.id.clone()).collect())
    }

    fn compute(&mut self) -> Result<Report, EvaluateError> {
        let options = self.0.options.clone();
        let mut report = Report {
            notes: std::mem::take(&mut self.0.notes),
            ..Report::default()
        };
        let begun = self.0.begin(true)?;
        if let Some(prefix) = &options.outfile_prefix {
            report.files = begun.files(prefix);
        }
        if options.format_only {
            return Ok(report);
        }
        let pictures = begun.pictures();
        let limited: Vec<_> = pictures
            .iter()
            .map(|(i, found)| (*i, limit(found)))
            .collect();
        let pictures: Vec<Judged> = limited.iter().map(|(i, found)| (*i, &found[..])).collect();
        for what in &options.metrics {
            match begun.before_counting(*what, &options, true, &mut report)? {
                Counting::Due => {}
                Counting::Done => continue,
                Counting::Nothing => break,
            }
            let protocol = Protocol {
                max_dets: vec![MAX_DETS],
                masks: *what == What::Segm,
                federated: true,
                ..Protocol::coco(begun.labels.clone())
            };
            let evaluated = evaluate(&begun.truth, &pictures, &begun.labels, protocol);
            let evaluated = evaluated.map_err(EvaluateError::Broken)?;
            let results = results(&begun, &evaluated);
            let lines = results.iter().map(|(item, value)| line(item, *value));
            let text = lines.collect::<Vec<_>>().join("\n");
            report.texts.push(format!("{}\n{text}", what.name()));
            if options.classwise && *what != What::Proposal {
                let (rows, precisions) = class_table(&begun, &evaluated);
                report.texts.push(ascii(&rows, false));
                precisions
                    .into_iter()
                    .for_each(|(name, value)| report.set(name, value));
            }
            let default = if *what == What::Proposal {
                &ITEMS[9..]
            } else {
                &ITEMS[..9]
            };
            let wanted = |item: &str| match &options.metric_items {
                Some(items) => items.iter().any(|i| i == item),
                None => default.contains(&item),
            };
            for (item, value) in results.into_iter().filter(|(item, _)| wanted(item)) {
                let key = match what {
                    What::Proposal => item.to_owned(),
                    what => format!("{}_{item}", what.name()),
                };
                report.set(key, three_digits(value));
            }
        }
        Ok(report.prefixed(&options.prefix))
    }
}

/// The best of a picture's detections.
fn limit(found: &[Detection]) -> Vec<Detection> {
    let mut found = found.to_vec();
    if found.len() > MAX_DETS {
        found.sort_by(|a, b| {
            b.score
                .partial_cmp(&a.score)
                .unwrap_or(a.score.is_nan().cmp(&b.score.is_nan()))
        });
        found.truncate(MAX_DETS);
    }
    found
}

fn results(begun: &Begun<'_>, evaluated: &Evaluated) -> Vec<(&'static str, f64)> {
    let frequency = |group: usize| {
        let category = evaluated.protocol.categories[group];
        begun.truth.categories()[category].frequency
    };
    let mean = |of, threshold, area, of_frequency: Option<char>| {
        let groups = evaluated
            .every()
            .filter(|g| of_frequency.is_none() || frequency(*g) == of_frequency);
        evaluated.mean(of, threshold, area, Some(0), groups)
    };
    let ap = |threshold, area, of| mean(Of::Precision, threshold, area, of);
    let ar = |area| mean(Of::Recall, None, area, None);
    let values = [
        ap(None, 0, None),
        ap(Some(0.5), 0, None),
        ap(Some(0.75), 0, None),
        ap(None, 1, None),
        ap(None, 2, None),
        ap(None, 3, None),
        ap(None, 0, Some('r')),
        ap(None, 0, Some('c')),
        ap(None, 0, Some('f')),
        ar(0),
        ar(1),
        ar(2),
        ar(3),
    ];
    ITEMS.into_iter().zip(values).collect()
}

/// As lvis-api prints it.
fn line(item: &str, value: f64) -> String {
    let (title, short) = match item.starts_with("AP") {
        true => ("Average Precision", "(AP)"),
        false => ("Average Recall", "(AR)"),
    };
    let third = item.chars().nth(2);
    let iou = match third.filter(char::is_ascii_digit) {
        Some(_) => format!("0.{}", &item[2..]),
        None => "0.50:0.95".into(),
    };
    let group = third.filter(|c| "rcf".contains(*c));
    let area = third.filter(|c| "sml".contains(*c));
    let named = |letter: Option<char>| letter.map_or(AREA_NAMES[0].into(), String::from);
    let (group, area) = (named(group), named(area));
    format!(
        " {title:<18} {short} @[ IoU={iou:<9} | area={area:>6} | maxDets={MAX_DETS:>3} catIds={group:>3}] = {value:0.3}"
    )
}

/// Rows of the class table, up to three classes in each, and `{class}_precision`.
fn class_table(begun: &Begun<'_>, evaluated: &Evaluated) -> (Vec<Vec<String>>, Vec<(String, f64)>) {
    let places = evaluated.places();
    let of = |category: &usize| {
        let group = places.get(category).copied();
        let mean = evaluated.mean(Of::Precision, None, 0, Some(0), group);
        let ap = if mean < 0.0 { f64::NAN } else { mean };
        (begun.truth.categories()[*category].name.clone(), ap)
    };
    let all: Vec<(String, f64)> = begun.labels.iter().map(of).collect();
    let columns = all.len().min(3);
    let heading = ["category", "AP"].repeat(columns);
    let mut rows = vec![heading.into_iter().map(String::from).collect::<Vec<_>>()];
    for few in all.chunks(columns.max(1)) {
        let cells = few.iter().flat_map(|(name, ap)| {
            let shown = if ap.is_nan() {
                "nan".into()
            } else {
                format!("{ap:.3}")
            };
            [name.clone(), shown]
        });
        rows.push(cells.collect());
    }
    let precisions = all
        .iter()
        .map(|(name, ap)| (format!("{name}_precision"), thousandths(*ap)));
    (rows, precisions.collect())
}
