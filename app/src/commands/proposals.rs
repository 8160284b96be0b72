//! `--proposals FILE`: where objects may be, for detectors that propose nothing themselves (Fast R-CNN).

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use smalti::config::Config;
use smalti::data::{Fault, Picture, PictureError};
use smalti::weights::{ProposalFile, proposal_key, read_proposals};

/// The option.
#[derive(Args)]
pub struct ProposalsArg {
    /// File of proposals, as MMDetection's DumpProposals writes it: of each picture by its folder and name, for a detector without a first
    /// stage. If not given, what `test_dataloader.dataset.proposal_file` names
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    proposals: Option<PathBuf>,
}

/// Proposals that were read.
pub struct Given(Option<(PathBuf, ProposalFile)>);

impl ProposalsArg {
    /// Reads the file, if there is to be one.
    pub fn read(&self, config: &Config) -> Result<Given, String> {
        let Some(path) = self.proposals.clone().or_else(|| configured(config)) else {
            return Ok(Given(None));
        };
        let bytes = std::fs::read(&path).map_err(|e| e.to_string());
        let read = bytes.and_then(read_proposals);
        let found = read.map_err(|e| format!("proposals of {}: {e}", path.display()))?;
        Ok(Given(Some((path, found))))
    }
}

/// The file that the test data set names.
fn configured(config: &Config) -> Option<PathBuf> {
    let dataset = config.root.at("test_dataloader.dataset")?;
    let text = |key: &str| dataset.get(key).and_then(|n| n.as_str());
    let file = text("proposal_file")?;
    Some(Path::new(text("data_root").unwrap_or("")).join(file))
}

impl Given {
    /// The picture of the file `path` with what there is for it.
    ///
    /// # Errors
    /// There is a file, but nothing of this picture in it.
    pub fn add_to(&self, picture: Picture, path: &Path) -> Result<Picture, PictureError> {
        let Some((file, found)) = &self.0 else {
            return Ok(picture);
        };
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let whole = whole.to_string_lossy().replace('\\', "/");
        let key = proposal_key(&whole);
        match found.get(key) {
            Some(proposals) => Ok(picture.with_proposals(proposals.clone())),
            None => {
                let what = format!("`{}` has no proposals of `{key}`", file.display());
                let name = path.display().to_string();
                Err(PictureError::new(name, Fault::Transform(what)))
            }
        }
    }
}
