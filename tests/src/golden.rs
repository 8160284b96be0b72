//! Compares ours with rows of real outputs. Models are compared here: weights and input come from a formula, so a row needs no
//! checkpoint file. Rows of data transforms are [`crate::transforms`]' business.
//! `../bin/golden.rs` is the command; `spine.rs` and `transform_rows.rs` run the rows in `data/`.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value as Json;
use smalti::backbones::{Backbone, Backbones};
use smalti::batch::{Batch, Pictures};
use smalti::build::Build;
use smalti::config::{Config, Diagnostics, Dict, MapLoader, Node, Value};
use smalti::data::Meta;
use smalti::data::pixels::Pixels;
use smalti::detectors::{Detector, Detectors};
use smalti::layers::{Mode, Params, Role, StateEntry, TensorSource};
use smalti::probe::Probe;
use smalti::registry::DEFAULT_SCOPE;
use smalti::structures::{Instances, Proposals};

use crate::formula::{tagged, uniform};
use crate::{training, trajectory, transforms};

/// Expected values.
pub enum Row {
    /// Of a model.
    Model(Box<Model>),
    /// Of one step of training.
    Training(Box<training::Row>),
    /// Of a short run of training.
    Trajectory(Box<trajectory::Row>),
    /// Of a pipeline of transforms.
    Pipeline(Box<transforms::Row>),
}

impl Row {
    /// The config's name, or what tells pipelines apart.
    pub fn name(&self) -> String {
        match self {
            Row::Model(model) => model.file.clone(),
            Row::Training(row) => row.name(),
            Row::Trajectory(row) => row.name(),
            Row::Pipeline(row) => row.name(),
        }
    }

    /// A row with a `pipeline` is one of transforms, one with `losses` one of training, one with `steps` a whole run.
    fn read(line: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            pipeline: Option<serde::de::IgnoredAny>,
            losses: Option<serde::de::IgnoredAny>,
            grads: Option<serde::de::IgnoredAny>,
            steps: Option<serde::de::IgnoredAny>,
        }
        let kind: Kind = serde_json::from_str(line)?;
        match (kind.pipeline, kind.losses.or(kind.grads), kind.steps) {
            (Some(_), _, _) => serde_json::from_str(line).map(Row::Pipeline),
            (_, Some(_), _) => serde_json::from_str(line).map(Row::Training),
            (_, _, Some(_)) => serde_json::from_str(line).map(Row::Trajectory),
            _ => serde_json::from_str(line).map(Row::Model),
        }
    }
}

/// One model's expected values.
#[derive(Deserialize)]
pub struct Model {
    /// Name of the config.
    #[serde(alias = "d2_yaml")]
    file: String,
    model: Option<Json>,
    /// In place of `model`: Detectron2's whole config.
    cfg: Option<Json>,
    /// In place of `model`: a backbone alone.
    backbone: Option<Json>,
    /// Values came in before the original was told to evaluate. LeViT and TinyViT make their biases of attention then: where values came in
    /// later, the biases were still zeros.
    #[serde(default)]
    filled_first: bool,
    score_thr: Option<f32>,
    #[serde(default)]
    state: Vec<(String, Vec<usize>)>,
    #[serde(default)]
    alias: HashMap<String, String>,
    input: Option<[usize; 4]>,
    /// Where objects may be in each picture, of detectors that are given that.
    proposals: Option<Vec<Vec<[f32; 4]>>>,
    #[serde(default)]
    stages: serde_json::Map<String, Json>,
    predict: Option<Vec<Predicted>>,
    agree: Option<usize>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Predicted {
    bboxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
    labels: Vec<usize>,
    /// Pixels of each mask, or the sum of its values, from models that give masks.
    mask_area: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    absmax: f64,
    mean: f64,
    idx: Vec<usize>,
    val: Vec<f32>,
}

/// What a comparison found.
pub enum Outcome {
    /// Everything within tolerance; a line of figures.
    Passed(String),
    /// Something was not; what.
    Failed(String),
}

/// A row has no more boxes than this, the best ones.
const STORED: usize = 100;

/// Largest error of a stage, in units of its largest absolute value.
const STAGE_TOLERANCE: f64 = 1e-3;

/// Largest difference of the masks' areas, of all together: where a mask is a pixel wide, its values lie at the threshold, and a pixel times
/// 1 + 1e-5 moves the original's own by one in twenty.
const MASK_TOLERANCE: f64 = 5e-3;

/// Reads rows from a `.jsonl` or `.jsonl.gz` file.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, String> {
    let lines = read_lines(path)?.into_iter().enumerate();
    lines
        .map(|(i, line)| Row::read(&line).map_err(|e| format!("{}:{}: {e}", path.display(), i + 1)))
        .collect()
}

/// The lines of a `.jsonl` or `.jsonl.gz` file.
pub(crate) fn read_lines(path: &Path) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    } else {
        text = String::from_utf8(bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(String::from).collect())
}

/// Builds the row's model or pipeline on `device`, runs it, and compares every stage and the boxes.
pub fn check(row: &Row, device: &Device) -> Outcome {
    let compared = match row {
        Row::Model(row) => compare(row, device),
        Row::Training(row) => training::compare(row, device),
        Row::Trajectory(row) => trajectory::compare(row, device),
        Row::Pipeline(row) => transforms::check(row, &pixels(device)),
    };
    match compared {
        Ok(line) => Outcome::Passed(line),
        Err(line) => Outcome::Failed(line),
    }
}

/// Step by step, as MMDetection; by the CPU where the device runs no WGSL.
fn pixels(device: &Device) -> Pixels {
    let on = smalti::ops::augment::engine(device).map_or_else(Pixels::cpu, Pixels::on);
    on.exact(true)
}

/// A backbone's maps.
fn compare_backbone(row: &Model, backbone: &Json, device: &Device) -> Result<String, String> {
    let [n, _, h, w] = row.input.ok_or("the row lacks `input`")?;
    let node = tagged(backbone, "the row's backbone")?;
    let mut alias = row.alias.clone();
    if !row.filled_first {
        let biases = row.state.iter().map(|(key, _)| key);
        let biases = biases.filter(|key| key.ends_with("attention_biases"));
        alias.extend(biases.map(|key| (key.clone(), ZEROS.to_string())));
    }
    let (backbone, _) = build_backbone(&node, &row.state, &alias, device, Mode::Fixed)?;
    let pixels = Tensor::from_data(TensorData::new(image(n, h, w), [n, 3, h, w]), device);
    let maps = backbone.forward(pixels);
    let features = backbone.features();
    if features.len() != maps.len() {
        return Err(format!("{} maps, {} are said", maps.len(), features.len()));
    }
    for (feature, map) in features.iter().zip(&maps) {
        let [_, channels, height, width] = map.dims();
        // Filters that do not pad leave out what is no multiple of their stride.
        let fits = |size, side: usize| {
            [side / feature.stride, side.div_ceil(feature.stride)].contains(&size)
        };
        if channels != feature.channels || !fits(height, h) || !fits(width, w) {
            let dims = map.dims();
            return Err(format!("a map of {dims:?}, where {feature:?} is said"));
        }
    }
    let named = maps.into_iter().enumerate();
    let named = named.map(|(i, map)| (format!("backbone.{i}"), map));
    stages(
        row,
        named.map(|(name, map)| (name.clone(), laid_out(map, row.stages.get(&name)))),
    )
}

/// A map with its channels last, if the original hands it on so: timm's Swin does.
fn laid_out(map: Tensor<4>, expected: Option<&Json>) -> Tensor<4> {
    let [n, c, h, w] = map.dims();
    let shape = expected.and_then(|stage| Vec::<usize>::deserialize(&stage["shape"]).ok());
    match shape {
        Some(shape) if shape == [n, h, w, c] && shape != [n, c, h, w] => map.permute([0, 2, 3, 1]),
        _ => map,
    }
}

/// Compares what parts gave with the row's `stages`; a line of figures.
fn stages(
    row: &Model,
    told: impl IntoIterator<Item = (String, Tensor<4>)>,
) -> Result<String, String> {
    let mut worst = (0.0, String::from("none"));
    let mut seen = 0;
    for (name, tensor) in told {
        let Some(expected) = row.stages.get(&name) else {
            return Err(format!("our model gives {name}, the row has no such stage"));
        };
        let expected = Summary::deserialize(expected).map_err(|e| format!("{name}: {e}"))?;
        let error = stage_error(tensor, &expected).map_err(|e| format!("{name}: {e}"))?;
        if error >= worst.0 || error.is_nan() {
            worst = (error, name);
        }
        seen += 1;
    }
    if seen != row.stages.len() {
        return Err(format!(
            "the row has {} stages, our model gives {seen}",
            row.stages.len()
        ));
    }
    let line = format!("worst stage {} {:.1e}", worst.1, worst.0);
    if worst.0.is_nan() || worst.0 > STAGE_TOLERANCE {
        return Err(format!("{line}, above {STAGE_TOLERANCE:.0e}"));
    }
    Ok(line)
}

fn compare(row: &Model, device: &Device) -> Result<String, String> {
    if let Some(backbone) = &row.backbone {
        return compare_backbone(row, backbone, device);
    }
    let (Some(mut node), Some([n, _, h, w])) = (model_of(row)?, row.input) else {
        let why = row
            .error
            .as_deref()
            .unwrap_or("it lacks `model` or `input`");
        return Err(format!("the row has nothing to compare: {why}"));
    };
    if let Some(thr) = row.score_thr {
        set_score_thr(&mut node, thr);
    }
    let (detector, _) = build(&node, &row.state, &row.alias, device, Mode::Fixed)?;
    let pixels = Tensor::<4>::from_data(TensorData::new(image(n, h, w), [n, 3, h, w]), device);
    let batch = Batch {
        pixels,
        pictures: Pictures {
            metas: vec![Meta {
                ori_shape: [h, w],
                img_shape: [h, w],
                scale_factor: [1.0, 1.0],
                proposals: proposals(row.proposals.as_deref(), 0),
                ..Meta::default()
            }],
            rescale: false,
        },
    };
    let mut told = Vec::new();
    let mut tell = |part: &str, tensors: &[Tensor<4>]| {
        let named = |(i, t): (usize, &Tensor<4>)| (format!("{part}.{i}"), t.clone());
        told.extend(tensors.iter().enumerate().map(named));
    };
    let mut probe = Probe::new(&mut tell);
    let found = pollster::block_on(smalti::predict(detector.as_ref(), batch, &mut probe));
    let found = found.map_err(|e| e.to_string())?;

    if row.cfg.is_some() {
        named_as_in(row, &mut told);
    }
    let stages = stages(row, told)?;
    let Some(expected) = row.predict.as_ref().and_then(|p| p.first()) else {
        return Ok(stages);
    };
    let total = expected.scores.len();
    let mut found = found.into_iter().next().unwrap_or_default();
    if total == STORED {
        // There may be more in the original too; the best must be these, but for those that rounding brings in at the end.
        found.truncate(STORED + 5);
    }
    let pairs = same_boxes(expected, &found);
    let same = pairs.len();
    let wanted = row.agree.unwrap_or(total).saturating_sub(1);
    let line = format!("{stages}, {same} of {total} boxes agree");
    if same < wanted {
        return Err(format!("{line}, {wanted} are wanted"));
    }
    if total < STORED && found.len() > total + 1 {
        return Err(format!("{line}, but ours are {}", found.len()));
    }
    let Some(areas) = &expected.mask_area else {
        return Ok(line);
    };
    let off = mask_error(areas, &found, &pairs)?;
    let line = format!("{line}, masks off by {off:.1e}");
    if off > MASK_TOLERANCE {
        return Err(format!("{line}, above {MASK_TOLERANCE:.0e}"));
    }
    Ok(line)
}

/// Those that a row gives of the picture `i`, the earlier the better.
pub(crate) fn proposals(all: Option<&[Vec<[f32; 4]>]>, i: usize) -> Option<Arc<Proposals>> {
    let boxes = all?.get(i)?.clone();
    let score = |k: usize| 1.0 / (k + 1) as f32;
    let scores = (0..boxes.len()).map(score).collect();
    Some(Arc::new(Proposals { boxes, scores }))
}

/// The config of the row's model.
fn model_of(row: &Model) -> Result<Option<Node>, String> {
    match (&row.model, &row.cfg) {
        (Some(model), _) => tagged(model, "the row's model").map(Some),
        (None, Some(cfg)) => detectron2(cfg).map(Some),
        (None, None) => Ok(None),
    }
}

/// A model by Detectron2's whole config.
pub(crate) fn detectron2(cfg: &Json) -> Result<Node, String> {
    let model = serde_json::json!({"model": {"type": "detectron2.Detector", "cfg": cfg}});
    let config = Config::parse(&model.to_string(), "row.json", &MapLoader::default());
    let config = config.map_err(|e| e.to_string())?;
    Ok(config.get("model").expect("it was just said").clone())
}

/// Gives the backbone's maps the names that Detectron2 has for them.
fn named_as_in(row: &Model, told: &mut [(String, Tensor<4>)]) {
    let of_backbone = |name: &&String| name.starts_with("backbone.");
    let names = row.stages.keys().filter(of_backbone);
    let ours = told
        .iter_mut()
        .filter(|(name, _)| name.starts_with("backbone."));
    ours.zip(names)
        .for_each(|((ours, _), name)| ours.clone_from(name));
}

/// Builds `model` with weights by formula, and checks its state dict. Tensors that share another's values have them by `alias`.
pub(crate) fn build(
    model: &Node,
    state: &[(String, Vec<usize>)],
    alias: &HashMap<String, String>,
    device: &Device,
    mode: Mode,
) -> Result<(Box<dyn Detector>, Params), String> {
    build_by(model, state, alias, device, mode, |node, build| {
        let (make, build) = build.root::<Detectors>(node)?;
        make(node, &build)
    })
}

/// As [`build`], a backbone alone.
pub(crate) fn build_backbone(
    backbone: &Node,
    state: &[(String, Vec<usize>)],
    alias: &HashMap<String, String>,
    device: &Device,
    mode: Mode,
) -> Result<(Box<dyn Backbone>, Params), String> {
    build_by(backbone, state, alias, device, mode, |node, build| {
        let (make, build) = build.root::<Backbones>(node)?;
        make(node, &build)
    })
}

fn build_by<T>(
    node: &Node,
    state: &[(String, Vec<usize>)],
    alias: &HashMap<String, String>,
    device: &Device,
    mode: Mode,
    make: impl FnOnce(&Node, &Build) -> Result<T, Diagnostics>,
) -> Result<(T, Params), String> {
    let formula = Formula {
        alias: alias.clone(),
    };
    let mut node = node.clone();
    forget_weights(&mut node);
    let registry = smalti::registry();
    let params = Params::new(device, mode, Some(Box::new(formula)));
    let build = Build::new(&registry, params.clone(), DEFAULT_SCOPE, None);
    let made = make(&node, &build).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        lines.join("\n")
    })?;
    check_state(state, &params.state())?;
    Ok((made, params))
}

/// Names, shapes and their order.
fn check_state(expected: &[(String, Vec<usize>)], ours: &[StateEntry]) -> Result<(), String> {
    let ours: Vec<_> = ours
        .iter()
        .map(|e| (e.key.clone(), e.shape.clone()))
        .collect();
    if ours == expected {
        return Ok(());
    }
    let find = |list: &[(String, Vec<usize>)], other: &[(String, Vec<usize>)]| {
        let extra: Vec<_> = list.iter().filter(|e| !other.contains(e)).take(3).collect();
        format!("{extra:?}")
    };
    Err(format!(
        "state dict differs: {} entries, expected {}; not in ours: {}; only in ours: {}",
        ours.len(),
        expected.len(),
        find(expected, &ours),
        find(&ours, expected)
    ))
}

/// Largest difference from the stored values and mean, relative to the largest absolute value.
fn stage_error(tensor: Tensor<4>, expected: &Summary) -> Result<f64, String> {
    let shape = tensor.dims().to_vec();
    if shape != expected.shape {
        return Err(format!("shape {shape:?}, expected {:?}", expected.shape));
    }
    let data = tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|e| format!("{e:?}"))?;
    let scale = expected.absmax.max(1e-12);
    let at = |(i, v): (&usize, &f32)| f64::from((data[*i] - v).abs()) / scale;
    let values = expected.idx.iter().zip(&expected.val).map(at);
    let mean = data.iter().map(|v| f64::from(*v)).sum::<f64>() / data.len().max(1) as f64;
    let absmax = data.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
    let whole = [
        (mean - expected.mean).abs() / scale,
        (absmax - expected.absmax).abs() / scale,
    ];
    // `f64::max` would drop a NaN.
    Ok(values.chain(whole).fold(
        0.0,
        |worst, e| if e > worst || e.is_nan() { e } else { worst },
    ))
}

/// By how many pixels masks' areas differ, but for one each, of all that there are.
fn mask_error(areas: &[f64], found: &Instances, pairs: &[(usize, usize)]) -> Result<f64, String> {
    let masks = found.masks.as_ref().ok_or("our model gives no masks")?;
    let masks = masks.to_bitmaps();
    if masks.len() != found.len() {
        return Err(format!("{} masks for {} boxes", masks.len(), found.len()));
    }
    let (mut off, mut all) = (0.0, 0.0);
    for (i, j) in pairs {
        let ours = masks[*j].iter().map(|v| f64::from(*v)).sum::<f64>();
        off += ((ours - areas[*i]).abs() - 1.0).max(0.0);
        all += areas[*i];
    }
    Ok(off / f64::max(all, 1.0))
}

/// Expected boxes that are found, with which of ours: same label, score within 1e-3, box within 0.1 px; each of ours counts once.
fn same_boxes(expected: &Predicted, found: &Instances) -> Vec<(usize, usize)> {
    let mut used = vec![false; found.scores.len()];
    let mut pairs = Vec::new();
    for (i, ((bbox, score), label)) in expected
        .bboxes
        .iter()
        .zip(&expected.scores)
        .zip(&expected.labels)
        .enumerate()
    {
        let same = |j: usize| {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 0.1;
            found.labels[j] == *label
                && (found.scores[j] - score).abs() < 1e-3
                && found.boxes[j].iter().zip(bbox).all(near)
        };
        if let Some(j) = (0..used.len()).find(|j| !used[*j] && same(*j)) {
            used[j] = true;
            pairs.push((i, j));
        }
    }
    pairs
}

/// In place of the first name of a tensor: it has zeros.
const ZEROS: &str = "zeros";

/// The state dict's values by formula.
pub(crate) struct Formula {
    pub alias: HashMap<String, String>,
}

impl TensorSource for Formula {
    fn tensor(&mut self, entry: &StateEntry) -> Option<Vec<f32>> {
        // What `ConvAWS` works out for itself where a checkpoint has weights only: in the rows they are as when built.
        let built = [("weight_gamma", 1.0), ("weight_beta", 0.0)];
        if let Some((_, value)) = built.iter().find(|(name, _)| entry.key.ends_with(name)) {
            return Some(vec![*value; entry.shape.iter().product()]);
        }
        let filled = match entry.role {
            Role::Parameter => true,
            Role::Buffer => {
                entry.key.ends_with("running_mean") || entry.key.ends_with("running_var")
            }
            Role::Counter | Role::Index => false,
        };
        let key = self.alias.get(&entry.key).unwrap_or(&entry.key);
        filled.then(|| match key.as_str() {
            ZEROS => vec![0.0; entry.shape.iter().product()],
            key => weight(key, &entry.shape),
        })
    }
}

/// The values of the state-dict entry `key`.
pub fn weight(key: &str, shape: &[usize]) -> Vec<f32> {
    let u = uniform(key, shape.iter().product());
    let ends = |suffixes: &[&str]| suffixes.iter().any(|s| key.ends_with(s));
    // Products with a factor are rounded once, as in the original's float32 arrays.
    if ends(&["running_var"]) {
        u.map(|u| 1.0 + 0.25 * u).collect()
    } else if ends(&["running_mean"]) {
        u.map(|u| 0.1 * u).collect()
    } else if shape.len() <= 1 {
        let scale_like = ends(&["weight", "gamma", "scale"]);
        u.map(|u| if scale_like { 1.0 + 0.1 * u } else { 0.1 * u })
            .collect()
    } else {
        let fan_in: usize = shape[1..].iter().product();
        let bound = (3.0 / fan_in as f64).sqrt() as f32;
        u.map(|u| u * bound).collect()
    }
}

/// A smooth picture with noise, `[n, 3, h, w]`, about mean 0 and deviation 1.
pub fn image(n: usize, h: usize, w: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(n * 3 * h * w);
    let tau = std::f64::consts::TAU;
    for b in 0..n {
        for c in 0..3 {
            let noise = uniform(&format!("image.{b}.{c}"), h * w);
            out.extend(noise.enumerate().map(|(i, noise)| {
                let (y, x) = ((i / w) as f64 / h as f64, (i % w) as f64 / w as f64);
                let (b, c) = ((b + 1) as f64, (c + 1) as f64);
                let smooth = (tau * (c * x + b * y)).sin() + (tau * (2.0 * y - c * x)).cos();
                (0.8 * smooth + 0.4 * f64::from(noise)) as f32
            }));
        }
    }
    out
}

/// Rows are of models without pretrained weights.
pub(crate) fn forget_weights(node: &mut Node) {
    let Value::Dict(dict) = &node.value else {
        return;
    };
    let mut kept = Dict::new();
    for (key, entry) in dict.iter() {
        let mut entry = entry.clone();
        match key.as_str() {
            Some("pretrained") => continue,
            Some("init_cfg") => entry.node.value = Value::None,
            _ => forget_weights(&mut entry.node),
        }
        kept.insert(key.clone(), entry);
    }
    node.value = Value::Dict(kept);
}

/// Replaces every `score_thr`.
fn set_score_thr(node: &mut Node, thr: f32) {
    let Value::Dict(dict) = &node.value else {
        return;
    };
    let mut changed = Dict::new();
    for (key, entry) in dict.iter() {
        let mut child = entry.node.clone();
        match key.as_str() {
            Some("score_thr") => child.value = Value::Float(thr.into()),
            _ => set_score_thr(&mut child, thr),
        }
        changed.set(&key.to_string(), child);
    }
    node.value = Value::Dict(changed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_gives_its_check_vectors() {
        let u: Vec<_> = uniform("a", 3).collect();
        assert_eq!(u, [-0.256_538_15, 0.996_244_55, 0.984_213]);
        assert_eq!(
            weight("backbone.bn1.running_var", &[2]),
            [1.073_268, 0.806_490_6]
        );
        assert_eq!(
            weight("x.weight", &[1, 2, 1, 2]),
            [-0.620_494_4, 0.171_182_88, 0.469_383_24, -0.456_091_3]
        );
        assert_eq!(
            &image(1, 4, 6)[..3],
            [0.878_342_6, 1.474_131_8, 0.326_407_64]
        );
    }
}
