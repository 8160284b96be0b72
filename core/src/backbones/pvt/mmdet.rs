//! `type='PyramidVisionTransformer'` and `type='PyramidVisionTransformerV2'` as MMDetection 3.3.0 reads them.

use serde::Deserialize;

use super::{BlockPlan, Library, Plan, PyramidVisionTransformer, Reach, StagePlan};
use crate::backbones::options::rate;
use crate::backbones::tokens::{
    NARROW, PatchEmbedConfig, PatchPadding, PictureSize, activation, channels_in, check_out,
    check_stages, check_width, drop_path_rates, foreign_checkpoint, sides, some_layer_norm,
};
use crate::backbones::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{ConvConfig, InitRule, NormConfig, Padding, StateEntry, Stored};
use crate::limits::{Channels, Index, Layers, List};

/// The keys of both, absent ones at MMDetection's defaults.
#[derive(Debug, Deserialize)]
struct Config {
    pretrain_img_size: Option<PictureSize>,
    in_channels: Option<Channels>,
    embed_dims: Option<Channels>,
    num_stages: Option<Index>,
    num_layers: Option<List<Layers>>,
    num_heads: Option<List<Channels>>,
    strides: Option<List<Bounded<1, 64>>>,
    sr_ratios: Option<List<Bounded<1, 64>>>,
    out_indices: Option<List<Index>>,
    mlp_ratios: Option<List<Channels>>,
    qkv_bias: Option<bool>,
    drop_rate: Option<f64>,
    attn_drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    /// Of V1, as are those below it; V2 has its own values.
    patch_sizes: Option<List<Bounded<1, 64>>>,
    paddings: Option<List<PatchPadding>>,
    use_abs_pos_embed: Option<bool>,
    norm_after_stage: Option<bool>,
    use_conv_ffn: Option<bool>,
    /// Of older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
    /// Whether the checkpoint has the names of the paper's own repository; true if absent.
    convert_weights: Option<bool>,
}

/// Keys that others read.
const OTHERS: &[&str] = &["act_cfg", "norm_cfg", "init_cfg"];

pub(in crate::backbones) fn build(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, false)
}

pub(in crate::backbones) fn build_v2(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    made(node, build, true)
}

fn made(node: &Node, build: &Build, two: bool) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: Config = node.read_knowing(OTHERS)?;
    if two {
        config.refuse(node)?;
    }
    let foreign = foreign_checkpoint(node, config.pretrained.as_deref())?;
    let plan = config.plan(node, two, foreign.is_none())?;
    let params = &build.params;
    match foreign {
        None => params.initialise(InitRule::of(&["Linear"], NARROW)),
        Some(name) if build.wants_weights() => {
            build.pretrained(node, name, None, params)?;
            if config.convert_weights != Some(false) {
                build.foreign(node, name, from_paper, params)?;
            }
        }
        Some(_) => {}
    }
    Ok(Box::new(PyramidVisionTransformer::new(&plan, params)))
}

impl Config {
    /// What V2 says itself.
    fn refuse(&self, node: &Node) -> Result<(), Diagnostics> {
        for (key, given) in [
            ("patch_sizes", self.patch_sizes.is_some()),
            ("paddings", self.paddings.is_some()),
            ("use_abs_pos_embed", self.use_abs_pos_embed.is_some()),
            ("norm_after_stage", self.norm_after_stage.is_some()),
            ("use_conv_ffn", self.use_conv_ffn.is_some()),
        ] {
            if given {
                let message = format!("`PyramidVisionTransformerV2` sets `{key}` itself");
                let help = "`PyramidVisionTransformer` has the key";
                return Err(error_at(node, key, message, help));
            }
        }
        Ok(())
    }

    fn plan(&self, node: &Node, two: bool, initialised: bool) -> Result<Plan, Diagnostics> {
        fn numbers<const A: usize, const B: usize>(
            list: &Option<List<Bounded<A, B>>>,
            default: [usize; 4],
        ) -> Vec<usize> {
            list.as_ref()
                .map_or_else(|| default.to_vec(), List::numbers)
        }
        let layers = numbers(&self.num_layers, [3, 4, 6, 3]);
        let heads = numbers(&self.num_heads, [1, 2, 5, 8]);
        let strides = numbers(&self.strides, [4, 2, 2, 2]);
        let ratios = numbers(&self.sr_ratios, [8, 4, 2, 1]);
        let mlp_ratios = numbers(&self.mlp_ratios, [8, 8, 4, 4]);
        let patches = match two {
            true => vec![7, 3, 3, 3],
            false => numbers(&self.patch_sizes, [4, 2, 2, 2]),
        };
        let paddings: Vec<_> = match (&self.paddings, two) {
            (_, true) => [3, 1, 1, 1].map(Padding::Even).to_vec(),
            (None, false) => [0; 4].map(Padding::Even).to_vec(),
            (Some(list), false) => list.iter().map(PatchPadding::padding).collect(),
        };
        let count = self.num_stages.map_or(4, Index::get);
        for (key, len) in [
            ("num_layers", layers.len()),
            ("num_heads", heads.len()),
            ("patch_sizes", patches.len()),
            ("strides", strides.len()),
            ("sr_ratios", ratios.len()),
        ] {
            if len != count {
                let message = format!("`{key}` has {len} entries for {count} stages");
                return Err(error_at(node, key, message, ""));
            }
        }
        let lists = [
            ("num_stages", count),
            ("paddings", paddings.len()),
            ("mlp_ratios", mlp_ratios.len()),
        ];
        check_stages(node, count, &lists)?;
        let out = self.out_indices.as_ref();
        let mut outputs = out.map_or_else(|| vec![0, 1, 2, 3], List::numbers);
        check_out(node, &outputs, count)?;
        outputs.sort();
        outputs.dedup();

        let norm = some_layer_norm(node, "norm_cfg", NormConfig::layer(1e-6))?;
        let act = activation(node)?;
        let dropout = rate(node, "drop_rate", self.drop_rate)?;
        let attention_dropout = rate(node, "attn_drop_rate", self.attn_drop_rate)?;
        let most = rate(node, "drop_path_rate", self.drop_path_rate.or(Some(0.1)))?;
        let rates = drop_path_rates(most, &layers);
        let picture = self.pretrain_img_size.as_ref();
        let picture = sides(node, "pretrain_img_size", picture, 224)?;
        let positions = !two && self.use_abs_pos_embed != Some(false);
        let norm_after_stage = two || self.norm_after_stage == Some(true);
        let depthwise = two || self.use_conv_ffn == Some(true);
        let embed_dims = self.embed_dims.map_or(64, Channels::get);
        let mut before = channels_in(self.in_channels);
        let (mut stride, mut patch) = (1usize, 1usize);
        let mut stages = Vec::new();
        for i in 0..count {
            let channels = embed_dims.saturating_mul(heads[i]);
            let hidden = mlp_ratios[i].saturating_mul(channels);
            check_width(node, "num_heads", [channels, hidden, heads[i]])?;
            stride = stride.saturating_mul(strides[i]);
            patch = patch.saturating_mul(patches[i]);
            let grid = picture.map(|side| side / patch);
            if positions && grid.contains(&0) {
                let message = format!("patches of {patch} px are larger than the picture");
                return Err(error_at(node, "pretrain_img_size", message, ""));
            }
            let block = |rate: &f64| BlockPlan {
                library: Library::Mmdet,
                channels,
                heads: heads[i],
                reach: Reach::Reduced(ratios[i]),
                hidden,
                depthwise,
                qkv_bias: self.qkv_bias.unwrap_or(true),
                act,
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
                    conv: ConvConfig::new(before, channels, patches[i])
                        .stride(strides[i])
                        .padding(paddings[i]),
                    channels_out: channels,
                    norm: Some(norm.clone()),
                    projection: "projection",
                },
                position: positions.then_some(grid),
                conditional: false,
                blocks: rates[i].iter().map(block).collect(),
                norm: norm_after_stage.then(|| norm.clone()),
                feature: Feature { channels, stride },
            });
            before = channels;
        }
        Ok(Plan {
            library: Library::Mmdet,
            channels_in: channels_in(self.in_channels),
            stages,
            dropout,
            outputs,
            initialised,
        })
    }
}

/// Finds one of our tensors among those of the paper's own repository (https://github.com/whai362/PVT).
fn from_paper(entry: &StateEntry, get: &dyn Fn(&str) -> Option<Stored>) -> Option<Vec<f32>> {
    let mut parts = entry.key.strip_prefix("layers.")?.splitn(3, '.');
    let stage = parts.next()?.parse::<usize>().ok()? + 1;
    let (part, rest) = (parts.next()?, parts.next()?);
    match part {
        "0" => {
            let rest = rest.replace("projection.", "proj.");
            return Some(get(&format!("patch_embed{stage}.{rest}"))?.values);
        }
        "2" => return Some(get(&format!("norm{stage}.{rest}"))?.values),
        _ => {}
    }
    let (index, rest) = rest.split_once('.')?;
    if rest == "pos_embed" {
        let stored = get(&format!("pos_embed{stage}"))?;
        // The last stage has a class token before its places.
        let [ours, theirs] = [&entry.shape, &stored.shape].map(|shape| shape.get(1).copied());
        let skipped = if theirs == ours.map(|n| n + 1) {
            *entry.shape.last()?
        } else {
            0
        };
        return Some(stored.values[skipped..].to_vec());
    }
    let first = usize::from(get(&format!("pos_embed{stage}")).is_some());
    let index = index.parse::<usize>().ok()?.checked_sub(first)?;
    let block = format!("block{stage}.{index}");
    if let Some(kind) = rest.strip_prefix("attn.attn.in_proj_") {
        let [q, kv] = ["q", "kv"].map(|part| get(&format!("{block}.attn.{part}.{kind}")));
        return Some([q?.values, kv?.values].concat());
    }
    let mut rest = rest.replace("attn.attn.out_proj.", "attn.proj.");
    for (ours, theirs) in [
        ("ffn.layers.0.", "mlp.fc1."),
        ("ffn.layers.1.", "mlp.dwconv.dwconv."),
        ("ffn.layers.3.", "mlp.fc2."),
        ("ffn.layers.4.", "mlp.fc2."),
    ] {
        rest = rest.replace(ours, theirs);
    }
    Some(get(&format!("{block}.{rest}"))?.values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::made;
    use crate::layers::{Mode, Role};

    /// Our `ours` from a checkpoint of the paper's with these tensors of two numbers.
    fn found(ours: &str, shape: &[usize], theirs: &[(&str, [f32; 2])]) -> Option<Vec<f32>> {
        let entry = StateEntry {
            key: ours.to_string(),
            shape: shape.to_vec(),
            role: Role::Parameter,
            once: None,
            resized: None,
        };
        let get = |name: &str| {
            let (_, values) = theirs.iter().find(|(known, _)| *known == name)?;
            Some(Stored {
                shape: vec![1, 2, 1],
                values: values.to_vec(),
            })
        };
        from_paper(&entry, &get)
    }

    #[test]
    fn names_of_the_papers_repository() {
        let (one, two) = ([1.0, 2.0], [3.0, 4.0]);
        let of = |ours, theirs| found(ours, &[2], &[(theirs, one)]).unwrap();
        of("layers.0.0.projection.bias", "patch_embed1.proj.bias");
        of("layers.1.0.norm.bias", "patch_embed2.norm.bias");
        of("layers.3.2.weight", "norm4.weight");
        of("layers.2.1.5.norm1.weight", "block3.5.norm1.weight");
        of("layers.2.1.5.attn.sr.bias", "block3.5.attn.sr.bias");
        of(
            "layers.2.1.5.attn.attn.out_proj.bias",
            "block3.5.attn.proj.bias",
        );
        of("layers.2.1.5.ffn.layers.0.bias", "block3.5.mlp.fc1.bias");
        of(
            "layers.2.1.5.ffn.layers.1.bias",
            "block3.5.mlp.dwconv.dwconv.bias",
        );
        of("layers.2.1.5.ffn.layers.4.bias", "block3.5.mlp.fc2.bias");
        // The embedding of positions stands before the blocks; the class token's is left out.
        let theirs = [("pos_embed3", one), ("block3.4.mlp.fc2.bias", two)];
        let name = "layers.2.1.5.ffn.layers.3.bias";
        assert_eq!(found(name, &[2], &theirs).unwrap(), two);
        let name = "layers.2.1.0.pos_embed";
        assert_eq!(found(name, &[1, 2, 1], &theirs).unwrap(), one);
        assert_eq!(found(name, &[1, 1, 1], &theirs).unwrap(), [2.0]);
        let theirs = [
            ("block1.0.attn.q.bias", one),
            ("block1.0.attn.kv.bias", two),
        ];
        let joint = found("layers.0.1.0.attn.attn.in_proj_bias", &[4], &theirs);
        assert_eq!(joint.unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn mistakes_are_explained() {
        for (class, text, part) in [
            (
                "",
                "num_layers=[1, 1]",
                "`num_layers` has 2 entries for 4 stages",
            ),
            ("", "out_indices=(4,)", "`out_indices` names stage 4"),
            (
                "",
                "embed_dims=7, num_heads=[2, 3, 4, 5], num_layers=[1, 1, 1, 1], mlp_ratios=[1]",
                "`mlp_ratios` has 1 entries",
            ),
            ("", "pretrain_img_size=16", "larger than the picture"),
            ("", "norm_cfg=None", "a `norm_cfg` is needed"),
            (
                "",
                "pretrained='a.pth', init_cfg=dict(checkpoint='b.pth')",
                "both given",
            ),
            (
                "V2",
                "patch_sizes=[4, 2, 2, 2]",
                "sets `patch_sizes` itself",
            ),
        ] {
            let text = format!("dict(type='PyramidVisionTransformer{class}', {text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        // As MMDetection's own configs have it.
        let typeless = "dict(type='PyramidVisionTransformerV2', embed_dims=8, init_cfg=dict(checkpoint='https://a/b.pth'))";
        made(typeless, Mode::Plan).unwrap();
        for (text, part) in [
            (
                "type='mmpretrain.SVT', arch='tiny'",
                "known are small, base, large",
            ),
            ("type='mmpretrain.PCPVT'", "arch"),
            (
                "type='mmpretrain.PCPVT', arch='s', norm_after_stage=[True]",
                "has 1 entries for 4 stages",
            ),
        ] {
            let text = format!("dict({text})");
            let message = made(&text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
