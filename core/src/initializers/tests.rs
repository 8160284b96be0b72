//! What the models begin with, against what MMDetection draws: `tests/data/initial.json`, made by `initial.py` beside it.

use burn::tensor::Device;
use serde::Deserialize;

use crate::config::{Config, MapLoader};
use crate::layers::{Mode, Params};
use crate::model;

const ROWS: &str = include_str!("../../../tests/data/initial.json");
/// A mean or deviation that is off by so many of its own deviations is wrong: of two thousand tensors one in a thousand runs would have one.
const SIGMAS: f64 = 5.0;
/// Of fewer values a deviation says little.
const ENOUGH: usize = 64;

#[derive(Deserialize)]
struct Row {
    name: String,
    model: String,
    draws: Vec<Draw>,
    /// The draw of each parameter, in the state dict's order.
    of: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Draw {
    Constant(f64),
    /// Mean and deviation.
    Normal(f64, f64),
    /// Bounds.
    Uniform(f64, f64),
    /// Mean, deviation, bounds.
    TruncNormal(f64, f64, f64, f64),
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
fn fault(draw: Draw, values: &[f32]) -> Option<String> {
    let n = values.len() as f64;
    let values = values.iter().map(|v| f64::from(*v));
    let least = values.clone().fold(f64::MAX, f64::min);
    let most = values.clone().fold(f64::MIN, f64::max);
    let mean = values.clone().sum::<f64>() / n;
    let std = (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Bounds; mean, deviation, and kurtosis, by which a deviation's own deviation is known.
    let (bounds, expected) = match draw {
        Draw::Constant(value) => {
            let near = |found: f64| (found - value).abs() <= 1e-7 * value.abs();
            let right = near(least) && near(most);
            return (!right).then(|| format!("{least} to {most}"));
        }
        Draw::Normal(mean, std) => ([mean - 6.5 * std, mean + 6.5 * std], [mean, std, 3.0]),
        Draw::Uniform(a, b) => ([a, b], [(a + b) / 2.0, (b - a) / 12f64.sqrt(), 1.8]),
        Draw::TruncNormal(mean, std, a, b) => {
            // The only one there is, cut at -1 and 1.5 deviations: its moments by numerical integration.
            assert_eq!((mean, std, a, b), (0.0, 0.02, -0.02, 0.03));
            ([a, b], [0.002_903_749, 0.012_894_728, 2.059])
        }
    };
    let slack = 1e-6 * (bounds[1] - bounds[0]);
    let [of_mean, of_std, kurtosis] = expected;
    let inside = bounds[0] - slack <= least && most <= bounds[1] + slack;
    let mean_fits = (mean - of_mean).abs() <= SIGMAS * of_std / n.sqrt();
    let of_all = SIGMAS * ((kurtosis - 1.0) / n).sqrt() / 2.0;
    let std_fits = n < ENOUGH as f64 || (std / of_std - 1.0).abs() <= of_all;
    let right = inside && mean_fits && std_fits;
    (!right).then(|| format!("{least} to {most}, mean {mean}, deviation {std}"))
}

#[test]
fn models_begin_as_mmdetections_do() {
    let rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
    let mut faults = Vec::new();
    for row in rows {
        let parameters = parameters(&row.model, Mode::Train, 0);
        assert_eq!(parameters.len(), row.of.len(), "{}", row.name);
        for ((key, values), draw) in parameters.iter().zip(row.of) {
            let draw = row.draws[draw];
            let fault = fault(draw, values);
            faults.extend(fault.map(|f| format!("{}: {key} is {f}, not {draw:?}", row.name)));
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
