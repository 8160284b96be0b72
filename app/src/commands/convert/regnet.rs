//! `smalti convert regnet2mmdet`.

use smalti::weights::convert::regnet_to_mmdet;

use super::super::weights::load_with_bar;
use super::Files;

/// Convert a RegNetX of pycls: the names that MMDetection's tools/model_converters/regnet2mmdet.py gives, for `init_cfg`.
#[derive(Debug, clap::Args)]
pub struct RegnetArgs {
    #[command(flatten)]
    files: Files,
}

impl RegnetArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        let file = match &self.files.section {
            Some(_) => self.files.read()?,
            // pycls keeps its weights there.
            None => match load_with_bar(&self.files.src, Some("model_state")) {
                Ok(file) => file,
                Err(_) => self.files.read()?,
            },
        };
        let new = regnet_to_mmdet(&file).map_err(|e| e.to_string())?;
        self.files.write(&new)
    }
}
