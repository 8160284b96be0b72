//! Batch augments: what becomes of a whole batch and its objects before it is learned from (`batch_augments` of the `data_preprocessor`,
//! MMDetection 3.3). To add one, write a file and a row in [`ROWS`].
//!
//! Boxes follow the pixels. Masks stay as they are, as in the original, but where `BatchFixedSizePad` is told to pad them.

mod fixed_size_pad;
mod resize;
mod sync_random_resize;

use burn::tensor::Tensor;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use crate::batch::Batch;
use crate::config::{Config, Diagnostics, Node, error_at};
use crate::limits;
use crate::registry::{DEFAULT_SCOPE, Family, Registry, Row};
use crate::targets::{Objects, Targets};
use crate::weights::Plain;

/// Changes a batch.
pub trait BatchAugment {
    /// Changes the batch that is learned from at `moment`, and its objects.
    ///
    /// # Errors
    /// The batch cannot become what the config asks for.
    fn apply(
        &mut self,
        batch: &mut Batch,
        targets: &mut Targets,
        moment: Moment,
    ) -> Result<(), String>;

    /// What a run that goes on from a checkpoint has to know.
    fn state(&self) -> Plain {
        Plain::None
    }

    /// Goes on with the [`state`](Self::state) of a checkpoint.
    fn restore(&mut self, _state: &Plain) {}
}

/// When a batch is learned from: all that random numbers may come from.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The run's seed.
    pub seed: u64,
    /// Iterations of the run that are done.
    pub iter: u64,
}

/// The kind `batch augment` of the registry.
#[derive(Debug)]
pub struct Augments;

impl Family for Augments {
    const KIND: &'static str = "batch augment";
    type Build = fn(&Node) -> Result<Box<dyn BatchAugment>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Augments>; 3] = [
    Row::<Augments>::new("mmdet", "BatchFixedSizePad", fixed_size_pad::build),
    Row::<Augments>::new("mmdet", "BatchResize", resize::build),
    Row::<Augments>::new("mmdet", "BatchSyncRandomResize", sync_random_resize::build),
];

/// Those of a run, in their order.
#[derive(Default)]
pub struct BatchAugments(Vec<Box<dyn BatchAugment>>);

impl BatchAugments {
    /// Those that a config's `data_preprocessor` names.
    ///
    /// # Errors
    /// One is not known or wrong; all at once.
    pub fn read(config: &Config, registry: &Registry) -> Result<Self, Diagnostics> {
        let node = config.root.at("model.data_preprocessor");
        let given = |node: &&Node| !node.is_none();
        let Some((node, list)) =
            node.and_then(|node| Some((node, node.get("batch_augments").filter(given)?)))
        else {
            return Ok(Self::default());
        };
        let Some(items) = list.as_items() else {
            let message = "`batch_augments` is a list of batch augments";
            return Err(error_at(node, "batch_augments", message, ""));
        };
        let default = config.get("default_scope").and_then(|s| s.as_str());
        let (mut augments, mut problems) = (Vec::new(), Vec::new());
        for item in items {
            let scope = item.get("_scope_").and_then(|s| s.as_str()).or(default);
            let row = registry.find::<Augments>(item, scope.unwrap_or(DEFAULT_SCOPE));
            match row.and_then(|row| (row.build)(item)) {
                Ok(augment) => augments.push(augment),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() {
            Ok(Self(augments))
        } else {
            Err(problems)
        }
    }

    /// True if batches stay as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes the batch that is learned from at `moment`, and its objects.
    ///
    /// # Errors
    /// See [`BatchAugment::apply`].
    pub fn apply(
        &mut self,
        batch: &mut Batch,
        targets: &mut Targets,
        moment: Moment,
    ) -> Result<(), String> {
        let mut all = self.0.iter_mut();
        all.try_for_each(|augment| augment.apply(batch, targets, moment))
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> Plain {
        Plain::list(self.0.iter().map(|augment| augment.state()))
    }

    /// Goes on with what a checkpoint kept; with another list of augments in the config, as far as there are any.
    pub fn restore(&mut self, state: &Plain) {
        for (augment, state) in self.0.iter_mut().zip(state.items().unwrap_or_default()) {
            augment.restore(state);
        }
    }
}

/// Pixels at another height and width, bilinear between pixels' centres (`align_corners=False`).
///
/// # Shapes
/// - `pixels`: `[n, c, h, w]`
/// - output: `[n, c, size[0], size[1]]`
fn resized(pixels: Tensor<4>, size: [usize; 2]) -> Result<Tensor<4>, String> {
    if size.contains(&0) {
        return Err(format!(
            "`batch_augments` make the batch {} x {} px",
            size[1], size[0]
        ));
    }
    limits::check_picture(size)?;
    let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
    Ok(interpolate(pixels, options.with_output_size(size)))
}

/// Pixels with more of `value` at the right and below, up to a height and width.
fn padded(pixels: Tensor<4>, size: [usize; 2], value: f32) -> Tensor<4> {
    let [n, c, h, w] = pixels.dims();
    let canvas = Tensor::full([n, c, size[0], size[1]], value, &pixels.device());
    canvas.slice_assign([0..n, 0..c, 0..h, 0..w], pixels)
}

/// A length in pixels times a factor, cut as Python's `int` does.
fn cut(length: usize, factor: f64) -> usize {
    (length as f64 * factor) as usize
}

/// Boxes with their x and y times these.
fn scale_boxes(objects: &mut Objects, [across, down]: [f64; 2]) {
    let factors = [across, down, across, down].map(|factor| factor as f32);
    for bbox in objects.boxes.iter_mut().chain(&mut objects.ignored) {
        for (value, factor) in bbox.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests;
