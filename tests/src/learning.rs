//! What a step of training does to a model before any loss: `data/learning.jsonl.gz` has, of MMDetection 3.3.0's models after
//! `model.train()` and one forward of three pictures, the parameters that are frozen and the norms' running statistics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value as Json;
use smalti::batch::Pictures;
use smalti::build::Build;
use smalti::detectors::Detectors;
use smalti::layers::{Mode, Params, TensorSource};
use smalti::probe::Probe;
use smalti::registry::DEFAULT_SCOPE;

use crate::formula::tagged;
use crate::golden::{Formula, forget_weights, image, read_lines};

#[derive(Deserialize)]
struct Row {
    file: String,
    model: Json,
    state: Vec<(String, Vec<usize>)>,
    alias: HashMap<String, String>,
    input: [usize; 4],
    frozen: BTreeSet<String>,
    running: BTreeMap<String, Sums>,
}

/// Euclidean norm and sum of a tensor.
#[derive(Clone, Copy, Deserialize)]
struct Sums {
    norm: f64,
    sum: f64,
}

/// `[3, 3, H, W]`: the picture, mirrored left to right, and upside down.
fn pictures(h: usize, w: usize, device: &Device) -> Tensor<4> {
    let data = TensorData::new(image(1, h, w), [1, 3, h, w]);
    let x = Tensor::<4>::from_data(data, device);
    Tensor::cat(vec![x.clone(), x.clone().flip([3]), x.flip([2])], 0)
}

/// The largest error of a running statistic, of its norm.
fn check(row: &Row, device: &Device) -> f64 {
    let mut node = tagged(&row.model, "the row's model").unwrap();
    forget_weights(&mut node);
    let registry = smalti::registry();
    let formula = Formula {
        alias: row.alias.clone(),
    };
    let params = Params::new(device, Mode::Train, Some(Box::new(formula)));
    let build = Build::new(&registry, params.clone(), DEFAULT_SCOPE, None);
    let (make, build) = build.root::<Detectors>(&node).unwrap();
    let detector = make(&node, &build).unwrap();
    let names: Vec<_> = params
        .state()
        .into_iter()
        .map(|e| (e.key, e.shape))
        .collect();
    assert_eq!(names, row.state, "{}", row.file);

    let store = params.store();
    let frozen = store.parameters().into_iter().filter(|slot| slot.frozen());
    let frozen: BTreeSet<_> = frozen.map(|slot| slot.key().to_string()).collect();
    assert_eq!(frozen, row.frozen, "{}", row.file);

    let [_, _, h, w] = row.input;
    let maps = detector.extract(pictures(h, w, device), &mut Probe::off());
    // The heads' outputs are made when this returns; what follows them is not awaited.
    let shown = Pictures::default();
    drop(detector.predict(maps, &shown, &mut Probe::off()));

    let mut values = pollster::block_on(store.source()).unwrap();
    let mut worst = 0f64;
    for entry in params.state() {
        let Some(expected) = row.running.get(&entry.key) else {
            continue;
        };
        let found = values.tensor(&entry).unwrap();
        let found = found.iter().map(|v| f64::from(*v));
        let norm = found.clone().map(|v| v * v).sum::<f64>().sqrt();
        let error = (norm - expected.norm).abs() + (found.sum::<f64>() - expected.sum).abs();
        worst = worst.max(error / expected.norm);
    }
    worst
}

fn check_all(device: &Device, wanted: impl Fn(&str) -> bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/learning.jsonl.gz");
    let rows = read_lines(&path).unwrap();
    let rows = rows.iter().map(|line| serde_json::from_str(line).unwrap());
    let rows: Vec<Row> = rows.filter(|row: &Row| wanted(&row.file)).collect();
    assert!(rows.len() > 1, "there are rows");
    for row in &rows {
        let worst = check(row, device);
        // Sums of some hundred thousand products in f32.
        assert!(
            worst < 1e-4,
            "{}: a running statistic is off by {worst:e}",
            row.file
        );
    }
}

#[test]
fn statistics_and_frozen_layers_on_the_cpu() {
    check_all(&Device::flex(), |_| true);
}

#[test]
fn statistics_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    check_all(&device, |file| {
        file.contains("small") || file.contains("nano")
    });
}
