//! The detector in use: a config and a checkpoint on the device. Built away from the window's thread, and built anew when the resolved config,
//! the checkpoint or the device is another one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smalti::config::{Config, MapLoader};
use smalti::device::Chosen;
use smalti::{LoadError, Predictor};

use super::analysis::Analysis;
use super::files::short;
use super::frame::plural;
use super::host::{Elsewhere, Host};
use super::jobs::{Job, Jobs};
use super::load_report::{Hint, fitted};
use crate::demo;

/// What a detector is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The config; without one the demo's.
    pub config: Option<Arc<Analysis>>,
    /// The weights; without any the demo's.
    pub checkpoint: Option<PathBuf>,
    /// The prefix of the checkpoint's names that count.
    pub prefix: Option<String>,
}

/// A detector that is ready.
#[derive(Debug)]
pub struct Built {
    /// No other one has this number.
    pub id: u64,
    /// What it is made of, in words.
    pub title: String,
    /// It runs on this device.
    pub device: String,
    /// What is not as one might think: tensors that the checkpoint lacks.
    pub note: Option<String>,
    /// Finds objects.
    pub predictor: Predictor,
    /// Finds them in its place, on a device that this program does not reach itself.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// How often it ran.
    pub runs: AtomicU64,
    made_of: Fingerprint,
}

/// What can be done about a detector that cannot be built.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Try again.
    Retry,
    /// Follow this.
    Follow(Hint),
    /// Mend the config.
    Mend,
    /// Look at the checkpoint.
    Look,
}

/// Why there is no detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// In a sentence.
    pub what: String,
    /// Details.
    pub why: String,
    /// What can be done.
    pub next: Next,
}

/// A detector, or what is known of it so far.
#[derive(Default)]
pub struct Detector {
    asked: Option<Asked>,
    building: Option<Job<Outcome>>,
    built: Option<Arc<Built>>,
    failed: Option<Failed>,
}

/// What was asked for last, compared in every frame.
#[derive(Clone, PartialEq)]
struct Asked {
    config: Option<(usize, u64)>,
    checkpoint: Option<PathBuf>,
    prefix: Option<String>,
    device: u64,
}

/// What a detector is made of, by value: another text of a config may mean the same.
#[derive(Clone, Debug, PartialEq)]
struct Fingerprint {
    config: u64,
    checkpoint: Option<PathBuf>,
    prefix: Option<String>,
    device: u64,
}

enum Outcome {
    Same,
    Built(Box<Built>),
    Failed(Failed),
}

impl Detector {
    /// The detector that these parts make is to be in use; `device` is the device's number. To be called in every frame that shows it.
    pub fn want(
        &mut self,
        jobs: &mut Jobs,
        host: &Arc<dyn Host>,
        device: (&Chosen, u64),
        parts: &Parts,
    ) {
        self.take();
        let config = parts
            .config
            .as_ref()
            .map(|a| (Arc::as_ptr(a) as usize, a.version));
        let asked = Asked {
            config,
            checkpoint: parts.checkpoint.clone(),
            prefix: parts.prefix.clone(),
            device: device.1,
        };
        if self.asked.as_ref() == Some(&asked) {
            return;
        }
        self.asked = Some(asked);
        let (host, parts) = (host.clone(), parts.clone());
        let (device, number) = (device.0.clone(), device.1);
        let known = self.built.as_ref().map(|b| b.made_of.clone());
        self.building = Some(jobs.start_waiting("building the detector", async move |_| {
            build(&*host, &device, number, &parts, known.as_ref()).await
        }));
    }

    /// Takes what has come.
    fn take(&mut self) {
        let Some(outcome) = self.building.as_ref().and_then(Job::poll) else {
            return;
        };
        self.building = None;
        match outcome {
            Ok(Outcome::Same) => self.failed = None,
            Ok(Outcome::Built(built)) => {
                (self.built, self.failed) = (Some(Arc::new(*built)), None);
            }
            Ok(Outcome::Failed(failed)) => (self.built, self.failed) = (None, Some(failed)),
            Err(why) => {
                let what = "The detector could not be built.".into();
                self.built = None;
                self.failed = Some(Failed {
                    what,
                    why,
                    next: Next::Retry,
                });
            }
        }
    }

    /// The one that is ready; while another is built, still the last.
    pub fn built(&self) -> Option<&Arc<Built>> {
        self.built.as_ref()
    }

    /// Why there is none.
    pub fn failed(&self) -> Option<&Failed> {
        self.failed.as_ref()
    }

    /// Whether one is being built.
    pub fn is_building(&self) -> bool {
        self.building.is_some()
    }

    /// Builds it again.
    pub fn retry(&mut self) {
        (self.asked, self.failed) = (None, None);
    }
}

async fn build(
    host: &dyn Host,
    chosen: &Chosen,
    device: u64,
    parts: &Parts,
    known: Option<&Fingerprint>,
) -> Outcome {
    let demo_config;
    let config = match &parts.config {
        Some(analysis) => match &analysis.config {
            Some(config) => config,
            None => return Outcome::Failed(unread(analysis)),
        },
        None => match Config::parse(demo::CONFIG, demo::CONFIG_NAME, &MapLoader::default()) {
            Ok(config) => {
                demo_config = config;
                &demo_config
            }
            Err(errors) => return Outcome::Failed(wrong(demo::CONFIG_NAME, &errors.to_string())),
        },
    };
    let made_of = Fingerprint {
        config: hash(&config.to_json()),
        checkpoint: parts.checkpoint.clone(),
        prefix: parts.prefix.clone(),
        device,
    };
    if known == Some(&made_of) {
        return Outcome::Same;
    }
    let checkpoint = match &parts.checkpoint {
        Some(path) => host.checkpoint(path),
        None => host.demo().await,
    };
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(why) => {
            let name = parts.checkpoint.as_deref().map_or("it".into(), short);
            return Outcome::Failed(Failed {
                what: format!("{name} cannot be read."),
                why,
                next: Next::Retry,
            });
        }
    };
    let builder = Predictor::builder(config)
        .checkpoint(checkpoint)
        .prefix(parts.prefix.as_deref())
        .device(&chosen.device);
    match builder.build() {
        Ok(predictor) => {
            static COUNT: AtomicU64 = AtomicU64::new(1);
            let weights = (parts.checkpoint.as_deref(), parts.prefix.as_deref());
            let (elsewhere, fallen) = match host.elsewhere(chosen, config, weights).await {
                Some(Ok(elsewhere)) => (Some(elsewhere), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, None),
            };
            let fallen = fallen.map(|why| {
                let name = &chosen.name;
                format!("{name} does not run this detector, so the CPU does: {why}")
            });
            let device = match (&elsewhere, &fallen) {
                (Some(elsewhere), _) => elsewhere.device(),
                (None, Some(_)) => "CPU".into(),
                (None, None) => chosen.name.clone(),
            };
            Outcome::Built(Box::new(Built {
                id: COUNT.fetch_add(1, Ordering::Relaxed),
                title: title(parts),
                device,
                note: fallen.or_else(|| note(&predictor)),
                predictor,
                elsewhere,
                runs: AtomicU64::new(0),
                made_of,
            }))
        }
        Err(LoadError::Config(errors)) => Outcome::Failed(wrong(&config.path, &errors.to_string())),
        Err(LoadError::Weights(report)) => {
            let (fit, of) = fitted(&report);
            let name = parts.checkpoint.as_deref().map_or("it".into(), short);
            let hint = Hint::of(&report);
            let what = format!("{name} does not fit {}", short(Path::new(&config.path)));
            Outcome::Failed(Failed {
                // the hint has the numbers
                what: match &hint {
                    Some(_) => format!("{what}."),
                    None => format!(
                        "{what}: {fit} of {} of the model fit.",
                        plural(of, "tensor")
                    ),
                },
                why: lacks(&report),
                next: hint.map_or(Next::Look, Next::Follow),
            })
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// `epoch_12.pth in retina.py`.
fn title(parts: &Parts) -> String {
    let weights = parts.checkpoint.as_deref().map(short);
    let config = parts.config.as_ref().and_then(|a| a.config.as_ref());
    match (weights, config) {
        (None, None) => "the demo's digit detector".into(),
        (None, Some(config)) => format!("the demo's weights in {}", short(Path::new(&config.path))),
        (Some(weights), None) => format!("{weights} in the demo's config"),
        (Some(weights), Some(config)) => {
            format!("{weights} in {}", short(Path::new(&config.path)))
        }
    }
}

fn unread(analysis: &Analysis) -> Failed {
    let why = analysis.found.first().map(|d| d.message.clone());
    Failed {
        what: "The config has errors.".into(),
        why: why.unwrap_or_default(),
        next: Next::Mend,
    }
}

fn wrong(path: &str, errors: &str) -> Failed {
    Failed {
        what: format!("{} makes no detector.", short(Path::new(path))),
        why: errors.trim_start_matches("error: ").to_owned(),
        next: Next::Mend,
    }
}

/// Which parts of the model a checkpoint lacks, or gives in other shapes.
fn lacks(report: &smalti::weights::LoadReport) -> String {
    let mut lines: Vec<String> = report
        .lacking()
        .into_iter()
        .map(|(part, missing, all)| format!("`{part}` lacks {missing} of its {all} tensors"))
        .collect();
    let shape = |sizes: &[usize]| {
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        sizes.join("x")
    };
    lines.extend(report.wrong_shape.iter().take(6).map(|w| {
        format!(
            "`{}` is {} in the file, {} in the model",
            w.key,
            shape(&w.file),
            shape(&w.model)
        )
    }));
    lines.extend(
        report
            .unreadable
            .iter()
            .take(6)
            .map(|(key, why)| format!("`{key}`: {why}")),
    );
    lines.join("\n")
}

fn note(predictor: &Predictor) -> Option<String> {
    let report = predictor.report().filter(|r| !r.is_complete())?;
    let missing = report.missing.len() + report.unreadable.len();
    Some(format!(
        "{} of the model not in the checkpoint: initial values are used",
        plural(missing, "tensor")
    ))
}
