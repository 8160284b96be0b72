//! `Resize` of mmcv 2.1 (transforms/processing.py, image/geometric.py) and mmdet 3.3 (datasets/transforms/transforms.py), and what
//! its kin share: sizes are rounded exactly as there.

use serde::Deserialize;
use serde_json::json;
use smalti_shaders::reference::pillow::Filter;
use smalti_shaders::reference::resize::Interpolation;

use super::canvas::checked;
use super::{Draws, Outcome};
use crate::picture::Fault;
use crate::pixels::{Method, Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use crate::structures::boxes;
use smalti_config::{Diagnostics, Node, Value, error_at};

/// The size that a picture gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// Width and height as given, or as bounds when the ratio is kept.
    Scale([f64; 2]),
    /// The picture's size times this, in x and y.
    Factor([f64; 2]),
    /// Length of the shorter side, and the most for the longer one.
    Shortest(f64, Option<f64>),
    /// The picture's size times this: what a single number means where the ratio is kept (`mmcv.imrescale`).
    Times(f64),
}

/// Resizing to a size that depends on the picture's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    pub(super) target: Target,
    pub(super) keep_ratio: bool,
    /// Added before truncating when the ratio is kept: 0.5; 0 for `FixScaleResize`.
    pub(super) half: f64,
    /// How.
    pub method: Method,
    /// Boxes are cut at the picture's border.
    pub(super) clip: bool,
}

impl Resize {
    /// Width and height that a picture of `width` x `height` pixels gets. May contain 0.
    pub fn size(&self, width: usize, height: usize) -> [usize; 2] {
        self.rounded([width, height], self.half)
    }

    /// `scale`: the size asked for, before the ratio is kept.
    fn scale(&self, size: [usize; 2]) -> [f64; 2] {
        let [w, h] = size.map(|v| v as f64);
        match self.target {
            Target::Scale(scale) => scale,
            Target::Factor([x, y]) => [(w * x + 0.5).trunc(), (h * y + 0.5).trunc()],
            Target::Times(factor) => [factor; 2],
            Target::Shortest(short, longest) => {
                let scale = short / w.min(h);
                let (mut nh, mut nw) = if h < w {
                    (short, scale * w)
                } else {
                    (scale * h, short)
                };
                if let Some(most) = longest
                    && nh.max(nw) > most
                {
                    let scale = most / nh.max(nw);
                    nh *= scale;
                    nw *= scale;
                }
                [(nw + 0.5).trunc(), (nh + 0.5).trunc()]
            }
        }
    }

    fn rounded(&self, size: [usize; 2], half: f64) -> [usize; 2] {
        let scale = self.scale(size);
        // `as` truncates, as Python's int(); it saturates where that would raise
        if !self.keep_ratio {
            return scale.map(|v| v as usize);
        }
        let factor = match self.target {
            Target::Times(factor) => factor,
            _ => fitting(size, scale),
        };
        size.map(|v| (v as f64 * factor + half) as usize)
    }

    /// Picture, boxes and masks.
    pub(super) fn resize(&self, mut sample: Sample, pixels: &Pixels) -> Outcome {
        let old = sample.image.size();
        let size = self.size(old[0], old[1]);
        if size.contains(&0) {
            return Err(Fault::Transform(format!(
                "{}x{} pixels would be resized to {}x{}",
                old[0], old[1], size[0], size[1]
            )));
        }
        let size = checked(size)?;
        sample.more.insert("scale", json!(self.scale(old)));
        let factor = [0, 1].map(|i| size[i] as f64 / old[i] as f64);
        sample.keep_ratio = Some(self.keep_ratio);
        // MMDetection's masks have the half that `FixScaleResize` leaves out for pictures: a row more at most
        let masks = self.rounded(old, 0.5);
        resize(sample, self.method, pixels, size, factor, masks, self.clip)
    }
}

/// `rescale_size`: the factor that makes a picture as large as fits in a scale, whichever way the scale lies.
pub(super) fn fitting(size: [usize; 2], scale: [f64; 2]) -> f64 {
    let [w, h] = size.map(|v| v as f64);
    let (long, short) = (scale[0].max(scale[1]), scale[0].min(scale[1]));
    (long / w.max(h)).min(short / w.min(h))
}

/// A picture to `size`, its boxes by `factor`, its masks to the size `masks` and then onto the picture's canvas.
pub(super) fn resize(
    mut sample: Sample,
    method: Method,
    pixels: &Pixels,
    size: [usize; 2],
    factor: [f64; 2],
    masks: [usize; 2],
    clip: bool,
) -> Outcome {
    let op = Op::Resize { size, method };
    let image = pixels.run(&sample.image, &op)?;
    sample.set_image(image);
    sample.scale_factor = Some(factor);
    boxes::rescale(&mut sample.gt.boxes, factor.map(|v| v as f32));
    if clip {
        boxes::clip(&mut sample.gt.boxes, size);
    }
    if let Some(old) = &sample.gt.masks {
        let resized = old.resize(checked(masks)?);
        sample.gt.masks = Some(resized.on_canvas(size));
    }
    let [x, y] = factor.map(|v| f64::from(v as f32));
    sample.record_homography([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]]);
    Ok(Some(sample))
}

impl Draws for Resize {
    type Drawn = ();

    fn name(&self) -> &'static str {
        "Resize"
    }

    fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
        Ok(())
    }

    fn apply(&self, sample: Sample, (): &(), pixels: &Pixels) -> Outcome {
        self.resize(sample, pixels)
    }
}

/// `n` or `(x, y)`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number or two numbers (width, height)"
)]
pub(super) enum OneOrTwo {
    One(f64),
    Two([f64; 2]),
}

impl OneOrTwo {
    pub(super) fn both(self) -> [f64; 2] {
        match self {
            OneOrTwo::One(v) => [v; 2],
            OneOrTwo::Two(v) => v,
        }
    }
}

/// How a picture is resized, whatever the size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Manner {
    pub keep_ratio: bool,
    pub method: Method,
    pub clip: bool,
}

/// The options of [`Manner`].
#[derive(Default)]
pub(super) struct Given<'a> {
    pub keep_ratio: Option<bool>,
    pub clip_object_border: Option<bool>,
    pub backend: Option<&'a str>,
    pub interpolation: Option<&'a str>,
}

impl Manner {
    pub fn read(node: &Node, given: Given<'_>) -> Result<Self, Diagnostics> {
        Ok(Self {
            keep_ratio: given.keep_ratio.unwrap_or(false),
            method: method(node, given.backend, given.interpolation)?,
            clip: given.clip_object_border.unwrap_or(true),
        })
    }

    /// With a size; `half` as in [`Resize`].
    pub fn to(self, target: Target, half: f64) -> Resize {
        Resize {
            target,
            keep_ratio: self.keep_ratio,
            half,
            method: self.method,
            clip: self.clip,
        }
    }
}

#[derive(Deserialize)]
struct Config {
    scale: Option<OneOrTwo>,
    scale_factor: Option<OneOrTwo>,
    keep_ratio: Option<bool>,
    clip_object_border: Option<bool>,
    backend: Option<String>,
    interpolation: Option<String>,
}

pub(super) fn read(node: &Node) -> Result<Resize, Diagnostics> {
    plain(node, 0.5)
}

/// `Resize` and `FixScaleResize`; `half` as in [`Resize`].
pub(super) fn plain(node: &Node, half: f64) -> Result<Resize, Diagnostics> {
    let config: Config = node.read()?;
    let value = |key| node.get(key).map(|n| &n.value);
    let given = Given {
        keep_ratio: config.keep_ratio,
        clip_object_border: config.clip_object_border,
        backend: config.backend.as_deref(),
        interpolation: config.interpolation.as_deref(),
    };
    let kept = config.keep_ratio == Some(true);
    let wrong = match (value("scale"), value("scale_factor")) {
        (_, Some(Value::Int(i))) => Some(("scale_factor", format!("write {i}.0"))),
        (_, Some(Value::List(_))) => Some(("scale_factor", "write it as a tuple".into())),
        (Some(Value::List(_)), _) if kept => Some(("scale", "write it as a tuple".into())),
        _ => None,
    };
    if let Some((key, help)) = wrong {
        let one = if key == "scale" { "an int" } else { "a float" };
        let message = format!("`{key}` must be {one} or a tuple of two numbers");
        return Err(error_at(node, key, message, &help));
    }
    let target = match (config.scale, config.scale_factor) {
        (Some(scale), _) => Target::Scale(positive(node, "scale", scale.both())?),
        (None, Some(factor)) => Target::Factor(positive(node, "scale_factor", factor.both())?),
        (None, None) => {
            let message = "`Resize` needs `scale` or `scale_factor`";
            let help = "for example scale=(1333, 800)";
            return Err(error_at(node, "type", message, help));
        }
    };
    Ok(Manner::read(node, given)?.to(target, half))
}

fn method(node: &Node, backend: Option<&str>, name: Option<&str>) -> Result<Method, Diagnostics> {
    let name = name.unwrap_or("bilinear");
    let method = match backend {
        None | Some("cv2") => match name {
            "nearest" => Some(Interpolation::Nearest),
            "bilinear" => Some(Interpolation::Linear),
            "bicubic" => Some(Interpolation::Cubic),
            "area" => Some(Interpolation::Area),
            "lanczos" => Some(Interpolation::Lanczos4),
            _ => None,
        }
        .map(Method::Cv2)
        .ok_or("cv2 has nearest, bilinear, bicubic, area, lanczos"),
        Some("pillow") => match name {
            "nearest" => Some(Filter::Nearest),
            "bilinear" => Some(Filter::Bilinear),
            "bicubic" => Some(Filter::Bicubic),
            "box" => Some(Filter::Box),
            "lanczos" => Some(Filter::Lanczos),
            "hamming" => Some(Filter::Hamming),
            _ => None,
        }
        .map(Method::Pillow)
        .ok_or("Pillow has nearest, bilinear, bicubic, box, lanczos, hamming"),
        Some(other) => {
            let message = format!("`backend` is '{other}', must be 'cv2' or 'pillow'");
            return Err(error_at(node, "backend", message, ""));
        }
    };
    method.map_err(|help| {
        let message = format!("no interpolation '{name}'");
        error_at(node, "interpolation", message, help)
    })
}

pub(super) fn positive(node: &Node, key: &str, values: [f64; 2]) -> Result<[f64; 2], Diagnostics> {
    if values.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Ok(values);
    }
    Err(error_at(node, key, format!("`{key}` must be positive"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resize(target: Target, keep_ratio: bool, half: f64) -> Resize {
        Resize {
            target,
            keep_ratio,
            half,
            method: Method::Cv2(Interpolation::Linear),
            clip: true,
        }
    }

    #[test]
    fn sizes_as_mmcv() {
        let keep = |scale| resize(Target::Scale(scale), true, 0.5);
        for (source, scale, expected) in [
            ([640, 427], [1333.0, 800.0], [1199, 800]),
            ([427, 640], [1333.0, 800.0], [800, 1199]),
            ([500, 375], [1333.0, 800.0], [1067, 800]),
            ([1, 1], [1333.0, 800.0], [800, 800]),
            ([333, 1000], [640.0, 640.0], [213, 640]),
            ([1000, 333], [600.0, 1000.0], [1000, 333]),
            ([3, 1000], [320.0, 320.0], [1, 320]),
            ([4096, 4097], [1333.0, 800.0], [800, 800]),
            ([975, 2428], [1214.0, 367.0], [367, 914]),
            ([1516, 2474], [1070.0, 1381.0], [846, 1381]),
            ([2380, 269], [1340.0, 126.0], [1115, 126]),
            ([1922, 1063], [1228.0, 579.0], [1047, 579]),
            ([786, 2938], [1063.0, 1207.0], [323, 1207]),
            ([2252, 1952], [913.0, 1408.0], [1053, 913]),
            ([617, 950], [1400.0, 410.0], [410, 631]),
            ([2143, 1598], [131.0, 1475.0], [176, 131]),
            ([263, 653], [1310.0, 187.0], [187, 464]),
            ([1234, 128], [651.0, 1068.0], [1068, 111]),
        ] {
            let [w, h] = source;
            assert_eq!(keep(scale).size(w, h), expected, "{source:?} {scale:?}");
        }
        for (source, scale, expected) in [
            ([640, 427], [1333.0, 800.0], [1199, 800]),
            ([427, 640], [1333.0, 800.0], [800, 1199]),
            ([500, 375], [1333.0, 800.0], [1066, 800]),
            ([3, 1000], [320.0, 320.0], [0, 320]),
            ([975, 2428], [1214.0, 367.0], [367, 913]),
            ([2380, 269], [1340.0, 126.0], [1114, 126]),
            ([1922, 1063], [1228.0, 579.0], [1046, 579]),
            ([786, 2938], [1063.0, 1207.0], [322, 1207]),
            ([2143, 1598], [131.0, 1475.0], [175, 131]),
            ([1234, 128], [651.0, 1068.0], [1068, 110]),
        ] {
            let [w, h] = source;
            let fixed = resize(Target::Scale(scale), true, 0.0);
            assert_eq!(fixed.size(w, h), expected, "{source:?} {scale:?}");
        }
        let plain = resize(Target::Scale([512.0, 300.0]), false, 0.5);
        assert_eq!(plain.size(77, 99), [512, 300]);
        let factor = resize(Target::Factor([0.5, 1.5]), false, 0.5);
        assert_eq!(factor.size(77, 99), [39, 149]);
        let shortest = resize(Target::Shortest(800.0, Some(1333.0)), false, 0.5);
        assert_eq!(shortest.size(640, 427), [1199, 800]);
        assert_eq!(shortest.size(1000, 300), [1333, 400]);
    }

    #[test]
    fn all_that_is_there() {
        use super::super::trial::{refused, run, sample};
        let objects = [[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 7.0, 2.0]];
        let text = "dict(type='Resize', scale=(9, 7), keep_ratio=True)";
        let out = run(text, sample([4, 3], &objects), None).unwrap().unwrap();
        assert_eq!(out.image.size(), [9, 7]);
        // as numpy and torch round: 7 / 3 in f32
        let [x, y] = [2.25, (7.0 / 3.0_f64) as f32];
        assert_eq!(
            out.gt.boxes,
            [[0.0, 0.0, 2.0 * x, 7.0], [x, y, 9.0, 2.0 * y]]
        );
        assert_eq!(out.scale_factor, Some([2.25, 7.0 / 3.0]));
        assert_eq!(out.gt.masks.unwrap().areas()[0], 5.0 * 7.0);
        assert_eq!(out.homography.unwrap()[1][1], f64::from(y));
        let text = "dict(type='Resize', scale_factor=2.0, clip_object_border=False)";
        let out = run(text, sample([4, 3], &objects), None).unwrap().unwrap();
        assert_eq!(out.gt.boxes[1], [2.0, 2.0, 14.0, 4.0]);
        // the picture is rounded down, and so the masks' canvas
        let text = "dict(type='FixScaleResize', scale=(9, 5), keep_ratio=True)";
        let out = run(text, sample([4, 3], &objects), None).unwrap().unwrap();
        assert_eq!(
            (out.image.size(), out.gt.masks.unwrap().size()),
            ([6, 5], [6, 5])
        );
        let out = run(
            "dict(type='Resize', scale=(999999, 999999))",
            sample([4, 3], &[]),
            None,
        );
        assert!(matches!(out, Err(Fault::TooLarge { .. })));
        let message = refused("dict(type='Resize', scale_factor=2)");
        assert!(message.contains("write 2.0"), "{message}");
        let message =
            refused("dict(type='ResizeShortestEdge', scale=9, resize_type='ResizeShortestEdge')");
        assert!(
            message.contains("known are Resize, FixScaleResize"),
            "{message}"
        );
    }
}
