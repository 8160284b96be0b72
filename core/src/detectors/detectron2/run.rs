//! What a Detectron2 YAML says of data, training and tests, as the keys of our configs say it: the only place where they are mapped. What they
//! become is what `smalti config show` prints.
//!
//! What has no counterpart is an error of the run that would need it (`served.rs`): a picture can be looked at all the same. Draws are those of our
//! transforms; they are distributed as Detectron2's are.

use super::datasets::known;
use super::settings::{self, DataLoader, DataSets, Input, Model, Solver, Test};
use crate::config::{Diagnostics, Dict, Node, Origin, Value, parse_value};

/// The tree of one of our configs for the settings `whole`. `root` is where Detectron2's data sets are.
///
/// # Errors
/// A setting has a value that it cannot have.
pub(super) fn config(whole: Node, root: &str) -> Result<Node, Diagnostics> {
    let input: Input = settings::at(&whole, "INPUT")?;
    let model: Model = settings::at(&whole, "MODEL")?;
    let data: DataSets = settings::at(&whole, "DATASETS")?;
    let test: Test = settings::at(&whole, "TEST")?;
    let solver: Solver = settings::at(&whole, "SOLVER")?;
    let loader: DataLoader = settings::at(&whole, "DATALOADER")?;
    let mut keys = vec![("default_scope", "'mmdet'".to_string(), "")];
    let at_test = tested(&data, &input, root);
    keys.push(("test_dataloader", at_test.clone(), "DATASETS"));
    let proposals = model.meta_architecture == "ProposalNetwork";
    let first = data.test.iter().next().and_then(|name| known(name));
    let evaluator = first.map(|known| known.evaluator(root, model.mask_on, proposals));
    if let Some(evaluator) = evaluator {
        keys.push(("test_evaluator", evaluator.clone(), "DATASETS"));
        keys.push(("test_cfg", "dict()".into(), "TEST"));
        if test.eval_period > 0 {
            keys.push(("val_dataloader", at_test, "DATASETS"));
            keys.push(("val_evaluator", evaluator, "TEST"));
            keys.push(("val_cfg", "dict()".into(), "TEST"));
        }
    }
    if data.train.iter().next().is_some() {
        let trained = trained(&data, &input, &model, &solver, &loader, root);
        keys.push(("train_dataloader", trained, "DATASETS"));
        keys.extend(course(&solver, &test));
        let seed = whole
            .get("SEED")
            .and_then(Node::as_int)
            .filter(|seed| *seed >= 0);
        if let Some(seed) = seed {
            keys.push(("randomness", format!("dict(seed={seed})"), "SEED"));
        }
        let folder = whole
            .get("OUTPUT_DIR")
            .and_then(Node::as_str)
            .unwrap_or("./output");
        keys.push(("work_dir", format!("{folder:?}"), "OUTPUT_DIR"));
    }
    let mut tree = Dict::new();
    for (key, text, from) in keys {
        let mut node = parse_value(&text).expect("it was just written");
        place(&mut node, &whole.at(from).unwrap_or(&whole).origin);
        tree.set(key, node);
    }
    let origin = whole.origin.clone();
    let made = |value| Node {
        value,
        origin: origin.clone(),
    };
    if !model.weights.is_empty() {
        tree.set("load_from", made(Value::Str(model.weights.as_str().into())));
    }
    let mut detector = Dict::new();
    detector.set("type", made(Value::Str("detectron2.Detector".into())));
    detector.set("cfg", whole);
    tree.set("model", made(Value::Dict(detector)));
    Ok(made(Value::Dict(tree)))
}

/// Everything in `node` is said at `origin`.
fn place(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Dict(dict) => {
            let mut placed = Dict::new();
            for (key, entry) in dict.iter() {
                let mut inner = entry.node.clone();
                place(&mut inner, origin);
                placed.set(&key.to_string(), inner);
            }
            *dict = placed;
        }
        Value::List(items) | Value::Tuple(items) => {
            let mut placed = items.to_vec();
            placed.iter_mut().for_each(|item| place(item, origin));
            *items = std::sync::Arc::new(placed);
        }
        _ => {}
    }
}

/// A data set with its pipeline; one that Detectron2 has not is named as it is, so that who trains is told.
fn dataset(name: Option<&str>, root: &str, more: &str, pipeline: &str) -> String {
    let described = match (name, name.and_then(known)) {
        (_, Some(known)) => known.described(root),
        (Some(name), None) => format!("dict(type={:?}", format!("{SCOPE}{name}")),
        (None, None) => "dict(type='CocoDataset', ann_file=''".into(),
    };
    format!("{described}{more}, pipeline=[{pipeline}])")
}

const LOAD: &str = "dict(type='LoadImageFromFile', imdecode_backend='pillow')";
/// What stands before the names of data sets that are not known.
pub(super) const SCOPE: &str = "detectron2.";

fn tested(data: &DataSets, input: &Input, root: &str) -> String {
    let resize = match input.min_size_test.get() {
        0 => String::new(),
        short => format!(
            "dict(type='ResizeShortestEdge', scale={short}, max_size={}, backend='pillow'),",
            input.max_size_test.get()
        ),
    };
    let pipeline = format!(
        "{LOAD}, {resize} dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))"
    );
    let name = data.test.iter().next().map(String::as_str);
    let set = dataset(name, root, ", test_mode=True", &pipeline);
    format!("dict(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False), dataset={set})")
}

fn trained(
    data: &DataSets,
    input: &Input,
    model: &Model,
    solver: &Solver,
    loader: &DataLoader,
    root: &str,
) -> String {
    let mut steps = vec![LOAD.to_string()];
    let polygons = input.mask_format == "polygon";
    steps.push(match (model.mask_on, polygons) {
        (false, _) => "dict(type='LoadAnnotations', with_bbox=True)".into(),
        (true, true) => {
            "dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False)".into()
        }
        (true, false) => "dict(type='LoadAnnotations', with_bbox=True, with_mask=True)".into(),
    });
    let crop = &input.crop;
    if crop.enabled {
        // Height comes first in Detectron2; in ours width does, but for a range of shares.
        let [a, b] = crop.size;
        let size = match crop.r#type.as_str() {
            "relative" => format!("({b:?}, {a:?})"),
            "relative_range" => format!("({a:?}, {b:?})"),
            "absolute" => format!("({}, {})", b as i64, a as i64),
            _ => format!("({}, {})", a as i64, b as i64),
        };
        let again = if model.mask_on { "True" } else { "False" };
        steps.push(format!(
            "dict(type='RandomCrop', crop_type={:?}, crop_size={size}, allow_negative_crop=True, recompute_bbox={again})",
            crop.r#type
        ));
    }
    let most = input.max_size_train.get();
    let mut sizes: Vec<usize> = input.min_size_train.iter().map(|n| n.get()).collect();
    if let ("range", &[low, high]) = (input.min_size_train_sampling.as_str(), &sizes[..]) {
        sizes = (low..=high).collect();
    }
    if sizes != [0] {
        steps.push(format!(
            "dict(type='RandomChoiceResize', scales={sizes:?}, resize_type='ResizeShortestEdge', max_size={most}, backend='pillow')"
        ));
    }
    if let flip @ ("horizontal" | "vertical") = input.random_flip.as_str() {
        steps.push(format!(
            "dict(type='RandomFlip', prob=0.5, direction='{flip}')"
        ));
    }
    steps.push("dict(type='PackDetInputs')".into());
    let filter = match loader.filter_empty_annotations {
        true => ", filter_cfg=dict(filter_empty_gt=True)",
        false => ", filter_cfg=dict(filter_empty_gt=False)",
    };
    let steps = steps.join(", ");
    let sets = data.train.iter();
    let sets: Vec<String> = sets
        .map(|name| dataset(Some(name), root, filter, &steps))
        .collect();
    let set = match &sets[..] {
        [one] => one.clone(),
        several => format!(
            "dict(type='ConcatDataset', datasets=[{}])",
            several.join(", ")
        ),
    };
    let grouped = match loader.aspect_ratio_grouping {
        true => ", batch_sampler=dict(type='AspectRatioBatchSampler')",
        false => "",
    };
    format!(
        "dict(batch_size={}, num_workers={}, sampler=dict(type='InfiniteSampler', shuffle=True){grouped}, dataset={set})",
        solver.ims_per_batch.get(),
        loader.num_workers.get(),
    )
}

/// Loop, optimizer, schedule and checkpoints.
fn course(solver: &Solver, test: &Test) -> Vec<(&'static str, String, &'static str)> {
    let iters = solver.max_iter.get();
    let interval = match test.eval_period {
        period if period > 0 => period,
        _ => iters as i64,
    };
    let flag = |on: bool| if on { "True" } else { "False" };
    let clips = &solver.clip_gradients;
    let clip = match (clips.enabled, clips.clip_type.as_str()) {
        (false, _) => String::new(),
        (true, "value") => format!(
            ", clip_grad=dict(type='value', clip_value={:?})",
            clips.clip_value
        ),
        _ => format!(
            ", clip_grad=dict(type='norm', max_norm={:?}, norm_type={:?}, each=True)",
            clips.clip_value, clips.norm_type
        ),
    };
    let kind = if solver.amp.enabled {
        "AmpOptimWrapper"
    } else {
        "OptimWrapper"
    };
    let bias = match solver.weight_decay_bias {
        Some(decay) => format!("{decay:?}"),
        None => "None".into(),
    };
    let optimizer = format!(
        "dict(type='{kind}', optimizer=dict(type='SGD', lr={:?}, momentum={:?}, weight_decay={:?}, nesterov={}), \
         constructor='detectron2.OptimizerParams', paramwise_cfg=dict(weight_decay_norm={:?}, bias_lr_factor={:?}, weight_decay_bias={bias}){clip})",
        solver.base_lr,
        solver.momentum,
        solver.weight_decay,
        flag(solver.nesterov),
        solver.weight_decay_norm,
        solver.bias_lr_factor,
    );
    let own = match solver.lr_scheduler_name.as_str() {
        "WarmupMultiStepLR" => {
            let steps: Vec<i64> = solver.steps.iter().copied().collect();
            format!("milestones={steps:?}, gamma={:?}", solver.gamma)
        }
        "WarmupCosineLR" => format!("end_factor={:?}", solver.base_lr_end / solver.base_lr),
        _ => format!("gamma={:?}, num_decays={}", solver.gamma, solver.num_decays),
    };
    let schedule = format!(
        "dict(type={:?}, by_epoch=False, max_iter={iters}, {own}, warmup_factor={:?}, warmup_iters={}, warmup_method={:?}, rescale_interval={})",
        format!("{SCOPE}{}", solver.lr_scheduler_name),
        solver.warmup_factor,
        solver.warmup_iters,
        solver.warmup_method,
        flag(solver.rescale_interval),
    );
    let period = solver.checkpoint_period.get();
    vec![
        (
            "train_cfg",
            format!("dict(type='IterBasedTrainLoop', max_iters={iters}, val_interval={interval})"),
            "SOLVER",
        ),
        ("optim_wrapper", optimizer, "SOLVER"),
        ("param_scheduler", schedule, "SOLVER"),
        (
            "default_hooks",
            format!(
                "dict(logger=dict(type='LoggerHook', interval=20), checkpoint=dict(type='CheckpointHook', by_epoch=False, interval={period}))"
            ),
            "SOLVER",
        ),
        ("log_processor", "dict(by_epoch=False)".into(), "SOLVER"),
    ]
}
