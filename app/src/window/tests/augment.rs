//! The augment view: a sample after every transform, sliders that are the config's text, draws that are pinned, what is missing.

use std::path::PathBuf;
use std::time::Instant;

use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, Pos2, Theme, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use serde_json::json;
use smalti::draw::Canvas;

use super::{Driven, Folder, Look, USUAL};

/// Puts pictures of noise with a box and a polygon in each, and their annotations, into a folder.
fn pictures(folder: &Folder, size: [usize; 2]) {
    let [w, h] = size;
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for i in 0..6_usize {
        let tone = |x: usize, y: usize, c: usize| {
            let stripe = (x / (w / 8) + y / (h / 6)) % 2;
            (30 + 35 * ((i + c) % 6) + 40 * stripe) as u8
        };
        let rgb = (0..h).flat_map(|y| (0..w).flat_map(move |x| [0, 1, 2].map(|c| tone(x, y, c))));
        let png = Canvas::new(w, h, rgb.collect()).unwrap().png().unwrap();
        std::fs::write(folder.0.join(format!("{i}.png")), png).unwrap();
        images.push(json!({"id": i, "file_name": format!("{i}.png"), "width": w, "height": h}));
        for (k, x) in [w / 8, w / 2].into_iter().enumerate() {
            let (y, side) = (h / 6 + i, w / 4);
            let polygon = [x, y, x + side, y, x + side, y + side, x, y + side];
            annotations.push(json!({"id": 2 * i + k, "image_id": i, "category_id": 1 + k, "iscrowd": 0, "area": side * side,
                "bbox": [x, y, side, side], "segmentation": [polygon]}));
        }
    }
    let file = json!({"images": images, "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]});
    folder.put("a.json", &file.to_string());
}

const MOSAIC: &str = "dict(type='Mosaic', img_scale=(64, 64), center_ratio_range=(0.5, 1.5)),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-32, -32)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')";

/// A config of these pictures with a pipeline.
fn config(folder: &Folder, pipeline: &str) -> PathBuf {
    let root = crate::window::document::key(&folder.0);
    let text = format!(
        "load_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
train_pipeline = [
    {pipeline}
]
train_dataloader = dict(batch_size=2, dataset=dict(
    type='MultiImageMixDataset',
    dataset=dict(type='CocoDataset', data_root='{root}/', ann_file='a.json', metainfo=dict(classes=('cat', 'dog')), pipeline=load_pipeline),
    pipeline=train_pipeline))
"
    );
    folder.put("mosaic.py", &text)
}

/// With the view in front.
fn open(folder: &Folder, pipeline: &str, look: Look) -> Driven<'static> {
    let file = config(folder, pipeline);
    let mut app = Driven::open(&folder.0, &[file], look);
    app.harness.get_by_label("Augment").click();
    app.settle();
    app
}

impl Driven<'_> {
    fn config_text(&mut self) -> String {
        let document = self.app().session.documents.active().unwrap();
        document.text().to_owned()
    }

    /// Brings a step to the front.
    fn choose(&mut self, step: &str) {
        self.harness
            .get_all_by_label_contains(step)
            .next()
            .unwrap()
            .click();
        self.settle();
    }

    fn drag(&mut self, from: Pos2, to: Pos2, modifiers: Modifiers) {
        self.harness.event(Event::ModifiersChanged(modifiers));
        self.harness.hover_at(from);
        self.harness.step();
        self.harness.drag_at(from);
        self.harness.step();
        for share in [0.3, 0.7, 1.0] {
            self.harness.hover_at(from.lerp(to, share));
            self.harness.step();
        }
        self.settle();
        self.harness.drop_at(to);
        self.harness.step();
        self.harness.event(Event::ModifiersChanged(Modifiers::NONE));
        self.settle();
    }

    /// Where a Mosaic's centre is, and its handle on screen.
    fn center(&mut self) -> (String, Pos2) {
        let node = self.harness.get_by_label_contains("Mosaic centre");
        let name = node.accesskit_node().label().unwrap();
        (name, node.rect().center())
    }
}

#[test]
fn every_step_of_a_sample_is_shown() {
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let mut app = open(&folder, MOSAIC, USUAL);
    for step in [
        "1 LoadImageFromFile",
        "2 LoadAnnotations, 2 objects",
        "3 Mosaic",
        "4 RandomAffine",
        "5 RandomFlip",
        "6 PackDetInputs",
    ] {
        assert!(
            app.harness
                .query_all_by_label_contains(step)
                .next()
                .is_some(),
            "{step}"
        );
    }
    assert!(
        app.harness.unnamed_widgets().is_empty(),
        "{:?}",
        app.harness.unnamed_widgets()
    );
    app.choose("3 Mosaic");
    app.picture("augment_mosaic_dark");
    assert!(
        app.harness.unnamed_widgets().is_empty(),
        "{:?}",
        app.harness.unnamed_widgets()
    );
    app.harness.key_press(Key::Comma);
    app.settle();
    app.harness
        .get_by_label("0.png after LoadAnnotations, 2 objects");
    app.harness.key_press(Key::B);
    app.settle();
    app.harness
        .get_by_label("0.png before LoadAnnotations, 0 objects");
    app.picture("augment_beside");
    app.harness.key_press(Key::B);
    app.harness.key_press(Key::ArrowRight);
    app.settle();
    app.harness
        .get_by_label("1.png after LoadAnnotations, 2 objects");
    app.harness.key_press(Key::G);
    app.settle();
    app.harness.get_by_label_contains("Sample 5, ");
    app.picture("augment_grid");
    app.harness.get_by_label_contains("Sample 4, ").click();
    app.settle();
    app.harness
        .get_by_label("4.png after LoadAnnotations, 2 objects");
    app.harness.get_by_label("Box sizes").click();
    app.settle();
    app.harness
        .get_by_label_contains("Box sizes: 12 boxes as annotated");
    app.harness.get_by_label("Copy as config").click();
    app.settle();
    app.picture("augment_sizes");
}

#[test]
fn a_slider_is_the_configs_text() {
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let light = Look {
        theme: Theme::Light,
        scale: 2.0,
        ..USUAL
    };
    let mut app = open(&folder, MOSAIC, light);
    app.choose("3 Mosaic");
    let (before, text) = (app.picture("augment_light_2x"), app.config_text());
    let center = app.center().0;
    let rail = app
        .harness
        .get_by_label("center_ratio_range low end")
        .rect();
    app.drag(
        rail.center(),
        rail.center() + vec2(20.0, 0.0),
        Modifiers::NONE,
    );
    let dragged = app.config_text();
    assert!(!dragged.contains("(0.5, 1.5)),"), "{dragged}");
    assert_ne!(app.center().0, center, "the picture follows");
    let after = app.picture("augment_dragged");
    assert_ne!(before.rgba, after.rgba);
    // one drag is one step back
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    app.settle();
    assert_eq!(app.config_text(), text);
    assert_eq!(app.center().0, center);
    // what the config does not say is added to its dict
    app.harness
        .get_by_role_and_label(Role::SpinButton, "prob")
        .set_value_accesskit(0.0);
    app.settle();
    let text = app.config_text();
    assert!(
        text.contains("center_ratio_range=(0.5, 1.5), prob=0.0)"),
        "{text}"
    );
    app.harness
        .get_by_label_contains("3 Mosaic, 2 objects, not applied this time (prob 0.0)");
    // of a base's transform it becomes an override
    let child = folder.put("child.py", "_base_ = './mosaic.py'\n");
    let now = app.app();
    now.session.open(&mut now.jobs, &child);
    app.settle();
    app.harness.get_by_label("Augment").click();
    app.settle();
    let rail = app
        .harness
        .get_by_label("center_ratio_range high end")
        .rect();
    app.drag(
        rail.center(),
        rail.center() - vec2(20.0, 0.0),
        Modifiers::NONE,
    );
    let text = app.config_text();
    let start =
        "_base_ = './mosaic.py'\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type='Mosaic'";
    assert!(text.starts_with(start), "{text}");
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    app.settle();
    assert_eq!(app.config_text(), "_base_ = './mosaic.py'\n");
}

#[test]
fn what_is_dragged_in_the_picture_is_pinned() {
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let mut app = open(&folder, MOSAIC, USUAL);
    app.choose("3 Mosaic");
    let (first, at) = app.center();
    app.drag(at, at + vec2(24.0, 16.0), Modifiers::NONE);
    let pinned = app.center().0;
    assert_ne!(first, pinned);
    app.harness
        .get_by_label_contains("3 Mosaic, 8 objects, pinned");
    app.picture("augment_pinned");
    let affine = |app: &mut Driven<'_>| {
        app.choose("4 RandomAffine");
        let value = app.harness.get_by_label("draw rotate_degree").value();
        app.choose("3 Mosaic");
        value
    };
    let turned = affine(&mut app);
    app.harness.key_press(Key::R);
    app.settle();
    assert_eq!(app.center().0, pinned, "pinned while others are made anew");
    let other = affine(&mut app);
    assert_ne!(other, turned);
    // a locked seed stays
    app.harness.get_by_label("Lock").click();
    app.harness.run_steps(2);
    app.harness.key_press(Key::R);
    app.settle();
    assert_eq!(affine(&mut app), other);
    assert!(app.said().iter().any(|s| s.contains("the seed is locked")));
    // let go, it is drawn anew; with Shift the range goes along
    app.harness.key_press(Key::P);
    app.settle();
    assert_ne!(app.center().0, pinned);
    let text = app.config_text();
    let (_, at) = app.center();
    app.drag(at, at + vec2(40.0, 0.0), Modifiers::SHIFT);
    let moved = app.config_text();
    assert_ne!(moved, text);
    // by as much at both ends
    let range = |text: &str| -> [f64; 2] {
        let (_, rest) = text.split_once("center_ratio_range=(").unwrap();
        let (range, _) = rest.split_once(')').unwrap();
        let ends: Vec<f64> = range
            .split(',')
            .map(|v| v.trim().parse().unwrap())
            .collect();
        ends.try_into().unwrap()
    };
    let ([a, b], [c, d]) = (range(&text), range(&moved));
    assert!(a != c && ((b - a) - (d - c)).abs() < 1e-9, "{moved}");
}

#[test]
fn ghosts_say_why_objects_were_left_out() {
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let corner =
        "dict(type='Mosaic', img_scale=(64, 64), center_ratio_range=(1.9, 1.95), prob=1.0)";
    let mut app = open(&folder, corner, USUAL);
    app.harness
        .get_by_label_contains("3 Mosaic, 2 objects, 6 dropped");
    let rows = app
        .harness
        .get_all_by_label_contains("outside of the new picture")
        .count();
    assert_eq!(rows, 6);
    let row = app
        .harness
        .get_all_by_label("cat: outside of the new picture")
        .next()
        .unwrap()
        .rect();
    app.harness.hover_at(row.center());
    app.settle();
    app.picture("augment_ghosts");
    // a transform that fails is red, and those after it are not reached
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let thin = "dict(type='Mosaic', img_scale=(1, 1000)), dict(type='RandomFlip', prob=0.5)";
    let mut app = open(&folder, thin, USUAL);
    app.harness.get_by_label_contains("3 Mosaic, it failed");
    app.harness
        .get_by_label_contains("4 RandomFlip, not reached");
    app.harness.get_by_label_contains("Mosaic failed: ");
    app.picture("augment_failed");
    app.harness.get_by_label("Go to line").click();
    app.settle();
    assert_eq!(app.app().front(), 1, "the config's view");
}

#[test]
fn data_that_is_not_there_has_a_card() {
    let folder = Folder::new();
    let mut app = open(&folder, MOSAIC, USUAL);
    app.harness.get_by_label_contains("Train data not found: ");
    app.harness.get_by_label("Choose folder");
    app.picture("augment_missing");
    assert!(app.harness.unnamed_widgets().is_empty());
    pictures(&folder, [64, 48]);
    app.harness.get_by_label("Retry").click();
    app.settle();
    app.harness.get_by_label_contains("3 Mosaic, ");
    // without a config, and with one that names no data
    let empty = Folder::new();
    let mut app = Driven::open(&empty.0, &[], USUAL);
    app.harness.get_by_label("Augment").click();
    app.settle();
    app.harness
        .get_by_label("Open a config, or drop a file of annotations.");
    app.picture("augment_empty");
    // a dropped file of annotations is enough
    let file = folder.0.join("a.json");
    let now = app.app();
    now.session.annotations = Some(file);
    app.settle();
    app.harness.get_by_label("Augment").click();
    app.settle();
    app.harness
        .get_by_label_contains("2 LoadAnnotations, 2 objects");
}

#[test]
fn pictures_that_go_away_are_told_in_their_place() {
    let folder = Folder::new();
    pictures(&folder, [64, 48]);
    let mut app = open(&folder, MOSAIC, USUAL);
    app.harness.get_by_label_contains("3 Mosaic, ");
    for i in 0..6 {
        std::fs::remove_file(folder.0.join(format!("{i}.png"))).unwrap();
    }
    app.harness.key_press(Key::ArrowRight);
    app.settle();
    app.picture("augment_gone");
    app.harness
        .get_by_label_contains("LoadImageFromFile failed: ");
    assert!(app.harness.unnamed_widgets().is_empty());
    pictures(&folder, [64, 48]);
    app.harness.key_press(Key::ArrowRight);
    app.settle();
    app.harness.get_by_label_contains("3 Mosaic, ");
}

/// From a slider to the picture at 640 px; printed, as it depends on the machine and on how this was built.
#[test]
fn the_time_from_slider_to_picture() {
    let folder = Folder::new();
    pictures(&folder, [640, 480]);
    let mosaic = MOSAIC
        .replace("(64, 64)", "(640, 640)")
        .replace("-32", "-320");
    let mut app = open(&folder, &mosaic, USUAL);
    app.choose("3 Mosaic");
    let mut times = Vec::new();
    for value in [0.6, 0.7, 0.8, 0.9] {
        let before = app.center().0;
        let began = Instant::now();
        app.harness
            .get_by_label("center_ratio_range low end")
            .set_value_accesskit(value);
        let follows = (0..20_000).any(|_| {
            app.harness.step();
            std::thread::sleep(std::time::Duration::from_millis(1));
            app.center().0 != before
        });
        assert!(follows, "{value}");
        let whole = began.elapsed().as_millis();
        app.settle();
        let facts = app.harness.get_by_label_contains(" px, ");
        let of_it = facts.accesskit_node().value().unwrap_or_default();
        times.push(format!("{whole} ms, of it the sample {of_it}"));
    }
    crate::style::say(format_args!(
        "from slider to Mosaic's picture at 640: {times:?}"
    ));
}
