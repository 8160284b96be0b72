//! Every loss alone, against MMDetection 3.3.0 on PyTorch 2.4.1 in f64: its number, the gradient of what is predicted, and what it keeps in the
//! state dict, with 0, 1 and many rows, with and without weights and `avg_factor`.
//!
//! Inputs are by formula ([`uniform`]); `tests.json` has what came out. Sides of boxes of the kind `grid` are multiples of a few numbers, so
//! many are the same. Long gradients are stored as their norm and their product with other numbers by formula.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value;

use super::{Accuracy, AvgFactor, ClassTarget, Loss, Losses, accuracy, named};
use crate::build::Build;
use crate::config::parse_value;
use crate::device::gpu_for_tests;
use crate::layers::{Mode, Params};

#[derive(Deserialize)]
struct Expected {
    losses: Vec<Case>,
    accuracy: Vec<Counted>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    loss: Value,
    rows: usize,
    weight: Option<String>,
    avg_factor: Option<f64>,
    #[serde(default = "once")]
    calls: usize,
    value: f64,
    parts: Option<Vec<f64>>,
    grad: Option<Vec<f64>>,
    dot: Option<f64>,
    norm: Option<f64>,
    #[serde(default)]
    state: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Counted {
    rows: usize,
    classes: usize,
    topk: usize,
    thresh: Option<f64>,
    value: f64,
}

fn once() -> usize {
    1
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("tests.json")).expect("the file is ours")
}

/// `n` numbers from 0 to below 1, multiples of 2^-24: a hash of their index (the finisher of MurmurHash3).
pub(crate) fn uniform(seed: u32, n: usize) -> Vec<f64> {
    let number = |i: usize| {
        let mut h = (i as u32)
            .wrapping_mul(2_654_435_761)
            .wrapping_add(seed.wrapping_mul(2_246_822_519))
            .wrapping_add(374_761_393);
        for (by, shift) in [(2_246_822_507u32, 16), (3_266_489_909, 13)] {
            h = (h ^ (h >> shift)).wrapping_mul(by);
        }
        f64::from((h ^ (h >> 16)) >> 8) / f64::from(1 << 24)
    };
    (0..n).map(number).collect()
}

/// Classes of the cases.
const K: usize = 5;

struct Inputs {
    rows: usize,
    columns: usize,
    pred: Vec<f64>,
    /// Numbers, in the shape that the kind has.
    target: Vec<f64>,
    labels: Vec<f64>,
}

fn inputs(kind: &str, rows: usize) -> Inputs {
    let mapped = |seed, n: usize, f: &dyn Fn(f64) -> f64| -> Vec<f64> {
        uniform(seed, n).into_iter().map(f).collect()
    };
    let logit = |u: f64| u * 8.0 - 4.0;
    let share = |u: f64| u * 0.98 + 0.01;
    let sparse = |u: f64| if u > 0.6 { u } else { 0.0 };
    let class = |u: f64| (u * (K + 1) as f64).floor();
    let boxes = |seed| {
        let grid = |u: f64| {
            if kind == "grid" {
                (u * 4.0).floor() / 4.0
            } else {
                u
            }
        };
        let corners = |v: &[f64]| {
            let [x, y] = [grid(v[0]) * 16.0, grid(v[1]) * 16.0];
            [
                x,
                y,
                x + grid(v[2]) * 24.0 + 2.0,
                y + grid(v[3]) * 24.0 + 2.0,
            ]
        };
        uniform(seed, 4 * rows)
            .chunks(4)
            .flat_map(corners)
            .collect()
    };
    let target;
    let mut labels = Vec::new();
    let (columns, pred) = match kind {
        "labels" | "quality" | "softmax" | "seesaw" | "eql" => {
            let columns = match kind {
                "seesaw" => K + 2,
                "eql" | "softmax" => K + 1,
                _ => K,
            };
            labels = mapped(2, rows, &class);
            let scores = uniform(4, rows).into_iter().zip(&labels);
            target = scores
                .map(|(u, l)| if *l < K as f64 { u } else { 0.0 })
                .collect();
            (columns, mapped(1, rows * columns, &logit))
        }
        "soft" => {
            target = mapped(3, rows * K, &sparse);
            (K, mapped(1, rows * K, &logit))
        }
        "probs" => {
            target = mapped(3, rows * K, &sparse);
            (K, mapped(1, rows * K, &share))
        }
        "boxes" | "grid" => {
            target = boxes(2);
            (4, boxes(1))
        }
        "deltas" => {
            target = mapped(2, 4 * rows, &|u| (u * 6.0 - 3.0).round_ties_even());
            (4, mapped(1, 4 * rows, &|u| u * 6.0 - 3.0))
        }
        "distances" => {
            let whole = uniform(3, rows).into_iter();
            let far = mapped(2, rows, &|u| u * 6.9).into_iter();
            target = far
                .zip(whole)
                .map(|(t, w)| if w > 0.7 { t.floor() } else { t })
                .collect();
            (8, mapped(1, 8 * rows, &logit))
        }
        "distill" => {
            target = mapped(2, 8 * rows, &logit);
            (8, mapped(1, 8 * rows, &logit))
        }
        "heat" => {
            target = mapped(2, 9 * rows, &|u| if u > 0.8 { 1.0 } else { u });
            (9, mapped(1, 9 * rows, &share))
        }
        "peaks" => {
            target = uniform(2, K * rows);
            labels = mapped(3, 3, &|u| (u * rows as f64).floor());
            labels.extend(mapped(4, 3, &|u| (u * K as f64).floor()));
            (K, mapped(1, K * rows, &share))
        }
        "dice" => {
            target = mapped(2, 12 * rows, &f64::round_ties_even);
            (12, mapped(1, 12 * rows, &logit))
        }
        "masks" => {
            target = mapped(2, 12 * rows, &f64::round_ties_even);
            labels = mapped(3, rows, &|u| (u * K as f64).floor());
            (K * 12, mapped(1, rows * K * 12, &logit))
        }
        other => panic!("no inputs of the kind {other}"),
    };
    Inputs {
        rows,
        columns,
        pred,
        target,
        labels,
    }
}

fn numbers<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn whole(values: &[f64], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|v| *v as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

impl Case {
    /// The losses of `pred` by their names.
    fn losses(&self, loss: &Loss, inputs: &Inputs, pred: Tensor<2>) -> Losses {
        let device = pred.device();
        let Inputs {
            rows,
            columns,
            target,
            labels,
            ..
        } = inputs;
        let (rows, columns) = (*rows, *columns);
        let avg_factor = self.avg_factor.map(AvgFactor::Number);
        let of_rows = || -> Option<Tensor<1>> {
            let how = self.weight.as_deref()?;
            assert_eq!(how, "rows", "weights of this loss");
            let weight: Vec<f64> = uniform(9, rows);
            let weight: Vec<_> = weight
                .into_iter()
                .map(|u| if u > 0.3 { u } else { 0.0 })
                .collect();
            Some(numbers(&weight, [rows], &device))
        };
        let of_elements = || -> Option<Tensor<2>> {
            let weight = match self.weight.as_deref()? {
                "zeros4" => vec![0.0; rows * columns],
                "any" => uniform(9, rows * columns),
                "wide" => uniform(9, rows)
                    .into_iter()
                    .flat_map(|u| vec![u; columns])
                    .collect(),
                how => panic!("weights of {how}"),
            };
            let weight: Vec<_> = weight
                .into_iter()
                .map(|u| if u > 0.3 { u } else { 0.0 })
                .collect();
            Some(numbers(&weight, [rows, columns], &device))
        };
        let wide = |columns: usize| numbers::<2>(target, [rows, columns], &device);
        let mut losses = Losses::default();
        let value = match loss {
            Loss::Class(loss) => {
                let target = match self.kind.as_str() {
                    "soft" | "probs" => ClassTarget::Soft(wide(columns)),
                    "quality" => ClassTarget::Quality {
                        labels: whole(labels, &device),
                        scores: numbers(target, [rows], &device),
                    },
                    _ => ClassTarget::Labels(whole(labels, &device)),
                };
                return loss.named("loss_cls", pred, target, of_rows(), avg_factor);
            }
            Loss::Boxes(loss) => loss.forward(pred, wide(4), of_elements(), avg_factor),
            Loss::Distribution(loss) => {
                let target = numbers(target, [rows], &device);
                loss.forward(pred, target, of_rows(), avg_factor)
            }
            Loss::Distillation(loss) => loss.forward(pred, wide(8), of_rows(), avg_factor),
            Loss::HeatMap(loss) if self.kind == "peaks" => {
                let peaks = [whole(&labels[..3], &device), whole(&labels[3..], &device)];
                loss.at_peaks(pred, wide(K), peaks, avg_factor)
            }
            Loss::HeatMap(loss) => loss.forward(pred, wide(9), of_elements(), avg_factor),
            Loss::Dice(loss) => loss.forward(pred, wide(12), of_rows(), avg_factor),
            Loss::Mask(loss) => {
                let pred = pred.reshape([rows, K, 3, 4]);
                let target = numbers(target, [rows, 3, 4], &device);
                loss.forward(pred, target, whole(labels, &device))
            }
        };
        losses.add("loss", value);
        losses
    }

    fn check(&self, device: &Device) -> Result<(), String> {
        let registry = crate::registry();
        let params = Params::new(device, Mode::Train, None);
        let build = Build::new(&registry, params.clone(), "mmdet", None);
        let python = self
            .loss
            .to_string()
            .replace("true", "True")
            .replace("false", "False");
        let head = parse_value(&format!("dict(loss={python})")).expect("the text is ours");
        let loss = named(&head, "loss", &build).map_err(|e| format!("{e:?}"))?;
        let loss = loss.expect("it is there");
        let inputs = inputs(&self.kind, self.rows);
        let shape = [inputs.rows, inputs.columns];
        let mut found = (0.0, Vec::new(), Vec::new());
        for call in 0..self.calls {
            let pred: Vec<f64> = inputs.pred.iter().map(|v| v + 0.25 * call as f64).collect();
            let pred = numbers(&pred, shape, device).autodiff().require_grad();
            let losses = self.losses(&loss, &inputs, pred.clone());
            let parts = losses
                .iter()
                .map(|(_, loss)| f64::from(loss.clone().into_scalar::<f32>()));
            let parts: Vec<f64> = parts.collect();
            let total = losses.total().expect("there is one");
            let value = f64::from(total.clone().into_scalar::<f32>());
            let gradient = if self.rows == 0 {
                Vec::new()
            } else {
                let gradient = pred.grad(&total.backward()).expect("it was used");
                let gradient = gradient.into_data().convert::<f32>();
                gradient.try_into_vec::<f32>().expect("f32")
            };
            found = (value, parts, gradient);
        }
        let (value, parts, gradient) = found;
        let near = |what: &str, found: f64, expected: f64, scale: f64| {
            let off = (found - expected).abs();
            if off <= TOLERANCE * scale.max(expected.abs()) + 1e-9 {
                return Ok(());
            }
            Err(format!("{what} is {found}, not {expected}"))
        };
        near("the loss", value, self.value, 0.0)?;
        for (found, expected) in parts.iter().zip(self.parts.iter().flatten()) {
            near("a part", *found, *expected, 0.0)?;
        }
        if let Some(expected) = &self.grad {
            let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert_eq!(gradient.len(), expected.len());
            for (i, (found, expected)) in gradient.iter().zip(expected).enumerate() {
                near(
                    &format!("gradient {i}"),
                    f64::from(*found),
                    *expected,
                    largest,
                )?;
            }
        }
        if let (Some(dot), Some(norm)) = (self.dot, self.norm) {
            let by = uniform(77, gradient.len());
            let found = gradient.iter().map(|g| f64::from(*g));
            let square: f64 = found.clone().map(|g| g * g).sum();
            near("the gradient's norm", square.sqrt(), norm, 0.0)?;
            let product: f64 = found.zip(by).map(|(g, b)| g * b).sum();
            near("the gradient's product", product, dot, norm)?;
        }
        for (name, expected) in &self.state {
            let slot = params.store().slot(&format!("loss.{name}"));
            let values = slot.ok_or(format!("no {name}"))?.value().into_data();
            let values = values.convert::<f32>().try_into_vec::<f32>().expect("f32");
            let expected: Vec<f64> = serde_json::from_value(expected.clone()).expect("numbers");
            assert_eq!(values.len(), expected.len(), "{name}");
            for (found, expected) in values.into_iter().zip(expected) {
                near(name, f64::from(found), expected, 0.0)?;
            }
        }
        Ok(())
    }
}

/// Relative: of f32, whose sums have up to a few hundred terms here.
const TOLERANCE: f64 = 2e-5;

fn check_all(device: &Device) {
    let mut wrong = Vec::new();
    for case in expected().losses {
        if let Err(why) = case.check(device) {
            let Case {
                kind,
                loss,
                rows,
                weight,
                avg_factor,
                ..
            } = &case;
            wrong.push(format!(
                "{loss} of {kind}, {rows} rows, {weight:?}, {avg_factor:?}: {why}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn as_mmdetection_on_the_cpu() {
    check_all(&Device::flex());
}

#[test]
fn as_mmdetection_on_a_gpu() {
    if let Some(device) = gpu_for_tests() {
        check_all(&device);
    }
}

#[test]
fn accuracies() {
    for case in expected().accuracy {
        let Counted {
            rows,
            classes,
            topk,
            thresh,
            value,
        } = case;
        let scores = uniform(1, rows * classes).into_iter().enumerate();
        let scores: Vec<f64> = scores
            .map(|(i, u)| (u * 50.0).floor() / 10.0 + (i % classes) as f64 * 1e-3)
            .collect();
        let labels: Vec<f64> = uniform(2, rows)
            .into_iter()
            .map(|u| (u * classes as f64).floor())
            .collect();
        let device = Device::flex();
        let right = Accuracy {
            topk,
            thresh,
            labels_below: None,
        };
        let found = accuracy(
            numbers(&scores, [rows, classes], &device),
            whole(&labels, &device),
            right,
        );
        assert!(
            (f64::from(found.into_scalar::<f32>()) - value).abs() < 1e-4,
            "{rows} rows, top {topk}"
        );
    }
}

#[test]
fn what_losses_keep_is_listed_once_whether_they_are_used_or_not() {
    for (loss, names) in [
        ("type='GHMC', bins=30", vec!["loss_cls.edges"]),
        (
            "type='mmdet.GHMC', bins=30, momentum=0.75",
            vec!["loss_cls.edges", "loss_cls.acc_sum"],
        ),
        (
            "type='SeesawLoss', num_classes=5",
            vec!["loss_cls.cum_samples"],
        ),
        ("type='FocalLoss'", Vec::new()),
        ("type='Unheard'", Vec::new()),
    ] {
        let head = parse_value(&format!("dict(loss_cls=dict({loss}))")).expect("the text is ours");
        for mode in [Mode::Plan, Mode::Fixed, Mode::Train] {
            let registry = crate::registry();
            let params = Params::new(&Device::flex(), mode, None);
            let build = Build::new(&registry, params.clone(), "mmdet", None);
            let built = named(&head, "loss_cls", &build);
            assert_eq!(built.is_err(), loss.contains("Unheard"));
            super::register_buffers(&head, "loss_cls", &build);
            let keys: Vec<String> = params.state().into_iter().map(|e| e.key).collect();
            assert_eq!(keys, names, "{loss}, {mode:?}");
        }
    }
}
