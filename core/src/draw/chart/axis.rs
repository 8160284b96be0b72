//! [`Axis`]: how values become places, and which of them are named.

/// How an axis is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it counts, with its unit.
    pub label: String,
    /// First and last value; `None`: around what is drawn.
    pub range: Option<[f64; 2]>,
    /// Equal factors are equally far apart; what is not above 0 is not drawn.
    pub log: bool,
}

impl Axis {
    /// Around what is drawn.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// From `first` to `last`.
    pub fn within(label: impl Into<String>, first: f64, last: f64) -> Self {
        Self {
            range: Some([first, last]),
            ..Self::new(label)
        }
    }

    /// By factors.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            log: true,
            ..Self::new(label)
        }
    }

    /// Where a value lies, before it is scaled.
    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }
}

/// An axis as it is drawn: the place of values, and where there are ticks.
pub(super) struct Scale<'a> {
    axis: &'a Axis,
    /// Places of the first and the last value.
    pub ends: [f64; 2],
    pub ticks: Vec<f64>,
}

impl<'a> Scale<'a> {
    /// `values` are what is drawn; about `count` ticks.
    pub fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, count: usize) -> Self {
        let seen = values.map(|v| axis.place(v)).filter(|v| v.is_finite());
        let seen = seen.fold(None, |ends: Option<[f64; 2]>, v| {
            let [low, high] = ends.unwrap_or([v, v]);
            Some([low.min(v), high.max(v)])
        });
        let given = axis.range.map(|r| r.map(|v| axis.place(v)));
        let given = given.filter(|r| r.iter().all(|v| v.is_finite()) && r[0] < r[1]);
        let [mut low, mut high] = given.or(seen).unwrap_or([0.0, 1.0]);
        if given.is_none() {
            if high - low < 1e-12 * high.abs().max(1e-300) || high == low {
                let around = if high == 0.0 { 1.0 } else { high.abs() / 2.0 };
                (low, high) = (low - around, high + around);
            }
            let step = step(low, high, count);
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        let ends = [low, high];
        let ticks = match axis.log {
            true if high - low >= 1.0 => {
                let every = ((high - low) / count.max(1) as f64).ceil().max(1.0);
                let first = low.ceil();
                let number = ((high - first) / every).floor().max(0.0) as usize;
                (0..=number).map(|i| first + i as f64 * every).collect()
            }
            _ => {
                let step = step(low, high, count);
                let first = (low / step - 1e-9).ceil();
                let number = ((high / step + 1e-9).floor() - first).max(0.0) as usize;
                (0..=number.min(100))
                    .map(|i| (first + i as f64) * step)
                    .collect()
            }
        };
        Self { axis, ends, ticks }
    }

    /// 0 at the first value, 1 at the last.
    pub fn share(&self, value: f64) -> f64 {
        self.share_of(self.axis.place(value))
    }

    pub fn share_of(&self, place: f64) -> f64 {
        (place - self.ends[0]) / (self.ends[1] - self.ends[0])
    }

    /// Text of a tick.
    pub fn text(&self, tick: f64) -> String {
        if self.axis.log {
            return number(10_f64.powf(tick), 10_f64.powf(tick));
        }
        let step = match self.ticks[..] {
            [a, b, ..] => b - a,
            _ => tick,
        };
        number(tick, step)
    }
}

/// 1, 2 or 5 times a power of ten: so many of them that there are about `count`.
fn step(low: f64, high: f64, count: usize) -> f64 {
    let raw = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|s| s * power);
    steps
        .into_iter()
        .find(|s| *s >= raw * 0.999)
        .unwrap_or(10.0 * power)
}

/// A value with as many digits as its neighbours need, which are `step` away.
fn number(value: f64, step: f64) -> String {
    let most = value.abs().max(step.abs());
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&most) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = (-(step.abs().max(1e-12).log10()).floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let ticks = |low: f64, high: f64, count: usize| {
            let axis = Axis::within("", low, high);
            let scale = Scale::new(&axis, std::iter::empty(), count);
            let texts: Vec<String> = scale.ticks.iter().map(|t| scale.text(*t)).collect();
            texts.join(" ")
        };
        assert_eq!(ticks(0.0, 1.0, 5), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(ticks(0.0, 7330.0, 4), "0 2000 4000 6000");
        assert_eq!(ticks(-0.03, 0.05, 4), "-0.02 0 0.02 0.04");
        assert_eq!(ticks(0.0, 3e7, 3), "0 1e7 2e7 3e7");
        let axis = Axis::log("");
        let scale = Scale::new(&axis, [1e-5, 2e-2, 0.0, -1.0].into_iter(), 4);
        let texts: Vec<String> = scale.ticks.iter().map(|t| scale.text(*t)).collect();
        assert_eq!(texts.join(" "), "1e-5 1e-4 0.001 0.01 0.1");
    }
}
