//! `cargo bench -p smalti --bench regions`: what second stages do beside convolutions, on the device that `SMALTI_DEVICE` names (`cpu` if it is not
//! set): regions read from a pyramid, suppression in 80 classes, masks pasted. Prints the median milliseconds of each as JSON;
//! `compare_regions.py` beside this file times the same with MMDetection and torchvision.
//!
//! `nms` is suppression alone, on the processor whatever the device is. `choose` is what a detector does: 80 scores a box, filter, suppression, and the
//! boxes kept read from the device; its largest is what a GPU has room for.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, json};
use smalti::batch::Pictures;
use smalti::data::Meta;
use smalti::device;
use smalti::ops::detections::detect_blocking;
use smalti::ops::detections::{Candidates, Coder, Group, Labels, Level as Scores, Scoring, Select};
use smalti::ops::mask_paste::{self, Level};
use smalti::ops::roi_align::{Bin, Choice, Sampling, roi_align};
use smalti_shaders::reference::nms::{NmsConfig, batched_nms};

/// Height and width of the picture, px.
const SIZE: [usize; 2] = [800, 1344];

/// The `i`-th number from 0 to 1 of a series; Python's is the same.
fn unit(i: usize) -> f32 {
    (i as u64 * 2_654_435_761 % 4_294_967_296) as f32 / 4_294_967_296.0
}

/// Boxes of 16 to 512 px a side.
fn boxes(count: usize) -> Vec<[f32; 4]> {
    let [height, width] = SIZE.map(|side| side as f32);
    let bbox = |i: usize| {
        let [w, h] = [4 * i, 4 * i + 1].map(|i| 16.0 * 32f32.powf(unit(i)));
        let x = unit(4 * i + 2) * (width - w);
        let y = unit(4 * i + 3) * (height - h).max(0.0);
        [x, y, x + w, y + h]
    };
    (0..count).map(bbox).collect()
}

/// The median of some runs, ms.
fn time<T>(mut run: impl FnMut() -> T) -> f64 {
    drop(run());
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            drop(run());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}

/// Boxes with one score above 0 each, on two levels.
fn candidates(count: usize, nms: NmsConfig, device: &Device) -> Candidates {
    const CLASSES: usize = 80;
    let boxes = boxes(count);
    let level = |first: usize| {
        let places = count / 2;
        let mut scores = vec![0.0; CLASSES * places];
        let mut sides = vec![0.0; 4 * places];
        for i in 0..places {
            let class = (unit(first + i + 13) * CLASSES as f32) as usize;
            scores[class * places + i] = 0.1 + 0.9 * unit(first + i + 7);
            for (side, value) in boxes[first + i].into_iter().enumerate() {
                sides[side * places + i] = value;
            }
        }
        let tensor = |values, channels| {
            Tensor::from_data(TensorData::new(values, [1, channels, 1, places]), device)
        };
        Scores {
            scores: tensor(scores, CLASSES),
            activation: Scoring::None,
            factor: None,
            boxes: tensor(sides, 4),
            coder: Coder::Xyxy {
                clip: false,
                each: 1,
            },
        }
    };
    Candidates {
        levels: vec![level(0), level(count / 2)],
        select: Select {
            classes: CLASSES,
            score_thr: 0.05,
            at_least: false,
            labels: Labels::Every,
            nms_pre: count as i64,
            min_bbox_size: 0.0,
            group: Group::Class,
            nms,
            max_per_img: count as i64,
        },
    }
}

fn main() {
    let spec = std::env::var("SMALTI_DEVICE").unwrap_or_else(|_| "cpu".into());
    let chosen = device::choose_blocking(&spec).expect("a device");
    let device = chosen.device;
    eprintln!("on {}", chosen.name);
    let mut found = Map::new();
    let maps: Vec<Tensor<4>> = [4, 8, 16, 32]
        .map(|stride| {
            let [h, w] = SIZE.map(|side| side / stride);
            let values = (0..256 * h * w).map(unit).collect::<Vec<f32>>();
            Tensor::from_data(TensorData::new(values, [1, 256, h, w]), &device)
        })
        .into();
    let rows = boxes(1000)
        .into_iter()
        .flat_map(|[a, b, c, d]| [0.0, a, b, c, d]);
    let rows = TensorData::new(rows.collect::<Vec<f32>>(), [1000, 5]);
    let rows = Tensor::<2>::from_data(rows, &device);
    let scales = [4.0f32, 8.0, 16.0, 32.0].map(f32::recip);
    for (name, side, count) in [
        ("roi_align 1000 7x7", 7, 1000),
        ("roi_align 100 14x14", 14, 100),
    ] {
        let sampling = Sampling {
            bins: [side; 2],
            ratio: 0,
            aligned: true,
            bin: Bin::Mean,
        };
        let choice = Choice::BySize {
            finest: 56.0,
            epsilon: 1e-6,
        };
        let rows = rows.clone().narrow(0, 0, count);
        let ms = time(|| {
            let read = roi_align(&maps, &scales, rows.clone(), sampling, choice);
            device.sync().expect("a device");
            read
        });
        found.insert(name.into(), json!(ms));
    }
    let config = NmsConfig {
        iou_threshold: 0.5,
        ..NmsConfig::default()
    };
    for count in [1_000, 10_000, 100_000] {
        let boxes = boxes(count);
        let scores: Vec<f32> = (0..count).map(|i| unit(i + 7)).collect();
        let groups: Vec<u32> = (0..count).map(|i| (unit(i + 13) * 80.0) as u32).collect();
        let ms = time(|| batched_nms(&boxes, &scores, &groups, &config, count));
        found.insert(format!("nms {count}"), json!(ms));
    }
    let pictures = Pictures {
        metas: vec![Meta {
            img_shape: SIZE,
            scale_factor: [1.0; 2],
            ..Meta::default()
        }],
        rescale: true,
    };
    for count in [1_000, 10_000, 16_384] {
        let candidates = candidates(count, config.clone(), &device);
        let ms = time(|| detect_blocking(&candidates, &pictures).expect("boxes"));
        found.insert(format!("choose {count}"), json!(ms));
    }
    let masks = (0..100 * 28 * 28).map(unit).collect::<Vec<f32>>();
    let masks = Tensor::<3>::from_data(TensorData::new(masks, [100, 28, 28]), &device);
    let of_masks = boxes(100);
    let [height, width] = SIZE;
    let level = Level::Threshold(0.5);
    let ms = time(|| {
        let pasted = mask_paste::paste(masks.clone(), &of_masks, [width, height], level);
        pollster::block_on(pasted).expect("masks")
    });
    found.insert("paste 100 masks".into(), json!(ms));
    println!("{}", serde_json::Value::Object(found));
}
