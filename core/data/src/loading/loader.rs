//! The data loader: samples of an epoch, made by threads, given in order.
//!
//! A sample depends on the seed, the epoch and its position only: never on the number of workers or their speed. Its random numbers
//! are its own ([`Generator`]), transforms that remember earlier samples see them in order
//! ([`InOrder`](crate::in_order::InOrder)), and the order and the batches are its [`Sampling`]'s. So an epoch can be begun in the middle
//! ([`Loader::epoch_from`]) and goes on as if it had not been left. A sample that fails ends the epoch or is left out and counted, as
//! [`OnError`] says; a worker's panic is such a failure.
//!
//! Without worker threads (and in a browser) samples are made by whoever asks for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::datasets::{Dataset, SampleError, caught};
use crate::in_order::Order;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::{Counter, Numpy, Random};
use crate::sample::Sample;
use crate::samplers::{DefaultSampler, Sampling};
use crate::transforms::{Context, Files, Transform};

/// Where a sample's random numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generator {
    /// [`Counter`], by seed, epoch and position.
    #[default]
    Counter,
    /// [`Numpy`], as after `np.random.seed(seed + epoch * len(dataset) + position)`.
    Numpy,
}

/// What a sample that cannot be made means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The epoch ends with its error.
    #[default]
    Error,
    /// It is left out, and named in the summary.
    Skip,
}

/// How samples are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// `shuffle` of the [`DefaultSampler`], where no other [`Sampling`] is given.
    pub shuffle: bool,
    /// Of that order and of all random numbers.
    pub seed: u64,
    /// `num_workers`: threads; 0 is the caller's own. A browser has none.
    pub workers: usize,
    /// `prefetch_factor`: samples that are made ahead, for each worker.
    pub prefetch: usize,
    /// Where random numbers come from.
    pub random: Generator,
    /// What a failure means.
    pub on_error: OnError,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            shuffle: true,
            seed: 0,
            workers: 0,
            prefetch: 2,
            random: Generator::default(),
            on_error: OnError::default(),
        }
    }
}

/// A data set and how it is loaded.
pub struct Loader {
    source: Arc<Source>,
    options: LoaderOptions,
    sampling: Sampling,
}

/// What workers share of a [`Loader`].
struct Source {
    dataset: Box<dyn Dataset>,
    pixels: Pixels,
    files: Arc<dyn Files>,
}

impl Loader {
    /// Loads from `dataset`, one sample a batch.
    pub fn new(
        dataset: Box<dyn Dataset>,
        pixels: Pixels,
        files: Arc<dyn Files>,
        options: LoaderOptions,
    ) -> Self {
        let source = Source {
            dataset,
            pixels,
            files,
        };
        Self {
            source: Arc::new(source),
            options,
            sampling: Sampling::single(DefaultSampler {
                shuffle: options.shuffle,
                seed: options.seed,
            }),
        }
    }

    /// In another order, in other batches.
    ///
    /// # Errors
    /// A sampler that cannot sample from this data set: why.
    pub fn sampled(mut self, sampling: Sampling) -> Result<Self, String> {
        sampling.sampler.check(self.dataset())?;
        self.sampling = sampling;
        Ok(self)
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.source.dataset
    }

    /// Indices of an epoch, by batch.
    pub fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        self.sampling.batches(epoch, self.dataset())
    }

    /// `len(dataloader)`: batches of an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.sampling.number(self.dataset())
    }

    /// The samples of an epoch. Dropping it ends its threads, after the samples that they are at.
    pub fn epoch(&mut self, epoch: u64) -> Epoch<'_> {
        self.epoch_from(epoch, 0)
    }

    /// Those of an epoch from a batch on: the same as if the batches before it had been taken. Where transforms remember earlier samples
    /// (CachedMosaic), those are made again to be remembered, but for their last step on pixels.
    pub fn epoch_from(&mut self, epoch: u64, batch: usize) -> Epoch<'_> {
        let batches = self.batches(epoch);
        let ends = batches.iter().scan(0, |end, batch| {
            *end += batch.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let first = match batch.checked_sub(1) {
            None => 0,
            Some(before) => ends.get(before).or(ends.last()).copied().unwrap_or(0),
        };
        let kept = orders(self.dataset());
        let start = if kept.is_empty() { first } else { 0 };
        for kept in kept {
            kept.begin(start as u64);
        }
        let ahead = self
            .options
            .workers
            .max(1)
            .saturating_mul(self.options.prefetch.max(1));
        let state = State {
            begun: start,
            taken: start,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            source: self.source.clone(),
            options: self.options,
            epoch,
            order: batches.concat(),
            first,
            ahead,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let mut epoch = Epoch {
            _loader: self,
            shared,
            ends,
            #[cfg(not(target_arch = "wasm32"))]
            threads: Vec::new(),
            position: start,
            summary: Summary::default(),
        };
        epoch.start();
        epoch
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loader({:?}, {:?})", self.source.dataset, self.options)
    }
}

type Made = Result<Sample, SampleError>;

/// What the workers of an epoch share.
struct Shared {
    source: Arc<Source>,
    options: LoaderOptions,
    epoch: u64,
    order: Vec<usize>,
    /// The first position that is wanted; those before it are only remembered.
    first: usize,
    /// Samples that may be begun before the first of them is taken.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The first position that no worker has begun.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    begun: usize,
    /// The first position that was not taken.
    taken: usize,
    /// Made and not taken.
    made: BTreeMap<usize, Made>,
    /// Begin no more.
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let state = self.changed.wait(state);
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes samples until none is left. Positions are begun in order, so the first that is unfinished waits for nobody.
    #[cfg(not(target_arch = "wasm32"))]
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.stop || state.begun >= self.order.len() {
                return;
            }
            if state.begun >= state.taken.saturating_add(self.ahead) {
                state = self.wait(state);
                continue;
            }
            let position = state.begun;
            state.begun += 1;
            drop(state);
            let made = self.make(position);
            state = self.lock();
            state.made.insert(position, made);
            self.changed.notify_all();
        }
    }

    fn make(&self, position: usize) -> Made {
        let (dataset, index) = (&*self.source.dataset, self.order[position]);
        let made = caught(dataset, index, || self.sample(position));
        for kept in orders(dataset) {
            kept.finish(position as u64);
        }
        made
    }

    fn sample(&self, position: usize) -> Made {
        let LoaderOptions { seed, random, .. } = self.options;
        let mut random: Box<dyn Random> = match random {
            Generator::Counter => Box::new(Counter::keyed(seed, self.epoch, position as u64)),
            Generator::Numpy => {
                let before = self.epoch.wrapping_mul(self.source.dataset.len() as u64);
                let number = before.wrapping_add(position as u64);
                Box::new(Numpy::new(seed.wrapping_add(number)))
            }
        };
        let source = &*self.source;
        let mut cx = Context::new(&mut *random, &source.pixels, &*source.files);
        cx.position = position as u64;
        let sample = source.dataset.get(self.order[position], &mut cx)?;
        let mut sample = sample.ok_or_else(|| {
            let info = source.dataset.info(self.order[position]);
            SampleError::new(&info, Fault::Transform("the pipeline dropped it".into()))
        })?;
        if position < self.first {
            return Ok(sample);
        }
        // here, beside the others, not where it is used
        let image = source.pixels.ready(&sample.image);
        sample.image = image.map_err(|problem| SampleError::new(&sample.info, problem))?;
        Ok(sample)
    }
}

/// The samples of an epoch, in order. After an error there are no more.
pub struct Epoch<'a> {
    /// One epoch at a time: transforms remember samples of one order.
    _loader: &'a mut Loader,
    shared: Arc<Shared>,
    /// Where each batch ends.
    ends: Vec<usize>,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Vec<std::thread::JoinHandle<()>>,
    position: usize,
    summary: Summary,
}

impl Epoch<'_> {
    /// What became of the samples so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The batches that are left. One of which samples were left out is smaller; one without any is left out.
    pub fn batches(&mut self) -> impl Iterator<Item = Result<Vec<Sample>, SampleError>> {
        std::iter::from_fn(move || {
            let mut batch = Vec::new();
            loop {
                let position = self.position.max(self.shared.first);
                let at = self.ends.partition_point(|end| *end <= position);
                let end = *self.ends.get(at)?;
                batch.reserve(end - position);
                while self.position < end {
                    match self.next_before(end) {
                        Some(Ok(sample)) => batch.push(sample),
                        Some(Err(error)) => return Some(Err(error)),
                        None => break,
                    }
                }
                if !batch.is_empty() {
                    return Some(Ok(batch));
                }
            }
        })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn start(&mut self) {
        for i in 0..self.shared.options.workers.min(self.shared.order.len()) {
            let shared = self.shared.clone();
            let name = format!("loader {i}");
            let thread = std::thread::Builder::new().name(name);
            // where the system gives no more threads, those that there are do it, or the caller
            let Ok(thread) = thread.spawn(move || shared.work()) else {
                break;
            };
            self.threads.push(thread);
        }
    }

    #[cfg(target_arch = "wasm32")]
    fn start(&mut self) {}

    #[cfg(not(target_arch = "wasm32"))]
    fn has_workers(&self) -> bool {
        !self.threads.is_empty()
    }

    #[cfg(target_arch = "wasm32")]
    fn has_workers(&self) -> bool {
        false
    }

    fn stop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        #[cfg(not(target_arch = "wasm32"))]
        for thread in self.threads.drain(..) {
            // its panics were caught, and are errors of their samples
            let _ = thread.join();
        }
    }

    fn made(&mut self) -> Made {
        if !self.has_workers() {
            return self.shared.make(self.position);
        }
        let mut state = self.shared.lock();
        loop {
            if let Some(made) = state.made.remove(&self.position) {
                state.taken = self.position + 1;
                self.shared.changed.notify_all();
                return made;
            }
            state = self.shared.wait(state);
        }
    }
}

impl Epoch<'_> {
    /// The next sample that can be made, if its position is before `end`.
    fn next_before(&mut self, end: usize) -> Option<Result<Sample, SampleError>> {
        while self.position < end {
            let made = self.made();
            self.position += 1;
            if self.position <= self.shared.first {
                continue;
            }
            match made {
                Ok(sample) => {
                    self.summary.made += 1;
                    return Some(Ok(sample));
                }
                Err(error) => {
                    self.summary.failed.push(error.clone());
                    if self.shared.options.on_error == OnError::Error {
                        self.position = self.shared.order.len();
                        self.stop();
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }
}

impl Iterator for Epoch<'_> {
    type Item = Result<Sample, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_before(self.shared.order.len())
    }
}

impl Drop for Epoch<'_> {
    fn drop(&mut self) {
        self.stop();
        for kept in orders(&*self.shared.source.dataset) {
            kept.end();
        }
    }
}

impl fmt::Debug for Epoch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({} of {})", self.position, self.shared.order.len())
    }
}

/// What became of the samples of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Samples that were given.
    pub made: usize,
    /// Those that could not be made, in order.
    pub failed: Vec<SampleError>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.made)?;
        if !self.failed.is_empty() {
            write!(f, ", {} left out:", self.failed.len())?;
        }
        for error in &self.failed {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

/// All that keep an order in a data set's transforms: those that remember earlier samples.
pub fn orders(dataset: &dyn Dataset) -> Vec<&dyn Order> {
    fn of<'a>(step: &'a dyn Transform, found: &mut Vec<&'a dyn Order>) {
        found.extend(step.order());
        for child in step.children() {
            of(child, found);
        }
    }
    let mut found = Vec::new();
    for step in dataset.pipeline() {
        of(&**step, &mut found);
    }
    for child in dataset.children() {
        found.extend(orders(child));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::MetaInfo;
    use crate::datasets::flat::{Flat, NoFiles, steps};
    use crate::sample::DataInfo;
    use crate::samplers::{InTurn, InfiniteSampler};
    use crate::transforms::Outcome;

    /// Takes another picture where the pipeline drops one, as MMDetection's data sets do.
    #[derive(Debug)]
    struct Refetching(Flat);

    impl Dataset for Refetching {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn meta(&self) -> &MetaInfo {
            self.0.meta()
        }

        fn info(&self, index: usize) -> Arc<DataInfo> {
            self.0.info(index)
        }

        fn get(
            &self,
            mut index: usize,
            cx: &mut Context<'_>,
        ) -> Result<Option<Sample>, SampleError> {
            loop {
                // later pictures are often done before earlier ones
                std::thread::sleep(std::time::Duration::from_micros((index % 7 * 100) as u64));
                match self.0.get(index, cx)? {
                    None => index = cx.random.randint(0, self.len() as i64).unwrap() as usize,
                    sample => return Ok(sample),
                }
            }
        }

        fn pipeline(&self) -> &[Box<dyn Transform>] {
            self.0.pipeline()
        }
    }

    /// Drops one sample in three.
    #[derive(Debug)]
    struct DropsSome;

    impl Transform for DropsSome {
        fn name(&self) -> &'static str {
            "DropsSome"
        }

        fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
            let kept = cx.random.randint(0, 3)? > 0;
            Ok(kept.then_some(sample))
        }
    }

    /// A data set with two caches, between which samples are dropped, and before the first.
    fn cached(broken: &[usize]) -> Refetching {
        let mut pictures = Flat::new(&[[4, 3]; 40]);
        pictures.broken = broken.to_vec();
        pictures.empty = vec![5, 6, 7];
        let mosaic = "dict(type='CachedMosaic', img_scale=(4, 4), max_cached_images=6)";
        let mix_up = "dict(type='CachedMixUp', img_scale=(8, 8), max_cached_images=3, ratio_range=(1.0, 2.0))";
        pictures.pipeline = vec![Box::new(DropsSome)];
        pictures.pipeline.extend(steps(&format!("[{mosaic}]")));
        pictures.pipeline.push(Box::new(DropsSome));
        pictures.pipeline.extend(steps(&format!("[{mix_up}]")));
        pictures.pipeline.push(Box::new(DropsSome));
        Refetching(pictures)
    }

    fn loader(dataset: impl Dataset + 'static, options: LoaderOptions) -> Loader {
        let pixels = Pixels::cpu().exact(true);
        Loader::new(Box::new(dataset), pixels, Arc::new(NoFiles), options)
    }

    /// What is to be the same: objects and pixels.
    type Print = (Vec<i64>, Vec<[f32; 4]>, Arc<crate::image::Samples>);

    fn print(sample: Sample) -> Print {
        let samples = sample.image.samples().expect("in memory").clone();
        (sample.gt.labels, sample.gt.boxes, samples)
    }

    fn prints(loader: &mut Loader, epoch: u64) -> Vec<Print> {
        let samples = loader.epoch(epoch);
        samples.map(|s| print(s.unwrap())).collect()
    }

    #[test]
    fn the_same_samples_whatever_the_number_of_workers() {
        let options = |workers| LoaderOptions {
            seed: 3,
            workers,
            on_error: OnError::Skip,
            ..LoaderOptions::default()
        };
        let broken = [2, 30];
        let mut alone = loader(cached(&broken), options(0));
        let expected = [0, 1].map(|epoch| prints(&mut alone, epoch));
        assert_ne!(expected[0], expected[1]);
        assert!(expected[0].iter().any(|(labels, ..)| labels.len() > 4));
        for workers in [1, 2, 5] {
            let mut loader = loader(cached(&broken), options(workers));
            // an epoch does not depend on those before it
            for epoch in [1, 0, 1] {
                let found = prints(&mut loader, epoch);
                assert!(
                    found == expected[epoch as usize],
                    "{workers} workers, epoch {epoch}"
                );
            }
        }
    }

    #[test]
    fn an_epoch_may_be_left() {
        let options = |workers| LoaderOptions {
            workers,
            ..LoaderOptions::default()
        };
        let expected = prints(&mut loader(cached(&[]), options(0)), 0);
        let mut loader = loader(cached(&[]), options(4));
        for taken in [0, 1, 7] {
            let mut epoch = loader.epoch(0);
            let found: Vec<_> = (&mut epoch)
                .take(taken)
                .map(|s| print(s.unwrap()))
                .collect();
            assert!(found == expected[..taken]);
        }
        // all threads have ended: nobody else holds what they shared
        assert_eq!(Arc::strong_count(&loader.source), 1);
        assert!(prints(&mut loader, 0) == expected);
    }

    #[test]
    fn errors_end_the_epoch_or_are_counted() {
        for workers in [0, 3] {
            let mut options = LoaderOptions {
                shuffle: false,
                workers,
                ..LoaderOptions::default()
            };
            let pictures = || {
                let mut pictures = Flat::new(&[[2, 2]; 9]);
                pictures.broken = vec![3];
                pictures.panics = vec![6];
                pictures
            };
            let mut strict = loader(pictures(), options);
            let mut epoch = strict.epoch(0);
            let found: Vec<_> = (&mut epoch).map(|s| s.map(|s| s.info.index)).collect();
            assert_eq!(found[..3], [Ok(0), Ok(1), Ok(2)]);
            let error = found[3].as_ref().unwrap_err().to_string();
            assert_eq!(error, "3.png (id 3): the file ends before the picture does");
            assert_eq!(found.len(), 4);
            drop(epoch);

            options.on_error = OnError::Skip;
            let mut lenient = loader(pictures(), options);
            let mut epoch = lenient.epoch(0);
            let found: Vec<_> = (&mut epoch).map(|s| s.unwrap().info.index).collect();
            assert_eq!(found, [0, 1, 2, 4, 5, 7, 8]);
            assert_eq!(
                epoch.summary().to_string(),
                "7 samples, 2 left out:\n  3.png (id 3): the file ends before the picture does\n  6.png (id 6): panicked: picture 6"
            );
        }
    }

    #[test]
    fn numpy_numbers_follow_from_the_seed() {
        let options = LoaderOptions {
            shuffle: false,
            seed: 17,
            random: Generator::Numpy,
            ..LoaderOptions::default()
        };
        let pictures = || {
            let mut pictures = Flat::new(&[[8, 8]; 5]);
            pictures.pipeline = steps(
                "[dict(type='RandomResize', scale=(16, 16), ratio_range=(0.5, 2.0), keep_ratio=True)]",
            );
            pictures
        };
        let found = prints(&mut loader(pictures(), options), 2);
        let pixels = Pixels::cpu().exact(true);
        // np.random.seed(17 + 2 * 5 + 4)
        let mut random = Numpy::new(31);
        let mut cx = Context::new(&mut random, &pixels, &NoFiles);
        let last = pictures().get(4, &mut cx).unwrap().unwrap();
        assert!(found[4] == print(last));
    }

    #[test]
    fn batches() {
        let options = LoaderOptions {
            shuffle: false,
            workers: 2,
            ..LoaderOptions::default()
        };
        let in_turn = |drop_last| Sampling {
            batch_sampler: Box::new(InTurn {
                batch_size: 2,
                drop_last,
            }),
            ..Sampling::single(DefaultSampler {
                shuffle: false,
                seed: 0,
            })
        };
        for (drop_last, expected) in [(false, vec![2, 2, 1]), (true, vec![2, 2])] {
            let loader = loader(Flat::new(&[[2, 2]; 5]), options);
            let mut loader = loader.sampled(in_turn(drop_last)).unwrap();
            assert_eq!(loader.batches_per_epoch(), expected.len());
            let mut epoch = loader.epoch(0);
            let sizes: Vec<_> = epoch.batches().map(|b| b.unwrap().len()).collect();
            assert_eq!(sizes, expected);
        }
        let mut none = loader(Flat::new(&[]), options);
        assert_eq!(none.epoch(0).batches().count(), 0);

        // those that fail make their batch smaller, and do not move the others
        let mut pictures = Flat::new(&[[2, 2]; 7]);
        pictures.broken = vec![1, 2, 3];
        let skip = LoaderOptions {
            on_error: OnError::Skip,
            ..options
        };
        let mut lenient = loader(pictures, skip).sampled(in_turn(false)).unwrap();
        let mut epoch = lenient.epoch(0);
        let found: Vec<Vec<usize>> = epoch
            .batches()
            .map(|b| b.unwrap().iter().map(|s| s.info.index).collect())
            .collect();
        assert_eq!(found, [vec![0], vec![4, 5], vec![6]]);
    }

    #[test]
    fn a_last_resize_is_left_for_the_batch() {
        let pictures = || {
            let mut pictures = Flat::new(&[[8, 8]; 3]);
            pictures.pipeline = steps("[dict(type='Resize', scale=(5, 7))]");
            pictures
        };
        let mut exact = loader(pictures(), LoaderOptions::default());
        let dataset = Box::new(pictures());
        let options = LoaderOptions::default();
        let pixels = Pixels::cpu().for_batch();
        let mut later = Loader::new(dataset, pixels.clone(), Arc::new(NoFiles), options);
        for (done, left) in exact.epoch(0).zip(later.epoch(0)) {
            let (done, left) = (done.unwrap().image, left.unwrap().image);
            assert!(left.samples().is_none() && done.samples().is_some());
            let read = |image| pixels.read_blocking(image).unwrap();
            assert_eq!(read(&left), read(&done));
        }
    }

    #[test]
    fn resumed_in_the_middle() {
        let broken = [2, 30];
        let options = |workers| LoaderOptions {
            seed: 3,
            workers,
            on_error: OnError::Skip,
            ..LoaderOptions::default()
        };
        let make = |workers, plain: bool| {
            let mut pictures = cached(&broken);
            if plain {
                pictures.0.pipeline.truncate(1);
            }
            let batches = Sampling {
                batch_sampler: Box::new(InTurn {
                    batch_size: 4,
                    drop_last: false,
                }),
                ..Sampling::single(InfiniteSampler {
                    shuffle: true,
                    seed: 5,
                })
            };
            loader(pictures, options(workers)).sampled(batches).unwrap()
        };
        // with transforms that remember, and without
        for plain in [false, true] {
            let taken = |loader: &mut Loader, first: usize| -> Vec<Vec<Print>> {
                let mut epoch = loader.epoch_from(1, first);
                let batches = epoch.batches().map(|b| b.unwrap());
                batches
                    .map(|b| b.into_iter().map(print).collect())
                    .collect()
            };
            let expected = taken(&mut make(0, plain), 0);
            assert_eq!(expected.len(), 10);
            for workers in [0, 1, 2, 5] {
                for first in [0, 1, 6, 10, 12] {
                    let found = taken(&mut make(workers, plain), first);
                    let rest = expected.get(first..).unwrap_or_default();
                    assert!(found == rest, "{workers} workers, from batch {first}");
                }
            }
        }
    }
}
