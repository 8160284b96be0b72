//! Groups against MMEngine, MMDetection and MMPretrain: `tests/data/groups.json.gz` has 23 configs on eight models (`groups.py` beside it made
//! it). The models' parameters come from the rows, so that there are models among them that we do not build.

use std::collections::BTreeMap;
use std::io::Read;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::config::{Config, MapLoader};
use crate::layers::{Init, LayerKind, Mode, Params, Store};
use crate::registry::DEFAULT_SCOPE;
use crate::train::{OptimWrapper, Setting};

#[derive(Deserialize)]
struct Rows {
    models: Vec<Model>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Model {
    backbone: String,
    parameters: Vec<(String, Vec<usize>, String, bool)>,
}

#[derive(Deserialize)]
struct Row {
    model: usize,
    optim_wrapper: String,
    groups: Vec<(Vec<usize>, BTreeMap<String, Json>)>,
}

fn rows() -> Rows {
    let gz = include_bytes!("../../../../tests/data/groups.json.gz");
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(&gz[..]);
    reader.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Names, shapes and kinds of a model without its values.
fn store(model: &Model, frozen: bool) -> Store {
    let params = Params::new(&Device::flex(), Mode::Plan, None);
    for (key, shape, kind, is_frozen) in &model.parameters {
        let (place, name) = split(key);
        let at = if place.is_empty() {
            params.clone()
        } else {
            params.at(place)
        };
        let at = at.layer(match kind.as_str() {
            "norm" => LayerKind::Norm,
            "conv" => LayerKind::Conv,
            "offsets" => LayerKind::Offsets,
            "dwconv" => LayerKind::DepthwiseConv,
            "linear" => LayerKind::Linear,
            _ => LayerKind::Other,
        });
        let init = Init::Constant(0.0);
        match shape[..] {
            [] => drop(at.number(name, init)),
            [a] => drop(at.weight(name, [a], init)),
            [a, b] => drop(at.weight(name, [a, b], init)),
            [a, b, c] => drop(at.weight(name, [a, b, c], init)),
            [a, b, c, d] => drop(at.weight(name, [a, b, c, d], init)),
            _ => panic!("{key} has {shape:?}"),
        }
        if frozen && *is_frozen {
            params.store().freeze(key.as_str(), true);
        }
    }
    params.store()
}

fn built(backbone: &str, wrapper: &str, store: &Store) -> Result<Groups, Diagnostics> {
    let text = format!("optim_wrapper = {wrapper}\nmodel = dict(backbone=dict(type='{backbone}'))");
    let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
    let [wrapper, model] = ["optim_wrapper", "model"].map(|key| config.root.get(key).unwrap());
    let registry = crate::registry();
    let optimizer = OptimWrapper::read(wrapper, &registry, DEFAULT_SCOPE)?.optimizer;
    let parameters = store.parameters();
    build(
        wrapper,
        model,
        &parameters,
        &*optimizer,
        &registry,
        DEFAULT_SCOPE,
    )
}

fn same(found: &Setting, expected: &Json) -> bool {
    match (found, expected) {
        (Setting::Flag(found), Json::Bool(expected)) => found == expected,
        (Setting::Text(found), Json::String(expected)) => found == expected,
        (Setting::Numbers(found), Json::Array(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(f, e)| Some(*f) == e.as_f64())
        }
        (found, expected) => match (found.number(), expected.as_f64()) {
            // A power may differ in its last bit.
            (Some(f), Some(e)) => (f - e).abs() <= 1e-15 * e.abs(),
            _ => false,
        },
    }
}

#[test]
fn as_the_originals() {
    let Rows { models, rows } = rows();
    assert_eq!((models.len(), rows.len()), (8, 23));
    for row in rows {
        let model = &models[row.model];
        let names: Vec<&str> = model
            .parameters
            .iter()
            .map(|(key, ..)| key.as_str())
            .collect();
        let wrapper = &row.optim_wrapper;
        let groups = built(&model.backbone, wrapper, &store(model, false))
            .unwrap_or_else(|e| panic!("{wrapper}: {}", e[0]));
        let found: Vec<&Group> = groups.iter().collect();
        assert_eq!(found.len(), row.groups.len(), "{wrapper}");
        let defaults = shared(wrapper);
        for (found, (members, settings)) in found.iter().zip(&row.groups) {
            let keys: Vec<&str> = found.members.iter().map(|m| m.key.as_str()).collect();
            let expected: Vec<&str> = members.iter().map(|i| names[*i]).collect();
            assert_eq!(keys, expected, "{wrapper}");
            let own = found
                .settings
                .iter()
                .filter(|(name, value)| defaults.get(name) != Some(value));
            let own: BTreeMap<&str, &Setting> = own.collect();
            let names: Vec<&str> = settings.keys().map(String::as_str).collect();
            assert_eq!(
                own.keys().copied().collect::<Vec<_>>(),
                names,
                "{wrapper}: {keys:?}"
            );
            for (name, expected) in settings {
                let found = own[name.as_str()];
                assert!(
                    same(found, expected),
                    "{wrapper}: {name} of {keys:?} is {found:?}, expected {expected}"
                );
            }
            for member in &found.members {
                let lr = defaults.known("lr") * member.lr_mult;
                assert!(
                    (found.settings.known("lr") - lr).abs() <= 1e-15 * lr,
                    "{wrapper}"
                );
            }
        }
    }
}

fn shared(wrapper: &str) -> Settings {
    let node = crate::config::parse_value(wrapper).unwrap();
    let wrapper = OptimWrapper::read(&node, &crate::registry(), DEFAULT_SCOPE).unwrap();
    wrapper.optimizer.defaults().clone()
}

#[test]
fn frozen_parameters_sleep_where_there_are_factors() {
    let Rows { models, .. } = rows();
    let model = models.iter().find(|m| m.backbone == "ResNet").unwrap();
    let frozen: Vec<&str> = model
        .parameters
        .iter()
        .filter(|p| p.3)
        .map(|p| p.0.as_str())
        .collect();
    assert_eq!((frozen[0], frozen.len()), ("backbone.conv1.weight", 15));
    let sgd = "optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01)";
    let with = format!(
        "dict({sgd}, paramwise_cfg=dict(norm_decay_mult=0.5, custom_keys=dict(conv2=dict(lr_mult=2))))"
    );
    let mut groups = built("ResNet", &with, &store(model, true)).unwrap();
    let all = built("ResNet", &with, &store(model, false)).unwrap();
    assert_eq!(groups.order().len(), all.order().len() - 15);
    let (group, member) = groups.group("backbone.layer1.0.conv2.weight").unwrap();
    assert_eq!(
        (member.asleep, group.awake(), member.lr_mult),
        (true, false, 2.0)
    );
    assert_eq!(group.settings.known("lr"), 0.2);
    for key in &frozen {
        assert!(groups.wake(key));
        assert!(!groups.wake(key), "awake already");
    }
    assert_eq!(groups.order(), all.order());
    assert!(!groups.wake("nothing"));
    let without = built("ResNet", &format!("dict({sgd})"), &store(model, true)).unwrap();
    assert_eq!(
        (without.iter().count(), without.order().len()),
        (1, all.order().len())
    );
    assert!(without.base().is_none() && all.base().is_some());
}

#[test]
fn mistakes_are_named() {
    let Rows { models, .. } = rows();
    let model = models.iter().find(|m| m.backbone == "ResNet").unwrap();
    let store = store(model, true);
    let said = |wrapper: &str| -> String {
        let problems = built("ResNet", wrapper, &store).unwrap_err();
        let all: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        all.join("\n")
    };
    let sgd = "optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01)";
    let plain = "optimizer=dict(type='AdamW')";
    for (wrapper, words) in [
        (
            format!("dict({sgd}, paramwise_cfg=dict(norm_decay=0))"),
            "did you mean `norm_decay_mult`?",
        ),
        (
            format!("dict({plain}, paramwise_cfg=dict(norm_decay_mult=0))"),
            "`norm_decay_mult` needs a `weight_decay` in `optimizer`",
        ),
        (
            format!("dict({plain}, paramwise_cfg=dict(bias_lr_mult=2))"),
            "`bias_lr_mult` needs a `lr` in `optimizer`",
        ),
        (
            format!("dict({plain}, paramwise_cfg=dict(custom_keys=dict(a=dict(decay_mult=2))))"),
            "`decay_mult` needs a `weight_decay`",
        ),
        (
            format!("dict({sgd}, paramwise_cfg=dict(custom_keys=[1]))"),
            "`custom_keys` is a dict, found list",
        ),
        (
            format!("dict({sgd}, paramwise_cfg=dict(custom_keys=dict(a=1)))"),
            "`a` of `custom_keys` is a part of a name",
        ),
        (
            format!("dict({sgd}, paramwise_cfg=dict(custom_keys=dict(conv=dict(lr_mult='x'))))"),
            "`lr_mult` is a number, found str",
        ),
        (
            format!("dict({sgd}, paramwise_cfg=dict(custom_keys=dict(conv=dict(momentum='x'))))"),
            "`momentum` of a group cannot be of type str",
        ),
        (
            format!(
                "dict({sgd}, paramwise_cfg=dict(a=1), constructor='DefaultOptimWrapperConstruktor')"
            ),
            "did you mean type='mmengine.DefaultOptimWrapperConstructor'?",
        ),
        (
            format!(
                "dict({sgd}, paramwise_cfg=dict(num_layers=6, decay_rate=0.9), constructor='LearningRateDecayOptimizerConstructor')"
            ),
            "layers of this backbone have no depths",
        ),
        (
            format!("dict(type='OptimWraper', {sgd})"),
            "did you mean type='mmengine.OptimWrapper'?",
        ),
        (
            format!("dict({sgd}, clip_grad=dict())"),
            "`clip_grad` is a dict with `max_norm`",
        ),
        (
            format!("dict({sgd}, clip_grad=dict(type='size', max_norm=1))"),
            "'norm' or 'value'",
        ),
        (
            format!("dict({sgd}, clip_grad=dict(max_norm=1, norm_type=0))"),
            "`norm_type` is a number above 0",
        ),
        (
            format!("dict({sgd}, accumulative_counts=0)"),
            "`accumulative_counts`: 0 is out of bounds",
        ),
        (
            "dict(type='OptimWrapper')".into(),
            "the key `optimizer` is missing",
        ),
    ] {
        let said = said(&wrapper);
        assert!(said.contains(words), "{wrapper}: {said}");
    }
}

/// By hand from Detectron2's rule: the bias of a norm is a bias too.
#[test]
fn detectron2s_norms_and_biases() {
    let parameters = [
        ("a.weight", vec![2, 2], "conv"),
        ("a.bias", vec![2], "conv"),
        ("n.weight", vec![2], "norm"),
        ("n.bias", vec![2], "norm"),
        ("b.weight", vec![2, 2], "linear"),
    ];
    let parameters = parameters.map(|(key, shape, kind)| (key.into(), shape, kind.into(), false));
    let model = Model {
        backbone: String::new(),
        parameters: parameters.to_vec(),
    };
    let wrapper = |params: &str| {
        format!(
            "dict(type='OptimWrapper', constructor='detectron2.OptimizerParams', \
             optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=0.25), paramwise_cfg=dict({params}))"
        )
    };
    let found = |params: &str| {
        let groups = built("", &wrapper(params), &store(&model, false)).unwrap();
        let group = |group: &Group| {
            let keys = group.members.iter().map(|member| member.key.clone());
            let numbers = ["lr", "weight_decay"].map(|key| group.settings.number(key).unwrap());
            (keys.collect::<Vec<_>>(), numbers)
        };
        groups.iter().map(group).collect::<Vec<_>>()
    };
    let expected = |rows: &[(&[&str], [f64; 2])]| {
        let row = |(keys, numbers): &(&[&str], [f64; 2])| {
            (keys.iter().map(|key| key.to_string()).collect(), *numbers)
        };
        rows.iter().map(row).collect::<Vec<(Vec<String>, _)>>()
    };
    assert_eq!(
        found("weight_decay_norm=0.0, bias_lr_factor=2.0, weight_decay_bias=None"),
        expected(&[
            (&["a.weight", "b.weight"], [0.5, 0.25]),
            (&["a.bias"], [1.0, 0.25]),
            (&["n.weight"], [0.5, 0.0]),
            (&["n.bias"], [1.0, 0.0]),
        ])
    );
    assert_eq!(
        found("weight_decay_norm=0.0, bias_lr_factor=1.0, weight_decay_bias=0.125"),
        expected(&[
            (&["a.weight", "b.weight"], [0.5, 0.25]),
            (&["a.bias", "n.bias"], [0.5, 0.125]),
            (&["n.weight"], [0.5, 0.0]),
        ])
    );
}
