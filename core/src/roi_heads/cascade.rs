//! The second stage of Cascade R-CNN (Cai and Vasconcelos 2017, arXiv 1712.00726): MMDetection 3.3.0's `CascadeRoIHead`. Each stage takes the
//! boxes of the one before as its regions.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::box_head::{BoxHead, BoxHeads, BoxOutputs, labels_on};
use super::extractor::{self, RoiExtractor};
use super::mask_head::{MaskHead, MaskHeads};
use super::regions::{Regions, rows_of};
use super::sampling::{Sampled, boxes_of};
use super::standard::{level, with_masks};
use super::{Given, RoiHead, box_learning, mask_learning, pisa, present};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::detectors::Pending;
use crate::limits::List;
use crate::losses::Losses;
use crate::ops::detections::{self, Kept};
use crate::ops::launch::ReadError;
use crate::ops::mask_paste::Level;
use crate::structures::{Instances, Xyxy};
use crate::targets::Targets;

/// The keys that [`CascadeRoiHead`] reads by itself.
const PARTS: &[&str] = &[
    "bbox_roi_extractor",
    "bbox_head",
    "mask_roi_extractor",
    "mask_head",
    "train_cfg",
    "test_cfg",
    "init_cfg",
];

/// The keys of `type='CascadeRoIHead'`.
#[derive(Debug, Deserialize)]
struct CascadeConfig {
    num_stages: Bounded<1, 16>,
    stage_loss_weights: List<f64>,
}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    Ok(Box::new(CascadeRoiHead::read(node, given, build)?))
}

/// Box heads, and mostly mask heads, one after another.
#[derive(Debug)]
pub struct CascadeRoiHead {
    stages: Vec<Stage>,
    masks: Option<Level>,
}

/// One stage.
#[derive(Debug)]
struct Stage {
    extractor: Box<dyn RoiExtractor>,
    box_head: BoxHead,
    mask_extractor: Option<Box<dyn RoiExtractor>>,
    mask_head: Option<MaskHead>,
    loss_weight: f64,
}

/// What `key` says of each stage: one for all, or a list.
fn of_stages<'a>(node: &'a Node, key: &str, stages: usize) -> Result<Vec<&'a Node>, Diagnostics> {
    let Some(given) = present(node, key) else {
        return Ok(Vec::new());
    };
    let Some(items) = given.as_items() else {
        return Ok(vec![given; stages]);
    };
    if items.len() != stages {
        let message = format!("`{key}` has {} entries for {stages} stages", items.len());
        return Err(error_at(
            node,
            key,
            message,
            "give one for each stage, or one for all",
        ));
    }
    Ok(items.iter().collect())
}

impl CascadeRoiHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let config: CascadeConfig = node.read_knowing(PARTS)?;
        let count = config.num_stages.get();
        let fail = |key, message: &str| Err(error_at(node, key, message, ""));
        let weights = config.stage_loss_weights.to_vec();
        if weights.len() < count {
            return fail("stage_loss_weights", "there is a stage without a weight");
        }
        let train_cfgs = match given.train_cfg {
            None => vec![None; count],
            Some(cfg) => match cfg.as_items() {
                Some(items) if items.len() >= count => items.iter().map(Some).collect(),
                _ => {
                    let message = format!("`rcnn` of `train_cfg` is no list of {count} stages");
                    return Err(error_at(cfg, "", message, ""));
                }
            },
        };
        let box_heads = of_stages(node, "bbox_head", count)?;
        let extractors = of_stages(node, "bbox_roi_extractor", count)?;
        if box_heads.is_empty() || extractors.is_empty() {
            return fail(
                "bbox_head",
                "a cascade needs `bbox_head` and `bbox_roi_extractor`",
            );
        }
        let mask_heads = of_stages(node, "mask_head", count)?;
        let mask_extractors = of_stages(node, "mask_roi_extractor", count)?;
        let of_stage = |i: usize| Given {
            train_cfg: train_cfgs[i],
            ..given
        };
        let extractor = |key: &str, i: usize, node| {
            extractor::read_one(node, &format!("{key}.{i}"), &given.features, build)
        };
        if !mask_heads.is_empty() && mask_extractors.is_empty() {
            let [own, other] = ["bbox_roi_extractor", "mask_roi_extractor"];
            build.params.at(own).tie(&build.params.at(other));
        }
        let box_extractors = extractors.iter().enumerate();
        let box_extractors =
            box_extractors.map(|(i, node)| extractor("bbox_roi_extractor", i, *node));
        let box_extractors = box_extractors.collect::<Result<Vec<_>, _>>()?;
        let mut made = Vec::new();
        for (i, described) in box_heads.iter().enumerate() {
            let name = format!("bbox_head.{i}");
            let (make, below) = build.part::<BoxHeads>(&name, described)?;
            made.push(make(described, &of_stage(i), &below)?);
        }
        let mut stages = Vec::new();
        for (i, (box_head, box_extractor)) in made.into_iter().zip(box_extractors).enumerate() {
            box_head.check(box_heads[i], box_extractor.gives(), false)?;
            pisa::refuse_ranks(box_heads[i], &box_head)?;
            let mask_head = match mask_heads.get(i) {
                None => None,
                Some(described) => {
                    let name = format!("mask_head.{i}");
                    let (make, below) = build.part::<MaskHeads>(&name, described)?;
                    Some(make(described, &of_stage(i), &below)?)
                }
            };
            stages.push(Stage {
                extractor: box_extractor,
                box_head,
                mask_extractor: None,
                mask_head,
                loss_weight: weights[i],
            });
        }
        for (i, stage) in stages.iter_mut().enumerate() {
            let Some(head) = &stage.mask_head else {
                continue;
            };
            // The state dict has what is shared by both names.
            let described = mask_extractors.get(i).unwrap_or(&extractors[i]);
            let made = extractor("mask_roi_extractor", i, *described)?;
            head.check(mask_heads[i], made.gives())?;
            stage.mask_extractor = Some(made);
        }
        let masks = match mask_heads.is_empty() {
            true => None,
            false => Some(level(given.test_cfg)?),
        };
        Ok(Self { stages, masks })
    }

    /// The regions of the last stage, with the mean of the logits of all.
    fn refine(
        &self,
        maps: &[Tensor<4>],
        mut regions: Regions,
        pictures: &Pictures,
    ) -> (Regions, BoxOutputs) {
        let [count, most, _] = regions.boxes.dims();
        let mut sum: Option<Tensor<2>> = None;
        let (last, before) = self.stages.split_last().expect("a cascade has stages");
        for stage in before {
            let BoxOutputs { logits, deltas } = stage.boxes(maps, regions.rows());
            if let Some(deltas) = deltas {
                let labels = stage.box_head.likely(logits.clone());
                let boxes = regions.boxes.reshape([count * most, 4]);
                let boxes = stage.box_head.refined(boxes, labels, deltas);
                let refined = Regions {
                    boxes: boxes.reshape([count, most, 4]),
                    there: regions.there,
                };
                regions = stage.box_head.clips(refined, pictures);
            }
            sum = Some(match sum {
                Some(sum) => sum + logits,
                None => logits,
            });
        }
        let BoxOutputs { logits, deltas } = last.boxes(maps, regions.rows());
        let logits = match sum {
            Some(sum) => (sum + logits) / self.stages.len() as f64,
            None => logits,
        };
        (regions, BoxOutputs { logits, deltas })
    }
}

impl Stage {
    fn boxes(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> BoxOutputs {
        self.box_head.forward(self.extractor.extract(maps, rows))
    }

    /// Mask logits, of a stage that has a mask head.
    fn masks(&self, head: &MaskHead, maps: &[Tensor<4>], rows: Tensor<2>) -> Tensor<4> {
        let extractor = self.mask_extractor.as_ref().unwrap_or(&self.extractor);
        head.forward(extractor.extract(maps, rows))
    }

    /// The regions of the next stage, each picture's, without those that are objects themselves.
    async fn next(
        &self,
        outputs: BoxOutputs,
        sampled: &[Sampled],
        labels: &[usize],
        pictures: &Pictures,
    ) -> Result<Vec<Vec<Xyxy>>, crate::ops::DetectError> {
        let boxes = |sampled: &Sampled| sampled.boxes.clone();
        let Some(deltas) = outputs.deltas else {
            return Ok(sampled.iter().map(boxes).collect());
        };
        let [logits, deltas] = [outputs.logits, deltas].map(Tensor::without_autodiff);
        let device = logits.device();
        let background = self.box_head.classes as i64;
        let likely = self.box_head.likely(logits);
        let labels = labels_on(labels, &device);
        let own = labels.clone().equal_elem(background);
        let labels = labels.mask_where(own, likely);
        let rows = rows_of(sampled.iter().map(|s| s.boxes.as_slice()), &device);
        let refined = self.box_head.refined(rows.narrow(1, 1, 4), labels, deltas);
        let read = refined.into_data_async().await;
        let read = read.map_err(|e| ReadError(format!("{e:?}")))?;
        let numbers: Vec<f32> = read.iter::<f32>().collect();
        let (mut all, _) = numbers.as_chunks::<4>();
        let mut next = Vec::new();
        for (sampled, meta) in sampled.iter().zip(&pictures.metas) {
            let (own, rest) = all.split_at(sampled.boxes.len());
            all = rest;
            let less = self.box_head.coder.extra();
            let [height, width] = meta.img_shape.map(|side| side as f32 - less);
            let cut = |b: &Xyxy| match self.box_head.coder.clip_border {
                false => *b,
                true => {
                    let ends = [width, height, width, height];
                    std::array::from_fn(|i| b[i].clamp(0.0, ends[i]))
                }
            };
            let kept = own.iter().enumerate();
            let kept = kept.filter(|(i, _)| sampled.given.get(*i) != Some(&true));
            next.push(kept.map(|(_, b)| cut(b)).collect());
        }
        Ok(next)
    }
}

impl RoiHead for CascadeRoiHead {
    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
    ) -> Pending<'a, Vec<Instances>> {
        Box::pin(async move {
            let (regions, outputs) = self.refine(&maps, Regions::from(&proposals), pictures);
            let last = self.stages.last().expect("a cascade has stages");
            let candidates = last.box_head.candidates(&regions, outputs, pictures);
            let Some(level) = self.masks else {
                drop(maps);
                return detections::detect(&candidates, pictures).await;
            };
            let kept = detections::keep(&candidates, pictures).await?;
            let rows = Regions::from(&kept).rows();
            let labels = kept.labels.clone().flatten::<1>(0, 1);
            let mut sum: Option<Tensor<3>> = None;
            for stage in &self.stages {
                let Some(head) = &stage.mask_head else {
                    continue;
                };
                let logits = stage.masks(head, &maps, rows.clone());
                let logits = head.of_labels(logits, labels.clone());
                let probabilities = activation::sigmoid(logits);
                sum = Some(match sum {
                    Some(sum) => sum + probabilities,
                    None => probabilities,
                });
            }
            drop(maps);
            let sum = sum.expect("each stage has a mask head where one has");
            let mean = sum / self.stages.len() as f64;
            with_masks(&kept, mean, pictures, level).await
        })
    }

    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
        targets: &'a Targets,
    ) -> Pending<'a, Losses> {
        Box::pin(async move {
            let device = proposals.boxes.device();
            let mut regions = boxes_of(&proposals).await?;
            let mut losses = Losses::default();
            for (i, stage) in self.stages.iter().enumerate() {
                let head = &stage.box_head;
                let mut sampled = Vec::new();
                for (picture, (boxes, objects)) in
                    regions.into_iter().zip(&targets.pictures).enumerate()
                {
                    let look = |boxes: &[Xyxy]| {
                        let before = std::iter::repeat_n(&[][..], picture);
                        let rows = rows_of(before.chain([boxes]), &device);
                        let maps = maps.iter().map(|m| m.clone().without_autodiff());
                        let maps: Vec<_> = maps.collect();
                        stage.boxes(&maps, rows).without_autodiff()
                    };
                    let sampling = &head.learning().sampling;
                    let chosen = sampling.choose(boxes, objects, head, &look, None);
                    sampled.push(chosen.await?);
                }
                let learned = box_learning::Learned::of(&sampled, targets, head);
                let rows = rows_of(sampled.iter().map(|s| s.boxes.as_slice()), &device);
                let outputs = stage.boxes(&maps, rows);
                let mut of_stage = box_learning::losses(head, &outputs, &learned);
                if let Some(mask_head) = &stage.mask_head {
                    let rows = rows_of(sampled.iter().map(Sampled::positives), &device);
                    let logits = stage.masks(mask_head, &maps, rows);
                    of_stage.append(
                        "",
                        mask_learning::losses(mask_head, logits, &sampled, targets),
                    );
                }
                losses.append(&format!("s{i}."), of_stage.weighted(stage.loss_weight));
                if i + 1 == self.stages.len() || learned.labels.is_empty() {
                    break;
                }
                regions = stage
                    .next(outputs, &sampled, &learned.labels, pictures)
                    .await?;
            }
            Ok(losses)
        })
    }

    fn classes(&self) -> usize {
        self.stages.last().map_or(0, |stage| stage.box_head.classes)
    }
}
