//! MViTv2 (Li et al. 2022, arXiv 2112.01526) as MMPretrain 1.2.0 builds it: attention whose queries, keys and values are pooled, so that
//! maps become smaller within a block, with biases by how far apart two places are down and across.
//!
//! Shapes: scale i gives `[N, embed_dims * 2^i, H / (4 * 2^i), W / ...]`. `out_scales` counts the scales.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::tokens::{
    NARROW, OneOrEach, PatchEmbed, PatchEmbedConfig, PatchPadding, PictureSize, PositionEmbedding,
    channels_in, check_width, conv_on_tokens, drop_path_rates, layer_norm, sides, some_layer_norm,
};
use super::{Backbone, Feature};
use crate::backbones::options::rate;
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Init, Linear, Mlp, Norm, NormConfig, Padding,
    Params, Weight, gather_rows, join_heads, split_qkv,
};
use crate::limits::{Channels, List};
use crate::ops::count::product;
use crate::ops::pool::max_pool2d;
use crate::ops::resize::{Interpolation, resize};
use crate::ops::rows::softmax;

/// The keys of `type='mmpretrain.MViT'`, absent ones at MMPretrain's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    arch: Option<Node>,
    img_size: Option<PictureSize>,
    in_channels: Option<Channels>,
    out_scales: Option<OneOrEach<i64>>,
    drop_path_rate: Option<f64>,
    use_abs_pos_embed: Option<bool>,
    interpolate_mode: Option<String>,
    pool_kernel: Option<OneOrEach<Bounded<1, 64>>>,
    dim_mul: Option<Bounded<1, 16>>,
    head_mul: Option<Bounded<1, 16>>,
    adaptive_kv_stride: Option<Bounded<1, 64>>,
    rel_pos_spatial: Option<bool>,
    residual_pooling: Option<bool>,
    dim_mul_in_attention: Option<bool>,
    rel_pos_zero_init: Option<bool>,
    mlp_ratio: Option<f64>,
    qkv_bias: Option<bool>,
    patch_cfg: Option<Node>,
}

/// Keys that others read.
const OTHERS: &[&str] = &["norm_cfg", "init_cfg"];

/// A dict in place of a name.
#[derive(Debug, Deserialize)]
struct Arch {
    embed_dims: Channels,
    num_layers: Bounded<1, 128>,
    num_heads: Channels,
    downscale_indices: List<Bounded<0, 128>>,
}

/// Name, channels, layers, heads, layers that make maps smaller.
const ARCHES: [(&str, usize, usize, usize, [usize; 3]); 4] = [
    ("tiny", 96, 10, 1, [1, 3, 8]),
    ("small", 96, 16, 1, [1, 3, 14]),
    ("base", 96, 24, 1, [2, 5, 21]),
    ("large", 144, 48, 2, [2, 8, 44]),
];

/// `patch_cfg`.
#[derive(Debug, Deserialize)]
struct PatchKeys {
    kernel_size: Option<Bounded<1, 64>>,
    stride: Option<Bounded<1, 64>>,
    padding: Option<PatchPadding>,
    bias: Option<bool>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Config = node.read_knowing(OTHERS)?;
    let plan = config.plan(node)?;
    Ok(Box::new(MViT::new(&plan, &build.params)))
}

/// All layers in numbers that were checked.
struct Plan {
    channels_in: usize,
    embed: PatchEmbedConfig,
    position: Option<([usize; 2], Interpolation)>,
    blocks: Vec<BlockPlan>,
    norm: NormConfig,
    /// Blocks after which there is a map, and its scale.
    outputs: Vec<(usize, usize)>,
    features: Vec<Feature>,
}

struct BlockPlan {
    channels: [usize; 2],
    /// Channels of the attention: those in or those out.
    inner: usize,
    hidden: usize,
    heads: usize,
    qkv_bias: bool,
    kernel: usize,
    /// Of the queries' pooling, and of the keys' and values'.
    strides: [usize; 2],
    /// Rows of the tables of distances, if there are any.
    distances: Option<usize>,
    distances_init: Init,
    residual_pooling: bool,
    drop_path_rate: f64,
    norm: NormConfig,
}

impl Config {
    fn arch(&self, node: &Node) -> Result<(usize, usize, usize, Vec<usize>), Diagnostics> {
        let given = self.arch.as_ref();
        if let Some(given) = given.filter(|arch| arch.as_dict().is_some()) {
            let arch: Arch = given.read()?;
            return Ok((
                arch.embed_dims.get(),
                arch.num_layers.get(),
                arch.num_heads.get(),
                arch.downscale_indices.numbers(),
            ));
        }
        let name = given.map_or(Some("base"), Node::as_str);
        let lower = name.unwrap_or_default().to_lowercase();
        match ARCHES.iter().find(|row| row.0 == lower) {
            Some(row) => Ok((row.1, row.2, row.3, row.4.to_vec())),
            None => {
                let message = match name {
                    Some(name) => format!("MViT has no arch '{name}'"),
                    None => "an `arch` is a name or a dict".into(),
                };
                let known = "known are tiny, small, base, large";
                Err(error_at(node, "arch", message, known))
            }
        }
    }

    /// Which of `count` scales are asked for, in order.
    fn scales(&self, node: &Node, count: usize) -> Result<Vec<usize>, Diagnostics> {
        let named = match &self.out_scales {
            None => vec![-1],
            Some(OneOrEach::One(scale)) => vec![*scale],
            Some(OneOrEach::Each(scales)) => scales.to_vec(),
        };
        let all = count as i64;
        if let Some(wrong) = named.iter().find(|i| !(-all..all).contains(i)) {
            let message = format!("`out_scales` names scale {wrong}; there are {count}, from 0");
            return Err(error_at(node, "out_scales", message, ""));
        }
        let scales = named.iter().map(|i| i.rem_euclid(all) as usize);
        let mut scales: Vec<_> = scales.collect();
        scales.sort();
        scales.dedup();
        Ok(scales)
    }

    fn embed(
        &self,
        in_channels: usize,
        embed_dims: usize,
    ) -> Result<(PatchEmbedConfig, usize), Diagnostics> {
        let (mut kernel, mut stride, mut padding, mut bias) = (7, 4, Padding::Even(3), true);
        let mut norm = None;
        if let Some(keys) = &self.patch_cfg {
            // The dict takes the place of the usual one; what it leaves out is mmcv's.
            let given: PatchKeys = keys.read_knowing(&["norm_cfg"])?;
            kernel = given.kernel_size.map_or(16, Bounded::get);
            stride = given.stride.map_or(16, Bounded::get);
            padding = given
                .padding
                .as_ref()
                .map_or(Padding::Corner, PatchPadding::padding);
            bias = given.bias.unwrap_or(true);
            if keys.get("norm_cfg").is_some() {
                norm = layer_norm(keys, "norm_cfg", NormConfig::layer(1e-5))?;
            }
        }
        let conv = ConvConfig::new(in_channels, embed_dims, kernel);
        let config = PatchEmbedConfig {
            conv: conv.stride(stride).padding(padding).bias(bias),
            channels_out: embed_dims,
            norm,
            projection: "projection",
        };
        Ok((config, stride))
    }

    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let (embed_dims, count, mut heads, smaller) = self.arch(node)?;
        let wrong = smaller.iter().find(|i| **i >= count || **i == 0);
        let rising = smaller.windows(2).all(|pair| pair[0] < pair[1]);
        if wrong.is_some() || !rising {
            let message = "`downscale_indices` are layers from 1, in order";
            return Err(error_at(node, "arch", message, ""));
        }
        let scales = self.scales(node, smaller.len() + 1)?;
        let in_channels = channels_in(self.in_channels);
        let (embed, mut stride) = self.embed(in_channels, embed_dims)?;
        let picture = sides(node, "img_size", self.img_size.as_ref(), 224)?;
        let grid = picture.map(|side| embed.conv.side(side).unwrap_or(0));
        let spatial = self.rel_pos_spatial != Some(false);
        if spatial && grid[0] != grid[1] {
            let message = "distances need an `img_size` of equal sides";
            let help = "or rel_pos_spatial=False";
            return Err(error_at(node, "img_size", message, help));
        }
        let kernel = match &self.pool_kernel {
            None => 3,
            Some(OneOrEach::Each(list)) if list.len() == 2 && list[0] == list[1] => list[0].get(),
            Some(_) => {
                let message = "`pool_kernel` is a pair of equal numbers";
                return Err(unsupported(node, "pool_kernel", message, "such as (3, 3)"));
            }
        };
        let norm = some_layer_norm(node, "norm_cfg", NormConfig::layer(1e-6))?;
        let most = rate(node, "drop_path_rate", self.drop_path_rate)?;
        let rates = drop_path_rates(most, &[count]).concat();
        let widens = self.dim_mul.map_or(2, Bounded::get);
        let more_heads = self.head_mul.map_or(2, Bounded::get);
        let in_attention = self.dim_mul_in_attention != Some(false);
        let mut kv_stride = self.adaptive_kv_stride.map_or(4, Bounded::get);
        let (mut channels, mut side) = (embed_dims, grid[0]);
        let (mut blocks, mut outputs, mut features) = (Vec::new(), Vec::new(), Vec::new());
        let mut scale = 0;
        for (i, rate) in rates.iter().enumerate() {
            let shrinks = smaller.contains(&i);
            let mut q_stride = 1;
            if shrinks {
                heads = heads.saturating_mul(more_heads);
                q_stride = 2;
                kv_stride = (kv_stride / 2).max(1);
                stride *= 2;
            }
            let next = smaller.contains(&(i + 1));
            let wide = if in_attention { shrinks } else { next };
            let out = match wide {
                true => channels.saturating_mul(widens),
                false => channels,
            };
            let inner = if in_attention { out } else { channels };
            let hidden = (inner as f64 * self.mlp_ratio.unwrap_or(4.0)) as usize;
            check_width(node, "arch", [inner, hidden.max(1), heads])?;
            check_width(node, "arch", [out, hidden.max(1), 1])?;
            let rows = 2 * (side / q_stride).max(side / kv_stride);
            if spatial && rows == 0 {
                let message = "`img_size` is too small for so many scales";
                return Err(error_at(node, "img_size", message, ""));
            }
            blocks.push(BlockPlan {
                channels: [channels, out],
                inner,
                hidden: hidden.max(1),
                heads,
                qkv_bias: self.qkv_bias.unwrap_or(true),
                kernel,
                strides: [q_stride, kv_stride],
                distances: spatial.then(|| rows - 1),
                distances_init: match self.rel_pos_zero_init {
                    Some(true) => Init::Constant(0.0),
                    _ => NARROW,
                },
                residual_pooling: self.residual_pooling != Some(false),
                drop_path_rate: *rate,
                norm: norm.clone(),
            });
            channels = out;
            side /= q_stride;
            if next || i + 1 == count {
                if scales.contains(&scale) {
                    outputs.push((i, scale));
                    features.push(Feature { channels, stride });
                }
                scale += 1;
            }
        }
        let mode = self.interpolate_mode.as_deref().unwrap_or("bicubic");
        let Some(how) = Interpolation::named(mode) else {
            let message = format!("`interpolate_mode` '{mode}' is not supported");
            let help = "'bicubic' and 'bilinear' are";
            return Err(unsupported(node, "interpolate_mode", message, help));
        };
        if grid.contains(&0) {
            let message = "`img_size` is smaller than a patch";
            return Err(error_at(node, "img_size", message, ""));
        }
        Ok(Plan {
            channels_in: in_channels,
            embed,
            position: (self.use_abs_pos_embed == Some(true)).then_some((grid, how)),
            blocks,
            norm,
            outputs,
            features,
        })
    }
}

/// MViTv2 tiny to large.
#[derive(Debug)]
pub struct MViT {
    embed: PatchEmbed,
    position: Option<PositionEmbedding>,
    blocks: Vec<Block>,
    /// Blocks after which there is a map, and the norm there, which the next block's input has gone through, too.
    outputs: Vec<(usize, Norm)>,
    features: Vec<Feature>,
    channels_in: usize,
}

impl MViT {
    fn new(plan: &Plan, params: &Params) -> Self {
        let channels = plan.embed.channels_out;
        let position = plan.position.map(|(grid, how)| {
            PositionEmbedding::new("pos_embed", grid, channels, how, NARROW, params)
        });
        let embed = plan.embed.init(&params.at("patch_embed"));
        let at = params.at("blocks");
        let blocks = plan.blocks.iter().enumerate();
        let blocks = blocks.map(|(i, block)| Block::new(block, &at.at(i)));
        let blocks = blocks.collect();
        let norm = |(i, scale): &(usize, usize)| {
            let channels = plan.blocks[*i].channels[1];
            let at = params.at(format!("norm{scale}"));
            (*i, plan.norm.init(channels, &at))
        };
        Self {
            embed,
            position,
            blocks,
            outputs: plan.outputs.iter().map(norm).collect(),
            features: plan.features.clone(),
            channels_in: plan.channels_in,
        }
    }
}

impl Backbone for MViT {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.embed.forward(x);
        if let Some(position) = &self.position {
            x = position.add(x);
        }
        let mut maps = Vec::new();
        let mut outputs = self.outputs.iter().peekable();
        for (i, block) in self.blocks.iter().enumerate() {
            let Some((next, norm)) = outputs.peek() else {
                break; // nothing after the last output keeps statistics
            };
            x = block.forward(x);
            if *next == i {
                x = norm.forward_tokens(x);
                maps.push(x.clone().permute([0, 3, 1, 2]));
                outputs.next();
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

/// Attention and two layers, each after a norm, added to an input that is pooled and widened as they are.
#[derive(Debug)]
struct Block {
    norm1: Norm,
    attention: Attention,
    norm2: Norm,
    mlp: Mlp,
    proj: Option<Linear>,
    /// Whether the attention widens, not the layers after it.
    in_attention: bool,
    /// Stride of the map.
    stride: usize,
    drop_paths: [Option<DropPath>; 2],
}

impl Block {
    fn new(plan: &BlockPlan, at: &Params) -> Self {
        let [channels_in, channels_out] = plan.channels;
        let norm1 = plan.norm.init(channels_in, &at.at("norm1"));
        let attention = Attention::new(plan, &at.at("attn"));
        let norm2 = plan.norm.init(plan.inner, &at.at("norm2"));
        let shape = [plan.inner, plan.hidden, channels_out];
        let places = [&at.at("mlp.fc1"), &at.at("mlp.fc2")];
        let mlp = Mlp::new(shape, Activation::Gelu, 0.0, places);
        let widens = channels_in != channels_out;
        let drop = |name| DropPath::new(plan.drop_path_rate, &at.at(name));
        Self {
            norm1,
            attention,
            norm2,
            mlp,
            proj: widens.then(|| Linear::new(channels_in, channels_out, true, &at.at("proj"))),
            in_attention: plan.inner == channels_out,
            stride: plan.strides[0],
            drop_paths: ["drop_path.0", "drop_path.1"].map(drop),
        }
    }

    /// # Shapes
    /// - input `[B, H, W, C]`, output `[B, H', W', C']`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let normed = self.norm1.forward_tokens(x.clone());
        let y = self.attention.forward(normed.clone());
        let skip = match &self.proj {
            Some(proj) if self.in_attention => proj.forward(normed),
            _ => x,
        };
        let skip = match self.stride {
            1 => skip,
            stride => {
                let kernel = stride + 1;
                let map = skip.permute([0, 3, 1, 2]);
                max_pool2d(map, kernel, stride, kernel / 2).permute([0, 2, 3, 1])
            }
        };
        let x = DropPath::add(&self.drop_paths[0], skip, y);
        let normed = self.norm2.forward_tokens(x.clone());
        let y = self.mlp.forward(normed.clone());
        let skip = match &self.proj {
            Some(proj) if !self.in_attention => proj.forward(normed),
            _ => x,
        };
        DropPath::add(&self.drop_paths[1], skip, y)
    }
}

/// Attention of pooled queries to pooled keys and values (section 3.1).
#[derive(Debug)]
struct Attention {
    /// Learned vectors for distances down and across, `[rows, channels of a head]`.
    distances: Option<[Weight<2>; 2]>,
    qkv: Linear,
    proj: Linear,
    pools: [Pool; 3],
    heads: usize,
    residual_pooling: bool,
}

/// A convolution of each channel of a head, then a norm.
#[derive(Debug)]
struct Pool {
    conv: ConvNormAct,
    norm: Norm,
}

impl Attention {
    fn new(plan: &BlockPlan, at: &Params) -> Self {
        let head = plan.inner / plan.heads;
        let distances = plan.distances.map(|rows| {
            let table = |name| at.weight(name, [rows, head], plan.distances_init);
            ["rel_pos_h", "rel_pos_w"].map(table)
        });
        let qkv = Linear::new(
            plan.channels[0],
            3 * plan.inner,
            plan.qkv_bias,
            &at.at("qkv"),
        );
        let proj = Linear::new(plan.inner, plan.inner, true, &at.at("proj"));
        let [q, kv] = plan.strides;
        let pool = |(name, stride): (&str, usize)| {
            let conv = ConvConfig::new(head, head, plan.kernel).stride(stride);
            let conv = conv.pad(plan.kernel / 2).groups(head).bias(false);
            let conv = conv.init(&at.at(format!("pool_{name}")), None);
            let norm = plan.norm.init(head, &at.at(format!("norm_{name}")));
            Pool { conv, norm }
        };
        Self {
            distances,
            qkv,
            proj,
            pools: [("q", q), ("k", kv), ("v", kv)].map(pool),
            heads: plan.heads,
            residual_pooling: plan.residual_pooling,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let qkv = self.qkv.forward(x.reshape([b, h * w, c]));
        let [q, k, v] = split_qkv(qkv, self.heads);
        let [of_q, of_k, of_v] = &self.pools;
        let (q, q_size) = of_q.forward(q, [h, w]);
        let (k, k_size) = of_k.forward(k, [h, w]);
        let (v, _) = of_v.forward(v, [h, w]);
        let [_, _, _, head] = q.dims();
        let scale = (head as f64).sqrt().recip();
        let scores = product(q.clone() * scale, k.swap_dims(2, 3));
        let scores = match &self.distances {
            Some(tables) => scores + by_distance(q.clone(), tables, q_size, k_size),
            None => scores,
        };
        let y = product(softmax(scores, 1.0, None, None), v);
        let y = if self.residual_pooling { y + q } else { y };
        let y = self.proj.forward(join_heads(y));
        let [_, _, c] = y.dims();
        y.reshape([b, q_size[0], q_size[1], c])
    }
}

impl Pool {
    /// # Shapes
    /// - input `[B, heads, H * W, d]`, output `[B, heads, H' * W', d]`, and H' and W'
    fn forward(&self, x: Tensor<4>, [h, w]: [usize; 2]) -> (Tensor<4>, [usize; 2]) {
        let [b, heads, _, d] = x.dims();
        let x = conv_on_tokens(&self.conv, x.reshape([b * heads, h, w, d]));
        let [_, h, w, _] = x.dims();
        let x = self.norm.forward_tokens(x);
        (x.reshape([b, heads, h * w, d]), [h, w])
    }
}

/// What is added to scores by how far apart a query and a key are: down, and across (section 3.1, decomposed relative positions).
///
/// # Shapes
/// - q `[B, heads, H * W, d]`, output `[B, heads, H * W, KH * KW]`
fn by_distance(
    q: Tensor<4>,
    [down, across]: &[Weight<2>; 2],
    [h, w]: [usize; 2],
    [kh, kw]: [usize; 2],
) -> Tensor<4> {
    let [b, heads, _, d] = q.dims();
    let n = b * heads;
    let q = q.reshape([n, h, w, d]);
    // Each row of queries with the vectors of its distances to the rows of keys; likewise each column.
    let rows = q.clone().swap_dims(0, 1).reshape([h, n * w, d]);
    let rows = product(rows, vectors(down, h, kh).swap_dims(1, 2));
    let rows = rows.reshape([h, n, w, kh]).swap_dims(0, 1);
    let columns = q.permute([2, 0, 1, 3]).reshape([w, n * h, d]);
    let columns = product(columns, vectors(across, w, kw).swap_dims(1, 2));
    let columns = columns.reshape([w, n, h, kw]).permute([1, 2, 0, 3]);
    let rows = rows.reshape([n, h, w, kh, 1]);
    let columns = columns.reshape([n, h, w, 1, kw]);
    (rows + columns).reshape([b, heads, h * w, kh * kw])
}

/// The vectors of the distances between `queries` and `keys` of one axis, `[queries, keys, d]`.
fn vectors(table: &Weight<2>, queries: usize, keys: usize) -> Tensor<3> {
    let table = table.get();
    let [rows, d] = table.dims();
    let most = queries.max(keys);
    let wanted = 2 * most - 1;
    let table = match rows == wanted {
        true => table,
        false => {
            let map = table.reshape([1, 1, rows, d]);
            let map = resize(map, [wanted, d], Interpolation::Bilinear, false);
            map.reshape([wanted, d])
        }
    };
    // In the original's order and precision: what is cut off below hangs on the last bit.
    let [of_query, of_key] = [queries, keys].map(|side| most as f64 / side as f64);
    let first = ((keys - 1) as f64 * of_key) as f32;
    let [of_query, of_key] = [of_query, of_key].map(|ratio| ratio as f32);
    let rows: Vec<i64> = (0..queries)
        .flat_map(|q| {
            let at = q as f32 * of_query;
            (0..keys).map(move |k| (at - k as f32 * of_key + first) as i64)
        })
        .map(|row| row.clamp(0, wanted as i64 - 1))
        .collect();
    gather_rows(table, &rows).reshape([queries, keys, d])
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("arch='x'", "known are tiny, small, base, large"),
            ("out_scales=4", "`out_scales` names scale 4; there are 4"),
            ("img_size=(224, 192)", "equal sides"),
            ("img_size=16", "too small for so many scales"),
            ("pool_kernel=(3, 5)", "a pair of equal numbers"),
            (
                "arch=dict(embed_dims=8, num_layers=2, num_heads=1, downscale_indices=[2])",
                "in order",
            ),
            (
                "arch=dict(embed_dims=8, num_layers=2, num_heads=3, downscale_indices=[1])",
                "3 heads do not divide 8",
            ),
        ] {
            let text = format!("dict(type='mmpretrain.MViT', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
