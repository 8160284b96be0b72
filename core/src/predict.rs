//! The shortest whole path: a config, weights and a device make a [`Predictor`]; pictures make boxes.

use std::sync::Arc;

use burn::tensor::Device;

use crate::batch::Batch;
use crate::build::OpenCheckpoint;
use crate::config::{Config, ConfigErrors, Diagnostic};
use crate::data::pipeline::Pipeline;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::data::{Picture, PictureError};
use crate::detectors::Detector;
use crate::layers::{Mode, Params, StateSource};
use crate::model;
use crate::ops::{self, DetectError};
use crate::probe::Probe;
use crate::registry::Registry;
use crate::structures::Instances;
use crate::weights::{Checkpoint, LoadReport, Wanted, report};

/// Why there is no [`Predictor`].
#[derive(Debug)]
pub enum LoadError {
    /// The config is wrong, or asks for something that is not built.
    Config(ConfigErrors),
    /// The checkpoint does not fit the model: nothing of it, or a tensor of another shape.
    Weights(Box<LoadReport>),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Config(errors) => write!(f, "{errors}"),
            LoadError::Weights(report) => {
                write!(f, "the checkpoint does not fit the model\n{report}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl From<ConfigErrors> for LoadError {
    fn from(errors: ConfigErrors) -> Self {
        LoadError::Config(errors)
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

/// How to make a [`Predictor`].
pub struct PredictorBuilder<'a> {
    config: &'a Config,
    checkpoint: Option<Arc<Checkpoint>>,
    device: Option<&'a Device>,
    registry: Option<&'a Registry>,
    open: Option<&'a OpenCheckpoint>,
}

impl<'a> PredictorBuilder<'a> {
    /// Weights of the whole model.
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(Arc::new(checkpoint));
        self
    }

    /// Where to run; the CPU if never said.
    pub fn device(mut self, device: &'a Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Components beside those of this crate.
    pub fn registry(mut self, registry: &'a Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// How to get the checkpoints that `init_cfg` and `load_from` name; used where [`PredictorBuilder::checkpoint`] is not.
    pub fn open_with(mut self, open: &'a OpenCheckpoint) -> Self {
        self.open = Some(open);
        self
    }

    /// Builds the model and moves its weights to the device.
    ///
    /// # Errors
    /// See [`LoadError`]. Weights that are merely missing are no error: see [`Predictor::report`].
    pub fn build(self) -> Result<Predictor, LoadError> {
        let standard;
        let registry = match self.registry {
            Some(registry) => registry,
            None => {
                standard = crate::registry();
                &standard
            }
        };
        let device = self.device.cloned().unwrap_or_else(Device::flex);
        let checkpoint = match (self.checkpoint, self.open) {
            (Some(checkpoint), _) => Some(checkpoint),
            (None, Some(open)) => load_from(self.config, open)?,
            (None, None) => None,
        };
        let errors = |problems| self.config.errors(problems);
        let source = checkpoint
            .clone()
            .map(|c| Box::new(StateSource::new(c, None)) as Box<_>);
        let params = Params::new(&device, Mode::Fixed, source);
        let open = self.open.filter(|_| checkpoint.is_none());
        let detector = model::build(self.config, registry, params.clone(), open).map_err(errors)?;
        let report = checkpoint.as_deref().map(|checkpoint| {
            let wanted: Vec<_> = params.state().into_iter().map(Wanted::from).collect();
            report(&wanted, checkpoint, None)
        });
        if let Some(report) = &report
            && (report.matched.is_empty() || !report.wrong_shape.is_empty())
        {
            return Err(LoadError::Weights(Box::new(report.clone())));
        }
        let Some(pipeline) = model::test_pipeline(self.config) else {
            let help = "a test pipeline is at test_dataloader.dataset.pipeline, or the variable test_pipeline";
            let error = Diagnostic::error("this config has no test pipeline").help(help);
            return Err(errors(vec![error]).into());
        };
        let preprocessor = match self
            .config
            .root
            .at("model.data_preprocessor")
            .filter(|n| !n.is_none())
        {
            Some(node) => DetDataPreprocessor::read(node).map_err(errors)?,
            None => DetDataPreprocessor::default(),
        };
        let known = checkpoint.as_ref().map(|c| c.meta().classes.as_slice());
        let uninitialised = params.initialised();
        let notes = model::class_notes(self.config, known, detector.classes());
        Ok(Predictor {
            classes: model::class_names(self.config, known, detector.classes()),
            notes: errors(notes).diagnostics,
            pipeline: Pipeline::read(pipeline).map_err(errors)?,
            preprocessor,
            detector,
            device,
            report,
            uninitialised,
        })
    }
}

/// The checkpoint that a config's `load_from` names.
fn load_from(config: &Config, open: &OpenCheckpoint) -> Result<Option<Arc<Checkpoint>>, LoadError> {
    let Some(node) = config.root.get("load_from").filter(|n| !n.is_none()) else {
        return Ok(None);
    };
    let fail =
        |message: String| config.errors(vec![Diagnostic::error(message).at(&node.origin, "")]);
    let name = node
        .as_str()
        .ok_or_else(|| fail("`load_from` is not a string".into()))?;
    Ok(Some(open(name).map_err(fail)?))
}

/// Pictures on a device to what is in them: the whole of inference. (The maps go to the head and what comes after it; a detector says what.)
///
/// # Errors
/// The device failed.
pub async fn predict(
    model: &dyn Detector,
    batch: &Batch,
    probe: &mut Probe<'_>,
) -> Result<Vec<Instances>, DetectError> {
    let maps = model.extract(batch, probe); // backbone, neck
    model.predict(&maps, batch, probe).await // heads; candidates; best k, NMS; one read-back
}

/// A detector with its weights on a device, its test pipeline and its class names.
#[derive(Debug)]
pub struct Predictor {
    detector: Box<dyn Detector>,
    pipeline: Pipeline,
    preprocessor: DetDataPreprocessor,
    classes: Vec<String>,
    notes: Vec<Diagnostic>,
    device: Device,
    report: Option<LoadReport>,
    uninitialised: Vec<String>,
}

impl Predictor {
    /// Begins with a config.
    pub fn builder(config: &Config) -> PredictorBuilder<'_> {
        PredictorBuilder {
            config,
            checkpoint: None,
            device: None,
            registry: None,
            open: None,
        }
    }

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
        Ok(predict(self.detector.as_ref(), &batch, probe).await?)
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
        let pixels = ops::preprocess::batch(&prepared, &self.preprocessor, &self.device)
            .map_err(PredictError::Batch)?;
        let (divisor, [_, _, h, w]) = (self.detector.size_divisor(), pixels.dims());
        if h % divisor != 0 || w % divisor != 0 {
            return Err(PredictError::Batch(format!(
                "the batch is {w} x {h} px, this detector takes multiples of {divisor}: write data_preprocessor=dict(..., pad_size_divisor={divisor})"
            )));
        }
        Ok(Batch {
            pixels,
            pictures: prepared.into_iter().map(|p| p.meta).collect(),
            rescale: true,
        })
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;

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
