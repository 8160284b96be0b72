//! timm's models behind `mmpretrain.TIMMBackbone`, by name, as timm 0.9.16 builds them. To add a family, write a file and a row in
//! [`FAMILIES`].
//!
//! With `features_only` there is a map for each entry of `out_indices`, which count the model's levels; without, the single map that its
//! classifier would read. Tensors lie below `timm_model`.

mod convnext;
mod cspnet;
mod densenet;
mod dla;
mod edgenext;
mod efficientnet;
mod efficientvit_mit;
mod efficientvit_msra;
mod fastvit;
mod ghostnet;
mod hrnet;
mod maxxvit;
mod metaformer;
mod mobile_vit;
mod pvt_v2;
mod regnet;
mod repvgg;
mod resnet;
mod rexnet;
mod swin;
mod swin_cr;
mod vgg;
mod weights;

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::{AvgPoolOptions, PadMode};
use serde::Deserialize;

use super::{Backbone, Feature};
use crate::backbones::options::rate;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, nearest, unsupported};
use crate::layers::{Activation, Dropout, NormConfig, Params, SqueezeExcite};
use crate::limits::{Channels, List, Pixels};

/// A family of models.
struct Family {
    /// The names that it has, without the tags of weights.
    names: fn() -> Vec<String>,
    /// Builds the model that [`Asked::name`] names.
    build: fn(&Asked) -> Result<Box<dyn Backbone>, Diagnostics>,
}

/// The table.
const FAMILIES: [Family; 23] = [
    Family::new(convnext::inception_names, convnext::build_inception),
    Family::new(convnext::names, convnext::build),
    Family::new(cspnet::names, cspnet::build),
    Family::new(densenet::names, densenet::build),
    Family::new(dla::names, dla::build),
    Family::new(edgenext::names, edgenext::build),
    Family::new(efficientnet::names, efficientnet::build),
    Family::new(efficientvit_mit::names, efficientvit_mit::build),
    Family::new(efficientvit_msra::names, efficientvit_msra::build),
    Family::new(fastvit::names, fastvit::build),
    Family::new(ghostnet::names, ghostnet::build),
    Family::new(hrnet::names, hrnet::build),
    Family::new(maxxvit::names, maxxvit::build),
    Family::new(metaformer::names, metaformer::build),
    Family::new(mobile_vit::names, mobile_vit::build),
    Family::new(pvt_v2::names, pvt_v2::build),
    Family::new(regnet::names, regnet::build),
    Family::new(repvgg::names, repvgg::build),
    Family::new(resnet::names, resnet::build),
    Family::new(rexnet::names, rexnet::build),
    Family::new(swin::names, swin::build),
    Family::new(swin_cr::names, swin_cr::build),
    Family::new(vgg::names, vgg::build),
];

impl Family {
    const fn new(
        names: fn() -> Vec<String>,
        build: fn(&Asked) -> Result<Box<dyn Backbone>, Diagnostics>,
    ) -> Self {
        Self { names, build }
    }
}

/// The keys of `type='mmpretrain.TIMMBackbone'` and of all models.
#[derive(Debug, Deserialize)]
struct Config {
    model_name: String,
    features_only: Option<bool>,
    pretrained: Option<bool>,
    checkpoint_path: Option<String>,
    in_channels: Option<Channels>,
    out_indices: Option<List<i64>>,
    output_stride: Option<Pixels>,
    drop_path_rate: Option<f64>,
}

/// Keys that [`Asked`] holds, or that mean nothing here: for [`Node::read_knowing`] beside a family's own.
const COMMON: &[&str] = &[
    "model_name",
    "features_only",
    "pretrained",
    "checkpoint_path",
    "in_channels",
    "out_indices",
    "output_stride",
    "drop_path_rate",
    "drop_rate",
    "num_classes",
    "init_cfg",
];

/// What a config asks of a model.
struct Asked<'a> {
    /// Where a family reads keys of its own.
    node: &'a Node,
    /// As timm lists it: without `timm/`, without the tag of its weights.
    name: String,
    features_only: bool,
    channels_in: usize,
    /// Levels, from the end if negative.
    out_indices: Option<Vec<i64>>,
    /// 32 if absent.
    output_stride: usize,
    /// From 0 to less than 1.
    drop_path_rate: f64,
    /// The place `timm_model`.
    params: Params,
}

/// All names that there are models for.
pub(super) fn names() -> Vec<String> {
    FAMILIES
        .iter()
        .flat_map(|family| (family.names)())
        .collect()
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    // A family reads the keys that are left, and refuses those that it does not know.
    let keys = node
        .as_dict()
        .map(|dict| dict.iter().map(|(key, _)| key.to_string()));
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let config: Config = node.read_knowing(&keys)?;
    let (name, tag) = parts(&config.model_name);
    let (name, stood_for) = weights::now(name);
    let tag = tag.or(stood_for);
    let named = |family: &&Family| (family.names)().iter().any(|known| known == name);
    let Some(family) = FAMILIES.iter().find(named) else {
        return Err(unknown(node, &config.model_name));
    };
    let tags = weights::tags(name);
    if let Some(tag) = tag.filter(|tag| !tags.contains(tag)) {
        let message = format!("'{name}' has no weights with the tag '{tag}'");
        let help = format!("its tags are {}; the first is the default", tags.join(", "));
        return Err(error_at(node, "model_name", message, &help));
    }
    let drop_path_rate = rate(node, "drop_path_rate", config.drop_path_rate)?;
    let features_only = config.features_only.unwrap_or(false);
    if !features_only && config.out_indices.is_some() {
        let message = "`out_indices` needs features_only=True".to_string();
        return Err(error_at(node, "out_indices", message, ""));
    }
    let params = build.params.at("timm_model");
    if build.wants_weights() {
        config.take_weights(node, build, name, tag, &params)?;
    }
    (family.build)(&Asked {
        node,
        name: name.to_string(),
        features_only,
        channels_in: config.in_channels.map_or(3, Channels::get),
        out_indices: config.out_indices.map(|list| list.to_vec()),
        output_stride: config.output_stride.map_or(32, Pixels::get),
        drop_path_rate,
        params,
    })
}

/// A name without `timm/` before it, and the tag of its weights, which follows a dot.
fn parts(name: &str) -> (&str, Option<&str>) {
    let rest = name
        .strip_prefix("timm")
        .and_then(|n| n.strip_prefix(['/', ':']));
    let name = rest.unwrap_or(name);
    match name.split_once('.') {
        Some((name, tag)) => (name, Some(tag).filter(|tag| !tag.is_empty())),
        None => (name, None),
    }
}

/// No family has the model `name`.
fn unknown(node: &Node, name: &str) -> Diagnostics {
    let known = names();
    let message = format!("the timm model '{name}' is not supported");
    let (name, _) = parts(name);
    // Those of the same family, by how their names begin.
    let first = name.split('_').next().unwrap_or_default();
    let kin: Vec<_> = known
        .iter()
        .filter(|k| k.split('_').next() == Some(first))
        .collect();
    let kin = kin
        .iter()
        .map(|k| k.as_str())
        .take(40)
        .collect::<Vec<_>>()
        .join(", ");
    let older: Vec<&str> = weights::older().collect();
    let all = known.iter().map(String::as_str).chain(older);
    let help = match nearest(name, all) {
        Some(near) if kin.is_empty() => format!("did you mean '{near}'?"),
        Some(near) => format!("did you mean '{near}'? of this family there are {kin}"),
        None if kin.is_empty() => "`smalti list backbones` has the names of all that are".into(),
        None => format!("of this family there are {kin}"),
    };
    unsupported(node, "model_name", message, &help)
}

impl Config {
    /// Takes the values below `at` from `checkpoint_path`, or from timm's own weights if `pretrained` asks for them.
    fn take_weights(
        &self,
        node: &Node,
        build: &Build,
        name: &str,
        tag: Option<&str>,
        at: &Params,
    ) -> Result<(), Diagnostics> {
        if let Some(path) = self.checkpoint_path.as_deref().filter(|p| !p.is_empty()) {
            return build.pretrained(node, path, None, at);
        }
        if self.pretrained != Some(true) {
            return Ok(());
        }
        let Some(found) = weights::weights(name, tag) else {
            let message = format!("timm has no weights for '{}'", self.model_name);
            let help = "give your own with checkpoint_path='...' or init_cfg=dict(type='Pretrained', checkpoint='...')";
            return Err(error_at(node, "pretrained", message, help));
        };
        build.pretrained(node, &found.address, found.prefix, at)
    }
}

impl Asked<'_> {
    /// The place of `name`, such as `stages.0`, which `features_only` calls `stages_0` and checkpoints do not.
    fn flattened(&self, name: &str) -> Params {
        if !self.features_only {
            return self.params.at(name);
        }
        let at = self.params.at(name.replace('.', "_"));
        at.once_called(name);
        at
    }

    /// Refuses an `output_stride`, for families that have none.
    fn no_output_stride(&self) -> Result<(), Diagnostics> {
        if self.node.get("output_stride").is_none_or(Node::is_none) {
            return Ok(());
        }
        let message = format!("'{}' has no `output_stride`", self.name);
        Err(error_at(self.node, "output_stride", message, ""))
    }

    /// Refuses a `drop_path_rate`, for families that have none.
    fn no_drop_path(&self) -> Result<(), Diagnostics> {
        if self.drop_path_rate == 0.0 {
            return Ok(());
        }
        let message = format!("'{}' has no `drop_path_rate`", self.name);
        Err(error_at(self.node, "drop_path_rate", message, ""))
    }

    /// Which of the levels `maps` are asked for, and what they are; the last one alone without `features_only`.
    fn levels(&self, maps: &[Feature]) -> Result<Vec<usize>, Diagnostics> {
        match self.features_only {
            true => {
                let all: Vec<_> = (0..maps.len() as i64).collect();
                self.wanted_or(maps, Some(&all))
            }
            false => Ok(vec![maps.len() - 1]),
        }
    }

    /// Which of the levels `maps` are asked for, as their numbers in order: all where nothing is said.
    ///
    /// # Errors
    /// A level is asked for that is not there.
    fn wanted(&self, maps: &[Feature]) -> Result<Vec<usize>, Diagnostics> {
        self.wanted_or(maps, None)
    }

    /// As [`Asked::wanted`], with others where nothing is said.
    fn wanted_or(
        &self,
        maps: &[Feature],
        default: Option<&[i64]>,
    ) -> Result<Vec<usize>, Diagnostics> {
        let count = maps.len() as i64;
        let all: Vec<i64> = (0..count).collect();
        let named = self.out_indices.as_deref().or(default).unwrap_or(&all);
        if let Some(index) = named.iter().find(|i| !(-count..count).contains(i)) {
            let name = &self.name;
            let last = count - 1;
            let message = format!("`out_indices` names map {index}; '{name}' has maps 0 to {last}");
            let strides: Vec<_> = maps.iter().map(|map| map.stride.to_string()).collect();
            let help = format!("their strides are {}", strides.join(", "));
            return Err(error_at(self.node, "out_indices", message, &help));
        }
        let is_named = |i: &i64| named.iter().any(|index| index.rem_euclid(count) == *i);
        Ok((0..count).filter(is_named).map(|i| i as usize).collect())
    }

    /// What leaves numbers out of the map that the classifier would read (`drop_rate`).
    ///
    /// # Errors
    /// The rate is none.
    fn head_dropout(&self) -> Result<Option<Dropout>, Diagnostics> {
        let rate = self.node.get("drop_rate").filter(|rate| !rate.is_none());
        let rate = rate.map_or(Some(0.0), Node::as_float);
        match rate.filter(|rate| (0.0..1.0).contains(rate)) {
            Some(rate) => Ok(Dropout::new(rate, &self.params.at("head_drop"))),
            None => {
                let message = "`drop_rate` must be from 0 to less than 1";
                Err(error_at(self.node, "drop_rate", message, ""))
            }
        }
    }
}

impl Asked<'_> {
    /// The share of numbers that the classifier does without, whose map is given where `features_only` is not.
    fn classifier_dropout(&self) -> Result<Option<f64>, Diagnostics> {
        let rate = self.node.get("drop_rate").filter(|_| !self.features_only);
        let rate = rate.and_then(Node::as_float).unwrap_or(0.0);
        if !(0.0..1.0).contains(&rate) {
            let message = format!("`drop_rate` is {rate}, must be from 0 to less than 1");
            return Err(error_at(self.node, "drop_rate", message, ""));
        }
        Ok((rate > 0.0).then_some(rate))
    }
}

/// The norm that a `norm_layer` names: MMPretrain looks it up among its own and gives it nothing but channels.
fn norm_layer(node: &Node, default: NormConfig) -> Result<NormConfig, Diagnostics> {
    let Some(name) = node.get("norm_layer").filter(|name| !name.is_none()) else {
        return Ok(default);
    };
    let name = name.as_str().unwrap_or_default();
    let bare = name.rsplit('.').next().unwrap_or_default();
    if !["BN", "BN2d", "SyncBN", "IN", "IN2d", "LN2d"].contains(&bare) {
        let message = format!("`norm_layer` is '{name}', which takes more than channels");
        let help = "known are 'BN', 'BN2d', 'SyncBN', 'IN', 'IN2d', 'LN2d'";
        return Err(error_at(node, "norm_layer", message, help));
    }
    Ok(NormConfig {
        kind: bare.to_string(),
        ..NormConfig::batch(1e-5)
    })
}

/// timm's squeeze-and-excite of two convolutions, `fc1` and `fc2`.
fn squeeze_excite(channels: usize, squeezed: usize, act: Activation, at: &Params) -> SqueezeExcite {
    let convs = [(act, &at.at("fc1")), (Activation::Sigmoid, &at.at("fc2"))];
    SqueezeExcite::new(channels, squeezed, convs, |conv, act, at| {
        conv.act(Some(act)).init(at, None)
    })
}

/// The mean of each square of two, also of what is left over at an edge; with stride 1 zeros follow at the edge.
fn shortcut_average(x: Tensor<4>, stride: usize) -> Tensor<4> {
    let options = AvgPoolOptions::new([2; 2]).with_stride([stride; 2]);
    if stride == 1 {
        let padded = x.pad([(0, 1), (0, 1)], PadMode::Constant(0.0));
        return avg_pool2d(padded, options);
    }
    let options = options.with_ceil_mode(true).with_count_include_pad(false);
    avg_pool2d(x, options)
}

/// What timm calls activations.
fn activation(name: &str) -> Option<Activation> {
    Some(match name {
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "swish" | "silu" => Activation::Silu,
        "hard_swish" => Activation::HSwish,
        "leaky_relu" => Activation::LeakyRelu(0.01),
        "elu" => Activation::Elu(1.0),
        "gelu" => Activation::Gelu,
        "mish" => Activation::Mish,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        _ => return None,
    })
}
