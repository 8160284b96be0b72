//! [`OtherPictures`]: the data set from which Mosaic, MixUp and CopyPaste choose pictures.

use super::{Dataset, caught};
use crate::pixels::Pixels;
use crate::random::{Answer, Call, Random, RandomError};
use crate::sample::Sample;
use crate::transforms::{Context, Files, Others};

/// The pictures to choose from.
pub struct OtherPictures<'a> {
    dataset: &'a dyn Dataset,
    pixels: &'a Pixels,
    files: &'a dyn Files,
    position: u64,
    /// A picture that was loaded to be looked at, and would be loaded the same again.
    loaded: Option<(usize, Sample)>,
}

impl<'a> OtherPictures<'a> {
    /// Those of a data set; `cx` says how they are loaded.
    pub fn new<'c: 'a>(dataset: &'a dyn Dataset, cx: &Context<'c>) -> Self {
        Self {
            dataset,
            pixels: cx.pixels,
            files: cx.files,
            position: cx.position,
            loaded: None,
        }
    }

    /// What [`Self::has_objects`] loaded of `index`, if loading needs no draws: then it is the same sample.
    pub(super) fn take(&mut self, index: usize) -> Option<Sample> {
        let (_, sample) = self.loaded.take_if(|(at, _)| *at == index)?;
        Some(sample)
    }
}

impl Others for OtherPictures<'_> {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn has_objects(&mut self, index: usize, random: &mut dyn Random) -> bool {
        let mut watched = Watched {
            source: random,
            asked: false,
        };
        let mut cx = Context::new(&mut watched, self.pixels, self.files);
        cx.position = self.position;
        let sample = caught(self.dataset, index, || self.dataset.get(index, &mut cx));
        let asked = watched.asked;
        let Ok(Some(sample)) = sample else {
            return true;
        };
        let any = !sample.gt.is_empty();
        self.loaded = (!asked).then_some((index, sample));
        any
    }
}

/// Notes whether anything was drawn.
struct Watched<'a> {
    source: &'a mut dyn Random,
    asked: bool,
}

impl Random for Watched<'_> {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        self.asked = true;
        self.source.answer(call)
    }
}
