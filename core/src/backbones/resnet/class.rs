//! [`Class`]: which of the registered classes is built, and what it has that others have not.

/// Whose class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backbones) enum Library {
    MMDetection,
    MMPretrain,
}

/// By what name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)] // the names that they are registered by
pub(in crate::backbones) enum Variant {
    ResNet,
    ResNetV1c,
    ResNetV1d,
    ResNeXt,
    SEResNet,
    SEResNeXt,
    RegNet,
    Res2Net,
    ResNeSt,
    TridentResNet,
    DetectoRS_ResNet,
    DetectoRS_ResNeXt,
}

use Variant::{DetectoRS_ResNeXt, DetectoRS_ResNet, TridentResNet};
use Variant::{RegNet, Res2Net, ResNeSt, ResNeXt, ResNetV1c, ResNetV1d, SEResNeXt, SEResNet};

/// One of the registered classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backbones) struct Class {
    pub library: Library,
    pub variant: Variant,
}

impl Class {
    /// Those of MMDetection.
    const MMDET: &[Variant] = &[
        Variant::ResNet,
        ResNetV1d,
        ResNeXt,
        RegNet,
        Res2Net,
        ResNeSt,
        TridentResNet,
        DetectoRS_ResNet,
        DetectoRS_ResNeXt,
    ];
    /// Those of MMPretrain.
    const MMPRETRAIN: &[Variant] = &[
        Variant::ResNet,
        ResNetV1c,
        ResNetV1d,
        ResNeXt,
        SEResNet,
        SEResNeXt,
        RegNet,
        Res2Net,
        ResNeSt,
    ];

    pub fn is_detectors(self) -> bool {
        matches!(self.variant, DetectoRS_ResNet | DetectoRS_ResNeXt)
    }

    pub fn of_mmdet(self) -> bool {
        self.library == Library::MMDetection
    }

    /// Whether it has a key that not all of them have.
    pub fn has(self, key: &str) -> bool {
        let grouped = matches!(
            self.variant,
            ResNeXt | SEResNeXt | ResNeSt | DetectoRS_ResNeXt
        );
        match key {
            "depth" | "num_stages" => self.variant != RegNet,
            "arch" => self.variant == RegNet,
            "expansion" | "drop_path_rate" => !self.of_mmdet() && self.variant != RegNet,
            "dcn" | "stage_with_dcn" | "plugins" | "pretrained" => self.of_mmdet(),
            "deep_stem" | "avg_down" => !matches!(self.variant, ResNetV1c | ResNetV1d | ResNeSt),
            "groups" => grouped,
            "base_width" => self.variant == Res2Net || grouped && self.of_mmdet(),
            "width_per_group" => grouped && !self.of_mmdet(),
            "se_ratio" => matches!(self.variant, SEResNet | SEResNeXt),
            "scales" => self.variant == Res2Net,
            "sac" | "stage_with_sac" | "rfp_inplanes" | "output_img" => self.is_detectors(),
            "num_branch" | "test_branch_idx" | "trident_dilations" => self.variant == TridentResNet,
            "radix" | "reduction_factor" | "avg_down_stride" => self.variant == ResNeSt,
            _ => true,
        }
    }

    /// Names of the classes that have `key`.
    pub fn with(key: &str) -> String {
        let of = |library, variants: &[Variant], prefix: &str| {
            let has = |variant: &&Variant| {
                let variant = **variant;
                Self { library, variant }.has(key)
            };
            let name = |variant: &Variant| format!("`{prefix}{variant:?}`");
            variants.iter().filter(has).map(name).collect::<Vec<_>>()
        };
        let mut names = of(Library::MMDetection, Self::MMDET, "");
        names.extend(of(Library::MMPretrain, Self::MMPRETRAIN, "mmpretrain."));
        names.join(", ")
    }

    /// Depths, and how many blocks each stage has.
    pub fn depths(self) -> &'static [(i64, [usize; 4])] {
        let count = match self.variant {
            Variant::ResNet | ResNetV1c | ResNetV1d => return &DEPTHS[..5],
            ResNeSt if self.of_mmdet() => 4,
            ResNeSt => 5,
            _ => 3,
        };
        &DEPTHS[2..][..count]
    }

    /// What `deep_stem` and `avg_down` are, whatever the config says.
    pub fn fixed_stem(self) -> Option<[bool; 2]> {
        match self.variant {
            ResNetV1c => Some([true, false]),
            ResNetV1d | ResNeSt => Some([true, true]),
            Res2Net if self.of_mmdet() => Some([true, true]),
            _ => None,
        }
    }

    /// Whether a shortcut has its pooling layer where nothing is pooled, too.
    pub fn pools_always(self) -> bool {
        self.of_mmdet() && !self.is_detectors() || self.variant == Res2Net
    }

    pub fn strides(self) -> [usize; 4] {
        match self.variant {
            RegNet => [2; 4],
            _ => [1, 2, 2, 2],
        }
    }
}

pub(in crate::backbones) const DEPTHS: [(i64, [usize; 4]); 7] = [
    (18, [2, 2, 2, 2]),
    (34, [3, 4, 6, 3]),
    (50, [3, 4, 6, 3]),
    (101, [3, 4, 23, 3]),
    (152, [3, 8, 36, 3]),
    (200, [3, 24, 36, 3]),
    (269, [3, 30, 48, 8]),
];
