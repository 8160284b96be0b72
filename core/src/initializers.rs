//! `init_cfg`: what a config says of initial values (MMEngine 0.10.7's `weight_init.py`). To add an initializer, a function here and a row in [`ROWS`].
//!
//! Each part of a model may have one, or a list. It says what the layers of certain classes (`layer`) get, anywhere in that part, and with
//! `override` what all layers of a part of it get. Parts of the part have their own and are asked afterwards, so theirs count; only
//! `Pretrained` comes last, and there the whole counts before its parts.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, nearest};
use crate::layers::{Distribution, Fan, Init, InitRule, Params};
use crate::registry::{Family, Row};

/// The kind `initializer` of the registry.
#[derive(Debug)]
pub struct Initializers;

impl Family for Initializers {
    const KIND: &'static str = "initializer";
    type Build = fn(&Node) -> Result<Initializer, Diagnostics>;
    const COMPLETE: bool = true;
}

/// What one `init_cfg` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Initializer {
    /// Values for the layers that it names.
    Values(InitRule),
    /// Values of a checkpoint.
    Pretrained {
        /// Its path, address or name.
        checkpoint: String,
        /// What its keys have before ours.
        prefix: Option<String>,
    },
}

/// The table: scope, name, builder. Lazy configs give the classes, whose names end in `Init`.
pub const ROWS: [Row<Initializers>; 16] = [
    Row::<Initializers>::new("mmengine", "Caffe2Xavier", caffe2_xavier),
    Row::<Initializers>::new("mmengine", "Caffe2XavierInit", caffe2_xavier),
    Row::<Initializers>::new("mmengine", "Constant", constant),
    Row::<Initializers>::new("mmengine", "ConstantInit", constant),
    Row::<Initializers>::new("mmengine", "Kaiming", kaiming),
    Row::<Initializers>::new("mmengine", "KaimingInit", kaiming),
    Row::<Initializers>::new("mmengine", "Normal", normal),
    Row::<Initializers>::new("mmengine", "NormalInit", normal),
    Row::<Initializers>::new("mmengine", "Pretrained", pretrained),
    Row::<Initializers>::new("mmengine", "PretrainedInit", pretrained),
    Row::<Initializers>::new("mmengine", "TruncNormal", trunc_normal),
    Row::<Initializers>::new("mmengine", "TruncNormalInit", trunc_normal),
    Row::<Initializers>::new("mmengine", "Uniform", uniform),
    Row::<Initializers>::new("mmengine", "UniformInit", uniform),
    Row::<Initializers>::new("mmengine", "Xavier", xavier),
    Row::<Initializers>::new("mmengine", "XavierInit", xavier),
];

/// Keys of all of them but `Pretrained`, and those that an `override` adds.
const OTHERS: &[&str] = &["bias", "bias_prob", "layer", "override", "name"];
/// What a layer's values may be followed by, for their gain (`torch.nn.init.calculate_gain`).
const NONLINEARITIES: [&str; 12] = [
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
];

/// Takes what `node`'s `init_cfg` says of the part that is built at `build.params`. Gives the places whose layers an `override` means,
/// and the configs that say so.
///
/// # Errors
/// All that is wrong with it, or a checkpoint of it cannot be had.
pub(crate) fn apply(node: &Node, build: &Build) -> Result<Vec<(String, Node)>, Diagnostics> {
    let Some(given) = node.get("init_cfg").filter(|given| !given.is_none()) else {
        return Ok(Vec::new());
    };
    let mut overridden = Vec::new();
    for cfg in listed(given) {
        if cfg.get("type").is_none() && cfg.get("checkpoint").is_some() && reads_its_own(node) {
            continue;
        }
        let initializer = build.find::<Initializers>(cfg)?(cfg)?;
        take(cfg, &initializer, build, &build.params)?;
        for other in cfg
            .get("override")
            .filter(|o| !o.is_none())
            .map_or(&[][..], listed)
        {
            let (name, initializer) = overriding(other, &initializer, build)?;
            let at = build.params.at(&name);
            let initializer = match initializer {
                Initializer::Values(rule) => Initializer::Values(InitRule {
                    layers: None,
                    ..rule
                }),
                pretrained => pretrained,
            };
            take(other, &initializer, build, &at)?;
            overridden.push((name, other.clone()));
        }
    }
    Ok(overridden)
}

/// Whether the part is one of MMDetection's that take the checkpoint of an `init_cfg` whatever its `type`.
fn reads_its_own(node: &Node) -> bool {
    const CLASSES: [&str; 3] = [
        "PyramidVisionTransformer",
        "PyramidVisionTransformerV2",
        "SwinTransformer",
    ];
    let name = node
        .as_type()
        .or_else(|| Some(node.get("type")?.as_str()?.to_string()));
    name.is_some_and(|name| CLASSES.contains(&name.trim_start_matches("mmdet.")))
}

/// The items of a list, or the one thing that is none.
fn listed(node: &Node) -> &[Node] {
    node.as_items().unwrap_or(std::slice::from_ref(node))
}

fn take(
    node: &Node,
    initializer: &Initializer,
    build: &Build,
    at: &Params,
) -> Result<(), Diagnostics> {
    match initializer {
        Initializer::Values(rule) => at.initialise(rule.clone()),
        Initializer::Pretrained { checkpoint, prefix } if build.wants_weights() => {
            build.pretrained(node, checkpoint, prefix.as_deref(), at)?;
        }
        Initializer::Pretrained { .. } => {}
    }
    Ok(())
}

/// An entry of `override`: the part that it names, and what it says, which is that of the whole where it has a name alone.
fn overriding(
    node: &Node,
    whole: &Initializer,
    build: &Build,
) -> Result<(String, Initializer), Diagnostics> {
    let help =
        "for example override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01)";
    let Some(keys) = node.as_dict() else {
        let message = format!("an `override` is a dict, found {}", node.type_name());
        return Err(error_at(node, "", message, help));
    };
    let Some(name) = node.get("name").and_then(Node::as_str) else {
        return Err(error_at(node, "name", "an `override` needs a `name`", help));
    };
    if keys.names().all(|key| key == "name") {
        return Ok((name.to_string(), whole.clone()));
    }
    if node.get("type").is_none() {
        let message = "an `override` needs a `type`, or nothing but its `name`";
        return Err(error_at(node, "type", message, help));
    }
    Ok((name.to_string(), build.find::<Initializers>(node)?(node)?))
}

/// Logit of the share of foreground that a classifier is to begin with: losses start calm (focal loss, Lin et al. 2017, arXiv 1708.02002,
/// section 3.3).
pub fn bias_with_prob(prior: f64) -> f32 {
    -((1.0 - prior) / prior).ln() as f32
}

fn own<T: DeserializeOwned>(node: &Node) -> Result<T, Diagnostics> {
    node.read_knowing(OTHERS)
}

/// The rule of these weights, and of the keys that all initializers have.
fn rule(node: &Node, weight: Init) -> Result<Initializer, Diagnostics> {
    let number = |key: &str| match node.get(key).filter(|value| !value.is_none()) {
        None => Ok(None),
        Some(value) => value.as_float().map(Some).ok_or_else(|| {
            let message = format!("`{key}` is a number, found {}", value.type_name());
            error_at(node, key, message, "")
        }),
    };
    let bias = match number("bias_prob")? {
        Some(prior) if 0.0 < prior && prior < 1.0 => bias_with_prob(prior),
        Some(prior) => {
            let message = format!("`bias_prob` is {prior}, must be between 0 and 1");
            return Err(error_at(node, "bias_prob", message, ""));
        }
        None => number("bias")?.unwrap_or(0.0) as f32,
    };
    let name = |layer: &Node| {
        layer.as_str().map(str::to_string).ok_or_else(|| {
            let message = format!(
                "`layer` is the name of a class, found {}",
                layer.type_name()
            );
            error_at(
                node,
                "layer",
                message,
                "for example layer=['Conv2d', 'Linear']",
            )
        })
    };
    let layers = match node.get("layer").filter(|layer| !layer.is_none()) {
        None => Vec::new(),
        Some(layers) => listed(layers).iter().map(name).collect::<Result<_, _>>()?,
    };
    Ok(Initializer::Values(InitRule {
        layers: Some(layers),
        weight: Some(weight),
        bias: Some(bias),
    }))
}

fn constant(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        val: f64,
    }
    let Keys { val } = own(node)?;
    rule(node, Init::Constant(val as f32))
}

fn normal(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        mean: Option<f64>,
        std: Option<f64>,
    }
    let keys: Keys = own(node)?;
    let std = spread(node, keys.std)?;
    let mean = keys.mean.unwrap_or(0.0);
    rule(node, Init::Normal { mean, std })
}

fn trunc_normal(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        mean: Option<f64>,
        std: Option<f64>,
        a: Option<f64>,
        b: Option<f64>,
    }
    let keys: Keys = own(node)?;
    let std = spread(node, keys.std)?;
    let [a, b] = bounds(node, keys.a.unwrap_or(-2.0), keys.b.unwrap_or(2.0))?;
    let mean = keys.mean.unwrap_or(0.0);
    rule(node, Init::TruncNormal { mean, std, a, b })
}

fn uniform(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        a: Option<f64>,
        b: Option<f64>,
    }
    let keys: Keys = own(node)?;
    let [a, b] = bounds(node, keys.a.unwrap_or(0.0), keys.b.unwrap_or(1.0))?;
    rule(node, Init::Uniform { a, b })
}

fn xavier(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        gain: Option<f64>,
        distribution: Option<String>,
    }
    let keys: Keys = own(node)?;
    let gain = keys.gain.unwrap_or(1.0);
    let distribution = distribution(node, keys.distribution.as_deref())?;
    rule(node, Init::Xavier { gain, distribution })
}

fn kaiming(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        a: Option<f64>,
        mode: Option<String>,
        nonlinearity: Option<String>,
        distribution: Option<String>,
    }
    let keys: Keys = own(node)?;
    let fan = match keys.mode.as_deref() {
        None | Some("fan_out") => Fan::Out,
        Some("fan_in") => Fan::In,
        Some(other) => {
            let message = format!("`mode` is '{other}', must be 'fan_in' or 'fan_out'");
            return Err(error_at(node, "mode", message, ""));
        }
    };
    let follows = keys.nonlinearity.as_deref().unwrap_or("relu");
    let Some(gain) = gain(follows, keys.a.unwrap_or(0.0)) else {
        let message = format!("PyTorch has no gain for the `nonlinearity` '{follows}'");
        let help = match nearest(follows, NONLINEARITIES) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known are '{}'", NONLINEARITIES.join("', '")),
        };
        return Err(error_at(node, "nonlinearity", message, &help));
    };
    let distribution = distribution(node, keys.distribution.as_deref())?;
    rule(
        node,
        Init::Kaiming {
            gain,
            fan,
            distribution,
        },
    )
}

fn caffe2_xavier(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {}
    let Keys {} = own(node)?;
    rule(
        node,
        Init::Kaiming {
            gain: 1.0,
            fan: Fan::In,
            distribution: Distribution::Uniform,
        },
    )
}

fn pretrained(node: &Node) -> Result<Initializer, Diagnostics> {
    #[derive(Deserialize)]
    struct Keys {
        prefix: Option<String>,
    }
    let Keys { prefix } = node.read_knowing(&["checkpoint", "map_location", "override", "name"])?;
    let Some(checkpoint) = node.get("checkpoint").and_then(Node::as_str) else {
        let message = "`Pretrained` needs a `checkpoint`";
        return Err(error_at(node, "checkpoint", message, ""));
    };
    Ok(Initializer::Pretrained {
        checkpoint: checkpoint.to_string(),
        prefix,
    })
}

/// `calculate_gain`; `a` is the slope of a leaky ReLU.
fn gain(nonlinearity: &str, a: f64) -> Option<f64> {
    Some(match nonlinearity {
        "tanh" => 5.0 / 3.0,
        "relu" => 2f64.sqrt(),
        "leaky_relu" => (2.0 / (1.0 + a * a)).sqrt(),
        "selu" => 0.75,
        other if NONLINEARITIES.contains(&other) => 1.0,
        _ => return None,
    })
}

/// A standard deviation.
fn spread(node: &Node, std: Option<f64>) -> Result<f64, Diagnostics> {
    match std.unwrap_or(1.0) {
        std if std >= 0.0 => Ok(std),
        std => {
            let message = format!("`std` is {std}, must not be negative");
            Err(error_at(node, "std", message, ""))
        }
    }
}

fn bounds(node: &Node, a: f64, b: f64) -> Result<[f64; 2], Diagnostics> {
    if a <= b {
        return Ok([a, b]);
    }
    let message = format!("`a` is {a}, must not be above `b`, which is {b}");
    Err(error_at(node, "a", message, ""))
}

fn distribution(node: &Node, name: Option<&str>) -> Result<Distribution, Diagnostics> {
    match name {
        None | Some("normal") => Ok(Distribution::Normal),
        Some("uniform") => Ok(Distribution::Uniform),
        Some(other) => {
            let message = format!("`distribution` is '{other}', must be 'normal' or 'uniform'");
            Err(error_at(node, "distribution", message, ""))
        }
    }
}

#[cfg(test)]
mod tests;
