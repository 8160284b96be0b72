//! Balanced feature pyramid of Libra R-CNN (Pang et al. 2019, arXiv 1904.02701, section 3.2) as MMDetection 3.3.0's `BFP`: the mean of all levels at
//! the size of one, refined, is added to each.
//!
//! Shapes: inputs and outputs `[N, in_channels, H_i, W_i]`.

use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use serde::Deserialize;

use super::Neck;
use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, number_wanted};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NonLocal, NonLocalConfig,
};
use crate::limits::{Channels, Index, Levels};
use crate::ops::pool::adaptive_max_pool2d;

/// The keys of `type='BFP'`.
#[derive(Debug, Deserialize)]
struct BfpConfig {
    in_channels: Channels,
    num_levels: Levels,
    refine_level: Option<Index>,
    refine_type: Option<String>,
}

/// What is done to the mean.
#[derive(Debug)]
enum Refine {
    Nothing,
    Conv(Box<ConvNormAct>),
    NonLocal(Box<NonLocal>),
}

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(Bfp::read(node, inputs, build)?))
}

/// Balanced feature pyramid.
#[derive(Debug)]
pub struct Bfp {
    refine: Refine,
    refine_level: usize,
    features: Vec<Feature>,
}

impl Bfp {
    fn read(node: &Node, inputs: Features, build: &Build) -> Result<Self, Diagnostics> {
        let config: BfpConfig = node.read_knowing(&["conv_cfg", "norm_cfg", "init_cfg"])?;
        let (levels, channels) = (config.num_levels.get(), config.in_channels.get());
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if inputs.list.len() != levels {
            let (of, given) = (inputs.of, inputs.list.len());
            let message = format!("`num_levels` is {levels}, but `{of}` gives {given}");
            return fail("num_levels", message);
        }
        if let Some(other) = inputs.list.iter().find(|f| f.channels != channels) {
            let (of, given) = (inputs.of, other.channels);
            let message = format!("`in_channels` is {channels}, but `{of}` gives {given}");
            return Err(number_wanted(node, "in_channels", message, given));
        }
        let refine_level = config.refine_level.map_or(2, Index::get);
        if refine_level >= levels {
            let message = format!("`refine_level` is {refine_level}; there are {levels}, from 0");
            return fail("refine_level", message);
        }
        let defaults = ConvStyle {
            act: Some(Activation::Relu),
            initialises: true,
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults, &[channels])?;
        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::XAVIER_UNIFORM));
        });
        let at = build.params.at("refine");
        let refine = match config.refine_type.as_deref() {
            None => Refine::Nothing,
            Some("conv") => {
                let conv = ConvConfig::new(channels, channels, 3).pad(1);
                Refine::Conv(Box::new(style.module(conv, &at)))
            }
            Some("non_local") => {
                let style = ConvStyle {
                    initialises: false,
                    ..style
                };
                let config = NonLocalConfig::plain(&style);
                Refine::NonLocal(Box::new(config.init(channels, &at)))
            }
            Some(other) => {
                let message =
                    format!("`refine_type` is '{other}', must be None, 'conv' or 'non_local'");
                return fail("refine_type", message);
            }
        };
        Ok(Self {
            refine,
            refine_level,
            features: inputs.list.to_vec(),
        })
    }
}

/// Each pixel as often as it takes, or every so many.
fn nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == size {
        return x;
    }
    let options = InterpolateOptions::new(InterpolateMode::Nearest);
    interpolate(x, options.with_output_size(size))
}

fn size(x: &Tensor<4>) -> [usize; 2] {
    let [_, _, height, width] = x.dims();
    [height, width]
}

impl Neck for Bfp {
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let middle = size(&inputs[self.refine_level]);
        let gathered = inputs.iter().enumerate().map(|(i, x)| {
            if i < self.refine_level {
                adaptive_max_pool2d(x.clone(), middle)
            } else {
                nearest(x.clone(), middle)
            }
        });
        let sum = gathered.reduce(|sum, x| sum + x);
        let mean = sum.expect("there are levels") / inputs.len() as f64;
        let refined = match &self.refine {
            Refine::Nothing => mean,
            Refine::Conv(conv) => conv.forward(mean),
            Refine::NonLocal(layer) => layer.forward(mean),
        };
        let scattered = inputs.into_iter().enumerate().map(|(i, x)| {
            let refined = refined.clone();
            if i < self.refine_level {
                nearest(refined, size(&x)) + x
            } else {
                adaptive_max_pool2d(refined, size(&x)) + x
            }
        });
        scattered.collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }
}
