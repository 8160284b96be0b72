//! The engine for JavaScript: a detector from a config's text and a checkpoint's bytes, run on WebGPU or on the CPU in WASM.
//!
//! The package wraps it (`web/package/smalti.js`), which is what pages and workers use.

#![cfg(target_arch = "wasm32")]

mod findings;
#[cfg(feature = "train")]
mod lesson;
#[cfg(feature = "gpu")]
mod lost;
#[cfg(feature = "train")]
mod teach;

use std::sync::Arc;

use serde_json::json;
use smalti::Predictor;
use smalti::config::{Config, MapLoader, check_commas};
use smalti::data::files::Files;
use smalti::data::picture::Picture;
use smalti::data::random::Counter;
use smalti::data::sample::{DataInfo, Sample};
use smalti::data::transforms::Context;
use smalti::data::{Fault, Lookup};
use smalti::draw::sample::rgb;
use smalti::structures::Instances;
use smalti::structures::masks::Runs;
use smalti::weights::Checkpoint;
use wasm_bindgen::prelude::*;

/// Shows a panic's message in the browser's console.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// A detector on a device.
#[wasm_bindgen]
pub struct Detector {
    predictor: Predictor,
    device: String,
    notes: Vec<String>,
}

#[wasm_bindgen]
impl Detector {
    /// `name` is the config's path, to which bases among `files` (path to text) are relative; `checkpoint` a file's content, of which the names
    /// that begin with `prefix` count; `device` is `auto`, `gpu` or `cpu`.
    ///
    /// # Errors
    /// There is no such device; the config, the checkpoint or how they fit is wrong.
    pub async fn load(
        config: String,
        name: Option<String>,
        files: JsValue,
        checkpoint: Vec<u8>,
        prefix: Option<String>,
        device: String,
    ) -> Result<Detector, JsError> {
        let loader = findings::loader(&files)?;
        let name = name.as_deref().unwrap_or(findings::NAME);
        let config = Config::parse(&config, name, &loader)?;
        let checkpoint = Checkpoint::read(checkpoint)?;
        let chosen = smalti::device::choose(&device).await?;
        #[cfg(feature = "gpu")]
        if let Some(setup) = &chosen.setup {
            lost::watch(&setup.device);
        }
        let predictor = Predictor::builder(&config)
            .checkpoint(checkpoint)
            .prefix(prefix.as_deref())
            .device(&chosen.device)
            .build()?;
        let mut notes = chosen.notes;
        notes.extend(predictor.notes().iter().map(ToString::to_string));
        Ok(Detector {
            predictor,
            device: chosen.name,
            notes,
        })
    }

    /// What it runs on.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// Names of the classes; labels count them.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.predictor.classes().to_vec()
    }

    /// What is worth knowing of the device and the classes, a text each.
    #[wasm_bindgen(getter)]
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// Finds objects of at least this score in a picture file (JPEG, PNG, WebP, ...).
    ///
    /// # Errors
    /// It is no picture, or the device is lost.
    pub async fn detect_file(&self, bytes: Vec<u8>, least: f32) -> Result<Found, JsError> {
        let picture = self.predictor.decode("the picture", &bytes)?;
        self.detect(picture, least).await
    }

    /// Finds objects of at least this score in pixels of four bytes, red first, as an `ImageData` has them; alpha is left out.
    ///
    /// # Errors
    /// They are not `width * height` pixels, or the device is lost.
    pub async fn detect_pixels(
        &self,
        width: usize,
        height: usize,
        rgba: Vec<u8>,
        least: f32,
    ) -> Result<Found, JsError> {
        let rgb = rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]);
        let picture = Picture::from_rgb(width, height, rgb.collect());
        let wrong = || JsError::new("there must be width * height pixels of four bytes");
        self.detect(picture.ok_or_else(wrong)?, least).await
    }
}

impl Detector {
    async fn detect(&self, picture: Picture, least: f32) -> Result<Found, JsError> {
        let (width, height) = (picture.width(), picture.height());
        let mut found = self.predictor.detect(&[picture]).await?;
        let found = found.pop().unwrap_or_default();
        Ok(Found {
            width,
            height,
            kept: (0..found.len())
                .filter(|i| found.scores[*i] >= least)
                .collect(),
            found,
        })
    }
}

/// What was found in a picture, the best first.
#[wasm_bindgen]
pub struct Found {
    width: usize,
    height: usize,
    found: Instances,
    /// Those that are told of.
    kept: Vec<usize>,
}

#[wasm_bindgen]
impl Found {
    /// Of the picture, px.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Of the picture, px.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Left, top, right and bottom of each, px.
    #[wasm_bindgen(getter)]
    pub fn boxes(&self) -> Vec<f32> {
        self.kept
            .iter()
            .flat_map(|i| self.found.boxes[*i])
            .collect()
    }

    /// Of each, 0 to 1.
    #[wasm_bindgen(getter)]
    pub fn scores(&self) -> Vec<f32> {
        self.kept.iter().map(|i| self.found.scores[*i]).collect()
    }

    /// The class of each.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<u32> {
        let labels = self.kept.iter().map(|i| self.found.labels[*i] as u32);
        labels.collect()
    }

    /// JSON: for each `{size: [height, width], counts}`, COCO's run lengths in their text form; nothing from models without masks.
    #[wasm_bindgen(getter)]
    pub fn masks(&self) -> Option<String> {
        let masks = self.found.masks.as_ref()?;
        let runs = self.kept.iter().map(|i| Runs::of(masks, *i));
        let texts: Vec<_> = runs
            .map(|mask| mask.map(|mask| smalti::results::segmentation(&mask)))
            .collect();
        Some(json!(texts).to_string())
    }
}

/// The colour of a class on a picture, as `#rrggbb`: the window's.
#[wasm_bindgen]
pub fn colour(label: usize) -> String {
    let [r, g, b] = smalti::draw::colour(label);
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// What is wrong with a config and the model in it: as the config module's `check`, and what the registry of components, their options and
/// channels has to say.
///
/// # Errors
/// `files` is no object of texts.
#[wasm_bindgen]
pub fn check(text: &str, files: &JsValue, name: Option<String>) -> Result<JsValue, JsError> {
    let loader = findings::loader(files)?;
    let name = name.as_deref().unwrap_or(findings::NAME);
    let found = match Config::parse(text, name, &loader) {
        Ok(config) => {
            let mut found = check_commas(&config);
            found.extend(smalti::model::check(&config, &smalti::registry()));
            config.errors(found).diagnostics
        }
        Err(errors) => errors.diagnostics,
    };
    findings::array(&found)
}

/// A picture file's content, whatever it is asked for.
struct OneFile(Vec<u8>);

impl Files for OneFile {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

/// What [`augment`] gives: a picture, three bytes a pixel, red first.
#[wasm_bindgen]
pub struct Pixels {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

#[wasm_bindgen]
impl Pixels {
    /// px.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.width
    }

    /// px.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Row by row.
    #[wasm_bindgen(getter)]
    pub fn rgb(&self) -> Vec<u8> {
        self.rgb.clone()
    }
}

/// What the `train_pipeline` of a config makes of a picture file; `seed` chooses its draws. The transforms run on `device`.
///
/// # Errors
/// The config has no `train_pipeline`, or something in it is wrong; the picture cannot be read; a transform fails.
#[wasm_bindgen]
pub async fn augment(
    config: String,
    picture: Vec<u8>,
    seed: u32,
    device: String,
) -> Result<Pixels, JsError> {
    let config = Config::parse(&config, "config.py", &MapLoader::default())?;
    let registry = smalti::registry();
    let look = Lookup::of(&registry, &config);
    let steps = look.transforms(config.get("train_pipeline"));
    let steps = steps.map_err(|problems| config.errors(problems))?;
    let chosen = smalti::device::choose(&device).await?;
    let pixels = smalti::ops::augment::pixels(&chosen.device);
    let (mut random, files) = (Counter::new(seed.into()), OneFile(picture));
    let info = DataInfo {
        img_path: "picture".into(),
        ..DataInfo::default()
    };
    let mut context = Context::new(&mut random, &pixels, &files);
    let said = |fault: Fault| JsError::new(&fault.to_string());
    let sample = context.run_all(&steps, Sample::new(Arc::new(info)));
    let sample = sample.map_err(said)?;
    let sample = sample.ok_or_else(|| JsError::new("the pipeline dropped the picture"))?;
    let canvas = rgb(&sample.image, &pixels).await.map_err(said)?;
    let canvas = canvas.ok_or_else(|| JsError::new("the pipeline loads no picture"))?;
    Ok(Pixels {
        width: sample.image.width(),
        height: sample.image.height(),
        rgb: canvas.into_rgb(),
    })
}
