//! A display that is a file: what is on its screen can be looked at.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
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
pub fn display(folder: &Path) -> Option<(Running, String, PathBuf)> {
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
pub fn screen(file: &Path) -> Option<(usize, usize, Vec<[u8; 3]>)> {
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

/// Keeps what is on a screen for people, if they want it.
pub fn keep(file: &Path, name: &str) {
    if let Some(folder) = std::env::var_os("SMALTI_PICTURES") {
        let (width, height, pixels) = screen(file).unwrap();
        let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
        ppm.extend(pixels.into_iter().flatten());
        std::fs::write(Path::new(&folder).join(format!("{name}.ppm")), ppm).unwrap();
    }
}
