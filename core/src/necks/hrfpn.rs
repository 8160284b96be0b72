//! HRNet's pyramid, HRNetV2p (Sun et al. 2019, arXiv 1904.04514, section 3.3), as MMDetection 3.3.0 builds it: all maps at the size of the finest
//! side by side, joined by a 1x1 convolution, and each level a 3x3 convolution of what pooling leaves of that.
//!
//! Shapes: inputs `[N, in_channels[i], H / 2^i, W / 2^i]`, outputs `[N, out_channels, H / (2^j * stride), W / (2^j * stride)]`.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use serde::Deserialize;

use super::Neck;
use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node};
use crate::layers::{ConvConfig, ConvNormAct, ConvStyle, Distribution, Fan, Init, InitRule};
use crate::limits::{Channels, Levels, List, Pixels};
use crate::ops::pool::max_pool2d;
use crate::ops::resize::{Interpolation, resize};

/// The keys of `type='HRFPN'`.
#[derive(Debug, Deserialize)]
struct HrFpnConfig {
    /// Absent: as the backbone's outputs.
    in_channels: Option<List<Channels>>,
    out_channels: Channels,
    num_outs: Option<Levels>,
    /// Anything but `'MAX'` is the mean.
    pooling_type: Option<String>,
    stride: Option<Pixels>,
}

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(HrFpn::read(node, inputs, build)?))
}

/// HRNet's pyramid.
#[derive(Debug)]
pub struct HrFpn {
    reduction_conv: ConvNormAct,
    fpn_convs: Vec<ConvNormAct>,
    max: bool,
    features: Vec<Feature>,
    size_divisor: usize,
}

impl HrFpn {
    fn read(node: &Node, inputs: Features, build: &Build) -> Result<Self, Diagnostics> {
        let config: HrFpnConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "with_cp", "init_cfg"])?;
        let channels = inputs.channels("HRFPN", node, config.in_channels.as_ref())?;
        let strides: Vec<_> = inputs.list.iter().map(|f| f.stride).collect();
        let halves = |pair: &[usize]| pair[1] == 2 * pair[0];
        if strides.is_empty() || !strides.windows(2).all(halves) {
            let backbone = inputs.of;
            let message = format!(
                "`HRFPN` joins levels of which each is half the one before; backbone `{backbone}` gives strides {strides:?}"
            );
            let error = Diagnostic::error(message).at(&node.origin, "");
            let error = error.at(inputs.origin, "the backbone");
            return Err(vec![
                error.help("the backbone's `out_indices` say which levels it gives"),
            ]);
        }
        let out = config.out_channels.get();
        // The original takes a `norm_cfg` and has no norms.
        let style = ConvStyle::read(node, ConvStyle::default(), &[])?.bare();
        let params = &build.params;
        build.initial(node, |at| {
            let caffe2 = Init::Kaiming {
                gain: 1.0,
                fan: Fan::In,
                distribution: Distribution::Uniform,
            };
            at.initialise(InitRule::of(&["Conv2d"], caffe2));
        });
        let alone = ConvStyle {
            initialises: true,
            ..style.clone()
        };
        let reduction_conv = alone.module(
            ConvConfig::new(channels.iter().sum(), out, 1),
            &params.at("reduction_conv"),
        );
        let step = config.stride.map_or(1, Pixels::get);
        let outs = config.num_outs.map_or(5, Levels::get);
        let conv = |i: usize| {
            let conv = ConvConfig::new(out, out, 3).stride(step).pad(1);
            style.module(conv, &params.at("fpn_convs").at(i))
        };
        let feature = |i: usize| Feature {
            channels: out,
            stride: (strides[0] * step) << i,
        };
        Ok(Self {
            reduction_conv,
            fpn_convs: (0..outs).map(conv).collect(),
            max: config.pooling_type.as_deref() == Some("MAX"),
            features: (0..outs).map(feature).collect(),
            size_divisor: strides[strides.len() - 1],
        })
    }

    /// The mean or the largest number of each square. One of a map that is smaller, on which the original fails.
    fn pool(&self, x: Tensor<4>, side: usize) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let side = side.min(h).min(w);
        if self.max {
            return max_pool2d(x, side, side, 0);
        }
        avg_pool2d(x, AvgPoolOptions::new([side; 2]).with_stride([side; 2]))
    }
}

impl Neck for HrFpn {
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let [_, _, h, w] = inputs[0].dims();
        let at_size = |x| resize(x, [h, w], Interpolation::Bilinear, false);
        let maps = inputs.into_iter().map(at_size).collect();
        let joined = self.reduction_conv.forward(Tensor::cat(maps, 1));
        let level = |(i, conv): (usize, &ConvNormAct)| {
            let x = match i {
                0 => joined.clone(),
                i => self.pool(joined.clone(), 1 << i),
            };
            conv.forward(x)
        };
        self.fpn_convs.iter().enumerate().map(level).collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn size_divisor(&self) -> usize {
        self.size_divisor
    }
}

#[cfg(test)]
mod tests {
    use crate::layers::Mode;
    use crate::necks::made;

    #[test]
    fn mistakes_are_explained() {
        for (features, part) in [
            (&[(4, 4), (8, 16)][..], "gives strides [4, 16]"),
            (&[(4, 4)], "has 2 `in_channels`"),
        ] {
            let text = "dict(type='HRFPN', in_channels=[4, 8], out_channels=8)";
            let message = made(text, features, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
