//! Deformable convolution on every device, against the twins and against mmcv.

use burn::tensor::{Device, TensorData};
use smalti_shaders::records::DeformRecord;
use smalti_shaders::reference::deform::{columns, gather, points};
use smalti_shaders::reference::random::Random;

use super::*;
use crate::device::gpu_for_tests;

/// The CPU, and a GPU if there is one.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::flex()];
    devices.extend(gpu_for_tests());
    devices
}

/// Sizes of the operands, and how the filters move.
struct Case {
    x: [usize; 4],
    weight: [usize; 4],
    shape: DeformShape,
    /// How far samples move, px; 0 for whole pixels.
    far: f32,
}

/// Values of x, offset, mask and weight, and y's gradient.
struct Values {
    all: [Vec<f32>; 5],
    dims: [[usize; 4]; 5],
}

impl Values {
    fn draw(case: &Case, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let Case {
            x, weight, shape, ..
        } = *case;
        let [height, width] = shape.still().size_out(x, weight).unwrap();
        let rows = shape.sets * weight[2] * weight[3];
        let dims = [
            x,
            [x[0], 2 * rows, height, width],
            [x[0], rows, height, width],
            weight,
            [x[0], weight[0], height, width],
        ];
        let all = dims.map(|dims| {
            let n = dims.iter().product::<usize>();
            (0..n)
                .map(|_| random.unit() * 2.0 - 1.0)
                .collect::<Vec<_>>()
        });
        let mut values = Self { all, dims };
        let move_by = |v: &mut f32| {
            *v = if case.far > 0.0 {
                *v * case.far
            } else {
                (*v * 3.0).round()
            }
        };
        values.all[1].iter_mut().for_each(move_by);
        values
    }

    fn tensors(&self, device: &Device) -> [Tensor<4>; 5] {
        std::array::from_fn(|i| {
            Tensor::from_data(TensorData::new(self.all[i].clone(), self.dims[i]), device)
        })
    }
}

/// `[N, C, H, W]` with its channels last, filled up to four; and back.
fn last(values: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let filled = c.next_multiple_of(4);
    let mut made = vec![0.0; n * h * w * filled];
    for (i, v) in values.iter().enumerate() {
        let (picture, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        made[(picture * h * w + pixel) * filled + channel] = *v;
    }
    made
}

fn first(values: &[f32], [n, c, h, w]: [usize; 4], filled: usize) -> Vec<f32> {
    let at = |i: usize| {
        let (picture, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        values[(picture * h * w + pixel) * filled + channel]
    };
    (0..n * c * h * w).map(at).collect()
}

/// y and the gradients of x, offset, mask and weight, by the twins.
fn expected(case: &Case, values: &Values) -> [Vec<f32>; 5] {
    let Case { shape, .. } = case;
    let [x, offset, mask, weight, slope] = &values.all;
    let [
        of_x,
        of_offset,
        of_mask,
        [filters, seen, down, across],
        of_y,
    ] = values.dims;
    let (taps, filled) = (down * across, of_x[1].next_multiple_of(4));
    let plane = of_y[2] * of_y[3];
    let outputs = of_x[0] * plane;
    let pair = |v: [usize; 2]| v.map(|n| n as u32);
    let strides = |channels: usize| [channels * plane, plane, of_y[3], 1].map(|n| n as u32);
    let record = DeformRecord {
        offset_strides: strides(of_offset[1]),
        mask_strides: strides(of_mask[1]),
        size: pair([of_x[2], of_x[3]]),
        size_out: pair([of_y[2], of_y[3]]),
        kernel: pair([down, across]),
        stride: pair(shape.stride),
        padding: pair(shape.before()),
        dilation: pair(shape.dilation),
        first: 0,
        pixels: outputs as u32,
        picture: 0,
        pictures: of_x[0] as u32,
        channels: (filled / 4) as u32,
        sets: shape.sets as u32,
        each: (of_x[1] / shape.sets) as u32,
        place: 0,
    };
    let x = last(x, of_x);
    let seen_by = columns(&record, &x, offset, mask);
    let mut y = vec![0.0f64; values.all[4].len()];
    let mut of_weight = vec![0.0f64; weight.len()];
    let mut slopes = vec![0.0f64; seen_by.len()];
    for pixel in 0..outputs {
        for filter in 0..filters {
            let at = (pixel / plane * filters + filter) * plane + pixel % plane;
            let group = filter / (filters / shape.groups);
            for channel in 0..seen {
                for tap in 0..taps {
                    let from = (pixel * taps + tap) * filled + group * seen + channel;
                    let by = (filter * seen + channel) * taps + tap;
                    y[at] += f64::from(seen_by[from]) * f64::from(weight[by]);
                    of_weight[by] += f64::from(seen_by[from]) * f64::from(slope[at]);
                    slopes[from] += f64::from(slope[at]) * f64::from(weight[by]);
                }
            }
        }
    }
    let single = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    let slopes = single(slopes);
    let [offsets, masks] = points(&record, outputs, [&x, offset, mask, &slopes]);
    let before = vec![0.0; x.len()];
    let of_input = gather(&record, [offset, mask, &slopes], &before);
    [
        single(y),
        first(&of_input, of_x, filled),
        first(&offsets, of_offset, of_offset[1]),
        first(&masks, of_mask, of_mask[1]),
        single(of_weight),
    ]
}

fn close(name: &str, found: Tensor<4>, expected: &[f32]) {
    let found: Vec<f32> = found.into_data().try_into_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    let most = expected.iter().fold(1.0f32, |most, v| most.max(v.abs()));
    for (found, expected) in found.iter().zip(expected) {
        // sums of some thousand numbers of about 1 in f32
        let off = (found - expected).abs();
        assert!(off <= 2e-5 * most, "{name}: {found} {expected} of {most}");
    }
}

/// Ours of all kinds, against `expected`.
#[cfg(feature = "train")]
fn check(name: &str, device: &Device, values: &Values, shape: &DeformShape, expected: &[Vec<f32>]) {
    let [x, offset, mask, weight, slope] = values.tensors(device);
    let still = deform_conv2d(
        x.clone(),
        offset.clone(),
        Some(mask.clone()),
        weight.clone(),
        shape,
    );
    close(&format!("{name}, y"), still, &expected[0]);
    let leaves = [x, offset, mask, weight].map(|t| t.autodiff().require_grad());
    let [x, offset, mask, weight] = leaves.clone();
    // in another order
    let x = x
        .permute([0, 2, 3, 1])
        .mul_scalar(1.0)
        .permute([0, 3, 1, 2]);
    let y = deform_conv2d(x, offset, Some(mask), weight, shape);
    close(
        &format!("{name}, y"),
        y.clone().without_autodiff(),
        &expected[0],
    );
    let back = (y * slope).sum().backward();
    let parts = ["x", "offset", "mask", "weight"];
    for ((part, leaf), expected) in parts.iter().zip(&leaves).zip(&expected[1..]) {
        let gradient = leaf.grad(&back).expect("it has one");
        close(&format!("{name}, {part}"), gradient, expected);
    }
}

fn plain(kernel: usize) -> DeformShape {
    DeformShape {
        stride: [1; 2],
        padding: [(kernel / 2, kernel / 2); 2],
        dilation: [1; 2],
        groups: 1,
        sets: 1,
    }
}

#[cfg(feature = "train")]
#[test]
fn as_the_twins() {
    let three = plain(3);
    let odd = DeformShape {
        stride: [2, 1],
        padding: [(1, 0), (2, 3)],
        dilation: [1, 2],
        ..three
    };
    let cases = [
        ([1, 1, 1, 1], [1, 1, 1, 1], plain(1), 1.5),
        ([1, 4, 5, 6], [3, 4, 3, 3], three, 2.0),
        ([2, 5, 7, 9], [6, 5, 3, 3], three, 0.0),
        ([2, 63, 4, 5], [2, 63, 3, 3], three, 1.0),
        ([1, 64, 9, 9], [5, 64, 3, 3], three, 3.0),
        ([3, 65, 3, 4], [4, 65, 1, 1], plain(1), 1.0),
        ([1, 2, 63, 3], [4, 2, 3, 2], odd, 2.0),
        (
            [2, 8, 64, 1],
            [8, 2, 3, 3],
            DeformShape { groups: 4, ..three },
            1.0,
        ),
        (
            [2, 12, 3, 65],
            [6, 6, 2, 3],
            DeformShape {
                groups: 2,
                sets: 4,
                ..odd
            },
            2.0,
        ),
        (
            [1, 6, 5, 5],
            [4, 6, 3, 3],
            DeformShape { sets: 6, ..three },
            1.0,
        ),
        (
            [2, 10, 6, 5],
            [4, 5, 3, 3],
            DeformShape {
                groups: 2,
                sets: 5,
                ..three
            },
            40.0,
        ),
        ([1, 16, 48, 40], [8, 16, 3, 3], three, 4.0),
    ];
    for device in devices() {
        for (seed, (x, weight, shape, far)) in cases.iter().enumerate() {
            let case = Case {
                x: *x,
                weight: *weight,
                shape: *shape,
                far: *far,
            };
            let values = Values::draw(&case, seed as u64 + 1);
            let expected = expected(&case, &values);
            let name = format!("{x:?} by {weight:?}, {device:?}");
            check(&name, &device, &values, shape, &expected);
        }
    }
}

#[cfg(feature = "train")]
#[test]
fn gradients_are_the_same_each_time() {
    let case = Case {
        x: [2, 8, 9, 9],
        weight: [4, 8, 3, 3],
        shape: plain(3),
        far: 3.0,
    };
    let values = Values::draw(&case, 9);
    for device in devices() {
        let run = || {
            let [x, offset, mask, weight, slope] = values.tensors(&device);
            let x = x.autodiff().require_grad();
            let y = deform_conv2d(x.clone(), offset, Some(mask), weight, &case.shape);
            let back = (y * slope).sum().backward();
            x.grad(&back).unwrap().into_data()
        };
        let first = run();
        (0..5).for_each(|_| run().assert_eq(&first, true));
    }
}

#[test]
fn nothing_in_and_nothing_out() {
    for device in devices() {
        let zeros = |shape: [usize; 4]| Tensor::<4>::zeros(shape, &device);
        let y = deform_conv2d(
            zeros([0, 4, 5, 5]),
            zeros([0, 18, 5, 5]),
            None,
            zeros([2, 4, 3, 3]),
            &plain(3),
        );
        assert_eq!(y.dims(), [0, 2, 5, 5]);
    }
}

/// Values of mmcv 2.1.0's operators (`tests/data/deform_conv.py`).
#[cfg(feature = "train")]
#[test]
fn as_mmcv() {
    #[derive(serde::Deserialize)]
    struct Row {
        modulated: bool,
        dims: [[usize; 4]; 5],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        sets: usize,
        /// x, offset, mask, weight, y's gradient.
        values: [Vec<f32>; 5],
        /// y, the gradients of x, offset, mask and weight.
        expected: [Vec<f32>; 5],
    }
    let text = include_str!("../../../../tests/data/deform_conv.json");
    let rows: Vec<Row> = serde_json::from_str(text).unwrap();
    assert!(rows.len() >= 6);
    for device in devices() {
        for (i, row) in rows.iter().enumerate() {
            let shape = DeformShape {
                stride: row.stride,
                padding: row.padding.map(|p| (p, p)),
                dilation: row.dilation,
                groups: row.groups,
                sets: row.sets,
            };
            let values = Values {
                all: row.values.clone(),
                dims: row.dims,
            };
            let name = format!("row {i}, {device:?}");
            if row.modulated {
                check(&name, &device, &values, &shape, &row.expected);
                continue;
            }
            let [x, offset, _, weight, slope] = values.tensors(&device);
            let leaves = [x, offset, weight].map(|t| t.autodiff().require_grad());
            let [x, offset, weight] = leaves.clone();
            let y = deform_conv2d(x, offset, None, weight, &shape);
            close(&name, y.clone().without_autodiff(), &row.expected[0]);
            let back = (y * slope).sum().backward();
            let expected = [1, 2, 4].map(|i| &row.expected[i]);
            for (leaf, expected) in leaves.iter().zip(expected) {
                close(&name, leaf.grad(&back).unwrap(), expected);
            }
        }
    }
}
