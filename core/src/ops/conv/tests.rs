//! Convolutions on every device against the plain way in f64: every way of the table, over random shapes.

use burn::tensor::{Device, Tensor, TensorData};
use smalti_shaders::reference::random::Random;

use super::*;
use crate::device::gpu_for_tests;

/// The CPU, and a GPU if there is one.
pub(super) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::flex()];
    devices.extend(gpu_for_tests());
    devices
}

pub(super) struct Draw(Random);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.bits() as usize % choices.len()]
    }

    pub(super) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.0.unit() * 2.0 - 1.0).collect()
    }

    pub(super) fn shape(&mut self) -> ConvShape {
        let of = self.of(&[0, 0, 1, 2, 3]);
        let mut padding = || (of, (of + self.of(&[0, 0, 1])));
        let padding = [padding(), padding()];
        ConvShape {
            stride: [self.of(&[1, 1, 2, 3]), self.of(&[1, 1, 2])],
            padding,
            dilation: [self.of(&[1, 1, 2]), self.of(&[1, 1, 3])],
            groups: 1,
            precision: Precision::F32,
        }
    }

    /// A convolution of one group.
    fn dense(&mut self) -> Case {
        let [h, w] = [0, 1].map(|_| self.of(&[1, 2, 3, 4, 5, 7, 9, 17]));
        let [k, c] = [0, 1].map(|_| self.of(&[1, 3, 5, 16, 17, 32]));
        let [down, across] = self.of(&[[1, 1], [1, 1], [3, 3], [3, 3], [1, 3], [5, 2], [7, 7]]);
        Case {
            x: [self.of(&[1, 2, 3]), c, h, w],
            weight: [k, c, down, across],
            shape: self.shape(),
        }
    }

    /// One of several groups, depthwise among them.
    fn grouped(&mut self) -> Case {
        let [h, w] = [0, 1].map(|_| self.of(&[1, 3, 4, 9, 20]));
        let (groups, [k, c]) = self.of(&[
            (16, [1, 1]),
            (5, [1, 1]),
            (3, [1, 1]),
            (7, [2, 1]),
            (2, [3, 5]),
            (4, [4, 4]),
            (8, [8, 4]),
            (3, [1, 17]),
        ]);
        let [down, across] = self.of(&[[1, 1], [3, 3], [5, 5], [3, 1]]);
        Case {
            x: [self.of(&[1, 2]), groups * c, h, w],
            weight: [groups * k, c, down, across],
            shape: ConvShape {
                groups,
                ..self.shape()
            },
        }
    }
}

/// The devices in every precision that they have, with the bound of each.
fn ways(devices: &[Device]) -> impl Iterator<Item = (&Device, Precision, f64)> {
    let both = |device| {
        [
            (device, Precision::F32, 2e-5),
            (device, Precision::F16, 1e-3),
        ]
    };
    let ways = devices.iter().flat_map(both);
    ways.filter(|(device, precision, _)| precision.on(device) == *precision)
}

/// A convolution to try.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) x: [usize; 4],
    pub(super) weight: [usize; 4],
    pub(super) shape: ConvShape,
}

impl Case {
    /// `[N, K, H', W']`, if there is any.
    pub(super) fn size_out(&self) -> Option<[usize; 4]> {
        let side = |i: usize| {
            let (before, after) = self.shape.padding[i];
            let room = self.x[2 + i] + before + after;
            let room = room.checked_sub(self.shape.dilation[i] * (self.weight[2 + i] - 1) + 1)?;
            Some(room / self.shape.stride[i] + 1)
        };
        Some([self.x[0], self.weight[0], side(0)?, side(1)?])
    }

    /// Each product that the convolution has: elements of y, x and the weights.
    pub(super) fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Some([pictures, filters, rows, columns]) = self.size_out() else {
            return;
        };
        let [_, all, height, width] = self.x;
        let [_, channels, down, across] = self.weight;
        let shape = &self.shape;
        for at in 0..pictures * filters * rows * columns {
            let (column, row) = (at % columns, at / columns % rows);
            let (k, n) = (at / columns / rows % filters, at / columns / rows / filters);
            let group = k / (filters / shape.groups);
            for place in 0..channels * down * across {
                let (j, i, c) = (place % across, place / across % down, place / across / down);
                let y =
                    (row * shape.stride[0] + i * shape.dilation[0]).checked_sub(shape.padding[0].0);
                let x = (column * shape.stride[1] + j * shape.dilation[1])
                    .checked_sub(shape.padding[1].0);
                let (Some(y), Some(x)) = (y, x) else { continue };
                if y < height && x < width {
                    let from = ((n * all + group * channels + c) * height + y) * width + x;
                    visit(at, from, k * channels * down * across + place);
                }
            }
        }
    }
}

/// A tensor that lies in the order that `order` says, which changes nothing of what it is.
pub(super) fn tensor(
    values: &[f32],
    shape: [usize; 4],
    order: usize,
    device: &Device,
) -> Tensor<4> {
    let tensor = Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), device);
    let turn = |tensor: Tensor<4>, there: [usize; 4], back: [isize; 4]| {
        let dims = there.map(|i| shape[i]);
        // Copied in the other order, and looked at in this.
        let copied = tensor
            .permute(there.map(|i| i as isize))
            .reshape([dims.iter().product::<usize>()]);
        copied.reshape(dims).permute(back)
    };
    match order {
        0 => tensor,
        1 => turn(tensor, [0, 2, 3, 1], [0, 3, 1, 2]),
        _ => turn(tensor, [3, 1, 0, 2], [2, 1, 3, 0]),
    }
}

#[track_caller]
pub(super) fn near(found: Tensor<4>, expected: &[f64], within: f64, what: &dyn std::fmt::Debug) {
    let found = found.into_data().try_into_vec::<f32>().expect("f32");
    assert_eq!(found.len(), expected.len(), "{what:?}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*a) - b).abs();
        assert!(off <= within, "{what:?}: {i} is {a}, not {b}");
    }
}

fn activated(v: f64, act: Option<Activation>) -> f64 {
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    match act {
        None => v,
        Some(Activation::Relu) => v.max(0.0),
        Some(Activation::Relu6) => v.clamp(0.0, 6.0),
        Some(Activation::Clip(low, high)) => v.clamp(low, high),
        Some(Activation::LeakyRelu(slope)) => {
            if v < 0.0 {
                v * slope
            } else {
                v
            }
        }
        Some(Activation::Sigmoid) => sigmoid(v),
        Some(Activation::Silu) => v * sigmoid(v),
        Some(Activation::HSwish) => v * (v + 3.0).clamp(0.0, 6.0) / 6.0,
        Some(Activation::HSigmoid {
            bias,
            divisor,
            min,
            max,
        }) => ((v + bias) / divisor).clamp(min, max),
        Some(Activation::Tanh) => v.tanh(),
        Some(other) => panic!("{other:?} is not tried"),
    }
}

const ACTS: [Option<Activation>; 11] = [
    None,
    None,
    Some(Activation::Relu),
    Some(Activation::Relu6),
    Some(Activation::Clip(-0.25, 0.5)),
    Some(Activation::LeakyRelu(0.1)),
    Some(Activation::Sigmoid),
    Some(Activation::Silu),
    Some(Activation::HSwish),
    Some(Activation::HSigmoid {
        bias: 1.0,
        divisor: 2.0,
        min: 0.0,
        max: 1.0,
    }),
    Some(Activation::Tanh),
];

fn check(case: &Case, draw: &mut Draw, devices: &[Device]) {
    let Some(size) = case.size_out() else { return };
    let mut sums = vec![0.0f64; size.iter().product()];
    let x = draw.values(case.x.iter().product());
    let weight = draw.values(case.weight.iter().product());
    case.products(|at, from, by| sums[at] += f64::from(x[from]) * f64::from(weight[by]));
    let plane = size[2] * size[3];
    let bias = draw.of(&[true, false]).then(|| draw.values(size[1]));
    let add = draw.of(&[true, false]).then(|| draw.values(sums.len()));
    let act = draw.of(&ACTS);
    for (at, sum) in sums.iter_mut().enumerate() {
        let bias = bias.as_ref().map_or(0.0, |b| b[at / plane % size[1]]);
        let add = add.as_ref().map_or(0.0, |a| a[at]);
        *sum += f64::from(bias) + f64::from(add);
    }
    // An activation may leave less of it than the sums are exact to.
    let largest = sums.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    sums.iter_mut().for_each(|v| *v = activated(*v, act));
    let (order, order_of_add) = (draw.of(&[0, 1, 2]), draw.of(&[0, 1, 2]));
    for (device, precision, within) in ways(devices) {
        let shape = ConvShape {
            precision,
            ..case.shape
        };
        let finish = Finish {
            bias: bias
                .as_ref()
                .map(|b| Tensor::from_floats(b.as_slice(), device)),
            add: add.as_ref().map(|a| tensor(a, size, order_of_add, device)),
            act,
        };
        let held = Weight::from(tensor(&weight, case.weight, 0, device));
        let y = conv2d(tensor(&x, case.x, order, device), &held, &shape, finish);
        assert_eq!(y.dims(), size);
        let with = (bias.is_some(), add.is_some());
        near(
            y,
            &sums,
            within * largest,
            &(case, act, with, order, device, precision),
        );
    }
}

#[test]
fn dense() {
    let (mut draw, devices) = (Draw::new(1), devices());
    for _ in 0..60 {
        let case = draw.dense();
        check(&case, &mut draw, &devices);
    }
}

#[test]
fn many_channels_and_pixels() {
    let (mut draw, devices) = (Draw::new(2), devices());
    let one = [(1, 1); 2];
    for (x, [k, down], stride, padding) in [
        // Winograd's, with tiles that stick out.
        ([1, 40, 18, 21], [48, 3], [1, 1], one),
        ([2, 255, 15, 13], [33, 3], [1, 1], [(0, 2), (1, 0)]),
        // Sums in parts.
        ([1, 255, 5, 3], [17, 3], [2, 2], one),
        ([1, 512, 1, 1], [5, 1], [1, 1], [(0, 0); 2]),
        // Both sizes of tiles, with edges.
        ([1, 5, 97, 131], [65, 1], [1, 1], [(0, 0); 2]),
        ([1, 3, 64, 66], [64, 7], [2, 2], [(3, 3); 2]),
        ([3, 16, 40, 50], [130, 1], [1, 2], [(0, 0); 2]),
    ] {
        let shape = ConvShape {
            stride,
            padding,
            dilation: [1; 2],
            groups: 1,
            precision: Precision::F32,
        };
        let weight = [k, x[1], down, down];
        check(&Case { x, weight, shape }, &mut draw, &devices);
    }
}

#[test]
fn in_groups() {
    let (mut draw, devices) = (Draw::new(3), devices());
    for _ in 0..40 {
        let case = draw.grouped();
        check(&case, &mut draw, &devices);
    }
}

#[test]
fn what_is_added_may_be_the_input_itself() {
    for device in devices() {
        let values: Vec<f32> = (0..16).map(|i| i as f32 - 8.0).collect();
        let x = tensor(&values, [1, 4, 2, 2], 1, &device);
        let twice: Vec<f32> = (0..16)
            .map(|i| if i % 5 == 0 { 2.0 } else { 0.0 })
            .collect();
        let weight = Weight::from(tensor(&twice, [4, 4, 1, 1], 0, &device));
        let shape = ConvShape {
            stride: [1; 2],
            padding: [(0, 0); 2],
            dilation: [1; 2],
            groups: 1,
            precision: Precision::F32,
        };
        let finish = Finish {
            add: Some(x.clone()),
            ..Finish::default()
        };
        let expected: Vec<f64> = values.iter().map(|v| f64::from(v * 3.0)).collect();
        near(conv2d(x, &weight, &shape, finish), &expected, 1e-6, &device);
    }
}

#[cfg(feature = "train")]
mod gradients {
    use super::*;

    fn check(case: &Case, draw: &mut Draw, devices: &[Device]) {
        let Some(size) = case.size_out() else { return };
        let x = draw.values(case.x.iter().product());
        let weight = draw.values(case.weight.iter().product());
        let above = draw.values(size.iter().product());
        let mut of_x = vec![0.0f64; x.len()];
        let mut of_weight = vec![0.0f64; weight.len()];
        case.products(|at, from, by| {
            of_x[from] += f64::from(above[at]) * f64::from(weight[by]);
            of_weight[by] += f64::from(above[at]) * f64::from(x[from]);
        });
        let order = draw.of(&[0, 1, 2]);
        let recorded = draw.of(&[[true, true], [true, true], [true, false], [false, true]]);
        for (device, precision, within) in ways(devices) {
            let shape = ConvShape {
                precision,
                ..case.shape
            };
            let leaf = |tensor: Tensor<4>, recorded: bool| match recorded {
                true => tensor.autodiff().require_grad(),
                false => tensor,
            };
            let x = leaf(tensor(&x, case.x, order, device), recorded[0]);
            let weight = leaf(tensor(&weight, case.weight, 0, device), recorded[1]);
            let y = conv2d(
                x.clone(),
                &Weight::from(weight.clone()),
                &shape,
                Finish::default(),
            );
            let above = tensor(&above, size, order, device);
            let grads = (y * above.autodiff()).sum().backward();
            let expected = [(&x, &of_x), (&weight, &of_weight)];
            for ((leaf, expected), recorded) in expected.into_iter().zip(recorded) {
                if recorded {
                    let found = leaf.grad(&grads).expect("a gradient");
                    assert_eq!(found.dims(), leaf.dims());
                    let largest = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                    near(
                        found,
                        expected,
                        within * largest,
                        &(case, order, recorded, device, precision),
                    );
                }
            }
        }
    }

    #[test]
    fn dense() {
        let (mut draw, devices) = (Draw::new(4), devices());
        for _ in 0..40 {
            let case = draw.dense();
            check(&case, &mut draw, &devices);
        }
    }

    #[test]
    fn many_channels_and_pixels() {
        let (mut draw, devices) = (Draw::new(5), devices());
        let one = [(1, 1); 2];
        for (x, [k, down], stride, padding) in [
            ([1, 40, 18, 21], [48, 3], [1, 1], one),
            ([2, 255, 9, 13], [33, 3], [1, 1], [(0, 2), (1, 0)]),
            ([1, 255, 5, 3], [17, 3], [2, 2], one),
            ([1, 5, 97, 31], [65, 1], [1, 1], [(0, 0); 2]),
            ([1, 3, 64, 66], [16, 7], [2, 2], [(3, 3); 2]),
            // More zeros than the filter reaches.
            ([1, 16, 6, 5], [16, 3], [1, 1], [(4, 3); 2]),
        ] {
            let shape = ConvShape {
                stride,
                padding,
                dilation: [1; 2],
                groups: 1,
                precision: Precision::F32,
            };
            let weight = [k, x[1], down, down];
            check(&Case { x, weight, shape }, &mut draw, &devices);
        }
    }

    #[test]
    fn in_groups() {
        let (mut draw, devices) = (Draw::new(6), devices());
        for _ in 0..30 {
            let case = draw.grouped();
            check(&case, &mut draw, &devices);
        }
    }
}
