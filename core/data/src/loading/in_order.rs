//! [`InOrder`]: what a transform remembers of earlier samples (the caches of CachedMosaic and CachedMixUp), seen by every sample in
//! the order of the epoch although threads make samples at once.
//!
//! Sample n waits until every earlier one has been here, looks, changes what is remembered, and goes on; the work on pixels is done
//! after that, beside the others'. So a sample depends on the seed and on nothing that threads do. Two things follow:
//!
//! - A sample may end before it comes here (a broken file, an error). The loader tells [`Order::finish`] of every sample that has
//!   ended, so nobody waits for it.
//! - A sample may come again, where a later step dropped it and its data set took another picture instead. By then the samples
//!   after it have passed, so it gets a copy of what it left at its first visit. MMDetection, which has one cache a process and
//!   no order, would show that second picture to the following samples too.
//!
//! Without a loader nobody waits, and all share one memory, as in MMDetection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What the loader tells those who keep an order.
pub trait Order: Send + Sync {
    /// An epoch begins, with this sample: everything is forgotten, and samples pass in order.
    fn begin(&self, first: u64);
    /// This sample has ended: it will not come, or not again.
    fn finish(&self, position: u64);
    /// The epoch is over: nobody waits any more.
    fn end(&self);
}

/// A memory of `T`, cheap to clone.
#[derive(Debug)]
pub struct InOrder<T> {
    state: Mutex<State<T>>,
    moved: Condvar,
}

#[derive(Debug)]
struct State<T> {
    memory: T,
    /// Whose turn it is; `None` without an epoch.
    next: Option<u64>,
    /// Ended before their turn.
    ended: BTreeSet<u64>,
    /// What samples that have not ended left here.
    own: BTreeMap<u64, T>,
}

impl<T> State<T> {
    /// The turn of `position` is over, or will not be needed.
    fn pass(&mut self, position: u64) {
        let Some(next) = &mut self.next else { return };
        if position >= *next {
            self.ended.insert(position);
        }
        while self.ended.remove(next) {
            *next += 1;
        }
    }
}

impl<T: Clone + Default> InOrder<T> {
    /// Nothing is remembered.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                memory: T::default(),
                next: None,
                ended: BTreeSet::new(),
                own: BTreeMap::new(),
            }),
            moved: Condvar::new(),
        }
    }

    /// Looks at the memory and changes it, when it is this sample's turn. Nobody else looks meanwhile: do nothing slow.
    pub fn visit<R>(&self, position: u64, look: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.lock();
        while state.next.is_some_and(|next| position > next) {
            state = self
                .moved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match state.next {
            None => look(&mut state.memory),
            Some(next) if position == next => {
                let result = look(&mut state.memory);
                let left = state.memory.clone();
                state.own.insert(position, left);
                state.pass(position);
                self.moved.notify_all();
                result
            }
            Some(_) => {
                let now = state.memory.clone();
                look(state.own.entry(position).or_insert(now))
            }
        }
    }

    /// A panic of another thread is that thread's error; the memory is whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Default> Default for InOrder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Default + Send> Order for InOrder<T> {
    fn begin(&self, first: u64) {
        *self.lock() = State {
            memory: T::default(),
            next: Some(first),
            ended: BTreeSet::new(),
            own: BTreeMap::new(),
        };
        self.moved.notify_all();
    }

    fn finish(&self, position: u64) {
        let mut state = self.lock();
        state.own.remove(&position);
        state.pass(position);
        self.moved.notify_all();
    }

    fn end(&self) {
        let mut state = self.lock();
        state.next = None;
        state.ended.clear();
        state.own.clear();
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes its position; what it saw before.
    fn visit(order: &InOrder<Vec<u64>>, position: u64) -> Vec<u64> {
        order.visit(position, |seen| {
            seen.push(position);
            seen.clone()
        })
    }

    #[test]
    fn without_an_epoch_all_share() {
        let order = InOrder::new();
        assert_eq!(visit(&order, 7), [7]);
        assert_eq!(visit(&order, 3), [7, 3]);
    }

    #[test]
    fn threads_pass_in_order_and_the_ended_are_not_waited_for() {
        let order = InOrder::new();
        order.begin(10);
        std::thread::scope(|scope| {
            let late: Vec<_> = [14, 13, 12]
                .map(|p| {
                    let order = &order;
                    scope.spawn(move || visit(order, p))
                })
                .into_iter()
                .collect();
            assert_eq!(visit(&order, 10), [10]);
            // 11 fails before it comes here
            order.finish(11);
            let seen: Vec<_> = late.into_iter().map(|t| t.join().unwrap()).collect();
            assert_eq!(seen, [vec![10, 12, 13, 14], vec![10, 12, 13], vec![10, 12]]);
        });
        order.begin(0);
        assert_eq!(visit(&order, 0), [0]);
    }

    #[test]
    fn who_comes_again_finds_what_it_left() {
        let order = InOrder::new();
        order.begin(0);
        visit(&order, 0);
        assert_eq!(visit(&order, 1), [0, 1]);
        assert_eq!(visit(&order, 0), [0, 0]);
        assert_eq!(visit(&order, 0), [0, 0, 0]);
        order.finish(0);
        assert_eq!(visit(&order, 2), [0, 1, 2]);
        order.end();
        assert_eq!(visit(&order, 2), [0, 1, 2, 2]);
    }
}
