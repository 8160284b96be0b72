//! What several commands ask about a config and its model.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use smalti::weights::Wanted;
use smalti::{LoadError, Predictor, PredictorBuilder};

use super::config::ReadOptions;
use super::weights::load_with_bar;

/// Keys and shapes of the model that a config describes, for `smalti weights --config`.
pub fn state_of(path: &Path, options: &[String]) -> Result<Vec<Wanted>, String> {
    let read = ReadOptions {
        cfg_options: options.to_vec(),
        ..ReadOptions::default()
    };
    let config = read.load(&path.to_string_lossy())?;
    let state = smalti::model::state(&config, &smalti::registry());
    let state = state.map_err(|problems| config.errors(problems).to_string())?;
    Ok(state.into_iter().map(Wanted::from).collect())
}

/// What of a checkpoint is the model's.
#[derive(Args)]
pub struct FromCheckpoint {
    /// Only the checkpoint's keys that begin with this, without it, such as teacher. (the last dot may be left out)
    #[arg(long, requires = "checkpoint")]
    prefix: Option<String>,
    /// Take this part of the checkpoint as the state dict, such as ema_state_dict; .safetensors and burnpack have none
    #[arg(long, requires = "checkpoint")]
    section: Option<String>,
    /// Go on where the checkpoint lacks most of a part of the model or tensors cannot be read: they keep initial, random values
    #[arg(long, requires = "checkpoint")]
    allow_incomplete: bool,
    /// Open addresses of a config that read environment variables, whose server may be told of them
    #[arg(long)]
    allow_env_in_urls: bool,
}

impl FromCheckpoint {
    /// Builds the predictor with the checkpoint of this path, address or name, or with what `load_from` names.
    pub fn build(&self, builder: PredictorBuilder, name: &str) -> Result<Predictor, String> {
        // A download shows a progress bar.
        let section = self.section.clone();
        let open = move |name: &str| {
            let checkpoint = load_with_bar(name, section.as_deref());
            checkpoint.map(Arc::new).map_err(|e| e.to_string())
        };
        let builder = builder
            .prefix(self.prefix.as_deref())
            .allow_incomplete(self.allow_incomplete)
            .allow_env_in_urls(self.allow_env_in_urls);
        let built = match name {
            "load_from" => builder.open_with(&open).build(),
            name => builder.checkpoint(open(name)?).build(),
        };
        built.map_err(|error| {
            let help = match &error {
                LoadError::Weights(report) if !report.unreadable.is_empty() => {
                    "\nhelp: get the file again, or go on with initial, random values by --allow-incomplete"
                }
                LoadError::Weights(report) if report.wrong_shape.is_empty() => {
                    "\nhelp: `smalti weights` shows what is in the checkpoint; --prefix and --section choose of it; \
                     --allow-incomplete goes on with initial, random values"
                }
                _ => "",
            };
            format!("{error}{help}")
        })
    }
}
