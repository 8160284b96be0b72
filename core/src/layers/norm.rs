//! Normalisation layers, by the names that mmcv and MMDetection register: BN (also SyncBN, which is BN on one device), FrozenBN,
//! GN, IN and LN (also LN2d, which is LN on maps).

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Counter, Init, LayerKind, Params, Phase, Role, Weight};
use crate::ops::conv::Finish;
use crate::ops::norm::{MeanVar, batch_norm, learn};
use crate::ops::rows::layer_norm;

/// A `norm_cfg` dict.
#[derive(Clone, Debug, Deserialize)]
pub struct NormConfig {
    /// Registered name, for example `BN`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether its weight and bias are trained; true if absent.
    pub requires_grad: Option<bool>,
    /// Added to the variance, 1e-5 if absent.
    pub eps: Option<f64>,
    /// Share of the batch in the running statistics, 0.1 if absent; `None` is the average of all batches so far.
    #[serde(default = "tenth")]
    pub momentum: Option<f64>,
    /// Groups of GN.
    pub num_groups: Option<usize>,
    /// Whether there is a weight and a bias; true if absent.
    pub affine: Option<bool>,
    /// Whether BN keeps running statistics; true if absent.
    pub track_running_stats: Option<bool>,
}

fn tenth() -> Option<f64> {
    Some(0.1)
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Per channel, by the batch's statistics when learning, by running ones when evaluating.
    Batch,
    /// As `Batch`, but never trained, weight and bias included.
    FrozenBatch,
    /// Per channel, by the batch's own statistics always (`track_running_stats=False`).
    BatchOwn,
    /// Per picture and group of channels.
    Group(usize),
    /// Per picture and channel.
    Instance,
    /// Per place, over its channels: those of a map, or the last axis of tokens.
    Layer,
}

impl NormConfig {
    /// Batch norm with the given epsilon.
    pub fn batch(eps: f64) -> Self {
        Self {
            kind: "BN".into(),
            requires_grad: None,
            eps: Some(eps),
            momentum: tenth(),
            num_groups: None,
            affine: None,
            track_running_stats: None,
        }
    }

    /// Group norm of so many groups.
    pub fn group(groups: usize) -> Self {
        Self {
            kind: "GN".into(),
            num_groups: Some(groups),
            eps: None,
            ..Self::batch(0.0)
        }
    }

    /// Layer norm with the given epsilon.
    pub fn layer(eps: f64) -> Self {
        Self {
            kind: "LN".into(),
            ..Self::batch(eps)
        }
    }

    /// The same with another momentum.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = Some(momentum);
        self
    }

    /// What the names mean; an error says what is missing or unknown.
    pub fn norm_kind(&self) -> Result<NormKind, String> {
        match self.kind.rsplit('.').next().unwrap_or_default() {
            "BN" | "BN2d" | "SyncBN" | "MMSyncBN" | "BatchNorm2d" | "SyncBatchNorm" => {
                Ok(match self.track_running_stats {
                    Some(false) => NormKind::BatchOwn,
                    _ => NormKind::Batch,
                })
            }
            "FrozenBN" => Ok(NormKind::FrozenBatch),
            "IN" | "IN2d" | "InstanceNorm2d" if self.track_running_stats != Some(true) => {
                Ok(NormKind::Instance)
            }
            "GN" | "GroupNorm" => match self.num_groups {
                Some(0) => Err("`num_groups` must be at least 1".into()),
                Some(groups) => Ok(NormKind::Group(groups)),
                None => Err("`GN` needs `num_groups`, for example num_groups=32".into()),
            },
            "LN" | "LN2d" | "LayerNorm" | "LayerNorm2d" => Ok(NormKind::Layer),
            other => Err(format!(
                "unknown norm `{other}`; known are BN, BN2d, SyncBN, FrozenBN, GN, IN, LN, LN2d"
            )),
        }
    }

    /// What is wrong with this norm for layers of so many channels, if anything.
    pub fn check(&self, channels: &[usize]) -> Result<(), String> {
        if let NormKind::Group(groups) = self.norm_kind()?
            && let Some(c) = channels.iter().find(|c| *c % groups != 0)
        {
            return Err(format!(
                "`num_groups` is {groups}, which does not divide {c} channels"
            ));
        }
        Ok(())
    }

    /// The name that mmcv gives such a layer: `bn`, `gn`, `in` or `ln`, to which a position may be appended.
    pub fn abbreviation(&self) -> &'static str {
        match self.norm_kind() {
            Ok(NormKind::Group(_)) => "gn",
            Ok(NormKind::Instance) => "in",
            Ok(NormKind::Layer) => "ln",
            _ => "bn",
        }
    }

    /// Epsilon.
    pub fn eps(&self) -> f64 {
        self.eps.unwrap_or(1e-5)
    }

    /// Whether it can be folded into the convolution before it where nothing learns.
    pub(super) fn has_fixed_statistics(&self) -> bool {
        matches!(
            self.norm_kind(),
            Ok(NormKind::Batch | NormKind::FrozenBatch)
        )
    }

    /// A layer for `channels`, its tensors below `params`.
    ///
    /// # Panics
    /// If the config is not valid; [`NormConfig::check`] tells beforehand.
    pub fn init(&self, channels: usize, params: &Params) -> Norm {
        let params = &params.layer(LayerKind::Norm).class(self.classes());
        let tensor =
            |name: &str, role, value| params.tensor(name, [channels], role, Init::Constant(value));
        let parts = self.walk(params, tensor);
        if self.requires_grad == Some(false) {
            params.require_grad(false);
        }
        Norm {
            affine: parts.affine,
            running: parts.running.map(|(mean, var)| Running {
                mean,
                var,
                learning: parts.tracked.map(|tracked| (params.phase(), tracked)),
                momentum: self.momentum,
            }),
            kind: parts.kind,
            eps: self.eps(),
        }
    }

    /// What a norm with fixed statistics does to each channel: a factor, then a summand.
    pub(super) fn values(&self, channels: usize, params: &Params) -> (Vec<f64>, Vec<f64>) {
        let params = &params.layer(LayerKind::Norm).class(self.classes());
        let tensor = |name: &str, role, value| {
            params.numbers(name, &[channels], role, Init::Constant(value))
        };
        let parts = self.walk(params, tensor);
        let (mean, var) = parts.running.expect("only fixed statistics are values");
        let scale = |(c, var): (usize, &f32)| {
            let weight = parts.affine.as_ref().map_or(1.0, |a| a.0[c]);
            f64::from(weight) / (f64::from(*var) + self.eps()).sqrt()
        };
        let scales: Vec<_> = var.iter().enumerate().map(scale).collect();
        let shift = |(c, mean): (usize, &f32)| {
            let bias = parts.affine.as_ref().map_or(0.0, |a| a.1[c]);
            f64::from(bias) - f64::from(*mean) * scales[c]
        };
        let shifts = mean.iter().enumerate().map(shift).collect();
        (scales, shifts)
    }

    /// PyTorch's class, and what it is derived from.
    fn classes(&self) -> &'static [&'static str] {
        match self.kind.rsplit('.').next().unwrap_or_default() {
            "SyncBN" | "SyncBatchNorm" => &["SyncBatchNorm", "_BatchNorm"],
            "MMSyncBN" => &["SyncBatchNorm"],
            "GN" | "GroupNorm" => &["GroupNorm"],
            "IN" | "IN2d" | "InstanceNorm2d" => &["InstanceNorm2d", "_InstanceNorm"],
            "LN" | "LayerNorm" => &["LayerNorm"],
            "LN2d" | "LayerNorm2d" => &["LayerNorm2d", "LayerNorm"],
            _ => &["BatchNorm2d", "_BatchNorm"],
        }
    }

    /// Asks for all that such a norm has in the state dict, in its order.
    fn walk<T>(&self, params: &Params, tensor: impl Fn(&str, Role, f32) -> T) -> Parts<T> {
        let kind = self
            .norm_kind()
            .expect("norm configs are checked before layers are built");
        let role = match kind {
            NormKind::FrozenBatch => Role::Buffer,
            _ => Role::Parameter,
        };
        let affine = self.affine.unwrap_or(kind != NormKind::Instance);
        let affine = affine.then(|| (tensor("weight", role, 1.0), tensor("bias", role, 0.0)));
        let running = self.has_fixed_statistics().then(|| {
            let buffer = |name, value| tensor(name, Role::Buffer, value);
            (buffer("running_mean", 0.0), buffer("running_var", 1.0))
        });
        let tracked = kind == NormKind::Batch;
        Parts {
            kind,
            affine,
            running,
            tracked: tracked.then(|| params.counter("num_batches_tracked")),
        }
    }
}

/// What a norm has in the state dict: weight and bias, running mean and variance, batches so far.
struct Parts<T> {
    kind: NormKind,
    affine: Option<(T, T)>,
    running: Option<(T, T)>,
    tracked: Option<Counter>,
}

/// A norm.
#[derive(Debug)]
pub struct Norm {
    /// Weight and bias.
    affine: Option<(Weight<1>, Weight<1>)>,
    running: Option<Running>,
    kind: NormKind,
    eps: f64,
}

/// Running statistics of batch norm, each `[C]`.
#[derive(Debug)]
struct Running {
    mean: Weight<1>,
    var: Weight<1>,
    /// None if they never change.
    learning: Option<(Phase, Counter)>,
    momentum: Option<f64>,
}

impl Norm {
    /// Whether it takes in the statistics of what comes through.
    pub fn learning(&self) -> bool {
        let learning = self.running.as_ref().and_then(|r| r.learning.as_ref());
        learning.is_some_and(|(phase, _)| phase.learning())
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    ///
    /// # Panics
    /// If a batch norm is to learn from one value a channel, whose variance says nothing.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_with(x, &mut Finish::default())
    }

    /// A layer norm along the last axis.
    ///
    /// # Shapes
    /// - input and output: `[.., C]`
    ///
    /// # Panics
    /// If it is of another kind, whose statistics go over maps.
    pub fn forward_tokens<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        assert_eq!(self.kind, NormKind::Layer, "tokens have layer norms");
        if let Some(y) = self.normed(&x, D - 1) {
            return y;
        }
        let x = centred(x, D - 1, self.eps);
        match &self.affine {
            Some((weight, bias)) => x * weight.get().unsqueeze() + bias.get().unsqueeze(),
            None => x,
        }
    }

    /// As [`Norm::forward`], with as much of `finish` as is done in the same pass over memory, which it then takes.
    pub(super) fn forward_with(&self, x: Tensor<4>, finish: &mut Finish) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        match (&self.running, self.kind) {
            (Some(running), _) if self.learning() => {
                let (y, [mean, var]) = self.batch(x, None, finish);
                running.learn(mean, var, n * h * w);
                y
            }
            (Some(running), _) => {
                let given = [running.mean.get(), running.var.get()];
                self.batch(x, Some(given), finish).0
            }
            (None, NormKind::Group(groups)) => {
                self.affine(self.standardise(x, [n, groups, c / groups * h * w]))
            }
            (None, NormKind::Instance) => self.affine(self.standardise(x, [n, c, h * w])),
            (None, NormKind::Layer) => match self.normed(&x, 1) {
                Some(y) => y,
                None => self.affine(centred(x, 1, self.eps)),
            },
            (None, _) => self.batch(x, None, finish).0,
        }
    }

    /// A layer norm along one axis, where it is done in a pass over memory.
    fn normed<const D: usize>(&self, x: &Tensor<D>, axis: usize) -> Option<Tensor<D>> {
        let (weight, bias) = self.affine.as_ref()?;
        layer_norm(x, axis, [weight.get(), bias.get()], self.eps)
    }

    /// By the statistics that are given, else by x's own; y and the statistics.
    fn batch(
        &self,
        x: Tensor<4>,
        given: Option<MeanVar>,
        finish: &mut Finish,
    ) -> (Tensor<4>, MeanVar) {
        // What is added is added before the activation.
        let mut act = finish.act.take_if(|_| finish.add.is_none());
        let affine = match &self.affine {
            Some((weight, bias)) => [weight.get(), bias.get()],
            None => {
                let (shape, device) = ([x.dims()[1]], x.device().without_autodiff());
                [Tensor::ones(shape, &device), Tensor::zeros(shape, &device)]
            }
        };
        let done = batch_norm(&x, affine, given.clone(), self.eps, &mut act);
        finish.act = finish.act.take().or(act);
        done.unwrap_or_else(|| {
            let [mean, var] = given.unwrap_or_else(|| statistics(x.clone()));
            let y = self.scale(x, mean.clone(), var.clone());
            (y, [mean, var])
        })
    }

    /// Each channel by its mean and variance, then weight and bias: one factor and one summand.
    fn scale(&self, x: Tensor<4>, mean: Tensor<1>, var: Tensor<1>) -> Tensor<4> {
        let scale = (var + self.eps).sqrt().recip();
        let (scale, bias) = match &self.affine {
            Some((weight, bias)) => (scale * weight.get(), Some(bias.get())),
            None => (scale, None),
        };
        let shift = -mean * scale.clone();
        let shift = match bias {
            Some(bias) => shift + bias,
            None => shift,
        };
        x * channels(scale) + channels(shift)
    }

    fn affine(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.affine {
            Some((weight, bias)) => x * channels(weight.get()) + channels(bias.get()),
            None => x,
        }
    }

    /// Mean 0 and deviation 1 along the last axis of `x` seen as `shape`.
    fn standardise(&self, x: Tensor<4>, shape: [usize; 3]) -> Tensor<4> {
        let dims = x.dims();
        centred(x.reshape(shape), 2, self.eps).reshape(dims)
    }
}

/// Mean 0 and deviation 1 along one axis.
fn centred<const D: usize>(x: Tensor<D>, axis: usize, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(axis);
    let variance = centred.clone().square().mean_dim(axis);
    centred / (variance + eps).sqrt()
}

/// `[C]` to `[1, C, 1, 1]`.
fn channels(values: Tensor<1>) -> Tensor<4> {
    let [c] = values.dims();
    values.reshape([1, c, 1, 1])
}

/// Mean and variance (of all values, not an estimate) of each channel, `[C]`.
fn statistics(x: Tensor<4>) -> MeanVar {
    let [n, c, h, w] = x.dims();
    let x = x.reshape([n, c, h * w]);
    let over = |x: Tensor<3>| x.mean_dim(2).mean_dim(0);
    let mean = over(x.clone());
    let var = over((x - mean.clone()).square());
    [mean.reshape([c]), var.reshape([c])]
}

impl Running {
    /// Takes in the statistics of a batch of `count` values a channel, as PyTorch: the variance as an estimate of that of all batches.
    fn learn(&self, mean: Tensor<1>, var: Tensor<1>, count: usize) {
        let Some((_, tracked)) = &self.learning else {
            return;
        };
        assert!(
            count > 1,
            "batch norm learns from more than one value a channel; let the batch or the picture be larger"
        );
        let batches = tracked.increment();
        let share = self.momentum.unwrap_or(1.0 / batches as f64);
        self.mean.update_with(&self.var, |kept_mean, kept_var| {
            learn([kept_mean, kept_var], [mean, var], share, count)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, Store};
    use burn::tensor::Device;

    fn config(text: serde_json::Value) -> NormConfig {
        serde_json::from_value(text).unwrap()
    }

    fn forward(config: &NormConfig, x: [f32; 8]) -> Vec<f32> {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let x = Tensor::<1>::from_floats(x, &device).reshape([2, 2, 1, 2]);
        let norm = config.init(2, &params);
        params.store().learn("", false);
        let y = norm.forward(x);
        y.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn each_kind_normalises_over_its_own_axes() {
        let x = [0.0, 2.0, 10.0, 14.0, 4.0, 6.0, 10.0, 14.0];
        let close = |got: Vec<f32>, want: [f32; 8]| {
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() < 1e-3, "{got:?} {want:?}");
            }
        };
        let instance = config(serde_json::json!({"type": "IN"}));
        close(
            forward(&instance, x),
            [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0],
        );
        let groups = config(serde_json::json!({"type": "GN", "num_groups": 2}));
        assert_eq!(forward(&groups, x), forward(&instance, x));
        // Channel 0 over the batch: 0 2 4 6, mean 3, deviation sqrt(5).
        let own = config(serde_json::json!({"type": "BN", "track_running_stats": false}));
        let s = 5f32.sqrt();
        close(
            forward(&own, x),
            [-3.0 / s, -1.0 / s, -1.0, 1.0, 1.0 / s, 3.0 / s, -1.0, 1.0],
        );
        // Running statistics as initialised: mean 0, variance 1.
        let batch = config(serde_json::json!({"type": "SyncBN"}));
        close(forward(&batch, x), x);
    }

    fn values(store: &Store, name: &str) -> Vec<f32> {
        let slot = store.slot(name).unwrap();
        slot.value().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn batch_norm_learns_as_pytorchs() {
        let device = Device::flex();
        // Channel 0: 0 2 4 6, mean 3, variance 5, estimated 20 / 3. Channel 1: 10 14 10 14, mean 12, variance 4, estimated 16 / 3.
        let x = [0.0, 2.0, 10.0, 14.0, 4.0, 6.0, 10.0, 14.0];
        let x = Tensor::<1>::from_floats(x, &device).reshape([2, 2, 1, 2]);
        let close = |got: Vec<f32>, want: &[f32]| {
            assert_eq!(got.len(), want.len());
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() < 1e-4, "{got:?} {want:?}");
            }
        };
        let (a, b) = (1.0 / 5f32.sqrt(), 3.0 / 5f32.sqrt());
        let standard = [-b, -a, -1.0, 1.0, a, b, -1.0, 1.0];
        for (text, shares) in [
            (serde_json::json!({"type": "BN"}), [0.1, 0.1]),
            (
                serde_json::json!({"type": "SyncBN", "momentum": 0.5}),
                [0.5, 0.5],
            ),
            (
                serde_json::json!({"type": "BN", "momentum": null}),
                [1.0, 0.5],
            ),
        ] {
            let params = Params::new(&device, Mode::Train, None);
            let store = params.store();
            let norm = config(text).init(2, &params.at("bn"));
            let (mut mean, mut var) = ([0.0, 0.0], [1.0, 1.0]);
            for share in shares {
                let y = norm.forward(x.clone());
                close(y.into_data().try_into_vec().unwrap(), &standard);
                for (c, batch) in [(3.0, 20.0 / 3.0), (12.0, 16.0 / 3.0)]
                    .into_iter()
                    .enumerate()
                {
                    mean[c] = mean[c] * (1.0 - share) + batch.0 * share;
                    var[c] = var[c] * (1.0 - share) + batch.1 * share;
                }
                close(values(&store, "bn.running_mean"), &mean);
                close(values(&store, "bn.running_var"), &var);
            }
            assert_eq!(store.slot("bn.num_batches_tracked").unwrap().count(), 2);
            // As in evaluation: running statistics, which stay.
            store.evaluate("bn", true);
            let y: Vec<f32> = norm.forward(x.clone()).into_data().try_into_vec().unwrap();
            close(
                vec![y[0], y[2]],
                &[
                    (0.0 - mean[0]) / (var[0] + 1e-5).sqrt(),
                    (10.0 - mean[1]) / (var[1] + 1e-5).sqrt(),
                ],
            );
            close(values(&store, "bn.running_mean"), &mean);
            assert_eq!(store.slot("bn.num_batches_tracked").unwrap().count(), 2);
        }
    }

    #[test]
    fn norms_that_are_not_trained() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let store = params.store();
        let half = config(serde_json::json!({"type": "BN", "requires_grad": false}));
        half.init(2, &params.at("half"));
        config(serde_json::json!({"type": "FrozenBN"})).init(2, &params.at("frozen"));
        assert!(store.slot("half.weight").unwrap().frozen());
        assert_eq!(store.slot("half.bias").unwrap().kind(), LayerKind::Norm);
        assert_eq!(
            store.learning(),
            ["half"],
            "no gradients, but it learns statistics"
        );
        let keys: Vec<_> = store
            .parameters()
            .iter()
            .map(|s| s.key().to_string())
            .collect();
        assert_eq!(keys, ["half.weight", "half.bias"]);
        assert!(store.slot("frozen.num_batches_tracked").is_none());
    }

    #[test]
    #[should_panic(expected = "more than one value a channel")]
    fn one_value_has_no_variance() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let norm = NormConfig::batch(1e-5).init(2, &params);
        norm.forward(Tensor::zeros([1, 2, 1, 1], &device));
    }

    #[test]
    fn bad_configs_are_explained() {
        let no_groups = config(serde_json::json!({"type": "GN"}));
        assert!(no_groups.norm_kind().unwrap_err().contains("num_groups"));
        let seven = config(serde_json::json!({"type": "GN", "num_groups": 7}));
        assert!(
            seven
                .check(&[64])
                .unwrap_err()
                .contains("does not divide 64")
        );
        let unknown = config(serde_json::json!({"type": "XN"}));
        assert!(
            unknown
                .norm_kind()
                .unwrap_err()
                .contains("unknown norm `XN`")
        );
    }
}
