//! `smalti bench CONFIG [CHECKPOINT]`: how long each stage takes; with `--data`, samples a second (`bench_data`); of a backbone alone
//! (`bench_backbone`).

use crate::style;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use serde_json::json;
use smalti::Predictor;
use smalti::data::Picture;
use smalti::host::memory::peak_mib;
use smalti::probe::Probe;

use super::channels::names_file;
use super::config::{ReadOptions, tell};
use super::{DeviceArg, PrecisionArg, model};
use crate::timing::Timing;

/// Arguments of `smalti bench`.
#[derive(Args)]
#[command(
    after_help = "Times are milliseconds for one batch: median, and the range from the fastest to the slowest run. The device is waited for after each stage."
)]
pub struct BenchArgs {
    /// MMDetection config; or a backbone as its type and arguments, to time it alone
    #[arg(value_name = "CONFIG|BACKBONE", value_hint = ValueHint::FilePath)]
    pub(super) config: String,
    /// Checkpoint; without one the weights are initial values, which costs the same
    #[arg(value_hint = ValueHint::FilePath)]
    checkpoint: Option<String>,
    #[command(flatten)]
    from: model::FromCheckpoint,
    /// Size of the picture that goes into the test pipeline
    #[arg(long, value_name = "WxH", default_value = "1333x800")]
    pub(super) size: String,
    /// A picture file instead of a made-up one
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    picture: Option<std::path::PathBuf>,
    /// Pictures that run together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) batch: u32,
    /// Timed runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) runs: u32,
    /// Runs before the timed ones
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) warmup: u32,
    /// Time the training pipeline, not the model: samples a second
    #[arg(long, conflicts_with_all = ["checkpoint", "size", "picture", "batch", "runs", "warmup"])]
    pub(super) data: bool,
    /// With --data: which data set of the config (train, val or test)
    #[arg(long, default_value = "train", requires = "data")]
    pub(super) split: String,
    /// With --data: samples to time, after a tenth of that many that are not
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "data", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) samples: u32,
    /// With --data: threads that make samples; 0 makes them in the main one
    #[arg(long, value_name = "N", default_value_t = 1, requires = "data", value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(super) workers: u32,
    /// With --data: keep decoded pictures in memory, to time what follows
    #[arg(long, requires = "data")]
    pub(super) decoded: bool,
    /// With --data: interpolate step by step, as MMDetection does, and do not compose geometric steps
    #[arg(long, requires = "data")]
    pub(super) exact: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) device: DeviceArg,
    #[command(flatten)]
    precision: PrecisionArg,
    #[command(flatten)]
    pub(super) read: ReadOptions,
}

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<ExitCode, String> {
    if args.data {
        return super::bench_data::run(args);
    }
    if args.checkpoint.is_none() && args.picture.is_none() && !names_file(&args.config) {
        return super::bench_backbone::run(args);
    }
    let start = Instant::now();
    let config = args.read.load(&args.config)?;
    let chosen = args.device.choose()?;
    let builder = Predictor::builder(&config)
        .device(&chosen.device)
        .precision(args.precision.on(&chosen));
    let predictor = match &args.checkpoint {
        Some(name) => args.from.build(builder, name)?,
        None => builder.build().map_err(|e| e.to_string())?,
    };
    tell(predictor.notes());
    let picture = match &args.picture {
        None => made_up(&args.size)?,
        Some(path) => {
            let name = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|e| format!("{name}: {e}"))?;
            predictor.decode(&name, &bytes).map_err(|e| e.to_string())?
        }
    };
    let ready = start.elapsed();
    let size = format!("{}x{}", picture.width(), picture.height());
    let pictures = vec![picture; args.batch as usize];

    let mut first = None;
    let mut runs: Vec<Vec<(String, Duration)>> = Vec::new();
    for i in 0..args.warmup + args.runs {
        let begin = Instant::now();
        let mut timing = Timing::new(predictor.device());
        let mut tell = |part: &str, tensors: &[_]| timing.tell(part, tensors);
        let mut probe = Probe::new(&mut tell);
        let found = predictor.detect_probed(&pictures, &mut probe);
        pollster::block_on(found).map_err(|e| e.to_string())?;
        let mut times = timing.finish();
        times.push(("total".into(), begin.elapsed()));
        first.get_or_insert(start.elapsed());
        if i >= args.warmup {
            runs.push(times);
        }
    }
    let names = runs.first().into_iter().flatten();
    let rows: Vec<_> = names
        .enumerate()
        .map(|(i, (name, _))| (name, spread(&runs, i)))
        .collect();
    let first = first.unwrap_or_default();
    let memory = peak_mib();
    if args.json {
        let stages: serde_json::Map<_, _> = rows
            .iter()
            .map(|(name, [median, least, most])| {
                let row = json!({"median_ms": median, "min_ms": least, "max_ms": most});
                (name.to_string(), row)
            })
            .collect();
        let all = json!({
            "config": args.config, "device": chosen.name, "precision": predictor.precision().to_string(), "picture": size, "batch": args.batch, "runs": args.runs,
            "ready_ms": ready.as_secs_f64() * 1e3, "first_detection_ms": first.as_secs_f64() * 1e3,
            "peak_memory_mib": memory, "stages": stages,
        });
        style::say_json(&all);
        return Ok(ExitCode::SUCCESS);
    }
    style::say(format_args!(
        "{}, picture {size}, batch {}, {} runs, {} on {}",
        args.config,
        args.batch,
        args.runs,
        predictor.precision(),
        chosen.name
    ));
    for (name, [median, least, most]) in rows {
        style::say(format_args!(
            "  {name:<12} {median:>9.2} ms   ({least:.2} to {most:.2})"
        ));
    }
    style::say(format_args!(
        "  config, weights and device ready after {:.0} ms, first detections after {:.0} ms",
        ready.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3
    ));
    if let Some(mib) = memory {
        style::say(format_args!("  peak memory of the process {mib:.0} MiB"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Median, least and most of one column.
pub(super) fn spread(runs: &[Vec<(String, Duration)>], column: usize) -> [f64; 3] {
    let ms = |run: &Vec<(String, Duration)>| run[column].1.as_secs_f64() * 1e3;
    let mut values: Vec<_> = runs.iter().map(ms).collect();
    values.sort_by(f64::total_cmp);
    [
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    ]
}

/// Width and height.
pub(super) fn size(text: &str) -> Result<(usize, usize), String> {
    let parse = |s: &str| s.parse::<usize>().ok().filter(|v| (1..=20_000).contains(v));
    text.split_once('x')
        .and_then(|(w, h)| parse(w).zip(parse(h)))
        .ok_or_else(|| format!("--size is `{text}`; write WIDTHxHEIGHT, for example 1333x800"))
}

/// A picture of smooth colours.
fn made_up(text: &str) -> Result<Picture, String> {
    let (w, h) = size(text)?;
    let pixels = (0..w * h * 3).map(|i| {
        let (x, y, c) = (i / 3 % w, i / 3 / w, i % 3);
        (127.0 + 100.0 * ((x * (c + 1)) as f32 * 0.02).sin() * (y as f32 * 0.03).cos()) as u8
    });
    Picture::new(w, h, 3, pixels.collect()).ok_or_else(|| "--size is too large".to_string())
}
