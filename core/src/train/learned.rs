//! [`Learned`]: what an iteration learns from, made of the samples of a batch.

use burn::tensor::Device;

use super::batch_augments::{BatchAugments, Moment};
use crate::batch::Batch;
use crate::data::packed::Packed;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::detectors::Detector;
use crate::predict;
use crate::targets::Targets;

/// What an iteration learns from.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The pictures, as the model gets them.
    pub batch: Batch,
    /// Their objects.
    pub targets: Targets,
}

impl Learned {
    /// The batch of `samples`, as `detector` takes it at `moment`.
    ///
    /// # Errors
    /// An object of a class that the model does not have; pictures that do not go together or are not what the model takes.
    pub fn of(
        samples: Vec<Packed>,
        detector: &dyn Detector,
        preprocessor: &DetDataPreprocessor,
        augments: &mut BatchAugments,
        moment: Moment,
        device: &Device,
    ) -> Result<Self, String> {
        let mut targets = Targets::of(&samples, detector.labels())?;
        let batch = predict::preprocessed(samples, preprocessor, device);
        let mut batch = batch.map_err(|e| e.to_string())?;
        augments.apply(&mut batch, &mut targets, moment)?;
        predict::check(&batch, detector).map_err(|e| e.to_string())?;
        Ok(Self { batch, targets })
    }
}
