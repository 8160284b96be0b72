//! Evaluation: a detector over a data set, to the figures of its metrics. What `smalti test` runs, and a trainer's validation with the model
//! that it trains.
//!
//! A [`TestSet`] is what a config's `test_dataloader` and `test_evaluator` (or those of `val`) say. [`TestSet::run`] is the walk: samples, made by
//! threads in the dataloader's order and batches -> the batch -> [`predict`] -> the metrics. With test-time augmentation every batch is run once for each
//! version of its pictures, and what was found in all is merged (`DetTTAModel` of mmdet 3.3, models/test_time_augs/det_tta.py).

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use smalti_shaders::reference::nms::batched_nms;

use crate::config::{Config, Diagnostic, Diagnostics, Node, Value, error_at, parse_value};
use crate::data::datasets::{self, Dataset, SampleError, legacy};
use crate::data::evaluate::{EvaluateError, Evaluator, Given, Report};
use crate::data::loader::{Loader, LoaderOptions};
use crate::data::packed::Packed;
use crate::data::pixels::Pixels;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::data::sample::{DataInfo, Sample};
use crate::data::samplers::Sampling;
use crate::data::transforms::Files;
use crate::data::{Lookup, Meta};
use crate::detectors::{Detector, detectron2};
use crate::heads::test_cfg;
use crate::model;
use crate::ops::detections::Select;
use crate::predict::{PredictError, batch, predict};
use crate::probe::Probe;
use crate::registry::Registry;
use crate::structures::{Direction, Instances, Masks, Xyxy};

/// Pictures that run together at most, whatever `batch_size` says.
const MOST_PICTURES: usize = 64;

/// A data set to evaluate on, and the metrics.
#[derive(Debug)]
pub struct TestSet {
    loader: Loader,
    evaluator: Evaluator,
    preprocessor: DetDataPreprocessor,
    /// How what was found in versions of a picture is merged.
    tta: Option<Select>,
}

/// How a [`TestSet`] is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestOptions {
    /// Threads that make samples.
    pub workers: usize,
    /// Test-time augmentation: the config's `tta_pipeline` and `tta_model`; where it has none, both the picture and its mirror image, as
    /// MMDetection's `tools/test.py --tta` does.
    pub tta: bool,
}

/// Told of every picture.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Pictures that are done.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// Its batch's number, from 0.
    pub batch: usize,
    /// Its place in that, from 0.
    pub place: usize,
    /// What the data set knows of it.
    pub info: &'a Arc<DataInfo>,
    /// What was found in it.
    pub found: &'a Instances,
}

impl TestSet {
    /// Reads what a config says of `split`, `test` or `val`. Where it has no `test_dataloader` or `test_evaluator`, those of `val` are taken.
    ///
    /// # Errors
    /// Everything wrong in it, each with its place; an annotation file that cannot be read; no data set or evaluator.
    pub fn read(
        config: &Config,
        registry: &Registry,
        split: &str,
        files: Arc<dyn Files>,
        options: TestOptions,
    ) -> Result<Self, Diagnostics> {
        detectron2::check_test(config)?;
        let look = Lookup::of(registry, config);
        let splits = [split, "val"];
        let has = |split: &str| legacy::dataloader(config, split).0.is_some();
        let loaded = splits.into_iter().find(|s| has(s)).unwrap_or(split);
        let (dataset, tta) = match options.tta {
            false => (
                datasets::from_config_with(config, loaded, &*files, look)?,
                None,
            ),
            true => augmented(config, loaded, &*files, look)?,
        };
        let sampling = Sampling::read(config, loaded, look, 0)?;
        if sampling.sampler.is_endless() {
            let message = format!("the sampler of `{loaded}_dataloader` has no end");
            let help = "write sampler=dict(type='DefaultSampler', shuffle=False)";
            return Err(error_at(
                &config.root,
                &format!("{loaded}_dataloader"),
                message,
                help,
            ));
        }
        let key = |split: &&str| {
            let node = config.get(&format!("{split}_evaluator"));
            node.filter(|n| !n.is_none())
        };
        let Some(evaluator) = splits.iter().find_map(key) else {
            let message = format!("this config has no `{split}_evaluator`");
            let help = format!(
                "write {split}_evaluator=dict(type='CocoMetric', ann_file='...', metric='bbox')"
            );
            return Err(vec![Diagnostic::error(message).help(help)]);
        };
        let given = Given {
            files: Some(&*files),
            meta: dataset.meta(),
        };
        let evaluator = Evaluator::read(evaluator, given, look)?;
        let preprocessor = crate::model::preprocessor(config)?;
        let loader = LoaderOptions {
            shuffle: false,
            workers: options.workers,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(dataset, Pixels::cpu().for_batch(), files, loader);
        let loader = loader.sampled(sampling).map_err(|what| {
            let error = Diagnostic::error(what);
            vec![error]
        })?;
        Ok(Self {
            loader,
            evaluator: evaluator.expect("metrics that have files are built"),
            preprocessor,
            tta,
        })
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        self.loader.dataset()
    }

    /// The metrics.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Runs `model`, whose weights are on `device`, over all pictures; `told` may end it.
    ///
    /// # Errors
    /// It was ended; a picture that cannot be read, a device that fails, detections that the metrics cannot count.
    pub async fn run(
        &mut self,
        model: &dyn Detector,
        device: &Device,
        told: &mut dyn FnMut(Told<'_>) -> ControlFlow<()>,
    ) -> Result<Report, TestError> {
        let total = self.loader.batches(0).iter().map(Vec::len).sum();
        let mut done = 0;
        self.evaluator.forget();
        let mut epoch = self.loader.epoch(0);
        for (batch, samples) in epoch.batches().enumerate() {
            let mut samples = samples.map_err(TestError::Sample)?.into_iter().peekable();
            let mut place = 0;
            while samples.peek().is_some() {
                let few: Vec<Sample> = samples.by_ref().take(MOST_PICTURES).collect();
                let known: Vec<_> = few.iter().map(|s| (s.info.clone(), s.ori_shape)).collect();
                let run = Run {
                    model,
                    device,
                    preprocessor: &self.preprocessor,
                };
                let found = match &self.tta {
                    None => run
                        .once(few)
                        .await?
                        .into_iter()
                        .map(|(_, found)| found)
                        .collect(),
                    Some(select) => run.merged(few, select).await?,
                };
                for ((info, shape), found) in known.iter().zip(&found) {
                    self.evaluator.add(info, *shape, found);
                    done += 1;
                    let told = told(Told {
                        done,
                        total,
                        batch,
                        place,
                        info,
                        found,
                    });
                    place += 1;
                    if told.is_break() {
                        return Err(TestError::Stopped);
                    }
                }
            }
        }
        drop(epoch);
        self.evaluator.compute().map_err(TestError::Evaluate)
    }
}

/// What running a batch needs.
struct Run<'a> {
    model: &'a dyn Detector,
    device: &'a Device,
    preprocessor: &'a DetDataPreprocessor,
}

impl Run<'_> {
    /// Samples to what is in them.
    async fn once(&self, samples: Vec<Sample>) -> Result<Vec<(Meta, Instances)>, TestError> {
        let unpacked = || {
            let what = "the test pipeline does not end with `PackDetInputs`";
            TestError::Predict(PredictError::Batch(what.into()))
        };
        let prepared: Option<Vec<Packed>> = samples.into_iter().map(Packed::of).collect();
        let batch = batch(
            prepared.ok_or_else(unpacked)?,
            self.model,
            self.preprocessor,
            self.device,
        )
        .map_err(TestError::Predict)?;
        let metas = batch.pictures.metas.clone();
        let found = predict(self.model, batch, &mut Probe::off()).await;
        let found = found.map_err(|e| TestError::Predict(e.into()))?;
        Ok(metas.into_iter().zip(found).collect())
    }

    /// The same, of all versions of the samples' pictures.
    async fn merged(
        &self,
        samples: Vec<Sample>,
        select: &Select,
    ) -> Result<Vec<Instances>, TestError> {
        let mut versions: Vec<Vec<Sample>> = samples.into_iter().map(|s| s.variants).collect();
        let number = versions.iter().map(Vec::len).min().unwrap_or(0);
        if number == 0 {
            let what = "the pipeline for test-time augmentation has no `TestTimeAug`";
            return Err(TestError::Predict(PredictError::Batch(what.into())));
        }
        versions.iter_mut().for_each(|v| v.reverse());
        let mut all: Vec<Vec<(Meta, Instances)>> = versions.iter().map(|_| Vec::new()).collect();
        for _ in 0..number {
            let next = versions.iter_mut().filter_map(Vec::pop).collect();
            for (own, found) in all.iter_mut().zip(self.once(next).await?) {
                own.push(found);
            }
        }
        Ok(all.into_iter().map(|own| merge(own, select)).collect())
    }
}

/// What was found in versions of one picture, as if in one.
fn merge(versions: Vec<(Meta, Instances)>, select: &Select) -> Instances {
    let mut all = Instances::default();
    let mut masks: Option<Masks> = None;
    let masked = versions.iter().all(|(_, found)| found.masks.is_some());
    for (meta, found) in versions {
        if let Some(own) = found.masks.filter(|_| masked) {
            let own = match meta.flip_direction {
                Some(direction) => own.flip(direction),
                None => own,
            };
            match &mut masks {
                Some(masks) => {
                    let fit = masks.append(own);
                    assert!(fit, "versions of a picture have masks of its own size");
                }
                None => masks = Some(own),
            }
        }
        for ((bbox, score), label) in found.boxes.iter().zip(found.scores).zip(found.labels) {
            all.push(flipped(*bbox, &meta), score, label);
        }
    }
    let groups: Vec<u32> = all.labels.iter().map(|l| *l as u32).collect();
    let mut kept = batched_nms(&all.boxes, &all.scores, &groups, &select.nms, all.len());
    // the end of a Python slice
    let most = match usize::try_from(select.max_per_img) {
        Ok(most) => most,
        Err(_) => kept
            .len()
            .saturating_sub(select.max_per_img.unsigned_abs() as usize),
    };
    kept.truncate(most);
    let mut out = Instances::default();
    // A box that is kept keeps its mask, which the original has not: it refuses masks here.
    let places: Vec<usize> = kept.iter().map(|(i, _)| *i).collect();
    out.masks = masks.map(|masks| masks.select(&places));
    for (i, score) in kept {
        out.push(all.boxes[i], score, all.labels[i]);
    }
    out
}

/// A box in a picture's mirror image, in the picture.
fn flipped([x1, y1, x2, y2]: Xyxy, meta: &Meta) -> Xyxy {
    let [height, width] = meta.ori_shape.map(|v| v as f32);
    match meta.flip_direction {
        None => [x1, y1, x2, y2],
        Some(Direction::Horizontal) => [width - x2, y1, width - x1, y2],
        Some(Direction::Vertical) => [x1, height - y2, x2, height - y1],
        Some(Direction::Diagonal) => [width - x2, height - y2, width - x1, height - y1],
    }
}

/// The data set with the pipeline for test-time augmentation, and how what is found is merged.
fn augmented(
    config: &Config,
    split: &str,
    files: &dyn Files,
    look: Lookup<'_>,
) -> Result<(Box<dyn Dataset>, Option<Select>), Diagnostics> {
    let given = |key: &str| config.get(key).filter(|n| !n.is_none());
    let made = |text: &str| parse_value(text).expect("our own text is a value");
    let pipeline = match given("tta_pipeline") {
        Some(node) => node.clone(),
        None => mirrored(
            config,
            made(
                "dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)], [dict(type='PackDetInputs')]])",
            ),
        )?,
    };
    let default = made("dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)");
    let select = match given("tta_model") {
        None => test_cfg::read(&default, 1)?,
        Some(node) => {
            let name = node.get("type").and_then(Node::as_type).unwrap_or_default();
            if name.rsplit('.').next() != Some("DetTTAModel") {
                let message = format!("the test-time augmentation `{name}` is not supported");
                return Err(error_at(node, "type", message, "write type='DetTTAModel'"));
            }
            let Some(cfg) = node.get("tta_cfg").filter(|n| !n.is_none()) else {
                let help = "for example tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)";
                return Err(error_at(
                    node,
                    "type",
                    "`DetTTAModel` has no `tta_cfg`",
                    help,
                ));
            };
            test_cfg::read(cfg, 1)?
        }
    };
    let loader = legacy::dataloader(config, split).0;
    let Some(dataset) = loader.as_ref().and_then(|l| l.get("dataset")) else {
        let message = format!("the config has no data set for `{split}`: no `{split}_dataloader`");
        return Err(error_at(&config.root, "", message, ""));
    };
    let dataset = datasets::build_with(&with_pipeline(dataset, &pipeline), files, look)?;
    Ok((dataset, Some(select)))
}

/// The test pipeline with `last` in place of its last step.
fn mirrored(config: &Config, last: Node) -> Result<Node, Diagnostics> {
    let pipeline = model::test_pipeline(config);
    let mut pipeline = pipeline.cloned().ok_or_else(|| {
        let error = Diagnostic::error("this config has no test pipeline");
        vec![error.help("test-time augmentation needs one, or a `tta_pipeline`")]
    })?;
    if let Value::List(steps) = &mut pipeline.value {
        let steps = Arc::make_mut(steps);
        steps.pop();
        steps.push(last);
    }
    Ok(pipeline)
}

/// A data set, or the one inside it, with another pipeline.
fn with_pipeline(node: &Node, pipeline: &Node) -> Node {
    let mut node = node.clone();
    if let Value::Dict(dict) = &mut node.value {
        if let Some(inner) = dict.get("dataset").map(|n| with_pipeline(n, pipeline)) {
            dict.set("dataset", inner);
        } else if let Some(inner) = dict.get("datasets").cloned() {
            let mut inner = inner;
            if let Value::List(all) = &mut inner.value {
                Arc::make_mut(all)
                    .iter_mut()
                    .for_each(|n| *n = with_pipeline(n, pipeline));
            }
            dict.set("datasets", inner);
        } else {
            dict.set("pipeline", pipeline.clone());
        }
    }
    node
}

/// Why [`TestSet::run`] gave no figures.
#[derive(Debug)]
pub enum TestError {
    /// A picture could not be read or prepared.
    Sample(SampleError),
    /// The model could not run.
    Predict(PredictError),
    /// The metrics could not count.
    Evaluate(EvaluateError),
    /// It was ended before all pictures were done.
    Stopped,
}

impl std::fmt::Display for TestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TestError::Sample(e) => write!(f, "{e}"),
            TestError::Predict(e) => write!(f, "{e}"),
            TestError::Evaluate(e) => write!(f, "{e}"),
            TestError::Stopped => write!(f, "it was ended before all pictures were done"),
        }
    }
}

impl std::error::Error for TestError {}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_shaders::reference::nms::NmsConfig;

    /// The mirror image's mask, 0 1 1 1, is 1 1 1 0 in the picture.
    #[test]
    fn boxes_that_are_kept_keep_their_masks() {
        let version = |flip_direction, bbox, score, mask: [u8; 4]| {
            let meta = Meta {
                ori_shape: [1, 4],
                flip_direction,
                ..Meta::default()
            };
            let mut found = Instances::default();
            found.push(bbox, score, 0);
            found.masks = Some(Masks::bitmaps([4, 1], vec![mask.into()]));
            (meta, found)
        };
        let config = parse_value("dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=4)");
        let select = test_cfg::read(&config.unwrap(), 1).unwrap();
        let plain = version(None, [0.0, 0.0, 3.0, 1.0], 0.5, [1, 1, 0, 0]);
        let mirrored = Some(Direction::Horizontal);
        let mirrored = version(mirrored, [1.0, 0.0, 4.0, 1.0], 0.8, [0, 1, 1, 1]);
        let merged = merge(vec![plain, mirrored], &select);
        assert_eq!(merged.boxes, [[0.0, 0.0, 3.0, 1.0]]);
        let bitmaps = merged.masks.unwrap().to_bitmaps();
        assert_eq!(bitmaps, [[1, 1, 1, 0].into()]);
    }

    #[test]
    fn versions_become_one() {
        let meta = |flip_direction| Meta {
            ori_shape: [100, 200],
            flip_direction,
            ..Meta::default()
        };
        let found = |boxes: &[(Xyxy, f32, usize)]| {
            let mut out = Instances::default();
            boxes.iter().for_each(|(b, s, l)| out.push(*b, *s, *l));
            out
        };
        let plain = found(&[
            ([10.0, 10.0, 30.0, 30.0], 0.5, 0),
            ([90.0, 0.0, 99.0, 9.0], 0.3, 1),
        ]);
        let mirrored = found(&[
            ([171.0, 10.0, 190.0, 30.0], 0.8, 0),
            ([171.0, 10.0, 190.0, 30.0], 0.1, 1),
        ]);
        let upside = found(&[([0.0, 0.0, 50.0, 20.0], 0.4, 2)]);
        let config = parse_value("dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=4)");
        let select = test_cfg::read(&config.unwrap(), 3).unwrap();
        assert_eq!(select.nms, NmsConfig::default());
        let all = vec![
            (meta(None), plain),
            (meta(Some(Direction::Horizontal)), mirrored),
            (meta(Some(Direction::Vertical)), upside),
        ];
        let merged = merge(all.clone(), &select);
        let expected = found(&[
            ([10.0, 10.0, 29.0, 30.0], 0.8, 0),
            ([0.0, 80.0, 50.0, 100.0], 0.4, 2),
            ([90.0, 0.0, 99.0, 9.0], 0.3, 1),
            ([10.0, 10.0, 29.0, 30.0], 0.1, 1),
        ]);
        assert_eq!(merged, expected);
        let select = Select {
            max_per_img: -3,
            ..select
        };
        assert_eq!(merge(all, &select).len(), 1);
        assert!(merge(Vec::new(), &select).is_empty());
    }

    #[test]
    fn the_innermost_pipeline() {
        let node = parse_value(
            "dict(type='R', dataset=dict(type='C', datasets=[dict(pipeline=[1]), dict()]))",
        )
        .unwrap();
        let new = with_pipeline(&node, &parse_value("[2]").unwrap());
        for i in 0..2 {
            let at = format!("dataset.datasets.{i}.pipeline.0");
            assert_eq!(new.at(&at).and_then(Node::as_int), Some(2));
        }
    }
}
