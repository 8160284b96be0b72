//! No device, and one that is lost: the window says what to do next, and goes on.

use std::path::Path;

use egui_kittest::kittest::Queryable;

use super::{Driven, Folder, USUAL};
use crate::window::actions::Command;
use crate::window::engine::Engine;
use crate::window::views::{Shows, for_what};

fn picture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo/digits.jpg")
}

#[test]
fn without_the_device_that_was_chosen_the_cpu_is_a_click_away() {
    let folder = Folder::new();
    folder.put(
        "remembered/settings.json",
        r#"{"device": "no such card", "theme": "dark"}"#,
    );
    let mut app = Driven::open(&folder.0, &[picture()], USUAL);
    app.harness
        .get_by_label_contains("There is no device to run on: no device is called `no such card`");
    app.picture("device_none");
    for view in 0..8 {
        app.app().session.commands.push_back(Command::View(view));
        app.settle();
        app.harness.get_by_label("Use the CPU");
        assert!(app.harness.unnamed_widgets().is_empty());
    }
    app.harness.get_by_label("Use the CPU").click();
    app.settle();
    assert!(app.harness.query_by_label("Use the CPU").is_none());
    assert_eq!(app.app().session.settings.device, "cpu");
    let view = for_what(Shows::Pictures).unwrap();
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    assert!(app.harness.query_all_by_label_contains("score 0.9").count() > 0);
}

/// A software adapter is a device too. The one that is lost here is not shared with other tests: each `Chosen` of an adapter is the same, so
/// this one is opened beside it.
#[test]
fn a_lost_device_is_left_for_the_cpu() {
    let Some(chosen) = own_device() else {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(!ci, "CI promises an adapter");
        return;
    };
    let name = chosen.name.clone();
    let device = chosen.setup.as_ref().unwrap().device.clone();
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[], USUAL);
    app.app().session.engine = Engine::with(chosen);
    device.destroy();
    app.harness.get_by_label("Try the demo").click();
    app.settle();
    app.harness
        .get_by_label_contains(&format!("{name} was lost"));
    assert_eq!(app.app().session.engine.title().0, "CPU");
    assert!(app.harness.query_all_by_label_contains("score 0.9").count() > 0);
    app.picture("device_lost");
    app.harness.get_by_label("Dismiss").click();
    app.settle();
    assert!(app.harness.query_by_label_contains("was lost").is_none());
}

/// A device that no other test has.
fn own_device() -> Option<smalti::device::Chosen> {
    use smalti::device::{WgpuSetup, choose_blocking, from_setup, wgpu};
    let shared = choose_blocking("gpu").ok()?;
    let setup = shared.setup?;
    let wanted = wgpu::DeviceDescriptor {
        required_features: setup.device.features(),
        required_limits: setup.device.limits(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(setup.adapter.request_device(&wanted)).ok()?;
    let own = WgpuSetup {
        device,
        queue,
        ..setup
    };
    from_setup(own).ok()
}
