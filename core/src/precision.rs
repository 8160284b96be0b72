//! [`Precision`]: in which numbers convolutions multiply. Everything else is computed in f32, and tensors are f32 in memory.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::ops::launch::Gpu;

/// In which numbers convolutions multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32: as MMDetection's numbers, but for the order of sums.
    #[default]
    F32,
    /// f16, with sums in f32: within 1e-3 of the largest value. What is beyond 65504 is infinite. Depthwise and grouped convolutions, which
    /// wait for memory, stay in f32, and so do those of 3x3 that take Winograd's way, which would be off by 1e-2.
    F16,
}

impl Precision {
    /// This, as far as `device` has it: f16 needs a GPU whose shaders have `shader-f16`.
    pub fn on(self, device: &Device) -> Self {
        match Gpu::of(&device.clone().without_autodiff()) {
            Some(gpu) if gpu.has_f16() => self,
            _ => Self::F32,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(format!("`{text}` is no precision; there are f32, f16")),
        }
    }
}
