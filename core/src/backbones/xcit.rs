//! XCiT (El-Nouby et al. 2021, arXiv 2106.09681) as MMPretrain 1.2.0 builds it: layers of cross-covariance attention over the tokens of
//! patches, then some that a class token gathers from them. `out_indices` counts both kinds.
//!
//! Shapes: each map `[N, embed_dims, H / patch_size, W / patch_size]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::channel_attention::{ChannelAttention, ChannelAttentionShape};
use super::fourier::FourierPositions;
use super::options::{OutIndices, Sides, act, norm, rate, token_norm, widened};
use super::vision_transformer::maps_only;
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, DropPath, Dropout, Init, InitRule, LayerScale,
    Linear, Mlp, Norm, NormConfig, Params, Weight, attend_without, join_heads, map_from_tokens,
    split_heads, tokens_from_map,
};
use crate::limits::{Channels, Layers, Pixels};

/// The keys of `type='mmpretrain.XCiT'`.
#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<Sides<Channels>>,
    patch_size: Option<Pixels>,
    in_channels: Option<Channels>,
    embed_dims: Option<Channels>,
    depth: Option<Layers>,
    cls_attn_layers: Option<Layers>,
    num_heads: Option<Channels>,
    mlp_ratio: Option<f64>,
    qkv_bias: Option<bool>,
    drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    use_pos_embed: Option<bool>,
    layer_scale_init_value: Option<f64>,
    tokens_norm: Option<bool>,
    out_type: Option<String>,
    out_indices: Option<OutIndices>,
    final_norm: Option<bool>,
    frozen_stages: Option<i64>,
}

const OTHERS: &[&str] = &["bn_norm_cfg", "norm_cfg", "act_cfg", "init_cfg"];

/// What the layers share.
struct Shape {
    channels: usize,
    heads: usize,
    hidden: usize,
    qkv_bias: bool,
    scale: f64,
    tokens_norm: bool,
    drop_rate: f64,
    attn_drop_rate: f64,
    drop_path_rate: f64,
    norm: NormConfig,
    map_norm: NormConfig,
    act: Activation,
}

/// What the keys come to.
struct Plan {
    shape: Shape,
    patch_size: usize,
    channels_in: usize,
    layers: usize,
    class_layers: usize,
    positions: bool,
    final_norm: bool,
    out_indices: Vec<usize>,
    frozen_stages: i64,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let plan = keys.plan(node)?;
    build.initial(node, |at| {
        let init = Init::TruncNormal {
            mean: 0.0,
            std: 1.0,
            a: -2.0,
            b: 2.0,
        };
        at.initialise(InitRule::of(&["Linear"], init));
    });
    Ok(Box::new(Xcit::new(plan, &build.params)))
}

impl Keys {
    fn plan(self, node: &Node) -> Result<Plan, Diagnostics> {
        maps_only(node, self.out_type.as_deref(), "cls_token")?;
        let patch_size = self.patch_size.map_or(16, Pixels::get);
        if ![8, 16].contains(&patch_size) {
            let message = format!("`patch_size` is {patch_size}, must be 8 or 16");
            return Err(error_at(node, "patch_size", message, ""));
        }
        let sides = self
            .img_size
            .map_or([224; 2], |s| s.both().map(Channels::get));
        if sides.iter().any(|side| side % patch_size != 0) {
            let message = format!("`img_size` must be a multiple of `patch_size`, {patch_size}");
            return Err(error_at(node, "img_size", message, ""));
        }
        let layers = self.depth.map_or(12, Layers::get);
        let class_layers = self.cls_attn_layers.map_or(2, Layers::get);
        let count = layers + class_layers;
        let final_norm = self.final_norm.unwrap_or(true);
        if !final_norm && class_layers > 0 {
            let message = "XCiT's class attention layers end with a norm";
            return Err(error_at(
                node,
                "final_norm",
                message,
                "final_norm=True is possible",
            ));
        }
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > count as i64 + 1 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} layers");
            return Err(error_at(node, "frozen_stages", message, ""));
        }
        let things = "layers";
        let out_indices = OutIndices::of(self.out_indices.as_ref(), &[-1], count, things, node)?;
        Ok(Plan {
            patch_size,
            channels_in: self.in_channels.map_or(3, Channels::get),
            layers,
            class_layers,
            positions: self.use_pos_embed.unwrap_or(true),
            final_norm,
            out_indices,
            frozen_stages,
            shape: self.shape(node, patch_size)?,
        })
    }

    fn shape(&self, node: &Node, patch_size: usize) -> Result<Shape, Diagnostics> {
        let channels = self.embed_dims.map_or(768, Channels::get);
        let heads = self.num_heads.map_or(12, Channels::get);
        if !channels.is_multiple_of(heads) {
            let message = format!("{channels} channels cannot be shared among {heads} heads");
            return Err(error_at(node, "num_heads", message, ""));
        }
        if channels < patch_size / 2 {
            let message = format!(
                "`embed_dims` is {channels}, at least {} are needed",
                patch_size / 2
            );
            return Err(error_at(node, "embed_dims", message, ""));
        }
        let of_maps = [channels, channels / 2, channels / 4, channels / 8];
        let of_maps = if patch_size == 16 {
            &of_maps[..]
        } else {
            &of_maps[..3]
        };
        Ok(Shape {
            channels,
            heads,
            hidden: widened(node, "mlp_ratio", channels, self.mlp_ratio.unwrap_or(4.0))?,
            qkv_bias: self.qkv_bias.unwrap_or(true),
            scale: self.layer_scale_init_value.unwrap_or(1.0),
            tokens_norm: self.tokens_norm.unwrap_or(false),
            drop_rate: rate(node, "drop_rate", self.drop_rate)?,
            attn_drop_rate: rate(node, "attn_drop_rate", self.attn_drop_rate)?,
            drop_path_rate: rate(node, "drop_path_rate", self.drop_path_rate)?,
            norm: token_norm(node, "norm_cfg", NormConfig::layer(1e-6))?,
            map_norm: norm(node, "bn_norm_cfg", NormConfig::batch(1e-5), of_maps)?,
            act: act(node, "act_cfg", Activation::Gelu)?,
        })
    }
}

/// XCiT.
#[derive(Debug)]
pub struct Xcit {
    patch: Vec<ConvNormAct>,
    /// `[1, 1, C]`
    class_token: Weight<3>,
    positions: Option<FourierPositions>,
    drop: Option<Dropout>,
    layers: Vec<Layer>,
    class_layers: Vec<ClassLayer>,
    norm: Option<Norm>,
    out_indices: Vec<usize>,
    feature: Feature,
    channels_in: usize,
}

impl Xcit {
    fn new(plan: Plan, params: &Params) -> Self {
        let shape = &plan.shape;
        let channels = shape.channels;
        let small = Init::TruncNormal {
            mean: 0.0,
            std: 0.02,
            a: -2.0,
            b: 2.0,
        };
        let class_token = params.weight("cls_token", [1, 1, channels], small);
        let patch = patch(&plan, &params.at("patch_embed.proj"));
        let positions = plan.positions.then(|| {
            let at = params.at("pos_embed.token_projection.conv");
            at.initialise(InitRule::all(Init::KAIMING, 0.0));
            FourierPositions::new(channels, &at)
        });
        let layers = params.at("xca_layers");
        let layers = (0..plan.layers).map(|i| Layer::new(shape, &layers.at(i)));
        let layers = layers.collect();
        let class_layers = params.at("ca_layers");
        let class_layers =
            (0..plan.class_layers).map(|i| ClassLayer::new(shape, &class_layers.at(i)));
        let class_layers = class_layers.collect();
        let norm = (plan.final_norm).then(|| shape.norm.init(channels, &params.at("norm")));
        freeze(params, &plan);
        Self {
            patch,
            class_token,
            positions,
            drop: Dropout::new(shape.drop_rate, &params.at("pos_drop")),
            layers,
            class_layers,
            norm,
            feature: Feature {
                channels,
                stride: plan.patch_size,
            },
            out_indices: plan.out_indices,
            channels_in: plan.channels_in,
        }
    }
}

/// Three or four convolutions of stride 2, each of twice the channels.
fn patch(plan: &Plan, at: &Params) -> Vec<ConvNormAct> {
    let shape = &plan.shape;
    let count = if plan.patch_size == 16 { 4 } else { 3 };
    let mut channels = plan.channels_in;
    let layer = |i: usize| {
        let out = shape.channels >> (count - 1 - i);
        let style = ConvStyle {
            norm: Some(shape.map_norm.clone()),
            act: (i + 1 < count).then_some(shape.act),
            initialises: true,
            ..ConvStyle::default()
        };
        let conv = ConvConfig::new(channels, out, 3).stride(2).pad(1);
        channels = out;
        style.module(conv, &at.at(i))
    };
    (0..count).map(layer).collect()
}

/// The original's `_freeze_stages`, whose numbers are one more than the layers that they freeze.
fn freeze(params: &Params, plan: &Plan) {
    let stages = plan.frozen_stages;
    if stages < 0 {
        return;
    }
    params.at("pos_embed").freeze();
    params.at("patch_embed").freeze();
    params.at("pos_drop").freeze();
    if stages > plan.layers as i64 {
        params.at("cls_token").require_grad(false);
    }
    for i in 0..usize::try_from(stages - 1).unwrap_or(0) {
        match i.checked_sub(plan.layers) {
            None => params.at(format!("xca_layers.{i}")).freeze(),
            Some(i) => params.at(format!("ca_layers.{i}")).freeze(),
        }
    }
    if stages == (plan.layers + plan.class_layers) as i64 {
        params.at("norm").freeze();
    }
}

impl Backbone for Xcit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.patch.iter().fold(x, |x, layer| layer.forward(x));
        let [n, c, h, w] = x.dims();
        let mut tokens = tokens_from_map(match &self.positions {
            Some(positions) => {
                let positions = positions.forward([h, w], &x);
                x + positions
            }
            None => x,
        });
        if let Some(drop) = &self.drop {
            tokens = drop.forward(tokens);
        }
        let last = self.out_indices.last().copied().unwrap_or(0);
        let mut maps = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            // Running statistics are in the state dict, wanted or not.
            if i <= last || self.layers[i..].iter().any(|l| l.local_norm.learning()) {
                tokens = layer.forward(tokens, [h, w]);
            }
            if self.out_indices.contains(&i) {
                maps.push(map_from_tokens(tokens.clone(), [h, w]));
            }
        }
        if last < self.layers.len() {
            return maps;
        }
        let class = self.class_token.get().expand([n, 1, c]);
        let mut x = Tensor::cat(vec![class, tokens], 1);
        for (i, layer) in self.class_layers.iter().enumerate() {
            x = layer.forward(x);
            if i + 1 == self.class_layers.len()
                && let Some(norm) = &self.norm
            {
                x = norm.forward_tokens(x);
            }
            if self.out_indices.contains(&(i + self.layers.len())) {
                maps.push(map_from_tokens(x.clone().narrow(1, 1, h * w), [h, w]));
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        vec![self.feature; self.out_indices.len()]
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// Attention of channels, then of neighbours by two convolutions, then two fully connected layers.
#[derive(Debug)]
struct Layer {
    scales: [LayerScale; 3],
    norms: [Norm; 3],
    attention: ChannelAttention,
    /// Each followed by what comes between them: an activation, which is its own, and a norm.
    local: [ConvNormAct; 2],
    local_norm: Norm,
    mlp: Mlp,
    drop_path: Option<DropPath>,
}

impl Layer {
    fn new(shape: &Shape, at: &Params) -> Self {
        let c = shape.channels;
        let scale = |name| LayerScale::new(name, c, shape.scale, at);
        let norm = |name: &str| shape.norm.init(c, &at.at(name));
        let scales = ["gamma1", "gamma3", "gamma2"].map(scale);
        let first = norm("norm1");
        let attention = ChannelAttentionShape {
            channels: c,
            heads: shape.heads,
            qkv_bias: shape.qkv_bias,
            scale: "temperature",
            attn_drop_rate: shape.attn_drop_rate,
            drop_rate: shape.drop_rate,
        };
        let attention = ChannelAttention::new(&attention, &at.at("attn"));
        let third = norm("norm3");
        let local = at.at("local_mp");
        let conv = |name: &str, act| {
            let style = ConvStyle {
                act,
                ..ConvStyle::default()
            };
            style.module(ConvConfig::new(c, c, 3).pad(1).groups(c), &local.at(name))
        };
        let one = conv("conv1", Some(shape.act));
        let name = format!("conv1.{}", shape.map_norm.abbreviation());
        let local_norm = shape.map_norm.init(c, &local.at(name));
        let two = conv("conv2", None);
        let second = norm("norm2");
        Self {
            scales,
            norms: [first, third, second],
            attention,
            local: [one, two],
            local_norm,
            mlp: Mlp::ffn(c, shape.hidden, shape.act, shape.drop_rate, &at.at("ffn")),
            drop_path: DropPath::new(shape.drop_path_rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
        let add = |i: usize, x: Tensor<3>, branch: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let branch = branch(self.norms[i].forward_tokens(x.clone()));
            DropPath::add(&self.drop_path, x, self.scales[i].forward_tokens(branch))
        };
        let x = add(0, x, &|x| self.attention.forward(x));
        let x = add(1, x, &|x| {
            let [one, two] = &self.local;
            let map = self
                .local_norm
                .forward(one.forward(map_from_tokens(x, size)));
            tokens_from_map(two.forward(map))
        });
        add(2, x, &|x| self.mlp.forward(x))
    }
}

/// Attention of the class token alone to all, then two fully connected layers for it alone.
#[derive(Debug)]
struct ClassLayer {
    scales: Option<[LayerScale; 2]>,
    norms: [Norm; 2],
    /// Of q, k, v.
    qkv: [Linear; 3],
    proj: Linear,
    heads: usize,
    attn_drop: Option<Dropout>,
    drop: Option<Dropout>,
    mlp: Mlp,
    /// Whether the second norm is of all tokens.
    tokens_norm: bool,
}

impl ClassLayer {
    fn new(shape: &Shape, at: &Params) -> Self {
        let c = shape.channels;
        let scale = |name| LayerScale::new(name, c, shape.scale, at);
        let scales = (shape.scale > 0.0).then(|| ["gamma1", "gamma2"].map(scale));
        let norm = |name: &str| shape.norm.init(c, &at.at(name));
        let first = norm("norm1");
        let attn = at.at("attn");
        let qkv = ["q", "k", "v"].map(|name| Linear::new(c, c, shape.qkv_bias, &attn.at(name)));
        let proj = Linear::new(c, c, true, &attn.at("proj"));
        Self {
            scales,
            norms: [first, norm("norm2")],
            qkv,
            proj,
            heads: shape.heads,
            attn_drop: Dropout::new(shape.attn_drop_rate, &attn.at("attn_drop")),
            drop: Dropout::new(shape.drop_rate, &attn.at("proj_drop")),
            mlp: Mlp::ffn(c, shape.hidden, shape.act, shape.drop_rate, &at.at("ffn")),
            tokens_norm: shape.tokens_norm,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let scaled = |i: usize, x: Tensor<3>| match &self.scales {
            Some(scales) => scales[i].forward_tokens(x),
            None => x,
        };
        let rest = |x: &Tensor<3>| {
            let places = x.dims()[1] - 1;
            x.clone().narrow(1, 1, places)
        };
        let class = |x: &Tensor<3>| x.clone().narrow(1, 0, 1);
        let [first, second] = &self.norms;
        let normed = first.forward_tokens(x.clone());
        let attended = self.attend(class(&normed), normed.clone());
        let x = x + scaled(0, Tensor::cat(vec![attended, rest(&normed)], 1));
        let x = match self.tokens_norm {
            true => second.forward_tokens(x),
            false => Tensor::cat(vec![second.forward_tokens(class(&x)), rest(&x)], 1),
        };
        let fed = scaled(1, self.mlp.forward(class(&x)));
        x.clone() + Tensor::cat(vec![fed, rest(&x)], 1)
    }

    fn attend(&self, class: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
        let [of_q, of_k, of_v] = &self.qkv;
        let q = split_heads(of_q.forward(class), self.heads);
        let k = split_heads(of_k.forward(x.clone()), self.heads);
        let v = split_heads(of_v.forward(x), self.heads);
        let scale = (q.dims()[3] as f64).powf(-0.5);
        let x = join_heads(attend_without(q, k, v, scale, None, &self.attn_drop));
        let x = self.proj.forward(x);
        match &self.drop {
            Some(drop) => drop.forward(x),
            None => x,
        }
    }
}
