//! What each model of this family is: a [`Recipe`] for each name.

use super::make_divisible;
use super::rows::{
    EDGE_TPU, EFFICIENTNET, FBNET_C, FBNET_V3_B, FBNET_V3_D, FBNET_V3_G, HARDCORE_A, HARDCORE_B,
    HARDCORE_C, HARDCORE_D, HARDCORE_E, HARDCORE_F, LCNET, MIXNET_M, MIXNET_S, MNASNET,
    MNASNET_SMALL, MOBILENET_V2, PRUNED_B1, PRUNED_B2, PRUNED_B3, Pruned, Row, SEMNASNET,
    SINGLE_PATH, Stages, V2_BASE, V2_L, V2_M, V2_RW, V2_S, V2_XL, V3_LARGE, V3_LARGE_MINIMAL,
    V3_RW, V3_SMALL, V3_SMALL_MINIMAL,
};
use crate::layers::Activation;

/// What weighs the channels inside a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Attention {
    /// Nothing, whatever the rows say.
    None,
    /// Squeeze-and-excite.
    SqueezeExcite {
        /// Whether its channels are a share of those inside the block, else of those that come in.
        of_wide: bool,
        /// Its first activation, if not the block's.
        act: Option<Activation>,
        /// Its second activation.
        gate: Activation,
        /// How far its channels may be rounded down to a multiple of 8; None if they are rounded to a whole number.
        limit: Option<f64>,
    },
    /// A global context (Cao et al. 2019, arXiv 1904.11492).
    GlobalContext,
}

/// Channels of the last convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wide {
    /// As they are.
    Fixed(usize),
    /// Scaled like all others.
    Scaled(usize),
    /// Scaled, but never fewer.
    AtLeast(usize),
}

/// What follows the last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A norm.
    Normed,
    /// No norm: classifiers pool before it. Whether it has a bias.
    Pooled(bool),
}

/// A model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Its blocks, before scaling.
    pub stages: Stages,
    /// Channels of the first convolution.
    pub stem: usize,
    /// Whether those are not scaled.
    pub stem_fixed: bool,
    /// Channels of the last convolution.
    pub wide: Wide,
    /// What comes after it.
    pub head: Head,
    /// Factor of channels.
    pub width: f64,
    /// What channels are multiples of.
    pub divisor: usize,
    /// How far they may be rounded down.
    pub limit: f64,
    /// Factor of the number of blocks.
    pub depth: f64,
    /// The same from the fifth stage on, if not the same.
    pub late_depth: Option<f64>,
    /// Whether the number of blocks is rounded to the nearest, else up.
    pub depth_rounds: bool,
    /// Whether the first and the last stage keep their blocks.
    pub ends_fixed: bool,
    /// The activation.
    pub act: Activation,
    /// What weighs the channels.
    pub attention: Attention,
    /// Channels of a group of the convolutions that see neighbours, if those are not depthwise.
    pub group: usize,
    /// Channels of a group of the norms, if those are group norms.
    pub norm_group: Option<usize>,
    /// Sets of filters of the last three stages, whose mixture depends on the picture; 0 if there is no such thing.
    pub experts: usize,
    /// Whether it pads as TensorFlow does.
    pub same: bool,
    /// Of the norms.
    pub eps: f64,
    /// Channels of each block, if some were pruned.
    pub pruned: Option<&'static [Pruned]>,
}

const HARD_SIGMOID: Activation = Activation::HSigmoid {
    bias: 3.0,
    divisor: 6.0,
    min: 0.0,
    max: 1.0,
};
/// Epsilon of TensorFlow's batch norms.
pub(super) const TENSORFLOW_EPS: f64 = 1e-3;

/// timm's `EfficientNet`, as most of its models have it.
const BASE: Recipe = Recipe {
    stages: EFFICIENTNET,
    stem: 32,
    stem_fixed: false,
    wide: Wide::Fixed(1280),
    head: Head::Normed,
    width: 1.0,
    divisor: 8,
    limit: 0.9,
    depth: 1.0,
    late_depth: None,
    depth_rounds: false,
    ends_fixed: false,
    act: Activation::Relu,
    attention: Attention::SqueezeExcite {
        of_wide: false,
        act: None,
        gate: Activation::Sigmoid,
        limit: None,
    },
    group: 1,
    norm_group: None,
    experts: 0,
    same: false,
    eps: 1e-5,
    pruned: None,
};
const EFFICIENT: Recipe = Recipe {
    wide: Wide::Scaled(1280),
    act: Activation::Silu,
    ..BASE
};
const LITE: Recipe = Recipe {
    wide: Wide::Fixed(1280),
    stem_fixed: true,
    ends_fixed: true,
    act: Activation::Relu6,
    attention: Attention::None,
    ..BASE
};
const EDGE: Recipe = Recipe {
    stages: EDGE_TPU,
    wide: Wide::Scaled(1280),
    ..BASE
};
const MOBILE_V2: Recipe = Recipe {
    stages: MOBILENET_V2,
    wide: Wide::AtLeast(1280),
    act: Activation::Relu6,
    ..BASE
};
const MOBILE_V2_DEEP: Recipe = Recipe {
    wide: Wide::Fixed(1280),
    stem_fixed: true,
    ends_fixed: true,
    ..MOBILE_V2
};
const TINY: Recipe = Recipe {
    wide: Wide::AtLeast(1280),
    stem_fixed: true,
    depth_rounds: true,
    act: Activation::Silu,
    ..BASE
};
const MIX: Recipe = Recipe {
    stages: MIXNET_M,
    stem: 24,
    wide: Wide::Fixed(1536),
    depth_rounds: true,
    ..BASE
};
const V2: Recipe = Recipe {
    stages: V2_S,
    stem: 24,
    wide: Wide::Scaled(1280),
    act: Activation::Silu,
    ..BASE
};
const V2_WIDE: Recipe = Recipe {
    stem: 32,
    wide: Wide::Fixed(1280),
    ..V2
};
const V2_OF_RW: Recipe = Recipe {
    stages: V2_RW,
    wide: Wide::Scaled(1792),
    ..V2
};
/// timm's `MobileNetV3`.
const MOBILE_V3: Recipe = Recipe {
    stages: V3_LARGE,
    stem: 16,
    head: Head::Pooled(true),
    act: Activation::HSwish,
    attention: Attention::SqueezeExcite {
        of_wide: true,
        act: Some(Activation::Relu),
        gate: HARD_SIGMOID,
        limit: Some(0.9),
    },
    ..BASE
};
const MOBILE_V3_SMALL: Recipe = Recipe {
    stages: V3_SMALL,
    wide: Wide::Fixed(1024),
    ..MOBILE_V3
};
const FBNET_V3: Recipe = Recipe {
    wide: Wide::Fixed(1984),
    head: Head::Pooled(false),
    limit: 0.95,
    attention: Attention::SqueezeExcite {
        of_wide: false,
        act: None,
        gate: HARD_SIGMOID,
        limit: Some(0.95),
    },
    ..MOBILE_V3
};
const LC: Recipe = Recipe {
    stages: LCNET,
    attention: Attention::SqueezeExcite {
        of_wide: true,
        act: Some(Activation::Relu),
        gate: HARD_SIGMOID,
        limit: None,
    },
    ..MOBILE_V3
};
const PRUNED: Recipe = Recipe {
    same: true,
    eps: TENSORFLOW_EPS,
    ..EFFICIENT
};

const fn with(recipe: Recipe, stages: Stages) -> Recipe {
    Recipe { stages, ..recipe }
}

const fn hardcore(stages: Stages) -> Recipe {
    Recipe {
        stages,
        stem: 32,
        ..MOBILE_V3
    }
}

/// Which of two names a model has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Its own alone.
    Own,
    /// The one with `tf_` alone.
    Tf,
    /// Both.
    Both,
}
use Named::{Both, Own, Tf};

/// Name, width, depth.
type Model = (&'static str, Named, f64, f64, Recipe);

#[rustfmt::skip]
const MODELS: &[Model] = &[
    ("mnasnet_050", Own, 0.5, 1.0, with(BASE, MNASNET)),
    ("mnasnet_075", Own, 0.75, 1.0, with(BASE, MNASNET)),
    ("mnasnet_100", Own, 1.0, 1.0, with(BASE, MNASNET)),
    ("mnasnet_140", Own, 1.4, 1.0, with(BASE, MNASNET)),
    ("semnasnet_050", Own, 0.5, 1.0, with(BASE, SEMNASNET)),
    ("semnasnet_075", Own, 0.75, 1.0, with(BASE, SEMNASNET)),
    ("semnasnet_100", Own, 1.0, 1.0, with(BASE, SEMNASNET)),
    ("semnasnet_140", Own, 1.4, 1.0, with(BASE, SEMNASNET)),
    ("mnasnet_small", Own, 1.0, 1.0, Recipe { stem: 8, ..with(BASE, MNASNET_SMALL) }),
    ("mobilenetv2_035", Own, 0.35, 1.0, MOBILE_V2),
    ("mobilenetv2_050", Own, 0.5, 1.0, MOBILE_V2),
    ("mobilenetv2_075", Own, 0.75, 1.0, MOBILE_V2),
    ("mobilenetv2_100", Own, 1.0, 1.0, MOBILE_V2),
    ("mobilenetv2_140", Own, 1.4, 1.0, MOBILE_V2),
    ("mobilenetv2_110d", Own, 1.1, 1.2, MOBILE_V2_DEEP),
    ("mobilenetv2_120d", Own, 1.2, 1.4, MOBILE_V2_DEEP),
    ("fbnetc_100", Own, 1.0, 1.0, Recipe { stem: 16, wide: Wide::Fixed(1984), ..with(BASE, FBNET_C) }),
    ("spnasnet_100", Own, 1.0, 1.0, with(BASE, SINGLE_PATH)),
    ("efficientnet_b0", Both, 1.0, 1.0, EFFICIENT),
    ("efficientnet_b1", Both, 1.0, 1.1, EFFICIENT),
    ("efficientnet_b2", Both, 1.1, 1.2, EFFICIENT),
    ("efficientnet_b3", Both, 1.2, 1.4, EFFICIENT),
    ("efficientnet_b4", Both, 1.4, 1.8, EFFICIENT),
    ("efficientnet_b5", Both, 1.6, 2.2, EFFICIENT),
    ("efficientnet_b6", Both, 1.8, 2.6, EFFICIENT),
    ("efficientnet_b7", Both, 2.0, 3.1, EFFICIENT),
    ("efficientnet_b8", Both, 2.2, 3.6, EFFICIENT),
    ("efficientnet_l2", Both, 4.3, 5.3, EFFICIENT),
    ("efficientnet_b0_gn", Own, 1.0, 1.0, Recipe { norm_group: Some(8), ..EFFICIENT }),
    ("efficientnet_b0_g8_gn", Own, 1.0, 1.0, Recipe { group: 8, norm_group: Some(8), ..EFFICIENT }),
    ("efficientnet_b0_g16_evos", Own, 1.0, 1.0, Recipe { group: 16, divisor: 16, ..EFFICIENT }),
    ("efficientnet_b3_gn", Own, 1.2, 1.4, Recipe { divisor: 16, norm_group: Some(16), ..EFFICIENT }),
    ("efficientnet_b3_g8_gn", Own, 1.2, 1.4, Recipe { group: 8, divisor: 16, norm_group: Some(16), ..EFFICIENT }),
    ("efficientnet_b1_pruned", Own, 1.0, 1.1, Recipe { pruned: Some(PRUNED_B1), ..PRUNED }),
    ("efficientnet_b2_pruned", Own, 1.1, 1.2, Recipe { pruned: Some(PRUNED_B2), ..PRUNED }),
    ("efficientnet_b3_pruned", Own, 1.2, 1.4, Recipe { pruned: Some(PRUNED_B3), ..PRUNED }),
    ("efficientnet_es", Both, 1.0, 1.0, EDGE),
    ("efficientnet_em", Both, 1.0, 1.1, EDGE),
    ("efficientnet_el", Both, 1.2, 1.4, EDGE),
    ("efficientnet_es_pruned", Own, 1.0, 1.0, EDGE),
    ("efficientnet_el_pruned", Own, 1.2, 1.4, EDGE),
    ("efficientnet_cc_b0_4e", Both, 1.0, 1.0, Recipe { experts: 4, ..EFFICIENT }),
    ("efficientnet_cc_b0_8e", Both, 1.0, 1.0, Recipe { experts: 8, ..EFFICIENT }),
    ("efficientnet_cc_b1_8e", Both, 1.0, 1.1, Recipe { experts: 8, ..EFFICIENT }),
    ("efficientnet_lite0", Both, 1.0, 1.0, LITE),
    ("efficientnet_lite1", Both, 1.0, 1.1, LITE),
    ("efficientnet_lite2", Both, 1.1, 1.2, LITE),
    ("efficientnet_lite3", Both, 1.2, 1.4, LITE),
    ("efficientnet_lite4", Both, 1.4, 1.8, LITE),
    ("efficientnetv2_rw_t", Own, 0.8, 0.9, V2),
    ("gc_efficientnetv2_rw_t", Own, 0.8, 0.9, Recipe { attention: Attention::GlobalContext, ..V2 }),
    ("efficientnetv2_rw_s", Own, 1.0, 1.0, V2_OF_RW),
    ("efficientnetv2_rw_m", Own, 1.2, 1.2, Recipe { late_depth: Some(1.6), ..V2_OF_RW }),
    ("efficientnetv2_s", Both, 1.0, 1.0, V2),
    ("efficientnetv2_m", Both, 1.0, 1.0, with(V2, V2_M)),
    ("efficientnetv2_l", Both, 1.0, 1.0, with(V2_WIDE, V2_L)),
    ("efficientnetv2_xl", Both, 1.0, 1.0, with(V2_WIDE, V2_XL)),
    ("efficientnetv2_b0", Tf, 1.0, 1.0, Recipe { stem: 32, limit: 0.0, ..with(V2, V2_BASE) }),
    ("efficientnetv2_b1", Tf, 1.0, 1.1, Recipe { stem: 32, limit: 0.0, ..with(V2, V2_BASE) }),
    ("efficientnetv2_b2", Tf, 1.1, 1.2, Recipe { stem: 32, limit: 0.0, ..with(V2, V2_BASE) }),
    ("efficientnetv2_b3", Tf, 1.2, 1.4, Recipe { stem: 32, limit: 0.0, ..with(V2, V2_BASE) }),
    ("mixnet_s", Both, 1.0, 1.0, Recipe { stem: 16, ..with(MIX, MIXNET_S) }),
    ("mixnet_m", Both, 1.0, 1.0, MIX),
    ("mixnet_l", Both, 1.3, 1.0, MIX),
    ("mixnet_xl", Own, 1.6, 1.2, MIX),
    ("mixnet_xxl", Own, 2.4, 1.3, MIX),
    ("tinynet_a", Own, 1.0, 1.2, TINY),
    ("tinynet_b", Own, 0.75, 1.1, TINY),
    ("tinynet_c", Own, 0.54, 0.85, TINY),
    ("tinynet_d", Own, 0.54, 0.695, TINY),
    ("tinynet_e", Own, 0.51, 0.6, TINY),
    ("mobilenetv3_rw", Own, 1.0, 1.0, Recipe {
        head: Head::Pooled(false),
        attention: Attention::SqueezeExcite { of_wide: true, act: None, gate: HARD_SIGMOID, limit: None },
        eps: TENSORFLOW_EPS,
        ..with(MOBILE_V3, V3_RW)
    }),
    ("mobilenetv3_large_075", Both, 0.75, 1.0, MOBILE_V3),
    ("mobilenetv3_large_100", Both, 1.0, 1.0, MOBILE_V3),
    ("mobilenetv3_large_minimal_100", Tf, 1.0, 1.0, Recipe { act: Activation::Relu, ..with(MOBILE_V3, V3_LARGE_MINIMAL) }),
    ("mobilenetv3_small_050", Own, 0.5, 1.0, Recipe { stem_fixed: true, ..MOBILE_V3_SMALL }),
    ("mobilenetv3_small_075", Both, 0.75, 1.0, MOBILE_V3_SMALL),
    ("mobilenetv3_small_100", Both, 1.0, 1.0, MOBILE_V3_SMALL),
    ("mobilenetv3_small_minimal_100", Tf, 1.0, 1.0, Recipe { act: Activation::Relu, ..with(MOBILE_V3_SMALL, V3_SMALL_MINIMAL) }),
    ("fbnetv3_b", Own, 1.0, 1.0, with(FBNET_V3, FBNET_V3_B)),
    ("fbnetv3_d", Own, 1.0, 1.0, Recipe { stem: 24, ..with(FBNET_V3, FBNET_V3_D) }),
    ("fbnetv3_g", Own, 1.0, 1.0, Recipe { stem: 32, ..with(FBNET_V3, FBNET_V3_G) }),
    ("lcnet_035", Own, 0.35, 1.0, LC),
    ("lcnet_050", Own, 0.5, 1.0, LC),
    ("lcnet_075", Own, 0.75, 1.0, LC),
    ("lcnet_100", Own, 1.0, 1.0, LC),
    ("lcnet_150", Own, 1.5, 1.0, LC),
    ("hardcorenas_a", Own, 1.0, 1.0, hardcore(HARDCORE_A)),
    ("hardcorenas_b", Own, 1.0, 1.0, hardcore(HARDCORE_B)),
    ("hardcorenas_c", Own, 1.0, 1.0, hardcore(HARDCORE_C)),
    ("hardcorenas_d", Own, 1.0, 1.0, hardcore(HARDCORE_D)),
    ("hardcorenas_e", Own, 1.0, 1.0, hardcore(HARDCORE_E)),
    ("hardcorenas_f", Own, 1.0, 1.0, hardcore(HARDCORE_F)),
];

/// The names that [`recipe`] knows.
pub(super) fn names() -> Vec<String> {
    let of = |model: &Model| {
        let own = (model.1 != Tf).then(|| model.0.to_string());
        let tf = (model.1 != Own).then(|| format!("tf_{}", model.0));
        own.into_iter().chain(tf)
    };
    MODELS.iter().flat_map(of).collect()
}

/// What the model of this name is.
pub(super) fn recipe(name: &str) -> Option<Recipe> {
    let (tensorflow, name) = match name.strip_prefix("tf_") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let other = if tensorflow { Own } else { Tf };
    let known = |model: &&Model| model.0 == name && model.1 != other;
    let &(_, _, width, depth, recipe) = MODELS.iter().find(known)?;
    let recipe = Recipe {
        width,
        depth,
        ..recipe
    };
    Some(if tensorflow {
        Recipe {
            same: true,
            eps: TENSORFLOW_EPS,
            ..recipe
        }
    } else {
        recipe
    })
}

impl Recipe {
    /// So many channels, scaled.
    pub fn scaled(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width, self.divisor, self.limit)
    }

    /// Channels of the first convolution.
    pub fn stem_channels(&self) -> usize {
        if self.stem_fixed {
            self.stem
        } else {
            self.scaled(self.stem)
        }
    }

    /// Channels of the last convolution.
    pub fn head_channels(&self) -> usize {
        match self.wide {
            Wide::Fixed(channels) => channels,
            Wide::Scaled(channels) => self.scaled(channels),
            Wide::AtLeast(channels) => self.scaled(channels).max(channels),
        }
    }

    /// The rows of each stage, each as often as there are blocks of it.
    pub fn rows(&self) -> Vec<Vec<Row>> {
        let last = self.stages.len() - 1;
        let stage = |(i, rows): (usize, &&[Row])| {
            let depth = match self.late_depth {
                _ if self.ends_fixed && (i == 0 || i == last) => 1.0,
                Some(late) if i >= 4 => late,
                _ => self.depth,
            };
            let counts = self.counts(rows, depth);
            let rows = rows.iter().zip(counts);
            rows.flat_map(|(row, n)| std::iter::repeat_n(*row, n))
                .collect()
        };
        self.stages.iter().enumerate().map(stage).collect()
    }

    /// How many blocks of each row there are: the stage's number is scaled, then shared out from the end.
    fn counts(&self, rows: &[Row], depth: f64) -> Vec<usize> {
        let mut left = rows.iter().map(|row| row.repeats).sum::<usize>();
        let scaled = left as f64 * depth;
        let mut scaled = if self.depth_rounds {
            scaled.round_ties_even().max(1.0)
        } else {
            scaled.ceil()
        };
        let mut counts = Vec::new();
        for row in rows.iter().rev() {
            let share = row.repeats as f64 / left as f64 * scaled;
            let count = share.round_ties_even().max(1.0);
            counts.push(count as usize);
            left -= row.repeats;
            scaled -= count;
        }
        counts.reverse();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::timm::weights;

    #[test]
    fn every_name_has_a_recipe() {
        let names = names();
        assert!(names.iter().all(|name| recipe(name).is_some()));
        let found = |name: &str| names.iter().any(|known| known == name);
        assert!(found("tf_efficientnetv2_b3") && !found("efficientnetv2_b3"));
        // An older name has no row of its own.
        let older = |name: &str| weights::older().any(|known| known == name);
        assert!(found("tf_efficientnet_b8") && !found("tf_efficientnet_b8_ap"));
        assert!(older("tf_efficientnet_b8_ap") && !older("tf_efficientnet_b8_ns"));
        for unknown in ["efficientnet_b9", "tf_mnasnet_100", "resnet50", "tf_"] {
            assert!(recipe(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn depth_is_shared_out_from_the_end() {
        let counts = |name: &str| {
            let rows = recipe(name).unwrap().rows();
            rows.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(counts("efficientnet_b7"), [4, 7, 7, 10, 10, 13, 4]);
        assert_eq!(counts("efficientnet_lite4"), [1, 4, 4, 6, 6, 8, 1]);
        assert_eq!(counts("tinynet_e"), [1, 1, 1, 2, 2, 2, 1]);
        assert_eq!(counts("efficientnetv2_rw_m"), [3, 5, 5, 8, 15, 24]);
        let rows = recipe("mixnet_xxl").unwrap().rows();
        let kernels: Vec<_> = rows[2].iter().map(|row| row.mixed.len()).collect();
        assert_eq!(kernels, [4, 2, 2, 2, 2]);
    }
}
