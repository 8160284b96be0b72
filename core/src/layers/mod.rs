//! The layers that every model is made of: convolution with norm and activation, squeeze-and-excite,
//! and [`Params`], through which each of them asks for its tensors by their state-dict names.

mod activation;
mod conv;
mod conv_style;
mod csp_layer;
mod norm;
mod params;
mod squeeze_excite;
mod state_source;

pub use activation::{ActConfig, Activation};
pub use conv::{ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, Padding};
pub use conv_style::ConvStyle;
pub use csp_layer::{CspLayer, CspLayerConfig};
pub use norm::{Norm, NormConfig, NormKind};
pub use params::{Init, Mode, Params, Role, StateEntry, TensorSource};
pub use squeeze_excite::{SqueezeExcite, make_divisible};
pub use state_source::StateSource;
