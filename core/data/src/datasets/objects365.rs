//! `Objects365V1Dataset` and `Objects365V2Dataset` of mmdet 3.3 (datasets/objects365.py). Where the config gives no classes they are the file's:
//! MMDetection lists them in its source.

use std::borrow::Cow;

use super::coco::{RULES, Rules, build_with};
use super::coco_file::Image;
use super::{Built, Source};

/// Pictures of version 2 that its annotation files list and its archives lack.
const MISSING: [&str; 3] = [
    "patch16/objects365_v2_00908726.jpg",
    "patch6/objects365_v1_00320532.jpg",
    "patch6/objects365_v1_00320534.jpg",
];

/// `Objects365V1Dataset`: labels in the order of category ids, which its files do not keep.
pub(super) fn build_v1(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: &[],
        by_id: true,
        ..RULES
    };
    build_with(source, &rules)
}

/// `Objects365V2Dataset`.
pub(super) fn build_v2(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: &[],
        file_name: patch_and_name,
        ..RULES
    };
    build_with(source, &rules)
}

/// The last two parts of the path.
fn patch_and_name(image: &Image) -> Option<Cow<'_, str>> {
    let name = image.file_name.as_deref()?;
    let start = name.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    let name = &name[start..];
    (!MISSING.contains(&name)).then_some(Cow::Borrowed(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_parts() {
        let image = |name: &str| Image {
            file_name: Some(name.into()),
            ..Image::default()
        };
        let long = image("images/v1/patch8/objects365_v1_00420917.jpg");
        assert_eq!(
            patch_and_name(&long).unwrap(),
            "patch8/objects365_v1_00420917.jpg"
        );
        assert_eq!(patch_and_name(&image("a.jpg")).unwrap(), "a.jpg");
        assert_eq!(
            patch_and_name(&image(&format!("images/{}", MISSING[0]))),
            None
        );
    }
}
