//! Necks: feature maps in, feature maps of one width out. To add one, write a file and a row in [`ROWS`].

mod fpn;

pub use fpn::Fpn;

use burn::tensor::Tensor;

use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostics, Node};
use crate::registry::{Family, Row};

/// Turns a backbone's maps into the pyramid that heads read.
pub trait Neck: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - inputs: one `[N, C_i, H_i, W_i]` for each backbone output
    /// - outputs: one `[N, channels, H_j, W_j]` for each of [`Neck::features`]
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>>;

    /// What [`Neck::forward`] gives.
    fn features(&self) -> Vec<Feature>;
}

/// The kind `neck` of the registry.
#[derive(Debug)]
pub struct Necks;

impl Family for Necks {
    const KIND: &'static str = "neck";
    type Build = fn(&Node, Features, &Build) -> Result<Box<dyn Neck>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Necks>; 1] = [Row::<Necks>::new("mmdet", "FPN", fpn::build)];
