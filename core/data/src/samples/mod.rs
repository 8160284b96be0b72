//! A picture with its objects: on its way through transforms, at the end of it, and what can be told of it.

pub mod draws_file;
pub mod meta;
pub mod packed;
pub mod sample;
pub mod summary;
pub mod trace;
