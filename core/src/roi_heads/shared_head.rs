//! Shared heads: what box head and mask head see of a region goes through the same layers first. To add one, a row in [`ROWS`].

use crate::backbones::ResLayer;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::registry::{Family, Row};

use super::RegionMap;

/// The kind `shared head` of the registry.
#[derive(Debug)]
pub struct SharedHeads;

impl Family for SharedHeads {
    const KIND: &'static str = "shared head";
    type Build = fn(&Node, &Build) -> Result<ResLayer, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<SharedHeads>; 1] =
    [Row::<SharedHeads>::new("mmdet", "ResLayer", ResLayer::read)];

/// The shared head of `node`, if there is one.
///
/// # Errors
/// It is wrong.
pub(super) fn read(node: &Node, build: &Build) -> Result<Option<ResLayer>, Diagnostics> {
    let Some(described) = super::present(node, "shared_head") else {
        return Ok(None);
    };
    let (make, below) = build.part::<SharedHeads>("shared_head", described)?;
    make(described, &below).map(Some)
}

/// What it makes of a region's map.
///
/// # Errors
/// It takes other channels.
pub(super) fn through(
    shared: &Option<ResLayer>,
    map: RegionMap,
    node: &Node,
) -> Result<RegionMap, Diagnostics> {
    let Some(shared) = shared else { return Ok(map) };
    let [takes, channels] = shared.channels();
    if takes != map.channels {
        let message = format!(
            "the shared head takes {takes} channels, but regions have {}",
            map.channels
        );
        return Err(error_at(node, "shared_head", message, ""));
    }
    let size = map.size.map(|side| shared.side(side));
    Ok(RegionMap { channels, size })
}
