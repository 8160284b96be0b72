//! [`Method`]: how a picture is resized.

use smalti_shaders::reference::pillow::Filter;
use smalti_shaders::reference::resize::Interpolation;

/// Whose arithmetic, and which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// OpenCV.
    Cv2(Interpolation),
    /// Pillow, which widens the kernel when shrinking. Needs u8.
    Pillow(Filter),
}
