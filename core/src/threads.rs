//! [`among`]: a walk through a model that is done by one of the threads that share its work.

use std::future::Future;

use burn::tensor::Device;

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
    let device = device.clone().without_autodiff();
    let here = matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_));
    if !here || rayon::current_thread_index().is_some() {
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
