//! [`Regions`]: means of parts of maps, as RoIAlign's bins are: a weighted mean of places down of weighted means of places across.
//!
//! 16 channels lie side by side in every loop. A map is turned so, 16 channels of it at a time, for all its regions together, or only the part
//! that a region sees where its regions are few.
//!
//! Shapes: a map `[N, C, H, W]`, result `[R, C, bins down, bins across]`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::Instructions;
use crate::product::Rows;

/// Channels side by side.
const LANES: usize = 16;
type Lanes = [f32; LANES];

/// One map of several.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// What it is part of; channel c of picture n begins at `(n * C + c) * plane + first`.
    pub values: &'a [f32],
    /// See `values`.
    pub plane: usize,
    /// See `values`.
    pub first: usize,
    /// H and W.
    pub size: [usize; 2],
}

/// What the bins along one axis have of the places: a run of weights for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taps {
    /// For each bin its first place, and where its weights begin; one more entry for their end.
    bins: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl Taps {
    /// Room for these bins, none of which has anything yet.
    pub fn with_capacity(bins: usize) -> Self {
        let mut taps = Self {
            bins: Vec::with_capacity(bins + 1),
            weights: Vec::new(),
        };
        taps.bins.push((0, 0));
        taps
    }

    /// One more bin: the weights of the places from `first` on.
    pub fn push(&mut self, first: usize, weights: &[f32]) {
        self.weights.extend_from_slice(weights);
        let end = self.bins.len() - 1;
        self.bins[end].0 = first;
        self.bins.push((0, self.weights.len()));
    }

    #[inline(always)]
    fn of(&self, bin: usize) -> (usize, &[f32]) {
        let (first, begin) = self.bins[bin];
        (first, &self.weights[begin..self.bins[bin + 1].1])
    }

    fn count(&self) -> usize {
        self.bins.len() - 1
    }

    /// The places that any bin has something of.
    fn places(&self) -> Range<usize> {
        let (mut low, mut high) = (usize::MAX, 0);
        for bin in 0..self.count() {
            let (first, weights) = self.of(bin);
            if !weights.is_empty() {
                (low, high) = (low.min(first), high.max(first + weights.len()));
            }
        }
        low.min(high)..high
    }
}

/// What is read.
#[derive(Clone, Debug)]
pub struct Region {
    /// Of which picture.
    pub picture: usize,
    /// Of which map.
    pub map: usize,
    /// Bins down.
    pub down: Taps,
    /// Bins across.
    pub across: Taps,
}

/// Regions of maps.
#[derive(Clone, Copy, Debug)]
pub struct Regions<'a> {
    /// All of as many pictures and channels.
    pub maps: &'a [Map<'a>],
    /// C.
    pub channels: usize,
    /// R, all of as many bins.
    pub regions: &'a [Region],
}

impl Regions<'_> {
    /// Writes the means.
    ///
    /// # Panics
    /// If a region lies beyond its map, or `y` has another size.
    pub fn means(&self, y: &mut [f32]) {
        self.means_with(y, Instructions::widest());
    }

    /// As [`Self::means`], computed with these instructions.
    ///
    /// # Panics
    /// As [`Self::means`].
    pub fn means_with(&self, y: &mut [f32], instructions: Instructions) {
        let Some(one) = self.regions.first() else {
            return;
        };
        let each = one.down.count() * one.across.count();
        assert_eq!(
            y.len(),
            self.regions.len() * self.channels * each,
            "y is [R, C, bins]"
        );
        let work = self.work();
        let y = Rows::new(y, each);
        let chunks = (0..self.channels).into_par_iter().step_by(LANES);
        chunks.for_each_init(Room::default, |room, first| {
            let channels = first..(first + LANES).min(self.channels);
            for part in &work {
                instructions.0.dispatch(Chunk {
                    of: self,
                    part,
                    channels: channels.clone(),
                    room,
                    y,
                    each,
                });
            }
        });
    }

    /// The regions of each picture's map.
    fn work(&self) -> Vec<Part> {
        let mut all: Vec<Part> = Vec::new();
        let mut order: Vec<usize> = (0..self.regions.len()).collect();
        let place = |r: &usize| (self.regions[*r].picture, self.regions[*r].map);
        order.sort_by_key(place);
        for regions in order.chunk_by(|a, b| place(a) == place(b)) {
            let seen = |r: &usize| {
                let region = &self.regions[*r];
                region.down.places().len() * region.across.places().len()
            };
            let (picture, map) = place(&regions[0]);
            let [height, width] = self.maps[map].size;
            let whole = regions.iter().map(seen).sum::<usize>() > height * width;
            all.push(Part {
                picture,
                map,
                whole,
                regions: regions.to_vec(),
            });
        }
        all
    }
}

/// Regions of one picture's map.
struct Part {
    picture: usize,
    map: usize,
    /// They see so much of it that all of it is turned at once.
    whole: bool,
    regions: Vec<usize>,
}

/// Kept from one part to the next.
#[derive(Default)]
struct Room {
    turned: Vec<Lanes>,
    sums: Vec<Lanes>,
    means: Vec<Lanes>,
}

/// A part, 16 channels of it.
struct Chunk<'a> {
    of: &'a Regions<'a>,
    part: &'a Part,
    channels: Range<usize>,
    room: &'a mut Room,
    y: Rows,
    /// Bins of a region.
    each: usize,
}

impl WithSimd for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let map = &self.of.maps[self.part.map];
        let Room {
            turned,
            sums,
            means,
        } = self.room;
        let planes: [&[f32]; LANES] = std::array::from_fn(|i| {
            // The last channel stands for those that are not there.
            let channel = (self.channels.start + i).min(self.channels.end - 1);
            let at = (self.part.picture * self.of.channels + channel) * map.plane + map.first;
            &map.values[at..][..map.size[0] * map.size[1]]
        });
        let width = map.size[1];
        let all = [0..map.size[0], 0..width];
        if self.part.whole {
            turn(&planes, width, &all, turned);
        }
        for &r in &self.part.regions {
            let region = &self.of.regions[r];
            let seen = [region.down.places(), region.across.places()];
            let window = match self.part.whole {
                true => &all,
                false => {
                    turn(&planes, width, &seen, turned);
                    &seen
                }
            };
            mean(turned, window, region, seen[0].clone(), sums, means);
            for (i, channel) in self.channels.clone().enumerate() {
                // SAFETY: no other task has these channels, and no other region of this one has this row.
                let y = unsafe { self.y.row(r * self.of.channels + channel, 0..self.each) };
                for (y, mean) in y.iter_mut().zip(means.iter()) {
                    *y = mean[i];
                }
            }
        }
    }
}

/// A window of 16 planes, place by place.
#[inline(always)]
fn turn(
    planes: &[&[f32]; LANES],
    width: usize,
    [down, across]: &[Range<usize>; 2],
    turned: &mut Vec<Lanes>,
) {
    turned.clear();
    turned.resize(down.len() * across.len(), [0.0; LANES]);
    if across.is_empty() {
        return;
    }
    for (y, line) in down.clone().zip(turned.chunks_exact_mut(across.len())) {
        let lines = planes.map(|plane| &plane[y * width..][across.clone()]);
        let mut x = 0;
        for block in line.chunks_mut(LANES) {
            for (i, line) in lines.iter().enumerate() {
                for (to, from) in block.iter_mut().zip(&line[x..]) {
                    to[i] = *from;
                }
            }
            x += LANES;
        }
    }
}

/// The means of a region, from what is turned of the window; `rows` are those that it sees.
#[inline(always)]
fn mean(
    turned: &[Lanes],
    [down, across]: &[Range<usize>; 2],
    region: &Region,
    rows: Range<usize>,
    sums: &mut Vec<Lanes>,
    means: &mut Vec<Lanes>,
) {
    let columns = region.across.count();
    sums.clear();
    sums.resize(rows.len() * columns, [0.0; LANES]);
    for (y, sums) in rows.clone().zip(sums.chunks_exact_mut(columns)) {
        let line = &turned[(y - down.start) * across.len()..][..across.len()];
        for (column, sum) in sums.iter_mut().enumerate() {
            let (left, weights) = region.across.of(column);
            let Some(left) = left
                .checked_sub(across.start)
                .filter(|_| !weights.is_empty())
            else {
                continue;
            };
            *sum = weighted(&line[left..][..weights.len()], weights);
        }
    }
    means.clear();
    for row in 0..region.down.count() {
        let (top, weights) = region.down.of(row);
        for column in 0..columns {
            let mut mean = [0.0; LANES];
            for (y, weight) in weights.iter().enumerate() {
                let sums = &sums[(top + y - rows.start) * columns + column];
                for (mean, sum) in mean.iter_mut().zip(sums) {
                    *mean += weight * sum;
                }
            }
            means.push(mean);
        }
    }
}

/// A weighted sum of places.
#[inline(always)]
fn weighted(places: &[Lanes], weights: &[f32]) -> Lanes {
    let mut sum = [0.0; LANES];
    for (place, weight) in places.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(place) {
            *sum += value * weight;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::random;

    /// Bins along an axis of `size` places; the last of more than one has nothing.
    fn taps(bins: usize, size: usize, seed: u32) -> Taps {
        let mut taps = Taps::with_capacity(bins);
        let ends = random(2 * bins, seed);
        for (bin, ends) in ends.chunks(2).enumerate() {
            let [a, b] = [ends[0], ends[1]].map(|n| ((n + 1.0) / 2.0 * size as f32) as usize);
            let places = match bin > 0 && bin + 1 == bins {
                true => 0..0,
                false => a.min(b).min(size - 1)..a.max(b).min(size - 1) + 1,
            };
            taps.push(places.start, &random(places.len(), seed + bin as u32));
        }
        taps
    }

    #[test]
    fn means_are_the_sums_of_all_weights_and_places() {
        let (pictures, sizes) = (2, [[9, 21], [4, 3]]);
        for (channels, bins, count) in [(16, [7, 7], 40), (5, [2, 3], 3), (33, [1, 4], 1)] {
            let plane: usize = sizes.iter().map(|[h, w]| h * w).sum();
            let together = random(pictures * channels * plane, 1);
            let maps = [0, 1].map(|i| Map {
                values: &together,
                plane,
                first: i * sizes[0][0] * sizes[0][1],
                size: sizes[i],
            });
            let regions: Vec<Region> = (0..count)
                .map(|i| {
                    let map = usize::from(i % 3 == 0);
                    let [h, w] = sizes[map];
                    let seed = 10 * i as u32;
                    Region {
                        picture: i % pictures,
                        map,
                        down: taps(bins[0], h, seed + 3),
                        across: taps(bins[1], w, seed + 5),
                    }
                })
                .collect();
            let of = Regions {
                maps: &maps,
                channels,
                regions: &regions,
            };
            let each = bins[0] * bins[1];
            for instructions in Instructions::all() {
                let mut y = vec![f32::NAN; count * channels * each];
                of.means_with(&mut y, instructions);
                for (at, found) in y.iter().enumerate() {
                    let (bin, channel) = (at % each, at / each % channels);
                    let region = &regions[at / each / channels];
                    let map = maps[region.map];
                    let of_channel = (region.picture * channels + channel) * plane + map.first;
                    let (top, down) = region.down.of(bin / bins[1]);
                    let (left, across) = region.across.of(bin % bins[1]);
                    let mut sum = 0.0;
                    for (y, a) in down.iter().enumerate() {
                        for (x, b) in across.iter().enumerate() {
                            let place = (top + y) * map.size[1] + left + x;
                            sum += f64::from(a * b) * f64::from(together[of_channel + place]);
                        }
                    }
                    assert!(
                        (f64::from(*found) - sum).abs() < 1e-5,
                        "{at}: {found}, not {sum}"
                    );
                }
            }
        }
    }
}
