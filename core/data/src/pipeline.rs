//! [`Pipeline`]: a test pipeline, run on a picture that is there already instead of one of a data set.
//!
//! Its steps are the transforms of training, done exactly as MMDetection does them; a last resize and padding are left for the pass
//! that makes the batch ([`Noted`](super::pixels::Noted)).

use std::sync::Arc;

use super::decode;
use super::image::Image;
use super::lookup::Lookup;
use super::packed::Packed;
use super::picture::{Fault, Picture, PictureError};
use super::pixels::{Op, Pixels};
use super::random::{Answer, Call, Random, RandomError};
use super::sample::{DataInfo, Sample};
use super::transforms::{
    Context, Files, LoadImageFromFile, Transform, list_in_a_tuple, load, too_many,
};
use smalti_config::{Diagnostic, Diagnostics, Kind, Node};

/// A test pipeline that can be run.
#[derive(Debug)]
pub struct Pipeline {
    load: LoadImageFromFile,
    steps: Vec<Box<dyn Transform>>,
    pixels: Pixels,
}

/// What a step is to a picture without annotations that is loaded already.
enum Step {
    Load(LoadImageFromFile),
    /// There are no annotations, or its probability is 0.
    Nothing,
    Run(Box<dyn Transform>),
}

impl Pipeline {
    /// Reads a list such as `test_dataloader.dataset.pipeline`, of transforms of this crate.
    ///
    /// # Errors
    /// Everything wrong in it, each with its place.
    pub fn read(list: &Node) -> Result<Self, Diagnostics> {
        Self::read_with(list, Lookup::own())
    }

    /// As [`Self::read`], with transforms of other crates too.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(list: &Node, look: Lookup<'_>) -> Result<Self, Diagnostics> {
        if let Some(error) = list_in_a_tuple(list).or_else(|| too_many(list)) {
            return Err(vec![error]);
        }
        let Some(nodes) = list.as_items() else {
            let message = format!("a pipeline is a list, found {}", list.type_name());
            let error = Diagnostic::error(message).kind(Kind::Mistyped);
            return Err(vec![error.at(&list.origin, "")]);
        };
        let mut problems = Vec::new();
        let mut load = None;
        let mut steps: Vec<Box<dyn Transform>> = Vec::new();
        let mut packed = false;
        let misplaced = |node: &Node, what: &str| {
            let error = Diagnostic::error(what).at(&node.origin, "");
            error.help("a test pipeline is LoadImageFromFile, transforms, PackDetInputs")
        };
        for node in nodes {
            match step(node, look) {
                Err(found) => problems.extend(found),
                Ok(_) if packed => {
                    problems.push(misplaced(node, "nothing can follow `PackDetInputs`"));
                }
                Ok(Step::Load(_)) if load.is_some() => {
                    problems.push(misplaced(node, "the picture is loaded twice"));
                }
                Ok(Step::Load(options)) => load = Some(options),
                Ok(Step::Nothing) => {}
                Ok(Step::Run(step)) if step.name() == "PackDetInputs" => {
                    packed = true;
                    steps.push(step);
                }
                Ok(_) if load.is_none() => {
                    problems.push(misplaced(node, "no picture is loaded before this"));
                }
                Ok(Step::Run(step)) => steps.push(step),
            }
        }
        if problems.is_empty() && !packed {
            problems.push(misplaced(
                list,
                "the pipeline does not end with `PackDetInputs`",
            ));
        }
        match load {
            Some(load) if problems.is_empty() => Ok(Self {
                load,
                steps,
                pixels: Pixels::cpu().for_batch(),
            }),
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
    pub fn run_bytes(&self, name: &str, bytes: &[u8]) -> Result<Packed, PictureError> {
        self.run(name, decode::decode(name, bytes, &self.load.decode)?)
    }

    /// Runs the transforms after loading.
    ///
    /// # Errors
    /// A transform that cannot be done on this picture.
    pub fn run(&self, name: &str, picture: Picture) -> Result<Packed, PictureError> {
        let packed = self.packed(name, picture);
        packed.map_err(|problem| PictureError::new(name, problem))
    }

    fn packed(&self, name: &str, picture: Picture) -> Result<Packed, Fault> {
        let info = DataInfo {
            img_path: name.to_owned(),
            width: picture.width(),
            height: picture.height(),
            proposals: picture.proposals().cloned(),
            ..DataInfo::default()
        };
        let mut sample = Sample::new(Arc::new(info));
        let mut image = Image::from(picture);
        if self.load.to_float32 {
            image = self.pixels.run(&image, &Op::ToFloat)?;
        }
        sample.set_image(image);
        sample.ori_shape = sample.img_shape;
        let mut random = Never;
        let mut cx = Context::new(&mut random, &self.pixels, &Nowhere);
        let sample = cx.run_all(&self.steps, sample)?;
        let dropped = || Fault::Transform("the pipeline dropped it".into());
        sample.and_then(Packed::of).ok_or_else(dropped)
    }
}

fn step(node: &Node, look: Lookup<'_>) -> Result<Step, Diagnostics> {
    let full = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let (scope, name) = full.rsplit_once('.').unwrap_or(("mmdet", &full));
    let package = scope.split('.').next().unwrap_or_default();
    let ours = matches!(package, "mmdet" | "mmcv" | "mmengine");
    match name {
        "LoadImageFromFile" | "InferencerLoader" | "LoadImageFromNDArray" if ours => {
            load::read(node).map(Step::Load)
        }
        "LoadAnnotations" | "LoadPanopticAnnotations" if ours => Ok(Step::Nothing),
        "RandomFlip" if ours => still(node),
        "TestTimeAug" if ours => {
            let message = format!("`{name}` is not supported in a test pipeline yet");
            let error = Diagnostic::error(message).kind(Kind::Unsupported);
            let at = &node.get("type").unwrap_or(node).origin;
            Err(vec![error.at(at, "").help(
                "take it out of the test pipeline, or override it with `--cfg-options`",
            )])
        }
        _ => look.transform(node).map(Step::Run),
    }
}

/// `RandomFlip` in a test pipeline is there with probability 0 only.
fn still(node: &Node) -> Result<Step, Diagnostics> {
    let zero = |n: &Node| {
        n.is_none()
            || n.as_float() == Some(0.0)
            || n.as_items()
                .is_some_and(|i| i.iter().all(|p| p.as_float() == Some(0.0)))
    };
    match node.get("prob") {
        Some(prob) if !zero(prob) => {
            let error = Diagnostic::error("a test pipeline cannot flip at random")
                .kind(Kind::Unsupported)
                .at(&prob.origin, "must be 0")
                .help("take `RandomFlip` out, or set `prob=0.`");
            Err(vec![error])
        }
        _ => Ok(Step::Nothing),
    }
}

/// A picture has the same objects whenever it is looked at.
struct Never;

impl Random for Never {
    fn answer(&mut self, _: Call) -> Result<Answer, RandomError> {
        let why = "a test pipeline cannot draw at random: take the transform out of it";
        Err(RandomError(why.into()))
    }
}

/// The picture is there already.
struct Nowhere;

impl Files for Nowhere {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("a test pipeline reads no file behind `LoadImageFromFile`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Samples, Store};
    use crate::structures::Proposals;
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
        let Store::Noted(noted) = &prepared.image.store else {
            panic!("nothing is done yet");
        };
        assert_eq!(noted.slot().padded(), [1333, 1333]);
        let Some(Samples::U8(kept)) = noted.image().samples().map(|s| &**s) else {
            panic!("u8 expected");
        };
        assert_eq!(kept, source.pixels(), "nothing was done yet");
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
        let done = &prepared.image;
        let Some(Samples::U8(samples)) = done.samples().map(|s| &**s) else {
            panic!("u8 expected");
        };
        assert_eq!((done.width(), done.height()), (12, 10));
        assert_eq!(prepared.meta.scale_factor, [9.0 / 20.0, 9.0 / 30.0]);
        let last = &samples[12 * 9 * 3..];
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
                "did you mean type='mmdet.Resize'?",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='albu.Resize', scale=3)]",
                "unknown transform type `albu.Resize`",
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
            ("[dict(scale=3)]", "this transform has no `type`"),
            (
                "[[dict(type='Resize')]]",
                "a transform is a dict with a `type`",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug')]",
                "`MultiScaleFlipAug` is not supported yet",
            ),
            (
                "[dict(type='LoadImageFromFile'), dict(type='PackTrackInputs')]",
                "`PackTrackInputs` is not supported yet",
            ),
            ("3", "a pipeline is a list"),
        ] {
            let error = read(steps).unwrap_err();
            assert!(error.contains(words), "{steps}:\n{error}");
        }
    }
    #[test]
    fn what_training_has_is_there_too() {
        let pipeline = read(
            "[dict(type='LoadImageFromNDArray'), \
              dict(type='LoadProposals', num_max_proposals=1), dict(type='LoadPanopticAnnotations', with_seg=True), dict(type='RandomFlip', prob=0.0), \
              dict(type='ProposalBroadcaster', transforms=[dict(type='FixShapeResize', width=9, height=8, keep_ratio=False)]), \
              dict(type='PackDetInputs', meta_keys=('img_path', 'flip'))]",
        )
        .unwrap();
        let proposals = Proposals {
            boxes: vec![[0.0, 0.0, 20.0, 15.0]; 2],
            scores: vec![0.5; 2],
        };
        let given = picture(20, 30).with_proposals(Arc::new(proposals));
        let packed = pipeline.run("a", given).unwrap();
        assert_eq!(packed.meta.img_shape, [8, 9]);
        let moved = packed.meta.proposals.as_deref().unwrap();
        assert_eq!(moved.boxes, [[0.0, 0.0, 9.0, 4.0]]);
        assert_eq!(
            (packed.meta.ori_shape, packed.meta.flip()),
            ([30, 20], false)
        );
        assert_eq!(packed.asked.keys().collect::<Vec<_>>(), ["img_path"]);
        let random = read(
            "[dict(type='InferencerLoader'), dict(type='RandomCrop', crop_size=(3, 3)), dict(type='PackDetInputs')]",
        )
        .unwrap();
        let error = random.run("b", picture(20, 30)).unwrap_err().to_string();
        assert!(error.contains("cannot draw at random"), "{error}");
    }
}
