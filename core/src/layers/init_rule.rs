//! [`InitRule`]: what an `init_cfg` says of the layers at a place and below it.

use super::{Init, Role};

/// Initial values for the `weight` and `bias` of certain layers at a place and below it. See [`super::Params::initialise`].
#[derive(Clone, Debug, PartialEq)]
pub struct InitRule {
    /// Names of PyTorch's classes, or of what they are derived from; None for every layer.
    pub layers: Option<Vec<String>>,
    /// The weight's, or none of its business.
    pub weight: Option<Init>,
    /// The bias's, or none of its business.
    pub bias: Option<f32>,
}

impl InitRule {
    /// For the layers of these classes; biases are 0.
    pub fn of(layers: &[&str], weight: Init) -> Self {
        Self {
            layers: Some(layers.iter().map(|name| name.to_string()).collect()),
            ..Self::all(weight, 0.0)
        }
    }

    /// For every layer.
    pub fn all(weight: Init, bias: f32) -> Self {
        Self {
            layers: None,
            weight: Some(weight),
            bias: Some(bias),
        }
    }

    /// For every layer's bias; weights stay as they are.
    pub fn bias(bias: f32) -> Self {
        Self {
            layers: None,
            weight: None,
            bias: Some(bias),
        }
    }

    /// What it says of the tensor `name` of a layer of these classes.
    pub(super) fn says(
        &self,
        classes: &[&str],
        name: &str,
        shape: &[usize],
        role: Role,
    ) -> Option<Init> {
        let meant = |layers: &Vec<String>| layers.iter().any(|l| classes.contains(&l.as_str()));
        if role != Role::Parameter || !self.layers.as_ref().is_none_or(meant) {
            return None;
        }
        match name {
            "weight" => self.weight.filter(|init| init.suits(shape)),
            "bias" => self.bias.map(Init::Constant),
            _ => None,
        }
    }
}
