//! The text of a recipe's config.

use std::path::Path;

use smalti::config::text::string;

use super::{Data, Parts, Recipe};

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
pub(super) fn text(recipe: &Recipe, data: &Data) -> String {
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
