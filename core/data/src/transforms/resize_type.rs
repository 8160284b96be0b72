//! `resize_type` of RandomResize, RandomChoiceResize and ResizeShortestEdge: which transform resizes to the scale that they choose.

use smalti_config::{Diagnostics, Node, error_at};

use super::resize::{Given, Manner, OneOrTwo, Resize, Target};

/// A transform that waits for its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ResizeType {
    kind: Kind,
    pub manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// `Resize` and `FixScaleResize`, with the half that is added before rounding.
    Plain(f64),
    /// `ResizeShortestEdge`, with the most for the longer side.
    Shortest(Option<f64>),
}

impl ResizeType {
    /// `name` as in the config (mmdet's and mmcv's are the same here); `max_size` is for `ResizeShortestEdge` only.
    pub fn read(
        node: &Node,
        name: Option<&str>,
        given: Given<'_>,
        max_size: Option<f64>,
    ) -> Result<Self, Diagnostics> {
        let name = name.unwrap_or("Resize");
        let bare = ["mmdet.", "mmcv."]
            .iter()
            .find_map(|s| name.strip_prefix(s));
        let kind = match bare.unwrap_or(name) {
            "Resize" => Kind::Plain(0.5),
            "FixScaleResize" => Kind::Plain(0.0),
            "ResizeShortestEdge" => Kind::Shortest(max_size.filter(|m| *m > 0.0)),
            _ => {
                let message = format!("`resize_type` is '{name}'");
                let help = "known are Resize, FixScaleResize, ResizeShortestEdge";
                return Err(error_at(node, "resize_type", message, help));
            }
        };
        if max_size.is_some() && matches!(kind, Kind::Plain(_)) {
            let message = format!("`{name}` has no option `max_size`");
            return Err(error_at(
                node,
                "max_size",
                message,
                "`ResizeShortestEdge` has",
            ));
        }
        Ok(Self {
            kind,
            manner: Manner::read(node, given)?,
        })
    }

    /// What is added before rounding; `None` for `ResizeShortestEdge`.
    pub fn half(&self) -> Option<f64> {
        match self.kind {
            Kind::Plain(half) => Some(half),
            Kind::Shortest(_) => None,
        }
    }

    /// Whether a single number can be the scale: the shorter side, or a factor where the ratio is kept.
    pub fn takes_one(&self) -> bool {
        self.manner.keep_ratio || matches!(self.kind, Kind::Shortest(_))
    }

    /// With its scale.
    pub fn at(&self, scale: OneOrTwo) -> Resize {
        match (self.kind, scale) {
            (Kind::Shortest(most), scale) => {
                let [a, b] = scale.both();
                self.manner.to(Target::Shortest(a.min(b), most), 0.5)
            }
            (Kind::Plain(half), OneOrTwo::One(v)) if self.manner.keep_ratio => {
                self.manner.to(Target::Times(v), half)
            }
            (Kind::Plain(half), scale) => self.manner.to(Target::Scale(scale.both()), half),
        }
    }
}
