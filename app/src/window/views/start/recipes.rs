//! New configs: what is on MMDetection's how-to page, with the user's own data set and classes filled in.

use std::path::{Path, PathBuf};

use eframe::egui::{Grid, RichText, TextEdit, Ui, vec2};

use serde::Deserialize;
use smalti::config::text::string;

use crate::window::frame::is_narrow;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::session::Session;
use crate::window::tokens::Tokens;
use crate::window::widgets;

/// A recipe.
#[derive(Debug)]
pub struct Recipe {
    /// What it is called.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub what: &'static str,
    /// The file's name.
    file: &'static str,
    /// The text, from the data set on.
    parts: Parts,
}

#[derive(Clone, Copy, Debug)]
struct Parts {
    backbone: &'static str,
    channels: &'static str,
    start_level: usize,
    imports: bool,
    mosaic: bool,
    unfreeze: bool,
    detectron2: bool,
}

const RESNET: Parts = Parts {
    backbone: "dict(type='ResNet', depth=50, frozen_stages=1, norm_eval=True, style='pytorch')",
    channels: "[256, 512, 1024, 2048]",
    start_level: 1,
    imports: false,
    mosaic: false,
    unfreeze: false,
    detectron2: false,
};
const MOBILENET: Parts = Parts {
    backbone: "dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11))",
    channels: "[24, 48, 96]",
    start_level: 0,
    imports: true,
    ..RESNET
};

/// All recipes.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "MobileNetV3-small in RetinaNet",
        what: "A small backbone of MMPretrain in a detector of MMDetection. The quickest to train.",
        file: "retinanet_mobilenetv3-small.py",
        parts: MOBILENET,
    },
    Recipe {
        name: "EfficientNet-B1 in RetinaNet",
        what: "A backbone of timm, through MMPretrain's wrapper.",
        file: "retinanet_efficientnet-b1.py",
        parts: Parts {
            backbone: "dict(\n        type='mmpretrain.TIMMBackbone', model_name='efficientnet_b1', features_only=True, pretrained=True, out_indices=(1, 2, 3, 4))",
            channels: "[24, 40, 112, 320]",
            start_level: 1,
            imports: true,
            ..RESNET
        },
    },
    Recipe {
        name: "RetinaNet with Mosaic",
        what: "Four pictures become one: MultiImageMixDataset around the data set, Mosaic and RandomAffine.",
        file: "retinanet_mosaic.py",
        parts: Parts {
            mosaic: true,
            ..MOBILENET
        },
    },
    Recipe {
        name: "Freeze the backbone, then unfreeze it",
        what: "The head learns alone in the first epoch, then all of the model.",
        file: "retinanet_unfreeze.py",
        parts: Parts {
            unfreeze: true,
            ..MOBILENET
        },
    },
    Recipe {
        name: "Detectron2's RetinaNet",
        what: "Detectron2's model with Detectron2's weights, trained as MMDetection trains.",
        file: "retinanet_detectron2.py",
        parts: Parts {
            detectron2: true,
            ..RESNET
        },
    },
];

/// What is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Folder of pictures for training.
    pub pictures: String,
    /// Annotations for training, COCO's form.
    pub annotations: String,
    /// Folder of pictures for validation.
    pub val_pictures: String,
    /// Annotations for validation.
    pub val_annotations: String,
    /// Names of the classes, with commas.
    pub classes: String,
}

/// Of the form's fields.
const WIDTH: f32 = 360.0;
/// What the button beside a field takes.
const CHOOSE: f32 = 96.0;

/// The form.
#[derive(Default)]
pub struct Recipes {
    chosen: usize,
    data: Data,
    asking: Option<(Field, Job<Vec<PathBuf>>)>,
    reading: Option<Job<Result<Vec<String>, String>>>,
    failed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Pictures,
    Annotations,
    ValPictures,
    ValAnnotations,
}

const FIELDS: [(Field, &str); 4] = [
    (Field::Annotations, "Annotations (COCO .json)"),
    (Field::Pictures, "Folder of pictures"),
    (Field::ValAnnotations, "Annotations for validation"),
    (Field::ValPictures, "Pictures for validation"),
];

impl Recipes {
    /// Shows the form.
    pub fn show(&mut self, ui: &mut Ui, session: &mut Session, jobs: &mut Jobs) {
        self.take(session, jobs);
        let tokens = Tokens::of(ui);
        ui.heading("New config from a recipe");
        // as it was before this frame: else there would be two for one frame, and all below would jump
        let shown = self.chosen;
        for (i, recipe) in RECIPES.iter().enumerate() {
            ui.radio_value(&mut self.chosen, i, recipe.name);
            if shown == i {
                ui.label(RichText::new(recipe.what).color(tokens.soft));
            }
        }
        ui.add_space(8.0);
        if is_narrow(ui) {
            let width = (ui.available_width() - CHOOSE).min(WIDTH);
            for (field, label) in FIELDS {
                ui.label(label);
                ui.horizontal(|ui| self.field(ui, session, jobs, (field, label), width));
            }
            ui.label("Classes");
            self.classes(ui, width);
        } else {
            Grid::new("data set").num_columns(3).show(ui, |ui| {
                for (field, label) in FIELDS {
                    ui.label(label);
                    self.field(ui, session, jobs, (field, label), WIDTH);
                    ui.end_row();
                }
                ui.label("Classes");
                self.classes(ui, WIDTH);
                ui.end_row();
            });
        }
        if let Some(why) = &self.failed {
            ui.label(RichText::new(why).color(tokens.error));
        }
        ui.add_space(8.0);
        if widgets::button(ui, "Make the config").clicked() {
            let recipe = &RECIPES[self.chosen];
            session.create(recipe.file, &text(recipe, &self.data));
        }
    }

    fn field(
        &mut self,
        ui: &mut Ui,
        session: &mut Session,
        jobs: &mut Jobs,
        (field, label): (Field, &'static str),
        width: f32,
    ) {
        let text = self.data.field(field);
        let edit = ui.add(
            TextEdit::singleline(text)
                .desired_width(width)
                .min_size(vec2(width, 0.0))
                .hint_text("may stay empty for now"),
        );
        widgets::name(&edit, label);
        let (read, path) = (
            field == Field::Annotations && edit.lost_focus() && !text.is_empty(),
            PathBuf::from(text.as_str()),
        );
        if read {
            self.read(session, jobs, path);
        }
        if ui.button("Choose...").clicked() {
            let host = session.host.clone();
            let is_folder = matches!(field, Field::Pictures | Field::ValPictures);
            let question = if is_folder {
                Question::Folder(label)
            } else {
                Question::Files(label)
            };
            self.asking = Some((field, jobs.asking(async move |_| host.ask(&question).await)));
        }
    }

    fn classes(&mut self, ui: &mut Ui, width: f32) {
        let edit = ui.add(
            TextEdit::singleline(&mut self.data.classes)
                .desired_width(width)
                .min_size(vec2(width, 0.0))
                .hint_text("cat, dog: from the annotations if they are read"),
        );
        widgets::name(&edit, "Classes");
    }

    fn take(&mut self, session: &mut Session, jobs: &mut Jobs) {
        if let Some(answer) = self.asking.as_ref().and_then(|(_, job)| job.poll()) {
            let field = self.asking.take().map(|(field, _)| field);
            let path = answer.ok().and_then(|paths| paths.into_iter().next());
            if let (Some(field), Some(path)) = (field, path) {
                *self.data.field(field) = path.display().to_string();
                if field == Field::Annotations {
                    self.read(session, jobs, path);
                }
            }
        }
        if let Some(classes) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            match classes.and_then(|c| c) {
                Ok(classes) => {
                    self.data.classes = classes.join(", ");
                    self.failed = None;
                }
                Err(why) => self.failed = Some(why),
            }
        }
    }

    /// Names of the classes, from an annotation file.
    fn read(&mut self, session: &Session, jobs: &mut Jobs, path: PathBuf) {
        let host = session.host.clone();
        self.reading = Some(jobs.start("reading the classes", move |_| {
            let bytes = host
                .read(&path)
                .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
            categories(&bytes)
                .map_err(|e| format!("{} has no classes in COCO's form: {e}", path.display()))
        }));
    }
}

#[derive(Deserialize)]
struct Annotations {
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

fn categories(bytes: &[u8]) -> Result<Vec<String>, String> {
    let file: Annotations = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(file.categories.into_iter().map(|c| c.name).collect())
}

impl Data {
    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Pictures => &mut self.pictures,
            Field::Annotations => &mut self.annotations,
            Field::ValPictures => &mut self.val_pictures,
            Field::ValAnnotations => &mut self.val_annotations,
        }
    }

    fn names(&self) -> Vec<&str> {
        let names: Vec<&str> = self
            .classes
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect();
        if names.is_empty() {
            vec!["object"]
        } else {
            names
        }
    }
}

/// A path as a config writes it.
fn path(given: &str, otherwise: &str) -> String {
    let given = if given.trim().is_empty() {
        otherwise
    } else {
        given.trim()
    };
    string(&crate::window::document::key(Path::new(given)))
}

/// The config's text.
pub fn text(recipe: &Recipe, data: &Data) -> String {
    let parts = recipe.parts;
    let names = data.names();
    let classes: String = names.iter().map(|n| format!("{}, ", string(n))).collect();
    let classes = if names.len() == 1 {
        format!("({})", classes.trim_end())
    } else {
        format!("({})", classes.trim_end_matches(", "))
    };
    let imports = if parts.imports {
        "custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)\n"
    } else {
        ""
    };
    let (ann, img) = (
        path(&data.annotations, "data/train.json"),
        path(&data.pictures, "data/train"),
    );
    let (val_ann, val_img) = (
        path(&data.val_annotations, "data/val.json"),
        path(&data.val_pictures, "data/val"),
    );
    let model = if parts.detectron2 {
        detectron2(names.len())
    } else {
        retinanet(&parts, names.len())
    };
    let (pipeline, dataset) = train_data(&parts);
    let hooks = if parts.unfreeze {
        "# From epoch 1 on (the second) the backbone learns too.\ncustom_hooks = [dict(type='UnfreezeBackboneEpochBasedHook', unfreeze_epoch=1)]\n"
    } else {
        ""
    };
    format!(
        "# {name}. {what}
default_scope = 'mmdet'
{imports}
# The data set.
metainfo = dict(classes={classes})
train_ann, train_img = {ann}, {img}
val_ann, val_img = {val_ann}, {val_img}
img_scale = (640, 640)

{model}
{pipeline}
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={dataset})
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        ann_file=val_ann,
        data_prefix=dict(img=val_img),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=val_ann, metric='bbox')
test_evaluator = val_evaluator

# The training.
max_epochs = 24
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0005, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=25),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
{hooks}",
        name = recipe.name,
        what = recipe.what,
    )
}

fn retinanet(parts: &Parts, classes: usize) -> String {
    let Parts {
        channels,
        start_level,
        ..
    } = parts;
    let backbone = match parts.unfreeze {
        true => {
            "dict(type='mmpretrain.MobileNetV3', arch='small', out_indices=(3, 8, 11), frozen_stages=12, norm_eval=False)"
        }
        false => parts.backbone,
    };
    format!(
        "# The detector. `in_channels` are those that the backbone gives.
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone={backbone},
    neck=dict(
        type='FPN',
        in_channels={channels},
        out_channels=128,
        start_level={start_level},
        add_extra_convs='on_input',
        num_outs=5),
    bbox_head=dict(
        type='RetinaHead',
        num_classes={classes},
        in_channels=128,
        stacked_convs=4,
        feat_channels=128,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
"
    )
}

fn detectron2(classes: usize) -> String {
    format!(
        "# The detector, as Detectron2 builds it; weights of its model zoo go into it as they are.
model = dict(
    type='Detectron2Wrapper',
    bgr_to_rgb=False,
    detector=dict(
        meta_architecture='RetinaNet',
        mask_on=False,
        pixel_mean=[103.530, 116.280, 123.675],
        pixel_std=[1.0, 1.0, 1.0],
        backbone=dict(name='build_retinanet_resnet_fpn_backbone', freeze_at=2),
        resnets=dict(depth=50, out_features=['res3', 'res4', 'res5'], num_groups=1, norm='FrozenBN'),
        fpn=dict(in_features=['res3', 'res4', 'res5'], out_channels=256),
        anchor_generator=dict(
            name='DefaultAnchorGenerator',
            sizes=[[x, x * 2**(1.0 / 3), x * 2**(2.0 / 3)] for x in [32, 64, 128, 256, 512]],
            aspect_ratios=[[0.5, 1.0, 2.0]],
            angles=[[-90, 0, 90]]),
        retinanet=dict(
            num_classes={classes},
            in_features=['p3', 'p4', 'p5', 'p6', 'p7'],
            num_convs=4,
            iou_thresholds=[0.4, 0.5],
            iou_labels=[0, -1, 1],
            bbox_reg_weights=(1.0, 1.0, 1.0, 1.0),
            bbox_reg_loss_type='smooth_l1',
            smooth_l1_loss_beta=0.0,
            focal_loss_gamma=2.0,
            focal_loss_alpha=0.25,
            prior_prob=0.01,
            score_thresh_test=0.05,
            topk_candidates_test=1000,
            nms_thresh_test=0.5)))
"
    )
}

fn train_data(parts: &Parts) -> (&'static str, &'static str) {
    if parts.mosaic {
        return (
            "# What is done to one picture before it is mixed ...
load_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
]
# ... and what is done to four: a canvas of twice the size, of which a part is shown in the size that the model takes.
train_pipeline = [
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-img_scale[0] // 2, -img_scale[1] // 2)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]",
            "dict(
        type='MultiImageMixDataset',
        dataset=dict(
            type='CocoDataset',
            metainfo=metainfo,
            ann_file=train_ann,
            data_prefix=dict(img=train_img),
            filter_cfg=dict(filter_empty_gt=False, min_size=32),
            pipeline=load_pipeline),
        pipeline=train_pipeline)",
        );
    }
    (
        "train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='PackDetInputs'),
]",
        "dict(
        type='CocoDataset',
        metainfo=metainfo,
        ann_file=train_ann,
        data_prefix=dict(img=train_img),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti::config::{Config, MapLoader, Severity};

    #[test]
    fn every_recipe_is_a_config_that_is_right() {
        for classes in ["", "cat, it's a \"dog\", é"] {
            let data = Data {
                classes: classes.into(),
                annotations: "/a/b c.json".into(),
                ..Data::default()
            };
            for recipe in RECIPES {
                let text = text(recipe, &data);
                let config = Config::parse(&text, recipe.file, &MapLoader::default())
                    .unwrap_or_else(|e| panic!("{}\n{e}", recipe.name));
                let found = smalti::model::check(&config, &smalti::registry());
                assert!(
                    found.is_empty(),
                    "{}\n{}",
                    recipe.name,
                    config.errors(found)
                );
                let count = config
                    .at("metainfo.classes")
                    .and_then(|c| c.as_items())
                    .map(<[_]>::len);
                assert_eq!(count, Some(data.names().len()));
                // what is not there is the data, nothing else
                let wrong = crate::check::check(&config, &smalti::host::disk::Disk::new());
                let wrong: Vec<_> = wrong
                    .iter()
                    .filter(|d| d.severity == Severity::Error)
                    .collect();
                assert!(
                    wrong
                        .iter()
                        .all(|d| d.message.contains("there is no such file")),
                    "{}\n{wrong:?}",
                    recipe.name
                );
            }
        }
    }

    #[test]
    fn classes_come_from_annotations() {
        assert_eq!(
            categories(br#"{"images": [1, {}], "categories": [{"id": 3, "name": "a"}]}"#).unwrap(),
            ["a"]
        );
        assert!(categories(b"{}").is_err());
    }
}
