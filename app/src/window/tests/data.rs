//! The data view: what a data set holds, bars that choose pictures, files that are broken, and a file of COCO's size.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use eframe::egui::{Key, Modifiers, Theme, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use smalti::draw::Canvas;

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;
use crate::window::views::{Shows, VIEWS, for_what};

/// Pictures with ground, sky and things; a file that is none and one that is not there.
fn digits(folder: &Folder) -> PathBuf {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for i in 0..12_usize {
        let (width, height) = if i % 3 == 1 { (120, 160) } else { (160, 120) };
        let name = format!("scene_{i:02}.png");
        images.push(format!(
            r#"{{"id": {i}, "file_name": "{name}", "width": {width}, "height": {height}}}"#
        ));
        let mut boxes = vec![(0, [20 + i * 5, 30, 40, 50])];
        if i % 4 == 0 {
            boxes.push((1, [90, 60, 12, 10]));
        }
        if i == 6 {
            boxes.push((2, [100, 80, 90, 30]));
        }
        for (label, [x, y, w, h]) in &boxes {
            annotations.push(format!(
                r#"{{"id": {}, "image_id": {i}, "category_id": {label}, "bbox": [{x}, {y}, {w}, {h}], "area": {}, "iscrowd": 0}}"#,
                annotations.len(),
                w * h
            ));
        }
        let path = folder.0.join("pictures").join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match i {
            3 => std::fs::write(path, "no picture").unwrap(),
            8 => {}
            _ => std::fs::write(path, scene(width, height, &boxes)).unwrap(),
        }
    }
    let categories = r#"[{"id": 0, "name": "house"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "long-tailed macaque"}]"#;
    let text = format!(
        r#"{{"images": [{}], "annotations": [{}], "categories": {categories}}}"#,
        images.join(", "),
        annotations.join(", ")
    );
    folder.put("annotations/scenes.json", &text)
}

fn scene(width: usize, height: usize, boxes: &[(usize, [usize; 4])]) -> Vec<u8> {
    let mut rgb = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let inside = |b: &&(usize, [usize; 4])| {
            let [left, top, w, h] = b.1;
            (left..left + w).contains(&x) && (top..top + h).contains(&y)
        };
        let shade = (x * 40 / width) as u8;
        rgb.extend(match boxes.iter().rev().find(inside) {
            Some((0, _)) => [190 - shade, 90, 70],
            Some((1, _)) => [110, 80, 40 + shade],
            Some(_) => [60, 50, 45],
            None if y < height / 2 => [140 + shade, 180, 220],
            None => [70, 120 + shade, 60],
        });
    }
    Canvas::new(width, height, rgb).unwrap().png().unwrap()
}

fn pictures(app: &Driven<'_>) -> Vec<String> {
    let all = app.harness.query_all_by_label_contains("scene_");
    let names = all.filter_map(|node| node.accesskit_node().label());
    names.filter(|name| name.contains(" object")).collect()
}

#[test]
fn bars_choose_pictures_and_broken_files_keep_their_place() {
    let folder = Folder::new();
    let file = digits(&folder);
    let mut app = Driven::open(&folder.0, &[file], USUAL);
    assert_eq!(Some(app.app().front()), for_what(Shows::Annotations));
    app.harness.get_by_label("12 pictures");
    app.harness.get_by_label("3 faults");
    let all = pictures(&app);
    assert_eq!(all.len(), 12, "{all:?}");
    assert!(
        all.contains(&"scene_03.png, 1 object, cannot be read".to_owned()),
        "{all:?}"
    );
    assert!(
        all.contains(&"scene_08.png, 2 objects, not there".to_owned()),
        "{all:?}"
    );
    assert!(app.harness.unnamed_widgets().is_empty());
    app.harness.get_by_label("dog, 3 objects").click();
    app.settle();
    app.harness.get_by_label("3 of 12");
    assert_eq!(pictures(&app).len(), 3);
    let macaque = app.harness.get_by_label("long-tailed macaque, 1 objects");
    macaque.click_modifiers(Modifiers::SHIFT);
    app.settle();
    let names = pictures(&app);
    assert_eq!(names.len(), 4, "{names:?}");
    app.picture("data_filtered");
    app.harness.get_by_label("Without dog").click();
    app.settle();
    assert!(pictures(&app)[0].starts_with("scene_06.png"));
    app.harness.get_by_label("Show all").click();
    app.settle();
    app.harness
        .get_by_label("box over the border, 1 times")
        .click();
    app.settle();
    app.harness.get_by_label("1 of 12");
    app.harness.get_by_label("scene_06.png, 2 objects").click();
    app.settle();
    app.harness.get_by_label("long-tailed macaque 90 x 30 px");
    app.harness.get_by_label("Show all").click();
    app.settle();
    app.harness
        .get_by_label("file cannot be read, 1 of those looked at")
        .click();
    app.settle();
    assert!(pictures(&app)[0].starts_with("scene_03.png"));
}

#[test]
fn it_is_looked_at_in_both_themes_and_by_keys() {
    for (name, look) in [
        ("data_dark", USUAL),
        (
            "data_light",
            Look {
                theme: Theme::Light,
                ..USUAL
            },
        ),
        (
            "data_2x",
            Look {
                scale: 2.0,
                ..USUAL
            },
        ),
    ] {
        let folder = Folder::new();
        let file = digits(&folder);
        let mut app = Driven::open(&folder.0, &[file], look);
        app.harness.key_press(Key::ArrowRight);
        app.settle();
        for key in [Key::ArrowDown, Key::ArrowUp, Key::End, Key::ArrowLeft] {
            app.harness.key_press(key);
            app.settle();
        }
        assert!(app.harness.unnamed_widgets().is_empty());
        let colors = app.picture(name).colors();
        assert!(colors > 400, "{name}: {colors} colours");
        if name == "data_dark" {
            app.harness.key_press(Key::Enter);
            app.settle();
            let pictures = app.app().session.pictures.clone();
            assert!(
                pictures[0].ends_with("pictures/scene_10.png"),
                "{pictures:?}"
            );
        }
    }
}

#[test]
fn a_config_has_data_sets_too_and_what_is_wrong_is_told() {
    let folder = Folder::new();
    let file = digits(&folder);
    let root = folder.0.display();
    let config = format!(
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=3, dataset=dict(type='CocoDataset', ann_file='{root}/missing.json')))
val_dataloader = dict(dataset=dict(
    type='CocoDataset', ann_file='{}', data_prefix=dict(img='{root}/pictures/'), metainfo=dict(classes=('house', 'dog', 'long-tailed macaque'))))
",
        file.display()
    );
    let config = folder.put("config.py", &config);
    let mut app = Driven::open(&folder.0, &[config], USUAL);
    let view = VIEWS.iter().position(|row| row.name == "Data").unwrap();
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    app.harness
        .get_by_label("train of the config cannot be read.");
    app.harness.get_by_label("Retry");
    app.picture("data_error");
    app.harness
        .get_by_label("Data set, train of the config")
        .click();
    app.settle();
    app.harness.get_by_label("val of the config").click();
    app.settle();
    app.harness.get_by_label("12 pictures");
    assert_eq!(pictures(&app).len(), 12);

    let set = format!(
        "dict(type='CocoDataset', ann_file='{}', data_prefix=dict(img='{root}/pictures/'), metainfo=dict(classes=()),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)])",
        file.display()
    );
    let train = format!(
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset={set}))\n"
    );
    let config = folder.put("train.py", &train);
    let mut app = Driven::open(&folder.0.join("train"), &[config], USUAL);
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    app.harness.get_by_label("12 pictures");
    app.harness.get_by_label("scene_05.png, 1 object").click();
    app.settle();
    app.harness.key_press(Key::Enter);
    app.settle();
    assert_eq!(Some(app.app().front()), for_what(Shows::Sample));
    app.picture("data_opened");

    let empty = Folder::new();
    let mut app = Driven::open(&empty.0, &[], USUAL);
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
    app.harness.get_by_label("No data set.");
    app.harness.get_by_label("Choose folder");
    app.picture("data_empty");
}

/// As many pictures and objects as COCO's training set has.
fn large(folder: &Folder) -> PathBuf {
    const PICTURES: usize = 118_287;
    const OBJECTS: usize = 860_001;
    let mut text = String::with_capacity(110 << 20);
    text.push_str("{\"images\": [");
    for i in 0..PICTURES {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(
            text,
            "{comma}{{\"id\":{i},\"file_name\":\"{i:012}.jpg\",\"width\":640,\"height\":480}}"
        );
    }
    text.push_str("], \"categories\": [");
    for i in 1..=80 {
        let comma = if i > 1 { "," } else { "" };
        let _ = write!(text, "{comma}{{\"id\":{i},\"name\":\"class {i}\"}}");
    }
    text.push_str("], \"annotations\": [");
    for i in 0..OBJECTS {
        let comma = if i > 0 { "," } else { "" };
        let (w, h) = (8 + i * 7 % 300, 8 + i * 11 % 200);
        let _ = write!(
            text,
            "{comma}{{\"id\":{i},\"image_id\":{},\"category_id\":{},\"bbox\":[{},{},{w},{h}],\"area\":{},\"iscrowd\":0}}",
            i * 31 % PICTURES,
            1 + i * i % 80,
            i * 13 % 300,
            i * 17 % 250,
            w * h
        );
    }
    text.push_str("]}");
    folder.put("instances_train2017.json", &text)
}

/// Frame times are told, and not asserted: they are the machine's.
#[test]
fn a_file_of_cocos_size_stays_smooth() {
    let folder = Folder::new();
    let file = large(&folder);
    let begun = Instant::now();
    let mut app = Driven::open(&folder.0, &[file], USUAL);
    let read = begun.elapsed();
    app.harness.get_by_label("118,287 pictures");
    let grid = pos2(640.0, 500.0);
    app.harness.hover_at(grid);
    let mut scrolls = Vec::new();
    for i in 0..60 {
        app.harness.event(eframe::egui::Event::MouseWheel {
            unit: eframe::egui::MouseWheelUnit::Point,
            delta: vec2(0.0, if i % 20 == 19 { -50_000.0 } else { -400.0 }),
            phase: eframe::egui::TouchPhase::Move,
            source: eframe::egui::MouseWheelSource::Unknown,
            modifiers: Modifiers::NONE,
        });
        let begun = Instant::now();
        app.harness.step();
        scrolls.push(begun.elapsed());
    }
    app.settle();
    assert!(
        app.harness
            .query_by_label_contains("000000000000.jpg")
            .is_none(),
        "it was scrolled"
    );
    app.harness.key_press(Key::ArrowRight);
    app.harness.key_press(Key::End);
    app.settle();
    app.harness
        .get_all_by_label_contains("000000118286.jpg")
        .next()
        .unwrap();
    app.picture("data_118k");
    let class = app
        .harness
        .get_all_by_label_contains("class 1, ")
        .next()
        .unwrap();
    class.click();
    let begun = Instant::now();
    app.until("the filter is there", |app| app.jobs.is_idle());
    app.harness.step();
    let filter = begun.elapsed();
    scrolls.sort_unstable();
    let at = |share: usize| scrolls[(scrolls.len() - 1) * share / 100];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    crate::style::say(format_args!(
        "118,287 pictures, 860,001 objects: read in {:.1} s; frames while scrolling {:.1} ms (median), {:.1} ms (95 of 100), {:.1} ms (worst); filter {:.0} ms",
        read.as_secs_f64(),
        ms(at(50)),
        ms(at(95)),
        ms(at(100)),
        ms(filter)
    ));
}
