//! A residual block: convolutions, of which the middle one may be something else, a shortcut, and what weighs the channels.

use burn::tensor::Tensor;

use super::models::Arch;
use super::scales::Scales;
use super::split::SplitAttention;
use super::{AntiAlias, Attention, Kind, Make, average};
use crate::backbones::timm::{shortcut_average, squeeze_excite};
use crate::layers::{
    Activation, BlurPool, ConvConfig, ConvNormAct, DropPath, EfficientChannelAttention, Init,
    InitRule, Params, SqueezeExcite,
};

/// A block in numbers.
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    pub channels_in: usize,
    /// Of the first convolution of two or three.
    pub first: usize,
    /// Of the 3x3 convolution of a bottleneck.
    pub width: usize,
    pub channels_out: usize,
    /// What the attention is made for: pruning leaves it alone.
    pub attended: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Of its first 3x3 convolution.
    pub first_dilation: usize,
    /// Whether something is done to what goes past the block.
    pub shortcut: bool,
    pub drop_path_rate: f64,
}

impl BlockShape {
    /// Channels of all its norms.
    pub fn normed(&self, arch: &Arch) -> Vec<usize> {
        let mut channels = vec![self.width, self.channels_out];
        match arch.kind {
            Kind::Basic | Kind::Bottleneck => channels.push(self.first),
            Kind::Scales(scale) => channels.push(self.width.saturating_mul(scale)),
            Kind::Split { radix, .. } => {
                let wide = self.width.saturating_mul(radix);
                channels.extend([wide, SplitAttention::squeezed(wide)]);
            }
        }
        channels
    }

    /// Whether its groups have as many channels each.
    pub fn is_even(&self, arch: &Arch) -> bool {
        let groups = arch.cardinality;
        match arch.kind {
            Kind::Basic | Kind::Scales(_) => true,
            Kind::Bottleneck => self.first.is_multiple_of(groups),
            Kind::Split { radix, .. } => {
                let wide = self.width * radix;
                self.width.is_multiple_of(groups * radix)
                    && SplitAttention::squeezed(wide).is_multiple_of(groups)
            }
        }
    }

    /// Whether something filters in place of its convolution's stride, if anything does.
    fn filters(&self) -> bool {
        self.stride == 2 || self.first_dilation != self.dilation
    }
}

/// A residual block.
#[derive(Debug)]
pub(super) struct Block {
    before: Vec<ConvNormAct>,
    middle: Middle,
    last: ConvNormAct,
    attention: Option<ChannelAttention>,
    downsample: Option<Downsample>,
    drop_path: Option<DropPath>,
    /// After the sum, if not the last convolution's own.
    act: Option<Activation>,
}

/// What comes before the last convolution.
#[derive(Debug)]
enum Middle {
    /// Nothing but convolutions.
    None,
    Average(usize),
    Blur(BlurPool),
    Split(Box<SplitAttention>),
    Scales(Scales),
}

impl Block {
    pub fn new(shape: &BlockShape, arch: &Arch, make: &Make, at: &Params) -> Self {
        let antialias = arch.antialias.filter(|_| shape.filters());
        let stride = if antialias.is_some() { 1 } else { shape.stride };
        let conv3x3 = |from, to| {
            ConvConfig::new(from, to, 3)
                .stride(stride)
                .pad(shape.first_dilation)
                .dilation(shape.first_dilation)
        };
        let &BlockShape {
            channels_in,
            first,
            width,
            channels_out,
            ..
        } = shape;
        let layer = |conv, name: &str, norm: &str| make.layer(conv, true, at, name, norm);
        let one = |to| layer(ConvConfig::new(channels_in, to, 1), "conv1", "bn1");
        let mut filtered = width;
        let (before, middle, last) = match arch.kind {
            Kind::Basic => {
                filtered = first;
                let before = vec![layer(conv3x3(channels_in, first), "conv1", "bn1")];
                let last = ConvConfig::new(first, channels_out, 3)
                    .pad(shape.dilation)
                    .dilation(shape.dilation);
                (before, Middle::None, last)
            }
            Kind::Bottleneck => {
                let second = conv3x3(first, width).groups(arch.cardinality);
                let before = vec![one(first), layer(second, "conv2", "bn2")];
                (
                    before,
                    Middle::None,
                    ConvConfig::new(width, channels_out, 1),
                )
            }
            Kind::Split { .. } => {
                let before = vec![one(width)];
                let middle = SplitAttention::new(shape, arch, make, &at.at("conv2"));
                let last = ConvConfig::new(width, channels_out, 1);
                (before, Middle::Split(Box::new(middle)), last)
            }
            Kind::Scales(scale) => {
                let before = vec![one(width * scale)];
                let convs = conv3x3(width, width).groups(arch.cardinality);
                let middle = Scales::new(convs, scale, shape, make, at);
                let last = ConvConfig::new(width * scale, channels_out, 1);
                (before, Middle::Scales(middle), last)
            }
        };
        let middle = match antialias {
            None => middle,
            Some(AntiAlias::Average) => Middle::Average(shape.stride),
            Some(AntiAlias::Blur) => Middle::Blur(BlurPool::new(filtered, shape.stride, at)),
        };
        let (conv, norm) = match arch.kind {
            Kind::Basic => ("conv2", "bn2"),
            _ => ("conv3", "bn3"),
        };
        if make.zero_last && arch.pruned.is_none() {
            let zero = InitRule::all(Init::Constant(0.0), 0.0);
            at.at(norm).initialise_built(zero);
        }
        let drop_path = DropPath::new(shape.drop_path_rate, &at.at("drop_path"));
        let plain = arch.attention.is_none() && drop_path.is_none();
        let last = make.layer(last, plain, at, conv, norm);
        let attention = arch.attention.map(|kind| {
            let at = at.at("se");
            ChannelAttention::new(kind, shape.attended, &at)
        });
        let downsample = shape
            .shortcut
            .then(|| Downsample::new(shape, arch, make, &at.at("downsample")));
        Self {
            before,
            middle,
            last,
            attention,
            downsample,
            drop_path,
            act: (!plain).then_some(make.act),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x.clone()),
            None => x.clone(),
        };
        let x = self.before.iter().fold(x, |x, conv| conv.forward(x));
        let x = match &self.middle {
            Middle::None => x,
            Middle::Average(stride) => average(x, *stride),
            Middle::Blur(blur) => blur.forward(x),
            Middle::Split(attention) => attention.forward(x),
            Middle::Scales(scales) => scales.forward(x),
        };
        let Some(act) = self.act else {
            return self.last.forward_onto(x, shortcut);
        };
        let x = self.last.forward(x);
        let x = match &self.attention {
            Some(attention) => attention.forward(x),
            None => x,
        };
        act.forward(DropPath::add(&self.drop_path, shortcut, x))
    }
}

/// What weighs channels.
#[derive(Debug)]
enum ChannelAttention {
    SqueezeExcite(Box<SqueezeExcite>),
    Efficient(EfficientChannelAttention),
}

impl ChannelAttention {
    fn new(kind: Attention, channels: usize, at: &Params) -> Self {
        match kind {
            Attention::SqueezeExcite(times) => {
                // To the nearest multiple of 8.
                let squeezed = ((channels / times + 4) / 8 * 8).max(8);
                let attention = squeeze_excite(channels, squeezed, Activation::Relu, at);
                Self::SqueezeExcite(Box::new(attention))
            }
            Attention::Efficient => Self::Efficient(EfficientChannelAttention::new(channels, at)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::SqueezeExcite(attention) => attention.forward(x),
            Self::Efficient(attention) => attention.forward(x),
        }
    }
}

/// What makes a block's input like its output: a convolution, maybe of the means of squares.
#[derive(Debug)]
struct Downsample {
    /// The stride of the means.
    pool: Option<usize>,
    conv: ConvNormAct,
}

impl Downsample {
    fn new(shape: &BlockShape, arch: &Arch, make: &Make, at: &Params) -> Self {
        let &BlockShape {
            channels_in,
            channels_out,
            stride,
            dilation,
            first_dilation,
            ..
        } = shape;
        let same = stride == 1 && dilation == 1;
        if arch.avg_down {
            let conv = ConvConfig::new(channels_in, channels_out, 1);
            return Self {
                pool: (!same).then_some(stride),
                conv: make.layer(conv, false, at, "1", "2"),
            };
        }
        let kernel = if same { 1 } else { arch.down_kernel };
        let dilation = if kernel > 1 { first_dilation } else { 1 };
        let conv = ConvConfig::new(channels_in, channels_out, kernel)
            .stride(stride)
            .dilation(dilation)
            .pad((stride - 1 + dilation * (kernel - 1)) / 2);
        Self {
            pool: None,
            conv: make.layer(conv, false, at, "0", "1"),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.pool {
            Some(stride) => shortcut_average(x, stride),
            None => x,
        };
        self.conv.forward(x)
    }
}
