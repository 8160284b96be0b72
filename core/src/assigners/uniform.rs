//! `UniformAssigner` (Chen et al. 2021, arXiv 2103.09460, section 4.2) as MMDetection 3.3.0 computes it: each object takes the nearest predicted
//! boxes and the nearest anchors, as many of each for large and small objects. Of those that are as near the first are taken; the original leaves
//! that open.

use burn::tensor::{Bool, Int, Tensor};
use serde::Deserialize;

use super::pairs::{Pairs, Round, largest, numbers};
use super::{
    AnyAssigner, AssignedOnDevice, LEFT_OUT, Pairing, Predicted, PredictionAssigner, plain_overlaps,
};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node};
use crate::targets::Padded;

/// The keys of `type='UniformAssigner'`.
#[derive(Debug, Deserialize)]
struct UniformConfig {
    pos_ignore_thr: f64,
    neg_ignore_thr: f64,
    match_times: Option<Bounded<1, 100>>,
}

/// Assigns as many places to each object.
#[derive(Clone, Debug)]
pub struct UniformAssigner {
    /// An anchor that overlaps its object by less than this is left out.
    pub pos_ignore_thr: f64,
    /// A predicted box that overlaps an object by more than this is not background.
    pub neg_ignore_thr: f64,
    /// How many boxes, and how many anchors, an object takes.
    pub match_times: usize,
}

pub(super) fn build(node: &Node, _: &Build) -> Result<AnyAssigner, Diagnostics> {
    let config: UniformConfig = node.read_knowing(&["iou_calculator"])?;
    plain_overlaps(node)?;
    Ok(AnyAssigner::Predictions(Box::new(UniformAssigner {
        pos_ignore_thr: config.pos_ignore_thr,
        neg_ignore_thr: config.neg_ignore_thr,
        match_times: config.match_times.map_or(4, Bounded::get),
    })))
}

impl PredictionAssigner for UniformAssigner {
    /// Scores are not asked. The original fails where there are fewer places than an object takes; here it takes all.
    ///
    /// # Panics
    /// If it is not said what the anchors are.
    fn assign(&self, predicted: &Predicted, objects: &Padded) -> AssignedOnDevice {
        let pairs = Pairs::new(predicted, objects);
        let anchors = predicted
            .anchors
            .clone()
            .expect("the head says what its anchors are");
        let [n, places, count] = pairs.there.dims();
        let anchors: Tensor<3> = anchors.unsqueeze_dim::<3>(0).expand([n, places, 4]);
        let of_anchors = pairs.with_boxes(&anchors);
        let overlaps = of_anchors.ious();

        let not_there = pairs.there.clone().bool_not();
        let seen = pairs.ious().greater_elem(self.neg_ignore_thr);
        let seen = seen.bool_and(pairs.there.clone()).any_dim(2);
        let mut object = seen.int() * i64::from(LEFT_OUT);

        let near =
            |pairs: &Pairs| (-pairs.distances()).mask_fill(not_there.clone(), f32::NEG_INFINITY);
        let rounds = self.match_times.min(places);
        let boxes = largest(near(&pairs), rounds);
        let anchors = largest(near(&of_anchors), rounds);
        let mut slots: [Vec<Tensor<2, Int>>; 2] = [Vec::new(), Vec::new()];
        let mut counted: Vec<Tensor<2, Bool>> = Vec::new();
        // What is written later stays: of a place that several take, the last object of the last round, and its anchor before its box.
        for Round { places, at, .. } in boxes
            .zip(anchors)
            .flat_map(|(boxes, anchors)| [boxes, anchors])
        {
            let here = places.bool_and(pairs.there.clone());
            let last = (here.clone().int() * numbers(&here)).max_dim(2);
            let enough = overlaps.clone().greater_equal_elem(self.pos_ignore_thr);
            let chosen = numbers(&here).equal(last.clone().expand(here.dims()));
            let enough_of_last = enough.clone().bool_and(chosen).any_dim(2).int();
            // the object where it overlaps enough, else left out
            let value = enough_of_last.clone() * last.clone() + (enough_of_last - 1);
            object = object.mask_where(last.greater_elem(0), value);

            let enough = overlaps
                .clone()
                .gather(1, at.clone())
                .greater_equal_elem(self.pos_ignore_thr);
            let there = pairs.there.clone().narrow(1, 0, 1);
            counted.push(enough.bool_and(there).reshape([n, count]));
            slots[0].push(at.reshape([n, count]));
            let g = Tensor::<1, Int>::arange(0..count as i64, &overlaps.device());
            slots[1].push(g.reshape([1, count]).expand([n, count]));
        }
        let overlap = pairs.there.clone().float() * overlaps;
        let [place, gt] = slots.map(|slots| Tensor::cat(slots, 1));
        AssignedOnDevice {
            object: object.reshape([n, places]),
            overlap: overlap.max_dim(2).reshape([n, places]),
            metric: None,
            pairing: Some(Pairing {
                place,
                object: gt,
                counts: Tensor::cat(counted, 1),
            }),
        }
    }
}
