//! numpy's arrays in a pickle (modules of numpy 1 and 2, pickle protocols 0 to 5).

use super::dtype::DType;
use super::graph::Graph;
use super::pickle::{Id, Node, Pickle};
use super::storage::Storages;
use super::tensor::TensorInfo;

/// Longest storage that a number is read from, in bytes.
const MAX_NUMBER: usize = 4096;

/// Does this function of numpy make an array or a number?
pub(super) fn is_array(function: &str) -> bool {
    matches!(function, "_reconstruct" | "_frombuffer" | "scalar")
}

/// Element type and byte order of a pickled `numpy.dtype`.
fn element(pickle: &Pickle, id: Id) -> Result<(DType, bool), String> {
    let code = match pickle.call(id) {
        Some((_, name, &[code, ..])) if name == "dtype" => pickle.text(code),
        _ => None,
    };
    let code = code.ok_or("without an element type")?;
    // The code may carry the byte order; else it is second in the state (version, order, ...).
    let (order, code) = match code.strip_prefix(['<', '>', '|', '=']) {
        Some(rest) => (code.chars().next(), rest.to_owned()),
        None => {
            let state = match pickle.node(id) {
                Node::Object(object) => object.state.and_then(|state| pickle.tuple(state)),
                _ => None,
            };
            let order = state.and_then(|state| pickle.text(*state.get(1)?)?.chars().next());
            (order, code.into_owned())
        }
    };
    let dtype = DType::from_numpy(&code).ok_or_else(|| {
        let code: String = code.chars().take(20).collect();
        format!("numpy element type `{code}`")
    })?;
    Ok((dtype, order == Some('>')))
}

impl Graph<'_, '_> {
    /// The array that a call of numpy's makes; None when the call makes something else.
    pub(super) fn array(
        &mut self,
        function: &str,
        id: Id,
        args: &[Id],
        storages: &mut Storages,
    ) -> Result<Option<TensorInfo>, String> {
        let pickle = self.pickle;
        let (dtype, shape, column_major, bytes) = match (function, args) {
            // The state is (version, shape, dtype, column major?, bytes).
            ("_reconstruct", _) => {
                let state = match pickle.node(id) {
                    Node::Object(object) => object.state.and_then(|state| pickle.tuple(state)),
                    _ => None,
                };
                let Some(&[_, shape, dtype, column_major, bytes]) = state else {
                    return Err("an array without its state".to_owned());
                };
                (dtype, Some(shape), column_major == Id::TRUE, bytes)
            }
            ("_frombuffer", &[bytes, dtype, shape, order]) => {
                let column_major = pickle.is_text(order, "F");
                (dtype, Some(shape), column_major, bytes)
            }
            ("scalar", &[dtype, bytes]) => (dtype, None, false, bytes),
            _ => return Ok(None),
        };
        let (dtype, big_endian) = element(pickle, dtype)?;
        let shape = match shape {
            Some(shape) => pickle.sizes(shape, 64).ok_or("a shape that is no sizes")?,
            None => Vec::new(),
        };
        let strides = if column_major {
            Some(column_major_strides(&shape).ok_or("a shape that overflows")?)
        } else {
            None
        };
        let source = pickle
            .bytes_source(bytes)
            .ok_or("an array without its bytes")?;
        let place = self.bytes_storage(source, storages)?;
        TensorInfo::new(dtype, shape, strides, 0, place, big_endian).map(Some)
    }

    /// A whole number of Python or of numpy, also written with a point; None for `nan`, 1.5 and what is beyond 64 bits.
    pub fn whole_number(&mut self, id: Id, storages: &mut Storages) -> Option<i64> {
        if let Node::Int(value) = self.pickle.node(id) {
            return Some(*value);
        }
        let number = self.number(id, storages)?;
        // Up to here every whole number is an f64.
        let exact = number.fract() == 0.0 && number.abs() <= (1u64 << 53) as f64;
        exact.then_some(number as i64)
    }

    /// A number of Python or of numpy.
    pub fn number(&mut self, id: Id, storages: &mut Storages) -> Option<f64> {
        match self.pickle.node(id) {
            Node::Int(value) => Some(*value as f64),
            Node::Float(value) => Some(*value),
            _ => {
                let info = self.tensor(id, storages).ok()??;
                // No storage of a model is inflated, or its checksum compared, to tell one number.
                if info.count() != 1 || storages.len(info.storage) > MAX_NUMBER {
                    return None;
                }
                let (key, info) = ("", &info);
                let view = super::tensor::TensorView {
                    key,
                    info,
                    storages,
                };
                view.f64().ok()?.first().copied()
            }
        }
    }
}

fn column_major_strides(shape: &[usize]) -> Option<Vec<usize>> {
    let mut next = 1usize;
    shape
        .iter()
        .map(|&size| {
            let stride = next;
            next = next.checked_mul(size.max(1))?;
            Some(stride)
        })
        .collect()
}
