//! SGD with momentum, as PyTorch has it (`torch.optim.SGD`): the buffer begins as the first gradient, whatever `dampening` is, and the
//! learning rate multiplies the buffer (Sutskever et al. 2013 have it within). `nesterov` looks one step ahead.

use burn::tensor::Tensor;
use serde::Deserialize;
use smalti_shaders::records::SgdRecord;

use super::{Bounded, IMPLEMENTATION, Kept, Optimizer, Settings, within};
use crate::config::{Diagnostics, Node, error_at};
use crate::ops::train::apply;

/// The keys of `type='SGD'`.
#[derive(Deserialize)]
struct SgdConfig {
    lr: Option<f64>,
    momentum: Option<f64>,
    dampening: Option<f64>,
    weight_decay: Option<f64>,
    nesterov: Option<bool>,
    maximize: Option<bool>,
}

/// Stochastic gradient descent.
#[derive(Debug)]
pub struct Sgd {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let config: SgdConfig = node.read_knowing(&IMPLEMENTATION)?;
    let lr = config.lr.unwrap_or(1e-3);
    let momentum = config.momentum.unwrap_or(0.0);
    let dampening = config.dampening.unwrap_or(0.0);
    let weight_decay = config.weight_decay.unwrap_or(0.0);
    let nesterov = config.nesterov.unwrap_or(false);
    let mut problems = Diagnostics::new();
    for (key, value) in [
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weight_decay),
    ] {
        within(node, key, value, 0.0..=f64::INFINITY, &mut problems);
    }
    if nesterov && (momentum <= 0.0 || dampening != 0.0) {
        let message = "`nesterov` needs a `momentum` and no `dampening`";
        problems.extend(error_at(node, "nesterov", message, ""));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut defaults = Settings::default();
    defaults.set("lr", lr);
    defaults.set("momentum", momentum);
    defaults.set("dampening", dampening);
    defaults.set("weight_decay", weight_decay);
    defaults.set("nesterov", nesterov);
    defaults.set("maximize", config.maximize.unwrap_or(false));
    Ok(Box::new(Sgd { defaults }))
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "SGD"
    }

    fn defaults(&self) -> &Settings {
        &self.defaults
    }

    fn counts_steps(&self) -> bool {
        false
    }

    fn step(
        &self,
        settings: &Settings,
        value: Tensor<1>,
        gradient: Bounded,
        kept: &mut Kept,
    ) -> Tensor<1> {
        let momentum = settings.known("momentum");
        let names: &[&str] = match momentum {
            0.0 => &[],
            _ => &["momentum_buffer"],
        };
        let record = SgdRecord {
            lr: settings.known("lr") as f32,
            momentum: momentum as f32,
            undamped: (1.0 - settings.known("dampening")) as f32,
            weight_decay: settings.known("weight_decay") as f32,
            sign: super::sign(settings),
            fresh: u32::from(!kept.has("momentum_buffer")),
            nesterov: u32::from(settings.known("nesterov") != 0.0),
            most: gradient.most(),
        };
        let kept = kept.tensors(names, &value);
        apply(&record, value, gradient.gradient, gradient.factor, kept)
    }
}
