//! `YOLOXHSVRandomAug` of mmdet 3.3 (YOLOX, Ge et al. 2021, arXiv 2107.08430): whole numbers added to hue, saturation and value.

use serde::{Deserialize, Serialize};

use super::{Draws, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::pixels::{Op, Pixels};
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node};

/// Shifts hue, saturation and value.
#[derive(Clone, Debug, PartialEq)]
pub struct YoloxHsvRandomAug {
    deltas: [f64; 3],
}

/// What is added, in OpenCV's u8 HSV: hue in steps of two degrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HsvGains {
    pub hue: i16,
    pub saturation: i16,
    pub value: i16,
}

impl Draws for YoloxHsvRandomAug {
    type Drawn = HsvGains;

    fn name(&self) -> &'static str {
        "YOLOXHSVRandomAug"
    }

    fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<HsvGains, Fault> {
        let shares = random.uniform_n(-1.0, 1.0, 3)?;
        let used = random.randint_n(0, 2, 3)?;
        let mut gains = [0; 3];
        for (i, gain) in gains.iter_mut().enumerate() {
            let share = shares.get(i).copied().unwrap_or(0.0);
            let used = used.get(i).copied().unwrap_or(0) as f64;
            // numpy's astype(int16): truncates and wraps
            *gain = (share * self.deltas[i] * used) as i64 as i16;
        }
        let [hue, saturation, value] = gains;
        Ok(HsvGains {
            hue,
            saturation,
            value,
        })
    }

    fn apply(&self, mut sample: Sample, drawn: &HsvGains, pixels: &Pixels) -> Outcome {
        let gains = [drawn.hue, drawn.saturation, drawn.value];
        sample.image = pixels.run(&sample.image, &Op::Hsv { gains })?;
        Ok(Some(sample))
    }
}

#[derive(Deserialize)]
struct Config {
    hue_delta: Option<f64>,
    saturation_delta: Option<f64>,
    value_delta: Option<f64>,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Config = node.read()?;
    Ok(Box::new(YoloxHsvRandomAug {
        deltas: [
            config.hue_delta.unwrap_or(5.0),
            config.saturation_delta.unwrap_or(30.0),
            config.value_delta.unwrap_or(30.0),
        ],
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{first_channel, grey, replayed, with_params};

    #[test]
    fn gains_truncate() {
        let text = "dict(type='YOLOXHSVRandomAug', hue_delta=10)";
        let draws = json!([
            ["np.uniform", [-1, 1, 3], {}, [0.99, -0.99, -0.5]],
            ["np.randint", [0, 2, 3], {}, [1, 0, 1]],
        ]);
        let (sample, saved) = replayed(text, grey([2, 1], &[10, 100]), draws);
        let expected = json!({"hue": 9, "saturation": 0, "value": -15});
        assert_eq!(saved[0].params, expected);
        // of grey the value is the pixel, and hue changes nothing
        assert_eq!(first_channel(&sample.unwrap()), [0.0, 85.0]);
    }

    #[test]
    fn any_saved_gains() {
        let text = "dict(type='YOLOXHSVRandomAug')";
        let run = |hue: i64| {
            let params = json!({"hue": hue, "saturation": -32768, "value": 32767});
            with_params(text, grey([1, 1], &[10]), params)
        };
        let sample = run(-32768).unwrap().unwrap();
        assert_eq!(first_channel(&sample), [255.0]);
        assert!(run(40000).is_err());
    }
}
