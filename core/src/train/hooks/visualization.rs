//! `DetVisualizationHook` of MMDetection 3.3: pictures of validations and tests with what was found in them, the ground truth beside it.
//!
//! They go where the original's `LocalVisBackend` has them: below `vis_data` in the folder of the run's log. Other backends, and windows
//! (`show`), are not there; a note says so. All pictures are PNG.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Given, Hook, OWN, Seen, Step};
use crate::config::{Bounded, Config, Diagnostics, Node, error_at};
use crate::draw::beside::draw_beside;
use crate::host::checkpoint_files;
use crate::train::Stop;
use crate::train::run::Run;

/// Draws pictures.
#[derive(Clone, Debug)]
pub struct DetVisualizationHook {
    draw: bool,
    interval: u64,
    score_thr: f32,
    test_out_dir: Option<String>,
    backends: Backends,
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    draw: Option<bool>,
    interval: Option<Bounded<1, { u32::MAX as usize }>>,
    score_thr: Option<f64>,
    show: Option<bool>,
    test_out_dir: Option<String>,
}

/// What the config's `visualizer` writes to.
#[derive(Clone, Debug)]
struct Backends {
    /// The folder of `LocalVisBackend`, below `vis_data`, if that is among them.
    local: Option<String>,
    /// Types of the others.
    others: Vec<String>,
}

impl Backends {
    /// Those of `config`; without a `visualizer` that of MMEngine.
    fn read(config: &Config) -> Result<Self, Diagnostics> {
        const FOLDER: &str = "vis_image";
        let visualizer = config.get("visualizer").filter(|n| !n.is_none());
        let Some(visualizer) = visualizer else {
            return Ok(Self {
                local: Some(FOLDER.into()),
                others: Vec::new(),
            });
        };
        let mut backends = Self {
            local: None,
            others: Vec::new(),
        };
        let given = visualizer.get("vis_backends").filter(|n| !n.is_none());
        let items = given.map_or(Some(&[][..]), Node::as_items);
        let Some(items) = items else {
            let message = "`vis_backends` is a list of backends";
            return Err(error_at(visualizer, "vis_backends", message, ""));
        };
        for item in items {
            let name = item.get("type").and_then(Node::as_type).unwrap_or_default();
            let name = name.rsplit('.').next().unwrap_or_default();
            if name == "LocalVisBackend" {
                let folder = item.get("img_save_dir").and_then(Node::as_str);
                backends.local = Some(folder.unwrap_or(FOLDER).into());
            } else {
                backends.others.push(name.into());
            }
        }
        Ok(backends)
    }
}

pub(super) fn build(node: &Node, given: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    Ok(Box::new(DetVisualizationHook::read(node, given.config)?))
}

impl DetVisualizationHook {
    fn read(node: &Node, config: &Config) -> Result<Self, Diagnostics> {
        let keys: Keys = node.read_knowing(&[OWN, &["wait_time", "backend_args"]].concat())?;
        let backends = Backends::read(config)?;
        let mut notes = Vec::new();
        if keys.show == Some(true) {
            notes.push("`show` of DetVisualizationHook opens no window here: pictures are written, as without it".into());
        }
        if !backends.others.is_empty() {
            let others = backends.others.join(", ");
            let instead = match backends.local {
                Some(_) => "those of LocalVisBackend are",
                None => "add dict(type='LocalVisBackend') to `vis_backends`",
            };
            notes.push(format!(
                "DetVisualizationHook: pictures for {others} are not written here; {instead}"
            ));
        } else if backends.local.is_none() {
            notes.push("DetVisualizationHook draws nothing: `visualizer` has no `vis_backends`, add dict(type='LocalVisBackend')".into());
        }
        Ok(Self {
            draw: keys.draw == Some(true),
            interval: keys.interval.map_or(50, |n| n.get() as u64),
            score_thr: keys.score_thr.unwrap_or(0.3) as f32,
            test_out_dir: keys.test_out_dir,
            backends,
            notes,
        })
    }

    /// The one that a config has and that draws, for a test.
    ///
    /// # Errors
    /// It is wrong.
    pub fn of(config: &Config) -> Result<Option<Self>, Diagnostics> {
        let default = config.get("default_hooks").and_then(Node::as_dict);
        let default = default.into_iter().flat_map(|d| d.iter());
        let default = default.map(|(_, entry)| &entry.node);
        let custom = config.get("custom_hooks").and_then(Node::as_items);
        let is = |node: &&Node| {
            let name = node.get("type").and_then(Node::as_type);
            name.is_some_and(|name| name.rsplit('.').next() == Some("DetVisualizationHook"))
        };
        let mut all = default.chain(custom.into_iter().flatten()).filter(is);
        let hook = all.next().map(|node| Self::read(node, config)).transpose();
        Ok(hook?.filter(|hook| hook.draw))
    }

    /// What it does not do that the config asks for.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Draws a picture of a test; all are, as in the original.
    ///
    /// # Errors
    /// It cannot be read again, or nothing can be written.
    pub fn test_picture(&self, seen: &Seen) -> Result<(), String> {
        let path = match &self.test_out_dir {
            Some(folder) => {
                let name = Path::new(&seen.told.info.img_path).with_extension("png");
                let folder = seen.log_dir.join(folder);
                Some(folder.join(name.file_name().unwrap_or_default()))
            }
            None => self.local(seen, format!("test_img_{}.png", seen.told.done)),
        };
        path.map_or(Ok(()), |path| self.write(seen, &path))
    }

    fn local(&self, seen: &Seen, name: String) -> Option<PathBuf> {
        let folder = self.backends.local.as_ref()?;
        Some(seen.log_dir.join("vis_data").join(folder).join(name))
    }

    fn write(&self, seen: &Seen, path: &Path) -> Result<(), String> {
        let (info, found) = (seen.told.info, seen.told.found);
        let drawn = draw_beside(info, found, self.score_thr, seen.meta, seen.files);
        let drawn = pollster::block_on(drawn);
        let drawn = drawn.map_err(|e| format!("{}: {e}", info.img_path))?;
        let png = drawn.png().map_err(|e| e.to_string())?;
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let written = checkpoint_files::save(path, |file| Ok(file.write_all(&png)?));
        written.map_err(|e| e.to_string())
    }
}

impl Hook for DetVisualizationHook {
    fn name(&self) -> &'static str {
        "DetVisualizationHook"
    }

    fn before_run(&mut self, run: &mut Run) -> Step {
        if self.draw {
            self.notes.iter().for_each(|note| run.note(note.as_str()));
        }
        Ok(())
    }

    fn after_val_picture(&mut self, seen: &Seen) -> Step {
        let step = seen.iter + seen.told.batch as u64;
        // The first picture of a batch stands for it.
        if !self.draw || seen.told.place != 0 || !step.is_multiple_of(self.interval) {
            return Ok(());
        }
        let path = self.local(seen, format!("val_img_{step}.png"));
        path.map_or(Ok(()), |path| self.write(seen, &path).map_err(Stop::fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;

    fn read(hook: &str, visualizer: &str) -> Result<Option<DetVisualizationHook>, String> {
        let text = format!(
            "visualizer = {visualizer}\ndefault_hooks = dict(timer=None, visualization=dict(type='mmdet.DetVisualizationHook', {hook}))"
        );
        let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
        let found = DetVisualizationHook::of(&config);
        found.map_err(|problems| config.errors(problems).to_string())
    }

    #[test]
    fn where_pictures_go() {
        let of = |visualizer: &str| {
            let hook = read("draw=True", visualizer).unwrap().unwrap();
            (hook.backends.local, hook.notes.join("; "))
        };
        let local = |folder: &str| Some(folder.to_string());
        assert_eq!(of("None"), (local("vis_image"), String::new()));
        let both = "dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend', img_save_dir='x'), dict(type='WandbVisBackend')])";
        let (folder, notes) = of(both);
        assert_eq!(folder, local("x"));
        assert!(notes.contains("for WandbVisBackend are not written"));
        let (folder, notes) = of("dict(type='DetLocalVisualizer', vis_backends=None)");
        assert!(folder.is_none() && notes.contains("draws nothing"));
    }

    #[test]
    fn keys() {
        for nothing in ["", "draw=False, interval=1"] {
            assert!(read(nothing, "None").unwrap().is_none());
        }
        let shown = read("draw=True, show=True, wait_time=1.5", "None").unwrap();
        assert!(shown.unwrap().notes()[0].contains("opens no window"));
        for (hook, words) in [
            ("draw=True, interval=0", "out of bounds"),
            ("intervall=3", "`intervall`"),
        ] {
            let error = read(hook, "None").unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = read("", "dict(vis_backends=3)").unwrap_err();
        assert!(error.contains("is a list of backends"), "{error}");
    }
}
