//! [`Runs`]: a mask as run lengths, and what pycocotools' maskApi computes with them: areas, boxes, unions and overlaps, without a bitmap.

use super::fill::toggles;
use super::{Masks, Polygon, RleCounts, Shapes};

/// Run lengths of a mask: columns from the top left, background first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    size: [usize; 2],
    lengths: Vec<u32>,
}

impl Runs {
    /// Mask `i` of `masks`. None if there is no such mask, or a polygon cannot be filled.
    pub fn of(masks: &Masks, i: usize) -> Option<Self> {
        match &masks.shapes {
            Shapes::Bitmaps(all) => Some(Self::of_bitmap(all.get(i)?, masks.size())),
            Shapes::Polygons(all) => Self::of_polygon(all.get(i)?, masks.size()).ok(),
        }
    }

    /// Of a bitmap of `[width, height]`: rows of 0 and others.
    ///
    /// # Panics
    /// If it has another number of pixels, or more than 2^32.
    pub fn of_bitmap(bitmap: &[u8], size: [usize; 2]) -> Self {
        let [width, height] = size;
        assert_eq!(bitmap.len(), width * height, "a bitmap covers its canvas");
        // Most objects are small: what lies around them is not looked at pixel by pixel.
        let set = |row: &&[u8]| row.iter().any(|v| *v != 0);
        let rows = || bitmap.chunks_exact(width.max(1));
        let top = rows().position(|row| set(&row)).unwrap_or(height);
        let bottom = rows().rposition(|row| set(&row)).map_or(top, |y| y + 1);
        let mut runs = Builder::default();
        let (above, below) = (top as u32, (height - bottom) as u32);
        for x in 0..width {
            runs.add(above, false);
            for y in top..bottom {
                runs.add(1, bitmap[y * width + x] != 0);
            }
            runs.add(below, false);
        }
        Self {
            size,
            lengths: runs.lengths,
        }
    }

    /// Of one object's rings on a canvas of `[width, height]`, united, as pycocotools' `frPyObjects` and `merge` do it. Rings of fewer than
    /// three points or with an odd number of values are empty.
    ///
    /// # Errors
    /// A canvas that is too large.
    pub fn of_polygon(polygon: &Polygon, size: [usize; 2]) -> Result<Self, String> {
        let pixels = checked(size)?;
        let rings = polygon.iter();
        let rings = rings.filter(|r| r.len() >= 6 && r.len().is_multiple_of(2));
        let united = rings
            .map(|ring| Self::of_ring(ring, size, pixels))
            .reduce(|a, b| a.united(&b));
        Ok(united.unwrap_or_else(|| Self {
            size,
            lengths: vec![pixels],
        }))
    }

    fn of_ring(ring: &[f64], size: [usize; 2], pixels: u32) -> Self {
        /// Toggles that are collected before those that cancel each other are removed: an edge gives as many as the canvas is wide.
        const MANY: usize = 1 << 16;
        let height = size[1];
        let (mut places, mut most) = (Vec::<u32>::new(), MANY);
        toggles(ring, size, |x, y| {
            places.push((x * height + y) as u32);
            if places.len() > most {
                cancel(&mut places);
                most = MANY.max(2 * places.len());
            }
        });
        cancel(&mut places);
        let mut runs = Builder::default();
        let (mut last, mut set) = (0, false);
        for place in places {
            runs.add(place - last, set);
            (last, set) = (place, !set);
        }
        runs.add(pixels - last, set);
        Self {
            size,
            lengths: runs.lengths,
        }
    }

    /// Of COCO's run lengths for a mask of `[width, height]`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_counts(counts: &RleCounts, size: [usize; 2]) -> Result<Self, String> {
        let pixels = checked(size)?;
        let lengths = counts.lengths()?;
        let covered = lengths.iter().fold(0_u64, |sum, v| sum.saturating_add(*v));
        if covered != u64::from(pixels) {
            return Err(format!(
                "run lengths cover {covered} pixels, the mask has {}x{}",
                size[0], size[1]
            ));
        }
        let lengths = lengths.into_iter().map(|v| v as u32).collect();
        Ok(Self { size, lengths })
    }

    /// Width and height of the canvas, px.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The lengths.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Pixels that are set.
    pub fn area(&self) -> u64 {
        let set = self.lengths.iter().skip(1).step_by(2);
        set.map(|v| u64::from(*v)).sum()
    }

    /// First and last column and row with a pixel that is set (`[x1, y1, x2, y2]`, the last exclusive); `None` if there is none.
    pub fn bounds(&self) -> Option<[usize; 4]> {
        let height = self.size[1];
        let mut out: Option<[usize; 4]> = None;
        let mut at = 0;
        for (i, length) in self.lengths.iter().enumerate() {
            let (start, end) = (at, at + *length as usize);
            at = end;
            if i % 2 == 0 || start == end {
                continue;
            }
            let last = end - 1;
            let [left, right] = [start, last].map(|p| p / height);
            let [top, bottom] = match left == right {
                true => [start % height, last % height],
                false => [0, height - 1],
            };
            let new = [left, top, right + 1, bottom + 1];
            out = Some(out.map_or(new, |old| {
                [
                    old[0].min(new[0]),
                    old[1].min(new[1]),
                    old[2].max(new[2]),
                    old[3].max(new[3]),
                ]
            }));
        }
        out
    }

    /// Pixels that are set in both; 0 for canvases of different sizes.
    pub fn overlap(&self, other: &Self) -> u64 {
        let mut sum = 0;
        self.walk(other, |length, a, b| {
            sum += u64::from(length) * u64::from(a && b);
        });
        sum
    }

    /// Pixels that are set in either.
    fn united(&self, other: &Self) -> Self {
        let mut runs = Builder::default();
        self.walk(other, |length, a, b| runs.add(length, a || b));
        Self {
            size: self.size,
            lengths: runs.lengths,
        }
    }

    /// Tells of every stretch of pixels how long it is and whether it is set in each of two masks.
    fn walk(&self, other: &Self, mut each: impl FnMut(u32, bool, bool)) {
        if self.size != other.size {
            return;
        }
        let (mut a, mut b) = (self.lengths.iter(), other.lengths.iter());
        let (mut left, mut set) = ([0_u32; 2], [true; 2]);
        loop {
            for (i, runs) in [&mut a, &mut b].into_iter().enumerate() {
                while left[i] == 0 {
                    let Some(next) = runs.next() else {
                        return;
                    };
                    (left[i], set[i]) = (*next, !set[i]);
                }
            }
            let length = left[0].min(left[1]);
            each(length, set[0], set[1]);
            left = left.map(|v| v - length);
        }
    }

    /// COCO's text form (pycocotools' `encode`).
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (i, length) in self.lengths.iter().enumerate() {
            let before = if i > 2 { self.lengths[i - 2] } else { 0 };
            let mut value = i64::from(*length) - i64::from(before);
            loop {
                let bits = (value & 31) as u8;
                value >>= 5;
                let more = if bits & 16 != 0 {
                    value != -1
                } else {
                    value != 0
                };
                out.push(char::from(bits + if more { 32 } else { 0 } + 48));
                if !more {
                    break;
                }
            }
        }
        out
    }
}

/// Pixels of a canvas.
fn checked(size: [usize; 2]) -> Result<u32, String> {
    let pixels = crate::size_limits::check(size).ok();
    let pixels = pixels.and_then(|pixels| u32::try_from(pixels).ok());
    let [width, height] = size;
    pixels
        .filter(|pixels| *pixels > 0)
        .ok_or_else(|| match width.min(height) {
            0 => format!("a mask of {width}x{height} pixels has none"),
            _ => format!("a mask of {width}x{height} pixels is too large"),
        })
}

/// Sorts, and removes pairs of equals: two toggles at one place are none.
fn cancel(places: &mut Vec<u32>) {
    places.sort_unstable();
    let mut kept = 0;
    for i in 0..places.len() {
        if kept > 0 && places[kept - 1] == places[i] {
            kept -= 1;
        } else {
            places[kept] = places[i];
            kept += 1;
        }
    }
    places.truncate(kept);
}

/// Stretches of pixels to run lengths.
#[derive(Default)]
struct Builder {
    lengths: Vec<u32>,
}

impl Builder {
    fn add(&mut self, length: u32, set: bool) {
        if length == 0 {
            return;
        }
        if self.lengths.is_empty() && set {
            self.lengths.push(0);
        }
        // an even number of runs so far ends with pixels that are set
        let last_is_set = self.lengths.len().is_multiple_of(2);
        match self.lengths.last_mut() {
            Some(last) if last_is_set == set => *last += length,
            _ => self.lengths.push(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{polygon_to_bitmap, rle_to_bitmap};
    use super::*;

    /// A polygon of `points` corners, some outside of the canvas.
    fn ring(seed: &mut u64, points: usize) -> Vec<f64> {
        let mut next = || {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (*seed >> 33) as f64 / (1_u64 << 31) as f64 * 90.0 - 12.0
        };
        (0..2 * points).map(|_| next()).collect()
    }

    #[test]
    fn polygons_are_their_bitmaps() {
        let (mut seed, size) = (7, [63, 41]);
        for rings in 0..4 {
            for points in [3, 4, 9, 40] {
                let polygon: Polygon = (0..rings).map(|_| ring(&mut seed, points)).collect();
                let bitmap = polygon_to_bitmap(&polygon, size[0], size[1]);
                let runs = Runs::of_polygon(&polygon, size).unwrap();
                assert_eq!(runs, Runs::of_bitmap(&bitmap, size), "{polygon:?}");
                let text = RleCounts::Text(runs.text());
                assert_eq!(Runs::of_counts(&text, size), Ok(runs.clone()));
                assert_eq!(rle_to_bitmap(&text, size[0], size[1]), Ok(bitmap.clone()));
                let area = bitmap.iter().filter(|v| **v > 0).count() as u64;
                assert_eq!((runs.area(), runs.overlap(&runs)), (area, area));
                let at = |i: usize| [i % size[0], i / size[0]];
                let set = (0..bitmap.len()).filter(|i| bitmap[*i] > 0).map(at);
                let bounds = set.fold(None, |b: Option<[usize; 4]>, [x, y]| {
                    let [x1, y1, x2, y2] = b.unwrap_or([x, y, x, y]);
                    Some([x1.min(x), y1.min(y), x2.max(x + 1), y2.max(y + 1)])
                });
                assert_eq!(runs.bounds(), bounds);
            }
        }
    }

    #[test]
    fn overlaps_are_those_of_bitmaps() {
        let (mut seed, size) = (3, [50, 64]);
        for _ in 0..20 {
            let [a, b] = [0, 1].map(|_| vec![ring(&mut seed, 5)]);
            let [fa, fb] = [&a, &b].map(|p| polygon_to_bitmap(p, size[0], size[1]));
            let both = fa.iter().zip(&*fb).filter(|(a, b)| **a & **b > 0).count();
            let [a, b] = [a, b].map(|p| Runs::of_polygon(&p, size).unwrap());
            assert_eq!(a.overlap(&b), both as u64);
        }
        let other = Runs::of_bitmap(&[1; 6], [3, 2]);
        assert_eq!(other.overlap(&Runs::of_bitmap(&[1; 6], [2, 3])), 0);
    }

    #[test]
    fn pycocotools_texts() {
        let runs = Runs::of_bitmap(&[0, 1, 1, 0, 1, 0], [3, 2]);
        assert_eq!((runs.lengths(), &*runs.text()), (&[2, 3, 1][..], "231"));
        let lengths = vec![5, 3, 7, 2, 100, 1000, 1, 0, 3];
        let counts = RleCounts::Plain(lengths);
        let runs = Runs::of_counts(&counts, [1121, 1]).unwrap();
        assert_eq!(runs.text(), "537Om2Vo0mLhPO2");
        assert!(Runs::of_counts(&counts, [1120, 1]).is_err());
        assert!(Runs::of_polygon(&Vec::new(), [usize::MAX, 2]).is_err());
        assert!(Runs::of_polygon(&Vec::new(), [0, 2]).is_err());
    }
}
