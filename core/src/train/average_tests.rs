//! Averages against MMEngine's: `tests/data/averages.json` has 13 hooks on a model of a parameter of two names, one of one, a buffer and a
//! counter (`averages.py` beside it made it).

use burn::tensor::Device;
use serde::Deserialize;

use super::*;
use crate::config::{Config, MapLoader};
use crate::layers::{Init, Mode, Params, StateEntry};
use crate::registry::DEFAULT_SCOPE;

#[derive(Deserialize)]
struct Rows {
    epoch_length: u64,
    values: Vec<[[f32; 2]; 3]>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    hook: String,
    /// Of the parameters, the buffer, and the counter with the number of updates.
    after: Vec<[[f64; 2]; 4]>,
}

fn rows() -> Rows {
    serde_json::from_str(include_str!("../../../tests/data/averages.json")).unwrap()
}

const NAMES: [&str; 4] = ["a.w", "c.w", "mean", "count"];

fn model(device: &Device) -> Store {
    let params = Params::new(device, Mode::Train, None);
    let zero = Init::Constant(0.0);
    params.buffer("mean", [2], zero);
    params.counter("count");
    params.at("a").tie(&params.at("b"));
    for place in ["a", "b", "c"] {
        params.at(place).weight("w", [2], zero);
    }
    params.store()
}

fn hook(text: &str, store: &Store) -> Result<Average, Diagnostics> {
    let config = Config::parse(&format!("hook = {text}"), "a.py", &MapLoader::default()).unwrap();
    let node = config.root.get("hook").unwrap();
    Average::read(node, store, &crate::registry(), DEFAULT_SCOPE)
}

/// Before iteration `i`.
fn put(store: &Store, values: &[[f32; 2]; 3], i: usize) {
    for (name, values) in NAMES.iter().zip(values) {
        let slot = store.slot(name).unwrap();
        let device = slot.value().device();
        slot.set(Tensor::from_floats(*values, &device));
    }
    store.slot("count").unwrap().replace_count(i as u64 + 1);
}

fn now(store: &Store) -> Vec<Vec<f32>> {
    let mut source = pollster::block_on(store.source()).unwrap();
    let entry = |name: &&str| store.slot(name).unwrap().as_entry();
    NAMES
        .iter()
        .map(|name| source.tensor(&entry(name)).unwrap())
        .collect()
}

fn check(device: &Device) {
    let rows = rows();
    for row in &rows.rows {
        let store = model(device);
        let mut average = hook(&row.hook, &store).unwrap();
        for (i, (values, expected)) in rows.values.iter().zip(&row.after).enumerate() {
            put(&store, values, i);
            let own = now(&store);
            average.after_iter(i as u64, i as u64 / rows.epoch_length);
            average.swap();
            let averaged = now(&store);
            average.swap();
            assert_eq!(now(&store), own);
            assert_eq!(average.steps() as f64, expected[3][1], "{} {i}", row.hook);
            for ((found, expected), name) in averaged.iter().zip(expected).zip(NAMES) {
                for (f, e) in found.iter().zip(expected) {
                    // Some roundings of f32 in a row.
                    let bound = 1e-6 * (0.1 + e.abs());
                    assert!(
                        (f64::from(*f) - e).abs() < bound,
                        "{} {i}: {name} {found:?} {expected:?}",
                        row.hook
                    );
                }
            }
        }
    }
}

#[test]
fn as_mmengine_on_the_cpu() {
    check(&Device::flex());
}

#[test]
fn as_mmengine_on_a_gpu() {
    if let Some(device) = crate::device::gpu_for_tests() {
        check(&device);
    }
}

#[test]
fn goes_on_from_a_checkpoint() {
    let device = Device::flex();
    let rows = rows();
    let text = "dict(type='EMAHook', momentum=0.3, update_buffers=True)";
    let store = model(&device);
    let mut average = hook(text, &store).unwrap();
    let mut averages = Vec::new();
    for (i, values) in rows.values.iter().enumerate() {
        put(&store, values, i);
        average.after_iter(i as u64, 0);
        if i == 4 {
            average.swap();
            let mut saved = pollster::block_on(store.source()).unwrap();
            average.swap();
            let other = model(&device);
            let mut average = hook(text, &other).unwrap();
            assert!(average.load(&mut saved, 5).is_empty());
            for (i, values) in rows.values.iter().enumerate().skip(5) {
                put(&other, values, i);
                average.after_iter(i as u64, 0);
            }
            average.swap();
            averages.push(now(&other));
        }
    }
    average.swap();
    assert_eq!(averages, [now(&store)]);
}

#[test]
fn what_a_checkpoint_lacks_is_the_model() {
    struct Nothing;
    impl TensorSource for Nothing {
        fn tensor(&mut self, _: &StateEntry) -> Option<Vec<f32>> {
            None
        }
    }
    let store = model(&Device::flex());
    put(&store, &[[1.0, 2.0]; 3], 0);
    let mut average = hook("dict(type='EMAHook')", &store).unwrap();
    assert_eq!(average.load(&mut Nothing, 3), ["a.w", "c.w"]);
    let own = now(&store);
    average.swap();
    assert_eq!(now(&store), own);
}

#[test]
fn mistakes_are_named() {
    let store = model(&Device::flex());
    for (text, words) in [
        (
            "dict(type='EMAHook', ema_type='ExpMomentumEma')",
            "did you mean type='mmdet.ExpMomentumEMA'?",
        ),
        (
            "dict(type='EMAHook', momentum=1)",
            "`momentum` is 1, it is above 0 and below 1",
        ),
        (
            "dict(type='EMAHook', ema_type='ExpMomentumEMA', gamma=0)",
            "`gamma` is 0, it is above 0",
        ),
        (
            "dict(type='EMAHook', gamma=3)",
            "the key `gamma` is not known",
        ),
        (
            "dict(type='EMAHook', begin_iter=1, begin_epoch=1)",
            "either `begin_iter` or `begin_epoch`",
        ),
        (
            "dict(type='EMAHook', interval=0)",
            "`interval`: 0 is out of bounds",
        ),
    ] {
        let problems = hook(text, &store).unwrap_err();
        let said = problems[0].to_string();
        assert!(said.contains(words), "{text}: {said}");
    }
}
