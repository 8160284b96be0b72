//! `smalti convert format`.

use smalti::weights::convert::Conversion;

use super::Files;

/// Write the weights in the form that the new file's name says: .pth, or .safetensors.
///
/// As `smalti weights SRC --out DST`; both forms keep every tensor's bits. What training goes on from is left out.
#[derive(Debug, clap::Args)]
pub struct FormatArgs {
    #[command(flatten)]
    files: Files,
}

impl FormatArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        let file = self.files.read()?;
        let new = Conversion::unchanged(&file).map_err(|e| e.to_string())?;
        self.files.write(&new)
    }
}
