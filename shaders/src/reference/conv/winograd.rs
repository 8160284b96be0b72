//! Twin of `conv/winograd_input.wgsl` and `winograd_output.wgsl`: F(4x4, 3x3) by its matrices (Lavin and Gray 2016, arXiv 1509.09308).

use super::{Added, activated};
use crate::records::WinogradRecord;

/// B', for pixels.
const INPUT: [[f64; 6]; 6] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];

/// A', for products.
const OUTPUT: [[f64; 6]; 4] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// G, for filters.
const FILTER: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// What a filter's nine taps add to each of the 36 numbers: `G g G'` as a matrix of 36 x 9.
pub fn filter() -> Vec<f32> {
    let entry = |i: usize| {
        let (at, tap) = (i / 9, i % 9);
        (FILTER[at / 6][tap / 3] * FILTER[at % 6][tap % 3]) as f32
    };
    (0..36 * 9).map(entry).collect()
}

/// `m v m'` of a square.
fn both_sides<const IN: usize, const OUT: usize>(
    m: &[[f64; IN]; OUT],
    v: &[[f64; IN]; IN],
) -> [[f64; OUT]; OUT] {
    let entry = |i: usize, j: usize| {
        let row = |k: usize| (0..IN).map(|l| v[k][l] * m[j][l]).sum::<f64>();
        (0..IN).map(|k| m[i][k] * row(k)).sum()
    };
    std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)))
}

/// Row and column of a tile's first pixel, and its picture.
fn corner(record: &WinogradRecord, i: u32) -> [usize; 3] {
    let [down, across] = record.tiles;
    let tile = record.first + i;
    let place = tile % (down * across);
    [
        place / across * 4,
        place % across * 4,
        tile / (down * across),
    ]
    .map(|n| n as usize)
}

/// Tiles `[36, count, C]` of x.
pub fn input(record: &WinogradRecord, x: &[f32]) -> Vec<f32> {
    let channels = record.channels as usize * 4;
    let count = record.count as usize;
    let mut made = vec![0.0; 36 * count * channels];
    for tile in 0..count {
        let [row, column, picture] = corner(record, tile as u32);
        for channel in 0..channels {
            let pixel = |i: usize, j: usize| {
                let inside = |axis: usize, at: usize| {
                    let at = at.checked_sub(record.padding[axis] as usize)?;
                    (at < record.size[axis] as usize).then_some(at)
                };
                let place = [picture, inside(0, row + i)?, inside(1, column + j)?];
                let at = |i: usize| place[i] * record.strides[i + 1] as usize;
                Some(f64::from(x[(at(0) + at(1) + at(2)) * 4 + channel]))
            };
            let pixels =
                std::array::from_fn(|i| std::array::from_fn(|j| pixel(i, j).unwrap_or_default()));
            for (i, v) in both_sides(&INPUT, &pixels)
                .as_flattened()
                .iter()
                .enumerate()
            {
                made[(i * count + tile) * channels + channel] = *v as f32;
            }
        }
    }
    made
}

/// Writes the pixels of products `[36, count, K]`.
pub fn output(record: &WinogradRecord, products: &[f32], added: Added, y: &mut [f32]) {
    let filters = record.channels as usize * 4;
    let count = record.count as usize;
    let [height, width] = record.size_out.map(|n| n as usize);
    for tile in 0..count {
        let [row, column, picture] = corner(record, tile as u32);
        for filter in 0..filters {
            let product = |i: usize, j: usize| {
                f64::from(products[((i * 6 + j) * count + tile) * filters + filter])
            };
            let v = std::array::from_fn(|i| std::array::from_fn(|j| product(i, j)));
            let made = both_sides(&OUTPUT, &v);
            for (i, line) in made.iter().enumerate().take(height - row) {
                for (j, sum) in line.iter().enumerate().take(width - column) {
                    let pixel = (picture * height + row + i) * width + column + j;
                    let at = pixel * filters + filter;
                    let v = sum + added.of(filter, at);
                    y[at] = activated(v, record.act, record.act_by) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_copies() {
        // A picture of 5x6 with one channel, which the filter shifts by a pixel to the left.
        let size = [5u32, 6];
        let record = WinogradRecord {
            strides: [0, 30, 6, 1],
            size,
            size_out: size,
            padding: [1; 2],
            tiles: [2, 2],
            count: 4,
            channels: 1,
            ..bytemuck::Zeroable::zeroed()
        };
        let x: Vec<f32> = (0..30).flat_map(|i| [i as f32, 0.0, 0.0, 0.0]).collect();
        let mut taps = [0.0; 9];
        taps[5] = 1.0;
        let by_tap = filter();
        let weight = |i: usize| (0..9).map(|t| by_tap[i * 9 + t] * taps[t]).sum::<f32>();
        let tiles = input(&record, &x);
        let products: Vec<f32> = (0..tiles.len())
            .map(|at| tiles[at] * weight(at / 16))
            .collect();
        let mut y = vec![0.0; 30 * 4];
        output(&record, &products, Added::default(), &mut y);
        for (i, v) in y.iter().step_by(4).enumerate() {
            let expected = if i % 6 == 5 { 0.0 } else { (i + 1) as f32 };
            assert!((v - expected).abs() < 1e-4, "{i}: {v}");
        }
    }
}
