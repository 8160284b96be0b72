//! Boxes on a picture and their captions.

use eframe::egui::{
    Color32, CornerRadius, FontId, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, vec2,
};

use super::{Line, Mark, Placed};
use crate::window::tokens::SMALL;

/// Chips that are shown at once; more would hide the picture.
const CHIPS: usize = 120;

/// The smallest box at a place on screen, with a little room around it.
pub(super) fn under(marks: &[Mark], placed: Placed, at: Pos2) -> Option<usize> {
    let area = |mark: &Mark| placed.rect(mark.xyxy).area();
    (0..marks.len())
        .filter(|i| placed.rect(marks[*i].xyxy).expand(3.0).contains(at))
        .min_by(|a, b| area(&marks[*a]).total_cmp(&area(&marks[*b])))
}

/// Boxes, and over them chips; one that is lit is white, and the others step back.
pub fn paint_marks(painter: &Painter, marks: &[Mark], placed: Placed, lit: Option<usize>) {
    let fine = painter.pixels_per_point() >= 1.5;
    let (width, halo) = if fine { (1.5, 0.75) } else { (2.0, 1.0) };
    let order = (0..marks.len()).rev().filter(|i| Some(*i) != lit);
    for i in order.chain(lit.filter(|i| *i < marks.len())) {
        let mark = &marks[i];
        let (color, width, share) = match lit {
            Some(one) if one == i => (Color32::WHITE, width + 1.0, 1.0),
            Some(_) => (mark.color, width, 0.35),
            None => (mark.color, width, 1.0),
        };
        let rect = placed.rect(mark.xyxy);
        if !rect.is_finite() || !rect.intersects(painter.clip_rect()) {
            continue;
        }
        let dark = Stroke::new(
            width + 2.0 * halo,
            Color32::from_black_alpha(191).gamma_multiply(share),
        );
        let light = Stroke::new(width, color.gamma_multiply(share));
        for stroke in [dark, light] {
            match mark.line {
                Line::Solid => {
                    painter.rect_stroke(rect, CornerRadius::ZERO, stroke, StrokeKind::Middle);
                }
                Line::Dashed => {
                    let (a, b, c, d) = (
                        rect.left_top(),
                        rect.right_top(),
                        rect.right_bottom(),
                        rect.left_bottom(),
                    );
                    painter.extend(Shape::dashed_line(&[a, b, c, d, a], stroke, 6.0, 4.0));
                }
            }
        }
    }
    chips(painter, marks, placed, lit);
}

/// Captions, the first marks' first: above a box, below, beside or within it, wherever least is covered.
fn chips(painter: &Painter, marks: &[Mark], placed: Placed, lit: Option<usize>) {
    let seen = painter.clip_rect();
    let first = lit.into_iter().filter(|i| *i < marks.len());
    let others = (0..marks.len()).filter(|i| Some(*i) != lit);
    let shown = first
        .chain(others)
        .filter(|i| !marks[*i].caption.is_empty())
        .filter(|i| placed.rect(marks[*i].xyxy).intersects(seen))
        .take(CHIPS);
    let small: Vec<Rect> = marks
        .iter()
        .map(|m| placed.rect(m.xyxy))
        .filter(|r| r.width().min(r.height()) < 24.0)
        .collect();
    let mut taken: Vec<Rect> = Vec::new();
    let mut painted = Vec::new();
    for i in shown {
        let mark = &marks[i];
        let text = painter.layout_no_wrap(
            mark.caption.clone(),
            FontId::proportional(SMALL),
            Color32::BLACK,
        );
        let size = text.size() + vec2(8.0, 2.0);
        let rect = placed.rect(mark.xyxy).intersect(seen);
        let candidates = [
            rect.left_top() - vec2(0.0, size.y),
            rect.left_bottom(),
            rect.right_top() - vec2(size.x, size.y),
            rect.right_bottom() - vec2(size.x, 0.0),
            rect.right_top(),
            rect.left_top() - vec2(size.x, 0.0),
            rect.left_top(),
            rect.right_bottom() - size,
        ];
        let covered = |place: &Rect| {
            let over = |other: &Rect| {
                let both = place.intersect(*other);
                both.width().max(0.0) * both.height().max(0.0)
            };
            let out = place.area() - over(&seen);
            taken.iter().map(over).sum::<f32>() * 4.0
                + small.iter().map(over).sum::<f32>()
                + out * 8.0
        };
        let place = candidates
            .map(|at| Rect::from_min_size(at, size))
            .into_iter()
            .min_by(|a, b| covered(a).total_cmp(&covered(b)));
        let Some(place) = place else { continue };
        // where there is no room left, the box alone tells: the pointer on it shows its caption
        let covers = |other: &Rect| place.intersect(*other).is_positive();
        if lit != Some(i) && taken.iter().any(covers) {
            continue;
        }
        taken.push(place);
        let share = if lit.is_none_or(|one| one == i) {
            1.0
        } else {
            0.5
        };
        painted.push((place, text, mark.color.gamma_multiply(share)));
    }
    for (place, text, color) in painted.into_iter().rev() {
        painter.rect_filled(place, CornerRadius::same(2), color);
        painter.galley(place.min + vec2(4.0, 1.0), text, Color32::BLACK);
    }
}
