//! A backbone of your own, registered and used from a config, without a change to Smalti; in [`hook`], a hook and samples of your own.

pub mod hook;

use burn::tensor::Tensor;
use serde::Deserialize;
use smalti::backbones::{Backbone, Backbones, Feature};
use smalti::build::Build;
use smalti::config::{Config, Diagnostics, MapLoader, Node};
use smalti::layers::{Activation, ConvConfig, ConvNormAct, Mode, NormConfig, Params};
use smalti::probe::Probe;
use smalti::registry::{Registry, Row};

/// The keys of `type='mine.StridedStack'`.
#[derive(Deserialize)]
struct StridedStackConfig {
    channels: Vec<usize>,
}

/// Convolutions of stride 2, one after the other; each one's output is a feature map.
#[derive(Debug)]
struct StridedStack {
    convs: Vec<ConvNormAct>,
    features: Vec<Feature>,
}

fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    let config: StridedStackConfig = node.read()?;
    let norm = NormConfig::batch(1e-5);
    let (mut convs, mut features) = (Vec::new(), Vec::new());
    let (mut from, mut stride) = (3, 1);
    for (i, &channels) in config.channels.iter().enumerate() {
        let at = build.params.at("convs").at(i);
        let conv = ConvConfig::new(from, channels, 3)
            .stride(2)
            .pad(1)
            .act(Some(Activation::Relu));
        convs.push(conv.init(&at.at("conv"), Some((&norm, &at.at("bn")))));
        (from, stride) = (channels, stride * 2);
        features.push(Feature { channels, stride });
    }
    Ok(Box::new(StridedStack { convs, features }))
}

impl Backbone for StridedStack {
    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let step = |x: &mut Tensor<4>, conv: &ConvNormAct| {
            *x = conv.forward(x.clone());
            Some(x.clone())
        };
        self.convs.iter().scan(x, step).collect()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }
}

const CONFIG: &str = "
model = dict(
    type='RetinaNet',
    backbone=dict(type='mine.StridedStack', channels=[8, 16, 32]),
    neck=dict(type='FPN', in_channels=[8, 16, 32], out_channels=8, num_outs=3),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[2, 4, 8])),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10))
";

/// Smalti's components, and the backbone.
fn registry() -> Registry {
    let mut registry = smalti::registry();
    registry.add(Row::<Backbones>::new("mine", "StridedStack", build));
    registry
}

/// Trains that detector with the hook; what that saw.
///
/// # Errors
/// What the trainer said.
pub fn watch(work_dir: &std::path::Path) -> Result<String, smalti::train::TrainError> {
    hook::watch(registry(), CONFIG, work_dir)
}

/// Builds a detector with the backbone, and says what the backbone gives.
pub fn describe() -> String {
    let registry = registry();
    let config = Config::parse(CONFIG, "mine.py", &MapLoader::default()).expect("a good config");
    let device = burn::tensor::Device::flex();
    let params = Params::new(&device, Mode::Fixed, None);
    let detector = smalti::model::build(&config, &registry, params.clone(), None).expect("a model");
    let pixels = Tensor::zeros([1, 3, 64, 64], &device);
    let mut lines = String::new();
    let mut tell = |part: &str, maps: &[Tensor<4>]| {
        for map in maps {
            lines += &format!("{part}: shape {:?}\n", map.dims());
        }
    };
    detector.extract(pixels, &mut Probe::new(&mut tell));
    let first = &params.state()[0].key;
    lines + &format!("first key: {first}\n")
}
