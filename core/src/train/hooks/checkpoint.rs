//! `CheckpointHook` of MMEngine 0.10: writes checkpoints every so many epochs or iterations, the last one, and the best one by a figure.
//!
//! `epoch_12.pth` has all that a run needs to go on; `best_coco_bbox_mAP_epoch_12.pth` has weights only. `last_checkpoint` names the last one.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Figures, Given, Hook, OWN, Step};
use crate::config::{Diagnostics, Node, error_at};
use crate::train::Stop;
use crate::train::checkpoint::Saving;
use crate::train::learner::Stepped;
use crate::train::run::{Position, Run};
use crate::weights::Plain;

/// Which figures are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Greater,
    Less,
}

/// Parts of names of figures that are to grow, in lower case.
const GREATER: [&str; 10] = [
    "acc",
    "top",
    "ar@",
    "auc",
    "precision",
    "map",
    "mdice",
    "miou",
    "macc",
    "aacc",
];
/// Of those that are to shrink.
const LESS: [&str; 1] = ["loss"];

impl Rule {
    /// What a config says, or what the name of the figure does.
    pub fn read(said: Option<&str>, figure: &str) -> Result<Self, String> {
        match said {
            Some("greater") => Ok(Self::Greater),
            Some("less") => Ok(Self::Less),
            Some(other) => Err(format!("`rule` is 'greater' or 'less', not '{other}'")),
            None => {
                let figure = figure.to_lowercase();
                let has = |parts: &[&str]| parts.iter().any(|part| figure.contains(part));
                let is = |parts: &[&str]| parts.contains(&&*figure);
                if is(&GREATER) || (!is(&LESS) && has(&GREATER)) {
                    Ok(Self::Greater)
                } else if has(&LESS) {
                    Ok(Self::Less)
                } else {
                    Err(format!(
                        "whether `{figure}` is to grow or to shrink, its name does not say"
                    ))
                }
            }
        }
    }

    pub fn better(self, a: f64, than: f64) -> bool {
        match self {
            Self::Greater => a > than,
            Self::Less => a < than,
        }
    }

    /// A figure that any other is better than.
    pub fn worst(self) -> f64 {
        match self {
            Self::Greater => f64::NEG_INFINITY,
            Self::Less => f64::INFINITY,
        }
    }
}

/// Writes checkpoints.
pub(super) struct CheckpointHook {
    /// Never, if 0.
    interval: u64,
    by_epoch: bool,
    saving: Saving,
    out_dir: Option<PathBuf>,
    /// All, if 0.
    max_keep_ckpts: usize,
    save_last: bool,
    /// Figures by which the best is kept; `auto` is the first that validation gives.
    save_best: Vec<String>,
    rule: Vec<Option<String>>,
    filename_tmpl: String,
    published_keys: Vec<String>,
    save_begin: u64,
    kept: VecDeque<u64>,
    last: Option<PathBuf>,
}

impl Default for CheckpointHook {
    fn default() -> Self {
        Self {
            interval: 1,
            by_epoch: true,
            saving: Saving::ALL,
            out_dir: None,
            max_keep_ckpts: 0,
            save_last: true,
            save_best: Vec::new(),
            rule: Vec::new(),
            filename_tmpl: "epoch_{}.pth".into(),
            published_keys: Vec::new(),
            save_begin: 0,
            kept: VecDeque::new(),
            last: None,
        }
    }
}

#[derive(Deserialize)]
struct Config {
    interval: Option<i64>,
    by_epoch: Option<bool>,
    save_optimizer: Option<bool>,
    save_param_scheduler: Option<bool>,
    out_dir: Option<String>,
    max_keep_ckpts: Option<i64>,
    save_last: Option<bool>,
    save_best: Option<OneOrMore>,
    rule: Option<OneOrMore>,
    filename_tmpl: Option<String>,
    published_keys: Option<OneOrMore>,
    save_begin: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(list) => list,
        }
    }
}

pub(super) fn build(node: &Node, _: Given) -> Result<Box<dyn Hook>, Diagnostics> {
    let others = [
        OWN,
        &[
            "file_client_args",
            "backend_args",
            "greater_keys",
            "less_keys",
        ],
    ]
    .concat();
    let config: Config = node.read_knowing(&others)?;
    let by_epoch = config.by_epoch.unwrap_or(true);
    let default = if by_epoch {
        "epoch_{}.pth"
    } else {
        "iter_{}.pth"
    };
    let template = config.filename_tmpl.unwrap_or_else(|| default.into());
    if template.matches("{}").count() != 1 || template.contains(['/', '\\']) {
        let message = "`filename_tmpl` is a file name with one `{}`, where the number goes";
        return Err(error_at(
            node,
            "filename_tmpl",
            message,
            "for example 'epoch_{}.pth'",
        ));
    }
    let save_best = config.save_best.map_or(Vec::new(), OneOrMore::list);
    if save_best.len() > 1 && save_best.iter().any(|name| name == "auto") {
        let message = "'auto' in `save_best` stands alone";
        return Err(error_at(node, "save_best", message, ""));
    }
    let rule = config.rule.map_or(Vec::new(), OneOrMore::list);
    if rule.len() > 1 && rule.len() != save_best.len() {
        let message = "`rule` is one for all of `save_best`, or one for each";
        return Err(error_at(node, "rule", message, ""));
    }
    for (i, figure) in save_best.iter().enumerate().filter(|(_, f)| *f != "auto") {
        let said = rule.get(i).or(rule.first()).map(String::as_str);
        let read = Rule::read(said, figure);
        read.map_err(|message| {
            error_at(node, "rule", message, "write rule='greater' or rule='less'")
        })?;
    }
    Ok(Box::new(CheckpointHook {
        interval: u64::try_from(config.interval.unwrap_or(-1)).unwrap_or(0),
        by_epoch,
        saving: Saving {
            optimizer: config.save_optimizer.unwrap_or(true),
            schedules: config.save_param_scheduler.unwrap_or(true),
        },
        out_dir: config.out_dir.map(PathBuf::from),
        max_keep_ckpts: usize::try_from(config.max_keep_ckpts.unwrap_or(-1)).unwrap_or(0),
        save_last: config.save_last.unwrap_or(true),
        save_best,
        rule: rule.into_iter().map(Some).collect(),
        filename_tmpl: template,
        published_keys: config.published_keys.map_or(Vec::new(), OneOrMore::list),
        save_begin: config.save_begin.unwrap_or(0),
        ..CheckpointHook::default()
    }))
}

impl CheckpointHook {
    /// Where files go: in another folder, below the work directory's name.
    fn folder(&self, run: &Run) -> PathBuf {
        match (&self.out_dir, run.work_dir.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => run.work_dir.clone(),
        }
    }

    fn file(&self, number: u64) -> String {
        self.filename_tmpl.replace("{}", &number.to_string())
    }

    /// `interval`, counted from `save_begin`.
    fn due(&self, done: u64) -> bool {
        let since = done.checked_sub(self.save_begin);
        since.is_some_and(|n| self.interval > 0 && n.is_multiple_of(self.interval))
    }

    /// Writes the checkpoint of `number`, when the run will be at `position`.
    fn save(&mut self, run: &mut Run, number: u64, position: Position) -> Step {
        let folder = self.folder(run);
        let path = folder.join(self.file(number));
        let mut old = None;
        if self.max_keep_ckpts > 0 && self.kept.back() != Some(&number) {
            if self.kept.len() == self.max_keep_ckpts {
                old = self.kept.pop_front();
            }
            self.kept.push_back(number);
            let kept = self.kept.iter().map(|n| Plain::Int(*n as i64));
            run.info
                .insert("keep_ckpt_ids".into(), Plain::List(kept.collect()));
        }
        let name = path.display().to_string();
        run.info.insert("last_ckpt".into(), Plain::Text(name));
        run.save(&path, position, self.saving)?;
        // The old one goes when the new one is there.
        if let Some(old) = old {
            remove(&folder.join(self.file(old)));
        }
        self.last = Some(path);
        Ok(())
    }

    /// Writes the weights where a figure is the best so far.
    fn save_best(&mut self, run: &mut Run, figures: &Figures) -> Step {
        let Position { epoch, iter, .. } = run.position;
        let number = if self.by_epoch { epoch } else { iter };
        if let ([auto], Some((first, _))) = (&mut self.save_best[..], figures.first())
            && auto == "auto"
        {
            auto.clone_from(first);
        }
        let several = self.save_best.len() > 1;
        let mut better = false;
        for (i, figure) in self.save_best.clone().into_iter().enumerate() {
            let Some((_, now)) = figures.iter().find(|(name, _)| *name == figure) else {
                let names: Vec<_> = figures.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Stop::fault(format!(
                    "`save_best` of CheckpointHook is '{figure}', validation gives {}",
                    names.join(", ")
                )));
            };
            let said = self.rule.get(i).or(self.rule.first()).cloned().flatten();
            let rule = Rule::read(said.as_deref(), &figure).map_err(Stop::fault)?;
            let key = |what: &str| {
                if several {
                    format!("{what}_{figure}")
                } else {
                    what.to_string()
                }
            };
            let best = run.info.get(&key("best_score")).and_then(Plain::float);
            if !rule.better(*now, best.unwrap_or(rule.worst())) {
                continue;
            }
            better = true;
            let name = format!("best_{figure}_{}", self.file(number)).replace('/', "_");
            let path = self.folder(run).join(name);
            let old = run
                .info
                .insert(key("best_ckpt"), Plain::Text(path.display().to_string()));
            run.info.insert(key("best_score"), Plain::Float(*now));
            run.save(&path, run.position, Saving::WEIGHTS)?;
            run.note(format!("`{figure}` is {now:.4}, the best so far"));
            let old = old.and_then(|old| old.text().map(PathBuf::from));
            if let Some(old) = old.filter(|old| *old != path) {
                remove(&old);
            }
        }
        // Once more, so that a run that goes on from it knows which is the best.
        if better && self.last.is_some() {
            let position = run.position;
            self.save(run, number, position)?;
        }
        Ok(())
    }
}

/// Nothing depends on an old checkpoint's going.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

impl Hook for CheckpointHook {
    fn name(&self) -> &'static str {
        "CheckpointHook"
    }

    fn priority(&self) -> u8 {
        90
    }

    fn before_train(&mut self, run: &mut Run) -> Step {
        if self.max_keep_ckpts == 0 {
            return Ok(());
        }
        let kept = run.info.get("keep_ckpt_ids").and_then(Plain::items);
        let kept = kept.unwrap_or_default().iter().filter_map(Plain::int);
        self.kept = kept.filter_map(|n| u64::try_from(n).ok()).collect();
        while self.kept.len() > self.max_keep_ckpts {
            if let Some(old) = self.kept.pop_front() {
                remove(&self.folder(run).join(self.file(old)));
            }
        }
        Ok(())
    }

    fn after_train_epoch(&mut self, run: &mut Run) -> Step {
        let done = run.position.epoch + 1;
        let last = self.save_last && run.is_last_epoch();
        if !self.by_epoch || !(self.due(done) || last) {
            return Ok(());
        }
        let position = Position {
            epoch: done,
            batch: 0,
            ..run.position
        };
        self.save(run, done, position)
    }

    fn after_train_iter(&mut self, run: &mut Run, _: &Stepped) -> Step {
        let done = run.position.iter + 1;
        let last = self.save_last && run.is_last_iter();
        if self.by_epoch || !(self.due(done) || last) {
            return Ok(());
        }
        let position = Position {
            iter: done,
            batch: run.position.batch + 1,
            ..run.position
        };
        self.save(run, done, position)
    }

    fn after_val_epoch(&mut self, run: &mut Run, figures: &Figures) -> Step {
        if self.save_best.is_empty() || figures.is_empty() {
            return Ok(());
        }
        self.save_best(run, figures)
    }

    fn after_train(&mut self, run: &mut Run) -> Step {
        if self.published_keys.is_empty() {
            return Ok(());
        }
        let best = run
            .info
            .iter()
            .filter(|(key, _)| key.starts_with("best_ckpt"));
        let best = best.filter_map(|(_, path)| path.text().map(PathBuf::from));
        let mut paths: Vec<PathBuf> = self.last.iter().cloned().chain(best).collect();
        paths.dedup();
        for path in paths {
            let published = super::super::checkpoint::publish(&path, &self.published_keys)?;
            run.note(format!("published as {}", published.display()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_name() {
        for (figure, rule) in [
            ("coco/bbox_mAP", Rule::Greater),
            ("AR@100", Rule::Greater),
            ("loss_cls", Rule::Less),
            ("loss", Rule::Less),
        ] {
            assert_eq!(Rule::read(None, figure), Ok(rule), "{figure}");
        }
        assert!(Rule::read(None, "time").is_err());
        assert!(Rule::read(Some("lesss"), "loss").is_err());
    }

    #[test]
    fn intervals_begin_somewhere() {
        let hook = CheckpointHook {
            interval: 3,
            save_begin: 2,
            ..CheckpointHook::default()
        };
        let due: Vec<u64> = (0..12).filter(|n| hook.due(*n)).collect();
        assert_eq!(due, [2, 5, 8, 11]);
    }
}
