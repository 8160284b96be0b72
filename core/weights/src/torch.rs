//! PyTorch's two file formats around a pickle: the zip archive (since 1.6) and the older stream of pickles.

use std::collections::HashMap;

use super::dtype::DType;
use super::error::CheckpointError;
use super::graph::LegacyStorage;
use super::pickle::{self, Budget, Id, Node, Pickle};
use super::zip::Archive;

/// The number that a legacy file starts with, as LONG1 writes it.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
/// The same number in the text of protocols 0 and 1.
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L";

/// What a persistent identifier says of a storage.
#[derive(Debug, PartialEq)]
pub(super) struct StorageReference {
    pub key: String,
    pub dtype: DType,
    /// Elements of the whole storage.
    pub count: usize,
    /// First element of the part meant (old files have views of storages).
    pub start: usize,
}

/// `('storage', class, key, location, count[, (view key, start, size) or None])`
pub(super) fn storage_reference(pickle: &Pickle, reference: Id) -> Option<StorageReference> {
    let parts = pickle.tuple(reference)?;
    let &[kind, class, key, _location, count, ref view @ ..] = parts else {
        return None;
    };
    pickle.is_text(kind, "storage").then_some(())?;
    let (_, class) = pickle.global(class)?;
    let start = match view.first().and_then(|&view| pickle.tuple(view)) {
        Some(&[_, start, _]) => pickle.index(start)?,
        _ => 0,
    };
    Some(StorageReference {
        key: pickle.text(key)?.into_owned(),
        dtype: DType::from_storage_class(&class)?,
        count: pickle.index(count)?,
        start,
    })
}

/// What a call that makes an unreadable kind of tensor is called in a message.
pub(super) fn unread_kind(function: &str) -> String {
    let kind = match function {
        "_rebuild_qtensor" => "a quantised tensor",
        "_rebuild_meta_tensor_no_storage" => "a tensor without data (device `meta`)",
        "_rebuild_nested_tensor" => "a nested tensor",
        name if name.contains("sparse") => "a sparse tensor",
        name => {
            return format!(
                "a tensor made by `{}`",
                name.chars().take(80).collect::<String>()
            );
        }
    };
    format!("{kind}; save it dense and in floating point")
}

/// The folder of a zip archive that holds `data.pkl`, with its `/`.
pub(super) fn archive_folder(archive: &Archive) -> Result<String, CheckpointError> {
    let mut folders = archive.names.iter().filter_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    });
    // PyTorch has one top folder; should there be several, the first is what it would read.
    match folders.next() {
        Some(folder) => Ok(folder.to_owned()),
        None if archive.names.iter().any(|name| name.contains("/code/")) => {
            Err(CheckpointError::Unsupported {
                what: "TorchScript of PyTorch before 1.6 (it has no data.pkl)".to_owned(),
                help: "in Python, save its tensors: torch.save(torch.jit.load(path).state_dict(), 'model.pth')",
            })
        }
        None => Err(CheckpointError::Unsupported {
            what: "a zip archive that PyTorch did not write (it has no data.pkl)".to_owned(),
            help: "if it holds a checkpoint, unpack it and give that file",
        }),
    }
}

/// Is this PyTorch's older format?
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(40)];
    head.windows(MAGIC.len()).any(|window| window == MAGIC) || head.starts_with(MAGIC_TEXT)
}

/// A file of the older format: the object's pickle, and where the storages are.
pub(super) struct Legacy<'a> {
    pub pickle: Pickle<'a>,
    pub storages: HashMap<String, LegacyStorage>,
    pub big_endian: bool,
}

/// Five pickles (magic number, version, system, object, keys of the storages), then for each key the
/// number of elements in 8 bytes and the elements.
pub(super) fn read_legacy<'a>(
    bytes: &'a [u8],
    budget: &Budget,
) -> Result<Legacy<'a>, CheckpointError> {
    let magic_end = pickle::parse(bytes, 0, budget)?.end;
    let version_end = pickle::parse(bytes, magic_end, budget)?.end;
    let system = pickle::parse(bytes, version_end, budget)?;
    let big_endian = system.get(system.root, "little_endian") == Some(Id::FALSE);
    let start = system.end;
    drop(system);
    let object = pickle::parse(bytes, start, budget)?;
    let keys = pickle::parse(bytes, object.end, budget)?;

    let mut dtypes = HashMap::new();
    for node in &object.nodes {
        if let Node::Persistent(reference) = node
            && let Some(reference) = storage_reference(&object, *reference)
        {
            dtypes.insert(reference.key, reference.dtype);
        }
    }
    budget.check()?;
    let bad = |at, why: &str| CheckpointError::malformed("legacy PyTorch file", at, why);
    let mut storages = HashMap::new();
    let mut at = keys.end;
    let list = keys.tuple(keys.root);
    for &key in list.ok_or_else(|| bad(at, "no list of storages"))? {
        let key = keys
            .text(key)
            .ok_or_else(|| bad(at, "a storage key that is no text"))?;
        let dtype = *dtypes
            .get(&*key)
            .ok_or_else(|| bad(at, "a storage that nothing refers to"))?;
        let cut = || {
            bad(
                at,
                "a storage reaches beyond the end: the file is cut short",
            )
        };
        let count: [u8; 8] = bytes
            .get(at..at.saturating_add(8))
            .and_then(|count| count.try_into().ok())
            .ok_or_else(cut)?;
        let count = if big_endian {
            u64::from_be_bytes(count)
        } else {
            u64::from_le_bytes(count)
        };
        let len = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(dtype.size()));
        let end = len.and_then(|len| (at + 8).checked_add(len));
        let end = end.filter(|&end| end <= bytes.len()).ok_or_else(cut)?;
        let range = at + 8..end;
        storages.insert(key.into_owned(), LegacyStorage { range, dtype });
        at = end;
    }
    Ok(Legacy {
        pickle: object,
        storages,
        big_endian,
    })
}
