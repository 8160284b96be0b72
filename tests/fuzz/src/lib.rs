//! What the fuzz targets share: a bound on memory, how one input holds several files, and what holds for every config, checkpoint and data set.

mod checkpoint;
mod dataset;

pub use checkpoint::checkpoint;
pub use dataset::{DatasetConfig, dataset};

use smalti_config::{Config, MapLoader, diff};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that an input may make us hold at once.
const MOST: usize = 768 << 20;

/// Counts what is held. libFuzzer looks at the process once a second, and never at memory that is not touched.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

fn grow(by: usize) {
    if HELD.fetch_add(by, Relaxed).saturating_add(by) > MOST {
        eprintln!(
            "more than {} MiB are held, or asked for at once",
            MOST >> 20
        );
        std::process::abort();
    }
}

// SAFETY: memory comes from `System` as it was asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The parts of an input between lines of `#####`; those that are not there are empty.
pub fn parts<const N: usize>(text: &str) -> [&str; N] {
    let mut parts = text.splitn(N, "#####\n");
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Names that MMEngine's files cannot give to a value, though options, JSON and YAML can.
const NOT_IN_A_FILE: [&str; 5] = ["_base_", "filename", "text", "pretty_text", "env_variables"];

/// A config is written as Python that reads back to the same config.
pub fn written_and_read(config: &Config) {
    let notes: String = config.notes.iter().map(ToString::to_string).collect();
    let (text, json) = (config.to_py(), config.to_json());
    drop((config.origins().len(), config.custom_imports()));
    assert!(diff(config.dict(), config.dict()).is_empty());
    let names = config.dict().iter().map(|(key, _)| key.to_string());
    if { names }.any(|name| name.starts_with("__") || NOT_IN_A_FILE.contains(&&*name)) {
        return;
    }
    let again = match Config::parse(&text, "config.py", &MapLoader::default()) {
        Ok(again) => again,
        Err(errors) => panic!("{errors}\nof\n{text}\nafter\n{notes}"),
    };
    // Not the trees: a class named in lazy style is written as its name.
    assert_eq!(again.to_py(), text);
    assert_eq!(sorted(&again.to_json()), sorted(&json));
}

/// The lines of a JSON text, whatever their order: some keys are written last.
fn sorted(json: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = json.lines().map(|l| l.trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines
}
