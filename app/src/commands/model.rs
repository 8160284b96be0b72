//! What several commands ask about a config and its model.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use smalti::config::{Config, Diagnostic, check_commas};
use smalti::data::{Lookup, datasets};
use smalti::host::disk::Disk;
use smalti::weights::{Checkpoint, Wanted};

use super::config::ReadOptions;
use super::weights::load_with_bar;

/// What is wrong with a config's model and its data sets, for `smalti config check`. What is not built yet is a note.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut found = check_commas(config);
    let registry = smalti::registry();
    found.extend(smalti::model::check(config, &registry));
    let (disk, look) = (Disk::new(), Lookup::of(&registry, config));
    found.extend(datasets::check_with(config, Some(&disk), look));
    // A comma is found by the checks of its place too.
    let mut commas = BTreeSet::new();
    found.retain(|finding| {
        let comma = finding
            .labels
            .last()
            .filter(|(_, label)| label == "this comma");
        comma.is_none_or(|(origin, _)| commas.insert(origin.to_string()))
    });
    found
}

/// Keys and shapes of the model that a config describes, for `smalti weights --config`.
pub fn state_of(path: &Path, options: &[String]) -> Result<Vec<Wanted>, String> {
    let read = ReadOptions {
        cfg_options: options.to_vec(),
        ..ReadOptions::default()
    };
    let config = read.load(&path.to_string_lossy())?;
    let state = smalti::model::state(&config, &smalti::registry());
    let state = state.map_err(|problems| config.errors(problems).to_string())?;
    Ok(state.into_iter().map(Wanted::from).collect())
}

/// A checkpoint by path, address or name, with a progress bar while it is downloaded.
pub fn open_checkpoint(name: &str) -> Result<Checkpoint, String> {
    load_with_bar(name, None).map_err(|e| e.to_string())
}

/// [`open_checkpoint`] as the library asks for what `init_cfg` and `load_from` name.
pub fn open_shared(name: &str) -> Result<Arc<Checkpoint>, String> {
    open_checkpoint(name).map(Arc::new)
}
