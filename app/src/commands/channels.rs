//! `smalti channels`: what a backbone gives, without being told anything else.

use crate::style;
use std::process::ExitCode;

use burn::tensor::{Device, Tensor};
use clap::Args;
use smalti::backbones::{Backbones, Features};
use smalti::build::Build;
use smalti::config::{self, ConfigErrors, Node};
use smalti::layers::{Mode, Params};
use smalti::necks::Necks;
use smalti::registry::DEFAULT_SCOPE;

use super::config::ReadOptions;

/// Arguments of `smalti channels`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  smalti channels \"ResNet(depth=18)\" --input 1x3x32x32\n  \
    smalti channels \"mmpretrain.MobileNetV3(arch='small', out_indices=(3, 8, 11))\"\n  \
    smalti channels configs/how_to/retinanet_timm-efficientnet-b1_fpn.py"
)]
pub struct ChannelsArgs {
    /// A backbone as its type and arguments, or a config file
    #[arg(value_name = "BACKBONE|CONFIG")]
    what: String,
    /// Input shape; the channels are the backbone's own if 3 is not right
    #[arg(long, value_name = "NxCxHxW", default_value = "1x3x224x224")]
    input: String,
    #[command(flatten)]
    read: ReadOptions,
}

/// Runs the command.
pub fn run(args: &ChannelsArgs) -> Result<ExitCode, String> {
    let input = parse_shape(&args.input)?;
    let config = match names_file(&args.what) {
        true => Some(args.read.load(&args.what)?),
        false => None,
    };
    let (node, neck, scope) = match &config {
        None => (parse_expression(&args.what)?, None, DEFAULT_SCOPE),
        Some(config) => {
            let model = config.get("model").unwrap_or(&config.root);
            let Some(backbone) = model.get("backbone") else {
                return Err(format!("{}: there is no `model.backbone` in it", args.what));
            };
            let neck = model.get("neck").filter(|n| !n.is_none());
            let scope = config.get("default_scope").and_then(|s| s.as_str());
            (backbone.clone(), neck, scope.unwrap_or(DEFAULT_SCOPE))
        }
    };
    let render = |problems| match &config {
        Some(config) => config.errors(problems).to_string(),
        None => ConfigErrors::from(problems).to_string(),
    };

    let device = Device::flex();
    let registry = smalti::registry();
    let params = Params::new(&device, Mode::Plan, None);
    let build = Build::new(&registry, params, scope, None);
    let (make, part) = build.part::<Backbones>("backbone", &node).map_err(render)?;
    let backbone = make(&node, &part).map_err(render)?;
    if backbone.channels_in() != input[1] {
        return Err(format!(
            "the backbone takes {} channels, --input has {}",
            backbone.channels_in(),
            input[1]
        ));
    }
    let features = backbone.features();
    let maps = backbone.forward(Tensor::zeros(input, &device));
    let name = node
        .get("type")
        .and_then(|t| t.as_type())
        .unwrap_or_default();
    style::say(format_args!(
        "backbone {name}, input {}",
        shape_text(&input)
    ));
    print_rows(&features, &maps);
    let channels: Vec<_> = features.iter().map(|f| f.channels).collect();
    style::say(format_args!("in_channels={channels:?}"));

    if let Some(neck_node) = neck {
        let inputs = Features {
            list: &features,
            of: &name,
            origin: &node.origin,
        };
        let (make, part) = build.part::<Necks>("neck", neck_node).map_err(render)?;
        let neck = make(neck_node, inputs, &part).map_err(render)?;
        let name = neck_node
            .get("type")
            .and_then(|t| t.as_type())
            .unwrap_or_default();
        style::say(format_args!("\nneck {name}"));
        print_rows(&neck.features(), &neck.forward(maps));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_rows(features: &[smalti::backbones::Feature], maps: &[Tensor<4>]) {
    style::say("  output  channels  stride  shape");
    for (i, (feature, map)) in features.iter().zip(maps).enumerate() {
        let shape = shape_text(&map.dims());
        style::say(format_args!(
            "  {i:<6}  {:<8}  {:<6}  {shape}",
            feature.channels, feature.stride
        ));
    }
}

/// As Python prints it: (1, 64, 8, 8).
fn shape_text(shape: &[usize; 4]) -> String {
    let parts: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("({})", parts.join(", "))
}

fn parse_shape(text: &str) -> Result<[usize; 4], String> {
    let parts: Option<Vec<usize>> = text
        .split(['x', 'X', ','])
        .map(|p| p.trim().parse().ok())
        .collect();
    parts
        .and_then(|p| <[usize; 4]>::try_from(p).ok())
        .filter(|p| p.iter().all(|v| (1..=1 << 16).contains(v)) && p.iter().product::<usize>() <= 1 << 28)
        .ok_or_else(|| format!("--input is `{text}`; write batch x channels x height x width, for example 1x3x224x224"))
}

/// Whether a file is named, not a backbone.
pub(super) fn names_file(what: &str) -> bool {
    let endings = [".py", ".json", ".yaml", ".yml"];
    endings.iter().any(|e| what.ends_with(e)) || !what.contains('(') && what.contains(['/', '\\'])
}

/// `Type(key=value, ...)` as `dict(type='Type', key=value, ...)`; or that dict itself, as it stands in a config: `backbone=dict(...),`.
pub(super) fn parse_expression(text: &str) -> Result<Node, String> {
    let text = text.trim().trim_end_matches(',').trim_end();
    let value = match text.split_once('=') {
        Some((name, value)) if name.trim() == "backbone" => value.trim_start(),
        _ => text,
    };
    let dict = value
        .strip_prefix("dict")
        .is_some_and(|rest| rest.trim_start().starts_with('('));
    if dict || value.starts_with('{') {
        return config::parse_value(value).map_err(|e| e.to_string());
    }
    let text = value;
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.strip_suffix(')').unwrap_or(rest)),
        None => (text.trim(), ""),
    };
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
    {
        return Err(format!(
            "`{text}` is neither a config file nor a backbone such as ResNet(depth=18)"
        ));
    }
    config::parse_value(&format!("dict(type='{name}', {arguments})")).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backbone_in_every_form() {
        for text in [
            "ResNet(depth=18)",
            "dict(type='ResNet', depth=18)",
            " backbone = dict( type='ResNet', depth=18),",
            "{'type': 'ResNet', 'depth': 18}",
        ] {
            let node = parse_expression(text).unwrap();
            let read = [node.get("type").unwrap(), node.get("depth").unwrap()];
            assert_eq!(read[0].as_str(), Some("ResNet"), "{text}");
            assert_eq!(read[1].as_int(), Some(18), "{text}");
        }
        assert_eq!(
            parse_expression("ResNet")
                .unwrap()
                .get("type")
                .unwrap()
                .as_str(),
            Some("ResNet")
        );
        assert!(parse_expression("dict(type='ResNet'").is_err());
        assert!(
            parse_expression("a b(c=1)")
                .unwrap_err()
                .contains("neither")
        );
    }

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("1x3x32x48"), Ok([1, 3, 32, 48]));
        for bad in [
            "",
            "1x3x32",
            "1x3x0x4",
            "axb",
            "1x3x99999x99999",
            "1x3x65536x65536",
        ] {
            assert!(
                parse_shape(bad).unwrap_err().contains("1x3x224x224"),
                "{bad}"
            );
        }
        assert_eq!(shape_text(&[1, 64, 8, 8]), "(1, 64, 8, 8)");
    }
}
