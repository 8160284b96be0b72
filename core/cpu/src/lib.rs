//! Kernels for the CPU that do less than the plain way. No burn: slices in, slices out.
//!
//! Loops are written so that the compiler makes vectors of them, and run through [`pulp`], which chooses the widest instructions that
//! the machine has (AVX-512, AVX2, NEON, WebAssembly's SIMD) when the program runs. Products of matrices are the crate `gemm`'s. Threads
//! are rayon's.

mod tiles;
pub mod winograd;

pub use winograd::{Finish, Picture, Winograd};
