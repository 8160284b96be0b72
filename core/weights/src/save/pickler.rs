//! Python's pickle of protocol 2, which PyTorch writes: plain values, and tensors whose bytes are elsewhere in the archive.
//! (Arrays of numpy's, which no checkpoint has, are written with an opcode of protocol 3.)
//!
//! Only what `torch.load(weights_only=True)` takes is written: its unpickler knows few opcodes and calls.

use std::collections::HashMap;

use super::{SaveError, Saved, size_of};
use crate::dtype::DType;
use crate::plain::{Dict, Plain};

/// Longest text that is written once and referred to afterwards, in bytes.
const MAX_REPEATED: usize = 64;

/// A pickle being written, and the tensors that it refers to: number 3 of them is in the archive's `data/3`.
pub(crate) struct Pickler<'t> {
    out: Vec<u8>,
    /// Places in the unpickler's memo.
    texts: HashMap<String, u32>,
    classes: HashMap<(&'static str, &'static str), u32>,
    tensors: Vec<(String, &'t dyn Saved)>,
    tied: HashMap<(usize, DType), usize>,
}

impl<'t> Pickler<'t> {
    pub fn new() -> Self {
        Self {
            out: b"\x80\x02".to_vec(),
            texts: HashMap::new(),
            classes: HashMap::new(),
            tensors: Vec::new(),
            tied: HashMap::new(),
        }
    }

    /// The pickle, and the tensors by number.
    pub fn finish(mut self) -> (Vec<u8>, Vec<(String, &'t dyn Saved)>) {
        self.out.push(b'.');
        (self.out, self.tensors)
    }

    /// Begins a dict, whose keys and values come in turn.
    pub fn dict(&mut self) {
        self.out.extend(b"}(");
    }

    /// Ends a dict.
    pub fn end_dict(&mut self) {
        self.out.push(b'u');
    }

    /// Begins a list.
    pub fn list(&mut self) {
        self.out.extend(b"](");
    }

    /// Ends a list.
    pub fn end_list(&mut self) {
        self.out.push(b'e');
    }

    pub fn plain(&mut self, value: &Plain) {
        match value {
            Plain::None => self.out.push(b'N'),
            Plain::Bool(true) => self.out.push(0x88),
            Plain::Bool(false) => self.out.push(0x89),
            Plain::Int(value) => self.int(*value),
            Plain::Float(value) => {
                self.out.push(b'G');
                self.out.extend(value.to_be_bytes());
            }
            Plain::Text(text) => self.text(text),
            Plain::List(items) => {
                self.list();
                items.iter().for_each(|item| self.plain(item));
                self.end_list();
            }
            Plain::Tuple(items) => {
                self.out.push(b'(');
                items.iter().for_each(|item| self.plain(item));
                self.out.push(b't');
            }
            Plain::Dict(dict) => self.plain_dict(dict),
            Plain::Counter(dict) => {
                self.class("collections", "Counter");
                self.plain_dict(dict);
                // TUPLE1, REDUCE
                self.out.extend(b"\x85R");
            }
        }
    }

    pub fn plain_dict(&mut self, dict: &Dict) {
        self.dict();
        for (key, value) in &dict.0 {
            self.plain(key);
            self.plain(value);
        }
        self.end_dict();
    }

    pub fn text(&mut self, text: &str) {
        if let Some(&at) = self.texts.get(text) {
            return self.get(at);
        }
        // No text of ours has 4 GiB.
        let len = u32::try_from(text.len()).expect("a text of less than 4 GiB");
        self.out.push(b'X');
        self.out.extend(len.to_le_bytes());
        self.out.extend(text.as_bytes());
        if text.len() <= MAX_REPEATED {
            let at = self.put();
            self.texts.insert(text.to_owned(), at);
        }
    }

    pub fn int(&mut self, value: i64) {
        match value {
            0..=0xff => self.out.extend([b'K', value as u8]),
            _ => match i32::try_from(value) {
                Ok(value) => {
                    self.out.push(b'J');
                    self.out.extend(value.to_le_bytes());
                }
                Err(_) => {
                    self.out.extend([0x8a, 8]);
                    self.out.extend(value.to_le_bytes());
                }
            },
        }
    }

    /// A state dict: an `OrderedDict`, and in its `_metadata` the version of each module that the keys name.
    pub fn state_dict<'k, I>(&mut self, entries: I) -> Result<(), SaveError>
    where
        I: Iterator<Item = (&'k str, &'t dyn Saved)> + Clone,
    {
        self.ordered_dict();
        self.out.push(b'(');
        for (key, tensor) in entries.clone() {
            self.text(key);
            self.tensor(key, tensor)?;
        }
        self.end_dict();
        self.dict();
        self.text("_metadata");
        self.ordered_dict();
        self.out.push(b'(');
        for (module, version) in module_versions(entries.map(|(key, _)| key)) {
            self.text(module);
            self.dict();
            self.text("version");
            self.int(version);
            self.end_dict();
        }
        self.end_dict();
        self.end_dict();
        // BUILD
        self.out.push(b'b');
        Ok(())
    }

    /// `torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict())`.
    pub fn tensor(&mut self, key: &str, tensor: &'t dyn Saved) -> Result<(), SaveError> {
        let dtype = tensor.dtype();
        let class = storage_class(dtype).ok_or_else(|| {
            let why = format!("PyTorch's format has no storage of {dtype}");
            SaveError::tensor(key, why)
        })?;
        let count = size_of(key, tensor)? / dtype.size();
        let next = self.tensors.len();
        let number = match tensor.tied() {
            Some(tied) => *self.tied.entry((tied, dtype)).or_insert(next),
            None => next,
        };
        if number == next {
            self.tensors.push((key.to_owned(), tensor));
        }
        self.class("torch._utils", "_rebuild_tensor_v2");
        self.out.extend(b"((");
        self.text("storage");
        self.class("torch", class);
        self.text(&number.to_string());
        self.text("cpu");
        self.int(count as i64);
        // TUPLE, BINPERSID
        self.out.extend(b"tQ");
        self.int(0);
        let shape = tensor.shape();
        self.sizes(shape.iter().copied());
        let strides = (0..shape.len()).map(|d| shape[d + 1..].iter().map(|&n| n.max(1)).product());
        self.sizes(strides);
        self.plain(&Plain::Bool(false));
        self.ordered_dict();
        self.out.extend(b"tR");
        Ok(())
    }

    /// An array of numpy's: `_reconstruct(ndarray, (0,), b'b')`, and as its state version, shape, type, order and bytes.
    pub fn array(&mut self, shape: &[usize], numbers: &[f32]) {
        self.class("numpy.core.multiarray", "_reconstruct");
        self.class("numpy", "ndarray");
        // (0,), then SHORT_BINBYTES, TUPLE3, REDUCE
        self.out.extend(b"K\0\x85C\x01b\x87R(K\x01");
        self.sizes(shape.iter().copied());
        self.class("numpy", "dtype");
        self.out.push(b'(');
        self.text("f4");
        self.out.extend(b"\x89\x88tR(K\x03");
        self.text("<");
        // None three times, -1 twice, 0; BUILD; not in columns; BINBYTES
        self.out
            .extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89B");
        let len = u32::try_from(4 * numbers.len()).expect("an array of less than 4 GiB");
        self.out.extend(len.to_le_bytes());
        self.out
            .extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        self.out.extend(b"tb");
    }

    fn sizes(&mut self, sizes: impl Iterator<Item = usize>) {
        self.out.push(b'(');
        sizes.for_each(|size| self.int(size as i64));
        self.out.push(b't');
    }

    fn ordered_dict(&mut self) {
        self.class("collections", "OrderedDict");
        self.out.extend(b")R");
    }

    fn class(&mut self, module: &'static str, name: &'static str) {
        if let Some(&at) = self.classes.get(&(module, name)) {
            return self.get(at);
        }
        self.out.extend(format!("c{module}\n{name}\n").as_bytes());
        let at = self.put();
        self.classes.insert((module, name), at);
    }

    /// Keeps the value that was written last in the unpickler's memo.
    fn put(&mut self) -> u32 {
        let at = (self.texts.len() + self.classes.len()) as u32;
        match u8::try_from(at) {
            Ok(at) => self.out.extend([b'q', at]),
            Err(_) => {
                self.out.push(b'r');
                self.out.extend(at.to_le_bytes());
            }
        }
        at
    }

    fn get(&mut self, at: u32) {
        match u8::try_from(at) {
            Ok(at) => self.out.extend([b'h', at]),
            Err(_) => {
                self.out.push(b'j');
                self.out.extend(at.to_le_bytes());
            }
        }
    }
}

/// The class that PyTorch names a storage's element type by.
fn storage_class(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "DoubleStorage",
        DType::F32 => "FloatStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::I32 => "IntStorage",
        DType::I16 => "ShortStorage",
        DType::I8 => "CharStorage",
        DType::U8 => "ByteStorage",
        DType::Bool => "BoolStorage",
        DType::Complex64 => "ComplexFloatStorage",
        DType::Complex128 => "ComplexDoubleStorage",
        DType::F8E4M3 | DType::F8E5M2 | DType::U64 | DType::U32 | DType::U16 => return None,
    })
}

/// The modules that have tensors of these keys, and those around them, in the order in which they come up, with their `_version`:
/// 2 for batch norms (of which PyTorch else misses a counter), 1 for all others that are written here. Without a version MMDetection's heads
/// would rename keys as if they were of an older release.
fn module_versions<'k>(keys: impl Iterator<Item = &'k str>) -> Vec<(&'k str, i64)> {
    let mut versions = vec![("", 1)];
    let mut at = HashMap::from([("", 0)]);
    for key in keys {
        let dots = key.match_indices('.').map(|(dot, _)| &key[..dot]);
        for module in dots {
            at.entry(module).or_insert_with(|| {
                versions.push((module, 1));
                versions.len() - 1
            });
        }
        let module = key.strip_suffix("running_mean").unwrap_or_default();
        if let Some(&at) = at
            .get(module.trim_end_matches('.'))
            .filter(|_| !module.is_empty())
        {
            versions[at].1 = 2;
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_versions() {
        let keys = ["a.conv.weight", "a.bn.weight", "a.bn.running_mean", "b.c"];
        let expected = [("", 1), ("a", 1), ("a.conv", 1), ("a.bn", 2), ("b", 1)];
        assert_eq!(module_versions(keys.into_iter()), expected);
    }
}
