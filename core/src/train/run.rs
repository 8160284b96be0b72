//! [`Run`]: a training run as its hooks see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::batch_augments::BatchAugments;
use super::feed::Feed;
use super::learner::Learner;
use super::scalars::Scalars;
use super::schedules::Length;
use super::trainer::Tell;
use super::{Event, Learned, Stop, TrainLoop};
use crate::config::Config;
use crate::data::datasets::MetaInfo;
use crate::data::files::Files;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::registry::Registry;
use crate::weights::Plain;

/// Where a run is. All counts are from 0 and of what is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Epochs.
    pub epoch: u64,
    /// Iterations of the run.
    pub iter: u64,
    /// Batches of this epoch.
    pub batch: u64,
}

/// Why [`Run::feed`] is there.
pub(super) const FEED: &str = "the feed is there between epochs";

/// A training run.
pub struct Run {
    /// The config.
    pub config: Config,
    /// Components that configs can name.
    pub registry: Registry,
    /// Where it runs.
    pub device: Device,
    /// What learns.
    pub learner: Learner,
    /// Pictures to batches.
    pub preprocessor: DetDataPreprocessor,
    /// What becomes of batches after that.
    pub batch_augments: BatchAugments,
    /// Where pictures are.
    pub files: Arc<dyn Files>,
    /// Where samples come from. Hooks may change it between epochs; in one it is not there.
    pub feed: Option<Box<dyn Feed>>,
    /// How long it goes on.
    pub train_loop: TrainLoop,
    /// The same in epochs and iterations.
    pub length: Length,
    /// Where it is.
    pub position: Position,
    /// Its figures: `train/loss`, `train/lr`, `val/coco/bbox_mAP`, ...
    pub scalars: Scalars,
    /// What hooks note for a run that goes on from a checkpoint (MMEngine's `runtime_info`).
    pub info: BTreeMap<String, Plain>,
    /// Where its files go.
    pub work_dir: PathBuf,
    /// Its name: the config's and the time of its beginning.
    pub name: String,
    /// What random numbers come from.
    pub seed: u64,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Their colours, red, green, blue; empty where there are none.
    pub palette: Vec<[u8; 3]>,
    /// Pictures of the batch that is learned from.
    pub pictures: Vec<String>,
    /// The batch itself, until it is learned from; hooks leave it there.
    pub batch: Option<Learned>,
    /// When it began, as `20261123_122055`.
    pub begun: String,
    /// How long it will go on, as long as iterations take now.
    pub seconds_left: Option<f64>,
    /// How long it was held between iterations since somebody took that away.
    pub held: Duration,
    /// Why it is to end after this iteration, if so.
    pub(super) ending: Option<String>,
    pub(super) tell: Tell,
    /// When figures were read for whoever watches.
    pub(super) looked: Option<Instant>,
}

impl Run {
    /// Ends the run after this epoch and its validation, or after this iteration in a run by iterations, as if it were its last: MMEngine's
    /// `stop_training`.
    pub fn end(&mut self, why: impl Into<String>) {
        self.ending = Some(why.into());
    }

    /// Tells whoever watches.
    pub fn tell(&mut self, event: &Event) {
        (self.tell)(event);
    }

    /// Tells a sentence.
    pub fn note(&mut self, text: impl Into<String>) {
        self.tell(&Event::Note(text.into()));
    }

    /// Unfreezes all below `place` for good and tells what is trained now.
    pub fn unfreeze(&mut self, place: &str) {
        let changed = self.learner.unfreeze(place);
        if changed.is_empty() {
            self.note(format!("nothing below `{place}` was frozen"));
            return;
        }
        let count = changed.len();
        self.note(format!("unfrozen: {count} parameters below `{place}`"));
        let tree = self.parameters();
        self.tell(&Event::Trained(tree));
    }

    /// Whether this is the last iteration of its epoch.
    pub fn ends_epoch(&self) -> bool {
        self.position.batch + 1 == self.length.epoch_length
    }

    /// Whether this is the `n`th iteration, counted from the beginning of the run; never for 0.
    pub fn every_iters(&self, n: u64) -> bool {
        n > 0 && (self.position.iter + 1).is_multiple_of(n)
    }

    /// Whether this is the `n`th iteration of its epoch; never for 0.
    pub fn every_inner_iters(&self, n: u64) -> bool {
        n > 0 && (self.position.batch + 1).is_multiple_of(n)
    }

    /// Whether this is the `n`th epoch; never for 0.
    pub fn every_epochs(&self, n: u64) -> bool {
        n > 0 && (self.position.epoch + 1).is_multiple_of(n)
    }

    /// Whether this is the last iteration of the run.
    pub fn is_last_iter(&self) -> bool {
        self.position.iter + 1 == self.length.max_iters
    }

    /// Whether this is the last epoch of the run.
    pub fn is_last_epoch(&self) -> bool {
        self.position.epoch + 1 == self.length.max_epochs
    }

    /// Names and colours of the classes.
    pub fn meta(&self) -> MetaInfo {
        MetaInfo {
            classes: self.classes.clone(),
            palette: self.palette.clone(),
            ..MetaInfo::default()
        }
    }

    /// A file of this run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work_dir.join(name)
    }

    /// Where this beginning of the run writes its log.
    pub fn log_dir(&self) -> PathBuf {
        self.work_dir.join(&self.begun)
    }

    /// What to say of a loss that is no number.
    pub(super) fn not_finite(&self, loss: f64) -> String {
        format!(
            "the loss is {loss} at iteration {} or shortly before, with {}: a smaller learning rate, a warm-up or `clip_grad` help where that is too high; else look at \
             these pictures with `smalti browse`",
            self.position.iter + 1,
            self.pictures.join(", ")
        )
    }

    /// Reads the figures that are on the device.
    ///
    /// # Errors
    /// The device was lost, or a loss is no number: from then on all weights would be none either.
    pub fn read_scalars(&mut self) -> Result<(), Stop> {
        let read = pollster::block_on(self.scalars.read());
        read.map_err(|e| Stop::fault(e.to_string()))?;
        match self.scalars.last("train/loss") {
            Some(loss) if !loss.is_finite() => Err(Stop::fault(self.not_finite(loss))),
            _ => Ok(()),
        }
    }

    /// Tells where the run is, with figures that are not older than a moment: on a device that works ahead, reading is waiting.
    pub(super) fn look(&mut self) -> Result<(), Stop> {
        const MOMENT: Duration = Duration::from_millis(500);
        if self.looked.is_none_or(|last| last.elapsed() > MOMENT) {
            self.read_scalars()?;
            self.looked = Some(Instant::now());
        }
        let loss = self.scalars.last("train/loss");
        let event = Event::Step {
            position: self.position,
            figures: loss.zip(self.scalars.last("train/lr")),
            seconds_left: self.seconds_left,
        };
        self.tell(&event);
        Ok(())
    }

    /// What is trained and what is frozen, by place in the model.
    pub fn parameters(&self) -> Parameters {
        Parameters::of(&self.learner)
    }
}

/// Parameters below each place of a model, two levels deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// In the model's order.
    pub places: Vec<Place>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, such as `backbone.layer1`.
    pub name: String,
    /// Numbers in all parameters below it.
    pub numbers: u64,
    /// Those of them that are frozen.
    pub frozen: u64,
    /// Norms and dropouts below it that learn now, and all of them.
    pub learning: [u64; 2],
}

impl Parameters {
    fn of(learner: &Learner) -> Self {
        let mut places: Vec<Place> = Vec::new();
        let mut at = |name: &str| -> usize {
            let parts: Vec<_> = name.split('.').collect();
            let depth = parts.len().saturating_sub(1).clamp(1, 2);
            let name = parts[..depth].join(".");
            let found = places.iter().position(|place| place.name == name);
            found.unwrap_or_else(|| {
                places.push(Place {
                    name,
                    numbers: 0,
                    frozen: 0,
                    learning: [0; 2],
                });
                places.len() - 1
            })
        };
        let mut counted = Vec::new();
        for slot in learner.store.parameters() {
            let numbers = slot.shape().iter().product::<usize>() as u64;
            counted.push((at(slot.key()), numbers, slot.frozen()));
        }
        let learning = learner.store.behaviours();
        let learning: Vec<_> = learning
            .iter()
            .map(|(name, learns)| (at(&format!("{name}.x")), *learns))
            .collect();
        for (place, numbers, frozen) in counted {
            places[place].numbers += numbers;
            places[place].frozen += if frozen { numbers } else { 0 };
        }
        for (place, learns) in learning {
            places[place].learning[0] += u64::from(learns);
            places[place].learning[1] += 1;
        }
        Self { places }
    }

    /// Numbers in all parameters, and in those that are frozen.
    pub fn total(&self) -> [u64; 2] {
        let sum = |of: fn(&Place) -> u64| self.places.iter().map(of).sum();
        [sum(|p| p.numbers), sum(|p| p.frozen)]
    }
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.places.iter().map(|p| p.name.len()).max().unwrap_or(0);
        let [all, frozen] = self.total();
        writeln!(
            f,
            "{:width$}  {:>12}  trained",
            "parameters",
            thousands(all)
        )?;
        for place in &self.places {
            let state = match (place.numbers, place.frozen) {
                (0, _) => "-".to_string(),
                (_, 0) => "yes".to_string(),
                (n, m) if n == m => "frozen".to_string(),
                (n, m) => format!("{} of it", thousands(n - m)),
            };
            let norms = match place.learning {
                [_, 0] => String::new(),
                [n, all] if n == all => String::new(),
                [0, _] => ", norms evaluate".to_string(),
                [n, all] => format!(", {n} of {all} norms learn"),
            };
            writeln!(
                f,
                "{:width$}  {:>12}  {state}{norms}",
                place.name,
                thousands(place.numbers)
            )?;
        }
        write!(
            f,
            "{} trained, {} frozen",
            thousands(all - frozen),
            thousands(frozen)
        )
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands() {
        let texts = [0, 999, 1000, 1_234_567].map(super::thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
