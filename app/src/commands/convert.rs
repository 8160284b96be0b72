//! `smalti convert`: checkpoints of other software and of older versions for MMDetection 3, published checkpoints, other formats.
//!
//! One converter, one file; the work itself is in `smalti::weights::convert`. The new file appears whole or not at all, and each converter says what it
//! changed.

mod detectron2;
mod format;
mod publish;
mod regnet;
mod reparameterize;
mod torchvision;
mod upgrade;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use smalti::host::checkpoint_files;
use smalti::host::files::AtomicFile;
use smalti::weights::Checkpoint;
use smalti::weights::convert::Conversion;

use super::weights::{Form, load_with_bar};
use crate::style;

/// One converter.
#[derive(Debug, clap::Subcommand)]
pub enum ConvertCommand {
    /// Detectron2's checkpoints, for `Detectron2Wrapper` or (--native) for MMDetection's own models
    #[command(name = "detectron2-to-mmdet")]
    Detectron2(detectron2::Detectron2Args),
    /// torchvision's Faster R-CNN, Mask R-CNN and RetinaNet, with the config that goes with them
    #[command(name = "torchvision-to-mmdet")]
    Torchvision(torchvision::TorchvisionArgs),
    /// RegNets of pycls
    #[command(name = "regnet2mmdet")]
    Regnet(regnet::RegnetArgs),
    /// Checkpoints of MMDetection 1.x and 2.x
    UpgradeModelVersion(upgrade::UpgradeArgs),
    /// SSDs of MMDetection before 2.15
    UpgradeSsdVersion(upgrade::UpgradeSsdArgs),
    /// The weights alone, with a digest in the file's name
    Publish(publish::PublishArgs),
    /// .pth to .safetensors, and back
    Format(format::FormatArgs),
    /// Merge the branches of a trained RepVGG, MobileOne or RepLKNet backbone into single convolutions
    Reparameterize(reparameterize::ReparameterizeArgs),
}

/// Runs a converter.
///
/// # Errors
/// What is wrong with a file, and what to do.
pub fn run(command: &ConvertCommand) -> Result<ExitCode, String> {
    match command {
        ConvertCommand::Detectron2(args) => args.run(),
        ConvertCommand::Torchvision(args) => args.run(),
        ConvertCommand::Regnet(args) => args.run(),
        ConvertCommand::UpgradeModelVersion(args) => args.run(),
        ConvertCommand::UpgradeSsdVersion(args) => args.run(),
        ConvertCommand::Publish(args) => args.run(),
        ConvertCommand::Format(args) => args.run(),
        ConvertCommand::Reparameterize(args) => args.run(),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What is converted to what.
#[derive(Debug, clap::Args)]
struct Files {
    /// Path, address or name of the checkpoint: .pth, .pkl or .safetensors
    #[arg(value_name = "SRC", value_hint = clap::ValueHint::FilePath)]
    src: String,
    /// The new file: .pth or .safetensors
    #[arg(value_name = "DST", value_hint = clap::ValueHint::FilePath)]
    dst: PathBuf,
    /// Take this part of the file as the state dict, such as ema_state_dict
    #[arg(long)]
    section: Option<String>,
}

impl Files {
    /// Reads SRC, after a look at DST's name, since that is quick.
    fn read(&self) -> Result<Checkpoint, String> {
        Form::of(&self.dst)?;
        load_with_bar(&self.src, self.section.as_deref()).map_err(|e| e.to_string())
    }

    /// Writes DST and says what was changed.
    fn write(&self, new: &Conversion<'_>) -> Result<(), String> {
        write(new, &self.dst)?;
        self.tell(new, &self.dst);
        Ok(())
    }

    fn tell(&self, new: &Conversion<'_>, path: &Path) {
        style::say(format!("{}: {} tensors", path.display(), new.len()));
        style::say(&new.changes);
    }
}

/// Where the config goes that a converter writes.
#[derive(Debug, clap::Args)]
struct ConfigOut {
    /// Write the config to this file [default: DST with .py, which must not be there yet]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

impl ConfigOut {
    /// The config's path. A file that is there already may be somebody's work.
    fn path(&self, dst: &Path) -> Result<PathBuf, String> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        let path = dst.with_extension("py");
        match path.exists() {
            false => Ok(path),
            true => Err(format!(
                "`{0}` is there already, and is not overwritten\nhelp: name the file for the config: --config {0}",
                path.display()
            )),
        }
    }

    /// Writes weights and config and says what was changed.
    fn write(&self, files: &Files, new: &Conversion<'_>) -> Result<(), String> {
        let path = self.path(&files.dst)?;
        files.write(new)?;
        let Some(config) = &new.config else {
            return Ok(());
        };
        write_text(&path, config)?;
        style::say(format!("{}: the config for it", path.display()));
        Ok(())
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), String> {
    let written = AtomicFile::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.commit()
    });
    written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}

/// Writes the tensors in the form that the file's name says.
fn write(new: &Conversion<'_>, path: &Path) -> Result<(), String> {
    let form = Form::of(path)?;
    checkpoint_files::save(path, |out| write_as(new, form, out)).map_err(|e| e.to_string())
}

fn write_as(
    new: &Conversion<'_>,
    form: Form,
    out: &mut dyn Write,
) -> Result<(), smalti::weights::SaveError> {
    match form {
        Form::Torch => new.write_torch(out),
        Form::Safetensors => new.write_safetensors(out),
    }
}
