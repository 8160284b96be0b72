//! `smalti convert detectron2-to-mmdet`.

use smalti::weights::convert::{detectron2_native, detectron2_to_mmdet};

use super::{ConfigOut, Files};

/// Convert a Detectron2 checkpoint (.pkl or .pth).
///
/// Without --native this writes what MMDetection's tools/model_converters/detectron2_to_mmdet.py writes, for a config whose model is a
/// `Detectron2Wrapper`. With --native the weights get the names, and RetinaNet's anchors the order, of MMDetection's own FasterRCNN, MaskRCNN or
/// RetinaNet with FPN, and a config with Detectron2's settings is written beside them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  smalti convert detectron2-to-mmdet model_final_280758.pkl faster-rcnn.pth
      All names behind `d2_model.`, for `Detectron2Wrapper`.
  smalti convert detectron2-to-mmdet model_final_280758.pkl faster-rcnn.pth --native
      And faster-rcnn.py: smalti detect faster-rcnn.py faster-rcnn.pth a.jpg

Colours: Detectron2's zoo wants BGR without division (std 1), torchvision's weights RGB. A model that gets the wrong order still runs,
and loses about 5 AP.")]
pub struct Detectron2Args {
    #[command(flatten)]
    files: Files,
    /// What all names begin with: the wrapper's name for the model
    #[arg(long, default_value = "d2_model", conflicts_with = "native")]
    prefix: String,
    /// For MMDetection's own models, with a config
    #[arg(long)]
    native: bool,
    /// The model wants RGB (INPUT.FORMAT of its config), not BGR
    #[arg(long, requires = "native")]
    rgb: bool,
    /// The strides are in the 3x3 convolutions (MODEL.RESNETS.STRIDE_IN_1X1 False), as in torchvision's backbones
    #[arg(long, requires = "native")]
    pytorch_style: bool,
    #[command(flatten)]
    config: ConfigOut,
}

impl Detectron2Args {
    pub(super) fn run(&self) -> Result<(), String> {
        if !self.native {
            if self.config.config.is_some() {
                return Err("--config is for --native: `Detectron2Wrapper` takes its settings from your own config".to_owned());
            }
            let file = self.files.read()?;
            let new = detectron2_to_mmdet(&file, &self.prefix).map_err(|e| e.to_string())?;
            return self.files.write(&new);
        }
        self.config.path(&self.files.dst)?;
        let file = self.files.read()?;
        let new = detectron2_native(&file, self.rgb, self.pytorch_style);
        self.config
            .write(&self.files, &new.map_err(|e| e.to_string())?)
    }
}
