//! The real window, on a display that is a file: Xvfb keeps what is on its screen in one, and the test looks at that.
//!
//! Where there is no Xvfb the test of the window is skipped, except in CI, where one is promised.
#![cfg(all(feature = "window", target_os = "linux"))]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("smalti-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A display of 1280x800 whose screen is the file that is returned.
fn display(folder: &Path) -> Option<(Running, String, PathBuf)> {
    let started = Command::new("Xvfb")
        .args([
            "-displayfd",
            "1",
            "-nolisten",
            "tcp",
            "-screen",
            "0",
            "1280x800x24",
            "-fbdir",
        ])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = match started {
        Ok(child) => Running(child),
        Err(e) => {
            let ci = std::env::var("CI").is_ok_and(|v| v == "true");
            assert!(!ci, "CI promises Xvfb: {e}");
            eprintln!("skipped: no Xvfb: {e}");
            return None;
        }
    };
    let mut number = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut number)
        .unwrap();
    assert!(!number.trim().is_empty(), "Xvfb ended at once");
    Some((
        server,
        format!(":{}", number.trim()),
        folder.join("Xvfb_screen0"),
    ))
}

/// The pixels of a screen in the form of `xwd`: numbers of 32 bits, then colours, then rows of four bytes a pixel.
fn screen(file: &Path) -> Option<(usize, usize, Vec<[u8; 3]>)> {
    let bytes = std::fs::read(file).ok()?;
    let number =
        |i: usize| Some(u32::from_be_bytes(bytes.get(4 * i..4 * i + 4)?.try_into().ok()?) as usize);
    let (header, width, height, little) = (number(0)?, number(4)?, number(5)?, number(7)? == 0);
    let (row, colors) = (number(12)?, number(19)?);
    assert_eq!(number(11)?, 32, "bits a pixel");
    let pixels = bytes.get(header + 12 * colors..)?;
    let at = |i: usize| -> Option<[u8; 3]> {
        let begin = i / width * row + i % width * 4;
        let p = pixels.get(begin..begin + 4)?;
        Some(if little {
            [p[2], p[1], p[0]]
        } else {
            [p[1], p[2], p[3]]
        })
    };
    Some((
        width,
        height,
        (0..width * height).map(at).collect::<Option<_>>()?,
    ))
}

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
    if let Some(folder) = std::env::var_os("SMALTI_PICTURES") {
        let (width, height, pixels) = screen(&file).unwrap();
        let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
        ppm.extend(pixels.into_iter().flatten());
        std::fs::write(Path::new(&folder).join("window.ppm"), ppm).unwrap();
    }
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
