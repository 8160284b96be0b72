//! The file's bytes, and the storages inside it that tensors look into.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::error::CheckpointError;
use super::inflated::Inflated;
use super::zip;

/// The whole file: a memory map, a `Vec`, an `Arc<[u8]>`, or anything else that owns bytes.
#[derive(Clone)]
pub(crate) struct FileBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Deref for FileBytes {
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

/// A file that storages lie in.
#[derive(Debug)]
struct File {
    bytes: FileBytes,
    /// Whether the archive's writer has put checksums in (`torch.serialization.set_crc32_options(False)` does without).
    checksums: bool,
}

/// One storage: the number of its file, and where its bytes are.
#[derive(Debug)]
struct Storage {
    file: usize,
    place: Place,
}

/// Where the bytes of one storage are.
#[derive(Debug)]
enum Place {
    /// As they lie in the file.
    InFile(Range<usize>),
    /// As they lie in an archive; their checksum is looked at when they are first asked for.
    Stored {
        entry: zip::Entry,
        range: Range<usize>,
        checked: OnceLock<Result<(), CheckpointError>>,
    },
    /// Compressed in the file; inflated when asked for, so storages that nobody asks for cost nothing.
    Deflated(zip::Entry),
    /// Decoded while reading, as from a pickle that writes bytes as text.
    Owned(Vec<u8>),
}

/// The bytes of one storage.
pub(crate) enum StorageBytes<'a> {
    /// As they lie in memory, or in the file.
    Lying(&'a [u8]),
    /// Inflated, and dropped after use unless they are among the latest.
    Inflated(Arc<Vec<u8>>),
}

impl Deref for StorageBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lying(bytes) => bytes,
            Self::Inflated(bytes) => bytes,
        }
    }
}

/// The file, or the files that a checkpoint is in, and all storages that its tensors refer to.
#[derive(Debug)]
pub(crate) struct Storages {
    files: Vec<File>,
    list: Vec<Storage>,
    inflated: Mutex<Inflated>,
    /// Bytes of all compressed storages, inflated.
    deflated: usize,
}

impl Storages {
    pub fn new(file: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self {
            files: vec![File {
                bytes: FileBytes(Arc::new(file)),
                checksums: true,
            }],
            list: Vec::new(),
            inflated: Mutex::default(),
            deflated: 0,
        }
    }

    /// That the archive's checksums mean nothing, as even that of its pickle is wrong.
    pub fn without_checksums(&mut self) {
        self.files[0].checksums = false;
    }

    /// The whole file; cheap to clone.
    pub fn file(&self) -> FileBytes {
        self.files[0].bytes.clone()
    }

    /// Adds a range of the file that the caller has checked to lie inside it.
    pub fn add_range(&mut self, range: Range<usize>) -> usize {
        self.add(Place::InFile(range))
    }

    /// Adds decoded bytes.
    pub fn add_owned(&mut self, bytes: Vec<u8>) -> usize {
        self.add(Place::Owned(bytes))
    }

    /// Adds an entry of the zip archive that the file is.
    pub fn add_entry(&mut self, entry: zip::Entry) -> Result<usize, CheckpointError> {
        let place = match entry.stored_range()? {
            Some(range) => Place::Stored {
                entry,
                range,
                checked: OnceLock::new(),
            },
            None => {
                self.deflated = self.deflated.saturating_add(entry.size);
                Place::Deflated(entry)
            }
        };
        Ok(self.add(place))
    }

    fn add(&mut self, place: Place) -> usize {
        self.list.push(Storage { file: 0, place });
        self.list.len() - 1
    }

    /// Takes over the files and storages of another checkpoint; says by how much the numbers of its storages grow.
    pub fn append(&mut self, other: Self) -> usize {
        let (files, shift) = (self.files.len(), self.list.len());
        let moved = other.list.into_iter().map(|storage| Storage {
            file: storage.file + files,
            ..storage
        });
        self.list.extend(moved);
        self.files.extend(other.files);
        self.deflated = self.deflated.saturating_add(other.deflated);
        shift
    }

    /// Length in bytes, without inflating anything.
    pub fn len(&self, index: usize) -> usize {
        match self.list.get(index).map(|storage| &storage.place) {
            Some(Place::InFile(range) | Place::Stored { range, .. }) => range.len(),
            Some(Place::Deflated(entry)) => entry.size,
            Some(Place::Owned(bytes)) => bytes.len(),
            None => 0,
        }
    }

    /// The bytes, for a tensor of `read` bytes. A compressed storage is inflated; the checksum of a stored one is compared the
    /// first time (0.3 ms for 15 MB).
    pub fn bytes(&self, index: usize, read: usize) -> Result<StorageBytes<'_>, CheckpointError> {
        let outside = || CheckpointError::malformed("file", 0, "a storage lies outside it");
        let storage = self.list.get(index).ok_or_else(outside)?;
        let file = self.files.get(storage.file).ok_or_else(outside)?;
        let bytes = match &storage.place {
            Place::InFile(range) => file.bytes.get(range.clone()),
            Place::Stored {
                entry,
                range,
                checked,
            } => {
                let bytes = file.bytes.get(range.clone());
                let right = checked.get_or_init(|| match bytes {
                    Some(bytes) if file.checksums => entry.check(bytes),
                    _ => Ok(()),
                });
                right.clone()?;
                bytes
            }
            Place::Deflated(entry) => {
                let mut inflated = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
                let inflate = || entry.inflate(&file.bytes);
                let bytes = inflated.get(index, entry.size, read, self.deflated, inflate)?;
                return Ok(StorageBytes::Inflated(bytes));
            }
            Place::Owned(bytes) => Some(bytes.as_slice()),
        };
        bytes.map(StorageBytes::Lying).ok_or_else(outside)
    }

    /// Bytes inflated so far.
    #[cfg(test)]
    pub fn inflated(&self) -> usize {
        self.inflated.lock().unwrap().work
    }
}
