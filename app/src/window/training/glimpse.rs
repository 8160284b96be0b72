//! Some pictures of the validation data, with what is in them and what the weights of the moment find there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smalti::data::files::Files;
use smalti::data::{DecodeOptions, decode};
use smalti::evaluate::Told;

/// How many.
pub const PICTURES: usize = 4;
/// Longest side that is kept, px.
const MOST: usize = 640;
/// Boxes of a picture that are kept.
const BOXES: usize = 100;

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Glimpse {
    /// Its file.
    pub path: String,
    /// Of the pixels that are kept: width, height.
    pub size: [usize; 2],
    /// Those pixels, RGB.
    pub rgb: Arc<[u8]>,
    /// What is in it, px of the pixels that are kept.
    pub truth: Vec<Thing>,
    /// Pixels of the file for one that is kept.
    shrunk: f32,
}

/// An object: in truth, or found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thing {
    /// px.
    pub xyxy: [f32; 4],
    /// Its class.
    pub label: usize,
    /// How sure it is; 1 of what is in truth.
    pub score: f32,
}

impl Glimpse {
    /// Reads the picture.
    ///
    /// # Errors
    /// It cannot be read or decoded.
    pub fn of(told: &Told, files: &dyn Files) -> Result<Self, String> {
        let info = told.info;
        Self::read(&info.img_path, files, |by| {
            let things = info.instances.iter().filter(|one| !one.ignore);
            let truth = things.map(|one| Thing {
                xyxy: one.bbox.map(|v| v / by as f32),
                label: usize::try_from(one.label).unwrap_or(0),
                score: 1.0,
            });
            truth.collect()
        })
    }

    /// Reads a picture; `truth` is what is in it, for how many pixels of the file one that is kept stands.
    ///
    /// # Errors
    /// It cannot be read or decoded.
    pub fn read(
        path: &str,
        files: &dyn Files,
        truth: impl FnOnce(usize) -> Vec<Thing>,
    ) -> Result<Self, String> {
        let bytes = files.read(path).map_err(|why| format!("{path}: {why}"))?;
        let picture = decode(path, &bytes, &DecodeOptions::default());
        let picture = picture.map_err(|e| e.to_string())?;
        let whole = [picture.width(), picture.height()];
        let by = whole[0].max(whole[1]).div_ceil(MOST).max(1);
        let (size, rgb) = shrink(&picture.to_rgb(), whole, by);
        Ok(Self {
            path: path.to_owned(),
            size,
            rgb: rgb.into(),
            truth: truth(by),
            shrunk: by as f32,
        })
    }

    /// What was found in it, the best first.
    pub fn found(&self, told: &Told) -> Vec<Thing> {
        let found = told.found;
        let mut things: Vec<Thing> = (0..found.len())
            .map(|i| Thing {
                xyxy: found.boxes[i].map(|v| v / self.shrunk),
                label: found.labels[i],
                score: found.scores[i],
            })
            .collect();
        things.sort_by(|a, b| b.score.total_cmp(&a.score));
        things.truncate(BOXES);
        things
    }
}

/// The means of squares of `by` pixels; what is left at the edges is left out.
fn shrink(rgb: &[u8], [width, height]: [usize; 2], by: usize) -> ([usize; 2], Vec<u8>) {
    if by <= 1 {
        return ([width, height], rgb.to_vec());
    }
    let size = [(width / by).max(1), (height / by).max(1)];
    let mut small = Vec::with_capacity(size[0] * size[1] * 3);
    for y in 0..size[1] {
        for x in 0..size[0] {
            let (mut sum, mut count) = ([0_usize; 3], 0);
            for row in y * by..((y + 1) * by).min(height) {
                for column in x * by..((x + 1) * by).min(width) {
                    let at = (row * width + column) * 3;
                    for (sum, value) in sum.iter_mut().zip(&rgb[at..at + 3]) {
                        *sum += usize::from(*value);
                    }
                    count += 1;
                }
            }
            small.extend(sum.map(|sum| (sum / count.max(1)) as u8));
        }
    }
    (size, small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pictures_become_small() {
        let rgb: Vec<u8> = [0, 100, 20, 40, 7, 9]
            .iter()
            .flat_map(|v| [*v; 3])
            .collect();
        let (size, small) = shrink(&rgb, [3, 2], 2);
        assert_eq!((size, small), ([1, 1], vec![(100 + 40 + 7) / 4; 3]));
        assert_eq!(shrink(&rgb, [3, 2], 1), ([3, 2], rgb));
    }
}
