//! timm's Swin (Liu et al. 2021, arXiv 2103.14030), Swin-S3 (Chen et al. 2021, arXiv 2111.14725) and Swin V2 (Liu et al. 2022, arXiv
//! 2111.09883).
//!
//! With `features_only` a map after each stage, without a norm; else the last one after a norm. timm hands its maps on with their channels
//! last, which no neck of MMDetection's takes; ours are `[N, C, H, W]` as all backbones' are. Windows are those for pictures of `img_size`, which
//! timm demands and ours does not.

use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::options::rate;
use crate::backbones::swin::{BlockPlan, Names, Norms, Plan, StagePlan, SwinTransformer};
use crate::backbones::tokens::{
    NARROW, OneOrEach, PatchEmbedConfig, PatchMergingConfig, PictureSize, WindowSide, check_width,
    drop_path_rates, sides,
};
use crate::backbones::{Backbone, Feature};
use crate::config::{Bounded, Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, Init, InitRule, NormConfig, Padding, Params, Position,
    WindowAttentionConfig, Windows,
};
use crate::limits::List;

/// The keys of both.
#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<PictureSize>,
    window_size: Option<OneOrEach<WindowSide>>,
    mlp_ratio: Option<f64>,
    qkv_bias: Option<bool>,
    proj_drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    /// Of V2.
    pretrained_window_sizes: Option<List<Bounded<0, 64>>>,
}

/// Which of the two, and what its name says.
struct Variant {
    two: bool,
    channels: usize,
    depths: [usize; 4],
    windows: [usize; 4],
    picture: usize,
    /// Windows that V2's network of distances was trained with, 0 for the same.
    trained: [usize; 4],
}

const PATCH: usize = 4;
/// Channels of a head.
const HEAD: usize = 32;

/// Name, channels, blocks of the third stage, windows, picture.
type Row = (&'static str, usize, usize, [usize; 4], usize);

const ONE: [Row; 9] = [
    ("swin_tiny_patch4_window7_224", 96, 6, [7; 4], 224),
    ("swin_small_patch4_window7_224", 96, 18, [7; 4], 224),
    ("swin_base_patch4_window7_224", 128, 18, [7; 4], 224),
    ("swin_base_patch4_window12_384", 128, 18, [12; 4], 384),
    ("swin_large_patch4_window7_224", 192, 18, [7; 4], 224),
    ("swin_large_patch4_window12_384", 192, 18, [12; 4], 384),
    ("swin_s3_tiny_224", 96, 6, [7, 7, 14, 7], 224),
    ("swin_s3_small_224", 96, 18, [14, 14, 14, 7], 224),
    ("swin_s3_base_224", 96, 30, [7, 7, 14, 7], 224),
];
const TWO: [Row; 12] = [
    ("swinv2_tiny_window8_256", 96, 6, [8; 4], 256),
    ("swinv2_tiny_window16_256", 96, 6, [16; 4], 256),
    ("swinv2_small_window8_256", 96, 18, [8; 4], 256),
    ("swinv2_small_window16_256", 96, 18, [16; 4], 256),
    ("swinv2_base_window8_256", 128, 18, [8; 4], 256),
    ("swinv2_base_window16_256", 128, 18, [16; 4], 256),
    ("swinv2_base_window12_192", 128, 18, [12; 4], 192),
    ("swinv2_base_window12to16_192to256", 128, 18, [16; 4], 256),
    ("swinv2_base_window12to24_192to384", 128, 18, [24; 4], 384),
    ("swinv2_large_window12_192", 192, 18, [12; 4], 192),
    ("swinv2_large_window12to16_192to256", 192, 18, [16; 4], 256),
    ("swinv2_large_window12to24_192to384", 192, 18, [24; 4], 384),
];
pub(super) fn names() -> Vec<String> {
    let rows = ONE.iter().chain(&TWO);
    rows.map(|row| row.0.to_string()).collect()
}

fn variant(name: &str) -> Option<Variant> {
    let two = TWO.iter().find(|row| row.0 == name);
    let &(name, channels, third, windows, picture) =
        two.or_else(|| ONE.iter().find(|row| row.0 == name))?;
    Some(Variant {
        two: two.is_some(),
        channels,
        depths: [2, 2, third, 2],
        windows,
        picture,
        trained: if name.contains("12to") {
            [12, 12, 12, 6]
        } else {
            [0; 4]
        },
    })
}

const NAMES: Names = Names {
    attention: "attn",
    mlp: ["mlp.fc1", "mlp.fc2"],
};

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked.node.read_knowing(COMMON)?;
    let variant = variant(&asked.name).expect("the family knows its names");
    let plan = keys.plan(asked, &variant)?;
    let params = &asked.params;
    params.initialise_built(InitRule::of(&["Linear"], NARROW));
    for stage in &plan.stages {
        let at = params.at(&stage.name);
        if let Some(i) = stage.name.strip_prefix("layers_") {
            at.once_called(&format!("layers.{i}"));
        }
        if variant.two {
            begin_as_identity(stage.blocks.len(), &at);
        }
    }
    let backbone = SwinTransformer::new(&plan, params);
    params.built();
    Ok(Box::new(backbone))
}

/// V2's blocks add nothing at first.
fn begin_as_identity(blocks: usize, stage: &Params) {
    for i in 0..blocks {
        for norm in ["norm1", "norm2"] {
            let at = stage.at("blocks").at(i).at(norm);
            at.initialise_built(InitRule::all(Init::Constant(0.0), 0.0));
        }
    }
}

impl Keys {
    fn plan(&self, asked: &Asked, variant: &Variant) -> Result<Plan, Diagnostics> {
        let node = asked.node;
        if self.pretrained_window_sizes.is_some() && !variant.two {
            let message = "the key `pretrained_window_sizes` is Swin V2's";
            return Err(error_at(node, "pretrained_window_sizes", message, ""));
        }
        let picture = sides(node, "img_size", self.img_size.as_ref(), variant.picture)?;
        let mut map = picture.map(|side| side / PATCH);
        if map.iter().any(|side| *side < 8) {
            let message = "a picture for four stages has sides of at least 32 px";
            return Err(error_at(node, "img_size", message, ""));
        }
        let most = node
            .get("drop_path_rate")
            .map_or(0.1, |_| asked.drop_path_rate);
        let rates = drop_path_rates(most, &variant.depths);
        let norm = NormConfig::layer(1e-5);
        let mut stages = Vec::new();
        for (i, rates) in rates.iter().enumerate() {
            let channels = variant.channels << i;
            if i > 0 {
                map = map.map(|side| side / 2);
            }
            let block = self.block(asked, variant, i, map)?;
            let blocks = rates.iter().enumerate().map(|(j, rate)| {
                let mut block = block.clone();
                if j % 2 == 0 {
                    block.windows.shift = [0, 0];
                }
                block.drop_path_rate = *rate;
                block
            });
            let before = (i > 0).then(|| PatchMergingConfig {
                norm_last: variant.two,
                norm_listed_first: !variant.two,
                places_last: false,
                ..PatchMergingConfig::new([channels / 2, channels], Some(norm.clone()))
            });
            let joint = if asked.features_only { '_' } else { '.' };
            stages.push(StagePlan {
                name: format!("layers{joint}{i}"),
                before,
                blocks: blocks.collect(),
                after: None,
                after_is_output: false,
                feature: Feature {
                    channels,
                    stride: PATCH << i,
                },
            });
        }
        let outputs: Vec<_> = if asked.features_only {
            let features: Vec<_> = stages.iter().map(|stage| stage.feature).collect();
            let wanted = asked.wanted_or(&features, Some(&[0, 1, 2, 3]))?;
            stages.truncate(wanted.last().map_or(0, |last| last + 1));
            wanted.into_iter().map(|i| (i, None)).collect()
        } else {
            vec![(stages.len() - 1, Some(("norm".to_string(), norm.clone())))]
        };
        let conv = ConvConfig::new(asked.channels_in, variant.channels, PATCH)
            .stride(PATCH)
            .padding(Padding::Corner);
        Ok(Plan {
            names: &NAMES,
            channels_in: asked.channels_in,
            embed: PatchEmbedConfig {
                conv,
                channels_out: variant.channels,
                norm: Some(norm),
                projection: "proj",
            },
            position: None,
            dropout: 0.0,
            stages,
            outputs,
            frozen: Vec::new(),
        })
    }

    /// The blocks of stage `i` that shift, for maps of this size.
    fn block(
        &self,
        asked: &Asked,
        variant: &Variant,
        i: usize,
        map: [usize; 2],
    ) -> Result<BlockPlan, Diagnostics> {
        let node = asked.node;
        let wanted = match &self.window_size {
            None => [variant.windows[i]; 2],
            Some(OneOrEach::One(side)) => [side.get(); 2],
            Some(OneOrEach::Each(list)) => match list.numbers()[..] {
                [height, width] => [height, width],
                [a, b, c, d] if !variant.two => [[a, b, c, d][i]; 2],
                _ => {
                    let message = "`window_size` is a number, a height and a width, or for Swin V1 one number for each of four stages";
                    return Err(error_at(node, "window_size", message, ""));
                }
            },
        };
        // A window as large as the map, or larger, is the map, which does not shift.
        let size = [0, 1].map(|axis| wanted[axis].min(map[axis]));
        let shift = [0, 1].map(|axis| match map[axis] <= size[axis] {
            true => 0,
            false => wanted[axis] / 2,
        });
        let channels = variant.channels << i;
        let hidden = (channels as f64 * self.mlp_ratio.unwrap_or(4.0)) as usize;
        check_width(
            node,
            "mlp_ratio",
            [channels, hidden.max(1), channels / HEAD],
        )?;
        let trained = self.pretrained_window_sizes.as_ref();
        let trained = match trained.map(|sizes| sizes.get(i)) {
            None => variant.trained[i],
            Some(Some(side)) => side.get(),
            Some(None) => {
                let message = "`pretrained_window_sizes` has one number for each of four stages";
                return Err(error_at(node, "pretrained_window_sizes", message, ""));
            }
        };
        let dropout = rate(node, "proj_drop_rate", self.proj_drop_rate)?;
        let position = match (variant.two, trained) {
            (false, _) => Position::Table(NARROW),
            (true, 0) => Position::Continuous { trained: size },
            (true, side) => Position::Continuous { trained: [side; 2] },
        };
        Ok(BlockPlan {
            attention: WindowAttentionConfig {
                channels,
                heads: channels / HEAD,
                window: size,
                qkv_bias: self.qkv_bias.unwrap_or(true),
                scale: None,
                dropouts: [rate(node, "attn_drop_rate", self.attn_drop_rate)?, dropout],
                position,
                lists_buffers: false,
            },
            windows: Windows {
                size,
                shift,
                rolled_first: true,
            },
            shift_if_larger: false,
            hidden: hidden.max(1),
            act: Activation::Gelu,
            dropout,
            drop_path_rate: 0.0,
            norm: NormConfig::layer(1e-5),
            norms: if variant.two {
                Norms::After
            } else {
                Norms::Before
            },
            extra_norm: false,
        })
    }
}
