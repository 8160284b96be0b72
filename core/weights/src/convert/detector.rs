//! The config that goes with a converted Faster R-CNN, Mask R-CNN or RetinaNet with an FPN: one file that needs no other.
//!
//! The settings are those in which Detectron2 and torchvision differ from MMDetection's base configs, or that the state dict tells.

use std::fmt::Write;

use super::ConvertError;
use crate::Checkpoint;

/// A detector as MMDetection would describe it.
pub(super) struct Detector {
    /// Which software it is of, for the first line.
    pub origin: &'static str,
    pub backbone: Backbone,
    pub input: Input,
    pub classes: usize,
    pub head: Head,
    pub max_per_img: usize,
}

/// How pictures are made into numbers. Always from BGR, as MMDetection reads them.
pub(super) struct Input {
    pub mean: [f64; 3],
    pub std: [f64; 3],
    pub bgr_to_rgb: bool,
}

/// A ResNet or ResNeXt.
pub(super) struct Backbone {
    pub depth: u32,
    /// Groups and their width; (1, 64) for a ResNet.
    pub groups: (usize, usize),
    /// Strides in the first convolution of a block instead of the second.
    pub caffe: bool,
    pub eps: f64,
}

/// What follows the FPN.
pub(super) enum Head {
    Retina {
        stacked_convs: usize,
        /// From the last map of the backbone, not of the neck.
        extra_on_input: bool,
    },
    Roi(Roi),
}

/// The second stage.
pub(super) struct Roi {
    pub convs: usize,
    pub fcs: usize,
    pub fc_width: usize,
    pub class_agnostic: bool,
    /// Convolutions of the mask head, and whether all classes share a mask.
    pub mask: Option<(usize, bool)>,
    pub sampling_ratio: u32,
    pub aligned: bool,
    /// Sides of anchors are whole even numbers, as torchvision rounds them.
    pub even_anchors: bool,
}

/// Anchors of 32 to 512 pixels.
const ANCHORS: &str =
    "type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]";

/// Those of torchvision, which rounds half their sides. MMDetection's generator of 1.x does so with sides less one: each of its sizes, and the ratio, is
/// in the middle of the short interval from which all sides become torchvision's: for 0.5, 1 and 2 there is no such size of the second level.
const EVEN_ANCHORS: &str =
    "type='LegacyAnchorGenerator', scales=[1.0], ratios=[0.50134, 1.0, 1.9946543],
            base_sizes=[33.2, 65.05, 129.4, 257.4, 513.3], strides=[4, 8, 16, 32, 64]";

impl Backbone {
    /// From the weights of its blocks: `key` gives the name of a weight by stage, block and layer, such as (1, 0, "conv2").
    pub fn find(
        checkpoint: &Checkpoint,
        wanted: &'static str,
        key: impl Fn(usize, usize, &str) -> String,
    ) -> Result<Self, ConvertError> {
        const MAX_BLOCKS: usize = 64;
        let has = |stage, block, layer| checkpoint.get(&key(stage, block, layer)).is_some();
        let count = |stage| {
            (0..MAX_BLOCKS)
                .take_while(|&b| has(stage, b, "conv1"))
                .count()
        };
        let blocks = [1, 2, 3, 4].map(count);
        let depth = match (blocks, has(1, 0, "conv3")) {
            ([2, 2, 2, 2], false) => 18,
            ([3, 4, 6, 3], false) => 34,
            ([3, 4, 6, 3], true) => 50,
            ([3, 4, 23, 3], true) => 101,
            ([3, 8, 36, 3], true) => 152,
            _ => {
                return Err(ConvertError::NotThis {
                    wanted,
                    found: format!("{blocks:?} blocks in the stages of its backbone"),
                    help: "the backbone can be a ResNet or ResNeXt of 18, 34, 50, 101 or 152 layers",
                });
            }
        };
        let second = checkpoint.get(&key(1, 0, "conv2"));
        let groups = match second.map(|conv| conv.shape()) {
            Some(&[out, input, ..]) if input > 0 && input < out && out % input == 0 => {
                (out / input, input)
            }
            _ => (1, 64),
        };
        Ok(Self {
            depth,
            groups,
            caffe: false,
            eps: 1e-5,
        })
    }
}

impl Detector {
    /// The config, as Python.
    pub fn config(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let kind = match &self.head {
            Head::Retina { .. } => "RetinaNet",
            Head::Roi(Roi { mask: None, .. }) => "FasterRCNN",
            Head::Roi(_) => "MaskRCNN",
        };
        writeln!(
            out,
            "# {kind} of {}, for weights that `smalti convert` made.",
            self.origin
        )?;
        writeln!(out, "model = dict(")?;
        writeln!(out, "    type='{kind}',")?;
        self.write_input(out)?;
        self.write_backbone(out)?;
        self.write_neck(out)?;
        match &self.head {
            Head::Retina { stacked_convs, .. } => self.write_retina(out, *stacked_convs)?,
            Head::Roi(roi) => self.write_two_stage(out, roi)?,
        }
        self.write_pipeline(out)
    }

    fn write_input(&self, out: &mut String) -> std::fmt::Result {
        let masks = matches!(&self.head, Head::Roi(Roi { mask: Some(_), .. }));
        writeln!(out, "    data_preprocessor=dict(")?;
        writeln!(out, "        type='DetDataPreprocessor',")?;
        writeln!(out, "        mean={:?},", self.input.mean)?;
        writeln!(out, "        std={:?},", self.input.std)?;
        writeln!(out, "        bgr_to_rgb={},", python(self.input.bgr_to_rgb))?;
        writeln!(
            out,
            "        pad_mask={},\n        pad_size_divisor=32),",
            python(masks)
        )
    }

    fn write_backbone(&self, out: &mut String) -> std::fmt::Result {
        let Backbone {
            depth,
            groups: (groups, width),
            caffe,
            eps,
        } = self.backbone;
        let kind = if groups > 1 { "ResNeXt" } else { "ResNet" };
        writeln!(
            out,
            "    backbone=dict(\n        type='{kind}',\n        depth={depth},"
        )?;
        if groups > 1 {
            writeln!(out, "        groups={groups},\n        base_width={width},")?;
        }
        let style = if caffe { "caffe" } else { "pytorch" };
        writeln!(
            out,
            "        num_stages=4,\n        out_indices=(0, 1, 2, 3),\n        frozen_stages=1,"
        )?;
        let eps = match eps {
            1e-5 => String::new(),
            eps => format!(", eps={eps:?}"),
        };
        writeln!(
            out,
            "        norm_cfg=dict(type='BN', requires_grad=False{eps}),"
        )?;
        writeln!(out, "        norm_eval=True,\n        style='{style}'),")
    }

    fn write_neck(&self, out: &mut String) -> std::fmt::Result {
        let channels = match self.backbone.depth {
            18 | 34 => [64, 128, 256, 512],
            _ => [256, 512, 1024, 2048],
        };
        writeln!(out, "    neck=dict(\n        type='FPN',")?;
        writeln!(
            out,
            "        in_channels={channels:?},\n        out_channels=256,"
        )?;
        if let Head::Retina { extra_on_input, .. } = self.head {
            let source = if extra_on_input {
                "on_input"
            } else {
                "on_output"
            };
            writeln!(
                out,
                "        start_level=1,\n        add_extra_convs='{source}',"
            )?;
            writeln!(out, "        relu_before_extra_convs=True,")?;
        }
        writeln!(out, "        num_outs=5),")
    }

    fn write_retina(&self, out: &mut String, stacked_convs: usize) -> std::fmt::Result {
        let (classes, max) = (self.classes, self.max_per_img);
        writeln!(
            out,
            "    bbox_head=dict(
        type='RetinaHead',
        num_classes={classes},
        in_channels=256,
        stacked_convs={stacked_convs},
        feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds=[1., 1., 1., 1.]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img={max}))"
        )
    }

    fn write_two_stage(&self, out: &mut String, roi: &Roi) -> std::fmt::Result {
        let (classes, max) = (self.classes, self.max_per_img);
        let extractor = |size: u32| {
            format!(
                "dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size={size}, sampling_ratio={}, aligned={}),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32])",
                roi.sampling_ratio,
                python(roi.aligned)
            )
        };
        write!(
            out,
            "    rpn_head=dict(
        type='RPNHead',
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            {}),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds=[1., 1., 1., 1.]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor={},
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs={},
            num_shared_fcs={},
            in_channels=256,
            conv_out_channels=256,
            fc_out_channels={},
            roi_feat_size=7,
            num_classes={classes},
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic={},
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0))",
            if roi.even_anchors {
                EVEN_ANCHORS
            } else {
                ANCHORS
            },
            extractor(7),
            roi.convs,
            roi.fcs,
            roi.fc_width,
            python(roi.class_agnostic)
        )?;
        if let Some((convs, agnostic)) = roi.mask {
            write!(
                out,
                ",
        mask_roi_extractor={},
        mask_head=dict(
            type='FCNMaskHead',
            num_convs={convs},
            in_channels=256,
            conv_out_channels=256,
            num_classes={classes},
            class_agnostic={},
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))",
                extractor(14),
                python(agnostic)
            )?;
        }
        let mask_size = match roi.mask {
            Some(_) => "\n            mask_size=28,",
            None => "",
        };
        let threshold = match roi.mask {
            Some(_) => ", mask_thr_binary=0.5",
            None => "",
        };
        writeln!(
            out,
            "),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True,
                ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality={},
                ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),{mask_size}
            pos_weight=-1,
            debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img={max}{threshold})))",
            python(roi.mask.is_some())
        )
    }

    fn write_pipeline(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]"
        )
    }
}

/// `True` or `False`.
fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
