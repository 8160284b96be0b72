//! [`HeatMap`]: a matrix, dark where its values are high.

use super::super::{Area, Canvas, Text};
use super::paper::{FAINT, INK, MARGIN, PAPER, SIZES, shortened, white, write};

/// Cells in a row; what is beyond is left out.
const MOST_CELLS: usize = 256;
/// Letters of a name that are shown.
const LONGEST_NAME: usize = 28;

/// A matrix: a cell for each row and column, dark where the value is high.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// Above it.
    pub title: String,
    /// What rows are.
    pub row_label: String,
    /// What columns are.
    pub column_label: String,
    /// Names of rows.
    pub rows: Vec<String>,
    /// Names of columns.
    pub columns: Vec<String>,
    /// `[rows][columns]`, 0 to 1: how dark.
    pub values: Vec<Vec<f64>>,
    /// `[rows][columns]`: what is written in the cells, if there is room.
    pub texts: Vec<Vec<String>>,
}

impl HeatMap {
    /// The map, about `size` px wide and high, but no smaller than its names need. 256 rows and columns are shown at most.
    pub fn draw(&self, size: usize) -> Canvas {
        let size = size.clamp(SIZES[0], SIZES[1] / 2) as i64;
        let counts = [&self.rows, &self.columns].map(|names| names.len().min(MOST_CELLS) as i64);
        let [rows, columns] = counts;
        let (title, text, small) = (Text::new(18.0), Text::new(14.0), Text::new(11.0));
        let line = text.size("0", 0).1;
        let cell = (size / rows.max(columns).max(1)).clamp(line + 2, 72);
        let short = |name: &String| shortened(&cut(name), &text, i64::MAX);
        let row_names: Vec<String> = self.rows.iter().take(rows as usize).map(short).collect();
        let column_names: Vec<String> = self
            .columns
            .iter()
            .take(columns as usize)
            .map(short)
            .collect();
        let widest = |names: &[String]| names.iter().map(|n| text.size(n, 0).0).max().unwrap_or(0);
        let left = MARGIN + widest(&row_names) + 8;
        let mut top = MARGIN + title.size("0", 0).1 + 4 + line + 8;
        let head = top;
        top += widest(&column_names) + 8;
        let labels = format!("rows: {}; columns: {}", self.row_label, self.column_label);
        let lines = [title.size(&self.title, 0).0, text.size(&labels, 0).0];
        let needed = lines.into_iter().max().unwrap_or(0) + 2 * MARGIN;
        let width = (left + columns * cell + MARGIN).max(needed.min(2000));
        let mut canvas = white(width as usize, (top + rows * cell + MARGIN) as usize);
        let mut y = MARGIN;
        let shown = shortened(&self.title, &title, width - 2 * MARGIN);
        y += write(&mut canvas, &title, &shown, [MARGIN, y], INK) + 4;
        let shown = shortened(&labels, &text, width - 2 * MARGIN);
        write(&mut canvas, &text, &shown, [MARGIN, y], FAINT);
        for (i, name) in column_names.iter().enumerate() {
            let x = left + i as i64 * cell + (cell - line) / 2;
            let (w, h) = text.size(name, 0);
            let mut label = white(w.max(1) as usize, h.max(1) as usize);
            write(&mut label, &text, name, [0, 0], INK);
            let turned = label.turned();
            let at = top - 8 - turned.height as i64;
            canvas.paste(&turned, x.max(0) as usize, at.max(head) as usize);
        }
        for (i, name) in row_names.iter().enumerate() {
            let y = top + i as i64 * cell;
            let w = text.size(name, 0).0;
            write(
                &mut canvas,
                &text,
                name,
                [left - 8 - w, y + (cell - line) / 2],
                INK,
            );
            for j in 0..columns as usize {
                let x = left + j as i64 * cell;
                let area = Area {
                    x1: x,
                    y1: y,
                    x2: x + cell - 1,
                    y2: y + cell - 1,
                };
                let value = self.values.get(i).and_then(|row| row.get(j)).copied();
                let value = value
                    .filter(|v| v.is_finite())
                    .unwrap_or(0.0)
                    .clamp(0.0, 1.0);
                canvas.fill(area, shade(value), 1.0);
                let Some(words) = self.texts.get(i).and_then(|row| row.get(j)) else {
                    continue;
                };
                let (w, h) = small.size(words, 0);
                if w < cell - 2 {
                    let ink = if value > 0.35 { PAPER } else { INK };
                    let at = [x + (cell - 1 - w) / 2, y + (cell - 1 - h) / 2];
                    write(&mut canvas, &small, words, at, ink);
                }
            }
        }
        canvas
    }
}

impl Canvas {
    /// A quarter turn to the left: what was at the right is at the top.
    fn turned(&self) -> Self {
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..self.width {
            for x in 0..self.height {
                let at = (x * self.width + self.width - 1 - y) * 3;
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Self {
            width: self.height,
            height: self.width,
            rgb,
        }
    }
}

/// A name, not too long.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}\u{2026}", &name[..at]),
        None => name.to_owned(),
    }
}

/// White to dark blue.
fn shade(value: f64) -> [u8; 3] {
    let (light, dark) = ([244.0, 246.0, 250.0], [16.0, 62.0, 135.0]);
    // small values can be told from none
    let t = value.powf(0.6);
    std::array::from_fn(|i| (light[i] + (dark[i] - light[i]) * t).round() as u8)
}
