//! What the weights of a run found in some pictures, epoch by epoch, and what was frozen then: kept in the run's folder, so that it is there again
//! when the run goes on or its folder is opened.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use smalti::train::run::{Parameters, Place};

use super::Predictions;
use super::glimpse::{Glimpse, Thing};
use crate::window::host::Host;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// Whether the run counts epochs.
    pub by_epoch: bool,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The pictures.
    pub glimpses: Vec<Glimpse>,
    /// What was found in them, in order.
    pub seen: Vec<Predictions>,
    /// What was trained, from which iteration on.
    pub trained: Vec<(u64, Parameters)>,
}

const FILE: &str = "predictions.json";
/// Another number is another form.
const VERSION: u32 = 1;
/// Objects of a picture that are kept, the best ones.
const MOST: usize = 30;

#[derive(Serialize, Deserialize)]
struct Form {
    smalti_predictions: u32,
    by_epoch: bool,
    classes: Vec<String>,
    pictures: Vec<OnePicture>,
    seen: Vec<Predictions>,
    trained: Vec<(u64, Vec<OnePlace>)>,
}

#[derive(Serialize, Deserialize)]
struct OnePicture {
    path: String,
    truth: Vec<Thing>,
}

#[derive(Serialize, Deserialize)]
struct OnePlace {
    name: String,
    numbers: u64,
    frozen: u64,
    learning: [u64; 2],
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl Looked {
    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, host: &dyn Host, folder: &Path) -> Result<(), String> {
        let best = |found: &Vec<Thing>| found.iter().take(MOST).copied().collect();
        let seen = self.seen.iter().map(|seen| Predictions {
            found: seen.found.iter().map(best).collect(),
            ..*seen
        });
        let place = |place: &Place| OnePlace {
            name: place.name.clone(),
            numbers: place.numbers,
            frozen: place.frozen,
            learning: place.learning,
        };
        let trained = self.trained.iter();
        let form = Form {
            smalti_predictions: VERSION,
            by_epoch: self.by_epoch,
            classes: self.classes.clone(),
            pictures: self
                .glimpses
                .iter()
                .map(|glimpse| OnePicture {
                    path: glimpse.path.clone(),
                    truth: glimpse.truth.clone(),
                })
                .collect(),
            seen: seen.collect(),
            trained: trained
                .map(|(iter, all)| (*iter, all.places.iter().map(place).collect()))
                .collect(),
        };
        let text = serde_json::to_vec(&form).map_err(|e| e.to_string())?;
        host.write(&file(folder), &text)
    }

    /// What a run's folder has of it. Pictures that are not there any more leave their predictions out.
    pub fn read(host: &dyn Host, folder: &Path) -> Option<Self> {
        let text = host.read(&file(folder)).ok()?;
        let form: Form = serde_json::from_slice(&text).ok()?;
        if form.smalti_predictions != VERSION {
            return None;
        }
        let files = host.files();
        let glimpses: Option<Vec<Glimpse>> = form
            .pictures
            .into_iter()
            .map(|one| Glimpse::read(&one.path, &*files, |_| one.truth).ok())
            .collect();
        let place = |place: OnePlace| Place {
            name: place.name,
            numbers: place.numbers,
            frozen: place.frozen,
            learning: place.learning,
        };
        let trained = form.trained.into_iter().map(|(iter, places)| {
            let places = places.into_iter().map(place).collect();
            (iter, Parameters { places })
        });
        Some(Self {
            by_epoch: form.by_epoch,
            classes: form.classes,
            seen: if glimpses.is_some() {
                form.seen
            } else {
                Vec::new()
            },
            glimpses: glimpses.unwrap_or_default(),
            trained: trained.collect(),
        })
    }

    /// Forgets what is of this iteration and later ones.
    pub fn forget_after(&mut self, iter: u64) {
        self.seen.retain(|seen| seen.iter <= iter);
        self.trained.retain(|(from, _)| *from <= iter);
    }

    /// Notes what is trained from an iteration on, if that is something else than before.
    pub fn train(&mut self, iter: u64, parameters: Parameters) {
        if self
            .trained
            .last()
            .is_none_or(|(_, last)| *last != parameters)
        {
            self.trained.push((iter, parameters));
        }
    }

    /// What is trained at an iteration; at the end, without one.
    pub fn trained_at(&self, iter: Option<u64>) -> Option<&Parameters> {
        let at = iter.unwrap_or(u64::MAX);
        let then = self.trained.iter().rev().find(|(from, _)| *from <= at);
        then.or(self.trained.first()).map(|(_, all)| all)
    }
}
