//! PyTorch's `.pth`: a zip archive of one pickle and the bytes of each storage.

use std::io::Write;

use super::zip::ZipWriter;
use super::{Pickler, SaveError, Saved, elements_of};
use crate::plain::Dict;

/// PyTorch's name for the archive's folder where a file has no name yet.
const FOLDER: &str = "archive";

/// Writes a state dict and what is said of it, as MMDetection's published checkpoints have them: `{'meta': ..., 'state_dict': ...}`.
///
/// # Errors
/// [`SaveError`].
pub fn write_torch<'t, T: Saved>(
    out: impl Write,
    state_dict: &'t [(String, T)],
    meta: &Dict,
) -> Result<(), SaveError> {
    let mut pickler = Pickler::new();
    pickler.dict();
    pickler.text("meta");
    pickler.plain_dict(meta);
    pickler.text("state_dict");
    let entries = state_dict.iter();
    pickler.state_dict(entries.map(|(key, tensor)| (key.as_str(), tensor as &'t dyn Saved)))?;
    pickler.end_dict();
    write_archive(out, pickler)
}

/// Writes the archive of a pickle and the tensors that it refers to.
pub(crate) fn write_archive(out: impl Write, pickler: Pickler<'_>) -> Result<(), SaveError> {
    let (pickle, tensors) = pickler.finish();
    let mut zip = ZipWriter::new(out);
    let name = |name: &str| format!("{FOLDER}/{name}");
    zip.add(name("data.pkl"), &pickle)?;
    zip.add(name("byteorder"), b"little")?;
    for (number, (key, tensor)) in tensors.into_iter().enumerate() {
        let bytes = elements_of(&key, tensor)?;
        zip.add(name(&format!("data/{number}")), &bytes)?;
    }
    zip.add(name("version"), b"3\n")?;
    zip.finish()?.flush()?;
    Ok(())
}
