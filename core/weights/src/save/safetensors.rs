//! `.safetensors`: a JSON header with its length before it, then the tensors without gaps.

use std::collections::HashSet;
use std::io::Write;

use serde_json::{Map, json};

use super::{SaveError, Saved, elements_of, size_of};
use crate::dtype::DType;

/// The header's length is a multiple of this, so that the tensors' bytes are aligned.
const ALIGNMENT: usize = 8;

/// Writes tensors by name, and facts of them. Larger elements come first, as the format's own library has it, so that all are aligned; else
/// they keep their order. Tied tensors are written for each of their names.
///
/// # Errors
/// [`SaveError`]; of a tensor also when its name comes twice or is the header's own `__metadata__`.
pub fn write_safetensors<T: Saved>(
    mut out: impl Write,
    tensors: &[(String, T)],
    facts: &[(String, String)],
) -> Result<(), SaveError> {
    let mut sorted: Vec<&(String, T)> = tensors.iter().collect();
    sorted.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size()));
    let mut header = Map::new();
    if !facts.is_empty() {
        let facts = facts.iter();
        let facts: Map<_, _> = facts
            .map(|(key, text)| (key.clone(), json!(text)))
            .collect();
        header.insert("__metadata__".to_owned(), facts.into());
    }
    let mut names = HashSet::from(["__metadata__"]);
    let mut start = 0usize;
    for (key, tensor) in &sorted {
        if !names.insert(key) {
            return Err(SaveError::tensor(key, "the name is taken"));
        }
        let dtype = name_of(tensor.dtype()).ok_or_else(|| {
            let why = format!("safetensors has no {}", tensor.dtype());
            SaveError::tensor(key, why)
        })?;
        let end = start
            .checked_add(size_of(key, tensor)?)
            .ok_or_else(|| SaveError::tensor(key, "the file would overflow"))?;
        let entry = json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [start, end]});
        header.insert(key.clone(), entry);
        start = end;
    }
    let mut header = serde_json::Value::from(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (key, tensor) in sorted {
        out.write_all(&elements_of(key, tensor)?)?;
    }
    out.flush()?;
    Ok(())
}

/// The format's name of an element type.
fn name_of(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F8E4M3 => "F8_E4M3",
        DType::F8E5M2 => "F8_E5M2",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::I16 => "I16",
        DType::I8 => "I8",
        DType::U64 => "U64",
        DType::U32 => "U32",
        DType::U16 => "U16",
        DType::U8 => "U8",
        DType::Bool => "BOOL",
        DType::Complex64 => "C64",
        DType::Complex128 => return None,
    })
}
