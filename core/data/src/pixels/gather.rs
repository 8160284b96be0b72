//! Geometric steps composed into one: each pixel of the target looks up where it comes from, once.
//!
//! A [`Gather`] is a list of layers, painted in order: a fill, or a source seen through one affine map; each cut by half planes. Mosaic,
//! RandomAffine, flip and resize together are four sources and a few fills, and every source pixel is interpolated once and not three
//! times: boxes are the same as step by step, pixels a little sharper. Where a composition of one single step is asked for, that step is
//! done exactly.
//!
//! Coordinates are pixel indices: a picture of W pixels covers -0.5 to W - 0.5. The arithmetic of maps and weights is of integers
//! ([`FixedMap`]), so that `shaders/wgsl/augment/gather.wgsl` gives the same bytes.

use smalti_shaders::reference::augment::gather::{FixedMap, Span, Target, fill, paint};
use smalti_shaders::reference::resize::{Interpolation, View};

use super::{Border, Canvas, Direction, Method, Op};
use crate::image::{Depth, Image, Samples, Store};
use crate::picture::Fault;
use crate::size_limits;

/// More layers than this are done before more is composed.
const MOST_LAYERS: usize = 64;

/// What a target of `size` pixels is gathered from.
#[derive(Clone, Debug)]
pub struct Gather {
    /// Width and height of the target.
    pub size: [usize; 2],
    /// Samples of a pixel.
    pub channels: usize,
    /// Of the sources and the target.
    pub depth: Depth,
    /// Painted in this order.
    pub layers: Vec<Layer>,
    /// If it is one step only: that step, to be done as it is.
    pub single: Option<Box<(Image, Op)>>,
}

/// One paint on a part of the target.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What is painted.
    pub paint: Paint,
    /// Where: all of these must hold.
    pub cut: Vec<Half>,
}

/// What a layer shows.
#[derive(Clone, Debug)]
pub enum Paint {
    /// One value per channel.
    Fill([f64; 4]),
    /// A picture that is in memory or on the device.
    Source(Image, Map),
}

/// The half plane `a * x + b * y + c >= 0` of target indices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Half(pub [f64; 3]);

/// From target indices to source indices: `[[a, b, c], [d, e, f]]`, x = a * x + b * y + c.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Map(pub [[f64; 3]; 2]);

impl Map {
    const IDENTITY: Map = Map([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    fn scale_offset(scale: [f64; 2], offset: [f64; 2]) -> Map {
        Map([[scale[0], 0.0, offset[0]], [0.0, scale[1], offset[1]]])
    }

    /// A resize of `from` to `to` pixels.
    fn resize(from: [usize; 2], to: [usize; 2]) -> Map {
        let scale = [0, 1].map(|i| from[i] as f64 / to[i] as f64);
        Map::scale_offset(scale, scale.map(|s| 0.5 * s - 0.5))
    }

    /// First `first`, then `self`.
    fn after(&self, first: &Map) -> Map {
        Map(self.0.map(|[a, b, c]| {
            let [x, y] = first.0;
            [
                a * x[0] + b * y[0],
                a * x[1] + b * y[1],
                a * x[2] + b * y[2] + c,
            ]
        }))
    }

    /// The inverse of an affine matrix that maps source to target.
    fn inverse_of([[a, b, c], [d, e, f]]: [[f64; 3]; 2]) -> Option<Map> {
        let det = a * e - b * d;
        if !det.is_finite() || det.abs() < 1e-12 {
            return None;
        }
        let (ia, ib, id, ie) = (e / det, -b / det, -d / det, a / det);
        Some(Map([
            [ia, ib, -(ia * c + ib * f)],
            [id, ie, -(id * c + ie * f)],
        ]))
    }
}

impl Half {
    /// The half plane as seen after `map`.
    fn after(&self, map: &Map) -> Half {
        let [a, b, c] = self.0;
        let [x, y] = map.0;
        Half([
            a * x[0] + b * y[0],
            a * x[1] + b * y[1],
            a * x[2] + b * y[2] + c,
        ])
    }
}

/// The four half planes of pixels `[x1, x2) x [y1, y2)`.
fn rectangle([x1, y1, x2, y2]: [f64; 4]) -> [Half; 4] {
    [
        Half([1.0, 0.0, 0.5 - x1]),
        Half([-1.0, 0.0, x2 - 0.5]),
        Half([0.0, 1.0, 0.5 - y1]),
        Half([0.0, -1.0, y2 - 0.5]),
    ]
}

impl Layer {
    /// For each row of a target of `[width, height]` pixels, from which column to before which it is seen.
    pub fn spans(&self, [width, height]: [usize; 2]) -> Vec<Span> {
        // a point on a border belongs to both sides, so that no gap opens
        const SLACK: f64 = 1e-6;
        let mut spans = vec![[0, width as u32]; height];
        for Half([a, b, c]) in &self.cut {
            for (y, span) in spans.iter_mut().enumerate() {
                let rest = b * y as f64 + c + SLACK;
                if *a > 0.0 {
                    span[0] = span[0].max((-rest / a).ceil().max(0.0) as u32);
                } else if *a < 0.0 {
                    span[1] = span[1].min(((rest / -a).floor() + 1.0).max(0.0) as u32);
                } else if rest < 0.0 {
                    span[1] = 0;
                }
            }
        }
        for span in &mut spans {
            span[1] = span[1].max(span[0]);
            if span[0] >= width as u32 {
                *span = [0, 0];
            }
        }
        spans
    }

    /// The map in integers; `None` for a fill.
    pub fn fixed_map(&self) -> Option<FixedMap> {
        match &self.paint {
            Paint::Fill(_) => None,
            Paint::Source(_, Map(rows)) => FixedMap::new(*rows),
        }
    }
}

impl Gather {
    /// `image` as it is, or what it is to be gathered from.
    fn of(image: &Image) -> Gather {
        match &image.store {
            Store::Lazy(gather) => Gather::clone(gather),
            _ => Gather {
                size: image.size(),
                channels: image.channels(),
                depth: image.depth(),
                layers: vec![Layer {
                    paint: Paint::Source(image.clone(), Map::IDENTITY),
                    cut: Vec::new(),
                }],
                single: None,
            },
        }
    }

    /// The same layers seen through `map` on a target of `size`; outside of the old target is `border`.
    fn seen(self, map: &Map, size: [usize; 2], border: Option<[f64; 4]>) -> Gather {
        let [w, h] = self.size.map(|v| v as f64);
        let mut layers = Vec::with_capacity(self.layers.len() + 1);
        if let Some(value) = border {
            layers.push(Layer {
                paint: Paint::Fill(value),
                cut: Vec::new(),
            });
        }
        for layer in self.layers {
            let mut cut: Vec<Half> = layer.cut.iter().map(|half| half.after(map)).collect();
            if border.is_some() {
                cut.extend(rectangle([0.0, 0.0, w, h]).map(|half| half.after(map)));
            }
            let paint = match layer.paint {
                Paint::Fill(value) => Paint::Fill(value),
                Paint::Source(image, inner) => Paint::Source(image, inner.after(map)),
            };
            let layer = Layer { paint, cut };
            if layer.might_show(size) {
                layers.push(layer);
            }
        }
        Gather {
            size,
            layers,
            single: None,
            ..self
        }
    }
}

impl Layer {
    /// False if one of the half planes leaves nothing of a target of `size`.
    fn might_show(&self, [w, h]: [usize; 2]) -> bool {
        let (right, bottom) = (w as f64 - 1.0, h as f64 - 1.0);
        self.cut.iter().all(|Half([a, b, c])| {
            let corner = |x: f64, y: f64| a * x + b * y + c >= -1e-6;
            corner(0.0, 0.0) || corner(right, 0.0) || corner(0.0, bottom) || corner(right, bottom)
        })
    }
}

fn lazy(gather: Gather) -> Option<Result<Image, Fault>> {
    let fits = gather
        .layers
        .iter()
        .all(|l| matches!(l.paint, Paint::Fill(_)) || l.fixed_map().is_some());
    let drawable = size_limits::check(gather.size).is_ok_and(|pixels| pixels > 0);
    if gather.layers.len() > MOST_LAYERS || !fits || !drawable {
        return None;
    }
    let (size, channels, depth) = (gather.size, gather.channels, gather.depth);
    let store = Store::Lazy(std::sync::Arc::new(gather));
    Some(Ok(Image::with_store(size, channels, depth, store)))
}

/// One value per channel; `None` if there are too few.
fn values(fill: &[f64], channels: usize) -> Option<[f64; 4]> {
    let mut four = [0.0; 4];
    four.get_mut(..channels)?
        .copy_from_slice(fill.get(..channels)?);
    Some(four)
}

/// `image` with `op` composed into what is still to be done; `None` where `op` is nothing that can be.
pub(super) fn compose(image: &Image, op: &Op) -> Option<Result<Image, Fault>> {
    let from = image.size();
    let (map, size, border) = match op {
        Op::Resize {
            size,
            method: Method::Cv2(Interpolation::Linear),
        } if size.iter().all(|v| *v > 0) => (Map::resize(from, *size), *size, None),
        Op::Flip(direction) => {
            let mirrored = |axis: usize, yes: bool| {
                if yes {
                    (-1.0, from[axis] as f64 - 1.0)
                } else {
                    (1.0, 0.0)
                }
            };
            let x = mirrored(0, *direction != Direction::Vertical);
            let y = mirrored(1, *direction != Direction::Horizontal);
            (Map::scale_offset([x.0, y.0], [x.1, y.1]), from, None)
        }
        Op::Window {
            size,
            at,
            border: Border::Constant(fill),
        } => {
            let fill = values(fill, image.channels())?;
            let offset = at.map(|v| -(v as f64));
            (Map::scale_offset([1.0, 1.0], offset), *size, Some(fill))
        }
        Op::WarpAffine {
            matrix,
            size,
            linear: true,
            fill,
        } => {
            let fill = values(fill, image.channels())?;
            (Map::inverse_of(*matrix)?, *size, Some(fill))
        }
        Op::WarpPerspective { matrix, size, fill } if matrix[2] == [0.0, 0.0, 1.0] => {
            let fill = values(fill, image.channels())?;
            (Map::inverse_of([matrix[0], matrix[1]])?, *size, Some(fill))
        }
        _ => return None,
    };
    let mut gather = Gather::of(image).seen(&map, size, border);
    if !matches!(image.store, Store::Lazy(_)) {
        gather.single = Some(Box::new((image.clone(), op.clone())));
    }
    lazy(gather)
}

/// A canvas whose parts are still to be gathered.
pub(super) fn canvas(canvas: &Canvas<'_>) -> Option<Result<Image, Fault>> {
    let Canvas {
        size,
        channels,
        depth,
        fill,
        parts,
    } = *canvas;
    let mut layers = vec![Layer {
        paint: Paint::Fill(values(fill, channels)?),
        cut: Vec::new(),
    }];
    for part in parts {
        let image = &part.image;
        let [x1, y1, x2, y2] = part.place;
        let inside = x2 <= size[0] && y2 <= size[1];
        if image.channels() != channels || image.depth() != depth || !inside {
            return None; // said by those who do it step by step
        }
        if x1 >= x2 || y1 >= y2 {
            continue;
        }
        if part.resized.contains(&0)
            || part.crop[0] + x2 - x1 > part.resized[0]
            || part.crop[1] + y2 - y1 > part.resized[1]
        {
            return None;
        }
        let shift = [0, 1].map(|i| part.crop[i] as f64 - part.place[i] as f64);
        let map =
            Map::resize(image.size(), part.resized).after(&Map::scale_offset([1.0, 1.0], shift));
        let place = rectangle(part.place.map(|v| v as f64));
        for mut layer in Gather::of(image).seen(&map, size, None).layers {
            layer.cut.extend(place);
            layers.push(layer);
        }
    }
    lazy(Gather {
        size,
        channels,
        depth,
        layers,
        single: None,
    })
}

/// Does it on the CPU. Sources are in memory.
pub(super) fn run(gather: &Gather) -> Result<Image, Fault> {
    let [w, h] = gather.size;
    let total = w * h * gather.channels;
    let samples = match gather.depth {
        Depth::U8 => {
            let mut out = vec![0u8; total];
            paint_all(gather, &mut out, |s| match s {
                Samples::U8(v) => Some(v),
                Samples::F32(_) => None,
            })?;
            Samples::U8(out)
        }
        Depth::F32 => {
            let mut out = vec![0f32; total];
            paint_all(gather, &mut out, |s| match s {
                Samples::F32(v) => Some(v),
                Samples::U8(_) => None,
            })?;
            Samples::F32(out)
        }
    };
    Ok(Image::new(gather.size, gather.channels, samples))
}

fn paint_all<T: Target>(
    gather: &Gather,
    out: &mut [T],
    of: impl Fn(&Samples) -> Option<&Vec<T>>,
) -> Result<(), Fault> {
    for layer in &gather.layers {
        let spans = layer.spans(gather.size);
        match &layer.paint {
            Paint::Fill(value) => {
                let value = value.map(T::of);
                fill(out, gather.size[0], &value[..gather.channels], &spans);
            }
            Paint::Source(image, _) => {
                let missing = || Fault::Transform("a source is not in memory".into());
                let source = image.samples().and_then(|s| of(s)).ok_or_else(missing)?;
                let map = layer.fixed_map().ok_or_else(missing)?;
                let view = View::new(source, image.width(), image.height(), image.channels());
                paint(out, gather.size[0], view, &map, &spans);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{Part, Pixels};
    use smalti_shaders::reference::random::Random;

    fn picture(seed: u64, w: usize, h: usize) -> Image {
        let mut random = Random::new(seed);
        let samples = (0..w * h * 3).map(|_| random.bits() as u8).collect();
        Image::new([w, h], 3, Samples::U8(samples))
    }

    fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
        let samples = Pixels::cpu().read_blocking(image).unwrap();
        let Samples::U8(v) = &*samples else {
            panic!("u8 was asked for")
        };
        let at = (y * image.width() + x) * 3;
        [v[at], v[at + 1], v[at + 2]]
    }

    #[test]
    fn whole_steps_move_pixels() {
        let pixels = Pixels::cpu();
        let source = picture(1, 5, 4);
        let window = Op::Window {
            size: [7, 6],
            at: [2, -1],
            border: Border::Constant(vec![9.0, 8.0, 7.0]),
        };
        let image = pixels.run(&source, &window).unwrap();
        let image = pixels
            .run(&image, &Op::Flip(Direction::Horizontal))
            .unwrap();
        assert!(matches!(image.store, Store::Lazy(_)));
        for y in 0..6 {
            for x in 0..7 {
                let (sx, sy) = (6 - x as i64 - 2, y as i64 + 1);
                let expected = if (0..5).contains(&sx) && sy < 4 {
                    pixel(&source, sx as usize, sy as usize)
                } else {
                    [9, 8, 7]
                };
                assert_eq!(pixel(&image, x, y), expected, "({x}, {y})");
            }
        }
    }

    #[test]
    fn parts_meet_without_a_gap() {
        // two parts of one colour each, scaled and turned: nothing of the canvas' fill shows within
        let flat = |v: u8| Image::new([40, 40], 3, Samples::U8(vec![v; 4800]));
        let pixels = Pixels::cpu();
        for scale in [0.3, 0.5, 1.0, 2.0, 1.7] {
            let parts = [
                Part {
                    image: flat(100),
                    resized: [40, 40],
                    crop: [0, 0],
                    place: [0, 0, 40, 40],
                },
                Part {
                    image: flat(200),
                    resized: [60, 40],
                    crop: [20, 0],
                    place: [40, 0, 80, 40],
                },
            ];
            let canvas = pixels
                .canvas(&Canvas {
                    size: [80, 40],
                    channels: 3,
                    depth: Depth::U8,
                    fill: &[0.0; 3],
                    parts: &parts,
                })
                .unwrap();
            let matrix = [
                [scale, 0.1 * scale, 3.0],
                [-0.1 * scale, scale, 20.0],
                [0.0, 0.0, 1.0],
            ];
            let op = Op::WarpPerspective {
                matrix,
                size: [200, 150],
                fill: vec![7.0; 3],
            };
            let image = pixels.run(&canvas, &op).unwrap();
            let samples = pixels.read_blocking(&image).unwrap();
            let Samples::U8(v) = &*samples else {
                panic!("u8 was asked for")
            };
            assert!(
                v.iter().all(|v| matches!(v, 7 | 100 | 200)),
                "scale {scale}"
            );
            assert!(v.contains(&100) && v.contains(&200) && v.contains(&7));
        }
    }

    #[test]
    fn what_cannot_be_composed_is_not() {
        let source = picture(2, 5, 4);
        let singular = Op::WarpAffine {
            matrix: [[0.0; 3]; 2],
            size: [4, 4],
            linear: true,
            fill: vec![0.0; 3],
        };
        assert!(compose(&source, &singular).is_none());
        let few = Op::Window {
            size: [9, 9],
            at: [0, 0],
            border: Border::Constant(vec![1.0]),
        };
        assert!(compose(&source, &few).is_none());
        let huge = Op::Window {
            size: [usize::MAX, 9],
            at: [0, 0],
            border: Border::Constant(vec![1.0; 3]),
        };
        assert!(compose(&source, &huge).is_none());
        assert!(compose(&source, &Op::ToFloat).is_none());
    }
}
