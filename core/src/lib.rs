//! Object detection from MMDetection's own config files and checkpoints, on any GPU that wgpu reaches and on the CPU.
//!
//! The shortest way from a picture to boxes is [`Predictor`]; `examples/detect.rs` shows it. It walks through the modules in this order:
//! [`config`] (text to a resolved tree) -> [`mod@registry`] (names to builders) -> [`detectors`] (with [`backbones`], [`necks`], [`heads`], made of
//! [`layers`]) -> [`weights`] (values) -> [`data`] (picture to batch) -> the model -> [`ops`] (candidates to boxes) -> [`structures::Instances`].
//!
//! [`config`], [`weights`] and [`data`] are crates of their own that know no device; they are here under the paths of modules.
//!
//! How things fail: bad input is an `Err` that says what was found, what was expected and what to do next. Config errors
//! ([`config::Diagnostic`]) point at the text and are collected. A panic is a broken promise of this crate.
//!
//! What never happens: nothing in a config or a checkpoint is executed; files, clocks and the network are touched in [`host`] alone, so
//! that everything else runs in a browser; a device is read back asynchronously.

#[cfg(target_arch = "wasm32")]
extern crate smalti_one_thread as rayon;

pub use smalti_config as config;
pub use smalti_config::registry;
pub use smalti_data as data;
pub use smalti_data::structures;
pub use smalti_weights as weights;

pub mod batch;
pub mod build;
pub mod probe;
pub mod targets;
mod threads;

pub mod assigners;
pub mod backbones;
pub mod box_coders;
pub mod detectors;
pub mod heads;
pub mod initializers;
pub mod layers;
pub mod losses;
pub mod model;
pub mod necks;
pub mod priors;
pub mod reparameterize;
pub mod roi_heads;
pub mod samplers;

pub mod device;
pub mod evaluate;
pub mod ops;

#[cfg(feature = "train")]
pub mod train;

mod limits;
mod load;
pub mod outline;
mod precision;
mod predict;
pub use load::{LoadError, PredictorBuilder};
pub use precision::Precision;
pub use predict::{PredictError, Predictor, predict};

pub mod draw;
pub mod host;
pub mod results;

/// Everything that this crate builds. Add what is yours with [`registry::Registry::add`].
pub fn registry() -> registry::Registry {
    let mut all = registry::Registry::default();
    all.extend(backbones::ROWS)
        .extend(necks::ROWS)
        .extend(heads::ROWS)
        .extend(losses::ROWS)
        .extend(assigners::ROWS)
        .extend(assigners::MATCH_COSTS)
        .extend(samplers::ROWS)
        .extend(priors::ROWS)
        .extend(box_coders::ROWS)
        .extend(detectors::ROWS)
        .extend(roi_heads::ROWS)
        .extend(roi_heads::EXTRACTORS)
        .extend(roi_heads::BOX_HEADS)
        .extend(roi_heads::MASK_HEADS)
        .extend(roi_heads::MASK_IOU_HEADS)
        .extend(roi_heads::SHARED_HEADS)
        .extend(initializers::ROWS);
    data::register(&mut all);
    #[cfg(feature = "train")]
    train::register(&mut all);
    all
}
