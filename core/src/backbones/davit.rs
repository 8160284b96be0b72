//! DaViT (Ding et al. 2022, arXiv 2204.03645) as MMPretrain 1.2.0 builds it: blocks of attention between the places of windows, then between
//! channels, each after a convolution that tells tokens where they are.
//!
//! Shapes: stage i gives `[N, embed_dims * 2^i, H / (4 * 2^i), W / ...]`. As the original merges them, an odd row or column of a map is left out.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::tokens::{
    PatchEmbed, PatchEmbedConfig, WindowSide, channels_in, check_frozen, check_out, check_stages,
    check_width, conv_on_tokens, drop_path_rates, layer_norm,
};
use super::{Backbone, Feature};
use crate::backbones::options::rate;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Linear, Mlp, Norm, NormConfig, Padding, Params,
    Position, WindowAttention, WindowAttentionConfig, Windows, join_heads, pad_end, split_qkv,
};
use crate::limits::{Channels, Index, Layers, List, Pixels};
use crate::ops::count::product;
use crate::ops::rows::softmax;

/// The keys of `type='mmpretrain.DaViT'`, absent ones at MMPretrain's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    arch: Option<Node>,
    patch_size: Option<Pixels>,
    in_channels: Option<Channels>,
    window_size: Option<WindowSide>,
    ffn_ratio: Option<f64>,
    qkv_bias: Option<bool>,
    drop_path_rate: Option<f64>,
    out_after_downsample: Option<bool>,
    stage_cfgs: Option<Node>,
    frozen_stages: Option<i64>,
    out_indices: Option<List<Index>>,
}

/// Keys that others read, or that are of memory, of batch norms, or of windows that shift only.
const OTHERS: &[&str] = &[
    "norm_cfg",
    "with_cp",
    "norm_eval",
    "pad_small_map",
    "init_cfg",
];

/// A dict in place of a name.
#[derive(Debug, Deserialize)]
struct Arch {
    embed_dims: Channels,
    depths: List<Layers>,
    num_heads: List<Channels>,
}

/// What `stage_cfgs` says of a stage.
#[derive(Debug, Default, Deserialize)]
struct StageKeys {
    window_size: Option<WindowSide>,
    ffn_ratio: Option<f64>,
    qkv_bias: Option<bool>,
}

/// Letter, name, channels, depths; heads have 32 channels.
const ARCHES: [(&str, &str, usize, [usize; 4]); 6] = [
    ("t", "tiny", 96, [1, 1, 3, 1]),
    ("s", "small", 96, [1, 1, 9, 1]),
    ("b", "base", 128, [1, 1, 9, 1]),
    ("l", "large", 192, [1, 1, 9, 1]),
    ("h", "huge", 256, [1, 1, 9, 1]),
    ("g", "giant", 384, [1, 1, 12, 3]),
];
const HEAD: usize = 32;

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(DaViT::read(node, build)?))
}

/// DaViT tiny to giant.
#[derive(Debug)]
pub struct DaViT {
    embed: PatchEmbed,
    stages: Vec<Stage>,
    /// For each stage that gives a map its norm.
    outputs: Vec<(usize, Option<Norm>)>,
    features: Vec<Feature>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<[Block; 2]>,
    downsample: Option<Downsample>,
}

/// What the blocks of a stage have in common.
struct BlockShape {
    channels: usize,
    heads: usize,
    window: usize,
    hidden: usize,
    qkv_bias: bool,
}

fn arch(node: &Node, given: Option<&Node>) -> Result<(usize, Vec<usize>, Vec<usize>), Diagnostics> {
    if let Some(given) = given.filter(|arch| arch.as_dict().is_some()) {
        let names = given
            .as_dict()
            .map(|dict| dict.iter().map(|(key, _)| key.to_string()));
        let names: Vec<_> = names.into_iter().flatten().collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        // Further keys mean nothing to the original.
        let arch: Arch = given.read_knowing(&names)?;
        let (depths, heads) = (arch.depths.numbers(), arch.num_heads.numbers());
        return Ok((arch.embed_dims.get(), depths, heads));
    }
    let name = given.map_or(Some("t"), Node::as_str);
    let lower = name.unwrap_or_default().to_lowercase();
    let mut rows = ARCHES.iter();
    let Some(row) = rows.find(|row| row.0 == lower || row.1 == lower) else {
        let message = match name {
            Some(name) => format!("DaViT has no arch '{name}'"),
            None => "an `arch` is a name or a dict".into(),
        };
        let known = "known are tiny, small, base, large, huge, giant";
        return Err(error_at(node, "arch", message, known));
    };
    let heads = (0..4).map(|i| (row.2 << i) / HEAD).collect();
    Ok((row.2, row.3.to_vec(), heads))
}

impl DaViT {
    fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let config: Config = node.read_knowing(OTHERS)?;
        let (embed_dims, depths, heads) = arch(node, config.arch.as_ref())?;
        let count = depths.len();
        check_stages(node, count, &[("arch", heads.len())])?;
        let out = config.out_indices.as_ref();
        let out = out.map_or_else(|| vec![3], List::numbers);
        check_out(node, &out, count)?;
        let frozen_stages = config.frozen_stages.unwrap_or(-1);
        check_frozen(node, frozen_stages, count - 1)?;
        let most = rate(node, "drop_path_rate", config.drop_path_rate.or(Some(0.1)))?;
        let rates = drop_path_rates(most, &depths);
        let norm = layer_norm(node, "norm_cfg", NormConfig::layer(1e-5))?;
        if config.out_after_downsample == Some(true) && out.iter().any(|i| i + 1 < count) {
            let message = "DaViT gives no maps after merging";
            let help = "the original mixes channels and pictures up there; leave the key out";
            return Err(unsupported(node, "out_after_downsample", message, help));
        }
        let shapes: Vec<_> = (0..count)
            .map(|i| config.stage(node, i, embed_dims, heads[i]))
            .collect::<Result<_, _>>()?;

        let params = &build.params;
        let in_channels = channels_in(config.in_channels);
        let patch = config.patch_size.map_or(4, Pixels::get);
        let conv = ConvConfig::new(in_channels, embed_dims, 7).stride(patch);
        let embed = PatchEmbedConfig {
            conv: conv.padding(Padding::Same),
            channels_out: embed_dims,
            norm: Some(NormConfig::layer(1e-5)),
            projection: "projection",
        };
        let embed = embed.init(&params.at("patch_embed"));
        let mut stages = Vec::new();
        let mut maps = Vec::new();
        for (i, shape) in shapes.iter().enumerate() {
            let at = params.at("stages").at(i);
            let block = |(j, rate): (usize, &f64)| {
                let at = at.at("blocks").at(j);
                [("spatial_block", true), ("channel_block", false)]
                    .map(|(name, spatial)| Block::new(shape, spatial, *rate, &at.at(name)))
            };
            let blocks = rates[i].iter().enumerate().map(block).collect();
            let merges = i + 1 < count;
            stages.push(Stage {
                blocks,
                downsample: merges.then(|| Downsample::new(shape.channels, &at.at("downsample"))),
            });
            maps.push(Feature {
                channels: shape.channels,
                stride: patch << i,
            });
        }
        let mut outputs: Vec<(usize, Option<Norm>)> = Vec::new();
        for i in out {
            if outputs.iter().any(|(known, _)| *known == i) {
                continue;
            }
            let at = params.at(format!("norm{i}"));
            let norm = norm.as_ref().map(|norm| norm.init(maps[i].channels, &at));
            outputs.push((i, norm));
        }
        outputs.sort_by_key(|(i, _)| *i);
        if frozen_stages >= 0 {
            params.at("patch_embed").freeze();
        }
        for i in 0..=frozen_stages {
            params.at(format!("stages.{i}")).freeze();
            params.at(format!("norm{i}")).freeze();
        }
        Ok(Self {
            embed,
            stages,
            features: outputs.iter().map(|(i, _)| maps[*i]).collect(),
            outputs,
            channels_in: in_channels,
        })
    }
}

impl Config {
    fn stage(
        &self,
        node: &Node,
        i: usize,
        embed_dims: usize,
        heads: usize,
    ) -> Result<BlockShape, Diagnostics> {
        let keys = match self.stage_cfgs.as_ref().map(|all| (all, all.as_items())) {
            None => None,
            Some((_, Some(items))) if items.len() <= i => {
                let message = format!("`stage_cfgs` has {} entries", items.len());
                let help = "one for each stage is needed; a single dict is for all";
                return Err(error_at(node, "stage_cfgs", message, help));
            }
            Some((_, Some(items))) => Some(&items[i]),
            Some((all, None)) => Some(all),
        };
        let mut given = StageKeys::default();
        if let Some(keys) = keys {
            for key in ["downsample_cfg", "block_cfgs"] {
                if keys.get(key).is_some() {
                    let message = format!("`{key}` of DaViT's `stage_cfgs` is not supported");
                    let help = "window_size, ffn_ratio and qkv_bias are";
                    return Err(unsupported(keys, key, message, help));
                }
            }
            given = keys.read()?;
        }
        let channels = embed_dims.saturating_mul(1 << i.min(31));
        let ratio = given.ffn_ratio.or(self.ffn_ratio).unwrap_or(4.0);
        let hidden = (channels as f64 * ratio) as usize;
        check_width(node, "arch", [channels, hidden, heads])?;
        if hidden == 0 {
            let message = "`ffn_ratio` leaves no channels";
            return Err(error_at(node, "ffn_ratio", message, ""));
        }
        let window = given.window_size.or(self.window_size);
        Ok(BlockShape {
            channels,
            heads,
            window: window.map_or(7, WindowSide::get),
            hidden,
            qkv_bias: given.qkv_bias.or(self.qkv_bias).unwrap_or(true),
        })
    }
}

impl Backbone for DaViT {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.embed.forward(x);
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, stage) in self.stages.iter().enumerate() {
            let Some((next, _)) = outputs.peek() else {
                break; // nothing after the last output keeps statistics
            };
            let blocks = stage.blocks.iter().flatten();
            let y = blocks.fold(x, |x, block| block.forward(x));
            if *next == i {
                let norm = outputs.next().and_then(|(_, norm)| norm.as_ref());
                let map = match norm {
                    Some(norm) => norm.forward_tokens(y.clone()),
                    None => y.clone(),
                };
                maps.push(map.permute([0, 3, 1, 2]));
            }
            x = match &stage.downsample {
                Some(downsample) if outputs.len() > 0 => downsample.forward(y),
                _ => y,
            };
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

/// A norm, then a convolution that merges tokens two by two.
#[derive(Debug)]
struct Downsample {
    conv: ConvNormAct,
    norm: Norm,
}

impl Downsample {
    fn new(channels: usize, at: &Params) -> Self {
        let conv = ConvConfig::new(channels, 2 * channels, 2).stride(2);
        let conv = conv.bias(true).init(&at.at("projection"), None);
        Self {
            conv,
            norm: NormConfig::layer(1e-5).init(channels, &at.at("norm")),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let x = pad_end(self.norm.forward_tokens(x), [h.max(2), w.max(2)]);
        conv_on_tokens(&self.conv, x)
    }
}

/// Attention and two layers, each after a convolution of every channel and a norm, and added to its input.
#[derive(Debug)]
struct Block {
    positions: [ConvNormAct; 2],
    norms: [Norm; 2],
    attention: Attention,
    mlp: Mlp,
    drop_paths: [Option<DropPath>; 2],
}

#[derive(Debug)]
enum Attention {
    Windows(Windows, Box<WindowAttention>),
    Channels(Box<ChannelAttention>),
}

impl Block {
    fn new(shape: &BlockShape, spatial: bool, rate: f64, at: &Params) -> Self {
        let channels = shape.channels;
        let position = |name: &str| {
            let conv = ConvConfig::new(channels, channels, 3);
            let conv = conv.pad(1).groups(channels).bias(true);
            conv.init(&at.at(name).at("proj"), None)
        };
        let norm = |name: &str| NormConfig::layer(1e-5).init(channels, &at.at(name));
        let position1 = position("cpe1");
        let norm1 = norm("norm1");
        let attention = match spatial {
            true => {
                let windows = Windows {
                    size: [shape.window; 2],
                    shift: [0, 0],
                    rolled_first: false,
                };
                let config = WindowAttentionConfig {
                    channels,
                    heads: shape.heads,
                    window: windows.size,
                    qkv_bias: shape.qkv_bias,
                    scale: None,
                    dropouts: [0.0; 2],
                    position: Position::None,
                    lists_buffers: false,
                };
                Attention::Windows(windows, Box::new(config.init(&at.at("attn.w_msa"))))
            }
            false => {
                let attention = ChannelAttention::new(shape, &at.at("attn"));
                Attention::Channels(Box::new(attention))
            }
        };
        let position2 = position("cpe2");
        let norm2 = norm("norm2");
        let mlp = Mlp::ffn(channels, shape.hidden, Activation::Gelu, 0.0, &at.at("ffn"));
        // The attention between channels is never left out.
        let first = if spatial { rate } else { 0.0 };
        Self {
            positions: [position1, position2],
            norms: [norm1, norm2],
            attention,
            mlp,
            drop_paths: [
                DropPath::new(first, &at.at("attn.drop")),
                DropPath::new(rate, &at.at("ffn.dropout_layer")),
            ],
        }
    }

    /// # Shapes
    /// - input and output: `[B, H, W, C]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let positioned = |i: usize, x: Tensor<4>| x.clone() + conv_on_tokens(&self.positions[i], x);
        let x = positioned(0, x);
        let y = self.norms[0].forward_tokens(x.clone());
        let y = match &self.attention {
            Attention::Windows(windows, attention) => {
                windows.forward(y, |tokens, mask| attention.forward(tokens, mask))
            }
            Attention::Channels(attention) => attention.forward(y),
        };
        let x = positioned(1, DropPath::add(&self.drop_paths[0], x, y));
        let y = self.mlp.forward(self.norms[1].forward_tokens(x.clone()));
        DropPath::add(&self.drop_paths[1], x, y)
    }
}

/// Attention of the channels of a head to each other, over all places (section 3.2).
#[derive(Debug)]
struct ChannelAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl ChannelAttention {
    fn new(shape: &BlockShape, at: &Params) -> Self {
        let channels = shape.channels;
        Self {
            qkv: Linear::new(channels, 3 * channels, shape.qkv_bias, &at.at("qkv")),
            proj: Linear::new(channels, channels, true, &at.at("proj")),
            heads: shape.heads,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let qkv = self.qkv.forward(x.reshape([b, h * w, c]));
        let [q, k, v] = split_qkv(qkv, self.heads);
        let scale = ((c / self.heads) as f64).sqrt().recip();
        let scores = product(k.swap_dims(2, 3), v);
        let weights = softmax(scores, scale, None, None);
        let y = product(q, weights.swap_dims(2, 3));
        self.proj.forward(join_heads(y)).reshape([b, h, w, c])
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("arch='x'", "known are tiny, small, base"),
            ("out_indices=(4,)", "`out_indices` names stage 4"),
            ("frozen_stages=4", "must be -1 to 3"),
            ("ffn_ratio=0", "leaves no channels"),
            ("stage_cfgs=[dict()]", "has 1 entries"),
            ("stage_cfgs=dict(block_cfgs=dict())", "is not supported"),
            (
                "out_after_downsample=True, out_indices=(0,)",
                "no maps after merging",
            ),
        ] {
            let text = format!("dict(type='mmpretrain.DaViT', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
