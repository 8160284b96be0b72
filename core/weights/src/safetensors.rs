//! The safetensors format: a JSON header with its length before it, then the tensors without gaps. Not read by the crate `safetensors`: it
//! refuses a whole file for one unknown element type, buffers headers of up to 100 MB twice, and does not say which tensor is too long.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use super::dtype::DType;
use super::error::CheckpointError;
use super::meta::Meta;
use super::state::StateDict;
use super::storage::Storages;
use super::tensor::TensorInfo;

/// Longest header that is read, in bytes: room for 300,000 tensors. (The format's own reader takes three times as much.)
const MAX_HEADER: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Tensor {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: (usize, usize),
    },
    Metadata(BTreeMap<String, String>),
}

/// The range of the header, if this looks like the format: a sensible length, then `{`.
pub(super) fn header(bytes: &[u8]) -> Option<Range<usize>> {
    let len = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let len = usize::try_from(len).ok().filter(|&len| len >= 2)?;
    (bytes.get(8) == Some(&b'{')).then(|| 8..len.saturating_add(8))
}

/// Reads a file whose [`header`] is at `range`.
pub(super) fn read(
    range: Range<usize>,
    storages: &mut Storages,
) -> Result<(StateDict, Meta), CheckpointError> {
    let file = storages.file();
    if range.len() > MAX_HEADER {
        return Err(CheckpointError::TooLarge {
            what: format!("a safetensors header of {} bytes", range.len()),
            limit: MAX_HEADER as u64,
        });
    }
    let bad = |at, why: String| CheckpointError::malformed("safetensors file", at, why);
    let data = range.end;
    let header = file
        .get(range)
        .ok_or_else(|| bad(0, "the header is longer than the file".to_owned()))?;
    let items: BTreeMap<String, Item> =
        serde_json::from_slice(header).map_err(|e| bad(8, format!("in the header: {e}")))?;

    let mut meta = Meta::default();
    let mut tensors = Vec::new();
    for (key, item) in items {
        match item {
            Item::Metadata(facts) if key == "__metadata__" => meta.facts.extend(facts),
            Item::Metadata(_) => {
                return Err(bad(8, format!("in the header: `{key}` is no tensor")));
            }
            Item::Tensor {
                dtype,
                shape,
                data_offsets,
            } => tensors.push((data_offsets, key, dtype, shape)),
        }
    }
    // The header's order is free; the data's is the writer's. The format forbids gaps and overlaps.
    tensors.sort();
    let mut state = StateDict::default();
    let mut next = 0;
    for ((start, end), key, dtype, shape) in tensors {
        if start != next || end < start {
            let why = format!("`{key}` lies at {start}..{end}, it should start at {next}");
            return Err(bad(data, why));
        }
        next = end;
        let range = data.checked_add(start).zip(data.checked_add(end));
        let range = range.filter(|&(_, end)| end <= file.len());
        let (start, end) = range
            .ok_or_else(|| bad(data, format!("`{key}` reaches beyond the end of the file")))?;
        let tensor = match DType::from_safetensors(&dtype) {
            Some(dtype) => {
                let place = (storages.add_range(start..end), end - start);
                TensorInfo::new(dtype, shape, None, 0, place, false)
            }
            None => Err(format!("element type {dtype}")),
        };
        if let Ok(tensor) = &tensor
            && tensor.count().checked_mul(tensor.dtype.size()) != Some(end - start)
        {
            let why = format!(
                "`{key}` has {} bytes for shape {:?}",
                end - start,
                tensor.shape
            );
            return Err(bad(data, why));
        }
        state.insert(key, tensor)?;
    }
    if data + next != file.len() {
        let why = format!("{} bytes after the last tensor", file.len() - data - next);
        return Err(bad(data + next, why));
    }
    if state.is_empty() {
        return Err(CheckpointError::NoTensors {
            found: "an empty safetensors header".to_owned(),
        });
    }
    Ok((state, meta))
}
