//! Checks configs in JavaScript, without the engine: what the config language has to say, in a module of a few hundred kilobytes.
//!
//! The package's `smalti/config` wraps it (`web/package/config.js`).

#![cfg(target_arch = "wasm32")]

#[path = "../../src/findings.rs"]
mod findings;

use smalti_config::{Config, check_commas};
use wasm_bindgen::prelude::*;

/// What is wrong with a config: an array, empty if nothing is. `files` has the texts of other files by their paths, for `_base_`; `name` is
/// the config's own path, to which those are relative and whose ending says its language.
///
/// # Errors
/// `files` is no object of texts.
#[wasm_bindgen]
pub fn check(text: &str, files: &JsValue, name: Option<String>) -> Result<JsValue, JsError> {
    let loader = findings::loader(files)?;
    let name = name.as_deref().unwrap_or(findings::NAME);
    let found = match Config::parse(text, name, &loader) {
        Ok(config) => config.errors(check_commas(&config)).diagnostics,
        Err(errors) => errors.diagnostics,
    };
    findings::array(&found)
}
