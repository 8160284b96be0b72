//! Every assigner alone, against MMDetection 3.3.0 on PyTorch 2.4.1: which prior finds which object, with 0, 1 and many objects, with objects
//! that no prior lies in, and with objects that are the same.
//!
//! Inputs are by formula ([`uniform`]); `tests.json` has what came out, overlaps as their product with other numbers by formula (those of
//! priors that find nothing as -1, or 0 on a device). Those on the device get all scenes as one batch, so with padding.

use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::Deserialize;
use serde_json::Value;

use super::{AnyAssigner, Assigners, More, Predicted, PredictionAssigner, Priors, Queries};
use crate::build::Build;
use crate::config::parse_value;
use crate::device::gpu_for_tests;
use crate::layers::{Mode, Params};
use crate::losses::tests::uniform;
use crate::registry::DEFAULT_SCOPE;
use crate::structures::Xyxy;
use crate::targets::{Objects, Targets};

#[derive(Deserialize)]
struct Expected {
    by_boxes: Vec<ByBoxes>,
    by_predictions: Vec<ByPredictions>,
    by_queries: Vec<ByQueries>,
}

#[derive(Deserialize)]
struct ByBoxes {
    assigner: Value,
    priors: String,
    scene: String,
    #[serde(default)]
    ignored: bool,
    object: Vec<i32>,
    overlap: Option<f64>,
    shadowed: Option<Vec<(usize, usize)>>,
}

#[derive(Deserialize)]
struct ByPredictions {
    assigner: Value,
    scene: String,
    scores: String,
    alpha: Option<f64>,
    beta: Option<f64>,
    object: Vec<i32>,
    overlap: Option<f64>,
    metric: Option<f64>,
    pairs: Option<[f64; 4]>,
}

#[derive(Deserialize)]
struct ByQueries {
    assigner: Value,
    scene: String,
    queries: usize,
    object: Vec<i32>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("tests.json")).expect("the file is ours")
}

const STRIDES: [[f32; 2]; 3] = [[8.0; 2], [16.0; 2], [32.0; 2]];
const MAPS: [[usize; 2]; 3] = [[8, 12], [4, 6], [2, 3]];
/// Classes.
const K: usize = 5;

fn priors(kind: &str) -> (Vec<Xyxy>, Vec<usize>) {
    let sizes: &[[f32; 2]] = match kind {
        "points" => &[[0.0; 2]],
        "anchors" => &[[4.0; 2]],
        "three" => &[[2.0, 4.0], [3.0, 3.0], [4.0, 2.0]],
        other => panic!("no priors of the kind {other}"),
    };
    let mut boxes = Vec::new();
    let levels = STRIDES
        .iter()
        .zip(MAPS)
        .map(|([stride, _], [height, width])| {
            let first = boxes.len();
            for cell in 0..height * width {
                let [x, y] = [cell % width, cell / width].map(|i| i as f32 * stride);
                boxes.extend(sizes.iter().map(|size| {
                    let [w, h] = size.map(|s| s * stride / 2.0);
                    [x - w, y - h, x + w, y + h]
                }));
            }
            boxes.len() - first
        });
    let levels = levels.collect();
    (boxes, levels)
}

fn objects(scene: &str, ignored: bool) -> Objects {
    let count = match scene {
        "none" => 0,
        "one" => 1,
        "many" => 8,
        "far" => 3,
        "same" => 6,
        other => panic!("no scene {other}"),
    };
    let same = scene == "same";
    let numbers = uniform(31 + scene.len() as u32, 4 * count);
    let boxes = (0..count).map(|i| {
        let i = if same { i / 2 * 2 } else { i };
        let v = &numbers[i * 4..][..4];
        let v = |j: usize| {
            if same {
                (v[j] * 2.0).floor() / 2.0
            } else {
                v[j]
            }
        };
        let (away, least) = (
            if scene == "far" { 1000.0 } else { 0.0 },
            if same { 16.0 } else { 6.0 },
        );
        let [x, y] = [v(0) * 64.0 + away, v(1) * 40.0 + away];
        [x, y, x + v(2) * 40.0 + least, y + v(3) * 30.0 + least].map(|side| side as f32)
    });
    Objects {
        boxes: boxes.collect(),
        labels: uniform(47, count)
            .into_iter()
            .map(|u| (u * K as f64) as usize)
            .collect(),
        ignored: if ignored {
            vec![[10.0, 10.0, 40.0, 40.0], [70.0, 5.0, 90.0, 60.0]]
        } else {
            Vec::new()
        },
        masks: None,
    }
}

fn build(assigner: &Value) -> AnyAssigner {
    let python = assigner
        .to_string()
        .replace("true", "True")
        .replace("false", "False");
    // JSON has no tuples, which one key of the original is told from a list by
    let node = parse_value(&python).expect("the text is ours");
    let registry = crate::registry();
    let params = Params::new(&Device::flex(), Mode::Train, None);
    let build = Build::new(&registry, params, DEFAULT_SCOPE, None);
    let make = build.find::<Assigners>(&node).expect("it is there");
    make(&node, &build).unwrap_or_else(|problems| panic!("{assigner}: {problems:?}"))
}

/// The product of what is -1 at least with numbers by formula.
fn product(values: &[f32]) -> f64 {
    let by = uniform(77, values.len());
    let values = values
        .iter()
        .map(|v| if *v < -0.5 { -1.0 } else { f64::from(*v) });
    values.zip(by).map(|(v, b)| v * b).sum()
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-5 * expected.abs() + 1e-6
}

#[test]
fn by_boxes() {
    let mut wrong = Vec::new();
    for case in expected().by_boxes {
        let AnyAssigner::Boxes(assigner) = build(&case.assigner) else {
            panic!("{} asks for boxes only", case.assigner);
        };
        let (boxes, levels) = priors(&case.priors);
        let responsible: Vec<bool> = uniform(61, boxes.len())
            .into_iter()
            .map(|u| u > 0.5)
            .collect();
        let approxs: Vec<Xyxy> = boxes
            .iter()
            .flat_map(|[x1, y1, x2, y2]| {
                let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
                [0.75, 1.0, 1.25].map(|by| {
                    let (w, h) = ((x2 - x1) / 2.0 * by, (y2 - y1) / 2.0 * by);
                    [x - w, y - h, x + w, y + h]
                })
            })
            .collect();
        let given = Priors {
            more: More {
                approxs: &approxs,
                responsible: &responsible,
                maps: &MAPS,
                anchor_scale: 2.0,
            },
            ..Priors::new(&boxes, &levels, &STRIDES)
        };
        let mut found = assigner.assign(&given, &objects(&case.scene, case.ignored));
        let name = format!(
            "{}, {}, {} ignored",
            case.assigner, case.scene, case.ignored
        );
        assert_eq!(found.overlap.len(), boxes.len(), "{name}");
        let differ = found
            .object
            .iter()
            .zip(&case.object)
            .filter(|(a, b)| a != b)
            .count();
        if differ > 0 {
            wrong.push(format!("{name}: {differ} priors of {}", boxes.len()));
        }
        if let Some(overlap) = case.overlap
            && !near(product(&found.overlap), overlap)
        {
            wrong.push(format!(
                "{name}: overlaps {}, not {overlap}",
                product(&found.overlap)
            ));
        }
        if let Some(shadowed) = case.shadowed {
            found.shadowed.sort_unstable();
            if found.shadowed != shadowed {
                wrong.push(format!(
                    "{name}: shadowed {:?}, not {shadowed:?}",
                    found.shadowed
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn numbers<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// What is predicted for `n` pictures, all the same.
fn predicted(scores: &str, n: usize, device: &Device) -> Predicted {
    let (boxes, levels) = priors("anchors");
    let places = boxes.len();
    let strides = levels
        .iter()
        .zip(STRIDES)
        .flat_map(|(count, [s, _])| vec![s; *count]);
    let rows = boxes.iter().zip(strides).flat_map(|(b, stride)| {
        [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0, stride, stride].map(f64::from)
    });
    let rows: Vec<f64> = rows.collect();
    let anchors: Vec<f64> = boxes.iter().flatten().map(|v| f64::from(*v)).collect();
    let moved = anchors.iter().zip(uniform(51, 4 * places));
    let moved: Vec<f64> = moved.map(|(v, u)| v + u * 16.0 - 8.0).collect();
    // not on a grid: of anchors that are as near any may be taken
    let anchors = anchors.iter().zip(uniform(53, 4 * places));
    let anchors: Vec<f64> = anchors.map(|(v, u)| v + u * 4.0 - 2.0).collect();
    let logits: Vec<f64> = uniform(52, places * K)
        .into_iter()
        .map(|u| u * 8.0 - 4.0)
        .collect();
    let logits: Tensor<3> = numbers(&logits, [1, places, K], device).repeat_dim(0, n);
    Predicted {
        priors: numbers(&rows, [places, 4], device),
        boxes: numbers(&moved, [1, places, 4], device).repeat_dim(0, n),
        scores: if scores == "logits" {
            logits
        } else {
            activation::sigmoid(logits)
        },
        anchors: Some(numbers(&anchors, [places, 4], device)),
    }
}

/// Cases of one assigner, all scenes of it as one batch.
fn check_batch(cases: &[ByPredictions], device: &Device, wrong: &mut Vec<String>) {
    let first = &cases[0];
    let AnyAssigner::Predictions(mut assigner) = build(&first.assigner) else {
        panic!("{} asks what is predicted", first.assigner);
    };
    if let (Some(alpha), Some(beta)) = (first.alpha, first.beta) {
        assigner.set_powers(alpha, beta);
    }
    let assigner: Box<dyn PredictionAssigner> = assigner;
    let given = predicted(&first.scores, cases.len(), device);
    let targets = Targets {
        pictures: cases
            .iter()
            .map(|case| objects(&case.scene, false))
            .collect(),
    };
    let padded = targets.padded(device);
    let found = assigner.assign(&given, &padded);
    let [_, places] = found.object.dims();
    let of_picture = |t: Tensor<2>, i: usize| -> Vec<f32> {
        let row = t.narrow(0, i, 1).into_data().convert::<f32>();
        row.try_into_vec::<f32>().expect("f32")
    };
    for (i, case) in cases.iter().enumerate() {
        let name = format!("{}, {}", case.assigner, case.scene);
        let object = of_picture(found.object.clone().float(), i);
        let pairs = object.iter().zip(&case.object);
        let differ = pairs.filter(|(a, b)| **a as i32 != **b).count();
        if differ > 0 || case.object.len() != places {
            wrong.push(format!("{name}: {differ} places of {places}"));
        }
        let mut compare = |what: &str, found: f64, expected: f64| {
            if !near(found, expected) {
                wrong.push(format!("{name}: {what} {found}, not {expected}"));
            }
        };
        if let Some(overlap) = case.overlap {
            compare(
                "overlaps",
                product(&of_picture(found.overlap.clone(), i)),
                overlap,
            );
        }
        if let Some(metric) = case.metric {
            let of = found.metric.clone().expect("it is reported");
            compare("metrics", product(&of_picture(of, i)), metric);
        }
        if let Some([count, of_boxes, of_objects, of_both]) = case.pairs {
            let pairing = found.pairing.as_ref().expect("it is reported");
            let whole = |t: Tensor<2>| -> Vec<usize> {
                of_picture(t, i).into_iter().map(|v| v as usize).collect()
            };
            let (place, gt) = (
                whole(pairing.place.clone().float()),
                whole(pairing.object.clone().float()),
            );
            let counts = of_picture(pairing.counts.clone().float(), i);
            let boxes = given
                .boxes
                .clone()
                .narrow(0, i, 1)
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32");
            let objects = &targets.pictures[i].boxes;
            let mut sums = [0.0; 4];
            for s in (0..place.len()).filter(|s| counts[*s] > 0.0) {
                sums[0] += 1.0;
                for side in 0..4 {
                    let (a, b) = (
                        f64::from(boxes[place[s] * 4 + side]),
                        f64::from(objects[gt[s]][side]),
                    );
                    sums[1] += a * (side + 1) as f64;
                    sums[2] += b * (side + 1) as f64;
                    sums[3] += a * b;
                }
            }
            compare("pairs", sums[0], count);
            compare("boxes of pairs", sums[1], of_boxes);
            compare("objects of pairs", sums[2], of_objects);
            compare("boxes and objects of pairs", sums[3], of_both);
        }
    }
}

fn check_predictions(device: &Device) {
    let mut wrong = Vec::new();
    let cases = expected().by_predictions;
    for batch in cases.chunk_by(|a, b| a.assigner == b.assigner) {
        check_batch(batch, device, &mut wrong);
        // and without padding
        for case in batch {
            check_batch(std::slice::from_ref(case), device, &mut wrong);
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
fn by_predictions_on_the_cpu() {
    check_predictions(&Device::flex());
}

#[test]
fn by_predictions_on_a_gpu() {
    if let Some(device) = gpu_for_tests() {
        check_predictions(&device);
    }
}

#[test]
fn by_queries() {
    for case in expected().by_queries {
        let AnyAssigner::Queries(assigner) = build(&case.assigner) else {
            panic!("{} asks queries", case.assigner);
        };
        let count = case.queries;
        let boxes = uniform(71, count * 4);
        let boxes = boxes.chunks(4).map(|v| {
            let [x, y] = [v[0] * 64.0, v[1] * 40.0];
            [x, y, x + v[2] * 40.0 + 4.0, y + v[3] * 30.0 + 4.0].map(|side| side as f32)
        });
        let boxes: Vec<Xyxy> = boxes.collect();
        let logits = uniform(72, count * K)
            .into_iter()
            .map(|u| (u * 8.0 - 4.0) as f32);
        let logits: Vec<f32> = logits.collect();
        let queries = Queries {
            logits: &logits,
            classes: K,
            boxes: &boxes,
        };
        let found = assigner.assign(&queries, &objects(&case.scene, false), [64, 96]);
        assert_eq!(
            found, case.object,
            "{}, {}, {count} queries",
            case.assigner, case.scene
        );
    }
}
