//! What is known of a picture: boxes, masks, and the two together with labels.
//!
//! Boxes are xyxy, f32, pixels, x2 and y2 exclusive. Follows mmdet 3.3 (structures/bbox/horizontal_boxes.py,
//! structures/mask/structures.py) in arithmetic and rounding.

pub mod boxes;
mod direction;
mod ground_truth;
mod instances;
pub mod masks;

pub use boxes::Xyxy;
pub use direction::Direction;
pub use ground_truth::{Dropped, GroundTruth, Origin, Reason};
pub use instances::Instances;
pub use masks::{Bitmap, Masks, Polygon};
pub use smalti_weights::Proposals;
