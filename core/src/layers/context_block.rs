//! [`ContextBlock`]: what a map is about as a whole, added to each place or multiplied with it (GCNet, Cao et al. 2019, arXiv 1904.11492, section
//! 3.3), as mmcv 2.1 builds it.
//!
//! Shapes: input and output `[N, C, H, W]`.

use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid, softmax};
use serde::Deserialize;

use super::{
    ConvConfig, ConvNormAct, Distribution, Fan, Init, InitRule, LayerKind, Params, Weight,
};
use crate::config::{Diagnostics, Node, error_at};

/// Most channels of the narrow part.
const MOST_PLANES: usize = 1 << 16;

/// The keys of `type='ContextBlock'`.
#[derive(Clone, Debug, Deserialize)]
pub struct ContextBlockConfig {
    ratio: f64,
    pooling_type: Option<String>,
    fusion_types: Option<Vec<String>>,
}

impl ContextBlockConfig {
    /// What is wrong with it for so many channels, if anything.
    ///
    /// # Errors
    /// All that is.
    pub fn check(&self, node: &Node, channels: &[usize]) -> Result<(), Diagnostics> {
        let mut problems = Vec::new();
        let mut fail = |key, message: String, help: &str| {
            problems.extend(error_at(node, key, message, help));
        };
        let bad = |c: &&usize| !(1..=MOST_PLANES).contains(&self.planes(**c));
        if let Some(c) = channels.iter().find(bad) {
            let message = format!("`ratio` makes {} of {c} channels", self.planes(*c));
            fail("ratio", message, "");
        }
        if let Some(other) = self.pooling_type.as_deref()
            && !["att", "avg"].contains(&other)
        {
            let message = format!("`pooling_type` is '{other}', must be 'att' or 'avg'");
            fail("pooling_type", message, "");
        }
        let known = ["channel_add", "channel_mul"];
        let types = self.fusion_types.as_deref().unwrap_or_default();
        if let Some(other) = types.iter().find(|t| !known.contains(&t.as_str())) {
            let message = format!("`fusion_types` names '{other}'");
            fail(
                "fusion_types",
                message,
                "known are 'channel_add', 'channel_mul'",
            );
        }
        if self.fusion_types.as_ref().is_some_and(Vec::is_empty) {
            fail("fusion_types", "`fusion_types` is empty".into(), "");
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }

    fn planes(&self, channels: usize) -> usize {
        (channels as f64 * self.ratio) as usize
    }

    fn has(&self, fusion: &str) -> bool {
        match &self.fusion_types {
            Some(types) => types.iter().any(|t| t == fusion),
            None => fusion == "channel_add",
        }
    }

    /// Builds the block.
    pub fn init(&self, channels: usize, at: &Params) -> ContextBlock {
        let planes = self.planes(channels);
        let attends = self.pooling_type.as_deref() != Some("avg");
        let mask = attends.then(|| {
            let at = at.at("conv_mask");
            let kaiming = Init::Kaiming {
                gain: std::f64::consts::SQRT_2,
                fan: Fan::In,
                distribution: Distribution::Normal,
            };
            at.initialise_built(InitRule::all(kaiming, 0.0));
            ConvConfig::new(channels, 1, 1).init(&at, None)
        });
        let change = |fusion: &str| {
            let at = at.at(format!("{fusion}_conv"));
            self.has(fusion).then(|| Change::new(channels, planes, &at))
        };
        let (add, multiply) = (change("channel_add"), change("channel_mul"));
        at.built();
        ContextBlock {
            mask,
            add,
            multiply,
        }
    }
}

/// The block.
#[derive(Debug)]
pub struct ContextBlock {
    /// How much each place counts; none where all count alike.
    mask: Option<ConvNormAct>,
    add: Option<Change>,
    multiply: Option<Change>,
}

impl ContextBlock {
    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let context = self.context(x.clone());
        let x = match &self.multiply {
            Some(change) => x * sigmoid(change.forward(context.clone())),
            None => x,
        };
        match &self.add {
            Some(change) => x + change.forward(context),
            None => x,
        }
    }

    /// `[N, C, 1, 1]`.
    fn context(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(mask) = &self.mask else {
            return x.mean_dim(2).mean_dim(3);
        };
        let [n, c, h, w] = x.dims();
        let share = softmax(mask.forward(x.clone()).reshape([n, h * w, 1]), 1);
        let context = x.reshape([n, c, h * w]).matmul(share);
        context.reshape([n, c, 1, 1])
    }
}

/// Two convolutions of 1x1 with a layer norm and a ReLU between them.
#[derive(Debug)]
struct Change {
    first: ConvNormAct,
    weight: Weight<3>,
    bias: Weight<3>,
    last: ConvNormAct,
}

impl Change {
    fn new(channels: usize, planes: usize, at: &Params) -> Self {
        let first = ConvConfig::new(channels, planes, 1).init(&at.at(0), None);
        let norm = at.at(1).layer(LayerKind::Norm).class(&["LayerNorm"]);
        let affine = |name, value| norm.weight(name, [planes, 1, 1], Init::Constant(value));
        let (weight, bias) = (affine("weight", 1.0), affine("bias", 0.0));
        let place = at.at(3);
        place.initialise_built(InitRule::all(Init::Constant(0.0), 0.0));
        let last = ConvConfig::new(planes, channels, 1).init(&place, None);
        Self {
            first,
            weight,
            bias,
            last,
        }
    }

    fn forward(&self, context: Tensor<4>) -> Tensor<4> {
        /// PyTorch's own.
        const EPS: f32 = 1e-5;
        let x = self.first.forward(context);
        let centred = x.clone() - x.mean_dim(1);
        let var = centred.clone().square().mean_dim(1);
        let normed = centred / (var + EPS).sqrt();
        let x = normed * self.weight.get().unsqueeze() + self.bias.get().unsqueeze();
        self.last.forward(relu(x))
    }
}
