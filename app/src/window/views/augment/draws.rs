//! What a step drew this time, number by number: shown on the range that it came from, and pinned when it is dragged.

use std::ops::RangeInclusive;

use serde_json::Value as Json;
use smalti::data::trace::Trace;
use smalti::data::transforms::Pin;

use super::options::Choice;

/// A number, a flag or a word that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// Its place in the draws, as a JSON pointer.
    pub pointer: String,
    /// Its name for people.
    pub name: String,
    /// Its value.
    pub value: Json,
}

/// Values of one step's draws that are shown; long lists are cut.
const MOST: usize = 24;

/// All that a step drew.
pub fn of(params: &Json) -> Vec<Drawn> {
    let mut all = Vec::new();
    collect(params, "", "", &mut all);
    all.truncate(MOST);
    all
}

fn collect(value: &Json, pointer: &str, name: &str, all: &mut Vec<Drawn>) {
    let with = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name} {key}"),
    };
    match value {
        Json::Object(map) => {
            for (key, inner) in map {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                collect(inner, &format!("{pointer}/{escaped}"), &with(key), all);
            }
        }
        Json::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                let part = match (items.len(), i) {
                    (2, 0) => "x".to_owned(),
                    (2, 1) => "y".to_owned(),
                    _ => (i + 1).to_string(),
                };
                collect(inner, &format!("{pointer}/{i}"), &with(&part), all);
            }
        }
        // which way, also if none
        Json::Null if !pointer.ends_with("/direction") => {}
        value => all.push(Drawn {
            pointer: pointer.to_owned(),
            name: if name.is_empty() { "value" } else { name }.to_owned(),
            value: value.clone(),
        }),
    }
}

/// The draws with another value at a place.
pub fn with(params: &Json, pointer: &str, value: Json) -> Json {
    let mut params = params.clone();
    if let Some(place) = params.pointer_mut(pointer) {
        *place = value;
    }
    params
}

/// What links a draw to the option whose range it came from: (transform, option, draw, how).
const LINKS: &[(&str, &str, &str, Link)] = &[
    ("Mosaic", "center_ratio_range", "/center/0", Link::Scaled(0)),
    ("Mosaic", "center_ratio_range", "/center/1", Link::Scaled(1)),
    (
        "RandomAffine",
        "max_rotate_degree",
        "/rotate_degree",
        Link::Both,
    ),
    (
        "RandomAffine",
        "scaling_ratio_range",
        "/scaling_ratio",
        Link::Same,
    ),
    (
        "RandomAffine",
        "max_shear_degree",
        "/shear_degree/0",
        Link::Both,
    ),
    (
        "RandomAffine",
        "max_shear_degree",
        "/shear_degree/1",
        Link::Both,
    ),
    (
        "RandomAffine",
        "max_translate_ratio",
        "/translate_ratio/0",
        Link::Both,
    ),
    (
        "RandomAffine",
        "max_translate_ratio",
        "/translate_ratio/1",
        Link::Both,
    ),
    ("MixUp", "ratio_range", "/ratio", Link::Same),
    ("Expand", "ratio_range", "/ratio", Link::Same),
    (
        "PhotoMetricDistortion",
        "brightness_delta",
        "/brightness",
        Link::Both,
    ),
    (
        "PhotoMetricDistortion",
        "contrast_range",
        "/contrast",
        Link::Same,
    ),
    (
        "PhotoMetricDistortion",
        "saturation_range",
        "/saturation",
        Link::Same,
    ),
    ("PhotoMetricDistortion", "hue_delta", "/hue", Link::Both),
    ("YOLOXHSVRandomAug", "hue_delta", "/hue", Link::Both),
    (
        "YOLOXHSVRandomAug",
        "saturation_delta",
        "/saturation",
        Link::Both,
    ),
    ("YOLOXHSVRandomAug", "value_delta", "/value", Link::Both),
];

/// How a draw lies in an option's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// It is drawn from it.
    Same,
    /// It is drawn from minus the option to the option.
    Both,
    /// It is drawn from it in units of `img_scale`, along x or y.
    Scaled(usize),
}

/// Where a draw of a transform may lie, if that is known.
pub fn span(name: &str, pointer: &str, options: &[Choice]) -> Option<RangeInclusive<f64>> {
    let (_, key, _, link) = LINKS.iter().find(|l| (l.0, l.2) == (name, pointer))?;
    let option = options.iter().find(|o| o.key == *key)?;
    let values = option.values();
    match (link, values[..].first().zip(values.get(1))) {
        (Link::Same, Some((low, high))) if low < high => Some(*low..=*high),
        (Link::Both, _) => {
            let most = values.first()?.abs();
            (most > 0.0).then_some(-most..=most)
        }
        (Link::Scaled(axis), Some(_)) => {
            let scale = options.iter().find(|o| o.key == "img_scale")?.values();
            Some(0.0..=2.0 * scale.get(*axis)?)
        }
        _ => None,
    }
}

/// Where the draws lie on an option's rail.
pub fn ticks(name: &str, option: &str, params: Option<&Json>, options: &[Choice]) -> Vec<f64> {
    let Some(params) = params.filter(|p| p.get("apply") != Some(&Json::Bool(false))) else {
        return Vec::new();
    };
    let links = LINKS.iter().filter(|l| (l.0, l.1) == (name, option));
    let tick = |l: &(&str, &str, &str, Link)| {
        let value = params.pointer(l.2)?.as_f64()?;
        Some(match l.3 {
            Link::Same => value,
            Link::Both => value.abs(),
            Link::Scaled(axis) => {
                let scale = options.iter().find(|o| o.key == "img_scale")?.values();
                value / scale.get(axis)?
            }
        })
    };
    links.filter_map(tick).collect()
}

/// Draws that are pinned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pins(Vec<Pin>);

impl Pins {
    /// All.
    pub fn all(&self) -> &[Pin] {
        &self.0
    }

    /// None any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a draw of a trace is pinned.
    pub fn has(&self, trace: &Trace, at: usize) -> bool {
        self.get(trace, at).is_some()
    }

    /// What a draw is pinned to.
    pub fn get(&self, trace: &Trace, at: usize) -> Option<&Json> {
        let pin = trace.pin(at, None)?;
        let is = |p: &&Pin| (&p.name, p.nth) == (&pin.name, pin.nth);
        self.0.iter().find(is).map(|p| &p.params)
    }

    /// Keeps a draw as it is, or makes it `params`.
    pub fn set(&mut self, trace: &Trace, at: usize, params: Option<Json>) {
        if let Some(pin) = trace.pin(at, params) {
            self.0.retain(|p| (&p.name, p.nth) != (&pin.name, pin.nth));
            self.0.push(pin);
        }
    }

    /// Lets a draw go.
    pub fn unset(&mut self, trace: &Trace, at: usize) {
        if let Some(pin) = trace.pin(at, None) {
            self.0.retain(|p| (&p.name, p.nth) != (&pin.name, pin.nth));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use smalti::config::parse_value;

    use super::super::options;
    use super::*;

    #[test]
    fn draws_have_names_places_and_ranges() {
        let params =
            json!({"apply": true, "center": [300, 400], "none": null, "flip": "horizontal"});
        let all: Vec<_> = of(&params)
            .into_iter()
            .map(|d| (d.name, d.pointer))
            .collect();
        let expected = [
            ("apply", "/apply"),
            ("center x", "/center/0"),
            ("center y", "/center/1"),
            ("flip", "/flip"),
        ];
        assert_eq!(all, expected.map(|(n, p)| (n.to_owned(), p.to_owned())));
        assert_eq!(
            with(&params, "/center/1", json!(7))["center"],
            json!([300, 7])
        );
        let node = parse_value("dict(type='Mosaic', img_scale=(320, 160))").unwrap();
        let options = options::of("Mosaic", &node);
        assert_eq!(span("Mosaic", "/center/1", &options), Some(0.0..=320.0));
        let ticks = ticks("Mosaic", "center_ratio_range", Some(&params), &options);
        assert_eq!(ticks, [300.0 / 320.0, 2.5]);
        assert_eq!(span("Mosaic", "/apply", &options), None);
    }
}
