//! Whether a run does all that a Detectron2 YAML says of it: what `run.rs` has no key for is an error here, at the setting, and not before the run
//! that would need it.

use super::datasets::{Form, Known, known};
use super::run::SCOPE;
use super::settings::{self, DataLoader, DataSets, Input, Solver};
use crate::config::{Config, Diagnostic, Diagnostics, Node, error_at, unsupported};

/// The settings of a config that came out of a YAML.
fn settings_of(config: &Config) -> Option<&Node> {
    let model = config.root.get("model")?;
    let kind = model.get("type").and_then(Node::as_type)?;
    (kind == "detectron2.Detector").then(|| model.get("cfg"))?
}

/// Data sets of one of our loaders that Detectron2 has not by name, if the config does not say otherwise in the meantime.
fn unknown(config: &Config, loader: &str, whole: &Node, key: &str, problems: &mut Diagnostics) {
    let set = config.root.at(&format!("{loader}.dataset"));
    let inner = set
        .and_then(|set| set.get("datasets"))
        .and_then(Node::as_items);
    let sets = inner.map_or_else(
        || set.into_iter().collect(),
        |sets| sets.iter().collect::<Vec<_>>(),
    );
    let kinds = sets.iter().filter_map(|set| set.get("type")?.as_type());
    for kind in kinds {
        if let Some(name) = kind.strip_prefix(SCOPE) {
            let message =
                format!("`{name}` is none of Detectron2's own data sets that are known here");
            let help = "describe it: --cfg-options with a data set of ours in place of it (`smalti config show` has the key)";
            let at = whole.at("DATASETS").unwrap_or(whole);
            problems.extend(error_at(at, key, message, help));
        }
    }
}

/// Whether all that a YAML says of training is done here.
///
/// # Errors
/// One for each setting that is not.
#[cfg_attr(not(feature = "train"), allow(dead_code))]
pub fn check_training(config: &Config) -> Result<(), Diagnostics> {
    let Some(whole) = settings_of(config) else {
        return Ok(());
    };
    let input: Input = settings::at(whole, "INPUT")?;
    let data: DataSets = settings::at(whole, "DATASETS")?;
    let solver: Solver = settings::at(whole, "SOLVER")?;
    let loader: DataLoader = settings::at(whole, "DATALOADER")?;
    let mut problems = Diagnostics::new();
    let mut refuse = |group: &str, key: &str, message: String, help: &str| {
        let at = whole.at(group).unwrap_or(whole);
        problems.extend(unsupported(at, key, message, help));
    };
    let one_of = |value: &str, known: &[&str]| known.contains(&value);
    let choices = [
        (
            "SOLVER",
            "LR_SCHEDULER_NAME",
            solver.lr_scheduler_name.as_str(),
            &[
                "WarmupMultiStepLR",
                "WarmupCosineLR",
                "WarmupStepWithFixedGammaLR",
            ][..],
        ),
        (
            "SOLVER",
            "WARMUP_METHOD",
            &solver.warmup_method,
            &["linear", "constant"],
        ),
        (
            "SOLVER.CLIP_GRADIENTS",
            "CLIP_TYPE",
            &solver.clip_gradients.clip_type,
            &["value", "norm"],
        ),
        (
            "INPUT",
            "MIN_SIZE_TRAIN_SAMPLING",
            &input.min_size_train_sampling,
            &["choice", "range"],
        ),
        (
            "INPUT",
            "RANDOM_FLIP",
            &input.random_flip,
            &["horizontal", "vertical", "none"],
        ),
        (
            "INPUT",
            "MASK_FORMAT",
            &input.mask_format,
            &["polygon", "bitmask"],
        ),
        (
            "INPUT.CROP",
            "TYPE",
            &input.crop.r#type,
            &["relative_range", "relative", "absolute", "absolute_range"],
        ),
        (
            "DATALOADER",
            "SAMPLER_TRAIN",
            &loader.sampler_train,
            &["TrainingSampler"],
        ),
    ];
    for (group, key, value, known) in choices {
        if !one_of(value, known) {
            let help = format!("known are {}", known.join(", "));
            refuse(group, key, format!("`{value}` is not supported"), &help);
        }
    }
    if input.min_size_train_sampling == "range" && input.min_size_train.iter().count() != 2 {
        let message = "`range` of sizes needs the least and the largest".to_string();
        refuse("INPUT", "MIN_SIZE_TRAIN", message, "for example (640, 800)");
    }
    if solver.reference_world_size != 0 {
        let message = "settings are not scaled to a number of GPUs".to_string();
        refuse(
            "SOLVER",
            "REFERENCE_WORLD_SIZE",
            message,
            "write 0, and BASE_LR, IMS_PER_BATCH and MAX_ITER as they are to be",
        );
    }
    let on = |path: &str| whole.at(path).and_then(Node::as_bool) == Some(true);
    if on("TEST.PRECISE_BN.ENABLED") {
        let message = "precise statistics of batch norms are not supported".to_string();
        refuse("TEST.PRECISE_BN", "ENABLED", message, "");
    }
    if whole
        .get("VIS_PERIOD")
        .and_then(Node::as_int)
        .is_some_and(|n| n > 0)
    {
        let message = "drawings during training are not supported".to_string();
        refuse(
            "",
            "VIS_PERIOD",
            message,
            "write 0; the first three batches are drawn in any case",
        );
    }
    let voc = |name: &String| {
        matches!(
            known(name),
            Some(Known {
                form: Form::Voc(_),
                ..
            })
        )
    };
    if data.train.iter().any(voc) {
        let message = "Detectron2 learns the difficult objects of Pascal VOC too, which our data set leaves out".to_string();
        refuse(
            "DATASETS",
            "TRAIN",
            message,
            "train_dataloader.dataset.type=VOCDataset in a config of MMDetection's leaves them out as MMDetection does",
        );
    }
    if data.train.iter().next().is_none() {
        let at = whole.at("DATASETS").unwrap_or(whole);
        let help = "for example TRAIN: ('coco_2017_train',)";
        problems.extend(error_at(
            at,
            "TRAIN",
            "there is no data set to learn from",
            help,
        ));
    }
    unknown(config, "train_dataloader", whole, "TRAIN", &mut problems);
    if config.root.get("val_dataloader").is_some() {
        problems.extend(check_test(config).err().unwrap_or_default());
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

/// Whether all that a YAML says of tests is done here.
///
/// # Errors
/// One for each setting that is not.
pub(crate) fn check_test(config: &Config) -> Result<(), Diagnostics> {
    let Some(whole) = settings_of(config) else {
        return Ok(());
    };
    let data: DataSets = settings::at(whole, "DATASETS")?;
    let at = whole.at("DATASETS").unwrap_or(whole);
    let mut problems = Diagnostics::new();
    match data.test.iter().count() {
        0 => {
            let help = "for example TEST: ('coco_2017_val',)";
            problems.extend(error_at(
                at,
                "TEST",
                "there is no data set to test on",
                help,
            ));
        }
        1 => unknown(config, "test_dataloader", whole, "TEST", &mut problems),
        several => {
            let message = format!("tests on {several} data sets are not supported");
            let help = "name one at a time: --opts DATASETS.TEST \"('coco_2017_val',)\"";
            problems.extend(unsupported(at, "TEST", message, help));
        }
    }
    if whole.at("TEST.AUG.ENABLED").and_then(Node::as_bool) == Some(true) {
        let at = whole.at("TEST.AUG").unwrap_or(whole);
        let message = "Detectron2's test-time augmentation is not supported";
        let help = "write False; `smalti test --tta` merges a picture and its mirror image as MMDetection does";
        problems.extend(unsupported(at, "ENABLED", message, help));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

/// What a run should tell of its settings.
pub(super) fn notes(config: &Config) -> Vec<Diagnostic> {
    let solver = settings_of(config).and_then(|whole| {
        let solver: Solver = settings::at(whole, "SOLVER").ok()?;
        Some((solver, whole.at("SOLVER.STEPS")?))
    });
    let Some((solver, at)) = solver else {
        return Vec::new();
    };
    let late = solver
        .steps
        .iter()
        .any(|step| *step > solver.max_iter.get() as i64);
    let text = "steps behind MAX_ITER have no effect";
    let warning = || Diagnostic::warning(text).at(&at.origin, "");
    late.then(warning).into_iter().collect()
}
