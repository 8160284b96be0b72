//! Every algorithm against a plain convolution in f64, with every set of instructions that the machine has.

use super::product::Rows;
use super::winograd::Winograd;
use super::*;

pub(crate) fn random(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Calls `visit(place in y, place in x, place in the weights)` for each product of a convolution.
fn products(
    shape: &Shape,
    size: [usize; 2],
    padding: [(usize, usize); 2],
    mut visit: impl FnMut(usize, usize, usize),
) {
    let [height, width] = shape.size_out(size, padding).unwrap_or_default();
    let [kh, kw] = shape.kernel;
    let seen = shape.channels_in / shape.groups;
    for k in 0..shape.channels_out {
        let group = k / (shape.channels_out / shape.groups);
        for (row, column) in (0..height * width).map(|i| (i / width, i % width)) {
            for c in 0..seen {
                for (down, right) in (0..kh * kw).map(|i| (i / kw, i % kw)) {
                    let inside = |i: usize, out: usize, tap: usize| {
                        let at = out * shape.stride[i] + tap * shape.dilation[i];
                        at.checked_sub(padding[i].0).filter(|n| *n < size[i])
                    };
                    let (Some(y), Some(x)) = (inside(0, row, down), inside(1, column, right))
                    else {
                        continue;
                    };
                    visit(
                        (k * height + row) * width + column,
                        ((group * seen + c) * size[0] + y) * size[1] + x,
                        ((k * seen + c) * kh + down) * kw + right,
                    );
                }
            }
        }
    }
}

fn plain(shape: &Shape, x: &Picture, weight: &[f32], finish: Finish) -> Vec<f64> {
    let [height, width] = shape.size_out(x.size, x.padding).unwrap_or_default();
    let plane = height * width;
    let mut y = vec![0.0; shape.channels_out * plane];
    products(shape, x.size, x.padding, |to, from, tap| {
        y[to] += f64::from(x.values[from]) * f64::from(weight[tap]);
    });
    for (i, y) in y.iter_mut().enumerate() {
        *y += finish.bias.map_or(0.0, |bias| f64::from(bias[i / plane]));
        *y += finish.add.map_or(0.0, |add| f64::from(add[i]));
        if finish.act == Some(Act::Relu) {
            *y = y.max(0.0);
        }
    }
    y
}

/// Winograd's sums are of larger numbers than those of the plain way; seen: 5e-6.
pub(crate) fn assert_near(got: &[f32], want: &[f64], what: impl std::fmt::Debug) {
    let largest = want.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs() / largest;
        assert!(error < 2e-5, "{what:?}: {got}, not {want}, at {i}");
    }
}

const PADDINGS: [[(usize, usize); 2]; 4] = [
    [(1, 1), (1, 1)],
    [(0, 0), (0, 0)],
    [(0, 2), (3, 1)],
    [(2, 2), (0, 1)],
];

const ONCE: Shape = Shape {
    channels_out: 1,
    channels_in: 1,
    kernel: [1; 2],
    stride: [1; 2],
    dilation: [1; 2],
    groups: 1,
};

/// Shapes of all sorts, with each of which every algorithm is taken.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (stride, dilation) in [
        ([1; 2], [1; 2]),
        ([2; 2], [1; 2]),
        ([3, 1], [1, 2]),
        ([1; 2], [2; 2]),
    ] {
        for kernel in [[1, 1], [3, 3], [2, 5], [7, 7]] {
            for [channels_out, channels_in] in [[1, 1], [3, 5], [16, 16], [17, 3], [5, 255]] {
                shapes.push(Shape {
                    channels_out,
                    channels_in,
                    kernel,
                    stride,
                    dilation,
                    groups: 1,
                });
            }
            for [channels_out, channels_in, groups] in [[5, 5, 5], [34, 17, 17], [6, 9, 3]] {
                shapes.push(Shape {
                    channels_out,
                    channels_in,
                    kernel,
                    stride,
                    dilation,
                    groups,
                });
            }
        }
    }
    let three = |channels_out, channels_in| Shape {
        channels_out,
        channels_in,
        kernel: [3; 2],
        ..ONCE
    };
    shapes.extend([three(17, 16), three(40, 17), three(130, 16), three(16, 255)]);
    shapes.push(Shape {
        channels_out: 255,
        channels_in: 40,
        ..ONCE
    });
    shapes
}

#[test]
fn all_shapes_give_what_the_plain_way_gives() {
    for (i, shape) in shapes().into_iter().enumerate() {
        for (j, size) in [[1, 1], [1, 9], [2, 3], [5, 4], [8, 1], [7, 6], [9, 9]]
            .into_iter()
            .enumerate()
        {
            let seed = (i * 100 + j) as u32;
            let padding = PADDINGS[(i + j) % 4];
            let values = random(shape.channels_in * size[0] * size[1], seed);
            let x = Picture {
                values: &values,
                size,
                padding,
            };
            let Some(out) = shape.size_out(size, padding) else {
                continue;
            };
            check(&shape, x, out, seed, &finishes());
        }
    }
}

#[test]
fn gradients_are_those_of_the_plain_way() {
    for (i, shape) in shapes().into_iter().enumerate() {
        for (j, size) in [[1, 1], [2, 3], [8, 1], [7, 6], [9, 9], [19, 31]]
            .into_iter()
            .enumerate()
        {
            // The largest pictures for one shape in four: the plain way is slow.
            if size[0] > 9 && i % 4 != 0 {
                continue;
            }
            check_gradients(&shape, size, PADDINGS[(i + j) % 4], (i * 100 + j) as u32);
        }
    }
}

fn check_gradients(shape: &Shape, size: [usize; 2], padding: [(usize, usize); 2], seed: u32) {
    let Some(out) = shape.size_out(size, padding) else {
        return;
    };
    // Two pictures: what their weights get is one sum.
    let [each, each_out] = [
        shape.channels_in * size[0] * size[1],
        shape.channels_out * out[0] * out[1],
    ];
    let values = random(2 * each, seed);
    let weight = random(shape.channels_out * shape.depth(), seed + 1);
    let dy = random(2 * each_out, seed + 2);
    // Gradients of weights are added to what is there.
    let begun = random(weight.len(), seed + 3);
    let (mut want_dx, mut want_dw) = (vec![0.0; values.len()], vec![0.0; weight.len()]);
    for (want, begun) in want_dw.iter_mut().zip(&begun) {
        *want = f64::from(*begun);
    }
    products(shape, size, padding, |y, x, tap| {
        for picture in 0..2 {
            let (y, x) = (picture * each_out + y, picture * each + x);
            want_dx[x] += f64::from(dy[y]) * f64::from(weight[tap]);
            want_dw[tap] += f64::from(dy[y]) * f64::from(values[x]);
        }
    });
    let pictures = Picture {
        values: &values,
        size,
        padding,
    };
    for instructions in Instructions::all() {
        let what = (instructions, shape, size, padding);
        let gradient = InputGradient::with(&weight, *shape, padding, instructions);
        let mut dx = vec![f32::NAN; values.len()];
        gradient.run(&dy, size, &mut dx);
        assert_near(&dx, &want_dx, what);
        let mut dw = begun.clone();
        weight_gradient_with(shape, pictures, &dy, &mut dw, instructions);
        assert_near(&dw, &want_dw, what);
    }
}

/// More of dy than is turned at a time, so that a picture's lines are cut.
#[test]
fn gradients_of_pictures_larger_than_a_block() {
    let three = Shape {
        channels_out: 176,
        channels_in: 2,
        kernel: [3; 2],
        ..ONCE
    };
    check_gradients(&three, [83, 80], [(1, 1); 2], 1);
    let strided = Shape {
        stride: [2, 1],
        ..three
    };
    check_gradients(&strided, [130, 75], [(1, 0), (2, 1)], 2);
}

#[test]
fn a_bias_gets_the_sum_of_its_plane() {
    let dy = random(3 * 10_007, 1);
    let mut db = vec![1.0, 0.0, -1.0];
    bias_gradient(&dy, &mut db);
    for (i, (db, plane)) in db.iter().zip(dy.chunks(10_007)).enumerate() {
        let want = 1.0 - i as f64 + plane.iter().map(|v| f64::from(*v)).sum::<f64>();
        assert!((f64::from(*db) - want).abs() < 1e-4, "{db} {want}");
    }
}

/// Whether there is a bias, something added and an activation.
fn finishes() -> Vec<[bool; 3]> {
    vec![[false; 3], [true; 3], [true, false, true]]
}

fn check(shape: &Shape, x: Picture, out: [usize; 2], seed: u32, finishes: &[[bool; 3]]) {
    let k = shape.channels_out;
    let weight = random(k * shape.depth(), seed + 1);
    let (bias, add) = (random(k, seed + 2), random(k * out[0] * out[1], seed + 3));
    let finishes = finishes
        .iter()
        .map(|[with_bias, with_add, with_act]| Finish {
            bias: with_bias.then_some(&bias),
            add: with_add.then_some(&add),
            act: with_act.then_some(Act::Relu),
        });
    for finish in finishes {
        let want = plain(shape, &x, &weight, finish);
        for instructions in Instructions::all() {
            let filters = Filters::with(&weight, *shape, instructions);
            let mut y = vec![f32::NAN; k * out[0] * out[1]];
            filters.run(x, finish, &mut y);
            let what = (instructions, shape, x.size, x.padding);
            assert_near(&y, &want, what);
            assert_eq!(filters.convolve(x, finish), y, "{what:?}");
            if Algorithm::of(shape) == Algorithm::Winograd {
                // Whatever the table says of so few tiles.
                y.fill(f32::NAN);
                let filters = Winograd::new(&weight, *shape, instructions);
                filters.run(1, x, finish, Rows::new(&mut y, out[0] * out[1]));
                assert_near(&y, &want, what);
            }
        }
    }
}

/// Several in one run are what each is alone; tiles of all are taken together, also where none of them has many.
#[test]
fn pictures_of_a_batch() {
    let three = Shape {
        channels_out: 37,
        channels_in: 33,
        kernel: [3; 2],
        ..ONCE
    };
    let wide = Shape {
        stride: [2; 2],
        ..three
    };
    let each_alone = Shape {
        channels_out: 33,
        groups: 33,
        ..three
    };
    for shape in [three, wide, each_alone] {
        for (pictures, size) in [
            (1, [5, 9]),
            (7, [14, 13]),
            (40, [7, 7]),
            (3, [33, 70]),
            (50, [1, 1]),
        ] {
            let padding = [(1, 1), (0, 2)];
            let out = shape.size_out(size, padding).unwrap();
            let (seen, made) = (
                shape.channels_in * size[0] * size[1],
                shape.channels_out * out[0] * out[1],
            );
            let values = random(pictures * seen, 1);
            let weight = random(shape.channels_out * shape.depth(), 2);
            let bias = random(shape.channels_out, 3);
            let add = random(pictures * made, 4);
            let finish = |add| Finish {
                bias: Some(&bias),
                add: Some(add),
                act: Some(Act::Relu),
            };
            for instructions in Instructions::all() {
                let filters = Filters::with(&weight, shape, instructions);
                let mut y = vec![f32::NAN; pictures * made];
                let x = |values| Picture {
                    values,
                    size,
                    padding,
                };
                filters.run(x(&values), finish(&add), &mut y);
                assert_eq!(filters.convolve(x(&values), finish(&add)), y);
                let parts = values
                    .chunks(seen)
                    .zip(add.chunks(made))
                    .zip(y.chunks(made));
                for ((values, add), y) in parts {
                    let want = plain(&shape, &x(values), &weight, finish(add));
                    assert_near(y, &want, (instructions, shape, pictures, size));
                }
            }
        }
    }
}

#[test]
fn pictures_larger_than_a_block() {
    let three = Shape {
        kernel: [3; 2],
        ..ONCE
    };
    for (shape, size) in [
        (
            Shape {
                channels_out: 20,
                channels_in: 260,
                ..three
            },
            [61, 67],
        ),
        (
            Shape {
                channels_out: 17,
                channels_in: 16,
                ..three
            },
            [130, 333],
        ),
        (
            Shape {
                channels_out: 70,
                channels_in: 900,
                ..ONCE
            },
            [13, 17],
        ),
        (
            Shape {
                channels_out: 9,
                channels_in: 70,
                stride: [2; 2],
                ..three
            },
            [61, 67],
        ),
        (
            Shape {
                channels_out: 3,
                channels_in: 3,
                groups: 3,
                stride: [2; 2],
                ..three
            },
            [67, 131],
        ),
    ] {
        let padding = [(1, 1); 2];
        let out = shape.size_out(size, padding).unwrap();
        let values = random(shape.channels_in * size[0] * size[1], 1);
        let x = Picture {
            values: &values,
            size,
            padding,
        };
        check(&shape, x, out, 7, &[[true; 3]]);
    }
}

#[test]
fn one_thread_and_many() {
    let shape = Shape {
        channels_out: 33,
        channels_in: 20,
        kernel: [3; 2],
        ..ONCE
    };
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            for (size, kernel) in [([9, 9], [3; 2]), ([70, 90], [3; 2]), ([9, 9], [1; 2])] {
                let values = random(20 * size[0] * size[1], 1);
                let padding = [(1, 1); 2];
                let x = Picture {
                    values: &values,
                    size,
                    padding,
                };
                let shape = Shape { kernel, ..shape };
                let out = shape.size_out(size, padding).unwrap();
                check(&shape, x, out, 7, &[[true; 3]]);
            }
        });
    }
}

#[test]
fn every_algorithm_is_taken() {
    let taken: Vec<_> = shapes().iter().map(Algorithm::of).collect();
    for algorithm in [
        Algorithm::Depthwise,
        Algorithm::Implicit,
        Algorithm::Winograd,
    ] {
        assert!(taken.contains(&algorithm), "{algorithm:?}");
    }
}
