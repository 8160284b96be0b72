//! The second stage of Faster R-CNN (Ren et al. 2015, arXiv 1506.01497) and Mask R-CNN (He et al. 2017, arXiv 1703.06870): MMDetection 3.3.0's
//! `StandardRoIHead`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::box_head::{BoxHead, BoxHeads, BoxOutputs};
use super::dynamic::Dynamic;
use super::extractor::{self, RoiExtractor};
use super::mask_head::{MaskHead, MaskHeads};
use super::mask_iou_head::{MaskIouHead, MaskIouHeads};
use super::pisa::{self, Pisa};
use super::regions::{Regions, rows_of};
use super::sampling::{Sampled, boxes_of};
use super::{Given, RoiHead, box_learning, mask_learning, present, shared_head};
use crate::backbones::ResLayer;
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::detectors::Pending;
use crate::heads::training;
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

/// The keys of `type='DoubleHeadRoIHead'`.
#[derive(Debug, Deserialize)]
struct DoubleHeadConfig {
    reg_roi_scale_factor: f32,
}

pub(super) fn build(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    let StandardConfig {} = node.read_knowing(PARTS)?;
    Ok(Box::new(StandardRoiHead::read(node, given, build, None)?))
}

/// The second stage of Double-Head R-CNN (Wu et al. 2019, arXiv 1904.06493): boxes are told from larger regions than classes are.
pub(super) fn build_double(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    let config: DoubleHeadConfig = node.read_knowing(PARTS)?;
    let scale = config.reg_roi_scale_factor;
    if !(scale > 0.0 && scale.is_finite()) {
        let message = format!("`reg_roi_scale_factor` is {scale}, must be above 0");
        return Err(error_at(node, "reg_roi_scale_factor", message, ""));
    }
    let head = StandardRoiHead::read(node, given, build, Some(scale))?;
    Ok(Box::new(head))
}

/// The second stage of Dynamic R-CNN (Zhang et al. 2020, arXiv 2004.06002), which differs while it learns.
pub(super) fn build_dynamic(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    let StandardConfig {} = node.read_knowing(PARTS)?;
    let mut head = StandardRoiHead::read(node, given, build, None)?;
    head.dynamic = training(build, || {
        let learning = head.box_head.learning.as_ref();
        if learning.is_some_and(|learning| !learning.asks_beta()) {
            let message = "`DynamicRoIHead` needs a box head whose `loss_bbox` is a SmoothL1Loss";
            return Err(error_at(node, "bbox_head", message, ""));
        }
        if learning.is_some_and(|learning| !learning.sampling.asks_overlap()) {
            let message = "`DynamicRoIHead` needs a MaxIoUAssigner in its `train_cfg`";
            return Err(error_at(node, "", message, ""));
        }
        Dynamic::read(node, &given)
    })?;
    Ok(Box::new(head))
}

/// The second stage of PISA (Cao et al. 2019, arXiv 1904.04821), which differs while it learns.
pub(super) fn build_pisa(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    let StandardConfig {} = node.read_knowing(PARTS)?;
    let mut head = StandardRoiHead::read_any(node, given, build, None)?;
    head.pisa = training(build, || Pisa::read(node, &given, &head.box_head))?;
    Ok(Box::new(head))
}

/// The keys of `type='MaskScoringRoIHead'`.
#[derive(Debug, Deserialize)]
struct MaskScoringConfig {}

/// The second stage of Mask Scoring R-CNN (Huang et al. 2019, arXiv 1903.00241): scores say how good masks are, too.
pub(super) fn build_scoring(
    node: &Node,
    given: Given,
    build: &Build,
) -> Result<Box<dyn RoiHead>, Diagnostics> {
    let parts = PARTS.iter().copied().chain(["mask_iou_head"]);
    let parts: Vec<_> = parts.collect();
    let MaskScoringConfig {} = node.read_knowing(&parts)?;
    let mut head = StandardRoiHead::read(node, given, build, None)?;
    let (Some(described), Some(masks)) = (present(node, "mask_iou_head"), &mut head.masks) else {
        let message = "`MaskScoringRoIHead` needs a `mask_head` and a `mask_iou_head`";
        return Err(error_at(node, "mask_iou_head", message, ""));
    };
    if masks.head.agnostic {
        let message = "`MaskScoringRoIHead` needs a mask of each class";
        let help = "leave `class_agnostic` of the `mask_head` out";
        return Err(error_at(described, "", message, help));
    }
    let (make, below) = build.part::<MaskIouHeads>("mask_iou_head", described)?;
    let scoring = make(described, &given, &below)?;
    let extractor = masks.extractor.as_ref().unwrap_or(&head.extractor);
    let map = shared_head::through(&head.shared_head, extractor.gives(), node)?;
    let mask = map.size.map(|side| masks.head.side(side));
    scoring.check(described, map, mask, masks.head.classes())?;
    masks.scoring = Some(scoring);
    Ok(Box::new(head))
}

/// One box head, and mostly one mask head.
#[derive(Debug)]
pub struct StandardRoiHead {
    extractor: Box<dyn RoiExtractor>,
    shared_head: Option<ResLayer>,
    /// Of Double-Head R-CNN: how much larger the regions are that boxes are told from.
    reg_scale: Option<f32>,
    box_head: BoxHead,
    masks: Option<MaskBranch>,
    /// Of Dynamic R-CNN.
    dynamic: Option<Dynamic>,
    /// Of PISA.
    pisa: Option<Pisa>,
}

/// What gives masks.
#[derive(Debug)]
struct MaskBranch {
    /// None: boxes and masks are seen alike.
    extractor: Option<Box<dyn RoiExtractor>>,
    head: MaskHead,
    /// What weighs scores by how good masks are.
    scoring: Option<MaskIouHead>,
    level: Level,
}

impl StandardRoiHead {
    /// Any but PISA's.
    fn read(
        node: &Node,
        given: Given,
        build: &Build,
        reg_scale: Option<f32>,
    ) -> Result<Self, Diagnostics> {
        let head = Self::read_any(node, given, build, reg_scale)?;
        pisa::refuse_ranks(node, &head.box_head)?;
        Ok(head)
    }

    fn read_any(
        node: &Node,
        given: Given,
        build: &Build,
        reg_scale: Option<f32>,
    ) -> Result<Self, Diagnostics> {
        let Some(described) = present(node, "bbox_head") else {
            return Err(error_at(
                node,
                "bbox_head",
                "this second stage has no `bbox_head`",
                "",
            ));
        };
        let shared_head = shared_head::read(node, build)?;
        let masked = present(node, "mask_head").is_some();
        if masked && present(node, "mask_roi_extractor").is_none() {
            let [own, other] = ["bbox_roi_extractor", "mask_roi_extractor"];
            build.params.at(own).tie(&build.params.at(other));
        }
        let extractor = extractor::read(node, "bbox_roi_extractor", &given.features, build)?;
        let map = shared_head::through(&shared_head, extractor.gives(), node)?;
        let (make, below) = build.part::<BoxHeads>("bbox_head", described)?;
        let box_head = make(described, &given, &below)?;
        box_head.check(described, map, reg_scale.is_some())?;
        let masks = match present(node, "mask_head") {
            None => None,
            Some(described) => {
                let extractor = match present(node, "mask_roi_extractor") {
                    None => {
                        // The state dict has what is shared by both names.
                        let shared = present(node, "bbox_roi_extractor").unwrap_or(node);
                        let other = "mask_roi_extractor";
                        extractor::read_one(shared, other, &given.features, build)?;
                        None
                    }
                    Some(_) => Some(extractor::read(
                        node,
                        "mask_roi_extractor",
                        &given.features,
                        build,
                    )?),
                };
                let (make, below) = build.part::<MaskHeads>("mask_head", described)?;
                let head = make(described, &given, &below)?;
                let map = match &extractor {
                    Some(extractor) => shared_head::through(&shared_head, extractor.gives(), node)?,
                    None => map,
                };
                head.check(described, map)?;
                Some(MaskBranch {
                    extractor,
                    head,
                    scoring: None,
                    level: level(given.test_cfg)?,
                })
            }
        };
        Ok(Self {
            extractor,
            shared_head,
            reg_scale,
            box_head,
            masks,
            dynamic: None,
            pisa: None,
        })
    }

    /// What heads see of regions.
    fn see(
        &self,
        extractor: &dyn RoiExtractor,
        maps: &[Tensor<4>],
        rows: Tensor<2>,
        scale: Option<f32>,
    ) -> Tensor<4> {
        let features = extractor.extract_scaled(maps, rows, scale);
        match &self.shared_head {
            // There may be no region to be seen, which convolutions need not take.
            Some(shared) if features.dims()[0] > 0 => shared.forward(features),
            Some(shared) => {
                let [_, _, height, width] = features.dims();
                let [_, channels] = shared.channels();
                let [height, width] = [height, width].map(|side| shared.side(side));
                Tensor::zeros([0, channels, height, width], &features.device())
            }
            None => features,
        }
    }

    fn boxes(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> BoxOutputs {
        self.boxes_and_features(maps, rows).0
    }

    /// Also what was seen of the regions.
    fn boxes_and_features(&self, maps: &[Tensor<4>], rows: Tensor<2>) -> (BoxOutputs, Tensor<4>) {
        let extractor = self.extractor.as_ref();
        let features = self.see(extractor, maps, rows.clone(), None);
        let larger = self.reg_scale;
        let larger = larger.map(|scale| self.see(extractor, maps, rows, Some(scale)));
        let of_boxes = larger.unwrap_or_else(|| features.clone());
        let outputs = self.box_head.forward_two(features.clone(), of_boxes);
        (outputs, features)
    }
}

impl MaskBranch {
    /// The losses of what it makes of the features of regions with objects.
    fn losses(&self, features: Tensor<4>, sampled: &[Sampled], targets: &Targets) -> Losses {
        let logits = self.head.forward(features.clone());
        let (mut losses, wanted) =
            mask_learning::losses_and_wanted(&self.head, logits.clone(), sampled, targets);
        let Some(scoring) = &self.scoring else {
            return losses;
        };
        let loss = match wanted {
            None => logits.sum() * 0.0,
            Some((wanted, labels)) => {
                let own = self.head.of_labels(logits, labels.clone());
                let overlaps = scoring.forward(features, own.clone(), labels);
                scoring.loss(overlaps, own, wanted, sampled, targets)
            }
        };
        losses.add("loss_mask_iou", loss);
        losses
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
            let features = self.see(extractor.as_ref(), &maps, rows, None);
            drop(maps);
            let logits = masks.head.forward(features.clone());
            let labels = kept.labels.clone().flatten::<1>(0, 1);
            let logits = masks.head.of_labels(logits, labels.clone());
            let mut kept = kept;
            if let Some(scoring) = &masks.scoring {
                let overlaps = scoring.forward(features, logits.clone(), labels);
                let overlaps = overlaps.reshape(kept.scores.dims());
                kept.scores = kept.scores * overlaps;
            }
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
            let now = self.dynamic.as_ref().map(Dynamic::now).unwrap_or_default();
            let sampling = &self.box_head.learning().sampling;
            for (i, (boxes, objects)) in proposals.into_iter().zip(&targets.pictures).enumerate() {
                let look = |boxes: &[_]| {
                    let before = std::iter::repeat_n(&[][..], i);
                    let rows = rows_of(before.chain([boxes]), &device);
                    let maps: Vec<_> = maps.iter().map(|m| m.clone().without_autodiff()).collect();
                    self.boxes(&maps, rows).without_autodiff()
                };
                let head = &self.box_head;
                let chosen = sampling.choose(boxes, objects, head, &look, now.overlap);
                sampled.push(chosen.await?);
            }
            let mut learned = box_learning::Learned::of(&sampled, targets, &self.box_head);
            learned.beta = now.beta;
            if let Some(dynamic) = &self.dynamic {
                dynamic.saw(&sampled, learned.moves(&self.box_head));
            }
            let rows = rows_of(sampled.iter().map(|s| s.boxes.as_slice()), &device);
            let (outputs, features) = self.boxes_and_features(&maps, rows);
            if let Some(pisa) = &self.pisa {
                let head = &self.box_head;
                pisa.weigh(head, &outputs, &sampled, &mut learned).await?;
            }
            let mut losses = box_learning::losses(&self.box_head, &outputs, &learned);
            if let Some(pisa) = &self.pisa
                && let Some(carl) = pisa.carl(&self.box_head, &outputs, &learned)
            {
                losses.add("loss_carl", carl);
            }
            if let Some(masks) = &self.masks {
                let features = match &masks.extractor {
                    Some(extractor) => {
                        let rows = rows_of(sampled.iter().map(Sampled::positives), &device);
                        self.see(extractor.as_ref(), &maps, rows, None)
                    }
                    None => of_positives(features, &sampled),
                };
                losses.append("", masks.losses(features, &sampled, targets));
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::backbones::{Feature, Features};
    use crate::config::parse_value;
    use crate::layers::{Mode, Params};
    use crate::roi_heads::RoiHeads;

    const ALIGN: &str = "roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0)";

    /// What is said of a second stage on C4 maps, `""` for nothing; `replaced` are parts of its text.
    fn said_of(replaced: &[(&str, &str)]) -> String {
        let mut text = format!(
            "dict(type='MaskScoringRoIHead', shared_head=dict(type='ResLayer', depth=18, stage=1), bbox_roi_extractor=dict(type='SingleRoIExtractor', {ALIGN}, out_channels=64, featmap_strides=[16]), \
             bbox_head=dict(type='BBoxHead', with_avg_pool=True, in_channels=128, num_classes=3), mask_head=dict(type='FCNMaskHead', num_convs=0, in_channels=128, num_classes=3), \
             mask_iou_head=dict(type='MaskIoUHead', roi_feat_size=7, in_channels=128, num_classes=3))"
        );
        for (from, to) in replaced {
            text = text.replace(from, to);
        }
        let node = parse_value(&text).unwrap();
        let test_cfg = "dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5)";
        let test_cfg = parse_value(test_cfg).unwrap();
        let registry = crate::registry();
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        let root = Build::new(&registry, params, "mmdet", None);
        let features = [Feature {
            channels: 64,
            stride: 16,
        }];
        let given = Given {
            features: Features {
                list: &features,
                of: "ResNet",
                origin: &node.origin,
            },
            test_cfg: &test_cfg,
            train_cfg: None,
        };
        let made = root.part::<RoiHeads>("roi_head", &node);
        let made = made.and_then(|(make, below)| make(&node, given, &below));
        match made {
            Ok(_) => String::new(),
            Err(problems) => problems.iter().map(|p| p.to_string()).collect(),
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let even = ("output_size=14", "output_size=12");
        let size = ("with_avg_pool=True", "with_avg_pool=True, roi_feat_size=6");
        let fine = [even, size, ("roi_feat_size=7, in", "roi_feat_size=6, in")];
        assert_eq!(said_of(&fine), "");
        for (from, to, part) in [
            (
                "MaskIoUHead', roi_feat_size=6",
                "MaskIoUHead', roi_feat_size=7",
                "`roi_feat_size` is odd",
            ),
            (
                "MaskIoUHead', roi_feat_size=6",
                "MaskIoUHead', roi_feat_size=8",
                "regions are seen as [6, 6]",
            ),
            (
                "stage=1",
                "stage=2",
                "takes 128 channels, but regions have 64",
            ),
            ("stage=1", "stage=0", "0 is out of bounds"),
            ("depth=18", "depth=19", "ResLayer has no depth 19"),
            (
                "depth=18",
                "depth=18, style='torch'",
                "must be 'pytorch' or 'caffe'",
            ),
            (
                "depth=18",
                "depth=18, dcn=dict(type='DCN')",
                "not supported yet",
            ),
            ("depth=18", "depth=18, norm_cfg=None", "needs a `norm_cfg`"),
            (
                "True, roi_feat_size=6, in_channels=128",
                "True, roi_feat_size=6, in_channels=64",
                "write in_channels=128",
            ),
            (
                "True, roi_feat_size=6",
                "False",
                "regions are seen as 6 x 6",
            ),
            (
                "num_convs=0, in_channels=128",
                "num_convs=0, in_channels=64",
                "the mask head has `in_channels` 64",
            ),
            (
                "num_convs=0",
                "num_convs=0, class_agnostic=True",
                "needs a mask of each class",
            ),
            (
                "type='BBoxHead', with",
                "type='DoubleConvFCBBoxHead', num_convs=1, num_fcs=1, with",
                "sees two maps of each region",
            ),
            (
                "'BBoxHead', with_avg_pool=True",
                "'DoubleConvFCBBoxHead', num_convs=1, num_fcs=1, with_avg_pool=False",
                "must be True",
            ),
            (
                "'BBoxHead', with_avg_pool=True",
                "'DoubleConvFCBBoxHead', num_convs=1, num_fcs=1, conv_out_channels=6",
                "a multiple of 4",
            ),
            (
                "SingleRoIExtractor'",
                "GenericRoIExtractor', aggregation='mean'",
                "must be 'sum' or 'concat'",
            ),
            (
                "SingleRoIExtractor'",
                "GenericRoIExtractor', post_cfg=dict(type='GeneralizedAttention', in_channels=32)",
                "takes 32 channels, but gets 64",
            ),
            (
                "SingleRoIExtractor'",
                "GenericRoIExtractor', pre_cfg=dict(type='ConvModule', in_channels=64, out_channels=64, kernel_size=3)",
                "changes the size",
            ),
            (
                "SingleRoIExtractor'",
                "GenericRoIExtractor', pre_cfg=dict(type='ConvModule', in_channels=64, out_channels=32, kernel_size=1)",
                "gives 32 channels, but 64 are wanted",
            ),
            (
                "SingleRoIExtractor'",
                "GenericRoIExtractor', pre_cfg=dict(type='NonLocal2d', in_channels=64, mode='x')",
                "`mode` is 'x'",
            ),
        ] {
            let mut replaced = fine.to_vec();
            replaced.push((from, to));
            let said = said_of(&replaced);
            assert!(said.contains(part), "{to}: {said}");
        }
    }
}
