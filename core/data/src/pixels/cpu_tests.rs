//! The steps against OpenCV 4.11.0 (pip wheel, on a CPU with AVX2), mmcv 2.1.0 and mmdet 3.3.0. Pictures come from
//! formulas; of an expected picture a checksum, the first three and the last three samples are kept. u8 is equal to the
//! bit; f32 has tolerances, as OpenCV's vector code fuses operations.

use std::f64::consts::PI;

use super::*;
use crate::pixels::Pixels;

fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
    (0..width * height * channels)
        .map(|i| ((i * i * 7 + i * 31 + (i >> 3) * 17) % 251) as u8)
        .collect()
}

fn rough(size: [usize; 2], channels: usize) -> Image {
    let pixels = picture(size[0], size[1], channels);
    Image::new(size, channels, Samples::U8(pixels))
}

fn ramps() -> Image {
    let sample = |i: usize| (i / 3 % 65 * 3 + i / 195 * 2 + i % 3 * 40) as u8;
    let pixels = (0..65 * 63 * 3).map(sample).collect();
    Image::new([65, 63], 3, Samples::U8(pixels))
}

/// The first picture of the tests, a quarter brighter, as floats.
fn floating() -> Image {
    let pixels = picture(65, 63, 3);
    let pixels = pixels.iter().map(|&v| f32::from(v) + 0.25).collect();
    Image::new([65, 63], 3, Samples::F32(pixels))
}

fn u8s(image: &Image) -> &[u8] {
    match &**image.samples().unwrap() {
        Samples::U8(pixels) => pixels,
        Samples::F32(_) => panic!("u8 was expected"),
    }
}

fn f32s(image: &Image) -> &[f32] {
    match &**image.samples().unwrap() {
        Samples::F32(pixels) => pixels,
        Samples::U8(_) => panic!("f32 was expected"),
    }
}

type Expected = (u32, [u8; 6]);

fn check(name: &str, image: &Image, expected: Expected) {
    let pixels = u8s(image);
    let sum = pixels.iter().enumerate().fold(0u64, |sum, (i, &v)| {
        sum + u64::from(v) * (i as u64 % 997 + 1)
    });
    let n = pixels.len();
    let ends = [0, 1, 2, n - 3, n - 2, n - 1].map(|i| pixels[i]);
    assert_eq!((sum as u32, ends), expected, "{name}");
}

fn close(name: &str, image: &Image, first: &[f32], mean: f64) {
    let pixels = f32s(image);
    for (i, (a, b)) in pixels.iter().zip(first).enumerate() {
        assert!((a - b).abs() < 1e-3, "{name}: sample {i} is {a}, not {b}");
    }
    let sum: f64 = pixels.iter().map(|&v| f64::from(v)).sum();
    let found = sum / pixels.len() as f64;
    assert!((found - mean).abs() < 1e-3, "{name}: {found}, not {mean}");
}

const FILL: [f64; 4] = [10.5, 20.0, 30.0, 40.0];
const MATRIX: [[f64; 3]; 3] = [[0.8, 0.3, -5.25], [-0.2, 1.1, 7.5], [0.0, 0.0, 1.0]];

fn affine(linear: bool) -> Op {
    Op::WarpAffine {
        matrix: [MATRIX[0], MATRIX[1]],
        size: [64, 40],
        linear,
        fill: FILL.to_vec(),
    }
}

fn perspective(matrix: [[f64; 3]; 3]) -> Op {
    Op::WarpPerspective {
        matrix,
        size: [64, 40],
        fill: FILL.to_vec(),
    }
}

#[test]
fn warps() {
    let edges = [10, 20, 30, 10, 20, 30];
    let grey = [10; 6];
    let four = [10, 20, 30, 20, 30, 40];
    for (image, sums, ends) in [
        (
            rough([65, 63], 3),
            [387_423_113, 388_508_843, 387_402_448],
            edges,
        ),
        (
            rough([63, 64], 1),
            [116_186_299, 115_371_793, 116_188_169],
            grey,
        ),
        (
            rough([33, 31], 4),
            [301_621_320, 299_255_634, 301_610_324],
            four,
        ),
    ] {
        let ops = [affine(true), affine(false), perspective(MATRIX)];
        for (op, sum) in ops.iter().zip(sums) {
            check(&format!("{op:?}"), &run(&image, op).unwrap(), (sum, ends));
        }
    }
}

#[test]
fn a_true_perspective_is_like_its_affine_limit() {
    let image = rough([65, 63], 3);
    let mut matrix = MATRIX;
    matrix[2][0] = 1e-13;
    let (a, b) = (
        run(&image, &perspective(MATRIX)).unwrap(),
        run(&image, &perspective(matrix)).unwrap(),
    );
    let pairs = || u8s(&a).iter().zip(u8s(&b));
    let different = pairs().filter(|(a, b)| a != b).count();
    assert!(different < 10, "{different}");
    // A point further away: x / (1 + x / 100).
    let line: Vec<f32> = (0..100).map(|x| x as f32).collect();
    let line = Image::new([100, 1], 1, Samples::F32(line));
    let matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.01, 0.0, 1.0]];
    let out = run(&line, &perspective(matrix)).unwrap();
    for (x, found) in f32s(&out)[..50].iter().enumerate() {
        let wanted = x as f32 / (1.0 - 0.01 * x as f32);
        // Positions have steps of 1/32.
        assert!((found - wanted).abs() < 0.02, "{x}: {found}, not {wanted}");
    }
}

#[test]
fn a_matrix_without_inverse_shows_the_first_pixel() {
    let image = rough([7, 5], 3);
    for op in [
        perspective([[0.0; 3]; 3]),
        Op::WarpAffine {
            matrix: [[1.0, 1.0, 3.0], [1.0, 1.0, 4.0]],
            size: [3, 2],
            linear: true,
            fill: FILL.to_vec(),
        },
    ] {
        let out = run(&image, &op).unwrap();
        let (pixels, _) = u8s(&out).as_chunks::<3>();
        assert!(pixels.iter().all(|p| p == &u8s(&image)[..3]));
    }
}

#[test]
fn windows() {
    for (border, expected) in [
        (
            Border::Constant(FILL.to_vec()),
            (1_248_894_374, [10, 20, 30, 10, 20, 30]),
        ),
        (Border::Edge, (3_216_395_234, [0, 38, 90, 232, 32, 97])),
        (Border::Reflect, (3_762_512_672, [223, 52, 146, 8, 144, 43])),
        (
            Border::Symmetric,
            (3_741_971_078, [130, 106, 96, 233, 3, 55]),
        ),
    ] {
        let op = Op::Window {
            size: [5 + 65 + 80, 70 + 63 + 3],
            at: [5, 70],
            border,
        };
        check(
            &format!("{op:?}"),
            &run(&rough([65, 63], 3), &op).unwrap(),
            expected,
        );
    }
}

#[test]
fn colours() {
    let (rough, ramps) = (rough([65, 63], 3), ramps());
    let hsv = |gains| run(&rough, &Op::Hsv { gains }).unwrap();
    check(
        "hsv",
        &hsv([5, -30, 17]),
        (876_590_028, [12, 69, 107, 249, 63, 156]),
    );
    check("hsv", &hsv([0; 3]), (741_218_658, [0, 39, 90, 232, 32, 99]));
    for (colour, a, b) in [
        (
            Colour::Color(1.37),
            (746_908_908, [0, 34, 105, 255, 16, 106]),
            (825_511_425, [0, 37, 92, 43, 97, 152]),
        ),
        (
            Colour::Brightness(1.37),
            (950_957_482, [0, 52, 123, 255, 43, 132]),
            (1_044_791_406, [0, 54, 109, 82, 137, 191]),
        ),
        (
            Colour::Contrast(0.63),
            (739_307_716, [45, 69, 102, 191, 65, 106]),
            (829_186_344, [51, 76, 101, 89, 114, 139]),
        ),
        (
            Colour::Sharpness(1.8),
            (747_581_996, [0, 0, 58, 255, 0, 97]),
            (829_199_971, [0, 38, 78, 61, 101, 141]),
        ),
        (
            Colour::Solarize(99.5),
            (408_679_525, [0, 38, 90, 23, 32, 97]),
            (391_479_071, [0, 40, 80, 60, 155, 115]),
        ),
        (
            Colour::SolarizeAdd(55.5),
            (914_268_530, [55, 93, 145, 232, 87, 152]),
            (968_605_850, [55, 95, 135, 115, 155, 140]),
        ),
        (
            Colour::Posterize(3),
            (652_609_920, [0, 32, 64, 224, 32, 96]),
            (735_862_368, [0, 32, 64, 32, 96, 128]),
        ),
        (
            Colour::Equalize,
            (814_708_163, [0, 44, 98, 254, 36, 106]),
            (799_938_811, [0, 37, 90, 41, 80, 133]),
        ),
        (
            Colour::Invert,
            (792_402_355, [255, 217, 165, 23, 223, 158]),
            (706_232_135, [255, 215, 175, 195, 155, 115]),
        ),
    ] {
        let done = |image| run(image, &Op::Colour(colour)).unwrap();
        check(&format!("{colour:?}"), &done(&rough), a);
        check(&format!("{colour:?}"), &done(&ramps), b);
    }
    // Of half of the range.
    for (image, expected) in [
        (&rough, (752_101_703, [0, 38, 91, 236, 32, 97])),
        (&ramps, (826_393_218, [0, 40, 80, 60, 100, 140])),
    ] {
        let half = u8s(image).iter().map(|v| v / 2 + 20).collect();
        let half = with(image, Samples::U8(half));
        let out = run(&half, &Op::Colour(Colour::AutoContrast)).unwrap();
        check("auto_contrast", &out, expected);
    }
}

#[test]
fn two_pictures() {
    let image = rough([65, 63], 3);
    let other = (0..65 * 63 * 3).map(|i| ((i * i * 7 + i * 31 + (i >> 3) * 17 + 100) % 251) as u8);
    let other = with(&image, Samples::U8(other.collect()));
    let blend = |weight| {
        let other = other.clone();
        run(&image, &Op::Blend { other, weight }).unwrap()
    };
    check(
        "blend",
        &blend(0.5),
        (741_765_764, [50, 88, 140, 156, 82, 147]),
    );
    check(
        "blend",
        &blend(0.3),
        (742_054_395, [70, 108, 160, 126, 102, 167]),
    );
    let mask: Vec<u8> = (0..65 * 63).map(|i| u8::from(i % 65 == 2)).collect();
    let mask = mask.into();
    let out = run(
        &image,
        &Op::Paste {
            other: other.clone(),
            mask,
        },
    );
    let out = out.unwrap();
    assert_eq!(u8s(&out)[..6], u8s(&image)[..6]);
    assert_eq!(u8s(&out)[6..9], u8s(&other)[6..9]);
    assert_eq!(u8s(&out)[9..12], u8s(&image)[9..12]);
}

#[test]
fn canvases() {
    let image = rough([65, 63], 3);
    let parts = [
        Part {
            image: image.clone(),
            resized: [80, 70],
            crop: [10, 20],
            place: [0, 0, 40, 30],
        },
        Part {
            image: image.clone(),
            resized: [65, 63],
            crop: [40, 38],
            place: [35, 25, 60, 50],
        },
    ];
    let done = |depth| {
        canvas(&Canvas {
            size: [60, 50],
            channels: 3,
            depth,
            fill: &[114.0; 3],
            parts: &parts,
        })
        .unwrap()
    };
    let out = done(Depth::U8);
    check("canvas", &out, (532_538_029, [127, 184, 45, 232, 32, 97]));
    let float = done(Depth::F32);
    let casted: Vec<u8> = f32s(&float).iter().map(|&v| v as u8).collect();
    assert_eq!(casted, u8s(&out));
    // Floats on a canvas of u8 are cut.
    let float = Part {
        image: floating(),
        ..parts[1].clone()
    };
    let out = canvas(&Canvas {
        size: [60, 50],
        channels: 3,
        depth: Depth::U8,
        fill: &[114.0; 3],
        parts: &[float],
    })
    .unwrap();
    assert_eq!(u8s(&out)[..3], [114; 3]);
    assert_eq!(u8s(&out)[8997..], [232, 32, 97]);
}

#[test]
fn rectangles_and_mirrors() {
    let image = rough([3, 2], 1);
    let op = Op::Fill {
        rects: vec![[0, 0, 1, 1], [2, 1, 9, 9], [5, 5, 6, 6], [2, 2, 1, 1]],
        value: vec![7.0],
    };
    let p = u8s(&image);
    let out = run(&image, &op).unwrap();
    assert_eq!(u8s(&out), [7, p[1], p[2], p[3], p[4], 7]);
    let out = run(&image, &Op::Flip(Direction::Diagonal)).unwrap();
    assert_eq!(u8s(&out), [p[5], p[4], p[3], p[2], p[1], p[0]]);
    let out = run(&image, &Op::Flip(Direction::Vertical)).unwrap();
    assert_eq!(u8s(&out), [p[3], p[4], p[5], p[0], p[1], p[2]]);
}

#[test]
fn floats() {
    let image = floating();
    let out = run(&image, &affine(true)).unwrap();
    let line = [197.5625, 106.1875, 36.25, 76.154_3, 170.175_78, 150.024_41];
    assert_eq!(f32s(&out)[3000..3006], line);
    close("warp", &out, &[10.5, 20.0, 30.0], 103.357_722);
    for (colour, first, mean) in [
        (
            Colour::Color(1.37),
            [0.0, 34.100_08, 105.340_08, 147.393_31, 255.0, 41.903_305],
            124.367_902,
        ),
        (
            Colour::Brightness(1.37),
            [0.3425, 52.4025, 123.6425, 214.0625, 255.0, 108.5725],
            158.563_468,
        ),
        (
            Colour::Contrast(1.37),
            [0.0, 6.5225, 77.7625, 168.1825, 255.0, 62.6925],
            124.501_593,
        ),
        (
            Colour::Sharpness(1.37),
            [0.0, 13.146_92, 75.620_766, 174.664_61, 255.0, 71.081_535],
            124.265_977,
        ),
    ] {
        let out = run(&image, &Op::Colour(colour)).unwrap();
        close(&format!("{colour:?}"), &out, &first, mean);
    }
    let out = run(&image, &Op::Hsv { gains: [3, 1, -4] }).unwrap();
    let first = [0.0, 40.133_335, 86.0, 123.733_38, 232.0, 0.0];
    close("hsv", &out, &first, 91.283_885);
    let out = run(&rough([2, 1], 1), &Op::ToFloat).unwrap();
    assert_eq!(f32s(&out), [0.0, 38.0]);
}

#[test]
fn photometric_distortion() {
    for contrast_first in [true, false] {
        let op = Op::Photometric(Photometric {
            brightness: Some(-12.25),
            contrast_first,
            contrast: Some(1.3),
            saturation: Some(1.4),
            hue: Some(-15.5),
            swap: Some([2, 0, 1]),
        });
        let out = run(&rough([65, 63], 3), &op).unwrap();
        let first = [101.075, 0.0, 16.565_073, 5.135_0, 71.458_87, 290.875];
        close("photometric", &out, &first, 129.629_29);
    }
}

#[test]
fn one_pixel() {
    for depth in [Depth::U8, Depth::F32] {
        let image = match depth {
            Depth::U8 => Image::new([1, 1], 3, Samples::U8(vec![1, 2, 3])),
            Depth::F32 => Image::new([1, 1], 3, Samples::F32(vec![1.0, 2.0, 3.0])),
        };
        for op in [
            affine(true),
            affine(false),
            perspective(MATRIX),
            Op::Flip(Direction::Diagonal),
            Op::Colour(Colour::Sharpness(0.5)),
            Op::Colour(Colour::Contrast(0.5)),
            Op::Window {
                size: [3, 4],
                at: [i64::MIN, i64::MAX],
                border: Border::Reflect,
            },
            Op::Resize {
                size: [65, 1],
                method: Method::Cv2(Interpolation::Linear),
            },
        ] {
            run(&image, &op).unwrap();
        }
    }
}

fn refused(image: &Image, op: &Op, words: &str) {
    let pixels = Pixels::cpu().exact(true);
    let error = pixels.run(image, op).unwrap_err().to_string();
    assert!(error.contains(words), "{op:?}: {error}");
}

#[test]
fn what_cannot_be_done() {
    let image = rough([5, 4], 3);
    let grey = rough([5, 4], 1);
    let float = run(&image, &Op::ToFloat).unwrap();
    refused(
        &Image::none(),
        &Op::Flip(Direction::Vertical),
        "has no pixels",
    );
    let window = |size| Op::Window {
        size,
        at: [0, 0],
        border: Border::Edge,
    };
    refused(&image, &window([0, 4]), "0x4 pixels");
    refused(&image, &window([usize::MAX, usize::MAX]), "limit");
    for bad in [f64::NAN, f64::INFINITY, f64::MIN_POSITIVE * 1e-10] {
        let mut matrix = MATRIX;
        matrix[0][0] = bad;
        if !bad.is_finite() {
            refused(&image, &perspective(matrix), "not finite");
        }
        matrix = [[bad, 0.0, 0.0], [0.0, bad, 0.0], [0.0, 0.0, 1.0]];
        let op = Op::WarpAffine {
            matrix: [matrix[0], matrix[1]],
            size: [4, 4],
            linear: true,
            fill: vec![],
        };
        if !bad.is_finite() {
            refused(&image, &op, "not finite");
        }
        let _ = run(&image, &op); // whatever comes of the smallest of numbers
    }
    let other = rough([4, 5], 3);
    refused(
        &image,
        &Op::Blend { other, weight: 0.5 },
        "must have the same",
    );
    let op = Op::Paste {
        other: image.clone(),
        mask: vec![1; 3].into(),
    };
    refused(&image, &op, "a mask of another size");
    refused(&grey, &Op::Hsv { gains: [0; 3] }, "takes BGR");
    refused(&grey, &Op::Colour(Colour::Color(1.0)), "takes BGR");
    refused(&grey, &Op::Photometric(Photometric::default()), "takes BGR");
    let swap = Some([0, 1, 3]);
    let op = Op::Photometric(Photometric {
        swap,
        ..Photometric::default()
    });
    refused(&image, &op, "not an order");
    refused(&float, &Op::Colour(Colour::Equalize), "take u8");
    let dark = Image::new([1, 1], 3, Samples::F32(vec![-9.0; 3]));
    refused(
        &dark,
        &Op::Colour(Colour::Contrast(0.5)),
        "no value from 0 to 255",
    );
    let part = |resized, crop, place| Part {
        image: image.clone(),
        resized,
        crop,
        place,
    };
    for part in [
        part([5, 4], [3, 0], [0, 0, 3, 1]),
        part([5, 4], [0, usize::MAX], [0, 0, 1, 1]),
        part([5, 4], [0, 0], [3, 0, 2, 1]),
        part([5, 4], [0, 0], [6, 0, 9, 1]),
        part([0, 4], [0, 0], [0, 0, 0, 0]),
    ] {
        canvas(&Canvas {
            size: [8, 8],
            channels: 3,
            depth: Depth::U8,
            fill: &[0.0],
            parts: &[part],
        })
        .unwrap_err();
    }
    canvas(&Canvas {
        size: [8, 8],
        channels: 5,
        depth: Depth::U8,
        fill: &[0.0],
        parts: &[],
    })
    .unwrap_err();
}

/// Four quarter turns leave a picture as it was: cosines that are nearly 0 do not move positions.
#[test]
fn quarter_turns() {
    let image = rough([9, 9], 3);
    let mut turned = image.clone();
    for _ in 0..4 {
        let (sin, cos) = (PI / 2.0).sin_cos();
        let at = 4.0;
        let matrix = [
            [cos, sin, at - cos * at - sin * at],
            [-sin, cos, at + sin * at - cos * at],
            [0.0, 0.0, 1.0],
        ];
        let op = Op::WarpPerspective {
            matrix,
            size: [9, 9],
            fill: vec![],
        };
        turned = run(&turned, &op).unwrap();
    }
    assert_eq!(u8s(&turned), u8s(&image));
}
