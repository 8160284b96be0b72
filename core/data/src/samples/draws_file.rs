//! The JSON form of a [`Trace`], version 1: written to be compared and to be replayed with another config or picture.
//!
//! The README documents it. Read it back with [`read`], which also takes a recording of numpy's calls alone.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::coco::ImageId;
use crate::pixels::Direction;
use crate::random::Draw;
use crate::sample::Sample;
use crate::structures::{Dropped, Origin, Reason, Xyxy};
use crate::trace::{Step, Trace, why};
use crate::transforms::Saved;

/// The form's version.
pub const VERSION: u64 = 1;
/// A larger file is refused.
pub const MOST_BYTES: u64 = 64 << 20;
/// More draws than any pipeline makes.
const MOST_DRAWS: usize = 1_000_000;

/// The file.
#[derive(Clone, Debug, Serialize)]
pub struct DrawsFile {
    /// [`VERSION`].
    pub smalti_draws: u64,
    /// Where the sample comes from.
    #[serde(flatten)]
    pub of: Of,
    /// Why the pipeline went no further.
    pub error: Option<String>,
    /// All draws in order: what a replay takes.
    pub saved: Vec<Saved>,
    /// One entry a transform, in the order in which they ended; one for each sample of TestTimeAug.
    pub steps: Vec<Record>,
}

/// Where a sample comes from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Of {
    /// The config's file.
    pub config: String,
    /// `train`, `val` or `test`.
    pub split: String,
    /// Index in the data set.
    pub index: usize,
    /// The picture's file.
    pub img_path: String,
    /// Its id.
    pub img_id: Option<ImageId>,
    /// Where random numbers began; `None` for a replay.
    pub seed: Option<u64>,
    /// `counter`, `numpy` or `replay`.
    pub random: String,
    /// Interpolated step by step, as MMDetection does.
    pub exact: bool,
}

/// A transform, what it drew, and the sample after it.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The transform.
    #[serde(rename = "type")]
    pub name: String,
    /// What it drew.
    pub params: Option<Json>,
    /// The pictures that it mixed in.
    pub indexes: Option<Json>,
    /// Random calls since the step before: function, arguments, keywords, result.
    pub draws: Vec<Draw>,
    /// File of the picture after it, beside this file.
    pub picture: Option<String>,
    /// Index of the picture in its data set: another one once the pipeline drops a picture.
    pub picture_index: usize,
    /// Height and width.
    pub img_shape: [usize; 2],
    /// x and y.
    pub scale_factor: Option<[f64; 2]>,
    /// Whether and how it was mirrored by the last RandomFlip.
    pub flip: Option<bool>,
    /// See `flip`.
    pub flip_direction: Option<Direction>,
    /// [N, 4], xyxy, px.
    pub boxes: Vec<Xyxy>,
    /// `[N]`.
    pub labels: Vec<i64>,
    /// `[N]`, names of the labels.
    pub classes: Vec<String>,
    /// `[N]`.
    pub ignore: Vec<bool>,
    /// `[N]`, where each came from.
    pub origins: Vec<Origin>,
    /// `[N]`, px; `None` without masks.
    pub mask_areas: Option<Vec<f64>>,
    /// [N, 4], the boxes around the masks.
    pub mask_boxes: Option<Vec<Xyxy>>,
    /// Objects left out since the step before.
    pub dropped: Vec<Left>,
}

/// An object that was left out.
#[derive(Clone, Debug, Serialize)]
pub struct Left {
    /// Where it came from.
    pub origin: Origin,
    /// Index of its class.
    pub label: i64,
    /// Its name.
    pub class: String,
    /// The last box it had, px.
    pub bbox: Xyxy,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub why: &'static str,
}

/// The name of a label, or `class 12` where there is none.
pub fn class_name(classes: &[String], label: i64) -> String {
    let name = usize::try_from(label).ok().and_then(|i| classes.get(i));
    name.cloned().unwrap_or_else(|| format!("class {label}"))
}

impl DrawsFile {
    /// Of a trace, without pictures.
    pub fn new(of: Of, trace: &Trace, classes: &[String]) -> Self {
        Self {
            smalti_draws: VERSION,
            of,
            error: trace.error.as_ref().map(ToString::to_string),
            saved: trace.saved.clone(),
            steps: trace
                .steps
                .iter()
                .flat_map(|step| step.samples().into_iter().map(move |s| (step, s)))
                .map(|(step, sample)| Record::new(step, sample, classes))
                .collect(),
        }
    }
}

impl Record {
    fn new(step: &Step, sample: &Sample, classes: &[String]) -> Self {
        let gt = &sample.gt;
        Self {
            name: step.name.clone(),
            params: step.params.clone(),
            indexes: step.indexes.clone(),
            draws: step.draws.clone(),
            picture: None,
            picture_index: sample.info.index,
            img_shape: sample.img_shape,
            scale_factor: sample.scale_factor,
            flip: sample.flip,
            flip_direction: sample.flip_direction,
            boxes: gt.boxes.clone(),
            labels: gt.labels.clone(),
            classes: gt.labels.iter().map(|l| class_name(classes, *l)).collect(),
            ignore: gt.ignore.clone(),
            origins: gt.origins.clone(),
            mask_areas: sample.masks().map(|m| m.areas()),
            mask_boxes: sample.masks().map(|m| m.boxes()),
            dropped: step.dropped.iter().map(|d| Left::new(d, classes)).collect(),
        }
    }
}

impl Left {
    fn new(dropped: &Dropped, classes: &[String]) -> Self {
        Self {
            origin: dropped.origin,
            label: dropped.label,
            class: class_name(classes, dropped.label),
            bbox: dropped.bbox,
            reason: dropped.reason,
            why: why(dropped.reason),
        }
    }
}

/// What a file holds that can be replayed.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayable {
    /// A [`DrawsFile`]'s.
    Saved {
        /// The draws of all transforms in order.
        saved: Vec<Saved>,
        /// Of which picture they were.
        index: Option<usize>,
    },
    /// Calls of numpy's and their results.
    Raw(Vec<Draw>),
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `smalti_draws` or `draws`")]
struct Read {
    smalti_draws: Option<u64>,
    index: Option<usize>,
    saved: Option<Vec<Saved>>,
    steps: Option<Vec<ReadStep>>,
    draws: Option<Vec<Draw>>,
}

#[derive(Deserialize)]
struct ReadStep {
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    params: Json,
    #[serde(default)]
    indexes: Json,
}

/// Reads a [`DrawsFile`], or a recording: an object with `draws`, a list of `[function, args, kwargs, result]`.
///
/// # Errors
/// Says what is wrong with the file and what would be right.
pub fn read(bytes: &[u8]) -> Result<Replayable, String> {
    let file: Read = serde_json::from_slice(smalti_config::text_file::unmarked(bytes))
        .map_err(|e| format!("not a file of draws (`smalti browse --json` writes them): {e}"))?;
    let few = |n: usize| {
        if n > MOST_DRAWS {
            Err(format!("{n} draws are more than the limit of {MOST_DRAWS}"))
        } else {
            Ok(())
        }
    };
    match (file.smalti_draws, file.draws) {
        (Some(VERSION), _) => {}
        (Some(other), _) => {
            return Err(format!(
                "`smalti_draws` is {other}, this program reads version {VERSION}"
            ));
        }
        (None, Some(draws)) => {
            few(draws.len())?;
            return Ok(Replayable::Raw(draws));
        }
        (None, None) => {
            return Err(
                "there is neither `smalti_draws` nor `draws` in it: `smalti browse --json` writes such files"
                    .into(),
            );
        }
    }
    let saved = match (file.saved, file.steps) {
        (Some(saved), _) => saved,
        // Written by hand: right where no transform holds others.
        (None, Some(steps)) => {
            let saved = steps.into_iter().flat_map(|step| {
                let choice = (!step.indexes.is_null()).then(|| Saved {
                    name: format!("{}.indexes", step.name),
                    params: step.indexes,
                });
                choice.into_iter().chain([Saved {
                    name: step.name,
                    params: step.params,
                }])
            });
            saved.collect()
        }
        (None, None) => return Err("it has neither `saved` nor `steps`".into()),
    };
    few(saved.len())?;
    Ok(Replayable::Saved {
        saved,
        index: file.index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_text(text: &str) -> Result<Replayable, String> {
        read(text.as_bytes())
    }

    #[test]
    fn three_forms() {
        let saved = |name: &str, params| Saved {
            name: name.into(),
            params,
        };
        let text = r#"{"smalti_draws": 1, "index": 3, "saved": [{"type": "RandomFlip", "params": "horizontal"}], "steps": [], "else": 1}"#;
        assert_eq!(
            read_text(text),
            Ok(Replayable::Saved {
                saved: vec![saved("RandomFlip", json!("horizontal"))],
                index: Some(3)
            })
        );
        let text = r#"{"smalti_draws": 1, "steps": [{"type": "Mosaic", "indexes": [1, 2, 3], "params": {"x": 1}}, {"type": "Pad"}]}"#;
        let Ok(Replayable::Saved { saved: list, .. }) = read_text(text) else {
            panic!("steps alone are read");
        };
        assert_eq!(
            list,
            [
                saved("Mosaic.indexes", json!([1, 2, 3])),
                saved("Mosaic", json!({"x": 1})),
                saved("Pad", Json::Null),
            ]
        );
        let text = r#"{"draws": [["np.uniform", [0, 1], {}, 0.5]], "seed": 4}"#;
        let Ok(Replayable::Raw(draws)) = read_text(text) else {
            panic!("a recording is read");
        };
        assert_eq!(draws[0].3, json!(0.5));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("", "not a file of draws"),
            ("[1]", "not a file of draws"),
            ("{}", "neither `smalti_draws` nor `draws`"),
            (r#"{"smalti_draws": 2, "saved": []}"#, "reads version 1"),
            (r#"{"smalti_draws": 1}"#, "neither `saved` nor `steps`"),
            (r#"{"smalti_draws": -1}"#, "not a file of draws"),
            (r#"{"draws": [["np.uniform", 1]]}"#, "not a file of draws"),
            (
                r#"{"smalti_draws": 1, "saved": [{"params": 1}]}"#,
                "missing field `type`",
            ),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = format!(
            r#"{{"draws": [["a", {}{}, {{}}, 1]]}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert!(read_text(&deep).unwrap_err().contains("recursion limit"));
    }
}
