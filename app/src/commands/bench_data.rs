//! `smalti bench CONFIG --data`: samples a second of a training pipeline.

use crate::style;
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;
use smalti::config::Severity;
use smalti::data::Lookup;
use smalti::data::datasets::{self, Dataset};
use smalti::data::image::Image;
use smalti::data::loader::{Loader, LoaderOptions};
use smalti::data::random::Counter;
use smalti::data::samplers::Sampling;
use smalti::data::transforms::{Context, Files};
use smalti::host::disk::Disk;
use smalti::host::memory::peak_mib;

use super::bench::BenchArgs;
use super::config::tell;

/// Pictures from the disk; those that were decoded once are kept, if that is wanted.
struct Kept {
    disk: Disk,
    pictures: Option<Mutex<HashMap<String, Image>>>,
}

impl Files for Kept {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.disk.read(path)
    }

    fn open(&self, path: &str) -> Result<Box<dyn std::io::Read + '_>, String> {
        self.disk.open(path)
    }

    fn decoded(&self, path: &str) -> Option<Image> {
        let kept = self.pictures.as_ref()?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(path).cloned()
    }

    fn keep(&self, path: &str, image: &Image) {
        if let Some(kept) = &self.pictures {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(path.to_owned(), image.clone());
        }
    }
}

/// Makes samples and counts them.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    let config = args.read.load(&args.config)?;
    let disk = Disk::new();
    let registry = smalti::registry();
    let look = Lookup::of(&registry, &config);
    let dataset = datasets::from_config_with(&config, &args.split, &disk, look);
    let dataset = dataset.map_err(|e| config.errors(e).to_string())?;
    let sampling = Sampling::read(&config, &args.split, look, 0);
    let sampling = sampling.map_err(|e| config.errors(e).to_string())?;
    let noticed = datasets::all_notes(&*dataset).into_iter();
    let warnings = noticed.filter(|d| d.severity != Severity::Note).cloned();
    tell(&config.errors(warnings.collect()).diagnostics);
    let chosen = args.device.choose()?;
    let pixels = smalti::ops::augment::pixels(&chosen.device);
    let files = Kept {
        disk,
        pictures: args.decoded.then(Mutex::default),
    };
    let options = LoaderOptions {
        workers: args.workers as usize,
        ..LoaderOptions::default()
    };
    if args.decoded {
        // every picture once, so that no sample is the first to decode one
        let mut leaves: Vec<&dyn Dataset> = vec![&*dataset];
        let mut random = Counter::new(0);
        while let Some(leaf) = leaves.pop() {
            leaves.extend(leaf.children());
            if leaf.children().is_empty() {
                let mut cx = Context::new(&mut random, &pixels, &files);
                for index in 0..leaf.len() {
                    leaf.get(index, &mut cx).map_err(|e| e.to_string())?;
                }
            }
        }
    }
    let loader = Loader::new(dataset, pixels.exact(args.exact), Arc::new(files), options);
    let mut loader = loader.sampled(sampling)?;

    let (warm, wanted) = (args.samples / 10 + 1, args.samples);
    let mut start = Instant::now();
    let (mut made, mut boxes) = (0, 0);
    'all: for epoch in 0.. {
        let before = made;
        for sample in loader.epoch(epoch) {
            let sample = sample.map_err(|e| e.to_string())?;
            made += 1;
            if made == warm {
                start = Instant::now();
            } else if made > warm {
                boxes += sample.gt.len();
            }
            if made == warm + wanted {
                break 'all;
            }
        }
        if made == before {
            return Err("the data set gives no samples".into());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = f64::from(wanted) / seconds;
    let memory = peak_mib();
    if args.json {
        let all = json!({
            "config": args.config, "device": chosen.name, "workers": args.workers, "exact": args.exact, "decoded": args.decoded,
            "samples": wanted, "seconds": seconds, "samples_per_second": rate, "boxes": boxes, "peak_memory_mib": memory,
        });
        style::say_json(&all);
        return Ok(ExitCode::SUCCESS);
    }
    style::say(format_args!(
        "{}, {}: {wanted} samples of `{}` in {seconds:.2} s with {} workers on {}",
        args.config,
        if args.exact {
            "step by step"
        } else {
            "composed"
        },
        args.split,
        args.workers,
        chosen.name
    ));
    style::say(format_args!(
        "  {rate:.1} samples a second, {:.2} ms each, {:.1} boxes a sample",
        1e3 * seconds / f64::from(wanted),
        boxes as f64 / f64::from(wanted)
    ));
    if let Some(mib) = memory {
        style::say(format_args!("  peak memory of the process {mib:.0} MiB"));
    }
    Ok(ExitCode::SUCCESS)
}
