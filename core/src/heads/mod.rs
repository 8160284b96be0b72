//! Dense heads: maps in; raw outputs; from them candidates. To add one, write a file and a row in [`ROWS`].
//!
//! `forward` gives what the original's head returns, before any sigmoid, so that candidates and losses are two ways from the same outputs.

mod anchor_losses;
mod anchored;
mod class_scores;
mod fcos;
mod fcos_losses;
mod outputs;
mod retina;
mod rpn;
pub(crate) mod test_cfg;
mod tower;
mod yolox;
mod yolox_losses;

pub use fcos::FcosHead;
pub use outputs::Outputs;
pub use retina::RetinaHead;
pub use rpn::RpnHead;
pub use yolox::YoloxHead;

use burn::tensor::Tensor;

use crate::backbones::Features;
use crate::batch::Pictures;
use crate::build::Build;
use crate::config::{Diagnostics, Kind, Node, error_at, number_wanted, unsupported};
use crate::initializers::bias_with_prob;
use crate::layers::{Activation, ConvStyle, Init, InitRule, Mode, NormConfig};
use crate::losses::Losses;
use crate::ops::Candidates;
use crate::registry::{Family, Row};
use crate::targets::Targets;

/// What a detector tells its head.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The maps that come in.
    pub features: Features<'a>,
    /// The part of the detector's `test_cfg` that is the head's.
    pub test_cfg: &'a Node,
    /// The part of the detector's `train_cfg` that is the head's, if there is one.
    pub train_cfg: Option<&'a Node>,
    /// How the proposals are chosen that a second stage learns from; None where that is as in `test_cfg`.
    pub proposal_cfg: Option<&'a Node>,
}

impl<'a> Given<'a> {
    /// The `train_cfg` of the head `node`.
    ///
    /// # Errors
    /// There is none.
    pub fn train_cfg(&self, node: &Node) -> Result<&'a Node, Diagnostics> {
        self.train_cfg.ok_or_else(|| {
            let message = "this detector has no `train_cfg` for its head, so it cannot be trained";
            let help = "for example train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4), allowed_border=-1, pos_weight=-1)";
            // only for training: such a model can run
            unsupported(node, "train_cfg", message, help)
        })
    }
}

/// Reads a pyramid and predicts classes and boxes for every place of every level.
pub trait DenseHead: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - maps: one `[N, C, H, W]` for each level
    fn forward(&self, maps: &[Tensor<4>]) -> Outputs;

    /// What post-processing has to choose from. No device is waited for.
    fn candidates(&self, outputs: &Outputs, pictures: &Pictures) -> Candidates;

    /// The same for proposals that a second stage learns from.
    fn proposals(&self, outputs: &Outputs, pictures: &Pictures) -> Candidates {
        self.candidates(outputs, pictures)
    }

    /// What is to be learned from `outputs`. All is queued on the device when this returns, nothing is read back.
    ///
    /// # Panics
    /// If the model was not built for training.
    fn losses(&self, outputs: &Outputs, pictures: &Pictures, targets: &Targets) -> Losses;

    /// Switches a loss on or off that a schedule may want in its last epochs (`use_l1` of YOLOX). Whether there is one of that name.
    fn switch_loss(&self, _name: &str, _on: bool) -> bool {
        false
    }

    /// Classes, background not counted.
    fn classes(&self) -> usize;

    /// How many classes the objects that it learns from may be of; None where it does not look at them.
    fn labels(&self) -> Option<usize> {
        Some(self.classes())
    }

    /// Numbers that [`DenseHead::forward`] gives for one place of a map.
    fn outputs_each(&self) -> usize;
}

/// The kind `head` of the registry.
#[derive(Debug)]
pub struct Heads;

impl Family for Heads {
    const KIND: &'static str = "head";
    type Build = fn(&Node, Given, &Build) -> Result<Box<dyn DenseHead>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Heads>; 4] = [
    Row::<Heads>::new("mmdet", "FCOSHead", fcos::build),
    Row::<Heads>::new("mmdet", "RPNHead", rpn::build),
    Row::<Heads>::new("mmdet", "RetinaHead", retina::build),
    Row::<Heads>::new("mmdet", "YOLOXHead", yolox::build),
];

/// Keys of all heads that others read, or that belong to training.
const OTHERS: &[&str] = &["init_cfg", "loss_bbox", "loss_cls", "test_cfg", "train_cfg"];
/// Those of heads of anchors.
const OF_ANCHORS: &[&str] = &["anchor_generator", "bbox_coder", "reg_decoded_bbox"];
/// Those that [`ConvStyle`] reads.
const OF_STYLE: &[&str] = &["conv_cfg", "norm_cfg"];

/// The share of foreground that classifiers begin with.
const FOREGROUND: f64 = 0.01;

/// Convolutions followed by `norm` and a ReLU, unless a head's config says otherwise.
fn relu_style(norm: Option<NormConfig>) -> ConvStyle {
    ConvStyle {
        norm,
        act: Some(Activation::Relu),
        ..ConvStyle::default()
    }
}

/// The original's initial values of a head: its convolutions' all alike, but for the bias of the classifier.
fn initial(node: &Node, build: &Build, classifier: Option<&str>) {
    build.initial(node, |at| {
        at.initialise(InitRule::of(&["Conv2d"], Init::normal(0.01)));
        if let Some(name) = classifier {
            let prior = InitRule::all(Init::normal(0.01), bias_with_prob(FOREGROUND));
            at.at(name).initialise(prior);
        }
    });
}

/// What a head learns by, read by `read`. None where it is not for training and something of it is not built here yet: it can run.
pub(crate) fn training<T>(
    build: &Build,
    read: impl FnOnce() -> Result<T, Diagnostics>,
) -> Result<Option<T>, Diagnostics> {
    if build.params.mode() == Mode::Train {
        return read().map(Some);
    }
    match read() {
        Ok(training) => Ok(Some(training)),
        Err(problems) if problems.iter().all(|p| p.kind == Kind::Unsupported) => Ok(None),
        Err(problems) => Err(problems),
    }
}

/// Why [`training`] gave something.
const FOR_TRAINING: &str = "the model was built for training";

/// `key` of `node`, unless it is absent or None.
fn present<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|n| !n.is_none())
}

/// Whether there is one of `strides` for each map.
fn check_strides(node: &Node, strides: &[usize], features: &Features) -> Result<(), Diagnostics> {
    let levels = features.list.len();
    if strides.len() == levels && !strides.contains(&0) {
        return Ok(());
    }
    let name = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let message = format!("`{name}` has strides {strides:?} for {levels} feature levels");
    let of_maps: Vec<_> = features.list.iter().map(|f| f.stride).collect();
    let help = format!("the levels have strides {of_maps:?}");
    Err(error_at(node, "strides", message, &help))
}

/// Whether maps of `in_channels` channels come in.
fn check_channels(node: &Node, in_channels: usize, features: &Features) -> Result<(), Diagnostics> {
    let Some(other) = features.list.iter().find(|f| f.channels != in_channels) else {
        return Ok(());
    };
    let name = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let message = format!(
        "`{name}` has `in_channels` {in_channels} but gets maps of {} channels",
        other.channels
    );
    Err(number_wanted(node, "in_channels", message, other.channels))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, MapLoader};

    /// Names and shapes of the head's tensors, or the errors.
    fn head(detector: &str) -> Result<Vec<(String, Vec<usize>)>, String> {
        let text = format!("model = {detector}\n");
        let config = Config::parse(&text, "head.py", &MapLoader::default()).unwrap();
        let state = crate::model::state(&config, &crate::registry());
        let state = state.map_err(|problems| config.errors(problems).to_string())?;
        let of_head = state
            .into_iter()
            .filter_map(|e| Some((e.key.strip_prefix("bbox_head.")?.to_string(), e.shape)));
        Ok(of_head.collect())
    }

    fn detector(kind: &str, key: &str, head: &str, test_cfg: &str) -> String {
        format!(
            "dict(type='{kind}', backbone=dict(type='ResNet', depth=18), \
             neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=32, num_outs=5), \
             {key}=dict({head}), test_cfg=dict({test_cfg}))"
        )
    }

    const NMS: &str = "nms=dict(type='nms', iou_threshold=0.5)";

    fn fcos(options: &str) -> Result<Vec<(String, Vec<usize>)>, String> {
        let head = format!(
            "type='FCOSHead', num_classes=3, in_channels=32, feat_channels=32, stacked_convs=1, {options}"
        );
        head_of("FCOS", "bbox_head", &head, &format!("max_per_img=9, {NMS}"))
    }

    fn head_of(
        kind: &str,
        key: &str,
        text: &str,
        test_cfg: &str,
    ) -> Result<Vec<(String, Vec<usize>)>, String> {
        head(&detector(kind, key, text, test_cfg))
    }

    fn rpn(options: &str, test_cfg: &str) -> Result<Vec<(String, Vec<usize>)>, String> {
        let head = format!("type='RPNHead', in_channels=32, feat_channels=16, {options}");
        head_of("RPN", "rpn_head", &head, test_cfg)
    }

    fn yolox(options: &str, test_cfg: &str) -> Result<Vec<(String, Vec<usize>)>, String> {
        let head = format!(
            "type='YOLOXHead', num_classes=3, in_channels=32, feat_channels=8, strides=[4, 8, 16, 32, 64], {options}"
        );
        head_of("YOLOX", "bbox_head", &head, test_cfg)
    }

    fn row(name: &str, shape: &[usize]) -> (String, Vec<usize>) {
        (name.to_string(), shape.to_vec())
    }

    #[test]
    fn names_follow_the_options() {
        let plain = fcos("").unwrap();
        assert_eq!(plain[1], row("cls_convs.0.gn.weight", &[32]));
        assert_eq!(plain[6], row("conv_cls.weight", &[3, 32, 3, 3]));
        assert_eq!(plain.last(), Some(&row("scales.4.scale", &[])));
        // Without a norm a convolution has a bias, with one it has not, unless it is said.
        let bare = fcos("norm_cfg=None").unwrap();
        assert_eq!(bare[1], row("cls_convs.0.conv.bias", &[32]));
        let both = fcos("conv_bias=True, norm_cfg=dict(type='BN')").unwrap();
        assert_eq!(both[1], row("cls_convs.0.conv.bias", &[32]));
        assert_eq!(both[2], row("cls_convs.0.bn.weight", &[32]));
        let normed = fcos("cls_predictor_cfg=dict(type='NormedConv2d', tempearture=10)").unwrap();
        assert_eq!(normed[6], row("conv_cls.weight", &[3, 32, 1, 1]));
        let unbiased = fcos("cls_predictor_cfg=dict(type='NormedLinear', bias=False)").unwrap();
        assert_eq!(unbiased.len(), normed.len() - 1);
        let softmax = fcos("loss_cls=dict(type='CrossEntropyLoss')").unwrap();
        assert_eq!(softmax[6], row("conv_cls.weight", &[4, 32, 3, 3]));
        // What a loss keeps comes first, and once.
        let ghm = fcos("loss_cls=dict(type='GHMC', bins=30, momentum=0.75, use_sigmoid=True)");
        let ghm = ghm.unwrap();
        assert_eq!(ghm[0], row("loss_cls.edges", &[31]));
        assert_eq!(ghm[1], row("loss_cls.acc_sum", &[30]));
        assert_eq!(ghm[2..], plain[..]);

        let test_cfg = format!("rpn=dict(nms_pre=9, max_per_img=9, {NMS})");
        let one = rpn("", &test_cfg).unwrap();
        assert_eq!(one[0], row("rpn_conv.weight", &[16, 32, 3, 3]));
        assert_eq!(one[2], row("rpn_cls.weight", &[9, 16, 1, 1]));
        let two = rpn("num_convs=2", &test_cfg).unwrap();
        assert_eq!(two[2], row("rpn_conv.1.conv.weight", &[16, 16, 3, 3]));

        let test_cfg = format!("score_thr=0.01, {NMS}");
        let levels = yolox("stacked_convs=1", &test_cfg).unwrap();
        assert_eq!(levels[0].0, "multi_level_cls_convs.0.0.conv.weight");
        assert_eq!(
            levels.last(),
            Some(&row("multi_level_conv_obj.4.bias", &[1]))
        );
    }

    #[test]
    fn what_does_not_fit_is_said_where_it_is() {
        let rpn_cfg = format!("rpn=dict(max_per_img=9, {NMS})");
        for (found, words) in [
            (
                fcos("strides=[8, 16]"),
                "strides [8, 16] for 5 feature levels",
            ),
            (
                fcos("dcn_on_last_conv=True"),
                "deformable convolution is not supported yet",
            ),
            (
                fcos("bbox_coder=dict(type='DeltaXYWHBBoxCoder')"),
                "a coder of distances",
            ),
            (
                fcos("bbox_coder=dict(type='DistancePointBBoxCodr')"),
                "did you mean",
            ),
            (
                fcos("norm_cfg=dict(type='GN', num_groups=7)"),
                "does not divide 32",
            ),
            (
                fcos("centre_sampling=True"),
                "did you mean `center_sampling`?",
            ),
            (rpn("num_classes=2", &rpn_cfg), "`num_classes` must be 1"),
            (
                rpn("", &format!("max_per_img=9, {NMS}")),
                "`test_cfg` has no `rpn`",
            ),
            (
                rpn("bbox_coder=dict(type='DistancePointBBoxCoder')", &rpn_cfg),
                "a coder of deltas",
            ),
            (
                rpn("norm_cfg=dict(type='BN')", &rpn_cfg),
                "the key `norm_cfg` is not known",
            ),
            (yolox("", NMS), "`score_thr` is missing"),
            (
                yolox(
                    "act_cfg=dict(type='Swishh')",
                    &format!("score_thr=0.1, {NMS}"),
                ),
                "known are",
            ),
        ] {
            let text = found.expect_err(words);
            assert!(
                text.contains(words) && text.contains("--> head.py"),
                "{text}"
            );
        }
    }
}
