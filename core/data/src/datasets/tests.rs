//! Data sets against MMDetection's own, and what is said of broken files and configs.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::coco::ImageId;
use crate::pixels::Pixels;
use crate::random::{Counter, Recorded};
use crate::sample::Segmentation;
use crate::structures::masks::RleCounts;
use crate::transforms::Outcome;
use smalti_config::MapLoader;

/// Files in memory.
#[derive(Default)]
struct Texts(HashMap<String, Vec<u8>>);

impl Texts {
    fn of<T: Into<Vec<u8>>>(files: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(path, text)| (path.into(), text.into()))
                .collect(),
        )
    }
}

impl Files for Texts {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| "there is no such file".into())
    }
}

fn config(text: &str) -> Config {
    Config::parse(text, "a.py", &MapLoader::default()).unwrap()
}

fn built(text: &str, files: &Texts) -> Result<Box<dyn Dataset>, String> {
    let config = config(text);
    build(config.get("dataset").unwrap(), files).map_err(|problems| shown(&problems))
}

fn shown(problems: &[Diagnostic]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

fn notes(dataset: &dyn Dataset) -> String {
    all_notes(dataset)
        .iter()
        .map(|p| format!("{p}\n"))
        .collect()
}

#[derive(Deserialize)]
struct Rows {
    texts: Vec<String>,
    cases: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    config: String,
    files: BTreeMap<String, usize>,
    expected: Theirs,
}

/// MMDetection's data set, or its error.
#[derive(Deserialize)]
#[serde(untagged)]
enum Theirs {
    Set(Expected),
    Error { error: String },
}

#[derive(Deserialize)]
struct Expected {
    classes: Vec<String>,
    palette: Option<Vec<[u8; 3]>>,
    dataset_type: Option<String>,
    infos: Vec<(String, ImageId, usize, usize, usize, Vec<Object>)>,
}

#[derive(Deserialize)]
struct Object {
    bbox: [f64; 4],
    label: i64,
    ignore: bool,
    mask: Json,
}

/// As the annotation file has it.
fn json_of(mask: &Segmentation) -> Json {
    match mask {
        Segmentation::None => Json::Null,
        Segmentation::Polygons(polygons) => serde_json::json!(polygons),
        Segmentation::Rle {
            counts,
            width,
            height,
        } => {
            let counts = match counts {
                RleCounts::Plain(list) => serde_json::json!(list),
                RleCounts::Text(text) => serde_json::json!(text),
            };
            serde_json::json!({"counts": counts, "size": [height, width]})
        }
    }
}

/// Equal, where `1` and `1.0` are one number, and the reader of the expected values may be off by a last bit (serde_json without
/// `float_roundtrip` is).
fn same(ours: &Json, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= a.abs() * f64::EPSILON,
            _ => false,
        },
        (a, b) => a == b,
    }
}

#[test]
fn equal_to_mmdetection() {
    let gz = include_bytes!("../../../../tests/data/datasets.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gz[..])
        .read_to_string(&mut text)
        .unwrap();
    let rows: Rows = serde_json::from_str(&text).unwrap();
    assert!(rows.cases.len() > 30);
    for row in rows.cases {
        let files = row
            .files
            .iter()
            .map(|(path, i)| (path.clone(), rows.texts[*i].clone().into_bytes()));
        let files = Texts(files.collect());
        let name = &row.name;
        let (dataset, expected) = match (built(&row.config, &files), row.expected) {
            (Ok(dataset), Theirs::Set(expected)) => (dataset, expected),
            (Err(_), Theirs::Error { .. }) => continue,
            (Ok(_), Theirs::Error { error }) => panic!("{name}: MMDetection's error is {error}"),
            (Err(error), _) => panic!("{name}: {error}"),
        };
        let meta = dataset.meta();
        assert_eq!(meta.classes, expected.classes, "{name}");
        // LVIS and Objects365 have colours in MMDetection's source, for its own classes
        if !name.contains("objects365") {
            assert_eq!(meta.palette, expected.palette.unwrap_or_default(), "{name}");
        }
        assert_eq!(meta.dataset_type, expected.dataset_type, "{name}");
        assert_eq!(dataset.len(), expected.infos.len(), "{name}");
        for (i, (path, id, index, width, height, objects)) in expected.infos.into_iter().enumerate()
        {
            let info = dataset.info(i);
            let place = format!("{name}, picture {i} ({path})");
            assert_eq!(
                (&info.img_path, &info.img_id),
                (&path, &Some(id)),
                "{place}"
            );
            assert_eq!(
                (info.index, info.width, info.height),
                (index, width, height),
                "{place}"
            );
            let labels: Vec<i64> = objects.iter().map(|o| o.label).collect();
            assert_eq!(dataset.labels(i), labels, "{place}");
            assert_eq!(info.instances.len(), objects.len(), "{place}");
            for (ours, theirs) in info.instances.iter().zip(&objects) {
                assert_eq!(ours.bbox, theirs.bbox.map(|v| v as f32), "{place}");
                assert_eq!(
                    (ours.label, ours.ignore),
                    (theirs.label, theirs.ignore),
                    "{place}"
                );
                let mask = json_of(&ours.mask);
                assert!(same(&mask, &theirs.mask), "{place}: {mask} {}", theirs.mask);
            }
        }
    }
}

/// Two pictures and what a test puts in.
fn coco(annotations: &str) -> Texts {
    let text = format!(
        r#"{{"images": [{{"id": 1, "file_name": "1.jpg", "width": 40, "height": 30}}, {{"id": 2, "file_name": "2.jpg", "width": 40, "height": 30}}],
        "annotations": [{annotations}], "categories": [{{"id": 5, "name": "cat"}}, {{"id": 3, "name": "dog"}}]}}"#
    );
    Texts::of([("a.json", text)])
}

const CATS: &str = "dataset = dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='i'), metainfo=dict(classes=('cat', 'dog')))";

#[test]
fn broken_annotations_lose_nothing_else() {
    let files = coco(
        r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [NaN, 2, 3, 4], "area": 9},
        {"id": 3, "image_id": 1, "category_id": 5, "bbox": [1, 2, Infinity, 4], "area": 9},
        {"id": 4, "image_id": 1, "category_id": 5, "bbox": [1, 2, 0, 4], "area": 9},
        {"id": 5, "image_id": 1, "category_id": 5, "bbox": [1, 2, -3, 4], "area": 9},
        {"id": 6, "image_id": 1, "category_id": 5, "bbox": [41, 2, 3, 4], "area": 9},
        {"id": 7, "image_id": 77, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9},
        {"id": 8, "image_id": 1, "category_id": 99, "bbox": [1, 2, 3, 4], "area": 9},
        {"id": 9, "image_id": 1, "category_id": 5, "bbox": ["1", 2, 3, 4], "area": 9},
        {"id": 10, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]},
        {"id": 10, "image_id": 1, "category_id": 3, "bbox": [5, 2, 3, 4], "area": 9},
        {"id": 12, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9, "segmentation": [1, 2, 3, 4, 5, 6]},
        {"id": 13, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9, "segmentation": {"counts": [1, -2], "size": [3, 4]}},
        {"id": 14, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9, "segmentation": "none"},
        17, {"id": 15, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3], "area": 9},
        {"id": 16, "image_id": 2, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#,
    );
    let dataset = built(CATS, &files).unwrap();
    assert_eq!(dataset.labels(0), [0, 0, 1, 0, 0, 0]);
    assert_eq!(dataset.labels(1), [0]);
    let info = dataset.info(0);
    let polygon = Segmentation::Polygons(vec![vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
    assert_eq!(info.instances[3].mask, polygon);
    assert_eq!(info.instances[4].mask, Segmentation::Polygons(Vec::new()));
    let notes = notes(&*dataset);
    for expected in [
        "note: `a.json`: 2 of 2 pictures and 7 objects, ",
        "2 annotations left out: the box is less than 1 px wide or high (4, 5)",
        "1 annotation left out: the box lies outside of the picture (6)",
        "1 annotation left out: the file has no category of this `category_id` (8)",
        "1 annotation left out: the file has no picture of this `image_id` (7)",
        "3 annotations left out: without an `image_id`, a `category_id` or a `bbox` of four numbers (9, number 15, 15)",
        "2 annotations left out: the box has a value that is no number (2, 3)",
        "1 annotation without `area`: width times height of the box is taken (10)",
        "1 annotation with the `id` of an earlier annotation: both are kept (10)",
        "1 annotation with a `segmentation` that is one list of numbers, not a list of lists: taken as one polygon (12)",
        "2 annotations with a `segmentation` that cannot be read: where masks are loaded, the object is ignored \
            (13: run lengths without good `counts` or `size`, 14: neither a list nor run lengths)",
    ] {
        assert!(notes.contains(expected), "{expected}\n{notes}");
    }
    let strict = CATS.replace("ann_file", "on_broken='error', ann_file");
    let error = built(&strict, &files).unwrap_err();
    assert!(
        error.contains(
            "error: `a.json`: 2 annotations left out: the box has a value that is no number (2, 3)"
        ),
        "{error}"
    );
    assert!(
        error.contains("a.py:1:64") && error.contains("help: on_broken='skip' takes the rest"),
        "{error}"
    );
    let fine =
        coco(r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 0.5, 4], "area": 9}"#);
    assert_eq!(
        built(&strict, &fine).unwrap().len(),
        2,
        "a rule is no mistake"
    );
}

#[test]
fn errors_name_the_cause() {
    let one =
        coco(r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#);
    let other = CATS.replace("'cat', 'dog'", "'lion', 'wolf'");
    let error = built(&other, &one).unwrap_err();
    let expected = "`a.json`: 0 of 1 annotations kept: the file has categories {cat, dog}, the config wants {lion, wolf}";
    assert!(error.contains(expected), "{error}");
    assert!(
        error.contains("help: write metainfo=dict(classes=('cat', 'dog'))"),
        "{error}"
    );
    let fails = |text: &str, files: &Texts, expected: &str| {
        let error = built(text, files).unwrap_err();
        assert!(error.contains(expected), "{expected}\n{error}");
    };
    let filtered = CATS.replace(
        "ann_file",
        "filter_cfg=dict(filter_empty_gt=True, min_size=32), ann_file",
    );
    fails(
        &filtered,
        &one,
        "the data set is empty: of 2 pictures of `a.json` 1 have no object (`filter_empty_gt`), 1 are smaller than `min_size`",
    );
    fails(CATS, &Texts::default(), "`a.json`: there is no such file");
    fails(
        CATS,
        &Texts::of([("a.json", "{\"images\": [{\"id\"")]),
        "`a.json`: the file ends too early at byte 17",
    );
    fails(
        CATS,
        &Texts::of([("a.json", "[]")]),
        "no COCO annotation file",
    );
    fails(
        CATS,
        &Texts::of([("a.json", "{\"categories\": 3}")]),
        "a list was expected",
    );
    fails(
        CATS,
        &Texts::of([("a.json", "{\"images\": []}")]),
        "no `categories`",
    );
    let empty = "{\"images\": [], \"categories\": [{\"id\": 1, \"name\": \"cat\"}]}";
    fails(
        CATS,
        &Texts::of([("a.json", empty)]),
        "the data set is empty: `a.json` has no pictures",
    );
    fails(
        &CATS.replace("ann_file", "indices=[0, 2], ann_file"),
        &one,
        "`indices` has 2, but there are 2 pictures",
    );
    fails(
        &CATS.replace("ann_file", "indices=0, ann_file"),
        &one,
        "the data set is empty",
    );
    fails(&CATS.replace("ann_file", "ann_fil"), &one, "ann_fil");
    fails(
        &CATS.replace("CocoDataset", "CocoDatset"),
        &one,
        "did you mean type='mmdet.CocoDataset'?",
    );
    fails(
        &CATS.replace("CocoDataset", "V3DetDataset"),
        &one,
        "the data set `V3DetDataset` is not supported yet",
    );
    fails(&CATS.replace("img=", "imgs="), &one, "imgs");
    fails(
        "dataset = dict(type='XMLDataset', ann_file='a.txt')",
        &one,
        "`XMLDataset` needs classes",
    );
    fails(
        "dataset = dict(type='RepeatDataset', times=0, dataset=dict())",
        &one,
        "`times` is 0",
    );
    fails(
        "dataset = dict(type='ConcatDataset', datasets=[])",
        &one,
        "has no data sets",
    );
}

/// The ids, flags and names of strangers' files.
fn strange(images: &str, annotations: &str, categories: &str) -> Texts {
    let text = format!(
        r#"{{"images": [{images}], "annotations": [{annotations}], "categories": [{categories}]}}"#
    );
    Texts::of([("a.json", text)])
}

/// An annotation with these members.
fn one(members: &str) -> String {
    format!(r#"{{"bbox": [1, 2, 3, 4], "area": 9, {members}}}"#)
}

#[test]
fn ids_keep_all_their_digits() {
    let image =
        |id: &str| format!(r#"{{"id": {id}, "file_name": "{id}.jpg", "width": 40, "height": 30}}"#);
    let ids = [
        "20210315103045000000",
        "20210315103045000001",
        "-20210315103045000001",
        "123456789012345678901234567890123456789012345678901",
        "1.5",
        "-9223372036854775808",
    ];
    let images = ids.map(image).join(",");
    let annotation = |(i, id): (usize, &&str)| {
        let category = 18446744073709551617u128 + i as u128 % 2;
        one(&format!(
            r#""id": {id}, "image_id": {id}, "category_id": {category}"#
        ))
    };
    let annotations: Vec<String> = ids.iter().enumerate().map(annotation).collect();
    let mut annotations = annotations.join(",");
    annotations += r#", {"id": 18446744073709551999, "image_id": 18446744073709551998, "category_id": 18446744073709551617}"#;
    let categories = r#"{"id": 18446744073709551617, "name": "cat"}, {"id": 18446744073709551618, "name": "dog"}"#;
    let dataset = built(CATS, &strange(&images, &annotations, categories)).unwrap();
    for (i, id) in ids.iter().enumerate() {
        let info = dataset.info(i);
        assert_eq!(info.img_id.as_ref().unwrap().json(), *id);
        assert_eq!(dataset.labels(i), [i as i64 % 2], "{id}");
    }
    let text = notes(&*dataset);
    assert!(text.contains("(18446744073709551999)"), "{text}");
    assert!(!text.contains("earlier"), "{text}");
    // Objects365 v1 sorts categories by their ids
    let sorted = CATS
        .replace("CocoDataset", "Objects365V1Dataset")
        .replace("'cat', 'dog'", "");
    let categories = r#"{"id": "2", "name": "d"}, {"id": 18446744073709551617, "name": "c"}, {"id": "10", "name": "e"}, {"id": 7, "name": "a"}, {"id": 9223372036854775808, "name": "b"}"#;
    let dataset = built(&sorted, &strange(&images, "", categories)).unwrap();
    assert_eq!(dataset.meta().classes, ["a", "b", "c", "e", "d"]);
}

#[test]
fn texts_and_numbers_are_one_id() {
    let images = r#"{"id": 5, "file_name": "5.jpg"}, {"id": "6", "file_name": "6.jpg"}, {"id": "x7", "file_name": "7.jpg"},
        {"id": 9007199254740993, "file_name": "8.jpg", "width": "40", "height": "30"}"#;
    let categories = r#"{"id": 1, "name": "cat"}, {"id": "2", "name": "dog"}"#;
    let annotations = [
        one(r#""id": 1, "image_id": "5", "category_id": "1""#),
        one(r#""id": 2, "image_id": 6, "category_id": 2"#),
        one(r#""id": 3, "image_id": "x7", "category_id": true"#),
        one(r#""id": 4, "image_id": "9007199254740993", "category_id": 1.0"#),
        one(r#""id": 5, "image_id": "007", "category_id": 1"#),
    ];
    let files = strange(images, &annotations.join(","), categories);
    for kind in ["CocoDataset", "CityscapesDataset"] {
        let dataset = built(&CATS.replace("CocoDataset", kind), &files).unwrap();
        let labels: Vec<_> = (0..4).map(|i| dataset.labels(i)).collect();
        assert_eq!(labels, [[0], [1], [0], [0]], "{kind}");
        let text = notes(&*dataset);
        for expected in [
            "2 annotations whose `image_id` is a text where the picture's `id` is a number: taken as the same (1: \"5\" for 5, 4: \"9007199254740993\" for 9007199254740993)",
            "1 annotation whose `image_id` is a number where the picture's `id` is a text: taken as the same (2: 6 for \"6\")",
            "1 annotation whose `category_id` is a text where the category's `id` is a number: taken as the same (1: \"1\" for 1)",
            "1 annotation whose `category_id` is a number where the category's `id` is a text: taken as the same (2: 2 for \"2\")",
            "1 annotation left out: the file has no picture of this `image_id` (5)",
            "1 picture with a `width` or a `height` that is text",
        ] {
            assert!(text.contains(expected), "{kind}: {expected}\n{text}");
        }
        assert_eq!(dataset.info(3).width, 40);
    }
    // nothing is left: not in silence
    let lost = strange(
        images,
        &one(r#""id": 9, "image_id": "img_5", "category_id": 1"#),
        categories,
    );
    let error = built(CATS, &lost).unwrap_err();
    assert!(
        error.contains("error: `a.json`: none of the 1 annotations can be used; the first has the `image_id` \"img_5\" and the `category_id` 1, the first picture the `id` 5,")
            && error.contains("no picture of this `image_id` (9)"),
        "{error}"
    );
    let test = CATS.replace("ann_file", "test_mode=True, ann_file");
    assert!(notes(&*built(&test, &lost).unwrap()).contains("no picture of this `image_id` (9)"));
}

#[test]
fn numbers_written_as_text() {
    let files = coco(
        r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": ["1", " 2", "3.5", "4"], "area": "9"},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": "0"},
        {"id": 3, "image_id": 1, "category_id": 5, "bbox": ["1", "2", "3,5", "4"], "area": 9},
        {"id": 4, "image_id": 1, "category_id": 5, "bbox": ["1", "2", "nan", "4"], "area": 9},
        {"id": 5, "image_id": 1, "category_id": 5, "bbox": "[1, 2, 3, 4]", "area": 9}"#,
    );
    let dataset = built(CATS, &files).unwrap();
    assert_eq!(dataset.info(0).instances[0].bbox, [1.0, 2.0, 4.5, 6.0]);
    assert_eq!(dataset.labels(0).len(), 1);
    let text = notes(&*dataset);
    for expected in [
        "2 annotations with a `bbox` or an `area` that is text: taken as the numbers it spells (1, 2)",
        "1 annotation left out: `area` is 0 or less (2)",
        "3 annotations left out: without an `image_id`, a `category_id` or a `bbox` of four numbers (3, 4, 5)",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn flags_that_are_no_numbers() {
    let values = [
        ("0", false),
        ("1", true),
        ("false", false),
        ("true", true),
        ("null", false),
        ("0.0", false),
        ("\"0\"", false),
        ("\"1\"", true),
        ("\" False \"", false),
        ("\"true\"", true),
        ("\"\"", false),
        ("\"0.0\"", false),
        ("\"maybe\"", true),
        ("[]", false),
    ];
    let crowd = |(i, (value, _)): (usize, &(&str, bool))| {
        one(&format!(
            r#""id": {i}, "image_id": 1, "category_id": 5, "iscrowd": {value}"#
        ))
    };
    let annotations: Vec<String> = values.iter().enumerate().map(crowd).collect();
    let dataset = built(CATS, &coco(&annotations.join(","))).unwrap();
    let info = dataset.info(0);
    for ((value, flag), object) in values.iter().zip(&info.instances) {
        assert_eq!(object.ignore, *flag, "{value}");
    }
    let text = notes(&*dataset);
    for expected in [
        "warning: `a.json`: 6 annotations with an `iscrowd` or `ignore` that is text: \"0\" is taken as 0, \"1\" as 1 (6, 7, 8, 9, 10, ...)",
        "2 annotations with an `iscrowd` or `ignore` that is neither 0 nor 1",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let ignored = one(r#""id": 1, "image_id": 1, "category_id": 5, "ignore": "0""#);
    assert_eq!(built(CATS, &coco(&ignored)).unwrap().labels(0), [0]);
}

#[test]
fn names_of_categories() {
    let set = CATS.replace("'cat', 'dog'", "'7', '1.5', '18446744073709551617', 'true'");
    let image = r#"{"id": 1, "file_name": "1.jpg"}"#;
    let object = one(r#""id": 1, "image_id": 1, "category_id": 4"#);
    let categories = r#"{"id": 1, "name": 7}, {"id": 2, "name": 1.5}, {"id": 3, "name": 18446744073709551617}, {"id": 4, "name": true},
        {"id": 5, "name": null}, {"id": 6, "name": {"en": "cat"}}, {"id": 7}, {"name": "cat"}, "cat",
        {"id": 9, "name": ""}"#;
    let dataset = built(&set, &strange(image, &object, categories)).unwrap();
    assert_eq!(dataset.labels(0), [3]);
    let text = notes(&*dataset);
    for expected in [
        "warning: `a.json`: 4 categories with a `name` that is no text: taken as text (1: 7, 2: 1.5, 3: 18446744073709551617, 4: true)",
        "1 category with an empty `name` (9)",
        "5 categories left out: without an `id` or a `name` (5: `name` is null, 6: `name` is an object, 7: no `name`, number 8: no `id`, number 9: no `id`)",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let numbers = set.replace("'7', '1.5'", "7, 1.5");
    let dataset = built(&numbers, &strange(image, &object, categories)).unwrap();
    assert_eq!(dataset.meta().classes[..2], ["7", "1.5"]);
    let text = notes(&*dataset);
    let expected =
        "warning: `classes` has names that are no text, such as 7: taken as text\n --> a.py:1:";
    assert!(text.contains(expected), "{text}");
    let fails = |categories: &str, expected: &str| {
        let error = built(CATS, &strange(image, &object, categories)).unwrap_err();
        assert!(error.contains(expected), "{expected}\n{error}");
    };
    fails("", "`categories` is an empty list");
    fails(
        r#"{"id": 1, "name": null}"#,
        "none of the `categories` can be used, so that no annotation has a class",
    );
    fails(r#"{"id": 1, "name": null}"#, "(1: `name` is null)");
    let dict = r#"{"images": [], "categories": {"1": "cat"}}"#;
    let error = built(CATS, &Texts::of([("a.json", dict)])).unwrap_err();
    assert!(
        error.contains("`categories` is an object, a list was expected"),
        "{error}"
    );
}

#[test]
fn categories_of_one_name() {
    let image = r#"{"id": 1, "file_name": "1.jpg"}"#;
    let object = |category: u32| {
        one(&format!(
            r#""id": {category}, "image_id": 1, "category_id": {category}"#
        ))
    };
    let twins = r#"{"id": 0, "name": "digit", "supercategory": "none"}, {"id": 1, "name": "digit"}, {"id": 2, "name": "cat"}"#;
    let set = |classes: &str| CATS.replace("'cat', 'dog'", classes);
    let said = |objects: &str, help: &str| {
        let dataset = built(&set("'digit', 'cat'"), &strange(image, objects, twins)).unwrap();
        let text = notes(&*dataset);
        assert!(
            text.contains("warning: `a.json`: 2 categories are named `digit` (id 0 with")
                && text.contains("): each has a label of its own, as in MMDetection, but `classes` has the name once")
                && text.contains(help)
                && !text.contains("another order"),
            "{text}"
        );
    };
    said(
        &object(1),
        "help: remove category 0 from the file: no annotation has it",
    );
    said(
        &[object(0), object(1)].join(","),
        "help: give each a `name` of its own in the file",
    );
    // named as often: two classes, as in MMDetection
    let files = strange(image, &object(1), twins);
    let dataset = built(&set("'digit', 'digit', 'cat'"), &files).unwrap();
    assert_eq!(dataset.labels(0), [1]);
    let text = notes(&*dataset);
    assert!(text.contains("warning: `a.json`: 2 categories are named `digit` (id 0 without annotations, id 1 with 1 annotation): each is a class of its own"), "{text}");
    // not wanted
    let cat = built(&set("'cat',"), &strange(image, &object(2), twins)).unwrap();
    assert!(!notes(&*cat).contains("digit"));
    // one picture twice
    let two = r#"{"id": 1, "file_name": "1.jpg"}, {"id": 1.0, "file_name": "2.jpg"}"#;
    let dataset = built(&set("'cat',"), &strange(two, &object(2), twins)).unwrap();
    let text = notes(&*dataset);
    assert!(
        text.contains("the later entry counts (1: 1.jpg, then 2.jpg)"),
        "{text}"
    );
    // one entry twice, and two names of one id
    let same = r#"{"id": 0, "name": "dog"}, {"id": 0, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 2, "name": "cow"}"#;
    let dataset = built(&set("'dog', 'cat'"), &strange(image, &object(0), same)).unwrap();
    assert_eq!(dataset.labels(0), [0]);
    let text = notes(&*dataset);
    assert!(text.contains("2 categories with the `id` of an earlier category: annotations of that `id` are of the later one (0: `dog`, then `dog`; 2: `cat`, then `cow`)"), "{text}");
}

#[test]
fn labels_follow_the_file() {
    let one =
        coco(r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#);
    let dataset = built(&CATS.replace("'cat', 'dog'", "'dog', 'cat'"), &one).unwrap();
    assert_eq!(dataset.labels(0), [0]);
    let text = notes(&*dataset);
    assert!(
        text.contains("in another order than `classes`") && text.contains("classes=('cat', 'dog')"),
        "{text}"
    );
    let dataset = built(&CATS.replace("('cat', 'dog')", "'cat'"), &one).unwrap();
    let text = notes(&*dataset);
    assert!(
        text.contains("taken as one class") && text.contains("write ('cat',)"),
        "{text}"
    );
    let dataset = built(&CATS.replace("'cat', 'dog'", ""), &one).unwrap();
    assert_eq!(dataset.meta().classes, ["cat", "dog"]);
    assert!(notes(&*dataset).contains("the classes are the 2 categories of the annotation file"));
    let lvis = built(
        "dataset = dict(type='LVISV1Dataset', ann_file='a.json')",
        &one,
    )
    .unwrap();
    assert_eq!(lvis.meta().classes, ["cat", "dog"]);
}

#[test]
fn xml_files_that_cannot_be_read_lose_nothing_else() {
    let set =
        "dataset = dict(type='XMLDataset', ann_file='t.txt', metainfo=dict(classes=('cat',)))";
    let size = "<size><width>9</width><height>8</height></size>";
    let good = format!(
        "<a>{size}<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2.9</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></a>"
    );
    let bad =
        format!("<a>{size}<object><name>cat</name></object><object><name>dog</name></object></a>");
    let files = Texts::of([
        ("t.txt", "1\n2\n\n3\r\n4\n".to_owned()),
        ("Annotations/1.xml", good),
        ("Annotations/2.xml", bad),
        ("Annotations/3.xml", "<a><b></a>".into()),
    ]);
    let dataset = built(set, &files).unwrap();
    assert_eq!(dataset.len(), 2);
    let info = dataset.info(0);
    assert_eq!(
        (info.img_path.as_str(), info.instances[0].bbox),
        ("JPEGImages/1.jpg", [0.0, 1.0, 2.0, 3.0])
    );
    let text = notes(&*dataset);
    for expected in [
        "2 pictures left out: their annotations cannot be read (Annotations/3.xml: `</a>` closes nothing in line 1, Annotations/4.xml: there is no such file)",
        "1 object left out: without a `bndbox` of `xmin`, `ymin`, `xmax` and `ymax` (Annotations/2.xml line 1, object 1)",
        "1 annotation left out: of a category that the config does not want (Annotations/2.xml line 1, object 2)",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let error = built(
        &set.replace("ann_file", "on_broken='error', ann_file"),
        &files,
    )
    .unwrap_err();
    assert!(error.contains("2 pictures left out"), "{error}");
    let other = built(&set.replace("'cat'", "'lion'"), &files).unwrap_err();
    let test = set
        .replace("'cat'", "'lion'")
        .replace("ann_file", "test_mode=True, ann_file");
    assert!(
        notes(&*built(&test, &files).unwrap())
            .contains("warning: `t.txt`: 0 of 3 annotations kept")
    );
    assert!(
        other.contains(
            "0 of 3 annotations kept: the files have categories {cat, dog}, the config wants {lion}"
        ),
        "{other}"
    );
}

const VOC: &str =
    "dataset = dict(type='XMLDataset', ann_file='t.txt', metainfo=dict(classes=('cat',)))";

/// An XML file with these objects, one a line from the second on.
fn xml(objects: &[&str]) -> String {
    let size = "<size><width>90</width><height>80</height></size>";
    let objects: String = objects
        .iter()
        .map(|o| format!("\n<object>{o}</object>"))
        .collect();
    format!("<annotation>{size}{objects}</annotation>")
}

#[test]
fn xml_objects_say_what_is_wrong_with_them() {
    let sides = |sides: [&str; 4]| {
        let [a, b, c, d] = sides;
        format!("<xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>")
    };
    let good = format!("<bndbox>{}</bndbox>", sides(["1", "2", "3", "4"]));
    let cat = |rest: &str| format!("<name>cat</name>{rest}");
    let frame = |values| cat(&format!("<bndbox>{}</bndbox>", sides(values)));
    let flag = |difficult: &str| cat(&format!("<difficult>{difficult}</difficult>{good}"));
    let texts = [
        cat(&format!("<difficult/>{good}")),
        flag("1"),
        flag("True"),
        flag("Unspecified"),
        cat(&format!(
            "<robndbox>{}</robndbox>",
            sides(["1", "2", "3", "4"])
        )),
        cat(""),
        frame(["nan", "2", "3", "4"]),
        frame(["1", "58,5", "3", "4"]),
        frame(["1", "2", "", "4"]),
        frame(["1", "2", "1e300", "4"]),
        cat("<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax></bndbox>"),
        good.clone(),
        format!("<name> </name>{good}"),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let files = |objects: &[&str]| {
        Texts::of([
            ("t.txt", "1".to_owned()),
            ("Annotations/1.xml", xml(objects)),
        ])
    };
    let dataset = built(VOC, &files(&texts)).unwrap();
    let info = dataset.info(0);
    let ignored: Vec<bool> = info.instances.iter().map(|i| i.ignore).collect();
    assert_eq!(ignored, [false, true, true, false]);
    let found = notes(&*dataset);
    for expected in [
        "warning: `t.txt`: 2 objects with a `difficult` that says neither yes nor no: taken as 0 \
            (Annotations/1.xml line 2, object 1: it is empty; Annotations/1.xml line 5, object 4: it is `Unspecified`)",
        "2 objects left out: without a `bndbox` of `xmin`, `ymin`, `xmax` and `ymax` (Annotations/1.xml line 6, object 5: it has `robndbox`, which is not read; \
            Annotations/1.xml line 7, object 6)",
        "5 objects left out: their `bndbox` lacks a side or has one that is no number (",
        "line 8, object 7: `xmin` is `nan`",
        "line 9, object 8: `ymin` is `58,5`: write 58.5",
        "line 10, object 9: `xmax` is empty",
        "line 11, object 10: `xmax` is `1e300`",
        "line 12, object 11: `bndbox` has no `ymax`",
        "2 objects left out: without a `name` (Annotations/1.xml line 13, object 12; Annotations/1.xml line 14, object 13)",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    let error = built(VOC, &files(&texts[4..7])).unwrap_err();
    let expected = "error: `t.txt`: 0 of 3 annotations kept: 2 objects left out: without a `bndbox` of `xmin`, `ymin`, `xmax` and `ymax` (Annotations/1.xml line 2, object 1: \
        it has `robndbox`, which is not read; ...); 1 object left out: their `bndbox` lacks a side";
    assert!(error.contains(expected), "{error}");
    assert!(
        error.contains("warning: `t.txt`: 1 object left out: their `bndbox`"),
        "{error}"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let object =
        "<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>";
    let marked = |text: &str| format!("\u{FEFF}{text}").into_bytes();
    let utf16 = |text: &str| -> Vec<u8> {
        let units = format!("\u{FEFF}{text}");
        units.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    for list in [marked("1\n2"), utf16("1\r\n2\r\n"), marked("1\n\u{FEFF}2")] {
        for classes in [marked("cat\ndog"), utf16("cat\ndog")] {
            let files = Texts::of([
                ("t.txt", list.clone()),
                ("names.txt", classes),
                ("Annotations/1.xml", marked(&xml(&[object]))),
                ("Annotations/2.xml", utf16(&xml(&[object]))),
            ]);
            let set = VOC.replace("('cat',)", "'names.txt'");
            let dataset = built(&set, &files).unwrap();
            assert_eq!(dataset.meta().classes, ["cat", "dog"]);
            assert_eq!((dataset.len(), dataset.labels(1)), (2, vec![0]));
            assert_eq!(dataset.info(0).img_path, "JPEGImages/1.jpg");
        }
    }
    let mut files =
        coco(r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#);
    let json = String::from_utf8(files.0["a.json"].clone()).unwrap();
    files.0.insert("a.json".into(), marked(&json));
    assert_eq!(built(CATS, &files).unwrap().labels(0), [0]);

    let files = Texts::of([
        ("t.txt", b"1\n\xE9".to_vec()),
        ("names.txt", b"\xE9".to_vec()),
    ]);
    let error = built(VOC, &files).unwrap_err();
    assert!(
        error.contains("`t.txt`: byte 2 in line 2 is 0xE9, which is no UTF-8 there"),
        "{error}"
    );
    let error = built(&VOC.replace("('cat',)", "'names.txt'"), &files).unwrap_err();
    assert!(
        error.contains("'names.txt' cannot be read: byte 0 in line 1 is 0xE9"),
        "{error}"
    );
}

#[test]
fn xml_files_in_their_own_encoding() {
    let frame = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>";
    let file = |label: &str, name: &[u8]| {
        let text = xml(&[&format!("<name>NAME</name>{frame}")]);
        let (head, tail) = text.split_once("NAME").unwrap();
        let head = format!("<?xml version=\"1.0\" encoding=\"{label}\"?>{head}");
        [head.as_bytes(), name, tail.as_bytes()].concat()
    };
    let files = Texts::of([
        ("t.txt", b"1\n2\n3\n4".to_vec()),
        ("Annotations/1.xml", file("iso-8859-15", b"fa\xE7ade\xA4")),
        ("Annotations/2.xml", file("gbk", b"\xC6\xBB\xB9\xFB")),
        ("Annotations/3.xml", file("klingon", b"x")),
        ("Annotations/4.xml", file("utf-8", b"\xE7")),
    ]);
    let set = VOC.replace("'cat',", "'苹果', 'façade€'");
    let dataset = built(&set, &files).unwrap();
    assert_eq!((dataset.labels(0), dataset.labels(1)), (vec![1], vec![0]));
    let found = notes(&*dataset);
    for expected in [
        "warning: `t.txt`: 2 pictures left out: their annotations cannot be read (",
        "Annotations/3.xml: its encoding `klingon` is not known: save it as UTF-8",
        "Annotations/4.xml: byte 114 in line 2 is 0xE7, which is no UTF-8 there, though the file declares `utf-8`",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    let mut bad = files;
    bad.0.insert("t.txt".into(), b"3".to_vec());
    let error = built(&set, &bad).unwrap_err();
    assert!(
        error.contains("the data set is empty: none of the 1 pictures of `t.txt` can be used"),
        "{error}"
    );
    assert!(error.contains("`klingon`"), "{error}");
}

/// A grey picture.
fn pgm(width: usize, height: usize) -> Vec<u8> {
    let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
    bytes.resize(bytes.len() + width * height, 7);
    bytes
}

#[test]
fn the_own_size_of_a_picture_counts() {
    // the file says 40 x 30 of both
    let inside = r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#;
    let below = r#"{"id": 2, "image_id": 1, "category_id": 5, "bbox": [1, 31, 3, 4], "area": 9}"#;
    let right = r#"{"id": 3, "image_id": 1, "category_id": 5, "bbox": [31, 2, 3, 4], "area": 9}"#;
    let mut files = coco(&[inside, below, right].join(","));
    files.0.insert("i/1.jpg".into(), pgm(30, 40));
    files.0.insert("i/2.jpg".into(), pgm(40, 30));
    let dataset = built(CATS, &files).unwrap();
    let info = dataset.info(0);
    let boxes: Vec<_> = info.instances.iter().map(|i| i.bbox).collect();
    assert_eq!(boxes, [[1.0, 2.0, 4.0, 6.0], [1.0, 31.0, 4.0, 35.0]]);
    assert_eq!((info.width, info.height), (30, 40));
    assert_eq!((dataset.info(1).width, dataset.info(1).height), (40, 30));
    let found = notes(&*dataset);
    for expected in [
        "warning: `a.json`: 1 picture of another size than the annotations say: the picture's own counts (1.jpg: 40x30, its own 30x40)",
        "1 annotation left out: the box lies outside of the picture (3)",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    // a picture that is not as small as the file says
    let strict = CATS.replace("ann_file", "filter_cfg=dict(min_size=32), ann_file");
    files.0.insert("i/1.jpg".into(), pgm(40, 40));
    assert_eq!(built(&strict, &files).unwrap().len(), 1);
    // one that is seen only when it is loaded
    let mut files = coco(inside);
    let load = "pipeline=[dict(type='LoadImageFromFile')], ann_file";
    let dataset = built(&CATS.replace("ann_file", load), &files).unwrap();
    files.0.insert("i/1.jpg".into(), pgm(30, 40));
    files.0.insert("i/2.jpg".into(), pgm(40, 30));
    let pixels = Pixels::cpu();
    for index in [0, 1, 0] {
        let mut random = Counter::new(0);
        let mut cx = Context::new(&mut random, &pixels, &files);
        dataset.get(index, &mut cx).unwrap();
    }
    let found = shown(&dataset.noticed());
    let expected = "warning: `a.json`: 1 picture of another size than the annotations say: the picture's own counts (i/1.jpg: 40x30, its own 30x40)";
    assert!(found.starts_with(expected), "{found}");
    // one that cannot be read is as the file says
    files.0.remove("i/1.jpg");
    let found = notes(&*built(CATS, &files).unwrap());
    assert!(!found.contains("another size"), "{found}");

    let object =
        "<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>";
    let small = xml(&[object]).replace("90", "9");
    let files = Texts::of([
        ("t.txt", b"1\n2\n3".to_vec()),
        ("Annotations/1.xml", small.clone().into_bytes()),
        ("Annotations/2.xml", small.replace(">9<", "><").into_bytes()),
        (
            "Annotations/3.xml",
            small.replace(">9<", ">x<").into_bytes(),
        ),
        ("JPEGImages/1.jpg", pgm(90, 80)),
        ("JPEGImages/2.jpg", pgm(70, 60)),
    ]);
    let strict = VOC.replace("ann_file", "filter_cfg=dict(min_size=32), ann_file");
    let dataset = built(&strict, &files).unwrap();
    assert_eq!((dataset.len(), dataset.info(1).width), (2, 70));
    let found = notes(&*dataset);
    for expected in [
        "2 pictures of another size than the annotations say: the picture's own counts (2.jpg: `width` is empty, its own 70x60; 1.jpg: 9x80, its own 90x80)",
        "Annotations/3.xml: `width` is `x`, and JPEGImages/3.jpg: there is no such file",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn masks_that_are_not_taken_are_named() {
    let annotation = |id: usize, mask: &str| {
        format!(
            r#"{{"id": {id}, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9, "segmentation": {mask}}}"#
        )
    };
    let all = [
        "[[1, 2], [3, 4], [5, 6]]",
        "[[1, 2, 3, 4, 5, 6], [1, 2]]",
        "[[1, 2, 3, 4, 5, 6, 7]]",
        r#"{"counts": [6], "size": [2, 3]}"#,
        r#"{"counts": [1200], "size": [30, 40]}"#,
        r#"{"counts": [1201], "size": [30, 40]}"#,
        "[[1, 2, 3, 4]]",
    ];
    let all: Vec<String> = (1..).zip(all).map(|(id, m)| annotation(id, m)).collect();
    let files = coco(&all.join(","));
    let load =
        "pipeline=[dict(type='mmdet.LoadAnnotations', with_mask=True, poly2mask=False)], ann_file";
    let dataset = built(&CATS.replace("ann_file", load), &files).unwrap();
    let info = dataset.info(0);
    assert_eq!(info.instances.len(), 7, "no box is lost");
    let points = Segmentation::Polygons(vec![vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
    assert_eq!(info.instances[0].mask, points);
    assert_eq!(info.instances[3].mask, Segmentation::Polygons(Vec::new()));
    let found = notes(&*dataset);
    for expected in [
        "1 annotation with a `segmentation` of [x, y] points or of lists in lists, not a list of lists of numbers: taken as the polygons that it shows (1)",
        "1 annotation with a polygon that cannot be read: where masks are loaded, the others count (2: a polygon of fewer than 3 points)",
        "3 annotations with a `segmentation` that cannot be read: where masks are loaded, the object is ignored (3: a polygon of an odd number of values, \
            6: run lengths that do not fill their `size`, 7: a polygon of fewer than 3 points)",
        "1 annotation with run lengths of another size than the picture: where masks are loaded, the object is ignored (4: 3x2, the picture 40x30)",
        "1 annotation with run lengths where the pipeline wants polygons (`poly2mask=False`): the object is ignored, as in MMDetection (5)",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    // run lengths that fit into the picture though not into the size that the file says
    let mut files = coco(
        &annotation(1, r#"{"counts": [6], "size": [2, 3]}"#)
            .replace("[1, 2, 3, 4]", "[0, 0, 3, 2]"),
    );
    files.0.insert("i/1.jpg".into(), pgm(3, 2));
    let dataset = built(CATS, &files).unwrap();
    assert!(matches!(
        dataset.info(0).instances[0].mask,
        Segmentation::Rle { .. }
    ));
    assert!(notes(&*dataset).contains("1.jpg: 40x30, its own 3x2"));
}

/// Drops pictures whose index is odd, and fails for index 4.
#[derive(Debug)]
struct Odd;

impl Transform for Odd {
    fn name(&self) -> &'static str {
        "Odd"
    }

    fn run(&self, sample: Sample, _: &mut Context<'_>) -> Outcome {
        match sample.info.index {
            4 => Err(Fault::Empty),
            index => Ok((index % 2 == 0).then_some(sample)),
        }
    }
}

fn numbered(on_broken: Option<OnBroken>, test_mode: bool) -> BaseDetDataset {
    let images: Vec<String> = (0..6)
        .map(|i| format!("{{\"id\": {i}, \"file_name\": \"{i}.jpg\"}}"))
        .collect();
    let text = format!("{{\"images\": [{}], \"categories\": []}}", images.join(","));
    let file = coco_file::CocoFile::read(text.as_bytes(), coco_file::Keep::default()).unwrap();
    let mut table = table::Table {
        ids: file.ids,
        folder: "i".into(),
        ..Default::default()
    };
    for image in file.images {
        table.rows.push(table::Row {
            id: image.id.unwrap(),
            file_name: image.file_name.unwrap(),
            width: 0,
            height: 0,
            end: 0,
        });
    }
    BaseDetDataset::of(table, vec![Box::new(Odd)], on_broken, test_mode)
}

#[test]
fn a_dropped_picture_is_replaced_by_a_drawn_one() {
    let (pixels, files) = (Pixels::cpu(), Texts::default());
    let run = |dataset: &BaseDetDataset, index: usize| {
        let mut source = Counter::new(7);
        let mut random = Recorded {
            source: &mut source,
            draws: Vec::new(),
        };
        let mut cx = Context::new(&mut random, &pixels, &files);
        cx.saved = Some(Vec::new());
        let got = dataset
            .get(index, &mut cx)
            .map(|s| s.unwrap().info.index)
            .map_err(|e| e.to_string());
        let saved: Vec<String> = cx
            .saved
            .take()
            .unwrap()
            .into_iter()
            .map(|s| s.name)
            .collect();
        (got, saved, random.draws.len())
    };
    let plain = numbered(None, false);
    assert_eq!(run(&plain, 2), (Ok(2), Vec::new(), 0));
    assert_eq!(
        run(&plain, 4).0,
        Err("i/4.jpg (id 4): the file is empty: copy or download it again".into())
    );
    assert!(run(&plain, 9).0.unwrap_err().contains("no sample 9"));
    let skipping = numbered(Some(OnBroken::Skip), false);
    for index in 0..6 {
        let (got, saved, draws) = run(&skipping, index);
        assert!(matches!(got, Ok(0 | 2)), "{got:?}");
        assert_eq!(saved.len(), draws);
        assert!(
            saved.iter().all(|name| name == "CocoDataset.refetch"),
            "{saved:?}"
        );
    }
    let skipped = skipping.skipped();
    assert!(skipped.count >= 1 && skipped.first[0].path == "i/4.jpg");
    assert!(
        run(&numbered(None, true), 3)
            .0
            .unwrap_err()
            .contains("a test pipeline dropped the picture")
    );
}

/// The recipe of MMDetection's how-to page ("Use Mosaic augmentation"), in the form of 2.x.
const RECIPE: &str = "
data_root = 'd/'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
img_scale = (64, 48)
train_pipeline = [
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
    dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-img_scale[0] // 2, -img_scale[1] // 2)),
    dict(type='MixUp', img_scale=img_scale, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Resize', img_scale=img_scale),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]
train_dataset = dict(
    _delete_=True,
    type='MultiImageMixDataset',
    dataset=dict(type='CocoDataset', ann_file=data_root + 'a.json', img_prefix=data_root + 'i/', classes=('cat', 'dog'),
        pipeline=[dict(type='LoadImageFromFile', to_float32=True), dict(type='LoadAnnotations', with_bbox=True)], filter_empty_gt=False),
    pipeline=train_pipeline)
data = dict(samples_per_gpu=4, train=train_dataset)
model = dict(data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))
";

#[test]
fn the_recipe_of_the_how_to_page() {
    let mut files =
        coco(r#"{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9}"#);
    let bytes = files.0.remove("a.json").unwrap();
    files.0.insert("d/a.json".into(), bytes);
    let config = config(RECIPE);
    // 2.x leaves out small pictures by itself, and these are
    let error = shown(&from_config(&config, "train", &files).unwrap_err());
    assert!(error.contains("2 are smaller than `min_size`"), "{error}");
    let config =
        self::config(&RECIPE.replace("filter_empty_gt=False", "filter_empty_gt=False, min_size=8"));
    let dataset = from_config(&config, "train", &files).unwrap();
    let steps: Vec<&str> = dataset.pipeline().iter().map(|s| s.name()).collect();
    assert_eq!(
        steps,
        [
            "Mosaic",
            "RandomAffine",
            "MixUp",
            "PhotoMetricDistortion",
            "RandomFlip",
            "Resize",
            "PackDetInputs"
        ]
    );
    assert_eq!(
        (dataset.len(), dataset.info(0).img_path.as_str()),
        (2, "d/i/1.jpg")
    );
    assert_eq!(dataset.meta().classes, ["cat", "dog"]);
    let text = notes(&*dataset);
    for expected in [
        "note: `data.train` (MMDetection 2.x) is taken as `train_dataloader.dataset`",
        "`samples_per_gpu` (MMDetection 2.x) is taken as `train_dataloader.batch_size`",
        "`img_prefix` (MMDetection 2.x) is taken as `data_prefix=dict(img=...)`",
        "`classes` (MMDetection 2.x) is taken as `metainfo=dict(classes=...)`",
        "`filter_empty_gt` (MMDetection 2.x) is taken as `filter_cfg=dict(filter_empty_gt=...)`",
        "`_delete_` says how configs merge",
        "`flip_ratio` (MMDetection 2.x) is taken as `prob`",
        "`img_scale` (MMDetection 2.x) is taken as `scale`",
        "`Normalize` is left out: the model's data_preprocessor does it",
        "mean=[123.675, 116.28, 103.53]",
        "`Pad` after `Normalize` is left out",
        "`DefaultFormatBundle` is left out",
        "`Collect` (MMDetection 2.x) is taken as `PackDetInputs`",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let found = check(&config, None);
    assert!(
        found
            .iter()
            .all(|d| d.severity == smalti_config::Severity::Note),
        "{}",
        shown(&found)
    );
    let other = RECIPE.replace(
        "model = dict(data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675",
        "model = dict(data_preprocessor=dict(mean=[1.0",
    );
    let found = shown(&check(&self::config(&other), None));
    assert!(
        found.contains("`data_preprocessor` has another mean or std"),
        "{found}"
    );
}

#[test]
fn check_finds_what_is_wrong_without_files() {
    let text = "
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Mosaic', img_scale=(64, 64)), dict(type='RandomFlp', prob=0.5), dict(type='Albu'),
    dict(type='RandomApply', transforms=[dict(type='MixUp', img_scale=(64, 64))]), dict(type='Pad', size_divisr=32)]
train_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='none.json', pipeline=pipeline))
val_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', indices='x')))
test_dataloader = val_dataloader
";
    let found = check(&config(text), None);
    let all = shown(&found);
    for expected in [
        "error: `Mosaic` mixes several pictures, which `CocoDataset` does not give it\n --> a.py:4:15",
        "help: move it into a MultiImageMixDataset: dataset=dict(type='MultiImageMixDataset', dataset=dict(type='CocoDataset', ...",
        "did you mean type='mmdet.RandomFlip'?",
        "note: the transform `Albu` is not supported yet",
        "error: `MixUp` mixes several pictures, which `RandomApply` cannot give it",
        "size_divisr",
        "an integer or a list of integers",
    ] {
        assert!(all.contains(expected), "{expected}\n{all}");
    }
    assert_eq!(
        all.matches("an integer or a list of integers").count(),
        1,
        "val and test are one place"
    );
    assert!(!all.contains("none.json"), "{all}");
}

#[test]
fn pipelines_of_2x() {
    let mapped = |text: &str| -> Vec<String> {
        let config = config(&format!("p = [{text}]"));
        let (node, _) = legacy::pipeline(config.get("p").unwrap());
        node.as_items()
            .unwrap()
            .iter()
            .map(smalti_config::value_to_py)
            .collect()
    };
    let one = |text: &str, expected: &str| assert_eq!(mapped(text), [expected]);
    one(
        "dict(type='Resize', img_scale=(3, 2))",
        "dict(type='Resize', keep_ratio=True, scale=(3, 2))",
    );
    one(
        "dict(type='Resize', scale=(3, 2))",
        "dict(type='Resize', scale=(3, 2))",
    );
    one(
        "dict(type='Resize', img_scale=[(3, 2), (4, 2)], multiscale_mode='value', keep_ratio=False)",
        "dict(type='RandomChoiceResize', keep_ratio=False, scales=[(3, 2), (4, 2)], resize_type='Resize')",
    );
    one(
        "dict(type='Resize', img_scale=[(3, 2), (4, 2)])",
        "dict(type='RandomResize', keep_ratio=True, scale=[(3, 2), (4, 2)], resize_type='Resize')",
    );
    one(
        "dict(type='Resize', img_scale=(3, 2), ratio_range=(0.5, 2.0))",
        "dict(type='RandomResize', keep_ratio=True, scale=(3, 2), ratio_range=(0.5, 2.0), resize_type='Resize')",
    );
    one(
        "dict(type='RandomFlip', flip_ratio=None)",
        "dict(type='RandomFlip', prob=0.0)",
    );
    one(
        "dict(type='Collect', keys=['img'], meta_keys=('filename', 'ori_shape', 'img_norm_cfg'))",
        "dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape'))",
    );
    one(
        "dict(type='Pad', size_divisor=32)",
        "dict(type='Pad', size_divisor=32)",
    );
    one(
        "dict(type='AutoAugment', policies=[[dict(type='Resize', img_scale=(3, 2))]])",
        "dict(type='RandomChoice', transforms=[[dict(type='Resize', keep_ratio=True, scale=(3, 2))]])",
    );
    assert_eq!(
        mapped(
            "dict(type='MultiScaleFlipAug', img_scale=(3, 2), flip=False, transforms=[dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), \
                dict(type='Normalize'), dict(type='Collect', keys=['img'])])"
        ),
        [
            "dict(type='Resize', keep_ratio=True, scale=(3, 2))",
            "dict(type='PackDetInputs')"
        ]
    );
    assert!(
        mapped("dict(type='MultiScaleFlipAug', img_scale=(3, 2), flip=True, transforms=[])")[0]
            .contains("MultiScaleFlipAug")
    );
}

#[test]
fn data_sets_of_2x() {
    let mapped = |text: &str| -> String {
        let config = config(&format!("d = dict({text})"));
        let (node, _) = legacy::dataset(config.get("d").unwrap());
        smalti_config::value_to_py(&node)
    };
    assert_eq!(
        mapped("type='VOCDataset', ann_file=['a', 'b'], img_prefix=['x', 'y']"),
        "dict(type='ConcatDataset', datasets=[dict(type='VOCDataset', ann_file='a', img_prefix='x'), dict(type='VOCDataset', ann_file='b', img_prefix='y')])"
    );
    assert_eq!(
        mapped(
            "type='VOCDataset', ann_file='a', img_prefix='x', min_size=4, filter_empty_gt=False"
        ),
        "dict(type='VOCDataset', ann_file='a', data_prefix=dict(sub_data_root='x'), filter_cfg=dict(filter_empty_gt=False, bbox_min_size=4, min_size=32))"
    );
    assert_eq!(
        mapped("type='CocoDataset', ann_file='a'"),
        "dict(type='CocoDataset', ann_file='a')"
    );
    let config = config(
        "data = dict(val=dict(type='CocoDataset', ann_file='a'), test=[dict(type='CocoDataset')])",
    );
    let loader = |split| {
        legacy::dataloader(&config, split)
            .0
            .map(|n| smalti_config::value_to_py(&n))
    };
    assert_eq!(
        loader("val").unwrap(),
        "dict(dataset=dict(type='CocoDataset', ann_file='a', test_mode=True))"
    );
    assert!(loader("test").unwrap().contains("ConcatDataset"));
    assert_eq!(loader("train"), None);
}

#[test]
fn warnings_that_explain_an_error_come_with_it() {
    let ann = r#"{"images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}], "categories": [{"id": 1, "name": "zebu"}]}"#;
    let files = Texts::of([("a.json", ann)]);
    for (metainfo, warning) in [
        (
            "dict(CLASSES=('zebu',))",
            "`metainfo` has `CLASSES`, which nothing reads",
        ),
        (
            "dict(classes='data/classes.txt')",
            "the file of class names 'data/classes.txt' cannot be read",
        ),
        (
            "dict(classes='dog')",
            "`classes` is the text 'dog', not a tuple",
        ),
    ] {
        let leaf = format!("dict(type='CocoDataset', ann_file='a.json', metainfo={metainfo})");
        for text in [
            format!("dataset = {leaf}"),
            format!(
                "dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[{leaf}]))"
            ),
        ] {
            let error = built(&text, &files).unwrap_err();
            assert!(
                error.starts_with("error: `a.json`: 0 of 1 annotations kept"),
                "{error}"
            );
            assert_eq!(
                error.matches(&format!("warning: {warning}")).count(),
                1,
                "{error}"
            );
        }
        let loader = format!("train_dataloader = dict(dataset={leaf})");
        let found = check(&config(&loader), Some(&files));
        assert!(found.iter().all(|d| d.severity == Severity::Warning));
        assert!(shown(&found).contains(warning), "{}", shown(&found));
    }
    // the file is there: nothing to say
    let files = Texts::of([("a.json", ann), ("c.txt", "zebu\n")]);
    let text = "dict(type='CocoDataset', ann_file='a.json', metainfo=dict(classes='c.txt'))";
    assert!(built(&format!("dataset = {text}"), &files).is_ok());
    let found = check(
        &config(&format!("val_dataloader = dict(dataset={text})")),
        Some(&files),
    );
    assert_eq!(shown(&found), "");
}

#[test]
fn a_pipeline_loads_the_picture_before_it_is_needed() {
    let load = "dict(type='LoadImageFromFile')";
    let labels = "dict(type='LoadAnnotations', with_bbox=True)";
    let of = |steps: &str| {
        let text = format!(
            "train_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='a.json', pipeline=[{steps}]))"
        );
        shown(&check(&config(&text), None))
    };
    for (steps, message) in [
        (
            format!("{labels}, dict(type='PackDetInputs')"),
            "`LoadImageFromFile` is missing",
        ),
        (
            "dict(type='Resize', scale=(8, 8))".into(),
            "`LoadImageFromFile` is missing",
        ),
        (
            format!("{labels}, dict(type='RandomFlip', prob=0.5), {load}"),
            "`RandomFlip` comes before `LoadImageFromFile`",
        ),
        (
            format!("{load}, dict(type='PackDetInputs')"),
            "warning: no step of the training pipeline loads objects",
        ),
    ] {
        let found = of(&steps);
        assert!(
            found.contains(message) && found.contains("help: "),
            "{found}"
        );
    }
    for steps in [
        String::new(),
        format!("{load}, {labels}, dict(type='PackDetInputs')"),
        format!("{labels}, {load}, dict(type='PackDetInputs')"),
        format!("dict(type='Compose', transforms=[{load}, {labels}]), dict(type='PackDetInputs')"),
    ] {
        assert_eq!(of(&steps), "", "{steps}");
    }
    let mixed = |inner: &str, outer: &str| {
        let text = format!(
            "train_dataloader = dict(dataset=dict(type='MultiImageMixDataset', pipeline=[{outer}], dataset=dict(type='RepeatDataset', \
             times=2, dataset=dict(type='CocoDataset', ann_file='a.json', pipeline=[{inner}]))))"
        );
        shown(&check(&config(&text), None))
    };
    let flip = "dict(type='RandomFlip', prob=0.5)";
    assert_eq!(mixed(&format!("{load}, {labels}"), flip), "");
    assert_eq!(mixed("", &format!("{load}, {labels}, {flip}")), "");
    let found = mixed("", flip);
    assert!(found.contains("`LoadImageFromFile` is missing"), "{found}");
}

#[test]
fn ranges_from_which_nothing_can_be_drawn_are_found_without_files() {
    for (step, key) in [
        ("dict(type='CopyPaste', max_num_pasted=0)", "max_num_pasted"),
        ("dict(type='MixUp', ratio_range=(0.0, 1.5))", "ratio_range"),
        (
            "dict(type='Mosaic', center_ratio_range=(0.5, 2.5))",
            "center_ratio_range",
        ),
        ("dict(type='Mosaic', img_scale=(0, 64))", "img_scale"),
        (
            "dict(type='CachedMixUp', ratio_range=(-1.0, 1.5))",
            "ratio_range",
        ),
        ("dict(type='RandomShift', max_shift_px=0)", "max_shift_px"),
        ("dict(type='Expand', ratio_range=(0.5, 2.0))", "ratio_range"),
        (
            "dict(type='RandomErasing', n_patches=2, ratio=1.0)",
            "ratio",
        ),
        (
            "dict(type='RandomErasing', n_patches=(4, 2), ratio=0.5)",
            "n_patches",
        ),
        (
            "dict(type='CutOut', n_holes=(3, 1), cutout_shape=(8, 8))",
            "n_holes",
        ),
        (
            "dict(type='RandomResize', scale=(64, 64), ratio_range=(2.0, 0.5))",
            "ratio_range",
        ),
        (
            "dict(type='RandomResize', scale=(64, 64), ratio_range=(-1.0, 0.5))",
            "ratio_range",
        ),
        (
            "dict(type='RandomAffine', scaling_ratio_range=(1.5, 0.5))",
            "scaling_ratio_range",
        ),
        ("dict(type='RandomCrop', crop_size=(0, 8))", "crop_size"),
        (
            "dict(type='RandomCrop', crop_size=(9, 8), crop_type='absolute_range')",
            "crop_size",
        ),
        ("dict(type='Resize', scale=(0, 8))", "scale"),
        ("dict(type='Pad', size_divisor=0)", "size_divisor"),
        ("dict(type='RandomChoiceResize', scales=[])", "scales"),
        (
            "dict(type='RandomCenterCropPad', crop_size=(8, 8), ratios=(0.0,), mean=[0], std=[1], to_rgb=True, test_pad_mode=None)",
            "ratios",
        ),
    ] {
        let text = format!(
            "train_dataloader = dict(dataset=dict(type='MultiImageMixDataset', pipeline=[{step}], dataset=dict(type='CocoDataset', \
             ann_file='a.json', pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])))"
        );
        let found = check(&config(&text), None);
        assert_eq!(found.len(), 1, "{step}: {}", shown(&found));
        assert_eq!(found[0].severity, Severity::Error, "{step}");
        assert!(
            found[0].message.contains(&format!("`{key}`")),
            "{}",
            found[0]
        );
    }
}

#[test]
fn a_comma_too_many_is_pointed_at_where_it_is() {
    let set = "dict(type='CocoDataset', ann_file='a.json', pipeline=p)";
    let load = "dict(type='LoadImageFromFile')";
    for (text, what, column) in [
        (format!("p = []\ndataset = {set},"), "this data set", "2:66"),
        (
            format!("x = {load},\np = [x]\ndataset = {set}"),
            "this transform",
            "1:35",
        ),
        (
            format!("p = [{load}],\ndataset = {set}"),
            "this pipeline",
            "1:37",
        ),
        (
            format!(
                "a = 'b/',\np = []\ndataset = {}",
                set.replace("pipeline", "data_root=a, pipeline")
            ),
            "a string expected",
            "1:9",
        ),
        (
            format!(
                "m = dict(classes=('a',)),\np = []\ndataset = {}",
                set.replace("pipeline", "metainfo=m, pipeline")
            ),
            "`metainfo` is a dict",
            "1:25",
        ),
    ] {
        let error = built(&text, &Texts::default()).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(
            error.contains(&format!("a.py:{column}\n")) && error.contains("take the comma away"),
            "{error}"
        );
    }
    let loader = config("train_dataloader = dict(dataset=dict()),");
    let problems = shown(&from_config(&loader, "train", &Texts::default()).unwrap_err());
    assert!(
        problems.contains("`train_dataloader` is a tuple of one dict"),
        "{problems}"
    );
}

#[test]
fn pipelines_are_set_anew_without_reading_annotations_again() {
    let ann = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": "cat"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}]}"#;
    let text = |inner: &str, outer: &str| {
        format!(
            "dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='MultiImageMixDataset', pipeline=[{outer}], \
             dataset=dict(type='ConcatDataset', datasets=[dict(type='CocoDataset', ann_file='a.json', metainfo=dict(classes=('cat',)), pipeline=[{inner}])])))"
        )
    };
    let load = "dict(type='LoadImageFromFile')";
    let mosaic = "dict(type='Mosaic', img_scale=(8, 8))";
    let mut dataset = built(&text(load, mosaic), &Texts::of([("a.json", ann)])).unwrap();
    fn names(dataset: &dyn Dataset) -> Vec<&'static str> {
        let own = dataset.pipeline().iter().map(|s| s.name());
        let inner = dataset.children().into_iter().flat_map(names);
        own.chain(inner).collect()
    }
    let mut set = |inner: &str, outer: &str| {
        let config = config(&text(inner, outer));
        let node = config.get("dataset").unwrap();
        let found = set_pipelines(&mut *dataset, node, Lookup::own());
        (found.map_err(|e| shown(&e)), names(&*dataset))
    };
    let flip = "dict(type='RandomFlip', prob=0.5)";
    let (done, steps) = set(
        &format!("{load}, dict(type='LoadAnnotations', with_bbox=True)"),
        flip,
    );
    let expected = vec!["RandomFlip", "LoadImageFromFile", "LoadAnnotations"];
    assert_eq!((done, steps), (Ok(()), expected));
    let wrong = set(&format!("{load}, {mosaic}"), flip).0.unwrap_err();
    assert!(wrong.contains("`Mosaic` mixes several pictures"), "{wrong}");
}
