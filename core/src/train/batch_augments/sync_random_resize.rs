//! `BatchSyncRandomResize` of MMDetection 3.3 (YOLOX's): another size for all batches, every so many iterations.
//!
//! The first batch's size holds until `interval` iterations are done. Each size after that is drawn at the end of the last iteration of the one
//! before: a height, and a width in the proportions that the batch had. Draws are those of Python's `random` after `random.seed` of the run's
//! seed, of which MMEngine's main process takes no others; so the `n`th is known from the seed alone.

use serde::Deserialize;

use super::{BatchAugment, Moment, cut, resized, scale_boxes};
use crate::batch::Batch;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::data::random::Python;
use crate::limits::Pixels;
use crate::targets::Targets;
use crate::weights::Plain;

struct BatchSyncRandomResize {
    /// Heights, in multiples of `size_divisor`: the least and the most.
    range: [usize; 2],
    interval: u64,
    size_divisor: usize,
    /// Height and width that batches get now, px.
    input_size: Option<[usize; 2]>,
}

#[derive(Deserialize)]
struct Config {
    random_size_range: [Bounded<0, 65_536>; 2],
    interval: Option<Bounded<1, { u32::MAX as usize }>>,
    size_divisor: Option<Pixels>,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn BatchAugment>, Diagnostics> {
    let config: Config = node.read_knowing(&[])?;
    let size_divisor = config.size_divisor.map_or(32, Bounded::get);
    let multiples = |px: Bounded<0, 65_536>| {
        let multiples = px.get() as f64 / size_divisor as f64;
        multiples.round_ties_even() as usize
    };
    let range = config.random_size_range.map(multiples);
    if range[0] == 0 || range[0] > range[1] {
        let message = format!(
            "`random_size_range` gives heights of {} to {} times {size_divisor} px",
            range[0], range[1]
        );
        let help = "it is (least, most) in px, for example (480, 800)";
        return Err(error_at(node, "random_size_range", message, help));
    }
    Ok(Box::new(BatchSyncRandomResize {
        range,
        interval: config.interval.map_or(10, |n| n.get() as u64),
        size_divisor,
        input_size: None,
    }))
}

impl BatchSyncRandomResize {
    /// The `n`th size that is drawn in a run, from 1.
    fn drawn(&self, seed: u64, n: u64, proportions: f64) -> [usize; 2] {
        let mut random = Python::new(seed);
        let [least, most] = self.range.map(|side| side as i64);
        let mut height = least;
        for _ in 0..n {
            height = random.randint(least, most);
        }
        let height = height as usize;
        [height, cut(height, proportions)].map(|side| side * self.size_divisor)
    }
}

impl BatchAugment for BatchSyncRandomResize {
    fn apply(
        &mut self,
        batch: &mut Batch,
        targets: &mut Targets,
        moment: Moment,
    ) -> Result<(), String> {
        let [_, _, h, w] = batch.pixels.dims();
        let size = *self.input_size.get_or_insert([h, w]);
        if size != [h, w] {
            batch.pixels = resized(batch.pixels.clone(), size)?;
            let [down, across] = [size[0] as f64 / h as f64, size[1] as f64 / w as f64];
            let scaled = |[h, w]: [usize; 2]| [cut(h, down), cut(w, across)];
            for meta in &mut batch.pictures.metas {
                meta.img_shape = scaled(meta.img_shape);
                meta.pad_shape = scaled(meta.pad_shape);
            }
            for objects in &mut targets.pictures {
                scale_boxes(objects, [across, down]);
            }
        }
        let done = moment.iter + 1;
        if done.is_multiple_of(self.interval) {
            let proportions = w as f64 / h as f64;
            self.input_size = Some(self.drawn(moment.seed, done / self.interval, proportions));
        }
        Ok(())
    }

    fn state(&self) -> Plain {
        self.input_size.map_or(Plain::None, |size| {
            Plain::tuple(size.map(|side| side as i64))
        })
    }

    fn restore(&mut self, state: &Plain) {
        let sides = state.items().unwrap_or_default().iter();
        let sides: Option<Vec<usize>> = sides
            .map(|side| usize::try_from(side.int()?).ok())
            .collect();
        self.input_size = sides.and_then(|sides| sides.try_into().ok());
    }
}
