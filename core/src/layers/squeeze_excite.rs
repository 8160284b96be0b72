//! Squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507): scales each channel by a gate computed from all channels' means.

use burn::tensor::Tensor;

use super::{Activation, ConvConfig, ConvNormAct, Params};

/// Two 1x1 convolutions on the channel means, and the gate they give.
#[derive(Debug)]
pub struct SqueezeExcite {
    reduce: ConvNormAct,
    expand: ConvNormAct,
}

impl SqueezeExcite {
    /// `make` builds the two convolutions, with a bias and the activation that it is given: their names and initial values differ between libraries.
    pub fn new(
        channels: usize,
        squeezed: usize,
        [reduce, expand]: [(Activation, &Params); 2],
        make: impl Fn(ConvConfig, Activation, &Params) -> ConvNormAct,
    ) -> Self {
        let conv = |i, o, (act, at)| make(ConvConfig::new(i, o, 1).bias(true), act, at);
        Self {
            reduce: conv(channels, squeezed, reduce),
            expand: conv(squeezed, channels, expand),
        }
    }

    /// # Shapes
    /// - input and output: `[N, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let means = x.clone().mean_dim(2).mean_dim(3);
        let gate = self.expand.forward(self.reduce.forward(means));
        x * gate
    }
}

/// The multiple of `divisor` nearest to `value`, at least `divisor`, and not more than a tenth below `value`
/// (MobileNet's rounding of channel numbers; `value` is a float as in timm, a whole number in MMPretrain).
pub fn make_divisible(value: f64, divisor: usize) -> usize {
    let d = divisor as f64;
    let rounded = (((value + d / 2.0) as usize) / divisor * divisor).max(divisor);
    if (rounded as f64) < 0.9 * value {
        rounded + divisor
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::make_divisible;

    #[test]
    fn rounds_as_the_papers_do() {
        assert_eq!(make_divisible(4.0, 8), 8);
        assert_eq!(make_divisible(24.0, 8), 24);
        assert_eq!(make_divisible(35.2, 8), 32); // EfficientNet-B2: 32 * 1.1
        assert_eq!(make_divisible(11.0, 8), 16); // 8 would be a third too small
        assert_eq!(make_divisible(144.0 / 4.0, 8), 40);
    }
}
