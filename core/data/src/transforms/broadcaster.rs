//! `TransformBroadcaster` and `KeyMapper` of mmcv 2.1 (transforms/wrappers.py).
//!
//! There they rename the keys of a sample, so that transforms run on other pictures than `img`, one after another. A sample has one picture
//! here, under the key `img`, so that only mappings of keys to themselves are read, and everything that the transforms change
//! stays together. Where other pictures wait to be mixed in, `TransformBroadcaster` runs on them too: with
//! `share_random_params=True` all with the draws of the first.

use std::mem;

use serde::Deserialize;

use super::compose::all;
use super::{Context, Outcome, Transform};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::sample::Sample;
use smalti_config::{Diagnostics, Node, Value, error_at, unsupported};

/// Transforms for the sample, and for the pictures to be mixed in.
#[derive(Debug)]
pub struct TransformBroadcaster {
    name: &'static str,
    steps: Vec<Box<dyn Transform>>,
    /// Also for the pictures to be mixed in.
    broadcast: bool,
    /// All with the same draws.
    share: bool,
}

/// Runs the steps of `name` on a sample, which must not be dropped.
pub(super) fn one(
    name: &str,
    steps: &[Box<dyn Transform>],
    sample: Sample,
    cx: &mut Context<'_>,
) -> Result<Sample, Fault> {
    cx.run_all(steps, sample)?.ok_or_else(|| {
        let message = format!("a transform in `{name}` dropped the picture");
        Fault::Transform(message)
    })
}

/// Runs on the first sample with new draws, on the others with the same.
pub(super) fn shared(
    run: impl Fn(Sample, &mut Context<'_>) -> Result<Sample, Fault>,
    sample: Sample,
    others: Vec<Sample>,
    cx: &mut Context<'_>,
) -> Result<(Sample, Vec<Sample>), Fault> {
    let wanted = cx.saved.is_some();
    let from = cx.saved.get_or_insert_default().len();
    let result = run(sample, cx);
    let draws = match &cx.saved {
        Some(saved) => saved[from.min(saved.len())..].to_vec(),
        None => Vec::new(),
    };
    if !wanted {
        cx.saved = None;
    }
    let sample = result?;
    // the others' draws are these: neither saved again, nor taken from what is replayed
    let saved = cx.saved.take();
    let replay = cx.replay.take();
    let watch = cx.watch.take();
    let with_these = |other| {
        cx.replay = Some(draws.clone().into());
        run(other, cx)
    };
    let others: Result<Vec<Sample>, Fault> = others.into_iter().map(with_these).collect();
    cx.saved = saved;
    cx.replay = replay;
    cx.watch = watch;
    Ok((sample, others?))
}

impl Transform for TransformBroadcaster {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        let one = |sample: Sample, cx: &mut Context<'_>| one(self.name, &self.steps, sample, cx);
        if !self.broadcast || sample.mix.is_empty() {
            return one(sample, cx).map(Some);
        }
        let others = mem::take(&mut sample.mix);
        let (mut sample, others) = if self.share {
            shared(one, sample, others, cx)?
        } else {
            let sample = one(sample, cx)?;
            let others: Result<_, Fault> = others.into_iter().map(|s| one(s, cx)).collect();
            (sample, others?)
        };
        sample.mix = others;
        Ok(Some(sample))
    }

    fn children(&self) -> Vec<&dyn Transform> {
        all(&self.steps)
    }
}

#[derive(Deserialize)]
struct Mapper {
    transforms: Option<Node>,
    mapping: Option<Node>,
    remapping: Option<Node>,
    auto_remap: Option<bool>,
    #[serde(rename = "allow_nonexist_keys")]
    _allow_nonexist_keys: Option<bool>,
}

#[derive(Deserialize)]
struct Broadcaster {
    transforms: Node,
    mapping: Option<Node>,
    remapping: Option<Node>,
    auto_remap: Option<bool>,
    #[serde(rename = "allow_nonexist_keys")]
    _allow_nonexist_keys: Option<bool>,
    share_random_params: Option<bool>,
}

pub(super) fn key_mapper(
    node: &Node,
    look: &Lookup<'_>,
) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Mapper = node.read()?;
    check(node, &config.mapping, &config.remapping, config.auto_remap)?;
    Ok(Box::new(TransformBroadcaster {
        name: "KeyMapper",
        steps: config
            .transforms
            .as_ref()
            .map_or(Ok(Vec::new()), |t| look.steps(t))?,
        broadcast: false,
        share: false,
    }))
}

pub(super) fn build(node: &Node, look: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    let config: Broadcaster = node.read()?;
    check(node, &config.mapping, &config.remapping, config.auto_remap)?;
    Ok(Box::new(TransformBroadcaster {
        name: "TransformBroadcaster",
        steps: look.steps(&config.transforms)?,
        broadcast: true,
        share: config.share_random_params.unwrap_or(false),
    }))
}

fn check(
    node: &Node,
    mapping: &Option<Node>,
    remapping: &Option<Node>,
    auto_remap: Option<bool>,
) -> Result<(), Diagnostics> {
    if remapping.is_some() && auto_remap == Some(true) {
        let message = "`remapping` must be None if `auto_remap` is True";
        return Err(error_at(node, "remapping", message, ""));
    }
    for (key, given) in [("mapping", mapping), ("remapping", remapping)] {
        let Some(given) = given else { continue };
        let Some(dict) = given.as_dict() else {
            let message = format!("`{key}` must be a dict of keys");
            return Err(error_at(node, key, message, ""));
        };
        let same = dict
            .iter()
            .all(|(inner, entry)| to_itself(inner.as_str(), &entry.node));
        if !same {
            let message = format!("`{key}` renames keys: a sample has one picture, under `img`");
            let help =
                "leave the mapping out, or map keys to themselves: mapping=dict(img=['img'])";
            return Err(unsupported(node, key, message, help));
        }
    }
    Ok(())
}

/// A key that stands for itself, alone or in a list of one.
fn to_itself(key: Option<&str>, outer: &Node) -> bool {
    match &outer.value {
        Value::Str(_) => outer.as_str() == key,
        Value::List(items) | Value::Tuple(items) => {
            matches!(&items[..], [one] if one.as_str().is_some() && one.as_str() == key)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::hand_made::{after, first_channel, mistakes, plain, replayed};

    const TEXT: &str = "transforms=[dict(type='Solarize', prob=0.5)]";

    #[test]
    fn runs_on_all_pictures() {
        let mut sample = plain([1, 1], 100);
        sample.mix = vec![plain([1, 1], 120), plain([1, 1], 140)];
        let rand = |value: f64| json!(["np.rand", [], {}, value]);
        // the threshold is 256 times the second
        let text = format!("dict(type='TransformBroadcaster', share_random_params=True, {TEXT})");
        let draws = json!([rand(0.3), rand(0.5)]);
        let (shared, saved) = replayed(&text, sample.clone(), draws);
        let shared = shared.unwrap();
        assert_eq!(first_channel(&shared), [100.0]);
        assert_eq!(first_channel(&shared.mix[0]), [120.0]);
        assert_eq!(first_channel(&shared.mix[1]), [115.0]);
        assert_eq!(saved.len(), 1);
        let text = format!("dict(type='TransformBroadcaster', {TEXT})");
        let draws = json!([rand(0.3), rand(0.0), rand(0.9), rand(0.3), rand(0.5)]);
        let own = after(&text, sample.clone(), draws);
        assert_eq!(first_channel(&own), [155.0]);
        assert_eq!(first_channel(&own.mix[0]), [120.0]);
        assert_eq!(first_channel(&own.mix[1]), [115.0]);
        let text = format!("dict(type='KeyMapper', mapping=dict(img='img'), {TEXT})");
        let alone = after(&text, sample, json!([rand(0.3), rand(0.0)]));
        assert_eq!(first_channel(&alone), [155.0]);
        assert_eq!(first_channel(&alone.mix[0]), [120.0]);
    }

    #[test]
    fn keys_cannot_be_renamed() {
        for mapping in [
            "dict(img='lq')",
            "dict(img=['lq', 'gt'])",
            "dict(img=['img', 'img'])",
        ] {
            let text = format!("dict(type='TransformBroadcaster', mapping={mapping}, {TEXT})");
            let found = mistakes(&text);
            assert!(found[0].starts_with("`mapping` renames keys"), "{found:?}");
        }
        let text = format!(
            "dict(type='KeyMapper', auto_remap=True, mapping=dict(img='img'), remapping=dict(img='img'), {TEXT})"
        );
        let expected = "`remapping` must be None if `auto_remap` is True";
        assert_eq!(mistakes(&text), [expected]);
    }
}
