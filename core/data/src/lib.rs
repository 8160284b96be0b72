//! Pictures and annotations: files in, the network's input out.
//!
//! [`decode`] makes a [`Picture`] of a file's bytes; [`transforms`] say what becomes of it, for training (in [`datasets`], through
//! the [`loader`]) and for tests ([`pipeline`]); [`preprocessor`] holds the options of `DetDataPreprocessor`. One pass of the engine
//! then makes the batch. To add a transform: a file in [`transforms`] and a row in its table.

pub mod coco;
pub mod datasets;
pub mod decode;
pub mod draws_file;
mod header;
pub mod image;
pub mod in_order;
pub mod loader;
pub mod lookup;
pub mod meta;
pub mod packed;
pub mod picture;
pub mod pipeline;
pub mod pixels;
pub mod preprocessor;
pub mod random;
pub mod sample;
pub mod samplers;
#[doc(hidden)]
pub mod size_limits;
pub mod structures;
pub mod summary;
pub mod trace;
pub mod transforms;

pub use decode::{ColorType, DecodeOptions, decode};
pub use lookup::Lookup;
pub use meta::Meta;
pub use picture::{Fault, Picture, PictureError};
pub use size_limits::SizeLimits;

use smalti_config::registry::Registry;

/// Adds everything that this crate builds.
pub fn register(registry: &mut Registry) {
    registry
        .extend(transforms::ROWS.iter().copied())
        .extend(datasets::ROWS.iter().copied());
    samplers::register(registry);
}
