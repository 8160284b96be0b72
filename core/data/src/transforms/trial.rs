//! For tests: a transform read from text, run on a small sample with given draws.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Context, Files, Outcome, Saved, build};
use crate::image::{Image, Samples};
use crate::pixels::Pixels;
use crate::random::Counter;
use crate::sample::{DataInfo, Instance, Sample, Segmentation};
use crate::structures::{GroundTruth, Masks, Origin, Xyxy};
use smalti_config::parse_value;

/// A file system with one file.
pub struct OneFile<'a>(pub &'a str, pub &'a [u8]);

impl Files for OneFile<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == self.0 {
            Ok(self.1.to_vec())
        } else {
            Err("no such file".into())
        }
    }
}

/// The messages of a config that is not taken.
pub fn refused(text: &str) -> String {
    let problems = build(&parse_value(text).unwrap()).expect_err(text);
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("\n")
}

/// Runs a transform, in exact mode; with `draws` if any are given.
pub fn run(text: &str, sample: Sample, draws: Option<Json>) -> Outcome {
    run_with(text, sample, draws, &OneFile("", &[]))
}

/// As [`run`], with files.
pub fn run_with(text: &str, sample: Sample, draws: Option<Json>, files: &dyn Files) -> Outcome {
    let step = build(&parse_value(text).unwrap()).unwrap_or_else(|p| panic!("{text}: {p:?}"));
    let (mut random, pixels) = (Counter::new(0), Pixels::cpu().exact(true));
    let mut cx = Context::new(&mut random, &pixels, files);
    cx.replay = draws.map(|params| {
        let name = step.name().to_owned();
        VecDeque::from([Saved { name, params }])
    });
    step.run(sample, &mut cx)
}

/// A picture of `[width, height]` whose blue is the column, green the row, and objects with rectangles as masks.
pub fn sample([width, height]: [usize; 2], boxes: &[Xyxy]) -> Sample {
    let pixels = (0..width * height).flat_map(|i| [(i % width) as u8, (i / width) as u8, 7]);
    let mut sample = Sample::new(Arc::default());
    sample.set_image(Image::new(
        [width, height],
        3,
        Samples::U8(pixels.collect()),
    ));
    sample.ori_shape = sample.img_shape;
    sample.has_boxes = true;
    let masks = boxes.iter().map(|b| {
        let inside = |i: usize| {
            let [x, y] = [i % width, i / width].map(|v| v as f32);
            u8::from(x >= b[0] && x < b[2] && y >= b[1] && y < b[3])
        };
        (0..width * height).map(inside).collect()
    });
    sample.gt = GroundTruth {
        boxes: boxes.to_vec(),
        labels: (0..boxes.len() as i64).collect(),
        ignore: vec![false; boxes.len()],
        masks: Some(Masks::bitmaps([width, height], masks.collect())),
        origins: vec![Origin::default(); boxes.len()],
        dropped: Vec::new(),
    };
    sample
}

/// The sample of a data set, before loading.
pub fn unloaded(path: &str, objects: Vec<(Xyxy, Segmentation)>) -> Sample {
    let instances = objects
        .into_iter()
        .enumerate()
        .map(|(i, (bbox, mask))| Instance {
            bbox,
            label: i as i64 + 1,
            ignore: false,
            mask,
        });
    Sample::new(Arc::new(DataInfo {
        img_path: path.into(),
        index: 5,
        instances: instances.collect(),
        ..DataInfo::default()
    }))
}

/// The samples of a picture.
pub fn pixels(sample: &Sample) -> Samples {
    let samples = Pixels::cpu()
        .exact(true)
        .read_blocking(&sample.image)
        .unwrap();
    (*samples).clone()
}
