//! [`Source`]: where a data set is from, and reading it: an annotation file, a folder in Pascal VOC's form, or a data set of the config that is open.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smalti::config::text::string;
use smalti::config::{Config, Node, Value, parse_value, value_to_py};
use smalti::data::Lookup;
use smalti::data::datasets::{self, Dataset};
use smalti::data::transforms::Files;

use super::index::Index;
use crate::window::analysis::Analysis;
use crate::window::files::short;
use crate::window::host::Host;
use crate::window::jobs::Progress;

/// Where a data set is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An annotation file in COCO's or LVIS' form.
    File(PathBuf),
    /// A folder in Pascal VOC's form, and which of its lists of pictures.
    Voc(PathBuf, String),
    /// `train`, `val` or `test` of the config that is open.
    Config(&'static str),
}

impl Source {
    /// As it is called where one is chosen.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => short(path),
            Self::Voc(folder, list) => format!("{} {list}", short(folder)),
            Self::Config(split) => format!("{split} of the config"),
        }
    }
}

/// The data sets that can be had: those beside what was opened, and the config's. Looks at folders.
pub fn beside(host: &dyn Host, opened: &Path) -> Vec<Source> {
    if host.is_folder(opened) {
        let lists = host.list(&opened.join("ImageSets").join("Main"));
        let names = lists.iter().filter_map(|path| path.file_stem()?.to_str());
        // of a class, such as cat_train, there are 80
        let names = names.filter(|name| !name.contains('_'));
        let voc = |name: &str| Source::Voc(opened.to_owned(), name.to_owned());
        return names.map(voc).collect();
    }
    if opened.extension().is_some_and(|e| e == "xml") {
        // one of Pascal VOC's files, which are in the folder `Annotations`
        let folder = opened.parent().and_then(Path::parent);
        return folder.map_or_else(Vec::new, |folder| beside(host, folder));
    }
    let others = opened.parent().map(|folder| host.list(folder));
    let json = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
    let others = others.unwrap_or_default().into_iter().filter(json);
    let ours = |path: &PathBuf| {
        path == opened
            || host
                .head(path, 4096)
                .is_some_and(|head| crate::window::files::annotations(&head))
    };
    others.filter(ours).map(Source::File).collect()
}

/// The data sets that a config says.
pub fn of_config(config: &Config) -> Vec<Source> {
    let splits = ["train", "val", "test"].into_iter();
    let said = splits.filter(|split| said(config, split).is_some());
    said.map(Source::Config).collect()
}

/// What a config says of a data set, but for its pipelines: while it stays, the data set does.
pub fn said(config: &Config, split: &str) -> Option<String> {
    fn write(node: &Node, out: &mut String) {
        match &node.value {
            Value::Dict(dict) => {
                let entries = dict.iter();
                let entries = entries.filter(|(key, _)| key.as_str() != Some("pipeline"));
                for (key, entry) in entries {
                    out.push_str(&format!("{key}="));
                    write(&entry.node, out);
                    out.push(',');
                }
            }
            _ => out.push_str(&value_to_py(node)),
        }
    }
    let loader = config
        .get(&format!("{split}_dataloader"))
        .and_then(|loader| loader.get("dataset"));
    let node = loader.or_else(|| config.at(&format!("data.{split}")))?;
    let mut out = String::new();
    write(node, &mut out);
    Some(out)
}

/// Reads a data set and looks at all of it.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn read(
    host: &dyn Host,
    source: &Source,
    analysis: Option<&Analysis>,
    progress: &Progress,
) -> Result<Index, String> {
    let files = Told {
        files: host.files(),
        read: AtomicU64::new(0),
        progress,
    };
    let registry = smalti::registry();
    let built = match source {
        Source::Config(split) => {
            let config = analysis.and_then(|a| a.config.as_ref());
            let config = config.ok_or("the config cannot be read: see what is wrong with it")?;
            let look = Lookup::of(&registry, config);
            datasets::from_config_with(config, split, &files, look)
                .map_err(|found| config.errors(found).to_string())
        }
        Source::File(path) => build(&coco(host, path), &files, &registry),
        Source::Voc(folder, list) => {
            progress.say("looking for its classes");
            let classes = voc_classes(&files, folder, list)?;
            build(&voc(folder, list, &classes), &files, &registry)
        }
    };
    let dataset = built.map_err(|why| match progress.cancelled() {
        true => "ended before all was read".to_owned(),
        false => why,
    })?;
    let exists = |path: &str| {
        let is = |path: &str| host.head(Path::new(path), 0).is_some();
        is(path) || path.contains('\\') && is(&path.replace('\\', "/"))
    };
    let told = |done: usize, of: usize| {
        progress.tell(done as u64, of as u64);
        !progress.cancelled()
    };
    progress.say("looking at its pictures");
    Index::of(innermost(&*dataset), &exists, &told)
}

fn build(
    text: &str,
    files: &dyn Files,
    registry: &smalti::registry::Registry,
) -> Result<Box<dyn Dataset>, String> {
    let node = parse_value(text).map_err(|e| e.to_string())?;
    let look = Lookup::new(registry, smalti::registry::DEFAULT_SCOPE);
    datasets::build_with(&node, files, look).map_err(|found| {
        // the place in a config that nobody wrote is of no use
        let lines = found.iter().map(|d| match &d.help {
            Some(help) => format!("{}\n{help}", d.message),
            None => d.message.clone(),
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// What repeats or mixes the pictures of one data set has no others; their numbers are the same. What takes some more often has other numbers.
fn innermost(dataset: &dyn Dataset) -> &dyn Dataset {
    match dataset.children()[..] {
        [inner] if !inner.is_empty() && dataset.len().is_multiple_of(inner.len()) => {
            innermost(inner)
        }
        _ => dataset,
    }
}

/// A config of an annotation file: its own classes, all its pictures.
fn coco(host: &dyn Host, path: &Path) -> String {
    let head = host.head(path, 1 << 16).unwrap_or_default();
    let head = String::from_utf8_lossy(&head);
    let name = short(path).to_lowercase();
    let lvis = name.contains("lvis") || head.contains("neg_category_ids");
    let kind = match lvis {
        false => "CocoDataset",
        true if name.contains("v0.5") => "LVISV05Dataset",
        true => "LVISV1Dataset",
    };
    let pictures = pictures(host, path, first_picture(&head, lvis).as_deref());
    format!(
        "dict(type='{kind}', ann_file={}, data_prefix=dict(img={}), metainfo=dict(classes=()), test_mode=True)",
        string(&path.to_string_lossy()),
        string(&pictures.to_string_lossy())
    )
}

fn voc(folder: &Path, list: &str, classes: &BTreeSet<String>) -> String {
    let classes: String = classes.iter().map(|c| format!("{}, ", string(c))).collect();
    format!(
        "dict(type='XMLDataset', data_root={}, ann_file={}, data_prefix=dict(sub_data_root=''), metainfo=dict(classes=({classes})), test_mode=True)",
        string(&folder.to_string_lossy()),
        string(&format!("ImageSets/Main/{list}.txt")),
    )
}

/// The classes of the objects in the pictures of a list, in the order of their names: nothing else of Pascal VOC's form says them.
fn voc_classes(files: &dyn Files, folder: &Path, list: &str) -> Result<BTreeSet<String>, String> {
    let at = |name: String| folder.join(name).to_string_lossy().into_owned();
    let pictures = files.read(&at(format!("ImageSets/Main/{list}.txt")))?;
    let pictures = String::from_utf8_lossy(&pictures).into_owned();
    let mut classes = BTreeSet::new();
    let names = pictures.lines().filter_map(|l| l.split_whitespace().next());
    for name in names {
        // what is wrong with a file is told when the data set is read
        let xml = files.read(&at(format!("Annotations/{name}.xml")));
        let xml = xml.unwrap_or_default();
        let xml = String::from_utf8_lossy(&xml);
        for object in xml.split("<object>").skip(1) {
            let name = object
                .split_once("<name>")
                .and_then(|(_, rest)| rest.split_once('<'));
            classes.extend(name.map(|(name, _)| name.trim().to_owned()));
        }
    }
    match classes.is_empty() {
        true => Err(format!(
            "none of the pictures of ImageSets/Main/{list}.txt has an object in Annotations: choose another list"
        )),
        false => Ok(classes),
    }
}

/// The first picture's file, if the beginning of the annotation file has it.
fn first_picture(head: &str, lvis: bool) -> Option<String> {
    let after = |key: &str| {
        let rest = &head[head.find(key)? + key.len()..];
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        let rest = rest.strip_prefix('"')?;
        Some(rest[..rest.find('"')?].to_owned())
    };
    let url = || {
        let url = after("\"coco_url\"")?;
        let mut parts = url.rsplit('/');
        let (name, folder) = (parts.next()?, parts.next()?);
        Some(format!("{folder}/{name}"))
    };
    let url = if lvis { url() } else { None };
    url.or_else(|| after("\"file_name\""))
}

/// The folder of an annotation file's pictures: where the first one is, beside the file, above it, or in a folder there.
fn pictures(host: &dyn Host, path: &Path, first: Option<&str>) -> PathBuf {
    const MOST: usize = 64;
    let here = path.parent().unwrap_or(Path::new("")).to_owned();
    let above = here.parent().map(Path::to_owned);
    let within = |folder: &Path| -> Vec<PathBuf> {
        let all = host.list(folder).into_iter();
        all.filter(|path| host.is_folder(path)).take(MOST).collect()
    };
    let near = std::iter::once(here.clone()).chain(above);
    let near: Vec<PathBuf> = near
        .flat_map(|f| [vec![f.clone()], within(&f)].concat())
        .collect();
    let images = near.iter().filter(|f| f.ends_with("images"));
    let deeper: Vec<PathBuf> = images.flat_map(|folder| within(folder)).collect();
    let has =
        |folder: &&PathBuf| first.is_some_and(|first| host.head(&folder.join(first), 0).is_some());
    // `instances_train2017.json` is of `train2017`: other splits may have pictures of the same names
    let stem = path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let split = stem.rsplit('_').next().unwrap_or_default();
    let all = || near.iter().chain(&deeper);
    let of_split = all().filter(|folder| folder.ends_with(split));
    if let Some(found) = of_split.chain(all()).find(has) {
        return found.clone();
    }
    let named = |folder: &&PathBuf| folder.ends_with(split) || folder.ends_with("images");
    near[1..].iter().find(named).cloned().unwrap_or(here)
}

/// Files, of which it is told how much was read. Reading ends when the job does.
struct Told<'a> {
    files: Arc<dyn Files>,
    read: AtomicU64,
    progress: &'a Progress,
}

impl Files for Told<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if self.progress.cancelled() {
            return Err("it is not wanted any more".into());
        }
        self.files.read(path)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, String> {
        let inner = self.files.open(path)?;
        Ok(Box::new(Counted { inner, told: self }))
    }
}

struct Counted<'a> {
    inner: Box<dyn Read + 'a>,
    told: &'a Told<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        const STEP: u64 = 4 << 20;
        if self.told.progress.cancelled() {
            return Err(std::io::Error::other("it is not wanted any more"));
        }
        let n = self.inner.read(into)?;
        let before = self.told.read.fetch_add(n as u64, Ordering::Relaxed);
        let now = before + n as u64;
        if before / STEP != now / STEP {
            self.told.progress.say(format!("{} MB", now >> 20));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::native::Native;
    use crate::window::tests::Folder;

    #[test]
    fn pictures_are_found_from_the_first_one() {
        let coco = r#"{"info": {}, "images": [{"id": 1, "file_name": "a.png"}]}"#;
        let lvis = r#"{"images": [{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/0001.jpg"}]}"#;
        assert_eq!(first_picture(coco, false).as_deref(), Some("a.png"));
        assert_eq!(
            first_picture(lvis, true).as_deref(),
            Some("val2017/0001.jpg")
        );
        assert_eq!(first_picture("{}", false), None);
        let folder = Folder::new();
        let host = Native::at(folder.0.join("remembered"));
        let file = folder.put("annotations/instances_val2017.json", coco);
        let found = |first| pictures(&host, &file, first);
        assert_eq!(found(Some("a.png")), file.parent().unwrap());
        folder.put("val2017/b.png", "");
        assert_eq!(found(Some("a.png")), folder.0.join("val2017"));
        folder.put("images/train/a.png", "");
        assert_eq!(found(Some("a.png")), folder.0.join("images/train"));
        folder.put("a.png", "");
        assert_eq!(found(Some("a.png")), folder.0);
        folder.put("val2017/a.png", "");
        assert_eq!(found(Some("a.png")), folder.0.join("val2017"));
    }
}
