//! Pictures and annotations on disk, for native programs.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::nearest;
use crate::data::transforms::Files;

/// Largest file that is read at once: no picture is larger.
const LARGEST: u64 = 1 << 30;
/// Missing files for which the folder is looked through: it may be large, and they may all be missing.
const SEARCHES: usize = 16;
/// Names that are looked at in such a folder.
const NAMES: usize = 200_000;

/// Reads from the file system. A `\` in a path (annotation files made on Windows) also stands for `/`.
#[derive(Debug, Default)]
pub struct Disk {
    root: PathBuf,
    searches: AtomicUsize,
}

impl Disk {
    /// Relative paths begin at the current folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Relative paths begin at `root`.
    pub fn within(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            ..Self::default()
        }
    }

    fn file(&self, path: &str) -> Result<File, String> {
        let full = self.root.join(path);
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => self.missing(&full),
            _ => error.to_string(),
        };
        let meta = match fs::metadata(&full) {
            Err(e) if e.kind() == ErrorKind::NotFound && path.contains('\\') => {
                return self.file(&path.replace('\\', "/"));
            }
            meta => meta.map_err(failed)?,
        };
        // A pipe or device may never end.
        if !meta.is_file() {
            let what = if meta.is_dir() {
                "a folder"
            } else {
                "no regular file"
            };
            return Err(format!("it is {what}"));
        }
        File::open(&full).map_err(failed)
    }

    /// Says that there is no such file, and which one may be meant.
    fn missing(&self, path: &Path) -> String {
        let folder = path
            .parent()
            .filter(|f| !f.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return format!(
                "there is no such file, nor its folder `{}`",
                folder.display()
            );
        }
        let meant = if self.searches.fetch_add(1, Ordering::Relaxed) < SEARCHES {
            sibling(folder, path)
        } else {
            None
        };
        match meant {
            Some(name) => format!("there is no such file; its folder has `{name}`"),
            None => "there is no such file".into(),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.file(path)?;
        let mut bytes = Vec::new();
        let length = file.metadata().map_or(0, |m| m.len());
        bytes.reserve(length.min(LARGEST) as usize);
        file.take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        Ok(bytes)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, String> {
        Ok(Box::new(self.file(path)?))
    }
}

/// The file in the same folder that differs in case or ending only, or has the nearest name.
fn sibling(folder: &Path, path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let stem = |name: &str| Some(Path::new(name).file_stem()?.to_str()?.to_lowercase());
    let entries = fs::read_dir(folder).ok()?.flatten().take(NAMES);
    let names: Vec<String> = entries
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    let same = names.iter().find(|name| stem(name) == stem(wanted));
    let numbered = wanted.bytes().filter(u8::is_ascii_digit).count() * 2 > wanted.len();
    match same {
        Some(name) => Some(name.clone()),
        // The picture with the next number is not meant.
        None if numbered => None,
        None => nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_says_what_may_be_meant() {
        let root = std::env::temp_dir().join(format!("smalti-disk-{}", std::process::id()));
        fs::create_dir_all(root.join("train")).unwrap();
        fs::write(root.join("train/0001.PNG"), b"x").unwrap();
        fs::write(root.join("instances.json"), b"[1]").unwrap();
        let disk = Disk::within(&root);
        assert_eq!(disk.read("train\\0001.PNG"), Ok(b"x".to_vec()));
        let mut text = String::new();
        disk.open("instances.json")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "[1]");
        let why = |path: &str| disk.read(path).unwrap_err();
        assert_eq!(
            why("train/0001.jpg"),
            "there is no such file; its folder has `0001.PNG`"
        );
        assert_eq!(
            why("instance.json"),
            "there is no such file; its folder has `instances.json`"
        );
        assert_eq!(why("train/0002.jpg"), "there is no such file");
        assert!(why("val/1.jpg").starts_with("there is no such file, nor its folder `"));
        assert_eq!(why("train"), "it is a folder");
        fs::remove_dir_all(&root).unwrap();
    }
}
