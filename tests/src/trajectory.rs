//! Compares short training runs with rows of MMEngine's Runner: learning rates, losses, gradient norms, weights, averages.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value as Json;
use smalti::config::{Config, Dict, MapLoader, Node, Value, value_to_py};
use smalti::data::Meta;
use smalti::data::datasets::MetaInfo;
use smalti::data::image::{Image, Samples};
use smalti::data::packed::Packed;
use smalti::layers::Store;
use smalti::structures::GroundTruth;
use smalti::train::feed::{Feed, Take};
use smalti::train::hooks::{Hook, Step as HookStep};
use smalti::train::{Run, Stepped, Stop, Trainer};

use crate::formula::tagged;
use crate::golden::{Formula, forget_weights, image};
use crate::training::{Digest, Given, Worst};

/// Expected values of one run.
#[derive(Deserialize)]
pub struct Row {
    name: String,
    config: Json,
    #[serde(default)]
    alias: HashMap<String, String>,
    pictures: [usize; 4],
    gt: Vec<Given>,
    batch: usize,
    steps: Vec<Step>,
    after: BTreeMap<String, BTreeMap<String, Digest>>,
    ema: Option<BTreeMap<String, Digest>>,
}

#[derive(Deserialize)]
struct Step {
    losses: BTreeMap<String, f64>,
    total: f64,
    /// Learning rate, weight decay, parameters.
    lr: Vec<(f64, f64, usize)>,
    grad_norm: Option<f64>,
    spread: f64,
}

/// Largest difference of learning rates and weight decays, relative.
const RATE: f64 = 1e-7;
/// Of losses and gradient norms, unless rounding does more.
const LOSS: f64 = 1e-3;
/// So many times what rounding does in the original.
const SPREAD: f64 = 20.0;
/// Of gradient norms under Adam and RMSprop, see [`DRIFT`]: the original's own change by up to 1.8e-2 when every pixel is multiplied by 1 - 1e-6.
const STEEP: f64 = 2e-2;
/// Of tensors after some steps, by their norms, unless rounding does more.
const TENSOR: f64 = 1e-3;
/// Of tensors near zero: the biases of norms begin there, and after a few steps are sums of gradients that nearly cancel. They are added to numbers
/// about 1, of which so much is rounding.
const NEAR_ZERO: f64 = 1e-6;

/// Adam and RMSprop divide a gradient by its own size, so that one of nothing but rounding (of a bias before a norm by the batch's statistics)
/// is a step of the learning rate all the same. So much of the whole way that a number could go may be off.
const DRIFT: f64 = 0.05;

impl Row {
    /// What tells it from others.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The config of the run, as text.
    fn config(&self) -> Result<Config, String> {
        let mut node = tagged(&self.config, "the row's config")?;
        forget_weights(&mut node);
        let dict = node.as_dict().ok_or("the row's config is no dict")?;
        let mut text = String::new();
        let mut hooks = Vec::new();
        for (key, entry) in dict.iter() {
            let value = &entry.node;
            let key = key.as_str().ok_or("a key is no text")?;
            match key {
                "model" => text += &format!("model = {}\n", value_to_py(&unprocessed(value))),
                "max_epochs" | "max_iters" => {
                    text += &format!(
                        "train_cfg = dict(by_epoch={}, {key}={})\n",
                        if key == "max_epochs" { "True" } else { "False" },
                        value_to_py(value)
                    );
                }
                "custom_hooks" => {
                    let items = value.as_items().unwrap_or_default();
                    hooks.extend(items.iter().map(value_to_py));
                }
                "unfreeze_epoch" => hooks.push(format!(
                    "dict(type='UnfreezeBackboneEpochBasedHook', unfreeze_epoch={})",
                    value_to_py(value)
                )),
                _ => text += &format!("{key} = {}\n", value_to_py(value)),
            }
        }
        text += &format!("custom_hooks = [{}]\n", hooks.join(", "));
        text +=
            "default_hooks = dict(timer=None, logger=None, checkpoint=None, sampler_seed=None)\n";
        Config::parse(&text, "row.py", &MapLoader::default()).map_err(|e| e.to_string())
    }
}

/// A model without its `data_preprocessor`: pictures are ready.
fn unprocessed(model: &Node) -> Node {
    let mut kept = Dict::new();
    for (key, entry) in model.as_dict().into_iter().flat_map(Dict::iter) {
        if let Some(name) = key.as_str().filter(|name| *name != "data_preprocessor") {
            kept.set(name, entry.node.clone());
        }
    }
    Node::made(Value::Dict(kept), "the row's config")
}

/// The pictures and objects of a row, in order.
struct Pictures {
    samples: Vec<Packed>,
    batch: usize,
}

impl Feed for Pictures {
    fn batches(&self) -> u64 {
        self.samples.len().div_ceil(self.batch) as u64
    }

    fn batch_size(&self) -> u64 {
        self.batch as u64
    }

    fn meta(&self) -> MetaInfo {
        MetaInfo::default()
    }

    fn epoch(&mut self, _: u64, batch: u64, take: &mut Take) -> Result<(), Stop> {
        for samples in self.samples.chunks(self.batch).skip(batch as usize) {
            if !take(samples.to_vec())? {
                break;
            }
        }
        Ok(())
    }
}

fn samples(row: &Row) -> Vec<Packed> {
    let [n, c, h, w] = row.pictures;
    let values = image(n, h, w);
    let sample = |(i, planes): (usize, &[f32])| {
        let pixel = |p: usize| (0..c).map(move |k| planes[k * h * w + p]);
        let meta = Meta {
            img_path: format!("picture {i}"),
            ori_shape: [h, w],
            img_shape: [h, w],
            pad_shape: [h, w],
            scale_factor: [1.0, 1.0],
            ..Meta::default()
        };
        let gt = &row.gt[i];
        let count = gt.labels.len();
        Packed {
            image: Image::new(
                [w, h],
                c,
                Samples::F32((0..h * w).flat_map(pixel).collect()),
            ),
            gt: GroundTruth {
                boxes: gt.bboxes.clone(),
                labels: gt.labels.iter().map(|l| *l as i64).collect(),
                ignore: vec![false; count],
                origins: vec![Default::default(); count],
                ..GroundTruth::default()
            },
            ignored: GroundTruth::default(),
            meta,
            asked: Default::default(),
        }
    };
    values.chunks(c * h * w).enumerate().map(sample).collect()
}

/// What our run did.
#[derive(Default)]
struct Seen {
    steps: Vec<Ours>,
    after: BTreeMap<String, BTreeMap<String, Digest>>,
    ema: BTreeMap<String, Digest>,
}

struct Ours {
    losses: Vec<(String, f64)>,
    total: f64,
    lr: Vec<(f64, f64, usize)>,
    grad_norm: Option<f64>,
}

/// Notes what happens.
struct Record {
    seen: Rc<RefCell<Seen>>,
    marks: Vec<String>,
    lr: Vec<(f64, f64, usize)>,
}

impl Hook for Record {
    fn name(&self) -> &'static str {
        "Record"
    }

    fn priority(&self) -> u8 {
        100
    }

    fn before_train_iter(&mut self, run: &mut Run) -> HookStep {
        let mut rows: Vec<(f64, f64, usize)> = Vec::new();
        for group in run.learner.optimization.groups().iter() {
            let number = |name| group.settings.number(name).unwrap_or(f64::NAN);
            let (lr, decay) = (number("lr"), number("weight_decay"));
            let count = group.members.iter().filter(|m| !m.asleep).count();
            match rows.iter_mut().find(|(a, b, _)| (*a, *b) == (lr, decay)) {
                Some((_, _, known)) => *known += count,
                None => rows.push((lr, decay, count)),
            }
        }
        rows.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        self.lr = rows;
        Ok(())
    }

    fn after_train_iter(&mut self, run: &mut Run, stepped: &Stepped) -> HookStep {
        let number = |t: &burn::tensor::Tensor<1>| f64::from(t.clone().into_scalar::<f32>());
        let mut seen = self.seen.borrow_mut();
        let last = seen.steps.last().and_then(|step| step.grad_norm);
        seen.steps.push(Ours {
            losses: stepped
                .losses
                .iter()
                .map(|(name, loss)| (name.to_string(), number(loss)))
                .collect(),
            total: stepped.losses.total().as_ref().map_or(f64::NAN, number),
            lr: self.lr.clone(),
            // The last one there was: an iteration that only accumulates has none.
            grad_norm: stepped.grad_norm.as_ref().map(number).or(last),
        });
        let done = seen.steps.len().to_string();
        if self.marks.contains(&done) {
            let digests = digests(&run.learner.store).map_err(Stop::fault)?;
            seen.after.insert(done, digests);
        }
        Ok(())
    }

    fn after_train(&mut self, run: &mut Run) -> HookStep {
        if let Some(average) = &mut run.learner.average {
            average.swap();
            let digests = digests(&run.learner.store).map_err(Stop::fault)?;
            self.seen.borrow_mut().ema = digests;
        }
        Ok(())
    }
}

fn digests(store: &Store) -> Result<BTreeMap<String, Digest>, String> {
    let entries = store.entries().into_iter();
    let floats = entries.filter(|(_, slot)| slot.role().on_device());
    floats
        .map(|(name, slot)| Ok((name, Digest::of(slot.value())?)))
        .collect()
}

/// Counts runs, so that each has its own folder.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Trains as the row says on `device`.
pub fn compare(row: &Row, device: &Device) -> Result<String, String> {
    let config = row.config()?;
    let run = RUNS.fetch_add(1, Relaxed);
    let folder = format!("smalti-trajectory-{}-{run}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    let feed = Pictures {
        samples: samples(row),
        batch: row.batch,
    };
    let formula = Formula {
        alias: row.alias.clone(),
    };
    let seen: Rc<RefCell<Seen>> = Rc::default();
    let trainer = Trainer::builder(&config, Arc::new(smalti::host::disk::Disk::new()))
        .device(device)
        .work_dir(&folder)
        .feed(Box::new(feed))
        .built(Box::new(formula))
        .build();
    let mut trainer = trainer.map_err(|e| e.to_string())?;
    trainer.add_hook(Box::new(Record {
        seen: seen.clone(),
        marks: row.after.keys().cloned().collect(),
        lr: Vec::new(),
    }));
    let ended = trainer.train();
    let _ = std::fs::remove_dir_all(&folder);
    ended.map_err(|e| e.to_string())?;
    let seen = seen.borrow();
    if seen.steps.len() != row.steps.len() {
        let (ours, theirs) = (seen.steps.len(), row.steps.len());
        return Err(format!("{ours} steps, expected {theirs}"));
    }
    let kind = config.root.at("optim_wrapper.optimizer.type");
    let kind = kind.and_then(|kind| kind.as_type().map(|kind| kind.to_string()));
    let adaptive = kind.is_some_and(|kind| kind.contains("Adam") || kind.contains("RMSprop"));
    let mut worst = Worst::default();
    for (i, (ours, step)) in seen.steps.iter().zip(&row.steps).enumerate() {
        let before = row.steps[..=i].iter().map(|step| step.spread);
        let rounding = SPREAD * before.fold(0.0, f64::max);
        compare_step(&mut worst, i, ours, step, rounding, adaptive)?;
    }
    for (at, tensors) in &row.after {
        let ours = seen
            .after
            .get(at)
            .ok_or_else(|| format!("nothing after {at} steps"))?;
        let done = at
            .parse()
            .map_err(|_| format!("{at} is no number of steps"))?;
        let slack = Slack::after(row, done, adaptive);
        compare_tensors(
            &mut worst,
            &format!("after {at} steps"),
            ours,
            tensors,
            slack,
        )?;
    }
    if let Some(tensors) = &row.ema {
        let slack = Slack::after(row, row.steps.len(), adaptive);
        compare_tensors(&mut worst, "average", &seen.ema, tensors, slack)?;
    }
    worst.verdict(format!("{} steps", row.steps.len()))
}

/// `rounding` is what it does to the total, of it: a part of the total may have all of that.
fn compare_step(
    worst: &mut Worst,
    i: usize,
    ours: &Ours,
    step: &Step,
    rounding: f64,
    adaptive: bool,
) -> Result<(), String> {
    let what = |name: &str| format!("step {}, {name}", i + 1);
    if ours.lr.len() != step.lr.len() {
        return Err(format!(
            "{}: {:?}, expected {:?}",
            what("groups"),
            ours.lr,
            step.lr
        ));
    }
    for (a, b) in ours.lr.iter().zip(&step.lr) {
        if a.2 != b.2 {
            return Err(format!("{}: {a:?}, expected {b:?}", what("group")));
        }
        worst.add(&what("lr"), a.0, b.0, RATE * b.0.abs());
        worst.add(&what("weight decay"), a.1, b.1, RATE * b.1.abs());
    }
    let share = LOSS.max(rounding);
    worst.add(
        &what("total"),
        ours.total,
        step.total,
        share * step.total.abs(),
    );
    for (name, expected) in &step.losses {
        let found = ours.losses.iter().find(|(n, _)| n == name);
        let (_, value) = found.ok_or_else(|| what(&format!("no {name}")))?;
        let bound = (LOSS * expected.abs()).max(rounding * step.total.abs());
        worst.add(&what(name), *value, *expected, bound);
    }
    match (ours.grad_norm, step.grad_norm) {
        (Some(a), Some(b)) => {
            let share = if adaptive { share.max(STEEP) } else { share };
            worst.add(&what("gradient norm"), a, b, share * b);
        }
        (None, None) => {}
        (a, b) => return Err(format!("{}: {a:?}, expected {b:?}", what("gradient norm"))),
    }
    Ok(())
}

/// What tensors may be off.
#[derive(Clone, Copy)]
struct Slack {
    share: f64,
    /// Of each number, whatever it is.
    drift: f64,
}

impl Slack {
    fn after(row: &Row, done: usize, adaptive: bool) -> Self {
        let steps = &row.steps[..done.min(row.steps.len())];
        let spread = steps.iter().map(|step| step.spread).fold(0.0, f64::max);
        let rates = steps.iter().map(|step| step.lr.iter().map(|(lr, ..)| *lr));
        let way: f64 = rates.map(|rates| rates.fold(0.0, f64::max)).sum();
        Self {
            share: TENSOR.max(SPREAD * spread),
            drift: if adaptive { DRIFT * way } else { 0.0 },
        }
    }

    fn of(self, found: &Digest, expected: &Digest) -> f64 {
        let drift = self.drift * (found.count as f64).sqrt();
        (self.share * expected.norm).max(NEAR_ZERO).max(drift)
    }
}

fn compare_tensors(
    worst: &mut Worst,
    when: &str,
    ours: &BTreeMap<String, Digest>,
    expected: &BTreeMap<String, Digest>,
    slack: Slack,
) -> Result<(), String> {
    for (name, digest) in expected {
        let found = ours.get(name).ok_or_else(|| format!("{when}: no {name}"))?;
        worst.add(
            &format!("{when}, {name}"),
            found.norm,
            digest.norm,
            slack.of(found, digest),
        );
    }
    Ok(())
}
