//! MobileOne (Vasu et al. 2023, arXiv 2206.04040) as MMPretrain 1.2.0 builds it: RepVGG's net with depthwise and pointwise blocks in turn, of
//! several filters each.

use serde::Deserialize;

use super::repvgg::{self, BlockPlan, Naming, Plan, RepNet, SeConfig, SePlan};
use super::{Backbone, options};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, Short, error_at};
use crate::layers::{Init, InitRule};
use crate::limits::{Channels, Layers};

/// The keys of `type='mmpretrain.MobileOne'`; `arch`, `out_indices` and what [`crate::layers::ConvStyle`] reads are read apart.
#[derive(Debug, Deserialize)]
struct Keys {
    in_channels: Option<Channels>,
    frozen_stages: Option<i64>,
    se_cfg: Option<SeConfig>,
    deploy: Option<bool>,
    norm_eval: Option<bool>,
}

const STAGES: usize = 4;
/// Channels of a stage of width 1.
const BASE: [usize; STAGES] = [64, 128, 256, 512];

/// An `arch` that is a dict.
#[derive(Debug, Deserialize)]
struct Given {
    num_blocks: Short<Layers, STAGES>,
    width_factor: Short<f64, STAGES>,
    num_conv_branches: Short<Bounded<1, 128>, STAGES>,
    num_se_blocks: Short<Layers, STAGES>,
}

/// Widths of the stages, filters side by side, blocks with squeeze-and-excite at the end of each stage.
pub(super) type Size = ([f64; STAGES], usize, [usize; STAGES]);

pub(super) const BLOCKS: [usize; STAGES] = [2, 8, 10, 1];
pub(super) const ARCHES: [(&str, Size); 5] = [
    ("s0", ([0.75, 1.0, 1.0, 2.0], 4, [0; STAGES])),
    ("s1", ([1.5, 1.5, 2.0, 2.5], 1, [0; STAGES])),
    ("s2", ([1.5, 2.0, 2.5, 4.0], 1, [0; STAGES])),
    ("s3", ([2.0, 2.5, 3.0, 4.0], 1, [0; STAGES])),
    ("s4", ([3.0, 3.5, 3.5, 4.0], 1, [0, 0, 5, 1])),
];

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let known = [repvgg::OTHERS, &["se_cfg"]].concat();
    let config: Keys = node.read_knowing(&known)?;
    let plan = config.plan(node)?;
    let frozen = options::frozen_stages(node, config.frozen_stages, -1, STAGES)?;
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
        at.initialise(InitRule::of(&["_BatchNorm"], Init::Constant(1.0)));
    });
    let params = &build.params;
    let model = RepNet::new(plan, params);
    repvgg::freeze(params, frozen, "stage0", "stage");
    if config.norm_eval.unwrap_or(false) {
        params.evaluate();
    }
    Ok(Box::new(model))
}

impl Keys {
    fn plan(&self, node: &Node) -> Result<Plan, Diagnostics> {
        if node.get("arch").is_none() {
            let example = "for example arch='s0'";
            return Err(error_at(node, "arch", "MobileOne needs an `arch`", example));
        }
        let arch = match options::arch::<Size, Given>(node, "", &ARCHES)? {
            options::Arch::Named((widths, copies, excited)) => Arch {
                blocks: BLOCKS.to_vec(),
                widths: widths.to_vec(),
                copies: vec![copies; STAGES],
                excited: excited.to_vec(),
            },
            options::Arch::Given(arch) => Arch {
                blocks: arch.num_blocks.numbers(),
                widths: arch.width_factor.to_vec(),
                copies: arch.num_conv_branches.numbers(),
                excited: arch.num_se_blocks.numbers(),
            },
        };
        options::one_each(node, "arch", &arch.widths, STAGES)?;
        for list in [&arch.blocks, &arch.copies, &arch.excited] {
            options::one_each(node, "arch", list, STAGES)?;
        }
        if arch
            .excited
            .iter()
            .zip(&arch.blocks)
            .any(|(se, all)| se > all)
        {
            let message = "more squeeze-and-excite blocks than blocks";
            return Err(error_at(node, "arch", message, ""));
        }
        let width = |(base, width): (&usize, &f64)| repvgg::wide(*base, *width, node);
        let channels = BASE.iter().zip(&arch.widths).map(width);
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        let stem = channels[0].min(64);
        let se_at = node.get("se_cfg").unwrap_or(node);
        let squeeze_excite = match (&self.se_cfg, node.get("se_cfg")) {
            (Some(se), _) => Some(se.plan(se_at)?),
            (None, Some(_)) => None,
            (None, None) => Some(SePlan::new(16, 8)),
        };
        let outputs = options::out_indices(node, &[3], STAGES, STAGES)?;
        Ok(Plan {
            naming: Naming::MobileOne,
            style: repvgg::style(node, &[&[stem][..], &channels].concat())?,
            deploy: self.deploy.unwrap_or(false),
            stem: BlockPlan::new([self.in_channels.map_or(3, Channels::get), stem], 3, 2),
            stages: arch.stages(&channels, stem, squeeze_excite.as_ref()),
            ppf: None,
            outputs: outputs.into_iter().map(|i| i + 1).collect(),
        })
    }
}

/// Blocks, widths, filters side by side and blocks with squeeze-and-excite of each stage.
pub(super) struct Arch {
    pub blocks: Vec<usize>,
    pub widths: Vec<f64>,
    pub copies: Vec<usize>,
    pub excited: Vec<usize>,
}

impl Arch {
    /// The blocks of each stage of so many `channels`.
    pub fn stages(
        &self,
        channels: &[usize],
        stem: usize,
        squeeze_excite: Option<&SePlan>,
    ) -> Vec<Vec<BlockPlan>> {
        let mut into = stem;
        let stage = |i: usize| {
            let mut blocks = Vec::new();
            for j in 0..self.blocks[i] {
                let excites = j + self.excited[i] >= self.blocks[i];
                let squeeze_excite = squeeze_excite.filter(|_| excites).cloned();
                let copies = self.copies[i];
                blocks.push(BlockPlan {
                    groups: into,
                    copies,
                    squeeze_excite: squeeze_excite.clone(),
                    ..BlockPlan::new([into; 2], 3, if j == 0 { 2 } else { 1 })
                });
                blocks.push(BlockPlan {
                    copies,
                    squeeze_excite,
                    ..BlockPlan::new([into, channels[i]], 1, 1)
                });
                into = channels[i];
            }
            blocks
        };
        (0..channels.len()).map(stage).collect()
    }
}
