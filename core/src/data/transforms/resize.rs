//! `Resize` and its kin: mmcv 2.1 (transforms/processing.py, image/geometric.py) and mmdet 3.3
//! (datasets/transforms/transforms.py). Sizes are rounded exactly as there.

use serde::Deserialize;
use serde::de::IgnoredAny;
use smalti_shaders::reference::pillow::Filter;
use smalti_shaders::reference::resize::Interpolation;

use super::Transform;
use crate::config::Node;
use crate::registry::{Problems, problem};

/// Whose arithmetic, and which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// OpenCV.
    Cv2(Interpolation),
    /// Pillow, which widens the kernel when shrinking. Needs u8.
    Pillow(Filter),
}

/// The size that a picture gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// Width and height as given, or as bounds when the ratio is kept.
    Scale([f64; 2]),
    /// The picture's size times this, in x and y.
    Factor([f64; 2]),
    /// Length of the shorter side, and the most for the longer one.
    Shortest(f64, Option<f64>),
}

/// Resizing to a size that depends on the picture's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    target: Target,
    keep_ratio: bool,
    /// Added before truncating when the ratio is kept: 0.5; 0 for `FixScaleResize`.
    half: f64,
    /// How.
    pub method: Method,
}

impl Resize {
    /// Width and height that a picture of `width` x `height` pixels gets. May contain 0.
    pub fn size(&self, width: usize, height: usize) -> [usize; 2] {
        let (w, h) = (width as f64, height as f64);
        // `as` truncates, as Python's int(); it saturates where that would raise
        let scaled = |factor: [f64; 2], half: f64| [(w * factor[0] + half), (h * factor[1] + half)];
        let bounds = match self.target {
            Target::Scale(scale) => scale,
            Target::Factor(factor) => scaled(factor, 0.5).map(f64::trunc),
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
        };
        if !self.keep_ratio {
            return bounds.map(|v| v as usize);
        }
        let (long, short) = (bounds[0].max(bounds[1]), bounds[0].min(bounds[1]));
        let factor = (long / w.max(h)).min(short / w.min(h));
        scaled([factor; 2], self.half).map(|v| v as usize)
    }
}

/// `n` or `(x, y)`; mmcv wants a tuple, a list is read too.
#[derive(Clone, Copy, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number or two numbers (width, height)"
)]
enum OneOrTwo {
    One(f64),
    Two([f64; 2]),
}

impl OneOrTwo {
    fn both(self) -> [f64; 2] {
        match self {
            OneOrTwo::One(v) => [v; 2],
            OneOrTwo::Two(v) => v,
        }
    }
}

#[derive(Deserialize)]
struct Config {
    scale: Option<OneOrTwo>,
    scale_factor: Option<OneOrTwo>,
    keep_ratio: Option<bool>,
    backend: Option<String>,
    interpolation: Option<String>,
    /// Of annotations.
    #[serde(rename = "clip_object_border")]
    _clip_object_border: Option<IgnoredAny>,
    /// `ResizeShortestEdge` only.
    max_size: Option<f64>,
    resize_type: Option<String>,
}

pub(super) fn build(node: &Node) -> Result<Transform, Problems> {
    plain(node, 0.5)
}

pub(super) fn fix_scale(node: &Node) -> Result<Transform, Problems> {
    plain(node, 0.0)
}

fn plain(node: &Node, half: f64) -> Result<Transform, Problems> {
    let config: Config = node.read()?;
    for (key, given) in [
        ("max_size", config.max_size.is_some()),
        ("resize_type", config.resize_type.is_some()),
    ] {
        if given {
            let message = format!("`Resize` has no option `{key}`");
            return Err(problem(node, key, message, "`ResizeShortestEdge` has"));
        }
    }
    let target = match (config.scale, config.scale_factor) {
        (Some(scale), _) => Target::Scale(positive(node, "scale", scale.both())?),
        (None, Some(factor)) => Target::Factor(positive(node, "scale_factor", factor.both())?),
        (None, None) => {
            let message = "`Resize` needs `scale` or `scale_factor`";
            return Err(problem(
                node,
                "type",
                message,
                "for example scale=(1333, 800)",
            ));
        }
    };
    finish(node, &config, target, half)
}

pub(super) fn shortest_edge(node: &Node) -> Result<Transform, Problems> {
    let config: Config = node.read()?;
    let Some(scale) = config.scale else {
        return Err(problem(
            node,
            "type",
            "`ResizeShortestEdge` needs `scale`",
            "",
        ));
    };
    let [a, b] = positive(node, "scale", scale.both())?;
    let half = match config.resize_type.as_deref() {
        None | Some("Resize" | "mmdet.Resize" | "mmcv.Resize") => 0.5,
        Some("FixScaleResize" | "mmdet.FixScaleResize") => 0.0,
        Some(other) => {
            let message = format!("`resize_type` is '{other}'");
            return Err(problem(
                node,
                "resize_type",
                message,
                "known are Resize, FixScaleResize",
            ));
        }
    };
    let most = config.max_size.filter(|m| *m > 0.0);
    finish(node, &config, Target::Shortest(a.min(b), most), half)
}

fn finish(node: &Node, config: &Config, target: Target, half: f64) -> Result<Transform, Problems> {
    let name = config.interpolation.as_deref().unwrap_or("bilinear");
    let method = match config.backend.as_deref() {
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
            return Err(problem(node, "backend", message, ""));
        }
    };
    let method = method.map_err(|help| {
        let message = format!("no interpolation '{name}'");
        problem(node, "interpolation", message, help)
    })?;
    Ok(Transform::Resize(Resize {
        target,
        keep_ratio: config.keep_ratio.unwrap_or(false),
        half,
        method,
    }))
}

fn positive(node: &Node, key: &str, values: [f64; 2]) -> Result<[f64; 2], Problems> {
    if values.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Ok(values);
    }
    Err(problem(node, key, format!("`{key}` must be positive"), ""))
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
}
