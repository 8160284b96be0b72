//! `kill -9` of the real window, with unsaved edits and a run under way: the next window has both.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::display::{Folder, Running, display, keep, screen};
use super::keyboard::{ALT, CONTROL, ENTER, HOME, Keyboard, key};
use super::{smalti, squares::squares};

/// Looks until it is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    done(what, || (), &mut look)
}

/// Does something until it is so, and not often: a slow machine paints a frame for each key.
fn done<T>(what: &str, mut act: impl FnMut(), mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    for _ in 0..100 {
        act();
        for _ in 0..100 {
            if let Some(found) = look() {
                eprintln!("{what} after {:.1} s", began.elapsed().as_secs_f64());
                return found;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    panic!("waited in vain until {what}");
}

/// What the files of a name below a folder say.
fn texts(folder: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().join(name));
    paths
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect()
}

/// Iterations of the run that is noted as under way, if one is.
fn iterations(data: &Path) -> Option<u64> {
    let notes = texts(&data.join("runs"), "run.json");
    let note: Value = serde_json::from_str(notes.first()?).ok()?;
    note["iter"].as_u64()
}

fn is_painted(file: &Path) -> bool {
    let colors = |pixels: Vec<[u8; 3]>| {
        let colors: std::collections::HashSet<_> = pixels.into_iter().collect();
        colors.len()
    };
    screen(file).is_some_and(|(_, _, pixels)| colors(pixels) > 100)
}

#[test]
fn a_window_that_is_killed_loses_neither_edits_nor_the_run() {
    let (folder, screen) = (Folder::new("crash"), Folder::new("crash-screen"));
    let Some((_server, name, file)) = display(&screen.0) else {
        return;
    };
    let data = folder.0.join("data");
    let more = "default_hooks = dict(logger=dict(type='LoggerHook', interval=1), \
                checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))\n";
    let config = squares(&folder.0, 10_000, more);
    let before = std::fs::read_to_string(&config).unwrap();
    let mut keys = Keyboard::of(&name);
    let unsaved = || texts(&data.join("unsaved"), "unsaved.json");

    let mut window = Running(smalti(&name, &data).arg(&config).spawn().unwrap());
    until("the window is there", || is_painted(&file).then_some(()));
    let ends = |window: &mut Running| {
        assert!(window.0.try_wait().unwrap().is_none(), "the window ended");
    };
    let train = |keys: &mut Keyboard| {
        keys.click([500, 400]);
        // what a click gives the keyboard to has it in the next frame
        moment();
        keys.press(&[ALT, key('5')]);
        // until it is planned
        moment();
        moment();
        keys.press(&[CONTROL, ENTER]);
    };
    done(
        "a run is under way",
        || train(&mut keys),
        || {
            ends(&mut window);
            iterations(&data)
        },
    );
    until("it has a checkpoint", || {
        folder.0.join("work/last_checkpoint").exists().then_some(())
    });
    let edit = |keys: &mut Keyboard| {
        keys.press(&[ALT, key('2')]);
        moment();
        keys.click([300, 600]);
        moment();
        keys.press(&[CONTROL, HOME]);
        keys.write("qqq");
    };
    done(
        "edits are kept aside",
        || edit(&mut keys),
        || unsaved().iter().find(|text| text.contains("qqq")).cloned(),
    );
    keep(&file, "crash_before");
    window.0.kill().unwrap();
    window.0.wait().unwrap();
    let cut_off = iterations(&data).expect("a note of the run");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);

    let mut window = Running(smalti(&name, &data).spawn().unwrap());
    // the screen shows what the first one painted until this one is there
    let resume = |keys: &mut Keyboard| {
        moment();
        keep(&file, "crash_after");
        keys.click([1100, 400]);
        // in one frame the click would close what the keys open
        moment();
        keys.press(&[CONTROL, key('p')]);
        moment();
        keys.write("cutoff");
        moment();
        keys.press(&[ENTER]);
    };
    done(
        "the run goes on",
        || resume(&mut keys),
        || {
            ends(&mut window);
            iterations(&data).filter(|now| *now > cut_off)
        },
    );
    keep(&file, "crash_resumed");
    until(
        "there are two logs, of a run and of what went on with it",
        || {
            let logs = texts(&folder.0.join("work"), "vis_data/scalars.json");
            (logs.len() == 2).then_some(())
        },
    );
    let save = |keys: &mut Keyboard| {
        keys.press(&[ALT, key('2')]);
        moment();
        keys.press(&[CONTROL, key('s')]);
    };
    done(
        "the edits are saved",
        || save(&mut keys),
        || {
            let now = std::fs::read_to_string(&config).unwrap();
            (now.starts_with("qqq") && now.ends_with(&before)).then_some(())
        },
    );
}

/// Some frames of a slow machine.
fn moment() {
    std::thread::sleep(Duration::from_secs(2));
}
