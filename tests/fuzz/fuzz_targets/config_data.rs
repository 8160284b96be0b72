//! A config in JSON or YAML: what begins with a brace is tried as both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_config::{Config, MapLoader};
use smalti_fuzz::written_and_read;

fuzz_target!(|text: &str| {
    let mut loader = MapLoader::new([("base.yaml", "a: {b: 1, c: [1, 2]}\nd: x\n")]);
    loader.env = [("SET".into(), "1".into())].into();
    let names = ["config.yaml", "config.json"];
    let json = text.trim_start().starts_with(['{', '[']);
    for name in &names[..1 + usize::from(json)] {
        match Config::parse(text, name, &loader) {
            Ok(config) => written_and_read(&config),
            Err(errors) => drop(errors.to_string()),
        }
    }
});
