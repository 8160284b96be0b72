//! A config in Python, with two files that it can name as bases: `base.py` and `other.py`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_config::{Config, MapLoader};
use smalti_fuzz::written_and_read;

fuzz_target!(|text: &str| {
    let [config, base, other] = smalti_fuzz::parts(text);
    let mut loader = MapLoader::new([
        ("configs/config.py", config),
        ("configs/base.py", base),
        ("configs/other.py", other),
    ]);
    loader.packages = [("mmdet".into(), "configs".into())].into();
    loader.env = [("SET", "1"), ("TEXT", "a'b\\{{c}}\n"), ("EMPTY", "")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    match Config::load("configs/config.py", &loader) {
        Ok(config) => written_and_read(&config),
        Err(errors) => drop(errors.to_string()),
    }
});
