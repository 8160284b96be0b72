//! What was found in a picture, drawn beside what is in it.

use std::sync::Arc;

use super::Canvas;
use super::caption;
use super::objects::{Look, Object};
use super::sample::{Size, colour_of, draw_sample, original};
use super::sheet::{Tile, Weight, sheet};
use crate::data::datasets::MetaInfo;
use crate::data::draws_file::class_name;
use crate::data::picture::Fault;
use crate::data::pixels::Pixels;
use crate::data::sample::{DataInfo, Sample};
use crate::data::transforms::Files;
use crate::structures::{GroundTruth, Instances};

/// How large each of the two becomes.
const SIZE: Size = Size {
    least: 320,
    most: 1000,
};

/// A picture twice: with the objects of its annotation at the left, and with what was found with more than `score_thr` at the right.
///
/// # Errors
/// If its file cannot be read or decoded.
pub async fn draw_beside(
    info: &Arc<DataInfo>,
    found: &Instances,
    score_thr: f32,
    meta: &MetaInfo,
    files: &dyn Files,
) -> Result<Canvas, Fault> {
    let pixels = Pixels::cpu();
    let annotated = original(info, files)?;
    let truth = draw_sample(&annotated, &[], meta, &pixels, SIZE).await?;
    let bare = Sample {
        gt: GroundTruth::default(),
        ..annotated
    };
    let mut picture = draw_sample(&bare, &[], meta, &pixels, SIZE).await?;
    let size = bare.image.size();
    let masks = found.masks.as_ref().filter(|m| m.size() == size);
    let masks = masks.map(|m| m.to_bitmaps()).unwrap_or_default();
    let kept = (0..found.len()).filter(|i| found.scores[*i] > score_thr);
    let objects: Vec<Object<'_>> = kept
        .map(|i| {
            let label = found.labels[i] as i64;
            Object {
                xyxy: Some(found.boxes[i]),
                colour: colour_of(meta, label),
                caption: caption(&class_name(&meta.classes, label), found.scores[i]),
                look: Look::Kept,
                mask: masks.get(i).map(|m| &m[..]),
            }
        })
        .collect();
    picture.draw_objects(&objects, size);
    let tile = |title: String, picture: Canvas| Tile {
        above: vec![(Weight::Plain, title)],
        picture,
        below: Vec::new(),
    };
    let name = info.img_path.rsplit(['/', '\\']).next().unwrap_or_default();
    let tiles = [
        tile(format!("annotated: {}", info.instances.len()), truth),
        tile(
            format!("found above {score_thr}: {}", objects.len()),
            picture,
        ),
    ];
    Ok(sheet(&[(Weight::Title, name.into())], &tiles, 2))
}
