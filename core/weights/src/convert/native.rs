//! Detectron2's Faster R-CNN, Mask R-CNN and RetinaNet with FPN for MMDetection's own models, and the config that goes with them.
//!
//! Both have the background last and the same order of a picture's values before fully connected layers. RetinaNet's anchors go by size, then ratio, in
//! Detectron2, and by ratio, then size, in MMDetection: their rows are moved. With one size for each level the RPN's stay.
//! What no config makes the same: MMDetection bounds how much larger and how much smaller than its anchor a box may be (1000/16), Detectron2 only how
//! much larger.

use super::detector::{Backbone, Detector, Head, Input, Roi};
use super::{Conversion, ConvertError, first_key, row_count, wrong_shape};
use crate::{Checkpoint, Dict, TensorView};

const WANTED: &str = "a Faster R-CNN, Mask R-CNN or RetinaNet of Detectron2 with FPN";
const HELP: &str = "leave --native out: the checkpoint then fits a config with `Detectron2Wrapper`, which has all of Detectron2's options";
/// Sizes, and ratios, of RetinaNet's anchors at each place.
const SIZES: usize = 3;
const RATIOS: usize = 3;

/// A Detectron2 checkpoint with MMDetection's names, and its config. The file says neither where a block has its stride nor how pictures are
/// normalized: both are taken to be as in Detectron2's model zoo, unless `pytorch_style` (stride in the 3x3 convolutions, as torchvision's weights
/// want it) and `rgb` say otherwise.
///
/// # Errors
/// [`ConvertError`].
pub fn detectron2_native(
    checkpoint: &Checkpoint,
    rgb: bool,
    pytorch_style: bool,
) -> Result<Conversion<'_>, ConvertError> {
    let retina = checkpoint.get("head.cls_score.weight").is_some();
    if !retina
        && checkpoint
            .get("roi_heads.box_predictor.cls_score.weight")
            .is_none()
    {
        return Err(not_this(first_key(checkpoint)));
    }
    let mut new = Conversion::new(Dict::new());
    for key in checkpoint.keys() {
        convert(checkpoint.tensor(key)?, retina, &mut new)?;
    }
    let mut backbone = Backbone::find(checkpoint, WANTED, |stage, block, layer| {
        format!("backbone.bottom_up.res{}.{block}.{layer}.weight", stage + 1)
    })?;
    let resnext = backbone.groups.0 > 1;
    backbone.caffe = !resnext && !pytorch_style && backbone.depth > 34;
    let found = Found { checkpoint };
    let (classes, head) = match retina {
        true => found.retina()?,
        false => found.two_stage()?,
    };
    let input = found.input(rgb, resnext)?;
    new.note(format!(
        "taken as in Detectron2's model zoo: pictures in {}, mean {:?}, std {:?}; strides in the {} convolution of a block. Where MODEL.PIXEL_MEAN, PIXEL_STD, INPUT.FORMAT or RESNETS.STRIDE_IN_1X1 say otherwise, use --rgb and --pytorch-style, or change the config",
        if rgb { "RGB" } else { "BGR" },
        input.mean,
        input.std,
        if backbone.caffe { "1x1" } else { "3x3" },
    ));
    let detector = Detector {
        origin: "Detectron2",
        backbone,
        input,
        classes,
        head,
        max_per_img: 100,
    };
    new.config = Some(detector.config());
    Ok(new)
}

fn not_this(found: String) -> ConvertError {
    ConvertError::NotThis {
        wanted: WANTED,
        found,
        help: HELP,
    }
}

fn convert<'a>(
    view: TensorView<'a>,
    retina: bool,
    new: &mut Conversion<'a>,
) -> Result<(), ConvertError> {
    let key = view.key;
    if key == "pixel_mean" || key == "pixel_std" {
        new.leave_out(key, "it is in the config");
        return Ok(());
    }
    if key.contains("cell_anchors") {
        new.leave_out(key, "anchors are made from the config");
        return Ok(());
    }
    let name = new_name(key, retina)
        .ok_or_else(|| not_this(format!("no layer of one is called `{key}`")))?;
    let by_anchor = match key.rsplit_once('.') {
        Some(("head.cls_score" | "head.bbox_pred", _)) => SIZES * RATIOS,
        _ => return new.rename(view, &name),
    };
    let rows = row_count(&view)?;
    if rows % by_anchor != 0 {
        return Err(wrong_shape(&view, "nine anchors, each with as many rows"));
    }
    let order = anchors_by_ratio(rows / by_anchor);
    new.rows(view, &name, order, "anchors by ratio, then size")
}

/// Rows of anchors by size and then ratio, for an order by ratio and then size; each anchor has `size` rows.
pub(super) fn anchors_by_ratio(size: usize) -> Vec<usize> {
    let anchors = (0..RATIOS).flat_map(|ratio| (0..SIZES).map(move |s| s * RATIOS + ratio));
    anchors
        .flat_map(|anchor| anchor * size..(anchor + 1) * size)
        .collect()
}

/// MMDetection's name; None where these models have no such layer.
fn new_name(key: &str, retina: bool) -> Option<String> {
    if let Some(rest) = key.strip_prefix("backbone.bottom_up.") {
        return Some(format!("backbone.{}", backbone_name(rest)?));
    }
    let (layer, last) = key.rsplit_once('.')?;
    if !matches!(last, "weight" | "bias") {
        return None;
    }
    let numbered = |prefix: &str| layer.strip_prefix(prefix)?.parse::<usize>().ok();
    // The neck's first level is p2, or RetinaNet's p3.
    let first = if retina { 3 } else { 2 };
    let level = |number: usize| number.checked_sub(first).filter(|&level| level < 8);
    let name = if let Some(n) = numbered("backbone.fpn_lateral") {
        format!("neck.lateral_convs.{}.conv", level(n)?)
    } else if let Some(n) = numbered("backbone.fpn_output") {
        format!("neck.fpn_convs.{}.conv", level(n)?)
    } else if let Some(n) = numbered("backbone.top_block.p") {
        format!("neck.fpn_convs.{}.conv", level(n)?)
    } else if let Some(n) = numbered("head.cls_subnet.") {
        // Activations between the convolutions are counted, too.
        format!("bbox_head.cls_convs.{}.conv", n / 2)
    } else if let Some(n) = numbered("head.bbox_subnet.") {
        format!("bbox_head.reg_convs.{}.conv", n / 2)
    } else if let Some(n) = numbered("roi_heads.box_head.conv") {
        format!("roi_head.bbox_head.shared_convs.{}.conv", n.checked_sub(1)?)
    } else if let Some(n) = numbered("roi_heads.box_head.fc") {
        format!("roi_head.bbox_head.shared_fcs.{}", n.checked_sub(1)?)
    } else if let Some(n) = numbered("roi_heads.mask_head.mask_fcn") {
        format!("roi_head.mask_head.convs.{}.conv", n.checked_sub(1)?)
    } else {
        match layer {
            "proposal_generator.rpn_head.conv" => "rpn_head.rpn_conv",
            "proposal_generator.rpn_head.objectness_logits" => "rpn_head.rpn_cls",
            "proposal_generator.rpn_head.anchor_deltas" => "rpn_head.rpn_reg",
            "roi_heads.box_predictor.cls_score" => "roi_head.bbox_head.fc_cls",
            "roi_heads.box_predictor.bbox_pred" => "roi_head.bbox_head.fc_reg",
            "roi_heads.mask_head.deconv" => "roi_head.mask_head.upsample",
            "roi_heads.mask_head.predictor" => "roi_head.mask_head.conv_logits",
            "head.cls_score" => "bbox_head.retina_cls",
            "head.bbox_pred" => "bbox_head.retina_reg",
            _ => return None,
        }
        .to_owned()
    };
    Some(format!("{name}.{last}"))
}

/// A layer of the backbone: `res2.0.conv1.norm.weight` is `layer1.0.bn1.weight`.
fn backbone_name(rest: &str) -> Option<String> {
    let parts: Vec<&str> = rest.split('.').collect();
    let (front, layer) = match *parts.as_slice() {
        ["stem", ref layer @ ..] => (String::new(), layer),
        [stage, block, ref layer @ ..] => {
            let stage: usize = stage.strip_prefix("res")?.parse().ok()?;
            let block: usize = block.parse().ok()?;
            (format!("layer{}.{block}.", stage.checked_sub(1)?), layer)
        }
        _ => return None,
    };
    let (name, last) = match *layer {
        ["shortcut", last] => ("downsample.0".to_owned(), last),
        ["shortcut", "norm", last] => ("downsample.1".to_owned(), last),
        [conv @ ("conv1" | "conv2" | "conv3"), "weight"] => (conv.to_owned(), "weight"),
        ["conv1", "norm", last] => ("bn1".to_owned(), last),
        ["conv2", "norm", last] => ("bn2".to_owned(), last),
        ["conv3", "norm", last] => ("bn3".to_owned(), last),
        _ => return None,
    };
    Some(format!("{front}{name}.{last}"))
}

/// What the shapes of a file tell.
struct Found<'a> {
    checkpoint: &'a Checkpoint,
}

impl Found<'_> {
    fn rows(&self, key: &str) -> Result<usize, ConvertError> {
        row_count(&self.checkpoint.tensor(key)?)
    }

    /// How many layers there are by names that go on counting.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        let there = |n: &usize| self.checkpoint.get(&name(*n)).is_some();
        (0..64).take_while(there).count()
    }

    fn retina(&self) -> Result<(usize, Head), ConvertError> {
        let anchors = self.rows("head.bbox_pred.weight")? / 4;
        if anchors != SIZES * RATIOS {
            return Err(not_this(format!(
                "{anchors} anchors at each place, not nine"
            )));
        }
        let stacked_convs = self.count(|n| format!("head.cls_subnet.{}.weight", 2 * n));
        let head = Head::Retina {
            stacked_convs,
            extra_on_input: self.on_input(),
        };
        Ok((self.rows("head.cls_score.weight")? / anchors, head))
    }

    /// True where p6 is made of the backbone's last map: with the FPN's it would have its 256 channels.
    fn on_input(&self) -> bool {
        let p6 = self.checkpoint.get("backbone.top_block.p6.weight");
        let lateral = self.checkpoint.get("backbone.fpn_lateral5.weight");
        match (p6.map(|w| w.shape()), lateral.map(|w| w.shape())) {
            (Some(&[_, p6, ..]), Some(&[_, last, ..])) => p6 == last,
            _ => true,
        }
    }

    fn two_stage(&self) -> Result<(usize, Head), ConvertError> {
        let anchors = self.rows("proposal_generator.rpn_head.objectness_logits.weight")?;
        if anchors != RATIOS {
            return Err(not_this(format!(
                "{anchors} anchors of the RPN at each place, not three"
            )));
        }
        let scores = self.rows("roi_heads.box_predictor.cls_score.weight")?;
        let classes = scores.saturating_sub(1);
        if classes == 0 {
            return Err(not_this("it has no class but the background".to_owned()));
        }
        let boxes = self.rows("roi_heads.box_predictor.bbox_pred.weight")?;
        let fcs = self.count(|n| format!("roi_heads.box_head.fc{}.weight", n + 1));
        let mask = self.checkpoint.get("roi_heads.mask_head.predictor.weight");
        let mask_convs = self.count(|n| format!("roi_heads.mask_head.mask_fcn{}.weight", n + 1));
        let mask = mask.map(|mask| row_count(&mask)).transpose()?;
        let head = Roi {
            convs: self.count(|n| format!("roi_heads.box_head.conv{}.weight", n + 1)),
            fcs,
            fc_width: match fcs {
                0 => 1024,
                _ => self.rows("roi_heads.box_head.fc1.weight")?,
            },
            class_agnostic: boxes == 4 && classes > 1,
            mask: mask.map(|rows| (mask_convs, rows == 1 && classes > 1)),
            sampling_ratio: 0,
            aligned: true,
            even_anchors: false,
        };
        Ok((classes, Head::Roi(head)))
    }

    /// The file's own mean and std where it has them, in the order of its colours.
    fn input(&self, rgb: bool, resnext: bool) -> Result<Input, ConvertError> {
        let stored = |key: &str| -> Result<Option<[f64; 3]>, ConvertError> {
            let Some(view) = self.checkpoint.get(key) else {
                return Ok(None);
            };
            let values: Vec<f64> = view.f32()?.into_iter().map(nearest_decimal).collect();
            Ok(values.try_into().ok())
        };
        let std = match resnext {
            true => [57.375, 57.12, 58.395],
            false => [1.0; 3],
        };
        let reversed = |[a, b, c]: [f64; 3]| if rgb { [c, b, a] } else { [a, b, c] };
        Ok(Input {
            mean: stored("pixel_mean")?.unwrap_or_else(|| reversed([103.53, 116.28, 123.675])),
            std: stored("pixel_std")?.unwrap_or_else(|| reversed(std)),
            bgr_to_rgb: rgb,
        })
    }
}

/// A number as it was written before it became an f32.
fn nearest_decimal(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
