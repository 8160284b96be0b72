//! [`Permutations`]: `torch.randperm` on the CPU, whose generator is numpy's.

use crate::random::Numpy;

/// One permutation after another out of one generator.
#[derive(Clone, Debug)]
pub struct Permutations(Numpy);

impl Permutations {
    /// `torch.Generator().manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self(Numpy::new(seed))
    }

    /// `torch.randperm(len, generator)`.
    pub fn next(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in 0..len.saturating_sub(1) {
            order.swap(i, i + self.0.word() as usize % (len - i));
        }
        order
    }

    /// The elements of a list, in another order each time that all were given. Empty if the list is.
    pub fn cycle(&mut self, len: usize) -> Cycle {
        Cycle {
            order: self.next(len),
            at: 0,
        }
    }
}

/// `RandomCycleIter` of mmdet: positions of a list, permuted anew whenever it is through.
#[derive(Clone, Debug)]
pub struct Cycle {
    order: Vec<usize>,
    at: usize,
}

impl Cycle {
    /// The next position; `None` only of an empty list.
    pub fn next(&mut self, permutations: &mut Permutations) -> Option<usize> {
        if self.at == self.order.len() {
            self.order = permutations.next(self.order.len());
            self.at = 0;
        }
        self.at += 1;
        self.order.get(self.at - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_torch() {
        // torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        let permutation = |len, seed| Permutations::new(seed).next(len);
        assert_eq!(permutation(10, 0), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
        assert_eq!(permutation(7, 42), [1, 6, 3, 5, 4, 0, 2]);
        assert_eq!(permutation(5, u64::MAX), [1, 3, 4, 2, 0]);
        let long = permutation(1000, 12_345_678_901);
        assert_eq!(long[..6], [866, 681, 425, 528, 647, 42]);
        assert!(permutation(0, 3).is_empty());
    }

    #[test]
    fn a_cycle_gives_all_before_it_repeats() {
        let mut permutations = Permutations::new(1);
        let mut cycle = permutations.cycle(3);
        for _ in 0..4 {
            let mut round = [0; 3].map(|_| cycle.next(&mut permutations).unwrap());
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2]);
        }
        assert_eq!(permutations.cycle(0).next(&mut permutations), None);
    }
}
