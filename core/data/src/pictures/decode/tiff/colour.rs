//! Samples of a TIFF to grey, or blue, green and red, with libtiff's roundings.

/// How samples become grey, or blue, green, red.
pub(super) enum Colour {
    Grey {
        inverted: bool,
        highest: u32,
        straight_alpha: bool,
    },
    Rgb,
    Rgba {
        straight_alpha: bool,
    },
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr,
}

impl Colour {
    /// Samples of a pixel that are looked at.
    pub(super) fn reads(&self) -> usize {
        match self {
            Self::Grey { straight_alpha, .. } => 1 + usize::from(*straight_alpha),
            Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Rgba { .. } | Self::Cmyk => 4,
        }
    }

    /// A row of samples to pixels of 1, 3 or 4 channels.
    pub(super) fn paint(&self, from: &[u8], to: &mut [u8], channels: usize) {
        let pixels = from.chunks_exact(self.reads());
        for (s, to) in pixels.zip(to.chunks_exact_mut(channels)) {
            let (bgr, alpha) = match self {
                Self::Grey {
                    inverted,
                    highest,
                    straight_alpha,
                } => {
                    let level = u32::from(s[0]);
                    let level = if *inverted { highest - level } else { level };
                    let grey = (level * 255 / highest) as u8;
                    to[0] = if *straight_alpha {
                        times(grey, s[1])
                    } else {
                        grey
                    };
                    continue;
                }
                Self::Palette(palette) => (palette[usize::from(s[0])], 255),
                Self::Rgb => ([s[2], s[1], s[0]], 255),
                Self::Rgba { straight_alpha } => {
                    let alpha = if *straight_alpha { s[3] } else { 255 };
                    ([2, 1, 0].map(|c| times(s[c], alpha)), s[3])
                }
                Self::Cmyk => {
                    let light = 255 - u32::from(s[3]);
                    (
                        [2, 1, 0].map(|c| (light * (255 - u32::from(s[c])) / 255) as u8),
                        255,
                    )
                }
                Self::YCbCr => (bgr_from_ycbcr([s[0], s[1], s[2]]), 255),
            };
            to[..3].copy_from_slice(&bgr);
            if let Some(last) = to.get_mut(3) {
                *last = alpha;
            }
        }
    }
}

/// libtiff's product of a sample and alpha.
fn times(v: u8, alpha: u8) -> u8 {
    ((u32::from(v) * u32::from(alpha) + 127) / 255) as u8
}

/// libtiff's conversion in 16 bits of fraction, with the coefficients of CCIR 601 and the full range.
fn bgr_from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-46802 * cr - 22553 * cb + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [blue, green, red].map(|v| v.clamp(0, 255) as u8)
}
