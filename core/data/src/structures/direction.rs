//! [`Direction`]: how boxes, masks and pictures are mirrored.

use serde::{Deserialize, Serialize};

/// In which direction something is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Left becomes right.
    Horizontal,
    /// Top becomes bottom.
    Vertical,
    /// Both.
    Diagonal,
}
