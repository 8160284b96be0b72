//! [`GroundTruth`]: the objects of one picture, kept in step with each other.

use serde::{Deserialize, Serialize};

use super::{Masks, Xyxy};

/// Where an object came from, so that it can be followed through Mosaic and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Index of its picture in the data set.
    pub picture: u32,
    /// Its place among that picture's objects.
    pub object: u32,
}

/// Why an object was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It lies outside of the new picture.
    Outside,
    /// Clipping at the picture's border left nothing of it.
    Clipped,
    /// Smaller than the transform wants.
    TooSmall,
    /// Another object was pasted over it.
    Covered,
    /// Its box has a value that is no number, or no area, in the annotations.
    Broken,
}

/// An object that a transform left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Where it came from.
    pub origin: Origin,
    /// Index of its class.
    pub label: i64,
    /// The last box it had, px.
    pub bbox: Xyxy,
    /// Why.
    pub reason: Reason,
}

/// Objects of a picture. All lists have one entry an object; so have the masks, if there are any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroundTruth {
    /// `gt_bboxes`, [N, 4].
    pub boxes: Vec<Xyxy>,
    /// `gt_bboxes_labels`, [N].
    pub labels: Vec<i64>,
    /// `gt_ignore_flags`, [N]: crowds and what is not to be learned.
    pub ignore: Vec<bool>,
    /// `gt_masks`, or `None` where the pipeline loads none.
    pub masks: Option<Masks>,
    /// Where each came from, [N].
    pub origins: Vec<Origin>,
    /// What was left out since somebody last took this list.
    pub dropped: Vec<Dropped>,
}

impl GroundTruth {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// No objects.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Keeps the objects whose flag is set; the others go to `dropped` for `reason`.
    ///
    /// # Panics
    /// If there is another number of flags than objects.
    pub fn keep(&mut self, flags: &[bool], reason: Reason) {
        self.keep_or(flags, |_| reason);
    }

    /// As [`Self::keep`], with a reason for each object by its index.
    pub fn keep_or(&mut self, flags: &[bool], reason: impl Fn(usize) -> Reason) {
        assert_eq!(flags.len(), self.len(), "a flag for every object");
        if flags.iter().all(|f| *f) {
            return;
        }
        for (i, _) in flags.iter().enumerate().filter(|(_, kept)| !**kept) {
            self.dropped.push(Dropped {
                origin: self.origins[i],
                label: self.labels[i],
                bbox: self.boxes[i],
                reason: reason(i),
            });
        }
        let kept: Vec<usize> = (0..flags.len()).filter(|i| flags[*i]).collect();
        let dropped = std::mem::take(&mut self.dropped);
        *self = self.select(&kept);
        self.dropped = dropped;
    }

    /// The objects at `indices`, in that order; nothing counts as dropped.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            boxes: indices.iter().map(|i| self.boxes[*i]).collect(),
            labels: indices.iter().map(|i| self.labels[*i]).collect(),
            ignore: indices.iter().map(|i| self.ignore[*i]).collect(),
            masks: self.masks.as_ref().map(|m| m.select(indices)),
            origins: indices.iter().map(|i| self.origins[*i]).collect(),
            dropped: Vec::new(),
        }
    }

    /// Adds the objects of `other` (and what it dropped) after ours. Masks stay only if both have them on canvases of one size.
    pub fn append(&mut self, other: GroundTruth) {
        self.masks = match (self.masks.take(), other.masks) {
            (Some(mut ours), Some(theirs)) => ours.append(theirs).then_some(ours),
            _ => None,
        };
        self.boxes.extend(other.boxes);
        self.labels.extend(other.labels);
        self.ignore.extend(other.ignore);
        self.origins.extend(other.origins);
        self.dropped.extend(other.dropped);
    }
}
