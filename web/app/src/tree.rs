//! [`Tree`]: the files that a page has, in its memory: what was dropped or chosen, what was saved, and what the demo and the sample bring.
//! Paths are relative, with `/` between their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use smalti::config::{LARGEST, LoadError, Loader, unreadable_text};
use smalti::data::files::Files;

/// Configs that are there from the beginning, by path.
pub const BUILT_IN: [(&str, &str); 2] = [
    (
        "retinanet_mobilenetv3-small_fpn_mosaic_digits.py",
        include_str!("../../../configs/demo/retinanet_mobilenetv3-small_fpn_mosaic_digits.py"),
    ),
    (
        "retinanet_mobilenetv3-small_fpn_digits.py",
        include_str!("../../../configs/demo/retinanet_mobilenetv3-small_fpn_digits.py"),
    ),
];

/// Bytes of all files: a module has 4 GB for everything.
const LARGEST_TREE: usize = 1 << 30;

/// Files by path.
#[derive(Default)]
pub struct Tree {
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    files: BTreeMap<String, Arc<[u8]>>,
    /// Of all.
    bytes: usize,
}

/// A path without what says nothing: `/a/./b/../c` is `a/c`.
pub fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Tree {
    /// A tree with the demo's configs.
    pub fn with_demo() -> Self {
        let tree = Self::default();
        for (path, text) in BUILT_IN {
            // they are small
            let _ = tree.put(path, text.as_bytes().to_vec());
        }
        tree
    }

    /// Puts a file there, in place of one that is.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), String> {
        let path = plain(path);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let before = held.files.get(&path).map_or(0, |file| file.len());
        let all = (held.bytes - before).saturating_add(bytes.len());
        if all > LARGEST_TREE {
            let most = LARGEST_TREE >> 20;
            return Err(format!(
                "a page holds {most} MB of files, and this is more. Open fewer, or use the desktop program"
            ));
        }
        held.bytes = all;
        held.files.insert(path, bytes.into());
        Ok(())
    }

    /// A file's content.
    pub fn get(&self, path: &str) -> Option<Arc<[u8]>> {
        let files = &self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .files;
        files.get(&plain(path)).cloned()
    }

    /// The first file of this name, in whatever folder.
    pub fn named(&self, name: &str) -> Option<Arc<[u8]>> {
        let files = &self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .files;
        let mut all = files.iter();
        let found = all.find(|(path, _)| path.rsplit('/').next() == Some(name));
        found.map(|(_, bytes)| bytes.clone())
    }

    /// Takes a file or a folder away.
    pub fn remove(&self, path: &str) {
        let (path, mut held) = (
            plain(path),
            self.held.write().unwrap_or_else(PoisonError::into_inner),
        );
        let Held { files, bytes } = &mut *held;
        files.retain(|name, file| {
            let gone = within(name, &path) || *name == path;
            *bytes -= if gone { file.len() } else { 0 };
            !gone
        });
    }

    /// Whether files lie in it.
    pub fn is_folder(&self, path: &str) -> bool {
        let path = plain(path);
        let files = &self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .files;
        path.is_empty() || files.keys().any(|file| within(file, &path))
    }

    /// Names in a folder, those of folders with a `/` at the end.
    pub fn list(&self, folder: &str) -> BTreeSet<String> {
        let files = &self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .files;
        names(files.keys().map(String::as_str), &plain(folder))
    }
}

/// Whether a path is in a folder.
fn within(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Names in a folder of these files.
pub fn names<'a>(files: impl Iterator<Item = &'a str>, folder: &str) -> BTreeSet<String> {
    let inside = files.filter_map(|file| match folder {
        "" => Some(file),
        _ => file.strip_prefix(folder)?.strip_prefix('/'),
    });
    let name = |rest: &str| match rest.split_once('/') {
        Some((folder, _)) => format!("{folder}/"),
        None => rest.to_owned(),
    };
    inside.map(name).collect()
}

/// The tree as configs are read from it.
pub struct TreeLoader(pub Arc<Tree>);

impl Loader for TreeLoader {
    fn read(&self, path: &str) -> Result<String, LoadError> {
        let bytes = self.0.get(path).ok_or(LoadError::NotFound)?;
        if bytes.len() > LARGEST {
            return Err(LoadError::TooLarge);
        }
        if let Some(found) = unreadable_text(&bytes) {
            return Err(LoadError::Unreadable(found));
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.strip_prefix('\u{FEFF}').unwrap_or(&text).to_owned())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        self.0.list(folder).into_iter().collect()
    }
}

impl Files for Tree {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.get(path).map(|bytes| bytes.to_vec());
        bytes.ok_or_else(|| NOT_THERE.to_owned())
    }
}

/// What to do about a file that the page has not.
pub const NOT_THERE: &str = "the page has no such file: drop it, or the folder that it is in, here";
