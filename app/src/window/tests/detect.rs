//! The detect view: the demo, the threshold, links between table and picture, weights that do not fit, ground truth, folders, export, comparing.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use eframe::egui::{self, ColorImage, Key, Modifiers, Theme};
use egui_kittest::kittest::{NodeT, Queryable};
use smalti::weights::Checkpoint;

use super::{Driven, Folder, Look, USUAL};
use crate::window::views::{Shows, for_what};

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/demo")
        .join(name)
}

const CONFIG: &str = "retinanet_mobilenetv3-small_fpn_digits.py";

/// The demo, as it is after the button on the first view.
fn with_demo(folder: &Folder, look: Look) -> Driven<'static> {
    let mut app = Driven::open(&folder.0, &[], look);
    app.harness.get_by_label("Try the demo").click();
    app.settle();
    app
}

fn open(app: &mut Driven<'_>, path: &Path) {
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, path);
    app.settle();
}

/// Rows of the table, as they are read aloud.
fn rows(app: &Driven<'_>) -> Vec<String> {
    let all = app.harness.query_all_by_label_contains(" px");
    all.filter_map(|node| node.accesskit_node().label())
        .filter(|label| label.starts_with("box ") || label.starts_with("object "))
        .collect()
}

fn runs(app: &mut Driven<'_>) -> u64 {
    let built = app.app().session.detector.built().expect("a detector");
    built.runs.load(Ordering::Relaxed)
}

/// Presses a key so often.
fn press(app: &mut Driven<'_>, key: Key, times: usize) {
    for _ in 0..times {
        app.harness.key_press(key);
        app.harness.step();
    }
    app.settle();
}

#[test]
fn the_demo_needs_no_file_and_its_threshold_only_filters() {
    let folder = Folder::new();
    let mut app = with_demo(&folder, USUAL);
    assert_eq!(Some(app.app().front()), for_what(Shows::Pictures));
    let some = rows(&app);
    assert!(some.len() >= 3 && some[0].contains("score 0.9"), "{some:?}");
    app.picture("detect");
    app.harness.get_by_label("Score threshold").focus();
    app.settle();
    for _ in 0..30 {
        app.harness.key_press(Key::ArrowLeft);
    }
    app.settle();
    let more = rows(&app).len();
    app.picture("detect_low_threshold");
    app.harness
        .key_press_modifiers(Modifiers::SHIFT, Key::ArrowRight);
    app.settle();
    for _ in 0..9 {
        app.harness
            .key_press_modifiers(Modifiers::SHIFT, Key::ArrowRight);
    }
    app.settle();
    let none = rows(&app).len();
    assert!(more > some.len() && none == 0, "{more} {none}");
    assert_eq!(runs(&mut app), 1, "nothing ran again");
    app.harness
        .key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    app.settle();
    assert_eq!(runs(&mut app), 2);
    assert!(app.harness.unnamed_widgets().is_empty());
}

#[test]
fn row_and_box_are_linked_and_classes_filter() {
    let folder = Folder::new();
    let mut app = with_demo(&folder, USUAL);
    let name = rows(&app)[0].clone();
    let white = |app: &mut Driven<'_>, name: &str| {
        let picture = app.picture(name);
        let white = picture.rgba.chunks(4).filter(|p| *p == [255; 4]);
        white.count()
    };
    let before = white(&mut app, "detect_plain");
    app.harness.get_by_label(&name).hover();
    app.settle();
    let after = white(&mut app, "detect_hovered_row");
    assert!(after > before + 50, "its box is white: {before}, {after}");
    app.harness.get_by_label(&name).click();
    app.settle();
    press(&mut app, Key::Enter, 1);
    app.picture("detect_zoomed");
    press(&mut app, Key::Escape, 1);
    let all = rows(&app).len();
    let class = name.split([' ', ',']).nth(1).unwrap().to_owned();
    let chip = format!("Only class {class}, ");
    app.harness.get_by_label_contains(&chip).click();
    app.settle();
    let of_class = rows(&app);
    assert!(!of_class.is_empty() && of_class.len() < all, "{of_class:?}");
    assert!(
        of_class
            .iter()
            .all(|row| row.starts_with(&format!("box {class},")))
    );
    app.picture("detect_one_class");
}

#[test]
fn it_is_as_good_in_light_at_twice_the_scale_and_empty() {
    let folder = Folder::new();
    let look = Look {
        theme: Theme::Light,
        scale: 2.0,
        ..USUAL
    };
    let mut app = with_demo(&folder, look);
    assert!(app.picture("detect_light_2x").colors() > 100);
    let other = Folder::new();
    let mut app = Driven::open(&other.0, &[], USUAL);
    let view = for_what(Shows::Pictures).unwrap();
    app.app()
        .session
        .commands
        .push_back(crate::window::actions::Command::View(view));
    app.settle();
    app.harness
        .get_by_label("Drop a picture or a folder, or paste one.");
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("detect_empty");
}

/// The demo's weights with other names.
fn renamed(folder: &Folder, name: &str, prefix: &str) -> PathBuf {
    let bytes = std::fs::read(demo("digits.safetensors")).unwrap();
    let checkpoint = Checkpoint::read(bytes).unwrap();
    let checkpoint = checkpoint.renamed(|key| format!("{prefix}{key}")).unwrap();
    let file = folder.0.join(name);
    let mut out = std::fs::File::create(&file).unwrap();
    checkpoint
        .altered()
        .unwrap()
        .write_safetensors(&mut out)
        .unwrap();
    file
}

#[test]
fn weights_with_a_wrong_prefix_are_reported_and_the_right_one_is_a_click_away() {
    let folder = Folder::new();
    let weights = renamed(&folder, "teacher.safetensors", "teacher.");
    let mut app = Driven::open(&folder.0, &[demo(CONFIG)], USUAL);
    open(&mut app, &demo("digits.jpg"));
    // without weights the demo's are used, and that is said
    app.harness.get_by_label_contains("has no weights yet");
    app.picture("detect_no_weights");
    open(&mut app, &weights);
    assert_eq!(
        Some(app.app().front()),
        for_what(Shows::Pictures),
        "it stays in front"
    );
    app.harness
        .get_by_label_contains("teacher.safetensors does not fit");
    assert!(rows(&app).is_empty());
    app.picture("detect_wrong_prefix");
    assert!(app.harness.unnamed_widgets().is_empty());
    app.harness.get_by_label("Use prefix teacher.").click();
    app.settle();
    assert!(
        app.harness
            .query_by_label_contains("does not fit")
            .is_none()
    );
    assert!(rows(&app).len() >= 3);
    app.harness
        .get_by_label_contains("teacher.safetensors in retinanet");
}

/// What the demo finds in its picture: boxes and labels.
fn found(app: &mut Driven<'_>) -> Vec<([f32; 4], usize)> {
    let built = app.app().session.detector.built().unwrap().clone();
    let bytes = std::fs::read(demo("digits.jpg")).unwrap();
    let picture = built.predictor.decode("digits.jpg", &bytes).unwrap();
    let found = pollster::block_on(built.predictor.detect(&[picture]))
        .unwrap()
        .remove(0);
    let kept = found.scores.iter().take_while(|s| **s >= 0.3).count();
    (0..kept)
        .map(|i| (found.boxes[i], found.labels[i]))
        .collect()
}

#[test]
fn ground_truth_shows_misses_and_false_alarms_first() {
    let folder = Folder::new();
    let picture = folder.0.join("digits.jpg");
    std::fs::copy(demo("digits.jpg"), &picture).unwrap();
    let mut app = Driven::open(&folder.0, &[picture], USUAL);
    let found = found(&mut app);
    // all but the first are annotated, and one that nobody finds
    let mut objects: Vec<([f32; 4], usize)> = found[1..].to_vec();
    objects.push(([2.0, 2.0, 22.0, 30.0], 7));
    let annotations: Vec<String> = objects
        .iter()
        .enumerate()
        .map(|(i, ([x1, y1, x2, y2], label))| {
            format!(
                r#"{{"id": {}, "image_id": 5, "category_id": {label}, "bbox": [{x1}, {y1}, {}, {}], "area": 9, "iscrowd": 0}}"#,
                i + 1,
                x2 - x1,
                y2 - y1
            )
        })
        .collect();
    let categories: Vec<String> = (0..10)
        .map(|i| format!(r#"{{"id": {i}, "name": "{i}"}}"#))
        .collect();
    let text = format!(
        r#"{{"images": [{{"id": 5, "file_name": "digits.jpg"}}], "annotations": [{}], "categories": [{}]}}"#,
        annotations.join(", "),
        categories.join(", ")
    );
    let file = folder.put("truth.json", &text);
    open(&mut app, &file);
    assert_eq!(
        Some(app.app().front()),
        for_what(Shows::Pictures),
        "it stays in front"
    );
    let told = rows(&app);
    assert!(told[0].starts_with("object 7, 20x28 px, miss"), "{told:?}");
    assert!(
        told[1].ends_with("false") && told[2].ends_with("hit"),
        "{told:?}"
    );
    app.harness.get_by_label("1 miss");
    app.harness.get_by_label("1 false alarm");
    app.picture("detect_truth");
    assert!(app.harness.unnamed_widgets().is_empty());

    // the same as Pascal VOC has it, whose coordinates begin at 1
    let tags = |([x1, y1, x2, y2], label): &([f32; 4], usize)| {
        let side = |name: &str, v: f32| format!("<{name}>{}</{name}>", v + 1.0);
        format!(
            "<object><name>{label}</name><bndbox>{}{}{}{}</bndbox></object>",
            side("xmin", *x1),
            side("ymin", *y1),
            side("xmax", *x2),
            side("ymax", *y2)
        )
    };
    let objects: String = objects.iter().map(tags).collect();
    let text = format!(
        "<annotation><size><width>640</width><height>480</height></size>{objects}</annotation>"
    );
    let file = folder.put("Annotations/digits.xml", &text);
    open(&mut app, &file);
    let again = rows(&app);
    assert_eq!(again.len(), told.len());
    assert!(
        again[0].ends_with("miss") && again[1].ends_with("false"),
        "{again:?}"
    );
}

#[test]
fn a_broken_picture_is_a_card_and_the_others_are_a_key_away() {
    let folder = Folder::new();
    let pictures = folder.0.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    let bytes = std::fs::read(demo("digits.jpg")).unwrap();
    std::fs::write(pictures.join("a.jpg"), &bytes[..600]).unwrap();
    for name in ["b.jpg", "c.jpg"] {
        std::fs::write(pictures.join(name), &bytes).unwrap();
    }
    let mut app = Driven::open(&folder.0, std::slice::from_ref(&pictures), USUAL);
    app.harness.get_by_label("a.jpg cannot be shown.");
    app.picture("detect_broken");
    assert!(app.harness.unnamed_widgets().is_empty());
    press(&mut app, Key::ArrowRight, 1);
    assert!(
        app.harness
            .query_by_label("a.jpg cannot be shown.")
            .is_none()
    );
    assert!(rows(&app).len() >= 3);
    app.harness.get_by_label("Run on all 3").click();
    app.settle();
    app.picture("detect_folder");
    press(&mut app, Key::ArrowLeft, 1);
    std::fs::write(pictures.join("a.jpg"), &bytes).unwrap();
    app.harness.get_by_label("Retry").click();
    app.settle();
    assert!(
        app.harness
            .query_by_label("a.jpg cannot be shown.")
            .is_none()
    );
    assert!(rows(&app).len() >= 3);

    // what was found is saved as files
    let json = folder.0.join("found.json");
    folder.put("remembered/answer", &json.display().to_string());
    app.harness.get_by_label("Export ▼").click();
    app.settle();
    app.harness
        .get_by_label_contains("Results of 3 pictures")
        .click();
    app.settle();
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let of = |name: &str| {
        let rows = rows.as_array().unwrap().iter();
        rows.filter(|row| row["image_id"] == name).count()
    };
    assert!(of("a.jpg") >= 3 && of("a.jpg") == of("c.jpg"), "{rows}");
    let png = folder.0.join("drawn.png");
    folder.put("remembered/answer", &png.display().to_string());
    app.harness.get_by_label("Export ▼").click();
    app.settle();
    app.harness
        .get_by_label("This picture with its boxes...")
        .click();
    app.settle();
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_pasted_picture_is_looked_at() {
    let folder = Folder::new();
    let mut app = with_demo(&folder, USUAL);
    let image = ColorImage::filled([64, 48], egui::Color32::from_rgb(90, 120, 60));
    let event = egui::Event::PasteImage(std::sync::Arc::new(image));
    app.harness.input_mut().events.push(event);
    app.settle();
    app.harness.get_by_label("Picture 2, pasted picture");
    assert_eq!(runs(&mut app), 2);
    app.picture("detect_pasted");
}

#[test]
fn two_checkpoints_are_compared_side_by_side() {
    let folder = Folder::new();
    let other = renamed(&folder, "other.safetensors", "");
    folder.put("remembered/answer", &other.display().to_string());
    let mut app = with_demo(&folder, USUAL);
    app.harness.get_by_label("Compare...").click();
    app.settle();
    app.harness.get_by_label_contains("other.safetensors in");
    let name = rows(&app)[0].clone();
    app.harness.get_by_label(&name).hover();
    app.settle();
    app.picture("detect_compare");
    let left = |app: &Driven<'_>| {
        let title = app.harness.get_by_label_contains("other.safetensors in");
        title.rect().left()
    };
    let right = left(&app);
    app.harness.key_down(Key::C);
    app.harness.step();
    assert!(
        left(&app) < right - 100.0,
        "they change places while C is held"
    );
    app.harness.key_up(Key::C);
    app.settle();
    assert_eq!(left(&app), right);
    assert!(app.harness.unnamed_widgets().is_empty());
    // both run, and each has its results
    app.harness.get_by_label("Export ▼").click();
    app.settle();
    app.harness.get_by_label("Results of 1 picture as JSON...");
    let json = folder.0.join("theirs.json");
    folder.put("remembered/answer", &json.display().to_string());
    app.harness
        .get_by_label("Results of 1 picture by other.safetensors as JSON...")
        .click();
    app.settle();
    let results: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(results.as_array().unwrap().len() >= 3);
    app.harness.get_by_label("Compare no more").click();
    app.settle();
    assert!(
        app.harness
            .query_by_label_contains("other.safetensors")
            .is_none()
    );
}

/// Prints how long frames take while one looks through a folder of 10,000 pictures.
#[allow(clippy::print_stderr)]
#[test]
fn a_folder_of_ten_thousand_pictures_stays_smooth() {
    let folder = Folder::new();
    let pictures = folder.0.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut png = Vec::new();
    let canvas = smalti::draw::Canvas::new(24, 16, vec![90; 24 * 16 * 3]).unwrap();
    png.extend(canvas.png().unwrap());
    for i in 0..10_000 {
        std::fs::write(pictures.join(format!("{i:05}.png")), &png).unwrap();
    }
    let mut app = Driven::open(&folder.0, &[pictures], USUAL);
    app.harness.get_by_label_contains("/ 10,000");
    let mut times = Vec::new();
    for i in 0..200 {
        if i % 10 == 0 {
            app.harness.key_press(Key::ArrowRight);
        }
        let began = Instant::now();
        app.harness.step();
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    eprintln!(
        "10,000 pictures: a frame takes {:.1} ms, 95% of them at most {:.1} ms, in this build",
        times[100], times[190]
    );
    app.settle();
    app.harness.get_by_label_contains("Picture 21, 00020.png");
    app.picture("detect_10000");
}
