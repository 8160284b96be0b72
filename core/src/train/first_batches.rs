//! The first batches of a run as pictures, so that one sees what is learned: `train_batch_0.png` and on in the work directory.

use super::Learned;
use super::Stop;
use super::hooks::{Hook, Step};
use super::run::Run;
use crate::draw::batch::draw_batch;
use crate::host::checkpoint_files;

/// How many.
const BATCHES: u64 = 3;

/// Draws them.
pub(super) struct FirstBatchesHook;

impl Hook for FirstBatchesHook {
    fn name(&self) -> &'static str {
        "FirstBatchesHook"
    }

    fn before_train_iter(&mut self, run: &mut Run) -> Step {
        let iter = run.position.iter;
        let Some(learned) = run.batch.as_ref().filter(|_| iter < BATCHES) else {
            return Ok(());
        };
        let Learned { batch, targets } = learned;
        let meta = run.meta();
        let heading = format!("Iteration {}", iter + 1);
        let drawn = draw_batch(&heading, batch, targets, &run.preprocessor, &meta);
        let drawn = pollster::block_on(drawn).map_err(Stop::fault)?;
        let png = drawn.png().map_err(|e| Stop::fault(e.to_string()))?;
        let path = run.path(&format!("train_batch_{iter}.png"));
        let written = checkpoint_files::save(&path, |file| Ok(file.write_all(&png)?));
        written.map_err(|e| Stop::fault(e.to_string()))
    }
}
