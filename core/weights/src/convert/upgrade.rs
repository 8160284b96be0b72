//! Checkpoints of MMDetection 1.x and 2.x for 3.x: names of the second stage, background last, none for boxes and masks; the layers of SSD.
//!
//! Follows MMDetection's `upgrade_model_version.py` and `upgrade_ssd_version.py`, but reads from the names and shapes what those read from the config's
//! text. Where we differ, [`Upgrade::as_original`] does as the original: it rolls the biases of RPN, RetinaNet and SSD by one although their
//! weights stay, drops the last instead of the first values of the biases of boxes and masks, and leaves an RPN with softmax as it was before 2.5.

use super::{Conversion, ConvertError, background_first, first_key, row_count, wrong_shape};
use crate::{Checkpoint, TensorView};

/// Heads that became parts of `roi_head` with MMDetection 2.0.
const ROI_HEADS: [&str; 5] = [
    "bbox_head",
    "mask_head",
    "semantic_head",
    "grid_head",
    "mask_iou_head",
];
/// Layers of class scores.
const CLASSIFIERS: [&str; 6] = [
    "conv_cls",
    "retina_cls",
    "rpn_cls",
    "fc_cls",
    "fcos_cls",
    "fovea_cls",
];
const NOT_OLD: &str = "give a checkpoint of MMDetection 1.x or 2.x, and its version with --from-version where the file does not say it";

/// How a checkpoint is to be upgraded.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// Classes of the old model, with the background: COCO has 81.
    pub num_classes: usize,
    /// The version that it was trained with, such as `1.0.0`; None as the file says.
    pub version: Option<String>,
    /// Do all as MMDetection's own converter.
    pub as_original: bool,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            num_classes: 81,
            version: None,
            as_original: false,
        }
    }
}

/// A checkpoint of MMDetection 1.x or 2.x for 3.x.
///
/// # Errors
/// [`ConvertError`]; `NotThis` when no version is known.
pub fn upgrade_model_version<'a>(
    checkpoint: &'a Checkpoint,
    how: &Upgrade,
) -> Result<Conversion<'a>, ConvertError> {
    let meta = checkpoint.meta();
    let noted = meta.facts.iter().find(|(name, _)| name == "mmdet_version");
    let noted = noted.map(|(_, version)| version.as_str());
    let version = how.version.as_deref().or(noted).and_then(Version::parse);
    let Some(version) = version else {
        return Err(ConvertError::NotThis {
            wanted: "a checkpoint that says its version of MMDetection",
            found: "no `mmdet_version` in its `meta`".to_owned(),
            help: NOT_OLD,
        });
    };
    if how.num_classes < 2 {
        return Err(ConvertError::NotThis {
            wanted: "a number of classes",
            found: format!("{} with the background", how.num_classes),
            help: "COCO has 81: 80, and the background",
        });
    }
    let old = Old::of(checkpoint, how, version);
    let mut new = Conversion::new(meta.to_dict());
    for key in checkpoint.keys() {
        old.convert(checkpoint.tensor(key)?, &mut new)?;
    }
    if new.changes.reordered.is_empty() && !old.retina && old.classes_first() {
        new.note(format!(
            "no layer has {} classes: give --num-classes N, those of the old model and one for the background",
            how.num_classes
        ));
    }
    if !old.classes_first() {
        new.note(
            "class scores have the background last since MMDetection 2.0: they stay as they are",
        );
    }
    Ok(new)
}

/// An SSD of MMDetection before 2.15: extra layers and the norm are the neck's, and each layer of the head is a row of layers.
///
/// # Errors
/// [`ConvertError`].
pub fn upgrade_ssd_version(checkpoint: &Checkpoint) -> Result<Conversion<'_>, ConvertError> {
    let mut new = Conversion::new(checkpoint.meta().to_dict());
    let is_ssd = |key: &str| key.contains("extra") || key.contains("l2_norm");
    if !checkpoint.keys().any(is_ssd) {
        return Err(ConvertError::NotThis {
            wanted: "an SSD of MMDetection before 2.15",
            found: first_key(checkpoint),
            help: "such a checkpoint has `backbone.extra.0.weight` and `backbone.l2_norm.weight`; for other models there is upgrade-model-version",
        });
    }
    for key in checkpoint.keys() {
        let parts: Vec<&str> = key.split('.').collect();
        let name = match parts.as_slice() {
            ["neck", ..] => {
                return Err(ConvertError::NotThis {
                    wanted: "an SSD of MMDetection before 2.15",
                    found: format!("`{key}` has the new names already"),
                    help: "use the checkpoint as it is",
                });
            }
            [_, "extra", number, .., last] => {
                let number: usize = number.parse().map_err(|_| ConvertError::NotThis {
                    wanted: "an SSD of MMDetection before 2.15",
                    found: format!("`{key}` has no number"),
                    help: "such a checkpoint has `backbone.extra.0.weight`",
                })?;
                format!(
                    "neck.extra_layers.{}.{}.conv.{last}",
                    number / 2,
                    number % 2
                )
            }
            [_, "l2_norm", ..] => "neck.l2_norm.weight".to_owned(),
            ["bbox_head", convs, number, last] => format!("bbox_head.{convs}.{number}.0.{last}"),
            _ => key.to_owned(),
        };
        new.rename(checkpoint.tensor(key)?, &name)?;
    }
    Ok(new)
}

/// A version, as numbers: MMDetection's tool compares the texts, for which 2.10 is before 2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 3]);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0; 3];
        for (at, part) in text.split('.').take(3).enumerate() {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            numbers[at] = part[..digits.unwrap_or(part.len())].parse().ok()?;
        }
        Some(Self(numbers))
    }
}

/// What kind of model the names are of.
struct Old<'h> {
    how: &'h Upgrade,
    version: Version,
    two_stage: bool,
    retina: bool,
    ssd: bool,
    /// Anchors of an RPN with softmax, two rows each; 0 without one.
    softmax_rpn: usize,
}

impl<'h> Old<'h> {
    fn of(checkpoint: &Checkpoint, how: &'h Upgrade, version: Version) -> Self {
        let has = |part: &str| checkpoint.keys().any(|key| key.contains(part));
        let rows = |key: &str| Some(*checkpoint.get(key)?.shape().first()?);
        let anchors = rows("rpn_head.rpn_reg.weight").map_or(0, |rows| rows / 4);
        let softmax = rows("rpn_head.rpn_cls.weight") == Some(2 * anchors);
        Self {
            how,
            version,
            two_stage: has("rpn_head."),
            retina: has("bbox_head.retina_cls."),
            ssd: !has("retina_cls") && has("bbox_head.cls_convs.") && has("l2_norm"),
            softmax_rpn: if softmax { anchors } else { 0 },
        }
    }

    /// True where class scores have the background first: before 2.0.
    fn classes_first(&self) -> bool {
        self.how.as_original || self.version < Version([2, 0, 0])
    }

    fn convert<'a>(
        &self,
        view: TensorView<'a>,
        new: &mut Conversion<'a>,
    ) -> Result<(), ConvertError> {
        let key = view.key;
        let of_roi_head = ROI_HEADS.iter().any(|head| key.starts_with(head));
        let name = match self.two_stage && of_roi_head {
            true => format!("roi_head.{key}"),
            false => self.retina_name(key).unwrap_or_else(|| key.to_owned()),
        };
        let upgrade_rpn = self.version < Version([2, 5, 0]);
        let layer = |layer: &str| is_layer(key, layer);
        let classifier = CLASSIFIERS.iter().find(|name| layer(name));
        if let Some(&classifier) = classifier {
            if classifier == "rpn_cls" && upgrade_rpn && !self.how.as_original {
                return self.rpn(view, &name, new);
            }
            if (classifier != "rpn_cls" || upgrade_rpn) && self.classes_first() {
                return self.scores(view, &name, new);
            }
        } else if self.classes_first() {
            if layer("fc_reg") || (layer("rpn_reg") && !upgrade_rpn) || layer("conv_logits") {
                return self.without_background(view, &name, new);
            }
            if self.ssd && key.contains("cls_convs.") {
                return self.scores(view, &name, new);
            }
        }
        new.rename(view, &name)
    }

    /// RetinaNet's towers were plain convolutions before 0.6.
    fn retina_name(&self, key: &str) -> Option<String> {
        let (front, last) = key.rsplit_once('.')?;
        let (tower, number) = front.rsplit_once('.')?;
        let old = self.retina
            && (tower.ends_with("cls_convs") || tower.ends_with("reg_convs"))
            && number.parse::<usize>().is_ok()
            && matches!(last, "weight" | "bias");
        old.then(|| format!("{front}.conv.{last}"))
    }

    /// Scores of an RPN with softmax, two for each anchor: the background was first until 2.5.
    fn rpn<'a>(
        &self,
        view: TensorView<'a>,
        name: &str,
        new: &mut Conversion<'a>,
    ) -> Result<(), ConvertError> {
        if self.softmax_rpn == 0 || row_count(&view)? != 2 * self.softmax_rpn {
            return new.rename(view, name);
        }
        let rows = background_first(self.softmax_rpn, 2, 1, &[1], true);
        new.rows(
            view,
            name,
            rows,
            "the background after the object, for each anchor",
        )
    }

    /// Class scores with the background last.
    fn scores<'a>(
        &self,
        view: TensorView<'a>,
        name: &str,
        new: &mut Conversion<'a>,
    ) -> Result<(), ConvertError> {
        let (rows, count) = (row_count(&view)?, self.how.num_classes);
        let classes: Vec<usize> = (1..count).collect();
        if self.how.as_original && view.shape().len() == 1 {
            let rolled = (1..rows).chain((rows > 0).then_some(0)).collect();
            return new.rows(view, name, rolled, "the first value last");
        }
        if rows % count != 0 || rows == 0 {
            return new.rename(view, name);
        }
        let order = background_first(rows / count, count, 1, &classes, true);
        new.rows(view, name, order, "the background last")
    }

    /// Boxes or masks without those of the background.
    fn without_background<'a>(
        &self,
        view: TensorView<'a>,
        name: &str,
        new: &mut Conversion<'a>,
    ) -> Result<(), ConvertError> {
        let (rows, count) = (row_count(&view)?, self.how.num_classes);
        if rows % count != 0 || rows == 0 {
            return new.rename(view, name);
        }
        let size = rows / count;
        if is_layer(view.key, "conv_logits") && size != 1 {
            return Err(wrong_shape(&view, format!("{count} rows, or 1")));
        }
        if self.how.as_original && view.shape().len() == 1 {
            let first = (0..rows - size).collect();
            return new.rows(view, name, first, "without the last class");
        }
        new.rows(view, name, (size..rows).collect(), "without the background")
    }
}

/// True when the key is the weight or bias of a layer of this name.
fn is_layer(key: &str, layer: &str) -> bool {
    let mut parts = key.rsplit('.');
    matches!(parts.next(), Some("weight" | "bias")) && parts.next() == Some(layer)
}
