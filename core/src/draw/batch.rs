//! A batch of training, drawn: what the model gets, after transforms, batch augments and padding.

use super::Canvas;
use super::objects::{Look, Object};
use super::sample::colour_of;
use super::sheet::{Tile, Weight, sheet};
use crate::batch::Batch;
use crate::data::datasets::MetaInfo;
use crate::data::draws_file::class_name;
use crate::data::preprocessor::DetDataPreprocessor;
use crate::structures::Bitmap;
use crate::targets::{Objects, Targets};

/// Pictures of a sheet.
const MOST: usize = 16;
/// The longer side of a picture on it, px: at least, where that is possible, and at most.
const SIDES: [usize; 2] = [240, 400];

/// The first pictures of a batch with their objects, as a sheet under `heading`; `preprocessor` is what made numbers of their pixels.
///
/// # Errors
/// The device was lost.
pub async fn draw_batch(
    heading: &str,
    batch: &Batch,
    targets: &Targets,
    preprocessor: &DetDataPreprocessor,
    meta: &MetaInfo,
) -> Result<Canvas, String> {
    let [n, c, height, width] = batch.pixels.dims();
    let few = batch.pixels.clone().narrow(0, 0, n.min(MOST));
    let data = few.into_data_async().await.map_err(|e| e.to_string())?;
    let values: Vec<f32> = data.try_into_vec().map_err(|e| e.to_string())?;
    let planes = values.chunks_exact((c * height * width).max(1));
    let known = batch.pictures.metas.iter().zip(&targets.pictures);
    let tiles: Vec<Tile> = planes
        .zip(known)
        .filter_map(|(planes, (of, objects))| {
            let picture = Canvas::new(width, height, rgb(planes, c, preprocessor))?;
            let mut picture = picture.fitted(SIDES[0], SIDES[1]);
            draw_objects(&mut picture, objects, [width, height], meta);
            let name = of.img_path.rsplit(['/', '\\']).next().unwrap_or_default();
            Some(Tile {
                above: vec![(Weight::Plain, name.into())],
                picture,
                below: Vec::new(),
            })
        })
        .collect();
    let columns = (1..=4).find(|columns| columns * columns >= tiles.len());
    let size = match n {
        1 => format!("1 picture of {width} x {height} px"),
        n if n > MOST => format!("the first {MOST} of {n} pictures of {width} x {height} px"),
        n => format!("{n} pictures of {width} x {height} px"),
    };
    let heading = [(Weight::Title, heading.into()), (Weight::Plain, size)];
    Ok(sheet(&heading, &tiles, columns.unwrap_or(4)))
}

fn draw_objects(
    picture: &mut Canvas,
    objects: &Objects,
    [width, height]: [usize; 2],
    meta: &MetaInfo,
) {
    // Those of a picture are smaller than a padded batch.
    let masks = objects.masks.as_ref();
    let masks = masks.filter(|m| m.width <= width && m.height <= height);
    let masks = masks.map(|m| m.pad([width, height], 0).to_bitmaps());
    let masks: Vec<Bitmap> = masks.unwrap_or_default();
    let learned = objects.boxes.iter().zip(&objects.labels).enumerate();
    let learned = learned.map(|(i, (bbox, label))| Object {
        xyxy: Some(*bbox),
        colour: colour_of(meta, *label as i64),
        caption: class_name(&meta.classes, *label as i64),
        look: Look::Kept,
        mask: masks.get(i).map(|m| &m[..]),
    });
    let ignored = objects.ignored.iter().map(|bbox| Object {
        xyxy: Some(*bbox),
        colour: [0; 3],
        caption: "ignored".into(),
        look: Look::Ignored,
        mask: None,
    });
    let all: Vec<Object<'_>> = learned.chain(ignored).collect();
    picture.draw_objects(&all, [width, height]);
}

/// Normalised values of a picture to pixels.
///
/// # Shapes
/// - `planes`: `[c, h, w]`
/// - output: `[h, w, 3]`
fn rgb(planes: &[f32], c: usize, preprocessor: &DetDataPreprocessor) -> Vec<u8> {
    let places = planes.len() / c.max(1);
    let pairs = &preprocessor.mean_std;
    // Pictures are read as BGR, and are RGB where the preprocessor swaps.
    let channel = |k: usize| match (c, preprocessor.swap) {
        (1 | 2, _) => 0,
        (_, true) => k,
        (_, false) => 2 - k,
    };
    let channels: [_; 3] = std::array::from_fn(|k| {
        let c = channel(k);
        let (mean, std) = *pairs.get(c).or(pairs.first()).unwrap_or(&(0.0, 1.0));
        (c * places, mean, std)
    });
    let pixel =
        |i: usize| channels.map(|(at, mean, std)| (planes[at + i] * std + mean).round() as u8);
    (0..places).flat_map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Pictures;
    use crate::data::Meta;
    use crate::structures::Masks;
    use burn::tensor::{Device, Tensor, TensorData};

    #[test]
    fn values_become_the_pixels_that_they_were() {
        let mut preprocessor = DetDataPreprocessor {
            mean_std: vec![(100.0, 50.0), (110.0, 51.0), (120.0, 52.0)],
            swap: true,
            ..Default::default()
        };
        let planes = [-2.0, 2.0, 0.0, 9.0, 1.0, -1.0];
        assert_eq!(rgb(&planes, 3, &preprocessor), [0, 110, 172, 200, 255, 68]);
        preprocessor.swap = false;
        assert_eq!(rgb(&planes, 3, &preprocessor), [172, 110, 0, 68, 255, 200]);
        preprocessor.mean_std.clear();
        assert_eq!(rgb(&[7.0, f32::NAN], 1, &preprocessor), [7, 7, 7, 0, 0, 0]);
    }

    #[test]
    fn a_sheet_of_a_batch() {
        let draw = |n: usize, side: usize| {
            let pixels = vec![90.0f32; n * 3 * side * side];
            let pixels = TensorData::new(pixels, [n, 3, side, side]);
            let objects = Objects {
                boxes: vec![[2.0, 2.0, 20.0, 20.0]],
                labels: vec![0],
                ignored: vec![[30.0, 30.0, 38.0, 38.0]],
                masks: Some(Masks::none(30, 40)),
            };
            let batch = Batch {
                pixels: Tensor::from_data(pixels, &Device::flex()),
                pictures: Pictures {
                    metas: vec![Meta::default(); n],
                    rescale: true,
                },
            };
            let targets = Targets {
                pictures: vec![objects; n],
            };
            let preprocessor = DetDataPreprocessor::default();
            let meta = MetaInfo::default();
            let drawn = draw_batch("Batch", &batch, &targets, &preprocessor, &meta);
            pollster::block_on(drawn).unwrap()
        };
        let (one, four, many) = (draw(1, 40), draw(4, 40), draw(20, 40));
        assert!(one.height() > one.width(), "one column, with words above");
        assert!(four.width() < 2 * one.width() && four.width() > 480);
        assert!(many.width() < 4 * one.width() && many.width() > 960);
        let count = |canvas: &Canvas, colour: [u8; 3]| {
            canvas.rgb().chunks(3).filter(|p| **p == colour).count()
        };
        let frame = super::super::colour(0);
        let each = count(&one, frame);
        assert!(each > 0);
        assert_eq!(count(&many, frame), 16 * each, "16 at most");
        assert!(count(&one, [184; 3]) > 0, "what is ignored, dashed");
    }
}
