//! [`TrainLoop`]: how long a run is, and when it is validated (a config's `train_cfg`). To add a loop, a row in [`ROWS`].

use serde::Deserialize;

use super::schedules::Length;
use crate::config::{Config, Diagnostics, Node, error_at};
use crate::registry::{DEFAULT_SCOPE, Family, Registry, Row};

/// A run's length and validations. Counts are epochs or iterations, as `by_epoch` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainLoop {
    /// Whether counts are epochs.
    pub by_epoch: bool,
    /// How many there are.
    pub max: u64,
    /// From when on there are validations.
    pub val_begin: u64,
    /// Every how many.
    pub val_interval: u64,
    /// From when on there is another interval: (from, interval), ascending.
    pub dynamic_intervals: Vec<(u64, u64)>,
}

/// The kind `training loop` of the registry.
#[derive(Debug)]
pub struct Loops;

impl Family for Loops {
    const KIND: &'static str = "training loop";
    type Build = fn(&Node) -> Result<TrainLoop, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Loops>; 2] = [
    Row::<Loops>::new("mmengine", "EpochBasedTrainLoop", by_epoch),
    Row::<Loops>::new("mmengine", "IterBasedTrainLoop", by_iter),
];

#[derive(Deserialize)]
struct EpochConfig {
    max_epochs: u64,
    val_begin: Option<u64>,
    val_interval: Option<u64>,
    dynamic_intervals: Option<Vec<(u64, u64)>>,
}

#[derive(Deserialize)]
struct IterConfig {
    max_iters: u64,
    val_begin: Option<u64>,
    val_interval: Option<u64>,
    dynamic_intervals: Option<Vec<(u64, u64)>>,
}

fn by_epoch(node: &Node) -> Result<TrainLoop, Diagnostics> {
    let config: EpochConfig = node.read_knowing(&["by_epoch"])?;
    TrainLoop {
        by_epoch: true,
        max: config.max_epochs,
        val_begin: config.val_begin.unwrap_or(1),
        val_interval: config.val_interval.unwrap_or(1),
        dynamic_intervals: config.dynamic_intervals.unwrap_or_default(),
    }
    .checked(node)
}

fn by_iter(node: &Node) -> Result<TrainLoop, Diagnostics> {
    let config: IterConfig = node.read_knowing(&["by_epoch"])?;
    TrainLoop {
        by_epoch: false,
        max: config.max_iters,
        val_begin: config.val_begin.unwrap_or(1),
        val_interval: config.val_interval.unwrap_or(1000),
        dynamic_intervals: config.dynamic_intervals.unwrap_or_default(),
    }
    .checked(node)
}

impl TrainLoop {
    /// The config's `train_cfg`.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn read(config: &Config, registry: &Registry) -> Result<Self, Diagnostics> {
        let root = &config.root;
        let Some(node) = root.get("train_cfg").filter(|n| !n.is_none()) else {
            let message = "this config has no `train_cfg`";
            let help = "for example train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)";
            return Err(error_at(root, "", message, help));
        };
        if node.get("type").is_some() {
            let scope = root.get("default_scope").and_then(|s| s.as_str());
            let row = registry.find::<Loops>(node, scope.unwrap_or(DEFAULT_SCOPE))?;
            return (row.build)(node);
        }
        match node.get("by_epoch").map(Node::as_bool) {
            Some(Some(false)) => by_iter(node),
            _ => by_epoch(node),
        }
    }

    fn checked(self, node: &Node) -> Result<Self, Diagnostics> {
        let zero = |key: &str| {
            Err(error_at(
                node,
                key,
                format!("`{key}` must be 1 or more"),
                "",
            ))
        };
        if self.max == 0 {
            return zero(if self.by_epoch {
                "max_epochs"
            } else {
                "max_iters"
            });
        }
        if self.val_interval == 0 {
            return zero("val_interval");
        }
        let mut last = None;
        for (from, interval) in &self.dynamic_intervals {
            if *interval == 0 || last.is_some_and(|last| *from <= last) {
                let message = "`dynamic_intervals` are (from, interval) in ascending order, with intervals of 1 or more";
                return Err(error_at(node, "dynamic_intervals", message, ""));
            }
            last = Some(*from);
        }
        Ok(self)
    }

    /// The run's length, with `epoch_length` batches an epoch.
    pub fn length(&self, epoch_length: u64) -> Length {
        if self.by_epoch {
            Length {
                max_epochs: self.max,
                max_iters: self.max.saturating_mul(epoch_length),
                epoch_length,
            }
        } else {
            // One large epoch, as the original has it.
            Length {
                max_epochs: 1,
                max_iters: self.max,
                epoch_length,
            }
        }
    }

    /// Whether there is a validation after `done` epochs or iterations.
    pub fn validates(&self, done: u64) -> bool {
        // The original looks one ahead: an interval holds from the validation at its beginning on.
        let changed = self.dynamic_intervals.iter().rev();
        let interval = changed
            .clone()
            .find(|(from, _)| *from <= done + 1)
            .map_or(self.val_interval, |(_, interval)| *interval);
        done >= self.val_begin && (done.is_multiple_of(interval) || done == self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;

    fn read(text: &str) -> Result<TrainLoop, String> {
        let text = format!("train_cfg = {text}");
        let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
        let found = TrainLoop::read(&config, &crate::registry());
        found.map_err(|problems| config.errors(problems).to_string())
    }

    #[test]
    fn validations() {
        let every = |text: &str| {
            let looped = read(text).unwrap();
            let done: Vec<u64> = (1..=looped.max).filter(|n| looped.validates(*n)).collect();
            done
        };
        assert_eq!(every("dict(max_epochs=5, val_interval=2)"), [2, 4, 5]);
        assert_eq!(
            every("dict(by_epoch=False, max_iters=3, val_interval=1, val_begin=2)"),
            [2, 3]
        );
        let dynamic = "dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=5, dynamic_intervals=[(8, 1)])";
        assert_eq!(every(dynamic), [5, 7, 8, 9, 10], "as in MMEngine");
    }

    #[test]
    fn mistakes() {
        for (text, words) in [
            ("None", "no `train_cfg`"),
            (
                "dict(type='EpochBasedTrainLop', max_epochs=1)",
                "did you mean",
            ),
            ("dict(max_iters=3)", "max_epochs"),
            ("dict(max_epochs=0)", "1 or more"),
            (
                "dict(max_epochs=3, dynamic_intervals=[(2, 0)])",
                "`dynamic_intervals`",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
