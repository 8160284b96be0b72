//! `smalti convert reparameterize`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use smalti::reparameterize::{ReparameterizeError, reparameterize};
use smalti::weights::{Numbers, Saved};

use crate::commands::config::ReadOptions;
use crate::commands::weights::{export, load_with_bar};
use crate::style;

/// Merge the branches of a trained RepVGG, MobileOne or RepLKNet backbone into single convolutions.
///
/// What is not the backbone's branches is kept as it is: heads and necks, too. The other way round there is none. Here it changes neither results
/// nor speed, as Smalti merges by itself where nothing learns; other programs, and MMPretrain's `deploy=True`, want it merged.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  smalti convert reparameterize repvgg-A0_8xb32_in1k.py repvgg-A0.pth repvgg-A0_deploy.pth
  smalti detect my_config.py repvgg-A0_deploy.pth photo.jpg --cfg-options model.backbone.deploy=True")]
pub struct ReparameterizeArgs {
    /// The config that the checkpoint was trained with
    #[arg(value_name = "CONFIG", value_hint = clap::ValueHint::FilePath)]
    config: String,
    /// Path, address or name of the checkpoint
    #[arg(value_name = "CHECKPOINT", value_hint = clap::ValueHint::FilePath)]
    checkpoint: String,
    /// The file to write: .pth or .safetensors
    #[arg(value_name = "OUT", value_hint = clap::ValueHint::FilePath)]
    out: PathBuf,
    #[command(flatten)]
    read: ReadOptions,
}

impl ReparameterizeArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        merge(self)
    }
}

fn merge(args: &ReparameterizeArgs) -> Result<(), String> {
    let config = args.read.load(&args.config)?;
    let checkpoint = load_with_bar(&args.checkpoint, None).map_err(|e| e.to_string())?;
    let checkpoint = Arc::new(checkpoint);
    let done = reparameterize(&config, &smalti::registry(), &checkpoint);
    let done = done.map_err(|error| match error {
        ReparameterizeError::Config(problems) => config.errors(problems).to_string(),
        ReparameterizeError::Weights(report) => {
            format!("{} does not fit the backbone\n{report}", args.checkpoint)
        }
    })?;

    let mut altered = checkpoint.altered().map_err(|e| e.to_string())?;
    let mut said = vec![false; done.merged.len()];
    let (mut gone, mut kept) = (0, 0);
    let mut tensors: Vec<(String, Box<dyn Saved + '_>)> = Vec::new();
    for (key, tensor) in std::mem::take(&mut altered.tensors) {
        let Some(set) = done.set_of(&key) else {
            kept += 1;
            tensors.push((key, tensor));
            continue;
        };
        gone += 1;
        // Where the first of them was.
        if !std::mem::replace(&mut said[set], true) {
            for (key, shape, values) in &done.merged[set].tensors {
                let numbers = Numbers::f32(shape, values.as_slice());
                tensors.push((key.clone(), Box::new(numbers)));
            }
        }
    }
    let came = tensors.len() - kept;
    altered.tensors = tensors;
    export(&altered, &args.out)?;
    style::say(format_args!(
        "{}: {} sets of branches are one convolution each: {gone} tensors became {came}, {kept} are as they were",
        done.backbone,
        done.merged.len()
    ));
    style::say(format_args!(
        "{}: {} tensors, for model.backbone.{}=True",
        shown(&args.out),
        came + kept,
        done.key
    ));
    Ok(())
}

fn shown(path: &Path) -> impl std::fmt::Display + '_ {
    path.display()
}
