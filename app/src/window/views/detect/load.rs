//! The picture in front: read, decoded and on the screen's device, away from the window's thread.

use std::sync::Arc;

use eframe::egui;

use super::item::{Content, Item};
use super::pane::At;
use crate::window::host::Host;
use crate::window::jobs::{Jobs, Newest};
use crate::window::picture::Picture;

struct Question {
    ctx: egui::Context,
    host: Arc<dyn Host>,
    item: Item,
    at: At,
    panes: usize,
}

/// A picture that was read.
pub struct Loaded {
    /// Which.
    pub at: At,
    /// Its content, and itself once for each pane; or why there is none.
    pub what: Result<(Content, Vec<Picture>), String>,
}

/// Reads pictures.
pub struct Loader {
    asks: Newest<Question, Loaded>,
    asked: Option<(At, usize)>,
}

impl Default for Loader {
    fn default() -> Self {
        let work = |q: Question, _: &_| Loaded {
            at: q.at,
            what: read(&q),
        };
        Self {
            asks: Newest::new("reading the picture", work).shown(),
            asked: None,
        }
    }
}

impl Loader {
    /// Asks for a picture, for so many panes, unless that was asked for last.
    pub fn ask(
        &mut self,
        jobs: &mut Jobs,
        host: &Arc<dyn Host>,
        ctx: &egui::Context,
        (at, item): (At, &Item),
        panes: usize,
    ) {
        if self.asked == Some((at, panes)) {
            return;
        }
        self.asked = Some((at, panes));
        self.asks.ask(
            jobs,
            Question {
                ctx: ctx.clone(),
                host: host.clone(),
                item: item.clone(),
                at,
                panes,
            },
        );
    }

    /// Asks again.
    pub fn retry(&mut self) {
        self.asked = None;
    }

    /// A picture that has come, if it is still the one asked for.
    pub fn poll(&mut self, jobs: &mut Jobs) -> Option<Loaded> {
        let (at, panes) = self.asked?;
        match self.asks.poll(jobs)? {
            Ok(loaded) => {
                let fits = loaded.what.as_ref().map_or(true, |(_, p)| p.len() == panes);
                Some(loaded).filter(|l| l.at == at && fits)
            }
            Err(why) => Some(Loaded { at, what: Err(why) }),
        }
    }
}

fn read(question: &Question) -> Result<(Content, Vec<Picture>), String> {
    let content = question.item.read(&*question.host)?;
    let name = question.item.name();
    let pixels = content.decode(&name)?;
    let size = [pixels.width(), pixels.height()];
    let rgb = pixels.to_rgb();
    let picture = |_| Picture::new(&question.ctx, &name, size, rgb.clone());
    Ok((content, (0..question.panes).map(picture).collect()))
}
