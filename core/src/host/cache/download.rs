//! One download: into `NAME.part`, resumed where it stopped, renamed when it is whole and right.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{CacheError, Progress, hex, io_error};
use crate::weights::names::Remote;

/// Tries in a row that bring nothing.
const MAX_FRUITLESS: u32 = 4;
/// Tries in all.
const MAX_TRIES: u32 = 100;
/// A server that says nothing for so long counts as gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Downloads to `path` and gives the content's SHA-256 in hex; None when another process has just done so.
pub(super) fn download(
    remote: &Remote,
    path: &Path,
    pause: Duration,
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
    let mut part = Part::open(file, part_path, remote, path)?;
    let resumed = part.len > 0;
    let agent = agent(&remote.url);
    let mut digest = part.fill(&agent, pause, progress)?;
    let right = |digest: &str| {
        let expected = remote.digest.as_deref();
        expected.is_none_or(|expected| digest.starts_with(expected))
    };
    if resumed && !right(&digest) {
        // The server's file may have changed between the two halves: once more from the start.
        part.restart()?;
        digest = part.fill(&agent, pause, progress)?;
    }
    if !right(&digest) {
        part.restart()?;
        return Err(CacheError::WrongDigest {
            what: remote.url.clone(),
            expected: remote.digest.clone().unwrap_or_default(),
            found: digest,
            help: "the server's file has changed or was altered on the way; get it from its author",
        });
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

struct Part<'a> {
    file: File,
    path: PathBuf,
    /// Holds what the server calls this version of the file (ETag or date).
    tag_path: PathBuf,
    len: u64,
    /// Of the first `len` bytes.
    hasher: Sha256,
    remote: &'a Remote,
    put_at: &'a Path,
}

impl<'a> Part<'a> {
    fn open(
        file: File,
        path: PathBuf,
        remote: &'a Remote,
        put_at: &'a Path,
    ) -> Result<Self, CacheError> {
        let mut part = Self {
            file,
            tag_path: with_suffix(&path, ".tag"),
            path,
            len: 0,
            hasher: Sha256::new(),
            remote,
            put_at,
        };
        // Without a digest and without a version nothing would tell whether two halves belong together.
        if remote.digest.is_none() && !part.tag_path.is_file() {
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

    fn restart(&mut self) -> Result<(), CacheError> {
        let emptied = self.file.set_len(0);
        emptied
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|error| io_error(&self.path, &error))?;
        let _ = fs::remove_file(&self.tag_path);
        self.len = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    /// Tries until the file is whole, or nothing comes any more.
    fn fill(
        &mut self,
        agent: &Agent,
        pause: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<String, CacheError> {
        let mut fruitless = 0;
        let mut why = String::new();
        for _ in 0..MAX_TRIES {
            let before = self.len;
            match self.attempt(agent, progress) {
                Ok(()) => return Ok(hex(&self.hasher.clone().finalize())),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Again(reason)) => why = reason,
            }
            fruitless = if self.len > before { 0 } else { fruitless + 1 };
            if fruitless >= MAX_FRUITLESS {
                break;
            }
            std::thread::sleep(pause * 2u32.pow(fruitless));
        }
        Err(CacheError::Network {
            url: self.remote.url.clone(),
            why,
            put_at: self.put_at.to_owned(),
        })
    }

    fn attempt(&mut self, agent: &Agent, progress: &mut dyn FnMut(Progress)) -> Result<(), Stop> {
        let mut request = agent
            .get(&self.remote.url)
            .header(header::ACCEPT_ENCODING, "identity");
        if self.len > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.len));
            if let Ok(tag) = fs::read_to_string(&self.tag_path) {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        let mut response = request.call().map_err(|error| self.failure(&error))?;
        let total = match response.status().as_u16() {
            200 => {
                self.restart().map_err(Stop::Final)?;
                response.body().content_length()
            }
            206 => match content_range(&response) {
                Some((start, total)) if start == self.len => total,
                _ => {
                    self.restart().map_err(Stop::Final)?;
                    return Err(Stop::Again(
                        "the server sent another part than asked for".into(),
                    ));
                }
            },
            // Nothing is left to send: the part is whole, or it is not a part of this file.
            416 => {
                if unsatisfied_total(&response) == Some(self.len) && self.len > 0 {
                    return Ok(());
                }
                self.restart().map_err(Stop::Final)?;
                return Err(Stop::Again(
                    "the server's file is shorter than our part".into(),
                ));
            }
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
        self.keep_tag(&response);
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let url = &self.remote.url;
        loop {
            let done = self.len;
            progress(Progress { url, done, total });
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(Stop::Again(error.to_string())),
            };
            self.file
                .write_all(&buffer[..n])
                .map_err(|error| Stop::Final(io_error(&self.path, &error)))?;
            self.hasher.update(&buffer[..n]);
            self.len += n as u64;
        }
        match total {
            Some(total) if self.len < total => {
                let why = format!("the connection ended after {} of {total} bytes", self.len);
                Err(Stop::Again(why))
            }
            _ => Ok(()),
        }
    }

    /// Remembers the file's version for a later resumption; a weak ETag cannot be used for that.
    fn keep_tag(&self, response: &Response<Body>) {
        let value = |name| response.headers().get(name)?.to_str().ok();
        let tag = value(header::ETAG).filter(|tag| !tag.starts_with("W/"));
        if let Some(tag) = tag.or_else(|| value(header::LAST_MODIFIED)) {
            let _ = fs::write(&self.tag_path, tag);
        }
    }

    fn failure(&self, error: &ureq::Error) -> Stop {
        use ureq::Error;
        let passing = matches!(
            error,
            Error::Io(_) | Error::Timeout(_) | Error::ConnectionFailed | Error::Protocol(_)
        );
        if passing {
            return Stop::Again(error.to_string());
        }
        Stop::Final(CacheError::Network {
            url: self.remote.url.clone(),
            why: error.to_string(),
            put_at: self.put_at.to_owned(),
        })
    }
}

/// `bytes 5-9/10`: first byte, and the length of the whole file where it is known.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// `bytes */10`
fn unsatisfied_total(response: &Response<Body>) -> Option<u64> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    value.strip_prefix("bytes */")?.parse().ok()
}

/// A client with the environment's proxy (but not for this machine itself) and certificates.
fn agent(url: &str) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("smalti/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE));
    let host = url.split("://").nth(1).unwrap_or_default();
    if ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local))
    {
        config = config.proxy(None);
    }
    if let Some(roots) = certificates_from_env() {
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().new_agent()
}

/// Networks that look into TLS give their certificates in a file; curl's, Python's and OpenSSL's variables name it.
fn certificates_from_env() -> Option<RootCerts> {
    let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].into_iter();
    let pem = names
        .filter_map(std::env::var_os)
        .find_map(|path| fs::read(path).ok())?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    (!certificates.is_empty()).then(|| RootCerts::from(certificates))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
