//! `type='mmpretrain.PCPVT'` and `type='mmpretrain.SVT'` as MMPretrain 1.2.0 reads them.

use serde::Deserialize;

use super::{BlockPlan, Library, Plan, PyramidVisionTransformer, Reach, StagePlan};
use crate::backbones::options::rate;
use crate::backbones::tokens::{
    NARROW, OneOrEach, PatchEmbedConfig, WindowSide, channels_in, check_out, check_stages,
    check_width, drop_path_rates, some_layer_norm,
};
use crate::backbones::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, Init, InitRule, NormConfig, Padding};
use crate::limits::{Channels, Index, Layers, List};

/// The keys of both, absent ones at MMPretrain's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    arch: Node,
    in_channels: Option<Channels>,
    out_indices: Option<List<Index>>,
    qkv_bias: Option<bool>,
    drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    norm_after_stage: Option<OneOrEach<bool>>,
}

/// Keys that others read.
const OTHERS: &[&str] = &["norm_cfg", "init_cfg"];

/// A dict in place of a name.
#[derive(Debug, Deserialize)]
struct Arch {
    embed_dims: List<Channels>,
    depths: List<Layers>,
    num_heads: List<Channels>,
    patch_sizes: List<Bounded<1, 64>>,
    strides: List<Bounded<1, 64>>,
    mlp_ratios: List<Channels>,
    sr_ratios: List<Bounded<1, 64>>,
    /// Of SVT.
    window_sizes: Option<List<WindowSide>>,
}

/// What an `arch` comes to, an entry for each stage.
struct Shape {
    embed_dims: Vec<usize>,
    depths: Vec<usize>,
    heads: Vec<usize>,
    patch_sizes: Vec<usize>,
    strides: Vec<usize>,
    mlp_ratios: Vec<usize>,
    sr_ratios: Vec<usize>,
    windows: Vec<usize>,
}

/// Letter, name, depths.
const PCPVT: [(&str, &str, [usize; 4]); 3] = [
    ("s", "small", [3, 4, 6, 3]),
    ("b", "base", [3, 4, 18, 3]),
    ("l", "large", [3, 8, 27, 3]),
];
/// Letter, name, channels of the first stage, depths, heads of the first stage.
const SVT: [(&str, &str, usize, [usize; 4], usize); 3] = [
    ("s", "small", 64, [2, 2, 10, 4], 2),
    ("b", "base", 96, [2, 2, 18, 2], 3),
    ("l", "large", 128, [2, 2, 18, 2], 4),
];

pub(in crate::backbones) fn build_pcpvt(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, false)
}

pub(in crate::backbones) fn build_svt(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, true)
}

fn made(node: &Node, build: &Build, svt: bool) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Config = node.read_knowing(OTHERS)?;
    let by_default = node.get("init_cfg").is_none_or(Node::is_none);
    let plan = config.plan(node, svt, by_default)?;
    if by_default {
        let params = &build.params;
        params.initialise(InitRule::of(&["Linear"], NARROW));
        let norms = ["_BatchNorm", "GroupNorm", "LayerNorm"];
        params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
    }
    Ok(Box::new(PyramidVisionTransformer::new(
        &plan,
        &build.params,
    )))
}

fn shape(node: &Node, arch: &Node, svt: bool) -> Result<Shape, Diagnostics> {
    if arch.as_dict().is_some() {
        let given: Arch = arch.read()?;
        let windows = given.window_sizes.as_ref().map(List::numbers);
        if svt != windows.is_some() {
            let message = match svt {
                true => "an `arch` of SVT needs `window_sizes`",
                false => "the key `window_sizes` is not known to PCPVT",
            };
            return Err(error_at(arch, "window_sizes", message, ""));
        }
        let depths = given.depths.numbers();
        return Ok(Shape {
            embed_dims: given.embed_dims.numbers(),
            heads: given.num_heads.numbers(),
            patch_sizes: given.patch_sizes.numbers(),
            strides: given.strides.numbers(),
            mlp_ratios: given.mlp_ratios.numbers(),
            sr_ratios: given.sr_ratios.numbers(),
            windows: windows.unwrap_or_else(|| vec![1; depths.len()]),
            depths,
        });
    }
    let name = arch.as_str().unwrap_or_default().to_lowercase();
    let found = match svt {
        false => PCPVT
            .iter()
            .find(|row| row.0 == name || row.1 == name)
            .map(|row| ([64, 128, 320, 512], row.2, [1, 2, 5, 8], [8, 8, 4, 4])),
        true => SVT
            .iter()
            .find(|row| row.0 == name || row.1 == name)
            .map(|row| {
                let doubled = |first: usize| [0, 1, 2, 3].map(|i| first << i);
                (doubled(row.2), row.3, doubled(row.4), [4; 4])
            }),
    };
    let Some((embed_dims, depths, heads, mlp_ratios)) = found else {
        let class = if svt { "SVT" } else { "PCPVT" };
        let message = match arch.as_str() {
            Some(name) => format!("{class} has no arch '{name}'"),
            None => "an `arch` is a name or a dict".into(),
        };
        return Err(error_at(
            node,
            "arch",
            message,
            "known are small, base, large",
        ));
    };
    Ok(Shape {
        embed_dims: embed_dims.to_vec(),
        depths: depths.to_vec(),
        heads: heads.to_vec(),
        patch_sizes: vec![4, 2, 2, 2],
        strides: vec![4, 2, 2, 2],
        mlp_ratios: mlp_ratios.to_vec(),
        sr_ratios: vec![8, 4, 2, 1],
        windows: vec![7; 4],
    })
}

impl Config {
    fn plan(&self, node: &Node, svt: bool, initialised: bool) -> Result<Plan, Diagnostics> {
        let shape = shape(node, &self.arch, svt)?;
        let count = shape.depths.len();
        for (key, list) in [
            ("embed_dims", &shape.embed_dims),
            ("num_heads", &shape.heads),
            ("patch_sizes", &shape.patch_sizes),
            ("strides", &shape.strides),
            ("mlp_ratios", &shape.mlp_ratios),
            ("sr_ratios", &shape.sr_ratios),
            ("window_sizes", &shape.windows),
        ] {
            if list.len() != count {
                let len = list.len();
                let message = format!("`{key}` has {len} entries for {count} stages");
                return Err(error_at(&self.arch, key, message, ""));
            }
        }
        check_stages(node, count, &[("arch", count)])?;
        let out = self.out_indices.as_ref();
        let mut outputs = out.map_or_else(|| vec![3], List::numbers);
        check_out(node, &outputs, count)?;
        outputs.sort();
        outputs.dedup();
        let norms = self.norm_after_stage.as_ref();
        if let Some(OneOrEach::Each(list)) = norms
            && list.len() != count
        {
            let message = format!(
                "`norm_after_stage` has {} entries for {count} stages",
                list.len()
            );
            return Err(error_at(node, "norm_after_stage", message, ""));
        }
        let norm = some_layer_norm(node, "norm_cfg", NormConfig::layer(1e-5))?;
        let dropout = rate(node, "drop_rate", self.drop_rate)?;
        let attention_dropout = rate(node, "attn_drop_rate", self.attn_drop_rate)?;
        let most = rate(node, "drop_path_rate", self.drop_path_rate)?;
        let rates = drop_path_rates(most, &shape.depths);
        let mut before = channels_in(self.in_channels);
        let mut stride = 1usize;
        let mut stages = Vec::new();
        for (i, rates) in rates.iter().enumerate() {
            let channels = shape.embed_dims[i];
            let heads = shape.heads[i];
            let hidden = shape.mlp_ratios[i].saturating_mul(channels);
            check_width(node, "arch", [channels, hidden, heads])?;
            stride = stride.saturating_mul(shape.strides[i]);
            let block = |(j, rate): (usize, &f64)| BlockPlan {
                library: Library::Mmpretrain,
                channels,
                heads,
                reach: match svt && j % 2 == 0 {
                    true => Reach::Window(shape.windows[i]),
                    false => Reach::Reduced(shape.sr_ratios[i]),
                },
                hidden,
                depthwise: false,
                qkv_bias: self.qkv_bias.unwrap_or(false),
                act: Activation::Gelu,
                dropout,
                attention_dropout,
                drop_path_rate: *rate,
                norm: norm.clone(),
                reduced_norm: norm.clone(),
                initialised,
            };
            stages.push(StagePlan {
                name: String::new(),
                embed: PatchEmbedConfig {
                    conv: ConvConfig::new(before, channels, shape.patch_sizes[i])
                        .stride(shape.strides[i])
                        .padding(Padding::Corner),
                    channels_out: channels,
                    norm: Some(NormConfig::layer(1e-5)),
                    projection: "projection",
                },
                position: None,
                conditional: true,
                blocks: rates.iter().enumerate().map(block).collect(),
                norm: norms
                    .is_some_and(|norms| norms.get(i) == Some(true))
                    .then(|| norm.clone()),
                feature: Feature { channels, stride },
            });
            before = channels;
        }
        Ok(Plan {
            library: Library::Mmpretrain,
            channels_in: channels_in(self.in_channels),
            stages,
            dropout,
            outputs,
            initialised,
        })
    }
}
