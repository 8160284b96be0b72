//! A sample of a training pipeline, drawn.

use std::sync::Arc;

use super::objects::{Look, Object};
use super::{Canvas, class_colour};
use crate::data::datasets::MetaInfo;
use crate::data::draws_file::class_name;
use crate::data::image::{Image, Samples};
use crate::data::picture::Fault;
use crate::data::pixels::Pixels;
use crate::data::sample::{DataInfo, Instance, Sample, Segmentation};
use crate::data::trace::reason;
use crate::data::transforms::Files;
use crate::data::{DecodeOptions, decode};
use crate::structures::masks::{Shapes, rle_to_bitmap};
use crate::structures::{Bitmap, Dropped, GroundTruth, Masks, Origin, Reason};

/// How large pictures become: the longer side, px.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Smaller ones are enlarged by a whole factor.
    pub least: usize,
    /// Larger ones are shrunk.
    pub most: usize,
}

/// The sample's picture with its objects, and with those within it that the last step left out. A sample without a picture is a grey field.
///
/// # Errors
/// If the pixels cannot be read back.
pub async fn draw_sample(
    sample: &Sample,
    dropped: &[Dropped],
    meta: &MetaInfo,
    pixels: &Pixels,
    size: Size,
) -> Result<Canvas, Fault> {
    let [width, height] = sample.image.size();
    let Some(picture) = rgb(&sample.image, pixels).await? else {
        return Ok(Canvas::new(240, 120, vec![60; 240 * 120 * 3]).expect("its size is right"));
    };
    let mut canvas = picture.fitted(size.least, size.most);
    let masks = sample
        .masks()
        .filter(|m| [m.width, m.height] == [width, height]);
    let bitmaps: Vec<Bitmap> = masks.map(|m| m.to_bitmaps()).unwrap_or_default();
    let gt = &sample.gt;
    let mut objects: Vec<Object<'_>> = (0..gt.len())
        .map(|i| {
            let name = class_name(&meta.classes, gt.labels[i]);
            let ignored = gt.ignore.get(i).copied().unwrap_or(false);
            Object {
                xyxy: Some(gt.boxes[i]),
                colour: colour_of(meta, gt.labels[i]),
                caption: if ignored {
                    format!("{name} (ignored)")
                } else {
                    name
                },
                look: if ignored { Look::Ignored } else { Look::Kept },
                mask: bitmaps.get(i).map(|m| &m[..]),
            }
        })
        .collect();
    // What is outside or clipped away has nothing to show, and its last box may be one of the picture before.
    let seen = |d: &&Dropped| !matches!(d.reason, Reason::Outside | Reason::Clipped);
    objects.extend(dropped.iter().filter(seen).map(|d| Object {
        xyxy: Some(d.bbox),
        colour: colour_of(meta, d.label),
        caption: format!(
            "{}: {}",
            class_name(&meta.classes, d.label),
            reason(d.reason)
        ),
        look: Look::Dropped,
        mask: None,
    }));
    canvas.draw_objects(&objects, [width, height]);
    Ok(canvas)
}

/// The picture and the objects of an annotation file, as they are.
///
/// # Errors
/// If the file cannot be read or decoded.
pub fn original(info: &Arc<DataInfo>, files: &dyn Files) -> Result<Sample, Fault> {
    let bytes = files.read(&info.img_path).map_err(Fault::Unreadable)?;
    let picture = decode(&info.img_path, &bytes, &DecodeOptions::default());
    let mut sample = Sample::new(info.clone());
    sample.set_image(picture.map_err(|e| e.problem)?.into());
    let [width, height] = sample.image.size();
    let instances = &info.instances;
    let mask = |one: &Instance| -> Bitmap {
        let bitmap = match &one.mask {
            Segmentation::None => None,
            Segmentation::Polygons(polygon) => {
                let shapes = Shapes::Polygons(vec![polygon.clone()]);
                let masks = Masks {
                    width,
                    height,
                    shapes,
                };
                masks.to_bitmaps().pop()
            }
            Segmentation::Rle {
                counts,
                width: w,
                height: h,
            } if [*w, *h] == [width, height] => rle_to_bitmap(counts, width, height).ok(),
            Segmentation::Rle { .. } => None,
        };
        bitmap.unwrap_or_else(|| vec![0; width * height].into())
    };
    let masked = instances.iter().any(|i| i.mask != Segmentation::None);
    sample.gt = GroundTruth {
        boxes: instances.iter().map(|i| i.bbox).collect(),
        labels: instances.iter().map(|i| i.label).collect(),
        ignore: instances.iter().map(|i| i.ignore).collect(),
        masks: masked.then(|| Masks {
            width,
            height,
            shapes: Shapes::Bitmaps(instances.iter().map(mask).collect()),
        }),
        origins: vec![Origin::default(); instances.len()],
        dropped: Vec::new(),
    };
    Ok(sample)
}

/// The data set's own colour of a class, made light enough to be seen; or ours. A palette for another number of classes (COCO's, where a
/// config names its own classes) is none.
pub(super) fn colour_of(meta: &MetaInfo, label: i64) -> [u8; 3] {
    let label = usize::try_from(label).unwrap_or(0);
    let named = meta.palette.len() == meta.classes.len();
    class_colour(label, if named { &meta.palette } else { &[] })
}

/// The picture in RGB, without anything drawn. `None` if there are no pixels yet.
///
/// # Errors
/// If they cannot be read back.
pub async fn rgb(image: &Image, pixels: &Pixels) -> Result<Option<Canvas>, Fault> {
    let [width, height] = image.size();
    if width == 0 || height == 0 {
        return Ok(None);
    }
    let samples = pixels.read(image).await?;
    let bytes: Vec<u8> = match &*samples {
        Samples::U8(v) => return Ok(canvas(width, height, image.channels(), v)),
        // After PhotoMetricDistortion values lie outside of 0 to 255 too.
        Samples::F32(v) => v.iter().map(|v| v.round() as u8).collect(),
    };
    Ok(canvas(width, height, image.channels(), &bytes))
}

fn canvas(width: usize, height: usize, channels: usize, bytes: &[u8]) -> Option<Canvas> {
    let rgb = match channels {
        1 | 2 => bytes
            .chunks_exact(channels)
            .flat_map(|p| [p[0]; 3])
            .collect(),
        n => bytes
            .chunks_exact(n.max(3))
            .flat_map(|p| [p[2], p[1], p[0]])
            .collect(),
    };
    Canvas::new(width, height, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_classes() {
        let mut meta = MetaInfo {
            classes: vec!["a".into(), "b".into()],
            palette: vec![[0, 0, 70], [250, 170, 30]],
            ..MetaInfo::default()
        };
        assert_eq!(colour_of(&meta, 1), [250, 170, 30]);
        assert_eq!(colour_of(&meta, 0), [149, 149, 158], "lighter");
        assert_eq!(colour_of(&meta, 2), crate::draw::colour(2));
        meta.classes.pop();
        assert_eq!(colour_of(&meta, 0), crate::draw::colour(0));
    }

    #[test]
    fn of_every_depth_and_form() {
        let size = Size {
            least: 1,
            most: 1000,
        };
        let draw = |sample: &Sample, dropped: &[Dropped]| {
            let (meta, pixels) = (MetaInfo::default(), Pixels::cpu());
            pollster::block_on(draw_sample(sample, dropped, &meta, &pixels, size)).unwrap()
        };
        let mut sample = Sample::new(Arc::default());
        assert_eq!(draw(&sample, &[]).width(), 240, "a grey field");
        let bgr = vec![-3.0, 99.6, 300.0];
        sample.set_image(Image::new([1, 1], 3, Samples::F32(bgr)));
        assert_eq!(draw(&sample, &[]).rgb(), [255, 100, 0]);
        sample.set_image(Image::new([2, 1], 1, Samples::U8(vec![5, 6])));
        assert_eq!(draw(&sample, &[]).rgb(), [5, 5, 5, 6, 6, 6]);

        let mut sample = Sample::new(Arc::default());
        sample.set_image(Image::new([40, 30], 4, Samples::U8(vec![9; 4800])));
        sample.gt = GroundTruth {
            boxes: vec![[2.0, 2.0, 20.0, 20.0]],
            labels: vec![-1],
            ignore: vec![true],
            masks: Some(Masks::none(7, 7)),
            origins: vec![Origin::default()],
            dropped: Vec::new(),
        };
        let dropped = Dropped {
            origin: Origin::default(),
            label: 3,
            bbox: [30.0, 2.0, 38.0, 20.0],
            reason: Reason::TooSmall,
        };
        let drawn = draw(&sample, &[dropped]);
        let at = |x: usize| &drawn.rgb()[(19 * 40 + x) * 3..][..3];
        assert_eq!((at(2), at(30)), (&[184, 184, 184][..], &[255, 107, 94][..]));
    }
}
