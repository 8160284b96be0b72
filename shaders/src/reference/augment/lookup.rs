//! Twin of `augment/lookup.wgsl`: each u8 sample through its channel's table of 256; and the tables of mmcv 2.1's
//! photometric functions (image/photometric.py) and of mmdet's `SolarizeAdd`.

use super::mix::enhanced_f32;

/// A result for every sample.
pub type Table = [u8; 256];

/// One table for all channels, or one each.
///
/// # Panics
/// If there is another number of tables.
pub fn lookup(pixels: &mut [u8], channels: usize, tables: &[Table]) {
    if let [table] = tables {
        for value in pixels {
            *value = table[usize::from(*value)];
        }
        return;
    }
    assert_eq!(tables.len(), channels, "a table per channel");
    for pixel in pixels.chunks_exact_mut(channels) {
        for (value, table) in pixel.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// How often each value occurs in each channel.
pub fn histogram(pixels: &[u8], channels: usize) -> Vec<[u32; 256]> {
    let mut counts = vec![[0; 256]; channels];
    for pixel in pixels.chunks_exact(channels) {
        for (value, counts) in pixel.iter().zip(&mut counts) {
            counts[usize::from(*value)] += 1;
        }
    }
    counts
}

fn table(result: impl Fn(u8) -> u8) -> Table {
    std::array::from_fn(|v| result(v as u8))
}

/// `adjust_brightness`: towards black. `adjust_contrast`: towards the mean grey ([`mean`]).
pub fn towards(level: u8, factor: f64) -> Table {
    table(|v| enhanced_f32(factor, v.into(), level.into()) as u8)
}

/// The mean of one channel as `adjust_contrast` rounds it: ties to even.
pub fn mean(counts: &[u32; 256]) -> u8 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (value, &n) in counts.iter().enumerate() {
        sum += value as f64 * f64::from(n);
        count += f64::from(n);
    }
    (sum / count).round_ties_even() as u8
}

/// `solarize`: inverted from the threshold on.
pub fn solarize(threshold: f64) -> Table {
    table(|v| if f64::from(v) < threshold { v } else { 255 - v })
}

/// `SolarizeAdd`: more light where there is less than half.
pub fn solarize_add(add: f64) -> Table {
    table(|v| {
        if v < 128 {
            // numpy's cast wraps where the sum is negative.
            (f64::from(v) + add).min(255.0) as i32 as u8
        } else {
            v
        }
    })
}

/// `posterize`: the upper bits; all from 8 on.
pub fn posterize(bits: u32) -> Table {
    let mask = !(0xff_u32 >> bits.min(8)) as u8;
    table(|v| v & mask)
}

/// `iminvert`.
pub fn invert() -> Table {
    table(|v| 255 - v)
}

/// `imequalize` of a channel.
pub fn equalize(counts: &[u32; 256]) -> Table {
    let total: u64 = counts.iter().map(|&n| u64::from(n)).sum();
    let last = counts.iter().rev().find(|&&n| n > 0).copied().unwrap_or(0);
    let step = (total - u64::from(last)) / 255;
    if step == 0 {
        return table(|v| v);
    }
    let mut below = 0;
    let mut out = [0; 256];
    for (value, &n) in out.iter_mut().zip(counts) {
        // The table is shifted by one: the first entry is 0.
        *value = if below == 0 {
            0
        } else {
            ((below + step / 2) / step).min(255) as u8
        };
        below += u64::from(n);
    }
    out
}

/// `auto_contrast` of a channel, without a cut-off.
pub fn auto_contrast(counts: &[u32; 256]) -> Table {
    let used = |n: &u32| *n > 0;
    let low = counts.iter().position(used).unwrap_or(0);
    let high = counts.iter().rposition(used).unwrap_or(0);
    if low >= high {
        return table(|v| v);
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    table(|v| (f64::from(v) * scale + offset).clamp(0.0, 255.0) as u8)
}

/// For a kernel: where [`auto_contrast`]'s f64 is one below the whole part of `255 * (value - low) / (high - low)`. A bit
/// a value, lowest first, of 8 words for each `low * 256 + high`.
pub fn shortfalls() -> Vec<u32> {
    let mut words = vec![0u32; 256 * 256 * 8];
    for low in 0..256 {
        for high in low + 1..256 {
            let mut counts = [0; 256];
            (counts[low], counts[high]) = (1, 1);
            let table = auto_contrast(&counts);
            for value in low..=high {
                let whole = 255 * (value - low) / (high - low);
                let less = u32::from(usize::from(table[value]) < whole);
                words[(low * 256 + high) * 8 + value / 32] |= less << (value % 32);
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_thresholds() {
        assert_eq!(posterize(0), [0; 256]);
        assert_eq!(posterize(4)[0xab], 0xa0);
        assert_eq!(posterize(8)[0xab], 0xab);
        assert_eq!(posterize(99)[0xab], 0xab);
        assert_eq!(solarize(128.0)[127..130], [127, 127, 126]);
        assert_eq!(solarize(127.5)[127..130], [127, 127, 126]);
        assert_eq!(solarize(f64::NAN)[0], 255);
        assert_eq!(solarize_add(10.9)[127..130], [137, 128, 129]);
        assert_eq!(solarize_add(1e300)[3], 255);
        assert_eq!(solarize_add(-5.0)[3], 254);
        assert_eq!(invert()[3], 252);
    }

    #[test]
    fn brightness_truncates() {
        assert_eq!(towards(0, 0.5)[5], 2);
        assert_eq!(towards(0, 1.9)[200], 255);
        assert_eq!(towards(100, 0.5)[201], 150);
        assert_eq!(towards(100, 0.0)[201], 100);
    }

    #[test]
    fn spread() {
        // Values 50 (three times) and 101 (once) are pulled apart.
        let counts = histogram(&[50, 50, 101, 50], 1);
        assert_eq!(counts[0][50], 3);
        assert_eq!(mean(&counts[0]), 63); // 62.75
        let table = auto_contrast(&counts[0]);
        assert_eq!((table[0], table[50], table[101]), (0, 0, 255));
        // 255 pixels below the last value make a step of 1: the count below a value is its level.
        let mut counts = [0; 256];
        counts[10] = 100;
        counts[20] = 155;
        counts[30] = 7;
        let table = equalize(&counts);
        assert_eq!(
            (table[10], table[20], table[30], table[31]),
            (0, 100, 255, 255)
        );
        // One value only stays.
        let mut counts = [0; 256];
        counts[77] = 1000;
        assert_eq!(equalize(&counts)[77], 77);
        assert_eq!(auto_contrast(&counts)[77], 77);
    }

    #[test]
    fn shortfalls_are_all_there_is() {
        let words = shortfalls();
        let mut some = 0;
        for (low, high) in [(0, 255), (0, 1), (50, 100), (3, 250), (7, 58), (100, 202)] {
            let mut counts = [0; 256];
            (counts[low], counts[high]) = (1, 1);
            let table = auto_contrast(&counts);
            for value in 0..256 {
                let less = words[(low * 256 + high) * 8 + value / 32] >> (value % 32) & 1;
                let whole = (255 * value.saturating_sub(low) / (high - low)).min(255);
                assert_eq!(usize::from(table[value]), whole - less as usize);
                some += less;
            }
        }
        assert!(some > 0);
    }

    #[test]
    fn each_channel_its_own() {
        let mut pixels = [1, 2, 3, 1, 2, 3];
        lookup(&mut pixels, 3, &[invert(), posterize(0), posterize(8)]);
        assert_eq!(pixels, [254, 0, 3, 254, 0, 3]);
    }
}
