//! What differs between training and evaluating: whether a norm or dropout learns ([`Phase`]), and the numbers it draws ([`Dice`]).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::LayerKind;
use super::init::Random;

/// Asked to learn.
pub(super) const LEARN: u8 = 1;
/// Held in evaluation by `frozen_stages`.
pub(super) const FROZEN: u8 = 2;
/// Held in evaluation by `norm_eval`.
pub(super) const EVALUATE: u8 = 4;

/// How one layer behaves.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub at: String,
    pub kind: LayerKind,
    marks: AtomicU8,
    /// A build that is not for training never learns.
    able: bool,
}

impl Behaviour {
    pub fn new(at: &str, kind: LayerKind, able: bool) -> Self {
        Self {
            at: at.to_string(),
            kind,
            marks: AtomicU8::new(LEARN),
            able,
        }
    }

    pub fn mark(&self, bit: u8, set: bool) {
        if set {
            self.marks.fetch_or(bit, Relaxed);
        } else {
            self.marks.fetch_and(!bit, Relaxed);
        }
    }

    pub fn learns(&self) -> bool {
        self.able && self.marks.load(Relaxed) == LEARN
    }
}

/// Whether a layer that behaves otherwise in training is to do so now.
#[derive(Clone, Debug)]
pub struct Phase(pub(super) Arc<Behaviour>);

impl Phase {
    /// Whether it learns; never where the model was not built for training.
    pub fn learning(&self) -> bool {
        self.0.learns()
    }
}

/// Where training is.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub seed: AtomicU64,
    pub step: AtomicU64,
}

/// Random numbers of one layer, a function of the run's seed, the step and the layer's name: a run that is resumed draws the same again.
#[derive(Clone, Debug)]
pub struct Dice {
    name: String,
    clock: Arc<Clock>,
    /// Seed and step of the last draw, and how many there were since they changed: a layer may be used several times in a step.
    drawn: Arc<Mutex<([u64; 2], u64)>>,
}

impl Dice {
    pub(super) fn new(name: String, clock: Arc<Clock>) -> Self {
        Self {
            name,
            clock,
            drawn: Arc::default(),
        }
    }

    /// The next `n` numbers in `[0, 1)`.
    pub fn roll(&self, n: usize) -> Vec<f32> {
        let now = [self.clock.seed.load(Relaxed), self.clock.step.load(Relaxed)];
        let mut drawn = self
            .drawn
            .lock()
            .expect("nobody panics while counting draws");
        if drawn.0 != now {
            *drawn = (now, 0);
        }
        let stream = Random::new(&self.name).with(now[0]).with(now[1]);
        let mut stream = stream.with(drawn.1);
        drawn.1 += 1;
        (0..n).map(|_| stream.uniform()).collect()
    }

    /// `n` factors: 0 for a share of `rate`, for the others what keeps the mean at 1.
    pub fn factors(&self, rate: f64, n: usize) -> Vec<f32> {
        let kept = 1.0 / (1.0 - rate) as f32;
        let factor = |roll: f32| {
            if f64::from(roll) < rate { 0.0 } else { kept }
        };
        self.roll(n).into_iter().map(factor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_repeat_for_seed_step_and_name() {
        let clock = Arc::new(Clock::default());
        let at = |seed, step| {
            clock.seed.store(seed, Relaxed);
            clock.step.store(step, Relaxed);
        };
        let dice = |name: &str| Dice::new(name.into(), clock.clone());
        let (a, b) = (dice("a"), dice("b"));
        at(1, 7);
        let first = [a.roll(3), a.roll(3)];
        assert_ne!(first[0], first[1], "used twice in one step");
        assert_ne!(b.roll(3), first[0]);
        for other in [(1, 8), (2, 7), (7, 1)] {
            at(other.0, other.1);
            assert_ne!(a.roll(3), first[0], "{other:?}");
        }
        at(1, 7);
        assert_eq!([a.roll(3), a.roll(3)], first, "after a resume");
        let many = a.roll(10_000);
        assert!(many.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = many.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
