//! Optimizers against PyTorch: `tests/data/optimizers.json` has, of torch 2.4.1 (`foreach=False`), six steps of one parameter of seven numbers under every
//! option. After the third the learning rate is halved; at the fifth there is no gradient. And what is kept in the end.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::*;
use crate::config::{Config, MapLoader};
use crate::registry::DEFAULT_SCOPE;

#[derive(Deserialize)]
struct Rows {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: String,
    values: Vec<Vec<f32>>,
    kept: BTreeMap<String, Vec<f32>>,
    step: Option<f64>,
}

fn built(text: &str) -> Result<Box<dyn Optimizer>, Diagnostics> {
    let text = format!("optimizer = {text}");
    let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
    let node = config.root.get("optimizer").unwrap();
    let row = crate::registry().find::<Optimizers>(node, DEFAULT_SCOPE)?;
    (row.build)(node)
}

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// f32 rounds a sum of six steps, and a difference of nearly equal squares where RMSprop is centred; a GPU's division and square root are off by some units in the last place.
fn close(name: &str, found: &Tensor<1>, expected: &[f32], tolerance: f32) {
    let found: Vec<f32> = found.to_data().try_into_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (f, e) in found.iter().zip(expected) {
        let bound = tolerance * (0.1 + e.abs());
        assert!((f - e).abs() < bound, "{name}: {found:?} {expected:?}");
    }
}

fn check(device: &Device, tolerance: f32) {
    let rows: Rows =
        serde_json::from_str(include_str!("../../../../tests/data/optimizers.json")).unwrap();
    for case in rows.cases {
        let name = &case.config;
        let optimizer = built(name).unwrap();
        let mut settings = optimizer.defaults().clone();
        let mut kept = Kept::default();
        let mut value = tensor(&rows.start, device);
        for (i, (gradient, expected)) in rows.gradients.iter().zip(&case.values).enumerate() {
            if i == 3 {
                settings.set("lr", settings.known("lr") * 0.5);
            }
            if i != 4 {
                kept.steps += 1;
                let gradient = tensor(gradient, device);
                value = optimizer.step(&settings, value, gradient.into(), &mut kept);
            }
            close(&format!("{name}, step {i}"), &value, expected, tolerance);
        }
        let found: BTreeMap<_, _> = kept.iter().collect();
        let names: Vec<_> = case.kept.keys().map(String::as_str).collect();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), names, "{name}");
        for (key, expected) in &case.kept {
            close(
                &format!("{name}: {key}"),
                found[key.as_str()],
                expected,
                tolerance,
            );
        }
        let steps = optimizer.counts_steps().then_some(kept.steps as f64);
        assert_eq!(steps, case.step, "{name}");
    }
}

#[test]
fn as_torch_on_the_cpu() {
    check(&Device::flex(), 2e-6);
}

#[test]
fn as_torch_on_a_gpu() {
    if let Some(device) = crate::device::gpu_for_tests() {
        check(&device, 6e-6);
    }
}

#[test]
fn defaults_are_torch_s() {
    let defaults = |text: &str| -> Vec<String> {
        let optimizer = built(text).unwrap();
        let all = optimizer.defaults().iter();
        all.map(|(name, value)| format!("{name}={value:?}"))
            .collect()
    };
    let adam = defaults("dict(type='AdamW')").join(" ");
    assert_eq!(
        adam,
        "lr=Number(0.001) betas=Numbers([0.9, 0.999]) eps=Number(1e-8) weight_decay=Number(0.01) amsgrad=Flag(false) maximize=Flag(false)"
    );
    assert!(defaults("dict(type='Adam')").contains(&"weight_decay=Number(0.0)".into()));
    assert!(defaults("dict(type='RMSprop')").contains(&"lr=Number(0.01)".into()));
    assert!(defaults("dict(type='SGD', foreach=False)").contains(&"lr=Number(0.001)".into()));
}

#[test]
fn mistakes_are_named() {
    let said = |text: &str| -> String {
        let problems = built(text).unwrap_err();
        let all: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        all.join("\n")
    };
    let both = said("dict(type='Adam', lr=-1, betas=(0.9, 1.0))");
    assert!(both.contains("`lr` is -1, it is 0 or more"), "{both}");
    assert!(
        both.contains("`betas` is 1, 0 to 0.9999999999999999 are possible"),
        "{both}"
    );
    let nan = said("dict(type='SGD', lr=float('nan'))");
    assert!(nan.contains("`lr` is NaN"), "{nan}");
    let nesterov = said("dict(type='SGD', lr=0.1, nesterov=True)");
    assert!(
        nesterov.contains("`nesterov` needs a `momentum`"),
        "{nesterov}"
    );
    let typo = said("dict(type='SDG', lr=0.1)");
    assert!(typo.contains("did you mean type='mmengine.SGD'?"), "{typo}");
    let key = said("dict(type='SGD', learning_rate=0.1)");
    assert!(
        key.contains("the key `learning_rate` is not known"),
        "{key}"
    );
    let later = said("dict(type='Lamb', lr=0.1)");
    assert!(later.contains("not supported yet"), "{later}");
}
