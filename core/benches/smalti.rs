//! `cargo bench -p smalti`: the parts of inference on the CPU device, and on a GPU where there is one (`-- gpu`).
//! `peer.py` beside this file times the same with PyTorch.

use std::path::{Path, PathBuf};

use burn::tensor::module;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smalti::assigners::Priors;
use smalti::batch::Pictures;
use smalti::build::Build;
use smalti::config::{Config, parse_value};
use smalti::data::Meta;
use smalti::data::Picture;
use smalti::data::pipeline::Pipeline;
use smalti::data::preprocessor::DetDataPreprocessor;
use smalti::host::{cache, config_files::ConfigFiles};
use smalti::layers::{Activation, Mode, Params, Weight};
use smalti::losses::{ClassLoss, FocalLoss};
use smalti::ops::conv::{ConvShape, Finish, conv2d};
use smalti::ops::detections::{
    Candidates, Coder, Group, Labels, Level, Scoring, Select, detect_blocking,
};
use smalti::ops::preprocess::batch;
use smalti::probe::Probe;
use smalti::targets::Objects;
use smalti::{Precision, Predictor};
use smalti_shaders::reference::decode::DeltaCoder;
use smalti_shaders::reference::nms::NmsConfig;

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn load(name: &str) -> Config {
    Config::load(&configs().join(name).to_string_lossy(), &ConfigFiles::new()).unwrap()
}

const DIGITS: &str = "demo/retinanet_mobilenetv3-small_fpn_digits.py";
const R50: &str = "_base_/retinanet_r50.py";

fn reading(c: &mut Criterion) {
    c.bench_function("config/retinanet_r50", |b| b.iter(|| load(R50)));
    let path = configs().join("demo/digits.pth");
    c.bench_function("checkpoint/digits.pth, every tensor", |b| {
        b.iter(|| {
            let checkpoint = cache::open(&path).unwrap();
            let values = checkpoint.keys().map(|k| checkpoint.f32(k).unwrap().len());
            values.sum::<usize>()
        })
    });
    let config = load(R50);
    c.bench_function("model/retinanet_r50, names and shapes", |b| {
        b.iter(|| smalti::model::state(&config, &smalti::registry()).unwrap())
    });
}

fn picture(w: usize, h: usize) -> Picture {
    let pixels = (0..w * h * 3).map(|i| (i * 31 % 251) as u8).collect();
    Picture::new(w, h, 3, pixels).unwrap()
}

fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::flex())];
    if let Ok(chosen) = pollster::block_on(smalti::device::choose("auto"))
        && chosen.is_gpu
    {
        devices.push(("gpu", chosen.device));
    }
    devices
}

fn models(c: &mut Criterion) {
    for (name, device) in devices() {
        let config = load(DIGITS);
        let checkpoint = cache::open(&configs().join("demo/digits.pth")).unwrap();
        let digits = Predictor::builder(&config)
            .checkpoint(checkpoint)
            .device(&device)
            .build()
            .unwrap();
        let pictures = [picture(320, 320)];
        c.bench_function(&format!("{name}/digits 320x320, picture to boxes"), |b| {
            b.iter(|| pollster::block_on(digits.detect(&pictures)).unwrap())
        });

        let r50_config = load(R50);
        let node = smalti::model::test_pipeline(&r50_config).unwrap();
        let pipeline = Pipeline::read(node).unwrap();
        let preprocessor =
            DetDataPreprocessor::read(r50_config.at("model.data_preprocessor").unwrap()).unwrap();
        let prepared = [pipeline.run("a picture", picture(640, 480)).unwrap()];
        c.bench_function(&format!("{name}/preprocess 640x480 to 1067x800"), |b| {
            b.iter(|| {
                let batch = batch(&prepared, &preprocessor, &device).unwrap();
                device.sync().unwrap();
                batch
            })
        });

        let params = Params::new(&device, Mode::Fixed, None);
        let r50 = smalti::model::build(&r50_config, &smalti::registry(), params, None).unwrap();
        let input = Tensor::<4>::zeros([1, 3, 800, 1344], &device);
        let pictures = one_picture();
        let mut group = c.benchmark_group("slow");
        group.sample_size(10);
        group.bench_function(format!("{name}/retinanet_r50 800x1344, forward"), |b| {
            b.iter(|| {
                // What is queued, but for the read-back: maps and the head.
                let mut heads = Vec::new();
                let mut keep = |_: &str, tensors: &[Tensor<4>]| heads.extend(tensors.to_vec());
                let mut probe = Probe::new(&mut keep);
                let maps = r50.extract(input.clone(), &mut Probe::off());
                drop(r50.predict(maps, &pictures, &mut probe));
                device.sync().unwrap();
                heads
            })
        });
        group.finish();
        operations(c, name, &device);
    }
}

/// What is known of a batch of one picture.
fn one_picture() -> Pictures {
    let meta = Meta {
        img_shape: [800, 1344],
        scale_factor: [1.0; 2],
        ..Meta::default()
    };
    Pictures {
        metas: vec![meta],
        rescale: true,
    }
}

fn operations(c: &mut Criterion, name: &str, device: &Device) {
    let values = |n: usize, low: f32, high: f32| -> Vec<f32> {
        let unit = |i: usize| (i as f32 * 12.9898).sin().abs();
        (0..n).map(|i| low + (high - low) * unit(i)).collect()
    };
    let level = |stride: usize| {
        let (h, w) = (800 / stride, 1344 / stride);
        let tensor = |channels: usize, low, high| {
            let data = TensorData::new(values(channels * h * w, low, high), [1, channels, h, w]);
            Tensor::<4>::from_data(data, device)
        };
        let size = 4.0 * stride as f32;
        Level {
            scores: tensor(9 * 80, -12.0, 0.5),
            activation: Scoring::Sigmoid,
            factor: None,
            boxes: tensor(9 * 4, -0.5, 0.5),
            coder: Coder::Delta {
                coder: DeltaCoder::default(),
                base_anchors: vec![[-size / 2.0, -size / 2.0, size / 2.0, size / 2.0]; 9],
                stride: [stride; 2],
            },
        }
    };
    let levels: Vec<_> = [8, 16, 32, 64, 128].map(level).into();
    let pictures = one_picture();
    let candidates = Candidates {
        levels,
        select: Select {
            classes: 80,
            score_thr: 0.05,
            at_least: false,
            labels: Labels::Every,
            nms_pre: 1000,
            min_bbox_size: 0.0,
            group: Group::Class,
            nms: NmsConfig::default(),
            max_per_img: 100,
        },
    };
    c.bench_function(&format!("{name}/postprocess, 800x1344, 80 classes"), |b| {
        b.iter(|| detect_blocking(&candidates, &pictures).unwrap())
    });
}

/// 3x3 convolutions on the CPU, bias and ReLU with them, beside burn's own.
fn convolution(c: &mut Criterion) {
    let device = Device::flex();
    let shape = ConvShape {
        stride: [1; 2],
        padding: [(1, 1); 2],
        dilation: [1; 2],
        groups: 1,
        precision: Precision::F32,
    };
    for (channels, [h, w]) in [
        (64, [200, 336]),
        (128, [100, 168]),
        (256, [100, 168]),
        (256, [50, 84]),
        (512, [25, 42]),
        (256, [13, 21]),
        (256, [7, 11]),
        (64, [40, 40]),
        (32, [40, 40]),
        (16, [40, 40]),
    ] {
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        };
        let x = random([1, channels, h, w]);
        let weight = random([channels, channels, 3, 3]);
        let finish = Finish {
            bias: Some(Tensor::zeros([channels], &device)),
            add: None,
            act: Some(Activation::Relu),
        };
        let mut group = c.benchmark_group("slow");
        group.sample_size(10);
        let name = format!("conv 3x3 {h}x{w} {channels}");
        let ours = Weight::from(weight.clone());
        group.bench_function(format!("{name}, ours"), |b| {
            b.iter(|| conv2d(x.clone(), &ours, &shape, finish.clone()))
        });
        group.bench_function(format!("{name}, burn's"), |b| {
            b.iter(|| {
                let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
                let y = module::conv2d(x.clone(), weight.clone(), finish.bias.clone(), options);
                Activation::Relu.forward(y)
            })
        });
        group.finish();
    }
}

/// What a step of training costs beside convolutions: which anchors of RetinaNet at 800x1344 find which of 50 objects, and the focal loss of
/// 80 classes with its gradient.
fn learning(c: &mut Criterion) {
    let strides = [8usize, 16, 32, 64, 128];
    let mut boxes = Vec::new();
    let levels = strides.map(|stride| {
        let first = boxes.len();
        for cell in 0..800usize.div_ceil(stride) * 1344usize.div_ceil(stride) {
            let columns = 1344usize.div_ceil(stride);
            let [x, y] = [cell % columns, cell / columns].map(|i| (i * stride) as f32);
            for size in 0..9 {
                let half = stride as f32 * (1.5 + size as f32 * 0.25);
                boxes.push([x - half, y - half, x + half, y + half]);
            }
        }
        boxes.len() - first
    });
    let strides = strides.map(|stride| [stride as f32; 2]);
    let priors = Priors::new(&boxes, &levels, &strides);
    let number = |i: usize, most: usize| (i * 7919 % 8191 % most) as f32;
    let objects = (0..50).map(|i| {
        let [x, y] = [number(i, 1200), number(i * 3 + 1, 700)];
        [
            x,
            y,
            x + 16.0 + number(i * 5, 140),
            y + 16.0 + number(i * 7, 100),
        ]
    });
    let objects = Objects {
        boxes: objects.collect(),
        labels: vec![0; 50],
        ..Objects::default()
    };
    let registry = smalti::registry();
    let params = Params::new(&Device::flex(), Mode::Train, None);
    let build = Build::new(&registry, params, "mmdet", None);
    for text in [
        "type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0",
        "type='ATSSAssigner', topk=9",
    ] {
        let node = parse_value(&format!("dict(assigner=dict({text}))")).unwrap();
        let assigner = smalti::assigners::by_boxes(&node, &build).unwrap();
        let name = text.split(',').next().unwrap_or_default();
        c.bench_function(
            &format!("{name}, {} anchors, 50 objects", boxes.len()),
            |b| b.iter(|| assigner.assign(&priors, &objects)),
        );
    }
    for (name, device) in devices() {
        let map = Tensor::<4>::random(
            [2, 720, 100, 168],
            Distribution::Uniform(-6.0, -2.0),
            &device,
        );
        let map = map.autodiff().require_grad();
        let rows = 2 * 9 * 100 * 168;
        let labels = (0..rows).map(|i| i % 97).collect::<Vec<i32>>();
        let data = TensorData::new(labels, [rows as usize]);
        let labels = Tensor::<1, Int>::from_data(data, &map.device());
        let loss = FocalLoss::default();
        let mut group = c.benchmark_group("slow");
        group.sample_size(10);
        group.bench_function(format!("{name}/focal loss 2x9x80x100x168, and back"), |b| {
            b.iter(|| {
                let sum = loss.of_maps(&[&map], 80, labels.clone(), None, None);
                let gradients = sum.backward();
                let gradient = map.grad(&gradients).expect("it was used");
                gradient.narrow(0, 0, 1).narrow(1, 0, 1).into_data()
            })
        });
        group.finish();
    }
}

/// Convolutions on a GPU, a software one too, bias and ReLU with them, beside burn's own: each kernel, and products a second.
fn convolution_on_gpu(c: &mut Criterion) {
    let Ok(chosen) = pollster::block_on(smalti::device::choose("gpu")) else {
        return;
    };
    let device = chosen.device;
    for (channels, filters, [h, w], kernel, stride, groups) in [
        (256, 256, [100, 168], 3, 1, 1),
        (256, 256, [25, 42], 3, 1, 1),
        (256, 256, [7, 11], 3, 1, 1),
        (64, 64, [200, 336], 3, 1, 1),
        (64, 256, [200, 336], 1, 1, 1),
        (1024, 2048, [50, 84], 1, 2, 1),
        (512, 512, [25, 42], 1, 1, 1),
        (3, 64, [800, 1344], 7, 2, 1),
        (256, 256, [100, 168], 3, 2, 1),
        (96, 96, [40, 40], 5, 1, 96),
        (256, 256, [50, 84], 3, 1, 32),
    ] {
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        };
        let shape = ConvShape {
            stride: [stride; 2],
            padding: [(kernel / 2, kernel / 2); 2],
            dilation: [1; 2],
            groups,
            precision: Precision::F32,
        };
        // Channels last, as they come from a convolution.
        let x = random([1, h, w, channels]).permute([0, 3, 1, 2]);
        let weight = random([filters, channels / groups, kernel, kernel]);
        let bias: Tensor<1> = Tensor::zeros([filters], &device);
        let finish = Finish {
            bias: Some(bias.clone()),
            add: None,
            act: Some(Activation::Relu),
        };
        // Many are queued before one is waited for.
        let times = if h < 100 { 20 } else { 5 };
        let products = filters * (channels / groups) * kernel * kernel * (h * w / stride / stride);
        let mut group = c.benchmark_group("slow");
        group.sample_size(10);
        group.throughput(Throughput::Elements((products * times) as u64));
        let mut bench = |whose: &str, run: &dyn Fn() -> Tensor<4>| {
            let name = format!(
                "gpu conv {kernel}x{kernel} {h}x{w} {channels} to {filters}, stride {stride}, groups {groups}, {times} times, {whose}"
            );
            group.bench_function(name, |b| {
                b.iter(|| {
                    (0..times).for_each(|_| drop(run()));
                    device.sync().unwrap();
                })
            });
        };
        let held = Weight::from(weight.clone());
        bench("ours", &|| conv2d(x.clone(), &held, &shape, finish.clone()));
        // burn's fast depthwise kernel takes no bias.
        let depthwise = groups == channels;
        bench("burn's", &|| {
            let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1; 2], groups);
            let with = (!depthwise).then(|| bias.clone());
            let y = module::conv2d(x.clone(), weight.clone(), with, options);
            let y = if depthwise {
                y + bias.clone().reshape([1, filters, 1, 1])
            } else {
                y
            };
            Activation::Relu.forward(y)
        });
        group.finish();
    }
}

criterion_group!(
    benches,
    reading,
    convolution,
    convolution_on_gpu,
    learning,
    models
);
criterion_main!(benches);
