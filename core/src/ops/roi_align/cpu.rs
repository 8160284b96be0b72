//! Regions on the processor: each is read by a thread, gradients are added up channel by channel.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use rayon::prelude::*;
use smalti_shaders::reference::roi_align::{Region, level_of};

use super::{Choice, Reading};
use crate::ops::conv::cpu::{in_order, slice, tensor};

/// The regions, each with its picture.
fn regions(
    regions: &FloatTensor<Flex>,
    pictures: usize,
    reading: &Reading,
) -> Vec<(usize, Region)> {
    let rows = slice(regions).par_chunks_exact(5);
    let region = |row: &[f32]| {
        let bbox = [row[1], row[2], row[3], row[4]];
        let level = match reading.choice {
            Choice::BySize { finest, epsilon } => {
                level_of(bbox, finest, epsilon, reading.levels.len())
            }
            Choice::Level(level) => level,
        };
        let picture = (row[0] as usize).min(pictures - 1);
        let region = Region::new(bbox, reading.levels[level], reading.sampling);
        (picture, region)
    };
    rows.map(region).collect()
}

pub(super) fn read(
    pyramid: FloatTensor<Flex>,
    of: FloatTensor<Flex>,
    reading: &Reading,
) -> FloatTensor<Flex> {
    let [pictures, channels, places] = pyramid.shape().dims();
    let [pyramid, of] = [pyramid, of].map(in_order);
    let [rows, columns] = reading.sampling.bins;
    let regions = regions(&of, pictures, reading);
    let each = channels * rows * columns;
    let mut made = vec![0.0; regions.len() * each];
    let values = slice(&pyramid);
    let outputs = made.par_chunks_exact_mut(each).zip(&regions);
    outputs.for_each(|(out, (picture, region))| {
        let of_picture = &values[picture * channels * places..][..channels * places];
        region.read(of_picture, places, out);
    });
    tensor(made, [regions.len(), channels, rows, columns])
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
        for (r, (_, region)) in of_picture.filter(|(_, (p, _))| *p == picture) {
            let at = (r * channels + channel) * rows * columns;
            region.add_gradient(plane, &gradients[at..][..rows * columns], of_plane);
        }
    });
    tensor(made, [pictures, channels, places])
}
