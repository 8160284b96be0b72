//! Tests of the choice of candidates: the kernels against their twins, and MMDetection's figures.

use burn::tensor::{Device, Tensor, TensorData};
use smalti_shaders::reference::nms::{Decay, Method, Soft};
use smalti_shaders::reference::random::Random;

use super::*;
use crate::data::Meta;
use crate::device::gpu_for_tests as gpu;

mod kept;
mod options;

/// A selection, and what levels of anchors need besides.
#[derive(Clone)]
struct Config {
    select: Select,
    activation: Scoring,
    coder: DeltaCoder,
    /// The maps have boxes instead of deltas; whether to clip them.
    boxes: Option<bool>,
}

impl std::ops::Deref for Config {
    type Target = Select;
    fn deref(&self) -> &Select {
        &self.select
    }
}

impl std::ops::DerefMut for Config {
    fn deref_mut(&mut self) -> &mut Select {
        &mut self.select
    }
}

fn config(classes: usize) -> Config {
    Config {
        select: Select {
            classes,
            score_thr: 0.05,
            at_least: false,
            labels: Labels::Every,
            nms_pre: 1000,
            min_bbox_size: 0.0,
            group: Group::Class,
            nms: NmsConfig::default(),
            max_per_img: 100,
        },
        activation: Scoring::Sigmoid,
        coder: DeltaCoder::default(),
        boxes: None,
    }
}

fn meta(h: usize, w: usize) -> Meta {
    Meta {
        img_shape: [h, w],
        scale_factor: [1.0; 2],
        ..Meta::default()
    }
}

fn shown(metas: &[Meta]) -> Pictures {
    Pictures {
        metas: metas.to_vec(),
        rescale: true,
    }
}

/// One level in host memory.
#[derive(Clone)]
struct Maps {
    logits: Vec<f32>,
    /// Or boxes.
    deltas: Vec<f32>,
    factor: Option<Vec<f32>>,
    n: usize,
    channels: usize,
    h: usize,
    w: usize,
    anchors: Vec<[f32; 4]>,
    stride: usize,
}

impl Maps {
    /// Normal logits and deltas. Logits in steps of 1/64: either far enough apart for a GPU's `exp`, or equal.
    fn random(
        random: &mut Random,
        n: usize,
        channels: usize,
        size: [usize; 2],
        stride: usize,
        a: usize,
    ) -> Self {
        let [h, w] = size;
        let s = stride as f32;
        let anchors = (0..a)
            .map(|i| {
                let (x, y) = (s * (1.0 + i as f32 * 0.6), s * (1.6 - i as f32 * 0.25));
                [-x, -y, x, y]
            })
            .collect();
        Maps {
            logits: (0..n * a * channels * h * w)
                .map(|_| (random.normal() * 64.0).round() / 64.0 - 1.0)
                .collect(),
            deltas: (0..n * a * 4 * h * w)
                .map(|_| random.normal() * 0.5)
                .collect(),
            factor: None,
            n,
            channels,
            h,
            w,
            anchors,
            stride,
        }
    }

    fn on(&self, device: &Device, channels_last: bool, config: &Config) -> Level {
        let a = self.anchors.len();
        let tensor = |values: &[f32], c: usize| {
            let (n, h, w) = (self.n, self.h, self.w);
            if !channels_last {
                return Tensor::<4>::from_data(
                    TensorData::new(values.to_vec(), [n, c, h, w]),
                    device,
                );
            }
            let mut last = vec![0f32; values.len()];
            for i in 0..n {
                for k in 0..c {
                    for cell in 0..h * w {
                        last[(i * h * w + cell) * c + k] = values[(i * c + k) * h * w + cell];
                    }
                }
            }
            Tensor::<4>::from_data(TensorData::new(last, [n, h, w, c]), device)
                .permute([0, 3, 1, 2])
        };
        Level {
            scores: tensor(&self.logits, a * self.channels),
            activation: config.activation,
            factor: self.factor.as_ref().map(|f| tensor(f, a)),
            boxes: tensor(&self.deltas, a * 4),
            coder: match config.boxes {
                Some(clip) => Coder::Xyxy { clip, each: 1 },
                None => Coder::Delta {
                    coder: config.coder.clone(),
                    base_anchors: self.anchors.clone(),
                    stride: [self.stride; 2],
                },
            },
        }
    }

    /// One row of places with one box each: the scores of each class, the boxes.
    fn row(scores: &[&[f32]], boxes: &[Xyxy]) -> Self {
        Maps {
            logits: scores.concat(),
            deltas: (0..4)
                .flat_map(|i| boxes.iter().map(move |b| b[i]))
                .collect(),
            factor: None,
            n: 1,
            channels: scores.len(),
            h: 1,
            w: boxes.len(),
            anchors: vec![[0.0; 4]],
            stride: 8,
        }
    }
}

/// Scores within `exp`'s rounding, boxes within a hundredth of a pixel, order equal but for equal scores.
fn assert_same(gpu: &[Instances], cpu: &[Instances], what: &str) {
    assert_eq!(gpu.len(), cpu.len(), "{what}");
    for (g, c) in gpu.iter().zip(cpu) {
        assert_eq!(g.len(), c.len(), "{what}: number of detections");
        for i in 0..g.len() {
            let near = |k: usize| {
                let far = (0..4)
                    .map(|j| (g.boxes[i][j] - c.boxes[k][j]).abs())
                    .fold(0.0, f32::max);
                g.labels[i] == c.labels[k] && (g.scores[i] - c.scores[k]).abs() < 1e-5 && far < 1e-2
            };
            assert!(
                (i.saturating_sub(2)..(i + 3).min(c.len())).any(near),
                "{what}: detection {i} of {}: {:?} {} {}, the CPU has {:?} {} {}",
                g.len(),
                g.boxes[i],
                g.scores[i],
                g.labels[i],
                c.boxes[i],
                c.scores[i],
                c.labels[i]
            );
        }
    }
}

fn candidates(maps: &[Maps], device: &Device, channels_last: bool, config: &Config) -> Candidates {
    let level = |m: &Maps| m.on(device, channels_last, config);
    Candidates {
        levels: maps.iter().map(level).collect(),
        select: config.select.clone(),
    }
}

/// Runs both ways and compares; gives the CPU's result.
fn compare(maps: &[Maps], metas: &[Meta], config: &Config, what: &str) -> Vec<Instances> {
    let on = |device: &Device, last| candidates(maps, device, last, config);
    let pictures = shown(metas);
    let expected = detect_blocking(&on(&Device::flex(), false), &pictures).unwrap();
    if let Some(device) = gpu() {
        for channels_last in [false, true] {
            let candidates = on(&device, channels_last);
            let frames = Frame::all(&pictures, pictures.rescale);
            if can_find(&candidates, &frames) {
                let on_device = launch(&candidates, &frames)
                    .unwrap()
                    .expect("there is room");
                let found = pollster::block_on(on_device.read()).unwrap();
                let found: Vec<Instances> = found
                    .expect("there is room for this batch")
                    .iter()
                    .map(|f| instances(f))
                    .collect();
                assert_same(&found, &expected, what);
                if config.activation == Scoring::None && config.boxes.is_some() {
                    // no exp: equal to the bit, and in order where scores are equal
                    assert_eq!(found, expected, "{what}");
                }
            }
        }
    }
    expected
}

#[test]
fn one_box_by_hand() {
    // 1 x 2 cells, one anchor of 8 x 8 around each cell's corner, stride 8, two classes
    let maps = Maps {
        logits: vec![-9.0, 0.0, -9.0, 2.0],
        deltas: vec![0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        factor: None,
        n: 1,
        channels: 2,
        h: 1,
        w: 2,
        anchors: vec![[-4.0, -4.0, 4.0, 4.0]],
        stride: 8,
    };
    let mut config = config(2);
    let found = &compare(
        std::slice::from_ref(&maps),
        &[meta(3, 100)],
        &config,
        "by hand",
    )[0];
    // centre (8, 0) moved by half a width: x 8 to 16, y -4 to 4, clipped to 0 and 3
    assert_eq!(found.boxes, [[8.0, 0.0, 16.0, 3.0]; 2]);
    assert_eq!(found.labels, [1, 0]);
    assert!((found.scores[0] - 0.880_797).abs() < 1e-6 && found.scores[1] == 0.5);

    config.nms.class_agnostic = true;
    let mut meta = meta(3, 100);
    meta.scale_factor = [2.0, 0.5];
    let found = &compare(&[maps], &[meta], &config, "rescaled")[0];
    assert_eq!(found.boxes, [[4.0, 0.0, 8.0, 6.0]]);
}

/// Scores that are ones, boxes that are ones, no suppression.
fn plain(classes: usize) -> Config {
    let mut config = config(classes);
    config.activation = Scoring::None;
    config.boxes = Some(true);
    config.nms.iou_threshold = 1.0;
    config
}

/// A box of 10 x 10 px at `x`.
fn at(x: f32) -> Xyxy {
    [x, 0.0, x + 10.0, 10.0]
}

/// Maps whose scores are no logits, in steps of 1/64 from -1 to 2, and whose boxes lie around their places.
fn random_boxes(random: &mut Random, like: &Maps) -> Maps {
    let mut maps = like.clone();
    for x in &mut maps.logits {
        *x = (random.unit() * 192.0 - 64.0).floor() / 64.0;
    }
    let a = maps.anchors.len();
    for (at, v) in maps.deltas.iter_mut().enumerate() {
        let (cell, i) = (at % (maps.h * maps.w), at / (maps.h * maps.w) % (a * 4) % 4);
        let middle = [cell % maps.w, cell / maps.w][i % 2] * maps.stride;
        let side = (1.0 + random.unit() * 20.0) * [-1.0, 1.0][i / 2];
        *v = middle as f32 + side;
    }
    maps
}

#[test]
fn sizes_classes_and_batches() {
    let mut random = Random::new(1);
    for (i, [h, w]) in [[1, 1], [1, 63], [8, 8], [5, 13], [33, 31]]
        .into_iter()
        .enumerate()
    {
        for (channels, n) in [(1, 1), (3, 2), (20, 2)] {
            let a = 1 + i % 3;
            let maps = [
                Maps::random(&mut random, n, channels, [h, w], 8, a),
                Maps::random(
                    &mut random,
                    n,
                    channels,
                    [h.div_ceil(2), w.div_ceil(2)],
                    16,
                    a,
                ),
            ];
            let metas = [
                meta(h * 8, w * 8),
                Meta {
                    scale_factor: [1.5, 1.25],
                    ..meta(h * 6, w * 5)
                },
            ];
            for nms_pre in [1, 64, 1000] {
                let mut config = config(channels);
                config.nms_pre = nms_pre;
                config.coder.stds = [0.1, 0.1, 0.2, 0.2];
                compare(
                    &maps,
                    &metas[..n],
                    &config,
                    &format!("{h}x{w} {channels} {n} {nms_pre}"),
                );
            }
        }
    }
}

#[test]
fn options() {
    let mut random = Random::new(2);
    let maps = [
        Maps::random(&mut random, 2, 4, [20, 30], 8, 3),
        Maps::random(&mut random, 2, 4, [10, 15], 16, 3),
    ];
    let metas = [meta(150, 240), meta(160, 200)];
    let base = config(4);
    let all = compare(&maps, &metas, &base, "base");
    assert_eq!(all[0].len(), 100);
    let with = |change: &dyn Fn(&mut Config), what: &str| {
        let mut config = base.clone();
        change(&mut config);
        compare(&maps, &metas, &config, what)
    };
    assert_eq!(with(&|c| c.max_per_img = 7, "max_per_img")[1].len(), 7);
    assert_eq!(with(&|c| c.nms.max_num = 5, "max_num")[1].len(), 5);
    assert!(with(&|c| c.max_per_img = 0, "none wanted")[0].is_empty());
    assert!(with(&|c| c.nms_pre = 0, "no candidates")[0].is_empty());
    let many = with(&|c| c.max_per_img = -1, "slice")[0].len();
    assert_eq!(with(&|c| c.max_per_img = -3, "slice")[0].len(), many - 2);
    assert!(with(&|c| c.score_thr = 0.9999, "none pass")[0].is_empty());
    assert!(with(&|c| c.min_bbox_size = 1e4, "all too small")[0].is_empty());
    with(&|c| c.min_bbox_size = -1.0, "no size limit");
    with(&|c| c.min_bbox_size = 12.0, "size limit");
    with(&|c| c.nms_pre = -1, "no limit");
    with(&|c| c.score_thr = 0.0, "no threshold");
    with(&|c| c.nms.iou_threshold = 0.0, "no overlap at all");
    with(&|c| c.nms.class_agnostic = true, "class agnostic");
    with(&|c| c.nms.score_threshold = 0.7, "score threshold");
    with(&|c| c.nms.offset = 1.0, "offset");
    with(&|c| c.coder.clip_border = false, "no clip");
    with(&|c| c.coder.add_ctr_clamp = true, "centre clamp");
    with(&|c| c.coder.means = [0.1, -0.2, 0.3, -0.4], "means");
    let split = |c: &mut Config| {
        c.nms.class_agnostic = true;
        c.nms.split_thr = 10;
    };
    assert_eq!(with(&split, "split")[0], all[0]);
    for decay in [Decay::Linear, Decay::Naive, Decay::Gaussian] {
        let soft = |c: &mut Config| {
            c.nms.method = Method::Soft(Soft {
                decay,
                ..Soft::default()
            });
            c.max_per_img = 30;
        };
        with(&soft, "soft");
    }
    with(&|c| c.nms.method = Method::None, "none");
}

#[test]
fn softmax() {
    let mut random = Random::new(3);
    let mut maps = Maps::random(&mut random, 2, 5, [17, 19], 8, 2);
    maps.logits[7] = f32::NAN;
    maps.logits[40] = f32::INFINITY;
    maps.logits[99] = f32::NEG_INFINITY;
    let mut config = config(4);
    config.activation = Scoring::Softmax;
    for nms_pre in [65, 2000] {
        config.nms_pre = nms_pre;
        for labels in [Labels::Every, Labels::Best] {
            config.labels = labels;
            let found = compare(
                &[maps.clone()],
                &[meta(130, 150), meta(130, 150)],
                &config,
                "softmax",
            );
            assert!(!found[0].is_empty());
        }
    }
}

#[test]
fn ties_and_broken_numbers() {
    let mut random = Random::new(4);
    let mut maps = Maps::random(&mut random, 1, 3, [40, 50], 8, 2);
    for nms_pre in [1, 63, 500] {
        let mut config = config(3);
        config.nms_pre = nms_pre;
        config.nms.iou_threshold = 1.0;
        config.min_bbox_size = -1.0;
        config.max_per_img = 500;
        // all equal: the first `nms_pre` scores by index
        maps.logits.fill(0.25);
        let found = compare(&[maps.clone()], &[meta(320, 400)], &config, "all equal");
        assert_eq!(found[0].len(), nms_pre as usize);
        assert_eq!(&found[0].labels[..1], [0]);
        // all saturated
        maps.logits.fill(40.0);
        compare(&[maps.clone()], &[meta(320, 400)], &config, "all one");
    }
    let config = config(3);
    maps.logits.fill(f32::NAN);
    let found = compare(&[maps.clone()], &[meta(320, 400)], &config, "all NaN");
    assert!(found[0].is_empty());
    for (i, x) in maps.logits.iter_mut().enumerate() {
        *x = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -3.0, 3.0][i % 5];
    }
    for (i, d) in maps.deltas.iter_mut().enumerate() {
        if i % 7 == 0 {
            *d = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][i / 7 % 3];
        }
    }
    let found = compare(&[maps], &[meta(320, 400)], &config, "some NaN");
    assert!(!found[0].is_empty());
    assert!(found[0].boxes.iter().flatten().all(|v| v.is_finite()));
}

#[test]
fn beyond_the_gpu_s_room_the_cpu_takes_over() {
    let Some(device) = gpu() else { return };
    let maps = Maps::random(&mut Random::new(5), 1, 2, [80, 80], 8, 1);
    let mut config = config(2);
    config.nms_pre = -1;
    config.score_thr = 0.0;
    config.max_per_img = 1000;
    let on = |device: &Device| Candidates {
        levels: vec![maps.on(device, false, &config)],
        select: config.select.clone(),
    };
    let pictures = shown(&[meta(640, 640)]);
    // 12800 scores, room for 8192
    let on_gpu = launch(&on(&device), &Frame::all(&pictures, true)).unwrap();
    let on_gpu = pollster::block_on(on_gpu.expect("it is tried").read());
    assert_eq!(on_gpu.unwrap(), None);
    let found = detect_blocking(&on(&device), &pictures).unwrap();
    let cpu = detect_blocking(&on(&Device::flex()), &pictures).unwrap();
    assert_eq!(found, cpu);
    assert!(found[0].len() > 100);
}

#[test]
fn wrong_shapes_are_errors() {
    let device = Device::flex();
    let maps = Maps::random(&mut Random::new(6), 1, 3, [4, 4], 8, 2);
    let run = |level: Level, metas: &[Meta], classes| {
        let candidates = Candidates {
            levels: vec![level],
            select: config(classes).select,
        };
        detect_blocking(&candidates, &shown(metas))
            .unwrap_err()
            .to_string()
    };
    let on = || maps.on(&device, false, &config(3));
    let one = [meta(9, 9)];
    assert!(run(on(), &one, 4).contains("level 0 has class scores 1x6x4x4, expected 1x8x4x4"));
    assert!(run(on(), &[meta(9, 9), meta(9, 9)], 3).contains("expected 2x6x4x4"));
    let mut level = on();
    level.boxes = level.boxes.narrow(2, 0, 3);
    assert!(run(level, &one, 3).contains("boxes"));
    let mut level = on();
    level.factor = Some(Tensor::zeros([1, 1, 4, 4], &device));
    assert!(run(level, &one, 3).contains("factors"));
    let none = Candidates {
        levels: Vec::new(),
        select: config(3).select,
    };
    assert_eq!(
        detect_blocking(&none, &shown(&one)).unwrap(),
        [Instances::default()]
    );
}

/// Reads a case of `tests/data/postprocess.json` as a configuration.
fn recorded_config(case: &serde_json::Value) -> Config {
    let (test, coder) = (&case["test_cfg"], &case["coder"]);
    let nms = &test["nms"];
    let number = |v: &serde_json::Value, default: f64| v.as_f64().unwrap_or(default) as f32;
    let four = |v: &serde_json::Value| std::array::from_fn(|i| number(&v[i], f64::NAN));
    let soft = Soft {
        decay: match nms["method"].as_str() {
            Some("gaussian") => Decay::Gaussian,
            _ => Decay::Linear,
        },
        sigma: number(&nms["sigma"], 0.5),
        min_score: number(&nms["min_score"], 1e-3),
    };
    let select = Select {
        classes: 4,
        at_least: false,
        labels: Labels::Every,
        group: Group::Class,
        score_thr: number(&test["score_thr"], 0.0),
        nms_pre: test["nms_pre"].as_i64().unwrap(),
        min_bbox_size: number(&test["min_bbox_size"], -1.0),
        nms: NmsConfig {
            method: match nms["type"].as_str() {
                Some("soft_nms") => Method::Soft(soft),
                _ => Method::Hard,
            },
            iou_threshold: number(&nms["iou_threshold"], 0.3),
            class_agnostic: nms["class_agnostic"] == true,
            split_thr: nms["split_thr"].as_u64().unwrap_or(10_000) as usize,
            ..NmsConfig::default()
        },
        max_per_img: test["max_per_img"].as_i64().unwrap(),
    };
    Config {
        select,
        activation: if case["channels"] == 4 {
            Scoring::Sigmoid
        } else {
            Scoring::Softmax
        },
        coder: DeltaCoder {
            means: four(&coder["target_means"]),
            stds: four(&coder["target_stds"]),
            clip_border: coder["clip_border"] != false,
            add_ctr_clamp: coder["add_ctr_clamp"] == true,
            ctr_clamp: number(&coder["ctr_clamp"], 32.0),
            ..DeltaCoder::default()
        },
        boxes: None,
    }
}

/// MMDetection's own results, made by `tests/data/postprocess.py`.
#[test]
fn mmdetection_s_results() {
    let text = include_str!("../../../../tests/data/postprocess.json");
    let recorded: serde_json::Value = serde_json::from_str(text).unwrap();
    let numbers = |v: &serde_json::Value| -> Vec<f64> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    for case in recorded["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let config = recorded_config(case);
        let channels = case["channels"].as_u64().unwrap() as usize;
        let mut random = Random::new(11);
        let mut fill = |n: usize, scale: f32, offset: f32| -> Vec<f32> {
            (0..n).map(|_| random.unit() * scale + offset).collect()
        };
        let mut maps = Vec::new();
        for (i, size) in recorded["sizes"].as_array().unwrap().iter().enumerate() {
            let (h, w) = (
                size[0].as_u64().unwrap() as usize,
                size[1].as_u64().unwrap() as usize,
            );
            let anchors = recorded["base_anchors"][i].as_array().unwrap();
            maps.push(Maps {
                logits: fill(2 * 4 * channels * h * w, 10.0, -7.0),
                deltas: fill(2 * 16 * h * w, 4.0, -2.0),
                factor: None,
                n: 2,
                channels,
                h,
                w,
                anchors: anchors
                    .iter()
                    .map(|a| std::array::from_fn(|k| numbers(a)[k] as f32))
                    .collect(),
                stride: 8 << i,
            });
        }
        let metas: Vec<Meta> = recorded["metas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| Meta {
                img_shape: std::array::from_fn(|k| numbers(&m["img_shape"])[k] as usize),
                scale_factor: if case["rescale"] == true {
                    std::array::from_fn(|k| numbers(&m["scale_factor"])[k])
                } else {
                    [1.0; 2]
                },
                ..Meta::default()
            })
            .collect();
        let found = compare(&maps, &metas, &config, name);
        for (found, expected) in found.iter().zip(case["pictures"].as_array().unwrap()) {
            assert_eq!(
                found.len() as u64,
                expected["count"].as_u64().unwrap(),
                "{name}"
            );
            let scores = numbers(&expected["scores"]);
            for (i, score) in scores.iter().enumerate() {
                let b = numbers(&expected["boxes"][i]);
                let far = (0..4)
                    .map(|k| (b[k] - f64::from(found.boxes[i][k])).abs())
                    .fold(0.0, f64::max);
                // rounding of exp: ours is correctly rounded, torch's is vector code
                assert!(
                    far < 2e-3 && (score - f64::from(found.scores[i])).abs() < 1e-5,
                    "{name} {i}: {b:?} {found:?}"
                );
                assert_eq!(
                    numbers(&expected["labels"])[i] as usize,
                    found.labels[i],
                    "{name} {i}"
                );
            }
        }
    }
}

/// Two places and two classes, each of which has a box of its own at each place.
#[test]
fn classes_can_have_boxes_of_their_own() {
    let [first, second] = [[1.0, 2.0, 11.0, 12.0], [20.0, 0.0, 30.0, 8.0]];
    let [third, fourth] = [[40.0, 1.0, 50.0, 9.0], [60.0, 3.0, 70.0, 7.0]];
    // By class, then by side of the box, then by place.
    let boxes: [[Xyxy; 2]; 2] = [[first, third], [second, fourth]];
    let of_class = |boxes: [Xyxy; 2]| (0..4).flat_map(move |i| boxes.map(|b| b[i]));
    let numbers: Vec<f32> = boxes.into_iter().flat_map(of_class).collect();
    let scores = vec![0.9, 0.3, 0.6, 0.8];
    let run = |device: &Device| {
        let level = Level {
            scores: Tensor::from_data(TensorData::new(scores.clone(), [1, 2, 1, 2]), device),
            activation: Scoring::None,
            factor: None,
            boxes: Tensor::from_data(TensorData::new(numbers.clone(), [1, 8, 1, 2]), device),
            coder: Coder::Xyxy {
                clip: true,
                each: 2,
            },
        };
        let candidates = Candidates {
            levels: vec![level],
            select: config(2).select,
        };
        let found = detect_blocking(&candidates, &shown(&[meta(100, 100)]));
        found.unwrap().remove(0)
    };
    let found = run(&Device::flex());
    assert_eq!(found.scores, [0.9, 0.8, 0.6, 0.3]);
    assert_eq!(found.labels, [0, 1, 1, 0]);
    assert_eq!(found.boxes, [first, fourth, second, third]);
    if let Some(device) = gpu() {
        assert_eq!(run(&device), found);
    }
}
