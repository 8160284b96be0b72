//! A sample on its way through the pipeline, made away from the window's thread: its steps, the picture of the one that is chosen, and
//! small pictures of all. The same draws as `smalti browse --seed S --index I`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::tensor::Device;
use pollster::block_on;
use smalti::config::{Diagnostic, Node, value_to_py};
use smalti::data::datasets::{Dataset, SampleError};
use smalti::data::image::Image;
use smalti::data::loading::loader::orders;
use smalti::data::pixels::{Op, Pixels};
use smalti::data::random::Counter;
use smalti::data::sample::Sample;
use smalti::data::trace::{DrawSource, Trace, trace};
use smalti::data::transforms::{Context, Files, Pin};
use smalti::draw::sample::rgb;
use smalti::structures::{Bitmap, Dropped, Xyxy};

use super::mosaic::{self, Sources};
use super::opened::Opened;
use super::plan::{self, Row};
use crate::window::host::Host;

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
    /// Small pictures of the rows; `None` where only the large one was made.
    pub thumbs: Option<Vec<Option<Shot>>>,
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
    /// How long trace and picture took, without the small ones.
    pub took: Duration,
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
    /// `[N]` in the shot's size, or none.
    pub masks: Vec<Bitmap>,
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
    let made = question.opened.with(&question.node, |dataset, files| {
        if question.index >= dataset.len() {
            return Err(Failed::Index);
        }
        let (trace, rows) = last.trace(question, dataset, files, &pixels);
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
            let mut pane = pane(s.samples()[0], &pixels, half)?;
            pane.dropped.clone_from(&s.dropped);
            Some(pane)
        });
        let before = before
            .filter(|_| question.beside)
            .and_then(|s| pane(s.samples()[0], &pixels, half));
        Ok((trace, rows, chosen, shown, before, sources))
    });
    let (trace, rows, chosen, pane, before, sources) = made.map_err(Failed::Config)??;
    let took = question.host.now().saturating_sub(began);
    let thumbs = (!question.half).then(|| {
        let small = |row: &Row| {
            let image = &trace.steps[row.step?].samples()[0].image;
            thumb(image, &pixels)
        };
        rows.iter().map(small).collect()
    });
    Ok(Seen {
        rows,
        trace,
        thumbs,
        chosen,
        pane,
        before,
        sources,
        is_half: question.half,
        took,
    })
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
    ) -> (Arc<Trace>, Vec<Row>) {
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
            return (trace.clone(), rows.clone());
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
        (trace, rows)
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

/// What went wrong, for people.
pub fn problem(error: &SampleError) -> String {
    error.to_string()
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

/// A small picture, smooth.
pub fn thumb(image: &Image, pixels: &Pixels) -> Option<Shot> {
    small(image, pixels, THUMB)
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

fn pane(sample: &Sample, pixels: &Pixels, size: impl Fn(&Image) -> [usize; 2]) -> Option<Pane> {
    let full = sample.image.size();
    let shot = shot(&sample.image, pixels, size(&sample.image))?;
    let gt = &sample.gt;
    let masks = sample.masks().filter(|m| m.size() == full);
    let masks = masks.map(|m| match shot.size == full {
        true => m.to_bitmaps(),
        false => m.resize(shot.size).to_bitmaps(),
    });
    Some(Pane {
        shot,
        full,
        boxes: gt.boxes.clone(),
        labels: gt.labels.clone(),
        ignore: gt.ignore.clone(),
        masks: masks.unwrap_or_default(),
        dropped: Vec::new(),
    })
}
