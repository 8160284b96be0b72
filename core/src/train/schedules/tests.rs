//! Schedules against MMEngine: `tests/data/schedules.json.gz` has 105 chains, 70 of them drawn, on an optimizer of two groups, with the values
//! of both and of the base after every iteration, and what a checkpoint has of each scheduler at the end (`schedules.py` beside it made it).

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::config::{Config, Diagnostics, MapLoader};
use crate::registry::DEFAULT_SCOPE;
use crate::train::Setting;
use crate::train::groups::{Group, Member};
use crate::train::optimizers::Optimizers;

#[derive(Deserialize)]
struct Row {
    optimizer: String,
    schedulers: String,
    epochs: u64,
    epoch_length: u64,
    metrics: Vec<f64>,
    first: [[f64; 3]; 3],
    columns: BTreeMap<String, Vec<[f64; 3]>>,
    states: Vec<BTreeMap<String, Json>>,
}

fn rows() -> Vec<Row> {
    let gz = include_bytes!("../../../../tests/data/schedules.json.gz");
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(&gz[..]);
    reader.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn config(optimizer: &str, schedulers: &str) -> Config {
    let text = format!("optimizer = {optimizer}\nschedulers = {schedulers}\n");
    Config::parse(&text, "a.py", &MapLoader::default()).unwrap()
}

/// Two groups, the second with a tenth of the learning rate and no weight decay, and one that sleeps and is as the first.
fn groups(config: &Config) -> Groups {
    let registry = crate::registry();
    let node = config.root.get("optimizer").unwrap();
    let row = registry.find::<Optimizers>(node, DEFAULT_SCOPE).unwrap();
    let optimizer = (row.build)(node).unwrap();
    let defaults = optimizer.defaults();
    let group = |key: &str, asleep: bool| Group {
        members: vec![Member {
            key: key.into(),
            lr_mult: 1.0,
            decay_mult: 1.0,
            asleep,
        }],
        settings: defaults.clone(),
    };
    let mut second = group("b", false);
    second.settings.set("lr", defaults.known("lr") * 0.1);
    second.settings.set("weight_decay", 0.0);
    Groups::new(vec![group("a", false), second, group("c", true)], defaults)
}

fn length(epochs: u64, epoch_length: u64) -> Length {
    Length {
        max_epochs: epochs,
        max_iters: epochs * epoch_length,
        epoch_length,
    }
}

fn built(config: &Config, groups: &mut Groups, length: &Length) -> Result<Schedules, Diagnostics> {
    let node = config.root.get("schedulers");
    Schedules::build(node, groups, length, &crate::registry(), DEFAULT_SCOPE)
}

/// Learning rate, momentum and weight decay of the groups that are awake, and of the base.
fn values(groups: &Groups) -> [[f64; 3]; 3] {
    let awake = groups.awake();
    let all: Vec<[f64; 3]> = groups
        .settings()
        .zip(awake)
        .filter(|(_, awake)| *awake)
        .map(|(settings, _)| {
            let momentum = match settings.get("betas") {
                Some(_) => settings.betas()[0],
                None => settings.known("momentum"),
            };
            [
                settings.known("lr"),
                momentum,
                settings.known("weight_decay"),
            ]
        })
        .collect();
    all.try_into().unwrap()
}

/// Cosines of two libraries may differ in the last bit, and a chain of a hundred steps multiplies them.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs() + 1e-18
}

fn check(row: &Row, at: usize, groups: &Groups) {
    for (column, name) in ["lr", "momentum", "weight_decay"].into_iter().enumerate() {
        for (group, values) in values(groups).iter().enumerate() {
            let moving = row.columns.get(name);
            let expected = moving.map_or(row.first[group][column], |values| values[at][group]);
            assert!(
                close(values[column], expected),
                "{}: {name} of group {group} after {at} iterations is {}, expected {expected}",
                row.schedulers,
                values[column]
            );
        }
    }
}

fn iterate(row: &Row, i: u64, schedules: &mut Schedules, groups: &mut Groups) {
    schedules.after_iter(groups);
    if (i + 1).is_multiple_of(row.epoch_length) {
        schedules.after_epoch(groups);
        let found = row.metrics[(i / row.epoch_length) as usize];
        let metrics = [("other".to_string(), 0.5), ("m".to_string(), found)];
        schedules.after_validation(groups, &metrics).unwrap();
    }
}

#[test]
fn as_mmengine() {
    let rows = rows();
    assert_eq!(rows.len(), 105);
    for row in rows {
        let config = config(&row.optimizer, &row.schedulers);
        let mut groups = groups(&config);
        let length = length(row.epochs, row.epoch_length);
        let mut schedules = built(&config, &mut groups, &length).unwrap_or_else(|problems| {
            panic!("{}: {}", row.schedulers, problems[0]);
        });
        check(&row, 0, &groups);
        for i in 0..length.max_iters {
            iterate(&row, i, &mut schedules, &mut groups);
            check(&row, i as usize + 1, &groups);
            let [first, _, asleep] = [0, 1, 2].map(|i| groups.all()[i].settings.number("lr"));
            let apart =
                row.schedulers.contains("eta_max=[") || row.schedulers.contains("min_value=[");
            assert!(apart || first == asleep, "asleep, and yet it goes on");
        }
        for (saved, expected) in schedules.state(&groups).iter().zip(&row.states) {
            for (name, expected) in expected {
                let found = saved.get(name);
                let found = found.unwrap_or_else(|| panic!("{}: no {name}", row.schedulers));
                match found {
                    Setting::Numbers(found) => {
                        let expected = expected.as_array().unwrap();
                        assert_eq!(found.len(), expected.len(), "{name}");
                        let mut pairs = found.iter().zip(expected);
                        assert!(pairs.all(|(a, b)| close(*a, b.as_f64().unwrap())), "{name}");
                    }
                    found => {
                        let found = found.number().unwrap();
                        assert!(close(found, expected.as_f64().unwrap()), "{name}: {found}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_run_goes_on_from_its_state() {
    for row in rows() {
        let config = config(&row.optimizer, &row.schedulers);
        let length = length(row.epochs, row.epoch_length);
        let mut groups = groups(&config);
        let mut schedules = built(&config, &mut groups, &length).unwrap();
        let half = row.epochs / 2 * row.epoch_length;
        for i in 0..half {
            iterate(&row, i, &mut schedules, &mut groups);
        }
        let (saved, settings) = (schedules.state(&groups), groups.clone());
        let mut groups = self::groups(&config);
        let mut schedules = built(&config, &mut groups, &length).unwrap();
        schedules.restore(&saved, &groups).unwrap();
        let all = groups.settings_mut().zip(settings.settings());
        all.for_each(|(new, old)| *new = old.clone());
        for i in half..length.max_iters {
            iterate(&row, i, &mut schedules, &mut groups);
            check(&row, i as usize + 1, &groups);
        }
    }
}

#[test]
fn a_state_of_another_run_is_refused() {
    let sgd = "dict(type='SGD', lr=0.1)";
    let config = config(sgd, "[dict(type='StepLR', step_size=2)]");
    let mut groups = groups(&config);
    let mut schedules = built(&config, &mut groups, &length(3, 2)).unwrap();
    let state = schedules.state(&groups);
    let error = schedules.restore(&[], &groups).unwrap_err();
    assert_eq!(error, ScheduleError::Count { saved: 0, here: 1 });
    let mut odd = state.clone();
    odd[0].set("last_step", "many");
    let error = schedules.restore(&odd, &groups).unwrap_err();
    let key = "last_step";
    assert_eq!(error, ScheduleError::Missing { index: 0, key });
    let mut odd = state;
    odd[0].set("base_values", [0.1]);
    let error = schedules.restore(&odd, &groups).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is of 1 groups of parameters, here are 3"),
        "{error}"
    );
}

#[test]
fn a_metric_that_nobody_found_is_named() {
    let config = config(
        "dict(type='SGD', lr=0.1)",
        "dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP')",
    );
    let mut groups = groups(&config);
    let mut schedules = built(&config, &mut groups, &length(3, 2)).unwrap();
    let found = [("coco/segm_mAP".to_string(), 0.5)];
    let error = schedules.after_validation(&mut groups, &found).unwrap_err();
    let text = "a schedule goes by the metric `coco/bbox_mAP`, validation found coco/segm_mAP";
    assert_eq!(error.to_string(), text);
}

#[test]
fn mistakes_are_named() {
    let said = |schedulers: &str| -> String {
        let config = config("dict(type='SGD', lr=0.1)", schedulers);
        let problems = built(&config, &mut groups(&config), &length(3, 2)).unwrap_err();
        let all: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        all.join("\n")
    };
    for (schedulers, words) in [
        (
            "dict(type='MultiStepsLR', milestones=[1])",
            "did you mean type='mmengine.MultiStepLR'?",
        ),
        (
            "dict(type='QuadraticWarmupLr', end=1)",
            "did you mean type='mmdet.QuadraticWarmupLR'?",
        ),
        (
            "dict(type='LinearLR', start_factor=2)",
            "`start_factor` is 2, 0 to 1 are possible",
        ),
        (
            "dict(type='LinearLR', start_factor=0)",
            "from which no factor leads on",
        ),
        (
            "dict(type='LinearLR', begin=5, end=5)",
            "`end` is larger than `begin`, here from 5 to 5",
        ),
        (
            "dict(type='LinearLR', by_epoch=False, convert_to_iter_based=True)",
            "only a schedule with by_epoch=True",
        ),
        (
            "dict(type='LinearLR', start=0)",
            "the key `start` is not known",
        ),
        (
            "dict(type='LinearLR', last_step=3)",
            "`last_step` other than -1",
        ),
        (
            "dict(type='StepLR', step_size=0)",
            "`step_size` is a number of steps",
        ),
        ("dict(type='StepLR')", "the key `step_size` is missing"),
        (
            "dict(type='CosineAnnealingLR', eta_min=0, eta_min_ratio=0)",
            "either `eta_min` or `eta_min_ratio`",
        ),
        (
            "dict(type='CosineRestartLR', periods=[1, 2], eta_min=0)",
            "as many, here 2 and 1",
        ),
        (
            "dict(type='OneCycleLR', eta_max=[1, 2])",
            "`eta_max` has 2 values, there are 3 groups",
        ),
        (
            "dict(type='OneCycleLR', eta_max=1, total_steps=1)",
            "`total_steps` is 1, the schedule has 3 steps",
        ),
        (
            "dict(type='OneCycleParamScheduler', param_name='momentum')",
            "of the learning rate alone",
        ),
        (
            "dict(type='ReduceOnPlateauLR', factor=1)",
            "`factor` is 1, it is below 1",
        ),
        (
            "dict(type='ReduceOnPlateauLR', by_epoch=False)",
            "goes by epochs",
        ),
        (
            "dict(type='ReduceOnPlateauLR', min_value=[1, 2, 3])",
            "`min_value` has 3 values, there are 2 groups",
        ),
        (
            "dict(type='LinearParamScheduler', param_name='eps')",
            "the optimizer has no number `eps`",
        ),
        (
            "dict(type='LinearParamScheduler')",
            "the key `param_name` is missing",
        ),
        (
            "dict(a=dict(type='StepLR'))",
            "schedules of several optimizers are not supported yet",
        ),
        (
            "[dict(type='StepLR'), dict(type='X')]",
            "unknown parameter scheduler type `X`",
        ),
    ] {
        let said = said(schedulers);
        assert!(said.contains(words), "{schedulers}: {said}");
    }
}
