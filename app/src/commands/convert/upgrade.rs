//! `smalti convert upgrade-model-version` and `upgrade-ssd-version`.

use smalti::weights::convert::{Upgrade, upgrade_model_version, upgrade_ssd_version};

use super::Files;

/// Convert a checkpoint of MMDetection 1.x or 2.x for 3.x: names of the second stage, background last, RPN with softmax.
///
/// As MMDetection's tools/model_converters/upgrade_model_version.py, but for biases: that tool moves those of RPN, RetinaNet and SSD by one although
/// their weights stay, and drops the last class's instead of the background's from boxes and masks. --as-original does that, too.
#[derive(Debug, clap::Args)]
pub struct UpgradeArgs {
    #[command(flatten)]
    files: Files,
    /// Classes of the old model, with the background
    #[arg(long, value_name = "N", default_value_t = 81)]
    num_classes: usize,
    /// The version of MMDetection that it was trained with, such as 1.0.0 [default: as the file says]
    #[arg(long, value_name = "VERSION")]
    from_version: Option<String>,
    /// Do all as MMDetection's own converter, with its mistakes
    #[arg(long)]
    as_original: bool,
}

impl UpgradeArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        let how = Upgrade {
            num_classes: self.num_classes,
            version: self.from_version.clone(),
            as_original: self.as_original,
        };
        let file = self.files.read()?;
        let new = upgrade_model_version(&file, &how).map_err(|e| e.to_string())?;
        self.files.write(&new)
    }
}

/// Convert an SSD of MMDetection before 2.15, whose extra layers were the backbone's.
#[derive(Debug, clap::Args)]
pub struct UpgradeSsdArgs {
    #[command(flatten)]
    files: Files,
}

impl UpgradeSsdArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        let file = self.files.read()?;
        let new = upgrade_ssd_version(&file).map_err(|e| e.to_string())?;
        self.files.write(&new)
    }
}
