//! Instance masks: bitmaps (`BitmapMasks`) or polygons (`PolygonMasks`) of mmdet 3.3 (structures/mask/structures.py).
//!
//! [`Masks`] holds all objects of a picture; what happens to one of them is in `bitmap` and `polygon`, filling polygons as
//! pycocotools does in `fill`, cutting them at a box in `cut`, COCO's run lengths in `rle`, and what is computed
//! with them alone in `runs`.

mod bitmap;
mod cut;
mod fill;
mod polygon;
mod rle;
mod runs;
mod simple;

use std::sync::Arc;

use super::Xyxy;

pub use fill::polygon_to_bitmap;
pub(crate) use rle::covered;
pub use rle::{RleCounts, rle_to_bitmap};
pub use runs::Runs;

pub use super::Direction;

/// One object's polygons: each a list of x, y, x, y, ... in pixels.
pub type Polygon = Vec<Vec<f64>>;

/// One object's bitmap: rows of 0 or 1, `height * width`. Shared, so that a copy of a sample costs nothing.
pub type Bitmap = Arc<[u8]>;

/// Masks of all objects of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks {
    /// Canvas, px.
    pub width: usize,
    /// Canvas, px.
    pub height: usize,
    /// One entry an object.
    pub shapes: Shapes,
}

/// The two forms.
#[derive(Clone, Debug, PartialEq)]
pub enum Shapes {
    /// `BitmapMasks`.
    Bitmaps(Vec<Bitmap>),
    /// `PolygonMasks`.
    Polygons(Vec<Polygon>),
}

impl Masks {
    /// Number of objects.
    pub fn len(&self) -> usize {
        match &self.shapes {
            Shapes::Bitmaps(v) => v.len(),
            Shapes::Polygons(v) => v.len(),
        }
    }

    /// No objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Width and height of the canvas, px.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// No masks on a canvas, in bitmap form.
    pub fn none(width: usize, height: usize) -> Self {
        Self::bitmaps([width, height], Vec::new())
    }

    /// Bitmaps on a canvas of `[width, height]`.
    ///
    /// # Panics
    /// If one has another number of pixels.
    pub fn bitmaps([width, height]: [usize; 2], bitmaps: Vec<Bitmap>) -> Self {
        let fits = bitmaps.iter().all(|b| b.len() == width * height);
        assert!(fits, "a bitmap covers its canvas");
        Self {
            width,
            height,
            shapes: Shapes::Bitmaps(bitmaps),
        }
    }

    /// Polygons on a canvas of `[width, height]`.
    pub fn polygons([width, height]: [usize; 2], polygons: Vec<Polygon>) -> Self {
        Self {
            width,
            height,
            shapes: Shapes::Polygons(polygons),
        }
    }

    /// The masks at `indices`.
    ///
    /// # Panics
    /// If there is no such index.
    pub fn select(&self, indices: &[usize]) -> Self {
        let shapes = match &self.shapes {
            Shapes::Bitmaps(v) => Shapes::Bitmaps(indices.iter().map(|i| v[*i].clone()).collect()),
            Shapes::Polygons(v) => {
                Shapes::Polygons(indices.iter().map(|i| v[*i].clone()).collect())
            }
        };
        Self {
            shapes,
            ..Self::none(self.width, self.height)
        }
    }

    /// Adds masks of the same canvas (forms may differ: polygons become bitmaps). False if the canvases differ.
    pub fn append(&mut self, other: Masks) -> bool {
        if self.size() != other.size() {
            return false;
        }
        if self.is_empty() {
            *self = other;
            return true;
        }
        match (&mut self.shapes, other.shapes) {
            (Shapes::Bitmaps(ours), Shapes::Bitmaps(theirs)) => ours.extend(theirs),
            (Shapes::Polygons(ours), Shapes::Polygons(theirs)) => ours.extend(theirs),
            (_, theirs) => {
                let theirs = Masks {
                    shapes: theirs,
                    ..Self::none(self.width, self.height)
                };
                let mut all = self.to_bitmaps();
                all.extend(theirs.to_bitmaps());
                self.shapes = Shapes::Bitmaps(all);
            }
        }
        true
    }

    /// Bitmaps of all (polygons are filled as pycocotools does).
    pub fn to_bitmaps(&self) -> Vec<Bitmap> {
        match &self.shapes {
            Shapes::Bitmaps(v) => v.clone(),
            Shapes::Polygons(v) => v
                .iter()
                .map(|p| polygon_to_bitmap(p, self.width, self.height))
                .collect(),
        }
    }

    /// The same masks as bitmaps.
    pub fn into_bitmaps(self) -> Self {
        match self.shapes {
            Shapes::Bitmaps(_) => self,
            Shapes::Polygons(_) => Self::bitmaps(self.size(), self.to_bitmaps()),
        }
    }

    /// Every mask through one of two functions, on a canvas of `size`.
    fn map(
        &self,
        size: [usize; 2],
        bitmap: impl Fn(&Bitmap) -> Bitmap,
        polygon: impl Fn(&Polygon) -> Polygon,
    ) -> Self {
        self.map_indexed(size, |_, b| bitmap(b), polygon)
    }

    /// The same, where a bitmap's place among the others counts.
    fn map_indexed(
        &self,
        size: [usize; 2],
        bitmap: impl Fn(usize, &Bitmap) -> Bitmap,
        polygon: impl Fn(&Polygon) -> Polygon,
    ) -> Self {
        match &self.shapes {
            Shapes::Bitmaps(v) => {
                let bitmaps = v.iter().enumerate().map(|(i, b)| bitmap(i, b));
                Self::bitmaps(size, bitmaps.collect())
            }
            Shapes::Polygons(v) => Self::polygons(size, v.iter().map(polygon).collect()),
        }
    }

    /// `rescale`/`resize`: to a canvas of `[width, height]`; bitmaps by nearest pixel.
    pub fn resize(&self, size: [usize; 2]) -> Self {
        let (from, points) = (self.size(), polygon::Scale::of(self.size(), size));
        let lookup = bitmap::Lookup::of(from, size);
        self.map(
            size,
            |b| {
                if from == size {
                    b.clone()
                } else {
                    lookup.resize(b)
                }
            },
            |p| points.apply(p),
        )
    }

    /// `flip`.
    pub fn flip(&self, direction: Direction) -> Self {
        let size = self.size();
        self.map(
            size,
            |b| bitmap::flip(b, size, direction),
            |p| polygon::flip(p, size, direction),
        )
    }

    /// `pad`: a larger canvas, the masks stay top left; added pixels are `value`. Never smaller than it is.
    pub fn pad(&self, size: [usize; 2], value: u8) -> Self {
        let from = self.size();
        let size = [size[0].max(from[0]), size[1].max(from[1])];
        self.map(
            size,
            |b| bitmap::window(b, from, size, [0, 0], value),
            Clone::clone,
        )
    }

    /// The same masks on a canvas that is a little smaller or larger at the right and bottom; polygons stay as they are.
    pub fn on_canvas(&self, size: [usize; 2]) -> Self {
        let from = self.size();
        self.map(
            size,
            |b| bitmap::window(b, from, size, [0, 0], 0),
            Clone::clone,
        )
    }

    /// `crop`: the canvas becomes the box, truncated to whole pixels and cut at the canvas, but at least a pixel wide and high
    /// (where the canvas has one).
    pub fn crop(&self, bbox: Xyxy) -> Self {
        // `as` truncates, saturates and makes 0 of NaN
        let cut = |v: f32, most: usize| (v as usize).min(most);
        let [x1, x2] = [bbox[0], bbox[2]].map(|v| cut(v, self.width));
        let [y1, y2] = [bbox[1], bbox[3]].map(|v| cut(v, self.height));
        let polygons = matches!(self.shapes, Shapes::Polygons(_));
        let mut size = [x2.saturating_sub(x1).max(1), y2.saturating_sub(y1).max(1)];
        if !polygons {
            size = [size[0].min(self.width - x1), size[1].min(self.height - y1)];
        }
        let at = [-(x1 as i64), -(y1 as i64)];
        let from = self.size();
        let frame = [x1, y1, x2, y2].map(|v| v as f64);
        self.map(
            size,
            |b| bitmap::window(b, from, size, at, 0),
            |p| cut::at_box(p, frame),
        )
    }

    /// `expand`: a larger canvas with the masks at `[left, top]`. (mmdet has this for bitmaps only.)
    pub fn expand(&self, size: [usize; 2], at: [usize; 2]) -> Self {
        self.place(size, at.map(|v| v as i64))
    }

    /// A canvas of `size` that shows ours moved by `[x, y]` px (either sign), cut at its border. No counterpart in mmdet.
    pub fn place(&self, size: [usize; 2], at: [i64; 2]) -> Self {
        let from = self.size();
        self.map(
            size,
            |b| bitmap::window(b, from, size, at, 0),
            |p| {
                let moved = polygon::offset(p, at.map(|v| v as f64));
                cut::at_box(&moved, [0.0, 0.0, size[0] as f64, size[1] as f64])
            },
        )
    }

    /// `translate`: by `offset` px along an axis, on a canvas of `size`, bitmaps filled with `fill`.
    pub fn translate(
        &self,
        size: [usize; 2],
        offset: f64,
        horizontal: bool,
        fill: f64,
        linear: bool,
    ) -> Self {
        let from = self.size();
        let by = f64::from(offset as f32);
        let by = if horizontal { [by, 0.0] } else { [0.0, by] };
        let matrix = [[1.0, 0.0, by[0]], [0.0, 1.0, by[1]]];
        let warp = bitmap::Warp::new(&matrix, size, linear);
        self.map_indexed(
            size,
            |i, b| {
                let b = bitmap::window(b, from, size, [0, 0], 0);
                warp.apply(&b, three_of_four(i, fill))
            },
            |p| polygon::translate(p, size, offset, horizontal),
        )
    }

    /// `shear`: as mmcv's imshear (bitmaps), or of the points.
    pub fn shear(
        &self,
        size: [usize; 2],
        magnitude: f64,
        horizontal: bool,
        fill: f64,
        linear: bool,
    ) -> Self {
        let by = f64::from(magnitude as f32);
        let [x, y] = if horizontal { [by, 0.0] } else { [0.0, by] };
        let matrix = [[1.0, x, 0.0], [y, 1.0, 0.0]];
        self.affine(&matrix, size, |i| three_of_four(i, fill), linear)
    }

    /// `rotate`: degrees, clockwise, around the canvas' centre or `center`.
    pub fn rotate(
        &self,
        size: [usize; 2],
        angle: f64,
        center: Option<[f64; 2]>,
        scale: f64,
        fill: f64,
        linear: bool,
    ) -> Self {
        let middle = [self.width, self.height].map(|v| (v as f64 - 1.0) * 0.5);
        let matrix = rotation_matrix(center.unwrap_or(middle), -angle, scale);
        // one number stands for the first channel of four
        let fill = |i: usize| if i.is_multiple_of(4) { fill } else { 0.0 };
        self.affine(&matrix, size, fill, linear)
    }

    /// Through a 2x3 matrix, source to target; points end at the border.
    fn affine(
        &self,
        matrix: &[[f64; 3]; 2],
        size: [usize; 2],
        fill: impl Fn(usize) -> f64,
        linear: bool,
    ) -> Self {
        let from = self.size();
        let warp = bitmap::Warp::new(matrix, from, linear);
        self.map_indexed(
            size,
            // mmdet's bitmaps keep their canvas here, and fail if it is another than asked for
            |i, b| bitmap::window(&warp.apply(b, fill(i)), from, size, [0, 0], 0),
            |p| polygon::affine(p, matrix, size),
        )
    }

    /// Through a 3x3 matrix (rows, source to target) onto a canvas of `size`; bitmaps by nearest pixel. No counterpart in mmdet.
    pub fn warp(&self, matrix: &[[f64; 3]; 3], size: [usize; 2]) -> Self {
        let from = self.size();
        let inverse = inverse(matrix);
        self.map(
            size,
            |b| bitmap::warp(b, from, [matrix, &inverse], size),
            |p| {
                let there = polygon::project(p, matrix);
                cut::at_box(&there, [0.0, 0.0, size[0] as f64, size[1] as f64])
            },
        )
    }

    /// Pixels (bitmaps) or area (polygons) of each.
    pub fn areas(&self) -> Vec<f64> {
        match &self.shapes {
            Shapes::Bitmaps(v) => v.iter().map(|b| bitmap::area(b)).collect(),
            Shapes::Polygons(v) => v.iter().map(polygon::area).collect(),
        }
    }

    /// `get_bboxes`: boxes around each, 0 where empty; x2, y2 exclusive for bitmaps.
    pub fn boxes(&self) -> Vec<Xyxy> {
        let size = self.size();
        match &self.shapes {
            Shapes::Bitmaps(v) => v.iter().map(|b| bitmap::bbox(b, size)).collect(),
            Shapes::Polygons(v) => v.iter().map(|p| polygon::bbox(p, size)).collect(),
        }
    }
}

/// The border value of mask `i`. MMDetection warps all masks as the channels of one picture, for which OpenCV repeats four values; mmcv
/// gives it three.
fn three_of_four(i: usize, fill: f64) -> f64 {
    if i % 4 == 3 { 0.0 } else { fill }
}

/// `cv2.getRotationMatrix2D`: degrees counter-clockwise; the centre passes through f32 there.
pub fn rotation_matrix(center: [f64; 2], angle: f64, scale: f64) -> [[f64; 3]; 2] {
    let [x, y] = center.map(|v| f64::from(v as f32));
    let angle = angle * std::f64::consts::PI / 180.0;
    let (a, b) = (angle.cos() * scale, angle.sin() * scale);
    [
        [a, b, (1.0 - a) * x - b * y],
        [-b, a, b * x + (1.0 - a) * y],
    ]
}

/// Inverse of a 3x3 matrix; zeros if it has none.
fn inverse(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |i: usize, j: usize| {
        let (a, b) = ((i + 1) % 3, (i + 2) % 3);
        let (c, d) = ((j + 1) % 3, (j + 2) % 3);
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    if determinant == 0.0 || !determinant.is_finite() {
        return [[0.0; 3]; 3];
    }
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// One row of `tests/data/masks.json`.
    #[derive(serde::Deserialize)]
    struct Row {
        size: [usize; 2],
        polygons: Option<Vec<Polygon>>,
        bitmaps: Option<Vec<RleCounts>>,
        op: Vec<Value>,
        out: Expected,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        size: [usize; 2],
        bitmaps: Vec<RleCounts>,
        areas: Vec<f64>,
        boxes: Vec<Xyxy>,
    }

    fn read(all: &[RleCounts], [w, h]: [usize; 2]) -> Vec<Bitmap> {
        let one = |counts| rle_to_bitmap(counts, w, h).unwrap();
        all.iter().map(one).collect()
    }

    fn run(masks: Masks, op: &[Value]) -> Masks {
        let number = |i: usize| op[i].as_f64().unwrap();
        let flag = |i: usize| op[i].as_bool().unwrap();
        let size = || serde_json::from_value(op[1].clone()).unwrap();
        match op[0].as_str().unwrap() {
            "fill" => masks,
            "resize" => masks.resize(size()),
            "flip" => masks.flip(serde_json::from_value(op[1].clone()).unwrap()),
            "pad" => masks.pad(size(), number(2) as u8),
            "crop" => masks.crop(serde_json::from_value(op[1].clone()).unwrap()),
            "translate" => masks.translate(size(), number(2), flag(3), 0.0, flag(4)),
            "shear" => masks.shear(size(), number(2), flag(3), 0.0, flag(4)),
            _ => {
                let center = serde_json::from_value(op[3].clone()).unwrap();
                masks.rotate(size(), number(2), center, number(4), 0.0, flag(5))
            }
        }
    }

    #[test]
    fn as_mmdet() {
        let text = include_str!("../../../../../tests/data/masks.json");
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        assert!(rows.len() >= 80);
        for (i, row) in rows.into_iter().enumerate() {
            let masks = match (row.polygons, row.bitmaps) {
                (Some(polygons), _) => Masks::polygons(row.size, polygons),
                (None, counts) => Masks::bitmaps(row.size, read(&counts.unwrap(), row.size)),
            };
            let at = format!("row {i}: {:?} of {masks:?}", row.op);
            let out = run(masks, &row.op);
            assert_eq!(out.size(), row.out.size, "{at}");
            let expected = read(&row.out.bitmaps, row.out.size);
            assert_eq!(out.to_bitmaps(), expected, "{at}");
            // sums in another order; boxes of polygons are rounded to f32 there too
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + b.abs());
            for (area, expected) in out.areas().iter().zip(&row.out.areas) {
                assert!(close(*area, *expected), "{area} {expected} {at}");
            }
            for (b, expected) in out.boxes().iter().zip(&row.out.boxes) {
                let same = b
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| close(f64::from(*a), f64::from(*b)));
                assert!(same, "{b:?} {expected:?} {at}");
            }
        }
    }

    fn bitmap(rows: &[&[u8]]) -> Masks {
        let pixels: Vec<u8> = rows.concat();
        Masks::bitmaps([rows[0].len(), rows.len()], vec![pixels.into()])
    }

    #[test]
    fn placed() {
        let masks = bitmap(&[&[1, 0], &[1, 1]]);
        assert_eq!(
            masks.place([3, 3], [1, 1]),
            bitmap(&[&[0, 0, 0], &[0, 1, 0], &[0, 1, 1]])
        );
        assert_eq!(masks.place([2, 2], [-1, 0]), bitmap(&[&[0, 0], &[1, 0]]));
        assert_eq!(masks.place([2, 1], [5, i64::MIN]), bitmap(&[&[0, 0]]));
        let square = Masks::polygons(
            [4, 4],
            vec![vec![vec![0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0]]],
        );
        assert_eq!(square.place([4, 4], [-1, 2]).areas(), [6.0]);
        assert_eq!(square.place([4, 4], [9, 0]).areas(), [0.0]);
    }

    #[test]
    fn warped() {
        let masks = bitmap(&[&[1, 0], &[1, 1]]);
        let twice = [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]];
        let expected = bitmap(&[&[1, 1, 0, 0], &[1, 1, 0, 0], &[1; 4], &[1; 4]]);
        assert_eq!(masks.warp(&twice, [4, 4]), expected);
        // no inverse: nothing is shown
        assert_eq!(masks.warp(&[[0.0; 3]; 3], [2, 1]), bitmap(&[&[0, 0]]));
        let triangle = Masks::polygons([4, 4], vec![vec![vec![0.0, 0.0, 4.0, 0.0, 0.0, 4.0]]]);
        let warped = triangle.warp(&twice, [100, 100]);
        assert_eq!(warped.areas(), [32.0]);
        assert_eq!(warped.boxes(), [[0.5, 0.5, 8.5, 8.5]]);
    }

    #[test]
    fn appended() {
        let mut masks = bitmap(&[&[1, 0], &[0, 0]]);
        assert!(!masks.append(Masks::none(3, 2)));
        let polygon = vec![vec![0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]];
        assert!(masks.append(Masks::polygons([2, 2], vec![polygon])));
        assert_eq!(masks.areas(), [1.0, 4.0]);
        assert_eq!(masks.select(&[1, 0]).areas(), [4.0, 1.0]);
    }

    #[test]
    fn hostile_numbers() {
        let values = [
            0.0,
            -1.0,
            3.5,
            1e9,
            -1e9,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for a in values {
            for b in values {
                let polygon = vec![vec![0.0, 0.0, a, 1.0, b, a, 2.0, b], vec![a], vec![]];
                for size in [[0, 0], [0, 3], [5, 4]] {
                    let masks = Masks::polygons(size, vec![polygon.clone()]);
                    let bitmaps = masks.clone().into_bitmaps();
                    for masks in [masks, bitmaps] {
                        let bbox = [a, b, b, a].map(|v| v as f32);
                        let all = [
                            masks.crop(bbox),
                            masks.resize([3, 2]),
                            masks.resize([0, 2]),
                            masks.flip(Direction::Horizontal),
                            masks.flip(Direction::Vertical),
                            masks.place([3, 3], [a as i64, b as i64]),
                            masks.translate([4, 4], a, true, b, true),
                            masks.shear(size, a, false, b, false),
                            masks.rotate(size, a, Some([b, a]), b, 0.0, true),
                            masks.warp(&[[a, 0.0, 1.0], [1.0, b, 0.0], [b, 0.0, a]], [3, 4]),
                        ];
                        for masks in all {
                            assert_eq!(masks.areas().len(), masks.len());
                            assert_eq!(masks.boxes().len(), masks.len());
                            assert_eq!(masks.to_bitmaps().len(), masks.len());
                        }
                    }
                }
            }
        }
    }
}
