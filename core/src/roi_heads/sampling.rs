//! [`Sampled`]: the proposals that a second stage learns from, as MMDetection 3.3.0's `SamplingResult` has them.

use burn::tensor::{Tensor, Transaction};

use crate::assigners::{self, Assigned, Assigner, Priors};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::layers::Dice;
use crate::ops::detections::{DetectError, Kept};
use crate::ops::launch::ReadError;
use crate::samplers::{self, Sampler};
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
        }
    }

    /// Those with an object.
    pub fn positives(&self) -> &[Xyxy] {
        &self.boxes[..self.objects.len()]
    }
}

/// Asks for what a head would lose by regions of these labels, one number for each.
pub(super) type Losing<'l> = dyn Fn(&[Xyxy], &[usize]) -> Tensor<1> + 'l;

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

    /// Chooses among the proposals of a picture. `background` is the label of what is no object; `overlap` the least one, if that is not the config's.
    pub async fn choose(
        &self,
        mut proposals: Vec<Xyxy>,
        objects: &Objects,
        background: usize,
        losing: &Losing<'_>,
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
        let sampled = match self.sampler.asks_losses() {
            false => self.sampler.sample(&assigned, &self.dice),
            true => {
                let label = |object: &i32| match usize::try_from(*object - 1) {
                    Ok(object) => objects.labels[object],
                    Err(_) => background,
                };
                let labels: Vec<usize> = assigned.object.iter().map(label).collect();
                let losses = losing(&proposals, &labels).into_data_async().await;
                let losses = losses.map_err(|e| ReadError(format!("{e:?}")))?;
                let losses: Vec<f32> = losses.iter::<f32>().collect();
                let of = |wanted: &[usize]| wanted.iter().map(|i| losses[*i]).collect();
                self.sampler.sample_by(&assigned, &self.dice, &of)
            }
        };
        let chosen = sampled.positives.iter().chain(&sampled.negatives);
        let object = |i: &usize| assigned.object[*i] as usize - 1;
        Ok(Sampled {
            boxes: chosen.map(|i| proposals[*i]).collect(),
            objects: sampled.positives.iter().map(object).collect(),
            given: sampled.positives.iter().map(|i| *i < given).collect(),
            overlaps: assigned.overlap,
        })
    }
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
