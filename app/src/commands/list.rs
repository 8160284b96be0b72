//! `smalti list [KIND]`: the components that a config can name.

use crate::style;
use std::process::ExitCode;

use clap::Args;

/// Arguments of `smalti list`.
#[derive(Args)]
#[command(after_help = "\
Each line is a component as a config may name it, scope and all: type='mmdet.FPN'. Within its own scope the name alone will do.

  smalti list                what kinds there are, and how many of each
  smalti list backbone       the backbones
  smalti list --json         everything, by kind")]
pub struct ListArgs {
    /// Only components of this kind, for example backbone, neck, head
    kind: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no such kind.
pub fn run(args: &ListArgs) -> Result<ExitCode, String> {
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
