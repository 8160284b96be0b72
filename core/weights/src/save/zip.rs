//! The zip archive that PyTorch's files are: entries stored as they are, their bytes at multiples of 64.

use std::io::{self, Write};

/// The bytes of an entry begin at a multiple of this, as PyTorch has it, so that they can be mapped.
const ALIGNMENT: u64 = 64;
/// A number of 32 bits that says that the number proper is among the 64-bit ones.
const ELSEWHERE: u32 = u32::MAX;
/// Versions of the format: with stored entries, and with 64-bit sizes.
const VERSIONS: (u16, u16) = (20, 45);
/// 1 January 1980, the format's earliest, so that the same tensors give the same bytes.
const DATE: u16 = 0x21;

/// Writes an archive from front to back.
pub(super) struct ZipWriter<W> {
    out: W,
    at: u64,
    entries: Vec<Entry>,
}

/// What the central directory says of an entry.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    crc: u32,
    size: u64,
    /// Where its header is.
    header: u64,
}

impl<W: Write> ZipWriter<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            at: 0,
            entries: Vec::new(),
        }
    }

    /// Adds an entry.
    pub fn add(&mut self, name: String, bytes: &[u8]) -> io::Result<()> {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let entry = Entry {
            name,
            crc: crc.sum(),
            size: bytes.len() as u64,
            header: self.at,
        };
        self.write(&entry.local())?;
        self.write(bytes)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the central directory; gives what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.at;
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            self.write(&entry.central())?;
        }
        let end = end(entries.len() as u64, start, self.at - start);
        self.write(&end)?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// The number, or where it is not one of 32 bits that it is elsewhere.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

/// The extra field that has these 64-bit numbers; nothing without any.
fn long(numbers: &[u64]) -> Vec<u8> {
    if numbers.is_empty() {
        return Vec::new();
    }
    let mut field = vec![1, 0];
    field.extend((8 * numbers.len() as u16).to_le_bytes());
    field.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    field
}

impl Entry {
    fn is_large(&self) -> bool {
        self.size >= u64::from(ELSEWHERE)
    }

    /// What the two headers share: version, flags, method, time, date, checksum, both sizes.
    fn common(&self, large: bool) -> Vec<u8> {
        let (plain, with_64_bits) = VERSIONS;
        let version = if large { with_64_bits } else { plain };
        let mut bytes = Vec::new();
        for number in [version, 0, 0, 0, DATE] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(short(self.size).to_le_bytes());
        bytes.extend(short(self.size).to_le_bytes());
        // Names are `archive/data/` and a number.
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes
    }

    /// What stands before the entry's bytes.
    fn local(&self) -> Vec<u8> {
        let mut extra = match self.is_large() {
            true => long(&[self.size, self.size]),
            false => Vec::new(),
        };
        // Signature, `common`, length of the extra field; then the padding has 4 bytes of its own.
        let before = self.header + 30 + self.name.len() as u64 + extra.len() as u64 + 4;
        let padding = (before.next_multiple_of(ALIGNMENT) - before) as u16;
        extra.extend(b"FB");
        extra.extend(padding.to_le_bytes());
        extra.resize(extra.len() + usize::from(padding), b'Z');

        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(self.common(self.is_large()));
        bytes.extend((extra.len() as u16).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra);
        bytes
    }

    /// What the central directory has.
    fn central(&self) -> Vec<u8> {
        let mut numbers = Vec::new();
        if self.is_large() {
            numbers.extend([self.size, self.size]);
        }
        if self.header >= u64::from(ELSEWHERE) {
            numbers.push(self.header);
        }
        let extra = long(&numbers);
        let mut bytes = b"PK\x01\x02".to_vec();
        bytes.extend(VERSIONS.1.to_le_bytes());
        bytes.extend(self.common(!numbers.is_empty()));
        bytes.extend((extra.len() as u16).to_le_bytes());
        // Length of a comment, disk, attributes inside and outside.
        bytes.extend([0; 10]);
        bytes.extend(short(self.header).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra);
        bytes
    }
}

/// What ends an archive: how many entries there are, where the directory begins, how long it is.
fn end(count: u64, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count_short = u16::try_from(count).unwrap_or(u16::MAX);
    let large = count >= u64::from(u16::MAX) || start.max(len) >= u64::from(ELSEWHERE);
    if large {
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([VERSIONS.1, VERSIONS.1].map(u16::to_le_bytes).concat());
        bytes.extend([0; 8]);
        bytes.extend([count, count, len, start].map(u64::to_le_bytes).concat());
        bytes.extend(b"PK\x06\x07");
        bytes.extend([0; 4]);
        bytes.extend((start + len).to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 4]);
    bytes.extend([count_short, count_short].map(u16::to_le_bytes).concat());
    bytes.extend([short(len), short(start)].map(u32::to_le_bytes).concat());
    bytes.extend([0; 2]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::Archive;

    #[test]
    fn entries_are_aligned_and_read_back() {
        let mut zip = ZipWriter::new(Vec::new());
        let sizes = [0, 1, 63, 64, 65, 1000];
        for size in sizes {
            zip.add(format!("a/{size}"), &vec![7; size]).unwrap();
        }
        let file = zip.finish().unwrap();
        let archive = Archive::read(&file).unwrap();
        for size in sizes {
            let entry = archive.get(&format!("a/{size}")).unwrap();
            let range = entry.stored_range().unwrap().unwrap();
            assert_eq!((range.start % 64, range.len()), (0, size));
            entry.check(&file[range]).unwrap();
        }
    }

    /// Beyond 4 GiB: an entry of 5 GiB, and one after it. Their bytes are not there; what describes them is.
    #[test]
    fn numbers_of_64_bits() {
        let size = 5 << 30;
        let entry = |header, size| Entry {
            name: "a".to_owned(),
            crc: 3,
            size,
            header,
        };
        let first = entry(0, size);
        let local = first.local();
        assert_eq!(local.len() % 64, 0);
        // Version 4.5, then sizes that are elsewhere: in the extra field's first 20 bytes.
        assert_eq!(local[4], 45);
        assert_eq!(local[18..26], [0xff; 8]);
        assert_eq!(local[31..35], [1, 0, 16, 0]);
        assert_eq!(local[35..43], size.to_le_bytes());
        assert_eq!(local[43..51], size.to_le_bytes());
        let start = local.len() as u64 + size;
        let central = first.central();
        assert_eq!(central[20..28], [0xff; 8]);
        assert_eq!(central[42..46], [0; 4]);
        assert_eq!(central[47..51], [1, 0, 16, 0]);
        // The second is small, only its place is beyond.
        let central = entry(start, 8).central();
        assert_eq!(central[20..28], [8, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(central[42..46], [0xff; 4]);
        assert_eq!(central[47..51], [1, 0, 8, 0]);
        assert_eq!(central[51..59], start.to_le_bytes());
        // Its own bytes are aligned, too.
        assert_eq!((start + entry(start, 8).local().len() as u64) % 64, 0);

        let end = end(2, start, 100);
        assert_eq!(end.len(), 56 + 20 + 22);
        assert_eq!(end[48..56], start.to_le_bytes());
        assert_eq!(end[64..72], (start + 100).to_le_bytes());
        assert_eq!(super::end(2, 100, 100).len(), 22);
        assert_eq!(super::end(65_535, 100, 100).len(), 56 + 20 + 22);
    }
}
