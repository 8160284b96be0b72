//! Compares one step of training with rows of the original: losses, gradients, what is frozen, running statistics.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value as Json;
use smalti::backbones::Backbone;
use smalti::batch::Pictures;
use smalti::data::Meta;
use smalti::detectors::Detector;
use smalti::layers::{Mode, Role};
use smalti::probe::Probe;
use smalti::structures::Masks;
use smalti::targets::{Objects, Targets};

use crate::formula::{tagged, uniform};
use crate::golden::{build, build_backbone, detectron2, image, proposals};

/// Expected values of one step.
#[derive(Deserialize)]
pub struct Row {
    #[serde(alias = "d2_yaml")]
    file: String,
    model: Option<Json>,
    /// In place of `model`: Detectron2's whole config.
    cfg: Option<Json>,
    /// In place of `model`: a backbone alone, whose loss is [`spread_loss`].
    backbone: Option<Json>,
    state: Vec<(String, Vec<usize>)>,
    #[serde(default)]
    alias: HashMap<String, String>,
    input: [usize; 4],
    #[serde(default)]
    gt: Vec<Given>,
    /// Where objects may be in each picture, of detectors that are given that.
    proposals: Option<Vec<Vec<[f32; 4]>>>,
    #[serde(default)]
    with_mask: bool,
    #[serde(default)]
    losses: BTreeMap<String, f64>,
    total: f64,
    frozen: Vec<String>,
    grads: BTreeMap<String, Digest>,
    running: BTreeMap<String, Digest>,
}

/// Objects of a picture.
#[derive(Deserialize)]
pub(crate) struct Given {
    pub bboxes: Vec<[f32; 4]>,
    pub labels: Vec<usize>,
}

/// What is kept of a tensor.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Digest {
    pub norm: f64,
    /// How many numbers ours has.
    #[serde(skip)]
    pub count: usize,
}

impl Digest {
    pub fn of(tensor: Tensor<1>) -> Result<Self, String> {
        let data = tensor.into_data().try_into_vec::<f32>();
        let data = data.map_err(|e| format!("{e:?}"))?;
        let square = |v: &f32| f64::from(*v) * f64::from(*v);
        let norm = data.iter().map(square).sum::<f64>().sqrt();
        let count = data.len();
        Ok(Self { norm, count })
    }
}

/// Largest difference of a loss, relative.
const LOSS: f64 = 1e-4;
/// Largest difference of a gradient's norm, relative.
const GRADIENT: f64 = 1e-3;
/// What a few gradients ([`FEW`] of all) may be off: where a model amplifies rounding, the original's own f32 is off its f64 by 2.5e-3, and by
/// 1.7e-3 when every pixel is multiplied by 1 + 1e-6 (seen for three of nine rows). Of a Mask R-CNN with SyncBN 25 of 168 are off by more
/// than 1e-3, 4.4e-3 at most, when the original runs once more with another number of threads.
const AMPLIFIED: f64 = 5e-3;
const FEW: f64 = 0.2;
/// What a norm may be off in any case, as a share of the largest one: gradients that are nothing but rounding, as of a bias before a norm by
/// the batch's statistics.
const ROUNDING: f64 = 1e-6;
/// Largest difference of running statistics, relative.
const RUNNING: f64 = 1e-4;

impl Row {
    /// The config's name.
    pub fn name(&self) -> String {
        self.file.clone()
    }
}

/// The objects that rows give.
pub(crate) fn targets(gt: &[Given]) -> Targets {
    let objects = |given: &Given| Objects {
        boxes: given.bboxes.clone(),
        labels: given.labels.clone(),
        ..Objects::default()
    };
    Targets {
        pictures: gt.iter().map(objects).collect(),
    }
}

/// Each object's mask: its box, rounded out, less a fifth of its width on the left.
fn masks(boxes: &[[f32; 4]], [width, height]: [usize; 2]) -> Masks {
    let mask = |[x1, y1, x2, y2]: &[f32; 4]| {
        let left = f64::from(*x1) + f64::from(x2 - x1) / 5.0;
        let across = left.floor() as usize..x2.ceil() as usize;
        let down = y1.floor() as usize..y2.ceil() as usize;
        let pixels = (0..width * height)
            .map(|i| u8::from(across.contains(&(i % width)) && down.contains(&(i / width))));
        pixels.collect()
    };
    Masks::bitmaps([width, height], boxes.iter().map(mask).collect())
}

/// Pictures that fill their batch.
pub(crate) fn pictures([count, _, height, width]: [usize; 4]) -> Pictures {
    let meta = Meta {
        ori_shape: [height, width],
        img_shape: [height, width],
        pad_shape: [height, width],
        scale_factor: [1.0, 1.0],
        ..Meta::default()
    };
    Pictures {
        metas: vec![meta; count],
        rescale: false,
    }
}

/// A loss of a backbone alone: the mean of each map's numbers, each times a number in `[-1, 1)` by formula.
fn spread_loss(maps: Vec<Tensor<4>>) -> Option<Tensor<1>> {
    let of = |(i, map): (usize, Tensor<4>)| {
        let dims = map.dims();
        let factors = uniform(&format!("spread.{i}"), dims.iter().product());
        let device = map.device().without_autodiff();
        let factors = Tensor::from_data(TensorData::new(factors.collect(), dims), &device);
        (map * factors).mean()
    };
    maps.into_iter().enumerate().map(of).reduce(|a, b| a + b)
}

/// What the row's model makes of its pictures.
enum Model {
    Whole(Box<dyn Detector>),
    Backbone(Box<dyn Backbone>),
}

/// Trains the row's model for one step on `device`.
pub fn compare(row: &Row, device: &Device) -> Result<String, String> {
    let (state, alias) = (&row.state, &row.alias);
    let node = match (&row.model, &row.cfg) {
        (Some(model), _) => Some(tagged(model, "the row's model")?),
        (None, Some(cfg)) => Some(detectron2(cfg)?),
        (None, None) => None,
    };
    let (model, params) = match (node, &row.backbone) {
        (Some(node), _) => {
            let (detector, params) = build(&node, state, alias, device, Mode::Train)?;
            (Model::Whole(detector), params)
        }
        (None, Some(backbone)) => {
            let node = tagged(backbone, "the row's backbone")?;
            let (backbone, params) = build_backbone(&node, state, alias, device, Mode::Train)?;
            (Model::Backbone(backbone), params)
        }
        (None, None) => return Err("the row has no `model`".into()),
    };
    let store = params.store();
    let frozen: Vec<_> = store
        .parameters()
        .into_iter()
        .filter(|slot| slot.frozen())
        .map(|slot| slot.key().to_string())
        .collect();
    if frozen != row.frozen {
        return Err(format!("frozen: {frozen:?}, expected {:?}", row.frozen));
    }

    let [n, c, h, w] = row.input;
    let base = Tensor::<4>::from_data(TensorData::new(image(1, h, w), [1, c, h, w]), device);
    let mirrored = [base.clone(), base.clone().flip([3]), base.flip([2])];
    let pixels = Tensor::cat(mirrored[..n].to_vec(), 0);
    store.track(true);
    store.learn("", true);
    let mut worst = Worst::default();
    let mut names = Vec::new();
    let total = match model {
        Model::Backbone(backbone) => spread_loss(backbone.forward(pixels)),
        Model::Whole(detector) => {
            let probe = &mut Probe::off();
            let maps = detector.extract(pixels, probe);
            let (mut pictures, mut targets) = (pictures(row.input), targets(&row.gt));
            for (i, meta) in pictures.metas.iter_mut().enumerate() {
                meta.proposals = proposals(row.proposals.as_deref(), i);
            }
            if row.with_mask {
                let [.., height, width] = row.input;
                for objects in &mut targets.pictures {
                    objects.masks = Some(masks(&objects.boxes, [width, height]));
                }
            }
            let losses = detector.losses(maps, &pictures, &targets, probe);
            let losses = pollster::block_on(losses).map_err(|e| e.to_string())?;
            for (name, loss) in losses.iter() {
                let value = f64::from(loss.clone().into_scalar::<f32>());
                let Some(expected) = row.losses.get(name) else {
                    return Err(format!("our model gives {name}, the row has no such loss"));
                };
                worst.add(name, value, *expected, LOSS * expected.abs());
                names.push(name.to_string());
            }
            losses.total()
        }
    };
    if names.len() != row.losses.len() {
        let expected: Vec<_> = row.losses.keys().collect();
        return Err(format!("losses {names:?}, expected {expected:?}"));
    }
    let total = total.ok_or("there is no loss")?;
    let value = f64::from(total.clone().into_scalar::<f32>());
    // A mean of numbers of both signs: it is small beside what it is made of.
    let of = if row.backbone.is_some() {
        1.0
    } else {
        row.total.abs()
    };
    worst.add("total", value, row.total, LOSS * of);

    let gradients = store.gradients(total);
    let norms = row.grads.values().map(|g| g.norm);
    let rounding = norms.fold(0.0, f64::max) * ROUNDING;
    let (mut seen, mut amplified) = (0, 0);
    for (slot, gradient) in gradients.iter() {
        let ours = Digest::of(gradient.clone())?;
        let Some(expected) = row.grads.get(slot.key()) else {
            return Err(format!(
                "{} has a gradient, it should have none",
                slot.key()
            ));
        };
        let bound = |share: f64| (share * expected.norm).max(rounding);
        let off = (ours.norm - expected.norm).abs();
        amplified += usize::from(off > bound(GRADIENT));
        worst.add(slot.key(), ours.norm, expected.norm, bound(AMPLIFIED));
        seen += 1;
    }
    if seen != row.grads.len() {
        let missing = row.grads.keys().find(|key| gradients.get(key).is_none());
        return Err(format!("no gradient of {missing:?}"));
    }
    for (key, expected) in &row.running {
        let slot = store.slot(key).ok_or_else(|| format!("no {key}"))?;
        assert_eq!(slot.role(), Role::Buffer, "{key}");
        let ours = Digest::of(slot.value())?;
        worst.add(key, ours.norm, expected.norm, RUNNING * expected.norm);
    }
    let what = format!(
        "{} losses, {seen} gradients ({amplified} off by more than {GRADIENT:.0e}), {} statistics",
        names.len(),
        row.running.len()
    );
    if amplified as f64 > FEW * seen as f64 {
        let (Ok(line) | Err(line)) = worst.verdict(what);
        return Err(line);
    }
    worst.verdict(what)
}

/// The comparison that came nearest to its bound, or went beyond it.
#[derive(Default)]
pub(crate) struct Worst {
    /// Shares of their bounds and what they are, the worst first.
    few: Vec<(f64, String)>,
    over: usize,
}

/// How many comparisons [`Worst`] tells of.
const TOLD: usize = 5;

impl Worst {
    pub fn add(&mut self, name: &str, ours: f64, expected: f64, bound: f64) {
        let off = (ours - expected).abs();
        let of_bound = if off == 0.0 { 0.0 } else { off / bound };
        // NaN is the worst
        let of_bound = if of_bound.is_nan() {
            f64::INFINITY
        } else {
            of_bound
        };
        self.over += usize::from(of_bound > 1.0);
        if self.few.len() == TOLD && of_bound <= self.few[TOLD - 1].0 {
            return;
        }
        let relative = off / expected.abs();
        let line = format!("{name}: {ours:.6e}, expected {expected:.6e} (off {relative:.1e})");
        let place = self.few.partition_point(|(other, _)| *other >= of_bound);
        self.few.insert(place, (of_bound, line));
        self.few.truncate(TOLD);
    }

    pub fn verdict(self, what: String) -> Result<String, String> {
        if self.over > 0 {
            let lines = self.few.iter().filter(|(share, _)| *share > 1.0);
            let lines: Vec<_> = lines
                .map(|(share, line)| format!("\n    {share:.2} of its bound: {line}"))
                .collect();
            return Err(format!("{what}; {} differ{}", self.over, lines.concat()));
        }
        let (share, line) = self.few.into_iter().next().unwrap_or_default();
        Ok(format!("{what}; worst {share:.2} of its bound: {line}"))
    }
}
