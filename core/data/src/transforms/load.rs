//! `LoadImageFromFile` of mmcv 2.1 (transforms/loading.py).

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Context, Files, Outcome, Transform};
use crate::decode::{Backend, ColorType, DecodeOptions, decode};
use crate::image::Image;
use crate::picture::Fault;
use crate::pixels::Op;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, error_at};

/// How the picture's file becomes pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadImageFromFile {
    /// Channels, orientation and limits.
    pub decode: DecodeOptions,
    /// The following steps compute in f32, so resized values are not rounded.
    pub to_float32: bool,
    /// A picture that cannot be read is left out, not an error.
    pub ignore_empty: bool,
}

impl Transform for LoadImageFromFile {
    fn name(&self) -> &'static str {
        "LoadImageFromFile"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let mut image = match self.load(&sample.info.img_path, cx.files) {
            Ok(image) => image,
            Err(_) if self.ignore_empty => return Ok(None),
            Err(problem) => return Err(problem),
        };
        if self.to_float32 {
            image = cx.pixels.run(&image, &Op::ToFloat)?;
        }
        sample.set_image(image);
        sample.ori_shape = sample.img_shape;
        Ok(Some(sample))
    }
}

impl LoadImageFromFile {
    fn load(&self, path: &str, files: &dyn Files) -> Result<Image, Fault> {
        if let Some(image) = files.decoded(path) {
            return Ok(image);
        }
        let bytes = files.read(path).map_err(Fault::Unreadable)?;
        let picture = decode(path, &bytes, &self.decode).map_err(|error| error.problem)?;
        let image = Image::from(picture);
        files.keep(path, &image);
        Ok(image)
    }
}

#[derive(Deserialize)]
struct Config {
    to_float32: Option<bool>,
    color_type: Option<ColorType>,
    imdecode_backend: Option<Backend>,
    ignore_empty: Option<bool>,
    /// Where files lie is the caller's business.
    file_client_args: Option<IgnoredAny>,
    backend_args: Option<IgnoredAny>,
}

pub(crate) fn read(node: &Node) -> Result<LoadImageFromFile, Diagnostics> {
    let config: Config = node.read()?;
    if config.file_client_args.is_some() && config.backend_args.is_some() {
        let message = "`file_client_args` and `backend_args` exclude each other";
        return Err(error_at(node, "file_client_args", message, "leave it out"));
    }
    Ok(LoadImageFromFile {
        decode: DecodeOptions {
            color_type: config.color_type.unwrap_or_default(),
            backend: config.imdecode_backend.unwrap_or_default(),
            ..DecodeOptions::default()
        },
        to_float32: config.to_float32.unwrap_or(false),
        ignore_empty: config.ignore_empty.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial::{OneFile, pixels, run_with, unloaded};
    use super::*;
    use crate::image::Samples;

    #[test]
    fn loads() {
        // 2 x 1, grey values 10 and 20
        let file = OneFile("a.pgm", b"P5 2 1 255\n\x0a\x14");
        let run = |options: &str, path: &str| {
            let text = format!("dict(type='LoadImageFromFile', {options})");
            run_with(&text, unloaded(path, Vec::new()), None, &file)
        };
        let out = run("backend_args=None", "a.pgm").unwrap().unwrap();
        assert_eq!((out.ori_shape, out.img_shape), ([1, 2], [1, 2]));
        assert_eq!(pixels(&out), Samples::U8(vec![10, 10, 10, 20, 20, 20]));
        let out = run("to_float32=True, color_type='grayscale'", "a.pgm");
        assert_eq!(
            pixels(&out.unwrap().unwrap()),
            Samples::F32(vec![10.0, 20.0])
        );
        let error = run("", "b.pgm").unwrap_err();
        assert_eq!(error, Fault::Unreadable("no such file".into()));
        assert!(run("ignore_empty=True", "b.pgm").unwrap().is_none());
    }
}
