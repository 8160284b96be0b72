//! [`config_of`]: a Detectron2 YAML as a config that the commands here read: what [`run`] makes of it.

use super::config::{defaults, merge_file, with_pairs};
use super::{run, served};
use crate::config::{Config, ConfigErrors, Configs, Diagnostic};

/// Bases of bases.
const MOST_BASES: usize = 16;

/// Whether a config is one of Detectron2's: it says its settings in upper case, and has none of MMDetection's.
pub fn is(config: &Config) -> bool {
    let ours = ["MODEL", "_BASE_"]
        .iter()
        .any(|key| config.get(key).is_some());
    ours && config.get("model").is_none()
}

/// Such a config with its bases, changed by `pairs` of names and values, as one of ours. `datasets` is the folder of Detectron2's data sets.
///
/// # Errors
/// A base cannot be read, or a setting is wrong.
pub fn config_of(
    config: Config,
    pairs: &[String],
    datasets: &str,
    configs: &mut Configs<'_>,
) -> Result<Config, ConfigErrors> {
    let mut files = vec![config];
    while let Some(base) = files.last().and_then(|file| file.get("_BASE_")) {
        let file = files.last().expect("it was just asked");
        let fail = |message: &str| {
            let error = Diagnostic::error(message).at(&base.origin, "");
            file.errors(vec![error])
        };
        let name = base.as_str().ok_or_else(|| fail("`_BASE_` is one path"))?;
        if files.len() > MOST_BASES {
            return Err(fail("too many bases: is one of them its own?"));
        }
        let folder = file.path.rsplit_once(['/', '\\']).map(|(folder, _)| folder);
        let path = match folder {
            Some(folder) if !name.starts_with(['/', '~']) => format!("{folder}/{name}"),
            _ => name.to_string(),
        };
        let next = configs.load(&path)?;
        files.push(next);
    }
    let mut whole = defaults();
    for file in files.iter().rev() {
        whole = merge_file(&whole, &file.root).map_err(|problems| file.errors(problems))?;
    }
    let mut config = files.swap_remove(0);
    whole = with_pairs(&whole, pairs).map_err(|problems| config.errors(problems))?;
    config.root = run::config(whole, datasets).map_err(|e| config.errors(e))?;
    let notes = served::notes(&config);
    config.notes.extend(notes);
    Ok(config)
}
