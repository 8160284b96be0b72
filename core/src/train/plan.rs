//! [`Plan`]: what a run is going to do with which parameters, and the learning rate of each iteration, before any of it is done.

use std::collections::BTreeSet;
use std::fmt;

use super::groups::{Group, Groups, Member};
use super::schedules::{Length, Schedules};
use super::{Clip, Optimization, Setting};
use crate::layers::Store;

/// A run as it is planned.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The optimizer's registered name.
    pub optimizer: String,
    /// Parameters that share their settings.
    pub groups: Vec<PlannedGroup>,
    /// Parameters that are frozen, and how many numbers they have.
    pub frozen: (usize, u64),
    /// Names of the schedules.
    pub schedules: Vec<&'static str>,
    /// How gradients are bounded.
    pub clip: Option<Clip>,
    /// Iterations for a step.
    pub accumulative_counts: u64,
    length: Length,
    /// One group for each of [`Plan::groups`].
    merged: Groups,
    running: Schedules,
}

/// Parameters that share their settings; PyTorch may have them in many groups.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    /// How many are trained.
    pub parameters: usize,
    /// Numbers in them.
    pub numbers: u64,
    /// The first of them.
    pub example: String,
    /// Learning rate's factor.
    pub lr_mult: f64,
    /// Weight decay's factor.
    pub decay_mult: f64,
    /// Learning rate before any schedule.
    pub lr: f64,
    /// Weight decay before any schedule.
    pub weight_decay: f64,
}

impl PlannedGroup {
    /// Of a group and its first member, before they are counted.
    fn of(group: &Group, member: &Member) -> Self {
        let number = |name: &str| {
            let initial = group.settings.number(&format!("initial_{name}"));
            let number = initial.or_else(|| group.settings.number(name));
            number.unwrap_or(0.0)
        };
        Self {
            parameters: 0,
            numbers: 0,
            example: member.key.clone(),
            lr_mult: member.lr_mult,
            decay_mult: member.decay_mult,
            lr: number("lr"),
            weight_decay: number("weight_decay"),
        }
    }
}

/// An iteration of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Number of the iteration, from 0.
    pub iter: u64,
    /// Number of its epoch, from 0.
    pub epoch: u64,
    /// Learning rate without factors.
    pub base_lr: f64,
    /// Learning rate of each of [`Plan::groups`].
    pub lr: Vec<f64>,
    /// Weight decay of each.
    pub weight_decay: Vec<f64>,
}

impl Plan {
    /// Of an optimization and schedules at their beginning.
    pub fn new(
        optimization: &Optimization,
        schedules: &Schedules,
        store: &Store,
        length: Length,
    ) -> Self {
        let groups = optimization.groups();
        let (mut planned, mut merged): (Vec<PlannedGroup>, Vec<Group>) = Default::default();
        let (mut places, mut frozen) = (Vec::new(), (0, 0));
        let members = groups.all().iter().enumerate();
        let members =
            members.flat_map(|(place, group)| group.members.iter().map(move |m| (place, group, m)));
        for (place, group, member) in members {
            let slot = store.slot(&member.key);
            let sizes = slot.iter().flat_map(|slot| slot.shape());
            let numbers = sizes.map(|n| *n as u64).product::<u64>();
            if member.asleep || slot.as_ref().is_some_and(|slot| slot.frozen()) {
                frozen = (frozen.0 + 1, frozen.1 + numbers);
                continue;
            }
            let same = merged.iter().position(|known| same(known, group));
            let at = same.unwrap_or_else(|| {
                planned.push(PlannedGroup::of(group, member));
                merged.push(Group {
                    members: vec![member.clone()],
                    settings: group.settings.clone(),
                });
                places.push(place);
                planned.len() - 1
            });
            planned[at].parameters += 1;
            planned[at].numbers += numbers;
        }
        if groups.base().is_some() {
            places.push(groups.all().len());
        }
        let mut running = schedules.clone();
        running.keep(&places);
        Self {
            optimizer: optimization.optimizer().name().to_string(),
            groups: planned,
            frozen,
            schedules: schedules.iter().map(|schedule| schedule.name()).collect(),
            clip: optimization.clip().copied(),
            accumulative_counts: optimization.accumulative_counts,
            length,
            merged: Groups::of(merged, groups.base().cloned()),
            running,
        }
    }

    /// All iterations in order. What validation decides is not known: schedules that go by it do nothing.
    pub fn iterations(&self) -> impl Iterator<Item = Planned> {
        let (mut groups, mut schedules) = (self.merged.clone(), self.running.clone());
        let length = self.length;
        (0..length.max_iters).map(move |iter| {
            let numbers = |name: &str| {
                let all = groups.all().iter();
                all.map(|group| group.settings.number(name).unwrap_or(0.0))
                    .collect()
            };
            let planned = Planned {
                iter,
                epoch: iter / length.epoch_length.max(1),
                base_lr: groups.base_lr(),
                lr: numbers("lr"),
                weight_decay: numbers("weight_decay"),
            };
            schedules.after_iter(&mut groups);
            if (iter + 1).is_multiple_of(length.epoch_length.max(1)) {
                schedules.after_epoch(&mut groups);
            }
            planned
        })
    }

    /// Iterations that tell how the learning rate goes: evenly distant ones, the first and last of each schedule, and those at which it bends.
    fn telling(&self) -> Vec<Planned> {
        /// Evenly distant ones.
        const EVEN: u64 = 8;
        /// Bends beyond which no more are told.
        const BENDS: usize = 24;
        let last = self.length.max_iters.saturating_sub(1);
        let mut wanted: BTreeSet<u64> = (0..=EVEN)
            .map(|i| last / EVEN * i + last % EVEN * i / EVEN)
            .collect();
        for schedule in self.running.iter() {
            let span = schedule.span();
            let step = if span.by_epoch {
                self.length.epoch_length
            } else {
                1
            };
            for edge in [span.begin, span.end] {
                wanted.insert((edge.max(0.0) as u64).saturating_mul(step));
            }
        }
        let (mut told, mut bends) = (Vec::new(), 0);
        let mut before: [Option<Planned>; 2] = [None, None];
        let mut tell = |a: &Option<Planned>, b: Planned, c: Option<&Planned>| {
            let bend = a.as_ref().zip(c).map(|(a, c)| {
                let bend = (a.base_lr - 2.0 * b.base_lr + c.base_lr).abs();
                bend > 0.01 * a.base_lr.max(c.base_lr)
            });
            let bent = bend == Some(true) && bends < BENDS;
            bends += usize::from(bent);
            if bent || wanted.contains(&b.iter) {
                told.push(b);
            }
        };
        for planned in self.iterations() {
            let [a, b] = before;
            if let Some(b) = b.clone() {
                tell(&a, b, Some(&planned));
            }
            before = [b, Some(planned)];
        }
        if let [a, Some(b)] = before {
            tell(&a, b, None);
        }
        told
    }
}

/// Whether groups have the same settings, but for what only names them.
fn same(a: &Group, b: &Group) -> bool {
    let naming = ["group_name", "param_name", "layer_id"];
    let own = |group: &Group| -> Vec<(String, Setting)> {
        let all = group
            .settings
            .iter()
            .filter(|(name, _)| !naming.contains(name));
        let mut all: Vec<_> = all
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    };
    own(a) == own(b)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = self
            .groups
            .iter()
            .map(|group| group.parameters)
            .sum::<usize>();
        let numbers = self.groups.iter().map(|group| group.numbers).sum::<u64>();
        write!(
            f,
            "{}: {parameters} parameters, {numbers} numbers",
            self.optimizer
        )?;
        if self.frozen.0 > 0 {
            write!(f, "; frozen: {}, {} numbers", self.frozen.0, self.frozen.1)?;
        }
        if let Some(clip) = self.clip {
            match clip {
                Clip::Norm {
                    most, kind: 2.0, ..
                } => write!(f, "; gradients of norm {most} at most")?,
                Clip::Norm { most, kind, .. } => {
                    write!(f, "; gradients of {kind}-norm {most} at most")?;
                }
                Clip::Each { most, .. } => {
                    write!(f, "; each parameter's gradient to a norm of {most}")?;
                }
                Clip::Value(most) => write!(f, "; gradients from -{most} to {most}")?,
            }
        }
        if self.accumulative_counts > 1 {
            write!(f, "; a step every {} iterations", self.accumulative_counts)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:>10} {:>12} {:>12} {:>12}  such as",
            "parameters", "numbers", "lr", "weight_decay"
        )?;
        for group in &self.groups {
            writeln!(
                f,
                "{:>10} {:>12} {:>12} {:>12}  {}",
                group.parameters,
                group.numbers,
                short(group.lr),
                short(group.weight_decay),
                group.example
            )?;
        }
        let names = match self.schedules.as_slice() {
            [] => "no schedule".to_string(),
            names => names.join(", "),
        };
        writeln!(
            f,
            "{names}: {} iterations, {} an epoch",
            self.length.max_iters, self.length.epoch_length
        )?;
        writeln!(f, "{:>10} {:>12} {:>12}", "epoch", "iteration", "lr")?;
        for planned in self.telling() {
            let (epoch, iter) = (planned.epoch + 1, planned.iter + 1);
            writeln!(f, "{epoch:>10} {iter:>12} {:>12}", short(planned.base_lr))?;
        }
        Ok(())
    }
}

/// Four digits that count.
fn short(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    if (1e-4..1e6).contains(&rounded.abs()) {
        return rounded.to_string();
    }
    format!("{rounded:e}")
}
