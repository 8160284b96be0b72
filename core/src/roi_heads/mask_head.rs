//! The mask heads of second stages: features of regions to masks of each class (Mask R-CNN, He et al. 2017, arXiv 1703.06870, section 3) as
//! MMDetection 3.3.0 builds them.
//!
//! Shapes: features `[R, C, 14, 14]`; logits `[R, classes, 28, 28]`, or `[R, 1, 28, 28]` where all classes share theirs.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor};
use serde::Deserialize;

use super::mask_learning::MaskLearning;
use super::{Given, RegionMap, present};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::heads::training;
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Deconv, Init, InitRule, NormedConv,
    NormedConvConfig, Params,
};
use crate::limits::{Channels, Layers};
use crate::ops::resize::{Interpolation, resize};
use crate::registry::{Family, Row};

/// The keys of `type='FCNMaskHead'`.
#[derive(Debug, Deserialize)]
struct FcnConfig {
    num_convs: Option<Layers>,
    in_channels: Option<Channels>,
    conv_kernel_size: Option<Bounded<1, 31>>,
    conv_out_channels: Option<Channels>,
    num_classes: Option<Channels>,
    class_agnostic: Option<bool>,
}

/// The keys of `upsample_cfg`.
#[derive(Debug, Deserialize)]
struct UpsampleKeys {
    #[serde(rename = "type")]
    kind: Option<String>,
    scale_factor: Option<Bounded<1, 16>>,
}

/// The kind `mask head` of the registry.
#[derive(Debug)]
pub struct MaskHeads;

impl Family for MaskHeads {
    const KIND: &'static str = "mask head";
    type Build = fn(&Node, &Given, &Build) -> Result<MaskHead, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<MaskHeads>; 1] = [Row::<MaskHeads>::new(
    "mmdet",
    "FCNMaskHead",
    MaskHead::read,
)];

/// A mask head of convolutions.
#[derive(Debug)]
pub struct MaskHead {
    convs: Vec<ConvNormAct>,
    upsample: Upsample,
    conv_logits: Predictor,
    /// All classes share their mask.
    pub(super) agnostic: bool,
    channels_in: usize,
    classes: usize,
    /// Pixels that a convolution takes from a side.
    shrinks: usize,
    learning: Option<MaskLearning>,
}

#[derive(Debug)]
enum Upsample {
    No,
    Deconv(Box<Deconv>, usize),
    Nearest(usize),
    Bilinear(usize),
}

#[derive(Debug)]
enum Predictor {
    Conv(Box<ConvNormAct>),
    Normed(Box<NormedConv>),
}

impl MaskHead {
    fn read(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let others = [
            "roi_feat_size",
            "upsample_cfg",
            "conv_cfg",
            "norm_cfg",
            "predictor_cfg",
            "loss_mask",
            "init_cfg",
        ];
        let config: FcnConfig = node.read_knowing(&others)?;
        let width = config.conv_out_channels.map_or(256, Channels::get);
        let style = ConvStyle {
            act: Some(Activation::Relu),
            initialises: true,
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, style, &[width])?;
        let classes = config.num_classes.map_or(80, Channels::get);
        let agnostic = config.class_agnostic.unwrap_or(false);
        let learning = training(build, || MaskLearning::read(node, given, build))?;

        let params = &build.params;
        for part in ["upsample", "conv_logits"] {
            let kaiming = InitRule::all(Init::KAIMING, 0.0);
            params.at(part).initialise(kaiming);
        }
        let mut channels = config.in_channels.map_or(256, Channels::get);
        let side = config.conv_kernel_size.map_or(3, |side| side.get());
        let layers = config.num_convs.map_or(4, Layers::get);
        let convs = (0..layers).map(|i| {
            let conv = ConvConfig::new(channels, width, side).pad((side - 1) / 2);
            channels = width;
            style.module(conv, &params.at("convs").at(i))
        });
        let convs = convs.collect();
        let upsample = Upsample::read(node, [channels, width], &params.at("upsample"))?;
        if matches!(upsample, Upsample::Deconv(..)) {
            channels = width;
        }
        let outputs = if agnostic { 1 } else { classes };
        let at = params.at("conv_logits");
        Ok(Self {
            convs,
            upsample,
            conv_logits: Predictor::read(node, [channels, outputs], &at)?,
            agnostic,
            channels_in: config.in_channels.map_or(256, Channels::get),
            classes: outputs,
            shrinks: usize::from(side.is_multiple_of(2)),
            learning,
        })
    }

    /// Of a side that comes in what goes out.
    pub(super) fn side(&self, side: usize) -> usize {
        let factor = match &self.upsample {
            Upsample::No => 1,
            Upsample::Deconv(_, factor)
            | Upsample::Nearest(factor)
            | Upsample::Bilinear(factor) => *factor,
        };
        side.saturating_sub(self.convs.len() * self.shrinks) * factor
    }

    /// Classes that have a mask of their own.
    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    /// Whether it takes such maps of regions.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(&self, node: &Node, map: RegionMap) -> Result<(), Diagnostics> {
        if self.channels_in == map.channels {
            return Ok(());
        }
        let message = format!(
            "the mask head has `in_channels` {}, but regions have {} channels",
            self.channels_in, map.channels
        );
        let help = format!("write in_channels={}", map.channels);
        Err(error_at(node, "in_channels", message, &help))
    }

    /// # Shapes
    /// - input `[R, C, H, W]`, output `[R, classes, 2 * H, 2 * W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        let x = self.upsample.forward(x);
        match &self.conv_logits {
            Predictor::Conv(conv) => conv.forward(x),
            Predictor::Normed(conv) => conv.forward(x),
        }
    }

    /// Of each region's masks that of its label.
    ///
    /// # Shapes
    /// - logits `[R, classes, H, W]`, labels `[R]`, output `[R, H, W]`
    pub(super) fn of_labels(&self, logits: Tensor<4>, labels: Tensor<1, Int>) -> Tensor<3> {
        let [rows, channels, height, width] = logits.dims();
        let masks = logits.reshape([rows * channels, height, width]);
        if self.agnostic {
            return masks;
        }
        let firsts = Tensor::<1, Int>::arange(0..rows as i64, &masks.device());
        let labels = labels.clamp(0, channels as i64 - 1);
        masks.select(0, firsts * channels as i64 + labels)
    }

    /// How it learns.
    ///
    /// # Panics
    /// If the model was not built for training.
    pub(super) fn learning(&self) -> &MaskLearning {
        self.learning.as_ref().expect(super::FOR_TRAINING)
    }
}

impl Upsample {
    fn read(node: &Node, channels: [usize; 2], at: &Params) -> Result<Self, Diagnostics> {
        let given = present(node, "upsample_cfg");
        let keys: Option<UpsampleKeys> = match given {
            Some(given) => {
                let known = [
                    "up_kernel",
                    "up_group",
                    "encoder_kernel",
                    "encoder_dilation",
                    "compressed_channels",
                    "align_corners",
                ];
                Some(given.read_knowing(&known)?)
            }
            None => None,
        };
        let kind = match &keys {
            Some(keys) => keys.kind.as_deref(),
            None => Some("deconv"),
        };
        let factor = keys.as_ref().and_then(|keys| keys.scale_factor.as_ref());
        let factor = factor.map_or(2, |factor| factor.get());
        Ok(match kind {
            None => Self::No,
            Some("deconv") => {
                let act = Some(Activation::Relu);
                Self::Deconv(Box::new(Deconv::new(channels, factor, act, at)), factor)
            }
            Some("nearest") => Self::Nearest(factor),
            Some("bilinear") => Self::Bilinear(factor),
            Some(other) => {
                let known = "known are 'deconv', 'nearest', 'bilinear' and None";
                let message = format!("upsampling by '{other}' is not supported");
                let given = given.unwrap_or(node);
                return Err(match other {
                    "carafe" => unsupported(given, "type", message, known),
                    _ => error_at(given, "type", message, known),
                });
            }
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        match self {
            Self::No => x,
            Self::Deconv(deconv, _) => deconv.forward(x),
            Self::Nearest(factor) => {
                let options = InterpolateOptions::new(InterpolateMode::Nearest);
                interpolate(x, options.with_output_size([h * factor, w * factor]))
            }
            Self::Bilinear(factor) => {
                let size = [h * factor, w * factor];
                resize(x, size, Interpolation::Bilinear, false)
            }
        }
    }
}

impl Predictor {
    fn read(
        node: &Node,
        [channels, outputs]: [usize; 2],
        at: &Params,
    ) -> Result<Self, Diagnostics> {
        let given = present(node, "predictor_cfg");
        let kind = given.and_then(|given| given.get("type")?.as_type());
        match kind.as_deref().unwrap_or("Conv") {
            "Conv" | "Conv2d" => {
                let conv = ConvConfig::new(channels, outputs, 1);
                Ok(Self::Conv(Box::new(conv.init(at, None))))
            }
            "NormedConv2d" => {
                let given = given.expect("it has a type");
                let config: NormedConvConfig = given.read()?;
                Ok(Self::Normed(Box::new(config.init(channels, outputs, at))))
            }
            other => {
                let message = format!("unknown predictor `{other}`");
                let known = "known are Conv, NormedConv2d";
                Err(error_at(node, "predictor_cfg", message, known))
            }
        }
    }
}
