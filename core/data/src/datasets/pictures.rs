//! [`Pictures`]: the pictures' own sizes, where those of the annotation file are in doubt. Programs that write such files often swap the
//! sides of a picture that EXIF turns, or have resized it since; what lies within a picture is told by its own size.

use std::io::Read;

use super::base::Setup;
use super::paths::join;
use super::table::Row;
use super::tally::{Found, Tally};
use crate::decode::DecodeOptions;
use crate::header::{HEAD, size_of};
use crate::transforms::Files;

/// Pictures that are looked at though nothing is wrong, spread over the file; so many may be missing before no more are looked at.
const PROBES: usize = 64;

/// The pictures of a data set.
pub(super) struct Pictures<'a> {
    files: &'a dyn Files,
    folder: String,
    options: DecodeOptions,
}

impl<'a> Pictures<'a> {
    /// Those in `folder`, as the pipeline of `setup` loads them.
    pub fn new(setup: &Setup, files: &'a dyn Files, folder: String) -> Self {
        Self {
            files,
            folder,
            options: setup.decode_options(),
        }
    }

    /// The own size of a picture, px: of its first bytes, or of all if these do not say it.
    pub fn size(&self, file_name: &str) -> Result<[u32; 2], String> {
        let path = join(&self.folder, file_name);
        let failed = |why: String| format!("{path}: {why}");
        let mut input = self.files.open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut most = HEAD as u64;
        loop {
            let part = input.by_ref().take(most).read_to_end(&mut bytes);
            let read = part.map_err(|e| failed(e.to_string()))?;
            match size_of(&bytes, &self.options) {
                Some(size) => return Ok(size),
                None if read < HEAD => return Err(failed("it is no picture that is read".into())),
                None => most = LARGEST,
            }
        }
    }

    /// Compares the sizes of `doubtful` rows, of those that have none, and of some others, with the pictures; where one of them differs,
    /// those of all. The picture's own size is kept and the difference counted.
    pub fn compare(&self, rows: &mut [Row], doubtful: Vec<bool>, tally: &mut Tally) {
        let step = rows.len().div_ceil(PROBES).max(1);
        let (mut read, mut missing, mut differ) = (0, 0, false);
        let probed = |i: usize| doubtful[i] || i.is_multiple_of(step);
        for first in [true, false] {
            for (i, row) in rows.iter_mut().enumerate() {
                let unknown = row.width == 0 || row.height == 0;
                if (unknown || probed(i)) != first {
                    continue;
                }
                if missing > PROBES && read == 0 {
                    return;
                }
                let Ok(size) = self.size(&row.file_name) else {
                    missing += 1;
                    continue;
                };
                read += 1;
                let said = [row.width, row.height];
                if said != size {
                    tally.add(Found::OtherSize, || {
                        let name = &row.file_name;
                        format!("{name}: {}, its own {}", sides(said), sides(size))
                    });
                    [row.width, row.height] = size;
                    differ |= !unknown;
                }
            }
            if !differ {
                return;
            }
        }
    }
}

/// Largest file that is read for its size.
const LARGEST: u64 = 1 << 30;

fn sides([width, height]: [u32; 2]) -> String {
    format!("{width}x{height}")
}
