//! Backbones: a picture in, feature maps out. To add one, write a file and a row in [`ROWS`].

mod alexnet;
mod channel_attention;
mod convmixer;
mod convnext;
mod cross_stage;
mod csp_darknet;
mod csp_net;
mod darknet;
mod davit;
mod densenet;
mod edgenext;
mod efficientformer;
mod efficientnet;
mod efficientnet_v2;
mod fourier;
mod high_resolution;
mod hornet;
mod hourglass;
mod hrnet;
mod inverted_residual;
mod levit;
mod mobile_vit;
mod mobilenet_v2;
mod mobilenet_v3;
mod mobileone;
mod mvit;
mod options;
mod plain_chain;
mod plugins;
mod poolformer;
mod pvt;
mod regnet;
mod replknet;
mod repvgg;
mod res2net;
mod res_layer;
mod residual;
mod resnest;
mod resnet;
mod shufflenet;
mod staged;
mod swin;
mod timm;
mod tiny_vit;
mod tokens;
mod van;
mod variants;
mod vgg;
mod vig;
mod vision_transformer;
mod xcit;

pub use convmixer::ConvMixer;
pub use convnext::ConvNext;
pub use csp_darknet::CspDarknet;
pub use csp_net::CspNet;
pub use darknet::Darknet;
pub use edgenext::EdgeNext;
pub use efficientformer::EfficientFormer;
pub use hornet::HorNet;
pub use hourglass::HourglassNet;
pub use hrnet::HrNet;
pub use levit::Levit;
pub use mobile_vit::MobileVit;
pub use poolformer::PoolFormer;
pub use replknet::RepLkNet;
pub use repvgg::RepNet;
pub use res_layer::ResLayer;
pub(crate) use residual::{ResidualBlock, ResidualConfig};
pub use resnet::ResNet;
pub use tiny_vit::TinyVit;
pub use van::Van;
pub use vig::Vig;
pub use vision_transformer::VisionTransformer;
pub use xcit::Xcit;

pub use davit::DaViT;
pub use mvit::MViT;
pub use pvt::PyramidVisionTransformer;
pub use swin::SwinTransformer;
pub use variants::variants;

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

    /// The one height and width that a batch can have, where the weights are for places of a picture.
    fn only_size(&self) -> Option<[usize; 2]> {
        None
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
pub const ROWS: [Row<Backbones>; 70] = [
    Row::<Backbones>::new("mmdet", "CSPDarknet", csp_darknet::build),
    Row::<Backbones>::new("mmdet", "CSPNeXt", csp_darknet::build_next),
    Row::<Backbones>::new("mmdet", "Darknet", darknet::build),
    Row::<Backbones>::new("mmdet", "DetectoRS_ResNeXt", resnet::build_detectors_next),
    Row::<Backbones>::new("mmdet", "DetectoRS_ResNet", resnet::build_detectors),
    Row::<Backbones>::new("mmdet", "EfficientNet", efficientnet::build_mmdet),
    Row::<Backbones>::new("mmdet", "HRNet", hrnet::build),
    Row::<Backbones>::new("mmdet", "HourglassNet", hourglass::build),
    Row::<Backbones>::new("mmdet", "MobileNetV2", mobilenet_v2::build_mmdet),
    Row::<Backbones>::new("mmdet", "PyramidVisionTransformer", pvt::build),
    Row::<Backbones>::new("mmdet", "PyramidVisionTransformerV2", pvt::build_v2),
    Row::<Backbones>::new("mmdet", "RegNet", regnet::build),
    Row::<Backbones>::new("mmdet", "Res2Net", res2net::build),
    Row::<Backbones>::new("mmdet", "ResNeSt", resnest::build),
    Row::<Backbones>::new("mmdet", "ResNeXt", resnet::build_next),
    Row::<Backbones>::new("mmdet", "ResNet", resnet::build),
    Row::<Backbones>::new("mmdet", "ResNetV1d", resnet::build_v1d),
    Row::<Backbones>::new("mmdet", "SSDVGG", vgg::build_ssd),
    Row::<Backbones>::new("mmdet", "SwinTransformer", swin::build),
    Row::<Backbones>::new("mmdet", "TridentResNet", resnet::build_trident),
    Row::<Backbones>::new("mmpretrain", "AlexNet", alexnet::build),
    Row::<Backbones>::new("mmpretrain", "BEiTViT", vision_transformer::build_beit),
    Row::<Backbones>::new("mmpretrain", "CSPDarkNet", csp_net::build_darknet),
    Row::<Backbones>::new("mmpretrain", "CSPResNeXt", csp_net::build_resnext),
    Row::<Backbones>::new("mmpretrain", "CSPResNet", csp_net::build_resnet),
    Row::<Backbones>::new("mmpretrain", "ConvMixer", convmixer::build),
    Row::<Backbones>::new("mmpretrain", "ConvNeXt", convnext::build),
    Row::<Backbones>::new("mmpretrain", "DaViT", davit::build),
    Row::<Backbones>::new("mmpretrain", "DeiT3", vision_transformer::build_deit3),
    Row::<Backbones>::new("mmpretrain", "DenseNet", densenet::build),
    Row::<Backbones>::new(
        "mmpretrain",
        "DistilledVisionTransformer",
        vision_transformer::build_distilled,
    ),
    Row::<Backbones>::new("mmpretrain", "EdgeNeXt", edgenext::build),
    Row::<Backbones>::new("mmpretrain", "EfficientFormer", efficientformer::build),
    Row::<Backbones>::new("mmpretrain", "EfficientNet", efficientnet::build),
    Row::<Backbones>::new("mmpretrain", "EfficientNetV2", efficientnet_v2::build),
    Row::<Backbones>::new("mmpretrain", "HRNet", hrnet::build_mmpretrain),
    Row::<Backbones>::new("mmpretrain", "HorNet", hornet::build),
    Row::<Backbones>::new("mmpretrain", "LeViT", levit::build),
    Row::<Backbones>::new("mmpretrain", "MViT", mvit::build),
    Row::<Backbones>::new("mmpretrain", "MobileNetV2", mobilenet_v2::build),
    Row::<Backbones>::new("mmpretrain", "MobileNetV3", mobilenet_v3::build),
    Row::<Backbones>::new("mmpretrain", "MobileOne", mobileone::build),
    Row::<Backbones>::new("mmpretrain", "MobileViT", mobile_vit::build),
    Row::<Backbones>::new("mmpretrain", "PCPVT", pvt::build_pcpvt),
    Row::<Backbones>::new("mmpretrain", "PoolFormer", poolformer::build),
    Row::<Backbones>::new("mmpretrain", "PyramidVig", vig::build_pyramid),
    Row::<Backbones>::new("mmpretrain", "RIFormer", poolformer::build_riformer),
    Row::<Backbones>::new("mmpretrain", "RegNet", regnet::build_mmpretrain),
    Row::<Backbones>::new("mmpretrain", "RepLKNet", replknet::build),
    Row::<Backbones>::new("mmpretrain", "RepVGG", repvgg::build),
    Row::<Backbones>::new("mmpretrain", "Res2Net", res2net::build_mmpretrain),
    Row::<Backbones>::new("mmpretrain", "ResNeSt", resnest::build_mmpretrain),
    Row::<Backbones>::new("mmpretrain", "ResNeXt", resnet::mmpretrain::build_next),
    Row::<Backbones>::new("mmpretrain", "ResNet", resnet::mmpretrain::build),
    Row::<Backbones>::new("mmpretrain", "ResNetV1c", resnet::mmpretrain::build_v1c),
    Row::<Backbones>::new("mmpretrain", "ResNetV1d", resnet::mmpretrain::build_v1d),
    Row::<Backbones>::new("mmpretrain", "SEResNeXt", resnet::mmpretrain::build_se_next),
    Row::<Backbones>::new("mmpretrain", "SEResNet", resnet::mmpretrain::build_se),
    Row::<Backbones>::new("mmpretrain", "SVT", pvt::build_svt),
    Row::<Backbones>::new("mmpretrain", "ShuffleNetV1", shufflenet::build_v1),
    Row::<Backbones>::new("mmpretrain", "ShuffleNetV2", shufflenet::build_v2),
    Row::<Backbones>::new("mmpretrain", "SwinTransformer", swin::build_pretrain),
    Row::<Backbones>::new("mmpretrain", "SwinTransformerV2", swin::build_v2),
    Row::<Backbones>::new("mmpretrain", "TIMMBackbone", timm::build),
    Row::<Backbones>::new("mmpretrain", "TinyViT", tiny_vit::build),
    Row::<Backbones>::new("mmpretrain", "VAN", van::build),
    Row::<Backbones>::new("mmpretrain", "VGG", vgg::build),
    Row::<Backbones>::new("mmpretrain", "Vig", vig::build),
    Row::<Backbones>::new("mmpretrain", "VisionTransformer", vision_transformer::build),
    Row::<Backbones>::new("mmpretrain", "XCiT", xcit::build),
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
