//! The members of the family: what sets each apart, by name.

use super::{AntiAlias, Attention, Kind, Stem};

/// A member of the family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arch {
    pub kind: Kind,
    /// Blocks of each stage.
    pub layers: [usize; 4],
    pub stem: Stem,
    pub stem_width: usize,
    /// The stem ends with a convolution of stride 2 in place of the pooling.
    pub stem_convolves: bool,
    /// Groups of the 3x3 convolutions.
    pub cardinality: usize,
    /// Channels of such a group where a stage has 64.
    pub base_width: usize,
    /// The first convolution of a block has so many times fewer channels.
    pub reduce_first: usize,
    /// Side of the shortcuts' filters, where they do not pool.
    pub down_kernel: usize,
    /// Shortcuts pool before a 1x1 convolution (ResNet-D).
    pub avg_down: bool,
    pub attention: Option<Attention>,
    pub antialias: Option<AntiAlias>,
    /// Group norms of 32 groups.
    pub group_norm: bool,
    pub pruned: Option<&'static Pruned>,
}

/// Channels that are left of a ResNet-D (Aflalo et al. 2020, arXiv 2002.08258): of each stage the block's, and of each of its blocks the
/// first two convolutions'.
pub(super) type Pruned = [(usize, &'static [[usize; 2]]); 4];

const R18: [usize; 4] = [2, 2, 2, 2];
const R50: [usize; 4] = [3, 4, 6, 3];
const R101: [usize; 4] = [3, 4, 23, 3];
const R152: [usize; 4] = [3, 8, 36, 3];
const R200: [usize; 4] = [3, 24, 36, 3];
const R269: [usize; 4] = [3, 30, 48, 8];

const fn of(kind: Kind, layers: [usize; 4]) -> Arch {
    Arch {
        kind,
        layers,
        stem: Stem::Plain,
        stem_width: 64,
        stem_convolves: false,
        cardinality: 1,
        base_width: 64,
        reduce_first: 1,
        down_kernel: 1,
        avg_down: false,
        attention: None,
        antialias: None,
        group_norm: false,
        pruned: None,
    }
}

const fn basic(layers: [usize; 4]) -> Arch {
    of(Kind::Basic, layers)
}

const fn deep(layers: [usize; 4]) -> Arch {
    of(Kind::Bottleneck, layers)
}

/// `cardinality` groups of `base_width` channels.
const fn next(layers: [usize; 4], cardinality: usize, base_width: usize) -> Arch {
    deep(layers).wide(cardinality, base_width)
}

/// ResNet-RS (Bello et al. 2021, arXiv 2103.07579).
const fn rescaled(layers: [usize; 4]) -> Arch {
    Arch {
        stem_convolves: true,
        ..deep(layers).d().attention(Attention::SqueezeExcite(4))
    }
}

/// ResNeSt of `radix` splits.
const fn split(layers: [usize; 4], radix: usize, pools_first: bool) -> Arch {
    of(Kind::Split { radix, pools_first }, layers).d()
}

/// Res2Net of `scale` groups one after the other, each of `base_width` channels.
const fn scales(layers: [usize; 4], base_width: usize, scale: usize) -> Arch {
    of(Kind::Scales(scale), layers).wide(1, base_width)
}

const SENET154: Arch = Arch {
    stem: Stem::Deep,
    reduce_first: 2,
    down_kernel: 3,
    ..next(R152, 64, 4).se()
};

impl Arch {
    const fn stem(self, stem: Stem, stem_width: usize) -> Self {
        Self {
            stem,
            stem_width,
            ..self
        }
    }

    /// Three convolutions of 3x3 in the stem.
    const fn c(self) -> Self {
        self.stem(Stem::Deep, 32)
    }

    /// The same, and shortcuts that pool.
    const fn d(self) -> Self {
        self.c().pooled()
    }

    /// As d, the stem's convolutions ever wider.
    const fn t(self) -> Self {
        self.stem(Stem::Tiered, 32).pooled()
    }

    const fn pooled(self) -> Self {
        Self {
            avg_down: true,
            ..self
        }
    }

    const fn wide(self, cardinality: usize, base_width: usize) -> Self {
        Self {
            cardinality,
            base_width,
            ..self
        }
    }

    const fn attention(self, attention: Attention) -> Self {
        Self {
            attention: Some(attention),
            ..self
        }
    }

    const fn se(self) -> Self {
        self.attention(Attention::SqueezeExcite(16))
    }

    const fn eca(self) -> Self {
        self.attention(Attention::Efficient)
    }

    const fn antialias(self, antialias: AntiAlias) -> Self {
        Self {
            antialias: Some(antialias),
            ..self
        }
    }

    const fn aa(self) -> Self {
        self.antialias(AntiAlias::Average)
    }

    const fn blur(self) -> Self {
        self.antialias(AntiAlias::Blur)
    }

    const fn group_norm(self) -> Self {
        Self {
            group_norm: true,
            ..self
        }
    }

    const fn pruned(self, pruned: &'static Pruned) -> Self {
        Self {
            pruned: Some(pruned),
            ..self
        }
    }
}

/// All but those that are other names of these.
const MODELS: [(&str, Arch); 97] = [
    ("ecaresnet101d", deep(R101).d().eca()),
    (
        "ecaresnet101d_pruned",
        deep(R101).d().eca().pruned(&PRUNED_101),
    ),
    ("ecaresnet200d", deep(R200).d().eca()),
    ("ecaresnet269d", deep(R269).d().eca()),
    ("ecaresnet26t", deep(R18).t().eca()),
    ("ecaresnet50d", deep(R50).d().eca()),
    (
        "ecaresnet50d_pruned",
        deep(R50).d().eca().pruned(&PRUNED_50),
    ),
    ("ecaresnet50t", deep(R50).t().eca()),
    ("ecaresnetlight", deep([1, 1, 11, 3]).pooled().eca()),
    ("ecaresnext26t_32x4d", next(R18, 32, 4).t().eca()),
    // As long as the 26 in timm.
    ("ecaresnext50t_32x4d", next(R18, 32, 4).t().eca()),
    ("res2net101_26w_4s", scales(R101, 26, 4)),
    ("res2net101d", scales(R101, 26, 4).d()),
    ("res2net50_14w_8s", scales(R50, 14, 8)),
    ("res2net50_26w_4s", scales(R50, 26, 4)),
    ("res2net50_26w_6s", scales(R50, 26, 6)),
    ("res2net50_26w_8s", scales(R50, 26, 8)),
    ("res2net50_48w_2s", scales(R50, 48, 2)),
    ("res2net50d", scales(R50, 26, 4).d()),
    ("res2next50", scales(R50, 4, 4).wide(8, 4)),
    ("resnest101e", split(R101, 2, false).stem(Stem::Deep, 64)),
    ("resnest14d", split([1, 1, 1, 1], 2, false)),
    ("resnest200e", split(R200, 2, false).stem(Stem::Deep, 64)),
    ("resnest269e", split(R269, 2, false).stem(Stem::Deep, 64)),
    ("resnest26d", split(R18, 2, false)),
    ("resnest50d", split(R50, 2, false)),
    ("resnest50d_1s4x24d", split(R50, 1, true).wide(4, 24)),
    ("resnest50d_4s2x40d", split(R50, 4, true).wide(2, 40)),
    ("resnet101", deep(R101)),
    ("resnet101c", deep(R101).c()),
    ("resnet101d", deep(R101).d()),
    ("resnet101s", deep(R101).stem(Stem::Deep, 64)),
    ("resnet10t", basic([1, 1, 1, 1]).t()),
    ("resnet14t", deep([1, 1, 1, 1]).t()),
    ("resnet152", deep(R152)),
    ("resnet152c", deep(R152).c()),
    ("resnet152d", deep(R152).d()),
    ("resnet152s", deep(R152).stem(Stem::Deep, 64)),
    ("resnet18", basic(R18)),
    ("resnet18d", basic(R18).d()),
    ("resnet200", deep(R200)),
    ("resnet200d", deep(R200).d()),
    ("resnet26", deep(R18)),
    ("resnet26d", deep(R18).d()),
    ("resnet26t", deep(R18).t()),
    ("resnet34", basic(R50)),
    ("resnet34d", basic(R50).d()),
    ("resnet50", deep(R50)),
    ("resnet50_gn", deep(R50).group_norm()),
    ("resnet50c", deep(R50).c()),
    ("resnet50d", deep(R50).d()),
    ("resnet50s", deep(R50).stem(Stem::Deep, 64)),
    ("resnet50t", deep(R50).t()),
    ("resnetaa101d", deep(R101).d().aa()),
    ("resnetaa34d", basic(R50).d().aa()),
    ("resnetaa50", deep(R50).aa()),
    ("resnetaa50d", deep(R50).d().aa()),
    ("resnetblur101d", deep(R101).d().blur()),
    ("resnetblur18", basic(R18).blur()),
    ("resnetblur50", deep(R50).blur()),
    ("resnetblur50d", deep(R50).d().blur()),
    ("resnetrs101", rescaled(R101)),
    ("resnetrs152", rescaled(R152)),
    ("resnetrs200", rescaled(R200)),
    ("resnetrs270", rescaled([4, 29, 53, 4])),
    ("resnetrs350", rescaled([4, 36, 72, 4])),
    ("resnetrs420", rescaled([4, 44, 87, 4])),
    ("resnetrs50", rescaled(R50)),
    ("resnext101_32x16d", next(R101, 32, 16)),
    ("resnext101_32x32d", next(R101, 32, 32)),
    ("resnext101_32x4d", next(R101, 32, 4)),
    ("resnext101_32x8d", next(R101, 32, 8)),
    ("resnext101_64x4d", next(R101, 64, 4)),
    ("resnext50_32x4d", next(R50, 32, 4)),
    ("resnext50d_32x4d", next(R50, 32, 4).d()),
    ("senet154", SENET154),
    ("seresnet101", deep(R101).se()),
    ("seresnet152", deep(R152).se()),
    ("seresnet152d", deep(R152).d().se()),
    ("seresnet18", basic(R18).se()),
    ("seresnet200d", deep(R200).d().se()),
    ("seresnet269d", deep(R269).d().se()),
    ("seresnet34", basic(R50).se()),
    ("seresnet50", deep(R50).se()),
    ("seresnet50t", deep(R50).t().se()),
    ("seresnetaa50d", deep(R50).d().aa().se()),
    ("seresnext101_32x4d", next(R101, 32, 4).se()),
    ("seresnext101_32x8d", next(R101, 32, 8).se()),
    ("seresnext101_64x4d", next(R101, 64, 4).se()),
    ("seresnext101d_32x8d", next(R101, 32, 8).d().se()),
    ("seresnext26d_32x4d", next(R18, 32, 4).d().se()),
    ("seresnext26t_32x4d", next(R18, 32, 4).t().se()),
    ("seresnext50_32x4d", next(R50, 32, 4).se()),
    ("seresnextaa101d_32x8d", next(R101, 32, 8).d().aa().se()),
    ("seresnextaa201d_32x8d", SERESNEXTAA201D),
    ("wide_resnet101_2", deep(R101).wide(1, 128)),
    ("wide_resnet50_2", deep(R50).wide(1, 128)),
];

const SERESNEXTAA201D: Arch = next([3, 24, 36, 4], 32, 8)
    .stem(Stem::Deep, 64)
    .pooled()
    .aa()
    .se();

const PRUNED_50: Pruned = [
    (19, &[[47, 18], [52, 22], [64, 35]]),
    (171, &[[85, 37], [107, 80], [120, 85], [125, 87]]),
    (
        818,
        &[
            [198, 126],
            [255, 232],
            [256, 233],
            [253, 235],
            [256, 225],
            [256, 239],
        ],
    ),
    (2022, &[[492, 237], [512, 500], [512, 490]]),
];

const PRUNED_101: Pruned = [
    (26, &[[45, 25], [53, 20], [60, 27]]),
    (142, &[[81, 24], [93, 49], [102, 54], [122, 78]]),
    (
        278,
        &[
            [101, 25],
            [239, 160],
            [234, 156],
            [250, 176],
            [253, 191],
            [251, 175],
            [230, 128],
            [244, 154],
            [244, 159],
            [238, 97],
            [244, 149],
            [253, 181],
            [245, 119],
            [255, 216],
            [256, 201],
            [253, 149],
            [254, 141],
            [256, 190],
            [256, 217],
            [255, 156],
            [256, 155],
            [256, 232],
            [256, 214],
        ],
    ),
    (2042, &[[499, 289], [512, 512], [512, 502]]),
];

/// All names.
pub(in super::super) fn names() -> Vec<String> {
    MODELS.iter().map(|(name, _)| name.to_string()).collect()
}

/// The member of that name.
pub(super) fn named(name: &str) -> Option<Arch> {
    let model = MODELS.iter().find(|(model, _)| *model == name);
    model.map(|(_, arch)| *arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_model() {
        for name in names() {
            let arch = named(&name).expect(&name);
            if let Some(pruned) = arch.pruned {
                let blocks = pruned.each_ref().map(|(_, blocks)| blocks.len());
                assert_eq!(blocks, arch.layers, "{name}");
            }
        }
        assert!(named("resnet51").is_none());
    }
}
