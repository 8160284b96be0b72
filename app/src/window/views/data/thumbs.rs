//! [`Thumbs`]: small pictures of those that are in sight, made away from the window's thread, and kept while there is room.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use eframe::egui::{ColorImage, Context, TextureHandle, TextureOptions};
use smalti::data::{Picture, thumbnail};

use crate::window::host::Host;
use crate::window::jobs::{Job, Jobs};

/// Textures that are kept, bytes.
const MOST_BYTES: usize = if cfg!(target_arch = "wasm32") {
    64 << 20
} else {
    256 << 20
};
/// Jobs that make them.
const WORKERS: usize = 4;

/// What there is of a picture.
pub enum Thumb {
    /// The picture.
    Shown(TextureHandle),
    /// Its file cannot be read, and why.
    Broken(String),
}

struct Kept {
    thumb: Thumb,
    /// For which it was made, px.
    side: usize,
    /// The frame in which it was last in sight.
    seen: u64,
}

/// A picture that is wanted: its place, its file, how large.
#[derive(Clone, Debug)]
struct Wanted {
    picture: u32,
    path: String,
    side: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Wanted>,
    /// Those that are being made.
    begun: HashSet<(u32, usize)>,
}

type Made = (Wanted, Result<Picture, String>);

/// Small pictures of a data set.
pub struct Thumbs {
    kept: HashMap<u32, Kept>,
    bytes: usize,
    /// Pictures whose files could not be read.
    pub broken: BTreeSet<u32>,
    queue: Arc<Mutex<Queue>>,
    workers: Vec<Job<()>>,
    made: (Sender<Made>, Receiver<Made>),
    frame: u64,
    wanted: Vec<Wanted>,
}

impl Default for Thumbs {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            bytes: 0,
            broken: BTreeSet::new(),
            queue: Arc::default(),
            workers: Vec::new(),
            made: channel(),
            frame: 0,
            wanted: Vec::new(),
        }
    }
}

/// The size in which pictures for so many px are made: few, so that a slider makes few of them anew.
fn made_for(px: f32) -> usize {
    let sides = [128, 256, 512];
    sides
        .into_iter()
        .find(|side| px <= *side as f32)
        .unwrap_or(1024)
}

impl Thumbs {
    /// What there is of a picture that is in sight, `px` wide; it is made if there is nothing or only a smaller one.
    pub fn get(&mut self, picture: u32, path: &str, px: f32) -> Option<&Thumb> {
        let side = made_for(px);
        let kept = self.kept.get_mut(&picture);
        let enough = kept
            .as_ref()
            .is_some_and(|kept| kept.side >= side || matches!(kept.thumb, Thumb::Broken(_)));
        if !enough {
            self.wanted.push(Wanted {
                picture,
                path: path.to_owned(),
                side,
            });
        }
        let kept = kept?;
        kept.seen = self.frame;
        Some(&kept.thumb)
    }

    /// Looks again at those that could not be read.
    pub fn retry(&mut self) {
        self.broken.clear();
        self.kept
            .retain(|_, kept| matches!(kept.thumb, Thumb::Shown(_)));
    }

    /// Once a frame, before anything is asked for: takes what was made.
    pub fn take(&mut self, ctx: &Context) {
        self.frame += 1;
        while let Ok((wanted, made)) = self.made.1.try_recv() {
            let key = (wanted.picture, wanted.side);
            lock(&self.queue).begun.remove(&key);
            self.forget(wanted.picture);
            let thumb = match made {
                Ok(picture) => {
                    let size = [picture.width(), picture.height()];
                    self.bytes += size[0] * size[1] * 4;
                    let image = ColorImage::from_rgb(size, &picture.to_rgb());
                    let name = format!("thumbnail {}", wanted.picture);
                    Thumb::Shown(ctx.load_texture(name, image, TextureOptions::LINEAR))
                }
                Err(why) => {
                    self.broken.insert(wanted.picture);
                    Thumb::Broken(why)
                }
            };
            let kept = Kept {
                thumb,
                side: wanted.side,
                seen: self.frame,
            };
            self.kept.insert(wanted.picture, kept);
        }
        self.make_room();
    }

    fn forget(&mut self, picture: u32) {
        if let Some(Kept {
            thumb: Thumb::Shown(texture),
            ..
        }) = self.kept.remove(&picture)
        {
            let [width, height] = texture.size();
            self.bytes -= width * height * 4;
        }
    }

    /// Lets those go that were out of sight for longest.
    fn make_room(&mut self) {
        if self.bytes <= MOST_BYTES {
            return;
        }
        let mut by_age: Vec<(u64, u32)> = self
            .kept
            .iter()
            .map(|(picture, kept)| (kept.seen, *picture))
            .collect();
        by_age.sort_unstable();
        for (seen, picture) in by_age {
            if self.bytes <= MOST_BYTES / 4 * 3 || seen + 1 >= self.frame {
                break;
            }
            self.forget(picture);
        }
    }

    /// Once a frame, when all was asked for: has made what is in sight, and nothing else that waits.
    pub fn make(&mut self, host: &Arc<dyn Host>, jobs: &mut Jobs) {
        let mut waiting = 0;
        {
            let mut queue = lock(&self.queue);
            let wanted = self.wanted.drain(..);
            let new: Vec<Wanted> = wanted
                .filter(|w| !queue.begun.contains(&(w.picture, w.side)))
                .collect();
            queue.waiting = new.into();
            waiting += queue.waiting.len();
        }
        self.workers.retain(|job| job.poll().is_none());
        while self.workers.len() < WORKERS.min(waiting) {
            let (queue, host, made) = (self.queue.clone(), host.clone(), self.made.0.clone());
            self.workers
                .push(jobs.quietly("making thumbnails", move |progress| {
                    let files = host.files();
                    loop {
                        let Some(wanted) = next(&queue).filter(|_| !progress.cancelled()) else {
                            return;
                        };
                        let read = files.read(&wanted.path).and_then(|bytes| {
                            thumbnail(&wanted.path, &bytes, wanted.side)
                                .map_err(|e| e.problem.to_string())
                        });
                        if made.send((wanted, read)).is_err() {
                            return;
                        }
                        progress.tell(0, 0);
                    }
                }));
            waiting -= 1;
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next(queue: &Mutex<Queue>) -> Option<Wanted> {
    let mut queue = lock(queue);
    let wanted = queue.waiting.pop_front()?;
    queue.begun.insert((wanted.picture, wanted.side));
    Some(wanted)
}

impl Drop for Thumbs {
    fn drop(&mut self) {
        lock(&self.queue).waiting.clear();
    }
}
