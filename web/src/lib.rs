//! The library for JavaScript: a detector from a config's text and a checkpoint's bytes, run on WebGPU or on the CPU in WASM.
//!
//! ```js
//! import init, { Detector, augment } from './smalti_web.js';
//! await init();
//! const detector = await Detector.load(configText, checkpointBytes, 'auto');
//! const found = JSON.parse(await detector.detect(pictureFileBytes));
//! const { width, height, rgb } = await augment(configText, pictureFileBytes, seed, 'auto'); // what its train_pipeline makes of a picture
//! ```

#![cfg(target_arch = "wasm32")]

use std::sync::Arc;

use serde_json::json;
use smalti::Predictor;
use smalti::config::{Config, MapLoader};
use smalti::data::files::Files;
use smalti::data::random::Counter;
use smalti::data::sample::{DataInfo, Sample};
use smalti::data::transforms::Context;
use smalti::data::{Fault, Lookup};
use smalti::draw::sample::rgb;
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
}

#[wasm_bindgen]
impl Detector {
    /// `config` is a config without bases, as `smalti config show` writes it; `checkpoint` a file's content; `device` is
    /// `auto`, `gpu` or `cpu`.
    pub async fn load(
        config: String,
        checkpoint: Vec<u8>,
        device: String,
    ) -> Result<Detector, JsError> {
        let chosen = smalti::device::choose(&device).await?;
        let config = Config::parse(&config, "config.py", &MapLoader::default())?;
        let checkpoint = Checkpoint::read(checkpoint)?;
        let predictor = Predictor::builder(&config)
            .checkpoint(checkpoint)
            .device(&chosen.device)
            .build()?;
        Ok(Detector {
            predictor,
            device: chosen.name,
        })
    }

    /// What it runs on.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// Finds objects in a picture file (JPEG, PNG, WebP, ...). Gives JSON: `[{bbox: [x1, y1, x2, y2], score, label, name}]`, pixels; from models
    /// that give masks with `mask: {size: [height, width], counts}` besides, COCO's run lengths in their text form.
    pub async fn detect(&self, picture: Vec<u8>) -> Result<String, JsError> {
        let picture = self.predictor.decode("picture", &picture)?;
        let found = self.predictor.detect(&[picture]).await?;
        let names = self.predictor.classes();
        let found = &found[0];
        let rows: Vec<_> = (0..found.len())
            .map(|i| {
                let label = found.labels[i];
                let mut row = json!({"bbox": found.boxes[i], "score": found.scores[i], "label": label, "name": names[label]});
                let mask = found.masks.as_ref().and_then(|masks| Runs::of(masks, i));
                if let Some(mask) = mask {
                    row["mask"] = smalti::results::segmentation(&mask);
                }
                row
            })
            .collect();
        Ok(json!(rows).to_string())
    }
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
