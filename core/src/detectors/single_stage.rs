//! Single-stage detectors: backbone, neck, dense head (MMDetection's `SingleStageDetector` and, the same, `RetinaNet`).

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Detector, Pending};
use crate::backbones::{Backbone, Backbones};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::heads::{self, DenseHead, HeadOutput, Heads, test_cfg};
use crate::necks::{self, Neck, Necks};
use crate::ops::{LevelOutput, PictureMeta, PostConfig};

/// The keys of `type='RetinaNet'`; all are read from the tree by their own readers.
#[derive(Debug, Deserialize)]
struct SingleStageConfig {
    #[serde(rename = "backbone")]
    _backbone: IgnoredAny,
    #[serde(rename = "neck")]
    _neck: Option<IgnoredAny>,
    #[serde(rename = "bbox_head")]
    _bbox_head: IgnoredAny,
    #[serde(rename = "train_cfg")]
    _train_cfg: Option<IgnoredAny>,
    #[serde(rename = "test_cfg")]
    _test_cfg: Option<IgnoredAny>,
    #[serde(rename = "data_preprocessor")]
    _data_preprocessor: Option<IgnoredAny>,
    #[serde(rename = "pretrained")]
    _pretrained: Option<String>,
    #[serde(rename = "init_cfg")]
    _init_cfg: Option<IgnoredAny>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    Ok(Box::new(SingleStage::read(node, build)?))
}

/// Backbone, neck, dense head.
#[derive(Debug)]
pub struct SingleStage {
    backbone: Box<dyn Backbone>,
    neck: Option<Box<dyn Neck>>,
    head: Box<dyn DenseHead>,
    post: PostConfig,
}

impl SingleStage {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let _: SingleStageConfig = node.read()?;
        let part = |key| {
            let found = node.get(key).filter(|n| !n.is_none());
            found.ok_or_else(|| error_at(node, key, format!("this detector has no `{key}`"), ""))
        };
        let backbone_node = part("backbone")?;
        let head_node = part("bbox_head")?;
        let neck_node = node.get("neck").filter(|n| !n.is_none());

        let (make, part) = build.part::<Backbones>("backbone", backbone_node)?;
        let backbone = make(backbone_node, &part)?;
        let mut features = backbone.features();
        let neck = match neck_node {
            None => None,
            Some(neck_node) => {
                let name = backbone_node.get("type").and_then(|t| t.as_type());
                let inputs = necks::Inputs {
                    features: &features,
                    backbone: name.as_deref().unwrap_or_default(),
                    origin: &backbone_node.origin,
                };
                let (make, part) = build.part::<Necks>("neck", neck_node)?;
                Some(make(neck_node, inputs, &part)?)
            }
        };
        if let Some(neck) = &neck {
            features = neck.features();
        }
        let inputs = heads::Inputs {
            features: &features,
        };
        let (make, part) = build.part::<Heads>("bbox_head", head_node)?;
        let head = make(head_node, inputs, &part)?;
        let post = test_cfg::read(node, head.as_ref())?;
        Ok(Self {
            backbone,
            neck,
            head,
            post,
        })
    }
}

impl Detector for SingleStage {
    fn backbone(&self) -> &dyn Backbone {
        self.backbone.as_ref()
    }

    fn neck(&self) -> Option<&dyn Neck> {
        self.neck.as_deref()
    }

    fn head(&self, maps: &[Tensor<4>]) -> HeadOutput {
        self.head.forward(maps)
    }

    fn postprocess<'a>(&'a self, output: HeadOutput, metas: &'a [PictureMeta]) -> Pending<'a> {
        let priors = self.head.priors().levels();
        let maps = output.cls_logits.into_iter().zip(output.deltas);
        let levels: Vec<_> = maps
            .zip(priors)
            .map(|((cls_logits, deltas), prior)| LevelOutput {
                cls_logits,
                deltas,
                base_anchors: prior.base_anchors.clone(),
                stride: prior.stride,
            })
            .collect();
        Box::pin(async move { crate::ops::detect(&levels, metas, &self.post).await })
    }

    fn set_score_thr(&mut self, score_thr: f32) {
        self.post.score_thr = score_thr;
    }

    fn num_classes(&self) -> usize {
        self.head.num_classes()
    }
}
