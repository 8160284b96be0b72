//! Hand-made samples and draws, for the tests of transforms.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Context, Files, Outcome, Saved, Transform, build};
use crate::image::{Image, Samples};
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::{Draw, Numpy, Replay};
use crate::sample::{DataInfo, Sample};
use crate::structures::{GroundTruth, Masks, Origin, Xyxy};
use smalti_config::{Node, parse_value};

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("no file {path} in this test"))
    }
}

/// A config as it is written.
pub fn config(text: &str) -> Node {
    parse_value(text).expect("a config")
}

/// The transform that a config names.
pub fn built(text: &str) -> Box<dyn Transform> {
    build(&config(text)).unwrap_or_else(|p| panic!("{text}: {p:?}"))
}

/// Messages of the mistakes in a config.
pub fn mistakes(text: &str) -> Vec<String> {
    let problems = build(&config(text)).expect_err(text);
    problems.into_iter().map(|p| p.message).collect()
}

/// A picture whose three channels are all `values`, in rows.
pub fn grey([width, height]: [usize; 2], values: &[u8]) -> Sample {
    let mut sample = Sample::new(Arc::new(DataInfo::default()));
    let bgr = values.iter().flat_map(|v| [*v; 3]).collect();
    sample.set_image(Image::new([width, height], 3, Samples::U8(bgr)));
    sample.ori_shape = sample.img_shape;
    sample.has_boxes = true;
    sample
}

/// A picture of one value.
pub fn plain(size: [usize; 2], value: u8) -> Sample {
    grey(size, &vec![value; size[0] * size[1]])
}

/// The same picture as f32.
pub fn as_float(mut sample: Sample) -> Sample {
    let (size, bytes) = (sample.image.size(), first_channel(&sample));
    let floats = bytes.iter().flat_map(|v| [*v; 3]).collect();
    sample.set_image(Image::new(size, 3, Samples::F32(floats)));
    sample
}

/// The sample with these objects; each has a bitmap that is its box.
pub fn with_boxes(mut sample: Sample, boxes: &[Xyxy]) -> Sample {
    let [width, height] = sample.image.size();
    let bitmap = |b: &Xyxy| {
        let inside = |i: usize| {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            u8::from(x >= b[0] && x < b[2] && y >= b[1] && y < b[3])
        };
        (0..width * height).map(inside).collect()
    };
    let number = boxes.len() as u32;
    sample.gt = GroundTruth {
        boxes: boxes.to_vec(),
        labels: (0..number.into()).collect(),
        ignore: vec![false; boxes.len()],
        masks: Some(Masks::bitmaps(
            [width, height],
            boxes.iter().map(bitmap).collect(),
        )),
        origins: (0..number)
            .map(|object| Origin { picture: 0, object })
            .collect(),
        dropped: Vec::new(),
    };
    sample
}

/// Runs a transform with recorded draws, all of which it must make; gives what was saved too.
pub fn replayed(text: &str, sample: Sample, draws: Json) -> (Result<Sample, Fault>, Vec<Saved>) {
    let draws: Vec<Draw> = serde_json::from_value(draws).expect("draws");
    let mut random = Replay::new(draws);
    let pixels = Pixels::cpu().exact(true);
    let mut cx = Context::new(&mut random, &pixels, &NoFiles);
    cx.saved = Some(Vec::new());
    let outcome = built(text).run(sample, &mut cx);
    let saved = cx.saved.take().unwrap_or_default();
    if outcome.is_ok() {
        let left = random.left();
        assert!(left.is_empty(), "not drawn: {left:?}");
    }
    (outcome.map(|s| s.expect("a sample")), saved)
}

/// As [`replayed`], where all goes well.
pub fn after(text: &str, sample: Sample, draws: Json) -> Sample {
    let (sample, _) = replayed(text, sample, draws);
    sample.unwrap_or_else(|p| panic!("{text}: {p}"))
}

/// Runs a transform with draws of a seed, or with saved ones; gives what was saved.
pub fn run_with(
    transform: &dyn Transform,
    sample: &Sample,
    seed: u64,
    replay: Option<Vec<Saved>>,
) -> (Outcome, Vec<Saved>) {
    let mut random = Numpy::new(seed);
    let pixels = Pixels::cpu().exact(true);
    let mut cx = Context::new(&mut random, &pixels, &NoFiles);
    cx.saved = Some(Vec::new());
    cx.replay = replay.map(Into::into);
    let outcome = transform.run(sample.clone(), &mut cx);
    (outcome, cx.saved.take().unwrap_or_default())
}

/// Runs a transform with the parameters of a saved draw.
pub fn with_params(text: &str, sample: Sample, params: Json) -> Outcome {
    let transform = built(text);
    let mut random = Replay::new([]);
    let pixels = Pixels::cpu().exact(true);
    let mut cx = Context::new(&mut random, &pixels, &NoFiles);
    let name = transform.name().to_owned();
    cx.replay = Some([Saved { name, params }].into());
    transform.run(sample, &mut cx)
}

/// The first channel, in rows.
pub fn first_channel(sample: &Sample) -> Vec<f32> {
    let samples = Pixels::cpu().read_blocking(&sample.image).expect("pixels");
    let channels = sample.image.channels();
    match &*samples {
        Samples::U8(v) => v.iter().step_by(channels).map(|v| f32::from(*v)).collect(),
        Samples::F32(v) => v.iter().step_by(channels).copied().collect(),
    }
}

/// Pixels of each mask.
pub fn areas(sample: &Sample) -> Vec<f64> {
    sample.masks().expect("masks").areas()
}
