//! Swin Transformer (Liu et al. 2021, arXiv 2103.14030) and Swin V2 (Liu et al. 2022, arXiv 2111.09883): attention within windows, which
//! every other block shifts, in stages that merge their tokens two by two. One model for MMDetection's, MMPretrain's and timm's, which
//! differ in names, in the order of their parts and in the order of merged channels.
//!
//! Shapes: stage i gives `[N, embed_dims * 2^i, H / (4 * 2^i), W / ...]`.
//!
//! Where the original refuses a map (smaller than a window without `pad_small_map`, another size than timm's `img_size`, or than a
//! `use_abs_pos_embed` of MMDetection's was made for) ours pads it, or resizes the embedding.

mod mmdet;
mod mmpretrain;

pub(super) use mmdet::build;
pub(super) use mmpretrain::{build as build_pretrain, build_v2};

use burn::tensor::Tensor;

use super::tokens::{
    PatchEmbed, PatchEmbedConfig, PatchMerging, PatchMergingConfig, PositionEmbedding,
};
use super::{Backbone, Feature};
use crate::layers::{
    Activation, DropPath, Dropout, Mlp, Norm, NormConfig, Params, WindowAttention,
    WindowAttentionConfig, Windows,
};
use crate::ops::resize::Interpolation;

/// What the original calls the parts of a block.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) attention: &'static str,
    pub(super) mlp: [&'static str; 2],
}

/// Of MMDetection's and MMPretrain's.
const MMCV: Names = Names {
    attention: "attn.w_msa",
    mlp: ["ffn.layers.0.0", "ffn.layers.1"],
};

/// All layers in numbers that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) names: &'static Names,
    pub(super) channels_in: usize,
    pub(super) embed: PatchEmbedConfig,
    /// The absolute embedding's grid.
    pub(super) position: Option<([usize; 2], Interpolation)>,
    /// Share of the tokens' numbers that are left out before the first stage.
    pub(super) dropout: f64,
    pub(super) stages: Vec<StagePlan>,
    /// Stages after which there is a map, and the norms before it with their names, in the state dict's order.
    pub(super) outputs: Vec<(usize, Option<(String, NormConfig)>)>,
    /// Places that are frozen.
    pub(super) frozen: Vec<String>,
}

#[derive(Debug)]
pub(super) struct StagePlan {
    pub(super) name: String,
    /// Merges tokens before the blocks.
    pub(super) before: Option<PatchMergingConfig>,
    pub(super) blocks: Vec<BlockPlan>,
    /// Merges tokens after the blocks.
    pub(super) after: Option<PatchMergingConfig>,
    /// What [`StagePlan::after`] gives is what the stage gives.
    pub(super) after_is_output: bool,
    /// What the stage gives.
    pub(super) feature: Feature,
}

/// Where a block's norms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norms {
    /// Before the attention and the two layers.
    Before,
    /// After them, and after their branches were left out while learning (MMPretrain's V2).
    AfterDropped,
    /// After them, before their branches are left out (timm's V2).
    After,
}

#[derive(Clone, Debug)]
pub(super) struct BlockPlan {
    pub(super) attention: WindowAttentionConfig,
    pub(super) windows: Windows,
    /// Windows of a map that is as small as they are do not shift (MMPretrain, without `pad_small_map`).
    pub(super) shift_if_larger: bool,
    /// Channels between the two layers.
    pub(super) hidden: usize,
    pub(super) act: Activation,
    /// Share of the numbers of the two layers that are left out.
    pub(super) dropout: f64,
    pub(super) drop_path_rate: f64,
    pub(super) norm: NormConfig,
    pub(super) norms: Norms,
    /// A norm after all.
    pub(super) extra_norm: bool,
}

/// Swin and Swin V2.
#[derive(Debug)]
pub struct SwinTransformer {
    embed: PatchEmbed,
    position: Option<PositionEmbedding>,
    dropout: Option<Dropout>,
    stages: Vec<Stage>,
    /// For each stage that gives a map its norm.
    outputs: Vec<(usize, Option<Norm>)>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl SwinTransformer {
    pub(super) fn new(plan: &Plan, params: &Params) -> Self {
        let channels = plan.embed.channels_out;
        let position = plan.position.map(|(grid, how)| {
            let name = "absolute_pos_embed";
            PositionEmbedding::new(name, grid, channels, how, super::tokens::NARROW, params)
        });
        let embed = plan.embed.init(&params.at("patch_embed"));
        let dropout = Dropout::new(plan.dropout, &params.at("drop_after_pos"));
        let stages = plan.stages.iter();
        let stages = stages.map(|stage| Stage::new(stage, plan.names, &params.at(&stage.name)));
        let stages = stages.collect();
        let output = |(i, norm): &(usize, Option<(String, NormConfig)>)| {
            let channels = plan.stages[*i].feature.channels;
            let norm = norm.as_ref();
            let norm = norm.map(|(name, norm)| norm.init(channels, &params.at(name)));
            (*i, norm)
        };
        let mut outputs: Vec<_> = plan.outputs.iter().map(output).collect();
        outputs.sort_by_key(|(i, _)| *i);
        for place in &plan.frozen {
            params.at(place).freeze();
        }
        Self {
            embed,
            position,
            dropout,
            stages,
            features: outputs
                .iter()
                .map(|(i, _)| plan.stages[*i].feature)
                .collect(),
            outputs,
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for SwinTransformer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.embed.forward(x);
        if let Some(position) = &self.position {
            x = position.add(x);
        }
        x = Dropout::apply(&self.dropout, x);
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, stage) in self.stages.iter().enumerate() {
            // Nothing after the last output keeps statistics.
            let Some((next, _)) = outputs.peek() else {
                break;
            };
            let wanted = *next == i;
            let y = stage.forward(x);
            let merged = match &stage.after {
                Some(after) if stage.after_is_output || outputs.len() > usize::from(wanted) => {
                    after.forward(y.clone())
                }
                _ => y.clone(),
            };
            if wanted {
                let y = if stage.after_is_output {
                    merged.clone()
                } else {
                    y
                };
                let norm = outputs.next().and_then(|(_, norm)| norm.as_ref());
                let y = match norm {
                    Some(norm) => norm.forward_tokens(y),
                    None => y,
                };
                maps.push(y.permute([0, 3, 1, 2]));
            }
            x = merged;
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

#[derive(Debug)]
struct Stage {
    before: Option<PatchMerging>,
    blocks: Vec<Block>,
    after: Option<PatchMerging>,
    after_is_output: bool,
}

impl Stage {
    fn new(plan: &StagePlan, names: &Names, at: &Params) -> Self {
        let merging = |merging: &Option<PatchMergingConfig>| {
            let merging = merging.as_ref();
            merging.map(|merging| merging.init(&at.at("downsample")))
        };
        let before = merging(&plan.before);
        let blocks = plan.blocks.iter().enumerate();
        let blocks_at = at.at("blocks");
        let blocks = blocks.map(|(i, block)| Block::new(block, names, &blocks_at.at(i)));
        Self {
            before,
            blocks: blocks.collect(),
            after: merging(&plan.after),
            after_is_output: plan.after_is_output,
        }
    }

    /// Up to what merges tokens afterwards.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.before {
            Some(before) => before.forward(x),
            None => x,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// Attention in windows and two fully connected layers, each added to its input.
#[derive(Debug)]
struct Block {
    attention: WindowAttention,
    windows: Windows,
    shift_if_larger: bool,
    mlp: Mlp,
    norms: [Norm; 2],
    order: Norms,
    extra_norm: Option<Norm>,
    drop_paths: [Option<DropPath>; 2],
}

impl Block {
    fn new(plan: &BlockPlan, names: &Names, at: &Params) -> Self {
        let channels = plan.attention.channels;
        let norm = |name| plan.norm.init(channels, &at.at(name));
        let attention = || plan.attention.init(&at.at(names.attention));
        let mlp = || {
            let [first, last] = names.mlp.map(|name| at.at(name));
            let shape = [channels, plan.hidden, channels];
            Mlp::new(shape, plan.act, plan.dropout, [&first, &last])
        };
        let (attention, norm1, mlp, norm2) = match plan.norms {
            Norms::Before => {
                let norm1 = norm("norm1");
                let attention = attention();
                let norm2 = norm("norm2");
                (attention, norm1, mlp(), norm2)
            }
            Norms::AfterDropped | Norms::After => {
                let attention = attention();
                let norm1 = norm("norm1");
                let mlp = mlp();
                (attention, norm1, mlp, norm("norm2"))
            }
        };
        let drop_path = |name| DropPath::new(plan.drop_path_rate, &at.at(name));
        Self {
            attention,
            windows: plan.windows,
            shift_if_larger: plan.shift_if_larger,
            mlp,
            norms: [norm1, norm2],
            order: plan.norms,
            extra_norm: plan.extra_norm.then(|| norm("norm3")),
            drop_paths: ["drop_path1", "drop_path2"].map(drop_path),
        }
    }

    /// # Shapes
    /// - input and output: `[B, H, W, C]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.branch(0, x, |x| self.attend(x));
        let x = self.branch(1, x, |x| self.mlp.forward(x));
        match &self.extra_norm {
            Some(norm) => norm.forward_tokens(x),
            None => x,
        }
    }

    /// One of the two, its norm where it belongs, added to the input.
    fn branch(
        &self,
        i: usize,
        x: Tensor<4>,
        inner: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let norm = &self.norms[i];
        let drop = &self.drop_paths[i];
        let dropped = |y| match drop {
            Some(drop) => drop.forward(y),
            None => y,
        };
        let y = match self.order {
            Norms::Before => dropped(inner(norm.forward_tokens(x.clone()))),
            Norms::AfterDropped => norm.forward_tokens(dropped(inner(x.clone()))),
            Norms::After => dropped(norm.forward_tokens(inner(x.clone()))),
        };
        x + y
    }

    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let mut windows = self.windows;
        if self.shift_if_larger && h.min(w) == windows.size[0] {
            windows.shift = [0, 0];
        }
        windows.forward(x, |tokens, mask| self.attention.forward(tokens, mask))
    }
}
