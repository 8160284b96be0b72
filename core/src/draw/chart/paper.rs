//! White paper, dark ink, and text that fits.

use super::super::class_colours::hue;
use super::super::{Area, Canvas, Text};

pub(super) const PAPER: [u8; 3] = [255; 3];
pub(super) const INK: [u8; 3] = [38, 42, 50];
pub(super) const FAINT: [u8; 3] = [112, 118, 130];
/// Around everything, px.
pub(super) const MARGIN: i64 = 14;
/// Smallest and largest width and height, px.
pub(super) const SIZES: [usize; 2] = [160, 8192];

/// An empty picture.
pub(super) fn white(width: usize, height: usize) -> Canvas {
    Canvas {
        width,
        height,
        rgb: vec![PAPER[0]; width * height * 3],
    }
}

/// Writes a line with its corner at `[x, y]`; gives its height.
pub(super) fn write(
    canvas: &mut Canvas,
    text: &Text,
    words: &str,
    [x, y]: [i64; 2],
    ink: [u8; 3],
) -> i64 {
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

/// As much of a text as is not wider than `width` px. Hostile texts are not laid out to their end.
pub(super) fn shortened(words: &str, text: &Text, width: i64) -> String {
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
pub(super) fn ink(index: usize) -> [u8; 3] {
    let rgb = hue(index).map(f32::from);
    let light = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
    let factor = (130.0 / light.max(1.0)).min(1.0);
    rgb.map(|v| (v * factor) as u8)
}

/// The colour of the area below a line.
pub(super) fn tint(rgb: [u8; 3]) -> [u8; 3] {
    rgb.map(|v| 255 - (255 - v) / 2)
}
