//! [`LossScaler`]: how much a loss is scaled, so that gradients in f16 do not vanish (Micikevicius et al. 2017, arXiv 1710.03740), as PyTorch's
//! `GradScaler` and MMEngine's `AmpOptimWrapper` have it. A step whose gradients are not finite is left out.

use serde::Deserialize;

use super::{Setting, Settings};
use crate::config::{Diagnostics, Node, error_at};

/// The scale, and how it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct LossScaler {
    scale: f32,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: i64,
    /// Steps in a row that were made, since the scale changed.
    tracker: i64,
    /// The scale after every step, if it is not to change.
    fixed: Option<f32>,
    enabled: bool,
}

/// The keys of a `loss_scale` that is a dict.
#[derive(Deserialize)]
struct ScalerConfig {
    init_scale: Option<f64>,
    growth_factor: Option<f64>,
    backoff_factor: Option<f64>,
    growth_interval: Option<i64>,
    enabled: Option<bool>,
}

/// `loss_scale='dynamic'`.
impl Default for LossScaler {
    fn default() -> Self {
        Self {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            tracker: 0,
            fixed: None,
            enabled: true,
        }
    }
}

impl LossScaler {
    /// The `loss_scale` of `wrapper`.
    ///
    /// # Errors
    /// It is no text 'dynamic', number or dict of `GradScaler`'s keys.
    pub(super) fn read(wrapper: &Node) -> Result<Self, Diagnostics> {
        let Some(node) = wrapper.get("loss_scale") else {
            return Ok(Self::default());
        };
        if node.as_str() == Some("dynamic") {
            return Ok(Self::default());
        }
        if let Some(scale) = node.as_float() {
            return match scale > 0.0 && scale <= f64::from(f32::MAX) {
                true => Ok(Self {
                    scale: scale as f32,
                    fixed: Some(scale as f32),
                    ..Self::default()
                }),
                false => {
                    let message = format!("`loss_scale` is {scale}, it is above 0");
                    Err(error_at(wrapper, "loss_scale", message, ""))
                }
            };
        }
        if node.as_dict().is_none() {
            let message = "`loss_scale` is 'dynamic', a number, or a dict of what GradScaler takes";
            let help = "GradScaler takes init_scale, growth_factor, backoff_factor, growth_interval, enabled";
            return Err(error_at(wrapper, "loss_scale", message, help));
        }
        let config: ScalerConfig = node.read_knowing(&["device"])?;
        let plain = Self::default();
        let read = Self {
            scale: config.init_scale.unwrap_or(65536.0) as f32,
            growth_factor: config.growth_factor.unwrap_or(plain.growth_factor),
            backoff_factor: config.backoff_factor.unwrap_or(plain.backoff_factor),
            growth_interval: config.growth_interval.unwrap_or(plain.growth_interval),
            enabled: config.enabled.unwrap_or(true),
            ..plain
        };
        for (key, fits, wanted) in [
            (
                "init_scale",
                read.scale > 0.0 && read.scale.is_finite(),
                "above 0",
            ),
            ("growth_factor", read.growth_factor > 1.0, "above 1"),
            ("backoff_factor", read.backoff_factor < 1.0, "below 1"),
        ] {
            if read.enabled && !fits {
                let message = format!("`{key}` of `loss_scale` is {wanted}");
                return Err(error_at(node, key, message, ""));
            }
        }
        Ok(read)
    }

    /// By what a loss is multiplied; 1 where it is switched off.
    pub fn scale(&self) -> f32 {
        if self.enabled { self.scale } else { 1.0 }
    }

    /// Whether it does anything.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// To be called after each step that was to be made: was it left out, as gradients were not finite?
    pub fn update(&mut self, left_out: bool) {
        if !self.enabled {
            return;
        }
        if let Some(fixed) = self.fixed {
            self.scale = fixed;
            return;
        }
        // PyTorch's `_amp_update_scale_`: products in f64, kept in f32.
        let times = |factor: f64| (f64::from(self.scale) * factor) as f32;
        if left_out {
            self.scale = times(self.backoff_factor);
            self.tracker = 0;
            return;
        }
        self.tracker = self.tracker.saturating_add(1);
        if self.tracker == self.growth_interval {
            let grown = times(self.growth_factor);
            if grown.is_finite() {
                self.scale = grown;
            }
            self.tracker = 0;
        }
    }

    /// What a checkpoint has of it, by PyTorch's names; nothing where it is switched off.
    pub fn state(&self) -> Settings {
        let mut state = Settings::default();
        if self.enabled {
            state.set("scale", f64::from(self.scale));
            state.set("growth_factor", self.growth_factor);
            state.set("backoff_factor", self.backoff_factor);
            state.set("growth_interval", Setting::Int(self.growth_interval));
            state.set("_growth_tracker", Setting::Int(self.tracker));
        }
        state
    }

    /// Goes on where a checkpoint was written, as far as it says.
    pub fn restore(&mut self, state: &Settings) {
        if !self.enabled {
            return;
        }
        let number = |name: &str| state.number(name).filter(|n| n.is_finite());
        if let Some(scale) = number("scale").filter(|scale| *scale > 0.0) {
            self.scale = scale as f32;
        }
        if let Some(factor) = number("growth_factor") {
            self.growth_factor = factor;
        }
        if let Some(factor) = number("backoff_factor") {
            self.backoff_factor = factor;
        }
        let whole = |name: &str| number(name).map(|n| n as i64);
        if let Some(interval) = whole("growth_interval") {
            self.growth_interval = interval;
        }
        if let Some(tracker) = whole("_growth_tracker") {
            self.tracker = tracker;
        }
    }
}
