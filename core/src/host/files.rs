//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is written beside its place and renamed when it is complete; a program that stops
/// in between leaves what was there before.
#[derive(Debug)]
pub struct AtomicFile {
    out: Option<BufWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Begins to write `path`; folders on the way are made.
    ///
    /// # Errors
    /// If a folder or the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            let message = format!("{} is not the name of a file", path.display());
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let out = Some(BufWriter::new(File::create(&temporary)?));
        Ok(Self {
            out,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If the rest cannot be written, or the file cannot be renamed.
    pub fn commit(self) -> io::Result<()> {
        self.put(|_| Ok(()))
    }

    /// As [`Self::commit`], and waits until it is on the disk: when the machine stops, at any moment, the old file or the new one is there,
    /// whole.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_durably(self) -> io::Result<()> {
        let path = self.path.clone();
        self.put(File::sync_all)?;
        // The name is the folder's. Not every system has folders that can be opened, and then it does without.
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new("."))) {
            Ok(folder) if cfg!(unix) => folder.sync_all(),
            _ => Ok(()),
        }
    }

    fn put(mut self, ready: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            let done = out.flush().and_then(|()| {
                ready(out.get_ref())?;
                drop(out);
                fs::rename(&self.temporary, &self.path)
            });
            if done.is_err() {
                let _ = fs::remove_file(&self.temporary);
            }
            return done;
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("smalti-files-{}", std::process::id()));
        let path = folder.join("below/a.json");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"one").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");

        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half of tw").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "no temporary file is left");
        fs::remove_dir_all(&folder).unwrap();
        assert!(AtomicFile::create(Path::new("/")).is_err());
    }
}
