//! `smalti detect CONFIG CHECKPOINT INPUT...`: objects in pictures, drawn and as JSON.

use crate::style;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use smalti::Predictor;
use smalti::data::coco::Ids;
use smalti::data::datasets::read_ids;
use smalti::data::{Fault, Picture, PictureError};
use smalti::draw::{Marked, caption};
use smalti::host::files::AtomicFile;
use smalti::probe::Probe;
use smalti::results::{Naming, ResultWriter};
use smalti::structures::{Instances, Masks};

use super::config::{ReadOptions, tell};
use super::proposals::{Given, ProposalsArg};
use super::{DeviceArg, PrecisionArg, model};
use crate::drawn::{DRAWN_SCORE, drawn};
use crate::timing::Timing;

/// Arguments of `smalti detect`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  smalti detect config.py epoch_12.pth street.jpg --out drawn/\n  \
    smalti detect config.py epoch_12.pth photos/ 'more/*.png' --json found.json --batch 4\n  \
    smalti detect config.py torchvision.pth a.jpg --cfg-options model.test_cfg.score_thr=0.3\n\n\
    Exit code: 1 if the config, the checkpoint or any picture was bad; good pictures are done all the same."
)]
pub struct DetectArgs {
    /// MMDetection config
    #[arg(value_hint = ValueHint::FilePath)]
    config: String,
    /// Checkpoint: a path, an http(s) address, torchvision://..., open-mmlab://..., or the word `load_from` for what the config names
    #[arg(value_hint = ValueHint::FilePath)]
    checkpoint: String,
    /// Pictures, folders (their pictures, not folders in them, nor files that begin with a dot), and globs in quotes
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    input: Vec<String>,
    /// Draw each picture's boxes into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write all detections to this file, in COCO's result form
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Lowest score: to draw and print (0.3 if not given), and, if given, to write
    #[arg(long, value_name = "T")]
    score_thr: Option<f32>,
    /// COCO annotation file that gives `image_id` (by file name) and `category_id` (by class name) for --json; pictures that it does not list
    /// are left out there
    #[arg(long, value_name = "FILE")]
    ann: Option<PathBuf>,
    /// Pictures that run together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    batch: u32,
    #[command(flatten)]
    proposals: ProposalsArg,
    #[command(flatten)]
    from: model::FromCheckpoint,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    precision: PrecisionArg,
    #[command(flatten)]
    read: ReadOptions,
}

/// Runs the command.
pub fn run(args: &DetectArgs) -> Result<ExitCode, String> {
    let paths = find_pictures(&args.input)?;
    let ids = match &args.ann {
        None => None,
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let ids = read_ids(&path.display().to_string(), file)?;
            ids.warnings().iter().for_each(|w| style::warning(w));
            Some(ids)
        }
    };
    let config = args.read.load(&args.config)?;
    let proposals = args.proposals.read(&config)?;
    let chosen = args.device.choose()?;
    let builder = Predictor::builder(&config)
        .device(&chosen.device)
        .precision(args.precision.on(&chosen));
    let predictor = args.from.build(builder, &args.checkpoint)?;
    tell(predictor.notes());
    if !predictor.uninitialised().is_empty() && predictor.report().is_none() {
        return Err("this config has no `load_from`: give a checkpoint".into());
    }
    if let Some(report) = predictor.report().filter(|r| !r.is_complete()) {
        style::note(&format!(
            "the checkpoint lacks parts of the model\n{report}"
        ));
    }
    let mut output = Output::new(args, &predictor, ids, &paths)?;
    let bar = ProgressBar::new(paths.len() as u64);
    let style = "{pos}/{len} [{bar:30}] {per_sec} {eta} {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));

    let mut times = Times::default();
    let mut bad = 0;
    let batch_size = args.batch as usize;
    // The next pictures are decoded while the device works.
    std::thread::scope(|scope| -> Result<(), String> {
        let (send, receive) = sync_channel(2 * batch_size);
        let (paths, predictor, proposals) = (&paths, &predictor, &proposals);
        scope.spawn(move || {
            for path in paths {
                let start = Instant::now();
                let picture = read(predictor, proposals, path);
                if send.send((path, picture, start.elapsed())).is_err() {
                    break;
                }
            }
        });
        loop {
            let mut batch: Vec<(&PathBuf, Picture)> = Vec::new();
            let mut received = 0;
            for (path, picture, time) in receive.iter().take(batch_size) {
                received += 1;
                times.decode += time;
                match picture {
                    Ok(picture) => batch.push((path, picture)),
                    Err(e) => {
                        bad += 1;
                        bar.suspend(|| style::error(&e.to_string()));
                    }
                }
            }
            if received == 0 {
                return Ok(());
            }
            let (names, pictures): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let (found, failed) = detect(predictor, pictures, &mut times);
            for (name, error) in failed.iter().map(|(i, e)| (names[*i], e)) {
                bad += 1;
                bar.suspend(|| style::error(&format!("{}: {error}", name.display())));
            }
            for (i, picture, found) in found {
                let start = Instant::now();
                let line = output.picture(names[i], &picture, &found)?;
                times.output += start.elapsed();
                times.pictures += 1;
                bar.suspend(|| style::say(smalti::config::line(&line)));
            }
            bar.inc(received);
        }
    })?;
    bar.finish_and_clear();
    output.finish()?;
    style::remark(times.line(&chosen.name, batch_size));
    if bad > 0 {
        style::error(&format!(
            "{bad} of {} pictures could not be used",
            paths.len()
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(predictor: &Predictor, proposals: &Given, path: &Path) -> Result<Picture, PictureError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|e| PictureError::new(&name, Fault::Unreadable(e.to_string())))?;
    proposals.add_to(predictor.decode(&name, &bytes)?, path)
}

/// What a batch gave: position, picture, detections; and position and message of those that failed.
type Ran = (Vec<(usize, Picture, Instances)>, Vec<(usize, String)>);

/// Runs a batch; if it fails, its pictures one by one, so that one cannot spoil the others.
fn detect(predictor: &Predictor, pictures: Vec<Picture>, times: &mut Times) -> Ran {
    let mut timing = Timing::new(predictor.device());
    let mut tell = |part: &str, tensors: &[_]| timing.tell(part, tensors);
    let mut probe = Probe::new(&mut tell);
    let whole = pollster::block_on(predictor.detect_probed(&pictures, &mut probe));
    match whole {
        Ok(found) => {
            times.add(timing.finish());
            let rows = pictures.into_iter().zip(found).enumerate();
            (
                rows.map(|(i, (picture, found))| (i, picture, found))
                    .collect(),
                Vec::new(),
            )
        }
        Err(e) if pictures.len() == 1 => (Vec::new(), vec![(0, e.to_string())]),
        Err(_) => {
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for (i, picture) in pictures.into_iter().enumerate() {
                let (found, failed) = detect(predictor, vec![picture], times);
                good.extend(
                    found
                        .into_iter()
                        .map(|(_, picture, found)| (i, picture, found)),
                );
                bad.extend(failed.into_iter().map(|(_, e)| (i, e)));
            }
            (good, bad)
        }
    }
}

/// Sums of time by part.
#[derive(Default)]
struct Times {
    pictures: u32,
    decode: Duration,
    parts: Vec<(String, Duration)>,
    output: Duration,
}

impl Times {
    fn add(&mut self, parts: Vec<(String, Duration)>) {
        if self.parts.is_empty() {
            self.parts = parts;
            return;
        }
        for ((_, sum), (_, took)) in self.parts.iter_mut().zip(parts) {
            *sum += took;
        }
    }

    fn line(&self, device: &str, batch: usize) -> String {
        let n = f64::from(self.pictures.max(1));
        let ms = |d: Duration| d.as_secs_f64() * 1e3 / n;
        let parts = self.parts.iter();
        let parts: Vec<_> = parts
            .map(|(name, sum)| format!("{name} {:.1}", ms(*sum)))
            .collect();
        format!(
            "{} pictures on {device}, {batch} at a time; ms a picture: decode {:.1}, {}, output {:.1}",
            self.pictures,
            ms(self.decode),
            parts.join(", "),
            ms(self.output)
        )
    }
}

/// Where detections go.
struct Output<'a> {
    args: &'a DetectArgs,
    classes: &'a [String],
    json: Option<(Naming, ResultWriter<AtomicFile>)>,
    drawn: std::collections::HashSet<PathBuf>,
}

impl<'a> Output<'a> {
    fn new(
        args: &'a DetectArgs,
        predictor: &'a Predictor,
        ids: Option<Ids>,
        paths: &[PathBuf],
    ) -> Result<Self, String> {
        let json = match &args.json {
            None => None,
            Some(path) => {
                let naming = Naming::new(predictor.classes(), ids)?;
                let missing = naming.missing(predictor.classes());
                if !missing.is_empty() {
                    let names = missing.join(", ");
                    style::note(&format!(
                        "the annotation file lacks these classes, their detections are not written: {names}"
                    ));
                }
                if let Some(ann) = &args.ann {
                    let ann = ann.display().to_string();
                    let remarks = unlisted(&naming, &ann, paths)?;
                    remarks.iter().for_each(|r| style::warning(r));
                }
                let file =
                    AtomicFile::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
                let writer =
                    ResultWriter::new(file).map_err(|e| format!("{}: {e}", path.display()))?;
                Some((naming, writer))
            }
        };
        if let Some(dir) = &args.out {
            std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        Ok(Self {
            args,
            classes: predictor.classes(),
            json,
            drawn: Default::default(),
        })
    }

    /// Writes one picture's detections; gives a line about them.
    fn picture(
        &mut self,
        path: &Path,
        picture: &Picture,
        found: &Instances,
    ) -> Result<String, String> {
        let name = path.display().to_string();
        if let Some((naming, writer)) = &mut self.json {
            let lowest = self.args.score_thr.unwrap_or(0.0);
            let mut found = found.clone();
            found.truncate(found.scores.iter().take_while(|s| **s >= lowest).count());
            let written = writer.picture(naming, &name, &found);
            written.map_err(|e| format!("--json: {e}"))?;
        }
        let lowest = self.args.score_thr.unwrap_or(DRAWN_SCORE);
        let count = found.scores.iter().take_while(|s| **s >= lowest).count();
        if let Some(dir) = &self.args.out {
            let target = self.free_name(dir, path);
            save(&target, picture, found, count, self.classes)?;
        }
        Ok(summary(&name, &found.labels[..count], self.classes))
    }

    /// `DIR/name.png`; a number is added where two folders hold pictures of one name.
    fn free_name(&mut self, dir: &Path, path: &Path) -> PathBuf {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut target = dir.join(format!("{stem}.png"));
        let mut i = 1;
        while !self.drawn.insert(target.clone()) {
            i += 1;
            target = dir.join(format!("{stem}-{i}.png"));
        }
        target
    }

    fn finish(self) -> Result<(), String> {
        let Some((_, writer)) = self.json else {
            return Ok(());
        };
        let done = writer.finish().and_then(AtomicFile::commit);
        done.map_err(|e| format!("--json: {e}"))
    }
}

/// Warnings of pictures that have no id in the annotation file `ann`, and of those that have the same one.
fn unlisted(naming: &Naming, ann: &str, paths: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let (mut without, mut again) = (Vec::new(), Vec::new());
    let mut first_of = HashMap::new();
    for path in paths {
        let name = path.display().to_string();
        match naming.image(&name) {
            None => without.push(name),
            Some(id) => {
                let first = first_of.entry(id.clone()).or_insert_with(|| name.clone());
                if *first != name {
                    again.push(format!("{first} and {name}: {id}"));
                }
            }
        }
    }
    let examples = |names: &[String]| {
        let more = if names.len() > 5 { ", ..." } else { "" };
        format!("({}{more})", names[..names.len().min(5)].join(", "))
    };
    let expected =
        "a `file_name` of its `images` should be the end of a picture's path, and the only such";
    if without.len() == paths.len() {
        return Err(format!(
            "`{ann}` lists none of the {} pictures {}, so --json would have nothing: {expected}",
            paths.len(),
            examples(&without)
        ));
    }
    if !without.is_empty() {
        warnings.push(format!(
            "`{ann}` does not list {} of {} pictures: their detections are not written to --json {}; {expected}",
            without.len(),
            paths.len(),
            examples(&without)
        ));
    }
    if !again.is_empty() {
        warnings.push(format!(
            "{} pictures have the `image_id` of another one, so that --json mixes their detections {}",
            again.len(),
            examples(&again)
        ));
    }
    Ok(warnings)
}

/// Draws the best `count` detections and saves the picture as PNG.
pub fn save(
    target: &Path,
    picture: &Picture,
    found: &Instances,
    count: usize,
    classes: &[String],
) -> Result<(), String> {
    let size = [picture.width(), picture.height()];
    let masks = found.masks.as_ref().filter(|masks| masks.size() == size);
    let masks = masks.map(Masks::to_bitmaps).unwrap_or_default();
    let marked: Vec<_> = (0..count)
        .map(|i| Marked {
            xyxy: found.boxes[i],
            label: found.labels[i],
            caption: caption(&classes[found.labels[i]], found.scores[i]),
            mask: masks.get(i).cloned(),
        })
        .collect();
    let png = drawn(picture, &marked)?;
    let failed = |e: std::io::Error| format!("{}: {e}", target.display());
    let mut file = AtomicFile::create(target).map_err(failed)?;
    std::io::Write::write_all(&mut file, &png).map_err(failed)?;
    file.commit().map_err(failed)
}

/// `a.jpg: 2 dog, 1 cat`, most frequent first.
fn summary(name: &str, labels: &[usize], classes: &[String]) -> String {
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for label in labels {
        match counts.iter_mut().find(|(l, _)| l == label) {
            Some((_, n)) => *n += 1,
            None => counts.push((*label, 1)),
        }
    }
    counts.sort_by_key(|(label, n)| (std::cmp::Reverse(*n), *label));
    let parts: Vec<_> = counts
        .iter()
        .map(|(l, n)| format!("{n} {}", classes[*l]))
        .collect();
    if parts.is_empty() {
        format!("{name}: nothing")
    } else {
        format!("{name}: {}", parts.join(", "))
    }
}

/// Endings of files that a folder is searched for.
const ENDINGS: [&str; 12] = [
    "jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif", "ppm", "pgm", "pbm", "jfif",
];

/// Endings of pictures that are not read, so that leaving them out is worth a remark.
const UNREAD: [&str; 16] = [
    "heic", "heif", "avif", "jxl", "jp2", "psd", "svg", "pdf", "exr", "hdr", "tga", "dng", "cr2",
    "cr3", "nef", "arw",
];

/// Pictures that the inputs name, each once, in order. Files that systems hide ([`is_hidden`]) only count if they are named.
fn find_pictures(inputs: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|e| format!("{input}: {e}"))?;
            let files = entries.flatten().map(|e| e.path());
            let files = files.filter(|p| !is_hidden(p) && p.is_file());
            let (mut found, others): (Vec<_>, Vec<_>) =
                files.partition(|p| ENDINGS.contains(&ending(p).as_str()));
            found.sort();
            let unread: Vec<_> = others
                .iter()
                .filter(|p| UNREAD.contains(&ending(p).as_str()))
                .collect();
            let remark = unread.iter().min().map(|first| {
                format!(
                    "{} of its files are of kinds that are not read, for example {}: convert them to JPEG or PNG",
                    unread.len(),
                    first.display()
                )
            });
            if found.is_empty() {
                let remark = remark.map_or_else(String::new, |text| format!("; {text}"));
                let endings = ENDINGS.join(", ");
                return Err(format!(
                    "{input}: no pictures in this folder ({endings}){remark}"
                ));
            }
            if let Some(remark) = remark {
                style::note(&format!("{input}: {remark}"));
            }
            paths.append(&mut found);
        } else if path.exists() {
            paths.push(path.to_owned());
        } else if input.contains(['*', '?', '[']) {
            // as in a shell: only a pattern that begins with a dot means names that do
            let all = has_dot(path);
            let found = glob::glob(input).map_err(|e| format!("{input}: {e}"))?;
            let found = found.flatten().filter(|p| p.is_file());
            let mut found: Vec<_> = found.filter(|p| all || !is_hidden(p)).collect();
            if found.is_empty() {
                return Err(format!("{input}: no file matches"));
            }
            paths.append(&mut found);
        } else {
            return Err(format!("{input}: there is no such file or folder"));
        }
    }
    let mut seen = std::collections::HashSet::new();
    paths.retain(|p| seen.insert(p.clone()));
    Ok(paths)
}

fn ending(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_lowercase()
}

/// Whether it is a file that systems keep beside pictures and do not show: `._a.jpg` and `.DS_Store` of macOS, Windows' `Thumbs.db`.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let of_windows = ["thumbs.db", "ehthumbs.db", "desktop.ini"];
    has_dot(path) || of_windows.iter().any(|of| name.eq_ignore_ascii_case(of))
}

fn has_dot(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_count_classes() {
        let classes = ["cat".to_string(), "dog".to_string()];
        assert_eq!(summary("a", &[1, 0, 1], &classes), "a: 2 dog, 1 cat");
        assert_eq!(summary("a", &[], &classes), "a: nothing");
    }

    #[test]
    fn pictures_without_an_id_are_counted() {
        let json = r#"{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}], "categories": []}"#;
        let ids = read_ids("a.json", json.as_bytes()).unwrap();
        let naming = Naming::new(&["cat".to_string()], Some(ids)).unwrap();
        let said = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            unlisted(&naming, "a.json", &paths)
        };
        assert_eq!(said(&["i/1.jpg", "i/2.jpg"]), Ok(Vec::new()));
        let some = said(&["1.jpg", "3.jpg", "i/1.jpg"]).unwrap();
        assert!(
            some[0].starts_with("`a.json` does not list 1 of 3 pictures")
                && some[0].contains("(3.jpg)"),
            "{some:?}"
        );
        assert!(some[1].contains("(1.jpg and i/1.jpg: 1)"), "{some:?}");
        let none = said(&["3.jpg", "4.jpg"]).unwrap_err();
        assert!(
            none.contains("none of the 2 pictures (3.jpg, 4.jpg)"),
            "{none}"
        );
    }

    #[test]
    fn inputs_are_files_folders_and_globs() {
        let dir = std::env::temp_dir().join(format!("smalti-inputs-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("phone")).unwrap();
        for name in [
            "b.JPG",
            "a.png",
            "notes.txt",
            "._b.JPG",
            ".hidden.png",
            ".DS_Store",
            "Thumbs.db",
            "desktop.ini",
            "phone/2.heic",
            "phone/1.HEIC",
            "phone/._1.HEIC",
        ] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let text = |s: &str| dir.join(s).display().to_string();
        let names = |inputs: &[String]| -> Vec<_> {
            let found = find_pictures(inputs).unwrap();
            found
                .iter()
                .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names(&[text("")]), ["a.png", "b.JPG"]);
        // what systems hide is left out, unless it is named
        assert_eq!(names(&[text("*")]), ["a.png", "b.JPG", "notes.txt"]);
        assert_eq!(names(&[text("*.JPG")]), ["b.JPG"]);
        assert_eq!(names(&[text(".*.png")]), [".hidden.png"]);
        assert_eq!(names(&[text("._b.JPG")]), ["._b.JPG"]);
        let message = find_pictures(&[text("phone")]).unwrap_err();
        assert!(
            message.contains("no pictures in this folder")
                && message.contains("2 of its files are of kinds that are not read, for example")
                && message.contains("1.HEIC: convert them to JPEG or PNG"),
            "{message}"
        );
        assert_eq!(
            names(&[text("*.png"), text("a.png"), text("notes.txt")]),
            ["a.png", "notes.txt"]
        );
        assert!(
            find_pictures(&[text("*.gif")])
                .unwrap_err()
                .contains("no file matches")
        );
        assert!(
            find_pictures(&[text("c.png")])
                .unwrap_err()
                .contains("no such file")
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
