//! The backbones of DetectoRS (Qiao et al. 2020, arXiv 2006.02334) as MMDetection 3.3.0 builds them: switchable atrous convolutions in the middles of
//! blocks, and maps of a recursive pyramid that are added to the stages when the picture comes through once more.

use burn::tensor::Tensor;

use super::class::Variant::{DetectoRS_ResNeXt, DetectoRS_ResNet};
use super::{Backbone, Class, Library, ResNet, boxed};
use crate::build::Build;
use crate::config::{Diagnostics, Node, error_at};

pub(in crate::backbones) fn build(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    check(node)?;
    boxed(node, build, Library::MMDetection, DetectoRS_ResNet)
}

pub(in crate::backbones) fn build_next(
    node: &Node,
    build: &Build,
) -> Result<Box<dyn Backbone>, Diagnostics> {
    check(node)?;
    boxed(node, build, Library::MMDetection, DetectoRS_ResNeXt)
}

/// `init_cfg` can be a checkpoint only.
fn check(node: &Node) -> Result<(), Diagnostics> {
    let Some(init) = node.get("init_cfg").filter(|init| !init.is_none()) else {
        return Ok(());
    };
    match init.get("type").and_then(Node::as_type).as_deref() {
        Some("Pretrained") => Ok(()),
        _ => {
            let message = "the `init_cfg` of DetectoRS must be of type 'Pretrained'";
            Err(error_at(node, "init_cfg", message, ""))
        }
    }
}

impl ResNet {
    /// One of the two by its registered name, as the neck RFP has it inside.
    ///
    /// # Errors
    /// It is another one, or its config is wrong.
    pub(crate) fn detectors(node: &Node, build: &Build) -> Result<Self, Diagnostics> {
        let named = node.get("type").and_then(Node::as_type).unwrap_or_default();
        let variant = match named.rsplit('.').next().unwrap_or_default() {
            "DetectoRS_ResNet" => DetectoRS_ResNet,
            "DetectoRS_ResNeXt" => DetectoRS_ResNeXt,
            other => {
                let message = format!("a recursive pyramid has no `{other}` inside");
                let help = "known are DetectoRS_ResNet, DetectoRS_ResNeXt";
                return Err(error_at(node, "type", message, help));
            }
        };
        check(node)?;
        let library = Library::MMDetection;
        Self::read(node, build, Class { library, variant })
    }

    /// The maps of a picture `[N, C, H, W]` once more; `given` is added to the stages, the first one's is left out.
    pub(crate) fn forward_again(&self, x: Tensor<4>, given: &[Tensor<4>]) -> Vec<Tensor<4>> {
        self.walk(x, given)
    }

    /// Pixels of a picture for one of each stage's.
    pub(crate) fn strides(&self) -> &[usize] {
        &self.strides
    }
}
