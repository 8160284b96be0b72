//! [`Shape`] and [`Picture`]: what is convolved with what.
//!
//! Shapes: weight `[K, C / groups, KH, KW]`, x `[C, H, W]`, y `[K, H', W']`.

/// Filters, and how they move over the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// K.
    pub channels_out: usize,
    /// C.
    pub channels_in: usize,
    /// Height and width of a filter.
    pub kernel: [usize; 2],
    /// Steps between outputs, in pixels: down, right.
    pub stride: [usize; 2],
    /// Steps between a filter's taps, in pixels.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// What goes in: a picture, or several of one size where that is said.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// `[C, H, W]`, one picture after another.
    pub values: &'a [f32],
    /// Height and width.
    pub size: [usize; 2],
    /// Zeros before and after each axis.
    pub padding: [(usize, usize); 2],
}

impl Shape {
    /// # Panics
    /// If a number is zero, or channels cannot be split into the groups.
    pub(crate) fn check(&self) {
        let steps = [self.kernel, self.stride, self.dilation].concat();
        assert!(
            self.groups > 0 && !steps.contains(&0),
            "groups, kernel, stride and dilation are at least 1"
        );
        assert!(
            self.channels_in.is_multiple_of(self.groups)
                && self.channels_out.is_multiple_of(self.groups),
            "groups divide both numbers of channels"
        );
    }

    /// Input channels that a filter sees.
    pub(crate) fn seen(&self) -> usize {
        self.channels_in / self.groups
    }

    /// Filters of a group.
    pub(crate) fn filters(&self) -> usize {
        self.channels_out / self.groups
    }

    /// Values of a filter.
    pub(crate) fn depth(&self) -> usize {
        self.seen() * self.kernel[0] * self.kernel[1]
    }

    /// Whether each pixel of the output comes of the same pixel of the input, and of no other.
    pub(crate) fn pointwise(&self) -> bool {
        self.kernel == [1; 2] && self.stride == [1; 2]
    }

    /// Height and width of what comes out of a picture of `size`; `None` if nothing does.
    pub fn size_out(&self, size: [usize; 2], padding: [(usize, usize); 2]) -> Option<[usize; 2]> {
        let side = |i: usize| {
            let (before, after) = padding[i];
            let reach = self.dilation[i] * (self.kernel[i] - 1) + 1;
            let steps = (size[i] + before + after).checked_sub(reach)?;
            Some(steps / self.stride[i] + 1)
        };
        Some([side(0)?, side(1)?]).filter(|_| size[0] * size[1] > 0)
    }
}
