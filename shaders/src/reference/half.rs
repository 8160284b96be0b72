//! f16 by arithmetic in f32: what kernels with `enable f16` make of a number.

/// The nearest f16, of two the even one; infinite beyond 65504.
pub fn rounded(v: f32) -> f32 {
    if !v.is_finite() {
        return v;
    }
    let exponent = ((v.to_bits() >> 23) & 0xff) as i32 - 127;
    // Ten digits after the first; below 2^-14 they are fixed.
    let digit = 2f32.powi(exponent.max(-14) - 10);
    let near = (v / digit).round_ties_even() * digit;
    if near.abs() > 65504.0 {
        return f32::INFINITY.copysign(v);
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let third = 0.333_251_95; // 1365 / 4096
        for (v, expected) in [
            (1.0 / 3.0, third),
            (-1.0 / 3.0, -third),
            (2049.0, 2048.0),
            (2051.0, 2052.0),
            (65519.0, 65504.0),
            (65520.0, f32::INFINITY),
            (-1e9, f32::NEG_INFINITY),
            (3e-8, 5.960_464_5e-8),
            (2e-8, 0.0),
            (0.0, 0.0),
        ] {
            assert_eq!(rounded(v), expected, "{v}");
        }
        assert!(rounded(f32::NAN).is_nan());
    }
}
