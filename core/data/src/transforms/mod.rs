//! The transforms of pipelines, read from a config's `dict(type=...)`. One transform, one file, a row in [`ROWS`].
//!
//! A transform first makes all its random draws into a plain struct ([`Draws::draw`]), then does what they say
//! ([`Draws::apply`]); the draws can be printed, saved and replayed with any other sample. What it does to pixels it only describes
//! ([`super::pixels::Op`]).

mod auto_augment;
mod broadcaster;
mod cached_mix_up;
mod cached_mosaic;
mod canvas;
mod color_transform;
mod compose;
mod copy_paste;
mod cut_out;
mod expand;
mod filter_annotations;
mod fix_scale_resize;
mod fix_shape_resize;
mod geom_transform;
#[cfg(test)]
mod hand_made;
mod level;
pub(crate) mod load;
mod load_annotations;
mod load_empty_annotations;
mod load_proposals;
mod min_iou_random_crop;
mod mix_up;
mod mixing;
mod mosaic;
mod not_yet;
mod pack_det_inputs;
mod pad;
mod photo_metric_distortion;
mod proposal_broadcaster;
mod rand_augment;
mod random_affine;
mod random_apply;
mod random_center_crop_pad;
mod random_choice;
mod random_choice_resize;
mod random_crop;
mod random_erasing;
mod random_flip;
mod random_order;
mod random_resize;
mod random_shift;
mod resize;
mod resize_shortest_edge;
mod resize_type;
#[cfg(test)]
mod strangers;
mod test_time_aug;
#[cfg(test)]
mod trial;
mod yolox_hsv;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::in_order::Order;
use super::lookup::Lookup;
use super::picture::Fault;
use super::pixels::Pixels;
use super::random::Random;
use super::sample::Sample;
use smalti_config::registry::{Family, Row};
use smalti_config::{Diagnostic, Diagnostics, Kind, Node, error_at, stray_comma};

use not_yet::NOT_YET;

pub use load::LoadImageFromFile;
pub use pad::{Fill, Pad, PaddingMode};
pub use resize::Resize;

pub use super::context::{Context, Pin, Saved, Watch};
pub use super::files::Files;
pub use super::pixels::Method;

/// What a transform makes of a sample: `None` where MMDetection returns None (the data set then takes another index).
pub type Outcome = Result<Option<Sample>, Fault>;

/// One step of a training pipeline.
pub trait Transform: Send + Sync + fmt::Debug {
    /// Its `type`.
    fn name(&self) -> &'static str;

    /// Draws and does.
    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome;

    /// `get_indexes`: which of the `others` it mixes in, for `MultiImageMixDataset`. `None`: it mixes none.
    fn mix_indexes(
        &self,
        others: &mut dyn Others,
        cx: &mut Context<'_>,
    ) -> Option<Result<Vec<usize>, Fault>> {
        let _ = (others, cx);
        None
    }

    /// `get_indexes` of this transform must be called (Mosaic, MixUp, CopyPaste): it cannot run outside of `MultiImageMixDataset`.
    fn needs_mix(&self) -> bool {
        false
    }

    /// It remembers earlier samples (CachedMosaic, CachedMixUp), and so must see them in order.
    fn order(&self) -> Option<&dyn Order> {
        None
    }

    /// Transforms inside it.
    fn children(&self) -> Vec<&dyn Transform> {
        Vec::new()
    }
}

/// The pictures from which Mosaic, MixUp and CopyPaste choose.
pub trait Others {
    /// Their number.
    fn len(&self) -> usize;

    /// There are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the picture at `index` has objects after its own pipeline: it is loaded, with whatever draws that takes, as
    /// MixUp does. `true` where it cannot be loaded: who then takes it gets the error.
    fn has_objects(&mut self, index: usize, random: &mut dyn Random) -> bool;
}

/// A transform whose draws are made first. Every one that is no wrapper.
pub trait Draws: Send + Sync + fmt::Debug {
    /// What was drawn; `()` where nothing is.
    type Drawn: Serialize + DeserializeOwned + fmt::Debug;

    /// Its `type`.
    fn name(&self) -> &'static str;

    /// Makes the draws for this sample: the same functions with the same arguments in the same order as MMDetection.
    fn draw(&self, sample: &Sample, random: &mut dyn Random) -> Result<Self::Drawn, Fault>;

    /// Does what was drawn, which may come from a file: must not panic whatever it says.
    fn apply(&self, sample: Sample, drawn: &Self::Drawn, pixels: &Pixels) -> Outcome;

    /// See [`Transform::mix_indexes`].
    fn indexes(
        &self,
        others: &mut dyn Others,
        random: &mut dyn Random,
    ) -> Option<Result<Vec<usize>, Fault>> {
        let _ = (others, random);
        None
    }

    /// See [`Transform::needs_mix`].
    fn mixes(&self) -> bool {
        false
    }
}

impl<T: Draws> Transform for T {
    fn name(&self) -> &'static str {
        Draws::name(self)
    }

    fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let drawn = cx.drawn(Draws::name(self), |random| self.draw(&sample, random))?;
        self.apply(sample, &drawn, cx.pixels)
    }

    fn mix_indexes(
        &self,
        others: &mut dyn Others,
        cx: &mut Context<'_>,
    ) -> Option<Result<Vec<usize>, Fault>> {
        if !self.mixes() {
            return None;
        }
        let name = format!("{}.indexes", Draws::name(self));
        Some(cx.drawn(&name, |random| {
            self.indexes(others, random).unwrap_or(Ok(Vec::new()))
        }))
    }

    fn needs_mix(&self) -> bool {
        self.mixes()
    }
}

impl Context<'_> {
    /// Runs transforms one after another, as mmengine's Compose.
    ///
    /// # Errors
    /// That of the first that fails.
    pub fn run_all(&mut self, steps: &[Box<dyn Transform>], mut sample: Sample) -> Outcome {
        for step in steps {
            match self.run_one(&**step, sample)? {
                Some(next) => sample = next,
                None => return Ok(None),
            }
        }
        Ok(Some(sample))
    }

    /// Runs one transform, and tells who watches.
    ///
    /// # Errors
    /// Its error.
    pub fn run_one(&mut self, step: &dyn Transform, sample: Sample) -> Outcome {
        let next = step.run(sample, self)?;
        if let (Some(watch), Some(next)) = (&mut self.watch, &next) {
            watch(step.name(), self.saved.as_ref().map_or(0, Vec::len), next);
        }
        Ok(next)
    }
}

/// The kind `transform` of the registry. A builder is given where to look up transforms inside it.
#[derive(Clone, Copy, Debug)]
pub struct Transforms;

impl Family for Transforms {
    const KIND: &'static str = "transform";
    type Build = fn(&Node, &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics>;
    // MMDetection has those of mmcv and mmengine as its own.
    const SAME_SCOPES: &'static [(&'static str, &'static str)] =
        &[("mmcv", "mmdet"), ("mmengine", "mmdet")];
    const NOT_YET: &'static [(&'static str, &'static str)] = NOT_YET;
    const COMPLETE: bool = true;
}

const fn row(name: &'static str, build: <Transforms as Family>::Build) -> Row<Transforms> {
    Row::new("mmdet", name, build)
}

/// The table.
pub const ROWS: &[Row<Transforms>] = &[
    row("AutoAugment", auto_augment::build),
    row("AutoContrast", color_transform::build),
    row("Brightness", color_transform::build),
    row("CachedMixUp", cached_mix_up::build),
    row("CachedMosaic", cached_mosaic::build),
    row("Color", color_transform::build),
    row("ColorTransform", color_transform::build),
    row("Compose", compose::build),
    row("Contrast", color_transform::build),
    row("CopyPaste", copy_paste::build),
    row("CutOut", cut_out::build),
    row("Equalize", color_transform::build),
    row("Expand", expand::build),
    row("FilterAnnotations", filter_annotations::build),
    row("FixScaleResize", |n, _| boxed(fix_scale_resize::read(n))),
    row("FixShapeResize", fix_shape_resize::build),
    row("GeomTransform", geom_transform::build),
    row("Invert", color_transform::build),
    row("KeyMapper", broadcaster::key_mapper),
    row("LoadAnnotations", load_annotations::build),
    row("LoadEmptyAnnotations", load_empty_annotations::build),
    row("LoadImageFromFile", |n, _| boxed(load::read(n))),
    row("LoadProposals", load_proposals::build),
    row("MinIoURandomCrop", min_iou_random_crop::build),
    row("MixUp", mix_up::build),
    row("Mosaic", mosaic::build),
    row("PackDetInputs", pack_det_inputs::build),
    row("Pad", |n, _| boxed(pad::read(n))),
    row("PhotoMetricDistortion", photo_metric_distortion::build),
    row("Posterize", color_transform::build),
    row("ProposalBroadcaster", proposal_broadcaster::build),
    row("RandAugment", rand_augment::build),
    row("RandomAffine", random_affine::build),
    row("RandomApply", random_apply::build),
    row("RandomCenterCropPad", random_center_crop_pad::build),
    row("RandomChoice", random_choice::build),
    row("RandomChoiceResize", random_choice_resize::build),
    row("RandomCrop", random_crop::build),
    row("RandomErasing", random_erasing::build),
    row("RandomFlip", random_flip::build),
    row("RandomOrder", random_order::build),
    row("RandomResize", random_resize::build),
    row("RandomShift", random_shift::build),
    row("Resize", |n, _| boxed(resize::read(n))),
    row("ResizeShortestEdge", |n, _| {
        boxed(resize_shortest_edge::read(n))
    }),
    row("Rotate", geom_transform::build),
    row("Sharpness", color_transform::build),
    row("ShearX", geom_transform::build),
    row("ShearY", geom_transform::build),
    row("Solarize", color_transform::build),
    row("SolarizeAdd", color_transform::build),
    row("TestTimeAug", test_time_aug::build),
    row("TransformBroadcaster", broadcaster::build),
    row("TranslateX", geom_transform::build),
    row("TranslateY", geom_transform::build),
    row("YOLOXHSVRandomAug", yolox_hsv::build),
];

/// A transform that was read.
fn boxed<T: Transform + 'static>(
    read: Result<T, Diagnostics>,
) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(read?))
}

/// The one of several kinds that the `type` of a node names.
fn kind_of<K: Copy>(
    node: &Node,
    kinds: &[K],
    name: fn(K) -> &'static str,
) -> Result<K, Diagnostics> {
    let kind = node.get("type").and_then(Node::as_type).unwrap_or_default();
    let last = kind.rsplit('.').next().unwrap_or_default();
    let found = kinds.iter().find(|k| name(**k) == last);
    let wrong = || error_at(node, "type", format!("no transform `{kind}`"), "");
    found.copied().ok_or_else(wrong)
}

/// Reads one `dict(type=...)` of what this crate has; scopes `mmdet.`, `mmcv.` and `mmengine.` are the same here. With transforms of
/// another crate: [`Lookup::transform`].
///
/// # Errors
/// An unknown type, or options that it does not have.
pub fn build(node: &Node) -> Result<Box<dyn Transform>, Diagnostics> {
    Lookup::own().transform(node)
}

impl Lookup<'_> {
    /// Reads one transform.
    ///
    /// # Errors
    /// An unknown type, or options that it does not have.
    pub fn transform(&self, node: &Node) -> Result<Box<dyn Transform>, Diagnostics> {
        let row = self.find::<Transforms>(node)?;
        (row.build)(node, self)
    }

    /// Reads a list of transforms; `None` is an empty list.
    ///
    /// # Errors
    /// All problems of all of them.
    pub fn transforms(&self, node: Option<&Node>) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
        let Some(node) = node.filter(|n| !n.is_none()) else {
            return Ok(Vec::new());
        };
        if let Some(error) = list_in_a_tuple(node).or_else(|| too_many(node)) {
            return Err(vec![error]);
        }
        let Some(items) = node.as_items() else {
            let found = node.type_name();
            let message = format!("a pipeline is a list of transforms, found {found}");
            let error = Diagnostic::error(message).kind(Kind::Mistyped);
            return Err(vec![error.at(&node.origin, "")]);
        };
        let (mut steps, mut problems) = (Vec::new(), Vec::new());
        for item in items {
            match self.transform(item) {
                Ok(step) => steps.push(step),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(steps)
        } else {
            Err(problems)
        }
    }

    /// The transforms of a list, or a single one: what wrappers take.
    ///
    /// # Errors
    /// As [`Self::transforms`].
    pub fn steps(&self, node: &Node) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
        match node.as_dict() {
            Some(_) => Ok(vec![self.transform(node)?]),
            None => self.transforms(Some(node)),
        }
    }
}

/// The error of `pipeline = [...],`, whose comma makes it a tuple of one list.
pub(crate) fn list_in_a_tuple(node: &Node) -> Option<Diagnostic> {
    let [inner] = node.as_items()? else {
        return None;
    };
    inner.as_items()?;
    stray_comma("this pipeline", node)
}

/// Transforms of a pipeline, with those within others. Each is work for every picture.
const MOST: usize = 1000;

/// The error of a pipeline that is too long.
pub(crate) fn too_many(node: &Node) -> Option<Diagnostic> {
    fn count(node: &Node) -> usize {
        if let Some(dict) = node.as_dict() {
            let within = dict.iter().map(|(_, entry)| count(&entry.node));
            return usize::from(dict.contains("type")) + within.sum::<usize>();
        }
        node.as_items().unwrap_or_default().iter().map(count).sum()
    }
    let transforms = count(node);
    (transforms > MOST).then(|| {
        let message = format!("a pipeline of {transforms} transforms, at most {MOST} are possible");
        Diagnostic::error(message)
            .kind(Kind::Limit)
            .at(&node.origin, "")
    })
}

/// Reads a list of transforms of this crate; `None` is an empty list. With those of another: [`Lookup::transforms`].
///
/// # Errors
/// All problems of all of them.
pub fn build_all(node: Option<&Node>) -> Result<Vec<Box<dyn Transform>>, Diagnostics> {
    Lookup::own().transforms(node)
}
