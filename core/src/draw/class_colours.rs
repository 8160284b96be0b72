//! The colours of classes on pictures: light enough that black captions on them, and they on dark pictures, can be read.

/// Least relative luminance (WCAG 2): black text on it has a contrast of 7.
pub const LEAST: f64 = 0.30;

/// The colour of a class, RGB: the palette's where it has one, else hues by the golden angle, so that near labels differ most. Dark ones
/// are mixed with white until they have [`LEAST`].
pub fn class_colour(label: usize, palette: &[[u8; 3]]) -> [u8; 3] {
    match palette.get(label) {
        Some(own) => lifted(*own, LEAST),
        // The second dozen has the hues of the first, nearly: it is paler.
        None => lifted(hue(label), [LEAST, 0.45, LEAST][label / 12 % 3]),
    }
}

/// The colour of a class without a palette.
pub fn colour(label: usize) -> [u8; 3] {
    class_colour(label, &[])
}

/// The hue of a class, as dark as it happens to be.
pub(super) fn hue(label: usize) -> [u8; 3] {
    let hue = (label as f32 * 137.508 + 210.0) % 360.0 / 60.0;
    let (saturation, value) = [(0.85, 1.0), (0.6, 1.0), (0.9, 0.75)][label / 12 % 3];
    let channel = |offset: f32| {
        let k = (offset + hue) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [5.0, 3.0, 1.0].map(|offset| (channel(offset) * 255.0).round() as u8)
}

/// Relative luminance of a colour in sRGB, 0 to 1.
pub fn luminance(colour: [u8; 3]) -> f64 {
    let [r, g, b] = colour.map(linear);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Mixed with white, as light mixes, until its luminance is `least`.
fn lifted(colour: [u8; 3], least: f64) -> [u8; 3] {
    let is = luminance(colour);
    if is >= least {
        return colour;
    }
    let white = (least - is) / (1.0 - is);
    colour.map(|v| {
        let light = linear(v);
        (encoded(light + (1.0 - light) * white) * 255.0)
            .ceil()
            .min(255.0) as u8
    })
}

fn linear(v: u8) -> f64 {
    let v = f64::from(v) / 255.0;
    if v <= 0.040_45 {
        v / 12.92
    } else {
        ((v + 0.055) / 1.055).powf(2.4)
    }
}

fn encoded(light: f64) -> f64 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_light_enough_for_black_ink() {
        let dark = [[0, 0, 0], [0, 0, 70], [90, 0, 0], [119, 11, 32]];
        let ours = (0..200).map(colour);
        let own = (0..dark.len()).map(|label| class_colour(label, &dark));
        for colour in ours.chain(own) {
            assert!(luminance(colour) >= LEAST, "{colour:?}");
        }
        assert_eq!(class_colour(1, &[[0; 3], [250, 170, 30]]), [250, 170, 30]);
        assert_eq!(class_colour(0, &[[0, 0, 70]]), [149, 149, 158]);
        assert_eq!(class_colour(1, &[[0; 3]]), colour(1));
    }

    #[test]
    fn near_labels_have_far_colours() {
        for a in 0..24 {
            for b in 0..a {
                let distance: i32 = colour(a)
                    .iter()
                    .zip(colour(b))
                    .map(|(x, y)| (i32::from(*x) - i32::from(y)).abs())
                    .sum();
                assert!(distance >= 25, "{a} and {b}: {distance}");
            }
        }
    }
}
