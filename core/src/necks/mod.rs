//! Necks: feature maps in, feature maps of one width out. To add one, write a file and a row in [`ROWS`].

mod bfp;
mod fpn;
mod hrfpn;
mod rfp;
mod upsample;
mod yolox_pafpn;

pub use fpn::Fpn;
pub use hrfpn::HrFpn;
pub use rfp::Rfp;
pub use yolox_pafpn::YoloxPafpn;

use burn::tensor::Tensor;

use crate::backbones::{Feature, Features};
use crate::build::Build;
use crate::config::{Diagnostic, Diagnostics, Node};
use crate::limits::{Channels, List};
use crate::registry::{Family, Row};

impl Features<'_> {
    /// The channels of each level. `wanted` is the neck's `in_channels`, if it has them.
    ///
    /// # Errors
    /// They are others; the error points at both, and gives the right list.
    fn channels(
        &self,
        neck: &str,
        node: &Node,
        wanted: Option<&List<Channels>>,
    ) -> Result<Vec<usize>, Diagnostics> {
        let given: Vec<usize> = self.list.iter().map(|f| f.channels).collect();
        let wanted = wanted.map(List::numbers);
        let Some(wanted) = wanted.filter(|wanted| *wanted != given) else {
            return Ok(given);
        };
        let backbone = self.of;
        let message = if wanted.len() == given.len() {
            format!(
                "`{neck}` has `in_channels` {wanted:?} but backbone `{backbone}` gives {given:?}"
            )
        } else {
            format!(
                "`{neck}` has {} `in_channels` but backbone `{backbone}` gives {} levels",
                wanted.len(),
                given.len()
            )
        };
        let at = node.get("in_channels").unwrap_or(node);
        let error = Diagnostic::error(message)
            .fix(&at.origin, format!("{given:?}"), format!("Write {given:?}"))
            .at(&at.origin, format!("{} entries", wanted.len()))
            .at(self.origin, format!("gives {given:?}"))
            .help(format!("write in_channels={given:?}, or leave `in_channels` out to have it taken from the backbone"));
        Err(vec![error])
    }
}

/// Turns a backbone's maps into the pyramid that heads read.
pub trait Neck: std::fmt::Debug + Send + Sync {
    /// # Shapes
    /// - inputs: one `[N, C_i, H_i, W_i]` for each backbone output
    /// - outputs: one `[N, channels, H_j, W_j]` for each of [`Neck::features`]
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Vec<Tensor<4>>;

    /// What [`Neck::forward`] gives.
    fn features(&self) -> Vec<Feature>;

    /// Height and width of a batch must be multiples of this, px.
    fn size_divisor(&self) -> usize {
        1
    }
}

/// The kind `neck` of the registry.
#[derive(Debug)]
pub struct Necks;

impl Family for Necks {
    const KIND: &'static str = "neck";
    type Build = fn(&Node, Features, &Build) -> Result<Box<dyn Neck>, Diagnostics>;
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Necks>; 7] = [
    Row::<Necks>::new("mmdet", "BFP", bfp::build),
    Row::<Necks>::new("mmdet", "CSPNeXtPAFPN", yolox_pafpn::build_next),
    Row::<Necks>::new("mmdet", "FPN", fpn::build),
    Row::<Necks>::new("mmdet", "HRFPN", hrfpn::build),
    Row::<Necks>::new("mmdet", "PAFPN", fpn::build_path_aggregation),
    Row::<Necks>::new("mmdet", "RFP", rfp::build),
    Row::<Necks>::new("mmdet", "YOLOXPAFPN", yolox_pafpn::build),
];

/// Builds the neck of a Python `text` for a backbone of such channels and strides: it, and its state dict without `neck.`; or
/// what is said of it.
#[cfg(test)]
fn made(
    text: &str,
    features: &[(usize, usize)],
    mode: crate::layers::Mode,
) -> Result<(Box<dyn Neck>, Vec<crate::layers::StateEntry>), String> {
    let node = crate::config::parse_value(text).unwrap();
    let features = features.iter();
    let features: Vec<_> = features
        .map(|&(channels, stride)| Feature { channels, stride })
        .collect();
    let registry = crate::registry();
    let params = crate::layers::Params::new(&burn::tensor::Device::flex(), mode, None);
    let root = Build::new(
        &registry,
        params.clone(),
        crate::registry::DEFAULT_SCOPE,
        None,
    );
    let (make, part) = root.part::<Necks>("neck", &node).unwrap();
    let inputs = Features {
        list: &features,
        of: "CSPDarknet",
        origin: &node.origin,
    };
    let neck = make(&node, inputs, &part)
        .map_err(|problems| problems.iter().map(|p| p.to_string()).collect::<String>())?;
    let mut state = params.state();
    for entry in &mut state {
        entry.key = entry.key["neck.".len()..].into();
    }
    Ok((neck, state))
}
