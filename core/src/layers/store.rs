//! [`Store`]: all tensors of a model, by the names that the original's state dict has, in its order.
//!
//! Layers hold handles ([`Weight`]); in a build for training each leads to a [`Slot`] of the store. Configs, checkpoints, optimizers and reports
//! speak of tensors by name, so whatever training needs to know of one is asked of its slot: value, shape, role, kind of layer, whether it
//! is frozen, how often it was written. Two names may share a slot (a tie, as RTMDet's heads share convolutions between levels):
//! the state dict lists both, [`Store::parameters`] has the tensor once.
//!
//! In a build that is not trained the slots have names and shapes only, and each handle has its tensor to itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

use burn::tensor::Transaction;

use super::phase::{Behaviour, Clock, EVALUATE, FROZEN, LEARN};
use super::{LayerKind, Phase, Role, Slot, StateEntry};
use crate::Precision;
use crate::ops::launch::ReadError;

/// Gives the values of tensors by their full state-dict name, row-major.
pub trait TensorSource {
    /// The values of `entry`, whose key is relative to the place the source serves.
    /// `None` where the source has no such tensor, or one of another shape.
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>>;

    /// Why the last tensor that was asked for cannot be read, although it is there.
    fn fault(&mut self) -> Option<String> {
        None
    }
}

/// Which tensors or layers are meant, by their names.
#[derive(Clone, Copy)]
pub enum Names<'a> {
    /// This one and all below it: `backbone.layer1` means `backbone.layer1.0.conv1.weight` but nothing of `backbone.layer10`. All, if empty.
    Below(&'a str),
    /// Those for which this is true.
    Where(&'a dyn Fn(&str) -> bool),
}

impl<'a> From<&'a str> for Names<'a> {
    fn from(place: &'a str) -> Self {
        Names::Below(place)
    }
}

impl Names<'_> {
    fn mean(&self, name: &str) -> bool {
        match self {
            Names::Below("") => true,
            Names::Below(place) => name
                .strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            Names::Where(holds) => holds(name),
        }
    }
}

/// All tensors of a model. A clone is the same store.
#[derive(Clone, Default)]
pub struct Store {
    contents: Arc<RwLock<Contents>>,
    clock: Arc<Clock>,
    /// Whether what is computed from the weights is recorded for gradients.
    tracked: Arc<AtomicBool>,
    precision: Precision,
}

#[derive(Default)]
struct Contents {
    entries: Vec<(String, Arc<Slot>)>,
    by_name: HashMap<String, usize>,
    behaviours: Vec<Arc<Behaviour>>,
}

const POISONED: &str = "nobody panics while holding the store";

impl Store {
    /// Names and slots in the state dict's order; tied names come with the same slot.
    pub fn entries(&self) -> Vec<(String, Arc<Slot>)> {
        self.contents.read().expect(POISONED).entries.clone()
    }

    /// The state dict's names, shapes and roles in its order.
    pub fn state(&self) -> Vec<StateEntry> {
        let row = |(key, slot): &(String, Arc<Slot>)| slot.entry(key);
        let contents = self.contents.read().expect(POISONED);
        contents.entries.iter().map(row).collect()
    }

    /// What is to be trained, frozen or not, each tied tensor once (PyTorch's `parameters()`).
    pub fn parameters(&self) -> Vec<Arc<Slot>> {
        let first = |(name, slot): &(String, Arc<Slot>)| {
            (slot.role() == Role::Parameter && name == slot.key()).then(|| slot.clone())
        };
        let contents = self.contents.read().expect(POISONED);
        contents.entries.iter().filter_map(first).collect()
    }

    /// The tensor of that name.
    pub fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        let contents = self.contents.read().expect(POISONED);
        let index = *contents.by_name.get(name)?;
        Some(contents.entries[index].1.clone())
    }

    /// All names of the tensor `name`, itself among them; more than one for a tie.
    pub fn ties(&self, name: &str) -> Vec<String> {
        let Some(slot) = self.slot(name) else {
            return Vec::new();
        };
        let contents = self.contents.read().expect(POISONED);
        let same = contents
            .entries
            .iter()
            .filter(|(_, other)| Arc::ptr_eq(other, &slot));
        same.map(|(name, _)| name.clone()).collect()
    }

    /// Whether parameters get gradients (PyTorch's `requires_grad`). Gives the names of those that changed.
    pub fn require_grad<'a>(&self, names: impl Into<Names<'a>>, required: bool) -> Vec<String> {
        let names = names.into();
        let contents = self.contents.read().expect(POISONED);
        let mut changed = Vec::new();
        for (name, slot) in &contents.entries {
            if slot.role() == Role::Parameter && names.mean(name) && slot.set_frozen(!required) {
                changed.push(slot.key().to_string());
            }
        }
        changed
    }

    /// Freezes as `frozen_stages` does, or undoes it: no gradients, and norms and dropouts behave as in evaluation. A frozen stage stays so
    /// whatever [`Store::learn`] says, as MMDetection's backbones freeze again at each `train()`. Gives the names of the parameters that changed.
    pub fn freeze<'a>(&self, names: impl Into<Names<'a>>, frozen: bool) -> Vec<String> {
        let names = names.into();
        self.mark(names, FROZEN, frozen, |_| true);
        self.require_grad(names, !frozen)
    }

    /// Marks batch norms to behave as in evaluation whatever [`Store::learn`] says (`norm_eval`), or takes the mark away.
    pub fn evaluate<'a>(&self, names: impl Into<Names<'a>>, marked: bool) {
        self.mark(names.into(), EVALUATE, marked, |kind| {
            kind == LayerKind::Norm
        });
    }

    /// PyTorch's `train()` and `eval()`: how norms and dropouts are to behave, where no mark holds them.
    pub fn learn<'a>(&self, names: impl Into<Names<'a>>, learn: bool) {
        self.mark(names.into(), LEARN, learn, |_| true);
    }

    fn mark(&self, names: Names, bit: u8, set: bool, of: impl Fn(LayerKind) -> bool) {
        let contents = self.contents.read().expect(POISONED);
        for behaviour in &contents.behaviours {
            if names.mean(&behaviour.at) && of(behaviour.kind) {
                behaviour.mark(bit, set);
            }
        }
    }

    /// The norms and dropouts that learn now.
    pub fn learning(&self) -> Vec<String> {
        let contents = self.contents.read().expect(POISONED);
        let learning = contents.behaviours.iter().filter(|b| b.learns());
        learning.map(|b| b.at.clone()).collect()
    }

    /// The norms and dropouts, and whether each learns now.
    pub fn behaviours(&self) -> Vec<(String, bool)> {
        let contents = self.contents.read().expect(POISONED);
        let all = contents.behaviours.iter();
        all.map(|b| (b.at.clone(), b.learns())).collect()
    }

    /// Whether what is computed from the weights is recorded for gradients; not before this says so.
    pub fn track(&self, tracked: bool) {
        self.tracked.store(tracked, Relaxed);
    }

    /// In which numbers convolutions multiply: see [`super::Params::compute_in`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where random numbers are: [`super::Dice`] give the same again for the same seed and step. Initial values depend on the seed alone, which
    /// has to be set before a model is built.
    pub fn set_step(&self, seed: u64, step: u64) {
        self.clock.seed.store(seed, Relaxed);
        self.clock.step.store(step, Relaxed);
    }

    /// The values as they are now, as a checkpoint would give them: for a file, or for a second build of the model.
    ///
    /// # Errors
    /// If the device was lost.
    pub async fn source(&self) -> Result<Snapshot, ReadError> {
        let entries = self.entries();
        let slots: Vec<_> = entries
            .iter()
            .filter(|(name, slot)| name == slot.key() && slot.role().on_device())
            .map(|(_, slot)| slot)
            .collect();
        let reads = slots.iter().fold(Transaction::default(), |reads, slot| {
            reads.register(slot.value())
        });
        let read = reads.execute_async().await;
        let read = read.map_err(|e| ReadError(format!("{e:?}")))?;
        let mut by_key = HashMap::new();
        for (slot, data) in slots.into_iter().zip(read) {
            let values = data.try_into_vec_as::<f32>();
            let values = values.map_err(|e| ReadError(format!("{e:?}")))?;
            by_key.insert(slot.key().to_string(), Arc::new(values));
        }
        let values = entries.iter().map(|(name, slot)| {
            let values = match slot.role() {
                Role::Counter => Arc::new(vec![slot.count() as f32]),
                Role::Index => Arc::new(slot.indices().iter().map(|i| *i as f32).collect()),
                _ => by_key[slot.key()].clone(),
            };
            (name.clone(), (slot.shape().to_vec(), values))
        });
        Ok(Snapshot {
            tensors: values.collect(),
        })
    }

    /// Puts values back. Gives the names that `source` does not have; of tied names that disagree the last one counts, as in PyTorch.
    pub fn load(&self, source: &mut dyn TensorSource) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, slot) in self.entries() {
            match source.tensor(&slot.entry(&name)) {
                Some(values) => slot.load(values),
                None => missing.push(name),
            }
        }
        missing
    }

    /// Adds a row to the state dict: a new slot, or one more name of the slot that has one of `names`.
    pub(super) fn register(
        &self,
        name: String,
        names: &[String],
        shape: &[usize],
        role: Role,
        kind: LayerKind,
    ) -> Arc<Slot> {
        let mut contents = self.contents.write().expect(POISONED);
        let known = |name| contents.by_name.get(name);
        let tied = names.iter().find_map(known);
        let tied = tied.map(|index| contents.entries[*index].1.clone());
        let slot = tied.unwrap_or_else(|| {
            let entry = StateEntry {
                key: name.clone(),
                shape: shape.to_vec(),
                role,
                once: None,
                resized: None,
            };
            Arc::new(Slot::new(entry, kind, self.tracked.clone()))
        });
        assert_eq!(
            slot.shape(),
            shape,
            "{name} and {} are one tensor",
            slot.key()
        );
        let index = contents.entries.len();
        let twice = contents.by_name.insert(name.clone(), index).is_some();
        assert!(!twice, "{name} is registered twice");
        contents.entries.push((name, slot.clone()));
        slot
    }

    /// Puts the entries that have a `place` into the order of their places, among the positions that they have.
    pub(super) fn sort(&self, place: impl Fn(&str) -> Option<usize>) {
        let contents = &mut *self.contents.write().expect(POISONED);
        let entries = contents.entries.iter().enumerate();
        let placed = entries.filter_map(|(i, (name, _))| place(name).map(|place| (place, i)));
        let mut placed: Vec<_> = placed.collect();
        let positions: Vec<_> = placed.iter().map(|(_, i)| *i).collect();
        placed.sort();
        let sorted = placed.iter().map(|(_, i)| contents.entries[*i].clone());
        let sorted: Vec<_> = sorted.collect();
        for (position, entry) in positions.into_iter().zip(sorted) {
            contents.by_name.insert(entry.0.clone(), position);
            contents.entries[position] = entry;
        }
    }

    pub(super) fn behaviour(&self, at: &str, kind: LayerKind, learn: bool) -> Phase {
        let behaviour = Arc::new(Behaviour::new(at, kind, learn));
        let mut contents = self.contents.write().expect(POISONED);
        contents.behaviours.push(behaviour.clone());
        Phase(behaviour)
    }

    /// What random numbers come from, initial values among them: see [`Store::set_step`].
    pub(super) fn seed(&self) -> u64 {
        self.clock.seed.load(Relaxed)
    }

    pub(super) fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    pub(super) fn clock(&self) -> Arc<Clock> {
        self.clock.clone()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.entries();
        f.debug_map()
            .entries(
                slots
                    .iter()
                    .map(|(name, slot)| (name, slot.shape().to_vec())),
            )
            .finish()
    }
}

/// Values of all tensors at some time, in the host's memory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tensors: HashMap<String, (Vec<usize>, Arc<Vec<f32>>)>,
}

impl TensorSource for Snapshot {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        let (shape, values) = self.tensors.get(&entry.key)?;
        (*shape == entry.shape).then(|| values.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Init, Mode, Params, Weight};
    use burn::tensor::{Device, Tensor};

    fn built() -> (Store, Vec<Weight<1>>) {
        let params = Params::new(&Device::flex(), Mode::Train, None);
        let weights = ["a.1.conv", "a.1.bn", "a.10.bn", "b.drop"].map(|place| {
            let at = params.at(place);
            let norm = place.ends_with("bn");
            let at = at.layer(if norm {
                LayerKind::Norm
            } else {
                LayerKind::Other
            });
            if !place.ends_with("conv") {
                at.phase();
            }
            at.weight("w", [2], Init::Constant(1.0))
        });
        (params.store(), weights.into())
    }

    #[test]
    fn names_are_places_or_a_predicate() {
        let (store, _) = built();
        assert_eq!(store.learning(), ["a.1.bn", "a.10.bn", "b.drop"]);
        store.learn("a.1", false);
        assert_eq!(store.learning(), ["a.10.bn", "b.drop"]);
        store.learn("", true);
        store.learn(Names::Where(&|name| name.starts_with("a.1")), false);
        assert_eq!(store.learning(), ["b.drop"]);
        assert_eq!(store.freeze("a.1", true), ["a.1.conv.w", "a.1.bn.w"]);
        assert_eq!(store.freeze("a", true), ["a.10.bn.w"], "those that changed");
    }

    #[test]
    fn marks_hold_until_they_are_taken_away() {
        let (store, _) = built();
        store.freeze("a.1", true);
        store.evaluate("", true);
        assert_eq!(store.learning(), ["b.drop"], "`norm_eval` is of norms only");
        store.learn("", true);
        assert_eq!(
            store.learning(),
            ["b.drop"],
            "as the original's train() freezes again"
        );
        store.freeze("", false);
        assert_eq!(
            store.learning(),
            ["b.drop"],
            "unfrozen, but still `norm_eval`"
        );
        assert!(!store.slot("a.1.conv.w").unwrap().frozen());
        store.evaluate("a.1", false);
        assert_eq!(store.learning(), ["a.1.bn", "b.drop"]);
    }

    #[test]
    fn frozen_tensors_keep_their_values() {
        let (store, weights) = built();
        store.freeze("a", true);
        weights[0].set(Tensor::from_floats([2.0, 3.0], &Device::flex()));
        store.freeze("a", false);
        let got: Vec<f32> = weights[0].get().into_data().try_into_vec().unwrap();
        assert_eq!(got, [2.0, 3.0]);
        assert_eq!(store.slot("a.1.conv.w").unwrap().version(), 2);
        assert_eq!(store.slot("a.1.bn.w").unwrap().version(), 1);
        assert_eq!(store.slot("a.1.bn.w").unwrap().kind(), LayerKind::Norm);
    }

    #[test]
    fn a_store_crosses_threads() {
        fn crosses<T: Send + Sync>(_: &T) {}
        let (store, weights) = built();
        crosses(&store);
        crosses(&weights);
    }
}
