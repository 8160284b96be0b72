//! [`Build`]: what a builder of a part of a model needs beside its config.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::registry::{Family, Registry};
use crate::config::{Diagnostics, Node, error_at, nearest};
use crate::initializers;
use crate::layers::{Find, ForeignSource, Mode, Params, StateSource};
use crate::weights::Checkpoint;

/// Opens a checkpoint by the name that a config gives it.
pub type OpenCheckpoint<'o> = dyn Fn(&str) -> Result<Arc<Checkpoint>, String> + 'o;

/// What a builder needs beside its config: where its tensors are, and how to build what is inside it.
#[derive(Clone)]
pub struct Build<'a> {
    /// Where this component's tensors are.
    pub params: Params,
    registry: &'a Registry,
    scope: String,
    open: Option<&'a OpenCheckpoint<'a>>,
    opened: Rc<RefCell<HashMap<String, Arc<Checkpoint>>>>,
    /// Parts that an `override` of an `init_cfg` means: where the whole is, the part's name, and the config that says so.
    overridden: Rc<RefCell<Vec<(Params, String, Node)>>>,
}

impl<'a> Build<'a> {
    /// For the root of a model. `open` is asked for `init_cfg=dict(type='Pretrained')` checkpoints; without it they are left out,
    /// as a full checkpoint will replace their values.
    pub fn new(
        registry: &'a Registry,
        params: Params,
        scope: &str,
        open: Option<&'a OpenCheckpoint<'a>>,
    ) -> Self {
        Self {
            params,
            registry,
            scope: scope.to_string(),
            open,
            opened: Rc::default(),
            overridden: Rc::default(),
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
        if let Some(checkpoint) = self.checkpoint(node, name)? {
            at.overlay(Box::new(StateSource::new(checkpoint, prefix)));
        }
        Ok(())
    }

    /// As [`Build::pretrained`], of a checkpoint with other names and layouts than ours, which `find` knows.
    ///
    /// # Errors
    /// The checkpoint cannot be had or read.
    pub fn foreign(
        &self,
        node: &Node,
        name: &str,
        find: Find,
        at: &Params,
    ) -> Result<(), Diagnostics> {
        if let Some(checkpoint) = self.checkpoint(node, name)? {
            at.overlay(Box::new(ForeignSource::new(checkpoint, find)));
        }
        Ok(())
    }

    /// The checkpoint `name`; None where none are opened.
    pub(crate) fn checkpoint(
        &self,
        node: &Node,
        name: &str,
    ) -> Result<Option<Arc<Checkpoint>>, Diagnostics> {
        let Some(open) = self.open else {
            return Ok(None);
        };
        if let Some(known) = self.opened.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let checkpoint = open(name).map_err(|e| error_at(node, "init_cfg", e, ""))?;
        let mut opened = self.opened.borrow_mut();
        opened.insert(name.to_string(), checkpoint.clone());
        Ok(Some(checkpoint))
    }

    /// What builds the part `name` that `node` describes, and its context: tensors below `name`, its own `_scope_` and `init_cfg`.
    ///
    /// # Errors
    /// The registry has no such part, or its `init_cfg` is wrong.
    pub fn part<F: Family>(
        &self,
        name: &str,
        node: &Node,
    ) -> Result<(F::Build, Self), Diagnostics> {
        let mut part = self.clone();
        part.params = self.params.at(name);
        let build = part.enter::<F>(node)?;
        Ok((build, part))
    }

    /// What builds what `node` describes, where it has no tensors.
    ///
    /// # Errors
    /// The registry has no such thing.
    pub fn find<F: Family>(&self, node: &Node) -> Result<F::Build, Diagnostics> {
        let scope = node.get("_scope_").and_then(|s| s.as_str());
        let row = self
            .registry
            .find::<F>(node, scope.unwrap_or(&self.scope))?;
        Ok(row.build)
    }

    /// What builds the whole model that `node` describes, and its context.
    ///
    /// # Errors
    /// The registry has no such model.
    pub fn root<F: Family>(&self, node: &Node) -> Result<(F::Build, Self), Diagnostics> {
        let mut root = self.clone();
        let build = root.enter::<F>(node)?;
        Ok((build, root))
    }

    /// What builds what `node` describes. Takes what it says for all below it: `_scope_`, and values by `init_cfg`.
    fn enter<F: Family>(&mut self, node: &Node) -> Result<F::Build, Diagnostics> {
        if let Some(scope) = node.get("_scope_").and_then(|s| s.as_str()) {
            self.scope = scope.to_string();
        }
        // First: what is not built here may read its `init_cfg` in its own way.
        let row = self.registry.find::<F>(node, &self.scope)?;
        for (name, node) in initializers::apply(node, self)? {
            let overridden = (self.params.clone(), name, node);
            self.overridden.borrow_mut().push(overridden);
        }
        Ok(row.build)
    }

    /// Gives the part here its own initial values, by [`Params::initialise`], where its config has no `init_cfg`.
    pub fn initial(&self, node: &Node, by_default: impl FnOnce(&Params)) {
        if node.get("init_cfg").is_none() {
            by_default(&self.params);
        }
    }

    /// Whether every `override` of an `init_cfg` meant something that there is. To be asked when all is built.
    ///
    /// # Errors
    /// One for each that did not.
    pub(crate) fn check_overrides(&self) -> Result<(), Diagnostics> {
        let mut problems = Vec::new();
        for (whole, name, node) in self.overridden.borrow().iter() {
            let parts = whole.parts();
            let first = name.split('.').next().unwrap_or_default();
            if parts.iter().any(|part| part == first) {
                continue;
            }
            let message = format!("there is no `{name}` here to initialise");
            let help = match nearest(name, parts.iter().map(String::as_str)) {
                Some(near) => format!("did you mean name='{near}'?"),
                None => format!("its parts are {}", parts.join(", ")),
            };
            problems.extend(error_at(node, "name", message, &help));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }
}
