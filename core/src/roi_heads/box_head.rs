//! The box heads of second stages: features of regions to class logits and box numbers (Fast R-CNN, Girshick 2015, arXiv 1504.08083; by
//! fully connected layers as in FPN, Lin et al. 2017, arXiv 1612.03144) as MMDetection 3.3.0 builds them.
//!
//! Shapes: features `[R, C, 7, 7]`; logits `[R, classes + 1]`, background last; deltas `[R, 4 * classes]`, or `[R, 4]` where all classes share
//! theirs.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Int, Tensor, TensorData, activation};
use serde::Deserialize;

use super::double_head::{DoubleBranches, DoubleConfig};
use super::regions::{Regions, clipped};
use super::{Given, RegionMap, box_learning::BoxLearning};
use crate::batch::Pictures;
use crate::box_coders::{BoxCoder, BoxCoders, DeltaCoder, DeltaRows};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at, unsupported};
use crate::heads::{test_cfg, training};
use crate::layers::{
    Activation, ConvConfig, ConvNormAct, ConvStyle, Init, InitRule, Linear, NormedLinear, Params,
};
use crate::limits::{Channels, Layers};
use crate::losses::{self, ClassLoss, CrossEntropyLoss, Reduce};
use crate::ops::detections::{Candidates, Coder, Level, Scoring, Select};
use crate::registry::{Family, Row};

/// Channels of a fully connected layer.
const MOST_WIDTH: usize = 1 << 20;

/// The keys of `type='BBoxHead'`, and those of `ConvFCBBoxHead`.
#[derive(Debug, Deserialize)]
struct BoxHeadConfig {
    with_avg_pool: Option<bool>,
    with_cls: Option<bool>,
    with_reg: Option<bool>,
    roi_feat_size: Option<Size>,
    in_channels: Option<Channels>,
    num_classes: Option<Channels>,
    reg_class_agnostic: Option<bool>,
    reg_predictor_cfg: Option<PredictorConfig>,
    cls_predictor_cfg: Option<PredictorConfig>,
    // Of ConvFCBBoxHead and its kin.
    num_shared_convs: Option<Layers>,
    num_shared_fcs: Option<Layers>,
    num_cls_convs: Option<Layers>,
    num_cls_fcs: Option<Layers>,
    num_reg_convs: Option<Layers>,
    num_reg_fcs: Option<Layers>,
    conv_out_channels: Option<Channels>,
    fc_out_channels: Option<Channels>,
}

type Side = Bounded<1, 64>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    One(Side),
    Two([Side; 2]),
}

/// `cls_predictor_cfg`, `reg_predictor_cfg`.
#[derive(Debug, Deserialize)]
struct PredictorConfig {
    #[serde(rename = "type")]
    kind: String,
    tempearture: Option<f64>,
    power: Option<f64>,
    eps: Option<f64>,
    bias: Option<bool>,
}

/// Keys of all box heads that others read.
const OTHERS: &[&str] = &[
    "bbox_coder",
    "loss_cls",
    "loss_bbox",
    "reg_decoded_bbox",
    "predict_box_type",
    "conv_cfg",
    "norm_cfg",
    "init_cfg",
];

/// The kind `box head` of the registry.
#[derive(Debug)]
pub struct BoxHeads;

impl Family for BoxHeads {
    const KIND: &'static str = "box head";
    type Build = fn(&Node, &Given, &Build) -> Result<BoxHead, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<BoxHeads>; 5] = [
    Row::<BoxHeads>::new("mmdet", "BBoxHead", |node, given, build| {
        BoxHead::read(node, given, build, Some(Depths::default()))
    }),
    Row::<BoxHeads>::new("mmdet", "ConvFCBBoxHead", |node, given, build| {
        BoxHead::read(node, given, build, None)
    }),
    Row::<BoxHeads>::new("mmdet", "DoubleConvFCBBoxHead", BoxHead::read_double),
    Row::<BoxHeads>::new("mmdet", "Shared2FCBBoxHead", |node, given, build| {
        let depths = Depths {
            shared: [0, 2],
            ..Depths::default()
        };
        BoxHead::read(node, given, build, Some(depths))
    }),
    Row::<BoxHeads>::new("mmdet", "Shared4Conv1FCBBoxHead", |node, given, build| {
        let depths = Depths {
            shared: [4, 1],
            ..Depths::default()
        };
        BoxHead::read(node, given, build, Some(depths))
    }),
];

/// Convolutions and fully connected layers of each branch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Depths {
    shared: [usize; 2],
    of_classes: [usize; 2],
    of_boxes: [usize; 2],
}

/// What a box head gives.
#[derive(Clone, Debug)]
pub struct BoxOutputs {
    /// `[R, classes + 1]`, background last.
    pub logits: Tensor<2>,
    /// `[R, 4 * classes]` or `[R, 4]`; None from a head without boxes.
    pub deltas: Option<Tensor<2>>,
}

impl BoxOutputs {
    /// The same numbers, of which nothing is remembered.
    pub(super) fn without_autodiff(self) -> Self {
        Self {
            logits: self.logits.without_autodiff(),
            deltas: self.deltas.map(Tensor::without_autodiff),
        }
    }
}

/// A box head.
#[derive(Debug)]
pub struct BoxHead {
    trunk: Trunk,
    takes: RegionMap,
    fc_cls: Predictor,
    fc_reg: Option<Predictor>,
    loss_cls: Box<dyn ClassLoss>,
    pub(super) coder: DeltaCoder,
    pub(super) classes: usize,
    /// All classes share their box.
    pub(super) agnostic: bool,
    select: Select,
    pub(super) learning: Option<BoxLearning>,
}

/// What comes before the last layers.
#[derive(Debug)]
enum Trunk {
    Branches(Box<Branches>),
    Double(Box<DoubleBranches>),
}

/// Those of [`BoxHead`]s that see one map of each region.
#[derive(Debug)]
struct Branches {
    shared: Branch,
    of_classes: Branch,
    of_boxes: Branch,
    /// Side of the average pooling before what is not a convolution, if there is any.
    pool: Option<[usize; 2]>,
}

/// Convolutions, then fully connected layers.
#[derive(Debug)]
struct Branch {
    convs: Vec<ConvNormAct>,
    fcs: Vec<Linear>,
}

/// The last layer.
#[derive(Debug)]
enum Predictor {
    Linear(Linear),
    Normed(NormedLinear),
}

impl Predictor {
    fn read(
        node: &Node,
        key: &str,
        config: Option<&PredictorConfig>,
        [inputs, outputs]: [usize; 2],
        at: &Params,
    ) -> Result<Self, Diagnostics> {
        let kind = config.map_or("Linear", |config| config.kind.as_str());
        match (kind.rsplit('.').next().unwrap_or_default(), config) {
            ("NormedLinear", Some(config)) => {
                let bias = config.bias != Some(false);
                let mut normed = NormedLinear::new(inputs, outputs, bias, at);
                normed.temperature = config.tempearture.unwrap_or(normed.temperature);
                normed.power = config.power.unwrap_or(normed.power);
                normed.eps = config.eps.unwrap_or(normed.eps);
                Ok(Self::Normed(normed))
            }
            ("Linear", _) => {
                let bias = config.is_none_or(|config| config.bias != Some(false));
                Ok(Self::Linear(Linear::new(inputs, outputs, bias, at)))
            }
            (other, _) => {
                let message = format!("unknown predictor `{other}`");
                Err(error_at(
                    node,
                    key,
                    message,
                    "known are Linear, NormedLinear",
                ))
            }
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(linear) => linear.forward(x),
            Self::Normed(normed) => normed.forward(x),
        }
    }
}

impl BoxHead {
    /// `depths` are those of a class that has its own, else the config's.
    fn read(
        node: &Node,
        given: &Given,
        build: &Build,
        depths: Option<Depths>,
    ) -> Result<Self, Diagnostics> {
        let config: BoxHeadConfig = node.read_knowing(OTHERS)?;
        let depths = config.depths(node, depths)?;
        let width = config.conv_out_channels.map_or(256, Channels::get);
        let relu = ConvStyle {
            act: Some(Activation::Relu),
            ..ConvStyle::default()
        };
        let style = ConvStyle::read(node, relu, &[width])?;
        let walk = Walk {
            config: &config,
            style: &style,
            width,
            pooled: config.with_avg_pool.unwrap_or(false),
            depths,
        };
        let in_channels = config.in_channels();
        let (widths, branches) = (
            walk.widths(in_channels),
            ["shared_fcs", "cls_fcs", "reg_fcs"],
        );
        let around = Around {
            node,
            given,
            build,
            config: &config,
        };
        around.head(widths, &branches, true, || {
            let [shared, of_classes, of_boxes] = walk.branches(in_channels, &build.params);
            Trunk::Branches(Box::new(Branches {
                shared,
                of_classes,
                of_boxes,
                pool: walk.pooled.then(|| config.size()),
            }))
        })
    }

    /// Of Double-Head R-CNN.
    fn read_double(node: &Node, given: &Given, build: &Build) -> Result<Self, Diagnostics> {
        let double = DoubleConfig::read(node)?;
        let config: BoxHeadConfig = node.read_knowing(&double.others(OTHERS))?;
        if config.with_reg == Some(false) {
            let message = "a double head without boxes is not supported";
            return Err(unsupported(node, "with_reg", message, ""));
        }
        let (in_channels, size) = (config.in_channels(), config.size());
        let widths = double.widths();
        let around = Around {
            node,
            given,
            build,
            config: &config,
        };
        around.head(widths, &["fc_branch"], false, || {
            Trunk::Double(Box::new(double.init(in_channels, size, &build.params)))
        })
    }

    /// Whether it takes such maps of regions, two of each if `double`.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(
        &self,
        node: &Node,
        map: RegionMap,
        double: bool,
    ) -> Result<(), Diagnostics> {
        if double != matches!(self.trunk, Trunk::Double(_)) {
            let message = match double {
                true => "`DoubleHeadRoIHead` needs a box head that sees two maps of each region",
                false => "this box head sees two maps of each region",
            };
            let help = "`DoubleHeadRoIHead` and `DoubleConvFCBBoxHead` go together";
            return Err(error_at(node, "type", message, help));
        }
        let RegionMap { channels, size } = map;
        if self.takes.channels != channels {
            let message = format!(
                "the box head has `in_channels` {}, but regions have {channels} channels",
                self.takes.channels
            );
            let help = format!("write in_channels={channels}");
            return Err(error_at(node, "in_channels", message, &help));
        }
        let [height, width] = self.takes.size;
        let pooled = match &self.trunk {
            Trunk::Branches(branches) => branches.pool.is_some(),
            Trunk::Double(_) => false,
        };
        let fits = match pooled {
            true => size[0] / height == 1 && size[1] / width == 1,
            false => size == [height, width],
        };
        if fits {
            return Ok(());
        }
        let message = format!(
            "the box head has `roi_feat_size` {height} x {width}, but regions are seen as {} x {}",
            size[0], size[1]
        );
        Err(error_at(
            node,
            "roi_feat_size",
            message,
            "they must be equal",
        ))
    }

    /// # Shapes
    /// - input `[R, C, H, W]`
    pub fn forward(&self, x: Tensor<4>) -> BoxOutputs {
        self.forward_two(x.clone(), x)
    }

    /// With a map of each region for its classes, and one for its box, of which the second counts only in a double head.
    ///
    /// # Shapes
    /// - inputs `[R, C, H, W]`
    pub fn forward_two(&self, for_classes: Tensor<4>, for_boxes: Tensor<4>) -> BoxOutputs {
        let [of_classes, of_boxes] = match &self.trunk {
            Trunk::Branches(branches) => branches.forward(for_classes),
            Trunk::Double(branches) => branches.forward(for_classes, for_boxes),
        };
        BoxOutputs {
            logits: self.fc_cls.forward(of_classes),
            deltas: self.fc_reg.as_ref().map(|fc| fc.forward(of_boxes)),
        }
    }

    /// How it learns.
    ///
    /// # Panics
    /// If the model was not built for training.
    pub(super) fn learning(&self) -> &BoxLearning {
        self.learning.as_ref().expect(super::FOR_TRAINING)
    }

    /// What each row loses by its class, `[R]`.
    ///
    /// # Panics
    /// If its sampler does not ask for that.
    pub(super) fn losses_of_rows(&self, logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let logits = logits.without_autodiff();
        let labels = labels_on(labels, &logits.device());
        let loss = self.loss_cls.by_row();
        loss.expect("checked where the sampler is read")
            .each(logits, labels)
    }

    /// Whether it moves boxes.
    pub(super) fn has_boxes(&self) -> bool {
        self.fc_reg.is_some()
    }

    /// Its loss of classes.
    pub(super) fn loss_cls(&self) -> &dyn ClassLoss {
        self.loss_cls.as_ref()
    }

    /// Probabilities of classes, background left out.
    ///
    /// # Shapes
    /// - `[R, classes]` from `[R, channels]`
    fn scores(&self, logits: Tensor<2>) -> Tensor<2> {
        let scores = match self.loss_cls.scores(logits.clone()) {
            Some(scores) => scores,
            None => activation::softmax(logits, 1),
        };
        scores.narrow(1, 0, self.classes)
    }

    /// The class that each region is most likely of, `[R]`, by what the next stage of a cascade asks.
    pub(super) fn likely(&self, logits: Tensor<2>) -> Tensor<1, Int> {
        let logits = match self.loss_cls.scores(logits.clone()) {
            Some(scores) => scores,
            None => logits,
        };
        let of_classes = logits.narrow(1, 0, self.classes);
        of_classes.argmax(1).squeeze_dim(1)
    }

    /// The boxes that deltas make of regions, of every class: `[R, 4 * each]`, not clipped; the regions where there are no deltas.
    ///
    /// # Shapes
    /// - boxes `[R, 4]`
    fn decoded(&self, boxes: Tensor<2>, deltas: &Option<Tensor<2>>) -> (Tensor<2>, usize) {
        let Some(deltas) = deltas else {
            return (boxes, 1);
        };
        let [rows, numbers] = deltas.dims();
        let each = numbers / 4;
        let anchors = boxes.unsqueeze_dim::<3>(1).expand([rows, each, 4]);
        let anchors = anchors.reshape([rows * each, 4]);
        let deltas = deltas.clone().reshape([rows * each, 4]);
        let decoded = self.coder.decode_rows(anchors, deltas);
        (decoded.reshape([rows, each * 4]), each)
    }

    /// The regions as the next stage of a cascade takes them: those that the deltas of their `labels`, `[R]`, make of them.
    pub(super) fn refined(
        &self,
        boxes: Tensor<2>,
        labels: Tensor<1, Int>,
        deltas: Tensor<2>,
    ) -> Tensor<2> {
        let [rows, numbers] = deltas.dims();
        let each = numbers / 4;
        let deltas = deltas.reshape([rows * each, 4]);
        let deltas = match each {
            1 => deltas,
            _ => {
                let firsts = Tensor::<1, Int>::arange(0..rows as i64, &boxes.device());
                deltas.select(0, firsts * each as i64 + labels)
            }
        };
        self.coder.decode_rows(boxes, deltas)
    }

    /// What there is to choose from: every class of every region.
    pub(super) fn candidates(
        &self,
        regions: &Regions,
        outputs: BoxOutputs,
        pictures: &Pictures,
    ) -> Candidates {
        let [count, most, _] = regions.boxes.dims();
        let boxes = regions.boxes.clone().reshape([count * most, 4]);
        let (boxes, each) = self.decoded(boxes, &outputs.deltas);
        let clip = self.coder.clip_border || outputs.deltas.is_none();
        let mut boxes = boxes.reshape([count, most * each, 4]);
        if clip {
            boxes = clipped(boxes, pictures, self.coder.extra());
        }
        let boxes = boxes.reshape([count, most, each * 4]);
        let there = regions.there.clone().unsqueeze_dim::<3>(2);
        let scores = self.scores(outputs.logits);
        let scores = scores.reshape([count, most, self.classes]);
        // What is no region must not pass whatever the threshold is.
        let scores = scores * there.clone() - (there.neg() + 1.0) * 1e9;
        let as_map = |x: Tensor<3>| x.swap_dims(1, 2).unsqueeze_dim::<4>(2);
        let level = Level {
            scores: as_map(scores),
            activation: Scoring::None,
            factor: None,
            boxes: as_map(boxes),
            coder: Coder::Xyxy { clip: false, each },
        };
        Candidates {
            levels: vec![level],
            select: self.select.clone(),
        }
    }

    /// The same with boxes that are cut where the coder's are.
    pub(super) fn clips(&self, regions: Regions, pictures: &Pictures) -> Regions {
        match self.coder.clip_border {
            true => Regions {
                boxes: clipped(regions.boxes, pictures, self.coder.extra()),
                ..regions
            },
            false => regions,
        }
    }
}

/// What all box heads are read with.
struct Around<'a> {
    node: &'a Node,
    given: &'a Given<'a>,
    build: &'a Build<'a>,
    config: &'a BoxHeadConfig,
}

impl Around<'_> {
    /// The head of a trunk that gives so many numbers for classes, and for boxes. `fcs` are the places of its fully connected layers;
    /// `chosen` says whether a config chooses the last layers.
    fn head(
        &self,
        [last_cls, last_reg]: [usize; 2],
        fcs: &[&str],
        chosen: bool,
        trunk: impl FnOnce() -> Trunk,
    ) -> Result<BoxHead, Diagnostics> {
        let Self {
            node,
            given,
            build,
            config,
        } = *self;
        if config.with_cls == Some(false) {
            let message = "a second stage without classes is not supported";
            return Err(unsupported(node, "with_cls", message, ""));
        }
        let coder = coder(node, build)?;
        let classes = config.num_classes.map_or(80, Channels::get);
        let agnostic = config.reg_class_agnostic.unwrap_or(false);
        let params = &build.params;
        build.initial(node, |at| {
            let normal = |std| InitRule::all(Init::normal(std), 0.0);
            at.at("fc_cls").initialise(normal(0.01));
            at.at("fc_reg").initialise(normal(0.001));
            for branch in fcs {
                let xavier = InitRule::all(Init::XAVIER_UNIFORM, 0.0);
                at.at(branch).initialise(xavier);
            }
        });
        let default = CrossEntropyLoss::of_softmax(Reduce::default());
        let loss_cls = losses::class_loss(node, "loss_cls", build, default)?;
        let learning = training(build, || BoxLearning::read(node, given, build))?;
        let asks = |learning: &BoxLearning| learning.sampling.asks_losses();
        if learning.as_ref().is_some_and(asks) && loss_cls.by_row().is_none() {
            let message = "the sampler chooses by the loss of each region, which only a CrossEntropyLoss of softmax has";
            let help = "write loss_cls=dict(type='CrossEntropyLoss'), or another sampler";
            return Err(error_at(node, "loss_cls", message, help));
        }
        if last_cls.max(last_reg) > MOST_WIDTH {
            let message = "more channels than a fully connected layer takes";
            return Err(error_at(node, "in_channels", message, ""));
        }
        // The original's base class makes the last layers; those that follow replace them in their place.
        let channels = loss_cls.channels().unwrap_or(classes + 1);
        if !chosen && channels != classes + 1 {
            let message = "this head's last layer has no place for what `loss_cls` needs";
            return Err(error_at(node, "loss_cls", message, ""));
        }
        let key = "cls_predictor_cfg";
        let predictor = config.cls_predictor_cfg.as_ref().filter(|_| chosen);
        let shape = [last_cls, channels];
        let fc_cls = Predictor::read(node, key, predictor, shape, &params.at("fc_cls"))?;
        let fc_reg = match config.with_reg {
            Some(false) => None,
            _ => {
                let key = "reg_predictor_cfg";
                let predictor = config.reg_predictor_cfg.as_ref().filter(|_| chosen);
                let shape = [last_reg, if agnostic { 4 } else { 4 * classes }];
                let at = params.at("fc_reg");
                Some(Predictor::read(node, key, predictor, shape, &at)?)
            }
        };
        let takes = RegionMap {
            channels: config.in_channels(),
            size: config.size(),
        };
        Ok(BoxHead {
            trunk: trunk(),
            takes,
            fc_cls,
            fc_reg,
            loss_cls,
            coder,
            classes,
            agnostic,
            select: test_cfg::read_second_stage(given.test_cfg, classes)?,
            learning,
        })
    }
}

impl Branches {
    /// What the last layers see.
    fn forward(&self, x: Tensor<4>) -> [Tensor<2>; 2] {
        let pooled = |x: Tensor<4>| match self.pool {
            Some(side) => avg_pool2d(x, AvgPoolOptions::new(side).with_stride(side)),
            None => x,
        };
        let rows = |x: Tensor<4>| -> Tensor<2> { pooled(x).flatten(1, 3) };
        let fcs = |x: Tensor<2>, branch: &Branch| {
            let layer = |x, fc: &Linear| Activation::Relu.forward(fc.forward(x));
            branch.fcs.iter().fold(x, layer)
        };
        let convs = |x: Tensor<4>, branch: &Branch| {
            let convs = branch.convs.iter();
            convs.fold(x, |x, conv| conv.forward(x))
        };
        let x = convs(x, &self.shared);
        let branches = [&self.of_classes, &self.of_boxes];
        if self.shared.fcs.is_empty() {
            branches.map(|branch| fcs(rows(convs(x.clone(), branch)), branch))
        } else {
            let x = fcs(rows(x), &self.shared);
            branches.map(|branch| fcs(x.clone(), branch))
        }
    }
}

fn coder(node: &Node, build: &Build) -> Result<DeltaCoder, Diagnostics> {
    let coder = match super::present(node, "bbox_coder") {
        Some(node) => build.find::<BoxCoders>(node)?(node)?,
        None => BoxCoder::Delta(DeltaCoder {
            stds: [0.1, 0.1, 0.2, 0.2],
            ..DeltaCoder::default()
        }),
    };
    match coder {
        BoxCoder::Delta(coder) => Ok(coder),
        other => {
            let message = format!("regions need a coder of deltas, `{}` is none", other.name());
            let help = "write bbox_coder=dict(type='DeltaXYWHBBoxCoder', ...)";
            Err(error_at(node, "bbox_coder", message, help))
        }
    }
}

impl BoxHeadConfig {
    fn in_channels(&self) -> usize {
        self.in_channels.map_or(256, Channels::get)
    }

    fn size(&self) -> [usize; 2] {
        match &self.roi_feat_size {
            None => [7; 2],
            Some(Size::One(side)) => [side.get(); 2],
            Some(Size::Two(sides)) => [sides[0].get(), sides[1].get()],
        }
    }

    fn depths(&self, node: &Node, own: Option<Depths>) -> Result<Depths, Diagnostics> {
        let given = [
            ("num_shared_convs", &self.num_shared_convs),
            ("num_shared_fcs", &self.num_shared_fcs),
            ("num_cls_convs", &self.num_cls_convs),
            ("num_cls_fcs", &self.num_cls_fcs),
            ("num_reg_convs", &self.num_reg_convs),
            ("num_reg_fcs", &self.num_reg_fcs),
        ];
        if let Some(depths) = own {
            if let Some((key, _)) = given.iter().find(|(_, depth)| depth.is_some()) {
                let message =
                    format!("this head has its own number of layers: `{key}` is not known");
                return Err(error_at(node, key, message, "`ConvFCBBoxHead` has it"));
            }
            return Ok(depths);
        }
        let [a, b, c, d, e, f] = given.map(|(_, depth)| depth.as_ref().map_or(0, |d| d.get()));
        let depths = Depths {
            shared: [a, b],
            of_classes: [c, d],
            of_boxes: [e, f],
        };
        if depths == Depths::default() {
            let message = "`ConvFCBBoxHead` needs a layer";
            let help = "for example num_shared_fcs=2; `BBoxHead` has none";
            return Err(error_at(node, "num_shared_fcs", message, help));
        }
        if (c > 0 || e > 0) && b > 0 {
            let message =
                "convolutions cannot follow the fully connected layers that branches share";
            return Err(error_at(
                node,
                "num_shared_fcs",
                message,
                "write num_shared_fcs=0",
            ));
        }
        Ok(depths)
    }
}

/// What the branches are made of.
struct Walk<'a> {
    config: &'a BoxHeadConfig,
    style: &'a ConvStyle,
    /// Channels of convolutions.
    width: usize,
    pooled: bool,
    depths: Depths,
}

impl Walk<'_> {
    /// Places that a fully connected layer sees of a region's map.
    fn area(&self) -> usize {
        let [height, width] = self.config.size();
        if self.pooled { 1 } else { height * width }
    }

    fn fc_width(&self) -> usize {
        self.config.fc_out_channels.map_or(1024, Channels::get)
    }

    /// Channels after a branch, and whether they are still those of a map.
    fn after(&self, [convs, fcs]: [usize; 2], channels: usize, map: bool) -> (usize, bool) {
        let channels = if convs > 0 { self.width } else { channels };
        if fcs > 0 {
            return (self.fc_width(), false);
        }
        (channels, map)
    }

    /// What the last layers of the two branches see.
    fn widths(&self, channels: usize) -> [usize; 2] {
        let (channels, map) = self.after(self.depths.shared, channels, true);
        [self.depths.of_classes, self.depths.of_boxes].map(|depths| {
            let (channels, map) = self.after(depths, channels, map);
            channels * if map { self.area() } else { 1 }
        })
    }

    fn branches(&self, channels: usize, params: &Params) -> [Branch; 3] {
        let (after, map) = self.after(self.depths.shared, channels, true);
        let names = ["shared", "cls", "reg"];
        let parts = [
            (self.depths.shared, channels, true),
            (self.depths.of_classes, after, map),
            (self.depths.of_boxes, after, map),
        ];
        std::array::from_fn(|i| {
            let (depths, channels, map) = parts[i];
            self.branch(depths, channels, map, names[i], params)
        })
    }

    fn branch(
        &self,
        [convs, fcs]: [usize; 2],
        mut channels: usize,
        map: bool,
        name: &str,
        params: &Params,
    ) -> Branch {
        let at = params.at(format!("{name}_convs"));
        let convs = (0..convs).map(|i| {
            let conv = ConvConfig::new(channels, self.width, 3).pad(1);
            channels = self.width;
            self.style.module(conv, &at.at(i))
        });
        let convs = convs.collect();
        let at = params.at(format!("{name}_fcs"));
        let mut inputs = channels * if map { self.area() } else { 1 };
        let fcs = (0..fcs).map(|i| {
            let fc = Linear::new(inputs, self.fc_width(), true, &at.at(i));
            inputs = self.fc_width();
            fc
        });
        Branch {
            convs,
            fcs: fcs.collect(),
        }
    }
}

/// Rows of labels on a device.
pub(super) fn labels_on(labels: &[usize], device: &burn::tensor::Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = labels.iter().map(|label| *label as i32).collect();
    let count = labels.len();
    Tensor::from_data(TensorData::new(labels, [count]), device)
}
