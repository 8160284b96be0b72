//! Pyramid vision transformers: PVT (Wang et al. 2021, arXiv 2102.12122) and PVTv2 (Wang et al. 2022, arXiv 2106.13797) of MMDetection and
//! timm, Twins' PCPVT and SVT (Chu et al. 2021, arXiv 2104.13840) of MMPretrain. One model: stages of patches of the map before, whose
//! tokens attend to a smaller map, and in SVT by turns to those of their window.
//!
//! Shapes: stage i gives `[N, embed_dims[i], H / strides[..=i], W / ...]`.

mod block;
mod mmdet;
mod twins;

pub(super) use block::{BlockPlan, Library, Reach, begin};
pub(super) use mmdet::{build, build_v2};
pub(super) use twins::{build_pcpvt, build_svt};

use burn::tensor::Tensor;

use self::block::Block;
use super::tokens::{NARROW, PatchEmbed, PatchEmbedConfig, PositionEmbedding, conv_on_tokens};
use super::{Backbone, Feature};
use crate::layers::{ConvConfig, ConvNormAct, Dropout, Norm, NormConfig, Params};
use crate::ops::resize::Interpolation;

/// All layers in numbers that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) library: Library,
    pub(super) channels_in: usize,
    pub(super) stages: Vec<StagePlan>,
    /// Share of the tokens' numbers that are left out before the blocks.
    pub(super) dropout: f64,
    /// Stages that give a map, in order.
    pub(super) outputs: Vec<usize>,
    /// Whether convolutions begin as the paper's do.
    pub(super) initialised: bool,
}

#[derive(Debug)]
pub(super) struct StagePlan {
    /// timm's name of the stage.
    pub(super) name: String,
    pub(super) embed: PatchEmbedConfig,
    /// Grid of an absolute embedding of positions.
    pub(super) position: Option<[usize; 2]>,
    /// Whether a convolution after the first block tells tokens where they are (Twins).
    pub(super) conditional: bool,
    pub(super) blocks: Vec<BlockPlan>,
    pub(super) norm: Option<NormConfig>,
    pub(super) feature: Feature,
}

/// PVT, PVTv2, PCPVT and SVT.
#[derive(Debug)]
pub struct PyramidVisionTransformer {
    stages: Vec<Stage>,
    outputs: Vec<usize>,
    features: Vec<Feature>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    embed: PatchEmbed,
    position: Option<PositionEmbedding>,
    dropout: Option<Dropout>,
    blocks: Vec<Block>,
    /// After the first block.
    conditional: Option<ConvNormAct>,
    norm: Option<Norm>,
}

impl PyramidVisionTransformer {
    pub(super) fn new(plan: &Plan, params: &Params) -> Self {
        let stages = match plan.library {
            Library::Mmdet => plan.as_mmdets(params),
            Library::Mmpretrain => plan.as_twins(params),
            Library::Timm => plan.as_timms(params),
        };
        let feature = |i: &usize| plan.stages[*i].feature;
        Self {
            stages,
            features: plan.outputs.iter().map(feature).collect(),
            outputs: plan.outputs.clone(),
            channels_in: plan.channels_in,
        }
    }
}

impl Plan {
    fn embed(&self, stage: &StagePlan, at: &Params) -> PatchEmbed {
        let conv = at.at(stage.embed.projection);
        begin(self.library, self.initialised, &stage.embed.conv, &conv);
        stage.embed.init(at)
    }

    /// Blocks from `first` on.
    fn blocks(stage: &StagePlan, first: usize, at: &Params) -> Vec<Block> {
        let blocks = stage.blocks.iter().enumerate();
        blocks
            .map(|(i, block)| block.init(&at.at(first + i)))
            .collect()
    }

    fn norm(stage: &StagePlan, at: &Params) -> Option<Norm> {
        let norm = stage.norm.as_ref();
        norm.map(|norm| norm.init(stage.feature.channels, at))
    }

    fn as_mmdets(&self, params: &Params) -> Vec<Stage> {
        let stage = |(i, stage): (usize, &StagePlan)| {
            let at = params.at("layers").at(i);
            let embed = self.embed(stage, &at.at(0));
            let blocks = at.at(1);
            let channels = stage.feature.channels;
            let position = stage.position.map(|grid| {
                let (at, how) = (blocks.at(0), Interpolation::Bilinear);
                PositionEmbedding::new("pos_embed", grid, channels, how, NARROW, &at)
            });
            let first = usize::from(position.is_some());
            Stage {
                embed,
                dropout: position
                    .is_some()
                    .then(|| Dropout::new(self.dropout, &blocks.at("0.drop")))
                    .flatten(),
                position,
                blocks: Self::blocks(stage, first, &blocks),
                conditional: None,
                norm: Self::norm(stage, &at.at(2)),
            }
        };
        self.stages.iter().enumerate().map(stage).collect()
    }

    fn as_twins(&self, params: &Params) -> Vec<Stage> {
        let stages = || self.stages.iter().enumerate();
        let embeds = params.at("patch_embeds");
        let embeds: Vec<_> = stages()
            .map(|(i, stage)| self.embed(stage, &embeds.at(i)))
            .collect();
        let blocks = params.at("stages");
        let blocks: Vec<_> = stages()
            .map(|(i, stage)| Self::blocks(stage, 0, &blocks.at(i)))
            .collect();
        let encodings = params.at("position_encodings");
        let encodings: Vec<_> = stages()
            .map(|(i, stage)| {
                let at = encodings.at(i).at("proj");
                let channels = stage.feature.channels;
                let conv = ConvConfig::new(channels, channels, 3)
                    .pad(1)
                    .groups(channels);
                begin(self.library, self.initialised, &conv, &at);
                conv.bias(true).init(&at, None)
            })
            .collect();
        let norms: Vec<_> = stages()
            .map(|(i, stage)| Self::norm(stage, &params.at(format!("norm_after_stage{i}"))))
            .collect();
        let drops = params.at("position_encoding_drops");
        let parts = embeds.into_iter().zip(blocks).zip(encodings).zip(norms);
        parts
            .enumerate()
            .map(|(i, (((embed, blocks), encoding), norm))| Stage {
                embed,
                position: None,
                dropout: Dropout::new(self.dropout, &drops.at(i)),
                blocks,
                conditional: self.stages[i].conditional.then_some(encoding),
                norm,
            })
            .collect()
    }

    fn as_timms(&self, params: &Params) -> Vec<Stage> {
        let stage = |(i, stage): (usize, &StagePlan)| {
            let at = params.at(&stage.name);
            let embed = match i {
                0 => self.embed(stage, &params.at("patch_embed")),
                _ => self.embed(stage, &at.at("downsample")),
            };
            Stage {
                embed,
                position: None,
                dropout: None,
                blocks: Self::blocks(stage, 0, &at.at("blocks")),
                conditional: None,
                norm: Self::norm(stage, &at.at("norm")),
            }
        };
        self.stages.iter().enumerate().map(stage).collect()
    }
}

impl Backbone for PyramidVisionTransformer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = x;
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            if self.outputs.last().is_none_or(|last| i > *last) {
                break; // nothing after the last output keeps statistics
            }
            x = stage.forward(x).permute([0, 3, 1, 2]);
            if self.outputs.contains(&i) {
                maps.push(x.clone());
            }
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

impl Stage {
    /// # Shapes
    /// - input `[B, C, H, W]`, output `[B, H', W', C']`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.embed.forward(x);
        if let Some(position) = &self.position {
            x = position.add(x);
        }
        x = Dropout::apply(&self.dropout, x);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if let (0, Some(conv)) = (i, &self.conditional) {
                x = x.clone() + conv_on_tokens(conv, x);
            }
        }
        match &self.norm {
            Some(norm) => norm.forward_tokens(x),
            None => x,
        }
    }
}
