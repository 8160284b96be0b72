//! A window as wide as a phone: the rail is below, one pane is shown at a time, and what a finger is to find is large enough.

use std::path::{Path, PathBuf};

use egui_kittest::kittest::{NodeT, Queryable};

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;
use crate::window::tokens::TOUCH;
use crate::window::views::VIEWS;

const PHONE: Look = Look {
    size: [390.0, 844.0],
    scale: 2.0,
    ..USUAL
};

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/demo")
        .join(name)
}

#[test]
fn everything_is_reached_on_a_phone() {
    let folder = Folder::new();
    let files = [
        demo("retinanet_mobilenetv3-small_fpn_digits.py"),
        demo("digits.safetensors"),
        demo("digits.jpg"),
    ];
    let mut app = Driven::open(&folder.0, &files, PHONE);
    for (i, view) in VIEWS.iter().enumerate() {
        let first = app.harness.query_by_label(view.name);
        match first {
            Some(button) => button.click(),
            None => {
                app.harness.get_by_label("More").click();
                app.settle();
                app.harness.get_by_label(view.name).click();
            }
        }
        app.settle();
        assert_eq!(app.app().front(), i, "{}", view.name);
        app.picture(&format!("phone_{}", view.name.to_lowercase()));
        let unnamed = app.harness.unnamed_widgets();
        assert!(unnamed.is_empty(), "{}: {unnamed:#?}", view.name);
        let buttons = app
            .harness
            .query_all_by_role(eframe::egui::accesskit::Role::Button);
        for button in buttons {
            let (name, rect) = (button.accesskit_node().label(), button.rect());
            assert!(
                rect.right() <= 391.0 && rect.left() >= -1.0,
                "{}: {name:?} at {rect}",
                view.name
            );
        }
    }
}

#[test]
fn the_details_are_a_sheet() {
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[demo("digits.jpg")], PHONE);
    let height = |app: &Driven<'_>| app.harness.get_by_label("inspector").rect().top();
    let low = app.harness.get_by_label("Raise the details").rect();
    assert!(low.top() > 600.0, "{low}");
    app.harness.get_by_label("Raise the details").click();
    app.settle();
    app.picture("phone_sheet");
    let half = app.harness.get_by_label("Raise the details").rect();
    assert!(half.top() < 500.0, "{half}");
    app.harness.get_by_label("Raise the details").click();
    app.settle();
    assert!(height(&app) < 150.0);
    app.harness.get_by_label("Lower the details").click();
    app.settle();
    assert_eq!(app.harness.get_by_label("Raise the details").rect(), low);
    let button = app.harness.get_by_label("Run again").rect();
    assert!(button.height() >= TOUCH, "{button}");
}

#[test]
fn text_and_tree_take_turns() {
    let folder = Folder::new();
    let config = demo("retinanet_mobilenetv3-small_fpn_digits.py");
    let mut app = Driven::open(&folder.0, &[config], PHONE);
    app.harness.get_by_label("Tree").click();
    app.settle();
    app.picture("phone_tree");
    app.harness.get_by_label("Text").click();
    app.settle();
    app.app().session.commands.push_back(Command::Find);
    app.settle();
    app.picture("phone_find");
}
