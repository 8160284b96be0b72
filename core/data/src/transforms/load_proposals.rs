//! `LoadProposals` of mmdet 3.3 (datasets/transforms/loading.py): where objects may be, as the data set's `proposal_file` says.

use std::sync::Arc;

use serde::Deserialize;

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::Proposals;
use smalti_config::{Diagnostics, Node};

/// Proposals of a picture, which all are looked at.
const MOST: usize = 65_536;

/// Takes the first proposals, which are the best where they were sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadProposals {
    /// How many, as the end of a Python slice.
    num_max_proposals: Option<i64>,
}

impl LoadProposals {
    fn chosen(&self, known: &Proposals) -> Result<Proposals, Fault> {
        let all = known.boxes.len();
        let most = match self.num_max_proposals {
            None => all,
            Some(most) => match usize::try_from(most) {
                Ok(most) => most.min(all),
                Err(_) => all.saturating_sub(most.unsigned_abs() as usize),
            },
        };
        let fault = |what: String| Err(Fault::Transform(what));
        if most > MOST {
            return fault(format!(
                "there are {most} proposals, at most {MOST} are possible: write num_max_proposals=2000 in `LoadProposals`"
            ));
        }
        let boxes = known.boxes[..most].to_vec();
        if let Some(i) = boxes.iter().position(|b| b.iter().any(|v| !v.is_finite())) {
            return fault(format!("proposal {i} is {:?}, which is no box", boxes[i]));
        }
        let scores = known.scores[..most].to_vec();
        Ok(Proposals { boxes, scores })
    }
}

impl Draws for LoadProposals {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "LoadProposals"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
        let Some(known) = &sample.info.proposals else {
            let what = "there are no proposals: `proposal_file` of the data set names their file, `--proposals` that of `smalti detect`";
            return Err(Fault::Transform(what.into()));
        };
        sample.proposals = Some(Arc::new(self.chosen(known)?));
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    num_max_proposals: Option<i64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let Config { num_max_proposals } = node.read()?;
    Ok(Box::new(LoadProposals { num_max_proposals }))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{run, sample};
    use super::*;
    use crate::sample::DataInfo;

    fn loaded(options: &str, boxes: &[[f32; 4]]) -> Result<Proposals, String> {
        let mut picture = sample([9, 9], &[]);
        picture.info = Arc::new(DataInfo {
            proposals: Some(Arc::new(Proposals {
                boxes: boxes.to_vec(),
                scores: (0..boxes.len()).map(|i| 1.0 / i as f32).collect(),
            })),
            ..DataInfo::default()
        });
        let text = format!("dict(type='LoadProposals'{options})");
        let done = run(&text, picture, None).map_err(|e| e.to_string())?;
        Ok((*done.unwrap().proposals.unwrap()).clone())
    }

    #[test]
    fn the_first_ones() {
        let boxes = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 9.0, 9.0], [5.0; 4]];
        for (options, count) in [
            ("", 3),
            (", num_max_proposals=None", 3),
            (", num_max_proposals=2", 2),
            (", num_max_proposals=7", 3),
            (", num_max_proposals=-1", 2),
            (", num_max_proposals=-7", 0),
        ] {
            let found = loaded(options, &boxes).unwrap();
            assert_eq!(found.boxes, boxes[..count], "{options}");
            assert_eq!(found.scores.len(), count);
        }
    }

    #[test]
    fn what_is_no_box() {
        let error = loaded("", &[[0.0; 4], [0.0, f32::NAN, 1.0, 1.0]]).unwrap_err();
        assert!(error.contains("proposal 1 is [0.0, NaN"), "{error}");
        let many = vec![[0.0; 4]; MOST + 1];
        let error = loaded("", &many).unwrap_err();
        assert!(error.contains("65537 proposals"), "{error}");
        assert!(loaded(", num_max_proposals=9", &many).is_ok());
        let none = run("dict(type='LoadProposals')", sample([9, 9], &[]), None);
        let error = none.unwrap_err().to_string();
        assert!(error.contains("`proposal_file` of the data set"), "{error}");
    }
}
