//! `CityscapesDataset` of mmdet 3.3 (datasets/cityscapes.py): COCO's form; `filter_empty_gt` also leaves out pictures that have crowds only.

use super::class_names::CITYSCAPES;
use super::coco::{RULES, Rules, build_with};
use super::{Built, Source};

/// `CityscapesDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: CITYSCAPES,
        crowds_are_empty: true,
        ..RULES
    };
    build_with(source, &rules)
}
