//! [`Instances`]: what was found in one picture.

use super::{Masks, Xyxy};

/// What was found in one picture, in descending order of score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instances {
    /// xyxy px.
    pub boxes: Vec<Xyxy>,
    /// 0 to 1.
    pub scores: Vec<f32>,
    /// Class indices.
    pub labels: Vec<usize>,
    /// One for each box, from models that give masks.
    pub masks: Option<Masks>,
}

impl Instances {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Adds one without a mask.
    pub fn push(&mut self, bbox: Xyxy, score: f32, label: usize) {
        self.boxes.push(bbox);
        self.scores.push(score);
        self.labels.push(label);
    }

    /// The first `count`, or all where there are not so many.
    pub fn truncate(&mut self, count: usize) {
        self.boxes.truncate(count);
        self.scores.truncate(count);
        self.labels.truncate(count);
        if let Some(masks) = self.masks.take() {
            let kept: Vec<usize> = (0..count.min(masks.len())).collect();
            self.masks = Some(masks.select(&kept));
        }
    }
}
