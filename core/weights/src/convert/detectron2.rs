//! Detectron2's checkpoints for MMDetection's `Detectron2Wrapper`: every name behind a prefix, as MMDetection's `detectron2_to_mmdet.py` has it.

use super::{Conversion, ConvertError};
use crate::{Checkpoint, Dict};

/// Every tensor under `prefix.` and its name, with an empty `meta`.
///
/// # Errors
/// [`ConvertError`].
pub fn detectron2_to_mmdet<'a>(
    checkpoint: &'a Checkpoint,
    prefix: &str,
) -> Result<Conversion<'a>, ConvertError> {
    let prefix = prefix.trim_end_matches('.');
    let mut new = Conversion::new(Dict::new());
    for key in checkpoint.keys() {
        let view = checkpoint.tensor(key)?;
        match prefix {
            "" => new.rename(view, key)?,
            prefix => new.rename(view, &format!("{prefix}.{key}"))?,
        }
    }
    if checkpoint.get("conv1_w").is_some() || checkpoint.get("conv1_b").is_some() {
        new.note(
            "the file has caffe2's names (`conv1_w`), which neither this nor MMDetection's converter translates: name it in the config's `model.d2_detector.weights` instead",
        );
    }
    Ok(new)
}
