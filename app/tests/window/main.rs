//! The real window, on a display that is a file: Xvfb keeps what is on its screen in one, and the test looks at that.
//!
//! Where there is no Xvfb the test of the window is skipped, except in CI, where one is promised.
#![cfg(all(feature = "window", target_os = "linux"))]

mod crash;
mod display;
mod keyboard;
mod squares;

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use display::{Folder, Running, display, keep, screen};

fn smalti(display: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smalti"));
    command
        .env("DISPLAY", display)
        .env("SMALTI_DATA", data)
        .env("SMALTI_DEVICE", "cpu")
        .env("WINIT_X11_SCALE_FACTOR", "1");
    command
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET");
    command
}

#[test]
fn a_window_opens_and_shows_a_config() {
    let folder = Folder::new("window");
    let Some((_server, name, file)) = display(&folder.0) else {
        return;
    };
    let config = folder.0.join("wrong.py");
    std::fs::write(
        &config,
        "model = dict(type='RetinaNett', backbone=dict(type='ResNet', depth=18))\n",
    )
    .unwrap();
    let data = folder.0.join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(
        data.join("settings.json"),
        r#"{"theme": "dark", "device": "cpu"}"#,
    )
    .unwrap();
    let mut app = Running(
        smalti(&name, &data)
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let (began, mut looks) = (Instant::now(), 0);
    // text has many shades, and the panels, the field and what is wrong have each their colour
    let wanted: [[u8; 3]; 3] = [[0x1C, 0x1D, 0x22], [0x13, 0x14, 0x17], [0xFF, 0x90, 0x80]];
    loop {
        if let Some(status) = app.0.try_wait().unwrap() {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut app.0.stderr.take().unwrap(), &mut said).unwrap();
            panic!("the window ended with {status}: {said}");
        }
        let shown =
            screen(&file).map(|(w, h, pixels)| (w, h, pixels.into_iter().collect::<HashSet<_>>()));
        if let Some((width, height, colors)) = &shown {
            assert_eq!((*width, *height), (1280, 800));
            if colors.len() > 100 && wanted.iter().all(|c| colors.contains(c)) {
                break;
            }
        }
        let count = shown.map_or(0, |(_, _, colors)| colors.len());
        looks += 1;
        assert!(looks < 10_000, "still {count} colours on the screen");
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!(
        "a window with a config and its error after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    keep(&file, "window");
}

#[test]
fn without_a_display_commands_run_and_the_window_says_what_to_do() {
    let folder = Folder::new("no-display");
    let run = |arguments: &[&str]| {
        let mut command = smalti("", &folder.0);
        let out = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), said)
    };
    let (code, said) = run(&[]);
    assert!(
        code == Some(2) && said.contains("Usage") && said.contains("detect"),
        "{said}"
    );
    let here = folder.0.display().to_string();
    let (code, said) = run(&[&here]);
    assert!(
        code == Some(2) && said.contains("there is no display"),
        "{said}"
    );
    let (code, said) = run(&["detct"]);
    assert!(
        code == Some(2) && said.contains("did you mean `smalti detect`?"),
        "{said}"
    );
    assert_eq!(run(&["list", "neck"]).0, Some(0));
}
