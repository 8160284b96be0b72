//! Rows of real outputs of MMDetection's transforms: a pipeline ran on the pictures of [`crate::scenes`], and every call on its random
//! generator was recorded. Ours replays the recording, which checks that the same functions are called with the same arguments in the
//! same order, and must give the same picture and objects.
//!
//! Tolerances are those of the constants below. An expected array of int64 or float64 is compared with our u8 or f32: numpy widens
//! some results by accident (CopyPaste).

use serde::Deserialize;
use serde_json::Value as Json;
use smalti::config::{Entry, Node};
use smalti::data::datasets::{Dataset, MultiImageMixDataset};
use smalti::data::image::Samples;
use smalti::data::pixels::{Direction, Pixels};
use smalti::data::random::{Draw, Replay};
use smalti::data::sample::Sample;
use smalti::data::transforms::{Context, Files, Transform, build_all};

use crate::formula::tagged;
use crate::scenes::Scenes;

/// What is expected of one pipeline, one picture and one recording.
#[derive(Deserialize)]
pub struct Row {
    pipeline: Json,
    index: usize,
    sizes: Vec<[usize; 2]>,
    to_float32: bool,
    masks: bool,
    seed: u64,
    multi: bool,
    cached: Option<Vec<usize>>,
    draws: Vec<Draw>,
    out: Option<Expected>,
}

/// The sample that came out, or what was raised.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Raised { error: String },
    Made(Box<Made>),
}

#[derive(Deserialize)]
struct Made {
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    idx: Vec<usize>,
    val: Vec<f64>,
    bboxes: Vec<[f64; 4]>,
    labels: Vec<i64>,
    ignore: Vec<bool>,
    mask_area: Option<Vec<f64>>,
    mask_box: Option<Vec<[f64; 4]>>,
    /// Height, width, sometimes channels.
    img_shape: Option<Vec<usize>>,
    scale_factor: Option<Json>,
    flip: Option<bool>,
    flip_direction: Option<Direction>,
    homography_matrix: Option<[[f64; 3]; 3]>,
}

/// Levels of 255 by which a sample may differ, u8 or f32: OpenCV's and our roundings of one half.
const LEVEL: f64 = 1.0;
/// Share of the stored samples that must be within [`LEVEL`].
const SHARE: f64 = 0.999;
/// The same where a step resizes with the cubic kernel: OpenCV's build for x86 leaves that to Intel's IPP, of which ours is 1 level off
/// in 4% of the samples, and later colour steps may make more of a level.
const CUBIC: f64 = 0.98;
/// Levels by which mean and deviation of the whole picture may differ: the stored samples might miss a region.
const WHOLE: f64 = 0.1;
/// px.
const BOX: f64 = 1e-3;
/// Of a mask's area, but at least [`MASK_PIXELS`].
const MASK_AREA: f64 = 0.01;
/// Pixels by which a small mask's area may differ.
const MASK_PIXELS: f64 = 2.0;
/// px.
const MASK_BOX: f64 = 1.0;
/// Of a number in a matrix or a scale factor, which MMDetection has in float32: relative, and absolute below 1.
const MATRIX: f64 = 1e-4;

/// MMDetection leaves masks as they were, or out, in these; ours keeps them in step with the boxes, so there is nothing to compare with.
const MASKLESS: [&str; 5] = [
    "Mosaic",
    "MixUp",
    "RandomAffine",
    "RandomCenterCropPad",
    "RandomShift",
];

impl Row {
    /// Types, index and seed: `Mosaic+RandomAffine index 0 seed 110`.
    pub fn name(&self) -> String {
        let types = self.types();
        format!(
            "{} index {} seed {}",
            types.join("+"),
            self.index,
            self.seed
        )
    }

    fn types(&self) -> Vec<String> {
        let steps = self.steps();
        if steps.is_empty() {
            return vec!["?".into()];
        }
        steps.iter().map(type_of).collect()
    }

    fn steps(&self) -> Vec<Node> {
        let node = tagged(&self.pipeline, "the row");
        node.ok()
            .and_then(|n| n.as_items().map(<[Node]>::to_vec))
            .unwrap_or_default()
    }

    /// Whether a step resizes u8 with the cubic kernel.
    fn is_cubic(&self) -> bool {
        fn cubic(node: &Node) -> bool {
            let own = node.get("interpolation").and_then(Node::as_str) == Some("bicubic");
            let items = node.as_items().is_some_and(|items| items.iter().any(cubic));
            let inside = |(_, entry): (_, &Entry)| cubic(&entry.node);
            own || items || node.as_dict().is_some_and(|d| d.iter().any(inside))
        }
        self.steps().iter().any(cubic)
    }

    /// Whether MMDetection's masks may be on another canvas than its picture in the end, or not those of its boxes.
    fn loses_masks(&self) -> bool {
        self.steps().iter().any(loses_masks)
    }
}

/// Whether a step, or one inside it, makes boxes of masks or chooses objects by them.
fn uses_masks(node: &Node) -> bool {
    if let Some(items) = node.as_items() {
        return items.iter().any(uses_masks);
    }
    let set = |key| node.get(key).and_then(Node::as_bool) == Some(true);
    let inside = |(_, entry): (_, &Entry)| uses_masks(&entry.node);
    set("recompute_bbox") || set("by_mask") || node.as_dict().is_some_and(|d| d.iter().any(inside))
}

/// Of a step, or of any inside it.
fn loses_masks(node: &Node) -> bool {
    if let Some(items) = node.as_items() {
        return items.iter().any(loses_masks);
    }
    let Some(dict) = node.as_dict() else {
        return false;
    };
    let kind = type_of(node);
    let oblong = |scale: &[Node]| scale.len() == 2 && scale[0] != scale[1];
    let loses = match &*kind {
        // takes width for height on the masks' canvas
        "CachedMosaic" => dict
            .get("img_scale")
            .and_then(Node::as_items)
            .is_some_and(oblong),
        // rounds the picture's size down, the masks' to the nearest
        "FixScaleResize" => true,
        kind => MASKLESS.contains(&kind),
    };
    let fixed = dict.get("resize_type").and_then(Node::as_str) == Some("FixScaleResize");
    loses || fixed || dict.iter().any(|(_, entry)| loses_masks(&entry.node))
}

/// The `type`, without its scope.
fn type_of(step: &Node) -> String {
    let kind = step.get("type").and_then(Node::as_type).unwrap_or_default();
    kind.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Runs the row's pipeline and compares what comes out: a line of figures, or what differs.
///
/// # Errors
/// What differs.
pub fn check(row: &Row, pixels: &Pixels) -> Result<String, String> {
    if row.index >= row.sizes.len() {
        return Err("the row has no such picture".into());
    }
    let scenes = Scenes::new(&row.sizes, row.to_float32, row.masks);
    let mut replay = Replay::new(row.draws.iter().cloned());
    let found = run(row, scenes, &mut replay, pixels);
    let expected = match (&row.out, found) {
        // ours may go on and ask for draws that were never made
        (Some(Expected::Raised { error }), _) if is_defect(error) => {
            return Ok(format!(
                "MMDetection fails by a defect of its own, `{error}`"
            ));
        }
        (Some(Expected::Raised { error }), Err(ours)) => {
            return Ok(format!("both refuse: MMDetection `{error}`, ours `{ours}`"));
        }
        (Some(Expected::Raised { error }), Ok(_)) => {
            return Err(format!("MMDetection raises `{error}`, ours does not"));
        }
        (_, Err(ours)) => return Err(ours),
        (None, Ok(Some(_))) => return Err("MMDetection drops the sample, ours does not".into()),
        (Some(Expected::Made(_)), Ok(None)) => {
            return Err("ours drops the sample, MMDetection does not".into());
        }
        (None, Ok(None)) => None,
        (Some(Expected::Made(expected)), Ok(Some(sample))) => Some((expected, sample)),
    };
    if let Some(next) = replay.left().front() {
        let (done, left) = (replay.answered(), replay.left().len());
        return Err(format!(
            "{left} calls of the recording are left after {done}: {next} is next"
        ));
    }
    let calls = replay.answered();
    match expected {
        None => Ok(format!("{calls} calls, dropped")),
        Some((expected, sample)) => {
            let figures = compare(row, expected, &sample, pixels)?;
            Ok(format!("{calls} calls, {figures}"))
        }
    }
}

/// What MMDetection 3.3 raises where its own code is at fault, not the config: ours goes on.
fn is_defect(error: &str) -> bool {
    let known = [
        // OpenCV's resize is given int64, which CachedMixUp makes with a tuple as `pad_val`, and CopyPaste always
        "func != 0 in function 'resize'",
        // CopyPaste with `paste_by_box=True, selected=False` looks for masks nevertheless
        "KeyError: 'gt_masks'",
        // YOLOXHSVRandomAug writes into a mirrored view
        "Layout of the output array dst is incompatible",
        // masks of another number than boxes, or of another size than the canvas that FixScaleResize notes
        "IndexError: boolean index did not match indexed array",
        "ValueError: cannot reshape array of size",
        // RandomErasing of no patch
        "IndexError: too many indices for array: array is 1-dimensional",
        // not written there: ours moves masks too
        "RandomAffine only supports bbox",
    ];
    known.iter().any(|k| error.contains(k))
}

/// No row reads a file.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("rows have no files".into())
    }
}

fn run(
    row: &Row,
    scenes: Scenes,
    replay: &mut Replay,
    pixels: &Pixels,
) -> Result<Option<Sample>, String> {
    let node = tagged(&row.pipeline, "the row's pipeline")?;
    let steps = build_all(Some(&node)).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        lines.join("\n")
    })?;
    let mut cx = Context::new(replay, pixels, &NoFiles);
    if row.multi {
        return mixed(scenes, steps)
            .get(row.index, &mut cx)
            .map_err(|e| e.to_string());
    }
    let one = [row.index];
    let mut last = None;
    for (position, k) in (0..).zip(row.cached.as_deref().unwrap_or(&one)) {
        if *k >= scenes.len() {
            return Err("the row has no such picture".into());
        }
        cx.position = position;
        last = cx
            .run_all(&steps, scenes.sample(*k))
            .map_err(|e| e.to_string())?;
    }
    Ok(last)
}

/// `MultiImageMixDataset` with its defaults.
fn mixed(scenes: Scenes, steps: Vec<Box<dyn Transform>>) -> MultiImageMixDataset {
    MultiImageMixDataset::new(Box::new(scenes), steps, Vec::new(), None, 15)
}

fn compare(row: &Row, expected: &Made, sample: &Sample, pixels: &Pixels) -> Result<String, String> {
    let samples = pixels
        .read_blocking(&sample.image)
        .map_err(|e| e.to_string())?;
    let image = &sample.image;
    let shape = [image.height(), image.width(), image.channels()];
    if expected.shape != shape[..expected.shape.len().min(3)] {
        return Err(format!("shape {shape:?}, expected {:?}", expected.shape));
    }
    let (values, kind): (Vec<f64>, _) = match &*samples {
        Samples::U8(v) => (v.iter().map(|v| f64::from(*v)).collect(), "u8"),
        Samples::F32(v) => (v.iter().map(|v| f64::from(*v)).collect(), "f32"),
    };
    let mut line = vec![format!("{}x{} {kind}", shape[1], shape[0])];
    line.push(compare_pixels(expected, &values, shape, row.is_cubic())?);
    let masks_matter = row.masks && row.steps().iter().any(uses_masks);
    match compare_objects(expected, sample) {
        Err(_) if masks_matter && row.loses_masks() => {
            check_own_masks(sample)?;
            line.push("objects by masks, which MMDetection has out of step".into());
            compare_meta(expected, sample)?;
            return Ok(line.join(", "));
        }
        compared => compared?,
    }
    line.push(format!("{} boxes", expected.bboxes.len()));
    match (&expected.mask_area, &expected.mask_box) {
        (Some(areas), Some(boxes)) => line.push(match compare_masks(areas, boxes, sample) {
            Err(_) if row.loses_masks() => {
                check_own_masks(sample)?;
                "masks in step, MMDetection's are not".into()
            }
            compared => compared?,
        }),
        _ if sample.masks().is_some() => return Err("ours has masks, expected none".into()),
        _ => {}
    }
    compare_meta(expected, sample)?;
    Ok(line.join(", "))
}

fn compare_pixels(
    expected: &Made,
    values: &[f64],
    shape: [usize; 3],
    cubic: bool,
) -> Result<String, String> {
    let mut worst: (f64, usize) = (0.0, 0);
    let mut far = 0;
    for (at, wanted) in expected.idx.iter().zip(&expected.val) {
        let Some(found) = values.get(*at) else {
            return Err(format!("no sample {at}"));
        };
        let difference = (found - wanted).abs();
        if difference.is_nan() || difference > LEVEL {
            far += 1;
        }
        if difference.is_nan() || difference > worst.0 {
            worst = (difference, *at);
        }
    }
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let whole = (mean - expected.mean)
        .abs()
        .max((deviation - expected.std).abs());
    let share = far as f64 / expected.idx.len().max(1) as f64;
    let pixel = worst.1 / shape[2].max(1);
    let line = format!(
        "worst {:.3} levels at x {} y {}, mean and deviation within {whole:.3}",
        worst.0,
        pixel % shape[1].max(1),
        pixel / shape[1].max(1)
    );
    let wanted = if cubic { CUBIC } else { SHARE };
    if 1.0 - share < wanted {
        let total = expected.idx.len();
        return Err(format!(
            "{far} of {total} samples are further than {LEVEL} level, {line}"
        ));
    }
    if whole.is_nan() || whole > WHOLE {
        return Err(format!("{line}, more than {WHOLE}"));
    }
    Ok(line)
}

fn compare_objects(expected: &Made, sample: &Sample) -> Result<(), String> {
    let gt = &sample.gt;
    let same = |(a, b): (&[f32; 4], &[f64; 4])| {
        a.iter()
            .zip(b)
            .all(|(a, b)| (f64::from(*a) - b).abs() <= BOX)
    };
    let boxes = &expected.bboxes;
    if gt.boxes.len() != boxes.len() || !gt.boxes.iter().zip(boxes).all(same) {
        return Err(format!("boxes {:?}, expected {boxes:?}", gt.boxes));
    }
    if gt.labels != expected.labels {
        return Err(format!(
            "labels {:?}, expected {:?}",
            gt.labels, expected.labels
        ));
    }
    if gt.ignore != expected.ignore {
        return Err(format!(
            "ignore {:?}, expected {:?}",
            gt.ignore, expected.ignore
        ));
    }
    Ok(())
}

/// Area and box (x2 and y2 exclusive) of each mask of ours.
fn masks_of(sample: &Sample) -> Vec<(f64, [f64; 4])> {
    let Some(masks) = sample.masks() else {
        return Vec::new();
    };
    let measure = |bitmap: &[u8]| {
        let (mut area, mut bbox) = (0, [usize::MAX, usize::MAX, 0, 0]);
        for (i, _) in bitmap.iter().enumerate().filter(|(_, v)| **v != 0) {
            let (x, y) = (i % masks.width, i / masks.width);
            area += 1;
            bbox = [
                bbox[0].min(x),
                bbox[1].min(y),
                bbox[2].max(x + 1),
                bbox[3].max(y + 1),
            ];
        }
        if area == 0 {
            bbox = [0; 4];
        }
        (f64::from(area), bbox.map(|v| v as f64))
    };
    masks.to_bitmaps().iter().map(|b| measure(b)).collect()
}

fn compare_masks(areas: &[f64], boxes: &[[f64; 4]], sample: &Sample) -> Result<String, String> {
    let Some(masks) = sample.masks() else {
        return Err("ours has no masks".into());
    };
    let canvas = [masks.width, masks.height];
    if canvas != sample.image.size() {
        return Err(format!(
            "masks of {canvas:?} px on a picture of {:?}",
            sample.image.size()
        ));
    }
    let found = masks_of(sample);
    if found.len() != areas.len() {
        return Err(format!("{} masks, expected {}", found.len(), areas.len()));
    }
    let mut worst: f64 = 0.0;
    for (i, ((area, bbox), (wanted, wanted_box))) in
        found.iter().zip(areas.iter().zip(boxes)).enumerate()
    {
        let off = (area - wanted).abs();
        worst = worst.max(off);
        if off > (MASK_AREA * wanted).max(MASK_PIXELS) {
            return Err(format!("mask {i} has {area} px, expected {wanted}"));
        }
        // one that vanished is no longer anywhere
        let both = *area > 0.0 && *wanted > 0.0;
        if both
            && bbox
                .iter()
                .zip(wanted_box)
                .any(|(a, b)| (a - b).abs() > MASK_BOX)
        {
            return Err(format!("mask {i} is in {bbox:?}, expected {wanted_box:?}"));
        }
    }
    Ok(format!("mask areas within {worst} px"))
}

/// A mask for every box, on a canvas of the picture's size.
fn check_own_masks(sample: &Sample) -> Result<(), String> {
    let Some(masks) = sample.masks() else {
        return Err("ours lost the masks".into());
    };
    if masks.len() != sample.gt.boxes.len() || masks.size() != sample.image.size() {
        return Err(format!(
            "{} masks of {:?} px for {} boxes on {:?} px",
            masks.len(),
            masks.size(),
            sample.gt.boxes.len(),
            sample.image.size()
        ));
    }
    Ok(())
}

fn compare_meta(expected: &Made, sample: &Sample) -> Result<(), String> {
    let differ =
        |what: &str, ours: String, theirs: String| Err(format!("{what} {ours}, expected {theirs}"));
    if let Some(shape) = &expected.img_shape
        && shape.get(..2) != Some(&sample.img_shape[..])
    {
        let theirs = format!("{shape:?}");
        return differ("img_shape", format!("{:?}", sample.img_shape), theirs);
    }
    let near = |a: f64, b: f64| (a - b).abs() <= MATRIX * b.abs().max(1.0);
    let factor = match &expected.scale_factor {
        None => None,
        Some(Json::Array(v)) => v.iter().map(Json::as_f64).collect::<Option<Vec<f64>>>(),
        Some(one) => one.as_f64().map(|v| vec![v; 2]),
    };
    let same = match (&factor, &sample.scale_factor) {
        (None, None) => true,
        (Some(a), Some(b)) => a.len() >= 2 && near(b[0], a[0]) && near(b[1], a[1]),
        _ => false,
    };
    if !same {
        let theirs = format!("{:?}", expected.scale_factor);
        return differ("scale_factor", format!("{:?}", sample.scale_factor), theirs);
    }
    let (ours, theirs) = (
        (sample.flip, sample.flip_direction),
        (expected.flip, expected.flip_direction),
    );
    if ours != theirs {
        return differ("flip", format!("{ours:?}"), format!("{theirs:?}"));
    }
    let same = match (&expected.homography_matrix, &sample.homography) {
        (None, None) => true,
        (Some(a), Some(b)) => a
            .iter()
            .flatten()
            .zip(b.iter().flatten())
            .all(|(a, b)| near(*b, *a)),
        _ => false,
    };
    if !same {
        let theirs = format!("{:?}", expected.homography_matrix);
        return differ(
            "homography_matrix",
            format!("{:?}", sample.homography),
            theirs,
        );
    }
    Ok(())
}
