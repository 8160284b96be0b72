//! All that is printed, and how remarks look on standard error.
//!
//! Names and texts of files come from strangers: what would act on a terminal (clear it, set its title, turn the direction of writing) is
//! shown by its code. So nothing else in the program prints.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use smalti::config::{visible, visible_json};

/// Prints a line of results.
#[allow(clippy::print_stdout)]
pub fn say(text: impl Display) {
    println!("{}", visible(&text.to_string()));
}

/// Prints JSON on lines of their own.
#[allow(clippy::print_stdout)]
pub fn say_json(value: &serde_json::Value) {
    println!("{}", visible_json(&format!("{value:#}")));
}

/// Prints a line on standard error.
#[allow(clippy::print_stderr)]
pub fn remark(text: impl Display) {
    eprintln!("{}", visible(&text.to_string()));
}

/// Standard output for texts of files, or for JSON, by whole texts at a time.
pub fn output(json: bool) -> impl Write {
    Shown {
        out: io::BufWriter::new(io::stdout().lock()),
        shown: if json { visible_json } else { visible },
    }
}

struct Shown<W> {
    out: W,
    shown: fn(&str) -> Cow<'_, str>,
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.out.write_all((self.shown)(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints an error; the message may have several lines, and may say `error:` already.
pub fn error(message: &str) {
    if message.starts_with("error:") {
        remark(message);
    } else {
        remark(format_args!("error: {message}"));
    }
}

/// Prints what may be a mistake.
pub fn warning(message: &str) {
    remark(format_args!("warning: {message}"));
}

/// Prints a remark that is no error.
pub fn note(message: &str) {
    remark(format_args!("note: {message}"));
}

/// `smalti ... | head` closes our output early, which Rust's printing takes for a bug; end without a message instead.
pub fn end_quietly_on_a_closed_pipe() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        if message.contains("Broken pipe") {
            std::process::exit(141);
        }
        default(info);
    }));
}

/// Mesa's layer that sorts GPUs asks the desktop which one to prefer, and prints an error of its own where there is no desktop. We
/// choose by kind, so it is not needed there.
pub fn quiet_mesa_without_a_desktop() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: called first thing in the program, before there are other threads that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
