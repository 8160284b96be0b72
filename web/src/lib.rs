//! The library for JavaScript: a detector from a config's text and a checkpoint's bytes, run on WebGPU or on the CPU in WASM.
//!
//! ```js
//! import init, { Detector } from './smalti_web.js';
//! await init();
//! const detector = await Detector.load(configText, checkpointBytes, 'auto');
//! const found = JSON.parse(await detector.detect(pictureFileBytes));
//! ```

#![cfg(target_arch = "wasm32")]

use serde_json::json;
use smalti::Predictor;
use smalti::config::{Config, MapLoader};
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

    /// Finds objects in a picture file (JPEG, PNG, WebP, ...). Gives JSON: `[{bbox: [x1, y1, x2, y2], score, label, name}]`, pixels.
    pub async fn detect(&self, picture: Vec<u8>) -> Result<String, JsError> {
        let picture = self.predictor.decode("picture", &picture)?;
        let found = self.predictor.detect(&[picture]).await?;
        let names = self.predictor.classes();
        let found = &found[0];
        let rows: Vec<_> = (0..found.len())
            .map(|i| {
                let label = found.labels[i];
                json!({"bbox": found.boxes[i], "score": found.scores[i], "label": label, "name": names[label]})
            })
            .collect();
        Ok(json!(rows).to_string())
    }
}
