//! The eight pictures of the transform rows, with their objects: integers and a formula, so that no file is needed.
//!
//! They are those of `picture`, `objects` and `sample` in the script that made the rows; a test compares them with its own.

use std::sync::Arc;

use smalti::data::coco::ImageId;
use smalti::data::datasets::{Dataset, MetaInfo, SampleError};
use smalti::data::image::{Image, Samples};
use smalti::data::sample::{DataInfo, Instance, Sample, Segmentation};
use smalti::data::transforms::{Context, Transform};
use smalti::structures::{GroundTruth, Masks, Origin, Polygon};

use crate::formula::uniform;

/// Samples of picture `k`, `[h, w, 3]`: two triangle waves and a little noise.
pub fn picture(h: usize, w: usize, k: usize) -> Vec<u8> {
    let wave = |t: i64| (t.rem_euclid(510) - 255).abs();
    let mut out = vec![0; h * w * 3];
    for c in 0..3 {
        let noise = uniform(&format!("picture.{k}.{c}"), h * w);
        for (i, noise) in noise.enumerate() {
            let (y, x) = ((i / w) as i64, (i % w) as i64);
            let (c_, k) = (c as i64, k as i64);
            let noise = ((f64::from(noise) + 1.0) * 128.0) as i64;
            let waves = 6 * wave(x * (c_ + 2) + 3 * y + 41 * k)
                + 5 * wave(y * (4 - c_) - 2 * x + 1000 + 67 * k);
            out[i * 3 + c] = ((waves + noise) / 12) as u8;
        }
    }
    out
}

/// An object of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Index of its class.
    pub label: i64,
    /// A crowd.
    pub ignore: bool,
    /// Its only polygon, quarter pixels.
    pub polygon: Vec<f64>,
}

/// The objects of picture `k`; picture 4 has none.
pub fn objects(h: usize, w: usize, k: usize) -> Vec<Object> {
    let count = if k == 4 { 0 } else { 1 + (k * 5 + 2) % 5 };
    let object = |j: usize| {
        let u: Vec<f64> = uniform(&format!("object.{k}.{j}"), 12)
            .map(|u| (f64::from(u) + 1.0) / 2.0)
            .collect();
        let (w, h) = (w as f64, h as f64);
        let (bw, bh) = (
            12.0 + (u[0] * w * 0.5).trunc(),
            12.0 + (u[1] * h * 0.5).trunc(),
        );
        let (x0, y0) = ((u[2] * (w - bw)).trunc(), (u[3] * (h - bh)).trunc());
        let quarter = |v: f64| (v * 4.0).trunc() / 4.0;
        let mut points = vec![
            (0.0, quarter(u[4]) * 0.8),
            (quarter(u[5]), 0.0),
            (1.0, quarter(u[6])),
            (quarter(u[7]), 1.0),
        ];
        if j % 2 == 1 && points[1].0 < 1.0 {
            points.insert(2, (1.0, 0.0));
        }
        let round = |v: f64| (v * 4.0).round_ties_even() / 4.0;
        let corner = |(px, py): &(f64, f64)| [round(x0 + px * bw), round(y0 + py * bh)];
        Object {
            label: (u[8] * 20.0) as i64,
            ignore: j == 3,
            polygon: points.iter().flat_map(corner).collect(),
        }
    };
    (0..count).map(object).collect()
}

/// A data set of such pictures in memory, without a pipeline.
#[derive(Debug)]
pub struct Scenes {
    samples: Vec<Sample>,
    meta: MetaInfo,
}

impl Scenes {
    /// One of each of the sizes (height, width), as f32 and with bitmaps if wanted.
    pub fn new(sizes: &[[usize; 2]], to_float32: bool, masks: bool) -> Self {
        let samples = (0..sizes.len()).map(|k| sample(sizes[k], k, to_float32, masks));
        Self {
            samples: samples.collect(),
            meta: MetaInfo {
                classes: (0..20).map(|i| i.to_string()).collect(),
                palette: Vec::new(),
                ..MetaInfo::default()
            },
        }
    }

    /// The sample of picture `k`.
    pub fn sample(&self, k: usize) -> Sample {
        self.samples[k].clone()
    }
}

impl Dataset for Scenes {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn meta(&self) -> &MetaInfo {
        &self.meta
    }

    fn info(&self, index: usize) -> Arc<DataInfo> {
        self.samples[index].info.clone()
    }

    fn get(&self, index: usize, _: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
        Ok(Some(self.sample(index)))
    }

    fn pipeline(&self) -> &[Box<dyn Transform>] {
        &[]
    }
}

fn sample([h, w]: [usize; 2], k: usize, to_float32: bool, with_masks: bool) -> Sample {
    let objects = objects(h, w, k);
    let bbox = |o: &Object| {
        let bound = |axis: usize, f: fn(f64, f64) -> f64| {
            o.polygon[axis..]
                .iter()
                .step_by(2)
                .copied()
                .reduce(f)
                .unwrap_or(0.0) as f32
        };
        [
            bound(0, f64::min),
            bound(1, f64::min),
            bound(0, f64::max),
            bound(1, f64::max),
        ]
    };
    let instance = |o: &Object| Instance {
        bbox: bbox(o),
        label: o.label,
        ignore: o.ignore,
        mask: Segmentation::Polygons(vec![o.polygon.clone()]),
    };
    let info = DataInfo {
        img_path: format!("{k}.png"),
        img_id: Some(ImageId::Number(k as i64)),
        index: k,
        width: w,
        height: h,
        instances: objects.iter().map(instance).collect(),
        proposals: None,
    };
    let polygons: Vec<Polygon> = objects.iter().map(|o| vec![o.polygon.clone()]).collect();
    let origin = |j| Origin {
        picture: k as u32,
        object: j,
    };
    let mut sample = Sample::new(Arc::new(info));
    sample.gt = GroundTruth {
        boxes: objects.iter().map(bbox).collect(),
        labels: objects.iter().map(|o| o.label).collect(),
        ignore: objects.iter().map(|o| o.ignore).collect(),
        masks: with_masks.then(|| Masks::polygons([w, h], polygons).into_bitmaps()),
        origins: (0..objects.len() as u32).map(origin).collect(),
        dropped: Vec::new(),
    };
    sample.has_boxes = true;
    let pixels = picture(h, w, k);
    let pixels = if to_float32 {
        Samples::F32(pixels.into_iter().map(f32::from).collect())
    } else {
        Samples::U8(pixels)
    };
    sample.set_image(Image::new([w, h], 3, pixels));
    sample.ori_shape = [h, w];
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// What the script makes of one picture.
    #[derive(Deserialize)]
    struct Expected {
        size: [usize; 2],
        k: usize,
        /// Sum of all samples, and the last three.
        sum: u64,
        last: [u8; 3],
        objects: Vec<(i64, bool, Vec<f64>)>,
        boxes: Vec<[f32; 4]>,
        areas: Vec<f64>,
    }

    #[test]
    fn pictures_and_objects_are_the_scripts() {
        let text = include_str!("../data/scenes.json");
        let all: Vec<Expected> = serde_json::from_str(text).unwrap();
        assert!(all.len() > 8);
        for e in all {
            let [h, w] = e.size;
            let pixels = picture(h, w, e.k);
            let sum: u64 = pixels.iter().map(|v| u64::from(*v)).sum();
            assert_eq!((sum, &pixels[pixels.len() - 3..]), (e.sum, &e.last[..]));
            let found = objects(h, w, e.k).into_iter();
            let found: Vec<_> = found.map(|o| (o.label, o.ignore, o.polygon)).collect();
            assert_eq!(found, e.objects, "picture {}", e.k);
            let sample = sample(e.size, e.k, false, true);
            assert_eq!(sample.gt.boxes, e.boxes);
            assert_eq!(sample.masks().unwrap().areas(), e.areas);
        }
    }
}
