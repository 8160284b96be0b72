//! `type='SwinTransformer'` as MMDetection 3.3.0 reads it.

use serde::Deserialize;

use super::{BlockPlan, MMCV, Norms, Plan, StagePlan, SwinTransformer};
use crate::backbones::options::rate;
use crate::backbones::tokens::{
    NARROW, PatchEmbedConfig, PatchMergingConfig, PictureSize, WindowSide, activation, channels_in,
    check_frozen, check_out, check_stages, check_width, drop_path_rates, foreign_checkpoint, sides,
    some_layer_norm,
};
use crate::backbones::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{
    ConvConfig, Init, InitRule, NormConfig, Padding, Position, StateEntry, Stored,
    WindowAttentionConfig, Windows,
};
use crate::limits::{Channels, Index, Layers, List, Pixels};
use crate::ops::resize::{Interpolation, resize_values};

/// The keys, absent ones at MMDetection's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    pretrain_img_size: Option<PictureSize>,
    in_channels: Option<Channels>,
    embed_dims: Option<Channels>,
    patch_size: Option<Pixels>,
    window_size: Option<WindowSide>,
    mlp_ratio: Option<Channels>,
    depths: Option<List<Layers>>,
    num_heads: Option<List<Channels>>,
    strides: Option<List<Bounded<1, 64>>>,
    out_indices: Option<List<Index>>,
    qkv_bias: Option<bool>,
    qk_scale: Option<f64>,
    patch_norm: Option<bool>,
    drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    use_abs_pos_embed: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
    /// Whether the checkpoint has the names of the paper's own repository.
    convert_weights: Option<bool>,
    frozen_stages: Option<i64>,
}

/// Keys that others read, or that are of memory only.
const OTHERS: &[&str] = &["act_cfg", "norm_cfg", "with_cp", "init_cfg"];

pub(in crate::backbones) fn build(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Config = node.read_knowing(OTHERS)?;
    let plan = config.plan(node)?;
    config.initial(node, build)?;
    Ok(Box::new(SwinTransformer::new(&plan, &build.params)))
}

impl Config {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        let numbers = |list: &Option<List<Channels>>, default: &[usize]| match list {
            Some(list) => list.numbers(),
            None => default.to_vec(),
        };
        let depths = self.depths.as_ref();
        let depths = depths.map_or_else(|| vec![2, 2, 6, 2], List::numbers);
        let heads = numbers(&self.num_heads, &[3, 6, 12, 24]);
        let strides = self.strides.as_ref();
        let strides = strides.map_or_else(|| vec![4, 2, 2, 2], List::numbers);
        let count = depths.len();
        let lists = [
            ("depths", count),
            ("num_heads", heads.len()),
            ("strides", strides.len()),
        ];
        check_stages(node, count, &lists)?;
        let out = self.out_indices.as_ref();
        let mut out = out.map_or_else(|| vec![0, 1, 2, 3], List::numbers);
        check_out(node, &out, count)?;
        let frozen_stages = self.frozen_stages.unwrap_or(-1);
        check_frozen(node, frozen_stages, count)?;

        let patch = self.patch_size.map_or(4, Pixels::get);
        if strides[0] != patch {
            let message = format!(
                "`strides` begins with {}, `patch_size` is {patch}",
                strides[0]
            );
            return Err(error_at(node, "strides", message, "patches do not overlap"));
        }
        let norm = some_layer_norm(node, "norm_cfg", NormConfig::layer(1e-5))?;
        let patch_norm = self.patch_norm.unwrap_or(true).then(|| norm.clone());
        let act = activation(node)?;
        let dropout = rate(node, "drop_rate", self.drop_rate)?;
        let attention_dropout = rate(node, "attn_drop_rate", self.attn_drop_rate)?;
        let most = rate(node, "drop_path_rate", self.drop_path_rate.or(Some(0.1)))?;
        let rates = drop_path_rates(most, &depths);
        let embed_dims = self.embed_dims.map_or(96, Channels::get);
        let size = self.window_size.map_or(7, WindowSide::get);
        let ratio = self.mlp_ratio.map_or(4, Channels::get);

        let (mut channels, mut stride) = (embed_dims, patch);
        let mut stages = Vec::new();
        for i in 0..count {
            let hidden = ratio.saturating_mul(channels);
            check_width(node, "num_heads", [channels, hidden, heads[i]])?;
            let block = |(j, rate): (usize, &f64)| BlockPlan {
                attention: WindowAttentionConfig {
                    channels,
                    heads: heads[i],
                    window: [size; 2],
                    qkv_bias: self.qkv_bias.unwrap_or(true),
                    scale: self.qk_scale.filter(|scale| *scale != 0.0),
                    dropouts: [attention_dropout, dropout],
                    position: Position::Table(Init::Constant(0.0)),
                    lists_buffers: true,
                },
                windows: Windows {
                    size: [size; 2],
                    shift: [if j % 2 == 0 { 0 } else { size / 2 }; 2],
                    rolled_first: false,
                },
                shift_if_larger: false,
                hidden,
                act,
                dropout,
                drop_path_rate: *rate,
                norm: norm.clone(),
                norms: Norms::Before,
                extra_norm: false,
            };
            let after = (i + 1 < count).then(|| PatchMergingConfig {
                stride: strides[i + 1],
                ..PatchMergingConfig::new([channels, 2 * channels], patch_norm.clone())
            });
            stages.push(StagePlan {
                name: format!("stages.{i}"),
                before: None,
                blocks: rates[i].iter().enumerate().map(block).collect(),
                after,
                after_is_output: false,
                feature: Feature { channels, stride },
            });
            channels *= 2;
            stride = stride.saturating_mul(strides.get(i + 1).copied().unwrap_or(1));
        }

        let in_channels = channels_in(self.in_channels);
        let picture = self.pretrain_img_size.as_ref();
        let grid = sides(node, "pretrain_img_size", picture, 224)?.map(|side| side / patch);
        if self.use_abs_pos_embed == Some(true) && grid.contains(&0) {
            let message = format!("a patch of {patch} px is larger than the picture");
            return Err(error_at(node, "pretrain_img_size", message, ""));
        }
        let mut frozen = Vec::new();
        if frozen_stages >= 0 {
            let places = ["patch_embed", "absolute_pos_embed", "drop_after_pos"];
            frozen.extend(places.map(String::from));
        }
        for i in 0..frozen_stages.max(0) {
            frozen.extend([format!("norm{i}"), format!("stages.{i}")]);
        }
        let mut seen = Vec::new();
        out.retain(|i| {
            !seen.contains(i) && {
                seen.push(*i);
                true
            }
        });
        let output = |i| (i, Some((format!("norm{i}"), norm.clone())));
        Ok(Plan {
            names: &MMCV,
            channels_in: in_channels,
            embed: PatchEmbedConfig {
                conv: ConvConfig::new(in_channels, embed_dims, patch)
                    .stride(patch)
                    .padding(Padding::Corner),
                channels_out: embed_dims,
                norm: patch_norm,
                projection: "projection",
            },
            position: (self.use_abs_pos_embed == Some(true))
                .then_some((grid, Interpolation::Bicubic)),
            dropout,
            stages,
            outputs: out.into_iter().map(output).collect(),
            frozen,
        })
    }

    /// The class reads `init_cfg` in its own way: a checkpoint alone may be there, whose names it converts.
    fn initial(&self, node: &Node, build: &Build) -> Result<(), Diagnostics> {
        let params = &build.params;
        let Some(name) = foreign_checkpoint(node, self.pretrained.as_deref())? else {
            params.initialise(InitRule::of(&["Linear"], NARROW));
            return Ok(());
        };
        if !build.wants_weights() {
            return Ok(());
        }
        build.pretrained(node, name, Some("backbone"), params)?;
        let find = match self.convert_weights {
            Some(true) => from_paper,
            _ => resized_table,
        };
        build.foreign(node, name, find, params)
    }
}

/// Finds one of our tensors among those of the paper's own repository (https://github.com/microsoft/Swin-Transformer).
fn from_paper(entry: &StateEntry, get: &dyn Fn(&str) -> Option<Stored>) -> Option<Vec<f32>> {
    let name = entry.key.replace("attn.w_msa.", "attn.");
    let name = name.replace("ffn.layers.0.0.", "mlp.fc1.");
    let name = name.replace("ffn.layers.1.", "mlp.fc2.");
    let name = match name.strip_prefix("stages.") {
        Some(rest) => format!("layers.{rest}"),
        None => name.replace("patch_embed.projection.", "patch_embed.proj."),
    };
    let stored = get(&name)?;
    if name.ends_with("relative_position_bias_table") {
        return table(entry, stored);
    }
    if name.contains("downsample.") {
        // There the four places of a patch come column by column, each with all its channels; here channel by channel, each with its places
        // row by row.
        let row = *entry.shape.last()?;
        let channels = row / 4;
        let values = stored.values.chunks_exact(row).flat_map(|old| {
            (0..channels).flat_map(move |c| [0, 2, 1, 3].map(|place| old[place * channels + c]))
        });
        return Some(values.collect());
    }
    Some(stored.values)
}

/// A bias table of windows of another size, in a checkpoint with our names.
fn resized_table(entry: &StateEntry, get: &dyn Fn(&str) -> Option<Stored>) -> Option<Vec<f32>> {
    if !entry.key.ends_with("relative_position_bias_table") {
        return None;
    }
    let stored = get(&format!("backbone.{}", entry.key)).or_else(|| get(&entry.key))?;
    table(entry, stored)
}

/// A bias table for windows of our size.
fn table(entry: &StateEntry, stored: Stored) -> Option<Vec<f32>> {
    if stored.shape == entry.shape {
        return Some(stored.values);
    }
    let [[rows, heads], [old_rows, old_heads]] = [&entry.shape, &stored.shape]
        .map(|shape| <[usize; 2]>::try_from(shape.as_slice()).ok())
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .try_into()
        .ok()?;
    let [side, old_side] = [rows, old_rows].map(usize::isqrt);
    if heads != old_heads || side * side != rows || old_side * old_side != old_rows {
        return None;
    }
    let of_head = |head: usize| {
        let values = stored.values.iter().skip(head).step_by(heads);
        let values: Vec<f32> = values.copied().collect();
        resize_values(&values, [old_side; 2], [side; 2], Interpolation::Bicubic)
    };
    let maps: Vec<Vec<f32>> = (0..heads).map(of_head).collect();
    let row = |row: usize| maps.iter().map(move |map| map[row]);
    Some((0..rows).flat_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::layers::{Mode, Role};

    fn entry(key: &str, shape: &[usize]) -> StateEntry {
        let (key, shape) = (key.to_string(), shape.to_vec());
        StateEntry {
            key,
            shape,
            role: Role::Parameter,
            once: None,
            resized: None,
        }
    }

    #[test]
    fn names_and_layouts_of_the_papers_repository() {
        let of = |ours: &str, shape: &[usize], theirs: &'static str, stored: &[usize]| {
            let count = stored.iter().product::<usize>();
            let get = |name: &str| {
                assert_eq!(name, theirs);
                Some(Stored {
                    shape: stored.to_vec(),
                    values: (0..count).map(|i| i as f32).collect(),
                })
            };
            from_paper(&entry(ours, shape), &get).unwrap()
        };
        let name = "stages.1.blocks.0.attn.w_msa.qkv.weight";
        let same = of(name, &[3, 1], "layers.1.blocks.0.attn.qkv.weight", &[3, 1]);
        assert_eq!(same, [0.0, 1.0, 2.0]);
        let name = "stages.1.blocks.0.ffn.layers.1.bias";
        of(name, &[2], "layers.1.blocks.0.mlp.fc2.bias", &[2]);
        of(
            "patch_embed.projection.bias",
            &[2],
            "patch_embed.proj.bias",
            &[2],
        );
        // Two channels: theirs are (a0 b0) (a1 b1) (a2 b2) (a3 b3), places 1 and 2 below and beside the first.
        let merged = [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0];
        let name = "stages.0.downsample.norm.weight";
        let norm = of(name, &[8], "layers.0.downsample.norm.weight", &[8]);
        assert_eq!(norm, merged);
        let name = "stages.0.downsample.reduction.weight";
        let linear = of(
            name,
            &[2, 8],
            "layers.0.downsample.reduction.weight",
            &[2, 8],
        );
        assert_eq!(linear[..8], merged);
        assert_eq!(linear[8..], merged.map(|v| v + 8.0));
        // A table of windows of three for windows of two: its middle stays.
        let name = "stages.0.blocks.0.attn.w_msa.relative_position_bias_table";
        let theirs = "layers.0.blocks.0.attn.relative_position_bias_table";
        let table = of(name, &[9, 2], theirs, &[25, 2]);
        assert!((table[8] - 24.0).abs() < 1e-4 && (table[9] - 25.0).abs() < 1e-4);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            (
                "out_indices=(4,)",
                "`out_indices` names stage 4; there are 4",
            ),
            ("frozen_stages=5", "must be -1 to 4"),
            (
                "num_heads=(3, 6, 12)",
                "`num_heads` has 3 entries for 4 stages",
            ),
            (
                "num_heads=(3, 6, 12, 25)",
                "25 heads do not divide 768 channels",
            ),
            ("depths=()", "at least one stage"),
            ("patch_size=2", "patches do not overlap"),
            ("norm_cfg=dict(type='BN')", "not by `BN`"),
            ("drop_rate=1.5", "from 0 to less than 1"),
            ("window_size=1000", "1 to 64 are possible"),
            ("mlp_ratio=60000", "would have 5760000 channels"),
            (
                "init_cfg=dict(type='Kaiming', layer='Conv2d')",
                "`Pretrained` alone",
            ),
            ("arch='tiny'", "arch"),
        ] {
            let text = format!("dict(type='SwinTransformer', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        for (text, part) in [
            ("arch='x'", "known are tiny, small, base, large"),
            ("arch=dict(embed_dims=8)", "depths"),
            ("frozen_stages=4", "must be -1 to 3"),
            (
                "stage_cfgs=dict(block_cfgs=dict(windowsize=8))",
                "windowsize",
            ),
            ("stage_cfgs=[dict()]", "one for each is needed"),
            (
                "interpolate_mode='area', use_abs_pos_embed=True",
                "'bicubic' and 'bilinear' are",
            ),
            (
                "pretrained_window_sizes=[1, 1, 1, 1]",
                "not known to SwinTransformer",
            ),
        ] {
            let text = format!("dict(type='mmpretrain.SwinTransformer', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
