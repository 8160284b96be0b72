//! Checkpoints in a work directory: written whole and durably, and the note that says which is the last (MMEngine's `CheckpointHook`).

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::AtomicFile;
use crate::weights::SaveError;

/// The note's name.
const LAST: &str = "last_checkpoint";
/// Longest note that is read, in bytes: a path.
const MAX_NOTE: u64 = 1 << 16;

/// A checkpoint could not be written. What was at its place before is still there, whole.
#[derive(Debug)]
pub struct CheckpointFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: SaveError,
}

impl fmt::Display for CheckpointFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "cannot write `{path}`: {}", self.error)?;
        match &self.error {
            SaveError::Write(error) if error.kind() == io::ErrorKind::StorageFull => {
                write!(
                    f,
                    "; make room, or keep fewer checkpoints (`max_keep_ckpts`)"
                )
            }
            SaveError::Write(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "; choose another `work_dir`")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for CheckpointFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Writes a file, such as by [`TrainingState::write`](crate::weights::TrainingState::write): `path` has its old content, or all of the new,
/// also when the machine stops. Folders on the way are made.
///
/// # Errors
/// [`CheckpointFileError`].
pub fn save(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SaveError>,
) -> Result<(), CheckpointFileError> {
    let written = AtomicFile::create(path)
        .map_err(SaveError::from)
        .and_then(|mut file| {
            write(&mut file)?;
            Ok(file.commit_durably()?)
        });
    written.map_err(|error| CheckpointFileError {
        path: path.to_owned(),
        error,
    })
}

/// As [`save`], with the first eight hex digits of the content's SHA-256 put into the file's name, as published checkpoints have them: `name-0a1b2c3d.pth`.
/// Gives the path. `write` is called twice and has to write the same.
///
/// # Errors
/// [`CheckpointFileError`].
pub fn save_with_digest(
    path: &Path,
    write: impl Fn(&mut dyn Write) -> Result<(), SaveError>,
) -> Result<PathBuf, CheckpointFileError> {
    let mut digest = Digested(Sha256::new());
    write(&mut digest).map_err(|error| CheckpointFileError {
        path: path.to_owned(),
        error,
    })?;
    let bytes = digest.0.finalize();
    let digest: String = bytes[..4].iter().map(|b| format!("{b:02x}")).collect();
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{digest}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    let path = path.with_file_name(name);
    save(&path, write)?;
    Ok(path)
}

/// Keeps of what is written only its digest.
struct Digested(Sha256);

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Notes in `work_dir` that `checkpoint` is the last one, for those who go on from there.
///
/// # Errors
/// [`CheckpointFileError`].
pub fn note_last(work_dir: &Path, checkpoint: &Path) -> Result<(), CheckpointFileError> {
    let note = checkpoint.display().to_string();
    save(&work_dir.join(LAST), |file| {
        Ok(file.write_all(note.as_bytes())?)
    })
}

/// The last checkpoint of `work_dir`, as the note there has it; None without one. Where the path that it has leads nowhere, as when the folder was
/// moved, the file of that name in `work_dir` is meant.
pub fn last(work_dir: &Path) -> Option<PathBuf> {
    let note = work_dir.join(LAST);
    if fs::metadata(&note).ok()?.len() > MAX_NOTE {
        return None;
    }
    let noted = fs::read_to_string(note).ok()?;
    let path = Path::new(noted.trim());
    let here = work_dir.join(path.file_name()?);
    Some(match !path.exists() && here.exists() {
        true => here,
        false => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Checkpoint, Dict, Numbers, write_torch};

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("smalti-{name}-{}", std::process::id()))
    }

    fn weights(value: f32) -> [(String, Numbers<'static>); 1] {
        [("w".to_owned(), Numbers::f32(&[1], vec![value]))]
    }

    fn write(path: &Path, value: f32) -> Result<(), CheckpointFileError> {
        save(path, |out| write_torch(out, &weights(value), &Dict::new()))
    }

    #[test]
    fn the_name_has_the_digest_of_the_content() {
        let folder = folder("digest");
        let write = |out: &mut dyn Write| write_torch(out, &weights(1.0), &Dict::new());
        let path = save_with_digest(&folder.join("a.b.pth"), write).unwrap();
        let digest = Sha256::digest(fs::read(&path).unwrap());
        let digest: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(path, folder.join(format!("a.b-{digest}.pth")));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn saved_whole_or_not_at_all() {
        let folder = folder("saved");
        let path = folder.join("epoch_1.pth");
        write(&path, 1.0).unwrap();
        // The disk is full in the middle of the next.
        let error = save(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        });
        let error = error.unwrap_err();
        let message = format!(
            "cannot write `{}`: no storage space; make room, or keep fewer checkpoints (`max_keep_ckpts`)",
            path.display()
        );
        assert_eq!(error.to_string(), message);
        let left = fs::read(&path).unwrap();
        assert_eq!(Checkpoint::read(left).unwrap().f32("w").unwrap(), [1.0]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        write(&path, 2.0).unwrap();
        let new = fs::read(&path).unwrap();
        assert_eq!(Checkpoint::read(new).unwrap().f32("w").unwrap(), [2.0]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_file_is_an_error() {
        let file = folder("file");
        fs::write(&file, "x").unwrap();
        let error = write(&file.join("epoch_1.pth"), 1.0).unwrap_err();
        assert!(matches!(error.error, SaveError::Write(_)), "{error}");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_last_checkpoint_is_noted_and_found_when_its_folder_has_moved() {
        let folder = folder("last");
        assert_eq!(last(&folder), None);
        let path = folder.join("epoch_2.pth");
        note_last(&folder, &path).unwrap();
        let noted = fs::read_to_string(folder.join("last_checkpoint")).unwrap();
        assert_eq!(noted, path.display().to_string());
        assert_eq!(last(&folder), Some(path.clone()));
        note_last(&folder, Path::new("/elsewhere/epoch_2.pth")).unwrap();
        assert_eq!(last(&folder), Some("/elsewhere/epoch_2.pth".into()));
        write(&path, 1.0).unwrap();
        assert_eq!(last(&folder), Some(path));
        fs::remove_dir_all(&folder).unwrap();
    }
}
