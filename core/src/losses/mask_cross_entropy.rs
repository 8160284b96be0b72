//! `CrossEntropyLoss(use_mask=True)` of MMDetection 3.3.0 (He et al. 2017, arXiv 1703.06870, section 3): binary cross entropy of the mask of a
//! box's class; masks of other classes do not count.

use burn::tensor::{Int, Tensor};

use super::{Reduce, binary_cross_entropy, zero};

/// A loss of masks by class.
#[derive(Clone, Debug, Default)]
pub struct MaskCrossEntropyLoss {
    /// How elements become one number: the mean, whatever it says, times its factor.
    pub reduce: Reduce,
}

impl MaskCrossEntropyLoss {
    /// # Shapes
    /// - `logits`: `[R, K, H, W]`; `target`: `[R, H, W]`, 0 to 1
    /// - `labels`: `[R]`, all 0 where K is 1
    pub fn forward(
        &self,
        logits: Tensor<4>,
        target: Tensor<3>,
        labels: Tensor<1, Int>,
    ) -> Tensor<1> {
        let [rows, classes, height, width] = logits.dims();
        if logits.dims()[0] == 0 {
            return zero(&logits.device());
        }
        let first = Tensor::<1, Int>::arange(0..rows as i64, &logits.device()) * classes as i64;
        let masks = logits.reshape([rows * classes, height * width]);
        let logits = masks.select(0, first + labels);
        let target = target.reshape([rows, height * width]);
        Reduce::weighted(self.reduce.loss_weight).of(
            binary_cross_entropy(logits, target),
            None,
            None,
        )
    }
}
