//! COCO's `segmentation` of one annotation: polygons or run lengths, read into [`Segments`], and what is wrong with it.
//!
//! MMDetection takes a list of lists of numbers, and ignores an object without one polygon of three points or more. Lists of points, and
//! lists in lists, mean something all the same, and are read as that.

use std::io::Read;

use super::json::{Json, Next, Number, Result};
use super::segments::{NONE, Segments};
use crate::structures::masks::covered;

/// Lists in a list of polygons that are read: `[[[[x, y]], ...], ...]` is what OpenCV's contours give.
const DEEPEST: usize = 3;

/// How a segmentation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Polygons as they should be, or there is none.
    Good,
    /// Run lengths as they should be.
    Runs,
    /// One list of numbers where a list of lists belongs.
    Flat,
    /// Lists of points, or lists in lists.
    Nested,
    /// One of several polygons cannot be used.
    Part(Flaw),
    /// None can: where masks are loaded, the object is ignored.
    Broken(Flaw),
}

/// What is wrong with a segmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    FewPoints,
    OddCount,
    NoNumber,
    NoList,
    NoRuns,
    BadRuns,
}

impl Flaw {
    pub fn words(self) -> &'static str {
        match self {
            Flaw::FewPoints => "a polygon of fewer than 3 points",
            Flaw::OddCount => "a polygon of an odd number of values",
            Flaw::NoNumber => "a value that is no number",
            Flaw::NoList => "neither a list nor run lengths",
            Flaw::NoRuns => "run lengths without good `counts` or `size`",
            Flaw::BadRuns => "run lengths that do not fill their `size`",
        }
    }
}

/// Memory that is used again for every annotation.
#[derive(Default)]
pub(crate) struct Scratch {
    pub numbers: Vec<f64>,
    pub text: String,
    /// Where each polygon ends in [`Self::numbers`].
    ends: Vec<usize>,
    counts: Vec<u32>,
}

/// Reads a `segmentation`: where it begins in `segments`, and how it was written.
pub(crate) fn segmentation<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    match json.next()? {
        Next::Array => polygons(json, segments, scratch),
        Next::Object => run_lengths(json, segments, scratch),
        _ if json.truth()? => Ok((segments.broken(), Form::Broken(Flaw::NoList))),
        _ => Ok((NONE, Form::Good)),
    }
}

fn polygons<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    scratch.numbers.clear();
    scratch.ends.clear();
    let mut seen = Seen::default();
    lists(json, scratch, 0, &mut seen)?;
    if scratch.ends.is_empty() && !seen.strange {
        return Ok((NONE, Form::Good));
    }
    let (mut start, mut good) = (0, 0);
    let mut flaw = seen.strange.then_some(Flaw::NoNumber);
    let at = segments.polygons();
    for end in &scratch.ends {
        let polygon = &scratch.numbers[start..*end];
        start = *end;
        segments.polygon(polygon);
        match flaw_of(polygon) {
            None => good += 1,
            wrong => flaw = flaw.or(wrong),
        }
    }
    segments.end();
    let form = match (flaw, good) {
        (Some(flaw), 0) => Form::Broken(flaw),
        (Some(flaw), _) => Form::Part(flaw),
        (None, _) if seen.flat => Form::Flat,
        (None, _) if seen.nested => Form::Nested,
        (None, _) => Form::Good,
    };
    Ok((at, form))
}

/// What was seen in lists.
#[derive(Default)]
struct Seen {
    /// Numbers in the outermost list.
    flat: bool,
    /// Points that are lists, or lists beyond the second.
    nested: bool,
    /// What is neither a number nor a list.
    strange: bool,
}

/// Polygons of a list: of one if it has numbers, else of the lists in it. Lists of two numbers are the points of one.
fn lists<R: Read>(
    json: &mut Json<R>,
    scratch: &mut Scratch,
    depth: usize,
    seen: &mut Seen,
) -> Result<()> {
    json.enter_array()?;
    let (start, first) = (scratch.numbers.len(), scratch.ends.len());
    let (mut empty, mut strange) = (true, false);
    while json.item()? {
        match json.next()? {
            Next::Number if empty => {
                let number = json.number()?.map(Number::float);
                scratch.numbers.extend(number);
                if json.rest_of_numbers(&mut scratch.numbers)? {
                    scratch.ends.push(scratch.numbers.len());
                } else {
                    scratch.numbers.truncate(start);
                    seen.strange = true;
                }
                seen.flat |= depth == 0;
                return Ok(());
            }
            Next::Array if depth < DEEPEST => {
                seen.nested |= depth > 0;
                let before = std::mem::take(&mut seen.strange);
                lists(json, scratch, depth + 1, seen)?;
                strange |= seen.strange;
                seen.strange |= before;
            }
            _ => {
                json.skip()?;
                strange = true;
            }
        }
        empty = false;
    }
    seen.strange |= strange;
    if empty && depth > 0 {
        scratch.ends.push(start);
    }
    let mut from = start;
    let is_point = |end: &usize| std::mem::replace(&mut from, *end) + 2 == *end;
    let found = &scratch.ends[first..];
    if !strange && !found.is_empty() && found.iter().all(is_point) {
        scratch.ends.truncate(first);
        scratch.ends.push(scratch.numbers.len());
        seen.nested = true;
    }
    Ok(())
}

fn flaw_of(polygon: &[f64]) -> Option<Flaw> {
    if polygon.iter().any(|v| !v.is_finite()) {
        Some(Flaw::NoNumber)
    } else if !polygon.len().is_multiple_of(2) {
        Some(Flaw::OddCount)
    } else if polygon.len() < 6 {
        Some(Flaw::FewPoints)
    } else {
        None
    }
}

fn run_lengths<R: Read>(
    json: &mut Json<R>,
    segments: &mut Segments,
    scratch: &mut Scratch,
) -> Result<(u64, Form)> {
    /// Which form `counts` has.
    enum Counts {
        None,
        Plain,
        Text,
    }
    json.enter_object()?;
    let (mut counts, mut size, mut empty) = (Counts::None, None, true);
    while let Some(key) = json.key(&["counts", "size"])? {
        empty = false;
        match (key, json.next()?) {
            (0, Next::Text) => {
                json.text(&mut scratch.text)?;
                counts = Counts::Text;
            }
            (0, Next::Array) => {
                let good = json.numbers(&mut scratch.numbers)?;
                let whole = |v: &f64| v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(v);
                let good = good && scratch.numbers.iter().all(whole);
                scratch.counts.clear();
                let counted = scratch.numbers.iter().map(|v| *v as u32);
                scratch.counts.extend(counted);
                counts = if good { Counts::Plain } else { Counts::None };
            }
            (1, Next::Array) => {
                let good = json.numbers(&mut scratch.numbers)?;
                let sides: Option<[f64; 2]> = scratch.numbers.as_slice().try_into().ok();
                let whole = |v: &f64| v.fract() == 0.0 && (0.0..=1e9).contains(v);
                size = sides.filter(|s| good && s.iter().all(whole));
            }
            _ => json.skip()?,
        }
    }
    let Some([h, w]) = size.map(|s| s.map(|v| v as usize)) else {
        return Ok(if empty {
            (NONE, Form::Good)
        } else {
            (segments.broken(), Form::Broken(Flaw::NoRuns))
        });
    };
    let (runs, at) = match counts {
        Counts::None => return Ok((segments.broken(), Form::Broken(Flaw::NoRuns))),
        Counts::Plain => {
            let sum = scratch.counts.iter().map(|c| u64::from(*c)).sum();
            (Some(sum), segments.plain(&scratch.counts, w, h))
        }
        Counts::Text => {
            let sum = covered(scratch.text.as_bytes()).ok();
            (sum, segments.text(&scratch.text, w, h))
        }
    };
    Ok(if runs == Some(w as u64 * h as u64) {
        (at, Form::Runs)
    } else {
        (at, Form::Broken(Flaw::BadRuns))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Segmentation;

    fn read(text: &str) -> (Segmentation, Form) {
        let mut segments = Segments::default();
        let mut json = Json::new(text.as_bytes()).unwrap();
        let found = segmentation(&mut json, &mut segments, &mut Scratch::default());
        let (at, form) = found.unwrap_or_else(|e| panic!("{text}: {e}"));
        json.finish().unwrap();
        (segments.get(at), form)
    }

    #[test]
    fn polygons_however_written() {
        let triangle = || vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.5];
        let one = || Segmentation::Polygons(vec![triangle()]);
        let two = || Segmentation::Polygons(vec![triangle(), triangle()]);
        for (text, mask, form) in [
            ("[[1, 2, 3, 4, 5, 6.5]]", one(), Form::Good),
            ("[[1,2,3,4,5,6.5], [1,2,3,4,5,6.5]]", two(), Form::Good),
            ("[1, 2, 3, 4, 5, 6.5]", one(), Form::Flat),
            ("[[1, 2], [3, 4], [5, 6.5]]", one(), Form::Nested),
            ("[[[1, 2], [3, 4], [5, 6.5]]]", one(), Form::Nested),
            ("[[[1, 2, 3, 4, 5, 6.5]]]", one(), Form::Nested),
            ("[[[1, 2]], [[3, 4]], [[5, 6.5]]]", one(), Form::Nested),
            ("[[[[1, 2]], [[3, 4]], [[5, 6.5]]]]", one(), Form::Nested),
            (
                "[[[1, 2], [3, 4], [5, 6.5]], [[1, 2], [3, 4], [5, 6.5]]]",
                two(),
                Form::Nested,
            ),
            ("[]", Segmentation::None, Form::Good),
            ("{}", Segmentation::None, Form::Good),
            ("null", Segmentation::None, Form::Good),
            ("\"\"", Segmentation::None, Form::Good),
        ] {
            assert_eq!(read(text), (mask, form), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        use Flaw::{BadRuns, FewPoints, NoList, NoNumber, NoRuns, OddCount};
        for (text, form) in [
            ("[[1, 2, 3, 4]]", Form::Broken(FewPoints)),
            ("[1, 2, 3, 4]", Form::Broken(FewPoints)),
            ("[[1, 2]]", Form::Broken(FewPoints)),
            ("[[1, 2], [3, 4]]", Form::Broken(FewPoints)),
            ("[[]]", Form::Broken(FewPoints)),
            ("[[1, 2, 3, 4, 5, 6, 7]]", Form::Broken(OddCount)),
            ("[[1, 2, 3, 4, 5, NaN]]", Form::Broken(NoNumber)),
            ("[[\"1\", 2, 3, 4, 5, 6]]", Form::Broken(NoNumber)),
            ("[\"1\", 2, 3, 4, 5, 6]", Form::Broken(NoNumber)),
            ("[[1, 2, null, 4, 5, 6]]", Form::Broken(NoNumber)),
            ("[1, 2, [3], 4, 5, 6]", Form::Broken(NoNumber)),
            (
                "[[1, 2], [3, null], [5, 6], [7, 8]]",
                Form::Broken(NoNumber),
            ),
            ("[{\"x\": 1}]", Form::Broken(NoNumber)),
            ("[[[[[[1, 2, 3, 4, 5, 6]]]]]]", Form::Broken(NoNumber)),
            ("[[1, 2, 3, 4, 5, 6], [1, 2]]", Form::Part(FewPoints)),
            (
                "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]",
                Form::Part(OddCount),
            ),
            ("[[1, 2, 3, 4, 5, 6], \"x\"]", Form::Part(NoNumber)),
            ("\"[[1, 2, 3, 4, 5, 6]]\"", Form::Broken(NoList)),
            ("7", Form::Broken(NoList)),
            ("true", Form::Broken(NoList)),
            ("{\"counts\": [2, 4], \"size\": [2, 3]}", Form::Runs),
            ("{\"counts\": \"231\", \"size\": [2, 3]}", Form::Runs),
            ("{\"counts\": [2, 4]}", Form::Broken(NoRuns)),
            ("{\"size\": [2, 3]}", Form::Broken(NoRuns)),
            ("{\"counts\": [2, 4], \"size\": [2]}", Form::Broken(NoRuns)),
            (
                "{\"counts\": [2, 4], \"size\": \"2x3\"}",
                Form::Broken(NoRuns),
            ),
            (
                "{\"counts\": [2, -4], \"size\": [2, 3]}",
                Form::Broken(NoRuns),
            ),
            ("{\"counts\": null, \"size\": [2, 3]}", Form::Broken(NoRuns)),
            (
                "{\"counts\": [2, 3], \"size\": [2, 3]}",
                Form::Broken(BadRuns),
            ),
            (
                "{\"counts\": \"23\", \"size\": [2, 3]}",
                Form::Broken(BadRuns),
            ),
            (
                "{\"counts\": \"\u{7f}!\", \"size\": [2, 3]}",
                Form::Broken(BadRuns),
            ),
        ] {
            let (mask, found) = read(text);
            assert_eq!(found, form, "{text}");
            assert_ne!(mask, Segmentation::None, "{text}: the object is ignored");
        }
    }
}
