//! Tensors in a parsed pickle: which calls of PyTorch and numpy stand for one, and where its bytes are.

use std::collections::HashMap;
use std::ops::Range;

use super::dtype::DType;
use super::numpy;
use super::pickle::{Id, Node, Pickle};
use super::storage::Storages;
use super::tensor::TensorInfo;
use super::torch;
use super::zip::Archive;

/// A tensor wrapped in parameters and subclasses is unwrapped this often.
const MAX_WRAPPERS: usize = 6;
/// Sizes of a tensor that are looked at; [`TensorInfo`] has the limit proper.
const MAX_SIZES: usize = 64;

/// Where PyTorch's storages are.
pub(crate) enum Outside {
    /// In a zip archive, below this folder (with its `/`).
    Zip(Archive, String),
    /// After the pickles of a legacy file: by key, as ranges of the file or decoded already.
    Legacy(HashMap<String, LegacyStorage>),
    /// A plain pickle has none.
    Nowhere,
}

/// A storage of the legacy format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LegacyStorage {
    pub range: Range<usize>,
    pub dtype: DType,
}

/// Reads tensors out of one pickle.
pub(crate) struct Graph<'p, 'b> {
    pub pickle: &'p Pickle<'b>,
    /// The pickle's first byte in the file; None when the pickle was compressed.
    pub base: Option<usize>,
    pub outside: Outside,
    pub big_endian: bool,
    /// Storages and byte strings that are registered already, so that tied tensors stay tied.
    known: HashMap<Known, Result<(usize, usize), String>>,
    /// Storages that are whole files in a byte string.
    inner: HashMap<Id, Result<Place, String>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Known {
    Key(String),
    Bytes(Id),
}

/// A storage that a tensor looks into.
#[derive(Clone, Copy)]
struct Place {
    storage: usize,
    len: usize,
    dtype: DType,
    /// Where the view begins, in elements.
    start: usize,
    big_endian: bool,
}

impl<'p, 'b> Graph<'p, 'b> {
    pub fn new(
        pickle: &'p Pickle<'b>,
        base: Option<usize>,
        outside: Outside,
        big_endian: bool,
    ) -> Self {
        Self {
            pickle,
            base,
            outside,
            big_endian,
            known: HashMap::new(),
            inner: HashMap::new(),
        }
    }

    /// Quick test by name: is this value a tensor or array, readable or not?
    pub fn is_tensor(&self, id: Id) -> bool {
        let Some((module, name, _)) = self.pickle.call(id) else {
            return false;
        };
        if module.starts_with("numpy") {
            return numpy::is_array(&name);
        }
        module.starts_with("torch")
            && (name.starts_with("_rebuild_") || DType::from_tensor_class(&name).is_some())
    }

    /// The tensor that a value stands for; None when it is something else, an error when it is a tensor
    /// that cannot be read.
    pub fn tensor(
        &mut self,
        id: Id,
        storages: &mut Storages,
    ) -> Result<Option<TensorInfo>, String> {
        self.tensor_within(id, storages, MAX_WRAPPERS)
    }

    fn tensor_within(
        &mut self,
        id: Id,
        storages: &mut Storages,
        depth: usize,
    ) -> Result<Option<TensorInfo>, String> {
        let pickle = self.pickle;
        let Some((module, name, args)) = pickle.call(id) else {
            return Ok(None);
        };
        if module.starts_with("numpy") {
            return self.array(&name, id, args, storages);
        }
        if !module.starts_with("torch") {
            return Ok(None);
        }
        if let Some(dtype) = DType::from_tensor_class(&name) {
            // Before PyTorch 0.4 tensors were objects with the state (storage, offset, size, stride).
            let Node::Object(object) = pickle.node(id) else {
                return Ok(None);
            };
            let state = object.state.and_then(|state| pickle.tuple(state));
            return match state {
                Some(args) => self.rebuilt("_rebuild_tensor", args, storages).map(Some),
                None => Err(format!("a {dtype} tensor without its state")),
            };
        }
        let depth = depth.checked_sub(1).ok_or("wrapped too often")?;
        match (&*name, args) {
            ("_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", args) => {
                self.rebuilt(&name, args, storages).map(Some)
            }
            (
                "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
                | "_rebuild_device_tensor_from_numpy"
                | "_rebuild_device_tensor_from_cpu_tensor",
                &[inner, ..],
            ) => self.tensor_within(inner, storages, depth),
            // (function, class, its arguments, state): subclasses of Tensor.
            ("_rebuild_from_type_v2" | "_rebuild_from_type", &[function, _, inner, ..]) => {
                let (_, function) = pickle.global(function).ok_or("made by an unknown call")?;
                let args = pickle.tuple(inner).ok_or("made without arguments")?;
                match (&*function, args) {
                    ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[inner, ..]) => {
                        self.tensor_within(inner, storages, depth)
                    }
                    _ => self.rebuilt(&function, args, storages).map(Some),
                }
            }
            (other, _) if other.starts_with("_rebuild_") => Err(torch::unread_kind(other)),
            _ => Ok(None),
        }
    }

    /// (storage, offset, size, stride, requires_grad, hooks, dtype in version 3, metadata where there is any)
    fn rebuilt(
        &mut self,
        function: &str,
        args: &[Id],
        storages: &mut Storages,
    ) -> Result<TensorInfo, String> {
        if !function.starts_with("_rebuild_tensor") {
            return Err(torch::unread_kind(function));
        }
        let &[storage, offset, size, stride, ..] = args else {
            return Err("made with too few arguments".to_owned());
        };
        let place = self.storage(storage, storages)?;
        let pickle = self.pickle;
        let mut offset = pickle.index(offset).ok_or("an offset that is no size")?;
        let shape = pickle
            .sizes(size, MAX_SIZES)
            .ok_or("a shape that is no sizes")?;
        let strides = pickle
            .sizes(stride, MAX_SIZES)
            .ok_or("strides that are no sizes")?;
        let mut dtype = place.dtype;
        let version_3 = function == "_rebuild_tensor_v3";
        let metadata = args.get(6 + usize::from(version_3));
        self.refuse_metadata(metadata.copied())?;
        if version_3 {
            let (_, name) = args
                .get(6)
                .and_then(|&id| pickle.global(id))
                .ok_or("no element type")?;
            dtype = DType::from_torch(&name).ok_or_else(|| format!("element type {name}"))?;
        }
        offset = offset
            .checked_add(place.start)
            .ok_or("an offset that overflows")?;
        let at = (place.storage, place.len);
        TensorInfo::new(dtype, shape, Some(strides), offset, at, place.big_endian)
    }

    /// What PyTorch notes beside a tensor changes its values: `neg` turns every sign, `conj` that of the imaginary part.
    fn refuse_metadata(&self, metadata: Option<Id>) -> Result<(), String> {
        let pickle = self.pickle;
        let Some(id) = metadata.filter(|id| *pickle.node(*id) != Node::None) else {
            return Ok(());
        };
        let notes = pickle.pairs(id).ok_or("metadata that is no dict")?;
        for (key, value) in notes.iter() {
            if *pickle.node(*value) == Node::Bool(false) {
                continue;
            }
            return Err(match pickle.long_text(*key, 200).as_deref() {
                Some("neg") => "its negative bit is set: save `x.resolve_neg()`".to_owned(),
                Some("conj") => "its conjugate bit is set: save `x.resolve_conj()`".to_owned(),
                other => format!("metadata `{}`", other.unwrap_or("that is no short text")),
            });
        }
        Ok(())
    }

    fn storage(&mut self, id: Id, storages: &mut Storages) -> Result<Place, String> {
        let pickle = self.pickle;
        if let Some((_, name, &[bytes, ..])) = pickle.call(id)
            && name == "_load_from_bytes"
        {
            let source = pickle
                .bytes_source(bytes)
                .ok_or("a storage without bytes")?;
            if let Some(place) = self.inner.get(&source) {
                return place.clone();
            }
            let place = self.storage_from_bytes(source, storages);
            self.inner.insert(source, place.clone());
            return place;
        }
        let reference = match pickle.node(id) {
            Node::Persistent(reference) => torch::storage_reference(pickle, *reference),
            _ => None,
        };
        let reference = reference.ok_or("without a storage")?;
        let needed = reference
            .count
            .checked_mul(reference.dtype.size())
            .ok_or("a storage whose size overflows")?;
        let known = Known::Key(reference.key.clone());
        let (storage, len) = match self.known.get(&known) {
            Some(found) => found.clone()?,
            None => {
                let place = self.stored(&reference.key, storages);
                let place = place.map(|storage| (storage, storages.len(storage)));
                self.known.insert(known, place.clone());
                place?
            }
        };
        if reference.start == 0 && needed > len {
            return Err(format!("its storage has {len} bytes instead of {needed}"));
        }
        Ok(Place {
            storage,
            len,
            dtype: reference.dtype,
            start: reference.start,
            big_endian: self.big_endian,
        })
    }

    /// The storage of this key.
    fn stored(&self, key: &str, storages: &mut Storages) -> Result<usize, String> {
        match &self.outside {
            Outside::Zip(archive, folder) => {
                let name = format!("{folder}data/{key}");
                let entry = archive.get(&name).cloned();
                let entry = entry.ok_or_else(|| format!("`{name}` is not in the file"))?;
                storages.add_entry(entry).map_err(|e| e.to_string())
            }
            Outside::Legacy(found) => {
                let found = found.get(key).ok_or("its storage is not in the file")?;
                Ok(storages.add_range(found.range.clone()))
            }
            Outside::Nowhere => Err("its storage is in another file".to_owned()),
        }
    }

    /// A storage pickled without torch.save: a whole legacy file as a byte string.
    fn storage_from_bytes(&mut self, source: Id, storages: &mut Storages) -> Result<Place, String> {
        let (storage, len) = self.bytes_storage(source, storages)?;
        let bytes = self
            .pickle
            .source_bytes(source)
            .ok_or("a storage without bytes")?;
        let inner =
            torch::read_legacy(&bytes, &self.pickle.budget.inner()).map_err(|e| e.to_string())?;
        let root = match inner.pickle.node(inner.pickle.root) {
            Node::Persistent(reference) => torch::storage_reference(&inner.pickle, *reference),
            _ => None,
        };
        let root = root.ok_or("bytes that hold no storage")?;
        let found = inner.storages.get(&root.key);
        let range = found.ok_or("bytes without their storage")?.range.clone();
        // Seen from here the storage starts where the inner file's does. Sizes count in elements, so the
        // inner start has to be a multiple of one; it is copied out where it is not.
        let size = root.dtype.size();
        if range.start % size == 0 && range.end <= len {
            return Ok(Place {
                storage,
                len: range.end,
                dtype: root.dtype,
                start: range.start / size,
                big_endian: inner.big_endian,
            });
        }
        let copy = bytes.get(range).unwrap_or_default().to_vec();
        let len = copy.len();
        Ok(Place {
            storage: storages.add_owned(copy),
            len,
            dtype: root.dtype,
            start: 0,
            big_endian: inner.big_endian,
        })
    }

    /// A byte string ([`Pickle::bytes_source`]) as a storage: its index and length.
    pub fn bytes_storage(
        &mut self,
        source: Id,
        storages: &mut Storages,
    ) -> Result<(usize, usize), String> {
        if let Some(place) = self.known.get(&Known::Bytes(source)) {
            return place.clone();
        }
        let storage = match (self.base, self.pickle.bytes_range(source)) {
            (Some(base), Some(range)) => {
                Ok(storages.add_range(base + range.start..base + range.end))
            }
            _ => match self.pickle.source_bytes(source) {
                Some(bytes) => Ok(storages.add_owned(bytes.into_owned())),
                None => Err("bytes that are no bytes".to_owned()),
            },
        };
        let place = storage.map(|storage| (storage, storages.len(storage)));
        self.known.insert(Known::Bytes(source), place.clone());
        place
    }

    /// How many tensors lie below these values; each is counted once over all calls with one `seen`.
    pub fn count_tensors(&self, from: Id, seen: &mut [bool]) -> usize {
        let mut count = 0;
        let mut queue = vec![from];
        while let Some(id) = queue.pop() {
            match seen.get_mut(id.0 as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            if self.is_tensor(id) {
                count += 1;
                continue;
            }
            match self.pickle.node(id) {
                Node::Tuple(items) => queue.extend(&**items),
                Node::List(items) | Node::Set(items) => queue.extend(items),
                Node::Dict(pairs) => queue.extend(pairs.iter().map(|pair| pair.1)),
                Node::Object(object) => {
                    queue.push(object.args);
                    queue.extend(object.state);
                    queue.extend(object.items.iter().map(|pair| pair.1));
                    queue.extend(&object.list);
                }
                _ => {}
            }
        }
        count
    }
}
