//! What a run is asked to do next, from the window's thread to its own.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What is wanted of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// To go on.
    #[default]
    Go,
    /// To wait between two iterations.
    Hold,
    /// To write a checkpoint and end.
    Stop,
}

/// Passes wishes on.
#[derive(Debug, Default)]
pub struct Control {
    wish: Mutex<Wish>,
    told: Condvar,
}

/// While a run waits, how often it looks whether its job is to stop.
const LOOK: Duration = Duration::from_millis(50);

impl Control {
    /// The last wish.
    pub fn wish(&self) -> Wish {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wishes; a run that is to stop does.
    pub fn set(&self, wish: Wish) {
        let mut now = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != Wish::Stop {
            *now = wish;
        }
        self.told.notify_all();
    }

    /// Called by the run between iterations: waits as long as it is to be held, then says whether it is to stop. `held` hears when it begins to
    /// wait and when it goes on.
    pub fn asked(&self, cancelled: impl Fn() -> bool, held: impl Fn(bool)) -> bool {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = *wish == Wish::Hold && !cancelled();
        if waits {
            held(true);
            while *wish == Wish::Hold && !cancelled() {
                let waited = self.told.wait_timeout(wish, LOOK);
                wish = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            held(false);
        }
        *wish == Wish::Stop || cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_run_waits_until_it_is_to_go_on_or_to_stop() {
        let control = Control::default();
        let never = || panic!("nothing holds it");
        assert!(!control.asked(|| false, |_| never()));
        let changes = AtomicUsize::new(0);
        let count = |_| {
            changes.fetch_add(1, Ordering::Relaxed);
        };
        control.set(Wish::Hold);
        std::thread::scope(|threads| {
            let run = threads.spawn(|| control.asked(|| false, count));
            control.set(Wish::Go);
            assert!(!run.join().unwrap());
        });
        control.set(Wish::Hold);
        std::thread::scope(|threads| {
            let run = threads.spawn(|| control.asked(|| false, count));
            control.set(Wish::Stop);
            control.set(Wish::Go);
            assert!(run.join().unwrap(), "it stays so");
        });
        let held = Control::default();
        held.set(Wish::Hold);
        assert!(held.asked(|| true, count), "its job is to stop");
        assert_eq!(changes.load(Ordering::Relaxed) % 2, 0);
    }
}
