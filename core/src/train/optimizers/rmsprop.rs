//! RMSprop (Hinton's lecture 6e, 2012), as PyTorch has it: `eps` is added after the square root; `centered` divides by an estimate of the
//! gradient's deviation (Graves 2013, arXiv 1308.0850).

use burn::tensor::Tensor;
use serde::Deserialize;
use smalti_shaders::records::RmspropRecord;

use super::{Bounded, IMPLEMENTATION, Kept, Optimizer, Settings, within};
use crate::config::{Diagnostics, Node};
use crate::ops::train::apply;

/// The keys of `type='RMSprop'`.
#[derive(Deserialize)]
struct RmsPropConfig {
    lr: Option<f64>,
    alpha: Option<f64>,
    eps: Option<f64>,
    weight_decay: Option<f64>,
    momentum: Option<f64>,
    centered: Option<bool>,
    maximize: Option<bool>,
}

/// RMSprop.
#[derive(Debug)]
pub struct RmsProp {
    defaults: Settings,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let config: RmsPropConfig = node.read_knowing(&IMPLEMENTATION)?;
    let numbers = [
        ("lr", config.lr.unwrap_or(1e-2)),
        ("momentum", config.momentum.unwrap_or(0.0)),
        ("alpha", config.alpha.unwrap_or(0.99)),
        ("eps", config.eps.unwrap_or(1e-8)),
        ("weight_decay", config.weight_decay.unwrap_or(0.0)),
    ];
    let (mut problems, mut defaults) = (Diagnostics::new(), Settings::default());
    for (key, value) in numbers {
        within(node, key, value, 0.0..=f64::INFINITY, &mut problems);
        defaults.set(key, value);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    defaults.set("centered", config.centered.unwrap_or(false));
    defaults.set("maximize", config.maximize.unwrap_or(false));
    Ok(Box::new(RmsProp { defaults }))
}

impl Optimizer for RmsProp {
    fn name(&self) -> &'static str {
        "RMSprop"
    }

    fn defaults(&self) -> &Settings {
        &self.defaults
    }

    fn counts_steps(&self) -> bool {
        true
    }

    fn step(
        &self,
        settings: &Settings,
        value: Tensor<1>,
        gradient: Bounded,
        kept: &mut Kept,
    ) -> Tensor<1> {
        let [alpha, momentum] = ["alpha", "momentum"].map(|name| settings.known(name));
        let centered = settings.known("centered") != 0.0;
        let record = RmspropRecord {
            lr: settings.known("lr") as f32,
            alpha: alpha as f32,
            new_share: (1.0 - alpha) as f32,
            eps: settings.known("eps") as f32,
            weight_decay: settings.known("weight_decay") as f32,
            momentum: momentum as f32,
            sign: super::sign(settings),
            centered: u32::from(centered),
            most: gradient.most(),
        };
        let names: &[&str] = match (momentum > 0.0, centered) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
        };
        let kept = kept.tensors(names, &value);
        apply(&record, value, gradient.gradient, gradient.factor, kept)
    }
}
