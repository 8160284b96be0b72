//! `LoadImageFromFile` of mmcv 2.1 (transforms/loading.py).

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Transform;
use crate::config::Node;
use crate::data::decode::{Backend, ColorType, DecodeOptions};
use crate::registry::Problems;

/// How the picture's file becomes pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadImageFromFile {
    /// Channels, orientation and limits.
    pub decode: DecodeOptions,
    /// The following steps compute in f32, so resized values are not rounded.
    pub to_float32: bool,
    /// A picture that cannot be read is left out, not an error.
    pub ignore_empty: bool,
}

#[derive(Deserialize)]
struct Config {
    to_float32: Option<bool>,
    color_type: Option<ColorType>,
    imdecode_backend: Option<Backend>,
    ignore_empty: Option<bool>,
    /// Where files lie is the caller's business.
    #[serde(rename = "file_client_args")]
    _file_client_args: Option<IgnoredAny>,
    #[serde(rename = "backend_args")]
    _backend_args: Option<IgnoredAny>,
}

pub(super) fn build(node: &Node) -> Result<Transform, Problems> {
    let config: Config = node.read()?;
    Ok(Transform::Load(LoadImageFromFile {
        decode: DecodeOptions {
            color_type: config.color_type.unwrap_or_default(),
            backend: config.imdecode_backend.unwrap_or_default(),
            ..DecodeOptions::default()
        },
        to_float32: config.to_float32.unwrap_or(false),
        ignore_empty: config.ignore_empty.unwrap_or(false),
    }))
}
