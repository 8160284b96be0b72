//! An encoder layer: attention of all tokens to each other, then two fully connected layers, each added to its input.
//!
//! Shapes: tokens `[B, N, C]`.

use burn::tensor::Tensor;

use crate::layers::{
    Activation, DropPath, Dropout, Init, InitRule, LayerScale, Linear, Mlp, Norm, NormConfig,
    Params, Rows, Weight, attend_without, join_heads, split_qkv, window_distances,
};

/// What the parts of a layer are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backbones) enum LayerNames {
    /// `ln1`, `ln2`, and mmcv's `ffn`.
    MmPretrain,
    /// `norm1`, `norm2`, `mlp`.
    Timm,
}

/// How to make an [`EncoderLayer`].
#[derive(Clone, Debug)]
pub(in crate::backbones) struct LayerShape {
    pub names: LayerNames,
    pub channels: usize,
    pub heads: usize,
    /// Channels between the two fully connected layers.
    pub hidden: usize,
    pub bias: QkvBias,
    pub norm: NormConfig,
    pub act: Activation,
    /// SwiGLU (Shazeer 2020, arXiv 2002.05202) in place of the two fully connected layers.
    pub gated: bool,
    pub scale: Scale,
    /// Whether the first norm is in the place of the second one too, as in MMPretrain's DeiT3.
    pub one_norm: bool,
    /// Whether the original gives the fully connected layers Xavier's values when all is built.
    pub initialises: bool,
    pub drop_rate: f64,
    /// Whether `drop_rate` is of what the attention gives, too.
    pub attn_proj_drop: bool,
    pub attn_drop_rate: f64,
    pub drop_path_rate: f64,
    /// Places of the picture that each layer has biases for.
    pub places: Option<[usize; 2]>,
}

impl LayerShape {
    /// The same without dropout in the attention.
    pub fn whole_attention(self) -> Self {
        Self {
            attn_drop_rate: 0.0,
            attn_proj_drop: false,
            ..self
        }
    }
}

/// Which of q, k and v have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backbones) enum QkvBias {
    All,
    None,
    /// As BEiT: q and v.
    QueryValue,
}

/// Factors of the two branches, and what they are called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::backbones) enum Scale {
    None,
    /// `attn.gamma1.weight` and `ffn.gamma2.weight`.
    Inside(f64),
    /// `gamma_1` and `gamma_2`.
    Beit(f64),
}

/// An encoder layer.
#[derive(Debug)]
pub(in crate::backbones) struct EncoderLayer {
    norms: [Norm; 2],
    attention: Attention,
    feed: Feed,
    scales: [Option<LayerScale>; 2],
    drop_paths: [Option<DropPath>; 2],
    one_norm: bool,
    /// BEiT's fully connected layers leave out twice.
    inner_drop_path: Option<DropPath>,
}

impl EncoderLayer {
    pub fn new(shape: &LayerShape, at: &Params) -> Self {
        let channels = shape.channels;
        let scale = |name: &str, value| Some(LayerScale::new(name, channels, value, at));
        let beit = matches!(shape.scale, Scale::Beit(_)) || shape.bias == QkvBias::QueryValue;
        let mut scales = match shape.scale {
            Scale::Beit(value) if value > 0.0 => [scale("gamma_1", value), scale("gamma_2", value)],
            _ => [None, None],
        };
        let [first, second, feed] = match shape.names {
            LayerNames::MmPretrain => ["ln1", "ln2", "ffn"],
            LayerNames::Timm => ["norm1", "norm2", "mlp"],
        };
        let before_attention = shape.norm.init(channels, &at.at(first));
        let attention = Attention::new(shape, &at.at("attn"));
        let inside = match shape.scale {
            Scale::Inside(value) if value > 0.0 => Some(value),
            _ => None,
        };
        if let Some(value) = inside {
            scales[0] = scale("attn.gamma1.weight", value);
        }
        let before_feed = shape.norm.init(channels, &at.at(second));
        let feed_at = at.at(feed);
        if shape.initialises {
            feed_at.initialise(InitRule::of(&["Linear"], Init::XAVIER_UNIFORM));
        }
        let feed = Feed::new(shape, &feed_at);
        if let Some(value) = inside {
            scales[1] = scale("ffn.gamma2.weight", value);
        }
        let drop_path = |name: &str| DropPath::new(shape.drop_path_rate, &at.at(name));
        let gated = |drop: Option<DropPath>| drop.filter(|_| !shape.gated);
        Self {
            norms: [before_attention, before_feed],
            attention,
            feed,
            scales,
            drop_paths: [
                drop_path("attn.out_drop"),
                gated(drop_path("ffn.dropout_layer")),
            ],
            one_norm: shape.one_norm,
            inner_drop_path: drop_path("drop_path").filter(|_| beit),
        }
    }

    /// `bias` is that of all layers, `[1, heads, N, N]`.
    pub fn forward(&self, x: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let [first, second] = &self.norms;
        let branch = self
            .attention
            .forward(first.forward_tokens(x.clone()), bias);
        let x = self.add(0, x, branch);
        let norm = if self.one_norm { first } else { second };
        let branch = self.feed.forward(norm.forward_tokens(x.clone()));
        let branch = match &self.inner_drop_path {
            Some(drop) => drop.forward(branch),
            None => branch,
        };
        self.add(1, x, branch)
    }

    fn add(&self, i: usize, x: Tensor<3>, branch: Tensor<3>) -> Tensor<3> {
        let branch = match &self.scales[i] {
            Some(scale) => scale.forward_tokens(branch),
            None => branch,
        };
        DropPath::add(&self.drop_paths[i], x, branch)
    }
}

#[derive(Debug)]
struct Attention {
    heads: usize,
    /// Biases of q and v, where k has none.
    qv_bias: Option<[Weight<1>; 2]>,
    places: Option<PlaceBias>,
    qkv: Linear,
    proj: Linear,
    drop: Option<Dropout>,
    proj_drop: Option<Dropout>,
}

impl Attention {
    fn new(shape: &LayerShape, at: &Params) -> Self {
        let c = shape.channels;
        let bias = |name| at.weight(name, [c], Init::Constant(0.0));
        let of_qv = shape.bias == QkvBias::QueryValue;
        let qv_bias = of_qv.then(|| [bias("q_bias"), bias("v_bias")]);
        let places = shape.places.map(|size| {
            let init = Init::TruncNormal {
                mean: 0.0,
                std: 0.02,
                a: -2.0,
                b: 2.0,
            };
            PlaceBias::new(size, shape.heads, init, at)
        });
        let qkv_bias = shape.bias == QkvBias::All;
        Self {
            heads: shape.heads,
            qv_bias,
            places,
            qkv: Linear::new(c, 3 * c, qkv_bias, &at.at("qkv")),
            proj: Linear::new(c, c, true, &at.at("proj")),
            drop: Dropout::new(shape.attn_drop_rate, &at.at("attn_drop")),
            proj_drop: Dropout::new(shape.drop_rate, &at.at("proj_drop"))
                .filter(|_| shape.attn_proj_drop),
        }
    }

    fn forward(&self, x: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let [_, _, c] = x.dims();
        let mut qkv = self.qkv.forward(x);
        if let Some([q, v]) = &self.qv_bias {
            let (q, v) = (q.get(), v.get());
            let none = Tensor::zeros([c], &q.device().without_autodiff());
            qkv = qkv + Tensor::cat(vec![q, none, v], 0).unsqueeze();
        }
        let [q, k, v] = split_qkv(qkv, self.heads);
        let scale = ((c / self.heads) as f64).powf(-0.5);
        let own = self.places.as_ref().map(PlaceBias::forward);
        let bias = own.or_else(|| bias.cloned());
        let x = join_heads(attend_without(q, k, v, scale, bias, &self.drop));
        let x = self.proj.forward(x);
        match &self.proj_drop {
            Some(drop) => drop.forward(x),
            None => x,
        }
    }
}

/// A learned bias for each distance between two places of a picture and each head, and three for those from and to the class token (BEiT,
/// Bao et al. 2021, arXiv 2106.08254).
#[derive(Debug)]
pub(super) struct PlaceBias {
    /// `[(2 * height - 1) * (2 * width - 1) + 3, heads]`
    table: Weight<2>,
    size: [usize; 2],
    rows: Rows,
}

impl PlaceBias {
    pub fn new(size: [usize; 2], heads: usize, init: Init, at: &Params) -> Self {
        let [h, w] = size;
        let rows = (2 * h - 1) * (2 * w - 1) + 3;
        let table = at.weight("relative_position_bias_table", [rows, heads], init);
        let tokens = h * w + 1;
        let name = "relative_position_index";
        at.indices(name, &[tokens, tokens], || Self::places(size));
        let rows = Rows::default();
        Self { table, size, rows }
    }

    /// The row of each pair of tokens; the class token is the first.
    fn places([h, w]: [usize; 2]) -> Vec<i64> {
        let all = ((2 * h - 1) * (2 * w - 1) + 3) as i64;
        let n = h * w;
        let mut rows = vec![all - 3; n + 1];
        rows[0] = all - 1;
        for of_place in window_distances([h, w]).chunks(n) {
            rows.push(all - 2);
            rows.extend_from_slice(of_place);
        }
        rows
    }

    /// `[1, heads, N, N]`
    pub fn forward(&self) -> Tensor<4> {
        let table = self.table.get();
        let [_, heads] = table.dims();
        let n = self.size[0] * self.size[1] + 1;
        let bias = self.rows.gather(table, || Self::places(self.size));
        bias.reshape([1, n, n, heads]).permute([0, 3, 1, 2])
    }
}

#[derive(Debug)]
enum Feed {
    Plain(Mlp),
    /// `w3(silu(a) * b)`, a and b the halves of `w12`.
    Gated([Linear; 2]),
}

impl Feed {
    fn new(shape: &LayerShape, at: &Params) -> Self {
        let (c, hidden) = (shape.channels, shape.hidden);
        if !shape.gated {
            return Self::Plain(match shape.names {
                LayerNames::MmPretrain => Mlp::ffn(c, hidden, shape.act, shape.drop_rate, at),
                LayerNames::Timm => {
                    let places = [&at.at("fc1"), &at.at("fc2")];
                    Mlp::new([c, hidden, c], shape.act, shape.drop_rate, places)
                }
            });
        }
        let hidden = (hidden * 2 / 3).next_multiple_of(8);
        Self::Gated([
            Linear::new(c, 2 * hidden, true, &at.at("w12")),
            Linear::new(hidden, c, true, &at.at("w3")),
        ])
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Plain(mlp) => mlp.forward(x),
            Self::Gated([wide, narrow]) => {
                let [gate, x]: [Tensor<3>; 2] = halves(wide.forward(x));
                narrow.forward(Activation::Silu.forward(gate) * x)
            }
        }
    }
}

fn halves(x: Tensor<3>) -> [Tensor<3>; 2] {
    let half = x.dims()[2] / 2;
    [0, half].map(|from| x.clone().narrow(2, from, half))
}
