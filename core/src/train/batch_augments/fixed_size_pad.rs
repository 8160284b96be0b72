//! `BatchFixedSizePad` of MMDetection 3.3: batches of one size, whatever their pictures have.

use serde::Deserialize;

use super::{BatchAugment, Moment, padded};
use crate::batch::Batch;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::limits;
use crate::targets::Targets;

struct BatchFixedSizePad {
    /// Height and width, px.
    size: [usize; 2],
    img_pad_value: f32,
    /// What masks are padded with, if they are.
    mask_pad_value: Option<u8>,
}

#[derive(Deserialize)]
struct Config {
    size: [Bounded<1, 65_536>; 2],
    img_pad_value: Option<f64>,
    pad_mask: Option<bool>,
    mask_pad_value: Option<u8>,
}

pub(super) fn build(node: &Node) -> Result<Box<dyn BatchAugment>, Diagnostics> {
    let config: Config = node.read_knowing(&["pad_seg", "seg_pad_value"])?;
    let size = config.size.map(Bounded::get);
    limits::check_picture(size).map_err(|message| error_at(node, "size", message, ""))?;
    let mask_pad_value = config.mask_pad_value.unwrap_or(0);
    Ok(Box::new(BatchFixedSizePad {
        size,
        img_pad_value: config.img_pad_value.unwrap_or(0.0) as f32,
        mask_pad_value: (config.pad_mask == Some(true)).then_some(mask_pad_value),
    }))
}

impl BatchAugment for BatchFixedSizePad {
    fn apply(&mut self, batch: &mut Batch, targets: &mut Targets, _: Moment) -> Result<(), String> {
        let [_, _, h, w] = batch.pixels.dims();
        let [height, width] = self.size;
        if h >= height && w >= width {
            return Ok(());
        }
        let size = [h.max(height), w.max(width)];
        batch.pixels = padded(batch.pixels.clone(), size, self.img_pad_value);
        for meta in &mut batch.pictures.metas {
            meta.pad_shape = self.size;
        }
        if let Some(value) = self.mask_pad_value {
            let masks = targets.pictures.iter_mut().filter_map(|o| o.masks.as_mut());
            masks.for_each(|masks| *masks = masks.pad([size[1], size[0]], value));
        }
        Ok(())
    }
}
