//! `smalti convert publish`.

use smalti::host::checkpoint_files::save_with_digest;
use smalti::weights::convert::Conversion;

use super::{Files, write_as};
use crate::commands::weights::Form;

/// Make a checkpoint small and give it a name that tells whether it is whole.
///
/// Keeps the weights (averaged ones, where EMAHook was used) and of `meta` epoch, classes, config and short facts; drops optimizer, schedules
/// and values before averaging. The first eight hex digits of the file's SHA-256 go into its name, where `torch.hub` and this program check
/// them: out.pth becomes out-0a1b2c3d.pth.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    #[command(flatten)]
    files: Files,
}

impl PublishArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        let file = self.files.read()?;
        let new = Conversion::unchanged(&file).map_err(|e| e.to_string())?;
        let form = Form::of(&self.files.dst)?;
        let path = save_with_digest(&self.files.dst, |out| write_as(&new, form, out));
        self.files.tell(&new, &path.map_err(|e| e.to_string())?);
        Ok(())
    }
}
