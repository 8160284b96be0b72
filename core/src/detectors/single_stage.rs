//! Single-stage detectors: backbone, neck, dense head (MMDetection's `SingleStageDetector`, and those that differ from it by their head
//! alone: `RetinaNet`, `FCOS`, `YOLOX`, `RPN`).

use burn::tensor::Tensor;
use serde::Deserialize;

use super::extractor::{Extractor, part};
use super::{Detector, Pending};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::heads::{DenseHead, Given, Heads};
use crate::limits;
use crate::losses::Losses;
use crate::ops;
use crate::probe::Probe;
use crate::structures::Instances;
use crate::targets::Targets;

/// The keys that others read: parts, and what belongs to training or to the pipeline.
const PARTS: &[&str] = &[
    "backbone",
    "neck",
    "train_cfg",
    "test_cfg",
    "data_preprocessor",
    "init_cfg",
    "pretrained",
];

/// The keys of `type='SingleStageDetector'`.
#[derive(Debug, Deserialize)]
struct SingleStageConfig {}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    let SingleStageConfig {} = node.read_knowing(&[PARTS, &["bbox_head"]].concat())?;
    let cfgs = Cfgs {
        test: test_cfg(node)?,
        train: node.get("train_cfg"),
    };
    Ok(Box::new(SingleStage::read(node, "bbox_head", cfgs, build)?))
}

/// `RPN` alone (Ren et al. 2015, arXiv 1506.01497): its boxes are proposals, objects of any class.
pub(super) fn build_rpn(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    let SingleStageConfig {} = node.read_knowing(&[PARTS, &["rpn_head"]].concat())?;
    let test_cfg = test_cfg(node)?;
    let Some(rpn) = test_cfg.get("rpn").filter(|n| !n.is_none()) else {
        let help = "for example test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7)))";
        return Err(error_at(test_cfg, "rpn", "`test_cfg` has no `rpn`", help));
    };
    let train_cfg = node.get("train_cfg").and_then(|n| n.get("rpn"));
    let cfgs = Cfgs {
        test: rpn,
        train: train_cfg,
    };
    Ok(Box::new(SingleStage::read(node, "rpn_head", cfgs, build)?))
}

/// The head's parts of `test_cfg` and `train_cfg`.
struct Cfgs<'a> {
    test: &'a Node,
    train: Option<&'a Node>,
}

fn test_cfg(node: &Node) -> Result<&Node, Diagnostics> {
    let found = node.get("test_cfg").filter(|n| !n.is_none());
    found.ok_or_else(|| {
        let help = "for example test_cfg=dict(nms_pre=1000, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)";
        error_at(node, "test_cfg", "this detector has no `test_cfg`", help)
    })
}

/// Backbone, neck, dense head.
#[derive(Debug)]
pub struct SingleStage {
    extractor: Extractor,
    head: Box<dyn DenseHead>,
}

impl SingleStage {
    /// `key` is where the head's config is; its tensors are below `bbox_head` in any case.
    fn read(node: &Node, key: &str, cfgs: Cfgs, build: &Build) -> Result<Self, Diagnostics> {
        let head_node = part(node, key)?;
        let extractor = Extractor::read(node, build)?;
        let given = Given {
            features: extractor.features(),
            test_cfg: cfgs.test,
            train_cfg: cfgs.train.filter(|n| !n.is_none()),
            proposal_cfg: None,
        };
        let (make, below) = build.part::<Heads>("bbox_head", head_node)?;
        // Checkpoints of RPNs of MMDetection 2, and of two-stage detectors, whose first stage this may be.
        below.params.once_called("rpn_head");
        let head = make(head_node, given, &below)?;
        Ok(Self { extractor, head })
    }
}

impl Detector for SingleStage {
    fn extract(&self, pixels: Tensor<4>, probe: &mut Probe) -> Vec<Tensor<4>> {
        self.extractor.forward(pixels, probe)
    }

    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        probe: &mut Probe,
    ) -> Pending<'a, Vec<Instances>> {
        if let Err(error) = limits::check_outputs(&maps, self.head.outputs_each()) {
            return Box::pin(async move { Err(error) });
        }
        let outputs = self.head.forward(&maps);
        drop(maps);
        outputs.tell(probe, "head");
        let candidates = self.head.candidates(&outputs, pictures);
        Box::pin(async move { ops::detect(&candidates, pictures).await })
    }

    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        targets: &'a Targets,
        probe: &mut Probe,
    ) -> Pending<'a, Losses> {
        let outputs = self.head.forward(&maps);
        drop(maps);
        outputs.tell(probe, "head");
        let losses = self.head.losses(&outputs, pictures, targets);
        Box::pin(async move { Ok(losses) })
    }

    fn switch_loss(&self, name: &str, on: bool) -> bool {
        self.head.switch_loss(name, on)
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
        self.head.classes()
    }

    fn labels(&self) -> Option<usize> {
        self.head.labels()
    }
}
