//! Twin of `augment/mix.wgsl`: each sample of two pictures together, as a table of 256 x 256 results says (u8), so that
//! no rounding is left to a device. A table is made once a step; f32 samples are computed.

/// `table[256 * a + b]` for every pair of samples. `b` has as many samples, or one a pixel of `channels` samples.
///
/// # Panics
/// If it has another number, or the table has not 65,536 entries.
pub fn mix(a: &mut [u8], b: &[u8], channels: usize, table: &[u8]) {
    let table: &[u8; 1 << 16] = table.try_into().expect("a result for every pair");
    let at = |a: u8, b: u8| usize::from(u16::from_be_bytes([a, b]));
    pairs(a, b, channels, |a, b| table[at(a, b)]);
}

/// `result(a, b)` for every pair; for f32 samples.
///
/// # Panics
/// If `b` has neither as many samples nor one a pixel.
pub fn pairs<T: Copy>(a: &mut [T], b: &[T], channels: usize, result: impl Fn(T, T) -> T) {
    if a.len() == b.len() {
        for (a, b) in a.iter_mut().zip(b) {
            *a = result(*a, *b);
        }
        return;
    }
    assert_eq!(a.len(), b.len() * channels, "one sample a pixel");
    for (pixel, b) in a.chunks_exact_mut(channels).zip(b) {
        for a in pixel {
            *a = result(*a, *b);
        }
    }
}

/// A table from its formula.
pub fn table(result: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let all = |a| (0..=255).map(move |b| (a, b));
    (0..=255).flat_map(all).map(|(a, b)| result(a, b)).collect()
}

/// `cv2.addWeighted(a, weight, b, 1 - weight, 0)` of u8: f32, the first product and the sum rounded once.
pub fn weighted(weight: f64) -> Vec<u8> {
    let (wa, wb) = (f64::from(weight as f32), (1.0 - weight) as f32);
    table(|a, b| {
        // The product is exact in f64, as in a fused multiply and add.
        let sum = (f64::from(a) * wa + f64::from(f32::from(b) * wb)) as f32;
        sum.round_ties_even() as u8 // `as` saturates
    })
}

/// The same of f32, where OpenCV sums in f64; then clipped to 0 to 255 and truncated, as mmcv's enhancements are.
pub fn enhanced(weight: f64) -> Vec<u8> {
    table(|a, b| enhanced_f32(weight, a.into(), b.into()) as u8)
}

/// One sample of it, not truncated.
pub fn enhanced_f32(weight: f64, a: f32, b: f32) -> f32 {
    let sum = f64::from(a) * weight + f64::from(b) * (1.0 - weight);
    (sum as f32).clamp(0.0, 255.0)
}

/// MixUp's: numpy's f32, each product and the sum rounded, the result truncated.
pub fn blended(weight: f32) -> Vec<u8> {
    table(|a, b| blended_f32(weight, a.into(), b.into()) as u8)
}

/// One sample of it, not truncated.
pub fn blended_f32(weight: f32, a: f32, b: f32) -> f32 {
    weight * a + (1.0 - weight) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        let (blended, weighted, enhanced) = (blended(0.5), weighted(0.5), enhanced(0.5));
        for a in 0..256 {
            for b in 0..256 {
                let at = 256 * a + b;
                // Down, to even, down.
                assert_eq!(usize::from(blended[at]), (a + b) / 2);
                let even = (a + b) / 2 + usize::from((a + b) % 4 == 3);
                assert_eq!(usize::from(weighted[at]), even);
                assert_eq!(usize::from(enhanced[at]), (a + b) / 2);
            }
        }
    }

    #[test]
    fn equal_samples_stay() {
        for weight in [0.0, 0.1, 0.3, 0.7, 1.0, 1.9] {
            let (weighted, enhanced) = (weighted(weight), enhanced(weight));
            for a in 0..256 {
                assert_eq!(usize::from(weighted[257 * a]), a);
                assert_eq!(usize::from(enhanced[257 * a]), a, "{weight}");
            }
        }
        // Beyond the range.
        assert_eq!(weighted(2.0)[256 * 200 + 100], 255);
        assert_eq!(enhanced(2.0)[256 * 10 + 100], 0);
        assert_eq!(enhanced(f64::NAN)[0], 0);
    }

    #[test]
    fn one_for_all_channels() {
        let mut a = [10, 20, 30, 40, 50, 60];
        mix(&mut a, &[0, 100], 3, &blended(0.5));
        assert_eq!(a, [5, 10, 15, 70, 75, 80]);
        let mut a = [1.0, 2.0];
        pairs(&mut a, &[4.0f32, 8.0], 1, |a, b| blended_f32(0.25, a, b));
        assert_eq!(a, [3.25, 6.5]);
    }
}
