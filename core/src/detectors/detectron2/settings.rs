//! The settings that models and runs are built from, with their types. What a struct here leaves out belongs to parts that are not built here, or
//! has no effect on what comes out.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::{Bounded, Diagnostics, Node};
use crate::limits::{ANCHORS, Channels, Layers, List};

/// Candidates or proposals of a picture.
pub type Count = Bounded<0, 1_000_000>;
/// Bins of a region, one way.
pub type Side = Bounded<1, 64>;
/// Samples of a bin, one way; 0 is as many as there are pixels.
pub type Ratio = Bounded<0, 64>;
/// One number for each anchor in a cell.
type PerAnchor = crate::config::Short<f64, ANCHORS>;

/// The settings at `path` of the whole config.
///
/// # Errors
/// A value is out of bounds or of another kind than it must be.
pub fn at<T: DeserializeOwned>(whole: &Node, path: &str) -> Result<T, Diagnostics> {
    let node = whole.at(path).expect("the defaults have all groups");
    let names: Vec<&str> = node
        .as_dict()
        .map(|d| d.names().collect())
        .unwrap_or_default();
    node.read_knowing(&names)
}

/// `MODEL`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Model {
    pub meta_architecture: String,
    pub mask_on: bool,
    pub keypoint_on: bool,
    pub load_proposals: bool,
    pub pixel_mean: List<f64>,
    pub pixel_std: List<f64>,
    pub weights: String,
}

/// `MODEL.BACKBONE`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Backbone {
    pub name: String,
    pub freeze_at: i64,
}

/// `MODEL.RESNETS`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct ResNets {
    pub depth: i64,
    pub out_features: List<String>,
    pub num_groups: Channels,
    pub norm: String,
    pub width_per_group: Channels,
    pub stride_in_1x1: bool,
    pub res5_dilation: Bounded<1, 2>,
    pub res2_out_channels: Channels,
    pub stem_out_channels: Channels,
    pub deform_on_per_stage: List<bool>,
    pub deform_modulated: bool,
    pub deform_num_groups: Channels,
}

/// `MODEL.FPN`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Fpn {
    pub in_features: List<String>,
    pub out_channels: Channels,
    pub norm: String,
    pub fuse_type: String,
}

/// `MODEL.ANCHOR_GENERATOR`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct AnchorGenerator {
    pub name: String,
    pub sizes: PerLevel,
    pub aspect_ratios: PerLevel,
    pub offset: f64,
}

/// Numbers of each level, or of one for all.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    Levels(List<PerAnchor>),
    All(PerAnchor),
}

/// `MODEL.PROPOSAL_GENERATOR`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct ProposalGenerator {
    pub name: String,
    pub min_size: f32,
}

/// `MODEL.RPN`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Rpn {
    pub head_name: String,
    pub in_features: List<String>,
    pub boundary_thresh: f32,
    pub iou_thresholds: List<f32>,
    pub iou_labels: List<i64>,
    pub batch_size_per_image: Count,
    pub positive_fraction: f64,
    pub bbox_reg_loss_type: String,
    pub bbox_reg_loss_weight: f64,
    pub bbox_reg_weights: [f32; 4],
    pub smooth_l1_beta: f64,
    pub loss_weight: f64,
    pub pre_nms_topk_train: Count,
    pub pre_nms_topk_test: Count,
    pub post_nms_topk_train: Count,
    pub post_nms_topk_test: Count,
    pub nms_thresh: f32,
    pub conv_dims: List<i64>,
}

/// `MODEL.ROI_HEADS`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct RoiHeads {
    pub name: String,
    pub num_classes: Channels,
    pub in_features: List<String>,
    pub iou_thresholds: List<f32>,
    pub iou_labels: List<i64>,
    pub batch_size_per_image: Count,
    pub positive_fraction: f64,
    pub score_thresh_test: f32,
    pub nms_thresh_test: f32,
    pub proposal_append_gt: bool,
}

/// `MODEL.ROI_BOX_HEAD`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct BoxHead {
    pub name: String,
    pub bbox_reg_loss_type: String,
    pub bbox_reg_loss_weight: f64,
    pub bbox_reg_weights: [f32; 4],
    pub smooth_l1_beta: f64,
    pub pooler_resolution: Side,
    pub pooler_sampling_ratio: Ratio,
    pub pooler_type: String,
    pub num_fc: Layers,
    pub fc_dim: Channels,
    pub num_conv: Layers,
    pub conv_dim: Channels,
    pub norm: String,
    pub cls_agnostic_bbox_reg: bool,
    pub train_on_pred_boxes: bool,
    pub use_fed_loss: bool,
    pub use_sigmoid_ce: bool,
}

/// `MODEL.ROI_BOX_CASCADE_HEAD`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Cascade {
    pub bbox_reg_weights: List<[f32; 4]>,
    pub ious: List<f32>,
}

/// `MODEL.ROI_MASK_HEAD`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct MaskHead {
    pub name: String,
    pub pooler_resolution: Side,
    pub pooler_sampling_ratio: Ratio,
    pub pooler_type: String,
    pub num_conv: Layers,
    pub conv_dim: Channels,
    pub norm: String,
    pub cls_agnostic_mask: bool,
}

/// `MODEL.RETINANET`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct RetinaNet {
    pub num_classes: Channels,
    pub in_features: List<String>,
    pub num_convs: Layers,
    pub iou_thresholds: List<f32>,
    pub iou_labels: List<i64>,
    pub prior_prob: f64,
    pub score_thresh_test: f32,
    pub topk_candidates_test: Count,
    pub nms_thresh_test: f32,
    pub bbox_reg_weights: [f32; 4],
    pub focal_loss_gamma: f64,
    pub focal_loss_alpha: f64,
    pub smooth_l1_loss_beta: f64,
    pub bbox_reg_loss_type: String,
    pub norm: String,
}

/// `INPUT`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Input {
    pub min_size_test: Bounded<0, 65_536>,
    pub max_size_test: Pixels16,
    pub format: String,
    /// 0 alone: pictures keep their size.
    pub min_size_train: List<Bounded<0, 65_536>>,
    pub min_size_train_sampling: String,
    pub max_size_train: Pixels16,
    pub random_flip: String,
    pub mask_format: String,
    pub crop: Crop,
}

/// `INPUT.CROP`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Crop {
    pub enabled: bool,
    pub r#type: String,
    /// Height and width, px or a share.
    pub size: [f64; 2],
}

/// `DATASETS`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct DataSets {
    pub train: List<String>,
    pub test: List<String>,
}

/// `DATALOADER`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct DataLoader {
    pub num_workers: Bounded<0, 1024>,
    pub aspect_ratio_grouping: bool,
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    pub sampler_train: String,
    pub filter_empty_annotations: bool,
}

/// `SOLVER`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Solver {
    pub lr_scheduler_name: String,
    pub max_iter: Bounded<1, 1_000_000_000>,
    pub base_lr: f64,
    pub base_lr_end: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub weight_decay_norm: f64,
    pub weight_decay_bias: Option<f64>,
    pub bias_lr_factor: f64,
    pub gamma: f64,
    pub steps: List<i64>,
    pub num_decays: i64,
    pub warmup_factor: f64,
    pub warmup_iters: i64,
    pub warmup_method: String,
    pub rescale_interval: bool,
    pub checkpoint_period: Bounded<1, 1_000_000_000>,
    pub ims_per_batch: Bounded<1, 4096>,
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    pub reference_world_size: i64,
    pub clip_gradients: ClipGradients,
    pub amp: Switch,
}

/// `SOLVER.CLIP_GRADIENTS`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct ClipGradients {
    pub enabled: bool,
    pub clip_type: String,
    pub clip_value: f64,
    pub norm_type: f64,
}

/// A group with a switch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Switch {
    pub enabled: bool,
}

/// Pixels of a side of a picture.
pub type Pixels16 = Bounded<1, 65_536>;

/// `TEST`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Test {
    pub detections_per_image: i64,
    pub eval_period: i64,
}
