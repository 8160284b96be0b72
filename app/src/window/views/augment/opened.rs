//! The data set in view: its annotations are read once, and its pipelines are those that the config has at the moment. Files come from the
//! window's host, and pictures that were decoded are kept for the next sample.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use smalti::config::registry::{DEFAULT_SCOPE, Registry};
use smalti::config::{Config, Diagnostics, Node, Value, value_to_py};
use smalti::data::Lookup;
use smalti::data::datasets::{self, Dataset, MetaInfo, legacy};
use smalti::data::image::Image;
use smalti::data::transforms::Files;

use crate::window::host::Host;

/// The train data set of a config, before anything is read.
#[derive(Clone, Debug)]
pub struct Source {
    /// `dict(type=...)`.
    pub node: Node,
    /// Where the config says it; `None` where no config does.
    pub path: Option<String>,
    /// The config's `default_scope`.
    pub scope: String,
}

impl Source {
    /// That of `train_dataloader`, or of `data.train` of MMDetection 2.x.
    pub fn of(config: &Config) -> Option<Self> {
        let (loader, _) = legacy::dataloader(config, "train");
        let node = loader?.get("dataset").filter(|n| !n.is_none())?.clone();
        let paths = ["data.train", "train_dataloader.dataset"];
        let path = paths.into_iter().find(|path| config.at(path).is_some());
        let scope = config.get("default_scope").and_then(Node::as_str);
        Some(Self {
            node,
            path: path.map(str::to_owned),
            scope: scope.unwrap_or(DEFAULT_SCOPE).to_owned(),
        })
    }

    /// The pictures of an annotation file in COCO's form, with the pipeline of this source, or loaded only.
    pub fn of_annotations(config: Option<&Config>, file: &Path, pictures: &Path) -> Self {
        let known = config.and_then(Self::of);
        let text = |path: &Path| {
            Node::made(
                Value::Str(crate::window::document::key(path).into()),
                "a dropped file",
            )
        };
        let put = |node: &mut Node| {
            if let Value::Dict(dict) = &mut node.value {
                for key in [
                    "data_root",
                    "metainfo",
                    "img_prefix",
                    "classes",
                    "proposal_file",
                ] {
                    dict.remove(key);
                }
                dict.set(
                    "type",
                    Node::made(Value::Str("CocoDataset".into()), "a dropped file"),
                );
                dict.set("ann_file", text(file));
                let mut prefix = smalti::config::Dict::new();
                prefix.set("img", text(pictures));
                dict.set(
                    "data_prefix",
                    Node::made(Value::Dict(prefix), "a dropped file"),
                );
            }
        };
        let plain = "dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile'), \
                     dict(type='LoadAnnotations', with_bbox=True, with_mask=True)])";
        let mut source = known.unwrap_or_else(|| Self {
            node: smalti::config::parse_value(plain).expect("this is Python"),
            path: None,
            scope: DEFAULT_SCOPE.to_owned(),
        });
        innermost(&mut source.node, &put);
        source
    }

    /// The annotation file that is not there, if one is not.
    pub fn missing(&self, host: &dyn Host) -> Option<Missing> {
        let mut found = None;
        walk(&self.node, "", &mut |node, path| {
            let text = |key: &str| node.get(key).and_then(Node::as_str);
            let Some(ann_file) = text("ann_file").filter(|f| !f.is_empty()) else {
                return;
            };
            let root = text("data_root").unwrap_or("");
            let file = below(root, ann_file);
            if found.is_none() && host.head(Path::new(&file), 1).is_none() {
                found = Some(Missing {
                    file,
                    ann_file: ann_file.to_owned(),
                    dataset: path.to_owned(),
                });
            }
        });
        found
    }

    /// Its pipelines, as a config would have them.
    pub fn to_py(&self) -> Option<String> {
        let mut text = String::new();
        let mut put = |name: &str, pipeline: &Node| {
            text += &format!("{name} = [\n");
            for item in pipeline.as_items().unwrap_or_default() {
                text += &format!("    {},\n", value_to_py(item));
            }
            text += "]\n";
        };
        let mut at = &self.node;
        while at.get("pipeline").is_none() {
            let several = at.get("datasets").and_then(Node::as_items);
            let first = several.and_then(|all| all.first());
            at = at.get("dataset").or(first)?;
        }
        if let Some(inner) = at.at("dataset.pipeline") {
            put("load_pipeline", inner);
        }
        put("train_pipeline", at.get("pipeline")?);
        Some(text)
    }

    /// What must be read again when it changes: all but the transforms that come after loading.
    pub fn to_read(&self) -> String {
        fn cut(node: &Node) -> Node {
            let mut node = node.clone();
            match &mut node.value {
                Value::Dict(dict) => {
                    let keys: Vec<String> = dict.names().map(str::to_owned).collect();
                    for key in keys {
                        let Some(inner) = dict.get(&key) else {
                            continue;
                        };
                        let inner = if key == "pipeline" {
                            loads(inner)
                        } else {
                            cut(inner)
                        };
                        dict.set(&key, inner);
                    }
                }
                Value::List(items) | Value::Tuple(items) => {
                    *items = Arc::new(items.iter().map(cut).collect());
                }
                _ => {}
            }
            node
        }
        fn loads(pipeline: &Node) -> Node {
            let items = pipeline.as_items().unwrap_or_default();
            let kept = items.iter().filter(|i| type_of(i).starts_with("Load"));
            let mut node = pipeline.clone();
            node.value = Value::List(Arc::new(kept.cloned().collect()));
            node
        }
        value_to_py(&cut(&self.node))
    }
}

/// The name of a transform or data set, without its scope.
pub fn type_of(node: &Node) -> String {
    let kind = node.get("type").and_then(Node::as_type).unwrap_or_default();
    kind.rsplit('.').next().unwrap_or_default().to_owned()
}

/// An annotation file that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where it was looked for.
    pub file: String,
    /// As the config names it.
    pub ann_file: String,
    /// The data set that names it, below the source.
    pub dataset: String,
}

/// `data_root` and a path below it, as data sets put them together.
pub fn below(root: &str, path: &str) -> String {
    if root.is_empty() || Path::new(path).is_absolute() || path.contains("://") {
        path.to_owned()
    } else if root.ends_with(['/', '\\']) {
        format!("{root}{path}")
    } else {
        format!("{root}/{path}")
    }
}

/// Tells of every data set that holds no other.
fn walk(node: &Node, path: &str, tell: &mut dyn FnMut(&Node, &str)) {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    if let Some(inner) = node.get("dataset") {
        walk(inner, &join("dataset"), tell);
    } else if let Some(all) = node.get("datasets").and_then(Node::as_items) {
        for (i, inner) in all.iter().enumerate() {
            walk(inner, &join(&format!("datasets.{i}")), tell);
        }
    } else {
        tell(node, path);
    }
}

/// Changes the data set that holds no other; of several the first takes the place of all.
fn innermost(node: &mut Node, change: &dyn Fn(&mut Node)) {
    let several = node.get("datasets").and_then(Node::as_items);
    if let Some(mut first) = several.and_then(|all| all.first()).cloned() {
        innermost(&mut first, change);
        *node = first;
        return;
    }
    let Some(mut inner) = node.get("dataset").cloned() else {
        return change(node);
    };
    innermost(&mut inner, change);
    if let Value::Dict(dict) = &mut node.value {
        dict.set("dataset", inner);
    }
}

/// A data set whose annotations were read.
pub struct Opened {
    set: RwLock<Set>,
    files: Kept,
    registry: Registry,
    scope: String,
    /// Classes and their colours.
    pub meta: MetaInfo,
    /// How many samples there are.
    pub len: usize,
}

struct Set {
    dataset: Box<dyn Dataset>,
    /// The config whose pipelines it has now.
    pipelines: String,
}

impl Opened {
    /// Reads the annotations.
    ///
    /// # Errors
    /// Whatever is wrong with the config or the annotations.
    pub fn read(source: &Source, host: Arc<dyn Host>) -> Result<Self, Diagnostics> {
        let registry = smalti::registry();
        let files = Kept {
            host,
            decoded: Mutex::default(),
        };
        let look = Lookup::new(&registry, &source.scope);
        let dataset = datasets::build_with(&source.node, &files, look)?;
        Ok(Self {
            meta: dataset.meta().clone(),
            len: dataset.len(),
            set: RwLock::new(Set {
                dataset,
                pipelines: value_to_py(&source.node),
            }),
            files,
            registry,
            scope: source.scope.clone(),
        })
    }

    /// Works with the data set as its pipelines are in `node`.
    ///
    /// # Errors
    /// Whatever is wrong with the pipelines.
    pub fn with<T>(
        &self,
        node: &Node,
        work: impl FnOnce(&dyn Dataset, &dyn Files) -> T,
    ) -> Result<T, Diagnostics> {
        let wanted = value_to_py(node);
        loop {
            {
                let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
                if set.pipelines == wanted {
                    return Ok(work(&*set.dataset, &self.files));
                }
            }
            let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
            // should it fail, they are neither these nor those
            set.pipelines.clear();
            let look = Lookup::new(&self.registry, &self.scope);
            datasets::set_pipelines(&mut *set.dataset, node, look)?;
            set.pipelines.clone_from(&wanted);
        }
    }
}

/// Files of the host. Pictures that were decoded last are kept.
struct Kept {
    host: Arc<dyn Host>,
    decoded: Mutex<VecDeque<(String, Image)>>,
}

/// Bytes of decoded pictures that are kept.
const MOST_BYTES: usize = 256 << 20;

impl Files for Kept {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.host.read(Path::new(path)).or_else(|why| {
            // annotation files that were made on Windows
            if path.contains('\\') {
                self.host.read(Path::new(&path.replace('\\', "/")))
            } else {
                Err(why)
            }
        })
    }

    fn decoded(&self, path: &str) -> Option<Image> {
        let mut kept = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(name, _)| name == path)?;
        let found = kept.remove(at)?;
        let image = found.1.clone();
        kept.push_back(found);
        Some(image)
    }

    fn keep(&self, path: &str, image: &Image) {
        let size = |image: &Image| image.width() * image.height() * image.channels();
        let mut kept = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((path.to_owned(), image.clone()));
        let mut bytes: usize = kept.iter().map(|(_, image)| size(image)).sum();
        while bytes > MOST_BYTES && kept.len() > 1 {
            bytes -= kept.pop_front().map_or(0, |(_, image)| size(&image));
        }
    }
}

/// Where the pictures of an annotation file in COCO's form lie: beside it, or in the folders that such data sets use.
pub fn pictures_of(host: &dyn Host, file: &Path) -> std::path::PathBuf {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let above = folder.parent().unwrap_or(Path::new("")).to_owned();
    let stem = file
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    let named = stem.strip_prefix("instances_").unwrap_or(&stem).to_owned();
    let name = host
        .head(file, 1 << 16)
        .and_then(|head| first_file_name(&String::from_utf8_lossy(&head)));
    let candidates = [
        folder.clone(),
        folder.join(&named),
        folder.join("images"),
        above.join(&named),
        above.join("images"),
        above.join("images").join(&named),
        above.clone(),
    ];
    let has = |folder: &&std::path::PathBuf| {
        name.as_ref()
            .is_some_and(|name| host.head(&folder.join(name), 1).is_some())
    };
    candidates.iter().find(has).cloned().unwrap_or(folder)
}

/// The first `"file_name": "..."` of an annotation file.
fn first_file_name(head: &str) -> Option<String> {
    let rest = head.split_once("\"file_name\"")?.1;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use smalti::config::{MapLoader, parse_value};

    use super::*;

    #[test]
    fn only_what_is_loaded_is_read_again() {
        let source = |pipeline: &str| {
            let text = format!(
                "train_dataloader = dict(dataset=dict(type='MultiImageMixDataset', pipeline=[{pipeline}], dataset=dict(type='CocoDataset', ann_file='a.json', pipeline=[dict(type='LoadImageFromFile')])))"
            );
            Source::of(&Config::parse(&text, "a.py", &MapLoader::default()).unwrap()).unwrap()
        };
        let (a, b) = (
            source("dict(type='Mosaic', prob=1.0)"),
            source("dict(type='Mosaic', prob=0.5)"),
        );
        assert_eq!(a.to_read(), b.to_read());
        assert_ne!(
            a.to_read(),
            source("dict(type='LoadAnnotations', with_bbox=True)").to_read()
        );
        assert_eq!(a.path.as_deref(), Some("train_dataloader.dataset"));
        let expected = "load_pipeline = [\n    dict(type='LoadImageFromFile'),\n]\ntrain_pipeline = [\n    dict(type='Mosaic', prob=1.0),\n]\n";
        assert_eq!(a.to_py().as_deref(), Some(expected));
    }

    #[test]
    fn a_dropped_file_takes_the_place_of_the_data() {
        let text = "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[dict(type='VOCDataset', data_root='x', ann_file='a.txt', pipeline=[dict(type='LoadImageFromFile')]), dict(type='VOCDataset')])))";
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        let source =
            Source::of_annotations(Some(&config), Path::new("/d/b.json"), Path::new("/d/img"));
        let expected = "dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', ann_file='/d/b.json', pipeline=[dict(type='LoadImageFromFile')], data_prefix=dict(img='/d/img')))";
        let same = value_to_py(&parse_value(expected).unwrap());
        assert_eq!(value_to_py(&source.node), same);
        assert_eq!(
            first_file_name(r#"{"images": [{"id": 1, "file_name": "a/1.jpg"}]}"#).as_deref(),
            Some("a/1.jpg")
        );
    }
}
