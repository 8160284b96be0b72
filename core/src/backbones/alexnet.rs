//! AlexNet (Krizhevsky 2014, arXiv 1404.5997) as MMPretrain 1.2.0 builds it.
//!
//! Shapes: `[N, 256, (H - 31) / 32, (W - 31) / 32]`, rounded down: its filters do not go over the edge.

use serde::Deserialize;

use super::Backbone;
use super::plain_chain::{PlainChain, Pool};
use crate::build::Build;
use crate::config::{Diagnostics, Node, unsupported};
use crate::layers::{Activation, ConvConfig};

/// The key of `type='mmpretrain.AlexNet'`.
#[derive(Debug, Deserialize)]
struct AlexNetConfig {
    num_classes: Option<i64>,
}

/// Place, channels, filter size, stride, zeros around, and whether a pooling follows.
const LAYERS: [(usize, usize, usize, usize, usize, bool); 5] = [
    (0, 64, 11, 4, 2, true),
    (3, 192, 5, 1, 2, true),
    (6, 384, 3, 1, 1, false),
    (8, 256, 3, 1, 1, false),
    (10, 256, 3, 1, 1, true),
];

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: AlexNetConfig = node.read()?;
    if config.num_classes.is_some_and(|n| n > 0) {
        let message = "AlexNet with `num_classes` gives scores, which no neck takes";
        return Err(unsupported(node, "num_classes", message, "leave it out"));
    }
    let mut chain = PlainChain::new(3);
    for (place, channels, kernel, stride, padding, pooled) in LAYERS {
        let layer = ConvConfig::new(chain.channels(), channels, kernel)
            .stride(stride)
            .pad(padding)
            .act(Some(Activation::Relu))
            .init(&build.params.at(format!("features.{place}")), None);
        chain.convolution(layer, channels, stride);
        if pooled {
            chain.pool(Pool {
                kernel: 3,
                ..Pool::halving(false)
            });
        }
    }
    chain.give();
    Ok(Box::new(chain))
}
