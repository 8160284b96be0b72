//! The blocks of a pyramid vision transformer: attention to a smaller map, attention within windows, and layers with a depthwise convolution
//! between them.
//!
//! Shapes: all take and give maps with their channels last, `[B, H, W, C]`.

use burn::tensor::Tensor;

use crate::backbones::tokens::{Pointwise, conv_on_tokens};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, DropPath, Dropout, Init, Linear, Mlp, Norm, NormConfig,
    Params, Position, Weight, WindowAttention, WindowAttentionConfig, Windows, attention_weights,
    join_heads, pad_end, split_heads,
};
use crate::ops::count::product;
use crate::ops::pool::adaptive_avg_pool2d;

/// Whose names, orders and initial values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backbones) enum Library {
    Mmdet,
    Mmpretrain,
    Timm,
}

/// What tokens attend to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::backbones) enum Reach {
    /// All, made fewer by a convolution of this kernel and stride, 1 for none.
    Reduced(usize),
    /// Those of a map pooled to seven by seven (PVTv2-li).
    Pooled,
    /// Those of the window of this side.
    Window(usize),
}

/// Side of the map that [`Reach::Pooled`] has.
const POOLED: usize = 7;

#[derive(Clone, Debug)]
pub(in crate::backbones) struct BlockPlan {
    pub(in crate::backbones) library: Library,
    pub(in crate::backbones) channels: usize,
    pub(in crate::backbones) heads: usize,
    pub(in crate::backbones) reach: Reach,
    /// Channels between the two layers.
    pub(in crate::backbones) hidden: usize,
    /// Whether there is a depthwise convolution between them.
    pub(in crate::backbones) depthwise: bool,
    pub(in crate::backbones) qkv_bias: bool,
    pub(in crate::backbones) act: Activation,
    pub(in crate::backbones) dropout: f64,
    pub(in crate::backbones) attention_dropout: f64,
    pub(in crate::backbones) drop_path_rate: f64,
    pub(in crate::backbones) norm: NormConfig,
    /// Of the smaller map.
    pub(in crate::backbones) reduced_norm: NormConfig,
    /// Whether convolutions begin as the paper's do, by those that reach a number.
    pub(in crate::backbones) initialised: bool,
}

impl BlockPlan {
    /// A convolution, with the initial values that the library gives it.
    fn conv(&self, conv: ConvConfig, at: &Params) -> ConvNormAct {
        begin(self.library, self.initialised, &conv, at);
        conv.bias(true).init(at, None)
    }

    pub(in crate::backbones) fn init(&self, at: &Params) -> Block {
        let norm = |name: &str| self.norm.init(self.channels, &at.at(name));
        let norm1 = norm("norm1");
        let attention = self.attention(&at.at("attn"));
        let norm2 = norm("norm2");
        let mlp = self.layers(at);
        // Twins leaves the branches out twice, but for that of the attention in windows.
        let times = match (self.library, self.reach) {
            (Library::Mmpretrain, Reach::Window(_)) => [1, 2],
            (Library::Mmpretrain, _) => [2, 2],
            _ => [1, 1],
        };
        let drop_paths = [0, 1].map(|i| {
            let name = |j| at.at(format!("drop_path{i}")).at(j);
            let drops = (0..times[i]).map(|j| DropPath::new(self.drop_path_rate, &name(j)));
            drops.flatten().collect()
        });
        Block {
            norm1,
            attention,
            norm2,
            mlp,
            drop_paths,
        }
    }

    fn attention(&self, at: &Params) -> Attention {
        let Self { channels, .. } = *self;
        if let Reach::Window(side) = self.reach {
            let windows = Windows {
                size: [side; 2],
                shift: [0, 0],
                rolled_first: false,
            };
            let attention = WindowAttentionConfig {
                channels,
                heads: self.heads,
                window: windows.size,
                qkv_bias: self.qkv_bias,
                scale: None,
                dropouts: [self.attention_dropout, self.dropout],
                position: Position::None,
                lists_buffers: false,
            };
            return Attention::Windows(windows, Box::new(attention.init(at)));
        }
        let linear = |out, bias, name: &str| Linear::new(channels, out, bias, &at.at(name));
        let q = || linear(channels, self.qkv_bias, "q");
        let kv = || linear(2 * channels, self.qkv_bias, "kv");
        let proj = || linear(channels, true, "proj");
        let (projections, proj) = match self.library {
            Library::Mmdet => {
                // PyTorch's `MultiheadAttention`.
                let at = at.at("attn");
                let weight = at.weight(
                    "in_proj_weight",
                    [3 * channels, channels],
                    Init::XAVIER_UNIFORM,
                );
                let zeros = Init::Constant(0.0);
                let bias = self.qkv_bias;
                let joint = bias.then(|| at.weight("in_proj_bias", [3 * channels], zeros));
                let out = Linear::new(channels, channels, bias, &at.at("out_proj"));
                (Projections::Joint(Box::new((weight, joint))), out)
            }
            Library::Mmpretrain => {
                let proj = proj();
                let q = q();
                (Projections::Apart(Box::new([q, kv()])), proj)
            }
            Library::Timm => {
                let q = q();
                let kv = kv();
                (Projections::Apart(Box::new([q, kv])), proj())
            }
        };
        let reduction = match self.reach {
            Reach::Reduced(0 | 1) | Reach::Window(_) => None,
            Reach::Reduced(ratio) => Some((ratio, ratio)),
            Reach::Pooled => Some((1, 1)),
        };
        let reduction = reduction.map(|(kernel, stride)| {
            let conv = ConvConfig::new(channels, channels, kernel).stride(stride);
            let conv = self.conv(conv, &at.at("sr"));
            (
                kernel,
                conv,
                self.reduced_norm.init(channels, &at.at("norm")),
            )
        });
        Attention::Reduced(Box::new(ReducedAttention {
            projections,
            proj,
            heads: self.heads,
            reduction,
            pooled: self.reach == Reach::Pooled,
            of_weights: Dropout::new(self.attention_dropout, &at.at("attn_drop")),
            of_output: Dropout::new(self.dropout, &at.at("proj_drop")),
        }))
    }

    fn layers(&self, at: &Params) -> Layers {
        let Self {
            channels, hidden, ..
        } = *self;
        let depthwise = |at: &Params| {
            let conv = ConvConfig::new(hidden, hidden, 3).pad(1).groups(hidden);
            self.conv(conv, at)
        };
        let one = |from, to, at: &Params| self.conv(ConvConfig::new(from, to, 1), at);
        let (first, between, last) = match self.library {
            Library::Mmpretrain => {
                let mlp = Mlp::ffn(channels, hidden, self.act, self.dropout, &at.at("ffn"));
                return Layers::Plain(Box::new(mlp));
            }
            Library::Mmdet => {
                let at = at.at("ffn.layers");
                let first = one(channels, hidden, &at.at(0));
                let between = self.depthwise.then(|| depthwise(&at.at(1)));
                let index = if self.depthwise { 4 } else { 3 };
                let last = one(hidden, channels, &at.at(index));
                (
                    Pointwise::Conv(Box::new(first)),
                    between,
                    Pointwise::Conv(Box::new(last)),
                )
            }
            Library::Timm => {
                let at = at.at("mlp");
                let first = Linear::new(channels, hidden, true, &at.at("fc1"));
                let between = depthwise(&at.at("dwconv"));
                let last = Linear::new(hidden, channels, true, &at.at("fc2"));
                (
                    Pointwise::Linear(Box::new(first)),
                    Some(between),
                    Pointwise::Linear(Box::new(last)),
                )
            }
        };
        Layers::Mixed(Box::new(MixedLayers {
            first,
            relu: self.reach == Reach::Pooled,
            between,
            act: self.act,
            last,
            dropout: Dropout::new(self.dropout, &at.at("mlp.drop")),
        }))
    }
}

/// Gives a convolution the paper's initial values: normal, by what a channel of a group goes to.
pub(in crate::backbones) fn begin(
    library: Library,
    initialised: bool,
    conv: &ConvConfig,
    at: &Params,
) {
    if !initialised {
        return;
    }
    let std = (2.0 / conv.fan_out_of_group().max(1) as f64).sqrt();
    let rule = crate::layers::InitRule::all(Init::normal(std), 0.0);
    match library {
        Library::Timm => at.initialise_built(rule),
        _ => at.initialise(rule),
    }
}

/// Attention and two layers, each after a norm and added to its input.
#[derive(Debug)]
pub(in crate::backbones) struct Block {
    norm1: Norm,
    attention: Attention,
    norm2: Norm,
    mlp: Layers,
    drop_paths: [Vec<DropPath>; 2],
}

impl Block {
    pub(in crate::backbones) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second] = &self.drop_paths;
        let drop = |drops: &[DropPath], x| drops.iter().fold(x, |x, drop| drop.forward(x));
        let y = self.attention.forward(self.norm1.forward_tokens(x.clone()));
        let x = x + drop(first, y);
        let y = self.mlp.forward(self.norm2.forward_tokens(x.clone()));
        x + drop(second, y)
    }
}

#[derive(Debug)]
enum Attention {
    Reduced(Box<ReducedAttention>),
    Windows(Windows, Box<WindowAttention>),
}

impl Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Reduced(attention) => attention.forward(x),
            Self::Windows(windows, attention) => {
                let [_, h, w, _] = x.dims();
                let mask = windows.mask_of_zeros([h, w], &x.device());
                windows.forward(x, |tokens, _| attention.forward(tokens, mask))
            }
        }
    }
}

/// Attention of all places to those of a smaller map (PVT, Wang et al. 2021, arXiv 2102.12122, section 3.3).
#[derive(Debug)]
struct ReducedAttention {
    projections: Projections,
    proj: Linear,
    heads: usize,
    /// Its kernel, and the norm after it.
    reduction: Option<(usize, ConvNormAct, Norm)>,
    pooled: bool,
    of_weights: Option<Dropout>,
    of_output: Option<Dropout>,
}

#[derive(Debug)]
enum Projections {
    /// One for q, k and v together.
    Joint(Box<(Weight<2>, Option<Weight<1>>)>),
    /// Of q, and of k and v.
    Apart(Box<[Linear; 2]>),
}

impl Projections {
    /// `[B, N, C]` of q, and `[B, M, 2 * C]` of k and v.
    fn forward(&self, x: Tensor<3>, y: Tensor<3>) -> [Tensor<3>; 2] {
        match self {
            Self::Apart(apart) => {
                let [q, kv] = apart.as_ref();
                [q.forward(x), kv.forward(y)]
            }
            Self::Joint(joint) => {
                let (weight, bias) = joint.as_ref();
                let [_, c] = weight.shape();
                let part = |x: Tensor<3>, from, count| {
                    let [b, n, _] = x.dims();
                    let rows = weight.get().narrow(0, from, count);
                    let y = product(x.reshape([b * n, c]), rows.transpose());
                    let y = match bias {
                        Some(bias) => y + bias.get().narrow(0, from, count).unsqueeze(),
                        None => y,
                    };
                    y.reshape([b, n, count])
                };
                [part(x, 0, c), part(y, c, 2 * c)]
            }
        }
    }
}

impl ReducedAttention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let reduced = match &self.reduction {
            None => x.clone(),
            Some((kernel, conv, norm)) => {
                // A map smaller than the kernel is refused by the original.
                let y = pad_end(x.clone(), [h.max(*kernel), w.max(*kernel)]);
                let y = y.permute([0, 3, 1, 2]);
                let y = match self.pooled {
                    true => adaptive_avg_pool2d(y, [POOLED; 2]),
                    false => y,
                };
                let y = norm.forward_tokens(conv.forward(y).permute([0, 2, 3, 1]));
                match self.pooled {
                    true => Activation::Gelu.forward(y),
                    false => y,
                }
            }
        };
        let [_, rows, columns, _] = reduced.dims();
        let reduced = reduced.reshape([b, rows * columns, c]);
        let [q, kv] = self.projections.forward(x.reshape([b, h * w, c]), reduced);
        let heads = |x| split_heads(x, self.heads);
        let [k, v] = [0, c].map(|from| heads(kv.clone().narrow(2, from, c)));
        let scale = ((c / self.heads) as f64).sqrt().recip();
        let weights = attention_weights(heads(q), k, scale, None);
        let y = product(Dropout::apply(&self.of_weights, weights), v);
        let y = self.proj.forward(join_heads(y));
        Dropout::apply(&self.of_output, y).reshape([b, h, w, c])
    }
}

#[derive(Debug)]
enum Layers {
    Plain(Box<Mlp>),
    Mixed(Box<MixedLayers>),
}

/// Two layers, and between them a convolution that tells them where they are (PVTv2, Wang et al. 2022, arXiv 2106.13797, section 3.3).
#[derive(Debug)]
struct MixedLayers {
    first: Pointwise,
    /// Whether a ReLU follows the first.
    relu: bool,
    between: Option<ConvNormAct>,
    act: Activation,
    last: Pointwise,
    dropout: Option<Dropout>,
}

impl Layers {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let layers = match self {
            Self::Plain(mlp) => return mlp.forward(x),
            Self::Mixed(layers) => layers,
        };
        let x = layers.first.forward(x);
        let x = match layers.relu {
            true => Activation::Relu.forward(x),
            false => x,
        };
        let x = match &layers.between {
            Some(conv) => conv_on_tokens(conv, x),
            None => x,
        };
        let x = Dropout::apply(&layers.dropout, layers.act.forward(x));
        Dropout::apply(&layers.dropout, layers.last.forward(x))
    }
}
