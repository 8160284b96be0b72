//! Every step on the device against the CPU's: u8 to the bit, f32 where arithmetic differs within what is said.

use smalti_shaders::reference::pillow::Filter;
use smalti_shaders::reference::random::Random;
use smalti_shaders::reference::resize::Interpolation;

use super::*;
use crate::data::pixels::{Border, Canvas, Colour, Direction, Part, Photometric, Pixels};
use crate::data::transforms::Method;
use crate::device::gpu_for_tests;

/// Pixels on a GPU.
fn gpu() -> Option<Arc<dyn Engine>> {
    engine(&gpu_for_tests()?)
}

const SIDES: [usize; 9] = [1, 2, 3, 7, 33, 63, 64, 65, 101];

struct Draw(Random);

impl Draw {
    fn of(&mut self, n: usize) -> usize {
        self.0.bits() as usize % n
    }

    fn size(&mut self) -> [usize; 2] {
        [0, 1].map(|_| SIDES[self.of(SIDES.len())])
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.0.unit())
    }

    /// Noise with many extremes; f32 has values below 0 and above 255 too.
    fn image(&mut self, size: [usize; 2], channels: usize, depth: Depth) -> Image {
        let n = size[0] * size[1] * channels;
        let samples = match depth {
            Depth::U8 => Samples::U8((0..n).map(|_| self.byte()).collect()),
            Depth::F32 => Samples::F32(
                (0..n)
                    .map(|_| (self.unit() * 300.0 - 20.0) as f32)
                    .collect(),
            ),
        };
        Image::new(size, channels, samples)
    }

    fn byte(&mut self) -> u8 {
        match self.of(8) {
            0 => 0,
            1 => 255,
            _ => self.0.bits() as u8,
        }
    }
}

/// The pictures of each test: channels and depth.
const KINDS: [(usize, Depth); 6] = [
    (1, Depth::U8),
    (3, Depth::U8),
    (4, Depth::U8),
    (1, Depth::F32),
    (3, Depth::F32),
    (4, Depth::F32),
];

#[track_caller]
fn same(a: &Samples, b: &Samples, tolerance: f32, what: &str) {
    match (a, b) {
        (Samples::U8(a), Samples::U8(b)) => {
            assert_eq!(a.len(), b.len(), "{what}");
            let different = a.iter().zip(b).position(|(a, b)| a != b);
            if let Some(at) = different {
                panic!("{what}: sample {at} is {} and not {}", a[at], b[at]);
            }
        }
        (Samples::F32(a), Samples::F32(b)) => {
            assert_eq!(a.len(), b.len(), "{what}");
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                let apart = (a - b).abs();
                assert!(apart <= tolerance, "{what}: sample {at} is {a} and not {b}");
            }
        }
        _ => panic!("{what}: depths differ"),
    }
}

/// Runs a step on both and compares.
#[track_caller]
fn check(engine: &Arc<dyn Engine>, image: &Image, op: &Op, tolerance: f32) {
    let cpu = Pixels::cpu().exact(true);
    let gpu = Pixels::on(engine.clone()).exact(true);
    let short = format!("{op:?}").chars().take(300).collect::<String>();
    let what = format!("{image:?} {short}");
    let (a, b) = (gpu.run(image, op), cpu.run(image, op));
    match (a, b) {
        (Ok(a), Ok(b)) => {
            assert_eq!(
                (a.size(), a.channels(), a.depth()),
                (b.size(), b.channels(), b.depth()),
                "{what}"
            );
            same(
                &gpu.read_blocking(&a).unwrap(),
                &cpu.read_blocking(&b).unwrap(),
                tolerance,
                &what,
            );
        }
        (Err(a), Err(b)) => assert_eq!(a, b, "{what}"),
        (a, b) => panic!("{what}: {a:?} and {b:?}"),
    }
}

#[test]
fn windows_and_flips() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(1));
    for round in 0..120 {
        let (channels, depth) = KINDS[round % 6];
        let size = draw.size();
        let image = draw.image(size, channels, depth);
        let fill: Vec<f64> = (0..channels).map(|_| draw.unit() * 255.0).collect();
        let border = match round % 5 {
            0 | 1 => Border::Constant(fill),
            2 => Border::Edge,
            3 => Border::Reflect,
            _ => Border::Symmetric,
        };
        let at = [0, 1].map(|_| draw.of(160) as i64 - 80);
        let op = Op::Window {
            size: draw.size(),
            at,
            border,
        };
        check(&engine, &image, &op, 0.0);
        let direction = [
            Direction::Horizontal,
            Direction::Vertical,
            Direction::Diagonal,
        ][round % 3];
        check(&engine, &image, &Op::Flip(direction), 0.0);
    }
}

#[test]
fn resizes() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(2));
    let methods = [
        Method::Cv2(Interpolation::Nearest),
        Method::Cv2(Interpolation::Linear),
        Method::Cv2(Interpolation::Cubic),
        Method::Cv2(Interpolation::Area),
        Method::Cv2(Interpolation::Lanczos4),
        Method::Pillow(Filter::Nearest),
        Method::Pillow(Filter::Box),
        Method::Pillow(Filter::Bilinear),
        Method::Pillow(Filter::Hamming),
        Method::Pillow(Filter::Bicubic),
        Method::Pillow(Filter::Lanczos),
    ];
    for round in 0..60 {
        let (channels, depth) = KINDS[round % 6];
        let size = draw.size();
        let image = draw.image(size, channels, depth);
        let target = match round % 10 {
            8 => size.map(|v| v.div_ceil(2)),
            9 => size.map(|v| v * 2),
            _ => draw.size(),
        };
        for method in methods {
            // sums of some hundred terms of up to 300, in the same order; a product may be fused with its sum
            check(
                &engine,
                &image,
                &Op::Resize {
                    size: target,
                    method,
                },
                1e-3,
            );
        }
    }
    // blocks of 2x2 and 3x5, and whole rows
    for (from, to) in [
        ([128, 64], [64, 32]),
        ([63, 65], [21, 13]),
        ([65, 63], [1, 1]),
        ([130, 7], [2, 7]),
    ] {
        for (channels, depth) in KINDS {
            let image = draw.image(from, channels, depth);
            for method in methods {
                check(&engine, &image, &Op::Resize { size: to, method }, 1e-3);
            }
        }
    }
}

#[test]
fn warps() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(3));
    for round in 0..90 {
        let (channels, depth) = KINDS[round % 6];
        let size = draw.size();
        let image = draw.image(size, channels, depth);
        let fill: Vec<f64> = (0..channels).map(|_| draw.unit() * 255.0).collect();
        let mut term = |scale: f64| (draw.unit() - 0.5) * scale;
        let mut matrix = [
            [1.0 + term(3.0), term(2.0), term(60.0)],
            [term(2.0), 1.0 + term(3.0), term(60.0)],
            [0.0, 0.0, 1.0],
        ];
        match round % 9 {
            0 => matrix = [[1.0, 0.0, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]],
            1 => matrix = [[2.0, 0.0, 0.5], [0.0, 0.5, 0.25], [0.0, 0.0, 1.0]],
            2 => matrix = [[0.0; 3]; 3],
            3..=5 => matrix[2] = [term(0.02), term(0.02), 1.0 + term(0.1)],
            _ => {}
        }
        let target = draw.size();
        let affine = [matrix[0], matrix[1]];
        let linear = round % 2 == 0;
        check(
            &engine,
            &image,
            &Op::WarpAffine {
                matrix: affine,
                size: target,
                linear,
                fill: fill.clone(),
            },
            0.0,
        );
        check(
            &engine,
            &image,
            &Op::WarpPerspective {
                matrix,
                size: target,
                fill,
            },
            0.0,
        );
    }
}

#[test]
fn fills_and_floats() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(4));
    for (channels, depth) in KINDS {
        for _ in 0..6 {
            let size = draw.size();
            let image = draw.image(size, channels, depth);
            let value = (0..channels).map(|_| draw.of(256) as f64).collect();
            let rects = (0..draw.of(5)).map(|_| {
                let [x, y] = size.map(|v| [draw.of(v + 1), draw.of(v + 1)]);
                [
                    x[0].min(x[1]),
                    y[0].min(y[1]),
                    x[0].max(x[1]),
                    y[0].max(y[1]),
                ]
            });
            let rects = rects.collect();
            check(&engine, &image, &Op::Fill { rects, value }, 0.0);
            check(&engine, &image, &Op::ToFloat, 0.0);
            check(&engine, &image, &Op::ToBytes, 0.0);
        }
    }
}

#[test]
fn blends_and_pastes() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(5));
    for round in 0..60 {
        let (channels, depth) = KINDS[round % 6];
        let size = draw.size();
        let image = draw.image(size, channels, depth);
        // now and then the very picture
        let other = match round % 4 {
            0 => image.clone(),
            _ => draw.image(size, channels, depth),
        };
        let weight = [0.5, draw.unit() as f32, 1.0, 0.3][round % 4];
        check(
            &engine,
            &image,
            &Op::Blend {
                other: other.clone(),
                weight,
            },
            0.0,
        );
        let mask = (0..size[0] * size[1]).map(|_| draw.of(2) as u8).collect();
        check(&engine, &image, &Op::Paste { other, mask }, 0.0);
    }
}

#[test]
fn canvases() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(6));
    let cpu = Pixels::cpu().exact(true);
    let gpu = Pixels::on(engine).exact(true);
    for round in 0..24 {
        let (channels, depth) = KINDS[round % 6];
        let size = [65 + draw.of(40), 63 + draw.of(40)];
        let fill: Vec<f64> = (0..channels).map(|_| draw.of(256) as f64).collect();
        let shared = draw.image([31, 17], channels, depth);
        let parts: Vec<Part> = (0..4)
            .map(|i| {
                let resized = [0, 1].map(|_| 20 + draw.of(60));
                let crop = resized.map(|v| draw.of(v / 2));
                let shown = [0, 1].map(|k| 1 + draw.of((resized[k] - crop[k]).min(size[k])));
                let [x, y] = [0, 1].map(|k| draw.of(size[k] - shown[k] + 1));
                let source = draw.size();
                let image = match i % 2 {
                    0 => shared.clone(),
                    _ => draw.image(source, channels, depth),
                };
                let place = [x, y, x + shown[0], y + shown[1]];
                Part {
                    image,
                    resized,
                    crop,
                    place,
                }
            })
            .collect();
        let a = gpu
            .canvas(&Canvas {
                size,
                channels,
                depth,
                fill: &fill,
                parts: &parts,
            })
            .unwrap();
        let b = cpu
            .canvas(&Canvas {
                size,
                channels,
                depth,
                fill: &fill,
                parts: &parts,
            })
            .unwrap();
        same(
            &gpu.read_blocking(&a).unwrap(),
            &cpu.read_blocking(&b).unwrap(),
            1e-3,
            "canvas",
        );
    }
}

/// Composed steps: the same on both, u8 and f32 to the bit.
#[test]
fn composed() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(7));
    for round in 0..24 {
        let (channels, depth) = KINDS[round % 6];
        let sources: Vec<Image> = (0..4)
            .map(|_| {
                let size = draw.size();
                draw.image(size, channels, depth)
            })
            .collect();
        let fill: Vec<f64> = (0..channels).map(|_| draw.of(256) as f64).collect();
        let place = [
            [0, 0, 40, 30],
            [40, 0, 90, 30],
            [0, 30, 40, 70],
            [40, 30, 90, 70],
        ];
        let parts: Vec<Part> = (sources.iter().zip(place))
            .map(|(image, place)| Part {
                image: image.clone(),
                resized: [60, 50],
                crop: [draw.of(10), draw.of(10)],
                place,
            })
            .collect();
        let mut term = |scale: f64| (draw.unit() - 0.5) * scale;
        let matrix = [
            [1.0 + term(1.0), term(1.0), term(60.0)],
            [term(1.0), 1.0 + term(1.0), term(60.0)],
            [0.0, 0.0, 1.0],
        ];
        let size = draw.size();
        let steps = [
            Op::WarpPerspective {
                matrix,
                size: [101, 80],
                fill: fill.clone(),
            },
            Op::Flip(Direction::Horizontal),
            Op::Resize {
                size,
                method: Method::Cv2(Interpolation::Linear),
            },
            Op::Window {
                size: [65, 64],
                at: [draw.of(20) as i64 - 10, 3],
                border: Border::Constant(fill.clone()),
            },
        ];
        let other = draw.image([40, 30], channels, depth);
        let [a, b] = [Pixels::on(engine.clone()), Pixels::cpu()].map(|pixels| {
            let mut image = pixels
                .canvas(&Canvas {
                    size: [95, 75],
                    channels,
                    depth,
                    fill: &fill,
                    parts: &parts,
                })
                .unwrap();
            for op in &steps[..round % 5] {
                image = pixels.run(&image, op).unwrap();
            }
            // needs the pixels of both
            let other = pixels.run(
                &other,
                &Op::Resize {
                    size: image.size(),
                    method: Method::Cv2(Interpolation::Linear),
                },
            );
            let blend = Op::Blend {
                other: other.unwrap(),
                weight: 0.5,
            };
            image = pixels.run(&image, &blend).unwrap();
            pixels.read_blocking(&image).unwrap()
        });
        same(&a, &b, 0.0, "composed");
    }
}

#[test]
fn uploaded_once() {
    let Some(engine) = gpu() else { return };
    let image = Draw(Random::new(8)).image([33, 7], 3, Depth::U8);
    let [a, b] = [0, 1].map(|_| engine.upload(&image).unwrap());
    let (Store::Device(a), Store::Device(b)) = (&a.store, &b.store) else {
        panic!("on the device")
    };
    assert!(Arc::ptr_eq(a, b));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some(engine) = gpu() else { return };
    let image = Draw(Random::new(9)).image([3, 2], 3, Depth::F32);
    let window = |size| Op::Window {
        size,
        at: [0, 0],
        border: Border::Edge,
    };
    // 12 bytes a pixel
    let error = engine.run(&image, &window([4096, 4096])).unwrap_err();
    assert!(error.to_string().contains("192 MiB"), "{error}");
    let error = engine.run(&image, &window([1, 300_000])).unwrap_err();
    assert!(error.to_string().contains("262140"), "{error}");
    let error = engine.run(&image, &window([usize::MAX, 2])).unwrap_err();
    assert!(matches!(error, Fault::TooLarge { .. }), "{error}");
    // a pixel of a million
    let image = Image::new([1025, 1024], 1, Samples::U8(vec![7; 1025 * 1024]));
    let op = Op::Resize {
        size: [1, 1],
        method: Method::Cv2(Interpolation::Area),
    };
    let error = engine.run(&image, &op).unwrap_err();
    assert!(error.to_string().contains("in two steps"), "{error}");
    let error = engine.run(&image, &Op::Hsv { gains: [1; 3] }).unwrap_err();
    assert!(error.to_string().contains("BGR"), "{error}");
}

#[test]
fn hsv_and_photometric() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(10));
    for round in 0..40 {
        let size = draw.size();
        let image = draw.image(size, 3, Depth::U8);
        let gains = match round {
            0 => [i16::MIN; 3],
            1 => [i16::MAX; 3],
            2 => [0; 3],
            _ => [0, 1, 2].map(|_| draw.of(60) as i16 - 30),
        };
        check(&engine, &image, &Op::Hsv { gains }, 0.0);
        let image = match round % 2 {
            0 => image,
            _ => draw.image(size, 3, Depth::F32),
        };
        let mut some = |low: f64, high: f64| {
            (draw.of(3) > 0).then(|| (low + draw.unit() * (high - low)) as f32)
        };
        let drawn = Photometric {
            brightness: some(-32.0, 32.0),
            contrast_first: round % 3 == 0,
            contrast: some(0.5, 1.5),
            saturation: some(0.5, 1.5),
            hue: some(-18.0, 18.0),
            swap: [None, Some([2, 0, 1]), Some([1, 0, 2])][round % 3],
        };
        // Hue and saturation divide, to which WGSL allows 2.5 ulp of f32; they come back times up to 255 * 6.
        check(&engine, &image, &Op::Photometric(drawn), 1e-2);
    }
    // every colour, without gains and with some
    let all: Vec<u8> = (0..64u32 * 64 * 64)
        .flat_map(|i| [i % 64, i / 64 % 64, i / 4096].map(|v| (v * 255 / 63) as u8))
        .collect();
    let image = Image::new([512, 512], 3, Samples::U8(all));
    check(&engine, &image, &Op::Hsv { gains: [0; 3] }, 0.0);
    check(
        &engine,
        &image,
        &Op::Hsv {
            gains: [-4, 21, -13],
        },
        0.0,
    );
}

#[test]
fn colours() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(11));
    for round in 0..36 {
        let (channels, depth) = KINDS[round % 6];
        let size = draw.size();
        let image = match round % 4 {
            // few values, so that histograms have ends
            0 => {
                let (low, range) = (draw.of(200), 2 + draw.of(54));
                let n = size[0] * size[1] * channels;
                let samples = (0..n).map(|_| (low + draw.of(range)) as u8).collect();
                Image::new(size, channels, Samples::U8(samples))
            }
            _ => draw.image(size, channels, depth),
        };
        let factor = [0.0, 1.0, 0.5, 0.1 + 1.8 * draw.unit()][round % 4];
        let level = draw.unit() * 256.0;
        for colour in [
            Colour::Color(factor),
            Colour::Brightness(factor),
            Colour::Sharpness(factor),
            Colour::Solarize(level),
            Colour::Solarize(level.floor()),
            Colour::SolarizeAdd(level / 2.0),
            Colour::Posterize(round as u32 % 9),
            Colour::Equalize,
            Colour::AutoContrast,
            Colour::Invert,
            Colour::Contrast(factor),
        ] {
            if matches!((colour, image.depth()), (Colour::Contrast(_), Depth::F32)) {
                let error = engine.run(&image, &Op::Colour(colour));
                assert!(error.is_err());
                continue;
            }
            // f32: sums are of f64 there, and of f32 here
            check(&engine, &image, &Op::Colour(colour), 1e-3);
        }
    }
}

/// Depths that differ, and the errors of what does not fit.
#[test]
fn mixed_depths() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(12));
    for (a, b) in [(Depth::U8, Depth::F32), (Depth::F32, Depth::U8)] {
        let (image, other) = (draw.image([65, 7], 3, a), draw.image([65, 7], 3, b));
        let mask: crate::structures::Bitmap = (0..65 * 7).map(|_| draw.of(2) as u8).collect();
        check(
            &engine,
            &image,
            &Op::Blend {
                other: other.clone(),
                weight: 0.3,
            },
            0.0,
        );
        check(
            &engine,
            &image,
            &Op::Paste {
                other: other.clone(),
                mask: mask.clone(),
            },
            0.0,
        );
        let part = Part {
            image: other,
            resized: [30, 20],
            crop: [3, 2],
            place: [1, 2, 20, 15],
        };
        let [a, b] = [Pixels::on(engine.clone()), Pixels::cpu()].map(|pixels| {
            let pixels = pixels.exact(true);
            let image = pixels.canvas(&Canvas {
                size: [33, 31],
                channels: 3,
                depth: a,
                fill: &[1.0, 2.0, 3.0],
                parts: std::slice::from_ref(&part),
            });
            pixels.read_blocking(&image.unwrap()).unwrap()
        });
        same(&a, &b, 1e-3, "canvas of another depth");
        let small = draw.image([64, 7], 3, Depth::U8);
        check(
            &engine,
            &image,
            &Op::Blend {
                other: small.clone(),
                weight: 0.5,
            },
            0.0,
        );
        check(
            &engine,
            &small,
            &Op::Paste {
                other: small.clone(),
                mask,
            },
            0.0,
        );
        let grey = draw.image([64, 7], 1, Depth::U8);
        check(&engine, &grey, &Op::Hsv { gains: [1; 3] }, 0.0);
        check(
            &engine,
            &grey,
            &Op::Photometric(Photometric::default()),
            0.0,
        );
    }
}

/// What a pipeline does, in exact mode: to the bit.
#[test]
fn a_chain() {
    let Some(engine) = gpu() else { return };
    let mut draw = Draw(Random::new(13));
    let sources: Vec<Image> = [[101, 64], [63, 65], [33, 101], [80, 60]]
        .map(|size| draw.image(size, 3, Depth::U8))
        .to_vec();
    let other = draw.image([96, 96], 3, Depth::U8);
    let places = [
        [0, 0, 50, 50],
        [50, 0, 128, 50],
        [0, 50, 50, 128],
        [50, 50, 128, 128],
    ];
    let parts: Vec<Part> = (sources.iter().zip(places))
        .map(|(image, place)| Part {
            image: image.clone(),
            resized: [90, 85],
            crop: [7, 5],
            place,
        })
        .collect();
    let fill = vec![114.0; 3];
    let matrix = [[0.9, 0.2, -11.3], [-0.15, 1.1, 4.7], [0.0, 0.0, 1.0]];
    let steps = [
        Op::WarpPerspective {
            matrix,
            size: [96, 96],
            fill: fill.clone(),
        },
        Op::Blend { other, weight: 0.5 },
        Op::Hsv {
            gains: [3, -20, 17],
        },
        Op::Flip(Direction::Horizontal),
        Op::Colour(Colour::Contrast(1.3)),
        Op::Colour(Colour::Equalize),
        Op::Colour(Colour::Sharpness(0.4)),
        Op::Resize {
            size: [133, 77],
            method: Method::Cv2(Interpolation::Linear),
        },
        Op::Window {
            size: [128, 128],
            at: [-3, 20],
            border: Border::Constant(fill.clone()),
        },
    ];
    let run = |pixels: Pixels| {
        let pixels = pixels.exact(true);
        let mut image = pixels
            .canvas(&Canvas {
                size: [128, 128],
                channels: 3,
                depth: Depth::U8,
                fill: &fill,
                parts: &parts,
            })
            .unwrap();
        for op in &steps {
            image = pixels.run(&image, op).unwrap();
        }
        pixels.read_blocking(&image).unwrap()
    };
    let expected = run(Pixels::cpu());
    same(&run(Pixels::on(engine.clone())), &expected, 0.0, "chain");
    // and from several threads at once, as loaders do
    std::thread::scope(|scope| {
        let threads = [0, 1, 2].map(|_| scope.spawn(|| run(Pixels::on(engine.clone()))));
        for thread in threads {
            same(&thread.join().unwrap(), &expected, 0.0, "chain in a thread");
        }
    });
}
