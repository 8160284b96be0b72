//! A picture's file becomes pixels.

pub mod decode;
pub(crate) mod header;
pub mod picture;
pub mod size_limits;
pub mod thumbnail;
