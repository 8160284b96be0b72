//! Work on many things with all processor cores, in order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `make` of 0, 1, ..., `count - 1`, in that order. In a browser, and where the system gives no threads, the caller does it all.
pub(super) fn each<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let work = || {
        let mut own = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                break;
            }
            own.push((i, make(i)));
        }
        let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
        done.extend(own);
    };
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 1..cores.min(count) {
            if std::thread::Builder::new()
                .spawn_scoped(scope, work)
                .is_err()
            {
                break;
            }
        }
        work();
    });
    #[cfg(target_arch = "wasm32")]
    work();
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn in_order() {
        for count in [0, 1, 2, 1000] {
            let squares = super::each(count, |i| i * i);
            assert!(squares.iter().copied().eq((0..count).map(|i| i * i)));
        }
    }
}
