//! The commands, and what several of them share.

pub mod analyze;
pub mod bench;
mod bench_backbone;
mod bench_data;
pub mod browse;
pub mod channels;
pub mod completions;
pub mod config;
pub mod convert;
pub mod demo;
pub mod detect;
pub mod devices;
pub mod list;
pub mod model;
mod proposals;
pub mod test;
pub mod train;
pub mod weights;

use crate::style;
use clap::Args;
use smalti::Precision;
use smalti::device::Chosen;

/// In which numbers to compute.
#[derive(Args, Debug, Clone)]
pub struct PrecisionArg {
    /// f32, or f16 for the products of convolutions, on a GPU that has it
    #[arg(long, value_name = "P", default_value = "f32")]
    pub precision: Precision,
}

impl PrecisionArg {
    /// What `chosen` has of it, after saying on standard error if that is not what was asked for.
    pub fn on(&self, chosen: &Chosen) -> Precision {
        let precision = self.precision.on(&chosen.device);
        if precision != self.precision {
            let (asked, name) = (self.precision, &chosen.name);
            style::note(&format!("{name} has no {asked}: computed in {precision}"));
        }
        precision
    }
}

/// Where to run.
#[derive(Args, Debug, Clone)]
pub struct DeviceArg {
    /// auto (a GPU if there is one, else the CPU), cpu, gpu, or part of an adapter's name (see `smalti devices`)
    #[arg(
        long,
        short,
        value_name = "D",
        default_value = "auto",
        env = "SMALTI_DEVICE"
    )]
    pub device: String,
}

impl DeviceArg {
    /// The device, after saying on standard error what is noteworthy about it.
    pub fn choose(&self) -> Result<Chosen, String> {
        let chosen =
            pollster::block_on(smalti::device::choose(&self.device)).map_err(|e| e.to_string())?;
        for note in &chosen.notes {
            style::note(note);
        }
        Ok(chosen)
    }
}
