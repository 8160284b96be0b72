//! Groups of parameters: which settings each parameter is trained with. To add a way to choose them, write a file and a row in [`ROWS`].
//!
//! A config's `optim_wrapper` has `optimizer`, whose settings all share, `paramwise_cfg`, which says what differs, and `constructor`, which
//! reads that; they are MMEngine's. Groups are those that PyTorch's optimizer would have, in its order, by which it numbers parameters in
//! checkpoints. Two things are added. A parameter that is frozen at first is in no group where there is a `paramwise_cfg`; here it sleeps in the
//! group that it would be in, so that schedules go on for it, and [`Groups::wake`] is all that unfreezing needs. And a tensor of several names
//! is there once, whether `bypass_duplicate` says so or not; without it the original stops.

mod detectron2;
mod layer_decay;
mod layer_depth;
mod paramwise;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::optimizers::Optimizer;
use super::{Setting, Settings};
use crate::config::{Diagnostics, Dict, Node, Value, error_at};
use crate::layers::Slot;
use crate::registry::{Family, Registry, Row};

/// One parameter of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name in the state dict.
    pub key: String,
    /// The learning rate's factor.
    pub lr_mult: f64,
    /// The weight decay's factor.
    pub decay_mult: f64,
    /// It was frozen when groups were made, and the original leaves it out.
    pub asleep: bool,
}

/// Parameters of the same settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// In the model's order.
    pub members: Vec<Member>,
    /// Their settings; schedules change them.
    pub settings: Settings,
}

impl Group {
    /// Whether the original has this group.
    pub fn awake(&self) -> bool {
        self.members.iter().any(|member| !member.asleep)
    }
}

/// All groups of an optimizer.
#[derive(Clone, Debug)]
pub struct Groups {
    groups: Vec<Group>,
    /// Group and place in it, by name.
    places: HashMap<String, (usize, usize)>,
    /// Where there is more than one group, MMEngine keeps the optimizer's own settings beside them (`base_param_settings`); schedules change
    /// them too, so that the log has a learning rate without factors.
    base: Option<Settings>,
}

impl Groups {
    /// Of these groups.
    pub fn new(groups: Vec<Group>, defaults: &Settings) -> Self {
        let several = groups.iter().filter(|group| group.awake()).count() > 1;
        Self::of(groups, several.then(|| defaults.clone()))
    }

    /// Of these groups, beside the base.
    pub(super) fn of(groups: Vec<Group>, base: Option<Settings>) -> Self {
        let mut places = HashMap::new();
        for (i, group) in groups.iter().enumerate() {
            for (j, member) in group.members.iter().enumerate() {
                places.insert(member.key.clone(), (i, j));
            }
        }
        Self {
            groups,
            places,
            base,
        }
    }

    /// The groups that PyTorch's optimizer would have, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.awake())
    }

    /// All groups, those that sleep too.
    pub fn all(&self) -> &[Group] {
        &self.groups
    }

    /// The names of parameters in the order in which PyTorch numbers them, those of all groups one after another.
    pub fn order(&self) -> Vec<&str> {
        let members = self.iter().flat_map(|group| &group.members);
        let awake = members.filter(|member| !member.asleep);
        awake.map(|member| member.key.as_str()).collect()
    }

    /// The group of a parameter, and what it is there.
    pub fn group(&self, key: &str) -> Option<(&Group, &Member)> {
        let (group, member) = *self.places.get(key)?;
        let group = &self.groups[group];
        Some((group, &group.members[member]))
    }

    /// Puts a parameter that was frozen into its group. Whether that was a change.
    pub fn wake(&mut self, key: &str) -> bool {
        let Some((group, member)) = self.places.get(key) else {
            return false;
        };
        let asleep = &mut self.groups[*group].members[*member].asleep;
        std::mem::replace(asleep, false)
    }

    /// MMEngine's `base_param_settings`.
    pub fn base(&self) -> Option<&Settings> {
        self.base.as_ref()
    }

    pub(super) fn base_mut(&mut self) -> Option<&mut Settings> {
        self.base.as_mut()
    }

    /// The settings of a parameter's group.
    pub(super) fn settings_of(&mut self, key: &str) -> Option<&mut Settings> {
        let (group, _) = *self.places.get(key)?;
        Some(&mut self.groups[group].settings)
    }

    /// Brings groups that sleep to where the others are, where nothing else says where they were: what was scheduled has changed in the same
    /// proportion.
    pub(super) fn follow(&mut self) {
        let Some(example) = self.iter().next().map(|group| group.settings.clone()) else {
            return;
        };
        for group in self.groups.iter_mut().filter(|group| !group.awake()) {
            for (name, initial) in example.iter() {
                let Some(name) = name.strip_prefix("initial_") else {
                    continue;
                };
                let ratio = example.number(name).zip(initial.number());
                let (Some((now, initial)), Some(old)) = (ratio, group.settings.number(name)) else {
                    continue;
                };
                if initial != 0.0 {
                    let first = group.settings.number(&format!("initial_{name}"));
                    group
                        .settings
                        .set(name, first.unwrap_or(old) * (now / initial));
                }
            }
        }
    }

    /// The learning rate as a log has it: without factors where there are any.
    pub fn base_lr(&self) -> f64 {
        let first = || self.groups.first().map(|group| &group.settings);
        let settings = self.base.as_ref().or_else(first);
        settings.and_then(|s| s.number("lr")).unwrap_or(0.0)
    }

    /// Multiplies all learning rates, as `auto_scale_lr` does before there are schedules.
    pub fn scale_lr(&mut self, ratio: f64) {
        for group in &mut self.groups {
            let lr = group.settings.known("lr") * ratio;
            group.settings.set("lr", lr);
        }
    }

    /// What schedules change: settings of all groups, those that sleep too, and the base's last.
    pub fn settings(&self) -> impl Iterator<Item = &Settings> {
        let groups = self.groups.iter().map(|group| &group.settings);
        groups.chain(&self.base)
    }

    /// As [`Groups::settings`], to be changed.
    pub fn settings_mut(&mut self) -> impl Iterator<Item = &mut Settings> {
        let groups = self.groups.iter_mut().map(|group| &mut group.settings);
        groups.chain(&mut self.base)
    }

    /// For each of [`Groups::settings`], whether the original has it.
    pub(crate) fn awake(&self) -> Vec<bool> {
        let groups = self.groups.iter().map(Group::awake);
        groups.chain(self.base.iter().map(|_| true)).collect()
    }
}

/// What a constructor has to go by.
pub struct Given<'a> {
    /// The config's `optim_wrapper`.
    pub wrapper: &'a Node,
    /// `paramwise_cfg`, which is not empty.
    pub paramwise: &'a Node,
    /// The config's `model`.
    pub model: &'a Node,
    /// All parameters, frozen or not.
    pub parameters: &'a [Arc<Slot>],
    /// PyTorch's defaults, with what the config's `optimizer` says.
    pub defaults: &'a Settings,
    /// `lr` of the config's `optimizer`.
    pub lr: Option<f64>,
    /// `weight_decay` of the config's `optimizer`.
    pub weight_decay: Option<f64>,
}

/// The kind `optim wrapper constructor` of the registry.
#[derive(Debug)]
pub struct Constructors;

impl Family for Constructors {
    const KIND: &'static str = "optim wrapper constructor";
    type Build = fn(&Given) -> Result<Vec<Group>, Diagnostics>;
    const NOT_YET: &'static [(&'static str, &'static str)] = &[];
}

/// The table: scope, name, builder.
pub const ROWS: [Row<Constructors>; 4] = [
    Row::<Constructors>::new("detectron2", "OptimizerParams", detectron2::groups),
    Row::<Constructors>::new(
        "mmengine",
        "DefaultOptimWrapperConstructor",
        paramwise::groups,
    ),
    Row::<Constructors>::new(
        "mmdet",
        "LearningRateDecayOptimizerConstructor",
        layer_decay::groups,
    ),
    Row::<Constructors>::new(
        "mmpretrain",
        "LearningRateDecayOptimWrapperConstructor",
        layer_depth::groups,
    ),
];

/// The groups of a model's `parameters` as `wrapper`, a config's `optim_wrapper`, has them.
///
/// # Errors
/// Something in the config is wrong.
pub fn build(
    wrapper: &Node,
    model: &Node,
    parameters: &[Arc<Slot>],
    optimizer: &dyn Optimizer,
    registry: &Registry,
    scope: &str,
) -> Result<Groups, Diagnostics> {
    let named = |key| wrapper.get(key).filter(|node| !node.is_none());
    let constructor = match named("constructor") {
        None => paramwise::groups,
        Some(name) => {
            let mut dict = Dict::new();
            dict.set("type", name.clone());
            let node = Node {
                value: Value::Dict(dict),
                origin: name.origin.clone(),
            };
            registry.find::<Constructors>(&node, scope)?.build
        }
    };
    let defaults = optimizer.defaults();
    let empty = |node: &&Node| !node.as_dict().is_some_and(Dict::is_empty);
    let Some(paramwise) = named("paramwise_cfg").filter(empty) else {
        let members = parameters.iter().map(|slot| Member {
            key: slot.key().to_string(),
            lr_mult: 1.0,
            decay_mult: 1.0,
            asleep: false,
        });
        let group = Group {
            members: members.collect(),
            settings: defaults.clone(),
        };
        return Ok(Groups::new(vec![group], defaults));
    };
    let number = |key| wrapper.get("optimizer")?.get(key)?.as_float();
    let given = Given {
        wrapper,
        paramwise,
        model,
        parameters,
        defaults,
        lr: number("lr"),
        weight_decay: number("weight_decay"),
    };
    Ok(Groups::new(constructor(&given)?, defaults))
}

/// The place and the last part of a parameter's name.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The `custom_keys` in the order in which they are tried: the longest first, those of one length by alphabet.
fn custom_keys(paramwise: &Node, named: Option<&Node>) -> Result<Vec<(String, Node)>, Diagnostics> {
    let Some(named) = named.filter(|node| !node.is_none()) else {
        return Ok(Vec::new());
    };
    let Some(dict) = named.as_dict() else {
        let message = format!("`custom_keys` is a dict, found {}", named.type_name());
        return Err(error_at(paramwise, "custom_keys", message, ""));
    };
    let (mut keys, mut problems) = (Vec::new(), Diagnostics::new());
    for (key, entry) in dict.iter() {
        match (key.as_str(), entry.node.as_dict()) {
            (Some(key), Some(_)) => keys.push((key.to_string(), entry.node.clone())),
            _ => {
                let message =
                    format!("`{key}` of `custom_keys` is a part of a name with a dict of settings");
                problems.extend(error_at(&entry.node, "", message, ""));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    keys.sort_by(|(a, _), (b, _)| {
        let length = |text: &str| std::cmp::Reverse(text.chars().count());
        length(a).cmp(&length(b)).then_with(|| a.cmp(b))
    });
    Ok(keys)
}

/// A number of a dict of `custom_keys`.
fn factor(settings: &Node, key: &str) -> Result<f64, Diagnostics> {
    match settings.get(key) {
        None => Ok(1.0),
        Some(node) => node.as_float().ok_or_else(|| {
            let message = format!("`{key}` is a number, found {}", node.type_name());
            error_at(settings, key, message, "")
        }),
    }
}

/// A setting that `custom_keys` gives a group of its own.
fn setting(given: &Given, key: &str, node: &Node) -> Result<Setting, Diagnostics> {
    let known = given.defaults.get(key);
    let fits = |value: &Setting| known.is_none_or(|known| known.same_kind(value));
    Setting::read(node).filter(fits).ok_or_else(|| {
        let message = format!("`{key}` of a group cannot be of type {}", node.type_name());
        error_at(node, "", message, "")
    })
}

/// Factors of a weight decay need one that is written down, even where a default would do.
fn check_decay(given: &Given, keys: &[(String, Node)]) -> Result<(), Diagnostics> {
    if given.weight_decay.is_some() {
        return Ok(());
    }
    let factors = ["bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult"].into_iter();
    let mut problems = Diagnostics::new();
    for key in factors.filter(|key| given.paramwise.get(key).is_some()) {
        problems.extend(missing(given.paramwise, key, "weight_decay"));
    }
    for (_, own) in keys
        .iter()
        .filter(|(_, own)| own.get("decay_mult").is_some())
    {
        problems.extend(missing(own, "decay_mult", "weight_decay"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems)
}

fn missing(node: &Node, key: &str, of: &str) -> Diagnostics {
    error_at(
        node,
        key,
        format!("`{key}` needs a `{of}` in `optimizer`"),
        "",
    )
}
