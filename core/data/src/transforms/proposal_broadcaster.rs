//! `ProposalBroadcaster` of mmdet 3.3 (datasets/transforms/wrappers.py): its transforms do to proposals what they do to boxes, with the same draws.

use std::sync::Arc;

use serde::Deserialize;

use super::broadcaster::{one, shared};
use super::compose::all;
use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::sample::Sample;
use crate::structures::{GroundTruth, Origin, Proposals};
use smalti_config::{Diagnostics, Node};

const NAME: &str = "ProposalBroadcaster";

/// Transforms for objects and proposals.
#[derive(Debug)]
pub struct ProposalBroadcaster {
    steps: Vec<Box<dyn Transform>>,
}

impl Transform for ProposalBroadcaster {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let Some(proposals) = sample.proposals.clone() else {
            let what = "`ProposalBroadcaster` needs proposals: write dict(type='LoadProposals') before it, or its transforms without it";
            return Err(Fault::Transform(what.into()));
        };
        let mut other = sample.clone();
        other.gt = as_objects(&proposals);
        other.has_boxes = true;
        let run = |sample: Sample, cx: &mut Context<'_>| one(NAME, &self.steps, sample, cx);
        let (mut sample, others) = shared(run, sample, vec![other], cx)?;
        let moved = others.into_iter().next().map(|other| other.gt);
        sample.proposals = moved.map(|moved| Arc::new(of_objects(moved, &proposals)));
        Ok(Some(sample))
    }

    fn children(&self) -> Vec<&dyn Transform> {
        all(&self.steps)
    }
}

/// Proposals as transforms see objects.
fn as_objects(proposals: &Proposals) -> GroundTruth {
    let count = proposals.boxes.len();
    let origin = |object| Origin { picture: 0, object };
    GroundTruth {
        boxes: proposals.boxes.clone(),
        labels: vec![0; count],
        ignore: vec![false; count],
        origins: (0..count as u32).map(origin).collect(),
        ..GroundTruth::default()
    }
}

/// What has become of them.
fn of_objects(moved: GroundTruth, before: &Proposals) -> Proposals {
    let score = |origin: &Origin| before.scores[origin.object as usize];
    Proposals {
        scores: moved.origins.iter().map(score).collect(),
        boxes: moved.boxes,
    }
}

#[derive(Deserialize)]
struct Config {
    transforms: Option<Node>,
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    let steps = config.transforms.as_ref();
    Ok(Box::new(ProposalBroadcaster {
        steps: steps.map_or(Ok(Vec::new()), |t| look.steps(t))?,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, built, replayed};
    use super::super::trial::{run, sample};
    use super::*;

    fn with_proposals(boxes: &[[f32; 4]]) -> Sample {
        let mut picture = sample([20, 10], &[[1.0, 1.0, 5.0, 6.0]]);
        picture.gt.masks = None;
        picture.proposals = Some(Arc::new(Proposals {
            boxes: boxes.to_vec(),
            scores: (0..boxes.len()).map(|i| i as f32).collect(),
        }));
        picture
    }

    /// Twice the size and mirrored: both by one draw.
    #[test]
    fn moves_with_the_objects() {
        let text = "dict(type='ProposalBroadcaster', transforms=[dict(type='Resize', scale=(40, 20), keep_ratio=True), dict(type='RandomFlip', prob=0.5)])";
        let boxes = [[2.0, 3.0, 4.0, 30.0], [0.0, 0.0, 1.0, 1.0]];
        let choice =
            json!([["np.choice", [["horizontal", null]], {"p": [0.5, 0.5]}, "horizontal"]]);
        let (done, saved) = replayed(text, with_proposals(&boxes), choice);
        let done = done.unwrap();
        assert_eq!(done.gt.boxes, [[30.0, 2.0, 38.0, 12.0]]);
        let moved = done.proposals.unwrap();
        // cut at the picture's end
        let expected = [[32.0, 6.0, 36.0, 20.0], [38.0, 0.0, 40.0, 2.0]];
        assert_eq!(moved.boxes, expected);
        assert_eq!(moved.scores, [0.0, 1.0]);
        assert_eq!(saved.len(), 2, "one for each transform: {saved:?}");
        assert_eq!(done.img_shape, [20, 40]);
    }

    #[test]
    fn scores_stay_with_their_boxes() {
        let text = "dict(type='ProposalBroadcaster', transforms=dict(type='FilterAnnotations', min_gt_bbox_wh=(3, 3)))";
        let boxes = [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 9.0, 9.0]];
        let done = after(text, with_proposals(&boxes), json!([]));
        let moved = done.proposals.unwrap();
        assert_eq!(moved.boxes, [boxes[1]]);
        assert_eq!(moved.scores, [1.0]);
        assert_eq!(built(text).children()[0].name(), "FilterAnnotations");
    }

    #[test]
    fn none_are_an_error() {
        let text = "dict(type='ProposalBroadcaster', transforms=[])";
        let error = run(text, sample([2, 2], &[]), None).unwrap_err();
        assert!(error.to_string().contains("dict(type='LoadProposals')"));
    }
}
