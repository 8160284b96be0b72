//! What takes the place of `launch.rs` in a build without the feature `gpu`: no device runs kernels, so that no [`Gpu`] is ever there, and the compiler
//! leaves out all that would need one.

use burn::tensor::{Device, Int, Tensor};
use smalti_shaders::Kernel;

/// A read-back from a device failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub String);

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "reading from the device failed: {}", self.0)
    }
}

impl std::error::Error for ReadError {}

/// Most workgroups along one dimension of a dispatch (WebGPU's limit).
pub const MOST_WORKGROUPS: u32 = 65_535;

/// A device that runs WGSL: there is none.
#[derive(Clone)]
pub enum Gpu {}

/// Memory on such a device.
#[derive(Clone, Debug)]
pub enum Buffer {}

/// A tensor's memory on such a device.
pub struct Strided<const D: usize> {
    /// The memory.
    pub buffer: Buffer,
    /// Extent of each dimension.
    pub shape: [usize; D],
    /// Distance in elements between neighbours along each dimension.
    pub strides: [usize; D],
}

#[allow(missing_docs)] // as in `launch.rs`
impl Buffer {
    pub fn part(&self, _: usize, _: usize) -> Buffer {
        match *self {}
    }

    pub fn shares(&self, _: &Buffer) -> bool {
        match *self {}
    }

    pub fn words(&self) -> usize {
        match *self {}
    }
}

#[allow(missing_docs)] // as in `launch.rs`
impl Gpu {
    pub fn of(_: &Device) -> Option<Gpu> {
        None
    }

    pub fn has_f16(&self) -> bool {
        match *self {}
    }

    pub fn is(&self, _: &Gpu) -> bool {
        match *self {}
    }

    pub fn upload(&self, _: &[u32]) -> Buffer {
        match *self {}
    }

    pub fn constant(&self, _: &[u32]) -> Buffer {
        match *self {}
    }

    pub fn upload_bytes(&self, _: &[u8]) -> Buffer {
        match *self {}
    }

    pub fn empty(&self, _: usize) -> Buffer {
        match *self {}
    }

    pub fn launch(&self, _: &Kernel, _: [u32; 3], _: &[&Buffer]) {
        match *self {}
    }

    pub async fn read(&self, _: &Buffer) -> Result<Vec<u32>, ReadError> {
        match *self {}
    }

    pub fn tensor<const D: usize>(&self, _: Buffer, _: [usize; D]) -> Tensor<D> {
        match *self {}
    }

    pub fn int_tensor<const D: usize>(&self, _: Buffer, _: [usize; D]) -> Tensor<D, Int> {
        match *self {}
    }

    pub fn strided_tensor<const D: usize>(
        &self,
        _: Buffer,
        _: [usize; D],
        _: [usize; D],
    ) -> Tensor<D> {
        match *self {}
    }

    pub fn contiguous<const D: usize>(&self, _: Tensor<D>) -> Result<Buffer, ReadError> {
        match *self {}
    }

    pub fn own(&self, _: Tensor<1>) -> Result<Buffer, ReadError> {
        match *self {}
    }

    pub fn strided<const D: usize>(&self, _: Tensor<D>) -> Result<Strided<D>, ReadError> {
        match *self {}
    }
}
