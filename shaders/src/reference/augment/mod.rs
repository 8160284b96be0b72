//! Twins of the kernels below `wgsl/augment/`: what training's transforms do to pixels.

pub mod canvas;
pub mod gather;
#[cfg(target_arch = "x86_64")]
mod gather_avx2;
pub mod grey;
pub mod hsv;
pub mod lookup;
pub mod mix;
pub mod paste;
pub mod photometric;
pub mod place;
pub mod smooth;
pub mod warp;
