//! [`Lock`]: one run in a folder at a time.

use std::fs::{File, TryLockError, create_dir_all};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder that is this process's own until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

/// The file that is locked.
const NAME: &str = ".smalti.lock";

impl Lock {
    /// Takes `folder`, which is made if there is none.
    ///
    /// # Errors
    /// Another run is there, or nothing can be written.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("{} cannot be written: {e}", folder.display());
        create_dir_all(folder).map_err(fail)?;
        let path = folder.join(NAME);
        let mut options = File::options();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another run is at work in {}: wait for it, or choose another folder with --work-dir",
                    folder.display()
                ));
            }
            // where locks are not known, nobody can be asked
            Err(TryLockError::Error(_)) => {}
        }
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file, path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = std::env::temp_dir().join(format!("smalti-lock-{}", std::process::id()));
        let first = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err();
        assert!(error.contains("another run"), "{error}");
        drop(first);
        Lock::take(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
