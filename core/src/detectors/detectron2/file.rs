//! [`config_of`]: a Detectron2 YAML as a config that the commands here read: its model, its test pipeline, its weights and its classes.

use super::config::{defaults, merge_file, with_pairs};
use super::settings::{self, Input};
use crate::config::{Config, ConfigErrors, Configs, Diagnostic, Dict, Node, Value, parse_value};

/// Bases of bases.
const MOST_BASES: usize = 16;

/// Whether a config is one of Detectron2's: it says its settings in upper case, and has none of MMDetection's.
pub fn is(config: &Config) -> bool {
    let ours = ["MODEL", "_BASE_"]
        .iter()
        .any(|key| config.get(key).is_some());
    ours && config.get("model").is_none()
}

/// Such a config with its bases, changed by `pairs` of names and values, as one of ours.
///
/// # Errors
/// A base cannot be read, or a setting is wrong.
pub fn config_of(
    config: Config,
    pairs: &[String],
    configs: &mut Configs<'_>,
) -> Result<Config, ConfigErrors> {
    let mut files = vec![config];
    while let Some(base) = files.last().and_then(|file| file.get("_BASE_")) {
        let file = files.last().expect("it was just asked");
        let fail = |message: &str| {
            let error = Diagnostic::error(message).at(&base.origin, "");
            file.errors(vec![error])
        };
        let name = base.as_str().ok_or_else(|| fail("`_BASE_` is one path"))?;
        if files.len() > MOST_BASES {
            return Err(fail("too many bases: is one of them its own?"));
        }
        let folder = file.path.rsplit_once(['/', '\\']).map(|(folder, _)| folder);
        let path = match folder {
            Some(folder) if !name.starts_with(['/', '~']) => format!("{folder}/{name}"),
            _ => name.to_string(),
        };
        let next = configs.load(&path)?;
        files.push(next);
    }
    let mut whole = defaults();
    for file in files.iter().rev() {
        whole = merge_file(&whole, &file.root).map_err(|problems| file.errors(problems))?;
    }
    let mut config = files.swap_remove(0);
    whole = with_pairs(&whole, pairs).map_err(|problems| config.errors(problems))?;
    let input: Input = settings::at(&whole, "INPUT").map_err(|e| config.errors(e))?;
    let model: settings::Model = settings::at(&whole, "MODEL").map_err(|e| config.errors(e))?;
    config.root = ours(whole, &input, &model);
    Ok(config)
}

/// The tree of one of our configs.
fn ours(whole: Node, input: &Input, model: &settings::Model) -> Node {
    let resize = match input.min_size_test.get() {
        0 => String::new(),
        short => format!(
            "dict(type='ResizeShortestEdge', scale={short}, max_size={}, backend='pillow'),",
            input.max_size_test.get()
        ),
    };
    let names = whole.at("DATASETS.TEST").and_then(Node::as_items);
    let data = names
        .and_then(|names| names.first()?.as_str())
        .unwrap_or("coco");
    let dataset = match data.split('_').next() {
        Some("voc") => "VOCDataset",
        Some("cityscapes") => "CityscapesDataset",
        _ => "CocoDataset",
    };
    let text = format!(
        "dict(default_scope='mmdet', test_dataloader=dict(dataset=dict(type='{dataset}', test_mode=True, ann_file='', pipeline=[
            dict(type='LoadImageFromFile', imdecode_backend='pillow'), {resize}
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))])))"
    );
    let mut root = parse_value(&text).expect("it was just written");
    let origin = whole.origin.clone();
    let made = |value| Node {
        value,
        origin: origin.clone(),
    };
    let mut detector = Dict::new();
    detector.set("type", made(Value::Str("detectron2.Detector".into())));
    detector.set("cfg", whole.clone());
    if let Value::Dict(dict) = &mut root.value {
        dict.set("model", made(Value::Dict(detector)));
        if !model.weights.is_empty() {
            dict.set("load_from", made(Value::Str(model.weights.as_str().into())));
        }
    }
    root
}
