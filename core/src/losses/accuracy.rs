//! [`accuracy`]: how many rows have their class among the best, as MMDetection 3.3.0's `accuracy` counts them.

use burn::tensor::{Int, Tensor};

use super::one_hot;

/// What counts as right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Among how many of the best a class is to be.
    pub topk: usize,
    /// A score of this or less is wrong.
    pub thresh: Option<f64>,
    /// Rows with other labels than those below this one are left out.
    pub labels_below: Option<usize>,
}

impl Default for Accuracy {
    fn default() -> Self {
        Self {
            topk: 1,
            thresh: None,
            labels_below: None,
        }
    }
}

/// The share of rows that are right, percent, `[1]`; 0 where there are none. Of equal scores the first is the best.
///
/// # Shapes
/// - `pred`: `[R, K]`; `labels`: `[R]`
pub fn accuracy(pred: Tensor<2>, labels: Tensor<1, Int>, right: Accuracy) -> Tensor<1> {
    let pred = pred.without_autodiff();
    let [rows, classes] = pred.dims();
    if rows == 0 {
        return Tensor::zeros([1], &pred.device());
    }
    let chosen = one_hot(labels.clone(), classes);
    let own = (pred.clone() * chosen.clone())
        .sum_dim(1)
        .expand([rows, classes]);
    let columns = Tensor::<1, Int>::arange(0..classes as i64, &pred.device());
    let before = columns
        .unsqueeze::<2>()
        .expand([rows, classes])
        .lower(labels.clone().unsqueeze_dim::<2>(1).expand([rows, classes]));
    let above = pred.clone().greater(own.clone());
    let above = above.bool_or(pred.equal(own.clone()).bool_and(before));
    let rank = above.float().sum_dim(1);
    let among = rank.lower_elem(right.topk as f64).float();
    // a label that is none of the classes is never right
    let mut correct = among * chosen.sum_dim(1);
    if let Some(thresh) = right.thresh {
        correct = correct * own.narrow(1, 0, 1).greater_elem(thresh).float();
    }
    let counted = match right.labels_below {
        None => labels.ones_like().float(),
        Some(bound) => labels.lower_elem(bound as i64).float(),
    };
    let correct = (correct.squeeze_dim::<1>(1) * counted.clone()).sum();
    correct * 100.0 / counted.sum().clamp_min(1.0)
}
