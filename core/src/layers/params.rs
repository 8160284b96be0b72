//! [`Params`]: where layers get their tensors, under the names that the original's state dict uses.
//!
//! A model is built by one walk over its layers, in the order in which the original registers them. Each layer
//! asks for its tensors by name and shape; the walk therefore *is* the state dict: names, shapes and order come out of it
//! ([`Params::state`]), and the values go in on the way, from a checkpoint or from an initialiser, straight to the device.
//! What is left after the walk is the [`Store`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use super::drawing::{Course, Drawing};
use super::{
    Counter, Dice, Init, InitRule, LayerKind, Phase, Resized, Role, Slot, StateEntry, Store,
    TensorSource, Weight,
};
use crate::Precision;

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Names and shapes only. Tensors are zeros that take no memory until they are used.
    Plan,
    /// Values are final: norms with fixed statistics are folded into the convolution before them, before anything reaches the device.
    Fixed,
    /// Every tensor is a slot of the store; norms and dropouts learn until they are told otherwise.
    Train,
}

/// Tensors that the deployed form of the original has in place of others.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Places whose tensors go.
    pub from: Vec<String>,
    /// Names, shapes and values of those that come.
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

struct Walk {
    device: Device,
    mode: Mode,
    source: Option<Box<dyn TensorSource>>,
    overlays: Vec<(String, Box<dyn TensorSource>)>,
    /// Places, and what layers there and below get where no checkpoint has them.
    rules: Vec<(String, InitRule)>,
    /// The same, of what the original does while it builds.
    while_built: Vec<(String, InitRule)>,
    /// How many of those it has done.
    done: usize,
    drawing: Option<Drawing>,
    /// Places, and the earlier places that they are the same as.
    ties: Vec<(String, String)>,
    /// Places, and what older checkpoints call them.
    once: Vec<(String, String)>,
    /// Names of tensors, and how a checkpoint's of another shape is made one of theirs.
    resized: Vec<(String, Resized)>,
    initialised: Vec<String>,
    unreadable: Vec<(String, String)>,
    /// If they are wanted.
    merged: Option<Vec<Merged>>,
}

/// A place in the state dict: a prefix, and the values that go below it. Cheap to clone.
#[derive(Clone)]
pub struct Params {
    prefix: String,
    kind: LayerKind,
    /// Names that `init_cfg` has for the layer here: PyTorch's class, and what it is derived from.
    classes: &'static [&'static str],
    walk: Rc<RefCell<Walk>>,
    store: Store,
}

impl Params {
    /// The root of a state dict whose values come from `source` where it has them, else from initialisers.
    pub fn new(device: &Device, mode: Mode, source: Option<Box<dyn TensorSource>>) -> Self {
        let walk = Walk {
            device: device.clone(),
            mode,
            source,
            overlays: Vec::new(),
            rules: Vec::new(),
            while_built: Vec::new(),
            done: 0,
            drawing: None,
            ties: Vec::new(),
            once: Vec::new(),
            resized: Vec::new(),
            initialised: Vec::new(),
            unreadable: Vec::new(),
            merged: None,
        };
        Self {
            prefix: String::new(),
            kind: LayerKind::Other,
            classes: &[],
            walk: Rc::new(RefCell::new(walk)),
            store: Store::default(),
        }
    }

    /// The same, of which convolutions multiply in numbers of `precision`, as far as the device has them. To be said at the root.
    pub fn compute_in(mut self, precision: Precision) -> Self {
        let precision = precision.on(&self.device());
        self.store.set_precision(precision);
        self
    }

    /// The place `name` below this one.
    pub fn at(&self, name: impl Display) -> Self {
        Self {
            prefix: join(&self.prefix, name),
            ..self.clone()
        }
    }

    /// The place whose name is that of this one and `ending`.
    pub(super) fn beside(&self, ending: &str) -> Self {
        Self {
            prefix: format!("{}{ending}", self.prefix),
            ..self.clone()
        }
    }

    /// The same place, said to belong to a layer of this kind.
    pub fn layer(&self, kind: LayerKind) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    /// The same place, said to belong to a layer that `init_cfg` knows by these names: PyTorch's class, and what that is derived from.
    pub fn class(&self, classes: &'static [&'static str]) -> Self {
        Self {
            classes,
            ..self.clone()
        }
    }

    /// Gives layers at this place and below it other initial values than they have by themselves. To be said before they are built. Of rules
    /// that mean the same tensor the last one counts: MMEngine, too, goes from the whole to its parts.
    pub fn initialise(&self, rule: InitRule) {
        let mut walk = self.walk.borrow_mut();
        walk.rules.push((self.prefix.clone(), rule));
    }

    /// Gives layers at this place and below it what the original gives them while it builds, after PyTorch's own values: what
    /// [`Params::initialise`] says counts before it. To be said before they are built; [`Params::built`] tells when that is.
    pub fn initialise_built(&self, rule: InitRule) {
        let mut walk = self.walk.borrow_mut();
        walk.while_built.push((self.prefix.clone(), rule));
    }

    /// Says that the original now does what was said by [`Params::initialise_built`].
    pub fn built(&self) {
        let walk = &mut *self.walk.borrow_mut();
        if let Some(drawing) = &mut walk.drawing {
            for (place, rule) in &walk.while_built[walk.done..] {
                drawing.apply(place, rule);
            }
        }
        walk.done = walk.while_built.len();
    }

    /// Says that the original now builds a tensor of `shape` that it drops again: its numbers are drawn, too.
    pub fn built_and_dropped(&self, init: Init, shape: &[usize]) {
        if let Some(drawing) = &mut self.walk.borrow_mut().drawing {
            drawing.lose(&self.prefix, init, shape);
        }
    }

    /// Says in which order the original builds parts of what is here, where the state dict has another one. To be said after they were built.
    pub fn built_in_order(&self, parts: impl IntoIterator<Item = impl Display>) {
        let places: Vec<_> = parts.into_iter().map(|p| join(&self.prefix, p)).collect();
        if let Some(drawing) = &mut self.walk.borrow_mut().drawing {
            drawing.sort(&places);
        }
    }

    /// Says in which order the state dict of the original has parts of what is here, where they were built in another one. To be said after that.
    pub fn listed_in_order(&self, parts: impl IntoIterator<Item = impl Display>) {
        let places: Vec<_> = parts.into_iter().map(|p| join(&self.prefix, p)).collect();
        let place = |name: &str| places.iter().position(|p| moved(name, p, "").is_some());
        self.store.sort(place);
    }

    /// Has the initial values of all that is built from now on drawn as MMDetection does, when the model is whole. `between` is how many words others
    /// take from the generator after the model is built and before `init_weights`. To be said at the root.
    pub fn draw_later(&self, course: Course, between: usize) {
        self.walk.borrow_mut().drawing = Some(Drawing::new(course, between));
    }

    /// Whether [`Params::draw_later`] was said.
    pub(crate) fn draws_later(&self) -> bool {
        self.walk.borrow().drawing.is_some()
    }

    /// Draws what [`Params::draw_later`] left, by the seed of [`Store::set_step`].
    pub(crate) fn draw(&self) {
        let Some(drawing) = self.walk.borrow_mut().drawing.take() else {
            return;
        };
        let walk = self.walk.borrow();
        let missing: HashSet<_> = walk.initialised.iter().map(String::as_str).collect();
        let wanted = |slot: &Slot, init: Init| match drawing.course() {
            Course::Whole => init.drawn(slot.shape()).is_some() && missing.contains(slot.key()),
            Course::Rules => true,
        };
        let put = |slot: &Slot, values: Vec<f32>| {
            let n = values.len();
            slot.set(self.persistent(values, [n]));
        };
        drawing.finish(self.store.seed(), &walk.rules, wanted, put);
    }

    /// Says that the tensors of `later` are those of this place: two names, one tensor. To be said before either is built.
    /// Of values that disagree the later name's count, as in PyTorch, which copies one after the other into the one tensor.
    ///
    /// # Panics
    /// If something was built at one of the places.
    pub fn tie(&self, later: &Params) {
        for place in [&self.prefix, &later.prefix] {
            let below = format!("{place}.");
            let built = |e: &StateEntry| e.key == *place || e.key.starts_with(&below);
            let found = self.state().into_iter().find(built);
            assert!(
                found.is_none(),
                "{place} is tied before anything is built there"
            );
        }
        let tie = (later.prefix.clone(), self.prefix.clone());
        self.walk.borrow_mut().ties.push(tie);
    }

    /// Says that in older checkpoints the last part of this place's name was `name`. To be said before anything is built here.
    pub fn once_called(&self, name: &str) {
        let parent = self
            .prefix
            .rsplit_once('.')
            .map_or("", |(parent, _)| parent);
        let once = (self.prefix.clone(), join(parent, name));
        self.walk.borrow_mut().once.push(once);
    }

    /// Says how the tensor `name` here is made of one of another shape. To be said before it is built.
    pub fn resized(&self, name: &str, how: Resized) {
        let name = self.key(name);
        self.walk.borrow_mut().resized.push((name, how));
    }

    /// Says that in older checkpoints this place was beside the one that it is in, called as that one and `ending`. To be said before anything is
    /// built here.
    pub fn once_beside(&self, ending: &str) {
        let parent = self.prefix.rsplit_once('.');
        let beside = format!("{}{ending}", parent.map_or("", |(parent, _)| parent));
        let once = (self.prefix.clone(), beside);
        self.walk.borrow_mut().once.push(once);
    }

    /// Whether a checkpoint had no values for `name`, so that it got initial ones.
    pub(super) fn lacked(&self, name: &str) -> bool {
        let key = self.key(name);
        self.walk.borrow().initialised.contains(&key)
    }

    /// Values for everything below this place that the main source lacks (`init_cfg=dict(type='Pretrained')`).
    pub fn overlay(&self, source: Box<dyn TensorSource>) {
        let prefix = self.key("");
        self.walk.borrow_mut().overlays.push((prefix, source));
    }

    /// Has layers that the original can merge for deployment tell what they come to: to be said in [`Mode::Fixed`], before they are built.
    pub fn note_merged(&self) {
        self.walk.borrow_mut().merged = Some(Vec::new());
    }

    /// What was told since [`Params::note_merged`].
    pub fn merged(&self) -> Vec<Merged> {
        let walk = self.walk.borrow();
        walk.merged.clone().unwrap_or_default()
    }

    /// Tells what a layer comes to: places whose tensors go, and the tensors that come here.
    pub(super) fn tell_merged(
        &self,
        from: impl IntoIterator<Item = Params>,
        tensors: impl FnOnce() -> Vec<(&'static str, Vec<usize>, Vec<f32>)>,
    ) {
        let mut walk = self.walk.borrow_mut();
        let Some(merged) = &mut walk.merged else {
            return;
        };
        let named = |(name, shape, values)| (self.key(name), shape, values);
        merged.push(Merged {
            from: from.into_iter().map(|at| at.prefix).collect(),
            tensors: tensors().into_iter().map(named).collect(),
        });
    }

    /// Names of the parts and tensors that were built here, without those that are inside of them.
    pub(crate) fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        for entry in self.store.state() {
            let Some(rest) = entry.key.strip_prefix(&self.prefix) else {
                continue;
            };
            let rest = rest.strip_prefix('.').filter(|_| !self.prefix.is_empty());
            let rest = rest.unwrap_or(entry.key.as_str());
            let part = rest.split('.').next().unwrap_or_default().to_string();
            if parts.last() != Some(&part) && !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts
    }

    /// The device that tensors are made on.
    pub fn device(&self) -> Device {
        self.walk.borrow().device.clone()
    }

    /// What is built.
    pub fn mode(&self) -> Mode {
        self.walk.borrow().mode
    }

    /// All tensors so far, and those to come.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// The state dict so far, in registration order.
    pub fn state(&self) -> Vec<StateEntry> {
        let mut state = self.store.state();
        let walk = self.walk.borrow();
        for entry in &mut state {
            entry.once = walk.once_named(&entry.key);
            entry.resized = walk.resized(&entry.key);
        }
        state
    }

    /// Names of the tensors that got an initial value because no source had them.
    pub fn initialised(&self) -> Vec<String> {
        self.walk.borrow().initialised.clone()
    }

    /// Names of the tensors that a source has and that cannot be read, and why. Their values are initial ones.
    pub fn unreadable(&self) -> Vec<(String, String)> {
        self.walk.borrow().unreadable.clone()
    }

    /// The parameter `name`.
    pub fn weight<const D: usize>(&self, name: &str, shape: [usize; D], init: Init) -> Weight<D> {
        self.tensor(name, shape, Role::Parameter, init)
    }

    /// The parameter `name`, which has these values where no checkpoint has it, whatever an `init_cfg` says.
    pub fn weight_of<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        values: impl FnOnce() -> Vec<f32>,
    ) -> Weight<D> {
        let (slot, keys) = self.register(name, &shape, Role::Parameter);
        if self.mode() == Mode::Plan {
            return self.upload(Vec::new(), shape);
        }
        let given = self.walk.borrow_mut().given(&keys, &slot);
        let values = given.unwrap_or_else(|| {
            self.walk.borrow_mut().note_initialised(&slot);
            values()
        });
        if self.mode() != Mode::Train {
            return self.upload(values, shape);
        }
        let count = values.len();
        slot.set(self.persistent(values, [count]));
        Weight::live(slot, shape).compute_in(self.store.precision())
    }

    /// The parameter `name` without dimensions, one number.
    pub fn number(&self, name: &str, init: Init) -> Weight<1> {
        self.listed(name, &[], [1], Role::Parameter, init)
    }

    /// The buffer `name`.
    pub fn buffer<const D: usize>(&self, name: &str, shape: [usize; D], init: Init) -> Weight<D> {
        self.tensor(name, shape, Role::Buffer, init)
    }

    /// The counter `name` (`num_batches_tracked`), which only training reads.
    pub fn counter(&self, name: &str) -> Counter {
        let (slot, keys) = self.register(name, &[], Role::Counter);
        if self.mode() == Mode::Train
            && let Some(values) = self.walk.borrow_mut().given(&keys, &slot)
        {
            slot.load(values);
        }
        Counter(slot)
    }

    /// Says that the original keeps whole numbers `name` here that follow from the config. What a checkpoint has of them is not read: a layer
    /// works them out for itself.
    ///
    /// # Panics
    /// If there are not as many `values` as the shape has.
    pub fn indices(&self, name: &str, shape: &[usize], values: impl FnOnce() -> Vec<i64>) {
        let (slot, _) = self.register(name, shape, Role::Index);
        if self.mode() == Mode::Train {
            let values = values();
            let count = shape.iter().product::<usize>();
            assert_eq!(values.len(), count, "values of {}", self.key(name));
            slot.set_indices(values);
        }
    }

    /// The values of parameter `name`, for a layer that computes its tensors from them once and then gives them to [`Params::upload`].
    /// Empty in [`Mode::Plan`].
    ///
    /// # Panics
    /// In [`Mode::Train`], where values change: ask for a [`Params::weight`].
    pub fn values(&self, name: &str, shape: &[usize], init: Init) -> Vec<f32> {
        self.numbers(name, shape, Role::Parameter, init)
    }

    pub(super) fn numbers(&self, name: &str, shape: &[usize], role: Role, init: Init) -> Vec<f32> {
        let mode = self.mode();
        assert_ne!(mode, Mode::Train, "{} is not final", self.key(name));
        let (slot, keys) = self.register(name, shape, role);
        if mode == Mode::Plan {
            return Vec::new();
        }
        let init = self.initial(name, shape, role, init);
        self.read(&keys, &slot, init)
    }

    pub(super) fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        role: Role,
        init: Init,
    ) -> Weight<D> {
        self.listed(name, &shape, shape, role, init)
    }

    /// `listed` is the shape in the state dict.
    pub(super) fn listed<const D: usize>(
        &self,
        name: &str,
        listed: &[usize],
        shape: [usize; D],
        role: Role,
        init: Init,
    ) -> Weight<D> {
        if self.mode() != Mode::Train {
            return self.upload(self.numbers(name, listed, role, init), shape);
        }
        let (slot, keys) = self.register(name, listed, role);
        if let Some(drawing) = &mut self.walk.borrow_mut().drawing {
            drawing.make(&self.prefix, self.classes, name, &slot, init);
        }
        if slot.version() == 0 {
            let init = self.initial(name, listed, role, init);
            let values = self.read(&keys, &slot, init);
            slot.set(self.persistent(values, [shape.iter().product::<usize>()]));
        }
        Weight::live(slot, shape).compute_in(self.store.precision())
    }

    /// Moves values that came from [`Params::values`] to the device.
    pub fn upload<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Weight<D> {
        if self.mode() == Mode::Plan {
            return Weight::zeros(shape, self.device()).of(&self.prefix);
        }
        let weight = Weight::from(self.persistent(values, shape)).of(&self.prefix);
        weight.compute_in(self.store.precision())
    }

    /// Values on the device, in memory that burn keeps apart from what comes and goes.
    fn persistent<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let device = self.device();
        let data = TensorData::new(values, shape);
        device.memory_persistent_allocations(data, |data| Tensor::from_data(data, &device))
    }

    /// Whether the layer here, a batch norm or a dropout, is to learn.
    pub fn phase(&self) -> Phase {
        let able = self.mode() == Mode::Train;
        self.store.behaviour(&self.prefix, self.kind, able)
    }

    /// Random numbers for the layer here.
    pub fn dice(&self) -> Dice {
        Dice::new(self.prefix.clone(), self.store.clock())
    }

    /// Freezes what was built here, as `frozen_stages` does; see [`Store::freeze`].
    pub fn freeze(&self) {
        self.store.freeze(self.prefix.as_str(), true);
    }

    /// Marks the batch norms that were built here to behave as in evaluation, as `norm_eval` does; see [`Store::evaluate`].
    pub fn evaluate(&self) {
        self.store.evaluate(self.prefix.as_str(), true);
    }

    /// Whether the parameters that were built here get gradients; see [`Store::require_grad`].
    pub fn require_grad(&self, required: bool) {
        self.store.require_grad(self.prefix.as_str(), required);
    }

    /// What the tensor `name` gets where no checkpoint has it: by the rules, else its layer's `own`.
    fn initial(&self, name: &str, shape: &[usize], role: Role, own: Init) -> Init {
        let walk = self.walk.borrow();
        let here = |place: &str| {
            let rest = self.prefix.strip_prefix(place);
            rest.is_some_and(|rest| place.is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        let rules = walk.while_built.iter().chain(&walk.rules).rev();
        let mut rules = rules.filter(|(place, _)| here(place));
        let said = rules.find_map(|(_, rule)| rule.says(self.classes, name, shape, role));
        said.unwrap_or(own)
    }

    /// Values from a source, else initial ones, by the seed of [`Store::set_step`].
    fn read(&self, keys: &[String], slot: &Slot, init: Init) -> Vec<f32> {
        let given = self.walk.borrow_mut().given(keys, slot);
        given.unwrap_or_else(|| {
            self.walk.borrow_mut().note_initialised(slot);
            if self.drawn_later(init, slot) {
                return vec![0.0; slot.shape().iter().product()];
            }
            init.values(self.store.seed(), &keys[0], slot.shape())
        })
    }

    /// Whether [`Params::draw`] will replace what the tensor gets now.
    fn drawn_later(&self, init: Init, slot: &Slot) -> bool {
        let walk = self.walk.borrow();
        let whole = |d: &Drawing| d.course() == Course::Whole;
        walk.drawing.as_ref().is_some_and(whole) && init.drawn(slot.shape()).is_some()
    }

    /// Adds a row to the state dict; gives, too, all names of the tensor, the first one first.
    /// Whether a tensor here or below is registered already.
    pub(crate) fn registered(&self) -> bool {
        let entries = self.store.entries();
        let here = |(name, _): &(String, Arc<Slot>)| moved(name, &self.prefix, "").is_some();
        entries.iter().any(here)
    }

    fn register(&self, name: &str, shape: &[usize], role: Role) -> (Arc<Slot>, Vec<String>) {
        let name = self.key(name);
        let keys = self.walk.borrow().names(&name);
        let slot = self.store.register(name, &keys, shape, role, self.kind);
        (slot, keys)
    }

    fn key(&self, name: &str) -> String {
        join(&self.prefix, name)
    }
}

fn join(prefix: &str, name: impl Display) -> String {
    if prefix.is_empty() {
        return name.to_string();
    }
    format!("{prefix}.{name}")
}

/// A name below the place `from`, as one below `to`.
fn moved(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = name.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
}

impl Walk {
    /// What older checkpoints call the tensor `name`, if they have another name.
    fn once_named(&self, name: &str) -> Option<String> {
        let once = self.once.iter();
        once.filter_map(|(now, once)| moved(name, now, once)).next()
    }

    /// How a tensor of another shape is made the tensor `name`, if that can be.
    fn resized(&self, name: &str) -> Option<Resized> {
        let mut resized = self.resized.iter();
        resized.find_map(|(known, how)| (known == name).then_some(*how))
    }

    /// All names of the tensor `name`, the one that was tied to first.
    fn names(&self, name: &str) -> Vec<String> {
        let tied = |(later, first): &(String, String)| moved(name, later, first);
        let first = self.ties.iter().find_map(tied);
        let first = first.unwrap_or_else(|| name.to_string());
        let others = self.ties.iter();
        let others: Vec<_> = others
            .filter_map(|(later, tied)| moved(&first, tied, later))
            .collect();
        [vec![first], others].concat()
    }

    fn note_initialised(&mut self, slot: &Slot) {
        if !self.initialised.iter().any(|key| key == slot.key()) {
            self.initialised.push(slot.key().to_string());
        }
    }

    /// The values that a source has: the main one, or an overlay that serves the place.
    fn given(&mut self, keys: &[String], slot: &Slot) -> Option<Vec<f32>> {
        let mut names = Vec::new();
        for key in keys.iter().rev() {
            names.push(key.clone());
            names.extend(self.once_named(key));
        }
        let mut faults = Vec::new();
        let resized = self.resized(slot.key());
        let mut ask = |source: &mut Box<dyn TensorSource>, name: &str| {
            let entry = StateEntry {
                resized,
                ..slot.entry(name)
            };
            let found = source.tensor(&entry);
            faults.extend(source.fault());
            found
        };
        let main = self.source.as_mut();
        let from_main = main.and_then(|source| names.iter().find_map(|name| ask(source, name)));
        let found = from_main.or_else(|| {
            let mut overlays = self.overlays.iter_mut();
            overlays.find_map(|(prefix, source)| {
                let mut names = names.iter();
                names.find_map(|name| ask(source, name.strip_prefix(prefix.as_str())?))
            })
        });
        let of_slot = faults.into_iter().map(|why| (slot.key().to_string(), why));
        self.unreadable.extend(of_slot);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneKey;
    impl TensorSource for OneKey {
        fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
            (entry.key == "a.b.weight").then(|| vec![7.0; entry.shape.iter().product()])
        }
    }

    #[test]
    fn names_and_values_follow_the_walk() {
        let params = Params::new(&Device::flex(), Mode::Fixed, Some(Box::new(OneKey)));
        let b = params.at("a").at("b");
        assert_eq!(b.values("weight", &[2], Init::Constant(1.0)), [7.0, 7.0]);
        assert_eq!(b.values("bias", &[2], Init::Constant(1.0)), [1.0, 1.0]);
        b.counter("steps");
        let keys: Vec<_> = params.state().into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["a.b.weight", "a.b.bias", "a.b.steps"]);
        assert_eq!(params.initialised(), ["a.b.bias"]);
    }

    #[test]
    fn an_overlay_serves_its_own_subtree_only() {
        let params = Params::new(&Device::flex(), Mode::Fixed, None);
        struct All;
        impl TensorSource for All {
            fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
                (entry.key == "w").then(|| vec![3.0])
            }
        }
        params.at("backbone").overlay(Box::new(All));
        assert_eq!(
            params.at("backbone").values("w", &[1], Init::Constant(0.0)),
            [3.0]
        );
        assert_eq!(
            params.at("neck").values("w", &[1], Init::Constant(0.0)),
            [0.0]
        );
    }

    #[test]
    fn the_last_rule_that_means_a_tensor_counts_in_every_mode() {
        let [of_conv, of_all] = [
            InitRule::of(&["Conv2d"], Init::Constant(2.0)),
            InitRule::all(Init::Constant(3.0), 4.0),
        ];
        let random = InitRule::of(&["Conv2d"], Init::normal(1.0));
        let mut drawn = Vec::new();
        for mode in [Mode::Fixed, Mode::Train] {
            let params = Params::new(&Device::flex(), mode, None);
            params.initialise(of_conv.clone());
            params.at("head.last").initialise(of_all.clone());
            params.at("drawn").initialise(random.clone());
            let value = |place: &str, name: &str| {
                let at = params.at(place).class(&["ConvWS2d", "Conv2d"]);
                let weight = at.weight(name, [2, 1], Init::Constant(9.0));
                weight.get().into_data().try_into_vec::<f32>().unwrap()
            };
            assert_eq!(value("head.first", "weight"), [2.0; 2]);
            assert_eq!(value("head.first", "bias"), [0.0; 2]);
            assert_eq!(value("head.first", "scale"), [9.0; 2]);
            assert_eq!(value("head.last.conv", "weight"), [3.0; 2]);
            assert_eq!(value("head.last.conv", "bias"), [4.0; 2]);
            assert_eq!(value("head.lasting", "weight"), [2.0; 2]);
            drawn.push(value("drawn", "weight"));
            let other = params
                .at("other")
                .weight("weight", [2], Init::Constant(9.0));
            assert_eq!(
                other.get().into_data().try_into_vec::<f32>().unwrap(),
                [9.0; 2]
            );
        }
        assert_eq!(drawn[0], drawn[1]);
        assert_ne!(drawn[0][0], drawn[0][1]);
    }

    #[test]
    fn older_names_serve_where_the_new_one_is_not() {
        struct Old;
        impl TensorSource for Old {
            fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
                match entry.key.as_str() {
                    "head.fcos_cls.w" => Some(vec![1.0]),
                    "head.conv_reg.w" => Some(vec![2.0]),
                    "head.fcos_reg.w" => Some(vec![3.0]),
                    _ => None,
                }
            }
        }
        let params = Params::new(&Device::flex(), Mode::Fixed, Some(Box::new(Old)));
        for (name, once, value) in [("conv_cls", "fcos_cls", 1.0), ("conv_reg", "fcos_reg", 2.0)] {
            let at = params.at("head").at(name);
            at.once_called(once);
            assert_eq!(at.values("w", &[1], Init::Constant(9.0)), [value]);
        }
        let once = params.state().remove(0).once;
        assert_eq!(once.as_deref(), Some("head.fcos_cls.w"));
    }

    fn numbers(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn tied_names_share_one_tensor() {
        /// Each place below `convs` has its number as value, but 3 has none.
        struct Numbers;
        impl TensorSource for Numbers {
            fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
                let number: f32 = entry.key.split('.').nth(1)?.parse().ok()?;
                (number < 3.0).then(|| vec![number])
            }
        }
        for mode in [Mode::Train, Mode::Fixed] {
            let params = Params::new(&Device::flex(), mode, Some(Box::new(Numbers)));
            let convs: Vec<_> = (0..4).map(|i| params.at("convs").at(i)).collect();
            convs[0].tie(&convs[1]);
            convs[0].tie(&convs[2]);
            let init = Init::Constant(9.0);
            let weights: Vec<_> = convs.iter().map(|at| at.weight("w", [1], init)).collect();
            for (i, want) in [2.0, 2.0, 2.0, 9.0].into_iter().enumerate() {
                let got = numbers(weights[i].get());
                assert_eq!(
                    got,
                    [want],
                    "{mode:?}: of values that disagree the last counts"
                );
            }
            let keys: Vec<_> = params.state().into_iter().map(|e| e.key).collect();
            let all = ["convs.0.w", "convs.1.w", "convs.2.w", "convs.3.w"];
            assert_eq!(keys, all);
            assert_eq!(params.initialised(), ["convs.3.w"]);

            let store = params.store();
            let once: Vec<_> = store
                .parameters()
                .iter()
                .map(|s| s.key().to_string())
                .collect();
            assert_eq!(once, ["convs.0.w", "convs.3.w"]);
            assert_eq!(store.ties("convs.1.w"), all[..3]);
            assert_eq!(store.ties("convs.3.w"), all[3..]);
            if mode == Mode::Train {
                weights[2].set(Tensor::from_floats([5.0], &Device::flex()));
                assert_eq!(numbers(weights[0].get()), [5.0]);
                assert_eq!([weights[1].version(), weights[3].version()], [2, 1]);
                assert_eq!(store.freeze("convs.2", true), ["convs.0.w"]);
                assert!(store.slot("convs.0.w").unwrap().frozen());
            }
        }
    }

    #[test]
    #[should_panic(expected = "tied before anything is built there")]
    fn a_tie_comes_first() {
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        params.at("a").weight("w", [1], Init::Constant(0.0));
        params.at("a").tie(&params.at("b"));
    }

    #[test]
    fn a_plan_has_names_and_marks_but_no_values() {
        let params = Params::new(&Device::flex(), Mode::Plan, None);
        let at = params.at("a");
        let weight = at.weight("w", [1 << 20, 1 << 20], Init::KAIMING);
        at.freeze();
        assert_eq!(weight.shape(), [1 << 20; 2]);
        assert!(params.store().slot("a.w").unwrap().frozen());
        assert!(!at.phase().learning());
    }

    #[test]
    fn values_are_put_back_by_name() {
        let device = Device::flex();
        let build = |value| {
            let params = Params::new(&device, Mode::Train, None);
            let weight = params.at("a").weight("w", [2, 1], Init::Constant(value));
            (weight, params.at("a").counter("n"), params)
        };
        let (_, counter, from) = build(3.0);
        counter.increment();
        let (weight, _, to) = build(1.0);
        to.at("b").buffer("v", [1], Init::Constant(0.0));
        let mut source = pollster::block_on(from.store().source()).unwrap();
        assert_eq!(to.store().load(&mut source), ["b.v"]);
        assert_eq!(numbers(weight.get().flatten(0, 1)), [3.0, 3.0]);
        assert_eq!(to.store().slot("a.n").unwrap().count(), 1);
    }
}
