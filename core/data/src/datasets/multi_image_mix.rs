//! `MultiImageMixDataset` of mmdet 3.3 (datasets/dataset_wrappers.py): another data set's samples, through transforms that mix
//! several of them.
//!
//! Random numbers are drawn in the original's order: the sample itself is loaded, then for each transform the other pictures are
//! chosen and loaded before it runs. Where a transform drops the sample it is tried again with the same pictures.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;

use super::{Built, Dataset, MetaInfo, OtherPictures, SampleError, Source, caught, unloaded};
use crate::picture::Fault;
use crate::sample::{DataInfo, Sample};
use crate::transforms::{Context, Others, Transform};
use smalti_config::{Bounded, Diagnostic, Node, error_at};

/// A data set whose transforms may ask for further pictures.
#[derive(Debug)]
pub struct MultiImageMixDataset {
    dataset: Box<dyn Dataset>,
    pipeline: Vec<Box<dyn Transform>>,
    skipped: RwLock<Vec<String>>,
    max_refetch: usize,
    notes: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(rename = "dataset")]
    _dataset: Node,
    #[serde(rename = "pipeline")]
    _pipeline: Node,
    skip_type_keys: Option<Vec<String>>,
    dynamic_scale: Option<[usize; 2]>,
    max_refetch: Option<Bounded<0, 1000>>,
    #[serde(rename = "lazy_init")]
    _lazy_init: Option<bool>,
}

pub(super) fn build(source: &Source<'_>) -> Built {
    let node = source.node;
    let mut problems = Vec::new();
    let options = node.read::<Options>().map_err(|p| problems.extend(p)).ok();
    let steps = source.pipeline().map_err(|p| problems.extend(p)).ok();
    // Where the data set inside loads nothing, this pipeline has to.
    if node.get("dataset").is_some_and(|inner| !has_steps(inner)) {
        problems.extend(steps.as_ref().and_then(|steps| unloaded(node, steps)));
    }
    let inner = node.get("dataset").map(|inner| source.nested(inner));
    let inner = inner.and_then(|made| made.map_err(|p| problems.extend(p)).ok());
    let (Some(options), Some(steps), Some(inner), true) =
        (options, steps, inner, problems.is_empty())
    else {
        return Err(problems);
    };
    let max_refetch = options.max_refetch.map_or(15, Bounded::get);
    if max_refetch == 0 {
        return Err(error_at(
            node,
            "max_refetch",
            "`max_refetch` is the number of tries: at least 1",
            "",
        ));
    }
    Ok(inner.map(|inner| -> Box<dyn Dataset> {
        let mut dataset = MultiImageMixDataset::new(
            inner,
            steps,
            options.skip_type_keys.unwrap_or_default(),
            options.dynamic_scale,
            max_refetch,
        );
        dataset.notes.extend(source.notes.iter().cloned());
        Box::new(dataset)
    }))
}

/// Whether a data set, or all those inside it, have a pipeline.
fn has_steps(dataset: &Node) -> bool {
    let several = dataset.get("datasets").and_then(Node::as_items);
    match (dataset.get("dataset"), several) {
        (Some(inner), _) => has_steps(inner),
        (None, Some(all)) => all.iter().all(has_steps),
        (None, None) => {
            let steps = dataset.get("pipeline").and_then(Node::as_items);
            steps.is_some_and(|steps| !steps.is_empty())
        }
    }
}

impl MultiImageMixDataset {
    /// Around `dataset`. Steps whose `type` is in `skip_type_keys` are left out. `dynamic_scale` has no effect: MMDetection 3.x
    /// has no such option (2.x let it overrule the sizes of Resize and MixUp, and refused it later); a note says so.
    /// `max_refetch` is the number of tries, at least 1.
    pub fn new(
        dataset: Box<dyn Dataset>,
        pipeline: Vec<Box<dyn Transform>>,
        skip_type_keys: Vec<String>,
        dynamic_scale: Option<[usize; 2]>,
        max_refetch: usize,
    ) -> Self {
        let notes = dynamic_scale.map(|[w, h]| {
            Diagnostic::warning(format!(
                "`dynamic_scale=({w}, {h})` has no effect: MMDetection 3.x has no such option"
            ))
            .help("give the size to Resize, RandomResize and MixUp of the pipeline")
        });
        Self {
            dataset,
            pipeline,
            skipped: RwLock::new(skip_type_keys),
            max_refetch: max_refetch.max(1),
            notes: notes.into_iter().collect(),
        }
    }

    /// `skip_type_keys` now.
    pub fn skip_type_keys(&self) -> Vec<String> {
        let keys = self.skipped.read();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Chooses and loads the pictures that `step` mixes in; `None` if it mixes none.
    fn mixed(
        &self,
        step: &dyn Transform,
        info: &DataInfo,
        cx: &mut Context<'_>,
    ) -> Result<Option<Vec<Sample>>, SampleError> {
        for _ in 0..self.max_refetch {
            let mut others = OtherPictures::new(&*self.dataset, cx);
            let Some(indexes) = step.mix_indexes(&mut others, cx) else {
                return Ok(None);
            };
            let indexes = indexes.map_err(|p| SampleError::new(info, p))?;
            // who saves, replays or watches draws wants those of every load
            let plain = cx.saved.is_none() && cx.replay.is_none() && cx.watch.is_none();
            let mut samples = Vec::with_capacity(indexes.len());
            for other in indexes {
                if other >= others.len() {
                    let text = format!(
                        "`{}` takes picture {other} of a data set of {}",
                        step.name(),
                        others.len()
                    );
                    return Err(SampleError::new(info, Fault::Transform(text)));
                }
                let loaded = others.take(other).filter(|_| plain);
                let sample = match loaded {
                    Some(sample) => Some(sample),
                    None => self.load_other(other, cx)?,
                };
                samples.push(sample);
            }
            if let Some(samples) = samples.into_iter().collect() {
                return Ok(Some(samples));
            }
        }
        let text = format!(
            "the pipeline of the inner data set dropped pictures for `{}` {} times",
            step.name(),
            self.max_refetch
        );
        Err(SampleError::new(info, Fault::Transform(text)))
    }

    /// Another picture; the steps of its pipeline are not those of the sample that is watched.
    fn load_other(
        &self,
        other: usize,
        cx: &mut Context<'_>,
    ) -> Result<Option<Sample>, SampleError> {
        let watch = cx.watch.take();
        let sample = caught(&*self.dataset, other, || self.dataset.get(other, cx));
        cx.watch = watch;
        sample
    }
}

impl Dataset for MultiImageMixDataset {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn meta(&self) -> &MetaInfo {
        self.dataset.meta()
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        self.dataset.info(index)
    }

    fn labels(&self, index: usize) -> Vec<i64> {
        self.dataset.labels(index)
    }

    fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        let Some(mut sample) = self.dataset.get(index, cx)? else {
            return Ok(None);
        };
        // perhaps of another picture, if that at `index` was dropped
        let info = sample.info.clone();
        let skipped = self.skip_type_keys();
        for step in &self.pipeline {
            // a scope (`mmdet.Mosaic`) makes no difference here
            let is_step = |key: &String| key.rsplit('.').next() == Some(step.name());
            if skipped.iter().any(is_step) {
                continue;
            }
            if let Some(mix) = self.mixed(&**step, &info, cx)? {
                sample.mix = mix;
            }
            let mut next = None;
            for _ in 0..self.max_refetch {
                next = cx
                    .run_one(&**step, sample.clone())
                    .map_err(|p| SampleError::new(&info, p))?;
                if next.is_some() {
                    break;
                }
            }
            sample = next.ok_or_else(|| {
                let text = format!(
                    "`{}` dropped the sample {} times (max_refetch)",
                    step.name(),
                    self.max_refetch
                );
                SampleError::new(&info, Fault::Transform(text))
            })?;
            sample.mix.clear();
        }
        Ok(Some(sample))
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &self.pipeline
    }

    fn set_pipeline(&mut self, steps: Vec<Box<dyn Transform>>) {
        self.pipeline = steps;
    }

    fn children(&self) -> Vec<&dyn Dataset> {
        vec![&*self.dataset]
    }

    fn children_mut(&mut self) -> Vec<&mut dyn Dataset> {
        vec![&mut *self.dataset]
    }

    fn skip_types(&self, keys: &[String]) {
        let mut skipped = self.skipped.write().unwrap_or_else(PoisonError::into_inner);
        *skipped = keys.to_vec();
    }

    fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::flat::{Flat, NoFiles, Scripted, steps};
    use super::*;
    use crate::pixels::Pixels;
    use crate::random::{Answer, Call, Counter, Random};
    use crate::transforms::{Outcome, Saved};

    fn mixed(dataset: Flat, pipeline: &str) -> MultiImageMixDataset {
        MultiImageMixDataset::new(Box::new(dataset), steps(pipeline), Vec::new(), None, 15)
    }

    fn get(
        dataset: &dyn Dataset,
        index: usize,
        random: &mut dyn Random,
    ) -> Result<Sample, SampleError> {
        let pixels = Pixels::cpu().exact(true);
        let mut cx = Context::new(random, &pixels, &NoFiles);
        Ok(dataset.get(index, &mut cx)?.expect("nothing is dropped"))
    }

    const MOSAIC: &str = "dict(type='Mosaic', img_scale=(4, 4))";

    #[test]
    fn calls_in_order() {
        let dataset = mixed(Flat::new(&[[4, 4]; 5]), &format!("[{MOSAIC}]"));
        let (int, float) = (Answer::Int, Answer::Float);
        let mut random =
            Scripted::new([int(4), int(0), int(4), float(0.1), float(1.0), float(1.0)]);
        let sample = get(&dataset, 2, &mut random).unwrap();
        assert_eq!(sample.gt.labels, [2, 4, 0, 4]);
        let [uniform, center] = [Call::Uniform(0.0, 1.0), Call::Uniform(0.5, 1.5)];
        let randint = Call::Randint(0, 5);
        let mut expected = vec![randint; 3];
        expected.extend([uniform, center.clone(), center]);
        assert_eq!(random.calls, expected);
    }

    #[test]
    fn mix_up_looks_for_objects() {
        let mut pictures = Flat::new(&[[4, 4]; 5]);
        pictures.empty = vec![1, 3];
        let dataset = mixed(
            pictures,
            "[dict(type='MixUp', img_scale=(4, 4), max_iters=3)]",
        );
        let (int, float) = (Answer::Int, Answer::Float);
        let answers = [int(1), int(3), int(4), float(1.0), float(0.5)];
        let sample = get(&dataset, 2, &mut Scripted::new(answers)).unwrap();
        assert_eq!(sample.gt.labels, [2, 4]);
        // after max_iters the last one is taken, without objects
        let answers = [int(1), int(3), int(1)];
        let sample = get(&dataset, 2, &mut Scripted::new(answers)).unwrap();
        assert_eq!(sample.gt.labels, [2]);
    }

    #[test]
    fn steps_are_skipped_by_type() {
        let dataset = mixed(Flat::new(&[[4, 4]; 5]), &format!("[{MOSAIC}]"));
        dataset.skip_types(&["mmdet.Mosaic".into(), "MixUp".into()]);
        let sample = get(&dataset, 2, &mut Scripted::default()).unwrap();
        assert_eq!(sample.gt.labels, [2]);
        dataset.skip_types(&[]);
        assert!(get(&dataset, 2, &mut Scripted::default()).is_err());
        assert!(dataset.skip_type_keys().is_empty());
    }

    #[test]
    fn errors_name_the_picture() {
        let mut pictures = Flat::new(&[[4, 4]; 5]);
        pictures.broken = vec![3];
        let dataset = mixed(pictures, &format!("[{MOSAIC}]"));
        let int = Answer::Int;
        let mut random = Scripted::new([int(0), int(3), int(1)]);
        let error = get(&dataset, 2, &mut random).unwrap_err().to_string();
        assert!(error.starts_with("3.png (id 3): the file ends"), "{error}");

        let pixels = Pixels::cpu();
        let mut random = Scripted::default();
        let mut cx = Context::new(&mut random, &pixels, &NoFiles);
        let saved = Saved {
            name: "Mosaic.indexes".into(),
            params: serde_json::json!([0, 812, 1]),
        };
        cx.replay = Some([saved].into());
        let error = dataset.get(2, &mut cx).unwrap_err().to_string();
        let expected = "2.png (id 2): `Mosaic` takes picture 812 of a data set of 5";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn the_picture_at_fault_is_named() {
        let (int, float) = (Answer::Int, Answer::Float);
        let error = |pictures: Flat, pipeline: &str, answers: Vec<Answer>| {
            let dataset = mixed(pictures, &format!("[{pipeline}]"));
            let error = get(&dataset, 2, &mut Scripted::new(answers)).unwrap_err();
            error.to_string()
        };
        let thin = || Flat::new(&[[4, 4], [4, 4], [4, 4], [1, 300], [4, 4]]);
        let of_mosaic = [int(0), int(3), int(1), float(0.1), float(1.0), float(1.0)];
        let of_mix_up = [int(3), float(1.0), float(0.5), float(1.0)];
        let mix_up = "dict(type='MixUp', img_scale=(4, 4))";
        for (step, answers) in [(MOSAIC, of_mosaic.to_vec()), (mix_up, of_mix_up.to_vec())] {
            let text = error(thin(), step, answers.clone());
            let expected = "3.png (id 3): a picture of 1x300 fitted into 4x4 has no pixels";
            assert_eq!(text, expected, "{step}");
            let mut pictures = Flat::new(&[[4, 4]; 5]);
            pictures.panics = vec![3];
            let text = error(pictures, step, answers);
            assert_eq!(text, "3.png (id 3): panicked: picture 3", "{step}");
        }
        // that of the outer picture is its own
        let outer = Flat::new(&[[4, 4], [4, 4], [1, 300]]);
        let text = error(
            outer,
            MOSAIC,
            [&[int(0), int(0), int(1)], &of_mosaic[3..]].concat(),
        );
        assert!(
            text.starts_with("2.png (id 2): a picture of 1x300"),
            "{text}"
        );
        let text = error(
            Flat::new(&[[4, 4]; 5]),
            "dict(type='CopyPaste')",
            vec![int(3), int(1), Answer::Ints(vec![0])],
        );
        assert!(
            text.starts_with("3.png (id 3): `CopyPaste` found no masks"),
            "{text}"
        );
        let mut pictures = thin();
        pictures.masks = true;
        let text = error(
            pictures,
            "dict(type='CopyPaste')",
            vec![int(3), int(1), Answer::Ints(vec![0])],
        );
        assert!(text.contains("found 4x4 and 1x300 (3.png)"), "{text}");
    }

    /// Drops the sample until it was asked this many times.
    #[derive(Debug)]
    struct Drops(AtomicUsize);

    impl Transform for Drops {
        fn name(&self) -> &'static str {
            "Drops"
        }

        fn run(&self, sample: Sample, _: &mut Context<'_>) -> Outcome {
            let left = self.0.fetch_sub(1, Ordering::Relaxed);
            Ok((left <= 1).then_some(sample))
        }
    }

    #[test]
    fn a_dropped_sample_is_tried_again() {
        for (times, expected) in [(3, None), (4, Some("`Drops` dropped the sample 3 times"))] {
            let pictures = Box::new(Flat::new(&[[4, 4]]));
            let drops: Box<dyn Transform> = Box::new(Drops(AtomicUsize::new(times)));
            let dataset = MultiImageMixDataset::new(pictures, vec![drops], Vec::new(), None, 3);
            let error = get(&dataset, 0, &mut Scripted::default()).err();
            let text = error.map(|e| e.problem.to_string());
            assert_eq!(text.is_some(), expected.is_some());
            assert!(text.unwrap_or_default().contains(expected.unwrap_or("")));
        }
    }

    #[test]
    fn saved_draws_give_the_same_sample() {
        // the pictures that MixUp looks at draw too, and are not part of what is replayed
        let mut pictures = Flat::new(&[[4, 4], [3, 4], [4, 2], [2, 2], [4, 4]]);
        pictures.empty = vec![0, 1];
        pictures.pipeline = steps("[dict(type='RandomFlip', prob=0.5)]");
        let mix_up = "dict(type='MixUp', img_scale=(4, 4))";
        let dataset = mixed(pictures, &format!("[{MOSAIC}, {mix_up}]"));
        let pixels = Pixels::cpu().exact(true);
        let run = |random: &mut dyn Random, replay: Option<Vec<Saved>>| {
            let mut cx = Context::new(random, &pixels, &NoFiles);
            cx.replay = replay.map(Into::into);
            cx.saved = Some(Vec::new());
            let sample = dataset.get(1, &mut cx).unwrap().unwrap();
            let samples = pixels.read_blocking(&sample.image).unwrap();
            (samples, sample.gt.boxes, cx.saved.unwrap())
        };
        for seed in 0..8 {
            let first = run(&mut Counter::new(seed), None);
            let again = run(&mut Scripted::default(), Some(first.2.clone()));
            assert_eq!(first, again, "seed {seed}");
        }
    }

    #[test]
    fn dynamic_scale_is_noted() {
        let pictures = Box::new(Flat::new(&[[4, 4]]));
        let dataset = MultiImageMixDataset::new(pictures, Vec::new(), Vec::new(), Some([4, 4]), 15);
        let text = dataset.notes()[0].to_string();
        assert!(
            text.starts_with("warning: `dynamic_scale=(4, 4)` has no effect"),
            "{text}"
        );
    }
}
