//! Checks configs in JavaScript, without the engine: what the config language has to say, in a module of a few hundred kilobytes.
//!
//! ```js
//! import init, { check } from './smalti_web_config.js';
//! await init();
//! const found = check(text, { '_base_/model.py': '...' });
//! // [{ severity: 'error', message, help, rendered, places: [{ file, line, column, text, label }] }]
//! ```

#![cfg(target_arch = "wasm32")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use smalti_config::{Config, Diagnostic, MapLoader, Severity, check_commas};
use wasm_bindgen::prelude::*;

/// The name of the checked text in places, if it has none.
const NAME: &str = "config.py";

/// What is wrong with a config: an array, empty if nothing is. `files` has the texts of other files by their paths, for `_base_`; `name` is
/// the config's own path, to which those are relative and whose ending says its language.
///
/// # Errors
/// `files` is no object of texts.
#[wasm_bindgen]
pub fn check(text: &str, files: JsValue, name: Option<String>) -> Result<JsValue, JsError> {
    let files = if files.is_undefined() || files.is_null() {
        BTreeMap::new()
    } else {
        let text = js_sys::JSON::stringify(&files).map(String::from);
        let wrong = || JsError::new("`files` must be an object: path to text");
        let text = text.map_err(|_| wrong())?;
        serde_json::from_str(&text).map_err(|_| wrong())?
    };
    let found = diagnostics(text, name.as_deref().unwrap_or(NAME), &files);
    js_sys::JSON::parse(&found.to_string()).map_err(|_| JsError::new("the result is no JSON"))
}

fn diagnostics(text: &str, name: &str, files: &BTreeMap<String, String>) -> Value {
    let loader = MapLoader::new(
        files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    let found = match Config::parse(text, name, &loader) {
        Ok(config) => config.errors(check_commas(&config)).diagnostics,
        Err(errors) => errors.diagnostics,
    };
    found.iter().map(one).collect()
}

fn one(found: &Diagnostic) -> Value {
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let places = found.labels.iter().map(|(origin, label)| {
        json!({
            "file": origin.file(),
            "line": origin.line(),
            "column": origin.column(),
            "text": origin.text(),
            "label": label,
        })
    });
    json!({
        "severity": severity,
        "message": found.message,
        "help": found.help,
        "rendered": found.to_string(),
        "places": places.collect::<Vec<_>>(),
    })
}
