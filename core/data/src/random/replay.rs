//! Recording calls, and answering from a recording.

use std::collections::VecDeque;

use super::{Answer, Call, Draw, Random, RandomError};

/// Answers from a recording; a call with another function or other arguments is an error.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    draws: VecDeque<Draw>,
    answered: usize,
}

impl Replay {
    /// From a recording.
    pub fn new(draws: impl IntoIterator<Item = Draw>) -> Self {
        let draws = draws.into_iter().collect();
        Self { draws, answered: 0 }
    }

    /// Calls answered so far.
    pub fn answered(&self) -> usize {
        self.answered
    }

    /// What was not asked for yet.
    pub fn left(&self) -> &VecDeque<Draw> {
        &self.draws
    }
}

impl Random for Replay {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        let at = self.answered + 1;
        let fail = |what: String| Err(RandomError(format!("call {at} is {call}, {what}")));
        let Some(draw) = self.draws.front() else {
            return fail("but the recording ends before it".into());
        };
        if !call.is(draw) {
            return fail(format!("the recording has {draw}"));
        }
        let Some(answer) = call.answer(&draw.3) else {
            return fail(format!("which cannot give the recorded {}", draw.3));
        };
        self.draws.pop_front();
        self.answered = at;
        Ok(answer)
    }
}

/// Another source, whose calls are written down.
pub struct Recorded<'a> {
    /// Who answers.
    pub source: &'a mut dyn Random,
    /// What was called so far.
    pub draws: Vec<Draw>,
}

impl Random for Recorded<'_> {
    fn answer(&mut self, call: Call) -> Result<Answer, RandomError> {
        let answer = self.source.answer(call.clone())?;
        self.draws.push(call.recorded(&answer));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Numpy};
    use super::*;
    use serde_json::{Value as Json, json};

    fn replay(draws: Json) -> Replay {
        let draws: Vec<Draw> = serde_json::from_value(draws).unwrap();
        Replay::new(draws)
    }

    #[test]
    fn answers_in_order_or_names_both_calls() {
        let mut replay = replay(json!([
            ["np.uniform", [0, 1], {}, 0.25],
            ["np.randint", [], {"high": 5.0, "low": 2.0}, 4],
            ["np.rand", [2], {}, [0.5, 0.75]],
        ]));
        let random: &mut dyn Random = &mut replay;
        assert_eq!(random.uniform(0.0, 1.0), Ok(0.25));
        let error = random.randint(2, 5).unwrap_err();
        assert_eq!(
            error.0,
            r#"call 2 is np.randint(2, 5), the recording has np.randint(high=5.0, low=2.0)"#
        );
        assert_eq!(random.randint_named(2, 5), Ok(4));
        let error = random.rand().unwrap_err();
        assert_eq!(error.0, "call 3 is np.rand(), the recording has np.rand(2)");
        assert_eq!(random.rand_n(2), Ok(vec![0.5, 0.75]));
        let error = random.rand().unwrap_err();
        assert_eq!(
            error.0,
            "call 4 is np.rand(), but the recording ends before it"
        );
        assert_eq!((replay.answered(), replay.left().len()), (3, 0));
    }

    #[test]
    fn a_choice_is_an_index() {
        let mut replay = replay(json!([
            ["np.choice", [["horizontal", null]], {"p": [0.5, 0.5]}, null],
            ["np.choice", [[1, 0.1, 0]], {}, 0.0],
            ["np.choice", [[0, 1, 2]], {"p": null}, 2],
            ["np.choice", [3], {"size": 2, "replace": false}, [2, 0]],
            ["np.choice", [[5, 7, 9], 2], {"replace": false, "p": null}, [9, 5]],
            ["np.choice", [4], {"size": 0, "replace": false}, []],
        ]));
        let random: &mut dyn Random = &mut replay;
        let two = json!(["horizontal", null]);
        assert_eq!(random.choice(two, Some(&[0.5, 0.5])), Ok(1));
        assert_eq!(random.choice(json!([1.0, 0.1, 0.0]), None), Ok(2));
        assert_eq!(random.choice(json!([0, 1, 2]), None), Ok(2));
        let of = |of: Json, size, size_positional| Choice {
            of,
            size: Some(size),
            size_positional,
            replace: Some(false),
            p: None,
        };
        assert_eq!(random.choices(of(json!(3), 2, false)), Ok(vec![2, 0]));
        assert_eq!(
            random.choices(of(json!([5, 7, 9]), 2, true)),
            Ok(vec![2, 0])
        );
        assert_eq!(random.choices(of(json!(4), 0, false)), Ok(vec![]));
    }

    #[test]
    fn a_result_that_cannot_be_is_an_error() {
        for (draw, call) in [
            (json!(["np.randint", [0, 3], {}, 3]), Call::Randint(0, 3)),
            (
                json!(["np.permutation", [3], {}, [0, 1, 1]]),
                Call::Permutation(3),
            ),
            (
                json!(["np.permutation", [3], {}, [0, 1]]),
                Call::Permutation(3),
            ),
            (json!(["np.rand", [], {}, "0.5"]), Call::Rand),
        ] {
            let error = replay(json!([draw])).answer(call).unwrap_err();
            assert!(error.0.contains("cannot give the recorded"), "{error}");
        }
    }

    #[test]
    fn a_recording_replays() {
        let calls = |random: &mut dyn Random| {
            let choice = Choice {
                of: json!(["a", null, 3.5]),
                size: Some(2),
                size_positional: true,
                replace: Some(false),
                p: Some(vec![0.25, 0.5, 0.25]),
            };
            let floats = (random.uniform_n(-1.0, 1.0, 3), random.uniform_from(0.5));
            let ints = (random.permutation(5), random.randint_n(0, 2, 3));
            (
                floats,
                ints,
                random.choices(choice),
                random.choice(json!(9), None),
            )
        };
        let mut numpy = Numpy::new(1);
        let mut recorded = Recorded {
            source: &mut numpy,
            draws: Vec::new(),
        };
        let first = calls(&mut recorded);
        let text = serde_json::to_string(&recorded.draws).unwrap();
        let mut replay = replay(serde_json::from_str(&text).unwrap());
        assert_eq!(calls(&mut replay), first);
        assert!(replay.left().is_empty());
    }
}
