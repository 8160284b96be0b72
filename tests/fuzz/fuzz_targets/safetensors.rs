//! A safetensors file: the header is the input up to the first zero byte, the tensors' bytes are the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0);
    let (header, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let length = (header.len() as u64).to_le_bytes();
    smalti_fuzz::checkpoint(&[&length, header, rest].concat());
});
