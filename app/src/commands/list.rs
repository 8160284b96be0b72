//! `smalti list [KIND]`: the components that a config can name.

use crate::style;
use std::process::ExitCode;

use burn::tensor::{Device, Tensor};
use clap::Args;
use smalti::backbones::Backbones;
use smalti::build::Build;
use smalti::config::ConfigErrors;
use smalti::layers::{Mode, Params, Role};
use smalti::registry::DEFAULT_SCOPE;

/// Arguments of `smalti list`.
#[derive(Args)]
#[command(after_help = "\
Each line is a component as a config may name it, scope and all: type='mmdet.FPN'. Within its own scope the name alone will do.

  smalti list                what kinds there are, and how many of each
  smalti list backbone       the backbones
  smalti list backbones resnet50      those whose name and arguments have `resnet50`, with channels and strides of their maps, parameters,
                             and products (in thousands of millions) of a picture of 224 x 224 px
  smalti list backbones \"ConvNeXt tiny\"    every word has to be there; `.` finds all
  smalti list --json         everything, by kind")]
pub struct ListArgs {
    /// Only components of this kind, for example backbone, neck, head
    kind: Option<String>,
    /// Of backbones: only those with these words, and what they give
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no such kind, or no such backbone.
pub fn run(args: &ListArgs) -> Result<ExitCode, String> {
    if let (Some(kind), Some(text)) = (&args.kind, &args.text) {
        if !["backbone", "backbones"].contains(&kind.as_str()) {
            return Err(format!(
                "only backbones are looked for by words: smalti list backbones {text}"
            ));
        }
        return backbones(text, args.json);
    }
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    for (kind, scope, name) in smalti::registry().names() {
        let name = format!("{scope}.{name}");
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, names)) => names.push(name),
            None => kinds.push((kind, vec![name])),
        }
    }
    for (_, names) in &mut kinds {
        names.sort();
    }
    if let Some(wanted) = &args.kind {
        // "backbones" and "box-coder" are as clear.
        let plain = |text: &str| text.to_lowercase().replace(['-', '_'], " ");
        let wanted = plain(wanted);
        let is = |kind: &str| wanted == plain(kind) || wanted == plain(kind) + "s";
        let known: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        let unknown = || {
            let near = smalti::config::nearest(&wanted, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
            let known = known.join(", ");
            format!("there is no kind `{wanted}`; {near}known are: {known}")
        };
        if !kinds.iter().any(|(kind, _)| is(kind)) {
            return Err(unknown());
        }
        kinds.retain(|(kind, _)| is(kind));
    }
    if args.json {
        let all: serde_json::Map<_, _> = kinds
            .into_iter()
            .map(|(kind, names)| (kind.to_string(), names.into()))
            .collect();
        style::say_json(&serde_json::Value::Object(all));
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, names) in &kinds {
        match args.kind {
            Some(_) => names.iter().for_each(style::say),
            None => style::say(format_args!("{:>4}  {kind}", names.len())),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to be said of a backbone.
struct Size {
    channels: Vec<usize>,
    strides: Vec<usize>,
    parameters: u64,
    /// None where the picture does not suit it.
    products: Option<u64>,
}

/// Side of the picture that is counted, px.
const SIDE: usize = 224;

/// The backbones that have all words of `text`.
fn backbones(text: &str, json: bool) -> Result<ExitCode, String> {
    let all = smalti::backbones::variants();
    let plain = |text: &str| text.to_lowercase().replace(['\'', '"'], "");
    let words: Vec<String> = plain(text).split_whitespace().map(String::from).collect();
    let has = |variant: &&String| {
        let variant = plain(variant);
        words.iter().all(|word| variant.contains(word.as_str()))
    };
    let found: Vec<&String> = all.iter().filter(has).collect();
    if found.is_empty() {
        return Err(nearest_to(text, &all));
    }
    let mut rows = Vec::new();
    if !json {
        style::say("Mparams  Gproducts  channels (strides)");
    }
    for variant in found {
        let size = size_of(variant)?;
        if json {
            rows.push(serde_json::json!({
                "backbone": variant,
                "channels": size.channels,
                "strides": size.strides,
                "parameters": size.parameters,
                "products": size.products,
            }));
            continue;
        }
        let products = size
            .products
            .map_or("-".into(), |n| format!("{:.2}", n as f64 / 1e9));
        style::say(format_args!(
            "{:>7.2}  {products:>9}  {:?} ({:?})  {variant}",
            size.parameters as f64 / 1e6,
            size.channels,
            size.strides,
        ));
    }
    if json {
        style::say_json(&rows.into());
    }
    Ok(ExitCode::SUCCESS)
}

/// That there is none, and which is nearest.
fn nearest_to(text: &str, all: &[String]) -> String {
    let names: std::collections::BTreeSet<&str> = all
        .iter()
        .map(|variant| match variant.split_once("model_name='") {
            Some((_, rest)) => rest.split('\'').next().unwrap_or_default(),
            None => variant.split('(').next().unwrap_or_default(),
        })
        .map(|name| name.rsplit('.').next().unwrap_or_default())
        .collect();
    let near = smalti::config::nearest(text, names.iter().copied());
    let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("no backbone has `{text}` in its name or arguments{near}")
}

fn size_of(variant: &str) -> Result<Size, String> {
    let node = super::channels::parse_expression(variant)?;
    let device = Device::flex();
    let registry = smalti::registry();
    let params = Params::new(&device, Mode::Plan, None);
    let build = Build::new(&registry, params.clone(), DEFAULT_SCOPE, None);
    let (make, part) = build
        .part::<Backbones>("backbone", &node)
        .map_err(|problems| ConfigErrors::from(problems).to_string())?;
    let backbone =
        make(&node, &part).map_err(|problems| ConfigErrors::from(problems).to_string())?;
    let of_parameter = |entry: &smalti::layers::StateEntry| match entry.role {
        Role::Parameter => entry.shape.iter().map(|n| *n as u64).product(),
        _ => 0,
    };
    let features = backbone.features();
    let divides = SIDE.is_multiple_of(backbone.size_divisor());
    let products = divides.then(|| {
        let picture = Tensor::zeros([1, backbone.channels_in(), SIDE, SIDE], &device);
        smalti::ops::count::counting(|| backbone.forward(picture)).1
    });
    Ok(Size {
        channels: features.iter().map(|f| f.channels).collect(),
        strides: features.iter().map(|f| f.stride).collect(),
        parameters: params.state().iter().map(of_parameter).sum(),
        products,
    })
}
