//! One stored tensor: where its elements lie in the file, and how they become numbers.

use std::ops::Range;

use super::dtype::DType;
use super::error::CheckpointError;
use super::storage::{StorageBytes, Storages};

/// More dimensions than any real tensor has.
pub(crate) const MAX_DIMS: usize = 32;

/// A tensor expanded by zero strides may have this many elements more than its storage holds.
const MAX_EXPANDED: usize = 1 << 24;

/// Where a tensor lies: checked against its storage when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorInfo {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// In elements.
    pub strides: Vec<usize>,
    /// First element, in bytes from the start of the storage.
    pub offset: usize,
    /// Index into [`Storages`].
    pub storage: usize,
    pub big_endian: bool,
}

impl TensorInfo {
    /// Checks that every element lies inside a storage of `storage_len` bytes.
    ///
    /// `offset` and `strides` count elements; without strides the tensor is row-major.
    pub fn new(
        dtype: DType,
        shape: Vec<usize>,
        strides: Option<Vec<usize>>,
        offset: usize,
        (storage, storage_len): (usize, usize),
        big_endian: bool,
    ) -> Result<Self, String> {
        if shape.len() > MAX_DIMS {
            return Err(format!("more than {MAX_DIMS} dimensions"));
        }
        let overflow = || format!("shape {shape:?} overflows");
        let count = element_count(&shape).ok_or_else(overflow)?;
        let strides = match strides {
            Some(strides) if strides.len() == shape.len() => strides,
            Some(strides) => return Err(format!("shape {shape:?} with strides {strides:?}")),
            None => row_major(&shape).ok_or_else(overflow)?,
        };
        let offset = offset.checked_mul(dtype.size()).ok_or_else(overflow)?;
        if count > 0 {
            let mut last = 0usize;
            for (&size, &stride) in shape.iter().zip(&strides) {
                let step = (size - 1).checked_mul(stride).ok_or_else(overflow)?;
                last = last.checked_add(step).ok_or_else(overflow)?;
            }
            let end = last
                .checked_add(1)
                .and_then(|elements| elements.checked_mul(dtype.size()))
                .and_then(|bytes| bytes.checked_add(offset))
                .ok_or_else(overflow)?;
            if end > storage_len {
                return Err(format!(
                    "shape {shape:?} of {dtype} needs {end} bytes of storage, there are {storage_len}"
                ));
            }
            if count > storage_len / dtype.size() + MAX_EXPANDED {
                return Err(format!(
                    "shape {shape:?} is expanded from only {storage_len} bytes"
                ));
            }
        }
        Ok(Self {
            dtype,
            shape,
            strides,
            offset,
            storage,
            big_endian,
        })
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        // It was found not to overflow when this was made.
        element_count(&self.shape).unwrap_or(0)
    }
}

/// A tensor of a checkpoint, not yet copied out of the file.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    pub(crate) key: &'a str,
    pub(crate) info: &'a TensorInfo,
    pub(crate) storages: &'a Storages,
}

impl<'a> TensorView<'a> {
    /// Element type in the file.
    pub fn dtype(&self) -> DType {
        self.info.dtype
    }

    /// Sizes, outermost dimension first; empty for a single number.
    pub fn shape(&self) -> &'a [usize] {
        &self.info.shape
    }

    /// Distance between neighbours in each dimension, in elements of the storage.
    pub fn strides(&self) -> &'a [usize] {
        &self.info.strides
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.info.count()
    }

    /// True when another tensor with the same number has the same memory (tied weights).
    pub fn storage(&self) -> usize {
        self.info.storage
    }

    /// The number of the storage if this is all of it, as it lies.
    pub(crate) fn whole_storage(&self) -> Option<usize> {
        let range = self.contiguous_range()?;
        let whole = range == (0..self.storages.len(self.info.storage)) && !range.is_empty();
        whole.then_some(self.info.storage)
    }

    /// The elements as f32, row-major: one copy, straight from the file's bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`] for complex numbers, and for a compressed storage that is damaged.
    pub fn f32(&self) -> Result<Vec<f32>, CheckpointError> {
        match self.info.dtype {
            DType::F32 => self.read(f32::from_le_bytes),
            DType::F64 => self.read(|b| f64::from_le_bytes(b) as f32),
            DType::F16 => self.read(|b| f32_from_f16(u16::from_le_bytes(b))),
            DType::BF16 => self.read(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            DType::F8E4M3 => self.read(|b: [u8; 1]| f32_from_f8e4m3(b[0])),
            DType::F8E5M2 => self.read(|b: [u8; 1]| f32_from_f16(u16::from(b[0]) << 8)),
            DType::I64 => self.read(|b| i64::from_le_bytes(b) as f32),
            DType::I32 => self.read(|b| i32::from_le_bytes(b) as f32),
            DType::I16 => self.read(|b| f32::from(i16::from_le_bytes(b))),
            DType::I8 => self.read(|b| f32::from(i8::from_le_bytes(b))),
            DType::U64 => self.read(|b| u64::from_le_bytes(b) as f32),
            DType::U32 => self.read(|b| u32::from_le_bytes(b) as f32),
            DType::U16 => self.read(|b| f32::from(u16::from_le_bytes(b))),
            DType::U8 => self.read(|b: [u8; 1]| f32::from(b[0])),
            DType::Bool => self.read(|b: [u8; 1]| f32::from(u8::from(b[0] != 0))),
            DType::Complex64 | DType::Complex128 => Err(self.unreadable("complex numbers")),
        }
    }

    /// The elements as i64, row-major.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`] unless the type is an integer or bool.
    pub fn i64(&self) -> Result<Vec<i64>, CheckpointError> {
        match self.info.dtype {
            DType::I64 => self.read(i64::from_le_bytes),
            DType::I32 => self.read(|b| i64::from(i32::from_le_bytes(b))),
            DType::I16 => self.read(|b| i64::from(i16::from_le_bytes(b))),
            DType::I8 => self.read(|b| i64::from(i8::from_le_bytes(b))),
            DType::U32 => self.read(|b| i64::from(u32::from_le_bytes(b))),
            DType::U16 => self.read(|b| i64::from(u16::from_le_bytes(b))),
            DType::U8 => self.read(|b: [u8; 1]| i64::from(b[0])),
            DType::Bool => self.read(|b: [u8; 1]| i64::from(b[0] != 0)),
            other => Err(self.unreadable(format!("{other} as integers"))),
        }
    }

    /// The elements as f64, row-major: for small things such as a learning rate.
    pub(crate) fn f64(&self) -> Result<Vec<f64>, CheckpointError> {
        match self.info.dtype {
            DType::F64 => self.read(f64::from_le_bytes),
            DType::I64 => self.read(|b| i64::from_le_bytes(b) as f64),
            DType::U64 => self.read(|b| u64::from_le_bytes(b) as f64),
            _ => Ok(self.f32()?.into_iter().map(f64::from).collect()),
        }
    }

    /// The elements' bytes, row-major, little-endian.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`] when a compressed storage is damaged.
    pub fn bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        if let Some(range) = self.contiguous_range()
            && !self.info.big_endian
        {
            return Ok(self.storage_bytes()?[range].to_vec());
        }
        Ok(match self.info.dtype.size() {
            1 => self.read(|b: [u8; 1]| b)?.concat(),
            2 => self.read(|b: [u8; 2]| b)?.concat(),
            4 => self.read(|b: [u8; 4]| b)?.concat(),
            // A complex number is two numbers, each with its own byte order.
            8 if self.info.dtype == DType::Complex64 => self.halves::<4>()?,
            8 => self.read(|b: [u8; 8]| b)?.concat(),
            _ => self.halves::<8>()?,
        })
    }

    /// Complex elements, whose real and imaginary part are N bytes each.
    fn halves<const N: usize>(&self) -> Result<Vec<u8>, CheckpointError> {
        let storage = self.storage_bytes()?;
        let storage: &[u8] = &storage;
        let mut out = Vec::with_capacity(self.count() * 2 * N);
        self.for_each_row(2 * N, |start, count, stride| {
            for i in 0..count {
                let at = start + i * stride;
                for part in storage[at..at + 2 * N].chunks_exact(N) {
                    if self.info.big_endian {
                        out.extend(part.iter().rev());
                    } else {
                        out.extend(part);
                    }
                }
            }
        });
        Ok(out)
    }

    /// Every element as N little-endian bytes through `number`.
    fn read<const N: usize, T>(
        &self,
        number: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, CheckpointError> {
        let storage = self.storage_bytes()?;
        let storage: &[u8] = &storage;
        if let Some(range) = self.contiguous_range()
            && !self.info.big_endian
        {
            // The usual case, kept free of branches: for f32 it is a plain copy.
            let (elements, _) = storage[range].as_chunks::<N>();
            return Ok(elements.iter().map(|&element| number(element)).collect());
        }
        let number = |bytes: &[u8]| {
            let mut element = [0; N];
            element.copy_from_slice(bytes);
            if self.info.big_endian {
                element.reverse();
            }
            number(element)
        };
        let mut out = Vec::with_capacity(self.info.count());
        self.for_each_row(N, |start, count, stride| {
            out.extend((0..count).map(|i| number(&storage[start + i * stride..][..N])));
        });
        Ok(out)
    }

    /// The bytes of a row-major tensor; None when its elements lie in another order.
    fn contiguous_range(&self) -> Option<Range<usize>> {
        let TensorInfo { shape, strides, .. } = self.info;
        if self.info.count() == 0 {
            return Some(0..0);
        }
        // The stride of a dimension of one element says nothing.
        let expected = row_major(shape)?;
        let mut dims = shape.iter().zip(strides).zip(&expected);
        let in_order = dims.all(|((&size, stride), expected)| size == 1 || stride == expected);
        let len = self.info.count() * self.info.dtype.size();
        in_order.then(|| self.info.offset..self.info.offset + len)
    }

    /// Calls `row(first byte, elements, bytes between elements)` for each innermost row in order.
    fn for_each_row(&self, size: usize, mut row: impl FnMut(usize, usize, usize)) {
        let TensorInfo { shape, strides, .. } = self.info;
        if self.info.count() == 0 {
            return;
        }
        let (Some(&count), Some(&stride)) = (shape.last(), strides.last()) else {
            return row(self.info.offset, 1, size);
        };
        let outer = shape.len() - 1;
        let mut index = vec![0usize; outer];
        loop {
            let elements: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
            row(self.info.offset + elements * size, count, stride * size);
            // Count up like an odometer, the innermost of the outer dimensions first.
            let Some(dim) = (0..outer).rev().find(|&d| index[d] + 1 < shape[d]) else {
                return;
            };
            index[dim] += 1;
            index[dim + 1..].fill(0);
        }
    }

    fn storage_bytes(&self) -> Result<StorageBytes<'a>, CheckpointError> {
        let read = self.count().saturating_mul(self.info.dtype.size());
        self.storages
            .bytes(self.info.storage, read)
            .map_err(|why| self.unreadable(why.to_string()))
    }

    fn unreadable(&self, why: impl Into<String>) -> CheckpointError {
        CheckpointError::Unreadable {
            key: self.key.to_owned(),
            why: why.into(),
        }
    }
}

/// Product of the sizes; None when it overflows (whatever the order, also with a zero among them).
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size))
}

/// Strides of a contiguous tensor. PyTorch counts an empty dimension as one element.
fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d].checked_mul(shape[d].max(1))?;
    }
    Some(strides)
}

/// IEEE half precision.
fn f32_from_f16(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half) & 0x3ff;
    let magnitude = match (exponent, fraction) {
        (0, _) => return f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        (31, _) => 0xff << 23 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The "fn" kind of 8-bit float: no infinities, 0x7f and 0xff are NaN.
fn f32_from_f8e4m3(bits: u8) -> f32 {
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 3 & 0xf), f32::from(bits & 7));
    match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => sign * fraction * 2f32.powi(-9),
        _ => sign * (8.0 + fraction) * 2f32.powi(exponent - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(info: &'a TensorInfo, storages: &'a Storages) -> TensorView<'a> {
        TensorView {
            key: "t",
            info,
            storages,
        }
    }

    fn storage(bytes: Vec<u8>) -> (Storages, (usize, usize)) {
        let len = bytes.len();
        let mut storages = Storages::new(Vec::<u8>::new());
        let index = storages.add_owned(bytes);
        (storages, (index, len))
    }

    #[test]
    fn strides_and_offset_pick_the_right_elements() {
        let bytes = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let (storages, at) = storage(bytes);
        // A 3x4 matrix transposed, its first row dropped: [1, 5, 9], [2, 6, 10], [3, 7, 11].
        let t = TensorInfo::new(DType::F32, vec![3, 3], Some(vec![1, 4]), 1, at, false).unwrap();
        let expected = [1., 5., 9., 2., 6., 10., 3., 7., 11.];
        assert_eq!(view(&t, &storages).f32().unwrap(), expected);
        assert_eq!(
            view(&t, &storages).bytes().unwrap(),
            expected.map(f32::to_le_bytes).concat()
        );
        // One row seen three times.
        let t = TensorInfo::new(DType::F32, vec![3, 2], Some(vec![0, 1]), 2, at, false).unwrap();
        assert_eq!(view(&t, &storages).f32().unwrap(), [2., 3., 2., 3., 2., 3.]);
    }

    #[test]
    fn no_dimensions_is_one_number_and_a_zero_dimension_is_none() {
        let (storages, at) = storage(7i64.to_le_bytes().to_vec());
        let scalar = TensorInfo::new(DType::I64, vec![], None, 0, at, false).unwrap();
        assert_eq!(view(&scalar, &storages).i64().unwrap(), [7]);
        assert_eq!(view(&scalar, &storages).f32().unwrap(), [7.0]);
        // Nothing overflows where nothing is, whatever the other sides.
        let sides = vec![1 << 63, 4, 0];
        let strides = Some(vec![1, 1, 1]);
        let none = TensorInfo::new(DType::F32, sides, strides, 0, at, false).unwrap();
        assert_eq!(none.count(), 0);
        assert_eq!(view(&none, &storages).f32().unwrap(), [0f32; 0]);
        let empty = TensorInfo::new(DType::F32, vec![4, 0, 2], None, 99, at, false).unwrap();
        assert_eq!(view(&empty, &storages).f32().unwrap(), [0f32; 0]);
        let strided =
            TensorInfo::new(DType::F32, vec![4, 0], Some(vec![0, 3]), 0, at, false).unwrap();
        assert_eq!(view(&strided, &storages).bytes().unwrap(), [0u8; 0]);
    }

    #[test]
    fn extents_outside_the_storage_are_refused() {
        let (_, at) = storage(vec![0; 16]);
        let huge = usize::MAX;
        for (shape, strides, offset) in [
            (vec![5], None, 0),
            (vec![4], None, 1),
            (vec![2, 2], Some(vec![3, 1]), 0),
            (vec![2, huge], Some(vec![1, 1]), 0),
            (vec![2], Some(vec![huge]), 0),
            (vec![1], None, huge / 2),
            (vec![1 << 40], Some(vec![0]), 0),
            (vec![2], Some(vec![1, 1]), 0),
            (vec![1; 99], None, 0),
        ] {
            assert!(TensorInfo::new(DType::F32, shape, strides, offset, at, false).is_err());
        }
        assert!(TensorInfo::new(DType::F32, vec![4], None, 0, at, false).is_ok());
    }

    #[test]
    fn every_element_type_becomes_f32() {
        let cases: [(DType, Vec<u8>, f32); 14] = [
            (DType::F64, (-1.5f64).to_le_bytes().to_vec(), -1.5),
            (DType::F16, 0x3e00u16.to_le_bytes().to_vec(), 1.5),
            (DType::F16, 0x0001u16.to_le_bytes().to_vec(), 2f32.powi(-24)),
            (
                DType::F16,
                0xfc00u16.to_le_bytes().to_vec(),
                f32::NEG_INFINITY,
            ),
            (DType::F16, 0x7bffu16.to_le_bytes().to_vec(), 65504.0),
            (DType::BF16, 0xc040u16.to_le_bytes().to_vec(), -3.0),
            (DType::F8E4M3, vec![0x7e], 448.0),
            (DType::F8E4M3, vec![0x81], -(2f32.powi(-9))),
            (DType::F8E5M2, vec![0x3e], 1.5),
            (DType::I32, (-7i32).to_le_bytes().to_vec(), -7.0),
            (DType::I8, vec![0xff], -1.0),
            (DType::U8, vec![0xff], 255.0),
            (DType::Bool, vec![1], 1.0),
            (DType::U16, 40000u16.to_le_bytes().to_vec(), 40000.0),
        ];
        for (dtype, bytes, expected) in cases {
            let (storages, at) = storage(bytes.clone());
            let t = TensorInfo::new(dtype, vec![1], None, 0, at, false).unwrap();
            assert_eq!(view(&t, &storages).f32().unwrap(), [expected], "{dtype}");
            let (storages, at) = storage(bytes.into_iter().rev().collect());
            let t = TensorInfo::new(dtype, vec![1], None, 0, at, true).unwrap();
            assert_eq!(view(&t, &storages).f32().unwrap(), [expected], "{dtype}");
        }
        let (storages, at) = storage(vec![0; 8]);
        let complex = TensorInfo::new(DType::Complex64, vec![1], None, 0, at, false).unwrap();
        let error = view(&complex, &storages).f32().unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor `t` cannot be read: complex numbers"
        );
    }
}
