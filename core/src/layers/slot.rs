//! [`Slot`]: one tensor of a [`super::Store`], and what is to be known of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, RwLock};

use burn::tensor::{Tensor, TensorData};

use super::Resized;

/// One row of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Full name, for example `backbone.layer1.0.conv1.weight`.
    pub key: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// What the tensor is for.
    pub role: Role,
    /// Its name in older checkpoints, if that was another.
    pub once: Option<String>,
    /// How a checkpoint's of another shape is made one of this, if that can be.
    pub resized: Option<Resized>,
}

/// What a tensor of the state dict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained.
    Parameter,
    /// Floating-point values that are not trained: running statistics.
    Buffer,
    /// A whole number that inference does not read (`num_batches_tracked`).
    Counter,
    /// Whole numbers that follow from the config (`relative_position_index`): written for those who expect them, never read.
    Index,
}

impl Role {
    /// Whether there is a tensor of it on a device.
    pub fn on_device(self) -> bool {
        matches!(self, Role::Parameter | Role::Buffer)
    }
}

/// What kind of layer a tensor belongs to; `paramwise_cfg` and initialisers ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerKind {
    /// A convolution.
    Conv,
    /// A convolution with as many groups as input channels.
    DepthwiseConv,
    /// A deformable convolution's layer of offsets.
    Offsets,
    /// A fully connected layer.
    Linear,
    /// Any norm.
    Norm,
    /// A table of vectors.
    Embedding,
    /// None of these.
    #[default]
    Other,
}

/// One tensor.
pub struct Slot {
    key: String,
    shape: Vec<usize>,
    role: Role,
    kind: LayerKind,
    value: RwLock<Option<Tensor<1>>>,
    /// The value of a [`Role::Counter`], which no device needs.
    count: AtomicU64,
    /// The values of a [`Role::Index`], likewise.
    indices: OnceLock<Arc<Vec<i64>>>,
    version: AtomicU64,
    frozen: AtomicBool,
    tracked: Arc<AtomicBool>,
}

const POISONED: &str = "nobody panics while holding a value";

impl Slot {
    pub(super) fn new(entry: StateEntry, kind: LayerKind, tracked: Arc<AtomicBool>) -> Self {
        Self {
            key: entry.key,
            shape: entry.shape,
            role: entry.role,
            kind,
            value: RwLock::new(None),
            count: AtomicU64::new(0),
            indices: OnceLock::new(),
            version: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            tracked,
        }
    }

    /// The name under which it was registered first.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Shape; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the tensor is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What kind of layer it belongs to.
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// Whether it gets no gradients.
    pub fn frozen(&self) -> bool {
        self.frozen.load(Relaxed)
    }

    /// Counts how often the value was set.
    pub fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// The values, row-major; nothing that is computed from them is recorded.
    ///
    /// # Panics
    /// If the model was not built for training, or this is a counter or an index.
    pub fn value(&self) -> Tensor<1> {
        self.leaf().without_autodiff()
    }

    /// Sets the values; recordings of the old ones end.
    ///
    /// # Panics
    /// If the number of values is another one.
    pub fn set(&self, value: Tensor<1>) {
        let count = self.shape.iter().product::<usize>();
        assert_eq!(value.dims(), [count], "values of {}", self.key);
        let mut held = self.value.write().expect(POISONED);
        *held = Some(self.leaf_of(value));
        self.version.fetch_add(1, Relaxed);
    }

    /// Sets the values to what `change` makes of them. Nobody else holds them meanwhile, so that it can be done in place.
    ///
    /// # Panics
    /// As [`Slot::value`] and [`Slot::set`].
    pub fn update(&self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let mut held = self.value.write().expect(POISONED);
        let value = held
            .take()
            .unwrap_or_else(|| panic!("{} has no values", self.key));
        let dims = value.dims();
        let value = change(value.without_autodiff());
        assert_eq!(value.dims(), dims, "values of {}", self.key);
        *held = Some(self.leaf_of(value));
        self.version.fetch_add(1, Relaxed);
    }

    /// The value of a counter.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Sets the value of a counter, and gives the one before.
    pub fn replace_count(&self, count: u64) -> u64 {
        self.count.swap(count, Relaxed)
    }

    /// The values of a [`Role::Index`]; none of others, or where only names and shapes were wanted.
    pub fn indices(&self) -> Arc<Vec<i64>> {
        self.indices.get().cloned().unwrap_or_default()
    }

    /// Sets the values of a [`Role::Index`], once and for all.
    pub(super) fn set_indices(&self, indices: Vec<i64>) {
        self.indices.get_or_init(|| Arc::new(indices));
    }

    /// Its row in the state dict, under its first name.
    pub fn as_entry(&self) -> StateEntry {
        self.entry(&self.key)
    }

    /// Counts one more, and gives the sum.
    pub(super) fn increment(&self) -> u64 {
        self.count.fetch_add(1, Relaxed) + 1
    }

    /// Whether what is computed from it is recorded.
    pub(super) fn tracked(&self) -> bool {
        self.tracked.load(Relaxed)
    }

    /// The value as a layer is to use it.
    pub(super) fn used(&self) -> Tensor<1> {
        if self.tracked() {
            self.leaf()
        } else {
            self.value()
        }
    }

    /// The tensor by which gradients are found.
    pub(super) fn leaf(&self) -> Tensor<1> {
        let value = self.value.read().expect(POISONED).clone();
        value.unwrap_or_else(|| panic!("{} has no values: only models built in Mode::Train keep their tensors by name, counters are counts", self.key))
    }

    fn leaf_of(&self, value: Tensor<1>) -> Tensor<1> {
        let value = value.without_autodiff();
        if cfg!(feature = "train") && self.role == Role::Parameter && !self.frozen() {
            return value.autodiff().require_grad();
        }
        value
    }

    /// Whether that was a change.
    pub(super) fn set_frozen(&self, frozen: bool) -> bool {
        if self.frozen.swap(frozen, Relaxed) == frozen {
            return false;
        }
        let mut held = self.value.write().expect(POISONED);
        *held = held.take().map(|value| self.leaf_of(value));
        true
    }

    pub(super) fn load(&self, values: Vec<f32>) {
        if self.role == Role::Counter {
            let count = values.first().map_or(0, |count| *count as u64);
            self.count.store(count, Relaxed);
            return;
        }
        if self.role == Role::Index {
            return;
        }
        let device = self.leaf().device().without_autodiff();
        self.set(Tensor::from_data(
            TensorData::new(values, [self.shape.iter().product::<usize>()]),
            &device,
        ));
    }

    pub(super) fn entry(&self, name: &str) -> StateEntry {
        StateEntry {
            key: name.to_string(),
            shape: self.shape.clone(),
            role: self.role,
            once: None,
            resized: None,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.key, self.shape)
    }
}
