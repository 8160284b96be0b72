//! [`variants`]: every backbone that can be named, by arch or depth, with all maps that it has: what lists show.

/// Arguments of one class: its name, the key that tells variants apart, its values as Python writes them, and arguments that ask for all maps.
type Class = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

const FOUR: &str = "out_indices=(0, 1, 2, 3)";
const RESNETS: &[&str] = &["18", "34", "50", "101", "152"];
const DEEP_RESNETS: &[&str] = &["50", "101", "152"];
const SIZES: &[&str] = &["'tiny'", "'small'", "'base'", "'large'"];
const VITS: &[&str] = &[
    "'small'",
    "'base'",
    "'large'",
    "'huge'",
    "'eva-giant'",
    "'deit-tiny'",
    "'deit-small'",
    "'deit-base'",
];
const REGNETS: &[&str] = &[
    "'regnetx_400mf'",
    "'regnetx_800mf'",
    "'regnetx_1.6gf'",
    "'regnetx_3.2gf'",
    "'regnetx_4.0gf'",
    "'regnetx_6.4gf'",
    "'regnetx_8.0gf'",
    "'regnetx_12gf'",
];
const HRNETS: &[&str] = &[
    "'w18'", "'w30'", "'w32'", "'w40'", "'w44'", "'w48'", "'w64'",
];
const METAFORMERS: &[&str] = &["'s12'", "'s24'", "'s36'", "'m36'", "'m48'"];
const FOUR_OF_SEVEN: &str = "out_indices=(0, 2, 4, 6)";
const FEATMAP: &str = "out_type='featmap'";

/// The table, of classes that are built here.
const CLASSES: &[Class] = &[
    (
        "mmdet.CSPDarknet",
        "widen_factor",
        &["0.375", "0.5", "0.75", "1.0", "1.25"],
        "out_indices=(1, 2, 3, 4)",
    ),
    (
        "mmdet.CSPNeXt",
        "widen_factor",
        &["0.375", "0.5", "0.75", "1.0", "1.25"],
        "out_indices=(1, 2, 3, 4)",
    ),
    (
        "mmdet.Darknet",
        "depth",
        &["53"],
        "out_indices=(2, 3, 4, 5)",
    ),
    (
        "mmdet.EfficientNet",
        "arch",
        &[
            "'b0'", "'b1'", "'b2'", "'b3'", "'b4'", "'b5'", "'b6'", "'b7'", "'b8'",
        ],
        "out_indices=(2, 3, 4, 5)",
    ),
    ("mmdet.HourglassNet", "num_stacks", &["1", "2"], ""),
    (
        "mmdet.MobileNetV2",
        "widen_factor",
        &["0.5", "0.75", "1.0"],
        "out_indices=(1, 2, 4, 7)",
    ),
    (
        "mmdet.PyramidVisionTransformer",
        "num_layers",
        &[
            "[2, 2, 2, 2]",
            "[3, 4, 6, 3]",
            "[3, 4, 18, 3]",
            "[3, 8, 27, 3]",
        ],
        "",
    ),
    (
        "mmdet.PyramidVisionTransformerV2",
        "embed_dims",
        &[
            "32, num_layers=[2, 2, 2, 2]",
            "64, num_layers=[2, 2, 2, 2]",
            "64, num_layers=[3, 4, 6, 3]",
            "64, num_layers=[3, 4, 18, 3]",
            "64, num_layers=[3, 8, 27, 3]",
            "64, num_layers=[3, 6, 40, 3], mlp_ratios=(4, 4, 4, 4)",
        ],
        "",
    ),
    ("mmdet.RegNet", "arch", REGNETS, FOUR),
    ("mmdet.Res2Net", "depth", DEEP_RESNETS, FOUR),
    ("mmdet.ResNeSt", "depth", &["50", "101", "152", "200"], FOUR),
    (
        "mmdet.ResNeXt",
        "depth",
        DEEP_RESNETS,
        "groups=32, base_width=4",
    ),
    ("mmdet.ResNet", "depth", RESNETS, FOUR),
    ("mmdet.ResNetV1d", "depth", RESNETS, FOUR),
    (
        "mmdet.SwinTransformer",
        "embed_dims",
        &[
            "96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)",
            "96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)",
            "128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)",
            "192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)",
        ],
        "",
    ),
    (
        "mmpretrain.BEiTViT",
        "arch",
        &[
            "'small'",
            "'base'",
            "'large'",
            "'eva-giant'",
            "'deit-tiny'",
            "'deit-small'",
            "'deit-base'",
        ],
        FEATMAP,
    ),
    (
        "mmpretrain.CSPDarkNet",
        "depth",
        &["53"],
        "out_indices=(1, 2, 3, 4)",
    ),
    ("mmpretrain.CSPResNeXt", "depth", &["50"], FOUR),
    ("mmpretrain.CSPResNet", "depth", &["50"], FOUR),
    (
        "mmpretrain.ConvMixer",
        "arch",
        &["'768/32'", "'1024/20'", "'1536/20'"],
        "",
    ),
    (
        "mmpretrain.ConvNeXt",
        "arch",
        &[
            "'atto'", "'femto'", "'pico'", "'nano'", "'tiny'", "'small'", "'base'", "'large'",
            "'xlarge'", "'huge'",
        ],
        "out_indices=(0, 1, 2, 3), gap_before_final_norm=False",
    ),
    (
        "mmpretrain.DaViT",
        "arch",
        &[
            "'tiny'", "'small'", "'base'", "'large'", "'huge'", "'giant'",
        ],
        FOUR,
    ),
    (
        "mmpretrain.DeiT3",
        "arch",
        &["'small'", "'medium'", "'base'", "'large'", "'huge'"],
        FEATMAP,
    ),
    (
        "mmpretrain.DenseNet",
        "arch",
        &["'121'", "'161'", "'169'", "'201'"],
        FOUR,
    ),
    (
        "mmpretrain.EdgeNeXt",
        "arch",
        &["'xxsmall'", "'xsmall'", "'small'", "'base'"],
        "out_indices=(0, 1, 2, 3), gap_before_final_norm=False",
    ),
    (
        "mmpretrain.EfficientFormer",
        "arch",
        &["'l1'", "'l3'", "'l7'"],
        "out_indices=(0, 1, 2, 3), reshape_last_feat=True",
    ),
    (
        "mmpretrain.EfficientNet",
        "arch",
        &[
            "'b0'", "'b1'", "'b2'", "'b3'", "'b4'", "'b5'", "'b6'", "'b7'", "'b8'", "'l2'", "'es'",
            "'em'", "'el'",
        ],
        "out_indices=(2, 3, 4, 5)",
    ),
    (
        "mmpretrain.EfficientNetV2",
        "arch",
        &["'b0'", "'b1'", "'b2'", "'b3'", "'s'", "'m'", "'l'", "'xl'"],
        "out_indices=(1, 2, 4, 6)",
    ),
    ("mmpretrain.HRNet", "arch", HRNETS, ""),
    (
        "mmpretrain.HorNet",
        "arch",
        &[
            "'tiny'",
            "'tiny-gf'",
            "'small'",
            "'small-gf'",
            "'base'",
            "'base-gf'",
            "'large'",
            "'large-gf'",
        ],
        "out_indices=(0, 1, 2, 3), gap_before_final_norm=False",
    ),
    (
        "mmpretrain.LeViT",
        "arch",
        &["'128s'", "'128'", "'192'", "'256'", "'384'"],
        "out_indices=(0, 1, 2)",
    ),
    (
        "mmpretrain.MViT",
        "arch",
        &["'tiny'", "'small'", "'base'", "'large'"],
        "out_scales=(0, 1, 2, 3)",
    ),
    (
        "mmpretrain.MobileNetV2",
        "widen_factor",
        &["0.35", "0.5", "0.75", "1.0"],
        "out_indices=(1, 2, 4, 7)",
    ),
    (
        "mmpretrain.MobileNetV3",
        "arch",
        &["'small'", "'small_075'", "'small_050'"],
        "out_indices=(0, 1, 3, 8, 11)",
    ),
    (
        "mmpretrain.MobileNetV3",
        "arch",
        &["'large'"],
        "out_indices=(1, 3, 6, 12, 15)",
    ),
    (
        "mmpretrain.MobileOne",
        "arch",
        &["'s0'", "'s1'", "'s2'", "'s3'", "'s4'"],
        FOUR,
    ),
    (
        "mmpretrain.MobileViT",
        "arch",
        &["'xx_small'", "'x_small'", "'small'"],
        "out_indices=(1, 2, 3, 4)",
    ),
    (
        "mmpretrain.PCPVT",
        "arch",
        &["'small'", "'base'", "'large'"],
        FOUR,
    ),
    ("mmpretrain.PoolFormer", "arch", METAFORMERS, FOUR_OF_SEVEN),
    (
        "mmpretrain.PyramidVig",
        "arch",
        &["'tiny'", "'small'", "'medium'", "'base'"],
        "",
    ),
    ("mmpretrain.RIFormer", "arch", METAFORMERS, FOUR_OF_SEVEN),
    ("mmpretrain.RegNet", "arch", REGNETS, FOUR),
    (
        "mmpretrain.RepLKNet",
        "arch",
        &["'31B'", "'31L'", "'XL'"],
        FOUR,
    ),
    (
        "mmpretrain.RepVGG",
        "arch",
        &[
            "'A0'",
            "'A1'",
            "'A2'",
            "'B0'",
            "'B1'",
            "'B1g2'",
            "'B1g4'",
            "'B2'",
            "'B2g2'",
            "'B2g4'",
            "'B3'",
            "'B3g2'",
            "'B3g4'",
            "'D2se'",
            "'yolox-pai-small'",
        ],
        FOUR,
    ),
    ("mmpretrain.Res2Net", "depth", DEEP_RESNETS, FOUR),
    (
        "mmpretrain.ResNeSt",
        "depth",
        &["50", "101", "152", "200", "269"],
        FOUR,
    ),
    ("mmpretrain.ResNeXt", "depth", DEEP_RESNETS, FOUR),
    ("mmpretrain.ResNet", "depth", RESNETS, FOUR),
    ("mmpretrain.ResNetV1c", "depth", RESNETS, FOUR),
    ("mmpretrain.ResNetV1d", "depth", RESNETS, FOUR),
    ("mmpretrain.SEResNeXt", "depth", DEEP_RESNETS, FOUR),
    ("mmpretrain.SEResNet", "depth", DEEP_RESNETS, FOUR),
    (
        "mmpretrain.SVT",
        "arch",
        &["'small'", "'base'", "'large'"],
        FOUR,
    ),
    (
        "mmpretrain.ShuffleNetV1",
        "groups",
        &["1", "2", "3", "4", "8"],
        "out_indices=(0, 1, 2)",
    ),
    (
        "mmpretrain.ShuffleNetV2",
        "widen_factor",
        &["0.5", "1.0", "1.5", "2.0"],
        "out_indices=(0, 1, 2)",
    ),
    (
        "mmpretrain.SwinTransformer",
        "arch",
        &["'tiny'", "'small'", "'base'", "'large'"],
        FOUR,
    ),
    (
        "mmpretrain.SwinTransformerV2",
        "arch",
        &[
            "'tiny'", "'small'", "'base'", "'large'", "'huge'", "'giant'",
        ],
        "img_size=256, window_size=8, out_indices=(0, 1, 2, 3)",
    ),
    (
        "mmpretrain.TinyViT",
        "arch",
        &["'5m'", "'11m'", "'21m'"],
        "img_size=224, window_size=[7, 7, 14, 7], out_indices=(0, 1, 2, 3), gap_before_final_norm=False",
    ),
    ("mmpretrain.VAN", "arch", SIZES, FOUR),
    (
        "mmpretrain.VGG",
        "depth",
        &["11", "13", "16", "19"],
        "out_indices=(1, 2, 3, 4)",
    ),
    ("mmpretrain.VisionTransformer", "arch", VITS, FEATMAP),
    (
        "mmpretrain.XCiT",
        "depth",
        &["12", "24"],
        "embed_dims=384, num_heads=8, out_type='featmap'",
    ),
];

/// All of them as a config may have them, for example `mmpretrain.ResNet(depth=50, out_indices=(0, 1, 2, 3))`.
pub fn variants() -> Vec<String> {
    let of_classes = CLASSES.iter().flat_map(|(class, key, values, others)| {
        let comma = if others.is_empty() { "" } else { ", " };
        let one = move |value: &&str| format!("{class}({key}={value}{comma}{others})");
        values.iter().map(one)
    });
    let of_timm = super::timm::names()
        .into_iter()
        .map(|name| format!("mmpretrain.TIMMBackbone(model_name='{name}', features_only=True)"));
    of_classes.chain(of_timm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mode;

    /// Names and shapes of each, and that it says what it gives. timm's by one in seven: there are a thousand.
    #[test]
    fn every_variant_is_built() {
        let mut failed = Vec::new();
        for (i, variant) in variants().into_iter().enumerate() {
            if variant.contains("TIMMBackbone") && i % 7 != 0 {
                continue;
            }
            let text = variant.replacen('(', "', ", 1);
            match crate::backbones::made(&format!("dict(type='{text}"), Mode::Plan) {
                Err(problem) => failed.push(format!("{variant}: {problem}")),
                Ok((backbone, state)) if backbone.features().is_empty() || state.is_empty() => {
                    failed.push(format!("{variant}: gives nothing"));
                }
                Ok(_) => {}
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}
