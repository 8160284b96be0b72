//! `WIDERFaceDataset` of mmdet 3.3 (datasets/wider_face.py): VOC's form with coordinates from 0; pictures lie in the folder that the file names.

use super::base::Setup;
use super::class_names::WIDER_FACE;
use super::paths::join;
use super::xml_style::{Places, RULES, Rules, build_with};
use super::{Built, Source};

/// `WIDERFaceDataset`.
pub(super) fn build(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: WIDER_FACE,
        from_one: false,
        places,
        ..RULES
    };
    build_with(source, &rules)
}

fn places(setup: &Setup) -> Places {
    let pictures = setup.pictures();
    Places {
        annotations: join(&pictures, "Annotations"),
        pictures,
        named_folder: true,
    }
}
