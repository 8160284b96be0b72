//! What a server says of the version of a file that it sends, by which two parts of it are known to belong together.

use std::fs;
use std::path::Path;

use ureq::http::{HeaderMap, HeaderName, header};

/// Longest validator that is kept, in bytes.
const MAX_VALIDATOR: usize = 512;

/// One version of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// A strong ETag (it begins with `"`), else the time of the last change: what `If-Range` may hold (RFC 9110, 13.1.5).
    pub validator: Option<String>,
    /// Bytes of the whole file.
    pub total: Option<u64>,
}

/// `bytes 5-9/10`: the first and the last byte, and the length of the whole file where it is known.
pub(super) struct ContentRange {
    pub start: u64,
    pub total: Option<u64>,
}

impl Version {
    /// As the headers of an answer say.
    pub fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        let tag = text(headers, header::ETAG).filter(|tag| tag.starts_with('"'));
        let changed = text(headers, header::LAST_MODIFIED);
        // A file that is sent in the second of its change may change once more in that second.
        let changed = changed.filter(|&changed| text(headers, header::DATE) != Some(changed));
        let validator = tag.or(changed).map(str::to_owned);
        Self { validator, total }
    }

    /// Whether an answer with the rest of the file is of this version; None if it does not say.
    pub fn is_continued_by(&self, headers: &HeaderMap, total: Option<u64>) -> Option<bool> {
        if self
            .total
            .zip(total)
            .is_some_and(|(ours, theirs)| ours != theirs)
        {
            return Some(false);
        }
        let ours = self.validator.as_deref()?;
        let name = match ours.starts_with('"') {
            true => header::ETAG,
            false => header::LAST_MODIFIED,
        };
        headers.get(name).map(|theirs| theirs == ours)
    }

    /// Writes it down: validator, length or `-`, and the address that it holds for, a line each.
    pub fn note(&self, path: &Path, url: &str) -> std::io::Result<()> {
        let Some(validator) = &self.validator else {
            return Ok(());
        };
        let total = self.total.map_or("-".to_owned(), |total| total.to_string());
        fs::write(path, format!("{validator}\n{total}\n{url}\n"))
    }

    /// What was written down for this address. The line end after the address shows that all was written.
    pub fn noted(path: &Path, url: &str) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (validator, rest) = text.split_once('\n')?;
        let (total, noted_url) = rest.split_once('\n')?;
        let total = match total {
            "-" => None,
            total => Some(total.parse().ok()?),
        };
        let is_ours = noted_url.strip_suffix('\n')? == url && !validator.is_empty();
        is_ours.then(|| Self {
            validator: Some(validator.to_owned()),
            total,
        })
    }
}

impl ContentRange {
    /// Of an answer with a part of the file; None if it contradicts itself.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = text(headers, header::CONTENT_RANGE)?;
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        let total = match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let fits = start <= end && total.is_none_or(|total: u64| end < total);
        fits.then_some(Self { start, total })
    }

    /// `bytes */10`: the length of the whole file, of an answer that has no such part.
    pub fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
        let value = text(headers, header::CONTENT_RANGE)?;
        value.strip_prefix("bytes */")?.parse().ok()
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty() && value.len() <= MAX_VALIDATOR).then_some(value)
}
