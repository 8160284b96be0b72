//! Vision transformers as MMPretrain 1.2.0 builds them: ViT (Dosovitskiy et al. 2020, arXiv 2010.11929), its distilled kin (DeiT, Touvron et
//! al. 2020, arXiv 2012.12877), DeiT III (Touvron et al. 2022, arXiv 2204.07118) and BEiT (Bao et al. 2021, arXiv 2106.08254).
//!
//! Patches of a picture become tokens, which go through encoder layers that keep their number. `out_indices` counts the layers.
//! Shapes: each map `[N, embed_dims, H / patch, W / patch]`.

mod embedding;
mod layer;

use burn::tensor::Tensor;
use serde::Deserialize;

pub(super) use layer::{EncoderLayer, LayerNames, LayerShape, QkvBias, Scale};

use self::embedding::{PatchEmbed, PatchPlan, PositionEmbed, SMALL};
use self::layer::PlaceBias;
use super::options::{OutIndices, Sides, act, rate, rising, token_norm};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{Activation, Dropout, Init, Norm, NormConfig, Params, Weight, map_from_tokens};
use crate::limits::{Channels, Layers, Pixels};
use crate::ops::resize::Interpolation;

/// The keys of `type='mmpretrain.VisionTransformer'` and its kin.
#[derive(Debug, Deserialize)]
struct Keys {
    img_size: Option<Sides<Side>>,
    patch_size: Option<Sides<Pixels>>,
    in_channels: Option<Channels>,
    out_indices: Option<OutIndices>,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    qkv_bias: Option<bool>,
    final_norm: Option<bool>,
    out_type: Option<String>,
    with_cls_token: Option<bool>,
    frozen_stages: Option<i64>,
    interpolate_mode: Option<String>,
    layer_scale_init_value: Option<f64>,
    pre_norm: Option<bool>,
    use_layer_scale: Option<bool>,
    bias: Option<BiasKey>,
    use_abs_pos_emb: Option<bool>,
    use_rel_pos_bias: Option<bool>,
    use_shared_rel_pos_bias: Option<bool>,
}

/// A side of the picture that position embeddings are made for.
type Side = Bounded<1, 16_384>;

/// Keys that are read for themselves.
const OTHERS: &[&str] = &["arch", "norm_cfg", "patch_cfg", "layer_cfgs", "init_cfg"];

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum BiasKey {
    Said(bool),
    Named(String),
}

/// What `layer_cfgs` may change of a layer.
#[derive(Debug, Deserialize)]
struct LayerKeys {
    num_heads: Option<Channels>,
    feedforward_channels: Option<Channels>,
    layer_scale_init_value: Option<f64>,
    drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    num_fcs: Option<Layers>,
    qkv_bias: Option<bool>,
    ffn_type: Option<String>,
}

/// The keys of an `arch` that is no name.
#[derive(Clone, Copy, Debug, Deserialize)]
struct ArchKeys {
    embed_dims: Channels,
    num_layers: Bounded<1, 128>,
    num_heads: Channels,
    feedforward_channels: Channels,
}

/// Channels, layers, heads and inner channels.
type Arch = [usize; 4];

/// Names, and what they mean.
type ArchRow = (&'static [&'static str], Arch);

const SMALL_ARCH: ArchRow = (&["s", "small"], [768, 8, 8, 2304]);
const BASE: ArchRow = (&["b", "base"], [768, 12, 12, 3072]);
const LARGE: ArchRow = (&["l", "large"], [1024, 24, 16, 4096]);
const HUGE: ArchRow = (&["h", "huge"], [1280, 32, 16, 5120]);
const EVA_GIANT: ArchRow = (&["eva-g", "eva-giant"], [1408, 40, 16, 6144]);
const DEIT_TINY: ArchRow = (&["deit-t", "deit-tiny"], [192, 12, 3, 768]);
const DEIT_SMALL: ArchRow = (&["deit-s", "deit-small"], [384, 12, 6, 1536]);
const DEIT_BASE: ArchRow = (&["deit-b", "deit-base"], [768, 12, 12, 3072]);
const VIT: [ArchRow; 10] = [
    SMALL_ARCH,
    BASE,
    LARGE,
    HUGE,
    EVA_GIANT,
    DEIT_TINY,
    DEIT_SMALL,
    (&["dinov2-s", "dinov2-small"], DEIT_SMALL.1),
    DEIT_BASE,
    (&["dinov2-g", "dinov2-giant"], [1536, 40, 24, 6144]),
];
const BEIT: [ArchRow; 7] = [
    SMALL_ARCH, BASE, LARGE, EVA_GIANT, DEIT_TINY, DEIT_SMALL, DEIT_BASE,
];
const DEIT3: [ArchRow; 5] = [
    (&["s", "small"], [384, 12, 6, 1536]),
    (&["m", "medium"], [512, 12, 8, 2048]),
    BASE,
    LARGE,
    HUGE,
];

/// The value of DeiT3's factors at the beginning.
const DEIT3_SCALE: f64 = 1e-5;

/// Which of the registered classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    VisionTransformer,
    DistilledVisionTransformer,
    DeiT3,
    BEiTViT,
}
use Variant::{BEiTViT, DeiT3, DistilledVisionTransformer};

impl Variant {
    fn arches(self) -> &'static [ArchRow] {
        match self {
            DeiT3 => &DEIT3,
            BEiTViT => &BEIT,
            _ => &VIT,
        }
    }

    /// Whether its class has the key.
    fn knows(self, key: &str) -> bool {
        match key {
            "frozen_stages" | "layer_scale_init_value" => self != DeiT3,
            "pre_norm" => !matches!(self, DeiT3 | BEiTViT),
            "qkv_bias" => self != BEiTViT,
            "with_cls_token" => self != DistilledVisionTransformer,
            "use_layer_scale" => self == DeiT3,
            _ => self == BEiTViT,
        }
    }
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, Variant::VisionTransformer)
}

pub(super) fn build_distilled(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, DistilledVisionTransformer)
}

pub(super) fn build_deit3(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, DeiT3)
}

pub(super) fn build_beit(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    read(node, build, BEiTViT)
}

fn read(node: &Node, build: &Build, variant: Variant) -> Result<Box<dyn Backbone>, Diagnostics> {
    let keys: Keys = node.read_knowing(OTHERS)?;
    let plan = keys.plan(node, variant)?;
    Ok(Box::new(VisionTransformer::new(plan, &build.params)))
}

/// What the keys come to: nothing is left to be read or refused.
struct Plan {
    variant: Variant,
    channels: usize,
    channels_in: usize,
    picture: [usize; 2],
    places: [usize; 2],
    patch: PatchPlan,
    /// Names of the tokens before those of patches.
    tokens: &'static [&'static str],
    /// How position embeddings are resized, if there are any.
    positions: Option<Interpolation>,
    /// Whether all layers share biases for places.
    shared_bias: bool,
    layers: Vec<LayerShape>,
    norm: NormConfig,
    pre_norm: bool,
    final_norm: bool,
    out_indices: Vec<usize>,
    frozen_stages: i64,
    drop_rate: f64,
}

impl Keys {
    fn plan(self, node: &Node, variant: Variant) -> Result<Plan, Diagnostics> {
        self.refuse(node, variant)?;
        let arch = arch(node, variant)?;
        let [channels, count, ..] = arch;
        let channels_in = self.in_channels.map_or(3, Channels::get);
        let norm = token_norm(node, "norm_cfg", NormConfig::layer(1e-6))?;
        let pre_norm = self.pre_norm.unwrap_or(false);
        let patch = PatchPlan::read(node, self.patch_size, [channels_in, channels], !pre_norm)?;
        let picture = self.img_size.map_or([224; 2], |s| s.both().map(Side::get));
        let places = patch.places(picture, node)?;
        let tokens: &[&str] = match (variant, self.with_cls_token) {
            (DistilledVisionTransformer, _) => &["cls_token", "dist_token"],
            (_, Some(false)) => &[],
            _ => &["cls_token"],
        };
        let beit = variant == BEiTViT;
        let (own, shared) = self.place_biases(node, beit, !tokens.is_empty())?;
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        if frozen_stages > count as i64 {
            let message = format!("`frozen_stages` is {frozen_stages}, there are {count} layers");
            return Err(error_at(node, "frozen_stages", message, ""));
        }
        let things = "layers";
        let out_indices = OutIndices::of(self.out_indices.as_ref(), &[-1], count, things, node)?;
        let positions = !beit || self.use_abs_pos_emb.unwrap_or(false);
        let shape = self.layer(node, variant, arch, &norm, own.then_some(places))?;
        let rates = rising(rate(node, "drop_path_rate", self.drop_path_rate)?, count);
        let layers = layers(node, variant, &shape, count, rates)?;
        if shared && layers.iter().any(|layer| layer.heads != shape.heads) {
            let message = "layers that share their biases have the same number of heads";
            return Err(error_at(node, "layer_cfgs", message, ""));
        }
        Ok(Plan {
            variant,
            channels,
            channels_in,
            picture,
            places,
            patch,
            tokens,
            positions: positions.then_some(self.interpolation(node)?),
            shared_bias: shared,
            layers,
            norm,
            pre_norm,
            final_norm: self.final_norm.unwrap_or(!beit),
            out_indices,
            frozen_stages,
            drop_rate: rate(node, "drop_rate", self.drop_rate)?,
        })
    }

    /// What this variant does not have, and outputs that are no maps.
    fn refuse(&self, node: &Node, variant: Variant) -> Result<(), Diagnostics> {
        let given = [
            ("frozen_stages", self.frozen_stages.is_some()),
            (
                "layer_scale_init_value",
                self.layer_scale_init_value.is_some(),
            ),
            ("pre_norm", self.pre_norm.is_some()),
            ("qkv_bias", self.qkv_bias.is_some()),
            ("with_cls_token", self.with_cls_token.is_some()),
            ("use_layer_scale", self.use_layer_scale.is_some()),
            ("bias", self.bias.is_some()),
            ("use_abs_pos_emb", self.use_abs_pos_emb.is_some()),
            ("use_rel_pos_bias", self.use_rel_pos_bias.is_some()),
            (
                "use_shared_rel_pos_bias",
                self.use_shared_rel_pos_bias.is_some(),
            ),
        ];
        if let Some((key, _)) = given.iter().find(|(key, is)| *is && !variant.knows(key)) {
            let message = format!("the key `{key}` is not known to {variant:?}");
            return Err(error_at(node, key, message, ""));
        }
        if variant == DistilledVisionTransformer && self.pre_norm == Some(true) {
            let message =
                "MMPretrain builds this norm for DistilledVisionTransformer and does not use it";
            return Err(unsupported(node, "pre_norm", message, ""));
        }
        let default = if variant == BEiTViT {
            "avg_featmap"
        } else {
            "cls_token"
        };
        maps_only(node, self.out_type.as_deref(), default)
    }

    /// Whether layers have biases for places of the picture of their own, and whether they share some.
    fn place_biases(
        &self,
        node: &Node,
        beit: bool,
        with_token: bool,
    ) -> Result<(bool, bool), Diagnostics> {
        let shared = self.use_shared_rel_pos_bias.unwrap_or(false);
        let own = self.use_rel_pos_bias.unwrap_or(beit);
        if own && shared {
            let message =
                "`use_rel_pos_bias` and `use_shared_rel_pos_bias` are both True; one is possible";
            return Err(error_at(node, "use_shared_rel_pos_bias", message, ""));
        }
        if (own || shared) && !with_token {
            let message = "biases for places have a row for the class token";
            let help = "use_rel_pos_bias=False goes with with_cls_token=False";
            return Err(error_at(node, "with_cls_token", message, help));
        }
        Ok((own, shared))
    }

    fn interpolation(&self, node: &Node) -> Result<Interpolation, Diagnostics> {
        let name = self.interpolate_mode.as_deref().unwrap_or("bicubic");
        Interpolation::named(name).ok_or_else(|| {
            let message = format!("`interpolate_mode` '{name}' is not supported");
            unsupported(
                node,
                "interpolate_mode",
                message,
                "'bicubic' and 'bilinear' are",
            )
        })
    }

    /// A layer as it is where `layer_cfgs` says nothing.
    fn layer(
        &self,
        node: &Node,
        variant: Variant,
        [channels, _, heads, hidden]: Arch,
        norm: &NormConfig,
        places: Option<[usize; 2]>,
    ) -> Result<LayerShape, Diagnostics> {
        let value = self.layer_scale_init_value;
        let scale = match variant {
            DeiT3 if self.use_layer_scale.unwrap_or(true) => Scale::Inside(DEIT3_SCALE),
            DeiT3 => Scale::None,
            BEiTViT => Scale::Beit(value.unwrap_or(0.1)),
            _ => Scale::Inside(value.unwrap_or(0.0)),
        };
        let bias = match &self.bias {
            _ if variant != BEiTViT => match self.qkv_bias {
                Some(false) => QkvBias::None,
                _ => QkvBias::All,
            },
            None => QkvBias::QueryValue,
            Some(BiasKey::Said(true)) => QkvBias::All,
            Some(BiasKey::Said(false)) => QkvBias::None,
            Some(BiasKey::Named(name)) if name == "qv_bias" => QkvBias::QueryValue,
            Some(BiasKey::Named(other)) => {
                let message = format!("`bias` is '{other}', must be 'qv_bias', True or False");
                return Err(error_at(node, "bias", message, ""));
            }
        };
        Ok(LayerShape {
            names: LayerNames::MmPretrain,
            channels,
            heads,
            hidden,
            bias,
            norm: norm.clone(),
            act: Activation::Gelu,
            gated: false,
            scale,
            one_norm: variant == DeiT3,
            initialises: true,
            drop_rate: rate(node, "drop_rate", self.drop_rate)?,
            attn_proj_drop: true,
            attn_drop_rate: 0.0,
            drop_path_rate: 0.0,
            places,
        })
    }
}

/// Whether the output is maps.
///
/// # Errors
/// It is not: says which `out_type` is.
pub(super) fn maps_only(
    node: &Node,
    out_type: Option<&str>,
    default: &str,
) -> Result<(), Diagnostics> {
    let help = "out_type='featmap' gives maps";
    match out_type.unwrap_or(default) {
        "featmap" => Ok(()),
        found @ ("raw" | "cls_token" | "avg_featmap") => {
            let said = if out_type.is_some() {
                ""
            } else {
                " by default"
            };
            let message = format!("`out_type` is '{found}'{said}, which gives no maps");
            Err(error_at(node, "out_type", message, help))
        }
        other => {
            let message = format!(
                "`out_type` is '{other}', must be 'raw', 'cls_token', 'featmap' or 'avg_featmap'"
            );
            Err(error_at(node, "out_type", message, help))
        }
    }
}

fn arch(node: &Node, variant: Variant) -> Result<Arch, Diagnostics> {
    let given = node.get("arch");
    let named = match given {
        None if variant == DistilledVisionTransformer => "deit-base".to_string(),
        None => "base".to_string(),
        Some(given) => match given.as_str() {
            Some(name) => name.to_lowercase(),
            None => {
                let keys: ArchKeys = given.read_knowing(&all_keys(given))?;
                let (channels, layers) = (keys.embed_dims.get(), keys.num_layers.get());
                let [heads, hidden] =
                    [keys.num_heads, keys.feedforward_channels].map(Channels::get);
                return Ok([channels, layers, heads, hidden]);
            }
        },
    };
    let rows = variant.arches();
    let Some((_, numbers)) = rows.iter().find(|row| row.0.contains(&named.as_str())) else {
        let message = format!("{variant:?} has no arch '{named}'");
        let known: Vec<_> = rows.iter().flat_map(|row| row.0).copied().collect();
        let help = format!("known are {}", known.join(", "));
        return Err(error_at(node, "arch", message, &help));
    };
    Ok(*numbers)
}

/// The original passes over keys of an `arch` that it does not know.
fn all_keys(node: &Node) -> Vec<&str> {
    let names = node.as_dict().map(|dict| dict.names().collect());
    names.unwrap_or_default()
}

/// All layers: `shape`, and what `layer_cfgs` says.
fn layers(
    node: &Node,
    variant: Variant,
    shape: &LayerShape,
    count: usize,
    rates: impl Fn(usize) -> f64,
) -> Result<Vec<LayerShape>, Diagnostics> {
    let cfgs = node.get("layer_cfgs").filter(|cfg| !cfg.is_none());
    let each = cfgs.and_then(Node::as_items);
    if let Some(each) = each
        && each.len() < count
    {
        let message = format!("`layer_cfgs` has {} entries for {count} layers", each.len());
        return Err(error_at(node, "layer_cfgs", message, ""));
    }
    let layer = |i: usize| {
        let layer = LayerShape {
            drop_path_rate: rates(i),
            ..shape.clone()
        };
        match each.map_or(cfgs, |each| each.get(i)) {
            Some(cfg) => changed(layer, cfg, variant),
            None => Ok(layer),
        }
    };
    let layers: Vec<_> = (0..count).map(layer).collect::<Result<_, _>>()?;
    for layer in &layers {
        if layer.channels % layer.heads != 0 {
            let (channels, heads) = (layer.channels, layer.heads);
            let message = format!("{channels} channels cannot be shared among {heads} heads");
            return Err(error_at(node, "arch", message, ""));
        }
    }
    Ok(layers)
}

/// A layer with what an entry of `layer_cfgs` says.
fn changed(mut layer: LayerShape, cfg: &Node, variant: Variant) -> Result<LayerShape, Diagnostics> {
    let keys: LayerKeys = cfg.read_knowing(&["norm_cfg", "act_cfg"])?;
    let refuse = |key: &str| {
        let message = format!("the key `{key}` is not known to a layer of {variant:?}");
        Err(error_at(cfg, key, message, ""))
    };
    if keys.num_fcs.is_some_and(|n| n.get() != 2) {
        let message = "layers of more than two fully connected layers are not supported";
        return Err(unsupported(cfg, "num_fcs", message, ""));
    }
    match keys.ffn_type.as_deref() {
        Some(_) if matches!(variant, DeiT3 | BEiTViT) => return refuse("ffn_type"),
        None | Some("origin") => {}
        Some("swiglu_fused") => layer.gated = true,
        Some(other) => {
            let message = format!("`ffn_type` is '{other}', must be 'origin' or 'swiglu_fused'");
            return Err(error_at(cfg, "ffn_type", message, ""));
        }
    }
    if let Some(value) = keys.layer_scale_init_value {
        layer.scale = match layer.scale {
            Scale::Inside(_) if variant != DeiT3 => Scale::Inside(value),
            Scale::Beit(_) => Scale::Beit(value),
            _ => return refuse("layer_scale_init_value"),
        };
    }
    if let Some(bias) = keys.qkv_bias {
        if variant == BEiTViT {
            return refuse("qkv_bias");
        }
        layer.bias = if bias { QkvBias::All } else { QkvBias::None };
    }
    layer.norm = token_norm(cfg, "norm_cfg", layer.norm)?;
    layer.act = act(cfg, "act_cfg", layer.act)?;
    layer.heads = keys.num_heads.map_or(layer.heads, Channels::get);
    layer.hidden = keys
        .feedforward_channels
        .map_or(layer.hidden, Channels::get);
    let or = |key, given: Option<f64>, before| match given {
        Some(_) => rate(cfg, key, given),
        None => Ok(before),
    };
    layer.drop_rate = or("drop_rate", keys.drop_rate, layer.drop_rate)?;
    layer.drop_path_rate = or("drop_path_rate", keys.drop_path_rate, layer.drop_path_rate)?;
    layer.attn_drop_rate = or("attn_drop_rate", keys.attn_drop_rate, layer.attn_drop_rate)?;
    Ok(layer)
}

/// A vision transformer.
#[derive(Debug)]
pub struct VisionTransformer {
    patch: PatchEmbed,
    /// Each `[1, 1, C]`.
    tokens: Vec<Weight<3>>,
    positions: Option<PositionEmbed>,
    /// Whether position embeddings are added to the tokens of patches alone.
    positions_first: bool,
    drop: Option<Dropout>,
    pre_norm: Option<Norm>,
    shared_bias: Option<PlaceBias>,
    layers: Vec<EncoderLayer>,
    final_norm: Option<Norm>,
    out_indices: Vec<usize>,
    feature: Feature,
    channels_in: usize,
    only_size: Option<[usize; 2]>,
}

impl VisionTransformer {
    fn new(plan: Plan, params: &Params) -> Self {
        let channels = plan.channels;
        let token = |name: &str| params.weight(name, [1, 1, channels], token_init(name));
        let mut tokens: Vec<_> = plan.tokens.iter().take(1).map(|name| token(name)).collect();
        let positions_first = plan.variant == DeiT3;
        let extra = if positions_first {
            0
        } else {
            plan.tokens.len()
        };
        let positions = plan
            .positions
            .map(|how| PositionEmbed::new(plan.places, extra, channels, how, params));
        tokens.extend(plan.tokens.iter().skip(1).map(|name| token(name)));
        let patch = plan.patch.init(&params.at("patch_embed"));
        let shared_bias = plan.shared_bias.then(|| {
            let heads = plan.layers[0].heads;
            PlaceBias::new(
                plan.places,
                heads,
                Init::Constant(0.0),
                &params.at("rel_pos_bias"),
            )
        });
        let at = params.at("layers");
        // The original drops numbers of BEiT's attention nowhere, whatever the config says.
        let layer = |(i, shape): (usize, &LayerShape)| match plan.variant {
            BEiTViT => EncoderLayer::new(&shape.clone().whole_attention(), &at.at(i)),
            _ => EncoderLayer::new(shape, &at.at(i)),
        };
        let layers: Vec<_> = plan.layers.iter().enumerate().map(layer).collect();
        let norm = |is: bool, name: &str| is.then(|| plan.norm.init(channels, &params.at(name)));
        let only_size = plan.shared_bias || plan.layers.iter().any(|l| l.places.is_some());
        let backbone = Self {
            patch,
            tokens,
            positions,
            positions_first,
            drop: Dropout::new(plan.drop_rate, &params.at("drop_after_pos")),
            pre_norm: norm(plan.pre_norm, "pre_norm"),
            shared_bias,
            layers,
            final_norm: norm(plan.final_norm, "ln1"),
            feature: Feature {
                channels,
                stride: plan.patch.stride,
            },
            channels_in: plan.channels_in,
            only_size: only_size.then_some(plan.picture),
            out_indices: plan.out_indices,
        };
        freeze(params, plan.frozen_stages, backbone.layers.len());
        backbone
    }
}

/// The original leaves the class token at zeros.
fn token_init(name: &str) -> Init {
    match name {
        "dist_token" => SMALL,
        _ => Init::Constant(0.0),
    }
}

/// The original's `_freeze_stages`, of which `train()` leaves the gradients: from 1 on what is before the layers and so many of them.
fn freeze(params: &Params, frozen_stages: i64, layers: usize) {
    if frozen_stages < 1 {
        return;
    }
    for name in ["cls_token", "pos_embed", "patch_embed", "pre_norm"] {
        params.at(name).require_grad(false);
    }
    for i in 0..frozen_stages {
        params.at(format!("layers.{i}")).require_grad(false);
    }
    if frozen_stages == layers as i64 {
        params.at("ln1").require_grad(false);
    }
}

impl Backbone for VisionTransformer {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let (mut x, size) = self.patch.forward(x);
        let [n, _, c] = x.dims();
        let positions = self.positions.as_ref().map(|p| p.forward(size));
        let add = |x: Tensor<3>| match &positions {
            Some(positions) => x + positions.clone(),
            None => x,
        };
        if self.positions_first {
            x = add(x);
        }
        if !self.tokens.is_empty() {
            let tokens = self.tokens.iter().map(|t| t.get().expand([n, 1, c]));
            x = Tensor::cat(tokens.chain([x]).collect(), 1);
        }
        if !self.positions_first {
            x = add(x);
        }
        if let Some(drop) = &self.drop {
            x = drop.forward(x);
        }
        if let Some(norm) = &self.pre_norm {
            x = norm.forward_tokens(x);
        }
        let bias = self.shared_bias.as_ref().map(PlaceBias::forward);
        let mut maps = Vec::new();
        let last = self.out_indices.last().map_or(0, |last| last + 1);
        for (i, layer) in self.layers.iter().enumerate().take(last) {
            x = layer.forward(x, bias.as_ref());
            if i + 1 == self.layers.len()
                && let Some(norm) = &self.final_norm
            {
                x = norm.forward_tokens(x);
            }
            if self.out_indices.contains(&i) {
                let places = x.clone().narrow(1, self.tokens.len(), size[0] * size[1]);
                maps.push(map_from_tokens(places, size));
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

    fn only_size(&self) -> Option<[usize; 2]> {
        self.only_size
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "dict(type='mmpretrain.VisionTransformer')",
                "out_type='featmap' gives maps",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', arch='tiny')",
                "known are s, small, b, base",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', out_indices=[12])",
                "there are 12 layers, from 0",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', frozen_stages=13)",
                "there are 12 layers",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', arch=dict(embed_dims=8, num_layers=1, num_heads=3, feedforward_channels=8))",
                "8 channels cannot be shared among 3 heads",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', norm_cfg=dict(type='BN'))",
                "`BN` is no norm of tokens",
            ),
            (
                "dict(type='mmpretrain.VisionTransformer', out_type='featmap', layer_cfgs=[dict()])",
                "`layer_cfgs` has 1 entries for 12 layers",
            ),
            (
                "dict(type='mmpretrain.DeiT3', out_type='featmap', frozen_stages=1)",
                "`frozen_stages` is not known to DeiT3",
            ),
            (
                "dict(type='mmpretrain.BEiTViT', out_type='featmap', use_shared_rel_pos_bias=True)",
                "are both True",
            ),
            (
                "dict(type='mmpretrain.BEiTViT', out_type='featmap', with_cls_token=False)",
                "use_rel_pos_bias=False goes with",
            ),
            (
                "dict(type='mmpretrain.BEiTViT', out_type='featmap', img_size=8, patch_cfg=dict(padding=0))",
                "no room for a patch",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn biases_for_places_fix_the_size_of_pictures() {
        let size = |text: &str| made(text, Mode::Plan).unwrap().0.only_size();
        let beit = "dict(type='mmpretrain.BEiTViT', out_type='featmap', img_size=(64, 96))";
        assert_eq!(size(beit), Some([64, 96]));
        let vit = "dict(type='mmpretrain.VisionTransformer', out_type='featmap')";
        assert_eq!(size(vit), None);
    }
}
