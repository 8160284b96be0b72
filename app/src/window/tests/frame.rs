//! The frame: start, palette, settings, files that are not there.

use std::path::{Path, PathBuf};

use eframe::egui::accesskit::Role;
use eframe::egui::{HoveredFile, Key, Modifiers, Theme};
use egui_kittest::kittest::Queryable;

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;
use crate::window::settings::{Settings, Theme as Chosen};
use crate::window::views::{Shows, for_what};

#[test]
fn it_starts_with_something_to_do() {
    let folder = Folder::new();
    for (name, theme) in [("start_dark", Theme::Dark), ("start_light", Theme::Light)] {
        let mut app = Driven::open(&folder.0.join(name), &[], Look { theme, ..USUAL });
        app.harness.get_by_label("Open...");
        app.harness.get_by_label("Make the config");
        let picture = app.picture(name);
        assert!(picture.colors() > 50, "{} colours", picture.colors());
    }
}

#[test]
fn the_palette_finds_commands_by_their_letters() {
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[], USUAL);
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    app.settle();
    app.harness
        .get_by_role_and_label(Role::TextInput, "Find anything");
    app.picture("palette");
    app.harness
        .event(eframe::egui::Event::Text("settings".into()));
    app.settle();
    app.harness.key_press(Key::Enter);
    app.settle();
    app.harness.get_by_label("Reduce motion");
    app.picture("settings");
}

#[test]
fn the_keyboard_goes_from_region_to_region() {
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[], USUAL);
    let mut reach = |modifiers, key, label: &str| {
        app.harness.key_press_modifiers(modifiers, key);
        app.settle();
        assert!(app.harness.get_by_label(label).is_focused(), "{label}");
    };
    let none = Modifiers::NONE;
    for region in ["top bar", "status bar", "rail", "view", "top bar"] {
        reach(none, Key::F6, region);
    }
    for region in ["view", "rail"] {
        reach(Modifiers::SHIFT, Key::F6, region);
    }
    reach(none, Key::Tab, "Start");
    reach(none, Key::Tab, "Config");
}

#[test]
fn settings_are_remembered() {
    let folder = Folder::new();
    {
        let mut app = Driven::open(&folder.0, &[], USUAL);
        app.app().session.commands.push_back(Command::Settings);
        app.settle();
        app.harness.get_by_label("Light").click();
        app.settle();
        assert_eq!(app.app().session.settings.theme, Chosen::Light);
    }
    let mut app = Driven::open(&folder.0, &[], USUAL);
    assert_eq!(app.app().session.settings.theme, Chosen::Light);
    let text = std::fs::read_to_string(folder.0.join("remembered/settings.json")).unwrap();
    let read: Settings = serde_json::from_str(&text).unwrap();
    assert_eq!(read.theme, Chosen::Light);
    folder.put("remembered/settings.json", "{broken");
    let mut app = Driven::open(&folder.0, &[], USUAL);
    assert!(
        app.said()[0].contains("settings.json cannot be used"),
        "{:?}",
        app.said()
    );
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = Folder::new();
    let binary = folder.0.join("a.py");
    std::fs::write(&binary, b"\xFF\xFE\x00\x01").unwrap();
    let empty = folder.0.join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let mut app = Driven::open(
        &folder.0,
        &[folder.0.join("missing.py"), binary, empty],
        USUAL,
    );
    let said = app.said().join("\n");
    for part in [
        "missing.py cannot be opened: there is no such file",
        "a.py cannot be opened: ",
        "empty has neither pictures, nor annotations, nor a config",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    app.picture("cannot_open");
}

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/demo")
        .join(name)
}

/// Which is read first depends on the machine, what comes to the front does not.
#[test]
fn what_is_opened_together_comes_to_the_front_by_what_it_is() {
    let config = || demo("retinanet_mobilenetv3-small_fpn_digits.py");
    let (weights, picture) = (|| demo("digits.safetensors"), || demo("digits.jpg"));
    for (files, front) in [
        (vec![config()], Shows::Config),
        (vec![weights(), config()], Shows::Checkpoint),
        (vec![config(), weights()], Shows::Checkpoint),
        (vec![picture(), config(), weights()], Shows::Pictures),
        (vec![config(), weights(), picture()], Shows::Pictures),
    ] {
        let folder = Folder::new();
        let mut app = Driven::open(&folder.0, &files, USUAL);
        assert_eq!(Some(app.app().front()), for_what(front), "{files:?}");
    }
}

#[test]
fn what_is_dragged_over_the_window_says_what_becomes_of_it() {
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[demo("digits.jpg")], USUAL);
    let hovered = |name: &str| HoveredFile {
        path: Some(name.into()),
        mime: String::new(),
    };
    let names = ["/a/base.py", "/a/epoch_12.pth", "/a/val.json", "/a/photos"];
    app.harness.input_mut().hovered_files = names.map(hovered).to_vec();
    app.harness.step();
    app.picture("drop");
    let lines =
        names.map(|name| super::super::frame::drops::line(&hovered(name), app.app().view()));
    assert_eq!(
        lines,
        [
            "base.py: opened in the editor",
            "epoch_12.pth: used as weights here",
            "val.json: a config, annotations or a log, by what is in it",
            "photos: its pictures, annotations, run or configs",
        ]
    );
}

#[test]
fn a_folder_in_pascal_vocs_form_is_a_data_set() {
    let folder = Folder::new();
    let png = smalti::draw::Canvas::new(60, 40, vec![120; 60 * 40 * 3]).unwrap();
    let png = png.png().unwrap();
    std::fs::create_dir_all(folder.0.join("VOC/JPEGImages")).unwrap();
    for (i, class) in ["cat", "dog", "cat"].into_iter().enumerate() {
        let name = format!("00{i}");
        std::fs::write(folder.0.join(format!("VOC/JPEGImages/{name}.jpg")), &png).unwrap();
        let object = format!(
            "<object><name>{class}</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>31</ymax></bndbox></object>"
        );
        let text = format!(
            "<annotation><filename>{name}.jpg</filename><size><width>60</width><height>40</height></size>{object}</annotation>"
        );
        folder.put(&format!("VOC/Annotations/{name}.xml"), &text);
    }
    folder.put("VOC/ImageSets/Main/train.txt", "000\n001\n002\n");
    let mut app = Driven::open(&folder.0, &[folder.0.join("VOC")], USUAL);
    assert_eq!(Some(app.app().front()), for_what(Shows::Annotations));
    app.picture("data_voc");
    app.harness.get_by_label("3 pictures");
    app.harness.get_by_label("cat, 2 objects");
    // and it goes away: what was shown says so, and the window goes on
    std::fs::remove_dir_all(folder.0.join("VOC")).unwrap();
    app.app().session.commands.push_back(Command::View(0));
    app.settle();
    let view = for_what(Shows::Annotations).unwrap();
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    app.harness.get_by_label("cat, 2 objects").click();
    app.settle();
    app.picture("data_voc_gone");
    assert!(app.harness.unnamed_widgets().is_empty());
}
