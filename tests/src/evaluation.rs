//! Evaluation of the digit detector (`data/digits`, 20 pictures of its validation set and their annotations) against MMDetection's.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use smalti::Predictor;
use smalti::config::Config;
use smalti::data::evaluate::coco_eval::{Judged, Protocol, evaluate};
use smalti::data::evaluate::{Truth, results_file};
use smalti::evaluate::{TestError, TestOptions, TestSet};
use smalti::host::{cache, config_files::ConfigFiles, disk::Disk};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn data(name: &str) -> String {
    root()
        .join("tests/data/digits")
        .join(name)
        .display()
        .to_string()
}

/// What changes the demo's config so that it is tested on the pictures that are here.
pub(crate) fn options() -> [String; 4] {
    [
        format!("test_dataloader.dataset.data_root={}", data("")),
        "test_dataloader.dataset.ann_file=val.json".into(),
        "test_dataloader.dataset.data_prefix.img=".into(),
        format!("test_evaluator.ann_file={}", data("val.json")),
    ]
}

#[test]
fn mmdetections_own_detections_give_its_figures() {
    let truth = std::fs::File::open(data("val.json")).unwrap();
    let truth = Truth::read("val.json", truth).unwrap();
    let results = std::fs::File::open(data("predictions.json")).unwrap();
    let results = results_file::read("predictions.json", results, &truth).unwrap();
    let found: Vec<Judged> = results
        .pictures
        .iter()
        .map(|p| &p[..])
        .enumerate()
        .collect();
    let every: Vec<usize> = (0..truth.categories().len()).collect();
    let evaluated = evaluate(&truth, &found, &every, Protocol::coco(every.clone())).unwrap();
    // pycocotools 2.0.11
    let expected = [
        0.5602972658437319,
        0.7522291822736334,
        0.635820895408642,
        0.6063396421217736,
        0.7189795069250514,
        -1.0,
        0.5126779331779332,
        0.7403918026418027,
        0.7422099844599847,
        0.7248443223443224,
        0.8314814814814814,
        -1.0,
    ];
    for (line, expected) in evaluated.summary().iter().zip(expected) {
        assert!(
            (line.value - expected).abs() < 1e-10,
            "{line}, not {expected}"
        );
    }
}

/// mAP, mAP_50, mAP_75 of the detector over the pictures.
fn figures(tta: bool, more: &[&str]) -> [f64; 3] {
    let demo = root().join("configs/demo");
    let config = demo.join("retinanet_mobilenetv3-small_fpn_digits.py");
    let mut config = Config::load(&config.to_string_lossy(), &ConfigFiles::new()).unwrap();
    config.merge_options(&options()).unwrap();
    config.merge_options(more).unwrap();
    let (registry, device) = (smalti::registry(), Device::flex());
    let options = TestOptions { workers: 2, tta };
    let set = TestSet::read(&config, &registry, "test", Arc::new(Disk::new()), options);
    let mut set = set.unwrap_or_else(|e| panic!("{}", config.errors(e)));
    let predictor = Predictor::builder(&config)
        .checkpoint(cache::open(&demo.join("digits.pth")).unwrap())
        .device(&device)
        .build()
        .unwrap();
    let mut done = Vec::new();
    let mut told = |told: smalti::evaluate::Told<'_>| {
        assert_eq!((told.total, told.info.index), (20, done.len()));
        done.push(told.found.len());
        ControlFlow::Continue(())
    };
    let report = set.run(predictor.detector(), &device, &mut told);
    let report = pollster::block_on(report).unwrap();
    assert_eq!(done.len(), 20);
    let mut end = |_: smalti::evaluate::Told<'_>| ControlFlow::Break(());
    let ended = pollster::block_on(set.run(predictor.detector(), &device, &mut end));
    assert!(matches!(ended, Err(TestError::Stopped)));
    ["mAP", "mAP_50", "mAP_75"].map(|name| report.figure(&format!("coco/bbox_{name}")).unwrap())
}

/// JPEG decoders differ a little: 20 pictures have 105 digits, of which one more or less found is about 0.01.
const DECODERS: f64 = 0.011;

#[test]
fn the_detector_is_as_good_as_mmdetection_says() {
    let found = figures(false, &[]);
    for (found, expected) in found.iter().zip([0.560, 0.752, 0.636]) {
        assert!(
            (found - expected).abs() < DECODERS,
            "{found}, not {expected}"
        );
    }
}

#[test]
fn test_time_augmentation_is_as_good_as_mmdetection_says() {
    // `tools/test.py --tta`'s own pipeline, and a config's
    let own = [
        "tta_model.type=DetTTAModel",
        "tta_model.tta_cfg.nms.type=nms",
        "tta_model.tta_cfg.nms.iou_threshold=0.5",
        "tta_model.tta_cfg.max_per_img=100",
    ];
    for more in [&[][..], &own] {
        let found = figures(true, more);
        for (found, expected) in found.iter().zip([0.504, 0.666, 0.578]) {
            assert!(
                (found - expected).abs() < DECODERS,
                "{found}, not {expected}"
            );
        }
    }
}
