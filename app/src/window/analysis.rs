//! What a config means: read with its bases, open texts in place of their files, and checked as `smalti config check` does. Away from the
//! window's thread, at each key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smalti::config::{Config, ConfigErrors, Configs, Diagnostic, LoadError, Loader, Severity};
use smalti::detectors::detectron2;

use super::document::DocumentId;
use super::host::Host;

/// A text to be read.
pub struct Question {
    /// Which document.
    pub document: DocumentId,
    /// Its version.
    pub version: u64,
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// All open texts, by the path that a config would name them by.
    pub open: BTreeMap<String, String>,
    /// Where files come from.
    pub host: Arc<dyn Host>,
}

/// What was found.
#[derive(Debug)]
pub struct Analysis {
    /// Which document.
    pub document: DocumentId,
    /// The version that was read.
    pub version: u64,
    /// The text that was read.
    pub text: String,
    /// The resolved config, unless it cannot be read.
    pub config: Option<Config>,
    /// What is wrong or noteworthy: errors first, then in the order in which they were found.
    pub found: Vec<Diagnostic>,
    /// Weights that the config names and that are there: what its last run wrote, then `load_from`.
    pub weights: Vec<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

impl Analysis {
    /// How many findings are as bad as this.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|d| d.severity == severity).count()
    }
}

/// Reads and checks.
pub fn analyse(question: Question) -> Analysis {
    let began = question.host.now();
    let loader = Open {
        texts: question.open,
        files: question.host.configs(),
    };
    let name = super::document::key(&question.path);
    let read = read(&*question.host, &loader, &name, &question.text);
    let (config, mut found) = match read {
        Ok(config) => {
            let mut found = config.notes.clone();
            found.extend(
                config
                    .errors(crate::check::check(&config, &*question.host.files()))
                    .diagnostics,
            );
            (Some(config), found)
        }
        Err(errors) => (None, errors.diagnostics),
    };
    found.sort_by_key(|d| match d.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Note => 2,
    });
    let of_config = config.as_ref();
    let weights = of_config.map_or_else(Vec::new, |config| weights(&*question.host, config));
    let took = question.host.now().saturating_sub(began);
    Analysis {
        document: question.document,
        version: question.version,
        text: question.text,
        config,
        found,
        weights,
        took,
    }
}

fn weights(host: &dyn Host, config: &Config) -> Vec<PathBuf> {
    let named = config.get("load_from").and_then(|node| node.as_str());
    let named = named.map(|path| host.absolute(Path::new(path)));
    let named = named.filter(|path| host.head(path, 0).is_some());
    // a page trains nothing
    #[cfg(not(target_arch = "wasm32"))]
    let last = host.last_checkpoint(&host.absolute(&smalti::train::work_dir(config)));
    #[cfg(target_arch = "wasm32")]
    let last = None;
    last.into_iter().chain(named).collect()
}

/// Reads a text with its bases.
fn read(
    host: &dyn Host,
    loader: &dyn Loader,
    name: &str,
    text: &str,
) -> Result<Config, ConfigErrors> {
    let config = Config::parse(text, name, loader)?;
    if detectron2::is(&config) {
        let datasets = host.detectron2_datasets();
        detectron2::config_of(config, &[], &datasets, &mut Configs::new(loader))
    } else {
        Ok(config)
    }
}

/// Reads a config from its file, whatever texts are open.
///
/// # Errors
/// What is wrong with it.
pub fn load(host: &dyn Host, path: &Path) -> Result<Config, String> {
    let files = host.configs();
    let bytes = host
        .read(path)
        .map_err(|why| format!("{}: {why}", path.display()))?;
    let name = super::document::key(path);
    let read = read(host, &*files, &name, &super::files::text_of(bytes));
    read.map_err(|errors| errors.to_string())
}

/// Open texts first, then files.
pub struct Open {
    /// Texts, by the path that a config would name them by.
    pub texts: BTreeMap<String, String>,
    /// Where all other files come from.
    pub files: Box<dyn Loader>,
}

impl Loader for Open {
    fn read(&self, path: &str) -> Result<String, LoadError> {
        match self.texts.get(path) {
            Some(text) => Ok(text.clone()),
            None => self.files.read(path),
        }
    }

    fn list(&self, folder: &str) -> Vec<String> {
        self.files.list(folder)
    }

    fn package(&self, name: &str) -> Vec<String> {
        self.files.package(name)
    }

    fn env(&self, name: &str) -> Result<Option<String>, String> {
        self.files.env(name)
    }

    fn absolute(&self, path: &str) -> String {
        self.files.absolute(path)
    }
}
