//! The transforms that a sample goes through, in order, each with its place in the config; and which of a trace's steps is which.

use serde_json::Value as Json;
use smalti::config::{Node, value_to_py};
use smalti::data::datasets::Dataset;
use smalti::data::trace::{Step, Trace};

use super::opened::type_of;

/// A transform of a config.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its `type`, without a scope.
    pub name: String,
    /// Its place below the source, such as `dataset.pipeline.1`.
    pub path: String,
    /// Its options.
    pub node: Node,
    /// The data set leaves it out (`skip_type_keys`).
    pub is_skipped: bool,
    /// Lists of transforms in it: alternatives of `RandomChoice`, one list of others.
    within: Vec<Vec<Planned>>,
}

/// The transforms that the sample at `index` goes through.
pub fn of(dataset: &dyn Dataset, node: &Node, index: usize) -> Vec<Planned> {
    let mut all = Vec::new();
    walk(dataset, node, "", index, &mut all);
    all
}

fn walk(dataset: &dyn Dataset, node: &Node, path: &str, index: usize, all: &mut Vec<Planned>) {
    let at = |key: &str| join(path, key);
    let children = dataset.children();
    match (dataset.ends(), node.get("dataset"), node.get("datasets")) {
        (Some(ends), _, Some(nodes)) => {
            let which = ends.partition_point(|end| *end <= index);
            let start = which.checked_sub(1).map_or(0, |before| ends[before]);
            let inner = nodes.as_items().and_then(|nodes| nodes.get(which));
            if let (Some(child), Some(inner)) = (children.get(which), inner) {
                let path = at(&format!("datasets.{which}"));
                walk(*child, inner, &path, index.saturating_sub(start), all);
            }
        }
        (_, Some(inner), _) => {
            if let Some(child) = children.first() {
                // which of a ConcatDataset it is is known from the picture's index alone
                let index = index % child.len().max(1);
                walk(*child, inner, &at("dataset"), index, all);
            }
        }
        _ => {}
    }
    let skipped: Vec<&str> = node
        .get("skip_type_keys")
        .and_then(Node::as_items)
        .unwrap_or_default()
        .iter()
        .filter_map(|key| key.as_str()?.rsplit('.').next())
        .collect();
    if let Some(pipeline) = node.get("pipeline") {
        let mut steps = list(pipeline, &at("pipeline"));
        for step in &mut steps {
            step.is_skipped = skipped.contains(&step.name.as_str());
        }
        all.extend(steps);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A list of transforms, or one.
fn list(node: &Node, path: &str) -> Vec<Planned> {
    match node.as_items() {
        Some(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| one(item, &format!("{path}.{i}")))
            .collect(),
        None => vec![one(node, path)],
    }
}

fn one(node: &Node, path: &str) -> Planned {
    let within = ["transforms", "policies", "aug_space"]
        .into_iter()
        .filter_map(|key| Some((key, node.get(key)?)))
        .flat_map(|(key, inner)| {
            let path = format!("{path}.{key}");
            let nested = inner
                .as_items()
                .is_some_and(|items| items.iter().any(|i| i.as_items().is_some()));
            let choices = nested || type_of(node) == "RandomChoice";
            match inner.as_items() {
                Some(items) if choices => items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| list(item, &format!("{path}.{i}")))
                    .collect(),
                _ => vec![list(inner, &path)],
            }
        })
        .collect();
    Planned {
        name: type_of(node),
        path: path.to_owned(),
        node: node.clone(),
        is_skipped: false,
        within,
    }
}

/// A row of the strip: a transform, and the step of the trace that it was.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its place below the source; `None` where it is not known.
    pub path: Option<String>,
    /// Its step in the trace; `None` if it did not run.
    pub step: Option<usize>,
    /// It is within another.
    pub is_inner: bool,
    /// Why it did nothing, or did not run.
    pub idle: Option<String>,
}

/// Matches transforms and steps.
pub fn rows(plan: &[Planned], trace: &Trace) -> Vec<Row> {
    let steps = &trace.steps;
    let mut rows = Vec::new();
    let (mut at, mut next) = (0, 0);
    let mut picture = steps.first().map(|s| s.sample.info.index);
    while at < steps.len() && next <= plan.len() {
        let step = &steps[at];
        if picture != Some(step.sample.info.index) && at > 0 {
            // the picture was dropped, and another taken in its place
            picture = Some(step.sample.info.index);
            next = 0;
        }
        let Some(planned) = plan.get(next) else { break };
        if planned.is_skipped {
            rows.push(idle(planned, "left out by skip_type_keys"));
            next += 1;
            continue;
        }
        let end = match planned.within.is_empty() {
            true => (step.name == planned.name).then_some(at),
            false => (at..steps.len()).find(|i| steps[*i].name == planned.name),
        };
        match end {
            Some(end) => {
                inner(planned, steps, at..end, &steps[end], &mut rows);
                rows.push(ran(planned, end, &steps[end], false));
                at = end + 1;
            }
            // the step that failed, and those that it holds
            None if !planned.within.is_empty() => {
                let children = at..steps.len();
                rows.extend(children.map(|i| unknown(&steps[i], i)));
                at = steps.len();
                break;
            }
            None => rows.push(idle(planned, "it did not run")),
        }
        next += 1;
    }
    rows.extend((at..steps.len()).map(|i| unknown(&steps[i], i)));
    let mut rest = plan[next.min(plan.len())..].iter();
    if trace.error.is_some()
        && let Some(failed) = rest.next()
    {
        rows.push(idle(failed, "it failed"));
    }
    rows.extend(rest.map(|p| match p.is_skipped {
        true => idle(p, "left out by skip_type_keys"),
        false => idle(p, "not reached"),
    }));
    rows
}

/// The steps within another, from the last to the first: which of several alternatives ran is known from what it drew.
fn inner(
    planned: &Planned,
    steps: &[Step],
    range: std::ops::Range<usize>,
    wrapper: &Step,
    rows: &mut Vec<Row>,
) {
    let choice = wrapper.params.as_ref().and_then(|p| p.get("choice"));
    let choice = choice.and_then(Json::as_u64).map(|i| i as usize);
    let lists: Vec<&Vec<Planned>> = match choice.and_then(|i| planned.within.get(i)) {
        Some(list) => vec![list],
        None => planned.within.iter().collect(),
    };
    let mut candidates: Vec<&Planned> = lists.into_iter().flatten().collect();
    // these take theirs in any order, and RandAugment one several times
    let is_ordered = !["RandomOrder", "RandAugment"].contains(&planned.name.as_str());
    let mut found = Vec::new();
    for i in range.rev() {
        let at = candidates.iter().rposition(|p| p.name == steps[i].name);
        found.push(match at {
            Some(at) => {
                let planned = candidates[at];
                if is_ordered {
                    candidates.truncate(at);
                }
                candidates.extend(planned.within.iter().flatten());
                ran(planned, i, &steps[i], true)
            }
            None => unknown(&steps[i], i),
        });
    }
    found.reverse();
    found.iter_mut().for_each(|row| row.is_inner = true);
    rows.extend(found);
}

fn ran(planned: &Planned, at: usize, step: &Step, is_inner: bool) -> Row {
    Row {
        name: planned.name.clone(),
        path: Some(planned.path.clone()),
        step: Some(at),
        is_inner,
        idle: not_applied(step, Some(&planned.node)),
    }
}

fn idle(planned: &Planned, why: &str) -> Row {
    Row {
        name: planned.name.clone(),
        path: Some(planned.path.clone()),
        step: None,
        is_inner: false,
        idle: Some(why.to_owned()),
    }
}

fn unknown(step: &Step, at: usize) -> Row {
    Row {
        name: step.name.clone(),
        path: None,
        step: Some(at),
        is_inner: false,
        idle: not_applied(step, None),
    }
}

/// Why a step that ran changed nothing, as its draws say.
fn not_applied(step: &Step, node: Option<&Node>) -> Option<String> {
    let chance = ["prob", "flip_ratio"]
        .into_iter()
        .find_map(|key| Some(format!(" ({key} {})", value_to_py(node?.get(key)?))))
        .unwrap_or_default();
    let this_time = || Some(format!("not applied this time{chance}"));
    let Some(params) = step.params.as_ref() else {
        let may_draw_nothing = ["Expand", "RandomCenterCropPad"].contains(&step.name.as_str());
        return this_time().filter(|_| may_draw_nothing && step.saved[0].is_some());
    };
    if params.get("apply") == Some(&Json::Bool(false)) {
        return this_time();
    }
    let nothing = params.get("direction").is_some_and(Json::is_null);
    nothing.then(|| format!("not mirrored this time{chance}"))
}
