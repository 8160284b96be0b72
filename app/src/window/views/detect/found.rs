//! What a detector found in a picture, and how long each part of the walk took.

use std::sync::atomic::Ordering;
use std::time::Duration;

use smalti::data::coco::ImageId;
use smalti::probe::Probe;
use smalti::results::{Naming, ResultWriter, Row, xywh_from_xyxy};
use smalti::structures::masks::{RleCounts, Runs, rle_to_bitmap};
use smalti::structures::{Bitmap, Xyxy};

use super::item::{Content, Item};
use crate::window::detector::Built;
use crate::window::host::Host;

/// What was found, best first.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Width and height of the picture, px.
    pub size: [usize; 2],
    /// xyxy px.
    pub boxes: Vec<Xyxy>,
    /// 0 to 1.
    pub scores: Vec<f32>,
    /// Class indices.
    pub labels: Vec<usize>,
    /// One for each box, from models that give masks. As run lengths: those of a folder of pictures stay in memory.
    pub masks: Vec<Runs>,
    /// How long it took.
    pub times: Times,
}

/// Milliseconds of the parts.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From the file's bytes to pixels.
    pub decode: f64,
    /// The parts of the walk by name.
    pub parts: Vec<(String, f64)>,
    /// Whether it was the detector's first run, in which kernels are compiled.
    pub first: bool,
}

impl Times {
    /// Before the network, the network, after it.
    pub fn stages(&self) -> [f64; 3] {
        let sum = |of: &dyn Fn(&str) -> bool| {
            let of = self.parts.iter().filter(|(name, _)| of(name));
            // the sum of nothing is -0.0
            0.0 + of.map(|(_, ms)| ms).sum::<f64>()
        };
        let net = |name: &str| !matches!(name, "preprocess" | "postprocess");
        [
            sum(&|name| name == "preprocess"),
            sum(&net),
            sum(&|name| name == "postprocess"),
        ]
    }
}

impl Found {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// How many have at least this score.
    pub fn above(&self, threshold: f32) -> usize {
        self.scores.partition_point(|score| *score >= threshold)
    }

    /// A mask as pixels of the whole picture.
    pub fn bitmap(&self, i: usize) -> Option<Bitmap> {
        let runs = self.masks.get(i)?;
        let [width, height] = runs.size();
        let counts = RleCounts::Plain(runs.lengths().to_vec());
        rle_to_bitmap(&counts, width, height).ok()
    }

    /// Appends what has at least this score, in COCO's result form.
    ///
    /// # Errors
    /// Of writing.
    pub fn write<W: std::io::Write>(
        &self,
        writer: &mut ResultWriter<W>,
        naming: &Naming,
        path: &str,
        threshold: f32,
    ) -> std::io::Result<()> {
        let Some(image_id) = naming.image(path) else {
            return Ok(());
        };
        for i in 0..self.above(threshold) {
            let Some(category_id) = naming.category(self.labels[i]) else {
                continue;
            };
            writer.row(&Row {
                image_id: ImageId::clone(&image_id),
                category_id,
                bbox: xywh_from_xyxy(self.boxes[i]),
                score: f64::from(self.scores[i]),
                mask: self.masks.get(i).cloned(),
            })?;
        }
        Ok(())
    }
}

/// Finds objects.
///
/// # Errors
/// The picture cannot be read, does not go with the model, or the device failed.
pub async fn detect(
    built: &Built,
    host: &dyn Host,
    item: &Item,
    content: &Content,
) -> Result<Found, String> {
    let mut last = host.now();
    let mut lap = || {
        let now = host.now();
        let took = now.saturating_sub(std::mem::replace(&mut last, now));
        milliseconds(took)
    };
    let picture = content.decode_for(&item.path(), &built.predictor)?;
    let mut times = Times {
        decode: lap(),
        first: built.runs.fetch_add(1, Ordering::Relaxed) == 0,
        ..Times::default()
    };
    let size = [picture.width(), picture.height()];
    let parts = &mut times.parts;
    let mut end = |name: &str, parts: &mut Vec<(String, f64)>| {
        let took = lap();
        match parts.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += took,
            None => parts.push((name.to_owned(), took)),
        }
    };
    if let Some(elsewhere) = &built.elsewhere {
        let seen = elsewhere.detect(&picture).await?;
        // only the whole is known
        end("detector", &mut times.parts);
        let masks = seen.masks;
        return Ok(Found {
            size,
            masks: if masks.len() == seen.boxes.len() {
                masks
            } else {
                Vec::new()
            },
            boxes: seen.boxes,
            scores: seen.scores,
            labels: seen.labels,
            times,
        });
    }
    let device = built.predictor.device().clone();
    let mut tell = |part: &str, _: &[_]| {
        // what a device says when it fails is said by the detection too
        let _ = device.sync();
        match part.split('.').next().unwrap_or(part) {
            "batch" => end("preprocess", parts),
            name => end(name, parts),
        }
    };
    let mut probe = Probe::new(&mut tell);
    let ran = built
        .predictor
        .detect_probed(std::slice::from_ref(&picture), &mut probe);
    let instances = ran
        .await
        .map_err(|e| e.to_string())?
        .pop()
        .ok_or("the detector gave nothing")?;
    end("postprocess", &mut times.parts);
    let masks = instances.masks.as_ref().filter(|m| m.size() == size);
    let masks = masks.map(|all| {
        (0..instances.len())
            .filter_map(|i| Runs::of(all, i))
            .collect()
    });
    let masks: Vec<Runs> = masks.unwrap_or_default();
    Ok(Found {
        size,
        masks: if masks.len() == instances.len() {
            masks
        } else {
            Vec::new()
        },
        boxes: instances.boxes,
        scores: instances.scores,
        labels: instances.labels,
        times,
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
