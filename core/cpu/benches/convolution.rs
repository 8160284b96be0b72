//! `cargo bench -p smalti-cpu [-- part of a name]`: convolutions of RetinaNet-R50 at 800x1344 and of the digit detector at 320x320, beside a
//! product of matrices by the crate `gemm` that does the same work directly, both in turn so that a loaded machine slows both.
//! `RAYON_NUM_THREADS=1` for one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use smalti_cpu::{Act, Algorithm, Filters, Finish, Picture, Shape};

/// Name, input channels, output channels, kernel, stride, groups, and the input's height and width.
type Case = (&'static str, [usize; 2], usize, usize, usize, [usize; 2]);

const CASES: [Case; 34] = [
    ("r50 stem", [3, 64], 7, 2, 1, [800, 1344]),
    ("r50 layer1 3x3", [64, 64], 3, 1, 1, [200, 336]),
    ("r50 layer1 1x1 in", [256, 64], 1, 1, 1, [200, 336]),
    ("r50 layer1 1x1 out", [64, 256], 1, 1, 1, [200, 336]),
    ("r50 layer2 3x3 /2", [128, 128], 3, 2, 1, [200, 336]),
    ("r50 layer2 shortcut /2", [256, 512], 1, 2, 1, [200, 336]),
    ("r50 layer2 3x3", [128, 128], 3, 1, 1, [100, 168]),
    ("r50 layer2 1x1 in", [512, 128], 1, 1, 1, [100, 168]),
    ("r50 layer2 1x1 out", [128, 512], 1, 1, 1, [100, 168]),
    ("r50 layer3 3x3", [256, 256], 3, 1, 1, [50, 84]),
    ("r50 layer3 1x1 in", [1024, 256], 1, 1, 1, [50, 84]),
    ("r50 layer3 1x1 out", [256, 1024], 1, 1, 1, [50, 84]),
    ("r50 layer4 3x3", [512, 512], 3, 1, 1, [25, 42]),
    ("r50 layer4 1x1 in", [2048, 512], 1, 1, 1, [25, 42]),
    ("r50 layer4 1x1 out", [512, 2048], 1, 1, 1, [25, 42]),
    ("fpn p6 /2", [2048, 256], 3, 2, 1, [25, 42]),
    ("head p3", [256, 256], 3, 1, 1, [100, 168]),
    ("head p3 classes", [256, 720], 3, 1, 1, [100, 168]),
    ("head p3 boxes", [256, 36], 3, 1, 1, [100, 168]),
    ("head p5", [256, 256], 3, 1, 1, [25, 42]),
    ("head p6", [256, 256], 3, 1, 1, [13, 21]),
    ("head p7", [256, 256], 3, 1, 1, [7, 11]),
    ("digits stem", [3, 16], 3, 2, 1, [320, 320]),
    ("digits depthwise 3x3 /2", [16, 16], 3, 2, 16, [160, 160]),
    ("digits depthwise 5x5", [240, 240], 5, 1, 240, [20, 20]),
    ("digits depthwise 5x5 /2", [288, 288], 5, 2, 288, [20, 20]),
    ("digits 1x1", [40, 240], 1, 1, 1, [20, 20]),
    ("digits 1x1 small", [576, 96], 1, 1, 1, [10, 10]),
    ("digits head", [64, 64], 3, 1, 1, [40, 40]),
    ("digits head", [64, 64], 3, 1, 1, [20, 20]),
    ("digits head", [64, 64], 3, 1, 1, [10, 10]),
    ("digits head", [64, 64], 3, 1, 1, [5, 5]),
    ("3x3 16", [16, 16], 3, 1, 1, [40, 40]),
    ("3x3 32", [32, 32], 3, 1, 1, [40, 40]),
];

fn main() {
    let wanted = std::env::args()
        .nth(1)
        .filter(|name| !name.starts_with('-'));
    println!("{} threads", rayon::current_num_threads());
    println!("convolution; size; algorithm; ms; GMAC/s; GMAC/s of `gemm` for the same work");
    for case in CASES {
        if wanted.as_ref().is_none_or(|wanted| case.0.contains(wanted)) {
            run(case);
        }
    }
}

/// Seconds of a processor that a call takes, all threads together where the system tells, so that a loaded machine does not
/// count; otherwise on the clock.
fn seconds(mut call: impl FnMut()) -> f64 {
    call();
    let (begin, before) = (Instant::now(), on_processor());
    let mut calls = 0;
    while begin.elapsed() < Duration::from_millis(60) {
        call();
        calls += 1;
    }
    let clock = begin.elapsed();
    let spent = before
        .zip(on_processor())
        .map(|(before, after)| after - before);
    spent.unwrap_or(clock).as_secs_f64() / f64::from(calls)
}

/// What this process' threads have had of processors so far (Linux).
fn on_processor() -> Option<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += line.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 12.9898).sin()).collect()
}

fn run((name, [channels_in, channels_out], kernel, stride, groups, size): Case) {
    let shape = Shape {
        channels_out,
        channels_in,
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        groups,
    };
    let depth = channels_in / groups * kernel * kernel;
    let padding = [(kernel / 2, kernel / 2); 2];
    let [height, width] = shape.size_out(size, padding).expect("something comes out");
    let plane = height * width;
    let (x, weight) = (
        values(channels_in * size[0] * size[1]),
        values(channels_out * depth),
    );
    let bias = values(channels_out);
    let filters = Filters::new(&weight, shape);
    let mut y = vec![0.0; channels_out * plane];
    let picture = Picture {
        values: &x,
        size,
        padding,
    };
    let finish = Finish {
        bias: Some(&bias),
        add: None,
        act: Some(Act::Relu),
    };
    let columns = values(depth * plane);
    let mut direct = vec![0.0; channels_out / groups * plane];
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        ours = ours.min(seconds(|| filters.run(picture, finish, black_box(&mut y))));
        theirs = theirs.min(seconds(|| {
            product(&weight, &columns, channels_out / groups, depth, &mut direct);
            black_box(&mut direct);
        }));
    }
    let work = (channels_out * depth * plane) as f64;
    let speed = |seconds: f64, work: f64| work / seconds / 1e9;
    println!(
        "{name}, {channels_in} to {channels_out}; {height}x{width}; {:?}; {:.3}; {:.1}; {:.1}",
        Algorithm::of(&shape),
        ours * 1e3,
        speed(ours, work),
        speed(theirs, work / groups as f64),
    );
}

/// `[rows, depth]` times `[depth, columns]` by `gemm`, on all threads.
fn product(weight: &[f32], columns: &[f32], rows: usize, depth: usize, to: &mut [f32]) {
    let count = to.len() / rows;
    assert!(weight.len() >= rows * depth && columns.len() >= depth * count);
    // SAFETY: the slices hold the matrices, by the assertion; `to` is borrowed for this alone.
    unsafe {
        gemm::gemm(
            rows,
            count,
            depth,
            to.as_mut_ptr(),
            1,
            count as isize,
            false,
            weight.as_ptr(),
            1,
            depth as isize,
            columns.as_ptr(),
            1,
            count as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
