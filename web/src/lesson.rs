//! [`Lesson`]: a few pictures with boxes, and a config turned towards them.
//!
//! The pictures are held in memory as a data set of COCO's form, so that the config's own pipeline, losses and optimizer do the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use smalti::config::{Config, Dict, Node, Value, parse_value};
use smalti::data::files::Files;

/// Where the annotations are among the files of a lesson.
const ANNOTATIONS: &str = "annotations.json";
/// Where its pictures are.
const PICTURES: &str = "pictures/";
/// What makes nodes, for messages.
const BY: &str = "the trainer";

/// A picture and its objects.
pub struct Labelled {
    /// Of its file.
    pub bytes: Vec<u8>,
    /// Width and height, px.
    pub size: [usize; 2],
    /// Left, top, right, bottom of each object, px, and its class.
    pub objects: Vec<([f32; 4], usize)>,
}

/// What there is to be taught, and how.
pub struct Lesson {
    /// The pictures.
    pub pictures: Vec<Labelled>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Steps.
    pub steps: u64,
    /// Pictures a step.
    pub batch_size: u64,
    /// A quarter of the config's, if not said.
    pub learning_rate: Option<f64>,
}

/// Files in memory.
pub struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.get(path).cloned();
        found.ok_or_else(|| "there is no such picture in this lesson".into())
    }
}

impl Lesson {
    /// The pictures and their annotations.
    pub fn files(&self) -> Arc<dyn Files> {
        let mut files = BTreeMap::new();
        let (mut images, mut annotations) = (Vec::new(), Vec::new());
        for (id, picture) in self.pictures.iter().enumerate() {
            let (name, [width, height]) = (format!("{id}"), picture.size);
            images.push(json!({"id": id, "file_name": name, "width": width, "height": height}));
            for ([x1, y1, x2, y2], class) in &picture.objects {
                let (w, h) = (x2 - x1, y2 - y1);
                annotations.push(json!({
                    "id": annotations.len() + 1, "image_id": id, "category_id": class + 1,
                    "bbox": [x1, y1, w, h], "area": w * h, "iscrowd": 0,
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                }));
            }
            files.insert(format!("{PICTURES}{name}"), picture.bytes.clone());
        }
        let classes = self.classes.iter().enumerate();
        let categories: Json = classes
            .map(|(class, name)| json!({"id": class + 1, "name": name}))
            .collect();
        let all = json!({"images": images, "annotations": annotations, "categories": categories});
        files.insert(ANNOTATIONS.into(), all.to_string().into_bytes());
        Arc::new(Memory(files))
    }

    /// `config` for these classes: what goes with the weights that are taught.
    ///
    /// # Errors
    /// Nothing in its model is of a number of classes.
    pub fn taught(&self, config: &Config) -> Result<Config, String> {
        let mut config = config.clone();
        let mut changed = 0;
        change(&mut config.root, "model", |model| {
            let count = self.classes.len() as i64;
            set_classes(model, count, &mut changed);
        });
        if changed == 0 {
            return Err(
                "this config's model has no `num_classes`, so that it cannot be given other classes"
                    .into(),
            );
        }
        for loader in ["train_dataloader", "val_dataloader", "test_dataloader"] {
            change(&mut config.root, loader, |loader| {
                change(loader, "dataset", |dataset| self.name_classes(dataset));
            });
        }
        if config
            .get("metainfo")
            .is_some_and(|n| n.as_dict().is_some())
        {
            set(&mut config.root, "metainfo", self.metainfo());
        }
        Ok(config)
    }

    /// `taught`, to be trained on these pictures.
    ///
    /// # Errors
    /// It says nothing of training that could be followed.
    pub fn training(&self, taught: &Config) -> Result<Config, String> {
        let mut config = taught.clone();
        let said = config.at("train_dataloader.dataset");
        let Some(dataset) = said.map(|dataset| self.dataset(dataset)) else {
            return Err(
                "this config has no `train_dataloader`, whose pipeline says how pictures become what the model learns from: take the whole \
                 config of the detector"
                    .into(),
            );
        };
        let rate = config.at("optim_wrapper.optimizer.lr");
        let rate = rate.and_then(Node::as_float).map(|rate| rate / 4.0);
        let rate = self.learning_rate.or(rate);
        let root = &mut config.root;
        let batch = self.batch_size.min(self.pictures.len() as u64).max(1);
        let mut loader = python(&format!(
            "dict(batch_size={batch}, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True))"
        ));
        set(&mut loader, "dataset", self.repeated(dataset));
        set(root, "train_dataloader", loader);
        let steps = self.steps;
        let text = format!("dict(type='IterBasedTrainLoop', max_iters={steps})");
        set(root, "train_cfg", python(&text));
        // A short warm-up, then down to almost nothing.
        let warm = (steps / 10).clamp(1, 50).min(steps);
        let mut schedules = format!(
            "[dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end={warm})"
        );
        if let (Some(rate), true) = (rate, steps > warm) {
            let (left, least) = (steps - warm, rate / 20.0);
            schedules += &format!(
                ", dict(type='CosineAnnealingLR', T_max={left}, eta_min={least:?}, by_epoch=False, begin={warm}, end={steps})"
            );
        }
        set(root, "param_scheduler", python(&(schedules + "]")));
        change(root, "optim_wrapper", |wrapper| {
            if let Some(rate) = rate {
                change(wrapper, "optimizer", |optimizer| {
                    set(optimizer, "lr", Node::made(Value::Float(rate), BY));
                });
            }
            remove(wrapper, "accumulative_counts");
        });
        remove(root, "auto_scale_lr");
        Ok(config)
    }

    /// A data set that is long enough for transforms that mix a picture with those before it, which remember an epoch's.
    fn repeated(&self, dataset: Node) -> Node {
        const ENOUGH: usize = 64;
        let times = ENOUGH.div_ceil(self.pictures.len().max(1));
        let kinds = |node: &Node| node.get("type").and_then(Node::as_type);
        let pipeline = dataset.get("pipeline").and_then(Node::as_items);
        let mut kinds = pipeline.unwrap_or_default().iter().filter_map(kinds);
        if times == 1 || !kinds.any(|kind| kind.contains("Cached")) {
            return dataset;
        }
        let mut repeated = python(&format!("dict(type='RepeatDataset', times={times})"));
        set(&mut repeated, "dataset", dataset);
        repeated
    }

    /// A data set with the innermost one in its place, and of what is around it what mixes pictures.
    fn dataset(&self, node: &Node) -> Node {
        let first = node.get("datasets").and_then(Node::as_items);
        let inner = node.get("dataset").or(first.and_then(<[Node]>::first));
        let kind = node.get("type").and_then(Node::as_type).unwrap_or_default();
        match inner {
            Some(inner) if kind.ends_with("MultiImageMixDataset") => {
                let mut node = node.clone();
                set(&mut node, "dataset", self.dataset(inner));
                node
            }
            Some(inner) => self.dataset(inner),
            None => {
                let mut ours = python(&format!(
                    "dict(type='CocoDataset', ann_file='{ANNOTATIONS}', data_prefix=dict(img='{PICTURES}'))"
                ));
                set(&mut ours, "metainfo", self.metainfo());
                if let Some(pipeline) = node.get("pipeline") {
                    set(&mut ours, "pipeline", pipeline.clone());
                }
                ours
            }
        }
    }

    /// Gives a data set, or those within, the names of the classes.
    fn name_classes(&self, node: &mut Node) {
        if node.get("dataset").is_some() {
            return change(node, "dataset", |inner| self.name_classes(inner));
        }
        if let Some(items) = node.get("datasets").and_then(Node::as_items) {
            let mut items = items.to_vec();
            items.iter_mut().for_each(|inner| self.name_classes(inner));
            return set(
                node,
                "datasets",
                Node::made(Value::List(Arc::new(items)), BY),
            );
        }
        if node.as_dict().is_some() {
            set(node, "metainfo", self.metainfo());
        }
    }

    fn metainfo(&self) -> Node {
        let names = self.classes.iter();
        let names = names.map(|name| Node::made(Value::Str(name.as_str().into()), BY));
        let mut metainfo = Node::made(Value::Dict(Dict::new()), BY);
        let names = Value::Tuple(Arc::new(names.collect()));
        set(&mut metainfo, "classes", Node::made(names, BY));
        metainfo
    }
}

/// Sets every `num_classes` of heads and their losses. A backbone's are of another kind, and a first stage has one.
fn set_classes(node: &mut Node, count: i64, changed: &mut usize) {
    const OTHERS: [&str; 4] = ["backbone", "neck", "rpn_head", "init_cfg"];
    match &node.value {
        Value::Dict(dict) => {
            let keys: Vec<String> = dict.names().map(String::from).collect();
            for key in keys.iter().filter(|key| !OTHERS.contains(&key.as_str())) {
                if key == "num_classes" {
                    set(node, key, Node::made(Value::Int(count), BY));
                    *changed += 1;
                } else {
                    change(node, key, |inner| set_classes(inner, count, changed));
                }
            }
        }
        Value::List(items) => {
            let mut items = items.to_vec();
            for item in &mut items {
                set_classes(item, count, changed);
            }
            node.value = Value::List(Arc::new(items));
        }
        _ => (),
    }
}

/// A value of Python that this crate wrote itself.
fn python(text: &str) -> Node {
    parse_value(text).expect("a value of ours is Python")
}

fn set(node: &mut Node, key: &str, value: Node) {
    if let Value::Dict(dict) = &node.value {
        let mut dict = dict.clone();
        dict.set(key, value);
        node.value = Value::Dict(dict);
    }
}

fn remove(node: &mut Node, key: &str) {
    if let Value::Dict(dict) = &node.value {
        let mut dict = dict.clone();
        dict.remove(key);
        node.value = Value::Dict(dict);
    }
}

/// Changes the value under a key, if there is one.
fn change(node: &mut Node, key: &str, with: impl FnOnce(&mut Node)) {
    if let Some(mut inner) = node.get(key).cloned() {
        with(&mut inner);
        set(node, key, inner);
    }
}
