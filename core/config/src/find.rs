//! Which file a base is: beside the file that names it, in another package, or a module that is imported; and the nearest
//! file where there is none.

use std::collections::HashMap;
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Kind};
use super::loader::{LoadError, folder, join};
use super::nearest::distance;
use super::resolve::{Loads, Resolver};
use super::source::Origin;
use super::value::Node;

/// Suggestions of a run; a config that lacks more of its bases lacks a folder.
const SUGGESTIONS: usize = 20;

/// What was seen of folders, each listed once.
pub(super) struct Folders {
    listed: HashMap<String, Rc<Vec<String>>>,
    /// How many files may still be suggested.
    left: usize,
}

impl Default for Folders {
    fn default() -> Self {
        let listed = HashMap::new();
        let left = SUGGESTIONS;
        Self { listed, left }
    }
}

impl Resolver<'_> {
    fn list(&mut self, folder: &str) -> Rc<Vec<String>> {
        if let Some(names) = self.seen.listed.get(folder) {
            return names.clone();
        }
        let names = Rc::new(self.loader.list(folder));
        self.seen.listed.insert(folder.to_owned(), names.clone());
        names
    }

    /// The existing config file nearest to `path`, looked for around it and around `from`; for the first few that are asked for.
    pub(super) fn nearest_file(&mut self, from: &str, path: &str) -> Option<String> {
        self.seen.left = self.seen.left.checked_sub(1)?;
        let wanted = path.rsplit('/').next().unwrap_or(path);
        let stem = wanted.strip_suffix(".py").unwrap_or(wanted);
        // Around the wrong path first, then from the root of the configs down.
        let mut root = from.to_owned();
        for _ in 0..3 {
            if self.list(&root).iter().any(|n| n == "_base_/") || root.is_empty() || root == "/" {
                break;
            }
            root = folder(&root).to_owned();
        }
        let mut folders = vec![
            (folder(path).to_owned(), 0),
            (from.to_owned(), 0),
            (root, 3),
        ];
        let mut best: Option<((usize, usize, String), String)> = None;
        let mut seen = 0;
        while let Some((current, depth)) = folders.pop() {
            for name in self.list(&current).iter() {
                seen += 1;
                let whole = join(&current, name);
                if let Some(inner) = name.strip_suffix('/') {
                    if depth > 0 && seen < 20_000 {
                        folders.push((join(&current, inner), depth - 1));
                    }
                    continue;
                }
                let Some(name) = name.strip_suffix(".py").or_else(|| strip_data(name)) else {
                    continue;
                };
                if stem.len().abs_diff(name.len()) > stem.len() / 3 + 1 {
                    continue;
                }
                let apart = distance(stem, name);
                if apart > stem.len() / 3 + 1 {
                    continue;
                }
                // Equally near names: the one whose folder is nearer to the wrong one.
                let rank = (apart, distance(folder(path), &current), whole.clone());
                if best.as_ref().is_none_or(|(b, _)| rank < *b) {
                    best = Some((rank, whole));
                }
            }
        }
        best.map(|(_, path)| path)
    }

    /// The path and scope of an entry of `_base_`.
    pub(super) fn find_base(&mut self, name: &Node) -> Loads<(String, Option<String>)> {
        let by = &name.origin;
        let error = |message: String| Diagnostic::error(message).kind(Kind::File).at(by, "");
        let Some(text) = name.as_str() else {
            let message = format!("an entry of `_base_` is a path, not a {}", name.type_name());
            return Err(vec![error(message)]);
        };
        let Some((package, path)) = text.split_once("::") else {
            let path = join(folder(by.file()), text);
            // Written on Windows, where a `\` is a `/`.
            if text.contains('\\') && self.loader.read(&path) == Err(LoadError::NotFound) {
                return Ok((join(folder(by.file()), &text.replace('\\', "/")), None));
            }
            return Ok((path, None));
        };
        if path.is_empty() || path.contains("::") || package.is_empty() || package.contains('/') {
            let help = "write `package::folder/file.py`, as in `mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py`";
            return Err(vec![
                error(format!("`{text}` names no config of a package")).help(help),
            ]);
        }
        // MMEngine asks the package's metafile first; its names end in `.py` where the name asked for does not, so it
        // always goes on to the folder.
        let folders = self.package_folders(package, by.file());
        let below = [
            "",
            ".mim/configs",
            &format!("{package}/.mim/configs"),
            "configs",
        ];
        let candidates = |folder: &String| {
            let mut paths: Vec<String> =
                below.iter().map(|b| join(&join(folder, b), path)).collect();
            // The folder itself last: it may be a checkout whose configs lie in `configs`.
            paths.rotate_left(1);
            paths
        };
        let found = folders.iter().flat_map(candidates).find(|p| self.exists(p));
        match found {
            Some(path) => Ok((path, Some(package.to_owned()))),
            None if folders.is_empty() => Err(vec![
                error(format!("the package `{package}` of the base `{text}` was not found"))
                    .help(format!("say where it lies: `--package {package}=FOLDER`, an unpacked wheel or a checkout")),
            ]),
            None => {
                let error = error(format!("the package `{package}` has no config `{path}`; looked in {}", folders.join(", ")));
                let nearest = folders.iter().flat_map(|f| below.iter().map(move |b| join(f, b)));
                let nearest: Vec<_> = nearest.filter(|root| !self.list(root).is_empty()).collect();
                let nearest: Option<(String, String)> = nearest
                    .into_iter()
                    .filter_map(|root| Some((self.nearest_file(&root, &join(&root, path))?, root)))
                    .min_by_key(|(file, root)| distance(file, &join(root, path)));
                Err(vec![match nearest {
                    Some((file, root)) => {
                        let file = file.strip_prefix(&format!("{root}/")).unwrap_or(&file);
                        error.help(format!("the nearest file is `{package}::{file}`"))
                    }
                    None => error,
                }])
            }
        }
    }

    /// Whether there is such a file, be it readable or not.
    fn exists(&self, path: &str) -> bool {
        matches!(
            self.loader.read(path),
            Ok(_) | Err(LoadError::Unreadable(_))
        )
    }

    /// Where a package may lie: where the loader says, or around the file that asks.
    pub(super) fn package_folders(&self, package: &str, asking: &str) -> Vec<String> {
        let mut folders = self.loader.package(package);
        let asking = folder(asking);
        let marker = format!("/{package}/");
        let whole = format!("/{asking}/");
        if let Some(at) = whole.rfind(&marker) {
            let end = (at + marker.len() - 2).min(asking.len());
            folders.push(asking.get(..end).unwrap_or(asking).to_owned());
        }
        folders
    }

    /// The file of a module that is imported as a base.
    pub(super) fn find_module(&self, module: &str, by: &Origin) -> Loads<String> {
        let error = |message: String| Diagnostic::error(message).kind(Kind::File).at(by, "");
        let level = module.len() - module.trim_start_matches('.').len();
        let path = module[level..].replace('.', "/");
        if path.is_empty() {
            let help = "name the file too: `from .file import *`";
            return Err(vec![
                error("`from . import ...` names no base".into()).help(help),
            ]);
        }
        if level > 0 {
            let up = "../".repeat(level - 1);
            return Ok(join(folder(by.file()), &format!("{up}{path}.py")));
        }
        let Some((package, rest)) = path.split_once('/') else {
            let help = "as in `from mmdet.configs.retinanet.retinanet_r50_fpn_1x_coco import *`";
            return Err(vec![
                error(format!("`{module}` is a package; a base is a file of one")).help(help),
            ]);
        };
        let folders = self.package_folders(package, by.file());
        let within = rest.strip_prefix("configs/").unwrap_or(rest);
        let candidates = |f: &String| {
            [
                rest.to_owned(),
                format!("{package}/{rest}"),
                within.to_owned(),
            ]
            .map(|r| join(f, &format!("{r}.py")))
        };
        let mut found = folders.iter().flat_map(candidates);
        match found.find(|p| self.exists(p)) {
            Some(path) => Ok(path),
            None if folders.is_empty() => Err(vec![
                error(format!(
                    "the package `{package}` of the base `{module}` was not found"
                ))
                .help(format!("say where it lies: `--package {package}=FOLDER`")),
            ]),
            None => Err(vec![error(format!(
                "the package `{package}` has no file `{rest}.py`; looked in {}",
                folders.join(", ")
            ))]),
        }
    }
}

fn strip_data(name: &str) -> Option<&str> {
    [".json", ".yaml", ".yml"]
        .iter()
        .find_map(|e| name.strip_suffix(e))
}
