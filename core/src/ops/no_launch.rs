//! What takes the place of `launch.rs` in a build without the feature `gpu`: no device runs kernels, so that no [`Gpu`] is ever there, and the compiler
//! leaves out all that would need one.

use burn::tensor::{Device, Int, Tensor};
use smalti_shaders::Kernel;

pub use super::memory::{MOST_WORKGROUPS, ReadError, Strided};

/// A device that runs WGSL: there is none.
#[derive(Clone)]
pub enum Gpu {}

/// Memory on such a device.
#[derive(Clone, Debug)]
pub enum Buffer {}

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
