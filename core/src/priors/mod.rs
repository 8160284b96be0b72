//! Priors: what a dense head's boxes start from, anchors or points. To add a generator of anchors, write a file and a row in [`ROWS`].

mod anchors;
mod points;

pub use anchors::{AnchorGenerator, AnchorLevel};
pub use points::PointGenerator;

use crate::config::{Diagnostics, Node};
use crate::registry::{Family, Row};

/// The kind `prior generator` of the registry.
#[derive(Debug)]
pub struct Priors;

impl Family for Priors {
    const KIND: &'static str = "prior generator";
    type Build = fn(&Node) -> Result<AnchorGenerator, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[
        ("LegacySSDAnchorGenerator", ""),
        (
            "MlvlPointGenerator",
            "heads that start from points make theirs from `strides`",
        ),
        ("SSDAnchorGenerator", ""),
        ("YOLOAnchorGenerator", ""),
    ];
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Priors>; 2] = [
    Row::<Priors>::new("mmdet", "AnchorGenerator", AnchorGenerator::read),
    Row::<Priors>::new(
        "mmdet",
        "LegacyAnchorGenerator",
        AnchorGenerator::read_legacy,
    ),
];
