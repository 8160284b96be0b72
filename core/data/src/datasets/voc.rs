//! `VOCDataset` of mmdet 3.3 (datasets/voc.py): PASCAL VOC. `VOC2007` or `VOC2012` in `sub_data_root` is its `dataset_type`, which tells the
//! metric how to count.

use super::class_names::VOC;
use super::xml_style::{RULES, Rules, build_with};
use super::{Built, Source};

/// `VOCDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: VOC,
        years: true,
        ..RULES
    };
    build_with(source, &rules)
}
