//! COCO's run lengths (pycocotools' `frPyObjects` and `decode`): columns from the top left, background first.

use super::Bitmap;

/// COCO's two forms of run lengths.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(untagged)]
pub enum RleCounts {
    /// Lengths, background first, columns from the top left.
    Plain(Vec<u32>),
    /// The same, in COCO's text form.
    Text(String),
}

impl RleCounts {
    /// The lengths.
    ///
    /// # Errors
    /// Text that is none of COCO's.
    pub fn lengths(&self) -> Result<Vec<u64>, String> {
        match self {
            RleCounts::Plain(counts) => Ok(counts.iter().map(|c| u64::from(*c)).collect()),
            RleCounts::Text(text) => from_text(text.as_bytes()),
        }
    }
}

/// Pixels that run lengths in COCO's text form cover.
///
/// # Errors
/// Text that is none of COCO's.
pub(crate) fn covered(text: &[u8]) -> Result<u64, String> {
    let mut sum = 0_u64;
    each(text, |length| sum = sum.saturating_add(length))?;
    Ok(sum)
}

fn from_text(text: &[u8]) -> Result<Vec<u64>, String> {
    let mut counts = Vec::new();
    each(text, |length| counts.push(length))?;
    Ok(counts)
}

/// Five bits a character, the lowest first; the sixth says that more follow. From the fourth on, each is a difference to the one two before.
fn each(text: &[u8], mut give: impl FnMut(u64)) -> Result<(), String> {
    // the one two before, and the one before
    let mut last = [0_u64; 2];
    let (mut at, mut given) = (0, 0);
    while at < text.len() {
        let (mut value, mut shift) = (0_i64, 0);
        loop {
            let bits = text
                .get(at)
                .ok_or("the run lengths end in the middle of a number")?
                .wrapping_sub(48);
            if bits > 63 {
                return Err(format!(
                    "run lengths cannot contain the byte {:?}",
                    char::from(text[at])
                ));
            }
            if shift > 55 {
                return Err("a run length is too large".into());
            }
            value |= i64::from(bits & 31) << shift;
            (at, shift) = (at + 1, shift + 5);
            if bits & 32 == 0 {
                if bits & 16 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
        }
        if given > 2 {
            value = value.saturating_add_unsigned(last[0]);
        }
        let length = u64::try_from(value).map_err(|_| "a run length is negative")?;
        last = [last[1], length];
        given += 1;
        give(length);
    }
    Ok(())
}

/// RLE of COCO (`counts` uncompressed or as text, size height x width) to a bitmap.
///
/// # Errors
/// Says what is wrong with it.
pub fn rle_to_bitmap(counts: &RleCounts, width: usize, height: usize) -> Result<Bitmap, String> {
    let lengths = counts.lengths()?;
    let pixels = crate::size_limits::check([width, height])
        .map_err(|_| format!("a mask of {width}x{height} pixels is too large"))?;
    let covered = lengths.iter().fold(0_u64, |sum, v| sum.saturating_add(*v));
    if covered != pixels as u64 {
        return Err(format!(
            "run lengths cover {covered} pixels, the mask has {width}x{height}"
        ));
    }
    let mut columns = vec![0; pixels];
    let mut at = 0;
    for (i, length) in lengths.iter().enumerate() {
        let end = at + *length as usize;
        if i % 2 == 1 {
            columns[at..end].fill(1);
        }
        at = end;
    }
    let mut out = vec![0; pixels];
    // blocks of columns, so that the rows that are written stay in the cache
    const BLOCK: usize = 32;
    for left in (0..width).step_by(BLOCK) {
        for y in 0..height {
            for x in left..(left + BLOCK).min(width) {
                out[y * width + x] = columns[x * height + y];
            }
        }
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        // pycocotools: encode of [[0, 1, 1], [0, 1, 0]]
        let plain = RleCounts::Plain(vec![2, 3, 1]);
        let text = RleCounts::Text("231".into());
        for counts in [plain, text] {
            let bitmap = rle_to_bitmap(&counts, 3, 2).unwrap();
            assert_eq!(*bitmap, [0, 1, 1, 0, 1, 0]);
        }
        // pycocotools' text of these
        let text = RleCounts::Text("537Om2Vo0mLhPO2".into());
        let counts = vec![5, 3, 7, 2, 100, 1000, 1, 0, 3];
        assert_eq!(text.lengths(), Ok(counts));
    }

    #[test]
    fn wrong_ones() {
        for (counts, width, expected) in [
            (
                RleCounts::Plain(vec![3, 2]),
                3,
                "run lengths cover 5 pixels, the mask has 3x2",
            ),
            (
                RleCounts::Plain(vec![u32::MAX; 9]),
                3,
                "run lengths cover 38654705655 pixels, the mask has 3x2",
            ),
            (
                RleCounts::Text("2 1".into()),
                3,
                "run lengths cannot contain the byte ' '",
            ),
            (
                RleCounts::Text("2P".into()),
                3,
                "the run lengths end in the middle of a number",
            ),
            (
                RleCounts::Text("ooooooooooooooo0".into()),
                3,
                "a run length is too large",
            ),
            (RleCounts::Text("O".into()), 3, "a run length is negative"),
            (
                RleCounts::Plain(vec![]),
                usize::MAX,
                "a mask of 18446744073709551615x2 pixels is too large",
            ),
        ] {
            assert_eq!(rle_to_bitmap(&counts, width, 2), Err(expected.into()));
        }
    }
}
