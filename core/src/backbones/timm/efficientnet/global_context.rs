//! Weighs the channels by the context that a place of the picture is worth (GCNet, Cao et al. 2019, arXiv 1904.11492), as timm has it.
//!
//! Shapes: x and result `[N, C, H, W]`.

use burn::tensor::{Tensor, activation};

use super::block::Make;
use crate::layers::{Activation, ConvConfig, ConvNormAct, NormConfig, Params};

/// Epsilon of timm's layer norms.
const EPS: f64 = 1e-6;

/// A mean of all places, weighed by what a convolution gives each; two layers on it; a factor for each channel.
#[derive(Debug)]
pub(super) struct GlobalContext {
    places: ConvNormAct,
    reduce: ConvNormAct,
    expand: ConvNormAct,
}

impl GlobalContext {
    /// Its initial values are those that `make` gives convolutions.
    pub fn new(
        channels: usize,
        squeezed: usize,
        act: Activation,
        make: &Make,
        at: &Params,
    ) -> Self {
        let conv = |from, to| ConvConfig::new(from, to, 1).bias(true);
        let places = make.bare(conv(channels, 1), &at.at("conv_attn"), None);
        let mlp = at.at("mlp_scale");
        let norm = (&NormConfig::layer(EPS), &mlp.at("norm"));
        let reduce = conv(channels, squeezed).act(Some(act));
        let reduce = make.bare(reduce, &mlp.at("fc1"), Some(norm));
        let expand = conv(squeezed, channels).act(Some(Activation::Sigmoid));
        let expand = make.bare(expand, &mlp.at("fc2"), None);
        Self {
            places,
            reduce,
            expand,
        }
    }

    /// The shapes at the top of the file.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let worth = self.places.forward(x.clone()).reshape([n, h * w, 1]);
        let worth = activation::softmax(worth, 1);
        let context = x.clone().reshape([n, c, h * w]).matmul(worth);
        let context = context.reshape([n, c, 1, 1]);
        x * self.expand.forward(self.reduce.forward(context))
    }
}
