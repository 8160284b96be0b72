//! Models against MMDetection's own outputs: `data/spine.jsonl.gz` (the how-to page's and the zoo's RetinaNets), `data/options.jsonl.gz`
//! (an option of a class in each row), `data/heads.jsonl.gz` (small FCOS, RPN and YOLOX models, likewise), `data/two-stage*.jsonl.gz` and
//! `data/second-stages.jsonl.gz` (small two-stage models, likewise) and `data/backbones.jsonl.gz` (backbones alone); they were made by running MMDetection 3.3.0 with weights by formula; see `golden.rs`. `data/detectron2.jsonl.gz`
//! has small models of Detectron2, and steps of their training.
//! `data/train.jsonl.gz` has one step of training (see `training.rs`), `data/trajectory.jsonl.gz` short runs (see `trajectory.rs`).

use std::path::Path;

use burn::tensor::Device;

use crate::golden::{Outcome, Row, check, read_rows};

fn rows(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(name);
    read_rows(&path).unwrap()
}

fn check_all<'a>(rows: impl IntoIterator<Item = &'a Row>, device: &Device) {
    let mut failed = Vec::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        if let Outcome::Failed(line) = check(row, device) {
            failed.push(format!("{}: {line}", row.name()));
        }
    }
    assert!(count > 0, "there are rows");
    assert!(
        failed.is_empty(),
        "{} of {count} rows failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn the_zoo_on_the_cpu() {
    check_all(&rows("spine.jsonl.gz"), &Device::flex());
}

#[test]
fn every_option_on_the_cpu() {
    check_all(&rows("options.jsonl.gz"), &Device::flex());
}

#[test]
fn other_heads_on_the_cpu() {
    check_all(&rows("heads.jsonl.gz"), &Device::flex());
}

/// What they find, and a step of their training.
#[test]
fn second_stages_on_the_cpu() {
    check_all(&rows("two-stage.jsonl.gz"), &Device::flex());
}

/// C4 and DC5, two heads, other necks and extractors, scored masks.
#[test]
fn more_second_stages_on_the_cpu() {
    check_all(&rows("two-stage-more.jsonl.gz"), &Device::flex());
}

/// Maps of the backbones of MMDetection, MMPretrain and timm, and gradients.
#[test]
fn backbones_on_the_cpu() {
    check_all(&rows("backbones.jsonl.gz"), &Device::flex());
}

#[test]
fn second_stages_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    let some = ["mask.py", "avgpool_max", "cascade_mask"];
    let picked = |r: &&Row| some.iter().any(|s| r.name().contains(s));
    check_all(rows("two-stage.jsonl.gz").iter().filter(picked), &device);
    let some = ["double", "bfp_non_local", "generic_sum", "scoring"];
    let picked = |r: &&Row| some.iter().any(|s| r.name().contains(s));
    let more = rows("two-stage-more.jsonl.gz");
    check_all(more.iter().filter(picked), &device);
}

/// What they find, and a step of their training.
#[test]
fn detectron2_on_the_cpu() {
    check_all(&rows("detectron2.jsonl.gz"), &Device::flex());
}

#[test]
fn detectron2_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    let some = [
        "cascade_mask_gn",
        "retina_gn",
        "rpn_deep",
        "faster_r18_pool_sigmoid",
    ];
    let picked = |r: &&Row| some.contains(&r.name().as_str());
    check_all(rows("detectron2.jsonl.gz").iter().filter(picked), &device);
}

/// Losses and gradients of a step.
#[test]
fn a_step_of_training_on_the_cpu() {
    check_all(&rows("train.jsonl.gz"), &Device::flex());
}

#[test]
fn runs_on_the_cpu() {
    check_all(&rows("trajectory.jsonl.gz"), &Device::flex());
}

#[test]
fn training_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    check_all(&rows("train.jsonl.gz"), &device);
    let short = |r: &&Row| r.name() == "fcos";
    check_all(rows("trajectory.jsonl.gz").iter().filter(short), &device);
}

/// On any adapter, a software one included; the deepest models and most options would take long on a software one.
#[test]
fn models_on_a_gpu() {
    let Some(device) = crate::gpu() else { return };
    let small = |r: &&Row| !r.name().contains("r101") && !r.name().contains("r50");
    check_all(rows("spine.jsonl.gz").iter().filter(small), &device);
    let some = [
        "test_pre_minus1",
        "test_default",
        "head_softmax",
        "tf_lite1",
        "mob_small_gn",
        "fpn_bilinear_odd",
        "res18_v1d_odd",
    ];
    let picked = |r: &&Row| some.iter().any(|s| r.name().contains(s));
    check_all(rows("options.jsonl.gz").iter().filter(picked), &device);
    check_all(&rows("heads.jsonl.gz"), &device);
}

/// Proposals from a file, PISA, samplers that ask the head, and soft suppression.
#[test]
fn given_proposals_and_samplers_on_the_cpu() {
    check_all(&rows("second-stages.jsonl.gz"), &Device::flex());
}
