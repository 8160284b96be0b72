//! The second stage of Faster R-CNN (Ren et al. 2015, arXiv 1506.01497) and Mask R-CNN (He et al. 2017, arXiv 1703.06870): MMDetection 3.3.0's
//! `StandardRoIHead`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::box_head::{BoxHead, BoxHeads, BoxOutputs};
use super::extractor::{self, RoiExtractor};
use super::mask_head::{MaskHead, MaskHeads};
use super::regions::{Regions, rows_of};
use super::sampling::{Sampled, boxes_of};
use super::{Given, RoiHead, box_learning, mask_learning, present};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::detectors::Pending;
use crate::losses::Losses;
use crate::ops::detections::{self, DetectError, Kept};
use crate::ops::mask_paste::{self, Level};
use crate::structures::{Instances, Masks};
use crate::targets::Targets;

/// The keys that [`StandardRoiHead`] reads by itself.
const PARTS: &[&str] = &[
    "bbox_roi_extractor",
    "bbox_head",
    "mask_roi_extractor",
    "mask_head",
    "shared_head",
    "train_cfg",
    "test_cfg",
    "init_cfg",
];

/// Nothing but parts.
#[derive(Debug, Deserialize)]
struct StandardConfig {}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    Ok(Box::new(StandardRoiHead::read(node, given, build)?))
}

/// One box head, and mostly one mask head.
#[derive(Debug)]
pub struct StandardRoiHead {
    extractor: Box<dyn RoiExtractor>,
    box_head: BoxHead,
    masks: Option<MaskBranch>,
}

/// What gives masks.
#[derive(Debug)]
struct MaskBranch {
    /// None: boxes and masks are seen alike.
    extractor: Option<Box<dyn RoiExtractor>>,
    head: MaskHead,
    level: Level,
}

impl StandardRoiHead {
    fn read(node: &Node, given: Given, build: &Build) -> Result<Self, Diagnostics> {
        let StandardConfig {} = node.read_knowing(PARTS)?;
        if present(node, "shared_head").is_some() {
            let message = "a `shared_head` is not supported yet";
            return Err(unsupported(node, "shared_head", message, ""));
        }
        let Some(described) = present(node, "bbox_head") else {
            return Err(error_at(
                node,
                "bbox_head",
                "this second stage has no `bbox_head`",
                "",
            ));
        };
        let extractor = extractor::read(node, "bbox_roi_extractor", &given.features, build)?;
        let (make, below) = build.part::<BoxHeads>("bbox_head", described)?;
        let box_head = make(described, &given, &below)?;
        let masks = match present(node, "mask_head") {
            None => None,
            Some(described) => {
                let extractor = match present(node, "mask_roi_extractor") {
                    None => None,
                    Some(_) => Some(extractor::read(
                        node,
                        "mask_roi_extractor",
                        &given.features,
                        build,
                    )?),
                };
                let (make, below) = build.part::<MaskHeads>("mask_head", described)?;
                Some(MaskBranch {
                    extractor,
                    head: make(described, &given, &below)?,
                    level: level(given.test_cfg)?,
                })
            }
        };
        Ok(Self {
            extractor,
            box_head,
            masks,
        })
    }

    fn boxes(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> BoxOutputs {
        self.box_head.forward(self.extractor.extract(maps, rows))
    }
}

/// What `mask_thr_binary` says.
///
/// # Errors
/// It is missing.
pub(super) fn level(test_cfg: &Node) -> Result<Level, Diagnostics> {
    let Some(threshold) = present(test_cfg, "mask_thr_binary").and_then(Node::as_float) else {
        let message = "`test_cfg` has no number `mask_thr_binary`";
        let help = "for example mask_thr_binary=0.5";
        return Err(error_at(test_cfg, "mask_thr_binary", message, help));
    };
    Ok(match threshold {
        threshold if threshold >= 0.0 => Level::Threshold(threshold as f32),
        _ => Level::Grey,
    })
}

/// Instances with the masks that `probabilities`, `[N * K, H, W]`, say.
pub(crate) async fn with_masks(
    kept: &Kept,
    probabilities: Tensor<3>,
    pictures: &Pictures,
    level: Level,
) -> Result<Vec<Instances>, DetectError> {
    let mut found = kept.read(pictures).await?;
    let most = probabilities.dims()[0] / pictures.metas.len().max(1);
    for (i, (instances, meta)) in found.iter_mut().zip(&pictures.metas).enumerate() {
        let [down, across] = match pictures.rescale {
            true => meta.ori_shape,
            false => [0, 1].map(|axis| {
                let scale = meta.scale_factor[1 - axis];
                (meta.ori_shape[axis] as f64 * scale).round_ties_even() as usize
            }),
        };
        if instances.is_empty() {
            instances.masks = Some(Masks::none(across, down));
            continue;
        }
        let of_picture = probabilities.clone().narrow(0, i * most, instances.len());
        let masks = mask_paste::paste(of_picture, &instances.boxes, [across, down], level);
        instances.masks = Some(masks.await?);
    }
    Ok(found)
}

impl RoiHead for StandardRoiHead {
    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
    ) -> Pending<'a, Vec<Instances>> {
        Box::pin(async move {
            let regions = Regions::from(&proposals);
            let outputs = self.boxes(&maps, regions.rows());
            let candidates = self.box_head.candidates(&regions, outputs, pictures);
            let Some(masks) = &self.masks else {
                drop(maps);
                return detections::detect(&candidates, pictures).await;
            };
            let kept = detections::keep(&candidates, pictures).await?;
            let extractor = masks.extractor.as_ref().unwrap_or(&self.extractor);
            let rows = Regions::from(&kept).rows();
            let logits = masks.head.forward(extractor.extract(&maps, rows));
            drop(maps);
            let labels = kept.labels.clone().flatten::<1>(0, 1);
            let logits = masks.head.of_labels(logits, labels);
            let probabilities = burn::tensor::activation::sigmoid(logits);
            with_masks(&kept, probabilities, pictures, masks.level).await
        })
    }

    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        _: &'a Pictures,
        targets: &'a Targets,
    ) -> Pending<'a, Losses> {
        Box::pin(async move {
            let device = proposals.boxes.device();
            let proposals = boxes_of(&proposals).await?;
            let mut sampled = Vec::new();
            let sampling = &self.box_head.learning().sampling;
            for (i, (boxes, objects)) in proposals.into_iter().zip(&targets.pictures).enumerate() {
                let losing = |boxes: &[_], labels: &[usize]| {
                    let before = std::iter::repeat_n(&[][..], i);
                    let rows = rows_of(before.chain([boxes]), &device);
                    let maps: Vec<_> = maps.iter().map(|m| m.clone().without_autodiff()).collect();
                    box_learning::hardness(self.boxes(&maps, rows).logits, labels)
                };
                let background = self.box_head.classes;
                let chosen = sampling.choose(boxes, objects, background, &losing);
                sampled.push(chosen.await?);
            }
            let learned = box_learning::Learned::of(&sampled, targets, &self.box_head);
            let rows = rows_of(sampled.iter().map(|s| s.boxes.as_slice()), &device);
            let features = self.extractor.extract(&maps, rows);
            let outputs = self.box_head.forward(features.clone());
            let mut losses = box_learning::losses(&self.box_head, &outputs, &learned);
            if let Some(masks) = &self.masks {
                let features = match &masks.extractor {
                    Some(extractor) => {
                        let rows = rows_of(sampled.iter().map(Sampled::positives), &device);
                        extractor.extract(&maps, rows)
                    }
                    None => of_positives(features, &sampled),
                };
                let logits = masks.head.forward(features);
                losses.append(
                    "",
                    mask_learning::losses(&masks.head, logits, &sampled, targets),
                );
            }
            Ok(losses)
        })
    }

    fn classes(&self) -> usize {
        self.box_head.classes
    }
}

/// The features of regions with objects, where those of all regions are there.
pub(crate) fn of_positives(features: Tensor<4>, sampled: &[Sampled]) -> Tensor<4> {
    let (mut rows, mut first) = (Vec::new(), 0);
    for sampled in sampled {
        rows.extend(first..first + sampled.objects.len());
        first += sampled.boxes.len();
    }
    let device = features.device().without_autodiff();
    if rows.is_empty() {
        let [_, channels, height, width] = features.dims();
        return Tensor::zeros([0, channels, height, width], &device);
    }
    features.select(0, super::box_head::labels_on(&rows, &device))
}
