//! Twins of the kernels of `conv/`. They are the plain way, with sums in f64, and judge the kernels; what runs on the CPU is `smalti-cpu`'s.
//!
//! Shapes: x `[N, H, W, C]`, y `[N, H', W', K]`, with channels filled up to a multiple of four.

pub mod direct;
pub mod winograd;

/// `activated` of `shared/finish.wgsl`.
pub fn activated(v: f64, act: u32, by: [f32; 4]) -> f64 {
    let [a, b, c, d] = by.map(f64::from);
    let sigmoid = 1.0 / (1.0 + (-v).exp());
    match act {
        1 if v < 0.0 => 0.0,
        2 => v.clamp(a, b),
        3 if v < 0.0 => v * a,
        4 => sigmoid,
        5 => v * sigmoid,
        6 => v * (v + 3.0).clamp(0.0, 6.0) / 6.0,
        7 => ((v + a) / b).clamp(c, d),
        _ => v,
    }
}

/// What is added to a sum before its activation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// A number a filter.
    pub bias: Option<&'a [f32]>,
    /// A number a result.
    pub add: Option<&'a [f32]>,
}

impl Added<'_> {
    fn of(&self, filter: usize, at: usize) -> f64 {
        let of = |values: Option<&[f32]>, at: usize| values.map_or(0.0, |v| f64::from(v[at]));
        of(self.bias, filter) + of(self.add, at)
    }
}
