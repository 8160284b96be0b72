//! The train view: a plan, a run with its curves, held, stopped and gone on with; runs of before; what a killed window leaves.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use eframe::egui::{Theme, ViewportCommand, ViewportEvent, ViewportId};
use egui_kittest::kittest::Queryable;
use serde_json::json;
use smalti::config::Config;
use smalti::draw::Canvas;
use smalti::evaluate::{TestOptions, TestSet};
use smalti::host::config_files::ConfigFiles;
use smalti::host::disk::Disk;
use smalti::host::lock::Lock;
use smalti::train::{Ended, Event, Trainer};
use smalti::weights::{Stored, TrainingState};

use super::squares::squares;
use super::{Driven, Folder, Look, USUAL};
use crate::window::App;
use crate::window::actions::Command;
use crate::window::document::Kind;
use crate::window::training::{LiveRun, Phase};
use crate::window::views::{Shows, for_what};

fn scratch(folder: &Folder, epochs: usize, more: &str) -> PathBuf {
    squares(&folder.0, epochs, more)
}

fn show(app: &mut Driven) {
    let view = for_what(Shows::Run).unwrap();
    app.app().session.commands.push_back(Command::View(view));
    app.settle();
}

fn run<'a>(app: &'a mut Driven) -> &'a LiveRun {
    app.app().session.training.run.as_ref().unwrap()
}

fn until_ended(app: &mut Driven) {
    app.until("the run ends", |app| !app.session.training.is_live());
    app.settle();
}

/// Whether something on screen says this.
fn has(app: &Driven, text: &str) -> bool {
    let mut found = app.harness.query_all_by_label_contains(text);
    found.next().is_some()
}

/// Presses a button that begins a run.
fn begin(app: &mut Driven, button: &str) {
    let id = |app: &App| app.session.training.run.as_ref().map(|run| run.id);
    let before = id(app.app());
    app.harness.get_by_label(button).click();
    app.until("a run begins", |app| id(app) != before);
}

/// Begins a run that waits after its first iteration.
fn start_held(app: &mut Driven) {
    begin(app, "Start training");
    run(app).hold(true);
    app.until("it waits", |app| {
        app.session.training.run.as_ref().unwrap().phase == Phase::Held
    });
    app.harness.run_steps(2);
}

fn weights(path: &Path) -> Vec<(String, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let state: TrainingState<Stored> = TrainingState::read(bytes).unwrap();
    let values = |(key, stored): (String, Stored)| (key, stored.f32().unwrap());
    state.state_dict.into_iter().map(values).collect()
}

fn read(config: &Path) -> Config {
    let text = std::fs::read_to_string(config).unwrap();
    let name = config.display().to_string();
    Config::parse(&text, &name, &ConfigFiles::new()).unwrap()
}

fn validation(config: &Config) -> TestSet {
    let options = TestOptions {
        workers: 1,
        tta: false,
    };
    let disk = Arc::new(Disk::new());
    TestSet::read(config, &smalti::registry(), "val", disk, options).unwrap()
}

/// Trains as the command line does.
fn trained(config: &Path, work_dir: &Path, resume: Option<PathBuf>) {
    let config = read(config);
    let trainer = Trainer::builder(&config, Arc::new(Disk::new()))
        .work_dir(work_dir)
        .resume(resume)
        .validation(Some(Box::new(validation(&config))))
        .build();
    assert_eq!(trainer.unwrap().train().unwrap(), Ended::Done);
}

#[test]
fn a_run_that_is_held_stopped_and_gone_on_with_is_that_of_the_command_line() {
    let folder = Folder::new();
    let config = scratch(&folder, 2, "");
    let mut app = Driven::open(&folder.0, std::slice::from_ref(&config), USUAL);
    show(&mut app);
    for part in [
        "2 epochs of 4 iterations, 2 pictures each",
        "LinearLR, MultiStepLR",
        "after every 2 epochs",
    ] {
        app.harness.get_by_label(part);
    }
    app.harness.get_by_label_contains("backbone.layer1: frozen");
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("train_plan");

    start_held(&mut app);
    app.harness.get_by_label_contains("iteration 1/8");
    app.harness.get_by_label_contains("held");
    app.picture("train_held");
    app.harness.get_by_label("Stop").click();
    until_ended(&mut app);
    let work = folder.0.join("work");
    assert!(work.join("interrupted.pth").exists());
    assert_eq!(run(&mut app).log.train["loss"].len(), 1);
    begin(&mut app, "Resume");
    until_ended(&mut app);

    let done = run(&mut app);
    assert_eq!(done.phase, Phase::Ended(Ok(Ended::Done)));
    let loss: Vec<f64> = done.log.train["loss"].iter().map(|p| p[0]).collect();
    assert_eq!(loss, (1..=8).map(f64::from).collect::<Vec<_>>());
    assert_eq!(done.log.train["lr"].len(), 8);
    assert_eq!(done.log.val["coco/bbox_mAP"].len(), 1);
    let seen: Vec<(u64, usize)> = done.seen.iter().map(|s| (s.epoch, s.found.len())).collect();
    assert_eq!(seen, [(1, 4), (2, 4)]);
    let [all, frozen] = done.trained[0].1.total();
    assert!(0 < frozen && frozen < all);
    app.harness.get_by_label("AP by iteration");
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("train");
    app.harness.get_by_label("Messages").click();
    app.settle();
    assert!(has(&app, "saved "));
    app.picture("train_messages");

    // another window that opens the folder has its pictures and what was frozen
    let mut other = Driven::open(&folder.0.join("other"), std::slice::from_ref(&work), USUAL);
    assert_eq!(Some(other.app().front()), for_what(Shows::Run));
    other
        .harness
        .get_by_label_contains("backbone.layer1: frozen");
    other.harness.get_by_label_contains("0.png  2 there, ");
    assert!(other.harness.unnamed_widgets().is_empty());
    other.picture("train_of_before");
    drop(other);

    let (whole, name) = (folder.0.join("whole"), "epoch_2.pth");
    trained(&config, &whole, None);
    let wanted = weights(&whole.join(name));
    assert_eq!(weights(&work.join(name)), wanted);
    let on = folder.0.join("on");
    trained(&config, &on, Some(work.join("interrupted.pth")));
    assert_eq!(weights(&on.join(name)), wanted);
}

/// Validations are long: one that is stopped loses no iteration, and leaves the model's own weights where averaged ones are validated.
#[test]
fn a_run_that_is_stopped_in_its_validation_keeps_a_checkpoint() {
    let folder = Folder::new();
    let more = "custom_hooks = [dict(type='EMAHook', momentum=0.1, priority=49)]\ntrain_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)\n";
    let config = read(&scratch(&folder, 2, more));
    let validates = Rc::new(Cell::new(false));
    let seen = validates.clone();
    let work = folder.0.join("work");
    let trainer = Trainer::builder(&config, Arc::new(Disk::new()))
        .work_dir(&work)
        .validation(Some(Box::new(validation(&config))))
        .tell(move |event| validates.set(matches!(event, Event::Validating { .. })))
        .interrupted(move || seen.get())
        .build();
    let ended = trainer.unwrap().train().unwrap();
    assert_eq!(ended, Ended::Interrupted(work.join("interrupted.pth")));
    let [own, epoch] = ["interrupted.pth", "epoch_1.pth"].map(|name| weights(&work.join(name)));
    assert_eq!(own, epoch);
}

/// What the window was told to do.
fn asked_of_window(app: &Driven, command: &ViewportCommand) -> bool {
    let output = app.harness.output();
    let commands = output.viewport_output.get(&ViewportId::ROOT);
    commands.is_some_and(|window| window.commands.contains(command))
}

fn close(app: &mut Driven) {
    let input = app.harness.input_mut();
    let window = input.viewports.entry(ViewportId::ROOT).or_default();
    window.events.push(ViewportEvent::Close);
    app.harness.step();
    let input = app.harness.input_mut();
    input
        .viewports
        .entry(ViewportId::ROOT)
        .or_default()
        .events
        .clear();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn closing_asks_and_what_is_killed_can_go_on() {
    let folder = Folder::new();
    let config = scratch(&folder, 40, "");
    let killed = Folder::new();
    {
        let mut app = Driven::open(&folder.0, &[config], USUAL);
        show(&mut app);
        app.harness.get_by_label("Start training").click();
        app.until("an epoch is over", |app| {
            let run = app.session.training.run.as_ref();
            run.is_some_and(|run| run.position.iter >= 5)
        });
        run(&mut app).hold(true);
        app.until("it waits", |app| {
            app.session.training.run.as_ref().unwrap().phase == Phase::Held
        });
        // all that is on disk at this moment is what `kill -9` would leave
        copy(&folder.0, &killed.0);

        close(&mut app);
        assert!(asked_of_window(&app, &ViewportCommand::CancelClose));
        app.harness.run_steps(2);
        app.harness.get_by_label("squares.py is being trained");
        app.picture("train_closing");
        app.harness.get_by_label("Go on training").click();
        app.harness.run_steps(3);
        assert!(app.harness.query_by_label("Stop and close").is_none());
        assert!(app.app().session.training.is_live());
        close(&mut app);
        app.harness.run_steps(2);
        app.harness.get_by_label("Stop and close").click();
        app.until("the run stops", |app| !app.session.training.is_live());
        assert!(asked_of_window(&app, &ViewportCommand::Close));
        assert!(folder.0.join("work/interrupted.pth").exists());
    }
    // a window that was closed has nothing to offer
    let app = Driven::open(&folder.0, &[], USUAL);
    assert!(app.harness.query_by_label("Dismiss").is_none());
    drop(app);

    for entry in ["work", "remembered"] {
        std::fs::remove_dir_all(folder.0.join(entry)).unwrap();
        copy(&killed.0.join(entry), &folder.0.join(entry));
    }
    let mut app = Driven::open(&folder.0, &[], USUAL);
    assert!(has(
        &app,
        "The training of squares.py was cut off just now, at epoch "
    ));
    app.picture("train_cut_off");
    app.harness.get_by_label_contains("Resume from ").click();
    app.until("it goes on", |app| {
        let run = app.session.training.run.as_ref();
        run.is_some_and(|run| run.position.iter >= 6)
    });
    assert_eq!(Some(app.app().front()), for_what(Shows::Run));
    let head = run(&mut app).head.clone().unwrap();
    assert_eq!(head.position.iter % 4, 0, "from the end of an epoch");
    run(&mut app).stop();
    until_ended(&mut app);
    assert!(app.harness.query_by_label("Dismiss").is_none());
}

/// The log of a run, as MMEngine writes it: 6 epochs of 100 iterations.
fn log(folder: &Folder, run: &str, scale: f64) -> PathBuf {
    let mut lines = Vec::new();
    for i in 1..=60 {
        let (iter, epoch) = (i * 10, (i - 1) / 10 + 1);
        let wild = if i == 33 { 4.0 } else { 0.0 };
        let ripple = f64::from(i * 7919 % 13) / 60.0;
        let loss = scale * (0.3 + 1.5 / (1.0 + f64::from(i) / 8.0) + ripple) + wild;
        lines.push(json!({
            "lr": 0.01 * scale * if epoch > 4 { 0.1 } else { 1.0 }, "loss": loss, "loss_cls": loss * 0.6, "loss_bbox": loss * 0.4,
            "time": 0.2, "epoch": epoch, "iter": iter, "memory": 900, "step": iter,
        }));
        if i % 10 == 0 {
            let ap = 0.4 * f64::from(epoch) / (f64::from(epoch) + 2.0) / scale;
            lines.push(json!({"coco/bbox_mAP": ap, "coco/bbox_mAP_50": ap * 1.4, "coco/bbox_mAP_s": -1.0, "time": 0.1, "step": epoch}));
        }
    }
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    folder.put(
        &format!("{run}/20261127_120000/vis_data/scalars.json"),
        &text.join("\n"),
    );
    // work directories have pictures too
    let png = Canvas::new(2, 2, vec![0; 12]).unwrap().png().unwrap();
    std::fs::write(folder.0.join(run).join("loss.png"), png).unwrap();
    folder.0.join(run)
}

#[test]
fn runs_of_before_are_laid_over_each_other() {
    let folder = Folder::new();
    let one = log(&folder, "baseline", 1.0);
    let light = Look {
        theme: Theme::Light,
        scale: 2.0,
        ..USUAL
    };
    let mut app = Driven::open(&folder.0, &[one], light);
    assert_eq!(Some(app.app().front()), for_what(Shows::Run));
    app.harness.get_by_label("loss_cls 0.3159");
    app.harness.get_by_label("mAP 0.300");
    assert!(
        app.harness.query_by_label_contains("mAP_s").is_none(),
        "there are no small ones"
    );
    app.picture("train_log");
    // the program that trains it writes on
    let file = folder
        .0
        .join("baseline/20261127_120000/vis_data/scalars.json");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text += &format!(
        "\n{}",
        json!({"lr": 0.001, "loss": 0.125, "epoch": 7, "iter": 610, "step": 610})
    );
    std::fs::write(&file, text).unwrap();
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, &file);
    app.settle();
    app.harness.get_by_label("loss 0.1250");
    let two = log(&folder, "half_the_rate", 0.5).join("20261127_120000");
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, &two);
    app.settle();
    app.harness.get_by_label("Close baseline");
    app.harness.get_by_label("Close half_the_rate");
    app.harness.get_by_label("Logarithmic").click();
    app.settle();
    assert!(app.harness.unnamed_widgets().is_empty());
    let picture = app.picture("train_two_logs");
    assert!(picture.colors() > 100, "{} colours", picture.colors());
    app.harness.get_by_label("Close baseline").click();
    app.settle();
    assert!(app.harness.query_by_label("Close baseline").is_none());
}

#[test]
fn what_cannot_be_trained_says_why_and_what_next() {
    let folder = Folder::new();
    let wild = "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e30))\nparam_scheduler = []\n";
    let config = scratch(&folder, 9, wild);
    let mut app = Driven::open(&folder.0, &[], USUAL);
    show(&mut app);
    app.harness.get_by_label("No run, and no config to train.");
    app.picture("train_empty");
    let app_ = app.app();
    app_.session.open(&mut app_.jobs, &config);
    app.settle();
    show(&mut app);
    // what is trained is what is on disk
    let id = app.app().session.documents.active().unwrap().id;
    app.app().session.edit(id, 0..0, "# mine\n", Kind::Step);
    app.settle();
    assert!(app.harness.query_by_label("Start training").is_none());
    app.harness.get_by_label("Save").click();
    app.settle();
    assert!(
        std::fs::read_to_string(&config)
            .unwrap()
            .starts_with("# mine")
    );
    let lock = Lock::take(&folder.0.join("work")).unwrap();
    begin(&mut app, "Start training");
    until_ended(&mut app);
    assert!(has(&app, "another run is at work"));
    drop(lock);
    begin(&mut app, "Start again");
    until_ended(&mut app);
    assert!(has(&app, "Loss is "));
    assert!(app.harness.unnamed_widgets().is_empty());
    app.picture("train_not_finite");
    std::fs::remove_file(folder.0.join("ann.json")).unwrap();
    begin(&mut app, "Start again");
    until_ended(&mut app);
    assert!(has(&app, "ann.json"));
    app.harness.get_by_label("Plan").click();
    app.settle();
    app.harness.get_by_label("squares.py cannot be trained.");
    app.picture("train_error");
    scratch(&folder, 9, "");
    app.harness.get_by_label("Retry").click();
    app.settle();
    assert!(
        app.harness
            .query_by_label("squares.py cannot be trained.")
            .is_none()
    );
}
