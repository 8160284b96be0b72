//! The four pictures of a Mosaic, named and outlined, and its centre, which can be dragged.

use smalti::data::datasets::Dataset;
use smalti::data::sample::DataInfo;
use smalti::data::trace::Step;

/// The pictures that a Mosaic is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    /// Where they meet, px.
    pub center: [f64; 2],
    /// Width and height of the canvas, px.
    pub canvas: [f64; 2],
    /// From the top left in reading order.
    pub parts: [Part; 4],
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// The file's name.
    pub name: String,
    /// Where it lies on the canvas, px.
    pub xyxy: [f64; 4],
}

/// Those of a step, if it is a Mosaic that was done; `index` is the sample's.
pub fn sources(step: &Step, dataset: &dyn Dataset, index: usize) -> Option<Sources> {
    let params = step.params.as_ref().filter(|_| step.name == "Mosaic")?;
    if params.get("apply")?.as_bool() != Some(true) {
        return None;
    }
    let center = params.get("center")?.as_array()?;
    let center = [center.first()?.as_f64()?, center.get(1)?.as_f64()?];
    let canvas = step.sample.image.size().map(|side| side as f64);
    let others = step.indexes.as_ref()?.as_array()?;
    let (set, _) = mixing(dataset, index)?;
    let mut parts: [Part; 4] = Default::default();
    for (corner, part) in parts.iter_mut().enumerate() {
        let info = match corner {
            0 => Some(step.sample.info.clone()),
            _ => {
                let other = others.get(corner - 1)?.as_u64()? as usize;
                (other < set.len()).then(|| set.info(other))
            }
        };
        let Some(info) = info else { continue };
        *part = Part {
            name: file_name(&info),
            xyxy: lies(&info, corner, center, canvas),
        };
    }
    Some(Sources {
        center,
        canvas,
        parts,
    })
}

/// The data set from which pictures are mixed in, and the index within it.
fn mixing(dataset: &dyn Dataset, index: usize) -> Option<(&dyn Dataset, usize)> {
    let children = dataset.children();
    if dataset.pipeline().iter().any(|step| step.needs_mix()) {
        return children.first().map(|inner| (*inner, index));
    }
    match dataset.ends() {
        Some(ends) => {
            let which = ends.partition_point(|end| *end <= index);
            let start = which.checked_sub(1).map_or(0, |before| ends[before]);
            mixing(*children.get(which)?, index.saturating_sub(start))
        }
        None => {
            let inner = *children.first()?;
            mixing(inner, index % inner.len().max(1))
        }
    }
}

fn file_name(info: &DataInfo) -> String {
    let name = info.img_path.rsplit(['/', '\\']).next();
    name.unwrap_or_default().to_owned()
}

/// Where a picture lies: it is fitted into a quarter of the canvas, and its corner touches the centre.
fn lies(info: &DataInfo, corner: usize, center: [f64; 2], canvas: [f64; 2]) -> [f64; 4] {
    let quarter = canvas.map(|side| side / 2.0);
    let size = match [info.width, info.height] {
        [0, _] | [_, 0] => quarter,
        [w, h] => {
            let scale = (quarter[0] / w as f64).min(quarter[1] / h as f64);
            [(w as f64 * scale).floor(), (h as f64 * scale).floor()]
        }
    };
    let span = |axis: usize, before: bool| match before {
        true => [(center[axis] - size[axis]).max(0.0), center[axis]],
        false => [center[axis], (center[axis] + size[axis]).min(canvas[axis])],
    };
    let ([x1, x2], [y1, y2]) = (span(0, corner.is_multiple_of(2)), span(1, corner < 2));
    [x1, y1, x2, y2]
}
