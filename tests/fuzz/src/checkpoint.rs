//! What holds for every checkpoint.

use smalti_weights::{Checkpoint, LoadReport, Stored, TrainingState, Wanted, report};

/// Elements of all tensors of a file that are read: a file may name the same bytes often.
const MOST: usize = 1 << 22;

/// Reads a file as a checkpoint, and all that it has.
pub fn checkpoint(bytes: &[u8]) {
    match Checkpoint::read(bytes.to_vec()) {
        Ok(checkpoint) => read_all(checkpoint),
        Err(error) => drop(error.to_string()),
    }
    for section in ["state_dict", "model.ema"] {
        if let Ok(checkpoint) = Checkpoint::read_section(bytes.to_vec(), Some(section)) {
            read_all(checkpoint);
        }
    }
    match TrainingState::read(bytes.to_vec()) {
        Ok(state) => write_again(&state),
        Err(error) => drop(error.to_string()),
    }
}

/// Writes a run that was read, and reads that.
fn write_again(state: &TrainingState<Stored>) {
    let mut elements = 0usize;
    drop(
        state
            .clone()
            .map(|tensor| elements = elements.saturating_add(tensor.view().count())),
    );
    let mut file = Vec::new();
    if elements > MOST || state.write(&mut file).is_err() {
        return;
    }
    // Names may be in each other's way: `module.x` is read as `x`.
    match TrainingState::read(file) {
        Ok(again) => {
            assert_eq!(again.optimizer.is_some(), state.optimizer.is_some());
            assert_eq!(again.averaged.is_some(), state.averaged.is_some());
        }
        Err(error) => drop(error.to_string()),
    }
}

fn read_all(mut checkpoint: Checkpoint) {
    let keys: Vec<String> = checkpoint.keys().map(str::to_owned).collect();
    let (mut wanted, mut left) = (Vec::new(), MOST);
    for key in &keys {
        let Ok(tensor) = checkpoint.tensor(key) else {
            assert!(checkpoint.fault(key).is_some(), "`{key}` has no fault");
            continue;
        };
        let count: usize = tensor.shape().iter().product();
        assert_eq!(tensor.count(), count);
        wanted.push(Wanted {
            key: key.clone(),
            shape: tensor.shape().to_vec(),
            once: None,
            square: None,
        });
        let Some(rest) = left.checked_sub(count) else {
            continue;
        };
        left = rest;
        if let Ok(values) = tensor.f32() {
            assert_eq!(values.len(), count);
        }
        if let Ok(values) = tensor.i64() {
            assert_eq!(values.len(), count);
        }
        if let Ok(bytes) = tensor.bytes() {
            assert_eq!(bytes.len(), count * tensor.dtype().size());
        }
    }
    let unreadable = checkpoint.unreadable().count();
    assert_eq!(wanted.len() + unreadable, keys.len());
    drop((checkpoint.meta().clone(), checkpoint.state()));

    // A model that wants just what is there gets it, also below a prefix.
    let own = report(&wanted, &checkpoint, None);
    assert_eq!(own.matched.len(), wanted.len());
    assert!(own.missing.is_empty() && own.wrong_shape.is_empty());
    drop(own.to_string());
    let below = |wanted: &Wanted| Wanted {
        key: format!("backbone.{}", wanted.key),
        ..wanted.clone()
    };
    let whole: Vec<Wanted> = wanted.iter().map(below).collect();
    let part = report(&whole, &checkpoint, None);
    drop(part.to_string());
    if left > 0 && keys.len() < 100 {
        let read: LoadReport = own.after_reading(&checkpoint);
        assert_eq!(read.matched.len() + read.unreadable.len(), wanted.len());
    }
    checkpoint.keep_prefix("backbone.");
    let kept = keys.iter().filter(|key| key.starts_with("backbone."));
    assert_eq!(checkpoint.keys().count(), kept.count());
}
