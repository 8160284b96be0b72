//! [`first_weights`]: what a run begins with.

use std::sync::Arc;

use super::TrainError;
use crate::config::Config;
use crate::layers::{StateEntry, StateSource, TensorSource};
use crate::model;
use crate::weights::{Checkpoint, LoadReport, Wanted, report};

/// The weights of `checkpoint` for a model of `planned` tensors, and how they fit. Tensors of another shape, as a head's of other classes, are
/// left out.
///
/// # Errors
/// None fits.
pub fn first_weights(
    config: &Config,
    planned: Vec<StateEntry>,
    checkpoint: Arc<Checkpoint>,
) -> Result<(Box<dyn TensorSource>, LoadReport), TrainError> {
    let aligned = model::aligned(config, checkpoint, &planned);
    let checkpoint = aligned.map_err(|e| TrainError::Config(config.errors(e)))?;
    let wanted: Vec<_> = planned.into_iter().map(Wanted::from).collect();
    let report = report(&wanted, &checkpoint, None);
    if report.matched.is_empty() {
        return Err(TrainError::Fault(format!(
            "nothing of the weights to begin with (`load_from`) fits this model:\n{report}"
        )));
    }
    Ok((Box::new(StateSource::new(checkpoint, None)), report))
}
