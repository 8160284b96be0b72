//! The file's bytes, and the storages inside it that tensors look into.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::error::CheckpointError;
use super::zip;

/// The whole file: a memory map, a `Vec`, an `Arc<[u8]>`, or anything else that owns bytes.
#[derive(Clone)]
pub(crate) struct FileBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({} bytes)", self.len())
    }
}

/// Where the bytes of one storage are.
#[derive(Debug)]
enum Storage {
    /// As they lie in the file.
    InFile(Range<usize>),
    /// As they lie in an archive; their checksum is looked at when they are first asked for.
    Stored {
        entry: zip::Entry,
        range: Range<usize>,
        checked: OnceLock<Result<(), CheckpointError>>,
    },
    /// Compressed in the file; inflated when first asked for, so storages that nobody asks for cost nothing.
    Deflated {
        entry: zip::Entry,
        inflated: OnceLock<Result<Vec<u8>, CheckpointError>>,
    },
    /// Decoded while reading, as from a pickle that writes bytes as text.
    Owned(Vec<u8>),
}

/// The file and all storages that tensors of it refer to.
#[derive(Debug)]
pub(crate) struct Storages {
    file: FileBytes,
    list: Vec<Storage>,
    /// Whether the archive's writer has put checksums in (`torch.serialization.set_crc32_options(False)` does without).
    checksums: bool,
}

impl Storages {
    pub fn new(file: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self {
            file: FileBytes(Arc::new(file)),
            list: Vec::new(),
            checksums: true,
        }
    }

    /// That the archive's checksums mean nothing, as even that of its pickle is wrong.
    pub fn without_checksums(&mut self) {
        self.checksums = false;
    }

    /// The whole file; cheap to clone.
    pub fn file(&self) -> FileBytes {
        self.file.clone()
    }

    /// Adds a range of the file that the caller has checked to lie inside it.
    pub fn add_range(&mut self, range: Range<usize>) -> usize {
        self.add(Storage::InFile(range))
    }

    /// Adds decoded bytes.
    pub fn add_owned(&mut self, bytes: Vec<u8>) -> usize {
        self.add(Storage::Owned(bytes))
    }

    /// Adds an entry of the zip archive that the file is.
    pub fn add_entry(&mut self, entry: zip::Entry) -> Result<usize, CheckpointError> {
        Ok(match entry.stored_range()? {
            Some(range) => self.add(Storage::Stored {
                entry,
                range,
                checked: OnceLock::new(),
            }),
            None => self.add(Storage::Deflated {
                entry,
                inflated: OnceLock::new(),
            }),
        })
    }

    fn add(&mut self, storage: Storage) -> usize {
        self.list.push(storage);
        self.list.len() - 1
    }

    /// Length in bytes, without inflating anything.
    pub fn len(&self, index: usize) -> usize {
        match self.list.get(index) {
            Some(Storage::InFile(range) | Storage::Stored { range, .. }) => range.len(),
            Some(Storage::Deflated { entry, .. }) => entry.size,
            Some(Storage::Owned(bytes)) => bytes.len(),
            None => 0,
        }
    }

    /// The bytes. The first time, a compressed storage is inflated, and the checksum of a stored one compared (0.3 ms for 15 MB).
    pub fn bytes(&self, index: usize) -> Result<&[u8], CheckpointError> {
        let bytes = match self.list.get(index) {
            Some(Storage::InFile(range)) => self.file.get(range.clone()),
            Some(Storage::Stored {
                entry,
                range,
                checked,
            }) => {
                let bytes = self.file.get(range.clone());
                let right = checked.get_or_init(|| match bytes {
                    Some(bytes) if self.checksums => entry.check(bytes),
                    _ => Ok(()),
                });
                right.clone()?;
                bytes
            }
            Some(Storage::Deflated { entry, inflated }) => {
                match inflated.get_or_init(|| entry.inflate(&self.file)) {
                    Ok(bytes) => Some(bytes.as_slice()),
                    Err(error) => return Err(error.clone()),
                }
            }
            Some(Storage::Owned(bytes)) => Some(bytes.as_slice()),
            None => None,
        };
        bytes.ok_or_else(|| CheckpointError::malformed("file", 0, "a storage lies outside it"))
    }
}
