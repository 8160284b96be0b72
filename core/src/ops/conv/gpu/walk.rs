//! [`Walk`]: where a filter goes, over x or back over the gradient of y.

use super::super::ConvShape;

/// Where a filter goes.
pub(super) struct Walk {
    pub(super) stride: [usize; 2],
    /// Zeros before; negative where pixels are left out.
    pub(super) padding: [isize; 2],
    pub(super) dilation: [usize; 2],
    /// From a pixel to the next, with zeros between.
    pub(super) spread: [usize; 2],
    pub(super) groups: usize,
    pub(super) size_out: [usize; 2],
}

impl Walk {
    /// `None` if nothing comes out.
    pub(super) fn forward(shape: &ConvShape, x: [usize; 4], weight: [usize; 4]) -> Option<Self> {
        Some(Self {
            stride: shape.stride,
            padding: shape.padding.map(|(before, _)| before as isize),
            dilation: shape.dilation,
            spread: [1, 1],
            groups: shape.groups,
            size_out: shape.size_out(x, weight)?,
        })
    }

    /// Of y's gradient to that of x.
    pub(super) fn backward(shape: &ConvShape, kernel: [usize; 2], size: [usize; 2]) -> Self {
        let reach = |i: usize| (shape.dilation[i] * (kernel[i] - 1)) as isize;
        Self {
            stride: [1, 1],
            padding: [0, 1].map(|i| reach(i) - shape.padding[i].0 as isize),
            dilation: shape.dilation,
            spread: shape.stride,
            groups: shape.groups,
            size_out: size,
        }
    }
}
