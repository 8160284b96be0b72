//! YOLOX's path aggregation network (Ge et al. 2021, arXiv 2107.08430, after PANet: Liu et al. 2018, arXiv 1803.01534) as MMDetection
//! 3.3.0 builds it: maps are joined side by side, not added, from the coarsest to the finest and back. And that of RTMDet (Lyu et al. 2022, arXiv
//! 2212.07784), `CSPNeXtPAFPN`, with CSPNeXt's blocks and 3x3 convolutions at the end.
//!
//! Shapes: inputs `[N, in_channels[i], H_i, W_i]`, each level half the one before; outputs `[N, out_channels, H_i, W_i]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::Neck;
use super::upsample::{Upsample, UpsampleConfig};
use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node, error_at};
use crate::layers::{ConvConfig, ConvNormAct, ConvStyle, CspLayer, CspLayerConfig, Init, InitRule};
use crate::limits::{Channels, Layers, List};

/// The keys of `type='YOLOXPAFPN'` and `type='CSPNeXtPAFPN'`.
#[derive(Debug, Deserialize)]
struct YoloxPafpnConfig {
    /// Absent: as the backbone's outputs.
    in_channels: Option<List<Channels>>,
    out_channels: Channels,
    num_csp_blocks: Option<Layers>,
    use_depthwise: Option<bool>,
    /// Of CSPNeXt's: channels of each half of a layer, as a share of its own.
    expand_ratio: Option<f64>,
    upsample_cfg: Option<UpsampleConfig>,
}

/// Channels of half a layer.
const MOST_CHANNELS: usize = 1 << 16;

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(YoloxPafpn::read(node, inputs, build, false)?))
}

pub(super) fn build_next(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(YoloxPafpn::read(node, inputs, build, true)?))
}

/// YOLOX's path aggregation network, and RTMDet's.
#[derive(Debug)]
pub struct YoloxPafpn {
    /// From the coarsest level on, as the blocks after them.
    reduce_layers: Vec<ConvNormAct>,
    top_down_blocks: Vec<CspLayer>,
    /// From the finest level on, as the blocks after them.
    downsamples: Vec<Vec<ConvNormAct>>,
    bottom_up_blocks: Vec<CspLayer>,
    out_convs: Vec<Vec<ConvNormAct>>,
    upsample: Upsample,
    features: Vec<Feature>,
}

impl YoloxPafpn {
    /// `next` for CSPNeXt's.
    fn read(node: &Node, inputs: Features, build: &Build, next: bool) -> Result<Self, Diagnostics> {
        let name = if next { "CSPNeXtPAFPN" } else { "YOLOXPAFPN" };
        let config: YoloxPafpnConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"])?;
        let channels = inputs.channels(name, node, config.in_channels.as_ref())?;
        let levels = channels.len();
        let out = config.out_channels.get();
        let strides: Vec<_> = inputs.list.iter().map(|f| f.stride).collect();
        let halves = |pair: &[usize]| pair[1] == 2 * pair[0];
        if levels == 0 || channels.contains(&1) || !strides.windows(2).all(halves) {
            let backbone = inputs.of;
            let message = format!(
                "`{name}` joins levels of which each is half the one before, and splits their channels; backbone `{backbone}` \
                 gives strides {strides:?} and channels {channels:?}"
            );
            let error = Diagnostic::error(message)
                .at(&node.origin, "")
                .at(inputs.origin, "the backbone");
            return Err(vec![
                error.help("the backbone's `out_indices` say which levels it gives"),
            ]);
        }
        let upsample = match &config.upsample_cfg {
            None => Upsample::double(),
            Some(cfg) => Upsample::read(node, Some(cfg))?,
        };
        if upsample.scale_factor() != Some([2.0; 2]) {
            let message = format!("`upsample_cfg` of `{name}` must have `scale_factor` 2");
            let help = "each level is half the one before: write upsample_cfg=dict(scale_factor=2, mode='nearest')";
            return Err(error_at(node, "upsample_cfg", message, help));
        }
        if config.expand_ratio.is_some() && !next {
            let message = "the key `expand_ratio` is not known to `YOLOXPAFPN`";
            return Err(error_at(
                node,
                "expand_ratio",
                message,
                "`CSPNeXtPAFPN` has it",
            ));
        }
        let share = config.expand_ratio.unwrap_or(0.5);
        let inside = |channels: usize| (channels as f64 * share) as usize;
        if let Some(c) = channels
            .iter()
            .find(|c| !(1..=MOST_CHANNELS).contains(&inside(**c)))
        {
            let message = format!("half a layer would have {} channels", inside(*c));
            let help = format!("1 to {MOST_CHANNELS} are possible");
            return Err(error_at(node, "expand_ratio", message, &help));
        }
        let inner = channels.iter().flat_map(|c| [*c, inside(*c)]);
        let all: Vec<_> = inner.chain([out]).collect();
        let style = ConvStyle::read(node, ConvStyle::batch_swish(), &all)?;

        build.initial(node, |at| {
            at.initialise(InitRule::of(&["Conv2d"], Init::TORCH))
        });
        let params = &build.params;
        let use_depthwise = config.use_depthwise.unwrap_or(false);
        let conv1x1 = |list: &str, i: usize, from: usize, to: usize| {
            style.module(ConvConfig::new(from, to, 1), &params.at(list).at(i))
        };
        let csp = |list: &str, i: usize, channels_in: usize, channels_out: usize| {
            let config = CspLayerConfig {
                channels_inside: inside(channels_out),
                num_blocks: config.num_csp_blocks.map_or(3, Layers::get),
                add_identity: false,
                use_depthwise,
                next,
                ..CspLayerConfig::new(channels_in, channels_out)
            };
            config.init(&style, &params.at(list).at(i))
        };
        // Fine and coarse channels of each step. Built in the state dict's order.
        let steps = channels.windows(2).map(|c| (c[0], c[1]));
        let down = || steps.clone().rev().enumerate();
        let up = || steps.clone().enumerate();
        let neck = Self {
            reduce_layers: down()
                .map(|(i, (fine, coarse))| conv1x1("reduce_layers", i, coarse, fine))
                .collect(),
            top_down_blocks: down()
                .map(|(i, (fine, _))| csp("top_down_blocks", i, 2 * fine, fine))
                .collect(),
            downsamples: up()
                .map(|(i, (fine, _))| {
                    let at = params.at("downsamples").at(i);
                    style.conv3x3([fine; 2], 2, use_depthwise, None, &at)
                })
                .collect(),
            bottom_up_blocks: up()
                .map(|(i, (fine, coarse))| csp("bottom_up_blocks", i, 2 * fine, coarse))
                .collect(),
            out_convs: (0..levels)
                .map(|i| {
                    if !next {
                        return vec![conv1x1("out_convs", i, channels[i], out)];
                    }
                    let at = params.at("out_convs").at(i);
                    style.conv3x3([channels[i], out], 1, use_depthwise, None, &at)
                })
                .collect(),
            upsample,
            features: strides
                .into_iter()
                .map(|stride| Feature {
                    channels: out,
                    stride,
                })
                .collect(),
        };
        let pair = |lists: [&'static str; 2]| {
            (0..levels - 1).flat_map(move |i| lists.map(|list| format!("{list}.{i}")))
        };
        params.built_in_order(pair(["reduce_layers", "top_down_blocks"]));
        params.built_in_order(pair(["downsamples", "bottom_up_blocks"]));
        Ok(neck)
    }
}

impl Neck for YoloxPafpn {
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let mut finer = inputs.into_iter().rev();
        let coarsest = finer
            .next()
            .expect("a neck is given as many maps as the backbone has levels");
        // The levels of the way down, coarsest first; the way back joins them again.
        let mut inner = vec![coarsest];
        let down = self.reduce_layers.iter().zip(&self.top_down_blocks);
        for ((reduce, block), fine) in down.zip(finer) {
            let coarse = reduce.forward(inner.pop().expect("it is never empty"));
            let [_, _, h, w] = fine.dims();
            let enlarged = self.upsample.forward(coarse.clone(), [h, w]);
            inner.push(coarse);
            inner.push(block.forward(Tensor::cat(vec![enlarged, fine], 1)));
        }
        let mut inner = inner.into_iter().rev();
        let mut maps: Vec<_> = inner.next().into_iter().collect();
        let up = self.downsamples.iter().zip(&self.bottom_up_blocks);
        for ((downsample, block), coarse) in up.zip(inner) {
            let fine = maps[maps.len() - 1].clone();
            let reduced = downsample.iter().fold(fine, |x, conv| conv.forward(x));
            maps.push(block.forward(Tensor::cat(vec![reduced, coarse], 1)));
        }
        let outputs = maps.into_iter().zip(&self.out_convs);
        let through = |(x, convs): (Tensor<4>, &Vec<ConvNormAct>)| {
            convs.iter().fold(x, |x, conv| conv.forward(x))
        };
        outputs.map(through).collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn size_divisor(&self) -> usize {
        self.features.last().map_or(1, |f| f.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Mode, StateEntry};
    use burn::tensor::Device;

    /// Channels and strides.
    const LEVELS: [(usize, usize); 3] = [(4, 8), (6, 16), (10, 32)];

    fn made(
        keys: &str,
        levels: &[(usize, usize)],
        mode: Mode,
    ) -> Result<(Box<dyn Neck>, Vec<StateEntry>), String> {
        crate::necks::made(&format!("dict(type='YOLOXPAFPN', {keys})"), levels, mode)
    }

    #[test]
    fn sizes_stay_and_widths_become_one() {
        let device = Device::flex();
        for (keys, count) in [
            ("out_channels=7", 3),
            ("out_channels=7, use_depthwise=True, num_csp_blocks=1", 3),
            ("out_channels=7, in_channels=[4]", 1),
        ] {
            let levels = &LEVELS[..count];
            let (neck, _) = made(keys, levels, Mode::Fixed).unwrap();
            let map = |channels, stride| {
                Tensor::<4>::zeros([2, channels, 64 / stride, 96 / stride], &device)
            };
            let outputs = neck.forward(levels.iter().map(|&(c, s)| map(c, s)).collect());
            let found: Vec<_> = outputs.iter().map(|m| m.dims()).collect();
            let wanted = levels.iter().map(|&(_, s)| [2, 7, 64 / s, 96 / s]);
            assert_eq!(found, wanted.collect::<Vec<_>>());
            let said = neck.features().into_iter().map(|f| (f.channels, f.stride));
            let wanted: Vec<_> = levels.iter().map(|&(_, s)| (7, s)).collect();
            assert_eq!(said.collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn names_come_in_the_originals_order() {
        let keys = "out_channels=8, num_csp_blocks=1, use_depthwise=True";
        let (_, state) = made(keys, &LEVELS, Mode::Plan).unwrap();
        let convs: Vec<_> = state
            .iter()
            .filter_map(|e| {
                let name = e.key.strip_suffix(".conv.weight")?;
                Some((name, e.shape[0], e.shape[1]))
            })
            .filter(|(name, ..)| !name.contains("blocks.1"))
            .collect();
        let expected = [
            ("reduce_layers.0", 6, 10),
            ("reduce_layers.1", 4, 6),
            ("top_down_blocks.0.main_conv", 3, 12),
            ("top_down_blocks.0.short_conv", 3, 12),
            ("top_down_blocks.0.final_conv", 6, 6),
            ("top_down_blocks.0.blocks.0.conv1", 3, 3),
            ("top_down_blocks.0.blocks.0.conv2.depthwise_conv", 3, 1),
            ("top_down_blocks.0.blocks.0.conv2.pointwise_conv", 3, 3),
            ("downsamples.0.depthwise_conv", 4, 1),
            ("downsamples.0.pointwise_conv", 4, 4),
            ("downsamples.1.depthwise_conv", 6, 1),
            ("downsamples.1.pointwise_conv", 6, 6),
            ("bottom_up_blocks.0.main_conv", 3, 8),
            ("bottom_up_blocks.0.short_conv", 3, 8),
            ("bottom_up_blocks.0.final_conv", 6, 6),
            ("bottom_up_blocks.0.blocks.0.conv1", 3, 3),
            ("bottom_up_blocks.0.blocks.0.conv2.depthwise_conv", 3, 1),
            ("bottom_up_blocks.0.blocks.0.conv2.pointwise_conv", 3, 3),
            ("out_convs.0", 8, 4),
            ("out_convs.1", 8, 6),
            ("out_convs.2", 8, 10),
        ];
        assert_eq!(convs, expected);
    }

    #[test]
    fn mistakes_are_explained() {
        let skipped = [LEVELS[0], LEVELS[2]];
        for (keys, features, part) in [
            (
                "out_channels=8, in_channels=[4, 6, 8]",
                &LEVELS[..],
                "`YOLOXPAFPN` has `in_channels` [4, 6, 8] but backbone `CSPDarknet` gives [4, 6, 10]",
            ),
            (
                "out_channels=8, in_channels=[4, 6]",
                &LEVELS,
                "has 2 `in_channels` but backbone `CSPDarknet` gives 3 levels",
            ),
            ("out_channels=8", &skipped, "gives strides [8, 32]"),
            (
                "out_channels=8, upsample_cfg=dict(mode='nearest')",
                &LEVELS,
                "must have `scale_factor` 2",
            ),
            (
                "out_channels=8, upsample_cfg=dict(scale_factor=2, mode='near')",
                &LEVELS,
                "unknown mode 'near'",
            ),
            ("in_channels=[4, 6, 10]", &LEVELS, "out_channels"),
            (
                "out_channels=0",
                &LEVELS,
                "`out_channels`: 0 is out of bounds",
            ),
            (
                "out_channels=8, norm_cfg=dict(type='GN', num_groups=4)",
                &LEVELS,
                "does not divide",
            ),
        ] {
            let message = made(keys, features, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
    }
}
