//! The window of a desktop: files, threads, clock and dialogs of this machine, and eframe on the engine's own wgpu device.

use std::any::Any;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupExisting};
use eframe::{NativeOptions, egui};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use smalti::config::Loader;
use smalti::data::files::Files;
use smalti::device::{self, Chosen};
use smalti::host::config_files::ConfigFiles;
use smalti::host::disk::Disk;
use smalti::host::files::AtomicFile;
use smalti::host::lock::Lock;
use smalti::host::{cache, checkpoint_files};
use smalti::weights::Checkpoint;

use super::App;
use super::engine::Engine;
use super::host::{Host, Question, Waiting, Work};
use super::settings::Settings;
use crate::demo;

/// Says where what the window remembers lies.
pub const DATA_VARIABLE: &str = "SMALTI_DATA";
/// Largest file that is read at once.
const LARGEST: u64 = 1 << 30;

/// This machine.
pub struct Native {
    data: PathBuf,
    watcher: Mutex<Option<RecommendedWatcher>>,
}

impl Native {
    /// What is remembered lies in this folder.
    pub fn at(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            watcher: Mutex::new(None),
        }
    }

    /// What is remembered lies in `$SMALTI_DATA`, else in the platform's data folder.
    pub fn new() -> Self {
        Self::at(
            std::env::var_os(DATA_VARIABLE)
                .filter(|v| !v.is_empty())
                .map_or_else(platform_data, PathBuf::from),
        )
    }
}

impl Default for Native {
    fn default() -> Self {
        Self::new()
    }
}

/// Where programs of this platform keep a user's data.
fn platform_data() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
    let data = if cfg!(target_os = "macos") {
        home.join("Library").join("Application Support")
    } else if cfg!(windows) {
        folder("LOCALAPPDATA").unwrap_or_else(|| home.join("AppData").join("Local"))
    } else {
        folder("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local").join("share"))
    };
    data.join("smalti")
}

impl Host for Native {
    fn configs(&self) -> Box<dyn Loader> {
        Box::new(ConfigFiles::new())
    }

    fn detectron2_datasets(&self) -> String {
        crate::commands::config::detectron2_datasets()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let meta = file.metadata().map_err(|e| e.to_string())?;
        if !meta.is_file() {
            return Err("it is no regular file".into());
        }
        if meta.len() > LARGEST {
            return Err(format!("it has {} bytes, more than {LARGEST}", meta.len()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        // A link stays a link: the file that it names is written.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = AtomicFile::create(&path).map_err(|e| e.to_string())?;
        file.write_all(bytes).map_err(|e| e.to_string())?;
        file.commit_durably().map_err(|e| e.to_string())
    }

    fn checkpoint(&self, path: &Path) -> Result<Checkpoint, String> {
        cache::open(path).map_err(|e| e.to_string())
    }

    fn fetch(&self, name: &str, told: &mut dyn FnMut(u64, u64)) -> Result<Checkpoint, String> {
        let fetched = cache::load(name, &mut |p| told(p.done, p.total.unwrap_or(0)));
        fetched.map_err(|e| e.to_string())
    }

    fn last_checkpoint(&self, folder: &Path) -> Option<PathBuf> {
        checkpoint_files::last(folder)
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(Disk::new())
    }

    fn remove(&self, path: &Path) {
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }

    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
        paths.sort();
        paths
    }

    fn head(&self, path: &Path, bytes: usize) -> Option<Vec<u8>> {
        if !fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut head = Vec::new();
        if bytes == 0 {
            return Some(head);
        }
        File::open(path)
            .ok()?
            .take(bytes as u64)
            .read_to_end(&mut head)
            .ok()?;
        Some(head)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut plain = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => {
                    plain.pop();
                }
                part => plain.push(part),
            }
        }
        plain
    }

    fn data(&self) -> PathBuf {
        self.data.clone()
    }

    fn claim(&self, folder: &Path) -> Option<Box<dyn Any + Send + Sync>> {
        Lock::take(folder)
            .ok()
            .map(|lock| Box::new(lock) as Box<dyn Any + Send + Sync>)
    }

    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn spawn(&self, name: &str, work: Work) {
        // Models are built by walks that recurse.
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(16 << 20);
        if let Err(e) = thread.spawn(|| pollster::block_on(work())) {
            crate::style::error(&format!("no thread for {name}: {e}"));
        }
    }

    fn ask<'a>(&'a self, question: &'a Question) -> Waiting<'a, Vec<PathBuf>> {
        Box::pin(async move { self.answer(question) })
    }

    fn demo(&self) -> Waiting<'_, Result<Checkpoint, String>> {
        Box::pin(async { Checkpoint::read(demo::CHECKPOINT).map_err(|e| e.to_string()) })
    }

    fn watch(&self, folders: &[PathBuf], told: Box<dyn Fn() + Send>) {
        // What is read is no change: else looking at a file would be followed by looking at it.
        let tell = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|e| !e.kind.is_access()) {
                told();
            }
        };
        // Without a watcher files are looked at when the window comes to the front.
        let mut watcher = notify::recommended_watcher(tell).ok();
        if let Some(watcher) = &mut watcher {
            for folder in folders {
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = watcher;
    }
}

impl Native {
    /// Asks, and waits.
    fn answer(&self, question: &Question) -> Vec<PathBuf> {
        // tests have nobody to ask: their answer lies in a file
        #[cfg(test)]
        if let Ok(answer) = fs::read_to_string(self.data.join("answer")) {
            return answer.lines().map(PathBuf::from).collect();
        }
        let dialog = rfd::FileDialog::new();
        match question {
            Question::Files(title) => dialog.set_title(*title).pick_files().unwrap_or_default(),
            Question::Folder(title) => dialog.set_title(*title).pick_folder().into_iter().collect(),
            Question::Save(path) => {
                let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
                let dialog = dialog.set_title("Save");
                let dialog = match ending.as_deref() {
                    Some("png") => dialog.add_filter("Picture", &["png"]),
                    Some("json") => dialog.add_filter("JSON", &["json"]),
                    _ => dialog.add_filter("Config", &["py", "json", "yaml"]),
                };
                let name = path
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let dialog = match path.parent().filter(|p| p.is_absolute()) {
                    Some(folder) => dialog.set_directory(folder),
                    None => dialog,
                };
                dialog.set_file_name(name).save_file().into_iter().collect()
            }
        }
    }
}

/// Opens the window and stays until it is closed.
///
/// # Errors
/// There is no display, or no graphics adapter that can show a window.
pub fn run(paths: Vec<PathBuf>) -> Result<(), String> {
    let host = Arc::new(Native::new());
    let (settings, _) = Settings::load(&*host);
    let chosen = device::choose_blocking(&settings.device).ok();
    let options = NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Smalti")
            .with_app_id("smalti")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([390.0, 480.0])
            .with_drag_and_drop(true),
        wgpu_options: WgpuConfiguration {
            wgpu_setup: setup(chosen.as_ref()),
            ..Default::default()
        },
        ..Default::default()
    };
    let engine = chosen.map(Engine::with).unwrap_or_default();
    eframe::run_native(
        "smalti",
        options,
        Box::new(move |cc| Ok(Box::new(App::new(&cc.egui_ctx, host, engine, &paths)))),
    )
    .map_err(|e| {
        format!("no window can be opened: {e}\nhelp: the commands need none, see `smalti --help`")
    })
}

/// The engine's own device, so that pictures of its shaders are shown where they are. Where the engine runs on the CPU, egui looks for an
/// adapter itself.
fn setup(chosen: Option<&Chosen>) -> WgpuSetup {
    match chosen.and_then(|c| c.setup.clone()) {
        Some(device) => WgpuSetup::Existing(WgpuSetupExisting {
            instance: device.instance,
            adapter: device.adapter,
            device: device.device,
            queue: device.queue,
        }),
        None => WgpuSetup::without_display_handle(),
    }
}

/// Whether there is a display at all.
pub fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !cfg!(all(unix, not(target_os = "macos")))
        || set("DISPLAY")
        || set("WAYLAND_DISPLAY")
        || set("WAYLAND_SOCKET")
}
