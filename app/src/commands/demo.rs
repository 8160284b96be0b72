//! `smalti demo`: a trained detector on a picture, both inside the program.

use crate::style;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use smalti::Predictor;
use smalti::config::{Config, MapLoader};
use smalti::host::files::AtomicFile;
use smalti::results::{Naming, ResultWriter};
use smalti::weights::Checkpoint;

use super::DeviceArg;
use super::detect::save;
use crate::demo::{CHECKPOINT, CONFIG, CONFIG_NAME, PICTURE, PICTURE_NAME};
use crate::drawn::DRAWN_SCORE;

/// Arguments of `smalti demo`.
#[derive(Args)]
#[command(
    after_help = "The detector is MMPretrain's MobileNetV3-small in MMDetection's RetinaNet, as on MMDetection's how-to page, trained by Smalti \
    on handwritten digits. Its config, checkpoint, log of the training and picture are in configs/demo/."
)]
pub struct DemoArgs {
    /// Where the drawn picture goes
    #[arg(long, value_name = "FILE", default_value = "smalti-demo.png")]
    out: PathBuf,
    /// Another picture to read
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Write all detections to this file, in COCO's result form
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command.
pub fn run(args: &DemoArgs) -> Result<ExitCode, String> {
    let chosen = args.device.choose()?;
    let config = Config::parse(CONFIG, CONFIG_NAME, &MapLoader::default());
    let config = config.map_err(|e| e.to_string())?;
    let checkpoint = Checkpoint::read(CHECKPOINT).map_err(|e| e.to_string())?;
    let predictor = Predictor::builder(&config)
        .checkpoint(checkpoint)
        .device(&chosen.device)
        .build()
        .map_err(|e| e.to_string())?;
    let (name, bytes) = match &args.picture {
        None => (PICTURE_NAME.into(), PICTURE.to_vec()),
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            (path.display().to_string(), bytes)
        }
    };
    let picture = predictor.decode(&name, &bytes).map_err(|e| e.to_string())?;
    let found = pollster::block_on(predictor.detect(std::slice::from_ref(&picture)));
    let found = found.map_err(|e| e.to_string())?.remove(0);
    let count = found
        .scores
        .iter()
        .take_while(|s| **s >= DRAWN_SCORE)
        .count();
    style::say(format_args!("{count} digits in {name}, on {}", chosen.name));
    for i in 0..count {
        let [x1, y1, x2, y2] = found.boxes[i];
        let digit = &predictor.classes()[found.labels[i]];
        style::say(format_args!(
            "  {digit}  score {:.2}  x {x1:.0} to {x2:.0}, y {y1:.0} to {y2:.0}",
            found.scores[i]
        ));
    }
    save(&args.out, &picture, &found, count, predictor.classes())?;
    style::say(format_args!("drawn: {}", args.out.display()));
    if let Some(path) = &args.json {
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let naming = Naming::new(predictor.classes(), None)?;
        let mut writer =
            ResultWriter::new(AtomicFile::create(path).map_err(failed)?).map_err(failed)?;
        writer.picture(&naming, &name, &found).map_err(failed)?;
        writer
            .finish()
            .and_then(AtomicFile::commit)
            .map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}
