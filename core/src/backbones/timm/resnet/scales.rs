//! The middle of a Res2Net block (Gao et al. 2019, arXiv 1904.01169, section 3.1): channels in groups, each of which takes in what came out of
//! the one before.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

use super::Make;
use super::block::BlockShape;
use crate::layers::{ConvConfig, ConvNormAct, Params};

/// All groups but the last have a convolution.
#[derive(Debug)]
pub(super) struct Scales {
    convs: Vec<ConvNormAct>,
    width: usize,
    /// In the first block of a stage the groups are by themselves, and the last is pooled with this stride.
    pool: Option<usize>,
}

impl Scales {
    /// `convs.0`, `convs.1`, .. and after them `bns.0`, `bns.1`, .. below `at`.
    pub fn new(
        conv: ConvConfig,
        scale: usize,
        shape: &BlockShape,
        make: &Make,
        at: &Params,
    ) -> Self {
        let layer = |i: usize| {
            let names = (format!("convs.{i}"), format!("bns.{i}"));
            make.layer(conv.clone(), true, at, &names.0, &names.1)
        };
        let convs = (0..scale - 1).map(layer).collect();
        at.listed_in_order(["convs", "bns"]);
        Self {
            convs,
            width: shape.width,
            pool: (shape.stride > 1 || shape.shortcut).then_some(shape.stride),
        }
    }

    /// # Shapes
    /// - input and output: `[N, scale * width, H, W]`, the output's sides by the stride
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let group = |i: usize| x.clone().narrow(1, i * self.width, self.width);
        let mut groups: Vec<Tensor<4>> = Vec::with_capacity(self.convs.len() + 1);
        for (i, conv) in self.convs.iter().enumerate() {
            let x = match groups.last() {
                Some(before) if self.pool.is_none() => before.clone() + group(i),
                _ => group(i),
            };
            groups.push(conv.forward(x));
        }
        let last = group(self.convs.len());
        groups.push(match self.pool {
            None => last,
            Some(stride) => {
                let options = AvgPoolOptions::new([3; 2])
                    .with_stride([stride; 2])
                    .with_padding([1; 2]);
                avg_pool2d(last, options)
            }
        });
        Tensor::cat(groups, 1)
    }
}
