//! A test pipeline: what its transforms make of one picture.
//!
//! `LoadImageFromFile, Resize, Pad, PackDetInputs` and `DetDataPreprocessor` are one pass over the
//! pixels ([`smalti_shaders::reference::preprocess`]), on the GPU where there is one. [`Pipeline::run`]
//! therefore does on the CPU only what that pass cannot (another interpolation, a second resize, mirrored
//! padding, `to_float32`), and leaves the last resize and padding as a plan. The pixels are the same
//! either way.

use smalti_shaders::reference::preprocess::Slot;
use smalti_shaders::reference::resize::{Interpolation, View};
use smalti_shaders::reference::{pillow, resize};

use super::decode;
use super::meta::Meta;
use super::picture::{Fault, Picture, PictureError};
use super::plan::{self, Step};
use super::size_limits;
use super::transforms::{LoadImageFromFile, Method, Pad, PaddingMode, Resize, list_in_a_tuple};
use smalti_config::{Diagnostic, Diagnostics, Kind, Node};

/// A picture on its way into a batch.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What accompanies it.
    pub meta: Meta,
    /// Its pixels.
    pub content: Content,
}

/// Pixels, with what is still to be done.
#[derive(Clone, Debug)]
pub enum Content {
    /// u8, and the resize and padding that the last pass does.
    Bytes(Picture, Slot),
    /// f32 interleaved, complete but for normalisation (`to_float32`).
    Floats {
        /// Samples of a pixel.
        channels: usize,
        /// `height * width * channels`.
        values: Vec<f32>,
    },
}

impl Prepared {
    /// Width and height that it takes in a batch, px.
    pub fn size(&self) -> [usize; 2] {
        let [height, width] = self.meta.img_shape;
        [width, height]
    }

    /// Channels of the source.
    pub fn channels(&self) -> usize {
        match &self.content {
            Content::Bytes(picture, _) => picture.channels(),
            Content::Floats { channels, .. } => *channels,
        }
    }
}

/// A test pipeline that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    load: LoadImageFromFile,
    steps: Vec<Step>,
}

impl Pipeline {
    /// Reads a list such as `test_dataloader.dataset.pipeline`.
    ///
    /// # Errors
    /// Everything wrong in it, each with its place.
    pub fn read(list: &Node) -> Result<Self, Diagnostics> {
        if let Some(error) = list_in_a_tuple(list) {
            return Err(vec![error]);
        }
        let Some(nodes) = list.as_items() else {
            let message = format!("a pipeline is a list, found {}", list.type_name());
            let error = Diagnostic::error(message).kind(Kind::Mistyped);
            return Err(vec![error.at(&list.origin, "")]);
        };
        let mut problems = Vec::new();
        let mut load = None;
        let mut steps = Vec::new();
        let mut packed = false;
        let misplaced = |node: &Node, what: &str| {
            let error = Diagnostic::error(what).at(&node.origin, "");
            error.help("a test pipeline is LoadImageFromFile, transforms, PackDetInputs")
        };
        for node in nodes {
            match plan::build(node) {
                Err(found) => problems.extend(found),
                Ok(_) if packed => {
                    problems.push(misplaced(node, "nothing can follow `PackDetInputs`"));
                }
                Ok(Step::Load(_)) if load.is_some() => {
                    problems.push(misplaced(node, "the picture is loaded twice"));
                }
                Ok(Step::Load(options)) => load = Some(options),
                Ok(Step::Pack) => packed = true,
                Ok(Step::Nothing) => {}
                Ok(_) if load.is_none() => {
                    problems.push(misplaced(node, "no picture is loaded before this"));
                }
                Ok(step) => steps.push(step),
            }
        }
        if problems.is_empty() && !packed {
            problems.push(misplaced(
                list,
                "the pipeline does not end with `PackDetInputs`",
            ));
        }
        match load {
            Some(load) if problems.is_empty() => Ok(Self { load, steps }),
            None if problems.is_empty() => Err(vec![misplaced(list, "no picture is loaded")]),
            _ => Err(problems),
        }
    }

    /// Options of loading.
    pub fn load(&self) -> &LoadImageFromFile {
        &self.load
    }

    /// Loads and runs: bytes of a file to a picture that a batch can take.
    ///
    /// # Errors
    /// A file that is no good picture, or a transform that cannot be done on it.
    pub fn run_bytes(&self, name: &str, bytes: &[u8]) -> Result<Prepared, PictureError> {
        self.run(name, decode::decode(name, bytes, &self.load.decode)?)
    }

    /// Runs the transforms after loading.
    ///
    /// # Errors
    /// A transform that cannot be done on this picture.
    pub fn run(&self, name: &str, picture: Picture) -> Result<Prepared, PictureError> {
        let fail = |problem| PictureError::new(name, problem);
        let shape = [picture.height(), picture.width()];
        let mut meta = Meta {
            img_path: name.to_owned(),
            img_id: None,
            ori_shape: shape,
            img_shape: shape,
            scale_factor: [1.0, 1.0],
        };
        let content = if self.load.to_float32 {
            self.run_floats(&picture, &mut meta)
        } else {
            self.run_bytes_steps(picture, &mut meta)
        };
        let content = content.map_err(fail)?;
        Ok(Prepared { meta, content })
    }

    fn run_bytes_steps(&self, picture: Picture, meta: &mut Meta) -> Result<Content, Fault> {
        let mut todo = Todo::new(picture);
        for step in &self.steps {
            match step {
                Step::Resize(step) => {
                    let size = resized(step, meta)?;
                    match step.method {
                        Method::Cv2(kernel @ (Interpolation::Nearest | Interpolation::Linear)) => {
                            if !todo.is_still() {
                                todo = Todo::new(todo.done());
                            }
                            todo.resized = size;
                            todo.padded = size;
                            todo.kernel = kernel;
                        }
                        method => {
                            let picture = todo.done();
                            let n = picture.channels();
                            let pixels = resize_bytes(&picture, size, method);
                            todo = Todo::new(rebuilt(size, n, pixels));
                        }
                    }
                }
                Step::Pad(step) => {
                    let (size, fill) = padded(step, meta, todo.picture.channels())?;
                    let fill: Vec<u8> = fill.iter().map(|v| v.round_ties_even() as u8).collect();
                    let mut four = [0; 4];
                    four[..fill.len()].copy_from_slice(&fill);
                    let constant = step.mode == PaddingMode::Constant;
                    if constant && (todo.padded == todo.resized || todo.fill == four) {
                        todo.padded = size;
                        todo.fill = four;
                    } else if size != todo.padded {
                        let picture = todo.done();
                        let old = [picture.width(), picture.height()];
                        let pixels = step.apply(picture.pixels(), old, size, &fill);
                        todo = Todo::new(rebuilt(size, picture.channels(), pixels));
                    }
                }
                Step::Load(_) | Step::Pack | Step::Nothing => {}
            }
        }
        let slot = todo.slot();
        Ok(Content::Bytes(todo.picture, slot))
    }

    fn run_floats(&self, picture: &Picture, meta: &mut Meta) -> Result<Content, Fault> {
        let channels = picture.channels();
        let mut values: Vec<f32> = picture.pixels().iter().map(|v| f32::from(*v)).collect();
        for step in &self.steps {
            let [height, width] = meta.img_shape;
            match step {
                Step::Resize(step) => {
                    let [w, h] = resized(step, meta)?;
                    let Method::Cv2(kernel) = step.method else {
                        let message = "Pillow resizes u8 only: it cannot follow `to_float32=True`";
                        return Err(Fault::Transform(message.into()));
                    };
                    let view = View::new(&values, width, height, channels);
                    values = resize::resize(view, w, h, kernel);
                }
                Step::Pad(step) => {
                    let (size, fill) = padded(step, meta, channels)?;
                    let fill: Vec<f32> = fill.iter().map(|v| *v as f32).collect();
                    values = step.apply(&values, [width, height], size, &fill);
                }
                Step::Load(_) | Step::Pack | Step::Nothing => {}
            }
        }
        Ok(Content::Floats { channels, values })
    }
}

/// u8 pixels with a resize and a padding that are still to be done.
struct Todo {
    picture: Picture,
    resized: [usize; 2],
    kernel: Interpolation,
    padded: [usize; 2],
    fill: [u8; 4],
}

impl Todo {
    fn new(picture: Picture) -> Self {
        let size = [picture.width(), picture.height()];
        Self {
            picture,
            resized: size,
            kernel: Interpolation::Linear,
            padded: size,
            fill: [0; 4],
        }
    }

    fn is_still(&self) -> bool {
        let size = [self.picture.width(), self.picture.height()];
        self.resized == size && self.padded == size
    }

    fn slot(&self) -> Slot {
        let size = [self.picture.width(), self.picture.height()];
        Slot::new(size, self.resized, self.padded, self.fill, self.kernel)
    }

    /// Does it.
    fn done(self) -> Picture {
        if self.is_still() {
            return self.picture;
        }
        let n = self.picture.channels();
        let [w, h] = self.resized;
        let mut pixels = resize_bytes(&self.picture, [w, h], Method::Cv2(self.kernel));
        if self.padded != self.resized {
            let mut out = Vec::with_capacity(self.padded[0] * self.padded[1] * n);
            for y in 0..self.padded[1] {
                let row = pixels.get(y * w * n..(y + 1) * w * n).unwrap_or_default();
                out.extend_from_slice(row);
                for _ in row.len() / n..self.padded[0] {
                    out.extend_from_slice(&self.fill[..n]);
                }
            }
            pixels = out;
        }
        rebuilt(self.padded, n, pixels)
    }
}

fn resize_bytes(picture: &Picture, [w, h]: [usize; 2], method: Method) -> Vec<u8> {
    let n = picture.channels();
    let view = View::new(picture.pixels(), picture.width(), picture.height(), n);
    match method {
        Method::Cv2(kernel) => resize::resize(view, w, h, kernel),
        Method::Pillow(filter) => pillow::resize(view, w, h, filter),
    }
}

fn rebuilt([width, height]: [usize; 2], channels: usize, pixels: Vec<u8>) -> Picture {
    Picture::new(width, height, channels, pixels).expect("sizes that were checked")
}

/// The size that a resize gives, noted in the meta.
fn resized(step: &Resize, meta: &mut Meta) -> Result<[usize; 2], Fault> {
    let [height, width] = meta.img_shape;
    let [w, h] = step.size(width, height);
    if w == 0 || h == 0 {
        let message = format!("{width}x{height} pixels would be resized to {w}x{h}");
        return Err(Fault::Transform(message));
    }
    size_limits::check([w, h])?;
    meta.img_shape = [h, w];
    meta.scale_factor = [w as f64 / width as f64, h as f64 / height as f64];
    Ok([w, h])
}

/// The size that padding gives, noted in the meta, and the fill per channel.
fn padded(step: &Pad, meta: &mut Meta, channels: usize) -> Result<([usize; 2], Vec<f64>), Fault> {
    let [height, width] = meta.img_shape;
    let size = step.size(width, height);
    size_limits::check(size)?;
    let fill = step.fill.channels(channels).ok_or_else(|| {
        Fault::Transform(format!(
            "`pad_val` has another number of values than the picture channels, {channels}"
        ))
    })?;
    meta.img_shape = [size[1], size[0]];
    Ok((size, fill))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_config::parse_value;

    fn read(steps: &str) -> Result<Pipeline, String> {
        let list = parse_value(steps).unwrap();
        Pipeline::read(&list).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })
    }

    fn picture(width: usize, height: usize) -> Picture {
        let samples = (0..width * height * 3).map(|i| (i * 37 % 251) as u8);
        Picture::new(width, height, 3, samples.collect()).unwrap()
    }

    #[test]
    fn the_usual_pipeline_is_one_pass() {
        let pipeline = read(
            "[dict(type='LoadImageFromFile', backend_args=None), \
              dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True), \
              dict(type='LoadAnnotations', with_bbox=True, with_mask=True), \
              dict(type='mmcv.Pad', size=(1333, 1333), pad_val=dict(img=(114, 114, 114))), \
              dict(type='PackDetInputs', meta_keys=('img_id', 'scale_factor'))]",
        )
        .unwrap();
        let source = picture(640, 427);
        let prepared = pipeline.run("a/b.jpg", source.clone()).unwrap();
        let meta = &prepared.meta;
        assert_eq!(meta.img_path, "a/b.jpg");
        assert_eq!(meta.ori_shape, [427, 640]);
        assert_eq!(meta.img_shape, [1333, 1333], "`Pad` counts");
        assert_eq!(meta.scale_factor, [1199.0 / 640.0, 800.0 / 427.0]);
        let Content::Bytes(kept, slot) = &prepared.content else {
            panic!("u8 expected");
        };
        assert_eq!(
            (kept, slot.padded()),
            (&source, [1333, 1333]),
            "nothing was done yet"
        );
    }

    #[test]
    fn what_one_pass_cannot_do_is_done_before() {
        let pipeline = read(
            "[dict(type='LoadImageFromFile'), \
              dict(type='Resize', scale=(9, 9), interpolation='area'), \
              dict(type='Pad', size=(12, 10), padding_mode='edge'), \
              dict(type='PackDetInputs')]",
        )
        .unwrap();
        let prepared = pipeline.run("x", picture(20, 30)).unwrap();
        let Content::Bytes(done, _) = &prepared.content else {
            panic!("u8 expected");
        };
        assert_eq!((done.width(), done.height()), (12, 10));
        assert_eq!(prepared.meta.scale_factor, [9.0 / 20.0, 9.0 / 30.0]);
        let last = &done.pixels()[12 * 9 * 3..];
        assert_eq!(
            last[8 * 3..9 * 3],
            last[11 * 3..12 * 3],
            "the edge is repeated"
        );
    }

    #[test]
    fn pictures_that_cannot_be_resized() {
        let narrow = read(
            "[dict(type='LoadImageFromFile'), \
              dict(type='Resize', scale=(30, 20), keep_ratio=True), dict(type='PackDetInputs')]",
        )
        .unwrap();
        let error = narrow.run("thin.png", picture(900, 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "thin.png: 900x1 pixels would be resized to 30x0"
        );
        let huge = read(
            "[dict(type='LoadImageFromFile'), \
              dict(type='Resize', scale_factor=1e9), dict(type='PackDetInputs')]",
        )
        .unwrap();
        let error = huge.run("x", picture(3, 3)).unwrap_err();
        assert!(matches!(error.problem, Fault::TooLarge { .. }), "{error}");
        let fill = read(
            "[dict(type='LoadImageFromFile'), \
              dict(type='Pad', size=(8, 8), pad_val=dict(img=(1, 2))), dict(type='PackDetInputs')]",
        )
        .unwrap();
        let error = fill.run("x", picture(3, 3)).unwrap_err();
        assert!(error.to_string().contains("`pad_val`"), "{error}");
    }

    #[test]
    fn bad_pipelines_say_what_to_do() {
        for (steps, words) in [
            ("[dict(type='PackDetInputs')]", "no picture is loaded"),
            (
                "[dict(type='LoadImageFromFile')]",
                "does not end with `PackDetInputs`",
            ),
            (
                "[dict(type='Resize', scale=3), dict(type='LoadImageFromFile')]",
                "no picture is loaded before this",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='Resise', scale=3)]",
                "did you mean `Resize`?",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='albu.Resize', scale=3)]",
                "no transform `albu.Resize`",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='Resize')]",
                "needs `scale` or `scale_factor`",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(0, 3))]",
                "`scale` must be positive",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='Resize', scale=3, interpolation='box')]",
                "cv2 has nearest, bilinear",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='Pad')]",
                "needs one of `size`, `size_divisor`",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[])]",
                "`TestTimeAug` is not supported in a test pipeline yet",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5)]",
                "set `prob=0.`",
            ),
            ("[dict(scale=3)]", "a transform is a dict with a `type`"),
            ("3", "a pipeline is a list"),
        ] {
            let error = read(steps).unwrap_err();
            assert!(error.contains(words), "{steps}:\n{error}");
        }
    }
}
