//! Files of this machine, opened as checkpoints: one, or the files that an index beside them names.

use std::fs::{self, File};
use std::path::Path;

use super::{CacheError, io_error};
use crate::weights::{Checkpoint, ShardIndex};

/// Reads a checkpoint file through a memory map: only the parts that are used are read from disk. The index of a checkpoint in
/// several files stands for them all; they have to lie beside it.
///
/// # Errors
/// `NoSuchFile`, `NotAFile`, `Io`, `MissingFiles` and `Checkpoint`.
pub fn open(path: &Path) -> Result<Checkpoint, CacheError> {
    open_section(path, None)
}

/// As [`open`], with the part of the file that holds the wanted state dict; see [`Checkpoint::read_section`].
///
/// # Errors
/// As [`open`].
pub fn open_section(path: &Path, section: Option<&str>) -> Result<Checkpoint, CacheError> {
    let unread = |error| CacheError::Checkpoint {
        path: path.to_owned(),
        error,
    };
    let bytes = map(path)?;
    match ShardIndex::read(&bytes).map_err(unread)? {
        Some(index) => index.join(map_all(path, &index)?, section),
        None => Checkpoint::read_section(bytes, section),
    }
    .map_err(unread)
}

/// The files that an index at `path` names.
fn map_all(path: &Path, index: &ShardIndex) -> Result<Vec<memmap2::Mmap>, CacheError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let missing = index
        .files()
        .iter()
        .filter(|name| !folder.join(name).exists());
    let missing: Vec<String> = missing.cloned().collect();
    if !missing.is_empty() {
        return Err(CacheError::MissingFiles {
            path: path.to_owned(),
            missing,
            of: index.files().len(),
        });
    }
    index
        .files()
        .iter()
        .map(|name| map(&folder.join(name)))
        .collect()
}

fn map(path: &Path) -> Result<memmap2::Mmap, CacheError> {
    // Before it is opened: opening a pipe waits for its writer.
    regular(path)?;
    let map = File::open(path).and_then(|file| {
        // SAFETY: the map is read only. Should another process shorten the file meanwhile, reading the lost part
        // stops this process, as it does for every reader of mapped files; our own downloads never write to a finished file.
        unsafe { memmap2::Mmap::map(&file) }
    });
    map.map_err(|error| io_error(path, &error))
}

/// That there is a file with content of its own.
pub(super) fn regular(path: &Path) -> Result<(), CacheError> {
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CacheError::NoSuchFile {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(io_error(path, &error)),
    };
    if kind.is_file() {
        return Ok(());
    }
    let checkpoints = match kind.is_dir() {
        true => checkpoints_in(path),
        false => Vec::new(),
    };
    Err(CacheError::NotAFile {
        path: path.to_owned(),
        what: kind_name(kind),
        checkpoints,
    })
}

/// What is no file, in words.
fn kind_name(kind: fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else {
        "no regular file"
    }
}

/// Names in a folder that look like checkpoints', sorted: indices of several files, or else single files. Of a large folder a part.
fn checkpoints_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(1000);
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let ending = |endings: &[&str]| {
        let named = |name: &&String| endings.iter().any(|ending| name.ends_with(ending));
        names.iter().filter(named).cloned().collect::<Vec<_>>()
    };
    let indices = ending(&[".index.json"]);
    match indices.is_empty() {
        true => ending(&[".pth", ".pt", ".pkl", ".safetensors", ".bin", ".bpk"]),
        false => indices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A new folder for one test, with these files.
    fn folder(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("smalti-open-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
        folder
    }

    /// A safetensors file of one byte under this name.
    fn safetensors(name: &str) -> Vec<u8> {
        let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &[7],
        ]
        .concat()
    }

    fn message(path: &Path) -> String {
        open(path).unwrap_err().to_string()
    }

    #[test]
    fn an_index_stands_for_the_files_beside_it() {
        let index = br#"{"metadata":{},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#;
        let a = safetensors("a");
        let folder = folder("index", &[("m.index.json", index), ("1.safetensors", &a)]);
        let path = folder.join("m.index.json");
        let expected = format!(
            "{}: of the 2 files that this index names, 1 is not in its folder: 2.safetensors\nhelp: put all of them beside it, under these names",
            path.display()
        );
        assert_eq!(message(&path), expected);
        fs::create_dir(folder.join("2.safetensors")).unwrap();
        assert!(message(&path).contains("2.safetensors is a folder"));
        fs::remove_dir(folder.join("2.safetensors")).unwrap();
        fs::write(folder.join("2.safetensors"), safetensors("b")).unwrap();
        let checkpoint = open(&path).unwrap();
        assert_eq!(checkpoint.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.f32("b").unwrap(), [7.0]);
        // The folder says which of its files to give.
        let help = format!(
            "{} is a folder; expected a file\nhelp: in it is m.index.json",
            folder.display()
        );
        assert_eq!(message(&folder), help);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_file_is_told() {
        let folder = folder("kinds", &[("b.pth", b""), ("a.pth", b""), ("c.txt", b"")]);
        assert!(message(&folder).ends_with("help: in it is a.pth, b.pth"));
        assert!(message(&folder.join("d.pth")).starts_with("no file "));
        for name in ["a.pth", "b.pth"] {
            fs::remove_file(folder.join(name)).unwrap();
        }
        assert!(message(&folder).ends_with("is a folder; expected a file"));
        #[cfg(unix)]
        {
            assert!(message(Path::new("/dev/null")).starts_with("/dev/null is a device"));
            let socket = folder.join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            let told = message(&socket);
            assert!(
                told.contains("is a socket; expected a file\nhelp: save"),
                "{told}"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
