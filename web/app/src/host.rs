//! [`PageHost`]: what the window runs on in a page. Files are the [`Tree`]'s; what the window remembers is in the browser's storage; a file
//! that is saved is downloaded besides.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use smalti::config::{Config, Loader};
use smalti::data::files::Files;
use smalti::device::{Adapter, Chosen};
use smalti::weights::Checkpoint;
use smalti_app::window::host::{Elsewhere, Host, Question, Waiting, Work};

use crate::elsewhere::{self, PageDetector};
use crate::page;
use crate::tree::{NOT_THERE, Tree, TreeLoader, names, plain};

/// The page.
pub struct PageHost {
    tree: Arc<Tree>,
}

/// Where what the window remembers lies, and under which names the browser keeps it.
const DATA: &str = "~";
/// Until a frame is painted that shows what is about to be done, ms.
const PAINTED: u32 = 20;
/// The demo's weights, beside the page.
const WEIGHTS: &str = "digits.safetensors";

impl PageHost {
    /// With these files.
    pub fn new(tree: Arc<Tree>) -> Self {
        Self { tree }
    }

    async fn demo_weights(&self) -> Result<Arc<[u8]>, String> {
        if let Some(bytes) = self.tree.get(WEIGHTS) {
            return Ok(bytes);
        }
        let fetched = page::beside(WEIGHTS).await;
        let fetched = fetched.map_err(|why| format!("{WEIGHTS}: {}", page::thrown(&why)))?;
        let bytes = js_sys::Uint8Array::new(&fetched).to_vec();
        self.tree.put(WEIGHTS, bytes)?;
        self.tree.get(WEIGHTS).ok_or(NOT_THERE.to_owned())
    }
}

/// A name that is this page's own.
struct Claim(String);

impl Drop for Claim {
    fn drop(&mut self) {
        page::release(&self.0);
    }
}

/// A path as the tree and the storage know it.
fn key(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// Whether it is the window's own.
fn is_data(key: &str) -> bool {
    key.split('/').next() == Some(DATA)
}

impl Host for PageHost {
    fn configs(&self) -> Box<dyn Loader> {
        Box::new(TreeLoader(self.tree.clone()))
    }

    fn detectron2_datasets(&self) -> String {
        "datasets".into()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let key = key(path);
        let read = if is_data(&key) {
            page::kept(&key).map(String::into_bytes)
        } else {
            self.tree.get(&key).map(|bytes| bytes.to_vec())
        };
        read.ok_or_else(|| NOT_THERE.to_owned())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let key = key(path);
        if is_data(&key) {
            let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
            return page::keep(&key, text).map_or(Ok(()), Err);
        }
        self.tree.put(&key, bytes.to_vec())?;
        page::download(key.rsplit('/').next().unwrap_or(&key), bytes);
        Ok(())
    }

    fn checkpoint(&self, path: &Path) -> Result<Checkpoint, String> {
        let bytes = self.tree.get(&key(path)).ok_or(NOT_THERE)?;
        Checkpoint::read(bytes).map_err(|e| e.to_string())
    }

    fn fetch(&self, name: &str, _: &mut dyn FnMut(u64, u64)) -> Result<Checkpoint, String> {
        // dropped, it is known by its file's name
        let file = name.rsplit('/').next().unwrap_or(name);
        let bytes = self.tree.get(name).or_else(|| self.tree.named(file));
        match bytes {
            Some(bytes) => Checkpoint::read(bytes).map_err(|e| e.to_string()),
            None => Err(format!(
                "a page fetches no checkpoints: download {name}, and drop the file here"
            )),
        }
    }

    fn last_checkpoint(&self, _: &Path) -> Option<PathBuf> {
        // a page trains nothing
        None
    }

    fn files(&self) -> Arc<dyn Files> {
        self.tree.clone()
    }

    fn remove(&self, path: &Path) {
        let path = key(path);
        if !is_data(&path) {
            self.tree.remove(&path);
            return;
        }
        let inside = format!("{path}/");
        let all = page::kept_names().into_iter();
        all.filter(|name| *name == path || name.starts_with(&inside))
            .for_each(|name| page::forget(&name));
    }

    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let path = key(folder);
        let found = if is_data(&path) {
            names(page::kept_names().iter().map(String::as_str), &path)
        } else {
            self.tree.list(&path)
        };
        let found = found.iter().map(|name| name.trim_end_matches('/'));
        found.map(|name| folder.join(name)).collect()
    }

    fn head(&self, path: &Path, bytes: usize) -> Option<Vec<u8>> {
        let key = key(path);
        if is_data(&key) {
            let mut text = page::kept(&key)?.into_bytes();
            text.truncate(bytes);
            return Some(text);
        }
        let file = self.tree.get(&key)?;
        Some(file[..bytes.min(file.len())].to_vec())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.tree.is_folder(&path.to_string_lossy())
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        PathBuf::from(key(path))
    }

    fn data(&self) -> PathBuf {
        PathBuf::from(DATA)
    }

    fn claim(&self, folder: &Path) -> Option<Box<dyn Any + Send + Sync>> {
        let name = key(folder);
        page::claim(&name).then(|| Box::new(Claim(name)) as Box<dyn Any + Send + Sync>)
    }

    fn now(&self) -> Duration {
        Duration::from_secs_f64(js_sys::Date::now().max(0.0) / 1e3)
    }

    fn spawn(&self, _: &str, work: Work) {
        wasm_bindgen_futures::spawn_local(async move {
            page::later(PAINTED).await;
            work().await;
        });
    }

    fn pause(&self) -> Waiting<'_, ()> {
        Box::pin(page::later(0))
    }

    fn ask<'a>(&'a self, question: &'a Question) -> Waiting<'a, Vec<PathBuf>> {
        Box::pin(async move {
            let folder = match question {
                Question::Files(_) => false,
                Question::Folder(_) => true,
                // where it goes is asked by the browser, or is known to it
                Question::Save(path) => return vec![path.clone()],
            };
            let chosen = match page::choose(folder).await {
                Ok(chosen) => js_sys::Array::from(&chosen),
                Err(why) => {
                    crate::wrong(page::thrown(&why));
                    return Vec::new();
                }
            };
            let paths = chosen.iter().filter_map(|path| path.as_string());
            paths.map(PathBuf::from).collect()
        })
    }

    fn demo(&self) -> Waiting<'_, Result<Checkpoint, String>> {
        Box::pin(async move {
            let bytes = self.demo_weights().await?;
            Checkpoint::read(bytes).map_err(|e| e.to_string())
        })
    }

    fn adapters(&self) -> Waiting<'_, Vec<Adapter>> {
        Box::pin(elsewhere::adapters())
    }

    fn device<'a>(&'a self, spec: &'a str) -> Waiting<'a, Result<Chosen, String>> {
        Box::pin(async move {
            let adapters = elsewhere::adapters().await;
            let chosen = elsewhere::choose(spec, &adapters).await;
            chosen.map_err(|e| e.to_string())
        })
    }

    fn elsewhere<'a>(
        &'a self,
        device: &'a Chosen,
        config: &'a Config,
        (weights, prefix): (Option<&'a Path>, Option<&'a str>),
    ) -> Waiting<'a, Option<Result<Arc<dyn Elsewhere>, String>>> {
        Box::pin(async move {
            if !elsewhere::is_elsewhere(device) {
                return None;
            }
            let bytes = match weights {
                Some(path) => self.tree.get(&key(path)).ok_or(NOT_THERE.to_owned()),
                None => self.demo_weights().await,
            };
            Some(match bytes {
                Ok(bytes) => PageDetector::load(&config.to_py(), &bytes, prefix).await,
                Err(why) => Err(why),
            })
        })
    }

    fn copy_link(&self, name: &str, text: &str, files: &BTreeMap<String, String>) -> bool {
        page::copy_link(&json!({ "name": name, "config": text, "files": files }).to_string());
        true
    }

    fn watch(&self, _: &[PathBuf], _: Box<dyn Fn() + Send>) {
        // nobody else changes the page's files
    }
}
