//! Features of regions at a fixed size: the twin of `roi/align.wgsl` and `roi/align_gradient.wgsl`.
//!
//! RoIAlign (Mask R-CNN, He et al. 2017, arXiv 1703.06870, section 3) as mmcv 2.1.0 computes it, over all levels of a pyramid at once: a region
//! is read from one of them. A bin is the mean, or the largest, of samples between pixels. The mean is a product of what is done down and what
//! is done across ([`Taps`]), which is how it is computed here. RoIPool (Fast R-CNN, Girshick 2015, arXiv 1504.08083, section 2.1) takes
//! the largest of whole pixels.
//!
//! Shapes: a channel of a picture's pyramid `[P]`, P the places of all levels one after another, rows after rows; a region `[height, width]`.

use super::decode::Xyxy;

/// A level of a pyramid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiLevel {
    /// Its first place.
    pub first: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Places per pixel of the batch.
    pub scale: f32,
}

/// How a region is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Bins down and across.
    pub bins: [usize; 2],
    /// Samples of a bin each way; 0 for as many as it has places, rounded up.
    pub ratio: usize,
    /// Places have their middle at half numbers, and small regions are not made larger.
    pub aligned: bool,
    /// What a bin is of its samples.
    pub bin: Bin,
}

/// What a bin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bin {
    /// The mean of samples between places.
    Mean,
    /// The largest of them.
    Largest,
    /// The largest of whole places (RoIPool).
    Places,
}

/// The level that a region of a pyramid is read from (Lin et al. 2017, arXiv 1612.03144, equation 1): the finest one for regions of less than
/// twice `finest` px a side. To sizes that are counted in that `epsilon` is added, so that rounding keeps none below a power of two.
pub fn level_of(bbox: Xyxy, finest: f32, epsilon: f32, levels: usize) -> usize {
    let area = (bbox[2] - bbox[0]) * (bbox[3] - bbox[1]);
    // What has no size, and what is no number, is of the finest.
    if area.is_nan() || area <= 0.0 {
        return 0;
    }
    let size = area.sqrt() / finest + epsilon;
    // the exponent
    let level = (size.to_bits() >> 23) as i32 - 127;
    level.clamp(0, levels as i32 - 1) as usize
}

/// What the bins along one axis have of the places: a run of weights for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taps {
    /// For each bin its first place, and where its weights begin; one more entry for their end.
    bins: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

/// Samples of a bin each way, of regions however large.
const MOST_SAMPLES: usize = 1 << 14;

/// Where an axis' samples lie.
struct Axis {
    start: f32,
    /// Places of a bin.
    bin: f32,
    /// Samples of a bin.
    samples: usize,
    size: usize,
}

impl Axis {
    fn new(low: f32, high: f32, size: usize, scale: f32, bins: usize, how: &Sampling) -> Self {
        let offset = if how.aligned { 0.5 } else { 0.0 };
        let start = low * scale - offset;
        let mut length = high * scale - offset - start;
        if !how.aligned {
            length = length.max(1.0);
        }
        let samples = match how.ratio {
            0 => ((length / bins as f32).ceil().max(0.0) as usize).min(MOST_SAMPLES),
            ratio => ratio,
        };
        Self {
            start,
            bin: length / bins as f32,
            samples,
            size,
        }
    }

    /// Sample `i` of a bin: the place before it, and its distance to that; None where it counts 0.
    fn sample(&self, bin: usize, i: usize) -> Option<(usize, usize, f32)> {
        let within = (i as f32 + 0.5) * self.bin / self.samples as f32;
        let at = self.start + bin as f32 * self.bin + within;
        // not a number counts 0 too
        if !(at >= -1.0 && at <= self.size as f32) {
            return None;
        }
        let at = at.max(0.0);
        let low = at as usize;
        if low + 1 >= self.size {
            return Some((self.size - 1, self.size - 1, 0.0));
        }
        Some((low, low + 1, at - low as f32))
    }

    /// The whole axis.
    fn taps(&self, bins: usize) -> Taps {
        let mut taps = Taps::default();
        for bin in 0..bins {
            let samples = || (0..self.samples).filter_map(|i| self.sample(bin, i));
            // Samples go one way, so that the first and the last have the ends.
            let first = samples().next().map_or(0, |(low, ..)| low);
            let last = samples().next_back().map_or(0, |(_, high, _)| high + 1);
            let begin = taps.weights.len();
            taps.bins.push((first, begin));
            taps.weights.resize(begin + last.saturating_sub(first), 0.0);
            let share = 1.0 / self.samples as f32;
            for (low, high, t) in samples() {
                taps.weights[begin + low - first] += (1.0 - t) * share;
                taps.weights[begin + high - first] += t * share;
            }
        }
        taps.bins.push((0, taps.weights.len()));
        taps
    }
}

impl Taps {
    fn of_nothing(bins: usize) -> Self {
        Self {
            bins: vec![(0, 0); bins + 1],
            weights: Vec::new(),
        }
    }

    /// The first place of a bin, and the weights from there on.
    fn of(&self, bin: usize) -> (usize, &[f32]) {
        let (first, begin) = self.bins[bin];
        (first, &self.weights[begin..self.bins[bin + 1].1])
    }

    /// The first place of each bin, and the weights from there on.
    pub fn all(&self) -> impl Iterator<Item = (usize, &[f32])> {
        (0..self.count()).map(|bin| self.of(bin))
    }

    fn count(&self) -> usize {
        self.bins.len() - 1
    }

    /// The places that any bin has something of.
    fn places(&self) -> std::ops::Range<usize> {
        let ranges = (0..self.count()).map(|bin| {
            let (first, weights) = self.of(bin);
            first..first + weights.len()
        });
        let ranges = ranges.filter(|range| !range.is_empty());
        let around = |a: std::ops::Range<usize>, b: std::ops::Range<usize>| {
            a.start.min(b.start)..a.end.max(b.end)
        };
        ranges.reduce(around).unwrap_or(0..0)
    }
}

/// A region on its level.
#[derive(Clone, Debug)]
pub struct Region {
    level: RoiLevel,
    down: Side,
    across: Side,
    how: Sampling,
    bbox: Xyxy,
}

/// An axis as samples, and for means as taps.
#[derive(Clone, Debug)]
struct Side {
    start: f32,
    bin: f32,
    samples: usize,
    taps: Taps,
}

impl Region {
    /// `bbox` in pixels of the batch.
    pub fn new(bbox: Xyxy, level: RoiLevel, how: Sampling) -> Self {
        let axis = |i: usize, size: usize, bins: usize| {
            let axis = Axis::new(bbox[i], bbox[i + 2], size, level.scale, bins, &how);
            Side {
                start: axis.start,
                bin: axis.bin,
                samples: axis.samples,
                taps: match how.bin {
                    Bin::Mean if size > 0 => axis.taps(bins),
                    _ => Taps::of_nothing(bins),
                },
            }
        };
        Self {
            level,
            down: axis(1, level.height, how.bins[0]),
            across: axis(0, level.width, how.bins[1]),
            how,
            bbox,
        }
    }

    /// What its bins have of the places down and across, where they are means.
    pub fn taps(&self) -> [&Taps; 2] {
        [&self.down.taps, &self.across.taps]
    }

    /// Writes the region of one channel, `[H, W]` of its level, to `out`, `[height, width]`.
    pub fn read(&self, plane: &[f32], out: &mut [f32]) {
        if self.how.bin == Bin::Mean {
            return self.mean(plane, out);
        }
        let columns = self.how.bins[1];
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.largest(plane, i / columns, i % columns).0;
        }
    }

    /// Adds to the gradient of one channel of the pyramid, `[P]`, what `gradient`, `[height, width]`, has for it; `plane` is the channel itself.
    pub fn add_gradient(&self, values: &[f32], gradient: &[f32], of_values: &mut [f32]) {
        let RoiLevel {
            first,
            height,
            width,
            ..
        } = self.level;
        let columns = self.how.bins[1];
        let plane = &values[first..first + height * width];
        let of_plane = &mut of_values[first..first + height * width];
        if self.how.bin != Bin::Mean {
            for (i, gradient) in gradient.iter().enumerate() {
                for (place, share) in self.largest(plane, i / columns, i % columns).1 {
                    of_plane[place] += share * gradient;
                }
            }
            return;
        }
        let (down, across) = (&self.down.taps, &self.across.taps);
        for (row, gradient) in gradient.chunks(columns).enumerate() {
            let (top, shares) = down.of(row);
            for (y, share) in shares.iter().enumerate() {
                let of_row = &mut of_plane[(top + y) * width..][..width];
                for (column, gradient) in gradient.iter().enumerate() {
                    let (left, weights) = across.of(column);
                    let factor = share * gradient;
                    let of_places = of_row[left..].iter_mut().zip(weights);
                    of_places.for_each(|(of, weight)| *of += factor * weight);
                }
            }
        }
    }

    /// The means of one channel's plane.
    fn mean(&self, plane: &[f32], out: &mut [f32]) {
        let width = self.level.width;
        let (down, across) = (&self.down.taps, &self.across.taps);
        let columns = across.count();
        let rows = down.places();
        let mut room = vec![0.0; rows.len() * columns];
        for (y, sums) in rows.clone().zip(room.chunks_mut(columns.max(1))) {
            let line = &plane[y * width..][..width];
            for (column, sum) in sums.iter_mut().enumerate() {
                let (left, weights) = across.of(column);
                let places = line[left..].iter().zip(weights);
                *sum = places.map(|(value, weight)| value * weight).sum();
            }
        }
        for (row, out) in out.chunks_mut(columns).enumerate() {
            let (top, weights) = down.of(row);
            out.fill(0.0);
            for (y, weight) in weights.iter().enumerate() {
                let sums = &room[(top + y - rows.start) * columns..][..columns];
                out.iter_mut().zip(sums).for_each(|(o, s)| *o += weight * s);
            }
        }
    }

    /// The largest sample of a bin, and the places that it is made of with their shares.
    fn largest(&self, plane: &[f32], row: usize, column: usize) -> (f32, Vec<(usize, f32)>) {
        if self.how.bin == Bin::Places {
            return self.largest_place(plane, row, column);
        }
        let width = self.level.width;
        let axis = |a: &Side, size| Axis {
            start: a.start,
            bin: a.bin,
            samples: a.samples,
            size,
        };
        let (down, across) = (
            axis(&self.down, self.level.height),
            axis(&self.across, width),
        );
        let mut best: (f32, Vec<(usize, f32)>) = (0.0, Vec::new());
        let mut any = false;
        for i in 0..down.samples {
            for j in 0..across.samples {
                let places = match (down.sample(row, i), across.sample(column, j)) {
                    (Some((y0, y1, t)), Some((x0, x1, u))) => vec![
                        (y0 * width + x0, (1.0 - t) * (1.0 - u)),
                        (y0 * width + x1, (1.0 - t) * u),
                        (y1 * width + x0, t * (1.0 - u)),
                        (y1 * width + x1, t * u),
                    ],
                    _ => Vec::new(),
                };
                let value = places
                    .iter()
                    .map(|(place, share)| plane[*place] * share)
                    .sum();
                if !any || value > best.0 {
                    best = (value, places);
                    any = true;
                }
            }
        }
        best
    }

    fn largest_place(&self, plane: &[f32], row: usize, column: usize) -> (f32, Vec<(usize, f32)>) {
        let (scale, width) = (self.level.scale, self.level.width);
        let range = |i: usize, bin: usize, bins: usize, size: usize| {
            let (low, high) = (self.bbox[i] * scale, (self.bbox[i + 2] + 1.0) * scale);
            if high <= low || low.is_nan() || high.is_nan() {
                return 0..0;
            }
            let each = (high - low) / bins as f32;
            let end = |bin: f32| bin * each + low;
            let clamp = |at: f32| at.clamp(0.0, size as f32) as usize;
            clamp(end(bin as f32).floor())..clamp(end(bin as f32 + 1.0).ceil())
        };
        let [rows, columns] = self.how.bins;
        let mut best = (0.0, Vec::new());
        for y in range(1, row, rows, self.level.height) {
            for x in range(0, column, columns, width) {
                let place = y * width + x;
                if best.1.is_empty() || plane[place] > best.0 {
                    best = (plane[place], vec![(place, 1.0)]);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::random::Random;

    const LEVEL: RoiLevel = RoiLevel {
        first: 3,
        height: 6,
        width: 8,
        scale: 0.5,
    };

    fn sampling(ratio: usize, aligned: bool, bin: Bin) -> Sampling {
        Sampling {
            bins: [2, 3],
            ratio,
            aligned,
            bin,
        }
    }

    /// The mean by its definition: every sample of every bin.
    fn plainly(plane: &[f32], bbox: Xyxy, level: RoiLevel, how: Sampling) -> Vec<f32> {
        let axis =
            |i: usize, size, bins| Axis::new(bbox[i], bbox[i + 2], size, level.scale, bins, &how);
        let [rows, columns] = how.bins;
        let (down, across) = (axis(1, level.height, rows), axis(0, level.width, columns));
        let mut out = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let mut sum = 0.0;
                for i in 0..down.samples {
                    for j in 0..across.samples {
                        let found = (down.sample(row, i), across.sample(column, j));
                        let (Some((y0, y1, t)), Some((x0, x1, u))) = found else {
                            continue;
                        };
                        let at = |y: usize, x: usize| plane[level.first + y * level.width + x];
                        sum += at(y0, x0) * (1.0 - t) * (1.0 - u)
                            + at(y0, x1) * (1.0 - t) * u
                            + at(y1, x0) * t * (1.0 - u)
                            + at(y1, x1) * t * u;
                    }
                }
                out.push(sum / (down.samples * across.samples).max(1) as f32);
            }
        }
        out
    }

    #[test]
    fn means_are_those_of_all_samples_and_gradients_their_transposes() {
        let mut random = Random::new(5);
        let mut number = |low: f32, high: f32| low + (high - low) * random.unit();
        let places = 3 + 6 * 8 + 2;
        for case in 0..200 {
            let plane: Vec<f32> = (0..places).map(|_| number(-1.0, 1.0)).collect();
            let (x, y) = (number(-6.0, 18.0), number(-6.0, 14.0));
            let bbox = [x, y, x + number(0.0, 14.0), y + number(0.0, 12.0)];
            let how = sampling(case % 4, case % 3 == 0, Bin::Mean);
            let region = Region::new(bbox, LEVEL, how);
            let mut out = vec![9.0; 6];
            region.read(&plane[3..51], &mut out);
            let expected = plainly(&plane, bbox, LEVEL, how);
            for (a, b) in out.iter().zip(&expected) {
                assert!(
                    (a - b).abs() < 1e-5,
                    "{bbox:?} {how:?} {out:?} {expected:?}"
                );
            }
            // <g, A x> = <A^T g, x>
            let gradient: Vec<f32> = (0..6).map(|_| number(-1.0, 1.0)).collect();
            let mut of_plane = vec![0.0; places];
            region.add_gradient(&plane, &gradient, &mut of_plane);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let (forth, back) = (dot(&gradient, &out), dot(&of_plane, &plane));
            assert!((forth - back).abs() < 1e-4, "{forth} {back}");
        }
    }

    #[test]
    fn largest_by_hand() {
        let plane: Vec<f32> = (0..51).map(|i| i as f32 - 3.0).collect();
        // Places 0 to 2 across and 0 to 1 down: one sample in the middle of each place.
        let read = |how: Sampling| {
            let mut out = vec![0.0; 6];
            Region::new([0.0, 0.0, 6.0, 4.0], LEVEL, how).read(&plane[3..], &mut out);
            out
        };
        let aligned = read(sampling(1, true, Bin::Largest));
        assert_eq!(aligned, [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]);
        // Half a place further each way.
        let old = read(sampling(1, false, Bin::Largest));
        assert_eq!(old, [4.5, 5.5, 6.5, 12.5, 13.5, 14.5]);
        // (0..7) / 2 in three bins, (0..5) / 2 in two: what a bin touches.
        let places = read(sampling(0, false, Bin::Places));
        assert_eq!(places, [9.0, 10.0, 11.0, 17.0, 18.0, 19.0]);
        let mut of_plane = vec![0.0; 51];
        let region = Region::new([0.0, 0.0, 6.0, 4.0], LEVEL, sampling(1, true, Bin::Largest));
        region.add_gradient(&plane, &[1.0; 6], &mut of_plane);
        assert_eq!(of_plane[3..6], [1.0; 3]);
        assert_eq!(of_plane[11..14], [1.0; 3]);
    }

    #[test]
    fn regions_choose_levels_by_their_size() {
        let of = |side: f32| level_of([10.0, 10.0, 10.0 + side, 10.0 + side], 56.0, 1e-6, 4);
        assert_eq!(
            [0.0, 100.0, 112.0, 223.0, 224.0, 448.0, 9e9].map(of),
            [0, 0, 1, 1, 2, 3, 3]
        );
        assert_eq!(
            level_of([0.0, 0.0, -4.0, 5.0], 56.0, 1e-6, 4),
            0,
            "not a number"
        );
    }
}
