//! Zip archives as PyTorch writes them: read by the central directory, stored or deflated, up to 64-bit sizes.
//!
//! Only what a checkpoint needs: no encryption, no other compression, no split archives. A compressed
//! entry is inflated into a buffer whose size the file's own length bounds ([`MAX_RATIO`]).

use std::collections::HashMap;
use std::ops::Range;

use super::error::CheckpointError;

/// The first bytes of a zip file that has entries.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// An archive's entries together may inflate to this many times the length of the file ...
const MAX_RATIO: usize = 100;
/// ... plus this many bytes, for small files of zeros.
const FREE_BYTES: usize = 64 << 20;
/// One inflated entry is never larger than this.
const MAX_INFLATED: usize = 2 << 30;

const END_RECORD: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;

/// One file of the archive, with the sizes of the central directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its local header starts.
    header: usize,
    /// 0 is stored, 8 is deflated.
    method: u16,
    encrypted: bool,
    packed_size: usize,
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
        let (directory, count) = find_directory(file)?;
        let mut archive = Self {
            entries: HashMap::new(),
            names: Vec::new(),
        };
        let mut at = directory.start;
        let mut inflated = 0usize;
        for _ in 0..count {
            if at >= directory.end {
                return Err(bad(at, "fewer entries than the end record says"));
            }
            let (name, entry, next) = read_entry(file, at)?;
            if entry.method != 0 {
                inflated = inflated.saturating_add(entry.size);
            }
            at = next;
            if archive.entries.insert(name.clone(), entry).is_none() {
                archive.names.push(name);
            }
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
        match entry.stored_range(file).ok()? {
            Some(range) => Some(file.get(range)?.to_vec()),
            None => entry.inflate(file).ok(),
        }
    }
}

impl Entry {
    /// Where the bytes lie in the file, or None when they are compressed.
    pub fn stored_range(&self, file: &[u8]) -> Result<Option<Range<usize>>, CheckpointError> {
        let range = self.packed_range(file)?;
        match self.method {
            _ if self.encrypted => Err(CheckpointError::Unsupported {
                what: "an encrypted zip entry".to_owned(),
                help: "save the checkpoint without a password",
            }),
            0 if self.packed_size != self.size => {
                Err(bad(self.header, "a stored entry with two different sizes"))
            }
            0 => Ok(Some(range)),
            8 => Ok(None),
            other => Err(CheckpointError::Unsupported {
                what: format!("zip compression method {other}"),
                help: "save the checkpoint again with torch.save",
            }),
        }
    }

    /// Unpacks a deflated entry and checks its length and checksum.
    pub fn inflate(&self, file: &[u8]) -> Result<Vec<u8>, CheckpointError> {
        let packed = self.packed_range(file)?;
        let packed = file.get(packed).unwrap_or_default();
        if self.size > MAX_INFLATED {
            return Err(CheckpointError::TooLarge {
                what: format!("a zip entry of {} bytes", self.size),
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
        let mut crc = flate2::Crc::new();
        crc.update(&out);
        if crc.sum() != self.crc {
            return Err(bad(self.header, "the entry's checksum is wrong"));
        }
        Ok(out)
    }

    /// The local header repeats name and extra field, with lengths of its own; the data follows it.
    fn packed_range(&self, file: &[u8]) -> Result<Range<usize>, CheckpointError> {
        let header = Reader::new(file, self.header);
        if header.bytes(0, 4) != Some(MAGIC) {
            return Err(bad(self.header, "no local header where one should be"));
        }
        let cut = || bad(self.header, "an entry reaches beyond the end of the file");
        let skip = header.u16(26).zip(header.u16(28)).ok_or_else(cut)?;
        let start = (self.header + 30)
            .checked_add(usize::from(skip.0) + usize::from(skip.1))
            .ok_or_else(cut)?;
        let end = start.checked_add(self.packed_size).ok_or_else(cut)?;
        file.get(start..end).ok_or_else(cut)?;
        Ok(start..end)
    }
}

/// The range of the central directory and its number of entries, from the end records.
fn find_directory(file: &[u8]) -> Result<(Range<usize>, u64), CheckpointError> {
    // The end record is last, but for a comment of at most 65535 bytes.
    let from = file.len().saturating_sub(END_LEN + 0xffff);
    let tail = &file[from..];
    let found = tail
        .windows(END_LEN)
        .rposition(|w| w.starts_with(END_RECORD));
    let end_at = from
        + found.ok_or_else(|| {
            bad(
                file.len(),
                "no central directory at the end: the file is cut short, download it again",
            )
        })?;
    let end = Reader::new(file, end_at);
    let cut = || bad(end_at, "the end record is cut short");
    let mut count = u64::from(end.u16(10).ok_or_else(cut)?);
    let mut size = u64::from(end.u32(12).ok_or_else(cut)?);
    let mut start = u64::from(end.u32(16).ok_or_else(cut)?);
    // Values that do not fit are in the 64-bit end record, which a locator right before points at.
    if let Some(locator) = end_at.checked_sub(20).map(|at| Reader::new(file, at))
        && locator.bytes(0, 4) == Some(b"PK\x06\x07")
    {
        let at = locator.u64(8).and_then(|at| usize::try_from(at).ok());
        let end64 = Reader::new(file, at.ok_or_else(cut)?);
        if end64.bytes(0, 4) != Some(b"PK\x06\x06") {
            return Err(bad(
                end64.at,
                "no 64-bit end record where the locator points",
            ));
        }
        count = end64.u64(32).ok_or_else(cut)?;
        size = end64.u64(40).ok_or_else(cut)?;
        start = end64.u64(48).ok_or_else(cut)?;
    }
    let start = usize::try_from(start).ok();
    let end = start.zip(usize::try_from(size).ok());
    let range = end.and_then(|(start, size)| Some(start..start.checked_add(size)?));
    let inside = range.filter(|range| range.end <= end_at);
    let range = inside.ok_or_else(|| bad(end_at, "the central directory lies outside the file"))?;
    Ok((range, count))
}

/// One record of the central directory: name, entry, and where the next record starts.
fn read_entry(file: &[u8], at: usize) -> Result<(String, Entry, usize), CheckpointError> {
    let record = Reader::new(file, at);
    if record.bytes(0, 4) != Some(b"PK\x01\x02") {
        return Err(bad(at, "no central directory record where one should be"));
    }
    let cut = || bad(at, "a central directory record is cut short");
    let lengths = (record.u16(28), record.u16(30), record.u16(32));
    let (Some(name_len), Some(extra_len), Some(comment_len)) = lengths else {
        return Err(cut());
    };
    let (name_len, extra_len) = (usize::from(name_len), usize::from(extra_len));
    let name = record.bytes(46, name_len).ok_or_else(cut)?;
    let extra = record.bytes(46 + name_len, extra_len).ok_or_else(cut)?;
    let packed = record.u32(20).ok_or_else(cut)?;
    let unpacked = record.u32(24).ok_or_else(cut)?;
    let header = record.u32(42).ok_or_else(cut)?;

    // The 64-bit extra field holds, in this order, those of the three that are all ones here.
    let mut wide = wide_values(extra);
    let mut value = |narrow: u32| {
        let value = match narrow {
            u32::MAX => wide.next().unwrap_or(u64::from(narrow)),
            _ => u64::from(narrow),
        };
        usize::try_from(value).map_err(|_| cut())
    };
    let size = value(unpacked)?;
    let packed_size = value(packed)?;
    let header = value(header)?;
    if header > file.len() {
        return Err(bad(at, "an entry starts beyond the end of the file"));
    }
    let entry = Entry {
        header,
        method: record.u16(10).ok_or_else(cut)?,
        encrypted: record.u16(8).ok_or_else(cut)? & 1 != 0,
        packed_size,
        crc: record.u32(16).ok_or_else(cut)?,
        size,
    };
    let next = at + 46 + name_len + extra_len + usize::from(comment_len);
    Ok((String::from_utf8_lossy(name).into_owned(), entry, next))
}

/// The numbers of the ZIP64 extra field (id 1).
fn wide_values(extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut field: &[u8] = &[];
    let mut at = 0;
    let reader = Reader::new(extra, 0);
    while let (Some(id), Some(len)) = (reader.u16(at), reader.u16(at + 2)) {
        if id == 1 {
            field = reader.bytes(at + 4, usize::from(len)).unwrap_or_default();
            break;
        }
        at += 4 + usize::from(len);
    }
    let (numbers, _) = field.as_chunks::<8>();
    numbers.iter().map(|&number| u64::from_le_bytes(number))
}

fn bad(at: usize, why: impl Into<String>) -> CheckpointError {
    CheckpointError::malformed("zip archive", at, why)
}

/// Little-endian numbers at offsets from `at`, None beyond the end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn bytes(&self, offset: usize, len: usize) -> Option<&'a [u8]> {
        let start = self.at.checked_add(offset)?;
        self.bytes.get(start..start.checked_add(len)?)
    }

    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes(offset, N)?.try_into().ok()
    }

    fn u16(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }
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
        let range = archive
            .get("a")
            .unwrap()
            .stored_range(&file)
            .unwrap()
            .unwrap();
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
                    let _ = entry
                        .stored_range(&changed)
                        .map(|_| entry.inflate(&changed));
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
