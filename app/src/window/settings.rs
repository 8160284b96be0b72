//! What the window remembers from one day to the next: adapter, theme, size, motion, recent files. A JSON file in the platform's data folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::views::panes;

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the desktop has it.
    #[default]
    System,
    /// Always dark.
    Dark,
    /// Always light.
    Light,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Size of everything, 1 as designed.
    pub size: f32,
    /// Nothing moves by itself.
    pub reduce_motion: bool,
    /// What to run on, as `--device` takes it.
    pub device: String,
    /// Files and folders that were open, newest first.
    pub recent: Vec<PathBuf>,
    /// Whether the inspector is shown.
    pub inspector: bool,
    /// Whether the problems are shown below the text.
    pub problems: bool,
    /// How panes of views lie.
    pub panes: panes::AllKept,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::System,
            size: 1.0,
            reduce_motion: false,
            device: smalti::device::default_spec(),
            recent: Vec::new(),
            inspector: true,
            problems: true,
            panes: panes::AllKept::default(),
        }
    }
}

/// Smallest and largest size.
pub const SIZES: std::ops::RangeInclusive<f32> = 0.8..=2.0;
/// Recent files that are remembered.
const RECENT: usize = 20;
const FILE: &str = "settings.json";

impl Settings {
    /// What was remembered; the defaults where nothing was, and what is wrong with the file if it cannot be used.
    pub fn load(host: &dyn Host) -> (Self, Option<String>) {
        let path = host.data().join(FILE);
        if host.head(&path, 1).is_none() {
            return (Self::default(), None);
        }
        let read = host
            .read(&path)
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).map_err(|e| e.to_string()));
        match read {
            Ok(mut settings) => {
                settings.size = if settings.size.is_finite() {
                    settings.size.clamp(*SIZES.start(), *SIZES.end())
                } else {
                    1.0
                };
                settings.recent.truncate(RECENT);
                (settings, None)
            }
            Err(why) => (
                Self::default(),
                Some(format!(
                    "{} cannot be used, so settings are the first ones again: {why}",
                    path.display()
                )),
            ),
        }
    }

    /// Remembers.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub fn save(&self, host: &dyn Host) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| e.to_string())?;
        host.write(&host.data().join(FILE), &text)
    }

    /// Puts a file first among the recent ones.
    pub fn opened(&mut self, path: &Path) {
        self.recent.retain(|p| p != path);
        self.recent.insert(0, path.to_owned());
        self.recent.truncate(RECENT);
    }
}
