//! Times the evaluation of 5,000 pictures with 100 detections each, 80 categories: `cargo bench -p smalti-data --bench evaluate`.
//!
//! With a folder as argument (`-- DIR`) it writes `gt.json` and `dt.json` there, so that others can be timed on the same; for example
//! faster-coco-eval: the time of `COCOeval_faster(gt, gt.loadRes('dt.json'), 'bbox')`'s `evaluate` and `accumulate`.

use std::fmt::Write as _;
use std::time::Instant;

use smalti_data::evaluate::coco_eval::{Judged, Protocol, evaluate};
use smalti_data::evaluate::{Truth, results_file};

const PICTURES: usize = 5000;
const DETECTIONS: usize = 100;
const CATEGORIES: usize = 80;
const OBJECTS: usize = 14;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }
}

/// Annotations, and detections of which most lie near an object.
fn files() -> [String; 2] {
    let mut numbers = Numbers(1);
    let categories: Vec<String> = (1..=CATEGORIES)
        .map(|i| format!("{{\"id\": {i}, \"name\": \"c{i}\"}}"))
        .collect();
    let images: Vec<String> = (0..PICTURES)
        .map(|i| {
            format!("{{\"id\": {i}, \"width\": 640, \"height\": 480, \"file_name\": \"{i}.jpg\"}}")
        })
        .collect();
    let (mut gt, mut dt) = (String::new(), String::new());
    let mut id = 0;
    for image in 0..PICTURES {
        let mut objects = Vec::new();
        for _ in 0..numbers.below(OBJECTS) + 1 {
            id += 1;
            let [w, h] = [0, 1].map(|_| 8 + numbers.below(40) * numbers.below(5));
            let [x, y] = [numbers.below(640 - w), numbers.below(480 - h)];
            let (category, crowd) = (
                numbers.below(CATEGORIES) + 1,
                usize::from(numbers.below(50) == 0),
            );
            objects.push([x, y, w, h, category]);
            let _ = write!(
                gt,
                "{}{{\"id\": {id}, \"image_id\": {image}, \"category_id\": {category}, \"bbox\": [{x}, {y}, {w}, {h}], \"area\": {}, \"iscrowd\": {crowd}}}",
                if id > 1 { ", " } else { "" },
                w * h
            );
        }
        for i in 0..DETECTIONS {
            let [x, y, w, h, category] = objects[numbers.below(objects.len())];
            let mut shift = |v: usize| v + numbers.below(9);
            let [x, y, w, h] = [x, y, w, h].map(&mut shift);
            let category = if numbers.below(3) == 0 {
                numbers.below(CATEGORIES) + 1
            } else {
                category
            };
            let _ = write!(
                dt,
                "{}{{\"image_id\": {image}, \"category_id\": {category}, \"bbox\": [{x}, {y}, {w}, {h}], \"score\": {}}}",
                if image + i > 0 { ", " } else { "" },
                numbers.below(100_000) as f64 / 1e5
            );
        }
    }
    let gt = format!(
        "{{\"images\": [{}], \"categories\": [{}], \"annotations\": [{gt}]}}",
        images.join(", "),
        categories.join(", ")
    );
    [gt, format!("[{dt}]")]
}

#[allow(clippy::print_stdout)]
fn main() {
    let [gt, dt] = files();
    if let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with('-')) {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for (name, text) in [("gt.json", &gt), ("dt.json", &dt)] {
            std::fs::write(format!("{folder}/{name}"), text).expect("the file can be written");
        }
    }
    let start = Instant::now();
    let truth = Truth::read("gt.json", gt.as_bytes()).expect("annotations");
    let results = results_file::read("dt.json", dt.as_bytes(), &truth).expect("results");
    println!("read: {:.3} s", start.elapsed().as_secs_f64());
    let found: Vec<Judged> = results
        .pictures
        .iter()
        .map(|p| &p[..])
        .enumerate()
        .collect();
    let every: Vec<usize> = (0..CATEGORIES).collect();
    for _ in 0..5 {
        let start = Instant::now();
        let evaluated =
            evaluate(&truth, &found, &every, Protocol::coco(every.clone())).expect("figures");
        let ap = evaluated.summary()[0].value;
        println!(
            "evaluate: {:.3} s, AP {ap:.6}",
            start.elapsed().as_secs_f64()
        );
    }
}
