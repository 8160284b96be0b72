//! [`Gradients`] of a [`Store`]'s parameters.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::{Slot, Store};

/// Gradients of parameters, each as flat as [`Slot::value`], in the state dict's order. A parameter that is frozen or of which the loss
/// knows nothing has none (PyTorch's None, which optimizers pass over).
pub struct Gradients {
    by_slot: Vec<(Arc<Slot>, Tensor<1>)>,
}

impl Store {
    /// Goes back from `loss`, of one element, to the parameters.
    ///
    /// # Panics
    /// If nothing was recorded: the loss must come from weights while [`Store::track`] is on.
    pub fn gradients(&self, loss: Tensor<1>) -> Gradients {
        let mut found = loss.backward();
        let mut of = |slot: Arc<Slot>| {
            let gradient = slot.leaf().grad_remove(&mut found)?;
            Some((slot, gradient))
        };
        let by_slot = self.parameters().into_iter().filter_map(&mut of).collect();
        Gradients { by_slot }
    }
}

impl Gradients {
    /// The gradient of a parameter by the name under which it was registered first.
    pub fn get(&self, key: &str) -> Option<&Tensor<1>> {
        let mut all = self.iter();
        all.find_map(|(slot, gradient)| (slot.key() == key).then_some(gradient))
    }

    /// Parameters and their gradients.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Slot>, &Tensor<1>)> + Clone {
        self.by_slot.iter().map(|(slot, gradient)| (slot, gradient))
    }

    /// Changes each gradient.
    pub fn map(&mut self, mut change: impl FnMut(Tensor<1>) -> Tensor<1>) {
        let all = std::mem::take(&mut self.by_slot).into_iter();
        let changed = all.map(|(slot, gradient)| (slot, change(gradient)));
        self.by_slot = changed.collect();
    }

    /// Leaves out those of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&Slot) -> bool) {
        self.by_slot.retain(|(slot, _)| keep(slot));
    }

    /// Sums of these and others; a parameter that has none in one of them has the other's.
    pub fn plus(mut self, others: Gradients) -> Gradients {
        let places = self.by_slot.iter().enumerate();
        let places: HashMap<_, _> = places
            .map(|(i, (slot, _))| (Arc::as_ptr(slot), i))
            .collect();
        for (slot, gradient) in others {
            match places.get(&Arc::as_ptr(&slot)) {
                Some(i) => {
                    let sum = &mut self.by_slot[*i].1;
                    *sum = sum.clone() + gradient;
                }
                None => self.by_slot.push((slot, gradient)),
            }
        }
        self
    }
}

impl IntoIterator for Gradients {
    type Item = (Arc<Slot>, Tensor<1>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_slot.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{
        Activation, ConvConfig, ConvKind, Init, InitRule, Mode, NormConfig, Params,
    };
    use burn::tensor::{Device, TensorData};

    fn numbers(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().try_into_vec().unwrap()
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-4, "{got:?} {want:?}");
        }
    }

    fn parameters() -> (Store, impl Fn() -> Tensor<1>) {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        params.at("a").tie(&params.at("c"));
        let weight = |name: &str, value| params.at(name).weight("w", [2], Init::Constant(value));
        let (a, b, c) = (weight("a", 1.0), weight("b", 2.0), weight("c", 1.0));
        weight("unused", 1.0);
        let x = Tensor::<1>::from_floats([3.0, 4.0], &device);
        let loss = move || (a.get() * x.clone() + b.get() * c.get()).sum();
        (params.store(), loss)
    }

    #[test]
    fn gradients_by_hand() {
        let (store, loss) = parameters();
        store.track(true);
        let found = store.gradients(loss());
        let keys: Vec<_> = found.iter().map(|(slot, _)| slot.key()).collect();
        assert_eq!(keys, ["a.w", "b.w"], "the tie once, the unused one not");
        close(&numbers(found.get("a.w").unwrap()), &[5.0, 6.0]); // x + b
        close(&numbers(found.get("b.w").unwrap()), &[1.0, 1.0]);

        store.freeze("c", true); // frozen through its other name
        let found = store.gradients(loss());
        assert!(found.get("a.w").is_none());
        store.freeze("a", false);
        store
            .slot("a.w")
            .unwrap()
            .set(Tensor::from_floats([7.0, 8.0], &Device::flex()));
        let found = store.gradients(loss());
        close(&numbers(found.get("a.w").unwrap()), &[5.0, 6.0]);
        close(&numbers(found.get("b.w").unwrap()), &[7.0, 8.0]);

        store.track(false);
        assert!(!loss().is_autodiff(), "as in no_grad");
    }

    /// A layer, and the loss of it between two tensors by formula.
    fn layer(
        device: &Device,
        conv: &ConvConfig,
        norm: Option<&str>,
    ) -> (Store, impl Fn() -> Tensor<1>) {
        let params = Params::new(device, Mode::Train, None);
        let norm = norm.map(|name| NormConfig {
            kind: name.into(),
            num_groups: Some(1),
            ..NormConfig::batch(1e-5)
        });
        let at = params.at("norm");
        let norm = norm.as_ref().map(|n| (n, &at));
        let at = params.at("conv");
        at.initialise(InitRule::all(Init::KAIMING, 0.0));
        let layer = conv.init(&at, norm);
        let tensor = |seed: f32| {
            let values: Vec<f32> = (0..48).map(|i| (i as f32 * seed).sin()).collect();
            Tensor::<4>::from_data(TensorData::new(values, [2, 2, 3, 4]), device)
        };
        let (x, wanted) = (tensor(0.7), tensor(1.3));
        let loss = move || (layer.forward_onto(x.clone(), x.clone()) * wanted.clone()).sum();
        (params.store(), loss)
    }

    fn layers() -> [(ConvConfig, Option<&'static str>); 4] {
        let conv = ConvConfig::new(2, 2, 3).pad(1).act(Some(Activation::Silu));
        let standardised = conv.clone().kind(ConvKind::Standardised);
        [
            (conv.clone(), Some("BN")),
            (standardised.clone(), Some("GN")),
            (standardised, None),
            (conv.groups(2), None),
        ]
    }

    #[test]
    fn gradients_are_slopes() {
        let device = Device::flex();
        for (conv, norm) in layers() {
            let (store, loss) = layer(&device, &conv, norm);
            store.track(true);
            let found = store.gradients(loss());
            store.track(false);
            assert_eq!(found.iter().count(), if norm.is_some() { 3 } else { 2 });
            for (slot, gradient) in found {
                let value = numbers(&slot.value());
                for (i, gradient) in numbers(&gradient).into_iter().enumerate() {
                    let moved = |by: f32| {
                        let mut values = value.clone();
                        values[i] += by;
                        slot.set(Tensor::from_floats(values.as_slice(), &device));
                        numbers(&loss())[0]
                    };
                    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    // f32's rounding of the loss, 1e-5, over the step
                    let bound = 2e-3 * gradient.abs().max(1.0);
                    assert!(
                        (slope - gradient).abs() < bound,
                        "{slot:?} {i}: {slope} {gradient}"
                    );
                }
                slot.set(Tensor::from_floats(value.as_slice(), &device));
            }
        }
    }

    #[test]
    fn devices_agree() {
        let Some(device) = crate::device::gpu_for_tests() else {
            return;
        };
        for (conv, norm) in layers() {
            let on = |device: &Device| -> Vec<f32> {
                let (store, loss) = layer(device, &conv, norm);
                store.track(true);
                let found = store.gradients(loss());
                found.iter().flat_map(|(_, g)| numbers(g)).collect()
            };
            close(&on(&device), &on(&Device::flex()));
        }
    }
}
