//! Charts: lines over two axes ([`Chart`]), and a matrix as a heat map ([`HeatMap`]). For precision and recall, losses and learning rates, what is
//! taken for what.
//!
//! Dark ink on white paper. Lines are drawn at sub-pixel positions; where many points share a column of pixels only the ends and the highest and
//! lowest of them are, so that a curve of a million steps costs no more than the chart is wide. Values that are no numbers leave a gap.

mod axis;
mod heat_map;
mod paper;
mod stroke;

pub use axis::Axis;
pub use heat_map::HeatMap;

use super::{Area, Canvas, Text};
use axis::Scale;
use paper::{FAINT, INK, MARGIN, SIZES, ink, shortened, tint, white, write};
use stroke::{fill_below, stroke, thinned};

const GRID: [u8; 3] = [228, 230, 235];
/// Lines that a legend names.
const MOST_NAMED: usize = 24;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// In the legend; empty: it is not there.
    pub name: String,
    /// x and y, in the order in which they are joined.
    pub points: Vec<[f64; 2]>,
    /// RGB; `None`: by its place among the lines.
    pub colour: Option<[u8; 3]>,
    /// The area between it and the bottom is filled.
    pub filled: bool,
}

impl Line {
    /// In a colour of its own.
    pub fn new(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self {
            name: name.into(),
            points,
            colour: None,
            filled: false,
        }
    }

    /// In this colour.
    pub fn coloured(mut self, rgb: [u8; 3]) -> Self {
        self.colour = Some(rgb);
        self
    }

    /// With the area below it. Lines that come later lie on it.
    pub fn filled(mut self) -> Self {
        self.filled = true;
        self
    }
}

/// Lines over two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The first is drawn first.
    pub lines: Vec<Line>,
}

impl Chart {
    /// An empty one.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            lines: Vec::new(),
        }
    }

    /// With one more line.
    pub fn with(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    fn colour(&self, index: usize) -> [u8; 3] {
        self.lines[index].colour.unwrap_or_else(|| ink(index))
    }

    /// The chart, `[width, height]` px (160 to 8,192 each).
    pub fn draw(&self, size: [usize; 2]) -> Canvas {
        let [width, height] = size.map(|v| v.clamp(SIZES[0], SIZES[1]));
        let mut canvas = white(width, height);
        let (title, text) = (Text::new(18.0), Text::new(14.0));
        let letters = text.size("0", 0);
        let mut frame = Area {
            x1: MARGIN,
            y1: MARGIN,
            x2: width as i64 - MARGIN,
            y2: height as i64 - MARGIN,
        };
        if !self.title.is_empty() {
            let shown = shortened(&self.title, &title, frame.x2 - frame.x1);
            frame.y1 += write(&mut canvas, &title, &shown, [frame.x1, frame.y1], INK) + 4;
        }
        frame.y1 += write(
            &mut canvas,
            &text,
            &self.y.label,
            [frame.x1, frame.y1],
            FAINT,
        ) + 8;
        let label = text.size(&self.x.label, 0);
        frame.y2 -= label.1;
        let under = frame.y2;
        frame.y2 -= letters.1 + 8;
        frame.x2 -= self.legend(&mut canvas, frame, &text);
        let at = [(frame.x2 - label.0).max(frame.x1), under];
        write(&mut canvas, &text, &self.x.label, at, FAINT);

        let values = |axis: usize| {
            let points = self.lines.iter().flat_map(|line| &line.points);
            points.map(move |p| p[axis])
        };
        let up = Scale::new(
            &self.y,
            values(1),
            ((frame.y2 - frame.y1) / 46).max(2) as usize,
        );
        let texts: Vec<String> = up.ticks.iter().map(|t| up.text(*t)).collect();
        let widest = texts.iter().map(|t| text.size(t, 0).0).max().unwrap_or(0);
        frame.x1 += widest + 10;
        frame.x2 = frame.x2.max(frame.x1 + 16);
        frame.y2 = frame.y2.max(frame.y1 + 16);
        let right = Scale::new(
            &self.x,
            values(0),
            ((frame.x2 - frame.x1) / 90).max(2) as usize,
        );
        let [w, h] = [frame.x2 - frame.x1, frame.y2 - frame.y1].map(|v| v as f64);
        for (tick, name) in up.ticks.iter().zip(&texts) {
            let y = frame.y2 - (up.share_of(*tick) * h).round() as i64;
            let line = Area {
                y1: y,
                y2: y + 1,
                ..frame
            };
            canvas.fill(line, GRID, 1.0);
            let (tw, th) = text.size(name, 0);
            write(
                &mut canvas,
                &text,
                name,
                [frame.x1 - 10 - tw, y - th / 2],
                INK,
            );
        }
        let mut free = i64::MIN;
        for tick in &right.ticks {
            let x = frame.x1 + (right.share_of(*tick) * w).round() as i64;
            let line = Area {
                x1: x,
                x2: x + 1,
                ..frame
            };
            canvas.fill(line, GRID, 1.0);
            let name = right.text(*tick);
            let tw = text.size(&name, 0).0;
            let left = (x - tw / 2).min(width as i64 - MARGIN - tw);
            if left > free {
                write(&mut canvas, &text, &name, [left, frame.y2 + 6], INK);
                free = left + tw + 6;
            }
        }
        for (i, line) in self.lines.iter().enumerate() {
            let points = line.points.iter().map(|[x, y]| {
                let at = [right.share(*x) * w, h - up.share(*y) * h];
                at.iter().all(|v| v.is_finite()).then_some(at)
            });
            let strokes = thinned(points);
            if line.filled {
                fill_below(&mut canvas, frame, &strokes, self.colour(i));
            }
            stroke(&mut canvas, frame, &strokes, self.colour(i));
        }
        for edge in [
            Area {
                x2: frame.x1 + 1,
                ..frame
            },
            Area {
                y1: frame.y2,
                y2: frame.y2 + 1,
                ..frame
            },
        ] {
            canvas.fill(edge, FAINT, 1.0);
        }
        canvas
    }

    /// Names of lines at the right of the frame; gives the width that they take.
    fn legend(&self, canvas: &mut Canvas, frame: Area, text: &Text) -> i64 {
        const SWATCH: i64 = 22;
        let named = |i: &usize| !self.lines[*i].name.is_empty();
        let named: Vec<usize> = (0..self.lines.len()).filter(named).collect();
        if named.is_empty() {
            return 0;
        }
        let most = (frame.x2 - frame.x1) / 2 - SWATCH;
        let row = text.size("0", 0).1 + 5;
        let fits = ((frame.y2 - frame.y1) / row).max(1) as usize;
        let shown = named.len().min(fits).min(MOST_NAMED);
        let shown = if shown < named.len() {
            shown.saturating_sub(1)
        } else {
            shown
        };
        let mut names: Vec<String> = named[..shown]
            .iter()
            .map(|i| shortened(&self.lines[*i].name, text, most))
            .collect();
        if shown < named.len() {
            names.push(format!("and {} more", named.len() - shown));
        }
        let widest = names.iter().map(|n| text.size(n, 0).0).max().unwrap_or(0);
        let left = frame.x2 - widest;
        for (n, name) in names.iter().enumerate() {
            let y = frame.y1 + n as i64 * row;
            write(canvas, text, name, [left, y], INK);
            if let Some(i) = named.get(n).filter(|_| n < shown) {
                let middle = y + row / 2 - 3;
                let own = self.colour(*i);
                let (thick, rgb) = match self.lines[*i].filled {
                    true => (10, tint(own)),
                    false => (3, own),
                };
                let swatch = Area {
                    x1: left - SWATCH,
                    x2: left - 6,
                    y1: middle - thick / 2,
                    y2: middle - thick / 2 + thick,
                };
                canvas.fill(swatch, rgb, 1.0);
            }
        }
        widest + SWATCH + 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(canvas: &Canvas, x: usize, y: usize) -> [u8; 3] {
        let at = (y * canvas.width + x) * 3;
        [0, 1, 2].map(|i| canvas.rgb[at + i])
    }

    #[test]
    fn a_line_is_where_its_points_are() {
        let red = [200, 0, 0];
        let line = Line::new("", vec![[0.0, 0.0], [1.0, 1.0]]).coloured(red);
        let axes = [0, 1].map(|_| Axis::within("", 0.0, 1.0));
        let [x, y] = axes;
        let canvas = Chart::new("", x, y).with(line).draw([400, 300]);
        let red_at = |x: usize, y: usize| at(&canvas, x, y) == red;
        let found: Vec<[usize; 2]> = (0..300)
            .flat_map(|y| (0..400).map(move |x| [x, y]))
            .filter(|[x, y]| red_at(*x, *y))
            .collect();
        let ends = [found[0], found[found.len() - 1]];
        assert!(ends[0][0] > 375 && ends[0][1] < 50, "top right: {ends:?}");
        assert!(ends[1][0] < 60 && ends[1][1] > 230, "bottom left: {ends:?}");
    }

    /// To look at: `SMALTI_CHARTS=DIR cargo test -p smalti draw::chart`.
    #[test]
    fn charts_to_look_at() {
        let points = |most: usize, of: &dyn Fn(f64) -> f64| -> Vec<[f64; 2]> {
            let x = |i: usize| i as f64 / most as f64;
            (0..=most).map(|i| [x(i), of(x(i))]).collect()
        };
        let mut chart = Chart::new(
            "Loss of a training",
            Axis::new("training"),
            Axis::new("loss"),
        );
        for (name, f) in [("loss", 19.0), ("loss_cls", 34.0), ("loss_bbox", 8.0)] {
            let wave = points(400, &|x| (x * f).sin() * (-x * 2.0).exp());
            chart = chart.with(Line::new(name, wave));
        }
        let axis = |name: &str| Axis::within(name, 0.0, 1.0);
        let mut areas = Chart::new("class 3", axis("recall"), axis("precision"));
        for (name, p) in [("C50", 5.0), ("C75", 2.0), ("C90", 1.0)] {
            let curve = points(100, &|r| 1.0 - r.powf(p));
            areas = areas.with(Line::new(name, curve).filled());
        }
        let rate = points(2000, &|x| 1e-2 * (-x * 10.0).exp());
        let rate = Chart::new("", Axis::new("epoch"), Axis::log("learning rate"))
            .with(Line::new("", rate));
        let names: Vec<String> = (0..11).map(|i| format!("digit {i}")).collect();
        let value = |i: usize, j: usize| match i == j {
            true => 0.8,
            false => (i * j % 7) as f64 / 40.0,
        };
        let values: Vec<Vec<f64>> = (0..11)
            .map(|i| (0..11).map(|j| value(i, j)).collect())
            .collect();
        let text = |row: &Vec<f64>| row.iter().map(|v| format!("{v:.2}")).collect();
        let map = HeatMap {
            title: "Confusion matrix".into(),
            row_label: "ground truth".into(),
            column_label: "prediction".into(),
            rows: names.clone(),
            columns: names,
            texts: values.iter().map(text).collect(),
            values,
        };
        let pictures = [
            chart.draw([900, 420]),
            areas.draw([640, 480]),
            map.draw(640),
            rate.draw([500, 300]),
        ];
        if let Some(folder) = std::env::var_os("SMALTI_CHARTS") {
            for (i, picture) in pictures.iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("{i}.png"));
                std::fs::write(path, picture.png().unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn strange_values() {
        let nan = f64::NAN;
        let inf = f64::INFINITY;
        let wild = vec![
            [0.0, 1.0],
            [nan, 2.0],
            [inf, -inf],
            [1e300, -1e300],
            [1.0, 1e-300],
            [0.0, 0.0],
        ];
        for points in [vec![], vec![[3.0, 3.0]], vec![[nan, nan]], wild] {
            for axis in [
                Axis::new("x"),
                Axis::log("x"),
                Axis::within("x", 1.0, 0.0),
                Axis::within("x", nan, inf),
            ] {
                for size in [[0, 0], [300, 200]] {
                    let line = Line::new("n".repeat(1000), points.clone());
                    let chart = Chart::new("t".repeat(1000), axis.clone(), axis.clone());
                    chart.with(line.clone()).with(line.filled()).draw(size);
                }
            }
        }
        HeatMap::default().draw(0);
        let names = vec!["\u{4e2d}".repeat(500); 400];
        let map = HeatMap {
            rows: names.clone(),
            columns: names,
            values: vec![vec![nan, 7.0, -1.0]],
            texts: vec![vec!["x".repeat(99)]],
            ..HeatMap::default()
        };
        assert!(map.draw(100).width < SIZES[1]);
    }
}
