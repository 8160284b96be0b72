//! How walks through a model are shared by threads: [`among`], [`side_by_side`].

use std::future::Future;

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::device::is_processor;
use crate::ops::{count, watch};

/// Does `walk`, if it is the processor's, as one of rayon's threads, so that handing parts of it to the others takes no switch from a thread
/// outside to them and back, of which there would be one at every layer. Only one such walk is done at a time: a thread that waits for a part
/// takes up whatever there is, and must not take up another walk through a model that it is in the middle of.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) async fn among<R: Send, F: Future<Output = R>>(
    device: &Device,
    walk: impl FnOnce() -> F + Send,
) -> R {
    use std::sync::{Mutex, PoisonError};

    static ONE: Mutex<()> = Mutex::new(());
    if !is_processor(device) || rayon::current_thread_index().is_some() {
        return walk().await;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // There is nobody to be waited for: all is done when it is asked for.
    rayon::scope(|_| pollster::block_on(walk()))
}

/// Does `walk`: a page has one thread.
#[cfg(target_arch = "wasm32")]
pub(crate) async fn among<R: Send, F: Future<Output = R>>(
    _: &Device,
    walk: impl FnOnce() -> F + Send,
) -> R {
    walk().await
}

/// What `make` makes of each, given its place. The processor's threads take them up side by side, unless gradients are recorded: small maps
/// keep no two threads busy; or layers are counted or watched, which is done by thread. None may wait for what another prepares.
pub(crate) fn side_by_side<R: Send>(
    maps: &[Tensor<4>],
    make: impl Fn(usize, &Tensor<4>) -> R + Sync,
) -> Vec<R> {
    let apart = |map: &Tensor<4>| is_processor(&map.device()) && !map.is_autodiff();
    if maps.iter().all(apart) && !count::is_counting() && !watch::is_watching() {
        let each = maps.par_iter().enumerate();
        return each.map(|(i, map)| make(i, map)).collect();
    }
    let each = maps.iter().enumerate();
    each.map(|(i, map)| make(i, map)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn inside() -> bool {
        rayon::current_thread_index().is_some()
    }

    #[test]
    fn one_of_them_and_one_at_a_time() {
        let device = Device::flex();
        assert!(!inside());
        assert!(pollster::block_on(among(&device, async || inside())));
        let within = among(&device, async || among(&device, async || inside()).await);
        assert!(pollster::block_on(within));
        let busy = Mutex::new(());
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    pollster::block_on(among(&device, async || {
                        let _alone = busy.try_lock().expect("nobody else");
                        rayon::join(|| (), || ());
                    }));
                });
            }
        });
    }
}
