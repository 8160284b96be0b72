//! Regions on the processor: means are `smalti-cpu`'s, 16 channels at a time; the largest of samples is read region by region, and gradients are
//! added up channel by channel.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use rayon::prelude::*;
use smalti_cpu::{Map, Regions};
use smalti_shaders::reference::roi_align::{Region, Taps, level_of};

use super::{Bin, Choice, Reading};
use crate::ops::conv::cpu::{in_order, slice, tensor};

/// Where a region is.
struct Place {
    picture: usize,
    level: usize,
    region: Region,
}

/// The regions, each with its place.
fn regions(regions: &FloatTensor<Flex>, pictures: usize, reading: &Reading) -> Vec<Place> {
    let rows = slice(regions).par_chunks_exact(5);
    let place = |row: &[f32]| {
        let bbox = [row[1], row[2], row[3], row[4]];
        let level = match reading.choice {
            Choice::BySize { finest, epsilon } => {
                level_of(bbox, finest, epsilon, reading.levels.len())
            }
            Choice::Level(level) => level,
        };
        Place {
            picture: (row[0] as usize).min(pictures - 1),
            level,
            region: Region::new(bbox, reading.levels[level], reading.sampling),
        }
    };
    rows.map(place).collect()
}

/// From a pyramid, `[N, C, P]`.
pub(super) fn read(
    pyramid: FloatTensor<Flex>,
    of: FloatTensor<Flex>,
    reading: &Reading,
) -> FloatTensor<Flex> {
    let [pictures, channels, places] = pyramid.shape().dims();
    let pyramid = in_order(pyramid);
    let maps = reading.levels.iter().map(|level| Map {
        values: slice(&pyramid),
        plane: places,
        first: level.first,
        size: [level.height, level.width],
    });
    read_maps(&maps.collect::<Vec<_>>(), [pictures, channels], of, reading)
}

/// From maps of `[pictures, channels]`.
pub(super) fn read_maps(
    maps: &[Map],
    [pictures, channels]: [usize; 2],
    of: FloatTensor<Flex>,
    reading: &Reading,
) -> FloatTensor<Flex> {
    let [rows, columns] = reading.sampling.bins;
    let places = regions(&in_order(of), pictures, reading);
    let each = channels * rows * columns;
    let mut made = vec![0.0; places.len() * each];
    if reading.sampling.bin == Bin::Mean {
        let taps = |taps: &Taps| {
            let mut all = smalti_cpu::Taps::with_capacity(rows.max(columns));
            taps.all()
                .for_each(|(first, weights)| all.push(first, weights));
            all
        };
        let regions = places.iter().map(|place| {
            let [down, across] = place.region.taps().map(taps);
            smalti_cpu::Region {
                picture: place.picture,
                map: place.level,
                down,
                across,
            }
        });
        let regions = Regions {
            maps,
            channels,
            regions: &regions.collect::<Vec<_>>(),
        };
        regions.means(&mut made);
    } else {
        let outputs = made.par_chunks_exact_mut(each).zip(&places);
        outputs.for_each(|(out, place)| {
            let map = &maps[place.level];
            let planes = place.picture * channels..(place.picture + 1) * channels;
            for (plane, out) in planes.zip(out.chunks_exact_mut(rows * columns)) {
                let [height, width] = map.size;
                let plane = &map.values[plane * map.plane + map.first..][..height * width];
                place.region.read(plane, out);
            }
        });
    }
    tensor(made, [places.len(), channels, rows, columns])
}

pub(super) fn gradient(
    pyramid: FloatTensor<Flex>,
    of: FloatTensor<Flex>,
    gradient: FloatTensor<Flex>,
    reading: &Reading,
) -> FloatTensor<Flex> {
    let [pictures, channels, places] = pyramid.shape().dims();
    let [pyramid, of, gradient] = [pyramid, of, gradient].map(in_order);
    let [rows, columns] = reading.sampling.bins;
    let regions = regions(&of, pictures, reading);
    let (values, gradients) = (slice(&pyramid), slice(&gradient));
    let mut made = vec![0.0; values.len()];
    let planes = made.par_chunks_exact_mut(places).enumerate();
    planes.for_each(|(i, of_plane)| {
        let (picture, channel) = (i / channels, i % channels);
        let plane = &values[i * places..][..places];
        let of_picture = regions.iter().enumerate();
        for (r, place) in of_picture.filter(|(_, place)| place.picture == picture) {
            let at = (r * channels + channel) * rows * columns;
            let gradient = &gradients[at..][..rows * columns];
            place.region.add_gradient(plane, gradient, of_plane);
        }
    });
    tensor(made, [pictures, channels, places])
}
