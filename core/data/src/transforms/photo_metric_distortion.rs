//! `PhotoMetricDistortion` of mmdet 3.3 (SSD, Liu et al. 2016, arXiv 1512.02325, section 2.2): brightness, contrast, saturation, hue and the
//! order of channels, each with a chance of one half. The picture is f32 afterwards, also where nothing was changed.

use serde::Deserialize;

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Photometric, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Distorts colours.
#[derive(Clone, Debug, PartialEq)]
pub struct PhotoMetricDistortion {
    brightness_delta: f64,
    contrast_range: [f64; 2],
    saturation_range: [f64; 2],
    hue_delta: f64,
}

impl Draws for PhotoMetricDistortion {
    type Drawn = Photometric;

    fn name(&self) -> &'static str {
        "PhotoMetricDistortion"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<Photometric, Fault> {
        let mut flags = [false; 6];
        for flag in &mut flags {
            *flag = random.randint_below(2)? != 0;
        }
        let [contrast_first, brightness, contrast, saturation, hue, swap] = flags;
        // all are drawn, used or not
        let delta = random.uniform(-self.brightness_delta, self.brightness_delta)?;
        let alpha = random.uniform(self.contrast_range[0], self.contrast_range[1])?;
        let factor = random.uniform(self.saturation_range[0], self.saturation_range[1])?;
        let degrees = random.uniform(-self.hue_delta, self.hue_delta)?;
        let order = random.permutation(3)?;
        let order: Vec<usize> = order.iter().map(|i| *i as usize).collect();
        let order = <[usize; 3]>::try_from(order)
            .map_err(|o| Fault::Transform(format!("{o:?} is no order of three channels")))?;
        Ok(Photometric {
            brightness: brightness.then_some(delta as f32),
            contrast_first,
            contrast: contrast.then_some(alpha as f32),
            saturation: saturation.then_some(factor as f32),
            hue: hue.then_some(degrees as f32),
            swap: swap.then_some(order),
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &Photometric, pixels: &Pixels) -> Outcome {
        if sample.image.channels() != 3 {
            let message = "`PhotoMetricDistortion` needs a picture of three channels";
            return Err(Fault::Transform(message.into()));
        }
        if let Some(order) = drawn.swap.filter(|o| o.iter().any(|c| *c > 2)) {
            let message = format!("{order:?} is no order of three channels");
            return Err(Fault::Transform(message));
        }
        sample.image = pixels.run(&sample.image, &Op::Photometric(drawn.clone()))?;
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    brightness_delta: Option<f64>,
    contrast_range: Option<[f64; 2]>,
    saturation_range: Option<[f64; 2]>,
    hue_delta: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(PhotoMetricDistortion {
        brightness_delta: config.brightness_delta.unwrap_or(32.0),
        contrast_range: config.contrast_range.unwrap_or([0.5, 1.5]),
        saturation_range: config.saturation_range.unwrap_or([0.5, 1.5]),
        hue_delta: config.hue_delta.unwrap_or(18.0),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::hand_made::{first_channel, grey, mistakes, plain, replayed, with_params};
    use crate::image::Depth;

    /// `mode`, the five flags, and the values.
    fn draws(flags: [i64; 6], values: [f64; 4], order: [i64; 3]) -> Json {
        let mut draws: Vec<Json> = flags
            .iter()
            .map(|flag| json!(["np.randint", [2], {}, flag]))
            .collect();
        let ranges = [[-32.0, 32.0], [0.5, 1.5], [0.5, 1.5], [-18.0, 18.0]];
        for (range, value) in ranges.iter().zip(values) {
            draws.push(json!(["np.uniform", range, {}, value]));
        }
        draws.push(json!(["np.permutation", [3], {}, order]));
        draws.into()
    }

    #[test]
    fn brightness_then_contrast() {
        let text = "dict(type='PhotoMetricDistortion')";
        let all = draws([1, 1, 1, 0, 0, 0], [10.0, 0.5, 1.5, 3.0], [2, 0, 1]);
        let (sample, saved) = replayed(text, grey([2, 1], &[10, 100]), all);
        let sample = sample.unwrap();
        // (v + 10) * 0.5; grey has no hue to lose
        assert_eq!(first_channel(&sample), [10.0, 55.0]);
        assert_eq!(sample.image.depth(), Depth::F32);
        let expected = json!({"brightness": 10.0, "contrast_first": true, "contrast": 0.5,
            "saturation": null, "hue": null, "swap": null});
        assert_eq!(saved[0].params, expected);
    }

    #[test]
    fn nothing_drawn_still_makes_floats() {
        let text = "dict(type='PhotoMetricDistortion')";
        let none = draws([0; 6], [10.0, 0.5, 1.5, 3.0], [2, 0, 1]);
        let (sample, _) = replayed(text, plain([2, 1], 7), none);
        assert_eq!(sample.unwrap().image.depth(), Depth::F32);
    }

    #[test]
    fn options_and_strangers() {
        let text = "dict(type='PhotoMetricDistortion', contrast_range=(1, 2, 3))";
        assert_eq!(mistakes(text).len(), 1);
        let text = "dict(type='PhotoMetricDistortion')";
        let params = json!({"brightness": null, "contrast_first": false, "contrast": null,
            "saturation": null, "hue": null, "swap": [0, 1, 7]});
        assert!(with_params(text, plain([1, 1], 7), params).is_err());
    }
}
