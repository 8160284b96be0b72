//! Figures of pycocotools, MMDetection and lvis-api, to 1e-10.
//!
//! `tests/data/evaluate.jsonl.gz`: one case a line. `stats` are pycocotools 2.0.11's of `gt` and `dt` (a list of results) with `max_dets` and `thrs`;
//! `figures` are what mmdet 3.3.0's `metric` logs (MMEngine 0.10.7, lvis-api 0.5.3), `null` for NaN. The first four cases are published: cocodataset/cocoapi's
//! `results` with the 100 pictures of faster_coco_eval's tests, and that project's own, whose expected figures are the same to all digits. The others are
//! random and crowded, with boxes and scores that f32 has exactly. `"gt": null` is that of the line before. Where the script met numpy's refusal of
//! ragged arrays, in `eval_recalls`, it gave it an array of objects.

use std::io::Read as _;

use serde_json::Value as Json;

use super::coco_eval::{Judged, Protocol, evaluate};
use super::*;
use crate::lookup::Lookup;
use crate::structures::Masks;
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
    unpacked(include_bytes!("../../../../tests/data/evaluate.jsonl.gz"))
}

fn unpacked(bytes: &[u8]) -> Vec<Json> {
    let mut text = String::new();
    let mut input = flate2::read::GzDecoder::new(bytes);
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

fn truth(case: &Json) -> Truth {
    Truth::read("gt.json", case["gt"].to_string().as_bytes()).unwrap()
}

#[test]
fn twelve_stats() {
    let mut seen = 0;
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let truth = truth(&case);
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
        let names: Vec<&str> = report.figures.keys().map(String::as_str).collect();
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
    assert_eq!(seen, 17);
}

/// `tests/data/analysis.jsonl.gz`: mean precisions of mmdet 3.3.0's coco_error_analysis.py, and a matrix of its confusion_matrix.py.
#[test]
fn analyses_of_the_original() {
    let [errors, confusion] =
        &unpacked(include_bytes!("../../../../tests/data/analysis.jsonl.gz"))[..]
    else {
        panic!("two cases");
    };
    let analyze = |case: &Json, masks: bool| {
        let truth = truth(case);
        let results = results_file::read("dt.json", case["dt"].to_string().as_bytes(), &truth);
        let options = analysis::AnalyzeOptions {
            masks,
            score_thr: 0.3,
            iou_thr: 0.5,
            worst: 1000,
        };
        analysis::analyze(&truth, &results.unwrap(), options).unwrap()
    };
    for (kind, expected) in errors["errors"].as_object().unwrap() {
        let found = analyze(errors, kind == "segm");
        let expected = expected.as_object().unwrap();
        assert_eq!(found.errors.len(), expected.len());
        for row in &found.errors {
            let name = format!("{} {}", row.name, row.area);
            for (k, value) in row.ap.iter().enumerate() {
                let wanted = expected[&name][k].as_f64().unwrap();
                let kind = analysis::KINDS[k];
                assert!(
                    (value - wanted).abs() < 1e-10,
                    "{name} {kind}: {value}, {wanted}"
                );
            }
        }
    }
    let found = analyze(confusion, false);
    let counts = serde_json::to_value(&found.confusion.counts).unwrap();
    assert_eq!(counts, confusion["confusion"]);
    let objects = confusion["gt"]["annotations"].as_array().unwrap().len();
    let rows = found.worst.iter();
    assert_eq!(rows.map(|r| r.found + r.missed).sum::<usize>(), objects);
    assert!(
        found
            .worst
            .is_sorted_by_key(|r| std::cmp::Reverse(r.errors()))
    );
}

#[test]
fn results_that_do_not_fit_are_named() {
    let gt = r#"{"images": [{"id": "7", "file_name": "a.jpg", "width": 9, "height": 9}], "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 4]}, {"image_id": 8, "category_id": 3}]}"#;
    let truth = Truth::read("a.json", gt.as_bytes()).unwrap();
    let notes = truth.notes().join(" ");
    assert!(
        notes.contains("1 annotations of no picture") && notes.contains("`id` 0"),
        "{notes}"
    );
    let read = |text: &str| results_file::read("r.json", text.as_bytes(), &truth);
    for (text, part) in [
        ("{}", "no file of results: it is an object"),
        ("[3]", "detection 1 has no `image_id`"),
        (
            "[{\"image_id\": 8}]",
            "is of the picture 8, which the annotation file does not have",
        ),
        ("[{\"image_id\": 7, \"category_id\": 3}]", "no `score`"),
        (
            "[{\"image_id\": 7, \"category_id\": 3, \"score\": 1}]",
            "no `bbox`",
        ),
        (
            "[{\"image_id\": 7, \"score\": 1, \"segmentation\": {\"size\": [9, 9], \"counts\": \"1\"}}]",
            "no `category_id`",
        ),
        ("[", "at byte 1"),
    ] {
        let error = read(text).unwrap_err();
        assert!(
            error.starts_with("`r.json`: ") && error.contains(part),
            "{text}: {error}"
        );
    }
    let row = "{\"image_id\": 7, \"category_id\": CAT, \"score\": 1, \"bbox\": [0, 0, 4, 4]}";
    let results = read(&format!(
        "[{}, {}]",
        row.replace("CAT", "3"),
        row.replace("CAT", "4")
    ));
    let results = results.unwrap();
    assert_eq!(
        (results.pictures[0].len(), results.other_categories),
        (1, 1)
    );
    assert!(Truth::read("a.json", &b"{\"images\": []}"[..]).is_err());
}

#[test]
fn options_that_are_wrong_are_named() {
    let files = Always(Vec::new());
    let meta = MetaInfo::default();
    let mistakes = |text: &str, files: Option<&dyn Files>| {
        let node = parse_value(text).unwrap();
        let given = Given { files, meta: &meta };
        match Evaluator::read(&node, given, Lookup::own()) {
            Ok(_) => String::new(),
            Err(all) => all
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        }
    };
    for (text, part) in [
        ("dict(type='CocoMetric', metric='boxes')", "metric"),
        (
            "dict(type='CocoMetric', metric=['bbox', 'segment'])",
            "metric",
        ),
        (
            "dict(type='CocoMetric', iou_thrs=[])",
            "`iou_thrs` must be 1 to 32 numbers",
        ),
        ("dict(type='CocoMetric', iou_thrs=[1.5])", "from 0 to 1"),
        (
            "dict(type='CocoMetric', proposal_nums=(100,))",
            "three numbers",
        ),
        (
            "dict(type='CocoMetric', metric_items=['mAP_5'])",
            "did you mean 'mAP",
        ),
        (
            "dict(type='CocoMetric', format_only=True)",
            "`outfile_prefix`",
        ),
        (
            "dict(type='CocoMetric', file_client_args=dict())",
            "`file_client_args`",
        ),
        ("dict(type='CocoMetric', clswise=True)", "classwise"),
        ("dict(type='CocoMetrics')", "mmdet.CocoMetric"),
        ("dict(type='LVISMetric')", "needs an `ann_file`"),
        (
            "dict(type='LVISMetric', ann_file='a', sort_categories=True)",
            "no key `sort_categories`",
        ),
        ("dict(type='VOCMetric', eval_mode='12points')", "eval_mode"),
        ("dict(type='VOCMetric', metric=['mAP', 'recall'])", "one of"),
        (
            "dict(type='VOCMetric', scale_ranges=[(0, 32)])",
            "`scale_ranges`",
        ),
        ("dict(type='OpenImagesMetric')", "not supported yet"),
        ("[]", "has no metric"),
    ] {
        let found = mistakes(text, None);
        assert!(found.contains(part), "{text}:\n{found}");
    }
    let good = "[dict(type='CocoMetric', metric='proposal_fast', proposal_nums=[5], backend_args=None, file_client_args=None), \
        dict(type='VOCMetric', iou_thrs=0.5, scale_ranges=None, collect_device='gpu')]";
    assert_eq!(mistakes(good, None), "");
    let found = mistakes("dict(type='CocoMetric', ann_file='a.json')", Some(&files));
    assert!(found.contains("`a.json`"), "{found}");
}

#[test]
fn what_cannot_be_counted_is_said() {
    let meta = MetaInfo {
        classes: vec!["cat".into()],
        ..MetaInfo::default()
    };
    let gt = r#"{"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [], "categories": [{"id": 3, "name": "CATS"}]}"#;
    let files = Always(gt.replace("CATS", "cat").into());
    let others = Always(gt.replace("CATS", "dog").into());
    let evaluator = |text: &str, files: &dyn Files| {
        let given = Given {
            files: Some(files),
            meta: &meta,
        };
        let node = parse_value(text).unwrap();
        Evaluator::read(&node, given, Lookup::own())
            .unwrap()
            .unwrap()
    };
    let coco = "dict(type='CocoMetric', ann_file='a')";
    let mut empty = evaluator(coco, &files);
    assert_eq!(empty.compute(), Err(EvaluateError::Nothing));
    let info = |id: i64| DataInfo {
        img_id: Some(Id::Number(id)),
        ..DataInfo::default()
    };
    let mut found = Instances::default();
    found.push([0.0, 0.0, 4.0, 4.0], 0.5, 0);
    let run = |text: &str, files: &dyn Files, id: i64, found: &Instances| {
        let mut evaluator = evaluator(text, files);
        evaluator.add(&info(id), [9, 9], found);
        evaluator.compute()
    };
    let error = run(coco, &files, 2, &found).unwrap_err().to_string();
    assert!(error.contains("the picture with the id 2"), "{error}");
    let error = run(coco, &others, 1, &found).unwrap_err().to_string();
    assert!(
        error.contains("(cat, ...)") && error.contains("(dog, ...)"),
        "{error}"
    );
    let segm = "dict(type='CocoMetric', ann_file='a', metric='segm')";
    assert_eq!(run(segm, &files, 1, &found), Err(EvaluateError::NoMasks));
    let twice = format!("[{coco}, {coco}]");
    let error = run(&twice, &files, 1, &found).unwrap_err().to_string();
    assert!(
        error.contains("`coco/bbox_mAP`") && error.contains("`prefix`"),
        "{error}"
    );
    let nothing = run(coco, &files, 1, &Instances::default()).unwrap();
    assert!(nothing.figures.is_empty() && nothing.notes[0].contains("nothing was found"));
    found.labels[0] = 5;
    let error = run(coco, &files, 1, &found).unwrap_err().to_string();
    assert!(error.contains("the label 5, but only 1 classes"), "{error}");
    found.labels[0] = 0;
    let own = "dict(type='CocoMetric', outfile_prefix='w/r', format_only=True)";
    let report = run(own, &files, 7, &found).unwrap();
    let names: Vec<&str> = report.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["w/r.gt.json", "w/r.bbox.json"]);
    assert!(report.figures.is_empty());
    assert_eq!(
        String::from_utf8(report.files[1].1.clone()).unwrap(),
        r#"[{"image_id": 7, "bbox": [0.0, 0.0, 4.0, 4.0], "score": 0.5, "category_id": 0}]"#
    );
    assert!(Truth::read("gt", &report.files[0].1[..]).is_ok());
}

/// Files with bytes changed, cut or repeated: an error or figures, never a panic.
#[test]
fn broken_files() {
    let case = &unpacked(include_bytes!("../../../../tests/data/analysis.jsonl.gz"))[0];
    let mut small = case.clone();
    let few = |list: &Json, key: &str, ids: &[Json]| -> Json {
        let rows = list.as_array().unwrap().iter();
        rows.filter(|r| ids.contains(&r[key])).cloned().collect()
    };
    let images = case["gt"]["images"].as_array().unwrap();
    let ids: Vec<Json> = images[..4].iter().map(|i| i["id"].clone()).collect();
    small["gt"]["images"] = few(&case["gt"]["images"], "id", &ids);
    small["gt"]["annotations"] = few(&case["gt"]["annotations"], "image_id", &ids);
    small["dt"] = few(&case["dt"], "image_id", &ids);
    let texts = ["gt", "dt"].map(|key| small[key].to_string().into_bytes());
    let mut seed = 5_u64;
    let mut below = |most: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % most
    };
    let words: [&[u8]; 8] = [
        b"0",
        b"-1",
        b"1e308",
        b"NaN",
        b"null",
        b"[]",
        b"99999999999",
        b"\"x\"",
    ];
    let mut read = 0;
    for round in 0..400 {
        let mut texts = texts.clone();
        for _ in 0..=round % 3 {
            let text = &mut texts[below(2)];
            let at = below(text.len());
            match below(4) {
                0 => text[at] = below(256) as u8,
                1 => text.truncate(at),
                _ => {
                    // a whole number becomes another word
                    let digit = |b: &u8| b.is_ascii_digit() || b".-e".contains(b);
                    let Some(start) = text[at..].iter().position(digit) else {
                        continue;
                    };
                    let start = at + start;
                    let length = text[start..].iter().take_while(|b| digit(b)).count();
                    let word = words[below(words.len())];
                    text.splice(start..start + length, word.iter().copied());
                }
            }
        }
        let Ok(truth) = Truth::read("gt", &texts[0][..]) else {
            continue;
        };
        let Ok(results) = results_file::read("dt", &texts[1][..], &truth) else {
            continue;
        };
        read += 1;
        for masks in [false, true] {
            let options = analysis::AnalyzeOptions {
                masks,
                score_thr: 0.1,
                iou_thr: 0.5,
                worst: 3,
            };
            let _ = analysis::analyze(&truth, &results, options);
        }
    }
    assert!(read > 50, "{read} of 400 could be read");
}
