//! RegNet (Radosavovic et al. 2020, arXiv 2003.13678, section 3.3) as MMDetection 3.3.0 and MMPretrain 1.2.0 build it: a ResNeXt with a stem of one
//! 3x3 convolution, whose widths follow from a line: block i has about `w0 + wa * i` channels, put to the nearest `w0 * wm^k`, then to a
//! multiple of 8; blocks of one width are a stage.
//!
//! Shapes: stage i gives `[N, width i, H / (2 * strides[..=i]), W / ...]`.

use serde::Deserialize;

use super::Backbone;
use super::resnet::{Library, MOST_WIDTH, Variant, boxed};
use crate::build::Build;
use crate::config::{Diagnostics, Kind, Node, error_at};
use crate::limits::{Channels, Layers};

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, Variant::RegNet)
}

pub(super) fn build_mmpretrain(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMPretrain, Variant::RegNet)
}

/// An `arch` as a dict.
#[derive(Debug, Deserialize)]
struct ArchConfig {
    w0: Channels,
    wa: f64,
    wm: f64,
    group_w: Channels,
    depth: Layers,
    bot_mul: f64,
}

/// The numbers that a network follows from.
#[derive(Clone, Copy, Debug)]
struct Arch {
    /// Channels of the first block.
    first: usize,
    /// How many more each block has.
    slope: f64,
    /// What widths differ by.
    factor: f64,
    /// Channels of a group.
    group: usize,
    /// Blocks.
    depth: usize,
    /// Channels inside a block for one outside.
    bottleneck: f64,
}

/// The names: w0, wa, wm, group_w, depth.
const ARCHES: [(&str, usize, f64, f64, usize, usize); 8] = [
    ("regnetx_400mf", 24, 24.48, 2.54, 16, 22),
    ("regnetx_800mf", 56, 35.73, 2.28, 16, 16),
    ("regnetx_1.6gf", 80, 34.01, 2.25, 24, 18),
    ("regnetx_3.2gf", 88, 26.31, 2.25, 48, 25),
    ("regnetx_4.0gf", 96, 38.65, 2.43, 40, 23),
    ("regnetx_6.4gf", 184, 60.83, 2.07, 56, 17),
    ("regnetx_8.0gf", 80, 49.56, 2.88, 120, 23),
    ("regnetx_12gf", 168, 73.36, 2.37, 112, 19),
];

/// Widths are multiples of this.
const DIVISOR: usize = 8;
const MOST_STAGES: usize = 4;

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub blocks: usize,
    pub channels: usize,
    /// Channels inside a block.
    pub width: usize,
    pub groups: usize,
}

/// The stages of the key `arch`. MMDetection works out the width inside a block as a share of that outside, in floating point.
pub(super) fn stages(
    node: &Node,
    arch: Option<&Node>,
    by_share: bool,
) -> Result<Vec<Stage>, Diagnostics> {
    let Some(arch) = arch else {
        let mut problems = error_at(node, "", "the key `arch` is missing", "");
        problems.iter_mut().for_each(|p| p.kind = Kind::Missing);
        return Err(problems);
    };
    let stages = Arch::read(node, arch)?.stages(by_share);
    stages.map_err(|message| error_at(node, "arch", message, ""))
}

impl Arch {
    fn read(node: &Node, arch: &Node) -> Result<Self, Diagnostics> {
        let Some(name) = arch.as_str() else {
            let config: ArchConfig = arch.read()?;
            return Ok(Self {
                first: config.w0.get(),
                slope: config.wa,
                factor: config.wm,
                group: config.group_w.get(),
                depth: config.depth.get(),
                bottleneck: config.bot_mul,
            });
        };
        let Some(&(_, first, slope, factor, group, depth)) =
            ARCHES.iter().find(|(known, ..)| *known == name)
        else {
            let known: Vec<_> = ARCHES.iter().map(|arch| format!("'{}'", arch.0)).collect();
            let message = format!("RegNet has no arch '{name}'");
            let known = format!("known are {}", known.join(", "));
            return Err(error_at(node, "arch", message, &known));
        };
        Ok(Self {
            first,
            slope,
            factor,
            group,
            depth,
            bottleneck: 1.0,
        })
    }

    /// Channels of each block.
    fn widths(&self) -> Result<Vec<usize>, String> {
        let first = self.first as f64;
        let width = |i: usize| {
            let exact = i as f64 * self.slope + first;
            let power = ((exact / first).ln() / self.factor.ln()).round_ties_even();
            let near = first * self.factor.powf(power);
            (near / DIVISOR as f64).round_ties_even() * DIVISOR as f64
        };
        let widths: Vec<_> = (0..self.depth).map(width).collect();
        match widths
            .iter()
            .find(|w| !(1.0..=MOST_WIDTH as f64).contains(*w))
        {
            Some(wrong) => Err(format!("a block would have {wrong} channels")),
            None => Ok(widths.into_iter().map(|w| w as usize).collect()),
        }
    }

    fn stages(&self, by_share: bool) -> Result<Vec<Stage>, String> {
        if !self.first.is_multiple_of(DIVISOR) {
            return Err(format!("`w0` is {}, must be a multiple of 8", self.first));
        }
        for (key, value, bound) in [
            ("wa", self.slope, 0.0),
            ("wm", self.factor, 1.0),
            ("bot_mul", self.bottleneck, 0.0),
        ] {
            let inside = value > bound || key == "wa" && value == 0.0;
            if !inside || !value.is_finite() {
                return Err(format!("`{key}` is {value}, must be greater than {bound}"));
            }
        }
        let widths = self.widths()?;
        let same: Vec<_> = widths.chunk_by(|a, b| a == b).collect();
        if !(1..=MOST_STAGES).contains(&same.len()) {
            let count = same.len();
            return Err(format!(
                "this comes to {count} stages, 1 to {MOST_STAGES} are possible"
            ));
        }
        let stage = |blocks: &&[usize]| self.stage(blocks[0], blocks.len(), by_share);
        same.iter().map(stage).collect()
    }

    /// A stage whose blocks are about as wide: such that whole groups fit into them.
    fn stage(&self, width: usize, blocks: usize, by_share: bool) -> Result<Stage, String> {
        let inside = (width as f64 * self.bottleneck) as usize;
        let group = self.group.min(inside);
        if group == 0 || inside > MOST_WIDTH {
            return Err(format!("a block would have {inside} channels inside"));
        }
        let inside = (inside as f64 / group as f64).round_ties_even() as usize * group;
        let channels = (inside as f64 / self.bottleneck) as usize;
        let inside = (channels as f64 * self.bottleneck).round_ties_even() as usize;
        let groups = inside / group;
        let width = match groups {
            1 => channels,
            _ if by_share => {
                let share = group as f64 / channels as f64;
                (channels as f64 * share) as usize * groups
            }
            _ => group * groups,
        };
        if !(1..=MOST_WIDTH).contains(&width) || channels > MOST_WIDTH {
            return Err(format!(
                "a block would have {channels} channels, and {width} inside"
            ));
        }
        Ok(Stage {
            blocks,
            channels,
            width,
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("dict(type='RegNet')", "the key `arch` is missing"),
            (
                "dict(type='RegNet', arch='regnetx_32gf')",
                "known are 'regnetx_400mf'",
            ),
            (
                "dict(type='RegNet', arch='regnetx_400mf', depth=50)",
                "`depth` is not known to RegNet",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=24, wa=24.48, wm=2.54, group_w=16, depth=22))",
                "`bot_mul` is missing",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=20, wa=24.48, wm=2.54, group_w=16, depth=22, bot_mul=1.0))",
                "multiple of 8",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=24, wa=24.48, wm=1.1, group_w=16, depth=22, bot_mul=1.0))",
                "1 to 4 are possible",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=24, wa=1e300, wm=2.54, group_w=16, depth=22, bot_mul=1.0))",
                "a block would have",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=24, wa=24.48, wm=2.54, group_w=16, depth=22, bot_mul=1e-9))",
                "0 channels inside",
            ),
            (
                "dict(type='RegNet', arch=dict(w0=24, wa=0, wm=2.54, group_w=16, depth=3, bot_mul=1.0))",
                "`strides` has 4 entries for 1 stages",
            ),
            (
                "dict(type='mmpretrain.RegNet', arch='regnetx_400mf', deep_stem=True)",
                "no deep stem",
            ),
        ] {
            let message = made(text, Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
