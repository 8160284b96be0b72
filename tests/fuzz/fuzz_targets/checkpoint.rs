//! Any bytes as a checkpoint: PyTorch's zip and older form, pickles, burnpack.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| smalti_fuzz::checkpoint(bytes));
