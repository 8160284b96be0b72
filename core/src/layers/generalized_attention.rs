//! [`GeneralizedAttention`]: attention by content, by relative position, or both (Zhu et al. 2019, arXiv 1904.05873), as mmcv 2.1 builds it.
//!
//! Shapes: input and output `[N, C, H, W]`; queries are of h x w places of it, keys of h' x w'; heads of d channels.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;

use super::{ConvConfig, ConvNormAct, Distribution, Fan, Init, InitRule, Linear, Params, Weight};
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::limits::{Channels, Pixels};
use crate::ops::pool::max_pool2d;
use crate::ops::resize::{Interpolation, resize};

/// The keys of `type='GeneralizedAttention'`.
#[derive(Clone, Debug, Deserialize)]
pub struct GeneralizedAttentionConfig {
    spatial_range: Option<i64>,
    num_heads: Option<Channels>,
    position_embedding_dim: Option<i64>,
    position_magnitude: Option<f64>,
    kv_stride: Option<Pixels>,
    q_stride: Option<Pixels>,
    attention_type: Option<String>,
}

/// Longest wave of the position embedding.
const WAVE_LENGTH: f64 = 1000.0;

/// Most numbers of the position embedding.
const MOST_EMBEDDING: i64 = 1 << 14;

impl GeneralizedAttentionConfig {
    /// What is wrong with it for so many channels, if anything.
    ///
    /// # Errors
    /// The first that is.
    pub fn check(&self, node: &Node, channels: &[usize]) -> Result<(), Diagnostics> {
        let [_, content, _, position] = self.terms();
        if content && !position {
            // It takes rows of queries for columns, which fails where there are not as many of both.
            let kind = self.attention_type.as_deref().unwrap_or_default();
            let message = format!(
                "`attention_type` '{kind}' is not supported: in mmcv it works on square maps only"
            );
            let help = "with the second term there must be the fourth";
            return Err(unsupported(node, "attention_type", message, help));
        }
        self.check_square(node, channels)
    }

    /// The same, of maps that are as wide as high.
    ///
    /// # Errors
    /// The first that is.
    pub fn check_square(&self, node: &Node, channels: &[usize]) -> Result<(), Diagnostics> {
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if self.spatial_range.is_some_and(|range| range >= 0) {
            let message = "attention within a range is not supported";
            let help = "leave `spatial_range` at -1";
            return Err(unsupported(node, "spatial_range", message, help));
        }
        let heads = self.heads();
        if let Some(c) = channels.iter().find(|c| **c < heads) {
            let message = format!("`num_heads` is {heads}, more than {c} channels");
            return fail("num_heads", message);
        }
        let kind = self.attention_type.as_deref().unwrap_or("1111");
        if kind.len() != 4 || !kind.bytes().all(|b| b == b'0' || b == b'1') {
            let message = format!("`attention_type` is '{kind}', must be four of 0 and 1");
            return fail("attention_type", message);
        }
        let [_, content, _, position] = self.terms();
        for c in channels {
            let dim = self.embedding(*c);
            if (content || position) && (!dim.is_multiple_of(4) || dim as i64 > MOST_EMBEDDING) {
                let message = format!(
                    "positions have {dim} numbers, must be a multiple of 4 up to {MOST_EMBEDDING}"
                );
                return fail("position_embedding_dim", message);
            }
        }
        Ok(())
    }

    fn heads(&self) -> usize {
        self.num_heads.map_or(9, Channels::get)
    }

    /// Numbers of a position.
    fn embedding(&self, channels: usize) -> usize {
        match self.position_embedding_dim {
            Some(dim @ 1..) => dim.min(i64::from(u32::MAX)) as usize,
            _ => channels,
        }
    }

    /// Query and key content, query content and position, key content, position.
    fn terms(&self) -> [bool; 4] {
        let kind = self.attention_type.as_deref().unwrap_or("1111");
        std::array::from_fn(|i| kind.as_bytes().get(i) == Some(&b'1'))
    }

    /// Builds the block.
    pub fn init(&self, channels: usize, at: &Params) -> GeneralizedAttention {
        let heads = self.heads();
        let dim = channels / heads;
        let all = dim * heads;
        let [pair, moved, key, place] = self.terms();
        let kaiming = Init::Kaiming {
            gain: 1.0,
            fan: Fan::In,
            distribution: Distribution::Uniform,
        };
        at.initialise(InitRule::of(&["Conv2d", "Linear"], kaiming));
        let bound = ((dim * 2) as f64).sqrt().recip();
        let uniform = Init::Uniform {
            a: -bound,
            b: bound,
        };
        let bias = |name, wanted: bool| wanted.then(|| at.weight(name, [all], uniform));
        let (key_bias, place_bias) = (bias("appr_bias", key), bias("geom_bias", place));
        let gamma = at.weight("gamma", [1], Init::Constant(0.0));
        let conv = |name: &str| {
            let conv = ConvConfig::new(channels, all, 1).bias(false);
            conv.init(&at.at(name), None)
        };
        let query = (pair || moved).then(|| conv("query_conv"));
        let keys = (pair || key).then(|| conv("key_conv"));
        let values = conv("value_conv");
        let embedding = self.embedding(channels);
        let positions = (moved || place).then(|| {
            let axis = |name| Linear::new(embedding / 2, all, false, &at.at(name));
            let axes = ["appr_geom_fc_x", "appr_geom_fc_y"].map(axis);
            Positions {
                axes,
                numbers: embedding,
                magnitude: self.position_magnitude.unwrap_or(1.0),
            }
        });
        let last = ConvConfig::new(all, channels, 1).bias(true);
        GeneralizedAttention {
            heads,
            dim,
            terms: self.terms(),
            strides: [
                self.q_stride.map_or(1, Pixels::get).max(1),
                self.kv_stride.map_or(2, Pixels::get).max(1),
            ],
            key_bias,
            place_bias,
            gamma,
            query,
            keys,
            values,
            positions,
            last: last.init(&at.at("proj_conv"), None),
        }
    }
}

/// The block.
#[derive(Debug)]
pub struct GeneralizedAttention {
    heads: usize,
    dim: usize,
    terms: [bool; 4],
    /// Steps between queries, and between keys, in pixels.
    strides: [usize; 2],
    key_bias: Option<Weight<1>>,
    place_bias: Option<Weight<1>>,
    gamma: Weight<1>,
    query: Option<ConvNormAct>,
    keys: Option<ConvNormAct>,
    values: ConvNormAct,
    positions: Option<Positions>,
    last: ConvNormAct,
}

/// How distances across and down become vectors.
#[derive(Debug)]
struct Positions {
    axes: [Linear; 2],
    numbers: usize,
    magnitude: f64,
}

impl GeneralizedAttention {
    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [of_queries, of_keys] = self.strides.map(|stride| match stride {
            1 => x.clone(),
            _ => max_pool2d(x.clone(), 1, stride, 0),
        });
        let [n, _, h, w] = of_queries.dims();
        let [_, _, below, across] = of_keys.dims();
        let rows = |map: Tensor<4>| self.rows(map);
        let [pair, moved, _, _] = self.terms;
        let query = self
            .query
            .as_ref()
            .map(|conv| rows(conv.forward(of_queries)));
        let together = |query: Option<Tensor<4>>, bias: &Option<Weight<1>>| {
            let bias = bias.as_ref().map(|bias| self.vector(bias));
            match (query, bias) {
                (Some(query), Some(bias)) => Some(query + bias),
                (query, bias) => query.or(bias),
            }
        };
        let content = together(query.clone().filter(|_| pair), &self.key_bias);
        let place = together(query.filter(|_| moved), &self.place_bias);
        // one row where all queries see the same
        let mut energy = match (content, &self.keys) {
            (Some(content), Some(keys)) => {
                content.matmul(rows(keys.forward(of_keys.clone())).swap_dims(2, 3))
            }
            _ => Tensor::zeros([1, 1, 1, below * across], &x.device()),
        };
        if let (Some(place), Some(positions)) = (place, &self.positions) {
            let sides = [[h, below], [w, across]];
            let found = self.by_position(place, positions, sides);
            energy = energy + found;
        }
        let [.., count, _] = energy.dims();
        let values = rows(self.values.forward(of_keys));
        let energy = energy.expand([n, self.heads, count, below * across]);
        let sum = softmax(energy, 3).matmul(values);
        let [h, w] = if count == h * w { [h, w] } else { [1, 1] };
        let sum = sum
            .swap_dims(2, 3)
            .reshape([n, self.heads * self.dim, h, w]);
        let sum = self.last.forward(sum);
        let [_, _, height, width] = x.dims();
        let sum = match self.strides[0] {
            1 => sum,
            _ => resize(sum, [height, width], Interpolation::Bilinear, false),
        };
        sum * self.gamma.get().reshape([1, 1, 1, 1]) + x
    }

    /// `[N, heads, places, d]` from `[N, heads * d, ..]`.
    fn rows(&self, map: Tensor<4>) -> Tensor<4> {
        let [n, _, h, w] = map.dims();
        let rows = map.reshape([n, self.heads, self.dim, h * w]);
        rows.swap_dims(2, 3)
    }

    fn vector(&self, bias: &Weight<1>) -> Tensor<4> {
        bias.get().reshape([1, self.heads, 1, self.dim])
    }

    /// `[N or 1, heads, h * w, h' * w']`, of `place` `[N or 1, heads, h * w or 1, d]`.
    fn by_position(
        &self,
        place: Tensor<4>,
        positions: &Positions,
        [[h, below], [w, across]]: [[usize; 2]; 2],
    ) -> Tensor<4> {
        let device = place.device();
        let [n, heads, count, dim] = place.dims();
        let place = match count {
            1 => place.expand([n, heads, h * w, dim]),
            _ => place,
        };
        let [q, k] = self.strides;
        // [1, heads, from, d, to]
        let axis = |i: usize, [from, to]: [usize; 2]| {
            let distances = positions.embedded([from, to], [q, k]);
            let numbers = positions.numbers / 2;
            let data = TensorData::new(distances, [from * to, numbers]);
            let vectors = positions.axes[i].forward(Tensor::<2>::from_data(data, &device));
            let vectors = vectors.reshape([1, from, to, heads, dim]) / std::f32::consts::SQRT_2;
            vectors.permute([0, 3, 1, 4, 2])
        };
        let place = place.reshape([n, heads, h, w, dim]);
        let wide = |vectors: Tensor<5>| {
            let [_, a, b, c, d] = vectors.dims();
            vectors.expand([n, a, b, c, d])
        };
        // Without the fourth term the original takes rows for columns here.
        let of_rows = match self.terms {
            [_, true, _, false] => place.clone().permute([0, 1, 3, 2, 4]),
            _ => place.clone(),
        };
        let by_row = of_rows.matmul(wide(axis(1, [h, below])));
        let by_column = place.permute([0, 1, 3, 2, 4]);
        let by_column = by_column.matmul(wide(axis(0, [w, across])));
        let by_column = by_column.permute([0, 1, 3, 2, 4]);
        let by_row: Tensor<5> = by_row.reshape([n, heads, h * w, below, 1]);
        let by_column: Tensor<5> = by_column.reshape([n, heads, h * w, 1, across]);
        (by_row + by_column).reshape([n, heads, h * w, below * across])
    }
}

impl Positions {
    /// Sines and cosines of the distances from `from` places to `to`, `[from * to, numbers / 2]`.
    fn embedded(&self, [from, to]: [usize; 2], [q, k]: [usize; 2]) -> Vec<f32> {
        let quarter = self.numbers / 4;
        let waves = (0..quarter).map(|i| {
            let power = 4.0 / self.numbers as f32 * i as f32;
            (WAVE_LENGTH as f32).powf(power)
        });
        let waves: Vec<_> = waves.collect();
        let mut made = Vec::with_capacity(from * to * 2 * quarter);
        for i in 0..from {
            for j in 0..to {
                let distance = ((i * q) as f64 - (j * k) as f64) * self.magnitude;
                let turns = waves.iter().map(|wave| distance as f32 / wave);
                made.extend(turns.clone().map(f32::sin));
                made.extend(turns.map(f32::cos));
            }
        }
        made
    }
}
