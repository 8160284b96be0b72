//! Whole modules that were pickled: `torch.save(model)`, `nn.ModuleDict`, and TorchScript.

use std::collections::HashSet;

use super::graph::{Graph, Outside};
use super::pickle::{Id, Node};
use super::state::{JOINED, MAX_KEY};

/// Named values, and named modules that hold more of them.
type Parts = (Vec<(String, Id)>, Vec<(String, Id)>);

impl Graph<'_, '_> {
    /// The tensors of a pickled module and of the modules in it. Each object and each dict is looked into once, whatever
    /// else refers to it.
    pub(super) fn module_values(
        &self,
        id: Id,
        prefix: &str,
        depth: usize,
        seen: &mut HashSet<Id>,
        values: &mut Vec<(String, Id)>,
    ) {
        let Node::Object(object) = self.pickle.node(id) else {
            return;
        };
        let Some(state) = object.state.filter(|&state| seen.insert(state)) else {
            return;
        };
        let (tensors, modules) = match self.is_script(id) {
            true => self.script_parts(state),
            false => self.module_parts(id, seen),
        };
        for (name, id) in tensors {
            let price = JOINED * (prefix.len() + name.len());
            if self.is_tensor(id) && self.pickle.budget.spend(price).is_some() {
                values.push((format!("{prefix}{name}"), id));
            }
        }
        if depth == 0 || prefix.len() > MAX_KEY {
            return;
        }
        for (name, module) in modules {
            let prefix = format!("{prefix}{name}.");
            self.module_values(module, &prefix, depth - 1, seen, values);
        }
    }

    /// A pickled `nn.Module` keeps `_parameters`, `_buffers` and `_modules` among its attributes.
    fn module_parts(&self, id: Id, seen: &mut HashSet<Id>) -> Parts {
        let mut named = |attribute: &str| {
            let dict = self.pickle.attribute(id, attribute);
            let dict = dict.filter(|&dict| seen.insert(dict));
            let pairs = dict.and_then(|dict| self.pickle.pairs(dict));
            self.text_keys(&pairs.unwrap_or_default())
        };
        let mut tensors = named("_parameters");
        tensors.extend(named("_buffers"));
        (tensors, named("_modules"))
    }

    /// TorchScript keeps parameters, buffers and modules as plain attributes.
    fn script_parts(&self, state: Id) -> Parts {
        let pairs = self.pickle.pairs(state).unwrap_or_default();
        let values = self.text_keys(&pairs);
        let (modules, others) = values.into_iter().partition(|(_, id)| self.is_script(*id));
        (others, modules)
    }

    /// Is the whole file TorchScript's?
    pub(super) fn is_scripts(&self) -> bool {
        match &self.outside {
            Outside::Zip(archive, folder) => {
                archive.get(&format!("{folder}constants.pkl")).is_some()
            }
            _ => false,
        }
    }

    /// Is this an object of a class that TorchScript compiled?
    fn is_script(&self, id: Id) -> bool {
        let class = self.pickle.call(id);
        class.is_some_and(|(module, ..)| module.split('.').next() == Some("__torch__"))
    }
}
