//! Validation by a config's `val_dataloader` and `val_evaluator`, with the model that is trained.

use std::ops::ControlFlow;

use burn::tensor::Device;

use super::Stop;
use super::trainer::{Validated, Validation};
use crate::detectors::Detector;
use crate::evaluate::{TestSet, Told};

impl Validation for TestSet {
    fn figures(
        &mut self,
        model: &dyn Detector,
        device: &Device,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), Stop>,
    ) -> Result<Validated, Stop> {
        let mut stopped = Ok(());
        let report = pollster::block_on(self.run(model, device, &mut |t| {
            stopped = told(t);
            match stopped {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        }));
        stopped?;
        let report = report.map_err(|e| Stop::fault(e.to_string()))?;
        for (path, content) in &report.files {
            let written = crate::host::checkpoint_files::save(path.as_ref(), |file| {
                Ok(file.write_all(content)?)
            });
            written.map_err(|e| Stop::fault(e.to_string()))?;
        }
        let mut texts = report.texts;
        texts.extend(report.notes);
        Ok(Validated {
            figures: report.figures.into_iter().collect(),
            texts,
        })
    }
}
