//! timm's models behind `mmpretrain.TIMMBackbone`, by name, as timm 0.9.16 builds them. To add a family, write a file and a row in
//! [`FAMILIES`].
//!
//! With `features_only` there is a map for each entry of `out_indices`, which count the model's levels; without, the single map that its
//! classifier would read. Tensors lie below `timm_model`.

mod convnext;
mod efficientnet;
mod fastvit;
mod metaformer;
mod repvgg;

use serde::Deserialize;

use super::{Backbone, Feature};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, nearest, unsupported};
use crate::layers::{Activation, Params};
use crate::limits::{Channels, List, Pixels};

/// A family of models.
struct Family {
    /// The names that it has, without the tags of weights.
    names: fn() -> Vec<String>,
    /// Builds the model that [`Asked::name`] names.
    build: fn(&Asked) -> Result<Box<dyn Backbone>, Diagnostics>,
}

/// The table.
const FAMILIES: [Family; 6] = [
    family(convnext::names, convnext::build),
    family(convnext::inception_names, convnext::build_inception),
    family(efficientnet::names, efficientnet::build),
    family(fastvit::names, fastvit::build),
    family(metaformer::names, metaformer::build),
    family(repvgg::names, repvgg::build),
];

const fn family(
    names: fn() -> Vec<String>,
    build: fn(&Asked) -> Result<Box<dyn Backbone>, Diagnostics>,
) -> Family {
    Family { names, build }
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

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn Backbone>, Diagnostics> {
    // A family reads the keys that are left, and refuses those that it does not know.
    let keys = node
        .as_dict()
        .map(|dict| dict.iter().map(|(key, _)| key.to_string()));
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let config: Config = node.read_knowing(&keys)?;
    let name = bare(&config.model_name);
    let named = |family: &&Family| (family.names)().iter().any(|known| *known == name);
    let Some(family) = FAMILIES.iter().find(named) else {
        return Err(unknown(node, &config.model_name));
    };
    let drop_path_rate = config.drop_path_rate.unwrap_or(0.0);
    if !(0.0..1.0).contains(&drop_path_rate) {
        let message =
            format!("`drop_path_rate` is {drop_path_rate}, must be from 0 to less than 1");
        return Err(error_at(node, "drop_path_rate", message, ""));
    }
    let features_only = config.features_only.unwrap_or(false);
    if !features_only && config.out_indices.is_some() {
        let message = "`out_indices` needs features_only=True".to_string();
        return Err(error_at(node, "out_indices", message, ""));
    }
    let params = build.params.at("timm_model");
    if build.wants_weights() {
        config.take_weights(node, build, &params)?;
    }
    (family.build)(&Asked {
        node,
        name,
        features_only,
        channels_in: config.in_channels.map_or(3, Channels::get),
        out_indices: config.out_indices.map(|list| list.to_vec()),
        output_stride: config.output_stride.map_or(32, Pixels::get),
        drop_path_rate,
        params,
    })
}

/// A name without `timm/` before it and the tag of its weights after a dot.
fn bare(name: &str) -> String {
    let rest = name
        .strip_prefix("timm")
        .and_then(|n| n.strip_prefix(['/', ':']));
    let name = rest.unwrap_or(name);
    name.split('.').next().unwrap_or_default().to_string()
}

/// No family has the model `name`.
fn unknown(node: &Node, name: &str) -> Diagnostics {
    let known: Vec<_> = FAMILIES
        .iter()
        .flat_map(|family| (family.names)())
        .collect();
    let message = format!("the timm model '{name}' is not supported");
    let name = bare(name);
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
    let help = match nearest(&name, known.iter().map(String::as_str)) {
        Some(near) if kin.is_empty() => format!("did you mean '{near}'?"),
        Some(near) => format!("did you mean '{near}'? of this family there are {kin}"),
        None if kin.is_empty() => "`smalti list backbones` has the names of all that are".into(),
        None => format!("of this family there are {kin}"),
    };
    unsupported(node, "model_name", message, &help)
}

impl Config {
    /// Takes the values below `at` from `checkpoint_path`, or from timm's own weights if `pretrained` asks for them.
    fn take_weights(&self, node: &Node, build: &Build, at: &Params) -> Result<(), Diagnostics> {
        if let Some(path) = self.checkpoint_path.as_deref().filter(|p| !p.is_empty()) {
            return build.pretrained(node, path, None, at);
        }
        if self.pretrained != Some(true) {
            return Ok(());
        }
        let name = self.model_name.as_str();
        let Some(address) = efficientnet::weights(name) else {
            let message = format!("no address is known for the weights of '{name}'");
            let help = "give them with checkpoint_path='...' or init_cfg=dict(type='Pretrained', checkpoint='...')";
            return Err(error_at(node, "pretrained", message, help));
        };
        build.pretrained(node, &address, None, at)
    }
}

impl Asked<'_> {
    /// Which of the levels `maps` are asked for, as their numbers in order: all, at most five, where nothing is said.
    ///
    /// # Errors
    /// A level is asked for that is not there.
    fn wanted(&self, maps: &[Feature]) -> Result<Vec<usize>, Diagnostics> {
        let count = maps.len() as i64;
        let all: Vec<i64> = (0..count.min(5)).collect();
        let named = self.out_indices.as_deref().unwrap_or(&all);
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
