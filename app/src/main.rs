//! The `smalti` program. Everything is in the library beside it.

use std::process::ExitCode;

/// Each layer gives some megabytes and takes some: this allocator keeps their pages, where the platform's gives them back and asks again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    smalti_app::run()
}
