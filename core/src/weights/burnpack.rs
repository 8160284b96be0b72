//! Burn's own format: magic, version, a CBOR header with its length before it, then the tensors from
//! the next multiple of 256 bytes on.

use super::cbor::{self, Value};
use super::dtype::DType;
use super::error::CheckpointError;
use super::meta::Meta;
use super::state::StateDict;
use super::storage::Storages;
use super::tensor::TensorInfo;

/// The first bytes: "BURN" as a little-endian number.
pub(super) const MAGIC: &[u8] = b"NRUB";

const HEADER_LEN: usize = 10;
const ALIGNMENT: usize = 256;
/// The format's own limit for its header, in bytes.
const MAX_HEADER: usize = 100 << 20;

/// Reads a file that starts with [`MAGIC`].
pub(super) fn read(storages: &mut Storages) -> Result<(StateDict, Meta), CheckpointError> {
    let file = storages.file();
    let bad = |at, why: &str| CheckpointError::malformed("burnpack file", at, why);
    let head = file.get(4..HEADER_LEN).ok_or_else(|| bad(0, "cut short"))?;
    let version = u16::from_le_bytes([head[0], head[1]]);
    if version > 1 {
        return Err(CheckpointError::Unsupported {
            what: format!("burnpack version {version}"),
            help: "save it with burn 0.22, or as .safetensors",
        });
    }
    let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    if len > MAX_HEADER {
        return Err(CheckpointError::TooLarge {
            what: format!("a burnpack header of {len} bytes"),
            limit: MAX_HEADER as u64,
        });
    }
    let header = file.get(HEADER_LEN..HEADER_LEN + len);
    let header = header.ok_or_else(|| bad(HEADER_LEN, "the header is longer than the file"))?;
    let header = cbor::read(header).map_err(|(at, why)| bad(HEADER_LEN + at, why))?;
    let data = (HEADER_LEN + len).next_multiple_of(ALIGNMENT);

    let mut state = StateDict::default();
    let Some(Value::Map(tensors)) = header.get("tensors") else {
        return Err(bad(HEADER_LEN, "no tensors in the header"));
    };
    let mut found = Vec::new();
    for (key, tensor) in tensors {
        let offsets = match tensor.get("data_offsets").and_then(Value::array) {
            Some([start, end]) => start.size().zip(end.size()),
            _ => None,
        };
        let range = offsets.and_then(|(start, end)| {
            let range = data.checked_add(start)?..data.checked_add(end)?;
            file.get(range.clone()).is_some().then_some(range)
        });
        let shape = tensor.get("shape").and_then(Value::array);
        let shape = shape.and_then(|sizes| sizes.iter().map(Value::size).collect());
        let (Some(range), Some(shape)) = (range, shape) else {
            let why = format!("`{key}` lies outside the file");
            return Err(bad(HEADER_LEN, &why));
        };
        found.push((range.start, range.end, key, shape, tensor.get("dtype")));
    }
    // By place in the file: the order in which they were written.
    found.sort_by_key(|&(start, end, key, ..)| (start, end, key));
    for (start, end, key, shape, dtype) in found {
        let tensor = dtype.map_or(Err("element type unknown".to_owned()), element);
        let tensor = tensor.and_then(|dtype| {
            let place = (storages.add_range(start..end), end - start);
            TensorInfo::new(dtype, shape, None, 0, place, false)
        });
        state.insert(key.clone(), tensor);
    }
    if state.is_empty() {
        return Err(CheckpointError::NoTensors {
            found: "an empty burnpack header".to_owned(),
        });
    }
    let mut meta = Meta::default();
    if let Some(Value::Map(facts)) = header.get("metadata") {
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.text()?.to_owned()));
        meta.facts = facts.iter().filter_map(text).collect();
    }
    Ok((state, meta))
}

/// `"F32"`, or `{"Bool": "Native"}`, or a quantised type.
fn element(dtype: &Value) -> Result<DType, String> {
    if let Some(store) = dtype.get("Bool").and_then(Value::text) {
        return match store {
            "Native" | "U8" => Ok(DType::Bool),
            _ => Ok(DType::U32),
        };
    }
    match dtype.text().map(DType::from_safetensors) {
        Some(Some(dtype)) => Ok(dtype),
        Some(None) => Err("an unknown element type".to_owned()),
        None => Err("a quantised tensor; save it in floating point".to_owned()),
    }
}
