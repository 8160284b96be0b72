//! `DeepFashionDataset` of mmdet 3.3 (datasets/deepfashion.py): COCO's form with other classes.

use super::class_names::DEEP_FASHION;
use super::coco::{RULES, Rules, build_with};
use super::{Built, Source};

/// `DeepFashionDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: DEEP_FASHION,
        ..RULES
    };
    build_with(source, &rules)
}
