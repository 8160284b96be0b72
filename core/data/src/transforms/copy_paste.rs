//! `CopyPaste` of mmdet 3.3 (datasets/transforms/transforms.py): Simple Copy-Paste (2020, arXiv:2012.07177). Objects of another
//! picture are pasted in, by their masks.
//!
//! Polygons become bitmaps. The result stays u8, where MMDetection's numpy makes int64 of it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::mixing::{mixed, of};
use super::{Draws, Others, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Pixels};
use crate::random::{Choice, Random};
use crate::sample::Sample;
use crate::structures::{Bitmap, Masks, Reason, Xyxy};
use smalti_config::{Diagnostics, Node, error_at};

/// Objects from one picture to another.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyPaste {
    /// Fewer than this many are pasted.
    max_num_pasted: i64,
    /// px by which a covered object's box may change.
    bbox_occluded_thr: f64,
    /// Pixels of which a covered object must have more, if its box changed more.
    mask_occluded_thr: f64,
    /// Some of the objects, not all.
    selected: bool,
    /// Boxes stand for masks where there are none.
    paste_by_box: bool,
}

/// Draws of [`CopyPaste`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyPasteDrawn {
    /// The objects of the other picture that are pasted; `None`: all.
    pub objects: Option<Vec<usize>>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(CopyPaste::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    max_num_pasted: Option<i64>,
    bbox_occluded_thr: Option<f64>,
    mask_occluded_thr: Option<f64>,
    selected: Option<bool>,
    paste_by_box: Option<bool>,
}

impl CopyPaste {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        if let Some(most) = config.max_num_pasted.filter(|n| *n < 1) {
            let message =
                format!("`max_num_pasted` is {most}: fewer than that many objects are pasted");
            let help = "must be at least 1, with which none is pasted; to paste none, leave `CopyPaste` out";
            return Err(error_at(node, "max_num_pasted", message, help));
        }
        Ok(Self {
            max_num_pasted: config.max_num_pasted.unwrap_or(100),
            bbox_occluded_thr: config.bbox_occluded_thr.unwrap_or(10.0),
            mask_occluded_thr: config.mask_occluded_thr.unwrap_or(300.0),
            selected: config.selected.unwrap_or(true),
            paste_by_box: config.paste_by_box.unwrap_or(false),
        })
    }

    /// Masks of a sample as bitmaps of the picture's size, or its boxes' in their place.
    fn masks(&self, sample: &Sample) -> Result<Vec<Bitmap>, Fault> {
        let [width, height] = sample.image.size();
        match &sample.gt.masks {
            Some(masks) if [masks.width, masks.height] == [width, height] => Ok(masks.to_bitmaps()),
            Some(masks) => Err(Fault::Transform(format!(
                "masks of {}x{} on a picture of {width}x{height}",
                masks.width, masks.height
            ))),
            None if self.paste_by_box => {
                let boxes = sample.gt.boxes.iter();
                Ok(boxes.map(|b| box_mask(b, width, height)).collect())
            }
            None => Err(Fault::Transform(
                "`CopyPaste` found no masks: load them (`LoadAnnotations` with_mask=True), or set paste_by_box=True".into(),
            )),
        }
    }
}

impl Draws for CopyPaste {
    type Drawn = CopyPasteDrawn;

    fn name(&self) -> &'static str {
        "CopyPaste"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<CopyPasteDrawn, Fault> {
        let ([other], true) = (&sample.mix[..], self.selected) else {
            return Ok(CopyPasteDrawn { objects: None });
        };
        let count = other.gt.len();
        let most = self.max_num_pasted.min(count as i64 + 1);
        let pasted = random.randint(0, most)? as usize;
        let objects = random.choices(Choice {
            of: count.into(),
            size: Some(pasted),
            size_positional: false,
            replace: Some(false),
            p: None,
        })?;
        Ok(CopyPasteDrawn {
            objects: Some(objects.into_iter().map(|i| i as usize).collect()),
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &CopyPasteDrawn, pixels: &Pixels) -> Outcome {
        let others = mixed(&mut sample, Draws::name(self), 1)?;
        let [other] = &others[..] else {
            return Ok(Some(sample));
        };
        let bitmaps = self.masks(other).map_err(of(&other.info))?;
        let objects = match &drawn.objects {
            Some(objects) => objects.clone(),
            None => (0..other.gt.len()).collect(),
        };
        if let Some(beyond) = objects.iter().find(|i| **i >= other.gt.len()) {
            let text = format!("the draws paste object {beyond} of {}", other.gt.len());
            return Err(Fault::Transform(text));
        }
        let own = self.masks(&sample)?;
        if objects.is_empty() {
            return Ok(Some(sample));
        }
        let size = sample.image.size();
        let channels = [sample.image.channels(), other.image.channels()];
        if other.image.size() != size || channels[0] != channels[1] {
            let [w, h] = other.image.size();
            let mut text = format!(
                "`CopyPaste` takes two pictures of one size, found {}x{} and {w}x{h} ({}): resize, crop and pad both before",
                size[0], size[1], other.info.img_path
            );
            if channels[0] != channels[1] {
                text = format!(
                    "`CopyPaste` takes two pictures of as many channels, found {} and {} ({})",
                    channels[0], channels[1], other.info.img_path
                );
            }
            return Err(Fault::Transform(text));
        }
        let mut gt = other.gt.select(&objects);
        let pasted: Vec<Bitmap> = objects.iter().map(|i| bitmaps[*i].clone()).collect();
        let mut cover = vec![0u8; size[0] * size[1]];
        for bitmap in &pasted {
            cover
                .iter_mut()
                .zip(bitmap.iter())
                .for_each(|(c, v)| *c |= *v);
        }
        gt.masks = Some(Masks::bitmaps(size, pasted));

        let visible = |bitmap: &Bitmap| -> Bitmap {
            let pairs = bitmap.iter().zip(&cover);
            pairs.map(|(v, c)| if *c == 0 { *v } else { 0 }).collect()
        };
        let masks = Masks::bitmaps(size, own.iter().map(visible).collect());
        let boxes = masks.boxes();
        let areas = masks.areas();
        let kept: Vec<bool> = (0..boxes.len())
            .map(|i| {
                let moved = |k: usize| f64::from((boxes[i][k] - sample.gt.boxes[i][k]).abs());
                (0..4).all(|k| moved(k) <= self.bbox_occluded_thr)
                    || areas[i] > self.mask_occluded_thr
            })
            .collect();
        sample.gt.masks = Some(masks);
        // the box as it was says more of what was covered than what is left of it
        let now: Vec<Xyxy> = (0..kept.len())
            .filter(|i| kept[*i])
            .map(|i| boxes[i])
            .collect();
        sample.gt.keep(&kept, Reason::Covered);
        sample.gt.boxes = now;
        sample.gt.append(gt);

        let paste = Op::Paste {
            other: other.image.clone(),
            mask: Arc::from(cover),
        };
        sample.image = pixels.run(&sample.image, &paste)?;
        Ok(Some(sample))
    }

    fn indexes(
        &self,
        others: &mut dyn Others,
        random: &mut dyn Random,
    ) -> Option<Result<Vec<usize>, Fault>> {
        let index = random.randint(0, others.len() as i64);
        Some(index.map(|i| vec![i as usize]).map_err(Fault::from))
    }

    fn mixes(&self) -> bool {
        true
    }
}

/// `create_masks`: the pixels of a box, its corners truncated. A negative corner counts from the far side, as in a slice of Python.
fn box_mask(bbox: &Xyxy, width: usize, height: usize) -> Bitmap {
    let index = |v: f32, length: usize| {
        let v = v as i64;
        let from_start = if v < 0 {
            v.saturating_add(length as i64)
        } else {
            v
        };
        from_start.clamp(0, length as i64) as usize
    };
    let [x1, x2] = [bbox[0], bbox[2]].map(|v| index(v, width));
    let [y1, y2] = [bbox[1], bbox[3]].map(|v| index(v, height));
    let mut bitmap = vec![0; width * height];
    for row in bitmap.chunks_exact_mut(width.max(1)).take(y2).skip(y1) {
        if x1 < x2 {
            row[x1..x2].fill(1);
        }
    }
    bitmap.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, Scripted};
    use crate::image::Samples;
    use crate::random::{Answer, Call};

    fn copy_paste(options: &str) -> CopyPaste {
        let node = smalti_config::parse_value(&format!("dict(type='CopyPaste', {options})"));
        CopyPaste::read(&node.unwrap()).unwrap()
    }

    /// Two 4x2 pictures with an object each: the whole of the first, the left half of the second.
    fn two(masks: bool) -> Sample {
        let mut pictures = Flat::new(&[[4, 2], [4, 2]]);
        pictures.masks = masks;
        let mut sample = pictures.sample(0);
        let mut other = pictures.sample(1);
        other.gt.boxes[0] = [0.0, 0.0, 2.0, 2.0];
        if masks {
            let left = vec![1, 1, 0, 0, 1, 1, 0, 0].into();
            other.gt.masks = Some(Masks::bitmaps([4, 2], vec![left]));
        }
        sample.mix = vec![other];
        sample
    }

    fn all() -> CopyPasteDrawn {
        CopyPasteDrawn { objects: None }
    }

    #[test]
    fn the_upper_hides_the_lower() {
        let pixels = Pixels::cpu().exact(true);
        for (masks, options) in [(true, ""), (false, "paste_by_box=True")] {
            let sample = copy_paste(options).apply(two(masks), &all(), &pixels);
            let sample = sample.unwrap().unwrap();
            let Samples::U8(samples) = &*pixels.read_blocking(&sample.image).unwrap() else {
                panic!("u8 stays");
            };
            let row = [2, 2, 1, 1].map(|v| [v; 3]).concat();
            assert_eq!(samples[..], [row.clone(), row].concat());
            // the right half is left of the first
            assert_eq!(
                sample.gt.boxes,
                [[2.0, 0.0, 4.0, 2.0], [0.0, 0.0, 2.0, 2.0]]
            );
            assert_eq!(sample.gt.labels, [0, 1]);
            assert_eq!(sample.gt.masks.unwrap().areas(), [4.0, 4.0]);
        }
    }

    #[test]
    fn thresholds() {
        let pixels = Pixels::cpu().exact(true);
        // its box moved by 2 px, 4 px of it are left
        for (bbox, mask, kept) in [(2, 300, true), (1, 300, false), (1, 4, false), (1, 3, true)] {
            let options = format!("bbox_occluded_thr={bbox}, mask_occluded_thr={mask}");
            let sample = copy_paste(&options).apply(two(true), &all(), &pixels);
            let gt = sample.unwrap().unwrap().gt;
            assert_eq!(gt.len(), 1 + usize::from(kept), "{options}");
            if !kept {
                assert_eq!(gt.dropped[0].reason, Reason::Covered);
                assert_eq!(gt.dropped[0].bbox, [0.0, 0.0, 4.0, 2.0]);
            }
        }
    }

    #[test]
    fn a_range_without_a_number_is_refused() {
        let node = smalti_config::parse_value("dict(type='CopyPaste', max_num_pasted=0)");
        let problems = CopyPaste::read(&node.unwrap()).unwrap_err();
        assert!(problems[0].to_string().contains("`max_num_pasted` is 0"));
    }

    #[test]
    fn calls_in_order() {
        let mut random = Scripted::new([Answer::Int(1), Answer::Ints(vec![0])]);
        let drawn = copy_paste("max_num_pasted=5").draw(&two(true), &mut random);
        assert_eq!(drawn.unwrap().objects, Some(vec![0]));
        assert_eq!(random.calls[0], Call::Randint(0, 2));
        let choice = Choice {
            of: 1.into(),
            size: Some(1),
            size_positional: false,
            replace: Some(false),
            p: None,
        };
        assert_eq!(random.calls[1], Call::Choice(choice));
        let drawn = copy_paste("selected=False").draw(&two(true), &mut Scripted::default());
        assert_eq!(drawn.unwrap(), all());
    }

    #[test]
    fn whatever_draws_say_it_does_not_panic() {
        let pixels = Pixels::cpu().exact(true);
        let run = |sample, objects: Option<Vec<usize>>| {
            let outcome = copy_paste("").apply(sample, &CopyPasteDrawn { objects }, &pixels);
            outcome.map(|s| s.map_or(0, |s| s.gt.len()))
        };
        assert_eq!(run(two(true), Some(vec![])), Ok(1));
        assert_eq!(run(two(true), Some(vec![0, 0])), Ok(3));
        assert!(run(two(true), Some(vec![7])).is_err());
        let problem = run(two(false), None).unwrap_err().to_string();
        assert!(problem.contains("with_mask=True"), "{problem}");
        let mut other_size = two(true);
        let mut pictures = Flat::new(&[[5, 2]]);
        pictures.masks = true;
        other_size.mix = vec![pictures.sample(0)];
        let problem = run(other_size, None).unwrap_err().to_string();
        assert!(problem.contains("found 4x2 and 5x2"), "{problem}");
    }

    #[test]
    fn boxes_as_masks() {
        // np.zeros((2, 4))[int(y1):int(y2), int(x1):int(x2)] = 1
        let mask = |b| box_mask(&b, 4, 2).to_vec();
        assert_eq!(mask([1.9, 0.0, 3.9, 1.0]), [0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(mask([-1.0, 0.0, 4.0, 9.0]), [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(mask([3.0, 0.0, 1.0, 2.0]), [0; 8]);
        assert_eq!(mask([f32::NAN; 4]), [0; 8]);
    }
}
