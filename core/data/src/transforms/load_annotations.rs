//! `LoadAnnotations` of mmdet 3.3 (datasets/transforms/loading.py): boxes, labels and masks of what the data set knows of the picture.
//!
//! An object whose polygons are all broken (an odd number of values, fewer than three points, or a value that is no number) gets an empty mask and counts as ignored,
//! so also run lengths where polygons are asked for, and such that do not fill the picture; the data set has counted and named them. Boxes with a value that is no finite number are left out here; MMDetection goes on with them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Draws, Outcome, Transform};
use crate::decode::Backend;
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::Random;
use crate::sample::{Instance, Sample, Segmentation};
use crate::structures::masks::{polygon_to_bitmap, rle_to_bitmap};
use crate::structures::{GroundTruth, Masks, Origin, Polygon, Reason};
use smalti_config::{Diagnostics, Node, error_at, unsupported};

/// Makes a picture's objects.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadAnnotations {
    with_bbox: bool,
    with_label: bool,
    with_mask: bool,
    poly2mask: bool,
}

impl Draws for LoadAnnotations {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "LoadAnnotations"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
        let info = sample.info.clone();
        if !(self.with_bbox || self.with_label || self.with_mask) {
            return Ok(Some(sample));
        }
        let all = &info.instances;
        let mut gt = GroundTruth {
            boxes: all.iter().map(|i| i.bbox).collect(),
            labels: all.iter().map(|i| i.label).collect(),
            ignore: all.iter().map(|i| i.ignore).collect(),
            masks: None,
            origins: (0..all.len() as u32)
                .map(|object| Origin {
                    picture: info.index as u32,
                    object,
                })
                .collect(),
            dropped: Vec::new(),
        };
        if !self.with_label {
            gt.labels.fill(0);
        }
        if self.with_mask {
            let [height, width] = sample.ori_shape;
            if width == 0 || height == 0 {
                let message = "`LoadAnnotations(with_mask=True)` needs the picture: LoadImageFromFile before it";
                return Err(Fault::Transform(message.into()));
            }
            gt.masks = Some(self.masks(all, [width, height], &mut gt.ignore)?);
        }
        let finite = |b: &[f32; 4]| b.iter().all(|v| v.is_finite());
        let keep: Vec<bool> = gt.boxes.iter().map(finite).collect();
        gt.keep(&keep, Reason::Broken);
        sample.has_boxes = self.with_bbox;
        sample.gt = gt;
        Ok(Some(sample))
    }
}

impl LoadAnnotations {
    /// Masks of all objects; sets the flag of those whose mask is broken.
    fn masks(
        &self,
        instances: &[Instance],
        size: [usize; 2],
        ignore: &mut [bool],
    ) -> Result<Masks, Fault> {
        let (mut bitmaps, mut polygons) = (Vec::new(), Vec::new());
        for (i, (instance, ignore)) in instances.iter().zip(ignore).enumerate() {
            let wrong = |what: String| Fault::Transform(format!("object {i}: {what}"));
            let polygon = match &instance.mask {
                Segmentation::None => {
                    let what = "no `segmentation`, but `with_mask` is set";
                    return Err(wrong(what.into()));
                }
                Segmentation::Rle {
                    counts,
                    width,
                    height,
                } if self.poly2mask => {
                    if [*width, *height] != size {
                        return Err(wrong(format!(
                            "run lengths of {width}x{height} pixels, the picture has {}x{}",
                            size[0], size[1]
                        )));
                    }
                    let bitmap = rle_to_bitmap(counts, size[0], size[1]);
                    *ignore |= bitmap.is_err();
                    bitmaps.push(bitmap.unwrap_or_else(|_| vec![0; size[0] * size[1]].into()));
                    continue;
                }
                Segmentation::Rle { .. } => Polygon::new(),
                Segmentation::Polygons(all) => {
                    let whole = |p: &&Vec<f64>| {
                        let finite = p.iter().all(|v| v.is_finite());
                        p.len() >= 6 && p.len().is_multiple_of(2) && finite
                    };
                    all.iter().filter(whole).cloned().collect()
                }
            };
            let broken = polygon.is_empty();
            *ignore |= broken;
            if self.poly2mask {
                bitmaps.push(polygon_to_bitmap(&polygon, size[0], size[1]));
            } else if broken {
                polygons.push(vec![vec![0.0; 6]]);
            } else {
                polygons.push(polygon);
            }
        }
        Ok(if self.poly2mask {
            Masks::bitmaps(size, bitmaps)
        } else {
            Masks::polygons(size, polygons)
        })
    }
}

#[derive(Deserialize)]
struct Config {
    with_bbox: Option<bool>,
    with_label: Option<bool>,
    with_mask: Option<bool>,
    with_seg: Option<bool>,
    /// mmdet's reads none, whatever this says.
    #[serde(rename = "with_keypoints")]
    _with_keypoints: Option<bool>,
    poly2mask: Option<bool>,
    box_type: Option<Node>,
    /// Of segmentation maps.
    #[serde(rename = "reduce_zero_label")]
    _reduce_zero_label: Option<bool>,
    #[serde(rename = "ignore_index")]
    _ignore_index: Option<i64>,
    #[serde(rename = "imdecode_backend")]
    _imdecode_backend: Option<Backend>,
    file_client_args: Option<IgnoredAny>,
    backend_args: Option<IgnoredAny>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    if config.with_seg == Some(true) {
        let message = "segmentation maps are not read yet";
        let help = "leave `with_seg` out: boxes and masks need none";
        return Err(unsupported(node, "with_seg", message, help));
    }
    // None is there: boxes as plain arrays
    let hbox = |n: &Node| n.is_none() || n.as_str() == Some("hbox");
    if config.box_type.is_some_and(|n| !hbox(&n)) {
        let message = "only `box_type='hbox'` is known";
        return Err(error_at(node, "box_type", message, ""));
    }
    if config.file_client_args.is_some() && config.backend_args.is_some() {
        let message = "`file_client_args` and `backend_args` exclude each other";
        return Err(error_at(node, "file_client_args", message, "leave it out"));
    }
    Ok(Box::new(LoadAnnotations {
        with_bbox: config.with_bbox.unwrap_or(true),
        with_label: config.with_label.unwrap_or(true),
        with_mask: config.with_mask.unwrap_or(false),
        poly2mask: config.poly2mask.unwrap_or(true),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refused, run, unloaded};
    use super::*;
    use crate::structures::masks::{RleCounts, Shapes};

    fn loaded(options: &str, mask: Segmentation) -> Outcome {
        let mut sample = unloaded("a.png", vec![([0.0, 0.0, 2.0, 1.0], mask)]);
        sample.ori_shape = [2, 3];
        run(
            &format!("dict(type='LoadAnnotations', {options})"),
            sample,
            None,
        )
    }

    fn square() -> Vec<f64> {
        vec![1.0, 0.0, 3.0, 0.0, 3.0, 2.0, 1.0, 2.0]
    }

    #[test]
    fn polygons_and_runs() {
        let polygons = || Segmentation::Polygons(vec![square(), vec![0.0, 1.0], vec![0.0; 7]]);
        let out = loaded("with_mask=True", polygons()).unwrap().unwrap();
        let masks = out.gt.masks.unwrap();
        assert_eq!(masks.to_bitmaps()[0][..], [0, 1, 1, 0, 1, 1]);
        assert_eq!(
            (out.gt.labels[0], out.gt.ignore[0], out.has_boxes),
            (1, false, true)
        );
        let origin = Origin {
            picture: 5,
            object: 0,
        };
        assert_eq!(out.gt.origins, [origin]);
        let out = loaded("with_mask=True, poly2mask=False", polygons());
        let masks = out.unwrap().unwrap().gt.masks.unwrap();
        assert_eq!(masks.shapes, Shapes::Polygons(vec![vec![square()]]));
        let runs = || Segmentation::Rle {
            counts: RleCounts::Plain(vec![2, 4]),
            width: 3,
            height: 2,
        };
        let out = loaded("with_mask=True", runs()).unwrap().unwrap();
        assert_eq!(out.gt.masks.unwrap().areas(), [4.0]);
        let out = loaded("with_mask=True, poly2mask=False", runs())
            .unwrap()
            .unwrap();
        assert!(out.gt.ignore[0], "run lengths are no polygons");
        assert_eq!(out.gt.masks.unwrap().areas(), [0.0]);
    }

    #[test]
    fn broken_ones() {
        let points = || Segmentation::Polygons(vec![vec![0.0; 4]]);
        for options in ["with_mask=True", "with_mask=True, poly2mask=False"] {
            let out = loaded(options, points()).unwrap().unwrap();
            assert!(out.gt.ignore[0]);
            assert_eq!(out.gt.masks.unwrap().areas(), [0.0]);
        }
        for counts in [vec![2, 3], vec![2, 5]] {
            let runs = Segmentation::Rle {
                counts: RleCounts::Plain(counts),
                width: 3,
                height: 2,
            };
            let out = loaded("with_mask=True", runs).unwrap().unwrap();
            assert!(out.gt.ignore[0]);
            assert_eq!(out.gt.masks.unwrap().areas(), [0.0]);
        }
        let runs = Segmentation::Rle {
            counts: RleCounts::Plain(vec![2, 4]),
            width: 2,
            height: 3,
        };
        for (mask, expected) in [
            (Segmentation::None, "object 0: no `segmentation`"),
            (
                runs,
                "object 0: run lengths of 2x3 pixels, the picture has 3x2",
            ),
        ] {
            let error = loaded("with_mask=True", mask.clone()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(loaded("", mask).is_ok(), "nobody asks for masks");
        }
    }

    #[test]
    fn boxes_that_are_none() {
        let nan = [0.0, f32::NAN, 2.0, 1.0];
        let mut objects = vec![(nan, Segmentation::None)];
        objects.push(([0.0, 0.0, 2.0, 1.0], Segmentation::None));
        let out = run("dict(type='LoadAnnotations')", unloaded("a", objects), None);
        let gt = out.unwrap().unwrap().gt;
        assert_eq!((gt.labels.len(), gt.origins[0].object), (1, 1));
        assert_eq!(gt.dropped[0].reason, Reason::Broken);
    }

    #[test]
    fn options() {
        for (options, expected) in [
            ("with_seg=True", "segmentation maps are not read yet"),
            ("box_type='qbox'", "only `box_type='hbox'`"),
            (
                "file_client_args=dict(), backend_args=dict()",
                "exclude each other",
            ),
        ] {
            let message = refused(&format!("dict(type='LoadAnnotations', {options})"));
            assert!(message.contains(expected), "{options}: {message}");
        }
        let out = loaded("with_bbox=False, with_label=False", Segmentation::None);
        let out = out.unwrap().unwrap();
        assert_eq!((out.gt.len(), out.has_boxes), (0, false));
        assert!(
            loaded(
                "box_type=None, backend_args=None, imdecode_backend='cv2'",
                Segmentation::None
            )
            .is_ok()
        );
    }
}
