//! Tables of text, as `terminaltables.AsciiTable` draws them in MMDetection's logs.

/// Rows of cells, the first a heading; `footer`: the last row has a line above it.
pub(super) fn ascii(rows: &[Vec<String>], footer: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line: String = widths
        .iter()
        .map(|w| format!("+{}", "-".repeat(w + 2)))
        .collect::<String>()
        + "+\n";
    let mut out = line.clone();
    for (i, row) in rows.iter().enumerate() {
        if footer && i > 1 && i + 1 == rows.len() {
            out += &line;
        }
        for (column, width) in widths.iter().enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            out += &format!("| {cell:<width$} ");
        }
        out += "|\n";
        if i == 0 {
            out += &line;
        }
    }
    out + line.trim_end()
}

/// A number as Python prints a float.
pub(super) fn python(value: f64) -> String {
    if value.is_nan() {
        "nan".into()
    } else {
        format!("{value:?}")
    }
}

/// numpy's `round(value, 3)`.
pub(super) fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round_ties_even() / 1000.0
}

/// `float(f'{value:.3f}')`.
pub(super) fn three_digits(value: f64) -> f64 {
    format!("{value:.3}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_terminaltables() {
        let rows = [["class", "ap"], ["cat", "0.5"], ["mAP", ""]];
        let rows = rows.map(|row| row.map(String::from).to_vec());
        assert_eq!(
            ascii(&rows, true),
            "+-------+-----+\n| class | ap  |\n+-------+-----+\n| cat   | 0.5 |\n+-------+-----+\n| mAP   |     |\n+-------+-----+"
        );
        assert_eq!(python(1.0) + &python(f64::NAN), "1.0nan");
    }
}
