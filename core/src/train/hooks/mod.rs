//! Hooks: what happens between the steps of a run. To add one, write a file and a row in [`ROWS`]; a crate of your own adds its rows to the
//! registry. Points and priorities are MMEngine's, and so is when each is called.

mod check_invalid_loss;
mod checkpoint;
mod early_stopping;
mod ema;
mod iter_timer;
mod logger;
mod num_class_check;
mod param_scheduler;
mod pipeline_switch;
mod runtime_info;
mod set_epoch_info;
mod silent;
mod unfreeze_backbone;
mod visualization;
mod yolox_mode_switch;

pub use visualization::DetVisualizationHook;

use std::path::Path;

use super::Stop;
use super::checkpoint::Held;
use super::learner::Stepped;
use super::run::Run;
use crate::config::{Config, Diagnostics, Node, error_at};
use crate::data::datasets::MetaInfo;
use crate::data::files::Files;
use crate::evaluate::Told;
use crate::registry::{DEFAULT_SCOPE, Family, Registry, Row};
use crate::weights::TrainingState;

/// What a hook's point gives: to go on, or why not.
pub type Step = Result<(), Stop>;

/// Figures of a validation, by name.
pub type Figures = [(String, f64)];

/// A picture of a validation or a test, predicted.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The picture, and what was found.
    pub told: Told<'a>,
    /// Iterations of the run that are done.
    pub iter: u64,
    /// Names and colours of classes.
    pub meta: &'a MetaInfo,
    /// Where pictures are.
    pub files: &'a dyn Files,
    /// Where the run writes its log.
    pub log_dir: &'a Path,
}

/// Acts at the points of a run. Each does nothing unless a hook says otherwise.
pub trait Hook {
    /// Its registered name.
    fn name(&self) -> &'static str;

    /// When it acts among hooks of the same point, the lowest first, unless the config says.
    fn priority(&self) -> u8 {
        NORMAL
    }

    /// Everything is built.
    fn before_run(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// All is done.
    fn after_run(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// Training begins, or goes on from a checkpoint.
    fn before_train(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// Training is done.
    fn after_train(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// `run.position.epoch` begins; in a run by iterations, the whole run.
    fn before_train_epoch(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// `run.position.epoch` ends; it counts as done after this.
    fn after_train_epoch(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// A batch is there.
    fn before_train_iter(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// `run.position.iter` was learned; it counts as done after this.
    fn after_train_iter(&mut self, _run: &mut Run, _stepped: &Stepped) -> Step {
        Ok(())
    }
    /// A validation begins.
    fn before_val(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// Its pass over the data begins.
    fn before_val_epoch(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// A picture was predicted (`after_val_iter`, picture by picture); the run is busy.
    fn after_val_picture(&mut self, _seen: &Seen) -> Step {
        Ok(())
    }
    /// The figures are there.
    fn after_val_epoch(&mut self, _run: &mut Run, _figures: &Figures) -> Step {
        Ok(())
    }
    /// A validation is over.
    fn after_val(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
    /// A checkpoint is about to be written: what is to be in it.
    fn before_save_checkpoint(&mut self, _run: &Run, _state: &mut TrainingState<Held>) {}
    /// A checkpoint was read from which the run goes on.
    fn after_load_checkpoint(&mut self, _run: &mut Run) -> Step {
        Ok(())
    }
}

/// MMEngine's priorities by name.
const PRIORITIES: [(&str, u8); 9] = [
    ("HIGHEST", 0),
    ("VERY_HIGH", 10),
    ("HIGH", 30),
    ("ABOVE_NORMAL", 40),
    ("NORMAL", NORMAL),
    ("BELOW_NORMAL", 60),
    ("LOW", 70),
    ("VERY_LOW", 90),
    ("LOWEST", 100),
];
/// That of most hooks.
pub const NORMAL: u8 = 50;

/// What a builder of hooks may ask.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The whole config.
    pub config: &'a Config,
    /// Components that configs can name.
    pub registry: &'a Registry,
}

/// The kind `hook` of the registry.
#[derive(Debug)]
pub struct Hooks;

impl Family for Hooks {
    const KIND: &'static str = "hook";
    type Build = fn(&Node, Given) -> Result<Box<dyn Hook>, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("MeanTeacherHook", ""),
        ("MemoryProfilerHook", ""),
        ("NaiveVisualizationHook", ""),
        ("NPUProfilerHook", ""),
        ("ProfilerHook", ""),
        ("TrackVisualizationHook", ""),
    ];
}

/// Keys that all hooks have.
const OWN: &[&str] = &["priority"];

/// Checks a hook's config that has no keys but those of all hooks, and `others` that nobody reads.
fn no_keys(node: &Node, others: &[&str]) -> Result<(), Diagnostics> {
    #[derive(serde::Deserialize)]
    struct NoKeys {}
    let NoKeys {} = node.read_knowing(&[OWN, others].concat())?;
    Ok(())
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Hooks>; 18] = [
    Row::<Hooks>::new("mmengine", "CheckpointHook", checkpoint::build),
    Row::<Hooks>::new("mmengine", "DistSamplerSeedHook", silent::sampler_seed),
    Row::<Hooks>::new("mmengine", "EMAHook", ema::build),
    Row::<Hooks>::new("mmengine", "EarlyStoppingHook", early_stopping::build),
    Row::<Hooks>::new("mmengine", "EmptyCacheHook", silent::empty_cache),
    Row::<Hooks>::new("mmengine", "IterTimerHook", iter_timer::build),
    Row::<Hooks>::new("mmengine", "LoggerHook", logger::build),
    Row::<Hooks>::new("mmengine", "ParamSchedulerHook", param_scheduler::build),
    Row::<Hooks>::new("mmengine", "RuntimeInfoHook", runtime_info::build),
    Row::<Hooks>::new("mmengine", "SyncBuffersHook", silent::sync_buffers),
    Row::<Hooks>::new("mmdet", "CheckInvalidLossHook", check_invalid_loss::build),
    Row::<Hooks>::new("mmdet", "DetVisualizationHook", visualization::build),
    Row::<Hooks>::new("mmdet", "NumClassCheckHook", num_class_check::build),
    Row::<Hooks>::new("mmdet", "PipelineSwitchHook", pipeline_switch::build),
    Row::<Hooks>::new("mmdet", "SetEpochInfoHook", set_epoch_info::build),
    Row::<Hooks>::new("mmdet", "SyncNormHook", silent::sync_norm),
    Row::<Hooks>::new("mmdet", "YOLOXModeSwitchHook", yolox_mode_switch::build),
    // Of the how-to page.
    Row::<Hooks>::new(
        "mmdet",
        "UnfreezeBackboneEpochBasedHook",
        unfreeze_backbone::build,
    ),
];

/// A hook of a run and when it acts.
struct Placed {
    hook: Box<dyn Hook>,
    priority: u8,
}

/// The hooks of a run, in the order in which they act.
#[derive(Default)]
pub struct HookList(Vec<Placed>);

impl HookList {
    /// The `default_hooks` and `custom_hooks` of a config; those of MMEngine that it does not say otherwise are there too.
    ///
    /// # Errors
    /// A hook is not known or wrong; all at once.
    pub fn read(given: Given) -> Result<Self, Diagnostics> {
        let root = &given.config.root;
        let (mut list, mut problems) = (Self::default(), Vec::new());
        let named = root.get("default_hooks").filter(|n| !n.is_none());
        let mut defaults: Vec<(&str, Option<Box<dyn Hook>>)> = vec![
            (
                "runtime_info",
                Some(Box::new(runtime_info::RuntimeInfoHook)),
            ),
            ("timer", Some(Box::<iter_timer::IterTimerHook>::default())),
            ("sampler_seed", None),
            ("logger", Some(Box::<logger::LoggerHook>::default())),
            (
                "param_scheduler",
                Some(Box::new(param_scheduler::ParamSchedulerHook)),
            ),
            (
                "checkpoint",
                Some(Box::<checkpoint::CheckpointHook>::default()),
            ),
        ];
        let said = |key: &str| named.is_some_and(|named| named.get(key).is_some());
        defaults.retain(|(key, _)| !said(key));
        let mut order: Vec<&str> = vec![
            "runtime_info",
            "timer",
            "sampler_seed",
            "logger",
            "param_scheduler",
            "checkpoint",
        ];
        let dict = named.and_then(Node::as_dict);
        for (key, _) in dict.iter().flat_map(|dict| dict.iter()) {
            if let Some(key) = key.as_str().filter(|key| !order.contains(key)) {
                order.push(key);
            }
        }
        for key in order {
            if let Some(at) = defaults.iter().position(|(name, _)| *name == key) {
                if let (_, Some(hook)) = defaults.swap_remove(at) {
                    list.add(hook, None);
                }
            } else if let Some(node) = named.and_then(|n| n.get(key)).filter(|n| !n.is_none()) {
                problems.extend(list.add_node(node, given).err().unwrap_or_default());
            }
        }
        let custom = root.get("custom_hooks").filter(|n| !n.is_none());
        if let Some(custom) = custom {
            match custom.as_items() {
                None => {
                    let message = "`custom_hooks` is a list of hooks";
                    problems.extend(error_at(root, "custom_hooks", message, ""));
                }
                Some(nodes) => {
                    for node in nodes {
                        problems.extend(list.add_node(node, given).err().unwrap_or_default());
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(list)
        } else {
            Err(problems)
        }
    }

    fn add_node(&mut self, node: &Node, given: Given) -> Result<(), Diagnostics> {
        let scope = node.get("_scope_").and_then(|s| s.as_str());
        let default = given.config.root.get("default_scope");
        let default = default.and_then(|s| s.as_str()).unwrap_or(DEFAULT_SCOPE);
        let row = given
            .registry
            .find::<Hooks>(node, scope.unwrap_or(default))?;
        let hook = (row.build)(node, given)?;
        self.add(hook, priority(node)?);
        Ok(())
    }

    /// Adds a hook behind those of the same priority.
    pub fn add(&mut self, hook: Box<dyn Hook>, priority: Option<u8>) {
        let priority = priority.unwrap_or_else(|| hook.priority());
        let at = self.0.partition_point(|placed| placed.priority <= priority);
        self.0.insert(at, Placed { hook, priority });
    }

    /// Calls a point of all hooks.
    pub fn call(&mut self, mut point: impl FnMut(&mut dyn Hook) -> Step) -> Step {
        self.0
            .iter_mut()
            .try_for_each(|placed| point(&mut *placed.hook))
    }

    /// Names, in the order in which they act.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|placed| placed.hook.name()).collect()
    }
}

/// `priority` of a hook: a name, or a number from 0 to 100.
fn priority(node: &Node) -> Result<Option<u8>, Diagnostics> {
    let Some(given) = node.get("priority") else {
        return Ok(None);
    };
    let by_name = |name: &str| {
        PRIORITIES
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let found = match (given.as_str(), given.as_int()) {
        (Some(name), _) => by_name(name).map(|(_, priority)| *priority),
        (None, Some(number)) => u8::try_from(number).ok().filter(|n| *n <= 100),
        (None, None) => None,
    };
    match found {
        Some(priority) => Ok(Some(priority)),
        None => {
            let names: Vec<_> = PRIORITIES.iter().map(|(name, _)| *name).collect();
            let help = format!("a number from 0 to 100, or {}", names.join(", "));
            Err(error_at(node, "priority", "no such priority", &help))
        }
    }
}
