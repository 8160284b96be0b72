//! Convolution for the CPU, its gradients, [`BatchNorm`] and activations with theirs, [`LayerNorm`], [`softmax`], [`max_pool`], what deformable filters see ([`Deform`]), parts
//! of maps ([`Regions`])
//! and the loss [`Focal`]. No burn: slices in, slices out.
//!
//! [`Filters`] prepares weights once, for the algorithm that [`Algorithm::of`] chooses by their shape:
//!
//! | shape | algorithm |
//! |---|---|
//! | 3x3, stride 1, one group, 16 channels or more | Winograd's F(4x4, 3x3); as below for pictures of few tiles |
//! | each filter sees one channel | depthwise, direct |
//! | all else, 1x1 among it | product of matrices, the pixels gathered a panel at a time |
//!
//! Loops are written once over [`pulp::Simd`], or so that the compiler makes vectors of them, and run with the widest [`Instructions`] that
//! the machine has (AVX-512, AVX2, NEON, WebAssembly's SIMD). Threads are rayon's (a page has one). No buffer grows with the picture: a thread's is
//! 256 KiB, or 5 MiB for Winograd's algorithm and 8 MiB that threads share for small pictures; more only from 700 channels on, where a
//! single panel of tiles is larger. They are kept for the next call. A gradient of weights turns 4 MiB of dy at a time, and a thread has up to
//! as much of padded planes.

#[cfg(target_arch = "wasm32")]
extern crate smalti_one_thread as rayon;

mod activate;
mod curve;
mod deform;
mod depthwise;
mod filters;
mod finish;
mod focal;
mod gather;
mod gradients;
mod implicit;
mod instructions;
mod norm;
mod pool;
mod product;
mod regions;
mod rows;
mod shape;
mod sums;
mod tiles;
mod weight_gradient;
mod winograd;

pub use activate::{activate, activate_with, activation_gradient, activation_gradient_with};
pub use deform::{Deform, Samples};
pub use filters::{Algorithm, Filters};
pub use finish::{Act, Finish};
pub use focal::Focal;
pub use gradients::{InputGradient, bias_gradient};
pub use instructions::Instructions;
pub use norm::{BatchNorm, Slopes, Statistics};
pub use pool::{max_pool, max_pool_with};
pub use regions::{Map, Region, Regions, Taps};
pub use rows::{Added, LayerNorm, finish_rows, softmax, softmax_with};
pub use shape::{Picture, Shape};
pub use weight_gradient::{weight_gradient, weight_gradient_with};

#[cfg(test)]
mod tests;
