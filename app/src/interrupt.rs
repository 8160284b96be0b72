//! Ctrl-C: the first one sets a flag that long work looks at, the next one ends the program.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Whether it was pressed.
static PRESSED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C (and a polite request to end, where the system has one) sets what [`pressed`] tells, once; after that it ends the
/// program, as before.
pub fn listen() {
    system::listen();
}

/// Whether Ctrl-C was pressed.
pub fn pressed() -> bool {
    PRESSED.load(SeqCst)
}

#[cfg(unix)]
mod system {
    use super::{PRESSED, SeqCst};

    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    /// `SIG_DFL`: what the system does by itself.
    const DEFAULT: usize = 0;

    unsafe extern "C" {
        fn signal(number: i32, handler: usize) -> usize;
    }

    extern "C" fn heard(number: i32) {
        PRESSED.store(true, SeqCst);
        // SAFETY: `signal` may be called in a handler, and the default handler is always valid.
        unsafe { signal(number, DEFAULT) };
    }

    pub fn listen() {
        let handler = heard as extern "C" fn(i32);
        for number in [SIGINT, SIGTERM] {
            // SAFETY: the handler has the signature that C's `signal` asks for, and does only what a handler may: it sets an atomic and calls
            // `signal`.
            unsafe { signal(number, handler as usize) };
        }
    }
}

#[cfg(windows)]
mod system {
    use super::{PRESSED, SeqCst};

    unsafe extern "system" {
        fn SetConsoleCtrlHandler(
            handler: Option<unsafe extern "system" fn(u32) -> i32>,
            add: i32,
        ) -> i32;
    }

    unsafe extern "system" fn heard(_: u32) -> i32 {
        // Not handled the second time: then the system ends the program.
        i32::from(!PRESSED.swap(true, SeqCst))
    }

    pub fn listen() {
        // SAFETY: the handler has the signature that the system asks for, and only sets an atomic.
        unsafe { SetConsoleCtrlHandler(Some(heard), 1) };
    }
}

#[cfg(not(any(unix, windows)))]
mod system {
    pub fn listen() {}
}
