//! Detectron2's models as MMDetection runs them (`Detectron2Wrapper`) and by themselves: `GeneralizedRCNN`, `ProposalNetwork` and `RetinaNet`. Names
//! of settings, tensors and losses are Detectron2's, and so is the arithmetic where it differs from MMDetection's.
//!
//! What comes in is normalised: a wrapper's pixel mean and deviation are the batch's preprocessing here.

mod anchors;
mod backbone;
mod config;
mod datasets;
mod file;
mod learning;
mod retinanet;
mod roi_heads;
mod rpn;
mod run;
mod served;
mod settings;
mod weights;

pub use config::{defaults, resolve, resolve_model, with_pairs};
pub use file::{config_of, is};
pub use weights::aligned;

pub(crate) use served::check_test;
#[cfg(feature = "train")]
pub use served::check_training;

use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor, Transaction};
use serde::Deserialize;

use self::backbone::Backbone;
use self::retinanet::RetinaNet;
use self::roi_heads::SecondStage;
use self::rpn::Rpn;
use super::{Detector, Pending};
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::data::preprocessor::DetDataPreprocessor;
use crate::heads::Outputs;
use crate::layers::{Mode, Params, StateSource};
use crate::limits;
use crate::losses::Losses;
use crate::ops::DetectError;
use crate::ops::detections::{self, Kept};
use crate::ops::launch::ReadError;
use crate::probe::Probe;
use crate::structures::Instances;
use crate::targets::Targets;

/// The keys of `type='Detectron2Wrapper'`.
#[derive(Debug, Deserialize)]
struct WrapperConfig {
    bgr_to_rgb: Option<bool>,
    rgb_to_bgr: Option<bool>,
}

/// The keys of `type='detectron2.Detector'`.
#[derive(Debug, Deserialize)]
struct OwnConfig {}

/// Detectron2's whole config of a model's.
///
/// # Errors
/// There is none, or it is wrong.
fn whole(node: &Node) -> Result<Node, Diagnostics> {
    let own = node.get("cfg").filter(|n| !n.is_none());
    let wrapped = node.get("detector").filter(|n| !n.is_none());
    match (own, wrapped) {
        (Some(cfg), _) => resolve(cfg),
        (None, Some(detector)) => resolve_model(detector),
        (None, None) => {
            let message = "this model has no `detector`";
            let help = "for example detector=dict(meta_architecture='GeneralizedRCNN', ...)";
            Err(error_at(node, "detector", message, help))
        }
    }
}

/// A model in MMDetection's wrapper: its tensors are below `d2_model`.
pub(super) fn build_wrapper(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    let config: WrapperConfig = node.read_knowing(&["detector"])?;
    if config.bgr_to_rgb == Some(true) && config.rgb_to_bgr == Some(true) {
        let message = "`bgr_to_rgb` and `rgb_to_bgr` exclude each other";
        return Err(error_at(node, "rgb_to_bgr", message, ""));
    }
    made(node, build, &build.params.at("d2_model"))
}

/// The model, with the weights that it begins with where they are wanted.
fn made(node: &Node, build: &Build, at: &Params) -> Result<Box<dyn Detector>, Diagnostics> {
    let whole = whole(node)?;
    let weights = whole.at("MODEL.WEIGHTS");
    let name = weights
        .and_then(Node::as_str)
        .filter(|name| !name.is_empty());
    if let (Some(name), Some(weights), true) = (name, weights, build.wants_weights()) {
        let plan = Params::new(&Device::flex(), Mode::Plan, None);
        Detectron2::read(&whole, &plan)?;
        if let Some(checkpoint) = build.checkpoint(weights, name)? {
            let aligned = aligned(&checkpoint, &plan.state());
            let aligned = aligned.map_err(|e| error_at(weights, "", e, ""))?;
            at.overlay(Box::new(StateSource::new(aligned, None)));
        }
    }
    Ok(Box::new(Detectron2::read(&whole, at)?))
}

/// Whether a config's model is one of these.
pub(crate) fn is_model(node: &Node) -> bool {
    let kind = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let own = node.get("cfg").is_some() && kind == "detectron2.Detector";
    own || kind.rsplit('.').next() == Some("Detectron2Wrapper")
}

/// What becomes of the pictures of such a model before they come in.
///
/// # Errors
/// Its settings are wrong.
pub(crate) fn preprocessor(node: &Node) -> Result<DetDataPreprocessor, Diagnostics> {
    let whole = whole(node)?;
    let model: settings::Model = settings::at(&whole, "MODEL")?;
    let said = |key: &str| node.get(key).and_then(Node::as_bool) == Some(true);
    // Pictures are loaded as BGR.
    let swap = match node.get("cfg") {
        Some(_) => settings::at::<settings::Input>(&whole, "INPUT")?.format == "RGB",
        None => said("bgr_to_rgb") || said("rgb_to_bgr"),
    };
    let pairs = model.pixel_mean.iter().zip(model.pixel_std.iter());
    Ok(DetDataPreprocessor {
        mean_std: pairs
            .map(|(mean, std)| (*mean as f32, *std as f32))
            .collect(),
        swap,
        ..DetDataPreprocessor::default()
    })
}

/// A model by itself: what a Detectron2 YAML describes.
pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Detector>, Diagnostics> {
    let OwnConfig {} = node.read_knowing(&["cfg"])?;
    made(node, build, &build.params)
}

/// One of Detectron2's models.
#[derive(Debug)]
pub struct Detectron2 {
    backbone: Backbone,
    rest: Rest,
}

/// What comes after the backbone.
#[derive(Debug)]
enum Rest {
    Rcnn(Box<(Rpn, SecondStage)>),
    Proposals(Box<Rpn>),
    Retina(Box<RetinaNet>),
}

impl Detectron2 {
    fn read(whole: &Node, params: &Params) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL").unwrap_or(whole);
        let model: settings::Model = settings::at(whole, "MODEL")?;
        if model.load_proposals {
            let message = "proposals from a file are not supported";
            return Err(unsupported(group, "LOAD_PROPOSALS", message, ""));
        }
        let input: settings::Input = settings::at(whole, "INPUT")?;
        if !matches!(input.format.as_str(), "BGR" | "RGB") {
            let group = whole.at("INPUT").unwrap_or(whole);
            let message = format!("pictures as '{}' are not supported", input.format);
            return Err(unsupported(
                group,
                "FORMAT",
                message,
                "known are 'BGR', 'RGB'",
            ));
        }
        for (key, values) in [
            ("PIXEL_MEAN", &model.pixel_mean),
            ("PIXEL_STD", &model.pixel_std),
        ] {
            if values.len() != 3 {
                let message = format!("`{key}` has {} values, possible are 3", values.len());
                return Err(error_at(group, key, message, ""));
            }
        }
        let known = ["GeneralizedRCNN", "ProposalNetwork", "RetinaNet"];
        let kind = model.meta_architecture.as_str();
        if !known.contains(&kind) {
            let message = format!("`{kind}` is not supported");
            let help = format!("known are {}", known.join(", "));
            return Err(unsupported(group, "META_ARCHITECTURE", message, &help));
        }
        let backbone = Backbone::read(whole, &params.at("backbone"))?;
        let rpn = || Rpn::read(whole, &backbone, &params.at("proposal_generator"));
        let rest = match kind {
            "RetinaNet" => Rest::Retina(Box::new(RetinaNet::read(whole, &backbone, params)?)),
            "ProposalNetwork" => Rest::Proposals(Box::new(rpn()?)),
            _ => {
                let rpn = rpn()?;
                let second = SecondStage::read(whole, &backbone, &params.at("roi_heads"))?;
                Rest::Rcnn(Box::new((rpn, second)))
            }
        };
        Ok(Self { backbone, rest })
    }
}

impl Detector for Detectron2 {
    fn extract(&self, pixels: Tensor<4>, probe: &mut Probe) -> Vec<Tensor<4>> {
        let [_, _, height, width] = pixels.dims();
        let [down, right] =
            [height, width].map(|side| side.next_multiple_of(self.backbone.divisor) - side);
        let pixels = match down + right {
            0 => pixels,
            _ => pixels.pad((0, right, 0, down), PadMode::Constant(0.0)),
        };
        let maps = self.backbone.forward(pixels);
        probe.tell("backbone", &maps);
        maps
    }

    fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        probe: &mut Probe,
    ) -> Pending<'a, Vec<Instances>> {
        let (each, part) = match &self.rest {
            Rest::Retina(head) => (head.outputs_each(), "head"),
            Rest::Rcnn(parts) => (parts.0.outputs_each(), "rpn"),
            Rest::Proposals(rpn) => (rpn.outputs_each(), "rpn"),
        };
        if let Err(error) = limits::check_outputs(&maps, each) {
            return Box::pin(async move { Err(error) });
        }
        let (outputs, candidates) = match &self.rest {
            Rest::Retina(head) => {
                let outputs = head.forward(&maps);
                let candidates = head.candidates(&outputs);
                (outputs, candidates)
            }
            Rest::Proposals(rpn) => {
                let outputs = rpn.forward(&maps);
                let candidates = rpn.candidates(&outputs, false);
                (outputs, candidates)
            }
            Rest::Rcnn(parts) => {
                let outputs = parts.0.forward(&maps);
                let candidates = parts.0.candidates(&outputs, false);
                (outputs, candidates)
            }
        };
        outputs.tell(probe, part);
        Box::pin(async move {
            let found = match &self.rest {
                Rest::Retina(_) => detections::detect(&candidates, pictures).await?,
                Rest::Proposals(_) => {
                    let kept = detections::keep(&candidates, pictures).await?;
                    with_logits(&kept, &outputs, pictures).await?
                }
                Rest::Rcnn(parts) => {
                    let proposals = detections::keep(&candidates, pictures).await?;
                    drop((candidates, outputs));
                    parts.1.predict(maps, proposals, pictures).await?
                }
            };
            let found = found.into_iter().zip(&pictures.metas);
            Ok(found
                .map(|(instances, meta)| {
                    let [height, width] = match pictures.rescale {
                        true => meta.ori_shape,
                        false => meta.img_shape,
                    };
                    within(instances, [width as f32, height as f32])
                })
                .collect())
        })
    }

    fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        pictures: &'a Pictures,
        targets: &'a Targets,
        probe: &mut Probe,
    ) -> Pending<'a, Losses> {
        let targets = learning::filtered(targets);
        match &self.rest {
            Rest::Retina(head) => {
                let outputs = head.forward(&maps);
                outputs.tell(probe, "head");
                let losses = head.losses(&outputs, &targets);
                Box::pin(async move { Ok(losses) })
            }
            Rest::Proposals(rpn) => {
                let outputs = rpn.forward(&maps);
                outputs.tell(probe, "rpn");
                let losses = rpn.losses(&outputs, pictures, &targets);
                Box::pin(async move { Ok(losses) })
            }
            Rest::Rcnn(parts) => {
                let (rpn, second) = parts.as_ref();
                let outputs = rpn.forward(&maps);
                outputs.tell(probe, "rpn");
                let first = rpn.losses(&outputs, pictures, &targets);
                let outputs = outputs.without_autodiff();
                let candidates = rpn.candidates(&outputs, true);
                Box::pin(async move {
                    let proposals = detections::keep(&candidates, pictures).await?;
                    drop(candidates);
                    let mut losses = second.losses(maps, proposals, pictures, targets).await?;
                    losses.append("", first);
                    Ok(losses)
                })
            }
        }
    }

    fn size_divisor(&self) -> usize {
        1
    }

    fn only_size(&self) -> Option<[usize; 2]> {
        None
    }

    fn channels_in(&self) -> usize {
        3
    }

    fn classes(&self) -> usize {
        match &self.rest {
            Rest::Rcnn(parts) => parts.1.classes(),
            Rest::Proposals(_) => 1,
            Rest::Retina(head) => head.classes(),
        }
    }

    fn labels(&self) -> Option<usize> {
        match &self.rest {
            Rest::Proposals(_) => None,
            _ => Some(self.classes()),
        }
    }
}

/// Proposals as Detectron2 gives them: a score is a logit.
async fn with_logits(
    kept: &Kept,
    outputs: &Outputs,
    pictures: &Pictures,
) -> Result<Vec<Instances>, DetectError> {
    let levels = outputs.levels().map(|[logits, _]: [&Tensor<4>; 2]| {
        let [n, a, h, w] = logits.dims();
        logits.clone().permute([0, 2, 3, 1]).reshape([n, a * h * w])
    });
    let logits = Tensor::cat(levels.collect(), 1);
    let logits = logits.gather(1, kept.source.clone());
    let read = Transaction::default()
        .register(logits)
        .execute_async()
        .await;
    let read = read.map_err(|e| ReadError(format!("{e:?}")))?;
    let scores: Vec<f32> = read.iter().flat_map(|data| data.iter::<f32>()).collect();
    let most = kept.labels.dims()[1];
    let mut found = kept.read(pictures).await?;
    for (instances, scores) in found.iter_mut().zip(scores.chunks(most)) {
        let count = instances.len();
        instances.scores.copy_from_slice(&scores[..count]);
    }
    Ok(found)
}

/// Instances cut at the end of their picture, without those of which nothing is left.
fn within(mut instances: Instances, [width, height]: [f32; 2]) -> Instances {
    let ends = [width, height, width, height];
    for bbox in &mut instances.boxes {
        *bbox = std::array::from_fn(|i| bbox[i].clamp(0.0, ends[i]));
    }
    let there = |b: &[f32; 4]| b[2] > b[0] && b[3] > b[1];
    let kept: Vec<usize> = (0..instances.len())
        .filter(|i| there(&instances.boxes[*i]))
        .collect();
    if kept.len() == instances.len() {
        return instances;
    }
    Instances {
        boxes: kept.iter().map(|i| instances.boxes[*i]).collect(),
        scores: kept.iter().map(|i| instances.scores[*i]).collect(),
        labels: kept.iter().map(|i| instances.labels[*i]).collect(),
        masks: instances.masks.as_ref().map(|masks| masks.select(&kept)),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, MapLoader};

    const MODEL: &str = "model = dict(type='Detectron2Wrapper', bgr_to_rgb=True, detector=dict(
        pixel_mean=[1.0, 2.0, 3.0], backbone=dict(name='build_resnet_fpn_backbone'),
        resnets=dict(depth=18, res2_out_channels=64, out_features=['res4', 'res5'], norm='BN'),
        fpn=dict(in_features=['res4', 'res5'], out_channels=8), anchor_generator=dict(sizes=[[32]]),
        rpn=dict(in_features=['p4', 'p5', 'p6']), roi_heads=dict(name='StandardROIHeads', in_features=['p4', 'p5'], num_classes=2),
        roi_box_head=dict(name='FastRCNNConvFCHead', num_fc=1, fc_dim=4, pooler_resolution=2)))";

    fn config(text: &str) -> Config {
        Config::parse(text, "a.py", &MapLoader::default()).unwrap()
    }

    #[test]
    fn a_wrapped_model_has_its_own_names_and_pictures() {
        let config = config(MODEL);
        let state = crate::model::state(&config, &crate::registry()).unwrap();
        let keys: Vec<&str> = state.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys[0], "d2_model.backbone.fpn_lateral4.weight");
        assert_eq!(
            *keys.last().unwrap(),
            "d2_model.roi_heads.box_predictor.bbox_pred.bias"
        );
        let preprocessor = crate::model::preprocessor(&config).unwrap();
        assert!(preprocessor.swap);
        assert_eq!(preprocessor.mean_std, [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]);
    }

    #[test]
    fn what_is_not_built_is_said_where_it_is() {
        for (from, to, part) in [
            (
                "'build_resnet_fpn_backbone'",
                "'build_swin'",
                "`build_swin` is not supported",
            ),
            (
                "detector=dict(",
                "detector=dict(keypoint_on=True,",
                "keypoints are not supported",
            ),
            (
                "detector=dict(",
                "detector=dict(load_proposals=True,",
                "from a file",
            ),
            (
                "detector=dict(",
                "detector=dict(meta_architecture='PanopticFPN',",
                "`PanopticFPN`",
            ),
            (
                "'StandardROIHeads'",
                "'RROIHeads'",
                "`RROIHeads` is not supported",
            ),
            ("num_fc=1", "num_fcs=1", "did you mean `num_fc`?"),
            ("norm='BN'", "norm='XN'", "there is no norm 'XN'"),
            ("['p4', 'p5', 'p6']", "['p2']", "the backbone gives no `p2`"),
            (
                "bgr_to_rgb=True",
                "bgr_to_rgb=True, rgb_to_bgr=True",
                "exclude each other",
            ),
        ] {
            let config = config(&MODEL.replace(from, to));
            let problems = crate::model::state(&config, &crate::registry()).unwrap_err();
            let text = config.errors(problems).to_string();
            assert!(text.contains(part) && text.contains("a.py"), "{text}");
        }
    }
}
