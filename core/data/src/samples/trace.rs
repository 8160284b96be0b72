//! One sample with everything recorded on its way: after each transform its drawn parameters, the random calls behind them, the sample
//! and the objects that were left out since the step before.
//!
//! MMDetection has nothing like it; MMYOLO's browse_dataset.py draws the pictures of its pipeline mode in a similar way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value as Json;

use crate::datasets::{Dataset, SampleError};
use crate::picture::Fault;
use crate::pixels::Pixels;
use crate::random::{Answer, Call, Draw, Random, RandomError, Recorded, Replay};
use crate::sample::Sample;
use crate::structures::{Dropped, Reason};
use crate::transforms::{Context, Files, Pin, Saved};

/// Steps beyond this are run and not recorded.
const MOST_STEPS: usize = 1000;

/// Where a sample's draws come from.
pub enum DrawSource<'a> {
    /// They are made.
    New(&'a mut dyn Random),
    /// They are made, but for those that stay as they are.
    Pinned(&'a mut dyn Random, Vec<Pin>),
    /// They are those of an earlier trace.
    Saved(Vec<Saved>),
    /// They are made of numpy's recorded answers.
    Raw(Vec<Draw>),
}

/// What [`trace`] found.
#[derive(Clone, Debug)]
pub struct Trace {
    /// In the order in which transforms ended; one that holds others comes after them.
    pub steps: Vec<Step>,
    /// All draws in the order in which they were made: what a replay takes.
    pub saved: Vec<Saved>,
    /// Why it went no further; `None` if it ended well.
    pub error: Option<SampleError>,
}

/// A transform that ran.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its `type`.
    pub name: String,
    /// What it drew; `None` if nothing.
    pub params: Option<Json>,
    /// The pictures that it mixed in, as it chose them.
    pub indexes: Option<Json>,
    /// Where `params` and `indexes` are among the trace's `saved`, to be pinned.
    pub saved: [Option<usize>; 2],
    /// Random calls since the step before. Those of a transform that holds others are with the first of them.
    pub draws: Vec<Draw>,
    /// The sample after it.
    pub sample: Sample,
    /// Objects that were left out since the step before, also from pictures that were mixed in.
    pub dropped: Vec<Dropped>,
}

impl Trace {
    /// What keeps the draws at a place of `saved` as they are, or makes them `params`, while others are made anew.
    pub fn pin(&self, at: usize, params: Option<Json>) -> Option<Pin> {
        let saved = self.saved.get(at)?;
        let before = &self.saved[..at];
        Some(Pin {
            name: saved.name.clone(),
            nth: before.iter().filter(|s| s.name == saved.name).count(),
            params: params.unwrap_or_else(|| saved.params.clone()),
        })
    }
}

impl Step {
    /// The samples after it: one, or those that TestTimeAug made.
    pub fn samples(&self) -> Vec<&Sample> {
        if self.sample.variants.is_empty() {
            vec![&self.sample]
        } else {
            self.sample.variants.iter().collect()
        }
    }
}

/// Runs sample `index` of a data set; `position` is its number in the order of an epoch.
pub fn trace(
    dataset: &dyn Dataset,
    index: usize,
    position: u64,
    draws: DrawSource<'_>,
    pixels: &Pixels,
    files: &dyn Files,
) -> Trace {
    let mut recording = Replay::default();
    let mut pins = Vec::new();
    let (source, replay): (&mut dyn Random, _) = match draws {
        DrawSource::New(random) => (random, None),
        DrawSource::Pinned(random, pinned) => {
            pins = pinned;
            (random, None)
        }
        // With no call to answer: what the file does not hold is not drawn anew.
        DrawSource::Saved(saved) => (&mut recording, Some(VecDeque::from(saved))),
        DrawSource::Raw(draws) => {
            recording = Replay::new(draws);
            (&mut recording, None)
        }
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let mut random = Counted {
        recorded: Recorded {
            source,
            draws: Vec::new(),
        },
        calls: calls.clone(),
    };
    let mut seen: Vec<Seen> = Vec::new();
    let mut watch = |name: &str, saved: usize, sample: &Sample| {
        if seen.len() < MOST_STEPS {
            seen.push(Seen {
                name: name.to_owned(),
                saved,
                calls: calls.load(Ordering::Relaxed),
                sample: sample.clone(),
            });
        }
    };
    let given = replay.as_ref().map_or(0, VecDeque::len);
    let mut cx = Context::new(&mut random, pixels, files);
    cx.replay = replay;
    cx.pins = pins;
    cx.saved = Some(Vec::new());
    cx.watch = Some(&mut watch);
    cx.position = position;
    let found = dataset.get(index, &mut cx);
    let left = cx.replay.take().unwrap_or_default();
    let saved = cx.saved.take().unwrap_or_default();
    let problem = |text: String| SampleError::new(&dataset.info(index), Fault::Transform(text));
    let steps = assemble(seen, &saved, &random.recorded.draws);
    let unused = recording.left();
    let error = match (found, left.front(), unused.front()) {
        (Err(mut error), _, _) => {
            if let (true, Fault::Transform(text)) = (given > 0, &mut error.problem) {
                text.push_str(&format!(
                    " (after {} of the {given} draws of the file)",
                    saved.len()
                ));
            }
            Some(error)
        }
        (Ok(_), Some(next), _) => Some(problem(format!(
            "the replayed draws do not fit: this pipeline ends after {} of the {given}, the next are of `{}`",
            saved.len(),
            next.name
        ))),
        (Ok(_), None, Some(next)) => Some(problem(format!(
            "the recording does not fit: the pipeline ends with {} of its calls left, the next is {next}",
            unused.len()
        ))),
        (Ok(None), None, None) => Some(problem("the pipeline dropped it".into())),
        (Ok(Some(_)), None, None) => None,
    };
    Trace {
        steps,
        saved,
        error,
    }
}

/// As it was when a transform ended.
struct Seen {
    name: String,
    /// Draws in `saved` so far.
    saved: usize,
    /// Random calls so far.
    calls: usize,
    sample: Sample,
}

/// A recorder whose number of calls can be read while it is lent out.
struct Counted<'a> {
    recorded: Recorded<'a>,
    calls: Arc<AtomicUsize>,
}

impl Random for Counted<'_> {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        let answer = self.recorded.answer(call);
        self.calls
            .store(self.recorded.draws.len(), Ordering::Relaxed);
        answer
    }
}

/// Gives every step its own draws. A transform that holds others draws first and ends last, so what is not yet claimed waits.
fn assemble(seen: Vec<Seen>, saved: &[Saved], calls: &[Draw]) -> Vec<Step> {
    let mut waiting: Vec<(usize, &Saved)> = Vec::new();
    let (mut saved_to, mut calls_to) = (0, 0);
    let mut reported: HashMap<Key, usize> = HashMap::new();
    let mut steps = Vec::with_capacity(seen.len());
    for seen in seen {
        let end = seen.saved.clamp(saved_to, saved.len());
        waiting.extend((saved_to..end).zip(&saved[saved_to..end]));
        saved_to = end;
        let end = seen.calls.clamp(calls_to, calls.len());
        let draws = calls[calls_to..end].to_vec();
        calls_to = end;

        let choice = format!("{}.indexes", seen.name);
        let own = waiting.iter().rposition(|(_, s)| s.name == seen.name);
        let params = own.map(|i| waiting[i].1.params.clone());
        let mixed = waiting.iter().rposition(|(_, s)| s.name == choice);
        let indexes = mixed.map(|i| waiting[i].1.params.clone());
        let places = [own, mixed].map(|i| i.map(|i| waiting[i].0));
        // what it holds ended before it, and so did the loading of what it mixes in
        if let Some(first) = [own, mixed].into_iter().flatten().min() {
            waiting.truncate(first);
        }
        let dropped = news(&mut reported, &seen.sample.gt.dropped);
        steps.push(Step {
            name: seen.name,
            params: params.filter(|p| !p.is_null()),
            indexes,
            saved: places,
            draws,
            sample: seen.sample,
            dropped,
        });
    }
    steps
}

/// All of a [`Dropped`], comparable even where a box is not a number.
type Key = (u32, u32, i64, [u32; 4], Reason);

fn key(dropped: &Dropped) -> Key {
    let Dropped {
        origin,
        label,
        bbox,
        reason,
    } = dropped;
    (
        origin.picture,
        origin.object,
        *label,
        bbox.map(f32::to_bits),
        *reason,
    )
}

/// Those that were not in an earlier step's list; a sample's list grows from step to step.
fn news(reported: &mut HashMap<Key, usize>, dropped: &[Dropped]) -> Vec<Dropped> {
    let mut count: HashMap<Key, usize> = HashMap::new();
    let mut new = Vec::new();
    for one in dropped {
        let n = count.entry(key(one)).or_insert(0);
        *n += 1;
        if *n > reported.get(&key(one)).copied().unwrap_or(0) {
            new.push(one.clone());
        }
    }
    *reported = count;
    new
}

/// Why an object was left out, in a word or two.
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Outside => "outside",
        Reason::Clipped => "clipped",
        Reason::TooSmall => "too small",
        Reason::Covered => "covered",
        Reason::Broken => "broken box",
    }
}

/// Why an object was left out, in words.
pub fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Outside => "outside of the new picture",
        Reason::Clipped => "clipped away at the border",
        Reason::TooSmall => "too small",
        Reason::Covered => "covered by a pasted object",
        Reason::Broken => "its box has no area or is not a number",
    }
}

/// Drawn parameters as people read them: `angle=3.21 center=(120, 87.5)`; long lists are cut.
pub fn readable(params: &Json) -> String {
    match params {
        Json::Object(map) => {
            let parts = map.iter().filter(|(_, v)| !v.is_null());
            let parts: Vec<_> = parts.map(|(k, v)| format!("{k}={}", value(v, 0))).collect();
            parts.join(" ")
        }
        other => value(other, 0),
    }
}

fn value(json: &Json, depth: usize) -> String {
    const MOST: usize = 12;
    match json {
        Json::Null => "none".into(),
        Json::Bool(true) => "yes".into(),
        Json::Bool(false) => "no".into(),
        Json::Number(n) => match n.as_f64() {
            Some(v) if n.is_f64() => number(v),
            _ => n.to_string(),
        },
        Json::String(s) => s.chars().take(80).collect(),
        _ if depth == 4 => "\u{2026}".into(),
        Json::Array(list) => {
            let mut parts: Vec<_> = list
                .iter()
                .take(MOST)
                .map(|v| value(v, depth + 1))
                .collect();
            if list.len() > MOST {
                parts.push(format!("\u{2026} {} in all", list.len()));
            }
            format!("({})", parts.join(", "))
        }
        Json::Object(map) => {
            let parts = map.iter().filter(|(_, v)| !v.is_null()).take(MOST);
            let parts: Vec<_> = parts
                .map(|(k, v)| format!("{k}={}", value(v, depth + 1)))
                .collect();
            format!("{{{}}}", parts.join(" "))
        }
    }
}

/// With four digits that count.
fn number(v: f64) -> String {
    let whole = v.abs().log10().floor();
    let decimals = if v == 0.0 || !whole.is_finite() {
        0
    } else {
        (3.0 - whole).clamp(0.0, 8.0) as usize
    };
    if whole.is_finite() && !(-5.0..9.0).contains(&whole) {
        return format!("{v:.3e}");
    }
    let text = format!("{v:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::MetaInfo;
    use crate::image::{Image, Samples};
    use crate::random::Counter;
    use crate::sample::DataInfo;
    use crate::structures::{GroundTruth, Origin};
    use crate::transforms::{Outcome, Transform};
    use serde_json::json;

    /// Draws a number and moves the boxes by it.
    #[derive(Debug)]
    struct Move;
    impl crate::transforms::Draws for Move {
        fn name(&self) -> &'static str {
            "Move"
        }
        type Drawn = f64;
        fn draw(&self, _: &Sample, random: &mut dyn Random) -> Result<f64, Fault> {
            Ok(random.uniform(1.0, 4.0)?)
        }
        fn apply(&self, mut sample: Sample, by: &f64, _: &Pixels) -> Outcome {
            for b in &mut sample.gt.boxes {
                *b = b.map(|v| v + *by as f32);
            }
            Ok(Some(sample))
        }
    }

    /// Drops boxes that reach over 10 px.
    #[derive(Debug)]
    struct Cut;
    impl crate::transforms::Draws for Cut {
        fn name(&self) -> &'static str {
            "Cut"
        }
        type Drawn = ();
        fn draw(&self, _: &Sample, _: &mut dyn Random) -> Result<(), Fault> {
            Ok(())
        }
        fn apply(&self, mut sample: Sample, (): &(), _: &Pixels) -> Outcome {
            let inside: Vec<bool> = sample.gt.boxes.iter().map(|b| b[2] < 10.0).collect();
            sample.gt.keep(&inside, Reason::Outside);
            Ok(Some(sample))
        }
    }

    /// Draws, then does what it holds.
    #[derive(Debug)]
    struct Both(Vec<Box<dyn Transform>>);
    impl Transform for Both {
        fn name(&self) -> &'static str {
            "Both"
        }
        fn run(&self, sample: Sample, cx: &mut Context<'_>) -> Outcome {
            cx.drawn("Both", |random| Ok(random.randint_below(7)?))?;
            cx.run_all(&self.0, sample)
        }
    }

    #[derive(Debug)]
    struct Two(MetaInfo, Vec<Box<dyn Transform>>);
    impl Dataset for Two {
        fn len(&self) -> usize {
            2
        }
        fn meta(&self) -> &MetaInfo {
            &self.0
        }
        fn info(&self, index: usize) -> Arc<DataInfo> {
            Arc::new(DataInfo {
                img_path: format!("{index}.jpg"),
                index,
                ..DataInfo::default()
            })
        }
        fn get(&self, index: usize, cx: &mut Context<'_>) -> Result<Option<Sample>, SampleError> {
            let mut sample = Sample::new(self.info(index));
            sample.set_image(Image::new([1, 1], 1, Samples::U8(vec![0])));
            let boxes = vec![[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 7.5, 7.5]];
            sample.gt = GroundTruth {
                labels: vec![0, 1],
                ignore: vec![false; 2],
                origins: [0, 1].map(|object| Origin { picture: 0, object }).into(),
                boxes,
                ..GroundTruth::default()
            };
            cx.run_all(&self.1, sample).map_err(|problem| SampleError {
                path: format!("{index}.jpg"),
                id: None,
                problem,
            })
        }
        fn pipeline(&self) -> &[Box<dyn Transform>] {
            &self.1
        }
    }

    struct NoFiles;
    impl Files for NoFiles {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Err("no files".into())
        }
    }

    fn run(steps: Vec<Box<dyn Transform>>, draws: DrawSource<'_>) -> Trace {
        let dataset = Two(MetaInfo::default(), steps);
        trace(&dataset, 1, 0, draws, &Pixels::cpu(), &NoFiles)
    }

    fn pipeline() -> Vec<Box<dyn Transform>> {
        vec![
            Box::new(Move),
            Box::new(Both(vec![Box::new(Move), Box::new(Cut)])),
            Box::new(Cut),
        ]
    }

    #[test]
    fn every_step_has_its_own() {
        let mut random = Counter::new(1);
        let found = run(pipeline(), DrawSource::New(&mut random));
        assert_eq!(found.error, None);
        let names: Vec<_> = found.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["Move", "Move", "Cut", "Both", "Cut"]);
        let saved: Vec<_> = found.saved.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(saved, ["Move", "Both", "Move", "Cut", "Cut"]);
        for (step, saved) in [(0, 0), (1, 2), (3, 1)] {
            assert_eq!(
                found.steps[step].params.as_ref(),
                Some(&found.saved[saved].params)
            );
        }
        assert_eq!(found.steps[2].params, None, "nothing is drawn");
        let calls: Vec<usize> = found.steps.iter().map(|s| s.draws.len()).collect();
        assert_eq!(calls, [1, 2, 0, 0, 0]);
        assert_eq!(found.steps[1].draws[0].0, "np.randint");
        let dropped: Vec<usize> = found.steps.iter().map(|s| s.dropped.len()).collect();
        assert_eq!(dropped, [0, 0, 1, 0, 0], "told once");
        assert_eq!(found.steps[2].dropped[0].origin.object, 1);
        assert_eq!(found.steps[1].sample.gt.len(), 2);
        assert_eq!(found.steps[4].sample.gt.len(), 1);
    }

    #[test]
    fn replays_both_forms() {
        let mut random = Counter::new(1);
        let first = run(pipeline(), DrawSource::New(&mut random));
        let boxes = |t: &Trace| t.steps.last().unwrap().sample.gt.boxes.clone();
        let again = run(pipeline(), DrawSource::Saved(first.saved.clone()));
        assert_eq!((again.error.clone(), boxes(&again)), (None, boxes(&first)));
        assert_eq!(again.saved, first.saved);
        let raw: Vec<Draw> = first.steps.iter().flat_map(|s| s.draws.clone()).collect();
        let again = run(pipeline(), DrawSource::Raw(raw));
        assert_eq!((again.error.clone(), boxes(&again)), (None, boxes(&first)));
    }

    #[test]
    fn what_is_pinned_stays_and_nothing_else_depends_on_it() {
        let seeded = |seed, pins| {
            let mut random = Counter::new(seed);
            run(pipeline(), DrawSource::Pinned(&mut random, pins))
        };
        let first = seeded(1, Vec::new());
        let at = first.steps[1].saved[0].unwrap();
        assert_eq!((at, first.saved[at].name.as_str()), (2, "Move"));
        let pin = first.pin(at, None).unwrap();
        assert_eq!(pin.nth, 1, "the second Move");
        let other = seeded(2, vec![pin]);
        assert_eq!(other.saved[at], first.saved[at]);
        assert_ne!(other.saved[0], first.saved[0]);
        // the same seed with another pinned value: nothing else is drawn anew
        let moved = seeded(1, vec![first.pin(0, Some(json!(3.5))).unwrap()]);
        assert_eq!(moved.saved[0].params, json!(3.5));
        assert_eq!(moved.saved[1..], first.saved[1..]);
        let wrong = seeded(1, vec![first.pin(0, Some(json!("far"))).unwrap()]);
        let text = wrong.error.unwrap().to_string();
        assert!(
            text.contains("the pinned draws of `Move` do not fit"),
            "{text}"
        );
    }

    #[test]
    fn another_pipeline_is_told_where_it_differs() {
        let mut random = Counter::new(1);
        let first = run(pipeline(), DrawSource::New(&mut random));
        let error = |steps, draws| run(steps, draws).error.unwrap().to_string();
        let saved = || DrawSource::Saved(first.saved.clone());
        assert_eq!(
            error(vec![Box::new(Cut)], saved()),
            "1.jpg: the replayed draws do not fit: `Cut` is next, found draws of `Move` (after 0 of the 5 draws of the file)"
        );
        assert_eq!(
            error(vec![Box::new(Move)], saved()),
            "1.jpg: the replayed draws do not fit: this pipeline ends after 1 of the 5, the next are of `Both`"
        );
        let mut longer = pipeline();
        longer.push(Box::new(Move));
        let text = error(longer, saved());
        assert!(
            text.contains("none is left for `Move` (after 5 of"),
            "{text}"
        );
        let raw = || DrawSource::Raw(first.steps.iter().flat_map(|s| s.draws.clone()).collect());
        let text = error(vec![Box::new(Move)], raw());
        assert!(
            text.contains("with 2 of its calls left, the next is np.randint(7)"),
            "{text}"
        );
        let text = error(vec![Box::new(Both(Vec::new()))], raw());
        assert!(
            text.contains("call 1 is np.randint(7), the recording has np.uniform(1"),
            "{text}"
        );
        let wrong = vec![Saved {
            name: "Move".into(),
            params: json!("far"),
        }];
        let text = error(vec![Box::new(Move)], DrawSource::Saved(wrong));
        assert!(text.contains("`Move`: invalid type"), "{text}");
    }

    #[test]
    fn parameters_as_people_read_them() {
        for (json, text) in [
            (
                json!({"angle": -3.214_159, "size": [640, 480], "none": null}),
                "angle=-3.214 size=(640, 480)",
            ),
            (
                json!([0.000_123_456, 1e20, 0.5, 12345.678, 1.0]),
                "(0.0001235, 1.000e20, 0.5, 12346, 1)",
            ),
            (
                json!({"flip": true, "inner": {"a": "b"}}),
                "flip=yes inner={a=b}",
            ),
            (
                json!((0..20).collect::<Vec<_>>()),
                "(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, \u{2026} 20 in all)",
            ),
            (json!(null), "none"),
        ] {
            assert_eq!(readable(&json), text);
        }
    }
}
