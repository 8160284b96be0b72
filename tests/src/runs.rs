//! Training runs as a user starts them: of a few pictures that are made here, with a model that is small enough for a test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use serde_json::json;
use smalti::Precision;
use smalti::config::{Config, MapLoader, value_to_py};
use smalti::draw::Canvas;
use smalti::host::disk::Disk;
use smalti::train::hooks::{Hook, Step};
use smalti::train::{Ended, Run, Stepped, Trainer};
use smalti::weights::{Stored, TrainingState};

use crate::commands::program;
use crate::formula::tagged;
use crate::golden::{detectron2, forget_weights, read_lines};

/// A folder with pictures, annotations and a config; it goes away with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SIDE: usize = 64;

impl Scratch {
    /// `count` pictures, each with a light square (class 0) and a dark one (class 1) on grey noise.
    fn new(name: &str, count: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("smalti-run-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("img")).unwrap();
        let (mut images, mut annotations) = (Vec::new(), Vec::new());
        for k in 0..count {
            let mut rgb = vec![0; SIDE * SIDE * 3];
            for (i, value) in rgb.iter_mut().enumerate() {
                *value = 110 + ((i * 7919 + k * 104_729) % 31) as u8;
            }
            for label in 0..2 {
                let size = 20 + (k * 5 + label * 3) % 8;
                let x = 2 + (k * 11 + label * 34) % (SIDE - size - 2);
                let y = 2 + (k * 17 + label * 23) % (SIDE - size - 2);
                let value = if label == 0 { 240 } else { 10 };
                for row in y..y + size {
                    let from = (row * SIDE + x) * 3;
                    rgb[from..from + size * 3].fill(value);
                }
                annotations.push(json!({
                    "id": annotations.len() + 1, "image_id": k, "category_id": label, "iscrowd": 0,
                    "bbox": [x, y, size, size], "area": size * size,
                    "segmentation": [[x, y, x + size, y, x + size, y + size, x, y + size]],
                }));
            }
            let png = Canvas::new(SIDE, SIDE, rgb).unwrap().png().unwrap();
            std::fs::write(folder.join(format!("img/{k}.png")), png).unwrap();
            images.push(
                json!({"id": k, "file_name": format!("{k}.png"), "width": SIDE, "height": SIDE}),
            );
        }
        let categories = [
            json!({"id": 0, "name": "light"}),
            json!({"id": 1, "name": "dark"}),
        ];
        let all = json!({"images": images, "annotations": annotations, "categories": categories});
        std::fs::write(folder.join("ann.json"), all.to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of a config with this model, and `more` of it.
    fn config(&self, model: &str, epochs: usize, batch: usize, more: &str) -> String {
        let root = self.0.display();
        let dataset = format!(
            "dict(type='CocoDataset', data_root='{root}/', ann_file='ann.json', data_prefix=dict(img='img/'), \
             metainfo=dict(classes=('light', 'dark')), pipeline=PIPELINE"
        );
        format!(
            "load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
PIPELINE = load + [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), dict(type='PackDetInputs')]
train_dataloader = dict(batch_size={batch}, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=True), dataset={dataset}))
PIPELINE = load + [dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
val_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset={dataset}, test_mode=True))
val_evaluator = dict(type='CocoMetric', ann_file='{root}/ann.json', metric='bbox')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={epochs}, val_interval={epochs})
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.05), clip_grad=dict(max_norm=35, norm_type=2))
model = {model}
{more}
"
        )
    }
}

fn preprocessor() -> &'static str {
    "data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32)"
}

/// A small RetinaNet; `backbone` has more of its ResNet.
fn retinanet(backbone: &str) -> String {
    format!(
        "dict(type='RetinaNet', {}, backbone=dict(type='ResNet', depth=18, base_channels=8, {backbone}), \
         neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, start_level=1, add_extra_convs='on_input', num_outs=3), \
         bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, \
           anchor_generator=dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]), \
           bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[1.0, 1.0, 1.0, 1.0]), \
           loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')), \
         train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0), allowed_border=-1, pos_weight=-1), \
         test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20))",
        preprocessor()
    )
}

fn fcos() -> String {
    format!(
        "dict(type='FCOS', {}, backbone=dict(type='ResNet', depth=18, base_channels=8), \
         neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, start_level=1, add_extra_convs='on_output', num_outs=3), \
         bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, strides=[8, 16, 32], \
           regress_ranges=((-1, 32), (32, 64), (64, 1e8)), norm_cfg=dict(type='GN', num_groups=4)), \
         test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20))",
        preprocessor()
    )
}

fn yolox() -> String {
    format!(
        "dict(type='YOLOX', {}, backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125), \
         neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1), \
         bbox_head=dict(type='YOLOXHead', num_classes=2, in_channels=16, feat_channels=16), \
         train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)), \
         test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)))",
        preprocessor()
    )
}

fn rpn() -> String {
    format!(
        "dict(type='RPN', {}, backbone=dict(type='ResNet', depth=18, base_channels=8), \
         neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4), \
         rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, \
           anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32]), \
           loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')), \
         train_cfg=dict(rpn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3), \
           sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False), allowed_border=-1, pos_weight=-1)), \
         test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7))))",
        preprocessor()
    )
}

fn weights(path: &Path) -> Weights {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let state: TrainingState<Stored> = TrainingState::read(bytes).unwrap();
    let values = |(key, stored): (String, Stored)| (key, stored.f32().unwrap());
    let mut all: Vec<_> = state.state_dict.into_iter().map(values).collect();
    for (key, stored) in state.averaged.into_iter().flat_map(|a| a.state_dict) {
        all.push((format!("average of {key}"), stored.f32().unwrap()));
    }
    all
}

fn train(config: &Path, work_dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args([
            "train",
            &config.display().to_string(),
            "--device",
            "cpu",
            "--work-dir",
        ])
        .arg(work_dir)
        .args(more);
    command
}

const LONG: &str = "randomness = dict(seed=3)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8), dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.1)]
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, gamma=20, update_buffers=True, priority=49)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=2), checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
";

#[test]
fn a_killed_run_goes_on_with_the_same_numbers() {
    let scratch = Scratch::new("killed", 12);
    let config = scratch.path("config.py");
    // Sizes change within epochs, which is where the checkpoints are.
    let sizes = "batch_augments=[dict(type='BatchSyncRandomResize', random_size_range=(64, 128), interval=4)]";
    let model = retinanet("").replace("bgr_to_rgb=True", &format!("bgr_to_rgb=True, {sizes}"));
    let text = scratch.config(&model, 3, 2, LONG);
    std::fs::write(&config, text).unwrap();
    let whole = scratch.path("whole");
    let output = train(&config, &whole, &["--no-validate"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("loss_bbox"), "a line of the log: {text}");

    let broken = scratch.path("broken");
    let mut kills = 0;
    for attempt in 0..60u64 {
        let mut child = train(&config, &broken, &["--no-validate", "--resume"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At moments that are not bound to anything; later and later, so that it ends on any machine.
        std::thread::sleep(Duration::from_millis(
            300 + 137 * attempt + attempt * attempt * 20,
        ));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "killed at least once");
    let (a, b) = (
        weights(&whole.join("epoch_3.pth")),
        weights(&broken.join("epoch_3.pth")),
    );
    assert_eq!(a.len(), b.len());
    for ((key, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{key} after {kills} kills");
    }
    assert!(!whole.join("epoch_1.pth").exists(), "two are kept");
    for name in [
        "loss.png",
        "lr.png",
        "last_checkpoint",
        "config.py",
        "train_batch_0.png",
        "train_batch_2.png",
    ] {
        assert!(whole.join(name).exists(), "{name}");
    }
    assert!(!whole.join("train_batch_3.png").exists(), "three are drawn");
    let (on, last) = (scratch.path("on"), whole.join("epoch_2.pth"));
    let last = last.display().to_string();
    let mut on_from = train(&config, &on, &["--no-validate", "--resume", &last]);
    assert!(on_from.output().unwrap().status.success());
    assert!(
        !on.join("train_batch_0.png").exists(),
        "only of a beginning"
    );
}

#[test]
fn one_run_in_a_folder_and_mistakes_that_are_told() {
    let scratch = Scratch::new("mistakes", 2);
    let config = scratch.path("config.py");
    let fails = |text: &str, more: &[&str], words: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let output = train(&config, &scratch.path("work"), more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in words {
            assert!(text.contains(word), "`{word}` in {text}");
        }
    };
    let good = scratch.config(&retinanet(""), 1, 2, "");
    fails(
        &format!("{good}custom_hooks = [dict(type='EMAHok')]"),
        &[],
        &["unknown hook type `EMAHok`", "did you mean", "EMAHook"],
    );
    fails(
        &good.replace("optim_wrapper =", "optim ="),
        &[],
        &["no `optim_wrapper`"],
    );
    fails(
        &good.replace("train_cfg=dict(assigner", "training=dict(assigner"),
        &[],
        &["`train_cfg`"],
    );
    fails(&good, &["--resume", "nowhere.pth"], &["nowhere.pth"]);
    fails(
        &good.replace("num_classes=2", "num_classes=1"),
        &[],
        &["class 1", "num_classes"],
    );
    let lock = smalti::host::lock::Lock::take(&scratch.path("work")).unwrap();
    fails(&good, &[], &["another run", "--work-dir"]);
    drop(lock);
    // All weights would be lost: it ends, and says where.
    let wild = good
        .replace("lr=0.002", "lr=1e30")
        .replace("clip_grad=dict(max_norm=35, norm_type=2)", "");
    let wild = wild.replace("max_epochs=1", "max_epochs=9");
    fails(&wild, &["--no-validate"], &["the loss is", ".png"]);
}

#[test]
fn the_plan_is_told_and_nothing_is_trained() {
    let scratch = Scratch::new("plan", 4);
    let config = scratch.path("config.py");
    let text = scratch.config(&retinanet("frozen_stages=1"), 3, 2, LONG);
    std::fs::write(&config, text).unwrap();
    let work = scratch.path("work");
    let output = train(&config, &work, &["--plan"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for word in [
        "AdamW",
        "backbone.layer1",
        "frozen",
        "LinearLR",
        "MultiStepLR",
    ] {
        assert!(text.contains(word), "`{word}` in {text}");
    }
    for (more, words) in [
        (&["--plan"][..], "validated every 3 epochs"),
        (&["--plan", "--no-validate"], "no validation"),
    ] {
        let output = train(&config, &work, more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(words), "`{words}` in {text}");
    }
    assert!(work.join("plan.png").exists());
    assert!(!work.join("epoch_1.pth").exists());
}

#[test]
fn validations_and_tests_draw_pictures() {
    let scratch = Scratch::new("drawn", 4);
    let (config, work) = (scratch.path("config.py"), scratch.path("work"));
    let more = format!(
        "work_dir = '{}'
default_hooks = dict(visualization=dict(type='DetVisualizationHook', draw=True, interval=3, score_thr=0.0, show=True))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')",
        work.display()
    );
    std::fs::write(&config, scratch.config(&retinanet(""), 1, 2, &more)).unwrap();
    let drawn = |name: &str| {
        let folders = std::fs::read_dir(&work).unwrap().map(|f| f.unwrap().path());
        let found = folders.map(|f| f.join("vis_data/vis_image").join(name));
        found.filter(|path| path.exists()).count()
    };
    let output = train(&config, &work, &[]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("opens no window"), "{text}");
    // Two iterations and two batches: 2 + 0, 2 + 1.
    assert_eq!([drawn("val_img_2.png"), drawn("val_img_3.png")], [0, 1]);
    let test = |more: &[&str]| {
        let mut command = Command::new(program());
        command
            .arg("test")
            .arg(&config)
            .arg(work.join("epoch_1.pth"));
        let output = command.args(["--device", "cpu"]).args(more).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
    };
    test(&["--cfg-options", "default_hooks.visualization.draw=False"]);
    assert_eq!(drawn("test_img_1.png"), 0);
    test(&[]);
    assert_eq!([drawn("test_img_1.png"), drawn("test_img_4.png")], [1, 1]);
}

/// Notes the loss of each step.
struct Losses(std::rc::Rc<std::cell::RefCell<Vec<f32>>>);

impl Hook for Losses {
    fn name(&self) -> &'static str {
        "Losses"
    }

    fn after_train_iter(&mut self, _: &mut Run, stepped: &Stepped) -> Step {
        let total = stepped.losses.total().expect("a loss");
        self.0.borrow_mut().push(total.into_scalar::<f32>());
        Ok(())
    }
}

/// Trains `text` in place, and gives the losses.
fn losses(scratch: &Scratch, text: &str, device: &Device) -> Vec<f32> {
    let config = Config::parse(text, "config.py", &MapLoader::default());
    let config = config.unwrap_or_else(|e| panic!("{e}"));
    let trainer = Trainer::builder(&config, Arc::new(Disk::new()))
        .device(device)
        .work_dir(scratch.path("work"))
        .build();
    let mut trainer = trainer.unwrap_or_else(|e| panic!("{e}"));
    let seen = std::rc::Rc::default();
    trainer.add_hook(Box::new(Losses(std::rc::Rc::clone(&seen))));
    assert_eq!(
        trainer.train().unwrap_or_else(|e| panic!("{e}")),
        Ended::Done
    );
    seen.take()
}

const QUIET: &str = "default_hooks = dict(logger=None, checkpoint=None)\n";

#[test]
fn every_detector_overfits_four_pictures() {
    let scratch = Scratch::new("overfit", 4);
    for (name, model) in [
        ("RetinaNet", retinanet("")),
        ("FCOS", fcos()),
        ("YOLOX", yolox()),
        ("RPN", rpn()),
    ] {
        let text = scratch.config(&model, 40, 4, QUIET);
        let text = text.replace(
            "dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), ",
            "",
        );
        let losses = losses(&scratch, &text, &Device::flex());
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.6 * first, "{name}: {first} to {last}");
    }
}

/// Small models of `data/` by the names of their rows: Detectron2's five, and every kind of second stage.
const STORED: [(&str, &[&str]); 3] = [
    (
        "detectron2",
        &[
            "faster_fpn_bn",
            "cascade_mask_gn",
            "mask_c4",
            "retina_gn",
            "rpn_deep",
        ],
    ),
    (
        "two-stage",
        &[
            "two_stage_mask_shared_grey_softnms.py",
            "two_stage_cascade_mask_by_class.py",
        ],
    ),
    (
        "two-stage-more",
        &[
            "two_stage_c4_mask.py",
            "two_stage_dc5.py",
            "two_stage_double.py",
            "two_stage_generic_concat_mask.py",
            "two_stage_scoring.py",
            "two_stage_dynamic.py",
        ],
    ),
];

/// What a row of training has of its model.
#[derive(serde::Deserialize)]
struct StoredModel {
    #[serde(alias = "d2_yaml")]
    file: String,
    model: Option<serde_json::Value>,
    cfg: Option<serde_json::Value>,
    losses: Option<serde_json::Value>,
    #[serde(default)]
    with_mask: bool,
}

/// The texts of the models of [`STORED`] with their names, and whether they want masks.
fn stored_models() -> Vec<(String, String, bool)> {
    let mut models = Vec::new();
    for (file, names) in STORED {
        let path = format!("{}/data/{file}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
        let lines = read_lines(Path::new(&path)).unwrap();
        let rows = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        let wanted = |row: &StoredModel| row.losses.is_some() && names.contains(&&*row.file);
        let before = models.len();
        for row in rows.filter(wanted) {
            let text = match (&row.model, &row.cfg) {
                (Some(model), _) => {
                    let mut node = tagged(model, &row.file).unwrap();
                    forget_weights(&mut node);
                    let text = value_to_py(&node);
                    let rest = text.strip_prefix("dict(").expect("a dict");
                    format!("dict({}, {rest}", preprocessor())
                }
                (None, Some(cfg)) => value_to_py(&detectron2(cfg).unwrap()),
                _ => panic!("{} has a model", row.file),
            };
            models.push((row.file, text, row.with_mask));
        }
        assert_eq!(models.len() - before, names.len(), "rows of {file}");
    }
    models
}

/// The text of a run of one of them, without random transforms.
fn stored_run(scratch: &Scratch, model: &str, with_mask: bool, epochs: usize) -> String {
    let text = scratch.config(model, epochs, 4, QUIET);
    let text = text.replace(
        "dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), ",
        "",
    );
    let masks = format!(
        "with_bbox=True, with_mask={}",
        if with_mask { "True" } else { "False" }
    );
    text.replace("with_bbox=True", &masks)
}

#[test]
fn detectors_of_two_stages_overfit_four_pictures() {
    let scratch = Scratch::new("stages", 4);
    for (name, model, with_mask) in stored_models() {
        let text = stored_run(&scratch, &model, with_mask, 8);
        let losses = losses(&scratch, &text, &Device::flex());
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.85 * first, "{name}: {losses:?}");
    }
}

#[test]
fn two_stages_learn_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    let scratch = Scratch::new("gpu-stages", 4);
    let models = stored_models();
    // With masks and their scores; the others' gradients are checked on a GPU by `golden`.
    for (name, model, with_mask) in models.iter().filter(|m| m.0 == "two_stage_scoring.py") {
        let text = stored_run(&scratch, model, *with_mask, 3);
        let on_gpu = losses(&scratch, &text, &device);
        let on_cpu = losses(
            &scratch,
            &stored_run(&scratch, model, *with_mask, 1),
            &Device::flex(),
        );
        let off = (on_gpu[0] - on_cpu[0]).abs() / on_cpu[0];
        assert!(off < 1e-3, "{name}: {} and {}", on_gpu[0], on_cpu[0]);
        assert!(on_gpu[2] < on_gpu[0], "{name}: {on_gpu:?}");
    }
}

/// With half the digits the same is learned; on a device without f16, and on the CPU, it is all in f32.
#[test]
fn mixed_precision_learns_the_same() {
    let scratch = Scratch::new("mixed", 4);
    let plain = scratch.config(&retinanet(""), 12, 4, QUIET);
    let plain = plain.replace(
        "dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'), ",
        "",
    );
    // Adam's first steps are of one length, whatever the gradient: rounding would be all there is to see.
    let plain = plain.replace(
        "dict(type='AdamW', lr=0.002, weight_decay=0.05)",
        "dict(type='SGD', lr=0.01, momentum=0.9)",
    );
    assert!(plain.contains("SGD"));
    let mixed = plain.replace("type='OptimWrapper'", "type='AmpOptimWrapper'");
    let devices = [Some(Device::flex()), crate::gpu()];
    for device in devices.iter().flatten() {
        let half = Precision::F16.on(device) == Precision::F16;
        let [plain, mixed] = [&plain, &mixed].map(|text| losses(&scratch, text, device));
        assert!(mixed[11] < 0.95 * mixed[0], "{mixed:?}");
        if half {
            assert_ne!(plain, mixed, "products are of f16");
        } else {
            assert_eq!(plain, mixed);
        }
        let all = [&plain, &mixed];
        for (plain, mixed) in plain.iter().zip(&mixed) {
            let off = (plain - mixed).abs() / plain;
            assert!(off < 0.02, "{all:?}");
        }
    }
}

#[test]
fn losses_fall_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    let scratch = Scratch::new("gpu", 2);
    for (name, model) in [("RetinaNet", retinanet("")), ("YOLOX", yolox())] {
        // YOLOX begins by learning objectness, and is at its first loss again after eight steps, on the CPU too.
        let text = scratch.config(&model, 16, 2, QUIET);
        let on_gpu = losses(&scratch, &text, &device);
        let on_cpu = losses(&scratch, &text, &Device::flex());
        let (first, last) = (on_gpu[0], on_gpu[on_gpu.len() - 1]);
        assert!(last < first, "{name}: {on_gpu:?}");
        let off = (on_gpu[0] - on_cpu[0]).abs() / on_cpu[0];
        assert!(
            off < 1e-3,
            "{name}: {} on the GPU, {} on the CPU",
            on_gpu[0],
            on_cpu[0]
        );
    }
}

/// All parameters by name.
type Weights = Vec<(String, Vec<f32>)>;

/// Notes all weights at the end of each epoch.
struct Epochs(std::rc::Rc<std::cell::RefCell<Vec<Weights>>>);

impl Epochs {
    fn note(&self, run: &Run) {
        let slots = run.learner.store.parameters();
        let values = slots.iter().map(|slot| {
            let data = slot.value().into_data();
            (slot.key().to_string(), data.try_into_vec().unwrap())
        });
        self.0.borrow_mut().push(values.collect());
    }
}

impl Hook for Epochs {
    fn name(&self) -> &'static str {
        "Epochs"
    }

    fn before_train(&mut self, run: &mut Run) -> Step {
        self.note(run);
        Ok(())
    }

    fn after_train_epoch(&mut self, run: &mut Run) -> Step {
        self.note(run);
        Ok(())
    }
}

#[test]
fn an_unfrozen_backbone_changes_from_that_epoch_on() {
    let scratch = Scratch::new("unfreeze", 4);
    for paramwise in ["", ", paramwise_cfg=dict(norm_decay_mult=0.0)"] {
        let more = format!(
            "{QUIET}custom_hooks = [dict(type='UnfreezeBackboneEpochBasedHook', unfreeze_epoch=1)]\n"
        );
        let text = scratch.config(&retinanet("frozen_stages=4, norm_eval=False"), 2, 2, &more);
        let text = text.replace("norm_type=2)", &format!("norm_type=2){paramwise}"));
        let config = Config::parse(&text, "config.py", &MapLoader::default()).unwrap();
        let trainer = Trainer::builder(&config, Arc::new(Disk::new()))
            .work_dir(scratch.path("work"))
            .build();
        let mut trainer = trainer.unwrap_or_else(|e| panic!("{e}"));
        let seen = std::rc::Rc::default();
        trainer.add_hook(Box::new(Epochs(std::rc::Rc::clone(&seen))));
        trainer.train().unwrap_or_else(|e| panic!("{e}"));
        let seen = seen.take();
        let [before, first, second] = &seen[..] else {
            panic!("three notes")
        };
        for (((key, before), (_, first)), (_, second)) in before.iter().zip(first).zip(second) {
            let frozen = key.starts_with("backbone");
            assert!((before == first) == frozen, "{key} in the first epoch");
            assert!(first != second, "{key} in the second epoch");
        }
    }
}

/// Runs `smalti` with these arguments on the CPU: whether it went well, and what it said.
fn run(args: &[&str], datasets: &Path) -> (bool, String) {
    let mut command = Command::new(program());
    command.args(args).args(["--device", "cpu"]);
    let output = command.env("DETECTRON2_DATASETS", datasets).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    (output.status.success(), said.concat())
}

/// A first stage finds proposals, which go through a file into a Fast R-CNN that has none.
#[test]
fn proposals_go_through_a_file() {
    let scratch = Scratch::new("proposals", 4);
    let path = |name: &str| scratch.path(name).display().to_string();
    let dump = format!(
        "val_evaluator = dict(type='DumpProposals', output_dir='{}', proposals_file='found.pkl', num_max_proposals=12)",
        path("")
    );
    let first = scratch.config(&rpn(), 1, 2, &dump);
    std::fs::write(scratch.path("rpn.py"), first).unwrap();
    let run = |args: &[&str]| run(args, &scratch.0);
    let (rpn, work) = (path("rpn.py"), path("work"));
    let (good, said) = run(&["train", &rpn, "--work-dir", &work, "--no-validate"]);
    assert!(good, "{said}");
    let (good, said) = run(&["test", &rpn, &path("work/epoch_1.pth")]);
    assert!(good && said.contains("found.pkl is written"), "{said}");

    let second = "dict(type='FastRCNN', PRE, backbone=dict(type='ResNet', depth=18, base_channels=8), \
         neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4), \
         roi_head=dict(type='StandardRoIHead', bbox_roi_extractor=dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), \
           out_channels=16, featmap_strides=[4, 8, 16, 32]), bbox_head=dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, num_classes=2)), \
         train_cfg=dict(rcnn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5), \
           sampler=dict(type='RandomSampler', num=16, pos_fraction=0.25), pos_weight=-1)), \
         test_cfg=dict(rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=9)))";
    let second = scratch.config(&second.replace("PRE", preprocessor()), 1, 2, "");
    let moved = "dict(type='ProposalBroadcaster', transforms=[dict(type='Resize', scale=(80, 96), keep_ratio=False)";
    let second = second
        .replace("img='img/')", "img='img/'), proposal_file='found.pkl'")
        .replace(
            "load = [dict(type='LoadImageFromFile'), ",
            "load = [dict(type='LoadImageFromFile'), dict(type='LoadProposals', num_max_proposals=10), ",
        )
        .replace(
            "load + [dict(type='RandomFlip', prob=0.5)",
            &format!("load + [{moved}, dict(type='RandomFlip', prob=0.5)])"),
        )
        .replace("load + [dict(type='Pack", &format!("load + [{moved}]), dict(type='Pack"));
    std::fs::write(scratch.path("fast.py"), &second).unwrap();
    let (fast, work) = (path("fast.py"), path("second"));
    let (good, said) = run(&["train", &fast, "--work-dir", &work]);
    assert!(good && said.contains("bbox_mAP"), "{said}");
    let checkpoint = path("second/epoch_1.pth");
    let detect = |pictures: &str, more: &[&str]| {
        let args = ["detect", &fast, &checkpoint, pictures, "--json"];
        let found = path("found.json");
        run(&[&args[..], &[&found], more].concat())
    };
    let (good, said) = detect(&path("img"), &["--proposals", &path("found.pkl")]);
    assert!(good, "{said}");
    let found = std::fs::read_to_string(scratch.path("found.json")).unwrap();
    let found: Vec<serde_json::Value> = serde_json::from_str(&found).unwrap();
    assert!(!found.is_empty(), "every proposal has a score above 0");
    std::fs::copy(scratch.path("img/0.png"), scratch.path("other.png")).unwrap();
    let (good, said) = detect(&path("other.png"), &["--proposals", &path("found.pkl")]);
    assert!(
        !good && said.contains("has no proposals of `smalti-run-"),
        "{said}"
    );
    let (good, said) = detect(&path("img/0.png"), &[]);
    assert!(!good && said.contains("`--proposals`"), "{said}");
    // One picture more than there are proposals of.
    let fewer = second.replace("found.pkl", "ann.json");
    std::fs::write(scratch.path("wrong.py"), fewer).unwrap();
    let (good, said) = run(&["train", &path("wrong.py"), "--work-dir", &work]);
    assert!(
        !good && said.contains("DumpProposals") && said.contains("wrong.py:"),
        "{said}"
    );
}

const YAML: &str = "
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_resnet_fpn_backbone, FREEZE_AT: 0}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: [res4, res5], NORM: BN}
  FPN: {IN_FEATURES: [res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[16], [32], [64]], ASPECT_RATIOS: [[1.0]]}
  RPN: {IN_FEATURES: [p4, p5, p6]}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p4, p5], NUM_CLASSES: 2, BATCH_SIZE_PER_IMAGE: 16}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 4}
DATASETS: {TRAIN: \"('coco_2017_val',)\", TEST: \"('coco_2017_val',)\"}
DATALOADER: {NUM_WORKERS: 0}
INPUT: {MIN_SIZE_TRAIN: \"(64, 72)\", MIN_SIZE_TEST: 64, CROP: {ENABLED: True}}
SOLVER:
  IMS_PER_BATCH: 2
  BASE_LR: 0.01
  STEPS: (2,)
  MAX_ITER: 3
  WARMUP_ITERS: 1
  CHECKPOINT_PERIOD: 3
  CLIP_GRADIENTS: {ENABLED: True, CLIP_TYPE: norm}
TEST: {EVAL_PERIOD: 3}
SEED: 5
";

/// Detectron2's own configs train, are tested, and say what of them is not done here.
#[test]
fn a_detectron2_yaml_trains() {
    let scratch = Scratch::new("detectron2", 4);
    let coco = scratch.path("data/coco");
    std::fs::create_dir_all(coco.join("annotations")).unwrap();
    std::fs::rename(scratch.path("img"), coco.join("val2017")).unwrap();
    let objects = std::fs::read_to_string(scratch.path("ann.json")).unwrap();
    let objects = objects
        .replace("\"light\"", "\"person\"")
        .replace("\"dark\"", "\"bicycle\"");
    std::fs::write(coco.join("annotations/instances_val2017.json"), objects).unwrap();
    let yaml = scratch.path("small.yaml").display().to_string();
    std::fs::write(&yaml, YAML).unwrap();
    let run = |args: &[&str]| run(args, &scratch.path("data"));
    let work = scratch.path("work").display().to_string();
    let (good, said) = run(&["train", &yaml, "--opts", "OUTPUT_DIR", &work]);
    assert!(
        good && said.contains("loss_rpn_loc") && said.contains("bbox_mAP"),
        "{said}"
    );
    let checkpoint = format!("{work}/iter_3.pth");
    let (good, said) = run(&["test", &yaml, &checkpoint]);
    assert!(good && said.contains("coco/bbox_mAP_50"), "{said}");
    let on = scratch.path("on").display().to_string();
    let weights = ["--opts", "OUTPUT_DIR", &on, "MODEL.WEIGHTS", &checkpoint];
    let (good, said) = run(&[&["train", &yaml, "--plan"][..], &weights].concat());
    assert!(good && !said.contains("not all of the model"), "{said}");
    assert!(
        said.contains("each parameter's gradient to a norm of 1"),
        "{said}"
    );
    for (name, value, words) in [
        (
            "SOLVER.LR_SCHEDULER_NAME",
            "PolyLR",
            "`PolyLR` is not supported",
        ),
        (
            "DATALOADER.SAMPLER_TRAIN",
            "RepeatFactorTrainingSampler",
            "known are TrainingSampler",
        ),
        (
            "DATASETS.TRAIN",
            "('mine',)",
            "`mine` is none of Detectron2's own data sets",
        ),
        (
            "TEST.AUG.ENABLED",
            "True",
            "test-time augmentation is not supported",
        ),
        ("SOLVER.REFERENCE_WORLD_SIZE", "8", "a number of GPUs"),
    ] {
        let (good, said) = run(&["train", &yaml, "--opts", name, value]);
        assert!(!good && said.contains(words), "{name}: {said}");
    }
}
