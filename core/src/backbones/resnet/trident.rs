//! TridentNet (Li et al. 2019, arXiv 1901.01892) as MMDetection 3.3.0 builds it: the last of three stages is gone through by branches that have
//! the same weights and each its own dilation. What is learning sees all of them, one after the other in the batch; else it is the one of
//! `test_branch_idx`, or all if that is -1.

use burn::tensor::Tensor;

use super::class::Variant::TridentResNet;
use super::config::ResNetConfig;
use super::{Backbone, Block, Class, Library, StagePlan, boxed};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::layers::Phase;
use crate::limits::{Index, List};

pub(in crate::backbones) fn build(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    boxed(node, build, Library::MMDetection, TridentResNet)
}

/// The branches.
#[derive(Clone, Debug)]
pub(super) struct Config {
    dilations: Vec<usize>,
    /// Whether evaluation takes all of them.
    all: bool,
}

/// How the last stage branches.
#[derive(Debug)]
pub(super) struct Trident {
    config: Config,
    phase: Phase,
}

impl ResNetConfig {
    /// Reads the branches, and gives the last stage the dilation of the one that evaluation takes.
    pub(super) fn trident(
        &self,
        node: &Node,
        class: Class,
        stages: &mut [StagePlan],
    ) -> Result<Option<Config>, Diagnostics> {
        if class.variant != TridentResNet {
            return Ok(None);
        }
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if stages.len() != 3 {
            let message = format!("TridentResNet has 3 stages, not {}", stages.len());
            return fail("num_stages", message);
        }
        let dilations = self.trident_dilations.as_ref().map(List::numbers);
        let (Some(dilations), Some(count), Some(test)) =
            (dilations, self.num_branch, self.test_branch_idx)
        else {
            let message =
                "TridentResNet needs `num_branch`, `test_branch_idx` and `trident_dilations`";
            return fail("", message.into());
        };
        let branches = Index::get(count);
        if dilations.len() != branches || branches == 0 {
            let found = dilations.len();
            let message =
                format!("`trident_dilations` has {found} entries for {branches} branches");
            return fail("trident_dilations", message);
        }
        let chosen = usize::try_from(test).ok().filter(|i| *i < branches);
        if chosen.is_none() && test != -1 {
            let last = branches - 1;
            let message = format!("`test_branch_idx` is {test}, must be -1 or from 0 to {last}");
            return fail("test_branch_idx", message);
        }
        stages[2].dilation = dilations[chosen.unwrap_or(0)];
        let all = chosen.is_none();
        Ok(Some(Config { dilations, all }))
    }
}

impl Trident {
    pub fn new(config: Config, phase: Phase) -> Self {
        Self { config, phase }
    }

    /// # Shapes
    /// - input `[N, C, H, W]`; output `[branches * N, ..]`, or `[N, ..]` of one
    pub fn forward(&self, x: Tensor<4>, stage: &[Block]) -> Tensor<4> {
        let Config { dilations, all } = &self.config;
        if !all && !self.phase.learning() {
            return stage
                .iter()
                .fold(x, |x, block| block.forward(x, None, None));
        }
        let mut branches = vec![x; dilations.len()];
        for block in stage {
            for (x, dilation) in branches.iter_mut().zip(dilations) {
                *x = block.forward(x.clone(), None, Some(*dilation));
            }
        }
        Tensor::cat(branches, 0)
    }
}
