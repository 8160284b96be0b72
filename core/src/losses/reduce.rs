//! How the elements of a loss become one number: weights, mean or sum, and what a mean is taken over (mmdet's `weight_reduce_loss`).

use burn::tensor::Tensor;

use crate::config::{Diagnostics, Node, error_at};

/// Added to what sums are divided by, as the original does: f32's epsilon.
const EPS: f64 = 1.192_092_9e-7;

/// What all losses have in common.
#[derive(Clone, Copy, Debug)]
pub struct Reduce {
    /// Mean unless it is said.
    pub reduction: Reduction,
    /// A factor of the result.
    pub loss_weight: f64,
}

impl Default for Reduce {
    fn default() -> Self {
        Self::weighted(1.0)
    }
}

/// `reduction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The elements stay; what a detector reports and minimises is their mean.
    None,
    /// Over the elements, or by an [`AvgFactor`].
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// What a sum is divided by in place of the number of its elements: mostly the number of objects found.
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them a step, each moved once or twice"
)]
#[derive(Clone, Debug)]
pub enum AvgFactor {
    /// Known on the host.
    Number(f64),
    /// Known on the device only, `[1]`.
    Tensor(Tensor<1>),
}

impl Reduce {
    /// The keys that [`Reduce::read`] reads.
    pub const KEYS: &'static [&'static str] = &["reduction", "loss_weight"];

    /// Reads `reduction` and `loss_weight` of a loss.
    ///
    /// # Errors
    /// They are not what they should be.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let reduction = match node.get("reduction") {
            None => Reduction::Mean,
            Some(n) => match n.as_str() {
                Some("none") => Reduction::None,
                Some("mean") => Reduction::Mean,
                Some("sum") => Reduction::Sum,
                _ => {
                    let message = "`reduction` is 'mean', 'sum' or 'none'";
                    return Err(error_at(node, "reduction", message, ""));
                }
            },
        };
        let loss_weight = match node.get("loss_weight") {
            None => 1.0,
            Some(n) => n
                .as_float()
                .ok_or_else(|| error_at(node, "loss_weight", "`loss_weight` is a number", ""))?,
        };
        Ok(Self {
            reduction,
            loss_weight,
        })
    }

    /// A mean with a factor.
    pub fn weighted(loss_weight: f64) -> Self {
        Self {
            reduction: Reduction::Mean,
            loss_weight,
        }
    }

    /// The number of `loss`, each of whose elements counts `weight` times.
    ///
    /// With `reduction='sum'` an `avg_factor` is an error in the original; here it is left aside.
    pub fn of<const D: usize>(
        self,
        loss: Tensor<D>,
        weight: Option<Tensor<D>>,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let elements = loss.dims().iter().product::<usize>();
        let loss = match weight {
            Some(weight) => loss * weight,
            None => loss,
        };
        self.of_sum(loss.sum(), elements, avg_factor)
    }

    /// The number of so many elements that come to `sum`, weights and all.
    pub fn of_sum(
        self,
        sum: Tensor<1>,
        elements: usize,
        avg_factor: Option<AvgFactor>,
    ) -> Tensor<1> {
        let mean = |sum: Tensor<1>| sum * (self.loss_weight / elements as f64);
        match (self.reduction, avg_factor) {
            (Reduction::Sum, _) => sum * self.loss_weight,
            (Reduction::None, _) | (Reduction::Mean, None) => mean(sum),
            (Reduction::Mean, Some(AvgFactor::Number(factor))) => {
                sum * (self.loss_weight / (factor + EPS))
            }
            (Reduction::Mean, Some(AvgFactor::Tensor(factor))) => {
                sum / (factor + EPS) * self.loss_weight
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn by_hand() {
        let device = Device::flex();
        let loss = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device);
        let weight = Tensor::<1>::from_floats([1.0, 0.0, 2.0], &device);
        let number = |t: Tensor<1>| t.into_scalar::<f32>();
        let mean = Reduce::weighted(2.0);
        let sum = Reduce {
            reduction: Reduction::Sum,
            ..mean
        };
        assert_eq!(number(mean.of(loss.clone(), None, None)), 4.0);
        assert_eq!(
            number(sum.of(loss.clone(), Some(weight.clone()), None)),
            14.0
        );
        let by = |factor| number(mean.of(loss.clone(), Some(weight.clone()), Some(factor)));
        assert!((by(AvgFactor::Number(7.0)) - 2.0).abs() < 1e-6);
        let seven = Tensor::<1>::from_floats([7.0], &device);
        assert!((by(AvgFactor::Tensor(seven)) - 2.0).abs() < 1e-6);
        assert!(by(AvgFactor::Number(0.0)).is_finite(), "nothing was found");
    }
}
