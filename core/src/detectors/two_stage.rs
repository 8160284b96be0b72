//! Two-stage detectors: backbone, neck, a head that proposes, a head that looks at each proposal (MMDetection's `TwoStageDetector`, and those
//! that differ from it by name alone: `FasterRCNN`, Ren et al. 2015, arXiv 1506.01497; `MaskRCNN`, He et al. 2017, arXiv 1703.06870;
//! `CascadeRCNN`, Cai and Vasconcelos 2017, arXiv 1712.00726). Without an `rpn_head` proposals come with the pictures (`FastRCNN`, Girshick 2015,
//! arXiv 1504.08083); proposals that do so are taken before those of a head, but in training.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::extractor::{Extractor, part};
use super::{Detector, Pending};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::heads::{self, DenseHead, Heads};
use crate::limits;
use crate::losses::Losses;
use crate::ops::detections::{self, DetectError, Kept};
use crate::probe::Probe;
use crate::roi_heads::{self, RoiHead, RoiHeads};
use crate::structures::Instances;
use crate::targets::Targets;

/// The keys that others read: parts, and what belongs to training or to the pipeline.
const PARTS: &[&str] = &[
    "backbone",
    "neck",
    "rpn_head",
    "roi_head",
    "train_cfg",
    "test_cfg",
    "data_preprocessor",
    "init_cfg",
    "pretrained",
];

/// Nothing but parts.
#[derive(Debug, Deserialize)]
struct TwoStageConfig {}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    Ok(Box::new(TwoStage::read(node, build)?))
}

/// Backbone, neck, first and second stage.
#[derive(Debug)]
pub struct TwoStage {
    extractor: Extractor,
    rpn_head: Option<Box<dyn DenseHead>>,
    roi_head: Box<dyn RoiHead>,
}

/// `key` of a detector's `test_cfg` or `train_cfg`.
fn cfg<'a>(node: &'a Node, of: &str, key: &str) -> Option<&'a Node> {
    let found = node.get(of).filter(|n| !n.is_none())?.get(key)?;
    (!found.is_none()).then_some(found)
}

/// The proposals that came with the pictures of these maps.
fn given_with(pictures: &Pictures, maps: &[Tensor<4>]) -> Result<Kept, DetectError> {
    let proposals = pictures.metas.iter().map(|meta| {
        let lacks = || DetectError::NoProposals(meta.img_path.clone());
        let given = meta.proposals.as_deref().ok_or_else(lacks)?;
        Ok((given.boxes.as_slice(), given.scores.as_slice()))
    });
    let proposals: Vec<_> = proposals.collect::<Result<_, DetectError>>()?;
    let device = maps.first().map_or_else(Device::flex, Tensor::device);
    Ok(Kept::given(&proposals, &device.without_autodiff()))
}

impl TwoStage {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let TwoStageConfig {} = node.read_knowing(PARTS)?;
        let test_cfg = |key: &str| {
            cfg(node, "test_cfg", key).ok_or_else(|| {
                let message = format!("this detector has no `{key}` in its `test_cfg`");
                let help = "for example test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0), rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))";
                error_at(node, "test_cfg", message, help)
            })
        };
        let extractor = Extractor::read(node, build)?;
        let rpn_head = match node.get("rpn_head").filter(|n| !n.is_none()) {
            None => None,
            Some(rpn_node) => {
                let given = heads::Given {
                    features: extractor.features(),
                    test_cfg: test_cfg("rpn")?,
                    train_cfg: cfg(node, "train_cfg", "rpn"),
                    proposal_cfg: cfg(node, "train_cfg", "rpn_proposal"),
                };
                let (make, below) = build.part::<Heads>("rpn_head", rpn_node)?;
                Some(make(rpn_node, given, &below)?)
            }
        };
        let roi_node = part(node, "roi_head")?;
        let given = roi_heads::Given {
            features: extractor.features(),
            test_cfg: test_cfg("rcnn")?,
            train_cfg: cfg(node, "train_cfg", "rcnn"),
        };
        let (make, below) = build.part::<RoiHeads>("roi_head", roi_node)?;
        let roi_head = make(roi_node, given, &below)?;
        Ok(Self {
            extractor,
            rpn_head,
            roi_head,
        })
    }
}

impl Detector for TwoStage {
    fn extract(&self, pixels: Tensor<4>, probe: &mut Probe) -> Vec<Tensor<4>> {
        self.extractor.forward(pixels, probe)
    }

    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        probe: &mut Probe,
    ) -> Pending<'a, Vec<Instances>> {
        let given = pictures.metas.iter().any(|meta| meta.proposals.is_some());
        let Some(rpn_head) = self.rpn_head.as_ref().filter(|_| !given) else {
            return Box::pin(async move {
                let proposals = given_with(pictures, &maps)?;
                self.roi_head.predict(maps, proposals, pictures).await
            });
        };
        if let Err(error) = limits::check_outputs(&maps, rpn_head.outputs_each()) {
            return Box::pin(async move { Err(error) });
        }
        let outputs = rpn_head.forward(&maps);
        outputs.tell(probe, "rpn");
        let candidates = rpn_head.candidates(&outputs, pictures);
        Box::pin(async move {
            let proposals = detections::keep(&candidates, pictures).await?;
            drop((candidates, outputs));
            self.roi_head.predict(maps, proposals, pictures).await
        })
    }

    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        targets: &'a Targets,
        probe: &mut Probe,
    ) -> Pending<'a, Losses> {
        let Some(rpn_head) = &self.rpn_head else {
            return Box::pin(async move {
                let proposals = given_with(pictures, &maps)?;
                self.roi_head
                    .losses(maps, proposals, pictures, targets)
                    .await
            });
        };
        let outputs = rpn_head.forward(&maps);
        outputs.tell(probe, "rpn");
        let first = rpn_head.losses(&outputs, pictures, targets);
        let mut losses = Losses::default();
        for (name, loss) in first.iter() {
            let named = name.contains("loss") && !name.contains("rpn");
            let prefix = if named { "rpn_" } else { "" };
            losses.add(format!("{prefix}{name}"), loss.clone());
        }
        let outputs = outputs.without_autodiff();
        let candidates = rpn_head.proposals(&outputs, pictures);
        Box::pin(async move {
            let proposals = detections::keep(&candidates, pictures).await?;
            drop(candidates);
            let second = self.roi_head.losses(maps, proposals, pictures, targets);
            losses.append("", second.await?);
            Ok(losses)
        })
    }

    fn size_divisor(&self) -> usize {
        self.extractor.size_divisor()
    }

    fn only_size(&self) -> Option<[usize; 2]> {
        self.extractor.only_size()
    }

    fn channels_in(&self) -> usize {
        self.extractor.channels_in()
    }

    fn classes(&self) -> usize {
        self.roi_head.classes()
    }
}
