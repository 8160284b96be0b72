//! A COCO annotation file, as a data set with masks and as a list of ids.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_fuzz::{DatasetConfig, dataset};

static CONFIG: DatasetConfig = DatasetConfig::new(
    "dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i/'), metainfo=dict(classes=('cat', 'dog')), \
    filter_cfg=dict(filter_empty_gt=True, min_size=2), pipeline=[dict(type='LoadImageFromFile'), \
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True), dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')])",
);

fuzz_target!(|bytes: &[u8]| {
    dataset(&CONFIG, bytes);
    if let Ok(ids) = smalti_data::datasets::read_ids("a.json", bytes) {
        drop((ids.image("1.jpg").cloned(), ids.category("cat").is_ok()));
        drop((ids.warnings().to_vec(), ids.categories().to_vec()));
    }
});
