//! HRNet (Wang et al. 2019, arXiv 1908.07919) as MMDetection 3.3.0 and MMPretrain 1.2.0 build it: the branches of the last stage are the output.
//! See [`super::high_resolution`].

use burn::tensor::Tensor;
use serde::Deserialize;

use super::high_resolution::{HighResolution, Plan, Stage};
use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvStyle, Init, InitRule, NormConfig};
use crate::limits::{Channels, List};

/// The keys of `type='HRNet'`.
#[derive(Debug, Deserialize)]
struct HrNetConfig {
    /// Of MMPretrain only.
    arch: Option<String>,
    extra: Option<Extra>,
    in_channels: Option<Channels>,
    norm_eval: Option<bool>,
    zero_init_residual: Option<bool>,
    multiscale_output: Option<bool>,
    /// Of MMDetection's older configs: the checkpoint that `init_cfg` would name.
    pretrained: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Extra {
    stage1: StageConfig,
    stage2: StageConfig,
    stage3: StageConfig,
    stage4: StageConfig,
}

#[derive(Debug, Deserialize)]
struct StageConfig {
    num_modules: Bounded<0, 32>,
    num_branches: Bounded<1, MOST_BRANCHES>,
    block: BlockKind,
    num_blocks: List<Bounded<1, 64>>,
    num_channels: List<Channels>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
enum BlockKind {
    #[serde(rename = "BASIC")]
    Basic,
    #[serde(rename = "BOTTLENECK")]
    Bottleneck,
}

/// Each is half the size of the one before.
const MOST_BRANCHES: usize = 8;
/// The widths of `arch`.
const WIDTHS: [usize; 7] = [18, 30, 32, 40, 44, 48, 64];

/// Whose class it is.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Mmdet,
    Mmpretrain,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(HrNet::read(node, build, Of::Mmdet)?))
}

pub(super) fn build_mmpretrain(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    Ok(Box::new(HrNet::read(node, build, Of::Mmpretrain)?))
}

impl HrNetConfig {
    fn stages(&self, node: &Node, of: Of) -> Result<[Stage; 4], Diagnostics> {
        if of == Of::Mmdet && self.arch.is_some() {
            let message = "the key `arch` is not known to MMDetection's HRNet";
            return Err(error_at(node, "arch", message, "mmpretrain.HRNet has it"));
        }
        let Some(extra) = &self.extra else {
            return self.by_arch(node, of);
        };
        let configs = [&extra.stage1, &extra.stage2, &extra.stage3, &extra.stage4];
        let mut problems = Vec::new();
        let mut stages = Vec::new();
        for (i, config) in configs.into_iter().enumerate() {
            match config.stage() {
                Ok(stage) => stages.push(stage),
                Err((key, message)) => {
                    let place = node.at(&format!("extra.stage{}", i + 1)).unwrap_or(node);
                    problems.extend(error_at(place, key, message, ""));
                }
            }
        }
        let Ok(stages) = <[Stage; 4]>::try_from(stages) else {
            return Err(problems);
        };
        check(&stages, node, of)?;
        Ok(stages)
    }

    fn by_arch(&self, node: &Node, of: Of) -> Result<[Stage; 4], Diagnostics> {
        if of == Of::Mmdet {
            let help = "it has the stages: extra=dict(stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(4,), num_channels=(64,)), stage2=...)";
            return Err(error_at(node, "", "HRNet needs `extra`", help));
        }
        let arch = self.arch.as_deref().unwrap_or("w32");
        let width = WIDTHS.iter().find(|width| format!("w{width}") == arch);
        width.map(|width| Stage::published(*width)).ok_or_else(|| {
            let known = WIDTHS.map(|width| format!("'w{width}'")).join(", ");
            let help = format!("known are {known}; `extra` says stages of your own");
            error_at(node, "arch", format!("HRNet has no arch '{arch}'"), &help)
        })
    }
}

impl StageConfig {
    /// Or the key that is wrong, and what is wrong with it.
    fn stage(&self) -> Result<Stage, (&'static str, String)> {
        let branches = self.num_branches.get();
        let (blocks, channels) = (self.num_blocks.numbers(), self.num_channels.numbers());
        for (key, list) in [("num_blocks", &blocks), ("num_channels", &channels)] {
            if list.len() != branches {
                let message = format!("`{key}` has {} entries for {branches} branches", list.len());
                return Err((key, message));
            }
        }
        Ok(Stage {
            modules: self.num_modules.get(),
            bottleneck: self.block == BlockKind::Bottleneck,
            blocks,
            channels,
        })
    }
}

/// Whether one stage can follow another.
fn check(stages: &[Stage; 4], node: &Node, of: Of) -> Result<(), Diagnostics> {
    let fail = |stage: usize, key, message: &str, help: &str| {
        let place = node.at(&format!("extra.stage{stage}")).unwrap_or(node);
        Err(error_at(place, key, message, help))
    };
    if stages[0].channels.len() > 1 {
        return fail(1, "num_branches", "the first stage has one branch", "");
    }
    for (i, pair) in stages.windows(2).enumerate() {
        let (before, after) = (pair[0].channels_out(), pair[1].channels_out());
        let kept = before.iter().zip(&after).take(before.len() - 1);
        if of == Of::Mmdet && kept.into_iter().any(|(before, after)| before != after) {
            let message = format!(
                "a branch would change its channels: from {before:?} to {after:?}, of which MMDetection's HRNet can change the last alone"
            );
            return fail(i + 2, "num_channels", &message, "mmpretrain.HRNet can");
        }
    }
    Ok(())
}

/// HRNet.
#[derive(Debug)]
pub struct HrNet {
    body: HighResolution,
    features: Vec<Feature>,
    channels_in: usize,
    size_divisor: usize,
}

impl HrNet {
    fn read(node: &Node, build: &Build, of: Of) -> Result<Self, Diagnostics> {
        let config: HrNetConfig =
            node.read_knowing(&["conv_cfg", "norm_cfg", "with_cp", "init_cfg"])?;
        let stages = config.stages(node, of)?;
        let defaults = ConvStyle {
            norm: Some(NormConfig::batch(1e-5)),
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let norms = Plan::norms(&stages, of == Of::Mmdet);
        let style = ConvStyle::read(node, defaults.clone(), &norms)?;
        if style.norm.is_none() {
            return Err(error_at(node, "norm_cfg", "HRNet needs a `norm_cfg`", ""));
        }
        let params = &build.params;
        let unsaid = match (of, node.get("init_cfg")) {
            (_, None) => true,
            // MMDetection's takes None for none given.
            (of, Some(given)) => of == Of::Mmdet && given.is_none(),
        };
        if let Some(name) = &config.pretrained {
            if of == Of::Mmpretrain {
                let message = "the key `pretrained` is not known to MMPretrain's HRNet";
                let help = "write init_cfg=dict(type='Pretrained', checkpoint='...')";
                return Err(error_at(node, "pretrained", message, help));
            }
            if build.wants_weights() {
                build.pretrained(node, name, None, params)?;
            }
        } else if unsaid {
            params.initialise(InitRule::of(&["Conv2d"], Init::KAIMING));
            let norms = ["_BatchNorm", "GroupNorm"];
            params.initialise(InitRule::of(&norms, Init::Constant(1.0)));
        }
        let plan = Plan {
            channels_in: config.in_channels.map_or(3, Channels::get),
            stages,
            multiscale_output: config.multiscale_output.unwrap_or(true),
            // MMPretrain's first stage has batch norm whatever `norm_cfg` and `conv_cfg` say.
            first_style: match of {
                Of::Mmdet => style.clone(),
                Of::Mmpretrain => defaults,
            },
            style,
            // MMDetection's reads the key and does nothing with it.
            zero_residual: of == Of::Mmpretrain && config.zero_init_residual.unwrap_or(false),
        };
        let body = HighResolution::new(&plan, params);
        if config.norm_eval.unwrap_or(of == Of::Mmdet) {
            params.evaluate();
        }
        Ok(Self {
            body,
            features: plan.features(),
            channels_in: plan.channels_in,
            size_divisor: plan.size_divisor(),
        })
    }
}

impl Backbone for HrNet {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        self.body.branches(self.body.stem(x))
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }

    fn channels_in(&self) -> usize {
        self.channels_in
    }

    fn size_divisor(&self) -> usize {
        self.size_divisor
    }
}

#[cfg(test)]
mod tests {
    use crate::backbones::made;
    use crate::layers::Mode;

    const STAGES: &str = "stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(2,)),
        stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1, 1), num_channels=(4, 8)),
        stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
        stage4=dict(num_modules=1, num_branches=4, block='BASIC', num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32))";

    #[test]
    fn mistakes_are_explained() {
        let changed = |from: &str, to: &str| format!("extra=dict({})", STAGES.replace(from, to));
        for (keys, part) in [
            ("type='HRNet'".into(), "HRNet needs `extra`"),
            ("type='HRNet', arch='w32'".into(), "mmpretrain.HRNet has it"),
            (
                "type='mmpretrain.HRNet', arch='w20'".into(),
                "no arch 'w20'",
            ),
            (
                format!("type='HRNet', {}", changed("(4, 8, 16)", "(4, 8)")),
                "`num_channels` has 2 entries for 3 branches",
            ),
            (
                format!("type='HRNet', {}", changed("(4, 8, 16)", "(5, 8, 16)")),
                "from [4, 8] to [5, 8, 16]",
            ),
            (
                format!("type='HRNet', {}", changed("'BOTTLENECK'", "'BOTTLE'")),
                "'BOTTLE' is not known",
            ),
            (
                "type='mmpretrain.HRNet', norm_cfg=dict(type='GN', num_groups=48)".into(),
                "does not divide",
            ),
            (
                "type='mmpretrain.HRNet', norm_cfg=None".into(),
                "needs a `norm_cfg`",
            ),
        ] {
            let message = made(&format!("dict({keys})"), Mode::Plan).unwrap_err();
            assert!(message.contains(part), "{keys}: {message}");
        }
        let other = changed("(4, 8, 16)", "(5, 8, 16)");
        let pretrain = format!("dict(type='mmpretrain.HRNet', {other})");
        assert!(made(&pretrain, Mode::Plan).is_ok());
    }
}
