//! `MixUp` of mmdet 3.3 (datasets/transforms/transforms.py) as YOLOX has it (2021, arXiv:2107.08430), from mixup (2017,
//! arXiv:1710.09412): a second picture, resized and perhaps mirrored, half transparent over the first.
//!
//! Masks go with their boxes; MMDetection's MixUp drops them.

use serde::{Deserialize, Serialize};
use smalti_shaders::reference::resize::{Interpolation, View, linear_f64};

use super::canvas::{checked, stored};
use super::level::within;
use super::mixing::{PadVal, fitted, img_scale, mixed, of, rescaled};
use super::{Draws, Method, Others, Outcome, Transform};
use crate::image::{Image, Samples};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Border, Direction, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::{Masks, Reason, boxes};
use smalti_config::{Bounded, Diagnostics, Node, error_at};

/// Two pictures in one.
#[derive(Clone, Debug, PartialEq)]
pub struct MixUp {
    /// Width and height into which the second picture is fitted.
    img_scale: [usize; 2],
    ratio_range: [f64; 2],
    flip_ratio: f64,
    pad_val: PadVal,
    max_iters: usize,
    bbox_clip_border: bool,
}

/// Draws of [`MixUp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixUpDrawn {
    /// Not where the second picture has no objects.
    pub apply: bool,
    /// Factor of the size into which the second picture was fitted.
    #[serde(default)]
    pub ratio: f64,
    /// The second picture is mirrored.
    #[serde(default)]
    pub flip: bool,
    /// Of the second picture, where it is larger than the first: the pixel that lies top left.
    #[serde(default)]
    pub offset: [i64; 2],
}

impl MixUpDrawn {
    /// Nothing is done.
    pub(super) fn none() -> Self {
        Self {
            apply: false,
            ratio: 0.0,
            flip: false,
            offset: [0, 0],
        }
    }
}

/// What MixUp and CachedMixUp are given.
pub(super) struct Options<'a> {
    pub img_scale: Option<&'a Node>,
    pub ratio_range: Option<[f64; 2]>,
    pub flip_ratio: Option<f64>,
    pub pad_val: Option<PadVal>,
    pub max_iters: Option<usize>,
    pub bbox_clip_border: Option<bool>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(MixUp::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    img_scale: Option<Node>,
    ratio_range: Option<[f64; 2]>,
    flip_ratio: Option<f64>,
    pad_val: Option<PadVal>,
    max_iters: Option<Bounded<0, 1000>>,
    bbox_clip_border: Option<bool>,
}

impl MixUp {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        let options = Options {
            img_scale: config.img_scale.as_ref(),
            ratio_range: config.ratio_range,
            flip_ratio: config.flip_ratio,
            pad_val: config.pad_val,
            max_iters: config.max_iters.map(Bounded::get),
            bbox_clip_border: config.bbox_clip_border,
        };
        Self::new(node, options)
    }

    pub(super) fn new(node: &Node, options: Options<'_>) -> Result<Self, Diagnostics> {
        let max_iters = options.max_iters.unwrap_or(15);
        if max_iters == 0 {
            let help = "at least one picture must be tried";
            return Err(error_at(node, "max_iters", "`max_iters` is 0", help));
        }
        let ratio_range = options.ratio_range.unwrap_or([0.5, 1.5]);
        within(
            node,
            "ratio_range",
            ratio_range,
            f64::MIN_POSITIVE..=f64::INFINITY,
        )?;
        Ok(Self {
            img_scale: img_scale(node, options.img_scale)?,
            ratio_range,
            flip_ratio: options.flip_ratio.unwrap_or(0.5),
            pad_val: options.pad_val.unwrap_or(PadVal::Float(114.0)),
            max_iters,
            bbox_clip_border: options.bbox_clip_border.unwrap_or(true),
        })
    }

    /// Draws pictures until one has objects; `draw` gives a picture and whether it has some.
    pub(super) fn draw_other(
        &self,
        mut draw: impl FnMut() -> Result<(usize, bool), Fault>,
    ) -> Result<usize, Fault> {
        let mut index = 0;
        for _ in 0..self.max_iters {
            let (drawn, has_objects) = draw()?;
            index = drawn;
            if has_objects {
                break;
            }
        }
        Ok(index)
    }

    /// How `other` is laid over `sample`.
    pub(super) fn draw_mix(
        &self,
        sample: &Sample,
        other: &Sample,
        random: &mut dyn Random,
    ) -> Result<MixUpDrawn, Fault> {
        if other.gt.is_empty() {
            return Ok(MixUpDrawn::none());
        }
        let [low, high] = self.ratio_range;
        let ratio = random.uniform(low, high)?;
        let flip = random.uniform(0.0, 1.0)? > self.flip_ratio;
        let size = self.jittered(ratio)?;
        let target = sample.image.size();
        let mut offset = [0, 0];
        // y first
        for axis in [1, 0] {
            if size[axis] > target[axis] {
                offset[axis] = random.randint(0, (size[axis] - target[axis]) as i64)?;
            }
        }
        Ok(MixUpDrawn {
            apply: true,
            ratio,
            flip,
            offset,
        })
    }

    /// Size of the second picture, padding included, after `ratio`.
    fn jittered(&self, ratio: f64) -> Result<[usize; 2], Fault> {
        let size = self.img_scale.map(|v| (v as f64 * ratio) as usize);
        checked(size)
    }

    /// Lays `other` over `sample`. `as_there`: masks are moved as CachedMixUp moves them, see there.
    pub(super) fn mix(
        &self,
        mut sample: Sample,
        other: Sample,
        drawn: &MixUpDrawn,
        pixels: &Pixels,
        as_there: bool,
    ) -> Outcome {
        let target = sample.image.size();
        let of_other = of(&other.info);
        let fits = fitted(other.image.size(), self.img_scale);
        let (scale, resized) = fits.map_err(&of_other)?;
        let size = self.jittered(drawn.ratio)?;
        let scale = scale * drawn.ratio;
        let most = [0, 1].map(|i| size[i].saturating_sub(target[i]) as i64);
        let offset = [0, 1].map(|i| drawn.offset[i].clamp(0, most[i]));
        let at = offset.map(|v| -v);

        let upper = self
            .upper(&other.image, resized, size, drawn.flip, target, at, pixels)
            .map_err(&of_other)?;
        let blend = Op::Blend {
            other: upper,
            weight: 0.5,
        };
        let image = pixels.run(&pixels.run(&sample.image, &blend)?, &Op::ToBytes)?;
        sample.set_image(image);

        let mut gt = other.gt;
        if let Some(masks) = gt.masks.take() {
            let size_of_masks = rescaled([masks.width, masks.height], scale);
            let masks = masks.resize(size_of_masks.map_err(&of_other)?);
            gt.masks = Some(moved(masks, size, drawn.flip, target, at, as_there));
        }
        boxes::rescale(&mut gt.boxes, [scale as f32; 2]);
        if self.bbox_clip_border {
            boxes::clip(&mut gt.boxes, size);
        }
        if drawn.flip {
            let width = size[0] as f32;
            for b in &mut gt.boxes {
                *b = [width - b[2], b[1], width - b[0], b[3]];
            }
        }
        boxes::translate(&mut gt.boxes, at.map(|v| v as f32));
        let own = sample.gt.len();
        sample.gt.append(gt);
        let inside = boxes::inside(&sample.gt.boxes, target);
        let kept_own = inside[..own].iter().filter(|f| **f).count();
        sample.gt.keep(&inside, Reason::Outside);
        if self.bbox_clip_border {
            // after leaving out those outside, of which clipping would leave a line; the others stay the same
            boxes::clip(&mut sample.gt.boxes[kept_own..], target);
        }
        sample.mix.clear();
        Ok(Some(sample))
    }

    /// The second picture as it lies over the first, u8.
    #[allow(clippy::too_many_arguments)]
    fn upper(
        &self,
        image: &Image,
        resized: [usize; 2],
        size: [usize; 2],
        flip: bool,
        target: [usize; 2],
        at: [i64; 2],
        pixels: &Pixels,
    ) -> Result<Image, Fault> {
        if image.channels() != 3 {
            let text = format!("MixUp takes 3 channels, found {}", image.channels());
            return Err(Fault::Transform(text));
        }
        let method = Method::Cv2(Interpolation::Linear);
        let mut image = pixels.run(
            image,
            &Op::Resize {
                size: resized,
                method,
            },
        )?;
        // `np.ones(...) * 114.0` makes a canvas of floats, so the second resize does not round; a whole `pad_val` one of u8
        let float = pixels.is_exact() && self.pad_val.is_float();
        image = if float {
            pixels.run(&image, &Op::ToFloat)?
        } else {
            pixels.run(&image, &Op::ToBytes)?
        };
        let fill = stored(&self.pad_val.values(), &image)?;
        let padded = Op::Window {
            size: self.img_scale,
            at: [0, 0],
            border: Border::Constant(fill),
        };
        image = pixels.run(&image, &padded)?;
        image = if float {
            resized_as_f64(&image, size, pixels)?
        } else {
            pixels.run(&image, &Op::Resize { size, method })?
        };
        if flip {
            image = pixels.run(&image, &Op::Flip(Direction::Horizontal))?;
        }
        let border = Border::Constant(stored(&self.pad_val.values(), &image)?);
        pixels.run(
            &image,
            &Op::Window {
                size: target,
                at,
                border,
            },
        )
    }
}

/// Resized in f64, as numpy's floats are, then cut to u8. On the CPU, as GPUs have no f64: in f32 a value may come out below a whole
/// number and would be cut to the one before.
fn resized_as_f64(image: &Image, size: [usize; 2], pixels: &Pixels) -> Result<Image, Fault> {
    let samples = pixels.read_now(image)?;
    if image.size() == size {
        return pixels.run(image, &Op::ToBytes);
    }
    let wide: Vec<f64> = match &*samples {
        Samples::U8(values) => values.iter().map(|v| f64::from(*v)).collect(),
        Samples::F32(values) => values.iter().map(|v| f64::from(*v)).collect(),
    };
    let view = View::new(&wide, image.width(), image.height(), image.channels());
    let values = linear_f64(view, size[0], size[1]);
    let values = values.into_iter().map(|v| v as u8).collect();
    Ok(Image::new(size, image.channels(), Samples::U8(values)))
}

/// Masks of the second picture, resized already, on the first one's canvas.
///
/// CachedMixUp (`as_there`) mirrors them within their own width, not that of the padded picture, and loses what is outside of the
/// target before it moves them, so they leave their boxes unless the sizes are equal.
fn moved(
    masks: Masks,
    padded: [usize; 2],
    flip: bool,
    target: [usize; 2],
    at: [i64; 2],
    as_there: bool,
) -> Masks {
    let mut masks = if as_there {
        masks
    } else {
        masks.place(padded, [0, 0])
    };
    if flip {
        masks = masks.flip(Direction::Horizontal);
    }
    if as_there {
        masks = masks.place(target, [0, 0]);
    }
    masks.place(target, at)
}

impl Draws for MixUp {
    type Drawn = MixUpDrawn;

    fn name(&self) -> &'static str {
        "MixUp"
    }

    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<MixUpDrawn, Fault> {
        match &sample.mix[..] {
            [other] => self.draw_mix(sample, other, random),
            // fails with the fix
            _ => mixed(&mut sample.clone(), Draws::name(self), 1).map(|_| MixUpDrawn::none()),
        }
    }

    fn apply(&self, mut sample: Sample, drawn: &MixUpDrawn, pixels: &Pixels) -> Outcome {
        let mut others = mixed(&mut sample, Draws::name(self), 1)?;
        match others.pop() {
            Some(other) if drawn.apply => self.mix(sample, other, drawn, pixels, false),
            _ => Ok(Some(sample)),
        }
    }

    fn indexes(
        &self,
        others: &mut dyn Others,
        random: &mut dyn Random,
    ) -> Option<Result<Vec<usize>, Fault>> {
        let index = self.draw_other(|| {
            let index = random.randint(0, others.len() as i64)? as usize;
            Ok((index, others.has_objects(index, random)))
        });
        Some(index.map(|i| vec![i]))
    }

    fn mixes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, Scripted, refused};
    use crate::random::{Answer, Call};

    fn mix_up(options: &str) -> MixUp {
        let node = smalti_config::parse_value(&format!("dict(type='MixUp', {options})"));
        MixUp::read(&node.unwrap()).unwrap()
    }

    /// A 4x2 picture of grey 1, and one of `size` of grey 2.
    fn two(size: [usize; 2]) -> Sample {
        let mut pictures = Flat::new(&[[4, 2], size]);
        pictures.masks = true;
        let mut sample = pictures.sample(0);
        sample.mix = vec![pictures.sample(1)];
        sample
    }

    fn drawn(ratio: f64, flip: bool, offset: [i64; 2]) -> MixUpDrawn {
        MixUpDrawn {
            apply: true,
            ratio,
            flip,
            offset,
        }
    }

    #[test]
    fn half_and_half() {
        let pixels = Pixels::cpu().exact(true);
        // 2x2 fits into 4x2 as it is; mirrored with its padding it lies at the right
        let mix_up = mix_up("img_scale=(4, 2), pad_val=9.0");
        let sample = mix_up.apply(two([2, 2]), &drawn(1.0, true, [0, 0]), &pixels);
        let sample = sample.unwrap().unwrap();
        let Samples::U8(samples) = &*pixels.read_blocking(&sample.image).unwrap() else {
            panic!("MixUp gives u8");
        };
        // (1 + 9) / 2 and (1 + 2) / 2, truncated
        let row = [5, 5, 1, 1].map(|v| [v; 3]).concat();
        assert_eq!(samples[..12], row);
        assert_eq!(
            sample.gt.boxes,
            [[0.0, 0.0, 4.0, 2.0], [2.0, 0.0, 4.0, 2.0]]
        );
        assert_eq!(sample.gt.labels, [0, 1]);
        let masks = sample.gt.masks.unwrap();
        assert_eq!(masks.size(), [4, 2]);
        assert_eq!(masks.boxes()[1], [2.0, 0.0, 4.0, 2.0]);
    }

    #[test]
    fn larger_pictures_are_cut() {
        let pixels = Pixels::cpu().exact(true);
        let mix_up = mix_up("img_scale=(4, 2)");
        // twice 2x2 in 8x4, of which the columns 3..7 and rows 1..3 are shown
        let sample = mix_up.apply(two([2, 2]), &drawn(2.0, false, [3, 1]), &pixels);
        let gt = sample.unwrap().unwrap().gt;
        assert_eq!(gt.boxes[1], [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(gt.masks.unwrap().areas(), [8.0, 2.0]);
        // an offset of another picture is brought to the edge
        let sample = mix_up.apply(two([2, 2]), &drawn(2.0, false, [i64::MAX, -5]), &pixels);
        let gt = sample.unwrap().unwrap().gt;
        assert_eq!(gt.dropped[0].bbox, [-4.0, 0.0, 0.0, 4.0]);
        assert_eq!(gt.len(), 1);
    }

    #[test]
    fn calls_in_order() {
        let mix_up = mix_up("img_scale=(4, 2), ratio_range=(1.0, 3.0), flip_ratio=0.7");
        let float = Answer::Float;
        let answers = [float(2.0), float(0.8), Answer::Int(1), Answer::Int(3)];
        let mut random = Scripted::new(answers);
        let made = mix_up.draw(&two([2, 2]), &mut random).unwrap();
        assert_eq!(made, drawn(2.0, true, [3, 1]));
        assert_eq!(
            random.calls,
            [
                Call::Uniform(1.0, 3.0),
                Call::Uniform(0.0, 1.0),
                Call::Randint(0, 2),
                Call::Randint(0, 4)
            ]
        );
        // a picture without objects: nothing is drawn and nothing is done
        let mut sample = two([2, 2]);
        sample.mix[0].gt = Default::default();
        let made = mix_up.draw(&sample, &mut Scripted::default()).unwrap();
        assert_eq!(made, MixUpDrawn::none());
        let done = mix_up.apply(sample, &made, &Pixels::cpu()).unwrap();
        assert_eq!(done.unwrap().gt.len(), 1);
    }

    #[test]
    fn whatever_draws_say_it_does_not_panic() {
        let pixels = Pixels::cpu().exact(true);
        let mix_up = mix_up("img_scale=(4, 2)");
        for ratio in [0.0, -1.0, f64::NAN, 1e9, f64::INFINITY] {
            let drawn = drawn(ratio, false, [0, 0]);
            assert!(mix_up.apply(two([2, 2]), &drawn, &pixels).is_err());
        }
        let mut alone = two([2, 2]);
        alone.mix.clear();
        let refused = mix_up.draw(&alone, &mut Scripted::default());
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("MultiImageMixDataset")
        );
    }

    #[test]
    fn asserts_of_the_original() {
        let refused = |options| refused(&format!("dict(type='MixUp', {options})"));
        assert!(refused("img_scale=[640, 640]").contains("must be a tuple"));
        assert!(refused("max_iters=0").contains("`max_iters` is 0"));
        assert!(refused("prob=0.5").contains("prob"));
    }
}
