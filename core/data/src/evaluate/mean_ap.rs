//! Mean average precision as PASCAL VOC counts it: `eval_map` of mmdet 3.3 (evaluation/functional/mean_ap.py) with
//! `use_legacy_coordinate`, in f32 and f64 where it has them.
//!
//! Everingham et al. 2010 (The PASCAL Visual Object Classes Challenge, section 4.2). A detection looks only at the object that it overlaps most,
//! taken or not; of equal scores the earlier comes first (MMDetection leaves that to an unstable sort).

use super::parallel;
use super::recall::iou;
use crate::structures::Xyxy;

/// How a precision-recall curve becomes one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum EvalMode {
    /// The area below it (2010 and later).
    #[serde(rename = "area")]
    Area,
    /// The mean of the precision at the recalls 0, 0.1, ..., 1 (2007).
    #[serde(rename = "11points")]
    ElevenPoints,
}

/// An object: box, label, whether it is ignored.
pub type Object = (Xyxy, usize, bool);

/// One picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Objects: box, label, whether it is ignored (`difficult`).
    pub objects: Vec<Object>,
    /// Detections: box, label, score.
    pub found: Vec<(Xyxy, usize, f32)>,
}

/// What came out for a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassResult {
    /// Objects that count.
    pub objects: usize,
    /// Detections.
    pub found: usize,
    /// Of all detections.
    pub recall: f64,
    /// Average precision.
    pub ap: f32,
}

/// Average precision of each of `classes` classes, at an overlap of at least `threshold`.
pub fn of_classes(
    pictures: &[Picture],
    classes: usize,
    threshold: f64,
    mode: EvalMode,
) -> Vec<ClassResult> {
    // what each picture has of each class
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (i, picture) in pictures.iter().enumerate() {
        let labels = picture.objects.iter().map(|o| o.1);
        let labels = labels.chain(picture.found.iter().map(|d| d.1));
        for label in labels.filter(|l| *l < classes) {
            if by_class[label].last() != Some(&i) {
                by_class[label].push(i);
            }
        }
    }
    parallel::each(classes, |class| {
        let mut judged: Vec<(f32, Fate)> = Vec::new();
        let mut objects = 0;
        for picture in by_class[class].iter().map(|i| &pictures[*i]) {
            objects += judge(picture, class, threshold, &mut judged);
        }
        judged.sort_by(|a, b| {
            b.0.partial_cmp(&a.0)
                .unwrap_or(a.0.is_nan().cmp(&b.0.is_nan()))
        });
        let (mut hits, mut misses) = (0_u32, 0_u32);
        let (mut recalls, mut precisions) = (Vec::new(), Vec::new());
        for (_, fate) in &judged {
            hits += u32::from(*fate == Fate::Hit);
            misses += u32::from(*fate == Fate::Miss);
            let count = (objects as f64).max(f64::from(f32::EPSILON));
            recalls.push(f64::from(hits) / count);
            precisions.push(hits as f32 / ((hits + misses) as f32).max(f32::EPSILON));
        }
        ClassResult {
            objects,
            found: judged.len(),
            recall: recalls.last().copied().unwrap_or(0.0),
            ap: average(&recalls, &precisions, mode),
        }
    })
}

/// The mean over classes with objects, in f32 as numpy gives it; 0 if there are none.
pub fn mean(classes: &[ClassResult]) -> f64 {
    let with = classes.iter().filter(|c| c.objects > 0);
    let (sum, count) = with.fold((0.0, 0), |(s, n), c| (s + f64::from(c.ap), n + 1));
    if count == 0 {
        return 0.0;
    }
    f64::from((sum / f64::from(count)) as f32)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Hit,
    Miss,
    Ignored,
}

/// `tpfp_default`; gives the number of objects that count.
fn judge(picture: &Picture, class: usize, threshold: f64, out: &mut Vec<(f32, Fate)>) -> usize {
    let of_class = picture.objects.iter().filter(|o| o.1 == class);
    // those that are ignored come last
    let (counted, ignored): (Vec<_>, Vec<_>) = of_class.partition(|o| !o.2);
    let objects: Vec<Xyxy> = counted
        .iter()
        .chain(&ignored)
        .copied()
        .map(|o: &Object| o.0)
        .collect();
    let found: Vec<_> = picture.found.iter().filter(|d| d.1 == class).collect();
    let mut order: Vec<usize> = (0..found.len()).collect();
    let score = |i: usize| found[i].2;
    order.sort_by(|a, b| {
        let [a, b] = [*a, *b].map(score);
        b.partial_cmp(&a).unwrap_or(a.is_nan().cmp(&b.is_nan()))
    });
    let mut fates = vec![Fate::Miss; found.len()];
    let mut taken = vec![false; objects.len()];
    for i in order {
        let mut best: Option<(usize, f32)> = None;
        for (j, object) in objects.iter().enumerate() {
            let iou = iou(&found[i].0, object, 1.0);
            if best.is_none_or(|(_, most)| iou > most) {
                best = Some((j, iou));
            }
        }
        let Some((j, _)) = best.filter(|(_, iou)| f64::from(*iou) >= threshold) else {
            continue;
        };
        if j >= counted.len() {
            fates[i] = Fate::Ignored;
        } else if !taken[j] {
            taken[j] = true;
            fates[i] = Fate::Hit;
        }
    }
    out.extend(found.iter().zip(fates).map(|(d, fate)| (d.2, fate)));
    counted.len()
}

/// `average_precision`.
fn average(recalls: &[f64], precisions: &[f32], mode: EvalMode) -> f32 {
    match mode {
        EvalMode::Area => {
            let (mut most, mut sum) = (0.0_f64, 0.0);
            for i in (0..recalls.len()).rev() {
                most = most.max(f64::from(precisions[i]));
                let before = i.checked_sub(1).map_or(0.0, |b| recalls[b]);
                sum += (recalls[i] - before) * most;
            }
            sum as f32
        }
        EvalMode::ElevenPoints => {
            let mut sum = 0.0_f32;
            for i in 0..11 {
                let wanted = f64::from(i) * 0.1;
                let reached = recalls
                    .iter()
                    .zip(precisions)
                    .filter(|(r, _)| **r >= wanted);
                sum += reached.map(|(_, p)| *p).fold(0.0, f32::max);
            }
            sum / 11.0
        }
    }
}
