//! The safetensors format: a JSON header with its length before it, then the tensors without gaps. Not read by the crate `safetensors`: it
//! refuses a whole file for one unknown element type, buffers headers of up to 100 MB twice, and does not say which tensor is too long.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::dtype::DType;
use super::error::{CheckpointError, MAX_NAME, shortened};
use super::header::{Facts, MAX_HEADER, Named, Shape};
use super::meta::Meta;
use super::state::{MAX_TENSORS, StateDict};
use super::storage::Storages;
use super::tensor::TensorInfo;

/// Tensors by name; `__metadata__` among them holds facts.
struct Header {
    tensors: Named<Tensor>,
    facts: Facts,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let (mut tensors, mut facts) = (Named(Vec::new()), Facts::default());
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        facts = map.next_value()?;
                    } else {
                        let name = shortened(&key, MAX_NAME).into_owned();
                        let named = |e| M::Error::custom(format_args!("`{name}`: {e}"));
                        tensors.read_value(key, &mut map).map_err(named)?;
                    }
                }
                let tensors = tensors.check()?;
                Ok(Header { tensors, facts })
            }
        }
        from.deserialize_map(Items)
    }
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
    let header: Header =
        serde_json::from_slice(header).map_err(|e| bad(8, format!("in the header: {e}")))?;
    let mut tensors = header.tensors.0;
    if tensors.len() > MAX_TENSORS {
        return Err(CheckpointError::too_many_tensors());
    }
    // The header's order is free; the data's is the writer's. The format forbids gaps and overlaps.
    tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
    let mut state = StateDict::default();
    let mut next = 0;
    for (key, tensor) in tensors {
        let (start, end) = tensor.data_offsets;
        let quoted = shortened(&key, MAX_NAME);
        if start != next || end < start {
            let why = format!("`{quoted}` lies at {start}..{end}, it should start at {next}");
            return Err(bad(data, why));
        }
        next = end;
        let range = data.checked_add(start).zip(data.checked_add(end));
        let range = range.filter(|&(_, end)| end <= file.len());
        let (start, end) = range.ok_or_else(|| {
            bad(
                data,
                format!("`{quoted}` reaches beyond the end of the file"),
            )
        })?;
        let read = match DType::from_safetensors(&tensor.dtype) {
            Some(dtype) => {
                let place = (storages.add_range(start..end), end - start);
                TensorInfo::new(dtype, tensor.shape.0, None, 0, place, false)
            }
            None => Err(format!("element type {}", tensor.dtype)),
        };
        if let Ok(tensor) = &read
            && tensor.count().checked_mul(tensor.dtype.size()) != Some(end - start)
        {
            let why = format!(
                "`{quoted}` has {} bytes for shape {:?}",
                end - start,
                tensor.shape
            );
            return Err(bad(data, why));
        }
        state.insert(key, read)?;
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
    let meta = Meta {
        facts: header.facts.0,
        ..Meta::default()
    };
    Ok((state, meta))
}
