//! The program: its command line, one command, one file in [`commands`]; and, without a command, its [`window`], which is all of it that a
//! page has.
//!
//! How things fail: a command prints what is wrong and what to do next to standard error and ends with exit code 1; a wrong
//! command line ends with 2. Results go to standard output, progress and remarks to standard error.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod check;
#[cfg(not(target_arch = "wasm32"))]
mod command_line;
#[cfg(not(target_arch = "wasm32"))]
pub mod commands;
mod demo;
mod drawn;
#[cfg(not(target_arch = "wasm32"))]
mod interrupt;
#[cfg(not(target_arch = "wasm32"))]
mod style;
#[cfg(not(target_arch = "wasm32"))]
mod timing;
#[cfg(feature = "window")]
pub mod window;

#[cfg(not(target_arch = "wasm32"))]
pub use command_line::run;
