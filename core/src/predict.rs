//! Walk 1, inference: pictures in, instances out. [`Predictor::detect`] is its beginning; the functions below follow in the order of the walk.

use burn::tensor::Device;

use crate::Precision;
use crate::batch::{Batch, Pictures};
use crate::config::Diagnostic;
use crate::data::packed::Packed;
use crate::data::pipeline::Pipeline;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::data::{Meta, Picture, PictureError};
use crate::detectors::Detector;
use crate::limits;
use crate::ops::{self, DetectError};
use crate::probe::Probe;
use crate::structures::Instances;
use crate::threads;
use crate::weights::LoadReport;

/// A detector with its weights on a device, its test pipeline and its class names.
#[derive(Debug)]
pub struct Predictor {
    pub(crate) detector: Box<dyn Detector>,
    pub(crate) pipeline: Pipeline,
    pub(crate) preprocessor: DetDataPreprocessor,
    pub(crate) classes: Vec<String>,
    pub(crate) notes: Vec<Diagnostic>,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) report: Option<LoadReport>,
    pub(crate) uninitialised: Vec<String>,
}

impl Predictor {
    /// Objects in each picture, best first. The pictures run as one batch.
    ///
    /// # Errors
    /// A picture that the pipeline cannot take, or the device failed.
    pub async fn detect(&self, pictures: &[Picture]) -> Result<Vec<Instances>, PredictError> {
        self.detect_probed(pictures, &mut Probe::off()).await
    }

    /// As [`Predictor::detect`]; tells `probe` what each part gave: `batch`, then the model's parts.
    ///
    /// # Errors
    /// As [`Predictor::detect`].
    pub async fn detect_probed(
        &self,
        pictures: &[Picture],
        probe: &mut Probe<'_>,
    ) -> Result<Vec<Instances>, PredictError> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.batch(pictures)?;
        probe.tell("batch", std::slice::from_ref(&batch.pixels));
        Ok(predict(self.detector.as_ref(), batch, probe).await?)
    }

    /// The batch that the pipeline and the preprocessor make of `pictures`.
    ///
    /// # Errors
    /// A picture that the pipeline cannot take; pictures that do not go together.
    pub fn batch(&self, pictures: &[Picture]) -> Result<Batch, PredictError> {
        let prepared = pictures
            .iter()
            .enumerate()
            .map(|(i, picture)| self.pipeline.run(&format!("picture {i}"), picture.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        batch(
            prepared,
            self.detector.as_ref(),
            &self.preprocessor,
            &self.device,
        )
    }
}

/// Prepared pictures to the batch that `model` takes.
///
/// # Errors
/// Pictures that do not go together, or are too large.
pub(crate) fn batch(
    prepared: Vec<Packed>,
    model: &dyn Detector,
    preprocessor: &DetDataPreprocessor,
    device: &Device,
) -> Result<Batch, PredictError> {
    let batch = preprocessed(prepared, preprocessor, device)?;
    check(&batch, model)?;
    Ok(batch)
}

/// Prepared pictures to a batch, which may not be what a model takes.
///
/// # Errors
/// Pictures that do not go together, or are too large.
pub(crate) fn preprocessed(
    prepared: Vec<Packed>,
    preprocessor: &DetDataPreprocessor,
    device: &Device,
) -> Result<Batch, PredictError> {
    let size = |i: usize| prepared.iter().map(move |p| p.meta.img_shape[i]).max();
    limits::check_picture([size(0).unwrap_or(0), size(1).unwrap_or(0)])
        .map_err(PredictError::Batch)?;
    let pixels =
        ops::preprocess::batch(&prepared, preprocessor, device).map_err(PredictError::Batch)?;
    let metas = prepared.into_iter().map(|p| Meta {
        pad_shape: preprocessor.pad_shape(p.meta.img_shape),
        ..p.meta
    });
    let pictures = Pictures {
        metas: metas.collect(),
        rescale: true,
    };
    Ok(Batch { pixels, pictures })
}

/// Whether a batch is what `model` takes.
///
/// # Errors
/// It is not.
pub(crate) fn check(batch: &Batch, model: &dyn Detector) -> Result<(), PredictError> {
    let (divisor, [_, c, h, w]) = (model.size_divisor(), batch.pixels.dims());
    let wanted = model.channels_in();
    if c != wanted {
        return Err(PredictError::Batch(format!(
            "the pictures have {c} channels, this backbone takes {wanted}: its `in_channels` says so"
        )));
    }
    if let Some([height, width]) = model.only_size()
        && [height, width] != [h, w]
    {
        return Err(PredictError::Batch(format!(
            "the batch is {w} x {h} px, this backbone takes {width} x {height} only: its `img_size` says so; \
             write dict(type='Resize', scale=({width}, {height})) and dict(type='Pad', size=({width}, {height}))"
        )));
    }
    if h % divisor != 0 || w % divisor != 0 {
        return Err(PredictError::Batch(format!(
            "the batch is {w} x {h} px, this detector takes multiples of {divisor}: write data_preprocessor=dict(..., pad_size_divisor={divisor})"
        )));
    }
    Ok(())
}

/// A batch to what is in its pictures, best first: what a trainer's validation does too.
///
/// # Errors
/// The device failed.
pub async fn predict(
    model: &dyn Detector,
    batch: Batch,
    probe: &mut Probe<'_>,
) -> Result<Vec<Instances>, DetectError> {
    let device = batch.pixels.device();
    let walk = async || {
        let maps = model.extract(batch.pixels, probe); // backbone, neck
        model.predict(maps, &batch.pictures, probe).await // heads; candidates; the best, NMS; one read-back
    };
    threads::among(&device, walk).await
}

impl Predictor {
    /// Names of the classes; [`Instances::labels`] count them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What is noteworthy about the names of the classes.
    pub fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    /// How the checkpoint fitted, if there was one.
    pub fn report(&self) -> Option<&LoadReport> {
        self.report.as_ref()
    }

    /// Names of the tensors that have only their initial values.
    pub fn uninitialised(&self) -> &[String] {
        &self.uninitialised
    }

    /// The model.
    pub fn detector(&self) -> &dyn Detector {
        self.detector.as_ref()
    }

    /// A picture file's content, as the config's `LoadImageFromFile` reads it; `name` is for messages.
    ///
    /// # Errors
    /// The file is not a picture, is broken or too large.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<Picture, PictureError> {
        crate::data::decode(name, bytes, &self.pipeline.load().decode)
    }

    /// In which numbers convolutions multiply: what was asked for, or f32 where the device has none of those.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Why [`Predictor::detect`] gave nothing.
#[derive(Debug)]
pub enum PredictError {
    /// The pipeline cannot take a picture.
    Picture(PictureError),
    /// The pictures do not make a batch for this model.
    Batch(String),
    /// The device failed.
    Device(DetectError),
}

impl std::fmt::Display for PredictError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PredictError::Picture(e) => write!(f, "{e}"),
            PredictError::Batch(e) => write!(f, "{e}"),
            PredictError::Device(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for PredictError {}

impl From<DetectError> for PredictError {
    fn from(e: DetectError) -> Self {
        PredictError::Device(e)
    }
}

impl From<PictureError> for PredictError {
    fn from(e: PictureError) -> Self {
        PredictError::Picture(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MapLoader};

    #[test]
    fn a_size_that_does_not_fit_is_an_error() {
        let config = |preprocessor: &str| {
            format!(
                "
model = dict(
    type='YOLOX', data_preprocessor=dict(type='DetDataPreprocessor', {preprocessor}),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.0625),
    neck=dict(type='YOLOXPAFPN', out_channels=4, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=2, in_channels=4, feat_channels=4),
    test_cfg=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.65)))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(100, 70), keep_ratio=False), dict(type='PackDetInputs')]
"
            )
        };
        let detect = |preprocessor: &str| {
            let text = config(preprocessor);
            let config = Config::parse(&text, "yolox.py", &MapLoader::default()).unwrap();
            let predictor = Predictor::builder(&config).build().unwrap();
            let picture = Picture::new(50, 40, 3, vec![7; 50 * 40 * 3]).unwrap();
            pollster::block_on(predictor.detect(&[picture]))
        };
        let error = detect("pad_size_divisor=1").unwrap_err().to_string();
        assert!(
            error.contains("100 x 70 px") && error.contains("multiples of 32"),
            "{error}"
        );
        let found = detect("pad_size_divisor=32").unwrap();
        assert!(
            !found[0].is_empty(),
            "with a threshold of 0 there is something everywhere"
        );
    }
}
