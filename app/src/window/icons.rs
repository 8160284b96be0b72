//! Icons as lines in a square of 24: crisp at any size, in the colour of the text beside them.

use eframe::egui::{Color32, Painter, Pos2, Rect, Shape, Stroke, pos2};

/// Lines, each through its points.
pub type Icon = &'static [&'static [(f32, f32)]];

/// A sheet with lines.
pub const CONFIG: Icon = &[
    &[
        (6.0, 3.0),
        (14.0, 3.0),
        (19.0, 8.0),
        (19.0, 21.0),
        (6.0, 21.0),
        (6.0, 3.0),
    ],
    &[(14.0, 3.0), (14.0, 8.0), (19.0, 8.0)],
    &[(9.0, 12.0), (15.0, 12.0)],
    &[(9.0, 16.0), (15.0, 16.0)],
];
/// A house.
pub const START: Icon = &[
    &[(3.0, 12.0), (12.0, 4.0), (21.0, 12.0)],
    &[(6.0, 10.0), (6.0, 20.0), (18.0, 20.0), (18.0, 10.0)],
    &[(10.0, 20.0), (10.0, 14.0), (14.0, 14.0), (14.0, 20.0)],
];
/// Four tiles.
pub const AUGMENT: Icon = &[
    &[
        (4.0, 4.0),
        (13.0, 4.0),
        (13.0, 11.0),
        (4.0, 11.0),
        (4.0, 4.0),
    ],
    &[
        (16.0, 4.0),
        (20.0, 4.0),
        (20.0, 11.0),
        (16.0, 11.0),
        (16.0, 4.0),
    ],
    &[
        (4.0, 14.0),
        (13.0, 14.0),
        (13.0, 20.0),
        (4.0, 20.0),
        (4.0, 14.0),
    ],
    &[
        (16.0, 14.0),
        (20.0, 14.0),
        (20.0, 20.0),
        (16.0, 20.0),
        (16.0, 14.0),
    ],
];
/// A box around something.
pub const DETECT: Icon = &[
    &[(4.0, 9.0), (4.0, 4.0), (9.0, 4.0)],
    &[(15.0, 4.0), (20.0, 4.0), (20.0, 9.0)],
    &[(20.0, 15.0), (20.0, 20.0), (15.0, 20.0)],
    &[(9.0, 20.0), (4.0, 20.0), (4.0, 15.0)],
    &[
        (9.0, 9.0),
        (15.0, 9.0),
        (15.0, 15.0),
        (9.0, 15.0),
        (9.0, 9.0),
    ],
];
/// A falling curve.
pub const TRAIN: Icon = &[
    &[(4.0, 4.0), (4.0, 20.0), (20.0, 20.0)],
    &[
        (7.0, 6.0),
        (9.0, 12.0),
        (12.0, 15.0),
        (16.0, 16.0),
        (20.0, 16.5),
    ],
];
/// A stack.
pub const CHECKPOINT: Icon = &[
    &[
        (12.0, 3.0),
        (21.0, 8.0),
        (12.0, 13.0),
        (3.0, 8.0),
        (12.0, 3.0),
    ],
    &[(3.0, 12.5), (12.0, 17.5), (21.0, 12.5)],
    &[(3.0, 16.5), (12.0, 21.5), (21.0, 16.5)],
];
/// A tick: as it should be.
pub const OK: Icon = &[&[(4.0, 12.0), (10.0, 18.0), (20.0, 6.0)]];
const CIRCLE: &[(f32, f32)] = &[
    (12.0, 3.0),
    (18.4, 5.6),
    (21.0, 12.0),
    (18.4, 18.4),
    (12.0, 21.0),
    (5.6, 18.4),
    (3.0, 12.0),
    (5.6, 5.6),
    (12.0, 3.0),
];
/// A circle with a bar: an error.
pub const ERROR: Icon = &[
    CIRCLE,
    &[(12.0, 7.0), (12.0, 13.0)],
    &[(12.0, 16.0), (12.0, 17.0)],
];
/// A triangle with a bar: a warning.
pub const WARNING: Icon = &[
    &[(12.0, 4.0), (21.5, 20.0), (2.5, 20.0), (12.0, 4.0)],
    &[(12.0, 10.0), (12.0, 15.0)],
    &[(12.0, 17.0), (12.0, 18.0)],
];
/// A circle with an i: a note.
pub const NOTE: Icon = &[
    CIRCLE,
    &[(12.0, 11.0), (12.0, 17.0)],
    &[(12.0, 7.0), (12.0, 8.0)],
];
/// A circle in dashes: something that is not there.
pub const MISS: Icon = &[
    &[(9.0, 3.6), (12.0, 3.0), (15.0, 3.6)],
    &[(18.4, 5.6), (20.2, 8.4), (20.9, 11.0)],
    &[(20.4, 15.4), (18.4, 18.4), (16.0, 20.0)],
    &[(13.0, 20.9), (10.0, 20.8), (7.4, 19.7)],
    &[(4.6, 17.0), (3.4, 14.4), (3.1, 11.4)],
    &[(3.9, 8.2), (5.6, 5.6), (6.4, 5.0)],
];
/// A cross.
pub const CLOSE: Icon = &[&[(6.0, 6.0), (18.0, 18.0)], &[(18.0, 6.0), (6.0, 18.0)]];

/// Paints an icon in the middle of a square.
pub fn paint(painter: &Painter, icon: Icon, rect: Rect, color: Color32) {
    let side = rect.width().min(rect.height());
    let corner = rect.center() - eframe::egui::vec2(side, side) / 2.0;
    let at = |(x, y): &(f32, f32)| -> Pos2 {
        pos2(corner.x + x / 24.0 * side, corner.y + y / 24.0 * side)
    };
    for line in icon {
        painter.add(Shape::line(
            line.iter().map(at).collect(),
            Stroke::new(1.5, color),
        ));
    }
}
