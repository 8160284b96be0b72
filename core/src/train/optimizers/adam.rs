//! Adam (Kingma and Ba 2014, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101), as PyTorch has them: Adam's
//! `weight_decay` is part of the gradient, AdamW's shrinks the value by itself. `amsgrad` divides by the largest second moment so far
//! (Reddi et al. 2018, arXiv 1904.09237).

use burn::tensor::Tensor;
use serde::Deserialize;
use smalti_shaders::records::AdamRecord;

use super::{Bounded, IMPLEMENTATION, Kept, Optimizer, Settings, within};
use crate::config::{Diagnostics, Node};
use crate::ops::train::apply;

/// The keys of `type='Adam'` and `type='AdamW'`.
#[derive(Deserialize)]
struct AdamConfig {
    lr: Option<f64>,
    betas: Option<[f64; 2]>,
    eps: Option<f64>,
    weight_decay: Option<f64>,
    amsgrad: Option<bool>,
    maximize: Option<bool>,
}

/// Adam or AdamW.
#[derive(Debug)]
pub struct Adam {
    defaults: Settings,
    /// AdamW: weight decay is apart from the gradient.
    decoupled: bool,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    read(node, false)
}

pub(super) fn build_w(node: &Node) -> Result<Box<dyn Optimizer>, Diagnostics> {
    read(node, true)
}

fn read(node: &Node, decoupled: bool) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let config: AdamConfig = node.read_knowing(&IMPLEMENTATION)?;
    let lr = config.lr.unwrap_or(1e-3);
    let betas = config.betas.unwrap_or([0.9, 0.999]);
    let eps = config.eps.unwrap_or(1e-8);
    let default_decay = if decoupled { 1e-2 } else { 0.0 };
    let weight_decay = config.weight_decay.unwrap_or(default_decay);
    let mut problems = Diagnostics::new();
    for (key, value) in [("lr", lr), ("eps", eps), ("weight_decay", weight_decay)] {
        within(node, key, value, 0.0..=f64::INFINITY, &mut problems);
    }
    for beta in betas {
        within(node, "betas", beta, 0.0..=1.0f64.next_down(), &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut defaults = Settings::default();
    defaults.set("lr", lr);
    defaults.set("betas", betas);
    defaults.set("eps", eps);
    defaults.set("weight_decay", weight_decay);
    defaults.set("amsgrad", config.amsgrad.unwrap_or(false));
    defaults.set("maximize", config.maximize.unwrap_or(false));
    Ok(Box::new(Adam {
        defaults,
        decoupled,
    }))
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        if self.decoupled { "AdamW" } else { "Adam" }
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
        let [lr, decay] = ["lr", "weight_decay"].map(|name| settings.known(name));
        let [first, second] = settings.betas();
        let amsgrad = settings.known("amsgrad") != 0.0;
        let names: &[&str] = match amsgrad {
            true => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            false => &["exp_avg", "exp_avg_sq"],
        };
        let steps = kept.steps as f64;
        let (keep, weight_decay) = match self.decoupled {
            true => (1.0 - lr * decay, 0.0),
            false => (1.0, decay),
        };
        let record = AdamRecord {
            keep: keep as f32,
            weight_decay: weight_decay as f32,
            sign: super::sign(settings),
            new_mean: (1.0 - first) as f32,
            old_square: second as f32,
            new_square: (1.0 - second) as f32,
            step_size: (lr / (1.0 - first.powf(steps))) as f32,
            correction: (1.0 - second.powf(steps)).sqrt() as f32,
            eps: settings.known("eps") as f32,
            amsgrad: u32::from(amsgrad),
            most: gradient.most(),
        };
        let kept = kept.tensors(names, &value);
        apply(&record, value, gradient.gradient, gradient.factor, kept)
    }
}
