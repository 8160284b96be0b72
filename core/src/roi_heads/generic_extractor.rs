//! `GenericRoIExtractor` of MMDetection 3.3.0: regions are read from all levels, not from one (GRoIE, Rossi et al. 2020, arXiv 2004.13665).

use burn::tensor::Tensor;
use serde::Deserialize;

use super::RegionMap;
use super::extractor::{RoiExtractor, sampling, scaled, strides_of};
use super::plugin::Plugin;
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};
use crate::limits::{Channels, List, Pixels};
use crate::ops::roi_align::{Choice, Sampling, roi_align};

/// The keys of `type='GenericRoIExtractor'`.
#[derive(Debug, Deserialize)]
struct GenericConfig {
    out_channels: Channels,
    featmap_strides: List<Pixels>,
    aggregation: Option<String>,
}

/// How the levels of a region become one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregation {
    Sum,
    Concat,
}

/// Reads each region from every level.
#[derive(Debug)]
struct GenericRoiExtractor {
    channels: usize,
    /// Of each level.
    reads: usize,
    scales: Vec<f32>,
    sampling: Sampling,
    aggregation: Aggregation,
    pre_module: Option<Plugin>,
    post_module: Option<Plugin>,
}

pub(super) fn build(node: &Node, build: &Build) -> Result<Box<dyn RoiExtractor>, Diagnostics> {
    let others = ["roi_layer", "pre_cfg", "post_cfg", "init_cfg"];
    let config: GenericConfig = node.read_knowing(&others)?;
    let strides = strides_of(node, &config.featmap_strides)?;
    let channels = config.out_channels.get();
    let aggregation = match config.aggregation.as_deref() {
        None | Some("sum") => Aggregation::Sum,
        Some("concat") => Aggregation::Concat,
        Some(other) => {
            let message = format!("`aggregation` is '{other}', must be 'sum' or 'concat'");
            return Err(error_at(node, "aggregation", message, ""));
        }
    };
    let levels = strides.len();
    let each = match aggregation {
        Aggregation::Sum => channels,
        Aggregation::Concat if channels.is_multiple_of(levels) => channels / levels,
        Aggregation::Concat => {
            let message = format!("`out_channels` is {channels}, no multiple of {levels} levels");
            return Err(error_at(node, "out_channels", message, ""));
        }
    };
    let params = &build.params;
    let sampling = sampling(node)?;
    let square = sampling.bins[0] == sampling.bins[1];
    let same = |key, read: Option<(Plugin, usize)>, channels| match read {
        None => Ok(None),
        Some((plugin, gives)) if gives == channels => Ok(Some(plugin)),
        Some((_, gives)) => {
            let message = format!("`{key}` gives {gives} channels, but {channels} are wanted");
            Err(error_at(node, key, message, ""))
        }
    };
    let post = Plugin::read(
        node,
        "post_cfg",
        channels,
        square,
        &params.at("post_module"),
    )?;
    let pre = Plugin::read(node, "pre_cfg", each, square, &params.at("pre_module"))?;
    Ok(Box::new(GenericRoiExtractor {
        channels,
        reads: each,
        scales: strides.iter().map(|stride| 1.0 / *stride as f32).collect(),
        sampling,
        aggregation,
        pre_module: same("pre_cfg", pre, each)?,
        post_module: same("post_cfg", post, channels)?,
    }))
}

impl RoiExtractor for GenericRoiExtractor {
    fn extract_scaled(
        &self,
        maps: &[Tensor<4>],
        regions: Tensor<2>,
        scale: Option<f32>,
    ) -> Tensor<4> {
        let maps = &maps[..self.scales.len()];
        let read = |regions: Tensor<2>, i: usize| {
            let (map, scale) = (&maps[i..=i], &self.scales[i..=i]);
            roi_align(map, scale, regions, self.sampling, Choice::Level(0))
        };
        let rows = regions.dims()[0];
        if rows == 0 {
            let [height, width] = self.sampling.bins;
            let device = maps[0].device();
            return Tensor::zeros([0, self.channels, height, width], &device);
        }
        // A single level goes past all that follows, in the original, too.
        if maps.len() == 1 {
            return read(regions, 0);
        }
        let regions = match scale {
            Some(scale) => scaled(regions, scale),
            None => regions,
        };
        let levels = (0..maps.len()).map(|i| {
            let x = read(regions.clone(), i);
            match &self.pre_module {
                Some(plugin) => plugin.forward(x),
                None => x,
            }
        });
        let x = match self.aggregation {
            Aggregation::Sum => levels.reduce(|sum, x| sum + x).expect("there are levels"),
            Aggregation::Concat => Tensor::cat(levels.collect(), 1),
        };
        match &self.post_module {
            Some(plugin) => plugin.forward(x),
            None => x,
        }
    }

    fn levels(&self) -> usize {
        self.scales.len()
    }

    fn reads(&self) -> usize {
        self.reads
    }

    fn gives(&self) -> RegionMap {
        RegionMap {
            channels: self.channels,
            size: self.sampling.bins,
        }
    }
}
