//! The steps of test pipelines, read from a config's `dict(type=...)`.
//!
//! A step here only says what is to be done; [`super::pipeline`] decides whether it is done
//! on the CPU or in the one pass that makes the batch. To add one: a variant of [`Step`], a row in the table.

use serde::Deserialize;
use serde::de::IgnoredAny;

use smalti_config::{Diagnostic, Diagnostics, Kind, Node, nearest, stray_comma};

use super::transforms::{
    LoadImageFromFile, Pad, Resize, fix_scale_resize, load, pad, resize, resize_shortest_edge,
};

/// One step of a test pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The picture's file becomes pixels.
    Load(LoadImageFromFile),
    /// Another size, by interpolation.
    Resize(Resize),
    /// Pixels added at the right and bottom.
    Pad(Pad),
    /// The end: what is there becomes the network's input.
    Pack,
    /// Nothing, where there are no annotations or the probability is 0.
    Nothing,
}

type Build = fn(&Node) -> Result<Step, Diagnostics>;

const TABLE: &[(&str, Build)] = &[
    ("FixScaleResize", fix_scale_step),
    ("InferencerLoader", load_step),
    ("LoadAnnotations", nothing),
    ("LoadImageFromFile", load_step),
    ("LoadImageFromNDArray", load_step),
    ("LoadPanopticAnnotations", nothing),
    ("PackDetInputs", pack),
    ("Pad", pad_step),
    ("RandomFlip", flip),
    ("Resize", resize_step),
    ("ResizeShortestEdge", shortest_edge_step),
];

/// Known to MMDetection's test pipelines, and to come here.
const NOT_YET: &[&str] = &[
    "FixShapeResize",
    "LoadProposals",
    "LoadTextAnnotations",
    "MultiScaleFlipAug",
    "PackTrackInputs",
    "ProposalBroadcaster",
    "RandomCenterCropPad",
    "TestTimeAug",
    "TransformBroadcaster",
];

/// Reads one `dict(type=...)`; scopes `mmdet.`, `mmcv.` and `mmengine.` are the same here.
///
/// # Errors
/// An unknown type, or options that it does not have.
pub fn build(node: &Node) -> Result<Step, Diagnostics> {
    if let Some(error) = stray_comma("this transform", node) {
        return Err(vec![error]);
    }
    let Some(kind) = node.get("type").and_then(Node::as_type) else {
        let found = format!(
            "a transform is a dict with a `type`, found {}",
            node.type_name()
        );
        let error = Diagnostic::error(found)
            .kind(Kind::Missing)
            .at(&node.origin, "");
        return Err(vec![error]);
    };
    let at = &node.get("type").unwrap_or(node).origin;
    let (scope, name) = kind.rsplit_once('.').unwrap_or(("mmdet", &kind));
    let package = scope.split('.').next().unwrap_or_default();
    let ours = matches!(package, "mmdet" | "mmcv" | "mmengine");
    if let Some((_, build)) = TABLE.iter().find(|(known, _)| ours && *known == name) {
        return build(node);
    }
    if ours && NOT_YET.contains(&name) {
        let error = Diagnostic::error(format!("`{name}` is not supported in a test pipeline yet"))
            .kind(Kind::Unsupported)
            .at(at, "")
            .help("take it out of the test pipeline, or override it with `--cfg-options`");
        return Err(vec![error]);
    }
    let names = TABLE.iter().map(|(name, _)| *name);
    let list: Vec<&str> = names.clone().collect();
    let help = match nearest(name, names) {
        Some(near) if ours => format!("did you mean `{near}`? known are: {}", list.join(", ")),
        _ => format!("known are: {}", list.join(", ")),
    };
    let error = Diagnostic::error(format!("no transform `{kind}` for test pipelines"))
        .kind(Kind::Unknown)
        .at(at, "")
        .help(help);
    Err(vec![error])
}

fn load_step(node: &Node) -> Result<Step, Diagnostics> {
    load::read(node).map(Step::Load)
}

fn pad_step(node: &Node) -> Result<Step, Diagnostics> {
    pad::read(node).map(Step::Pad)
}

fn resize_step(node: &Node) -> Result<Step, Diagnostics> {
    resize::read(node).map(Step::Resize)
}

fn fix_scale_step(node: &Node) -> Result<Step, Diagnostics> {
    fix_scale_resize::read(node).map(|step| Step::Resize(step.0))
}

fn shortest_edge_step(node: &Node) -> Result<Step, Diagnostics> {
    resize_shortest_edge::read(node).map(|step| Step::Resize(step.0))
}

/// Annotations: there are none when a picture is only looked at.
fn nothing(_: &Node) -> Result<Step, Diagnostics> {
    Ok(Step::Nothing)
}

#[derive(Deserialize)]
struct PackDetInputsConfig {
    /// Names of what accompanies the picture: ours always has all that prediction needs.
    #[serde(rename = "meta_keys")]
    _meta_keys: Option<IgnoredAny>,
}

fn pack(node: &Node) -> Result<Step, Diagnostics> {
    node.read::<PackDetInputsConfig>()?;
    Ok(Step::Pack)
}

/// `RandomFlip` in a test pipeline is there with probability 0 only.
fn flip(node: &Node) -> Result<Step, Diagnostics> {
    let zero = |n: &Node| {
        n.is_none()
            || n.as_float() == Some(0.0)
            || n.as_items()
                .is_some_and(|i| i.iter().all(|p| p.as_float() == Some(0.0)))
    };
    match node.get("prob") {
        Some(prob) if !zero(prob) => {
            let error = Diagnostic::error("a test pipeline cannot flip at random")
                .kind(Kind::Unsupported)
                .at(&prob.origin, "must be 0")
                .help("take `RandomFlip` out, or set `prob=0.`");
            Err(vec![error])
        }
        _ => Ok(Step::Nothing),
    }
}
