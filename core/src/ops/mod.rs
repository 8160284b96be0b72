//! Operations that are ours: a WGSL kernel on the GPU, its twin on the CPU.
//!
//! [`launch`] alone knows how a kernel is run on burn's buffers. To add an operation: the kernel and its
//! twin in `smalti-shaders`, and a file here that chooses between them by the tensor's device.

// Without devices that run kernels, what prepares their work is never called.
#![cfg_attr(
    not(feature = "gpu"),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        unreachable_code,
        unused_variables
    )
)]

pub mod activate;
pub mod augment;
pub mod conv;
pub mod count;
pub mod deform_conv;
pub mod detections;
pub mod differentiable;
pub mod focal;
#[cfg_attr(not(feature = "gpu"), path = "no_launch.rs")]
pub mod launch;
pub mod mask_paste;
mod memory;
pub mod norm;
pub mod pool;
pub mod preprocess;
pub mod resize;
pub mod roi_align;
pub mod rows;
#[cfg(feature = "train")]
pub(crate) mod train;
pub mod watch;

#[cfg(not(target_arch = "wasm32"))]
pub use detections::detect_blocking;
pub use detections::{Candidates, DetectError, Level, Select, detect};
