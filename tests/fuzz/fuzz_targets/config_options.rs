//! Options of `--cfg-options`, one a line, for a config; and each value as a value of a command line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_config::{Config, MapLoader, parse_value, value_to_py};
use smalti_fuzz::written_and_read;
use std::sync::OnceLock;

const CONFIG: &str = "\
size = (640, 480)
model = dict(type='A', backbone=dict(depth=50, stages=[1, 2, 3], norm=dict(type='BN')), names={1: 'x', (2, 3): 'y'})
pipeline = [dict(type='Load'), dict(type='Resize', scale=size), dict(type='Pack')]
train = dict(dataset=dict(pipeline=pipeline, wrapped=[dict(a=[dict(b=1)])]), flag=True, nothing=None, rate=0.1)
";

static BEFORE: OnceLock<Config> = OnceLock::new();

fuzz_target!(|text: &str| {
    let options: Vec<&str> = text.lines().collect();
    let read = || Config::parse(CONFIG, "config.py", &MapLoader::default()).unwrap();
    let before = BEFORE.get_or_init(read);
    let mut config = before.clone();
    match config.merge_options(&options) {
        Ok(()) => written_and_read(&config),
        Err(errors) => {
            drop(errors.to_string());
            assert_eq!(config.root, before.root);
            assert_eq!(config.notes.len(), before.notes.len());
        }
    }
    for option in options {
        let value = option.split_once('=').map_or(option, |(_, value)| value);
        match parse_value(value) {
            Ok(node) => {
                let text = value_to_py(&node);
                let again = parse_value(&text).unwrap_or_else(|e| panic!("{e}\nof {text}"));
                assert_eq!(value_to_py(&again), text);
            }
            Err(errors) => drop(errors.to_string()),
        }
    }
});
