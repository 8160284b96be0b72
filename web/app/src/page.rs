//! What only JavaScript has: `globalThis.smaltiPage` of `web/page/app.js`.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(js_namespace = smaltiPage)]
extern "C" {
    /// Resolves after so many milliseconds, when frames have been painted.
    pub async fn later(milliseconds: u32);

    /// Asks for files, or for a folder; those chosen are put among the page's. Gives their paths, or the folder's; none if nothing is chosen.
    #[wasm_bindgen(catch)]
    pub async fn choose(folder: bool) -> Result<JsValue, JsValue>;

    /// Hands a file to the browser's downloads.
    pub fn download(name: &str, bytes: &[u8]);

    /// A file that lies beside the page.
    #[wasm_bindgen(catch)]
    pub async fn beside(name: &str) -> Result<JsValue, JsValue>;

    /// Copies the address of the page with a text in it, as links have it.
    #[wasm_bindgen(js_name = copyLink)]
    pub fn copy_link(text: &str);

    /// What was kept under a name.
    pub fn kept(name: &str) -> Option<String>;

    /// Keeps a text under a name; why it cannot be kept, else nothing.
    pub fn keep(name: &str, text: &str) -> Option<String>;

    /// Forgets what was kept under a name.
    pub fn forget(name: &str);

    /// Makes a name this page's own, of all pages of the browser, until it ends or lets go. False if another has it.
    pub fn claim(name: &str) -> bool;

    /// Lets go of a name.
    pub fn release(name: &str);

    /// The adapters of WebGPU, best first: JSON, `[{name, software, buffer, binding, invocations, workgroup}]`.
    pub async fn adapters() -> JsValue;

    /// A detector on WebGPU, of a config's whole text and a checkpoint's content: its number and its device.
    #[wasm_bindgen(catch)]
    pub async fn detector(
        config: &str,
        weights: &[u8],
        prefix: Option<String>,
    ) -> Result<JsValue, JsValue>;

    /// What a detector finds in pixels of four bytes: JSON, `{boxes, scores, labels, masks, device}`.
    #[wasm_bindgen(catch)]
    pub async fn detect(
        detector: u32,
        width: u32,
        height: u32,
        rgba: &[u8],
    ) -> Result<JsValue, JsValue>;

    /// Takes a detector away.
    pub fn dispose(detector: u32);

    /// Names under which something is kept.
    #[wasm_bindgen(js_name = keptNames)]
    pub fn kept_names() -> Vec<String>;
}

/// What JavaScript threw, in words.
pub fn thrown(value: &JsValue) -> String {
    let message = js_sys::Error::from(value.clone()).message();
    message
        .as_string()
        .or_else(|| value.as_string())
        .unwrap_or_else(|| format!("{value:?}"))
}
