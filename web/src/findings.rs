//! What is wrong with a config, as JavaScript is told: in both modules the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use smalti_config::{Diagnostic, MapLoader, Origin, Severity};
use wasm_bindgen::{JsError, JsValue};

/// The name of a config that was given none.
pub const NAME: &str = "config.py";

/// Texts of other files by their paths, for `_base_`.
///
/// # Errors
/// `files` is no object of texts.
pub fn loader(files: &JsValue) -> Result<MapLoader, JsError> {
    if files.is_undefined() || files.is_null() {
        return Ok(MapLoader::default());
    }
    let wrong = || JsError::new("`files` must be an object: path to text");
    let text = js_sys::JSON::stringify(files).map(String::from);
    let text = text.map_err(|_| wrong())?;
    let files: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|_| wrong())?;
    let pairs = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    Ok(MapLoader::new(pairs))
}

/// An array of findings, empty if there are none.
///
/// # Errors
/// Never: what is made here is JSON.
pub fn array(found: &[Diagnostic]) -> Result<JsValue, JsError> {
    let found: Value = found.iter().map(one).collect();
    js_sys::JSON::parse(&found.to_string()).map_err(|_| JsError::new("the result is no JSON"))
}

fn one(found: &Diagnostic) -> Value {
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let places = found.labels.iter().map(|(origin, label)| {
        let mut place = place(origin);
        place["label"] = json!(label);
        place
    });
    let fixes = found.fixes().iter().map(|fix| {
        let Value::Object(mut place) = place(&fix.place) else {
            return Value::Null;
        };
        place.insert("text".into(), json!(fix.text));
        place.insert("label".into(), json!(fix.label));
        Value::Object(place)
    });
    json!({
        "severity": severity,
        "message": found.message,
        "help": found.help,
        "rendered": found.to_string(),
        "places": places.collect::<Vec<_>>(),
        "fixes": fixes.collect::<Vec<_>>(),
    })
}

/// `start` and `end` count as JavaScript counts the characters of a text.
fn place(origin: &Origin) -> Value {
    let (text, range) = (origin.source().text(), origin.range());
    let count = |part: Option<&str>| part.map_or(0, |part| part.encode_utf16().count());
    let start = count(text.get(..range.start));
    json!({
        "file": origin.file(),
        "line": origin.line(),
        "column": origin.column(),
        "start": start,
        "end": start + count(text.get(range)),
        "text": origin.text(),
    })
}
