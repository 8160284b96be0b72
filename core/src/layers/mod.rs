//! The layers that every model is made of: convolution with norm and activation, squeeze-and-excite,
//! and [`Params`], through which each of them asks for its tensors by their state-dict names. What training needs to know of them is in the
//! [`Store`].

mod activation;
mod adaptive;
mod attention;
mod blur_pool;
mod branches;
mod channel_attention;
mod context_block;
mod conv;
mod csp_layer;
mod deconv;
mod deform_conv;
mod distance_network;
mod drawing;
mod drop_path;
mod dropout;
mod generalized_attention;
#[cfg(feature = "train")]
mod gradients;
mod init;
mod init_rule;
mod layer_scale;
mod linear;
mod non_local;
mod norm;
mod normed_conv;
mod normed_linear;
mod offset_bias;
mod params;
mod phase;
mod resized;
mod response_norm;
mod scale;
mod slot;
mod squeeze_excite;
mod state_source;
mod store;
mod style;
mod switchable;
mod torch_random;
mod weight;
mod window_attention;

pub use activation::{ActConfig, Activation};
pub use attention::{
    Pairs, RelativePositionBias, Rows, attend, attend_without, attention_weights, gather_rows,
    join_heads, join_windows, map_from_tokens, split_heads, split_qkv, tokens_from_map,
    window_distances, windows,
};
pub use blur_pool::BlurPool;
pub use branches::{Branch, Branches};
pub use channel_attention::EfficientChannelAttention;
pub use context_block::{ContextBlock, ContextBlockConfig};
pub use conv::{ConvBias, ConvConfig, ConvKind, ConvLayerConfig, ConvNormAct, Padding};
pub use csp_layer::{CspLayer, CspLayerConfig};
pub use deconv::Deconv;
pub use distance_network::DistanceNetwork;
pub use drawing::Course;
pub use drop_path::DropPath;
pub use dropout::Dropout;
pub use generalized_attention::{GeneralizedAttention, GeneralizedAttentionConfig};
#[cfg(feature = "train")]
pub use gradients::Gradients;
pub(crate) use init::Random;
pub use init::{Distribution, Fan, Init};
pub use init_rule::InitRule;
pub use layer_scale::LayerScale;
pub use linear::{Linear, LinearNorm, Mlp};
pub use non_local::{NonLocal, NonLocalConfig};
pub use norm::{Norm, NormConfig, NormKind};
pub use normed_conv::{NormedConv, NormedConvConfig};
pub use normed_linear::NormedLinear;
pub use offset_bias::OffsetBias;
pub use params::{Merged, Mode, Params};
pub use phase::{Dice, Phase};
pub use resized::Resized;
pub use response_norm::ResponseNorm;
pub use scale::Scale;
pub use slot::{LayerKind, Role, Slot, StateEntry};
pub use squeeze_excite::{SqueezeExcite, make_divisible};
pub use state_source::{Find, ForeignSource, StateSource, Stored};
pub use store::{Names, Snapshot, Store, TensorSource};
pub use style::ConvStyle;
pub use weight::{Counter, Weight};
pub use window_attention::{Position, WindowAttention, WindowAttentionConfig, Windows, pad_end};

pub(crate) use crate::ops::count::product;
