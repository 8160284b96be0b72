//! The gather's inner loop for u8 pictures of three channels, four pixels at a time with AVX2; the same integers as the plain loop.

use std::arch::x86_64::*;

use super::gather::BITS;

/// Which pixels of a row can be done here: `[from, to)`, those whose source column is in `[0, width - 3]`, so that the 8 bytes from its pixel on
/// lie in the row, and whose source row is in `[0, height - 2]`. The others are left to the plain loop.
pub(super) fn range(
    start: [i64; 2],
    step: [i64; 2],
    pixels: usize,
    width: usize,
    height: usize,
) -> [usize; 2] {
    let (mut from, mut to) = (0i64, pixels as i64);
    for (v, d, length) in [
        (start[0], step[0], width as i64 - 2),
        (start[1], step[1], height as i64 - 1),
    ] {
        // 0 <= v + k * d <= last
        let last = (length << 32) - 1;
        if length <= 0 {
            return [0, 0];
        }
        match d {
            0 if v < 0 || v > last => return [0, 0],
            0 => {}
            1.. => {
                from = from.max((-v).div_euclid(d) + i64::from((-v).rem_euclid(d) != 0));
                to = to.min((last - v).div_euclid(d) + 1);
            }
            _ => {
                from =
                    from.max((v - last).div_euclid(-d) + i64::from((v - last).rem_euclid(-d) != 0));
                to = to.min(v.div_euclid(-d) + 1);
            }
        }
    }
    if from >= to {
        [0, 0]
    } else {
        [from as usize, to as usize]
    }
}

/// Paints as many whole groups of four pixels as `row` has, and says how many pixels that were.
///
/// # Safety
/// The processor has AVX2, and every pixel of `row` is in the [`range`] of a picture of `stride` bytes a row that is `source`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn paint(
    row: &mut [u8],
    source: &[u8],
    stride: usize,
    start: [i64; 2],
    step: [i64; 2],
) -> usize {
    let four = |v: i64, d: i64| _mm256_set_epi64x(v + 3 * d, v + 2 * d, v + d, v);
    let (mut x, mut y) = (four(start[0], step[0]), four(start[1], step[1]));
    let (step_x, step_y) = (
        _mm256_set1_epi64x(4 * step[0]),
        _mm256_set1_epi64x(4 * step[1]),
    );
    let one = _mm256_set1_epi64x(1 << BITS);
    let bits = _mm256_set1_epi64x((1 << BITS) - 1);
    let wide = _mm256_set1_epi64x(stride as i64);
    // blue, green, red of a pixel beside those of its right neighbour
    let pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1,
    ));
    let repeat = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 0, 1, 0, 1, 0, 1, 8, 9, 8, 9, 8, 9, 8, 9,
    ));
    let three = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 2, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    ));
    let round = _mm256_set1_epi32(2048);
    let mut done = 0;
    for out in row.chunks_exact_mut(12) {
        let (column, line) = (_mm256_srli_epi64::<32>(x), _mm256_srli_epi64::<32>(y));
        let fx = _mm256_and_si256(_mm256_srli_epi64::<{ 32 - BITS as i32 }>(x), bits);
        let fy = _mm256_and_si256(_mm256_srli_epi64::<{ 32 - BITS as i32 }>(y), bits);
        let column3 = _mm256_add_epi64(column, _mm256_add_epi64(column, column));
        let at = _mm256_add_epi64(_mm256_mul_epu32(line, wide), column3);
        let at = [
            _mm256_extract_epi64::<0>(at) as usize,
            _mm256_extract_epi64::<1>(at) as usize,
            _mm256_extract_epi64::<2>(at) as usize,
            _mm256_extract_epi64::<3>(at) as usize,
        ];
        // SAFETY: the caller promises that 8 bytes from here on, and from here on in the next row, are in `source`.
        let word = |at: usize| unsafe { source.as_ptr().add(at).cast::<i64>().read_unaligned() };
        let words = |add: usize| {
            let [a, b, c, d] = at.map(|at| word(at + add));
            _mm256_set_epi64x(d, c, b, a)
        };
        let (top, bottom) = (words(0), words(stride));
        let across = _mm256_or_si256(_mm256_sub_epi64(one, fx), _mm256_slli_epi64::<8>(fx));
        let across = _mm256_shuffle_epi8(across, repeat);
        let top = _mm256_maddubs_epi16(_mm256_shuffle_epi8(top, pairs), across);
        let bottom = _mm256_maddubs_epi16(_mm256_shuffle_epi8(bottom, pairs), across);
        let down = _mm256_or_si256(_mm256_sub_epi64(one, fy), _mm256_slli_epi64::<16>(fy));
        let even = _mm256_madd_epi16(
            _mm256_unpacklo_epi16(top, bottom),
            _mm256_shuffle_epi32::<0b00_00_00_00>(down),
        );
        let odd = _mm256_madd_epi16(
            _mm256_unpackhi_epi16(top, bottom),
            _mm256_shuffle_epi32::<0b10_10_10_10>(down),
        );
        let even = _mm256_srli_epi32::<12>(_mm256_add_epi32(even, round));
        let odd = _mm256_srli_epi32::<12>(_mm256_add_epi32(odd, round));
        let words = _mm256_packus_epi32(even, odd);
        let bytes = _mm256_shuffle_epi8(_mm256_packus_epi16(words, words), three);
        let (low, high) = (
            _mm256_extract_epi64::<0>(bytes) as u64,
            _mm256_extract_epi64::<2>(bytes) as u64,
        );
        out[..8].copy_from_slice(&(low | high << 48).to_le_bytes());
        out[8..].copy_from_slice(&((high >> 16) as u32).to_le_bytes());
        x = _mm256_add_epi64(x, step_x);
        y = _mm256_add_epi64(y, step_y);
        done += 4;
    }
    done
}
