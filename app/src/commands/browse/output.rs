//! What `smalti browse` writes: pictures, sheets, draws.json, summary.json, and a line about each.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use pollster::block_on;
use serde_json::json;
use smalti::data::datasets::{Dataset, SampleError};
use smalti::data::draws_file::{DrawsFile, Of, class_name};
use smalti::data::pixels::Pixels;
use smalti::data::sample::Sample;
use smalti::data::summary::Summary;
use smalti::data::trace::{Step, Trace, readable, reason, why};
use smalti::data::transforms::Files;
use smalti::draw::Canvas;
use smalti::draw::sample::{Size, draw_sample, original, rgb};
use smalti::draw::sheet::{Tile, Weight, sheet};
use smalti::host::files::AtomicFile;
use smalti::structures::Dropped;

/// A picture alone.
const ALONE: Size = Size {
    least: 480,
    most: 2000,
};
/// A picture of a sheet.
const ON_A_SHEET: Size = Size {
    least: 320,
    most: 420,
};
/// Steps of a sheet; a pipeline with more is shown to its 60th.
const MOST_TILES: usize = 60;
/// Lines about objects that were left out, below a picture.
const MOST_DROPPED: usize = 12;

/// Where files go.
pub struct Output {
    dir: PathBuf,
}

impl Output {
    /// Makes the folder, and sees whether files can be written there before anything else is done.
    pub fn open(dir: &Path, json: bool) -> Result<Self, String> {
        let failed = |e: std::io::Error| {
            format!(
                "--out {}: {e}; give a folder in which files can be written",
                dir.display()
            )
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let probe = if json { "summary.json" } else { "picture.png" };
        drop(AtomicFile::create(&dir.join(probe)).map_err(failed)?);
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The picture and annotations of the disk.
    pub fn original(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        pixels: &Pixels,
        files: &dyn Files,
    ) -> Result<String, String> {
        let info = dataset.info(index);
        let failed = |e: &dyn std::fmt::Display| format!("sample {index}: {}: {e}", info.img_path);
        let sample = original(&info, files).map_err(|e| failed(&e))?;
        let picture = block_on(draw_sample(&sample, &[], dataset.meta(), pixels, ALONE));
        let tile = Tile {
            above: vec![
                (Weight::Title, heading(dataset, index)),
                (Weight::Plain, count(&sample)),
            ],
            picture: picture.map_err(|e| failed(&e))?,
            below: Vec::new(),
        };
        let path = self
            .dir
            .join(format!("{}_original.png", stem(dataset, index)));
        save(&path, &tile.titled(320))?;
        Ok(line(dataset, index, &sample, &path))
    }

    /// The sample as it leaves the pipeline.
    pub fn transformed(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        trace: &Trace,
        pixels: &Pixels,
    ) -> Result<String, String> {
        let path = self.dir.join(format!("{}.png", stem(dataset, index)));
        let Some(step) = trace.steps.last() else {
            return Ok(format!("{index}  the pipeline has no transforms"));
        };
        if trace.error.is_some() {
            return Ok(String::new());
        }
        let failed = |e| format!("sample {index}: {}: {e}", dataset.info(index).img_path);
        let above = vec![
            (Weight::Title, heading(dataset, index)),
            (Weight::Plain, count(&step.sample)),
        ];
        let mut tiles = Vec::new();
        for (title, sample) in variants(step) {
            let picture = block_on(draw_sample(sample, &[], dataset.meta(), pixels, ALONE))
                .map_err(failed)?;
            let above = if title.is_empty() {
                above.clone()
            } else {
                vec![(Weight::Plain, title)]
            };
            tiles.push(Tile {
                above,
                picture,
                below: Vec::new(),
            });
        }
        let drawn = match &tiles[..] {
            [one] => one.titled(320),
            several => sheet(&above, several, columns(several.len())),
        };
        save(&path, &drawn)?;
        Ok(line(dataset, index, &step.sample, &path))
    }

    /// A sheet of the sample after every transform, and a line about each.
    pub fn pipeline(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        trace: &Trace,
        pixels: &Pixels,
    ) -> Result<String, String> {
        let meta = dataset.meta();
        let failed = |e| format!("sample {index}: {}: {e}", dataset.info(index).img_path);
        let mut tiles = Vec::new();
        let mut lines = heading(dataset, index);
        let mut shown = dataset.info(index).index;
        for (number, step) in (1..).zip(&trace.steps) {
            let mut facts = facts(step);
            if step.sample.info.index != shown {
                shown = step.sample.info.index;
                facts.insert(0, format!("of picture {shown}: the one before was dropped"));
            }
            let _ = write!(
                lines,
                "\n  {number:>2} {:24} {}",
                step.name,
                count(&step.sample)
            );
            for fact in &facts {
                let _ = write!(lines, "\n       {fact}");
            }
            for dropped in &step.dropped {
                let _ = write!(lines, "\n       {}", left_out(dropped, &meta.classes));
            }
            for (title, sample) in variants(step) {
                if tiles.len() == MOST_TILES {
                    break;
                }
                let picture =
                    block_on(draw_sample(sample, &step.dropped, meta, pixels, ON_A_SHEET))
                        .map_err(failed)?;
                let mut above = vec![(Weight::Title, format!("{number} {}{title}", step.name))];
                above.extend(facts.iter().map(|fact| (Weight::Plain, fact.clone())));
                let mut below = vec![(Weight::Plain, count(sample))];
                let told = step.dropped.iter().take(MOST_DROPPED);
                below.extend(told.map(|d| (Weight::Alarm, left_out_briefly(d, &meta.classes))));
                if step.dropped.len() > MOST_DROPPED {
                    let more = format!("and {} more", step.dropped.len() - MOST_DROPPED);
                    below.push((Weight::Alarm, more));
                }
                tiles.push(Tile {
                    above,
                    picture,
                    below,
                });
            }
        }
        let mut head = vec![(Weight::Title, heading(dataset, index))];
        if let Some(error) = &trace.error {
            // Of another picture than this, its name belongs to it.
            let what = if error.path == dataset.info(index).img_path {
                error.problem.to_string()
            } else {
                error.to_string()
            };
            head.push((Weight::Alarm, format!("then: {what}")));
            let _ = write!(lines, "\n  then: {what}");
        }
        let path = self
            .dir
            .join(format!("{}_pipeline.png", stem(dataset, index)));
        save(&path, &sheet(&head, &tiles, columns(tiles.len())))?;
        let _ = write!(lines, "\n  -> {}", path.display());
        Ok(lines)
    }

    /// The folder of a sample: every step's picture as it is, and draws.json.
    pub fn draws(
        &self,
        dataset: &dyn Dataset,
        of: Of,
        trace: &Trace,
        pixels: &Pixels,
    ) -> Result<String, String> {
        let index = of.index;
        let dir = self.dir.join(stem(dataset, index));
        let mut file = DrawsFile::new(of, trace, &dataset.meta().classes);
        let steps = (1..).zip(&trace.steps);
        let samples =
            steps.flat_map(|(n, step)| step.samples().into_iter().map(move |s| (n, step, s)));
        let mut names = HashSet::new();
        for ((number, step, sample), record) in samples.zip(&mut file.steps) {
            let picture = block_on(rgb(&sample.image, pixels));
            let picture =
                picture.map_err(|e| format!("sample {index}: after {}: {e}", step.name))?;
            if let Some(picture) = picture {
                let stem = format!("{number:03}_{}", plain(&step.name));
                let mut name = format!("{stem}.png");
                for i in 2.. {
                    if names.insert(name.clone()) {
                        break;
                    }
                    name = format!("{stem}-{i}.png");
                }
                save(&dir.join(&name), &picture)?;
                record.picture = Some(name);
            }
        }
        let path = dir.join("draws.json");
        let text = serde_json::to_string(&file).map_err(|e| e.to_string())?;
        write(&path, text.as_bytes())?;
        Ok(format!("  -> {}\n", path.display()))
    }

    /// summary.json.
    pub fn summary(
        &self,
        summary: &Summary,
        failed: &[String],
        replaced: &[SampleError],
    ) -> Result<(), String> {
        let replaced: Vec<String> = replaced.iter().map(ToString::to_string).collect();
        let text = serde_json::to_string_pretty(&json!({
            "smalti_summary": 1,
            "data_set": summary,
            "left_out": failed,
            "replaced": replaced,
        }));
        let path = self.dir.join("summary.json");
        write(&path, text.map_err(|e| e.to_string())?.as_bytes())
    }
}

/// The samples after a step, and which of several each is.
fn variants(step: &Step) -> Vec<(String, &Sample)> {
    let samples = step.samples();
    let n = samples.len();
    let title = |i: usize| match n {
        1 => String::new(),
        _ => format!(" {} of {n}", i + 1),
    };
    let numbered = samples.into_iter().enumerate();
    numbered.map(|(i, sample)| (title(i), sample)).collect()
}

/// What a step drew, for people.
fn facts(step: &Step) -> Vec<String> {
    let pictures = step
        .indexes
        .as_ref()
        .map(|i| format!("pictures {}", readable(i)));
    let params = step.params.as_ref().map(readable);
    pictures
        .into_iter()
        .chain(params)
        .filter(|t| !t.is_empty())
        .collect()
}

fn left_out(dropped: &Dropped, classes: &[String]) -> String {
    let [x1, y1, x2, y2] = dropped.bbox;
    format!(
        "dropped {} (object {} of picture {}): {}; last box {x1:.1}, {y1:.1}, {x2:.1}, {y2:.1}",
        class_name(classes, dropped.label),
        dropped.origin.object,
        dropped.origin.picture,
        why(dropped.reason)
    )
}

/// To fit in one line under a picture.
fn left_out_briefly(dropped: &Dropped, classes: &[String]) -> String {
    format!(
        "dropped {}, object {} of picture {}: {}",
        class_name(classes, dropped.label),
        dropped.origin.object,
        dropped.origin.picture,
        reason(dropped.reason)
    )
}

fn columns(tiles: usize) -> usize {
    match tiles {
        0..=3 => tiles.max(1),
        4..=8 => tiles.div_ceil(2),
        _ => 5.min(tiles.div_ceil(3)),
    }
}

/// `640x480, 12 objects (1 ignored), masks`.
fn count(sample: &Sample) -> String {
    let [width, height] = sample.image.size();
    if width == 0 {
        return "no picture yet".into();
    }
    if !sample.has_boxes && sample.gt.is_empty() {
        return format!("{width}x{height}");
    }
    let ignored = sample.gt.ignore.iter().filter(|i| **i).count();
    let mut text = format!(
        "{width}x{height}, {} object{}",
        sample.gt.len(),
        if sample.gt.len() == 1 { "" } else { "s" }
    );
    if ignored > 0 {
        let _ = write!(text, " ({ignored} ignored)");
    }
    if sample.masks().is_some() {
        text.push_str(", masks");
    }
    text
}

/// `sample 7: train/a.jpg (id 12)`.
fn heading(dataset: &dyn Dataset, index: usize) -> String {
    let info = dataset.info(index);
    let path = smalti::config::line(&info.img_path);
    match &info.img_id {
        Some(id) => format!("sample {index}: {path} (id {id})"),
        None => format!("sample {index}: {path}"),
    }
}

fn line(dataset: &dyn Dataset, index: usize, sample: &Sample, path: &Path) -> String {
    let head = heading(dataset, index);
    format!("{head}: {} -> {}", count(sample), path.display())
}

/// `000007_a` for sample 7 of `train/a.jpg`.
fn stem(dataset: &dyn Dataset, index: usize) -> String {
    let info = dataset.info(index);
    let name = info.img_path.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{index:06}_{}", plain(name))
}

/// Letters that every file system takes.
fn plain(name: &str) -> String {
    let letter = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().take(60).map(letter).collect()
}

fn save(path: &Path, picture: &Canvas) -> Result<(), String> {
    let png = picture
        .png()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    write(path, &png)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file = AtomicFile::create(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.commit().map_err(failed)
}
