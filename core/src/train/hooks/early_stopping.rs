//! `EarlyStoppingHook` of MMEngine 0.10: ends a run whose figure gets no better.

use serde::Deserialize;

use super::checkpoint::Rule;
use super::{Figures, Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node, error_at};
use crate::train::Stop;
use crate::train::run::Run;
use crate::weights::Plain;

/// Waits for a better figure.
struct EarlyStoppingHook {
    monitor: String,
    rule: Rule,
    min_delta: f64,
    strict: bool,
    check_finite: bool,
    patience: u64,
    stopping_threshold: Option<f64>,
    waited: u64,
    best: f64,
}

#[derive(Deserialize)]
struct Config {
    monitor: String,
    rule: Option<String>,
    min_delta: Option<f64>,
    strict: Option<bool>,
    check_finite: Option<bool>,
    patience: Option<u64>,
    stopping_threshold: Option<f64>,
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let config: Config = node.read_knowing(OWN)?;
    let rule = Rule::read(config.rule.as_deref(), &config.monitor);
    let rule = rule.map_err(|message| {
        error_at(node, "rule", message, "write rule='greater' or rule='less'")
    })?;
    Ok(Box::new(EarlyStoppingHook {
        monitor: config.monitor,
        rule,
        min_delta: config.min_delta.unwrap_or(0.1),
        strict: config.strict.unwrap_or(false),
        check_finite: config.check_finite.unwrap_or(true),
        patience: config.patience.unwrap_or(5),
        stopping_threshold: config.stopping_threshold,
        waited: 0,
        best: rule.worst(),
    }))
}

impl EarlyStoppingHook {
    /// Why to end at this figure, if so.
    fn why(&mut self, now: f64) -> Option<String> {
        let monitor = &self.monitor;
        if self.check_finite && !now.is_finite() {
            return Some(format!(
                "`{monitor}` is {now}; the best was {:.3}",
                self.best
            ));
        }
        if let Some(threshold) = self.stopping_threshold
            && self.rule.better(now, threshold)
        {
            self.best = now;
            return Some(format!("`{monitor}` is {now:.3}, past {threshold}"));
        }
        let delta = match self.rule {
            Rule::Greater => self.min_delta,
            Rule::Less => -self.min_delta,
        };
        if self.rule.better(self.best + delta, now) {
            self.waited += 1;
            let (waited, best) = (self.waited, self.best);
            let over = waited >= self.patience;
            return over.then(|| {
                format!(
                    "`{monitor}` did not get better in {waited} validations; the best was {best:.3}"
                )
            });
        }
        (self.best, self.waited) = (now, 0);
        None
    }
}

impl Hook for EarlyStoppingHook {
    fn name(&self) -> &'static str {
        "EarlyStoppingHook"
    }

    fn after_load_checkpoint(&mut self, run: &mut Run) -> Step {
        // MMEngine forgets both; a run that goes on is to end where it would have.
        let number = |key: &str| run.info.get(key).and_then(Plain::float);
        if let (Some(best), Some(waited)) = (
            number("early_stopping_best"),
            number("early_stopping_waited"),
        ) {
            (self.best, self.waited) = (best, waited as u64);
        }
        Ok(())
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        let Some((_, now)) = figures.iter().find(|(name, _)| *name == self.monitor) else {
            let names: Vec<_> = figures.iter().map(|(name, _)| name.as_str()).collect();
            let text = format!(
                "EarlyStoppingHook waits for `{}`, validation gives {}",
                self.monitor,
                names.join(", ")
            );
            if self.strict {
                return Err(Stop::fault(text));
            }
            run.note(text);
            return Ok(());
        };
        if let Some(why) = self.why(*now) {
            run.end(why);
        }
        run.info
            .insert("early_stopping_best".into(), Plain::Float(self.best));
        run.info.insert(
            "early_stopping_waited".into(),
            Plain::Int(self.waited as i64),
        );
        Ok(())
    }
}
