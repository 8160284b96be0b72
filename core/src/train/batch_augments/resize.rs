//! `BatchResize` of MMDetection 3.3 (CrowdDet's): batches as large as fits a scale, in their own proportions.

use serde::Deserialize;

use super::{BatchAugment, Moment, cut, padded, resized, scale_boxes};
use crate::batch::Batch;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::limits::{self, Pixels};
use crate::targets::Targets;

struct BatchResize {
    /// What the shorter side becomes, unless the longer one were more than `most` then.
    least: usize,
    most: usize,
    pad_size_divisor: usize,
    pad_value: f32,
}

#[derive(Deserialize)]
struct Config {
    scale: [Bounded<1, 65_536>; 2],
    pad_size_divisor: Option<Pixels>,
    pad_value: Option<f64>,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn BatchAugment>, Diagnostics> {
    let config: Config = node.read_knowing(&[])?;
    let [a, b] = config.scale.map(Bounded::get);
    limits::check_picture([a, b]).map_err(|message| error_at(node, "scale", message, ""))?;
    Ok(Box::new(BatchResize {
        least: a.min(b),
        most: a.max(b),
        pad_size_divisor: config.pad_size_divisor.map_or(1, Bounded::get),
        pad_value: config.pad_value.unwrap_or(0.0) as f32,
    }))
}

impl BatchAugment for BatchResize {
    fn apply(&mut self, batch: &mut Batch, targets: &mut Targets, _: Moment) -> Result<(), String> {
        let [_, _, h, w] = batch.pixels.dims();
        let (short, long) = (h.min(w) as f64, h.max(w) as f64);
        let mut scale = self.least as f64 / short;
        if scale * long > self.most as f64 {
            scale = self.most as f64 / long;
        }
        let size = [h, w].map(|side| (side as f64 * scale).round_ties_even() as usize);
        let whole = size.map(|side| side.next_multiple_of(self.pad_size_divisor));
        batch.pixels = padded(resized(batch.pixels.clone(), size)?, whole, self.pad_value);
        for meta in &mut batch.pictures.metas {
            meta.img_shape = meta.img_shape.map(|side| cut(side, scale));
            meta.pad_shape = whole;
            meta.scale_factor = [scale; 2];
        }
        for objects in &mut targets.pictures {
            scale_boxes(objects, [scale; 2]);
        }
        Ok(())
    }
}
