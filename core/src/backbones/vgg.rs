//! VGG (Simonyan and Zisserman 2015, arXiv 1409.1556) as MMPretrain 1.2.0 builds it, and MMDetection 3.3.0's `SSDVGG`, whose fully connected
//! layers became convolutions (Liu et al. 2016, arXiv 1512.02325, section 3).
//!
//! Shapes: stage i gives `[N, 64 * 2^i, H / 2^(i + 1), ..]`, the last of five as many channels as the fourth.

use serde::Deserialize;

use super::Backbone;
use super::plain_chain::{PlainChain, Pool};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, Params};
use crate::limits::{Index, List, Pixels};

/// Convolutions of each stage; the depth counts three fully connected layers too.
pub(super) fn stages(depth: usize) -> Option<[usize; 5]> {
    match depth {
        11 => Some([1, 1, 2, 2, 2]),
        13 => Some([2, 2, 2, 2, 2]),
        16 => Some([2, 2, 3, 3, 3]),
        19 => Some([2, 2, 4, 4, 4]),
        _ => None,
    }
}

/// Of each stage.
pub(super) const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// The keys of `type='mmpretrain.VGG'`.
#[derive(Debug, Deserialize)]
struct VggConfig {
    depth: Index,
    num_classes: Option<i64>,
    num_stages: Option<Bounded<1, 5>>,
    dilations: Option<List<Pixels>>,
    out_indices: Option<List<Index>>,
    frozen_stages: Option<i64>,
    norm_eval: Option<bool>,
    ceil_mode: Option<bool>,
    with_last_pool: Option<bool>,
}

/// The keys of `type='SSDVGG'`.
#[derive(Debug, Deserialize)]
struct SsdConfig {
    depth: Index,
    with_last_pool: Option<bool>,
    ceil_mode: Option<bool>,
    out_indices: Option<List<Index>>,
    out_feature_indices: Option<List<Index>>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: VggConfig = node.read_knowing(&["conv_cfg", "norm_cfg", "act_cfg", "init_cfg"])?;
    let plan = config.plan(node)?;
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        at.initialise(InitRule::of(&["_BatchNorm"], Init::Constant(1.0)));
    });
    Ok(Box::new(plan.build(&build.params)))
}

pub(super) fn build_ssd(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    // What SSDVGG once did and no longer does.
    let config: SsdConfig = node.read_knowing(&["input_size", "l2_norm_scale", "init_cfg"])?;
    let blocks = config.blocks(node)?;
    let given = node.get("init_cfg").is_some_and(|init| !init.is_none());
    match &config.pretrained {
        Some(_) if given => {
            let message = "`init_cfg` and `pretrained` cannot be said at the same time";
            return Err(error_at(node, "pretrained", message, ""));
        }
        Some(name) if build.wants_weights() => {
            build.pretrained(node, name, None, &build.params)?;
        }
        None if !given => {
            let params = &build.params;
            params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        }
        _ => {}
    }
    Ok(Box::new(config.chain(node, blocks, &build.params)?))
}

fn no_depth(node: &Node, depth: usize) -> Diagnostics {
    let message = format!("VGG has no depth {depth}");
    error_at(node, "depth", message, "known are 11, 13, 16, 19")
}

/// MMPretrain's VGG in numbers that were checked.
struct Plan {
    style: ConvStyle,
    /// Convolutions of each stage, and their dilation.
    stages: Vec<(usize, usize)>,
    out_indices: Vec<usize>,
    frozen_stages: usize,
    norm_eval: bool,
    ceil: bool,
    last_pool: bool,
}

impl VggConfig {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        let depth = self.depth.get();
        let Some(blocks) = stages(depth) else {
            return Err(no_depth(node, depth));
        };
        if self.num_classes.is_some_and(|n| n > 0) {
            let message = "VGG with `num_classes` gives scores, which no neck takes";
            return Err(unsupported(node, "num_classes", message, "leave it out"));
        }
        let count = self.num_stages.map_or(5, Bounded::get);
        let dilations = self.dilations.as_ref();
        let dilations = dilations.map_or_else(|| vec![1; 5], List::numbers);
        if dilations.len() != count {
            let message = format!(
                "`dilations` has {} entries for {count} stages",
                dilations.len()
            );
            return fail("dilations", message);
        }
        let out_indices = self.out_indices.as_ref();
        let out_indices = out_indices.map_or_else(|| vec![4], List::numbers);
        if let Some(i) = out_indices.iter().find(|i| **i >= count) {
            let message = format!("`out_indices` names stage {i}; there are {count}, from 0");
            return fail("out_indices", message);
        }
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} stages");
            return fail("frozen_stages", message);
        }
        let defaults = ConvStyle {
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        Ok(Plan {
            style: ConvStyle::read(node, defaults, &CHANNELS[..count])?,
            stages: blocks.into_iter().zip(dilations).collect(),
            out_indices,
            frozen_stages: usize::try_from(frozen_stages).unwrap_or(0),
            norm_eval: self.norm_eval.unwrap_or(false),
            ceil: self.ceil_mode.unwrap_or(false),
            last_pool: self.with_last_pool.unwrap_or(true),
        })
    }
}

impl Plan {
    /// `features.0`, `.1`, ..: convolutions with norm and activation, poolings.
    fn build(&self, params: &Params) -> PlainChain {
        let mut chain = PlainChain::new(3);
        let mut index = 0;
        for (i, (count, dilation)) in self.stages.iter().enumerate() {
            for _ in 0..*count {
                let conv = three(chain.channels(), CHANNELS[i], *dilation);
                let at = params.at(format!("features.{index}"));
                let layer = self.style.module(conv.bias(true), &at);
                chain.convolution(layer, CHANNELS[i], 1);
                if i < self.frozen_stages {
                    at.freeze();
                }
                index += 1;
            }
            if self.last_pool || i + 1 < self.stages.len() {
                chain.pool(Pool::halving(self.ceil));
                index += 1;
            }
            if self.out_indices.contains(&i) {
                chain.give();
            }
        }
        if self.norm_eval {
            params.evaluate();
        }
        chain
    }
}

/// A 3x3 convolution that keeps the size.
pub(super) fn three(channels_in: usize, channels_out: usize, dilation: usize) -> ConvConfig {
    ConvConfig::new(channels_in, channels_out, 3)
        .pad(dilation)
        .dilation(dilation)
}

impl SsdConfig {
    fn blocks(&self, node: &Node) -> Result<[usize; 5], Diagnostics> {
        let depth = self.depth.get();
        let Some(blocks) = stages(depth) else {
            return Err(no_depth(node, depth));
        };
        // They mean nothing more.
        let stages = self.out_indices.as_ref();
        let stages = stages.map_or_else(Vec::new, List::numbers);
        if let Some(i) = stages.iter().find(|i| **i > 5) {
            let message = format!("`out_indices` names stage {i}; there are 5");
            return Err(error_at(node, "out_indices", message, ""));
        }
        Ok(blocks)
    }

    /// `features.0`, `.2`, ..: `out_feature_indices` counts convolutions, activations and poolings. An activation is in place, so that a
    /// convolution's map is its activation's.
    fn chain(
        &self,
        node: &Node,
        blocks: [usize; 5],
        params: &Params,
    ) -> Result<PlainChain, Diagnostics> {
        let wanted = self.out_feature_indices.as_ref();
        let wanted = wanted.map_or_else(|| vec![22, 34], List::numbers);
        let mut chain = PlainChain::new(3);
        let mut index = 0;
        let convolution =
            |chain: &mut PlainChain, conv: ConvConfig, channels, index: &mut usize| {
                let layer: ConvNormAct = conv
                    .bias(true)
                    .act(Some(Activation::Relu))
                    .init(&params.at(format!("features.{index}")), None);
                chain.convolution(layer, channels, 1);
                for _ in 0..2 {
                    if wanted.contains(index) {
                        chain.give();
                    }
                    *index += 1;
                }
            };
        let pool = |chain: &mut PlainChain, pool, index: &mut usize| {
            chain.pool(pool);
            if wanted.contains(index) {
                chain.give();
            }
            *index += 1;
        };
        for (i, count) in blocks.into_iter().enumerate() {
            for _ in 0..count {
                let conv = three(chain.channels(), CHANNELS[i], 1);
                convolution(&mut chain, conv, CHANNELS[i], &mut index);
            }
            if i < 4 || self.with_last_pool.unwrap_or(false) {
                let halving = Pool::halving(self.ceil_mode.unwrap_or(true));
                pool(&mut chain, halving, &mut index);
            }
        }
        let keeping = Pool {
            kernel: 3,
            stride: 1,
            padding: 1,
            ceil: false,
        };
        pool(&mut chain, keeping, &mut index);
        let sixth = three(chain.channels(), 1024, 6);
        convolution(&mut chain, sixth, 1024, &mut index);
        let seventh = ConvConfig::new(1024, 1024, 1);
        convolution(&mut chain, seventh, 1024, &mut index);
        if let Some(i) = wanted.iter().find(|i| **i >= index) {
            let message = format!("`out_feature_indices` names layer {i}; there are {index}");
            return Err(error_at(node, "out_feature_indices", message, ""));
        }
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("type='mmpretrain.VGG', depth=12", "VGG has no depth 12"),
            (
                "type='mmpretrain.VGG', depth=11, num_classes=10",
                "gives scores",
            ),
            (
                "type='mmpretrain.VGG', depth=11, num_stages=4",
                "`dilations` has 5 entries for 4",
            ),
            (
                "type='mmpretrain.VGG', depth=11, num_stages=6",
                "num_stages",
            ),
            (
                "type='mmpretrain.VGG', depth=11, out_indices=(5,)",
                "names stage 5",
            ),
            (
                "type='mmpretrain.VGG', depth=11, frozen_stages=6",
                "there are 5 stages",
            ),
            (
                "type='SSDVGG', depth=11, out_feature_indices=(90,)",
                "names layer 90",
            ),
            ("type='SSDVGG', depth=9", "VGG has no depth 9"),
        ] {
            let text = format!("dict({text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
