//! What the models begin with, against what MMDetection draws: `tests/data/initial.json`, made by `initial.py` beside it.

use burn::tensor::Device;
use serde::Deserialize;

use crate::config::{Config, MapLoader};
use crate::layers::{Mode, Params};
use crate::model;

const ROWS: &str = include_str!("../../../tests/data/initial.json");
/// Largest difference of a number, relative; that of a draw near zero by what is usual for the tensor.
const RELATIVE: f64 = 1e-6;

#[derive(Deserialize)]
struct Row {
    name: String,
    model: String,
    /// Of each parameter, in the state dict's order.
    values: Vec<Ends>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Ends {
    /// All alike.
    One(f64),
    /// The first value and the last.
    Two(f64, f64),
}

fn config(model: &str) -> Config {
    let text = format!("model = {model}\n");
    Config::parse(&text, "test.py", &MapLoader::default()).unwrap()
}

/// Names and values of all parameters.
fn parameters(model: &str, mode: Mode, seed: u64) -> Vec<(String, Vec<f32>)> {
    let params = Params::new(&Device::flex(), mode, None);
    params.store().set_step(seed, 0);
    let config = config(model);
    let built = model::walk(&config, &crate::registry(), params.clone(), None);
    built.map_err(|e| config.errors(e).to_string()).unwrap();
    let slots = params.store().parameters();
    let values = slots.iter().map(|slot| {
        let values = slot.value().into_data().try_into_vec().unwrap();
        (slot.key().to_string(), values)
    });
    values.collect()
}

/// What is wrong with these values, if anything.
fn fault(ends: Ends, values: &[f32]) -> Option<String> {
    let (first, last) = match ends {
        Ends::One(value) => (value, value),
        Ends::Two(first, last) => (first, last),
    };
    let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
    let off = |found: f32, expected: f64| (f64::from(found) - expected).abs();
    let found = [values[0], values[values.len() - 1]];
    let far = off(found[0], first).max(off(found[1], last)) > RELATIVE * square.sqrt();
    far.then(|| format!("{found:?}"))
}

#[test]
fn models_begin_as_mmdetections_do() {
    let rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
    let mut faults = Vec::new();
    for row in rows {
        let parameters = parameters(&row.model, Mode::Train, 0);
        assert_eq!(parameters.len(), row.values.len(), "{}", row.name);
        for ((key, values), ends) in parameters.iter().zip(row.values) {
            let fault = fault(ends, values);
            faults.extend(fault.map(|f| format!("{}: {key} is {f}, not {ends:?}", row.name)));
        }
    }
    assert!(
        faults.is_empty(),
        "{}:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

const HEAD: &str = "dict(type='RetinaNet', backbone=dict(type='ResNet', depth=18, base_channels=2), \
    neck=dict(type='FPN', in_channels=[2, 4, 8, 16], out_channels=4, num_outs=5), \
    bbox_head=dict(type='RetinaHead', num_classes=1, in_channels=4, feat_channels=4, init_cfg=INIT), \
    test_cfg=dict(nms_pre=9, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=9), \
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0), \
    allowed_border=-1, pos_weight=-1, debug=False))";

#[test]
fn a_run_begins_by_its_seed() {
    let model = HEAD.replace("INIT", "dict(type='Normal', layer='Conv2d')");
    let [first, same, other] = [1, 1, 2].map(|seed| parameters(&model, Mode::Train, seed));
    assert_eq!(first, same);
    for ((key, values), (_, others)) in first.iter().zip(&other) {
        let drawn = values.iter().any(|v| *v != values[0]);
        assert_eq!(drawn, values != others, "{key}");
    }
}

/// What is said of an `init_cfg` of a head: the message and the help.
fn said(init_cfg: &str) -> String {
    let config = config(&HEAD.replace("INIT", init_cfg));
    let problems = model::state(&config, &crate::registry()).unwrap_err();
    let text = |d: &crate::config::Diagnostic| match &d.help {
        Some(help) => format!("{}; {help}", d.message),
        None => d.message.clone(),
    };
    problems.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn mistakes_are_told() {
    for (init_cfg, expected) in [
        (
            "dict(type='Kaimming', layer='Conv2d')",
            "unknown initializer type `Kaimming`; did you mean type='mmengine.Kaiming'?",
        ),
        (
            "dict(type='Normal', layer='Conv2d', st=0.1)",
            "the key `st` is not known; did you mean `std`?",
        ),
        (
            "dict(type='Normal', layer='Conv2d', std=-1)",
            "`std` is -1, must not be negative",
        ),
        (
            "[dict(type='Kaiming', layer='Conv2d', nonlinearity='leakyrelu')]",
            "PyTorch has no gain for the `nonlinearity` 'leakyrelu'; did you mean 'leaky_relu'?",
        ),
        (
            "dict(type='Xavier', layer=3)",
            "`layer` is the name of a class, found int; for example layer=['Conv2d', 'Linear']",
        ),
        (
            "dict(type='Constant', layer='Conv2d', val=0, bias_prob=1.0)",
            "`bias_prob` is 1, must be between 0 and 1",
        ),
        (
            "dict(type='Uniform', layer='Conv2d', a=2)",
            "`a` is 2, must not be above `b`, which is 1",
        ),
        (
            "dict(type='Normal', layer='Conv2d', override=dict(name='retina_clss'))",
            "there is no `retina_clss` here to initialise; did you mean name='retina_cls'?",
        ),
        (
            "dict(type='Normal', layer='Conv2d', override=dict(type='Normal'))",
            "an `override` needs a `name`; for example override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01)",
        ),
        (
            "dict(type='Normal', layer='Conv2d', override=dict(name='retina_cls', std=0.1))",
            "an `override` needs a `type`, or nothing but its `name`; for example override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01)",
        ),
        (
            "dict(type='Pretrained')",
            "`Pretrained` needs a `checkpoint`",
        ),
    ] {
        assert_eq!(said(init_cfg), expected, "{init_cfg}");
    }
}

#[test]
fn a_part_that_is_not_built_here_may_have_an_init_cfg_of_its_own_form() {
    let model = HEAD.replace("INIT", "None");
    let pvt = "dict(type='PyramidVisionTransformer', init_cfg=dict(checkpoint='pvt.pth'))";
    let resnet = "dict(type='ResNet', depth=18, base_channels=2)";
    let config = config(&model.replace(resnet, pvt));
    let problems = model::state(&config, &crate::registry()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("`PyramidVisionTransformer`"));
}
