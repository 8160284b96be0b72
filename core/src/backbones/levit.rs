//! LeViT (Graham et al. 2021, arXiv 2104.01136) as MMPretrain 1.2.0 builds it: four convolutions, then stages of attention in which each
//! fully connected layer has a batch norm. Its biases are for places of the picture, so that pictures have one size.
//!
//! Shapes: stage i gives `[N, embed_dims[i], H / (16 * 2^i), W / ...]`.

use burn::tensor::Tensor;
use serde::Deserialize;

use super::options::{OutIndices, act, rate, widened};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, LinearNorm, NormConfig, OffsetBias, Params,
    attend, join_heads, map_from_tokens, tokens_from_map,
};
use crate::limits::Pixels;

/// The keys of `type='mmpretrain.LeViT'`.
#[derive(Debug, Deserialize)]
struct Keys {
    arch: String,
    img_size: Option<Bounded<1, 8192>>,
    patch_size: Option<Pixels>,
    attn_ratio: Option<f64>,
    mlp_ratio: Option<Bounded<0, 64>>,
    out_indices: Option<OutIndices>,
    deploy: Option<bool>,
    drop_path_rate: Option<f64>,
}

/// Name, and of each stage channels, heads, blocks, and channels of q and k in a head.
type ArchRow = (&'static str, [usize; 3], [usize; 3], [usize; 3], usize);

const ARCHES: [ArchRow; 5] = [
    ("128s", [128, 256, 384], [4, 6, 8], [2, 3, 4], 16),
    ("128", [128, 256, 384], [4, 8, 12], [4, 4, 4], 16),
    ("192", [192, 288, 384], [3, 5, 6], [4, 4, 4], 32),
    ("256", [256, 384, 512], [4, 6, 8], [4, 4, 4], 32),
    ("384", [384, 512, 768], [6, 9, 12], [4, 4, 4], 32),
];

/// Pixels of a patch: four convolutions of stride 2.
const PATCH: usize = 16;
/// Channels of a value, in those of a key, where a stage begins.
const SHRINKING_RATIO: usize = 4;

/// How all layers are made.
struct Style {
    act: Activation,
    norm: NormConfig,
    /// Whether norms were folded into the layers before them, so that the state dict has none.
    deploy: bool,
    drop_path_rate: f64,
    mlp_ratio: usize,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    if node
        .get("arch")
        .is_some_and(|arch| arch.as_dict().is_some())
    {
        let message =
            "MMPretrain's LeViT takes no dict for `arch`: it asks for other keys than it reads";
        return Err(unsupported(
            node,
            "arch",
            message,
            "give a name, for example '128s'",
        ));
    }
    let keys: Keys = node.read_knowing(&["act_cfg", "init_cfg"])?;
    Ok(Box::new(keys.build(node, &build.params)?))
}

impl Keys {
    fn build(&self, node: &Node, params: &Params) -> Result<Levit, Diagnostics> {
        let name = self.arch.to_lowercase();
        let Some((_, channels, heads, depths, key)) = ARCHES.iter().find(|row| row.0 == name)
        else {
            let message = format!("LeViT has no arch '{name}'");
            let known: Vec<_> = ARCHES.iter().map(|row| row.0).collect();
            return Err(error_at(
                node,
                "arch",
                message,
                &format!("known are {}", known.join(", ")),
            ));
        };
        let things = "stages";
        let out_indices = OutIndices::of(self.out_indices.as_ref(), &[-1], 3, things, node)?;
        let picture = self.img_size.map_or(224, Bounded::get);
        let patch = self.patch_size.map_or(PATCH, Pixels::get);
        let side = picture.div_ceil(PATCH);
        if picture / patch != side {
            let message = format!(
                "pictures of {picture} px give maps of {side} places a side, `img_size` / `patch_size` says {}",
                picture / patch
            );
            let help = "an `img_size` that is a multiple of 16 goes with patch_size=16";
            return Err(error_at(node, "img_size", message, help));
        }
        let style = Style {
            act: act(node, "act_cfg", Activation::HSwish)?,
            norm: NormConfig::batch(1e-5),
            deploy: self.deploy.unwrap_or(false),
            drop_path_rate: rate(node, "drop_path_rate", self.drop_path_rate)?,
            mlp_ratio: self.mlp_ratio.map_or(2, Bounded::get),
        };
        let value = widened(node, "attn_ratio", *key, self.attn_ratio.unwrap_or(2.0))?;
        let patch = style.patch(channels[0], &params.at("patch_embed.patch_embed"));
        let mut stages = Vec::new();
        let (mut side, mut features) = (side, Vec::new());
        for i in 0..channels.len() {
            let at = params.at(format!("stages.{i}"));
            let mut count = 0;
            let mut next = || {
                count += 1;
                at.at(count - 1)
            };
            let mut shrink = None;
            if i > 0 {
                let before = channels[i - 1];
                let shape = AttentionShape {
                    channels: [before, channels[i]],
                    heads: before / key,
                    key: *key,
                    value: SHRINKING_RATIO * key,
                    size: [side; 2],
                    stride: 2,
                };
                let attention = Attention::new(&shape, &style, &next());
                side = side.div_ceil(2);
                let feed = (style.mlp_ratio > 0).then(|| Feed::new(channels[i], &style, &next()));
                shrink = Some((attention, feed));
            }
            let shape = AttentionShape {
                channels: [channels[i]; 2],
                heads: heads[i],
                key: *key,
                value,
                size: [side; 2],
                stride: 1,
            };
            let mut blocks = Vec::new();
            for _ in 0..depths[i] {
                let at = next();
                let attention = Attention::new(&shape, &style, &at.at("block"));
                let drop_path = DropPath::new(style.drop_path_rate, &at.at("drop_path"));
                let feed = (style.mlp_ratio > 0).then(|| Feed::new(channels[i], &style, &next()));
                blocks.push((attention, drop_path, feed));
            }
            stages.push(Stage {
                shrink,
                blocks,
                side,
            });
            features.push(Feature {
                channels: channels[i],
                stride: PATCH << i,
            });
        }
        Ok(Levit {
            patch,
            stages,
            features: out_indices.iter().map(|i| features[*i]).collect(),
            out_indices,
            picture,
        })
    }
}

impl Style {
    fn patch(&self, channels: usize, at: &Params) -> Vec<ConvNormAct> {
        let inputs = [3, channels / 8, channels / 4, channels / 2];
        let layer = |(i, from): (usize, &usize)| {
            let at = at.at(2 * i);
            let conv = ConvConfig::new(*from, channels >> (3 - i), 3)
                .stride(2)
                .pad(1);
            let conv = conv.act((i < 3).then_some(Activation::HSwish)); // whatever `act_cfg` says
            match self.deploy {
                true => conv.bias(true).init(&at, None),
                false => conv.init(&at.at("conv"), Some((&self.norm, &at.at("bn")))),
            }
        };
        inputs.iter().enumerate().map(layer).collect()
    }

    fn linear(&self, [from, to]: [usize; 2], at: &Params) -> LinearNorm {
        match self.deploy {
            true => LinearNorm::folded(from, to, at),
            false => LinearNorm::new(from, to, &self.norm, [&at.at("linear"), &at.at("bn")]),
        }
    }
}

/// LeViT.
#[derive(Debug)]
pub struct Levit {
    patch: Vec<ConvNormAct>,
    stages: Vec<Stage>,
    features: Vec<Feature>,
    out_indices: Vec<usize>,
    picture: usize,
}

#[derive(Debug)]
struct Stage {
    /// Attention from every second place, where the stage before has more.
    shrink: Option<(Attention, Option<Feed>)>,
    blocks: Vec<(Attention, Option<DropPath>, Option<Feed>)>,
    side: usize,
}

impl Backbone for Levit {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let map = self.patch.iter().fold(x, |x, layer| layer.forward(x));
        let mut x = tokens_from_map(map);
        let last = self.out_indices.last().copied().unwrap_or(0);
        let mut maps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            // Running statistics are in the state dict, wanted or not.
            if i > last && !stage.learning() {
                break;
            }
            x = stage.forward(x);
            if self.out_indices.contains(&i) {
                maps.push(map_from_tokens(x.clone(), [stage.side; 2]));
            }
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn only_size(&self) -> Option<[usize; 2]> {
        Some([self.picture; 2])
    }
}

impl Stage {
    fn learning(&self) -> bool {
        self.blocks
            .iter()
            .any(|(attention, ..)| attention.proj.learning())
    }

    fn forward(&self, mut x: Tensor<3>) -> Tensor<3> {
        let feed = |feed: &Option<Feed>, x: Tensor<3>| match feed {
            Some(feed) => feed.forward(x),
            None => x,
        };
        if let Some((attention, mlp)) = &self.shrink {
            x = feed(mlp, attention.forward(x));
        }
        for (attention, drop_path, mlp) in &self.blocks {
            let branch = attention.forward(x.clone());
            x = feed(mlp, DropPath::add(drop_path, x, branch));
        }
        x
    }
}

struct AttentionShape {
    /// Before and after.
    channels: [usize; 2],
    heads: usize,
    /// Channels of q and k in a head.
    key: usize,
    /// Channels of v in a head.
    value: usize,
    /// Places down and across.
    size: [usize; 2],
    /// 2 where every second place alone asks.
    stride: usize,
}

/// Attention of places to all.
#[derive(Debug)]
struct Attention {
    bias: OffsetBias,
    /// Of q, k and v together, or of k and v.
    qkv: LinearNorm,
    /// Of q, where every second place alone asks.
    q: Option<LinearNorm>,
    proj: LinearNorm,
    act: Activation,
    heads: usize,
    key: usize,
    value: usize,
    size: [usize; 2],
}

impl Attention {
    fn new(shape: &AttentionShape, style: &Style, at: &Params) -> Self {
        let &AttentionShape {
            channels: [from, to],
            heads,
            key,
            value,
            size,
            stride,
        } = shape;
        let bias = OffsetBias::new(heads, size, stride, true, at);
        let (keys, values) = (heads * key, heads * value);
        let (qkv, q) = if stride == 1 {
            (style.linear([from, 2 * keys + values], &at.at("qkv")), None)
        } else {
            let kv = style.linear([from, keys + values], &at.at("kv"));
            (kv, Some(style.linear([from, keys], &at.at("q.1"))))
        };
        Self {
            bias,
            qkv,
            q,
            proj: style.linear([values, to], &at.at("proj.1")),
            act: style.act,
            heads,
            key,
            value,
            size,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let [b, n, c] = x.dims();
            x.reshape([b, n, self.heads, c / self.heads])
                .swap_dims(1, 2)
        };
        let all = heads(self.qkv.forward(x.clone()));
        let part = |from, count| all.clone().narrow(3, from, count);
        let (q, first) = match &self.q {
            Some(q) => (heads(q.forward(self.every_second(x))), 0),
            None => (part(0, self.key), self.key),
        };
        let (k, v) = (part(first, self.key), part(first + self.key, self.value));
        let scale = (self.key as f64).powf(-0.5);
        let x = join_heads(attend(q, k, v, scale, Some(self.bias.forward())));
        self.proj.forward(self.act.forward(x))
    }

    /// Every second place of every second row.
    fn every_second(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, _, c] = x.dims();
        let [h, w] = self.size;
        let x = x.reshape([b, h, w, c]);
        let device = x.device().without_autodiff();
        let every = |size: usize| Tensor::arange_step(0..size as i64, 2, &device);
        let x = x.select(1, every(h)).select(2, every(w));
        x.flatten(1, 2)
    }
}

/// Two fully connected layers, added to their input.
#[derive(Debug)]
struct Feed {
    layers: [LinearNorm; 2],
    act: Activation,
    drop_path: Option<DropPath>,
}

impl Feed {
    fn new(channels: usize, style: &Style, at: &Params) -> Self {
        let hidden = channels * style.mlp_ratio;
        let block = at.at("block");
        Self {
            layers: [
                style.linear([channels, hidden], &block.at("linear1")),
                style.linear([hidden, channels], &block.at("linear2")),
            ],
            act: style.act,
            drop_path: DropPath::new(style.drop_path_rate, &at.at("drop_path")),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [first, last] = &self.layers;
        let branch = last.forward(self.act.forward(first.forward(x.clone())));
        DropPath::add(&self.drop_path, x, branch)
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
                "dict(type='mmpretrain.LeViT', arch='64')",
                "known are 128s, 128",
            ),
            (
                "dict(type='mmpretrain.LeViT', arch='128', img_size=200)",
                "`img_size` / `patch_size` says 12",
            ),
            (
                "dict(type='mmpretrain.LeViT', arch='128', out_indices=3)",
                "`out_indices` names 3; there are 3 stages, from 0",
            ),
            (
                "dict(type='mmpretrain.TinyViT')",
                "gap_before_final_norm=False gives maps",
            ),
            (
                "dict(type='mmpretrain.TinyViT', img_size=(224, 100), gap_before_final_norm=False)",
                "must be a multiple of 32",
            ),
            (
                "dict(type='mmpretrain.TinyViT', window_size=[7], gap_before_final_norm=False)",
                "`window_size` has 1 entries for 4 stages",
            ),
            (
                "dict(type='mmpretrain.XCiT', patch_size=4, out_type='featmap')",
                "must be 8 or 16",
            ),
            (
                "dict(type='mmpretrain.XCiT', num_heads=5, out_type='featmap')",
                "768 channels cannot be shared among 5 heads",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
