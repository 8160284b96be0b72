//! An annotation file in PASCAL VOC's form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_fuzz::{DatasetConfig, dataset};

static CONFIG: DatasetConfig = DatasetConfig::new(
    "dataset = dict(type='VOCDataset', ann_file='list.txt', data_prefix=dict(sub_data_root='VOC2007/'), \
    metainfo=dict(classes=('cat', 'dog')), filter_cfg=dict(filter_empty_gt=True, min_size=2, bbox_min_size=2), \
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')])",
);

fuzz_target!(|bytes: &[u8]| dataset(&CONFIG, bytes));
