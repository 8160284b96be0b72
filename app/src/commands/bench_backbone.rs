//! `smalti bench BACKBONE`: how long a backbone alone takes.

use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};
use serde_json::json;
use smalti::backbones::Backbones;
use smalti::build::Build;
use smalti::config::{ConfigErrors, Node};
use smalti::layers::{Mode, Params};
use smalti::registry::DEFAULT_SCOPE;

use super::bench::{BenchArgs, size, spread};
use super::channels::parse_expression;
use crate::style;

/// Runs the command, of a backbone as its type and arguments. Its weights are initial ones.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    let node = parse_expression(&args.config)?;
    let chosen = args.device.choose()?;
    let registry = smalti::registry();
    let params = Params::new(&chosen.device, Mode::Fixed, None);
    let build = Build::new(&registry, params, DEFAULT_SCOPE, None);
    let render = |problems| ConfigErrors::from(problems).to_string();
    let (make, part) = build.part::<Backbones>("backbone", &node).map_err(render)?;
    let backbone = make(&node, &part).map_err(render)?;

    let (width, height) = size(&args.size)?;
    let dims = [args.batch as usize, backbone.channels_in(), height, width];
    let values = (0..dims.iter().product::<usize>()).map(|i| (i as f32 * 0.618).fract() - 0.5);
    let data = TensorData::new(values.collect::<Vec<_>>(), dims);
    let picture = Tensor::<4>::from_data(data, &chosen.device);
    let mut runs = Vec::new();
    for i in 0..args.warmup + args.runs {
        let begin = Instant::now();
        let maps = backbone.forward(picture.clone());
        chosen.device.sync().map_err(|e| e.to_string())?;
        if i >= args.warmup {
            runs.push(vec![("backbone".to_string(), begin.elapsed())]);
        }
        drop(maps);
    }
    let [median, least, most] = spread(&runs, 0);
    if args.json {
        let row = json!({"median_ms": median, "min_ms": least, "max_ms": most});
        style::say_json(&json!({
            "backbone": type_of(&node), "device": chosen.name, "input": dims, "runs": args.runs, "stages": {"backbone": row},
        }));
    } else {
        style::say(format_args!(
            "{}, input {dims:?}, {} runs, on {}\n  {median:.2} ms   ({least:.2} to {most:.2})",
            type_of(&node),
            args.runs,
            chosen.name
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn type_of(node: &Node) -> String {
    let name = node.get("type").and_then(|t| t.as_type());
    name.unwrap_or_default().to_string()
}
