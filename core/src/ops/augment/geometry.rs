//! Steps that move pixels: windows, flips, resizes, warps, fills, canvases, composed steps.

use smalti_shaders::reference::augment::place;
use smalti_shaders::reference::augment::warp::Positions;
use smalti_shaders::reference::{pillow, resize};
use smalti_shaders::{GATHER, PLACE, RESIZE, WARP};

use super::{Augment, Held, MOST_BYTES, fits, pixel, too_large, words};
use crate::data::image::{Depth, Image};
use crate::data::picture::Fault;
use crate::data::pixels::checks::{self, fault};
use crate::data::pixels::{Border, Canvas, Direction, Engine, Gather, Paint};
use crate::data::transforms::Method;
use crate::ops::launch::Buffer;

/// Most source pixels that one target pixel may be made of: more would keep one invocation busy for too long.
const MOST_TAPS: usize = 1 << 20;

/// Rows and columns that land in a part of a target.
pub(super) struct Placed<'a> {
    left: usize,
    top: usize,
    columns: &'a [i32],
    rows: &'a [i32],
    fill: [u32; 4],
}

impl Augment {
    pub(super) fn place(
        &self,
        source: Option<(&Held, [usize; 2])>,
        words: usize,
        target: &Buffer,
        size: [usize; 2],
        part: &Placed<'_>,
    ) {
        let part_size = [part.columns.len(), part.rows.len()];
        let from = source.map_or([0, 0], |(_, size)| size);
        let head = [
            words,
            from[0],
            from[1],
            size[0],
            size[1],
            part.left,
            part.top,
            part_size[0],
            part_size[1],
        ];
        let mut plan: Vec<u32> = head.iter().map(|v| *v as u32).collect();
        plan.extend(part.fill);
        plan.extend(part.columns.iter().chain(part.rows).map(|v| *v as u32));
        let plan = self.gpu.upload(&plan);
        let none = self.gpu.empty(1);
        let source = source.map_or(&none, |(held, _)| &held.buffer);
        self.over(&PLACE, part_size, &[&plan, source, target]);
    }

    /// A new picture of rows and columns of one.
    pub(super) fn placed(
        &self,
        image: &Image,
        columns: &[i32],
        rows: &[i32],
        fill: &[f64],
    ) -> Result<Image, Fault> {
        let size = [columns.len(), rows.len()];
        let target = self.target(size, words(image))?;
        let held = self.held(image)?;
        let fill = pixel(fill, image.channels(), image.depth());
        let part = Placed {
            left: 0,
            top: 0,
            columns,
            rows,
            fill,
        };
        self.place(
            Some((&held, image.size())),
            words(image),
            &target,
            size,
            &part,
        );
        Ok(self.image(size, image.channels(), image.depth(), target))
    }

    pub(super) fn flipped(&self, image: &Image, direction: Direction) -> Result<Image, Fault> {
        let axis = |length, turned| {
            if turned {
                place::mirror(length)
            } else {
                whole(length)
            }
        };
        let columns = axis(image.width(), direction != Direction::Vertical);
        let rows = axis(image.height(), direction != Direction::Horizontal);
        self.placed(image, &columns, &rows, &[])
    }

    pub(super) fn windowed(
        &self,
        image: &Image,
        size: [usize; 2],
        at: [i64; 2],
        border: &Border,
    ) -> Result<Image, Fault> {
        fits(size, words(image))?; // before tables of that size
        let (border, fill) = match border {
            Border::Constant(fill) => (place::Border::Constant, fill.as_slice()),
            Border::Edge => (place::Border::Edge, [].as_slice()),
            Border::Reflect => (place::Border::Reflect, [].as_slice()),
            Border::Symmetric => (place::Border::Symmetric, [].as_slice()),
        };
        let columns = place::window(image.width(), size[0], at[0], border);
        let rows = place::window(image.height(), size[1], at[1], border);
        self.placed(image, &columns, &rows, fill)
    }

    /// Another buffer with the same words.
    pub(super) fn copied(&self, image: &Image) -> Result<Image, Fault> {
        let [columns, rows] = image.size().map(whole);
        self.placed(image, &columns, &rows, &[])
    }

    pub(super) fn resized(
        &self,
        image: &Image,
        size: [usize; 2],
        method: Method,
    ) -> Result<Image, Fault> {
        let (from, float) = (image.size(), image.depth() == Depth::F32);
        if from == size {
            return self.upload(image);
        }
        let nearest = |positions: &dyn Fn(usize, usize) -> Vec<usize>| {
            let axis = |i: usize| -> Vec<i32> {
                positions(from[i], size[i])
                    .into_iter()
                    .map(|v| v as i32)
                    .collect()
            };
            self.placed(image, &axis(0), &axis(1), &[])
        };
        fits(size, words(image))?; // before tables of that size
        let packed = match method {
            Method::Cv2(interpolation) => match resize::pack(from, size, interpolation, float) {
                Some(packed) => packed,
                None => return nearest(&resize::nearest_positions),
            },
            Method::Pillow(filter) => match pillow::pack(from, size, filter) {
                Some(packed) => packed,
                None => return nearest(&pillow::nearest_positions),
            },
        };
        let taps = packed.most_taps(size);
        if taps > MOST_TAPS {
            return Err(fault(format!(
                "resizing {}x{} to {}x{} averages {taps} pixels to one, more than the {MOST_TAPS} of one step on a \
                 device: shrink in two steps",
                from[0], from[1], size[0], size[1]
            )));
        }
        let target = self.target(size, words(image))?;
        let head = 12;
        let mut plan = vec![
            0,
            packed.sum as u32,
            u32::from(float),
            image.channels() as u32,
        ];
        plan.extend(
            [
                from[0],
                from[1],
                size[0],
                size[1],
                head,
                head + packed.columns.len(),
            ]
            .map(|v| v as u32),
        );
        plan.extend([packed.share.to_bits(), u32::from(packed.half_up)]);
        plan.extend(packed.columns.iter().chain(&packed.rows));
        let held = self.held(image)?;
        self.over(
            &RESIZE,
            size,
            &[&self.gpu.upload(&plan), &held.buffer, &target],
        );
        Ok(self.image(size, image.channels(), image.depth(), target))
    }

    pub(super) fn warped(
        &self,
        image: &Image,
        positions: Option<Positions>,
        linear: bool,
        fill: &[f64],
    ) -> Result<Image, Fault> {
        let positions = positions
            .ok_or_else(|| fault("the matrix of a warp, or its inverse, is not finite"))?;
        let (size, from) = (positions.size(), image.size());
        let float = image.depth() == Depth::F32;
        let (mode, places) = places(&positions);
        if places.len() * 4 > MOST_BYTES {
            return Err(too_large(size, places.len() * 4));
        }
        let mut plan = vec![0, u32::from(float), image.channels() as u32];
        plan.extend([from[0], from[1], size[0], size[1]].map(|v| v as u32));
        plan.extend([u32::from(linear), mode]);
        plan.extend(pixel(fill, image.channels(), image.depth()));
        let target = self.target(size, words(image))?;
        let held = self.held(image)?;
        let (plan, places) = (self.gpu.upload(&plan), self.gpu.upload(&places));
        self.over(&WARP, size, &[&plan, &places, &held.buffer, &target]);
        Ok(self.image(size, image.channels(), image.depth(), target))
    }

    pub(super) fn filled(
        &self,
        image: &Image,
        rects: &[[usize; 4]],
        value: &[f64],
    ) -> Result<Image, Fault> {
        let size = image.size();
        let copy = self.copied(image)?;
        let target = self.held(&copy)?;
        let fill = pixel(value, image.channels(), image.depth());
        for [x1, y1, x2, y2] in rects {
            let (x2, y2) = ((*x2).min(size[0]), (*y2).min(size[1]));
            let columns = vec![place::OUTSIDE; x2.saturating_sub(*x1)];
            let rows = vec![place::OUTSIDE; y2.saturating_sub(*y1)];
            let part = Placed {
                left: *x1,
                top: *y1,
                columns: &columns,
                rows: &rows,
                fill,
            };
            self.place(None, words(image), &target.buffer, size, &part);
        }
        Ok(copy)
    }

    /// A canvas of one fill with parts on it.
    pub(super) fn laid(&self, canvas: &Canvas<'_>) -> Result<Image, Fault> {
        checks::canvas(canvas)?;
        let Canvas {
            size,
            channels,
            depth,
            fill,
            parts,
        } = *canvas;
        let words = match depth {
            Depth::U8 => 1,
            Depth::F32 => channels,
        };
        let canvas = self.target(size, words)?;
        let outside = |i: usize| vec![place::OUTSIDE; size[i]];
        let fill = pixel(fill, channels, depth);
        let whole = Placed {
            left: 0,
            top: 0,
            columns: &outside(0),
            rows: &outside(1),
            fill,
        };
        self.place(None, words, &canvas, size, &whole);
        for part in parts {
            let linear = Method::Cv2(resize::Interpolation::Linear);
            let resized = self.resized(&part.image, part.resized, linear)?;
            let resized = self.converted(&resized, depth)?;
            let [x1, y1, x2, y2] = part.place;
            let axis = |i: usize, length: usize| {
                place::window(
                    part.resized[i],
                    length,
                    -(part.crop[i] as i64),
                    place::Border::Constant,
                )
            };
            let placed = Placed {
                left: x1,
                top: y1,
                columns: &axis(0, x2 - x1),
                rows: &axis(1, y2 - y1),
                fill,
            };
            let held = self.held(&resized)?;
            self.place(Some((&held, part.resized)), words, &canvas, size, &placed);
        }
        Ok(self.image(size, channels, depth, canvas))
    }

    /// A composed step: one dispatch a layer.
    pub(super) fn gathered(&self, gather: &Gather) -> Result<Image, Fault> {
        let (size, channels, depth) = (gather.size, gather.channels, gather.depth);
        let float = depth == Depth::F32;
        let words = if float { channels } else { 1 };
        let canvas = self.target(size, words)?;
        for layer in &gather.layers {
            let spans = layer.spans(size);
            let Some([left, top, right, bottom]) = bounds(&spans) else {
                continue;
            };
            let mut plan = vec![0, u32::from(float), channels as u32];
            let (from, held, value) = match &layer.paint {
                Paint::Fill(value) => ([0; 2], None, pixel(value, channels, depth)),
                Paint::Source(image, _) => (image.size(), Some(self.held(image)?), [0; 4]),
            };
            plan.extend([from[0], from[1], size[0], size[1]].map(|v| v as u32));
            plan.push(u32::from(held.is_some()));
            let map = layer.fixed_map();
            let terms = map.map_or([0; 6], |m| [m.x[0], m.x[1], m.x[2], m.y[0], m.y[1], m.y[2]]);
            plan.extend(terms.iter().flat_map(|t| [*t as u32, (*t >> 32) as u32]));
            plan.extend(value);
            plan.extend([left, top, right - left, bottom - top]);
            plan.extend(spans[top as usize..bottom as usize].iter().flatten());
            let none = self.gpu.empty(1);
            let source = held.as_ref().map_or(&none, |h| &h.buffer);
            let part = [right - left, bottom - top].map(|v| v as usize);
            self.over(&GATHER, part, &[&self.gpu.upload(&plan), source, &canvas]);
        }
        Ok(self.image(size, channels, depth, canvas))
    }
}

/// All positions of an axis as they are.
fn whole(length: usize) -> Vec<i32> {
    place::window(length, length, 0, place::Border::Constant)
}

/// Binding 1 of the kernel of warps, and how it reads it.
fn places(positions: &Positions) -> (u32, Vec<u32>) {
    match positions {
        Positions::Sums {
            columns,
            rows,
            round,
        } => {
            let terms = columns.iter().chain(rows).flatten();
            let words = terms.flat_map(|t| [*t as u32, (*t >> 32) as u32]);
            (u32::from(*round), words.collect())
        }
        // WGSL has no f64, and nothing less gives OpenCV's positions: these alone are found on the CPU.
        Positions::Quotients {
            size: [width, height],
            ..
        } => {
            let mut row = vec![[0; 2]; *width];
            let mut words = Vec::with_capacity(width * height * 2);
            for y in 0..*height {
                positions.row(y, &mut row);
                words.extend(row.iter().flatten().map(|v| *v as u32));
            }
            (2, words)
        }
    }
}

/// Left, top, right and bottom of what holds all spans; `None` if they are empty.
fn bounds(spans: &[[u32; 2]]) -> Option<[u32; 4]> {
    let shown = |span: &[u32; 2]| span[0] < span[1];
    let top = spans.iter().position(shown)?;
    let bottom = spans.iter().rposition(shown)? + 1;
    let shown = || spans.iter().filter(|span| shown(span));
    let left = shown().map(|s| s[0]).min()?;
    let right = shown().map(|s| s[1]).max()?;
    Some([left, top as u32, right, bottom as u32])
}
