//! torchvision's Faster R-CNN, Mask R-CNN and RetinaNet with ResNet and FPN (`fasterrcnn_resnet50_fpn` and its kin) with MMDetection's names.
//!
//! torchvision's class 0 is the background: it becomes the last of the scores, and leaves boxes and masks. What no weights can make good is said in
//! notes: RetinaNet's anchors rounded to whole pixels, strides measured by the maps, masks pasted by whole pixels.

use super::detector::{Backbone, Detector, Head, Input, Roi};
use super::{Conversion, ConvertError, background_first, first_key, row_count, wrong_shape};
use crate::{COCO_CLASSES, Checkpoint, Dict, Plain, TensorView};

const WANTED: &str = "a Faster R-CNN, Mask R-CNN or RetinaNet of torchvision";
const HELP: &str = "give a state dict of torchvision's fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn or retinanet_resnet50_fpn (not their second versions, `_v2`)";
/// Classes of torchvision's COCO models, with the background.
const COCO: usize = 91;
/// Numbers below that for which COCO has no category.
const UNUSED: [usize; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// A state dict of torchvision with MMDetection's names, and its config. Of 91 classes, COCO's, those 80 that exist are kept, unless
/// `all_classes`, which also keeps RetinaNet's class 0. `eps` is that of the backbone's norms: torchvision's COCO models of the first version have 0.
///
/// # Errors
/// [`ConvertError`].
pub fn torchvision_to_mmdet(
    checkpoint: &Checkpoint,
    all_classes: bool,
    eps: Option<f64>,
) -> Result<Conversion<'_>, ConvertError> {
    let model = Model::of(checkpoint, all_classes)?;
    let mut new = Conversion::new(Dict::new());
    for key in checkpoint.keys() {
        model.convert(checkpoint.tensor(key)?, &mut new)?;
    }
    let official = model.count == COCO;
    let mut detector = model.detector(checkpoint)?;
    detector.backbone.eps = eps.unwrap_or(if official { 0.0 } else { 1e-5 });
    note(&detector, &model, eps.is_some(), &mut new);
    new.config = Some(detector.config());
    if official && !all_classes {
        let facts = Dict::new().with("classes", Plain::tuple(COCO_CLASSES));
        new.meta.insert("dataset_meta", facts);
    }
    Ok(new)
}

struct Model {
    retina: bool,
    mask: bool,
    /// Classes of the file, with the background.
    count: usize,
    /// Those that stay, by their old number.
    classes: Vec<usize>,
}

impl Model {
    fn of(checkpoint: &Checkpoint, all_classes: bool) -> Result<Self, ConvertError> {
        let not_this = |found: String| ConvertError::NotThis {
            wanted: WANTED,
            found,
            help: HELP,
        };
        let retina = checkpoint.keys().any(|key| key.starts_with("head."));
        let scores = match retina {
            true => "head.classification_head.cls_logits.bias",
            false => "roi_heads.box_predictor.cls_score.bias",
        };
        let Some(scores) = checkpoint.get(scores) else {
            return Err(not_this(first_key(checkpoint)));
        };
        let mut count = row_count(&scores)?;
        if retina {
            let boxes = checkpoint
                .get("head.regression_head.bbox_reg.bias")
                .ok_or_else(|| not_this("it has no `head.regression_head.bbox_reg`".to_owned()))?;
            let anchors = row_count(&boxes)? / 4;
            if anchors != 9 || count % 9 != 0 {
                return Err(not_this(format!("{anchors} anchors for {count} scores")));
            }
            count /= anchors;
        }
        if count < 2 {
            return Err(not_this("it has no class but the background".to_owned()));
        }
        let used = |class: &usize| all_classes || count != COCO || !UNUSED.contains(class);
        let first = usize::from(!(retina && all_classes));
        Ok(Self {
            retina,
            mask: checkpoint
                .keys()
                .any(|key| key.starts_with("roi_heads.mask_")),
            count,
            classes: (first..count).filter(used).collect(),
        })
    }

    fn convert<'a>(
        &self,
        view: TensorView<'a>,
        new: &mut Conversion<'a>,
    ) -> Result<(), ConvertError> {
        let Some((name, order)) = new_name(view.key) else {
            return Err(ConvertError::NotThis {
                wanted: WANTED,
                found: format!("no layer of one is called `{}`", view.key),
                help: HELP,
            });
        };
        let (groups, size, background, what) = match order {
            Order::Same => return new.rename(view, &name),
            Order::Scores => (1, 1, true, "the background last"),
            Order::Boxes => (1, 4, false, "without the background"),
            Order::Masks => (1, 1, false, "without the background"),
            Order::Anchors => (9, 1, false, "without class 0, for each anchor"),
        };
        let rows = row_count(&view)?;
        if rows != groups * self.count * size {
            let expected = format!("{} rows", groups * self.count * size);
            return Err(wrong_shape(&view, expected));
        }
        let rows = background_first(groups, self.count, size, &self.classes, background);
        let what = match self.classes.len() + 1 < self.count {
            true => format!("{what}; {} classes of {}", self.classes.len(), self.count),
            false => what.to_owned(),
        };
        new.rows(view, &name, rows, &what)
    }

    fn detector(&self, checkpoint: &Checkpoint) -> Result<Detector, ConvertError> {
        let backbone = Backbone::find(checkpoint, WANTED, |stage, block, layer| {
            format!("backbone.body.layer{stage}.{block}.{layer}.weight")
        })?;
        let head = match self.retina {
            true => Head::Retina {
                stacked_convs: 4,
                extra_on_input: false,
            },
            false => Head::Roi(Roi {
                convs: 0,
                fcs: 2,
                fc_width: checkpoint
                    .get("roi_heads.box_head.fc6.bias")
                    .map_or(Ok(1024), |fc| row_count(&fc))?,
                class_agnostic: false,
                mask: self.mask.then_some((4, false)),
                sampling_ratio: 2,
                aligned: false,
                even_anchors: true,
            }),
        };
        Ok(Detector {
            origin: "torchvision",
            backbone,
            input: Input {
                mean: [0.485, 0.456, 0.406].map(of_255),
                std: [0.229, 0.224, 0.225].map(of_255),
                bgr_to_rgb: true,
            },
            classes: self.classes.len(),
            head,
            max_per_img: if self.retina { 300 } else { 100 },
        })
    }
}

fn of_255(part: f64) -> f64 {
    (part * 255e6).round() / 1e6
}

fn note(detector: &Detector, model: &Model, eps_given: bool, new: &mut Conversion<'_>) {
    new.note(format!(
        "torchvision's strides are the picture's sides over the maps', MMDetection's are fixed: both are the same where padded sides are multiples of {}, else boxes of the coarsest levels lie some pixels elsewhere",
        if model.retina { 128 } else { 64 }
    ));
    if model.retina {
        new.note(
            "torchvision rounds the sides of RetinaNet's anchors to whole pixels: boxes lie up to some pixels elsewhere",
        );
    }
    if model.mask {
        new.note("torchvision pastes masks into boxes of whole pixels: their edges differ");
    }
    if !eps_given {
        new.note(format!(
            "the norms' eps is taken to be {:?} (torchvision's COCO models of the first version have 0, others 1e-05): --norm-eps sets another",
            detector.backbone.eps
        ));
    }
}

/// What becomes of a tensor's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Same,
    Scores,
    Boxes,
    Masks,
    Anchors,
}

/// MMDetection's name of a tensor; None where torchvision's models have none of this name.
fn new_name(key: &str) -> Option<(String, Order)> {
    let (layer, last) = key.rsplit_once('.')?;
    if let Some(layer) = layer.strip_prefix("backbone.body.") {
        let known = layer.starts_with("layer") || layer == "conv1" || layer == "bn1";
        return known.then(|| (format!("backbone.{layer}.{last}"), Order::Same));
    }
    if !matches!(last, "weight" | "bias") {
        return None;
    }
    let renamed = |name: String| Some((format!("{name}.{last}"), Order::Same));
    let numbered = |prefix: &str| {
        let number = layer.strip_prefix(prefix)?;
        // Since torchvision 0.13 there is a sequence around each convolution.
        let number = number.strip_suffix(".0").unwrap_or(number);
        number.parse::<usize>().ok()
    };
    if let Some(n) = numbered("backbone.fpn.inner_blocks.") {
        return renamed(format!("neck.lateral_convs.{n}.conv"));
    }
    if let Some(n) = numbered("backbone.fpn.layer_blocks.") {
        return renamed(format!("neck.fpn_convs.{n}.conv"));
    }
    // Before torchvision 0.13 the activations between the towers' convolutions were counted, too.
    for (tower, name) in [
        ("head.classification_head.conv.", "cls_convs"),
        ("head.regression_head.conv.", "reg_convs"),
    ] {
        if let Some(n) = numbered(tower) {
            let old = !layer.strip_prefix(tower)?.ends_with(".0");
            let n = if old { n / 2 } else { n };
            return renamed(format!("bbox_head.{name}.{n}.conv"));
        }
    }
    if let Some(rest) = layer.strip_prefix("roi_heads.mask_head.") {
        let number = match rest.strip_prefix("mask_fcn") {
            Some(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
            None => rest.strip_suffix(".0")?.parse().ok()?,
        };
        return renamed(format!("roi_head.mask_head.convs.{number}.conv"));
    }
    let (name, order) = match layer {
        "backbone.fpn.extra_blocks.p6" => ("neck.fpn_convs.3.conv", Order::Same),
        "backbone.fpn.extra_blocks.p7" => ("neck.fpn_convs.4.conv", Order::Same),
        "rpn.head.conv" | "rpn.head.conv.0.0" => ("rpn_head.rpn_conv", Order::Same),
        "rpn.head.cls_logits" => ("rpn_head.rpn_cls", Order::Same),
        "rpn.head.bbox_pred" => ("rpn_head.rpn_reg", Order::Same),
        "roi_heads.box_head.fc6" => ("roi_head.bbox_head.shared_fcs.0", Order::Same),
        "roi_heads.box_head.fc7" => ("roi_head.bbox_head.shared_fcs.1", Order::Same),
        "roi_heads.box_predictor.cls_score" => ("roi_head.bbox_head.fc_cls", Order::Scores),
        "roi_heads.box_predictor.bbox_pred" => ("roi_head.bbox_head.fc_reg", Order::Boxes),
        "roi_heads.mask_predictor.conv5_mask" => ("roi_head.mask_head.upsample", Order::Same),
        "roi_heads.mask_predictor.mask_fcn_logits" => {
            ("roi_head.mask_head.conv_logits", Order::Masks)
        }
        "head.classification_head.cls_logits" => ("bbox_head.retina_cls", Order::Anchors),
        "head.regression_head.bbox_reg" => ("bbox_head.retina_reg", Order::Same),
        _ => return None,
    };
    Some((format!("{name}.{last}"), order))
}
