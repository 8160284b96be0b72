//! WGSL kernels and their CPU twins.
//!
//! Every kernel is one file below `wgsl/`, valid WGSL as it lies on disk, and one [`Kernel`] row
//! here. Its twin, over plain slices and with the same file stem, is in [`mod@reference`]: it judges the
//! kernel in tests, and it is what runs where there is no GPU, but for convolutions, which have `smalti-cpu` there. This crate knows neither burn nor
//! wgpu: `smalti::ops::launch` is the one place that runs a kernel.
//!
//! WGSL has no include: text that several kernels share lies in `wgsl/shared/` too, and `tests/validate.rs` sees that the copies are the same.
//!
//! To add a kernel: the `.wgsl` file, a `const` and a row in [`ALL`] here, the twin. Parameters by name are in [`records`].

pub mod records;
pub mod reference;

/// One compute kernel with entry point `main` and its storage buffers in bind group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Path below `wgsl/` without the ending; unique, so it is the key of the pipeline cache.
    pub name: &'static str,
    /// The source text.
    pub wgsl: &'static str,
    /// `@workgroup_size` in the source (checked by `tests/validate.rs`).
    pub workgroup: [u32; 3],
    /// Number of storage buffers, bindings `0..bindings` (checked by `tests/validate.rs`).
    pub bindings: usize,
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $path:literal, $workgroup:expr, $bindings:literal) => {
        $(#[$doc])*
        pub const $name: Kernel = Kernel {
            name: $path,
            wgsl: include_str!(concat!("../wgsl/", $path, ".wgsl")),
            workgroup: $workgroup,
            bindings: $bindings,
        };
    };
}

kernel!(
    /// Histogram of the scores that pass, one digit of the key at a time; last, the collection of the best.
    SELECT, "nms/select", [256, 1, 1], 5
);
kernel!(
    /// Picks the histogram bin that holds the k-th best score.
    DIGIT, "nms/digit", [256, 1, 1], 3
);
kernel!(
    /// Ranks one level's candidates, and decodes, rescales and filters the boxes of the best.
    DECODE, "nms/decode", [256, 1, 1], 7
);
kernel!(
    /// Orders the boxes of all levels by score.
    ORDER, "nms/order", [256, 1, 1], 4
);
kernel!(
    /// Greedy NMS over boxes in score order, apart by class or level.
    NMS, "nms/nms", [256, 1, 1], 4
);

kernel!(
    /// A batch of u8 pictures resized, padded and normalised into NCHW f32.
    PREPROCESS, "image/preprocess", [64, 4, 1], 4
);

kernel!(
    /// A part of a picture from rows and columns of another: window, flip, every border.
    PLACE, "augment/place", [64, 4, 1], 3
);
kernel!(
    /// Resizing by taps, OpenCV's and Pillow's arithmetic.
    RESIZE, "augment/resize", [64, 4, 1], 3
);
kernel!(
    /// Samples of u8 through a table.
    LOOKUP, "augment/lookup", [256, 1, 1], 4
);
kernel!(
    /// How often each value occurs.
    HISTOGRAM, "augment/histogram", [256, 1, 1], 3
);
kernel!(
    /// Tables from histograms: equalize, auto contrast, contrast.
    TABLES, "augment/tables", [256, 1, 1], 4
);
kernel!(
    /// Two pictures' samples together.
    MIX, "augment/mix", [256, 1, 1], 5
);
kernel!(
    /// BGR to grey.
    GREY, "augment/grey", [256, 1, 1], 3
);
kernel!(
    /// A weighted mean of 3x3 pixels.
    SMOOTH, "augment/smooth", [64, 4, 1], 3
);
kernel!(
    /// YOLOX's gains on 8-bit HSV.
    HSV, "augment/hsv", [64, 4, 1], 4
);
kernel!(
    /// Samples of f32 by a formula.
    FLOATS, "augment/floats", [256, 1, 1], 3
);
kernel!(
    /// PhotoMetricDistortion.
    PHOTOMETRIC, "augment/photometric", [256, 1, 1], 3
);
kernel!(
    /// Another picture where a mask is set.
    PASTE, "augment/paste", [256, 1, 1], 5
);
kernel!(
    /// OpenCV's warps with a constant border.
    WARP, "augment/warp", [64, 4, 1], 4
);
kernel!(
    /// One layer of composed geometric steps.
    GATHER, "augment/gather", [64, 4, 1], 3
);

kernel!(
    /// Convolution as a product of matrices, 128 x 64 results a workgroup.
    CONV_TILES128, "conv/tiles128", [128, 1, 1], 6
);
kernel!(
    /// The same, 32 x 32 results a workgroup.
    CONV_TILES32, "conv/tiles32", [64, 1, 1], 6
);
kernel!(
    /// As `tiles128`, in f16.
    CONV_TILES128_HALF, "conv/tiles128_half", [128, 1, 1], 6
);
kernel!(
    /// As `tiles32`, in f16.
    CONV_TILES32_HALF, "conv/tiles32_half", [64, 1, 1], 6
);
kernel!(
    /// Adds the parts of such a product.
    CONV_SUM, "conv/sum", [8, 8, 1], 5
);
kernel!(
    /// A filter for each channel.
    CONV_DEPTHWISE, "conv/depthwise", [8, 8, 1], 6
);
kernel!(
    /// Groups of channels.
    CONV_GROUPED, "conv/grouped", [8, 8, 1], 6
);
kernel!(
    /// The gradient of a convolution's weights.
    CONV_WEIGHT_GRADIENT, "conv/weight_gradient", [64, 1, 1], 4
);
kernel!(
    /// As `weight_gradient`, in f16.
    CONV_WEIGHT_GRADIENT_HALF, "conv/weight_gradient_half", [64, 1, 1], 4
);
kernel!(
    /// The same where channels are in groups.
    CONV_GROUPED_GRADIENT, "conv/grouped_gradient", [8, 8, 1], 4
);
kernel!(
    /// Channels last.
    CONV_PACK, "conv/pack", [16, 4, 1], 3
);
kernel!(
    /// Tiles of a picture for F(4x4, 3x3).
    WINOGRAD_INPUT, "conv/winograd_input", [8, 8, 1], 3
);
kernel!(
    /// Pixels of the products of F(4x4, 3x3).
    WINOGRAD_OUTPUT, "conv/winograd_output", [8, 8, 1], 5
);

kernel!(
    /// What the filters of a deformable convolution see.
    DEFORM_COLUMNS, "deform/columns", [8, 8, 1], 5
);
kernel!(
    /// The gradients of its offsets and mask.
    DEFORM_POINTS, "deform/points", [32, 8, 1], 7
);
kernel!(
    /// Which samples lie between which pixels.
    DEFORM_CELLS, "deform/cells", [256, 1, 1], 4
);
kernel!(
    /// Where each cell's samples begin.
    DEFORM_STARTS, "deform/starts", [256, 1, 1], 2
);
kernel!(
    /// Puts each cell's samples in order.
    DEFORM_ORDER, "deform/order", [64, 1, 1], 3
);
kernel!(
    /// The gradient of its input.
    DEFORM_GATHER, "deform/gather", [8, 8, 1], 7
);

kernel!(
    /// A step of SGD.
    SGD, "train/sgd", [256, 1, 1], 5
);
kernel!(
    /// A step of Adam or AdamW.
    ADAM, "train/adam", [256, 1, 1], 7
);
kernel!(
    /// A step of RMSprop.
    RMSPROP, "train/rmsprop", [256, 1, 1], 7
);
kernel!(
    /// A running average.
    AVERAGE, "train/average", [256, 1, 1], 3
);
kernel!(
    /// Squares of several tensors, added up by parts.
    SQUARES, "train/squares", [256, 1, 1], 8
);

kernel!(
    /// The focal loss's sum, and its gradient.
    FOCAL, "loss/focal", [256, 1, 1], 6
);

kernel!(
    /// Mean and squares of slices of each channel.
    NORM_MOMENTS, "norm/moments", [4, 64, 1], 3
);
kernel!(
    /// Batch norm and the activation after it.
    NORM_NORMALISE, "norm/normalise", [4, 64, 1], 8
);
kernel!(
    /// The batch's statistics into the running ones.
    NORM_RUNNING, "norm/running", [64, 1, 1], 5
);
kernel!(
    /// The gradients of its weight and bias, by slices.
    NORM_SLOPES, "norm/slopes", [4, 64, 1], 8
);
kernel!(
    /// Its gradients.
    NORM_GRADIENT, "norm/gradient", [4, 64, 1], 7
);
kernel!(
    /// An activation, or its gradient.
    ACTIVATE, "norm/activate", [256, 1, 1], 4
);
kernel!(
    /// The features of regions.
    ROI_ALIGN, "roi/align", [64, 1, 1], 5
);
kernel!(
    /// The gradient of the pyramid they are read from.
    ROI_ALIGN_GRADIENT, "roi/align_gradient", [64, 1, 1], 6
);
kernel!(
    /// Masks of boxes at the size of a picture.
    MASK_PASTE, "roi/mask_paste", [64, 1, 1], 4
);

/// Every kernel.
pub const ALL: &[Kernel] = &[
    PREPROCESS,
    SELECT,
    DIGIT,
    DECODE,
    ORDER,
    NMS,
    PLACE,
    RESIZE,
    WARP,
    GATHER,
    PASTE,
    LOOKUP,
    HISTOGRAM,
    TABLES,
    MIX,
    GREY,
    SMOOTH,
    HSV,
    FLOATS,
    PHOTOMETRIC,
    CONV_TILES128,
    CONV_TILES32,
    CONV_TILES128_HALF,
    CONV_TILES32_HALF,
    CONV_SUM,
    CONV_DEPTHWISE,
    CONV_GROUPED,
    CONV_WEIGHT_GRADIENT,
    CONV_WEIGHT_GRADIENT_HALF,
    CONV_GROUPED_GRADIENT,
    CONV_PACK,
    WINOGRAD_INPUT,
    WINOGRAD_OUTPUT,
    DEFORM_COLUMNS,
    DEFORM_POINTS,
    DEFORM_CELLS,
    DEFORM_STARTS,
    DEFORM_ORDER,
    DEFORM_GATHER,
    SGD,
    ADAM,
    RMSPROP,
    AVERAGE,
    SQUARES,
    FOCAL,
    NORM_MOMENTS,
    NORM_NORMALISE,
    NORM_RUNNING,
    NORM_SLOPES,
    NORM_GRADIENT,
    ACTIVATE,
    ROI_ALIGN,
    ROI_ALIGN_GRADIENT,
    MASK_PASTE,
];
