//! What a detector does wrong: tables by class and size, precision against recall, kinds of errors, what is taken for what, the worst pictures.
//!
//! Kinds of errors are those of <https://cocodataset.org/#detection-eval> as mmdet 3.3 counts them (tools/analysis_tools/coco_error_analysis.py):
//! precision is drawn once more with one kind of error after the other forgiven. The confusion matrix is that of its `confusion_matrix.py`, but that crowds
//! are left out.

use std::collections::HashMap;

use serde::Serialize;

use super::coco_eval::{
    AREA_NAMES, Confusions, Curve, Evaluated, Judged, Protocol, RECALLS, evaluate, recall_at,
};
use super::matching::{iou_of_boxes, iou_of_runs};
use super::results_file::Results;
use super::summary::Of;
use super::truth::Truth;
use super::{AREAS, Detection, parallel};

/// Detections of a picture that are looked at, for the confusion matrix and the worst pictures.
const MOST_FOUND: usize = 1000;
/// Classes in a confusion matrix.
const MOST_CONFUSED: usize = 1000;
/// Classes of which there are curves; each takes some 50 KB.
const MOST_CLASSES: usize = 20_000;

/// How it is analysed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnalyzeOptions {
    /// Masks are compared, else boxes.
    pub masks: bool,
    /// Detections with a lower score are not looked at for the confusion matrix and the worst pictures.
    pub score_thr: f64,
    /// Overlap from which on an object counts as found there.
    pub iou_thr: f64,
    /// How many of the worst pictures are named.
    pub worst: usize,
}

/// Names of the kinds of errors, in the order in which they are forgiven.
pub const KINDS: [&str; 7] = ["C75", "C50", "Loc", "Sim", "Oth", "BG", "FN"];

/// What the kinds mean.
pub const KINDS_MEAN: [&str; 7] = [
    "precision at an overlap of 0.75",
    "at an overlap of 0.5",
    "badly placed objects forgiven: at an overlap of 0.1",
    "what is taken for another class of its supercategory forgiven too",
    "what is taken for any other class forgiven too",
    "what lies on no object forgiven too",
    "what is missed forgiven too",
];

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Analysis {
    /// pycocotools' twelve figures: name and value.
    pub summary: Vec<(String, f64)>,
    /// By class, in the file's order.
    pub classes: Vec<ClassRow>,
    /// By size.
    pub sizes: Vec<SizeRow>,
    /// Recalls at which the curves have precision.
    pub recalls: Vec<f64>,
    /// Kinds of errors, of all classes and of each.
    pub errors: Vec<Errors>,
    /// What is taken for what.
    pub confusion: Confusion,
    /// The worst first.
    pub worst: Vec<PictureRow>,
}

/// Figures of a class; `None` where no object counts.
#[derive(Clone, Debug, Serialize)]
pub struct ClassRow {
    /// Its name.
    pub name: String,
    /// Objects that count.
    pub objects: usize,
    /// Detections.
    pub detections: usize,
    /// Mean over ten overlaps.
    pub ap: Option<f64>,
    /// At an overlap of 0.5.
    pub ap_50: Option<f64>,
    /// At an overlap of 0.75.
    pub ap_75: Option<f64>,
    /// Of small objects.
    pub ap_small: Option<f64>,
    /// Of medium objects.
    pub ap_medium: Option<f64>,
    /// Of large objects.
    pub ap_large: Option<f64>,
    /// Average recall with 100 detections of a picture.
    pub ar: Option<f64>,
    /// Precision at [`Analysis::recalls`], at an overlap of 0.5; empty where no object counts.
    pub precision_50: Vec<f64>,
    /// Scores at these recalls.
    pub score_50: Vec<f64>,
}

/// Figures of a range of sizes.
#[derive(Clone, Debug, Serialize)]
pub struct SizeRow {
    /// `all`, `small`, `medium` or `large`.
    pub name: String,
    /// Objects that count.
    pub objects: usize,
    /// Mean over ten overlaps and the classes.
    pub ap: Option<f64>,
    /// At an overlap of 0.5.
    pub ap_50: Option<f64>,
    /// At an overlap of 0.75.
    pub ap_75: Option<f64>,
    /// Average recall.
    pub ar: Option<f64>,
}

/// Kinds of errors of a class and a range of sizes.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// The class, or `all classes`.
    pub name: String,
    /// `all`, `small`, `medium` or `large`.
    pub area: &'static str,
    /// Mean precision with these errors forgiven, in the order of [`KINDS`].
    pub ap: [f64; 7],
    /// Precision at [`Analysis::recalls`], in the same order.
    pub curves: [Vec<f64>; 7],
}

/// What is taken for what. The last row are detections on no object, the last column objects that no detection lies on.
#[derive(Clone, Debug, Serialize)]
pub struct Confusion {
    /// Classes, then `background`; of more than 1,000 those with most objects.
    pub names: Vec<String>,
    /// `[ground truth][prediction]`.
    pub counts: Vec<Vec<u64>>,
}

/// What went wrong in a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PictureRow {
    /// Its id, as JSON has it.
    pub id: String,
    /// Its file.
    pub file_name: String,
    /// Objects that count.
    pub objects: usize,
    /// Found.
    pub found: usize,
    /// Objects that nothing found.
    pub missed: usize,
    /// Detections on an object that a better one found.
    pub twice: usize,
    /// Detections on an object of another class.
    pub wrong_class: usize,
    /// Detections that overlap an object of their class too little.
    pub badly_placed: usize,
    /// Detections on nothing.
    pub on_nothing: usize,
}

impl PictureRow {
    /// All that went wrong.
    pub fn errors(&self) -> usize {
        self.missed + self.twice + self.wrong_class + self.badly_placed + self.on_nothing
    }
}

/// Analyses results.
///
/// # Errors
/// A mask that cannot be read; more than 20,000 categories.
pub fn analyze(
    truth: &Truth,
    results: &Results,
    options: AnalyzeOptions,
) -> Result<Analysis, String> {
    if truth.categories().len() > MOST_CLASSES {
        return Err(format!(
            "the annotations have {} categories, at most {MOST_CLASSES} can be analysed",
            truth.categories().len()
        ));
    }
    let pictures: Vec<Judged> = results
        .pictures
        .iter()
        .map(|p| &p[..])
        .enumerate()
        .collect();
    let labels: Vec<usize> = (0..truth.categories().len()).collect();
    let count = |thresholds: Option<Vec<f64>>, confusions: Confusions| {
        let mut protocol = Protocol {
            masks: options.masks,
            curves: true,
            confusions,
            ..Protocol::coco(truth.distinct())
        };
        if let Some(thresholds) = thresholds {
            protocol.thresholds = thresholds;
            protocol.max_dets = vec![100];
        }
        evaluate(truth, &pictures, &labels, protocol)
    };
    let whole = count(None, Confusions::Count)?;
    let loose = [
        Confusions::Count,
        Confusions::ForgiveSimilar,
        Confusions::Forgive,
    ];
    let loose = loose.map(|confusions| count(Some(vec![0.1]), confusions));
    let [placed, similar, any] = loose;
    let loose = [placed?, similar?, any?];
    let looked = Looked {
        truth,
        options,
        results,
    };
    let (confusion, mut worst) = looked.pictures()?;
    worst.retain(|row| row.errors() > 0);
    worst.sort_by(|a, b| {
        let worse = b.errors().cmp(&a.errors());
        worse.then_with(|| a.file_name.cmp(&b.file_name))
    });
    worst.truncate(options.worst);
    let names = [
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
    ];
    let summary = names.iter().zip(whole.summary());
    Ok(Analysis {
        summary: summary.map(|(n, line)| ((*n).into(), line.value)).collect(),
        classes: classes(truth, &whole),
        sizes: sizes(&whole),
        recalls: (0..RECALLS).map(recall_at).collect(),
        errors: errors(truth, &whole, &loose),
        confusion,
        worst,
    })
}

/// `None` for -1.
fn there(value: f64) -> Option<f64> {
    (value >= 0.0).then_some(value)
}

fn classes(truth: &Truth, whole: &Evaluated) -> Vec<ClassRow> {
    let categories = &whole.protocol.categories;
    let mut rows: Vec<(usize, ClassRow)> = Vec::new();
    for (at, (group, category)) in whole.groups.iter().zip(categories).enumerate() {
        let mean = |of, threshold, area| there(whole.mean(of, threshold, area, Some(2), [at]));
        let ap = |threshold, area| mean(Of::Precision, threshold, area);
        let curve = group.curves[0].first().cloned().unwrap_or_default();
        rows.push((
            *category,
            ClassRow {
                name: truth.categories()[*category].name.clone(),
                objects: group.objects[0],
                detections: group.detections,
                ap: ap(None, 0),
                ap_50: ap(Some(0.5), 0),
                ap_75: ap(Some(0.75), 0),
                ap_small: ap(None, 1),
                ap_medium: ap(None, 2),
                ap_large: ap(None, 3),
                ar: mean(Of::Recall, None, 0),
                precision_50: curve.precision,
                score_50: curve.score,
            },
        ));
    }
    rows.sort_by_key(|(category, _)| *category);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn sizes(whole: &Evaluated) -> Vec<SizeRow> {
    let row = |area: usize| {
        let mean = |of, threshold| there(whole.mean(of, threshold, area, Some(2), whole.every()));
        SizeRow {
            name: AREA_NAMES[area].into(),
            objects: whole.groups.iter().map(|g| g.objects[area]).sum(),
            ap: mean(Of::Precision, None),
            ap_50: mean(Of::Precision, Some(0.5)),
            ap_75: mean(Of::Precision, Some(0.75)),
            ar: mean(Of::Recall, None),
        }
    };
    (0..AREAS).map(row).collect()
}

/// For all classes and each. As in MMDetection, a class without objects has a precision of 0 wherever one is asked for, and counts in the mean.
fn errors(truth: &Truth, whole: &Evaluated, loose: &[Evaluated; 3]) -> Vec<Errors> {
    let at = |threshold: f64| {
        let all = whole.protocol.thresholds.iter();
        all.zip(0..)
            .find(|(t, _)| **t == threshold)
            .map_or(0, |(_, i)| i)
    };
    let of = |evaluated: &Evaluated, group: usize, area: usize, threshold: usize| {
        let curve: Option<&Curve> = evaluated.groups[group].curves[area].get(threshold);
        curve.map_or_else(|| vec![0.0; RECALLS], |c| c.precision.clone())
    };
    let class = |group: usize, area: usize| {
        let forgiven = of(&loose[2], group, area, 0);
        let on_objects = forgiven.iter().map(|p| f64::from(*p > 0.0)).collect();
        [
            of(whole, group, area, at(0.75)),
            of(whole, group, area, at(0.5)),
            of(&loose[0], group, area, 0),
            of(&loose[1], group, area, 0),
            forgiven,
            on_objects,
            vec![1.0; RECALLS],
        ]
    };
    let named = |name: String, area: usize, curves: [Vec<f64>; 7]| Errors {
        name,
        area: AREA_NAMES[area],
        ap: std::array::from_fn(|k| curves[k].iter().sum::<f64>() / RECALLS as f64),
        curves,
    };
    let groups = whole.groups.len();
    let mut out = Vec::new();
    for area in 0..AREAS {
        let mut sum: [Vec<f64>; 7] = std::array::from_fn(|_| vec![0.0; RECALLS]);
        for group in 0..groups {
            for (sum, own) in sum.iter_mut().zip(class(group, area)) {
                let share = own.iter().map(|v| v / groups as f64);
                sum.iter_mut().zip(share).for_each(|(s, v)| *s += v);
            }
        }
        out.push(named("all classes".into(), area, sum));
    }
    for (group, category) in whole.protocol.categories.iter().enumerate() {
        let name = &truth.categories()[*category].name;
        out.push(named(name.clone(), 0, class(group, 0)));
    }
    out
}

/// A look at every picture.
struct Looked<'a> {
    truth: &'a Truth,
    options: AnalyzeOptions,
    results: &'a Results,
}

impl Looked<'_> {
    fn pictures(&self) -> Result<(Confusion, Vec<PictureRow>), String> {
        let truth = self.truth;
        let background = truth.categories().len();
        let seen = parallel::each(truth.images().len(), |image| self.picture(image));
        let (mut pairs, mut rows) = (HashMap::<[usize; 2], u64>::new(), Vec::new());
        for seen in seen {
            let (row, own) = seen?;
            own.into_iter()
                .for_each(|pair| *pairs.entry(pair).or_default() += 1);
            rows.push(row);
        }
        let mut objects = vec![0_usize; background];
        for image in 0..truth.images().len() {
            let own = truth.objects(image).iter();
            own.for_each(|object| objects[object.category] += 1);
        }
        let mut shown = truth.distinct();
        shown.sort_by_key(|c| (std::cmp::Reverse(objects[*c]), *c));
        shown.truncate(MOST_CONFUSED);
        shown.sort_unstable();
        let names = shown.iter().map(|c| truth.categories()[*c].name.clone());
        let names = names.chain(["background".into()]).collect();
        shown.push(background);
        let row = |gt: &usize| {
            let count = |dt: &usize| pairs.get(&[*gt, *dt]).copied().unwrap_or(0);
            shown.iter().map(count).collect()
        };
        let counts = shown.iter().map(row).collect();
        Ok((Confusion { names, counts }, rows))
    }

    /// What went wrong in a picture, and every pair of classes (object, detection) that lie on each other.
    fn picture(&self, image: usize) -> Result<(PictureRow, Vec<[usize; 2]>), String> {
        let (truth, options) = (self.truth, self.options);
        let background = truth.categories().len();
        let told = &truth.images()[image];
        let objects = truth.objects(image);
        let runs = objects.iter().map(|object| match options.masks {
            true => truth.runs(image, object).map(Some),
            false => Ok(None),
        });
        let runs = runs.collect::<Result<Vec<_>, _>>().map_err(|e| {
            let name = &told.file_name;
            format!("an object of the picture {name}: {e}")
        })?;
        let overlap = |found: &Detection, i: usize| match (&runs[i], &found.mask) {
            (Some(gt), Some(dt)) => iou_of_runs(dt, gt, objects[i].crowd),
            _ => iou_of_boxes(
                found.bbox,
                objects[i].bbox.unwrap_or_default(),
                objects[i].crowd,
            ),
        };
        let mut row = PictureRow {
            id: told.id.as_ref().map_or("null".into(), |id| id.json()),
            file_name: told.file_name.clone(),
            objects: objects.iter().filter(|o| !o.crowd).count(),
            ..PictureRow::default()
        };
        let all = self.results.pictures[image].iter();
        let mut found: Vec<&Detection> = all.filter(|d| d.score >= options.score_thr).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MOST_FOUND);
        let (mut pairs, mut taken) = (Vec::new(), vec![false; objects.len()]);
        let mut met = vec![false; objects.len()];
        for detection in found {
            let near: Vec<(usize, f64)> = (0..objects.len())
                .map(|i| (i, overlap(detection, i)))
                .filter(|(_, iou)| *iou > 0.0)
                .collect();
            let own = |i: usize| objects[i].category == detection.label;
            let there = |least: f64, wanted: &dyn Fn(usize) -> bool| {
                let fits = near.iter().filter(|(i, iou)| *iou >= least && wanted(*i));
                fits.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| *i)
            };
            let least = options.iou_thr;
            let (mut any, mut crowd) = (false, false);
            for (i, _) in near.iter().filter(|(_, iou)| *iou >= least) {
                if objects[*i].crowd {
                    crowd |= own(*i);
                    continue;
                }
                any = true;
                met[*i] |= own(*i);
                pairs.push([objects[*i].category, detection.label]);
            }
            if !any && !crowd {
                pairs.push([background, detection.label]);
            }
            let counts = |i: usize| !objects[i].crowd;
            if let Some(i) = there(least, &|i| own(i) && counts(i) && !taken[i]) {
                taken[i] = true;
                row.found += 1;
            } else if crowd {
                // a crowd may be found any number of times
            } else if there(least, &|i| own(i) && counts(i)).is_some() {
                row.twice += 1;
            } else if any {
                row.wrong_class += 1;
            } else if there(0.1, &|i| own(i) && counts(i)).is_some() {
                row.badly_placed += 1;
            } else {
                row.on_nothing += 1;
            }
        }
        for (i, object) in objects.iter().enumerate().filter(|(_, o)| !o.crowd) {
            row.missed += usize::from(!taken[i]);
            if !met[i] {
                pairs.push([object.category, background]);
            }
        }
        Ok((row, pairs))
    }
}
