//! What was found, drawn on the picture.

use smalti::data::Picture;
use smalti::draw::{Canvas, Marked};

/// Lowest score that is drawn and printed.
pub const DRAWN_SCORE: f32 = 0.3;

/// The picture with these drawn on it, the content of a PNG file.
pub fn drawn(picture: &Picture, marked: &[Marked]) -> Result<Vec<u8>, String> {
    let canvas = Canvas::new(picture.width(), picture.height(), picture.to_rgb());
    let mut canvas = canvas.expect("a picture has pixels");
    canvas.draw(marked);
    canvas.png().map_err(|e| e.to_string())
}
