//! [`NonLocal`]: each place with the sum of all others, weighed by how alike they are (Wang et al. 2018, arXiv 1711.07971), as mmcv 2.1's
//! `NonLocal2d` builds it.
//!
//! Shapes: input and output `[N, C, H, W]`; P = H * W places, Q of them after pooling.

use burn::tensor::Tensor;
use burn::tensor::activation::{relu, softmax};
use serde::Deserialize;

use super::{ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, Params, Weight};
use crate::config::{Diagnostics, Node, error_at};
use crate::limits::Channels;
use crate::ops::pool::max_pool2d;

/// The keys of `type='NonLocal2d'`.
#[derive(Clone, Debug, Default, Deserialize)]
struct Keys {
    reduction: Option<Channels>,
    use_scale: Option<bool>,
    mode: Option<String>,
    sub_sample: Option<bool>,
    std: Option<f64>,
    zeros_init: Option<bool>,
}

/// How to make a [`NonLocal`].
#[derive(Clone, Debug)]
pub struct NonLocalConfig {
    keys: Keys,
    /// Whether `reduction` counts: else channels stay as many.
    squeezes: bool,
    mode: Mode,
    /// Of all convolutions; the last one alone has the norm.
    style: ConvStyle,
}

/// What tells how alike two places are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Gaussian,
    EmbeddedGaussian,
    DotProduct,
    Concatenation,
}

const MODES: [(&str, Mode); 4] = [
    ("gaussian", Mode::Gaussian),
    ("embedded_gaussian", Mode::EmbeddedGaussian),
    ("dot_product", Mode::DotProduct),
    ("concatenation", Mode::Concatenation),
];

impl NonLocalConfig {
    /// Reads `node`, whose block is to have one of these numbers of channels. `others` are keys that somebody else reads.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(node: &Node, channels: &[usize], others: &[&str]) -> Result<Self, Diagnostics> {
        let known = [others, &["conv_cfg", "norm_cfg"]].concat();
        let keys: Keys = node.read_knowing(&known)?;
        let mode = keys.mode.as_deref().unwrap_or("embedded_gaussian");
        let Some((_, mode)) = MODES.iter().find(|(name, _)| *name == mode) else {
            let message = format!("`mode` is '{mode}'");
            let known = MODES.map(|(name, _)| name).join(", ");
            return Err(error_at(
                node,
                "mode",
                message,
                &format!("known are {known}"),
            ));
        };
        Ok(Self {
            style: ConvStyle::read(node, ConvStyle::default(), channels)?,
            mode: *mode,
            keys,
            squeezes: true,
        })
    }

    /// Without squeezing, and likeness is not scaled.
    pub fn plain(style: &ConvStyle) -> Self {
        Self {
            keys: Keys {
                use_scale: Some(false),
                ..Keys::default()
            },
            squeezes: false,
            mode: Mode::EmbeddedGaussian,
            style: style.act(None),
        }
    }

    /// Builds the block.
    pub fn init(&self, channels: usize, at: &Params) -> NonLocal {
        let reduction = self.keys.reduction.map_or(2, Channels::get);
        let inner = match self.squeezes {
            true => (channels / reduction).max(1),
            false => channels,
        };
        let sampled = self.keys.sub_sample.unwrap_or(false);
        let normal = Init::normal(self.keys.std.unwrap_or(0.01));
        let bare = self.style.bare();
        let part = |name: &str, pooled: bool| {
            let at = at.at(name);
            let at = if pooled { at.at(0) } else { at };
            at.at("conv").initialise(InitRule::all(normal, 0.0));
            bare.module(ConvConfig::new(channels, inner, 1), &at)
        };
        let values = part("g", sampled);
        let last = at.at("conv_out");
        let zeros = self.keys.zeros_init.unwrap_or(true);
        let name = self.style.norm.as_ref().map(|norm| norm.abbreviation());
        let init = if zeros { Init::Constant(0.0) } else { normal };
        last.at(name.unwrap_or("conv"))
            .initialise(InitRule::all(init, 0.0));
        let last = self
            .style
            .module(ConvConfig::new(inner, channels, 1), &last);
        let embedded = self.mode != Mode::Gaussian;
        let pair = embedded.then(|| [part("theta", false), part("phi", sampled)]);
        let concat = (self.mode == Mode::Concatenation).then(|| {
            let at = at.at("concat_project.conv");
            at.weight("weight", [1, 2 * inner, 1, 1], Init::KAIMING)
        });
        NonLocal {
            mode: self.mode,
            scaled: self.keys.use_scale.unwrap_or(true),
            sampled,
            values,
            last,
            pair,
            concat,
        }
    }
}

/// The block.
#[derive(Debug)]
pub struct NonLocal {
    mode: Mode,
    /// Whether likeness is divided by the root of the number of channels.
    scaled: bool,
    /// Whether the places that are summed are pooled first.
    sampled: bool,
    values: ConvNormAct,
    last: ConvNormAct,
    /// What places are and what they look for, unless both are the input.
    pair: Option<[ConvNormAct; 2]>,
    concat: Option<Weight<4>>,
}

impl NonLocal {
    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, _, h, w] = x.dims();
        let rows = |map: Tensor<4>| map.flatten::<3>(2, 3).swap_dims(1, 2);
        // the original gives up where there is nothing to pool
        let pools = self.sampled && h > 1 && w > 1;
        let pooled = |map: Tensor<4>| match pools {
            true => max_pool2d(map, 2, 2, 0),
            false => map,
        };
        let values = rows(pooled(self.values.forward(x.clone())));
        let [theta, phi] = match &self.pair {
            Some([theta, phi]) => [theta.forward(x.clone()), pooled(phi.forward(x.clone()))],
            None => [x.clone(), pooled(x.clone())],
        };
        let share = self.share(rows(theta), rows(phi));
        let sum = share.matmul(values).swap_dims(1, 2);
        let [_, inner, _] = sum.dims();
        x + self.last.forward(sum.reshape([n, inner, h, w]))
    }

    /// `[N, P, Q]` from `[N, P, inner]` and `[N, Q, inner]`.
    fn share(&self, theta: Tensor<3>, phi: Tensor<3>) -> Tensor<3> {
        let [_, count, inner] = phi.dims();
        if let Some(concat) = &self.concat {
            let weight = concat.get().reshape([1, 2 * inner, 1]);
            let of_theta = theta.matmul(weight.clone().slice_dim(1, 0..inner));
            let of_phi = phi.matmul(weight.slice_dim(1, inner..2 * inner));
            return relu(of_theta + of_phi.swap_dims(1, 2)) / count as f32;
        }
        let alike = theta.matmul(phi.swap_dims(1, 2));
        match self.mode {
            Mode::DotProduct => alike / count as f32,
            Mode::EmbeddedGaussian if self.scaled => softmax(alike / (inner as f32).sqrt(), 2),
            _ => softmax(alike, 2),
        }
    }
}
