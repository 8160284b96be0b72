//! Burn's own format: magic, version, a CBOR header with its length before it, then the tensors from
//! the next multiple of 256 bytes on.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::dtype::DType;
use super::error::{CheckpointError, MAX_NAME, shortened};
use super::header::{Facts, MAX_HEADER, Named, Shape};
use super::meta::Meta;
use super::state::{MAX_TENSORS, StateDict};
use super::storage::Storages;
use super::tensor::TensorInfo;

/// The first bytes: "BURN" as a little-endian number.
pub(super) const MAGIC: &[u8] = b"NRUB";

const HEADER_LEN: usize = 10;
const ALIGNMENT: usize = 256;
/// Nesting deeper than this is refused; headers have four levels.
const MAX_DEPTH: usize = 32;

#[derive(Deserialize)]
struct Header {
    tensors: Named<Tensor>,
    #[serde(default)]
    metadata: Facts,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: Element,
    shape: Shape,
    data_offsets: (usize, usize),
}

/// `"F32"`, or `{"Bool": "Native"}`, or a quantised type with its scheme.
#[derive(Deserialize)]
enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool(Store),
    QFloat(IgnoredAny),
    Flex32,
}

#[derive(Deserialize)]
enum Store {
    Native,
    U8,
    U32,
}

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
    let header = parse(header).map_err(|(at, why)| bad(HEADER_LEN + at, &why))?;
    let data = (HEADER_LEN + len).next_multiple_of(ALIGNMENT);

    let mut state = StateDict::default();
    let mut found = Vec::new();
    if header.tensors.0.len() > MAX_TENSORS {
        return Err(CheckpointError::too_many_tensors());
    }
    for (key, tensor) in header.tensors.0 {
        let (start, end) = tensor.data_offsets;
        let range = data.checked_add(start).zip(data.checked_add(end));
        let inside = range.filter(|&(start, end)| file.get(start..end).is_some());
        let Some((start, end)) = inside else {
            let key = shortened(&key, MAX_NAME);
            return Err(bad(HEADER_LEN, &format!("`{key}` lies outside the file")));
        };
        found.push((start, end, key, tensor));
    }
    // By place in the file: the order in which they were written.
    found.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
    for (start, end, key, tensor) in found {
        let info = element(&tensor.dtype).and_then(|dtype| {
            let place = (storages.add_range(start..end), end - start);
            TensorInfo::new(dtype, tensor.shape.0, None, 0, place, false)
        });
        state.insert(key, info)?;
    }
    if state.is_empty() {
        return Err(CheckpointError::NoTensors {
            found: "an empty burnpack header".to_owned(),
        });
    }
    let meta = Meta {
        facts: header.metadata.0,
        ..Meta::default()
    };
    Ok((state, meta))
}

/// The header; on failure where in it (0 if that is not known), and why.
fn parse(header: &[u8]) -> Result<Header, (usize, String)> {
    use ciborium::de::Error;
    ciborium::de::from_reader_with_recursion_limit(header, MAX_DEPTH).map_err(|error| match error {
        Error::Io(_) => (header.len(), "cut short".into()),
        Error::Syntax(at) => (at, "no CBOR".into()),
        Error::Semantic(at, why) => (at.unwrap_or(0), why),
        Error::RecursionLimitExceeded => (0, "nested too deep".into()),
    })
}

fn element(dtype: &Element) -> Result<DType, String> {
    Ok(match dtype {
        Element::F64 => DType::F64,
        Element::F32 => DType::F32,
        Element::F16 => DType::F16,
        Element::BF16 => DType::BF16,
        Element::I64 => DType::I64,
        Element::I32 => DType::I32,
        Element::I16 => DType::I16,
        Element::I8 => DType::I8,
        Element::U64 => DType::U64,
        Element::U32 | Element::Bool(Store::U32) => DType::U32,
        Element::U16 => DType::U16,
        Element::U8 => DType::U8,
        Element::Bool(Store::Native | Store::U8) => DType::Bool,
        Element::QFloat(_) => return Err("a quantised tensor; save it in floating point".into()),
        Element::Flex32 => {
            return Err("an element type without a fixed size; save it as float32".into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one tensor, whose dtype is `dtype`, and `more` after it (one key and its value).
    fn header(dtype: &[u8], more: &[u8]) -> Vec<u8> {
        let tensor = b"\xa3\x65dtype\x65shape\x81\x19\x01\x2c\x6cdata_offsets\x82\x00\x19\x04\xb0";
        let (before, after) = tensor.split_at(7);
        let parts = [
            &b"\xbf\x67tensors\xbf\x61a"[..],
            before,
            dtype,
            after,
            b"\xff",
            more,
            b"\xff",
        ];
        parts.concat()
    }

    #[test]
    fn headers_of_definite_and_other_lengths() {
        let good = header(b"\x63F32", b"\x68metadata\xa1\x61k\x61v");
        let read = parse(&good).ok().unwrap();
        let (name, tensor) = &read.tensors.0[0];
        assert_eq!((name.as_str(), tensor.data_offsets), ("a", (0, 1200)));
        assert_eq!(tensor.shape.0, [300]);
        assert_eq!(element(&tensor.dtype), Ok(DType::F32));
        assert_eq!(read.metadata.0, [("k".to_owned(), "v".to_owned())]);
        for end in 0..good.len() {
            assert!(parse(&good[..end]).is_err(), "{end}");
        }
        let dtype = |bytes: &[u8]| {
            element(
                &parse(&header(bytes, b"")).ok().unwrap().tensors.0[0]
                    .1
                    .dtype,
            )
        };
        assert_eq!(dtype(b"\xa1\x64Bool\x66Native"), Ok(DType::Bool));
        assert_eq!(dtype(b"\xa1\x64Bool\x63U32"), Ok(DType::U32));
        assert!(
            dtype(b"\xa1\x66QFloat\xa1\x61x\x80")
                .unwrap_err()
                .contains("quantised")
        );
        // keys that are not known, with values of any kind
        for more in [
            &b"\x61x\xc1\x1a\x00\x01\x11\x70"[..],
            b"\x61x\xf6",
            b"\x61x\x42ab",
            b"\x61x\xfb\x3f\xf0\0\0\0\0\0\0",
            b"\x61x\x9f\x80\xa1\x01\x02\xff",
        ] {
            assert!(parse(&header(b"\x63F32", more)).is_ok(), "{more:?}");
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let why = |bytes: &[u8]| parse(bytes).err().unwrap().1;
        let deep = header(b"\x63F32", &[&b"\x61x"[..], &[0x81; 100_000]].concat());
        assert_eq!(why(&deep), "nested too deep");
        let deep = header(&[&b"\xa1\x66QFloat"[..], &[0x81; 100_000]].concat(), b"");
        assert_eq!(why(&deep), "nested too deep");
        let unknown = header(b"\x62F4", b"");
        assert!(
            why(&unknown).contains("unknown variant `F4`"),
            "{}",
            why(&unknown)
        );
        // counts that nothing is reserved for
        for dtype in [
            &b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(parse(&header(dtype, b"")).is_err());
        }
        assert!(parse(b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(
            why(b"\xa1\x01\x01").contains("integer `1`"),
            "{}",
            why(b"\xa1\x01\x01")
        );
    }
}
