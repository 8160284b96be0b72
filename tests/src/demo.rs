//! The digit detector against MMDetection's own detections with the same checkpoint (`data/digits`, 20 pictures of its validation set).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use serde::Deserialize;
use smalti::Predictor;
use smalti::config::Config;
use smalti::host::{cache, config_files::ConfigFiles};
use smalti::layers::{Mode, Params};

#[derive(Deserialize)]
struct Expected {
    image_id: usize,
    category_id: usize,
    bbox: [f32; 4],
    score: f32,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn predictor(device: &Device) -> Predictor {
    let demo = root().join("configs/demo");
    let config = demo.join("retinanet_mobilenetv3-small_fpn_digits.py");
    let config = Config::load(&config.to_string_lossy(), &ConfigFiles::new()).unwrap();
    let checkpoint = cache::open(&demo.join("digits.pth")).unwrap();
    Predictor::builder(&config)
        .checkpoint(checkpoint)
        .device(device)
        .build()
        .unwrap()
}

/// How many of MMDetection's boxes above `lowest` are found, and how many there are; score within `score`, sides within `px`.
fn agreement(device: &Device, ending: &str, lowest: f32, score: f32, px: f32) -> (usize, usize) {
    let data = root().join("tests/data/digits");
    let expected: Vec<Expected> =
        serde_json::from_slice(&std::fs::read(data.join("predictions.json")).unwrap()).unwrap();
    let predictor = predictor(device);
    let (mut same, mut all) = (0, 0);
    for id in 0..20 {
        let name = format!("{id:05}.{ending}");
        let Ok(bytes) = std::fs::read(data.join(&name)) else {
            continue;
        };
        let picture = predictor.decode(&name, &bytes).unwrap();
        let found = pollster::block_on(predictor.detect(&[picture]))
            .unwrap()
            .remove(0);
        let mut used = vec![false; found.len()];
        for e in expected
            .iter()
            .filter(|e| e.image_id == id && e.score > lowest)
        {
            let [x, y, w, h] = e.bbox;
            let near = |j: &usize| {
                let sides = found.boxes[*j].iter().zip([x, y, x + w, y + h]);
                !used[*j]
                    && found.labels[*j] + 1 == e.category_id
                    && (found.scores[*j] - e.score).abs() < score
                    && sides.into_iter().all(|(a, b)| (a - b).abs() < px)
            };
            all += 1;
            if let Some(j) = (0..found.len()).find(near) {
                used[j] = true;
                same += 1;
            }
        }
    }
    assert!(
        all > 100,
        "only {all} expected boxes: the data is not there"
    );
    (same, all)
}

#[test]
fn pixels_as_mmdetection_saw_them_give_its_boxes() {
    let (same, all) = agreement(&Device::flex(), "png", 0.06, 1e-3, 0.1);
    assert_eq!(same, all);
}

#[test]
fn jpegs_give_its_boxes_but_for_the_decoder() {
    let (same, all) = agreement(&Device::flex(), "jpg", 0.1, 0.01, 0.5);
    assert!(same * 100 >= all * 99, "{same} of {all}");
}

#[test]
fn a_gpu_gives_the_same_boxes() {
    let Some(device) = crate::gpu() else { return };
    let (same, all) = agreement(&device, "png", 0.06, 1e-3, 0.1);
    assert_eq!(same, all);
}

/// What of the model has only initial values when `init_cfg` and nothing else gives weights.
fn initialised(init_cfg: &str) -> Vec<String> {
    let demo = root().join("configs/demo/retinanet_mobilenetv3-small_fpn_digits.py");
    let text = format!(
        "_base_ = '{}'\nmodel = dict(backbone=dict(init_cfg=dict(type='Pretrained', {init_cfg})))",
        demo.canonicalize().unwrap().display()
    );
    let config = Config::parse(&text, "pretrained.py", &ConfigFiles::new()).unwrap();
    let open = |name: &str| {
        assert_eq!(name, "digits.pth");
        let checkpoint = cache::open(&root().join("configs/demo/digits.pth")).unwrap();
        Ok(Arc::new(checkpoint))
    };
    let params = Params::new(&Device::flex(), Mode::Fixed, None);
    smalti::model::build(&config, &smalti::registry(), params.clone(), Some(&open)).unwrap();
    params.initialised()
}

#[test]
fn pretrained_backbones_come_from_below_their_prefix() {
    for prefix in ["backbone.", "backbone"] {
        let left = initialised(&format!("checkpoint='digits.pth', prefix='{prefix}'"));
        assert!(
            left.iter().all(|key| !key.starts_with("backbone.")),
            "{left:?}"
        );
        assert!(left.contains(&"neck.lateral_convs.0.conv.weight".to_string()));
    }
    let without = initialised("checkpoint='digits.pth'");
    assert!(without.contains(&"backbone.layer0.conv.weight".to_string()));
}

#[test]
fn load_from_gives_the_whole_model() {
    let checkpoint = root()
        .join("configs/demo/digits.pth")
        .canonicalize()
        .unwrap();
    let demo = root().join("configs/demo/retinanet_mobilenetv3-small_fpn_digits.py");
    let mut config = Config::load(&demo.to_string_lossy(), &ConfigFiles::new()).unwrap();
    config
        .merge_options(&[format!("load_from={}", checkpoint.display())])
        .unwrap();
    let open = |name: &str| {
        cache::open(Path::new(name))
            .map(Arc::new)
            .map_err(|e| e.to_string())
    };
    let predictor = Predictor::builder(&config)
        .open_with(&open)
        .build()
        .unwrap();
    assert!(predictor.uninitialised().is_empty() && predictor.report().unwrap().is_complete());
    assert_eq!(predictor.classes()[9], "9");
}
