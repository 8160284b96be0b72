//! Stacked hourglasses (Newell et al. 2016, arXiv 1603.06937), the backbone of CornerNet (Law and Deng 2018, arXiv 1808.01244), as MMDetection 3.3.0
//! builds it: each halves the map several times and enlarges it again, and what was there at each size is added.
//!
//! Shapes: one `[N, feat_channel, H / 4, W / 4]` for each of the stacked modules.

use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use serde::Deserialize;

use super::residual::{ResidualBlock, ResidualConfig};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, NormConfig, Params,
};
use crate::limits::{Channels, List};

/// The keys of `type='HourglassNet'`.
#[derive(Debug, Deserialize)]
struct HourglassConfig {
    downsample_times: Option<Bounded<1, 16>>,
    num_stacks: Option<Bounded<1, 16>>,
    stage_channels: Option<List<Channels>>,
    stage_blocks: Option<List<Bounded<0, 32>>>,
    feat_channel: Option<Channels>,
}

const CHANNELS: [usize; 6] = [256, 256, 384, 384, 384, 512];
const BLOCKS: [usize; 6] = [2, 2, 2, 2, 2, 4];
const STRIDE: usize = 4;

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(HourglassNet::read(node, build)?))
}

/// Stacked hourglasses.
#[derive(Debug)]
pub struct HourglassNet {
    stem: ConvNormAct,
    stem_blocks: Vec<ResidualBlock>,
    hourglasses: Vec<Hourglass>,
    /// Of the sum that goes into the next module.
    inters: Vec<ResidualBlock>,
    conv1x1s: Vec<ConvNormAct>,
    out_convs: Vec<ConvNormAct>,
    remap_convs: Vec<ConvNormAct>,
    feature: Feature,
}

impl HourglassConfig {
    /// Channels and blocks of each size.
    fn sizes(&self, node: &Node) -> Result<Vec<(usize, usize)>, Diagnostics> {
        let channels = self.stage_channels.as_ref();
        let channels = channels.map_or_else(|| CHANNELS.to_vec(), List::numbers);
        let blocks = self.stage_blocks.as_ref();
        let blocks = blocks.map_or_else(|| BLOCKS.to_vec(), List::numbers);
        let times = self.downsample_times.map_or(5, Bounded::get);
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let count = channels.len();
        if blocks.len() != count {
            let message = format!(
                "`stage_blocks` has {} entries, `stage_channels` {count}",
                blocks.len()
            );
            return fail("stage_blocks", message);
        }
        if count <= times {
            let message = format!(
                "`stage_channels` has {count} entries for the {} sizes that `downsample_times` makes",
                times + 1
            );
            return fail("stage_channels", message);
        }
        if channels[0] < 2 {
            let message = "the stem has half of the first of `stage_channels`, which is 1";
            return fail("stage_channels", message.into());
        }
        let sizes = channels.into_iter().zip(blocks);
        Ok(sizes.take(times + 1).collect())
    }
}

impl HourglassNet {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: HourglassConfig = node.read_knowing(&["norm_cfg", "init_cfg"])?;
        if node.get("init_cfg").is_some_and(|given| !given.is_none()) {
            let message = "HourglassNet takes no `init_cfg`";
            let help = "the original refuses it; load_from of the whole model gives values";
            return Err(error_at(node, "init_cfg", message, help));
        }
        let sizes = config.sizes(node)?;
        let channels = sizes[0].0;
        let out = config.feat_channel.map_or(256, Channels::get);
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, defaults.clone(), &[channels, channels / 2, out])?;
        if style.norm.is_none() {
            let message = "HourglassNet needs a `norm_cfg`";
            return Err(error_at(node, "norm_cfg", message, ""));
        }
        let stacks = config.num_stacks.map_or(2, Bounded::get);

        let params = &build.params;
        // PyTorch's own values, whatever the modules give themselves before.
        let rule = InitRule::of(&["Conv2d"], Init::TORCH);
        params.initialise(InitRule { bias: None, ..rule });
        let at = params.at("stem");
        let stem = ConvConfig::new(3, channels / 2, 7).stride(2).pad(3);
        let stem = style.module(stem, &at.at(0));
        let first = ResidualConfig {
            stride: 2,
            ..ResidualConfig::basic(channels / 2, channels)
        };
        let stem_blocks = vec![first.init(&style, &at.at(1).at(0))];
        // `norm_cfg` does not reach the hourglasses.
        let hourglass = |i: usize| {
            let at = params.at("hourglass_modules").at(i);
            Hourglass::new(&sizes, &defaults, &at)
        };
        let hourglasses = (0..stacks).map(hourglass).collect();
        let at = params.at("inters");
        let same = ResidualConfig::basic(channels, channels);
        // There is one even where there is nothing between modules.
        let inters = (0..(stacks - 1).max(1))
            .map(|i| same.init(&style, &at.at(i)))
            .collect();
        let bare = style.act(None);
        let convs = |style: &ConvStyle, list: &str, count: usize, conv: ConvConfig| {
            let at = params.at(list);
            (0..count)
                .map(|i| style.module(conv.clone(), &at.at(i)))
                .collect::<Vec<_>>()
        };
        let between = stacks - 1;
        let to_out = ConvConfig::new(channels, out, 3).pad(1);
        Ok(Self {
            stem,
            stem_blocks,
            hourglasses,
            inters,
            conv1x1s: convs(
                &bare,
                "conv1x1s",
                between,
                ConvConfig::new(channels, channels, 1),
            ),
            out_convs: convs(&style, "out_convs", stacks, to_out),
            remap_convs: convs(
                &bare,
                "remap_convs",
                between,
                ConvConfig::new(out, channels, 1),
            ),
            feature: Feature {
                channels: out,
                stride: STRIDE,
            },
        })
    }
}

impl Backbone for HourglassNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = pass(&self.stem_blocks, self.stem.forward(x));
        let mut outputs = Vec::new();
        for (i, hourglass) in self.hourglasses.iter().enumerate() {
            let out = self.out_convs[i].forward(hourglass.forward(x.clone()));
            if let (Some(own), Some(remap)) = (self.conv1x1s.get(i), self.remap_convs.get(i)) {
                let sum = own.forward_onto(x, remap.forward(out.clone()));
                x = self.inters[i].forward(Activation::Relu.forward(sum));
            } else {
                x = out.clone();
            }
            outputs.push(out);
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        vec![self.feature; self.hourglasses.len()]
    }
}

fn pass(blocks: &[ResidualBlock], x: Tensor<4>) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| block.forward(x))
}

/// A map at its size, and what comes of it at half the size.
#[derive(Debug)]
struct Hourglass {
    up1: Vec<ResidualBlock>,
    low1: Vec<ResidualBlock>,
    low2: Low,
    low3: Vec<ResidualBlock>,
}

/// What is at the smaller size: another hourglass, or blocks.
#[derive(Debug)]
enum Low {
    Hourglass(Box<Hourglass>),
    Blocks(Vec<ResidualBlock>),
}

impl Hourglass {
    /// `sizes` are channels and blocks of this size and the smaller ones, two at least.
    fn new(sizes: &[(usize, usize)], style: &ConvStyle, at: &Params) -> Self {
        let [(channels, blocks), (next, next_blocks)] = [sizes[0], sizes[1]];
        let same = ResidualConfig::basic(channels, channels);
        let smaller = ResidualConfig {
            stride: 2,
            ..ResidualConfig::basic(channels, next)
        };
        let next_same = ResidualConfig::basic(next, next);
        // One block at least, as the original's.
        let blocks = blocks.max(1);
        let layer = |name: &str, configs: Vec<ResidualConfig>| {
            let at = at.at(name);
            let block = |(i, config): (usize, &ResidualConfig)| config.init(style, &at.at(i));
            configs.iter().enumerate().map(block).collect::<Vec<_>>()
        };
        let many = |config, count| vec![config; count];
        Self {
            up1: layer("up1", many(same, blocks)),
            low1: layer("low1", {
                let down = ResidualConfig::basic(next, next);
                [vec![smaller], many(down, blocks - 1)].concat()
            }),
            low2: if sizes.len() > 2 {
                let inner = Self::new(&sizes[1..], style, &at.at("low2"));
                Low::Hourglass(Box::new(inner))
            } else {
                Low::Blocks(layer("low2", many(next_same, next_blocks.max(1))))
            },
            low3: layer("low3", {
                let back = ResidualConfig::basic(next, channels);
                [many(next_same, blocks - 1), vec![back]].concat()
            }),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let low = pass(&self.low1, x.clone());
        let low = match &self.low2 {
            Low::Hourglass(hourglass) => hourglass.forward(low),
            Low::Blocks(blocks) => pass(blocks, low),
        };
        let low = pass(&self.low3, low);
        let up = pass(&self.up1, x);
        let [_, _, h, w] = up.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        up + interpolate(low, options.with_output_size([h, w]))
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (keys, part) in [
            ("downsample_times=6", "6 entries for the 7 sizes"),
            ("stage_blocks=[1, 1]", "`stage_channels` 6"),
            ("stage_channels=[1, 2, 2, 2, 2, 2]", "half of the first"),
            (
                "init_cfg=dict(type='Normal', layer='Conv2d')",
                "takes no `init_cfg`",
            ),
            ("norm_cfg=None", "needs a `norm_cfg`"),
        ] {
            let text = format!("dict(type='HourglassNet', {keys})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
    }
}
