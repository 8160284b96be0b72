//! [`Params`]: where layers get their tensors, under the names that the original's state dict uses.
//!
//! A model is built by one walk over its layers, in the order in which the original registers them. Each layer
//! asks for its tensors by name and shape; the walk therefore *is* the state dict: names, shapes and order come out of it
//! ([`Params::state`]), and the values go in on the way, from a checkpoint or from an initialiser, straight to the device.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For inference: norms with fixed statistics are folded into the convolution before them.
    Inference,
    /// Every tensor stays a parameter of its own, as training needs it.
    Train,
    /// Names and shapes only. Tensors are zeros that take no memory until they are used.
    Plan,
}

/// Values for a tensor that no checkpoint gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Normal with deviation `sqrt(2 / fan_out)` (He et al. 2015, arXiv 1502.01852), mmengine's `Kaiming` default.
    KaimingNormal,
    /// Uniform with Glorot's bound `sqrt(6 / (fan_in + fan_out))`, mmengine's `Xavier` with `distribution='uniform'`.
    XavierUniform,
    /// Uniform with bound `1 / sqrt(fan_in)`: PyTorch's own for a convolution, mmengine's `Kaiming` with `a=sqrt(5)`,
    /// `distribution='uniform'` and `mode='fan_in'`.
    UniformFanIn,
}

/// Gives the values of tensors by their full state-dict name, row-major.
pub trait TensorSource {
    /// The values of `entry`, whose key is relative to the place the source serves.
    /// `None` where the source has no such tensor, or one of another shape.
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>>;
}

/// One row of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Full name, for example `backbone.layer1.0.conv1.weight`.
    pub key: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// What the tensor is for.
    pub role: Role,
}

/// What a tensor of the state dict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained.
    Parameter,
    /// Floating-point values that are not trained: running statistics.
    Buffer,
    /// An integer that inference does not read (`num_batches_tracked`).
    Counter,
}

struct Shared {
    device: Device,
    mode: Mode,
    source: Option<Box<dyn TensorSource>>,
    overlays: Vec<(String, Box<dyn TensorSource>)>,
    state: Vec<StateEntry>,
    initialised: Vec<String>,
}

/// A place in the state dict: a prefix, and the values that go below it. Cheap to clone.
#[derive(Clone)]
pub struct Params {
    prefix: String,
    shared: Rc<RefCell<Shared>>,
}

impl Params {
    /// The root of a state dict whose values come from `source` where it has them, else from initialisers.
    pub fn new(device: &Device, mode: Mode, source: Option<Box<dyn TensorSource>>) -> Self {
        let shared = Shared {
            device: device.clone(),
            mode,
            source,
            overlays: Vec::new(),
            state: Vec::new(),
            initialised: Vec::new(),
        };
        Self {
            prefix: String::new(),
            shared: Rc::new(RefCell::new(shared)),
        }
    }

    /// The place `name` below this one.
    pub fn at(&self, name: impl Display) -> Self {
        let prefix = if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        };
        Self {
            prefix,
            shared: self.shared.clone(),
        }
    }

    /// Values for everything below this place that the main source lacks (`init_cfg=dict(type='Pretrained')`).
    pub fn overlay(&self, source: Box<dyn TensorSource>) {
        let prefix = self.key("");
        self.shared.borrow_mut().overlays.push((prefix, source));
    }

    /// The device that tensors are made on.
    pub fn device(&self) -> Device {
        self.shared.borrow().device.clone()
    }

    /// What is built.
    pub fn mode(&self) -> Mode {
        self.shared.borrow().mode
    }

    /// The state dict so far, in registration order.
    pub fn state(&self) -> Vec<StateEntry> {
        self.shared.borrow().state.clone()
    }

    /// Names of the tensors that got an initial value because no source had them.
    pub fn initialised(&self) -> Vec<String> {
        self.shared.borrow().initialised.clone()
    }

    /// The values of parameter `name`. Empty in [`Mode::Plan`].
    pub fn values(&self, name: &str, shape: &[usize], init: Init) -> Vec<f32> {
        self.read(self.entry(name, shape, Role::Parameter), init)
    }

    /// The values of buffer `name`. Empty in [`Mode::Plan`].
    pub fn buffer(&self, name: &str, shape: &[usize], init: Init) -> Vec<f32> {
        self.read(self.entry(name, shape, Role::Buffer), init)
    }

    /// Registers an integer counter that inference does not read (`num_batches_tracked`).
    pub fn counter(&self, name: &str) {
        let entry = self.entry(name, &[], Role::Counter);
        self.shared.borrow_mut().state.push(entry);
    }

    fn entry(&self, name: &str, shape: &[usize], role: Role) -> StateEntry {
        StateEntry {
            key: self.key(name),
            shape: shape.to_vec(),
            role,
        }
    }

    fn read(&self, mut entry: StateEntry, init: Init) -> Vec<f32> {
        let shared = &mut *self.shared.borrow_mut();
        shared.state.push(entry.clone());
        if shared.mode == Mode::Plan {
            return Vec::new();
        }
        if let Some(values) = shared.source.as_mut().and_then(|s| s.tensor(&entry)) {
            return values;
        }
        let key = entry.key.clone();
        for (prefix, source) in &mut shared.overlays {
            if let Some(local) = key.strip_prefix(prefix.as_str()) {
                entry.key = local.to_string();
                if let Some(values) = source.tensor(&entry) {
                    return values;
                }
            }
        }
        let values = init.values(&key, &entry.shape);
        shared.initialised.push(key);
        values
    }

    /// The values of tensor `name` as a parameter on the device.
    pub fn param<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        init: Init,
    ) -> Param<Tensor<D>> {
        let values = self.values(name, &shape, init);
        self.upload(values, shape)
    }

    /// Moves values that came from [`Params::values`] to the device.
    pub fn upload<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let device = self.device();
        if self.mode() == Mode::Plan {
            return Param::uninitialized(
                ParamId::new(),
                move |device: &Device, _| Tensor::zeros(shape, device),
                device,
                false,
                shape.into(),
            );
        }
        Param::from_data(TensorData::new(values, shape), &device)
    }

    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}

impl Init {
    /// Values for a tensor of `shape`; the random ones depend on `key` alone, so that a run can be repeated.
    fn values(self, key: &str, shape: &[usize]) -> Vec<f32> {
        let n: usize = shape.iter().product();
        let receptive: usize = shape.iter().skip(2).product();
        let fan_out = (shape.first().copied().unwrap_or(1) * receptive).max(1) as f32;
        let fan_in = (shape.get(1).copied().unwrap_or(1) * receptive).max(1) as f32;
        let mut random = Random::new(key);
        match self {
            Init::Constant(v) => vec![v; n],
            Init::Normal { std } => (0..n).map(|_| std * random.normal()).collect(),
            Init::KaimingNormal => {
                let std = (2.0 / fan_out).sqrt();
                (0..n).map(|_| std * random.normal()).collect()
            }
            Init::XavierUniform | Init::UniformFanIn => {
                let bound = match self {
                    Init::XavierUniform => (6.0 / (fan_in + fan_out)).sqrt(),
                    _ => fan_in.recip().sqrt(),
                };
                (0..n)
                    .map(|_| bound * (2.0 * random.uniform() - 1.0))
                    .collect()
            }
        }
    }
}

/// A splitmix64 stream (Steele et al. 2014) seeded by a name.
struct Random(u64);

impl Random {
    fn new(key: &str) -> Self {
        let fnv = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        Self(key.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
    }

    /// In `[0, 1)`.
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
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
        let params = Params::new(&Device::flex(), Mode::Inference, Some(Box::new(OneKey)));
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
        let params = Params::new(&Device::flex(), Mode::Inference, None);
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
    fn random_initial_values_have_the_stated_spread() {
        let v = Init::KaimingNormal.values("k", &[64, 8, 3, 3]);
        let var = v.iter().map(|x| x * x).sum::<f32>() / v.len() as f32;
        assert!((var.sqrt() / (2.0f32 / 576.0).sqrt() - 1.0).abs() < 0.05);
        for (init, bound) in [
            (Init::XavierUniform, (6.0f32 / 24.0).sqrt()),
            (Init::UniformFanIn, (1.0f32 / 12.0).sqrt()),
        ] {
            let largest = init
                .values("k", &[12, 12])
                .into_iter()
                .fold(0.0, |m, x| x.abs().max(m));
            assert!(
                largest <= bound && largest > 0.9 * bound,
                "{init:?} {largest}"
            );
        }
    }
}
