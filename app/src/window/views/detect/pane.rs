//! One detector on the pictures that are open: what it found in each that it saw, and the picture in front with its boxes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use eframe::egui::{Color32, Context};

use smalti::structures::Bitmap;

use super::found::{Found, detect};
use super::item::{Content, Item};
use super::truth::{Judged, Object, judge};
use crate::window::detector::Built;
use crate::window::host::Host;
use crate::window::jobs::{Job, Jobs, Newest, Progress};
use crate::window::picture::{Picture, class_color, layer};

/// Which picture: of which opening, and its place there.
pub type At = (u64, usize);

/// What was found, or why nothing was.
pub type Outcome = Result<Arc<Found>, String>;

struct Question {
    built: Arc<Built>,
    host: Arc<dyn Host>,
    item: Item,
    content: Content,
    at: At,
}

/// Of a detector, by its number.
struct Answer {
    detector: u64,
    at: At,
    outcome: Outcome,
}

/// All pictures, one after the other.
struct All {
    job: Job<()>,
    found: Arc<Mutex<Vec<(usize, Outcome)>>>,
}

/// A picture's masks.
type Layer = (At, Option<Vec<Color32>>);

/// One detector on the pictures.
pub struct Pane {
    /// The picture in front.
    pub picture: Option<(At, Picture)>,
    detector: u64,
    opening: u64,
    results: HashMap<usize, Outcome>,
    asks: Newest<Question, Answer>,
    asked: Option<(u64, At)>,
    all: Option<All>,
    judged: Option<((u64, At, usize), Judged)>,
    masked: Option<(u64, At, Vec<usize>)>,
    layers: Newest<(At, Arc<Found>, Vec<usize>), Layer>,
}

impl Default for Pane {
    fn default() -> Self {
        Self {
            picture: None,
            detector: 0,
            opening: 0,
            results: HashMap::new(),
            asks: Newest::waiting("finding objects", |q, progress| Box::pin(look(q, progress)))
                .shown(),
            asked: None,
            all: None,
            judged: None,
            masked: None,
            layers: Newest::new(
                "laying masks over the picture",
                |(at, found, shown): (At, Arc<Found>, Vec<usize>), _| {
                    (at, masks_of(&found, &shown))
                },
            ),
        }
    }
}

impl Pane {
    /// Takes what has come; what other detectors found, or in other pictures, is forgotten.
    pub fn tick(&mut self, jobs: &mut Jobs, built: Option<&Arc<Built>>, opening: u64) {
        let detector = built.map_or(0, |b| b.id);
        if (self.detector, self.opening) != (detector, opening) {
            (self.detector, self.opening) = (detector, opening);
            self.results.clear();
            (self.asked, self.all) = (None, None);
        }
        match self.asks.poll(jobs) {
            Some(Ok(answer)) if answer.detector == detector && answer.at.0 == opening => {
                self.results.insert(answer.at.1, answer.outcome);
            }
            Some(Err(why)) => {
                if let Some((_, (_, at))) = self.asked {
                    self.results.insert(at, Err(why));
                }
            }
            _ => {}
        }
        let Some(all) = &self.all else { return };
        let ended = all.job.poll();
        let mut found = all.found.lock().unwrap_or_else(PoisonError::into_inner);
        self.results.extend(found.drain(..));
        drop(found);
        if ended.is_some() {
            self.all = None;
        }
    }

    /// The picture in front from now on.
    pub fn show(&mut self, at: At, picture: Picture) {
        (self.picture, self.masked) = (Some((at, picture)), None);
    }

    /// Has the picture in front looked at, unless it was.
    pub fn look(
        &mut self,
        jobs: &mut Jobs,
        host: &Arc<dyn Host>,
        built: &Arc<Built>,
        at: At,
        item: &Item,
        content: &Content,
    ) {
        let asked = (built.id, at);
        if self.results.contains_key(&at.1) || self.asked == Some(asked) {
            return;
        }
        self.asked = Some(asked);
        self.asks.ask(
            jobs,
            Question {
                built: built.clone(),
                host: host.clone(),
                item: item.clone(),
                content: content.clone(),
                at,
            },
        );
    }

    /// Has a picture looked at again.
    pub fn again(&mut self, place: usize) {
        self.results.remove(&place);
        self.asked = None;
    }

    /// Has all pictures looked at that were not yet.
    pub fn look_at_all(
        &mut self,
        jobs: &mut Jobs,
        host: &Arc<dyn Host>,
        built: &Arc<Built>,
        items: &[Item],
    ) {
        let todo: Vec<(usize, Item)> = items
            .iter()
            .cloned()
            .enumerate()
            .filter(|(i, _)| !matches!(self.results.get(i), Some(Ok(_))))
            .collect();
        let found = Arc::new(Mutex::new(Vec::new()));
        let (host, built, send) = (host.clone(), built.clone(), found.clone());
        let name = format!("finding objects in {} pictures", todo.len());
        let job = jobs.start_waiting(&name, async move |progress| {
            let of = todo.len() as u64;
            for (done, (i, item)) in todo.into_iter().enumerate() {
                if progress.cancelled() {
                    return;
                }
                let outcome = match item.read(&*host) {
                    Ok(content) => detect(&built, &*host, &item, &content).await,
                    Err(why) => Err(why),
                };
                let outcome = outcome.map(Arc::new);
                send.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((i, outcome));
                progress.tell(done as u64 + 1, of);
                host.pause().await;
            }
        });
        self.all = Some(All { job, found });
    }

    /// Whether so many pictures were looked at.
    pub fn is_done(&self, count: usize) -> bool {
        self.results.len() >= count
    }

    /// Whether all pictures are being looked at.
    pub fn is_running(&self) -> bool {
        self.all.is_some()
    }

    /// Stops that; what was found stays.
    pub fn stop(&self) {
        if let Some(all) = &self.all {
            all.job.cancel();
        }
    }

    /// What was found in a picture, if it was looked at.
    pub fn result(&self, place: usize) -> Option<&Outcome> {
        self.results.get(&place)
    }

    /// Whether nothing could be found in a picture.
    pub fn failed(&self, place: usize) -> bool {
        matches!(self.result(place), Some(Err(_)))
    }

    /// What was found, picture by picture.
    pub fn results(&self) -> Vec<(usize, Arc<Found>)> {
        let found = self.results.iter();
        let mut found: Vec<_> = found
            .filter_map(|(i, outcome)| Some((*i, outcome.as_ref().ok()?.clone())))
            .collect();
        found.sort_by_key(|(i, _)| *i);
        found
    }

    /// What was found held against what is there; `version` is another number for other objects.
    pub fn judge(&mut self, at: At, objects: &[Object], version: usize) -> Option<Judged> {
        let Some(Ok(found)) = self.results.get(&at.1) else {
            return None;
        };
        let key = (self.detector, at, version);
        match &self.judged {
            Some((of, judged)) if *of == key => Some(judged.clone()),
            _ => {
                let judged = judge(found, objects);
                self.judged = Some((key, judged.clone()));
                Some(judged)
            }
        }
    }

    /// Has the masks of these detections laid over the picture, the best on top.
    pub fn mask(&mut self, ctx: &Context, jobs: &mut Jobs, at: At, shown: &[usize]) {
        let answer = self.layers.poll(jobs);
        if let (Some(Ok((of, layer))), Some((at, picture))) = (answer, &mut self.picture)
            && of == *at
        {
            picture.lay(ctx, layer.as_deref());
        }
        let (Some(Ok(found)), Some((of, _))) = (self.results.get(&at.1), &self.picture) else {
            return;
        };
        if *of != at || found.masks.is_empty() {
            return;
        }
        let key = (self.detector, at, shown.to_vec());
        if self.masked.as_ref() != Some(&key) {
            let shown = shown.to_vec();
            self.masked = Some(key);
            self.layers.ask(jobs, (at, found.clone(), shown));
        }
    }
}

/// Looks at one picture.
async fn look(q: Question, progress: Progress) -> Answer {
    let outcome = match progress.cancelled() {
        true => Err("it was stopped".into()),
        false => detect(&q.built, &*q.host, &q.item, &q.content).await,
    };
    Answer {
        detector: q.built.id,
        at: q.at,
        outcome: outcome.map(Arc::new),
    }
}

/// Masks of detections as one layer.
fn masks_of(found: &Found, shown: &[usize]) -> Option<Vec<Color32>> {
    let masks: Vec<(Bitmap, Color32)> = shown
        .iter()
        .rev()
        .filter_map(|i| Some((found.bitmap(*i)?, class_color(found.labels[*i]))))
        .collect();
    let masks: Vec<(&[u8], Color32)> = masks.iter().map(|(m, c)| (&m[..], *c)).collect();
    layer(found.size, &masks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti::structures::masks::Runs;

    #[test]
    fn the_best_mask_is_on_top() {
        let found = Found {
            size: [3, 1],
            boxes: vec![[0.0; 4]; 2],
            scores: vec![0.9, 0.5],
            labels: vec![0, 1],
            masks: vec![
                Runs::of_bitmap(&[1, 1, 0], [3, 1]),
                Runs::of_bitmap(&[0, 1, 1], [3, 1]),
            ],
            ..Found::default()
        };
        let both = masks_of(&found, &[0, 1]).unwrap();
        assert_eq!(both[0], both[1]);
        assert_ne!(both[1], both[2]);
        let first = masks_of(&found, &[0]).unwrap();
        assert_eq!(first[2], Color32::TRANSPARENT);
        assert_eq!(masks_of(&found, &[]), None);
    }
}
