//! Zip archives that are dropped: every file in them.

use std::io::Read;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};

/// More files than this are no data set for a page.
const MAX_FILES: usize = 200_000;

/// The files of an archive, by path, of at most so many bytes together.
///
/// # Errors
/// It is broken, or too large.
pub fn unpack(archive: &[u8], most: usize) -> Result<Vec<(String, Vec<u8>)>, String> {
    let wrong = |e: rawzip::Error| format!("the archive is broken: {e}");
    let zip = ZipArchive::from_slice(archive).map_err(wrong)?;
    let (mut files, mut all, mut records) = (Vec::new(), 0, zip.entries());
    while let Some(record) = records.next_entry().map_err(wrong)? {
        if record.is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
        let packed = zip.get_entry(record.wayfinder()).map_err(wrong)?.data();
        let mut bytes = Vec::new();
        let left = (most - all) as u64 + 1;
        let read = match record.compression_method() {
            CompressionMethod::STORE => packed.take(left).read_to_end(&mut bytes),
            CompressionMethod::DEFLATE => {
                let inflated = DeflateDecoder::new(packed);
                inflated.take(left).read_to_end(&mut bytes)
            }
            _ => {
                return Err(format!(
                    "{name} in it is packed in a way that is not read: pack it as zip programs do by themselves"
                ));
            }
        };
        read.map_err(|e| format!("{name} in it is broken: {e}"))?;
        all += bytes.len();
        if all > most || files.len() >= MAX_FILES {
            return Err(format!(
                "it holds more than {} MB or {MAX_FILES} files: use the desktop program",
                most >> 20
            ));
        }
        files.push((name, bytes));
    }
    Ok(files)
}
