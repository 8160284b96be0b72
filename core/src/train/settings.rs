//! [`Settings`]: by what the parameters of a group are trained, under PyTorch's names (`lr`, `weight_decay`, `betas`, ...).
//!
//! PyTorch keeps them as a dict for each of an optimizer's `param_groups`. Schedules write there and optimizers read there, configs add keys of
//! their own, and a checkpoint has all of it; so it is a dict here too.

use indexmap::IndexMap;

use crate::config::{Node, Value};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Python's bool.
    Flag(bool),
    /// Python's int.
    Int(i64),
    /// Python's float.
    Number(f64),
    /// A list or tuple of numbers (`betas`).
    Numbers(Vec<f64>),
    /// A text (`group_name`).
    Text(String),
}

impl From<bool> for Setting {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Setting {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Setting {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl<const N: usize> From<[f64; N]> for Setting {
    fn from(numbers: [f64; N]) -> Self {
        Self::Numbers(numbers.into())
    }
}

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Setting {
    /// The value of a config; None if it is of another kind.
    pub(crate) fn read(node: &Node) -> Option<Self> {
        Some(match &node.value {
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Int(number) => Self::Int(*number),
            Value::Float(number) => Self::Number(*number),
            Value::Str(text) => Self::Text(text.to_string()),
            _ => {
                let numbers = node.as_items()?.iter().map(Node::as_float);
                Self::Numbers(numbers.collect::<Option<_>>()?)
            }
        })
    }

    /// The number; as in Python a bool is one too.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Flag(flag) => Some(f64::from(u8::from(*flag))),
            Self::Int(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether both are numbers, lists of as many numbers, texts.
    pub(super) fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => a.len() == b.len(),
            (Self::Text(_), Self::Text(_)) => true,
            _ => self.number().is_some() && other.number().is_some(),
        }
    }
}

/// Values by name, in the order in which they were set first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: IndexMap<String, Setting>,
}

impl Settings {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    /// The number of that name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.number()
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: impl Into<Setting>) {
        match self.values.get_mut(name) {
            Some(known) => *known = value.into(),
            None => drop(self.values.insert(name.to_string(), value.into())),
        }
    }

    /// Sets a value unless there is one.
    pub fn set_default(&mut self, name: &str, value: impl Into<Setting>) {
        self.values
            .entry(name.to_string())
            .or_insert_with(|| value.into());
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Takes the values of `saved`. Gives the names of those that are of another kind than here, which are left.
    pub(crate) fn restore(&mut self, saved: &Settings) -> Vec<String> {
        let mut odd = Vec::new();
        for (name, value) in saved.iter() {
            match self.get(name) {
                Some(here) if !here.same_kind(value) => odd.push(name.to_string()),
                _ => self.set(name, value.clone()),
            }
        }
        odd
    }

    /// A number that an optimizer's defaults have, and groups therefore.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn known(&self, name: &str) -> f64 {
        let number = self.number(name);
        number.unwrap_or_else(|| {
            panic!("a group has the number `{name}` from its optimizer's defaults")
        })
    }

    /// The two numbers of `betas`.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn betas(&self) -> [f64; 2] {
        self.pair("betas")
    }

    /// Two numbers that an optimizer's defaults have, and groups therefore.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn pair(&self, name: &str) -> [f64; 2] {
        match self.get(name) {
            Some(Setting::Numbers(pair)) if pair.len() == 2 => [pair[0], pair[1]],
            _ => panic!("a group has two `{name}` from its optimizer's defaults"),
        }
    }
}

impl FromIterator<(String, Setting)> for Settings {
    fn from_iter<T: IntoIterator<Item = (String, Setting)>>(values: T) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}
