//! timm's `swinv2_cr`: Swin V2 (Liu et al. 2022, arXiv 2111.09883) as C. Reich built it before its authors' code was there. Windows are a 32nd of
//! the picture, a network without bounds gives the bias of distances, and blocks begin as the identity.
//!
//! With `features_only` a map after each stage, else the last one alone. Windows are those for pictures of `img_size`, which timm demands and
//! ours does not.

use serde::Deserialize;

use super::{Asked, COMMON};
use crate::backbones::options::rate;
use crate::backbones::swin::{BlockPlan, Names, Norms, Plan, StagePlan, SwinTransformer};
use crate::backbones::tokens::{
    OneOrEach, PatchEmbedConfig, PatchMergingConfig, PictureSize, WindowSide, check_stages,
    check_width, drop_path_rates, sides,
};
use crate::backbones::{Backbone, Feature};
use crate::config::{Diagnostics, error_at};
use crate::layers::{
    Activation, ConvConfig, Init, InitRule, NormConfig, Padding, Position, WindowAttentionConfig,
    Windows,
};
use crate::limits::{Channels, Layers, List, Pixels};

#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<PictureSize>,
    window_size: Option<OneOrEach<WindowSide>>,
    img_window_ratio: Option<Pixels>,
    patch_size: Option<Pixels>,
    embed_dim: Option<Channels>,
    depths: Option<List<Layers>>,
    num_heads: Option<List<Channels>>,
    mlp_ratio: Option<f64>,
    proj_drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    extra_norm_period: Option<Layers>,
    extra_norm_stage: Option<bool>,
    weight_init: Option<String>,
    /// Saves memory in the original, which does nothing with it yet.
    #[serde(rename = "sequential_attn")]
    _sequential_attn: Option<bool>,
}

/// Name, channels, blocks of the third stage, heads of the first, blocks between extra norms (0 for none), picture.
type Row = (&'static str, usize, usize, usize, usize, usize);

/// `ns` in a name: a norm after each stage, and not after the last alone.
const ROWS: [Row; 16] = [
    ("swinv2_cr_tiny_224", 96, 6, 3, 0, 224),
    ("swinv2_cr_tiny_384", 96, 6, 3, 0, 384),
    ("swinv2_cr_tiny_ns_224", 96, 6, 3, 0, 224),
    ("swinv2_cr_small_224", 96, 18, 3, 0, 224),
    ("swinv2_cr_small_384", 96, 18, 3, 0, 384),
    ("swinv2_cr_small_ns_224", 96, 18, 3, 0, 224),
    ("swinv2_cr_small_ns_256", 96, 18, 3, 0, 256),
    ("swinv2_cr_base_224", 128, 18, 4, 0, 224),
    ("swinv2_cr_base_384", 128, 18, 4, 0, 384),
    ("swinv2_cr_base_ns_224", 128, 18, 4, 0, 224),
    ("swinv2_cr_large_224", 192, 18, 6, 0, 224),
    ("swinv2_cr_large_384", 192, 18, 6, 0, 384),
    ("swinv2_cr_huge_224", 352, 18, 8, 6, 224),
    ("swinv2_cr_huge_384", 352, 18, 11, 6, 384),
    ("swinv2_cr_giant_224", 512, 42, 16, 6, 224),
    ("swinv2_cr_giant_384", 512, 42, 16, 6, 384),
];

/// Channels of the network of distances.
const HIDDEN: usize = 384;
/// A side of a picture over that of a window.
const RATIO: usize = 32;
/// The largest side of a window, as [`WindowSide`] has it.
const MOST_WINDOW: usize = 64;

const NAMES: Names = Names {
    attention: "attn",
    mlp: ["mlp.fc1", "mlp.fc2"],
};

pub(super) fn names() -> Vec<String> {
    ROWS.iter().map(|row| row.0.to_string()).collect()
}

pub(super) fn build(asked: &Asked) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = asked
        .node
        .read_knowing(&[COMMON, &["init_values"]].concat())?;
    let row = ROWS.iter().find(|row| row.0 == asked.name);
    let plan = keys.plan(asked, row.expect("the family knows its names"))?;
    let params = &asked.params;
    let first = asked.node.get("init_values");
    // None leaves the norms at one.
    let first = first.map_or(Some(0.0), |value| value.as_float());
    for (i, stage) in plan.stages.iter().enumerate() {
        let at = params.at(&stage.name);
        if asked.features_only {
            at.once_called(&format!("stages.{i}"));
        }
        let norms = (0..stage.blocks.len())
            .flat_map(|j| ["norm1", "norm2"].map(|norm| at.at("blocks").at(j).at(norm)));
        for (norm, value) in norms.zip(std::iter::repeat(first)) {
            if let Some(value) = value {
                norm.initialise_built(InitRule::all(Init::Constant(value as f32), 0.0));
            }
        }
    }
    let backbone = SwinTransformer::new(&plan, params);
    params.built();
    Ok(Box::new(backbone))
}

impl Keys {
    fn plan(&self, asked: &Asked, row: &Row) -> Result<Plan, Diagnostics> {
        let &(name, channels, third, heads, period, picture) = row;
        let node = asked.node;
        if self.weight_init.as_deref().is_some_and(|w| w != "skip") {
            let message = "`weight_init` must be 'skip': PyTorch's own values";
            return Err(error_at(node, "weight_init", message, ""));
        }
        let patch = self.patch_size.map_or(4, Pixels::get);
        let channels = self.embed_dim.map_or(channels, Channels::get);
        let depths = self.depths.as_ref().map(List::numbers);
        let depths = depths.unwrap_or_else(|| vec![2, 2, third, 2]);
        let all_heads = self.num_heads.as_ref().map(List::numbers);
        let all_heads = all_heads.unwrap_or_else(|| (0..4).map(|i| heads << i).collect());
        check_stages(node, depths.len(), &[("num_heads", all_heads.len())])?;
        let picture = sides(node, "img_size", self.img_size.as_ref(), picture)?;
        let windows = self.windows(asked, picture)?;
        let extra = Extra {
            period: self.extra_norm_period.map_or(period, Layers::get),
            each_stage: self.extra_norm_stage.unwrap_or(name.contains("_ns_")),
        };
        let rates = drop_path_rates(asked.drop_path_rate, &depths);
        let norm = NormConfig::layer(1e-5);
        let mut stages = Vec::new();
        for (i, rates) in rates.iter().enumerate() {
            let map = picture.map(|side| (side / patch) >> i);
            if map.contains(&0) {
                let message = format!("a picture of {picture:?} px has no map after stage {i}");
                return Err(error_at(node, "img_size", message, ""));
            }
            let width = channels << i;
            let block = self.block(asked, width, all_heads[i], windows, map)?;
            let blocks = rates.iter().enumerate().map(|(j, rate)| {
                let mut block = block.clone();
                if j % 2 == 0 {
                    block.windows.shift = [0, 0];
                }
                block.drop_path_rate = *rate;
                block.extra_norm = extra.after(i, j, &depths);
                block
            });
            let before = (i > 0).then(|| PatchMergingConfig {
                places_last: false,
                ..PatchMergingConfig::new([width / 2, width], Some(norm.clone()))
            });
            let joint = if asked.features_only { '_' } else { '.' };
            stages.push(StagePlan {
                name: format!("stages{joint}{i}"),
                before,
                blocks: blocks.collect(),
                after: None,
                after_is_output: false,
                feature: Feature {
                    channels: width,
                    stride: patch << i,
                },
            });
        }
        let features: Vec<_> = stages.iter().map(|stage| stage.feature).collect();
        let wanted = asked.levels(&features)?;
        stages.truncate(wanted.last().map_or(0, |last| last + 1));
        let conv = ConvConfig::new(asked.channels_in, channels, patch)
            .stride(patch)
            .padding(Padding::Corner);
        Ok(Plan {
            names: &NAMES,
            channels_in: asked.channels_in,
            embed: PatchEmbedConfig {
                conv,
                channels_out: channels,
                norm: Some(norm),
                projection: "proj",
            },
            position: None,
            dropout: 0.0,
            stages,
            outputs: wanted.into_iter().map(|i| (i, None)).collect(),
            frozen: Vec::new(),
        })
    }

    /// Height and width of a window.
    fn windows(&self, asked: &Asked, picture: [usize; 2]) -> Result<[usize; 2], Diagnostics> {
        let ratio = self.img_window_ratio.map_or(RATIO, Pixels::get);
        let windows = match &self.window_size {
            None => picture.map(|side| side / ratio),
            Some(OneOrEach::One(side)) => [side.get(); 2],
            Some(OneOrEach::Each(list)) => match list.numbers()[..] {
                [height, width] => [height, width],
                _ => [0; 2],
            },
        };
        let most = MOST_WINDOW;
        if windows.iter().all(|side| (1..=most).contains(side)) {
            return Ok(windows);
        }
        let given = ["window_size", "img_window_ratio", "img_size"];
        let key = given.into_iter().find(|key| asked.node.get(key).is_some());
        let message = format!("windows of {windows:?} px; a side is from 1 to {most}");
        let help = "`window_size` is a number, or a height and a width; by default it is `img_size` over `img_window_ratio`";
        Err(error_at(
            asked.node,
            key.unwrap_or("model_name"),
            message,
            help,
        ))
    }

    /// The blocks of a stage that shift, for maps of this size.
    fn block(
        &self,
        asked: &Asked,
        channels: usize,
        heads: usize,
        windows: [usize; 2],
        map: [usize; 2],
    ) -> Result<BlockPlan, Diagnostics> {
        let node = asked.node;
        let hidden = ((channels as f64 * self.mlp_ratio.unwrap_or(4.0)) as usize).max(1);
        check_width(node, "mlp_ratio", [channels, hidden, 1])?;
        check_width(node, "num_heads", [channels, hidden, heads])?;
        // A window as large as the map, or larger, is the map, which does not shift.
        let size = [0, 1].map(|axis| windows[axis].min(map[axis]));
        let shift = [0, 1].map(|axis| match map[axis] <= size[axis] {
            true => 0,
            false => windows[axis] / 2,
        });
        let dropout = rate(node, "proj_drop_rate", self.proj_drop_rate)?;
        Ok(BlockPlan {
            attention: WindowAttentionConfig {
                channels,
                heads,
                window: size,
                qkv_bias: true,
                scale: None,
                dropouts: [rate(node, "attn_drop_rate", self.attn_drop_rate)?, dropout],
                position: Position::Network(HIDDEN),
                lists_buffers: false,
            },
            windows: Windows {
                size,
                shift,
                rolled_first: true,
            },
            shift_if_larger: false,
            hidden,
            act: Activation::Gelu,
            dropout,
            drop_path_rate: 0.0,
            norm: NormConfig::layer(1e-5),
            norms: Norms::After,
            extra_norm: false,
        })
    }
}

/// Which blocks end with a norm.
struct Extra {
    /// The last of so many; 0 for none.
    period: usize,
    /// The last of each stage, not of the last stage alone.
    each_stage: bool,
}

impl Extra {
    fn after(&self, stage: usize, block: usize, depths: &[usize]) -> bool {
        let of_period = self.period > 0 && (block + 1).is_multiple_of(self.period);
        let ends = self.each_stage || stage + 1 == depths.len();
        of_period || ends && block + 1 == depths[stage]
    }
}
