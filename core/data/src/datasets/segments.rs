//! [`Segments`]: `segmentation`s of a whole annotation file in one piece of memory, about 2 bytes a number.
//!
//! Annotation files have polygons with two decimals and neighbours that are near: such a list is kept as differences in hundredths, each as
//! few bytes as it needs. A list with any other number is kept as f64. Both come back exactly.

use crate::sample::Segmentation;
use crate::structures::masks::RleCounts;

/// Stands for no segmentation.
pub(crate) const NONE: u64 = u64::MAX;

const POLYGONS: u8 = 0;
const PLAIN: u8 = 1;
const TEXT: u8 = 2;

/// Many segmentations, each known by where it begins.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    bytes: Vec<u8>,
}

impl Segments {
    pub fn size_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Begins a segmentation of polygons; [`Self::polygon`]s follow, then [`Self::end`].
    pub fn polygons(&mut self) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.push(POLYGONS);
        at
    }

    /// x, y, x, y, ...
    pub fn polygon(&mut self, numbers: &[f64]) {
        // 0 is the end, so lengths are one more; the lowest bit tells which form.
        let length = (numbers.len() as u64 + 1) << 1;
        let hundredths = numbers.iter().all(|v| hundredths(*v).is_some());
        self.push(length | u64::from(hundredths));
        if !hundredths {
            numbers
                .iter()
                .for_each(|v| self.bytes.extend_from_slice(&v.to_le_bytes()));
            return;
        }
        let mut last = [0; 2];
        for (i, value) in numbers.iter().enumerate() {
            let value = hundredths_or_zero(*value);
            let step = value - last[i % 2];
            last[i % 2] = value;
            self.push(((step << 1) ^ (step >> 63)) as u64);
        }
    }

    pub fn end(&mut self) {
        self.bytes.push(0);
    }

    /// A segmentation that is there but has no polygon: `LoadAnnotations` ignores such an object, as it does in MMDetection.
    pub fn broken(&mut self) -> u64 {
        let at = self.polygons();
        self.end();
        at
    }

    pub fn plain(&mut self, counts: &[u32], width: usize, height: usize) -> u64 {
        let at = self.rle(PLAIN, width, height);
        self.push(counts.len() as u64);
        counts.iter().for_each(|c| self.push(u64::from(*c)));
        at
    }

    pub fn text(&mut self, counts: &str, width: usize, height: usize) -> u64 {
        let at = self.rle(TEXT, width, height);
        self.push(counts.len() as u64);
        self.bytes.extend_from_slice(counts.as_bytes());
        at
    }

    /// Width and height of the run lengths that begin at `at`.
    pub fn size(&self, at: u64) -> Option<[u64; 2]> {
        let mut from = Cursor {
            bytes: &self.bytes,
            at: usize::try_from(at).ok()?,
        };
        let runs = at != NONE && from.byte() != POLYGONS;
        runs.then(|| [from.number(), from.number()])
    }

    /// The segmentation that begins at `at`.
    pub fn get(&self, at: u64) -> Segmentation {
        if at == NONE {
            return Segmentation::None;
        }
        let mut from = Cursor {
            bytes: &self.bytes,
            at: at as usize,
        };
        match from.byte() {
            POLYGONS => Segmentation::Polygons(from.polygons()),
            tag => {
                let [width, height] = [from.number(), from.number()].map(|v| v as usize);
                let length = from.number() as usize;
                let counts = if tag == PLAIN {
                    RleCounts::Plain((0..length).map(|_| from.number() as u32).collect())
                } else {
                    let text = &self.bytes[from.at..from.at + length];
                    RleCounts::Text(String::from_utf8_lossy(text).into_owned())
                };
                Segmentation::Rle {
                    counts,
                    width,
                    height,
                }
            }
        }
    }

    fn rle(&mut self, tag: u8, width: usize, height: usize) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.push(tag);
        self.push(width as u64);
        self.push(height as u64);
        at
    }

    /// Seven bits a byte, lowest first.
    fn push(&mut self, mut value: u64) {
        while value >= 128 {
            self.bytes.push(value as u8 | 128);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// The number of hundredths, if there is one that gives the same number back.
fn hundredths(value: f64) -> Option<i64> {
    let count = (value * 100.0).round();
    let same = (count / 100.0).to_bits() == value.to_bits();
    (same && count.abs() < 1e12).then_some(count as i64)
}

fn hundredths_or_zero(value: f64) -> i64 {
    hundredths(value).unwrap_or(0)
}

/// Reads what [`Segments`] wrote.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn number(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return value;
            }
            shift += 7;
        }
    }

    fn polygons(&mut self) -> Vec<Vec<f64>> {
        let mut polygons = Vec::new();
        loop {
            let length = self.number();
            if length == 0 {
                return polygons;
            }
            let count = (length >> 1) as usize - 1;
            let mut last = [0i64; 2];
            let numbers = (0..count).map(|i| {
                if length & 1 == 0 {
                    let mut bytes = [0; 8];
                    bytes.fill_with(|| self.byte());
                    return f64::from_le_bytes(bytes);
                }
                let step = self.number();
                last[i % 2] += (step >> 1) as i64 ^ -((step & 1) as i64);
                last[i % 2] as f64 / 100.0
            });
            let numbers = numbers.collect();
            polygons.push(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_got() {
        let mut segments = Segments::default();
        let lists = [
            vec![343.69, 0.0, -0.01, 512.25, 1e9, 7.0],
            vec![0.1 + 0.2, f64::NAN, f64::INFINITY, -0.0, 1e300],
            vec![],
            vec![1.0; 200],
        ];
        let at = segments.polygons();
        lists.iter().for_each(|l| segments.polygon(l));
        segments.end();
        let empty = segments.polygons();
        segments.end();
        let plain = segments.plain(&[0, 3, u32::MAX], 5, 300);
        let text = segments.text("a0~", 1, 2);
        let Segmentation::Polygons(back) = segments.get(at) else {
            panic!()
        };
        let bits = |l: &[Vec<f64>]| -> Vec<Vec<u64>> {
            let list = |v: &Vec<f64>| v.iter().map(|x| x.to_bits()).collect();
            l.iter().map(list).collect()
        };
        assert_eq!(bits(&back), bits(&lists));
        assert_eq!(segments.get(empty), Segmentation::Polygons(Vec::new()));
        let rle = |counts, width, height| Segmentation::Rle {
            counts,
            width,
            height,
        };
        let counts = RleCounts::Plain(vec![0, 3, u32::MAX]);
        assert_eq!(segments.get(plain), rle(counts, 5, 300));
        assert_eq!(segments.get(text), rle(RleCounts::Text("a0~".into()), 1, 2));
        assert_eq!(segments.get(NONE), Segmentation::None);
        assert_eq!(segments.size(plain), Some([5, 300]));
        assert_eq!(segments.size(text), Some([1, 2]));
        assert_eq!((segments.size(at), segments.size(NONE)), (None, None));
    }

    #[test]
    fn near_neighbours_take_two_bytes() {
        let mut segments = Segments::default();
        segments.polygon(&[100.25, 50.5, 100.75, 51.0, 101.5, 52.0]);
        // a length, two first values of up to three bytes, four steps of one or two
        assert_eq!(segments.bytes.len(), 1 + 3 + 2 + 1 + 1 + 2 + 2);
    }
}
