//! Files of results in COCO's form, as MMDetection's `results2json` writes them and pycocotools' `loadRes` reads them: a list of
//! `{"image_id", "bbox": [x, y, w, h], "score", "category_id"}`, with `"segmentation"` (run lengths) where there are masks.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::Read;

use super::truth::Truth;
use super::{Detection, Seen};
use crate::coco::Id;
use crate::datasets::coco_file::{corners, id as read_id, number};
use crate::datasets::coco_masks::{Scratch, segmentation};
use crate::datasets::json::{Json, Next};
use crate::datasets::segments::{NONE, Segments};
use crate::sample::Segmentation;
use crate::structures::masks::Runs;

/// Detections by picture, as indices into [`Truth::images`]; their labels are indices into [`Truth::categories`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// One entry a picture of the annotation file.
    pub pictures: Vec<Vec<Detection>>,
    /// All have masks, and there are some.
    pub masks: bool,
    /// How many have a category that the annotation file does not have; they are left out.
    pub other_categories: usize,
}

/// Reads a file of results for `truth`; `name` is for messages.
///
/// # Errors
/// It is none, or has a row without a key or of a picture that the annotations do not have.
pub fn read(name: &str, input: impl Read, truth: &Truth) -> Result<Results, String> {
    let failed = |e: &dyn std::fmt::Display| format!("`{name}`: {e}");
    let mut json = Json::new(input).map_err(|e| failed(&e))?;
    match json.next() {
        Ok(Next::Array) => {}
        Ok(other) => {
            return Err(failed(&format!(
                "no file of results: it is {other}, a list of detections was expected"
            )));
        }
        Err(e) => return Err(failed(&e)),
    }
    let mut categories = HashMap::new();
    for (i, category) in truth.categories().iter().enumerate() {
        categories.entry(&category.id).or_insert(i);
    }
    let mut out = Results {
        pictures: vec![Vec::new(); truth.images().len()],
        masks: true,
        other_categories: 0,
    };
    let mut place = 0;
    let mut scratch = Scratch::default();
    json.enter_array().map_err(|e| failed(&e))?;
    while json.item().map_err(|e| failed(&e))? {
        place += 1;
        let row = row(&mut json, &mut scratch).map_err(|e| failed(&e))?;
        let lacks = |key: &str| {
            failed(&format!(
                "detection {place} has no `{key}` that can be used"
            ))
        };
        let image = row.image.ok_or_else(|| lacks("image_id"))?;
        let image = truth.image(&image).ok_or_else(|| {
            failed(&format!(
                "detection {place} is of the picture {}, which the annotation file does not have",
                image.json()
            ))
        })?;
        let score = row.score.ok_or_else(|| lacks("score"))?;
        let category = row.category.ok_or_else(|| lacks("category_id"))?;
        let mask = row
            .mask
            .map_err(|e| failed(&format!("detection {place}: {e}")))?;
        out.masks &= mask.is_some();
        let around = |runs: &Runs| {
            let [x1, y1, x2, y2] = runs.bounds().unwrap_or_default().map(|v| v as f64);
            [x1, y1, x2 - x1, y2 - y1]
        };
        let bbox = row.bbox.or(mask.as_deref().map(around));
        let Some(label) = categories.get(&category) else {
            out.other_categories += 1;
            continue;
        };
        out.pictures[image].push(Detection {
            label: *label,
            bbox: bbox.ok_or_else(|| lacks("bbox"))?,
            score,
            mask,
        });
    }
    json.finish().map_err(|e| failed(&e))?;
    out.masks &= out.pictures.iter().any(|found| !found.is_empty());
    Ok(out)
}

/// A detection as it is in the file.
struct Row {
    image: Option<Id>,
    category: Option<Id>,
    bbox: Option<[f64; 4]>,
    score: Option<f64>,
    mask: Result<Option<Box<Runs>>, String>,
}

fn row<R: Read>(json: &mut Json<R>, scratch: &mut Scratch) -> crate::datasets::json::Result<Row> {
    let mut row = Row {
        image: None,
        category: None,
        bbox: None,
        score: None,
        mask: Ok(None),
    };
    if json.next()? != Next::Object {
        json.skip()?;
        return Ok(row);
    }
    const KEYS: [&str; 5] = ["image_id", "category_id", "bbox", "score", "segmentation"];
    json.enter_object()?;
    while let Some(key) = json.key(&KEYS)? {
        let mut as_text = false;
        match key {
            0 => row.image = read_id(json)?,
            1 => row.category = read_id(json)?,
            2 => row.bbox = corners(json, scratch, &mut as_text)?,
            3 => row.score = number(json, &mut String::new(), &mut as_text)?,
            4 => {
                let mut segments = Segments::default();
                let (at, _) = segmentation(json, &mut segments, scratch)?;
                row.mask = mask(&segments, at);
            }
            _ => json.skip()?,
        }
    }
    Ok(row)
}

/// Polygons of detections are not read: pycocotools knows them only as the outlines of boxes that it makes itself.
fn mask(segments: &Segments, at: u64) -> Result<Option<Box<Runs>>, String> {
    if at == NONE {
        return Ok(None);
    }
    match segments.get(at) {
        Segmentation::Rle {
            counts,
            width,
            height,
        } => Ok(Some(Box::new(Runs::of_counts(&counts, [width, height])?))),
        _ => Ok(None),
    }
}

/// Pictures with their detections.
type Pictures<'a> =
    std::iter::Zip<std::slice::Iter<'a, Seen>, std::slice::Iter<'a, Vec<Detection>>>;

/// `PREFIX.bbox.json`.
pub(super) fn boxes<'a>(pictures: Pictures<'a>, id: impl Fn(usize) -> &'a Id) -> Vec<u8> {
    list(pictures, |picture, detection, out| {
        row_of(picture, detection, id(detection.label), out);
    })
}

/// `PREFIX.segm.json`.
pub(super) fn masks<'a>(pictures: Pictures<'a>, id: impl Fn(usize) -> &'a Id) -> Vec<u8> {
    list(pictures, |picture, detection, out| {
        row_of(picture, detection, id(detection.label), out);
        if let Some(runs) = &detection.mask {
            out.pop();
            let [width, height] = runs.size();
            let counts = serde_json::Value::from(runs.text());
            let _ = write!(
                out,
                ", \"segmentation\": {{\"size\": [{height}, {width}], \"counts\": {counts}}}}}"
            );
        }
    })
}

fn list(pictures: Pictures<'_>, row: impl Fn(&Seen, &Detection, &mut String)) -> Vec<u8> {
    let mut out = String::from("[");
    for (picture, found) in pictures {
        for detection in found {
            if out.len() > 1 {
                out += ", ";
            }
            row(picture, detection, &mut out);
        }
    }
    (out + "]").into_bytes()
}

fn row_of(picture: &Seen, detection: &Detection, category: &Id, out: &mut String) {
    let image = picture.id.as_ref().map_or("null".into(), Id::json);
    let category = category.json();
    let [x, y, w, h] = detection.bbox.map(float);
    let score = float(detection.score);
    // a text takes whatever is written to it
    let _ = write!(
        out,
        "{{\"image_id\": {image}, \"bbox\": [{x}, {y}, {w}, {h}], \"score\": {score}, \"category_id\": {category}}}"
    );
}

/// As Python's `json` writes it.
fn float(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        v => format!("{v:?}"),
    }
}

/// `PREFIX.gt.json`: the samples' annotations in COCO's form.
pub(super) fn truth(truth: &Truth, pictures: &[Seen]) -> Vec<u8> {
    let mut out = String::from(
        "{\"info\": {\"description\": \"annotations of a data set's samples\"}, \"images\": [",
    );
    for (i, picture) in pictures.iter().enumerate() {
        let id = picture.id.as_ref().map_or("null".into(), Id::json);
        let [width, height] = picture.size;
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"id\": {id}, \"width\": {width}, \"height\": {height}, \"file_name\": \"\"}}"
        );
    }
    out += "], \"categories\": [";
    for (i, category) in truth.categories().iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let name = serde_json::Value::from(category.name.as_str());
        let _ = write!(out, "{comma}{{\"id\": {i}, \"name\": {name}}}");
    }
    out += "], \"licenses\": null, \"annotations\": [";
    let mut count = 0;
    for (image, picture) in pictures.iter().enumerate() {
        let id = picture.id.as_ref().map_or("null".into(), Id::json);
        for object in truth.objects(image) {
            count += 1;
            let comma = if count > 1 { ", " } else { "" };
            let [x, y, w, h] = object.bbox.unwrap_or_default().map(float);
            let (crowd, category, area) =
                (u8::from(object.crowd), object.category, float(object.area));
            let _ = write!(
                out,
                "{comma}{{\"id\": {count}, \"image_id\": {id}, \"bbox\": [{x}, {y}, {w}, {h}], \"iscrowd\": {crowd}, \"category_id\": {category}, \"area\": {area}"
            );
            if let Ok(runs) = truth.runs(image, object) {
                let [width, height] = runs.size();
                let counts = serde_json::Value::from(runs.text());
                let _ = write!(
                    out,
                    ", \"segmentation\": {{\"size\": [{height}, {width}], \"counts\": {counts}}}"
                );
            }
            out.push('}');
        }
    }
    (out + "]}").into_bytes()
}
