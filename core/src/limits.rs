//! How much a config may ask for: bounds of the numbers that decide the size of a model, and of the model as a whole.
//!
//! Each number has its bound in its type, so that a part's config cannot be read without. They keep the walk over the layers short; what the
//! layers come to together is counted on a plan of the model, before a value is made ([`check`]).

use burn::tensor::Tensor;

use crate::config::{Bounded, Diagnostics, Kind, Node, Short, error_at};
use crate::layers::StateEntry;
use crate::ops::DetectError;

/// Channels, classes, groups. The largest vocabulary of a detector, V3Det's, has 13,204 classes.
pub type Channels = Bounded<1, 65_536>;
/// Layers or blocks one after another.
pub type Layers = Bounded<0, 128>;
/// Levels of a pyramid: each is half the one before, so the 16th has one cell of any picture.
pub type Levels = Bounded<1, 16>;
/// Kernels, strides, dilations, and what a size is a multiple of, px.
pub type Pixels = Bounded<1, 1024>;
/// Indices of stages or levels.
pub type Index = Bounded<0, 1024>;
/// One entry for each stage, level or branch.
pub type List<T> = Short<T, 32>;

/// Anchors in a cell.
pub(crate) const ANCHORS: usize = 256;

/// Numbers in all tensors of a model: 16 GiB of f32.
const NUMBERS: u64 = 1 << 32;
/// Numbers that no checkpoint holds, so that nothing but a few letters of a config asks for them: 512 MiB of f32.
const WITHOUT_CHECKPOINT: u64 = 1 << 27;

/// Numbers that a head gives for one picture: 2 GiB of f32, twice what 1,203 classes of nine anchors come to at 1344 x 800 px.
const OUTPUTS: usize = 1 << 29;

/// Pixels of a picture that goes through a model, in which each takes some hundred bytes.
const PIXELS: usize = 1 << 25;

/// Whether a picture of a batch is small enough for a model.
///
/// # Errors
/// It is not.
pub(crate) fn check_picture([height, width]: [usize; 2]) -> Result<(), String> {
    match height.checked_mul(width) {
        Some(pixels) if pixels <= PIXELS => Ok(()),
        _ => Err(format!(
            "a picture of {width} x {height} px would go through the model, at most {PIXELS} pixels are possible: \
             `Resize` of the pipeline says how large, and `batch_augments` in training"
        )),
    }
}

/// Whether a head of `each` numbers for a place of a map has room for those of these maps.
///
/// # Errors
/// It has not.
pub(crate) fn check_outputs(maps: &[Tensor<4>], each: usize) -> Result<(), DetectError> {
    let places = maps.iter().map(|map| map.dims()[2] * map.dims()[3]);
    let places = places.sum::<usize>();
    match places.checked_mul(each) {
        Some(all) if all <= OUTPUTS => Ok(()),
        _ => Err(DetectError::TooLarge(format!(
            "{each} numbers for each of {places} places of a picture, at most {OUTPUTS} in all; \
             fewer classes or anchors, or a smaller picture, are possible"
        ))),
    }
}

/// Numbers in these tensors.
fn numbers(state: &[StateEntry]) -> u64 {
    let of = |entry: &StateEntry| {
        let sizes = entry.shape.iter().map(|n| *n as u64);
        sizes.fold(1, u64::saturating_mul)
    };
    state.iter().map(of).fold(0, u64::saturating_add)
}

/// Whether the tensors of the planned `model` are few enough to be made.
///
/// # Errors
/// They are not: names the largest.
pub(crate) fn check(model: &Node, state: &[StateEntry]) -> Result<(), Diagnostics> {
    within(model, state, NUMBERS, "", "")
}

/// As [`check`], where `held` numbers come from a checkpoint and the others are made up.
pub(crate) fn check_beside(
    model: &Node,
    state: &[StateEntry],
    held: u64,
) -> Result<(), Diagnostics> {
    let limit = WITHOUT_CHECKPOINT.saturating_add(held);
    within(
        model,
        state,
        limit,
        " without a checkpoint of its size",
        "give its checkpoint",
    )
}

fn within(
    model: &Node,
    state: &[StateEntry],
    limit: u64,
    when: &str,
    help: &str,
) -> Result<(), Diagnostics> {
    let all = numbers(state);
    if all <= limit {
        return Ok(());
    }
    let largest = state
        .iter()
        .max_by_key(|entry| numbers(std::slice::from_ref(entry)));
    let largest = largest.map(|e| format!("; the largest tensor is `{}` of {:?}", e.key, e.shape));
    let message = format!(
        "this model has {all} weights, more than the {limit} that are built{when}{}",
        largest.unwrap_or_default()
    );
    let mut problems = error_at(model, "", message, help);
    problems.iter_mut().for_each(|p| p.kind = Kind::Limit);
    Err(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MapLoader, Value};
    use crate::data::Picture;
    use crate::{Predictor, model};

    /// Detectors with every number that a part of them reads.
    const MODELS: [&str; 6] = [
        "dict(type='RetinaNet', data_preprocessor=dict(type='DetDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=32, pad_value=0.5),
            backbone=dict(type='ResNet', depth=18, in_channels=3, stem_channels=4, base_channels=4, num_stages=4, strides=[1, 2, 2, 2], dilations=[1, 1, 1, 1],
                out_indices=[0, 1, 2, 3], frozen_stages=1, norm_cfg=dict(type='BN', eps=1e-5, momentum=0.1)),
            neck=dict(type='FPN', in_channels=[4, 8, 16, 32], out_channels=8, num_outs=5, start_level=1, end_level=-1, add_extra_convs='on_input'),
            bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8,
                anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=2, ratios=[0.5, 1.0], strides=[8, 16, 32, 64, 128], center_offset=0.0),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[.0, .0, .0, .0], target_stds=[1.0, 1.0, 1.0, 1.0], ctr_clamp=32),
                loss_cls=dict(type='GHMC', bins=30, momentum=0.75)),
            test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.05, max_per_img=10, nms=dict(type='nms', iou_threshold=0.5, max_num=10, split_thr=10000, offset=0)))",
        "dict(type='FCOS',
            backbone=dict(type='ResNeXt', depth=50, base_channels=4, groups=2, base_width=4, out_indices=[1, 2], norm_cfg=dict(type='GN', num_groups=2)),
            neck=dict(type='FPN', in_channels=[32, 64], out_channels=8, num_outs=2, upsample_cfg=dict(scale_factor=2.0)),
            bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8, strides=[8, 16], norm_cfg=dict(type='GN', num_groups=2),
                cls_predictor_cfg=dict(type='NormedConv2d', tempearture=20, power=1.0, eps=1e-6)),
            test_cfg=dict(nms_pre=50, score_thr=0.05, max_per_img=10, nms=dict(type='soft_nms', iou_threshold=0.5, sigma=0.5, min_score=0.001)))",
        "dict(type='YOLOX', data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
            backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.0625, out_indices=[2, 3, 4], spp_kernal_sizes=[5, 9], frozen_stages=0),
            neck=dict(type='YOLOXPAFPN', in_channels=[16, 32, 64], out_channels=8, num_csp_blocks=1, upsample_cfg=dict(scale_factor=2.0, mode='nearest')),
            bbox_head=dict(type='YOLOXHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1, strides=[8, 16, 32]),
            test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)))",
        "dict(type='RPN',
            backbone=dict(type='mmpretrain.MobileNetV3', arch='small_050', out_indices=[3, 8], frozen_stages=1),
            neck=dict(type='FPN', in_channels=[16, 24], out_channels=8, num_outs=3),
            rpn_head=dict(type='RPNHead', num_classes=1, in_channels=8, feat_channels=8, num_convs=2,
                anchor_generator=dict(type='AnchorGenerator', scales=[8.0], base_sizes=[4.0, 8.0, 16.0], ratios=[0.5, 1.0, 2.0], strides=[[8, 8], [16, 16], [32, 32]])),
            test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=10, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.7))))",
        "dict(type='SingleStageDetector',
            backbone=dict(type='CSPDarknet', deepen_factor=1.0, widen_factor=1.0, arch_ovewrite=[(4, 8, 1, True, False), (8, 8, 1, False, True)], out_indices=[1, 2]),
            neck=dict(type='FPN', in_channels=[8, 8], out_channels=8, num_outs=2),
            bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8, strides=[4, 8], norm_cfg=None),
            test_cfg=dict(nms_pre=50, score_thr=0.05, max_per_img=10, nms=dict(type='nms', iou_threshold=0.5)))",
        "dict(type='Detectron2Wrapper', detector=dict(mask_on=True, pixel_mean=[1.0, 2.0, 3.0], pixel_std=[4.0, 5.0, 6.0], backbone=dict(freeze_at=2),
            resnets=dict(depth=50, out_features=['res3'], num_groups=1, width_per_group=2, res2_out_channels=4, stem_out_channels=4, res5_dilation=1, deform_num_groups=1, deform_on_per_stage=[False, True, False, False]),
            anchor_generator=dict(sizes=[[32]], aspect_ratios=[[0.5, 1.0]], offset=0.5), proposal_generator=dict(min_size=0),
            rpn=dict(in_features=['res3'], iou_thresholds=[0.3, 0.7], iou_labels=[0, -1, 1], batch_size_per_image=8, positive_fraction=0.5, bbox_reg_weights=[1.0, 1.0, 1.0, 1.0], smooth_l1_beta=0.0,
                boundary_thresh=-1, pre_nms_topk_test=20, post_nms_topk_test=10, nms_thresh=0.7, conv_dims=[-1]),
            roi_heads=dict(name='CascadeROIHeads', num_classes=2, in_features=['res3'], iou_thresholds=[0.5], batch_size_per_image=8, positive_fraction=0.25, score_thresh_test=0.05, nms_thresh_test=0.5),
            roi_box_cascade_head=dict(ious=[0.5, 0.6, 0.7]),
            roi_box_head=dict(name='FastRCNNConvFCHead', num_fc=1, fc_dim=8, num_conv=1, conv_dim=4, pooler_resolution=3, pooler_sampling_ratio=2, cls_agnostic_bbox_reg=True),
            roi_mask_head=dict(conv_dim=4, num_conv=1, pooler_resolution=4, pooler_sampling_ratio=0)))",
    ];
    const PIPELINE: &str = "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64)), dict(type='PackDetInputs')]";

    fn config(model: &str) -> Config {
        let text = format!("model = {model}\n{PIPELINE}\n");
        Config::parse(&text, "a.py", &MapLoader::default()).unwrap()
    }

    /// Checks a config, and runs its detector if that is a small one. Whether it ran.
    fn tried(config: &Config) -> bool {
        let registry = crate::registry();
        let small = match model::state(config, &registry) {
            Ok(state) => numbers(&state) < 1 << 20,
            Err(problems) => {
                assert!(
                    problems.iter().all(|p| !p.labels.is_empty()),
                    "{problems:?}"
                );
                false
            }
        };
        small
            && Predictor::builder(config).build().is_ok_and(|predictor| {
                let picture = Picture::new(64, 64, 3, vec![7; 64 * 64 * 3]).unwrap();
                pollster::block_on(predictor.detect(&[picture])).is_ok()
            })
    }

    #[test]
    fn no_number_of_a_model_breaks_it() {
        let (mut ran, mut broken) = (0, Vec::new());
        for text in MODELS {
            let config = config(text);
            assert!(tried(&config), "{text}");
            for (path, node) in config.origins() {
                let items = node.as_items().map(<[_]>::len);
                let paths = match items {
                    Some(n) => (0..n).map(|i| format!("{path}.{i}")).collect(),
                    None => vec![path.clone()],
                };
                for at in paths.iter().filter(|at| at.starts_with("model.")) {
                    let number = config.at(at).map(|n| &n.value);
                    if !matches!(number, Some(Value::Int(_) | Value::Float(_))) {
                        continue;
                    }
                    for value in [
                        "0",
                        "-1",
                        "2",
                        "65536",
                        "1000000000",
                        "1000000000000000000",
                        "1e30",
                        "-1e300",
                        "nan",
                    ] {
                        let mut hostile = config.clone();
                        hostile.merge_options(&[format!("{at}={value}")]).unwrap();
                        match std::panic::catch_unwind(|| tried(&hostile)) {
                            Ok(did) => ran += usize::from(did),
                            Err(_) => broken.push(format!("{at}={value}")),
                        }
                    }
                }
                if items.is_some() {
                    let mut hostile = config.clone();
                    let many = format!("{path}=[{}]", "1,".repeat(100_000));
                    hostile.merge_options(&[many]).unwrap();
                    tried(&hostile);
                }
            }
        }
        assert!(broken.is_empty(), "{broken:?}");
        assert!(ran > 100, "most small numbers are possible: {ran}");
    }

    #[test]
    fn a_model_that_no_device_holds_is_not_made() {
        let text = MODELS[0].replace(
            "stacked_convs=1, feat_channels=8",
            "stacked_convs=2, feat_channels=60000",
        );
        let config = config(&text);
        let problems = model::state(&config, &crate::registry()).unwrap_err();
        let text = problems[0].to_string();
        assert!(
            text.contains("`bbox_head.") && text.contains("--> a.py:1:9"),
            "{text}"
        );
        let text = MODELS[0].replace(
            "stacked_convs=1, feat_channels=8",
            "stacked_convs=2, feat_channels=5000",
        );
        let config = self::config(&text);
        assert!(model::state(&config, &crate::registry()).is_ok());
        let text = Predictor::builder(&config).build().unwrap_err().to_string();
        assert!(text.contains("without a checkpoint of its size"), "{text}");
    }
}
