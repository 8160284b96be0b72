//! [`Outputs`]: what a head gives, before anything is made of it.

use burn::tensor::Tensor;

use crate::probe::Probe;
use crate::threads;

/// A head's raw outputs as the original returns them: groups (class logits, box numbers, objectness, ...) of one tensor a level. Only the
/// head that made them looks inside.
#[derive(Clone, Debug)]
pub struct Outputs(Vec<Vec<Tensor<4>>>);

impl Outputs {
    /// Of one list of groups a level.
    pub fn new<const G: usize>(levels: impl IntoIterator<Item = [Tensor<4>; G]>) -> Self {
        let mut groups = vec![Vec::new(); G];
        for level in levels {
            for (group, tensor) in groups.iter_mut().zip(level) {
                group.push(tensor);
            }
        }
        Self(groups)
    }

    /// Of what `level` gives for each map, given its place. The first is done before the others, which may share weights that it prepares.
    pub fn of<const G: usize>(
        maps: &[Tensor<4>],
        level: impl Fn(usize, &Tensor<4>) -> [Tensor<4>; G] + Sync,
    ) -> Self {
        let (first, others) = maps.split_at(maps.len().min(1));
        let first: Vec<_> = first.iter().map(|map| level(0, map)).collect();
        let others = threads::side_by_side(others, |i, map| level(i + 1, map));
        Self::new(first.into_iter().chain(others))
    }

    /// The groups of each level.
    ///
    /// # Panics
    /// If there are not G groups: then another head made them.
    pub fn levels<const G: usize>(&self) -> impl Iterator<Item = [&Tensor<4>; G]> {
        assert_eq!(self.0.len(), G, "a head looks into its own outputs");
        (0..self.0[0].len()).map(|level| std::array::from_fn(|group| &self.0[group][level]))
    }

    /// The same, without what they were computed from.
    pub fn without_autodiff(self) -> Self {
        let group = |group: Vec<Tensor<4>>| {
            let tensors = group.into_iter();
            tensors.map(Tensor::without_autodiff).collect()
        };
        Self(self.0.into_iter().map(group).collect())
    }

    /// Tells each group, as `head.0`, `head.1`, ...
    pub fn tell(&self, probe: &mut Probe, part: &str) {
        for (i, group) in self.0.iter().enumerate() {
            probe.tell(&format!("{part}.{i}"), group);
        }
    }
}
