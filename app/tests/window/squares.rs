//! Something small to train on.

use std::path::{Path, PathBuf};

use serde_json::json;
use smalti::draw::Canvas;

const SIDE: usize = 64;

/// Eight pictures, each with a light square and a dark one on grey noise, and a config that trains a small detector on them.
pub fn squares(folder: &Path, epochs: usize, more: &str) -> PathBuf {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    std::fs::create_dir_all(folder.join("img")).unwrap();
    for k in 0..8 {
        let noise = |i: usize| 110 + ((i * 7919 + k * 104_729) % 31) as u8;
        let mut rgb: Vec<u8> = (0..SIDE * SIDE * 3).map(noise).collect();
        for label in 0..2 {
            let size = 20 + (k * 5 + label * 3) % 8;
            let x = 2 + (k * 11 + label * 34) % (SIDE - size - 2);
            let y = 2 + (k * 17 + label * 23) % (SIDE - size - 2);
            for row in y..y + size {
                let from = (row * SIDE + x) * 3;
                rgb[from..from + size * 3].fill([240, 10][label]);
            }
            annotations.push(json!({
                "id": annotations.len() + 1, "image_id": k, "category_id": label, "iscrowd": 0,
                "bbox": [x, y, size, size], "area": size * size,
                "segmentation": [[x, y, x + size, y, x + size, y + size, x, y + size]],
            }));
        }
        let png = Canvas::new(SIDE, SIDE, rgb).unwrap().png().unwrap();
        std::fs::write(folder.join(format!("img/{k}.png")), png).unwrap();
        images
            .push(json!({"id": k, "file_name": format!("{k}.png"), "width": SIDE, "height": SIDE}));
    }
    let categories = [
        json!({"id": 0, "name": "light"}),
        json!({"id": 1, "name": "dark"}),
    ];
    let all = json!({"images": images, "annotations": annotations, "categories": categories});
    std::fs::write(folder.join("ann.json"), all.to_string()).unwrap();
    let root = folder.display();
    let data = format!(
        "type='CocoDataset', data_root='{root}/', ann_file='ann.json', data_prefix=dict(img='img/'), \
         metainfo=dict(classes=('light', 'dark'))"
    );
    let config = folder.join("squares.py");
    std::fs::write(
        &config,
        format!(
            "work_dir = '{root}/work'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, frozen_stages=1),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, start_level=1, add_extra_convs='on_input', num_outs=3),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20))
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict({data}, pipeline=load + [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict({data}, test_mode=True, pipeline=load + [
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
val_evaluator = dict(type='CocoMetric', ann_file='{root}/ann.json', metric='bbox')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={epochs}, val_interval=2)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.05), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.1)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
{more}"
        ),
    )
    .unwrap();
    config
}
