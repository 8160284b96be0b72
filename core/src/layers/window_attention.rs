//! Attention within the windows of a map, which every other block shifts: Swin (Liu et al. 2021, arXiv 2103.14030, section 3.2) and
//! Swin V2 (Liu et al. 2022, arXiv 2111.09883, sections 3.2 and 3.3).
//!
//! Shapes: maps have their channels last, `[B, H, W, C]`; tokens of windows `[B * windows, N, C]`, N the places of a window; masks
//! `[windows, N, N]`.

use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::attention::{
    Pairs, RelativePositionBias, join_heads, join_windows, softmax_of_products, split_qkv,
    window_distances, windows,
};
use super::{Activation, DistanceNetwork, Dropout, Init, Linear, Mode, Params, Weight};
use crate::ops::count::product;
use crate::ops::rows::softmax;

/// Subtracted from the scores of tokens that are neighbours only because the map was rolled.
const APART: f32 = 100.0;
/// The same, of places and the zeros beyond the map.
const FURTHER_APART: f32 = 1000.0;

/// How a map is cut into windows. What is missing at its end is filled with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Height and width of one.
    pub size: [usize; 2],
    /// How far they are moved down and to the right, less than their size.
    pub shift: [usize; 2],
    /// Whether the map is rolled before zeros are put at its end (timm), not after (mmcv).
    pub rolled_first: bool,
}

impl Windows {
    /// What `attention` makes of each window, as a map again. It gets the mask, too, where windows are shifted.
    pub fn forward(
        &self,
        x: Tensor<4>,
        attention: impl FnOnce(Tensor<3>, Option<Tensor<3>>) -> Tensor<3>,
    ) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let [height, width] = self.size;
        let padded = [h.next_multiple_of(height), w.next_multiple_of(width)];
        let [down, right] = self.shift.map(|shift| shift as i64);
        let there = |x: Tensor<4>| x.roll(&[-down, -right], &[1, 2]);
        let back = |x: Tensor<4>| x.roll(&[down, right], &[1, 2]);
        let x = match self.rolled_first {
            true => pad_end(there(x), padded),
            false => there(pad_end(x, padded)),
        };
        let mask = (self.shift != [0, 0]).then(|| {
            let across = |p: [usize; 2], axis: usize| p[axis] + self.shift[axis] >= self.size[axis];
            self.mask(padded, APART, across, &x.device())
        });
        let x = join_windows(attention(windows(x, self.size), mask), self.size, padded);
        let cut = |x: Tensor<4>| match padded == [h, w] {
            true => x,
            false => x.narrow(1, 0, h).narrow(2, 0, w),
        };
        match self.rolled_first {
            true => back(cut(x)),
            false => cut(back(x)),
        }
    }

    /// What keeps the places of a map of this size apart from the zeros beyond it, as Twins' SVT has it: nothing, unless there are zeros both
    /// below and beside the map.
    pub fn mask_of_zeros(&self, map: [usize; 2], device: &Device) -> Option<Tensor<3>> {
        let padded = [0, 1].map(|axis| map[axis].next_multiple_of(self.size[axis]));
        let zeros = [0, 1].map(|axis| padded[axis] - map[axis]);
        let beyond = |p: [usize; 2], axis: usize| p[axis] + zeros[axis] >= self.size[axis];
        (!zeros.contains(&0)).then(|| {
            let separate = self.separations(FURTHER_APART, |[row, column], p| {
                [row && beyond(p, 0) || column && beyond(p, 1), false]
            });
            self.select(padded, separate, device)
        })
    }

    /// The mask of a map that was rolled: `across` tells, for places of the last window of an axis, which the roll has brought from the other side.
    fn mask(
        &self,
        padded: [usize; 2],
        apart: f32,
        across: impl Fn([usize; 2], usize) -> bool,
        device: &Device,
    ) -> Tensor<3> {
        let separate = self.separations(apart, |[row, column], p| {
            [row && across(p, 0), column && across(p, 1)]
        });
        self.select(padded, separate, device)
    }

    /// What is added to the scores of each pair of places, for windows within the map, for those of its last column, of its last row, and for the
    /// one in the corner: places of which `kind` says different things are apart.
    fn separations(
        &self,
        apart: f32,
        kind: impl Fn([bool; 2], [usize; 2]) -> [bool; 2],
    ) -> Vec<f32> {
        let [height, width] = self.size;
        let mut values = Vec::with_capacity(4 * (height * width).pow(2));
        for last in [[false, false], [false, true], [true, false], [true, true]] {
            let kinds = (0..height * width).map(|p| kind(last, [p / width, p % width]));
            let kinds: Vec<_> = kinds.collect();
            for p in &kinds {
                values.extend(kinds.iter().map(|q| if p == q { 0.0 } else { -apart }));
            }
        }
        values
    }

    /// For each window of the map that of the four which it has.
    fn select(&self, padded: [usize; 2], separate: Vec<f32>, device: &Device) -> Tensor<3> {
        let [height, width] = self.size;
        let which = self.windows_at([padded[0] / height, padded[1] / width]);
        let device = &device.clone().without_autodiff();
        let (count, n) = (which.len(), height * width);
        let separate = Tensor::<2>::from_data(TensorData::new(separate, [4, n * n]), device);
        let which = Tensor::<1, Int>::from_data(TensorData::new(which, [count]), device);
        separate.select(0, which).reshape([count, n, n])
    }

    /// Which of the four each window is, row by row.
    fn windows_at(&self, [down, across]: [usize; 2]) -> Vec<i32> {
        let of = |i: usize, j: usize| 2 * i32::from(i + 1 == down) + i32::from(j + 1 == across);
        (0..down)
            .flat_map(|i| (0..across).map(move |j| of(i, j)))
            .collect()
    }
}

/// Zeros at the end of a map with its channels last.
pub fn pad_end(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    if [h, w] == [height, width] {
        return x;
    }
    let sides = [(0, 0), (0, height - h), (0, width - w), (0, 0)];
    x.pad(sides, PadMode::Constant(0.0))
}

/// What is added to the scores of two places by how far apart they are.
#[derive(Clone, Copy, Debug)]
pub enum Position {
    /// Nothing.
    None,
    /// A learned number for each distance, with these initial values.
    Table(Init),
    /// A network's value for the logarithm of the distance; scores are cosines (Swin V2).
    Continuous {
        /// Side of the windows that it was trained with.
        trained: [usize; 2],
    },
    /// What a [`DistanceNetwork`] of so many hidden channels gives; scores are cosines (timm's `swinv2_cr`).
    Network(usize),
}

/// How to make a [`WindowAttention`].
#[derive(Clone, Debug)]
pub struct WindowAttentionConfig {
    /// Of a token.
    pub channels: usize,
    /// Heads, which divide the channels.
    pub heads: usize,
    /// Height and width.
    pub window: [usize; 2],
    /// Whether q, k and v have a bias (with cosines, q and v).
    pub qkv_bias: bool,
    /// What scores are multiplied by, if not by the root of a head's channels.
    pub scale: Option<f64>,
    /// Share of attention weights, and of numbers of the output, that are left out while learning.
    pub dropouts: [f64; 2],
    /// What is added to the scores.
    pub position: Position,
    /// Whether the original's state dict has what follows from the window's size.
    pub lists_buffers: bool,
}

/// Attention of the tokens of a window to each other.
#[derive(Debug)]
pub struct WindowAttention {
    bias: Bias,
    qkv: Linear,
    proj: Linear,
    heads: usize,
    scale: f64,
    dropouts: [Option<Dropout>; 2],
}

/// See [`Position`].
#[derive(Debug)]
enum Bias {
    None,
    Table(Box<RelativePositionBias>),
    Continuous(Box<Continuous>),
    Network(Box<Network>),
}

/// See [`Position::Network`].
#[derive(Debug)]
struct Network {
    /// Logarithm of what cosines are multiplied by, `[heads]`.
    logit_scale: Weight<1>,
    distances: DistanceNetwork,
}

/// What Swin V2 has in place of a table.
#[derive(Debug)]
struct Continuous {
    pairs: Pairs,
    /// Logarithm of what cosines are multiplied by, `[heads, 1, 1]`.
    logit_scale: Weight<3>,
    /// Biases of q and v.
    qkv: Option<[Weight<1>; 2]>,
    /// The network of distances.
    layers: [Linear; 2],
    trained: [usize; 2],
}

/// Channels of the network of distances.
const HIDDEN: usize = 512;
/// What cosines are multiplied by is at most 100.
const MOST_SCALE: f64 = 100.0;
/// The network's values go from 0 to this.
const MOST_BIAS: f64 = 16.0;

impl WindowAttentionConfig {
    /// The layer, its tensors below `at`.
    pub fn init(&self, at: &Params) -> WindowAttention {
        let Self {
            channels, heads, ..
        } = *self;
        let index = || {
            if self.lists_buffers {
                let n = self.window[0] * self.window[1];
                at.indices("relative_position_index", &[n, n], || {
                    window_distances(self.window)
                });
            }
        };
        let ten = Init::Constant(10f32.ln());
        let bias = match self.position {
            Position::None | Position::Network(_) => Bias::None,
            Position::Table(init) => {
                let name = "relative_position_bias_table";
                let table = RelativePositionBias::new(name, self.window, heads, init, at);
                index();
                Bias::Table(Box::new(table))
            }
            Position::Continuous { trained } => {
                let pairs = Pairs::new(self.window);
                let logit_scale = at.weight("logit_scale", [heads, 1, 1], ten);
                let bias = |name| at.weight(name, [channels], Init::Constant(0.0));
                let qkv = self.qkv_bias.then(|| ["q_bias", "v_bias"].map(bias));
                if self.lists_buffers {
                    let [h, w] = self.window.map(|side| 2 * side - 1);
                    let zeros = Init::Constant(0.0);
                    let table = at.buffer("relative_coords_table", [1, h, w, 2], zeros);
                    if at.mode() == Mode::Train {
                        let values = pairs.logarithms(trained);
                        let data = TensorData::new(values, [1, h, w, 2]);
                        table.set(Tensor::from_data(data, &at.device()));
                    }
                }
                index();
                let layers = [
                    Linear::new(2, HIDDEN, true, &at.at("cpb_mlp.0")),
                    Linear::new(HIDDEN, heads, false, &at.at("cpb_mlp.2")),
                ];
                Bias::Continuous(Box::new(Continuous {
                    pairs,
                    logit_scale,
                    qkv,
                    layers,
                    trained,
                }))
            }
        };
        let network = match self.position {
            Position::Network(hidden) => Some((hidden, at.weight("logit_scale", [heads], ten))),
            _ => None,
        };
        let with_bias = self.qkv_bias && !matches!(bias, Bias::Continuous(_));
        let qkv = Linear::new(channels, 3 * channels, with_bias, &at.at("qkv"));
        let proj = Linear::new(channels, channels, true, &at.at("proj"));
        let bias = match network {
            None => bias,
            Some((hidden, logit_scale)) => Bias::Network(Box::new(Network {
                logit_scale,
                distances: DistanceNetwork::new(self.window, hidden, heads, &at.at("meta_mlp")),
            })),
        };
        let scale = ((channels / heads) as f64).sqrt().recip();
        let [of_weights, of_output] = self.dropouts;
        WindowAttention {
            bias,
            qkv,
            proj,
            heads,
            scale: self.scale.unwrap_or(scale),
            dropouts: [
                Dropout::new(of_weights, &at.at("attn_drop")),
                Dropout::new(of_output, &at.at("proj_drop")),
            ],
        }
    }
}

impl WindowAttention {
    /// # Shapes
    /// - input and output: `[B * windows, N, C]`
    /// - mask: `[windows, N, N]`
    pub fn forward(&self, x: Tensor<3>, mask: Option<Tensor<3>>) -> Tensor<3> {
        let qkv = self.qkv.forward(x);
        let qkv = match &self.bias {
            Bias::Continuous(continuous) => continuous.biased(qkv),
            _ => qkv,
        };
        let [q, k, v] = split_qkv(qkv, self.heads);
        let weights = match &self.bias {
            Bias::None => softmax_of_products(q, k, self.scale, None, mask),
            Bias::Table(table) => {
                softmax_of_products(q, k, self.scale, Some(table.forward()), mask)
            }
            Bias::Continuous(continuous) => {
                softmax(continuous.scores(q, k), 1.0, Some(continuous.bias()), mask)
            }
            Bias::Network(network) => {
                let scale = network.logit_scale.get().reshape([1, self.heads, 1, 1]);
                let scores = scaled_cosines(q, k, scale);
                softmax(scores, 1.0, Some(network.distances.forward()), mask)
            }
        };
        let [of_weights, of_output] = &self.dropouts;
        let y = product(Dropout::apply(of_weights, weights), v);
        Dropout::apply(of_output, self.proj.forward(join_heads(y)))
    }
}

impl Continuous {
    /// With the biases of q and v; k has none.
    fn biased(&self, qkv: Tensor<3>) -> Tensor<3> {
        let Some([q, v]) = &self.qkv else {
            return qkv;
        };
        let k = Tensor::zeros(q.shape(), &qkv.device().without_autodiff());
        qkv + Tensor::cat(vec![q.get(), k, v.get()], 0).unsqueeze()
    }

    fn scores(&self, q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
        scaled_cosines(q, k, self.logit_scale.get().unsqueeze())
    }

    /// `[1, heads, N, N]`
    fn bias(&self) -> Tensor<4> {
        let [first, last] = &self.layers;
        let device = first.device().without_autodiff();
        let distances = self.pairs.logarithms(self.trained);
        let distances = TensorData::new(distances, [self.pairs.rows(), 2]);
        let distances = Tensor::<2>::from_data(distances, &device);
        let hidden = Activation::Relu.forward(first.forward(distances));
        let bias = self.pairs.gather(last.forward(hidden));
        activation::sigmoid(bias) * MOST_BIAS
    }
}

/// The cosine of each query and key, times what the logarithm `scale` says.
fn scaled_cosines(q: Tensor<4>, k: Tensor<4>, scale: Tensor<4>) -> Tensor<4> {
    let cosines = product(unit(q), unit(k).swap_dims(2, 3));
    cosines * scale.clamp_max(MOST_SCALE.ln()).exp()
}

/// Length 1 along the last axis.
fn unit(x: Tensor<4>) -> Tensor<4> {
    // PyTorch's least length is 1e-12. A token of zeros has a derivative, too: zeros are put where windows go beyond the map.
    let length = x.clone().square().sum_dim(3).clamp_min(1e-24).sqrt();
    x / length
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_the_roll_brings_together_stays_apart() {
        let windows = Windows {
            size: [2, 2],
            shift: [0, 1],
            rolled_first: false,
        };
        let device = Device::flex();
        let numbers = |mask: Tensor<3>| mask.into_data().try_into_vec::<f32>().unwrap();
        let mut mask = Vec::new();
        windows.forward(Tensor::zeros([1, 4, 4, 1], &device), |tokens, given| {
            mask = numbers(given.unwrap());
            tokens
        });
        assert!(mask[..16].iter().all(|v| *v == 0.0), "within the map");
        // In the last column the right half comes from the left side: places 0 and 2, and 1 and 3, are together.
        assert_eq!(mask[16..20], [0.0, -APART, 0.0, -APART]);
        assert!(mask[32..48].iter().all(|v| *v == 0.0), "no shift down");
        assert_eq!(windows.windows_at([2, 2]), [0, 1, 2, 3]);
        // A map of 3 x 3: the corner's window has one place of it, and three zeros.
        assert!(windows.mask_of_zeros([3, 4], &device).is_none());
        let zeros = numbers(windows.mask_of_zeros([3, 3], &device).unwrap());
        let far = -FURTHER_APART;
        assert_eq!(zeros[48..52], [0.0, far, far, far]);
        assert_eq!(zeros[52..56], [far, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_map_comes_back_to_where_it_was() {
        let device = Device::flex();
        let values: Vec<f32> = (0..30).map(|i| i as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values.clone(), [1, 5, 3, 2]), &device);
        for rolled_first in [false, true] {
            let windows = Windows {
                size: [4, 2],
                shift: [2, 1],
                rolled_first,
            };
            let y = windows.forward(x.clone(), |tokens, mask| {
                assert_eq!(tokens.dims(), [4, 8, 2]);
                assert_eq!(mask.unwrap().dims(), [4, 8, 8]);
                tokens
            });
            assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), values);
        }
    }
}
