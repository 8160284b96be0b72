//! The blocks of the models of this family, row by row: a row is a few equal blocks, a stage a few rows.

use crate::layers::Activation;

/// What a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A depthwise convolution, then one of 1x1.
    Separable,
    /// A convolution of 1x1 that widens, a depthwise one, one of 1x1 that narrows.
    Inverted,
    /// A convolution that widens, one of 1x1 that narrows.
    Edge,
    /// One convolution.
    Conv,
}
use Kind::{Conv, Edge, Inverted, Separable};

/// Equal blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What they are.
    pub kind: Kind,
    /// How many, before scaling.
    pub repeats: usize,
    /// Side of the filters that see neighbours.
    pub kernel: usize,
    /// Sides of filters of which each has a share of the channels, in place of `kernel`.
    pub mixed: &'static [usize],
    /// Of the stage's first block.
    pub stride: usize,
    /// How much wider a block is inside.
    pub expansion: f64,
    /// Channels that go out, before scaling.
    pub channels: usize,
    /// Channels of the squeeze-and-excite, as a share; 0 for none.
    pub squeeze: f64,
    /// In place of the model's.
    pub act: Option<Activation>,
    /// Whether the input is added where shapes allow.
    pub skip: bool,
    /// Whether the activation follows a separable block's last convolution, too.
    pub act_at_end: bool,
    /// Whether the first and the last convolution of 1x1 are in two parts, each with half of the channels.
    pub halves: [bool; 2],
    /// Channels, before scaling, of which `expansion` is a multiple, in place of those that come in; 0 if none.
    pub widened_from: usize,
}

const fn row(kind: Kind, repeats: usize, kernel: usize, stride: usize, channels: usize) -> Row {
    Row {
        kind,
        repeats,
        kernel,
        mixed: &[],
        stride,
        expansion: 1.0,
        channels,
        squeeze: 0.0,
        act: None,
        skip: true,
        act_at_end: false,
        halves: [false; 2],
        widened_from: 0,
    }
}

/// Separable: repeats, kernel, stride, channels.
const fn ds(repeats: usize, kernel: usize, stride: usize, channels: usize) -> Row {
    row(Separable, repeats, kernel, stride, channels)
}

/// Separable with an activation at its end, and without a shortcut.
const fn dsa(repeats: usize, kernel: usize, stride: usize, channels: usize) -> Row {
    Row {
        skip: false,
        act_at_end: true,
        ..ds(repeats, kernel, stride, channels)
    }
}

/// Inverted: repeats, kernel, stride, expansion, channels.
const fn ir(repeats: usize, kernel: usize, stride: usize, expansion: f64, channels: usize) -> Row {
    Row {
        expansion,
        ..row(Inverted, repeats, kernel, stride, channels)
    }
}

/// Inverted with filters of several sizes.
const fn mix(
    repeats: usize,
    mixed: &'static [usize],
    stride: usize,
    expansion: f64,
    channels: usize,
) -> Row {
    Row {
        mixed,
        ..ir(repeats, 0, stride, expansion, channels)
    }
}

/// Edge: repeats, kernel, stride, expansion, channels.
const fn er(repeats: usize, kernel: usize, stride: usize, expansion: f64, channels: usize) -> Row {
    Row {
        kind: Edge,
        ..ir(repeats, kernel, stride, expansion, channels)
    }
}

/// Convolution: repeats, kernel, channels.
const fn cn(repeats: usize, kernel: usize, channels: usize) -> Row {
    Row {
        skip: false,
        ..row(Conv, repeats, kernel, 1, channels)
    }
}

impl Row {
    /// With a squeeze-and-excite of a quarter.
    const fn se(mut self) -> Self {
        self.squeeze = 0.25;
        self
    }

    /// With a squeeze-and-excite of a half.
    const fn se_half(mut self) -> Self {
        self.squeeze = 0.5;
        self
    }

    const fn relu(mut self) -> Self {
        self.act = Some(Activation::Relu);
        self
    }

    const fn swish(mut self) -> Self {
        self.act = Some(Activation::Silu);
        self
    }

    const fn skip(mut self, skip: bool) -> Self {
        self.skip = skip;
        self
    }

    const fn halves(mut self) -> Self {
        self.halves = [true; 2];
        self
    }

    const fn last_halves(mut self) -> Self {
        self.halves = [false, true];
        self
    }
}

/// The stages of a model.
pub(super) type Stages = &'static [&'static [Row]];

#[rustfmt::skip]
pub(super) const SEMNASNET: Stages = &[
    &[ds(1, 3, 1, 16).skip(false)],
    &[ir(2, 3, 2, 6.0, 24)],
    &[ir(3, 5, 2, 3.0, 40).se()],
    &[ir(4, 3, 2, 6.0, 80)],
    &[ir(2, 3, 1, 6.0, 112).se()],
    &[ir(3, 5, 2, 6.0, 160).se()],
    &[ir(1, 3, 1, 6.0, 320)],
];
#[rustfmt::skip]
pub(super) const MNASNET: Stages = &[
    &[ds(1, 3, 1, 16).skip(false)],
    &[ir(3, 3, 2, 3.0, 24)],
    &[ir(3, 5, 2, 3.0, 40)],
    &[ir(3, 5, 2, 6.0, 80)],
    &[ir(2, 3, 1, 6.0, 96)],
    &[ir(4, 5, 2, 6.0, 192)],
    &[ir(1, 3, 1, 6.0, 320).skip(false)],
];
#[rustfmt::skip]
pub(super) const MNASNET_SMALL: Stages = &[
    &[ds(1, 3, 1, 8)],
    &[ir(1, 3, 2, 3.0, 16)],
    &[ir(2, 3, 2, 6.0, 16)],
    &[ir(4, 5, 2, 6.0, 32).se()],
    &[ir(3, 3, 1, 6.0, 32).se()],
    &[ir(3, 5, 2, 6.0, 88).se()],
    &[ir(1, 3, 1, 6.0, 144)],
];
#[rustfmt::skip]
pub(super) const MOBILENET_V2: Stages = &[
    &[ds(1, 3, 1, 16)],
    &[ir(2, 3, 2, 6.0, 24)],
    &[ir(3, 3, 2, 6.0, 32)],
    &[ir(4, 3, 2, 6.0, 64)],
    &[ir(3, 3, 1, 6.0, 96)],
    &[ir(3, 3, 2, 6.0, 160)],
    &[ir(1, 3, 1, 6.0, 320)],
];
#[rustfmt::skip]
pub(super) const FBNET_C: Stages = &[
    &[ir(1, 3, 1, 1.0, 16)],
    &[ir(1, 3, 2, 6.0, 24), ir(2, 3, 1, 1.0, 24)],
    &[ir(1, 5, 2, 6.0, 32), ir(1, 5, 1, 3.0, 32), ir(1, 5, 1, 6.0, 32), ir(1, 3, 1, 6.0, 32)],
    &[ir(1, 5, 2, 6.0, 64), ir(1, 5, 1, 3.0, 64), ir(2, 5, 1, 6.0, 64)],
    &[ir(3, 5, 1, 6.0, 112), ir(1, 5, 1, 3.0, 112)],
    &[ir(4, 5, 2, 6.0, 184)],
    &[ir(1, 3, 1, 6.0, 352)],
];
#[rustfmt::skip]
pub(super) const SINGLE_PATH: Stages = &[
    &[ds(1, 3, 1, 16).skip(false)],
    &[ir(3, 3, 2, 3.0, 24)],
    &[ir(1, 5, 2, 6.0, 40), ir(3, 3, 1, 3.0, 40)],
    &[ir(1, 5, 2, 6.0, 80), ir(3, 3, 1, 3.0, 80)],
    &[ir(1, 5, 1, 6.0, 96), ir(3, 5, 1, 3.0, 96)],
    &[ir(4, 5, 2, 6.0, 192)],
    &[ir(1, 3, 1, 6.0, 320).skip(false)],
];
#[rustfmt::skip]
pub(super) const EFFICIENTNET: Stages = &[
    &[ds(1, 3, 1, 16).se()],
    &[ir(2, 3, 2, 6.0, 24).se()],
    &[ir(2, 5, 2, 6.0, 40).se()],
    &[ir(3, 3, 2, 6.0, 80).se()],
    &[ir(3, 5, 1, 6.0, 112).se()],
    &[ir(4, 5, 2, 6.0, 192).se()],
    &[ir(1, 3, 1, 6.0, 320).se()],
];
#[rustfmt::skip]
pub(super) const EDGE_TPU: Stages = &[
    &[Row { widened_from: 24, ..er(1, 3, 1, 4.0, 24) }.skip(false)],
    &[er(2, 3, 2, 8.0, 32)],
    &[er(4, 3, 2, 8.0, 48)],
    &[ir(5, 5, 2, 8.0, 96)],
    &[ir(4, 5, 1, 8.0, 144)],
    &[ir(2, 5, 2, 8.0, 192)],
];
#[rustfmt::skip]
pub(super) const V2_BASE: Stages = &[
    &[cn(1, 3, 16).skip(true)],
    &[er(2, 3, 2, 4.0, 32)],
    &[er(2, 3, 2, 4.0, 48)],
    &[ir(3, 3, 2, 4.0, 96).se()],
    &[ir(5, 3, 1, 6.0, 112).se()],
    &[ir(8, 3, 2, 6.0, 192).se()],
];
#[rustfmt::skip]
pub(super) const V2_S: Stages = &[
    &[cn(2, 3, 24).skip(true)],
    &[er(4, 3, 2, 4.0, 48)],
    &[er(4, 3, 2, 4.0, 64)],
    &[ir(6, 3, 2, 4.0, 128).se()],
    &[ir(9, 3, 1, 6.0, 160).se()],
    &[ir(15, 3, 2, 6.0, 256).se()],
];
/// As timm had it before the authors' own was published.
#[rustfmt::skip]
pub(super) const V2_RW: Stages = &[
    &[er(2, 3, 1, 1.0, 24)],
    &[er(4, 3, 2, 4.0, 48)],
    &[er(4, 3, 2, 4.0, 64)],
    &[ir(6, 3, 2, 4.0, 128).se()],
    &[ir(9, 3, 1, 6.0, 160).se()],
    &[ir(15, 3, 2, 6.0, 272).se()],
];
#[rustfmt::skip]
pub(super) const V2_M: Stages = &[
    &[cn(3, 3, 24).skip(true)],
    &[er(5, 3, 2, 4.0, 48)],
    &[er(5, 3, 2, 4.0, 80)],
    &[ir(7, 3, 2, 4.0, 160).se()],
    &[ir(14, 3, 1, 6.0, 176).se()],
    &[ir(18, 3, 2, 6.0, 304).se()],
    &[ir(5, 3, 1, 6.0, 512).se()],
];
#[rustfmt::skip]
pub(super) const V2_L: Stages = &[
    &[cn(4, 3, 32).skip(true)],
    &[er(7, 3, 2, 4.0, 64)],
    &[er(7, 3, 2, 4.0, 96)],
    &[ir(10, 3, 2, 4.0, 192).se()],
    &[ir(19, 3, 1, 6.0, 224).se()],
    &[ir(25, 3, 2, 6.0, 384).se()],
    &[ir(7, 3, 1, 6.0, 640).se()],
];
#[rustfmt::skip]
pub(super) const V2_XL: Stages = &[
    &[cn(4, 3, 32).skip(true)],
    &[er(8, 3, 2, 4.0, 64)],
    &[er(8, 3, 2, 4.0, 96)],
    &[ir(16, 3, 2, 4.0, 192).se()],
    &[ir(24, 3, 1, 6.0, 256).se()],
    &[ir(32, 3, 2, 6.0, 512).se()],
    &[ir(8, 3, 1, 6.0, 640).se()],
];
#[rustfmt::skip]
pub(super) const MIXNET_S: Stages = &[
    &[ds(1, 3, 1, 16)],
    &[ir(1, 3, 2, 6.0, 24).halves(), ir(1, 3, 1, 3.0, 24).halves()],
    &[mix(1, &[3, 5, 7], 2, 6.0, 40).se_half().swish(), mix(3, &[3, 5], 1, 6.0, 40).halves().se_half().swish()],
    &[mix(1, &[3, 5, 7], 2, 6.0, 80).last_halves().se().swish(), mix(2, &[3, 5], 1, 6.0, 80).last_halves().se().swish()],
    &[mix(1, &[3, 5, 7], 1, 6.0, 120).halves().se_half().swish(), mix(2, &[3, 5, 7, 9], 1, 3.0, 120).halves().se_half().swish()],
    &[mix(1, &[3, 5, 7, 9, 11], 2, 6.0, 200).se_half().swish(), mix(2, &[3, 5, 7, 9], 1, 6.0, 200).last_halves().se_half().swish()],
];
#[rustfmt::skip]
pub(super) const MIXNET_M: Stages = &[
    &[ds(1, 3, 1, 24)],
    &[mix(1, &[3, 5, 7], 2, 6.0, 32).halves(), ir(1, 3, 1, 3.0, 32).halves()],
    &[mix(1, &[3, 5, 7, 9], 2, 6.0, 40).se_half().swish(), mix(3, &[3, 5], 1, 6.0, 40).halves().se_half().swish()],
    &[mix(1, &[3, 5, 7], 2, 6.0, 80).se().swish(), mix(3, &[3, 5, 7, 9], 1, 6.0, 80).halves().se().swish()],
    &[ir(1, 3, 1, 6.0, 120).se_half().swish(), mix(3, &[3, 5, 7, 9], 1, 3.0, 120).halves().se_half().swish()],
    &[mix(1, &[3, 5, 7, 9], 2, 6.0, 200).se_half().swish(), mix(3, &[3, 5, 7, 9], 1, 6.0, 200).last_halves().se_half().swish()],
];
#[rustfmt::skip]
pub(super) const V3_RW: Stages = &[
    &[ds(1, 3, 1, 16).relu().skip(false)],
    &[ir(1, 3, 2, 4.0, 24).relu(), ir(1, 3, 1, 3.0, 24).relu()],
    &[ir(3, 5, 2, 3.0, 40).se().relu()],
    &[ir(1, 3, 2, 6.0, 80), ir(1, 3, 1, 2.5, 80), ir(2, 3, 1, 2.3, 80)],
    &[ir(2, 3, 1, 6.0, 112).se()],
    &[ir(3, 5, 2, 6.0, 160).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const V3_LARGE: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(1, 3, 2, 4.0, 24).relu(), ir(1, 3, 1, 3.0, 24).relu()],
    &[ir(3, 5, 2, 3.0, 40).se().relu()],
    &[ir(1, 3, 2, 6.0, 80), ir(1, 3, 1, 2.5, 80), ir(2, 3, 1, 2.3, 80)],
    &[ir(2, 3, 1, 6.0, 112).se()],
    &[ir(3, 5, 2, 6.0, 160).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const V3_LARGE_MINIMAL: Stages = &[
    &[ds(1, 3, 1, 16)],
    &[ir(1, 3, 2, 4.0, 24), ir(1, 3, 1, 3.0, 24)],
    &[ir(3, 3, 2, 3.0, 40)],
    &[ir(1, 3, 2, 6.0, 80), ir(1, 3, 1, 2.5, 80), ir(2, 3, 1, 2.3, 80)],
    &[ir(2, 3, 1, 6.0, 112)],
    &[ir(3, 3, 2, 6.0, 160)],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const V3_SMALL: Stages = &[
    &[ds(1, 3, 2, 16).se().relu()],
    &[ir(1, 3, 2, 4.5, 24).relu(), ir(1, 3, 1, 3.67, 24).relu()],
    &[ir(1, 5, 2, 4.0, 40).se(), ir(2, 5, 1, 6.0, 40).se()],
    &[ir(2, 5, 1, 3.0, 48).se()],
    &[ir(3, 5, 2, 6.0, 96).se()],
    &[cn(1, 1, 576)],
];
#[rustfmt::skip]
pub(super) const V3_SMALL_MINIMAL: Stages = &[
    &[ds(1, 3, 2, 16)],
    &[ir(1, 3, 2, 4.5, 24), ir(1, 3, 1, 3.67, 24)],
    &[ir(1, 3, 2, 4.0, 40), ir(2, 3, 1, 6.0, 40)],
    &[ir(2, 3, 1, 3.0, 48)],
    &[ir(3, 3, 2, 6.0, 96)],
    &[cn(1, 1, 576)],
];
#[rustfmt::skip]
pub(super) const FBNET_V3_B: Stages = &[
    &[ds(2, 3, 1, 16)],
    &[ir(1, 5, 2, 4.0, 24), ir(3, 5, 1, 2.0, 24)],
    &[ir(1, 5, 2, 5.0, 40).se(), ir(4, 5, 1, 3.0, 40).se()],
    &[ir(1, 5, 2, 5.0, 72), ir(4, 3, 1, 3.0, 72)],
    &[ir(1, 3, 1, 5.0, 120).se(), ir(5, 5, 1, 3.0, 120).se()],
    &[ir(1, 3, 2, 6.0, 184).se(), ir(5, 5, 1, 4.0, 184).se(), ir(1, 5, 1, 6.0, 224).se()],
    &[cn(1, 1, 1344)],
];
#[rustfmt::skip]
pub(super) const FBNET_V3_D: Stages = &[
    &[ds(2, 3, 1, 16)],
    &[ir(1, 3, 2, 5.0, 24), ir(5, 3, 1, 2.0, 24)],
    &[ir(1, 5, 2, 4.0, 40).se(), ir(4, 3, 1, 3.0, 40).se()],
    &[ir(1, 3, 2, 5.0, 72), ir(4, 3, 1, 3.0, 72)],
    &[ir(1, 3, 1, 5.0, 128).se(), ir(6, 5, 1, 3.0, 128).se()],
    &[ir(1, 3, 2, 6.0, 208).se(), ir(5, 5, 1, 5.0, 208).se(), ir(1, 5, 1, 6.0, 240).se()],
    &[cn(1, 1, 1440)],
];
#[rustfmt::skip]
pub(super) const FBNET_V3_G: Stages = &[
    &[ds(3, 3, 1, 24)],
    &[ir(1, 5, 2, 4.0, 40), ir(4, 5, 1, 2.0, 40)],
    &[ir(1, 5, 2, 4.0, 56).se(), ir(4, 5, 1, 3.0, 56).se()],
    &[ir(1, 5, 2, 5.0, 104), ir(4, 3, 1, 3.0, 104)],
    &[ir(1, 3, 1, 5.0, 160).se(), ir(8, 5, 1, 3.0, 160).se()],
    &[ir(1, 3, 2, 6.0, 264).se(), ir(6, 5, 1, 5.0, 264).se(), ir(2, 5, 1, 6.0, 288).se()],
    &[cn(1, 1, 1728)],
];
#[rustfmt::skip]
pub(super) const LCNET: Stages = &[
    &[dsa(1, 3, 1, 32)],
    &[dsa(2, 3, 2, 64)],
    &[dsa(2, 3, 2, 128)],
    &[dsa(1, 3, 2, 256), dsa(1, 5, 1, 256)],
    &[dsa(4, 5, 1, 256)],
    &[dsa(2, 5, 2, 512).se()],
];
#[rustfmt::skip]
pub(super) const HARDCORE_A: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(1, 5, 2, 3.0, 24).relu(), ir(1, 5, 1, 3.0, 24).se().relu()],
    &[ir(1, 5, 2, 3.0, 40).relu(), ir(1, 5, 1, 6.0, 40).se().relu()],
    &[ir(2, 5, 2, 6.0, 80).se()],
    &[ir(2, 5, 1, 6.0, 112).se()],
    &[ir(2, 5, 2, 6.0, 192).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const HARDCORE_B: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(1, 5, 2, 3.0, 24).relu(), ir(1, 5, 1, 3.0, 24).se().relu(), ir(1, 3, 1, 3.0, 24).relu()],
    &[ir(3, 5, 2, 3.0, 40).relu()],
    &[ir(2, 5, 2, 3.0, 80), ir(2, 3, 1, 3.0, 80)],
    &[ir(1, 5, 1, 3.0, 112), ir(3, 3, 1, 3.0, 112)],
    &[ir(2, 5, 2, 6.0, 192).se(), ir(1, 3, 1, 3.0, 192).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const HARDCORE_C: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(1, 5, 2, 3.0, 24).relu(), ir(1, 5, 1, 3.0, 24).se().relu()],
    &[ir(4, 5, 2, 3.0, 40).relu()],
    &[ir(1, 5, 2, 4.0, 80), ir(1, 5, 1, 6.0, 80).se(), ir(2, 3, 1, 3.0, 80)],
    &[ir(1, 5, 1, 6.0, 112).se(), ir(3, 3, 1, 3.0, 112)],
    &[ir(2, 5, 2, 6.0, 192).se(), ir(1, 3, 1, 3.0, 192).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const HARDCORE_D: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(2, 5, 2, 3.0, 24).se().relu()],
    &[ir(1, 5, 2, 3.0, 40).se().relu(), ir(1, 5, 1, 4.0, 40).se().relu(), ir(1, 3, 1, 3.0, 40).se().relu()],
    &[ir(1, 5, 2, 4.0, 80).se(), ir(3, 3, 1, 3.0, 80).se()],
    &[ir(1, 3, 1, 4.0, 112).se(), ir(1, 5, 1, 4.0, 112).se(), ir(1, 3, 1, 3.0, 112).se(), ir(1, 5, 1, 3.0, 112).se()],
    &[ir(3, 5, 2, 6.0, 192).se(), ir(1, 3, 1, 6.0, 192).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const HARDCORE_E: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(2, 5, 2, 3.0, 24).se().relu()],
    &[ir(1, 5, 2, 6.0, 40).se().relu(), ir(2, 5, 1, 4.0, 40).se().relu(), ir(1, 3, 1, 3.0, 40).se().relu()],
    &[ir(1, 5, 2, 4.0, 80).se(), ir(1, 3, 1, 6.0, 80).se()],
    &[ir(3, 5, 1, 6.0, 112).se(), ir(1, 5, 1, 3.0, 112).se()],
    &[ir(3, 5, 2, 6.0, 192).se(), ir(1, 3, 1, 6.0, 192).se()],
    &[cn(1, 1, 960)],
];
#[rustfmt::skip]
pub(super) const HARDCORE_F: Stages = &[
    &[ds(1, 3, 1, 16).relu()],
    &[ir(2, 5, 2, 3.0, 24).se().relu()],
    &[ir(2, 5, 2, 6.0, 40).se().relu()],
    &[ir(2, 5, 2, 6.0, 80).se(), ir(2, 3, 1, 3.0, 80).se()],
    &[ir(1, 3, 1, 6.0, 112).se(), ir(2, 5, 1, 6.0, 112).se(), ir(1, 3, 1, 3.0, 112).se()],
    &[ir(2, 5, 2, 6.0, 192).se(), ir(2, 3, 1, 6.0, 192).se()],
    &[cn(1, 1, 960)],
];

/// Channels of a block where some were pruned: inside, outside, of the squeeze-and-excite.
pub(super) type Pruned = [usize; 3];

#[rustfmt::skip]
pub(super) const PRUNED_B1: &[Pruned] = &[
    [32, 16, 8], [16, 16, 4],
    [48, 12, 4], [62, 12, 6], [48, 12, 6],
    [70, 35, 6], [61, 35, 10], [51, 35, 10],
    [175, 74, 10], [188, 74, 20], [137, 74, 20], [164, 74, 20],
    [399, 67, 20], [201, 67, 28], [160, 67, 28], [213, 67, 28],
    [637, 192, 27], [806, 192, 48], [798, 192, 48], [891, 192, 48], [990, 192, 48],
    [1152, 320, 48], [1912, 320, 80],
];
#[rustfmt::skip]
pub(super) const PRUNED_B2: &[Pruned] = &[
    [32, 16, 8], [16, 16, 4],
    [54, 17, 4], [69, 17, 6], [61, 17, 6],
    [86, 42, 6], [72, 42, 12], [98, 42, 12],
    [245, 85, 12], [274, 85, 22], [254, 85, 22], [292, 85, 22],
    [502, 116, 22], [315, 116, 30], [354, 116, 30], [443, 116, 30],
    [719, 208, 30], [1148, 208, 52], [1160, 208, 52], [1182, 208, 52], [1228, 208, 52],
    [1248, 352, 52], [2112, 352, 88],
];
#[rustfmt::skip]
pub(super) const PRUNED_B3: &[Pruned] = &[
    [40, 24, 10], [24, 24, 6],
    [27, 12, 6], [49, 12, 8], [48, 12, 8],
    [83, 40, 8], [90, 40, 12], [85, 40, 12],
    [215, 93, 12], [261, 93, 24], [219, 93, 24], [254, 93, 24], [236, 93, 24],
    [480, 120, 24], [235, 120, 34], [217, 120, 34], [226, 120, 33], [340, 120, 34],
    [802, 232, 34], [1030, 232, 58], [924, 232, 58], [1016, 232, 58], [1130, 232, 58], [1266, 232, 58],
    [1392, 384, 58], [2301, 384, 96],
];
