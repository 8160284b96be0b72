//! The command on small data sets of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value as Json, json};
use smalti::draw::Canvas;

use super::{BrowseArgs, run};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: BrowseArgs,
}

/// A folder with a config, four pictures and their annotations; gone at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, pipeline: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("smalti-browse-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let (mut images, mut annotations) = (Vec::new(), Vec::new());
        for i in 0..4u8 {
            let rgb = vec![40 * i; 64 * 48 * 3];
            let png = Canvas::new(64, 48, rgb).unwrap().png().unwrap();
            fs::write(dir.join(format!("{i}.png")), png).unwrap();
            images
                .push(json!({"id": i, "file_name": format!("{i}.png"), "width": 64, "height": 48}));
            annotations.push(
                json!({"id": i, "image_id": i, "category_id": 1 + i % 2, "iscrowd": 0, "area": 200,
                "bbox": [8 + i, 10, 20, 10], "segmentation": [[8, 10, 28, 10, 28, 20, 8, 20]]}),
            );
        }
        let file = json!({"images": images, "annotations": annotations,
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]});
        fs::write(dir.join("a.json"), file.to_string()).unwrap();
        let root = dir.display();
        let config = format!(
            "train_dataloader = dict(dataset=dict(type='MultiImageMixDataset', pipeline=[{pipeline}],\n    dataset=dict(\
             type='CocoDataset', data_root='{root}/', ann_file='a.json', metainfo=dict(classes=('cat', 'dog')),\n        \
             pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)])))\n"
        );
        fs::write(dir.join("config.py"), config).unwrap();
        Self(dir)
    }

    fn browse(&self, line: &str) -> Result<ExitCode, String> {
        let config = self.0.join("config.py").display().to_string();
        let out = self.0.join("out").display().to_string();
        let line = line.replace("HERE", &self.0.display().to_string());
        let fixed = ["smalti", &config, "--out", &out, "--device", "cpu"];
        let words = fixed.into_iter().chain(line.split_whitespace());
        run(&Line::parse_from(words).args)
    }

    fn json(&self, path: &str) -> Json {
        serde_json::from_slice(&fs::read(self.0.join("out").join(path)).unwrap()).unwrap()
    }

    fn files(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("out").join(path)).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SHIFT: &str = "dict(type='Mosaic', img_scale=(64, 48)), dict(type='RandomShift', prob=1.0)";

#[test]
fn every_mode_and_every_file() {
    let place = Place::new("modes", SHIFT);
    for mode in ["original", "transformed", "pipeline"] {
        place.browse(&format!("--mode {mode} --workers 2")).unwrap();
    }
    place.browse("--index 2 --json").unwrap();
    let pictures = |i| {
        [
            format!("00000{i}_{i}.png"),
            format!("00000{i}_{i}_original.png"),
            format!("00000{i}_{i}_pipeline.png"),
        ]
    };
    let mut expected: Vec<String> = (0..4).flat_map(pictures).collect();
    expected.extend(["000002_2".to_owned(), "summary.json".to_owned()]);
    expected.sort();
    assert_eq!(place.files(""), expected);
    assert_eq!(
        place.files("000002_2"),
        [
            "001_LoadImageFromFile.png",
            "002_LoadAnnotations.png",
            "003_Mosaic.png",
            "004_RandomShift.png",
            "draws.json"
        ]
    );
    let draws = place.json("000002_2/draws.json");
    assert_eq!(
        (&draws["smalti_draws"], &draws["index"], &draws["img_id"]),
        (&json!(1), &json!(2), &json!(2))
    );
    let steps = draws["steps"].as_array().unwrap();
    assert_eq!(steps[1]["boxes"], json!([[10.0, 10.0, 30.0, 20.0]]));
    assert_eq!(steps[1]["classes"], json!(["cat"]));
    assert_eq!(steps[1]["mask_areas"], json!([200.0]));
    assert_eq!(steps[2]["img_shape"], json!([96, 128]));
    assert_eq!(steps[2]["indexes"].as_array().unwrap().len(), 3);
    assert_eq!(steps[2]["picture"], "003_Mosaic.png");
    let summary = place.json("summary.json");
    assert_eq!(summary["data_set"]["classes"][1]["boxes"], 2);
    assert_eq!(summary["left_out"], json!([]));
}

#[test]
fn draws_are_made_again() {
    let place = Place::new("again", SHIFT);
    place.browse("--index 1 --json --seed 5").unwrap();
    let first = place.json("000001_1/draws.json");
    fs::copy(
        place.0.join("out/000001_1/draws.json"),
        place.0.join("kept.json"),
    )
    .unwrap();
    place.browse("--draws HERE/kept.json --json").unwrap();
    let again = place.json("000001_1/draws.json");
    assert_eq!(
        (&again["saved"], &again["random"]),
        (&first["saved"], &json!("replay"))
    );
    let boxes = |file: &Json| file["steps"].as_array().unwrap().last().unwrap()["boxes"].clone();
    assert_eq!(boxes(&again), boxes(&first));
    // the same calls as a recording of numpy's
    let calls: Vec<Json> = first["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["draws"].as_array().unwrap().clone())
        .collect();
    assert!(calls.len() > 5);
    fs::write(
        place.0.join("raw.json"),
        json!({ "draws": calls }).to_string(),
    )
    .unwrap();
    place
        .browse("--draws HERE/raw.json --index 1 --json")
        .unwrap();
    assert_eq!(boxes(&place.json("000001_1/draws.json")), boxes(&first));
    // another picture
    place
        .browse("--draws HERE/kept.json --index 3 --json")
        .unwrap();
    assert_eq!(place.json("000003_3/draws.json")["saved"], first["saved"]);

    let other = Place::new("other", "dict(type='RandomShift')");
    let kept = place.0.join("kept.json").display().to_string();
    assert_eq!(
        other.browse(&format!("--draws {kept}")),
        Ok(ExitCode::FAILURE)
    );
    let error = other.browse("--draws HERE/a.json").unwrap_err();
    assert!(
        error.contains("neither `smalti_draws` nor `draws`"),
        "{error}"
    );
    assert!(other.browse("--draws HERE/none.json").is_err());
}

#[test]
fn a_bad_picture_is_an_error_or_left_out() {
    let place = Place::new("bad", "dict(type='RandomShift')");
    fs::write(place.0.join("2.png"), b"\x89PNG\r\n\x1a\nnot much more").unwrap();
    fs::remove_file(place.0.join("0.png")).unwrap();
    assert_eq!(place.browse("--workers 1"), Ok(ExitCode::FAILURE));
    assert_eq!(
        place.browse("--on-error skip --json"),
        Ok(ExitCode::SUCCESS)
    );
    let summary = place.json("summary.json");
    let left: Vec<&str> = summary["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(left.len(), 2);
    assert!(
        left[0].contains("0.png (id 0): ") && left[1].contains("2.png (id 2): "),
        "{left:?}"
    );
    assert_eq!(summary["data_set"]["faults"]["missing_file"]["count"], 1);
    assert_eq!(
        place.browse("--on-error skip --index 0 2"),
        Ok(ExitCode::FAILURE),
        "none was good"
    );
    assert_eq!(
        place.browse("--mode pipeline --index 2"),
        Ok(ExitCode::FAILURE)
    );
}

#[test]
fn wrong_lines_are_told() {
    let place = Place::new("lines", "dict(type='RandomShift')");
    let error = |line| place.browse(line).unwrap_err();
    assert_eq!(
        error("--index 4"),
        "there is no sample 4: the train data set has 4, counted from 0"
    );
    assert_eq!(
        error("--index 1 2 --count 3"),
        "--count goes with one --index, or none"
    );
    assert!(error("--split val").contains("no data set for `val`"));
    fs::write(place.0.join("file"), b"").unwrap();
    let in_the_way = place.0.join("file").display().to_string();
    let config = place.0.join("config.py").display().to_string();
    let words = ["smalti", &config, "--out", &in_the_way];
    let error = run(&Line::parse_from(words).args).unwrap_err();
    assert!(
        error.starts_with(&format!("--out {in_the_way}: ")),
        "{error}"
    );
    place.browse("--summary").unwrap();
    assert!(!Path::new(&place.0.join("out")).exists() || place.files("").is_empty());
    place.browse("--summary --index 2 --count 9").unwrap();
    assert_eq!(place.files(""), ["000002_2.png", "000003_3.png"]);
}
