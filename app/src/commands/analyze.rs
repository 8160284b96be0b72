//! `smalti analyze RESULTS --ann FILE`: what a detector does wrong, as tables, charts and JSON.

use crate::style;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use smalti::data::evaluate::analysis::{
    Analysis, AnalyzeOptions, ClassRow, KINDS, KINDS_MEAN, PictureRow, analyze,
};
use smalti::data::evaluate::{Truth, results_file};
use smalti::draw::{Canvas, analysis as charts};
use smalti::host::files::AtomicFile;

/// Arguments of `smalti analyze`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  smalti test config.py epoch_12.pth --out results.json\n  \
    smalti analyze results.json --ann val.json                    tables\n  \
    smalti analyze results.json --ann val.json --out analysis/    charts and analysis.json too\n  \
    smalti analyze results.segm.json --ann val.json --type segm --worst 50\n\n\
    What is counted, and how, is COCO's; results of MMDetection (outfile_prefix) are read too. --out writes analysis.json, precision_recall.png, \
    errors.png (and for small, medium and large objects), confusion.png, and with --per-class errors/CLASS.png.\n\
    Exit code: 1 if a file was bad."
)]
pub struct AnalyzeArgs {
    /// Detections in COCO's result form
    #[arg(value_hint = ValueHint::FilePath)]
    results: PathBuf,
    /// COCO annotation file of the same pictures
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ann: PathBuf,
    /// Write charts and JSON into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What is compared
    #[arg(long = "type", value_enum, default_value_t = What::Bbox)]
    what: What,
    /// Lowest score that counts for the confusion matrix and the worst pictures
    #[arg(long, value_name = "T", default_value_t = 0.3)]
    score_thr: f64,
    /// Overlap from which on an object counts as found there
    #[arg(long, value_name = "T", default_value_t = 0.5)]
    iou_thr: f64,
    /// How many of the worst pictures to name
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
    /// Draw the kinds of errors of every class
    #[arg(long, requires = "out")]
    per_class: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Bbox,
    Segm,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or written, and why.
pub fn run(args: &AnalyzeArgs) -> Result<ExitCode, String> {
    let open = |path: &Path| {
        let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok::<_, String>((path.display().to_string(), file))
    };
    let (name, file) = open(&args.ann)?;
    let truth = Truth::read(&name, file)?;
    truth.notes().iter().for_each(|note| style::warning(note));
    let (name, file) = open(&args.results)?;
    let results = results_file::read(&name, file, &truth)?;
    if results.other_categories > 0 {
        style::warning(&format!(
            "{} detections have a category that `{}` does not have: they are left out",
            results.other_categories,
            args.ann.display()
        ));
    }
    if args.what == What::Segm && !results.masks {
        return Err(format!(
            "`{name}`: not all detections have a mask: try --type bbox"
        ));
    }
    let options = AnalyzeOptions {
        masks: args.what == What::Segm,
        score_thr: args.score_thr,
        iou_thr: args.iou_thr,
        worst: args.worst,
    };
    let analysis = analyze(&truth, &results, options)?;
    if let Some(folder) = &args.out {
        write_all(folder, &analysis, args.per_class)?;
    }
    if args.json {
        let json = serde_json::to_value(&analysis).map_err(|e| e.to_string())?;
        style::say_json(&json);
    } else {
        print(&analysis);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(analysis: &Analysis) {
    let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.3}"));
    let figures = analysis.summary.iter().filter(|(_, v)| *v >= 0.0);
    let figures: Vec<String> = figures.map(|(name, v)| format!("{name} {v:.3}")).collect();
    style::say(figures.join("  "));

    let mut rows = vec![row(&["size", "objects", "AP", "AP50", "AP75", "AR"])];
    for size in &analysis.sizes {
        let figures = [size.ap, size.ap_50, size.ap_75, size.ar].map(number);
        let head = [size.name.clone(), size.objects.to_string()];
        rows.push(head.into_iter().chain(figures).collect());
    }
    table(&rows);

    let heading = [
        "class",
        "objects",
        "detections",
        "AP",
        "AP50",
        "AP75",
        "APs",
        "APm",
        "APl",
        "AR",
    ];
    let mut rows = vec![row(&heading)];
    let mut classes: Vec<&ClassRow> = analysis.classes.iter().collect();
    let ap = |class: &ClassRow| class.ap.unwrap_or(2.0);
    classes.sort_by(|a, b| ap(a).total_cmp(&ap(b)));
    for c in classes {
        let figures = [
            c.ap,
            c.ap_50,
            c.ap_75,
            c.ap_small,
            c.ap_medium,
            c.ap_large,
            c.ar,
        ];
        let head = [
            c.name.clone(),
            c.objects.to_string(),
            c.detections.to_string(),
        ];
        rows.push(head.into_iter().chain(figures.map(number)).collect());
    }
    table(&rows);

    let mut rows = vec![row(&["errors", "AP", "gain", ""])];
    if let Some(all) = analysis.errors.first() {
        let mut last = None;
        for (k, ap) in all.ap.iter().enumerate() {
            let gain = last.map_or(String::new(), |last: f64| format!("{:+.3}", ap - last));
            rows.push(vec![
                KINDS[k].into(),
                format!("{ap:.3}"),
                gain,
                KINDS_MEAN[k].into(),
            ]);
            last = Some(*ap);
        }
    }
    table(&rows);

    if analysis.worst.is_empty() {
        return;
    }
    let heading = [
        "picture",
        "objects",
        "found",
        "missed",
        "twice",
        "wrong class",
        "badly placed",
        "on nothing",
    ];
    let mut rows = vec![row(&heading)];
    for p in &analysis.worst {
        let PictureRow {
            objects,
            found,
            missed,
            twice,
            ..
        } = p;
        let numbers = [
            objects,
            found,
            missed,
            twice,
            &p.wrong_class,
            &p.badly_placed,
            &p.on_nothing,
        ];
        let name = match p.file_name.is_empty() {
            true => p.id.clone(),
            false => p.file_name.clone(),
        };
        let numbers = numbers.iter().map(ToString::to_string);
        rows.push(std::iter::once(name).chain(numbers).collect());
    }
    table(&rows);
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Columns, the first and the last to the left, after an empty line.
fn table(rows: &[Vec<String>]) {
    style::say("");
    let columns = rows[0].len();
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let words = |cell: &str| cell.contains(' ') && cell.len() > 14;
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (cell, width))| {
                if c == 0 || words(cell) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        style::say(line.trim_end());
    }
}

/// Charts and JSON.
fn write_all(folder: &Path, analysis: &Analysis, per_class: bool) -> Result<(), String> {
    let json = serde_json::to_vec_pretty(analysis).map_err(|e| e.to_string())?;
    write(&folder.join("analysis.json"), &json)?;
    let picture = |name: &str, canvas: Canvas| {
        let png = canvas.png().map_err(|e| format!("{name}: {e}"))?;
        write(&folder.join(name), &png)
    };
    picture(
        "precision_recall.png",
        charts::curves(analysis).draw([960, 600]),
    )?;
    picture(
        "confusion.png",
        charts::confusion(&analysis.confusion).draw(720),
    )?;
    let mut names = std::collections::HashSet::new();
    for errors in &analysis.errors {
        let all = errors.name == "all classes" && names.insert(errors.area.to_owned());
        let name = match (all, errors.area) {
            (true, "all") => "errors.png".to_owned(),
            (true, area) => format!("errors-{area}.png"),
            (false, _) if !per_class => continue,
            (false, _) => free_name(&errors.name, &mut names),
        };
        let chart = charts::errors(errors, &analysis.recalls);
        picture(&name, chart.draw([760, 520]))?;
    }
    Ok(())
}

/// A file of a class: its name may be any text.
fn free_name(class: &str, taken: &mut std::collections::HashSet<String>) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let stem: String = class.chars().take(60).map(plain).collect();
    let mut name = format!("errors/{stem}.png");
    let mut i = 1;
    while !taken.insert(name.to_lowercase()) {
        i += 1;
        name = format!("errors/{stem}-{i}.png");
    }
    name
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    let written = AtomicFile::create(path).and_then(|mut file| {
        file.write_all(content)?;
        file.commit()
    });
    written.map_err(|e| format!("{}: {e}", path.display()))
}
