//! The body of HRNet (Sun et al. 2019, arXiv 1904.04514; Wang et al. 2019, arXiv 1908.07919), which MMDetection 3.3.0, MMPretrain 1.2.0 and timm
//! 0.9.16 build alike: branches of several resolutions side by side, each stage with one more of half the size, and at the end of each module
//! every branch is the sum of all, brought to its size.
//!
//! Shapes: branch i is `[N, channels_i, H / (4 * 2^i), W / (4 * 2^i)]`. H and W must be such that each branch is twice the next one.

use burn::tensor::Tensor;

use super::Feature;
use super::residual::{ResidualBlock, ResidualConfig};
use crate::layers::{Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, Params};
use crate::ops::resize::enlarge;

/// Channels of the stem's two convolutions.
pub(super) const STEM_CHANNELS: usize = 64;
/// A bottleneck gives so many times the channels that a stage is said to have.
const EXPANSION: usize = 4;

/// One stage: so many modules, each with these branches.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub modules: usize,
    pub bottleneck: bool,
    /// Blocks of each branch.
    pub blocks: Vec<usize>,
    /// Channels of each branch, of a bottleneck a quarter of what it gives.
    pub channels: Vec<usize>,
}

impl Stage {
    /// Channels that each branch gives.
    pub fn channels_out(&self) -> Vec<usize> {
        let times = if self.bottleneck { EXPANSION } else { 1 };
        self.channels.iter().map(|c| c * times).collect()
    }

    /// The four stages of the published models whose first branch has `width` channels.
    pub fn published(width: usize) -> [Self; 4] {
        Self::published_with(width, [64, 4], [1, 4, 3], 4)
    }

    /// As [`Stage::published`], with the channels and blocks of the first stage, modules of the others, and blocks of their branches.
    pub fn published_with(
        width: usize,
        [channels, first_blocks]: [usize; 2],
        modules: [usize; 3],
        blocks: usize,
    ) -> [Self; 4] {
        let stage = |branches: usize| Self {
            modules: modules[branches - 2],
            bottleneck: false,
            blocks: vec![blocks; branches],
            channels: (0..branches).map(|i| width << i).collect(),
        };
        let first = Self {
            modules: 1,
            bottleneck: true,
            blocks: vec![first_blocks],
            channels: vec![channels],
        };
        [first, stage(2), stage(3), stage(4)]
    }

    fn block(&self, branch: usize, channels_in: usize) -> ResidualConfig {
        let (channels, out) = (self.channels[branch], self.channels_out()[branch]);
        if self.bottleneck {
            ResidualConfig::bottleneck(channels_in, channels, out)
        } else {
            ResidualConfig::basic(channels_in, out)
        }
    }

    /// The blocks of a branch whose input has `channels_in`.
    fn branch(
        &self,
        branch: usize,
        channels_in: usize,
        style: &ConvStyle,
        zero_residual: bool,
        at: &Params,
    ) -> Vec<ResidualBlock> {
        let out = self.channels_out()[branch];
        let block = |i: usize| {
            let (config, at) = (
                self.block(branch, if i == 0 { channels_in } else { out }),
                at.at(i),
            );
            if zero_residual && let Some(norm) = &style.norm {
                let rule = InitRule::all(Init::Constant(0.0), 0.0);
                config.last_norm(norm, &at).initialise(rule);
            }
            config.init(style, &at)
        };
        (0..self.blocks[branch]).map(block).collect()
    }
}

/// How to make a [`HighResolution`].
#[derive(Debug)]
pub(super) struct Plan {
    pub channels_in: usize,
    /// The first has one branch.
    pub stages: [Stage; 4],
    /// Whether all branches come out, else the first alone.
    pub multiscale_output: bool,
    pub style: ConvStyle,
    /// That of the first stage.
    pub first_style: ConvStyle,
    /// Whether blocks from the second stage on begin as the identity.
    pub zero_residual: bool,
}

impl Plan {
    /// Channels of all norms; of those inside the first stage only if `first`.
    pub fn norms(stages: &[Stage; 4], first: bool) -> Vec<usize> {
        let outputs = stages.iter().flat_map(Stage::channels_out);
        let inside = stages.iter().skip(usize::from(!first));
        let inside = inside.flat_map(|stage| stage.channels.clone());
        outputs.chain(inside).chain([STEM_CHANNELS]).collect()
    }

    /// Channels and stride of each output.
    pub fn features(&self) -> Vec<Feature> {
        let all = self.stages[3].channels_out();
        let count = if self.multiscale_output { all.len() } else { 1 };
        let feature = |(i, &channels)| Feature {
            channels,
            stride: 4usize << i,
        };
        all.iter().take(count).enumerate().map(feature).collect()
    }

    /// What height and width must be multiples of for all branches to fit.
    pub fn size_divisor(&self) -> usize {
        let most = self.stages.iter().map(|stage| stage.channels.len()).max();
        4 << (most.unwrap_or(1) - 1)
    }
}

/// The body of HRNet.
#[derive(Debug)]
pub(super) struct HighResolution {
    stem: [ConvNormAct; 2],
    first: Vec<ResidualBlock>,
    stages: Vec<(Vec<Transition>, Vec<Module>)>,
}

impl HighResolution {
    pub fn new(plan: &Plan, params: &Params) -> Self {
        let style = &plan.style;
        let name = style.norm.as_ref().map_or("", |n| n.abbreviation());
        let stem = |i: usize, channels_in| {
            let conv = ConvConfig::new(channels_in, STEM_CHANNELS, 3).stride(2);
            let names = (format!("conv{i}"), format!("{name}{i}"));
            style.named(conv.pad(1).bias(false), params, names.0, names.1)
        };
        let stem = [stem(1, plan.channels_in), stem(2, STEM_CHANNELS)];
        let [first, others @ ..] = &plan.stages;
        let at = params.at("layer1");
        let blocks = first.branch(0, STEM_CHANNELS, &plan.first_style, false, &at);
        let mut channels = vec![first.channels_out()[0]];
        let mut stages = Vec::new();
        for (i, stage) in others.iter().enumerate() {
            let next = stage.channels_out();
            let at = params.at(format!("transition{}", i + 1));
            let transition = (0..next.len())
                .map(|j| Transition::new(&channels, &next, j, style, &at.at(j)))
                .collect();
            let at = params.at(format!("stage{}", i + 2));
            let last = i + 1 == others.len();
            let module = |j: usize| {
                let alone = last && j + 1 == stage.modules && !plan.multiscale_output;
                let outputs = if alone { 1 } else { next.len() };
                Module::new(stage, outputs, style, plan.zero_residual, &at.at(j))
            };
            stages.push((transition, (0..stage.modules).map(module).collect()));
            channels = next;
        }
        Self {
            stem,
            first: blocks,
            stages,
        }
    }

    /// What the stem's first convolution gives.
    ///
    /// # Shapes
    /// - input: `[N, C, H, W]`
    /// - output: `[N, STEM_CHANNELS, H / 2, W / 2]`
    pub fn stem(&self, x: Tensor<4>) -> Tensor<4> {
        self.stem[0].forward(x)
    }

    /// Whether norms after the stem's first convolution take in statistics.
    pub fn learning(&self) -> bool {
        self.stem[1].learning()
    }

    /// The branches, from what [`HighResolution::stem`] gives.
    pub fn branches(&self, stem: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.stem[1].forward(stem);
        let x = self.first.iter().fold(x, |x, block| block.forward(x));
        let mut maps = vec![x];
        for (transition, modules) in &self.stages {
            let inputs = transition.iter().enumerate();
            maps = inputs.map(|(i, to)| to.forward(&maps, i)).collect();
            maps = modules.iter().fold(maps, |maps, m| m.forward(maps));
        }
        maps
    }
}

/// What a branch of a stage gets: a map of the stage before as it is, or through convolutions.
#[derive(Debug)]
struct Transition {
    convs: Vec<ConvNormAct>,
}

impl Transition {
    /// To the branch `to`, between stages of such channels.
    fn new(before: &[usize], after: &[usize], to: usize, style: &ConvStyle, at: &Params) -> Self {
        let three = |from, to, stride| {
            let conv = ConvConfig::new(from, to, 3).stride(stride);
            conv.pad(1).bias(false)
        };
        let last = before[before.len() - 1];
        let convs = match before.get(to) {
            Some(channels) if *channels == after[to] => Vec::new(),
            Some(channels) => vec![style.named(three(*channels, after[to], 1), at, 0, 1)],
            None => {
                let steps = to + 1 - before.len();
                let step = |i| {
                    let out = if i + 1 == steps { after[to] } else { last };
                    style.named(three(last, out, 2), &at.at(i), 0, 1)
                };
                (0..steps).map(step).collect()
            }
        };
        Self { convs }
    }

    fn forward(&self, maps: &[Tensor<4>], to: usize) -> Tensor<4> {
        let x = maps[to.min(maps.len() - 1)].clone();
        self.convs.iter().fold(x, |x, conv| conv.forward(x))
    }
}

/// Branches side by side, then each output as the sum of all of them.
#[derive(Debug)]
struct Module {
    branches: Vec<Vec<ResidualBlock>>,
    /// For each output what each branch becomes; nothing where there is one branch.
    fuse: Vec<Vec<Fuse>>,
}

impl Module {
    fn new(
        stage: &Stage,
        outputs: usize,
        style: &ConvStyle,
        zero_residual: bool,
        at: &Params,
    ) -> Self {
        let channels = stage.channels_out();
        let count = channels.len();
        let branches = at.at("branches");
        let branches = (0..count)
            .map(|i| stage.branch(i, channels[i], style, zero_residual, &branches.at(i)))
            .collect();
        let fuse = at.at("fuse_layers");
        let outputs = if count == 1 { 0 } else { outputs };
        let to = |i: usize| {
            let at = fuse.at(i);
            (0..count)
                .map(|j| Fuse::new(&channels, j, i, style, &at.at(j)))
                .collect()
        };
        Self {
            branches,
            fuse: (0..outputs).map(to).collect(),
        }
    }

    fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let branches = self.branches.iter().zip(maps);
        let maps: Vec<_> = branches
            .map(|(blocks, x)| blocks.iter().fold(x, |x, block| block.forward(x)))
            .collect();
        if self.fuse.is_empty() {
            return maps;
        }
        let sum = |fuse: &Vec<Fuse>| {
            let mut parts = fuse.iter().zip(&maps).map(|(f, x)| f.forward(x.clone()));
            let first = parts.next().expect("there are branches");
            Activation::Relu.forward(parts.fold(first, |sum, part| sum + part))
        };
        self.fuse.iter().map(sum).collect()
    }
}

/// A branch at the size and with the channels of another.
#[derive(Debug)]
struct Fuse {
    convs: Vec<ConvNormAct>,
    /// How much larger it becomes after them.
    enlarge: usize,
}

impl Fuse {
    fn new(channels: &[usize], from: usize, to: usize, style: &ConvStyle, at: &Params) -> Self {
        let bare = style.act(None);
        if from > to {
            let conv = ConvConfig::new(channels[from], channels[to], 1);
            return Self {
                convs: vec![bare.named(conv.bias(false), at, 0, 1)],
                enlarge: 1 << (from - to),
            };
        }
        let steps = to - from;
        let step = |i| {
            let last = i + 1 == steps;
            let out = if last { channels[to] } else { channels[from] };
            let conv = ConvConfig::new(channels[from], out, 3).stride(2).pad(1);
            let style = if last { &bare } else { style };
            style.named(conv.bias(false), &at.at(i), 0, 1)
        };
        Self {
            convs: (0..steps).map(step).collect(),
            enlarge: 1,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.convs.iter().fold(x, |x, conv| conv.forward(x));
        enlarge(x, self.enlarge)
    }
}
