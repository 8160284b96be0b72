//! `cargo bench -p smalti-cpu --bench focal`: the focal loss of RetinaNet's logits of a picture of 800x1344 px, and its gradient. `RAYON_NUM_THREADS=1`
//! for one thread.

use std::hint::black_box;
use std::time::Instant;

use smalti_cpu::Focal;

fn main() {
    println!(
        "cells, places of a cell, classes; ms of the sum; ms of the gradient; logits a second of both, billions"
    );
    for (cells, per_cell, classes) in [
        (16800, 9, 80),
        (4200, 9, 80),
        (16800, 1, 80),
        (1, 22400, 80),
    ] {
        let focal = Focal {
            pictures: 1,
            per_cell,
            classes,
            cells,
            gamma: 2.0,
            alpha: 0.25,
        };
        let number = |i: usize| (i * 7919 % 8191) as f32 / 8191.0;
        let logits: Vec<f32> = (0..focal.logits()).map(|i| number(i) * 4.0 - 6.0).collect();
        let labels: Vec<f32> = (0..focal.rows()).map(|i| (i % 97) as f32).collect();
        let weights = vec![1.0; focal.rows()];
        let mut made = vec![0.0; logits.len()];
        let (mut sum, mut gradient) = (f64::MAX, f64::MAX);
        for _ in 0..7 {
            let start = Instant::now();
            black_box(focal.sum(&logits, &labels, &weights));
            sum = sum.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            focal.gradient(&logits, &labels, &weights, 1.0, black_box(&mut made));
            gradient = gradient.min(start.elapsed().as_secs_f64());
        }
        let speed = logits.len() as f64 / (sum + gradient) / 1e9;
        println!(
            "{cells}, {per_cell}, {classes}; {:.2}; {:.2}; {speed:.2}",
            sum * 1e3,
            gradient * 1e3
        );
    }
}
