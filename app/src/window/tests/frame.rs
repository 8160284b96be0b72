//! The frame: start, palette, settings, files that are not there.

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Theme};
use egui_kittest::kittest::Queryable;

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;
use crate::window::settings::{Settings, Theme as Chosen};

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
