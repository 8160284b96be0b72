//! What is said of a device's memory, whether a build has such devices or not.

use super::launch::Buffer;

/// A read-back from a device failed, for example because the device was lost.
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

/// A tensor's memory as it lies, without a copy.
pub struct Strided<const D: usize> {
    /// The memory.
    pub buffer: Buffer,
    /// Extent of each dimension.
    pub shape: [usize; D],
    /// Distance in elements between neighbours along each dimension.
    pub strides: [usize; D],
}
