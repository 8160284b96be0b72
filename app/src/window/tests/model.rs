//! The model view: a table of parts whose sums are the model's, the line of a part, and what is not built.

use std::path::{Path, PathBuf};

use eframe::egui::{Key, Theme};
use egui_kittest::kittest::{NodeT, Queryable};
use smalti::config::Config;
use smalti::data::summary::thousands;
use smalti::host::config_files::ConfigFiles;
use smalti::layers::Role;

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;
use crate::window::views::VIEWS;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/demo/retinanet_mobilenetv3-small_fpn_digits.py")
}

fn open(folder: &Folder, files: &[PathBuf], look: Look) -> Driven<'static> {
    let mut app = Driven::open(&folder.0, files, look);
    let view = VIEWS.iter().position(|row| row.name == "Model").unwrap();
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    app
}

#[test]
fn sums_are_the_models_and_a_part_reveals_its_line() {
    let folder = Folder::new();
    let path = folder.put("retina.py", &std::fs::read_to_string(demo()).unwrap());
    let config = Config::load(path.to_str().unwrap(), &ConfigFiles::new()).unwrap();
    let state = smalti::model::state(&config, &smalti::registry()).unwrap();
    let sum = |prefix: &str| -> usize {
        let of = state
            .iter()
            .filter(|e| e.role == Role::Parameter && e.key.starts_with(prefix));
        of.map(|e| e.shape.iter().product::<usize>()).sum()
    };
    let mut app = open(&folder, std::slice::from_ref(&path), USUAL);
    app.harness
        .get_by_label_contains(&format!("{} parameters", thousands(sum(""))));
    for part in ["backbone", "neck", "bbox_head"] {
        let parameters = format!(" {} parameters", thousands(sum(&format!("{part}."))));
        let name = format!("{part}, ");
        let row = app.harness.get_all_by_label_contains(&name);
        let row = row.filter_map(|node| node.accesskit_node().label());
        let row: Vec<String> = row.collect();
        assert!(
            row.iter().any(|label| label.contains(&parameters)),
            "{row:?}: {parameters}"
        );
    }
    let neck = app
        .harness
        .get_all_by_label_contains("neck, ")
        .next()
        .unwrap();
    neck.click();
    app.settle();
    app.harness.get_by_label("in_channels=[64, 64, 64, 64]");
    let document = app.app().session.documents.active().unwrap();
    let revealed = document.reveal.clone().unwrap();
    assert!(document.text()[revealed].starts_with("dict(\n        type='FPN'"));
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("model_dark");
    let line = document_line(&mut app, "neck=dict(");
    app.harness.get_by_label(&format!(":{line}")).click();
    app.settle();
    let front = app.app().front();
    assert_eq!(VIEWS[front].name, "Config");
}

fn document_line(app: &mut Driven<'_>, text: &str) -> usize {
    let document = app.app().session.documents.active().unwrap();
    document.line_of(document.text().find(text).unwrap())
}

#[test]
fn parts_are_found_sorted_and_walked() {
    let folder = Folder::new();
    let look = Look {
        theme: Theme::Light,
        ..USUAL
    };
    let mut app = open(&folder, &[demo()], look);
    app.harness.get_by_label("Sort by GFLOPs").click();
    app.settle();
    app.harness.get_by_label("Find a part").focus();
    app.settle();
    app.harness
        .get_by_label("Find a part")
        .type_text("depthwise");
    app.settle();
    let found = app
        .harness
        .get_all_by_label_contains("depthwise_conv.conv, ");
    assert!(found.count() > 5);
    assert!(app.harness.query_by_label_contains("retina_cls").is_none());
    app.picture("model_found");
    let layer = app
        .harness
        .get_all_by_label_contains("depthwise_conv.conv, ");
    layer.last().unwrap().click();
    app.settle();
    app.harness.get_by_label("weight");
    app.harness.key_press(Key::ArrowUp);
    app.settle();
    app.picture("model_light");
}

#[test]
fn a_part_shows_what_it_makes_of_the_picture() {
    let folder = Folder::new();
    let config = demo();
    let [weights, picture] = ["digits.safetensors", "digits.jpg"].map(|n| config.with_file_name(n));
    let mut app = open(&folder, &[config, weights, picture], USUAL);
    let row = |app: &Driven<'_>, name: &str| {
        let all = app.harness.get_all_by_label_contains(name);
        let mut all = all.filter(|node| node.accesskit_node().label().is_some());
        all.next().unwrap().click();
    };
    row(&app, "neck, ");
    app.settle();
    app.harness
        .get_by_label("the mean of its channels of digits.jpg");
    app.harness.get_by_label("1: 20 x 20").click();
    app.settle();
    app.picture("model_heat");
    app.harness.get_by_label("Find a part").focus();
    app.settle();
    app.harness
        .get_by_label("Find a part")
        .type_text("retina_cls");
    app.settle();
    row(&app, "retina_cls, ");
    app.settle();
    app.harness
        .get_by_label("the mean of its channels of digits.jpg");
    assert!(app.harness.unnamed_widgets().is_empty());
    app.harness.get_by_label("Over the picture").click();
    app.settle();
    app.picture("model_heat_head");
}

#[test]
fn without_a_model_it_says_what_to_do() {
    let folder = Folder::new();
    let mut app = open(&folder, &[], USUAL);
    app.harness.get_by_label("Needs a config.");
    app.picture("model_empty");
    let folder = Folder::new();
    let text = "model = dict(type='RetinaNet', backbone=dict(type='ResNet', depth=19))\n";
    let config = folder.put("bad.py", text);
    let mut app = open(&folder, &[config], USUAL);
    app.harness.get_by_label("This config makes no model.");
    app.picture("model_error");
    app.harness.get_by_label("Go to the config").click();
    app.settle();
    let front = app.app().front();
    assert_eq!(VIEWS[front].name, "Config");
}
