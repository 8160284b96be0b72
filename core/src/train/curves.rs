//! Curves as pictures: the learning rate of a plan, and losses, learning rate and figures of a run by its log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::hooks::{Figures, Hook, Step};
use super::run::Run;
use super::{Plan, Stop};
use crate::draw::Canvas;
use crate::draw::chart::{Axis, Chart, Line};
use crate::host::checkpoint_files;

/// Width and height, px.
const SIZE: [usize; 2] = [960, 540];

/// The learning rates of a plan's groups against iterations.
pub fn of_plan(plan: &Plan) -> Canvas {
    let mut points: Vec<Vec<[f64; 2]>> = vec![Vec::new(); plan.groups.len()];
    for planned in plan.iterations() {
        for (points, lr) in points.iter_mut().zip(&planned.lr) {
            points.push([planned.iter as f64, *lr]);
        }
    }
    let chart = Chart::new(
        "Learning rate",
        Axis::new("iteration"),
        Axis::new("learning rate"),
    );
    let names = plan.groups.iter().map(|group| group.example.clone());
    let lines = names
        .zip(points)
        .map(|(name, points)| Line::new(name, points));
    lines.fold(chart, Chart::with).draw(SIZE)
}

/// Values of each figure by step.
type Log = BTreeMap<String, BTreeMap<u64, f64>>;

/// Reads all logs below a work directory, so that a run that went on from a checkpoint has one curve. Where two beginnings of a run have the same
/// step, the later one counts.
fn read(work_dir: &Path) -> Log {
    let folders = std::fs::read_dir(work_dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = folders
        .map(|f| f.path().join("vis_data/scalars.json"))
        .collect();
    files.sort();
    let mut log = Log::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines() {
            let Ok(Json::Object(row)) = serde_json::from_str::<Json>(line) else {
                continue;
            };
            let Some(step) = row.get("step").and_then(Json::as_u64) else {
                continue;
            };
            for (name, value) in &row {
                if let Some(value) = value.as_f64() {
                    log.entry(name.clone()).or_default().insert(step, value);
                }
            }
        }
    }
    log
}

fn chart(
    title: &str,
    x: &str,
    y: Axis,
    log: &Log,
    wanted: impl Fn(&str) -> bool,
) -> Option<Canvas> {
    let lines: Vec<Line> = log
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, values)| {
            let points = values.iter().map(|(step, value)| [*step as f64, *value]);
            Line::new(name.clone(), points.collect())
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let chart = Chart::new(title, Axis::new(x), y);
    Some(lines.into_iter().fold(chart, Chart::with).draw(SIZE))
}

/// Draws `loss.png`, `lr.png` and `figures.png` into the work directory, when there is something new.
pub(super) struct CurvesHook;

impl CurvesHook {
    fn draw(run: &mut Run) -> Step {
        let log = read(&run.work_dir);
        let of_validation = |name: &str| name.contains('/');
        let validations = if run.train_loop.by_epoch {
            "epoch"
        } else {
            "iteration"
        };
        let shown =
            |name: &str| of_validation(name) && log[name].values().any(|value| *value >= 0.0);
        let charts = [
            (
                "loss.png",
                chart("Losses", "iteration", Axis::new("loss"), &log, |name| {
                    name.contains("loss") && !of_validation(name)
                }),
            ),
            (
                "lr.png",
                chart(
                    "Learning rate",
                    "iteration",
                    Axis::new("learning rate"),
                    &log,
                    |name| name == "lr" || name == "base_lr",
                ),
            ),
            (
                "figures.png",
                chart(
                    "Validation",
                    validations,
                    Axis::within("figure", 0.0, 1.0),
                    &log,
                    shown,
                ),
            ),
        ];
        for (name, canvas) in charts {
            let Some(canvas) = canvas else { continue };
            let png = canvas.png().map_err(|e| Stop::fault(e.to_string()))?;
            let written = checkpoint_files::save(&run.path(name), |file| Ok(file.write_all(&png)?));
            written.map_err(|e| Stop::fault(e.to_string()))?;
        }
        Ok(())
    }
}

impl Hook for CurvesHook {
    fn name(&self) -> &'static str {
        "CurvesHook"
    }

    fn priority(&self) -> u8 {
        // when the logger has written
        65
    }

    fn after_train_epoch(&mut self, run: &mut Run) -> Step {
        Self::draw(run)
    }

    fn after_val_epoch(&mut self, run: &mut Run, _: &Figures) -> Step {
        Self::draw(run)
    }
}
