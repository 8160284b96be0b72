//! The model that a config describes: building it, checking it, naming its classes.

use std::sync::Arc;

use burn::tensor::Device;

use crate::build::{Build, OpenCheckpoint};
use crate::config::{Config, Diagnostic, Diagnostics, Kind, Node, Severity};
use crate::data::preprocessor::DetDataPreprocessor;
use crate::detectors::{Detector, Detectors, detectron2};
use crate::layers::{Course, Mode, Params, StateEntry};
use crate::limits;
use crate::registry::{DEFAULT_SCOPE, Registry};
pub use crate::weights::COCO_CLASSES as COCO;
use crate::weights::Checkpoint;

/// Builds a config's `model`; see [`Build::new`] for `open`. Its tensors are counted before one is made.
///
/// # Errors
/// There is no `model`, or something in it is wrong, or it would be larger than any device.
pub fn build(
    config: &Config,
    registry: &Registry,
    params: Params,
    open: Option<&OpenCheckpoint>,
) -> Result<Box<dyn Detector>, Diagnostics> {
    if params.mode() != Mode::Plan {
        state(config, registry)?;
    }
    walk(config, registry, params, open)
}

/// The state dict of a config's model: names and shapes, without any values.
///
/// # Errors
/// As [`build`].
pub fn state(config: &Config, registry: &Registry) -> Result<Vec<StateEntry>, Diagnostics> {
    let params = Params::new(&Device::flex(), Mode::Plan, None);
    walk(config, registry, params.clone(), None)?;
    let state = params.state();
    limits::check(node(config)?, &state)?;
    Ok(state)
}

/// The config's `model`.
///
/// # Errors
/// There is none.
pub(crate) fn node(config: &Config) -> Result<&Node, Diagnostics> {
    config.root.get("model").ok_or_else(|| {
        let help = "give the config of a detector, not one of the files in _base_/datasets or _base_/schedules";
        vec![Diagnostic::error("this config has no `model`").help(help)]
    })
}

/// What becomes of pictures before the config's model sees them.
///
/// # Errors
/// It is wrong.
pub fn preprocessor(config: &Config) -> Result<DetDataPreprocessor, Diagnostics> {
    match config.root.get("model").filter(|m| detectron2::is_model(m)) {
        Some(model) => detectron2::preprocessor(model),
        None => DetDataPreprocessor::of(config),
    }
}

/// A checkpoint with the names that the config's model has for its tensors, of which some are found by other names too.
///
/// # Errors
/// It does not fit.
pub(crate) fn aligned(
    config: &Config,
    checkpoint: Arc<Checkpoint>,
    state: &[StateEntry],
) -> Result<Arc<Checkpoint>, Diagnostics> {
    match config.root.get("model").filter(|m| detectron2::is_model(m)) {
        Some(_) => detectron2::aligned(&checkpoint, state)
            .map_err(|message| vec![Diagnostic::error(message)]),
        None => Ok(checkpoint),
    }
}

/// As [`build`], where [`state`] has been asked before.
pub(crate) fn walk(
    config: &Config,
    registry: &Registry,
    params: Params,
    open: Option<&OpenCheckpoint>,
) -> Result<Box<dyn Detector>, Diagnostics> {
    let model = node(config)?;
    let scope = config.root.get("default_scope").and_then(|s| s.as_str());
    if params.mode() == Mode::Train && !params.draws_later() {
        params.draw_later(Course::Whole, 0);
    }
    let root = Build::new(
        registry,
        params.clone(),
        scope.unwrap_or(DEFAULT_SCOPE),
        open,
    );
    let (make, build) = root.root::<Detectors>(model)?;
    let detector = make(model, &build)?;
    build.check_overrides()?;
    params.draw();
    Ok(detector)
}

/// What is wrong with a config's model. A component of a kind that is not built here yet is a note: the config may be right.
pub fn check(config: &Config, registry: &Registry) -> Diagnostics {
    if config.root.get("model").is_none() {
        return Vec::new();
    }
    let mut problems = state(config, registry).err().unwrap_or_default();
    let preprocessor = config.root.at("model.data_preprocessor");
    let ours = |node: &&Node| {
        let kind = node.get("type").and_then(Node::as_type);
        kind.is_some_and(|kind| kind.rsplit('.').next() == Some("DetDataPreprocessor"))
    };
    if let Some(node) = preprocessor.filter(ours) {
        problems.extend(DetDataPreprocessor::read(node).err().unwrap_or_default());
    }
    for problem in &mut problems {
        if problem.kind == Kind::Unsupported {
            problem.severity = Severity::Note;
        }
    }
    problems
}

/// Names of the classes: the checkpoint's if it says them, else the config's `metainfo`, else those of its data set's type, else numbers.
pub fn class_names(
    config: &Config,
    from_checkpoint: Option<&[String]>,
    count: usize,
) -> Vec<String> {
    let fits = |names: &Vec<String>| names.len() == count;
    from_checkpoint
        .map(<[String]>::to_vec)
        .filter(fits)
        .or_else(|| config_classes(config).filter(fits))
        .unwrap_or_else(|| (0..count).map(|i| i.to_string()).collect())
}

/// Warnings where [`class_names`] has to take numbers, and where it takes what other commands do not read.
pub fn class_notes(
    config: &Config,
    from_checkpoint: Option<&[String]>,
    count: usize,
) -> Diagnostics {
    if from_checkpoint.is_some_and(|names| names.len() == count) {
        return Vec::new();
    }
    let datasets = ["test_dataloader", "val_dataloader", "train_dataloader"];
    let metainfo = datasets.iter().find_map(|loader| {
        let dataset = innermost_dataset(config.root.get(loader)?.get("dataset")?)?;
        let metainfo = dataset.get("metainfo")?;
        let old = metainfo.get("classes").is_none();
        let node = metainfo
            .get("classes")
            .or_else(|| metainfo.get("CLASSES"))?;
        Some((node, old))
    });
    let Some((node, old)) = metainfo else {
        return Vec::new();
    };
    let given = config_classes(config).map_or(0, |names| names.len());
    if given != count {
        let what = match node.as_str() {
            Some(text) => format!("`classes` is the text '{text}', one name"),
            None => format!("`metainfo` has {given} class names"),
        };
        let message =
            format!("{what}, and the model has {count} classes: they are named by numbers");
        let help = "write all names: metainfo=dict(classes=('a', 'b', ...)); files of names are not read here";
        return vec![Diagnostic::warning(message).at(&node.origin, "").help(help)];
    }
    if old {
        let message = "`metainfo` has `CLASSES`, which MMDetection 3 does not read: the names are taken here only";
        return vec![
            Diagnostic::warning(message)
                .at(&node.origin, "")
                .help("write `classes`"),
        ];
    }
    Vec::new()
}

fn config_classes(config: &Config) -> Option<Vec<String>> {
    let datasets = ["test_dataloader", "val_dataloader", "train_dataloader"];
    let nodes = datasets
        .iter()
        .filter_map(|d| innermost_dataset(config.root.get(d)?.get("dataset")?));
    let from_metainfo = |metainfo: &Node| -> Option<Vec<String>> {
        let classes = metainfo
            .get("classes")
            .or_else(|| metainfo.get("CLASSES"))?;
        if let Some(name) = classes.as_str() {
            return Some(vec![name.to_string()]); // `classes=('a')`, the comma forgotten
        }
        classes
            .as_items()?
            .iter()
            .map(|c| c.as_str().map(String::from))
            .collect()
    };
    let mut known = nodes
        .clone()
        .filter_map(|n| from_metainfo(n.get("metainfo")?));
    known.next().or_else(|| {
        let kind = nodes.clone().find_map(|n| n.get("type")?.as_type())?;
        let names: &[&str] = match kind.rsplit('.').next()? {
            "CocoDataset" => &COCO,
            "VOCDataset" => &VOC,
            "CityscapesDataset" => &CITYSCAPES,
            _ => return None,
        };
        Some(names.iter().map(|n| n.to_string()).collect())
    })
}

/// The data set inside wrappers such as `RepeatDataset`.
fn innermost_dataset(mut node: &Node) -> Option<&Node> {
    for _ in 0..8 {
        match (
            node.get("dataset"),
            node.get("datasets").and_then(|d| d.as_items()),
        ) {
            (Some(inner), _) => node = inner,
            (_, Some([first, ..])) => node = first,
            _ => return Some(node),
        }
    }
    None
}

/// The test pipeline of a config: the test loader's, else a top-level `test_pipeline`.
pub fn test_pipeline(config: &Config) -> Option<&Node> {
    let loaders = ["test_dataloader", "val_dataloader"];
    let of =
        |loader: &str| innermost_dataset(config.root.get(loader)?.get("dataset")?)?.get("pipeline");
    loaders
        .iter()
        .find_map(|l| of(l))
        .or_else(|| config.root.get("test_pipeline"))
}

/// Pascal VOC's classes.
pub const VOC: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];
/// Cityscapes' object classes.
pub const CITYSCAPES: [&str; 8] = [
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;

    fn config(text: &str) -> Config {
        Config::parse(text, "test.py", &MapLoader::default()).unwrap()
    }

    #[test]
    fn classes_come_from_the_nearest_source() {
        let named = "test_dataloader=dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=('a','b'))))";
        let own = ["x".to_string(), "y".to_string()];
        assert_eq!(class_names(&config(named), Some(&own), 2), own);
        assert_eq!(class_names(&config(named), None, 2), ["a", "b"]);
        assert_eq!(class_names(&config(named), None, 3), ["0", "1", "2"]);
        let coco = config(
            "test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CocoDataset')))",
        );
        assert_eq!(class_names(&coco, None, 80)[79], "toothbrush");
        let old = config("test_dataloader=dict(dataset=dict(metainfo=dict(CLASSES=('a','b'))))");
        for (of, count, part) in [
            (&old, 2, "`CLASSES`"),
            (&old, 3, "2 class names, and the model has 3"),
            (
                &config("test_dataloader=dict(dataset=dict(metainfo=dict(classes='a.txt')))"),
                2,
                "'a.txt'",
            ),
        ] {
            let notes = class_notes(of, None, count);
            assert!(notes[0].message.contains(part), "{}", notes[0]);
        }
        assert!(class_notes(&config(named), None, 2).is_empty());
        assert!(class_notes(&old, Some(&own), 2).is_empty());
        let forgotten =
            config("test_dataloader=dict(dataset=dict(metainfo=dict(classes=('cat'))))");
        assert_eq!(class_names(&forgotten, None, 1), ["cat"]);
    }

    #[test]
    fn the_preprocessor_is_checked_too() {
        let text = "model=dict(type='DETR', data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=0))";
        let found = check(&config(text), &crate::registry());
        assert!(found.iter().any(|d| {
            d.message
                .starts_with("`pad_size_divisor`: 0 is out of bounds")
        }));
    }

    #[test]
    fn the_test_pipeline_is_found_inside_wrappers() {
        let inner = config(
            "p=[dict(type='A')]\ntest_dataloader=dict(dataset=dict(type='W', dataset=dict(pipeline=p)))",
        );
        assert!(test_pipeline(&inner).unwrap().at("0.type").is_some());
        assert!(test_pipeline(&config("test_pipeline=[]")).is_some());
        assert!(test_pipeline(&config("x=1")).is_none());
    }
}
