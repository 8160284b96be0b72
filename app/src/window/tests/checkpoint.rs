//! The checkpoint view: tensors, how they fit the config that is open, the prefix that would make them fit.

use std::path::{Path, PathBuf};

use eframe::egui::Event;
use egui_kittest::kittest::Queryable;
use smalti::weights::Checkpoint;

use super::{Driven, Folder, USUAL};
use crate::window::views::{Shows, for_what};

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/demo")
        .join(name)
}

#[test]
fn a_wrong_prefix_is_seen_and_the_right_one_is_a_click_away() {
    let folder = Folder::new();
    let bytes = std::fs::read(demo("digits.safetensors")).unwrap();
    let checkpoint = Checkpoint::read(bytes)
        .unwrap()
        .renamed(|key| format!("teacher.{key}"))
        .unwrap();
    let file = folder.0.join("teacher.safetensors");
    checkpoint
        .altered()
        .unwrap()
        .write_safetensors(&mut std::fs::File::create(&file).unwrap())
        .unwrap();
    let config = demo("retinanet_mobilenetv3-small_fpn_digits.py");
    let mut app = Driven::open(&folder.0, &[config], USUAL);
    let path = file.clone();
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, &path);
    app.settle();
    assert_eq!(Some(app.app().front()), for_what(Shows::Checkpoint));
    app.harness.get_by_label_contains("0 of ");
    app.picture("checkpoint_prefix");
    app.harness.get_by_label("Use prefix teacher.").click();
    app.settle();
    assert!(app.harness.query_by_label_contains("missing").is_none());
    app.harness.get_by_label("Find a tensor").focus();
    app.harness.event(Event::Text("conv.weight".into()));
    app.settle();
    app.harness
        .get_all_by_label_contains("backbone.")
        .next()
        .unwrap()
        .click();
    app.settle();
    app.harness.get_by_label_contains("deviation");
    app.picture("checkpoint");
}

#[test]
fn a_file_that_is_none_is_told_in_its_place() {
    let folder = Folder::new();
    let file = folder.put("broken.pth", "no checkpoint");
    let mut app = Driven::open(&folder.0, &[file], USUAL);
    app.harness.get_by_label("broken.pth cannot be read.");
    app.harness.get_by_label("Retry").click();
    app.settle();
    app.harness.get_by_label("broken.pth cannot be read.");
    assert!(app.harness.unnamed_widgets().is_empty());
}
