//! Backbones: a picture in, feature maps out. To add one, write a file and a row in [`ROWS`].

mod convmixer;
mod convnext;
mod csp_darknet;
mod hornet;
mod keys;
mod mobilenet_v3;
mod mobileone;
mod poolformer;
mod replknet;
mod repvgg;
mod resnet;
mod timm;
mod van;

pub use convmixer::ConvMixer;
pub use convnext::ConvNext;
pub use csp_darknet::CspDarknet;
pub use hornet::HorNet;
pub use mobilenet_v3::MobileNetV3;
pub use poolformer::PoolFormer;
pub use replknet::RepLkNet;
pub use repvgg::RepNet;
pub use resnet::ResNet;
pub use van::Van;

use burn::tensor::Tensor;

use crate::build::Build;
use crate::config::{Diagnostics, Node, Origin};
use crate::registry::{Family, Row};

/// One output of a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Channels of the map.
    pub channels: usize,
    /// Input pixels per map pixel, if the input's size is a multiple of it.
    pub stride: usize,
}

/// What comes into a neck or a head, and where the config says so.
#[derive(Clone, Copy)]
pub struct Features<'a> {
    /// The maps, fine ones first.
    pub list: &'a [Feature],
    /// The registered name of what gives them.
    pub of: &'a str,
    /// Where the config of that is.
    pub origin: &'a Origin,
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

    /// Height and width of a batch must be multiples of this, px.
    fn size_divisor(&self) -> usize {
        1
    }
}

/// The kind `backbone` of the registry.
#[derive(Debug)]
pub struct Backbones;

impl Family for Backbones {
    const KIND: &'static str = "backbone";
    type Build = fn(&Node, &Build) -> Result<Box<dyn Backbone>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Backbones>; 15] = [
    Row::<Backbones>::new("mmdet", "CSPDarknet", csp_darknet::build),
    Row::<Backbones>::new("mmdet", "ResNet", resnet::build),
    Row::<Backbones>::new("mmdet", "ResNeXt", resnet::build_next),
    Row::<Backbones>::new("mmdet", "ResNetV1d", resnet::build_v1d),
    Row::<Backbones>::new("mmpretrain", "ConvMixer", convmixer::build),
    Row::<Backbones>::new("mmpretrain", "ConvNeXt", convnext::build),
    Row::<Backbones>::new("mmpretrain", "HorNet", hornet::build),
    Row::<Backbones>::new("mmpretrain", "MobileNetV3", mobilenet_v3::build),
    Row::<Backbones>::new("mmpretrain", "MobileOne", mobileone::build),
    Row::<Backbones>::new("mmpretrain", "PoolFormer", poolformer::build),
    Row::<Backbones>::new("mmpretrain", "RIFormer", poolformer::build_riformer),
    Row::<Backbones>::new("mmpretrain", "RepLKNet", replknet::build),
    Row::<Backbones>::new("mmpretrain", "RepVGG", repvgg::build),
    Row::<Backbones>::new("mmpretrain", "TIMMBackbone", timm::build),
    Row::<Backbones>::new("mmpretrain", "VAN", van::build),
];

/// Builds the backbone of a Python `text`: it, and its state dict without `backbone.`; or what is said of it.
#[cfg(test)]
fn made(
    text: &str,
    mode: crate::layers::Mode,
) -> Result<(Box<dyn Backbone>, Vec<crate::layers::StateEntry>), String> {
    let node = crate::config::parse_value(text).unwrap();
    let registry = crate::registry();
    let params = crate::layers::Params::new(&burn::tensor::Device::flex(), mode, None);
    let root = Build::new(
        &registry,
        params.clone(),
        crate::registry::DEFAULT_SCOPE,
        None,
    );
    let (make, part) = root.part::<Backbones>("backbone", &node).unwrap();
    let backbone = make(&node, &part)
        .map_err(|problems| problems.iter().map(|p| p.to_string()).collect::<String>())?;
    let mut state = params.state();
    for entry in &mut state {
        entry.key = entry.key["backbone.".len()..].into();
    }
    Ok((backbone, state))
}
