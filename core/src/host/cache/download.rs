//! One download: into `NAME.part`, resumed where it stopped, renamed when it is whole and right.
//!
//! Two halves are put together only where something proves that they are of one file: the digest in the name, or the
//! [version](version) that the server gave with the first half. Else a broken download starts again.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cache, CacheError, Progress, io_error};
use crate::weights::names::Remote;

mod part;
mod request;
mod version;
mod watch;

use part::Part;
use request::Client;

/// What a server is allowed.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until an answer's headers are here, and between two reads of its body. Then it is asked again.
    pub silence: Duration,
    /// For each `least` bytes, whatever the server does and however often it is asked again.
    pub patience: Duration,
    /// Bytes that must come within `patience`: with the defaults, one KiB a second.
    pub least: u64,
    /// Bytes of a file.
    pub largest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            least: 60 << 10,
            largest: 20_000_000_000,
        }
    }
}

/// Downloads to `path` and gives the content's SHA-256 in hex; None when another process has just done so.
pub(super) fn download(
    remote: &Remote,
    path: &Path,
    cache: &Cache,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<String>, CacheError> {
    let part_path = with_suffix(path, ".part");
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&part_path);
    let file = open.map_err(|error| io_error(&part_path, &error))?;
    // The part file is its own lock: who waits here finds the whole file afterwards, or goes on with the part.
    file.lock().map_err(|error| io_error(&part_path, &error))?;
    if path.is_file() {
        drop(file);
        let _ = fs::remove_file(&part_path);
        return Ok(None);
    }
    let mut part = Part::open(file, part_path, remote, path, cache.limits.largest)?;
    let client = Client::new(remote, path, &cache.limits);
    let mut digest = part.fill(&client, cache, progress)?;
    let mut fault = part.fault(&digest)?;
    if fault.is_some() && (part.joined || !part.told_whole) {
        // The server's file may have changed between two halves, or the end is missing: once more from the start.
        part.restart()?;
        part.trusts_digest = false;
        digest = part.fill(&client, cache, progress)?;
        fault = part.fault(&digest)?;
    }
    if let Some(fault) = fault {
        // Emptied and not removed: another process may be waiting for its lock.
        part.restart()?;
        return Err(fault);
    }
    part.file
        .sync_all()
        .and_then(|()| fs::rename(&part.path, path))
        .map_err(|error| io_error(path, &error))?;
    let _ = fs::remove_file(&part.tag_path);
    Ok(Some(digest))
}

/// Why a try ended early.
enum Stop {
    /// Worth another try.
    Again(String),
    /// Not.
    Final(CacheError),
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
