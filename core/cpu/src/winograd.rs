//! [`Winograd`]: 3x3 convolution with stride 1 by F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308): 36 products for 16 pixels, where the plain
//! way has 144. Its sums are of larger numbers, so that its error is some ten times that of the plain way: 1e-5 of the largest value.
//!
//! Shapes: x `[N, C, H, W]`, y `[N, K, H', W']`; tiles are counted through all pictures. A block of tiles is transformed to `[36][panel][C][width]`, multiplied by the weights
//! `[group][36][C][rows]`, and the products of a group of channels, `[rows][36][tiles]`, are transformed back at once: memory is that of a
//! block, whatever the picture.

use std::cell::Cell;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::product::{Begin, Buffer, Rows, Tile, multiply};
use crate::tiles::{IN, OUT, PRODUCTS, Scratch, filter, input_row, line_len, output_row};
use crate::{Finish, Instructions, Picture, Shape};

/// Bytes of a thread's block, transformed tiles and products, about: weights are read once for each block, tiles once for each
/// [`GROUPS`]. Measured from 2 to 7 MiB, with 2 MiB of second cache.
const BLOCK: usize = 5 << 20;

/// Bytes of a block that all threads share, about.
const SHARED: usize = 8 << 20;

/// Groups of output channels whose products are made at a time.
const GROUPS: usize = 8;

/// Tiles from which on the plain way is slower.
const LEAST_TILES: usize = 20;

/// Weights of a convolution, transformed once.
#[derive(Debug)]
pub(crate) struct Winograd {
    /// `[group][36][C][rows]`.
    weights: Buffer,
    shape: Shape,
    tile: Tile,
    instructions: Instructions,
}

/// Tiles next to each other in a row of tiles.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Counted through all pictures.
    row: usize,
    first: usize,
    tiles: usize,
    /// Its first place in the block.
    at: usize,
}

/// A convolution under way.
struct Job<'a> {
    filters: &'a Winograd,
    x: Picture<'a>,
    out: [usize; 2],
    finish: Finish<'a>,
    y: Rows,
}

/// Some tiles of the pictures.
struct Block {
    tiles: usize,
    runs: Vec<Run>,
    /// The same, none of them in two panels.
    cut: Vec<Run>,
    /// Floats of a panel with all vectors.
    panel: usize,
    /// Floats between the products of transformed tiles.
    step: usize,
}

thread_local! {
    /// Kept: large memory that is given back is cleared by the system before it is used again, which takes a tenth of the time.
    static ROOM: Cell<Room> = Cell::default();
    static SHARED_ROOM: Cell<Buffer> = Cell::default();
}

/// Room of a thread.
#[derive(Default)]
struct Room {
    transformed: Buffer,
    products: Buffer,
    lines: Vec<f32>,
    scratch: Scratch,
}

impl Winograd {
    /// Whether it is faster than the plain way for pictures of this size: there are enough tiles, and at most half the products, which there
    /// are not where most of a tile is beyond the edges.
    pub fn pays(out: [usize; 2], pictures: usize) -> bool {
        let tiles = tiles_of(out);
        pictures * tiles >= LEAST_TILES && 2 * PRODUCTS * tiles <= 9 * out[0] * out[1]
    }

    /// `weight` is `[K, C, 3, 3]`.
    pub fn new(weight: &[f32], shape: Shape, instructions: Instructions) -> Self {
        let tile = instructions.tile();
        let (channels, rows) = (shape.channels_in, tile.rows);
        let each = PRODUCTS * channels * rows;
        let mut weights = Buffer::default();
        let groups = weights.get(shape.channels_out.div_ceil(rows) * each);
        let groups = groups.par_chunks_exact_mut(each.max(1)).enumerate();
        groups.for_each_init(Vec::new, |taps, (group, to)| {
            let pairs = channels * rows;
            taps.clear();
            taps.resize(9 * pairs, 0.0);
            let filters = weight[group * rows * channels * 9..].chunks_exact(channels * 9);
            for (n, filter) in filters.take(rows).enumerate() {
                for (c, g) in filter.chunks_exact(9).enumerate() {
                    for (t, value) in g.iter().enumerate() {
                        taps[t * pairs + c * rows + n] = *value;
                    }
                }
            }
            instructions.0.dispatch(|| {
                for (i, to) in to.chunks_exact_mut(pairs).enumerate() {
                    filter(i, taps, to);
                }
            });
        });
        Self {
            weights,
            shape,
            tile,
            instructions,
        }
    }

    /// Groups of output channels.
    fn groups(&self) -> usize {
        self.shape.channels_out.div_ceil(self.tile.rows)
    }

    /// Convolves pictures into the planes of `y`, all of which it writes.
    pub fn run(&self, pictures: usize, x: Picture, finish: Finish, y: Rows) {
        let Some(out) = self.shape.size_out(x.size, x.padding) else {
            return;
        };
        let job = Job {
            filters: self,
            x,
            out,
            finish,
            y,
        };
        let tiles = pictures * tiles_of(out);
        let threads = rayon::current_num_threads();
        let own = self.block(BLOCK, tiles);
        if threads == 1 || tiles >= 4 * threads * own {
            let blocks = (0..tiles.div_ceil(own)).into_par_iter();
            blocks.for_each(|i| {
                let block = self.at(i * own, own.min(tiles - i * own), out);
                let mut room = ROOM.take();
                self.instructions.0.dispatch(Whole(&job, &block, &mut room));
                ROOM.set(room);
            });
            return;
        }
        // Few tiles: the threads take channels of the same block.
        let shared = self.block(SHARED, tiles);
        let mut transformed = SHARED_ROOM.take();
        for start in (0..tiles).step_by(shared) {
            let block = self.at(start, shared.min(tiles - start), out);
            let floats = transformed.get(PRODUCTS * block.step);
            let to = Rows::new(floats, block.step);
            let channels = tasks(self.shape.channels_in, 4 * threads);
            channels.for_each(|channels| {
                let mut room = ROOM.take();
                self.instructions.0.dispatch(Inputs {
                    job: &job,
                    block: &block,
                    channels,
                    to,
                    room: &mut room,
                });
                ROOM.set(room);
            });
            let transformed = transformed.read(PRODUCTS * block.step);
            let groups = tasks(self.groups(), 4 * threads);
            groups.for_each(|groups| {
                let mut room = ROOM.take();
                self.instructions.0.dispatch(Outputs {
                    job: &job,
                    block: &block,
                    groups,
                    transformed,
                    room: &mut room,
                });
                ROOM.set(room);
            });
        }
        SHARED_ROOM.set(transformed);
    }

    /// Tiles of a block of about so many bytes: whole panels.
    fn block(&self, bytes: usize, tiles: usize) -> usize {
        let width = self.tile.width();
        let channels = self.shape.channels_in + GROUPS * self.tile.rows;
        let panel = 4 * PRODUCTS * channels * width;
        let most = tiles.div_ceil(width);
        // Panels in even numbers of blocks, so that the last is no small rest.
        let panels = (bytes / panel).clamp(1, most);
        most.div_ceil(most.div_ceil(panels)) * width
    }

    fn at(&self, start: usize, count: usize, out: [usize; 2]) -> Block {
        let width = self.tile.width();
        let panel = width * self.shape.channels_in;
        let runs = runs(start, count, out[1].div_ceil(OUT));
        let cut = runs.iter().flat_map(|run| cut(*run, width)).collect();
        Block {
            tiles: count,
            runs,
            cut,
            panel,
            // A line more: a power of two would put all products into the same few lines of a cache.
            step: count.div_ceil(width) * panel + 16,
        }
    }
}

/// Tiles of a picture.
fn tiles_of(out: [usize; 2]) -> usize {
    out[0].div_ceil(OUT) * out[1].div_ceil(OUT)
}

/// About `wanted` parts of `0..n`.
fn tasks(n: usize, wanted: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    let each = n.div_ceil(wanted).max(1);
    let parts = (0..n.div_ceil(each)).into_par_iter();
    parts.map(move |i| i * each..((i + 1) * each).min(n))
}

/// The tiles from `start` on, by rows of tiles.
fn runs(start: usize, count: usize, across: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < count {
        let (row, first) = ((start + at) / across, (start + at) % across);
        let tiles = (across - first).min(count - at);
        runs.push(Run {
            row,
            first,
            tiles,
            at,
        });
        at += tiles;
    }
    runs
}

/// The parts of a run in each panel.
fn cut(run: Run, width: usize) -> impl Iterator<Item = Run> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = run.at + done;
        let tiles = (run.tiles - done).min(width - at % width);
        let part = Run {
            first: run.first + done,
            tiles,
            at,
            ..run
        };
        done += tiles;
        (tiles > 0).then_some(part)
    })
}

impl Block {
    /// Floats of a channel in the panel that begins at a tile.
    #[inline(always)]
    fn width(&self, tile: Tile, begin: usize) -> usize {
        tile.vectors_of(tile.width().min(self.tiles - begin)) * tile.lanes
    }
}

/// A block by one thread.
struct Whole<'a>(&'a Job<'a>, &'a Block, &'a mut Room);

impl WithSimd for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(job, block, room) = self;
        let mut transformed = std::mem::take(&mut room.transformed);
        let to = Rows::new(transformed.get(PRODUCTS * block.step), block.step);
        let inputs = Inputs {
            job,
            block,
            channels: 0..job.filters.shape.channels_in,
            to,
            room,
        };
        inputs.with_simd(simd);
        let outputs = Outputs {
            job,
            block,
            groups: 0..job.filters.groups(),
            transformed: transformed.read(PRODUCTS * block.step),
            room,
        };
        outputs.with_simd(simd);
        room.transformed = transformed;
    }
}

/// Transforms the tiles of some channels.
struct Inputs<'a> {
    job: &'a Job<'a>,
    block: &'a Block,
    channels: Range<usize>,
    to: Rows,
    room: &'a mut Room,
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, block, .. } = self;
        let tile = Tile::of::<S>();
        let [height, width] = job.x.size;
        let before = job.x.padding.map(|p| p.0);
        let channels_in = job.filters.shape.channels_in;
        let Room { lines, scratch, .. } = self.room;
        for channel in self.channels {
            for run in &block.cut {
                let (picture, row) = job.place(run.row);
                let plane = picture * channels_in + channel;
                let plane = &job.x.values[plane * height * width..][..height * width];
                let wide = line_len(run.tiles);
                lines.clear();
                lines.resize(IN * wide, 0.0);
                let left = run.first * OUT;
                // Columns of the padded picture to those of the picture.
                let begin = left.max(before[1]);
                let end = (left + wide).min(before[1] + width);
                for (i, line) in lines.chunks_exact_mut(wide).enumerate() {
                    let y = (row * OUT + i).checked_sub(before[0]);
                    let Some(y) = y.filter(|y| *y < height && begin < end) else {
                        continue;
                    };
                    let from = &plane[y * width + begin - before[1]..][..end - begin];
                    line[begin - left..][..from.len()].copy_from_slice(from);
                }
                let begin = run.at - run.at % tile.width();
                let at = begin / tile.width() * block.panel
                    + channel * block.width(tile, begin)
                    + run.at
                    - begin;
                // SAFETY: the block's floats are borrowed by whoever made `to`; each channel and run has its own of them.
                let to = |i| unsafe { self.to.row(i, at..at + run.tiles) };
                input_row(simd, lines, run.tiles, to, scratch);
            }
        }
    }
}

/// Multiplies the tiles for some groups of output channels, and transforms the products back.
struct Outputs<'a> {
    job: &'a Job<'a>,
    block: &'a Block,
    groups: Range<usize>,
    transformed: &'a [f32],
    room: &'a mut Room,
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, block, .. } = self;
        let tile = Tile::of::<S>();
        let filters = job.filters;
        let channels_in = filters.shape.channels_in;
        let each = channels_in * tile.rows;
        let weights = filters.weights.read(filters.groups() * PRODUCTS * each);
        let step = block.tiles.next_multiple_of(tile.width()) + 16;
        let Room {
            products,
            lines,
            scratch,
            ..
        } = self.room;
        // Several groups at a time, so that a panel is read once for all of them.
        let mut begin = self.groups.start;
        while begin < self.groups.end {
            let some = begin..(begin + GROUPS).min(self.groups.end);
            begin = some.end;
            let first = some.start * tile.rows;
            let count = (some.len() * tile.rows).min(filters.shape.channels_out - first);
            let products = products.get(GROUPS * tile.rows * PRODUCTS * step);
            for i in 0..PRODUCTS {
                let to = Rows::new(&mut products[i * step..], PRODUCTS * step);
                for left in (0..block.tiles).step_by(tile.width()) {
                    let columns = left..left + block.width(tile, left);
                    let at = i * block.step + left / tile.width() * block.panel;
                    let panel = &self.transformed[at..][..channels_in * columns.len()];
                    for group in some.clone() {
                        let weights = &weights[(group * PRODUCTS + i) * each..][..each];
                        let top = (group - some.start) * tile.rows;
                        let rows = top..(top + tile.rows).min(count);
                        // SAFETY: `products` is borrowed here, for this alone.
                        unsafe {
                            multiply(simd, panel, weights, Begin::Zero, to, rows, columns.clone());
                        }
                    }
                }
            }
            for n in 0..count {
                let from = &products[n * PRODUCTS * step..][..PRODUCTS * step];
                job.write(simd, block, from, step, first + n, lines, scratch);
            }
        }
    }
}

impl Job<'_> {
    /// The picture of a row of tiles, and which of its rows it is.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize) {
        let rows = self.out[0].div_ceil(OUT);
        (row / rows, row % rows)
    }

    /// Transforms the products of one channel back, and writes the pixels that the picture has.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn write<S: Simd>(
        &self,
        simd: S,
        block: &Block,
        from: &[f32],
        step: usize,
        channel: usize,
        lines: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) {
        let [height, width] = self.out;
        let bias = self.finish.bias.map_or(0.0, |bias| bias[channel]);
        for run in &block.runs {
            let wide = line_len(run.tiles);
            lines.resize(OUT * wide, 0.0);
            output_row(simd, &from[run.at..], step, run.tiles, lines, scratch);
            let left = run.first * OUT;
            let columns = (OUT * run.tiles).min(width - left);
            let (picture, row) = self.place(run.row);
            let plane = picture * self.filters.shape.channels_out + channel;
            let top = row * OUT;
            for (i, line) in lines.chunks_exact(wide).enumerate().take(height - top) {
                let place = (top + i) * width + left;
                // SAFETY: y is borrowed by `Filters::write`; each plane and tile has its own pixels.
                let to = unsafe { self.y.place(plane, place..place + columns) };
                for (to, sum) in to.iter_mut().zip(line) {
                    to.write(sum + bias);
                }
                // SAFETY: as above; they were just written.
                let row = unsafe { self.y.row(plane, place..place + columns) };
                self.finish.row(row, plane * height * width + place);
            }
        }
    }
}
