//! A comma too many: `model = dict(...),` is a tuple of one dict in Python. MMEngine takes it, and fails far from it.

use std::collections::BTreeSet;

use super::Config;
use super::diagnostic::{Diagnostic, Kind};
use super::source::{Origin, Span};
use super::value::{Node, Value};

/// The comma that makes a tuple of one.
struct Comma<'n> {
    inner: &'n Node,
    at: Origin,
    /// There are no parentheses around the tuple, so that it hardly was meant.
    bare: bool,
}

impl<'n> Comma<'n> {
    fn of(node: &'n Node) -> Option<Self> {
        let Value::Tuple(items) = &node.value else {
            return None;
        };
        let [inner] = &items[..] else {
            return None;
        };
        let (at, bare) = behind(&inner.origin)?;
        Some(Self { inner, at, bare })
    }
}

/// The comma that makes a tuple of the one value that was written at `inner`, and whether there are no parentheses around the tuple. The
/// tuple may have come here by a name; its item stands where it was written, with the comma behind it.
pub(crate) fn behind(inner: &Origin) -> Option<(Origin, bool)> {
    let text = inner.source().text();
    let byte = |at: usize| text.as_bytes().get(at).copied();
    let space = |from: usize| {
        let mut at = from;
        while let Some(next) = byte(at) {
            match next {
                b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
                b' ' | b'\t' | b'\r' | b'\n' | b'\\' => at += 1,
                _ => break,
            }
        }
        at
    };
    let mut at = space(inner.end());
    while byte(at) == Some(b')') {
        at = space(at + 1);
    }
    if byte(at) != Some(b',') {
        return None;
    }
    let bare = byte(space(at + 1)) != Some(b')');
    let span = Span {
        start: at as u32,
        end: at as u32 + 1,
    };
    Some((Origin::new(inner.source(), span), bare))
}

pub(crate) const HELP: &str = "take the comma away";
/// As a button says it.
const TAKE_AWAY: &str = "Take the comma away";

impl Diagnostic {
    /// Points at the comma, if it is one that made the tuple which this is about.
    #[must_use]
    pub fn comma(mut self, node: &Node) -> Self {
        if let Some(comma) = Comma::of(node) {
            self = self.at(&comma.at, "this comma makes a tuple of one");
            self.help = Some(HELP.into());
            self = self.fix(&comma.at, "", TAKE_AWAY);
        }
        self
    }
}

/// The error of a tuple of one where `what` belongs, whose only item could be that.
pub fn stray_comma(what: &str, node: &Node) -> Option<Diagnostic> {
    let comma = Comma::of(node)?;
    let kind = match &comma.inner.value {
        Value::Dict(_) => "dict",
        Value::List(_) => "list",
        _ => return None,
    };
    let message =
        format!("{what} is a tuple of one {kind}: the comma behind the {kind} makes it one");
    let error = Diagnostic::error(message).kind(Kind::Mistyped);
    let error = error.at(&comma.at, "this comma").help(HELP);
    Some(error.fix(&comma.at, "", TAKE_AWAY))
}

/// Names of the top level that hold one dict.
const TOP: &[&str] = &[
    "auto_scale_lr",
    "checkpoint_config",
    "custom_imports",
    "data",
    "data_preprocessor",
    "default_hooks",
    "env_cfg",
    "evaluation",
    "log_config",
    "log_processor",
    "lr_config",
    "model",
    "optim_wrapper",
    "optimizer",
    "optimizer_config",
    "randomness",
    "runner",
    "test_cfg",
    "test_dataloader",
    "train_cfg",
    "train_dataloader",
    "tta_model",
    "val_cfg",
    "val_dataloader",
    "visualizer",
];

/// Names of options that hold one dict wherever they stand.
const DICTS: &[&str] = &[
    "act_cfg",
    "anchor_generator",
    "assigner",
    "backbone",
    "backend_args",
    "batch_sampler",
    "bbox_coder",
    "bbox_roi_extractor",
    "clip_grad",
    "collate_fn",
    "conv_cfg",
    "data_prefix",
    "data_preprocessor",
    "dataset",
    "filter_cfg",
    "loss_bbox",
    "loss_cls",
    "loss_mask",
    "metainfo",
    "nms",
    "norm_cfg",
    "optimizer",
    "paramwise_cfg",
    "prior_generator",
    "roi_head",
    "rpn_head",
    "rpn_proposal",
    "sampler",
    "test_cfg",
    "train_cfg",
];

/// Names of options that hold a list of dicts, for which a tuple does as well.
const LISTS: &[&str] = &[
    "custom_hooks",
    "datasets",
    "metrics",
    "param_scheduler",
    "pipeline",
    "plugins",
    "policies",
    "test_evaluator",
    "test_pipeline",
    "train_pipeline",
    "transforms",
    "tta_pipeline",
    "val_evaluator",
    "vis_backends",
];

/// Lists whose items are dicts, never lists of them.
const OF_DICTS: &[&str] = &[
    "custom_hooks",
    "datasets",
    "param_scheduler",
    "pipeline",
    "test_pipeline",
    "train_pipeline",
    "vis_backends",
];

/// Tuples of one dict (or of one list, for a pipeline) where a dict (or that list) belongs; and names of bases in a dict, which nothing
/// reads.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut walk = Walk::default();
    for (key, entry) in config.dict().iter() {
        let Some(key) = key.as_str() else { continue };
        let belongs = match key {
            _ if TOP.contains(&key) => Belongs::Dict,
            _ if key.ends_with("pipeline") => Belongs::List,
            // A variable: what it becomes is seen where it is used.
            _ => Belongs::Anything,
        };
        walk.visit(&entry.node, key, key, belongs);
    }
    walk.found
}

fn holds_others(node: &Node) -> bool {
    matches!(
        node.value,
        Value::Dict(_) | Value::List(_) | Value::Tuple(_)
    )
}

#[derive(Clone, Copy, PartialEq)]
enum Belongs {
    Dict,
    List,
    /// Nothing is known: a tuple without parentheses is a slip.
    Meant,
    Anything,
}

#[derive(Default)]
struct Walk {
    found: Vec<Diagnostic>,
    /// Commas that were named: one is copied to many places.
    seen: BTreeSet<String>,
}

impl Walk {
    /// `key` is the last name of `path`, that of the list for an item of a list.
    fn visit(&mut self, node: &Node, path: &str, key: &str, belongs: Belongs) {
        if let Some(comma) = Comma::of(node) {
            let wrong = match (&comma.inner.value, belongs) {
                (Value::Dict(_), Belongs::Dict) | (Value::List(_), Belongs::List) => true,
                (Value::Dict(_), Belongs::Meant) => comma.bare,
                _ => false,
            };
            if wrong && self.seen.insert(comma.at.to_string()) {
                self.found.extend(stray_comma(&format!("`{path}`"), node));
            }
        }
        match &node.value {
            Value::Dict(dict) => {
                for (name, entry) in dict.iter() {
                    let Some(name) = name.as_str() else { continue };
                    let belongs = match name {
                        _ if DICTS.contains(&name) => Belongs::Dict,
                        "pipeline" => Belongs::List,
                        _ if LISTS.contains(&name) => Belongs::Anything,
                        _ => Belongs::Meant,
                    };
                    if name == "_base_" && self.seen.insert(entry.key.to_string()) {
                        let message = format!("`_base_` within `{path}` is not read");
                        let help = "a base is named at the top level of a file";
                        let warning = Diagnostic::warning(message).kind(Kind::Key);
                        self.found.push(warning.at(&entry.key, "").help(help));
                    }
                    if holds_others(&entry.node) {
                        self.visit(&entry.node, &format!("{path}.{name}"), name, belongs);
                    }
                }
            }
            Value::List(items) | Value::Tuple(items) => {
                let belongs = if OF_DICTS.contains(&key) {
                    Belongs::Dict
                } else {
                    Belongs::Anything
                };
                for (i, item) in items.iter().enumerate().filter(|(_, n)| holds_others(n)) {
                    self.visit(item, &format!("{path}.{i}"), "", belongs);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MapLoader;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        check(&config).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_comma_is_pointed_at() {
        let expected = "\
error: `model` is a tuple of one dict: the comma behind the dict makes it one
 --> a.py:2:2
2 | ),  # of a detector
  |  ^ this comma
help: take the comma away";
        assert_eq!(
            found("model = dict(type='A'\n),  # of a detector\n"),
            [expected]
        );
    }

    #[test]
    fn wherever_a_dict_belongs() {
        for (text, path, place) in [
            (
                "b = dict(type='R'),\nmodel = dict(backbone=b)",
                "model.backbone",
                "1:19",
            ),
            (
                "model = dict(train_cfg=(dict(a=1),))",
                "model.train_cfg",
                "1:34",
            ),
            ("optim_wrapper = (dict(type='O')),", "optim_wrapper", "1:33"),
            ("train_cfg = dict(a=1) \\\n , # x", "train_cfg", "2:2"),
            (
                "d = dict(type='C'),\ntrain_dataloader = dict(dataset=d)",
                "train_dataloader.dataset",
                "1:19",
            ),
            (
                "x = dict(type='L'),\np = [x]\nt = dict(dataset=dict(pipeline=p))\ntest_dataloader = t",
                "t.dataset.pipeline.0",
                "1:19",
            ),
            (
                "train_pipeline = [dict(type='L')],",
                "train_pipeline",
                "1:34",
            ),
            (
                "x = dict(a=1),\nmodel = dict(something=x)",
                "model.something",
                "1:14",
            ),
            (
                "model = dict()\nmodel['neck'] = dict(type='F'),",
                "model.neck",
                "2:31",
            ),
        ] {
            let found = found(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let message = format!("error: `{path}` is a tuple of one");
            assert!(found[0].starts_with(&message), "{}", found[0]);
            assert!(
                found[0].contains(&format!("a.py:{place}\n")),
                "{}",
                found[0]
            );
        }
    }

    #[test]
    fn what_may_be_a_tuple_is_left_alone() {
        for text in [
            "custom_hooks = dict(type='H'),",
            "param_scheduler = (dict(type='L'),)",
            "val_evaluator = dict(type='C'),",
            "norm = dict(type='BN'),",
            "model = dict(neck=[dict(type='F')], stages=(dict(a=1),), classes=('a',))",
            "a = dict(type='R'),\np = [dict(type='RandomChoice', transforms=[a, a])]\ntrain_pipeline = p",
            "classes = 'a',\nmodel = dict(x=classes)",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_base_within_a_dict_is_named() {
        let found = found("model = dict(_base_='b.py', type='A')");
        assert!(found[0].starts_with("warning: `_base_` within `model` is not read"));
    }
}
