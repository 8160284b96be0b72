//! Backbones: a picture in, feature maps out. To add one, write a file and a row in [`ROWS`].

mod mobilenet_v3;
mod resnet;
mod timm;

pub use mobilenet_v3::MobileNetV3;
pub use resnet::ResNet;
pub use timm::TimmEfficientNet;

use burn::tensor::Tensor;

use crate::registry::{Build, Builder, Row};

/// One output of a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Channels of the map.
    pub channels: usize,
    /// Input pixels per map pixel, if the input's size is a multiple of it.
    pub stride: usize,
}

/// Turns a batch of pictures into feature maps, fine ones first.
pub trait Backbone: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - input: `[N, C, H, W]`
    /// - outputs: one `[N, channels, ~H / stride, ~W / stride]` for each of [`Backbone::features`]
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>>;

    /// What [`Backbone::forward`] gives.
    fn features(&self) -> Vec<Feature>;

    /// Channels that the input must have.
    fn channels_in(&self) -> usize {
        3
    }
}

/// Builds a backbone from its config.
pub type BuildBackbone =
    fn(&crate::config::Node, &Build) -> Result<Box<dyn Backbone>, crate::config::Diagnostics>;

/// The table: scope, name, builder.
pub const ROWS: [Row; 4] = [
    Row::new("mmdet", "ResNet", Builder::Backbone(resnet::build)),
    Row::new("mmdet", "ResNetV1d", Builder::Backbone(resnet::build_v1d)),
    Row::new(
        "mmpretrain",
        "MobileNetV3",
        Builder::Backbone(mobilenet_v3::build),
    ),
    Row::new("mmpretrain", "TIMMBackbone", Builder::Backbone(timm::build)),
];
