//! Recursive feature pyramid (DetectoRS, Qiao et al. 2020, arXiv 2006.02334, section 3) as MMDetection 3.3.0 builds it: the maps of a feature
//! pyramid are added to the stages of a second backbone, whose maps go through the same pyramid once more, and so on.
//!
//! Shapes: inputs the picture `[N, 3, H, W]`, then as FPN; outputs as FPN.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Fpn, Neck};
use crate::backbones::{Backbone, Backbones, Feature, Features, ResNet};
use crate::build::Build;
use crate::config::{Bounded, Diagnostics, Node, error_at};
use crate::layers::{Activation, ConvConfig, ConvNormAct, Init, InitRule, Params};
use crate::limits::{Channels, List, Pixels};

/// The keys of `type='RFP'` beside those of FPN.
#[derive(Debug, Deserialize)]
struct RfpConfig {
    rfp_steps: Bounded<1, 8>,
    #[allow(dead_code)]
    rfp_backbone: IgnoredAny,
    aspp_out_channels: Channels,
    aspp_dilations: Option<List<Pixels>>,
}

/// Their names.
const KEYS: &[&str] = &[
    "rfp_steps",
    "rfp_backbone",
    "aspp_out_channels",
    "aspp_dilations",
];

/// Those of FPN.
const OF_FPN: &[&str] = &[
    "in_channels",
    "out_channels",
    "num_outs",
    "start_level",
    "end_level",
    "add_extra_convs",
    "relu_before_extra_convs",
    "no_norm_on_lateral",
    "upsample_cfg",
    "conv_cfg",
    "norm_cfg",
    "act_cfg",
    "init_cfg",
];

pub(super) fn build(
    node: &Node,
    inputs: Features,
    build: &Build,
) -> Result<Box<dyn Neck>, Diagnostics> {
    Ok(Box::new(Rfp::read(node, inputs, build)?))
}

/// Recursive feature pyramid.
#[derive(Debug)]
pub struct Rfp {
    fpn: Fpn,
    backbones: Vec<ResNet>,
    aspp: Aspp,
    /// How much the new maps count.
    weight: ConvNormAct,
}

impl Rfp {
    fn read(node: &Node, inputs: Features, build: &Build) -> Result<Self, Diagnostics> {
        let fail = |key, message: String, help: &str| Err(error_at(node, key, message, help));
        let config: RfpConfig = node.read_knowing(OF_FPN)?;
        if node.get("init_cfg").is_some_and(|init| !init.is_none()) {
            let message = "RFP has its own initial values, and no `init_cfg`";
            return fail("init_cfg", message.into(), "");
        }
        let Some((_, maps)) = inputs.list.split_first().filter(|(f, _)| f.stride == 1) else {
            let message = format!(
                "RFP reads the picture, too, which `{}` does not give",
                inputs.of
            );
            return fail("", message, "write output_img=True in the backbone");
        };
        let inputs = Features {
            list: maps,
            ..inputs
        };
        let params = &build.params;
        for list in ["lateral_convs", "fpn_convs"] {
            let xavier = InitRule::of(&["Conv2d"], Init::XAVIER_UNIFORM);
            params.at(list).initialise(xavier);
        }
        let fpn = Fpn::read_inside(node, inputs, build, "RFP", KEYS)?;
        let features = fpn.features();
        let channels = features[0].channels;
        let dilations = config.aspp_dilations.as_ref();
        let dilations = dilations.map_or_else(|| vec![1, 3, 6, 1], List::numbers);
        if dilations.last() != Some(&1) {
            let message = "the last of `aspp_dilations` must be 1".into();
            return fail("aspp_dilations", message, "");
        }
        let aspp_channels = config.aspp_out_channels.get();
        let inside = node.get("rfp_backbone").expect("it was read");
        let wanted = aspp_channels * dilations.len();
        if let Some(given) = inside.get("rfp_inplanes").and_then(Node::as_int)
            && given != wanted as i64
        {
            let message = format!("`rfp_inplanes` is {given}, but {wanted} channels come");
            return Err(error_at(inside, "rfp_inplanes", message, ""));
        }
        let mut backbones = Vec::new();
        for i in 1..config.rfp_steps.get() {
            let name = format!("rfp_modules.{}", i - 1);
            let (_, part) = build.part::<Backbones>(&name, inside)?;
            let backbone = ResNet::detectors(inside, &part)?;
            check(inside, &backbone, maps, &features)?;
            backbones.push(backbone);
        }
        let aspp = Aspp::new(channels, aspp_channels, &dilations, &params.at("rfp_aspp"));
        let at = params.at("rfp_weight");
        at.initialise(InitRule::all(Init::Constant(0.0), 0.0));
        let weight = ConvConfig::new(channels, 1, 1).init(&at, None);
        Ok(Self {
            fpn,
            backbones,
            aspp,
            weight,
        })
    }
}

/// Whether the maps of `backbone` are those that the pyramid was built for, and its stages of the sizes of the pyramid's.
fn check(
    node: &Node,
    backbone: &ResNet,
    maps: &[Feature],
    pyramid: &[Feature],
) -> Result<(), Diagnostics> {
    let given = backbone.features();
    let given: Vec<_> = given.iter().filter(|f| f.stride > 1).collect();
    let same = given.iter().copied().eq(maps);
    let mut strides = backbone.strides().iter().enumerate().skip(1);
    let fits = |(i, stride): (usize, &usize)| pyramid.get(i).is_some_and(|f| f.stride == *stride);
    if same && strides.all(fits) {
        return Ok(());
    }
    let message = "the backbone inside gives other maps than the one before the pyramid";
    let help = "it must have the same depth, strides and `out_indices`, and as many stages as the pyramid has levels or fewer";
    Err(error_at(node, "", message, help))
}

impl Neck for Rfp {
    fn forward(&self, mut inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let picture = inputs.remove(0);
        let mut maps = self.fpn.forward(inputs);
        for backbone in &self.backbones {
            let stages = backbone.strides().len();
            let mut given = vec![maps[0].clone()]; // which nobody reads
            let coarse = maps.iter().take(stages).skip(1);
            given.extend(coarse.map(|map| self.aspp.forward(map.clone())));
            let again = backbone.forward_again(picture.clone(), &given);
            let again = self.fpn.forward(again).into_iter().zip(maps);
            let mix = |(new, old): (Tensor<4>, Tensor<4>)| {
                let share = sigmoid(self.weight.forward(new.clone()));
                share.clone() * new + (1.0 - share) * old
            };
            maps = again.map(mix).collect();
        }
        maps
    }

    fn features(&self) -> Vec<Feature> {
        self.fpn.features()
    }

    fn size_divisor(&self) -> usize {
        self.fpn.size_divisor()
    }
}

/// Atrous spatial pyramid pooling: convolutions of several dilations side by side, the last one of the whole map's mean.
#[derive(Debug)]
struct Aspp {
    convs: Vec<ConvNormAct>,
}

impl Aspp {
    fn new(channels: usize, out: usize, dilations: &[usize], at: &Params) -> Self {
        let conv = |(i, dilation): (usize, &usize)| {
            let conv = match dilation {
                1 => ConvConfig::new(channels, out, 1),
                d => ConvConfig::new(channels, out, 3).pad(*d).dilation(*d),
            };
            let conv = conv.act(Some(Activation::Relu));
            conv.init(&at.at("aspp").at(i), None)
        };
        let convs = dilations.iter().enumerate().map(conv).collect();
        Self { convs }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, _, h, w] = x.dims();
        let (last, before) = self.convs.split_last().expect("there is one");
        let mut parts: Vec<_> = before.iter().map(|conv| conv.forward(x.clone())).collect();
        let whole = last.forward(x.mean_dim(2).mean_dim(3));
        let [_, channels, ..] = whole.dims();
        parts.push(whole.expand([n, channels, h, w]));
        Tensor::cat(parts, 1)
    }
}
