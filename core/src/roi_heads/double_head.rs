//! The two branches of Double-Head R-CNN (Wu et al. 2019, arXiv 1904.06493), MMDetection 3.3.0's `DoubleConvFCBBoxHead`: classes by fully connected
//! layers, boxes by residual blocks.
//!
//! Shapes: features `[R, C, 7, 7]`, one map for classes and one for boxes; outputs `[R, fc_out_channels]`, `[R, conv_out_channels]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::backbones::{ResidualBlock, ResidualConfig};
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, Linear, NormConfig, Params};
use crate::limits::Channels;

type Count = Bounded<1, 128>;

/// The keys that `BBoxHead` has not.
#[derive(Debug, Deserialize)]
struct Keys {
    num_convs: Count,
    num_fcs: Count,
    conv_out_channels: Option<Channels>,
    fc_out_channels: Option<Channels>,
}

/// Its own keys, and those that all box heads have.
const BASE: &[&str] = &[
    "with_avg_pool",
    "with_cls",
    "with_reg",
    "roi_feat_size",
    "in_channels",
    "num_classes",
    "reg_class_agnostic",
    "reg_predictor_cfg",
    "cls_predictor_cfg",
    "bbox_coder",
    "loss_cls",
    "loss_bbox",
    "reg_decoded_bbox",
    "predict_box_type",
    "conv_cfg",
    "norm_cfg",
    "init_cfg",
];

/// What the two branches are to be.
#[derive(Debug)]
pub(super) struct DoubleConfig {
    keys: Keys,
    style: ConvStyle,
}

/// The two branches.
#[derive(Debug)]
pub(super) struct DoubleBranches {
    /// 3x3, then 1x1, and 1x1 beside them.
    res_block: [ConvNormAct; 3],
    conv_branch: Vec<ResidualBlock>,
    fc_branch: Vec<Linear>,
}

fn batch_relu() -> ConvStyle {
    ConvStyle {
        norm: Some(NormConfig::batch(1e-5)),
        act: Some(Activation::Relu),
        ..ConvStyle::default()
    }
}

impl DoubleConfig {
    /// # Errors
    /// A key is wrong.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let keys: Keys = node.read_knowing(BASE)?;
        if node.get("with_avg_pool").and_then(Node::as_bool) == Some(false) {
            let message = "`DoubleConvFCBBoxHead` pools: `with_avg_pool` must be True";
            return Err(error_at(node, "with_avg_pool", message, ""));
        }
        let channels = keys.conv_out_channels.map_or(1024, Channels::get);
        if !channels.is_multiple_of(4) {
            let message = format!("`conv_out_channels` is {channels}, must be a multiple of 4");
            return Err(error_at(node, "conv_out_channels", message, ""));
        }
        let style = ConvStyle::read(node, batch_relu(), &[channels / 4, channels])?;
        if style.norm.is_none() {
            let message = "`DoubleConvFCBBoxHead` needs a `norm_cfg`";
            return Err(error_at(node, "norm_cfg", message, ""));
        }
        Ok(Self { keys, style })
    }

    /// Keys that are not those of the base class.
    pub fn others(&self, base: &[&'static str]) -> Vec<&'static str> {
        let own = ["num_convs", "num_fcs"];
        base.iter().copied().chain(own).collect()
    }

    fn fc_width(&self) -> usize {
        self.keys.fc_out_channels.map_or(1024, Channels::get)
    }

    fn width(&self) -> usize {
        self.keys.conv_out_channels.map_or(1024, Channels::get)
    }

    /// What the last layers of classes and of boxes see.
    pub fn widths(&self) -> [usize; 2] {
        [self.fc_width(), self.width()]
    }

    /// Builds the branches for maps of so many channels, and of such a size.
    pub fn init(
        &self,
        channels: usize,
        [height, width]: [usize; 2],
        at: &Params,
    ) -> DoubleBranches {
        // Its convolutions and norms are always the plain ones.
        let plain = ConvStyle {
            initialises: true,
            ..batch_relu()
        };
        let bare = plain.act(None);
        let (out, place) = (self.width(), at.at("res_block"));
        let three = ConvConfig::new(channels, channels, 3).pad(1).bias(false);
        let one = || ConvConfig::new(channels, out, 1);
        let res_block = [
            plain.module(three, &place.at("conv1")),
            bare.module(one().bias(false), &place.at("conv2")),
            bare.module(one(), &place.at("conv_identity")),
        ];
        let block = ResidualConfig::bottleneck(out, out / 4, out);
        let place = at.at("conv_branch");
        let blocks = 0..self.keys.num_convs.get();
        let blocks = blocks.map(|i| block.init(&self.style, &place.at(i)));
        let conv_branch = blocks.collect();
        let place = at.at("fc_branch");
        let fc = |i: usize| {
            let inputs = match i {
                0 => channels * height * width,
                _ => self.fc_width(),
            };
            Linear::new(inputs, self.fc_width(), true, &place.at(i))
        };
        DoubleBranches {
            res_block,
            conv_branch,
            fc_branch: (0..self.keys.num_fcs.get()).map(fc).collect(),
        }
    }
}

impl DoubleBranches {
    /// What the last layers of classes and of boxes see.
    pub fn forward(&self, for_classes: Tensor<4>, for_boxes: Tensor<4>) -> [Tensor<2>; 2] {
        let [three, one, identity] = &self.res_block;
        let beside = identity.forward(for_boxes.clone());
        let x = Activation::Relu.forward(one.forward(three.forward(for_boxes)) + beside);
        let blocks = self.conv_branch.iter();
        let x = blocks.fold(x, |x, block| block.forward(x));
        let of_boxes = x.mean_dim(3).mean_dim(2).flatten(1, 3);
        let layers = self.fc_branch.iter();
        let of_classes = layers.fold(for_classes.flatten(1, 3), |x: Tensor<2>, fc| {
            Activation::Relu.forward(fc.forward(x))
        });
        [of_classes, of_boxes]
    }
}
