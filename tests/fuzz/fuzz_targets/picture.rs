//! Any bytes as a picture, for every backend and colour type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smalti_data::decode::{Backend, ColorType, DecodeOptions, decode};
use smalti_data::{PictureError, SizeLimits};

const BACKENDS: [Backend; 4] = [
    Backend::Cv2,
    Backend::Turbojpeg,
    Backend::Pillow,
    Backend::Tifffile,
];

const COLORS: [ColorType; 5] = [
    ColorType::Color,
    ColorType::Grayscale,
    ColorType::Unchanged,
    ColorType::ColorIgnoreOrientation,
    ColorType::GrayscaleIgnoreOrientation,
];

fuzz_target!(|bytes: &[u8]| {
    let limits = SizeLimits {
        pixels: 1 << 18,
        ..SizeLimits::default()
    };
    let read = |color_type, backend| {
        let limits = Some(limits);
        let options = DecodeOptions {
            color_type,
            backend,
            limits,
        };
        decode("a", bytes, &options)
    };
    let refused = |error: PictureError| drop(error.to_string());
    let first = match read(ColorType::Color, Backend::Cv2) {
        Ok(picture) => picture,
        Err(error) => return refused(error),
    };
    assert_eq!(first.channels(), 3);
    for backend in BACKENDS {
        for color_type in COLORS {
            match read(color_type, backend) {
                Ok(picture) => {
                    let [w, h] = [picture.width(), picture.height()];
                    assert_eq!(picture.pixels().len(), w * h * picture.channels());
                    assert!(w * h == first.width() * first.height());
                }
                Err(error) => refused(error),
            }
        }
    }
});
