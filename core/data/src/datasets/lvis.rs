//! `LVISV05Dataset`, `LVISDataset` (the same) and `LVISV1Dataset` of mmdet 3.3 (datasets/lvis.py): COCO's form with a label for every category
//! of the file. Where the config gives no classes they are the file's: MMDetection lists them in its source.

use std::borrow::Cow;

use super::coco::{RULES, Rules, build_with, file_name};
use super::coco_file::Image;
use super::{Built, Source};

/// `LVISV05Dataset`.
pub(super) fn build_v05(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: &[],
        all_categories: true,
        file_name: name_of_2017,
        ..RULES
    };
    build_with(source, &rules)
}

/// `LVISV1Dataset`.
pub(super) fn build_v1(source: &Source<'_>) -> Built {
    let rules = Rules {
        classes: &[],
        all_categories: true,
        urls: true,
        file_name: name_of_url,
        ..RULES
    };
    build_with(source, &rules)
}

/// COCO 2014's `COCO_val2014_000000000009.jpg` is 2017's `000000000009.jpg`.
fn name_of_2017(image: &Image) -> Option<Cow<'_, str>> {
    let name = image.file_name.as_deref()?;
    let short = name.char_indices().rev().nth(15).map(|(at, _)| &name[at..]);
    let cut = short.filter(|_| name.starts_with("COCO"));
    Some(Cow::Borrowed(cut.unwrap_or(name)))
}

/// `http://images.cocodataset.org/train2017/000000391895.jpg`: the folder is part of the name.
fn name_of_url(image: &Image) -> Option<Cow<'_, str>> {
    match image.coco_url.as_deref() {
        Some(url) => Some(Cow::Owned(
            url.replace("http://images.cocodataset.org/", ""),
        )),
        None => file_name(image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        let image = |name: &str, url: Option<&str>| Image {
            file_name: Some(name.into()),
            coco_url: url.map(Into::into),
            ..Image::default()
        };
        let old = image("COCO_val2014_000000000009.jpg", None);
        assert_eq!(name_of_2017(&old).unwrap(), "000000000009.jpg");
        assert_eq!(name_of_2017(&image("a/b.jpg", None)).unwrap(), "a/b.jpg");
        assert_eq!(name_of_2017(&image("COCO.jpg", None)).unwrap(), "COCO.jpg");
        let url = Some("http://images.cocodataset.org/val2017/1.jpg");
        assert_eq!(name_of_url(&image("x", url)).unwrap(), "val2017/1.jpg");
        assert_eq!(name_of_url(&image("x", None)).unwrap(), "x");
    }
}
