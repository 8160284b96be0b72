//! `smalti convert torchvision-to-mmdet`.

use smalti::weights::convert::torchvision_to_mmdet;

use super::{ConfigOut, Files};

/// Convert torchvision's fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn or retinanet_resnet50_fpn.
///
/// The background, class 0 in torchvision, becomes the last; a config with torchvision's settings is written beside the weights. Of COCO's 91
/// numbers those 80 are kept that have a category, in MMDetection's order.
#[derive(Debug, clap::Args)]
pub struct TorchvisionArgs {
    #[command(flatten)]
    files: Files,
    /// Keep all classes: also COCO's numbers without a category, and RetinaNet's class 0
    #[arg(long)]
    all_classes: bool,
    /// eps of the backbone's norms [default: 0 for COCO's 91 classes, as torchvision's own first models have it, else 1e-5]
    #[arg(long, value_name = "EPS", value_parser = eps)]
    norm_eps: Option<f64>,
    #[command(flatten)]
    config: ConfigOut,
}

fn eps(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    let value = value.filter(|eps| (0.0..=1.0).contains(eps));
    value.ok_or_else(|| "expected a number from 0 to 1, such as 1e-5".to_owned())
}

impl TorchvisionArgs {
    pub(super) fn run(&self) -> Result<(), String> {
        self.config.path(&self.files.dst)?;
        let file = self.files.read()?;
        let new = torchvision_to_mmdet(&file, self.all_classes, self.norm_eps);
        self.config
            .write(&self.files, &new.map_err(|e| e.to_string())?)
    }
}
