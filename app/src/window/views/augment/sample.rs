//! A sample on its way through the pipeline, made away from the window's thread: its steps, the picture of the one that is chosen, and
//! small pictures of all. The same draws as `smalti browse --seed S --index I`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::tensor::Device;
use eframe::egui::Color32;
use pollster::block_on;
use smalti::config::{Diagnostic, Node, value_to_py};
use smalti::data::datasets::{Dataset, MetaInfo};
use smalti::data::image::Image;
use smalti::data::loading::loader::orders;
use smalti::data::pixels::{Op, Pixels};
use smalti::data::random::Counter;
use smalti::data::sample::Sample;
use smalti::data::trace::{DrawSource, Trace, trace};
use smalti::data::transforms::{Context, Files, Pin};
use smalti::draw::sample::rgb;
use smalti::structures::{Dropped, GroundTruth, Xyxy};

use super::mosaic::{self, Sources};
use super::opened::Opened;
use super::plan::{self, Row};
use crate::window::host::Host;
use crate::window::picture;
use crate::window::tokens;

/// A sample to be made.
#[derive(Clone)]
pub struct Question {
    /// Of which data set.
    pub opened: Arc<Opened>,
    /// The data set's config, with what is being dragged in it.
    pub node: Node,
    /// Which sample.
    pub index: usize,
    /// Where random numbers begin.
    pub seed: u64,
    /// Draws that stay as they are.
    pub pins: Vec<Pin>,
    /// The step to show, by its place below the source; the last without it.
    pub chosen: Option<String>,
    /// Also the picture before that step.
    pub beside: bool,
    /// The picture at half its size.
    pub half: bool,
    /// A GPU to do the pixels; the CPU without one.
    pub device: Option<(String, Device)>,
    /// Whose clock tells how long it took.
    pub host: Arc<dyn Host>,
}

/// A sample that was made.
pub struct Seen {
    /// The strip's rows.
    pub rows: Vec<Row>,
    /// Everything that was recorded.
    pub trace: Arc<Trace>,
    /// The row that is shown.
    pub chosen: Option<usize>,
    /// Its picture.
    pub pane: Option<Pane>,
    /// The picture before it.
    pub before: Option<Pane>,
    /// The four pictures of a Mosaic, where that is shown.
    pub sources: Option<Sources>,
    /// At half size.
    pub is_half: bool,
    /// How long it took.
    pub took: Duration,
    /// The trace is that of the question before: only the view is another.
    pub is_same: bool,
}

/// Pixels to show.
pub struct Shot {
    /// Width and height of `rgb`.
    pub size: [usize; 2],
    /// The pixels.
    pub rgb: Vec<u8>,
}

/// A picture with its objects.
pub struct Pane {
    /// The pixels, maybe at half size.
    pub shot: Shot,
    /// Width and height of the sample, which boxes are in.
    pub full: [usize; 2],
    /// `[N, 4]`, px.
    pub boxes: Vec<Xyxy>,
    /// `[N]`.
    pub labels: Vec<i64>,
    /// `[N]`.
    pub ignore: Vec<bool>,
    /// The objects' masks over the shot.
    pub layer: Option<Vec<Color32>>,
    /// What the step left out.
    pub dropped: Vec<Dropped>,
}

/// Why there is none.
pub enum Failed {
    /// The pipelines of the config are wrong.
    Config(Vec<Diagnostic>),
    /// There is no such sample.
    Index,
}

/// Trace of the last question, which a change of the view alone does not need anew.
#[derive(Default)]
pub struct Last {
    trace: Mutex<Option<Traced>>,
    pixels: Mutex<Option<(String, Pixels)>>,
}

/// What was asked for, and what came of it.
type Traced = (String, Arc<Trace>, Vec<Row>);

/// Longest sides of the strip's pictures, px: twice what is shown.
const THUMB: usize = 192;

/// Makes it.
pub fn make(last: &Last, question: &Question) -> Result<Seen, Failed> {
    let began = question.host.now();
    let pixels = last.pixels(question.device.as_ref());
    let meta = &question.opened.meta;
    let made = question.opened.with(&question.node, |dataset, files| {
        if question.index >= dataset.len() {
            return Err(Failed::Index);
        }
        let (trace, rows, is_same) = last.trace(question, dataset, files, &pixels);
        let chosen = choose(&rows, question.chosen.as_deref());
        let step = chosen.and_then(|row| rows[row].step);
        let at = |step: usize| &trace.steps[step];
        let before = step.and_then(|s| s.checked_sub(1)).map(at);
        let half = |image: &Image| match question.half {
            true => image.size().map(|side| side.div_ceil(2)),
            false => image.size(),
        };
        let sources = step.and_then(|s| mosaic::sources(at(s), dataset, question.index));
        let shown = step.map(at).and_then(|s| {
            let mut pane = pane(s.samples()[0], meta, &pixels, half)?;
            pane.dropped.clone_from(&s.dropped);
            Some(pane)
        });
        let before = before
            .filter(|_| question.beside)
            .and_then(|s| pane(s.samples()[0], meta, &pixels, half));
        Ok(Seen {
            rows,
            trace,
            chosen,
            pane: shown,
            before,
            sources,
            is_half: question.half,
            took: question.host.now().saturating_sub(began),
            is_same,
        })
    });
    made.map_err(Failed::Config)?
}

/// The row at a place of the config, or the last that has a picture.
fn choose(rows: &[Row], wanted: Option<&str>) -> Option<usize> {
    let found = wanted.and_then(|path| rows.iter().rposition(|r| r.path.as_deref() == Some(path)));
    found.or_else(|| rows.iter().rposition(|r| r.step.is_some()))
}

impl Last {
    fn pixels(&self, device: Option<&(String, Device)>) -> Pixels {
        let Some((name, device)) = device else {
            return Pixels::cpu();
        };
        let mut known = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, pixels)) if of == name => pixels.clone(),
            _ => {
                let pixels = smalti::ops::augment::pixels(device);
                *known = Some((name.clone(), pixels.clone()));
                pixels
            }
        }
    }

    fn trace(
        &self,
        question: &Question,
        dataset: &dyn Dataset,
        files: &dyn Files,
        pixels: &Pixels,
    ) -> (Arc<Trace>, Vec<Row>, bool) {
        let Question { index, seed, .. } = *question;
        let key = format!(
            "{:p} {index} {seed} {:?} {:?} {}",
            Arc::as_ptr(&question.opened),
            question.device.as_ref().map(|(name, _)| name),
            question.pins,
            value_to_py(&question.node)
        );
        let mut known = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, trace, rows)) = &*known
            && *of == key
        {
            return (trace.clone(), rows.clone(), true);
        }
        let trace = Arc::new(traced(
            dataset,
            files,
            pixels,
            index,
            seed,
            question.pins.clone(),
        ));
        let plan = plan::of(dataset, &question.node, index);
        let rows = plan::rows(&plan, &trace);
        *known = Some((key, trace.clone(), rows.clone()));
        (trace, rows, false)
    }
}

/// Samples that cached transforms have seen before the one that is shown.
const REMEMBERED: usize = 8;

/// Runs the pipeline, with everything recorded.
pub fn traced(
    dataset: &dyn Dataset,
    files: &dyn Files,
    pixels: &Pixels,
    index: usize,
    seed: u64,
    pins: Vec<Pin>,
) -> Trace {
    static ALONE: Mutex<()> = Mutex::new(());
    let orders = orders(dataset);
    let _alone = (!orders.is_empty()).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    for order in &orders {
        // forgets everything, and lets samples come in any order
        order.begin(0);
        order.end();
    }
    if !orders.is_empty() {
        for back in (1..=REMEMBERED.min(dataset.len().saturating_sub(1))).rev() {
            let before = (index + dataset.len() - back) % dataset.len();
            let mut random = Counter::keyed(seed, 0, before as u64);
            let mut cx = Context::new(&mut random, pixels, files);
            // one that fails leaves nothing to remember
            let _ = dataset.get(before, &mut cx);
        }
    }
    let mut random = Counter::keyed(seed, 0, index as u64);
    let draws = DrawSource::Pinned(&mut random, pins);
    trace(dataset, index, index as u64, draws, pixels, files)
}

/// A picture in another size, its whole in view.
fn resized(image: &Image, pixels: &Pixels, size: [usize; 2]) -> Option<Image> {
    if size == image.size() {
        return Some(image.clone());
    }
    let [x, y] = [0, 1].map(|i| size[i] as f64 / image.size()[i] as f64);
    // the middle of a pixel is where it is looked at
    let op = Op::WarpAffine {
        matrix: [[x, 0.0, x / 2.0 - 0.5], [0.0, y, y / 2.0 - 0.5]],
        size,
        linear: true,
        fill: vec![0.0; image.channels()],
    };
    pixels.run(image, &op).ok()
}

fn shot(image: &Image, pixels: &Pixels, size: [usize; 2]) -> Option<Shot> {
    if image.size().contains(&0) {
        return None;
    }
    let image = resized(image, pixels, size)?;
    let canvas = block_on(rgb(&image, pixels)).ok()??;
    Some(Shot {
        size: [canvas.width(), canvas.height()],
        rgb: canvas.into_rgb(),
    })
}

/// Small pictures of all rows that ran.
pub fn thumbs(trace: &Trace, rows: &[Row]) -> Vec<Option<Shot>> {
    let pixels = Pixels::cpu();
    let thumb = |row: &Row| {
        let image = &trace.steps[row.step?].samples()[0].image;
        small(image, &pixels, THUMB)
    };
    rows.iter().map(thumb).collect()
}

/// A picture whose longer side has at most so many pixels.
pub fn small(image: &Image, pixels: &Pixels, most: usize) -> Option<Shot> {
    let long = image.width().max(image.height()).max(1);
    let scale = (2.0 * most as f64 / long as f64).min(1.0);
    let size = image
        .size()
        .map(|side| ((side as f64 * scale).round() as usize).max(1));
    let made = shot(image, pixels, size)?;
    let canvas = smalti::draw::Canvas::new(made.size[0], made.size[1], made.rgb)?.fitted(1, most);
    Some(Shot {
        size: [canvas.width(), canvas.height()],
        rgb: canvas.into_rgb(),
    })
}

fn pane(
    sample: &Sample,
    meta: &MetaInfo,
    pixels: &Pixels,
    size: impl Fn(&Image) -> [usize; 2],
) -> Option<Pane> {
    let full = sample.image.size();
    let shot = shot(&sample.image, pixels, size(&sample.image))?;
    let gt = &sample.gt;
    let masks = sample.masks().filter(|m| m.size() == full);
    let masks = masks.map(|m| match shot.size == full {
        true => m.to_bitmaps(),
        false => m.resize(shot.size).to_bitmaps(),
    });
    let masks = masks.unwrap_or_default();
    let colored = masks.iter().enumerate();
    let colored: Vec<(&[u8], Color32)> = colored
        .map(|(i, mask)| (&mask[..], color_of(gt, meta, i)))
        .collect();
    let layer = picture::layer(shot.size, &colored);
    Some(Pane {
        shot,
        full,
        boxes: gt.boxes.clone(),
        labels: gt.labels.clone(),
        ignore: gt.ignore.clone(),
        layer,
        dropped: Vec::new(),
    })
}

/// The colour of a class on pictures. A palette for another number of classes (COCO's, where a config names its own classes) is none.
pub fn color(meta: &MetaInfo, label: i64) -> Color32 {
    let is_own = meta.palette.len() == meta.classes.len();
    let palette: &[[u8; 3]] = if is_own { &meta.palette } else { &[] };
    let [r, g, b] = smalti::draw::class_colour(label.max(0) as usize, palette);
    Color32::from_rgb(r, g, b)
}

/// The colour of an object of a sample.
fn color_of(gt: &GroundTruth, meta: &MetaInfo, i: usize) -> Color32 {
    match gt.ignore.get(i) {
        Some(true) => tokens::IGNORED,
        _ => color(meta, gt.labels.get(i).copied().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use smalti::config::{Config, MapLoader};
    use smalti::draw::Canvas;

    use super::super::opened::Source;
    use super::*;
    use crate::window::native::Native;
    use crate::window::tests::Folder;

    #[test]
    fn half_the_size_is_the_same_sample() {
        let folder = Folder::new();
        let png = Canvas::new(9, 6, vec![90; 162]).unwrap().png().unwrap();
        std::fs::write(folder.0.join("a.png"), png).unwrap();
        let file = json!({"images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 6}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 8, "bbox": [2, 2, 4, 2],
                "segmentation": [[2, 2, 6, 2, 6, 4, 2, 4]]}]});
        folder.put("a.json", &file.to_string());
        let root = crate::window::document::key(&folder.0);
        let text = format!(
            "train_dataloader = dict(dataset=dict(type='CocoDataset', data_root='{root}', ann_file='a.json', metainfo=dict(classes=('cat',)),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True), dict(type='RandomFlip', prob=1.0)]))"
        );
        let config = Config::parse(&text, "a.py", &MapLoader::default()).unwrap();
        let source = Source::of(&config).unwrap();
        let host: Arc<dyn Host> = Arc::new(Native::at(folder.0.join("data")));
        let opened = Opened::read(&source, host.clone()).unwrap();
        let question = Question {
            opened: Arc::new(opened),
            node: source.node,
            index: 0,
            seed: 0,
            pins: Vec::new(),
            chosen: None,
            beside: true,
            half: false,
            device: None,
            host,
        };
        let last = Last::default();
        let made = |half| {
            let question = Question {
                half,
                ..question.clone()
            };
            make(&last, &question).unwrap_or_else(|_| panic!("it can be made"))
        };
        let (whole, half) = (made(false), made(true));
        assert_eq!((whole.is_same, half.is_same), (false, true));
        let (a, b) = (whole.pane.unwrap(), half.pane.unwrap());
        assert_eq!((a.shot.size, b.shot.size), ([9, 6], [5, 3]));
        assert_eq!((a.full, b.full), ([9, 6], [9, 6]));
        assert_eq!(a.boxes, [[3.0, 2.0, 7.0, 4.0]], "mirrored");
        assert_eq!(a.boxes, b.boxes, "in pixels of the sample");
        assert_eq!((a.layer.unwrap().len(), b.layer.unwrap().len()), (54, 15));
        assert_eq!(whole.before.unwrap().boxes, [[2.0, 2.0, 6.0, 4.0]]);
        let names: Vec<_> = whole.rows.iter().map(|r| r.path.clone().unwrap()).collect();
        assert_eq!(names, ["pipeline.0", "pipeline.1", "pipeline.2"]);
        let outside = Question {
            index: 1,
            ..question
        };
        assert!(matches!(make(&last, &outside), Err(Failed::Index)));
    }
}
