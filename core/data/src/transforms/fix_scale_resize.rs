//! `FixScaleResize` of mmdet 3.3: [`Resize`] without the half that is added before a kept ratio is rounded.

use super::resize::{Resize, plain};
use super::{Draws, Outcome};
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Resizes; sizes are rounded down where the ratio is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixScaleResize(pub(crate) Resize);

impl Draws for FixScaleResize {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "FixScaleResize"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        self.0.resize(sample, pixels)
    }
}

pub(super) fn read(node: &Node) -> Result<FixScaleResize, Diagnostics> {
    plain(node, 0.0).map(FixScaleResize)
}
