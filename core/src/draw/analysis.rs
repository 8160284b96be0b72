//! Charts of an [`Analysis`]: precision against recall, kinds of errors, what is taken for what.

use super::chart::{Axis, Chart, HeatMap, Line};
use crate::data::evaluate::analysis::{Analysis, Confusion, Errors, KINDS};

/// Of the kinds of errors, in the order of [`KINDS`].
const COLOURS: [[u8; 3]; 7] = [
    [58, 84, 128],
    [150, 172, 206],
    [40, 150, 190],
    [206, 62, 60],
    [60, 168, 72],
    [128, 90, 178],
    [236, 150, 30],
];
/// Of the mean over classes.
const MEAN: [u8; 3] = [20, 22, 28];
/// Classes that have a line of their own; of more the worst have.
const MOST_LINES: usize = 20;

fn axes() -> [Axis; 2] {
    ["recall", "precision"].map(|name| Axis::within(name, 0.0, 1.0))
}

fn points(recalls: &[f64], precision: &[f64]) -> Vec<[f64; 2]> {
    recalls
        .iter()
        .zip(precision)
        .map(|(r, p)| [*r, *p])
        .collect()
}

/// Precision against recall at an overlap of 0.5: of each class, the worst first, and the mean.
pub fn curves(analysis: &Analysis) -> Chart {
    let [x, y] = axes();
    let mut chart = Chart::new("Precision and recall at an overlap of 0.5", x, y);
    let with = analysis
        .classes
        .iter()
        .filter(|c| !c.precision_50.is_empty());
    let mut classes: Vec<_> = with.collect();
    let ap = |c: &&_| -> f64 { ap_50(c) };
    classes.sort_by(|a, b| ap(a).total_cmp(&ap(b)));
    for class in classes.iter().take(MOST_LINES) {
        let name = format!("{:.3} {}", ap(class), class.name);
        chart = chart.with(Line::new(
            name,
            points(&analysis.recalls, &class.precision_50),
        ));
    }
    let count = classes.len().max(1) as f64;
    let mean = |r: usize| classes.iter().map(|c| c.precision_50[r]).sum::<f64>() / count;
    let mean: Vec<f64> = (0..analysis.recalls.len()).map(mean).collect();
    let value = mean.iter().sum::<f64>() / mean.len().max(1) as f64;
    let name = match classes.len() > MOST_LINES {
        true => format!("{value:.3} mean of {}", classes.len()),
        false => format!("{value:.3} mean"),
    };
    let line = Line::new(name, points(&analysis.recalls, &mean));
    chart.with(line.coloured(MEAN))
}

fn ap_50(class: &crate::data::evaluate::analysis::ClassRow) -> f64 {
    class.ap_50.unwrap_or(0.0)
}

/// Precision with one kind of error after the other forgiven: each area is what its kind costs.
pub fn errors(errors: &Errors, recalls: &[f64]) -> Chart {
    let [x, y] = axes();
    let title = match errors.area {
        "all" => format!("Errors: {}", errors.name),
        area => format!("Errors: {}, {area} objects", errors.name),
    };
    let mut chart = Chart::new(title, x, y);
    for k in (0..KINDS.len()).rev() {
        let name = format!("{:.3} {}", errors.ap[k], KINDS[k]);
        let line = Line::new(name, points(recalls, &errors.curves[k]));
        chart = chart.with(line.coloured(COLOURS[k]).filled());
    }
    chart
}

/// Of each class's objects, the share that is taken for each class; of detections on nothing, the share of each class.
pub fn confusion(confusion: &Confusion) -> HeatMap {
    let share = |row: &Vec<u64>| {
        let sum = row.iter().sum::<u64>().max(1) as f64;
        row.iter().map(|n| *n as f64 / sum).collect()
    };
    let values: Vec<Vec<f64>> = confusion.counts.iter().map(share).collect();
    let text = |value: &f64| match (value * 100.0).round() {
        0.0 => String::new(),
        percent => format!("{percent}%"),
    };
    HeatMap {
        title: "What is taken for what".into(),
        row_label: "annotations".into(),
        column_label: "detections".into(),
        rows: confusion.names.clone(),
        columns: confusion.names.clone(),
        texts: values
            .iter()
            .map(|row| row.iter().map(text).collect())
            .collect(),
        values,
    }
}
