//! Normalisation layers, by the names that mmcv and MMDetection register: BN (also SyncBN, which is BN on one device), FrozenBN,
//! GN and IN.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::Deserialize;

use super::{Init, Params};

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
    /// Share of the batch in the running statistics, 0.1 if absent.
    pub momentum: Option<f64>,
    /// Groups of GN.
    pub num_groups: Option<usize>,
    /// Whether there is a weight and a bias; true if absent.
    pub affine: Option<bool>,
    /// Whether BN keeps running statistics; true if absent.
    pub track_running_stats: Option<bool>,
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Per channel, by running statistics when evaluating.
    Batch,
    /// As `Batch`, but never trained, weight and bias included.
    FrozenBatch,
    /// Per channel, by the batch's own statistics always (`track_running_stats=False`).
    BatchOwn,
    /// Per picture and group of channels.
    Group(usize),
    /// Per picture and channel.
    Instance,
}

impl NormConfig {
    /// Batch norm with the given epsilon.
    pub fn batch(eps: f64) -> Self {
        Self {
            kind: "BN".into(),
            requires_grad: None,
            eps: Some(eps),
            momentum: None,
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
            other => Err(format!(
                "unknown norm `{other}`; known are BN, BN2d, SyncBN, FrozenBN, GN, IN"
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

    /// The name that mmcv gives such a layer: `bn`, `gn` or `in`, to which a position may be appended.
    pub fn abbreviation(&self) -> &'static str {
        match self.norm_kind() {
            Ok(NormKind::Group(_)) => "gn",
            Ok(NormKind::Instance) => "in",
            _ => "bn",
        }
    }

    /// Epsilon.
    pub fn eps(&self) -> f64 {
        self.eps.unwrap_or(1e-5)
    }

    /// Whether inference can fold it into the convolution before it.
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
        let values = NormValues::read(self, channels, params);
        let upload = |v| params.upload(v, [channels]);
        Norm {
            weight: values.affine.then(|| upload(values.weight)),
            bias: values.affine.then(|| upload(values.bias)),
            running: values.running.map(|(mean, var)| Running {
                mean: upload(mean),
                var: upload(var),
            }),
            kind: values.kind,
            eps: self.eps(),
        }
    }
}

/// A norm's values before they go to a device.
pub(super) struct NormValues {
    pub kind: NormKind,
    pub affine: bool,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub running: Option<(Vec<f32>, Vec<f32>)>,
}

impl NormValues {
    pub fn read(config: &NormConfig, channels: usize, params: &Params) -> Self {
        let kind = config
            .norm_kind()
            .expect("norm configs are checked before layers are built");
        let affine = config.affine.unwrap_or(kind != NormKind::Instance);
        let value = |name, v| {
            let init = Init::Constant(v);
            match kind {
                NormKind::FrozenBatch => params.buffer(name, &[channels], init),
                _ => params.values(name, &[channels], init),
            }
        };
        let (weight, bias) = if affine {
            (value("weight", 1.0), value("bias", 0.0))
        } else {
            (vec![1.0; channels], vec![0.0; channels])
        };
        let running = config.has_fixed_statistics().then(|| {
            let buffer = |name, v| params.buffer(name, &[channels], Init::Constant(v));
            let running = (buffer("running_mean", 0.0), buffer("running_var", 1.0));
            if kind == NormKind::Batch {
                params.counter("num_batches_tracked");
            }
            running
        });
        Self {
            kind,
            affine,
            weight,
            bias,
            running,
        }
    }
}

/// A norm in evaluation mode.
#[derive(Module, Debug)]
pub struct Norm {
    weight: Option<Param<Tensor<1>>>,
    bias: Option<Param<Tensor<1>>>,
    running: Option<Running>,
    #[module(skip)]
    kind: NormKind,
    eps: f64,
}

/// Running statistics of batch norm, each `[C]`.
#[derive(Module, Debug)]
struct Running {
    mean: Param<Tensor<1>>,
    var: Param<Tensor<1>>,
}

impl Norm {
    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let x = match (&self.running, self.kind) {
            (Some(running), _) => {
                let shape = [1, c, 1, 1];
                let deviation = (running.var.val() + self.eps).sqrt();
                (x - running.mean.val().reshape(shape)) / deviation.reshape(shape)
            }
            (None, NormKind::Group(groups)) => self.standardise(x, [n, groups, c / groups * h * w]),
            (None, NormKind::Instance) => self.standardise(x, [n, c, h * w]),
            (None, _) => {
                let x = self.standardise(x.swap_dims(0, 1), [1, c, n * h * w]);
                x.reshape([c, n, h, w]).swap_dims(0, 1)
            }
        };
        let x = x.reshape([n, c, h, w]);
        match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => {
                x * weight.val().reshape([1, c, 1, 1]) + bias.val().reshape([1, c, 1, 1])
            }
            _ => x,
        }
    }

    /// Mean 0 and deviation 1 along the last axis of `x` seen as `shape`.
    fn standardise(&self, x: Tensor<4>, shape: [usize; 3]) -> Tensor<4> {
        let dims = x.dims();
        let x = x.reshape(shape);
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        (centred / (variance + self.eps).sqrt()).reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;
    use burn::tensor::Device;

    fn config(text: serde_json::Value) -> NormConfig {
        serde_json::from_value(text).unwrap()
    }

    fn forward(config: &NormConfig, x: [f32; 8]) -> Vec<f32> {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Train, None);
        let x = Tensor::<1>::from_floats(x, &device).reshape([2, 2, 1, 2]);
        let y = config.init(2, &params).forward(x);
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
