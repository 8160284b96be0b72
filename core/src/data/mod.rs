//! Pictures and annotations: files in, the network's input out.
//!
//! [`decode`] makes a [`Picture`] of a file's bytes; [`pipeline`] reads the test pipeline of a config
//! and plans what becomes of it; [`preprocessor`] holds the options of `DetDataPreprocessor`. One
//! pass of [`crate::ops`] then makes the batch. To add a transform: a file in [`transforms`] and a row in
//! its table.

pub mod coco;
pub mod decode;
pub mod picture;
pub mod pipeline;
pub mod preprocessor;
pub mod transforms;

pub use decode::{ColorType, DecodeOptions, decode};
pub use picture::{Picture, PictureError, Problem};
