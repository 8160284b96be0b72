//! A data set for tests: small pictures of one colour.

use std::sync::Arc;

use super::{Dataset, MetaInfo, SampleError};
use crate::coco::ImageId;
use crate::image::{Image, Samples};
use crate::picture::Fault;
use crate::random::{Answer, Call, Random, RandomError};
use crate::sample::{DataInfo, Sample};
use crate::structures::{GroundTruth, Masks, Origin};
use crate::transforms::{Context, Files, Transform, build_all};
use smalti_config::parse_value;

/// Picture i has the grey i + 1, and an object of label i that fills it.
#[derive(Debug)]
pub struct Flat {
    /// Width and height of each.
    pub sizes: Vec<[usize; 2]>,
    /// Those without objects.
    pub empty: Vec<usize>,
    /// Those that cannot be read.
    pub broken: Vec<usize>,
    /// Those at which a worker panics.
    pub panics: Vec<usize>,
    /// Objects have masks.
    pub masks: bool,
    /// Run on each.
    pub pipeline: Vec<Box<dyn Transform>>,
    pub meta: MetaInfo,
}

impl Flat {
    pub fn new(sizes: &[[usize; 2]]) -> Self {
        Self {
            sizes: sizes.to_vec(),
            empty: Vec::new(),
            broken: Vec::new(),
            panics: Vec::new(),
            masks: false,
            pipeline: Vec::new(),
            meta: MetaInfo::default(),
        }
    }

    /// Picture `index` before the pipeline.
    pub fn sample(&self, index: usize) -> Sample {
        let size = self.sizes[index];
        let [w, h] = size;
        let mut sample = Sample::new(self.info(index));
        sample.has_boxes = true;
        let grey = index as u8 + 1;
        sample.set_image(Image::new(size, 3, Samples::U8(vec![grey; w * h * 3])));
        if !self.empty.contains(&index) {
            let masks = Masks::bitmaps(size, vec![vec![1; w * h].into()]);
            sample.gt = GroundTruth {
                boxes: vec![[0.0, 0.0, w as f32, h as f32]],
                labels: vec![index as i64],
                ignore: vec![false],
                masks: self.masks.then_some(masks),
                origins: vec![Origin {
                    picture: index as u32,
                    object: 0,
                }],
                dropped: Vec::new(),
            };
        } else if self.masks {
            sample.gt.masks = Some(Masks::none(w, h));
        }
        sample
    }
}

impl Dataset for Flat {
    fn len(&self) -> usize {
        self.sizes.len()
    }

    fn meta(&self) -> &MetaInfo {
        &self.meta
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        Arc::new(DataInfo {
            img_path: format!("{index}.png"),
            img_id: Some(ImageId::Number(index as i64)),
            index,
            ..DataInfo::default()
        })
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        assert!(!self.panics.contains(&index), "picture {index}");
        let error = |problem| SampleError {
            path: format!("{index}.png"),
            id: Some(ImageId::Number(index as i64)),
            problem,
        };
        if self.broken.contains(&index) {
            return Err(error(Fault::Truncated));
        }
        cx.run_all(&self.pipeline, self.sample(index))
            .map_err(error)
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &self.pipeline
    }
}

/// Transforms of a config's text.
pub fn steps(text: &str) -> Vec<Box<dyn Transform>> {
    let node = parse_value(text).unwrap_or_else(|e| panic!("{e}"));
    build_all(Some(&node)).unwrap_or_else(|e| panic!("{e:?}"))
}

/// What is wrong with a transform of a config's text.
pub fn refused(text: &str) -> String {
    let node = parse_value(&format!("[{text}]")).unwrap_or_else(|e| panic!("{e}"));
    let problems = build_all(Some(&node)).err().unwrap_or_default();
    let lines: Vec<_> = problems.iter().map(|p| p.message.clone()).collect();
    lines.join("; ")
}

/// There are none.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("no files".into())
    }
}

/// Answers given beforehand, each for one call, which is written down.
#[derive(Default)]
pub struct Scripted {
    pub answers: std::collections::VecDeque<Answer>,
    pub calls: Vec<Call>,
}

impl Scripted {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: answers.into_iter().collect(),
            calls: Vec::new(),
        }
    }
}

impl Random for Scripted {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        self.calls.push(call);
        let answer = self.answers.pop_front();
        answer.ok_or_else(|| RandomError("no answer is left".into()))
    }
}
