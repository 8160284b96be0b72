//! The `smalti` program. Everything is in the library beside it.

use std::process::ExitCode;

/// Each layer gives some megabytes and takes some: this allocator keeps their pages, where the platform's gives them back and asks again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Its option for how long memory that was let go is kept, in milliseconds (`mi_option_purge_delay`).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // The next detection, or step of training, wants as much again.
    // SAFETY: sets a number that the allocator reads.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 10_000) };
    smalti_app::run()
}
