//! Average precision and recall as COCO counts them: pycocotools' `COCOeval` for boxes, masks and proposals, and with
//! [`Protocol::federated`] lvis-api's `LVISEval`. Equal to both to 1e-10.
//!
//! Lin et al. 2014 (arXiv 1405.0312), <https://cocodataset.org/#detection-eval>; Gupta et al. 2019 (arXiv 1908.03195) for LVIS.
//!
//! First every picture is judged (`matching`), pictures in parallel; then every category (`accumulate`), categories in parallel. What is kept of a category is a mean for each threshold, range of sizes and
//! number of detections: little, however many categories a file has.

use std::collections::BTreeSet;

use super::accumulate::accumulate;
use super::matching::{AREAS, Dt, Fate, Gt, Rules};
use super::truth::{Object, Truth};
use super::{Detection, parallel};

/// Names of the ranges of sizes.
pub const AREA_NAMES: [&str; AREAS] = ["all", "small", "medium", "large"];
/// The ranges, px².
pub const AREA_RANGES: [[f64; 2]; AREAS] =
    [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];
/// Recalls at which precision is looked at: 0, 0.01, ..., 1.
pub const RECALLS: usize = 101;
/// Thresholds that fit.
pub const MOST_THRESHOLDS: usize = 32;
/// Pictures that one thread takes at a time.
const CHUNK: usize = 16;

/// 0.5, 0.55, ..., 0.95, as numpy's `linspace` has them.
pub fn standard_thresholds() -> Vec<f64> {
    let step = (0.95 - 0.5) / 9.0;
    let mut all: Vec<f64> = (0..10).map(|i| f64::from(i) * step + 0.5).collect();
    all[9] = 0.95;
    all
}

/// The recalls, as numpy's `linspace` has them.
pub fn recall_at(i: usize) -> f64 {
    if i + 1 == RECALLS {
        1.0
    } else {
        i as f64 * 0.01
    }
}

/// How to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Overlaps from which on an object is found; at most [`MOST_THRESHOLDS`].
    pub thresholds: Vec<f64>,
    /// How many detections of a picture (and category) count, in rising order.
    pub max_dets: Vec<usize>,
    /// Categories by their index in [`Truth::categories`].
    pub categories: Vec<usize>,
    /// Each category for itself; else an object of any category is found by a detection of any.
    pub by_category: bool,
    /// Masks are compared, else boxes.
    pub masks: bool,
    /// LVIS: of a picture only the categories count that are known to be there or not to be there; where not all are annotated, detections that
    /// find nothing do not count. Crowds are ordinary, `ignore` counts, and a detection's area is its box's.
    pub federated: bool,
    /// Keep precision at every recall, for the most detections.
    pub curves: bool,
    /// What a detection is worth that lies on an object of another category.
    pub confusions: Confusions,
}

/// What a detection is worth that lies on an object of another category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confusions {
    /// It is as false as any.
    #[default]
    Count,
    /// It does not count if both categories have one `supercategory`.
    ForgiveSimilar,
    /// It does not count.
    Forgive,
}

impl Protocol {
    /// COCO's own for boxes of these categories: ten thresholds, 1, 10 and 100 detections.
    pub fn coco(categories: Vec<usize>) -> Self {
        Self {
            thresholds: standard_thresholds(),
            max_dets: vec![1, 10, 100],
            categories,
            by_category: true,
            masks: false,
            federated: false,
            curves: false,
            confusions: Confusions::Count,
        }
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// How it was counted; the categories in the order of their ids.
    pub protocol: Protocol,
    /// One entry a category; one for all if they are not told apart.
    pub groups: Vec<Group>,
}

/// Of one category.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Objects that count, for each range of sizes.
    pub objects: [usize; AREAS],
    /// Detections that were looked at.
    pub detections: usize,
    /// `[area * max_dets.len() + max_dets]`; `None` where no object counts.
    pub cells: Vec<Option<Cell>>,
    /// `[area][thresholds]`, if they were wanted; without an object none.
    pub curves: Vec<Vec<Curve>>,
}

/// Of one category, range of sizes and number of detections; each list has one entry a threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Mean over the recalls.
    pub precision: Vec<f64>,
    /// Of all detections.
    pub recall: Vec<f64>,
}

/// Precision against recall.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Highest precision at this recall or a higher one; [`RECALLS`] entries, 0 where it is not reached.
    pub precision: Vec<f64>,
    /// Score with which the recall is reached; 0 where it is not.
    pub score: Vec<f64>,
}

/// Detections of one picture: its index in [`Truth::images`], and they.
pub type Judged<'a> = (usize, &'a [Detection]);

/// A detection after its picture was judged.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    group: u32,
    /// Its place among its picture's, best first.
    pub place: u32,
    pub score: f64,
    pub fate: Fate,
}

/// Counts. [`Detection::label`]s are indices into `labels`, which has indices of categories.
///
/// # Errors
/// A mask that cannot be read, or a label that is none.
pub fn evaluate(
    truth: &Truth,
    pictures: &[Judged<'_>],
    labels: &[usize],
    mut protocol: Protocol,
) -> Result<Evaluated, String> {
    assert!(
        (1..=MOST_THRESHOLDS).contains(&protocol.thresholds.len()),
        "1 to 32 thresholds"
    );
    let id = |c: &usize| &truth.categories()[*c].id;
    protocol.categories.sort_by(|a, b| id(a).cmp(id(b)));
    protocol.categories.dedup();
    let mut detections = vec![Vec::new(); truth.images().len()];
    for (image, found) in pictures {
        detections[*image].extend(found.iter());
    }
    // Equal scores stay in the order of pictures, which is that of their ids.
    let mut order: Vec<usize> = (0..truth.images().len()).collect();
    order.sort_by(|a, b| truth.images()[*a].id.cmp(&truth.images()[*b].id));
    let groups = if protocol.by_category {
        protocol.categories.len()
    } else {
        1
    };
    let pass = Pass::new(truth, labels, &protocol);
    let chunks: Vec<&[usize]> = order.chunks(CHUNK).collect();
    let judged = parallel::each(chunks.len(), |i| {
        let mut out = Part::default();
        for image in chunks[i] {
            pass.picture(*image, &detections[*image], &mut out)?;
        }
        Ok::<_, String>(out)
    });
    let mut objects = vec![[0; AREAS]; groups];
    let mut ends = vec![0; groups + 1];
    let judged = judged.into_iter().collect::<Result<Vec<_>, _>>()?;
    for part in &judged {
        for (group, counts) in &part.objects {
            let sum = &mut objects[*group];
            *sum = std::array::from_fn(|i| sum[i] + counts[i]);
        }
        part.counted
            .iter()
            .for_each(|c| ends[c.group as usize + 1] += 1);
    }
    for i in 0..groups {
        ends[i + 1] += ends[i];
    }
    let mut at = ends.clone();
    let mut all = vec![None; ends[groups]];
    for counted in judged.iter().flat_map(|part| &part.counted) {
        let at = &mut at[counted.group as usize];
        all[*at] = Some(*counted);
        *at += 1;
    }
    drop(judged);
    let all: Vec<Counted> = all.into_iter().flatten().collect();
    let groups = parallel::each(groups, |group| {
        accumulate(
            &all[ends[group]..ends[group + 1]],
            objects[group],
            &protocol,
        )
    });
    Ok(Evaluated { protocol, groups })
}

#[derive(Default)]
struct Part {
    counted: Vec<Counted>,
    objects: Vec<(usize, [usize; AREAS])>,
}

/// What judging a picture needs.
struct Pass<'a> {
    truth: &'a Truth,
    labels: &'a [usize],
    protocol: &'a Protocol,
    /// Place of each category among those that count.
    ranks: Vec<Option<u32>>,
}

/// An object or a detection on its way: group, rank of its category, place.
type Entry = (u32, u32, usize);

impl<'a> Pass<'a> {
    fn new(truth: &'a Truth, labels: &'a [usize], protocol: &'a Protocol) -> Self {
        let mut ranks = vec![None; truth.categories().len()];
        for (rank, category) in protocol.categories.iter().enumerate() {
            ranks[*category] = Some(rank as u32);
        }
        Self {
            truth,
            labels,
            protocol,
            ranks,
        }
    }

    fn group(&self, rank: u32) -> u32 {
        if self.protocol.by_category { rank } else { 0 }
    }

    fn picture(&self, image: usize, found: &[&Detection], out: &mut Part) -> Result<(), String> {
        let (truth, protocol) = (self.truth, self.protocol);
        let told = &truth.images()[image];
        let objects = truth.objects(image);
        let mut gts: Vec<Entry> = Vec::with_capacity(objects.len());
        for (i, object) in objects.iter().enumerate() {
            let wanted = protocol.masks || object.bbox.is_some();
            if let Some(rank) = self.ranks[object.category].filter(|_| wanted) {
                gts.push((self.group(rank), rank, i));
            }
        }
        let mut dts: Vec<Entry> = Vec::with_capacity(found.len());
        for (i, detection) in found.iter().enumerate() {
            let category = self.labels.get(detection.label).copied();
            let category = category.ok_or_else(|| {
                format!(
                    "a detection has the label {}, but only {} classes are known",
                    detection.label,
                    self.labels.len()
                )
            })?;
            let known = !protocol.federated
                || told.negative.contains(&category)
                || objects.iter().any(|o| o.category == category);
            if let Some(rank) = self.ranks[category].filter(|_| known) {
                dts.push((self.group(rank), rank, i));
            }
        }
        self.confuse(objects, &dts, &mut gts);
        gts.sort_unstable();
        let better = |a: usize, b: usize| {
            let [a, b] = [a, b].map(|i| found[i].score);
            // what is no number comes last
            b.partial_cmp(&a).unwrap_or(a.is_nan().cmp(&b.is_nan()))
        };
        dts.sort_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| better(a.2, b.2))
                .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        });
        let (mut gts, mut dts) = (&gts[..], &dts[..]);
        while let Some(group) = gts
            .first()
            .into_iter()
            .chain(dts.first())
            .map(|e| e.0)
            .min()
        {
            let end = |list: &[Entry]| list.iter().position(|e| e.0 != group).unwrap_or(list.len());
            let (own_gts, rest) = gts.split_at(end(gts));
            gts = rest;
            let (own_dts, rest) = dts.split_at(end(dts));
            dts = rest;
            let most = protocol.max_dets.last().copied().unwrap_or(usize::MAX);
            let own_dts = &own_dts[..own_dts.len().min(most)];
            self.judge(image, group, own_gts, own_dts, found, out)?;
        }
        Ok(())
    }

    /// Objects of other categories that detections may lie on.
    fn confuse(&self, objects: &[Object], dts: &[Entry], gts: &mut Vec<Entry>) {
        let confusions = self.protocol.confusions;
        if confusions == Confusions::Count {
            return;
        }
        let groups: BTreeSet<u32> = dts.iter().map(|e| e.0).collect();
        for group in groups {
            let own = self.protocol.categories[group as usize];
            for (i, object) in objects.iter().enumerate() {
                let usable = self.protocol.masks || object.bbox.is_some();
                if object.category == own || !usable {
                    continue;
                }
                let above = |c: usize| self.truth.categories()[c].supercategory.as_deref();
                let similar = above(own).is_some() && above(own) == above(object.category);
                if similar || confusions == Confusions::Forgive {
                    gts.push((group, group, i));
                }
            }
        }
    }

    fn judge(
        &self,
        image: usize,
        group: u32,
        gts: &[Entry],
        dts: &[Entry],
        found: &[&Detection],
        out: &mut Part,
    ) -> Result<(), String> {
        let (truth, protocol) = (self.truth, self.protocol);
        let objects = truth.objects(image);
        let of = || {
            let id = truth.images()[image].id.as_ref();
            id.map_or("a picture".into(), |id| format!("the picture {id}"))
        };
        let gts = gts.iter().map(|(_, _, i)| {
            let object = &objects[*i];
            let runs = if protocol.masks {
                let runs = truth.runs(image, object);
                Some(runs.map_err(|e| format!("object {} of {}: {e}", i + 1, of()))?)
            } else {
                None
            };
            let own = protocol.categories.get(group as usize) == Some(&object.category);
            let foreign = protocol.by_category && !own;
            let ignore = match protocol.federated {
                true => object.ignore,
                false => object.crowd,
            };
            Ok(Gt {
                bbox: object.bbox.unwrap_or_default(),
                area: object.area,
                crowd: foreign || object.crowd && !protocol.federated,
                ignore: foreign || ignore,
                zero: object.zero,
                runs,
            })
        });
        let gts: Vec<Gt> = gts.collect::<Result<_, String>>()?;
        let shapes = dts.iter().map(|(_, _, i)| {
            let detection = found[*i];
            let runs = detection.mask.as_deref().filter(|_| protocol.masks);
            if runs.is_none() && protocol.masks {
                return Err(format!("a detection of {} has no mask", of()));
            }
            let area = match runs {
                Some(runs) if !protocol.federated => runs.area() as f64,
                _ => detection.bbox[2] * detection.bbox[3],
            };
            Ok(Dt {
                bbox: detection.bbox,
                area,
                runs,
            })
        });
        let shapes: Vec<Dt> = shapes.collect::<Result<_, String>>()?;
        let category = protocol.categories.get(group as usize);
        let open = &truth.images()[image].not_exhaustive;
        let rules = Rules {
            thresholds: &protocol.thresholds,
            areas: &AREA_RANGES,
            forgiving: protocol.federated && category.is_some_and(|c| open.contains(c)),
        };
        let counts = std::array::from_fn(|r| gts.iter().filter(|gt| rules.counts(r, gt)).count());
        if !gts.is_empty() {
            out.objects.push((group as usize, counts));
        }
        for (place, (fate, (_, _, i))) in rules.judge(&gts, &shapes).iter().zip(dts).enumerate() {
            out.counted.push(Counted {
                group,
                place: place as u32,
                score: found[*i].score,
                fate: *fate,
            });
        }
        Ok(())
    }
}
