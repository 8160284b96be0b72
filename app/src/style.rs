//! How remarks look on standard error.

/// Prints an error; the message may have several lines, and may say `error:` already.
pub fn error(message: &str) {
    if message.starts_with("error:") {
        eprintln!("{message}");
    } else {
        eprintln!("error: {message}");
    }
}

/// Prints what may be a mistake.
pub fn warning(message: &str) {
    eprintln!("warning: {message}");
}

/// Prints a remark that is no error.
pub fn note(message: &str) {
    eprintln!("note: {message}");
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
