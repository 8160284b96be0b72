//! [`counting`] and [`layers`]: how many products a model does and what its layers give, without doing them.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::Tensor;

/// What a layer was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where its weights are, as the state dict names places; none for products of what is no weight, as attention has them.
    pub place: Option<Arc<str>>,
    /// The shape of what it gives.
    pub shape: Vec<usize>,
    /// Products of two numbers that it takes.
    pub products: u64,
}

thread_local! {
    static GIVEN: RefCell<Option<Vec<Given>>> = const { RefCell::new(None) };
}

/// What `run` gives, and how many products of two numbers its convolutions, linear layers and attentions come to. These give zeros meanwhile,
/// on this thread.
pub fn counting<R>(run: impl FnOnce() -> R) -> (R, u64) {
    let (made, given) = layers(run);
    (made, given.iter().map(|layer| layer.products).sum())
}

/// What `run` gives, and what its layers were asked for, one after another. As with [`counting`] they give zeros.
pub fn layers<R>(run: impl FnOnce() -> R) -> (R, Vec<Given>) {
    let before = GIVEN.replace(Some(Vec::new()));
    let made = run();
    (made, GIVEN.replace(before).unwrap_or_default())
}

/// Whether products are counted on this thread.
pub(crate) fn is_counting() -> bool {
    GIVEN.with_borrow(Option::is_some)
}

/// Whether products are counted and not done; then these are counted. `place` is where the layer's weights are, `shape` what it gives.
pub(crate) fn counted(
    place: impl FnOnce() -> Option<Arc<str>>,
    shape: &[usize],
    products: impl FnOnce() -> usize,
) -> bool {
    GIVEN.with_borrow_mut(|all| {
        let Some(all) = all else {
            return false;
        };
        all.push(Given {
            place: place(),
            shape: shape.to_vec(),
            products: products() as u64,
        });
        true
    })
}

/// The products of matrices, counted.
pub(crate) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let columns = b.dims()[D - 1];
    let mut dims = a.dims();
    let all: usize = dims.iter().product();
    dims[D - 1] = columns;
    match counted(|| None, &dims, || all * columns) {
        true => Tensor::zeros(dims, &a.device()),
        false => a.matmul(b),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::layers::{ConvConfig, Linear, Mode, Params, attend};

    #[test]
    fn products_by_hand() {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Plan, None);
        let conv = ConvConfig::new(4, 6, 3).pad(1).stride(2).groups(2);
        let conv = conv.init(&params.at("a"), None);
        let linear = Linear::new(6, 5, true, &params.at("b"));
        let run = || {
            let y = conv.forward(Tensor::zeros([2, 4, 8, 6], &device));
            let rows = linear.forward(y.clone().flatten::<3>(2, 3).swap_dims(1, 2));
            let q = Tensor::zeros([1, 2, 3, 4], &device);
            let k = Tensor::zeros([1, 2, 5, 4], &device);
            (
                y.dims(),
                rows.dims(),
                attend(q, k.clone(), k, 1.0, None).dims(),
            )
        };
        let (dims, products) = counting(run);
        assert_eq!(dims, ([2, 6, 4, 3], [2, 12, 5], [1, 2, 3, 4]));
        // Places, filters, taps of a group's channels; rows, in, out; both products of attention.
        let expected = 2 * 12 * 6 * (9 * 2) + 24 * 6 * 5 + 2 * (2 * 3 * 5 * 4);
        assert_eq!(products, expected);
        assert!(!counted(|| None, &[], || 1), "nobody counts any more");
        let (_, given) = layers(run);
        let given: Vec<_> = given
            .iter()
            .map(|layer| (layer.place.as_deref(), layer.shape.as_slice()))
            .collect();
        let expected: [(_, &[usize]); 4] = [
            (Some("a"), &[2, 6, 4, 3]),
            (Some("b"), &[2, 12, 5]),
            (None, &[1, 2, 3, 5]),
            (None, &[1, 2, 3, 4]),
        ];
        assert_eq!(given, expected);
    }
}
