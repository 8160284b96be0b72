//! `type='mmpretrain.SwinTransformer'` and `type='mmpretrain.SwinTransformerV2'` as MMPretrain 1.2.0 reads them.

use serde::Deserialize;

use super::{BlockPlan, MMCV, Norms, Plan, StagePlan, SwinTransformer};
use crate::backbones::options::rate;
use crate::backbones::tokens::{
    NARROW, OneOrEach, PatchEmbedConfig, PatchMergingConfig, PatchPadding, PictureSize, WindowSide,
    activation, channels_in, check_frozen, check_out, check_stages, check_width, drop_path_rates,
    layer_norm, sides, some_layer_norm,
};
use crate::backbones::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, NormConfig, Padding, Position, WindowAttentionConfig, Windows,
};
use crate::limits::{Channels, Index, Layers, List, Pixels};
use crate::ops::resize::Interpolation;

/// The keys of both, absent ones at MMPretrain's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    arch: Option<Node>,
    img_size: Option<PictureSize>,
    patch_size: Option<Pixels>,
    in_channels: Option<Channels>,
    window_size: Option<OneOrEach<WindowSide>>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    out_indices: Option<List<Index>>,
    /// Of V1 only.
    out_after_downsample: Option<bool>,
    use_abs_pos_embed: Option<bool>,
    interpolate_mode: Option<String>,
    frozen_stages: Option<i64>,
    pad_small_map: Option<bool>,
    stage_cfgs: Option<Node>,
    patch_cfg: Option<Node>,
    /// Of V2 only.
    pretrained_window_sizes: Option<List<Bounded<0, 64>>>,
}

/// Keys that others read, or that are of memory and of batch norms only.
const OTHERS: &[&str] = &["norm_cfg", "with_cp", "norm_eval", "init_cfg"];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Depths and heads of each stage, channels of the first.
#[derive(Debug, Deserialize)]
struct Arch {
    embed_dims: Channels,
    depths: List<Layers>,
    num_heads: List<Channels>,
    /// Of V2: a norm after every so many blocks.
    extra_norm_every_n_blocks: Option<Layers>,
}

/// Letter, name, channels, depths, heads, blocks to a further norm; the last two are V2's.
type ArchRow = (
    &'static str,
    &'static str,
    usize,
    [usize; 4],
    [usize; 4],
    usize,
);

const ARCHES: [ArchRow; 6] = [
    ("t", "tiny", 96, [2, 2, 6, 2], [3, 6, 12, 24], 0),
    ("s", "small", 96, [2, 2, 18, 2], [3, 6, 12, 24], 0),
    ("b", "base", 128, [2, 2, 18, 2], [4, 8, 16, 32], 0),
    ("l", "large", 192, [2, 2, 18, 2], [6, 12, 24, 48], 0),
    ("h", "huge", 352, [2, 2, 18, 2], [8, 16, 32, 64], 6),
    ("g", "giant", 512, [2, 2, 42, 4], [16, 32, 64, 128], 6),
];

pub(in crate::backbones) fn build(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, Version::One)
}

pub(in crate::backbones) fn build_v2(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, Version::Two)
}

fn made(node: &Node, build: &Build, version: Version) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Config = node.read_knowing(OTHERS)?;
    let plan = config.plan(node, version)?;
    Ok(Box::new(SwinTransformer::new(&plan, &build.params)))
}

/// What an `arch` comes to.
struct Shape {
    embed_dims: usize,
    depths: Vec<usize>,
    heads: Vec<usize>,
    extra_norm_every: usize,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::One => "SwinTransformer",
            Self::Two => "SwinTransformerV2",
        }
    }

    fn arches(self) -> &'static [ArchRow] {
        match self {
            Self::One => &ARCHES[..4],
            Self::Two => &ARCHES,
        }
    }

    fn shape(self, node: &Node, arch: Option<&Node>) -> Result<Shape, Diagnostics> {
        if let Some(arch) = arch.filter(|arch| arch.as_dict().is_some()) {
            let arch: Arch = arch.read()?;
            return Ok(Shape {
                embed_dims: arch.embed_dims.get(),
                depths: arch.depths.numbers(),
                heads: arch.num_heads.numbers(),
                extra_norm_every: arch.extra_norm_every_n_blocks.map_or(0, Layers::get),
            });
        }
        let name = arch.map_or(Some("tiny"), Node::as_str);
        let lower = name.unwrap_or_default().to_lowercase();
        let mut rows = self.arches().iter();
        let Some(row) = rows.find(|row| row.0 == lower || row.1 == lower) else {
            let message = match name {
                Some(name) => format!("{} has no arch '{name}'", self.name()),
                None => "an `arch` is a name or a dict".into(),
            };
            let known: Vec<_> = self.arches().iter().map(|row| row.1).collect();
            let help = format!("known are {}", known.join(", "));
            return Err(error_at(node, "arch", message, &help));
        };
        Ok(Shape {
            embed_dims: row.2,
            depths: row.3.to_vec(),
            heads: row.4.to_vec(),
            extra_norm_every: row.5,
        })
    }
}

/// What `stage_cfgs` says of one stage.
#[derive(Debug, Default, Deserialize)]
struct StageKeys {
    window_size: Option<WindowSide>,
    downsample_cfg: Option<Node>,
    block_cfgs: Option<Node>,
}

/// What `block_cfgs` says of one block.
#[derive(Debug, Default, Deserialize)]
struct BlockKeys {
    window_size: Option<WindowSide>,
    shift: Option<bool>,
    ffn_ratio: Option<f64>,
    pad_small_map: Option<bool>,
    attn_cfgs: Option<Node>,
    ffn_cfgs: Option<Node>,
}

#[derive(Debug, Default, Deserialize)]
struct AttentionKeys {
    qkv_bias: Option<bool>,
    qk_scale: Option<f64>,
    attn_drop: Option<f64>,
    proj_drop: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
struct FfnKeys {
    feedforward_channels: Option<Channels>,
    ffn_drop: Option<f64>,
}

/// `patch_cfg` and `downsample_cfg`.
#[derive(Debug, Default, Deserialize)]
struct PatchKeys {
    kernel_size: Option<Bounded<1, 64>>,
    stride: Option<Bounded<1, 64>>,
    padding: Option<PatchPadding>,
    dilation: Option<Bounded<1, 64>>,
    bias: Option<bool>,
    /// Of `downsample_cfg`.
    use_post_norm: Option<bool>,
    /// Of `downsample_cfg`.
    out_channels: Option<Channels>,
}

impl PatchKeys {
    fn padding(&self) -> Padding {
        let given = self.padding.as_ref();
        given.map_or(Padding::Corner, PatchPadding::padding)
    }
}

/// The i-th of a list of dicts, or the dict that is for all; an absent one is empty.
fn nth<'a>(
    node: &'a Node,
    key: &str,
    all: Option<&'a Node>,
    i: usize,
) -> Result<Option<&'a Node>, Diagnostics> {
    let Some(items) = all.and_then(Node::as_items) else {
        return Ok(all.filter(|node| !node.is_none()));
    };
    match items.get(i) {
        Some(item) => Ok(Some(item)),
        None => {
            let message = format!(
                "`{key}` has {} entries, one for each is needed",
                items.len()
            );
            Err(error_at(node, key, message, "a single dict is for all"))
        }
    }
}

/// Reads an optional dict, which may have `others` too.
fn read<T: serde::de::DeserializeOwned + Default>(
    node: Option<&Node>,
    others: &[&str],
) -> Result<T, Diagnostics> {
    node.map_or_else(|| Ok(T::default()), |node| node.read_knowing(others))
}

impl Config {
    fn plan(&self, node: &Node, version: Version) -> Result<Plan, Diagnostics> {
        let of_one = self.out_after_downsample.is_some() && version == Version::Two;
        let of_two = self.pretrained_window_sizes.is_some() && version == Version::One;
        for (wrong, key) in [
            (of_one, "out_after_downsample"),
            (of_two, "pretrained_window_sizes"),
        ] {
            if wrong {
                let message = format!("the key `{key}` is not known to {}", version.name());
                return Err(error_at(node, key, message, ""));
            }
        }
        let Shape {
            embed_dims,
            depths,
            heads,
            extra_norm_every,
        } = version.shape(node, self.arch.as_ref())?;
        let count = depths.len();
        check_stages(node, count, &[("arch", heads.len())])?;
        let out = self.out_indices.as_ref();
        let out = out.map_or_else(|| vec![3], List::numbers);
        check_out(node, &out, count)?;
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        check_frozen(node, frozen_stages, count - 1)?;
        let usual = match version {
            Version::One => 7,
            Version::Two => 8,
        };
        let windows = self.window_size.as_ref();
        if version == Version::One && matches!(windows, Some(OneOrEach::Each(_))) {
            let message = "`window_size` is one number";
            let help =
                "stage_cfgs=[dict(block_cfgs=dict(window_size=7)), ..] has one for each stage";
            return Err(error_at(node, "window_size", message, help));
        }
        let window = |i| match windows {
            None => Ok(usual),
            Some(windows) => windows.get(i).map(WindowSide::get).ok_or_else(|| {
                let message = format!("`window_size` has fewer entries than the {count} stages");
                error_at(node, "window_size", message, "")
            }),
        };
        let trained = self.pretrained_window_sizes.as_ref();
        if let Some(short) = trained.filter(|sizes| sizes.len() < count) {
            let message = format!(
                "`pretrained_window_sizes` has {} entries for {count} stages",
                short.len()
            );
            return Err(error_at(node, "pretrained_window_sizes", message, ""));
        }
        let trained = |i: usize| trained.map_or(0, |sizes| sizes[i].get());
        let most = rate(node, "drop_path_rate", self.drop_path_rate.or(Some(0.1)))?;
        let rates = drop_path_rates(most, &depths);

        let patch: PatchKeys = read(self.patch_cfg.as_ref(), &["norm_cfg", "in_channels"])?;
        let patch_size = self.patch_size.map_or(4, Pixels::get);
        let kernel = patch.kernel_size.map_or(patch_size, Bounded::get);
        let patch_stride = patch.stride.map_or(patch_size, Bounded::get);
        let (mut channels, mut stride) = (embed_dims, patch_stride);
        let mut stages = Vec::new();
        for i in 0..count {
            let keys = nth(node, "stage_cfgs", self.stage_cfgs.as_ref(), i)?;
            let stage: StageKeys = read(keys, &[])?;
            let merges = match version {
                Version::One => i + 1 < count,
                Version::Two => i > 0,
            };
            let merging = match merges {
                true => Some(merging(channels, stage.downsample_cfg.as_ref(), version)?),
                false => None,
            };
            let merged = match &merging {
                Some(merging) => (merging.channels[1], stride.saturating_mul(merging.stride)),
                None => (channels, stride),
            };
            let before_stage = (channels, stride);
            if version == Version::Two {
                (channels, stride) = merged;
            }
            let context = BlockContext {
                version,
                channels,
                heads: heads[i],
                window: match stage.window_size {
                    Some(window) => window.get(),
                    None => window(i)?,
                },
                trained: trained(i),
                pad_small_map: self.pad_small_map.unwrap_or(false),
            };
            let mut blocks = Vec::new();
            for (j, rate) in rates[i].iter().enumerate() {
                let keys = nth(node, "block_cfgs", stage.block_cfgs.as_ref(), j)?;
                let extra_norm = extra_norm_every > 0 && (j + 1) % extra_norm_every == 0;
                blocks.push(BlockPlan {
                    drop_path_rate: *rate,
                    extra_norm,
                    ..context.block(node, keys, j)?
                });
            }
            let after_is_output = self.out_after_downsample == Some(true);
            let feature = match version {
                Version::One if after_is_output => merged,
                Version::One => before_stage,
                Version::Two => (channels, stride),
            };
            let (before, after) = match version {
                Version::One => (None, merging),
                Version::Two => (merging, None),
            };
            stages.push(StagePlan {
                name: format!("stages.{i}"),
                before,
                blocks,
                after,
                after_is_output,
                feature: Feature {
                    channels: feature.0,
                    stride: feature.1,
                },
            });
            (channels, stride) = merged;
        }

        let default = NormConfig::layer(1e-5);
        let in_channels = channels_in(self.in_channels);
        let conv = ConvConfig::new(in_channels, embed_dims, kernel)
            .stride(patch_stride)
            .padding(patch.padding())
            .dilation(patch.dilation.map_or(1, Bounded::get))
            .bias(patch.bias.unwrap_or(true));
        let patch_norm = match &self.patch_cfg {
            Some(keys) => layer_norm(keys, "norm_cfg", default.clone())?,
            None => Some(default.clone()),
        };
        let norm = layer_norm(node, "norm_cfg", default)?;
        let mut frozen = Vec::new();
        if frozen_stages >= 0 {
            frozen.push("patch_embed".to_string());
        }
        for i in 0..=frozen_stages {
            frozen.extend([format!("stages.{i}"), format!("norm{i}")]);
        }
        let mut outputs: Vec<(usize, _)> = Vec::new();
        for i in out {
            if !outputs.iter().any(|(known, _)| *known == i) {
                let norm = norm.clone();
                outputs.push((i, norm.map(|norm| (format!("norm{i}"), norm))));
            }
        }
        Ok(Plan {
            names: &MMCV,
            channels_in: in_channels,
            position: self.position(node, version, &conv)?,
            embed: PatchEmbedConfig {
                conv,
                channels_out: embed_dims,
                norm: patch_norm,
                projection: "projection",
            },
            dropout: rate(node, "drop_rate", self.drop_rate)?,
            stages,
            outputs,
            frozen,
        })
    }

    /// The grid of the absolute embedding, if there is one.
    fn position(
        &self,
        node: &Node,
        version: Version,
        conv: &ConvConfig,
    ) -> Result<Option<([usize; 2], Interpolation)>, Diagnostics> {
        if self.use_abs_pos_embed != Some(true) {
            return Ok(None);
        }
        let default = match version {
            Version::One => 224,
            Version::Two => 256,
        };
        let picture = sides(node, "img_size", self.img_size.as_ref(), default)?;
        let mode = self.interpolate_mode.as_deref().unwrap_or("bicubic");
        let Some(how) = Interpolation::named(mode) else {
            let message = format!("`interpolate_mode` '{mode}' is not supported");
            let help = "'bicubic' and 'bilinear' are";
            return Err(unsupported(node, "interpolate_mode", message, help));
        };
        match picture.map(|side| conv.side(side)) {
            [Some(height), Some(width)] => Ok(Some(([height, width], how))),
            _ => {
                let message = "`img_size` is smaller than a patch";
                Err(error_at(node, "img_size", message, ""))
            }
        }
    }
}

/// The layer that merges the tokens of `channels`.
fn merging(
    channels: usize,
    keys: Option<&Node>,
    version: Version,
) -> Result<PatchMergingConfig, Diagnostics> {
    let given: PatchKeys = read(keys, &["norm_cfg"])?;
    let default = NormConfig::layer(1e-5);
    let norm = match keys {
        Some(keys) => layer_norm(keys, "norm_cfg", default)?,
        None => Some(default),
    };
    if let (Some(keys), Some(_), Version::One) = (keys, given.use_post_norm, version) {
        let message = "the key `use_post_norm` is not known to SwinTransformer";
        return Err(error_at(
            keys,
            "use_post_norm",
            message,
            "SwinTransformerV2 has it",
        ));
    }
    let out = given.out_channels.map_or(2 * channels, Channels::get);
    // A `downsample_cfg` takes the place of V2's, which says where the norm is.
    let norm_last = match (given.use_post_norm, keys) {
        (Some(last), _) => last,
        (None, None) => version == Version::Two,
        (None, Some(_)) => false,
    };
    let kernel = given.kernel_size.map_or(2, Bounded::get);
    Ok(PatchMergingConfig {
        kernel,
        stride: given.stride.map_or(kernel, Bounded::get),
        dilation: given.dilation.map_or(1, Bounded::get),
        padding: given.padding(),
        bias: given.bias.unwrap_or(false),
        norm_last,
        norm_listed_first: version == Version::One,
        ..PatchMergingConfig::new([channels, out], norm)
    })
}

/// What the blocks of a stage have in common.
struct BlockContext {
    version: Version,
    channels: usize,
    heads: usize,
    window: usize,
    /// Side of the windows that V2's network of distances was trained with; 0 for the same.
    trained: usize,
    pad_small_map: bool,
}

impl BlockContext {
    fn block(&self, node: &Node, keys: Option<&Node>, j: usize) -> Result<BlockPlan, Diagnostics> {
        let given: BlockKeys = read(keys, &["norm_cfg"])?;
        let window = given.window_size.map_or(self.window, WindowSide::get);
        let norm = NormConfig::layer(1e-5);
        let norm = match keys {
            Some(keys) => some_layer_norm(keys, "norm_cfg", norm)?,
            None => norm,
        };
        let two = self.version == Version::Two;
        let attention: AttentionKeys = read(given.attn_cfgs.as_ref(), &[])?;
        let at = given.attn_cfgs.as_ref().unwrap_or(node);
        if two && attention.qk_scale.is_some() {
            let message = "the key `qk_scale` is not known to SwinTransformerV2";
            return Err(error_at(
                at,
                "qk_scale",
                message,
                "it has scales that are learned",
            ));
        }
        let dropouts = [
            rate(at, "attn_drop", attention.attn_drop)?,
            rate(at, "proj_drop", attention.proj_drop)?,
        ];
        let ffn: FfnKeys = read(given.ffn_cfgs.as_ref(), &["act_cfg"])?;
        let at = given.ffn_cfgs.as_ref().unwrap_or(node);
        let ratio = given.ffn_ratio.unwrap_or(4.0);
        let hidden = (self.channels as f64 * ratio) as usize;
        let hidden = ffn.feedforward_channels.map_or(hidden, Channels::get);
        check_width(node, "arch", [self.channels, hidden, self.heads])?;
        if hidden == 0 {
            let message = "`ffn_ratio` leaves no channels";
            return Err(error_at(keys.unwrap_or(node), "ffn_ratio", message, ""));
        }
        let position = match (two, self.trained) {
            (false, _) => Position::Table(NARROW),
            (true, 0) => Position::Continuous {
                trained: [window; 2],
            },
            (true, side) => Position::Continuous { trained: [side; 2] },
        };
        let shifts = given.shift.unwrap_or(j % 2 == 1);
        Ok(BlockPlan {
            attention: WindowAttentionConfig {
                channels: self.channels,
                heads: self.heads,
                window: [window; 2],
                qkv_bias: attention.qkv_bias.unwrap_or(true),
                scale: attention.qk_scale.filter(|scale| *scale != 0.0),
                dropouts,
                position,
                lists_buffers: true,
            },
            windows: Windows {
                size: [window; 2],
                shift: [if shifts { window / 2 } else { 0 }; 2],
                rolled_first: false,
            },
            shift_if_larger: !given.pad_small_map.unwrap_or(self.pad_small_map),
            hidden,
            act: match &given.ffn_cfgs {
                Some(ffn) => activation(ffn)?,
                None => Activation::Gelu,
            },
            dropout: rate(at, "ffn_drop", ffn.ffn_drop)?,
            drop_path_rate: 0.0,
            norm,
            norms: if two {
                Norms::AfterDropped
            } else {
                Norms::Before
            },
            extra_norm: false,
        })
    }
}
