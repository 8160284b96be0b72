//! [`Context`]: what runs beside a sample on its way through the transforms.

use std::collections::{HashMap, VecDeque};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::files::Files;
use super::picture::Fault;
use super::pixels::Pixels;
use super::random::Random;
use super::sample::Sample;

/// Draws of one transform, as saved: `{"type": "RandomFlip", "params": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The transform; `Mosaic.indexes` for the choice of other pictures.
    #[serde(rename = "type")]
    pub name: String,
    /// Its `Drawn`.
    pub params: Json,
}

/// Draws of one transform that stay as they are while all others are made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    /// The transform, as in [`Saved`].
    pub name: String,
    /// Which of the draws of that name on the way of one sample, counted from 0.
    pub nth: usize,
    /// Its `Drawn`.
    pub params: Json,
}

/// Who is told of samples on their way: the transform's name, the number of draws made so far, the sample.
pub type Watch<'a> = &'a mut dyn FnMut(&str, usize, &Sample);

/// What runs beside a sample.
pub struct Context<'a> {
    /// Where draws come from.
    pub random: &'a mut dyn Random,
    /// Who does the pixels.
    pub pixels: &'a Pixels,
    /// Where files are.
    pub files: &'a dyn Files,
    /// Draws to use in place of new ones, in order.
    pub replay: Option<VecDeque<Saved>>,
    /// Draws to use in place of those that are made. They are made all the same, so that the others do not depend on what is pinned.
    pub pins: Vec<Pin>,
    /// Draws made or replayed so far, if they are wanted.
    pub saved: Option<Vec<Saved>>,
    /// Told of every sample after every transform, with the transform's name and the number of draws in `saved` so far.
    pub watch: Option<Watch<'a>>,
    /// Number of this sample in the order of an epoch: the cached transforms keep that order.
    pub position: u64,
    /// How often each name that is pinned was drawn so far.
    pinned: HashMap<String, usize>,
}

impl<'a> Context<'a> {
    /// Nothing replayed, saved or watched.
    pub fn new(random: &'a mut dyn Random, pixels: &'a Pixels, files: &'a dyn Files) -> Self {
        Self {
            random,
            pixels,
            files,
            replay: None,
            pins: Vec::new(),
            saved: None,
            watch: None,
            position: 0,
            pinned: HashMap::new(),
        }
    }

    /// Draws, or takes what is replayed; saves it if wanted.
    ///
    /// # Errors
    /// A draw that fails, a replay of another transform, or with values that are none of its draws.
    pub fn drawn<P: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        draw: impl FnOnce(&mut dyn Random) -> Result<P, Fault>,
    ) -> Result<P, Fault> {
        let drawn = match &mut self.replay {
            None => {
                let drawn = draw(self.random).map_err(|problem| match problem {
                    Fault::Transform(text) if text.starts_with("np.") => {
                        Fault::Transform(format!("`{name}` cannot draw: {text}"))
                    }
                    other => other,
                })?;
                match self.pin(name) {
                    None => drawn,
                    Some(params) => serde_json::from_value(params).map_err(|e| {
                        Fault::Transform(format!("the pinned draws of `{name}` do not fit: {e}"))
                    })?,
                }
            }
            Some(queue) => {
                let fail = |what: String| {
                    Fault::Transform(format!("the replayed draws do not fit: {what}"))
                };
                let saved = queue
                    .pop_front()
                    .ok_or_else(|| fail(format!("none is left for `{name}`")))?;
                if saved.name != name {
                    return Err(fail(format!(
                        "`{name}` is next, found draws of `{}`",
                        saved.name
                    )));
                }
                serde_json::from_value(saved.params).map_err(|e| fail(format!("`{name}`: {e}")))?
            }
        };
        if let Some(list) = &mut self.saved {
            let params =
                serde_json::to_value(&drawn).map_err(|e| Fault::Transform(e.to_string()))?;
            list.push(Saved {
                name: name.to_owned(),
                params,
            });
        }
        Ok(drawn)
    }

    /// What the next draws of this name are pinned to.
    fn pin(&mut self, name: &str) -> Option<Json> {
        if !self.pins.iter().any(|pin| pin.name == name) {
            return None;
        }
        let count = self.pinned.entry(name.to_owned()).or_default();
        let nth = std::mem::replace(count, *count + 1);
        let found = self.pins.iter().find(|p| p.name == name && p.nth == nth);
        found.map(|pin| pin.params.clone())
    }
}
