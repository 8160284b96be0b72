//! Data sets against MMDetection's own, and what is said of broken files and configs.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::config::MapLoader;
use crate::data::coco::ImageId;
use crate::data::pixels::Pixels;
use crate::data::random::{Counter, Recorded};
use crate::data::sample::Segmentation;
use crate::data::transforms::Outcome;
use crate::structures::masks::RleCounts;

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
        "2 annotations with a `segmentation` that cannot be read: where masks are loaded, the object is ignored (13, 14)",
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
        "did you mean `CocoDataset`?",
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
        "1 object left out: without a `name` or a `bndbox` of four numbers (Annotations/2.xml, number 1)",
        "1 annotation left out: of a category that the config does not want (Annotations/2.xml, number 2)",
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

/// Drops pictures whose index is odd, and fails for index 4.
#[derive(Debug)]
struct Odd;

impl Transform for Odd {
    fn name(&self) -> &'static str {
        "Odd"
    }

    fn run(&self, sample: Sample, _: &mut Context<'_>) -> Outcome {
        match sample.info.index {
            4 => Err(Problem::Empty),
            index => Ok((index % 2 == 0).then_some(sample)),
        }
    }
}

fn numbered(on_broken: Option<OnBroken>, test_mode: bool) -> BaseDetDataset {
    let images: Vec<String> = (0..6)
        .map(|i| format!("{{\"id\": {i}, \"file_name\": \"{i}.jpg\"}}"))
        .collect();
    let text = format!("{{\"images\": [{}], \"categories\": []}}", images.join(","));
    let file = coco_file::CocoFile::read(text.as_bytes(), false).unwrap();
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
    let found = check(&config);
    assert!(
        found
            .iter()
            .all(|d| d.severity == crate::config::Severity::Note),
        "{}",
        shown(&found)
    );
    let other = RECIPE.replace(
        "model = dict(data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675",
        "model = dict(data_preprocessor=dict(mean=[1.0",
    );
    let found = shown(&check(&self::config(&other)));
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
    let found = check(&config(text));
    let all = shown(&found);
    for expected in [
        "error: `Mosaic` mixes several pictures, which `CocoDataset` does not give it\n --> a.py:4:15",
        "help: move it into a MultiImageMixDataset: dataset=dict(type='MultiImageMixDataset', dataset=dict(type='CocoDataset', ...",
        "did you mean `RandomFlip`?",
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
            .map(crate::config::value_to_py)
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
        crate::config::value_to_py(&node)
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
            .map(|n| crate::config::value_to_py(&n))
    };
    assert_eq!(
        loader("val").unwrap(),
        "dict(dataset=dict(type='CocoDataset', ann_file='a', test_mode=True))"
    );
    assert!(loader("test").unwrap().contains("ConcatDataset"));
    assert_eq!(loader("train"), None);
}
