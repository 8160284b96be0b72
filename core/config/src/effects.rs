//! What an option of the command line does not do: `--cfg-options` that set a new key, or a variable whose value was copied before.

use super::diagnostic::{Diagnostic, Kind};
use super::nearest::nearest;
use super::source::{Origin, SourceKind};
use super::value::{Dict, Node, Value};

/// Names of the top level that something reads: MMEngine's runner and MMDetection's tools. Others are variables.
const READ: &[&str] = &[
    "auto_resume",
    "auto_scale_lr",
    "compile",
    "custom_hooks",
    "custom_imports",
    "data_preprocessor",
    "default_hooks",
    "default_scope",
    "device",
    "efficient_conv_bn_eval",
    "env_cfg",
    "experiment_name",
    "find_unused_parameters",
    "fp16",
    "launcher",
    "load_from",
    "log_level",
    "log_processor",
    "model",
    "model_wrapper_cfg",
    "optim_wrapper",
    "param_scheduler",
    "randomness",
    "resume",
    "runner_type",
    "strategy",
    "test_cfg",
    "test_dataloader",
    "test_evaluator",
    "train_cfg",
    "train_dataloader",
    "tta_model",
    "tta_pipeline",
    "val_cfg",
    "val_dataloader",
    "val_evaluator",
    "visualizer",
    "work_dir",
];

/// Those of MMDetection 2.x, and what 3.x has in their place.
const OLD: &[(&str, &str)] = &[
    ("checkpoint_config", "default_hooks.checkpoint"),
    ("cudnn_benchmark", "env_cfg.cudnn_benchmark"),
    ("data", "train_dataloader"),
    ("dist_params", "env_cfg.dist_cfg"),
    ("evaluation", "val_evaluator"),
    ("gpu_ids", ""),
    ("log_config", "default_hooks.logger"),
    ("lr_config", "param_scheduler"),
    ("momentum_config", "param_scheduler"),
    ("mp_start_method", "env_cfg.mp_cfg.mp_start_method"),
    ("opencv_num_threads", "env_cfg.mp_cfg.opencv_num_threads"),
    ("optimizer", "optim_wrapper.optimizer"),
    ("optimizer_config", "optim_wrapper"),
    ("resume_from", "resume"),
    ("runner", "train_cfg"),
    ("seed", "randomness.seed"),
    ("total_epochs", "train_cfg.max_epochs"),
    ("workflow", ""),
];

/// Whether something reads a name of the top level of this config.
fn is_read(root: &Dict, name: &str) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| root.contains(name));
    // `smalti detect` reads the variable where there is no loader.
    let test = name == "test_pipeline" && !has(&["test_dataloader", "val_dataloader"]);
    let new = [
        "train_dataloader",
        "test_dataloader",
        "optim_wrapper",
        "default_hooks",
        "train_cfg",
    ];
    let old = OLD.iter().any(|(old, _)| *old == name) && (root.contains(name) || !has(&new));
    READ.contains(&name) || test || old
}

/// How many places of a value are listed.
const NAMED: usize = 6;

/// Notes on options that may not do what was wanted; `root` is the config before them.
pub(crate) fn notes<S: AsRef<str>>(root: &Dict, options: &[S]) -> Vec<Diagnostic> {
    let mut notes = Vec::new();
    for (i, option) in options.iter().enumerate() {
        let option = option.as_ref();
        let Some((path, _)) = option.split_once('=') else {
            continue;
        };
        let note = |message: String| {
            Diagnostic::note(message)
                .kind(Kind::Option)
                .at(&Origin::command_line(option), "")
        };
        let again = |other: &S| {
            other
                .as_ref()
                .split_once('=')
                .is_some_and(|(p, _)| p == path)
        };
        if options[i + 1..].iter().any(again) {
            notes.push(note(format!(
                "`{path}` is given again: the last value counts"
            )));
            continue;
        }
        let top = path.split('.').next().unwrap_or(path);
        let old = root.get(top);
        let read = is_read(root, top);
        // Where it was copied to matters more than that a key of it is new.
        let copies = match old.filter(|_| !read) {
            Some(old) => copies(root, top, old),
            None => Vec::new(),
        };
        if old.is_some() && !read {
            notes.push(variable(note, path, top, &copies));
        } else if let Some((missing, within)) = missing(root, path) {
            // Keys that are read though configs rarely have them, and those of what is put in another's place.
            if !(within.is_none() && read || replaced(missing, options)) {
                notes.push(new_key(note, missing, within, root));
            }
        } else if let Some(twin) = twin(root, top) {
            let message = format!("`{twin}` was made from `{top}`, and keeps its own value");
            notes.push(note(message).help(format!(
                "give `{twin}{}=...` too, if it is meant",
                &path[top.len()..]
            )));
        }
    }
    notes
}

/// Whether other options put something else in the place of a dict that would have the key.
fn replaced<S: AsRef<str>>(path: &str, options: &[S]) -> bool {
    let within = |(dict, key): (&str, &str)| {
        let rest = path
            .strip_prefix(dict)
            .and_then(|rest| rest.strip_prefix('.'));
        rest.is_some() && matches!(key, "type" | "_delete_")
    };
    let given = options.iter().filter_map(|o| o.as_ref().split_once('='));
    given
        .filter_map(|(path, _)| path.rsplit_once('.'))
        .any(within)
}

/// Another name of the top level that is read and was set as `test_dataloader = val_dataloader` is.
fn twin<'n>(root: &'n Dict, top: &str) -> Option<&'n str> {
    root.iter().find_map(|(key, entry)| {
        let key = key
            .as_str()
            .filter(|key| *key != top && is_read(root, key))?;
        (entry.node.origin.text() == top).then_some(key)
    })
}

/// The first part of a path that the config does not have, and the dict that lacks it (none for the top level).
fn missing<'n, 'p>(root: &'n Dict, path: &'p str) -> Option<(&'p str, Option<&'n Node>)> {
    let mut node: Option<&Node> = None;
    let mut end = 0;
    for part in path.split('.') {
        end += part.len();
        let next = match node {
            None => root.get(part),
            Some(node) => node.at(part),
        };
        match next {
            Some(next) => node = Some(next),
            // Something else than a dict: setting the option is an error, or replaces it.
            None if node.is_none_or(|n| n.as_dict().is_some()) => {
                return Some((&path[..end], node));
            }
            None => return None,
        }
        end += 1;
    }
    None
}

fn new_key(
    note: impl Fn(String) -> Diagnostic,
    path: &str,
    within: Option<&Node>,
    root: &Dict,
) -> Diagnostic {
    let dict = within.and_then(Node::as_dict).unwrap_or(root);
    let key = path.rsplit('.').next().unwrap_or(path);
    let names: Vec<&str> = dict.names().collect();
    let message = match within {
        Some(_) => format!("`{path}` is new: the config has no such key"),
        None => format!("`{path}` is new, and nothing reads a variable of this name"),
    };
    let known = names
        .iter()
        .copied()
        .chain(READ.iter().copied().filter(|_| within.is_none()));
    if let Some(near) = nearest(key, known) {
        let whole = match path.rsplit_once('.') {
            Some((before, _)) => format!("{before}.{near}"),
            None => near.to_owned(),
        };
        return note(message).help(format!("did you mean `{whole}`?"));
    }
    if within.is_none() {
        let replaced = OLD.iter().find(|(old, new)| *old == key && !new.is_empty());
        let replaced = replaced.map(|(_, new)| format!("MMDetection 3 has `{new}` in its place"));
        let mut same = Vec::new();
        paths_of(root, key, "", &mut same);
        let same = (!same.is_empty()).then(|| format!("there is {}", same.join(", ")));
        return match replaced.or(same) {
            Some(help) => note(message).help(help),
            None => note(message),
        };
    }
    match within {
        Some(_) if !names.is_empty() && names.len() <= 20 => {
            note(message).help(format!("there are {}", names.join(", ")))
        }
        _ => note(message),
    }
}

/// A few paths that end in a key.
fn paths_of(dict: &Dict, key: &str, path: &str, found: &mut Vec<String>) {
    for (name, entry) in dict.iter() {
        if found.len() >= 3 {
            return;
        }
        let path = format!("{path}{name}");
        if name.as_str() == Some(key) {
            found.push(format!("`{path}`"));
        } else if let Some(inner) = entry.node.as_dict() {
            paths_of(inner, key, &format!("{path}."), found);
        }
    }
}

fn variable(
    note: impl Fn(String) -> Diagnostic,
    path: &str,
    top: &str,
    copies: &[String],
) -> Diagnostic {
    let message = format!(
        "`{path}` has no effect: nothing reads the variable `{top}` once the config is read"
    );
    if copies.is_empty() {
        return note(message);
    }
    let mut list: Vec<String> = copies
        .iter()
        .take(NAMED)
        .map(|p| format!("`{p}`"))
        .collect();
    if copies.len() > NAMED {
        list.push(format!("{} more", copies.len() - NAMED));
    }
    let rest = path.strip_prefix(top).unwrap_or("");
    // The first that has the value itself can be set in its place.
    note(message).help(format!(
        "its value went into {}; set it there: `{}{rest}=...`",
        list.join(", "),
        copies[0]
    ))
}

/// Paths outside of variables whose value is that of the variable, or was made with it.
fn copies<'n>(root: &'n Dict, name: &'n str, old: &'n Node) -> Vec<String> {
    let mut names = vec![name];
    // Variables that were made with it, and those that were made with them.
    while names.len() < 64
        && let Some(next) = root.iter().find_map(|(key, entry)| {
            let key = key
                .as_str()
                .filter(|key| !is_read(root, key) && !names.contains(key))?;
            let text = entry.node.origin.text();
            let single = entry.node.as_dict().is_none() && entry.node.as_items().is_none();
            (single && names.iter().any(|name| mentions(text, name))).then_some(key)
        })
    {
        names.push(next);
    }
    let mut copies = Copies {
        names,
        old,
        exact: Vec::new(),
        made: Vec::new(),
    };
    for (key, entry) in root.iter() {
        if let Some(key) = key.as_str().filter(|key| is_read(root, key)) {
            copies.walk(&entry.node, key.to_owned());
        }
    }
    copies.exact.append(&mut copies.made);
    copies.exact
}

struct Copies<'n> {
    /// The variable, and those that were made with it.
    names: Vec<&'n str>,
    old: &'n Node,
    exact: Vec<String>,
    /// Made with it, as `data_root + 'a.json'`.
    made: Vec<String>,
}

impl Copies<'_> {
    fn walk(&mut self, node: &Node, path: String) {
        let origin = &node.origin;
        let text = match origin.source().kind() {
            SourceKind::File => origin.text(),
            _ => "",
        };
        // What was written as the name, with or without its base before it.
        let own = text.strip_prefix("_base_.").unwrap_or(text);
        let place = |o: &Origin| (o.file().to_owned(), o.line(), o.column());
        let same = own == self.names[0] || place(origin) == place(&self.old.origin);
        if same && node.value == self.old.value {
            self.exact.push(path);
            return;
        }
        match &node.value {
            Value::Dict(dict) => {
                for (key, entry) in dict.iter() {
                    self.walk(&entry.node, format!("{path}.{key}"));
                }
            }
            Value::List(items) | Value::Tuple(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.walk(item, format!("{path}.{i}"));
                }
            }
            _ if self.names.iter().any(|name| mentions(text, name)) => self.made.push(path),
            _ => {}
        }
    }
}

/// Longer expressions are not searched, in bytes.
const EXPRESSION: usize = 2000;

/// Whether a name stands in the text of an expression.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if text.len() > EXPRESSION {
        return false;
    }
    // A string with the word in it is none, but for the fields of f-strings.
    if text.starts_with(['\'', '"']) && !text.contains(['+', '%']) {
        return false;
    }
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, MapLoader};

    const TEXT: &str = "\
metainfo = dict(classes=('a', 'b'))
data_root = 'data/'
scale = (640, 640)
unused = 1
train_dataloader = dict(batch_size=2, dataset=dict(
    type='CocoDataset', metainfo=metainfo, ann_file=data_root + 'a.json', pipeline=[dict(type='Resize', scale=scale)]))
test_pipeline = [dict(type='Resize', scale=(64, 64))]
val_dataloader = dict(num_workers=1, dataset=dict(
    data_prefix=dict(img=f'{data_root}img'), metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
root = '/a'
weights = root + '/w.pth'
model = dict(backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint=weights)))
";

    fn notes(options: &[&str]) -> Vec<String> {
        let mut config = Config::parse(TEXT, "a.py", &MapLoader::default()).unwrap();
        config.merge_options(options).unwrap();
        config.notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_variable_that_was_copied() {
        let expected = "\
note: `metainfo.classes` has no effect: nothing reads the variable `metainfo` once the config is read
 --> --cfg-options metainfo.classes=x,y
help: its value went into `train_dataloader.dataset.metainfo`, `val_dataloader.dataset.metainfo`, \
`test_dataloader.dataset.metainfo`; set it there: \
`train_dataloader.dataset.metainfo.classes=...`";
        assert_eq!(notes(&["metainfo.classes=x,y"]), [expected]);
        let found = notes(&["data_root=/x"]).join("");
        assert!(
            found.contains("`train_dataloader.dataset.ann_file`"),
            "{found}"
        );
        assert!(
            found.contains("`val_dataloader.dataset.data_prefix.img`"),
            "{found}"
        );
        let found = notes(&["scale=(1,1)"]).join("");
        assert!(
            found.contains("`train_dataloader.dataset.pipeline.0.scale=...`"),
            "{found}"
        );
        let found = notes(&["root=/x"]).join("");
        assert!(
            found.contains("`model.backbone.init_cfg.checkpoint`"),
            "{found}"
        );
        let found = notes(&["val_dataloader.batch_size=2"]).join("");
        assert!(
            found.contains("`val_dataloader.batch_size` is new"),
            "{found}"
        );
        let found = notes(&["val_dataloader.num_workers=2"]).join("");
        assert!(
            found.contains("`test_dataloader` was made from `val_dataloader`"),
            "{found}"
        );
        let found = notes(&["test_pipeline.0.scale=(1,1)"]).join("");
        assert!(
            found.contains("`val_dataloader.dataset.pipeline`"),
            "{found}"
        );
        let found = notes(&["unused=2"]).join("");
        assert!(
            found.contains("nothing reads the variable `unused`"),
            "{found}"
        );
    }

    #[test]
    fn keys_that_are_new() {
        let found = notes(&["train_dataloader.batchsize=4"]).join("");
        assert!(
            found.contains("did you mean `train_dataloader.batch_size`?"),
            "{found}"
        );
        let found = notes(&["model.backbon.depth=18"]).join("");
        assert!(found.contains("`model.backbon` is new"), "{found}");
        let found = notes(&["modle.backbone.depth=18"]).join("");
        assert!(found.contains("did you mean `model`?"), "{found}");
        assert_eq!(notes(&["a=1", "a=2"]).len(), 2);
        let found = notes(&["optimizer.lr=1"]).join("");
        assert!(
            found.contains("has `optim_wrapper.optimizer` in its place"),
            "{found}"
        );
        let found = notes(&["depth=18"]).join("");
        assert!(found.contains("there is `model.backbone.depth`"), "{found}");
    }

    #[test]
    fn options_with_an_effect_have_no_note() {
        let options = [
            "model.backbone.depth=18",
            "load_from=a.pth",
            "train_dataloader.dataset.metainfo.classes=x",
            "train_dataloader.dataset.pipeline.0.scale=(3,3)",
        ];
        assert_eq!(notes(&options), [""; 0]);
    }
}
