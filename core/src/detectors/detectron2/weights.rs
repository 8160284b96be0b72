//! Which tensors of a checkpoint are a Detectron2 model's: Detectron2's matching of names, by which those of a ResNet alone find their place in a
//! whole detector, and those of a detector theirs in a wrapper.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::layers::StateEntry;
use crate::weights::Checkpoint;

/// The checkpoint with the names of the model's tensors: a tensor of the model has the one whose name is the longest end of its own.
///
/// # Errors
/// A tensor of the checkpoint would be two of the model.
pub fn aligned(
    checkpoint: &Arc<Checkpoint>,
    model: &[StateEntry],
) -> Result<Arc<Checkpoint>, String> {
    let there: HashSet<&str> = checkpoint.keys().collect();
    let mut names: HashMap<&str, &str> = HashMap::new();
    for entry in model {
        let key = entry.key.as_str();
        let ends = key.match_indices('.').map(|(at, _)| &key[at + 1..]);
        let mut ends = std::iter::once(key).chain(ends);
        let Some(own) = ends.find(|end| there.contains(end)) else {
            continue;
        };
        if let Some(other) = names.insert(own, key) {
            return Err(format!(
                "`{own}` of the checkpoint would be two tensors of the model: `{other}` and `{key}`"
            ));
        }
    }
    let renamed = checkpoint.renamed(|key| names.get(key).copied().unwrap_or(key).to_string());
    renamed.map(Arc::new).map_err(|e| e.to_string())
}
