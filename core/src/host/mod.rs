//! The seam to the machine: files, the environment, the download cache. Nothing else in the library touches them, so that the rest runs in a browser.

#[cfg(not(target_arch = "wasm32"))]
pub mod cache;
#[cfg(not(target_arch = "wasm32"))]
pub mod config_files;
#[cfg(not(target_arch = "wasm32"))]
pub mod disk;
#[cfg(not(target_arch = "wasm32"))]
pub mod files;

/// An environment variable; none where there is no environment, as in a browser.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
