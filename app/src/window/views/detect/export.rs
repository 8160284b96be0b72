//! What was found as a file: a picture with boxes drawn on it as `smalti detect` draws them, or COCO's results.

use std::path::PathBuf;
use std::sync::Arc;

use smalti::draw::{Marked, caption};
use smalti::results::{Naming, ResultWriter};

use super::found::Found;
use super::item::{Content, Item};
use super::rows::name;
use super::truth::Annotations;
use crate::drawn::drawn;
use crate::window::files::short;
use crate::window::host::Question;
use crate::window::jobs::{Job, Jobs};
use crate::window::messages::Level;
use crate::window::session::Session;

/// Files that are being written.
#[derive(Default)]
pub struct Export {
    jobs: Vec<Job<Result<Option<String>, String>>>,
}

/// A picture with what is shown on it.
pub struct Drawing {
    /// Which picture.
    pub item: Item,
    /// What was read of it.
    pub content: Content,
    /// What was found in it.
    pub found: Arc<Found>,
    /// Detections that are drawn.
    pub shown: Vec<usize>,
    /// Names of classes.
    pub classes: Vec<String>,
}

/// What was found in several pictures.
pub struct Results {
    /// Picture by picture.
    pub found: Vec<(Item, Arc<Found>)>,
    /// Names of classes.
    pub classes: Vec<String>,
    /// Lowest score.
    pub threshold: f32,
    /// The annotation file that is open: its ids are written.
    pub annotations: Option<Arc<Annotations>>,
}

impl Export {
    /// Asks where, and writes the picture there.
    pub fn picture(&mut self, session: &Session, jobs: &mut Jobs, drawing: Drawing) {
        let host = session.host.clone();
        let proposed = beside(&drawing.item, "detected.png");
        self.jobs
            .push(jobs.start_waiting("saving the picture", async move |_| {
                let question = Question::Save(proposed);
                let Some(path) = host.ask(&question).await.into_iter().next() else {
                    return Ok(None);
                };
                let picture = drawing.content.decode(&drawing.item.name())?;
                let found = &drawing.found;
                let marked: Vec<Marked> = drawing
                    .shown
                    .iter()
                    .map(|i| Marked {
                        xyxy: found.boxes[*i],
                        label: found.labels[*i],
                        caption: caption(
                            &name(&drawing.classes, found.labels[*i]),
                            found.scores[*i],
                        ),
                        mask: found.bitmap(*i),
                    })
                    .collect();
                host.write(&path, &drawn(&picture, &marked)?)?;
                Ok(Some(short(&path)))
            }));
    }

    /// Asks where, and writes results there.
    pub fn results(&mut self, session: &Session, jobs: &mut Jobs, results: Results) {
        let host = session.host.clone();
        let item = results.found.first().map(|(item, _)| item);
        let proposed = item.map_or_else(|| "results.json".into(), |i| beside(i, "results.json"));
        self.jobs
            .push(jobs.start_waiting("saving results", async move |_| {
                let question = Question::Save(proposed);
                let Some(path) = host.ask(&question).await.into_iter().next() else {
                    return Ok(None);
                };
                let ids = match results.annotations.as_deref() {
                    Some(Annotations::Coco { ids, .. }) => Some((**ids).clone()),
                    _ => None,
                };
                let naming = Naming::new(&results.classes, ids)?;
                let failed = |e: std::io::Error| e.to_string();
                let mut writer = ResultWriter::new(Vec::new()).map_err(failed)?;
                for (item, found) in &results.found {
                    found
                        .write(&mut writer, &naming, &item.path(), results.threshold)
                        .map_err(failed)?;
                }
                host.write(&path, &writer.finish().map_err(failed)?)?;
                Ok(Some(short(&path)))
            }));
    }

    /// Tells of files that are written.
    pub fn tick(&mut self, session: &mut Session) {
        self.jobs.retain(|job| {
            let Some(done) = job.poll() else { return true };
            match done.and_then(|d| d) {
                Ok(Some(name)) => session.tell(Level::Note, format!("saved {name}")),
                Ok(None) => {}
                Err(why) => session.tell(
                    Level::Error,
                    format!("nothing was saved: {why}. Save it in another place"),
                ),
            }
            false
        });
    }
}

/// A name for a file beside the picture.
fn beside(item: &Item, name: &str) -> PathBuf {
    match item {
        Item::File(path) => {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
            path.with_file_name(format!("{}-{name}", stem.unwrap_or_default()))
        }
        _ => PathBuf::from(name),
    }
}
