//! [`Implicit`]: convolution of any shape as a product of matrices of which one, the pixels under the taps, is made a panel at a time
//! ([`Gather`]; Chetlur et al. 2014, arXiv 1410.0759, section 3.1). For a 1x1 filter of stride 1 the panel is a copy of pixels as they lie.
//!
//! Memory: [`ROOM`] for each thread.

use std::cell::Cell;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::gather::{self, Gather};
use crate::product::{Begin, Buffer, Packed, Rows, Tile, multiply, parts};
use crate::{Finish, Instructions, Picture, Shape};

/// Weights of a convolution, packed once.
#[derive(Debug)]
pub(crate) struct Implicit {
    /// Of each group.
    weights: Vec<Packed>,
    shape: Shape,
    instructions: Instructions,
}

/// A part of the output, for one thread.
struct Part<'a> {
    gather: Gather<'a>,
    weights: &'a Packed,
    /// First output channel of the group.
    first: usize,
    /// Groups of output channels.
    groups: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    finish: Finish<'a>,
    y: Rows,
}

impl Implicit {
    /// `weight` is `[K, C / groups, KH, KW]`.
    pub fn new(weight: &[f32], shape: Shape, instructions: Instructions) -> Self {
        let (rows, depth) = (shape.filters(), shape.depth());
        let tile = instructions.tile();
        let weights = (0..shape.groups)
            .map(|group| {
                let weight = &weight[group * rows * depth..][..rows * depth];
                Packed::new(tile, rows, depth, |row, d| weight[row * depth + d])
            })
            .collect();
        Self {
            weights,
            shape,
            instructions,
        }
    }

    /// Convolves a picture into the planes of `y`, all of which it writes.
    pub fn run(&self, x: Picture, finish: Finish, y: Rows) {
        let Some([height, width]) = self.shape.size_out(x.size, x.padding) else {
            return;
        };
        let plane = height * width;
        let parts = self.split(plane);
        parts.into_par_iter().for_each(|(group, groups, columns)| {
            let mut room = KEPT.take();
            let gather = Gather::new(&x, &self.shape, group).expect("something comes out");
            let part = Part {
                gather,
                weights: &self.weights[group],
                first: group * self.shape.filters(),
                groups,
                columns,
                finish,
                y,
            };
            self.instructions.0.dispatch(Run(part, &mut room));
            KEPT.set(room);
        });
    }

    /// Parts of the output for all threads: by pixels, and where these are few by channels too, whose panels are then made twice.
    fn split(&self, plane: usize) -> Vec<(usize, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let wanted = match rayon::current_num_threads() {
            1 => 1,
            threads => 4 * threads,
        };
        let groups = self.weights.first().map_or(0, Packed::groups);
        let width = self.instructions.tile().width();
        let panels = plane.div_ceil(width);
        let by_pixels = wanted.div_ceil(self.shape.groups).min(panels);
        let by_channels = wanted
            .div_ceil(self.shape.groups * by_pixels)
            .min(groups.div_ceil(2))
            .max(1);
        let each = panels.div_ceil(by_pixels.max(1)).max(1) * width;
        let channels = groups.div_ceil(by_channels).max(1);
        let mut parts = Vec::new();
        for group in 0..self.shape.groups {
            for from in (0..plane).step_by(each) {
                for first in (0..groups).step_by(channels) {
                    parts.push((
                        group,
                        first..(first + channels).min(groups),
                        from..(from + each).min(plane),
                    ));
                }
            }
        }
        parts
    }
}

/// Bytes of the panels that are gathered together, about: they stay in a core's cache.
const ROOM: usize = 256 << 10;

/// And at most so many, for filters of little depth.
const PANELS: usize = 16;

thread_local! {
    static KEPT: Cell<Room> = Cell::default();
}

/// Room of a thread, kept.
#[derive(Default)]
struct Room {
    pixels: Buffer,
    runs: Vec<gather::Run>,
}

struct Run<'a, 'b>(Part<'a>, &'b mut Room);

impl WithSimd for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Run(part, room) = self;
        let tile = Tile::of::<S>();
        let (width, depth) = (tile.width(), part.weights.depth);
        let deepest = parts(depth).map(|rows| rows.len()).max().unwrap_or(1);
        let each = (ROOM / (4 * deepest * width)).clamp(1, PANELS) * width;
        for from in part.columns.clone().step_by(each) {
            let columns = from..(from + each).min(part.columns.end);
            part.gather.runs(columns.clone(), width, &mut room.runs);
            for rows in parts(depth) {
                let panel = rows.len() * width;
                // The last panel has as many vectors as it needs.
                let wide = |at: usize| tile.vectors_of(width.min(columns.len() - at)) * tile.lanes;
                let pixels = room.pixels.get(columns.len().div_ceil(width) * panel);
                part.gather
                    .fill(rows.clone(), &room.runs, pixels, width, |column, row| {
                        let inside = column % width;
                        column / width * panel + row * wide(column - inside) + inside
                    });
                let begin = match (rows.start, part.finish.bias) {
                    (0, Some(bias)) => Begin::Bias(bias),
                    (0, None) => Begin::Zero,
                    _ => Begin::Sums,
                };
                let panels = columns.len().div_ceil(width);
                // Neighbouring pixels of a channel are written together: channels are far apart in memory.
                for j in 0..panels * part.groups.len() {
                    let (group, i) = (part.groups.start + j / panels, j % panels);
                    let weights = part.weights.part(group, &rows);
                    let channels = part.weights.rows_of(group);
                    let channels = part.first + channels.start..part.first + channels.end;
                    let at = i * width;
                    let pixels = &pixels[i * panel..][..rows.len() * wide(at)];
                    let columns = from + at..(from + at + width).min(columns.end);
                    // SAFETY: y is borrowed by `Filters::write`, no two parts share a channel's pixel, and sums follow on others.
                    unsafe {
                        multiply(
                            simd,
                            pixels,
                            weights,
                            begin,
                            part.y,
                            channels.clone(),
                            columns.clone(),
                        );
                    }
                    if rows.end == depth {
                        for channel in channels {
                            // SAFETY: as above; it was just written.
                            let row = unsafe { part.y.row(channel, columns.clone()) };
                            let at = channel * part.gather.columns() + columns.start;
                            part.finish.row(row, at);
                        }
                    }
                }
            }
        }
    }
}
