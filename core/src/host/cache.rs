//! The checkpoint cache: from a name to a file of this machine, downloaded once and used offline afterwards.
//!
//! Files lie in `$SMALTI_CACHE`, else in `smalti/checkpoints` of the platform's cache folder, under the name they have in
//! their address. PyTorch's own cache (`$TORCH_HOME/hub/checkpoints`) is looked at too, so what MMDetection has
//! downloaded is not downloaded again; so is that of Hugging Face's hub. Where a file name carries a digest, as OpenMMLab's and torchvision's do,
//! the content is checked against it, once; a file put there by hand is checked the same way. Without a digest, a download is
//! kept only if it reads as a checkpoint.
//!
//! Addresses come from strangers' configs, so what a server may send, and in what time, is limited.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::weights::names::{self, NameError, Remote, Source};
use crate::weights::{Checkpoint, CheckpointError};

pub use open::{open, open_section};

mod download;
mod hub;
mod open;
#[cfg(test)]
mod tests;

use download::Limits;

/// How far a download is, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The address.
    pub url: &'a str,
    /// Bytes there are, with those of an earlier, interrupted download.
    pub done: u64,
    /// Bytes of the whole file, where the server says.
    pub total: Option<u64>,
}

/// A checkpoint's file on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Only keys under this prefix count, without it (`mmcls://` names).
    pub keep_prefix: Option<&'static str>,
}

/// A folder of downloaded checkpoints.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    torch_hub: Option<PathBuf>,
    /// Hugging Face's.
    hub: Option<PathBuf>,
    /// Waited before the second try of a download; doubled for each further one.
    pause: Duration,
    limits: Limits,
}

impl Default for Cache {
    /// The folders that the environment says.
    fn default() -> Self {
        let folder = match folder_from_env("SMALTI_CACHE") {
            Some(folder) => folder,
            None => platform_cache().join("smalti").join("checkpoints"),
        };
        let torch = folder_from_env("TORCH_HOME").unwrap_or_else(|| xdg_cache().join("torch"));
        Self {
            torch_hub: Some(torch.join("hub").join("checkpoints")),
            hub: Some(hub::folder()),
            ..Self::at(folder)
        }
    }
}

impl Cache {
    /// A cache in this folder alone; it is made when first needed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            torch_hub: None,
            hub: None,
            pause: Duration::from_millis(500),
            limits: Limits::default(),
        }
    }

    /// Where a download of this address is, or will be, or can be put by hand.
    pub fn path_of(&self, remote: &Remote) -> PathBuf {
        self.folder.join(cached_name(remote))
    }

    /// The file of a checkpoint name (see [`names::resolve`]), downloaded if it is not here yet. An interrupted download
    /// goes on where it stopped; a second process waits for the first.
    ///
    /// # Errors
    /// [`CacheError`]; a download that failed says where to put the file by hand.
    pub fn fetch(
        &self,
        name: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, CacheError> {
        let remote = match external_model(name) {
            Some(source) => source,
            None => names::resolve(name)?,
        };
        let remote = match remote {
            Source::Url(remote) => remote,
            Source::Path(path) => {
                let path = expand_home(&path);
                open::regular(&path)?;
                return Ok(Fetched {
                    path,
                    keep_prefix: None,
                });
            }
        };
        let path = match (self.fetch_remote(&remote, progress), hub::instead(&remote)) {
            (Err(CacheError::Status { code: 404, .. }), Some(instead)) => {
                self.fetch_remote(&instead, progress)?
            }
            (done, _) => done?,
        };
        Ok(Fetched {
            path,
            keep_prefix: remote.keep_prefix,
        })
    }

    fn fetch_remote(
        &self,
        remote: &Remote,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, CacheError> {
        let path = self.path_of(remote);
        if path.is_file() {
            self.check(&path, remote)?;
            return Ok(path);
        }
        if let Some(hub) = &self.torch_hub {
            let theirs = hub.join(&remote.file_name);
            // Only with a digest: without one it could be another file of the same name.
            if remote.digest.is_some() && theirs.is_file() && self.check(&theirs, remote).is_ok() {
                return Ok(theirs);
            }
        }
        if let Some(theirs) = self.hub.as_ref().and_then(|hub| hub::cached(hub, remote)) {
            return Ok(theirs);
        }
        fs::create_dir_all(&self.folder).map_err(|error| io_error(&self.folder, &error))?;
        if let Some(digest) = download::download(remote, &path, self, progress)? {
            // Without the note the file is only hashed once more.
            let _ = self.note_digest(&path, &digest);
        }
        Ok(path)
    }

    /// Checks a file against the digest in its name, unless that was done before.
    fn check(&self, path: &Path, remote: &Remote) -> Result<(), CacheError> {
        let Some(expected) = &remote.digest else {
            return Ok(());
        };
        let noted = self.noted_digest(path);
        let found = match noted {
            Some(digest) => digest,
            None => {
                let digest = sha256_of(path).map_err(|error| io_error(path, &error))?;
                let _ = self.note_digest(path, &digest);
                digest
            }
        };
        if found.starts_with(expected) {
            return Ok(());
        }
        Err(CacheError::WrongDigest {
            what: path.display().to_string(),
            expected: expected.clone(),
            found,
            looks_like: None,
            help: "delete this file and try again",
        })
    }

    /// The digest of a file is noted beside its cached name, with what tells when it has changed.
    fn note_path(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.folder.join(format!("{name}.sha256"))
    }

    fn note_digest(&self, path: &Path, digest: &str) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let line = format!("{digest}  {}\n{}\n", path.display(), stamp(path)?);
        fs::write(self.note_path(path), line)
    }

    fn noted_digest(&self, path: &Path) -> Option<String> {
        let note = fs::read_to_string(self.note_path(path)).ok()?;
        let (line, rest) = note.split_once('\n')?;
        let (digest, noted_path) = line.split_once("  ")?;
        let same = noted_path == path.display().to_string() && rest.trim() == stamp(path).ok()?;
        same.then(|| digest.to_owned())
    }
}

/// Reads a checkpoint by name from the [default](Cache::default) cache; see [`Cache::fetch`].
///
/// # Errors
/// [`CacheError`].
pub fn load(name: &str, progress: &mut dyn FnMut(Progress)) -> Result<Checkpoint, CacheError> {
    let fetched = Cache::default().fetch(name, progress)?;
    let mut checkpoint = open(&fetched.path)?;
    if let Some(prefix) = fetched.keep_prefix {
        checkpoint.keep_prefix(prefix);
    }
    Ok(checkpoint)
}

/// Why a checkpoint could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// The name stands for nothing.
    Name(NameError),
    /// A path where no file is.
    NoSuchFile {
        /// The path, with `~` resolved.
        path: PathBuf,
    },
    /// A path where something else is than a file.
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, such as `a folder`.
        what: &'static str,
        /// Names of files in the folder that look like checkpoints.
        checkpoints: Vec<String>,
    },
    /// Files that the index of a checkpoint names are not beside it.
    MissingFiles {
        /// The index.
        path: PathBuf,
        /// The files that are not there.
        missing: Vec<String>,
        /// How many it names.
        of: usize,
    },
    /// The server answered with an error.
    Status {
        /// The address.
        url: String,
        /// HTTP status, such as 404.
        code: u16,
        /// Where the file can be put by hand.
        put_at: PathBuf,
    },
    /// What the server offers is not taken: too large, or by a way that cannot be trusted.
    Refused {
        /// The address.
        url: String,
        /// What was found, and what is allowed.
        why: String,
        /// Where the file can be put by hand.
        put_at: PathBuf,
    },
    /// What the server sent is no checkpoint. Nothing was kept.
    NotACheckpoint {
        /// The address.
        url: String,
        /// What it is instead.
        error: CheckpointError,
        /// Where the file can be put by hand.
        put_at: PathBuf,
    },
    /// The server could not be reached, the connection broke again and again, or too little came.
    Network {
        /// The address.
        url: String,
        /// What happened.
        why: String,
        /// Where the file can be put by hand.
        put_at: PathBuf,
    },
    /// The content is not what the digest in the file name promises.
    WrongDigest {
        /// The address or path.
        what: String,
        /// The beginning of the SHA-256 in hex, from the name.
        expected: String,
        /// The content's SHA-256 in hex.
        found: String,
        /// Why a download's content is no checkpoint at all, if it is none.
        looks_like: Option<String>,
        /// What to do.
        help: &'static str,
    },
    /// The disk said no.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// The file is here but cannot be read as a checkpoint.
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CheckpointError,
    },
}

impl From<NameError> for CacheError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl std::error::Error for CacheError {}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_hand = |f: &mut fmt::Formatter<'_>, put_at: &Path| {
            write!(
                f,
                "\nhelp: or download it by other means and put it at {}",
                put_at.display()
            )
        };
        match self {
            Self::Name(error) => f.write_str(&shown(&error.to_string())),
            Self::NoSuchFile { path } => write!(f, "no file {}", shown(&path.to_string_lossy())),
            Self::NotAFile {
                path,
                what,
                checkpoints,
            } => {
                write!(f, "{} is {what}; expected a file", path.display())?;
                match (*what, checkpoints.is_empty()) {
                    ("a folder", true) => Ok(()),
                    ("a folder", false) => write!(f, "\nhelp: in it is {}", listed(checkpoints)),
                    _ => write!(f, "\nhelp: save what it gives to a file first"),
                }
            }
            Self::MissingFiles { path, missing, of } => write!(
                f,
                "{}: of the {of} files that this index names, {} not in its folder: {}\nhelp: put all of them beside it, under these names",
                path.display(),
                match missing.len() {
                    1 => "1 is".to_owned(),
                    n => format!("{n} are"),
                },
                listed(missing)
            ),
            Self::Status { url, code, put_at } => {
                let meaning = match code {
                    404 | 410 => " (there is no such file on the server)",
                    401 | 403 => " (access denied)",
                    _ => "",
                };
                write!(f, "the server answered {code}{meaning} for {}", shown(url))?;
                by_hand(f, put_at)
            }
            Self::Refused { url, why, put_at } => {
                write!(f, "refused to download {}: {}", shown(url), shown(why))?;
                by_hand(f, put_at)
            }
            Self::NotACheckpoint { url, error, put_at } => {
                let error = error.to_string();
                write!(f, "{}: {}; nothing was kept", shown(url), shown(&error))?;
                write!(f, "\nhelp: see what a browser gets from this address")?;
                by_hand(f, put_at)
            }
            Self::Network { url, why, put_at } => {
                write!(f, "cannot download {}: {}", shown(url), shown(why))?;
                by_hand(f, put_at)
            }
            Self::WrongDigest {
                what,
                expected,
                found,
                looks_like,
                help,
            } => {
                write!(
                    f,
                    "{} is not the file it should be: its name says SHA-256 {expected}..., its content has {}...",
                    shown(what),
                    found.get(..expected.len()).unwrap_or(found)
                )?;
                if let Some(kind) = looks_like {
                    write!(f, " ({})", shown(kind))?;
                }
                write!(f, "\nhelp: {help}")
            }
            Self::Io { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Checkpoint { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// A text of a server or an address as it can be printed.
fn shown(text: &str) -> String {
    crate::config::line(&crate::config::cut(text, 2000)).into_owned()
}

/// The first names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(10).map(String::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn io_error(path: &Path, error: &std::io::Error) -> CacheError {
    CacheError::Io {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

/// The file name of the address; with a mark of the whole address where no digest tells two `epoch_12.pth` apart.
fn cached_name(remote: &Remote) -> String {
    if remote.digest.is_some() {
        return remote.file_name.clone();
    }
    let mark = &hex(&Sha256::digest(&remote.url))[..8];
    match remote.file_name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{mark}.{extension}"),
        None => format!("{}.{mark}", remote.file_name),
    }
}

/// Length and time of change.
fn stamp(path: &Path) -> std::io::Result<String> {
    let metadata = fs::metadata(path)?;
    let time = metadata.modified()?.duration_since(UNIX_EPOCH);
    Ok(format!(
        "{} {}",
        metadata.len(),
        time.unwrap_or_default().as_nanos()
    ))
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder_from_env(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(expand_home(&value.to_string_lossy()))
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}

fn expand_home(path: &str) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => home(),
        Some(rest) if rest.starts_with(['/', '\\']) => home().join(&rest[1..]),
        _ => PathBuf::from(path),
    }
}

/// Where PyTorch and mmengine have their caches, on every platform.
fn xdg_cache() -> PathBuf {
    folder_from_env("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"))
}

fn platform_cache() -> PathBuf {
    if cfg!(target_os = "macos") {
        home().join("Library").join("Caches")
    } else if cfg!(windows) {
        folder_from_env("LOCALAPPDATA").unwrap_or_else(|| home().join("AppData").join("Local"))
    } else {
        xdg_cache()
    }
}

/// mmengine lets a user name more `open-mmlab://` checkpoints, in `$MMENGINE_HOME/open_mmlab.json`: addresses, or paths
/// relative to that folder. They count before the known ones.
fn external_model(name: &str) -> Option<Source> {
    let folder = folder_from_env("MMENGINE_HOME").unwrap_or_else(|| xdg_cache().join("mmengine"));
    external_model_in(&folder, name)
}

fn external_model_in(folder: &Path, name: &str) -> Option<Source> {
    let (scheme, name) = name.trim().split_once("://")?;
    if !matches!(scheme, "open-mmlab" | "openmmlab") {
        return None;
    }
    let text = fs::read_to_string(folder.join("open_mmlab.json")).ok()?;
    let models: std::collections::HashMap<String, String> = serde_json::from_str(&text).ok()?;
    let place = models.get(name)?;
    Some(if place.contains("://") {
        Source::Url(Remote::new(place, None))
    } else {
        Source::Path(folder.join(place).display().to_string())
    })
}
