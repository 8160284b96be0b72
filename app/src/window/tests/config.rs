//! The config view: errors and fixes, the tree and its origins, completion, undo, files that change, edits that survive.

use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, Theme, vec2};
use egui_kittest::kittest::Queryable;

use super::{Driven, Folder, Look, USUAL};
use crate::window::actions::Command;

const BASE: &str = "model = dict(
    type='RetinaNet',
    backbone=dict(type='ResNet', depth=18),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=64, start_level=1, add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=64, feat_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    test_cfg=dict(nms_pre=1000, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
";
const CHILD: &str = "_base_ = './base.py'\nmodel = dict(\n    backbone=dict(depth=34),\n)\n";

fn open(folder: &Folder, look: Look) -> Driven<'static> {
    folder.put("base.py", BASE);
    let child = folder.put("child.py", CHILD);
    Driven::open(&folder.0, &[child], look)
}

impl Driven<'_> {
    fn text(&mut self) -> String {
        self.app()
            .session
            .documents
            .active()
            .unwrap()
            .text()
            .to_owned()
    }

    fn name(&mut self) -> String {
        self.app().session.documents.active().unwrap().name()
    }

    /// Puts the caret behind some text.
    fn caret(&mut self, behind: &str) {
        let documents = &mut self.app().session.documents;
        let document = documents.active_mut().unwrap();
        let at = document.text().find(behind).unwrap() + behind.len();
        document.reveal = Some(at..at);
        self.harness.run_steps(3);
    }

    fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.harness.event(Event::Text(c.to_string()));
            self.harness.step();
        }
    }

    /// What is wrong with the text as it is now.
    fn wrong(&mut self) -> Vec<String> {
        self.until("the text is read", |app| app.session.current().is_some());
        self.settle();
        self.app()
            .session
            .current()
            .unwrap()
            .found
            .iter()
            .map(|d| d.message.clone())
            .collect()
    }
}

#[test]
fn an_error_is_shown_as_one_types_and_a_click_mends_it() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    assert!(app.wrong().is_empty(), "{:?}", app.wrong());
    app.caret("depth=34)");
    app.type_text(", neck=dict(type='FPNN')");
    assert_eq!(app.wrong(), ["unknown neck type `FPNN`"]);
    app.picture("config_error_dark");
    app.harness.get_by_label("Use FPN").click();
    app.settle();
    assert!(
        app.text().contains("neck=dict(type='FPN')"),
        "{}",
        app.text()
    );
    assert!(app.wrong().is_empty());
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    app.harness.run_steps(2);
    assert!(app.text().contains("'FPNN'"));
    // pressed before the text is read again: mended once it is
    app.harness
        .key_press_modifiers(Modifiers::COMMAND, Key::Period);
    app.settle();
    assert!(
        app.text().contains("neck=dict(type='FPN')"),
        "{}",
        app.text()
    );
}

#[test]
fn fixes_of_several_kinds() {
    for (old, new, button, mended) in [
        (
            "num_classes=3",
            "num_clases=3",
            "Use num_classes",
            "num_classes=3",
        ),
        (
            "in_channels=[64, 128, 256, 512]",
            "in_channels=[64, 128]",
            "Write [64, 128, 256, 512]",
            "in_channels=[64, 128, 256, 512]",
        ),
        (
            "num_classes=3, in_channels=64",
            "num_classes=3, in_channels=32",
            "Write in_channels=64",
            "num_classes=3, in_channels=64",
        ),
        ("depth=18),", "depth=18)", "Put a comma", "depth=18),"),
        (
            "max_per_img=100))",
            "max_per_img=100)),",
            "Take the comma away",
            "max_per_img=100))\n",
        ),
    ] {
        // a folder for each: what was edited in one is there again at the next start
        let folder = Folder::new();
        let text = BASE.replacen(old, new, 1);
        assert_ne!(text, BASE);
        let file = folder.put("one.py", &text);
        let mut app = Driven::open(&folder.0, &[file], USUAL);
        let wrong = app.wrong();
        assert!(!wrong.is_empty(), "{new}");
        app.harness
            .get_all_by_label(button)
            .next()
            .unwrap_or_else(|| panic!("{button}: {wrong:?}"))
            .click();
        app.settle();
        assert!(app.text().contains(mended), "{button}: {}", app.text());
        assert!(app.wrong().is_empty(), "{button}: {:?}", app.wrong());
    }
}

#[test]
fn an_origin_leads_to_its_file_and_line_and_back() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34");
    app.settle();
    // the tree shows what the caret is in
    app.harness.get_by_label("model.backbone.depth = 34");
    app.harness
        .get_by_label("model.backbone.type = 'ResNet'")
        .click();
    app.settle();
    assert_eq!(app.name(), "base.py");
    let caret = app.app().session.documents.active().unwrap().caret;
    assert_eq!(&BASE[caret - 8..caret], "'ResNet'");
    app.harness
        .key_press_modifiers(Modifiers::ALT, Key::ArrowLeft);
    app.settle();
    assert_eq!(app.name(), "child.py");
}

#[test]
fn the_inspector_names_all_files_that_a_value_went_through() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34");
    app.settle();
    app.harness.get_by_label("child.py:3");
    app.picture("config_inspector");
    app.harness.get_by_label("base.py:3").click();
    app.settle();
    assert_eq!(app.name(), "base.py");
}

#[test]
fn an_edit_in_the_tree_changes_the_text_or_adds_an_override() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34");
    app.settle();
    let value = |app: &mut Driven<'_>, path: &str, to: &str| {
        let label = format!("Value of {path}");
        let field = app
            .harness
            .get_by_role_and_label(Role::MultilineTextInput, &label);
        field.focus();
        app.harness.step();
        app.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        app.harness.step();
        app.harness.event(Event::Text(to.into()));
        app.harness.step();
        app.harness.get_by_label("Set").click();
        app.settle();
    };
    value(&mut app, "model.backbone.depth", "50");
    assert_eq!(app.text(), CHILD.replace("34", "50"));
    // a value that the base says
    app.harness.get_by_label("model.neck = FPN").click();
    app.settle();
    assert_eq!(app.name(), "base.py");
    app.harness
        .key_press_modifiers(Modifiers::ALT, Key::ArrowLeft);
    app.settle();
    let session = &mut app.app().session;
    let config = session.current().unwrap().config.clone().unwrap();
    assert_eq!(
        config.at("model.backbone.depth").and_then(|n| n.as_int()),
        Some(50)
    );
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    app.settle();
    assert_eq!(app.text(), CHILD);
}

#[test]
fn names_and_options_are_offered_at_the_caret() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34),");
    app.type_text(" neck=dict(num");
    app.until("options come", |app| app.jobs.is_idle());
    app.settle();
    app.harness.get_by_label_contains("num_outs");
    app.harness
        .get_by_label("Levels that go out; those beyond the backbone's are halved ones");
    app.picture("config_completion");
    app.harness.key_press(Key::Enter);
    app.settle();
    assert!(app.text().contains("neck=dict(num_outs="), "{}", app.text());
    app.type_text("5, type='PAF");
    app.settle();
    assert!(app.harness.query_all_by_label_contains("PAFPN").count() > 1);
    app.harness.key_press(Key::Tab);
    app.settle();
    assert!(app.text().contains("type='PAFPN"), "{}", app.text());
    // a default, and names of the file's top level
    app.type_text("', start");
    app.settle();
    app.harness.get_by_label_contains("start_level");
    app.harness.get_by_label("First level that is used");
    app.harness
        .get_by_label_contains("an integer that is not negative = 0");
    app.picture("config_completion_default");
    let end = app.text();
    app.caret(&end);
    app.harness.key_press(Key::Enter);
    app.type_text("param");
    app.settle();
    app.harness.get_by_label("Learning rates over time");
    app.harness.key_press(Key::Tab);
    app.settle();
    assert!(
        app.text().ends_with("\nparam_scheduler = "),
        "{}",
        app.text()
    );
}

#[test]
fn find_and_replace() {
    let folder = Folder::new();
    let base = folder.put("base.py", BASE);
    let mut app = Driven::open(&folder.0, &[base], USUAL);
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::H);
    app.settle();
    app.type_text("dict(");
    app.settle();
    app.picture("config_find");
    let count = BASE.matches("dict(").count();
    app.harness.get_by_label_contains(&format!("of {count}"));
    app.harness.get_by_label("Replace with").focus();
    app.harness.step();
    app.type_text("Dict(");
    app.harness.get_by_label("Replace all").click();
    app.settle();
    assert_eq!(app.text().matches("Dict(").count(), count);
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    app.settle();
    assert_eq!(app.text(), BASE);
}

#[test]
fn what_is_saved_is_on_disk_and_problems_are_walked() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34)");
    app.type_text(", neck=dict(zzz=1)");
    assert_eq!(app.wrong().len(), 1);
    app.caret("_base_");
    app.harness.key_press(Key::F8);
    app.settle();
    let document = app.app().session.documents.active().unwrap();
    assert_eq!(&document.text()[document.caret - 3..document.caret], "zzz");
    app.harness.key_press_modifiers(Modifiers::COMMAND, Key::S);
    app.settle();
    assert_eq!(
        std::fs::read_to_string(folder.0.join("child.py")).unwrap(),
        app.text()
    );
    assert!(!app.app().session.documents.active().unwrap().is_modified());
}

#[test]
fn unsaved_edits_are_there_again_after_a_kill() {
    let folder = Folder::new();
    let mut killed = open(&folder, USUAL);
    killed.caret("depth=34");
    killed.type_text("5");
    killed.app().session.create("new.py", "x = 1\n");
    killed.until("the journal is written", |app| {
        let host = &app.session.host;
        let kept = host
            .list(&host.data().join("unsaved"))
            .into_iter()
            .filter_map(|f| host.read(&f.join("unsaved.json")).ok());
        kept.into_iter()
            .any(|text| String::from_utf8_lossy(&text).contains("new.py"))
    });
    // nothing of it runs any more, and it did not close
    let journal = folder.0.join("remembered/unsaved");
    drop(killed);
    assert_eq!(std::fs::read_dir(&journal).unwrap().count(), 1);
    let mut app = Driven::open(&folder.0, &[], USUAL);
    let texts: Vec<String> = app
        .app()
        .session
        .documents
        .iter()
        .map(|d| d.text().to_owned())
        .collect();
    assert_eq!(texts, [CHILD.replace("34", "345"), "x = 1\n".into()]);
    app.app().session.commands.push_back(Command::View(1));
    app.settle();
    app.picture("config_restored");
    app.harness
        .get_all_by_label("Discard")
        .next()
        .unwrap()
        .click();
    app.settle();
    let texts: Vec<String> = app
        .app()
        .session
        .documents
        .iter()
        .map(|d| d.text().to_owned())
        .collect();
    assert_eq!(texts, [CHILD]);
    // edits of the first window are in the second one's journal, and then nowhere
    app.until("the old journal is gone", |app| {
        app.session
            .host
            .list(&app.session.host.data().join("unsaved"))
            .len()
            <= 1
    });
}

#[test]
fn a_file_that_changes_on_disk_is_noticed() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    folder.put("child.py", "_base_ = './base.py'\n");
    app.until("it is loaded", |app| {
        app.session.documents.active().unwrap().text() == "_base_ = './base.py'\n"
    });
    app.caret("_base_ = './base.py'\n");
    app.type_text("x = 1");
    folder.put("child.py", CHILD);
    app.until("it is told", |app| {
        app.session.documents.active().unwrap().elsewhere.is_some()
    });
    app.settle();
    app.picture("config_changed_on_disk");
    assert!(app.text().ends_with("x = 1"));
    app.harness.get_by_label("Load").click();
    app.settle();
    assert_eq!(app.text(), CHILD);
    // a base that is not open counts too
    folder.put("base.py", &BASE.replace("type='FPN'", "type='FPNN'"));
    app.until("the base is read again", |app| {
        app.session.current().is_some_and(|a| !a.found.is_empty())
    });
}

#[test]
fn a_child_says_what_was_changed() {
    let folder = Folder::new();
    let base = folder.put("base.py", BASE);
    let mut app = Driven::open(&folder.0, &[base], USUAL);
    app.caret("depth=1");
    app.type_text("0");
    app.harness.key_press(Key::Delete);
    app.settle();
    app.app().session.commands.push_back(Command::SaveChild);
    app.settle();
    assert_eq!(app.name(), "base_child.py");
    assert_eq!(
        app.text(),
        "_base_ = './base.py'\nmodel = dict(backbone=dict(depth=10))\n"
    );
    assert!(app.app().session.current().unwrap().config.is_some());
}

#[test]
fn a_recipe_becomes_a_config() {
    let folder = Folder::new();
    let mut app = Driven::open(&folder.0, &[], USUAL);
    app.harness.get_by_label("RetinaNet with Mosaic").click();
    app.harness.step();
    app.harness
        .get_by_role_and_label(Role::TextInput, "Classes")
        .click();
    app.settle();
    app.harness.step();
    app.type_text("cat, dog");
    app.picture("start_recipe");
    app.harness.get_by_label("Make the config").click();
    app.settle();
    assert_eq!(app.name(), "retinanet_mosaic.py");
    let text = app.text();
    assert!(
        text.contains("classes=('cat', 'dog')") && text.contains("num_classes=2"),
        "{text}"
    );
    app.picture("config_recipe");
}

#[test]
fn it_is_seen_in_both_themes_at_twice_the_size_and_small() {
    let folder = Folder::new();
    for (name, look) in [
        (
            "config_light",
            Look {
                theme: Theme::Light,
                ..USUAL
            },
        ),
        (
            "config_dark_2x",
            Look {
                scale: 2.0,
                ..USUAL
            },
        ),
        (
            "config_small",
            Look {
                size: [700.0, 480.0],
                ..USUAL
            },
        ),
    ] {
        let mut app = open(&folder, look);
        app.caret("depth=34)");
        app.type_text(", nek=1");
        app.wrong();
        let picture = app.picture(name);
        assert!(picture.colors() > 50, "{} colours", picture.colors());
    }
}

#[test]
fn everything_that_can_be_used_has_a_name() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34");
    app.settle();
    for command in [
        None,
        Some(Command::Replace),
        Some(Command::Settings),
        Some(Command::View(0)),
    ] {
        app.app().session.commands.extend(command);
        app.settle();
        let unnamed = app.harness.unnamed_widgets();
        assert!(unnamed.is_empty(), "{command:?}: {unnamed:#?}");
    }
}

/// With Alt, a figure is a view's key, and a text too, as winit tells it.
#[test]
fn keys_of_views_are_no_text() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("depth=34),");
    let before = app.text();
    let key = Event::Key {
        key: Key::Num2,
        physical_key: None,
        pressed: true,
        repeat: false,
        modifiers: Modifiers::ALT,
    };
    let events = &mut app.harness.input_mut().events;
    events.extend([key, Event::Text("2".into())]);
    app.settle();
    assert_eq!(app.text(), before);
    assert_eq!(app.app().front(), 1);
}

/// A slow machine's frame has several keys.
#[test]
fn what_one_frame_types_is_in_its_order() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    app.caret("backbone=dict(depth=34),");
    let enter = || Event::Key {
        key: Key::Enter,
        physical_key: None,
        pressed: true,
        repeat: false,
        modifiers: Modifiers::NONE,
    };
    let text = |text: &str| Event::Text(text.into());
    app.harness.input_mut().events.extend([
        text("#1"),
        enter(),
        text("#2"),
        enter(),
        enter(),
        text("#3"),
    ]);
    app.settle();
    let typed = "backbone=dict(depth=34),#1\n    #2\n    \n    #3\n)";
    assert!(app.text().contains(typed), "{}", app.text());
}

/// From a key to its letter, and to what is wrong, in a config of 4,000 lines. Printed; what people are promised is measured on a release build.
#[test]
fn four_thousand_lines_are_typed_into() {
    let folder = Folder::new();
    let lines: String = (0..1000).map(|i| format!("part_{i} = dict(\n    type='Part', number={i}, of=[1, 2, 3],\n    name='é {i}',  # {i}\n)\n")).collect();
    let file = folder.put("large.py", &format!("{BASE}{lines}"));
    let mut app = Driven::open(&folder.0, &[file], USUAL);
    assert!(app.text().lines().count() > 4000);
    app.caret("part_500 = dict(\n    type='Part'");
    app.wrong();
    let (mut keys, mut known) = (Vec::new(), Vec::new());
    for c in ", extra=".chars() {
        let began = std::time::Instant::now();
        app.harness.event(Event::Text(c.to_string()));
        app.harness.step();
        keys.push(began.elapsed());
        app.until("it is read", |app| app.session.current().is_some());
        known.push(began.elapsed());
    }
    keys.sort();
    known.sort();
    crate::style::remark(format_args!(
        "key to frame: median {:?}, most {:?}; key to findings: median {:?}, most {:?}",
        keys[4], keys[7], known[4], known[7]
    ));
    assert!(app.text().contains("type='Part', extra=, number=500"));
    assert!(!app.wrong().is_empty());
}

#[test]
fn panes_are_moved_hidden_and_remembered() {
    let folder = Folder::new();
    let mut app = open(&folder, USUAL);
    let place = |app: &Driven<'_>, name: &str| {
        let name = format!("Arrange {name}");
        app.harness.get_by_label(&name).rect().center()
    };
    let (text, tree) = (place(&app, "Text"), place(&app, "Tree"));
    assert!(text.x < tree.x);
    let width = tree.x - text.x;
    assert!(
        (0.42..0.48).contains(&(width / 1192.0)),
        "the tree has 45%: {width}"
    );
    // the tree to the left of the text
    let left = text - vec2(text.x - 100.0, -200.0);
    app.harness.drag_at(tree);
    app.harness.step();
    for at in [tree + vec2(-40.0, 20.0), left + vec2(60.0, 0.0), left] {
        app.harness.hover_at(at);
        app.harness.step();
    }
    app.harness.drop_at(left);
    app.settle();
    app.picture("config_panes_moved");
    assert!(place(&app, "Tree").x < place(&app, "Text").x);
    // and away; the text has all the room, and the tree is a click away
    app.harness.get_by_label("Arrange Tree").click();
    app.settle();
    app.harness.get_by_label("Hide Tree").click();
    app.settle();
    assert!(app.harness.query_by_label("Arrange Tree").is_none());
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("config_pane_hidden");
    drop(app);
    let mut app = Driven::open(&folder.0, &[folder.0.join("child.py")], USUAL);
    assert!(
        app.harness.query_by_label("Arrange Tree").is_none(),
        "it is remembered"
    );
    app.harness.get_by_label("Arrange Text").click();
    app.settle();
    app.harness.get_by_label("Show Tree").click();
    app.settle();
    assert!(place(&app, "Tree").x < place(&app, "Text").x);
    app.harness.get_by_label("Arrange Text").click();
    app.settle();
    app.harness.get_by_label("Panes as at first").click();
    app.settle();
    assert_eq!((place(&app, "Text"), place(&app, "Tree")), (text, tree));
}
