//! The registry: a `type` in a config names a builder. Scopes are MMEngine's: `mmdet.ResNet` says where to look, a bare
//! `ResNet` is looked for in the default scope and then in its parent, `mmengine`. `_scope_` in a dict changes the default below it.
//!
//! [`Registry::standard`] holds the rows of every family's table. A crate of your own adds its rows with
//! [`Registry::register`] and uses them from a config like any other (see `examples/own_backbone`).

mod original;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::backbones::{self, Backbone, BuildBackbone};
use crate::config::{
    Diagnostic, Diagnostics, Kind, Node, distance, error_at, nearest, stray_comma, unsupported,
};
use crate::detectors::{self, BuildDetector, Detector};
use crate::heads::{self, BuildHead, DenseHead};
use crate::layers::{Mode, Params};
use crate::necks::{self, BuildNeck, Neck};
use crate::weights::Checkpoint;

/// Builds one kind of component.
#[derive(Clone, Copy, Debug)]
pub enum Builder {
    /// See [`Backbone`].
    Backbone(BuildBackbone),
    /// See [`Neck`].
    Neck(BuildNeck),
    /// See [`DenseHead`].
    Head(BuildHead),
    /// See [`Detector`].
    Detector(BuildDetector),
}

impl Builder {
    fn kind(self) -> &'static str {
        match self {
            Builder::Backbone(_) => "backbone",
            Builder::Neck(_) => "neck",
            Builder::Head(_) => "head",
            Builder::Detector(_) => "detector",
        }
    }
}

/// One entry: scope, name, builder.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// For example `mmdet`.
    pub scope: &'static str,
    /// For example `ResNet`.
    pub name: &'static str,
    /// What builds it.
    pub builder: Builder,
}

impl Row {
    /// An entry.
    pub const fn new(scope: &'static str, name: &'static str, builder: Builder) -> Self {
        Self {
            scope,
            name,
            builder,
        }
    }
}

/// The parent of every scope.
const ROOT: &str = "mmengine";
/// Where a bare name is looked for if the config has no `default_scope`.
pub const DEFAULT_SCOPE: &str = "mmdet";

/// All components that configs can name.
#[derive(Clone, Debug)]
pub struct Registry {
    rows: Vec<Row>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::standard()
    }
}

impl Registry {
    /// Everything that this crate builds.
    pub fn standard() -> Self {
        let mut rows = Vec::new();
        rows.extend(backbones::ROWS);
        rows.extend(necks::ROWS);
        rows.extend(heads::ROWS);
        rows.extend(detectors::ROWS);
        Self { rows }
    }

    /// Adds a component, or replaces one of the same scope and name.
    pub fn register(&mut self, row: Row) {
        self.rows
            .retain(|r| (r.scope, r.name) != (row.scope, row.name));
        self.rows.push(row);
    }

    /// All entries, in the order of registration.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The entry that `type` of `node` names, looked for in `scope` unless the name has one of its own.
    ///
    /// # Errors
    /// A missing `type`, or a name that no searched scope has: says which were searched, and the nearest names.
    pub fn find(&self, node: &Node, scope: &str, kind: &str) -> Result<Row, Diagnostics> {
        if let Some(error) = stray_comma(&format!("this {kind}"), node) {
            return Err(vec![error]);
        }
        if node.as_items().is_some() {
            let message = format!("a list of {kind}s is not supported yet");
            return Err(unsupported(node, "", message, ""));
        }
        let Some(type_node) = node.get("type") else {
            return Err(vec![
                Diagnostic::error(format!("this {kind} has no `type`"))
                    .at(&node.origin, "a dict without `type`")
                    .help(format!(
                        "name one, for example type='{}'",
                        self.example(kind)
                    )),
            ]);
        };
        // A lazy config gives the class itself; its last part is the registered name.
        let full = type_node.as_type().unwrap_or_default();
        let (scopes, name) = self.scopes(&full, scope);
        let known = |name: &str| {
            let hit = |scope: &str| {
                self.rows
                    .iter()
                    .find(|r| r.scope == scope && r.name == name)
            };
            scopes.iter().find_map(|s| hit(s))
        };
        match known(&name) {
            Some(row) if row.builder.kind() == kind => Ok(*row),
            Some(row) => Err(vec![
                Diagnostic::error(format!(
                    "`{full}` is a {}, not a {kind}",
                    row.builder.kind()
                ))
                .at(&type_node.origin, format!("a {kind} belongs here")),
            ]),
            None => Err(vec![self.unknown(type_node, &full, &name, &scopes, kind)]),
        }
    }

    /// The scopes to search for a name as written, and the name without its scope.
    fn scopes(&self, full: &str, scope: &str) -> (Vec<String>, String) {
        let current = |s: &str| {
            if s == "mmcls" {
                "mmpretrain".into()
            } else {
                s.to_string()
            }
        };
        if let Some((first, rest)) = full.split_once('.') {
            // `mmdet.models.backbones.resnet.ResNet`: a path of the lazy style; its package is the scope.
            let name = rest.rsplit('.').next().unwrap_or(rest);
            return (vec![current(first)], name.to_string());
        }
        (vec![current(scope), ROOT.to_string()], full.to_string())
    }

    fn unknown(
        &self,
        node: &Node,
        full: &str,
        name: &str,
        scopes: &[String],
        kind: &str,
    ) -> Diagnostic {
        let searched = scopes.join("`, then `");
        let error = Diagnostic::error(format!("unknown {kind} type `{full}`"))
            .kind(Kind::Unsupported)
            .at(&node.origin, format!("searched in scope `{searched}`"));
        let elsewhere = self
            .rows
            .iter()
            .find(|r| r.name == name && r.builder.kind() == kind);
        if let Some(row) = elsewhere {
            return error.help(format!("scope `{0}` has it: type='{0}.{name}'", row.scope));
        }
        let rows: Vec<_> = self
            .rows
            .iter()
            .filter(|r| r.builder.kind() == kind)
            .collect();
        let known = || {
            let mut rows: Vec<_> = rows
                .iter()
                .map(|r| format!("{}.{}", r.scope, r.name))
                .collect();
            rows.sort();
            format!(
                "known {kind}s are {}; a component of your own is added with Registry::register (custom_imports runs no Python here)",
                rows.join(", ")
            )
        };
        if original::names().any(|known| known == name) {
            return error.help(format!("it is one of the original's; {}", known()));
        }
        let names = rows.iter().map(|r| r.name).chain(original::names());
        let Some(near) = nearest(name, names) else {
            return error.help(known());
        };
        let scope = rows.iter().find(|r| r.name == near).map_or("", |r| r.scope);
        let dot = if scope.is_empty() { "" } else { "." };
        let error = error.help(format!("did you mean type='{scope}{dot}{near}'?"));
        // A letter or two away from a name of the original is a typo, but rarely the first; `MyResNet` may be somebody's own.
        let same_start = name.chars().next().map(|c| c.to_ascii_lowercase())
            == near.chars().next().map(|c| c.to_ascii_lowercase());
        match same_start && distance(name, near) <= 2 {
            true => error.kind(Kind::Unknown),
            false => error,
        }
    }

    fn example(&self, kind: &str) -> &str {
        let row = self.rows.iter().find(|r| r.builder.kind() == kind);
        row.map_or("", |r| r.name)
    }
}

/// Opens a checkpoint by the name that a config gives it.
pub type OpenCheckpoint = dyn Fn(&str) -> Result<Arc<Checkpoint>, String>;

/// What a builder needs beside its config: where its tensors are, and how to build what is inside it.
#[derive(Clone)]
pub struct Build<'a> {
    /// Where this component's tensors are.
    pub params: Params,
    registry: &'a Registry,
    scope: String,
    open: Option<&'a OpenCheckpoint>,
    opened: Rc<RefCell<HashMap<String, Arc<Checkpoint>>>>,
}

impl<'a> Build<'a> {
    /// For the root of a model. `open` is asked for `init_cfg=dict(type='Pretrained')` checkpoints; without it they are left out,
    /// as a full checkpoint will replace their values.
    pub fn new(
        registry: &'a Registry,
        params: Params,
        scope: &str,
        open: Option<&'a OpenCheckpoint>,
    ) -> Self {
        Self {
            params,
            registry,
            scope: scope.to_string(),
            open,
            opened: Rc::default(),
        }
    }

    /// Whether weights of parts are wanted: not when only names and shapes are, nor when a full checkpoint is there.
    pub fn wants_weights(&self) -> bool {
        self.open.is_some() && self.params.mode() != Mode::Plan
    }

    /// Takes the values below `at` from the checkpoint `name`; `prefix` is what its keys have before ours.
    ///
    /// # Errors
    /// The checkpoint cannot be had or read.
    pub fn pretrained(
        &self,
        node: &Node,
        name: &str,
        prefix: Option<&str>,
        at: &Params,
    ) -> Result<(), Diagnostics> {
        let Some(open) = self.open else { return Ok(()) };
        let known = self.opened.borrow().get(name).cloned();
        let checkpoint = match known {
            Some(checkpoint) => checkpoint,
            None => {
                let checkpoint = open(name).map_err(|e| error_at(node, "init_cfg", e, ""))?;
                self.opened
                    .borrow_mut()
                    .insert(name.to_string(), checkpoint.clone());
                checkpoint
            }
        };
        at.overlay(Box::new(crate::layers::StateSource::new(
            checkpoint, prefix,
        )));
        Ok(())
    }

    /// The builder's context for the part `name` of `node`, whose own `_scope_` and `init_cfg` count.
    fn part(&self, name: &str, node: &Node) -> Result<Self, Diagnostics> {
        let mut part = self.clone();
        part.params = self.params.at(name);
        if let Some(scope) = node.get("_scope_").and_then(|s| s.as_str()) {
            part.scope = scope.to_string();
        }
        if part.wants_weights()
            && let Some(init) = node.get("init_cfg")
            && init.get("type").and_then(|t| t.as_type()).as_deref() == Some("Pretrained")
        {
            let Some(name) = init.get("checkpoint").and_then(|c| c.as_str()) else {
                return Err(error_at(
                    init,
                    "checkpoint",
                    "`Pretrained` needs a `checkpoint`",
                    "",
                ));
            };
            let prefix = init.get("prefix").and_then(|p| p.as_str());
            part.pretrained(node, name, prefix, &part.params.clone())?;
        }
        Ok(part)
    }

    /// Builds the detector of a whole model config.
    pub fn detector(&self, node: &Node) -> Result<Box<dyn Detector>, Diagnostics> {
        let mut build = self.clone();
        if let Some(scope) = node.get("_scope_").and_then(|s| s.as_str()) {
            build.scope = scope.to_string();
        }
        match self.registry.find(node, &build.scope, "detector")?.builder {
            Builder::Detector(f) => f(node, &build),
            _ => unreachable!("find gives the kind asked for"),
        }
    }

    /// Builds the backbone that `node` describes, its tensors below `name`.
    pub fn backbone(&self, name: &str, node: &Node) -> Result<Box<dyn Backbone>, Diagnostics> {
        let part = self.part(name, node)?;
        match self.registry.find(node, &part.scope, "backbone")?.builder {
            Builder::Backbone(f) => f(node, &part),
            _ => unreachable!("find gives the kind asked for"),
        }
    }

    /// Builds the neck that `node` describes for the given backbone outputs.
    pub fn neck(
        &self,
        name: &str,
        node: &Node,
        inputs: necks::Inputs,
    ) -> Result<Box<dyn Neck>, Diagnostics> {
        let part = self.part(name, node)?;
        match self.registry.find(node, &part.scope, "neck")?.builder {
            Builder::Neck(f) => f(node, inputs, &part),
            _ => unreachable!("find gives the kind asked for"),
        }
    }

    /// Builds the head that `node` describes for the given feature maps.
    pub fn head(
        &self,
        name: &str,
        node: &Node,
        inputs: heads::Inputs,
    ) -> Result<Box<dyn DenseHead>, Diagnostics> {
        let part = self.part(name, node)?;
        match self.registry.find(node, &part.scope, "head")?.builder {
            Builder::Head(f) => f(node, inputs, &part),
            _ => unreachable!("find gives the kind asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn backbone_error(text: &str) -> String {
        let config = Config::parse(text, "test.py", &crate::config::MapLoader::default()).unwrap();
        let node = config.root.get("backbone").unwrap();
        match Registry::standard().find(node, DEFAULT_SCOPE, "backbone") {
            Ok(row) => format!("{}.{}", row.scope, row.name),
            Err(problems) => problems[0].to_string(),
        }
    }

    #[test]
    fn scopes_are_searched_as_mmengine_does() {
        assert_eq!(
            backbone_error("backbone = dict(type='ResNet')"),
            "mmdet.ResNet"
        );
        assert_eq!(
            backbone_error("backbone = dict(type='mmdet.ResNet')"),
            "mmdet.ResNet"
        );
        for scope in ["mmpretrain", "mmcls"] {
            let text = format!("backbone = dict(type='{scope}.MobileNetV3')");
            assert_eq!(backbone_error(&text), "mmpretrain.MobileNetV3");
        }
        let elsewhere = backbone_error("backbone = dict(type='MobileNetV3')");
        assert!(
            elsewhere.contains("searched in scope `mmdet`, then `mmengine`"),
            "{elsewhere}"
        );
        assert!(
            elsewhere.contains("type='mmpretrain.MobileNetV3'"),
            "{elsewhere}"
        );
    }

    #[test]
    fn unknown_types_get_the_nearest_name() {
        let near = backbone_error("backbone = dict(type='ResNett')");
        assert!(near.contains("did you mean type='mmdet.ResNet'?"), "{near}");
        let kind_of = |text: &str| {
            let config = Config::parse(text, "test.py", &crate::config::MapLoader::default());
            let config = config.unwrap();
            let node = config.root.get("backbone").unwrap();
            Registry::standard()
                .find(node, DEFAULT_SCOPE, "backbone")
                .unwrap_err()[0]
                .kind
        };
        assert_eq!(kind_of("backbone = dict(type='ResNett')"), Kind::Unknown);
        assert_eq!(
            kind_of("backbone = dict(type='Swintransformer')"),
            Kind::Unknown
        );
        for maybe_right in [
            "SwinTransformer",
            "RegNet",
            "MyResNet",
            "mmyolo.YOLOv8CSPDarknet",
        ] {
            let text = format!("backbone = dict(type='{maybe_right}')");
            assert_eq!(kind_of(&text), Kind::Unsupported, "{maybe_right}");
        }
        let far = backbone_error("backbone = dict(type='SwinTransformer')");
        assert!(
            far.contains("known backbones are") && far.contains("mmpretrain.TIMMBackbone"),
            "{far}"
        );
        let kind = backbone_error("backbone = dict(type='FPN')");
        assert!(kind.contains("`FPN` is a neck, not a backbone"), "{kind}");
        let none = backbone_error("backbone = dict(depth=50)");
        assert!(none.contains("has no `type`"), "{none}");
    }
}
