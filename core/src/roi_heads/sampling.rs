//! [`Sampled`]: the proposals that a second stage learns from, as MMDetection 3.3.0's `SamplingResult` has them.

use burn::tensor::{Tensor, Transaction, activation};

use super::box_head::{BoxHead, BoxOutputs};
use super::regions::rows_of;
use crate::assigners::{self, Assigned, Assigner, Priors};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::Dice;
use crate::ops::detections::{DetectError, Kept};
use crate::ops::launch::ReadError;
use crate::samplers::{self, Rated, Sampler, ScoreHlrSampler};
use crate::structures::Xyxy;
use crate::targets::Objects;

/// How proposals are chosen.
#[derive(Debug)]
pub(super) struct Sampling {
    assigner: Box<dyn Assigner>,
    sampler: Box<dyn Sampler>,
    dice: Dice,
}

/// The proposals of a picture that are learned from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sampled {
    /// xyxy px: first those with an object, then those of the background.
    pub boxes: Vec<Xyxy>,
    /// For each of the first its object.
    pub objects: Vec<usize>,
    /// For each of the first whether it is an object itself.
    pub given: Vec<bool>,
    /// How much each of all proposals, chosen or not, overlaps an object.
    pub overlaps: Vec<f32>,
    /// What each of those of the background counts, where the sampler says so.
    pub weights: Option<Vec<f32>>,
}

impl Sampled {
    /// Those of `boxes` that were chosen, none of them an object itself.
    pub fn of(
        boxes: &[Xyxy],
        assigned: &Assigned,
        positives: &[usize],
        negatives: &[usize],
    ) -> Self {
        let chosen = positives.iter().chain(negatives);
        let object = |i: &usize| assigned.object[*i] as usize - 1;
        Self {
            boxes: chosen.map(|i| boxes[*i]).collect(),
            objects: positives.iter().map(object).collect(),
            given: vec![false; positives.len()],
            overlaps: assigned.overlap.clone(),
            weights: None,
        }
    }

    /// Those with an object.
    pub fn positives(&self) -> &[Xyxy] {
        &self.boxes[..self.objects.len()]
    }
}

/// Asks a head for what it gives for regions of the picture.
pub(super) type Look<'l> = dyn Fn(&[Xyxy]) -> BoxOutputs + 'l;

impl Sampling {
    /// Reads `assigner` and `sampler` of a `train_cfg`.
    pub fn read(train_cfg: &Node, build: &Build) -> Result<Self, Diagnostics> {
        Ok(Self {
            assigner: assigners::by_boxes(train_cfg, build)?,
            sampler: samplers::of_second_stage(train_cfg, build)?,
            dice: build.params.at("sampler").dice(),
        })
    }

    /// Whether the least overlap can be another.
    pub fn asks_overlap(&self) -> bool {
        self.assigner.with_overlap(0.5).is_some()
    }

    /// Whether negatives are weighed by their rank.
    pub fn ranks(&self) -> bool {
        self.sampler.by_rank().is_some()
    }

    /// Whether a head is asked for the losses of single regions.
    pub fn asks_losses(&self) -> bool {
        self.sampler.asks_losses()
    }

    /// Chooses among the proposals of a picture those that `head` learns from. `overlap` is the least one, if that is not the config's.
    pub async fn choose(
        &self,
        mut proposals: Vec<Xyxy>,
        objects: &Objects,
        head: &BoxHead,
        look: &Look<'_>,
        overlap: Option<f64>,
    ) -> Result<Sampled, DetectError> {
        let priors = Priors::new(&proposals, &[], &[]);
        let other = overlap.and_then(|overlap| self.assigner.with_overlap(overlap as f32));
        let assigner = other.as_ref().unwrap_or(&self.assigner);
        let mut assigned = assigner.assign(&priors, objects);
        let mut given = 0;
        if self.sampler.adds_objects() && !objects.boxes.is_empty() {
            given = objects.boxes.len();
            proposals.splice(..0, objects.boxes.iter().copied());
            assigned.object.splice(..0, 1..=given as i32);
            assigned
                .overlap
                .splice(..0, std::iter::repeat_n(1.0, given));
        }
        let mut weights = None;
        let (positives, negatives) = if let Some(ranks) = self.sampler.by_rank() {
            let (positives, all, wanted) = ranks.positives(&assigned, &self.dice);
            let boxes: Vec<Xyxy> = all.iter().map(|i| proposals[*i]).collect();
            let (places, own) = self.ranked(ranks, head, &boxes, look, wanted).await?;
            weights = (!all.is_empty()).then_some(own);
            (positives, places.into_iter().map(|i| all[i]).collect())
        } else if self.sampler.asks_losses() {
            let label = |object: &i32| match usize::try_from(*object - 1) {
                Ok(object) => objects.labels[object],
                Err(_) => head.classes,
            };
            let labels: Vec<usize> = assigned.object.iter().map(label).collect();
            let losses = head.losses_of_rows(look(&proposals).logits, &labels);
            let losses = losses.into_data_async().await;
            let losses = losses.map_err(|e| ReadError(format!("{e:?}")))?;
            let losses: Vec<f32> = losses.iter::<f32>().collect();
            let of = |wanted: &[usize]| wanted.iter().map(|i| losses[*i]).collect();
            let sampled = self.sampler.sample_by(&assigned, &self.dice, &of);
            (sampled.positives, sampled.negatives)
        } else {
            let sampled = self.sampler.sample(&assigned, &self.dice);
            (sampled.positives, sampled.negatives)
        };
        let chosen = positives.iter().chain(&negatives);
        let object = |i: &usize| assigned.object[*i] as usize - 1;
        Ok(Sampled {
            boxes: chosen.map(|i| proposals[*i]).collect(),
            objects: positives.iter().map(object).collect(),
            given: positives.iter().map(|i| *i < given).collect(),
            overlaps: assigned.overlap,
            weights,
        })
    }

    /// Which of the background's `boxes` are learned from, and what each counts.
    async fn ranked(
        &self,
        ranks: &ScoreHlrSampler,
        head: &BoxHead,
        boxes: &[Xyxy],
        look: &Look<'_>,
        wanted: usize,
    ) -> Result<(Vec<usize>, Vec<f32>), DetectError> {
        if boxes.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let outputs = look(boxes);
        let device = outputs.logits.device();
        let [_, channels] = outputs.logits.dims();
        let labels = vec![head.classes; boxes.len()];
        let losses = head.losses_of_rows(outputs.logits.clone(), &labels);
        let shares = activation::softmax(outputs.logits, 1).narrow(1, 0, channels - 1);
        let (scores, likely) = shares.max_dim_with_indices(1);
        let own = rows_of([boxes], &device).narrow(1, 1, 4);
        let moved = match outputs.deltas {
            Some(deltas) => head.refined(own, likely.squeeze_dim(1), deltas),
            None => own,
        };
        let [losses, scores, moved] =
            read([losses, scores.flatten(0, 1), moved.flatten(0, 1)]).await?;
        let (moved, _) = moved.as_chunks::<4>();
        let rated = scores.iter().zip(&losses).zip(moved);
        let rated = rated.map(|((score, loss), bbox)| Rated {
            score: *score,
            bbox: *bbox,
            loss: *loss,
        });
        let rated: Vec<Rated> = rated.collect();
        Ok(ranks.negatives(&rated, wanted, &self.dice))
    }
}

/// Numbers of three tensors, with one read-back.
pub(super) async fn read(tensors: [Tensor<1>; 3]) -> Result<[Vec<f32>; 3], DetectError> {
    let [a, b, c] = tensors;
    let all = Transaction::default().register(a).register(b).register(c);
    let read = all.execute_async().await;
    let read = read.map_err(|e| ReadError(format!("{e:?}")))?;
    let numbers: Vec<Vec<f32>> = read
        .iter()
        .map(|data| data.iter::<f32>().collect())
        .collect();
    let lacks = |_| ReadError("not all tensors came".into()).into();
    numbers.try_into().map_err(lacks)
}

/// The boxes of each picture, in host memory.
pub(crate) async fn boxes_of(kept: &Kept) -> Result<Vec<Vec<Xyxy>>, DetectError> {
    let read = Transaction::default()
        .register(kept.boxes.clone())
        .register(kept.counts.clone())
        .execute_async()
        .await
        .map_err(|e| ReadError(format!("{e:?}")))?;
    let [boxes, counts] = read.as_slice() else {
        return Err(ReadError("not all tensors came".into()).into());
    };
    let most = kept.labels.dims()[1];
    let boxes: Vec<f32> = boxes.iter::<f32>().collect();
    let pictures = boxes.chunks(most * 4).zip(counts.iter::<i32>());
    let listed = pictures.map(|(numbers, count)| {
        let (all, _) = numbers.as_chunks::<4>();
        all[..count as usize].to_vec()
    });
    Ok(listed.collect())
}
