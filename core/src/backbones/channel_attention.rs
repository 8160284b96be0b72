//! Attention of channels to each other in place of tokens: cross-covariance attention (XCiT, El-Nouby et al. 2021, arXiv 2106.09681,
//! section 3.1), whose cost grows with the number of tokens and not with its square.
//!
//! Shapes: tokens `[B, N, C]`.

use burn::tensor::Tensor;

use crate::layers::{Dropout, Init, Linear, Params, Weight, join_heads, product, split_qkv};
use crate::ops::rows::softmax;

/// How to make a [`ChannelAttention`].
pub(super) struct ChannelAttentionShape<'a> {
    pub channels: usize,
    pub heads: usize,
    pub qkv_bias: bool,
    /// The name of the factors of each head.
    pub scale: &'a str,
    pub attn_drop_rate: f64,
    pub drop_rate: f64,
}

/// Attention of channels to each other.
#[derive(Debug)]
pub(super) struct ChannelAttention {
    /// `[heads, 1, 1]`
    scale: Weight<3>,
    qkv: Linear,
    proj: Linear,
    heads: usize,
    attn_drop: Option<Dropout>,
    drop: Option<Dropout>,
}

impl ChannelAttention {
    pub fn new(shape: &ChannelAttentionShape, at: &Params) -> Self {
        let c = shape.channels;
        Self {
            scale: at.weight(shape.scale, [shape.heads, 1, 1], Init::Constant(1.0)),
            qkv: Linear::new(c, 3 * c, shape.qkv_bias, &at.at("qkv")),
            proj: Linear::new(c, c, true, &at.at("proj")),
            heads: shape.heads,
            attn_drop: Dropout::new(shape.attn_drop_rate, &at.at("attn_drop")),
            drop: Dropout::new(shape.drop_rate, &at.at("proj_drop")),
        }
    }

    /// # Shapes
    /// - input and output: `[B, N, C]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let qkv = split_qkv(self.qkv.forward(x), self.heads);
        let [q, k, v] = qkv.map(|x| x.swap_dims(2, 3));
        let scores = product(unit(q), unit(k).swap_dims(2, 3)) * self.scale.get().unsqueeze();
        let mut weights = softmax(scores, 1.0, None, None);
        if let Some(drop) = &self.attn_drop {
            weights = drop.forward(weights);
        }
        let x = self
            .proj
            .forward(join_heads(product(weights, v).swap_dims(2, 3)));
        match &self.drop {
            Some(drop) => drop.forward(x),
            None => x,
        }
    }
}

/// Of length 1 along the last axis (`torch.nn.functional.normalize`).
fn unit(x: Tensor<4>) -> Tensor<4> {
    let length = x.clone().square().sum_dim(3).clamp_min(1e-24).sqrt();
    x / length
}
