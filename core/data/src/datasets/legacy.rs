//! Keys of MMDetection 2.x, mapped to those of 3.x, with a note for each. MMDetection's how-to page still writes some of them
//! (`data=dict(train=...)`, `img_prefix`), and so do many configs.
//!
//! Each function looks at one level: [`dataloader`] at the config, [`dataset`] at a data set and its pipeline, not at the data sets inside it.

use std::sync::Arc;

use super::tally::note;
use smalti_config::{Config, Diagnostic, Dict, Entry, Key, Node, Origin, Value};

/// The dataloader of `train`, `val` or `test`: `{split}_dataloader`, with the data set of `data.{split}` where 2.x's `data` has one.
pub fn dataloader(config: &Config, split: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let key = format!("{split}_dataloader");
    let loader = config.get(&key).filter(|n| !n.is_none());
    let data = config.get("data").filter(|n| n.as_dict().is_some());
    let Some(set) = data.and_then(|d| d.get(split)).filter(|n| !n.is_none()) else {
        return (loader.cloned(), Vec::new());
    };
    let mut edit = Edit::new(&Node::made(Value::Dict(Dict::new()), &key));
    edit.origin = set.origin.clone();
    if let Some(dict) = loader.and_then(Node::as_dict) {
        edit.dict = dict.clone();
    }
    match edit.dict.get("dataset").map(|n| n.origin.clone()) {
        Some(old) => {
            let text = format!(
                "`data.{split}` (MMDetection 2.x) is taken as `{key}.dataset`, in place of the one that is there"
            );
            let warning = Diagnostic::warning(text)
                .at(&set.origin, "")
                .at(&old, "not used");
            edit.notes.push(warning);
        }
        None => edit.say(
            &set.origin,
            format!("`data.{split}` (MMDetection 2.x) is taken as `{key}.dataset`"),
        ),
    }
    let mut set = match set.as_items() {
        Some(sets) => made_concat(sets.to_vec(), &set.origin),
        None => set.clone(),
    };
    if split != "train"
        && let Value::Dict(dict) = &mut set.value
        && !dict.contains("test_mode")
        && !is_wrapper(&kind(dict))
    {
        dict.set("test_mode", with(Value::Bool(true), &set.origin));
        edit.say(
            &set.origin,
            format!("test_mode=True, as MMDetection 2.x sets it for `data.{split}`"),
        );
    }
    edit.dict.set("dataset", set);
    for (old, new) in [
        ("samples_per_gpu", "batch_size"),
        ("workers_per_gpu", "num_workers"),
    ] {
        let found = data.and_then(|d| d.at(&format!("{key}.{old}")).or_else(|| d.get(old)));
        if let Some(value) = found {
            edit.say(
                &value.origin,
                format!("`{old}` (MMDetection 2.x) is taken as `{key}.{new}`"),
            );
            edit.dict.set(new, value.clone());
        }
    }
    let (loader, notes) = edit.done();
    (Some(loader), notes)
}

/// A data set: `img_prefix`, `classes`, `filter_empty_gt` and so on, lists of annotation files, and its pipeline.
pub fn dataset(node: &Node) -> (Node, Vec<Diagnostic>) {
    let Some(dict) = node.as_dict() else {
        return (node.clone(), Vec::new());
    };
    let kind = kind(dict);
    if !is_wrapper(&kind)
        && let Some(lists) = several_files(node)
    {
        return lists;
    }
    let mut edit = Edit::new(node);
    if let Some(entry) = edit.dict.remove("_delete_") {
        edit.say(
            &entry.key,
            "`_delete_` says how configs merge and nothing was merged here: left out",
        );
    }
    // What 2.x did where nothing was said is done where its way to say where pictures are is used.
    let old = edit.dict.contains("img_prefix");
    let xml = matches!(kind.as_str(), "XMLDataset" | "VOCDataset");
    let prefix = if xml { "sub_data_root" } else { "img" };
    edit.move_into("img_prefix", "data_prefix", prefix);
    edit.move_into("seg_prefix", "data_prefix", "seg");
    edit.move_into("classes", "metainfo", "classes");
    if is_wrapper(&kind) {
        edit.leave_out(
            "filter_empty_gt",
            "the data set inside says it (`filter_cfg`)",
        );
        edit.leave_out(
            "separate_eval",
            "the evaluator says how data sets are counted",
        );
    } else {
        let size = if xml { "bbox_min_size" } else { "min_size" };
        edit.move_into("filter_empty_gt", "filter_cfg", "filter_empty_gt");
        edit.move_into("min_size", "filter_cfg", size);
        if old {
            edit.old_filter();
        }
    }
    edit.leave_out("file_client_args", "files are read from disk");
    if let Some(entry) = edit.dict.entry(&Key::Str("pipeline".into())).cloned() {
        let (node, notes) = pipeline(&entry.node);
        edit.notes.extend(notes);
        edit.dict
            .insert(Key::Str("pipeline".into()), Entry { node, ..entry });
    }
    edit.done()
}

/// A pipeline: `Collect`, `DefaultFormatBundle`, `Normalize`, `Resize(img_scale=...)`, `RandomFlip(flip_ratio=...)` and so on.
pub fn pipeline(node: &Node) -> (Node, Vec<Diagnostic>) {
    let Some(items) = node.as_items() else {
        return (node.clone(), Vec::new());
    };
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    let mut normalized = false;
    for item in items {
        let made = step(item, normalized, &mut notes);
        normalized |= name_of(item).as_deref() == Some("Normalize");
        steps.extend(made);
    }
    let value = match node.value {
        Value::Tuple(_) => Value::Tuple(Arc::new(steps)),
        _ => Value::List(Arc::new(steps)),
    };
    (with(value, &node.origin), notes)
}

/// The steps that one of 2.x becomes.
fn step(node: &Node, normalized: bool, notes: &mut Vec<Diagnostic>) -> Vec<Node> {
    let (Some(name), Some(_)) = (name_of(node), node.as_dict()) else {
        return vec![node.clone()];
    };
    let mut edit = Edit::new(node);
    let mut steps = None;
    match name.as_str() {
        "LoadImageFromFile" | "LoadAnnotations" => {
            edit.leave_out("file_client_args", "files are read from disk");
            edit.leave_out("denorm_bbox", "boxes are in pixels");
        }
        "Resize"
            if ["img_scale", "multiscale_mode", "ratio_range", "override"]
                .iter()
                .any(|k| edit.dict.contains(k)) =>
        {
            edit.resize();
        }
        "RandomFlip" => {
            edit.rename("flip_ratio", "prob");
            // Without a ratio 2.x flipped nothing.
            if edit.dict.get("prob").is_some_and(Node::is_none) {
                edit.set("prob", Value::Float(0.0));
            }
        }
        "Mosaic" | "MixUp" | "RandomAffine" => {
            for key in [
                "min_bbox_size",
                "min_area_ratio",
                "max_aspect_ratio",
                "skip_filter",
            ] {
                edit.leave_out(key, "small boxes are left out by FilterAnnotations(min_gt_bbox_wh=...) at the end of the pipeline");
            }
        }
        "Normalize" => {
            let part = |key: &str| {
                edit.dict
                    .get(key)
                    .map_or("...".into(), smalti_config::value_to_py)
            };
            let text = "`Normalize` is left out: the model's data_preprocessor does it".to_owned();
            let rgb = edit
                .dict
                .get("to_rgb")
                .and_then(Node::as_bool)
                .unwrap_or(true);
            let help = format!(
                "the model needs data_preprocessor=dict(type='DetDataPreprocessor', mean={}, std={}, bgr_to_rgb={}, pad_size_divisor=32)",
                part("mean"),
                part("std"),
                if rgb { "True" } else { "False" }
            );
            edit.notes.push(note(text, &node.origin).help(help));
            steps = Some(Vec::new());
        }
        "Pad" if normalized && edit.dict.contains("size_divisor") => {
            let divisor = edit
                .dict
                .get("size_divisor")
                .map_or("32".into(), smalti_config::value_to_py);
            let text = format!(
                "`Pad` after `Normalize` is left out: the model's data_preprocessor pads (pad_size_divisor={divisor})"
            );
            edit.say(&node.origin, text);
            steps = Some(Vec::new());
        }
        "DefaultFormatBundle" | "ImageToTensor" => {
            edit.say(
                &node.origin,
                format!("`{name}` is left out: PackDetInputs does it"),
            );
            steps = Some(Vec::new());
        }
        "Collect" => edit.collect(),
        "AutoAugment" if edit.dict.get("policies").is_some_and(is_nested_list) => {
            edit.retype("RandomChoice");
            edit.rename("policies", "transforms");
            edit.inner_pipelines("transforms");
        }
        "MultiScaleFlipAug" => steps = edit.multi_scale(),
        _ => {}
    }
    let (node, found) = edit.done();
    notes.extend(found);
    steps.unwrap_or_else(|| vec![node])
}

/// A dict that is being rewritten.
struct Edit {
    dict: Dict,
    origin: Origin,
    notes: Vec<Diagnostic>,
}

impl Edit {
    fn new(node: &Node) -> Self {
        Self {
            dict: node.as_dict().cloned().unwrap_or_default(),
            origin: node.origin.clone(),
            notes: Vec::new(),
        }
    }

    fn done(self) -> (Node, Vec<Diagnostic>) {
        (with(Value::Dict(self.dict), &self.origin), self.notes)
    }

    fn say(&mut self, at: &Origin, text: impl Into<String>) {
        self.notes.push(note(text, at));
    }

    fn set(&mut self, key: &str, value: Value) {
        self.dict.set(key, with(value, &self.origin));
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        self.dict.remove(key).map(|entry| entry.node)
    }

    fn retype(&mut self, name: &str) {
        let at = self
            .dict
            .get("type")
            .map_or(self.origin.clone(), |n| n.origin.clone());
        let old = self
            .dict
            .get("type")
            .and_then(Node::as_type)
            .unwrap_or_default();
        self.say(
            &at,
            format!("`{old}` (MMDetection 2.x) is taken as `{name}`"),
        );
        self.dict.set("type", with(Value::Str(name.into()), &at));
    }

    fn rename(&mut self, old: &str, new: &str) {
        if let Some(entry) = self.dict.remove(old) {
            self.say(
                &entry.key,
                format!("`{old}` (MMDetection 2.x) is taken as `{new}`"),
            );
            self.dict.insert(Key::Str(new.into()), entry);
        }
    }

    /// `old` becomes the entry `key` of the dict `new`.
    fn move_into(&mut self, old: &str, new: &str, key: &str) {
        let Some(entry) = self.dict.remove(old) else {
            return;
        };
        // None was the default.
        if entry.node.is_none() {
            return;
        }
        self.say(
            &entry.key,
            format!("`{old}` (MMDetection 2.x) is taken as `{new}=dict({key}=...)`"),
        );
        self.inner(new, |dict| dict.insert(Key::Str(key.into()), entry));
    }

    fn leave_out(&mut self, key: &str, why: &str) {
        if let Some(entry) = self.dict.remove(key) {
            self.say(
                &entry.key,
                format!("`{key}` (MMDetection 2.x) is left out: {why}"),
            );
        }
    }

    /// Changes a dict inside this one, which is made if there is none.
    fn inner(&mut self, key: &str, change: impl FnOnce(&mut Dict)) {
        let old = self.dict.get(key);
        let mut dict = old.and_then(Node::as_dict).cloned().unwrap_or_default();
        let origin = old.map_or(self.origin.clone(), |n| n.origin.clone());
        change(&mut dict);
        self.dict.set(key, with(Value::Dict(dict), &origin));
    }

    /// 2.x left out empty and small pictures unless it was told otherwise; never in test mode.
    fn old_filter(&mut self) {
        let origin = self.origin.clone();
        let mut added = Vec::new();
        let given = |edit: &Self, key: &str| {
            edit.dict
                .get("filter_cfg")
                .is_some_and(|f| f.get(key).is_some())
        };
        for (key, value, text) in [
            ("filter_empty_gt", Value::Bool(true), "filter_empty_gt=True"),
            ("min_size", Value::Int(32), "min_size=32"),
        ] {
            if !given(self, key) {
                added.push(text);
                self.inner("filter_cfg", |dict| dict.set(key, with(value, &origin)));
            }
        }
        if !added.is_empty() && self.dict.get("test_mode").and_then(Node::as_bool) != Some(true) {
            let text = format!(
                "filter_cfg has {}, as MMDetection 2.x does where nothing else is said",
                added.join(" and ")
            );
            self.say(&origin, text);
        }
    }

    /// 2.x's `Resize` was four transforms in one.
    fn resize(&mut self) {
        let scales = self.take("img_scale");
        let mode = self.take("multiscale_mode");
        let ratio = self.take("ratio_range").filter(|n| !n.is_none());
        self.take("override");
        if !self.dict.contains("keep_ratio") {
            self.set("keep_ratio", Value::Bool(true));
        }
        let Some(scales) = scales else {
            return self.random_resize(ratio);
        };
        let list = several_scales(&scales).unwrap_or_default();
        if list.len() > 1 && ratio.is_none() {
            let by_value = mode.as_ref().and_then(Node::as_str) == Some("value");
            let (kind, key) = if by_value {
                ("RandomChoiceResize", "scales")
            } else {
                ("RandomResize", "scale")
            };
            self.retype(kind);
            self.dict.set(key, scales);
            self.set("resize_type", Value::Str("Resize".into()));
            return;
        }
        self.say(
            &scales.origin,
            "`img_scale` (MMDetection 2.x) is taken as `scale`",
        );
        self.dict
            .set("scale", list.first().unwrap_or(&scales).clone());
        self.random_resize(ratio);
    }

    fn random_resize(&mut self, ratio: Option<Node>) {
        if let Some(ratio) = ratio {
            self.retype("RandomResize");
            self.dict.set("ratio_range", ratio);
            self.set("resize_type", Value::Str("Resize".into()));
        }
    }

    fn collect(&mut self) {
        self.retype("PackDetInputs");
        self.take("keys");
        let Some(keys) = self.take("meta_keys") else {
            return;
        };
        let kept = keys
            .as_items()
            .unwrap_or_default()
            .iter()
            .filter_map(|key| {
                let name = match key.as_str()? {
                    "filename" => "img_path",
                    "ori_filename" | "pad_shape" | "img_norm_cfg" => return None,
                    name => name,
                };
                Some(with(Value::Str(name.into()), &key.origin))
            });
        let kept: Vec<Node> = kept.collect();
        self.dict.set(
            "meta_keys",
            with(Value::Tuple(Arc::new(kept)), &keys.origin),
        );
    }

    /// Every pipeline in a list of pipelines.
    fn inner_pipelines(&mut self, key: &str) {
        let Some(list) = self.take(key) else {
            return;
        };
        let mut inner = Vec::new();
        for item in list.as_items().unwrap_or_default() {
            let (node, notes) = pipeline(item);
            self.notes.extend(notes);
            inner.push(node);
        }
        self.dict
            .set(key, with(Value::List(Arc::new(inner)), &list.origin));
    }

    /// A test-time wrapper of 2.x with one scale and no flip: its steps, one after another. Otherwise nothing is changed.
    fn multi_scale(&mut self) -> Option<Vec<Node>> {
        let scale = self.dict.get("img_scale")?;
        let single = several_scales(scale).is_none_or(|list| list.len() == 1);
        let flips = self
            .dict
            .get("flip")
            .and_then(Node::as_bool)
            .unwrap_or(false);
        if !single || flips {
            return None;
        }
        let scale = several_scales(scale)
            .and_then(|l| l.first().cloned())
            .unwrap_or(scale.clone());
        let (inner, notes) = {
            let list = self.dict.get("transforms")?;
            let mut items = Vec::new();
            for item in list.as_items()? {
                let mut edit = Edit::new(item);
                match name_of(item).as_deref() {
                    Some("Resize") => edit.dict.set("img_scale", scale.clone()),
                    // The wrapper says whether to flip.
                    Some("RandomFlip") => continue,
                    _ => {}
                }
                items.push(edit.done().0);
            }
            pipeline(&with(Value::List(Arc::new(items)), &list.origin))
        };
        let at = self.origin.clone();
        self.say(
            &at,
            "`MultiScaleFlipAug` with one scale and no flip is taken as the steps inside it",
        );
        self.notes.extend(notes);
        inner.as_items().map(<[Node]>::to_vec)
    }
}

/// 2.x read several annotation files as several data sets.
fn several_files(node: &Node) -> Option<(Node, Vec<Diagnostic>)> {
    let dict = node.as_dict()?;
    let files = dict.get("ann_file")?;
    let paths = files.as_items()?;
    let mut sets = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let mut one = dict.clone();
        one.set("ann_file", path.clone());
        for key in ["img_prefix", "seg_prefix", "proposal_file"] {
            let part = one
                .get(key)
                .and_then(Node::as_items)
                .and_then(|list| list.get(i))
                .cloned();
            if let Some(part) = part {
                one.set(key, part);
            }
        }
        one.remove("separate_eval");
        sets.push(with(Value::Dict(one), &node.origin));
    }
    let text = format!(
        "`ann_file` is a list (MMDetection 2.x): taken as a ConcatDataset of {} data sets",
        paths.len()
    );
    Some((
        made_concat(sets, &node.origin),
        vec![note(text, &files.origin)],
    ))
}

fn made_concat(sets: Vec<Node>, at: &Origin) -> Node {
    let mut dict = Dict::new();
    dict.set("type", with(Value::Str("ConcatDataset".into()), at));
    dict.set("datasets", with(Value::List(Arc::new(sets)), at));
    with(Value::Dict(dict), at)
}

fn with(value: Value, origin: &Origin) -> Node {
    Node {
        value,
        origin: origin.clone(),
    }
}

/// The `type` without its scope.
fn name_of(node: &Node) -> Option<String> {
    let kind = node.get("type")?.as_type()?;
    Some(kind.rsplit('.').next().unwrap_or_default().to_owned())
}

fn kind(dict: &Dict) -> String {
    let kind = dict.get("type").and_then(Node::as_type).unwrap_or_default();
    kind.rsplit('.').next().unwrap_or_default().to_owned()
}

fn is_wrapper(kind: &str) -> bool {
    matches!(
        kind,
        "ConcatDataset" | "RepeatDataset" | "ClassBalancedDataset" | "MultiImageMixDataset"
    )
}

/// Scales, if it is a list of them and not one scale.
fn several_scales(node: &Node) -> Option<&[Node]> {
    node.as_items()
        .filter(|items| items.iter().all(|i| i.as_items().is_some()))
}

fn is_nested_list(node: &Node) -> bool {
    node.as_items()
        .is_some_and(|items| items.iter().all(|i| i.as_items().is_some()))
}
