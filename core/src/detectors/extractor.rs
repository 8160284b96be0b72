//! [`Extractor`]: what every detector begins with, a backbone and mostly a neck.

use burn::tensor::Tensor;

use crate::backbones::{Backbone, Backbones, Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostics, Node, Origin, error_at, left_over};
use crate::necks::{Neck, Necks};
use crate::probe::Probe;

/// Backbone and neck of a detector's config.
#[derive(Debug)]
pub struct Extractor {
    backbone: Box<dyn Backbone>,
    /// One after another.
    necks: Vec<Box<dyn Neck>>,
    features: Vec<Feature>,
    /// What heads are told of where the maps come from: a name and a place in the config.
    of: (String, Origin),
}

impl Extractor {
    /// Reads `backbone` and `neck` of the detector `node`.
    ///
    /// # Errors
    /// A part is missing or wrong.
    pub fn read(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let backbone_node = part(node, "backbone")?;
        let (make, below) = build.part::<Backbones>("backbone", backbone_node)?;
        let backbone = make(backbone_node, &below);
        let backbone = backbone.map_err(|problems| left_over(backbone_node, problems))?;
        let mut extractor = Self {
            features: backbone.features(),
            backbone,
            necks: Vec::new(),
            of: named(backbone_node),
        };
        if let Some(given) = node.get("neck").filter(|n| !n.is_none()) {
            let necks = match given.as_items() {
                None => vec![("neck".to_string(), given)],
                Some(items) => {
                    let named = |(i, neck)| (format!("neck.{i}"), neck);
                    items.iter().enumerate().map(named).collect()
                }
            };
            for (name, neck_node) in necks {
                let (make, below) = build.part::<Necks>(&name, neck_node)?;
                let neck = make(neck_node, extractor.features(), &below);
                let neck = neck.map_err(|problems| left_over(neck_node, problems))?;
                extractor.features = neck.features();
                extractor.of = named(neck_node);
                extractor.necks.push(neck);
            }
        }
        Ok(extractor)
    }

    /// What [`Extractor::forward`] gives.
    pub fn features(&self) -> Features<'_> {
        Features {
            list: &self.features,
            of: &self.of.0,
            origin: &self.of.1,
        }
    }

    /// Channels that pictures must have.
    pub fn channels_in(&self) -> usize {
        self.backbone.channels_in()
    }

    /// Height and width of a batch must be multiples of this, px.
    pub fn size_divisor(&self) -> usize {
        let necks = self.necks.iter().map(|neck| neck.size_divisor());
        necks.fold(self.backbone.size_divisor(), usize::max)
    }

    /// The one height and width that a batch can have, if there is but one.
    pub fn only_size(&self) -> Option<[usize; 2]> {
        self.backbone.only_size()
    }

    /// The pixels of a batch to the maps that heads read.
    ///
    /// # Panics
    /// If the batch's size does not suit [`Extractor::size_divisor`].
    pub fn forward(&self, pixels: Tensor<4>, probe: &mut Probe) -> Vec<Tensor<4>> {
        let maps = self.backbone.forward(pixels);
        probe.tell("backbone", &maps);
        let necks = self.necks.iter();
        let maps = necks.fold(maps, |maps, neck| neck.forward(maps));
        probe.tell("neck", &maps);
        maps
    }
}

/// The config of the part `key` of a detector.
///
/// # Errors
/// There is none.
pub(super) fn part<'a>(node: &'a Node, key: &str) -> Result<&'a Node, Diagnostics> {
    let found = node.get(key).filter(|n| !n.is_none());
    found.ok_or_else(|| error_at(node, key, format!("this detector has no `{key}`"), ""))
}

fn named(node: &Node) -> (String, Origin) {
    let name = node.get("type").and_then(|t| t.as_type());
    (name.unwrap_or_default(), node.origin.clone())
}
