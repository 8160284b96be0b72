//! [`counting`]: how many products a model does, without doing them.

use std::cell::Cell;

use burn::tensor::Tensor;

thread_local! {
    static PRODUCTS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What `run` gives, and how many products of two numbers its convolutions, linear layers and attentions come to. These give zeros meanwhile,
/// on this thread.
pub fn counting<R>(run: impl FnOnce() -> R) -> (R, u64) {
    let before = PRODUCTS.replace(Some(0));
    let made = run();
    (made, PRODUCTS.replace(before).unwrap_or_default())
}

/// Whether products are counted and not done; then these are counted.
pub(crate) fn counted(products: impl FnOnce() -> usize) -> bool {
    let Some(sum) = PRODUCTS.get() else {
        return false;
    };
    PRODUCTS.set(Some(sum + products() as u64));
    true
}

/// The products of matrices, counted.
pub(crate) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let columns = b.dims()[D - 1];
    let mut dims = a.dims();
    let all: usize = dims.iter().product();
    dims[D - 1] = columns;
    match counted(|| all * columns) {
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
        assert!(!counted(|| 1), "nobody counts any more");
    }
}
