//! [`PageDetector`]: a detector on WebGPU, in the package's engine for it, which is fetched when one is first wanted.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use smalti::data::Picture;
use smalti::device::{Adapter, AdapterKind, Chosen, DeviceError};
use smalti::structures::Xyxy;
use smalti::structures::masks::{RleCounts, Runs};
use smalti_app::window::host::{Elsewhere, Seen, Waiting};

use crate::page;

/// The CPU's name.
const CPU: &str = "CPU";

/// A detector of the package, by its number.
#[derive(Debug)]
pub struct PageDetector {
    number: u32,
    device: Mutex<String>,
}

/// What the page says of an adapter.
#[derive(Deserialize)]
struct Told {
    name: String,
    software: bool,
    buffer: u64,
    binding: u64,
    invocations: u32,
    workgroup: u32,
}

/// What the page says of a detector.
#[derive(Deserialize)]
struct Made {
    number: u32,
    device: String,
}

/// What the page says that was found.
#[derive(Deserialize)]
struct Detections {
    boxes: Vec<Xyxy>,
    scores: Vec<f32>,
    labels: Vec<usize>,
    #[serde(default)]
    masks: Vec<Mask>,
    device: String,
}

#[derive(Deserialize)]
struct Mask {
    size: [usize; 2],
    counts: String,
}

/// The adapters of WebGPU, best first.
pub async fn adapters() -> Vec<Adapter> {
    let told = page::adapters().await.as_string().unwrap_or_default();
    let told: Vec<Told> = serde_json::from_str(&told).unwrap_or_default();
    let adapter = |(index, told): (usize, Told)| Adapter {
        index,
        name: told.name,
        backend: "WebGPU".into(),
        kind: match told.software {
            true => AdapterKind::Software,
            false => AdapterKind::Unknown,
        },
        driver: String::new(),
        max_buffer_bytes: told.buffer,
        max_binding_bytes: told.binding,
        max_invocations: told.invocations,
        max_workgroup_bytes: told.workgroup,
    };
    told.into_iter().enumerate().map(adapter).collect()
}

/// The device that `spec` names, of these and the CPU. What this module itself runs is on the CPU, whichever it is.
///
/// # Errors
/// There is none such.
pub async fn choose(spec: &str, adapters: &[Adapter]) -> Result<Chosen, DeviceError> {
    let cpu = smalti::device::choose("cpu").await?;
    let adapter = match spec {
        "cpu" => return Ok(cpu),
        "" | "auto" => adapters.iter().find(|a| !a.is_software()),
        "gpu" => Some(adapters.first().ok_or(DeviceError::NoAdapter)?),
        // the one of a visit before may be gone
        place => place.parse().ok().and_then(|i: usize| adapters.get(i)),
    };
    Ok(match adapter {
        Some(adapter) => Chosen {
            name: adapter.title(),
            is_software: adapter.is_software(),
            ..cpu
        },
        None => cpu,
    })
}

/// Whether a device is not this module's own.
pub fn is_elsewhere(device: &Chosen) -> bool {
    device.name != CPU
}

impl PageDetector {
    /// Of a config's whole text and a checkpoint's content.
    ///
    /// # Errors
    /// The engine cannot be fetched, there is no such device, or it cannot run this.
    pub async fn load(
        config: &str,
        weights: &[u8],
        prefix: Option<&str>,
    ) -> Result<Arc<dyn Elsewhere>, String> {
        let made = page::detector(config, weights, prefix.map(str::to_owned)).await;
        let made: Made = read(made)?;
        Ok(Arc::new(Self {
            number: made.number,
            device: Mutex::new(made.device),
        }))
    }

    async fn look(&self, picture: &Picture) -> Result<Seen, String> {
        let (width, height) = (picture.width(), picture.height());
        let rgba = rgba(picture)?;
        let found = page::detect(self.number, width as u32, height as u32, &rgba).await;
        let found: Detections = read(found)?;
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = found.device;
        let runs = |mask: &Mask| {
            let [height, width] = mask.size;
            Runs::of_counts(&RleCounts::Text(mask.counts.clone()), [width, height])
        };
        Ok(Seen {
            boxes: found.boxes,
            scores: found.scores,
            labels: found.labels,
            masks: found.masks.iter().map(runs).collect::<Result<_, _>>()?,
        })
    }
}

impl Elsewhere for PageDetector {
    fn device(&self) -> String {
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        device.clone()
    }

    fn detect<'a>(&'a self, picture: &'a Picture) -> Waiting<'a, Result<Seen, String>> {
        Box::pin(self.look(picture))
    }
}

impl Drop for PageDetector {
    fn drop(&mut self) {
        page::dispose(self.number);
    }
}

/// Four bytes a pixel, red first.
fn rgba(picture: &Picture) -> Result<Vec<u8>, String> {
    if picture.channels() != 3 {
        return Err(
            "WebGPU takes pictures of three channels here, and this config reads others. Choose the CPU in the settings"
                .into(),
        );
    }
    let rgb = picture.to_rgb();
    let pixels = rgb.chunks_exact(3);
    Ok(pixels.flat_map(|p| [p[0], p[1], p[2], 255]).collect())
}

/// JSON that the page gave, or what it threw.
fn read<T: serde::de::DeserializeOwned>(
    given: Result<wasm_bindgen::JsValue, wasm_bindgen::JsValue>,
) -> Result<T, String> {
    let given = given.map_err(|why| page::thrown(&why))?;
    let text = given.as_string().unwrap_or_default();
    serde_json::from_str(&text).map_err(|e| format!("the page's answer cannot be read: {e}"))
}
