//! `FixScaleResize` of mmdet 3.3: [`Resize`] without the half that is added before a kept ratio is rounded.

use super::resize::{Resize, plain};
use super::{Draws, Outcome};
use crate::config::Node;
use crate::data::picture::Problem;
use crate::data::pixels::Pixels;
use crate::data::random::Random;
use crate::data::sample::Sample;
use crate::registry::Problems;

/// Resizes; sizes are rounded down where the ratio is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixScaleResize(pub(in crate::data) Resize);

impl Draws for FixScaleResize {
    const NAME: &'static str = "FixScaleResize";
    type Drawn = ();

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Problem> {
        Ok(())
    }

    fn apply(&self, sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        self.0.resize(sample, pixels)
    }
}

pub(in crate::data) fn read(node: &Node) -> Result<FixScaleResize, Problems> {
    plain(node, 0.0).map(FixScaleResize)
}
