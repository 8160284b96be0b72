//! `cargo bench -p smalti-cpu --bench norm`: batch norm by its own statistics and an activation, and the gradients, on maps of 8 pictures.
//! `RAYON_NUM_THREADS=1` for one thread.

use std::hint::black_box;
use std::time::Instant;

use smalti_cpu::{Act, BatchNorm};

fn main() {
    println!("channels, cells, activation; ms forward; ms backward; GB/s of x once and y once");
    for (channels, cells) in [(16, 25600), (64, 6400), (96, 400), (256, 100)] {
        for act in [None, Some(Act::Relu), Some(Act::HSwish), Some(Act::Silu)] {
            let number = |i: usize| (i * 7919 % 8191) as f32 / 8191.0;
            let x: Vec<f32> = (0..8 * channels * cells).map(|i| number(i) * 4.0).collect();
            let weight: Vec<f32> = (0..channels).map(number).collect();
            let norm = BatchNorm {
                cells,
                weight: &weight,
                bias: &weight,
                eps: 1e-5,
                act,
            };
            let mut y = vec![0.0; x.len()];
            let mut gradient = x.clone();
            let (mut forward, mut backward) = (f64::MAX, f64::MAX);
            for _ in 0..9 {
                let start = Instant::now();
                let found = norm.by_own(&x, black_box(&mut y));
                forward = forward.min(start.elapsed().as_secs_f64());
                gradient.copy_from_slice(&x);
                let start = Instant::now();
                norm.gradients(&x, &found, true, black_box(&mut gradient));
                backward = backward.min(start.elapsed().as_secs_f64());
            }
            let speed = |seconds: f64| x.len() as f64 * 8.0 / seconds / 1e9;
            println!(
                "{channels}, {cells}, {act:?}; {:.2}; {:.2}; {:.1}, {:.1}",
                forward * 1e3,
                backward * 1e3,
                speed(forward),
                speed(backward),
            );
        }
    }
}
