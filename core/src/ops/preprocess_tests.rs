//! Whole pipelines against MMDetection's: rows made by mmdet 3.3.0, mmengine 0.10.7, mmcv 2.1.0 with OpenCV
//! 4.11 and Pillow 13 (`Compose` of the steps on an array, then `DetDataPreprocessor`), and by it alone.

use burn::tensor::Device;

use super::*;
use crate::config::parse_value;
use crate::data::pipeline::Pipeline;
use crate::data::random::Counter;
use crate::data::sample::Sample;
use crate::data::transforms::{Context, Files};
use crate::data::{Lookup, Picture};
use crate::device::gpu_for_tests as gpu;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("no files".into())
    }
}

struct Row {
    /// After loading; `PackDetInputs` follows.
    steps: &'static str,
    preprocessor: &'static str,
    /// Height and width of the batch.
    shape: [usize; 2],
    /// Of the first picture.
    img_shape: [usize; 2],
    scale_factor: [f64; 2],
    /// At `i * n / 7 + i * 13 % 5`.
    values: [f32; 7],
    sum: f64,
}

/// Pictures of 64x48 and 50x75 unless [`sizes`] says otherwise.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(133, 80), keep_ratio=True)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [128, 128],
        img_shape: [80, 107],
        scale_factor: [1.671875, 1.6666666666666667],
        values: [-0.57667613, 0.0, 0.0, 0.8796514, 0.0, -0.07492995, -0.09638342],
        sum: 8627.997753426433,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 114, 114)))",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), bgr_to_rgb=False)",
        shape: [64, 64],
        img_shape: [64, 64],
        scale_factor: [1.0, 1.0],
        values: [-1.8044444, -0.42507002, 1.6291068, -0.67942464, 0.21734206, 0.7248052, -0.039915945],
        sum: 4614.1319554382935,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0)))",
        preprocessor: "dict(type='DetDataPreprocessor', pad_size_divisor=32, pad_value=114)",
        shape: [64, 64],
        img_shape: [64, 64],
        scale_factor: [1.0, 1.0],
        values: [0.0, 114.0, 141.0, 70.0, 80.0, 34.0, 35.0],
        sum: 2969531.0,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=False)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(127.5,), std=(127.5,), rgb_to_bgr=True, pad_size_divisor=5, pad_value=0.25)",
        shape: [65, 100],
        img_shape: [64, 96],
        scale_factor: [1.5, 1.3333333333333333],
        values: [-0.29411766, 0.5921569, -0.08235294, 0.2, 0.30980393, 0.003921569, -0.4117647],
        sum: -621.3804201483727,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='FixScaleResize', scale=(80, 133), keep_ratio=True, backend='pillow')",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 128],
        img_shape: [80, 106],
        scale_factor: [1.65625, 1.6666666666666667],
        values: [-0.57667613, 0.0, 1.2030813, 0.0, 0.07406451, 1.6757704, 0.0],
        sum: 7151.264537532348,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='FixScaleResize', scale=(80, 133), keep_ratio=True)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [128, 128],
        img_shape: [80, 106],
        scale_factor: [1.65625, 1.6666666666666667],
        values: [-0.57667613, 0.0, 0.0, 0.82736385, 0.0, -0.07492995, -0.09638342],
        sum: 8582.730919130612,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale_factor=(0.7, 1.9), keep_ratio=True)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [64, 64],
        img_shape: [45, 60],
        scale_factor: [0.9375, 0.9375],
        values: [-0.6109256, 0.0, 0.0, 0.09533771, 0.09118926, -0.47759104, 0.7576471],
        sum: 2141.163460239768,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(100, 60), keep_ratio=True, interpolation='area')",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 96],
        img_shape: [60, 80],
        scale_factor: [1.25, 1.25],
        values: [-0.57667613, 0.0, 0.0, 0.0, 0.12543876, 0.32773113, 0.0],
        sum: 4884.879654308315,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(30, 20), keep_ratio=True, interpolation='nearest')",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [32, 32],
        img_shape: [20, 27],
        scale_factor: [0.421875, 0.4166666666666667],
        values: [-0.57667613, 0.0, 0.0, -1.316427, 0.0, 0.2927171, 0.0],
        sum: 637.2959296666086,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Pad', size_divisor=32, pad_val=dict(img=7)), dict(type='Resize', scale=(50, 50))",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [64, 64],
        img_shape: [50, 50],
        scale_factor: [0.78125, 0.78125],
        values: [-0.6965494, 0.0, -1.9131653, -0.07895423, 0.108314015, -1.1603642, 0.3567756],
        sum: -7437.81921243621,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Pad', size_divisor=32, pad_val=dict(img=7)), dict(type='Pad', size=(128, 128), pad_val=7)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [128, 128],
        img_shape: [128, 128],
        scale_factor: [1.0, 1.0],
        values: [-0.57667613, -1.9980307, -1.9131653, -1.68244, -1.9980307, -1.9131653, -0.86326796],
        sum: -141863.74750675913,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Pad', size_divisor=32, pad_val=dict(img=9.4))",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 64],
        img_shape: [64, 64],
        scale_factor: [1.0, 1.0],
        values: [-0.57667613, 0.0, 0.0, -1.6475817, -1.5356623, 0.34523812, 0.65307194],
        sum: -16559.768628976308,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(40, 40), keep_ratio=True), dict(type='Resize', scale=(77, 53))",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [64, 96],
        img_shape: [53, 77],
        scale_factor: [1.925, 1.7666666666666666],
        values: [-0.7992979, 0.0, -0.17997198, 0.077908516, -0.7136742, 0.67787117, -0.27067536],
        sum: 3746.7855769400485,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='Resize', scale=(40, 40), keep_ratio=True), dict(type='Pad', size=(140, 90), padding_mode='reflect')",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 160],
        img_shape: [90, 140],
        scale_factor: [0.625, 0.625],
        values: [-0.7992979, -1.3301653, 0.6953782, 0.0, -0.35405433, -1.0903361, 0.89708066],
        sum: 11828.468620368745,
    },
    Row {
        steps: "dict(type='LoadImageFromFile', to_float32=True), dict(type='Resize', scale=(80, 64), keep_ratio=True)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 96],
        img_shape: [60, 80],
        scale_factor: [1.25, 1.25],
        values: [-0.57667613, 0.0, 0.0, 0.0, -0.7348984, 0.28153774, 0.0],
        sum: 4333.204653746863,
    },
    Row {
        steps: "dict(type='LoadImageFromFile', to_float32=True), dict(type='Resize', scale=(80, 64), keep_ratio=True), dict(type='Pad', size_divisor=32, pad_val=dict(img=(1.5, 2.5, 3.5)))",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(127.5,), std=(127.5,), rgb_to_bgr=True, pad_size_divisor=5, pad_value=0.25)",
        shape: [100, 100],
        img_shape: [64, 96],
        scale_factor: [1.25, 1.25],
        values: [-0.29411766, 0.25, 0.25, -0.39803922, 0.25, -0.98039216, -0.3091889],
        sum: -4587.673241552147,
    },
    Row {
        steps: "dict(type='LoadImageFromFile'), dict(type='ResizeShortestEdge', scale=60, max_size=80)",
        preprocessor: "dict(type='DetDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr_to_rgb=True, pad_size_divisor=32)",
        shape: [96, 96],
        img_shape: [60, 80],
        scale_factor: [1.25, 1.25],
        values: [-0.57667613, 0.0, 0.0, 0.0, -0.7307989, 0.2752101, 0.0],
        sum: 4276.429004070815,
    },
];

/// The picture of `width` x `height` BGR pixels that the rows are made of.
fn picture(width: usize, height: usize) -> Picture {
    let samples =
        (0..width * height * 3).map(|i| ((i * i * 7 + i * 31 + (i >> 3) * 17) % 251) as u8);
    Picture::new(width, height, 3, samples.collect()).unwrap()
}

fn sizes(row: usize) -> Vec<[usize; 2]> {
    match row {
        1 => vec![[64, 48], [50, 75], [64, 64], [7, 200]],
        4 => vec![[64, 48], [33, 33]],
        _ => vec![[64, 48], [50, 75]],
    }
}

fn parsed(row: &Row) -> (Pipeline, DetDataPreprocessor) {
    let steps = format!("[{}, dict(type='PackDetInputs')]", row.steps);
    let pipeline = Pipeline::read(&parse_value(&steps).unwrap()).unwrap();
    let preprocessor = parse_value(row.preprocessor).unwrap();
    let preprocessor = DetDataPreprocessor::read(&preprocessor).unwrap();
    (pipeline, preprocessor)
}

#[test]
fn same_batches_as_mmdetection() {
    let mut devices = vec![Device::flex()];
    devices.extend(gpu());
    for (i, row) in ROWS.iter().enumerate() {
        let (pipeline, preprocessor) = parsed(row);
        let prepared: Vec<Packed> = sizes(i)
            .into_iter()
            .map(|[w, h]| pipeline.run("x", picture(w, h)).unwrap())
            .collect();
        let meta = &prepared[0].meta;
        assert_eq!(
            (meta.img_shape, meta.scale_factor),
            (row.img_shape, row.scale_factor)
        );
        // u8 to the bit; f32 within OpenCV's own freedom of a few units in the last place of 255
        let tolerance = if pipeline.load().to_float32 {
            2e-5
        } else {
            0.0
        };
        for device in &devices {
            let batch = batch(&prepared, &preprocessor, device).unwrap();
            assert_eq!(
                batch.dims(),
                [prepared.len(), 3, row.shape[0], row.shape[1]]
            );
            let found = batch.into_data().try_to_vec::<f32>().unwrap();
            let n = found.len();
            for (k, expected) in row.values.iter().enumerate() {
                let at = (k * n / 7 + k * 13 % 5).min(n - 1);
                assert!(
                    (found[at] - expected).abs() <= tolerance,
                    "row {i} ({}) at {at}: {} instead of {expected}",
                    row.steps,
                    found[at]
                );
            }
            let sum: f64 = found.iter().map(|v| f64::from(*v)).sum();
            assert!(
                (sum - row.sum).abs() < 0.02,
                "row {i}: {sum} instead of {}",
                row.sum
            );
        }
    }
}

#[test]
fn kernel_and_twin_agree_on_any_size() {
    let Some(gpu) = gpu() else { return };
    let mut state = 11u32;
    let mut random = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % n
    };
    let sizes = [1, 2, 31, 63, 64, 65, 100];
    for case in 0..12 {
        let scale = [sizes[random(7)], sizes[random(7)]];
        let row = Row {
            steps: "",
            preprocessor: "dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6], rgb_to_bgr=True, pad_size_divisor=7)",
            shape: [0; 2],
            img_shape: [0; 2],
            scale_factor: [0.0; 2],
            values: [0.0; 7],
            sum: 0.0,
        };
        let steps = format!(
            "dict(type='LoadImageFromFile'), dict(type='Resize', scale=({}, {}))",
            scale[0], scale[1]
        );
        let row = Row {
            steps: steps.leak(),
            ..row
        };
        let (pipeline, preprocessor) = parsed(&row);
        let prepared: Vec<Packed> = (0..=case % 3)
            .map(|_| {
                pipeline
                    .run("x", picture(sizes[random(7)], sizes[random(7)]))
                    .unwrap()
            })
            .collect();
        let [a, b] = [&Device::flex(), &gpu].map(|device| {
            let batch = batch(&prepared, &preprocessor, device).unwrap();
            batch.into_data().try_to_vec::<f32>().unwrap()
        });
        assert_eq!(a, b, "{}", row.steps);
    }
}

/// Pictures as training leaves them: composed, on the device, u8 and f32.
#[test]
fn pictures_of_training() {
    let pre = "dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True, pad_size_divisor=7, pad_value=9)";
    let preprocessor = DetDataPreprocessor::read(&parse_value(pre).unwrap()).unwrap();
    let steps = [
        "[]",
        "[dict(type='Resize', scale=(30, 20))]",
        "[dict(type='Resize', scale=(30, 20)), dict(type='Pad', size=(40, 33)), dict(type='RandomFlip', prob=1.0)]",
        "[dict(type='PhotoMetricDistortion'), dict(type='Pad', size=(40, 33))]",
    ];
    let mut places = vec![(Device::flex(), Pixels::cpu())];
    if let Some(gpu) = gpu() {
        places.push((gpu.clone(), Pixels::cpu()));
        let engine = super::super::augment::engine(&gpu).unwrap();
        places.push((gpu, Pixels::on(engine)));
    }
    let sample = |steps: &str, pixels: &Pixels, size: [usize; 2]| {
        let steps = Lookup::own()
            .transforms(Some(&parse_value(steps).unwrap()))
            .unwrap();
        let mut random = Counter::new(1);
        let mut cx = Context::new(&mut random, pixels, &NoFiles);
        let mut sample = Sample::new(Default::default());
        sample.set_image(Image::from(picture(size[0], size[1])));
        let sample = cx.run_all(&steps, sample).unwrap().unwrap();
        let pack = parse_value("[dict(type='PackDetInputs')]").unwrap();
        let pack = Lookup::own().transforms(Some(&pack)).unwrap();
        Packed::of(cx.run_all(&pack, sample).unwrap().unwrap()).unwrap()
    };
    let all: Vec<Vec<f32>> = places
        .iter()
        .map(|(device, pixels)| {
            let pictures: Vec<Packed> = steps
                .iter()
                .flat_map(|steps| [[21, 17], [64, 3]].map(|size| sample(steps, pixels, size)))
                .collect();
            let found = batch(&pictures, &preprocessor, device).unwrap();
            assert_eq!(found.dims(), [8, 3, 35, 70]);
            found.into_data().try_to_vec::<f32>().unwrap()
        })
        .collect();
    // by hand: the first value of the first picture, red first
    let first = picture(21, 17);
    assert_eq!(all[0][0], (f32::from(first.pixels()[2]) - 1.0) / 4.0);
    assert_eq!(all[0][69], 9.0, "outside of the picture");
    for other in &all[1..] {
        let worst = all[0]
            .iter()
            .zip(other)
            .fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        // u8 to the bit; PhotoMetricDistortion on a GPU within its own tolerance of 1e-2 of 255, of which a standard deviation is 4
        assert!(worst <= 2.5e-3, "{worst}");
        let u8s = 6 * 3 * 35 * 70;
        assert_eq!(other[..u8s], all[0][..u8s]);
    }
}

#[test]
fn batches_that_cannot_be() {
    let row = &ROWS[0];
    let (pipeline, preprocessor) = parsed(row);
    let device = Device::flex();
    assert_eq!(
        batch(&[], &preprocessor, &device).unwrap_err(),
        "a batch of no pictures"
    );
    let grey = Picture::new(2, 2, 1, vec![0; 4]).unwrap();
    let mixed = [
        pipeline.run("colour", picture(4, 4)).unwrap(),
        pipeline.run("grey", grey).unwrap(),
    ];
    let error = batch(&mixed, &preprocessor, &device).unwrap_err();
    assert_eq!(
        error,
        "pictures of one batch differ in channels: 3, and 1 in grey"
    );
    let error = batch(&mixed[1..], &preprocessor, &device).unwrap_err();
    assert!(error.contains("color_type='color'"), "{error}");
}
