//! Figures of pycocotools, MMDetection and lvis-api, to 1e-10.
//!
//! `tests/data/evaluate.jsonl.gz`: one case a line. `stats` are pycocotools 2.0.11's of `gt` and `dt` (a list of results) with `max_dets` and `thrs`;
//! `figures` are what mmdet 3.3.0's `metric` logs (MMEngine 0.10.7, lvis-api 0.5.3), `null` for NaN. The first four cases are published: cocodataset/cocoapi's
//! `results` with the 100 pictures of faster_coco_eval's tests, and that project's own, whose expected figures are the same to all digits. The others are
//! random and crowded, with boxes and scores that f32 has exactly. `"gt": null` is that of the line before. Where the script met numpy's refusal of
//! ragged arrays, in `eval_recalls`, it gave it an array of objects.

use std::io::Read as _;
use std::sync::Arc;

use serde_json::Value as Json;

use super::coco_eval::{Judged, Protocol, evaluate};
use super::*;
use crate::lookup::Lookup;
use crate::structures::masks::{RleCounts, rle_to_bitmap};
use smalti_config::parse_value;

/// Any file has the same content.
struct Always(Vec<u8>);

impl Files for Always {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

fn cases() -> Vec<Json> {
    let bytes = include_bytes!("../../../../tests/data/evaluate.jsonl.gz");
    let mut text = String::new();
    let mut input = flate2::read::GzDecoder::new(&bytes[..]);
    input.read_to_string(&mut text).unwrap();
    let mut cases: Vec<Json> = Vec::new();
    for line in text.lines() {
        let mut case: Json = serde_json::from_str(line).unwrap();
        if case["gt"].is_null() {
            case["gt"] = cases[cases.len() - 1]["gt"].clone();
        }
        cases.push(case);
    }
    cases
}

fn classes(case: &Json) -> Vec<String> {
    let names = case["classes"].as_array().unwrap().iter();
    names.map(|n| n.as_str().unwrap().to_owned()).collect()
}

fn truth(case: &Json, federated: bool) -> Truth {
    Truth::read("gt.json", case["gt"].to_string().as_bytes(), federated).unwrap()
}

#[test]
fn twelve_stats() {
    let mut seen = 0;
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let truth = truth(&case, false);
        let results = results_file::read("dt.json", case["dt"].to_string().as_bytes(), &truth);
        let results = results.unwrap();
        let found: Vec<Judged> = results
            .pictures
            .iter()
            .map(|p| &p[..])
            .enumerate()
            .collect();
        let every: Vec<usize> = (0..truth.categories().len()).collect();
        for (kind, expected) in case["stats"].as_object().unwrap() {
            let mut protocol = Protocol {
                by_category: kind != "proposal",
                masks: kind == "segm",
                ..Protocol::coco(truth.labelled(&classes(&case)))
            };
            let nums = case["max_dets"].as_array().unwrap().iter();
            protocol.max_dets = nums.map(|n| n.as_u64().unwrap() as usize).collect();
            protocol.max_dets.sort_unstable();
            if let Some(thrs) = case["thrs"].as_array() {
                protocol.thresholds = thrs.iter().map(|t| t.as_f64().unwrap()).collect();
            }
            let evaluated = evaluate(&truth, &found, &every, protocol).unwrap();
            for (i, line) in evaluated.summary().iter().enumerate() {
                let expected = expected[i].as_f64().unwrap();
                let close = (line.value - expected).abs() < 1e-10;
                assert!(close, "{name} {kind}: {line}, pycocotools has {expected}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

/// What a detector would give of a picture.
fn instances(case: &Json, image: &Json, categories: &[Json]) -> Instances {
    let mut found = Instances::default();
    let mut bitmaps = Vec::new();
    let dt = case["dt"].as_array().unwrap();
    let mut rows: Vec<&Json> = dt.iter().filter(|d| d["image_id"] == image["id"]).collect();
    rows.sort_by(|a, b| {
        b["score"]
            .as_f64()
            .unwrap()
            .total_cmp(&a["score"].as_f64().unwrap())
    });
    for row in rows {
        let Some(label) = categories.iter().position(|c| *c == row["category_id"]) else {
            continue;
        };
        let [x, y, w, h] = [0, 1, 2, 3].map(|i| row["bbox"][i].as_f64().unwrap());
        let bbox = [x, y, x + w, y + h].map(|v| v as f32);
        found.push(bbox, row["score"].as_f64().unwrap() as f32, label);
        if let Some(counts) = row["segmentation"]["counts"].as_str() {
            let size = &row["segmentation"]["size"];
            let [h, w] = [0, 1].map(|i| size[i].as_u64().unwrap() as usize);
            let counts = RleCounts::Text(counts.into());
            bitmaps.push(rle_to_bitmap(&counts, w, h).unwrap());
        }
    }
    if !bitmaps.is_empty() {
        let size = ["width", "height"].map(|k| image[k].as_u64().unwrap() as usize);
        found.masks = Some(Masks::bitmaps(size, bitmaps));
    }
    found
}

/// What a data set knows of a picture.
fn info(case: &Json, image: &Json, index: usize, categories: &[Json]) -> DataInfo {
    let anns = case["gt"]["annotations"].as_array().unwrap().iter();
    let own = anns.filter(|a| a["image_id"] == image["id"]);
    let instances = own.filter_map(|a| {
        let label = categories.iter().position(|c| *c == a["category_id"])?;
        let [x, y, w, h] = [0, 1, 2, 3].map(|i| a["bbox"][i].as_f64().unwrap());
        Some(Instance {
            bbox: [x, y, x + w, y + h].map(|v| v as f32),
            label: label as i64,
            ignore: a["iscrowd"] == 1,
            mask: crate::sample::Segmentation::None,
        })
    });
    DataInfo {
        img_id: Some(serde_json::from_value(image["id"].clone()).unwrap()),
        index,
        instances: instances.collect(),
        ..DataInfo::default()
    }
}

fn report(case: &Json, metric: &str) -> Report {
    let classes = classes(case);
    let meta = MetaInfo {
        classes: classes.clone(),
        dataset_type: case["meta"]["dataset_type"].as_str().map(String::from),
        ..MetaInfo::default()
    };
    let files = Always(case["gt"].to_string().into_bytes());
    let given = Given {
        files: Some(&files),
        meta: &meta,
    };
    let text = match case["instances"] == true {
        true => metric.to_owned(),
        false => metric.replacen("Metric'", "Metric', ann_file='gt.json'", 1),
    };
    let node = parse_value(&text).unwrap();
    let built = Evaluator::read(&node, given, Lookup::own());
    let mut evaluator = built
        .unwrap_or_else(|e| panic!("{text}: {}", e[0]))
        .unwrap();
    let all = case["gt"]["categories"].as_array().unwrap().iter();
    let named = all.filter(|c| classes.iter().any(|n| c["name"] == **n));
    let categories: Vec<Json> = named.map(|c| c["id"].clone()).collect();
    let images = case["gt"]["images"].as_array().unwrap();
    for (index, image) in images.iter().enumerate() {
        let shape = ["height", "width"].map(|k| image[k].as_u64().unwrap() as usize);
        let info = info(case, image, index, &categories);
        evaluator.add(&info, shape, &instances(case, image, &categories));
    }
    evaluator.compute().unwrap()
}

#[test]
fn figures_of_the_original() {
    let mut seen = 0;
    for case in cases() {
        let (Some(metric), Some(expected)) = (case["metric"].as_str(), case["figures"].as_array())
        else {
            continue;
        };
        let name = case["name"].as_str().unwrap();
        let report = report(&case, metric);
        let names: Vec<&str> = report.figures.iter().map(|f| f.0.as_str()).collect();
        let wanted: Vec<&str> = expected.iter().map(|f| f[0].as_str().unwrap()).collect();
        assert_eq!(names, wanted, "{name}");
        for ((key, value), expected) in report.figures.iter().zip(expected) {
            match expected[1].as_f64() {
                None => assert!(value.is_nan(), "{name} {key}: {value}"),
                // means of VOC are f32
                Some(expected) => {
                    let close =
                        (value - expected).abs() < if name.contains("voc") { 1e-7 } else { 1e-10 };
                    assert!(close, "{name} {key}: {value}, the original has {expected}");
                }
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 15);
}
