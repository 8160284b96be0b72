//! Convolutions of several filter sizes side by side, each with a share of the channels (MixConv, Tan and Le 2019, arXiv 1907.09595).
//!
//! Shapes: x `[N, C, H, W]`, result `[N, C', ceil(H / stride), ceil(W / stride)]`.

use burn::tensor::Tensor;

use crate::layers::{Activation, ConvNormAct, Norm};

/// Convolutions side by side, and what follows them together.
#[derive(Debug)]
pub(super) struct MixedConv {
    /// Each with the channels that it takes.
    pub parts: Vec<(usize, ConvNormAct)>,
    /// Over all of their channels.
    pub norm: Norm,
    /// After the norm.
    pub act: Option<Activation>,
}

/// `channels` in `parts` shares; the first has what is left over.
pub(super) fn shares(channels: usize, parts: usize) -> Vec<usize> {
    let mut shares = vec![channels / parts; parts];
    shares[0] += channels % parts;
    shares
}

impl MixedConv {
    /// The shapes at the top of the file.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut from = 0;
        let mut outputs = Vec::with_capacity(self.parts.len());
        for (channels, conv) in &self.parts {
            outputs.push(conv.forward(x.clone().narrow(1, from, *channels)));
            from += channels;
        }
        let x = self.norm.forward(Tensor::cat(outputs, 1));
        match self.act {
            Some(act) => act.forward(x),
            None => x,
        }
    }
}
