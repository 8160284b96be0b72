//! Zip archives as PyTorch writes them. `rawzip` reads the central directory; ours are the limits, and the inflating.
//!
//! Only what a checkpoint needs: stored or deflated, no encryption. A compressed entry is inflated into a buffer whose size the
//! file's own length bounds ([`MAX_RATIO`]), and no two entries share bytes, so that each is inflated from bytes of its own.

use std::collections::HashMap;
use std::ops::Range;

use rawzip::{CompressionMethod, ErrorKind, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

use super::error::CheckpointError;

/// The first bytes of a zip file that has entries.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// An archive's entries together may inflate to this many times the length of the file (weights to less than twice) ...
const MAX_RATIO: usize = 8;
/// ... plus this many bytes, for small files of zeros.
const FREE_BYTES: usize = 64 << 20;
/// One inflated entry is never larger than this, or than the file.
const MAX_INFLATED: usize = 512 << 20;
/// At most so many entries (PyTorch writes one for each storage, and a few more).
const MAX_ENTRIES: usize = 150_000;
/// Longest name of an entry, in bytes.
const MAX_NAME: usize = 4096;

/// One file of the archive, with the sizes of the central directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where its local header starts.
    header: usize,
    method: CompressionMethod,
    encrypted: bool,
    /// Where its packed bytes lie.
    packed: Result<Range<usize>, CheckpointError>,
    crc: u32,
    /// Bytes when unpacked.
    pub size: usize,
}

/// The central directory.
#[derive(Debug)]
pub(crate) struct Archive {
    entries: HashMap<String, Entry>,
    /// Names in the archive's order.
    pub names: Vec<String>,
}

impl Archive {
    /// Reads the central directory of `file`.
    pub fn read(file: &[u8]) -> Result<Self, CheckpointError> {
        let wrong = |error: rawzip::Error| match error.kind() {
            ErrorKind::MissingEndOfCentralDirectory => bad(
                file.len(),
                "no central directory at the end: the file is cut short, download it again",
            ),
            _ => bad(file.len(), format!("in the central directory: {error}")),
        };
        let zip = ZipArchive::from_slice(file).map_err(wrong)?;
        let mut archive = Self {
            entries: HashMap::new(),
            names: Vec::new(),
        };
        let (mut inflated, mut count) = (0usize, 0);
        let mut extents = Vec::new();
        let mut records = zip.entries();
        while let Some(record) = records.next_entry().map_err(wrong)? {
            let name = record.file_path().as_bytes();
            if count >= MAX_ENTRIES as u64 || name.len() > MAX_NAME {
                return Err(CheckpointError::TooLarge {
                    what: "a zip archive with more entries, or a longer name of one, than any checkpoint has".to_owned(),
                    limit: MAX_ENTRIES as u64,
                });
            }
            let entry = Entry::of(&zip, &record);
            if let Ok(packed) = &entry.packed {
                extents.push((entry.header, packed.end));
            }
            if entry.method != CompressionMethod::STORE {
                inflated = inflated.saturating_add(entry.size);
            }
            let name = String::from_utf8_lossy(name).into_owned();
            if archive.entries.insert(name.clone(), entry).is_none() {
                archive.names.push(name);
            }
            count += 1;
        }
        if count < zip.entries_hint() {
            let at = zip.directory_offset() as usize;
            return Err(bad(at, "fewer entries than the end record says"));
        }
        extents.sort_unstable();
        if let Some(pair) = extents.windows(2).find(|pair| pair[1].0 < pair[0].1) {
            let why = "two entries share bytes, which PyTorch never writes: download the file again, from where you trust it";
            return Err(bad(pair[1].0, why));
        }
        let limit = file
            .len()
            .saturating_mul(MAX_RATIO)
            .saturating_add(FREE_BYTES);
        if inflated > limit {
            return Err(CheckpointError::TooLarge {
                what: format!("a zip archive that inflates to {inflated} bytes"),
                limit: limit as u64,
            });
        }
        Ok(archive)
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The bytes of a small entry such as `byteorder`; None when absent or larger than `max` bytes.
    pub fn small(&self, file: &[u8], name: &str, max: usize) -> Option<Vec<u8>> {
        let entry = self.get(name).filter(|entry| entry.size <= max)?;
        match entry.stored_range().ok()? {
            Some(range) => Some(file.get(range)?.to_vec()),
            None => entry.inflate(file).ok(),
        }
    }
}

impl Entry {
    fn of(zip: &ZipSliceArchive<&[u8]>, record: &ZipFileHeaderRecord) -> Self {
        let header = usize::try_from(record.local_header_offset()).unwrap_or(usize::MAX);
        let packed = match zip.get_entry(record.wayfinder()) {
            Ok(entry) => {
                // inside of the file, so these fit
                let (start, end) = entry.compressed_data_range();
                Ok(start as usize..end as usize)
            }
            Err(error) => Err(bad(header, error.to_string())),
        };
        Self {
            header,
            method: record.compression_method(),
            encrypted: record.flags().is_encrypted(),
            packed,
            crc: record.crc32(),
            size: usize::try_from(record.uncompressed_size_hint()).unwrap_or(usize::MAX),
        }
    }

    /// Where the bytes lie in the file, or None when they are compressed.
    pub fn stored_range(&self) -> Result<Option<Range<usize>>, CheckpointError> {
        let range = self.packed.clone()?;
        match self.method {
            _ if self.encrypted => Err(CheckpointError::Unsupported {
                what: "an encrypted zip entry".to_owned(),
                help: "save the checkpoint without a password",
            }),
            CompressionMethod::STORE if range.len() != self.size => {
                Err(bad(self.header, "a stored entry with two different sizes"))
            }
            CompressionMethod::STORE => Ok(Some(range)),
            CompressionMethod::DEFLATE => Ok(None),
            other => Err(CheckpointError::Unsupported {
                what: format!("zip compression method {other}"),
                help: "save the checkpoint again with torch.save",
            }),
        }
    }

    /// Unpacks a deflated entry and checks its length and checksum.
    pub fn inflate(&self, file: &[u8]) -> Result<Vec<u8>, CheckpointError> {
        let packed = file.get(self.packed.clone()?).unwrap_or_default();
        if self.size > MAX_INFLATED.max(file.len()) {
            return Err(CheckpointError::TooLarge {
                what: format!("a compressed zip entry of {} bytes", self.size),
                limit: MAX_INFLATED as u64,
            });
        }
        // Deflate cannot do better than 1032 to 1, so a size beyond that is a lie: nothing is reserved for it.
        if self.size / 1032 > packed.len() {
            return Err(bad(
                self.header,
                "an entry larger than its data can unpack to",
            ));
        }
        let mut out = vec![0; self.size];
        let mut inflater = flate2::Decompress::new(false);
        let status = inflater
            .decompress(packed, &mut out, flate2::FlushDecompress::Finish)
            .map_err(|error| bad(self.header, error.to_string()))?;
        if status != flate2::Status::StreamEnd || inflater.total_out() != self.size as u64 {
            return Err(bad(self.header, "the entry unpacks to another size"));
        }
        self.check(&out)?;
        Ok(out)
    }

    /// Whether the entry is stored, and as its checksum says.
    pub fn has_right_checksum(&self, file: &[u8]) -> bool {
        matches!(self.stored_range(), Ok(Some(_))) && self.check_stored(file).is_ok()
    }

    /// Compares the checksum of a stored entry with that of its bytes.
    pub fn check_stored(&self, file: &[u8]) -> Result<(), CheckpointError> {
        match self.stored_range()?.and_then(|range| file.get(range)) {
            Some(bytes) => self.check(bytes),
            None => Ok(()),
        }
    }

    /// Compares the checksum with that of the entry's bytes.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        if crc.sum() != self.crc {
            let why = "the entry's checksum is wrong: its bytes are not those that were saved";
            return Err(bad(self.header, why));
        }
        Ok(())
    }
}

fn bad(at: usize, why: impl Into<String>) -> CheckpointError {
    CheckpointError::malformed("zip archive", at, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One stored entry `a` of three bytes, with all sizes and places in the 64-bit records, as for files beyond 4 GiB.
    fn zip64() -> Vec<u8> {
        let u64s = |values: &[u64]| {
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<_>>()
        };
        // An extra field of another kind (id 0x4246) comes first, as the padding that PyTorch writes.
        let mut extra = vec![0x46, 0x42, 2, 0, 9, 9, 1, 0, 24, 0];
        extra.extend(u64s(&[3, 3, 0]));
        let mut file = b"PK\x03\x04".to_vec();
        file.extend([45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([0xff; 8]);
        file.extend([1, 0, 4, 0, b'a', 0x46, 0x42, 0, 0]);
        file.extend(b"xyz");
        let directory = file.len();
        file.extend(b"PK\x01\x02\x2d\x00");
        file.extend([45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([0xff; 8]);
        file.extend([1, 0, extra.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([0xff; 4]);
        file.push(b'a');
        file.extend(&extra);
        let end = file.len();
        file.extend(b"PK\x06\x06");
        file.extend(u64s(&[44]));
        file.extend([0; 12]);
        file.extend(u64s(&[1, 1, (end - directory) as u64, directory as u64]));
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(u64s(&[end as u64]));
        file.extend([1, 0, 0, 0]);
        file.extend(b"PK\x05\x06");
        file.extend([0, 0, 0, 0]);
        file.extend([0xff; 12]);
        file.extend([0, 0]);
        file
    }

    #[test]
    fn sizes_and_places_of_64_bits() {
        let file = zip64();
        let archive = Archive::read(&file).unwrap();
        assert_eq!(archive.names, ["a"]);
        let entry = archive.get("a").unwrap();
        let range = entry.stored_range().unwrap().unwrap();
        assert_eq!(&file[range], b"xyz");
        assert_eq!(archive.small(&file, "a", 2), None);
    }

    #[test]
    fn cut_or_changed_64_bit_records_never_panic() {
        let file = zip64();
        for at in 0..file.len() {
            assert!(Archive::read(&file[..at]).is_err());
            for value in [0, 0x7f, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                if let Ok(archive) = Archive::read(&changed)
                    && let Some(entry) = archive.get("a")
                {
                    let _ = entry.stored_range().map(|_| entry.inflate(&changed));
                }
            }
        }
    }

    #[test]
    fn a_comment_may_follow_the_end_record() {
        let mut file = zip64();
        let len = file.len();
        file[len - 2] = 5;
        file.extend(b"hello");
        assert_eq!(Archive::read(&file).unwrap().names, ["a"]);
    }
}
