//! Batch augments against MMDetection's, batch after batch: `tests/data/batch_augments.json`, made by `batch_augments.py` beside it.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::*;
use crate::batch::Pictures;
use crate::config::MapLoader;
use crate::data::Meta;
use crate::device::gpu_for_tests;
use crate::losses::tests::uniform;
use crate::structures::{Masks, Xyxy};

#[derive(Deserialize)]
struct Row {
    augments: Vec<String>,
    seed: u64,
    steps: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    /// Height and width.
    input: [usize; 2],
    /// The same of what came out.
    shape: [usize; 2],
    /// Every 29th number.
    pixels: Vec<f32>,
    /// Two objects and one that is ignored, for each picture.
    boxes: Vec<Vec<f32>>,
    img_shape: Vec<[usize; 2]>,
    pad_shape: Vec<[usize; 2]>,
    scale_factor: Vec<[f64; 2]>,
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../../../tests/data/batch_augments.json");
    serde_json::from_str(text).unwrap()
}

/// Of the largest value: f32 at another order of the same sums.
const NEAR: f32 = 1e-5;

fn assert_near(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= NEAR * largest, "{what}: {a} for {b}");
    }
}

/// The two pictures of the `i`th batch, as in `batch_augments.py`.
fn batch(i: usize, [h, w]: [usize; 2], device: &Device) -> (Batch, Targets) {
    let values: Vec<f32> = uniform(i as u32, 4 * h * w)
        .iter()
        .map(|v| *v as f32)
        .collect();
    let img_shape = [h - 1, w - 2];
    let meta = Meta {
        img_shape,
        pad_shape: img_shape.map(|side| side.next_multiple_of(4)),
        scale_factor: [1.0; 2],
        ..Meta::default()
    };
    let objects = |k: usize| {
        let places = uniform((10 * i + k) as u32, 12);
        let bbox = |at: &[f64]| -> Xyxy {
            let [x, y] = [0, 1].map(|c| (at[c].min(at[c + 2]), at[c].max(at[c + 2])));
            let (w, h) = (w as f64, h as f64);
            [x.0 * w, y.0 * h, x.1 * w, y.1 * h].map(|v| v as f32)
        };
        let all: Vec<Xyxy> = places.chunks(4).map(bbox).collect();
        Objects {
            boxes: all[..2].to_vec(),
            labels: vec![0, 1],
            ignored: all[2..].to_vec(),
            masks: Some(Masks::none(w, h)),
        }
    };
    let batch = Batch {
        pixels: Tensor::from_data(TensorData::new(values, [2, 2, h, w]), device),
        pictures: Pictures {
            metas: vec![meta; 2],
            rescale: true,
        },
    };
    let pictures = (0..2).map(objects).collect();
    (batch, Targets { pictures })
}

fn read(augments: &[String]) -> Result<BatchAugments, String> {
    let augments = augments.join(",\n    ");
    let text = format!("model = dict(data_preprocessor=dict(batch_augments=[{augments}]))");
    let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
    let found = BatchAugments::read(&config, &crate::registry());
    found.map_err(|problems| config.errors(problems).to_string())
}

fn compare(device: &Device) {
    for row in rows() {
        let mut augments = read(&row.augments).unwrap();
        for (i, expected) in row.steps.iter().enumerate() {
            let name = format!("{:?}, batch {i}", row.augments);
            // As if every iteration came after --resume.
            let state = augments.state();
            augments = read(&row.augments).unwrap();
            augments.restore(&state);
            let (mut batch, mut targets) = batch(i, expected.input, device);
            let moment = Moment {
                seed: row.seed,
                iter: i as u64,
            };
            augments.apply(&mut batch, &mut targets, moment).unwrap();
            let [_, _, h, w] = batch.pixels.dims();
            assert_eq!([h, w], expected.shape, "{name}");
            let pixels: Vec<f32> = batch.pixels.into_data().try_into_vec().unwrap();
            let pixels: Vec<f32> = pixels.into_iter().step_by(29).collect();
            assert_near(&pixels, &expected.pixels, &name);
            for (k, meta) in batch.pictures.metas.iter().enumerate() {
                assert_eq!(meta.img_shape, expected.img_shape[k], "{name}");
                assert_eq!(meta.pad_shape, expected.pad_shape[k], "{name}");
                assert_eq!(meta.scale_factor, expected.scale_factor[k], "{name}");
                let Objects { boxes, ignored, .. } = &targets.pictures[k];
                let boxes = [&boxes[..], &ignored[..]].concat().concat();
                assert_near(&boxes, &expected.boxes[k], &name);
            }
        }
    }
}

#[test]
fn as_in_the_original() {
    compare(&Device::flex());
}

#[test]
fn as_in_the_original_on_a_gpu() {
    if let Some(device) = gpu_for_tests() {
        compare(&device);
    }
}

#[test]
fn masks_are_padded_where_asked() {
    for (more, size) in [("", [16, 12]), (", pad_mask=True", [24, 20])] {
        let text = format!("dict(type='BatchFixedSizePad', size=(20, 24){more})");
        let (mut batch, mut targets) = batch(0, [12, 16], &Device::flex());
        let moment = Moment { seed: 0, iter: 0 };
        let mut augments = read(&[text]).unwrap();
        augments.apply(&mut batch, &mut targets, moment).unwrap();
        let masks = targets.pictures[1].masks.as_ref().unwrap();
        assert_eq!(masks.size(), size);
    }
}

#[test]
fn mistakes_point_at_the_text() {
    for (augments, words) in [
        (
            "dict(type='BatchSyncRandomResise', random_size_range=(480, 800))",
            &[
                "a.py:1:63",
                "unknown batch augment type",
                "did you mean type='mmdet.BatchSyncRandomResize'?",
            ][..],
        ),
        ("dict(type='BatchFixedSizePad')", &["`size`"]),
        (
            "dict(type='BatchFixedSizePad', size=(1 << 16, 1 << 16))",
            &["65536 x 65536 px"],
        ),
        (
            "dict(type='BatchResize', scale=(800, 1333), divisor=2)",
            &["`divisor`"],
        ),
        (
            "dict(type='BatchSyncRandomResize', random_size_range=(800, 480))",
            &["heights of 25 to 15 times 32 px", "(least, most)"],
        ),
        (
            "dict(type='BatchSyncRandomResize', random_size_range=(10, 480))",
            &["heights of 0 to 15"],
        ),
        (
            "dict(type='BatchSyncRandomResize', random_size_range=(480, 800), interval=0)",
            &["out of bounds"],
        ),
        (
            "dict(type='ResNet')",
            &["is a backbone, not a batch augment"],
        ),
    ] {
        let error = read(&[augments.into()]).err().unwrap();
        for words in words {
            assert!(error.contains(words), "`{words}` in {error}");
        }
    }
    let config = |text: &str| {
        let text = format!("model = dict(data_preprocessor={text})");
        let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
        BatchAugments::read(&config, &crate::registry()).map_err(|p| p[0].to_string())
    };
    let error = config("dict(batch_augments=dict(type='BatchResize'))");
    assert!(error.err().unwrap().contains("is a list"));
    for none in ["None", "dict()", "dict(batch_augments=None)"] {
        assert!(config(none).unwrap().is_empty());
    }
}

#[test]
fn a_size_that_cannot_be() {
    let text = "dict(type='BatchSyncRandomResize', random_size_range=(32, 32), interval=1)";
    let mut augments = read(&[text.into()]).unwrap();
    for (iter, size, fails) in [(0, [64, 4], false), (1, [64, 4], true)] {
        let (mut batch, mut targets) = batch(0, size, &Device::flex());
        let given = augments.apply(&mut batch, &mut targets, Moment { seed: 0, iter });
        assert_eq!(given.is_err(), fails, "{given:?}");
    }
}
