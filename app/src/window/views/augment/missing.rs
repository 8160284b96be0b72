//! The train data is not where the config says: one chooses its folder, and the config says that one from then on.

use std::path::{Path, PathBuf};

use smalti::config::{Config, Node};

use super::opened::{Missing, below};
use crate::window::host::Host;

/// Where an annotation file lies below a folder that was chosen: as the config names it, by its name alone, or beside `annotations`.
pub fn found(host: &dyn Host, folder: &Path, ann_file: &str) -> Option<(PathBuf, String)> {
    let name = ann_file.rsplit(['/', '\\']).next().unwrap_or(ann_file);
    let is_there = |(root, file): &(PathBuf, String)| host.head(&root.join(file), 1).is_some();
    let mut candidates = vec![
        (folder.to_owned(), ann_file.to_owned()),
        (folder.to_owned(), name.to_owned()),
        (folder.to_owned(), format!("annotations/{name}")),
    ];
    if let Some(above) = folder.parent() {
        candidates.push((above.to_owned(), ann_file.to_owned()));
    }
    candidates.into_iter().find(is_there)
}

/// What the config is to say so that the data of `folder` is read: places and values.
pub fn edits(
    config: &Config,
    source: &str,
    missing: &Missing,
    (root, file): &(PathBuf, String),
) -> Vec<(String, String)> {
    let dataset = match missing.dataset.as_str() {
        "" => source.to_owned(),
        inner => format!("{source}.{inner}"),
    };
    let said = |key: &str| {
        config
            .at(&format!("{dataset}.{key}"))
            .and_then(Node::as_str)
    };
    let python = |text: &str| smalti::config::text::string(text);
    let root = crate::window::document::key(root);
    let mut edits = Vec::new();
    if said("data_root").is_some() {
        edits.push((format!("{dataset}.data_root"), python(&format!("{root}/"))));
        if *file != missing.ann_file {
            edits.push((format!("{dataset}.ann_file"), python(file)));
        }
    } else {
        edits.push((format!("{dataset}.ann_file"), python(&below(&root, file))));
        if let Some(prefix) = said("data_prefix.img") {
            let prefix = python(&below(&root, prefix));
            edits.push((format!("{dataset}.data_prefix.img"), prefix));
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use smalti::config::MapLoader;

    use super::*;

    #[test]
    fn the_root_is_said_anew_where_it_is_said() {
        let text = "train_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(data_root='x/', ann_file='a/b.json')))";
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        let missing = Missing {
            file: "x/a/b.json".into(),
            ann_file: "a/b.json".into(),
            dataset: "dataset".into(),
        };
        let edits = |file: &str| {
            let found = (PathBuf::from("/d"), file.to_owned());
            edits(&config, "train_dataloader.dataset", &missing, &found)
        };
        let root = (
            "train_dataloader.dataset.dataset.data_root".to_owned(),
            "'/d/'".to_owned(),
        );
        assert_eq!(edits("a/b.json"), std::slice::from_ref(&root));
        let file = (
            "train_dataloader.dataset.dataset.ann_file".to_owned(),
            "'b.json'".to_owned(),
        );
        assert_eq!(edits("b.json"), [root, file]);
    }
}
