//! The one seam by which the window touches files, threads, clock and dialogs. [`super::native::Native`] is a desktop's; a page has its own.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smalti::config::{Config, Loader};
use smalti::data::Picture;
use smalti::data::files::Files;
use smalti::device::{self, Adapter, Chosen};
use smalti::structures::Xyxy;
use smalti::structures::masks::Runs;
use smalti::weights::Checkpoint;

/// What is made where it was begun, on no other thread: files that are asked for and devices may be waited for in it.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Work for another thread, which makes there what it waits for; or for a page, which has one thread alone.
pub type Work = Box<dyn FnOnce() -> Waiting<'static, ()> + Send>;

/// What somebody is asked for in a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Files to open; the dialog's title.
    Files(&'static str),
    /// A folder to open.
    Folder(&'static str),
    /// Where to save, with a name proposed.
    Save(PathBuf),
}

/// A detector on a device that this program does not reach itself: a page's GPU, which another module has.
pub trait Elsewhere: std::fmt::Debug + Send + Sync {
    /// What it runs on.
    fn device(&self) -> String;

    /// Objects in a picture, best first.
    ///
    /// # Errors
    /// The device failed, or the picture is none for it.
    fn detect<'a>(&'a self, picture: &'a Picture) -> Waiting<'a, Result<Seen, String>>;
}

/// What was found elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// xyxy px.
    pub boxes: Vec<Xyxy>,
    /// 0 to 1.
    pub scores: Vec<f32>,
    /// Class indices.
    pub labels: Vec<usize>,
    /// One for each box, from models that give masks.
    pub masks: Vec<Runs>,
}

/// What the window runs on.
pub trait Host: Send + Sync {
    /// Reads config files and their bases. Made where it is used.
    fn configs(&self) -> Box<dyn Loader>;

    /// The folder of Detectron2's data sets.
    fn detectron2_datasets(&self) -> String;

    /// A file's content.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// Writes a file, whole or not at all; folders on the way are made.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), String>;

    /// A checkpoint; tensors are read when they are asked for.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn checkpoint(&self, path: &Path) -> Result<Checkpoint, String>;

    /// A checkpoint by the name that a config has for it: a path, an address, a name of a hub. What is fetched tells how much of how much is
    /// there; 0 of 0 while that is not known.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn fetch(&self, name: &str, told: &mut dyn FnMut(u64, u64)) -> Result<Checkpoint, String>;

    /// The last checkpoint of a run, in the run's folder.
    fn last_checkpoint(&self, folder: &Path) -> Option<PathBuf>;

    /// Pictures and annotations of data sets, by the paths that configs have.
    fn files(&self) -> Arc<dyn Files>;

    /// Takes a file or a folder away; what is not there is no matter.
    fn remove(&self, path: &Path);

    /// What lies in a folder, in the order of names; nothing if it is none.
    fn list(&self, folder: &Path) -> Vec<PathBuf>;

    /// The first bytes of a file, `None` if there is no such file. Of no bytes the file is not opened.
    fn head(&self, path: &Path, bytes: usize) -> Option<Vec<u8>>;

    /// Whether it is a folder.
    fn is_folder(&self, path: &Path) -> bool;

    /// The form of a path that does not depend on where the program was started.
    fn absolute(&self, path: &Path) -> PathBuf;

    /// Where what the window remembers lies.
    fn data(&self) -> PathBuf;

    /// Makes a folder this window's own until what is returned is dropped or the program ends, in whatever way. `None` if another has it.
    fn claim(&self, folder: &Path) -> Option<Box<dyn Any + Send + Sync>>;

    /// Time since 1970.
    fn now(&self) -> Duration;

    /// Runs work elsewhere, or later.
    fn spawn(&self, name: &str, work: Work);

    /// Lets the window paint and hear, where it shares the thread of the work: long work waits for it now and then.
    fn pause(&self) -> Waiting<'_, ()> {
        Box::pin(ready(()))
    }

    /// Asks in a dialog: in a job, not in the window's own frames.
    fn ask<'a>(&'a self, question: &'a Question) -> Waiting<'a, Vec<PathBuf>>;

    /// The weights of the demo.
    fn demo(&self) -> Waiting<'_, Result<Checkpoint, String>>;

    /// Copies an address that opens a config anywhere: its name, its text and the texts that it is made of, by path. False where there is no
    /// such address: of a desktop's window.
    fn copy_link(&self, name: &str, text: &str, files: &BTreeMap<String, String>) -> bool {
        let _ = (name, text, files);
        false
    }

    /// The adapters that detectors can run on, best first.
    fn adapters(&self) -> Waiting<'_, Vec<Adapter>> {
        Box::pin(device::adapters())
    }

    /// Opens a device, as `--device` names it.
    ///
    /// # Errors
    /// There is none such, or it does not open.
    fn device<'a>(&'a self, spec: &'a str) -> Waiting<'a, Result<Chosen, String>> {
        Box::pin(async move { device::choose(spec).await.map_err(|e| e.to_string()) })
    }

    /// The detector that a config and weights (without any the demo's) make, where `device` is one that this program does not reach itself.
    fn elsewhere<'a>(
        &'a self,
        _device: &'a Chosen,
        _config: &'a Config,
        _weights: (Option<&'a Path>, Option<&'a str>),
    ) -> Waiting<'a, Option<Result<Arc<dyn Elsewhere>, String>>> {
        Box::pin(ready(None))
    }

    /// From now on tells of changes in these folders, and of no others.
    fn watch(&self, folders: &[PathBuf], told: Box<dyn Fn() + Send>);
}
