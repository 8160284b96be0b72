//! The options of a transform that can be dragged: numbers, pairs and chances, each with the range that it is dragged in.

use std::ops::RangeInclusive;

use smalti::config::{Node, Value, parse_value, text};

/// An option.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its key below the transform, such as `pad_val.img`.
    pub key: String,
    /// Its value.
    pub node: Node,
    /// The config says it; else it is the transform's default.
    pub is_said: bool,
    /// How it is shown.
    pub shape: Shape,
}

/// How an option is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Yes or no.
    Flag,
    /// A rail with one handle for each number.
    Numbers,
    /// A rail with two handles: from the first to the second.
    Range,
}

/// What transforms do where the config says nothing, as Python; only what is worth a slider.
const DEFAULTS: &[(&str, &[(&str, &str)])] = &[
    (
        "Mosaic",
        &[
            ("img_scale", "(640, 640)"),
            ("center_ratio_range", "(0.5, 1.5)"),
            ("pad_val", "114.0"),
            ("prob", "1.0"),
        ],
    ),
    (
        "CachedMosaic",
        &[
            ("img_scale", "(640, 640)"),
            ("center_ratio_range", "(0.5, 1.5)"),
            ("pad_val", "114.0"),
            ("prob", "1.0"),
        ],
    ),
    (
        "RandomAffine",
        &[
            ("max_rotate_degree", "10.0"),
            ("max_translate_ratio", "0.1"),
            ("scaling_ratio_range", "(0.5, 1.5)"),
            ("max_shear_degree", "2.0"),
            ("border", "(0, 0)"),
        ],
    ),
    (
        "MixUp",
        &[
            ("img_scale", "(640, 640)"),
            ("ratio_range", "(0.5, 1.5)"),
            ("flip_ratio", "0.5"),
            ("pad_val", "114.0"),
        ],
    ),
    (
        "CachedMixUp",
        &[
            ("img_scale", "(640, 640)"),
            ("ratio_range", "(0.5, 1.5)"),
            ("flip_ratio", "0.5"),
            ("pad_val", "114.0"),
            ("prob", "1.0"),
        ],
    ),
    (
        "YOLOXHSVRandomAug",
        &[
            ("hue_delta", "5"),
            ("saturation_delta", "30"),
            ("value_delta", "30"),
        ],
    ),
    (
        "PhotoMetricDistortion",
        &[
            ("brightness_delta", "32"),
            ("contrast_range", "(0.5, 1.5)"),
            ("saturation_range", "(0.5, 1.5)"),
            ("hue_delta", "18"),
        ],
    ),
    ("Expand", &[("ratio_range", "(1, 4)"), ("prob", "0.5")]),
    ("RandomShift", &[("prob", "0.5"), ("max_shift_px", "32")]),
    ("RandomApply", &[("prob", "0.5")]),
    ("MinIoURandomCrop", &[("min_crop_size", "0.3")]),
];

/// Numbers that a rail shows at most.
const MOST: usize = 4;

/// The options of the transform `name`, those that the config says first.
pub fn of(name: &str, node: &Node) -> Vec<Choice> {
    let mut all = Vec::new();
    collect(node, "", &mut all);
    let defaults = DEFAULTS.iter().find(|(of, _)| *of == name);
    for (key, default) in defaults.into_iter().flat_map(|(_, keys)| *keys) {
        if node.get(key).is_none()
            && let Ok(default) = parse_value(default)
            && let Some(shape) = shape(key, &default)
        {
            all.push(Choice {
                key: (*key).to_owned(),
                node: default,
                is_said: false,
                shape,
            });
        }
    }
    all
}

/// The default of an option, as Python.
pub fn default_of(name: &str, key: &str) -> Option<&'static str> {
    let (_, keys) = DEFAULTS.iter().find(|(of, _)| *of == name)?;
    keys.iter().find(|(k, _)| *k == key).map(|(_, text)| *text)
}

fn collect(node: &Node, path: &str, all: &mut Vec<Choice>) {
    let Some(dict) = node.as_dict() else { return };
    for (key, entry) in dict.iter() {
        let Some(key) = key.as_str().filter(|key| *key != "type") else {
            continue;
        };
        let key = match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        match shape(&key, &entry.node) {
            Some(shape) => all.push(Choice {
                key,
                node: entry.node.clone(),
                is_said: true,
                shape,
            }),
            // `pad_val=dict(img=...)`, but no transform within this one
            None if entry.node.get("type").is_none() => collect(&entry.node, &key, all),
            None => {}
        }
    }
}

fn shape(key: &str, node: &Node) -> Option<Shape> {
    match &node.value {
        Value::Bool(_) => Some(Shape::Flag),
        Value::Int(_) | Value::Float(_) => Some(Shape::Numbers),
        Value::List(items) | Value::Tuple(items) => {
            let numbers = |n: &Node| matches!(n.value, Value::Int(_) | Value::Float(_));
            if items.is_empty() || items.len() > MOST || !items.iter().all(numbers) {
                return None;
            }
            let is_range = items.len() == 2 && key.ends_with("_range");
            Some(if is_range {
                Shape::Range
            } else {
                Shape::Numbers
            })
        }
        _ => None,
    }
}

impl Choice {
    /// Its numbers; none of a flag.
    pub fn values(&self) -> Vec<f64> {
        match self.node.as_items() {
            Some(items) => items.iter().filter_map(Node::as_float).collect(),
            None => self.node.as_float().into_iter().collect(),
        }
    }

    /// Whether all are whole numbers.
    pub fn is_whole(&self) -> bool {
        let whole = |n: &Node| matches!(n.value, Value::Int(_));
        match self.node.as_items() {
            Some(items) => items.iter().all(whole),
            None => whole(&self.node),
        }
    }

    /// The value with other numbers, as Python: whole numbers stay whole, a tuple a tuple.
    pub fn text(&self, values: &[f64]) -> String {
        let whole = self.is_whole();
        let number = |v: &f64| match whole {
            true => format!("{v:.0}"),
            false => text::float((v * 1e4).round() / 1e4),
        };
        let numbers: Vec<String> = values.iter().map(number).collect();
        let list = numbers.join(", ");
        match (&self.node.value, values.len()) {
            (Value::List(_), _) => format!("[{list}]"),
            (Value::Tuple(_), 1) => format!("({list},)"),
            (Value::Tuple(_), _) => format!("({list})"),
            _ => list,
        }
    }

    /// Where its numbers are dragged.
    pub fn span(&self) -> RangeInclusive<f64> {
        let key = self.key.rsplit('.').next().unwrap_or(&self.key);
        let key = if self.key.contains("pad_val") {
            "pad_val"
        } else {
            key
        };
        let largest = self.values().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let least_negative = self.values().iter().any(|v| *v < 0.0);
        // in steps, so that it does not grow under the pointer
        let room = |least: f64| {
            let mut most = least;
            while most < largest {
                most *= 2.0;
            }
            most
        };
        match key {
            "center_ratio_range" => 0.0..=2.0,
            "max_translate_ratio" | "min_crop_size" | "bbox_erased_thr" => 0.0..=1.0,
            "max_rotate_degree" => 0.0..=180.0,
            "max_shear_degree" => 0.0..=45.0,
            "pad_val" | "border_val" | "img_border_value" | "fill_in" | "mean" => 0.0..=255.0,
            "hue_delta" => 0.0..=90.0,
            "saturation_delta" | "value_delta" | "brightness_delta" => 0.0..=128.0,
            "contrast_range" | "saturation_range" => 0.0..=room(3.0),
            "border" => -room(640.0)..=room(640.0),
            "img_scale" | "scale" | "crop_size" | "size" => 16.0..=room(1280.0),
            "scaling_ratio_range" | "ratio_range" => 0.1..=room(4.0),
            "level" => 0.0..=10.0,
            _ if is_chance(key) => 0.0..=1.0,
            _ if least_negative => -room(1.0)..=room(1.0),
            _ => 0.0..=room(1.0),
        }
    }
}

fn is_chance(key: &str) -> bool {
    key == "prob" || key.ends_with("_prob") || key == "flip_ratio"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, text: &str) -> Vec<Choice> {
        of(name, &parse_value(text).unwrap())
    }

    #[test]
    fn numbers_pairs_and_chances_have_sliders() {
        let text = "dict(type='Pad', size=(64, 48), pad_val=dict(img=(114.0, 1.0, 2.0), seg=255), pad_to_square=True, padding_mode='constant', x=[(1, 2)], inner=dict(type='B', k=1))";
        let keys: Vec<_> = options("Pad", text)
            .into_iter()
            .map(|o| (o.key, o.shape))
            .collect();
        assert_eq!(
            keys,
            [
                ("size".to_owned(), Shape::Numbers),
                ("pad_val.img".to_owned(), Shape::Numbers),
                ("pad_val.seg".to_owned(), Shape::Numbers),
                ("pad_to_square".to_owned(), Shape::Flag)
            ]
        );
        let mosaic = options(
            "Mosaic",
            "dict(type='Mosaic', center_ratio_range=(0.75, 1))",
        );
        assert_eq!(mosaic[0].shape, Shape::Range);
        assert_eq!(
            mosaic.iter().map(|o| o.is_said).collect::<Vec<_>>(),
            [true, false, false, false]
        );
    }

    #[test]
    fn values_are_written_as_python_has_them() {
        let text = |value: &str, new: &[f64]| {
            let all = options("X", &format!("dict(type='X', k={value})"));
            all[0].text(new)
        };
        assert_eq!(text("(1, 2)", &[3.4, 5.0]), "(3, 5)");
        assert_eq!(text("[0.5, 2]", &[0.123_456, 1.0]), "[0.1235, 1.0]");
        assert_eq!(text("1.0", &[0.0]), "0.0");
        assert_eq!(text("(1,)", &[2.0]), "(2,)");
        let all = options("X", "dict(type='X', border=(-320, -320))");
        assert_eq!(all[0].span(), -640.0..=640.0);
    }
}
