//! Detectron2's second stages: `StandardROIHeads` (Fast and Mask R-CNN on any maps; He et al. 2017, arXiv 1703.06870), `CascadeROIHeads` (Cai and
//! Vasconcelos 2017, arXiv 1712.00726) and `Res5ROIHeads`, which has the last stage of the ResNet for each region.
//!
//! Shapes: R regions, K classes: logits `[R, K + 1]`, background last; deltas `[R, K * 4]`, or `[R, 4]` where all classes share theirs; masks
//! `[R, K, 2 * side, 2 * side]`, or one of each region.

use burn::tensor::{Int, Tensor, activation};
use smalti_shaders::reference::nms::NmsConfig;

use super::anchors::coder;
use super::backbone::{Backbone, Block, Plan, conv, msra, norm, xavier};
use super::learning::{Matcher, Regression, indices, sampler};
use super::settings::{self, BoxHead as BoxSettings, MaskHead as MaskSettings, RoiHeads};
use crate::backbones::Feature;
use crate::batch::Pictures;
use crate::box_coders::{DeltaCoder, DeltaRows};
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::detectors::Pending;
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, Deconv, Dice, Init, InitRule, Linear, Mode, Params,
};
use crate::losses::{
    AvgFactor, ClassLoss, ClassTarget, CrossEntropyLoss, Losses, MaskCrossEntropyLoss, Reduce,
};
use crate::ops::detections::{
    self, Candidates, Coder, DetectError, Group, Kept, Labels, Level, Scoring, Select,
};
use crate::ops::launch::ReadError;
use crate::ops::mask_paste;
use crate::ops::roi_align::{Bin, Choice, Sampling, roi_align};
use crate::roi_heads::{Regions, Sampled, boxes_of, clipped, cut_out, rows_of, with_masks};
use crate::samplers::{RandomSampler, Sampler};
use crate::structures::{Instances, Xyxy};
use crate::targets::{Objects, Targets};

/// Channels of a fully connected layer.
const MOST_WIDTH: usize = 1 << 20;

/// Probability from which on a pixel is of an object.
const MASK_THRESHOLD: f32 = 0.5;

/// Regions of this many pixels a side are read from the fourth level.
const CANONICAL: (f32, u32) = (224.0, 4);

/// Detectron2 adds 1e-8 to sizes in that unit, takes their logarithm and adds 4 before it rounds down: what rounds up then is as if this was added.
const EPSILON: f32 = 1.2e-7;

/// A second stage.
#[derive(Debug)]
pub struct SecondStage {
    places: Vec<usize>,
    pooler: Pooler,
    /// Of `Res5ROIHeads`; else empty.
    res5: Vec<Block>,
    stages: Vec<Stage>,
    masks: Option<MaskBranch>,
    classes: usize,
    /// Each class has a sigmoid.
    sigmoid: bool,
    select: Select,
    sampler: RandomSampler,
    dice: Dice,
    append_gt: bool,
}

/// One stage of a cascade, or the only one.
#[derive(Debug)]
struct Stage {
    head: BoxHead,
    cls_score: Linear,
    bbox_pred: Linear,
    coder: DeltaCoder,
    matcher: Matcher,
    regression: Regression,
}

/// Convolutions, then fully connected layers.
#[derive(Debug)]
struct BoxHead {
    convs: Vec<ConvNormAct>,
    fcs: Vec<Linear>,
}

#[derive(Debug)]
struct MaskBranch {
    /// None: masks are made of what the last stage of the ResNet gives.
    pooler: Option<Pooler>,
    convs: Vec<ConvNormAct>,
    deconv: Deconv,
    predictor: ConvNormAct,
}

/// Reads regions from a pyramid.
#[derive(Debug)]
struct Pooler {
    scales: Vec<f32>,
    sampling: Sampling,
    choice: Choice,
}

impl Pooler {
    fn read(
        group: &Node,
        kind: &str,
        side: settings::Side,
        ratio: settings::Ratio,
        features: &[Feature],
    ) -> Result<Self, Diagnostics> {
        let (bin, aligned) = match kind {
            "ROIAlignV2" => (Bin::Mean, true),
            "ROIAlign" => (Bin::Mean, false),
            "ROIPool" => (Bin::Places, false),
            other => {
                let message = format!("the pooler '{other}' is not supported");
                let help = "known are 'ROIAlignV2', 'ROIAlign', 'ROIPool'";
                return Err(unsupported(group, "POOLER_TYPE", message, help));
            }
        };
        let strides: Vec<usize> = features.iter().map(|f| f.stride).collect();
        if strides.windows(2).any(|two| two[1] != two[0] * 2) {
            let message =
                format!("regions are read from maps whose strides double, these are {strides:?}");
            return Err(error_at(
                group,
                "",
                message,
                "`ROI_HEADS.IN_FEATURES` says which",
            ));
        }
        let (size, level) = CANONICAL;
        let first = strides[0].ilog2();
        Ok(Self {
            scales: strides.iter().map(|stride| 1.0 / *stride as f32).collect(),
            sampling: Sampling {
                bins: [side.get(); 2],
                ratio: ratio.get(),
                aligned,
                bin,
            },
            choice: match strides.len() {
                1 => Choice::Level(0),
                _ => Choice::BySize {
                    finest: size * 2f32.powi(first as i32 - level as i32),
                    epsilon: EPSILON,
                },
            },
        })
    }

    fn forward(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> Tensor<4> {
        if self.sampling.bin != Bin::Places {
            return roi_align(maps, &self.scales, rows, self.sampling, self.choice);
        }
        let levels = (0..maps.len()).map(|level| {
            let there = self.of_level(rows.clone(), level).reshape([-1, 1, 1, 1]);
            let whole = in_whole_places(rows.clone(), self.scales[level]);
            let choice = Choice::Level(level);
            roi_align(maps, &self.scales, whole, self.sampling, choice) * there
        });
        levels.reduce(|a, b| a + b).expect("there is a level")
    }

    /// 1 for each region that is read from this level, else 0; `[R]`.
    fn of_level(&self, rows: Tensor<2>, level: usize) -> Tensor<1> {
        let Choice::BySize { finest, epsilon } = self.choice else {
            return rows.narrow(1, 0, 1).squeeze_dim::<1>(1).ones_like();
        };
        let side =
            |axis: usize| rows.clone().narrow(1, axis + 3, 1) - rows.clone().narrow(1, axis + 1, 1);
        let size = (side(0) * side(1))
            .clamp_min(0.0)
            .sqrt()
            .squeeze_dim::<1>(1)
            / finest
            + epsilon;
        let reaches = |level: usize| {
            size.clone()
                .greater_equal_elem(2f32.powi(level as i32))
                .float()
        };
        let least = if level == 0 {
            size.ones_like()
        } else {
            reaches(level)
        };
        match level + 1 < self.scales.len() {
            true => least - reaches(level + 1),
            false => least,
        }
    }
}

/// Regions whose ends are those of places of a map, the last one within: so torchvision pools them, where MMCV takes them as they are.
fn in_whole_places(rows: Tensor<2>, scale: f32) -> Tensor<2> {
    let places = (rows.clone().narrow(1, 1, 4) * scale + 0.5).floor();
    let first = places.clone().narrow(1, 0, 2);
    let end = places.narrow(1, 2, 2).max_pair(first.clone()) + 1.0;
    let numbers = rows.narrow(1, 0, 1);
    Tensor::cat(vec![numbers, first / scale, end / scale - 1.0], 1)
}

impl BoxHead {
    fn new(
        config: &BoxSettings,
        norm: Option<&crate::layers::NormConfig>,
        from: usize,
        at: &Params,
    ) -> (Self, usize) {
        at.initialise(msra());
        at.initialise(InitRule {
            layers: Some(vec!["Linear".into()]),
            ..xavier()
        });
        let (mut channels, width) = (from, config.conv_dim.get());
        let convs = (0..config.num_conv.get()).map(|i| {
            let layer = ConvConfig::new(channels, width, 3)
                .pad(1)
                .bias(norm.is_none());
            channels = width;
            let layer = layer.act(Some(Activation::Relu));
            conv(layer, norm, &at.at(format!("conv{}", i + 1)))
        });
        let convs = convs.collect();
        let mut inputs = channels * config.pooler_resolution.get().pow(2);
        let fcs = (0..config.num_fc.get()).map(|i| {
            let fc = Linear::new(
                inputs,
                config.fc_dim.get(),
                true,
                &at.at(format!("fc{}", i + 1)),
            );
            inputs = config.fc_dim.get();
            fc
        });
        let fcs = fcs.collect();
        (Self { convs, fcs }, inputs)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        let layer = |x, fc: &Linear| Activation::Relu.forward(fc.forward(x));
        self.fcs.iter().fold(x.flatten(1, 3), layer)
    }
}

/// What a stage gives for regions.
struct BoxOutputs {
    logits: Tensor<2>,
    deltas: Tensor<2>,
}

impl Stage {
    fn forward(&self, x: Tensor<2>) -> BoxOutputs {
        BoxOutputs {
            logits: self.cls_score.forward(x.clone()),
            deltas: self.bbox_pred.forward(x),
        }
    }

    /// The boxes that deltas make of regions, `[R, 4 * each]`.
    fn decoded(&self, boxes: Tensor<2>, deltas: Tensor<2>) -> Tensor<2> {
        let [rows, numbers] = deltas.dims();
        let each = numbers / 4;
        let boxes = boxes.unsqueeze_dim::<3>(1).expand([rows, each, 4]);
        let boxes = boxes.reshape([rows * each, 4]);
        let deltas = deltas.reshape([rows * each, 4]);
        self.coder
            .decode_rows(boxes, deltas)
            .reshape([rows, numbers])
    }
}

impl MaskBranch {
    fn read(
        whole: &Node,
        features: Option<&[Feature]>,
        from: usize,
        classes: usize,
        at: &Params,
    ) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.ROI_MASK_HEAD").unwrap_or(whole);
        let config: MaskSettings = settings::at(whole, "MODEL.ROI_MASK_HEAD")?;
        if config.name != "MaskRCNNConvUpsampleHead" {
            let message = format!("the mask head `{}` is not supported", config.name);
            let help = "known is MaskRCNNConvUpsampleHead";
            return Err(unsupported(group, "NAME", message, help));
        }
        let pooler = match features {
            None => None,
            Some(features) => Some(Pooler::read(
                group,
                &config.pooler_type,
                config.pooler_resolution,
                config.pooler_sampling_ratio,
                features,
            )?),
        };
        let width = config.conv_dim.get();
        let norm = norm(group, &config.norm, &[width])?;
        at.initialise(msra());
        at.at("predictor")
            .initialise(InitRule::all(Init::normal(0.001), 0.0));
        let mut channels = from;
        let convs = (0..config.num_conv.get()).map(|i| {
            let layer = ConvConfig::new(channels, width, 3)
                .pad(1)
                .bias(norm.is_none());
            channels = width;
            let layer = layer.act(Some(Activation::Relu));
            conv(layer, norm.as_ref(), &at.at(format!("mask_fcn{}", i + 1)))
        });
        let convs = convs.collect();
        let act = Some(Activation::Relu);
        let outputs = if config.cls_agnostic_mask { 1 } else { classes };
        Ok(Self {
            pooler,
            convs,
            deconv: Deconv::new([channels, width], 2, act, &at.at("deconv")),
            predictor: ConvConfig::new(width, outputs, 1).init(&at.at("predictor"), None),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        self.predictor.forward(self.deconv.forward(x))
    }
}

/// Of each region's masks that of its label, `[R, H, W]`.
fn of_labels(logits: Tensor<4>, labels: Tensor<1, Int>) -> Tensor<3> {
    let [rows, channels, height, width] = logits.dims();
    let masks = logits.reshape([rows * channels, height, width]);
    if channels == 1 {
        return masks;
    }
    let firsts = Tensor::<1, Int>::arange(0..rows as i64, &masks.device());
    let labels = labels.clamp(0, channels as i64 - 1);
    masks.select(0, firsts * channels as i64 + labels)
}

impl SecondStage {
    /// Reads `MODEL.ROI_HEADS` and its heads.
    pub fn read(whole: &Node, backbone: &Backbone, at: &Params) -> Result<Self, Diagnostics> {
        let group = whole.at("MODEL.ROI_HEADS").unwrap_or(whole);
        let of_boxes = whole.at("MODEL.ROI_BOX_HEAD").unwrap_or(whole);
        let model: settings::Model = settings::at(whole, "MODEL")?;
        let test: settings::Test = settings::at(whole, "TEST")?;
        let config: RoiHeads = settings::at(whole, "MODEL.ROI_HEADS")?;
        let head: BoxSettings = settings::at(whole, "MODEL.ROI_BOX_HEAD")?;
        let cascade: settings::Cascade = settings::at(whole, "MODEL.ROI_BOX_CASCADE_HEAD")?;
        if model.keypoint_on {
            let group = whole.at("MODEL").unwrap_or(whole);
            let message = "keypoints are not supported";
            return Err(unsupported(group, "KEYPOINT_ON", message, ""));
        }
        if head.use_fed_loss {
            let message = "the federated loss is not supported";
            return Err(unsupported(of_boxes, "USE_FED_LOSS", message, ""));
        }
        if head.train_on_pred_boxes && at.mode() == Mode::Train {
            let message = "training on predicted boxes is not supported";
            return Err(unsupported(of_boxes, "TRAIN_ON_PRED_BOXES", message, ""));
        }
        let (places, features) = backbone.select(group, &config.in_features)?;
        let classes = config.num_classes.get();
        let pooler = Pooler::read(
            of_boxes,
            &head.pooler_type,
            head.pooler_resolution,
            head.pooler_sampling_ratio,
            &features,
        )?;
        let shared = match config.name.as_str() {
            "Res5ROIHeads" => true,
            "StandardROIHeads" | "CascadeROIHeads" => false,
            other => {
                let message = format!("the second stage `{other}` is not supported");
                let known = "known are StandardROIHeads, CascadeROIHeads, Res5ROIHeads";
                return Err(unsupported(group, "NAME", message, known));
            }
        };
        if shared && features.len() != 1 {
            let message = "`Res5ROIHeads` reads one map";
            return Err(error_at(
                group,
                "IN_FEATURES",
                message,
                "for example ['res4']",
            ));
        }
        if !shared && head.name != "FastRCNNConvFCHead" {
            let message = format!("the box head `{}` is not supported", head.name);
            let help = "known is FastRCNNConvFCHead";
            return Err(unsupported(of_boxes, "NAME", message, help));
        }
        if !shared && head.num_conv.get() + head.num_fc.get() == 0 {
            let message = "a box head has a layer";
            return Err(error_at(
                of_boxes,
                "NUM_FC",
                message,
                "for example NUM_FC 2",
            ));
        }
        let matcher = Matcher::read(group, &config.iou_thresholds, &config.iou_labels, false)?;
        let of_stages: Vec<([f32; 4], Matcher)> = match config.name.as_str() {
            "CascadeROIHeads" => {
                cascade_stages(whole, &cascade, &matcher, head.cls_agnostic_bbox_reg)?
            }
            _ => vec![(head.bbox_reg_weights, matcher)],
        };

        let mut channels = features[0].channels;
        let mut res5 = Vec::new();
        if shared {
            let plan = Plan::read(whole, 0)?;
            let width = plan.res5_width();
            if plan.res5_deforms() {
                let message = "the last stage of a C4 model has no deformable convolutions";
                let group = whole.at("MODEL.RESNETS").unwrap_or(whole);
                return Err(error_at(group, "DEFORM_ON_PER_STAGE", message, ""));
            }
            if width != channels * 2 {
                let message = format!("the last stage makes {width} channels of {channels}");
                return Err(error_at(group, "IN_FEATURES", message, "write ['res4']"));
            }
            channels = width;
            res5 = plan.res5_head(&at.at("res5"));
        }
        let norm = norm(of_boxes, &head.norm, &[head.conv_dim.get()])?;
        let several = config.name == "CascadeROIHeads";
        let place = |name: &str, i: usize| {
            let at = at.at(name);
            if several { at.at(i) } else { at }
        };
        let area = head.pooler_resolution.get().pow(2);
        if !shared && channels.max(head.conv_dim.get()) * area > MOST_WIDTH {
            let message = "more channels than a fully connected layer takes";
            return Err(error_at(of_boxes, "POOLER_RESOLUTION", message, ""));
        }
        let heads: Vec<(BoxHead, usize)> = (0..of_stages.len())
            .map(|i| match shared {
                true => (
                    BoxHead {
                        convs: Vec::new(),
                        fcs: Vec::new(),
                    },
                    channels,
                ),
                false => BoxHead::new(&head, norm.as_ref(), channels, &place("box_head", i)),
            })
            .collect();
        let boxes_each = if head.cls_agnostic_bbox_reg {
            1
        } else {
            classes
        };
        let mut stages = Vec::new();
        for (i, ((box_head, inputs), (weights, matcher))) in
            heads.into_iter().zip(of_stages).enumerate()
        {
            let at = place("box_predictor", i);
            let normal = |std| InitRule::all(Init::normal(std), 0.0);
            at.at("cls_score").initialise(normal(0.01));
            at.at("bbox_pred").initialise(normal(0.001));
            stages.push(Stage {
                head: box_head,
                cls_score: Linear::new(inputs, classes + 1, true, &at.at("cls_score")),
                bbox_pred: Linear::new(inputs, boxes_each * 4, true, &at.at("bbox_pred")),
                coder: coder(weights, true),
                matcher,
                regression: Regression::read(
                    of_boxes,
                    &head.bbox_reg_loss_type,
                    head.smooth_l1_beta,
                    head.bbox_reg_loss_weight,
                )?,
            });
        }
        let masks = match model.mask_on {
            false => None,
            true => {
                let own = (!shared).then_some(features.as_slice());
                let at = at.at("mask_head");
                Some(MaskBranch::read(whole, own, channels, classes, &at)?)
            }
        };
        Ok(Self {
            places,
            pooler,
            res5,
            stages,
            masks,
            classes,
            sigmoid: head.use_sigmoid_ce,
            select: Select {
                classes,
                score_thr: config.score_thresh_test,
                at_least: false,
                labels: Labels::Every,
                nms_pre: i64::MAX,
                min_bbox_size: -1.0,
                group: Group::Class,
                nms: NmsConfig {
                    iou_threshold: config.nms_thresh_test,
                    ..NmsConfig::default()
                },
                max_per_img: match test.detections_per_image {
                    most if most >= 0 => most,
                    _ => i64::MAX,
                },
            },
            sampler: sampler(
                group,
                config.batch_size_per_image.get(),
                config.positive_fraction,
            )?,
            dice: at.at("sampler").dice(),
            append_gt: config.proposal_append_gt,
        })
    }

    /// Classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    fn maps(&self, maps: &[Tensor<4>]) -> Vec<Tensor<4>> {
        self.places.iter().map(|i| maps[*i].clone()).collect()
    }

    /// What boxes are made of.
    fn features(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> Tensor<4> {
        let x = self.pooler.forward(maps, rows);
        self.res5.iter().fold(x, |x, block| block.forward(x))
    }

    fn boxes(&self, stage: &Stage, features: Tensor<4>) -> BoxOutputs {
        stage.forward(match self.res5.is_empty() {
            true => stage.head.forward(features),
            false => {
                let [rows, channels, height, width] = features.dims();
                let places = features.reshape([rows, channels, height * width]);
                places.mean_dim(2).squeeze_dim(2)
            }
        })
    }

    fn probabilities(&self, logits: Tensor<2>) -> Tensor<2> {
        let all = match self.sigmoid {
            true => activation::sigmoid(logits),
            false => activation::softmax(logits, 1),
        };
        all.narrow(1, 0, self.classes)
    }

    /// What there is to choose from: every class of every region.
    fn candidates(
        &self,
        maps: &[Tensor<4>],
        mut regions: Regions,
        pictures: &Pictures,
    ) -> Candidates {
        let [count, most, _] = regions.boxes.dims();
        let mut sum: Option<Tensor<2>> = None;
        let mut boxes = regions.boxes.clone();
        for stage in &self.stages {
            let outputs = self.boxes(stage, self.features(maps, regions.rows()));
            let own = regions.boxes.clone().reshape([count * most, 4]);
            let [_, numbers] = outputs.deltas.dims();
            let decoded = stage.decoded(own, outputs.deltas);
            let decoded = decoded.reshape([count, most * numbers / 4, 4]);
            boxes = clipped(decoded, pictures, 0.0);
            if numbers == 4 {
                regions.boxes = boxes.clone();
            }
            let scores = self.probabilities(outputs.logits);
            sum = Some(match sum {
                Some(sum) => sum + scores,
                None => scores,
            });
        }
        let scores = sum.expect("there is a stage") / self.stages.len() as f64;
        let scores = scores.reshape([count, most, self.classes]);
        let there = regions.there.unsqueeze_dim::<3>(2);
        // What is no region must not pass whatever the threshold is.
        let scores = scores * there.clone() - (there.neg() + 1.0) * 1e9;
        let each = boxes.dims()[1] / most;
        let as_map = |x: Tensor<3>| x.swap_dims(1, 2).unsqueeze_dim::<4>(2);
        let level = Level {
            scores: as_map(scores),
            activation: Scoring::None,
            factor: None,
            boxes: as_map(boxes.reshape([count, most, each * 4])),
            coder: Coder::Xyxy { clip: false, each },
        };
        Candidates {
            levels: vec![level],
            select: self.select.clone(),
        }
    }

    /// Instances, one list a picture, not yet cut at the end of their pictures.
    pub fn predict<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
    ) -> Pending<'a, Vec<Instances>> {
        Box::pin(async move {
            let maps = self.maps(&maps);
            let regions = Regions::from(&proposals);
            let candidates = self.candidates(&maps, regions, pictures);
            let Some(masks) = &self.masks else {
                drop(maps);
                return detections::detect(&candidates, pictures).await;
            };
            let kept = detections::keep(&candidates, pictures).await?;
            let rows = Regions::from(&kept).rows();
            let features = match &masks.pooler {
                Some(pooler) => pooler.forward(&maps, rows),
                None => self.features(&maps, rows),
            };
            drop(maps);
            let labels = kept.labels.clone().flatten::<1>(0, 1);
            let logits = of_labels(masks.forward(features), labels);
            let level = mask_paste::Level::Threshold(MASK_THRESHOLD);
            with_masks(&kept, activation::sigmoid(logits), pictures, level).await
        })
    }

    /// `loss_cls`, `loss_box_reg` and `loss_mask`; those of a cascade have their stage behind their names.
    pub fn losses<'a>(
        &'a self,
        maps: Vec<Tensor<4>>,
        proposals: Kept,
        pictures: &'a Pictures,
        targets: Targets,
    ) -> Pending<'a, Losses> {
        Box::pin(async move {
            let maps = self.maps(&maps);
            let device = proposals.boxes.device().without_autodiff();
            let listed = boxes_of(&proposals).await?;
            let chosen = listed.into_iter().zip(&targets.pictures);
            let sampled: Vec<Sampled> =
                chosen.map(|(b, objects)| self.choose(b, objects)).collect();
            let mut losses = Losses::default();
            let mut features = None;
            let mut regions = sampled.clone();
            for (i, stage) in self.stages.iter().enumerate() {
                let rows = rows_of(regions.iter().map(|s| s.boxes.as_slice()), &device);
                let read = self.features(&maps, rows);
                let share = 1.0 / self.stages.len() as f64;
                let shared = match self.stages.len() {
                    1 => read.clone(),
                    // The gradients that come to the maps are the mean of those of the stages.
                    _ => read.clone() * share + read.clone().detach() * (1.0 - share),
                };
                let outputs = self.boxes(stage, shared);
                let of_stage = self.stage_losses(stage, &outputs, &regions, &targets);
                let named = |name: &str| match self.stages.len() {
                    1 => name.to_string(),
                    _ => format!("{name}_stage{i}"),
                };
                for (name, loss) in of_stage.iter() {
                    losses.add(named(name), loss.clone());
                }
                features.get_or_insert(read);
                let Some(next) = self.stages.get(i + 1) else {
                    break;
                };
                let boxes = refined(stage, outputs, &regions, pictures).await?;
                let labelled = boxes.into_iter().zip(&targets.pictures);
                let labelled = labelled.map(|(boxes, objects)| next.label(boxes, objects));
                regions = labelled.collect();
            }
            if let Some(masks) = &self.masks {
                let features = match &masks.pooler {
                    Some(pooler) => {
                        let rows = rows_of(sampled.iter().map(Sampled::positives), &device);
                        pooler.forward(&maps, rows)
                    }
                    None => {
                        let features = features.expect("there is a stage");
                        crate::roi_heads::of_positives(features, &sampled)
                    }
                };
                losses.add("loss_mask", mask_loss(masks, features, &sampled, &targets));
            }
            Ok(losses)
        })
    }

    /// The proposals of a picture that are learned from.
    fn choose(&self, mut boxes: Vec<Xyxy>, objects: &Objects) -> Sampled {
        if self.append_gt {
            boxes.extend(&objects.boxes);
        }
        let assigned = self.stages[0].matcher.assign(&boxes, &objects.boxes);
        let chosen = self.sampler.sample(&assigned, &self.dice);
        Sampled::of(&boxes, &assigned, &chosen.positives, &chosen.negatives)
    }

    fn stage_losses(
        &self,
        stage: &Stage,
        outputs: &BoxOutputs,
        regions: &[Sampled],
        targets: &Targets,
    ) -> Losses {
        let (mut labels, mut rows, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        let each = outputs.deltas.dims()[1] / 4;
        for (sampled, objects) in regions.iter().zip(&targets.pictures) {
            for (bbox, object) in sampled.boxes.iter().zip(&sampled.objects) {
                let label = objects.labels[*object];
                rows.push(labels.len() * each + if each == 1 { 0 } else { label });
                pairs.push((*bbox, objects.boxes[*object]));
                labels.push(label);
            }
            let background = sampled.boxes.len() - sampled.objects.len();
            labels.resize(labels.len() + background, self.classes);
        }
        let device = outputs.logits.device().without_autodiff();
        let logits = outputs.logits.clone();
        let of_classes = if labels.is_empty() {
            logits.sum() * 0.0
        } else {
            let factor = Some(AvgFactor::Number(labels.len() as f64));
            let target = ClassTarget::Labels(indices(&labels, &device));
            match self.sigmoid {
                true => CrossEntropyLoss::of_sigmoids(Reduce::default()).forward(
                    logits.narrow(1, 0, self.classes),
                    target,
                    None,
                    factor,
                ),
                false => CrossEntropyLoss::of_softmax(Reduce::default())
                    .forward(logits, target, None, factor),
            }
        };
        let mut losses = Losses::default();
        losses.add("loss_cls", of_classes);
        let deltas = outputs.deltas.clone();
        let count = deltas.dims()[0];
        let deltas = deltas.reshape([count * each, 4]);
        let of_boxes = if rows.is_empty() {
            deltas.sum() * 0.0
        } else {
            let deltas = deltas.select(0, indices(&rows, &device));
            let normalizer = labels.len().max(1) as f64;
            stage
                .regression
                .of(&stage.coder, deltas, &pairs, normalizer)
        };
        losses.add("loss_box_reg", of_boxes);
        losses
    }
}

impl Stage {
    /// The boxes that a stage before gave, each with its object: all are learned from.
    fn label(&self, boxes: Vec<Xyxy>, objects: &Objects) -> Sampled {
        let assigned = self.matcher.assign(&boxes, &objects.boxes);
        let found = |i: &usize| assigned.object[*i] > 0;
        let all = 0..boxes.len();
        let positives: Vec<usize> = all.clone().filter(found).collect();
        let negatives: Vec<usize> = all.filter(|i| !found(i)).collect();
        Sampled::of(&boxes, &assigned, &positives, &negatives)
    }
}

/// The stages of a cascade: weights of deltas, and how boxes find their objects.
fn cascade_stages(
    whole: &Node,
    cascade: &settings::Cascade,
    first: &Matcher,
    agnostic: bool,
) -> Result<Vec<([f32; 4], Matcher)>, Diagnostics> {
    let group = whole.at("MODEL.ROI_BOX_CASCADE_HEAD").unwrap_or(whole);
    let fail =
        |node: &Node, key: &str, message: &str, help: &str| Err(error_at(node, key, message, help));
    if !agnostic {
        let group = whole.at("MODEL.ROI_BOX_HEAD").unwrap_or(whole);
        let message = "the classes of a cascade share their boxes";
        return fail(group, "CLS_AGNOSTIC_BBOX_REG", message, "write True");
    }
    if cascade.ious.is_empty() || cascade.ious.len() != cascade.bbox_reg_weights.len() {
        let message = "`IOUS` and `BBOX_REG_WEIGHTS` have one entry for each stage";
        return fail(group, "IOUS", message, "");
    }
    if cascade.ious[0] != first.first() {
        let message = "the first of `IOUS` is not that of `ROI_HEADS.IOU_THRESHOLDS`";
        return fail(group, "IOUS", message, "write the same number");
    }
    let later = cascade.ious.iter().skip(1);
    let later = later.map(|iou| Matcher::of_threshold(*iou));
    let matchers = std::iter::once(first.clone()).chain(later);
    Ok(cascade
        .bbox_reg_weights
        .iter()
        .copied()
        .zip(matchers)
        .collect())
}

/// The boxes of the next stage, each picture's, cut at its end and without those that are empty.
async fn refined(
    stage: &Stage,
    outputs: BoxOutputs,
    regions: &[Sampled],
    pictures: &Pictures,
) -> Result<Vec<Vec<Xyxy>>, DetectError> {
    let deltas = outputs.deltas.without_autodiff();
    let rows = rows_of(regions.iter().map(|s| s.boxes.as_slice()), &deltas.device());
    if rows.dims()[0] == 0 {
        return Ok(vec![Vec::new(); regions.len()]);
    }
    let read = stage
        .decoded(rows.narrow(1, 1, 4), deltas)
        .into_data_async();
    let read = read.await.map_err(|e| ReadError(format!("{e:?}")))?;
    let numbers: Vec<f32> = read.iter::<f32>().collect();
    let (mut all, _) = numbers.as_chunks::<4>();
    let mut next = Vec::new();
    for (sampled, meta) in regions.iter().zip(&pictures.metas) {
        let (own, rest) = all.split_at(sampled.boxes.len());
        all = rest;
        let [height, width] = meta.img_shape.map(|side| side as f32);
        let ends = [width, height, width, height];
        let cut = |b: &Xyxy| -> Xyxy { std::array::from_fn(|i| b[i].clamp(0.0, ends[i])) };
        let boxes = own.iter().map(cut);
        next.push(boxes.filter(|b| b[2] > b[0] && b[3] > b[1]).collect());
    }
    Ok(next)
}

/// # Panics
/// If objects have no masks.
fn mask_loss(
    branch: &MaskBranch,
    features: Tensor<4>,
    sampled: &[Sampled],
    targets: &Targets,
) -> Tensor<1> {
    let logits = branch.forward(features);
    let [count, channels, height, width] = logits.dims();
    if count == 0 {
        return logits.sum() * 0.0;
    }
    let (mut wanted, mut labels) = (Vec::new(), Vec::new());
    for (sampled, objects) in sampled.iter().zip(&targets.pictures) {
        if sampled.objects.is_empty() {
            continue;
        }
        let masks = objects.masks.as_ref();
        let masks = masks
            .expect("objects have masks: `LoadAnnotations` of the pipeline has with_mask=True");
        wanted.extend(cut_out(masks, sampled, [height, width], LEAST_SIDE));
        let label = |object: &usize| {
            if channels == 1 {
                0
            } else {
                objects.labels[*object]
            }
        };
        labels.extend(sampled.objects.iter().map(label));
    }
    let device = logits.device().without_autodiff();
    let wanted = burn::tensor::TensorData::new(wanted, [count, height, width]);
    let wanted = Tensor::from_data(wanted, &device);
    MaskCrossEntropyLoss::default().forward(logits, wanted, indices(&labels, &device))
}

/// Regions that are smaller are made so large before a mask is cut out, px.
const LEAST_SIDE: f64 = 0.1;
