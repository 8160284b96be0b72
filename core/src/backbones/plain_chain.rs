//! A chain of convolutions and poolings, nothing going past any of them: what the oldest networks are.
//!
//! Shapes: x `[N, C, H, W]`; a pooling of stride 2 gives `[N, C, H / 2, W / 2]`, rounded as it says.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use super::{Backbone, Feature};
use crate::layers::ConvNormAct;
use crate::ops::pool::max_pool2d;

/// Layers one after the other, and after which of them maps are given.
#[derive(Debug)]
pub(super) struct PlainChain {
    layers: Vec<Layer>,
    /// How many layers come before each map, ascending.
    given: Vec<(usize, Feature)>,
    channels_in: usize,
    /// Of what comes out of the last layer so far.
    last: Feature,
}

#[derive(Debug)]
enum Layer {
    Convolution(Box<ConvNormAct>),
    Pool(Pool),
}

/// The largest number of each window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Whether what is left over at the end has a window of its own.
    pub ceil: bool,
}

impl PlainChain {
    pub fn new(channels_in: usize) -> Self {
        Self {
            layers: Vec::new(),
            given: Vec::new(),
            channels_in,
            last: Feature {
                channels: channels_in,
                stride: 1,
            },
        }
    }

    /// Channels of what comes out of the last layer.
    pub fn channels(&self) -> usize {
        self.last.channels
    }

    /// Adds a convolution that gives so many channels.
    pub fn convolution(&mut self, layer: ConvNormAct, channels: usize, stride: usize) {
        self.layers.push(Layer::Convolution(Box::new(layer)));
        self.last.channels = channels;
        self.last.stride *= stride;
    }

    pub fn pool(&mut self, pool: Pool) {
        self.layers.push(Layer::Pool(pool));
        self.last.stride *= pool.stride;
    }

    /// Gives what comes out of the last layer.
    pub fn give(&mut self) {
        self.given.push((self.layers.len(), self.last));
    }
}

impl Backbone for PlainChain {
    fn forward(&self, mut x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut outputs = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let learning = |layer: &Layer| matches!(layer, Layer::Convolution(c) if c.learning());
            if outputs.len() == self.given.len() && !self.layers[i..].iter().any(learning) {
                break; // nothing asks for what comes after, and no running statistics are to be kept
            }
            x = match layer {
                Layer::Convolution(convolution) => convolution.forward(x),
                Layer::Pool(pool) => pool.forward(x),
            };
            if self.given.iter().any(|(before, _)| *before == i + 1) {
                outputs.push(x.clone());
            }
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        self.given.iter().map(|(_, feature)| *feature).collect()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

impl Pool {
    /// Of windows that do not overlap.
    pub fn halving(ceil: bool) -> Self {
        Self {
            kernel: 2,
            stride: 2,
            padding: 0,
            ceil,
        }
    }

    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let sides = [height, width].map(|side| (0, self.missing(side)));
        // The last number again: it is in the window anyway.
        let x = match sides {
            [(0, 0), (0, 0)] => x,
            _ => x.pad(sides, PadMode::Edge),
        };
        max_pool2d(x, self.kernel, self.stride, self.padding)
    }

    /// Numbers that the last window lacks; also of a map that is smaller than a window.
    fn missing(self, side: usize) -> usize {
        let side = side + 2 * self.padding;
        let Some(rest) = side.checked_sub(self.kernel) else {
            return self.kernel - side;
        };
        match rest % self.stride {
            over if over > 0 && self.ceil => self.stride - over,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn pools_round_as_they_say() {
        let pool = |ceil, kernel, values: &[f32]| -> Vec<f32> {
            let x = Tensor::<1>::from_floats(values, &Device::flex());
            let pool = Pool {
                kernel,
                ..Pool::halving(ceil)
            };
            let y = pool.forward(x.reshape([1, 1, 1, values.len()]));
            y.into_data().try_into_vec().unwrap()
        };
        let line = [1.0, 3.0, -2.0, -4.0, -5.0];
        assert_eq!(pool(false, 2, &line), [3.0, -2.0]);
        assert_eq!(pool(true, 2, &line), [3.0, -2.0, -5.0]);
        assert_eq!(pool(true, 2, &line[..4]), [3.0, -2.0]);
        assert_eq!(pool(true, 3, &line[..4]), [3.0, -2.0]);
        assert_eq!(pool(false, 2, &line[..1]), [1.0], "smaller than a window");
    }
}
