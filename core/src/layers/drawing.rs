//! [`Drawing`]: the initial values of a whole model, number by number those that MMDetection draws after `torch.manual_seed`.
//!
//! There, one generator serves all, so that each tensor's numbers depend on all that was drawn before. First the model is built: each
//! convolution draws its weight and bias as it is made, mmcv's `ConvModule` draws its convolution's weight again, a library may draw all of its own
//! again. Then MMEngine's `init_weights` goes from the whole to its parts and draws what the rules of each mean, in the state dict's order.
//! A walk over our layers tells all that; what comes of it is put into the tensors at the end. Most draws are replaced by later ones: of
//! those only the generator's steps are made.

use std::collections::HashMap;
use std::sync::Arc;

use super::torch_random::TorchRandom;
use super::{Init, InitRule, Slot};

/// Which draws are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// All, as `Runner.from_cfg` has it, which seeds before it builds the model. What a checkpoint gives stays.
    Whole,
    /// Those of `init_weights`, from a fresh generator, also over what was given: a Runner that gets a model that was built before.
    Rules,
}

/// What is to be drawn, as far as the walk has come.
pub(super) struct Drawing {
    course: Course,
    /// Words that others take from the generator before `init_weights`.
    between: usize,
    /// All that have tensors, in the state dict's order.
    layers: Vec<Layer>,
    /// In the order in which the original builds.
    built: Vec<Deed>,
}

struct Layer {
    place: String,
    classes: &'static [&'static str],
    tensors: Vec<(String, Arc<Slot>)>,
}

/// A draw, or a rule that leads to some, at a place.
#[derive(Clone)]
struct Deed {
    place: String,
    what: What,
}

#[derive(Clone)]
enum What {
    Own(Arc<Slot>, Init),
    Rule(InitRule),
    /// For a tensor of this shape that no model has.
    Lost(Init, Vec<usize>),
}

/// One call of the generator.
struct Draw {
    slot: Option<Arc<Slot>>,
    init: Init,
    shape: Vec<usize>,
}

impl Draw {
    fn of((slot, init): (Arc<Slot>, Init)) -> Self {
        Self {
            shape: slot.shape().to_vec(),
            slot: Some(slot),
            init,
        }
    }
}

impl Drawing {
    pub fn new(course: Course, between: usize) -> Self {
        Self {
            course,
            between,
            layers: Vec::new(),
            built: Vec::new(),
        }
    }

    pub fn course(&self) -> Course {
        self.course
    }

    /// The layer at `place` makes its tensor `name`, whose values are `own` until a rule says otherwise.
    pub fn make(
        &mut self,
        place: &str,
        classes: &'static [&'static str],
        name: &str,
        slot: &Arc<Slot>,
        own: Init,
    ) {
        let tensor = (name.to_string(), slot.clone());
        match self.layers.last_mut().filter(|last| last.place == place) {
            Some(layer) => layer.tensors.push(tensor),
            None => self.layers.push(Layer {
                place: place.to_string(),
                classes,
                tensors: vec![tensor],
            }),
        }
        self.built.push(Deed {
            place: place.to_string(),
            what: What::Own(slot.clone(), own),
        });
    }

    /// The part at `place` makes a tensor that it does not keep.
    pub fn lose(&mut self, place: &str, init: Init, shape: &[usize]) {
        self.built.push(Deed {
            place: place.to_string(),
            what: What::Lost(init, shape.to_vec()),
        });
    }

    /// What was made at `place` is drawn by `rule`.
    pub fn apply(&mut self, place: &str, rule: &InitRule) {
        self.built.push(Deed {
            place: place.to_string(),
            what: What::Rule(rule.clone()),
        });
    }

    /// Sorts what was done below these places as they are listed. Whatever else was done stays where it is.
    pub fn sort(&mut self, places: &[String]) {
        let of = |deed: &Deed| places.iter().position(|place| below(&deed.place, place));
        let found = self.built.iter().enumerate();
        let found = found.filter_map(|(i, deed)| Some((of(deed)?, i)));
        let mut order: Vec<_> = found.collect();
        let mut at: Vec<_> = order.iter().map(|(_, i)| *i).collect();
        at.sort_unstable();
        order.sort_unstable();
        let sorted: Vec<_> = order.iter().map(|(_, i)| self.built[*i].clone()).collect();
        for (i, deed) in at.into_iter().zip(sorted) {
            self.built[i] = deed;
        }
    }

    /// Draws all by `seed` and the `rules` of `init_weights`, and gives what `wanted` has not refused to `put`.
    pub fn finish(
        &self,
        seed: u64,
        rules: &[(String, InitRule)],
        wanted: impl Fn(&Slot, Init) -> bool,
        put: impl Fn(&Slot, Vec<f32>),
    ) {
        let mut draws = Vec::new();
        if self.course == Course::Whole {
            for deed in &self.built {
                match &deed.what {
                    What::Own(slot, init) => draws.push(Draw::of((slot.clone(), *init))),
                    What::Rule(rule) => {
                        draws.extend(self.meant(&deed.place, rule).map(Draw::of));
                    }
                    What::Lost(init, shape) => draws.push(Draw {
                        slot: None,
                        init: *init,
                        shape: shape.clone(),
                    }),
                }
            }
        }
        draws.push(Draw {
            slot: None,
            init: Init::Uniform { a: 0.0, b: 1.0 }, // a word each
            shape: vec![self.between],
        });
        for (place, rule) in rules {
            draws.extend(self.meant(place, rule).map(Draw::of));
        }
        let key = |draw: &Draw| draw.slot.as_ref().map(|slot| slot.key().to_string());
        let indexed = draws.iter().enumerate();
        let last: HashMap<_, _> = indexed.map(|(i, draw)| (key(draw), i)).collect();
        let due = |i: usize| {
            let slot = draws[i].slot.as_ref();
            slot.filter(|slot| last[&key(&draws[i])] == i && wanted(slot, draws[i].init))
        };
        let Some(end) = (0..draws.len()).rev().find(|i| due(*i).is_some()) else {
            return;
        };
        let mut random = TorchRandom::new(seed);
        for (i, draw) in draws.iter().enumerate().take(end + 1) {
            match due(i) {
                Some(slot) => put(slot, random.values(draw.init, &draw.shape)),
                None => random.pass(draw.init, &draw.shape),
            }
        }
    }

    /// What `rule` at `place` draws, in order. A tensor of two names is drawn twice.
    fn meant<'a>(
        &'a self,
        place: &'a str,
        rule: &'a InitRule,
    ) -> impl Iterator<Item = (Arc<Slot>, Init)> + 'a {
        let layers = self.layers.iter().filter(|l| below(&l.place, place));
        layers.flat_map(move |layer| {
            let tensors = layer.tensors.iter();
            tensors.filter_map(move |(name, slot)| {
                let said = rule.says(layer.classes, name, slot.shape(), slot.role());
                said.map(|init| (slot.clone(), init))
            })
        })
    }
}

/// Whether `name` is `place`, or below it.
fn below(name: &str, place: &str) -> bool {
    let rest = name.strip_prefix(place);
    rest.is_some_and(|rest| place.is_empty() || rest.is_empty() || rest.starts_with('.'))
}
