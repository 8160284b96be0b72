//! [`Staged`]: layers one after another, in stages whose outputs may be maps. Most backbones for small devices are no more than that.

use burn::tensor::Tensor;

use super::{Backbone, Feature};
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::ConvNormAct;
use crate::limits::{Index, List};

/// A part of a [`Staged`].
pub(super) trait Layer: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - input `[N, C, H, W]`, output `[N, C', H', W']`
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;

    /// Whether a norm of it takes in the statistics of what comes through.
    fn learning(&self) -> bool;
}

impl Layer for ConvNormAct {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ConvNormAct::forward(self, x)
    }

    fn learning(&self) -> bool {
        ConvNormAct::learning(self)
    }
}

/// Layers one after another.
#[derive(Debug)]
pub(super) struct Staged {
    stages: Vec<Stage>,
    out_indices: Vec<usize>,
    channels_in: usize,
}

#[derive(Debug)]
struct Stage {
    layers: Vec<Box<dyn Layer>>,
    feature: Feature,
}

impl Staged {
    /// An empty one for pictures of so many channels, that is to give the maps after the stages of these indices.
    pub fn new(channels_in: usize, out_indices: Vec<usize>) -> Self {
        Self {
            stages: Vec::new(),
            out_indices,
            channels_in,
        }
    }

    /// Adds a stage of `layers`, which gives `channels`, and has a pixel for each `stride` of what it gets.
    pub fn push(&mut self, layers: Vec<Box<dyn Layer>>, channels: usize, stride: usize) {
        let before = self.stages.last().map_or(1, |stage| stage.feature.stride);
        let stride = before.saturating_mul(stride);
        self.stages.push(Stage {
            layers,
            feature: Feature { channels, stride },
        });
    }
}

impl Backbone for Staged {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let wanted = |i: usize| self.out_indices.contains(&i);
        // Running statistics are in the state dict, wanted or not.
        let learning = |stage: &Stage| stage.layers.iter().any(|layer| layer.learning());
        let mut stages = self.stages.iter().enumerate();
        let end = stages.rposition(|(i, stage)| wanted(i) || learning(stage));
        let end = end.map_or(0, |i| i + 1);
        let mut outputs = Vec::new();
        let mut x = x;
        for (i, stage) in self.stages[..end].iter().enumerate() {
            x = stage.layers.iter().fold(x, |x, layer| layer.forward(x));
            if wanted(i) {
                outputs.push(x.clone());
            }
        }
        outputs
    }

    fn features(&self) -> Vec<Feature> {
        let stages = self.stages.iter().enumerate();
        let wanted = stages.filter(|(i, _)| self.out_indices.contains(i));
        wanted.map(|(_, stage)| stage.feature).collect()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }
}

/// What keys may say of layers that are counted.
pub(super) struct Counted<'a> {
    /// Where the keys are.
    pub node: &'a Node,
    /// What has the layers: a class, or an `arch` in quotes.
    pub of: &'a str,
    /// The last layer's index; the first one's is 0.
    pub last: usize,
}

impl Counted<'_> {
    /// The indices that `out_indices` has, in the order of the layers.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn out_indices(
        &self,
        given: Option<&List<Index>>,
        default: &[usize],
    ) -> Result<Vec<usize>, Diagnostics> {
        let mut named = given.map_or_else(|| default.to_vec(), List::numbers);
        if let Some(i) = named.iter().find(|i| **i > self.last) {
            let Self { of, last, .. } = self;
            let message = format!("`out_indices` names layer {i}; {of} has layers 0 to {last}");
            return Err(error_at(self.node, "out_indices", message, ""));
        }
        named.sort_unstable();
        named.dedup();
        Ok(named)
    }

    /// As [`Counted::out_indices`], of indices that count from the end where they are negative.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn signed_out_indices(&self, named: &[i64]) -> Result<Vec<usize>, Diagnostics> {
        let count = self.last as i64 + 1;
        if let Some(i) = named.iter().find(|i| !(-count..count).contains(i)) {
            let Self { of, last, .. } = self;
            let message = format!(
                "`out_indices` names layer {i}; {of} has layers 0 to {last}, or -{count} to -1"
            );
            return Err(error_at(self.node, "out_indices", message, ""));
        }
        let from_start = |i: &i64| i.rem_euclid(count) as usize;
        let mut named: Vec<_> = named.iter().map(from_start).collect();
        named.sort_unstable();
        named.dedup();
        Ok(named)
    }

    /// What `frozen_stages` says.
    ///
    /// # Errors
    /// It is not from `least` to `most`.
    pub fn frozen_stages(
        &self,
        given: Option<i64>,
        [least, most]: [i64; 2],
    ) -> Result<i64, Diagnostics> {
        let frozen = given.unwrap_or(least);
        if (least..=most).contains(&frozen) {
            return Ok(frozen);
        }
        let of = self.of;
        let message = format!("`frozen_stages` is {frozen}, must be {least} to {most} for {of}");
        Err(error_at(self.node, "frozen_stages", message, ""))
    }
}
