//! A file that grows: tries until it is whole, and what is believed of each answer.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, header};

use super::request::Client;
use super::version::{ContentRange, Version};
use super::watch::Watch;
use super::{Stop, with_suffix};
use crate::host::cache::{self, Cache, CacheError, Progress, hex, io_error};
use crate::weights::names::Remote;

/// Tries in a row that bring next to nothing, and times that what came is thrown away.
const MAX_FRUITLESS: u32 = 4;
/// Tries in all.
const MAX_TRIES: u32 = 100;
/// Bytes of a try that is not fruitless.
const SOME_BYTES: u64 = 1 << 10;

/// What is here of a file, and what is known of it.
pub(super) struct Part<'a> {
    pub file: File,
    pub path: PathBuf,
    /// Holds the [`Version`] between two processes.
    pub tag_path: PathBuf,
    len: u64,
    /// Of the first `len` bytes.
    hasher: Sha256,
    /// Of which the first `len` bytes are.
    version: Version,
    /// Whether the digest in the name is proof enough to put two halves together: it is looked at in the end.
    pub trusts_digest: bool,
    /// The bytes are of more than one answer.
    pub joined: bool,
    /// The server said how long the file is, or marked its end.
    pub told_whole: bool,
    /// How often bytes were thrown away.
    restarts: u32,
    largest: u64,
    remote: &'a Remote,
    put_at: &'a Path,
}

impl<'a> Part<'a> {
    /// What an earlier try has left in `file`, if it can be gone on with.
    pub fn open(
        file: File,
        path: PathBuf,
        remote: &'a Remote,
        put_at: &'a Path,
        largest: u64,
    ) -> Result<Self, CacheError> {
        let tag_path = with_suffix(&path, ".tag");
        let mut part = Self {
            file,
            version: Version::noted(&tag_path, &remote.url).unwrap_or_default(),
            tag_path,
            path,
            len: 0,
            hasher: Sha256::new(),
            trusts_digest: remote.digest.is_some(),
            joined: false,
            told_whole: false,
            restarts: 0,
            largest,
            remote,
            put_at,
        };
        if !part.can_go_on() {
            part.restart()?;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            match part.file.read(&mut buffer) {
                Ok(0) => return Ok(part),
                Ok(n) => {
                    part.hasher.update(&buffer[..n]);
                    part.len += n as u64;
                }
                Err(error) => return Err(io_error(&part.path, &error)),
            }
        }
    }

    /// Whether something will prove that what comes next belongs to what is here.
    fn can_go_on(&self) -> bool {
        self.trusts_digest || self.version.validator.is_some()
    }

    /// Throws away what is here.
    pub fn restart(&mut self) -> Result<(), CacheError> {
        // The note goes first: without it nobody goes on with these bytes, should we be stopped in between.
        match fs::remove_file(&self.tag_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_error(&self.tag_path, &error));
            }
            _ => {}
        }
        let emptied = self.file.set_len(0);
        emptied
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|error| io_error(&self.path, &error))?;
        self.restarts += u32::from(self.len > 0);
        self.len = 0;
        self.hasher = Sha256::new();
        self.version = Version::default();
        self.joined = false;
        Ok(())
    }

    /// As [`Self::restart`], since `why`.
    fn again(&mut self, why: impl Into<String>) -> Stop {
        match self.restart() {
            Ok(()) => Stop::Again(why.into()),
            Err(error) => Stop::Final(error),
        }
    }

    fn refused(&self, why: String) -> Stop {
        Stop::Final(CacheError::Refused {
            url: self.remote.url.clone(),
            why,
            put_at: self.put_at.to_owned(),
        })
    }

    /// Tries until the file is whole, or too little comes.
    pub fn fill(
        &mut self,
        client: &Client,
        cache: &Cache,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<String, CacheError> {
        let (mut fruitless, mut why) = (0, String::new());
        self.restarts = 0;
        let stopped = client.watched(&cache.limits, |watch| {
            for _ in 0..MAX_TRIES {
                let before = self.len;
                let earlier = std::mem::take(&mut why);
                match self.attempt(client, watch, progress) {
                    Ok(()) => return Ok(None),
                    Err(Stop::Final(error)) => return Err(error),
                    Err(Stop::Again(reason)) => why = reason,
                }
                let brought_some = self.len >= before + SOME_BYTES;
                fruitless = if brought_some { 0 } else { fruitless + 1 };
                match watch.fired() {
                    Some(reason) if earlier.is_empty() => return Ok(Some(reason)),
                    Some(reason) => {
                        return Ok(Some(format!("{reason}; the try before: {earlier}")));
                    }
                    None => {}
                }
                if fruitless >= MAX_FRUITLESS || self.restarts > MAX_FRUITLESS {
                    break;
                }
                std::thread::sleep(cache.pause * 2u32.pow(fruitless));
            }
            Ok(Some(why))
        });
        match stopped? {
            None => Ok(hex(&self.hasher.clone().finalize())),
            Some(why) => Err(CacheError::Network {
                url: self.remote.url.clone(),
                why,
                put_at: self.put_at.to_owned(),
            }),
        }
    }

    fn attempt(
        &mut self,
        client: &Client,
        watch: &mut Watch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Stop> {
        if self.len > 0 && !self.can_go_on() {
            self.restart().map_err(Stop::Final)?;
        }
        let mut response = client.get(self.len, self.version.validator.as_deref())?;
        let total = match response.status().as_u16() {
            200 => {
                let total = response.body().content_length();
                self.allowed(total)?;
                self.restart().map_err(Stop::Final)?;
                self.begin(&response, total);
                total
            }
            206 => self.go_on(&response)?,
            // Nothing is left to send: the part is whole, or it is not a part of this file.
            416 => return self.nothing_left(&response),
            code @ (429 | 500 | 502 | 503 | 504) => {
                return Err(Stop::Again(format!("the server answered {code}")));
            }
            code => {
                return Err(Stop::Final(CacheError::Status {
                    url: self.remote.url.clone(),
                    code,
                    put_at: self.put_at.to_owned(),
                }));
            }
        };
        let marks = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        self.told_whole = marks
            .iter()
            .any(|mark| response.headers().contains_key(mark));
        self.receive(&mut response, total, client, watch, progress)?;
        match total {
            Some(total) if self.len < total => {
                let why = format!("the connection ended after {} of {total} bytes", self.len);
                Err(Stop::Again(why))
            }
            Some(_) => Ok(()),
            // A connection that we have closed ourselves looks like the end of a body without a length.
            None => watch.fired().map_or(Ok(()), |why| Err(Stop::Again(why))),
        }
    }

    /// A server's word for the length of the file, if it is not too large.
    fn allowed(&self, total: Option<u64>) -> Result<(), Stop> {
        match total {
            Some(total) if total > self.largest => Err(self.refused(format!(
                "the server says that it has {total} bytes, and the limit is {}",
                self.largest
            ))),
            _ => Ok(()),
        }
    }

    /// The first bytes of a file are about to come.
    fn begin(&mut self, response: &Response<Body>, total: Option<u64>) {
        self.version = Version::of(response.headers(), total);
        // Without the note only the next process starts again.
        let _ = self.version.note(&self.tag_path, &self.remote.url);
    }

    /// Whether the part of the file that is about to come belongs to ours, and the length of the whole file.
    fn go_on(&mut self, response: &Response<Body>) -> Result<Option<u64>, Stop> {
        let range = match ContentRange::of(response.headers()) {
            Some(range) if range.start == self.len => range,
            _ => return Err(self.again("the server sent another part than asked for")),
        };
        self.allowed(range.total)?;
        if self.len == 0 {
            self.restart().map_err(Stop::Final)?;
            self.begin(response, range.total);
            return Ok(range.total);
        }
        match self
            .version
            .is_continued_by(response.headers(), range.total)
        {
            Some(true) => {}
            None if self.trusts_digest => {}
            Some(false) => return Err(self.again("the server's file has changed in between")),
            None => return Err(self.again("the server does not say of which version the rest is")),
        }
        self.joined = true;
        Ok(range.total.or(self.version.total))
    }

    fn nothing_left(&mut self, response: &Response<Body>) -> Result<(), Stop> {
        let whole = ContentRange::unsatisfied(response.headers()) == Some(self.len);
        let proven = self.trusts_digest || self.version.total == Some(self.len);
        if whole && proven && self.len > 0 {
            self.joined = true;
            return Ok(());
        }
        Err(match self.len {
            0 => Stop::Again("the server answered 416 when asked for the whole file".to_owned()),
            _ => self.again("the server's file is shorter than our part"),
        })
    }

    /// Writes a body behind what is here.
    fn receive(
        &mut self,
        response: &mut Response<Body>,
        total: Option<u64>,
        client: &Client,
        watch: &mut Watch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Stop> {
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let url = &self.remote.url;
        loop {
            let done = self.len;
            progress(Progress { url, done, total });
            let n = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    let of = total.map_or(String::new(), |total| format!(" of {total}"));
                    let why = format!("the connection ended after {done}{of} bytes");
                    return Err(Stop::Again(why));
                }
                Err(error) => return Err(Stop::Again(client.why(&error.into()))),
            };
            let len = self.len + n as u64;
            if let Some(total) = total.filter(|&total| len > total) {
                return Err(self.again(format!("more came than the {total} bytes announced")));
            }
            if len > self.largest {
                self.restart().map_err(Stop::Final)?;
                return Err(self.refused(format!(
                    "the server sends more than {} bytes, the limit, without saying how many",
                    self.largest
                )));
            }
            self.file
                .write_all(&buffer[..n])
                .map_err(|error| Stop::Final(self.write_error(&error)))?;
            self.hasher.update(&buffer[..n]);
            self.len = len;
            watch.feed(n as u64);
        }
    }

    fn write_error(&self, error: &std::io::Error) -> CacheError {
        let full = matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        );
        match io_error(&self.path, error) {
            CacheError::Io { path, why } if full => CacheError::Io {
                path,
                why: format!(
                    "{why}\nhelp: make room and try again, which goes on with the bytes that are here where that is safe; or let SMALTI_CACHE name a folder on another disk"
                ),
            },
            error => error,
        }
    }

    /// What is wrong with a whole file: a right digest proves all, else it must read as a checkpoint.
    pub fn fault(&self, digest: &str) -> Result<Option<CacheError>, CacheError> {
        let expected = self.remote.digest.as_ref();
        if expected.is_some_and(|expected| digest.starts_with(expected)) {
            return Ok(None);
        }
        let unread = match cache::open(&self.path) {
            Ok(_) => None,
            Err(CacheError::Checkpoint { error, .. }) => Some(error),
            Err(error) => return Err(error),
        };
        use crate::weights::CheckpointError::{Malformed, NoTensors, UnknownFormat};
        // What is whole, and only not read by us, is the author's file.
        let unread = unread.filter(|error| {
            matches!(
                error,
                Malformed { .. } | NoTensors { .. } | UnknownFormat { .. }
            )
        });
        Ok(match (expected, unread) {
            (Some(expected), looks_like) => Some(CacheError::WrongDigest {
                what: self.remote.url.clone(),
                expected: expected.clone(),
                found: digest.to_owned(),
                looks_like: looks_like.map(|error| error.to_string()),
                help: "the server's file has changed or was altered on the way; get it from its author, and if it is right, give its path",
            }),
            (None, Some(error)) => Some(CacheError::NotACheckpoint {
                url: self.remote.url.clone(),
                error,
                put_at: self.put_at.to_owned(),
            }),
            (None, None) => None,
        })
    }
}
