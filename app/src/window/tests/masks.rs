//! Masks: drawn over the picture, filtered by the threshold as their boxes are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::Key;
use egui_kittest::kittest::{NodeT, Queryable};
use smalti::config::Config;
use smalti::host::config_files::ConfigFiles;
use smalti::host::disk::Disk;
use smalti::train::{Ended, Trainer};

use super::squares::squares;
use super::{Driven, Folder, USUAL};

/// A small Mask R-CNN, trained for some steps on squares: how well does not matter.
fn mask_rcnn(folder: &Folder) -> (PathBuf, PathBuf) {
    let coder = "bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])";
    let extractor = |side: usize| {
        format!(
            "dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size={side}, sampling_ratio=0), \
             out_channels=16, featmap_strides=[4, 8, 16])"
        )
    };
    let assigner = |pos: f32, neg: f32| {
        format!(
            "assigner=dict(type='MaxIoUAssigner', pos_iou_thr={pos}, neg_iou_thr={neg}, min_pos_iou={neg}, ignore_iof_thr=-1), \
             sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5), pos_weight=-1"
        )
    };
    let proposals =
        "nms_pre=100, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0";
    let (box_regions, mask_regions) = (extractor(7), extractor(14));
    let (rpn, rcnn) = (assigner(0.7, 0.3), assigner(0.5, 0.5));
    let more = format!(
        "
model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_mask=True,
        pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32]), {coder},
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='StandardRoIHead', bbox_roi_extractor={box_regions},
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=7, num_classes=2, {coder},
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False), loss_bbox=dict(type='L1Loss')),
        mask_roi_extractor={mask_regions},
        mask_head=dict(
            type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=2,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True))),
    train_cfg=dict(
        rpn=dict({rpn}, allowed_border=-1), rpn_proposal=dict({proposals}), rcnn=dict({rcnn}, mask_size=28)),
    test_cfg=dict(
        rpn=dict({proposals}),
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, mask_thr_binary=0.5)))
train_dataloader['dataset']['pipeline'] = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True), dict(type='PackDetInputs')]
"
    );
    let config = squares(&folder.0, 2, &more);
    let text = std::fs::read_to_string(&config).unwrap();
    let name = config.display().to_string();
    let read = Config::parse(&text, &name, &ConfigFiles::new()).unwrap();
    let work = folder.0.join("work");
    let trainer = Trainer::builder(&read, Arc::new(Disk::new()))
        .work_dir(&work)
        .build();
    assert_eq!(trainer.unwrap().train().unwrap(), Ended::Done);
    (config, work.join("epoch_2.pth"))
}

fn rows(app: &Driven<'_>) -> Vec<String> {
    let all = app.harness.query_all_by_label_contains(" px");
    all.filter_map(|node| node.accesskit_node().label())
        .filter(|label| label.starts_with("box "))
        .collect()
}

/// Presses a key so often on the threshold.
fn move_threshold(app: &mut Driven<'_>, key: Key) {
    app.harness.get_by_label("Score threshold").focus();
    app.settle();
    (0..100).for_each(|_| app.harness.key_press(key));
    app.settle();
}

fn open(app: &mut Driven<'_>, path: &Path) {
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, path);
    app.settle();
}

#[test]
fn masks_lie_over_the_picture_and_go_with_their_boxes() {
    let folder = Folder::new();
    let (config, weights) = mask_rcnn(&folder);
    let picture = folder.0.join("img/0.png");
    let mut app = Driven::open(&folder.0, &[config, picture], USUAL);
    // the run that made the weights is known from the config
    let named = format!("Use {}", weights.file_name().unwrap().display());
    app.harness.get_by_label(&named).click();
    app.settle();
    assert!(app.harness.query_by_label(&named).is_none());
    move_threshold(&mut app, Key::ArrowLeft);
    let all = rows(&app);
    assert!(!all.is_empty(), "nothing is found");
    let masked = app.picture("detect_masks");
    app.harness.get_by_label(&all[0]).hover();
    app.settle();
    let lit = app.picture("detect_masks_lit");
    assert!(differing(&masked, &lit) > 50, "a box lights up");
    move_threshold(&mut app, Key::ArrowRight);
    assert!(rows(&app).is_empty());
    let bare = app.picture("detect_masks_none");
    // boxes and captions of ten are lines; masks are areas
    let changed = differing(&masked, &bare);
    assert!(changed > 20_000, "{changed} pixels");
    open(&mut app, &weights);
    assert!(app.harness.unnamed_widgets().is_empty());
}

fn differing(a: &super::Picture, b: &super::Picture) -> usize {
    let pixels = a.rgba.chunks(4).zip(b.rgba.chunks(4));
    pixels.filter(|(a, b)| a != b).count()
}
