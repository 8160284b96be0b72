//! [`Weight`] and [`Counter`]: what layers hold of the tensors in the state dict.

use std::fmt;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};

use super::Slot;
use crate::Precision;
use crate::ops::conv::Prepared;

/// What a layer holds of a tensor.
#[derive(Clone)]
pub struct Weight<const D: usize> {
    held: Held<D>,
    precision: Precision,
    /// Of one that is not live, which has a name.
    place: Option<Arc<str>>,
}

#[derive(Clone)]
enum Held<const D: usize> {
    /// With what its device makes of it when it is first used.
    Fixed(Box<Tensor<D>>, Arc<OnceLock<Prepared>>),
    /// Zeros that take no memory until they are used.
    Zeros([usize; D], Box<Device>),
    Live(Arc<Slot>, [usize; D]),
}

impl<const D: usize> Weight<D> {
    pub(super) fn zeros(shape: [usize; D], device: Device) -> Self {
        Held::Zeros(shape, Box::new(device)).into()
    }

    pub(super) fn live(slot: Arc<Slot>, shape: [usize; D]) -> Self {
        Held::Live(slot, shape).into()
    }

    /// The same, of which convolutions multiply in numbers of `precision`.
    pub(super) fn compute_in(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The same, said to be of the layer at this place.
    pub(super) fn of(mut self, place: &str) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Where the layer that it is of is in the state dict, if that was said.
    pub(crate) fn place(&self) -> Option<Arc<str>> {
        match &self.held {
            Held::Live(slot, _) => slot.key().rsplit_once('.').map(|(place, _)| place.into()),
            _ => self.place.clone(),
        }
    }

    /// In which numbers convolutions multiply by it. While nothing is recorded a model that learns multiplies in f32, as MMEngine validates.
    pub fn precision(&self) -> Precision {
        match &self.held {
            Held::Live(slot, _) if !slot.tracked() => Precision::F32,
            _ => self.precision,
        }
    }

    /// The tensor as it is now.
    pub fn get(&self) -> Tensor<D> {
        match &self.held {
            Held::Fixed(tensor, _) => (**tensor).clone(),
            Held::Zeros(shape, device) => Tensor::zeros(*shape, &**device),
            Held::Live(slot, shape) => slot.used().reshape(*shape),
        }
    }

    /// What `make` makes of the tensor, once; `None` for one that can change or that gradients are recorded of.
    pub(crate) fn prepared(&self, make: impl FnOnce(&Tensor<D>) -> Prepared) -> Option<&Prepared> {
        match &self.held {
            Held::Fixed(tensor, made) if !tensor.is_autodiff() => {
                Some(made.get_or_init(|| make(tensor)))
            }
            _ => None,
        }
    }

    /// Sets the tensor, for all that share it.
    ///
    /// # Panics
    /// If the model was not built for training.
    pub fn set(&self, value: Tensor<D>) {
        let Held::Live(slot, shape) = &self.held else {
            panic!("only models built in Mode::Train have weights that change");
        };
        slot.set(value.reshape([shape.iter().product::<usize>()]));
    }

    /// Sets this and another tensor to what `change` makes of both, in place where nobody else holds them.
    ///
    /// # Panics
    /// If the model was not built for training, or both are one.
    pub(super) fn update_with(
        &self,
        other: &Self,
        change: impl FnOnce(Tensor<1>, Tensor<1>) -> [Tensor<1>; 2],
    ) {
        let (Held::Live(one, _), Held::Live(two, _)) = (&self.held, &other.held) else {
            panic!("only models built in Mode::Train have weights that change");
        };
        one.update(|a| {
            let mut made = None;
            two.update(|b| {
                let [a, b] = change(a, b);
                made = Some(a);
                b
            });
            made.expect("the change was made")
        });
    }

    /// Counts how often the tensor was set: what is computed from it holds as long as this stays.
    pub fn version(&self) -> u64 {
        match &self.held {
            Held::Live(slot, _) => slot.version(),
            _ => 0,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> [usize; D] {
        match &self.held {
            Held::Fixed(tensor, _) => tensor.dims(),
            Held::Zeros(shape, _) | Held::Live(_, shape) => *shape,
        }
    }
}

impl<const D: usize> From<Held<D>> for Weight<D> {
    fn from(held: Held<D>) -> Self {
        Self {
            held,
            precision: Precision::F32,
            place: None,
        }
    }
}

/// A tensor that never changes.
impl<const D: usize> From<Tensor<D>> for Weight<D> {
    fn from(tensor: Tensor<D>) -> Self {
        Held::Fixed(Box::new(tensor), Arc::default()).into()
    }
}

impl<const D: usize> fmt::Debug for Weight<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Held::Live(slot, _) => slot.fmt(f),
            _ => write!(f, "Weight{:?}", self.shape()),
        }
    }
}

/// What a layer holds of a [`Role::Counter`].
#[derive(Clone, Debug)]
pub struct Counter(pub(super) Arc<Slot>);

impl Counter {
    /// Counts one more, and gives the sum.
    pub fn increment(&self) -> u64 {
        self.0.increment()
    }
}
