//! Pictures and annotations: files in, the network's input out.
//!
//! In this order: [`structures`] (boxes, masks) and [`random`] -> [`pictures`] (a file's bytes to a [`Picture`]) -> [`pixels`] (what
//! can be done to them, on the CPU or a device) -> [`samples`] (a picture with its objects) -> [`transforms`] (what becomes of it) ->
//! [`datasets`] (annotation files to samples) -> [`loading`] (epochs and batches) -> [`evaluate`] (detections to figures). [`pipeline`] runs transforms on a picture that is
//! there already; [`preprocessor`] holds the options of `DetDataPreprocessor`, whose work one pass of the engine does.
//!
//! To add a transform: a file in [`transforms`] and a row in its table; from another crate, `Registry::add`.

pub mod coco;
pub mod context;
pub mod datasets;
pub mod evaluate;
pub mod files;
pub mod loading;
pub mod lookup;
pub mod pictures;
pub mod pipeline;
pub mod pixels;
pub mod preprocessor;
pub mod random;
pub mod samples;
pub mod structures;
pub mod transforms;

pub use loading::{in_order, loader, samplers};
pub use pictures::{decode, picture, thumbnail};
pub use pixels::image;
pub use samples::{draws_file, meta, packed, sample, summary, trace};

pub use decode::{ColorType, DecodeOptions, decode};
pub use lookup::Lookup;
pub use meta::Meta;
pub use picture::{Fault, Picture, PictureError};
pub use size_limits::SizeLimits;
pub use thumbnail::thumbnail;

pub(crate) use pictures::header;
#[doc(hidden)]
pub use pictures::size_limits;

use smalti_config::registry::Registry;

/// Adds everything that this crate builds.
pub fn register(registry: &mut Registry) {
    registry
        .extend(transforms::ROWS.iter().copied())
        .extend(datasets::ROWS.iter().copied())
        .extend(evaluate::ROWS.iter().copied());
    samplers::register(registry);
}
