//! Extractors: the features of regions, at one size. To add one, a function here and a row in [`ROWS`].

use burn::tensor::Tensor;
use serde::Deserialize;

use super::{RegionMap, generic_extractor};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::limits::{Channels, List, Pixels};
use crate::ops::roi_align::{Bin, Choice, Sampling, roi_align};
use crate::registry::{Family, Row};

/// Reads regions from a pyramid.
pub trait RoiExtractor: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - maps: `[N, C, H, W]`, one a level, finest first; further ones are not read
    /// - regions: `[R, 5]`: which picture, then xyxy px of the batch
    /// - output: `[R, channels, height, width]`
    /// - `scale`: regions are read from the level that their own size says, but are so many times as wide and high about their centres
    fn extract_scaled(
        &self,
        maps: &[Tensor<4>],
        regions: Tensor<2>,
        scale: Option<f32>,
    ) -> Tensor<4>;

    /// As [`RoiExtractor::extract_scaled`], of regions as they are.
    fn extract(&self, maps: &[Tensor<4>], regions: Tensor<2>) -> Tensor<4> {
        self.extract_scaled(maps, regions, None)
    }

    /// Levels that it reads.
    fn levels(&self) -> usize;

    /// Channels of the maps that it reads.
    fn reads(&self) -> usize;

    /// What it gives of each region.
    fn gives(&self) -> RegionMap;
}

/// The kind `RoI extractor` of the registry.
#[derive(Debug)]
pub struct RoiExtractors;

impl Family for RoiExtractors {
    const KIND: &'static str = "RoI extractor";
    type Build = fn(&Node, &Build) -> Result<Box<dyn RoiExtractor>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<RoiExtractors>; 2] = [
    Row::<RoiExtractors>::new("mmdet", "GenericRoIExtractor", generic_extractor::build),
    Row::<RoiExtractors>::new("mmdet", "SingleRoIExtractor", build_single),
];

/// The keys of `type='SingleRoIExtractor'`.
#[derive(Debug, Deserialize)]
struct SingleConfig {
    out_channels: Channels,
    featmap_strides: List<Pixels>,
    finest_scale: Option<f32>,
}

/// The keys of a `roi_layer`.
#[derive(Debug, Deserialize)]
struct LayerConfig {
    #[serde(rename = "type")]
    kind: String,
    output_size: OutputSize,
    sampling_ratio: Option<SamplingRatio>,
    pool_mode: Option<String>,
    aligned: Option<bool>,
}

type SamplingRatio = crate::config::Bounded<0, 64>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OutputSize {
    One(Pixels),
    Two([Pixels; 2]),
}

/// Reads each region from the level that its size says.
#[derive(Debug)]
struct SingleRoiExtractor {
    channels: usize,
    scales: Vec<f32>,
    finest_scale: f32,
    sampling: Sampling,
}

fn build_single(node: &Node, _: &Build) -> Result<Box<dyn RoiExtractor>, Diagnostics> {
    let config: SingleConfig = node.read_knowing(&["roi_layer", "init_cfg"])?;
    let strides = strides_of(node, &config.featmap_strides)?;
    Ok(Box::new(SingleRoiExtractor {
        channels: config.out_channels.get(),
        scales: strides.iter().map(|stride| 1.0 / *stride as f32).collect(),
        finest_scale: config.finest_scale.unwrap_or(56.0),
        sampling: sampling(node)?,
    }))
}

/// The levels of `featmap_strides`, of which there is at least one.
pub(super) fn strides_of(node: &Node, given: &List<Pixels>) -> Result<Vec<usize>, Diagnostics> {
    let strides = given.numbers();
    if strides.is_empty() {
        let message = "`featmap_strides` has no levels";
        let help = "for example [4, 8, 16, 32]";
        return Err(error_at(node, "featmap_strides", message, help));
    }
    Ok(strides)
}

/// What `roi_layer` says.
pub(super) fn sampling(node: &Node) -> Result<Sampling, Diagnostics> {
    let Some(layer) = super::present(node, "roi_layer") else {
        let help = "for example roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)";
        return Err(error_at(node, "roi_layer", "there is no `roi_layer`", help));
    };
    let config: LayerConfig = layer.read_knowing(&["use_torchvision", "spatial_scale"])?;
    let bins = match config.output_size {
        OutputSize::One(side) => [side.get(); 2],
        OutputSize::Two(sides) => sides.map(|side| side.get()),
    };
    let bin = match config.kind.rsplit('.').next().unwrap_or_default() {
        "RoIPool" => Bin::Places,
        "RoIAlign" => match config.pool_mode.as_deref() {
            None | Some("avg") => Bin::Mean,
            Some("max") => Bin::Largest,
            Some(other) => {
                let message = format!("`pool_mode` is '{other}', must be 'avg' or 'max'");
                return Err(error_at(layer, "pool_mode", message, ""));
            }
        },
        other => {
            let message = format!("the `roi_layer` `{other}` is not supported");
            return Err(unsupported(
                layer,
                "type",
                message,
                "known are RoIAlign, RoIPool",
            ));
        }
    };
    Ok(Sampling {
        bins,
        ratio: config.sampling_ratio.map_or(0, |ratio| ratio.get()),
        aligned: config.aligned.unwrap_or(true),
        bin,
    })
}

impl RoiExtractor for SingleRoiExtractor {
    fn extract_scaled(
        &self,
        maps: &[Tensor<4>],
        regions: Tensor<2>,
        scale: Option<f32>,
    ) -> Tensor<4> {
        let maps = &maps[..self.scales.len()];
        let by_size = |finest| Choice::BySize {
            finest,
            epsilon: 1e-6,
        };
        // A single level is read as if nothing was said of scales.
        let (choice, regions) = match (maps.len(), scale) {
            (1, _) => (Choice::Level(0), regions),
            (_, None) => (by_size(self.finest_scale), regions),
            (_, Some(scale)) => (by_size(self.finest_scale * scale), scaled(regions, scale)),
        };
        roi_align(maps, &self.scales, regions, self.sampling, choice)
    }

    fn levels(&self) -> usize {
        self.scales.len()
    }

    fn reads(&self) -> usize {
        self.channels
    }

    fn gives(&self) -> RegionMap {
        RegionMap {
            channels: self.channels,
            size: self.sampling.bins,
        }
    }
}

/// Regions `[R, 5]` that are so many times as wide and high about their centres.
pub(super) fn scaled(regions: Tensor<2>, scale: f32) -> Tensor<2> {
    let pictures = regions.clone().narrow(1, 0, 1);
    let [low, high] = [1, 3].map(|first| regions.clone().narrow(1, first, 2));
    let centres = (low.clone() + high.clone()) * 0.5;
    let halves = (high - low) * scale * 0.5;
    let parts = vec![pictures, centres.clone() - halves.clone(), centres + halves];
    Tensor::cat(parts, 1)
}

/// The extractor that `key` of `node` names, for `features`.
///
/// # Errors
/// It is wrong, or reads maps that are not there.
pub(super) fn read(
    node: &Node,
    key: &str,
    features: &crate::backbones::Features,
    build: &Build,
) -> Result<Box<dyn RoiExtractor>, Diagnostics> {
    let Some(described) = super::present(node, key) else {
        let help = "for example dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), out_channels=256, featmap_strides=[4, 8, 16, 32])";
        return Err(error_at(node, key, format!("there is no `{key}`"), help));
    };
    read_one(described, key, features, build)
}

/// As [`read`], described by `node` itself.
pub(super) fn read_one(
    node: &Node,
    key: &str,
    features: &crate::backbones::Features,
    build: &Build,
) -> Result<Box<dyn RoiExtractor>, Diagnostics> {
    let (make, below) = build.part::<RoiExtractors>(key, node)?;
    let extractor = make(node, &below)?;
    let (levels, there) = (extractor.levels(), features.list.len());
    if levels > there {
        let message = format!(
            "the extractor reads {levels} levels, but `{}` gives {there}",
            features.of
        );
        return Err(error_at(node, "featmap_strides", message, ""));
    }
    let other = features.list[..levels]
        .iter()
        .find(|feature| feature.channels != extractor.reads());
    if let Some(other) = other {
        let message = format!(
            "the extractor has `out_channels` {}, which is for maps of {} channels, but `{}` gives {}",
            extractor.gives().channels,
            extractor.reads(),
            features.of,
            other.channels
        );
        let out = other.channels * extractor.gives().channels / extractor.reads();
        let help = format!("write out_channels={out}");
        return Err(error_at(node, "out_channels", message, &help));
    }
    Ok(extractor)
}
