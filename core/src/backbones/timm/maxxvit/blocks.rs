//! The blocks of MaxViT and CoAtNet: MobileNet's and ConvNeXt's convolution blocks, and attention.
//!
//! Shapes: blocks take and give maps, `[N, C, H, W]`; attention has their channels last.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::{AvgPoolOptions, PadMode};

use super::{Distances, Kind, Variant};
use crate::backbones::tokens::{NARROW, Pointwise};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DistanceNetwork, DropPath, Init, InitRule, LayerScale,
    Linear, Norm, NormConfig, NormKind, Padding, Pairs, Params, RelativePositionBias,
    SqueezeExcite, Weight, Windows, attend, join_heads, join_windows, make_divisible, pad_end,
    split_qkv,
};
use crate::ops::pool::max_pool2d;

/// Channels of a head.
const HEAD: usize = 32;
/// How much wider the inner layers of all blocks are.
const EXPANSION: usize = 4;
/// Side of ConvNeXt's filters.
const NEXT_KERNEL: usize = 7;

/// How the blocks of one model are made.
pub(super) struct Make<'v> {
    pub(super) variant: &'v Variant,
    /// Height and width of windows and grids.
    pub(super) windows: [usize; 2],
}

impl Make<'_> {
    /// Gives a convolution the values that it has at first.
    pub(super) fn begin(&self, conv: &ConvConfig, at: &Params) {
        let std = match self.variant.normal {
            true => 0.02,
            false => (2.0 / conv.fan_out_of_group().max(1) as f64).sqrt(),
        };
        at.initialise_built(InitRule::all(Init::normal(std), 0.0));
    }

    /// As much padding as keeps the size, but for the stride.
    pub(super) fn padded(&self, conv: ConvConfig, kernel: usize, stride: usize) -> ConvConfig {
        conv.padding(match self.variant.tensorflow {
            true => Padding::Same,
            false => Padding::Even((stride - 1 + kernel - 1) / 2),
        })
    }

    /// Gives the layers of an attention block the values that they have at first.
    fn begin_attention(&self, at: &Params) {
        let init = match self.variant.normal {
            true => Init::normal(0.02),
            false => Init::XAVIER_UNIFORM,
        };
        at.initialise_built(InitRule::of(&["Conv2d", "Linear"], init));
    }

    /// A block of a stage whose maps are of size `map`.
    pub(super) fn block(
        &self,
        kind: Kind,
        channels: [usize; 2],
        stride: usize,
        map: [usize; 2],
        rate: f64,
        at: &Params,
    ) -> Block {
        let conv = |channels, stride, at: &Params| self.conv(channels, stride, rate, at);
        let wide = [channels[1]; 2];
        match kind {
            Kind::Conv => Block::Conv(vec![conv(channels, stride, at)]),
            Kind::Whole => {
                self.begin_attention(at);
                Block::Whole(Box::new(self.whole(channels, stride, map, rate, at)))
            }
            Kind::Max => {
                let convs = vec![conv(channels, stride, &at.at("conv"))];
                let within = self.variant.within_windows;
                let parts = [("attn_block", within, false), ("attn_grid", true, true)];
                let parts = parts.into_iter().filter(|(_, there, _)| *there);
                let attention = |(name, _, grid): (&str, bool, bool)| {
                    let at = at.at(name);
                    self.begin_attention(&at);
                    let attention = |out, at: &Params| {
                        let part = if grid { Part::Grid } else { Part::Windows };
                        self.attention([wide[0], out], wide[0], part, self.windows, at)
                    };
                    self.attending(wide[0], rate, &at, |at| {
                        vec![attention(wide[0], &at.at("attn"))]
                    })
                };
                Block::Max(convs, parts.map(attention).collect())
            }
            Kind::Parallel => {
                let convs = vec![
                    conv(channels, stride, &at.at("conv.0")),
                    conv(wide, 1, &at.at("conv.1")),
                ];
                let at = at.at("attn");
                self.begin_attention(&at);
                let attending = self.attending(wide[0], rate, &at, |at| {
                    [("attn_block", Part::Windows), ("attn_grid", Part::Grid)]
                        .map(|(name, part)| {
                            let channels = [wide[0], wide[0] / 2];
                            self.attention(channels, wide[0], part, self.windows, &at.at(name))
                        })
                        .into()
                });
                Block::Max(convs, vec![attending])
            }
        }
    }

    fn conv(&self, channels: [usize; 2], stride: usize, rate: f64, at: &Params) -> ConvBlock {
        match self.variant.next {
            Some(scale) => ConvBlock::Next(Box::new(self.next(channels, stride, scale, rate, at))),
            None => ConvBlock::Mobile(Box::new(self.mobile(channels, stride, rate, at))),
        }
    }

    /// The shortcut of a block that makes maps smaller.
    fn downsample(&self, [from, to]: [usize; 2], max: bool, bias: bool, at: &Params) -> Downsample {
        let expand = (from != to).then(|| {
            let conv = ConvConfig::new(from, to, 1).bias(bias);
            conv.init(&at.at("expand"), None)
        });
        Downsample { max, expand }
    }

    fn mobile(&self, channels: [usize; 2], stride: usize, rate: f64, at: &Params) -> MobileBlock {
        let v = self.variant;
        let [from, to] = channels;
        let norm = v.conv_norm();
        let act = Some(v.act);
        let mid = make_divisible(
            (if v.expand_output { to } else { from } * EXPANSION) as f64,
            8,
        );
        let begun = |conv: ConvConfig, name: &str| {
            self.begin(&conv, &at.at(name));
            conv
        };
        let shortcut = (stride == 2).then(|| {
            let expand = ConvConfig::new(from, to, 1);
            self.begin(&expand, &at.at("shortcut.expand"));
            self.downsample(channels, v.max_pool, v.output_bias, &at.at("shortcut"))
        });
        let pre_norm = norm.init(from, &at.at("pre_norm"));
        let pools = stride == 2 && v.pools;
        let stride = if pools { 1 } else { stride };
        let conv1 = begun(ConvConfig::new(from, mid, 1), "conv1_1x1");
        let conv1 = conv1.bias(false).act(act);
        let conv1 = conv1.init(&at.at("conv1_1x1"), Some((&norm, &at.at("norm1"))));
        let conv2 = ConvConfig::new(mid, mid, 3).stride(stride).groups(mid);
        let conv2 = begun(self.padded(conv2, 3, stride), "conv2_kxk").bias(false);
        let squeezed = (v.squeeze_ratio * if v.expand_output { to } else { mid } as f64) as usize;
        let squeeze = |name: &str| {
            let at = at.at(name);
            let first = match v.squeeze_relu {
                true => Activation::Relu,
                false => Activation::Silu,
            };
            let places = [(first, &at.at("fc1")), (Activation::Sigmoid, &at.at("fc2"))];
            SqueezeExcite::new(mid, squeezed, places, |conv, act, at| {
                self.begin(&conv, at);
                conv.act(Some(act)).init(at, None)
            })
        };
        let (conv2, early, squeeze_excite) = match v.early {
            true => {
                let conv2 = conv2.init(&at.at("conv2_kxk"), None);
                let squeeze = squeeze("se_early");
                (conv2, Some(norm.init(mid, &at.at("norm2"))), squeeze)
            }
            false => {
                let conv2 = conv2.act(act);
                let conv2 = conv2.init(&at.at("conv2_kxk"), Some((&norm, &at.at("norm2"))));
                (conv2, None, squeeze("se"))
            }
        };
        let conv3 = begun(ConvConfig::new(mid, to, 1), "conv3_1x1");
        MobileBlock {
            shortcut,
            pre_norm,
            pre_act: v.pre_act.then_some(v.act),
            pools,
            conv1,
            conv2,
            squeeze_excite,
            early,
            act: v.act,
            conv3: conv3.bias(v.output_bias).init(&at.at("conv3_1x1"), None),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    fn next(
        &self,
        channels: [usize; 2],
        stride: usize,
        scale: f64,
        rate: f64,
        at: &Params,
    ) -> NextBlock {
        let v = self.variant;
        let [from, to] = channels;
        // timm leaves those of CoAtNeXt as PyTorch has them.
        let begins = v.kinds[0] == Kind::Max;
        let begun = |conv: ConvConfig, name: &str| {
            if begins {
                self.begin(&conv, &at.at(name));
            }
            conv
        };
        let shortcut = (stride == 2).then(|| {
            begun(ConvConfig::new(from, to, 1), "shortcut.expand");
            self.downsample(channels, false, true, &at.at("shortcut"))
        });
        let depthwise = ConvConfig::new(from, to, NEXT_KERNEL)
            .stride(stride)
            .groups(from);
        let depthwise = begun(self.padded(depthwise, NEXT_KERNEL, stride), "conv_dw");
        let depthwise = depthwise.bias(v.output_bias).init(&at.at("conv_dw"), None);
        let norm = v.conv_norm().init(to, &at.at("norm"));
        let hidden = EXPANSION * to;
        let one = |from, to, name: &str, act| {
            let conv = begun(ConvConfig::new(from, to, 1), name);
            conv.bias(v.output_bias).act(act).init(&at.at(name), None)
        };
        NextBlock {
            shortcut,
            depthwise,
            norm,
            layers: [
                one(to, hidden, "mlp.fc1", Some(v.act)),
                one(hidden, to, "mlp.fc2", None),
            ],
            scale: LayerScale::new("gamma", to, scale, &at.at("ls")),
            drop_path: DropPath::new(rate, &at.at("drop_path")),
        }
    }

    /// Attention, with maps `size` or windows of it; `inner` is the width of q, k and v together.
    fn attention(
        &self,
        [from, to]: [usize; 2],
        inner: usize,
        part: Part,
        size: [usize; 2],
        at: &Params,
    ) -> Attention {
        let convs = part == Part::Whole;
        let qkv = pointwise(convs, [from, 3 * inner], &at.at("qkv"));
        let heads = inner / HEAD;
        let distances = DistanceBias::new(self.variant.distances, size, heads, &at.at("rel_pos"));
        Attention {
            qkv,
            distances,
            proj: pointwise(convs, [inner, to], &at.at("proj")),
            heads,
            // Attention of all places has its heads first whatever the model says.
            heads_first: convs || !self.variant.tensorflow,
            part,
            size,
        }
    }

    /// What is around attention that keeps channels and size.
    fn attending(
        &self,
        channels: usize,
        rate: f64,
        at: &Params,
        attentions: impl FnOnce(&Params) -> Vec<Attention>,
    ) -> Attending {
        let v = self.variant;
        let norm = v.norm();
        let norm1 = TokenNorm::new(&norm, channels, &at.at("norm1"));
        let attentions = attentions(at);
        self.around(None, norm1, attentions, &norm, channels, false, rate, at)
    }

    /// Attention of all places, which may make maps smaller and widen them.
    fn whole(
        &self,
        channels: [usize; 2],
        stride: usize,
        map: [usize; 2],
        rate: f64,
        at: &Params,
    ) -> Attending {
        let v = self.variant;
        let norm = v.whole_norm();
        let [from, to] = channels;
        let shortcut = (stride == 2)
            .then(|| self.downsample(channels, v.max_pool, v.shortcut_bias, &at.at("shortcut")));
        let name = if stride == 2 { "norm1.norm" } else { "norm1" };
        let norm1 = TokenNorm::new(&norm, from, &at.at(name));
        let inner = if v.expand_first { to } else { from };
        let attention = self.attention(channels, inner, Part::Whole, map, &at.at("attn"));
        self.around(shortcut, norm1, vec![attention], &norm, to, true, rate, at)
    }

    /// The parts after attention.
    #[expect(clippy::too_many_arguments, reason = "parts of a block in their order")]
    fn around(
        &self,
        shortcut: Option<Downsample>,
        norm1: TokenNorm,
        attentions: Vec<Attention>,
        norm: &NormConfig,
        channels: usize,
        convs: bool,
        rate: f64,
        at: &Params,
    ) -> Attending {
        let v = self.variant;
        let scale = |name: &str| {
            let at = at.at(name);
            v.scale
                .map(|value| LayerScale::new("gamma", channels, value, &at))
        };
        let scale1 = scale("ls1");
        let norm2 = TokenNorm::new(norm, channels, &at.at("norm2"));
        let hidden = EXPANSION * channels;
        let layers = [
            pointwise(convs, [channels, hidden], &at.at("mlp.fc1")),
            pointwise(convs, [hidden, channels], &at.at("mlp.fc2")),
        ];
        let drop = |name: &str| DropPath::new(rate, &at.at(name));
        Attending {
            shortcut,
            norms: [norm1, norm2],
            attentions,
            layers,
            act: v.layers_act(),
            scales: [scale1, scale("ls2")],
            drop_paths: ["drop_path1", "drop_path2"].map(drop),
        }
    }
}

fn pointwise(conv: bool, [from, to]: [usize; 2], at: &Params) -> Pointwise {
    match conv {
        true => {
            let conv = ConvConfig::new(from, to, 1).bias(true);
            Pointwise::Conv(Box::new(conv.init(at, None)))
        }
        false => Pointwise::Linear(Box::new(Linear::new(from, to, true, at))),
    }
}

/// One block of a stage.
#[derive(Debug)]
pub(super) enum Block {
    Conv(Vec<ConvBlock>),
    Whole(Box<Attending>),
    Max(Vec<ConvBlock>, Vec<Attending>),
}

impl Block {
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let last = |x: Tensor<4>| x.permute([0, 2, 3, 1]);
        let first = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
        match self {
            Self::Conv(convs) => convs.iter().fold(x, |x, conv| conv.forward(x)),
            Self::Whole(attending) => first(attending.forward(last(x))),
            Self::Max(convs, attending) => {
                let x = convs.iter().fold(x, |x, conv| conv.forward(x));
                let attend = |x, attending: &Attending| attending.forward(x);
                first(attending.iter().fold(last(x), attend))
            }
        }
    }
}

/// Half the size by pooling, then a convolution where channels change.
#[derive(Debug)]
struct Downsample {
    max: bool,
    expand: Option<ConvNormAct>,
}

impl Downsample {
    /// # Shapes
    /// - input `[N, C, H, W]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.max {
            true => max_pool2d(x, 3, 2, 1),
            false => halve(x),
        };
        match &self.expand {
            Some(expand) => expand.forward(x),
            None => x,
        }
    }
}

/// Means of two by two pixels.
fn halve(x: Tensor<4>) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let x = match (h % 2, w % 2) {
        (0, 0) => x,
        (below, beside) => {
            let sides = [(0, 0), (0, 0), (0, below), (0, beside)];
            x.pad(sides, PadMode::Constant(0.0))
        }
    };
    avg_pool2d(x, AvgPoolOptions::new([2; 2]).with_stride([2; 2]))
}

#[derive(Debug)]
pub(super) enum ConvBlock {
    Mobile(Box<MobileBlock>),
    Next(Box<NextBlock>),
}

impl ConvBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (y, shortcut, drop_path) = match self {
            Self::Mobile(block) => (block.inner(x.clone()), &block.shortcut, &block.drop_path),
            Self::Next(block) => (block.inner(x.clone()), &block.shortcut, &block.drop_path),
        };
        let x = match shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        DropPath::add(drop_path, x, y)
    }
}

/// A norm, then widen (1x1), filter each channel, weigh the channels, narrow (1x1).
#[derive(Debug)]
pub(super) struct MobileBlock {
    shortcut: Option<Downsample>,
    pre_norm: Norm,
    pre_act: Option<Activation>,
    pools: bool,
    conv1: ConvNormAct,
    conv2: ConvNormAct,
    squeeze_excite: SqueezeExcite,
    /// The norm of the second convolution, if the channels are weighed before it.
    early: Option<Norm>,
    act: Activation,
    conv3: ConvNormAct,
    drop_path: Option<DropPath>,
}

impl MobileBlock {
    fn inner(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.pre_norm.forward(x);
        let x = match self.pre_act {
            Some(act) => act.forward(x),
            None => x,
        };
        let x = if self.pools { halve(x) } else { x };
        let x = self.conv2.forward(self.conv1.forward(x));
        let x = self.squeeze_excite.forward(x);
        let x = match &self.early {
            Some(norm) => self.act.forward(norm.forward(x)),
            None => x,
        };
        self.conv3.forward(x)
    }
}

/// Filter each channel, a norm, then two layers (ConvNeXt, Liu et al. 2022, arXiv 2201.03545, section 2).
#[derive(Debug)]
pub(super) struct NextBlock {
    shortcut: Option<Downsample>,
    depthwise: ConvNormAct,
    norm: Norm,
    layers: [ConvNormAct; 2],
    scale: LayerScale,
    drop_path: Option<DropPath>,
}

impl NextBlock {
    fn inner(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(self.depthwise.forward(x));
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x));
        self.scale.forward(x)
    }
}

/// A norm of a map with its channels last.
#[derive(Debug)]
struct TokenNorm {
    norm: Norm,
    of_maps: bool,
}

impl TokenNorm {
    fn new(config: &NormConfig, channels: usize, at: &Params) -> Self {
        Self {
            norm: config.init(channels, at),
            of_maps: config.norm_kind() != Ok(NormKind::Layer),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self.of_maps {
            true => {
                let x = self.norm.forward(x.permute([0, 3, 1, 2]));
                x.permute([0, 2, 3, 1])
            }
            false => self.norm.forward_tokens(x),
        }
    }
}

/// Attention and two layers, each after a norm and added to its input; the attentions share the channels of what they give.
#[derive(Debug)]
pub(super) struct Attending {
    /// Of a block that makes maps smaller.
    shortcut: Option<Downsample>,
    norms: [TokenNorm; 2],
    attentions: Vec<Attention>,
    layers: [Pointwise; 2],
    act: Activation,
    scales: [Option<LayerScale>; 2],
    drop_paths: [Option<DropPath>; 2],
}

impl Attending {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let scaled = |i: usize, y| match &self.scales[i] {
            Some(scale) => scale.forward_tokens(y),
            None => y,
        };
        let y = self.norms[0].forward(x.clone());
        let on_map = |x: Tensor<4>, of: &dyn Fn(Tensor<4>) -> Tensor<4>| {
            of(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
        };
        let (x, y) = match &self.shortcut {
            None => (x, y),
            Some(shortcut) => {
                let pool = |y| match shortcut.max {
                    true => max_pool2d(y, 3, 2, 1),
                    false => halve(y),
                };
                (on_map(x, &|x| shortcut.forward(x)), on_map(y, &pool))
            }
        };
        let parts = self.attentions.iter().map(|part| part.forward(y.clone()));
        let mut parts: Vec<_> = parts.collect();
        let y = match parts.len() {
            1 => parts.remove(0),
            _ => Tensor::cat(parts, 3),
        };
        let x = DropPath::add(&self.drop_paths[0], x, scaled(0, y));
        let y = self.norms[1].forward(x.clone());
        let [first, second] = &self.layers;
        let y = second.forward(self.act.forward(first.forward(y)));
        DropPath::add(&self.drop_paths[1], x, scaled(1, y))
    }
}

/// Which places attend to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Those of a window.
    Windows,
    /// Those at the same place of the cells of a grid.
    Grid,
    /// All.
    Whole,
}

#[derive(Debug)]
struct Attention {
    qkv: Pointwise,
    distances: DistanceBias,
    proj: Pointwise,
    heads: usize,
    /// Whether channels are those of one head after another, each with q, k and v, or q, k and v one after another, each with all heads.
    heads_first: bool,
    part: Part,
    /// Places that attend to each other, down and across.
    size: [usize; 2],
}

impl Attention {
    /// # Shapes
    /// - input and output: `[B, H, W, C]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let qkv = self.qkv.forward(x);
        let y = match self.part {
            Part::Grid => self.across_grid(qkv),
            Part::Windows | Part::Whole => {
                let windows = Windows {
                    size: self.size,
                    shift: [0, 0],
                    rolled_first: false,
                };
                windows.forward(qkv, |tokens, _| self.attend(tokens))
            }
        };
        self.proj.forward(y)
    }

    /// # Shapes
    /// - input `[B, N, 3 * C]`, output `[B, N, C]`
    fn attend(&self, qkv: Tensor<3>) -> Tensor<3> {
        let [q, k, v] = match self.heads_first {
            false => split_qkv(qkv, self.heads),
            true => {
                let [b, n, _] = qkv.dims();
                let heads = qkv.reshape([b, n, self.heads, 3 * HEAD]).swap_dims(1, 2);
                [0, 1, 2].map(|i| heads.clone().narrow(3, i * HEAD, HEAD))
            }
        };
        let scale = (HEAD as f64).sqrt().recip();
        let bias = self.distances.forward();
        join_heads(attend(q, k, v, scale, Some(bias)))
    }

    /// [`Attention::attend`] of the places that are as many cells apart as a cell has places.
    fn across_grid(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let [rows, columns] = self.size;
        let padded = [h.next_multiple_of(rows), w.next_multiple_of(columns)];
        let cell = [padded[0] / rows, padded[1] / columns];
        let x = pad_end(x, padded)
            .reshape([b, rows, cell[0], columns, cell[1], c])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([b * cell[0] * cell[1], rows * columns, c]);
        let y = self.attend(x);
        // As windows of cells they would lie so; the cells' places go back among the grid's.
        let [_, _, c] = y.dims();
        let y = join_windows(y, [rows, columns], padded)
            .reshape([b, cell[0], rows, cell[1], columns, c])
            .permute([0, 2, 1, 4, 3, 5])
            .reshape([b, padded[0], padded[1], c]);
        match padded == [h, w] {
            true => y,
            false => y.narrow(1, 0, h).narrow(2, 0, w),
        }
    }
}

/// See [`Distances`].
#[derive(Debug)]
enum DistanceBias {
    Table(Box<RelativePositionBias>),
    Network(Box<DistanceNetwork>),
    /// `[heads, 2 * height - 1, 2 * width - 1]`: by how far a key is from a query, not a query from a key.
    Reversed(Box<(Weight<3>, Pairs)>),
}

impl DistanceBias {
    fn new(kind: Distances, size: [usize; 2], heads: usize, at: &Params) -> Self {
        let name = "relative_position_bias_table";
        match kind {
            Distances::Table => Self::Table(Box::new(RelativePositionBias::new(
                name, size, heads, NARROW, at,
            ))),
            Distances::Network(hidden) => Self::Network(Box::new(DistanceNetwork::new(
                size,
                hidden,
                heads,
                &at.at("mlp"),
            ))),
            Distances::Reversed => {
                let [h, w] = size.map(|side| 2 * side - 1);
                let table = at.weight(name, [heads, h, w], Init::normal(0.02));
                Self::Reversed(Box::new((table, Pairs::new(size))))
            }
        }
    }

    /// `[1, heads, N, N]`
    fn forward(&self) -> Tensor<4> {
        match self {
            Self::Table(table) => table.forward(),
            Self::Network(network) => network.forward(),
            Self::Reversed(reversed) => {
                let (table, pairs) = reversed.as_ref();
                let [heads, _, _] = table.shape();
                let rows = table.get().reshape([heads, pairs.rows()]);
                pairs.gather(rows.transpose().flip([0]))
            }
        }
    }
}
