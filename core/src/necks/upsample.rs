//! What a neck makes of `upsample_cfg`: the finer of two maps' size, or a fixed factor (`torch.nn.functional.interpolate`).

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor, TensorData};
use serde::Deserialize;

use crate::config::{Diagnostics, Node, error_at};

/// `upsample_cfg`, passed to `torch.nn.functional.interpolate`.
#[derive(Debug, Deserialize)]
pub(super) struct UpsampleConfig {
    mode: Option<String>,
    scale_factor: Option<ScaleFactor>,
    align_corners: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ScaleFactor {
    One(f32),
    Two([f32; 2]),
}

/// Brings a coarse map to the size of the next finer one.
#[derive(Clone, Debug)]
pub(super) struct Upsample {
    mode: InterpolateMode,
    scale_factor: Option<[f32; 2]>,
    align_corners: bool,
}

impl Upsample {
    pub(super) fn read(node: &Node, config: Option<&UpsampleConfig>) -> Result<Self, Diagnostics> {
        let mode = match config.and_then(|c| c.mode.as_deref()).unwrap_or("nearest") {
            "nearest" => InterpolateMode::Nearest,
            "nearest-exact" => InterpolateMode::NearestExact,
            "bilinear" => InterpolateMode::Bilinear,
            "bicubic" => InterpolateMode::Bicubic,
            other => {
                let message = format!("`upsample_cfg` has the unknown mode '{other}'");
                let help = "known are 'nearest', 'nearest-exact', 'bilinear', 'bicubic'";
                return Err(error_at(node, "upsample_cfg", message, help));
            }
        };
        let scale_factor = config
            .and_then(|c| c.scale_factor.as_ref())
            .map(|s| match s {
                ScaleFactor::One(s) => [*s; 2],
                ScaleFactor::Two(s) => *s,
            });
        Ok(Self {
            mode,
            scale_factor,
            align_corners: config.and_then(|c| c.align_corners).unwrap_or(false),
        })
    }

    /// Each pixel four times.
    pub(super) fn double() -> Self {
        Self {
            mode: InterpolateMode::Nearest,
            scale_factor: Some([2.0; 2]),
            align_corners: false,
        }
    }

    /// Height's and width's fixed factors; `None` where maps take the size of those they are joined with.
    pub(super) fn scale_factor(&self) -> Option<[f32; 2]> {
        self.scale_factor
    }

    /// Whether a fixed factor fits levels of these strides, px: else maps of two sizes would be joined.
    ///
    /// # Errors
    /// It does not: names both.
    pub(super) fn check(&self, node: &Node, strides: &[usize]) -> Result<(), Diagnostics> {
        let Some([down, across]) = self.scale_factor else {
            return Ok(());
        };
        let fits = |pair: &[usize]| {
            let factor = pair[1] as f32 / pair[0] as f32;
            [down, across] == [factor; 2]
        };
        if strides.windows(2).all(fits) {
            return Ok(());
        }
        let message = format!(
            "`upsample_cfg` has the `scale_factor` {down} x {across} for levels of strides {strides:?}"
        );
        let help =
            "leave `scale_factor` out: each map then takes the size of the one it is joined with";
        Err(error_at(node, "upsample_cfg", message, help))
    }

    /// `x` at the size of a map `[_, _, h, w]`.
    ///
    /// # Panics
    /// If the config fixes a factor that gives another size, which fails in the original too.
    pub(super) fn forward(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let x = self.resized(x, size);
        let [_, _, h, w] = x.dims();
        assert!(
            [h, w] == size,
            "an `upsample_cfg` with `scale_factor` is given maps that fit: {h} x {w} is joined with {} x {}; pad pictures to a \
             multiple of the coarsest stride",
            size[0],
            size[1]
        );
        x
    }

    fn resized(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        if matches!(self.mode, InterpolateMode::NearestExact) {
            return self.nearest_exact(x, size);
        }
        let options =
            InterpolateOptions::new(self.mode.clone()).with_align_corners(self.align_corners);
        let options = match self.scale_factor {
            Some(factor) => options.with_scale_factor(factor),
            None => options.with_output_size(size),
        };
        interpolate(x, options)
    }

    /// The pixel whose centre is nearest, which burn does not have on every device.
    fn nearest_exact(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let device = x.device();
        let indices = |from: usize, size: usize, factor: Option<f32>| {
            let to = factor.map_or(size, |f| (from as f32 * f) as usize);
            let step = factor.map_or(from as f32 / to as f32, |f| 1.0 / f);
            let at = |i| (((i as f32 + 0.5) * step) as usize).min(from - 1) as i32;
            let indices: Vec<i32> = (0..to).map(at).collect();
            Tensor::<1, Int>::from_data(TensorData::new(indices, [to]), &device)
        };
        let rows = indices(h, size[0], self.scale_factor.map(|f| f[0]));
        let columns = indices(w, size[1], self.scale_factor.map(|f| f[1]));
        x.select(2, rows).select(3, columns)
    }
}
