//! Pictures under titles, and side by side on a sheet of labelled tiles.

use super::{Area, Canvas, Text};

const PAPER: [u8; 3] = [28, 29, 34];
const BRIGHT: [u8; 3] = [255, 255, 255];
const PLAIN: [u8; 3] = [190, 195, 205];
const ALARM: [u8; 3] = [255, 138, 120];
/// Between tiles, px.
const GAP: usize = 14;
/// A paragraph longer than this is cut.
const MOST_LINES: usize = 8;

/// What a line of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Large and bright.
    Title,
    /// What explains it.
    Plain,
    /// Something that was left out or went wrong.
    Alarm,
}

/// A labelled picture of a [`sheet`].
#[derive(Clone, Debug)]
pub struct Tile {
    /// Above the picture.
    pub above: Vec<(Weight, String)>,
    /// With everything drawn on it.
    pub picture: Canvas,
    /// Below the picture.
    pub below: Vec<(Weight, String)>,
}

impl Tile {
    /// The tile alone, as wide as its picture but no less than `least` px.
    pub fn titled(&self, least: usize) -> Canvas {
        let width = self.picture.width.max(least);
        let margin = 6;
        let inner = width.saturating_sub(2 * margin).max(1);
        let parts = [
            strip(&self.above, inner),
            Some(self.picture.clone()),
            strip(&self.below, inner),
        ];
        let height = parts.iter().flatten().map(|p| p.height).sum();
        let mut canvas = Canvas::plain(width, height);
        let mut y = 0;
        for (i, part) in parts.iter().enumerate() {
            if let Some(part) = part {
                let x = if i == 1 { 0 } else { margin };
                canvas.paste(part, x, y);
                y += part.height;
            }
        }
        canvas
    }
}

/// Tiles in rows of `columns`, under a heading. Every tile is as wide as the widest picture.
pub fn sheet(heading: &[(Weight, String)], tiles: &[Tile], columns: usize) -> Canvas {
    let columns = columns.clamp(1, tiles.len().max(1));
    let tile_width = tiles.iter().map(|t| t.picture.width).max().unwrap_or(320);
    let tile_width = tile_width.max(240);
    let width = columns * tile_width + (columns + 1) * GAP;
    let head = strip(heading, width - 2 * GAP);
    let rows: Vec<Vec<[Option<Canvas>; 3]>> = tiles
        .chunks(columns)
        .map(|row| {
            let parts = |tile: &Tile| {
                [
                    strip(&tile.above, tile_width),
                    Some(tile.picture.clone()),
                    strip(&tile.below, tile_width),
                ]
            };
            row.iter().map(parts).collect()
        })
        .collect();
    // The pictures of a row begin at one height.
    let heights: Vec<[usize; 2]> = rows
        .iter()
        .map(|row| {
            let height = |part: &Option<Canvas>| part.as_ref().map_or(0, |c| c.height);
            let above = row.iter().map(|t| height(&t[0])).max();
            let rest = row.iter().map(|t| height(&t[1]) + height(&t[2])).max();
            [above.unwrap_or(0), rest.unwrap_or(0)]
        })
        .collect();
    let head_height = head.as_ref().map_or(0, |h| h.height + GAP);
    let rows_height: usize = heights.iter().map(|h| h[0] + h[1] + GAP).sum();
    let mut canvas = Canvas::plain(width, GAP + head_height + rows_height);
    if let Some(head) = &head {
        canvas.paste(head, GAP, GAP);
    }
    let mut top = GAP + head_height;
    for (row, heights) in rows.iter().zip(&heights) {
        for (i, parts) in row.iter().enumerate() {
            let x = GAP + i * (tile_width + GAP);
            // Short titles stand directly over their pictures.
            let mut y = top + heights[0] - parts[0].as_ref().map_or(0, |c| c.height);
            for part in parts.iter().flatten() {
                canvas.paste(part, x, y);
                y += part.height;
            }
        }
        top += heights[0] + heights[1] + GAP;
    }
    canvas
}

/// Lines of text on plain ground, wrapped. `None` if there is no text.
fn strip(paragraphs: &[(Weight, String)], width: usize) -> Option<Canvas> {
    let mut lines: Vec<(Weight, String)> = Vec::new();
    for (weight, paragraph) in paragraphs {
        let text = weight.text();
        let mut wrapped = text.wrap(paragraph, width);
        if wrapped.len() > MOST_LINES {
            wrapped.truncate(MOST_LINES);
            wrapped[MOST_LINES - 1].push('\u{2026}');
        }
        lines.extend(wrapped.into_iter().map(|line| (*weight, line)));
    }
    if lines.is_empty() {
        return None;
    }
    let height: i64 = lines.iter().map(|(w, line)| w.text().size(line, 0).1).sum();
    let mut canvas = Canvas::plain(width, height as usize + 8);
    let mut y = 4;
    for (weight, line) in &lines {
        let text = weight.text();
        let (w, h) = text.size(line, 0);
        let place = Area {
            x1: 0,
            y1: y,
            x2: w,
            y2: y + h,
        };
        let ink = match weight {
            Weight::Title => BRIGHT,
            Weight::Plain => PLAIN,
            Weight::Alarm => ALARM,
        };
        text.write(&mut canvas, line, place, 0, ink);
        y += h;
    }
    Some(canvas)
}

impl Weight {
    fn text(self) -> Text {
        Text::new(match self {
            Weight::Title => 18.0,
            Weight::Plain | Weight::Alarm => 14.0,
        })
    }
}

impl Text {
    /// Lines of at most `width` px, broken at spaces, and within words that are too long.
    fn wrap(&self, paragraph: &str, width: usize) -> Vec<String> {
        let fits = |line: &str| self.size(line, 0).0 <= width as i64;
        let mut lines = vec![String::new()];
        for word in paragraph.split_whitespace() {
            // Hostile texts of megabytes are not laid out to their end.
            if lines.len() > 4 * MOST_LINES {
                break;
            }
            let line = lines.last_mut().expect("there is a line");
            let longer = if line.is_empty() {
                word.to_owned()
            } else {
                format!("{line} {word}")
            };
            if fits(&longer) {
                *line = longer;
                continue;
            }
            let mut part = String::new();
            if !line.is_empty() {
                lines.push(String::new());
            }
            for c in word.chars() {
                part.push(c);
                if !fits(&part) && part.chars().count() > 1 {
                    part.pop();
                    let last = lines.last_mut().expect("there is a line");
                    *last = std::mem::replace(&mut part, c.to_string());
                    lines.push(String::new());
                    if lines.len() > 4 * MOST_LINES {
                        return lines;
                    }
                }
            }
            *lines.last_mut().expect("there is a line") = part;
        }
        lines.retain(|l| !l.is_empty());
        lines
    }
}

impl Canvas {
    /// Of one colour, the paper of titles.
    fn plain(width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self {
            width,
            height,
            rgb: PAPER.repeat(width * height),
        }
    }

    /// Puts a picture here, cut at the border.
    pub(super) fn paste(&mut self, other: &Canvas, x: usize, y: usize) {
        if x >= self.width {
            return;
        }
        let samples = other.width.min(self.width - x) * 3;
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let (from, to) = (row * other.width * 3, ((y + row) * self.width + x) * 3);
            self.rgb[to..to + samples].copy_from_slice(&other.rgb[from..from + samples]);
        }
    }

    /// In a size at which people can look at it: the longer side at most `most` px (pixels are averaged) and, by whole factors, at least
    /// `least` where that is possible.
    pub fn fitted(&self, least: usize, most: usize) -> Canvas {
        let long = self.width.max(self.height);
        if long > most {
            let of = |side: usize| (side * most / long).max(1);
            return self.shrunk(of(self.width), of(self.height));
        }
        let factor = least.div_ceil(long).min(most / long).max(1);
        if factor == 1 {
            return self.clone();
        }
        let (width, height) = (self.width * factor, self.height * factor);
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let at = (y / factor * self.width + x / factor) * 3;
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Canvas { width, height, rgb }
    }

    /// Every pixel the mean of those that it covers.
    fn shrunk(&self, width: usize, height: usize) -> Canvas {
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let (y1, y2) = (
                y * self.height / height,
                ((y + 1) * self.height).div_ceil(height),
            );
            for x in 0..width {
                let (x1, x2) = (
                    x * self.width / width,
                    ((x + 1) * self.width).div_ceil(width),
                );
                let mut sum = [0u64; 3];
                for row in y1..y2 {
                    let row = &self.rgb[(row * self.width + x1) * 3..(row * self.width + x2) * 3];
                    for pixel in row.chunks_exact(3) {
                        for (sum, v) in sum.iter_mut().zip(pixel) {
                            *sum += u64::from(*v);
                        }
                    }
                }
                let n = ((y2 - y1) * (x2 - x1)) as u64;
                rgb.extend(sum.map(|s| ((s + n / 2) / n) as u8));
            }
        }
        Canvas { width, height, rgb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: usize, height: usize, value: u8) -> Canvas {
        Canvas::new(width, height, vec![value; width * height * 3]).unwrap()
    }

    #[test]
    fn sizes_to_look_at() {
        let of = |w, h| {
            let fitted = canvas(w, h, 7).fitted(100, 250);
            (fitted.width, fitted.height)
        };
        assert_eq!(of(30, 20), (120, 80), "four times");
        assert_eq!(of(100, 3), (100, 3));
        assert_eq!(of(240, 250), (240, 250));
        assert_eq!(of(1000, 500), (250, 125));
        assert_eq!(of(30_000, 1), (250, 1));
        assert_eq!(of(1, 1), (100, 100));
    }

    #[test]
    fn shrinking_averages() {
        let black_and_white = Canvas::new(4, 1, [[0; 3], [255; 3], [10; 3], [30; 3]].concat());
        let shrunk = black_and_white.unwrap().shrunk(2, 1);
        assert_eq!(shrunk.rgb, [128, 128, 128, 20, 20, 20]);
    }

    #[test]
    fn text_is_wrapped_and_bounded() {
        let text = Weight::Plain.text();
        let lines = text.wrap("one two three four five six seven eight", 100);
        assert!(
            lines.len() > 2 && lines.iter().all(|l| text.size(l, 0).0 <= 100),
            "{lines:?}"
        );
        assert_eq!(lines.join(" "), "one two three four five six seven eight");
        let long = "x".repeat(40);
        let lines = text.wrap(&format!("a {long} b"), 100);
        assert_eq!(lines.concat(), format!("a{long} b"));
        assert!(text.wrap(&"y".repeat(1 << 20), 100).len() < 40);
        assert!(text.wrap("wide", 1).len() == 4);
        assert!(text.wrap("  ", 100).is_empty());
    }

    #[test]
    fn tiles_lie_apart_and_pictures_of_a_row_at_one_height() {
        let tile = |above: &str, value| Tile {
            above: vec![(Weight::Title, above.into())],
            picture: canvas(240, 50, value),
            below: Vec::new(),
        };
        let tiles = [
            tile("short", 1),
            tile(&"long words ".repeat(9), 2),
            tile("third", 3),
        ];
        let sheet = sheet(&[], &tiles, 2);
        assert_eq!(sheet.width, 2 * 240 + 3 * GAP);
        let top = |value: u8, x: usize| {
            let pixel = |y: usize| &sheet.rgb[(y * sheet.width + x) * 3..][..3];
            (0..sheet.height).find(|y| pixel(*y) == [value; 3]).unwrap()
        };
        assert_eq!(top(1, GAP), top(2, 2 * GAP + 240));
        assert!(top(3, GAP) > top(1, GAP) + 50);
        assert_eq!(tiles[0].titled(300).width, 300);
        assert!(tiles[0].titled(0).height > 50);
    }
}
