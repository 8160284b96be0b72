//! Charts: lines over two axes ([`Chart`]), and a matrix as a heat map ([`HeatMap`]). For precision and recall, losses and learning rates, what is
//! taken for what.
//!
//! Dark ink on white paper. Lines are drawn at sub-pixel positions; where many points share a column of pixels only the ends and the highest and
//! lowest of them are, so that a curve of a million steps costs no more than the chart is wide. Values that are no numbers leave a gap.

use super::{Area, Canvas, Text, colour};

const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [38, 42, 50];
const FAINT: [u8; 3] = [112, 118, 130];
const GRID: [u8; 3] = [228, 230, 235];
/// Around everything, px.
const MARGIN: i64 = 14;
/// Lines that a legend names.
const MOST_NAMED: usize = 24;
/// Cells of a heat map in a row; what is beyond is left out.
const MOST_CELLS: usize = 256;
/// Letters of a name that are shown.
const LONGEST_NAME: usize = 28;
/// Smallest and largest width and height of a chart, px.
const SIZES: [usize; 2] = [160, 8192];

/// How an axis is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it counts, with its unit.
    pub label: String,
    /// First and last value; `None`: around what is drawn.
    pub range: Option<[f64; 2]>,
    /// Equal factors are equally far apart; what is not above 0 is not drawn.
    pub log: bool,
}

impl Axis {
    /// Around what is drawn.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// From `first` to `last`.
    pub fn within(label: impl Into<String>, first: f64, last: f64) -> Self {
        Self {
            range: Some([first, last]),
            ..Self::new(label)
        }
    }

    /// By factors.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            log: true,
            ..Self::new(label)
        }
    }

    /// Where a value lies, before it is scaled.
    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }
}

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

/// An axis as it is drawn: the place of values, and where there are ticks.
struct Scale<'a> {
    axis: &'a Axis,
    /// Places of the first and the last value.
    ends: [f64; 2],
    ticks: Vec<f64>,
}

impl<'a> Scale<'a> {
    /// `values` are what is drawn; about `count` ticks.
    fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, count: usize) -> Self {
        let seen = values.map(|v| axis.place(v)).filter(|v| v.is_finite());
        let seen = seen.fold(None, |ends: Option<[f64; 2]>, v| {
            let [low, high] = ends.unwrap_or([v, v]);
            Some([low.min(v), high.max(v)])
        });
        let given = axis.range.map(|r| r.map(|v| axis.place(v)));
        let given = given.filter(|r| r.iter().all(|v| v.is_finite()) && r[0] < r[1]);
        let [mut low, mut high] = given.or(seen).unwrap_or([0.0, 1.0]);
        if given.is_none() {
            if high - low < 1e-12 * high.abs().max(1e-300) || high == low {
                let around = if high == 0.0 { 1.0 } else { high.abs() / 2.0 };
                (low, high) = (low - around, high + around);
            }
            let step = step(low, high, count);
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        let ends = [low, high];
        let ticks = match axis.log {
            true if high - low >= 1.0 => {
                let every = ((high - low) / count.max(1) as f64).ceil().max(1.0);
                let first = low.ceil();
                let number = ((high - first) / every).floor().max(0.0) as usize;
                (0..=number).map(|i| first + i as f64 * every).collect()
            }
            _ => {
                let step = step(low, high, count);
                let first = (low / step - 1e-9).ceil();
                let number = ((high / step + 1e-9).floor() - first).max(0.0) as usize;
                (0..=number.min(100))
                    .map(|i| (first + i as f64) * step)
                    .collect()
            }
        };
        Self { axis, ends, ticks }
    }

    /// 0 at the first value, 1 at the last.
    fn share(&self, value: f64) -> f64 {
        self.share_of(self.axis.place(value))
    }

    fn share_of(&self, place: f64) -> f64 {
        (place - self.ends[0]) / (self.ends[1] - self.ends[0])
    }

    /// Text of a tick.
    fn text(&self, tick: f64) -> String {
        if self.axis.log {
            return number(10_f64.powf(tick), 10_f64.powf(tick));
        }
        let step = match self.ticks[..] {
            [a, b, ..] => b - a,
            _ => tick,
        };
        number(tick, step)
    }
}

/// 1, 2 or 5 times a power of ten: so many of them that there are about `count`.
fn step(low: f64, high: f64, count: usize) -> f64 {
    let raw = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|s| s * power);
    steps
        .into_iter()
        .find(|s| *s >= raw * 0.999)
        .unwrap_or(10.0 * power)
}

/// A value with as many digits as its neighbours need, which are `step` away.
fn number(value: f64, step: f64) -> String {
    let most = value.abs().max(step.abs());
    if value == 0.0 {
        return "0".into();
    }
    if most >= 1e6 || most < 1e-3 {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = (-(step.abs().max(1e-12).log10()).floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
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

/// Points of each stroke, px from the corner of the frame; at most four a column of pixels.
fn thinned(points: impl Iterator<Item = Option<[f64; 2]>>) -> Vec<Vec<[f64; 2]>> {
    /// The first, the extremes and the last of a column, in their order.
    fn end(column: &mut Vec<[f64; 2]>, stroke: &mut Vec<[f64; 2]>) {
        if column.len() <= 4 {
            stroke.append(column);
            return;
        }
        let by = |i: &usize, j: &usize| column[*i][1].total_cmp(&column[*j][1]);
        let all = 0..column.len();
        let low = all.clone().min_by(by).unwrap_or(0);
        let high = all.max_by(by).unwrap_or(0);
        let mut kept = [0, low, high, column.len() - 1];
        kept.sort_unstable();
        stroke.extend(kept.map(|i| column[i]));
        column.clear();
    }
    let (mut strokes, mut stroke, mut column) = (Vec::new(), Vec::new(), Vec::<[f64; 2]>::new());
    for point in points {
        let Some(point) = point else {
            end(&mut column, &mut stroke);
            strokes.push(std::mem::take(&mut stroke));
            continue;
        };
        if column
            .first()
            .is_some_and(|p| p[0].floor() != point[0].floor())
        {
            end(&mut column, &mut stroke);
        }
        column.push(point);
    }
    end(&mut column, &mut stroke);
    strokes.push(stroke);
    strokes.retain(|s| !s.is_empty());
    strokes
}

/// Draws strokes two pixels wide within the frame.
fn stroke(canvas: &mut Canvas, frame: Area, strokes: &[Vec<[f64; 2]>], ink: [u8; 3]) {
    const RADIUS: f64 = 1.0;
    // Cover first, then ink: where pieces of a line meet it is as dark as elsewhere.
    let [w, h] = [frame.x2 - frame.x1, frame.y2 - frame.y1].map(|v| v as usize + 1);
    let mut cover = vec![0_f32; w * h];
    let mut piece = |a: [f64; 2], b: [f64; 2]| {
        let Some([a, b]) = within(a, b, [w as f64 + 8.0, h as f64 + 8.0]) else {
            return;
        };
        let reach = RADIUS + 1.0;
        let range = |axis: usize, most: usize| {
            let low = (a[axis].min(b[axis]) - reach).floor().max(0.0) as usize;
            let high = (a[axis].max(b[axis]) + reach).ceil().max(0.0) as usize;
            low.min(most)..high.min(most)
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        for y in range(1, h) {
            for x in range(0, w) {
                let from = [x as f64 - a[0], y as f64 - a[1]];
                let t = if length > 0.0 {
                    ((from[0] * along[0] + from[1] * along[1]) / length).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let off = [from[0] - t * along[0], from[1] - t * along[1]];
                let distance = off[0].hypot(off[1]);
                let value = (RADIUS + 0.5 - distance).clamp(0.0, 1.0) as f32;
                let there = &mut cover[y * w + x];
                *there = there.max(value);
            }
        }
    };
    for points in strokes {
        if let [one] = points[..] {
            piece(one, one);
        }
        points.windows(2).for_each(|pair| piece(pair[0], pair[1]));
    }
    for (i, alpha) in cover.into_iter().enumerate().filter(|(_, a)| *a > 0.0) {
        let (x, y) = ((i % w) as i64, (i / w) as i64);
        canvas.blend(frame.x1 + x, frame.y1 + y, ink, alpha);
    }
}

/// The part of a piece of line that lies between -8 and `most`; `None` if there is none.
fn within(a: [f64; 2], b: [f64; 2], most: [f64; 2]) -> Option<[[f64; 2]; 2]> {
    let (mut from, mut to) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let along = b[axis] - a[axis];
        for (limit, sign) in [(-8.0, 1.0), (most[axis], -1.0)] {
            let (start, slope) = (sign * (a[axis] - limit), sign * along);
            if slope == 0.0 {
                if start < 0.0 {
                    return None;
                }
            } else if slope > 0.0 {
                from = from.max(-start / slope);
            } else {
                to = to.min(-start / slope);
            }
        }
    }
    let at = |t: f64| [0, 1].map(|k| a[k] + t * (b[k] - a[k]));
    (from <= to).then(|| [at(from), at(to)])
}

/// Fills what lies below strokes.
fn fill_below(canvas: &mut Canvas, frame: Area, strokes: &[Vec<[f64; 2]>], ink: [u8; 3]) {
    for points in strokes {
        for x in 0..=frame.x2 - frame.x1 {
            let at = x as f64;
            let over = points.windows(2).find(|p| p[0][0] <= at && at <= p[1][0]);
            let Some([a, b]) = over.map(|p| [p[0], p[1]]) else {
                continue;
            };
            let t = if b[0] > a[0] {
                (at - a[0]) / (b[0] - a[0])
            } else {
                0.0
            };
            let y = (a[1] + t * (b[1] - a[1])).round().clamp(-1e9, 1e9) as i64;
            let column = Area {
                x1: frame.x1 + x,
                x2: frame.x1 + x + 1,
                y1: (frame.y1 + y).max(frame.y1),
                y2: frame.y2 + 1,
            };
            canvas.fill(column, tint(ink), 1.0);
        }
    }
}

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

fn white(width: usize, height: usize) -> Canvas {
    Canvas {
        width,
        height,
        rgb: vec![PAPER[0]; width * height * 3],
    }
}

/// Writes a line with its corner at `[x, y]`; gives its height.
fn write(canvas: &mut Canvas, text: &Text, words: &str, [x, y]: [i64; 2], ink: [u8; 3]) -> i64 {
    let (w, h) = text.size(words, 0);
    let place = Area {
        x1: x,
        y1: y,
        x2: x + w,
        y2: y + h,
    };
    text.write(canvas, words, place, 0, ink);
    h
}

/// A name, not too long.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}\u{2026}", &name[..at]),
        None => name.to_owned(),
    }
}

/// As much of a text as is not wider than `width` px. Hostile texts are not laid out to their end.
fn shortened(words: &str, text: &Text, width: i64) -> String {
    let mut shown: Vec<char> = words.chars().take(400).collect();
    let mut cut = shown.len() < words.chars().count();
    loop {
        let end = if cut { "\u{2026}" } else { "" };
        let candidate = shown.iter().collect::<String>() + end;
        let needs = text.size(&candidate, 0).0;
        if needs <= width || shown.is_empty() {
            return candidate;
        }
        // all letters of the font are about as wide
        let fits = shown.len() as i64 * width.max(0) / needs;
        shown.truncate((fits as usize).min(shown.len() - 1));
        cut = true;
    }
}

/// The colour of a line: that of a class, dark enough for white paper.
fn ink(index: usize) -> [u8; 3] {
    let rgb = colour(index).map(f32::from);
    let light = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
    let factor = (130.0 / light.max(1.0)).min(1.0);
    rgb.map(|v| (v * factor) as u8)
}

/// The colour of the area below a line.
fn tint(rgb: [u8; 3]) -> [u8; 3] {
    rgb.map(|v| 255 - (255 - v) / 2)
}

/// White to dark blue.
fn shade(value: f64) -> [u8; 3] {
    let (light, dark) = ([244.0, 246.0, 250.0], [16.0, 62.0, 135.0]);
    // small values can be told from none
    let t = value.powf(0.6);
    std::array::from_fn(|i| (light[i] + (dark[i] - light[i]) * t).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(canvas: &Canvas, x: usize, y: usize) -> [u8; 3] {
        let at = (y * canvas.width + x) * 3;
        [0, 1, 2].map(|i| canvas.rgb[at + i])
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |low: f64, high: f64, count: usize| {
            let axis = Axis::within("", low, high);
            let scale = Scale::new(&axis, std::iter::empty(), count);
            let texts: Vec<String> = scale.ticks.iter().map(|t| scale.text(*t)).collect();
            texts.join(" ")
        };
        assert_eq!(ticks(0.0, 1.0, 5), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(ticks(0.0, 7330.0, 4), "0 2000 4000 6000");
        assert_eq!(ticks(-0.03, 0.05, 4), "-0.02 0 0.02 0.04");
        assert_eq!(ticks(0.0, 3e7, 3), "0 1e7 2e7 3e7");
        let axis = Axis::log("");
        let scale = Scale::new(&axis, [1e-5, 2e-2, 0.0, -1.0].into_iter(), 4);
        let texts: Vec<String> = scale.ticks.iter().map(|t| scale.text(*t)).collect();
        assert_eq!(texts.join(" "), "1e-5 1e-4 0.001 0.01 0.1");
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

    #[test]
    fn many_points_are_few() {
        let points = (0..1_000_000).map(|i| Some([f64::from(i) / 1e4, f64::from(i % 7)]));
        let strokes = thinned(points);
        assert!(strokes[0].len() <= 400, "{}", strokes[0].len());
    }
}
