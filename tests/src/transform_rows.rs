//! Data transforms against MMDetection's: `data/transforms.jsonl.gz` (each transform and the YOLOX pipeline) and
//! `data/transforms-options.jsonl.gz` (more options, sizes and pipelines), step by step; see `transforms.rs` for the tolerances.

use std::path::Path;

use burn::tensor::Device;

use crate::golden::{Outcome, Row, check, read_rows};

fn rows(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(name);
    read_rows(&path).unwrap()
}

fn check_all(rows: &[Row], device: &Device) {
    let mut failed = Vec::new();
    for row in rows {
        if let Outcome::Failed(line) = check(row, device) {
            failed.push(format!("{}: {line}", row.name()));
        }
    }
    assert!(!rows.is_empty(), "there are rows");
    assert!(
        failed.is_empty(),
        "{} of {} rows failed:\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}

#[test]
fn transforms_on_the_cpu() {
    check_all(&rows("transforms.jsonl.gz"), &Device::flex());
}

#[test]
fn options_and_pipelines_on_the_cpu() {
    check_all(&rows("transforms-options.jsonl.gz"), &Device::flex());
}

#[test]
fn transforms_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    check_all(&rows("transforms.jsonl.gz"), &device);
}

#[test]
fn options_and_pipelines_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    check_all(&rows("transforms-options.jsonl.gz"), &device);
}
