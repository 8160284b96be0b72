//! [`watching`]: what one layer of a model gives, while the whole runs.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::Tensor;

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

struct Watched {
    place: String,
    maps: Vec<Tensor<4>>,
}

/// What `run` gives, and what the convolution whose weights are at `place` gave meanwhile on this thread, each time that it was asked: a head's is
/// asked once for each level. What was made one with it, such as a norm or an activation, is done.
pub fn watching<R>(place: &str, run: impl FnOnce() -> R) -> (R, Vec<Tensor<4>>) {
    let watched = Watched {
        place: place.to_owned(),
        maps: Vec::new(),
    };
    let before = WATCHED.replace(Some(watched));
    let made = run();
    let watched = WATCHED.replace(before);
    (made, watched.map(|w| w.maps).unwrap_or_default())
}

/// Whether a layer is watched on this thread.
pub(crate) fn is_watching() -> bool {
    WATCHED.with_borrow(Option::is_some)
}

/// Told of what the convolution at a place gave.
pub(crate) fn seen(place: impl FnOnce() -> Option<Arc<str>>, map: &Tensor<4>) {
    WATCHED.with_borrow_mut(|watched| {
        if let Some(watched) = watched
            && place().as_deref() == Some(watched.place.as_str())
        {
            watched.maps.push(map.clone());
        }
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::layers::{ConvConfig, Mode, Params};

    #[test]
    fn one_layer_of_two() {
        let device = Device::flex();
        for mode in [Mode::Fixed, Mode::Train] {
            let params = Params::new(&device, mode, None);
            let [first, last] = ["a", "b.conv"].map(|at| {
                let conv = ConvConfig::new(3, 3, 1);
                conv.init(&params.at(at), None)
            });
            let x = Tensor::<4>::ones([1, 3, 2, 2], &device);
            let run = || last.forward(first.forward(x.clone()));
            let (y, maps) = watching("b.conv", run);
            assert_eq!(maps.len(), 1, "{mode:?}");
            assert_eq!(maps[0].to_data(), y.to_data());
            assert!(watching("b", run).1.is_empty());
            assert!(!is_watching());
        }
    }
}
