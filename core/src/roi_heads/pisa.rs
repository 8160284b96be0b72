//! What PISA learns by (Prime Sample Attention, Cao et al. 2019, arXiv 1904.04821), as MMDetection 3.3.0's `PISARoIHead` does: regions whose boxes
//! come close to their object count more (ISR-P, section 4), and boxes count as much as their class is sure (CARL, section 5).

use std::collections::BTreeMap;

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::box_head::{BoxHead, BoxOutputs, labels_on};
use super::box_learning::{Learned, deltas_of_positives, own_of_positives, targets_of_positives};
use super::sampling::{Sampled, read};
use super::{Given, present};
use crate::box_coders::DeltaRows;
use crate::config::{Diagnostics, Node, error_at};
use crate::ops::detections::DetectError;
use crate::structures::Xyxy;

/// `isr` of a `train_cfg`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct IsrConfig {
    k: Option<f32>,
    bias: Option<f32>,
}

/// `carl` of a `train_cfg`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct CarlConfig {
    k: Option<f64>,
    bias: Option<f64>,
    avg_factor: Option<f64>,
    sigmoid: Option<bool>,
}

/// What of PISA a config asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pisa {
    isr: Option<IsrConfig>,
    carl: Option<CarlConfig>,
}

/// An error of second stages that have no use for what is ranked.
pub(super) fn refuse_ranks(node: &Node, head: &BoxHead) -> Result<(), Diagnostics> {
    match &head.learning {
        Some(learning) if learning.sampling.ranks() => {
            let message = "`ScoreHLRSampler` belongs to `PISARoIHead`";
            let help = "write type='PISARoIHead', or sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25)";
            Err(error_at(node, "type", message, help))
        }
        _ => Ok(()),
    }
}

impl Pisa {
    /// Reads `isr` and `carl` of the second stage's `train_cfg`, for the box head `head` of `node`.
    ///
    /// # Errors
    /// They are wrong, or the head's sampler and losses are not such as they need.
    pub fn read(node: &Node, given: &Given, head: &BoxHead) -> Result<Self, Diagnostics> {
        let wrong = |key: &str, message: &str, help: &str| Err(error_at(node, key, message, help));
        let learning = head.learning();
        if !learning.sampling.ranks() {
            let help = "for example train_cfg=dict(rcnn=dict(sampler=dict(type='ScoreHLRSampler', num=512, pos_fraction=0.25, k=0.5, bias=0.0)))";
            return wrong(
                "type",
                "`PISARoIHead` needs a ScoreHLRSampler in its `train_cfg`",
                help,
            );
        }
        if !head.has_boxes() {
            return wrong("bbox_head", "`PISARoIHead` needs a box head with boxes", "");
        }
        let part = |key: &str| given.train_cfg.and_then(|cfg| present(cfg, key));
        let isr: Option<IsrConfig> = part("isr").map(Node::read).transpose()?;
        let carl: Option<CarlConfig> = part("carl").map(Node::read).transpose()?;
        if carl.is_some() && !learning.counts_numbers() {
            let help = "for example loss_bbox=dict(type='SmoothL1Loss', beta=1.0)";
            return wrong(
                "bbox_head",
                "`carl` needs a `loss_bbox` of single numbers",
                help,
            );
        }
        Ok(Self { isr, carl })
    }

    /// Gives the rows with an object other weights, by how close `outputs` has them to it.
    pub async fn weigh(
        &self,
        head: &BoxHead,
        outputs: &BoxOutputs,
        sampled: &[Sampled],
        learned: &mut Learned,
    ) -> Result<(), DetectError> {
        let (Some(isr), Some(deltas)) = (&self.isr, &outputs.deltas) else {
            return Ok(());
        };
        if learned.positives.is_empty() {
            return Ok(());
        }
        let device = outputs.logits.device().without_autodiff();
        let own = own_of_positives(learned, &device);
        let deltas = deltas_of_positives(head, &deltas.clone().without_autodiff(), learned);
        let target = targets_of_positives(head, learned, &device);
        let boxes = head.coder.decode_rows(own.clone(), deltas);
        let objects = head.coder.decode_rows(own, target);
        let logits = outputs.logits.clone().without_autodiff();
        let losses = head.losses_of_rows(logits, &learned.labels);
        let [boxes, objects, losses] =
            read([boxes.flatten(0, 1), objects.flatten(0, 1), losses]).await?;
        let overlaps = boxes
            .as_chunks::<4>()
            .0
            .iter()
            .zip(objects.as_chunks::<4>().0);
        let overlaps = overlaps.map(|(a, b)| overlap(*a, *b)).collect();
        let rows: Vec<usize> = learned.positives.iter().map(|(row, ..)| *row).collect();
        let of = |numbers: &[f32]| rows.iter().map(|row| numbers[*row]).collect::<Vec<f32>>();
        let found = Found {
            labels: rows.iter().map(|row| learned.labels[*row]).collect(),
            objects: objects_of(sampled),
            overlaps,
            losses: of(&losses),
            weights: of(&learned.weights),
        };
        for (row, weight) in rows.into_iter().zip(found.importance(isr)) {
            learned.weights[row] = weight;
        }
        Ok(())
    }

    /// The loss `loss_carl`, if there is to be one.
    pub fn carl(
        &self,
        head: &BoxHead,
        outputs: &BoxOutputs,
        learned: &Learned,
    ) -> Option<Tensor<1>> {
        let (config, deltas) = (self.carl.as_ref()?, outputs.deltas.as_ref()?);
        let logits = outputs.logits.clone();
        let count = learned.positives.len();
        if count == 0 {
            return Some(logits.sum() * 0.0);
        }
        let device = logits.device().without_autodiff();
        let scores = match config.sigmoid {
            Some(true) => activation::sigmoid(logits),
            _ => activation::softmax(logits, 1),
        };
        let [rows, channels] = scores.dims();
        let place = |(row, ..): &(usize, Xyxy, Xyxy)| row * channels + learned.labels[*row];
        let places: Vec<usize> = learned.positives.iter().map(place).collect();
        let scores = scores
            .reshape([rows * channels])
            .select(0, labels_on(&places, &device));
        let bias = config.bias.unwrap_or(0.2);
        let weights = (scores * (1.0 - bias) + bias).powf_scalar(config.k.unwrap_or(1.0));
        let weights = weights.clone() * (weights.sum().recip() * count as f64);
        let weights = weights.unsqueeze_dim::<2>(1).expand([count, 4]);
        let factor = config.avg_factor.unwrap_or(learned.labels.len() as f64);
        let pred = deltas_of_positives(head, deltas, learned);
        let target = targets_of_positives(head, learned, &device);
        let loss = head.learning().sum_of_numbers(pred, target, weights);
        Some(loss / factor)
    }
}

/// Which object each region has, counted over the pictures of a batch. The original begins behind the last object of the picture before alone, so
/// that those of a third picture may have numbers of the second's; so here.
fn objects_of(sampled: &[Sampled]) -> Vec<usize> {
    let (mut all, mut first) = (Vec::new(), 0);
    for sampled in sampled {
        all.extend(sampled.objects.iter().map(|object| object + first));
        if let Some(last) = sampled.objects.iter().max() {
            first = last + 1;
        }
    }
    all
}

/// What two boxes share, as MMDetection's `bbox_overlaps` has it.
fn overlap(a: Xyxy, b: Xyxy) -> f32 {
    let area = |b: Xyxy| (b[2] - b[0]) * (b[3] - b[1]);
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let inside = side(0) * side(1);
    inside / (area(a) + area(b) - inside).max(1e-6)
}

/// What is known of the regions with objects, one entry each.
struct Found {
    labels: Vec<usize>,
    objects: Vec<usize>,
    overlaps: Vec<f32>,
    losses: Vec<f32>,
    weights: Vec<f32>,
}

impl Found {
    /// The weight of each: by its rank among those of its object, then among those of its class with that rank.
    fn importance(&self, isr: &IsrConfig) -> Vec<f32> {
        let mut groups: BTreeMap<usize, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
        for (i, (label, object)) in self.labels.iter().zip(&self.objects).enumerate() {
            groups
                .entry(*label)
                .or_default()
                .entry(*object)
                .or_default()
                .push(i);
        }
        let of_class =
            |objects: &BTreeMap<_, Vec<usize>>| objects.values().map(Vec::len).sum::<usize>();
        let most = groups.values().map(of_class).max().unwrap_or(0) as f32;
        let mut overlaps = self.overlaps.clone();
        let mut weights = self.weights.clone();
        let by = |places: &mut Vec<usize>, overlaps: &[f32]| {
            places.sort_by(|a, b| overlaps[*b].total_cmp(&overlaps[*a]));
        };
        for objects in groups.values_mut() {
            let mut all: Vec<usize> = objects.values().flatten().copied().collect();
            for places in objects.values_mut() {
                by(places, &overlaps);
                for (rank, i) in places.iter().enumerate() {
                    overlaps[*i] += most - rank as f32;
                }
            }
            all.sort_unstable();
            by(&mut all, &overlaps);
            for (rank, i) in all.iter().enumerate() {
                weights[*i] *= (most - rank as f32) / most;
            }
        }
        let (k, bias) = (isr.k.unwrap_or(2.0), isr.bias.unwrap_or(0.0));
        for weight in &mut weights {
            *weight = (bias + *weight * (1.0 - bias)).powf(k);
        }
        let lost = |weights: &[f32]| {
            let each = self.losses.iter().zip(weights);
            each.map(|(loss, weight)| f64::from(loss * weight))
                .sum::<f64>()
        };
        let ratio = (lost(&self.weights) / lost(&weights)) as f32;
        // Nothing is lost by nothing.
        if ratio.is_finite() {
            weights.iter_mut().for_each(|weight| *weight *= ratio);
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three regions of one object and one of another, of one class: the best of both come first.
    #[test]
    fn ranks_by_hand() {
        let found = Found {
            labels: vec![1; 4],
            objects: vec![0, 0, 5, 0],
            overlaps: vec![0.5, 0.9, 0.6, 0.7],
            losses: vec![1.0; 4],
            weights: vec![1.0; 4],
        };
        let isr = IsrConfig {
            k: Some(1.0),
            bias: None,
        };
        // ranks 3, 0, 1, 2 of 4
        let plain = [0.25, 1.0, 0.75, 0.5f32];
        let ratio = 4.0 / plain.iter().sum::<f32>();
        for (weight, plain) in found.importance(&isr).iter().zip(plain) {
            assert!((weight - plain * ratio).abs() < 1e-6);
        }
    }

    #[test]
    fn objects_are_numbered_as_the_original_does() {
        let sampled = |objects: &[usize]| Sampled {
            objects: objects.to_vec(),
            ..Sampled::default()
        };
        let pictures = [
            sampled(&[2, 0]),
            sampled(&[]),
            sampled(&[0, 1]),
            sampled(&[0]),
        ];
        assert_eq!(objects_of(&pictures), [2, 0, 3, 4, 2]);
    }
}
