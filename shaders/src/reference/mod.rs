//! CPU twins of the kernels, over plain slices: the judge in tests, and the path without a GPU.

pub mod augment;
pub mod conv;
pub mod decode;
pub mod deform;
pub mod half;
pub mod loss;
pub mod mask_paste;
pub mod nms;
pub mod norm;
pub mod pillow;
pub mod preprocess;
pub mod random;
pub mod resize;
pub mod roi_align;
pub mod topk;
pub mod train;
mod wide;
