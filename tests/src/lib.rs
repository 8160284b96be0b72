//! Tests that need more than one crate, and what the programs `golden` and `corpus` share.
//!
//! - `config_corpus`: every config of two packages against its resolved form
//! - `spine`: models against MMDetection's outputs, on the CPU and on a GPU
//! - `transform_rows`: data transforms against MMDetection's, on the CPU and on a GPU
//! - `demo`: the digit detector against MMDetection's detections
//! - `evaluation`: the figures of that detector against MMDetection's
//! - `learning`: what a training step does to a model before any loss
//! - `reparameterize`: checkpoints with merged branches against MMPretrain's
//! - `runs`: whole training runs, killed ones too
//! - `commands`: the program, as a user runs it
//! - `swapped_backbones`: the detectors of MMDetection's how-to page with other backbones
//! - `own_backbone`: a crate outside the workspace

pub mod corpus;
pub mod formula;
pub mod golden;
pub mod scenes;
pub mod training;
pub mod trajectory;
pub mod transforms;

#[cfg(test)]
mod commands;
#[cfg(test)]
mod config_corpus;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod evaluation;
#[cfg(test)]
mod learning;
#[cfg(test)]
mod own_backbone;
#[cfg(test)]
mod reparameterize;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod spine;
#[cfg(test)]
mod swapped_backbones;
#[cfg(test)]
mod transform_rows;

/// A GPU for a test, a software one included. Without one the test is skipped, which is a failure where `CI=true` promises one.
#[cfg(test)]
fn gpu() -> Option<burn::tensor::Device> {
    match pollster::block_on(smalti::device::choose("gpu")) {
        Ok(chosen) => Some(chosen.device),
        Err(e) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "CI promises an adapter: {e}"
            );
            eprintln!("skipped: {e}");
            None
        }
    }
}
